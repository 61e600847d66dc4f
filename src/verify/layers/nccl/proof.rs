//! Connects all devices, and lets NCCL add up what only one sum is right for.

use std::ffi::c_int;
use std::path::Path;
use std::time::{Duration, Instant};

use super::library::{BFLOAT16, INT32, Nccl, Ring};
use crate::domain::{Code, Gather as _, Order as _};
use crate::verify::frame::Teller;
use crate::verify::gpu::{Buffer, CudaError, Gpu};
use crate::verify::plan::Job;
use crate::verify::proofs::POISON;
use crate::verify::{Check, status};

/// Connecting eight cards asks every link between them.
const CONNECT: Duration = Duration::from_mins(3);

const MINUTE: Duration = Duration::from_mins(1);

pub(super) fn prove(job: &Job, path: &Path, tell: &mut Teller<'_>) {
    tell.phase("dlopen of libnccl", MINUTE);
    let nccl = match Nccl::load(path) {
        Ok(nccl) => nccl,
        Err(err) => {
            let text = format!("{} cannot be loaded: {}", path.display(), err.text);
            let help = "install torch's own nvidia-nccl package again";
            return tell.check(Check::fail("library", Code::Unknown, text).help(help));
        }
    };
    tell.check(match nccl.version() {
        Ok(version) => Check::pass("library", format!("NCCL {version} in {}", path.display()))
            .number("version", version),
        Err(err) => explain(&err, "library"),
    });
    let mut gpus = Vec::new();
    for device in job.devices.iter().copied() {
        let mut enter = |call: &str| tell.phase(format!("{call} of device {device}"), MINUTE);
        match Gpu::open(device, &mut enter) {
            Ok(gpu) => gpus.push(gpu),
            Err(err) => return tell.check(status::explain(&err, format!("d{device}.device"))),
        }
    }
    tell.phase("ncclCommInitAll", CONNECT);
    let start = Instant::now();
    let comms = match nccl.connect(&job.devices) {
        Ok(comms) => comms,
        Err(err) => return tell.check(explain(&err, "connect")),
    };
    let seconds = start.elapsed().as_secs_f64();
    let text = format!("NCCL has connected {} devices", gpus.len());
    tell.check(Check::pass("connect", text).number("seconds", seconds));
    let ring = Ring { nccl: &nccl, gpus: &gpus, comms: &comms };
    for kind in [Kind::Int32, Kind::Bf16] {
        let name = format!("{}.all-reduce", kind.word());
        tell.phase(name.as_str(), MINUTE);
        match exact(&ring, kind, job) {
            Ok(Ok(count)) => {
                let text = format!("{count} sums of {} are right on every device", kind.word());
                tell.check(Check::pass(name, text).number("elements", count));
            }
            Ok(Err(text)) => {
                let check = Check::fail(name, Code::WrongResult, text);
                tell.check(facts(check).help("set NCCL_P2P_DISABLE=1 to see whether the direct way between the devices is at fault; `nvidia-smi topo -m` shows it"));
            }
            // After an error that NCCL has met on the way nothing works any more.
            Err(err) => return tell.check(explain(&err, &name)),
        }
    }
    if job.speed {
        tell.phase("bandwidth", MINUTE);
        tell.check(bandwidth(&ring, job).unwrap_or_else(|err| explain(&err, "bandwidth")));
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Int32,
    Bf16,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Bf16 => "bf16",
        }
    }

    /// Its number in nccl.h, and bytes of an element.
    const fn number(self) -> (c_int, usize) {
        match self {
            Self::Int32 => (INT32, 4),
            Self::Bf16 => (BFLOAT16, 2),
        }
    }

    /// What stands at an index of a device: no sum over all devices leaves what the type holds exactly, in
    /// no order, and neighbours and devices differ.
    #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
    fn value(self, rank: usize, index: usize, ranks: usize, seed: u64) -> i32 {
        let mixed = (index as u32 ^ seed as u32).wrapping_add(1).wrapping_mul(0x9E37_79B1);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA6B + 2 * rank as u32);
        let most = match self {
            Self::Int32 => i32::MAX,
            // 8 bits of significand.
            Self::Bf16 => 256,
        };
        let most = (most / (ranks as u32).max(2).cast_signed()).max(1);
        (mixed >> 1).cast_signed() % (most + 1) * if mixed & 1 == 0 { 1 } else { -1 }
    }

    fn encode(self, values: impl Iterator<Item = i32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            match self {
                Self::Int32 => bytes.extend(value.to_le_bytes()),
                #[allow(clippy::cast_precision_loss, reason = "at most 256")]
                Self::Bf16 => bytes.extend(&(value as f32).to_le_bytes()[2..]),
            }
        }
        bytes
    }

    /// As people read it.
    fn shown(self, bytes: &[u8]) -> String {
        match (self, bytes) {
            (Self::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).to_string(),
            (Self::Bf16, &[a, b]) => f32::from_le_bytes([0, 0, a, b]).to_string(),
            _ => "?".into(),
        }
    }
}

