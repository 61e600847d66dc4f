//! The container's access to the GPU, and on a host what hands GPUs to containers.

use super::view::{only, quoted};
use super::{Outcome, Subject};
use crate::domain::{Code, Finding, Severity};
use crate::host::{Answer, Cdi};
use crate::resolve::case::Case;
use crate::resolve::judge;

/// Devices were not handed to this container, although the machine has some.
fn without_gpu(subject: &Subject<'_>) -> bool {
    let facts = subject.facts;
    let cards = facts.pci.as_ref().is_some_and(|pci| !pci.value.is_empty());
    let machine = cards || facts.module.is_some() || facts.job.is_some();
    subject.in_container()
        && machine
        && !subject.in_wsl()
        && !subject.is_jetson()
        && subject.card_nodes() == Some(0)
        && !subject.cuda_works()
}

/// libcuda is missing because the container was started so.
pub fn explains_missing_driver(subject: &Subject<'_>) -> bool {
    without_gpu(subject) || (subject.in_container() && lacks_compute(subject).is_some())
}

/// `container-has-gpu`: the container was started with the GPU.
pub fn has_gpu(subject: &Subject<'_>) -> Outcome {
    let Some(container) = &subject.facts.container else { return Outcome::Apart };
    let engine = container.value.engine.as_str();
    if !without_gpu(subject) {
        return match subject.card_nodes() {
            Some(count) if count > 0 => Outcome::Passed(format!(
                "{count} GPU{} handed to the container",
                if count == 1 { "" } else { "s" }
            )),
            _ if subject.cuda_works() => Outcome::Passed("the container has a GPU".into()),
            _ => Outcome::Apart,
        };
    }
    let visible = subject.var("NVIDIA_VISIBLE_DEVICES");
    let hidden = visible.filter(|v| matches!(v.trim(), "" | "void" | "none"));
    let pod = subject.facts.job.as_ref().is_some_and(|job| job.value.kind == "kubernetes")
        || engine == "kubernetes";
    // The device plugin itself sets `void` for a pod without a GPU.
    if let Some(value) = hidden.filter(|_| !pod) {
        let case =
            Case { env: vec![("NVIDIA_VISIBLE_DEVICES".into(), value.into())], ..Case::default() };
        let findings = only(subject.judged(&case).findings, &[Code::EnvPath]);
        if !findings.is_empty() {
            return Outcome::Found(findings);
        }
    }
    let finding = |message: &str| {
        Finding::new(Code::NoDevice, Severity::Error, message).fact(
            "no /dev/nvidia0 in the container",
            subject.facts.nodes.as_ref().map_or("", |n| n.source.as_str()),
        )
    };
    let finding = if pod {
        // The bus in a container is the node's own.
        let none = subject.facts.pci.as_ref().is_some_and(|pci| pci.value.is_empty());
        finding(if none { "the pod was started without a GPU, on a node that shows no NVIDIA card" } else { "the pod was started without a GPU: the machine has one, and this container did not ask for it" })
            .help("ask for it in the container's resources: `limits: {nvidia.com/gpu: 1}`")
            .help("when it asks already: `kubectl describe node` must show nvidia.com/gpu under Allocatable, else NVIDIA's device plugin is missing")
    } else {
        let finding = finding(
            "the container was started without the GPU: the machine has one, and nothing of it is in here",
        );
        match engine {
            "podman" => finding.help("start it with `podman run --device nvidia.com/gpu=all`, after `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"),
            "apptainer" => finding.help("start it with `apptainer exec --nv`"),
            "enroot" => finding.help("set NVIDIA_VISIBLE_DEVICES=all in the container's environment, and ask Slurm for a GPU: `--gres=gpu:1`"),
            "lxc" => finding.help("hand the card over: `lxc config device add NAME gpu gpu`, with `nvidia.runtime=true`"),
            _ => finding
                .help("start it with `docker run --gpus all` (Compose: `deploy.resources.reservations.devices`)")
                .help("when that fails: the host lacks NVIDIA's container toolkit; `gpuseal doctor` on the host says so"),
        }
    };
    Outcome::Found(vec![finding])
}

