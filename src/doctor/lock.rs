//! The lock of the project against this machine: does it run here, and is it what is installed.

use std::fmt::Write as _;

use super::view::Build;
use super::{Outcome, Subject};
use crate::domain::{Code, CudaVersion, Finding, Severity};
use crate::lock::Target;
use crate::resolve::case::{Case, Libc};
use crate::resolve::judge;

/// The name of the check that compares with what is installed.
pub const AS_LOCKED: &str = "installed-as-locked";

/// Targets of the machine's platform.
fn ours<'s>(subject: &Subject<'s>) -> Vec<&'s Target> {
    let platform = subject.facts.system.platform;
    let targets = subject.lock.iter().flat_map(|lock| &lock.targets);
    targets.filter(|t| platform.is_none_or(|p| p == t.platform)).collect()
}

/// `lock-runs-here`: the locked torch runs on every card and the driver of this machine.
pub fn runs_here(subject: &Subject<'_>) -> Outcome {
    let Some(lock) = subject.lock else { return Outcome::Apart };
    let targets = ours(subject);
    if targets.is_empty() {
        let theirs: Vec<_> =
            lock.targets.iter().map(|t| format!("`{}` ({})", t.name, t.platform)).collect();
        let here = subject
            .facts
            .system
            .platform
            .map_or_else(|| "another platform".into(), |p| p.to_string());
        return Outcome::Found(vec![
            Finding::new(
                Code::PlatformMismatch,
                Severity::Error,
                format!("this machine is {here}, and no target is for it: {}", theirs.join(", ")),
            )
            .help(format!(
                "add a target with `platform: {here}` to gpuseal.yaml, then `gpuseal lock`"
            )),
        ]);
    }
    let machine = subject.case();
    if machine.gpus.is_empty() && machine.driver.is_none() {
        return Outcome::Skipped(
            "neither a card nor a driver answered, so the lock could not be held against them"
                .into(),
        );
    }
    let mut broken = Vec::new();
    let mut runs = Vec::new();
    for target in &targets {
        match against(subject, target, &machine) {
            Ok(text) => runs.push(text),
            Err(finding) => broken.push(finding),
        }
    }
    // A lock may be for several kinds of machines: one target that runs here is enough.
    if !runs.is_empty() {
        return Outcome::Passed(runs.join("; "));
    }
    Outcome::Found(broken.into_iter().flatten().collect())
}

/// One target: what runs, or why it does not and which cards it leaves out.
fn against(subject: &Subject<'_>, target: &Target, machine: &Case) -> Result<String, Vec<Finding>> {
    let name = format!("{}+{}", target.torch, target.variant);
    let case = Case {
        torch: name.parse().ok(),
        driver: machine.driver.clone(),
        gpus: machine.gpus.clone(),
        platform: Some(target.platform),
        allow_forward_compat: target.holds_compat(),
        python: inside(subject).then_some(machine.python).flatten(),
        libc: glibc(subject),
        ..Case::default()
    };
    let judgement = judge(&case, subject.matrix);
    let stands_in_the_way = |f: &Finding| f.severity == Severity::Error;
    let mut errors: Vec<Finding> =
        judgement.findings.into_iter().filter(stands_in_the_way).collect();
    if errors.iter().any(|f| f.code == Code::ArchNotInBinary) {
        // Where torch itself has no code for a card, its cuDNN matters no more.
        errors.retain(|f| f.code != Code::CudnnMismatch);
    }
    if errors.is_empty() {
        return Ok(format!("target `{}`, torch {name}, runs on {}", target.name, cards(machine)));
    }
    let served: Vec<_> = case
        .gpus
        .iter()
        .filter(|gpu| {
            let alone = Case { gpus: vec![(*gpu).clone()], ..case.clone() };
            judge(&alone, subject.matrix).findings.iter().all(|f| f.severity != Severity::Error)
        })
        .map(|gpu| gpu.name.clone())
        .collect();
    let first = &mut errors[0];
    first.message = format!("target `{}` does not run here: {}", target.name, first.message);
    if !served.is_empty() {
        let _ = write!(first.message, "; on {} it does", served.join(", "));
        first.help.insert(
            0,
            format!("start it with CUDA_VISIBLE_DEVICES showing {} alone", served.join(", ")),
        );
    }
    let driver = case.driver.as_ref().map_or_else(String::new, |d| format!(", driver: {}", d.spec));
    let gpus: Vec<_> = case.gpus.iter().map(|g| g.name.as_str()).collect();
    first.help.push(format!(
        "name this machine in gpuseal.yaml (gpus: [{}]{driver}), then `gpuseal lock`",
        gpus.join(", ")
    ));
    Err(errors)
}

