//! What the checks ask of the facts: which driver, which cards, which torch, and the case that
//! `resolve` judges.

use super::Subject;
use crate::domain::{
    ComputeCapability, CudaVersion, DriverSpec, DriverVersion, Finding, Package, PythonVersion,
    Severity, TorchRelease, TorchVersion, WheelVariant, shown,
};
use crate::host::{Cuda, Device, Failure, Nvml, PciCard, Product, Python, Told, TorchTold};
use crate::matrix::{GpuMatch, Matrix};
use crate::resolve::case::{Case, Driver};
use crate::resolve::{Judgement, judge};

/// What a copy of torch was built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Build {
    /// CUDA of this version.
    Cuda(CudaVersion),
    /// No GPU at all.
    Cpu,
    /// Another maker's GPUs; its word: `rocm6.3`, `xpu`.
    Foreign(String),
    /// Only a version without label is known: what PyPI serves.
    Pypi,
}

/// The torch of the first environment that has one.
#[derive(Debug, Clone)]
pub struct Torch<'s> {
    /// Its environment.
    pub python: &'s Python,
    /// As it calls itself.
    pub version: String,
    /// The same, read.
    pub parsed: Option<TorchVersion>,
    /// What it was built for.
    pub build: Build,
    /// It is a wheel of PyTorch's, so that the rows of the matrix speak of it: no conda package and
    /// no build of somebody's own.
    pub wheel: bool,
}

impl<'s> Torch<'s> {
    /// That of an environment, when it has one.
    fn of(python: &'s Python) -> Option<Self> {
        let told = python.imported.as_ref().and_then(|answer| answer.told());
        let files = python.torch.as_ref();
        let itself = told.map(|t| &t.version).or_else(|| files.map(|f| &f.version));
        let itself = itself.filter(|version| !version.is_empty());
        let version = itself.or_else(|| python.packages.get("torch"))?.clone();
        let parsed: Option<TorchVersion> = version.parse().ok();
        let label = parsed.as_ref().and_then(|v| v.variant);
        let cuda = told.and_then(|t| t.cuda).or_else(|| files.and_then(|f| f.cuda));
        let build = match (label, files.and_then(|f| f.hip.as_ref())) {
            (Some(WheelVariant::Cpu), _) => Build::Cpu,
            (Some(label), _) => label.cuda().map_or_else(
                || Build::Foreign(label.to_string()),
                |c| Build::Cuda(cuda.unwrap_or(c)),
            ),
            (None, Some(hip)) => Build::Foreign(format!("rocm{hip}")),
            (None, None) => match cuda {
                Some(cuda) => Build::Cuda(cuda),
                None if itself.is_some() => Build::Cpu,
                None => Build::Pypi,
            },
        };
        // PyTorch's own wheels name their build in version.py; conda's and people's own do not.
        let wheel = parsed.as_ref().is_some_and(|v| v.release().is_some())
            && (label.is_some() || (python.kind != "conda" && itself.is_none()));
        Some(Self { python, version, parsed, build, wheel })
    }

    /// What it told when it was imported.
    pub fn told(&self) -> Option<&TorchTold> {
        self.python.imported.as_ref()?.told()
    }

    /// Its stable release.
    pub fn release(&self) -> Option<TorchRelease> {
        self.parsed.as_ref()?.release()
    }

    /// The version by which `resolve` finds its file.
    fn for_case(&self) -> Option<TorchVersion> {
        let release = self.release()?;
        let variant = match &self.build {
            Build::Cuda(cuda) => WheelVariant::of_cuda(*cuda)?.to_string(),
            Build::Cpu => "cpu".into(),
            Build::Foreign(word) => word.clone(),
            Build::Pypi => return release.to_string().parse().ok(),
        };
        format!("{release}+{variant}").parse().ok()
    }
}

impl<'s> Subject<'s> {
    /// Version of the driver, of its kernel half where both are known.
    pub(super) fn driver(&self) -> Option<Told<DriverVersion>> {
        let facts = self.facts;
        let module = facts.module.as_ref().map(|m| Told::new(m.value.driver, m.source.clone()));
        module
            .or_else(|| Some(Told::new(self.nvml()?.driver?, "NVML")))
            .or_else(|| Some(Told::new(facts.smi.as_ref()?.told()?.driver?, "nvidia-smi")))
    }

    /// The driver for `resolve`: its version, or the CUDA that it implements where only that was told.
    pub(super) fn driver_spec(&self) -> Option<DriverSpec> {
        if let Some(driver) = self.driver() {
            return Some(DriverSpec::Oldest(driver.value));
        }
        let of_nvml = self.nvml().and_then(|nvml| nvml.cuda);
        let of_smi = || self.facts.smi.as_ref()?.told()?.cuda;
        of_nvml.or_else(of_smi).map(DriverSpec::Cuda)
    }

