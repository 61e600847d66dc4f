//! The proofs of cuBLAS, data type by data type.

use std::time::Duration;

use super::lt::{Blas, Kind};
use super::status::{NOT_SUPPORTED, explain};
use crate::domain::Code;
use crate::verify::frame::Teller;
use crate::verify::gpu::{CudaError, Gpu};
use crate::verify::numerics::exact::{Case, Wide};
use crate::verify::numerics::random::Rng;
use crate::verify::numerics::{Dtype, Operands, Output, Shape};
use crate::verify::plan::Job;
use crate::verify::proofs::{self, Backend, Product};
use crate::verify::{Check, Outcome};

type Result<T> = std::result::Result<T, CudaError>;

/// Proves the kinds of a data type; whether the library multiplies it at all.
pub(super) fn prove(
    gpu: &Gpu,
    blas: &Blas<'_>,
    dtype: Dtype,
    job: &Job,
    tell: &mut Teller<'_>,
) -> bool {
    let mut works = false;
    for kind in Kind::of(dtype).iter().copied() {
        let word = kind.word();
        tell.phase(format!("cublasLtMatmulAlgoGetHeuristic of {word}"), Duration::from_mins(1));
        let shape = Shape { m: 256, n: 256, k: 256 };
        if let Err(err) = blas.plan(kind, shape) {
            tell.check(refused(kind, &err));
            continue;
        }
        works = true;
        let mut prover = Prover { gpu, blas, kind, algorithm: 0, used: Vec::new() };
        proofs::prove(&mut prover, dtype, kind.output, &word, job, tell);
        if !kind.gemm_ex {
            tell.phase(format!("{word}.algorithms"), Duration::from_mins(2));
            let check = algorithms(prover, &format!("{word}.algorithms"), job);
            tell.check(check.unwrap_or_else(|err| explain(&err, format!("{word}.algorithms"))));
        }
    }
    works
}

/// Whether every algorithm that the library proposes gives the exact result: which of them torch takes depends
/// on shapes and on memory.
fn algorithms(mut prover: Prover<'_>, name: &str, job: &Job) -> Result<Check> {
    let Kind { dtype, output, .. } = prover.kind;
    let side = if job.quick { 64 } else { 512 };
    let shape = Shape { m: side, n: side, k: 2 * side };
    let mut rng = Rng::new(job.seed, 1 << 16 | (dtype as u64 * 4 + output as u64));
    let case = Case::draw(dtype, output, shape, Wide::A, &mut rng);
    let found = prover.blas.plan(prover.kind, shape)?.algorithms();
    prover.used.clear();
    for algorithm in 0..found {
        prover.algorithm = algorithm;
        let product = prover.product(&case.operands, output)?;
        if let Some(text) = case.judge(output, &product.c, &mut rng).text() {
            let used = prover.used.pop().unwrap_or_default();
            let text = format!("algorithm {used} multiplies {shape} wrong: {text}");
            return Ok(Check::fail(name, Code::WrongResult, text)
                .help("run it on another GPU of the same kind: where it fails as well, the library is at fault"));
        }
    }
    let text = format!("{found} algorithms give the exact result");
    Ok(Check::pass(name, text).number("algorithms", prover.used))
}

/// A kind that the library does not plan. FP8 and int8 came late, and not to all cards; without any of the
/// others there is no training.
fn refused(kind: Kind, err: &CudaError) -> Check {
    let word = kind.word();
    if err.status == Some(NOT_SUPPORTED) && matches!(kind.dtype, Dtype::E4m3 | Dtype::Int8) {
        let text = format!("this cuBLAS multiplies no {word} on this card: {err}");
        return Check::not_needed(word, text).number("status", NOT_SUPPORTED);
    }
    explain(err, word)
}

/// cuBLAS as something that proves itself.
struct Prover<'b> {
    gpu: &'b Gpu,
    blas: &'b Blas<'b>,
    kind: Kind,
    /// Which of those that the library proposes.
    algorithm: usize,
    /// Names of the algorithms that computed, each once.
    used: Vec<String>,
}

impl Backend for Prover<'_> {
    fn product(&mut self, operands: &Operands, output: Output) -> Result<Product> {
        let plan = self.blas.plan(Kind { output, ..self.kind }, operands.shape)?;
        // A shape may have fewer algorithms than another; its last one stands in.
        let algorithm = self.algorithm.min(plan.algorithms() - 1);
        let name = plan.name(algorithm);
        if !self.kind.gemm_ex && !self.used.contains(&name) {
            self.used.push(name);
        }
        proofs::on_device(self.gpu, operands, output, &mut |a, b, c| {
            plan.launch(algorithm, a, b, c)
        })
    }

    fn may_be_finer(&self) -> bool {
        true
    }

    fn explain(&self, err: &CudaError, name: String) -> Check {
        // It has some products of this type: that it has not this one makes no number wrong, and proves nothing.
        if err.status == Some(NOT_SUPPORTED) && matches!(self.kind.dtype, Dtype::E4m3 | Dtype::Int8)
        {
            let check = explain(err, name);
            return Check { outcome: Outcome::Skip, ..check };
        }
        explain(err, name)
    }
}
