//! A closure written into its target, and held against what the matrix said.

use std::collections::BTreeMap;

use url::Url;

use super::{Closure, Error, Member, Wish};
use crate::domain::{CudaVersion, Gather as _, Glibc, ParseError, Sha256};
use crate::index::archive;
use crate::index::wheel::WheelName;
use crate::lock::{
    self, Address, Contents, FileName, Index, LockedFile, Package, PackageName, Target,
};

/// A target with every file.
#[derive(Debug, Clone)]
pub struct Filled {
    /// The target.
    pub target: Target,
    /// Where files say something else than the matrix.
    pub disagreements: Vec<Disagreement>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// The matrix says one thing, a file another. The file wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// What it is about: `cuDNN`.
    pub what: String,
    /// The matrix.
    pub matrix: String,
    /// The file.
    pub file: String,
    /// Name of the file.
    pub source: String,
    /// The target cannot run with what the file says.
    pub fatal: bool,
}

/// Writes a closure into its target.
///
/// # Errors
/// A name or address of the index that a lock cannot hold.
pub fn fill(wish: &Wish<'_>, closure: Closure) -> Result<Filled, Error> {
    let mut target = wish.target.clone();
    let decided: BTreeMap<String, Package> =
        target.packages.drain(..).map(|p| (p.name.to_string(), p)).gather();
    for (name, member) in &closure.members {
        let row = package(name, member, decided.get(name)).map_err(|why| Error::Unholdable {
            target: wish.target.name.to_string(),
            package: name.clone(),
            why: why.to_string(),
        })?;
        target.packages.push(row);
    }
    let disagreements = disagreements(&mut target, &closure, &decided);
    Ok(Filled { target, disagreements, notes: closure.notes })
}

fn package(name: &str, member: &Member, decided: Option<&Package>) -> Result<Package, ParseError> {
    let version = &member.version;
    let label: Vec<_> = version.local().iter().map(ToString::to_string).collect();
    let asked = decided.filter(|package| package.requested);
    Ok(Package {
        name: name.parse::<PackageName>()?,
        version: Some(version.clone().without_local()),
        specifier: asked.and_then(|package| package.specifier.clone()),
        local: if label.is_empty() { None } else { Some(label.join(".").parse()?) },
        index: member.index,
        extras: asked.map(|package| package.extras.clone()).unwrap_or_default(),
        requested: asked.is_some(),
        source_build: asked.is_some_and(|package| package.source_build),
        file: Some(LockedFile {
            name: member.file.name.parse::<FileName>()?,
            url: address(&member.file.url)?,
            size: member.inspected.size,
            sha256: member.inspected.sha256.clone(),
            origin: member.inspected.origin,
            contents: member.inspected.contents.as_ref().map(contents).transpose()?,
        }),
    })
}

fn contents(read: &archive::Contents) -> Result<Contents, ParseError> {
    let libraries = read.libraries.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    Ok(Contents { unpacked: read.unpacked, libraries })
}

/// The address of a file. What stands in its query is often a signature: a secret that ends soon.
fn address(url: &Url) -> Result<Address, ParseError> {
    if url.query().is_some() {
        let mut shown = url.clone();
        shown.set_query(Some("****"));
        return Err(ParseError::new(
            "an address that lasts",
            shown.as_str(),
            "one without a query",
        ));
    }
    url.as_str().parse()
}