    /// What NVML answered.
    pub(super) fn nvml(&self) -> Option<&'s Nvml> {
        self.facts.nvml.as_ref()?.told()
    }

    /// What libcuda answered.
    pub(super) fn cuda(&self) -> Option<&'s Cuda> {
        self.facts.cuda.as_ref()?.told()
    }

    /// How cuInit, or a later call, failed.
    pub(super) fn cuda_failure(&self) -> Option<&'s Failure> {
        let cuda = self.facts.cuda.as_ref()?;
        cuda.failure().or_else(|| cuda.told()?.failure.as_ref())
    }

    /// The status of that failure.
    pub(super) fn cuda_code(&self) -> Option<i32> {
        self.cuda_failure()?.code
    }

    /// How NVML failed.
    pub(super) fn nvml_failure(&self) -> Option<&'s Failure> {
        let facts = self.facts;
        facts.nvml.as_ref().and_then(|a| a.failure()).or_else(|| facts.smi.as_ref()?.failure())
    }

    /// libcuda works for this process.
    pub(super) fn cuda_works(&self) -> bool {
        self.cuda().is_some_and(|cuda| cuda.failure.is_none() && !cuda.devices.is_empty())
    }

    /// libcuda starts, and shows this process no device.
    pub(super) fn sees_none(&self) -> bool {
        self.cuda().is_some_and(|cuda| cuda.failure.is_none() && cuda.devices.is_empty())
    }

    /// Devices as NVML tells them, or nvidia-smi.
    pub(super) fn devices(&self) -> &'s [Device] {
        let smi = || self.facts.smi.as_ref()?.told().map(|s| s.devices.as_slice());
        self.nvml()
            .map(|n| n.devices.as_slice())
            .filter(|d| !d.is_empty())
            .or_else(smi)
            .unwrap_or_default()
    }

    /// The driver is that of Windows, below Linux.
    pub(super) fn in_wsl(&self) -> bool {
        self.facts.system.wsl.is_some()
    }

    /// A Jetson: driver and device nodes are of another kind.
    pub(super) fn is_jetson(&self) -> bool {
        self.facts.system.jetson.is_some()
    }

    /// This is a container.
    pub(super) fn in_container(&self) -> bool {
        self.facts.container.is_some()
    }

    /// The module `name` is loaded; `None`: nobody looked.
    pub(super) fn loaded(&self, name: &str) -> Option<bool> {
        let list = self.facts.loaded.as_ref()?;
        Some(list.value.iter().any(|module| module == name))
    }

    /// Lines of the kernel log.
    pub(super) fn kernel_log(&self) -> &'s [String] {
        self.facts.kernel_log.as_ref().map_or(&[], |log| &log.value)
    }

    /// An environment variable.
    pub(super) fn var(&self, name: &str) -> Option<&'s str> {
        self.facts.env.get(name).map(String::as_str)
    }

    /// Device nodes of cards: `/dev/nvidia0`, `/dev/nvidia1` ... `None`: nobody looked.
    pub(super) fn card_nodes(&self) -> Option<usize> {
        let nodes = self.facts.nodes.as_ref()?;
        Some(nodes.value.iter().filter(|node| is_card_node(&node.path)).count())
    }

    /// Cards of the machine, each product once, whoever may use them.
    pub(super) fn physical(&self) -> Vec<GpuMatch> {
        let facts = self.facts;
        let mut list = Vec::new();
        // What is set aside for a virtual machine is none of this driver's cards.
        let ours =
            |card: &&PciCard| card.driver.as_deref() != Some("vfio-pci") || self.driver().is_none();
        for card in facts.pci.iter().flat_map(|pci| &pci.value).filter(ours) {
            let id = card.device.trim_start_matches("0x").to_ascii_uppercase();
            let row = self.matrix.gpus.iter().find(|gpu| gpu.pci_ids.contains(&id));
            list.extend(row.and_then(|gpu| place(self.matrix, &gpu.id, None)));
        }
        let models = facts.module.iter().flat_map(|module| &module.value.models);
        list.extend(models.filter_map(|name| place(self.matrix, name, None)));
        if list.is_empty() {
            return self.cards();
        }
        unique(list)
    }

    /// Cards that this process may use, each product once: as libcuda tells, else NVML, else procfs.
    pub(super) fn cards(&self) -> Vec<GpuMatch> {
        let matrix = self.matrix;
        let of_cuda = self.cuda().map(|cuda| cuda.devices.as_slice()).unwrap_or_default();
        let mut list: Vec<_> =
            of_cuda.iter().filter_map(|d| place(matrix, &d.name, d.capability)).collect();
        if list.is_empty() {
            let devices = self.devices().iter();
            list = devices.filter_map(|d| place(matrix, &d.name, d.capability)).collect();
        }
        if list.is_empty() {
            let products = self.products().iter();
            list = products.filter_map(|p| place(matrix, &p.name, p.capability)).collect();
        }
        if list.is_empty() {
            let models = self.facts.module.iter().flat_map(|module| &module.value.models);
            list = models.filter_map(|name| place(matrix, name, None)).collect();
        }
        unique(list)
    }

    /// torch of the first environment that has one.
    pub(super) fn torch(&self) -> Option<Torch<'s>> {
        self.facts.pythons.iter().find_map(Torch::of)
    }

    /// What the torch that is judged told when it was imported.
    fn told(&self) -> Option<&'s TorchTold> {
        self.torch()?.python.imported.as_ref()?.told()
    }

    /// Matrix products of the environment that is judged.
    pub(super) fn products(&self) -> &'s [Product] {
        self.told().map(|told| told.products.as_slice()).unwrap_or_default()
    }

    /// A product was right on every device that torch sees.
    pub(super) fn proven(&self) -> bool {
        let products = self.products();
        let count = self.told().and_then(|told| told.device_count);
        !products.is_empty()
            && products.iter().all(|p| p.right == Some(true))
            && count.is_none_or(|count| count as usize == products.len())
    }

    /// The combination on this machine as `check` would be asked about it. Variables and companions
    /// are left to the checks that are about them.
    pub(super) fn case(&self) -> Case {
        let facts = self.facts;
        let torch = self.torch();
        let driver = self.driver_spec().and_then(|spec| Driver::place(spec, self.matrix).ok());
        Case {
            torch: torch.as_ref().and_then(Torch::for_case),
            gpus: self.cards(),
            driver,
            python: torch.as_ref().and_then(|t| python_of(t.python)),
            platform: facts.system.platform,
            ..Case::default()
        }
    }

    /// What `resolve` says of a case, less what reality has refuted: where a product was right, torch
    /// does run here, whatever a table says.
    pub(super) fn judged(&self, case: &Case) -> Judgement<'s> {
        let mut judgement = judge(case, self.matrix);
        if self.proven() {
            for finding in &mut judgement.findings {
                if finding.severity == Severity::Error {
                    finding.severity = Severity::Warning;
                    finding.message.push_str("; yet a matrix product was right on every device");
                }
            }
        }
        judgement
    }

    /// Packages of torch's environment as requirements.
    pub(super) fn companions(&self) -> Vec<Package> {
        let Some(torch) = self.torch() else { return Vec::new() };
        let known = |name: &str| !self.matrix.companions(name).is_empty();
        let packages = torch.python.packages.iter().filter(|(name, _)| known(name));
        packages.filter_map(|(name, version)| format!("{name}=={version}").parse().ok()).collect()
    }
}

