//! Modules and launches of libcuda: PTX and cubins are read and refused as a driver would, and the kernels of
//! `kernels/` are known by name.
//!
//! `jit=221`: what the compiler of PTX says to everything.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use gpuseal::verify::numerics::{Dtype, Output, Shape};

use crate::{cuda, cuda::within, fault, gemm};

const NO_BINARY: c_int = 209;
const INVALID_PTX: c_int = 218;
const UNSUPPORTED_PTX: c_int = 222;
const NOT_FOUND: c_int = 500;

/// Rows and columns of C that a block makes, and threads along each side of it.
const TILE: usize = 32;
const SIDE: u32 = 16;

/// CUDA and the PTX version that came with it: the newest that its driver compiles.
const ISAS: &[(c_int, u32)] = &[
    (8000, 50),
    (9000, 60),
    (9010, 61),
    (9020, 62),
    (10000, 63),
    (10010, 64),
    (10020, 65),
    (11000, 70),
    (11010, 71),
    (11020, 72),
    (11030, 73),
    (11040, 74),
    (11050, 75),
    (11060, 76),
    (11070, 77),
    (11080, 78),
    (12000, 80),
    (12010, 81),
    (12020, 82),
    (12030, 83),
    (12040, 84),
    (12050, 85),
    (12080, 87),
    (12090, 88),
    (13000, 90),
];

/// A kernel by its name: how it multiplies.
const KERNELS: &[(&str, Dtype, Output)] = &[
    ("simt_fp32", Dtype::Fp32, Output::F32),
    ("simt_int8", Dtype::Int8, Output::I32),
    ("mma_bf16", Dtype::Bf16, Output::F32),
    ("mma_tf32", Dtype::Tf32, Output::F32),
    ("mma_int8", Dtype::Int8, Output::I32),
];

/// Functions of a module.
type Module = Vec<String>;

/// `sm_90` as 90.
fn architecture() -> u32 {
    let [major, minor] = cuda::capability();
    u32::from(major) * 10 + u32::from(minor)
}

fn ptx(text: &str, log: &mut dyn FnMut(&str)) -> Result<Module, c_int> {
    let broken = fault::number("jit", 0);
    if broken != 0 {
        return Err(c_int::try_from(broken).expect("a status"));
    }
    let directive = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = directive(".version").and_then(|version| version.replace('.', "").parse().ok());
    let target = directive(".target sm_").and_then(|target| target.parse::<u32>().ok());
    let (Some(version), Some(target)) = (version, target) else { return Err(INVALID_PTX) };
    let newest = ISAS.iter().rev().find(|(cuda, _)| *cuda <= cuda::version());
    let newest = newest.map_or(0, |(_, isa)| *isa);
    if newest < version {
        log("ptxas application ptx input, line 1; fatal   : Unsupported .version");
        return Err(UNSUPPORTED_PTX);
    }
    if target > architecture() {
        log(
            "ptxas application ptx input, line 2; error   : SM version specified by .target is higher than default SM version assumed",
        );
        return Err(INVALID_PTX);
    }
    let entries = text.lines().filter_map(|line| line.trim().strip_prefix(".visible .entry "));
    Ok(entries.map(|rest| rest.trim_end_matches('(').to_owned()).collect())
}

fn number<const N: usize>(elf: &[u8], at: usize) -> usize {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&elf[at..at + N]);
    usize::try_from(u64::from_le_bytes(bytes)).expect("64 bits")
}

/// A cubin is an ELF file of machine 190. Its flags hold the architecture: in the lowest byte, and from ABI 8
/// on in the second.
fn cubin(elf: &[u8]) -> Result<Module, c_int> {
    let shift = if elf[8] >= 8 { 8 } else { 0 };
    let built = u32::try_from(number::<4>(elf, 48) >> shift & 0xFF).expect("a byte");
    let device = architecture();
    if number::<2>(elf, 18) != 190 || built / 10 != device / 10 || built > device {
        return Err(NO_BINARY);
    }
    // Sections of code are called `.text.KERNEL`.
    let (table, size) = (number::<8>(elf, 40), number::<2>(elf, 58));
    let names = number::<8>(elf, table + number::<2>(elf, 62) * size + 24);
    let sections = (0..number::<2>(elf, 60)).map(|section| {
        let rest = &elf[names + number::<4>(elf, table + section * size)..];
        let end = rest.iter().position(|byte| *byte == 0).expect("an end");
        String::from_utf8_lossy(&rest[..end]).into_owned()
    });
    Ok(sections.filter_map(|name| name.strip_prefix(".text.").map(str::to_owned)).collect())
}

