//! The user-mode driver: which libcuda the loader picks, whether it belongs to the kernel module,
//! the device nodes it opens, and what it answers.

use super::view::{is_card_node, quoted};
use super::{Outcome, Subject, container, errors, follows};
use crate::domain::{Code, Finding, Severity};
use crate::host::{Answer, Failure, LoaderFile, Node};

/// `libcuda-found`: the loader finds a libcuda, and a real one.
pub fn found(subject: &Subject<'_>) -> Outcome {
    let facts = subject.facts;
    let loader = &facts.loader;
    let stub = subject.cuda_code() == Some(34)
        || loader.libcuda.first().is_some_and(|file| file.path.contains("/stubs/"));
    if stub {
        let path = loader.libcuda.first().map(|f| f.path.clone());
        let path = path.or_else(|| loader.stubs.first().cloned());
        let path = path.unwrap_or_else(|| "libcuda.so".into());
        let folder = path.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder).to_owned();
        return Outcome::Found(vec![
            Finding::new(Code::EnvPath, Severity::Error, "the loader finds the stub of libcuda, which is for linking only, before the driver's own")
                .fact(path, loader.libcuda.first().map_or("loader", |f| f.found_by.as_str()))
                .help(format!("take {folder} out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, then `ldconfig`")),
        ]);
    }
    if let Some(file) = shadowed_in_wsl(subject) {
        return Outcome::Found(vec![
            Finding::new(Code::LibraryShadowed, Severity::Error, "a libcuda of the distribution stands before that of Windows, and there is no Linux driver below it")
                .fact(file.path.clone(), &file.found_by)
                .fact("WSL's own stands in /usr/lib/wsl/lib", "loader")
                .help("remove the Linux driver from the distribution (`sudo apt purge 'libnvidia-compute-*' 'nvidia-driver-*'`): below WSL only Windows has a driver, and CUDA is installed without one")
                .help("then `sudo ldconfig`"),
        ]);
    }
    if let Some(cuda) = subject.cuda() {
        if errors(&belongs(subject)) {
            return Outcome::Apart;
        }
        let file = cuda.file.as_deref().unwrap_or("libcuda.so.1");
        let version = cuda.version.map_or(String::new(), |v| format!(", CUDA {v}"));
        return Outcome::Passed(format!("{file}{version}"));
    }
    let absent = matches!(facts.cuda, Some(Answer::Absent(_)));
    if !absent {
        return match facts.cuda {
            None => Outcome::Skipped("nobody asked libcuda".into()),
            Some(_) => Outcome::Apart,
        };
    }
    if subject.is_jetson() {
        return Outcome::Found(vec![
            Finding::new(
                Code::DriverState,
                Severity::Error,
                "libcuda.so.1 is not found on this Jetson",
            )
            .help(
                "`sudo apt install nvidia-l4t-cuda`; in a container: `docker run --runtime nvidia`",
            ),
        ]);
    }
    // Without module or access the container or the driver is what is missing, and they say so.
    if subject.driver().is_none() || container::explains_missing_driver(subject) {
        return Outcome::Apart;
    }
    let words = match &facts.cuda {
        Some(Answer::Absent(words)) => words.clone(),
        _ => String::new(),
    };
    let driver = subject.driver().map_or(String::new(), |d| format!(" {}", d.value));
    let finding = Finding::new(Code::DriverState, Severity::Error, format!("the kernel module{driver} is loaded, and its libcuda.so.1 is not installed: the driver is there by half"))
        .fact(words, "loader");
    // Somebody put it where nobody looks.
    if let Some(file) = loader.unsearched.iter().find(|file| file.contains("libcuda.so")) {
        let folder = file.rsplit_once('/').map_or(file.as_str(), |(folder, _)| folder);
        return Outcome::Found(vec![
            Finding::new(
                Code::DriverState,
                Severity::Error,
                format!("the driver's libcuda is in {folder}, where the loader does not look"),
            )
            .fact(file.clone(), "loader")
            .help(format!(
                "set LD_LIBRARY_PATH={0}, as some clouds' nodes and NixOS need it",
                quoted(folder)
            ))
            .help(format!(
                "or for good: `echo {0} | sudo tee /etc/ld.so.conf.d/nvidia.conf && sudo ldconfig`",
                quoted(folder)
            )),
        ]);
    }
    let finding = if subject.in_container() {
        finding.help("start the container with `--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility: libcuda comes from the host")
    } else {
        let branch =
            subject.driver().map_or_else(|| "BRANCH".into(), |d| d.value.branch.to_string());
        finding
            .help(format!("install the compute half of the same version: libnvidia-compute-{branch} on Ubuntu, libcuda1 on Debian, nvidia-driver-cuda on Fedora and RHEL"))
            .help("then `sudo ldconfig`")
    };
    Outcome::Found(vec![finding])
}

