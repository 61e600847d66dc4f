//! Who requires what: the demands of a closure, from the target and from metadata.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Version, VersionSpecifier, VersionSpecifiers};

use crate::domain::Setting;
use crate::index::metadata::{Metadata, Requirement};
use crate::lock::{Index, LocalLabel, Package, Target};

/// What all who require a package say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Ranges, each with who asks.
    pub ranges: BTreeSet<(String, String)>,
    /// The same, read.
    pub specifiers: Vec<VersionSpecifiers>,
    /// Extras that are asked for.
    pub extras: BTreeSet<String>,
    /// It was decided: from this index, with this label.
    pub decided: Option<Decided>,
}

/// What `resolve` has decided of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Where it comes from.
    pub index: Index,
    /// Label to insist on.
    pub local: Option<LocalLabel>,
    /// The user asked for it: no other index will do.
    pub requested: bool,
    /// It is compiled on installation.
    pub source_build: bool,
}

/// Demands by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    by_name: BTreeMap<String, Demand>,
    /// Names whose version somebody else has solved.
    solved: BTreeSet<String>,
    notes: BTreeSet<String>,
}

impl Demands {
    /// What a target asks for. Packages that only followed from the matrix's copy of torch's metadata
    /// are no demand of their own: the metadata itself says which they are.
    pub fn of_target(target: &Target, pins: &BTreeMap<String, Version>) -> Self {
        let mut demands = Self::default();
        for package in target.packages.iter().filter(|package| package.requested) {
            let demand = demands.by_name.entry(package.name.to_string()).or_default();
            demand.decided = Some(Decided {
                index: package.index,
                local: package.local.clone(),
                requested: package.requested,
                source_build: package.source_build,
            });
            demand.extras.extend(package.extras.iter().map(ToString::to_string));
            if let Some(specifiers) = range(package) {
                demand.add(specifiers, "asked for");
            }
        }
        for (name, version) in pins {
            let demand = demands.by_name.entry(name.clone()).or_default();
            // An override may have put aside what others say, the user's own range included.
            demand.ranges.clear();
            demand.specifiers.clear();
            demand.add(VersionSpecifier::equals_version(version.clone()).into(), "uv");
            demands.solved.insert(name.clone());
        }
        demands
    }

    /// What the matrix knows of torch's own requirements.
    pub fn of_matrix(target: &Target) -> Self {
        let mut demands = Self::default();
        for package in target.packages.iter().filter(|package| !package.requested) {
            if let Some(specifiers) = range(package) {
                let demand = demands.by_name.entry(package.name.to_string()).or_default();
                demand.add(specifiers, "torch");
            }
        }
        demands
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Demand)> {
        self.by_name.iter()
    }

    pub fn is_decided(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|demand| demand.decided.is_some())
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.notes.iter()
    }

    pub fn extras(&self, name: &str) -> BTreeSet<String> {
        self.by_name.get(name).map(|demand| demand.extras.clone()).unwrap_or_default()
    }

    /// Adds what a file requires in this environment, by itself and with these extras.
    pub fn add_requirements(
        &mut self,
        metadata: &Metadata,
        extras: &BTreeSet<String>,
        setting: &Setting,
    ) {
        let extras: Vec<String> = extras.iter().cloned().collect();
        for requirement in metadata.requires.iter().filter(|r| r.holds(setting, &extras)) {
            self.add_requirement(requirement, &metadata.name);
        }
    }

    fn add_requirement(&mut self, requirement: &Requirement, by: &str) {
        let demand = self.by_name.entry(requirement.name.clone()).or_default();
        demand.extras.extend(requirement.extras.iter().cloned());
        if !self.solved.contains(&requirement.name) {
            demand.add(requirement.versions.clone(), by);
        }
        if requirement.url.is_some() {
            let name = &requirement.name;
            self.notes.insert(format!(
                "{by} requires {name} from an address of its own; the index's is taken"
            ));
        }
    }
}

impl Demand {
    fn add(&mut self, specifiers: VersionSpecifiers, by: &str) {
        if self.ranges.insert((specifiers.to_string(), by.to_owned())) {
            self.specifiers.push(specifiers);
        }
    }

    /// `>=3 (torch), <4 (asked for)`
    pub fn shown(&self) -> String {
        let parts: Vec<_> = self
            .ranges
            .iter()
            .map(
                |(range, by)| {
                    if range.is_empty() { format!("({by})") } else { format!("{range} ({by})") }
                },
            )
            .collect();
        parts.join(", ")
    }
}

/// The range of a decided package: its very version, or the range that was asked for.
fn range(package: &Package) -> Option<VersionSpecifiers> {
    if let Some(specifier) = &package.specifier {
        return Some(specifier.clone());
    }
    let version = package.version.clone()?;
    Some(pep440_rs::VersionSpecifier::equals_version(version).into())
}
