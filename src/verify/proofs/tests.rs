//! Honest arithmetic of every kind passes, and each fault is refused by the proof that it belongs to.

#![allow(clippy::cast_possible_truncation, reason = "this is how numbers are rounded")]

use super::*;
use crate::verify::{Layer, Outcome};

/// How products are added up.
#[derive(Clone, Copy)]
enum Sum {
    /// Each step rounded to single precision.
    Nearest,
    /// The same from the other end.
    Backwards,
    /// Multiplied and added in one step.
    Fused,
    /// As tensor cores do: blocks of products aligned with the accumulator, and cut to so many bits.
    Cut { bits: i32, block: usize },
    /// Exactly.
    Integer,
    /// Each block of 16 rounded to the format of a result.
    Narrow(Output),
    /// The second half of k is added to the first in the format of a result.
    Split(Output),
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Nothing,
    Zeros,
    LostTile,
    SkippedTile,
    Flip {
        byte: usize,
        bit: u8,
    },
    Nan,
    SecondFlips,
    Overrun,
    LastStep,
    /// NaN becomes zero.
    Silent,
    Call,
}

struct Cpu {
    sum: Sum,
    /// Operands are cut to this type.
    operands: Option<Dtype>,
    fault: Fault,
    launches: u32,
}

impl Cpu {
    fn element(&self, a: &[f64], b: &[f64]) -> f64 {
        let products = || a.iter().zip(b).map(|(a, b)| a * b);
        match self.sum {
            Sum::Nearest => f64::from(products().fold(0.0_f32, |sum, p| sum + p as f32)),
            Sum::Backwards => f64::from(products().rev().fold(0.0_f32, |sum, p| sum + p as f32)),
            Sum::Fused => {
                let step = |sum: f32, (a, b): (&f64, &f64)| (*a as f32).mul_add(*b as f32, sum);
                f64::from(a.iter().zip(b).fold(0.0, step))
            }
            Sum::Integer => products().sum(),
            Sum::Cut { bits, block } => {
                a.chunks(block).zip(b.chunks(block)).fold(0.0_f64, |sum, (a, b)| {
                    let terms = || a.iter().zip(b).map(|(a, b)| a * b).chain([sum]);
                    let largest = terms().fold(0.0, |largest, term| term.abs().max(largest));
                    if largest == 0.0 || !terms().all(f64::is_finite) {
                        return terms().sum();
                    }
                    let cut = |value: f64, of: f64| {
                        let step = 2.0_f64.powi(of.abs().log2().floor() as i32 - bits + 1);
                        (value / step).trunc() * step
                    };
                    let sum: f64 = terms().map(|term| cut(term, largest)).sum();
                    if sum == 0.0 { 0.0 } else { cut(sum, sum) }
                })
            }
            Sum::Narrow(output) => {
                let all: Vec<f64> = products().collect();
                let round = |value: f64| output.decode(&output.encode(&[value]))[0];
                all.chunks(16).fold(0.0, |sum, block| round(sum + block.iter().sum::<f64>()))
            }
            Sum::Split(output) => {
                let round = |value: f64| output.decode(&output.encode(&[value]))[0];
                let half: f64 = products().take(a.len() / 2).sum();
                round(round(half) + round(products().skip(a.len() / 2).sum()))
            }
        }
    }
}

