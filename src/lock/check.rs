//! From the shape on disk to the checked lock, and back.

use std::collections::BTreeSet;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::values::{Fetched, Index, Mode, Serving};
use super::{Base, Driver, Error, Gpu, Lockfile, MatrixStamp, Package, Target, v1};
use crate::domain::{ParseError, Sha256};

/// Reads every text of a file into its type; the first that is none is the error.
pub(super) fn lockfile(file: &v1::File, name: &str) -> Result<Lockfile, Error> {
    let at = Place { name, path: String::new() };
    let matrix = at.key("matrix");
    let lock = Lockfile {
        matrix: MatrixStamp {
            id: matrix.key("id").read(&file.matrix.id)?,
            digest: matrix.key("digest").read(&file.matrix.digest)?,
            overlays: matrix.key("overlays").read_all(&file.matrix.overlays)?,
        },
        inputs: at.key("inputs").key("digest").read::<Sha256>(&file.inputs.digest)?,
        targets: rows(&file.target, &at.key("target"), target)?,
        later: None,
    };
    if lock.targets.is_empty() {
        return Err(at.key("target").broken("there is no target"));
    }
    unique(lock.targets.iter().map(|t| t.name.as_str()), &at.key("target"), "name")?;
    indexes(file, &lock, &at)?;
    Ok(lock)
}

/// A key of a file, for messages.
struct Place<'n> {
    name: &'n str,
    path: String,
}

impl Place<'_> {
    fn key(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { name: self.name, path: format!("{}{dot}{key}", self.path) }
    }

    fn row(&self, index: usize) -> Self {
        Self { name: self.name, path: format!("{}[{index}]", self.path) }
    }

    fn read<T: FromStr<Err = ParseError>>(&self, text: &str) -> Result<T, Error> {
        self.parsed(text.parse())
    }

    fn parsed<T>(&self, read: Result<T, ParseError>) -> Result<T, Error> {
        read.map_err(|source| {
            let given =
                source.given.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            Error::Value {
                name: self.name.into(),
                field: self.path.clone(),
                source: ParseError { given, ..source },
            }
        })
    }

    fn read_opt<T: FromStr<Err = ParseError>>(
        &self,
        text: Option<&String>,
    ) -> Result<Option<T>, Error> {
        text.map(|text| self.read(text)).transpose()
    }

    fn read_all<T: FromStr<Err = ParseError>>(&self, texts: &[String]) -> Result<Vec<T>, Error> {
        texts.iter().enumerate().map(|(index, text)| self.row(index).read(text)).collect()
    }

    fn version(&self, text: &str) -> Result<Version, Error> {
        self.parsed(version(text))
    }

    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Broken { name: self.name.into(), field: self.path.clone(), reason: reason.into() }
    }
}

