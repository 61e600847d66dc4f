//! The lock: what `resolve` chose, written down so that it can be built, compared and proven later.
//!
//! `v1` is the shape on disk, `check` reads its texts into domain types, `store` reads and writes
//! files, `drift` compares. Apart from `store` nothing here touches a file; nothing knows a clock,
//! an environment or a host, so the same resolution and matrix give the same bytes.

mod check;
pub mod drift;
mod error;
mod keep;
mod store;
mod v1;
mod values;

#[cfg(test)]
pub(crate) mod sample;

use std::collections::BTreeMap;

use pep440_rs::{Version, VersionSpecifiers};

pub use error::Error;
pub use keep::Upgrade;
pub use v1::{REVISION, VERSION};
pub use values::{
    Address, AptName, Asked, Contents, Fetched, FileName, Index, Label, Library, LocalLabel,
    LockedFile, MatrixId, Mirrored, Mode, Origin, PackageName, Repository, Serving, Standin, Tag,
    TargetName, Word,
};

use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, CudnnVersion, DriverSpec, DriverVersion, Glibc,
    Order as _, Platform, PythonVersion, Sha256, TorchRelease, WheelVariant,
};
use crate::matrix::{Matrix, UvImage};
use crate::resolve::physics::Served;
use crate::resolve::{DriverMode, Pin, PinIndex, Resolution, Stack};

/// A lock. What it holds has been checked: every value is of its kind, names are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockfile {
    /// Matrix it was resolved with.
    pub matrix: MatrixStamp,
    /// Digest of the requirements in their canonical form.
    pub inputs: Sha256,
    /// That form, line by line; empty in a lock of revision 0.
    pub asked: Vec<Asked>,
    /// Targets, in the order of the requirements; never empty.
    pub targets: Vec<Target>,
    /// What stood in for an index or a registry when the files were found.
    pub mirrors: BTreeMap<Mirrored, Standin>,
    /// The text of a lock of a later revision, kept because it says more than this program reads.
    later: Option<String>,
}

/// Which facts a lock rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixStamp {
    /// Id of the matrix.
    pub id: MatrixId,
    /// Digest over the text of its files, overlays included.
    pub digest: Sha256,
    /// Files that were laid over it, in order.
    pub overlays: Vec<Label>,
}

/// What one target gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Platform.
    pub platform: Platform,
    /// Python.
    pub python: PythonVersion,
    /// torch.
    pub torch: TorchRelease,
    /// Its build.
    pub variant: WheelVariant,
    /// Where torch comes from.
    pub index: Index,
    /// CUDA of the build.
    pub cuda: CudaVersion,
    /// Toolkit whose libraries the build pins.
    pub toolkit: Option<CudaVersion>,
    /// cuDNN that it pins or carries.
    pub cudnn: Option<CudnnVersion>,
    /// NCCL that it pins or carries.
    pub nccl: Option<Version>,
    /// Triton that goes with it.
    pub triton: Option<Version>,
    /// Oldest glibc it runs on.
    pub glibc_min: Option<Glibc>,
    /// glibc of the place where it runs, which bounds the files; `None`: not known.
    pub glibc: Option<Glibc>,
    /// torch's own pins are not known: the installer will find them.
    pub pins_unknown: bool,
    /// The project's other packages are among the packages.
    pub with_deps: bool,
    /// Bounds of the driver.
    pub driver: Driver,
    /// Cards, by capability.
    pub gpus: Vec<Gpu>,
    /// Base image.
    pub base: Base,
    /// Packages, by name; torch is one of them.
    pub packages: Vec<Package>,
}

/// Which drivers run a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driver {
    /// As the requirements state it.
    pub given: Option<DriverSpec>,
    /// Lowest that runs it.
    pub min: Option<DriverVersion>,
    /// Lowest that implements its CUDA, so that PTX works too.
    pub native: Option<DriverVersion>,
    /// Last branch that drives all cards; `None`: no end is known.
    pub max_branch: Option<u16>,
    /// How the given driver runs it.
    pub mode: Option<Mode>,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// As the user wrote it.
    pub given: Label,
    /// Name to show.
    pub name: Label,
    /// Its capability.
    pub capability: ComputeCapability,
    /// How it is served and by which code; `None`: nobody could confirm it.
    pub served: Option<(Serving, CodeTarget)>,
}

/// An image and what goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// `python`, `nvidia/cuda`.
    pub repository: Repository,
    /// `3.12-slim-trixie`.
    pub tag: Tag,
    /// `slim`, `runtime` or `devel`.
    pub flavour: Word,
    /// Digest of the image behind the tag.
    pub digest: Fetched,
    /// Bytes to pull, compressed as they are; `None`: the registry has not said it.
    pub size: Option<u64>,
    /// Image in which extensions are compiled.
    pub builder: Option<Image>,
    /// Image that brings uv; `None` in a lock of revision 0.
    pub uv: Option<Image>,
    /// Debian or Ubuntu packages of the final image, sorted.
    pub apt: Vec<AptName>,
}