/// `/dev/nvidia0`, and not `/dev/nvidiactl`.
pub fn is_card_node(path: &str) -> bool {
    path.strip_prefix("/dev/nvidia")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A path as one word of a command that a person pastes.
pub fn quoted(path: &str) -> String {
    let path = shown(path);
    let plain = |c: char| c.is_alphanumeric() || "/._-+~:@%,=\\".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path;
    }
    // A path with a drive is pasted into a shell of Windows.
    if path.get(1..2) == Some(":") && !path.contains('"') {
        return format!("\"{path}\"");
    }
    // The shell opens `~` outside of the quotes alone.
    let (home, rest) = path.strip_prefix("~/").map_or(("", path.as_str()), |rest| ("~/", rest));
    format!("{home}'{}'", rest.replace('\'', r"'\''"))
}

/// `3.12` of `3.12.4`.
pub fn python_of(python: &Python) -> Option<PythonVersion> {
    let version = python.version.as_deref()?;
    let mut parts = version.splitn(3, '.');
    format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
}

/// Finds a card by its name; a card without a row is still judged by its capability.
fn place(matrix: &Matrix, name: &str, capability: Option<ComputeCapability>) -> Option<GpuMatch> {
    match (matrix.gpu(name), capability) {
        (Ok(gpu), None) => Some(gpu),
        (Ok(gpu), Some(capability)) if gpu.capability == capability => Some(gpu),
        (_, Some(capability)) => Some(GpuMatch {
            given: shown(name),
            name: shown(name),
            capability,
            kind: None,
            host: None,
            module: matrix.generation(capability).and_then(|g| g.module),
            row: None,
            listed: None,
        }),
        (Err(_), None) => None,
    }
}

fn unique(list: Vec<GpuMatch>) -> Vec<GpuMatch> {
    let mut unique: Vec<GpuMatch> = Vec::new();
    for gpu in list {
        if !unique.iter().any(|u| (&u.name, u.capability) == (&gpu.name, gpu.capability)) {
            unique.push(gpu);
        }
    }
    unique
}

/// `8 x NVIDIA H100 80GB HBM3, NVIDIA L4`
pub fn counted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut list: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match list.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => list.push((name, 1)),
        }
    }
    let words = list.into_iter().map(|(name, count)| match count {
        1 => shown(name),
        _ => format!("{count} x {}", shown(name)),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Keeps the findings of these codes.
pub fn only(findings: Vec<Finding>, codes: &[crate::domain::Code]) -> Vec<Finding> {
    findings.into_iter().filter(|finding| codes.contains(&finding.code)).collect()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_of_a_command() {
        for (path, word) in [
            ("/opt/venv/bin/python", "/opt/venv/bin/python"),
            (r"C:\venv\python.exe", r"C:\venv\python.exe"),
            (r"C:\my env\python.exe", r#""C:\my env\python.exe""#),
            ("/srv/my env/$(x)", "'/srv/my env/$(x)'"),
            ("~/my env/python", "~/'my env/python'"),
            ("/it's", r"'/it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }
}
