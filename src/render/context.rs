//! What a template sees. A field that does not apply is null, so `{% if %}` can ask for it; a name
//! that does not exist is an error.
//!
//! Every text here comes from a checked type of the lock: names, versions, tags and digests hold no
//! newline, quote, backtick, `$`, `;`, `&` or backslash.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{ImageName, Kind, Options, Pull, Runtime, smoke};
use crate::domain::{
    ComputeCapability, DriverVersion, Gather as _, Order as _, Platform, PythonVersion, Sha256,
    Suffix,
};
use crate::lock::{self, Fetched, Index, Lockfile, Mode, Repository, Serving, Tag};

/// Image that brings the installer, for locks of revision 0, which name none.
const UV_IMAGE: &str = "ghcr.io/astral-sh/uv:0.13.8";
/// What packages without a ready file need to be compiled; taken into no image.
const BUILD_TOOLS: &[&str] = &["ninja", "packaging", "pip", "psutil", "setuptools", "wheel"];

/// JSON Schema of [`Page`], for people who write templates. A test holds it to the types.
pub const SCHEMA: &str = include_str!("../../schemas/template-context.json");

/// Every name that a template may use, in the order of the schema: `lock.digest`, `targets[].torch` ...
pub(super) fn names() -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap_or_default();
    let mut names = Vec::new();
    collect(&schema, &schema, "", &mut names);
    names
}

fn collect(
    schema: &serde_json::Value,
    at: &serde_json::Value,
    prefix: &str,
    names: &mut Vec<String>,
) {
    let resolve = |at: &serde_json::Value| {
        let name = at["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        name.map(|name| schema["$defs"][name].clone())
    };
    for (name, property) in at["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        // A field that may be null is one of several.
        let several = property["anyOf"].as_array().and_then(|list| list.iter().find_map(resolve));
        if let Some(inner) = resolve(property).or(several) {
            collect(schema, &inner, &format!("{path}."), names);
        } else if let Some(inner) = resolve(&property["items"]) {
            collect(schema, &inner, &format!("{path}[]."), names);
        } else {
            names.push(path);
        }
    }
}

/// What a template of `gpuseal render` sees.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Page {
    /// The lock that is rendered.
    pub lock: LockFacts,
    /// Address of what stands in for PyPI; null: pip and uv know where it is.
    pub pypi_url: Option<String>,
    /// A Dockerfile names its frontend in a `# syntax=` line.
    pub syntax_line: bool,
    /// A Dockerfile is a part of the user's own: no head and no last stage.
    pub managed: bool,
    /// Build requirements of packages that are compiled.
    pub build_tools: &'static [&'static str],
    /// A program for `python -c` that fails unless every GPU in sight multiplies exactly: several lines, to be
    /// set in single quotes, of which it holds none.
    pub smoke: &'static str,
    /// What starts the container of a Slurm job: `pyxis` or `apptainer`.
    pub runtime: &'static str,
    /// Targets, in the order of the lock. For a Dockerfile those for Linux only.
    pub targets: Vec<Target>,
    /// The first target for each architecture, where the targets of a Dockerfile are for more than one;
    /// else empty.
    pub by_arch: Vec<ByArch>,
    /// Targets that this kind cannot serve.
    pub left_out: Vec<LeftOut>,
}

/// A target that stands for its architecture.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ByArch {
    /// `arm64`
    pub arch: String,
    /// Name of the target.
    pub target: String,
}

/// Facts about the lock.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LockFacts {
    /// `sha256:` of its text.
    pub digest: String,
    /// Id of the matrix.
    pub matrix: String,
    /// Digest of the matrix.
    pub matrix_digest: String,
    /// Some package has no file, so nobody knows its digest.
    pub unfetched_files: bool,
    /// Some image has no digest.
    pub unfetched_images: bool,
}

/// A target that is not rendered.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform: String,
}

