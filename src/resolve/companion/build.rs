//! The file of a package: for which platform and Python, built with which CUDA and ABI, with what code.

use super::{Bench, OF_PYTORCH};
use crate::domain::{
    Code, CudaVersion, Finding, Glibc, Platform, PythonTag, Severity, WheelVariant,
};
use crate::matrix::{Companion, CompanionRule, CudaRule};
use crate::resolve::case::Index;
use crate::resolve::environment;
use crate::resolve::judge::{DriverMode, code_text};
use crate::resolve::physics::{self, Served};
use pep440_rs::VersionSpecifiers;
use std::str::FromStr;

impl Bench<'_, '_> {
    /// A file for this platform, Python and glibc.
    pub(super) fn file(&mut self, row: &Companion) {
        let name = self.package.name.clone();
        let from_pytorch =
            self.own_label().is_some() || matches!(self.case.index, Some(Index::Variant(..)));
        if row.sdist_only
            || row.wheels.is_empty()
            || (from_pytorch && OF_PYTORCH.contains(&name.as_str()))
        {
            return;
        }
        let here: Vec<_> =
            row.wheels.iter().filter(|w| w.platform.is_none_or(|p| p == self.platform)).collect();
        let source = self.matrix.cite_best(&row.evidence);
        if here.is_empty() {
            let elsewhere: Vec<_> =
                row.wheels.iter().filter_map(|w| w.platform).map(|p| p.to_string()).collect();
            // Some other index may hold it when one was named.
            let severity = if self.case.index.is_some() && self.case.index != Some(Index::Pypi) {
                Severity::Unknown
            } else {
                Severity::Error
            };
            let code =
                if severity == Severity::Unknown { Code::Unknown } else { Code::NoSuchWheel };
            self.add(
                Finding::new(
                    code,
                    severity,
                    format!("{name} {} has no file for {} on PyPI", row.version, self.platform),
                )
                .fact(format!("its files are for {}", elsewhere.join(", ")), source),
            );
            return;
        }
        if let Some(python) = self.case.python {
            let spec_ok = row
                .requires_python
                .as_deref()
                .and_then(|s| VersionSpecifiers::from_str(s).ok())
                .is_none_or(|s| s.contains(&python.pep440()));
            let tags: Vec<PythonTag> = here.iter().flat_map(|w| w.python.iter().copied()).collect();
            if !spec_ok || !tags.iter().any(|t| t.admits(python)) {
                let list = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let requires = row.requires_python.as_deref().unwrap_or("any Python");
                self.add(
                    Finding::new(
                        Code::PythonUnsupported,
                        Severity::Error,
                        format!("{name} {} has no file for Python {python}", row.version),
                    )
                    .fact(
                        format!("its files are for {list}; it asks for Python {requires}"),
                        source.clone(),
                    ),
                );
            }
        }
        if let Some(libc) = environment::libc(self.case, self.matrix)
            && let Some(have) = libc.glibc
        {
            let floors: Vec<Option<Glibc>> = here.iter().map(|w| Glibc::of_tag(&w.tag)).collect();
            if self.platform.is_linux()
                && !floors.is_empty()
                && floors.iter().all(|f| f.is_some_and(|f| f > have))
            {
                let need = floors.iter().flatten().min().map_or(String::new(), ToString::to_string);
                self.add(
                    Finding::new(
                        Code::GlibcTooOld,
                        Severity::Error,
                        format!(
                            "{name} {} needs glibc {need}, {} has {have}",
                            row.version, libc.given
                        ),
                    )
                    .fact(format!("its file is tagged {}", here[0].tag), source),
                );
            }
        }
    }

    pub(super) fn own_label(&self) -> Option<WheelVariant> {
        self.package.local.as_deref().and_then(|l| l.parse().ok())
    }

