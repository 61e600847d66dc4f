//! What a status of libcuda means to the user: one table for all layers.
//!
//! What CUDA starts with, `doctor` explains; here is what only a program meets that goes on from there.

use super::gpu::CudaError;
use super::{Check, Outcome};
use crate::domain::Code;
use crate::{doctor, host};

/// What to do where there is no libcuda.
pub const WITHOUT_DRIVER: &str = "run this on the machine with the GPU; in a container, start it with `--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility: libcuda comes from the host";

/// A call that failed as the check `name`, with its code, both sides and the way out.
///
/// It is a failure, except where there is nothing to be judged: no driver, or no such device.
pub fn explain(err: &CudaError, name: impl Into<String>) -> Check {
    explained(err, name.into(), host::in_container())
}

fn explained(err: &CudaError, name: String, container: bool) -> Check {
    let said = |check: Check| match err.status {
        Some(status) => check.fact(err.to_string(), "libcuda").number("status", status),
        None => check.fact(err.to_string(), "loader"),
    };
    let Some(status) = err.status else { return said(unloaded(err, name)) };
    if let Some((code, sentence, help)) = later(err.call, status) {
        return said(Check::fail(name, code, sentence).help(help));
    }
    if (err.call, status) == ("cuDeviceGet", 101) {
        let text = "libcuda shows this process no device of the index that was asked for";
        let check = Check::skip(name, Code::NoDevice, text);
        return said(check.help("leave --device away, or look at CUDA_VISIBLE_DEVICES"));
    }
    let failure =
        host::Failure { call: err.call.into(), code: Some(status), text: err.text.clone() };
    // That CUDA does not start is said of the calls that start it alone.
    if !starts(err.call) && !matches!(status, 214 | 802..=809) {
        let text = format!("{} failed: {}", err.call, err.text);
        let help = "`sudo dmesg | grep NVRM` says what the driver met";
        return said(Check::fail(name, Code::DriverState, text).help(help));
    }
    let finding = doctor::by_status(&failure, container);
    let mut check = Check::fail(name, finding.code, finding.message);
    check.help = finding.help;
    if matches!(status, 100 | 101) {
        check.outcome = Outcome::Skip;
    }
    said(check)
}

/// The calls with which CUDA starts.
fn starts(call: &str) -> bool {
    matches!(
        call,
        "cuInit"
            | "cuDriverGetVersion"
            | "cuDeviceGetCount"
            | "cuDeviceGet"
            | "cuDevicePrimaryCtxRetain"
            | "cuCtxSetCurrent"
    )
}

/// libcuda, or a function of it, is not there.
fn unloaded(err: &CudaError, name: String) -> Check {
    if err.call != "dlopen" {
        let text = format!(
            "the libcuda that is loaded has no function `{}`: it is older than the proof needs, or no whole driver",
            err.call
        );
        return Check::fail(name, Code::DriverState, text)
            .help("look which file the loader picks: `ldconfig -p | grep libcuda`, LD_LIBRARY_PATH, LD_PRELOAD")
            .help("install the driver again: its libraries are there by half");
    }
    if host::probe::is_absent("libcuda.so.1", &err.text) {
        let text = "libcuda.so.1 is not found: there is no user-mode driver to judge by";
        return Check::skip(name, Code::NoDriver, text).help(WITHOUT_DRIVER);
    }
    Check::fail(name, Code::DriverState, "libcuda.so.1 is there and cannot be loaded")
        .help("install the driver again; in a container look whether the image holds a copy of it")
}

