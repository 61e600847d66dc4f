//! The kernel driver: installed, loaded, of the right age and flavour for the cards.

use super::view::{counted, only};
use super::{Outcome, Subject, errors};
use crate::domain::{Code, DriverVersion, Finding, Order as _, Severity};
use crate::host::Told;
use crate::resolve::case::Case;

/// `driver-loaded`: the kernel module is there.
pub fn loaded(subject: &Subject<'_>) -> Outcome {
    let facts = subject.facts;
    if subject.in_wsl() {
        return match subject.driver() {
            Some(driver) => Outcome::Passed(format!("{}, of Windows", driver.value)),
            None => Outcome::Apart,
        };
    }
    if let Some(module) = &facts.module {
        let flavour =
            module.value.flavour.map_or(String::new(), |f| format!(", {f} kernel module"));
        return Outcome::Passed(format!("{}{flavour}", module.value.driver));
    }
    if subject.is_jetson() && subject.loaded("nvgpu") == Some(true) {
        return Outcome::Passed("nvgpu, of JetPack".into());
    }
    if let Some(driver) = subject.driver() {
        return Outcome::Passed(driver.value.to_string());
    }
    let said_so = subject.nvml_failure().is_some_and(|f| f.code == Some(9));
    if subject.loaded("nvidia") != Some(false) && !said_so {
        return Outcome::Skipped("no source told of a kernel module".into());
    }
    // Without a card nothing is missing, and a foreign driver on it has been told of.
    let no_card = facts.pci.as_ref().is_some_and(|pci| pci.value.is_empty());
    if no_card && !said_so || errors(&super::gpu::bound(subject)) {
        return Outcome::Apart;
    }
    Outcome::Found(vec![not_loaded(subject)])
}

fn not_loaded(subject: &Subject<'_>) -> Finding {
    let facts = subject.facts;
    let loader = &facts.loader;
    let installed = !facts.module_files.is_empty()
        || !loader.libcuda.is_empty()
        || !loader.libnvidia_ml.is_empty()
        || subject.nvml_failure().is_some();
    let source = facts.loaded.as_ref().map_or("NVML", |loaded| loaded.source.as_str());
    if subject.in_container() {
        return Finding::new(
            Code::NoDriver,
            Severity::Error,
            "the host of this container has no NVIDIA driver loaded",
        )
        .fact("no module nvidia", source)
        .help("install or load the driver on the host: it never comes from the image")
        .help("run `gpuseal doctor` on the host");
    }
    let log = |words: &[&str]| {
        let hit = |line: &&String| words.iter().any(|word| line.contains(word));
        subject.kernel_log().iter().rev().find(hit)
    };
    // "module verification failed ... tainting kernel" is said of a module that is loaded all the same.
    let unsigned =
        log(&["Key was rejected", "Required key not available", "Loading of unsigned module"])
            .filter(|_| facts.system.secure_boot != Some(false));
    if !installed {
        return Finding::new(
            Code::NoDriver,
            Severity::Error,
            "there is an NVIDIA card, and no driver for it is installed",
        )
        .fact("no module nvidia, and none of the driver's libraries", source)
        .help("install the driver as your distribution packages it (Ubuntu: `sudo ubuntu-drivers install`), then reboot");
    }
    let kernel = facts.system.kernel.as_deref();
    let files = &facts.module_files;
    let not_built =
        !files.is_empty() && files.iter().all(|file| Some(file.kernel.as_str()) != kernel);
    let message = if unsigned.is_some() {
        "the driver is installed, and Secure Boot keeps its kernel module out: the module is not signed with a key that this machine trusts"
    } else if not_built {
        "the driver is installed, and its kernel module was not built for the kernel that is running"
    } else {
        "the driver is installed, and its kernel module is not loaded"
    };
    let mut finding =
        Finding::new(Code::DriverState, Severity::Error, message).fact("no module nvidia", source);
    if let Some(kernel) = kernel {
        finding = finding.fact(format!("the running kernel is {kernel}"), "uname");
    }
    for file in files.iter().take(3).filter(|_| not_built) {
        finding = finding.fact(format!("a module for {}", file.kernel), "/lib/modules");
    }
    let odd = ["Unknown symbol", "disagrees about version", "failed", "error"];
    if let Some(line) = unsigned.or_else(|| log(&odd)) {
        finding = finding.fact(line.clone(), "kernel log");
    }
    let rebuild = "build it: `sudo apt install linux-headers-$(uname -r)` (Fedora, RHEL: kernel-devel), then `sudo dkms autoinstall` and `sudo modprobe nvidia`";
    if not_built {
        finding =
            finding.help(rebuild).help("or start the kernel before the update, in the boot menu");
    } else if unsigned.is_none() {
        finding = finding.help("`sudo modprobe nvidia` loads it, or says why not");
        if files.is_empty() {
            finding = finding.help(format!("after an update of the kernel `dkms status` shows whether it was built for it; if not, {rebuild}"));
        }
    }
    if facts.system.secure_boot == Some(true) {
        finding = finding.fact("Secure Boot is on", "EFI variables");
    }
    if facts.system.secure_boot == Some(true) || unsigned.is_some() {
        finding = finding.help(
            "where Secure Boot is on: enrol the key that signs the module (`sudo mokutil --import /var/lib/shim-signed/mok/MOK.der`, then reboot and confirm), take the distribution's signed packages, or turn Secure Boot off",
        );
    }
    if subject.loaded("nouveau") == Some(true) {
        finding = finding.help("nouveau is loaded: blacklist it and rebuild the initramfs");
    }
    finding
}