/// The libcuda of a distribution that hides WSL's.
fn shadowed_in_wsl<'s>(subject: &Subject<'s>) -> Option<&'s LoaderFile> {
    let works = subject.cuda_works();
    let first = subject.facts.loader.libcuda.first()?;
    let target = first.target.as_deref().unwrap_or(&first.path);
    let wsl = |path: &str| path.contains("/wsl/");
    (subject.in_wsl() && !works && !wsl(target) && !wsl(&first.path)).then_some(first)
}

/// A folder of cuda-compat that the loader takes libcuda from.
fn compat(subject: &Subject<'_>) -> Option<String> {
    let file = subject.cuda().and_then(|c| c.file.clone());
    let first = subject.facts.loader.libcuda.first();
    let picked = file.or_else(|| first.map(|f| f.target.clone().unwrap_or_else(|| f.path.clone())));
    let picked = picked.filter(|path| path.contains("/compat"));
    picked.or_else(|| {
        // Errors 803 and 804 without a file known: the folder that is searched.
        let suspect = matches!(subject.cuda_code(), Some(803 | 804));
        subject.facts.loader.compat.first().filter(|_| suspect).cloned()
    })
}

/// `libcuda-belongs`: the libcuda in use and the kernel module are of one driver.
pub fn belongs(subject: &Subject<'_>) -> Outcome {
    if subject.in_wsl() || subject.is_jetson() {
        return Outcome::Apart;
    }
    // Windows has one libcuda, which its driver brings.
    if subject.facts.system.platform.is_some_and(|p| !p.is_linux()) {
        return Outcome::Apart;
    }
    let Some(driver) = subject.driver() else { return Outcome::Apart };
    let file = subject.cuda().and_then(|cuda| cuda.file_version);
    let failed = subject.cuda_failure();
    let code = failed.and_then(|f| f.code);
    let path = subject.cuda().and_then(|c| c.file.clone()).unwrap_or_else(|| "libcuda.so.1".into());
    if let Some(compat) = compat(subject) {
        return forward_compat(subject, &compat, file.map(|v| v.to_string()));
    }
    let differs = file.is_some_and(|version| version != driver.value);
    let failure = |finding: Finding| match failed {
        Some(f) => finding.fact(format!("{}: {}", f.call, f.text), "libcuda"),
        None => finding,
    };
    if differs || code == Some(803) {
        let version = file.map_or_else(|| "another version".into(), |v| v.to_string());
        let packages = subject
            .facts
            .container
            .as_ref()
            .map(|c| c.value.driver_packages.as_slice())
            .unwrap_or_default();
        let severity = if subject.cuda_works() { Severity::Warning } else { Severity::Error };
        let message = if !differs {
            // The call says so; what the versions are no file tells, or both call themselves the same.
            format!(
                "libcuda says that it does not fit the kernel module, and both call themselves driver {}: one of them was replaced while it was in use",
                driver.value
            )
        } else if subject.in_container() {
            format!(
                "the image holds a libcuda of its own, of driver {version}; the host runs {}",
                driver.value
            )
        } else {
            format!("libcuda is of driver {version}, the loaded kernel module of {}", driver.value)
        };
        let mut finding = failure(
            Finding::new(Code::DriverLibraryMismatch, severity, message)
                .fact(path.clone(), "loader")
                .fact(format!("kernel module {}", driver.value), &driver.source),
        );
        if !packages.is_empty() {
            finding = finding.fact(
                format!("packages of a driver in the image: {}", packages.join(", ")),
                "dpkg",
            );
        }
        finding = if subject.in_container() && (differs || !packages.is_empty()) {
            finding.help(if packages.is_empty() {
                format!("remove {path} from the image: libcuda is mounted from the host")
            } else {
                format!(
                    "leave {} out of the image: the driver's libraries are mounted from the host",
                    packages.join(", ")
                )
            })
        } else {
            finding.help("reboot after a change of the driver, or reload its modules").help("when that changes nothing: two installations of the driver stand beside each other (packages and a .run file); remove one")
        };
        return Outcome::Found(vec![finding]);
    }
    match file {
        Some(version) => Outcome::Passed(format!("libcuda {version} is that of the kernel module")),
        None if subject.cuda_works() => {
            Outcome::Skipped("the file of libcuda names no version".into())
        }
        None => Outcome::Apart,
    }
}

