//! cuDNN: convolutions with filters of one by one over images of one point, which are matrix products.
//!
//! `cudnn-version=91002`, `cudnn-lacks=bf16`: a data type that is not supported, `cudnn-workspace=1024`,
//! `cudnn-algorithm=0`: the only one that it has, without it those of both matrix products.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use gpuseal::verify::numerics::{Dtype, Output, Shape};

use crate::{fault, gemm};

const BAD_PARAM: c_int = 2000;
const NOT_SUPPORTED: c_int = 3000;

/// Any descriptor, and the handle: what was set in it, in the order of the call's arguments.
#[derive(Clone, Default)]
struct Described {
    kind: &'static str,
    values: Vec<c_int>,
    math: c_int,
}

unsafe fn make(to: *mut *mut c_void, kind: &'static str) -> c_int {
    *to = Box::into_raw(Box::new(Described { kind, ..Described::default() })).cast();
    0
}

unsafe fn at<'d>(of: *mut c_void, kind: &str) -> Option<&'d mut Described> {
    of.cast::<Described>().as_mut().filter(|described| described.kind == kind)
}

unsafe fn set(of: *mut c_void, kind: &str, values: &[c_int]) -> c_int {
    let Some(described) = at(of, kind) else { return BAD_PARAM };
    described.values = values.to_vec();
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetVersion() -> usize {
    usize::try_from(fault::number("cudnn-version", 91_002)).expect("a version")
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetCudartVersion() -> usize {
    12_080
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetErrorString(status: c_int) -> *const c_char {
    let text: &'static CStr = match status {
        1001 => c"CUDNN_STATUS_NOT_INITIALIZED",
        1002 => c"CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        BAD_PARAM => c"CUDNN_STATUS_BAD_PARAM",
        NOT_SUPPORTED => c"CUDNN_STATUS_NOT_SUPPORTED",
        5000 => c"CUDNN_STATUS_EXECUTION_FAILED",
        _ => c"CUDNN_UNKNOWN_STATUS",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGraphVersionCheck() -> c_int {
    fault::enter!("cudnnGraphVersionCheck");
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnOpsVersionCheck() -> c_int {
    fault::enter!("cudnnOpsVersionCheck");
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnCnnVersionCheck() -> c_int {
    fault::enter!("cudnnCnnVersionCheck");
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnAdvVersionCheck() -> c_int {
    fault::enter!("cudnnAdvVersionCheck");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreate(to: *mut *mut c_void) -> c_int {
    fault::enter!("cudnnCreate");
    make(to, "handle")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreateTensorDescriptor(to: *mut *mut c_void) -> c_int {
    fault::enter!("cudnnCreateTensorDescriptor");
    make(to, "tensor")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreateFilterDescriptor(to: *mut *mut c_void) -> c_int {
    fault::enter!("cudnnCreateFilterDescriptor");
    make(to, "filter")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreateConvolutionDescriptor(to: *mut *mut c_void) -> c_int {
    fault::enter!("cudnnCreateConvolutionDescriptor");
    make(to, "convolution")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetTensor4dDescriptor(
    tensor: *mut c_void,
    format: c_int,
    data: c_int,
    n: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    fault::enter!("cudnnSetTensor4dDescriptor");
    set(tensor, "tensor", &[data, format, n, c, h, w])
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetFilter4dDescriptor(
    filter: *mut c_void,
    data: c_int,
    format: c_int,
    k: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    fault::enter!("cudnnSetFilter4dDescriptor");
    set(filter, "filter", &[data, format, k, c, h, w])
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetConvolution2dDescriptor(
    convolution: *mut c_void,
    pad_h: c_int,
    pad_w: c_int,
    step_h: c_int,
    step_w: c_int,
    dilation_h: c_int,
    dilation_w: c_int,
    mode: c_int,
    compute: c_int,
) -> c_int {
    fault::enter!("cudnnSetConvolution2dDescriptor");
    let values = [pad_h, pad_w, step_h, step_w, dilation_h, dilation_w, mode, compute];
    set(convolution, "convolution", &values)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetConvolutionMathType(
    convolution: *mut c_void,
    math: c_int,
) -> c_int {
    fault::enter!("cudnnSetConvolutionMathType");
    let Some(described) = at(convolution, "convolution") else { return BAD_PARAM };
    described.math = math;
    0
}

/// The product that descriptors describe, or the status that refuses it.
unsafe fn described(
    [handle, x, w, convolution, y]: [*mut c_void; 5],
    algorithm: c_int,
) -> Result<(Dtype, Output, Shape), c_int> {
    let parts = (at(x, "tensor"), at(w, "filter"), at(convolution, "convolution"), at(y, "tensor"));
    let (Some(x), Some(w), Some(convolution), Some(y)) = parts else { return Err(BAD_PARAM) };
    if at(handle, "handle").is_none() || convolution.values != [0, 0, 1, 1, 1, 1, 1, 0] {
        return Err(BAD_PARAM);
    }
    let (dtype, output) = match (x.values[0], convolution.math) {
        (0, 3) => (Dtype::Fp32, Output::F32),
        (0, 0) => (Dtype::Tf32, Output::F32),
        (2, 1) => (Dtype::Fp16, Output::F16),
        (9, 1) => (Dtype::Bf16, Output::Bf16),
        _ => return Err(NOT_SUPPORTED),
    };
    let [n, k, m] = [x.values[2], x.values[3], w.values[2]];
    let data = x.values[0];
    let fits = x.values == [data, 0, n, k, 1, 1]
        && w.values == [data, 0, m, k, 1, 1]
        && y.values == [data, 0, n, m, 1, 1];
    if !fits {
        return Err(BAD_PARAM);
    }
    let only = fault::text("cudnn-algorithm").and_then(|only| only.parse().ok());
    let has = only.map_or(matches!(algorithm, 0 | 1), |only: c_int| algorithm == only);
    if !has || fault::text("cudnn-lacks").is_some_and(|lacks| lacks == dtype.word()) {
        return Err(NOT_SUPPORTED);
    }
    let [m, n, k] = [m, n, k].map(|size| usize::try_from(size).expect("a size"));
    Ok((dtype, output, Shape { m, n, k }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetConvolutionForwardWorkspaceSize(
    handle: *mut c_void,
    x: *mut c_void,
    w: *mut c_void,
    convolution: *mut c_void,
    y: *mut c_void,
    algorithm: c_int,
    bytes: *mut usize,
) -> c_int {
    fault::enter!("cudnnGetConvolutionForwardWorkspaceSize");
    if let Err(status) = described([handle, x, w, convolution, y], algorithm) {
        return status;
    }
    *bytes = usize::try_from(fault::number("cudnn-workspace", 0)).expect("a size");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnConvolutionForward(
    handle: *mut c_void,
    alpha: *const f32,
    x: *mut c_void,
    images: *const c_void,
    w: *mut c_void,
    filters: *const c_void,
    convolution: *mut c_void,
    algorithm: c_int,
    workspace: *mut c_void,
    bytes: usize,
    beta: *const f32,
    y: *mut c_void,
    to: *mut c_void,
) -> c_int {
    fault::enter!("cudnnConvolutionForward");
    let (dtype, output, shape) = match described([handle, x, w, convolution, y], algorithm) {
        Ok(product) => product,
        Err(status) => return status,
    };
    if (*alpha, *beta) != (1.0, 0.0) {
        return BAD_PARAM;
    }
    // It is the caller's, as much of it as was asked for.
    workspace.cast::<u8>().write_bytes(0xAA, bytes);
    let Shape { m, n, k } = shape;
    let a = std::slice::from_raw_parts(filters.cast::<u8>(), m * k * dtype.bytes());
    let b = std::slice::from_raw_parts(images.cast::<u8>(), n * k * dtype.bytes());
    let product = gemm::product("cudnn", dtype, (a, b), shape, output);
    ptr::copy_nonoverlapping(product.as_ptr(), to.cast::<u8>(), product.len());
    0
}
