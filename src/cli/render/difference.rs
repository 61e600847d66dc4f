//! What would change in a file, as `patch` and `git apply` read it.

use std::fmt::{self, Write};
use std::path::Path;

use imara_diff::{
    Algorithm, Diff, InternedInput, Interner, Token, UnifiedDiffConfig, UnifiedDiffPrinter,
};

/// Most that is shown of a difference, in bytes: nobody reads more.
const MOST: usize = 1024 * 1024;

/// The unified difference of two texts that are not the same. `/dev/null` stands for a file that is not
/// there, as in git.
pub(super) fn difference(path: &Path, old: Option<&str>, new: &str) -> String {
    let name = path.display();
    let input = InternedInput::new(old.unwrap_or_default(), new);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let lines = Lines { text: &input.interner };
    let body = diff.unified_diff(&lines, UnifiedDiffConfig::default(), &input);
    let mut text = match old {
        Some(_) => format!("--- {name}\n+++ {name}\n{body}"),
        None => format!("--- /dev/null\n+++ {name}\n{body}"),
    };
    if text.len() > MOST {
        let rest = text.split_off(text.floor_char_boundary(MOST));
        // No patch any more: it is refused, and not applied in part.
        let _ = write!(text, "\n... and {} bytes more\n", rest.len());
    }
    text
}

/// Writes lines; a last one without its end is told from one that has it.
struct Lines<'t> {
    text: &'t Interner<&'t str>,
}

impl Lines<'_> {
    fn line(&self, f: &mut impl Write, sign: char, line: Token) -> fmt::Result {
        let line = self.text[line];
        let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
        write!(f, "{sign}{line}{end}")
    }
}

impl UnifiedDiffPrinter for Lines<'_> {
    fn display_header(
        &self,
        mut f: impl Write,
        start_before: u32,
        start_after: u32,
        len_before: u32,
        len_after: u32,
    ) -> fmt::Result {
        // Lines are counted from 1; where there are none, the line before them counts.
        let (before, after) =
            (start_before + u32::from(len_before > 0), start_after + u32::from(len_after > 0));
        writeln!(f, "@@ -{before},{len_before} +{after},{len_after} @@")
    }

    fn display_context_token(&self, mut f: impl Write, line: Token) -> fmt::Result {
        self.line(&mut f, ' ', line)
    }

    fn display_hunk(&self, mut f: impl Write, before: &[Token], after: &[Token]) -> fmt::Result {
        before.iter().try_for_each(|line| self.line(&mut f, '-', *line))?;
        after.iter().try_for_each(|line| self.line(&mut f, '+', *line))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::difference;

    #[test]
    fn differences_as_patch_reads_them() {
        let name = Path::new("a/b");
        assert_eq!(
            difference(name, Some("1\n2\n3"), "1\nx\n3"),
            "--- a/b\n+++ a/b\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n\\ No newline at end of file\n"
        );
        assert_eq!(
            difference(name, None, "1\n2\n"),
            "--- /dev/null\n+++ a/b\n@@ -0,0 +1,2 @@\n+1\n+2\n"
        );
        assert_eq!(
            difference(name, Some("1"), "1\n"),
            "--- a/b\n+++ a/b\n@@ -1,1 +1,1 @@\n-1\n\\ No newline at end of file\n+1\n"
        );
    }
}
