//! The machine and its torch as a message and the text around it tell them, placed in the matrix.

use std::collections::BTreeMap;

use super::Said;
use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, DriverSpec, DriverVersion, Gather as _, Package,
    Platform, PythonVersion, TorchRelease, TorchVersion, WheelVariant,
};
use crate::host::{Answer, Device};
use crate::matrix::{GpuMatch, Matrix};
use crate::resolve::case::{Case, Driver, Index, Libc};

/// Packages that belong to a release of torch as the release says itself.
pub(super) const TRAIN: &[&str] = &["torchvision", "torchaudio", "xformers"];

/// Cards of one machine that are looked at.
const MOST_CARDS: usize = 8;

/// What is known. What is `None` no line tells.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each says that a kind of advice does not apply")]
pub(super) struct Situation<'m> {
    pub matrix: &'m Matrix,
    /// torch, with the label of its build where that is known.
    pub torch: Option<TorchVersion>,
    /// CUDA that torch was built with.
    pub cuda: Option<CudaVersion>,
    pub cards: Vec<GpuMatch>,
    pub driver: Option<Driver>,
    pub python: Option<PythonVersion>,
    pub libc: Option<Libc>,
    pub platform: Option<Platform>,
    /// Code of the torch at hand, as it told itself.
    pub arch_list: Option<Vec<CodeTarget>>,
    /// Packages beside torch, with their versions.
    pub with: Vec<(String, String)>,
    /// Compilers, the one that `nvcc` means first.
    pub nvcc: Option<CudaVersion>,
    pub index: Option<Index>,
    pub wsl: bool,
    pub jetson: bool,
    /// Built or used for an accelerator of another maker.
    pub foreign: bool,
    /// See [`Said::misfits`].
    pub misfits: Vec<String>,
    /// See [`Said::gcc_max`].
    pub gcc_max: Option<String>,
    /// See [`Said::extension`].
    pub extension: Option<String>,
    /// See [`Said::ptx`].
    pub ptx: bool,
    pub env: Vec<(String, String)>,
}

