//! `gpuseal verify` on kernels of our own (L2), with a libcuda that computes them on the CPU.
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::fakes;

const CUDA: &str = "libcuda.so.1";

/// What is proven of each form, behind its name.
const KERNELS: [&str; 5] = ["fp32", "int8", "bf16", "tf32", "int8-mma"];

struct Verified {
    code: i32,
    all: Value,
}

fn command(folder: &Path, faults: &str, args: &[&str]) -> Command {
    let mut command = support::gpuseal(folder);
    command.args(["verify", "--here", "--quick", "--format", "json", "--layer", "kernel"]);
    command.args(args).env("LD_LIBRARY_PATH", folder).env("FAKE_DRIVER", faults);
    command
}

fn finished(command: &mut Command) -> Verified {
    let run = support::finish(command);
    let all = run.stdout.parse().unwrap_or_else(|err| panic!("{err}: {}", run.all()));
    Verified { code: run.code, all }
}

fn verify(faults: &str, args: &[&str]) -> Verified {
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[CUDA]);
    finished(&mut command(folder.path(), faults, args))
}

impl Verified {
    #[track_caller]
    fn comes_to(&self, code: i32, verdict: &str) -> &Self {
        let told = (self.code, self.all["verdict"].as_str().expect("a verdict"));
        assert_eq!(told, (code, verdict), "{:#}", self.all["layers"]);
        self
    }

    /// Checks of the layer.
    fn checks(&self) -> Vec<&Value> {
        let layers = self.all["layers"].as_array().expect("layers");
        layers.iter().filter(|check| check["layer"] == "kernel").collect()
    }

    #[track_caller]
    fn has(&self, name: &str, outcome: &str, code: &str, words: &str) -> &Self {
        let checks = self.checks();
        let found = checks.iter().find(|check| check["check"] == name);
        let check = found.unwrap_or_else(|| panic!("no `{name}` in {checks:#?}"));
        let told = [&check["outcome"], &check["code"]].map(|v| v.as_str().expect("a word"));
        assert_eq!(told, [outcome, code], "{check:#}");
        assert!(check["text"].as_str().expect("a text").contains(words), "{words}: {check:#}");
        let fine = outcome == "pass" || check["needed"] == false;
        assert!(fine || check["help"][0].is_string(), "it names no way out: {check:#}");
        self
    }

    /// Names of the checks that failed.
    fn failing(&self) -> Vec<&str> {
        let failed = |check: &&Value| {
            ["fail", "hang", "crash"].contains(&check["outcome"].as_str().expect("a word"))
        };
        let checks = self.checks();
        checks.into_iter().filter(failed).map(|c| c["check"].as_str().expect("a name")).collect()
    }
}

#[test]
fn a_sound_card_is_proven_in_both_forms() {
    let verified = verify("capability=9.0", &["--layer", "cuda"]);
    verified.comes_to(0, "proven");
    verified.has("ptx.simt", "pass", "ok", "PTX 6.0 for compute_50 on a device of 9.0");
    verified.has("ptx.mma", "pass", "ok", "PTX 7.0 for compute_80");
    verified.has("cubin.simt", "pass", "ok", "machine code for sm_90");
    verified.has("cubin.mma", "pass", "ok", "machine code for sm_90");
    for form in ["ptx", "cubin"] {
        for kernel in KERNELS {
            for proof in ["exact-integer", "rerun", "arithmetic", "guard", "written"] {
                verified.has(&format!("{form}.{kernel}.{proof}"), "pass", "ok", "");
            }
        }
    }
    for kernel in ["fp32", "bf16", "tf32"] {
        verified.has(&format!("ptx.{kernel}.bound"), "pass", "ok", "");
        verified.has(&format!("ptx.{kernel}.special"), "pass", "ok", "");
    }
    // The result is the same whichever way the kernel came to the device.
    let digests = |form: &str| {
        let name = format!("{form}.fp32.exact-integer");
        let checks = verified.checks();
        checks.iter().find(|c| c["check"] == name.as_str()).expect("a check")["numbers"].clone()
    };
    assert_eq!(digests("ptx"), digests("cubin"));
}

/// Each fault is found with every kernel in both forms, by the proof that it belongs to.
#[track_caller]
fn found(fault: &str, proof: &str, code: &str, words: &str) {
    let verified = verify(&format!("result={fault}"), &[]);
    verified.comes_to(1, "failed");
    for form in ["ptx", "cubin"] {
        for kernel in KERNELS {
            verified.has(&format!("{form}.{kernel}.{proof}"), "fail", code, words);
        }
    }
}

#[test]
fn a_kernel_that_does_nothing() {
    found("nothing", "written", "wrong-result", "nothing was written");
}

#[test]
fn zeros() {
    found("zeros", "exact-integer", "wrong-result", "");
}

#[test]
fn a_lost_tile() {
    found("lost-tile", "exact-integer", "wrong-result", "columns 0 to 15");
}

#[test]
fn a_high_bit() {
    found("flip-high", "exact-integer", "wrong-result", "");
}

#[test]
fn a_low_bit() {
    found("flip-low", "exact-integer", "wrong-result", "");
}

#[test]
fn no_number() {
    found("nan", "exact-integer", "wrong-result", "");
}

#[test]
fn every_second_time() {
    found("second", "rerun", "hardware-fault", "differs");
}

#[test]
fn another_arithmetic() {
    found("wrong-arithmetic", "arithmetic", "wrong-result", "");
}

#[test]
fn a_write_behind_the_end() {
    found("overrun", "guard", "wrong-result", "behind its end");
}

#[test]
fn a_fault_of_another_library_is_not_ours() {
    verify("result=zeros,result-of=cublas", &["--dtype", "int8"]).comes_to(0, "proven");
}