/// What shows only after CUDA has started: code, sentence, the way out.
///
/// Source: cuda.h, `cudaError_enum`.
#[rustfmt::skip]
fn later(call: &str, status: i32) -> Option<(Code, &'static str, &'static str)> {
    Some(match status {
        2 if !starts(call) => (Code::OutOfMemory, "the GPU has not enough memory free for the proof", "`nvidia-smi` shows who holds it"),
        200 | 300 => (Code::DriverState, "the driver does not take a kernel's code for what it is", "install the driver again; report this with `gpuseal verify --format json` when it stays"),
        209 => (Code::ArchNotInBinary, "there is no code for this GPU", "take a build of torch for its compute capability: `gpuseal resolve` names one"),
        218 => (Code::DriverState, "the driver's compiler refuses the PTX", "raise the driver, or install it again"),
        220 => (Code::HardwareFault, "an NVLink of the GPU reports an error that could not be corrected", "reset the GPU: `sudo nvidia-smi --gpu-reset`; when it comes again, have the link looked at"),
        221 => (Code::DriverState, "the driver's compiler of PTX, libnvidia-ptxjitcompiler.so.1, is not found", "in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility mounts it; on a host install the driver again"),
        222 => (Code::DriverTooOld, "the driver's compiler is older than the PTX that it is given", "raise the driver"),
        223 => (Code::EnvPath, "the driver is told not to compile PTX", "unset CUDA_DISABLE_PTX_JIT"),
        226 => (Code::HardwareFault, "the GPU met an error of its memory and contained it", "reset the GPU: `sudo nvidia-smi --gpu-reset`"),
        500 => (Code::DriverState, "the driver has loaded a module, and a kernel is missing from it", "report this with `gpuseal verify --format json`"),
        700 => (Code::ProgramFault, "a kernel read or wrote memory that is not its own", "`sudo dmesg | grep -i xid` names the fault; with our own kernels it is the driver's or the card's"),
        701 => (Code::ProgramFault, "a kernel asks for more registers or shared memory than the GPU has", "take a build for this GPU: `gpuseal resolve` names one"),
        702 => (Code::DriverState, "a kernel ran for too long and was ended: a GPU with a display on it has a time limit", "run it on a GPU without a display"),
        714 => (Code::HardwareFault, "the GPU reports a fault of its stack", "reset the GPU: `sudo nvidia-smi --gpu-reset`, and look at `dmesg | grep -i xid`"),
        715..=719 => (Code::ProgramFault, "a kernel was ended by a fault: its code or its addresses were wrong", "`sudo dmesg | grep -i xid` names the fault; with our own kernels it is the driver's or the card's"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(call: &'static str, status: Option<i32>, text: &str) -> Check {
        explained(&CudaError { call, status, text: text.into() }, "context".into(), false)
    }

    #[test]
    fn every_status_has_its_code() {
        let code = |call, status| told(call, Some(status), "why").code;
        for (status, expected) in [
            (2, Code::OutOfMemory),
            (34, Code::EnvPath),
            (36, Code::DriverTooOld),
            (46, Code::DeviceBusy),
            (100, Code::NoDevice),
            (101, Code::NoDevice),
            (214, Code::HardwareFault),
            (304, Code::DevicePermission),
            (802, Code::FabricManager),
            (803, Code::DriverLibraryMismatch),
            (804, Code::ForwardCompatUnsupported),
            (805, Code::DriverState),
            (809, Code::DriverState),
            (999, Code::DriverState),
            (12345, Code::DriverState),
        ] {
            assert_eq!(code("cuInit", status), expected, "{status}");
        }
        for (call, status, expected) in [
            ("cuMemAlloc_v2", 2, Code::OutOfMemory),
            ("cuModuleLoadDataEx", 209, Code::ArchNotInBinary),
            ("cuModuleLoadDataEx", 222, Code::DriverTooOld),
            ("cuModuleLoadDataEx", 223, Code::EnvPath),
            ("cuCtxSynchronize", 214, Code::HardwareFault),
            ("cuCtxSynchronize", 719, Code::ProgramFault),
            ("cuMemAlloc_v2", 12345, Code::DriverState),
        ] {
            assert_eq!(code(call, status), expected, "{call} {status}");
        }
    }

    #[test]
    fn nothing_to_judge_is_no_failure_and_all_else_is_one() {
        let outcome = |call, status, text: &str| told(call, status, text).outcome;
        assert_eq!(outcome("cuInit", Some(100), ""), Outcome::Skip);
        assert_eq!(outcome("cuDeviceGet", Some(101), ""), Outcome::Skip);
        let absent = "libcuda.so.1: cannot open shared object file: No such file or directory";
        assert_eq!(outcome("dlopen", None, absent), Outcome::Skip);
        assert_eq!(outcome("dlopen", None, "libcuda.so.1: file too short"), Outcome::Fail);
        assert_eq!(outcome("cuInit", Some(999), ""), Outcome::Fail);
        let symbol = told("cuMemAlloc_v2", None, "undefined symbol: cuMemAlloc_v2");
        assert_eq!(symbol.outcome, Outcome::Fail);
        assert!(symbol.text.contains("`cuMemAlloc_v2`"), "{}", symbol.text);
        // A device that is gone in the middle of the work is no missing device.
        assert_eq!(outcome("cuMemcpyDtoH_v2", Some(101), ""), Outcome::Fail);
    }

    #[test]
    fn the_call_and_its_words_are_facts() {
        let check = told("cuInit", Some(803), "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH");
        assert_eq!(check.facts[0].text, "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH");
        assert_eq!((&check.numbers["status"], check.help.is_empty()), (&803.into(), false));
    }
}
