//! NVML: the driver's own account of the machine. What it refuses is unknown, never zero.
#![allow(unsafe_code, reason = "a few functions are not wrapped")]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::time::Duration;

use libloading::Library;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{
    ComputeMode, EccCounter, MemoryError, TemperatureSensor,
};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device as Card, Nvml as Wrapper};

use super::probe::{self, Phase};
use super::{Answer, Device, Failure, Nvml, Process};
use crate::domain::ComputeCapability;

const SONAME: &str = "libnvidia-ml.so.1";

/// The most links that a card has had so far.
const LINKS: u32 = 18;

/// NVML_ERROR_GPU_IS_LOST.
const LOST: c_int = 15;

/// NVML_ERROR_RESET_REQUIRED.
const RESET: c_int = 16;

/// NVML_ERROR_LIB_RM_VERSION_MISMATCH: library and kernel module are of two drivers.
const MISMATCH: c_int = 18;

/// Asks NVML in a child of this program.
pub fn ask(deadline: Duration) -> Answer<Nvml> {
    probe::ask("nvml", deadline)
}

/// Asks NVML in this process, which may not survive it.
pub fn probe(phase: Phase<'_>) -> Answer<Nvml> {
    let library = match probe::load(SONAME, phase) {
        // Closing it could hang or crash as well.
        Ok(library) => ManuallyDrop::new(library),
        Err(answer) => return answer,
    };
    let mut asking = Asking { library: &library, phase, device: None };
    if let Err(failure) = asking.init() {
        return Answer::Failed(failure);
    }
    // It counts how often it was started: the second time does nothing but load the functions.
    let wrapper = match asking.call("nvmlInit_v2", Wrapper::init) {
        Ok(wrapper) => ManuallyDrop::new(wrapper),
        Err(failure) => return Answer::Failed(failure),
    };
    let driver = asking.call("nvmlSystemGetDriverVersion", || wrapper.sys_driver_version());
    let cuda =
        asking.call("nvmlSystemGetCudaDriverVersion_v2", || wrapper.sys_cuda_driver_version());
    let count = match asking.call("nvmlDeviceGetCount_v2", || wrapper.device_count()) {
        Ok(count) => count,
        Err(failure) => return Answer::Failed(failure),
    };
    Answer::Told(Nvml {
        driver: driver.ok().and_then(|text| text.parse().ok()),
        cuda: cuda.ok().and_then(super::cuda::version),
        devices: (0..count).map(|index| asking.device(&wrapper, index)).collect(),
    })
}

struct Asking<'a> {
    library: &'a Library,
    phase: Phase<'a>,
    /// The device that is asked about, for the phase.
    device: Option<u32>,
}

