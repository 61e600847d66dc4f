//! What a new lock keeps of an old one, so that a change of one line is a change of one line.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fetched, Lockfile, Target};
use crate::resolve::Kept;

/// What may change although it still fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing.
    #[default]
    Nothing,
    /// These packages, by their normalised names. `torch` frees its build and Python too.
    Packages(BTreeSet<String>),
    /// Everything: versions, files and images.
    Everything,
}

impl Upgrade {
    /// Whether a package may change.
    pub fn frees(&self, package: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Packages(names) => names.contains(package),
            Self::Everything => true,
        }
    }
}

impl Lockfile {
    /// The choices of each target, for `resolve` to keep while they fit.
    pub fn kept(&self, upgrade: &Upgrade) -> BTreeMap<String, Kept> {
        if upgrade.frees("torch") {
            return BTreeMap::new();
        }
        let kept = |target: &Target| {
            let packages = target
                .packages
                .iter()
                .filter(|p| p.requested && !upgrade.frees(p.name.as_str()))
                .filter_map(|p| Some((p.name.to_string(), p.version.as_ref()?.to_string())))
                .collect();
            let (torch, variant, python) = (target.torch, target.variant, target.python);
            (target.name.to_string(), Kept { torch, variant, python, packages })
        };
        self.targets.iter().map(kept).collect()
    }

    /// The lock as `resolve` alone decides it: nothing that an index or a registry said.
    #[must_use]
    pub fn decided(&self) -> Self {
        let mut lock = self.clone();
        for target in &mut lock.targets {
            target.forget();
        }
        lock.mirrors = BTreeMap::new();
        lock.later = None;
        lock
    }

    /// Whether the project's other packages are locked too.
    pub fn with_deps(&self) -> bool {
        self.targets.iter().any(|target| target.with_deps)
    }

    /// Whether every file and image of the lock is known.
    pub fn complete(&self) -> bool {
        self.targets.iter().all(Target::complete)
    }
}

impl Target {
    /// Whether every file and image is known.
    pub fn complete(&self) -> bool {
        let base = &self.base;
        let images = [Some(&base.digest), base.builder.as_ref().map(|i| &i.digest)];
        let uv = base.uv.as_ref().map(|image| &image.digest);
        self.files_known()
            && images.into_iter().chain([uv]).flatten().all(|d| *d != Fetched::Unfetched)
    }

    /// Whether every file is known.
    pub fn files_known(&self) -> bool {
        self.packages.iter().all(|package| package.file.is_some())
    }

    /// Whether both were decided alike, whatever was fetched since.
    pub fn same_choice(&self, other: &Self) -> bool {
        let choice = |target: &Self| {
            let mut target = target.clone();
            target.forget();
            let gpus: Vec<_> = target.gpus.iter().map(|gpu| gpu.given.clone()).collect();
            (
                (target.name, target.platform, target.python, target.torch, target.variant),
                (target.index, target.glibc, target.packages),
                (gpus, target.base.repository, target.base.tag, target.base.apt),
                (target.base.flavour, target.base.builder.map(|i| (i.repository, i.tag))),
            )
        };
        choice(self) == choice(other)
    }

    fn forget(&mut self) {
        self.packages.retain(|package| package.requested);
        for package in &mut self.packages {
            package.file = None;
            // The version that a range came to is what the index had that day.
            if package.specifier.is_some() {
                package.version = None;
            }
        }
        self.base.digest = Fetched::Unfetched;
        self.base.size = None;
        for image in [&mut self.base.builder, &mut self.base.uv].into_iter().flatten() {
            image.digest = Fetched::Unfetched;
        }
        self.with_deps = false;
    }
}
