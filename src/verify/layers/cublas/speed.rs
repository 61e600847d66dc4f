//! How fast the image's cuBLAS multiplies, held against what the card can do.

use std::time::{Duration, Instant};

use super::judge::{Card, Measured, judge};
use super::lt::{Blas, Kind, Plan};
use super::status::{NOT_SUPPORTED, explain};
use crate::domain::{Code, Order as _};
use crate::verify::Check;
use crate::verify::clocks::Clocks;
use crate::verify::frame::Teller;
use crate::verify::gpu::{Buffer, CudaError, Gpu, L2_BYTES, MULTIPROCESSORS};
use crate::verify::numerics::random::Rng;
use crate::verify::numerics::{Dtype, Operands, Shape, bound};
use crate::verify::plan::Job;
use crate::verify::proofs::POISON;

/// Sides of the square matrices, smallest first. From the last but one on a large card is near its peak.
const SIDES: &[usize] = &[256, 512, 1024, 2048, 4096, 8192];

/// The side below which a large card is kept from its peak by the shape.
const LARGE: usize = 4096;

/// Numbers in the block that operands are made of, by repetition. Generating each of 10^8 operands would take
/// the host longer than the device takes for all products. The length is odd, so that rows begin at ever other
/// places of the block: no two of them, and no two sets, are alike, and the bits that change from one
/// multiplication to the next, which decide about power and so about speed, change as in random numbers.
const BLOCK: usize = (1 << 20) + 7;

/// Number of the stream of random numbers, behind those of the proofs.
const STREAM: u64 = 1 << 32;

/// Rows and columns of the timed result that are held against double precision.
const SAMPLED: [usize; 2] = [64, 16];

/// Relative error above which a result is no product at all: honest FP8 stays below 0.03, and the bound that is
/// proven for its long sums allows anything.
const NOISE: f64 = 0.1;

/// Shortest warming up, in which clocks rise and settle.
const WARM: Duration = Duration::from_millis(300);

/// Time of all timed launches that is aimed at: a sampler of clocks sees some of it.
const TIMED: f64 = 0.3;

/// Longest that warming up and all timed launches may take together, in seconds.
const BUDGET: f64 = 1.0;

/// Fewest and most timed launches.
const LAUNCHES: [f64; 2] = [20.0, 400.0];

/// Measures a data type, and tells what came of it.
pub(super) fn tell(blas: &Blas<'_>, gpu: &Gpu, dtype: Dtype, job: &Job, tell: &mut Teller<'_>) {
    let name = format!("{}.speed", dtype.word());
    tell.phase(&name, Duration::from_mins(2));
    let checks = measure(blas, gpu, dtype, job, &name);
    match checks {
        Ok(checks) => {
            for check in checks {
                tell.check(check);
            }
        }
        // The proofs hold their results in other types.
        Err(err) if err.call.starts_with("cublas") && err.status == Some(NOT_SUPPORTED) => {
            tell.check(Check::not_needed(name, format!("not measured: {err}")));
        }
        Err(err) => tell.check(explain(&err, name)),
    }
}

fn measure(
    blas: &Blas<'_>,
    gpu: &Gpu,
    dtype: Dtype,
    job: &Job,
    name: &str,
) -> Result<Vec<Check>, CudaError> {
    let kind = Kind::fast(dtype);
    let size = dtype.bytes();
    let (free, _) = gpu.memory()?;
    let l2 = usize::try_from(gpu.attribute(L2_BYTES)?).unwrap_or(0);
    // Three sets of operands, and more where three of them would still stand in the L2 cache.
    let operands = |side: usize| (3 * 2 * side * side * size).max(3 * l2 + 2 * side * side * size);
    let result = |side: usize| side * side * kind.output.bytes();
    let fits = |side: &&usize| ((operands(**side) + result(**side)) as u64) < free / 2;
    let Some(largest) = SIDES.iter().rev().find(fits).copied() else {
        let text = format!("too little memory is free to measure: {} MiB", free >> 20);
        return Ok(vec![Check::not_needed(name, text)]);
    };
    let block = block(dtype, job.seed);
    let mut arena = gpu.alloc(operands(largest).max(block.len()))?;
    arena.repeat(&block)?;
    let mut c = gpu.alloc(result(largest))?;

    let mut sets = Sets { arena: &arena, side: 0, size };
    let (mut plan, mut once) = (None, 0.0);
    for side in SIDES.iter().copied().filter(|side| *side <= largest) {
        // The largest side with which all launches stay within the budget, by the time of the one before.
        if plan.is_some() && once * 8.0 * 2.0 * LAUNCHES[0] > BUDGET {
            break;
        }
        sets.side = side;
        let next = blas.plan(kind, Shape { m: side, n: side, k: side })?;
        // The first launch of a kernel loads it.
        launch(gpu, &next, &sets, &c, 1)?;
        once = launch(gpu, &next, &sets, &c, 2)?.as_secs_f64() / 2.0;
        plan = Some(next);
    }
    let Some(plan) = plan else { return Ok(Vec::new()) };

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
    let number = (TIMED / once).clamp(LAUNCHES[0], LAUNCHES[1]) as usize;
    let start = Instant::now();
    while start.elapsed() < WARM {
        launch(gpu, &plan, &sets, &c, number.div_ceil(10))?;
    }
    c.fill(POISON)?;
    // Not before it is warm: a clock of an idle card would spoil the mean.
    let clocks = Clocks::start(&gpu.address().unwrap_or_default());
    let mut events = vec![gpu.event()?];
    for _ in 0..number {
        events.push(gpu.event()?);
    }
    events[0].record()?;
    for index in 0..number {
        let [a, b] = sets.at(index);
        plan.launch(0, a, b, c.at())?;
        events[index + 1].record()?;
    }
    events[number].wait()?;
    let sampled = clocks.stop();
    let mut times = Vec::new();
    for pair in events.windows(2) {
        times.push(pair[1].since(&pair[0])?);
    }
    times.order_by(f64::total_cmp);
    let measured = Measured { side: sets.side, cramped: largest < LARGE, times };
    let of = |list: &[(Dtype, f64)]| list.iter().find(|(of, _)| *of == dtype).map(|(_, n)| *n);
    let card = Card {
        multiprocessors: u32::try_from(gpu.attribute(MULTIPROCESSORS)?).unwrap_or(0),
        peak: of(&job.peaks),
        per_clock: of(&job.per_clock),
    };
    let mut rng = Rng::new(job.seed, 2 * STREAM + dtype as u64);
    Ok(vec![
        judge(name, dtype, &measured, &sampled, &card).number("algorithm", plan.name(0)),
        spots(kind, &sets, &block, number - 1, &c, &mut rng)?,
    ])
}