/// One target.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// Its name, also of its stage.
    pub name: String,
    /// What its image is called once it is built: `gpuseal:train-0123456789ab`, or as the user says.
    pub image: String,
    /// `train-0123456789ab`: target and lock, for files that hold the image.
    pub tag: String,
    /// Where the built image is pulled from; null: nobody has named a registry.
    pub pull: Option<Pull>,
    /// `linux/amd64`
    pub platform: String,
    /// `amd64`
    pub arch: String,
    /// `3.12`, with its patch and `t` where the lock has them.
    pub python: String,
    /// `3.12` or `3.13t`, never with a patch.
    pub python_series: String,
    /// `2.9.1` from PyPI, `2.9.1+cu126` from a PyTorch index.
    pub torch: String,
    /// `cu126`
    pub variant: String,
    /// `12.6`, which `torch.version.cuda` must print.
    pub cuda: String,
    /// `2.28`
    pub glibc_min: Option<String>,
    /// Cards.
    pub gpus: Vec<Card>,
    /// Driver bounds.
    pub driver: Driver,
    /// `12.0` for `NVIDIA_REQUIRE_CUDA=cuda>=12.0`; null where an older driver serves by cuda-compat.
    pub require_cuda: Option<String>,
    /// Image that brings uv, with its digest when the lock has it.
    pub uv_image: String,
    /// The same without its tag where it has a digest.
    pub uv_pinned: String,
    /// Image of the result, which is also where packages are installed.
    pub base: Image,
    /// Image in which extensions are compiled; null where nothing is.
    pub compile: Option<Compile>,
    /// Debian packages of the result.
    pub apt: Vec<String>,
    /// Every package that is not compiled with the digest of its file, as lines of a requirement file;
    /// empty where one of the files is not known.
    pub locked: Vec<String>,
    /// The same of the packages that are compiled: the digests are those of their sources.
    pub locked_sources: Vec<String>,
    /// The image holds NVIDIA's compat libraries, by which a driver of an older CUDA runs it.
    pub holds_compat: bool,
    /// Packages from indexes of their own, torch first: one install line each.
    pub from_index: Vec<FromIndex>,
    /// Requirements from PyPI, by name.
    pub from_pypi: Vec<String>,
    /// Requirements from PyPI that are compiled.
    pub from_source: Vec<String>,
    /// Exact versions that later install lines must not change.
    pub constraints: Vec<String>,
}

/// Where a target is compiled.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Compile {
    /// Image.
    pub image: Image,
    /// `8.0;9.0+PTX`, the value of `TORCH_CUDA_ARCH_LIST`.
    pub arch_list: String,
    /// `80;90`: the generations of the cards alone, the value of `FLASH_ATTN_CUDA_ARCHS`.
    pub generations: String,
}

/// An image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Image {
    /// `python:3.12-slim-trixie`, with its digest when the lock has it.
    pub reference: String,
    /// The same in full, `docker.io/library/python:3.12-slim-trixie`.
    pub full_name: String,
    /// `sha256:...`; null where nobody asked a registry.
    pub digest: Option<String>,
    /// Without the tag where there is a digest: not every tool takes both.
    pub pinned: String,
    /// It has no Python that fits, so uv installs one in /opt/python.
    pub bare: bool,
}

/// Packages of one index.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FromIndex {
    /// Its address.
    pub url: String,
    /// Requirements, torch first.
    pub packages: Vec<String>,
}

/// A card.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Card {
    /// All of it in words: `NVIDIA L4 (compute capability 8.9, runs sm_86)`.
    pub text: String,
    /// `NVIDIA L4`
    pub name: String,
    /// `8.9`
    pub capability: String,
    /// `exact`, `same-major` or `ptx`; null: not known.
    pub served_by: Option<&'static str>,
    /// `sm_86`
    pub code: Option<String>,
}

/// Driver bounds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Driver {
    /// As the requirements state it.
    pub given: Option<String>,
    /// Lowest that runs the target.
    pub min: Option<String>,
    /// Lowest that implements its CUDA.
    pub native: Option<String>,
    /// The one to install: `native` where it drives all cards, else `min`.
    pub recommended: Option<String>,
    /// Last branch that drives all cards.
    pub max_branch: Option<u16>,
    /// `native`, `minor-compat` or `forward-compat`.
    pub mode: Option<&'static str>,
}

