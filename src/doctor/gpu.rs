//! The card: is it there, healthy and free.

use super::view::counted;
use super::{Outcome, Subject};
use crate::domain::{Code, Finding, Severity, shown};
use crate::host::Device;

/// `gpu-present`: there is an NVIDIA card at all.
pub fn present(subject: &Subject<'_>) -> Outcome {
    let facts = subject.facts;
    if let Some(platform) = facts.system.platform.filter(|p| !p.has_cuda()) {
        return Outcome::Found(vec![
            Finding::new(
                Code::NoCudaPlatform,
                Severity::Error,
                format!("there is no CUDA for {platform}"),
            )
            .help("run this on Linux or Windows with an NVIDIA card; a Mac runs torch on its CPU or by MPS"),
        ]);
    }
    let names: Vec<&str> = subject.devices().iter().map(|d| d.name.as_str()).collect();
    if let Some(model) = &facts.system.jetson {
        return Outcome::Passed(shown(model));
    }
    let count = facts.pci.as_ref().map(|pci| pci.value.len());
    let known = subject.physical();
    match count {
        _ if !names.is_empty() => Outcome::Passed(counted(names)),
        Some(count) if count > 0 => {
            let names: Vec<_> = known.iter().map(|g| g.name.as_str()).collect();
            let names = if names.is_empty() { "an NVIDIA card".into() } else { names.join(", ") };
            Outcome::Passed(format!("{count} on the PCI bus: {names}"))
        }
        // Windows keeps the bus to itself.
        _ if subject.in_wsl() => {
            let node = facts.nodes.as_ref().map(|n| n.value.iter().any(|n| n.path == "/dev/dxg"));
            match node {
                Some(false) if subject.in_container() => Outcome::Found(vec![
                    Finding::new(
                        Code::NoDevice,
                        Severity::Error,
                        "the container was started without the GPU: there is no /dev/dxg in it",
                    )
                    .help("start it with `docker run --gpus all` (Compose: `deploy.resources.reservations.devices`)")
                    .help("when that fails, run `gpuseal doctor` outside of the container, in WSL: Windows needs NVIDIA's driver, and Docker NVIDIA's container toolkit"),
                ]),
                Some(false) => Outcome::Found(vec![
                    Finding::new(
                        Code::NoDriver,
                        Severity::Error,
                        "Windows gives this Linux no GPU: there is no /dev/dxg",
                    )
                    .help("install NVIDIA's driver in Windows, then `wsl --update` and `wsl --shutdown`; WSL 1 has no GPU: `wsl --set-version DISTRIBUTION 2`"),
                ]),
                _ => Outcome::Skipped("below WSL the card is seen by the driver alone".into()),
            }
        }
        Some(_) if facts.module.is_some() => Outcome::Found(vec![
            Finding::new(
                Code::NoDevice,
                Severity::Error,
                "the driver is loaded, and no NVIDIA card is on the PCI bus",
            )
            .help("in a virtual machine: hand a card through to it")
            .help("look with `lspci -d 10de:`; reseat the card or its power cable when it is gone"),
        ]),
        Some(_) => Outcome::Found(vec![
            Finding::new(
                Code::NoDriver,
                Severity::Error,
                "there is no NVIDIA card here and no NVIDIA driver",
            )
            .help("run `gpuseal doctor` on the machine with the GPU, or inside its container")
            .help("in a virtual machine or cloud instance: take a type that has a GPU"),
        ]),
        None => Outcome::Skipped("nobody looked at the PCI bus, and no driver named a card".into()),
    }
}