/// An image by its tag, and what stands behind the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `nvidia/cuda`, `ghcr.io/astral-sh/uv`.
    pub repository: Repository,
    /// `12.8.1-devel-ubuntu24.04`.
    pub tag: Tag,
    /// Digest of the manifest for the target's platform.
    pub digest: Fetched,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Normalised name.
    pub name: PackageName,
    /// Exact version without a label; `None`: not known before the index is asked.
    pub version: Option<Version>,
    /// Range, where that is what was asked for or what torch's metadata says.
    pub specifier: Option<VersionSpecifiers>,
    /// Local label to insist on.
    pub local: Option<LocalLabel>,
    /// Where it comes from.
    pub index: Index,
    /// Extras, sorted.
    pub extras: Vec<PackageName>,
    /// The user asked for it (torch included); the others follow from torch's metadata.
    pub requested: bool,
    /// It is compiled on installation.
    pub source_build: bool,
    /// Its file; `None`: nobody has asked the index yet.
    pub file: Option<LockedFile>,
}

impl Lockfile {
    /// The lock of a resolution.
    ///
    /// `inputs` is the canonical text of the requirements, of which only the digest is kept.
    ///
    /// # Errors
    /// [`Error::Value`] when a text of the user (the name of a target, a card as given) or of an
    /// overlay cannot stand in a lock, [`Error::Broken`] when two targets have the same name.
    pub fn from_resolution(
        resolution: &Resolution,
        matrix: &Matrix,
        inputs: &str,
    ) -> Result<Self, Error> {
        let mut file = v1::File {
            version: VERSION,
            revision: REVISION,
            matrix: v1::Matrix {
                id: matrix.id.clone(),
                digest: matrix.digest.clone(),
                overlays: matrix.overlays.clone(),
            },
            inputs: v1::Inputs {
                digest: Sha256::of(inputs.as_bytes()).to_string(),
                asked: inputs
                    .lines()
                    .map(|line| Asked::of(line).to_string())
                    .filter(|line| !line.is_empty())
                    .collect(),
            },
            target: resolution
                .stacks
                .iter()
                .map(|stack| target(stack, matrix.uv_images.last()))
                .collect(),
            index: Vec::new(),
            mirror: Vec::new(),
        };
        file.index = check::index_rows(&file.target, &BTreeMap::new());
        check::lockfile(&file, "the new lock")
    }

    /// Reads the text of a lock; `name` is what messages call it.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        // A checkout with `core.autocrlf` is still the same lock.
        let text = text.replace("\r\n", "\n");
        let file = v1::File::read(&text, name)?;
        let mut lock = check::lockfile(&file, name)?;
        lock.later = (file.revision > REVISION).then_some(text);
        Ok(lock)
    }

    /// The text of the lock. One of a later revision is kept as it was read.
    pub fn to_toml(&self) -> String {
        self.later.clone().unwrap_or_else(|| check::file(self).text())
    }

    /// The digest of that text: what images carry as a label.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(self.to_toml().as_bytes())
    }

    /// The address of an index, or of what stands in for it; `None` for PyPI without a mirror, which is
    /// the user's own setting.
    pub fn index_url(&self, index: Index) -> Option<String> {
        let mirror = |of: &str| {
            let found = self.mirrors.iter().find(|(key, _)| key.as_str() == of);
            found.map(|(_, at)| at.as_str().trim_end_matches('/'))
        };
        match index {
            Index::Pypi => mirror("pypi").map(str::to_owned),
            Index::Pytorch(variant) => match mirror("pytorch") {
                Some(mirror) => Some(format!("{mirror}/{variant}")),
                None => index.url(),
            },
        }
    }

    /// A repository as an engine pulls it: as it is called, or below its mirror.
    pub fn pulled(&self, repository: &Repository) -> String {
        let (registry, path) = repository.parts();
        match self.mirrors.iter().find(|(of, _)| of.as_str() == registry) {
            Some((_, at)) => {
                let at = at.as_str();
                // A name of an image has no scheme.
                let at = at.split_once("://").map_or(at, |(_, rest)| rest);
                format!("{}/{path}", at.trim_end_matches('/'))
            }
            None => repository.to_string(),
        }
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name.as_str() == name)
    }
}

impl Target {
    /// The image holds NVIDIA's compat libraries, by which a driver of an older CUDA runs it.
    pub fn holds_compat(&self) -> bool {
        self.base.repository.as_str() == "nvidia/cuda"
    }