impl Page {
    pub(super) fn new(
        lock: &Lockfile,
        targets: &[&lock::Target],
        kind: Kind,
        options: &Options<'_>,
    ) -> Self {
        let fits =
            |target: &&lock::Target| kind == Kind::Install || target.platform.has_container();
        let (targets, left_out): (Vec<_>, Vec<_>) = targets.iter().copied().partition(fits);
        let unfetched_files = targets.iter().flat_map(|t| &t.packages).any(|p| p.file.is_none());
        let no_digest = |digest: Option<&Fetched>| digest == Some(&Fetched::Unfetched);
        let unfetched_images = targets.iter().map(|target| &target.base).any(|base| {
            no_digest(Some(&base.digest))
                || no_digest(base.builder.as_ref().map(|image| &image.digest))
                || base.uv.as_ref().is_none_or(|image| no_digest(Some(&image.digest)))
        });
        let digest = lock.digest();
        Self {
            lock: LockFacts {
                digest: digest.to_string(),
                matrix: lock.matrix.id.to_string(),
                matrix_digest: lock.matrix.digest.to_string(),
                unfetched_files,
                unfetched_images,
            },
            pypi_url: lock.index_url(Index::Pypi),
            build_tools: BUILD_TOOLS,
            smoke: smoke::PROGRAM,
            runtime: match options.runtime {
                Runtime::Pyxis => "pyxis",
                Runtime::Apptainer => "apptainer",
            },
            syntax_line: !options.no_syntax_line,
            managed: options.managed,
            by_arch: by_arch(&targets),
            targets: targets
                .into_iter()
                .map(|target| Target::new(target, lock, &digest, options.image))
                .collect(),
            left_out: left_out
                .into_iter()
                .map(|t| LeftOut { name: t.name.to_string(), platform: t.platform.to_string() })
                .collect(),
        }
    }
}

impl Target {
    fn new(
        target: &lock::Target,
        lock: &Lockfile,
        digest: &Sha256,
        image: Option<&ImageName>,
    ) -> Self {
        let mut requested: Vec<_> = target.packages.iter().filter(|p| p.requested).collect();
        requested.order_by_key(|p| p.name.as_str() != "torch");
        let (source, ready): (Vec<_>, Vec<_>) = requested.into_iter().partition(|p| p.source_build);
        let mut from_index: Vec<FromIndex> = Vec::new();
        for package in &ready {
            let Some(url) = lock.index_url(package.index).filter(|_| package.index != Index::Pypi)
            else {
                continue;
            };
            match from_index.iter_mut().find(|line| line.url == url) {
                Some(line) => line.packages.push(requirement(package)),
                None => from_index.push(FromIndex { url, packages: vec![requirement(package)] }),
            }
        }
        let pypi = ready.iter().filter(|p| p.index == Index::Pypi);
        let uv = target.base.uv.as_ref();
        let uv = uv.map(|uv| Image::new(lock, &uv.repository, &uv.tag, &uv.digest, target.python));
        Self {
            name: target.name.to_string(),
            image: ImageName::of(image, target, digest),
            tag: ImageName::tag(target, digest),
            pull: image.map(|image| image.pull(target, digest)),
            platform: target.platform.name().into(),
            arch: arch(target.platform).into(),
            python: target.python.to_string(),
            python_series: PythonVersion { patch: None, ..target.python }.to_string(),
            torch: target.torch_version(),
            variant: target.variant.to_string(),
            cuda: target.cuda.series().to_string(),
            glibc_min: target.glibc_min.map(|v| v.to_string()),
            gpus: target.gpus.iter().map(Card::new).collect(),
            driver: Driver {
                given: target.driver.given.map(|v| v.to_string()),
                min: target.driver.min.map(|v| v.to_string()),
                native: target.driver.native.map(|v| v.to_string()),
                recommended: recommended(&target.driver).map(ToString::to_string),
                max_branch: target.driver.max_branch,
                mode: target.driver.mode.map(Mode::word),
            },
            require_cuda: require_cuda(target),
            uv_image: uv.as_ref().map_or_else(|| UV_IMAGE.into(), |uv| uv.reference.clone()),
            uv_pinned: uv.map_or_else(|| UV_IMAGE.into(), |uv| uv.pinned),
            base: Image::new(
                lock,
                &target.base.repository,
                &target.base.tag,
                &target.base.digest,
                target.python,
            ),
            compile: compile(lock, target, !source.is_empty()),
            apt: target.base.apt.iter().map(ToString::to_string).collect(),
            holds_compat: target.holds_compat(),
            locked: locked(target, false),
            locked_sources: locked(target, true),
            from_index,
            from_pypi: pypi.map(|p| requirement(p)).collect(),
            from_source: source.into_iter().map(requirement).collect(),
            constraints: ready.iter().filter_map(|p| exact(p)).collect(),
        }
    }
}

