//! libcuda as a program meets it: which file is mapped, what `cuInit` says, which devices there are.
//!
//! A handful of functions by hand: each status stays a number, since drivers newer than any binding
//! return numbers that the binding does not know.
#![allow(unsafe_code, reason = "the driver is C")]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::mem::ManuallyDrop;
use std::ptr;
use std::time::Duration;

use libloading::Library;

use super::probe::{self, Phase};
use super::{Answer, Cuda, CudaDevice, Failure};
use crate::domain::{ComputeCapability, CudaVersion};

/// The name that torch asks for. `libcuda.so` is a link for compilers, and may lead to a stub.
const SONAME: &str = "libcuda.so.1";

/// Names of statuses, for a driver that is too old to know them and for the stub, which knows none.
///
/// Source: cuda.h, `cudaError_enum`.
const STATUSES: &[(c_int, &str)] = &[
    (2, "CUDA_ERROR_OUT_OF_MEMORY"),
    (3, "CUDA_ERROR_NOT_INITIALIZED"),
    (34, "CUDA_ERROR_STUB_LIBRARY"),
    (35, "CUDA_ERROR_INSUFFICIENT_DRIVER"),
    (36, "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"),
    (46, "CUDA_ERROR_DEVICE_UNAVAILABLE"),
    (100, "CUDA_ERROR_NO_DEVICE"),
    (101, "CUDA_ERROR_INVALID_DEVICE"),
    (214, "CUDA_ERROR_ECC_UNCORRECTABLE"),
    (220, "CUDA_ERROR_NVLINK_UNCORRECTABLE"),
    (304, "CUDA_ERROR_OPERATING_SYSTEM"),
    (800, "CUDA_ERROR_NOT_PERMITTED"),
    (802, "CUDA_ERROR_SYSTEM_NOT_READY"),
    (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
    (804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
    (805, "CUDA_ERROR_MPS_CONNECTION_FAILED"),
    (806, "CUDA_ERROR_MPS_RPC_FAILURE"),
    (807, "CUDA_ERROR_MPS_SERVER_NOT_READY"),
    (808, "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED"),
    (809, "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED"),
    (999, "CUDA_ERROR_UNKNOWN"),
];

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const CAPABILITY: [c_int; 2] = [75, 76];

/// Asks libcuda in a child of this program.
pub fn ask(deadline: Duration) -> Answer<Cuda> {
    probe::ask("cuda", deadline)
}

/// Asks libcuda in this process, which may not survive it.
pub fn probe(phase: Phase<'_>) -> Answer<Cuda> {
    let library = match probe::load(SONAME, phase) {
        // Closing it could hang or crash as well.
        Ok(library) => ManuallyDrop::new(library),
        Err(answer) => return answer,
    };
    let file = probe::mapped("libcuda.so");
    let file_version = file.as_deref().and_then(probe::version_of);
    let mut cuda = Cuda { file, file_version, ..Cuda::default() };
    cuda.failure = Driver { library: &library, phase }.tell(&mut cuda).err();
    Answer::Told(cuda)
}

struct Driver<'d> {
    library: &'d Library,
    phase: Phase<'d>,
}

impl Driver<'_> {
    /// Fills in what can be told, up to the first call that fails.
    fn tell(&mut self, cuda: &mut Cuda) -> Result<(), Failure> {
        // It answers without a GPU, and before cuInit.
        cuda.version = self.number("cuDriverGetVersion").ok().and_then(version);
        self.call("cuInit", |init: unsafe extern "C" fn(c_uint) -> c_int| {
            // SAFETY: as cuda.h declares it; no flag is defined.
            unsafe { init(0) }
        })?;
        for index in 0..self.number("cuDeviceGetCount")? {
            cuda.devices.push(self.device(index)?);
        }
        Ok(())
    }

    fn device(&mut self, index: c_int) -> Result<CudaDevice, Failure> {
        let mut device: c_int = 0;
        self.call("cuDeviceGet", |get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int| {
            // SAFETY: as cuda.h declares it; it writes one integer.
            unsafe { get(&raw mut device, index) }
        })?;
        let mut name: [c_char; 256] = [0; 256];
        self.call(
            "cuDeviceGetName",
            |get: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int| {
                // SAFETY: as cuda.h declares it; one byte less than there is, so that a zero stays at
                // the end.
                unsafe { get(name.as_mut_ptr(), 255, device) }
            },
        )?;
        // SAFETY: the last byte is zero.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let mut attribute = |which| {
            let mut value: c_int = 0;
            self.call(
                "cuDeviceGetAttribute",
                |get: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int| {
                    // SAFETY: as cuda.h declares it; it writes one integer.
                    unsafe { get(&raw mut value, which, device) }
                },
            )
            .ok()
            .and_then(|()| u8::try_from(value).ok())
        };
        let [major, minor] = CAPABILITY.map(&mut attribute);
        let capability =
            major.zip(minor).map(|(major, minor)| ComputeCapability::new(major, minor));
        let mut bytes: usize = 0;
        let memory_total = self
            .call("cuDeviceTotalMem_v2", |get: unsafe extern "C" fn(*mut usize, c_int) -> c_int| {
                // SAFETY: as cuda.h declares it; it writes one size_t.
                unsafe { get(&raw mut bytes, device) }
            })
            .ok()
            .map(|()| bytes as u64);
        Ok(CudaDevice { name, capability, memory_total })
    }

    /// A function that writes one integer.
    fn number(&mut self, name: &str) -> Result<c_int, Failure> {
        let mut value = 0;
        self.call(name, |get: unsafe extern "C" fn(*mut c_int) -> c_int| {
            // SAFETY: as cuda.h declares it; it writes one integer.
            unsafe { get(&raw mut value) }
        })?;
        Ok(value)
    }

    /// Looks a function up and calls it. Its type is the one of cuda.h: it stands beside the name.
    fn call<F: Copy>(&mut self, name: &str, with: impl FnOnce(F) -> c_int) -> Result<(), Failure> {
        (self.phase)(name);
        // SAFETY: nothing is called here; the caller gives the type.
        let function = unsafe { self.library.get::<F>(name) }.map_err(|err| Failure {
            call: name.into(),
            code: None,
            text: err.source().map_or_else(|| err.to_string(), ToString::to_string),
        })?;
        match with(*function) {
            0 => Ok(()),
            code => Err(Failure {
                call: name.into(),
                code: Some(code),
                text: status_name(self.library, code),
            }),
        }
    }
}

