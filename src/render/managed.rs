//! A block of the user's own Dockerfile that is ours: our stages, between two marks.
//!
//! The first mark holds the digest of what stands between them, so that a block which was edited by hand
//! is noticed and never lost.

use std::ops::Range;

use super::Error;
use crate::domain::{BLOCK_END, BLOCK_START, Sha256, is_block_mark, shown};

/// What the first mark goes on with, before the digest.
const NOTE: &str = "written by `gpuseal render dockerfile --managed`, do not edit;";

/// What a new Dockerfile begins with.
const SYNTAX: &str = "# syntax=docker/dockerfile:1\n";

/// The Dockerfile has a block of ours, or what is left of one.
pub fn has_block(text: &str) -> bool {
    text.lines().any(|line| is_block_mark(line, BLOCK_START) || is_block_mark(line, BLOCK_END))
}

/// Puts `stages` where the block of `text` is; a Dockerfile without one gets it before its first stage.
///
/// What stands outside the marks is kept byte for byte. The same stages give the same text again.
///
/// # Errors
/// [`Error::BlockEdited`] without `force`; [`Error::Block`] when the marks are no pair, the Dockerfile has another escape character, or one of its own stages has the name of one of ours.
pub fn weave(text: &str, stages: &str, force: bool) -> Result<String, Error> {
    if has_block(stages) {
        return Err(Error::Block("the template writes a mark of its own".into()));
    }
    let block = marked(stages);
    let Some(range) = find(text)? else {
        let (before, after) = text.split_at(first_stage(text)?);
        names_differ(stages, &[before, after])?;
        let head = if text.is_empty() { SYNTAX } else { "" };
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let gap = if after.is_empty() { "" } else { "\n" };
        return Ok(format!("{head}{before}{end}{block}{gap}{after}"));
    };
    let (before, after) = (&text[..range.start], &text[range.end..]);
    escapes_by_backslash(before)?;
    if !force && !is_untouched(&text[range]) {
        return Err(Error::BlockEdited);
    }
    names_differ(stages, &[before, after])?;
    Ok(format!("{before}{block}{after}"))
}

fn marked(stages: &str) -> String {
    let end = if stages.ends_with('\n') { "" } else { "\n" };
    let stages = format!("{stages}{end}");
    format!("{BLOCK_START}: {NOTE} {}\n{stages}{BLOCK_END}\n", Sha256::of(stages.as_bytes()))
}

/// Bytes of the block with both marks.
fn find(text: &str) -> Result<Option<Range<usize>>, Error> {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_block_mark(line, BLOCK_START) {
            starts.push((at, number + 1));
        } else if is_block_mark(line, BLOCK_END) {
            ends.push((at + line.len(), number + 1));
        }
        at += line.len();
    }
    let lines = |marks: &[(usize, usize)]| {
        let lines: Vec<_> = marks.iter().map(|(_, line)| line.to_string()).collect();
        if lines.is_empty() { "none".to_owned() } else { lines.join(", ") }
    };
    match (&starts[..], &ends[..]) {
        ([], []) => Ok(None),
        ([(start, _)], [(end, _)]) if start < end => Ok(Some(*start..*end)),
        _ => Err(Error::Block(format!(
            "its marks are no pair: `{BLOCK_START}` on line {}, `{BLOCK_END}` on line {}",
            lines(&starts),
            lines(&ends)
        ))),
    }
}

/// The digest in the first mark is that of the lines that follow.
fn is_untouched(block: &str) -> bool {
    let Some((mark, rest)) = block.split_once('\n') else { return false };
    let stages = rest.strip_suffix('\n').unwrap_or(rest).strip_suffix(BLOCK_END).unwrap_or(rest);
    mark.trim_end().ends_with(Sha256::of(stages.as_bytes()).as_str())
}

/// Where the first stage begins, with the comments right above it; the end where there is none.
fn first_stage(text: &str) -> Result<usize, Error> {
    let mut at = 0;
    let mut comments = None;
    for line in text.split_inclusive('\n') {
        let words = line.trim_start();
        if stage(words).is_some() {
            escapes_by_backslash(text)?;
            // A parser directive stands above everything; it is no comment on a stage.
            return Ok(comments.unwrap_or(at));
        }
        let comment = words.starts_with('#') && !is_directive(words);
        comments = if comment { comments.or(Some(at)) } else { None };
        at += line.len();
    }
    escapes_by_backslash(text)?;
    Ok(at)
}

