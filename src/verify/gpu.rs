//! One device through libcuda: memory, modules, launches, time.
//!
//! Functions are looked up by name in `libcuda.so.1` and called with their status as a plain number: a driver
//! that lacks one, or returns a status that nobody knows yet, gives an error and nothing worse. cudarc, whose
//! types this resembles, takes `libcuda.so` first (a toolkit's stub, in a devel image), panics where a symbol
//! is missing, and has undefined behaviour where a status is newer than its enumeration.
#![allow(unsafe_code, reason = "the driver is C")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::ptr;

use libloading::Library;

use crate::host::cuda::status_name;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {text}")]
pub struct CudaError {
    /// The function: `cuMemAlloc_v2`.
    pub call: &'static str,
    /// Its `CUresult`; `None`: the driver has no such function, or none could be loaded.
    pub status: Option<c_int>,
    /// `CUDA_ERROR_OUT_OF_MEMORY: out of memory`, or the loader's words.
    pub text: String,
}

type Result<T> = std::result::Result<T, CudaError>;

/// `CUdevice_attribute`: streaming multiprocessors.
pub const MULTIPROCESSORS: c_int = 16;
/// `CUdevice_attribute`: bytes of the L2 cache.
pub const L2_BYTES: c_int = 38;

/// libcuda with its primary context of one device, current in this thread.
///
/// It is never closed: a driver that hangs or dies while closing would spoil what has been told.
pub struct Gpu {
    library: ManuallyDrop<Library>,
    device: c_int,
    /// Null until it is opened.
    context: *mut c_void,
}

impl Gpu {
    /// Loads libcuda and calls `cuInit`. `enter` hears the name of each call before it is made.
    pub fn load(enter: &mut dyn FnMut(&str)) -> Result<Self> {
        enter("dlopen libcuda.so.1");
        // SAFETY: the constructors of the driver run, as in every CUDA program.
        let library = unsafe { Library::new("libcuda.so.1") }.map_err(|err| {
            let text = std::error::Error::source(&err)
                .map_or_else(|| err.to_string(), ToString::to_string);
            CudaError { call: "dlopen", status: None, text }
        })?;
        let gpu = Self { library: ManuallyDrop::new(library), device: 0, context: ptr::null_mut() };
        enter("cuInit");
        // SAFETY: as cuda.h declares it; no flag is defined.
        gpu.call("cuInit", |init: unsafe extern "C" fn(c_uint) -> c_int| unsafe { init(0) })?;
        Ok(gpu)
    }

    /// Loads libcuda and makes the primary context of a device current.
    pub fn open(index: u32, enter: &mut dyn FnMut(&str)) -> Result<Self> {
        let mut gpu = Self::load(enter)?;
        enter("cuDeviceGet");
        let mut device: c_int = 0;
        // SAFETY: it writes one integer.
        gpu.call("cuDeviceGet", |get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int| unsafe {
            get(&raw mut device, index.cast_signed())
        })?;
        gpu.device = device;
        enter("cuDevicePrimaryCtxRetain");
        let mut context: *mut c_void = ptr::null_mut();
        // SAFETY: it writes one pointer.
        gpu.call(
            "cuDevicePrimaryCtxRetain",
            |retain: unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int| unsafe {
                retain(&raw mut context, device)
            },
        )?;
        gpu.context = context;
        enter("cuCtxSetCurrent");
        gpu.make_current()?;
        Ok(gpu)
    }

    /// What this thread asks of the driver next is about this device. Needed where a process has opened several:
    /// each is current when it is opened.
    pub fn make_current(&self) -> Result<()> {
        // SAFETY: a context that the driver has given, and that nobody releases.
        self.call("cuCtxSetCurrent", |set: unsafe extern "C" fn(*mut c_void) -> c_int| unsafe {
            set(self.context)
        })
    }

