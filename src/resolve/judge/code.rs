//! The code: does the card find any, in torch, in cuDNN, and in what nvcc compiles.

use super::{Court, DriverMode, JudgedGpu, Wheel, code_text, targets_text};
use crate::domain::{Code, ComputeCapability, CudaVersion, Fact, Finding, Severity};
use crate::matrix::{Build, Cudnn, GpuMatch, Release};
use crate::resolve::case::ImageKind;
use crate::resolve::environment;
use crate::resolve::physics::{self, Served};

impl<'m> Court<'_, 'm> {
    /// Code for each card.
    pub(super) fn code(&mut self, wheel: Wheel<'m>, gpus: &[JudgedGpu], mode: Option<DriverMode>) {
        let Some(build) = wheel.build else { return };
        let name = wheel.name();
        let cuda = wheel.cuda().unwrap_or(CudaVersion::new(0, 0));
        let source = self.matrix.cite_best(&build.evidence);
        let list = code_text(&build.code);
        for JudgedGpu { gpu, served } in gpus {
            let (capability, card) = (gpu.capability, &gpu.name);
            match served {
                None | Some(Served::Exact(_) | Served::SameMajor(_)) => (),
                Some(Served::Unknown) => {
                    let finding = self.unknown(format!("whether torch {name} for {} has code for {card} ({capability}) is not known: nobody has read that file", self.platform));
                    finding.facts.push(Fact { text: list.clone(), source: source.clone() });
                }
                Some(Served::Nothing) => {
                    let mut finding = Finding::new(Code::ArchNotInBinary, Severity::Error, format!(
                        "torch {name} for {} has no code that {card} (compute capability {capability}) can run", self.platform
                    ))
                    .fact(format!("its code: {list}"), source.clone());
                    if gpu.is_jetson() {
                        finding = finding.help("NVIDIA publishes torch wheels of its own for JetPack; the matrix has no rows for them");
                    }
                    for help in self.who_serves(wheel, capability) {
                        finding = finding.help(help);
                    }
                    self.add(finding);
                }
                Some(Served::Ptx(ptx)) => {
                    let native = physics::native_floor(self.matrix, cuda, self.platform);
                    let env_off = self.case.var("CUDA_DISABLE_PTX_JIT") == Some("1");
                    if env_off || mode == Some(DriverMode::MinorCompat) {
                        let (code, why) = if env_off {
                            (Code::EnvPath, "CUDA_DISABLE_PTX_JIT=1 forbids that".to_owned())
                        } else {
                            let need =
                                native.map_or_else(|| "a newer one".into(), |v| v.to_string());
                            (
                                Code::DriverTooOld,
                                format!(
                                    "PTX of CUDA {cuda} needs driver {need} or newer: minor-version compatibility does not cover PTX"
                                ),
                            )
                        };
                        let mut finding = Finding::new(
                            code,
                            Severity::Error,
                            format!("torch {name} serves {card} only by {ptx}, and {why}"),
                        )
                        .fact(format!("its code: {list}"), source.clone());
                        if let Some(native) = native {
                            finding =
                                finding.help(format!("raise the driver to {native} or newer"));
                        }
                        self.add(finding);
                    } else {
                        let mut finding = Finding::new(Code::OkViaPtxJit, Severity::Note, format!(
                            "{card} ({capability}) is served by {ptx}: the driver compiles it at the first start, which takes minutes"
                        ))
                        .fact(format!("its code: {list}"), source.clone());
                        if mode.is_none()
                            && let Some(native) = native
                        {
                            finding = finding.help(format!("this needs driver {native} or newer"));
                        }
                        self.add(finding);
                    }
                }
            }
            if self.case.var("CUDA_FORCE_PTX_JIT") == Some("1")
                && served.is_some_and(Served::by_machine_code)
                && build
                    .code
                    .ptx
                    .as_ref()
                    .is_some_and(|ptx| !ptx.iter().any(|p| p.ptx_reaches(capability)))
            {
                self.add(
                    Finding::new(Code::EnvPath, Severity::Error, format!("CUDA_FORCE_PTX_JIT=1 ignores machine code, and torch {name} has no PTX for {card}"))
                        .fact(format!("its code: {list}"), source.clone())
                        .help("unset CUDA_FORCE_PTX_JIT"),
                );
            }
            self.linalg(wheel, build, gpu, *served, &source);
        }
    }

    pub(super) fn linalg(
        &mut self,
        wheel: Wheel<'m>,
        build: &Build,
        gpu: &GpuMatch,
        served: Option<Served>,
        source: &str,
    ) {
        let Some(linalg) = &build.linalg else { return };
        let runs = linalg.iter().any(|c| self.matrix.runs(*c, gpu.capability));
        if !runs && served.is_some_and(Served::by_machine_code) {
            self.add(
                Finding::new(Code::ArchNotInBinary, Severity::Warning, format!(
                    "torch {} runs on {}, but part of its linear algebra library has no code for compute capability {}: some torch.linalg functions fail",
                    wheel.name(), gpu.name, gpu.capability
                ))
                .fact(format!("libtorch_cuda_linalg: {}", targets_text(linalg)), source)
                .help("try the torch.linalg functions that you use on this card, or take another build"),
            );
        }
    }

    /// The nearest builds that have code for a card: of the same release first, then the nearest release.
    pub(super) fn who_serves(&self, wheel: Wheel<'m>, device: ComputeCapability) -> Vec<String> {
        let covers = |release: &'m Release| {
            release.variants.iter().filter(move |v| {
                v.build(self.platform).is_some_and(|b| {
                    physics::served(self.matrix, &b.code, None, device).by_machine_code()
                })
            })
        };
        let mut help = Vec::new();
        if let Some(same) = covers(wheel.release).max_by_key(|v| (v.official, v.cuda)) {
            help.push(format!(
                "take torch {}+{}, which has code for it",
                wheel.release.version, same.name
            ));
        }
        let serving: Vec<_> = self
            .matrix
            .releases
            .iter()
            .filter(|r| covers(r).next().is_some())
            .map(|r| r.version)
            .collect();
        let build = |version: crate::domain::TorchRelease| {
            let release = self.matrix.release(version);
            let best = release.and_then(|r| covers(r).max_by_key(|v| (v.official, v.cuda)));
            best.map_or_else(|| version.to_string(), |v| format!("{version}+{}", v.name))
        };
        match (serving.first(), serving.last()) {
            (Some(first), _) if wheel.release.version < *first => {
                help.push(format!(
                    "take torch {} or newer: {first} is the first release with code for compute capability {device}",
                    build(*first)
                ));
            }
            (_, Some(last)) if wheel.release.version > *last => {
                help.push(format!(
                    "take torch {}: {last} is the last release with code for compute capability {device}",
                    build(*last)
                ));
            }
            (None, _) => help.push(format!(
                "no release known has code for compute capability {device} on {}",
                self.platform
            )),
            _ => (),
        }
        help
    }

    /// cuDNN has its own list of capabilities.
    pub(super) fn cudnn(&mut self, wheel: Wheel<'m>) {
        let (Some(version), Some(cuda)) = (wheel.variant.cudnn, wheel.cuda()) else {
            return;
        };
        let Some(row) = self.matrix.cudnn(version, cuda.major) else {
            return;
        };
        for gpu in &self.case.gpus {
            let Some(why) = self.cudnn_lacks(row, gpu.capability) else {
                continue;
            };
            self.add(
                Finding::new(Code::CudnnMismatch, Severity::Error, format!(
                    "torch {} brings cuDNN {version}, which has no code for {} (compute capability {})", wheel.name(), gpu.name, gpu.capability
                ))
                .fact(why, self.matrix.cite_best(&row.evidence))
                .help(if (gpu.capability.major, gpu.capability.minor) < (7, 5) {
                    "take a build with a cuDNN that serves the card: 9.10.2 is the last for capabilities below 7.5"
                } else {
                    "take a build with a cuDNN that serves the card"
                }),
            );
        }
    }

    pub(super) fn cudnn_lacks(&self, row: &Cudnn, device: ComputeCapability) -> Option<String> {
        if let (Some(code), true) = (row.code.get(&self.platform), row.measured) {
            let lacks = physics::served(self.matrix, code, None, device) == Served::Nothing;
            return lacks.then(|| format!("its code: {}", code_text(code)));
        }
        // Not read for this platform: a documented lower bound still holds.
        let min = row.min.filter(|min| device < *min)?;
        Some(format!("it starts at compute capability {min}"))
    }

    /// Whether a package of the request is compiled on installation.
    fn compiles_extensions(&self) -> bool {
        let compiled = |p: &crate::domain::Package| {
            let rules = &self.matrix.companion_rules;
            p.local.is_none() && rules.iter().any(|r| r.package == p.name && r.source_build)
        };
        self.case.with.iter().any(compiled)
    }

    /// The toolkit that CUDA_HOME names or a devel image holds, when something is compiled with it.
    fn toolkit_around(&self) -> Option<CudaVersion> {
        let image = self.case.base_image.as_ref().and_then(|image| match &image.kind {
            ImageKind::Cuda { cuda, .. } if image.given.contains("devel") => Some(*cuda),
            ImageKind::Pytorch { devel, .. } => *devel,
            _ => None,
        });
        let toolkit = environment::cuda_home(self.case).or(image);
        self.compiles_extensions().then_some(toolkit).flatten()
    }

    /// TORCH_CUDA_ARCH_LIST decides what an extension carries: every card must find code in it.
    fn arch_list(&mut self) {
        let list = self.case.var("TORCH_CUDA_ARCH_LIST");
        let Some(list) = list.filter(|_| self.case.nvcc.is_some() || self.compiles_extensions())
        else {
            return;
        };
        let mut code = crate::matrix::CodeList { sass: Some(Vec::new()), ptx: Some(Vec::new()) };
        for (number, ptx) in arch_words(list) {
            let target = |prefix: &str| format!("{prefix}{}", number.replace('.', "")).parse().ok();
            let Some(sass) = target("sm_") else {
                self.unknown(format!(
                    "which cards `{number}` in TORCH_CUDA_ARCH_LIST stands for is not in the matrix"
                ))
                .help
                .push("name capabilities, as in 8.0;9.0+PTX".into());
                return;
            };
            code.sass.get_or_insert_default().push(sass);
            code.ptx.get_or_insert_default().extend(target("compute_").filter(|_| ptx));
        }
        for gpu in &self.case.gpus {
            if physics::served(self.matrix, &code, None, gpu.capability) == Served::Nothing {
                let message = format!(
                    "TORCH_CUDA_ARCH_LIST=`{}` compiles nothing that {} (compute capability {}) can run",
                    crate::domain::shown(list),
                    gpu.name,
                    gpu.capability
                );
                self.findings.push(
                    Finding::new(Code::ArchNotInBinary, Severity::Error, message)
                        .fact(format!("an extension would carry {}", code_text(&code)), "as given")
                        .help(format!("add {} to TORCH_CUDA_ARCH_LIST", gpu.capability)),
                );
            }
        }
    }

    /// The toolkit that compiles extensions.
    pub(super) fn compiler(&mut self, wheel: Option<Wheel<'m>>) {
        self.arch_list();
        let Some(nvcc) = self.case.nvcc.or_else(|| self.toolkit_around()) else {
            return;
        };
        if let Some((name, cuda)) = wheel.and_then(|w| Some((w.name(), w.cuda()?))) {
            if nvcc.major != cuda.major {
                self.add(
                    Finding::new(Code::ToolkitMismatch, Severity::Error, format!(
                        "nvcc is of CUDA {nvcc}, torch {name} was built with CUDA {cuda}: torch's extension builder refuses another major"
                    ))
                    .fact("a different CUDA major is an error, a different minor a warning", "document: torch/utils/cpp_extension.py")
                    .help(format!("install the CUDA {cuda} toolkit, or a torch build of CUDA {}", nvcc.major)),
                );
            } else if nvcc.series() != cuda {
                self.add(Finding::new(Code::ToolkitMismatch, Severity::Note, format!(
                    "nvcc is of CUDA {nvcc}, torch of CUDA {cuda}: torch's extension builder warns, and goes on"
                )));
            }
        }
        let Some(compiler) = self.matrix.compiler(nvcc) else {
            self.unknown(format!("the matrix knows no compiler of CUDA {nvcc}"));
            return;
        };
        let arch_list = self.case.var("TORCH_CUDA_ARCH_LIST");
        let wanted: Vec<(ComputeCapability, String)> = if let Some(list) = arch_list {
            arch_words(list)
                .filter_map(|(number, _)| number.trim_end_matches(['a', 'f']).parse().ok())
                .map(|c: ComputeCapability| (c, format!("TORCH_CUDA_ARCH_LIST names {c}")))
                .collect()
        } else {
            // Without a list, torch compiles for the card, but not above its own newest code.
            let newest =
                wheel.and_then(|w| w.build?.code.sass.as_ref()?.iter().map(|c| c.capability).max());
            self.case
                .gpus
                .iter()
                .map(|g| {
                    (
                        newest.map_or(g.capability, |n| n.min(g.capability)),
                        format!("{} asks for it", g.name),
                    )
                })
                .collect()
        };
        for (capability, why) in wanted {
            if !compiler.targets.iter().any(|t| t.capability == capability) {
                let first = self
                    .matrix
                    .compilers
                    .iter()
                    .filter(|c| c.targets.iter().any(|t| t.capability == capability));
                let range: Vec<_> = first.map(|c| c.cuda).collect();
                let help = match (range.first(), range.last()) {
                    (Some(first), Some(last)) => {
                        format!("CUDA {first} to {last} compile for {capability}")
                    }
                    _ => format!("no CUDA known compiles for {capability}"),
                };
                self.add(
                    Finding::new(Code::ToolkitMismatch, Severity::Error, format!("nvcc {nvcc} does not compile for compute capability {capability} ({why})"))
                        .fact(format!("nvcc {}: {}", compiler.cuda, targets_text(&compiler.targets)), self.matrix.cite_best(&compiler.evidence))
                        .help(help),
                );
            }
        }
    }
}

/// The words of TORCH_CUDA_ARCH_LIST, and whether each asks for PTX too.
fn arch_words(list: &str) -> impl Iterator<Item = (&str, bool)> {
    list.split([' ', ';', ','])
        .filter(|word| !word.is_empty())
        .map(|word| word.strip_suffix("+PTX").map_or((word, false), |number| (number, true)))
}
