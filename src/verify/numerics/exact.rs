//! P1: products of whole numbers, of which there is one right result and no tolerance.
//!
//! The operands are drawn so that every product and every sum of products, in any order and any grouping, is
//! held exactly by the accumulator and by the result: of at most `limit` products' worth, 2^24 for single
//! precision, 2^23 for tensor cores (which may cut instead of rounding), 2^12 for FP8 (whose accumulator has 14
//! bits on Hopper), 2^11 and 2^8 for half and bf16 as results. Where k is too large for that, most of A is zero.
//! This holds by construction, so nothing has to be drawn again.
//!
//! Sources: Blanchard, Higham, Lopez, Mary, Pranesh: Mixed precision block fused multiply-add (2020), and
//! Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores (2021), on truncation.

use std::iter::zip;

use super::random::Rng;
use super::{Dtype, Operands, Output, Shape, freivalds};
use crate::domain::Hasher;
use crate::verify::proofs::POISON;

/// Multiplications that are spent on naming wrong elements one by one.
const PATIENCE: usize = 1 << 31;

/// Up to so many multiplications every element is compared with a product of the host too, whatever the
/// random vectors say.
const SMALL: usize = 1 << 22;

/// Which of the operands has the many bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wide {
    /// A has all bits of its type that fit, B is 1 and -1.
    A,
    /// B has.
    B,
    /// Both have as many as fit.
    Both,
}

/// Whole numbers to be multiplied.
#[derive(Debug, Clone)]
pub struct Case {
    /// As a device takes them.
    pub operands: Operands,
    a: Vec<i32>,
    b: Vec<i32>,
}

/// Largest whole number up to which all are held by accumulator and result.
fn limit(dtype: Dtype, output: Output) -> i32 {
    let sums = match dtype {
        Dtype::Fp32 => 1 << 24,
        Dtype::Tf32 | Dtype::Fp16 | Dtype::Bf16 => 1 << 23,
        Dtype::E4m3 => (1 << 12) - 1,
        Dtype::Int8 => i32::MAX,
    };
    sums.min(match output {
        Output::F32 => 1 << 24,
        Output::F16 => 1 << 11,
        Output::Bf16 => 1 << 8,
        Output::I32 => i32::MAX,
    })
}

/// Largest whole number up to which the type holds all.
pub const fn largest(dtype: Dtype) -> i32 {
    match dtype {
        Dtype::Fp32 => (1 << 24) - 1,
        Dtype::Tf32 | Dtype::Fp16 => 2047,
        Dtype::Bf16 => 255,
        Dtype::E4m3 => 16,
        Dtype::Int8 => 127,
    }
}

impl Case {
    /// Draws operands of a shape.
    pub fn draw(dtype: Dtype, output: Output, shape: Shape, wide: Wide, rng: &mut Rng) -> Self {
        let limit = limit(dtype, output);
        let room = limit / i32::try_from(shape.k).unwrap_or(i32::MAX);
        let (high_a, high_b) = match wide {
            _ if dtype == Dtype::Int8 => (127, 127),
            Wide::A => (room, 1),
            Wide::B => (1, room),
            Wide::Both => (room.isqrt(), room.isqrt()),
        };
        let [high_a, high_b] = [high_a, high_b].map(|high| high.clamp(1, largest(dtype)));
        let mut draw = |rows: usize, high: i32| -> Vec<i32> {
            // A whole byte of integers, to its last: -128 too.
            let low = if dtype == Dtype::Int8 { -128 } else { -high };
            (0..rows * shape.k)
                .map(|_| if high == 1 { rng.sign() } else { rng.between(low, high) })
                .collect()
        };
        let (mut a, b) = (draw(shape.m, high_a), draw(shape.n, high_b));
        if room == 0 {
            let kept = limit as usize;
            for row in a.chunks_exact_mut(shape.k) {
                thin(row, kept, rng);
            }
        }
        Self::of(dtype, shape, a, b, 0)
    }

    /// These numbers, A multiplied by two to the power of `scale` and B divided by it.
    pub fn of(dtype: Dtype, shape: Shape, a: Vec<i32>, b: Vec<i32>, scale: i32) -> Self {
        let encode = |values: &[i32], scale: i32| {
            let factor = 2.0_f64.powi(scale);
            let values: Vec<f64> = values.iter().map(|value| f64::from(*value) * factor).collect();
            dtype.encode(&values)
        };
        let operands = Operands { dtype, shape, a: encode(&a, scale), b: encode(&b, -scale) };
        Self { operands, a, b }
    }

    /// An element of A.
    pub fn a(&self, row: usize, at: usize) -> i32 {
        self.a[row * self.operands.shape.k + at]
    }

