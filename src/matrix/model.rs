//! The checked matrix: rows of domain types, each with its evidence.
//!
//! Built from YAML by `check`, embedded as bytes by the build script, read back at start-up.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::words::Words;
use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, CudnnVersion, DriverVersion, Glibc, GpuKind,
    KernelModule, Platform, PythonTag, TorchRelease, WheelVariant,
};

/// Every fact gpuseal knows, by table. Tables are sorted by their keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Matrix {
    /// Semver-comparable id, `2026.11.0`.
    pub id: String,
    /// Version of the shape of the YAML.
    pub schema: u32,
    /// Day of the youngest row, ISO 8601.
    pub date: String,
    /// `sha256:` over the text of every file, overlays included.
    pub digest: String,
    /// Names of the overlays that were merged, in order.
    pub overlays: Vec<String>,
    /// What rows cite.
    pub sources: Vec<Source>,
    /// torch releases, oldest first.
    pub releases: Vec<Release>,
    /// GPU products.
    pub gpus: Vec<Gpu>,
    /// What a multiprocessor does in a clock, by capability.
    pub throughput: Vec<Throughput>,
    /// Driver bounds by capability.
    pub generations: Vec<Generation>,
    /// Reach of machine code where the plain rule has exceptions.
    pub code_rules: Vec<CodeRule>,
    /// Driver branches.
    pub branches: Vec<Branch>,
    /// First driver that lists a card, by nvidia-smi name.
    pub first_listed: Vec<FirstListed>,
    /// CUDA toolkits.
    pub toolkits: Vec<Toolkit>,
    /// Expansion of the `cuda-toolkit` package.
    pub toolkit_packages: Vec<ToolkitPackages>,
    /// nvcc by CUDA series.
    pub compilers: Vec<Compiler>,
    /// Floors of minor-version compatibility.
    pub minor_compat: Vec<MinorCompat>,
    /// cuda-compat packages.
    pub forward_compat: Vec<ForwardCompat>,
    /// cuDNN wheels.
    pub cudnn: Vec<Cudnn>,
    /// `nvidia/cuda` tags.
    pub cuda_images: Vec<CudaImage>,
    /// What `nvidia/cuda` images ask of the driver.
    pub image_requirements: Vec<ImageRequirement>,
    /// `python` image tags.
    pub python_images: Vec<PythonImage>,
    /// Images that bring uv; the last is the one that is rendered.
    pub uv_images: Vec<UvImage>,
    /// Linux distributions.
    pub distros: Vec<Distro>,
    /// Packages that live on torch.
    pub companions: Vec<Companion>,
    /// What they ask beyond their metadata.
    pub companion_rules: Vec<CompanionRule>,
    /// What no verdict rests on, unpacked when it is asked for: nobody who resolves reads it.
    #[serde(skip)]
    pub(crate) words: OnceLock<Words>,
    /// Rows that no code reads: kept to be shown.
    pub archive: Vec<Archived>,
}

/// How well a fact is founded, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Read from the file itself.
    Artifact,
    /// Stands in the script that builds the file.
    BuildScript,
    /// Somebody wrote it.
    Document,
    /// Nobody could confirm it.
    Unverified,
}

impl Level {
    /// The word in the YAML.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::BuildScript => "build-script",
            Self::Document => "document",
            Self::Unverified => "unverified",
        }
    }
}

/// A cited document, script or file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    /// Key that rows cite.
    pub key: String,
    /// How well it founds a fact.
    pub level: Level,
    /// What it is and where.
    pub text: String,
}

/// One reason to believe a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// Index into [`Matrix::sources`].
    pub source: u16,
    /// The column it speaks for.
    pub what: Option<String>,
    /// The file that was opened.
    pub file: Option<String>,
    /// sha256 of that file.
    pub sha256: Option<String>,
    /// A remark.
    pub note: Option<String>,
}

/// Columns that no code reads: kept to be shown.
pub type More = BTreeMap<String, String>;

/// Code inside a file. `None`: nobody read it; empty: there is none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CodeList {
    /// Machine code.
    pub sass: Option<Vec<CodeTarget>>,
    /// PTX.
    pub ptx: Option<Vec<CodeTarget>>,
}