/// `# syntax=...`, `# escape=...`, `# check=...`
fn is_directive(line: &str) -> bool {
    let words = line.trim_start_matches('#').trim_start().to_ascii_lowercase();
    ["syntax", "escape", "check"]
        .iter()
        .any(|name| words.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')))
}

/// Our lines go on with a backslash.
fn escapes_by_backslash(text: &str) -> Result<(), Error> {
    let directives = text.lines().take_while(|line| is_directive(line.trim_start()));
    for line in directives {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name.to_ascii_lowercase().contains("escape") && value.trim() != "\\" {
            return Err(Error::Block(format!(
                "`{}` makes lines go on with another sign than `\\`, which the block needs",
                shown(line.trim())
            )));
        }
    }
    Ok(())
}

/// The rest of a line that begins a stage.
fn stage(line: &str) -> Option<&str> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case("FROM").then_some(rest)
}

/// Names of stages: `AS name`.
fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter_map(|line| {
        let mut words = stage(line.trim_start())?.split_whitespace();
        words.find(|word| word.eq_ignore_ascii_case("AS"))?;
        words.next().map(str::to_ascii_lowercase)
    })
}

/// A stage of the user's with the name of one of ours would hide it.
fn names_differ(stages: &str, own: &[&str]) -> Result<(), Error> {
    let ours: Vec<_> = names(stages).collect();
    match own.iter().flat_map(|text| names(text)).find(|name| ours.contains(name)) {
        Some(name) => Err(Error::Block(format!(
            "it has a stage `{}` of its own, and the block brings one of this name",
            shown(&name)
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SYNTAX, has_block, marked, weave};

    const OURS: &str = "# ours\nFROM python AS train\nRUN a \\\n  b\n";
    const THEIRS: &str =
        "# syntax=docker/dockerfile:1\nARG BASE=train\n\n# The program.\nFROM train\nCOPY . .\n";

    #[test]
    fn a_block_goes_before_the_first_stage_and_stays_there() {
        let first = weave(THEIRS, OURS, false).expect("a block");
        let (before, after) = THEIRS.split_once("# The program").expect("both");
        assert_eq!(first, format!("{before}{}\n# The program{after}", marked(OURS)));
        assert!(has_block(&first) && !has_block(THEIRS));
        assert_eq!(weave(&first, OURS, false).expect("the same"), first);
        // Other stages change the block alone, wherever it was moved to.
        let newer = OURS.replace("python", "python:3.12");
        let moved = format!("{THEIRS}\n{}# end\n", marked(OURS));
        assert_eq!(
            weave(&moved, &newer, false).expect("newer"),
            format!("{THEIRS}\n{}# end\n", marked(&newer))
        );
        // A file that is not there yet, and one without a stage.
        assert_eq!(weave("", OURS, false).expect("new"), format!("{SYNTAX}{}", marked(OURS)));
        assert_eq!(weave("ARG A\n", OURS, false).expect("new"), format!("ARG A\n{}", marked(OURS)));
        // Without a line end after the last mark.
        let bare = first.split_once("\n# The program").expect("both").0.trim_end();
        assert_eq!(weave(bare, OURS, false).expect("the same").trim_end(), bare);
    }

    #[test]
    fn what_would_be_lost_or_hidden_is_refused() {
        let first = weave(THEIRS, OURS, false).expect("a block");
        let edited = first.replace("RUN a", "RUN mine");
        let no_end = first.replace("# <<< gpuseal\n", "");
        let twice = format!("{first}{}", marked(OURS));
        let taken = format!("{THEIRS}FROM x as Train\n");
        let escape = format!("# escape=`\n{}", &THEIRS[THEIRS.find('\n').expect("a line") + 1..]);
        for (text, part) in [
            (&edited, "edited by hand"),
            (&no_end, "no pair: `# >>> gpuseal` on line 4, `# <<< gpuseal` on line none"),
            (&twice, "on line 4, 14"),
            (&taken, "a stage `train` of its own"),
            (&escape, "`# escape=``"),
        ] {
            let error = weave(text, OURS, false).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.help().is_some());
        }
        assert_eq!(weave(&edited, OURS, true).expect("by force"), first);
        assert!(weave(&no_end, OURS, true).is_err());
    }

    proptest! {
        #[test]
        fn nothing_outside_the_block_changes(before in "[ -~\n]{0,60}", after in "[ -~\n]{0,60}") {
            let text = format!("{before}\n{}{after}", marked("FROM a AS old\n"));
            if let Ok(new) = weave(&text, OURS, false) {
                prop_assert_eq!(&new, &format!("{before}\n{}{after}", marked(OURS)));
                prop_assert_eq!(weave(&new, OURS, false).expect("again"), new);
            }
            let own = format!("{before}\n{after}");
            if let Ok(new) = weave(&own, OURS, false) {
                let rest = new.replacen(&marked(OURS), "", 1);
                let squeezed = |text: &str| text.replace('\n', "").replace(SYNTAX.trim(), "");
                prop_assert_eq!(squeezed(&rest), squeezed(&own));
                prop_assert_eq!(weave(&new, OURS, false).expect("again"), new);
            }
        }
    }
}
