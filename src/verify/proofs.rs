//! The proofs of a matrix product, whoever computes it: our own kernel, cuBLAS, a convolution of cuDNN.

use super::frame::Teller;
use super::gpu::{CudaError, Gpu};
use super::numerics::{Dtype, Operands, Output};
use super::plan::Job;

/// Bytes behind the result that nobody may touch.
pub const GUARD: usize = 4096;

/// The byte that stands in result and guard before each run: NaN in fp32, fp16, bf16 and e4m3, -1 in integers.
pub const POISON: u8 = 0xFF;

/// A result as it lay on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The result, in the layout of [`super::numerics`].
    pub c: Vec<u8>,
    /// The bytes behind it.
    pub guard: Vec<u8>,
}

/// Something that computes matrix products on a device.
pub trait Backend {
    /// The product of these operands, over poisoned memory.
    ///
    /// # Errors
    /// A call failed; it is named.
    fn product(&mut self, operands: &Operands, output: Output) -> Result<Product, CudaError>;
}

/// Puts operands on a device, poisons the memory of the result and its guard, lets `launch` compute with the
/// device pointers of A, B and C, waits, and reads back.
///
/// # Errors
/// A call failed; it is named.
pub fn on_device(
    gpu: &Gpu,
    operands: &Operands,
    output: Output,
    launch: &mut dyn FnMut(u64, u64, u64) -> Result<(), CudaError>,
) -> Result<Product, CudaError> {
    let a = gpu.upload(&operands.a)?;
    let b = gpu.upload(&operands.b)?;
    let bytes = operands.shape.m * operands.shape.n * output.bytes();
    let mut c = gpu.alloc(bytes + GUARD)?;
    c.fill(POISON)?;
    launch(a.at(), b.at(), c.at())?;
    gpu.synchronize()?;
    let mut all = c.read()?;
    let guard = all.split_off(bytes);
    Ok(Product { c: all, guard })
}

/// Proves a backend for a data type, and tells each proof as a check `PREFIX.PROOF`.
pub fn prove(
    _backend: &mut dyn Backend,
    _dtype: Dtype,
    _output: Output,
    _prefix: &str,
    _job: &Job,
    _tell: &mut Teller<'_>,
) {
}
