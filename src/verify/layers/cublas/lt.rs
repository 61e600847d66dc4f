//! A matrix product through cuBLAS: `cublasLtMatmul`, and `cublasGemmEx` for the two that torch calls by it.
//!
//! Numbers of enumerations are those of CUDA 12.8 (cublasLt.h, `cublas_api.h`, library_types.h); they have been
//! the same since CUDA 11.0, those of fp8 since 11.8.
#![allow(unsafe_code, reason = "cuBLAS is C")]

use std::ffi::{c_int, c_void};
use std::ptr;

use super::library::Pair;
use super::status::NOT_SUPPORTED;
use crate::domain::ComputeCapability;
use crate::verify::gpu::{Buffer, CudaError, Gpu};
use crate::verify::numerics::{Dtype, Output, Shape};

type Result<T> = std::result::Result<T, CudaError>;

/// Bytes of memory that the library may use for itself: what NVIDIA recommends for Hopper and later.
const WORKSPACE: usize = 32 << 20;

/// How many algorithms are asked for: all of them prove themselves with integers.
pub(super) const ALGORITHMS: usize = 3;

/// A kind of product: what is multiplied, and what comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// A and B.
    pub dtype: Dtype,
    /// C.
    pub output: Output,
    /// Through `cublasGemmEx`, as torch multiplies half precision; else through `cublasLtMatmul`.
    pub gemm_ex: bool,
}

impl Kind {
    const fn lt(dtype: Dtype, output: Output) -> Self {
        Self { dtype, output, gemm_ex: false }
    }

    /// The kinds of a data type; the first bears its name.
    pub(super) const fn of(dtype: Dtype) -> &'static [Self] {
        const FP16: &[Kind] = &[
            Kind::lt(Dtype::Fp16, Output::F32),
            Kind { dtype: Dtype::Fp16, output: Output::F16, gemm_ex: true },
        ];
        const BF16: &[Kind] = &[
            Kind::lt(Dtype::Bf16, Output::F32),
            Kind { dtype: Dtype::Bf16, output: Output::Bf16, gemm_ex: true },
        ];
        const E4M3: &[Kind] =
            &[Kind::lt(Dtype::E4m3, Output::F32), Kind::lt(Dtype::E4m3, Output::Bf16)];
        const FP32: &[Kind] = &[Kind::lt(Dtype::Fp32, Output::F32)];
        const TF32: &[Kind] = &[Kind::lt(Dtype::Tf32, Output::F32)];
        const INT8: &[Kind] = &[Kind::lt(Dtype::Int8, Output::I32)];
        match dtype {
            Dtype::Fp32 => FP32,
            Dtype::Tf32 => TF32,
            Dtype::Fp16 => FP16,
            Dtype::Bf16 => BF16,
            Dtype::E4m3 => E4M3,
            Dtype::Int8 => INT8,
        }
    }

    /// What its speed is measured with: half of the bytes go out, as in training.
    pub(super) const fn fast(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Fp32 | Dtype::Tf32 => Self::lt(dtype, Output::F32),
            Dtype::Fp16 => Self::lt(dtype, Output::F16),
            Dtype::Bf16 | Dtype::E4m3 => Self::lt(dtype, Output::Bf16),
            Dtype::Int8 => Self::lt(dtype, Output::I32),
        }
    }

    /// Its word: `bf16`, and `bf16-bf16` where the result is held in 16 bits.
    pub(super) fn word(self) -> String {
        let dtype = self.dtype.word();
        match self.output {
            Output::F32 | Output::I32 => dtype.to_owned(),
            Output::F16 => format!("{dtype}-fp16"),
            Output::Bf16 => format!("{dtype}-bf16"),
        }
    }

    /// `cudaDataType` of A, B and C.
    const fn types(self) -> (c_int, c_int) {
        let operands = match self.dtype {
            // CUDA_R_32F, _16F, _16BF, _8F_E4M3, _8I
            Dtype::Fp32 | Dtype::Tf32 => 0,
            Dtype::Fp16 => 2,
            Dtype::Bf16 => 14,
            Dtype::E4m3 => 28,
            Dtype::Int8 => 3,
        };
        let result = match self.output {
            Output::F32 => 0,
            Output::F16 => 2,
            Output::Bf16 => 14,
            // CUDA_R_32I
            Output::I32 => 10,
        };
        (operands, result)
    }

    /// `cublasComputeType_t` and the `cudaDataType` of alpha and beta.
    const fn arithmetic(self) -> (c_int, c_int) {
        match self.dtype {
            // CUBLAS_COMPUTE_32I with CUDA_R_32I
            Dtype::Int8 => (72, 10),
            // CUBLAS_COMPUTE_32F_FAST_TF32
            Dtype::Tf32 => (77, 0),
            // CUBLAS_COMPUTE_32F, torch's own for the others
            Dtype::Fp32 | Dtype::Fp16 | Dtype::Bf16 | Dtype::E4m3 => (68, 0),
        }
    }
}

