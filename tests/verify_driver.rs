//! `gpuseal verify` on the driver (L0) and on a context of each device (L1), with fakes of libcuda and NVML.
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::fakes;

const CUDA: &str = "libcuda.so.1";
const NVML: &str = "libnvidia-ml.so.1";

/// A verification: its exit code and its document.
struct Verified {
    code: i32,
    all: Value,
}

/// Verifies with the libraries of a folder.
fn verify(folder: &Path, faults: &str, args: &[&str]) -> Verified {
    let mut command = support::gpuseal(folder);
    command.args(["verify", "--here", "--format", "json"]).args(args);
    command.env("LD_LIBRARY_PATH", folder).env("FAKE_DRIVER", faults);
    let run = support::finish(&mut command);
    let all = run.stdout.parse().unwrap_or_else(|err| panic!("{err}: {}", run.all()));
    Verified { code: run.code, all }
}

/// The same with both libraries.
fn with_fakes(faults: &str, args: &[&str]) -> Verified {
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[CUDA, NVML]);
    verify(folder.path(), faults, args)
}

impl Verified {
    /// The exit code and the verdict.
    #[track_caller]
    fn comes_to(&self, code: i32, verdict: &str) -> &Self {
        let told = (self.code, self.all["verdict"].as_str().expect("a verdict"));
        assert_eq!(told, (code, verdict), "{:#}", self.all["layers"]);
        self
    }

    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.all["layers"].as_array().expect("layers").iter()
    }

    /// A check by its name.
    #[track_caller]
    fn check(&self, name: &str) -> &Value {
        let found = self.checks().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {:#}", self.all["layers"]))
    }

    /// A check with its outcome, its code and words of its text.
    #[track_caller]
    fn has(&self, name: &str, outcome: &str, code: &str, words: &str) -> &Self {
        let check = self.check(name);
        assert_eq!(
            (&check["outcome"], &check["code"]),
            (&outcome.into(), &code.into()),
            "{check:#}"
        );
        assert!(check["text"].as_str().expect("a text").contains(words), "{words}: {check:#}");
        // Whatever is wrong comes with a way out.
        assert!(outcome == "pass" || check["help"][0].is_string(), "{check:#}");
        self
    }
}

const BOTH: &[&str] = &["--layer", "driver,cuda"];
const L1: &[&str] = &["--layer", "cuda"];

#[test]
fn a_machine_that_works_is_proven() {
    let verified = with_fakes("devices=2", BOTH);
    verified.comes_to(0, "proven");
    verified.has("context", "pass", "ok", "compute capability 9.0, 80 GiB");
    verified.has("memory", "pass", "ok", "4 MiB");
    verified.has("one-libcuda", "pass", "ok", CUDA);
    verified.has("cuda-version", "pass", "ok", "CUDA 13.0");
    let subject = &verified.all["subject"];
    assert_eq!(
        (&subject["driver"], &subject["driver_cuda"]),
        (&"580.65.06".into(), &"13.0".into())
    );
    let devices = verified.all["devices"].as_array().expect("devices");
    let [first, second] = devices.as_slice() else { panic!("{devices:?}") };
    assert_eq!((&first["index"], &second["index"]), (&0.into(), &1.into()));
    assert_eq!(first["name"], "NVIDIA H100 80GB HBM3");
    assert_eq!(first["uuid"], "GPU-8f3a117c-529e-4d20-b605-19e47ac36000");
    assert_eq!(second["uuid"], "GPU-8f3a117c-529e-4d20-b605-19e47ac36001");
    assert_eq!((&first["capability"], &first["multiprocessors"]), (&"9.0".into(), &132.into()));
    assert_eq!(
        (&first["address"], &first["memory"]),
        (&"0000:01:00.0".into(), &(80_u64 << 30).into())
    );
}

#[test]
fn without_any_driver_nothing_is_proven_and_nothing_is_wrong() {
    let folder = support::folder(&[]);
    // A machine that has a driver of its own would show it.
    if Path::new("/dev/nvidia0").exists() {
        return;
    }
    let both = verify(folder.path(), "", BOTH);
    both.comes_to(3, "unproven").has(
        "cuda-starts",
        "skip",
        "no-driver",
        "libcuda.so.1 is not found",
    );
    verify(folder.path(), "", L1).comes_to(3, "unproven");
    // A device that was asked for by hand changes nothing.
    verify(folder.path(), "", &["--layer", "cuda", "--device", "0"]).comes_to(3, "unproven");
    // Nor does a layer that stands on it.
    let kernel = verify(folder.path(), "", &["--layer", "kernel"]);
    kernel.comes_to(3, "unproven").has("cuda-starts", "skip", "no-driver", "not found");
}

