//! The proofs of a matrix product, whoever computes it: our own kernel, cuBLAS, a convolution of cuDNN.

use std::time::Duration;

use super::frame::Teller;
use super::gpu::{CudaError, Gpu};
use super::numerics::exact::{Case, Judged, Wide, shown};
use super::numerics::fingerprint::{Expected, probes};
use super::numerics::random::Rng;
use super::numerics::special::Special;
use super::numerics::{Dtype, Operands, Output, Shape, bound};
use super::plan::Job;
use super::{Check, status};
use crate::domain::{Code, Sha256};

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

    /// Whether it may compute with more bits than it is asked for: a library is allowed to use TF32, not made to.
    fn may_be_finer(&self) -> bool {
        false
    }

    /// A call that failed as the check `name`; a library that has statuses of its own explains them.
    fn explain(&self, err: &CudaError, name: String) -> Check {
        status::explain(err, name)
    }
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

/// The first call of a kind loads kernels and compiles some; a product itself takes milliseconds.
const DEVICE: Duration = Duration::from_mins(1);

/// What is computed on the host takes a second or two; a result that is wrong all over takes more.
const HOST: Duration = Duration::from_mins(5);

/// What tells a faulty GPU from faulty software.
const ELSEWHERE: &str = "run it on another GPU of the same kind: where it passes this GPU is at fault, where it \
                         fails as well the library or the driver is";

/// Proves a backend for a data type, and tells each proof as a check `PREFIX.PROOF`: `exact-integer`, `bound`,
/// `rerun`, `arithmetic`, `special`, `guard`, `written`. A call that fails ends it; so does a first product of
/// which nothing was written.
pub fn prove(
    backend: &mut dyn Backend,
    dtype: Dtype,
    output: Output,
    prefix: &str,
    job: &Job,
    tell: &mut Teller<'_>,
) {
    // The operands of a type are the same in every layer and on every machine.
    let rng = Rng::new(job.seed, dtype as u64 * 4 + output as u64);
    let mut proof =
        Proof { backend, dtype, output, prefix, tell, rng, overrun: None, unwritten: None };
    if let Err(check) = proof.all(&shapes(dtype, job.quick)) {
        proof.tell.check(*check);
    }
}

/// A square, one whose edges are no powers of two, a tall one, one that is long in k, each with what is wide
/// in it; the first two are those of reals, of which the bound of FP8 allows no long sums: at k = 1024 it would
/// allow anything.
fn shapes(dtype: Dtype, quick: bool) -> [(Shape, Wide); 4] {
    // Kernels of FP8 want multiples of 16.
    let odd = match (dtype, quick) {
        (Dtype::E4m3, false) => (1008, 784, 528),
        (_, false) => (1000, 776, 520),
        (Dtype::E4m3, true) => (48, 32, 80),
        (_, true) => (52, 40, 36),
    };
    let [square, tall, long] = if quick {
        [(64, 64, 64), (128, 16, 32), (32, 16, 512)]
    } else {
        [(1024, 1024, 1024), (4096, 32, 512), (64, 64, 16384)]
    };
    [(square, Wide::Both), (odd, Wide::A), (tall, Wide::B), (long, Wide::A)]
        .map(|((m, n, k), wide)| (Shape { m, n, k }, wide))
}

struct Proof<'p, 't> {
    backend: &'p mut dyn Backend,
    dtype: Dtype,
    output: Output,
    prefix: &'p str,
    tell: &'p mut Teller<'t>,
    rng: Rng,
    /// The first product that wrote behind its end.
    overrun: Option<String>,
    /// The first product that left elements as they were.
    unwritten: Option<String>,
}

/// The check that ends a proof before its end.
type Ended<T> = Result<T, Box<Check>>;

impl Proof<'_, '_> {
    fn all(&mut self, shapes: &[(Shape, Wide)]) -> Ended<()> {
        let integers = self.exact(shapes)?;
        let reals = self.bound(shapes[0].0)?;
        self.rerun(&[integers, reals])?;
        self.arithmetic()?;
        self.special()?;
        let guard = match self.overrun.take() {
            None => self.pass("guard", "no byte behind a result was touched"),
            Some(text) => self.fail("guard", text),
        };
        self.tell.check(guard);
        let written = match self.unwritten.take() {
            None => self.pass("written", "every element of every result was written"),
            Some(text) => self.fail("written", text),
        };
        self.tell.check(written);
        Ok(())
    }

    fn name(&self, proof: &str) -> String {
        format!("{}.{proof}", self.prefix)
    }

    fn pass(&self, proof: &str, text: impl Into<String>) -> Check {
        Check::pass(self.name(proof), text)
    }

