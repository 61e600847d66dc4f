//! From what was read to the record: environments, the machine, the driver and its cards.

use std::collections::BTreeMap;

use super::{Draft, Environment, Rank, Said};
use crate::domain::{Gather as _, Order as _, Platform, TorchVersion, WheelVariant};
use crate::host::{
    Answer, Container, Device, Facts, Module, Nvml, Python, Smi, Told, TorchFiles, TorchTold,
};

/// The source of facts that a text tells.
const SOURCE: &str = "the text";

impl Draft<'_> {
    /// The record; `smi` is what nvidia-smi told in the same text.
    pub(super) fn finish(mut self, smi: Option<Answer<Smi>>) -> Said {
        let mut said = std::mem::take(&mut self.said);
        let facts = &mut said.facts;
        facts.record = crate::host::RECORD;
        let system = &mut facts.system;
        system.platform = self.platform.get().copied();
        system.kernel = self.kernel.get().cloned();
        if let Some((name, version)) = self.distro.get().cloned() {
            (system.distro, system.distro_version) = (Some(name), version);
        }
        system.glibc = self.glibc.get().map(|glibc| Told::new(*glibc, SOURCE));
        system.compiler = self.compiler.get().map(|text| Told::new(text.clone(), SOURCE));
        system.wsl = self.wsl.get().copied();
        system.jetson = self.jetson.get().cloned();
        system.musl = self.musl;
        facts.module = self.module.map(|(driver, flavour)| {
            let module =
                Module { driver, flavour: Some(flavour), models: Vec::new(), on_disk: None };
            Told::new(module, SOURCE)
        });
        facts.toolkits = std::mem::take(&mut self.toolkits)
            .into_iter()
            .map(|(_, kit)| Told::new(kit, SOURCE))
            .collect();
        facts.env = std::mem::take(&mut self.env);
        facts.container = self.image.take().map(|image| {
            let container = Container { image: Some(image), ..Default::default() };
            Told::new(container, SOURCE)
        });
        // Sentences: the Windows around WSL2 and the laptop in front of a server are not the machine.
        if self.platform.rank() == Some(Rank::Passing) {
            let nvidia = !self.devices.is_empty() || self.driver.get().is_some();
            match system.platform {
                Some(Platform::WindowsAmd64) if system.wsl.is_some() => {
                    system.platform = Some(Platform::LinuxAmd64);
                }
                Some(Platform::MacosArm64) if nvidia => system.platform = None,
                _ => (),
            }
        }
        // A laptop may have a chip of another maker beside its card of NVIDIA's.
        if self.devices.is_empty() && self.driver.get().is_none() && smi.is_none() {
            said.others.extend(self.makers.iter().map(|name| (*name).to_owned()));
        }
        said.mentioned = self.machine(&mut said.facts, smi);
        said.available =
            self.environments.iter().find_map(|environment| environment.available.get().copied());
        // The one that is known best comes first.
        self.environments.order_by_key(|environment| std::cmp::Reverse(environment.torch.rank()));
        if let Some(first) = self.environments.first_mut()
            && first.torch.rank().is_some_and(|rank| rank < Rank::Spoken)
        {
            let torch = std::mem::take(&mut first.torch).0.map(|(_, version)| version);
            said.wanted.extend(torch.map(|version| ("torch".to_owned(), version)));
            first.others.clear();
        }
        for environment in &mut self.environments {
            let asked =
                environment.packages.extract_if(.., |_, slot| slot.rank() < Some(Rank::Listed));
            said.wanted.extend(asked.filter_map(|(name, slot)| Some((name, slot.0?.1))));
        }
        said.cuda = self.environments.first().and_then(|first| first.cuda.get().copied().flatten());
        for environment in std::mem::take(&mut self.environments) {
            environment.finish(&mut said.facts.pythons);
        }
        said
    }

    /// Driver and cards: into what nvidia-smi told, or beside its failure. Whether the cards are only
    /// spoken of.
    fn machine(&self, facts: &mut Facts, smi: Option<Answer<Smi>>) -> bool {
        let best = self.devices.iter().map(|(rank, _)| *rank).max();
        let listed = self.devices.iter().filter(|(rank, _)| Some(*rank) == best);
        let mut devices: Vec<Device> = listed.map(|(_, device)| device.clone()).collect();
        for device in &mut devices {
            // The index of a list is no address.
            device.address = None;
            device.capability = device
                .capability
                .or_else(|| self.matrix.gpu(&device.name).ok().map(|gpu| gpu.capability));
        }
        let mut told = match &smi {
            Some(Answer::Told(told)) => told.clone(),
            _ => Smi::default(),
        };
        let mentioned = told.devices.is_empty() && best == Some(Rank::Passing);
        if told.devices.is_empty() {
            told.devices = devices;
        } else {
            for device in told.devices.iter_mut().filter(|d| d.capability.is_none()) {
                device.capability = self.matrix.gpu(&device.name).ok().map(|gpu| gpu.capability);
            }
        }
        told.driver = told.driver.or_else(|| self.driver.get().copied());
        told.cuda = told.cuda.or_else(|| self.driver_cuda.get().copied());
        let empty = told.driver.is_none() && told.cuda.is_none() && told.devices.is_empty();
        match smi {
            None | Some(Answer::Told(_)) => {
                facts.smi = (!empty).then_some(Answer::Told(told));
            }
            failed => {
                facts.smi = failed;
                let Smi { driver, cuda, devices, .. } = told;
                let nvml = Nvml { driver, cuda, devices };
                facts.nvml = (!empty).then_some(Answer::Told(nvml));
            }
        }
        mentioned
    }
}

