//! From the packages that a lock has decided on to every file that an installation needs.
//!
//! Pure, and without a loop of its own: [`walk`] says what it wants to know, somebody else asks the
//! index and writes the answer into [`Known`], and the walk begins again. What it comes to depends on
//! the answers alone, never on their order.
//!
//! GPU packages are taken as they were decided, from the index of torch's build. What they require
//! beside that is the newest release that all of them admit, as an installer would take it; a lock's
//! own choice stays while it is admitted. There is no search: where newest does not do, uv has to
//! solve it (`lock --with-deps`).

mod choice;
mod demand;
mod error;
mod fill;

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;

use crate::domain::{Setting, Sha256, shown};
use crate::index::archive::{Contents, TorchBuild};
use crate::index::metadata::Metadata;
use crate::index::page::{File, Page};
use crate::index::wheel::Machine;
use crate::lock::{Index, Origin, Package, Target};

pub use choice::{Memory, is_gpu_package};
pub use error::{Error, NoFile};
pub use fill::{Disagreement, Filled, TwoDigests, fill, two_digests};

use choice::{Chosen, Picky};
use demand::Demands;

/// Rounds of choosing before a closure that never settles is given up.
const ROUNDS: usize = 60;
/// Packages of a closure. vllm, the largest known, has about 200.
const MOST: usize = 2000;

/// What is asked of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The page of a package.
    Page(Index, String),
    /// What a file says of itself, by its address.
    File(Index, String),
}

/// What a file says of itself.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its metadata; `None` for a source archive, of which only a build would tell.
    pub metadata: Option<Metadata>,
    /// Size in bytes.
    pub size: u64,
    /// Digest.
    pub sha256: Sha256,
    /// How the digest was had.
    pub origin: Origin,
    /// `torch/version.py`, where the file is torch and was looked into.
    pub build: Option<TorchBuild>,
    /// What it holds, where its directory was read.
    pub contents: Option<Contents>,
    /// Code for which capabilities the binary carries, where the whole file was read.
    pub codes: Option<Vec<String>>,
}

/// Answers of indexes. A page that is not there is an empty one.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Pages by index and normalised name.
    pub pages: BTreeMap<(Index, String), Page>,
    /// Files by address.
    pub files: BTreeMap<String, Inspected>,
}

/// What the walk needs to know beside the answers.
#[derive(Debug, Clone)]
pub struct Wish<'t> {
    /// The target, as it was decided.
    pub target: &'t Target,
    /// Versions that stay while they are admitted: those of an older lock.
    pub kept: BTreeMap<String, Version>,
    /// Versions that somebody else has solved: what others require of these packages is no matter then.
    pub pins: BTreeMap<String, Version>,
    /// Leave out what is not ours to choose: somebody else will solve it.
    pub ours_only: bool,
}

impl Wish<'_> {
    /// Whether a package is ours to choose: it belongs to torch's build, or its version was decided.
    pub fn is_ours(&self, name: &str) -> bool {
        is_ours(self.target, name)
    }
}

/// Whether a package of a target is ours to choose: it belongs to torch's build, or its version was
/// decided.
pub fn is_ours(target: &Target, name: &str) -> bool {
    let decided = |package: &&Package| {
        package.requested && package.name.as_str() == name && package.specifier.is_none()
    };
    is_gpu_package(name)
        || target.packages.iter().find(decided).is_some_and(|package| package.version.is_some())
}

/// Where the walk stands.
#[derive(Debug)]
pub enum Step {
    /// These are to be asked; any order will do.
    Ask(BTreeSet<Ask>),
    /// Every package with its file.
    Done(Closure),
}

/// A package of the closure.
#[derive(Debug, Clone)]
pub struct Member {
    /// Index that it comes from.
    pub index: Index,
    /// It was asked for by name, and not only required.
    pub decided: bool,
    /// Version, label included.
    pub version: Version,
    /// Its file.
    pub file: File,
    /// What the file says of itself.
    pub inspected: Inspected,
}

/// Every package of a target with its file, by name.
#[derive(Debug, Clone, Default)]
pub struct Closure {
    /// The packages.
    pub members: BTreeMap<String, Member>,
    /// What is worth knowing: yanked releases, archived projects, requirements nobody can read.
    pub notes: Vec<String>,
}

