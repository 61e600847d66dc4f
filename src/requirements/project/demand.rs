//! The typed demands of a project, each with its file and line.

use std::fmt;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use version_ranges::Ranges;

use super::marker::Marker;
use crate::domain::{Finding, Place, Setting, WheelVariant};

/// Everything that was read, in the order in which it was read.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Files that were read, and as what.
    pub files: Vec<FileRead>,
    /// What is said about Python.
    pub python: Vec<PythonSaid>,
    /// Requirements, constraints, hints.
    pub demands: Vec<Demand>,
    /// What is said about CUDA beside the requirements: index lines, `pytorch-cuda`, `cuda:`.
    pub cuda: Vec<CudaSaid>,
    /// Indexes that are named.
    pub indexes: Vec<Index>,
    /// What locks of other tools pin.
    pub pins: Vec<Pin>,
    /// Base images.
    pub images: Vec<Image>,
    /// Choices that the project itself declares exclusive, each set on its own.
    pub conflicts: Vec<Vec<Choice>>,
    /// All options that do not exclude each other are resolved together: that is how uv locks.
    pub joint: bool,
    /// Environments that the project names as its own.
    pub environments: Vec<Environment>,
    /// What could not be read, and what is risky.
    pub findings: Vec<Finding>,
}

/// A file, and what it was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    /// Path from the project's folder, with `/`.
    pub name: String,
    /// `requirements`, `pyproject`, `uv lock` ...
    pub what: &'static str,
}

/// An environment that a project is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Which it is.
    pub marker: Marker,
    /// There must be files for it (`required-environments`); otherwise the project is meant for those
    /// that are named, and for no others (`environments`).
    pub required: bool,
    /// Where it stands.
    pub place: Place,
}

/// What is said about Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSaid {
    /// As a range or an exact version in PEP 440's words: `>=3.10,<3.13`, `==3.12.*`.
    pub versions: VersionSpecifiers,
    /// As written.
    pub given: String,
    /// Key or file that says it: `requires-python`, `.python-version`.
    pub by: &'static str,
    /// Where it applies, when not everywhere.
    pub choice: Option<Choice>,
    /// Where it stands.
    pub place: Place,
}

/// An option of a project, of which some exclude each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// An extra (PEP 621, Poetry).
    Extra(String),
    /// A dependency group (PEP 735, Poetry, PDM), an environment (Hatch), a feature (pixi).
    Group(String),
    /// One of several requirement files that stand beside each other.
    File(String),
    /// A stage of a Dockerfile that the last one is not made of.
    Stage(String),
}

impl Choice {
    /// Its name alone.
    pub fn name(&self) -> &str {
        match self {
            Self::Extra(name) | Self::Group(name) | Self::File(name) | Self::Stage(name) => name,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extra(name) => write!(f, "extra `{name}`"),
            Self::Group(name) => write!(f, "group `{name}`"),
            Self::File(name) => write!(f, "file `{name}`"),
            Self::Stage(name) => write!(f, "stage `{name}`"),
        }
    }
}

/// How binding a demand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is installed.
    Requirement,
    /// Only its version is bounded, if something else asks for it (`-c`, `constraint-dependencies`).
    Constraint,
    /// It replaces what others say (`override-dependencies`).
    Override,
    /// Another package manager installs it (conda), or the base image brings it.
    Hint,
}

impl Kind {
    /// The word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requirement => "requirement",
            Self::Constraint => "constraint",
            Self::Override => "override",
            Self::Hint => "hint",
        }
    }
}

/// A package index, or a page of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Name that the project gives it.
    pub name: Option<String>,
    /// Address without credentials.
    pub url: String,
    /// The build that it serves, when its path says so.
    pub variant: Option<WheelVariant>,
    /// Only packages that name it are taken from it.
    pub explicit: bool,
    /// It is asked beside another one (`--extra-index-url`, `--find-links`).
    pub extra: bool,
    /// Where it stands.
    pub place: Place,
}

impl Index {
    /// An index at an address.
    pub fn new(url: &str, place: Place) -> Self {
        let url = clipped(url.trim());
        Self {
            name: None,
            url: url.to_owned(),
            variant: super::link::variant_of(url),
            explicit: false,
            extra: false,
            place,
        }
    }
}