#[test]
fn what_the_compiler_of_ptx_refuses_the_machine_code_does_not_need() {
    for (status, code, words) in [
        (218, "driver-state", "refuses the PTX"),
        (220, "hardware-fault", "NVLink"),
        (221, "driver-state", "libnvidia-ptxjitcompiler.so.1"),
        (222, "driver-too-old", "older than the PTX"),
        (223, "env-path", "told not to compile"),
    ] {
        let verified = verify(&format!("jit={status}"), &["--dtype", "int8"]);
        verified.comes_to(1, "failed");
        verified.has("ptx.simt", "fail", code, words).has("ptx.mma", "fail", code, "PTX 7.0");
        assert_eq!(verified.failing(), ["ptx.simt", "ptx.mma"], "{status}");
        verified.has("cubin.int8.exact-integer", "pass", "ok", "");
    }
}

#[test]
fn a_driver_that_is_older_than_the_ptx() {
    let verified = verify("cuda=8000,capability=6.1", &["--dtype", "fp32"]);
    verified.comes_to(1, "failed").has("ptx.simt", "fail", "driver-too-old", "PTX 6.0");
    let checks = verified.checks();
    let facts = checks[0]["facts"].to_string();
    assert!(facts.contains("Unsupported .version"), "the compiler's words: {facts}");
    // Of a generation that CUDA 11.4 knew, with its driver.
    verify("cuda=11040,capability=8.6", &["--dtype", "bf16"]).comes_to(0, "proven");
}

#[test]
fn devices_that_need_less() {
    // One that was named and that nothing multiplied is not proven.
    verify("capability=7.5", &["--dtype", "int8,bf16"]).comes_to(3, "unproven");
    let turing = verify("capability=7.5", &["--dtype", "int8"]);
    turing.comes_to(0, "proven").has("cubin.simt", "pass", "ok", "machine code for sm_75");
    turing.has("ptx.mma", "skip", "ok", "the device is 7.5").has("cubin.mma", "skip", "ok", "8.0");
    // Nobody has written machine code for it yet.
    let next = verify("capability=13.0", &["--dtype", "bf16"]);
    next.comes_to(0, "proven").has("cubin.mma", "skip", "ok", "no machine code of ours for 13.0");
    next.has("ptx.bf16.exact-integer", "pass", "ok", "");
    // Nor is that of the cards of its generation Orin's.
    verify("capability=8.7", &["--dtype", "fp32"]).comes_to(0, "proven").has(
        "cubin.simt",
        "skip",
        "ok",
        "for 8.7",
    );
}

#[test]
fn a_device_before_our_kernels_is_not_proven() {
    let kepler = verify("capability=3.5", &[]);
    kepler.comes_to(3, "unproven").has("ptx.simt", "skip", "arch-not-in-binary", "3.5");
    kepler.has("cubin.simt", "skip", "arch-not-in-binary", "5.0 and later");
}

#[test]
fn data_types_that_we_have_no_kernel_for() {
    let none = verify("", &["--dtype", "fp16"]);
    none.comes_to(3, "unproven").has("dtypes", "skip", "ok", "no kernel of ours");
}

#[test]
fn machine_code_that_the_driver_refuses() {
    let faults = "cuModuleLoadDataEx@2=209";
    let verified = verify(faults, &["--dtype", "fp32"]);
    verified.comes_to(1, "failed");
    verified.has("cubin.simt", "fail", "arch-not-in-binary", "machine code for sm_90");
    assert_eq!(verified.failing(), ["cubin.simt"]);
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[CUDA]);
    let mut forced = command(folder.path(), faults, &["--dtype", "fp32"]);
    let forced = finished(forced.env("CUDA_FORCE_PTX_JIT", "1"));
    forced.has("cubin.simt", "fail", "env-path", "CUDA_FORCE_PTX_JIT");
}

#[test]
fn a_kernel_that_is_ended_by_a_fault() {
    for call in ["cuLaunchKernel", "cuCtxSynchronize"] {
        let verified = verify(&format!("{call}=719"), &[]);
        verified.comes_to(1, "failed");
        verified.has("ptx.fp32.exact-integer", "fail", "program-fault", "ended by a fault");
        // The context is lost: it is said once, and what was not run is not passed.
        assert_eq!(verified.failing(), ["ptx.fp32.exact-integer"], "{call}");
        let checks = verified.checks();
        let last = checks.last().expect("a check");
        assert_eq!((&last["check"], &last["outcome"]), (&"rest".into(), &"skip".into()));
    }
}

#[test]
fn calls_that_do_not_return_and_calls_that_die() {
    for call in ["cuLaunchKernel", "cuCtxSynchronize", "cuModuleLoadDataEx"] {
        for (fault, outcome, words) in
            [("hang", "hang", "no answer within 2 s"), ("crash", "crash", "SIGSEGV")]
        {
            let args = ["--dtype", "fp32", "--phase-limit", "2"];
            let verified = verify(&format!("{call}={fault}"), &args);
            verified.comes_to(1, "failed");
            let checks = verified.checks();
            let last = checks.last().expect("a check");
            assert_eq!(last["outcome"], outcome, "{last:#}");
            let text = last["text"].as_str().expect("a text");
            assert!(text.contains(words) && text.contains("ptx."), "{text}");
        }
    }
}

#[test]
fn a_driver_that_lacks_a_function() {
    let folder = support::folder(&[]);
    fakes::place_without(folder.path(), CUDA, &["cuModuleLoadDataEx"]);
    let verified = finished(&mut command(folder.path(), "", &["--dtype", "fp32"]));
    verified.comes_to(1, "failed");
    verified.has("ptx.simt", "fail", "driver-state", "no function `cuModuleLoadDataEx`");
}
