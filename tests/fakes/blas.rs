//! cuBLAS and cublasLt: descriptions are kept as they are given, and products are computed where all of it fits.
//!
//! `blas-version=120804`, `lt-version=` (the same, where it is not given), `lt-lacks=e4m3`: a data type that is
//! not supported, `blas-tflops=600`: how far each product sets the device's clock forward.

use std::ffi::{c_int, c_void};
use std::ptr;

use gpuseal::verify::numerics::{Dtype, Output, Shape};

use crate::{cuda, fault, gemm};

const NOT_INITIALIZED: c_int = 1;
const INVALID_VALUE: c_int = 7;
const NOT_SUPPORTED: c_int = 15;

/// What stands first in everything that is given out, so that a wrong pointer shows.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Tag {
    Lt = 0x6C74_0001,
    Cublas = 0x6C74_0002,
    Desc = 0x6C74_0003,
    Layout = 0x6C74_0004,
    Preference = 0x6C74_0005,
    Algorithm = 0x6C74_0006,
}

#[repr(C)]
struct Handle {
    tag: Tag,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Desc {
    tag: Tag,
    compute: c_int,
    scale: c_int,
    transposed: [c_int; 2],
    scales: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Layout {
    tag: Tag,
    of: c_int,
    rows: u64,
    columns: u64,
    leading: i64,
}

#[repr(C)]
struct Preference {
    tag: Tag,
    workspace: u64,
    reductions: u32,
}

/// `cublasLtMatmulAlgo_t` with what the heuristic says of it.
#[repr(C)]
pub struct Found {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

unsafe fn give<T>(to: *mut *mut c_void, value: T) -> c_int {
    *to = Box::into_raw(Box::new(value)).cast();
    0
}

unsafe fn is(at: *const c_void, tag: Tag) -> bool {
    !at.is_null() && *at.cast::<u64>() == tag as u64
}

unsafe fn take<T>(at: *mut c_void, tag: Tag) -> c_int {
    if !is(at, tag) {
        return INVALID_VALUE;
    }
    drop(Box::from_raw(at.cast::<T>()));
    0
}

unsafe fn version(name: &str, otherwise: i64, which: c_int, to: *mut c_int) -> c_int {
    let number = c_int::try_from(fault::number(name, otherwise)).expect("a version");
    *to = match which {
        0 => number / 10_000,
        1 => number / 100 % 100,
        2 => number % 100,
        _ => return INVALID_VALUE,
    };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGetProperty(which: c_int, to: *mut c_int) -> c_int {
    fault::enter!("cublasGetProperty");
    version("blas-version", 120_804, which, to)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetProperty(which: c_int, to: *mut c_int) -> c_int {
    fault::enter!("cublasLtGetProperty");
    version("lt-version", fault::number("blas-version", 120_804), which, to)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(to: *mut *mut c_void) -> c_int {
    fault::enter!("cublasLtCreate");
    give(to, Handle { tag: Tag::Lt })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasCreate_v2(to: *mut *mut c_void) -> c_int {
    fault::enter!("cublasCreate_v2");
    give(to, Handle { tag: Tag::Cublas })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetWorkspace_v2(
    handle: *mut c_void,
    at: *mut c_void,
    _bytes: usize,
) -> c_int {
    fault::enter!("cublasSetWorkspace_v2");
    // At multiples of 256, as the real one demands.
    if is(handle, Tag::Cublas) && at.addr().is_multiple_of(256) { 0 } else { NOT_INITIALIZED }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetMathMode(handle: *mut c_void, mode: c_int) -> c_int {
    fault::enter!("cublasSetMathMode");
    match (is(handle, Tag::Cublas), mode) {
        (false, _) => NOT_INITIALIZED,
        (true, 0 | 2 | 3 | 16 | 18 | 19) => 0,
        (true, _) => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescCreate(
    to: *mut *mut c_void,
    compute: c_int,
    scale: c_int,
) -> c_int {
    fault::enter!("cublasLtMatmulDescCreate");
    give(to, Desc { tag: Tag::Desc, compute, scale, transposed: [0; 2], scales: [0; 2] })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescSetAttribute(
    desc: *mut c_void,
    attribute: c_int,
    value: *const c_void,
    bytes: usize,
) -> c_int {
    fault::enter!("cublasLtMatmulDescSetAttribute");
    if !is(desc, Tag::Desc) {
        return INVALID_VALUE;
    }
    let desc = &mut *desc.cast::<Desc>();
    match (attribute, bytes) {
        (3, 4) => desc.transposed[0] = value.cast::<c_int>().read_unaligned(),
        (4, 4) => desc.transposed[1] = value.cast::<c_int>().read_unaligned(),
        (17, 8) => desc.scales[0] = value.cast::<u64>().read_unaligned(),
        (18, 8) => desc.scales[1] = value.cast::<u64>().read_unaligned(),
        _ => return INVALID_VALUE,
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescDestroy(desc: *mut c_void) -> c_int {
    fault::enter!("cublasLtMatmulDescDestroy");
    take::<Desc>(desc, Tag::Desc)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutCreate(
    to: *mut *mut c_void,
    of: c_int,
    rows: u64,
    columns: u64,
    leading: i64,
) -> c_int {
    fault::enter!("cublasLtMatrixLayoutCreate");
    give(to, Layout { tag: Tag::Layout, of, rows, columns, leading })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutDestroy(layout: *mut c_void) -> c_int {
    fault::enter!("cublasLtMatrixLayoutDestroy");
    take::<Layout>(layout, Tag::Layout)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceCreate(to: *mut *mut c_void) -> c_int {
    fault::enter!("cublasLtMatmulPreferenceCreate");
    give(to, Preference { tag: Tag::Preference, workspace: 0, reductions: 7 })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceSetAttribute(
    preference: *mut c_void,
    attribute: c_int,
    value: *const c_void,
    bytes: usize,
) -> c_int {
    fault::enter!("cublasLtMatmulPreferenceSetAttribute");
    if !is(preference, Tag::Preference) {
        return INVALID_VALUE;
    }
    let preference = &mut *preference.cast::<Preference>();
    match (attribute, bytes) {
        (1, 8) => preference.workspace = value.cast::<u64>().read_unaligned(),
        (3, 4) => preference.reductions = value.cast::<u32>().read_unaligned(),
        _ => return INVALID_VALUE,
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceDestroy(preference: *mut c_void) -> c_int {
    fault::enter!("cublasLtMatmulPreferenceDestroy");
    take::<Preference>(preference, Tag::Preference)
}

/// What is multiplied, by `cudaDataType` of A and C and `cublasComputeType_t`; nothing that cuBLAS lacks.
fn kind(a: c_int, c: c_int, compute: c_int) -> Option<(Dtype, Output)> {
    let dtype = match (a, compute) {
        (0, 68) => Dtype::Fp32,
        // The driver's users may forbid it.
        (0, 77) if std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value == "0") => {
            Dtype::Fp32
        }
        (0, 77) => Dtype::Tf32,
        (2, 68) => Dtype::Fp16,
        (14, 68) => Dtype::Bf16,
        (28, 68) => Dtype::E4m3,
        (3, 72) => Dtype::Int8,
        _ => return None,
    };
    let needs = match dtype {
        Dtype::Fp32 | Dtype::Fp16 => [5, 0],
        Dtype::Int8 => [7, 5],
        Dtype::Tf32 | Dtype::Bf16 => [8, 0],
        Dtype::E4m3 => [8, 9],
    };
    let output = match (dtype, c) {
        (Dtype::Int8, 10) => Output::I32,
        (Dtype::Fp32 | Dtype::Tf32 | Dtype::Fp16 | Dtype::Bf16 | Dtype::E4m3, 0) => Output::F32,
        (Dtype::Fp16, 2) => Output::F16,
        (Dtype::Bf16 | Dtype::E4m3, 14) => Output::Bf16,
        _ => return None,
    };
    let lacks = fault::text("lt-lacks").is_some_and(|lacks| lacks == dtype.word());
    (cuda::capability() >= needs && !lacks).then_some((dtype, output))
}

/// The product that descriptors describe, or the status that refuses it.
unsafe fn described(
    desc: *const c_void,
    layouts: [*const c_void; 4],
) -> Result<(Dtype, Output, Shape), c_int> {
    if !is(desc, Tag::Desc) || layouts.iter().any(|layout| !is(*layout, Tag::Layout)) {
        return Err(INVALID_VALUE);
    }
    let desc = &*desc.cast::<Desc>();
    let [a, b, c, d] = layouts.map(|layout| &*layout.cast::<Layout>());
    let (dtype, output) = kind(a.of, c.of, desc.compute).ok_or(NOT_SUPPORTED)?;
    let scale = if dtype == Dtype::Int8 { 10 } else { 0 };
    let fits = a.of == b.of
        && (c.of, c.rows, c.columns, c.leading) == (d.of, d.rows, d.columns, d.leading)
        && desc.scale == scale
        && desc.transposed == [1, 0]
        && [(a, a.rows), (b, a.rows), (c, a.columns)]
            .iter()
            .all(|(layout, rows)| layout.rows == *rows && layout.leading.cast_unsigned() == *rows)
        && b.columns == c.columns;
    let [m, n, k] = [c.rows, c.columns, a.rows].map(|size| usize::try_from(size).expect("a size"));
    let step = match dtype {
        Dtype::E4m3 => 16,
        Dtype::Int8 => 4,
        _ => 1,
    };
    if !fits {
        return Err(INVALID_VALUE);
    }
    if !m.is_multiple_of(step) || !k.is_multiple_of(step) {
        return Err(NOT_SUPPORTED);
    }
    Ok((dtype, output, Shape { m, n, k }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    lt: *mut c_void,
    desc: *mut c_void,
    a: *mut c_void,
    b: *mut c_void,
    c: *mut c_void,
    d: *mut c_void,
    preference: *mut c_void,
    asked: c_int,
    to: *mut Found,
    count: *mut c_int,
) -> c_int {
    fault::enter!("cublasLtMatmulAlgoGetHeuristic");
    if !is(lt, Tag::Lt) || !is(preference, Tag::Preference) || asked < 1 {
        return INVALID_VALUE;
    }
    *count = 0;
    if let Err(status) = described(desc, [a, b, c, d].map(<*mut c_void>::cast_const)) {
        return status;
    }
    for index in 0..asked.min(3) {
        let place = usize::try_from(index).expect("a place");
        let mut algorithm = [0; 8];
        algorithm[..2].copy_from_slice(&[Tag::Algorithm as u64, place as u64]);
        to.add(place).write(Found {
            algorithm,
            workspace: 0,
            state: 0,
            waves: 1.0,
            reserved: [0; 4],
        });
        *count = index + 1;
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoConfigGetAttribute(
    algorithm: *const c_void,
    attribute: c_int,
    to: *mut c_void,
    bytes: usize,
    written: *mut usize,
) -> c_int {
    fault::enter!("cublasLtMatmulAlgoConfigGetAttribute");
    if !is(algorithm, Tag::Algorithm) || bytes < 4 || attribute > 8 {
        return INVALID_VALUE;
    }
    let place = c_int::try_from(*algorithm.cast::<u64>().add(1)).expect("a place");
    to.cast::<c_int>().write(if attribute == 0 { 60 + place } else { 1 });
    *written = 4;
    0
}

/// Computes a product of device memory, and lets the clock of the device go on.
unsafe fn compute(
    (dtype, output, shape): (Dtype, Output, Shape),
    [a, b]: [*const c_void; 2],
    c: *mut c_void,
) -> c_int {
    let Shape { m, n, k } = shape;
    let a = std::slice::from_raw_parts(a.cast::<u8>(), m * k * dtype.bytes());
    let b = std::slice::from_raw_parts(b.cast::<u8>(), n * k * dtype.bytes());
    let product = gemm::product("cublas", dtype, (a, b), shape, output);
    ptr::copy_nonoverlapping(product.as_ptr(), c.cast::<u8>(), product.len());
    let tflops = fault::number("blas-tflops", 0);
    if tflops > 0 {
        #[allow(clippy::cast_precision_loss, reason = "sizes of small matrices")]
        cuda::advance(2.0 * (m * n * k) as f64 / (tflops as f64 * 1e9));
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    lt: *mut c_void,
    desc: *mut c_void,
    alpha: *const c_void,
    a: *const c_void,
    layout_a: *mut c_void,
    b: *const c_void,
    layout_b: *mut c_void,
    beta: *const c_void,
    c: *const c_void,
    layout_c: *mut c_void,
    d: *mut c_void,
    layout_d: *mut c_void,
    algorithm: *const c_void,
    _workspace: *mut c_void,
    _bytes: usize,
    _stream: *mut c_void,
) -> c_int {
    fault::enter!("cublasLtMatmul");
    let layouts = [layout_a, layout_b, layout_c, layout_d].map(<*mut c_void>::cast_const);
    if !is(lt, Tag::Lt) || !is(algorithm, Tag::Algorithm) || c != d.cast_const() {
        return INVALID_VALUE;
    }
    let product = match described(desc, layouts) {
        Ok(product) => product,
        Err(status) => return status,
    };
    // Scales of fp8 stand on the device; without one it is 1.
    let scales = (*desc.cast::<Desc>()).scales;
    let one = |at: &u64| {
        let at: *const f32 = ptr::with_exposed_provenance(usize::try_from(*at).expect("64 bits"));
        at.is_null() || at.read().to_bits() == 1.0_f32.to_bits()
    };
    if !scales.iter().all(one) || !is_one(product.0, alpha, beta) {
        return INVALID_VALUE;
    }
    compute(product, [a, b], d)
}

/// Alpha is one and beta zero, in the type that goes with the operands.
unsafe fn is_one(dtype: Dtype, alpha: *const c_void, beta: *const c_void) -> bool {
    if dtype == Dtype::Int8 {
        (*alpha.cast::<c_int>(), *beta.cast::<c_int>()) == (1, 0)
    } else {
        (*alpha.cast::<f32>(), *beta.cast::<f32>()) == (1.0, 0.0)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGemmEx(
    handle: *mut c_void,
    transposed_a: c_int,
    transposed_b: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: *const c_void,
    type_a: c_int,
    leading_a: c_int,
    b: *const c_void,
    type_b: c_int,
    leading_b: c_int,
    beta: *const c_void,
    c: *mut c_void,
    type_c: c_int,
    leading_c: c_int,
    arithmetic: c_int,
    algorithm: c_int,
) -> c_int {
    fault::enter!("cublasGemmEx");
    if !is(handle, Tag::Cublas) {
        return NOT_INITIALIZED;
    }
    let Some((dtype, output)) = kind(type_a, type_c, arithmetic) else { return NOT_SUPPORTED };
    let fits = [transposed_a, transposed_b] == [1, 0]
        && type_a == type_b
        && [leading_a, leading_b, leading_c] == [k, k, m]
        && (algorithm == -1 || algorithm == 99)
        && is_one(dtype, alpha, beta);
    if !fits {
        return INVALID_VALUE;
    }
    let [m, n, k] = [m, n, k].map(|size| usize::try_from(size).expect("a size"));
    compute((dtype, output, Shape { m, n, k }), [a, b], c)
}