impl Asking<'_> {
    /// `nvmlInit_v2` by hand: the wrapper makes one error of all numbers that it does not know.
    fn init(&mut self) -> Result<(), Failure> {
        const CALL: &str = "nvmlInit_v2";
        (self.phase)(CALL);
        // SAFETY: as nvml.h declares it.
        let code = unsafe {
            match self.library.get::<unsafe extern "C" fn() -> c_int>(CALL) {
                Ok(init) => init(),
                Err(err) => {
                    let text = err.source().map_or_else(|| err.to_string(), ToString::to_string);
                    return Err(Failure { call: CALL.into(), code: None, text });
                }
            }
        };
        if code == 0 {
            return Ok(());
        }
        let mut text = self.words(code).unwrap_or_else(|| format!("status {code}"));
        // The other half of a mismatch stands in the name of the file alone.
        let version = probe::mapped("libnvidia-ml.so").as_deref().and_then(probe::version_of);
        if let (MISMATCH, Some(version)) = (code, version) {
            text = format!("{text}; NVML library version: {version}");
        }
        Err(Failure { call: CALL.into(), code: Some(code), text })
    }

    fn call<T>(
        &mut self,
        name: &str,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, Failure> {
        match self.device {
            Some(index) => (self.phase)(&format!("{name} of device {index}")),
            None => (self.phase)(name),
        }
        call().map_err(|err| {
            let code = number(&err);
            let text = code.and_then(|code| self.words(code)).unwrap_or_else(|| err.to_string());
            Failure { call: name.into(), code, text }
        })
    }

    /// The library's words for a status.
    fn words(&self, code: c_int) -> Option<String> {
        // SAFETY: as nvml.h declares it: a constant text for any number.
        unsafe {
            let get = self
                .library
                .get::<unsafe extern "C" fn(c_int) -> *const c_char>("nvmlErrorString")
                .ok()?;
            let text = get(code);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// A fact about a device; `None` where NVML refuses it. That the device is lost is the last fact.
    fn fact<T>(
        &mut self,
        seen: &mut Device,
        name: &str,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Option<T> {
        if seen.failure.is_some() {
            return None;
        }
        match self.call(name, call) {
            Ok(value) => Some(value),
            Err(failure) => {
                let lost = matches!(failure.code, Some(LOST | RESET));
                seen.failure = lost.then_some(failure);
                None
            }
        }
    }

    fn device(&mut self, wrapper: &Wrapper, index: u32) -> Device {
        self.device = Some(index);
        let mut seen = Device::default();
        match self.call("nvmlDeviceGetHandleByIndex_v2", || wrapper.device_by_index(index)) {
            Ok(card) => {
                self.identity(&card, &mut seen);
                self.state(&card, &mut seen);
                self.load(&card, &mut seen);
                self.connections(&card, &mut seen);
            }
            Err(failure) => seen.failure = Some(failure),
        }
        seen
    }

    fn identity(&mut self, card: &Card<'_>, seen: &mut Device) {
        let name = self.fact(seen, "nvmlDeviceGetName", || card.name());
        seen.name = name.unwrap_or_default();
        seen.address =
            self.fact(seen, "nvmlDeviceGetPciInfo_v3", || card.pci_info()).map(|p| p.bus_id);
        let capability = self
            .fact(seen, "nvmlDeviceGetCudaComputeCapability", || card.cuda_compute_capability());
        seen.capability = capability.and_then(|cc| {
            Some(ComputeCapability::new(cc.major.try_into().ok()?, cc.minor.try_into().ok()?))
        });
        let mode = self.fact(seen, "nvmlDeviceGetComputeMode", || card.compute_mode());
        // As nvidia-smi spells them.
        seen.compute_mode = mode.map(|mode| {
            match mode {
                ComputeMode::Default => "Default",
                ComputeMode::ExclusiveThread => "Exclusive_Thread",
                ComputeMode::ExclusiveProcess => "Exclusive_Process",
                ComputeMode::Prohibited => "Prohibited",
            }
            .into()
        });
        seen.persistence =
            self.fact(seen, "nvmlDeviceGetPersistenceMode", || card.is_in_persistent_mode());
        seen.mig =
            self.fact(seen, "nvmlDeviceGetMigMode", || card.mig_mode()).map(|m| m.current == 1);
        if seen.mig == Some(true) {
            let most =
                self.fact(seen, "nvmlDeviceGetMaxMigDeviceCount", || card.mig_device_count());
            for index in 0..most.unwrap_or_default() {
                let name = self.fact(seen, "nvmlDeviceGetMigDeviceHandleByIndex", || {
                    card.mig_device_by_index(index)?.name()
                });
                // `NVIDIA H100 80GB HBM3 MIG 1g.10gb`
                let profile = name.as_deref().and_then(|n| n.rsplit_once("MIG "));
                seen.mig_instances.extend(profile.map(|(_, profile)| profile.to_owned()));
            }
        }
    }

    fn state(&mut self, card: &Card<'_>, seen: &mut Device) {
        seen.ecc = self
            .fact(seen, "nvmlDeviceGetEccMode", || card.is_ecc_enabled())
            .map(|e| e.currently_enabled);
        seen.ecc_uncorrected = self.fact(seen, "nvmlDeviceGetTotalEccErrors", || {
            card.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile)
        });
        let mut rows: [c_uint; 4] = [0; 4];
        let [corrected, uncorrected, pending, failed] = &mut rows;
        let remapped = self.fact(seen, "nvmlDeviceGetRemappedRows", || {
            let get = symbol(&card.nvml().lib().nvmlDeviceGetRemappedRows)?;
            // SAFETY: the handle is the wrapper's own, and four integers are written.
            nvml_try(unsafe { get(card.handle(), corrected, uncorrected, pending, failed) })
        });
        if remapped.is_some() {
            (seen.remap_pending, seen.remap_failed) = (Some(rows[2] != 0), Some(rows[3] != 0));
        }
        seen.temperature = self
            .fact(seen, "nvmlDeviceGetTemperature", || card.temperature(TemperatureSensor::Gpu));
        let reasons = self.fact(seen, "nvmlDeviceGetCurrentClocksThrottleReasons", || {
            card.current_throttle_reasons()
        });
        let names = reasons.unwrap_or(ThrottleReasons::empty());
        seen.throttled = names.iter_names().map(|(name, _)| name.to_owned()).collect();
    }

    fn load(&mut self, card: &Card<'_>, seen: &mut Device) {
        let memory = self.fact(seen, "nvmlDeviceGetMemoryInfo_v2", || {
            card.memory_info().map(|memory| (memory.total, memory.used))
        });
        // That came with driver 510; the older one counts as used what the driver keeps for itself.
        let memory = memory.or_else(|| {
            self.fact(seen, "nvmlDeviceGetMemoryInfo", || {
                let get = symbol(&card.nvml().lib().nvmlDeviceGetMemoryInfo)?;
                let mut memory = MaybeUninit::zeroed();
                // SAFETY: the handle is the wrapper's own; the structure is three integers, of which
                // any value is one.
                let memory = unsafe {
                    nvml_try(get(card.handle(), memory.as_mut_ptr()))?;
                    memory.assume_init()
                };
                Ok((memory.total, memory.used))
            })
        });
        (seen.memory_total, seen.memory_used) = memory.unzip();
        let running = self.fact(seen, "nvmlDeviceGetComputeRunningProcesses_v3", || {
            card.running_compute_processes()
        });
        seen.processes = running.map(|running| {
            let process = |process: ProcessInfo| Process {
                pid: process.pid,
                name: program(process.pid),
                memory: match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                },
            };
            running.into_iter().map(process).collect()
        });
    }

    fn connections(&mut self, card: &Card<'_>, seen: &mut Device) {
        let mut links = (0, 0);
        for link in 0..LINKS {
            let active = self
                .fact(seen, "nvmlDeviceGetNvLinkState", || card.link_wrapper_for(link).is_active());
            // The numbers of links that exist have no holes.
            let Some(active) = active else { break };
            links = (links.0 + u32::from(active), links.1 + 1);
        }
        seen.nvlinks = (links.1 > 0).then_some(links);
        let fabric = self.fact(seen, "nvmlDeviceGetGpuFabricInfo", || {
            let get = symbol(&card.nvml().lib().nvmlDeviceGetGpuFabricInfo)?;
            let mut info = MaybeUninit::zeroed();
            // SAFETY: the handle is the wrapper's own; the structure is integers, of which any value
            // is one.
            unsafe {
                nvml_try(get(card.handle(), info.as_mut_ptr()))?;
                Ok(info.assume_init())
            }
        });
        // Source: nvml.h, NVML_GPU_FABRIC_STATE_*; 0 is a card without one.
        seen.fabric = fabric.and_then(|info| match (info.state, info.status) {
            (1, _) => Some("not-started".into()),
            (2, _) => Some("in-progress".into()),
            (3, 0) => Some("completed".into()),
            (3, _) => Some("failed".into()),
            _ => None,
        });
        let gen_now =
            self.fact(seen, "nvmlDeviceGetCurrPcieLinkGeneration", || card.current_pcie_link_gen());
        let width_now =
            self.fact(seen, "nvmlDeviceGetCurrPcieLinkWidth", || card.current_pcie_link_width());
        let gen_max =
            self.fact(seen, "nvmlDeviceGetMaxPcieLinkGeneration", || card.max_pcie_link_gen());
        let width_max =
            self.fact(seen, "nvmlDeviceGetMaxPcieLinkWidth", || card.max_pcie_link_width());
        seen.pcie = gen_now.zip(width_now).zip(gen_max.zip(width_max)).map(
            |((gen_now, width_now), (gen_max, width_max))| [gen_now, width_now, gen_max, width_max],
        );
    }
}

/// A function that the wrapper loads and does not wrap.
fn symbol<F: Copy>(loaded: &Result<F, impl ToString>) -> Result<F, NvmlError> {
    loaded.as_ref().copied().map_err(|err| NvmlError::FailedToLoadSymbol(err.to_string()))
}

/// Name of a process, where its number is one of this namespace: NVML counts as the host does.
fn program(pid: u32) -> Option<String> {
    // Source: include/linux/proc_ns.h, PROC_PID_INIT_INO.
    let namespace = fs_err::read_link("/proc/self/ns/pid").ok()?;
    (namespace.as_os_str() == "pid:[4026531836]").then_some(())?;
    Some(fs_err::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// `nvmlReturn_t` of an error.
const fn number(err: &NvmlError) -> Option<c_int> {
    Some(match err {
        NvmlError::Uninitialized => 1,
        NvmlError::InvalidArg => 2,
        NvmlError::NotSupported => 3,
        NvmlError::NoPermission => 4,
        NvmlError::NotFound => 6,
        NvmlError::InsufficientSize(_) => 7,
        NvmlError::InsufficientPower => 8,
        NvmlError::DriverNotLoaded => 9,
        NvmlError::Timeout => 10,
        NvmlError::IrqIssue => 11,
        NvmlError::LibraryNotFound => 12,
        NvmlError::FunctionNotFound => 13,
        NvmlError::CorruptedInfoROM => 14,
        NvmlError::GpuLost => LOST,
        NvmlError::ResetRequired => RESET,
        NvmlError::OperatingSystem => 17,
        NvmlError::LibRmVersionMismatch => MISMATCH,
        NvmlError::InUse => 19,
        NvmlError::InsufficientMemory => 20,
        NvmlError::NoData => 21,
        // The wrapper's name for every number that it does not know.
        NvmlError::Unknown => 999,
        _ => return None,
    })
}