fn cards(machine: &Case) -> String {
    let names: Vec<_> = machine.gpus.iter().map(|g| g.name.as_str()).collect();
    let driver = machine.driver.as_ref().map(|d| format!("driver {}", d.spec));
    match (names.is_empty(), driver) {
        (false, Some(driver)) => format!("{} with {driver}", names.join(", ")),
        (false, None) => names.join(", "),
        (true, driver) => driver.unwrap_or_else(|| "this machine".into()),
    }
}

/// This is the place where the locked packages are installed, not only the host below their image.
fn inside(subject: &Subject<'_>) -> bool {
    let python = subject.torch().map(|t| t.python);
    subject.in_container() || python.is_some_and(|p| p.source != "PATH")
}

fn glibc(subject: &Subject<'_>) -> Option<Libc> {
    let system = &subject.facts.system;
    if !inside(subject) {
        return None;
    }
    let told = system.glibc.as_ref();
    let given = told
        .map(|g| format!("glibc {}", g.value))
        .or_else(|| system.musl.then(|| "musl".into()))?;
    Some(Libc {
        given,
        glibc: told.map(|g| g.value),
        source: told.map_or_else(|| "loader".into(), |g| g.source.clone()),
    })
}

/// `installed-as-locked`: what is installed is what was locked.
pub fn as_locked(subject: &Subject<'_>) -> Outcome {
    if subject.lock.is_none() {
        return Outcome::Apart;
    }
    let targets = ours(subject);
    let Some(torch) = subject.torch().filter(|_| inside(subject)) else {
        return Outcome::Skipped(
            "no environment of the project holds torch: what is locked is not installed here"
                .into(),
        );
    };
    let release = torch.release();
    let cuda = match &torch.build {
        Build::Cuda(cuda) => Some(*cuda),
        _ => None,
    };
    let same = |t: &&&Target| {
        Some(t.torch) == release && t.variant.cuda() == cuda.map(CudaVersion::series)
    };
    let Some(target) = targets.iter().find(same) else {
        let locked: Vec<_> =
            targets.iter().map(|t| format!("{}+{} (`{}`)", t.torch, t.variant, t.name)).collect();
        if locked.is_empty() {
            return Outcome::Apart;
        }
        return Outcome::Found(vec![
            Finding::new(Code::LockDrift, Severity::Error, format!("torch {} is installed, and locked is {}", torch.version, locked.join(" or ")))
                .fact(format!("torch {}", torch.version), &torch.python.path)
                .help("install what is locked: `gpuseal render install` writes the script, or build the image again")
                .help("or lock what is installed: name it in gpuseal.yaml, then `gpuseal lock`"),
        ]);
    };
    let mut findings = Vec::new();
    for package in target.packages.iter().filter(|p| p.name.as_str() != "torch") {
        let (Some(locked), Some(installed)) =
            (&package.version, torch.python.packages.get(package.name.as_str()))
        else {
            continue;
        };
        let differs =
            installed.parse::<pep440_rs::Version>().is_ok_and(|v| v.without_local() != *locked);
        if differs {
            findings.push(
                Finding::new(Code::LockDrift, Severity::Error, format!("{} {installed} is installed, and {locked} is locked (`{}`)", package.name, target.name))
                    .fact(format!("{} {installed}", package.name), &torch.python.path)
                    .help("install what is locked: `gpuseal render install` writes the script, or build the image again"),
            );
        }
    }
    if findings.is_empty() {
        Outcome::Passed(format!("torch and its packages are those of target `{}`", target.name))
    } else {
        Outcome::Found(findings)
    }
}
