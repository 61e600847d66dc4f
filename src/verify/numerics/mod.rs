//! Which numbers go into a matrix product, and which may come out. Pure: no clock, no file, no device.
//!
//! One convention everywhere (our kernels, cuBLAS, torch): `A` is m rows of k, `B` is n rows of k (that is,
//! B transposed), `C` is n rows of m: element (i, j) of the product is the sum over x of `A[i][x] * B[j][x]` and
//! stands at `c[j * m + i]`. In cuBLAS's words: column-major, transa = T, transb = N, lda = ldb = k, ldc = m.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers are held in the range of what they are cast to"
)]
#![allow(clippy::float_cmp, reason = "exact is what is asked for")]
#![allow(clippy::many_single_char_names, reason = "as in the textbooks: C = A B, m by n by k")]

pub mod bound;
pub mod exact;
pub mod fingerprint;
pub mod format;
mod freivalds;
pub mod random;
pub mod special;

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the operands are held and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// 32 bits, multiplied as such.
    Fp32,
    /// 32 bits, of which tensor cores multiply 19: a sign, 8 of exponent, 10 of mantissa.
    Tf32,
    /// IEEE half: 5 bits of exponent, 10 of mantissa.
    Fp16,
    /// 8 bits of exponent, 7 of mantissa.
    Bf16,
    /// FP8: 4 bits of exponent, 3 of mantissa.
    E4m3,
    /// Signed 8 bits, added in 32.
    Int8,
}

impl Dtype {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Fp32, Self::Tf32, Self::Fp16, Self::Bf16, Self::E4m3, Self::Int8];

    /// Its word in every voice: `bf16`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::E4m3 => "e4m3",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of an element of A and B.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Fp32 | Self::Tf32 => 4,
            Self::Fp16 | Self::Bf16 => 2,
            Self::E4m3 | Self::Int8 => 1,
        }
    }
}

/// How the result is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// 8 bits of exponent, 7 of mantissa.
    Bf16,
    /// Signed 32 bits.
    I32,
}

impl Output {
    /// Bytes of an element of C.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Sizes of a product: A is m x k, B is k x n, C is m x n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// What is summed over.
    pub k: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.n, self.k)
    }
}

/// What goes into a product, encoded, in the layout above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operands {
    /// Their type.
    pub dtype: Dtype,
    /// Their sizes.
    pub shape: Shape,
    /// m rows of k.
    pub a: Vec<u8>,
    /// n rows of k.
    pub b: Vec<u8>,
}
