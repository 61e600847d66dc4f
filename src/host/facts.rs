//! What is known of a machine: the record that `host` writes, that pastes are read into, and that
//! `doctor` judges.
//!
//! Every source may be absent. `None` means that nobody looked or could look; an empty list, that
//! somebody looked and there is nothing. Each [`Told`] value names the place that told it. A record
//! holds no name of a host or user, no serial number and no address: see [`Facts::anonymise`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    CodeTarget, ComputeCapability, CudaVersion, DriverVersion, Glibc, KernelModule, Platform,
};

/// Version of the record; one with another number is refused.
pub const RECORD: u32 = 1;

/// A value, and the file, library call or program that told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<T> {
    /// The value.
    pub value: T,
    /// Where it was read: `/proc/driver/nvidia/version`, `NVML`, `nvcc --version`.
    pub source: String,
}

impl<T> Told<T> {
    /// A value from a source.
    pub fn new(value: T, source: impl Into<String>) -> Self {
        Self { value, source: source.into() }
    }
}

/// What a library or program answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// It is not installed, or not found: the loader's or the shell's words.
    Absent(String),
    /// It is there and failed: its number where it has one, and its words.
    Failed(Failure),
    /// It did not come back in time; the phase it was in.
    Hung(String),
    /// It died; signal or exit, and the phase it was in.
    Crashed(String),
    /// It answered.
    Told(T),
}

impl<T> Answer<T> {
    /// The answer, when there is one.
    pub const fn told(&self) -> Option<&T> {
        match self {
            Self::Told(value) => Some(value),
            _ => None,
        }
    }

    /// The failure, when there is one.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The call: `nvmlInit_v2`, `cuInit`.
    pub call: String,
    /// Its status: a `CUresult`, an `nvmlReturn_t`, an exit code.
    pub code: Option<i32>,
    /// Its words.
    pub text: String,
}

/// A machine, a container on it, or what somebody pasted about one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// See [`RECORD`].
    pub record: u32,
    /// Operating system.
    pub system: System,
    /// NVIDIA display and 3D controllers in sysfs.
    pub pci: Option<Told<Vec<PciCard>>>,
    /// The kernel module.
    pub module: Option<Told<Module>>,
    /// Files of the module on disk, for each kernel that has one. One for another kernel alone was not
    /// built again after an update.
    pub module_files: Vec<ModuleFile>,
    /// Modules of the kernel that matter, loaded now: `nvidia`, `nvidia_uvm`, `nouveau` ...
    pub loaded: Option<Told<Vec<String>>>,
    /// `/dev/nvidia*` and `/dev/dxg`.
    pub nodes: Option<Told<Vec<Node>>>,
    /// Lines of the kernel log from the NVIDIA driver, oldest first: `NVRM: Xid (...): 79, ...`.
    pub kernel_log: Option<Told<Vec<String>>>,
    /// libnvidia-ml.so.1.
    pub nvml: Option<Answer<Nvml>>,
    /// libcuda.so.1.
    pub cuda: Option<Answer<Cuda>>,
    /// nvidia-smi, asked only where NVML did not answer, or as somebody pasted it.
    pub smi: Option<Answer<Smi>>,
    /// Files that the loader may pick.
    pub loader: Loader,
    /// nvcc, each found on PATH, at CUDA_HOME or /usr/local/cuda*.
    pub toolkits: Vec<Told<Toolkit>>,
    /// Python environments.
    pub pythons: Vec<Python>,
    /// This is a container.
    pub container: Option<Told<Container>>,
    /// Container engines and NVIDIA's toolkit, on a host.
    pub engines: Engines,
    /// Environment variables that change what happens, by name.
    pub env: BTreeMap<String, String>,
    /// Kubernetes or Slurm.
    pub job: Option<Told<Job>>,
    /// Services that matter: `nvidia-fabricmanager`, `nvidia-imex`, `nvidia-persistenced`; whether each runs.
    pub services: BTreeMap<String, Told<Service>>,
    /// What could not be looked at, and why.
    pub unread: Vec<Unread>,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// `kernel log`, `/etc/docker/daemon.json`
    pub what: String,
    /// `permission denied`
    pub why: String,
}

/// Operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// `linux/amd64`
    pub platform: Option<Platform>,
    /// `uname -r`
    pub kernel: Option<String>,
    /// `ubuntu`, from os-release.
    pub distro: Option<String>,
    /// `22.04`
    pub distro_version: Option<String>,
    /// C library; absent on musl.
    pub glibc: Option<Told<Glibc>>,
    /// The C library is musl.
    pub musl: bool,
    /// Windows Subsystem for Linux: `1` or `2`.
    pub wsl: Option<u8>,
    /// Model of a Jetson, from the device tree.
    pub jetson: Option<String>,
    /// L4T release of a Jetson: `36.4.3`
    pub l4t: Option<String>,
    /// Hypervisor: `kvm`, `microsoft`.
    pub virtual_machine: Option<String>,
    /// Secure Boot is on.
    pub secure_boot: Option<bool>,
    /// `/dev/shm`, in bytes.
    pub shm_bytes: Option<u64>,
    /// A C compiler and its version: `gcc 12.2.0`
    pub compiler: Option<Told<String>>,
}

/// An NVIDIA controller in sysfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciCard {
    /// `0000:01:00.0`
    pub address: String,
    /// Device id, `0x2330`.
    pub device: String,
    /// Name of the bound driver: `nvidia`, `nouveau`, `vfio-pci`; absent: none.
    pub driver: Option<String>,
}

/// The kernel module as procfs tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its version.
    pub driver: DriverVersion,
    /// Its flavour.
    pub flavour: Option<KernelModule>,
    /// Model of each card, in the order of bus addresses; `Unknown` where the firmware did not start.
    pub models: Vec<String>,
    /// Version of the module file on disk, when `modinfo` or sysfs tells: another one than `driver`
    /// waits for a reboot.
    pub on_disk: Option<DriverVersion>,
}

/// A file of the kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleFile {
    /// The kernel that it belongs to, as `uname -r` names it.
    pub kernel: String,
    /// Its version, when modinfo tells.
    pub version: Option<DriverVersion>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// `/dev/nvidia0`
    pub path: String,
    /// `0666 0:44`: mode, owner and group as numbers.
    pub mode: String,
    /// The system's word when it was opened for reading and writing: `None` is success, else `EACCES`,
    /// `EPERM`, `EIO`, `ENODEV` ...
    pub refused: Option<String>,
}

/// What NVML answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nvml {
    /// Version of the driver that it belongs to.
    pub driver: Option<DriverVersion>,
    /// CUDA that the driver implements.
    pub cuda: Option<CudaVersion>,
    /// Devices, in NVML's order, which is not CUDA's.
    pub devices: Vec<Device>,
}

/// A device as NVML or nvidia-smi tells it. What either refused is `None`: unknown, not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// `NVIDIA H100 80GB HBM3`
    pub name: String,
    /// `00000000:01:00.0`
    pub address: Option<String>,
    /// Compute capability.
    pub capability: Option<ComputeCapability>,
    /// Bytes.
    pub memory_total: Option<u64>,
    /// Bytes.
    pub memory_used: Option<u64>,
    /// `Default`, `Exclusive_Process`, `Prohibited`
    pub compute_mode: Option<String>,
    /// MIG mode is on.
    pub mig: Option<bool>,
    /// MIG instances: their profiles, `1g.10gb`.
    pub mig_instances: Vec<String>,
    /// Persistence mode is on.
    pub persistence: Option<bool>,
    /// ECC mode is on.
    pub ecc: Option<bool>,
    /// Uncorrected errors since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// A row remap waits for a reset.
    pub remap_pending: Option<bool>,
    /// A row remap failed.
    pub remap_failed: Option<bool>,
    /// Processes that compute on it.
    pub processes: Option<Vec<Process>>,
    /// Celsius.
    pub temperature: Option<u32>,
    /// Reasons for low clocks as NVML names them: `HW_THERMAL_SLOWDOWN`.
    pub throttled: Vec<String>,
    /// Links that are active, of those that exist.
    pub nvlinks: Option<(u32, u32)>,
    /// State of the fabric: `completed`, `in-progress`, `not-started`; absent where there is none.
    pub fabric: Option<String>,
    /// PCIe generation and width now, and at most.
    pub pcie: Option<[u32; 4]>,
    /// A call about this device failed as a whole: `GPU is lost`.
    pub failure: Option<Failure>,
}

