//! A convolution as a matrix product: n images of one point with k channels each, and m filters of one by one:
//!
//! | | of the convolution | of the product |
//! |---|---|---|
//! | x | n images, k channels, 1 x 1 | B, n rows of k |
//! | w | m filters, k channels, 1 x 1 | A, m rows of k |
//! | y | n images, m channels, 1 x 1 | C, n rows of m |
//!
//! With images of one point the layouts NCHW and NHWC are the same bytes.
#![allow(unsafe_code, reason = "cuDNN is C")]

use std::ffi::{c_int, c_void};
use std::ptr;

use super::library::{Cudnn, explain, is_unsupported};
use crate::domain::{Code, ComputeCapability};
use crate::verify::Check;
use crate::verify::frame::Teller;
use crate::verify::gpu::{CudaError, Gpu};
use crate::verify::numerics::{Dtype, Operands, Output, Shape};
use crate::verify::plan::Job;
use crate::verify::proofs::{Backend, Product, on_device, prove};

/// `CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM`, which uses tensor cores where there are some, and
/// `CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM` for cards that the first has no code for: both multiply and add. The
/// algorithms by Winograd and by Fourier transform, which cuDNN might choose, have other rounding errors.
const ALGORITHMS: [c_int; 2] = [1, 0];
/// `CUDNN_TENSOR_NCHW`
const FORMAT: c_int = 0;
/// `CUDNN_CROSS_CORRELATION`
const MODE: c_int = 1;
/// `CUDNN_DATA_FLOAT`: what is added up in.
const FLOAT: c_int = 0;

/// How a type is asked for: its `cudnnDataType_t`, its `cudnnMathType_t`, what comes out. TF32 cannot be asked for,
/// only be allowed; FP8 and int8 have conditions of their own: cuBLAS proves those.
const fn asked(dtype: Dtype) -> Option<(c_int, c_int, Output)> {
    match dtype {
        // `CUDNN_FMA_MATH`: no tensor cores.
        Dtype::Fp32 => Some((FLOAT, 3, Output::F32)),
        // `CUDNN_TENSOR_OP_MATH`
        Dtype::Fp16 => Some((2, 1, Output::F16)),
        Dtype::Bf16 => Some((9, 1, Output::Bf16)),
        Dtype::Tf32 | Dtype::E4m3 | Dtype::Int8 => None,
    }
}

/// Proves every type that was asked for and that cuDNN is proven with.
pub(super) fn dtypes(
    gpu: &Gpu,
    cudnn: &Cudnn,
    handle: *mut c_void,
    capability: ComputeCapability,
    job: &Job,
    tell: &mut Teller<'_>,
) {
    for dtype in job.dtypes.iter().copied() {
        let word = dtype.word();
        let Some((_, _, output)) = asked(dtype) else {
            let why = "cuDNN is proven with fp32, fp16 and bf16; cuBLAS proves the others";
            tell.check(Check::not_needed(word, why));
            continue;
        };
        let needed = ComputeCapability::new(8, 0);
        if dtype == Dtype::Bf16 && capability < needed {
            let why = format!("{word} needs compute capability {needed}, this is {capability}");
            tell.check(Check::not_needed(word, why));
            continue;
        }
        match Convolution::create(gpu, cudnn, handle, dtype) {
            Ok(mut backend) => prove(&mut backend, dtype, output, word, job, tell),
            Err(err) => return tell.check(explain(&err, word.into())),
        }
    }
}

/// Descriptors of one kind of convolution; their sizes are set for each.
struct Convolution<'c> {
    gpu: &'c Gpu,
    cudnn: &'c Cudnn,
    handle: *mut c_void,
    dtype: Dtype,
    data: c_int,
    x: *mut c_void,
    w: *mut c_void,
    y: *mut c_void,
    settings: *mut c_void,
}

impl<'c> Convolution<'c> {
    fn create(
        gpu: &'c Gpu,
        cudnn: &'c Cudnn,
        handle: *mut c_void,
        dtype: Dtype,
    ) -> Result<Self, CudaError> {
        type Set = unsafe extern "C" fn(
            *mut c_void,
            c_int,
            c_int,
            c_int,
            c_int,
            c_int,
            c_int,
            c_int,
            c_int,
        ) -> c_int;
        let (data, math, _) = asked(dtype).unwrap_or((FLOAT, 3, Output::F32));
        let made = Self {
            gpu,
            cudnn,
            handle,
            dtype,
            data,
            x: cudnn.create("cudnnCreateTensorDescriptor")?,
            w: cudnn.create("cudnnCreateFilterDescriptor")?,
            y: cudnn.create("cudnnCreateTensorDescriptor")?,
            settings: cudnn.create("cudnnCreateConvolutionDescriptor")?,
        };
        // SAFETY: a descriptor of this library; no padding, steps of one, no dilation.
        cudnn.call("cudnnSetConvolution2dDescriptor", |set: Set| unsafe {
            set(made.settings, 0, 0, 1, 1, 1, 1, MODE, FLOAT)
        })?;
        cudnn.call(
            "cudnnSetConvolutionMathType",
            // SAFETY: a descriptor of this library.
            |set: unsafe extern "C" fn(*mut c_void, c_int) -> c_int| unsafe {
                set(made.settings, math)
            },
        )?;
        Ok(made)
    }