    fn fail(&self, proof: &str, text: impl Into<String>) -> Check {
        Check::fail(self.name(proof), Code::WrongResult, text).help(ELSEWHERE)
    }

    /// One product on the device; looks at its guard.
    fn run(&mut self, proof: &str, operands: &Operands) -> Ended<Vec<u8>> {
        let (name, shape) = (self.name(proof), operands.shape);
        self.tell.phase(format!("{name}: {shape} on the device"), DEVICE);
        let product = self.backend.product(operands, self.output);
        let product = product.map_err(|err| Box::new(self.backend.explain(&err, name.clone())))?;
        self.tell.phase(format!("{name}: {shape} on the host"), HOST);
        if let Some(at) = product.guard.iter().position(|byte| *byte != POISON) {
            self.overrun.get_or_insert_with(|| {
                format!("the product {shape} wrote behind its end, first {at} bytes after it")
            });
        }
        if product.c.iter().all(|byte| *byte == POISON) {
            let text = format!(
                "all calls succeeded, and nothing was written: all {} elements of the product {shape} are as \
                 they were before",
                shape.m * shape.n
            );
            return Err(Box::new(self.fail("written", text)));
        }
        Ok(product.c)
    }

    /// P1; gives back what the first shape was and gave.
    fn exact(&mut self, shapes: &[(Shape, Wide)]) -> Ended<(Operands, Vec<u8>)> {
        let (mut check, mut elements, mut first) = (None, 0, None);
        let mut digests = Vec::new();
        for (shape, wide) in shapes {
            let case = Case::draw(self.dtype, self.output, *shape, *wide, &mut self.rng);
            let c = self.run("exact-integer", &case.operands)?;
            let judged = case.judge(self.output, &c, &mut self.rng);
            self.note(*shape, &judged);
            elements += judged.elements;
            if let (Some(text), None) = (judged.text(), &check) {
                let mut fail = self.fail("exact-integer", format!("product {shape}: {text}"));
                fail = fail.number("wrong", judged.wrong).number("non_finite", judged.non_finite);
                if let Some(wrong) = judged.first {
                    fail = fail.number("row", wrong.row).number("column", wrong.column);
                }
                check = Some(fail);
            }
            digests.push((format!("sha256_{shape}"), judged.sha256));
            first.get_or_insert((case.operands, c));
        }
        let passed = format!("all {elements} elements of {} products are exact", shapes.len());
        let check = check.unwrap_or_else(|| self.pass("exact-integer", passed));
        let check = digests.into_iter().fold(check, |check, (name, hex)| check.number(&name, hex));
        self.tell.check(check);
        first.ok_or_else(|| Box::new(self.fail("exact-integer", "there is no shape")))
    }

    /// Remembers what was left as it was.
    fn note(&mut self, shape: Shape, judged: &Judged) {
        if judged.unwritten > 0 {
            let (count, all) = (judged.unwritten, judged.elements);
            self.unwritten.get_or_insert_with(|| {
                format!("{count} of {all} elements of the product {shape} were never written")
            });
        }
    }

    /// P2.
    fn bound(&mut self, square: Shape) -> Ended<(Operands, Vec<u8>)> {
        let k = if self.dtype == Dtype::E4m3 { square.k.min(128) } else { square.k };
        let shape = Shape { k, ..square };
        let operands = bound::draw(self.dtype, shape, &mut self.rng);
        let c = self.run("bound", &operands)?;
        if self.dtype == Dtype::Int8 {
            let why = "sums of integers have no rounding: `exact-integer` says all there is to say";
            self.tell.check(Check::not_needed(self.name("bound"), why));
            return Ok((operands, c));
        }
        let judged = bound::judge(&operands, self.output, &c, &mut self.rng);
        let (worst, ratio) = (judged.worst, judged.worst.ratio());
        let place = format!("row {}, column {}", worst.row, worst.column);
        let check = if judged.beyond > 0 {
            self.fail(
                "bound",
                format!(
                    "product {shape}: {} of {} elements that were compared are beyond the bound that is proven \
                     for them; the worst, {place}, is {} and must be {} within {:.1e}",
                    judged.beyond, judged.compared, shown(worst.found), shown(worst.right), worst.rounding + worst.bound
                ),
            )
        } else if judged.non_finite > 0 {
            let text = format!(
                "product {shape}: {} elements are infinite or no number, and all of them must be finite",
                judged.non_finite
            );
            self.fail("bound", text)
        } else if ratio > 0.25 {
            let text = format!(
                "product {shape}: the worst error, {place}, is {ratio:.3} of its bound, and honest arithmetic stays \
                 below 0.25"
            );
            Check::warn(self.name("bound"), Code::WrongResult, text).help(ELSEWHERE)
        } else {
            let text = format!(
                "{} elements differ from double precision by {ratio:.4} of their bound at most",
                judged.compared
            );
            self.pass("bound", text)
        };
        // What is no finite number has no place in JSON; the text says it.
        let check = if ratio.is_finite() {
            check
                .number("worst_error_over_bound", ratio)
                .number("relative_frobenius_error", judged.frobenius)
        } else {
            check.number("non_finite", judged.non_finite)
        };
        let digest = Sha256::of(&c).hex().to_owned();
        self.tell.check(check.number(&format!("sha256_{shape}"), digest));
        Ok((operands, c))
    }

