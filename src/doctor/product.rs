//! A small matrix product of integers on every device: the only proof that all of it works.

use super::view::counted;
use super::{Outcome, Subject, follows};
use crate::domain::{Code, Finding, Order as _, Severity, shown};
use crate::host::Answer;

/// `product`: the product is right on every device that torch sees.
pub fn product(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else {
        return Outcome::Skipped("there is no torch to compute with".into());
    };
    let told = match &torch.python.imported {
        None => return Outcome::Skipped("torch was not run".into()),
        Some(Answer::Told(told)) => told,
        Some(_) => return Outcome::Skipped("torch could not be imported".into()),
    };
    let products = &told.products;
    let mut findings = Vec::new();
    for product in products {
        let device = format!("device {} ({})", product.device, shown(&product.name));
        if product.right == Some(false) {
            findings.push(
                Finding::new(Code::WrongResult, Severity::Error, format!("{device} computed a wrong matrix product of small integers"))
                    .fact("every element is an exact integer, so nothing was rounded", "torch")
                    .help("run it again: a fault that comes and goes is the card's memory or its clocks; set overclocking back")
                    .help("take the card out of service when it stays"),
            );
        } else if let Some(error) = &product.error {
            let words = shown(error);
            match follows(subject, "product", &format!("the product on {device} fails: {words}")) {
                Some(Outcome::Found(notes)) => findings.extend(notes),
                _ => findings.push(failed(&device, &words)),
            }
        }
    }
    if products.iter().any(|p| p.right == Some(true)) {
        // Others work: the machine does, but for this card. That torch has no code for it was told.
        let told = matches!(super::wheel::has_code(subject), Outcome::Found(_));
        findings.retain(|f| !told || f.code != Code::ArchNotInBinary);
        for finding in findings.iter_mut().filter(|f| f.code != Code::WrongResult) {
            finding.severity = finding.severity.max(Severity::Warning);
        }
    }
    if !findings.is_empty() {
        findings.order_by_key(|f| f.severity);
        return Outcome::Found(findings);
    }
    let right: Vec<_> = products.iter().filter(|p| p.right == Some(true)).collect();
    if right.is_empty() {
        return Outcome::Skipped("torch saw no device to compute on".into());
    }
    let names = counted(right.iter().map(|p| p.name.as_str()));
    let memory = right.iter().filter_map(|p| p.memory);
    let memory: Vec<_> =
        memory.map(|(used, total)| format!("{} of {} MiB", used >> 20, total >> 20)).collect();
    let memory = counted(memory.iter().map(String::as_str));
    let memory = if memory.is_empty() { memory } else { format!("; memory in use: {memory}") };
    Outcome::Passed(format!("a matrix product was exact on {names}{memory}"))
}

/// torch raised on a device, and no other check says why.
fn failed(device: &str, words: &str) -> Finding {
    let lower = words.to_ascii_lowercase();
    let (code, message, help) =
        if lower.contains("no kernel image") || lower.contains("invalid device function") {
            (
                Code::ArchNotInBinary,
                "torch has no code for",
                "take a build of torch with code for the card: `gpuseal resolve` finds one",
            )
        } else if lower.contains("out of memory") {
            (
                Code::OutOfMemory,
                "there was no memory for a small product on",
                "`nvidia-smi` shows who holds it",
            )
        } else if lower.contains("busy or unavailable") {
            (
                Code::DeviceBusy,
                "another program has to itself",
                "`nvidia-smi -q -d COMPUTE` shows the mode and `nvidia-smi` who holds the card",
            )
        } else if lower.contains("unsupported toolchain")
            || lower.contains("driver version is insufficient")
        {
            (
                Code::DriverTooOld,
                "the driver is too old for torch on",
                "raise the driver, or take a build of an older CUDA",
            )
        } else if lower.contains("ecc") || lower.contains("fallen off") {
            (
                Code::HardwareFault,
                "a fault of the hardware was reported by",
                "reset the card; have it replaced when it comes again",
            )
        } else {
            (
                Code::Unknown,
                "torch failed on",
                "`gpuseal diagnose` reads the whole text that torch printed",
            )
        };
    Finding::new(code, Severity::Error, format!("{message} {device}"))
        .fact(words, "torch")
        .help(help)
}