/// A process on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id; of the host, where a container asks.
    pub pid: u32,
    /// Its program, without folder and arguments, where it may be read.
    pub name: Option<String>,
    /// Bytes on the device.
    pub memory: Option<u64>,
}

/// What libcuda answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cuda {
    /// The file that was mapped.
    pub file: Option<String>,
    /// Driver version in the name of that file: `libcuda.so.580.65.06`.
    pub file_version: Option<DriverVersion>,
    /// `cuDriverGetVersion`.
    pub version: Option<CudaVersion>,
    /// How `cuInit` or a later call failed.
    pub failure: Option<Failure>,
    /// Devices in CUDA's order, as this process sees them.
    pub devices: Vec<CudaDevice>,
}

/// A device as libcuda tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaDevice {
    /// Name.
    pub name: String,
    /// Compute capability.
    pub capability: Option<ComputeCapability>,
    /// Bytes.
    pub memory_total: Option<u64>,
}

/// What nvidia-smi printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Smi {
    /// Its own version.
    pub version: Option<DriverVersion>,
    /// Driver version; of the kernel module where it prints both.
    pub driver: Option<DriverVersion>,
    /// CUDA of the user-mode driver.
    pub cuda: Option<CudaVersion>,
    /// Devices.
    pub devices: Vec<Device>,
}

/// Files that the loader may pick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loader {
    /// Each file that `libcuda.so.1` may mean, in the order of the search.
    pub libcuda: Vec<LoaderFile>,
    /// The same of `libnvidia-ml.so.1`.
    pub libnvidia_ml: Vec<LoaderFile>,
    /// CUDA libraries found by LD_LIBRARY_PATH or the cache of ld.so outside of Python environments:
    /// libcudart, libcublas, libcublasLt, libcudnn, libnccl, libnvJitLink ...
    pub libraries: Vec<LoaderFile>,
    /// Folders of cuda-compat that are searched: `/usr/local/cuda/compat`.
    pub compat: Vec<String>,
    /// `libcuda.so.1` in a folder of stubs that is searched.
    pub stubs: Vec<String>,
    /// `libcuda.so.1` and `libnvidia-ml.so.1` in folders where drivers are put and that are not searched.
    pub unsearched: Vec<String>,
}

/// A file that the loader finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderFile {
    /// Soname: `libcuda.so.1`.
    pub soname: String,
    /// Path as it is found.
    pub path: String,
    /// The file behind the links, when another.
    pub target: Option<String>,
    /// `LD_LIBRARY_PATH`, `ld.so.cache`, `default`.
    pub found_by: String,
}

/// A toolkit on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolkit {
    /// nvcc's path.
    pub path: String,
    /// Its version.
    pub cuda: CudaVersion,
    /// It is the one that `nvcc` alone means.
    pub first_on_path: bool,
}

/// A Python environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Python {
    /// The interpreter.
    pub path: String,
    /// `venv`, `conda`, `uv`, `system`, `given`.
    pub kind: String,
    /// `3.12.4`
    pub version: Option<String>,
    /// How it was found: `VIRTUAL_ENV`, `.venv`, `PATH`, `--env`.
    pub source: String,
    /// Installed packages that matter, normalised name -> version as its metadata states it, local
    /// label included: torch, torchvision, triton, xformers, nvidia-* ...
    pub packages: BTreeMap<String, String>,
    /// Of those, where each was installed from, when a direct_url.json or pip's record tells.
    pub origins: BTreeMap<String, String>,
    /// Folders that hold its packages, in the order of `sys.path`. Not part of a record.
    #[serde(skip)]
    pub folders: Vec<String>,
    /// torch as its files tell: no program was run.
    pub torch: Option<TorchFiles>,
    /// torch as it told itself when it was imported.
    pub imported: Option<Answer<TorchTold>>,
}