/// Cards of the machine with driver and kernel module, as `check` would be asked.
fn case(subject: &Subject<'_>) -> Case {
    let flavour = subject.facts.module.as_ref().and_then(|m| m.value.flavour);
    Case { gpus: subject.physical(), torch: None, python: None, module: flavour, ..subject.case() }
}

const ABOUT_CARDS: &[Code] =
    &[Code::KernelModuleMismatch, Code::DriverTooOldForGpu, Code::DriverTooNew];

/// `driver-drives-cards`: branch and flavour of the module fit every card.
pub fn drives_cards(subject: &Subject<'_>) -> Outcome {
    let Some(driver) = subject.driver() else { return Outcome::Apart };
    let mut findings = from_log(subject, &driver);
    let gpus = subject.physical();
    if gpus.is_empty() && findings.is_empty() {
        return Outcome::Skipped("no card was named that the matrix knows".into());
    }
    // Windows' drivers have numbers of their own, and Jetson's come with JetPack.
    if !subject.in_wsl() && !subject.is_jetson() {
        for finding in only(subject.judged(&case(subject)).findings, ABOUT_CARDS) {
            let told = findings.iter_mut().find(|f: &&mut Finding| f.code == finding.code);
            match told {
                Some(known) => {
                    known.message.clone_from(&finding.message);
                    known.facts.extend(finding.facts);
                    // The table names a branch where the log only says that there is one.
                    if known.code == Code::DriverTooNew {
                        known.help = finding.help;
                    }
                }
                None => findings.push(finding),
            }
        }
    }
    // CUDA that works on the card has the last word.
    if subject.cuda_works()
        && subject.cuda().map_or(0, |c| c.devices.len())
            >= subject.facts.pci.as_ref().map_or(0, |p| p.value.len())
    {
        for finding in findings.iter_mut().filter(|f| f.severity == Severity::Error) {
            finding.severity = Severity::Warning;
        }
    }
    findings.retain(|f| f.severity <= Severity::Warning);
    // A second, old card beside working ones does not stop them.
    if !subject.devices().is_empty() && subject.cuda_works() {
        for finding in &mut findings {
            finding.severity = finding.severity.max(Severity::Warning);
        }
    }
    if findings.is_empty() {
        let names: Vec<_> = gpus.iter().map(|g| g.name.as_str()).collect();
        Outcome::Passed(format!("drives {}", counted(names)))
    } else {
        findings.order_by_key(|f| f.severity);
        Outcome::Found(findings)
    }
}

