//! The versions that the libraries tell of themselves, in a process of their own and without a driver; against
//! their packages, the lock and each other.
#![allow(unsafe_code, reason = "the libraries are C")]

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Seen;
use crate::domain::Code;
use crate::lock::Target;
use crate::verify::frame::{self, Teller};
use crate::verify::library::{self, Loaded};
use crate::verify::plan::Job;
use crate::verify::{Check, Layer, Outcome};

/// The cuBLAS pair has 900 MB, and comes from a cold disk.
const LOADING: Duration = Duration::from_mins(1);
const CALLING: Duration = Duration::from_secs(20);

/// The libraries, in the order in which they are loaded: cublasLt before cuBLAS needs it by name.
const LIBRARIES: &[&str] = &["cublas-lt", "cublas", "cudnn", "nccl"];

/// Runs in the child: loads each library at torch's place and tells its version.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    let libraries = &job.libraries;
    let paths = [&libraries.cublas_lt, &libraries.cublas, &libraries.cudnn, &libraries.nccl];
    for (name, path) in LIBRARIES.iter().zip(paths) {
        let Some(path) = path else { continue };
        tell.phase(format!("dlopen {}", path.display()), LOADING);
        let check = match Loaded::load(path) {
            Err(why) => {
                let text = format!("{} cannot be loaded: {why}", path.display());
                Check::fail(*name, Code::CompanionMismatch, text)
            }
            Ok(library) => {
                tell.phase(format!("version of {}", path.display()), CALLING);
                asked(name, &library)
            }
        };
        tell.check(check.number("path", path.display().to_string()));
    }
    let paths: Vec<&Path> = paths.into_iter().flatten().map(PathBuf::as_path).collect();
    tell.check(library::as_meant("mapped", &paths, "each library is the one that torch loads"));
}

type Version = (u64, u64, u64);