/// A torch release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// Its version.
    pub version: TorchRelease,
    /// Day of release, ISO 8601.
    pub released: Option<String>,
    /// `requires-python` of its metadata.
    pub requires_python: String,
    /// What PyPI serves, by platform.
    pub pypi: BTreeMap<Platform, WheelVariant>,
    /// PyPI's files.
    pub wheels: Vec<Wheels>,
    /// C++ string ABI of PyPI's file, `true` for the new one.
    pub cxx11_abi: BTreeMap<Platform, bool>,
    /// Versions of vision, audio, xformers that belong to it.
    pub train: BTreeMap<String, Train>,
    /// Builds.
    pub variants: Vec<Variant>,
    /// Builds that were looked for and not found.
    pub not_published: Vec<NotPublished>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A build that was looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotPublished {
    /// `cu134`
    pub variant: String,
    /// Why it is taken not to exist.
    pub why: String,
    /// Nobody knows.
    pub unknown: bool,
}

/// Files of one platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wheels {
    /// `None`: any.
    pub platform: Option<Platform>,
    /// Platform tag in the file name.
    pub tag: String,
    /// Python tags in the file names.
    pub python: Vec<PythonTag>,
}

/// Versions of a package that go with a release.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Train {
    /// Made for this release alone.
    pub exact: Vec<String>,
    /// Made for this release and others.
    pub open: Vec<String>,
}

