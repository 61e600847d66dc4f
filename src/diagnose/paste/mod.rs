//! What people paste: the output of collect_env and its relatives, of nvidia-smi, pip and conda, replies
//! of an interpreter, torch's own warnings. Read into the same record that `host` writes.
//!
//! Every value keeps the line on which it stands. Where two lines disagree, the one that is closer to
//! the machine counts: see [`Rank`]. What no line says stays `None`. One pass, each line cut to a length:
//! the time grows with the text and no faster.

mod around;
mod block;
mod package;
mod record;
mod reply;
mod spoken;
mod told;

use std::collections::BTreeMap;

use super::Read;
use crate::domain::{
    CodeTarget, CudaVersion, DriverVersion, Glibc, KernelModule, Platform, PythonVersion,
    TorchVersion, shown,
};
use crate::host::{Device, Facts, Toolkit};
use crate::matrix::Matrix;

/// Longest part of a line that is looked at, in bytes: pip tells what it installed on one.
const LONGEST: usize = 4000;
/// Longest part in which cards, paths and the like are looked for.
const LONGEST_AROUND: usize = 800;
/// Versions that are read in all: a list of packages has a few dozen that matter.
const MOST_VERSIONS: usize = 4096;
/// Facts, devices and environments that are kept, and names that are looked up among the cards: a name
/// that is none takes its time.
const MOST: usize = 256;

/// What a text tells of a machine and its Pythons.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The same record that `host` writes. A Python without `torch` and `imported` may still hold it
    /// in `packages`: a list of packages does not say what it was built with.
    pub facts: Facts,
    /// Every fact with its line.
    pub seen: Vec<Read>,
    /// What was asked of an installer that did not find it.
    pub asked: Vec<Asked>,
    /// Indexes that an installer was told to use.
    pub indexes: Vec<String>,
    /// Versions that the installer saw when it did not find the one asked for.
    pub offered: Vec<String>,
    /// torch.cuda.is_available(), of the first Python.
    pub available: Option<bool>,
    /// CUDA that torch was built with, also where no line tells its version.
    pub cuda: Option<CudaVersion>,
    /// Packages that an installer was asked for or fetched, or that an image is named after, and that were
    /// not seen installed: name -> version.
    pub wanted: BTreeMap<String, String>,
    /// The cards are only spoken of: no program listed them.
    pub mentioned: bool,
    /// Accelerators of other makers that the text shows: `ROCm`, `Ascend`.
    pub others: Vec<String>,
    /// Newest gcc that nvcc takes, as its own error says.
    pub gcc_max: Option<String>,
    /// Packages that do not go with torch, as the text says: `xformers`.
    pub misfits: Vec<String>,
    /// A library beside torch that a traceback runs through: `bitsandbytes`.
    pub extension: Option<String>,
    /// A library whose own words say that the trouble is its own: `onnxruntime`.
    pub alone: Option<String>,
    /// An installer put one torch in the place of another.
    pub replaced: Option<Replaced>,
    /// The driver refused PTX that is newer than itself.
    pub ptx: bool,
}

/// One torch in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The version that was there.
    pub old: String,
    /// The version that came.
    pub new: String,
    /// Line, from 1.
    pub line: usize,
}

/// Makers of cards that run no CUDA.
pub(super) const AMD: &str = "AMD";
pub(super) const INTEL: &str = "Intel";

/// A package that an installer was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name, normalised.
    pub name: String,
    /// Exact version with its label; empty: any.
    pub version: String,
    /// Line, from 1.
    pub line: usize,
}

/// How close a line is to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Part of a path, the name of an image, a card that is spoken of.
    Passing,
    /// What an installer was asked for or fetched.
    Asked,
    /// A sentence about the machine at hand.
    Spoken,
    /// A list of what is installed.
    Listed,
    /// A program's reply.
    Replied,
    /// A block that was made to tell versions.
    Block,
}