impl Card {
    fn new(gpu: &lock::Gpu) -> Self {
        let named = format!("compute capability {}", gpu.capability);
        let code = gpu.served.map_or_else(String::new, |(_, code)| format!("runs {code}"));
        let details: Vec<_> = [named.as_str(), &code]
            .into_iter()
            .filter(|part| !part.is_empty() && *part != gpu.name.as_str())
            .collect();
        Self {
            text: if details.is_empty() {
                gpu.name.to_string()
            } else {
                format!("{} ({})", gpu.name, details.join(", "))
            },
            name: gpu.name.to_string(),
            capability: gpu.capability.to_string(),
            served_by: gpu.served.map(|(how, _)| how.word()),
            code: gpu.served.map(|(_, code)| code.to_string()),
        }
    }
}

impl Image {
    fn new(
        lock: &Lockfile,
        repository: &Repository,
        tag: &Tag,
        digest: &Fetched,
        python: PythonVersion,
    ) -> Self {
        let pulled = lock.pulled(repository);
        let name = format!("{pulled}:{tag}");
        let (registry, path) = repository.parts();
        Self {
            full_name: format!("{registry}/{path}:{tag}"),
            pinned: match digest {
                Fetched::Digest(digest) => format!("{pulled}@{digest}"),
                Fetched::Unfetched => name.clone(),
            },
            reference: match digest {
                Fetched::Digest(digest) => format!("{name}@{digest}"),
                Fetched::Unfetched => name,
            },
            digest: match digest {
                Fetched::Digest(digest) => Some(digest.to_string()),
                Fetched::Unfetched => None,
            },
            // The official images have the ordinary interpreter only.
            bare: repository.as_str() != "python" || python.free_threaded,
        }
    }
}

/// The lowest driver that gives everything, as far as one drives all cards.
fn recommended(driver: &lock::Driver) -> Option<&DriverVersion> {
    let drives_all = |v: &&DriverVersion| driver.max_branch.is_none_or(|last| v.branch <= last);
    driver.native.as_ref().filter(drives_all).or(driver.min.as_ref())
}

/// The first target for each architecture, where there are several.
fn by_arch(targets: &[&lock::Target]) -> Vec<ByArch> {
    let mut rows: Vec<ByArch> = Vec::new();
    for target in targets {
        let arch = arch(target.platform);
        if !rows.iter().any(|row| row.arch == arch) {
            rows.push(ByArch { arch: arch.into(), target: target.name.to_string() });
        }
    }
    if rows.len() < 2 {
        rows.clear();
    }
    rows
}

/// `arm64` of `linux/arm64`, as `TARGETARCH` says it.
fn arch(platform: Platform) -> &'static str {
    let name = platform.name();
    name.split_once('/').map_or(name, |(_, arch)| arch)
}

