//! The surroundings of this process: its container, its job, the services beside it, its environment.

use std::collections::BTreeMap;

use super::machine::{Machine, version_in};
use super::{Container, Job, Service, Told};

/// The container, when this is one.
pub(super) fn look(machine: &Machine) -> Option<Told<Container>> {
    let (engine, source) = engine(machine)?;
    let mounts = machine.read("/proc/self/mountinfo");
    let driver_mounted = mounts.map(|text| {
        // The fifth field is where it was mounted.
        let places = text.lines().filter_map(|line| line.split(' ').nth(4));
        let signs = ["libcuda.so", "libnvidia-ml.so", "/usr/local/nvidia", "/usr/lib/wsl"];
        places.into_iter().any(|place| signs.iter().any(|sign| place.contains(sign)))
    });
    let driver_packages = debian_packages(machine)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            let parts = [
                "libnvidia-compute",
                "nvidia-driver",
                "nvidia-utils",
                "nvidia-kernel",
                "nvidia-headless",
            ];
            matches!(name.as_str(), "libcuda1" | "libnvidia-ml1")
                || parts.iter().any(|part| name.starts_with(part))
        })
        .collect();
    Some(Told::new(
        Container { engine, driver_mounted, driver_packages, ..Container::default() },
        source,
    ))
}

/// This process is in a container.
pub fn is_here() -> bool {
    is_inside(&Machine::new("/".as_ref()))
}

/// This is a container.
pub(super) fn is_inside(machine: &Machine) -> bool {
    engine(machine).is_some()
}

/// The engine, and what gives it away. The orchestrator counts for more than what it drives.
fn engine(machine: &Machine) -> Option<(String, String)> {
    let groups = machine.read("/proc/self/cgroup").unwrap_or_default();
    let first = machine.read("/proc/1/cgroup").unwrap_or_default();
    // The engine's own service is on the host.
    let in_group = |word: &str| {
        let mut lines = groups.lines().chain(first.lines());
        lines.any(|line| line.contains(word) && !line.contains(".service"))
    };
    let told = |engine: &str, source: &str| Some((engine.to_owned(), source.to_owned()));
    if machine.env("KUBERNETES_SERVICE_HOST").is_some() {
        return told("kubernetes", "KUBERNETES_SERVICE_HOST");
    }
    for name in
        ["APPTAINER_NAME", "APPTAINER_CONTAINER", "SINGULARITY_NAME", "SINGULARITY_CONTAINER"]
    {
        if machine.env(name).is_some() {
            return told("apptainer", name);
        }
    }
    if machine.exists("/.singularity.d") {
        return told("apptainer", "/.singularity.d");
    }
    if let Some(text) = machine.read("/run/.containerenv") {
        // Buildah and CRI-O leave the same file.
        let engine = if text.contains("buildah") { "buildah" } else { "podman" };
        return told(engine, "/run/.containerenv");
    }
    if machine.exists("/.dockerenv") {
        return told("docker", "/.dockerenv");
    }
    let cgroup = "/proc/self/cgroup";
    let known = [
        ("kubepods", "kubernetes"),
        ("docker", "docker"),
        ("containerd", "containerd"),
        ("lxc", "lxc"),
    ];
    if let Some((_, engine)) = known.iter().find(|(word, _)| in_group(word)) {
        return told(engine, cgroup);
    }
    // systemd inside a container is told by its manager; WSL sets it as well, and is none.
    let by_manager = machine
        .line("/run/systemd/container")
        .map(|name| (name, "/run/systemd/container"))
        .or_else(|| machine.env("container").map(|name| (name.to_owned(), "container=")));
    if let Some((name, source)) = by_manager.filter(|(name, _)| name != "wsl") {
        return told(&name, source);
    }
    let mounts = machine.read("/proc/self/mountinfo").unwrap_or_default();
    let top = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    if top.contains("/enroot") {
        return told("enroot", "/proc/self/mountinfo");
    }
    // A file system of layers under everything is a container's, or that of a live system.
    if top.contains(" - overlay ") && top.contains("/snapshots/") {
        return told("containerd", "/proc/self/mountinfo");
    }
    None
}

/// Packages that are installed, by dpkg's own record: name and version.
pub(super) fn debian_packages(machine: &Machine) -> Vec<(String, String)> {
    let text = machine.read("/var/lib/dpkg/status").unwrap_or_default();
    let paragraph = |text: &str| {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let installed = field("Status: ")?.ends_with(" installed");
        installed.then_some((field("Package: ")?.to_owned(), field("Version: ")?.to_owned()))
    };
    text.split("\n\n").filter_map(paragraph).collect()
}

