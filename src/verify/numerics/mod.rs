//! Which numbers go into a matrix product, and which may come out. Pure: no clock, no file, no device.
//!
//! One convention everywhere (our kernels, cuBLAS, torch): `A` is m rows of k, `B` is n rows of k (that is,
//! B transposed), `C` is n rows of m: element (i, j) of the product is the sum over x of A[i][x] * B[j][x] and
//! stands at `c[j * m + i]`. In cuBLAS's words: column-major, transa = T, transb = N, lda = ldb = k, ldc = m.

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
