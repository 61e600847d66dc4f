//! Which file of a page: the version, then the file of it that fits best.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::demand::{Decided, Demand};
use super::error::NoFile;
use super::{Ask, Error, Known, Wish, machine};
use crate::domain::{Gather as _, shown};
use crate::index::page::{File, Page, Status};
use crate::index::wheel::{Machine, Rank, WheelName};
use crate::lock::{Index, Target};

/// What fits of pages that were read, by index, name, and whether it was decided.
///
/// A page comes by many times and never changes, and the largest have thousands of names to read: one
/// memory serves all walks of a target.
#[derive(Debug, Default)]
pub struct Memory(RefCell<BTreeMap<Key, Rc<[Candidate]>>>);

/// Index, name, and whether the package was decided.
type Key = (Index, String, bool);

/// Chooses files for one target.
pub struct Picky<'a> {
    wish: &'a Wish<'a>,
    known: &'a Known,
    machine: Machine,
    memory: &'a Memory,
}

/// A file and why it may be worth a word.
#[derive(Debug)]
pub struct Chosen<'a> {
    pub index: Index,
    pub version: Version,
    pub file: &'a File,
    page: &'a Page,
}

impl Chosen<'_> {
    /// What the index says against it.
    pub fn notes(&self, name: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(reason) = &self.file.yanked {
            let because =
                if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
            notes.push(format!("{name} {} is yanked{because}", self.version));
        }
        let because =
            self.page.reason.as_ref().map_or(String::new(), |r| format!(": {}", shown(r)));
        match self.page.status {
            Status::Active => (),
            Status::Archived => notes.push(format!("{name} is archived{because}")),
            Status::Quarantined => notes.push(format!("{name} is quarantined{because}")),
            Status::Deprecated => notes.push(format!("{name} is deprecated{because}")),
        }
        notes
    }
}

/// A file that could be taken.
#[derive(Debug, Clone)]
struct Candidate {
    version: Version,
    /// `None`: a source archive.
    rank: Option<Rank>,
    /// Its place on the page.
    at: usize,
}

impl<'a> Picky<'a> {
    /// Chooses from these answers.
    pub fn new(wish: &'a Wish<'a>, known: &'a Known, memory: &'a Memory) -> Self {
        Self { wish, known, machine: machine(wish.target), memory }
    }