    /// Sets the sizes; gives the first algorithm that takes them, and the bytes of memory that it wants beside them.
    fn describe(&self, shape: Shape) -> Result<(c_int, usize), CudaError> {
        type Four =
            unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        type Size = unsafe extern "C" fn(
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
            c_int,
            *mut usize,
        ) -> c_int;
        let [filters, images, channels] =
            [shape.m, shape.n, shape.k].map(|size| c_int::try_from(size).unwrap_or(c_int::MAX));
        for (tensor, depth) in [(self.x, channels), (self.y, filters)] {
            // SAFETY: a descriptor of this library.
            self.cudnn.call("cudnnSetTensor4dDescriptor", |set: Four| unsafe {
                set(tensor, FORMAT, self.data, images, depth, 1, 1)
            })?;
        }
        // SAFETY: a descriptor of this library; type and format stand the other way round here.
        self.cudnn.call("cudnnSetFilter4dDescriptor", |set: Four| unsafe {
            set(self.w, self.data, FORMAT, filters, channels, 1, 1)
        })?;
        let workspace = |algorithm| {
            let mut bytes = 0;
            self.cudnn.call("cudnnGetConvolutionForwardWorkspaceSize", |ask: Size| {
                // SAFETY: descriptors of this library; it writes one size.
                unsafe {
                    let (x, w, y) = (self.x, self.w, self.y);
                    ask(self.handle, x, w, self.settings, y, algorithm, &raw mut bytes)
                }
            })?;
            Ok((algorithm, bytes))
        };
        let [first, second] = ALGORITHMS;
        workspace(first).or_else(|err: CudaError| match err.status {
            Some(status) if is_unsupported(status) => workspace(second),
            _ => Err(err),
        })
    }
}

impl Backend for Convolution<'_> {
    fn product(&mut self, operands: &Operands, output: Output) -> Result<Product, CudaError> {
        type Forward = unsafe extern "C" fn(
            *mut c_void,
            *const f32,
            *mut c_void,
            *const c_void,
            *mut c_void,
            *const c_void,
            *mut c_void,
            c_int,
            *mut c_void,
            usize,
            *const f32,
            *mut c_void,
            *mut c_void,
        ) -> c_int;
        let (algorithm, bytes) = self.describe(operands.shape)?;
        let workspace = self.gpu.alloc(bytes.max(1))?;
        let device = |at: u64| -> *mut c_void {
            ptr::with_exposed_provenance_mut(usize::try_from(at).unwrap_or_default())
        };
        on_device(self.gpu, operands, output, &mut |a, b, c| {
            self.cudnn.call("cudnnConvolutionForward", |forward: Forward| {
                // SAFETY: the buffers have the sizes that the descriptors say, on the device of the handle.
                unsafe {
                    forward(
                        self.handle,
                        &raw const ONE,
                        self.x,
                        device(b),
                        self.w,
                        device(a),
                        self.settings,
                        algorithm,
                        device(workspace.at()),
                        bytes,
                        &raw const ZERO,
                        self.y,
                        device(c),
                    )
                }
            })
        })
    }

    fn explain(&self, err: &CudaError, name: String) -> Check {
        let status = err.status.filter(|_| err.call.starts_with("cudnn"));
        let Some(status) = status.filter(|status| is_unsupported(*status)) else {
            return explain(err, name);
        };
        let text = format!(
            "this cuDNN has no such convolution in {}: {} returns {status}, {}",
            self.dtype.word(),
            err.call,
            err.text
        );
        // Every cuDNN has one in fp32.
        if self.dtype == Dtype::Fp32 {
            Check::skip(name, Code::Unknown, text)
        } else {
            Check::not_needed(name, text)
        }
    }
}

/// What the product is multiplied by.
static ONE: f32 = 1.0;
/// What stands in y before counts for nothing.
static ZERO: f32 = 0.0;