/// The value of NVIDIA_DRIVER_CAPABILITIES, when libcuda is missing and the value leaves it out.
fn lacks_compute<'s>(subject: &Subject<'s>) -> Option<&'s str> {
    let missing = matches!(subject.facts.cuda, Some(Answer::Absent(_)));
    let value = subject.var("NVIDIA_DRIVER_CAPABILITIES")?;
    let has =
        value.trim().is_empty() || value.split(',').any(|c| matches!(c.trim(), "all" | "compute"));
    (missing && !has).then_some(value)
}

/// `container-capabilities`: the compute half of the driver was mounted.
pub fn capabilities(subject: &Subject<'_>) -> Outcome {
    if !subject.in_container() || without_gpu(subject) {
        return Outcome::Apart;
    }
    let Some(value) = lacks_compute(subject) else { return Outcome::Apart };
    let case =
        Case { env: vec![("NVIDIA_DRIVER_CAPABILITIES".into(), value.into())], ..Case::default() };
    Outcome::Found(only(subject.judged(&case).findings, &[Code::EnvPath]))
}

/// `container-requirement`: what the image asks of the driver holds.
pub fn requirement(subject: &Subject<'_>) -> Outcome {
    let Some(value) = subject.var("NVIDIA_REQUIRE_CUDA") else { return Outcome::Apart };
    let disabled = matches!(subject.var("NVIDIA_DISABLE_REQUIRE"), Some("1" | "true"));
    if disabled || subject.driver().is_none() {
        return Outcome::Apart;
    }
    let case = Case {
        env: vec![("NVIDIA_REQUIRE_CUDA".into(), value.into())],
        torch: None,
        ..subject.case()
    };
    let mut findings = only(judge(&case, subject.matrix).findings, &[Code::ContainerRequirement]);
    for finding in &mut findings {
        // It was started all the same: not by that hook, or the condition is not looked at.
        finding.severity = Severity::Warning;
        finding.message.push_str("; this container runs all the same, elsewhere it may be refused");
    }
    if findings.is_empty() { Outcome::Apart } else { Outcome::Found(findings) }
}

/// `image-without-driver`: the image holds no driver of its own.
pub fn driver_packages(subject: &Subject<'_>) -> Outcome {
    let Some(container) = &subject.facts.container else { return Outcome::Apart };
    let packages = &container.value.driver_packages;
    let told = matches!(super::user_driver::belongs(subject), Outcome::Found(_));
    if packages.is_empty() || told {
        return Outcome::Apart;
    }
    Outcome::Found(vec![
        Finding::new(Code::DriverLibraryMismatch, Severity::Warning, format!(
            "the image holds packages of a driver: {}; on a host with another driver they clash with what is mounted", packages.join(", ")
        ))
        .fact(packages.join(", "), &container.source)
        .help("leave them out of the image: the driver's libraries always come from the host"),
    ])
}

/// Nothing here runs torch but containers.
fn serves_containers(subject: &Subject<'_>) -> bool {
    subject.torch().is_none() && !subject.facts.engines.found.is_empty()
}