fn forward_compat(subject: &Subject<'_>, compat: &str, version: Option<String>) -> Outcome {
    let driver = subject.driver().map_or_else(|| "not known".into(), |d| d.value.to_string());
    let own = subject.cuda().and_then(|c| c.version);
    let of_driver = subject.nvml().and_then(|n| n.cuda);
    let which = version.map_or(String::new(), |v| format!(" {v}"));
    let names = subject.cards().iter().map(|g| g.name.clone()).collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "the card".into() } else { names };
    let finding = |code: Code, message: String| {
        let finding = Finding::new(code, Severity::Error, message).fact(compat, "loader");
        match subject.cuda_failure() {
            Some(f) => finding.fact(format!("{}: {}", f.call, f.text), "libcuda"),
            None => finding,
        }
    };
    let away =
        "take it away: `rm -rf /usr/local/cuda*/compat` in the image, or out of LD_LIBRARY_PATH";
    match subject.cuda_code() {
        Some(804) => Outcome::Found(vec![
            finding(Code::ForwardCompatUnsupported, format!("cuda-compat{which} stands before the driver's libcuda, and {names} is not entitled to it: it is for data center cards"))
                .help(away)
                .help("or on the host: `cuda-compat-mode = \"disabled\"` in /etc/nvidia-container-runtime/config.toml")
                .help("a driver as new as the image's CUDA needs no cuda-compat"),
        ]),
        Some(803) => {
            let older = own.zip(of_driver).is_some_and(|(own, driver)| own <= driver);
            let code = if older { Code::DriverLibraryMismatch } else { Code::ForwardCompatUnsupported };
            let why = if older { "is older than the driver" } else { "does not stand on this branch of the driver" };
            Outcome::Found(vec![
                finding(code, format!("cuda-compat{which} stands before the driver's libcuda, and {why}, {driver}")).help(away),
            ])
        }
        _ if subject.cuda_works() => {
            let cuda = own.map_or(String::new(), |c| format!(" with CUDA {c}"));
            Outcome::Passed(format!("cuda-compat{which}{cuda} on driver {driver}"))
        }
        _ => Outcome::Apart,
    }
}

/// `libcuda-belongs` found a cuda-compat that works, so that the driver's own CUDA does not count.
pub fn by_compat(subject: &Subject<'_>) -> bool {
    subject.cuda_works() && compat(subject).is_some()
}