fn text((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

/// A function without arguments that returns a number.
fn number(library: &Loaded, name: &str) -> Option<usize> {
    // SAFETY: all that are asked for are declared so.
    let function = unsafe { library.get::<unsafe extern "C" fn() -> usize>(name) };
    // SAFETY: as above.
    function.ok().map(|function| unsafe { function() })
}

/// One that returns a status.
fn status(library: &Loaded, name: &str) -> Option<c_int> {
    // SAFETY: as cudnn.h declares them.
    let function = unsafe { library.get::<unsafe extern "C" fn() -> c_int>(name) };
    // SAFETY: as above.
    function.ok().map(|function| unsafe { function() })
}

/// `22705` of NCCL, `91002` of cuDNN; before `from` the major counts thousands.
fn split(number: u64, from: u64) -> Version {
    let unit = if number >= from { 10_000 } else { 1000 };
    (number / unit, number % unit / 100, number % 100)
}

fn asked(name: &str, library: &Loaded) -> Check {
    let version = match name {
        "cublas-lt" => property(library, "cublasLtGetProperty"),
        "cublas" => property(library, "cublasGetProperty"),
        "cudnn" => number(library, "cudnnGetVersion").map(|n| split(n as u64, 90_000)),
        _ => nccl(library).map(|n| split(n, 20_900)),
    };
    let Some(version) = version else {
        let why = "it lacks the function that tells its version, or the function failed";
        return Check::fail(name, Code::CompanionMismatch, why);
    };
    let check = Check::pass(name, text(version)).number("version", text(version));
    let parts = ["Graph", "Ops", "Cnn", "Adv", "OpsInfer", "CnnInfer", "AdvInfer"];
    for part in parts.iter().filter(|_| name == "cudnn") {
        let function = format!("cudnn{part}VersionCheck");
        if let Some(status) = status(library, &function).filter(|status| *status != 0) {
            let why = format!("{function} returns {status}: parts of two versions are loaded");
            return Check { outcome: Outcome::Fail, code: Code::CudnnMismatch, text: why, ..check };
        }
    }
    check
}

/// Not by the one number of `cublasLtGetVersion`: the factor of its first part has changed from 1000 to 10000.
fn property(library: &Loaded, name: &str) -> Option<Version> {
    type Get = unsafe extern "C" fn(c_int, *mut c_int) -> c_int;
    // SAFETY: as cublas_api.h declares it: `libraryPropertyType`, and where to write.
    let get = unsafe { library.get::<Get>(name) }.ok()?;
    let part = |which: c_int| {
        let mut value: c_int = 0;
        // SAFETY: it writes one integer.
        let status = unsafe { get(which, &raw mut value) };
        u64::try_from(value).ok().filter(|_| status == 0)
    };
    Some((part(0)?, part(1)?, part(2)?))
}

fn nccl(library: &Loaded) -> Option<u64> {
    type Get = unsafe extern "C" fn(*mut c_int) -> c_int;
    // SAFETY: as nccl.h declares it.
    let get = unsafe { library.get::<Get>("ncclGetVersion") }.ok()?;
    let mut value: c_int = 0;
    // SAFETY: it writes one integer.
    let status = unsafe { get(&raw mut value) };
    u64::try_from(value).ok().filter(|value| status == 0 && *value > 0)
}

/// `library-versions`: starts the child, and judges what it told.
pub fn checks(seen: &Seen<'_>, target: Option<&Target>) -> Vec<Check> {
    let libraries = seen.image().libraries;
    let job = Job { libraries: libraries.clone(), ..Job::new(Layer::Static, None) };
    let paths = [&libraries.cublas_lt, &libraries.cublas, &libraries.cudnn, &libraries.nccl];
    if paths.iter().all(|path| path.is_none()) {
        let why = "torch loads neither cuBLAS nor cuDNN nor NCCL by name: they may be part of it";
        return vec![Check::not_needed("library-versions", why)];
    }
    let told = frame::run(&job, None).ran.checks;
    let mut checks = Vec::new();
    let version = |name: &str| {
        let check =
            told.iter().find(|check| check.name == name && check.outcome == Outcome::Pass)?;
        check.numbers.get("version")?.as_str().map(str::to_owned)
    };
    for check in told.iter().filter(|check| check.outcome != Outcome::Pass) {
        let name = match check.name.as_str() {
            // The frame's own word for a child that hangs or dies.
            "process" => "library-versions".to_owned(),
            name => format!("library-versions.{name}"),
        };
        let help = "install the package again that the library belongs to, and leave LD_LIBRARY_PATH to the loader";
        checks.push(Check { name, ..check.clone() }.help(help));
    }
    if let Some((lt, cublas)) = version("cublas-lt").zip(version("cublas"))
        && lt != cublas
    {
        let text =
            format!("torch gets cuBLAS {cublas} with cublasLt {lt}: copies of two CUDA releases");
        let check = Check::fail("library-versions.pair", Code::LibraryShadowed, text);
        checks.push(with_paths(check, &[&libraries.cublas, &libraries.cublas_lt]));
    }
    for (name, path) in LIBRARIES.iter().zip(paths) {
        let (Some(version), Some(path)) = (version(name), path) else { continue };
        let owner = seen.wheels.iter().find(|wheel| wheel.owns(path));
        if let Some(owner) =
            owner.filter(|owner| owner.name != "torch" && !begins(&owner.version, &version))
        {
            let text = format!(
                "{} is version {version}, and its package {} is {}",
                path.display(),
                owner.name,
                owner.version
            );
            checks.push(
                Check::fail(format!("library-versions.{name}-package"), Code::LockDrift, text)
                    .help("install the package again: another one has written over its files"),
            );
        }
        let locked = target.and_then(|target| match *name {
            "cudnn" => target.cudnn.map(|version| version.to_string()),
            "nccl" => target.nccl.as_ref().map(ToString::to_string),
            _ => None,
        });
        if let Some(locked) = locked.filter(|locked| !begins(locked, &version)) {
            let text = format!("{} is version {version}, and {locked} is locked", path.display());
            checks.push(Check::fail(format!("library-versions.{name}-locked"), Code::LockDrift, text)
                .help("install what is locked: `gpuseal render install` writes the script, or build the image again"));
        }
    }
    if checks.is_empty() {
        let mut check =
            Check::pass("library-versions", "each library is of the version of its package");
        for name in LIBRARIES {
            if let Some(version) = version(name) {
                check = check.number(name, version);
            }
        }
        checks.push(check);
    }
    checks
}

fn with_paths(mut check: Check, paths: &[&Option<PathBuf>]) -> Check {
    for path in paths.iter().copied().flatten() {
        check = check.fact(path.display().to_string(), "rules of the loader");
    }
    check.help("take the folder of the other copy out of LD_LIBRARY_PATH")
}

/// `12.8.4.1` of a package begins as `12.8.4` of its library.
fn begins(long: &str, short: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> {
        let public = text.split('+').next().unwrap_or_default();
        public.split('.').map_while(|part| part.parse().ok()).collect()
    };
    let (mut long, short) = (parts(long), parts(short));
    long.resize(long.len().max(short.len()), 0);
    long[..short.len()] == short[..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_versions() {
        assert_eq!(text(split(91_002, 90_000)), "9.10.2");
        assert_eq!(text(split(8_902, 90_000)), "8.9.2");
        assert_eq!(text(split(22_705, 20_900)), "2.27.5");
        assert_eq!(text(split(2_804, 20_900)), "2.8.4");
        assert!(begins("12.8.4.1", "12.8.4") && begins("2.27", "2.27.0"));
        assert!(!begins("12.8.4.1", "12.8.3") && !begins("9.1.0.70", "9.10.0"));
    }
}