    /// CUDA of the package's file against torch's.
    pub(super) fn cuda(&mut self, row: &Companion, rules: &[&CompanionRule]) {
        let Some(wheel) = self.wheel else { return };
        let Some(torch_cuda) = wheel.cuda() else {
            return;
        };
        let rule =
            rules.iter().map(|r| r.cuda).find(|c| *c != CudaRule::Any).unwrap_or(CudaRule::Any);
        if rule == CudaRule::Any {
            return;
        }
        let name = self.package.name.clone();
        if self.package.local.is_some() && self.own_label().is_none() {
            self.label_cuda(rules);
            return;
        }
        let (cuda, major, whence) = self.cuda_of(row);
        let agrees = match (rule, cuda, major) {
            (CudaRule::Minor, Some(cuda), _) => cuda.series() == torch_cuda,
            (_, Some(cuda), _) => cuda.major == torch_cuda.major,
            (_, None, Some(major)) => major == torch_cuda.major,
            (_, None, None) => return,
        };
        if agrees {
            return;
        }
        if major == Some(0) {
            let finding = Finding::new(
                Code::CompanionMismatch,
                Severity::Error,
                format!(
                    "{name} {} is a CPU build ({whence}), torch {} a CUDA build",
                    row.version,
                    wheel.name()
                ),
            )
            .fact(format!("built as {whence}"), self.matrix.cite_best(&row.evidence))
            .help(format!(
                "install both from https://download.pytorch.org/whl/{}",
                wheel.variant.name
            ));
            self.add(finding);
            return;
        }
        let theirs = cuda.map_or_else(|| format!("{}.x", major.unwrap_or(0)), |c| c.to_string());
        let how = if rule == CudaRule::Minor {
            "another CUDA minor is refused at import"
        } else {
            "another CUDA major does not load"
        };
        let mut finding = Finding::new(Code::CompanionMismatch, Severity::Error, format!(
            "{name} {} ({whence}) was built with CUDA {theirs}, torch {} with CUDA {torch_cuda}", row.version, wheel.name()
        ))
        .fact(how, rules.first().map_or_else(String::new, |r| self.matrix.cite_best(&r.evidence)))
        .fact(format!("built as {whence}"), self.matrix.cite_best(&row.evidence));
        if OF_PYTORCH.contains(&name.as_str()) {
            finding = finding.help(format!(
                "install both from https://download.pytorch.org/whl/{}",
                wheel.variant.name
            ));
        } else if let Some(major) = major {
            finding = finding.help(format!("take a torch build of CUDA {major}"));
        }
        self.add(finding);
    }

    /// CUDA of the file that the install line gets: by its label, by the index, or PyPI's.
    /// A major of zero stands for a CPU build.
    pub(super) fn cuda_of(&self, row: &Companion) -> (Option<CudaVersion>, Option<u16>, String) {
        let from_variant = |variant: WheelVariant, whence: String| match variant.cuda() {
            Some(cuda) => (Some(cuda), Some(cuda.major), whence),
            None => (None, Some(0), whence),
        };
        if let Some(label) = self.own_label() {
            return from_variant(label, format!("{}+{label}", row.version));
        }
        if OF_PYTORCH.contains(&row.package.as_str()) || row.package == "torchcodec" {
            if let Some(Index::Variant(variant, _)) = &self.case.index {
                return from_variant(*variant, format!("the {variant} index"));
            }
            if let Some(built) = row.built_as.get(&self.platform) {
                let label = built.split_once('+').and_then(|(_, l)| l.parse::<WheelVariant>().ok());
                return match label {
                    Some(label) => from_variant(label, format!("PyPI's file, {built}")),
                    // An unlabelled Linux build is a CPU build on Arm, and CUDA-free by design otherwise.
                    None if self.platform == Platform::LinuxArm64 => {
                        (None, Some(0), format!("PyPI's file, {built}"))
                    }
                    None => (None, None, built.clone()),
                };
            }
            // vision and audio are published beside torch, in the same builds.
            let beside = self.wheel.and_then(|w| w.release.pypi.get(&self.platform).copied());
            return match beside {
                Some(variant) if OF_PYTORCH.contains(&row.package.as_str()) => {
                    from_variant(variant, format!("PyPI's file, a {variant} build"))
                }
                _ => (None, None, String::new()),
            };
        }
        if let Some(cuda) = row.cuda {
            return (Some(cuda), Some(cuda.major), format!("built with CUDA {cuda}"));
        }
        (
            None,
            row.cuda_major,
            row.cuda_major.map_or(String::new(), |m| format!("built with CUDA {m}")),
        )
    }

    /// Labels such as `cu12torch2.6cxx11abiFALSE` when there is no row: the CUDA in them still counts.
    pub(super) fn label_cuda(&mut self, rules: &[&CompanionRule]) {
        let (Some(wheel), Some(local)) = (self.wheel, self.package.local.as_deref()) else {
            return;
        };
        let Some(torch_cuda) = wheel.cuda() else {
            return;
        };
        if local.to_ascii_lowercase().contains("torch")
            || rules.iter().all(|r| r.cuda == CudaRule::Any)
        {
            return;
        }
        let Some(theirs) = local.parse::<WheelVariant>().ok().and_then(WheelVariant::cuda) else {
            return;
        };
        if theirs.major != torch_cuda.major {
            let name = &self.package.name;
            let finding = Finding::new(
                Code::CompanionMismatch,
                Severity::Error,
                format!(
                    "{name} is built with CUDA {theirs}, torch {} with CUDA {torch_cuda}",
                    wheel.name()
                ),
            );
            self.add(finding);
        }
    }

