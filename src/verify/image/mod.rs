//! What an image holds, from its files alone: its Python, its torch, and the CUDA libraries that torch will load.

mod copies;
mod drift;
mod elf;
mod loader;
mod record;
mod versions;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Check, Layer, Ran};
use crate::domain::{Code, Order as _};
use crate::host::{self, Facts, Python};
use crate::lock::Target;
use loader::{Process, Search};
use record::Wheel;
pub use versions::run as versions;

/// Libraries at the place where torch loads them, by absolute path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Libraries {
    /// `libcublas.so.12`
    pub cublas: Option<PathBuf>,
    /// `libcublasLt.so.12`
    pub cublas_lt: Option<PathBuf>,
    /// `libcudnn.so.9`
    pub cudnn: Option<PathBuf>,
    /// `libnccl.so.2`
    pub nccl: Option<PathBuf>,
}

/// An image, or the environment that this program runs in.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The interpreter.
    pub python: Option<PathBuf>,
    /// The folder of packages that holds torch.
    pub site: Option<PathBuf>,
    /// torch as its files say: `2.9.1+cu128`.
    pub torch: Option<String>,
    /// See there.
    pub libraries: Libraries,
}

/// Looks at the environment that this program runs in. `env` is an interpreter or the folder of an environment.
pub struct Look {
    facts: Facts,
}

impl Look {
    /// Reads which environments there are; no program is run, and no driver asked.
    pub fn new(env: Option<&Path>) -> Self {
        let envs = env.into_iter().map(Path::to_owned).collect();
        Self { facts: host::files(&host::Look { envs, ..host::Look::default() }) }
    }

    /// What the environment holds.
    pub fn image(&self) -> Image {
        Seen::of(&self.facts).image()
    }

    /// How its files are judged, held against the target of a lock where there is one. Reads gigabytes.
    pub fn judged(&self, target: Option<&Target>) -> Ran {
        let start = Instant::now();
        let checks = self.checks(target);
        Ran { layer: Layer::Static, device: None, seconds: start.elapsed().as_secs_f64(), checks }
    }

    fn checks(&self, target: Option<&Target>) -> Vec<Check> {
        let facts = &self.facts;
        let seen = Seen::of(facts);
        let mut checks = drift::checks(&seen, facts, target);
        if seen.torch.is_some() {
            let found = copies::loader(&seen);
            let whole = !found.outcome.is_failure();
            checks.push(found);
            checks.push(copies::second(&seen, facts));
            checks.extend(record::check(&seen, target));
            // A library that is broken or missing takes the process down with it, which says less.
            if whole {
                checks.extend(versions::checks(&seen, target));
            } else {
                let why = "not asked, because torch's libraries cannot all be loaded";
                checks.push(Check::skip("library-versions", Code::Unknown, why));
            }
        }
        checks.extend(copies::driver(facts));
        checks.push(copies::env(facts));
        checks
    }
}

/// The environment of an image, as its files tell.
struct Seen<'f> {
    /// The first with torch, else the first.
    python: Option<&'f Python>,
    /// torch's folder.
    torch: Option<PathBuf>,
    /// What `import torch` loads.
    process: Process,
    /// Everything that is installed.
    wheels: Vec<Wheel>,
}

impl<'f> Seen<'f> {
    fn of(facts: &'f Facts) -> Self {
        let python = facts.pythons.iter().find(|python| python.torch.is_some());
        let python = python.or(facts.pythons.first());
        let sites = python.map(|python| python.folders.as_slice()).unwrap_or_default();
        let torch = python.filter(|python| python.torch.is_some()).and_then(|_| {
            let mut copies = sites.iter().map(|site| Path::new(site).join("torch"));
            copies.find(|torch| torch.join("__init__.py").is_file())
        });
        let process = torch.as_deref().map(|torch| {
            let preload = facts.env.get("LD_PRELOAD").map_or("", String::as_str);
            let python = python.map(|python| Path::new(&python.path));
            loader::import(torch, &Search { system: &facts.loader, preload, python, sites })
        });
        let wheels = record::installed(sites);
        Self { python, torch, process: process.unwrap_or_default(), wheels }
    }

    /// Folders of packages, in the order of `sys.path`.
    fn sites(&self) -> &[String] {
        self.python.map(|python| python.folders.as_slice()).unwrap_or_default()
    }

    /// `import torch` loads this file, or it is one of torch's own.
    fn loads(&self, path: &Path) -> bool {
        self.torch.as_ref().is_some_and(|torch| path.starts_with(torch))
            || self.process.loaded.iter().any(|loaded| loaded.path == path)
    }

    fn image(&self) -> Image {
        let path = |library: &str| self.process.of(library).map(|loaded| loaded.path.clone());
        Image {
            python: self.python.map(|python| PathBuf::from(&python.path)),
            site: self.torch.as_deref().and_then(Path::parent).map(Path::to_owned),
            torch: self.python.and_then(|python| Some(python.torch.as_ref()?.version.clone())),
            libraries: Libraries {
                cublas: path("libcublas"),
                cublas_lt: path("libcublasLt"),
                cudnn: path("libcudnn"),
                nccl: path("libnccl"),
            },
        }
    }
}

/// Names in a folder, sorted; none where it cannot be listed.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.order();
    names
}