/// `device-nodes`: the nodes are there and may be opened.
pub fn nodes(subject: &Subject<'_>) -> Outcome {
    if subject.facts.system.platform.is_some_and(|p| !p.is_linux()) {
        return Outcome::Apart;
    }
    let Some(nodes) = &subject.facts.nodes else {
        return Outcome::Skipped("nobody looked at the device nodes".into());
    };
    if subject.in_wsl() || subject.is_jetson() || subject.driver().is_none() {
        return Outcome::Apart;
    }
    // A job that was given some of the cards may not open the others, and nobody needs the nodes of
    // MIG's capabilities and of displays.
    if subject.cuda_works() {
        return Outcome::Passed(openable(&nodes.value));
    }
    let needed =
        |path: &str| is_card_node(path) || matches!(path, "/dev/nvidiactl" | "/dev/nvidia-uvm");
    let refused = |word: &str| -> Vec<&Node> {
        let with = |node: &&Node| node.refused.as_deref() == Some(word) && needed(&node.path);
        let list: Vec<&Node> = nodes.value.iter().filter(with).collect();
        let cards = list.iter().filter(|node| is_card_node(&node.path)).count();
        let all = Some(cards) == subject.card_nodes() || cards < list.len();
        if all { list } else { Vec::new() }
    };
    let paths =
        |list: &[&Node]| list.iter().map(|n| n.path.as_str()).collect::<Vec<_>>().join(", ");
    let (cgroup, denied) = (refused("EPERM"), refused("EACCES"));
    if !cgroup.is_empty() {
        let container = subject.in_container();
        let finding = Finding::new(
            if container { Code::ContainerDeviceLost } else { Code::DevicePermission },
            Severity::Error,
            if container {
                "the container has lost the right to open the GPU: its device rules were rewritten, as `systemctl daemon-reload` on the host does"
            } else {
                "the kernel forbids this process to open the GPU: a cgroup of its session or job does not list it"
            },
        )
        .fact(format!("EPERM: {}", paths(&cgroup)), &nodes.source);
        return Outcome::Found(vec![if container {
            finding
                .help("start the container again: that is enough until the next daemon-reload")
                .help("for good: hand the GPU over by CDI (`docker run --device nvidia.com/gpu=all`), or name the nodes with --device, or let Docker use the cgroupfs driver")
        } else {
            finding.help(
                "ask the scheduler for a GPU (Slurm: `--gres=gpu:1`), and run inside that job",
            )
        }]);
    }
    if !denied.is_empty() {
        let mut finding = Finding::new(
            Code::DevicePermission,
            Severity::Error,
            "this user may not open the GPU's device nodes",
        );
        for node in denied.iter().take(2) {
            finding = finding.fact(format!("EACCES: {} ({})", node.path, node.mode), &nodes.source);
        }
        let open = denied.iter().all(|n| n.mode.starts_with("0666"));
        return Outcome::Found(vec![match (open, subject.in_container()) {
            (true, true) => finding
                .help("the mode is open to all, so SELinux or AppArmor forbids it: `--security-opt=label=disable`, or on the host `sudo setsebool -P container_use_devices on`"),
            (true, false) => finding.help("the mode is open to all, so SELinux or AppArmor forbids it: `sudo ausearch -m avc -ts recent` shows the rule"),
            (false, _) => finding
                .help("join the group of the nodes (`sudo usermod -aG video $USER`, then log in again)")
                .help("or open them to all, which is the driver's default: `options nvidia NVreg_DeviceFileMode=0666` in /etc/modprobe.d"),
        }]);
    }
    let cards = subject.facts.pci.as_ref().map_or(0, |pci| pci.value.len());
    if subject.card_nodes() == Some(0) && cards > 0 {
        if container::explains_missing_driver(subject) {
            return Outcome::Apart;
        }
        if !subject.in_container()
            && !super::driver::explains_cards(subject)
            && !errors(&super::gpu::bound(subject))
        {
            return Outcome::Found(vec![
                Finding::new(
                    Code::DriverState,
                    Severity::Error,
                    "the driver is loaded, and its device nodes are missing",
                )
                .fact("no /dev/nvidia0", &nodes.source)
                .help(
                    "`sudo nvidia-modprobe -c 0 -u`, or any run of nvidia-smi as root, makes them",
                )
                .help(
                    "`sudo systemctl enable --now nvidia-persistenced` makes them at every start",
                ),
            ]);
        }
        return Outcome::Apart;
    }
    let uvm = nodes.value.iter().find(|n| n.path == "/dev/nvidia-uvm");
    let broken = uvm.is_none_or(|node| node.refused.is_some());
    if broken {
        let module = subject.loaded("nvidia_uvm");
        let state = uvm.and_then(|n| n.refused.clone()).unwrap_or_else(|| "missing".into());
        let finding = Finding::new(
            if module == Some(true) && subject.in_container() { Code::ContainerDeviceLost } else { Code::DriverState },
            Severity::Error,
            if module == Some(false) {
                "the module nvidia_uvm is not loaded: nvidia-smi works without it, and CUDA does not"
            } else {
                "/dev/nvidia-uvm cannot be used: nvidia-smi works without it, and CUDA does not"
            },
        )
        .fact(format!("/dev/nvidia-uvm: {state}"), &nodes.source);
        return Outcome::Found(vec![match (module, subject.in_container()) {
            (Some(true), true) => finding.help("start the container with `--gpus all`, or with `--device /dev/nvidia-uvm` beside the other nodes"),
            (_, true) => finding.help("on the host: `sudo nvidia-modprobe -c 0 -u`, then start the container again"),
            (Some(true), false) => finding.help("`sudo nvidia-modprobe -c 0 -u` makes the node"),
            (_, false) => finding.help("`sudo modprobe nvidia_uvm`, then `sudo nvidia-modprobe -c 0 -u`").help("after a suspend: `sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`"),
        }]);
    }
    Outcome::Passed(openable(&nodes.value))
}

/// How many of the cards' nodes may be opened.
fn openable(nodes: &[Node]) -> String {
    let cards = nodes.iter().filter(|node| is_card_node(&node.path));
    let (open, all) = cards
        .fold((0, 0), |(open, all), node| (open + usize::from(node.refused.is_none()), all + 1));
    if open == all {
        return "device nodes can be opened".into();
    }
    format!("{open} of {all} device nodes of cards may be opened")
}