    /// `cu12torch2.6cxx11abiFALSE`: names of flash-attn's own files.
    pub(super) fn label_of_wheel(&mut self) {
        let (Some(wheel), Some(local)) = (self.wheel, self.package.local.clone()) else {
            return;
        };
        let lower = local.to_ascii_lowercase();
        let Some((cuda, rest)) = lower.split_once("torch") else {
            return;
        };
        let name = self.package.name.clone();
        let (line, abi) = rest.split_once("cxx11abi").unwrap_or((rest, ""));
        let torch = wheel.release.version;
        if let (Some(torch_cuda), Some(theirs)) = (wheel.cuda(), cuda.strip_prefix("cu")) {
            // `cu12`, `cu122`, `cu118`: the first two digits are the major.
            let major: Option<u16> = theirs.get(..2).and_then(|m| m.parse().ok());
            if major.is_some_and(|m| m != torch_cuda.major) {
                let finding = Finding::new(
                    Code::CompanionMismatch,
                    Severity::Error,
                    format!(
                        "{name} +{local} was built with CUDA {}, torch {} with CUDA {torch_cuda}",
                        major.unwrap_or(0),
                        wheel.name()
                    ),
                )
                .help(format!("take a file whose name says cu{}", torch_cuda.major));
                self.add(finding);
            }
        }
        let own_line = format!("{}.{}", torch.major, torch.minor);
        if line != own_line && !line.starts_with(&format!("{own_line}.")) {
            let finding = Finding::new(
                Code::CompanionMismatch,
                Severity::Error,
                format!("{name} +{local} was built for torch {line}, not {torch}"),
            )
            .help(format!("take a file whose name says torch{own_line}"));
            self.add(finding);
        }
        let theirs = match abi {
            "true" => true,
            "false" => false,
            _ => return,
        };
        let Some(own) = wheel.release.cxx11_abi(wheel.variant, self.platform) else {
            return;
        };
        if own != theirs {
            let word = |new: bool| if new { "TRUE" } else { "FALSE" };
            let finding = Finding::new(Code::AbiMismatch, Severity::Error, format!(
                "{name} +{local} uses the {} C++ string ABI, torch {} the {} one", if theirs { "new" } else { "old" }, wheel.name(), if own { "new" } else { "old" }
            ))
            .fact("torch wheels use the old ABI up to 2.5, the new one in 2.6.0+cu126 and from 2.7 on", self.matrix.cite_best(&wheel.variant.evidence))
            .help(format!("take a file whose name says cxx11abi{}", word(own)));
            self.add(finding);
        }
    }

    /// Code of its own for each card.
    pub(super) fn code(&mut self, row: &Companion) {
        if row.code.sass.is_none() {
            return;
        }
        let name = self.package.name.clone();
        for gpu in &self.case.gpus {
            let served = physics::served(self.matrix, &row.code, None, gpu.capability);
            let fails = match served {
                Served::Nothing => Some("no code"),
                Served::Ptx(_) if self.mode == Some(DriverMode::MinorCompat) => {
                    Some("PTX only, which this driver does not compile")
                }
                _ => None,
            };
            if let Some(why) = fails {
                let finding = Finding::new(
                    Code::CompanionMismatch,
                    Severity::Error,
                    format!(
                        "{name} {} has {why} for {} (compute capability {})",
                        row.version, gpu.name, gpu.capability
                    ),
                )
                .fact(
                    format!("its code: {}", code_text(&row.code)),
                    self.matrix.cite_best(&row.evidence),
                )
                .help(format!("build {name} from source for this card, or do without it"));
                self.findings.push(finding);
            }
        }
    }

    /// bitsandbytes carries one library for each CUDA minor.
    pub(super) fn libraries(&mut self, row: &Companion, rules: &[&CompanionRule]) {
        let Some(cuda) = self.wheel.and_then(|w| w.cuda()) else {
            return;
        };
        let list = row
            .cuda_libraries
            .get(&self.platform)
            .or_else(|| row.cuda_libraries.get(&Platform::LinuxAmd64));
        let Some(list) = list.filter(|l| !l.is_empty()) else {
            return;
        };
        let wanted = self
            .case
            .env
            .iter()
            .find(|(k, _)| k == "BNB_CUDA_VERSION")
            .and_then(|(_, v)| format!("cu{v}").parse::<WheelVariant>().ok()?.cuda());
        let cuda = wanted.unwrap_or(cuda);
        let of_major = rules.iter().any(|r| r.cuda == CudaRule::Major)
            && list.iter().any(|l| l.major == cuda.major && *l <= cuda);
        if list.contains(&cuda) || of_major {
            return;
        }
        let name = &self.package.name;
        let text = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut finding = Finding::new(
            Code::CompanionMismatch,
            Severity::Error,
            format!("{name} {} has no library for CUDA {cuda}", row.version),
        )
        .fact(format!("it has libraries for CUDA {text}"), self.matrix.cite_best(&row.evidence));
        let other = self
            .matrix
            .companions(name)
            .iter()
            .rev()
            .find(|c| c.cuda_libraries.get(&self.platform).is_some_and(|l| l.contains(&cuda)));
        if let Some(other) = other {
            finding = finding.help(format!("take {name}=={}", other.version));
        }
        self.add(finding);
    }
}
