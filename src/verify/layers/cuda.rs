//! L1: libcuda, and a context on each device.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::domain::{Code, shown};
use crate::host::probe;
use crate::verify::frame::Teller;
use crate::verify::gpu::{CudaError, Gpu, MULTIPROCESSORS};
use crate::verify::plan::Job;
use crate::verify::{Check, Device, status};

/// Without persistence mode the driver wakes every card up first, which takes eight of them ten seconds and
/// more.
const LONG: Duration = Duration::from_mins(1);

/// What is done with a context that stands.
const SHORT: Duration = Duration::from_secs(20);

/// Bytes that are written and read back: more than a copy in one piece, and soon compared.
const BYTES: usize = 4 << 20;

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    let index = job.device.unwrap_or(0);
    let start = Instant::now();
    let opened = Gpu::open(index, &mut |call| tell.phase(call, LONG));
    let gpu = match opened {
        Ok(gpu) => gpu,
        Err(err) => return tell.check(status::explain(&err, "context")),
    };
    let took = start.elapsed();
    tell.phase("attributes of the device", SHORT);
    match device(&gpu, index) {
        Ok(device) => {
            tell.check(context(&device, took));
            tell.device(device);
        }
        Err(err) => return tell.check(status::explain(&err, "context")),
    }
    tell.check(one_libcuda(probe::all_mapped("libcuda.so")));
    let memory = memory(&gpu, job.seed, tell);
    tell.check(memory);
}

/// What the driver says of the device.
fn device(gpu: &Gpu, index: u32) -> Result<Device, CudaError> {
    let name = gpu.name()?;
    // As nvidia-smi tells a part of a card from the whole.
    let prefix = if name.contains(" MIG ") { "MIG" } else { "GPU" };
    Ok(Device {
        index,
        // Drivers before CUDA 11.4 have no such function.
        uuid: gpu.uuid().ok().map(|bytes| uuid(prefix, bytes)),
        address: gpu.address().ok(),
        capability: Some(gpu.capability()?.to_string()),
        multiprocessors: u32::try_from(gpu.attribute(MULTIPROCESSORS)?).ok(),
        memory: Some(gpu.memory()?.1),
        name,
    })
}

