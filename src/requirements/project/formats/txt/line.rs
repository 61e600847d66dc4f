//! Lines of a requirement file as pip joins and splits them, and the options on them.

use super::super::link;
use super::super::source::Text;

/// One line of a requirement file, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The requirement, the address or the path, without options.
    pub requirement: Option<String>,
    /// `--index-url`.
    pub index: Option<String>,
    /// `--extra-index-url` and `--find-links`.
    pub extra: Vec<String>,
    /// `-r` and `-c`: the file, and whether it is a constraint.
    pub files: Vec<(String, bool)>,
    /// `--hash`: only such a file is installed.
    pub hashed: bool,
    /// The requirement is installed in place.
    pub editable: bool,
    /// Words behind an option, which pip passes over.
    pub ignored: Vec<String>,
}

/// Options and whether they take a value.
const OPTIONS: &[(&str, bool)] = &[
    ("--index-url", true),
    ("--pypi-url", true),
    ("-i", true),
    ("--extra-index-url", true),
    ("--find-links", true),
    ("-f", true),
    ("--requirement", true),
    ("-r", true),
    ("--constraint", true),
    ("-c", true),
    ("--editable", true),
    ("-e", true),
    ("--no-index", false),
    ("--no-binary", true),
    ("--only-binary", true),
    ("--prefer-binary", false),
    ("--require-hashes", false),
    ("--no-require-hashes", false),
    ("--pre", false),
    ("--all-releases", true),
    ("--only-final", true),
    ("--trusted-host", true),
    ("--use-feature", true),
    ("--hash", true),
    ("--config-settings", true),
    ("-C", true),
    // Of pip before 23.1 and 25.3.
    ("--install-option", true),
    ("--global-option", true),
];

/// The option that a word is: a long one may be cut short, where no other begins like that.
fn option(word: &str) -> Result<(&'static str, bool), String> {
    let is = |(name, _): &&(&str, bool)| {
        if name.len() == 2 { word.starts_with(name) } else { name.starts_with(word) }
    };
    let exact = OPTIONS.iter().find(|(name, _)| *name == word);
    let mut fitting = exact.into_iter().chain(OPTIONS.iter().filter(is));
    let of = |(name, takes): &(&'static str, bool)| (*name, *takes);
    match (fitting.next(), fitting.next()) {
        (Some(option), None) => Ok(of(option)),
        (Some(option), Some(_)) if exact.is_some() => Ok(of(option)),
        (Some((one, _)), Some((other, _))) => {
            Err(format!("`{}` may be `{one}` or `{other}`", crate::domain::shown(word)))
        }
        (None, _) => {
            Err(format!("`{}` is no option of a requirement file", crate::domain::shown(word)))
        }
    }
}

/// What pip asks of the value of an option.
fn check(option: &str, value: &str) -> Result<(), String> {
    let expected = match option {
        "--hash" if !["sha256:", "sha384:", "sha512:"].iter().any(|s| value.starts_with(s)) => {
            "sha256:, sha384: or sha512: and a digest"
        }
        "--config-settings" | "-C" if !value.contains('=') => "KEY=VALUE",
        _ => return Ok(()),
    };
    Err(format!("`{option}` takes {expected}, not `{}`", crate::domain::shown(value)))
}

impl Line {
    /// Takes a logical line apart.
    ///
    /// # Errors
    /// An option that pip does not know there, or one without its value.
    pub fn read(content: &str) -> Result<Self, String> {
        // As pip: everything before the first word that begins with `-` is the requirement.
        let mut cut = content.len();
        let mut at = 0;
        for word in content.split(' ') {
            if word.starts_with('-') {
                cut = at;
                break;
            }
            at += word.len() + 1;
        }
        let (head, options) = content.split_at(cut.min(content.len()));
        let mut line = Self::default();
        let head = head.trim();
        if !head.is_empty() {
            line.requirement = Some(head.to_owned());
        }
        let mut editable = None;
        let words = split(options)?;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                line.ignored.extend(words.by_ref().cloned());
                break;
            }
            if !word.starts_with('-') || word == "-" {
                line.ignored.push(word.clone());
                continue;
            }
            let (name, mut value) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let (option, takes) = option(name)?;
            // `-rbase.txt`
            if option.len() == 2 && name.len() > 2 {
                value = Some(name[2..].to_owned());
            }
            let value = match (takes, value) {
                (false, Some(_)) => return Err(format!("`{option}` takes no value")),
                (false, None) => continue,
                (true, Some(value)) => value,
                (true, None) => {
                    words.next().cloned().ok_or_else(|| format!("`{option}` lacks its value"))?
                }
            };
            check(option, &value)?;
            match option {
                "--index-url" | "--pypi-url" | "-i" => line.index = Some(value),
                "--extra-index-url" | "--find-links" | "-f" => line.extra.push(value),
                "--requirement" | "-r" => line.files.push((value, false)),
                "--constraint" | "-c" => line.files.push((value, true)),
                "--hash" => line.hashed = true,
                // Of several, pip takes the first: an address or a folder, never a package's name.
                "--editable" | "-e" if editable.is_some() => (),
                "--editable" | "-e" if !value.contains("://") && !link::is_path(&value) => {
                    editable = Some(format!("./{value}"));
                }
                "--editable" | "-e" => editable = Some(value),
                _ => (),
            }
        }
        line.editable = editable.is_some();
        line.requirement = line.requirement.or(editable);
        Ok(line)
    }
}