/// A build of a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Variant {
    /// `cu128`.
    pub name: WheelVariant,
    /// CUDA series, for CUDA builds.
    pub cuda: Option<CudaVersion>,
    /// Toolkit whose libraries it pins.
    pub toolkit: Option<CudaVersion>,
    /// In the project's announced list.
    pub official: bool,
    /// CUDA's libraries are inside the wheel.
    pub bundled: bool,
    /// C++ string ABI on Linux, where it differs from the release's.
    pub cxx11_abi: Option<bool>,
    /// cuDNN it pins or carries.
    pub cudnn: Option<CudnnVersion>,
    /// NCCL it pins or carries.
    pub nccl: Option<String>,
    /// Specifier of triton in its metadata.
    pub triton: Option<String>,
    /// Requirement name (extras included) and specifier.
    pub requires: Option<Vec<(String, String)>>,
    /// How the pins are known.
    pub requires_status: Option<String>,
    /// Platforms it was built for.
    pub builds: Vec<Build>,
    /// Platforms of which nobody knows.
    pub unsure: Vec<Platform>,
    /// A remark.
    pub note: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A variant on one platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Build {
    /// Platform.
    pub platform: Platform,
    /// Platform tag of the file.
    pub tag: Option<String>,
    /// Oldest glibc it runs on.
    pub glibc: Option<Glibc>,
    /// Code in the main part.
    pub code: CodeList,
    /// Machine code in the linear algebra part, where read apart.
    pub linalg: Option<Vec<CodeTarget>>,
    /// Code that only some kernels carry.
    pub partial: Vec<CodeTarget>,
    /// The file name carries the local label.
    pub labelled: bool,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A GPU product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gpu {
    /// Our name of it.
    pub id: String,
    /// `Hopper`.
    pub architecture: String,
    /// Its capability.
    pub capability: ComputeCapability,
    /// Its sort.
    pub kind: GpuKind,
    /// As nvidia-smi prints it.
    pub names: Vec<String>,
    /// What people call it.
    pub aliases: Vec<String>,
    /// Instance types and accelerator names; `*` stands for any rest.
    pub cloud: Vec<String>,
    /// Name parts of a family.
    pub matches: Vec<String>,
    /// The only machine it is built into.
    pub host: Option<Platform>,
    /// Kernel module it insists on, where its generation does not.
    pub module: Option<KernelModule>,
    /// Memory, GB as marketed.
    pub memory_gb: Option<f64>,
    /// Memory bandwidth, GB/s.
    pub bandwidth_gb_s: Option<f64>,
    /// Streaming multiprocessors.
    pub sms: Option<u32>,
    /// Dense peaks, TFLOP/s, by type.
    pub peak: BTreeMap<String, f64>,
    /// Chip name.
    pub chip: Option<String>,
    /// PCI device ids.
    pub pci_ids: Vec<String>,
    /// A remark.
    pub note: Option<String>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// What holds for all cards of some capabilities.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Generation {
    /// `Volta`.
    pub name: String,
    /// Its capabilities.
    pub capabilities: Vec<ComputeCapability>,
    /// First driver branch that knows it.
    pub first_branch: Option<u16>,
    /// Last driver branch that drives it.
    pub last_branch: Option<u16>,
    /// Kernel module it insists on; `None`: either, or not known.
    pub module: Option<KernelModule>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// Dense operations of a multiprocessor in a clock, by data type; a multiplication and an addition are two.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Throughput {
    /// Of these devices.
    pub capability: ComputeCapability,
    /// By the columns of [`Gpu::peak`].
    pub per_clock: BTreeMap<String, f64>,
    /// What GeForce cards do otherwise.
    pub geforce: BTreeMap<String, f64>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// Reach of one machine code target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CodeRule {
    /// `sm_80`.
    pub code: CodeTarget,
    /// Devices it runs on.
    pub serves: Vec<ComputeCapability>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A driver branch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Branch {
    /// 570.
    pub branch: u16,
    /// CUDA its user-mode driver implements.
    pub cuda: CudaVersion,
    /// `lts`, `production`, `new-feature`, `evaluation`, `unknown`.
    pub kind: String,
    /// First release for data centers.
    pub first_data_center: Option<DriverVersion>,
    /// End of life, as published.
    pub eol: Option<String>,
    /// Newest release seen.
    pub latest: Option<String>,
    /// Architectures it drives, as published.
    pub architectures: String,
    /// A remark.
    pub note: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// When a card entered the drivers' lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FirstListed {
    /// nvidia-smi name.
    pub name: String,
    /// Branch of `version`.
    pub branch: u16,
    /// First driver that lists it.
    pub version: Option<DriverVersion>,
    /// A driver that lists it, the first not being known.
    pub at_most: Option<DriverVersion>,
    /// Branch -> first release of that branch that lists it.
    pub added_later: BTreeMap<u16, DriverVersion>,
    /// Branches whose lists lack it.
    pub missing_from: Vec<u16>,
    /// A remark.
    pub note: Option<String>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A CUDA toolkit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Toolkit {
    /// `12.8.1`.
    pub version: CudaVersion,
    /// Linux driver it was released with.
    pub driver: Option<DriverVersion>,
    /// Windows driver it was released with.
    pub driver_windows: Option<DriverVersion>,
    /// Linux driver in its installer.
    pub bundled_driver: Option<DriverVersion>,
    /// Lowest Linux driver that starts machine code built with it.
    pub minor_compat_driver: Option<DriverVersion>,
    /// Its name on PyPI.
    pub pypi: Option<String>,
    /// Component versions.
    pub components: BTreeMap<String, String>,
    /// A remark.
    pub note: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// Expansion of `cuda-toolkit[extra]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolkitPackages {
    /// Version of the package.
    pub version: CudaVersion,
    /// Extra -> requirements.
    pub extras: BTreeMap<String, Vec<String>>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// nvcc and ptxas of a CUDA series.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compiler {
    /// `12.8`.
    pub cuda: CudaVersion,
    /// Targets it compiles for.
    pub targets: Vec<CodeTarget>,
    /// Newest PTX ISA it writes.
    pub ptx_isa: Option<String>,
    /// Newest host gcc it takes.
    pub gcc_max: Option<String>,
    /// Newest host clang it takes.
    pub clang_max: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// Floor of minor-version compatibility of a CUDA major.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MinorCompat {
    /// 12.
    pub cuda_major: u16,
    /// `None`: this major has none.
    pub linux: Option<DriverVersion>,
    /// On Windows.
    pub windows: Option<DriverVersion>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A cuda-compat package.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForwardCompat {
    /// `cuda-compat-13-0`.
    pub package: String,
    /// CUDA it brings.
    pub cuda: CudaVersion,
    /// Driver branches it may stand on.
    pub usable_on: Vec<u16>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A cuDNN wheel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cudnn {
    /// `9.10.2.21`.
    pub version: CudnnVersion,
    /// CUDA major it was built for.
    pub cuda_major: u16,
    /// Lowest Linux driver.
    pub driver: Option<DriverVersion>,
    /// Code by platform, where known.
    pub code: BTreeMap<Platform, CodeList>,
    /// Lowest capability, from documents where the code was not read.
    pub min: Option<ComputeCapability>,
    /// Highest capability, likewise.
    pub max: Option<ComputeCapability>,
    /// The code was read from the file.
    pub measured: bool,
    /// Yanked from PyPI.
    pub yanked: bool,
    /// Wheel tag by platform.
    pub wheels: BTreeMap<String, String>,
    /// A remark.
    pub note: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// Tags of `nvidia/cuda`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CudaImage {
    /// `12.8.1`.
    pub cuda: CudaVersion,
    /// Distributions.
    pub distros: Vec<String>,
    /// `base`, `runtime`, `devel`, `cudnn-devel` ...
    pub flavours: Vec<String>,
    /// Platforms; `None`: not known.
    pub platforms: Option<Vec<Platform>>,
    /// cuDNN inside the cuDNN flavours.
    pub cudnn: Vec<String>,
    /// `active`, `eol`, `later`.
    pub status: String,
    /// Other tags may exist.
    pub seen_only: bool,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// `NVIDIA_REQUIRE_CUDA` of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageRequirement {
    /// Image version; without a patch it speaks for every patch.
    pub image: CudaVersion,
    /// CUDA the driver must implement.
    pub cuda: CudaVersion,
    /// Older branches admitted for `brands`; `None`: not known.
    pub branches: Option<Vec<u16>>,
    /// Brands in the toolkit's words.
    pub brands: Vec<String>,
    /// Only part of the string was seen.
    pub partial: bool,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A `python` image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PythonImage {
    /// `python:3.12-slim`.
    pub tag: String,
    /// Debian release.
    pub distro: Option<String>,
    /// `None`: musl.
    pub glibc: Option<Glibc>,
    /// When this was so.
    pub as_of: String,
    /// Tags that name the Debian release.
    pub variants: Vec<String>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// An image that brings uv.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UvImage {
    /// `ghcr.io/astral-sh/uv`.
    pub repository: String,
    /// `0.13.8`.
    pub tag: String,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A distribution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Distro {
    /// `ubuntu22.04`.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// `None`: musl.
    pub glibc: Option<Glibc>,
    /// Python it ships.
    pub python: Option<String>,
    /// gcc it ships.
    pub gcc: Option<String>,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A version of a package that lives on torch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Companion {
    /// Normalised name.
    pub package: String,
    /// Version.
    pub version: String,
    /// `requires-python`.
    pub requires_python: Option<String>,
    /// Requirements in its metadata.
    pub requires: BTreeMap<String, String>,
    /// torch line by its documentation.
    pub documented_torch: Option<String>,
    /// Version string inside PyPI's file, by platform.
    pub built_as: BTreeMap<Platform, String>,
    /// CUDA it was built with.
    pub cuda: Option<CudaVersion>,
    /// CUDA major it was built with.
    pub cuda_major: Option<u16>,
    /// Code inside.
    pub code: CodeList,
    /// CUDA series it carries a library for, by platform.
    pub cuda_libraries: BTreeMap<Platform, Vec<CudaVersion>>,
    /// ptxas programs inside.
    pub ptxas: Vec<Ptxas>,
    /// PyPI's files.
    pub wheels: Vec<Wheels>,
    /// No files but the source.
    pub sdist_only: bool,
    /// Yanked from PyPI.
    pub yanked: bool,
    /// Further columns.
    pub more: More,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A ptxas inside a package.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ptxas {
    /// Its path in the wheel.
    pub path: String,
    /// Its CUDA version.
    pub cuda: CudaVersion,
    /// Targets it lists.
    pub targets: Vec<CodeTarget>,
}

/// How a package's CUDA must agree with torch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CudaRule {
    /// Same major and minor.
    Minor,
    /// Same major.
    Major,
    /// No rule.
    Any,
}

/// What a package asks beyond its metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CompanionRule {
    /// Normalised name.
    pub package: String,
    /// Versions it holds for; empty: all.
    pub versions: String,
    /// Lowest capability it serves.
    pub min_capability: Option<ComputeCapability>,
    /// Highest capability it serves.
    pub max_capability: Option<ComputeCapability>,
    /// CUDA rule.
    pub cuda: CudaRule,
    /// Compiled on installation.
    pub source_build: bool,
    /// Must equal the pin in torch's metadata.
    pub pinned_by_torch: bool,
    /// torch versions that it does not work with.
    pub refuses_torch: Option<String>,
    /// Why, in a sentence.
    pub note: Option<String>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// A row that is only shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Archived {
    /// Table it stands in.
    pub table: String,
    /// Its key.
    pub key: String,
    /// Its columns.
    pub columns: Vec<(String, String)>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}
