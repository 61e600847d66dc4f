//! Requirement files as pip reads them: its lines, its options, its nesting.
//!
//! Source: pip's documentation, "Requirements File Format"; what it does with comments and
//! continuation lines was compared with pip's own parser.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::demand::{Choice, CudaSaid, Demand, Index, Kind};
use super::reader::{Reader, of_pytorch};
use super::source::Text;
use super::{link, local};
use crate::domain::{Code, Finding, Place, Severity};
use crate::requirements::Error;

/// Files that include each other, at most this deep.
const MAX_DEPTH: usize = 20;
/// Lines of one installation that name another file.
const MAX_INCLUDES: usize = 2000;
/// Indexes of one installation; more are told when it is handed over.
const MAX_INDEXES: usize = 2000;

/// What one installation is told: requirements, and the indexes that hold for all of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Requirements and constraints.
    pub demands: Vec<Demand>,
    /// `--index-url`: the last one counts.
    pub index: Option<Index>,
    /// `--extra-index-url` and `--find-links`.
    pub extra: Vec<Index>,
    /// Folders that are installed too (`-e .`): path, extras, where.
    pub folders: Vec<(String, Vec<String>, Text, usize)>,
    /// The same, to tell which are new.
    seen: BTreeSet<(String, Vec<String>)>,
    /// Files that were read into it, as requirements or as constraints, and the index that each
    /// leaves behind: a second reading would add nothing else.
    done: BTreeMap<(PathBuf, bool), Option<Index>>,
    includes: usize,
}

/// Reads a requirement file and all that it includes.
///
/// # Errors
/// A line that pip would refuse, a file that is not there, a circle.
pub fn read(text: &Text, reader: &mut Reader, choice: Option<&Choice>) -> Result<(), Error> {
    let mut batch = Batch::default();
    read_into(text, reader, &mut batch, Kind::Requirement)?;
    batch.finish(reader, choice)
}

/// Reads a requirement file into a batch, as `pip install -r` would.
///
/// # Errors
/// As [`read`].
pub fn read_into(
    text: &Text,
    reader: &mut Reader,
    batch: &mut Batch,
    kind: Kind,
) -> Result<(), Error> {
    nested(text, reader, batch, kind, &mut Vec::new())
}

fn nested(
    text: &Text,
    reader: &mut Reader,
    batch: &mut Batch,
    kind: Kind,
    above: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let what = if kind == Kind::Constraint { "constraints" } else { "requirements" };
    reader.began(text, what);
    let own = fs_err::canonicalize(&text.path)?;
    above.push(own.clone());
    let before = batch.index.take();
    let text = &as_python(text);
    for (line, content) in logical_lines(&text.text) {
        let words = Line::read(&content).map_err(|why| text.bad(line, why, None))?;
        for word in &words.ignored {
            let word = crate::domain::shown(word);
            reader.unread(&text.place(line), format!("`{word}` behind an option is passed over"));
        }
        if let Some(given) = &words.requirement {
            if words.editable && kind == Kind::Constraint {
                return Err(text.bad(line, "what is installed in place is no constraint", None));
            }
            if words.index.is_some() || !words.extra.is_empty() {
                let message =
                    "pip passes over an index beside a requirement: it needs its own line";
                reader.unread(&text.place(line), message);
            }
            batch.requirement(given, text, line, kind, reader)?;
            if words.hashed
                && let Some(demand) =
                    batch.demands.last_mut().filter(|d| d.place == text.place(line))
            {
                demand.hashed = true;
            }
            continue;
        }
        // Of several pip takes one, and a requirement file first.
        let file = words.files.iter().find(|f| !f.1).or(words.files.first());
        if let Some((target, constraint)) = file {
            let kind = match (constraint, kind) {
                (true, _) => Kind::Constraint,
                // `-r` in a constraint file leads to requirements again.
                (false, Kind::Constraint) => Kind::Requirement,
                (false, kind) => kind,
            };
            if target.contains("://") {
                reader.unread(
                    &text.place(line),
                    format!("`{target}` would have to be fetched, and is not read"),
                );
                continue;
            }
            batch.includes += 1;
            if batch.includes > MAX_INCLUDES {
                let message = format!("more than {MAX_INCLUDES} lines name a file to read");
                return Err(text.bad(line, message, None));
            }
            let real = text.names(target);
            if let Some(index) =
                real.as_ref().and_then(|real| batch.done.get(&(real.clone(), constrains(kind))))
            {
                batch.index = index.clone().or(batch.index.take());
                continue;
            }
            let real = real.unwrap_or_default();
            if above.contains(&real) {
                let message = format!("`{target}` includes itself, by way of {}", above.len());
                return Err(text.bad(line, format!("{message} files"), None));
            }
            if above.len() >= MAX_DEPTH {
                let message = format!("files include each other more than {MAX_DEPTH} deep");
                return Err(text.bad(line, message, None));
            }
            let inner = reader.files.include(text, line, target)?;
            nested(&inner, reader, batch, kind, above)?;
            continue;
        }
        batch.options(&words, &text.place(line));
    }
    above.pop();
    batch.done.insert((own, constrains(kind)), batch.index.clone());
    batch.index = batch.index.take().or(before);
    Ok(())
}

