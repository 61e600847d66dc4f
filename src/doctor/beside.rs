//! What is installed beside torch: its companions, the nvidia-* packages, cuDNN.

use std::collections::BTreeSet;

use super::install::{pip, same_again};
use super::view::{Build, only};
use super::wheel::has_code;
use super::{Outcome, Subject};
use crate::domain::{Code, CudnnVersion, Finding, Gather as _, Platform, Severity};
use crate::resolve::case::Case;
use crate::resolve::judge;
use crate::resolve::judge::code_text;
use crate::resolve::physics::{self, Served};

/// `torch-companions`: what lives on torch belongs to it.
pub fn companions(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch().filter(|t| t.wheel) else { return Outcome::Apart };
    if matches!(torch.build, Build::Cpu | Build::Foreign(_)) {
        return Outcome::Apart;
    }
    let with = subject.companions();
    if with.is_empty() {
        return Outcome::Apart;
    }
    let names: Vec<_> = with.iter().map(|p| p.name.clone()).collect();
    let case = Case { with, driver: None, gpus: Vec::new(), ..subject.case() };
    // A product of torch's proves nothing about the packages beside it.
    let judgement = judge(&case, subject.matrix);
    let mut findings = only(judgement.findings, &[Code::CompanionMismatch, Code::AbiMismatch]);
    findings.retain(|f| f.severity < Severity::Note);
    if findings.is_empty() {
        Outcome::Passed(format!("{} fit torch", names.join(", ")))
    } else {
        Outcome::Found(findings)
    }
}

/// `cuda-packages`: the nvidia-* packages are those that torch pins, all of one CUDA.
pub fn cuda_packages(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch().filter(|t| t.wheel) else { return Outcome::Apart };
    let Build::Cuda(cuda) = torch.build else { return Outcome::Apart };
    let ours: Vec<(&String, &String)> =
        torch.python.packages.iter().filter(|(name, _)| name.starts_with("nvidia-")).collect();
    if ours.is_empty() {
        return Outcome::Apart;
    }
    let mut findings = Vec::new();
    let major = |name: &str| name.rsplit_once("-cu").and_then(|(_, n)| n.parse::<u16>().ok());
    let other: BTreeSet<_> =
        ours.iter().filter_map(|(name, _)| major(name)).filter(|m| *m != cuda.major).gather();
    for major in other {
        let names: Vec<_> = ours
            .iter()
            .filter(|(n, _)| n.ends_with(&format!("-cu{major}")))
            .map(|(n, _)| n.as_str())
            .take(4)
            .collect();
        findings.push(
            Finding::new(
                Code::CompanionMismatch,
                Severity::Warning,
                format!(
                    "packages of CUDA {major} stand beside a torch of CUDA {cuda}: {}",
                    names.join(", ")
                ),
            )
            .help(format!(
                "remove what nothing else needs: `{} uninstall {}`",
                pip(torch.python),
                names.join(" ")
            )),
        );
    }
    let release = torch.release().and_then(|r| subject.matrix.release(r));
    let variant = release.and_then(|r| r.variants.iter().find(|v| v.cuda == Some(cuda.series())));
    let pins = || variant.and_then(|v| v.requires.as_ref()).into_iter().flatten();
    // A list from a paste may leave some out; files do not.
    let read = torch.python.torch.is_some() && subject.case().platform() == Platform::LinuxAmd64;
    let absent: Vec<_> = pins()
        .map(|(name, _)| name.as_str())
        .filter(|name| read && name.starts_with("nvidia-") && !name.contains('['))
        .filter(|name| !torch.python.packages.contains_key(*name))
        .collect();
    if !absent.is_empty() {
        findings.push(
            Finding::new(
                Code::CompanionMismatch,
                Severity::Warning,
                format!(
                    "torch {} asks for packages that are not installed: {}",
                    torch.version,
                    absent.join(", ")
                ),
            )
            .help(format!(
                "install it again with its dependencies: `{}`",
                same_again(subject, &torch)
            )),
        );
    }
    // A cuDNN without code for the card is told of by its own check.
    let told = matches!(cudnn(subject), Outcome::Found(_));
    for (name, spec) in pins().filter(|(name, _)| !told || !name.contains("cudnn")) {
        let Some((_, installed)) = ours.iter().find(|(n, _)| *n == name) else { continue };
        let (Ok(spec), Ok(version)) =
            (spec.parse::<pep440_rs::VersionSpecifiers>(), installed.parse::<pep440_rs::Version>())
        else {
            continue;
        };
        if spec.contains(&version) {
            continue;
        }
        findings.push(
            Finding::new(
                Code::CompanionMismatch,
                Severity::Warning,
                format!(
                    "{name} {installed} is installed, torch {} pins {name}{spec}",
                    torch.version
                ),
            )
            .fact(
                format!("{name}{spec} stands in torch's metadata"),
                release.map_or_else(String::new, |r| format!("matrix row torch/{}", r.version)),
            )
            .help(format!("`{} install \"{name}{spec}\"`", pip(torch.python))),
        );
    }
    if findings.is_empty() {
        Outcome::Passed("its nvidia-* packages are those that it pins".into())
    } else {
        Outcome::Found(findings)
    }
}

/// `cudnn-has-code`: the cuDNN beside torch has code for the cards.
pub fn cudnn(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch().filter(|t| t.wheel) else { return Outcome::Apart };
    let Build::Cuda(cuda) = torch.build else { return Outcome::Apart };
    let name = format!("nvidia-cudnn-cu{}", cuda.major);
    let installed = torch.python.packages.get(&name);
    let pinned = || judge(&subject.case(), subject.matrix).wheel?.variant.cudnn;
    let version = installed.and_then(|v| v.parse::<CudnnVersion>().ok()).or_else(pinned);
    let row = version.and_then(|version| subject.matrix.cudnn(version, cuda.major));
    let Some(row) = row else { return Outcome::Apart };
    // Where torch itself has no code for a card, its cuDNN matters no more.
    let lacks = |list: &[Finding]| list.iter().any(|f| f.code == Code::ArchNotInBinary);
    if matches!(has_code(subject), Outcome::Found(list) if lacks(&list)) {
        return Outcome::Apart;
    }
    let platform = subject.case().platform();
    let code = row.code.get(&platform).filter(|_| row.measured);
    let mut findings = Vec::new();
    for card in subject.cards() {
        let (why, severity) = match (code, row.min) {
            (Some(code), _)
                if physics::served(subject.matrix, code, None, card.capability)
                    == Served::Nothing =>
            {
                (format!("its code: {}", code_text(code)), Severity::Error)
            }
            (None, Some(min)) if card.capability < min => {
                (format!("it starts at compute capability {min}"), Severity::Warning)
            }
            _ => continue,
        };
        let of_torch = pinned().filter(|own| *own != row.version);
        let mut finding = Finding::new(Code::CudnnMismatch, severity, format!(
            "cuDNN {} has no code for {} (compute capability {}): convolutions fail, though products may work", row.version, card.name, card.capability
        ))
        .fact(why, subject.matrix.cite_best(&row.evidence));
        finding = match of_torch {
            Some(own) => finding.help(format!(
                "install the one that torch {} pins: `{} install {name}=={own}`",
                torch.version,
                pip(torch.python)
            )),
            None => finding.help("take a build of torch with a cuDNN that serves the card"),
        };
        findings.push(finding);
    }
    if findings.is_empty() { Outcome::Apart } else { Outcome::Found(findings) }
}