/// A public PEP 440 version: the label has a key of its own.
fn version(text: &str) -> Result<Version, ParseError> {
    let refused = || {
        ParseError::new("a version", text, "a PEP 440 version without a local label, like `2.9.1`")
    };
    if text.len() > 100
        || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'!'))
    {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

fn specifiers(text: &str) -> Result<VersionSpecifiers, ParseError> {
    let refused =
        || ParseError::new("a version specifier", text, "PEP 440 clauses like `>=3.4,<4`");
    let admits = |b: u8| b.is_ascii_alphanumeric() || b".!*+<>=~, ".contains(&b);
    if text.len() > 200 || !text.bytes().all(admits) {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

fn rows<R, T>(
    raw: &[R],
    at: &Place<'_>,
    read: fn(&R, &Place<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    raw.iter().enumerate().map(|(index, row)| read(row, &at.row(index))).collect()
}

fn unique<'a>(
    names: impl Iterator<Item = &'a str>,
    at: &Place<'_>,
    key: &str,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            return Err(at.row(index).key(key).broken(format!("`{name}` stands here twice")));
        }
    }
    Ok(())
}

fn target(raw: &v1::Target, at: &Place<'_>) -> Result<Target, Error> {
    let driver = at.key("driver");
    let target = Target {
        name: at.key("name").read(&raw.name)?,
        platform: at.key("platform").read(&raw.platform)?,
        python: at.key("python").read(&raw.python)?,
        torch: at.key("torch").read(&raw.torch)?,
        variant: at.key("variant").read(&raw.variant)?,
        index: at.key("index").read(&raw.index)?,
        cuda: at.key("cuda").read(&raw.cuda)?,
        toolkit: at.key("toolkit").read_opt(raw.toolkit.as_ref())?,
        cudnn: at.key("cudnn").read_opt(raw.cudnn.as_ref())?,
        nccl: raw.nccl.as_ref().map(|v| at.key("nccl").version(v)).transpose()?,
        triton: raw.triton.as_ref().map(|v| at.key("triton").version(v)).transpose()?,
        glibc_min: at.key("glibc_min").read_opt(raw.glibc_min.as_ref())?,
        pins_unknown: raw.pins_unknown,
        driver: Driver {
            given: driver.key("given").read_opt(raw.driver.given.as_ref())?,
            min: driver.key("min").read_opt(raw.driver.min.as_ref())?,
            native: driver.key("native").read_opt(raw.driver.native.as_ref())?,
            max_branch: raw.driver.max_branch,
            mode: driver.key("mode").read_opt::<Mode>(raw.driver.mode.as_ref())?,
        },
        gpus: rows(&raw.gpu, &at.key("gpu"), gpu)?,
        base: base(&raw.base, &at.key("base"))?,
        packages: rows(&raw.package, &at.key("package"), package)?,
    };
    unique(target.gpus.iter().map(|g| g.given.as_str()), &at.key("gpu"), "given")?;
    unique(target.packages.iter().map(|p| p.name.as_str()), &at.key("package"), "name")?;
    let torch = target.packages.iter().find(|p| p.name.as_str() == "torch");
    if torch.is_none_or(|p| p.version != Some(target.torch.pep440()) || p.index != target.index) {
        return Err(at
            .key("package")
            .broken(format!("there is no row for torch {} from {}", target.torch, target.index)));
    }
    Ok(target)
}

fn gpu(raw: &v1::Gpu, at: &Place<'_>) -> Result<Gpu, Error> {
    let how = at.key("served_by").read_opt::<Serving>(raw.served_by.as_ref())?;
    let code = at.key("code").read_opt(raw.code.as_ref())?;
    if how.is_some() != code.is_some() {
        return Err(at.key("code").broken("`served_by` and `code` go together"));
    }
    Ok(Gpu {
        given: at.key("given").read(&raw.given)?,
        name: at.key("name").read(&raw.name)?,
        capability: at.key("capability").read(&raw.capability)?,
        served: how.zip(code),
    })
}

fn base(raw: &v1::Base, at: &Place<'_>) -> Result<Base, Error> {
    let builder = at.key("builder").read_opt(raw.builder.as_ref())?;
    let builder_tag = at.key("builder_tag").read_opt(raw.builder_tag.as_ref())?;
    if builder.is_some() != builder_tag.is_some() {
        return Err(at.key("builder_tag").broken("`builder` and `builder_tag` go together"));
    }
    Ok(Base {
        repository: at.key("repository").read(&raw.repository)?,
        tag: at.key("tag").read(&raw.tag)?,
        flavour: at.key("flavour").read(&raw.flavour)?,
        digest: at.key("digest").read(&raw.digest)?,
        builder: builder.zip(builder_tag),
        apt: at.key("apt").read_all(&raw.apt)?,
    })
}

fn package(raw: &v1::Package, at: &Place<'_>) -> Result<Package, Error> {
    let package = Package {
        name: at.key("name").read(&raw.name)?,
        version: raw.version.as_ref().map(|v| at.key("version").version(v)).transpose()?,
        specifier: raw
            .specifier
            .as_ref()
            .map(|v| at.key("specifier").parsed(specifiers(v)))
            .transpose()?,
        local: at.key("local").read_opt(raw.local.as_ref())?,
        index: at.key("index").read(&raw.index)?,
        extras: at.key("extras").read_all(&raw.extras)?,
        requested: raw.requested,
        source_build: raw.source_build,
        hash: at.key("hash").read::<Fetched>(&raw.hash)?,
    };
    if package.version.is_some() && package.specifier.is_some() {
        return Err(at.key("specifier").broken("a package has a version or a specifier, not both"));
    }
    if package.version.is_none() && package.local.is_some() {
        return Err(at.key("local").broken("a local label needs a version"));
    }
    Ok(package)
}

/// The `[[index]]` rows for these names: each once, sorted, PyPI left out.
pub(super) fn index_rows<'a>(names: impl Iterator<Item = &'a str>) -> Vec<v1::IndexRow> {
    let names: BTreeSet<_> = names.collect();
    names
        .into_iter()
        .filter_map(|name| {
            let url = name.parse::<Index>().ok()?.url()?;
            Some(v1::IndexRow { name: name.into(), url })
        })
        .collect()
}

