//! Requirement files as pip reads them: its lines, its options, its nesting.
//!
//! Source: pip's documentation, "Requirements File Format"; what it does with comments and
//! continuation lines was compared with pip's own parser.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::demand::{Choice, CudaSaid, Demand, Index, Kind};
use super::marker::Marker;
use super::reader::{Reader, of_pytorch};
use super::source::Text;
use super::{By, link, local};
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
    for (line, content) in logical_lines(&text.text) {
        let words = Line::read(&content).map_err(|why| text.bad(line, why, None))?;
        for (target, kind) in words
            .files
            .iter()
            .map(|(target, constraint)| (target, if *constraint { Kind::Constraint } else { kind }))
        {
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
        }
        batch.options(&words, &text.place(line));
        if let Some(given) = &words.requirement {
            batch.requirement(given, text, line, kind, reader)?;
        }
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
        let mut demand = reader.demand(text, line, given)?;
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
            all().find(|i| i.variant.is_some() && i.variant == label).or_else(|| all().next())
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
            if let Some(finding) = ambiguous(demand)
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
            let used = self.demands.iter().any(|d| d.index.as_ref() == Some(index));
            // Said beside requirements of another file, or against the index that is used.
            if let Some(variant) = index.variant.filter(|_| !used) {
                reader.project.cuda.push(CudaSaid {
                    given: index.url.clone(),
                    variant: Some(variant),
                    by: By::Index,
                    package: String::new(),
                    marker: Marker::default(),
                    choice: choice.cloned(),
                    place: index.place.clone(),
                });
            }
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
fn ambiguous(demand: &Demand) -> Option<Finding> {
    let index = demand.index.as_ref().filter(|i| i.extra)?;
    if demand.label().is_some() || demand.kind != Kind::Requirement {
        return None;
    }
    Some(
        Finding::new(
            Code::AmbiguousIndex,
            Severity::Warning,
            format!(
                "`{}` may come from `{}` or from the main index: the installer takes the higher version of both",
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
    ("--pre", false),
    ("--all-releases", true),
    ("--only-final", true),
    ("--trusted-host", true),
    ("--use-feature", true),
    ("--hash", true),
    ("--global-option", true),
    ("--install-option", true),
    ("--config-settings", true),
    ("--config-setting", true),
    ("-C", true),
];

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
        let words = split(options);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, mut value) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let known = OPTIONS.iter().find(|(option, _)| *option == name).or_else(|| {
                // `-rbase.txt`
                OPTIONS.iter().find(|(option, _)| {
                    option.len() == 2 && name.starts_with(option) && !name.starts_with("--")
                })
            });
            let Some((option, takes)) = known else {
                return Err(format!(
                    "`{}` is no option of a requirement file",
                    crate::domain::shown(name)
                ));
            };
            if option.len() == 2 && name.len() > 2 {
                value = Some(name[2..].trim_start_matches('=').to_owned());
            }
            if *takes && value.is_none() {
                value = words.next().cloned();
                if value.is_none() {
                    return Err(format!("`{option}` lacks its value"));
                }
            }
            let value = value.unwrap_or_default();
            match *option {
                "--index-url" | "--pypi-url" | "-i" => line.index = Some(value),
                "--extra-index-url" | "--find-links" | "-f" => line.extra.push(value),
                "--requirement" | "-r" => line.files.push((value, false)),
                "--constraint" | "-c" => line.files.push((value, true)),
                "--editable" | "-e" => line.requirement = Some(value),
                _ => (),
            }
        }
        Ok(line)
    }
}

/// Words of a shell-like text: quotes and backslashes taken off.
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
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
            joined.push_str(physical.trim_end_matches('\\'));
        }
    }
    if let Some(rest) = open {
        take(rest);
    }
    lines
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
        for text in ["--index", "--index-url", "--nope x", "torch -z"] {
            assert!(Line::read(text).is_err(), "{text}");
        }
    }
}
