//! P4: whether the arithmetic ran that was asked for, and no cheaper one. Numbers with just as many bits as the
//! type has must come out exact, and with one bit more they must not.
//!
//! Operands are rounded to their type before a device sees them. That leaves, for each type:
//!
//! | type | operands are not narrowed | sums are not kept in fewer bits | tensor cores ran |
//! |---|---|---|---|
//! | fp32 | odd integers of 16 bits, by 2^40 and 2^-40: tf32 has 11, bf16 8 | 2^22 and ones | - |
//! | tf32 | of 11 bits: bf16 has 8 | 2^22 and ones | integers of 12 bits come out wrong |
//! | fp16 | of 11 bits | 2^22 and ones: beyond half's range | no: SIMT units give the same |
//! | bf16 | of 8 bits, by 2^40 and 2^-40: beyond half's range | 2^22 and ones: bf16 keeps 8 bits | no |
//! | e4m3 | of 4 bits | 2^11 and ones: half loses them, the 14 bits of Hopper do not | no |
//! | int8 | - | 127 by 127 to beyond 2^24: fp32 loses the last bit | no |

use super::exact::{Case, largest};
use super::random::Rng;
use super::{Dtype, Output, Shape};

/// What a result has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Every element is exact.
    Exact,
    /// Most elements are not: the hardware that is asked for cannot hold these operands.
    Inexact,
}

/// One product that tells arithmetics apart.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What goes in.
    pub case: Case,
    /// What has to come out.
    pub expected: Expected,
    /// What it says of the arithmetic when something else comes out.
    pub otherwise: &'static str,
}

const SHAPE: Shape = Shape { m: 32, n: 32, k: 128 };

/// The probes of a data type.
pub fn probes(dtype: Dtype, output: Output, rng: &mut Rng) -> Vec<Probe> {
    if dtype == Dtype::Int8 {
        return vec![Probe {
            case: long(),
            expected: Expected::Exact,
            otherwise: "sums are not kept as integers of 32 bits",
        }];
    }
    let mut probes = vec![
        Probe {
            case: wide(dtype, output, rng),
            expected: Expected::Exact,
            otherwise: match dtype {
                Dtype::Fp32 => "operands are cut to fewer bits, as tf32 and bf16 do",
                Dtype::Tf32 => "operands are cut to less than tf32's 11 bits, as bf16 does",
                _ => "operands are cut to fewer bits than their type has, or to a narrower range",
            },
        },
        Probe {
            case: lasting(dtype, rng),
            expected: Expected::Exact,
            otherwise: "sums are kept in too few bits, as an accumulator of half or bf16 does",
        },
    ];
    if dtype == Dtype::Tf32 {
        // Held as single precision, with one bit that tf32 has not.
        // Large enough that a library takes tensor cores for it: small ones it may multiply without.
        let shape = Shape { m: 256, n: 256, ..SHAPE };
        let case = Case::of(Dtype::Fp32, shape, odd(shape.m, 2049, rng), signs(shape.n, rng), 0);
        let mut probe = Probe {
            case,
            expected: Expected::Inexact,
            otherwise: "operands keep more than the 11 bits of tf32: tensor cores did not run",
        };
        probe.case.operands.dtype = dtype;
        probes.push(probe);
    }
    probes
}

fn signs(rows: usize, rng: &mut Rng) -> Vec<i32> {
    (0..rows * SHAPE.k).map(|_| rng.sign()).collect()
}

/// Rows of odd numbers from this one up to twice of it: all have the same number of bits, and need the last.
fn odd(rows: usize, lowest: i32, rng: &mut Rng) -> Vec<i32> {
    (0..rows * SHAPE.k)
        .map(|_| (lowest + 2 * rng.between(0, lowest / 2 - 1)) * rng.sign())
        .collect()
}

/// Numbers of all the bits that the type has.
fn wide(dtype: Dtype, output: Output, rng: &mut Rng) -> Case {
    let lowest = match dtype {
        // 128 numbers of 17 bits still add up to less than 2^24.
        Dtype::Fp32 => (1 << 15) + 1,
        Dtype::E4m3 => 9,
        _ => largest(dtype) / 2 + 2,
    };
    let mut a = odd(SHAPE.m, lowest, rng);
    // As many of them as the result can hold the sum of.
    let kept = match output {
        Output::F32 | Output::I32 => SHAPE.k,
        Output::F16 => 2048 / (2 * lowest as usize - 3),
        Output::Bf16 => 256 / (2 * lowest as usize - 3),
    };
    for (row, numbers) in a.chunks_exact_mut(SHAPE.k).enumerate() {
        for (at, number) in numbers.iter_mut().enumerate() {
            // The kept ones lie at another place in each row.
            if (at + 3 * row) % SHAPE.k >= kept {
                *number = 0;
            }
        }
    }
    let scale = match dtype {
        Dtype::Fp32 | Dtype::Tf32 | Dtype::Bf16 => 40,
        _ => 0,
    };
    Case::of(dtype, SHAPE, a, signs(SHAPE.n, rng), scale)
}

/// A large number, a one in each third block of 32, and the large number again with its sign changed: the ones
/// last only where sums are kept in all their bits.
fn lasting(dtype: Dtype, rng: &mut Rng) -> Case {
    let (large_a, large_b) = if dtype == Dtype::E4m3 { (16, 128) } else { (2048, 2048) };
    let (last, k) = (SHAPE.k - 1, SHAPE.k);
    let mut a = vec![0; SHAPE.m * k];
    for row in a.chunks_exact_mut(k) {
        (row[0], row[last]) = (large_a, -large_a);
        for at in [33, 65, 97] {
            row[at] = rng.sign();
        }
    }
    let mut b = signs(SHAPE.n, rng);
    for row in b.chunks_exact_mut(k) {
        (row[0], row[last]) = (large_b, large_b);
    }
    Case::of(dtype, SHAPE, a, b, 0)
}

/// Sums of bytes just beyond what single precision can count to.
fn long() -> Case {
    let shape = Shape { m: 16, n: 16, k: 2048 };
    let (mut a, b) = (vec![127; shape.m * shape.k], vec![127; shape.n * shape.k]);
    // 2^24 is passed, and the sum is odd in every other row.
    for (row, numbers) in a.chunks_exact_mut(shape.k).enumerate() {
        numbers[row] = 126 - i32::from(row % 2 == 1);
    }
    Case::of(Dtype::Int8, shape, a, b, 0)
}