    /// An element of the product, as it must be.
    pub fn element(&self, row: usize, column: usize) -> i32 {
        let k = self.operands.shape.k;
        let (a, b) = (&self.a[row * k..][..k], &self.b[column * k..][..k]);
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Holds a result against the one that is right.
    pub fn judge(&self, output: Output, c: &[u8], rng: &mut Rng) -> Judged {
        let Shape { m, n, k } = self.operands.shape;
        let found = output.decode(c);
        let whole: Vec<i32> = found.iter().map(|value| *value as i32).collect();
        let (mut rows, mut columns) =
            freivalds::wrong(self.operands.shape, &self.a, &self.b, &whole, rng);
        if m * n * k <= SMALL {
            (rows, columns) = (vec![true; m], vec![true; n]);
        }
        // What no sum of whole numbers can be is wrong by itself, whatever the cast has made of it.
        for (at, _) in zip(&found, &whole).enumerate().filter(|(_, (f, w))| **f != f64::from(**w)) {
            (rows[at % m], columns[at / m]) = (true, true);
        }
        let mut digest = Hasher::default();
        for values in whole.chunks(4096) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            digest.update(&bytes);
        }
        let mut judged = Judged {
            elements: m * n,
            wrong: 0,
            counted: true,
            unwritten: 0,
            non_finite: found.iter().filter(|value| !value.is_finite()).count(),
            first: None,
            rows: None,
            columns: None,
            sha256: digest.finish().hex().to_owned(),
        };
        let mut left = PATIENCE / k;
        // Every wrong element lies where a wrong row and a wrong column cross.
        for column in (0..n).filter(|column| columns[*column]) {
            for row in (0..m).filter(|row| rows[*row]) {
                // The first column has one in it, so that one has been found when patience ends.
                let Some(fewer) = left.checked_sub(1) else {
                    judged.counted = false;
                    return judged;
                };
                left = fewer;
                let at = column * m + row;
                let expected = self.element(row, column);
                if found[at] != f64::from(expected) {
                    judged.wrong += 1;
                    let bytes = &c[at * output.bytes()..][..output.bytes()];
                    judged.unwritten += usize::from(bytes.iter().all(|byte| *byte == POISON));
                    judged.first.get_or_insert(Wrong { row, column, found: found[at], expected });
                    judged.rows = Some(widened(judged.rows, row));
                    judged.columns = Some(widened(judged.columns, column));
                }
            }
        }
        judged
    }
}

fn widened(range: Option<(usize, usize)>, to: usize) -> (usize, usize) {
    range.map_or((to, to), |(first, last)| (first.min(to), last.max(to)))
}

/// Leaves this many numbers of a row, at random places.
fn thin(row: &mut [i32], kept: usize, rng: &mut Rng) {
    let (mut left, mut places) = (kept, row.len());
    for value in row {
        if rng.below(u32::try_from(places).unwrap_or(u32::MAX)) as usize >= left {
            *value = 0;
        } else {
            left -= 1;
        }
        places -= 1;
    }
}

/// A number as people read it: without hundreds of digits.
pub fn shown(value: f64) -> String {
    if value == 0.0 || (1e-3..1e9).contains(&value.abs()) || !value.is_finite() {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

/// An element that is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wrong {
    /// Its row in C.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// What it is.
    pub found: f64,
    /// What it must be.
    pub expected: i32,
}

/// What there is to say of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// How many elements there are.
    pub elements: usize,
    /// How many of them are wrong.
    pub wrong: usize,
    /// All that are wrong were counted; else there may be more.
    pub counted: bool,
    /// How many of the wrong ones are still what was there before.
    pub unwritten: usize,
    /// How many are infinite or no number.
    pub non_finite: usize,
    /// The first of the wrong ones, by columns.
    pub first: Option<Wrong>,
    /// First and last row with a wrong element.
    pub rows: Option<(usize, usize)>,
    /// First and last column with one.
    pub columns: Option<(usize, usize)>,
    /// Of the whole numbers as 32 bits each, so that it is the same for every type, library and GPU.
    pub sha256: String,
}

impl Judged {
    /// What is wrong, and where; `None`: nothing is.
    pub fn text(&self) -> Option<String> {
        let (first, rows, columns) = (self.first?, self.rows?, self.columns?);
        let span = |(first, last): (usize, usize), word: &str| {
            if first == last {
                format!("{word} {first}")
            } else {
                format!("{word}s {first} to {last}")
            }
        };
        let least = if self.counted { "" } else { "at least " };
        let never = match self.unwritten {
            0 => String::new(),
            count => format!("; {count} of them were never written"),
        };
        Some(format!(
            "{least}{} of {} elements are wrong, in {} and {}: the first is {} and must be {}{never}",
            self.wrong,
            self.elements,
            span(rows, "row"),
            span(columns, "column"),
            shown(first.found),
            first.expected,
        ))
    }
}