impl Backend for Cpu {
    fn product(&mut self, operands: &Operands, output: Output) -> Result<Product, CudaError> {
        let Shape { m, n, k } = operands.shape;
        self.launches += 1;
        if self.fault == Fault::Call && self.launches == 3 {
            let text = "CUDA_ERROR_ECC_UNCORRECTABLE".into();
            return Err(CudaError { call: "cuCtxSynchronize", status: Some(214), text });
        }
        let read = |bytes: &[u8]| {
            let values = operands.dtype.decode(bytes);
            match (self.operands, operands.dtype) {
                (Some(narrow), _) => narrow.decode(&narrow.encode(&values)),
                (None, Dtype::Tf32) => Dtype::Tf32.decode(&Dtype::Tf32.encode(&values)),
                (None, _) => values,
            }
        };
        let (a, b) = (read(&operands.a), read(&operands.b));
        let used = if self.fault == Fault::LastStep { k - 4 } else { k };
        let values: Vec<f64> = (0..n * m)
            .map(|at| self.element(&a[at % m * k..][..used], &b[at / m * k..][..used]))
            .map(|v| if self.fault == Fault::Silent && !v.is_finite() { 0.0 } else { v })
            .collect();
        let (mut c, width) = (output.encode(&values), output.bytes());
        let mut guard = vec![POISON; GUARD];
        let tile = |c: &mut [u8], byte: u8| {
            for column in 0..16.min(n) {
                let start = (column * m + 16.min(m - 16)) * width;
                c[start..start + 16 * width].fill(byte);
            }
        };
        match self.fault {
            Fault::Nothing => c.fill(POISON),
            Fault::Zeros => c.fill(0),
            Fault::LostTile => tile(&mut c, 0),
            Fault::SkippedTile => tile(&mut c, POISON),
            Fault::Flip { byte, bit } => c[(5 * m + 3) * width + byte] ^= 1 << bit,
            Fault::SecondFlips if self.launches.is_multiple_of(2) => c[7 * width] ^= 2,
            Fault::Nan => c[11 * width..12 * width].copy_from_slice(&output.encode(&[f64::NAN])),
            Fault::Overrun => guard[4] = 0,
            _ => (),
        }
        Ok(Product { c, guard })
    }
}

fn checks(mut cpu: Cpu, dtype: Dtype, output: Output) -> Vec<Check> {
    let mut text = String::new();
    let mut out = |line: &str| text.push_str(line);
    let job = Job { quick: true, ..Job::new(Layer::Kernel, Some(0)) };
    prove(&mut cpu, dtype, output, dtype.word(), &job, &mut Teller::new(&mut out));
    let lines = text.lines().filter_map(|line| line.parse::<serde_json::Value>().ok());
    lines
        .filter_map(|mut line| serde_json::from_value(line.get_mut("check")?.take()).ok())
        .collect()
}

fn honest(sum: Sum) -> Cpu {
    Cpu { sum, operands: None, fault: Fault::None, launches: 0 }
}

fn sum_of(dtype: Dtype) -> Sum {
    match dtype {
        Dtype::Fp32 => Sum::Fused,
        Dtype::Int8 => Sum::Integer,
        Dtype::E4m3 => Sum::Cut { bits: 14, block: 32 },
        _ => Sum::Cut { bits: 24, block: 16 },
    }
}

const fn output_of(dtype: Dtype) -> Output {
    if matches!(dtype, Dtype::Int8) { Output::I32 } else { Output::F32 }
}

/// Proofs that fail, without the prefix.
fn failing(checks: &[Check]) -> Vec<&str> {
    let failing = checks.iter().filter(|check| check.outcome.is_failure());
    failing.filter_map(|check| check.name.split_once('.')).map(|(_, proof)| proof).collect()
}

fn of<'c>(checks: &'c [Check], proof: &str) -> &'c Check {
    let found = checks.iter().find(|check| check.name.ends_with(proof));
    found.unwrap_or_else(|| panic!("no {proof} in {checks:?}"))
}

fn faulty(dtype: Dtype, output: Output, fault: Fault) -> Vec<Check> {
    checks(Cpu { fault, ..honest(sum_of(dtype)) }, dtype, output)
}

