//! The machine: is the card driven, and does the driver start the CUDA of the file.

use super::{Court, DriverBounds, DriverMode, JudgedGpu, Wheel};
use crate::domain::{
    Code, ComputeCapability, DriverSpec, DriverVersion, Fact, Finding, KernelModule, Platform,
    Severity, WheelVariant,
};
use crate::matrix::{CodeList, GpuMatch, Release, Variant};
use crate::resolve::environment;
use crate::resolve::physics::{self, CardFit, DriverFit, Served};

impl<'m> Court<'_, 'm> {
    /// Cards that are built into another machine than the platform says.
    pub(super) fn hosts(&mut self) {
        let platform = self.platform;
        let wrong: Vec<_> = self
            .case
            .gpus
            .iter()
            .filter_map(|gpu| {
                gpu.host
                    .filter(|host| *host != platform && platform.has_cuda())
                    .map(|host| (gpu.name.clone(), host))
            })
            .collect();
        for (name, host) in wrong {
            self.add(
                Finding::new(
                    Code::NoSuchWheel,
                    Severity::Error,
                    format!(
                        "{name} is built into {host} machines, the platform asked for is {platform}"
                    ),
                )
                .help(format!("ask for --platform {host}")),
            );
        }
    }

    /// Card by card: does the driver drive it, and what serves it.
    pub(super) fn cards(
        &mut self,
        wheel: Option<Wheel<'m>>,
        bounds: &mut DriverBounds,
    ) -> Vec<JudgedGpu> {
        self.modules();
        let compiler = wheel.and_then(|w| w.cuda()).and_then(|c| self.matrix.compiler(c));
        let mut judged = Vec::new();
        for gpu in &self.case.gpus {
            let served = wheel.and_then(|w| w.build).map(|build| {
                let served = physics::served(self.matrix, &build.code, compiler, gpu.capability);
                if served == Served::Unknown && self.presumed_absent(wheel, gpu.capability) {
                    Served::Nothing
                } else {
                    served
                }
            });
            judged.push(JudgedGpu { gpu: gpu.clone(), served });
            if let Some(last) = self.matrix.generation(gpu.capability).and_then(|g| g.last_branch) {
                bounds.max_branch = Some(bounds.max_branch.map_or(last, |max| max.min(last)));
            }
            if let Some(first) = self.first_driver(gpu) {
                bounds.min = Some(bounds.min.map_or(first, |min| min.max(first)));
            }
        }
        let Some(driver) = &self.case.driver else {
            return judged;
        };
        if driver.spec == DriverSpec::None {
            self.add(
                Finding::new(Code::NoDriver, Severity::Error, "no NVIDIA driver is installed")
                    .help("install a driver on the host; in a container it comes from the host"),
            );
            return judged;
        }
        for gpu in &self.case.gpus {
            if let Some(oldest) = driver.oldest {
                let fit = physics::card_fit(self.matrix, gpu, oldest);
                match fit {
                    // A branch or a CUDA version stands for its first release; a pool that has the
                    // card has a release of the branch that drives it.
                    CardFit::TooOld(Some(first))
                        if driver.note.is_some() && first.branch == oldest.branch =>
                    {
                        let message = format!(
                            "{} needs driver {first}, a later release of the branch",
                            gpu.name
                        );
                        self.add(Finding::new(Code::DriverTooOldForGpu, Severity::Note, message));
                    }
                    fit => self.card_fit(gpu, oldest, fit),
                }
            }
            let generation = self.matrix.generation(gpu.capability);
            // The oldest has been judged; a range closed above can still reach past the last branch.
            if let (Some(generation), Some(newest)) = (generation, driver.newest_branch)
                && let Some(last) = generation.last_branch
                && newest > last
                && driver.oldest.is_none_or(|oldest| {
                    self.matrix.locate(oldest).is_none_or(|at| at.branch.branch <= last)
                })
            {
                self.too_new(gpu, &driver.spec.to_string(), last);
            } else if let Some(last) = generation.and_then(|g| g.last_branch)
                && driver.newest_branch.is_none()
            {
                let name = &generation.map_or(String::new(), |g| g.name.clone());
                self.add(
                    Finding::new(
                        Code::DriverTooNew,
                        Severity::Note,
                        format!("{}: branch {last} is the last that drives {name}", gpu.name),
                    )
                    .help(format!("do not let the driver of this pool pass branch {last}")),
                );
            }
        }
        judged
    }

    /// A Windows build whose list nobody read: its Linux sibling has nothing for the card, and no
    /// Windows list that was read of the same build name has.
    pub(super) fn presumed_absent(
        &self,
        wheel: Option<Wheel<'m>>,
        device: ComputeCapability,
    ) -> bool {
        let Some(wheel) = wheel else { return false };
        if self.platform != Platform::WindowsAmd64 {
            return false;
        }
        let serves = |code: &CodeList| physics::served(self.matrix, code, None, device);
        let sibling = wheel.variant.build(Platform::LinuxAmd64).map(|b| serves(&b.code));
        let elsewhere = self
            .matrix
            .releases
            .iter()
            .filter_map(|r| r.variant(wheel.variant.name)?.build(self.platform));
        sibling == Some(Served::Nothing)
            && elsewhere
                .map(|b| serves(&b.code))
                .all(|s| matches!(s, Served::Nothing | Served::Unknown))
    }

    pub(super) fn first_driver(&self, gpu: &GpuMatch) -> Option<DriverVersion> {
        if gpu.is_jetson() {
            return None;
        }
        let generation = self.matrix.generation(gpu.capability)?;
        let branch = generation.first_branch.map(|b| {
            self.matrix
                .branch(b)
                .and_then(|row| row.first_data_center)
                .unwrap_or(DriverVersion::of_branch(b))
        });
        let listed = self.matrix.first_listed(gpu).and_then(|l| l.version);
        listed.or(branch)
    }

    pub(super) fn too_new(&mut self, gpu: &GpuMatch, driver: &str, last: u16) {
        let generation = self.matrix.generation(gpu.capability);
        let name = generation.map_or("its generation", |g| g.name.as_str());
        let latest = self.matrix.branch(last);
        let mut finding = Finding::new(
            Code::DriverTooNew,
            Severity::Error,
            format!("driver {driver} no longer drives {}", gpu.name),
        )
        .fact(
            format!("branch {last} is the last that drives {name}"),
            generation.map_or_else(String::new, |g| self.matrix.cite_best(&g.evidence)),
        );
        let newest = latest.and_then(|b| b.latest.clone());
        finding = finding.help(match newest {
            Some(newest) => format!("stay on branch {last} (newest seen: {newest})"),
            None => format!("stay on branch {last}"),
        });
        self.add(finding);
    }

    pub(super) fn card_fit(&mut self, gpu: &GpuMatch, driver: DriverVersion, fit: CardFit) {
        match fit {
            CardFit::Drives => (),
            CardFit::TooNew(last) => self.too_new(gpu, &driver.to_string(), last),
            CardFit::TooOld(first) => {
                let source = self.matrix.first_listed(gpu).map_or_else(
                    || {
                        self.matrix
                            .generation(gpu.capability)
                            .map_or_else(String::new, |g| self.matrix.cite_best(&g.evidence))
                    },
                    |l| self.matrix.cite_best(&l.evidence),
                );
                let need = first.map_or_else(|| "a newer branch".into(), |v| v.to_string());
                self.add(
                    Finding::new(
                        Code::DriverTooOldForGpu,
                        Severity::Error,
                        format!("driver {driver} is older than {}, which needs {need}", gpu.name),
                    )
                    .fact(format!("the first driver for {} is {need}", gpu.name), source)
                    .help(format!("raise the driver to {need} or newer")),
                );
            }
            CardFit::NotListed(first) => {
                let finding = self.unknown(format!(
                    "whether driver {driver} drives {} is not known: the first driver whose list names it is {first}", gpu.name
                ));
                finding.help.push(format!("take driver {first} or newer"));
            }
            CardFit::Unknown if gpu.is_jetson() => self.add(Finding::new(
                Code::Unknown,
                Severity::Note,
                format!(
                    "{}: its driver {driver} comes with JetPack and stands in no table",
                    gpu.name
                ),
            )),
            CardFit::Unknown => {
                self.unknown(format!("which drivers drive {} is not known", gpu.name));
            }
        }
    }

    /// Flavour of the kernel module, for each card and for all in one machine.
    pub(super) fn modules(&mut self) {
        let gpus = &self.case.gpus;
        let needs: Vec<(&GpuMatch, KernelModule)> =
            gpus.iter().filter_map(|g| Some((g, g.module?))).collect();
        if let Some(given) = self.case.module {
            let wrong: Vec<_> = needs
                .iter()
                .filter(|(_, need)| *need != given)
                .map(|(g, need)| ((*g).clone(), *need))
                .collect();
            for (gpu, need) in wrong {
                let message = format!(
                    "{} needs the {need} kernel module, the host has the {given} one",
                    gpu.name
                );
                self.add(
                    Finding::new(Code::KernelModuleMismatch, Severity::Error, message)
                        .fact(why_module(need), self.module_source(&gpu))
                        .help(format!("install the {need} flavour of the driver")),
                );
            }
            return;
        }
        let open = needs.iter().find(|(_, m)| *m == KernelModule::Open);
        let closed = needs.iter().find(|(_, m)| *m == KernelModule::Proprietary);
        if let (Some((open, _)), Some((closed, _))) = (open, closed) {
            let message = format!(
                "{} needs the open kernel module and {} the proprietary one: no one machine drives both",
                open.name, closed.name
            );
            self.add(
                Finding::new(Code::KernelModuleMismatch, Severity::Warning, message)
                    .fact(why_module(KernelModule::Open), self.module_source(open))
                    .fact(why_module(KernelModule::Proprietary), self.module_source(closed))
                    .help("keep these cards in different machines"),
            );
        }
    }

    /// The driver against the CUDA of the file.
    pub(super) fn driver(
        &mut self,
        wheel: Option<Wheel<'m>>,
        gpus: &[JudgedGpu],
        bounds: &mut DriverBounds,
    ) {
        let Some((wheel, cuda)) = wheel.and_then(|w| Some((w, w.cuda()?))) else {
            return;
        };
        let by_ptx = gpus.iter().any(|g| matches!(g.served, Some(Served::Ptx(_))));
        bounds.native = physics::native_floor(self.matrix, cuda, self.platform);
        let floor = physics::driver_floor(self.matrix, cuda, self.platform, by_ptx);
        bounds.min = bounds.min.max(floor);
        let Some(driver) = &self.case.driver else {
            return;
        };
        let Some(oldest) = driver.oldest else {
            if driver.spec != DriverSpec::None {
                self.unknown(format!(
                    "the range {} has no lower end: which driver must run CUDA {cuda} is not said",
                    driver.spec
                ))
                .help
                .push("state the oldest driver of the pool".into());
            }
            return;
        };
        if gpus.iter().any(|g| g.gpu.is_jetson()) && self.matrix.branch(oldest.branch).is_none() {
            self.unknown(format!("which CUDA the JetPack driver {oldest} implements is not known"));
            return;
        }
        let located = self.matrix.locate(oldest);
        let implements = located.map_or_else(
            || "a CUDA older than the table".to_owned(),
            |at| format!("branch {} implements CUDA {}", at.branch.branch, at.branch.cuda),
        );
        let source =
            located.map_or_else(String::new, |at| self.matrix.cite_best(&at.branch.evidence));
        match physics::driver_fit(self.matrix, cuda, oldest, self.platform) {
            DriverFit::Native => bounds.mode = Some(DriverMode::Native),
            DriverFit::MinorCompat => {
                bounds.mode = Some(DriverMode::MinorCompat);
                self.add(
                    Finding::new(Code::Ok, Severity::Note, format!(
                        "driver {oldest} runs CUDA {cuda} by minor-version compatibility: machine code runs, PTX and calls new in CUDA {cuda} do not"
                    ))
                    .fact(implements, source),
                );
            }
            DriverFit::Unknown => {
                self.unknown(format!("whether driver {oldest} runs CUDA {cuda} is not known"))
                    .facts
                    .push(Fact { text: implements, source });
            }
            DriverFit::TooOld => {
                let forward = environment::forward_compat(self.case, self.matrix, oldest, cuda);
                match forward {
                    environment::Forward::Works(package) => {
                        bounds.mode = Some(DriverMode::ForwardCompat);
                        bounds.min = Some(oldest);
                        self.add(Finding::new(Code::Ok, Severity::Note, format!(
                            "driver {oldest} runs CUDA {cuda} by the package {package}, which must come first in the loader path"
                        )));
                        return;
                    }
                    environment::Forward::Refused(finding) => self.add(*finding),
                    environment::Forward::NotAsked => (),
                }
                let need = floor.map_or_else(|| "a newer one".into(), |v| v.to_string());
                let mut finding = Finding::new(Code::DriverTooOld, Severity::Error, format!(
                    "torch {} is built with CUDA {cuda}, which needs driver {need} or newer; the driver is {oldest}", wheel.name()
                ))
                .fact(implements, source)
                .fact(
                    format!("CUDA {}.x starts from driver {need} on", cuda.major),
                    self.matrix.minor_compat.iter().find(|m| m.cuda_major == cuda.major).map_or_else(String::new, |m| self.matrix.cite_best(&m.evidence)),
                )
                .help(format!("raise the driver to {need}"));
                if let Some(other) = self.runs_here(wheel.release, oldest) {
                    finding = finding.help(format!(
                        "take torch {}+{other}, which this driver runs",
                        wheel.release.version
                    ));
                }
                self.add(finding);
            }
        }
    }

    /// A build of the same release that driver and cards can run.
    pub(super) fn runs_here(
        &self,
        release: &'m Release,
        driver: DriverVersion,
    ) -> Option<WheelVariant> {
        let works = |variant: &&Variant| {
            let (Some(cuda), Some(build)) = (variant.cuda, variant.build(self.platform)) else {
                return false;
            };
            let compiler = self.matrix.compiler(cuda);
            matches!(
                physics::driver_fit(self.matrix, cuda, driver, self.platform),
                DriverFit::Native | DriverFit::MinorCompat
            ) && self.case.gpus.iter().all(|gpu| {
                let verdict = physics::verdict(
                    self.matrix,
                    &build.code,
                    compiler,
                    cuda,
                    self.platform,
                    gpu,
                    driver,
                );
                verdict == physics::Verdict::Runs
            })
        };
        release.variants.iter().filter(works).max_by_key(|v| (v.official, v.cuda)).map(|v| v.name)
    }

    fn module_source(&self, gpu: &GpuMatch) -> String {
        let generation = self.matrix.generation(gpu.capability);
        generation.map_or_else(String::new, |g| self.matrix.cite_best(&g.evidence))
    }
}

/// Why some cards insist on one flavour.
const fn why_module(module: KernelModule) -> &'static str {
    match module {
        KernelModule::Open => {
            "Blackwell and later, and Grace machines, work with the open kernel modules only"
        }
        KernelModule::Proprietary => {
            "cards before Turing have no GPU system processor, which the open kernel modules need"
        }
    }
}