/// `nvml-answers`: NVML starts.
pub fn nvml(subject: &Subject<'_>) -> Outcome {
    let facts = subject.facts;
    let failure = match facts.nvml.as_ref().or(None) {
        Some(Answer::Told(nvml)) => {
            let count = nvml.devices.len();
            if count == 0 {
                return Outcome::Skipped("NVML answers, and lists no device".into());
            }
            return Outcome::Passed(format!(
                "NVML answers, {count} device{}",
                if count == 1 { "" } else { "s" }
            ));
        }
        Some(Answer::Hung(phase)) => {
            return Outcome::Found(vec![hung(subject, "NVML", phase)]);
        }
        Some(Answer::Crashed(how)) => {
            return Outcome::Found(vec![
                Finding::new(Code::DriverState, Severity::Error, format!("NVML died: {how}"))
                    .help("reinstall the driver; in a container look whether it holds a second copy of it"),
            ]);
        }
        // Nothing computes by it, and where it is missing with the rest, others say so.
        Some(Answer::Absent(words)) => {
            return Outcome::Skipped(format!(
                "NVML is not found, so nobody could ask about the state of the cards: {words}"
            ));
        }
        Some(Answer::Failed(failure)) => failure,
        None => match subject.nvml_failure() {
            Some(failure) => failure,
            None => return Outcome::Skipped("nobody asked NVML".into()),
        },
    };
    if let Some(note) =
        follows(subject, "nvml-answers", &format!("{} fails: {}", failure.call, failure.text))
    {
        return note;
    }
    // Nothing computes by NVML: where CUDA works, only the state of the cards stays unknown.
    let severity = if subject.cuda_works() { Severity::Warning } else { Severity::Error };
    let finding = |code: Code, message: &str| {
        Finding::new(code, severity, message)
            .fact(format!("{}: {}", failure.call, failure.text), "NVML")
    };
    Outcome::Found(vec![match failure.code {
        Some(18) => finding(Code::DriverLibraryMismatch, "NVML and the loaded kernel module are of different drivers: the driver was changed without a reboot")
            .help("reboot, or reload the modules of the driver"),
        Some(9) => finding(Code::DriverState, "NVML finds no driver that is loaded").help("`sudo modprobe nvidia` loads it, or says why not"),
        Some(4) => finding(Code::DevicePermission, "this user may not ask the driver: SELinux or the rights of /dev/nvidiactl forbid it")
            .help("in a container: `--security-opt=label=disable`; on a host: look at `ls -l /dev/nvidia*`"),
        Some(17) => finding(Code::ContainerDeviceLost, "the system refuses NVML the device nodes").help("start the container again"),
        Some(999) if subject.in_container() => finding(Code::ContainerDeviceLost, "NVML worked in this container once and does no longer: it lost its device nodes")
            .help("start the container again").help("for good: hand the GPU over by CDI (`--device nvidia.com/gpu=all`), or use the cgroupfs driver"),
        _ => finding(Code::DriverState, "the driver is loaded, and NVML does not start").help("`sudo dmesg | grep NVRM` says what the driver met; a reboot clears most of it"),
    }])
}

fn hung(subject: &Subject<'_>, what: &str, phase: &str) -> Finding {
    let mut finding = Finding::new(
        Code::DriverState,
        Severity::Error,
        format!("{what} does not come back: the driver hangs"),
    )
    .fact(format!("it was in {phase}"), what);
    if let Some(line) = subject.kernel_log().iter().rev().find(|line| line.contains("Xid")) {
        finding = finding.fact(line.clone(), "kernel log");
    }
    finding
        .help(
            "look for programs that hang on the GPU, and for Xid lines: `sudo dmesg | grep -i xid`",
        )
        .help("reboot; a driver in this state seldom recovers by itself")
}