/// A value and how much it is believed.
#[derive(Debug, Clone)]
struct Slot<T>(Option<(Rank, T)>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Slot<T> {
    /// The closer line counts; of two lists the later one, of others the first.
    fn put(&mut self, rank: Rank, value: T) -> bool {
        let wins = match &self.0 {
            None => true,
            Some((old, _)) => rank > *old || (rank == *old && rank == Rank::Listed),
        };
        if wins {
            self.0 = Some((rank, value));
        }
        wins
    }

    const fn get(&self) -> Option<&T> {
        match &self.0 {
            Some((_, value)) => Some(value),
            None => None,
        }
    }

    fn rank(&self) -> Option<Rank> {
        self.0.as_ref().map(|(rank, _)| *rank)
    }
}

/// A Python environment in the making.
#[derive(Debug, Default)]
struct Environment {
    torch: Slot<String>,
    /// Other versions of torch that were named.
    others: Vec<String>,
    python: Slot<String>,
    packages: BTreeMap<String, Slot<String>>,
    /// torch.version.cuda; inner `None`: built without.
    cuda: Slot<Option<CudaVersion>>,
    hip: Slot<String>,
    available: Slot<bool>,
    arch_list: Slot<Vec<CodeTarget>>,
    cudnn: Slot<u64>,
    count: Slot<u32>,
    conda: bool,
}

/// The record in the making.
struct Draft<'m> {
    matrix: &'m Matrix,
    /// Line at hand.
    line: usize,
    environments: Vec<Environment>,
    platform: Slot<Platform>,
    kernel: Slot<String>,
    distro: Slot<(String, Option<String>)>,
    glibc: Slot<Glibc>,
    compiler: Slot<String>,
    wsl: Slot<u8>,
    jetson: Slot<String>,
    musl: bool,
    driver: Slot<DriverVersion>,
    /// Line on which a driver stood last.
    driver_line: usize,
    driver_cuda: Slot<CudaVersion>,
    module: Option<(DriverVersion, KernelModule)>,
    devices: Vec<(Rank, Device)>,
    toolkits: Vec<(Rank, Toolkit)>,
    env: BTreeMap<String, String>,
    image: Option<String>,
    lookups: usize,
    /// Versions of packages that were read, however often the same.
    versions: usize,
    /// Cards of other makers.
    makers: Vec<&'static str>,
    /// torch that an installer found and takes away.
    before: Option<String>,
    said: Said,
}

/// Reads every fact that the lines hold, each with its number.
pub fn facts(lines: &[(usize, &str)], matrix: &Matrix) -> Said {
    let mut draft = Draft::new(matrix);
    let mut replies = reply::Replies::default();
    let names = around::Names::new(matrix);
    for (at, (number, raw)) in lines.iter().enumerate() {
        draft.line = *number;
        let raw = cut(raw, LONGEST);
        let body = super::clean::without_prefixes(raw);
        if body.is_empty() {
            continue;
        }
        if replies.line(&mut draft, raw) {
            continue;
        }
        let next = || lines[at + 1..].iter().take(3).map(|(_, text)| cut(text, LONGEST));
        if !told::line(&mut draft, body, next) {
            block::line(&mut draft, raw, body);
            package::line(&mut draft, raw, body);
        }
        let short = cut(raw, LONGEST_AROUND);
        around::line(&mut draft, &names, short);
        spoken::line(&mut draft, short);
    }
    let text: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
    draft.finish(crate::host::smi::read(&text.join("\n")))
}

/// The start of a line.
fn cut(line: &str, longest: usize) -> &str {
    let mut end = longest.min(line.len());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].trim()
}

impl<'m> Draft<'m> {
    fn new(matrix: &'m Matrix) -> Self {
        Self {
            matrix,
            line: 0,
            environments: vec![Environment::default()],
            platform: Slot::default(),
            kernel: Slot::default(),
            distro: Slot::default(),
            glibc: Slot::default(),
            compiler: Slot::default(),
            wsl: Slot::default(),
            jetson: Slot::default(),
            musl: false,
            driver: Slot::default(),
            driver_line: 0,
            driver_cuda: Slot::default(),
            module: None,
            devices: Vec::new(),
            toolkits: Vec::new(),
            env: BTreeMap::new(),
            image: None,
            lookups: 0,
            versions: 0,
            makers: Vec::new(),
            before: None,
            said: Said::default(),
        }
    }

    /// The environment that lines speak of.
    fn here(&mut self) -> &mut Environment {
        if self.environments.is_empty() {
            self.environments.push(Environment::default());
        }
        let last = self.environments.len() - 1;
        &mut self.environments[last]
    }

    /// Remembers where a fact stands.
    fn see(&mut self, what: &str, value: &str) {
        let known = |seen: &Read| seen.what == what && seen.value == value;
        if self.said.seen.len() < MOST && !self.said.seen.iter().any(known) {
            let (what, value) = (what.to_owned(), shown(value));
            self.said.seen.push(Read { what, value, line: self.line });
        }
    }

    /// torch's version, when the text is one.
    fn torch(&mut self, rank: Rank, text: &str) {
        let text =
            text.trim_matches(|c: char| matches!(c, '\'' | '"' | ',' | ';' | '`' | '(' | ')'));
        let Some(version) = torch_version(text) else { return };
        self.see("torch", &version);
        let here = self.here();
        let old = here.torch.get().cloned();
        let wins = here.torch.put(rank, version.clone());
        let other = if wins { old } else { Some(version) };
        if let Some(other) = other
            && here.others.len() < MOST
            && here.torch.get().is_some_and(|now| !same_torch(now, &other))
            && !here.others.contains(&other)
        {
            here.others.push(other);
        }
    }

    /// A block begins; a second one is of a second environment.
    fn block(&mut self) {
        let of_block = self.here().torch.rank() == Some(Rank::Block);
        if of_block && self.environments.len() < MOST {
            self.environments.push(Environment::default());
        }
    }

    fn python(&mut self, rank: Rank, text: &str) {
        let text = text.split_whitespace().next().unwrap_or_default();
        if text.parse::<PythonVersion>().is_ok() && text.starts_with('3') {
            self.see("python", text);
            self.here().python.put(rank, text.to_owned());
        }
    }