/// `GPU-8f3a117c-529e-4d20-b605-19e47ac36000`
fn uuid(prefix: &str, bytes: [u8; 16]) -> String {
    let mut text = prefix.to_owned();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 0 | 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn context(device: &Device, took: Duration) -> Check {
    let capability = device.capability.as_deref().unwrap_or("not known");
    let gib = device.memory.unwrap_or(0) >> 30;
    let name = shown(&device.name);
    let text =
        format!("{name} has a context: compute capability {capability}, {gib} GiB of memory");
    Check::pass("context", text).number("seconds", took.as_secs_f64())
}

/// Two of them in one process have two ideas of every context.
fn one_libcuda(mapped: Option<Vec<String>>) -> Check {
    const NAME: &str = "one-libcuda";
    let Some(files) = mapped else {
        let why = "the maps of the process cannot be read, so which libcuda is loaded is not known";
        return Check::skip(NAME, Code::Unknown, why);
    };
    // Below WSL a first libcuda loads the one of Windows' driver.
    let (wsl, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.contains("/wsl/"));
    match (others.as_slice(), wsl.as_slice()) {
        ([], []) => Check::skip(NAME, Code::Unknown, "the maps of the process show no libcuda"),
        ([file], []) | ([], [file, ..]) => {
            Check::pass(NAME, format!("one libcuda is loaded: {}", shown(file)))
        }
        _ => {
            let text = format!(
                "{} files of libcuda are loaded, and one process can have only one",
                files.len()
            );
            let mut check = Check::fail(NAME, Code::LibraryShadowed, text);
            for file in &files {
                check = check.fact(shown(file), "maps of the process");
            }
            check.help("keep the host's driver alone: take the other file out of the image, LD_LIBRARY_PATH and LD_PRELOAD")
        }
    }
}

/// Memory holds what is written to it: one byte everywhere, then a pattern.
fn memory(gpu: &Gpu, seed: u64, tell: &mut Teller<'_>) -> Check {
    let mut steps = || -> Result<Option<Check>, CudaError> {
        tell.phase("cuMemAlloc_v2", SHORT);
        let mut buffer = gpu.alloc(BYTES)?;
        let filled = vec![0xA5; BYTES];
        tell.phase("cuMemsetD8_v2", SHORT);
        buffer.fill(0xA5)?;
        tell.phase("cuCtxSynchronize", SHORT);
        gpu.synchronize()?;
        tell.phase("cuMemcpyDtoH_v2", SHORT);
        if let Some(wrong) = differs(&filled, &buffer.read()?) {
            return Ok(Some(wrong));
        }
        let written = pattern(seed);
        tell.phase("cuMemcpyHtoD_v2", SHORT);
        buffer.write(&written)?;
        tell.phase("cuMemcpyDtoH_v2", SHORT);
        let read = buffer.read()?;
        tell.phase("cuMemFree_v2", SHORT);
        drop(buffer);
        tell.phase("cuCtxSynchronize", SHORT);
        gpu.synchronize()?;
        Ok(differs(&written, &read))
    };
    match steps() {
        Ok(None) => {
            let text =
                format!("{} MiB were written and read back, every byte as it was", BYTES >> 20);
            Check::pass("memory", text).number("bytes", BYTES)
        }
        Ok(Some(wrong)) => wrong,
        Err(err) => status::explain(&err, "memory"),
    }
}

/// Bytes that repeat at no power of two, so that one that came from elsewhere is found.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = (seed ^ 0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(BYTES);
    while bytes.len() < BYTES {
        // xorshift64: a state that is not zero stays so.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

fn differs(written: &[u8], read: &[u8]) -> Option<Check> {
    if written == read {
        return None;
    }
    let differing = || written.iter().zip(read).enumerate().filter(|(_, (a, b))| a != b);
    let (at, (wrote, got)) = differing().next()?;
    let count = differing().count();
    let text = format!(
        "{count} of {} bytes did not come back as they were written: byte {at} was {wrote:#04x}, and {got:#04x} came back",
        written.len()
    );
    Some(
        Check::fail("memory", Code::WrongResult, text)
            .number("wrong_bytes", count)
            .help("look for memory errors: `nvidia-smi -q -d ECC,ROW_REMAPPER`; reset the GPU and verify again")
            .help("when it stays: take the card out of service"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    #[test]
    fn one_file_and_no_more() {
        let check = |files: &[&str]| {
            one_libcuda(Some(files.iter().map(ToString::to_string).collect())).outcome
        };
        assert_eq!(check(&["/usr/lib/libcuda.so.580.65.06"]), Outcome::Pass);
        let two = ["/usr/lib/libcuda.so.580.65.06", "/usr/local/cuda/compat/libcuda.so.1"];
        assert_eq!(check(&two), Outcome::Fail);
        let wsl = ["/usr/lib/wsl/lib/libcuda.so.1", "/usr/lib/wsl/drivers/nv/libcuda.so.1.1"];
        assert_eq!(check(&wsl), Outcome::Pass);
        assert_eq!(check(&[wsl[0], two[0]]), Outcome::Fail);
        assert_eq!(check(&[]), Outcome::Skip);
        assert_eq!(one_libcuda(None).outcome, Outcome::Skip);
    }

    #[test]
    fn every_byte_counts() {
        let written = pattern(1);
        assert_eq!(written.len(), BYTES);
        assert_ne!(written[..4096], written[4096..8192]);
        assert_eq!(differs(&written, &written), None);
        let mut read = written.clone();
        read[BYTES - 1] ^= 1;
        let wrong = differs(&written, &read).expect("a difference");
        assert_eq!((wrong.outcome, &wrong.numbers["wrong_bytes"]), (Outcome::Fail, &1.into()));
    }

    #[test]
    fn a_uuid_as_nvidia_smi_writes_it() {
        let bytes = *b"\x8f\x3a\x11\x7c\x52\x9e\x4d\x20\xb6\x05\x19\xe4\x7a\xc3\x60\x00";
        assert_eq!(uuid("GPU", bytes), "GPU-8f3a117c-529e-4d20-b605-19e47ac36000");
    }
}