/// What the kernel module itself said about a card that it does not drive.
fn from_log(subject: &Subject<'_>, driver: &Told<DriverVersion>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let version = driver.value;
    // A log also holds what was true before the driver was exchanged.
    let cards = subject.facts.pci.as_ref().map_or(0, |pci| pci.value.len());
    if cards > 0 && subject.devices().len() >= cards {
        return findings;
    }
    for line in subject.kernel_log() {
        let found = if line.contains("requires use of the NVIDIA open kernel modules") {
            Some((
                Code::KernelModuleMismatch,
                format!(
                    "driver {version} is loaded with the proprietary kernel module, and the card works with the open one only"
                ),
                format!(
                    "install the open flavour of the driver (Ubuntu: nvidia-driver-{}-open), then reboot",
                    version.branch
                ),
            ))
        } else if line.contains("not supported by open nvidia.ko")
            || line.contains("does not include the required GPU System Processor")
        {
            Some((
                Code::KernelModuleMismatch,
                format!(
                    "driver {version} is loaded with the open kernel module, and the card works with the proprietary one only"
                ),
                format!(
                    "install the proprietary flavour of the driver (Ubuntu: nvidia-driver-{}), then reboot",
                    version.branch
                ),
            ))
        } else if line.contains("Legacy driver")
            || line.contains("legacy driver")
            || line.contains("Legacy GPU")
        {
            Some((
                Code::DriverTooNew,
                format!("driver {version} no longer drives the card"),
                "install the legacy branch that the kernel log names".to_owned(),
            ))
        } else {
            None
        };
        if let Some((code, message, help)) = found
            && !findings.iter().any(|f| f.code == code)
        {
            findings.push(
                Finding::new(code, Severity::Error, message)
                    .fact(line.clone(), "kernel log")
                    .help(help),
            );
        }
    }
    findings
}

/// Whether branch or flavour of the driver says why it leaves a card alone.
pub fn explains_cards(subject: &Subject<'_>) -> bool {
    matches!(drives_cards(subject), Outcome::Found(_))
}

/// `driver-started-cards`: the firmware of every card came up.
pub fn started(subject: &Subject<'_>) -> Outcome {
    let failed = subject.kernel_log().iter().rev().find(|line| {
        line.contains("RmInitAdapter failed") || line.contains("rm_init_adapter failed")
    });
    let Some(line) = failed else { return Outcome::Apart };
    // A log also tells of a module that has gone since.
    if subject.driver().is_none() && subject.loaded("nvidia") == Some(false) {
        return Outcome::Apart;
    }
    let gone = subject.devices().is_empty() || !super::gpu::seen_all(subject);
    if explains_cards(subject) || errors(&super::gpu::alive(subject)) || !gone {
        return Outcome::Apart;
    }
    let severity = if subject.devices().is_empty() { Severity::Error } else { Severity::Warning };
    Outcome::Found(vec![
        Finding::new(Code::DriverState, severity, "the driver is loaded, and could not start a card")
            .fact(line.clone(), "kernel log")
            .help("switch the machine off and on; in a virtual machine, also the host")
            .help("`dmesg | grep NVRM` has the lines before it: firmware missing, PCI memory too small (in a virtual machine), or a dead card"),
    ])
}

/// `driver-restart`: the module on disk is the one that is loaded.
pub fn restart(subject: &Subject<'_>) -> Outcome {
    let Some(module) = &subject.facts.module else { return Outcome::Apart };
    let Some(on_disk) = module.value.on_disk else { return Outcome::Apart };
    let loaded = module.value.driver;
    if on_disk == loaded {
        return Outcome::Passed("the module on disk is the one that is loaded".into());
    }
    // As long as the libraries are still the old ones, everything goes on.
    let works = subject.cuda_works() || subject.nvml().is_some_and(|n| !n.devices.is_empty());
    let severity = if works { Severity::Warning } else { Severity::Error };
    Outcome::Found(vec![
        Finding::new(Code::DriverLibraryMismatch, severity, format!(
            "driver {on_disk} is installed, and {loaded} is still loaded: it was changed without a reboot"
        ))
        .fact(format!("loaded: {loaded}"), &module.source)
        .fact(format!("on disk: {on_disk}"), "module file")
        .help("reboot")
        .help("or end everything that uses the GPU and reload: `sudo rmmod nvidia_drm nvidia_modeset nvidia_uvm nvidia && sudo modprobe nvidia`"),
    ])
}

/// `fabric`: on machines with NVSwitch, what makes the switches one fabric runs.
pub fn fabric(subject: &Subject<'_>) -> Outcome {
    let mut outcome = fabric_state(subject);
    // CUDA that starts has not waited for it: memory of other cards may be out of its reach.
    if let Outcome::Found(findings) = &mut outcome
        && subject.cuda_works()
    {
        for finding in findings {
            finding.severity = finding.severity.max(Severity::Warning);
        }
    }
    outcome
}

