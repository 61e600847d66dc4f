//! What the proofs of a matrix product cost on the host. `cargo bench --bench numerics` prints the times; all
//! the proofs of one data type are to take less than 1.5 seconds on one core.

use std::hint::black_box;

use divan::Bencher;
use gpuseal::verify::numerics::exact::{Case, Wide};
use gpuseal::verify::numerics::random::Rng;
use gpuseal::verify::numerics::{Dtype, Output, Shape, bound};

fn main() {
    divan::main();
}

/// One element of A in each row, so that the host has the product at once.
fn sparse(edge: usize, rng: &mut Rng) -> (Case, Vec<u8>) {
    let shape = Shape { m: edge, n: edge, k: edge };
    let b: Vec<i32> = (0..edge * edge).map(|_| rng.between(-255, 255)).collect();
    let mut a = vec![0; edge * edge];
    for row in 0..edge {
        a[row * edge + row] = 1;
    }
    let c: Vec<f64> = b.iter().map(|value| f64::from(*value)).collect();
    (Case::of(Dtype::Bf16, shape, a, b, 0), Output::F32.encode(&c))
}

/// P1: every element of a right result against the product of integers.
#[divan::bench(args = [1024, 4096], sample_count = 5, sample_size = 1)]
fn exact_judge(bencher: Bencher<'_, '_>, edge: usize) {
    let mut rng = Rng::new(1, 0);
    let (case, c) = sparse(edge, &mut rng);
    bencher.bench_local(|| {
        let judged = case.judge(Output::F32, black_box(&c), &mut rng);
        assert_eq!(judged.wrong, 0);
        judged
    });
}

/// Drawing and encoding what P1 multiplies.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn exact_draw_1024() -> Case {
    let shape = Shape { m: 1024, n: 1024, k: 1024 };
    Case::draw(Dtype::Bf16, Output::F32, shape, Wide::Both, &mut Rng::new(1, 0))
}

/// P2: blocks of a result against double precision.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn bound_judge_1024(bencher: Bencher<'_, '_>) {
    let mut rng = Rng::new(1, 0);
    let shape = Shape { m: 1024, n: 1024, k: 1024 };
    let operands = bound::draw(Dtype::Bf16, shape, &mut rng);
    let c = vec![0; shape.m * shape.n * 4];
    bencher.bench_local(|| bound::judge(&operands, Output::F32, black_box(&c), &mut rng));
}