/// The lines of the packages that are compiled, or of those that are not, where every file is known.
///
/// What PyPI serves is named by version and digest, so that the user's own mirror will do; another
/// index would be a choice for the installer, so its files are named by address.
fn locked(target: &lock::Target, compiled: bool) -> Vec<String> {
    let line = |package: &lock::Package| {
        let file = package.file.as_ref()?;
        let name = match package.index {
            Index::Pypi => exact(package)?,
            Index::Pytorch(_) => format!("{} @ {}", package.name, file.url),
        };
        Some(format!("{name} --hash={}", file.sha256))
    };
    let packages = target.packages.iter().filter(|package| package.source_build == compiled);
    packages.map(line).collect::<Option<_>>().unwrap_or_default()
}

/// `torchvision==0.24.1+cu126`, where the version is known.
fn exact(package: &lock::Package) -> Option<String> {
    let version = package.version.as_ref()?;
    let local = package.local.as_ref().map_or_else(String::new, |local| format!("+{local}"));
    Some(format!("{}=={version}{local}", package.name))
}

/// The package as an install line names it, extras included.
fn requirement(package: &lock::Package) -> String {
    let extras: Vec<_> = package.extras.iter().map(lock::PackageName::as_str).collect();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let name = package.name.as_str();
    match (exact(package), &package.specifier) {
        (Some(exact), _) => format!("{name}{extras}{}", &exact[name.len()..]),
        (None, Some(specifier)) => {
            format!("{name}{extras}{}", specifier.to_string().replace(", ", ","))
        }
        (None, None) => format!("{name}{extras}"),
    }
}

/// The CUDA that a driver must implement to start the image, no more than the lock needs: the driver that
/// was given may do more than the oldest that serves. Machine code runs on any driver of the same CUDA major (minor-version compatibility); PTX needs
/// a driver that implements the build's own CUDA. By cuda-compat an older major serves, which this
/// variable cannot say.
fn require_cuda(target: &lock::Target) -> Option<String> {
    let jit = target.gpus.iter().any(|g| matches!(g.served, Some((Serving::Ptx, _))));
    match target.driver.mode {
        Some(Mode::ForwardCompat) => None,
        _ if jit => Some(target.cuda.series().to_string()),
        _ => Some(format!("{}.0", target.cuda.major)),
    }
}

fn compile(lock: &Lockfile, target: &lock::Target, needed: bool) -> Option<Compile> {
    let base = &target.base;
    let image = match &base.builder {
        Some(image) => {
            Image::new(lock, &image.repository, &image.tag, &image.digest, target.python)
        }
        None if needed => {
            Image::new(lock, &base.repository, &base.tag, &base.digest, target.python)
        }
        None => return None,
    };
    Some(Compile {
        image,
        arch_list: arch_list(&target.gpus),
        generations: generations(&target.gpus),
    })
}

/// The first capability of each card's major, without the dot, for packages with a list of their own.
fn generations(gpus: &[lock::Gpu]) -> String {
    let majors: BTreeSet<u8> = gpus.iter().map(|gpu| gpu.capability.major).gather();
    majors.iter().map(|major| format!("{major}0")).collect::<Vec<_>>().join(";")
}

/// `TORCH_CUDA_ARCH_LIST` for the cards of a target.
///
/// A card that torch itself reaches by PTX alone may be unknown to the compiler, so its extensions
/// carry the same PTX.
fn arch_list(gpus: &[lock::Gpu]) -> String {
    let mut archs: Vec<(ComputeCapability, bool)> = Vec::new();
    for gpu in gpus {
        let arch = match gpu.served {
            Some((Serving::Ptx, code)) if code.suffix == Suffix::Plain => (code.capability, true),
            _ => (gpu.capability, false),
        };
        archs.push(arch);
    }
    archs.sort_unstable();
    // With PTX, an architecture is compiled to machine code as well.
    archs.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        kept.1 |= same && later.1;
        same
    });
    let words: Vec<_> = archs
        .iter()
        .map(|(arch, ptx)| format!("{arch}{}", if *ptx { "+PTX" } else { "" }))
        .collect();
    words.join(";")
}