/// `container-engine`: the engines of this host can hand GPUs to containers.
pub fn engine(subject: &Subject<'_>) -> Outcome {
    let engines = &subject.facts.engines;
    if subject.in_container()
        || subject.is_jetson()
        || engines.found.is_empty()
        || subject.driver().is_none()
    {
        return Outcome::Apart;
    }
    let severity = if serves_containers(subject) { Severity::Error } else { Severity::Warning };
    let names: Vec<_> = engines
        .found
        .keys()
        .map(String::as_str)
        .filter(|n| !matches!(*n, "apptainer" | "singularity" | "enroot"))
        .collect();
    // Apptainer and enroot need none of it.
    if names.is_empty() {
        return Outcome::Passed(engines.found.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    let specs = engines.cdi.as_deref().unwrap_or_default();
    let Some(toolkit) = &engines.toolkit else {
        // A spec can be there without the program that wrote it.
        if !specs.is_empty() {
            return Outcome::Passed(format!("{} with CDI", names.join(", ")));
        }
        return Outcome::Found(vec![
            Finding::new(Code::ContainerRuntime, severity, format!("{} is here, and NVIDIA's container toolkit is not: containers get no GPU", names.join(" and ")))
                .fact("nvidia-ctk is not installed", "PATH")
                .help("install nvidia-container-toolkit from NVIDIA's repository, then `sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`"),
        ]);
    };
    let docker = names.contains(&"docker");
    if docker && specs.is_empty() && engines.docker_runtime.as_ref().is_some_and(|r| !r.value) {
        return Outcome::Found(vec![
            // `--gpus` takes the toolkit's hook, for which Docker needs no runtime.
            Finding::new(Code::ContainerRuntime, Severity::Warning, format!("NVIDIA's container toolkit {} is installed, and Docker has no runtime `nvidia`: `--runtime=nvidia` fails; `--gpus all` may work", toolkit.value))
                .fact("no runtime `nvidia`", engines.docker_runtime.as_ref().map_or("", |r| r.source.as_str()))
                .help("`sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`"),
        ]);
    }
    if names == ["podman"] && engines.cdi.as_ref().is_some_and(Vec::is_empty) {
        return Outcome::Found(vec![
            Finding::new(
                Code::ContainerRuntime,
                severity,
                "podman hands GPUs over by CDI, and there is no CDI specification for NVIDIA",
            )
            .fact("no specification in /etc/cdi and /var/run/cdi", "CDI")
            .help("`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"),
        ]);
    }
    let mode = engines.mode.as_ref().map_or(String::new(), |m| format!(", mode {}", m.value));
    Outcome::Passed(format!(
        "{} with NVIDIA's container toolkit {}{mode}",
        names.join(", "),
        toolkit.value
    ))
}

/// `cdi-specification`: CDI names files of the driver that is here.
pub fn cdi(subject: &Subject<'_>) -> Outcome {
    let Some(specs) = &subject.facts.engines.cdi else { return Outcome::Apart };
    if subject.in_container() || specs.is_empty() {
        return Outcome::Apart;
    }
    let driver = subject.driver().map(|d| d.value);
    let stale = |spec: &&Cdi| {
        !spec.missing.is_empty()
            || spec.driver.is_some() && driver.is_some() && spec.driver != driver
    };
    let engines = &subject.facts.engines;
    let by_cdi = engines.mode.as_ref().is_some_and(|m| m.value == "cdi")
        || engines.docker_runtime.as_ref().is_none_or(|r| !r.value);
    let Some(spec) = specs.iter().find(stale) else {
        return Outcome::Passed(format!("{} fits the driver", specs[0].path));
    };
    let severity =
        if serves_containers(subject) && by_cdi { Severity::Error } else { Severity::Warning };
    let of = spec.driver.map_or(String::new(), |d| format!(" of driver {d}"));
    let is = driver.map_or(String::new(), |d| format!(", the driver is {d}"));
    let mut finding = Finding::new(
        Code::ContainerRuntime,
        severity,
        format!("the CDI specification {} is stale: it names files{of}{is}", spec.path),
    );
    if let Some(days) = spec.age_days {
        finding = finding.fact(format!("written {days} days ago"), &spec.path);
    }
    for missing in spec.missing.iter().take(3) {
        finding = finding.fact(format!("not there: {missing}"), &spec.path);
    }
    Outcome::Found(vec![finding.help(format!(
        "write it again: `sudo nvidia-ctk cdi generate --output={}`",
        quoted(&spec.path)
    ))])
}

/// `shared-memory`: /dev/shm holds more than a container's default.
pub fn shared_memory(subject: &Subject<'_>) -> Outcome {
    let Some(bytes) = subject.facts.system.shm_bytes.filter(|_| subject.in_container()) else {
        return Outcome::Apart;
    };
    let size = bytes >> 20;
    if size > 64 {
        return Outcome::Passed(format!("/dev/shm has {size} MiB"));
    }
    let pod = subject.facts.job.as_ref().is_some_and(|job| job.value.kind == "kubernetes");
    Outcome::Found(vec![
        Finding::new(Code::SharedMemory, Severity::Warning, format!("/dev/shm has {size} MiB: enough for one process, too small for DataLoader workers and NCCL"))
            .fact(format!("/dev/shm: {size} MiB"), "statvfs")
            .help(if pod { "mount an emptyDir with `medium: Memory` at /dev/shm" } else { "`docker run --shm-size=8g`, or `--ipc=host`" }),
    ])
}