/// Words of a shell-like text, as Python's `shlex.split` takes quotes and backslashes off.
///
/// # Errors
/// A quote that is not closed, a backslash before nothing.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(_), '\\') if !matches!(chars.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().push(c);
            }
            (_, '\\') => {
                let next = chars.next().ok_or("a backslash at the end hides nothing")?;
                word.get_or_insert_default().push(next);
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("a {quote} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// Lines as pip joins them, without comments: each with the number of its first line.
pub fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut take = |(number, line): (usize, String)| {
        let line = without_comment(&line).trim().to_owned();
        if !line.is_empty() {
            lines.push((number, line));
        }
    };
    for (physical, number) in text.lines().zip(1..) {
        let comment = physical.trim_start().starts_with('#');
        if comment || !physical.ends_with('\\') {
            match open.take() {
                Some((first, mut joined)) => {
                    if comment {
                        joined.push(' ');
                    }
                    joined.push_str(physical);
                    take((first, joined));
                }
                None => take((number, physical.to_owned())),
            }
        } else {
            let (_, joined) = open.get_or_insert_with(|| (number, String::new()));
            joined.push_str(physical.trim_matches('\\'));
        }
    }
    if let Some(rest) = open {
        take(rest);
    }
    lines
}

/// A text with the lines that Python's `splitlines` sees: a form feed ends one, too.
pub fn as_python(text: &Text) -> Text {
    let ends = ['\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];
    Text { text: text.text.replace(ends, "\n").into(), ..text.clone() }
}

/// A `#` begins a comment at the start of a line or after a space.
fn without_comment(line: &str) -> &str {
    let at = line
        .match_indices('#')
        .find(|(at, _)| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
    at.map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_freed_of_comments() {
        let text = "# head\ntorch==2.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb # tail\n\nnumpy#x\na \\\n# inside\nb\n";
        let lines = logical_lines(text);
        assert_eq!(lines[0].0, 2);
        assert!(lines[0].1.ends_with("sha256:bb"));
        assert_eq!(lines[1], (6, "numpy#x".into()));
        assert_eq!(lines[2], (7, "a".into()));
        assert_eq!(lines[3], (9, "b".into()));
    }

    #[test]
    fn options_read_and_refused() {
        let line = Line::read("torch==2.0 --hash=sha256:aa --hash sha256:bb").expect("hashes");
        assert_eq!(line.requirement.as_deref(), Some("torch==2.0"));
        let line = Line::read("--extra-index-url=https://a/ -i https://b/").expect("indexes");
        assert_eq!(
            (line.extra.as_slice(), line.index.as_deref()),
            (&["https://a/".to_owned()][..], Some("https://b/"))
        );
        assert_eq!(
            Line::read("-rbase.txt").expect("glued").files,
            [("base.txt".to_owned(), false)]
        );
        assert_eq!(
            Line::read("-e .[gpu]").expect("editable").requirement.as_deref(),
            Some(".[gpu]")
        );
        let line = Line::read("--extra 'https://a/b c' --pre more").expect("cut short");
        assert_eq!((line.extra, line.ignored), (vec!["https://a/b c".into()], vec!["more".into()]));
        for text in [
            "--index",
            "--index-url",
            "--nope x",
            "torch -z",
            "--req base.txt",
            "--pre=yes",
            "-f 'https://a",
            "torch --hash=md5:aa",
            "torch --config-settings x",
        ] {
            assert!(Line::read(text).is_err(), "{text}");
        }
    }
}
