//! The image's NCCL, at the path where torch loads it, called by name.
#![allow(unsafe_code, reason = "NCCL is C")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use crate::verify::gpu::{Buffer, CudaError, Gpu};
use crate::verify::library::Loaded;

type Result<T> = std::result::Result<T, CudaError>;

/// `ncclDataType_t`: signed 32 bits.
pub(super) const INT32: c_int = 2;
/// `ncclDataType_t`: bf16; since NCCL 2.10.
pub(super) const BFLOAT16: c_int = 9;
/// `ncclRedOp_t`
const SUM: c_int = 0;

/// NCCL, loaded.
pub(super) struct Nccl(Loaded);

/// One end of the connection: a `ncclComm_t`.
pub(super) type Comm = *mut c_void;

// Functions, as nccl.h declares them.
type Connect = unsafe extern "C" fn(*mut Comm, c_int, *const c_int) -> c_int;
type Get = unsafe extern "C" fn(Comm, *mut c_int) -> c_int;
type Words = unsafe extern "C" fn(c_int) -> *const c_char;
type Last = unsafe extern "C" fn(Comm) -> *const c_char;

impl Nccl {
    /// Loads it as torch's own loader does.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let missing = |text| CudaError { call: "dlopen", status: None, text };
        Loaded::load(path).map(Self).map_err(missing)
    }

    /// `22703` is 2.27.3; below 2.9 its form was another one.
    pub(super) fn version(&self) -> Result<String> {
        let mut version: c_int = 0;
        // SAFETY: it writes one integer.
        self.call("ncclGetVersion", |get: unsafe extern "C" fn(*mut c_int) -> c_int| unsafe {
            get(&raw mut version)
        })?;
        let unit = if version < 10000 { 1000 } else { 10000 };
        Ok(format!("{}.{}.{}", version / unit, version % unit / 100, version % 100))
    }

    /// Connects devices with each other.
    pub(super) fn connect(&self, devices: &[u32]) -> Result<Vec<Comm>> {
        let indices: Vec<c_int> = devices.iter().map(|device| device.cast_signed()).collect();
        let mut comms: Vec<Comm> = vec![ptr::null_mut(); indices.len()];
        let number = c_int::try_from(indices.len()).unwrap_or(c_int::MAX);
        // SAFETY: as many ends are written, and indices read, as the number says.
        self.call("ncclCommInitAll", |connect: Connect| unsafe {
            connect(comms.as_mut_ptr(), number, indices.as_ptr())
        })?;
        Ok(comms)
    }

    /// Between this and its end are the calls of all devices, which a single thread makes one after the other.
    pub(super) fn group(&self, calls: impl FnOnce() -> Result<()>) -> Result<()> {
        type Plain = unsafe extern "C" fn() -> c_int;
        // SAFETY: neither takes anything.
        self.call("ncclGroupStart", |start: Plain| unsafe { start() })?;
        calls()?;
        // SAFETY: see above.
        self.call("ncclGroupEnd", |end: Plain| unsafe { end() })
    }

    /// Adds up what stands on all devices, on the default stream of this one.
    pub(super) fn all_reduce(
        &self,
        comm: Comm,
        (from, to): (&Buffer<'_>, &Buffer<'_>),
        count: usize,
        kind: c_int,
    ) -> Result<()> {
        type AllReduce =
            unsafe extern "C" fn(u64, u64, usize, c_int, c_int, Comm, *mut c_void) -> c_int;
        // SAFETY: pointers of the device are as wide as those that nccl.h declares; both buffers have room for
        // so many elements, which the caller sees to.
        self.call("ncclAllReduce", |reduce: AllReduce| unsafe {
            reduce(from.at(), to.at(), count, kind, SUM, comm, ptr::null_mut())
        })
    }

    /// What went wrong behind the calls, on the way.
    pub(super) fn asynchronous(&self, comm: Comm) -> Result<()> {
        let mut status: c_int = 0;
        // SAFETY: it writes one integer; an end that is open.
        self.call("ncclCommGetAsyncError", |get: Get| unsafe { get(comm, &raw mut status) })?;
        match status {
            0 => Ok(()),
            _ => Err(CudaError {
                call: "ncclCommGetAsyncError",
                status: Some(status),
                text: self.words(status),
            }),
        }
    }

    /// Looks a function up and calls it. Its type is the one of nccl.h: it stands beside the name.
    fn call<F: Copy>(&self, name: &'static str, with: impl FnOnce(F) -> c_int) -> Result<()> {
        // SAFETY: the caller gives the type.
        unsafe { self.0.call(name, with, |status| self.words(status)) }
    }

    fn words(&self, status: c_int) -> String {
        // SAFETY: both give texts that live as long as the library. `ncclGetLastError` reads no end, and is there
        // since NCCL 2.13.
        let (words, last) = unsafe {
            let words = self.0.get::<Words>("ncclGetErrorString").ok();
            let last = self.0.get::<Last>("ncclGetLastError").ok();
            (words.map(|get| text(get(status))), last.map(|get| text(get(ptr::null_mut()))))
        };
        let said = [words, last].into_iter().flatten().filter(|text| !text.trim().is_empty());
        let said: Vec<String> = said.map(|text| text.trim().to_owned()).collect();
        format!("status {status}: {}", said.join("; "))
    }
}

/// # Safety
/// A text that ends with a zero, or null.
unsafe fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

/// The devices of a connection with their ends of it.
pub(super) struct Ring<'r> {
    pub(super) nccl: &'r Nccl,
    pub(super) gpus: &'r [Gpu],
    pub(super) comms: &'r [Comm],
}

impl Ring<'_> {
    /// One sum over all devices, begun and not waited for.
    pub(super) fn reduce(
        &self,
        buffers: &[(Buffer<'_>, Buffer<'_>)],
        count: usize,
        kind: c_int,
    ) -> Result<()> {
        self.nccl.group(|| {
            for ((gpu, comm), (from, to)) in self.gpus.iter().zip(self.comms).zip(buffers) {
                gpu.make_current()?;
                self.nccl.all_reduce(*comm, (from, to), count, kind)?;
            }
            Ok(())
        })
    }

    /// Waits for all devices, and hears what went wrong on the way.
    pub(super) fn wait(&self) -> Result<()> {
        for gpu in self.gpus {
            gpu.make_current()?;
            gpu.synchronize()?;
        }
        self.comms.iter().try_for_each(|comm| self.nccl.asynchronous(*comm))
    }
}