    /// A package of the environment.
    fn package(&mut self, rank: Rank, name: &str, version: &str) {
        self.versions += 1;
        if self.versions > MOST_VERSIONS {
            return;
        }
        if name == "torch" {
            self.torch(rank, version);
            return;
        }
        if version.parse::<pep440_rs::Version>().is_ok() && self.here().packages.len() < MOST {
            self.see(name, version);
            self.here().packages.entry(name.to_owned()).or_default().put(rank, version.to_owned());
        }
    }

    /// What torch was built with; `None`: no CUDA.
    fn torch_cuda(&mut self, rank: Rank, cuda: Option<CudaVersion>) {
        let text = cuda.map_or_else(|| "none".to_owned(), |cuda| cuda.to_string());
        self.see("torch's CUDA", &text);
        self.here().cuda.put(rank, cuda);
    }

    fn available(&mut self, rank: Rank, available: bool) {
        self.see("torch.cuda.is_available()", if available { "True" } else { "False" });
        self.here().available.put(rank, available);
    }

    fn arch_list(&mut self, rank: Rank, list: Vec<CodeTarget>) {
        if !list.is_empty() {
            let text: Vec<_> = list.iter().map(ToString::to_string).collect();
            self.see("torch's code", &text.join(" "));
            self.here().arch_list.put(rank, list);
        }
    }

    fn driver(&mut self, rank: Rank, text: &str) {
        let text = text.split([' ', ',', ';']).next().unwrap_or_default();
        if let Ok(driver) = text.parse::<DriverVersion>()
            && !driver.is_bare_branch()
        {
            self.see("driver", text);
            self.driver.put(rank, driver);
        }
    }

    fn driver_cuda(&mut self, rank: Rank, cuda: CudaVersion) {
        self.see("driver's CUDA", &cuda.to_string());
        self.driver_cuda.put(rank, cuda);
    }

    fn platform(&mut self, rank: Rank, platform: Platform) {
        self.see("platform", platform.name());
        self.platform.put(rank, platform);
    }

    /// A card; one of a list carries its index in the list, so that equal cards stay several.
    fn device(&mut self, rank: Rank, name: &str, index: Option<&str>) -> Option<&mut Device> {
        let name = name.trim();
        if name.is_empty() || name.len() > 100 || self.devices.len() >= MOST {
            return None;
        }
        self.see("gpu", name);
        let address = index.map(str::to_owned);
        let same = |(_, d): &(Rank, Device)| {
            d.name == name && (d.address == address || address.is_none() || d.address.is_none())
        };
        let at = self.devices.iter().position(same).unwrap_or_else(|| {
            let device = Device { name: name.to_owned(), ..Device::default() };
            self.devices.push((rank, device));
            self.devices.len() - 1
        });
        let (old, device) = &mut self.devices[at];
        *old = (*old).max(rank);
        device.address = device.address.take().or(address);
        Some(&mut self.devices[at].1)
    }

    /// nvcc, or a folder that is named after a toolkit.
    fn toolkit(&mut self, rank: Rank, path: &str, cuda: CudaVersion) {
        let known = |(_, kit): &(Rank, Toolkit)| kit.cuda == cuda && kit.path == path;
        if self.toolkits.len() < MOST && !self.toolkits.iter().any(known) {
            self.see("nvcc", &cuda.to_string());
            let first =
                rank > Rank::Passing && !self.toolkits.iter().any(|(_, kit)| kit.first_on_path);
            self.toolkits.push((rank, Toolkit { path: path.into(), cuda, first_on_path: first }));
        }
    }

    /// Whether the matrix knows a card of this name.
    fn is_card(&mut self, name: &str) -> bool {
        self.lookups += 1;
        self.lookups <= MOST && self.matrix.gpu(name).is_ok()
    }

    /// A maker of cards.
    fn maker(&mut self, name: &'static str) {
        if !self.makers.contains(&name) {
            self.makers.push(name);
        }
    }

    /// A package that does not go with torch.
    fn misfit(&mut self, name: &str) {
        if !self.said.misfits.iter().any(|other| other == name) {
            self.said.misfits.push(name.to_owned());
        }
    }

    /// An accelerator of another maker.
    fn other(&mut self, name: &str) {
        if !self.said.others.iter().any(|other| other == name) {
            self.see("accelerator", name);
            self.said.others.push(name.to_owned());
        }
    }
}

/// A version of torch: digits and dots at least, so that a bare number is none.
fn torch_version(text: &str) -> Option<String> {
    let version: TorchVersion = text.parse().ok()?;
    let major = *version.version.release().first()?;
    (text.contains('.') && text.starts_with(|c: char| c.is_ascii_digit()) && major < 4)
        .then(|| text.to_owned())
}

/// One of them may leave out the label.
fn same_torch(a: &str, b: &str) -> bool {
    let public = |text: &str| text.split('+').next().unwrap_or_default().to_owned();
    a == b || (public(a) == public(b) && (!a.contains('+') || !b.contains('+')))
}