/// `gpu-bound`: the NVIDIA driver has each card, and nobody else.
pub fn bound(subject: &Subject<'_>) -> Outcome {
    let Some(pci) = subject.facts.pci.as_ref().filter(|pci| !pci.value.is_empty()) else {
        return Outcome::Apart;
    };
    let with = |name: &str| pci.value.iter().filter(|c| c.driver.as_deref() == Some(name)).count();
    let (ours, all) = (with("nvidia"), pci.value.len());
    let severity = if ours == 0 { Severity::Error } else { Severity::Note };
    let of =
        |count: usize| if all == 1 { "the card".into() } else { format!("{count} of {all} cards") };
    if with("vfio-pci") > 0 {
        let held = with("vfio-pci");
        return Outcome::Found(vec![
            Finding::new(Code::DriverState, severity, format!(
                "vfio-pci holds {}: it is set aside for a virtual machine, and the NVIDIA driver of this system does not get it", of(held)
            ))
            .fact(format!("bound to vfio-pci: {}", addresses(pci, "vfio-pci")), &pci.source)
            .help("work inside that virtual machine")
            .help("or take its id out of `vfio-pci.ids=` in the kernel's command line and /etc/modprobe.d, and start again"),
        ]);
    }
    if with("nouveau") > 0 {
        return Outcome::Found(vec![
            Finding::new(Code::DriverState, severity, format!(
                "nouveau, the free driver of the kernel, holds {}: CUDA needs NVIDIA's", of(with("nouveau"))
            ))
            .fact(format!("bound to nouveau: {}", addresses(pci, "nouveau")), &pci.source)
            .help("install NVIDIA's driver where it is missing, as your distribution packages it")
            .help("keep nouveau out: `blacklist nouveau` and `options nouveau modeset=0` in /etc/modprobe.d/nouveau.conf, then `update-initramfs -u` (or `dracut --force`) and a reboot"),
        ]);
    }
    let logged = matches!(super::driver::started(subject), Outcome::Found(_));
    let unbound = pci.value.iter().filter(|c| c.driver.is_none()).count();
    // Why the module does not take a card is a question of later checks; without module it is theirs alone.
    if unbound > 0 && ours > 0 && !super::driver::explains_cards(subject) && !logged {
        return Outcome::Found(vec![
            Finding::new(
                Code::DriverState,
                Severity::Warning,
                format!("the NVIDIA driver drives {ours} of {all} cards"),
            )
            .fact(
                format!(
                    "bound to nothing: {}",
                    pci.value
                        .iter()
                        .filter(|c| c.driver.is_none())
                        .map(|c| c.address.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                &pci.source,
            )
            .help("`dmesg | grep NVRM` says why the driver left it"),
        ]);
    }
    if ours == all { Outcome::Passed("bound to the NVIDIA driver".into()) } else { Outcome::Apart }
}

fn addresses(pci: &crate::host::Told<Vec<crate::host::PciCard>>, driver: &str) -> String {
    let held = pci.value.iter().filter(|c| c.driver.as_deref() == Some(driver));
    held.map(|c| c.address.as_str()).collect::<Vec<_>>().join(", ")
}

/// `gpu-alive`: no card has fallen off the bus or is lost to the driver.
pub fn alive(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let lost: Vec<&Device> = devices
        .iter()
        .filter(|d| {
            d.failure.as_ref().is_some_and(|f| {
                matches!(f.code, Some(15 | 16)) || f.text.to_ascii_lowercase().contains("lost")
            })
        })
        .collect();
    let logged = xids(subject, 79);
    // A log also tells of a card that has come back since.
    let all_answer =
        !devices.is_empty() && devices.iter().all(|d| d.failure.is_none()) && seen_all(subject);
    let nvml_lost = subject.nvml_failure().is_some_and(|f| matches!(f.code, Some(15 | 16)));
    if lost.is_empty() && !nvml_lost && (logged.is_empty() || all_answer) {
        return match devices.len() {
            0 => Outcome::Skipped("no driver answered about the state of the card".into()),
            1 => Outcome::Passed("it answers".into()),
            _ => Outcome::Passed("all of them answer".into()),
        };
    }
    let reset = subject.nvml_failure().or_else(|| lost.first()?.failure.as_ref());
    let name = lost.first().map_or_else(|| "a card".to_owned(), |d| named(d));
    let message = if reset.is_some_and(|f| f.code == Some(16)) {
        format!("{name} needs a reset before it works again")
    } else {
        format!("{name} has fallen off the PCI bus: the driver cannot reach it any more")
    };
    let mut finding = Finding::new(Code::HardwareFault, Severity::Error, message);
    if let Some(failure) = reset {
        finding = finding.fact(format!("{}: {}", failure.call, failure.text), "NVML");
    }
    if let Some(line) = logged.last() {
        finding = finding.fact((*line).clone(), "kernel log");
    }
    if reset.is_some_and(|f| f.code == Some(16)) {
        let number = lost.first().and_then(|d| devices.iter().position(|other| other == *d));
        let number = number.map_or_else(|| "NUMBER".into(), |n| n.to_string());
        finding = finding.help(format!(
            "end what runs on it and reset it: `sudo nvidia-smi --gpu-reset -i {number}`"
        ));
    }
    Outcome::Found(vec![
        finding
            .help("switch the machine off and on: a reboot alone does not always bring the card back")
            .help("when it comes again: check power cables, seat and temperature of the card, then have it replaced"),
    ])
}

/// NVML shows as many devices as the bus has, or as many as this container or job was given.
pub fn seen_all(subject: &Subject<'_>) -> bool {
    let part = subject.in_container() || subject.facts.job.is_some();
    let cards = subject.facts.pci.as_ref().map_or(0, |pci| pci.value.len());
    part || subject.devices().len() >= cards
}

/// `gpu-memory-errors`: ECC, remapped rows and the Xids that go with them.
pub fn memory_errors(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let mut findings = Vec::new();
    for device in devices {
        let name = named(device);
        if device.remap_failed == Some(true) {
            findings.push(
                Finding::new(
                    Code::HardwareFault,
                    Severity::Error,
                    format!("the memory of {name} is worn out: a bad row could not be replaced"),
                )
                .fact("row remapping failed", "NVML")
                .help("take the card out of service and have it replaced"),
            );
        } else if let Some(count) = device.ecc_uncorrected.filter(|count| *count > 0) {
            findings.push(
                Finding::new(Code::HardwareFault, Severity::Error, format!("{name} has reported {count} uncorrectable memory errors since the driver was loaded"))
                    .fact(format!("uncorrected volatile ECC errors: {count}"), "NVML")
                    .help("end what runs on it and reset it: `nvidia-smi --gpu-reset`, or reboot; bad rows are replaced by that")
                    .help("when the count grows again: have the card replaced"),
            );
        } else if device.remap_pending == Some(true) {
            findings.push(
                Finding::new(
                    Code::HardwareFault,
                    Severity::Warning,
                    format!("{name} waits for a reset to replace a bad row of its memory"),
                )
                .fact("row remapping is pending", "NVML")
                .help("reset it when nothing runs on it: `nvidia-smi --gpu-reset`, or reboot"),
            );
        }
    }
    // Counters that say zero refute an old line of the log.
    let clean = !devices.is_empty()
        && devices.iter().all(|d| d.ecc_uncorrected == Some(0) && d.remap_failed != Some(true));
    for (xid, what, severity) in [
        (48, "an uncorrectable memory error", Severity::Error),
        (64, "a bad row of memory that could not be recorded for replacement", Severity::Error),
        (95, "an uncontained memory error", Severity::Error),
        (63, "a bad row of memory, which the next reset replaces", Severity::Warning),
        (94, "a memory error that ended one program", Severity::Warning),
        (74, "an error on an NVLink", Severity::Warning),
    ] {
        let lines = xids(subject, xid);
        let Some(line) = lines.last() else { continue };
        // The counters have told of it already.
        if !findings.is_empty() {
            break;
        }
        let past = clean && severity == Severity::Error;
        let severity = if past { Severity::Warning } else { severity };
        let since = if past { ", and its counters have been clean since" } else { "" };
        findings.push(
            Finding::new(
                Code::HardwareFault,
                severity,
                format!("a card has reported {what}: Xid {xid}{since}"),
            )
            .fact((*line).clone(), "kernel log")
            .help("reset the card or reboot; when it comes again, have the card replaced"),
        );
    }
    if !findings.is_empty() {
        Outcome::Found(findings)
    } else if devices.iter().any(|d| d.ecc_uncorrected.is_some() || d.remap_failed.is_some()) {
        Outcome::Passed("no memory errors".into())
    } else {
        // GeForce cards count none, and who did not answer has been told of.
        Outcome::Apart
    }
}

/// `gpu-cool`: clocks are not held down by heat or power supply.
pub fn cool(subject: &Subject<'_>) -> Outcome {
    let hot = |reason: &&String| {
        let reason = reason.to_ascii_uppercase();
        reason.contains("THERMAL")
            || reason.contains("HW_SLOWDOWN")
            || reason.contains("POWER_BRAKE")
    };
    let mut findings = Vec::new();
    for device in subject.devices() {
        let reasons: Vec<_> = device.throttled.iter().filter(hot).cloned().collect();
        if reasons.is_empty() {
            continue;
        }
        let heat = device.temperature.map_or(String::new(), |t| format!(" at {t} °C"));
        findings.push(
            Finding::new(Code::Slow, Severity::Warning, format!("{} holds its clocks down{heat}: it works, and slowly", named(device)))
                .fact(reasons.join(", "), "NVML")
                .help("look at fans, air flow and power supply; `nvidia-smi -q -d PERFORMANCE` shows the reasons"),
        );
    }
    if findings.is_empty() { Outcome::Apart } else { Outcome::Found(findings) }
}

/// Bytes below which hardly a CUDA context starts, and in which no model fits.
const LITTLE: u64 = 512 << 20;

/// `gpu-free`: nobody keeps this process off the cards.
pub fn free(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let (mut findings, mut taken) = (Vec::new(), Vec::new());
    for (at, device) in devices.iter().enumerate() {
        let told = findings.len();
        let name = named(device);
        let mode = device.compute_mode.as_deref().unwrap_or_default().to_ascii_lowercase();
        let holders = holders(device);
        // Whoever computed here was not kept out.
        let computed = subject.proven();
        if mode.contains("prohibited") && !computed {
            findings.push(
                Finding::new(
                    Code::DeviceBusy,
                    Severity::Error,
                    format!("compute mode of {name} is Prohibited: no program may compute on it"),
                )
                .fact("compute mode Prohibited", "NVML")
                .help("`sudo nvidia-smi -c DEFAULT`, or another card by CUDA_VISIBLE_DEVICES"),
            );
        } else if mode.contains("exclusive") && !computed && held_alone(device) {
            findings.push(
                Finding::new(
                    Code::DeviceBusy,
                    Severity::Error,
                    format!("{name} is in exclusive mode, and {holders} has it"),
                )
                .fact(
                    format!("compute mode {}", device.compute_mode.as_deref().unwrap_or_default()),
                    "NVML",
                )
                .help("wait for it or end it; or take another card by CUDA_VISIBLE_DEVICES")
                .help("`sudo nvidia-smi -c DEFAULT` lets several programs share the card"),
            );
        } else if let (Some(total), Some(used)) = (device.memory_total, device.memory_used)
            && device.mig != Some(true)
            && total > 2 * LITTLE
            && total.saturating_sub(used) < LITTLE
        {
            findings.push(
                Finding::new(
                    Code::DeviceBusy,
                    if computed { Severity::Warning } else { Severity::Error },
                    format!(
                        "the memory of {name} is full: {} of {} MiB, by {holders}",
                        used >> 20,
                        total >> 20
                    ),
                )
                .fact(format!("{} MiB are free", (total - used) >> 20), "NVML")
                .help(
                    "end the program that holds it, or take another card by CUDA_VISIBLE_DEVICES",
                ),
            );
        }
        if findings.len() > told {
            taken.push(at);
        }
    }
    // One free card is enough to work with.
    if let Some(free) = (0..devices.len()).find(|at| !taken.contains(at)) {
        for finding in &mut findings {
            finding.severity = Severity::Warning;
            if subject.var("CUDA_VISIBLE_DEVICES").is_none() {
                let choose = format!(
                    "take a free card: CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={free}"
                );
                finding.help.insert(0, choose);
            }
        }
    }
    if !findings.is_empty() {
        Outcome::Found(findings)
    } else if devices.iter().any(|d| d.compute_mode.is_some() || d.memory_used.is_some()) {
        Outcome::Passed("free".into())
    } else if devices.is_empty() {
        Outcome::Apart
    } else {
        Outcome::Skipped("whether others use the card was not told".into())
    }
}

/// A program has the card to itself. The server of the Multi-Process Service shares it with every
/// program that asks it.
fn held_alone(device: &Device) -> bool {
    let list = device.processes.as_deref().unwrap_or_default();
    let server = |name: &str| name.contains("nvidia-cuda-mps");
    !list.is_empty() && !list.iter().any(|p| p.name.as_deref().is_some_and(server))
}

/// `python (12.3 GiB)`, or what is known of who holds a card.
fn holders(device: &Device) -> String {
    let list = device.processes.as_deref().unwrap_or_default();
    if list.is_empty() {
        return "a program that is not visible from here".into();
    }
    let each = list.iter().take(3).map(|p| {
        let name = shown(p.name.as_deref().unwrap_or("a program"));
        format!("{name} (process {})", p.pid)
    });
    each.collect::<Vec<_>>().join(", ")
}

/// `gpu-mig`: a card that is cut has at least one piece.
pub fn mig(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let cut: Vec<_> = devices.iter().filter(|d| d.mig == Some(true)).collect();
    if cut.is_empty() {
        return Outcome::Apart;
    }
    let empty: Vec<_> = cut.iter().filter(|d| d.mig_instances.is_empty()).collect();
    let others = devices.len() > empty.len();
    if empty.is_empty() {
        let names: Vec<_> = cut.iter().flat_map(|d| &d.mig_instances).map(String::as_str).collect();
        return Outcome::Passed(format!("MIG: {}; a process uses one of them", counted(names)));
    }
    // CUDA that sees a piece has one, whatever NVML may show here.
    if subject.cuda_works() && !others {
        return Outcome::Passed("MIG: this process has an instance".into());
    }
    let severity = if others { Severity::Warning } else { Severity::Error };
    Outcome::Found(vec![
        Finding::new(Code::NoDevice, severity, format!(
            "{} is in MIG mode and has no MIG instance: CUDA finds nothing on it to compute with", named(empty[0])
        ))
        .fact("MIG mode on, no instances", "NVML")
        .help("make an instance: `sudo nvidia-smi mig -lgip` lists profiles, `sudo nvidia-smi mig -cgi PROFILE -C` makes one")
        .help("or use the whole card: `sudo nvidia-smi -mig 0`"),
    ])
}

/// Lines of the kernel log with this Xid.
fn xids<'s>(subject: &Subject<'s>, xid: u32) -> Vec<&'s String> {
    let number = |line: &str| -> Option<u32> {
        let rest = &line[line.find("Xid")?..];
        let rest = &rest[rest.find("): ")? + 3..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    subject.kernel_log().iter().filter(|line| number(line) == Some(xid)).collect()
}

/// A device, told apart from others of its product.
fn named(device: &Device) -> String {
    let name = if device.name.is_empty() { "a card".into() } else { shown(&device.name) };
    match &device.address {
        Some(at) => format!("{name} at {}", shown(at)),
        None => name,
    }
}
