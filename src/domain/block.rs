//! The marks around the part of a user's own file that this program writes. Its readers pass it by: what
//! follows from a lock asks for nothing.

/// How the first line of the block begins.
pub const BLOCK_START: &str = "# >>> gpuseal";
/// Its last line.
pub const BLOCK_END: &str = "# <<< gpuseal";

/// The line is this mark, alone or followed by `:` and words.
pub fn is_block_mark(line: &str, mark: &str) -> bool {
    let rest = line.strip_prefix(mark);
    rest.is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(':'))
}

/// The text with the lines of the block left empty, so that all others keep their numbers.
pub fn without_block(text: &str) -> String {
    // A mark alone hides nothing.
    if !text.lines().any(|line| is_block_mark(line, BLOCK_END)) {
        return text.to_owned();
    }
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        inside |= is_block_mark(line, BLOCK_START);
        if inside {
            out.push('\n');
        } else {
            out.push_str(line);
        }
        inside &= !is_block_mark(line, BLOCK_END);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_block;

    #[test]
    fn lines_keep_their_numbers() {
        let text = "FROM a\r\n# >>> gpuseal: do not edit\r\nRUN pip install torch\r\n# <<< gpuseal\r\nRUN b";
        assert_eq!(without_block(text), "FROM a\r\n\n\n\nRUN b");
        assert_eq!(without_block("# >>> gpusealed\nRUN a\n"), "# >>> gpusealed\nRUN a\n");
        assert_eq!(without_block("# >>> gpuseal\nRUN a\n"), "# >>> gpuseal\nRUN a\n");
    }
}