/// The interpreter and system of a target, for the choice of files.
pub fn machine(target: &Target) -> Machine {
    Machine { platform: target.platform, python: target.python, glibc: target.glibc }
}

/// Goes as far as the answers reach. `memory` is that of the target, empty at first.
///
/// # Errors
/// A package of which no file fits, with what there is instead; requirements that exclude each other.
pub fn walk(wish: &Wish<'_>, known: &Known, memory: &Memory) -> Result<Step, Error> {
    let setting = Setting::new(wish.target.platform, wish.target.python);
    let picky = Picky::new(wish, known, memory);
    let roots = Demands::of_target(wish.target, &wish.pins);
    let mut demands = roots.clone();
    for _ in 0..ROUNDS {
        let mut asks = BTreeSet::new();
        let mut chosen: BTreeMap<String, Chosen<'_>> = BTreeMap::new();
        let counts = |name: &str| !wish.ours_only || wish.is_ours(name);
        for (name, demand) in demands.iter().filter(|(name, _)| counts(name)) {
            match picky.choose(name, demand)? {
                Ok(choice) => {
                    chosen.insert(name.clone(), choice);
                }
                Err(ask) => asks.extend(ask),
            }
        }
        let mut next = roots.clone();
        for (name, choice) in &chosen {
            let key = choice.file.url.to_string();
            let Some(inspected) = known.files.get(&key) else {
                asks.insert(Ask::File(choice.index, key));
                continue;
            };
            if let Some(metadata) = &inspected.metadata {
                let extras = demands.extras(name);
                next.add_requirements(metadata, &extras, &setting);
            }
        }
        // Pages of what is required already: a round of questions less.
        let further = |name: &String| !chosen.contains_key(name) && counts(name);
        for (name, demand) in next.iter().filter(|(name, _)| further(name)) {
            if let Err(ask) = picky.choose(name, demand)? {
                asks.extend(ask);
            }
        }
        if !asks.is_empty() {
            asks.extend(hints(&picky, known));
            return Ok(Step::Ask(asks));
        }
        if next.len() > MOST {
            return Err(Error::TooMany { target: wish.target.name.to_string(), most: MOST });
        }
        if next == demands {
            return Ok(Step::Done(closure(wish, chosen, known, &demands)));
        }
        demands = next;
    }
    Err(Error::Unsettled { target: wish.target.name.to_string() })
}

/// What will be asked for anyway, if the matrix knows torch's metadata: rounds of questions less.
fn hints(picky: &Picky<'_>, known: &Known) -> BTreeSet<Ask> {
    let mut asks = BTreeSet::new();
    for (name, demand) in Demands::of_matrix(picky.target()).iter() {
        match picky.choose(name, demand) {
            Ok(Ok(choice)) => {
                let key = choice.file.url.to_string();
                if !known.files.contains_key(&key) {
                    asks.insert(Ask::File(choice.index, key));
                }
            }
            Ok(Err(ask)) => asks.extend(ask),
            // The metadata may say something else.
            Err(_) => (),
        }
    }
    asks
}

fn closure(
    wish: &Wish<'_>,
    chosen: BTreeMap<String, Chosen<'_>>,
    known: &Known,
    demands: &Demands,
) -> Closure {
    let mut closure = Closure::default();
    for (name, choice) in chosen {
        let Some(inspected) = known.files.get(choice.file.url.as_str()) else { continue };
        closure.notes.extend(choice.notes(&name));
        match &inspected.metadata {
            Some(metadata) => {
                closure.notes.extend(metadata.unread.iter().map(|line| {
                    format!("{name}: a requirement that cannot be read: {}", shown(line))
                }));
            }
            None => closure.notes.push(format!(
                "{name}: {} is a source archive: what it requires is only known to a build",
                choice.file.name
            )),
        }
        let member = Member {
            index: choice.index,
            decided: demands.is_decided(&name),
            version: choice.version.clone(),
            file: choice.file.clone(),
            inspected: inspected.clone(),
        };
        closure.members.insert(name, member);
    }
    closure.notes.extend(demands.notes().map(|note| format!("{}: {note}", wish.target.name)));
    closure
}

#[cfg(test)]
mod tests;