#[test]
fn honest_arithmetic_passes_in_any_order() {
    let cut = |bits, block| Sum::Cut { bits, block };
    for (dtype, output, sums) in [
        (Dtype::Fp32, Output::F32, vec![Sum::Nearest, Sum::Backwards, Sum::Fused]),
        (Dtype::Tf32, Output::F32, vec![cut(24, 4), cut(24, 8), Sum::Nearest]),
        (Dtype::Fp16, Output::F32, vec![cut(24, 16), Sum::Backwards]),
        (Dtype::Fp16, Output::F16, vec![cut(24, 16), Sum::Nearest]),
        (Dtype::Bf16, Output::F32, vec![cut(24, 4), cut(24, 16)]),
        (Dtype::Bf16, Output::Bf16, vec![cut(24, 16), Sum::Nearest]),
        (Dtype::E4m3, Output::F32, vec![cut(14, 32), cut(24, 32)]),
        (Dtype::E4m3, Output::Bf16, vec![cut(14, 32)]),
        (Dtype::Int8, Output::I32, vec![Sum::Integer]),
    ] {
        for sum in sums {
            let checks = checks(honest(sum), dtype, output);
            assert_eq!(checks.len(), 7, "{checks:?}");
            for check in &checks {
                let fine = check.outcome == Outcome::Pass || check.optional;
                assert!(fine, "{dtype:?} to {output:?}: {check:?}");
            }
            assert!(checks[0].numbers.keys().all(|name| name.starts_with("sha256_")));
        }
    }
}

#[test]
fn integers_have_the_same_digest_whoever_adds_them_up() {
    let digests = |sum| checks(honest(sum), Dtype::Tf32, Output::F32)[0].numbers.clone();
    let (one, other) = (digests(Sum::Cut { bits: 24, block: 8 }), digests(Sum::Backwards));
    assert_eq!(one, other);
    assert_eq!(one.len(), 4);
}

#[test]
fn where_nothing_was_written_that_is_all_there_is_to_say() {
    for dtype in [Dtype::Fp32, Dtype::Bf16, Dtype::Int8] {
        let checks = faulty(dtype, output_of(dtype), Fault::Nothing);
        assert_eq!((checks.len(), failing(&checks)), (1, vec!["written"]));
        assert!(checks[0].text.contains("nothing was written: all 4096 elements"), "{checks:?}");
    }
}

#[test]
fn a_tile_that_nobody_wrote_is_told_from_a_wrong_one() {
    for dtype in [Dtype::Fp32, Dtype::Int8] {
        let checks = faulty(dtype, output_of(dtype), Fault::SkippedTile);
        assert!(failing(&checks).contains(&"written"), "{checks:?}");
        let text = &of(&checks, "exact-integer").text;
        assert!(text.contains("in rows 16 to 31 and columns 0 to 15"), "{text}");
        assert!(text.contains("256 of them were never written"), "{text}");
    }
}

#[test]
fn zeros_and_lost_tiles_and_lost_steps_are_refused_twice() {
    for dtype in [Dtype::Fp32, Dtype::Fp16, Dtype::E4m3] {
        for fault in [Fault::Zeros, Fault::LostTile, Fault::LastStep] {
            let checks = faulty(dtype, Output::F32, fault);
            let failing = failing(&checks);
            assert!(failing.contains(&"exact-integer"), "{checks:?}");
            assert!(failing.contains(&"bound"), "{checks:?}");
            assert_eq!(of(&checks, "exact-integer").code, Code::WrongResult);
        }
    }
}

#[test]
fn one_low_bit_of_one_element_is_seen_by_integers() {
    for (dtype, output, bit) in [
        (Dtype::Fp32, Output::F32, 1),
        (Dtype::Tf32, Output::F32, 1),
        (Dtype::Bf16, Output::Bf16, 0),
        (Dtype::Fp16, Output::F16, 0),
        (Dtype::E4m3, Output::F32, 1),
        (Dtype::Int8, Output::I32, 0),
    ] {
        let checks = faulty(dtype, output, Fault::Flip { byte: 0, bit });
        let text = &of(&checks, "exact-integer").text;
        assert!(text.contains("1 of 4096 elements are wrong, in row 3 and column 5"), "{text}");
        assert!(failing(&checks).contains(&"exact-integer"));
        // A bit of 16 may be more than rounding.
        assert!(output.bytes() == 2 || !failing(&checks).contains(&"bound"), "{checks:?}");
    }
}

#[test]
fn a_high_bit_is_beyond_any_bound() {
    let checks = faulty(Dtype::Fp32, Output::F32, Fault::Flip { byte: 3, bit: 6 });
    assert!(["exact-integer", "bound"].iter().all(|proof| failing(&checks).contains(proof)));
    assert!(of(&checks, "bound").text.contains("row 3, column 5"), "{checks:?}");
}