/// Compute capability from which cuBLAS multiplies a data type; `None`: every one that it runs on.
pub(super) const fn needs(dtype: Dtype) -> Option<ComputeCapability> {
    match dtype {
        Dtype::Fp32 | Dtype::Fp16 => None,
        Dtype::Int8 => Some(ComputeCapability::new(7, 5)),
        Dtype::Tf32 | Dtype::Bf16 => Some(ComputeCapability::new(8, 0)),
        Dtype::E4m3 => Some(ComputeCapability::new(8, 9)),
    }
}

/// cuBLAS on a device.
pub(super) struct Blas<'g> {
    pair: &'g Pair,
    lt: *mut c_void,
    cublas: *mut c_void,
    workspace: Buffer<'g>,
    /// A one, for the scales of fp8, which stand on the device.
    one: Buffer<'g>,
}

impl<'g> Blas<'g> {
    /// Creates both handles. `enter` hears the name of each call before it is made.
    pub(super) fn create(
        pair: &'g Pair,
        gpu: &'g Gpu,
        enter: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        enter("cublasLtCreate");
        let lt = pair.handle("cublasLtCreate")?;
        enter("cublasCreate_v2");
        let cublas = pair.handle("cublasCreate_v2")?;
        enter("cuMemAlloc_v2");
        let workspace = gpu.alloc(WORKSPACE)?;
        let one = gpu.upload(&1_f32.to_ne_bytes())?;
        enter("cublasSetWorkspace_v2");
        let at = pointer(workspace.at());
        // SAFETY: a handle of this library, and memory that lives as long as it.
        pair.call(
            "cublasSetWorkspace_v2",
            |set: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> c_int| unsafe {
                set(cublas, at, WORKSPACE)
            },
        )?;
        // CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: parts of a sum are not rounded to 16 bits before
        // they are added, which the bound of the error does not allow for. torch allows it as it comes.
        // SAFETY: a handle of this library.
        pair.call(
            "cublasSetMathMode",
            |set: unsafe extern "C" fn(*mut c_void, c_int) -> c_int| unsafe { set(cublas, 16) },
        )?;
        Ok(Self { pair, lt, cublas, workspace, one })
    }

