//! pylock.toml, PEP 751.

use serde::Serialize;

use super::{address, file, is_wheel, marker, version};
use crate::lock::{LockedFile, Lockfile, Target};
use crate::render::Error;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock<'l> {
    lock_version: &'static str,
    environments: [String; 1],
    requires_python: String,
    created_by: &'static str,
    packages: Vec<Package<'l>>,
    tool: Tool,
}

#[derive(Serialize)]
struct Package<'l> {
    name: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdist: Option<Archive<'l>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wheels: Vec<Archive<'l>>,
}

#[derive(Serialize)]
struct Archive<'l> {
    name: &'l str,
    url: &'l str,
    size: u64,
    hashes: Hashes<'l>,
}

#[derive(Serialize)]
struct Hashes<'l> {
    sha256: &'l str,
}

/// What an installer does not read.
#[derive(Serialize)]
struct Tool {
    gpuseal: Facts,
}

#[derive(Serialize)]
struct Facts {
    target: String,
    lock: String,
    torch: String,
    cuda: String,
}

/// The body of a pylock.toml for one target.
pub(super) fn text(lock: &Lockfile, target: &Target) -> Result<String, Error> {
    let mut packages = Vec::with_capacity(target.packages.len());
    for package in &target.packages {
        let locked = file(package, target)?;
        let file = Archive::new(locked);
        let (sdist, wheels) =
            if is_wheel(locked) { (None, vec![file]) } else { (Some(file), Vec::new()) };
        packages.push(Package {
            name: package.name.as_str(),
            version: version(package),
            index: address(lock, package.index),
            sdist,
            wheels,
        });
    }
    let pylock = Pylock {
        lock_version: "1.0",
        environments: [marker(target, true)],
        requires_python: format!("==3.{}.*", target.python.minor),
        created_by: "gpuseal",
        packages,
        tool: Tool {
            gpuseal: Facts {
                target: target.name.to_string(),
                lock: lock.digest().to_string(),
                torch: target.torch_version(),
                cuda: target.cuda.series().to_string(),
            },
        },
    };
    // Texts, numbers and tables in an order that TOML can write: no lock makes this fail.
    Ok(format!("\n{}", toml::to_string(&pylock).unwrap_or_default()))
}

impl<'l> Archive<'l> {
    fn new(file: &'l LockedFile) -> Self {
        let digest = file.sha256.as_str();
        Self {
            name: file.name.as_str(),
            url: file.url.as_str(),
            size: file.size,
            hashes: Hashes { sha256: digest.strip_prefix("sha256:").unwrap_or(digest) },
        }
    }
}