/// Buffers of each device: what it gives, and where the sum is to stand.
fn buffers(gpus: &[Gpu], bytes: usize) -> Result<Vec<(Buffer<'_>, Buffer<'_>)>, CudaError> {
    let mut all = Vec::new();
    for gpu in gpus {
        gpu.make_current()?;
        all.push((gpu.alloc(bytes)?, gpu.alloc(bytes)?));
    }
    Ok(all)
}

/// Adds up twice; what is wrong, or how many elements are right.
fn exact(ring: &Ring<'_>, kind: Kind, job: &Job) -> Result<Result<usize, String>, CudaError> {
    // No multiple of anything that NCCL cuts its work into.
    let count = 17 + if job.quick { 1 << 12 } else { 1 << 21 };
    let ranks = ring.gpus.len();
    let (number, size) = kind.number();
    let mut buffers = buffers(ring.gpus, count * size)?;
    for (rank, (gpu, (from, _))) in ring.gpus.iter().zip(&mut buffers).enumerate() {
        gpu.make_current()?;
        from.write(&kind.encode((0..count).map(|i| kind.value(rank, i, ranks, job.seed))))?;
    }
    let sum = |index| (0..ranks).map(|rank| kind.value(rank, index, ranks, job.seed)).sum();
    let wanted = kind.encode((0..count).map(sum));
    for turn in ["", "right at first, then not: "] {
        for (gpu, (_, to)) in ring.gpus.iter().zip(&mut buffers) {
            gpu.make_current()?;
            to.fill(POISON)?;
        }
        ring.wait()?;
        ring.reduce(&buffers, count, number)?;
        ring.wait()?;
        for ((gpu, device), (_, to)) in ring.gpus.iter().zip(&job.devices).zip(&buffers) {
            gpu.make_current()?;
            let got = to.read()?;
            let pairs = || got.chunks(size).zip(wanted.chunks(size));
            let wrong = pairs().filter(|(got, wanted)| got != wanted).count();
            if let Some(at) = pairs().position(|(got, wanted)| got != wanted) {
                let at_bytes = at * size..(at + 1) * size;
                let [is, should] = [&got, &wanted].map(|all| kind.shown(&all[at_bytes.clone()]));
                return Ok(Err(format!(
                    "{turn}{wrong} of {count} sums of {} over {ranks} devices are wrong on device {device}: element {at} is {is}, and the sum is {should}",
                    kind.word()
                )));
            }
        }
    }
    Ok(Ok(count))
}

