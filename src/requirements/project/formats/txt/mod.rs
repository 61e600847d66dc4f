//! Requirement files as pip reads them: its lines, its options, its nesting.
//!
//! Source: pip's documentation, "Requirements File Format"; what it does with comments and
//! continuation lines was compared with pip's own parser.

mod line;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::demand::{Choice, CudaSaid, Demand, Index, Kind};
use super::reader::{Reader, of_pytorch};
use super::source::Text;
use super::{link, local};
use crate::domain::{Code, Finding, Place, Severity};
use crate::requirements::Error;

pub use line::{Line, logical_lines};

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
    let text = &line::as_python(text);
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

#[cfg(test)]
mod tests {

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
        let project = crate::requirements::project::folder(folder.path()).expect("read");
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
        let err =
            crate::requirements::project::folder(folder.path()).expect_err("a constraint in place");
        assert!(err.to_string().contains("no constraint"), "{err}");
    }
}