#[test]
fn a_user_mode_driver_alone_proves_nothing() {
    if Path::new("/dev/nvidia0").exists() {
        return;
    }
    // As Debian's own packages answer where there is no device.
    let verified = with_fakes("cuInit=100,nvmlInit_v2=9", BOTH);
    verified.comes_to(3, "unproven").has(
        "nvml-answers",
        "skip",
        "no-driver",
        "no driver that is loaded",
    );
    assert_eq!(verified.check("cuda-starts")["outcome"], "skip");
    assert!(
        ["no-driver", "no-device"]
            .contains(&verified.check("cuda-starts")["code"].as_str().expect("a code"))
    );
    // The driver is there, and lists no device.
    with_fakes("devices=0", BOTH).comes_to(3, "unproven");
}

#[test]
fn every_status_of_cuinit_has_its_code() {
    for (status, code, words) in [
        (2, "out-of-memory", "no memory left"),
        (34, "env-path", "the stub of libcuda"),
        (36, "driver-too-old", "the kernel module is older"),
        (46, "device-busy", "another process has it to itself"),
        (214, "hardware-fault", "uncorrectable memory error"),
        (802, "fabric-manager", "NVSwitch"),
        (803, "driver-library-mismatch", "of different drivers"),
        (804, "forward-compat-unsupported", "cuda-compat"),
        (805, "driver-state", "Multi-Process Service"),
        (809, "driver-state", "Multi-Process Service"),
        (12345, "driver-state", ""),
    ] {
        let verified = with_fakes(&format!("cuInit={status}"), L1);
        let check = verified.comes_to(1, "failed").check("cuda-starts");
        assert_eq!(check["numbers"]["status"], status, "{check:#}");
        assert_eq!(
            (&check["outcome"], &check["code"]),
            (&"fail".into(), &code.into()),
            "{check:#}"
        );
        assert!(check["text"].as_str().expect("a text").contains(words), "{words}: {check:#}");
    }
}

#[test]
fn a_status_that_says_little_is_explained_by_what_doctor_found() {
    // The fake NVML has a driver without device nodes.
    for status in [304, 999] {
        let verified = with_fakes(&format!("cuInit={status}"), BOTH);
        let check = verified.comes_to(1, "failed").check("cuda-starts");
        assert_eq!(check["outcome"], "fail", "{check:#}");
    }
}

#[test]
fn what_does_not_come_back_is_named() {
    let limit = ["--layer", "driver,cuda", "--phase-limit", "1"];
    let verified = with_fakes("cuInit=hang", &limit);
    verified.comes_to(1, "failed").has("cuda-starts", "hang", "driver-state", "from cuInit");
    assert_eq!(verified.check("cuda-starts")["numbers"]["phase"], "cuInit");
    let verified = with_fakes("nvmlInit_v2=hang", &limit);
    verified.comes_to(1, "failed").has("nvml-answers", "hang", "driver-state", "from nvmlInit_v2");
    for call in ["cuDevicePrimaryCtxRetain", "cuCtxSynchronize", "cuMemcpyDtoH_v2"] {
        let verified = with_fakes(&format!("{call}=hang"), &limit);
        verified.comes_to(1, "failed").has(
            "process",
            "hang",
            "driver-state",
            &format!("in {call}"),
        );
    }
}

#[test]
fn what_dies_is_named() {
    let verified = with_fakes("cuInit=crash", BOTH);
    verified.comes_to(1, "failed");
    assert_eq!(verified.check("cuda-starts")["outcome"], "crash");
    let check = with_fakes("cuMemAlloc_v2=crash", BOTH);
    let check = check.comes_to(1, "failed").check("process");
    assert_eq!(
        (&check["outcome"], &check["numbers"]["phase"]),
        (&"crash".into(), &"cuMemAlloc_v2".into())
    );
}

#[test]
fn a_context_or_memory_that_fails_is_a_failure_with_its_code() {
    for (fault, name, code) in [
        ("cuDevicePrimaryCtxRetain=2", "context", "out-of-memory"),
        ("cuDevicePrimaryCtxRetain=46", "context", "device-busy"),
        ("cuDevicePrimaryCtxRetain=999", "context", "driver-state"),
        ("cuDeviceGetName=999", "cuda-starts", "driver-state"),
        ("cuMemAlloc_v2=2", "memory", "out-of-memory"),
        ("cuCtxSynchronize=214", "memory", "hardware-fault"),
        ("cuCtxSynchronize@2=719", "memory", "program-fault"),
        ("cuMemcpyDtoH_v2=999", "memory", "driver-state"),
    ] {
        let verified = with_fakes(fault, BOTH);
        verified.comes_to(1, "failed");
        let check = verified.check(name);
        assert_eq!(
            (&check["outcome"], &check["code"]),
            (&"fail".into(), &code.into()),
            "{check:#}"
        );
    }
}