/// What torch's own files say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TorchFiles {
    /// `2.7.1+cu128`, from version.py.
    pub version: String,
    /// CUDA in version.py; `None` for a build without.
    pub cuda: Option<CudaVersion>,
    /// HIP in version.py.
    pub hip: Option<String>,
    /// More than one copy is on the path, the later ones.
    pub others: Vec<String>,
}

/// What torch said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TorchTold {
    /// `torch.__version__`
    pub version: String,
    /// `torch.version.cuda`
    pub cuda: Option<CudaVersion>,
    /// `torch.cuda.get_arch_list()`
    pub arch_list: Option<Vec<CodeTarget>>,
    /// `torch.backends.cudnn.version()`
    pub cudnn: Option<u64>,
    /// `torch.cuda.is_available()`
    pub available: Option<bool>,
    /// `torch.cuda.device_count()`
    pub device_count: Option<u32>,
    /// What it warned of or raised meanwhile.
    pub said: Vec<String>,
    /// CUDA libraries in the maps of the process: soname -> file. A second copy of one has a `'` behind its name.
    pub mapped: BTreeMap<String, String>,
    /// A small matrix product on each device.
    pub products: Vec<Product>,
}

/// A matrix product of small integers on a device, compared with the exact result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Product {
    /// Index in torch.
    pub device: u32,
    /// Its name.
    pub name: String,
    /// Compute capability.
    pub capability: Option<ComputeCapability>,
    /// Bytes in use by all, and in total.
    pub memory: Option<(u64, u64)>,
    /// Every element was right.
    pub right: Option<bool>,
    /// What was raised.
    pub error: Option<String>,
}

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `docker`, `podman`, `containerd`, `kubernetes`, `apptainer`, `enroot`, `lxc`; empty: some.
    pub engine: String,
    /// The driver's files were mounted into it.
    pub driver_mounted: Option<bool>,
    /// Packages of the driver that the image itself holds: `libnvidia-compute-535`.
    pub driver_packages: Vec<String>,
    /// Name of the image, where a text tells it: `nvidia/cuda:12.4.1-runtime-ubuntu22.04`.
    pub image: Option<String>,
}

/// Container engines of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Engines {
    /// Engine -> version: `docker` -> `28.5.2`.
    pub found: BTreeMap<String, String>,
    /// `nvidia-ctk --version`.
    pub toolkit: Option<Told<String>>,
    /// `mode` in the toolkit's config: `auto`, `legacy`, `cdi`.
    pub mode: Option<Told<String>>,
    /// How cuda-compat is activated: `ldconfig`, `mount`, `hook`, `disabled`.
    pub cuda_compat_mode: Option<Told<String>>,
    /// Docker's daemon.json names NVIDIA's runtime.
    pub docker_runtime: Option<Told<bool>>,
    /// Specifications of nvidia.com/gpu.
    pub cdi: Option<Vec<Cdi>>,
}

/// A CDI specification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cdi {
    /// `/var/run/cdi/nvidia.yaml`
    pub path: String,
    /// Its devices: `0`, `all`, a MIG form.
    pub devices: Vec<String>,
    /// Driver version in the names of the files that it mounts.
    pub driver: Option<DriverVersion>,
    /// Host files and nodes that it names and that are not there.
    pub missing: Vec<String>,
    /// Days since it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_days: Option<u64>,
}

/// Kubernetes or Slurm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// `kubernetes` or `slurm`.
    pub kind: String,
    /// GPUs that were given to the job, where that can be told.
    pub gpus: Option<String>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// It runs.
    pub running: bool,
    /// Its version, when it tells.
    pub version: Option<String>,
}
