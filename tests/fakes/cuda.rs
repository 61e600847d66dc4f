//! libcuda: devices that `FAKE_DRIVER` describes, and memory of the host.
//!
//! `devices=1`, `capability=9.0`, `name=`, `cuda=12080`, `sms=132`, `memory=80` (GiB), `free=79` (GiB).
//! As on the real one nothing works before `cuInit`, most of it needs a current context, and an injected
//! status from 700 to 719 is the context's last: every later call returns it as well.

use std::alloc::Layout;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Instant;

use crate::fault;

const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;
const NOT_INITIALIZED: c_int = 3;
const INVALID_DEVICE: c_int = 101;
/// `CUDA_ERROR_ILLEGAL_ADDRESS`
pub const ILLEGAL_ADDRESS: c_int = 700;

/// Bytes before and behind each allocation that nobody may touch, and what stands in them.
const SLACK: usize = 16 << 10;
const CANARY: u8 = 0xA5;

static INITIALIZED: AtomicBool = AtomicBool::new(false);
static STICKY: AtomicI32 = AtomicI32::new(0);
/// Blocks with their slack around them, by their device pointers.
static BLOCKS: Mutex<BTreeMap<u64, Block>> = Mutex::new(BTreeMap::new());
/// Milliseconds of the device's own clock; `None`: it shows the host's.
static CLOCK: Mutex<Option<f64>> = Mutex::new(None);
thread_local!(static CONTEXT: Cell<usize> = const { Cell::new(0) });

struct Block {
    /// Where its slack begins.
    start: usize,
    bytes: usize,
}

impl Block {
    fn layout(&self) -> Layout {
        Layout::from_size_align(self.bytes + 2 * SLACK, 256).expect("a layout")
    }

    /// Nothing where the host has not so much.
    fn new(bytes: usize) -> Option<Self> {
        let mut block = Self { start: 0, bytes };
        // SAFETY: a layout that is not empty; all is written within it.
        unsafe {
            let start = std::alloc::alloc_zeroed(block.layout());
            if start.is_null() {
                return None;
            }
            start.write_bytes(CANARY, SLACK);
            start.add(SLACK + bytes).write_bytes(CANARY, SLACK);
            // What stands in fresh memory is anything; large blocks stay without pages until they are used.
            start.add(SLACK).write_bytes(0x5B, bytes.min(16 << 20));
            block.start = start.expose_provenance();
        }
        Some(block)
    }

    fn pointer(&self) -> u64 {
        (self.start + SLACK) as u64
    }

    /// Somebody wrote outside of it.
    fn is_overrun(&self) -> bool {
        [self.start, self.start + SLACK + self.bytes].iter().any(|at| {
            let at: *const u8 = ptr::with_exposed_provenance(*at);
            // SAFETY: both are within the layout.
            unsafe { std::slice::from_raw_parts(at, SLACK) }.iter().any(|byte| *byte != CANARY)
        })
    }
}

/// Begins a function that works from `cuInit` on.
macro_rules! begin {
    ($name:literal) => {
        fault::enter!($name);
        if !INITIALIZED.load(Ordering::Relaxed) {
            return NOT_INITIALIZED;
        }
    };
}

/// Begins a function of the current context.
macro_rules! within {
    ($name:literal) => {
        let status = fault::status_of($name);
        if (700..720).contains(&status) {
            $crate::cuda::break_with(status);
        }
        for status in [status, $crate::cuda::broken()] {
            if status != 0 {
                return status;
            }
        }
        if !$crate::cuda::has_context() {
            return 201;
        }
    };
}
pub(crate) use within;

/// A context is current in this thread.
pub fn has_context() -> bool {
    CONTEXT.get() != 0
}

/// The status that the context has come to.
pub fn broken() -> c_int {
    STICKY.load(Ordering::Relaxed)
}

/// Makes a status the last of the context.
pub fn break_with(status: c_int) -> c_int {
    STICKY.store(status, Ordering::Relaxed);
    status
}

pub fn devices() -> c_int {
    c_int::try_from(fault::number("devices", 1)).expect("a number of devices")
}