/// Services of the driver: their program, cut to the 15 characters that the kernel keeps, and their name.
const SERVICES: &[(&str, &str)] = &[
    ("nv-fabricmanage", "nvidia-fabricmanager"),
    ("nvidia-imex", "nvidia-imex"),
    ("nvidia-persiste", "nvidia-persistenced"),
    ("nvidia-cuda-mps", "nvidia-cuda-mps"),
    ("nvidia-gridd", "nvidia-gridd"),
];

/// Which services run. A container does not see those of its host, and neither does a user where /proc
/// hides the processes of others: then only what is seen is told.
pub(super) fn services(machine: &Machine, inside: bool) -> BTreeMap<String, Told<Service>> {
    const SOURCE: &str = "/proc/*/comm";
    let Some(names) = machine.list("/proc") else { return BTreeMap::new() };
    let running: Vec<String> = names
        .iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|pid| {
            // A process may end meanwhile: no reason to note anything.
            let text = std::fs::read_to_string(machine.at(format!("/proc/{pid}/comm"))).ok()?;
            Some(text.trim().to_owned())
        })
        .collect();
    let sees_all = !inside && names.iter().any(|name| name == "1") && !running.is_empty();
    let mut services = BTreeMap::new();
    for (comm, name) in SERVICES {
        let runs = running.iter().any(|name| name == comm);
        if runs || sees_all {
            let version = (*name == "nvidia-fabricmanager")
                .then(|| machine.which("nv-fabricmanager"))
                .flatten()
                .and_then(|path| machine.answer(&path, &["--version"]))
                .and_then(|text| version_in(&text).map(str::to_owned));
            services
                .insert((*name).to_owned(), Told::new(Service { running: runs, version }, SOURCE));
        }
    }
    services
}

/// Kubernetes or Slurm. What a pod asked for does not show inside it.
pub(super) fn job(machine: &Machine) -> Option<Told<Job>> {
    if machine.env("SLURM_JOB_ID").is_some() {
        let gpus = ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE"];
        let told = gpus.iter().find_map(|name| Some((*name, machine.env(name)?)));
        let job = Job { kind: "slurm".into(), gpus: told.map(|(_, value)| value.to_owned()) };
        return Some(Told::new(job, told.map_or("SLURM_JOB_ID", |(name, _)| name)));
    }
    machine.env("KUBERNETES_SERVICE_HOST")?;
    Some(Told::new(Job { kind: "kubernetes".into(), gpus: None }, "KUBERNETES_SERVICE_HOST"))
}

/// Beginnings of the names of variables that change what happens.
const PREFIXES: &[&str] = &[
    "BNB_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDA_",
    "CUDNN_",
    "CUSPARSE_",
    "FLASH_ATTENTION_",
    "LD_",
    "NCCL_",
    "NVIDIA_",
    "NVTE_",
    "PYTORCH_",
    "SLURM_GPU",
    "TORCH",
    "TRITON_",
    "VLLM_",
    "XFORMERS_",
];

/// And whole names.
const NAMES: &[&str] = &[
    "CC",
    "CONDA_OVERRIDE_CUDA",
    "CXX",
    "FORCE_CUDA",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "MAX_JOBS",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "ROCR_VISIBLE_DEVICES",
    "SLURM_JOB_GPUS",
    "SLURM_STEP_GPUS",
    "UV_TORCH_BACKEND",
];

/// Longest value that is kept.
const LONGEST: usize = 4096;