    /// Describes a product, and asks for its algorithms, the one that is held for the fastest first.
    pub(super) fn plan(&self, kind: Kind, shape: Shape) -> Result<Plan<'_>> {
        let (compute, scale) = kind.arithmetic();
        let (operand, result) = kind.types();
        let operation = self.made("cublasLtMatmulDescDestroy", |at| {
            self.pair.call(
                "cublasLtMatmulDescCreate",
                // SAFETY: it writes one pointer.
                |create: unsafe extern "C" fn(*mut *mut c_void, c_int, c_int) -> c_int| unsafe {
                    create(at, compute, scale)
                },
            )
        })?;
        // CUBLASLT_MATMUL_DESC_TRANSA with CUBLAS_OP_T; B stays as it is.
        self.set("cublasLtMatmulDescSetAttribute", &operation, 3, &1_i32.to_ne_bytes())?;
        if kind.dtype == Dtype::E4m3 {
            // CUBLASLT_MATMUL_DESC_A_SCALE_POINTER and _B_SCALE_POINTER, as torch's scaled_mm sets them.
            for attribute in [17, 18] {
                let at = self.one.at().to_ne_bytes();
                self.set("cublasLtMatmulDescSetAttribute", &operation, attribute, &at)?;
            }
        }
        let layout = |of: c_int, rows: usize, columns: usize| {
            self.made("cublasLtMatrixLayoutDestroy", |at| {
                #[allow(clippy::cast_possible_wrap, reason = "sizes of matrices")]
                let (rows, columns, leading) = (rows as u64, columns as u64, rows as i64);
                // SAFETY: it writes one pointer.
                self.pair.call("cublasLtMatrixLayoutCreate", |create: Create| unsafe {
                    create(at, of, rows, columns, leading)
                })
            })
        };
        let layouts = [
            layout(operand, shape.k, shape.m)?,
            layout(operand, shape.k, shape.n)?,
            layout(result, shape.m, shape.n)?,
        ];
        let preference = self.made("cublasLtMatmulPreferenceDestroy", |at| {
            self.pair.call(
                "cublasLtMatmulPreferenceCreate",
                // SAFETY: it writes one pointer.
                |create: unsafe extern "C" fn(*mut *mut c_void) -> c_int| unsafe { create(at) },
            )
        })?;
        // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, and CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK without
        // CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE (see above, the mode of mathematics).
        let set = "cublasLtMatmulPreferenceSetAttribute";
        self.set(set, &preference, 1, &(WORKSPACE as u64).to_ne_bytes())?;
        self.set(set, &preference, 3, &3_u32.to_ne_bytes())?;
        let found = self.heuristic(&operation, &layouts, &preference)?;
        Ok(Plan { blas: self, kind, shape, operation, layouts, found })
    }

    fn heuristic(
        &self,
        operation: &Made<'_>,
        [a, b, c]: &[Made<'_>; 3],
        preference: &Made<'_>,
    ) -> Result<Vec<Found>> {
        let mut found = [Found::default(); ALGORITHMS];
        let mut count: c_int = 0;
        // SAFETY: descriptors of this library; it writes as many results as it is asked for.
        self.pair.call("cublasLtMatmulAlgoGetHeuristic", |ask: Ask| unsafe {
            ask(
                self.lt,
                operation.at,
                a.at,
                b.at,
                c.at,
                c.at,
                preference.at,
                3,
                found.as_mut_ptr(),
                &raw mut count,
            )
        })?;
        let count = usize::try_from(count).unwrap_or(0);
        let found: Vec<Found> =
            found.into_iter().take(count).filter(|found| found.state == 0).collect();
        if found.is_empty() {
            return Err(CudaError {
                call: "cublasLtMatmulAlgoGetHeuristic",
                status: Some(NOT_SUPPORTED),
                text: "it succeeds and names no algorithm".into(),
            });
        }
        Ok(found)
    }

    fn set(&self, call: &'static str, of: &Made<'_>, attribute: c_int, value: &[u8]) -> Result<()> {
        // SAFETY: a descriptor of this library; it reads as many bytes as are said.
        self.pair.call(call, |set: Set| unsafe {
            set(of.at, attribute, value.as_ptr().cast(), value.len())
        })
    }

    fn made(
        &self,
        destroy: &'static str,
        create: impl FnOnce(*mut *mut c_void) -> Result<()>,
    ) -> Result<Made<'_>> {
        let mut at = ptr::null_mut();
        create(&raw mut at)?;
        Ok(Made { pair: self.pair, destroy, at })
    }
}

/// A descriptor, destroyed when dropped.
struct Made<'b> {
    pair: &'b Pair,
    destroy: &'static str,
    at: *mut c_void,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let at = self.at;
        // SAFETY: made by this library, and used by nobody after this.
        let _ = self
            .pair
            .call(self.destroy, |free: unsafe extern "C" fn(*mut c_void) -> c_int| unsafe {
                free(at)
            });
    }
}

/// `cublasLtMatmulHeuristicResult_t`; the algorithm stands first in it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Found {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

// As the header has it on 64 bits: a library that writes more than there is would write over other things.
const _: () = assert!(size_of::<Found>() == 96);

/// A product that is described.
pub(super) struct Plan<'b> {
    blas: &'b Blas<'b>,
    kind: Kind,
    shape: Shape,
    operation: Made<'b>,
    layouts: [Made<'b>; 3],
    found: Vec<Found>,
}

