//! Whether a line is a message, or speaks of one: documentation, source code, somebody's memories.

/// How a line holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voice {
    /// A program printed it.
    Printed,
    /// Somebody quotes it.
    Quoted,
    /// It is spoken of, asked about, or handled in code: nothing says that it happened here.
    SpokenOf,
}

/// Words before or after a message that did not happen here and now, in lower case.
const ELSEWHERE: &[&str] = &[
    "not a duplicate",
    "not the same as",
    "that is not it",
    "that's not it",
    "i had ",
    "i've had ",
    "i googled",
    "last week",
    "yesterday",
    "already solved",
    "already fixed",
    "was fixed",
    "got fixed",
    "if you see",
    "if you get",
    "when you see",
    "when you get",
    "you may see",
    "you might see",
    "handler registered",
];

/// What lines of source code and echoes of commands begin with.
const CODE: &[&str] =
    &["raise ", "except ", "- if ", "* if ", "+ ", "$ ", "##[group]", "##[command]"];

/// What quotes and comments begin with.
const QUOTES: &[&str] = &["# ", "// ", "> "];

/// The voice of a line: `text` is all of it, `body` without what loggers put before it.
pub(super) fn voice(text: &str, body: &str) -> Voice {
    let lower = body.trim_start().to_ascii_lowercase();
    let begins = |list: &[&str]| list.iter().any(|begin| lower.starts_with(begin));
    if begins(CODE) || ELSEWHERE.iter().any(|words| lower.contains(words)) {
        Voice::SpokenOf
    } else if begins(QUOTES)
        || text.trim_start().starts_with('>')
        || lower.contains('`') && (lower.starts_with("i ") || lower.contains(" i "))
    {
        Voice::Quoted
    } else {
        Voice::Printed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_from_what_is_spoken_of() {
        let of = |line: &str| voice(line, line.trim_start_matches("> "));
        for line in [
            "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",
            "docker: Error response from daemon: could not select device driver",
            "Assertion `srcIndex < srcSelectDimSize` failed.",
            "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
        ] {
            assert_eq!(of(line), Voice::Printed, "{line}");
        }
        for line in [
            "> RuntimeError: CUDA out of memory",
            "I get `CUDA out of memory` at step 3",
            "# Could not load library libcudnn_cnn_infer.so.8",
        ] {
            assert_eq!(of(line), Voice::Quoted, "{line}");
        }
        for line in [
            "I had `CUDA out of memory` last week and solved it",
            "- If you see `could not select device driver`, install the toolkit",
            "    raise AssertionError(\"Torch not compiled with CUDA enabled\")",
            "except torch.cuda.OutOfMemoryError:",
            "+ python -c 'import torch; assert torch.cuda.is_available()'",
            "Not a duplicate of 'no kernel image is available'",
        ] {
            assert_eq!(of(line), Voice::SpokenOf, "{line}");
        }
    }
}