fn constrains(kind: Kind) -> bool {
    kind == Kind::Constraint
}

impl Batch {
    /// Takes the index options of a line.
    pub fn options(&mut self, words: &Line, place: &Place) {
        if let Some(url) = &words.index {
            self.index = Some(Index::new(url, place.clone()));
        }
        for url in &words.extra {
            if self.extra.len() >= MAX_INDEXES {
                break;
            }
            self.extra.push(Index { extra: true, ..Index::new(url, place.clone()) });
        }
    }

    /// Takes a requirement of a line.
    ///
    /// # Errors
    /// What is wrong with it, on that line.
    pub fn requirement(
        &mut self,
        given: &str,
        text: &Text,
        line: usize,
        kind: Kind,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        if let Some(at) = given.find("${") {
            let name = given[at + 2..].split('}').next().unwrap_or_default();
            let in_address = given.find("://").is_some_and(|scheme| scheme < at);
            if !in_address {
                reader.unread(
                    &text.place(line),
                    format!(
                        "`{}` depends on the variable `{}`",
                        crate::domain::shown(given),
                        crate::domain::shown(name)
                    ),
                );
                return Ok(());
            }
        }
        let mut demand = text.demand(line, given)?;
        demand.kind = kind;
        let folder = demand.link.as_ref().filter(|l| l.local && demand.name.is_empty());
        if let Some(folder) = folder {
            let path = folder.address.trim_start_matches("file://").trim_start_matches("file:");
            if self.seen.insert((path.to_owned(), demand.extras.clone())) && reader.room(&demand) {
                self.folders.push((path.to_owned(), demand.extras.clone(), text.clone(), line));
            }
            return reader.enough();
        }
        if demand.name.is_empty() {
            reader.unread(
                &text.place(line),
                format!(
                    "what `{}` is would be known after fetching it",
                    crate::domain::shown(given)
                ),
            );
            return Ok(());
        }
        if reader.room(&demand) {
            self.demands.push(demand);
        }
        reader.enough()
    }

    /// The index that a package of this batch comes from, when a line says so.
    fn serves(&self, demand: &Demand) -> Option<&Index> {
        if demand.link.is_some() {
            return None;
        }
        let wheels = || {
            let all = || self.extra.iter().filter(|i| link::is_pytorch(&i.url));
            let label = demand.label();
            all()
                .find(|i| i.variant.is_some() && i.variant == label)
                .or_else(|| all().find(|i| i.url.contains("pytorch")))
                .or_else(|| all().next())
        };
        let own = self.index.as_ref();
        match own {
            Some(index) if index.variant.is_some() => Some(index),
            _ if of_pytorch(&demand.name) => wheels().or(own),
            _ => own,
        }
    }