impl Plan<'_> {
    /// Number of algorithms that were found, at most [`ALGORITHMS`].
    pub(super) const fn algorithms(&self) -> usize {
        self.found.len()
    }

    /// `67, tile 20, stages 35, 1 part`: numbers of the library's own, which differ between algorithms.
    pub(super) fn name(&self, algorithm: usize) -> String {
        // CUBLASLT_ALGO_CONFIG_ID, _TILE_ID, _STAGES_ID, _SPLITK_NUM
        let [id, tile, stages, parts] = [0, 1, 6, 2].map(|attribute| {
            let (mut value, mut written) = (0_i32, 0_usize);
            let asked = self.blas.pair.call("cublasLtMatmulAlgoConfigGetAttribute", |get: Get| {
                let algorithm = self.found[algorithm].algorithm.as_ptr();
                // SAFETY: an algorithm of this library; it writes at most four bytes, and how many.
                unsafe { get(algorithm, attribute, (&raw mut value).cast(), 4, &raw mut written) }
            });
            asked.map_or_else(|_| "?".to_owned(), |()| value.to_string())
        });
        format!("{id}, tile {tile}, stages {stages}, split {parts}")
    }

    /// Launches it on the default stream, with device pointers of A, B and C.
    pub(super) fn launch(&self, algorithm: usize, a: u64, b: u64, c: u64) -> Result<()> {
        let (one, zero, int_one, int_zero) = (1_f32, 0_f32, 1_i32, 0_i32);
        let [alpha, beta] = match self.kind.dtype {
            Dtype::Int8 => {
                [&raw const int_one, &raw const int_zero].map(<*const i32>::cast::<c_void>)
            }
            _ => [&raw const one, &raw const zero].map(<*const f32>::cast::<c_void>),
        };
        let [a, b, c] = [a, b, c].map(pointer);
        if self.kind.gemm_ex {
            return self.gemm_ex(alpha, beta, a, b, c);
        }
        let [layout_a, layout_b, layout_c] = &self.layouts;
        // SAFETY: descriptors and an algorithm of this library, buffers that are as large as the shape says,
        // alpha and beta on the host (the default of the pointer mode), the default stream.
        self.blas.pair.call("cublasLtMatmul", |matmul: Matmul| unsafe {
            matmul(
                self.blas.lt,
                self.operation.at,
                alpha,
                a,
                layout_a.at,
                b,
                layout_b.at,
                beta,
                c,
                layout_c.at,
                c,
                layout_c.at,
                self.found[algorithm].algorithm.as_ptr(),
                pointer(self.blas.workspace.at()),
                WORKSPACE,
                ptr::null_mut(),
            )
        })
    }

    #[allow(clippy::many_single_char_names, reason = "the names of the matrices and their sizes")]
    fn gemm_ex(
        &self,
        alpha: *const c_void,
        beta: *const c_void,
        a: *mut c_void,
        b: *mut c_void,
        c: *mut c_void,
    ) -> Result<()> {
        let Shape { m, n, k } = self.shape;
        let [m, n, k] = [m, n, k].map(|size| c_int::try_from(size).unwrap_or(c_int::MAX));
        let (operand, result) = self.kind.types();
        // CUBLAS_OP_T, CUBLAS_OP_N and CUBLAS_GEMM_DEFAULT_TENSOR_OP, as torch calls it.
        // SAFETY: as above.
        self.blas.pair.call("cublasGemmEx", |gemm: GemmEx| unsafe {
            gemm(
                self.blas.cublas,
                1,
                0,
                m,
                n,
                k,
                alpha,
                a,
                operand,
                k,
                b,
                operand,
                k,
                beta,
                c,
                result,
                m,
                self.kind.arithmetic().0,
                99,
            )
        })
    }
}

fn pointer(at: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(usize::try_from(at).unwrap_or(0))
}

/// `cublasLtMatrixLayoutCreate`
type Create = unsafe extern "C" fn(*mut *mut c_void, c_int, u64, u64, i64) -> c_int;

/// `cublasLtMatmulDescSetAttribute` and `cublasLtMatmulPreferenceSetAttribute`
type Set = unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize) -> c_int;

/// `cublasLtMatmulAlgoGetHeuristic`
type Ask = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    c_int,
    *mut Found,
    *mut c_int,
) -> c_int;

/// `cublasLtMatmulAlgoConfigGetAttribute`
type Get = unsafe extern "C" fn(*const u64, c_int, *mut c_void, usize, *mut usize) -> c_int;

/// `cublasLtMatmul`
type Matmul = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *const c_void,
    *const c_void,
    *mut c_void,
    *const c_void,
    *mut c_void,
    *const c_void,
    *const c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *const u64,
    *mut c_void,
    usize,
    *mut c_void,
) -> c_int;

/// `cublasGemmEx`
type GemmEx = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
) -> c_int;