impl Environment {
    /// Writes it, and each other torch that was named apart.
    fn finish(self, pythons: &mut Vec<Python>) {
        let mut packages: BTreeMap<String, String> = self
            .packages
            .into_iter()
            .filter_map(|(name, slot)| Some((name, slot.get()?.clone())))
            .gather();
        let version = self.torch.get().cloned();
        if let Some(version) = &version {
            packages.insert("torch".into(), version.clone());
        }
        if packages.is_empty() && self.python.get().is_none() && self.available.get().is_none() {
            return;
        }
        // What the label says counts: of an unlabelled version only a program can tell.
        let cuda = version
            .as_deref()
            .and_then(label)
            .map_or_else(|| self.cuda.get().copied(), |variant| Some(variant.cuda()));
        let version = version.unwrap_or_default();
        let torch = cuda.filter(|_| !version.is_empty()).map(|cuda| TorchFiles {
            version: version.clone(),
            cuda,
            hip: self.hip.get().cloned(),
            others: Vec::new(),
        });
        let available = self.available.get().copied();
        let told = TorchTold {
            version: version.clone(),
            cuda: cuda.flatten(),
            arch_list: self.arch_list.get().cloned(),
            cudnn: self.cudnn.get().copied(),
            available,
            device_count: self.count.get().copied(),
            ..Default::default()
        };
        let imported = (!version.is_empty()
            && (cuda.is_some() || available == Some(true) || told.arch_list.is_some()))
        .then_some(Answer::Told(told));
        let python = Python {
            kind: if self.conda { "conda".into() } else { String::new() },
            version: self.python.get().cloned(),
            source: SOURCE.into(),
            packages,
            torch,
            imported,
            ..Default::default()
        };
        if !pythons.contains(&python) {
            pythons.push(python);
        }
        for other in self.others {
            pythons.push(Python {
                source: SOURCE.into(),
                packages: BTreeMap::from([("torch".to_owned(), other)]),
                ..Default::default()
            });
        }
    }
}

/// The build that a version's label names.
fn label(version: &str) -> Option<WheelVariant> {
    version.parse::<TorchVersion>().ok()?.variant
}