impl<'m> Situation<'m> {
    /// What the message captured counts before what stands elsewhere in the text.
    pub fn of(said: &Said, captures: &BTreeMap<String, String>, matrix: &'m Matrix) -> Self {
        let facts = &said.facts;
        let told_by = |name: &str| captures.get(name).map(|text| text.trim());
        let first = facts.pythons.iter().find(|python| python.packages.contains_key("torch"));
        let python = first.or(facts.pythons.first());
        let files = python.and_then(|python| python.torch.as_ref());
        let told = python.and_then(|python| python.imported.as_ref()).and_then(Answer::told);
        let listed = first.and_then(|python| python.packages.get("torch"));
        let torch: Option<TorchVersion> = told_by("torch")
            .or(listed.map(String::as_str))
            .or(said.wanted.get("torch").map(String::as_str))
            .and_then(|text| text.parse().ok());
        let cuda = files.and_then(|files| files.cuda).or_else(|| told_by("cuda")?.parse().ok());
        let hip = files.is_some_and(|files| files.hip.is_some());
        let built = files.filter(|_| !hip && told_by("torch").is_none());
        let label = told_by("variant").and_then(|text| text.parse().ok()).or_else(|| {
            let built = built?;
            built.cuda.map_or(Some(WheelVariant::Cpu), WheelVariant::of_cuda)
        });
        let torch = torch.map(|torch| labelled(torch, label));
        let variant = torch.as_ref().and_then(|torch| torch.variant);
        let system = &facts.system;
        let maker = torch.as_ref().and_then(TorchVersion::local).is_some_and(|l| l.contains("nv"));
        let kind = |card: &GpuMatch| card.is_jetson();
        let cards = cards(said, captures, matrix);
        // NVIDIA's own builds are made for Jetson, and for containers on x86-64.
        let any = |python: &crate::host::Python| {
            python.packages.get("torch").is_some_and(|version| version.contains("nv2"))
        };
        let maker = maker || facts.pythons.iter().any(any);
        let jetson = system.jetson.is_some()
            || cards.iter().any(kind)
            || (maker && system.platform != Some(Platform::LinuxAmd64));
        let installed = python.into_iter().flat_map(|python| &python.packages);
        let mut with: BTreeMap<&String, &String> = said.wanted.iter().gather();
        with.extend(installed);
        Self {
            matrix,
            cuda: variant
                .and_then(WheelVariant::cuda)
                .or(cuda)
                .or(said.cuda.filter(|_| torch.is_none())),
            torch,
            driver: driver(said, captures, matrix),
            python: told_by("python")
                .or(python.and_then(|python| python.version.as_deref()))
                .and_then(|text| text.trim_end_matches('+').parse().ok())
                .map(|python: PythonVersion| PythonVersion { patch: None, ..python }),
            libc: libc(said, matrix),
            platform: told_by("platform").and_then(|p| p.parse().ok()).or(system.platform),
            arch_list: told.and_then(|told| told.arch_list.clone()),
            with: with
                .into_iter()
                .filter(|(name, _)| name.as_str() != "torch")
                .map(|(name, version)| (name.clone(), version.clone()))
                .collect(),
            nvcc: told_by("nvcc").and_then(|text| text.parse().ok()).or_else(|| {
                let kits = || facts.toolkits.iter().map(|kit| &kit.value);
                kits().find(|kit| kit.first_on_path).map(|kit| kit.cuda)
            }),
            index: index(said),
            wsl: system.wsl.is_some(),
            jetson,
            foreign: !said.others.is_empty()
                || hip
                || matches!(variant, Some(WheelVariant::Rocm { .. } | WheelVariant::Xpu)),
            cards,
            misfits: said.misfits.clone(),
            gcc_max: said.gcc_max.clone(),
            extension: said.extension.clone(),
            ptx: said.ptx,
            env: facts.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }

    /// The release of torch, where it is a stable one of the project's own.
    pub fn release(&self) -> Option<TorchRelease> {
        let torch = self.torch.as_ref()?;
        let own = torch.local().is_none() || torch.variant.is_some();
        torch.release().filter(|_| own)
    }

    /// The build of torch at hand.
    pub fn variant(&self) -> Option<WheelVariant> {
        self.torch.as_ref().and_then(|torch| torch.variant)
    }

    /// Where it runs; nobody said otherwise: Linux on x86-64, or the machine of the card.
    pub fn place(&self) -> Platform {
        crate::resolve::case::platform_of(self.platform, &self.cards)
    }

    /// The platform whose driver numbers count: WSL2 uses the driver of Windows.
    pub fn driver_platform(&self) -> Platform {
        if self.wsl { Platform::WindowsAmd64 } else { self.place() }
    }

    /// The combination as it stands, to be judged.
    pub fn case(&self) -> Case {
        let with = self.with.iter().filter(|(name, _)| TRAIN.contains(&name.as_str()));
        Case {
            torch: self.torch.clone(),
            gpus: self.cards.clone(),
            driver: self.driver.clone(),
            python: self.python,
            libc: self.libc.clone(),
            platform: self.platform,
            index: None,
            with: with.filter_map(|(name, version)| package(name, version)).collect(),
            env: self.env.clone(),
            ..Case::default()
        }
    }
}

/// A requirement on exactly this version.
pub(super) fn package(name: &str, version: &str) -> Option<Package> {
    format!("{name}=={version}").parse().ok()
}

/// A version with the label of its build, where it has none of its own.
fn labelled(torch: TorchVersion, label: Option<WheelVariant>) -> TorchVersion {
    match label {
        Some(label) if torch.local().is_none() => {
            format!("{torch}+{label}").parse().unwrap_or(torch)
        }
        _ => torch,
    }
}

/// `12.0`, `sm_120`, `compute_120a`, `120`.
pub(super) fn capability(text: &str) -> Option<ComputeCapability> {
    let text = text.trim().trim_start_matches("sm_").trim_start_matches("compute_");
    let text = text.trim_end_matches(['a', 'f', '.']);
    if text.contains('.') { text.parse().ok() } else { format!("sm_{text}").parse().ok() }
}

fn cards(said: &Said, captures: &BTreeMap<String, String>, matrix: &Matrix) -> Vec<GpuMatch> {
    let by_capability = |capability: ComputeCapability| matrix.gpu(&capability.to_string()).ok();
    let named = captures.get("gpu").and_then(|name| matrix.gpu(name).ok());
    let number = ["capability", "sm", "arch", "new", "old"]
        .iter()
        .find_map(|key| capability(captures.get(*key)?));
    // The number is the device's own word; a name may be shared by several.
    let first = match (named, number) {
        (Some(card), Some(number)) if card.capability != number => by_capability(number),
        (Some(card), _) => Some(card),
        (None, Some(number)) => by_capability(number),
        (None, None) => None,
    };
    let devices: &[Device] = match (&said.facts.nvml, &said.facts.smi) {
        (Some(Answer::Told(nvml)), _) if !nvml.devices.is_empty() => &nvml.devices,
        (_, Some(Answer::Told(smi))) => &smi.devices,
        _ => &[],
    };
    let mut cards: Vec<GpuMatch> = first.into_iter().collect();
    // A card that is only spoken of is no second one.
    if cards.is_empty() || !said.mentioned {
        for device in devices {
            let named = matrix.gpu(&device.name).ok();
            let card = match (named, device.capability) {
                (Some(card), Some(capability)) if card.capability != capability => {
                    by_capability(capability)
                }
                (None, Some(capability)) => by_capability(capability),
                (named, _) => named,
            };
            let Some(mut card) = card else { continue };
            // Several products share a short name: what stands in the text is shown.
            if card.row.is_some() {
                card.name.clone_from(&device.name);
            }
            // The same card by its name: its own first driver is known.
            let same = |c: &GpuMatch| c.row.is_none() && c.capability == card.capability;
            if let Some(number) = cards.iter_mut().find(|c| same(c) && card.row.is_some()) {
                *number = card;
                continue;
            }
            let known = cards.iter().any(|c| {
                c.capability == card.capability
                    && (c.row == card.row || c.row.is_none() || card.row.is_none())
            });
            if !known && cards.len() < MOST_CARDS {
                cards.push(card);
            }
        }
    }
    cards
}

/// The driver by its version, or by the CUDA that it implements.
fn driver(said: &Said, captures: &BTreeMap<String, String>, matrix: &Matrix) -> Option<Driver> {
    let facts = &said.facts;
    let (nvml, smi) =
        (facts.nvml.as_ref().and_then(Answer::told), facts.smi.as_ref().and_then(Answer::told));
    let version: Option<DriverVersion> = captures
        .get("driver")
        .and_then(|text| text.parse().ok())
        .or_else(|| facts.module.as_ref().map(|module| module.value.driver))
        .or_else(|| nvml.and_then(|nvml| nvml.driver))
        .or_else(|| smi.and_then(|smi| smi.driver));
    if let Some(version) = version {
        return Driver::place(DriverSpec::Oldest(version), matrix).ok();
    }
    // The newest PTX that the driver takes tells its CUDA.
    let by_ptx = captures.get("driver_ptx").and_then(|ptx| {
        matrix.compilers.iter().find(|row| row.ptx_isa.as_ref() == Some(ptx)).map(|row| row.cuda)
    });
    let cuda = captures
        .get("driver_cuda")
        .and_then(|text| driver_cuda(text))
        .or(by_ptx)
        .or_else(|| nvml.and_then(|nvml| nvml.cuda))
        .or_else(|| smi.and_then(|smi| smi.cuda))?;
    // A CUDA without a branch of its own: of the branch below.
    let cuda = matrix.branches.iter().map(|b| b.cuda).filter(|c| *c <= cuda.series()).max()?;
    Driver::place(DriverSpec::Cuda(cuda), matrix).ok()
}

/// `11.4`, or the driver's own number for it, `11040`.
fn driver_cuda(text: &str) -> Option<CudaVersion> {
    let number = text.trim().parse::<u16>().ok().filter(|n| (9000..30000).contains(n));
    number.map_or_else(
        || text.trim().parse().ok(),
        |n| Some(CudaVersion::new(n / 1000, n % 1000 / 10)),
    )
}

fn libc(said: &Said, matrix: &Matrix) -> Option<Libc> {
    let system = &said.facts.system;
    if system.musl {
        return Libc::find("musl", matrix).ok();
    }
    if let Some(glibc) = &system.glibc {
        return Libc::find(&format!("glibc:{}", glibc.value), matrix).ok();
    }
    let (name, version) = (system.distro.as_ref()?, system.distro_version.as_ref()?);
    Libc::find(&format!("{name}{version}"), matrix).ok()
}

/// The one index that an installer was told to use. Several say nothing about which of them served.
fn index(said: &Said) -> Option<Index> {
    match said.indexes.as_slice() {
        [one] => one.parse().ok(),
        // `from versions:` without a label is PyPI's list.
        [] if !said.offered.is_empty() && said.offered.iter().all(|v| !v.contains('+')) => {
            Some(Index::Pypi)
        }
        _ => None,
    }
}
