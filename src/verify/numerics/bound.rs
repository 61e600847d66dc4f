//! P2: products of real numbers against double precision, with a bound that was proven and not tuned.
//!
//! The operands are rounded to their type first, so that their products are exact in double precision and the
//! rounding of the input drops out. For an accumulator with unit u, in any order and any grouping,
//!
//!   |found - right| <= T = s (k + 8) u (|A| |B|) + u_out |right| + tiny
//!
//! with u = 2^-24 and s = 1 where each step is rounded to single precision; u = 2^-23 and s = 2 on tensor cores,
//! which align a block of products with their accumulator and cut: each of b + 1 addends loses less than 2^-23 of
//! the sum of magnitudes, and there are k / b blocks of b >= 4; u = 2^-13 and s = 2 for FP8, whose accumulator
//! keeps 14 bits on Hopper unless told otherwise. u_out is the unit of the result. What the rounding of the
//! result uses of its part is nothing to worry about, so that errors are told as shares of the other part.
//!
//! Honest hardware stays far below a quarter of it; a statistical bound with the root of k would be tighter, and
//! wrong: cutting errs to one side, so that errors do not cancel. What is too small to be seen here, one low bit
//! of one element, [`super::exact`] sees.
//!
//! Source: N. Higham, Accuracy and Stability of Numerical Algorithms, chapter 3, and those of [`super::exact`].

use super::random::Rng;
use super::{Dtype, Operands, Output, Shape};

/// Edge of a block of elements that is computed on the host.
const BLOCK: usize = 64;

/// Multiplications on the host, about.
const WORK: usize = 1 << 26;

/// Draws real numbers, and rounds them to the type.
pub fn draw(dtype: Dtype, shape: Shape, rng: &mut Rng) -> Operands {
    let mut draw = |rows: usize| -> Vec<u8> {
        let values: Vec<f64> = (0..rows * shape.k).map(|_| rng.normal()).collect();
        dtype.encode(&values)
    };
    Operands { dtype, shape, a: draw(shape.m), b: draw(shape.n) }
}

/// T without the rounding of the result: the share of |A| |B|, and what stays when all of it is zero.
fn share(dtype: Dtype, output: Output, k: usize) -> (f64, f64) {
    let unit = match dtype {
        Dtype::Fp32 => 2.0_f64.powi(-24),
        Dtype::Tf32 | Dtype::Fp16 | Dtype::Bf16 => 2.0 * 2.0_f64.powi(-23),
        Dtype::E4m3 => 2.0 * 2.0_f64.powi(-13),
        Dtype::Int8 => 0.0,
    };
    // The distance of the smallest numbers of the result.
    let tiny = match output {
        Output::F32 | Output::Bf16 => 2.0_f64.powi(-126),
        Output::F16 => 2.0_f64.powi(-24),
        Output::I32 => 0.0,
    };
    (unit * (k as f64 + 8.0), tiny)
}

const fn unit_of(output: Output) -> f64 {
    match output {
        Output::F32 | Output::I32 => 0.0,
        Output::F16 => 1.0 / 2048.0,
        Output::Bf16 => 1.0 / 256.0,
    }
}

/// What there is to say of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Elements that were compared.
    pub compared: usize,
    /// The one that uses most of its bound.
    pub worst: Element,
    /// Elements beyond their bound, or no finite number, among those that were compared.
    pub beyond: usize,
    /// Elements of the whole result that are infinite or no number.
    pub non_finite: usize,
    /// The root of the sum of squared errors, by that of squared results.
    pub frobenius: f64,
}

/// An element beside its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    /// Its row in C.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// What it is.
    pub found: f64,
    /// What double precision gives.
    pub right: f64,
    /// What the rounding of the result may differ by.
    pub rounding: f64,
    /// What the sum may differ by: T without the rounding.
    pub bound: f64,
}

impl Element {
    /// Its error, beyond the rounding of the result, by its bound; infinite where it is no finite number. Above
    /// one the whole error is above T.
    pub fn ratio(&self) -> f64 {
        let error = (self.found - self.right).abs();
        if !error.is_finite() {
            f64::INFINITY
        } else if error <= self.rounding {
            0.0
        } else {
            (error - self.rounding) / self.bound
        }
    }
}

/// Holds a result against double precision: all of it where that is little work, else blocks at random places
/// and the borders, where kernels go wrong.
pub fn judge(operands: &Operands, output: Output, c: &[u8], rng: &mut Rng) -> Judged {
    let Shape { m, n, k } = operands.shape;
    let dtype = operands.dtype;
    let (a, b) = (dtype.decode(&operands.a), dtype.decode(&operands.b));
    let found = output.decode(c);
    let (share, tiny) = share(dtype, output, k);
    let none = Element { row: 0, column: 0, found: 0.0, right: 0.0, rounding: 0.0, bound: 0.0 };
    let non_finite = found.iter().filter(|value| !value.is_finite()).count();
    let mut judged = Judged { compared: 0, worst: none, beyond: 0, non_finite, frobenius: 0.0 };
    let (mut squares, mut errors) = (0.0, 0.0);
    for (rows, columns) in blocks(m, n, k, rng) {
        for column in columns {
            for row in rows.clone() {
                let (right, magnitude) = dot(&a[row * k..][..k], &b[column * k..][..k]);
                let (bound, rounding) = (share * magnitude + tiny, unit_of(output) * right.abs());
                let found = found[column * m + row];
                let element = Element { row, column, found, right, rounding, bound };
                judged.compared += 1;
                judged.beyond += usize::from(element.ratio() > 1.0);
                if element.ratio() > judged.worst.ratio() {
                    judged.worst = element;
                }
                squares += right * right;
                errors += (element.found - right).powi(2);
            }
        }
    }
    judged.frobenius = (errors / squares).sqrt();
    judged
}

type Range = std::ops::Range<usize>;

/// Rows and columns of the blocks that are compared.
fn blocks(m: usize, n: usize, k: usize, rng: &mut Rng) -> Vec<(Range, Range)> {
    if m * n * k <= WORK {
        return vec![(0..m, 0..n)];
    }
    let mut blocks = vec![(0..1, 0..n), (m - 1..m, 0..n), (0..m, 0..1), (0..m, n - 1..n)];
    let mut somewhere = |length: usize| {
        let edge = BLOCK.min(length);
        let start = rng.below(u32::try_from(length - edge + 1).unwrap_or(u32::MAX)) as usize;
        start..start + edge
    };
    for _ in 0..(WORK / (BLOCK * BLOCK * k)).max(4) {
        blocks.push((somewhere(m), somewhere(n)));
    }
    blocks
}

/// A row of A times a row of B, and the same of their magnitudes. Four sums at a time, which a processor
/// adds at once.
fn dot(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (mut sums, mut magnitudes) = ([0.0; 4], [0.0; 4]);
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for lane in 0..4 {
            let product = a[lane] * b[lane];
            sums[lane] += product;
            magnitudes[lane] += product.abs();
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        sums[0] += a * b;
        magnitudes[0] += (a * b).abs();
    }
    (sums.iter().sum(), magnitudes.iter().sum())
}