    /// Number of devices that this process sees.
    pub fn count(&self) -> Result<u32> {
        let mut count: c_int = 0;
        // SAFETY: it writes one integer.
        self.call("cuDeviceGetCount", |get: unsafe extern "C" fn(*mut c_int) -> c_int| unsafe {
            get(&raw mut count)
        })?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Name of the device.
    pub fn name(&self) -> Result<String> {
        let mut name: [c_char; 256] = [0; 256];
        self.call(
            "cuDeviceGetName",
            // SAFETY: one byte less than there is, so that a zero stays at the end.
            |get: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int| unsafe {
                get(name.as_mut_ptr(), 255, self.device)
            },
        )?;
        // SAFETY: the last byte is zero.
        Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// `00000000:01:00.0`
    pub fn address(&self) -> Result<String> {
        let mut name: [c_char; 64] = [0; 64];
        self.call(
            "cuDeviceGetPCIBusId",
            // SAFETY: one byte less than there is, so that a zero stays at the end.
            |get: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int| unsafe {
                get(name.as_mut_ptr(), 63, self.device)
            },
        )?;
        // SAFETY: the last byte is zero.
        Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// The sixteen bytes of the device's UUID, of a MIG instance where the device is one.
    pub fn uuid(&self) -> Result<[u8; 16]> {
        let mut uuid = [0_u8; 16];
        self.call(
            "cuDeviceGetUuid_v2",
            // SAFETY: it writes sixteen bytes.
            |get: unsafe extern "C" fn(*mut u8, c_int) -> c_int| unsafe {
                get(uuid.as_mut_ptr(), self.device)
            },
        )?;
        Ok(uuid)
    }

    /// An attribute of the device, by its number in cuda.h.
    pub fn attribute(&self, which: c_int) -> Result<c_int> {
        let mut value: c_int = 0;
        self.call(
            "cuDeviceGetAttribute",
            // SAFETY: it writes one integer.
            |get: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int| unsafe {
                get(&raw mut value, which, self.device)
            },
        )?;
        Ok(value)
    }

    /// Compute capability of the device.
    pub fn capability(&self) -> Result<crate::domain::ComputeCapability> {
        let [major, minor] = [self.attribute(75)?, self.attribute(76)?]
            .map(|value| u8::try_from(value).unwrap_or(u8::MAX));
        Ok(crate::domain::ComputeCapability::new(major, minor))
    }

    /// Free and total memory of the device, in bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let (mut free, mut total) = (0_usize, 0_usize);
        self.call(
            "cuMemGetInfo_v2",
            // SAFETY: it writes two sizes.
            |get: unsafe extern "C" fn(*mut usize, *mut usize) -> c_int| unsafe {
                get(&raw mut free, &raw mut total)
            },
        )?;
        Ok((free as u64, total as u64))
    }

    /// `cuDriverGetVersion`: 12080 is CUDA 12.8.
    pub fn driver_version(&self) -> Result<c_int> {
        let mut version: c_int = 0;
        // SAFETY: it writes one integer.
        self.call("cuDriverGetVersion", |get: unsafe extern "C" fn(*mut c_int) -> c_int| unsafe {
            get(&raw mut version)
        })?;
        Ok(version)
    }

    /// Memory on the device, freed when dropped; what stands in it is anything.
    pub fn alloc(&self, bytes: usize) -> Result<Buffer<'_>> {
        let mut at: u64 = 0;
        // SAFETY: it writes one device pointer.
        self.call(
            "cuMemAlloc_v2",
            |alloc: unsafe extern "C" fn(*mut u64, usize) -> c_int| unsafe {
                alloc(&raw mut at, bytes)
            },
        )?;
        Ok(Buffer { gpu: self, at, bytes })
    }

    /// Memory on the device with these bytes in it.
    pub fn upload(&self, bytes: &[u8]) -> Result<Buffer<'_>> {
        let mut buffer = self.alloc(bytes.len().max(1))?;
        buffer.write(bytes)?;
        Ok(buffer)
    }

