//! From the shape on disk to the checked lock, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::values::{
    Address, Asked, Contents, Fetched, Index, LockedFile, Mirrored, Mode, Origin, Serving, Standin,
};
use super::{Base, Driver, Error, Gpu, Image, Lockfile, MatrixStamp, Package, Target, v1};
use crate::domain::{Gather as _, ParseError, Sha256};

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
        asked: at.key("inputs").key("asked").read_all::<Asked>(&file.inputs.asked)?,
        targets: Vec::new(),
        mirrors: mirrors(&file.mirror, &at.key("mirror"))?,
        later: None,
    };
    let folders = folders(file, &at.key("index"))?;
    let targets = file.target.iter().enumerate();
    let lock = Lockfile {
        targets: targets
            .map(|(index, row)| target(row, &at.key("target").row(index), &folders))
            .collect::<Result<_, _>>()?,
        ..lock
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

/// Where the files of an index are, as its row says.
type Folders = BTreeMap<Index, Address>;

fn folders(file: &v1::File, at: &Place<'_>) -> Result<Folders, Error> {
    let mut folders = Folders::new();
    for (row, raw) in file.index.iter().enumerate() {
        let at = at.row(row);
        if let Some(files) = at.key("files").read_opt(raw.files.as_ref())? {
            folders.insert(at.key("name").read(&raw.name)?, files);
        }
    }
    Ok(folders)
}

fn mirrors(raw: &[v1::MirrorRow], at: &Place<'_>) -> Result<BTreeMap<Mirrored, Standin>, Error> {
    let mut mirrors = BTreeMap::new();
    for (row, raw) in raw.iter().enumerate() {
        let at = at.row(row);
        let of = at.key("of").read::<Mirrored>(&raw.of)?;
        if mirrors.insert(of, at.key("at").read(&raw.at)?).is_some() {
            return Err(at.key("of").broken(format!("`{}` stands here twice", raw.of)));
        }
    }
    Ok(mirrors)
}

fn target(raw: &v1::Target, at: &Place<'_>, folders: &Folders) -> Result<Target, Error> {
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
        glibc: at.key("glibc").read_opt(raw.glibc.as_ref())?,
        pins_unknown: raw.pins_unknown,
        with_deps: raw.with_deps,
        driver: Driver {
            given: driver.key("given").read_opt(raw.driver.given.as_ref())?,
            min: driver.key("min").read_opt(raw.driver.min.as_ref())?,
            native: driver.key("native").read_opt(raw.driver.native.as_ref())?,
            max_branch: raw.driver.max_branch,
            mode: driver.key("mode").read_opt::<Mode>(raw.driver.mode.as_ref())?,
        },
        gpus: rows(&raw.gpu, &at.key("gpu"), gpu)?,
        base: base(&raw.base, &at.key("base"))?,
        packages: raw
            .package
            .iter()
            .enumerate()
            .map(|(index, row)| package(row, &at.key("package").row(index), folders))
            .collect::<Result<_, _>>()?,
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
    let image = |key: &str, texts: [Option<&String>; 3]| match texts {
        [None, None, None] => Ok(None),
        [Some(repository), Some(tag), digest] => Ok(Some(Image {
            repository: at.key(key).read(repository)?,
            tag: at.key(&format!("{key}_tag")).read(tag)?,
            digest: match digest {
                Some(digest) => at.key(&format!("{key}_digest")).read(digest)?,
                None => Fetched::Unfetched,
            },
        })),
        _ => Err(at
            .key(&format!("{key}_tag"))
            .broken(format!("`{key}`, `{key}_tag` and `{key}_digest` go together"))),
    };
    let digest = at.key("digest").read(&raw.digest)?;
    if raw.size.is_some() && digest == Fetched::Unfetched {
        return Err(at.key("size").broken("it is that of a digest, and there is none"));
    }
    Ok(Base {
        repository: at.key("repository").read(&raw.repository)?,
        tag: at.key("tag").read(&raw.tag)?,
        flavour: at.key("flavour").read(&raw.flavour)?,
        digest,
        size: raw.size,
        builder: image(
            "builder",
            [raw.builder.as_ref(), raw.builder_tag.as_ref(), raw.builder_digest.as_ref()],
        )?,
        uv: image("uv", [raw.uv.as_ref(), raw.uv_tag.as_ref(), raw.uv_digest.as_ref()])?,
        apt: at.key("apt").read_all(&raw.apt)?,
    })
}

/// The file of a package: all of its keys, or `unfetched` alone.
fn locked_file(
    raw: &v1::Package,
    index: Index,
    at: &Place<'_>,
    folders: &Folders,
) -> Result<Option<LockedFile>, Error> {
    let hash = at.key("hash").read::<Fetched>(&raw.hash)?;
    let (name, path, size, origin, sha256) =
        match (&raw.file, &raw.path, raw.size, &raw.origin, hash) {
            (None, None, None, None, Fetched::Unfetched) => {
                return match contents(raw, at)? {
                    None => Ok(None),
                    Some(_) => Err(at.key("unpacked").broken("it needs a file")),
                };
            }
            (Some(name), Some(path), Some(size), Some(origin), Fetched::Digest(sha256)) => {
                (name, path, size, origin, sha256)
            }
            _ => {
                return Err(at.key("hash").broken(
                    "`file`, `path`, `size`, `origin` and a digest go together, or none of them",
                ));
            }
        };
    let at_path = at.key("path");
    let url: Address = if path.contains("://") {
        at_path.read(path)?
    } else {
        let Some(folder) = folders.get(&index) else {
            return Err(at_path.broken(format!("the row of index `{index}` has no `files`")));
        };
        at_path.read(&format!("{folder}/{path}"))?
    };
    if path.split('/').any(|part| matches!(part, ".." | ".")) {
        return Err(at_path.broken("the path leads out of its folder"));
    }
    let file = LockedFile {
        name: at.key("file").read(name)?,
        url,
        size,
        sha256,
        origin: at.key("origin").read::<Origin>(origin)?,
        contents: contents(raw, at)?,
    };
    let last = file.url.as_str().rsplit('/').next().unwrap_or_default();
    // Indexes write the plus of a local version as it is, or encoded.
    if last.replace("%2B", "+").replace("%2b", "+") != file.name.as_str() {
        return Err(at_path.broken(format!("the path ends in another name than `{}`", file.name)));
    }
    Ok(Some(file))
}

/// What the file holds.
fn contents(raw: &v1::Package, at: &Place<'_>) -> Result<Option<Contents>, Error> {
    let libraries = at.key("libraries").read_all(&raw.libraries)?;
    match raw.unpacked {
        Some(unpacked) => Ok(Some(Contents { unpacked, libraries })),
        None if libraries.is_empty() => Ok(None),
        None => Err(at.key("libraries").broken("`unpacked` and `libraries` go together")),
    }
}

fn package(raw: &v1::Package, at: &Place<'_>, folders: &Folders) -> Result<Package, Error> {
    let index = at.key("index").read(&raw.index)?;
    let package = Package {
        name: at.key("name").read(&raw.name)?,
        version: raw.version.as_ref().map(|v| at.key("version").version(v)).transpose()?,
        specifier: raw
            .specifier
            .as_ref()
            .map(|v| at.key("specifier").parsed(specifiers(v)))
            .transpose()?,
        local: at.key("local").read_opt(raw.local.as_ref())?,
        index,
        extras: at.key("extras").read_all(&raw.extras)?,
        requested: raw.requested,
        source_build: raw.source_build,
        file: locked_file(raw, index, at, folders)?,
    };
    if let (Some(version), Some(specifier)) = (&package.version, &package.specifier)
        && !specifier.contains(version)
    {
        return Err(at
            .key("version")
            .broken(format!("`{version}` is not within `specifier`, which says {specifier}")));
    }
    if package.version.is_none() && package.file.is_some() {
        return Err(at.key("version").broken("a file needs a version"));
    }
    if package.version.is_none() && package.local.is_some() {
        return Err(at.key("local").broken("a local label needs a version"));
    }
    Ok(package)
}

/// The `[[index]]` rows of these targets: each once, sorted. PyPI has one where its files are known.
pub(super) fn index_rows(
    targets: &[v1::Target],
    folders: &BTreeMap<String, String>,
) -> Vec<v1::IndexRow> {
    let names: BTreeSet<_> =
        targets.iter().flat_map(|t| t.package.iter().map(|p| p.index.as_str())).gather();
    names
        .into_iter()
        .filter_map(|name| {
            let url = name.parse::<Index>().ok()?.url();
            let files = folders.get(name).cloned();
            (url.is_some() || files.is_some()).then(|| v1::IndexRow {
                name: name.into(),
                url,
                files,
            })
        })
        .collect()
}

/// A name stands for one address and no other, so that a changed line cannot lead elsewhere. What is
/// meant to lead elsewhere is a mirror, and says so.
fn indexes(file: &v1::File, lock: &Lockfile, at: &Place<'_>) -> Result<(), Error> {
    let at = at.key("index");
    let mut declared = BTreeSet::new();
    for (row, raw) in file.index.iter().enumerate() {
        let index: Index = at.row(row).key("name").read(&raw.name)?;
        match (index.url(), &raw.url) {
            (Some(url), Some(given)) if url == *given => (),
            (Some(url), _) => {
                return Err(at
                    .row(row)
                    .key("url")
                    .broken(format!("the address of `{index}` is {url}")));
            }
            (None, None) => (),
            (None, Some(_)) => {
                return Err(at
                    .row(row)
                    .key("url")
                    .broken("PyPI's address is a setting of pip or uv"));
            }
        }
        if !declared.insert(index) {
            return Err(at.row(row).key("name").broken(format!("`{index}` stands here twice")));
        }
    }
    let used = lock.targets.iter().flat_map(|t| t.packages.iter().map(|p| p.index));
    match used.filter(|index| *index != Index::Pypi).find(|index| !declared.contains(index)) {
        Some(index) => Err(at.broken(format!("there is no row for `{index}`"))),
        None => Ok(()),
    }
}

/// Where most of the files of each index are, by its name: `https://host`.
fn most_files(lock: &Lockfile) -> BTreeMap<String, String> {
    let mut counts: BTreeMap<(Index, &str), usize> = BTreeMap::new();
    for package in lock.targets.iter().flat_map(|t| &t.packages) {
        if let Some(host) = package.file.as_ref().and_then(|file| host(file.url.as_str())) {
            *counts.entry((package.index, host)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<Index, (usize, &str)> = BTreeMap::new();
    for ((index, host), count) in counts {
        // The first of several by name, so that the same files always give the same text.
        let best = most.entry(index).or_insert((count, host));
        if count > best.0 {
            *best = (count, host);
        }
    }
    most.into_iter().map(|(index, (_, host))| (index.to_string(), host.to_owned())).collect()
}

/// `https://host:port` of an address.
fn host(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find('/')? + start;
    Some(&url[..end])
}

/// The shape on disk of a lock.
pub(super) fn file(lock: &Lockfile) -> v1::File {
    let folders = most_files(lock);
    let target: Vec<_> = lock.targets.iter().map(|target| raw_target(target, &folders)).collect();
    v1::File {
        version: v1::VERSION,
        revision: v1::REVISION,
        matrix: v1::Matrix {
            id: lock.matrix.id.to_string(),
            digest: lock.matrix.digest.to_string(),
            overlays: texts(&lock.matrix.overlays),
        },
        inputs: v1::Inputs { digest: lock.inputs.to_string(), asked: texts(&lock.asked) },
        index: index_rows(&target, &folders),
        target,
        mirror: lock
            .mirrors
            .iter()
            .map(|(of, at)| v1::MirrorRow { of: of.to_string(), at: at.to_string() })
            .collect(),
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}

fn raw_package(package: &Package, folders: &BTreeMap<String, String>) -> v1::Package {
    let file = package.file.as_ref();
    let contents = file.and_then(|file| file.contents.as_ref());
    let index = package.index.to_string();
    let path = file.map(|file| {
        let url = file.url.as_str();
        let below = folders.get(&index).and_then(|folder| url.strip_prefix(folder.as_str()));
        below.and_then(|path| path.strip_prefix('/')).unwrap_or(url).to_owned()
    });
    v1::Package {
        name: package.name.to_string(),
        version: text(package.version.as_ref()),
        specifier: text(package.specifier.as_ref()),
        local: text(package.local.as_ref()),
        index,
        extras: texts(&package.extras),
        requested: package.requested,
        source_build: package.source_build,
        file: file.map(|file| file.name.to_string()),
        path,
        size: file.map(|file| file.size),
        hash: file.map_or_else(|| Fetched::Unfetched.to_string(), |file| file.sha256.to_string()),
        origin: file.map(|file| file.origin.to_string()),
        unpacked: contents.map(|contents| contents.unpacked),
        libraries: contents.map(|contents| texts(&contents.libraries)).unwrap_or_default(),
    }
}

fn raw_target(target: &Target, folders: &BTreeMap<String, String>) -> v1::Target {
    let gpu = |gpu: &Gpu| v1::Gpu {
        given: gpu.given.to_string(),
        name: gpu.name.to_string(),
        capability: gpu.capability.to_string(),
        served_by: gpu.served.map(|(how, _)| how.to_string()),
        code: gpu.served.map(|(_, code)| code.to_string()),
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
        glibc: text(target.glibc.as_ref()),
        pins_unknown: target.pins_unknown,
        with_deps: target.with_deps,
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
            size: base.size,
            builder: base.builder.as_ref().map(|image| image.repository.to_string()),
            builder_tag: base.builder.as_ref().map(|image| image.tag.to_string()),
            builder_digest: base.builder.as_ref().map(|image| image.digest.to_string()),
            uv: base.uv.as_ref().map(|image| image.repository.to_string()),
            uv_tag: base.uv.as_ref().map(|image| image.tag.to_string()),
            uv_digest: base.uv.as_ref().map(|image| image.digest.to_string()),
            apt: texts(&base.apt),
        },
        package: target.packages.iter().map(|p| raw_package(p, folders)).collect(),
    }
}