/// A name stands for one address and no other, so that a changed line cannot lead elsewhere.
fn indexes(file: &v1::File, lock: &Lockfile, at: &Place<'_>) -> Result<(), Error> {
    let at = at.key("index");
    let mut declared = BTreeSet::new();
    for (row, raw) in file.index.iter().enumerate() {
        let index: Index = at.row(row).key("name").read(&raw.name)?;
        match index.url() {
            Some(url) if url == raw.url => declared.insert(index),
            Some(url) => {
                return Err(at
                    .row(row)
                    .key("url")
                    .broken(format!("the address of `{index}` is {url}")));
            }
            None => {
                return Err(at
                    .row(row)
                    .key("name")
                    .broken("PyPI's address is a setting of pip or uv"));
            }
        };
    }
    let used = lock.targets.iter().flat_map(|t| t.packages.iter().map(|p| p.index));
    match used.filter(|index| *index != Index::Pypi).find(|index| !declared.contains(index)) {
        Some(index) => Err(at.broken(format!("there is no row for `{index}`"))),
        None => Ok(()),
    }
}

/// The shape on disk of a lock.
pub(super) fn file(lock: &Lockfile) -> v1::File {
    let names: Vec<_> =
        lock.targets.iter().flat_map(|t| t.packages.iter().map(|p| p.index.to_string())).collect();
    v1::File {
        version: v1::VERSION,
        revision: v1::REVISION,
        matrix: v1::Matrix {
            id: lock.matrix.id.to_string(),
            digest: lock.matrix.digest.to_string(),
            overlays: texts(&lock.matrix.overlays),
        },
        inputs: v1::Inputs { digest: lock.inputs.to_string() },
        target: lock.targets.iter().map(raw_target).collect(),
        index: index_rows(names.iter().map(String::as_str)),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}

fn raw_target(target: &Target) -> v1::Target {
    let gpu = |gpu: &Gpu| v1::Gpu {
        given: gpu.given.to_string(),
        name: gpu.name.to_string(),
        capability: gpu.capability.to_string(),
        served_by: gpu.served.map(|(how, _)| how.to_string()),
        code: gpu.served.map(|(_, code)| code.to_string()),
    };
    let package = |package: &Package| v1::Package {
        name: package.name.to_string(),
        version: text(package.version.as_ref()),
        specifier: text(package.specifier.as_ref()),
        local: text(package.local.as_ref()),
        index: package.index.to_string(),
        extras: texts(&package.extras),
        requested: package.requested,
        source_build: package.source_build,
        hash: package.hash.to_string(),
    };
    let (driver, base) = (&target.driver, &target.base);
    v1::Target {
        name: target.name.to_string(),
        platform: target.platform.to_string(),
        python: target.python.to_string(),
        torch: target.torch.to_string(),
        variant: target.variant.to_string(),
        index: target.index.to_string(),
        cuda: target.cuda.to_string(),
        toolkit: text(target.toolkit.as_ref()),
        cudnn: text(target.cudnn.as_ref()),
        nccl: text(target.nccl.as_ref()),
        triton: text(target.triton.as_ref()),
        glibc_min: text(target.glibc_min.as_ref()),
        pins_unknown: target.pins_unknown,
        driver: v1::Driver {
            given: text(driver.given.as_ref()),
            min: text(driver.min.as_ref()),
            native: text(driver.native.as_ref()),
            max_branch: driver.max_branch,
            mode: text(driver.mode.as_ref()),
        },
        gpu: target.gpus.iter().map(gpu).collect(),
        base: v1::Base {
            repository: base.repository.to_string(),
            tag: base.tag.to_string(),
            flavour: base.flavour.to_string(),
            digest: base.digest.to_string(),
            builder: base.builder.as_ref().map(|(repository, _)| repository.to_string()),
            builder_tag: base.builder.as_ref().map(|(_, tag)| tag.to_string()),
            apt: texts(&base.apt),
        },
        package: target.packages.iter().map(package).collect(),
    }
}