#[test]
fn a_number_that_is_none_is_refused_and_named() {
    let checks = faulty(Dtype::Bf16, Output::Bf16, Fault::Nan);
    assert!(["exact-integer", "bound"].iter().all(|proof| failing(&checks).contains(proof)));
    assert!(of(&checks, "exact-integer").text.contains("is NaN and must be"), "{checks:?}");
}

#[test]
fn a_second_run_that_differs_is_the_hardware() {
    let checks = faulty(Dtype::Fp16, Output::F32, Fault::SecondFlips);
    let rerun = of(&checks, "rerun");
    assert_eq!((rerun.outcome, rerun.code), (Outcome::Fail, Code::HardwareFault));
    assert!(rerun.text.contains("in 1 elements: row 7, column 0"), "{rerun:?}");
}

#[test]
fn a_write_behind_the_end_is_seen() {
    let checks = faulty(Dtype::Int8, Output::I32, Fault::Overrun);
    assert_eq!(failing(&checks), ["guard"]);
    assert!(of(&checks, "guard").text.contains("first 4 bytes after it"), "{checks:?}");
}

#[test]
fn what_is_no_number_must_not_vanish() {
    let checks = faulty(Dtype::Bf16, Output::F32, Fault::Silent);
    assert_eq!(failing(&checks), ["special"]);
}

#[test]
fn cheaper_arithmetic_is_told_by_its_fingerprint() {
    let narrow = |dtype: Dtype, to| Cpu { operands: Some(to), ..honest(sum_of(dtype)) };
    for (cpu, dtype, output) in [
        (narrow(Dtype::Fp32, Dtype::Tf32), Dtype::Fp32, Output::F32),
        (narrow(Dtype::Fp32, Dtype::Bf16), Dtype::Fp32, Output::F32),
        (narrow(Dtype::Tf32, Dtype::Fp32), Dtype::Tf32, Output::F32),
        (narrow(Dtype::Tf32, Dtype::Bf16), Dtype::Tf32, Output::F32),
        (narrow(Dtype::Fp16, Dtype::Bf16), Dtype::Fp16, Output::F32),
        (narrow(Dtype::Fp16, Dtype::Bf16), Dtype::Fp16, Output::F16),
        (narrow(Dtype::Bf16, Dtype::Fp16), Dtype::Bf16, Output::F32),
        (narrow(Dtype::Bf16, Dtype::E4m3), Dtype::Bf16, Output::Bf16),
        (honest(Sum::Narrow(Output::F16)), Dtype::Fp16, Output::F32),
        (honest(Sum::Narrow(Output::F16)), Dtype::Fp16, Output::F16),
        (honest(Sum::Narrow(Output::Bf16)), Dtype::Bf16, Output::Bf16),
        (honest(Sum::Split(Output::Bf16)), Dtype::Bf16, Output::Bf16),
        (honest(Sum::Narrow(Output::F16)), Dtype::E4m3, Output::Bf16),
        (honest(Sum::Nearest), Dtype::Int8, Output::I32),
    ] {
        let checks = checks(cpu, dtype, output);
        let arithmetic = of(&checks, "arithmetic");
        assert_eq!(arithmetic.outcome, Outcome::Fail, "{dtype:?} to {output:?}: {checks:?}");
        assert!(arithmetic.text.contains(dtype.word()), "{}", arithmetic.text);
    }
    // Where tf32 was asked for and fp32 came, nothing else is wrong.
    let checks = checks(narrow(Dtype::Tf32, Dtype::Fp32), Dtype::Tf32, Output::F32);
    assert_eq!(failing(&checks), ["arithmetic"]);
    assert!(of(&checks, "arithmetic").text.contains("tensor cores did not run"));
}

#[test]
fn a_call_that_fails_ends_it_and_is_explained() {
    let checks = faulty(Dtype::Fp32, Output::F32, Fault::Call);
    assert_eq!((checks.len(), checks[0].name.as_str()), (1, "fp32.exact-integer"));
    assert_eq!(checks[0].code, Code::HardwareFault);
}