/// `CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected`, in the driver's words where it has some.
pub fn status_name(library: &Library, code: c_int) -> String {
    let known = STATUSES.iter().find(|(status, _)| *status == code).map(|(_, name)| *name);
    let name = word(library, "cuGetErrorName", code).or_else(|| known.map(Into::into));
    let name = name.unwrap_or_else(|| format!("status {code}"));
    match word(library, "cuGetErrorString", code) {
        Some(text) => format!("{name}: {text}"),
        None => name,
    }
}

fn word(library: &Library, function: &str, code: c_int) -> Option<String> {
    type Get = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;
    let mut text: *const c_char = ptr::null();
    // SAFETY: both functions are so declared in cuda.h, and write a pointer to a constant text, or none
    // where they do not know the number.
    unsafe {
        let get = library.get::<Get>(function).ok()?;
        let known = get(code, &raw mut text) == 0 && !text.is_null();
        known.then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// 12080 is CUDA 12.8.
pub(super) fn version(number: c_int) -> Option<CudaVersion> {
    let number = u16::try_from(number).ok().filter(|n| *n >= 1000)?;
    Some(CudaVersion::new(number / 1000, number % 1000 / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_versions() {
        let read = |number| version(number).map(|v| v.to_string());
        assert_eq!(read(12080).as_deref(), Some("12.8"));
        assert_eq!(read(11040).as_deref(), Some("11.4"));
        assert_eq!((read(0), read(-1)), (None, None));
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(STATUSES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
