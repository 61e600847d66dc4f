//! NVML: the same devices as libcuda's, and the state that `FAKE_DRIVER` gives them.
//!
//! `driver=580.65.06`, `processes=0`, `throttle=0`, `mig=0`, `ecc=1`, `uncorrected=0`, `lost=INDEX`,
//! `sm_clock=1755` (MHz), `power=650` (W); what a function takes stands beside it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use crate::{cuda, fault};

/// Instances of MIG count from here.
const INSTANCES: usize = 100;

/// A number that a device has: function, type, name of the value, and the value of a healthy one.
macro_rules! number {
    ($($function:ident: $type:ty = $name:literal, $otherwise:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(_device: *mut c_void, to: *mut $type) -> c_int {
            match fault::status_of(stringify!($function)) {
                0 => (),
                status => return status,
            }
            *to = <$type>::try_from(fault::number($name, $otherwise)).expect("a number");
            0
        }
    )*};
}

unsafe fn say(to: *mut c_char, size: c_uint, text: &str) -> c_int {
    // NVML_ERROR_INSUFFICIENT_SIZE
    if text.len() >= size as usize {
        return 7;
    }
    cuda::say(to, size as usize, text);
    0
}

fn index(device: *mut c_void) -> usize {
    device.addr() - 1
}

/// `GPU-8f3a117c-529e-4d20-b605-19e47ac36000`
fn uuid(device: *mut c_void) -> String {
    let bytes = cuda::uuid(c_int::try_from(index(device)).expect("an index"));
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("GPU-{}", parts.join("-"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInit_v2() -> c_int {
    fault::status_of("nvmlInit_v2")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> c_int {
    fault::status_of("nvmlShutdown")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlErrorString(status: c_int) -> *const c_char {
    let text: &CStr = match status {
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        9 => c"Driver Not Loaded",
        15 => c"GPU is lost",
        18 => c"Driver/library version mismatch",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, size: c_uint) -> c_int {
    fault::enter!("nvmlSystemGetDriverVersion");
    say(to, size, &fault::text("driver").unwrap_or_else(|| "580.65.06".into()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetNVMLVersion(to: *mut c_char, size: c_uint) -> c_int {
    fault::enter!("nvmlSystemGetNVMLVersion");
    say(to, size, &format!("13.{}", fault::text("driver").unwrap_or_else(|| "580.65.06".into())))
}

/// `nvml-cuda=13000`: another version than libcuda's, as with a compat package.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(to: *mut c_int) -> c_int {
    fault::enter!("nvmlSystemGetCudaDriverVersion_v2");
    let version = fault::number("nvml-cuda", i64::from(cuda::version()));
    *to = c_int::try_from(version).expect("a version");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_int {
    fault::enter!("nvmlDeviceGetCount_v2");
    *count = cuda::devices().cast_unsigned();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    device: *mut *mut c_void,
) -> c_int {
    fault::enter!("nvmlDeviceGetHandleByIndex_v2");
    *device = ptr::without_provenance_mut(index as usize + 1);
    if fault::number("lost", -1) == i64::from(index) { 15 } else { 0 }
}

unsafe fn by(
    text: *const c_char,
    device: *mut *mut c_void,
    of: impl Fn(*mut c_void) -> String,
) -> c_int {
    let wanted = CStr::from_ptr(text).to_string_lossy();
    let count = usize::try_from(cuda::devices()).expect("a number");
    let handles = (1..=count).map(ptr::without_provenance_mut);
    // NVML_ERROR_NOT_FOUND
    let Some(found) = handles.into_iter().find(|handle| of(*handle) == wanted) else { return 6 };
    *device = found;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    text: *const c_char,
    device: *mut *mut c_void,
) -> c_int {
    fault::enter!("nvmlDeviceGetHandleByUUID");
    by(text, device, uuid)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    text: *const c_char,
    device: *mut *mut c_void,
) -> c_int {
    fault::enter!("nvmlDeviceGetHandleByPciBusId_v2");
    // As on the real one, a domain of four digits will do.
    let wanted = CStr::from_ptr(text).to_string_lossy();
    let (domain, rest) = wanted.split_once(':').unwrap_or(("0", &wanted));
    let wanted = format!("{domain:0>8}:{rest}\0");
    by(wanted.as_ptr().cast(), device, address)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetIndex(device: *mut c_void, to: *mut c_uint) -> c_int {
    fault::enter!("nvmlDeviceGetIndex");
    *to = c_uint::try_from(index(device)).expect("an index");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    device: *mut c_void,
    to: *mut c_char,
    size: c_uint,
) -> c_int {
    fault::enter!("nvmlDeviceGetName");
    let profile = if index(device) >= INSTANCES { " MIG 1g.10gb" } else { "" };
    say(to, size, &format!("{}{profile}", cuda::name()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(
    device: *mut c_void,
    to: *mut c_char,
    size: c_uint,
) -> c_int {
    fault::enter!("nvmlDeviceGetUUID");
    say(to, size, &uuid(device))
}

fn address(device: *mut c_void) -> String {
    format!("00000000:{:02X}:00.0", index(device) + 1)
}

/// `nvmlPciInfo_t`
#[repr(C)]
pub struct Pci {
    legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    id: c_uint,
    subsystem: c_uint,
    address: [c_char; 32],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: *mut c_void, to: *mut Pci) -> c_int {
    fault::enter!("nvmlDeviceGetPciInfo_v3");
    to.write_bytes(0, 1);
    (*to).bus = c_uint::try_from(index(device)).expect("an index") + 1;
    let at = &raw mut (*to).address;
    say(at.cast(), 32, &address(device))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    _device: *mut c_void,
    major: *mut c_int,
    minor: *mut c_int,
) -> c_int {
    fault::enter!("nvmlDeviceGetCudaComputeCapability");
    [*major, *minor] = cuda::capability().map(c_int::from);
    0
}

/// Two numbers: what is, and what will be after the next start.
macro_rules! modes {
    ($($function:ident = $name:literal, $otherwise:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            _device: *mut c_void,
            now: *mut c_uint,
            pending: *mut c_uint,
        ) -> c_int {
            match fault::status_of(stringify!($function)) {
                0 => (),
                status => return status,
            }
            *now = c_uint::try_from(fault::number($name, $otherwise)).expect("a mode");
            *pending = *now;
            0
        }
    )*};
}

modes! {
    nvmlDeviceGetMigMode = "mig", 0;
    nvmlDeviceGetEccMode = "ecc", 1;
}

/// Of the seven places two are taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    _device: *mut c_void,
    index: c_uint,
    instance: *mut *mut c_void,
) -> c_int {
    fault::enter!("nvmlDeviceGetMigDeviceHandleByIndex");
    *instance = ptr::without_provenance_mut(INSTANCES + 1 + index as usize);
    if matches!(index, 0 | 3) { 0 } else { 6 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    _device: *mut c_void,
    kind: c_int,
    counter: c_int,
    count: *mut u64,
) -> c_int {
    fault::enter!("nvmlDeviceGetTotalEccErrors");
    // Uncorrected ones since the driver was loaded; other counters are not to be mistaken for it.
    let uncorrected = (kind, counter) == (1, 0);
    *count = if uncorrected { fault::number("uncorrected", 0).cast_unsigned() } else { 77 };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    _device: *mut c_void,
    _sensor: c_int,
    celsius: *mut c_uint,
) -> c_int {
    fault::enter!("nvmlDeviceGetTemperature");
    *celsius = c_uint::try_from(fault::number("temperature", 31)).expect("a temperature");
    0
}

number! {
    nvmlDeviceGetComputeMode: c_int = "mode", 0;
    nvmlDeviceGetPersistenceMode: c_int = "persistence", 1;
    nvmlDeviceGetMaxMigDeviceCount: c_uint = "most", 7;
    nvmlDeviceGetCurrentClocksThrottleReasons: u64 = "throttle", 0;
    nvmlDeviceGetCurrentClocksEventReasons: u64 = "throttle", 0;
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = "generation", 5;
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = "most_generation", 5;
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = "width", 16;
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = "most_width", 16;
    nvmlDeviceGetPowerUsage: c_uint = "milliwatts", 650_000;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = "limit_milliwatts", 700_000;
    nvmlDeviceGetPerformanceState: c_int = "state", 0;
}

/// `NVML_CLOCK_GRAPHICS`, `_SM`, `_MEM`, `_VIDEO`, in MHz.
macro_rules! clocks {
    ($($function:ident = $name:literal, $otherwise:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            _device: *mut c_void,
            kind: c_int,
            to: *mut c_uint,
        ) -> c_int {
            match fault::status_of(stringify!($function)) {
                0 => (),
                status => return status,
            }
            let clock = if kind == 2 { 2619 } else { fault::number($name, $otherwise) };
            *to = c_uint::try_from(clock).expect("a clock");
            0
        }
    )*};
}

clocks! {
    nvmlDeviceGetClockInfo = "sm_clock", 1755;
    nvmlDeviceGetMaxClockInfo = "most_sm_clock", 1980;
}

/// `nvmlMemory_t`
#[repr(C)]
pub struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(_device: *mut c_void, to: *mut Memory) -> c_int {
    fault::enter!("nvmlDeviceGetMemoryInfo");
    let (total, free) = cuda::memory();
    *to = Memory { total, free, used: total - free };
    0
}

/// `nvmlMemory_v2_t`
#[repr(C)]
pub struct MemoryV2 {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// The driver keeps a gigabyte for itself; `used=` GiB are those of programs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    _device: *mut c_void,
    to: *mut MemoryV2,
) -> c_int {
    fault::enter!("nvmlDeviceGetMemoryInfo_v2");
    let (total, free) = cuda::memory();
    let used = (fault::number("used", 0).cast_unsigned() << 30) + (4 << 20);
    *to = MemoryV2 { version: (*to).version, total, reserved: 1 << 30, free, used };
    0
}

/// `nvmlProcessInfo_v2_t`
#[repr(C)]
pub struct Process {
    pid: c_uint,
    bytes: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    _device: *mut c_void,
    count: *mut c_uint,
    list: *mut Process,
) -> c_int {
    fault::enter!("nvmlDeviceGetComputeRunningProcesses_v3");
    let room = *count;
    *count = c_uint::try_from(fault::number("processes", 0)).expect("a number");
    for i in 0..room.min(*count) {
        let bytes = if i == 0 { 3 << 30 } else { u64::MAX };
        let instance = c_uint::MAX;
        *list.add(i as usize) =
            Process { pid: i + 1, bytes, gpu_instance: instance, compute_instance: instance };
    }
    if room < *count { 7 } else { 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    _device: *mut c_void,
    corrected: *mut c_uint,
    uncorrected: *mut c_uint,
    pending: *mut c_uint,
    failed: *mut c_uint,
) -> c_int {
    fault::enter!("nvmlDeviceGetRemappedRows");
    (*corrected, *uncorrected) = (2, 2);
    *pending = c_uint::try_from(fault::number("remap_pending", 0)).expect("a flag");
    *failed = c_uint::try_from(fault::number("remap_failed", 0)).expect("a flag");
    0
}

/// `links=18`, of which the last does not answer to `down=1`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetNvLinkState(
    _device: *mut c_void,
    link: c_uint,
    active: *mut c_int,
) -> c_int {
    fault::enter!("nvmlDeviceGetNvLinkState");
    let (link, links) = (i64::from(link), fault::number("links", 0));
    *active = c_int::from(link < links - fault::number("down", 0));
    if link < links { 0 } else { 3 }
}

/// `nvmlGpuFabricInfo_t`
#[repr(C)]
pub struct Fabric {
    cluster: [u8; 16],
    status: c_int,
    clique: c_uint,
    state: u8,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuFabricInfo(
    _device: *mut c_void,
    to: *mut Fabric,
) -> c_int {
    fault::enter!("nvmlDeviceGetGpuFabricInfo");
    to.write_bytes(0, 1);
    (*to).state = u8::try_from(fault::number("fabric", 0)).expect("a state");
    (*to).status = c_int::try_from(fault::number("fabric_status", 0)).expect("a status");
    0
}
