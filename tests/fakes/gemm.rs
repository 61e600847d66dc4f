//! The product of matrices on the CPU, in the layout of `gpuseal::verify::numerics`, and what may be wrong
//! with it: `result=` names the fault, and `result-of=cuda` the one library that has it.
//!
//! `nothing`: no byte is written. `zeros`. `lost-tile`: 16 x 16 elements are zero. `flip-high`, `flip-low`: one
//! bit of one element. `nan`: one element. `second`: a low bit of every second product. `wrong-arithmetic`:
//! operands of fewer bits than they should have, or of more. `overrun`: four bytes too many.

use std::sync::atomic::{AtomicU32, Ordering};

use gpuseal::verify::numerics::{Dtype, Output, Shape};

use crate::fault;

static PRODUCTS: AtomicU32 = AtomicU32::new(0);

/// The bytes that a library writes from C's start on.
pub fn product(
    library: &str,
    dtype: Dtype,
    (a, b): (&[u8], &[u8]),
    shape: Shape,
    output: Output,
) -> Vec<u8> {
    let all = fault::text("result-of").is_none_or(|of| of == library);
    let fault = fault::text("result").filter(|_| all).unwrap_or_default();
    if fault == "nothing" {
        return Vec::new();
    }
    let wrong = fault == "wrong-arithmetic";
    let [a, b] = [a, b].map(|bytes| operand(dtype, bytes, wrong));
    let mut c = output.encode(&sums(&a, &b, shape));
    spoil(&mut c, &fault, shape, output);
    c
}

/// The numbers that are multiplied, by their rows.
fn operand(dtype: Dtype, bytes: &[u8], wrong: bool) -> Vec<f64> {
    let values = dtype.decode(bytes);
    match (dtype, wrong) {
        // Its operands come as they are, and only 19 bits of each are used.
        (Dtype::Tf32, false) | (Dtype::Fp32, true) => {
            values.iter().map(|value| rounded(*value, 11)).collect()
        }
        (Dtype::Tf32, true) | (_, false) => values,
        (Dtype::Fp16, true) => values.iter().map(|value| rounded(*value, 8)).collect(),
        (Dtype::Bf16 | Dtype::Int8, true) => {
            values.iter().map(|value| rounded(*value, 4)).collect()
        }
        (Dtype::E4m3, true) => values.iter().map(|value| rounded(*value, 2)).collect(),
    }
}

/// To so many significant bits.
fn rounded(value: f64, bits: u32) -> f64 {
    let step = 1_u64 << (53 - bits);
    if value.is_finite() {
        f64::from_bits(
            (value.to_bits() + step / 2 - 1 + (value.to_bits() / step) % 2) & !(step - 1),
        )
    } else {
        value
    }
}

/// As plain as it can be: this is not optimised, and a product of 512 takes 134 million steps.
#[allow(clippy::many_single_char_names, reason = "the names of the matrices")]
fn sums(a: &[f64], b: &[f64], shape: Shape) -> Vec<f64> {
    let Shape { m, n, k } = shape;
    let mut c = vec![0.0; m * n];
    let (mut j, quads) = (0, k / 4 * 4);
    while j < n {
        let right = &b[j * k..(j + 1) * k];
        let mut i = 0;
        while i < m {
            let left = &a[i * k..(i + 1) * k];
            let (mut s, mut t, mut u, mut v, mut x) = (0.0, 0.0, 0.0, 0.0, 0);
            while x < quads {
                s += left[x] * right[x];
                t += left[x + 1] * right[x + 1];
                u += left[x + 2] * right[x + 2];
                v += left[x + 3] * right[x + 3];
                x += 4;
            }
            while x < k {
                s += left[x] * right[x];
                x += 1;
            }
            c[j * m + i] = s + t + u + v;
            i += 1;
        }
        j += 1;
    }
    c
}

fn spoil(c: &mut Vec<u8>, fault: &str, shape: Shape, output: Output) {
    let bytes = output.bytes();
    // In no corner, where the first look would fall.
    let at = (shape.n / 3 * shape.m + shape.m / 2) * bytes;
    let low = if output == Output::F32 { 2 } else { 1 };
    match fault {
        "" | "nothing" | "wrong-arithmetic" => (),
        "zeros" => c.fill(0),
        "lost-tile" => {
            for j in 0..shape.n.min(16) {
                let from = shape.m.saturating_sub(16);
                c[(j * shape.m + from) * bytes..(j + 1) * shape.m * bytes].fill(0);
            }
        }
        "flip-high" => c[at + bytes - 1] ^= 0x40,
        "flip-low" => c[at] ^= low,
        "second" => {
            if PRODUCTS.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                c[at] ^= low;
            }
        }
        "nan" => {
            let nan = match output {
                Output::I32 => i32::MIN.to_le_bytes().to_vec(),
                float => float.encode(&[f64::NAN]),
            };
            c[at..at + bytes].copy_from_slice(&nan);
        }
        "overrun" => c.extend([0; 4]),
        unknown => panic!("no fault is called {unknown}"),
    }
}