#[test]
fn a_function_that_is_missing_is_named() {
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[NVML]);
    fakes::place_without(folder.path(), CUDA, &["cuDevicePrimaryCtxRetain"]);
    let verified = verify(folder.path(), "", BOTH);
    verified.comes_to(1, "failed");
    verified.has("context", "fail", "driver-state", "`cuDevicePrimaryCtxRetain`");
    // Without this one nothing is missing but a name.
    fakes::place_without(folder.path(), CUDA, &["cuDeviceGetUuid_v2"]);
    let verified = verify(folder.path(), "", BOTH);
    verified.comes_to(0, "proven");
    assert_eq!(verified.all["devices"][0]["uuid"], Value::Null);
}

#[test]
fn a_device_that_is_not_there_is_not_proven() {
    let verified = with_fakes("devices=2", &["--layer", "cuda", "--device", "1,3"]);
    verified.comes_to(3, "unproven").has("context", "pass", "ok", "");
    let layers = verified.all["layers"].as_array().expect("layers");
    let third = layers.iter().find(|layer| layer["device"] == 3).expect("device 3");
    assert_eq!(third["code"], "no-device", "{third:#}");
    let text = third["text"].as_str().expect("a text");
    assert!(text.contains("device 3 was asked for") && text.contains("2 devices"), "{text}");
    // What is named twice is one, and a layer that was not asked for is not there.
    let verified = with_fakes("", &["--layer", "cuda", "--device", "0,0"]);
    let contexts = verified.comes_to(0, "proven").checks().filter(|c| c["check"] == "context");
    assert_eq!(contexts.count(), 1, "{:#}", verified.all["layers"]);
    assert!(verified.checks().all(|check| check["layer"] == "cuda"));
}

#[test]
fn a_fault_is_told_of_every_device_that_shows_it() {
    let verified = with_fakes("devices=2,cuCtxSynchronize@2=999", BOTH);
    let failed = verified.comes_to(1, "failed").checks();
    assert_eq!(failed.filter(|check| check["outcome"] == "fail").count(), 2);
    // What libcuda tells without a context stays known.
    let devices = verified.all["devices"].as_array().expect("devices");
    assert_eq!((devices.len(), &devices[1]["index"]), (2, &1.into()), "{devices:?}");
    // What stands on a device is not run where its context has failed.
    let verified = with_fakes("cuMemAlloc_v2=2", &["--layer", "cuda,kernel"]);
    verified.comes_to(1, "failed");
    let last = verified.checks().last().expect("a check");
    assert_eq!(
        (&last["outcome"], &last["code"]),
        (&"skip".into(), &"out-of-memory".into()),
        "{last:#}"
    );
}

#[test]
fn nvml_tells_of_the_card() {
    for (fault, name, outcome, code, verdict) in [
        ("uncorrected=3", "gpu-memory-errors", "fail", "hardware-fault", "failed"),
        ("remap_failed=1", "gpu-memory-errors", "fail", "hardware-fault", "failed"),
        ("remap_pending=1", "gpu-memory-errors", "warn", "hardware-fault", "proven"),
        ("throttle=64", "gpu-cool", "warn", "slow", "proven"),
        ("width=8", "gpu-link.0", "warn", "slow", "proven"),
        ("processes=2", "gpu-alone.0", "warn", "device-busy", "proven"),
        ("nvmlDeviceGetHandleByIndex_v2=15", "gpu-alive", "fail", "hardware-fault", "failed"),
        ("nvmlInit_v2=18", "nvml-answers", "warn", "driver-library-mismatch", "unproven"),
        ("nvmlInit_v2=999", "nvml-answers", "warn", "driver-state", "unproven"),
    ] {
        let verified = with_fakes(fault, BOTH);
        assert_eq!(verified.all["verdict"], verdict, "{fault}: {:#}", verified.all["layers"]);
        let check = verified.check(name);
        assert_eq!(
            (&check["outcome"], &check["code"]),
            (&outcome.into(), &code.into()),
            "{check:#}"
        );
    }
}

#[test]
fn without_nvml_the_state_of_the_card_is_not_known() {
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[CUDA]);
    let verified = verify(folder.path(), "", BOTH);
    // A real NVML of this machine would answer.
    if verified.check("nvml-answers")["outcome"] == "pass" {
        return;
    }
    verified.comes_to(3, "unproven").has("nvml-answers", "skip", "unknown", "NVML is not found");
    // Nobody is told that there is no card while one computes.
    assert!(verified.checks().all(|check| check["code"] != "no-driver"), "{:#}", verified.all);
    verify(folder.path(), "", L1).comes_to(0, "proven");
}

