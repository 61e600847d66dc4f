//! Which devices the process is shown.

use super::view::only;
use super::{Outcome, Subject, errors, follows};
use crate::domain::{Code, Finding, Severity, shown};
use crate::resolve::case::Case;

/// `visible-devices`: CUDA_VISIBLE_DEVICES names devices that are there.
pub fn visible(subject: &Subject<'_>) -> Outcome {
    let Some(value) = subject.var("CUDA_VISIBLE_DEVICES") else { return Outcome::Apart };
    let case = Case { env: vec![("CUDA_VISIBLE_DEVICES".into(), value.into())], ..Case::default() };
    let mut findings =
        only(crate::resolve::judge(&case, subject.matrix).findings, &[Code::EnvPath]);
    if !findings.is_empty() {
        // A scheduler sets this for a job without a GPU.
        if let Some(job) = &subject.facts.job
            && job.value.kind == "slurm"
        {
            findings[0]
                .help
                .insert(0, "Slurm sets it for a job that asked for no GPU: `--gres=gpu:1`".into());
        }
        return Outcome::Found(findings);
    }
    let devices = subject.devices();
    let entries: Vec<&str> = value.trim_matches(['"', '\'']).split(',').map(str::trim).collect();
    let count = devices.len();
    let uuids = entries.first().is_some_and(|e| e.starts_with("GPU-") || e.starts_with("MIG-"));
    let seen = subject.cuda().map(|cuda| cuda.devices.len());
    let none = seen == Some(0) || subject.cuda_code() == Some(100);
    if uuids {
        return if none {
            Outcome::Found(vec![
                Finding::new(Code::EnvPath, Severity::Error, format!("CUDA_VISIBLE_DEVICES=`{}` names no device of this machine: CUDA is shown none", shown(value)))
                    .fact("no device of this name answers", "libcuda")
                    .help("`nvidia-smi -L` lists the names that are valid now: a card that was replaced and a MIG instance that was made again have new ones")
                    .help("or unset CUDA_VISIBLE_DEVICES"),
            ])
        } else {
            Outcome::Passed(format!("CUDA_VISIBLE_DEVICES={}", shown(value)))
        };
    }
    // MIG instances are counted otherwise; without NVML nobody knows how many there are.
    if count == 0 || devices.iter().any(|d| d.mig == Some(true)) {
        return Outcome::Skipped(
            "how many devices CUDA_VISIBLE_DEVICES may name is not known".into(),
        );
    }
    let bad = entries.iter().position(|entry| entry.parse::<usize>().map_or(true, |n| n >= count));
    let Some(bad) = bad else {
        return Outcome::Passed(format!("CUDA_VISIBLE_DEVICES={}", shown(value)));
    };
    let last = count - 1;
    let severity = if bad == 0 { Severity::Error } else { Severity::Warning };
    let hides = if bad == 0 {
        "every GPU is hidden".to_owned()
    } else {
        format!("it and all behind it are hidden, {bad} of {count} remain")
    };
    Outcome::Found(vec![
        Finding::new(
            Code::EnvPath,
            severity,
            format!(
                "CUDA_VISIBLE_DEVICES=`{}`: there is no device `{}`, so {hides}",
                shown(value),
                shown(entries[bad])
            ),
        )
        .fact(
            format!("{count} device{}, counted from 0", if count == 1 { "" } else { "s" }),
            "NVML",
        )
        .fact(
            "devices from the first invalid entry on are hidden",
            "document: CUDA Programming Guide, environment variables",
        )
        .help(if last == 0 {
            "set CUDA_VISIBLE_DEVICES=0, or unset it".into()
        } else {
            format!("name devices from 0 to {last}, or unset CUDA_VISIBLE_DEVICES")
        }),
    ])
}

/// `devices-counted`: CUDA shows this process as many devices as the driver has.
pub fn counted(subject: &Subject<'_>) -> Outcome {
    let (Some(cuda), Some(nvml)) = (subject.cuda(), subject.nvml()) else { return Outcome::Apart };
    let (here, all) = (cuda.devices.len(), nvml.devices.len());
    let cut = nvml.devices.iter().any(|d| d.mig == Some(true));
    if cuda.failure.is_some() || here == 0 || cut || subject.var("CUDA_VISIBLE_DEVICES").is_some() {
        return Outcome::Apart;
    }
    if here >= all {
        return Outcome::Passed(match all {
            1 => "CUDA shows the device".into(),
            _ => format!("CUDA shows all {all} devices"),
        });
    }
    // A card that is taken or broken has been told of.
    if errors(&super::gpu::alive(subject)) {
        return Outcome::Apart;
    }
    Outcome::Found(vec![
        Finding::new(Code::NoDevice, Severity::Warning, format!("the driver has {all} devices, and CUDA shows this process {here}"))
            .help("a card that is too old for this libcuda, or that another program has in exclusive mode, is left out; `nvidia-smi` lists them all"),
    ])
}

/// `device-order`: with cards of several kinds, an index means different cards to CUDA and nvidia-smi.
pub fn order(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let mixed = devices.windows(2).any(|pair| pair[0].name != pair[1].name);
    let by_index = subject
        .var("CUDA_VISIBLE_DEVICES")
        .is_some_and(|v| v.bytes().any(|b| b.is_ascii_digit()) && !v.contains('-'));
    if !mixed || !by_index || subject.var("CUDA_DEVICE_ORDER") == Some("PCI_BUS_ID") {
        return Outcome::Apart;
    }
    Outcome::Found(vec![
        Finding::new(Code::EnvPath, Severity::Note, "the cards differ, and CUDA counts them from the fastest, nvidia-smi by their place on the bus: an index may mean another card")
            .help("set CUDA_DEVICE_ORDER=PCI_BUS_ID beside CUDA_VISIBLE_DEVICES"),
    ])
}

/// `torch-sees-devices`: torch.cuda.is_available() is true, and counts what libcuda counts.
pub fn torch_sees(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    let Some(told) = torch.told() else { return Outcome::Apart };
    let Some(available) = told.available else {
        return Outcome::Skipped("torch was not asked for its devices".into());
    };
    let count = told.device_count.unwrap_or(u32::from(available));
    if available && count > 0 {
        return Outcome::Passed(format!(
            "torch.cuda.is_available() is True, {count} device{}",
            if count == 1 { "" } else { "s" }
        ));
    }
    if let Some(note) = follows(subject, "torch-sees-devices", "torch.cuda.is_available() is False")
    {
        return note;
    }
    let driver = told.said.iter().any(|line| line.contains("driver on your system is too old"));
    let code = if driver { Code::DriverTooOld } else { Code::NoDevice };
    let mut finding = Finding::new(
        code,
        Severity::Error,
        if driver {
            "torch finds the driver too old".to_owned()
        } else if subject.cuda_works() {
            format!("libcuda sees a device, and torch {} says there is none", torch.version)
        } else {
            format!("torch {} sees no GPU", torch.version)
        },
    );
    for line in told.said.iter().take(3) {
        finding = finding.fact(shown(line), "torch");
    }
    Outcome::Found(vec![finding
        .help("`python -c 'import torch; torch.zeros(1).cuda()'` prints the reason in full; `gpuseal diagnose` reads it")])
}