    /// P3: the same work a second and a third time.
    fn rerun(&mut self, before: &[(Operands, Vec<u8>)]) -> Ended<()> {
        for (operands, first) in before {
            let (shape, bytes) = (operands.shape, self.output.bytes());
            for run in 2..=3 {
                let again = self.run("rerun", operands)?;
                let differ =
                    |at: &usize| first[at * bytes..][..bytes] != again[at * bytes..][..bytes];
                let count = (0..shape.m * shape.n).filter(differ).count();
                let Some(at) = (0..shape.m * shape.n).find(differ) else { continue };
                let value = |c: &[u8]| self.output.decode(&c[at * bytes..][..bytes])[0];
                let text = format!(
                    "run {run} of the product {shape} differs from the first in {count} elements: row {}, column \
                     {} is {} and was {}",
                    at % shape.m,
                    at / shape.m,
                    shown(value(&again)),
                    shown(value(first))
                );
                let check = Check::fail(self.name("rerun"), Code::HardwareFault, text)
                    .number("differing", count)
                    .help(
                        "take the GPU out of service and let its maker's diagnostics test it: the same work gives \
                         the same bits on a sound one",
                    );
                self.tell.check(check);
                return Ok(());
            }
        }
        let text = "a second and a third run of the same products gave the same bits";
        self.tell.check(self.pass("rerun", text));
        Ok(())
    }

    /// P4.
    fn arithmetic(&mut self) -> Ended<()> {
        for probe in probes(self.dtype, self.output, &mut self.rng) {
            let c = self.run("arithmetic", &probe.case.operands)?;
            let judged = probe.case.judge(self.output, &c, &mut self.rng);
            let wrong = match (probe.expected, judged.text()) {
                (Expected::Exact, text) => {
                    self.note(probe.case.operands.shape, &judged);
                    text
                }
                (Expected::Inexact, _) if 2 * judged.wrong > judged.elements => None,
                (Expected::Inexact, _) => Some(format!(
                    "{} of {} elements are exact",
                    judged.elements - judged.wrong,
                    judged.elements
                )),
            };
            if let Some(wrong) = wrong {
                // Another arithmetic shows nearly everywhere; a few wrong elements are a fault of another kind.
                if probe.expected == Expected::Exact && 4 * judged.wrong < judged.elements {
                    self.tell.check(self.fail("arithmetic", wrong));
                    return Ok(());
                }
                let text = format!(
                    "it is not the arithmetic of {}: {}; {wrong}",
                    self.dtype.word(),
                    probe.otherwise
                );
                if probe.expected == Expected::Inexact && self.backend.may_be_finer() {
                    let check = Check::warn(self.name("arithmetic"), Code::Slow, text);
                    self.tell.check(check.help(
                        "no number is wrong; unset what keeps the library from tensor cores",
                    ));
                    return Ok(());
                }
                let check = self.fail("arithmetic", text).help("unset NVIDIA_TF32_OVERRIDE and whatever else changes the arithmetic of libraries");
                self.tell.check(check);
                return Ok(());
            }
        }
        let no_more = if self.dtype == Dtype::Tf32 { ", and operands no more" } else { "" };
        let text = format!("operands and sums have all the bits of {}{no_more}", self.dtype.word());
        self.tell.check(self.pass("arithmetic", text));
        Ok(())
    }

    fn special(&mut self) -> Ended<()> {
        let check = match Special::draw(self.dtype, &mut self.rng) {
            None => Check::not_needed(self.name("special"), "integers have no NaN and no infinity"),
            Some(special) => {
                let c = self.run("special", &special.operands)?;
                match special.judge(self.output, &c) {
                    None => self
                        .pass("special", "NaN and infinity show where they must, and nowhere else"),
                    Some(text) => self.fail("special", text),
                }
            }
        };
        self.tell.check(check);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