/// Variables that change what happens. An empty value is one: `CUDA_VISIBLE_DEVICES=` hides every GPU.
pub(super) fn environment(machine: &Machine) -> BTreeMap<String, String> {
    let matters = |name: &str| {
        NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let kept = machine.environment().iter().filter(|(name, _)| matters(name) && !is_secret(name));
    kept.map(|(name, value)| (name.clone(), value.chars().take(LONGEST).collect())).collect()
}

/// `NVIDIA_API_KEY`, `VLLM_API_TOKEN`: whole words of a name, so that `TOKENIZERS` is none.
fn is_secret(name: &str) -> bool {
    name.split('_').any(|word| {
        [
            "TOKEN",
            "KEY",
            "APIKEY",
            "SECRET",
            "PASSWORD",
            "PASSWD",
            "CREDENTIAL",
            "CREDENTIALS",
            "AUTH",
        ]
        .contains(&word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    #[test]
    fn a_container_with_the_driver_of_its_host() {
        let (_root, docker) = machine(&[
            ("/.dockerenv", ""),
            (
                "/proc/self/mountinfo",
                "1 2 0:1 / / rw - overlay overlay rw\n\
                 9 1 8:1 /x /usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06 ro - ext4 /dev/sda1 ro\n",
            ),
            (
                "/var/lib/dpkg/status",
                "Package: libnvidia-compute-535\nStatus: install ok installed\nVersion: 535.183\n\n\
                 Package: nvidia-driver-470\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                 Package: libnvidia-container1\nStatus: install ok installed\nVersion: 1.17.8-1\n",
            ),
        ]);
        let told = look(&docker).expect("a container");
        assert_eq!((told.value.engine.as_str(), told.source.as_str()), ("docker", "/.dockerenv"));
        assert_eq!(told.value.driver_mounted, Some(true));
        assert_eq!(told.value.driver_packages, ["libnvidia-compute-535"]);
    }

    #[test]
    fn engines_give_themselves_away() {
        let engine = |files: &[(&str, &str)]| {
            let (_root, machine) = machine(files);
            look(&machine).map(|told| told.value.engine)
        };
        let environ = "/proc/self/environ";
        assert_eq!(engine(&[]), None);
        assert_eq!(engine(&[("/run/systemd/container", "wsl\n")]), None);
        assert_eq!(engine(&[("/run/systemd/container", "lxc\n")]).as_deref(), Some("lxc"));
        assert_eq!(engine(&[("/run/.containerenv", "")]).as_deref(), Some("podman"));
        assert_eq!(engine(&[(environ, "APPTAINER_NAME=a.sif\0")]).as_deref(), Some("apptainer"));
        let pod = [(environ, "KUBERNETES_SERVICE_HOST=10.0.0.1\0"), ("/.dockerenv", "")];
        assert_eq!(engine(&pod).as_deref(), Some("kubernetes"));
        assert_eq!(engine(&[("/proc/1/cgroup", "0::/system.slice/docker.service\n")]), None);
        let old = [("/proc/1/cgroup", "4:devices:/docker/0123\n")];
        assert_eq!(engine(&old).as_deref(), Some("docker"));
        let enroot = "1 2 0:1 / / rw - overlay o rw,upperdir=/scratch/enroot/data/x\n";
        assert_eq!(engine(&[("/proc/self/mountinfo", enroot)]).as_deref(), Some("enroot"));
        // Kubernetes beside Docker says no more than its job.
        let (_root, pod) = machine(&pod);
        assert_eq!(job(&pod).expect("a job").value.gpus, None);
    }

    #[test]
    fn services_that_run_and_that_do_not() {
        let files = [
            ("/proc/1/comm", "systemd\n"),
            ("/proc/77/comm", "nvidia-persiste\n"),
            ("/proc/self/environ", "PATH=/usr/bin\0"),
            (
                "*/usr/bin/nv-fabricmanager",
                "#!/bin/sh\necho Fabric Manager version is : 570.133.20\n",
            ),
        ];
        let (_root, host) = machine(&files);
        let told = services(&host, false);
        assert!(told["nvidia-persistenced"].value.running);
        assert!(!told["nvidia-fabricmanager"].value.running);
        #[cfg(unix)]
        assert_eq!(told["nvidia-fabricmanager"].value.version.as_deref(), Some("570.133.20"));
        // Nobody inside a container can say that a service of the host does not run.
        let told = services(&host, true);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["nvidia-persistenced"]);
        let (_root, hidden) = machine(&[("/proc/77/comm", "bash\n")]);
        assert_eq!(services(&hidden, false), BTreeMap::new());
    }

    #[test]
    fn variables_that_matter_and_no_secret() {
        let (_root, machine) = machine(&[(
            "/proc/self/environ",
            "CUDA_VISIBLE_DEVICES=\0NVIDIA_API_KEY=nvapi-1\0NCCL_DEBUG=INFO\0HOME=/home/jane\0\
             TORCH_TOKEN=x\0LD_LIBRARY_PATH=/usr/local/cuda/lib64\0SLURM_JOB_ID=7\0SLURM_GPUS_ON_NODE=2\0",
        )]);
        let kept = environment(&machine);
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "NCCL_DEBUG", "SLURM_GPUS_ON_NODE"]
        );
        assert_eq!(kept["CUDA_VISIBLE_DEVICES"], "");
        let job = job(&machine).expect("a job");
        assert_eq!((job.value.kind.as_str(), job.value.gpus.as_deref()), ("slurm", Some("2")));
        assert_eq!(job.source, "SLURM_GPUS_ON_NODE");
    }
}