    /// Gives every requirement its index, and hands all over.
    ///
    /// # Errors
    /// A folder that is installed too, and cannot be read.
    pub fn finish(mut self, reader: &mut Reader, choice: Option<&Choice>) -> Result<(), Error> {
        for at in 0..self.demands.len() {
            let index = self.serves(&self.demands[at]).cloned();
            let demand = &mut self.demands[at];
            demand.choice = choice.cloned();
            demand.index = index;
        }
        let mut told = Vec::new();
        for demand in &self.demands {
            let beside = self.index.is_some() && !self.extra.is_empty();
            if let Some(finding) = ambiguous(demand, beside)
                && let Some(index) = &demand.index
                && !told.contains(&index.place)
            {
                told.push(index.place.clone());
                reader.project.findings.push(finding);
            }
        }
        let all = self.index.iter().chain(&self.extra);
        for index in all {
            reader.enough()?;
            if index.url.contains("${") {
                let message = format!(
                    "the index `{}` depends on a variable",
                    crate::domain::shown(&index.url)
                );
                reader.unread(&index.place, message);
            }
            let used = self.demands.iter().any(|d| d.index.as_ref() == Some(index));
            // Said beside requirements of another file, or against the index that is used.
            reader.project.cuda.extend(CudaSaid::by_index(index, choice).filter(|_| !used));
            reader.index(index.clone());
        }
        reader.enough()?;
        reader.project.demands.append(&mut self.demands);
        for (path, extras, text, line) in self.folders {
            local::folder(&path, &extras, &text, line, reader, choice)?;
        }
        Ok(())
    }
}

/// `--extra-index-url` beside another index: the installer takes the highest version of both.
/// `beside`: there is an `--index-url` and something beside it.
fn ambiguous(demand: &Demand, beside: bool) -> Option<Finding> {
    let index = demand.index.as_ref().filter(|i| i.extra || beside && i.variant.is_some())?;
    // The others carry no label on the index, and a hash lets only one file in.
    let labelled = ["torch", "torchvision", "torchaudio"].contains(&demand.name.as_str());
    let other = !labelled || demand.hashed || demand.label().is_some();
    if other || demand.kind != Kind::Requirement {
        return None;
    }
    Some(
        Finding::new(
            Code::AmbiguousIndex,
            Severity::Warning,
            format!(
                "`{}` may come from `{}` or from another index: the installer takes the higher version of both",
                demand.name, index.url
            ),
        )
        .at(&index.place)
        .fact(format!("`{}` is asked for", crate::domain::shown(&demand.given)), demand.place.to_string())
        .help(format!(
            "name the build, as in {}==VERSION+{}, or install it by a line of its own with --index-url",
            demand.name,
            index.variant.map_or("cu128".into(), |v| v.to_string())
        )),
    )
}

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
                "--editable" | "-e" if !value.contains("://") && !super::link::is_path(&value) => {
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
fn as_python(text: &Text) -> Text {
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

    #[test]
    fn files_nest_as_pip_nests_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs_err::write(folder.path().join(name), text).expect("written");
        };
        write(
            "requirements.txt",
            "torch --index-url https://x.example/cu128\x0cnumpy\n-c c.txt -r r.txt\n",
        );
        write("c.txt", "never-read\n");
        write("r.txt", "-c constraints.txt\n");
        write("constraints.txt", "scipy\n-r again.txt\n");
        write("again.txt", "-e lib\npandas\n");
        let project = super::super::super::folder(folder.path()).expect("read");
        let said: Vec<_> = project
            .demands
            .iter()
            .map(|d| (d.name.as_str(), d.kind.word(), d.place.line, d.index.is_some()))
            .collect();
        assert_eq!(
            said,
            [
                ("torch", "requirement", 1, false),
                ("numpy", "requirement", 2, false),
                ("scipy", "constraint", 1, false),
                ("pandas", "requirement", 2, false),
            ]
        );
        // The index, and the folder that is not there.
        assert_eq!(project.findings.len(), 2, "{:?}", project.findings);
        write("again.txt", "\n-e .\n-c c2.txt\n");
        write("c2.txt", "-e .\n");
        let err = super::super::super::folder(folder.path()).expect_err("a constraint in place");
        assert!(err.to_string().contains("no constraint"), "{err}");
    }
}