/// All of the file that stands there: it tells its own length.
unsafe fn elf_at<'a>(image: *const u8) -> &'a [u8] {
    let head = std::slice::from_raw_parts(image, 64);
    let end = number::<8>(head, 40) + number::<2>(head, 58) * number::<2>(head, 60);
    // The headers of segments stand last.
    let segments = number::<8>(head, 32) + number::<2>(head, 54) * number::<2>(head, 56);
    std::slice::from_raw_parts(image, end.max(segments))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut *mut c_void,
    image: *const c_void,
    count: c_uint,
    options: *mut c_int,
    values: *mut *mut c_void,
) -> c_int {
    within!("cuModuleLoadDataEx");
    load(to, image, count, options, values)
}

/// None of the two that are exported: a call of one of those would be looked up when the library is loaded, and
/// tests take names away.
unsafe fn load(
    to: *mut *mut c_void,
    image: *const c_void,
    count: c_uint,
    options: *mut c_int,
    values: *mut *mut c_void,
) -> c_int {
    let value = |option| {
        let at = (0..count as usize).find(|at| *options.add(*at) == option)?;
        Some(*values.add(at))
    };
    // CU_JIT_ERROR_LOG_BUFFER and its size, which stands in the pointer itself.
    let buffer = value(5).zip(value(6));
    let mut log = |text: &str| {
        if let Some((buffer, size)) = buffer {
            cuda::say(buffer.cast(), size.addr(), text);
        }
    };
    let read = if image.cast::<[u8; 4]>().read_unaligned() == *b"\x7fELF" {
        cubin(elf_at(image.cast()))
    } else {
        ptx(&CStr::from_ptr(image.cast()).to_string_lossy(), &mut log)
    };
    match read {
        Ok(module) => {
            *to = Box::into_raw(Box::new(module)).cast();
            0
        }
        Err(status) => status,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(to: *mut *mut c_void, image: *const c_void) -> c_int {
    within!("cuModuleLoadData");
    load(to, image, 0, ptr::null_mut(), ptr::null_mut())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: *mut c_void) -> c_int {
    within!("cuModuleUnload");
    drop(Box::from_raw(module.cast::<Module>()));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    to: *mut *mut c_void,
    module: *mut c_void,
    name: *const c_char,
) -> c_int {
    within!("cuModuleGetFunction");
    let name = CStr::from_ptr(name).to_string_lossy();
    let module = &*module.cast::<Module>();
    let kernel = KERNELS.iter().find(|(kernel, ..)| *kernel == name);
    let Some(kernel) = kernel.filter(|_| module.iter().any(|has| *has == name)) else {
        return NOT_FOUND;
    };
    *to = ptr::from_ref(kernel).cast_mut().cast();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    _shared: c_uint,
    _stream: *mut c_void,
    params: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> c_int {
    within!("cuLaunchKernel");
    let (_, dtype, output) = *function.cast::<(&str, Dtype, Output)>();
    let pointer = |at: usize| (*params.add(at)).cast::<u64>().read();
    let size = |at: usize| (*params.add(at)).cast::<u32>().read() as usize;
    let shape = Shape { m: size(3), n: size(4), k: size(5) };
    // A block too few would leave a part of C unwritten, and one too many costs time.
    let wanted = [shape.m, shape.n].map(|size| u32::try_from(size.div_ceil(TILE)).expect("a grid"));
    if ([grid_x, grid_y], grid_z) != (wanted, 1) || [block_x, block_y, block_z] != [SIDE, SIDE, 1] {
        return 1;
    }
    let a = cuda::bytes_at(pointer(0), shape.m * shape.k * dtype.bytes());
    let b = cuda::bytes_at(pointer(1), shape.n * shape.k * dtype.bytes());
    let (Some(a), Some(b)) = (a, b) else { return cuda::break_with(cuda::ILLEGAL_ADDRESS) };
    let made = gemm::product("cuda", dtype, (&a, &b), shape, output);
    if !cuda::is_mapped(pointer(2), made.len()) {
        return cuda::break_with(cuda::ILLEGAL_ADDRESS);
    }
    let at = usize::try_from(pointer(2)).expect("64 bits");
    ptr::with_exposed_provenance_mut::<u8>(at).copy_from_nonoverlapping(made.as_ptr(), made.len());
    0
}