impl Index {
    /// The same with the name that the project gives it.
    #[must_use]
    pub fn called(self, name: Option<&str>) -> Self {
        Self { name: name.map(|name| clipped(name).to_owned()), ..self }
    }
}

/// The begin of an address or a name that is longer than any: every package keeps a copy of it.
fn clipped(text: &str) -> &str {
    const MOST: usize = 2000;
    text.char_indices().nth(MOST).map_or(text, |(at, _)| &text[..at])
}

/// The address of one file, repository or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// As written, without credentials.
    pub address: String,
    /// Name of the package, normalised, when the address tells it.
    pub name: Option<String>,
    /// Version of the file, with its local label.
    pub version: Option<Version>,
    /// Python tag of a wheel, `cp312`.
    pub python: Option<String>,
    /// Platform tag of a wheel.
    pub platform: Option<String>,
    /// It is a repository: its version is not known before it is fetched.
    pub vcs: bool,
    /// It is a path.
    pub local: bool,
}

/// A demand for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Name, normalised (PEP 503).
    pub name: String,
    /// As written, without credentials.
    pub given: String,
    /// Extras of the package.
    pub extras: Vec<String>,
    /// Versions asked for, local labels kept.
    pub versions: VersionSpecifiers,
    /// Where it applies.
    pub marker: Marker,
    /// The index it must come from, when one is named.
    pub index: Option<Index>,
    /// The address it must come from.
    pub link: Option<Link>,
    /// It comes from a folder of the project or its workspace, and from no index.
    pub elsewhere: bool,
    /// How binding it is.
    pub kind: Kind,
    /// Its files are named by hash.
    pub hashed: bool,
    /// Option of the project that it belongs to.
    pub choice: Option<Choice>,
    /// Where it stands.
    pub place: Place,
}

impl Demand {
    /// A demand for any version of a package.
    pub fn new(name: &str, given: &str, place: Place) -> Self {
        Self {
            name: crate::domain::normalise_name(name),
            // Continuation lines and escapes may have put an address together only now.
            given: super::link::mask(given),
            extras: Vec::new(),
            versions: VersionSpecifiers::default(),
            marker: Marker::default(),
            index: None,
            link: None,
            elsewhere: false,
            kind: Kind::Requirement,
            hashed: false,
            choice: None,
            place,
        }
    }

    /// Versions in PEP 440's words, without spaces; empty: any.
    pub fn spec(&self) -> String {
        self.versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// The local label of its exact version, as a build.
    pub fn label(&self) -> Option<WheelVariant> {
        let exact = |spec: &&VersionSpecifier| {
            matches!(spec.operator(), Operator::Equal | Operator::ExactEqual)
        };
        self.versions.iter().filter(exact).find_map(|spec| label(spec.version()))
    }

    /// The build that its name, index or address asks for, and what says so. The first wins.
    pub fn variants(&self) -> Vec<(By, WheelVariant)> {
        let index = self.index.as_ref().and_then(|i| i.variant).map(|v| (By::Index, v));
        let link = self.link.as_ref().and_then(Link::variant).map(|v| (By::Link, v));
        // The version of a link is its file's: said once.
        let label = self.label().filter(|_| link.is_none()).map(|v| (By::Label, v));
        [index, label, link].into_iter().flatten().collect()
    }

    /// Versions without labels, as ranges.
    pub fn ranges(&self) -> Ranges<Version> {
        ranges(&self.versions)
    }
}

/// The local label of a version, when it names a build.
pub fn label(version: &Version) -> Option<WheelVariant> {
    let label: Vec<_> = version.local().iter().map(ToString::to_string).collect();
    label.join(".").parse().ok()
}

/// Specifiers as ranges of public versions: `==2.6.0+cu124` is `==2.6.0` there.
pub fn ranges(versions: &VersionSpecifiers) -> Ranges<Version> {
    let specs = versions.iter().filter(|spec| countable(spec.version()));
    let public = specs.filter_map(public);
    public.fold(Ranges::full(), |all, spec| all.intersection(&Ranges::from(spec)))
}

/// Whether all numbers of a version have a next one: `==N.*` becomes `<N+1`.
pub fn countable(version: &Version) -> bool {
    const MOST: u64 = 1_000_000_000_000;
    let pre = version.pre().map(|pre| pre.number);
    let others = [Some(version.epoch()), pre, version.post(), version.dev()];
    version.release().iter().chain(others.iter().flatten()).all(|number| *number < MOST)
}

/// Specifiers without their labels.
pub fn public_only(versions: &VersionSpecifiers) -> VersionSpecifiers {
    versions.iter().filter_map(public).collect()
}

/// `None`: it refuses one build (`!=2.6.0+cu118`), which says nothing about the release.
fn public(spec: &VersionSpecifier) -> Option<VersionSpecifier> {
    if *spec.operator() == Operator::NotEqual && !spec.version().local().is_empty() {
        return None;
    }
    let version = spec.version().clone().without_local();
    let operator = match spec.operator() {
        Operator::ExactEqual => &Operator::Equal,
        other => other,
    };
    VersionSpecifier::from_version(*operator, version).ok()
}

/// What says which CUDA is wanted. The order is the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// An index that serves one build.
    Index,
    /// A local label, `+cu128`.
    Label,
    /// The address of a wheel.
    Link,
    /// A key of a configuration: `cuda:`, `torch-backend`, `pytorch-cuda`.
    Config,
    /// The tag of a base image.
    Image,
}