/// Major and minor version.
pub fn capability() -> [u8; 2] {
    let text = fault::text("capability").unwrap_or_else(|| "9.0".into());
    let (major, minor) = text.split_once('.').expect("major.minor");
    [major, minor].map(|number| number.parse().expect("a number"))
}

pub fn name() -> String {
    fault::text("name").unwrap_or_else(|| "NVIDIA H100 80GB HBM3".into())
}

/// 12080 is CUDA 12.8.
pub fn version() -> c_int {
    c_int::try_from(fault::number("cuda", 13000)).expect("a version")
}

/// The sixteen bytes of a device's UUID; NVML tells the same.
pub fn uuid(device: c_int) -> [u8; 16] {
    let mut bytes = *b"\x8f\x3a\x11\x7c\x52\x9e\x4d\x20\xb6\x05\x19\xe4\x7a\xc3\x60\x00";
    bytes[15] = u8::try_from(device).expect("a small number");
    bytes
}

/// Bytes of all of a device's memory, and of what is free.
pub fn memory() -> (u64, u64) {
    let total = fault::number("memory", 80);
    let free = fault::number("free", total - 1);
    [total, free].map(|gib| u64::try_from(gib).expect("a size") << 30).into()
}

/// The text with a zero behind it, as much of it as there is room for.
pub unsafe fn say(to: *mut c_char, size: usize, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(size - 1)];
    ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len());
    *to.add(bytes.len()) = 0;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(_flags: c_uint) -> c_int {
    // A driver may print what it likes.
    drop(std::io::Write::write_all(&mut std::io::stdout(), b"hello from the driver\n"));
    fault::enter!("cuInit");
    if devices() == 0 {
        return 100;
    }
    INITIALIZED.store(true, Ordering::Relaxed);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(to: *mut c_int) -> c_int {
    fault::enter!("cuDriverGetVersion");
    *to = version();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> c_int {
    begin!("cuDeviceGetCount");
    *count = devices();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, index: c_int) -> c_int {
    begin!("cuDeviceGet");
    if !(0..devices()).contains(&index) {
        return INVALID_DEVICE;
    }
    *device = index;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, size: c_int, _device: c_int) -> c_int {
    begin!("cuDeviceGetName");
    say(to, usize::try_from(size).expect("a size"), &name());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetPCIBusId(to: *mut c_char, size: c_int, device: c_int) -> c_int {
    begin!("cuDeviceGetPCIBusId");
    // Four digits of a domain, where NVML has eight.
    let text = format!("0000:{:02X}:00.0", device + 1);
    say(to, usize::try_from(size).expect("a size"), &text);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(to: *mut u8, device: c_int) -> c_int {
    begin!("cuDeviceGetUuid_v2");
    ptr::copy_nonoverlapping(uuid(device).as_ptr(), to, 16);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    to: *mut c_int,
    which: c_int,
    device: c_int,
) -> c_int {
    begin!("cuDeviceGetAttribute");
    let named = |name, otherwise| c_int::try_from(fault::number(name, otherwise)).expect("an int");
    *to = match which {
        1 => 1024,                       // threads of a block
        8 => 48 << 10,                   // shared memory of a block
        10 => 32,                        // threads of a warp
        13 => named("clock", 1_980_000), // kHz
        16 => named("sms", 132),         // multiprocessors
        20 => named("mode", 0),          // compute mode
        32 => named("ecc", 1),           // ECC
        33 => device + 1,                // PCI bus
        // Integrated, PCI device and domain, memory pools.
        18 | 34 | 50 | 115 => 0,
        36 => 2_619_000,             // kHz of the memory
        37 => 5120,                  // bits of the memory's bus
        38 => named("l2", 50 << 20), // bytes of L2
        39 => 2048,                  // threads of a multiprocessor
        41 => 1,                     // unified addresses
        75 => c_int::from(capability()[0]),
        76 => c_int::from(capability()[1]),
        _ => return INVALID_VALUE,
    };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> c_int {
    begin!("cuDeviceTotalMem_v2");
    *bytes = usize::try_from(memory().0).expect("64 bits");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(to: *mut *mut c_void, device: c_int) -> c_int {
    begin!("cuDevicePrimaryCtxRetain");
    *to = ptr::without_provenance_mut(usize::try_from(device).expect("a device") + 1);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> c_int {
    begin!("cuDevicePrimaryCtxRelease_v2");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> c_int {
    begin!("cuCtxSetCurrent");
    CONTEXT.set(context.addr());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(to: *mut *mut c_void) -> c_int {
    begin!("cuCtxGetCurrent");
    *to = ptr::without_provenance_mut(CONTEXT.get());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(to: *mut c_int) -> c_int {
    within!("cuCtxGetDevice");
    *to = c_int::try_from(CONTEXT.get() - 1).expect("a device");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> c_int {
    within!("cuCtxSynchronize");
    let blocks = BLOCKS.lock().expect("the blocks");
    if blocks.values().any(Block::is_overrun) { break_with(ILLEGAL_ADDRESS) } else { 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_int {
    within!("cuMemGetInfo_v2");
    let (all, left) = memory();
    (*total, *free) = (usize::try_from(all).expect("64 bits"), left_of(left));
    0
}

fn left_of(free: u64) -> usize {
    let used: usize = BLOCKS.lock().expect("the blocks").values().map(|block| block.bytes).sum();
    usize::try_from(free).expect("64 bits").saturating_sub(used)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> c_int {
    within!("cuMemAlloc_v2");
    if bytes == 0 {
        return INVALID_VALUE;
    }
    if bytes > left_of(memory().1) {
        return OUT_OF_MEMORY;
    }
    let Some(block) = Block::new(bytes) else { return OUT_OF_MEMORY };
    *to = block.pointer();
    BLOCKS.lock().expect("the blocks").insert(block.pointer(), block);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(at: u64) -> c_int {
    within!("cuMemFree_v2");
    let Some(block) = BLOCKS.lock().expect("the blocks").remove(&at) else { return INVALID_VALUE };
    let overrun = block.is_overrun();
    std::alloc::dealloc(ptr::with_exposed_provenance_mut(block.start), block.layout());
    if overrun { break_with(ILLEGAL_ADDRESS) } else { 0 }
}

/// So many bytes from there on are within one allocation.
pub fn is_mapped(at: u64, bytes: usize) -> bool {
    let blocks = BLOCKS.lock().expect("the blocks");
    let below = blocks.range(..=at).next_back();
    below.is_some_and(|(start, block)| at + bytes as u64 <= start + block.bytes as u64)
}

/// What stands there, as a kernel reads it.
pub unsafe fn bytes_at(at: u64, bytes: usize) -> Option<Vec<u8>> {
    let from = ptr::with_exposed_provenance(usize::try_from(at).expect("64 bits"));
    is_mapped(at, bytes).then(|| std::slice::from_raw_parts(from, bytes).to_vec())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8_v2(at: u64, byte: u8, bytes: usize) -> c_int {
    within!("cuMemsetD8_v2");
    if !is_mapped(at, bytes) {
        return INVALID_VALUE;
    }
    let to: *mut u8 = ptr::with_exposed_provenance_mut(usize::try_from(at).expect("64 bits"));
    to.write_bytes(byte, bytes);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> c_int {
    within!("cuMemcpyHtoD_v2");
    if !is_mapped(to, bytes) {
        return INVALID_VALUE;
    }
    let to: *mut u8 = ptr::with_exposed_provenance_mut(usize::try_from(to).expect("64 bits"));
    to.copy_from_nonoverlapping(from.cast(), bytes);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> c_int {
    within!("cuMemcpyDtoH_v2");
    if !is_mapped(from, bytes) {
        return INVALID_VALUE;
    }
    let from: *const u8 = ptr::with_exposed_provenance(usize::try_from(from).expect("64 bits"));
    from.copy_to_nonoverlapping(to.cast(), bytes);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> c_int {
    within!("cuMemcpyDtoD_v2");
    if !is_mapped(to, bytes) || !is_mapped(from, bytes) {
        return INVALID_VALUE;
    }
    let [to, from] = [to, from].map(|at| usize::try_from(at).expect("64 bits"));
    let from: *const u8 = ptr::with_exposed_provenance(from);
    from.copy_to(ptr::with_exposed_provenance_mut(to), bytes);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(to: *mut *mut c_void, _flags: c_uint) -> c_int {
    within!("cuStreamCreate");
    *to = Box::into_raw(Box::new(0_u64)).cast();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(_stream: *mut c_void) -> c_int {
    within!("cuStreamSynchronize");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> c_int {
    within!("cuStreamDestroy_v2");
    drop(Box::from_raw(stream.cast::<u64>()));
    0
}

/// A point in time: the host's clock and the device's.
type Point = Option<(Instant, Option<f64>)>;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(to: *mut *mut c_void, _flags: c_uint) -> c_int {
    within!("cuEventCreate");
    *to = Box::into_raw(Box::new(Point::None)).cast();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: *mut c_void, _stream: *mut c_void) -> c_int {
    within!("cuEventRecord");
    *event.cast::<Point>() = Some((Instant::now(), *CLOCK.lock().expect("the clock")));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(_event: *mut c_void) -> c_int {
    within!("cuEventSynchronize");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    to: *mut f32,
    from: *mut c_void,
    until: *mut c_void,
) -> c_int {
    within!("cuEventElapsedTime");
    let points = [*from.cast::<Point>(), *until.cast::<Point>()];
    // CUDA_ERROR_INVALID_HANDLE: one that was never recorded.
    let [Some(from), Some(until)] = points else { return 400 };
    let milliseconds = match until.1 {
        Some(clock) => clock - from.1.unwrap_or(0.0),
        None => (until.0 - from.0).as_secs_f64() * 1e3,
    };
    #[allow(clippy::cast_possible_truncation, reason = "as cuda.h has it")]
    to.write(milliseconds as f32);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> c_int {
    within!("cuEventDestroy_v2");
    drop(Box::from_raw(event.cast::<Point>()));
    0
}

/// None of NVIDIA's: lets the device's own clock go on, and events measure by it from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fakeAdvance(milliseconds: f64) {
    *CLOCK.lock().expect("the clock").get_or_insert(0.0) += milliseconds;
}

/// Lets the clock of the loaded libcuda go on, from the library of another name.
pub fn advance(milliseconds: f64) {
    // SAFETY: it is loaded already, and this file declares the function.
    unsafe {
        let library = libloading::Library::new("libcuda.so.1").expect("libcuda is loaded");
        let advance: libloading::Symbol<'_, unsafe extern "C" fn(f64)> =
            library.get("fakeAdvance").expect("a fake libcuda");
        advance(milliseconds);
    }
}

/// Name and meaning of each status that the fakes give.
const STATUSES: &[(c_int, &CStr, &CStr)] = &[
    (1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (
        209,
        c"CUDA_ERROR_NO_BINARY_FOR_GPU",
        c"no kernel image is available for execution on the device",
    ),
    (214, c"CUDA_ERROR_ECC_UNCORRECTABLE", c"uncorrectable ECC error encountered"),
    (218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (
        220,
        c"CUDA_ERROR_NVLINK_UNCORRECTABLE",
        c"uncorrectable NVLink error detected during the execution",
    ),
    (221, c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", c"PTX JIT compiler library not found"),
    (
        222,
        c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        c"the provided PTX was compiled with an unsupported toolchain.",
    ),
    (223, c"CUDA_ERROR_JIT_COMPILATION_DISABLED", c"PTX JIT compilation was disabled"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (719, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

unsafe fn word(status: c_int, to: *mut *const c_char, which: usize) -> c_int {
    let known = STATUSES.iter().find(|(number, ..)| *number == status);
    *to = known.map_or(ptr::null(), |(_, name, text)| [name, text][which].as_ptr());
    if known.is_some() { 0 } else { INVALID_VALUE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: c_int, to: *mut *const c_char) -> c_int {
    word(status, to, 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(status: c_int, to: *mut *const c_char) -> c_int {
    word(status, to, 1)
}
