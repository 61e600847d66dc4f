//! What `resolve` answers: a stack for every target.

use super::judge::{DriverBounds, JudgedGpu};
use crate::domain::{
    CudaVersion, CudnnVersion, Finding, Glibc, Platform, PythonVersion, TorchRelease, WheelVariant,
};

/// The answer for all targets: one torch release, a build for each.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// In the order of the requirements.
    pub stacks: Vec<Stack>,
    /// Sets of the project's options without a stack, where others have one.
    pub left_out: Vec<LeftOut>,
}

/// A set of a project's options that has no stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name: `cpu`, `cu130`.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What one target gets.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Name of the target.
    pub target: String,
    /// Platform.
    pub platform: Platform,
    /// Python.
    pub python: PythonVersion,
    /// torch.
    pub torch: TorchRelease,
    /// Its build.
    pub variant: WheelVariant,
    /// The build is PyPI's own for this platform: installed from PyPI, without a label.
    pub from_pypi: bool,
    /// CUDA of the build.
    pub cuda: CudaVersion,
    /// Toolkit whose libraries the build pins.
    pub toolkit: Option<CudaVersion>,
    /// cuDNN that it pins or carries.
    pub cudnn: Option<CudnnVersion>,
    /// NCCL that it pins or carries.
    pub nccl: Option<String>,
    /// Triton that its metadata admits, newest known.
    pub triton: Option<String>,
    /// torch, the packages asked for, and the `nvidia-*` and other pins of torch's metadata.
    pub packages: Vec<Pin>,
    /// torch's own pins are not known: the installer will find them.
    pub pins_unknown: bool,
    /// Bounds of the driver.
    pub driver: DriverBounds,
    /// The driver as the requirements state it.
    pub driver_given: Option<String>,
    /// Cards, and how each is served.
    pub gpus: Vec<JudgedGpu>,
    /// Base image.
    pub base: BaseChoice,
    /// Oldest glibc the file runs on.
    pub glibc_min: Option<Glibc>,
    /// glibc of the place where it runs: of the image, or of `os` where that is older.
    pub glibc: Option<Glibc>,
    /// What is worth knowing. Never an error.
    pub findings: Vec<Finding>,
    /// The next best answers.
    pub alternatives: Vec<Alternative>,
}

/// Where a package is installed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PinIndex {
    /// PyPI, whatever address pip or uv is set to.
    Pypi,
    /// The page of this build on the PyTorch wheel index.
    Pytorch(WheelVariant),
}

/// A package with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Normalised name.
    pub name: String,
    /// Extras, sorted.
    pub extras: Vec<String>,
    /// Exact version without a label; `None`: any (nothing known to choose by).
    pub version: Option<String>,
    /// A specifier where metadata gives a range and not a version.
    pub specifier: Option<String>,
    /// Local label to insist on, for packages of the PyTorch wheel index.
    pub local: Option<String>,
    /// Where it comes from.
    pub index: PinIndex,
    /// The user asked for it (torch included); the others follow from torch's metadata.
    pub requested: bool,
    /// It is compiled on installation.
    pub source_build: bool,
}

/// The smallest base image that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChoice {
    /// `python`, `nvidia/cuda`.
    pub repository: String,
    /// `3.12-slim-bookworm`.
    pub tag: String,
    /// `slim`, `runtime` or `devel`.
    pub flavour: String,
    /// Image in which extensions are compiled: repository and tag.
    pub builder: Option<(String, String)>,
    /// Debian or Ubuntu packages that the needs ask for in the final image.
    pub apt: Vec<String>,
    /// Why this one.
    pub why: String,
}

/// Another answer that also works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// What to change.
    pub change: String,
    /// What one gets.
    pub gives: String,
    /// What one pays.
    pub costs: String,
}