    /// The target that it chooses for.
    pub const fn target(&self) -> &'a Target {
        self.wish.target
    }

    /// The file of a package; the inner `Err` is what has to be asked first.
    pub fn choose(
        &self,
        name: &str,
        demand: &Demand,
    ) -> Result<Result<Chosen<'a>, BTreeSet<Ask>>, Error> {
        let mut asks = BTreeSet::new();
        let mut refused = None;
        for index in self.indexes(name, demand) {
            let Some(page) = self.known.pages.get(&(index, name.to_owned())) else {
                asks.insert(Ask::Page(index, name.to_owned()));
                // The next one is asked only when this one has nothing.
                break;
            };
            match self.best(name, demand, index, page) {
                Some(best) => {
                    let file = &page.files[best.at];
                    return Ok(Ok(Chosen { index, version: best.version, file, page }));
                }
                // What the first index says against it tells most: it is the one meant.
                None => _ = refused.get_or_insert((index, page)),
            }
        }
        match (asks.is_empty(), refused) {
            (true, Some((index, page))) => Err(self.no_file(name, demand, index, page)),
            _ => Ok(Err(asks)),
        }
    }

    /// Where a package may come from, best first. The PyTorch wheel index carries old copies of common
    /// packages, so only what belongs to the GPU is looked for there.
    fn indexes(&self, name: &str, demand: &Demand) -> Vec<Index> {
        if let Some(decided) = &demand.decided {
            return vec![decided.index];
        }
        let build = self.wish.target.index;
        if build != Index::Pypi && is_gpu_package(name) {
            return vec![build, Index::Pypi];
        }
        vec![Index::Pypi]
    }

    /// The files of a page that fit, whatever their version.
    fn fitting(
        &self,
        name: &str,
        decided: Option<&Decided>,
        index: Index,
        page: &Page,
    ) -> Rc<[Candidate]> {
        let key = (index, name.to_owned(), decided.is_some());
        let mut read = self.memory.0.borrow_mut();
        let fitting =
            read.entry(key).or_insert_with(|| self.candidates(name, page, decided).collect());
        Rc::clone(fitting)
    }

    fn best(&self, name: &str, demand: &Demand, index: Index, page: &Page) -> Option<Candidate> {
        if page.status == Status::Quarantined {
            return None;
        }
        let all = self.fitting(name, demand.decided.as_ref(), index, page);
        let mut fitting: Vec<_> =
            all.iter().filter(|candidate| admits(demand, &candidate.version)).collect();
        let exact = demand.specifiers.iter().any(|specifiers| {
            specifiers.iter().any(|s| *s.operator() == pep440_rs::Operator::Equal)
        });
        let kept = self.wish.kept.get(name);
        let is_kept = |version: &Version| kept.is_some_and(|kept| kept == version);
        // A yanked release is only taken where it was asked for by its number, or locked before.
        fitting.retain(|c| page.files[c.at].yanked.is_none() || exact || is_kept(&c.version));
        // Pre-releases come last, as PEP 440 has it: only where nothing else is admitted.
        let wheels = fitting.iter().any(|candidate| candidate.rank.is_some());
        let builds = demand.decided.as_ref().is_some_and(|decided| decided.source_build);
        fitting.retain(|candidate| candidate.rank.is_some() == (wheels && !builds));
        let best = fitting.into_iter().max_by_key(|candidate| {
            (
                is_kept(&candidate.version),
                !candidate.version.any_prerelease(),
                candidate.version.clone(),
                candidate.rank.clone(),
                Reverse(page.files[candidate.at].name.as_str()),
            )
        })?;
        Some(best.clone())
    }

    fn candidates(
        &self,
        name: &str,
        page: &Page,
        decided: Option<&Decided>,
    ) -> impl Iterator<Item = Candidate> {
        let files = page.files.iter().enumerate();
        files.filter_map(move |(at, file)| self.candidate(name, at, file, decided))
    }

    fn candidate(
        &self,
        name: &str,
        at: usize,
        file: &File,
        decided: Option<&Decided>,
    ) -> Option<Candidate> {
        let (version, rank) = if let Ok(wheel) = WheelName::from_str(&file.name) {
            if wheel.name() != name {
                return None;
            }
            (wheel.version().clone(), Some(wheel.rank(&self.machine)?))
        } else {
            (source_version(&file.name, name)?, None)
        };
        let python = self.machine.python.pep440();
        let fits = file.requires_python.as_deref().is_none_or(|range| {
            // One that cannot be read binds nobody, as in pip.
            VersionSpecifiers::from_str(range).map_or(true, |range| range.contains(&python))
        });
        let label = version.local();
        let labelled = match decided.and_then(|decided| decided.local.as_ref()) {
            Some(wanted) => label
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(".")
                .eq_ignore_ascii_case(wanted.as_str()),
            // A build that nobody asked for by its label is not ours to pick.
            None => decided.is_none_or(|decided| decided.index != Index::Pypi || label.is_empty()),
        };
        (fits && labelled).then_some(Candidate { version, rank, at })
    }

    /// Why files are not taken although they fit.
    fn left_out(&self, name: &str, demand: &Demand, page: &Page) -> Option<String> {
        let yanked = |candidate: &Candidate| page.files[candidate.at].yanked.as_deref();
        let newest = self
            .candidates(name, page, demand.decided.as_ref())
            .filter(|candidate| admits(demand, &candidate.version))
            .max_by_key(|candidate| (yanked(candidate).is_none(), candidate.version.clone()))?;
        let version = &newest.version;
        Some(match yanked(&newest) {
            Some("") => format!("what fits there is yanked, newest {version}"),
            Some(why) => format!("what fits there is yanked, newest {version}: {}", shown(why)),
            None => format!("there is no source archive of {version} to compile"),
        })
    }

    fn no_file(&self, name: &str, demand: &Demand, index: Index, page: &Page) -> Error {
        let decided = demand.decided.as_ref();
        let why = if page.files.is_empty() && page.skipped > 0 {
            format!("none of the {} links of its page names a file", page.skipped)
        } else if page.files.is_empty() {
            "there is no such package".to_owned()
        } else if page.status == Status::Quarantined {
            "the index has quarantined it".to_owned()
        } else if let Some(why) = self.left_out(name, demand, page) {
            why
        } else {
            let versions: BTreeSet<Version> =
                self.candidates(name, page, decided).map(|candidate| candidate.version).gather();
            let admitted: Vec<_> = page
                .files
                .iter()
                .filter(|file| {
                    let version = WheelName::from_str(&file.name).map(|w| w.version().clone());
                    version.is_ok_and(|version| admits(demand, &version))
                })
                .map(|file| file.name.as_str())
                .collect();
            match (admitted.first(), versions.last()) {
                (Some(_), _) => format!(
                    "its files of that version are for other places: {}",
                    admitted.iter().rev().take(3).copied().collect::<Vec<_>>().join(", ")
                ),
                (None, Some(newest)) => {
                    format!("of {} versions that fit there the newest is {newest}", versions.len())
                }
                (None, None) => format!("none of its {} files fits there", page.files.len()),
            }
        };
        let glibc = self.machine.glibc.map_or_else(String::new, |glibc| format!(", glibc {glibc}"));
        Error::NoFile(Box::new(NoFile {
            target: self.wish.target.name.to_string(),
            package: format!("{name} {}", demand.shown()).trim_end().to_owned(),
            index: if index == Index::Pypi { "PyPI".into() } else { index.to_string() },
            machine: format!("Python {}, {}{glibc}", self.machine.python, self.machine.platform),
            why,
            ours: decided.is_some() || is_gpu_package(name),
        }))
    }
}

/// Names that belong to torch's build: the index of the build is asked for them.
pub fn is_gpu_package(name: &str) -> bool {
    ["nvidia-", "cuda-", "triton", "pytorch-triton", "torch"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn admits(demand: &Demand, version: &Version) -> bool {
    let plain = version.clone().without_local();
    demand
        .specifiers
        .iter()
        .all(|specifiers| specifiers.contains(version) || specifiers.contains(&plain))
}

/// The version of a source archive, `NAME-VERSION.tar.gz`.
fn source_version(file: &str, name: &str) -> Option<Version> {
    let stem = file.strip_suffix(".tar.gz").or_else(|| file.strip_suffix(".zip"))?;
    let (project, version) = stem.rsplit_once('-')?;
    (crate::domain::normalise_name(project) == name).then(|| version.parse().ok())?
}