    /// Waits until all that was launched is done. The first call at which a fault of a kernel shows.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: it takes nothing.
        self.call("cuCtxSynchronize", |wait: unsafe extern "C" fn() -> c_int| unsafe { wait() })
    }

    /// Loads a module: PTX text with a zero at its end, which the driver compiles, or a cubin.
    pub fn module(&self, image: &[u8]) -> Result<Module<'_>> {
        type Load = unsafe extern "C" fn(
            *mut *mut c_void,
            *const c_void,
            c_uint,
            *mut c_int,
            *mut *mut c_void,
        ) -> c_int;
        // `CU_JIT_ERROR_LOG_BUFFER` and its size: what the compiler has to say.
        let mut log = [0_u8; 4096];
        let mut options: [c_int; 2] = [5, 6];
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), ptr::without_provenance_mut(log.len() - 1)];
        let mut module: *mut c_void = ptr::null_mut();
        // SAFETY: the image is PTX that ends with a zero, or an ELF file that tells its own length; two
        // options and as many values, and the log has its length said.
        let loaded = self.call("cuModuleLoadDataEx", |load: Load| unsafe {
            load(
                &raw mut module,
                image.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        });
        loaded.map_err(|mut err| {
            let said =
                CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy).unwrap_or_default();
            if !said.trim().is_empty() {
                err.text = format!("{}; the compiler says: {}", err.text, said.trim());
            }
            err
        })?;
        Ok(Module { gpu: self, module })
    }

    /// A point in time of the device's default stream.
    pub fn event(&self) -> Result<Event<'_>> {
        let mut event: *mut c_void = ptr::null_mut();
        // SAFETY: it writes one pointer; no flag, so that it measures time.
        self.call(
            "cuEventCreate",
            |create: unsafe extern "C" fn(*mut *mut c_void, c_uint) -> c_int| unsafe {
                create(&raw mut event, 0)
            },
        )?;
        Ok(Event { gpu: self, event })
    }

    /// Launches a kernel on the default stream. `params` are pointers to its arguments, in order.
    ///
    /// # Safety
    /// The arguments have the types that the kernel declares, and device pointers among them are of live
    /// buffers that are large enough.
    pub unsafe fn launch(
        &self,
        function: &Function<'_>,
        grid: [u32; 3],
        block: [u32; 3],
        params: &mut [*mut c_void],
    ) -> Result<()> {
        type Launch = unsafe extern "C" fn(
            *mut c_void,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            c_uint,
            *mut c_void,
            *mut *mut c_void,
            *mut *mut c_void,
        ) -> c_int;
        self.call("cuLaunchKernel", |launch: Launch| {
            // SAFETY: the caller's promise; no dynamic shared memory, the default stream, no extra.
            unsafe {
                launch(
                    function.function,
                    grid[0],
                    grid[1],
                    grid[2],
                    block[0],
                    block[1],
                    block[2],
                    0,
                    ptr::null_mut(),
                    params.as_mut_ptr(),
                    ptr::null_mut(),
                )
            }
        })
    }

    /// Looks a function up and calls it. Its type is the one of cuda.h: it stands beside the name.
    fn call<F: Copy>(&self, name: &'static str, with: impl FnOnce(F) -> c_int) -> Result<()> {
        // SAFETY: nothing is called here; the caller gives the type.
        let function = unsafe { self.library.get::<F>(name) }.map_err(|err| {
            let text = std::error::Error::source(&err)
                .map_or_else(|| err.to_string(), ToString::to_string);
            CudaError { call: name, status: None, text }
        })?;
        match with(*function) {
            0 => Ok(()),
            status => Err(CudaError {
                call: name,
                status: Some(status),
                text: status_name(&self.library, status),
            }),
        }
    }
}

/// Memory on a device.
pub struct Buffer<'g> {
    gpu: &'g Gpu,
    at: u64,
    bytes: usize,
}

