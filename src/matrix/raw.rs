//! The shape of the YAML under `matrices/`: what a person writes, not yet believed.
//!
//! Every file, an overlay included, has this one shape and fills some of its sections; which
//! file a row stands in is for the reader's convenience. Values are text here. `check` turns
//! them into domain types and lists every row that cannot be turned.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Who this matrix is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHeader {
    /// Semver-comparable, `2026.11.0`.
    pub id: String,
    /// Version of this very shape.
    pub schema: u32,
    /// Day of the youngest row, `2026-11-21`.
    pub date: String,
}

/// A document, script or file that rows cite by key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// `artifact`, `build-script`, `document` or `unverified`.
    pub level: String,
    /// What it is and where: repository and commit, page title, file.
    pub text: String,
}

/// Why a row is believed: a source key alone, or a key with the file it was read from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum RawEvidence {
    Key(String),
    Full(RawFullEvidence),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFullEvidence {
    pub source: String,
    /// Which column of the row it speaks for; all of them when absent.
    pub what: Option<String>,
    /// The file that was opened, with its sha256.
    pub file: Option<String>,
    pub sha256: Option<String>,
    pub note: Option<String>,
}

/// A torch release and all its builds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRelease {
    pub version: String,
    pub released: Option<String>,
    pub released_note: Option<String>,
    pub built: Option<String>,
    pub commit: Option<String>,
    pub requires_python: String,
    /// Platform (`linux/amd64`) -> name of the variant that PyPI serves there.
    pub pypi: BTreeMap<String, String>,
    /// The files on PyPI.
    pub wheels: Vec<RawWheels>,
    #[serde(default)]
    pub build_numbers: Vec<String>,
    /// Platform -> whether the PyPI file uses the new C++ string ABI.
    #[serde(default)]
    pub cxx11_abi: BTreeMap<String, bool>,
    /// Platform -> newest symbol versions its libraries ask of the host.
    #[serde(default)]
    pub symbols: BTreeMap<String, RawSymbols>,
    /// Package -> the versions that belong to this release.
    #[serde(default)]
    pub train: BTreeMap<String, RawTrain>,
    /// CUDA version -> code the release says it compiles (intent, not the file).
    #[serde(default)]
    pub announced_code: Vec<RawAnnounced>,
    #[serde(default)]
    pub not_published: Vec<RawNotPublished>,
    pub variants: Vec<RawVariant>,
    pub source: Vec<RawEvidence>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAnnounced {
    pub cuda: String,
    /// Absent: said for every machine alike.
    pub platform: Option<String>,
    pub sass: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWheels {
    pub platform: String,
    pub tag: String,
    pub python: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSymbols {
    pub glibc: String,
    pub glibcxx: String,
    pub cxxabi: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTrain {
    /// Versions whose metadata names this release and no other.
    pub exact: Vec<String>,
    /// Versions whose metadata admits this release among others.
    pub open: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNotPublished {
    pub variant: String,
    pub why: String,
    /// Nobody knows whether it exists.
    #[serde(default)]
    pub unknown: bool,
    pub source: Vec<RawEvidence>,
}

/// One build of a release: `cu128`, `cpu`, `rocm6.4`, `xpu`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVariant {
    pub name: String,
    /// `cuda`, `cpu`, `rocm` or `xpu`.
    pub kind: String,
    pub cuda: Option<String>,
    pub toolkit: Option<String>,
    /// Announced by the project; `false`: on the index, but in no announced list.
    #[serde(default = "yes")]
    pub official: bool,
    /// CUDA's libraries are inside the wheel: no `nvidia-*` requirement.
    #[serde(default)]
    pub bundled: bool,
    /// The file on the wheel index is self-contained although PyPI's is not.
    #[serde(default)]
    pub index_bundled: bool,
    /// Overrides the release's C++ string ABI for this variant on Linux.
    pub cxx11_abi: Option<bool>,
    pub cudnn: Option<String>,
    pub nccl: Option<String>,
    pub triton: Option<String>,
    /// Requirement name (extras included) -> version specifier.
    pub requires: Option<BTreeMap<String, String>>,
    /// `exact`, `document`, `script`, `inferred`, `bundled` or `unknown`.
    pub requires_status: Option<String>,
    #[serde(default)]
    pub markers: Vec<String>,
    #[serde(default)]
    pub platforms: Vec<RawBuild>,
    /// Platforms of which nobody knows whether it was built for them.
    #[serde(default)]
    pub unsure_platforms: Vec<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

fn yes() -> bool {
    true
}

/// One variant on one platform: a family of wheel files that differ by Python tag alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBuild {
    pub platform: String,
    pub tag: Option<String>,
    pub glibc: Option<String>,
    /// Machine code inside, `sm_90`. Absent: nobody read it. `[]`: none.
    pub sass: Option<Vec<String>>,
    /// PTX inside, `compute_90`. Absent: nobody read it. `[]`: none.
    pub ptx: Option<Vec<String>>,
    /// Machine code in the linear algebra part, where it was read apart.
    pub linalg: Option<Vec<String>>,
    /// Further code that only some kernels carry.
    #[serde(default)]
    pub partial: Vec<String>,
    /// PyPI serves another variant for this platform.
    #[serde(default)]
    pub index_only: bool,
    /// The file name carries the local version label (`+cu124`).
    #[serde(default = "yes")]
    pub labelled: bool,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A GPU product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGpu {
    pub id: String,
    pub architecture: String,
    pub capability: String,
    /// `datacenter`, `workstation`, `geforce`, `titan`, `jetson`, `integrated` or `family`.
    pub kind: String,
    /// As nvidia-smi prints them.
    #[serde(default)]
    pub names: Vec<String>,
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Cloud instance types and accelerator names; `*` stands for any rest.
    #[serde(default)]
    pub cloud: Vec<String>,
    /// For `family`: a name holding all of these belongs to it.
    #[serde(default, rename = "match")]
    pub matches: Vec<String>,
    /// The machine it is built into, where there is only one: `linux/arm64`.
    pub host: Option<String>,
    /// `open` or `proprietary`, where the card differs from its generation.
    pub module: Option<String>,
    pub chip: Option<String>,
    #[serde(default)]
    pub pci_ids: Vec<String>,
    pub memory_gb: Option<f64>,
    pub bandwidth_gb_s: Option<f64>,
    pub sms: Option<u32>,
    #[serde(default)]
    pub peak: RawPeak,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// Dense operations of a multiprocessor in a clock.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawThroughput {
    pub capability: String,
    pub per_clock: RawPeak,
    /// What GeForce cards do otherwise.
    #[serde(default)]
    pub geforce: RawPeak,
    pub source: Vec<RawEvidence>,
}

/// Numbers by data type, no sparsity: peaks in TFLOP/s (TOPS of int8), or operations in a clock.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPeak {
    pub fp32: Option<f64>,
    pub tf32: Option<f64>,
    pub fp16: Option<f64>,
    pub fp16_acc32: Option<f64>,
    pub bf16: Option<f64>,
    pub fp8: Option<f64>,
    pub fp4: Option<f64>,
    pub int8: Option<f64>,
}

impl RawPeak {
    /// By the names of its columns.
    pub fn named(&self) -> BTreeMap<String, f64> {
        let columns = [
            ("fp32", self.fp32),
            ("tf32", self.tf32),
            ("fp16", self.fp16),
            ("fp16_acc32", self.fp16_acc32),
            ("bf16", self.bf16),
            ("fp8", self.fp8),
            ("fp4", self.fp4),
            ("int8", self.int8),
        ];
        columns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Driver bounds and kernel module flavour of a group of capabilities.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGeneration {
    pub name: String,
    pub capabilities: Vec<String>,
    pub first_branch: Option<String>,
    pub last_branch: Option<String>,
    /// `open` (required), `proprietary` (required) or `either`.
    pub module: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// Which devices machine code of one target runs on, where the plain rule (same major, minor
/// not lower) has exceptions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCodeRule {
    /// `sm_80`.
    pub code: String,
    /// Capabilities that it serves.
    pub serves: Vec<String>,
    pub source: Vec<RawEvidence>,
}

/// A driver branch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBranch {
    pub branch: String,
    /// The CUDA version its user-mode driver implements.
    pub cuda: String,
    /// `lts`, `production`, `new-feature`, `evaluation` or `unknown`.
    pub kind: String,
    /// First release for data centres: what a bare branch number stands for.
    pub first_data_center: Option<String>,
    pub first_release: Option<String>,
    pub eol: Option<String>,
    pub latest: Option<String>,
    pub architectures: String,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// The first driver whose published list names a card.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFirstListed {
    /// nvidia-smi name.
    pub name: String,
    pub branch: String,
    pub version: Option<String>,
    /// Already listed by this one; the first is not known.
    pub at_most: Option<String>,
    #[serde(default)]
    pub added_later: BTreeMap<String, String>,
    #[serde(default)]
    pub missing_from: Vec<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// Cards before Turing as packaged closed drivers list them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawListedByPackage {
    pub name: String,
    pub listed_in: Vec<String>,
    pub dropped_to: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A CUDA toolkit release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawToolkit {
    pub version: String,
    /// Driver it was released with, Linux and Windows.
    pub driver: Option<String>,
    pub driver_windows: Option<String>,
    pub bundled_driver: Option<String>,
    /// Lowest driver that starts machine code built with it.
    pub minor_compat_driver: Option<String>,
    #[serde(default)]
    pub driver_inferred: bool,
    /// Version of the `cuda-toolkit` package on PyPI.
    pub pypi: Option<String>,
    #[serde(default)]
    pub components: BTreeMap<String, String>,
    pub released: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// What the extras of the `cuda-toolkit` package expand to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawToolkitPackages {
    pub version: String,
    pub extras: BTreeMap<String, Vec<String>>,
    pub source: Vec<RawEvidence>,
}

/// nvcc and ptxas of one CUDA version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCompiler {
    pub cuda: String,
    /// `sm_50`, `sm_90a`, `sm_100f` ...
    pub targets: Vec<String>,
    pub ptx_isa: Option<String>,
    pub default: Option<String>,
    pub gcc_max: Option<String>,
    pub clang_max: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// The floor from which every toolkit of a major runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMinorCompat {
    pub cuda_major: u16,
    /// Absent: this major has no minor-version compatibility.
    pub linux: Option<String>,
    pub windows: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A cuda-compat package and the kernel drivers it may stand on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawForwardCompat {
    pub package: String,
    pub cuda: String,
    /// Branch whose libraries it carries.
    pub libraries: String,
    /// Branch -> `usable`, `same` or `older`.
    pub on: BTreeMap<String, String>,
    pub source: Vec<RawEvidence>,
}

/// A cuDNN wheel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCudnn {
    pub version: String,
    /// `cu11`, `cu12` or `cu13`.
    pub build: String,
    pub package: String,
    pub soname: String,
    /// Platform -> wheel tag.
    pub wheels: BTreeMap<String, String>,
    pub driver: Option<String>,
    /// Platform -> `cudnn_code` id.
    #[serde(default)]
    pub code: BTreeMap<String, String>,
    pub min: Option<String>,
    pub max: Option<String>,
    #[serde(default)]
    pub measured: bool,
    #[serde(default)]
    pub yanked: bool,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A code list that several cuDNN wheels share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCudnnCode {
    pub id: String,
    pub sass: Vec<String>,
    pub ptx: Vec<String>,
    pub source: Vec<RawEvidence>,
}

/// A row of NVIDIA's own support matrices, kept as a witness.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCudnnDocumented {
    pub cudnn: String,
    pub cuda: Vec<String>,
    #[serde(default)]
    pub driver: BTreeMap<String, String>,
    #[serde(default)]
    pub min: BTreeMap<String, String>,
    pub max: Option<String>,
    #[serde(default)]
    pub deprecated: Vec<String>,
    pub source: Vec<RawEvidence>,
}

/// Tags of `nvidia/cuda` for one CUDA version and some distributions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCudaImage {
    pub cuda: String,
    pub distros: Vec<String>,
    pub flavours: Vec<String>,
    /// Absent: not known.
    pub platforms: Option<Vec<String>>,
    #[serde(default)]
    pub cudnn: Vec<String>,
    pub status: String,
    /// Seen in use only: other tags may exist.
    #[serde(default)]
    pub seen_only: bool,
    pub source: Vec<RawEvidence>,
}

/// `NVIDIA_REQUIRE_CUDA` of an `nvidia/cuda` image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawImageRequirement {
    /// `12.8.0`, or `13.2` for every patch of it.
    pub image: String,
    pub cuda: String,
    /// Older branches admitted for the brands. Absent: not known.
    pub branches: Option<Vec<String>>,
    #[serde(default)]
    pub brands: Vec<String>,
    #[serde(default)]
    pub installs_compat: bool,
    #[serde(default)]
    pub partial: bool,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPytorchImage {
    pub torch: String,
    pub cuda: Vec<String>,
    pub cudnn: u16,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A `python` image tag; `X` in it stands for the Python version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPythonImage {
    pub tag: String,
    pub distro: Option<String>,
    /// Absent: no glibc inside.
    pub glibc: Option<String>,
    pub as_of: String,
    #[serde(default)]
    pub variants: Vec<String>,
    pub source: Vec<RawEvidence>,
}

/// An image that brings uv; the last row is the one that is rendered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUvImage {
    pub repository: String,
    pub tag: String,
    pub source: Vec<RawEvidence>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDistro {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Absent: musl.
    pub glibc: Option<String>,
    pub python: Option<String>,
    pub gcc: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// One version of a package that lives on torch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCompanion {
    pub package: String,
    pub version: String,
    pub requires_python: Option<String>,
    /// Requirement name -> specifier, as in its metadata. `torch` is the one that counts.
    #[serde(default)]
    pub requires: BTreeMap<String, String>,
    /// torch line by its documentation, where its metadata names none.
    pub documented_torch: Option<String>,
    /// Platform -> version string inside the PyPI file, local label included.
    #[serde(default)]
    pub built_as: BTreeMap<String, String>,
    pub built_with_torch: Option<String>,
    pub cuda: Option<String>,
    pub cuda_major: Option<u16>,
    pub sass: Option<Vec<String>>,
    pub ptx: Option<Vec<String>>,
    /// Platform -> CUDA versions it carries a library for.
    #[serde(default)]
    pub cuda_libraries: BTreeMap<String, Vec<String>>,
    /// ptxas programs inside.
    #[serde(default)]
    pub ptxas: Vec<RawPtxas>,
    #[serde(default)]
    pub wheels: Vec<RawWheels>,
    #[serde(default)]
    pub sdist_only: bool,
    #[serde(default)]
    pub yanked: bool,
    pub source: Vec<RawEvidence>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPtxas {
    pub path: String,
    pub cuda: String,
    /// Highest targets differ by build: the list it prints itself.
    pub targets: Vec<String>,
}

/// What a package asks of torch and the card beyond its metadata.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCompanionRule {
    pub package: String,
    /// Versions it holds for, `>=2`. Absent: all.
    pub versions: Option<String>,
    pub min_capability: Option<String>,
    pub max_capability: Option<String>,
    /// How its CUDA must agree with torch's: `minor`, `major` or `any`.
    pub cuda: Option<String>,
    /// It is compiled on installation, with nvcc.
    #[serde(default)]
    pub source_build: bool,
    /// It must equal the version that torch's metadata pins.
    #[serde(default)]
    pub pinned_by_torch: bool,
    /// torch versions that these versions do not work with.
    pub refuses_torch: Option<String>,
    pub note: Option<String>,
    pub source: Vec<RawEvidence>,
}

/// A fact that no program reads yet, kept with its source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNote {
    pub topic: String,
    pub text: String,
    pub source: Vec<RawEvidence>,
}

/// What a program prints when something of the chain is broken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMessage {
    /// Kebab-case, unique.
    pub id: String,
    /// Finding code.
    pub code: String,
    /// `cause`, `symptom` or `hint`.
    pub tells: String,
    /// Fragments, any of which is the message; case and white space do not count.
    pub text: Vec<String>,
    /// Must hold in the lines around the fragment; its named groups fill the holes of `cause` and `fix`.
    pub pattern: Option<String>,
    /// One of these must stand in the neighbourhood.
    #[serde(default)]
    pub beside: Vec<String>,
    /// None of these may stand in the lines around the fragment.
    #[serde(default)]
    pub unless: Vec<String>,
    /// Messages that are only its consequence when both are met.
    #[serde(default)]
    pub hides: Vec<String>,
    /// `certain`, `likely` or `possible`.
    pub certainty: String,
    /// One sentence, with holes.
    pub cause: String,
    /// What to do, cheapest first; a line with a hole that nothing fills is left out.
    pub fix: Vec<String>,
    /// Reports in which it was met: `owner/repository#number`.
    #[serde(default)]
    pub seen: Vec<String>,
    pub source: Vec<RawEvidence>,
}

/// The page of a finding code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPage {
    pub code: String,
    /// Paragraphs: what it means.
    pub means: String,
    /// How to see it oneself: a command or a place, and what it shows.
    pub look: Vec<String>,
    /// Cheapest first.
    pub fixes: Vec<String>,
    /// Another code it is taken for, and how to tell them apart.
    #[serde(default)]
    pub confused: BTreeMap<String, String>,
    pub source: Vec<RawEvidence>,
}