fn fabric_state(subject: &Subject<'_>) -> Outcome {
    let devices = subject.devices();
    let grace = |name: &str| name.contains("GB200") || name.contains("GB300");
    let rack = devices.iter().any(|d| grace(&d.name));
    let states: Vec<&str> = devices.iter().filter_map(|d| d.fabric.as_deref()).collect();
    let open = states.iter().find(|state| **state != "completed");
    let not_ready = subject.cuda_code() == Some(802);
    let switched = not_ready
        || !states.is_empty()
        || devices.len() >= 8
            && devices.iter().all(|d| {
                d.name.contains("SXM") || d.name.contains("HBM3") || d.name.contains("B200")
            });
    if !switched {
        return Outcome::Apart;
    }
    let services = &subject.facts.services;
    let driver = subject.driver().map(|d| d.value);
    if rack {
        let imex = services.get("nvidia-imex");
        return match (not_ready || open.is_some(), imex) {
            (true, _) => {
                let mut finding = Finding::new(Code::FabricManager, Severity::Error, "the NVLink fabric of this rack machine is not up: CUDA waits for it");
                if let Some(state) = open {
                    finding = finding.fact(format!("fabric state: {state}"), "NVML");
                }
                if let Some(imex) = imex.filter(|i| !i.value.running) {
                    finding = finding.fact("nvidia-imex does not run", &imex.source);
                }
                Outcome::Found(vec![finding
                    .help("ask whoever runs the rack: the fabric is made on the switch trays, not by a Fabric Manager of this machine")
                    .help("start IMEX, with its nodes_config.cfg of the whole domain: `sudo systemctl start nvidia-imex`")])
            }
            (false, Some(imex)) if !imex.value.running => Outcome::Found(vec![Finding::new(
                Code::FabricManager,
                Severity::Warning,
                "nvidia-imex does not run: one machine computes without it, memory is not shared with others",
            )
            .fact("nvidia-imex does not run", &imex.source)
            .help("`sudo systemctl enable --now nvidia-imex`")]),
            _ => Outcome::Passed("the NVLink fabric is up".into()),
        };
    }
    let manager = services.get("nvidia-fabricmanager");
    let runs = manager.map(|m| m.value.running);
    let other = manager.and_then(|m| {
        let version: DriverVersion = m.value.version.as_deref()?.parse().ok()?;
        (Some(version) != driver).then_some(version)
    });
    let ready = !not_ready && open.is_none() && (subject.cuda_works() || !states.is_empty());
    let finding = |message: String| {
        let mut finding = Finding::new(Code::FabricManager, Severity::Error, message);
        if let Some(failure) = subject.cuda_failure() {
            finding = finding.fact(format!("{}: {}", failure.call, failure.text), "libcuda");
        }
        if let Some(state) = open {
            finding = finding.fact(format!("fabric state: {state}"), "NVML");
        }
        finding
    };
    let package = driver
        .map_or("nvidia-fabricmanager".into(), |d| format!("nvidia-fabricmanager of exactly {d}"));
    let found = match (runs, other) {
        (_, Some(other)) if !ready => finding(format!(
            "Fabric Manager is of version {other}, and the driver of {}: they must be the same", driver.map_or_else(|| "another".into(), |d| d.to_string())
        ))
        .help(format!("install {package}, then `sudo systemctl restart nvidia-fabricmanager`")),
        (Some(false), _) if !ready => finding("the cards are connected by NVSwitch, and Fabric Manager does not run: CUDA refuses to start".into())
            .help("start it: `sudo systemctl enable --now nvidia-fabricmanager`")
            .help(format!("when it is missing or does not start: install {package}")),
        (Some(true), _) if not_ready || open.is_some() => finding("Fabric Manager runs, and the NVSwitch fabric is not ready".into())
            .help("wait some minutes after a start; then `sudo journalctl -u nvidia-fabricmanager` says what is wrong"),
        (None, _) if not_ready || open.is_some() => {
            let more = if subject.in_container() { "on the host of this container" } else { "on this machine" };
            finding(format!("the cards are connected by NVSwitch, and the fabric is not ready: Fabric Manager is missing or still starting {more}"))
                .help(format!("install {package}, then `sudo systemctl enable --now nvidia-fabricmanager`"))
                .help("in a virtual machine that got its cards from a shared fabric, its host has to start it")
        }
        _ if ready => return Outcome::Passed("the NVSwitch fabric is up".into()),
        _ => return Outcome::Skipped("nothing told the state of the NVSwitch fabric".into()),
    };
    Outcome::Found(vec![found])
}