/// Launches so many times, and waits; how long that took.
fn launch(
    gpu: &Gpu,
    plan: &Plan<'_>,
    sets: &Sets<'_>,
    c: &Buffer<'_>,
    times: usize,
) -> Result<Duration, CudaError> {
    let start = Instant::now();
    for index in 0..times {
        let [a, b] = sets.at(index);
        plan.launch(0, a, b, c.at())?;
    }
    gpu.synchronize()?;
    Ok(start.elapsed())
}

/// Operands on the device, one set after the other.
struct Sets<'a> {
    arena: &'a Buffer<'a>,
    side: usize,
    size: usize,
}

impl Sets<'_> {
    fn count(&self) -> usize {
        self.arena.len() / (2 * self.side * self.side * self.size)
    }

    /// Device pointers of A and B of a launch.
    fn at(&self, launch: usize) -> [u64; 2] {
        let bytes = self.side * self.side * self.size;
        let first = launch % self.count() * 2;
        [first, first + 1].map(|operand| self.arena.at() + (operand * bytes) as u64)
    }
}

/// Holds the result of a launch against double precision, in rows and columns taken at random: what is fast
/// must be right as well.
fn spots(
    kind: Kind,
    sets: &Sets<'_>,
    block: &[u8],
    launch: usize,
    c: &Buffer<'_>,
    rng: &mut Rng,
) -> Result<Check, CudaError> {
    let Sets { side, size, .. } = *sets;
    let [rows, columns] = SAMPLED.map(|count| -> Vec<usize> {
        let end = u32::try_from(side).unwrap_or(u32::MAX);
        (0..count).map(|_| rng.below(end) as usize).collect()
    });
    let first = launch % sets.count() * 2;
    let gather = |operand: usize, rows: &[usize]| -> Vec<u8> {
        let starts = rows.iter().map(|row| (operand * side + row) * side * size);
        starts.flat_map(|at| (at..at + side * size).map(|at| block[at % block.len()])).collect()
    };
    let operands = Operands {
        dtype: kind.dtype,
        shape: Shape { m: rows.len(), n: columns.len(), k: side },
        a: gather(first, &rows),
        b: gather(first + 1, &columns),
    };
    let (bytes, mut found) = (kind.output.bytes(), Vec::new());
    for column in &columns {
        let all = c.read_part(column * side * bytes, side * bytes)?;
        for row in &rows {
            found.extend(&all[row * bytes..][..bytes]);
        }
    }
    let judged = bound::judge(&operands, kind.output, &found, rng);
    let (name, worst) = (format!("{}.timed-result", kind.dtype.word()), judged.worst);
    let wrong = judged.beyond + judged.non_finite;
    if wrong > 0 || judged.frobenius > NOISE {
        let text = format!(
            "the last of the timed products of {side} x {side} is wrong: row {}, column {} is {} and must be {}",
            rows[worst.row], columns[worst.column], worst.found, worst.right
        );
        return Ok(Check::fail(name, Code::WrongResult, text).number("beyond", wrong).help(
            "run it again, and with --no-speed: where only this fails, the GPU errs under load",
        ));
    }
    let text =
        format!("{} elements of the last timed product are what they should be", judged.compared);
    Ok(Check::pass(name, text).number("relative_frobenius_error", judged.frobenius))
}

/// Normal random numbers, as a data type holds them.
fn block(dtype: Dtype, seed: u64) -> Vec<u8> {
    // int8 has no fractions.
    let scale = if dtype == Dtype::Int8 { 32.0 } else { 1.0 };
    let mut rng = Rng::new(seed, STREAM + dtype as u64);
    let values: Vec<f64> = (0..BLOCK).map(|_| rng.normal() * scale).collect();
    dtype.encode(&values)
}
