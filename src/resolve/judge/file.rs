//! The file: does it exist, does the install line reach it, does it fit Python and the C library.

use super::{Court, Wheel, row_of};
use crate::domain::{Code, Fact, Finding, Severity, TorchRelease, WheelVariant};
use crate::matrix::Release;
use crate::resolve::case::{ImageKind, Index};
use crate::resolve::environment;

impl<'m> Court<'_, 'm> {
    /// Finds the file that the install line gets, or says why there is none.
    pub(super) fn wheel(&mut self) -> Option<Wheel<'m>> {
        let from_image = match &self.case.base_image {
            Some(image) if self.case.torch.is_none() => match &image.kind {
                ImageKind::Pytorch { torch, .. } => Some(torch.clone()),
                _ => None,
            },
            _ => None,
        };
        let torch = self.case.torch.as_ref().or(from_image.as_ref())?;
        let range = self.matrix.release_range()?;
        let Some(version) = torch.release() else {
            self.unknown(format!(
                "torch {torch} is no stable release, and the matrix has no row for it"
            ));
            return None;
        };
        let Some(release) = self.matrix.release(version) else {
            self.no_release(version, range);
            return None;
        };
        if let Some(local) = torch.local()
            && torch.variant.is_none()
        {
            self.unknown(format!(
                "the matrix knows no build of torch {version} with the label `+{local}`"
            ));
            return None;
        }
        let (variant, from_pypi) =
            self.which_variant(torch.variant, release, from_image.is_some())?;
        let Some(found) = Wheel::find(release, variant, self.platform) else {
            self.no_build(release, variant);
            return None;
        };
        if from_pypi && !self.platform.has_cuda() {
            return None;
        }
        match variant {
            WheelVariant::Cuda { .. } => Some(found),
            WheelVariant::Cpu => {
                self.cpu_wheel(release, from_pypi);
                None
            }
            WheelVariant::Rocm { .. } | WheelVariant::Xpu => {
                self.add(
                    Finding::new(Code::ArchNotInBinary, Severity::Error, format!(
                        "torch {version}+{variant} is built for another maker's GPUs: it has no code for NVIDIA's"
                    ))
                    .help("take a build whose name starts with `cu`"),
                );
                None
            }
        }
    }

    pub(super) fn no_release(
        &mut self,
        version: TorchRelease,
        (first, last): (TorchRelease, TorchRelease),
    ) {
        if (first..=last).contains(&version) {
            let line: Vec<_> = self
                .matrix
                .releases
                .iter()
                .filter(|r| r.version.line() == version.line())
                .map(|r| r.version.to_string())
                .collect();
            self.add(
                Finding::new(
                    Code::NoSuchWheel,
                    Severity::Error,
                    format!("torch {version} was never released"),
                )
                .fact(
                    format!("releases of that line: {}", line.join(", ")),
                    "artifact: PyPI's list of files",
                )
                .help(format!(
                    "take torch {}",
                    line.last().map_or("one that exists", String::as_str)
                )),
            );
        } else {
            let side =
                if version < first { "older than its oldest" } else { "newer than its newest" };
            let bound = if version < first { first } else { last };
            let finding = self.unknown(format!(
                "torch {version} is {side} release ({bound}): the matrix does not know it"
            ));
            finding.help.push("this is missing knowledge, not a known conflict: use a newer matrix, or add a row with --overlay".into());
        }
    }

    /// The build that the version and the index name, and whether it comes from PyPI.
    pub(super) fn which_variant(
        &mut self,
        local: Option<WheelVariant>,
        release: &'m Release,
        in_image: bool,
    ) -> Option<(WheelVariant, bool)> {
        let version = release.version;
        match (local, &self.case.index) {
            // What stands in an image came by its maker's choice of index.
            (Some(variant), None) => Some((variant, false)),
            (Some(variant), _) if in_image => Some((variant, false)),
            (Some(variant), Some(Index::Pypi)) => {
                if Wheel::find(release, variant, self.platform).is_none() {
                    self.no_build(release, variant);
                    return None;
                }
                let served = release
                    .pypi
                    .get(&self.platform)
                    .map_or_else(|| "nothing".into(), ToString::to_string);
                self.add(
                    Finding::new(Code::MissingIndex, Severity::Error, format!(
                        "torch {version}+{variant} is not on PyPI: it has no files with a local label"
                    ))
                    .fact(format!("for {} PyPI serves torch {version} as its {served} build, without a label", self.platform), "artifact: PyPI's list of files")
                    .help(format!("name the index: --index-url https://download.pytorch.org/whl/{variant}")),
                );
                None
            }
            (Some(variant), Some(Index::Variant(index, url))) => {
                if *index != variant {
                    if Wheel::find(release, variant, self.platform).is_some() {
                        self.add(
                            Finding::new(Code::MissingIndex, Severity::Error, format!(
                                "torch {version}+{variant} is not on the index {url}, which holds {index} builds"
                            ))
                            .help(format!("name its own index: https://download.pytorch.org/whl/{variant}")),
                        );
                    } else {
                        self.no_build(release, variant);
                    }
                    return None;
                }
                Some((variant, false))
            }
            (None, Some(Index::Variant(variant, _))) => Some((*variant, false)),
            (None, None | Some(Index::Pypi)) => {
                if let Some(variant) = release.pypi.get(&self.platform) {
                    return Some((*variant, true));
                }
                if self.platform.has_cuda() {
                    self.add(Finding::new(
                        Code::NoSuchWheel,
                        Severity::Error,
                        format!("PyPI has no file of torch {version} for {}", self.platform),
                    ));
                }
                None
            }
            // A label names the file; whether this page still lists it is another question.
            (Some(variant), Some(Index::Combined(url))) => {
                if url.ends_with("whl") {
                    self.unknown(format!(
                        "whether the page {url} lists torch {version}+{variant} is not known"
                    ))
                    .help
                    .push(format!("name its own page: https://download.pytorch.org/whl/{variant}"));
                }
                Some((variant, false))
            }
            (local, Some(Index::Combined(url))) => {
                let label = local.map_or(String::new(), |v| format!("+{v}"));
                self.unknown(format!(
                    "which file of torch {version}{label} the page {url} leads to is not known: it lists builds of every CUDA"
                ))
                .help
                .push("name the page of one build, such as https://download.pytorch.org/whl/cu128".into());
                None
            }
            (_, Some(Index::Other(url))) => {
                self.unknown(format!("what the index {url} holds is not known to the matrix"));
                None
            }
        }
    }

    pub(super) fn no_build(&mut self, release: &Release, variant: WheelVariant) {
        let version = release.version;
        let unsure = release.variant(variant).is_some_and(|v| v.unsure.contains(&self.platform));
        let listed = release.not_published.iter().find(|n| n.variant == variant.to_string());
        if unsure || listed.is_some_and(|n| n.unknown) {
            let finding = self.unknown(format!(
                "whether torch {version}+{variant} exists for {} is not known",
                self.platform
            ));
            if let Some(listed) = listed {
                finding.facts.push(Fact { text: listed.why.clone(), source: row_of(release) });
            }
            return;
        }
        let here: Vec<_> = release
            .variants
            .iter()
            .filter(|v| v.cuda.is_some() && v.build(self.platform).is_some())
            .map(|v| v.name.to_string())
            .collect();
        let elsewhere: Vec<_> = release
            .variant(variant)
            .map(|v| v.builds.iter().map(|b| b.platform.to_string()).collect())
            .unwrap_or_default();
        let mut finding = Finding::new(
            Code::NoSuchWheel,
            Severity::Error,
            if elsewhere.is_empty() {
                format!("torch {version}+{variant} was never published")
            } else {
                format!(
                    "torch {version}+{variant} was not published for {}, only for {}",
                    self.platform,
                    elsewhere.join(" and ")
                )
            },
        );
        let source = row_of(release);
        finding = finding.fact(
            if here.is_empty() {
                format!("torch {version} has no CUDA build for {}", self.platform)
            } else {
                format!("CUDA builds of torch {version} for {}: {}", self.platform, here.join(", "))
            },
            source,
        );
        if let Some(listed) = listed {
            finding = finding.fact(listed.why.clone(), row_of(release));
        }
        if let Some(best) = here.first() {
            finding = finding.help(format!("take torch {version}+{best}"));
        }
        self.add(finding);
    }

    pub(super) fn cpu_wheel(&mut self, release: &Release, from_pypi: bool) {
        let version = release.version;
        let message = if from_pypi {
            format!(
                "PyPI serves torch {version} for {} as a CPU build: it has no GPU code",
                self.platform
            )
        } else {
            format!("torch {version}+cpu has no GPU code")
        };
        let builds: Vec<_> = release
            .variants
            .iter()
            .filter(|v| v.build(self.platform).is_some())
            .map(|v| v.name.to_string())
            .collect();
        let mut finding = Finding::new(Code::CpuOnlyWheel, Severity::Error, message).fact(
            if builds.is_empty() {
                format!("torch {version} has no CUDA build for {}", self.platform)
            } else {
                format!(
                    "CUDA builds of torch {version} for {}: {}",
                    self.platform,
                    builds.join(", ")
                )
            },
            row_of(release),
        );
        if let Some(build) = builds.first() {
            finding = finding.help(format!(
                "install torch=={version}+{build} from https://download.pytorch.org/whl/{build}"
            ));
        } else if let Some(first) = self
            .matrix
            .releases
            .iter()
            .find(|r| r.variants.iter().any(|v| v.build(self.platform).is_some()))
        {
            finding = finding.help(format!(
                "the first release with a CUDA build for {} is torch {}",
                self.platform, first.version
            ));
        }
        self.add(finding);
    }

    pub(super) fn python(&mut self, wheel: Option<Wheel<'m>>) {
        let of_image = self.case.base_image.as_ref().and_then(|image| match &image.kind {
            ImageKind::Plain { python, .. } => *python,
            _ => None,
        });
        let Some(python) = self.case.python.or(of_image) else {
            return;
        };
        // Without a wheel the release may still be known: its Pythons are those of any build.
        let release = wheel.map(|w| w.release).or_else(|| {
            let version = self.case.torch.as_ref()?.release()?;
            self.matrix.release(version)
        });
        let Some(release) = release else { return };
        let tags: Vec<_> = release
            .wheels
            .iter()
            .filter(|w| w.platform == Some(self.platform))
            .flat_map(|w| &w.python)
            .collect();
        let fits = if tags.is_empty() {
            release
                .requires_python
                .parse::<pep440_rs::VersionSpecifiers>()
                .is_ok_and(|s| s.contains(&python.pep440()))
        } else {
            tags.iter().any(|tag| tag.admits(python))
        };
        if fits {
            return;
        }
        if python.free_threaded && wheel.is_some_and(|w| !w.on_pypi) {
            self.unknown(format!(
                "whether torch {} has files for Python {python} on its own index is not known: PyPI has none",
                release.version
            ));
            return;
        }
        let list = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let first = self
            .matrix
            .releases
            .iter()
            .filter(|r| {
                r.wheels.iter().any(|w| {
                    w.platform == Some(self.platform) && w.python.iter().any(|t| t.admits(python))
                })
            })
            .map(|r| r.version)
            .collect::<Vec<_>>();
        let mut finding = Finding::new(
            Code::PythonUnsupported,
            Severity::Error,
            format!(
                "torch {} has no file for Python {python} on {}",
                release.version, self.platform
            ),
        )
        .fact(
            if list.is_empty() {
                format!("requires-python {}", release.requires_python)
            } else {
                format!("its files are for {list}")
            },
            row_of(release),
        );
        if let (Some(first), Some(last)) = (first.first(), first.last()) {
            finding =
                finding.help(format!("torch {first} to {last} have files for Python {python}"));
        } else {
            finding =
                finding.help("take another Python: no torch release known has files for this one");
        }
        self.add(finding);
    }

    pub(super) fn libc(&mut self, wheel: Option<Wheel<'m>>) {
        let (Some(libc), Some(wheel)) = (environment::libc(self.case, self.matrix), wheel) else {
            return;
        };
        let Some(build) = wheel.build else { return };
        if !self.platform.is_linux() {
            return;
        }
        let name = wheel.name();
        match (libc.glibc, build.glibc) {
            (None, _) => self.add(
                Finding::new(
                    Code::GlibcTooOld,
                    Severity::Error,
                    format!(
                        "torch {name} needs glibc, and {} has another C library (musl)",
                        libc.given
                    ),
                )
                .fact("manylinux files never install on musl", "document: PEP 600")
                .help("take an image with glibc: debian, ubuntu or python:X-slim"),
            ),
            (Some(have), Some(need)) if have < need => {
                let system =
                    if libc.given.starts_with("glibc") { "the system" } else { &libc.given };
                let mut finding = Finding::new(
                    Code::GlibcTooOld,
                    Severity::Error,
                    format!("torch {name} needs glibc {need}, {system} has {have}"),
                )
                .fact(
                    format!(
                        "the file is tagged {}",
                        build.tag.as_deref().unwrap_or("without a floor")
                    ),
                    self.matrix.cite_best(&build.evidence),
                )
                .fact(format!("{system} has glibc {have}"), libc.source)
                .help(format!("take an image with glibc {need} or newer"));
                if let Some(other) = self.runs_on(wheel, have) {
                    finding = finding.help(format!("or torch {other}, which runs on glibc {have}"));
                }
                self.add(finding);
            }
            _ => (),
        }
    }

    /// The nearest build that an older C library runs: of this release, else of an older one.
    fn runs_on(&self, wheel: Wheel<'m>, have: crate::domain::Glibc) -> Option<String> {
        let releases =
            self.matrix.releases.iter().rev().filter(|r| r.version <= wheel.release.version);
        releases
            .flat_map(|r| r.variants.iter().map(move |v| (r, v)))
            .filter(|(_, v)| v.cuda.is_some() && v.official)
            .find(|(_, v)| {
                v.build(self.platform).is_some_and(|b| b.glibc.is_some_and(|need| need <= have))
            })
            .map(|(r, v)| format!("{}+{}", r.version, v.name))
    }
}