/// `cuda-starts`: cuInit succeeds and shows a device.
pub fn starts(subject: &Subject<'_>) -> Outcome {
    let failure = match &subject.facts.cuda {
        None | Some(Answer::Absent(_)) => return Outcome::Apart,
        Some(Answer::Hung(phase)) => {
            return follows(
                subject,
                "cuda-starts",
                &format!("libcuda does not come back from {phase}"),
            )
            .unwrap_or_else(|| Outcome::Found(vec![hung(subject, "libcuda", phase)]));
        }
        Some(Answer::Crashed(how)) => {
            return follows(subject, "cuda-starts", &format!("libcuda died: {how}")).unwrap_or_else(|| {
                Outcome::Found(vec![
                    Finding::new(Code::DriverState, Severity::Error, format!("libcuda died: {how}"))
                        .help("reinstall the driver; in a container look whether it holds a second copy of it"),
                ])
            });
        }
        Some(Answer::Failed(failure)) => failure.clone(),
        Some(Answer::Told(cuda)) => match &cuda.failure {
            Some(failure) => failure.clone(),
            None if cuda.devices.is_empty() => Failure {
                call: "cuDeviceGetCount".into(),
                code: Some(100),
                text: "no device".into(),
            },
            None => {
                let count = cuda.devices.len();
                return Outcome::Passed(format!(
                    "CUDA starts and sees {count} device{}",
                    if count == 1 { "" } else { "s" }
                ));
            }
        },
    };
    let words = format!("{} fails: {}", failure.call, failure.text);
    follows(subject, "cuda-starts", &words)
        .unwrap_or_else(|| Outcome::Found(vec![by_status(&failure, subject.in_container())]))
}

/// A call with which CUDA starts failed, and nothing else that was found says why.
pub fn by_status(failure: &Failure, container: bool) -> Finding {
    let finding = |code: Code, message: &str| {
        Finding::new(code, Severity::Error, message)
            .fact(format!("{}: {}", failure.call, failure.text), "libcuda")
    };
    match failure.code {
        Some(34) => finding(Code::EnvPath, "the stub of libcuda was loaded, which is for linking only, and not the driver's own")
            .help("take the folder `stubs` of the toolkit out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, then `ldconfig`"),
        Some(100 | 101) if container => finding(Code::NoDevice, "the driver answers, and shows this container no GPU")
            .help("start it with `--gpus all` (Kubernetes: `nvidia.com/gpu: 1` in its limits), and run `nvidia-smi -L` inside"),
        Some(100 | 101) => finding(Code::NoDevice, "the driver answers, and shows this process no GPU")
            .help("`nvidia-smi -L` lists what the driver has; a job of a scheduler sees what it was given")
            .help("after a failed suspend or an update: reboot"),
        Some(2) => finding(Code::OutOfMemory, "there is no memory left on the GPU even to start CUDA").help("`nvidia-smi` shows who holds it"),
        Some(46) => finding(Code::DeviceBusy, "the GPU is not available: another process has it to itself, or compute is prohibited")
            .help("`nvidia-smi -q -d COMPUTE` shows the mode; `sudo nvidia-smi -c DEFAULT` lets several programs share it"),
        Some(35 | 36) => finding(Code::DriverTooOld, "the kernel module is older than what this libcuda or program asks of it").help("raise the driver, or take a build of an older CUDA"),
        Some(304) => finding(Code::DevicePermission, "the system refused a call of the driver: device nodes or their rights").help("look at `ls -l /dev/nvidia*`; in a container start it again with `--gpus all`"),
        Some(802) => finding(Code::FabricManager, "the GPUs are not ready yet: on machines with NVSwitch, Fabric Manager makes them so")
            .help("`systemctl status nvidia-fabricmanager`: it must run, in exactly the driver's version"),
        Some(803) => finding(Code::DriverLibraryMismatch, "libcuda and the kernel module are of different drivers").help("reboot after a change of the driver; in a container remove libcuda from the image"),
        Some(804) => finding(Code::ForwardCompatUnsupported, "a cuda-compat library is in use on a card that is not entitled to it").help("remove /usr/local/cuda*/compat from the image or from LD_LIBRARY_PATH"),
        Some(214) => finding(Code::HardwareFault, "the GPU reports an uncorrectable memory error").help("reset it: `sudo nvidia-smi --gpu-reset`, or reboot"),
        Some(805..=809) => finding(Code::DriverState, "CUDA is told to use the Multi-Process Service, and its daemon does not answer")
            .help("start it: `nvidia-cuda-mps-control -d`, or unset CUDA_MPS_PIPE_DIRECTORY"),
        Some(999 | 3) => finding(Code::DriverState, "the driver does not start CUDA, and gives no reason")
            .help(if container { "start the container again; when that changes nothing, on the host: `sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`" } else { "`sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`: often enough after a suspend" })
            .help("`sudo dmesg | grep NVRM` says what the driver met; a reboot clears most of it"),
        _ => finding(Code::DriverState, "the driver does not start CUDA").help("`sudo dmesg | grep NVRM` says what the driver met"),
    }
}