/// Takes over what the files say, and tells where the matrix said something else.
fn disagreements(
    target: &mut Target,
    closure: &Closure,
    decided: &BTreeMap<String, Package>,
) -> Vec<Disagreement> {
    let mut all = Vec::new();
    let found = |prefix: &str| {
        closure
            .members
            .iter()
            .find(|(name, _)| {
                name.strip_suffix(|c: char| c.is_ascii_digit()).is_some_and(|n| {
                    n.trim_end_matches(|c: char| c.is_ascii_digit()) == format!("{prefix}-cu")
                }) || *name == prefix
            })
            .map(|(_, member)| (plain(member), member.file.name.clone()))
    };
    let mut differ = |what: &str, matrix: Option<String>, file: &(String, String)| {
        if let Some(matrix) = matrix.filter(|matrix| *matrix != file.0) {
            all.push(Disagreement {
                what: what.into(),
                matrix,
                file: file.0.clone(),
                source: file.1.clone(),
                fatal: false,
            });
        }
    };
    if let Some(cudnn) = found("nvidia-cudnn")
        && let Ok(version) = cudnn.0.parse()
    {
        differ("cuDNN", target.cudnn.map(|v| v.to_string()), &cudnn);
        target.cudnn = Some(version);
    }
    if let Some(nccl) = found("nvidia-nccl")
        && let Ok(version) = nccl.0.parse()
    {
        differ("NCCL", target.nccl.as_ref().map(ToString::to_string), &nccl);
        target.nccl = Some(version);
    }
    // Newest known to the matrix is no claim that there is no newer one; a pin is one.
    if let Some(triton) = found("triton").or_else(|| found("pytorch-triton"))
        && let Ok(version) = triton.0.parse()
    {
        target.triton = Some(version);
    }
    if let Some(toolkit) = found("cuda-toolkit")
        && let Ok(version) = toolkit.0.parse::<CudaVersion>()
    {
        differ("CUDA toolkit", target.toolkit.map(|v| v.to_string()), &toolkit);
        target.toolkit = Some(version);
    }
    for (name, package) in decided.iter().filter(|(_, package)| !package.requested) {
        let Some(version) = &package.version else { continue };
        match closure.members.get(name) {
            Some(member) if plain(member) == version.to_string() => (),
            Some(member) => {
                differ(name, Some(version.to_string()), &(plain(member), member.file.name.clone()));
            }
            None if name.starts_with("nvidia-") => differ(
                name,
                Some(format!("{version} is required")),
                &("it is not required".into(), "METADATA".into()),
            ),
            None => (),
        }
    }
    all.dedup_by(|a, b| a.file == b.file && a.matrix == b.matrix && a.source == b.source);
    if let Some(torch) = closure.members.get("torch") {
        all.extend(of_torch(target, torch));
    }
    all
}

/// What the file of torch says of its CUDA, its glibc and its code.
fn of_torch(target: &mut Target, torch: &Member) -> Vec<Disagreement> {
    let mut all = Vec::new();
    let name = &torch.file.name;
    let mut differ = |what: &str, matrix: String, file: String, fatal: bool| {
        all.push(Disagreement { what: what.into(), matrix, file, source: name.clone(), fatal });
    };
    if let Some(build) = &torch.inspected.build {
        let cuda = target.cuda.series().to_string();
        let found = build.cuda.clone().unwrap_or_else(|| "none: it is a CPU build".into());
        if found != cuda {
            differ("CUDA of torch", cuda, found, true);
        }
    }
    if let Ok(wheel) = name.parse::<WheelName>()
        && let Some(glibc) = wheel.glibc(&super::machine(target))
        && target.glibc_min.is_none_or(|matrix: Glibc| glibc > matrix)
    {
        if let Some(matrix) = target.glibc_min {
            differ("glibc of torch", matrix.to_string(), glibc.to_string(), false);
        }
        target.glibc_min = Some(glibc);
    }
    if let Some(codes) = &torch.inspected.codes {
        for gpu in &target.gpus {
            let Some((_, code)) = gpu.served else { continue };
            if !codes.contains(&code.to_string()) {
                differ(&format!("code for {}", gpu.name), code.to_string(), codes.join(" "), true);
            }
        }
    }
    all
}

/// The version without its label.
fn plain(member: &Member) -> String {
    member.version.clone().without_local().to_string()
}

impl Closure {
    /// The digest of every file by the name of the file and its index, for a comparison with an older
    /// lock.
    pub fn digests(&self) -> BTreeMap<(Index, String), Sha256> {
        self.members
            .values()
            .map(|m| ((m.index, m.file.name.clone()), m.inspected.sha256.clone()))
            .collect()
    }
}

/// The same file with two digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoDigests {
    /// The package.
    pub package: String,
    /// The file.
    pub file: String,
    /// In the old lock.
    pub old: Sha256,
    /// From the index.
    pub new: Sha256,
}

/// Files that an older lock, or another target, knows by another digest.
pub fn two_digests(old: &lock::Lockfile, new: &lock::Lockfile) -> Vec<TwoDigests> {
    let files = |lock: &lock::Lockfile| -> Vec<(Index, String, LockedFile)> {
        lock.targets
            .iter()
            .flat_map(|t| &t.packages)
            .filter_map(|p| Some((p.index, p.name.to_string(), p.file.clone()?)))
            .collect()
    };
    let mut seen: BTreeMap<(Index, FileName), Sha256> = BTreeMap::new();
    let mut clashes = Vec::new();
    for (index, package, file) in files(old).into_iter().chain(files(new)) {
        let first = seen.entry((index, file.name.clone())).or_insert_with(|| file.sha256.clone());
        if *first != file.sha256 {
            clashes.push(TwoDigests {
                package,
                file: file.name.to_string(),
                old: first.clone(),
                new: file.sha256,
            });
        }
    }
    clashes.dedup();
    clashes
}
