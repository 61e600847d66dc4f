//! What the versions in a text alone say, though no message does.

use std::collections::BTreeMap;

use super::Said;
use super::advice::for_cause;
use super::situation::Situation;
use crate::doctor::{Link, Outcome, Subject, examine};
use crate::domain::{Code, DriverSpec, Finding, Order as _, Severity};
use crate::host::Answer;
use crate::matrix::{CodeList, Matrix};
use crate::resolve::case::Case;
use crate::resolve::judge;
use crate::resolve::physics::{self, Served};

/// The combination that a text tells, as far as it can be judged.
pub fn case(said: &Said, matrix: &Matrix) -> Case {
    let here = Situation::of(said, &BTreeMap::new(), matrix);
    // A card that is only spoken of may stand in another machine.
    let gpus = if said.mentioned { Vec::new() } else { here.case().gpus };
    Case { gpus, ..here.case() }
}

/// What is certainly broken on the machine that a text tells, with the fix. Nothing that the text
/// contradicts, and nothing about what it cannot show.
pub fn hidden(said: &Said, matrix: &Matrix) -> Vec<Finding> {
    let mut findings = of_versions(said, matrix);
    let known = !findings.is_empty();
    // That torch sees no GPU follows from what is known.
    findings.extend(
        of_machine(said, matrix).into_iter().filter(|f| !(known && f.code == Code::NoDevice)),
    );
    // The earlier link of the chain first.
    findings.order_by_key(|finding| finding.code);
    findings
}

/// What the checks of `doctor` find broken below torch: card, drivers, container, selection.
fn of_machine(said: &Said, matrix: &Matrix) -> Vec<Finding> {
    // Cards that are only spoken of are on no machine.
    if said.mentioned {
        return Vec::new();
    }
    let report = examine(&Subject { facts: &said.facts, matrix, lock: None });
    let below = |link: Link| link < Link::Toolkit || link == Link::Selection;
    let checks = report.checks.into_iter().filter(|checked| below(checked.check.link));
    checks
        .flat_map(|checked| match checked.outcome {
            Outcome::Found(findings) => findings,
            _ => Vec::new(),
        })
        .filter(|finding| finding.severity == Severity::Error)
        .collect()
}

/// What the matrix says of card, driver, torch and what stands beside it.
fn of_versions(said: &Said, matrix: &Matrix) -> Vec<Finding> {
    let here = Situation::of(said, &BTreeMap::new(), matrix);
    // What was only asked for need not be what runs; other accelerators have other rules.
    if said.wanted.contains_key("torch") || here.torch.is_none() || here.foreign || here.jetson {
        return Vec::new();
    }
    let case = case(said, matrix);
    let mut findings: Vec<Finding> = Vec::new();
    // Of a version without a label only its index could tell which build it is.
    if here.variant().is_some() {
        findings = judge(&case, matrix).findings;
        findings.retain(|f| f.severity == Severity::Error && certain(f.code, said));
    }
    told_code(&here, &case, &mut findings);
    for finding in &mut findings {
        // A CUDA version stands for a branch: its first release is not what the text says.
        let driver = case.driver.as_ref().map(|driver| driver.spec);
        if let (Code::DriverTooOld, Some(DriverSpec::Cuda(has)), Some(torch), Some(cuda)) =
            (finding.code, driver, &here.torch, here.cuda)
        {
            finding.message = format!(
                "torch {torch} is built with CUDA {cuda}; the driver implements CUDA {has}, which is too old for it"
            );
        }
        let fix = for_cause(finding.code, said, &BTreeMap::new(), matrix).fix;
        if !fix.is_empty() {
            finding.help = fix;
        }
    }
    if findings.is_empty() {
        return elsewhere(said, matrix);
    }
    findings
}

/// The other environments of a text, each alone: whose the driver and the cards are is not said.
fn elsewhere(said: &Said, matrix: &Matrix) -> Vec<Finding> {
    let others = said.facts.pythons.iter().skip(1).take(8);
    others
        .flat_map(|python| {
            let mut facts = said.facts.clone();
            facts.pythons = vec![python.clone()];
            (facts.smi, facts.nvml, facts.module) = (None, None, None);
            let told = python.imported.as_ref().and_then(Answer::told);
            let available = told.and_then(|told| told.available);
            of_versions(&Said { facts, available, ..said.clone() }, matrix)
        })
        .collect()
}

/// Whether a paste can show this. What is installed and imported has a file for its Python and its C
/// library; a card that a program lists is driven.
fn certain(code: Code, said: &Said) -> bool {
    let works = said.available == Some(true);
    let python = said.facts.pythons.first();
    match code {
        // conda's builds carry other code than those of the same name on the wheel index.
        Code::ArchNotInBinary | Code::CudnnMismatch => {
            python.is_some_and(|python| python.kind != "conda")
        }
        Code::CpuOnlyWheel => !works && (said.available == Some(false) || shows_nvidia(said)),
        Code::DriverTooOld => !works,
        Code::CompanionMismatch => python.is_some_and(|python| python.torch.is_some()),
        Code::EnvPath => said.available == Some(false),
        _ => false,
    }
}

/// torch's own list of its code counts before the matrix.
fn told_code(here: &Situation<'_>, case: &Case, findings: &mut Vec<Finding>) {
    let Some(list) = here.arch_list.as_deref().filter(|list| !list.is_empty()) else { return };
    findings.retain(|finding| finding.code != Code::ArchNotInBinary);
    let (ptx, sass): (Vec<_>, Vec<_>) = list.iter().copied().partition(|target| target.ptx);
    let code = CodeList { sass: Some(sass), ptx: Some(ptx) };
    for gpu in &case.gpus {
        if physics::served(here.matrix, &code, None, gpu.capability) == Served::Nothing {
            let names: Vec<_> = list.iter().map(ToString::to_string).collect();
            let message = format!(
                "this torch has no code that {} (compute capability {}) can run",
                gpu.name, gpu.capability
            );
            let finding = Finding::new(Code::ArchNotInBinary, Severity::Error, message);
            findings.insert(0, finding.fact(format!("its code: {}", names.join(" ")), "the text"));
        }
    }
}

/// Whether anything of NVIDIA shows in the text: a card, a driver.
fn shows_nvidia(said: &Said) -> bool {
    let facts = &said.facts;
    let told = facts.smi.as_ref().and_then(Answer::told);
    facts.module.is_some()
        || facts.nvml.is_some()
        || told.is_some_and(|smi| smi.driver.is_some() || !smi.devices.is_empty())
}