/// What moves over the links, in the measure of nccl-tests: it does not depend on the number of devices.
fn bandwidth(ring: &Ring<'_>, job: &Job) -> Result<Check, CudaError> {
    let bytes: usize = if job.quick { 1 << 16 } else { 256 << 20 };
    let mut buffers = buffers(ring.gpus, bytes)?;
    for (gpu, (from, _)) in ring.gpus.iter().zip(&mut buffers) {
        gpu.make_current()?;
        from.fill(0)?;
    }
    let mut times: Vec<f64> = Vec::new();
    let Some(first) = ring.gpus.first() else {
        return Ok(Check::not_needed("bandwidth", "there is no device"));
    };
    for _ in 0..15 {
        ring.wait()?;
        first.make_current()?;
        let (start, end) = (first.event()?, first.event()?);
        start.record()?;
        ring.reduce(&buffers, bytes / 2, BFLOAT16)?;
        first.make_current()?;
        end.record()?;
        ring.wait()?;
        first.make_current()?;
        times.push(end.since(&start)?);
    }
    // The first ones set up what later ones use.
    let mut times: Vec<f64> = times.into_iter().skip(5).gather();
    times.order_by(f64::total_cmp);
    let milliseconds = times[times.len() / 2];
    #[allow(clippy::cast_precision_loss, reason = "bytes and devices, for people")]
    let moved = bytes as f64 * 2.0 * (ring.gpus.len() - 1) as f64 / ring.gpus.len() as f64;
    let speed = moved / milliseconds / 1e6;
    if !speed.is_finite() {
        let text = format!("the device measured {milliseconds} ms for a sum of {bytes} bytes");
        return Ok(Check::skip("bandwidth", Code::Unknown, text));
    }
    let text = format!("{speed:.1} GB/s on the bus, for a sum of {} MiB", bytes >> 20);
    Ok(Check::pass("bandwidth", text)
        .number("gigabytes_per_second", (speed * 10.0).round() / 10.0)
        .number("milliseconds", milliseconds)
        .number("bytes", bytes))
}

/// A call that failed, with its code and the way out.
fn explain(err: &CudaError, name: &str) -> Check {
    if !err.call.starts_with("nccl") {
        return status::explain(err, name);
    }
    if err.status.is_none() {
        let text = format!("the NCCL of the image has no function `{}`: {}", err.call, err.text);
        return Check::fail(name, Code::CompanionMismatch, text)
            .help("install the nvidia-nccl package that this torch asks for");
    }
    let small = ["/dev/shm", "shared memory"].iter().any(|words| err.text.contains(words));
    let code = if small { Code::SharedMemory } else { Code::NcclError };
    let check = facts(Check::fail(name, code, format!("{} failed: {}", err.call, err.text)));
    let check = if small {
        check.help("give the container more: `docker run --shm-size=8g`, or `--ipc=host`")
    } else {
        check
    };
    check.help("run it again with NCCL_DEBUG=INFO: NCCL then says what it has tried")
}

/// What makes NCCL choose its ways.
fn facts(check: Check) -> Check {
    let set = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("NCCL_"))?;
        Some(format!("{name}={}", crate::domain::shown(&value.to_string_lossy())))
    });
    set.fold(check, |check, text| check.fact(text, "environment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_within_the_type() {
        for ranks in [2, 3, 8, 16] {
            for (kind, most) in [(Kind::Int32, i64::from(i32::MAX)), (Kind::Bf16, 256)] {
                let value = |rank, index| i64::from(kind.value(rank, index, ranks, 1));
                let mut seen = std::collections::BTreeSet::new();
                for index in 0..2000 {
                    let sum: i64 = (0..ranks).map(|rank| value(rank, index).abs()).sum();
                    assert!(sum <= most, "{ranks} {index} {sum}");
                    seen.insert(value(0, index));
                }
                assert!(seen.iter().any(|v| *v < 0) && seen.iter().any(|v| *v > 0));
                assert_ne!(value(0, 5), value(1, 5));
                assert!(seen.len() > 16, "{ranks} {}", seen.len());
            }
        }
        let bytes = Kind::Bf16.encode([-255, 1, 0].into_iter());
        let shown: Vec<String> = bytes.chunks(2).map(|one| Kind::Bf16.shown(one)).collect();
        assert_eq!(shown, ["-255", "1", "0"]);
    }
}