    /// The version of torch as its index names it: `2.9.1` on PyPI, `2.9.1+cu126` elsewhere.
    pub fn torch_version(&self) -> String {
        match self.index {
            Index::Pypi => self.torch.to_string(),
            Index::Pytorch(variant) => format!("{}+{variant}", self.torch),
        }
    }
}

fn target(stack: &Stack, uv: Option<&UvImage>) -> v1::Target {
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let index = if stack.from_pypi { Index::Pypi } else { Index::Pytorch(stack.variant) };
    let mut gpus: Vec<_> = stack.gpus.iter().collect();
    gpus.order_by(|a, b| (a.gpu.capability, &a.gpu.given).cmp(&(b.gpu.capability, &b.gpu.given)));
    gpus.dedup_by(|a, b| a.gpu.given == b.gpu.given);
    let mut packages: Vec<_> = stack.packages.iter().map(package).collect();
    packages.order_by(|a, b| a.name.cmp(&b.name));
    let (builder, builder_tag) = stack.base.builder.clone().unzip();
    v1::Target {
        name: stack.target.clone(),
        platform: stack.platform.to_string(),
        python: stack.python.to_string(),
        torch: stack.torch.to_string(),
        variant: stack.variant.to_string(),
        index: index.to_string(),
        cuda: stack.cuda.to_string(),
        toolkit: text(stack.toolkit.as_ref().map(|v| v as _)),
        cudnn: text(stack.cudnn.as_ref().map(|v| v as _)),
        nccl: stack.nccl.clone(),
        triton: stack.triton.clone(),
        glibc_min: text(stack.glibc_min.as_ref().map(|v| v as _)),
        glibc: text(stack.glibc.as_ref().map(|v| v as _)),
        pins_unknown: stack.pins_unknown,
        with_deps: false,
        driver: v1::Driver {
            given: stack.driver_given.clone(),
            min: text(stack.driver.min.as_ref().map(|v| v as _)),
            native: text(stack.driver.native.as_ref().map(|v| v as _)),
            max_branch: stack.driver.max_branch,
            mode: stack.driver.mode.map(|mode| mode_of(mode).to_string()),
        },
        gpu: gpus
            .into_iter()
            .map(|judged| {
                let served = judged.served.and_then(serving);
                v1::Gpu {
                    given: judged.gpu.given.clone(),
                    name: judged.gpu.name.clone(),
                    capability: judged.gpu.capability.to_string(),
                    served_by: served.map(|(how, _)| how.to_string()),
                    code: served.map(|(_, code)| code.to_string()),
                }
            })
            .collect(),
        base: v1::Base {
            repository: stack.base.repository.clone(),
            tag: stack.base.tag.clone(),
            flavour: stack.base.flavour.clone(),
            digest: Fetched::Unfetched.to_string(),
            size: None,
            builder_digest: builder.as_ref().map(|_| Fetched::Unfetched.to_string()),
            builder,
            builder_tag,
            uv: uv.map(|image| image.repository.clone()),
            uv_tag: uv.map(|image| image.tag.clone()),
            uv_digest: uv.map(|_| Fetched::Unfetched.to_string()),
            apt: sorted(&stack.base.apt),
        },
        package: packages,
    }
}

fn package(pin: &Pin) -> v1::Package {
    let index = match pin.index {
        PinIndex::Pypi => Index::Pypi,
        PinIndex::Pytorch(variant) => Index::Pytorch(variant),
    };
    v1::Package {
        name: pin.name.clone(),
        version: pin.version.clone(),
        specifier: pin.specifier.clone(),
        local: pin.local.clone(),
        index: index.to_string(),
        extras: sorted(&pin.extras),
        requested: pin.requested,
        source_build: pin.source_build,
        file: None,
        path: None,
        size: None,
        hash: Fetched::Unfetched.to_string(),
        origin: None,
        unpacked: None,
        libraries: Vec::new(),
    }
}

fn sorted(texts: &[String]) -> Vec<String> {
    let unique: std::collections::BTreeSet<_> = texts.iter().cloned().collect();
    unique.into_iter().collect()
}

fn mode_of(mode: DriverMode) -> Mode {
    match mode {
        DriverMode::Native => Mode::Native,
        DriverMode::MinorCompat => Mode::MinorCompat,
        DriverMode::ForwardCompat => Mode::ForwardCompat,
    }
}

/// `None` where the list of code was not read: unknown is neither yes nor no.
fn serving(served: Served) -> Option<(Serving, CodeTarget)> {
    match served {
        Served::Exact(code) => Some((Serving::Exact, code)),
        Served::SameMajor(code) => Some((Serving::SameMajor, code)),
        Served::Ptx(code) => Some((Serving::Ptx, code)),
        Served::Nothing | Served::Unknown => None,
    }
}

#[cfg(test)]
mod tests;