#[test]
fn two_libcudas_in_one_process_are_a_failure() {
    let (folder, other) = (support::folder(&[]), support::folder(&[]));
    fakes::place(folder.path(), &[CUDA, NVML]);
    fakes::place(other.path(), &["libcuda.so.535.1"]);
    let mut command = support::gpuseal(folder.path());
    command.args(["verify", "--here", "--format", "json", "--layer", "cuda"]);
    command.env("LD_LIBRARY_PATH", folder.path());
    command.env("LD_PRELOAD", other.path().join("libcuda.so.535.1"));
    let run = support::finish(&mut command);
    let verified = Verified { code: run.code, all: run.stdout.parse().expect("JSON") };
    verified.comes_to(1, "failed").has(
        "one-libcuda",
        "fail",
        "library-shadowed",
        "2 files of libcuda",
    );
}

/// Whoever ends `verify` by force leaves nobody behind who holds the GPU.
#[test]
fn a_child_ends_with_its_supervisor() {
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[CUDA, NVML]);
    let mut command = support::gpuseal(folder.path());
    command.args(["verify", "--here", "--layer", "cuda"]).env("LD_LIBRARY_PATH", folder.path());
    command.env("FAKE_DRIVER", "cuCtxSynchronize=hang");
    let mut verify = command.spawn().expect("the program");
    let children = format!("/proc/{0}/task/{0}/children", verify.id());
    let until = |done: &dyn Fn() -> bool| {
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(std::time::Instant::now() < end, "too late");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Its words tell the layer's child from another that looks at the machine.
    let layer = || {
        let all = std::fs::read_to_string(&children).unwrap_or_default();
        let line = |id: &str| std::fs::read_to_string(format!("/proc/{id}/cmdline"));
        let mut all = all.split_whitespace();
        all.find(|id| line(id).is_ok_and(|l| l.contains("verify-layer"))).map(str::to_owned)
    };
    until(&|| layer().is_some());
    let child = layer().expect("a child");
    verify.kill().expect("it runs");
    verify.wait().expect("its end");
    // What has ended and was not asked for has no memory, and so no line.
    let line = format!("/proc/{child}/cmdline");
    until(&|| std::fs::read_to_string(&line).unwrap_or_default().is_empty());
}

/// The variable that makes the test below the child of itself.
const DEVICE: &str = "GPUSEAL_TEST_CLOCKS_OF";

#[test]
#[allow(clippy::print_stdout, reason = "what the child of the test tells it")]
fn clocks_are_sampled_of_the_very_device_and_hold_nobody_up() {
    use gpuseal::verify::clocks::Clocks;
    if let Ok(device) = std::env::var(DEVICE) {
        let clocks = Clocks::start(&device);
        std::thread::sleep(std::time::Duration::from_secs(1));
        let start = std::time::Instant::now();
        let sampled = clocks.stop();
        assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
        println!("sampled: {sampled:?}");
        return;
    }
    let folder = support::folder(&[]);
    fakes::place(folder.path(), &[NVML]);
    // NVML is found by the loader, whose path is that of the start of a process.
    let sampled = |device: &str, faults: &str| {
        let out = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "clocks_are_sampled_of_the_very_device_and_hold_nobody_up",
                "--nocapture",
            ])
            .env("LD_LIBRARY_PATH", folder.path())
            .env("FAKE_DRIVER", faults)
            .env(DEVICE, device)
            .output()
            .expect("a child");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        text.lines().find(|line| line.starts_with("sampled: ")).expect("a line").to_owned()
    };
    let uuid = "GPU-8f3a117c-529e-4d20-b605-19e47ac36001";
    let busy = "devices=2,sm_clock=1500,milliwatts=700500,throttle=4100,processes=2,temperature=83";
    for device in [uuid, "0000:02:00.0"] {
        let text = sampled(device, busy);
        for words in [
            "sm_clock_mhz: Some(1500.0)",
            "power_watts: Some(700.5)",
            "temperature: Some(83)",
            r#"reasons: ["SW_POWER_CAP", "0x1000"]"#,
            "reason_bits: Some(4100)",
            "other_processes: Some(true)",
        ] {
            assert!(text.contains(words), "{words} is missing: {text}");
        }
        let (_, count) = text.split_once("samples: ").expect("a number");
        let count: u32 = count.split(',').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(count >= 10, "only {count} samples in a second");
    }
    assert!(sampled(uuid, "devices=2,processes=1").contains("other_processes: Some(false)"));
    // What is refused, not there or does not come back is not known.
    for (device, faults) in [
        (uuid, "devices=1"),
        (uuid, "devices=2,nvmlDeviceGetClockInfo=3"),
        (uuid, "devices=2,nvmlDeviceGetClockInfo=hang"),
        (uuid, "devices=2,nvmlInit_v2=9"),
    ] {
        let text = sampled(device, faults);
        assert!(text.contains("sm_clock_mhz: None, samples: 0"), "{faults}: {text}");
    }
}