impl Buffer<'_> {
    /// The device pointer.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// It holds no byte, which the driver does not give out.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Sets every byte; on the default stream.
    pub fn fill(&mut self, byte: u8) -> Result<()> {
        let (at, bytes) = (self.at, self.bytes);
        // SAFETY: within the allocation.
        self.gpu
            .call("cuMemsetD8_v2", |set: unsafe extern "C" fn(u64, u8, usize) -> c_int| unsafe {
                set(at, byte, bytes)
            })
    }

    /// Writes from its start.
    ///
    /// # Panics
    /// There is more than it holds: a bug of the caller.
    pub fn write(&mut self, from: &[u8]) -> Result<()> {
        assert!(from.len() <= self.bytes, "{} bytes into {}", from.len(), self.bytes);
        let at = self.at;
        self.gpu.call(
            "cuMemcpyHtoD_v2",
            // SAFETY: within the allocation, see above.
            |copy: unsafe extern "C" fn(u64, *const c_void, usize) -> c_int| unsafe {
                copy(at, from.as_ptr().cast(), from.len())
            },
        )
    }

    /// Fills it with as many repetitions of these bytes as there is room for, the last one cut off.
    ///
    /// # Panics
    /// There are more of them than it holds, or none: a bug of the caller.
    pub fn repeat(&mut self, pattern: &[u8]) -> Result<()> {
        assert!(!pattern.is_empty(), "nothing to repeat");
        self.write(pattern)?;
        let mut filled = pattern.len();
        // What is there already is copied behind itself: the bus carries the pattern once.
        while filled < self.bytes {
            let (at, bytes) = (self.at, filled.min(self.bytes - filled));
            self.gpu.call(
                "cuMemcpyDtoD_v2",
                // SAFETY: within the allocation, and the two parts meet without a common byte.
                |copy: unsafe extern "C" fn(u64, u64, usize) -> c_int| unsafe {
                    copy(at + filled as u64, at, bytes)
                },
            )?;
            filled += bytes;
        }
        Ok(())
    }

    /// All of it; waits for what was launched before.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.read_part(0, self.bytes)
    }

    /// So many bytes from there on; waits for what was launched before.
    ///
    /// # Panics
    /// There are less: a bug of the caller.
    pub fn read_part(&self, from: usize, bytes: usize) -> Result<Vec<u8>> {
        assert!(from + bytes <= self.bytes, "{bytes} bytes from {from} of {}", self.bytes);
        let mut to = vec![0_u8; bytes];
        let at = self.at + from as u64;
        self.gpu.call(
            "cuMemcpyDtoH_v2",
            // SAFETY: both have this length.
            |copy: unsafe extern "C" fn(*mut c_void, u64, usize) -> c_int| unsafe {
                copy(to.as_mut_ptr().cast(), at, to.len())
            },
        )?;
        Ok(to)
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let at = self.at;
        // A fault of an earlier kernel shows here as well, and was told where it was found.
        // SAFETY: allocated by the same driver, and used by nobody after this.
        let _ = self
            .gpu
            .call("cuMemFree_v2", |free: unsafe extern "C" fn(u64) -> c_int| unsafe { free(at) });
    }
}

/// A module on a device; stays loaded.
pub struct Module<'g> {
    gpu: &'g Gpu,
    module: *mut c_void,
}

impl<'g> Module<'g> {
    /// A kernel by its name.
    pub fn function(&self, name: &str) -> Result<Function<'g>> {
        let name = CString::new(name).unwrap_or_default();
        let mut function: *mut c_void = ptr::null_mut();
        self.gpu.call(
            "cuModuleGetFunction",
            // SAFETY: it writes one pointer and reads a name that ends with a zero.
            |get: unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> c_int| unsafe {
                get(&raw mut function, self.module, name.as_ptr())
            },
        )?;
        Ok(Function { function, _gpu: self.gpu })
    }
}

/// A kernel.
pub struct Function<'g> {
    function: *mut c_void,
    _gpu: &'g Gpu,
}

/// A point in time.
pub struct Event<'g> {
    gpu: &'g Gpu,
    event: *mut c_void,
}

impl Event<'_> {
    /// Records it behind what was launched so far on the default stream.
    pub fn record(&self) -> Result<()> {
        let event = self.event;
        self.gpu.call(
            "cuEventRecord",
            // SAFETY: an event of this driver; the default stream.
            |record: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int| unsafe {
                record(event, ptr::null_mut())
            },
        )
    }

    /// Waits until the device has come to it.
    pub fn wait(&self) -> Result<()> {
        let event = self.event;
        // SAFETY: an event of this driver.
        self.gpu
            .call("cuEventSynchronize", |wait: unsafe extern "C" fn(*mut c_void) -> c_int| unsafe {
                wait(event)
            })
    }

    /// Milliseconds from an earlier event to this one; both have been waited for.
    pub fn since(&self, earlier: &Self) -> Result<f64> {
        let mut milliseconds: f32 = 0.0;
        let (from, to) = (earlier.event, self.event);
        self.gpu.call(
            // Not `_v2`, which only drivers of CUDA 12.8 and later have.
            "cuEventElapsedTime",
            // SAFETY: it writes one float; two events of this driver.
            |get: unsafe extern "C" fn(*mut f32, *mut c_void, *mut c_void) -> c_int| unsafe {
                get(&raw mut milliseconds, from, to)
            },
        )?;
        Ok(f64::from(milliseconds))
    }
}