impl By {
    /// The word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Label => "local-tag",
            Self::Link => "direct-url",
            Self::Config => "config",
            Self::Image => "base-image",
        }
    }
}

/// A statement about CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaSaid {
    /// As written: `cu128`, `12.1.*`, `>=12.4`.
    pub given: String,
    /// The build, when it names exactly one.
    pub variant: Option<WheelVariant>,
    /// What says it.
    pub by: By,
    /// Package that it is said of; empty: all that the PyTorch index serves.
    pub package: String,
    /// Where it applies.
    pub marker: Marker,
    /// Option of the project that it belongs to.
    pub choice: Option<Choice>,
    /// Where it stands.
    pub place: Place,
}

impl CudaSaid {
    /// An index that serves one build, named where no requirement says that it comes from there.
    pub fn by_index(index: &Index, choice: Option<&Choice>) -> Option<Self> {
        Some(Self {
            given: index.url.clone(),
            variant: Some(index.variant?),
            by: By::Index,
            package: String::new(),
            marker: Marker::default(),
            choice: choice.cloned(),
            place: index.place.clone(),
        })
    }
}

/// A package as a lock of another tool pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Name, normalised.
    pub name: String,
    /// Version, with its local label.
    pub version: Version,
    /// Index or address it comes from, without credentials.
    pub from: Option<String>,
    /// Where it is installed: in any of these environments; empty: everywhere.
    pub markers: Vec<Marker>,
    /// Where it stands.
    pub place: Place,
}

impl Pin {
    /// Whether it is installed there.
    pub fn holds(&self, setting: &Setting) -> bool {
        self.markers.is_empty() || self.markers.iter().any(|marker| marker.holds(setting, &[]))
    }

    /// Whether it and what a marker allows can be installed together.
    pub fn meets(&self, other: &Marker) -> bool {
        self.markers.is_empty() || self.markers.iter().any(|marker| marker.meets(other))
    }

    /// Whether environments alone decide where it is installed, and no option of the project.
    pub fn is_fork(&self) -> bool {
        let by_option = |marker: &Marker| marker.text().is_some_and(|text| text.contains("extra"));
        !self.markers.is_empty() && !self.markers.iter().any(by_option)
    }

    /// The build: its label, or the index that it comes from.
    pub fn variant(&self) -> Option<WheelVariant> {
        label(&self.version).or_else(|| super::link::variant_of(self.from.as_deref()?))
    }
}

/// A base image of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Reference, variables filled in with their defaults.
    pub reference: String,
    /// Name of the stage.
    pub stage: Option<String>,
    /// Where it stands.
    pub place: Place,
}
