//! L5 and L6 where no GPU is: a torch of Python's own numbers, a NCCL and a libcuda that compute on the CPU.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{finish, gpuseal, root};

/// The machine's Python, whatever stands between its name and it.
fn python() -> String {
    let out = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("these tests need python3");
    String::from_utf8(out.stdout).expect("UTF-8").trim().to_owned()
}

/// A child of `verify`, with a job and a fault.
struct Layer {
    job: Value,
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Layer {
    fn new(layer: &str, fault: &str) -> Self {
        let job = json!({
            "layer": layer, "device": null, "env": [], "dtypes": ["bf16"], "speed": false,
            "libraries": {}, "python": null, "compiles": false, "peaks": [], "seed": 1, "quick": true,
        });
        let env = vec![("FAKE_DRIVER".to_owned(), fault.to_owned())];
        Self { job, folder: tempfile::tempdir().expect("a folder"), env }
    }

    fn torch(fault: &str) -> Self {
        let fake = root().join("tests/fakes/torch");
        Self::new("torch", fault)
            .with("python", json!(python()))
            .env("PYTHONPATH", &fake.display().to_string())
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.job[key] = value;
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Its checks; it is through whatever happens below it.
    fn checks(&self) -> Vec<Value> {
        let job = self.folder.path().join("job");
        fs_err::write(&job, self.job.to_string()).expect("a file");
        let mut command = gpuseal(self.folder.path());
        command.arg("verify-layer").envs(self.env.iter().map(|(name, value)| (name, value)));
        let run = finish(command.stdin(File::open(&job).expect("a file")));
        let lines: Vec<Value> = run.stdout.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(lines.last(), Some(&json!("done")), "{}{}", run.stdout, run.stderr);
        lines.iter().filter_map(|line| line.get("check").cloned()).collect()
    }
}

/// `name outcome code`
fn brief(check: &Value) -> String {
    ["name", "outcome", "code"].map(|key| check[key].as_str().expect("a text")).join(" ")
}

/// The check, and that everything else is as it should be.
fn only(checks: &[Value], name: &str) -> Value {
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {checks:#?}")).clone()
}

#[test]
fn a_healthy_torch() {
    let dtypes = ["fp32", "tf32", "fp16", "bf16", "e4m3", "int8"];
    let layer = Layer::torch("").with("dtypes", json!(dtypes)).with("speed", json!(true));
    let checks = layer.with("compiles", json!(true)).checks();
    let mut wanted =
        vec!["import".to_owned(), "versions".into(), "cuda-available".into(), "arch".into()];
    wanted.extend(dtypes.map(|dtype| format!("{dtype}.exact-integer")));
    wanted.extend(dtypes.map(|dtype| format!("{dtype}.rerun")));
    wanted.extend(["convolution", "autocast-backward", "attention", "memory"].map(String::from));
    wanted.extend(dtypes.map(|dtype| format!("{dtype}.speed")));
    let wanted: Vec<String> = wanted.iter().map(|name| format!("{name} pass ok")).collect();
    let told: Vec<String> = checks.iter().map(brief).collect();
    let tail = ["libraries skip ok", "dataloader pass ok", "compile pass ok"];
    assert_eq!(told, [wanted, tail.map(String::from).to_vec()].concat());
    assert_eq!(only(&checks, "versions")["numbers"]["cudnn"], 91002);
    // 2 * 256^3 operations in 2 ms.
    assert_eq!(only(&checks, "bf16.speed")["numbers"]["tflops"], 0.02);
    assert_eq!(only(&checks, "bf16.exact-integer")["numbers"]["elements"], 48 * 48);
    assert_eq!(only(&checks, "libraries")["optional"], true);
    let text = only(&checks, "import")["text"].as_str().expect("a text").to_owned();
    assert!(text.ends_with("tests/fakes/torch/torch"), "{text}");
    assert!(!root().join("tests/fakes/torch/torch/__pycache__").exists(), "something was written");
}

#[test]
fn every_device_is_asked_and_named() {
    let checks = Layer::torch("devices=3").with("devices", json!([0, 2])).checks();
    let told: Vec<String> = checks.iter().map(brief).collect();
    for name in ["d0.arch", "d0.bf16.exact-integer", "d2.bf16.exact-integer", "d2.memory"] {
        assert!(told.contains(&format!("{name} pass ok")), "{told:?}");
    }
    assert!(!told.iter().any(|line| line.starts_with("d1.")), "{told:?}");
}

#[test]
fn what_a_torch_has_not_on_a_device_is_no_failure() {
    let refused = "torch._scaled_mm=torch_is_only_supported_on_devices_with_9.0";
    let checks = Layer::torch(refused).with("dtypes", json!(["e4m3"])).checks();
    let check = only(&checks, "e4m3.exact-integer");
    assert_eq!(brief(&check), "e4m3.exact-integer skip ok", "{check:#}");
    assert_eq!(check["optional"], true);
    // Anything else that it raises is one.
    let checks = Layer::torch("torch._scaled_mm=why").with("dtypes", json!(["e4m3"])).checks();
    let check = only(&checks, "e4m3.exact-integer");
    assert_eq!(brief(&check), "e4m3.exact-integer fail unknown", "{check:#}");
}

#[test]
fn what_is_wrong_is_named() {
    // The fault, and the check that it has to spoil: what came of it, and words of its text.
    let table = [
        ("torch.import=import-error", "import fail unknown", "libcudnn.so.9: cannot open"),
        ("torch.import=out_of_range", "import fail unknown", "RuntimeError: out of range"),
        ("torch=cpu-only", "cuda-available fail cpu-only-wheel", "built without CUDA"),
        (
            "torch.cuda.init=No_CUDA_GPUs_are_available",
            "cuda-available fail no-device",
            "No CUDA GPUs",
        ),
        (
            "torch.cuda.init=The_NVIDIA_driver_on_your_system_is_too_old_(found_version_11040)",
            "cuda-available fail driver-too-old",
            "11040",
        ),
        (
            "torch.cuda.init=Found_no_NVIDIA_driver_on_your_system",
            "cuda-available fail no-driver",
            "Found no",
        ),
        (
            "arch=sm_70+sm_100a",
            "arch fail arch-not-in-binary",
            "sm_70 sm_100a, and nothing of that runs on 9.0",
        ),
        ("arch=sm_70+compute_80", "arch warn ok-via-ptx-jit", "compiles its compute_80"),
        ("capability=7.5", "bf16.exact-integer skip ok", "since 8.0, and this device is 7.5"),
        ("result=zeros", "bf16.exact-integer fail wrong-result", "of 2304 elements"),
        (
            "result=lost-tile",
            "bf16.exact-integer fail wrong-result",
            "at row 16, column 32 it has 0",
        ),
        ("result=flip-low", "bf16.exact-integer fail wrong-result", "1 of 2304 elements"),
        (
            "result=nan",
            "bf16.exact-integer fail wrong-result",
            "1 were never written, at row 5, column 7 it has nan",
        ),
        ("result=nothing", "bf16.exact-integer fail wrong-result", "2304 were never written"),
        ("result=second", "bf16.exact-integer fail wrong-result", "right at first, then not: 1 of"),
        ("result=second", "bf16.rerun fail wrong-result", "came out in two ways"),
        (
            "torch.matmul=CUDA_out_of_memory._Tried_to_allocate_2_GiB",
            "bf16.exact-integer fail out-of-memory",
            "allocate 2 GiB",
        ),
        (
            "torch.matmul=CUDA_error:_no_kernel_image_is_available_for_execution_on_the_device",
            "bf16.exact-integer fail arch-not-in-binary",
            "torch raised in bf16.exact-integer: RuntimeError: CUDA error: no kernel image",
        ),
        (
            "torch.matmul=CUDA_error:_uncorrectable_ECC_error_encountered",
            "bf16.exact-integer fail hardware-fault",
            "ECC",
        ),
        (
            "torch.matmul=CUBLAS_STATUS_EXECUTION_FAILED",
            "bf16.exact-integer fail unknown",
            "CUBLAS STATUS EXECUTION FAILED",
        ),
        ("torch.memory=CUDA_error:_out_of_memory", "memory fail out-of-memory", "memory"),
        ("memory=wrong", "memory fail hardware-fault", "1 of 1060320051 words"),
        ("distance=0.5", "autocast-backward fail wrong-result", "0.5 of their length"),
        ("distance=nan", "attention fail wrong-result", "of its length"),
        ("convolution=wrong", "convolution fail wrong-result", "are not the integers"),
        (
            "torch.dataloader=DataLoader_worker_(pid_7)_is_killed_by_signal:_Bus_error.",
            "dataloader fail shared-memory",
            "Bus error",
        ),
        ("lost=1", "dataloader fail wrong-result", "delivered a sum of"),
        (
            "torch.compile=libcuda.so_cannot_found!",
            "compile skip ok",
            "a libcuda.so where Triton looks for it; the lock does not promise it",
        ),
    ];
    for (fault, wanted, text) in table {
        let checks = Layer::torch(fault).checks();
        let check = only(&checks, wanted.split(' ').next().expect("a name"));
        assert_eq!(brief(&check), wanted, "{fault}: {check:#}");
        let told = check["text"].as_str().expect("a text");
        assert!(told.contains(text), "{fault}: {told}");
        // What goes wrong in one check is told there alone, and every pass is told by its own.
        let failed = checks.iter().filter(|check| check["outcome"] == "fail").count();
        let most = 1 + usize::from(
            ["distance", "convolution", "result=se", "torch.ma"]
                .iter()
                .any(|f| fault.starts_with(f)),
        );
        assert!(failed <= most, "{fault}: {checks:#?}");
    }
}

#[test]
fn arithmetic_that_was_not_asked_for() {
    let layer = Layer::torch("result=wrong-arithmetic").with("dtypes", json!(["fp32"]));
    let check = only(&layer.env("NVIDIA_TF32_OVERRIDE", "1").checks(), "fp32.exact-integer");
    assert_eq!(brief(&check), "fp32.exact-integer fail wrong-result");
    assert_eq!(check["help"][0], "unset NVIDIA_TF32_OVERRIDE (1), which takes bits from fp32");
}

#[test]
fn a_device_that_torch_does_not_see() {
    let checks = Layer::torch("devices=2").with("devices", json!([0, 3])).checks();
    let last = checks.last().expect("a check");
    assert_eq!(brief(last), "cuda-available fail no-device");
    assert!(
        last["text"].as_str().expect("a text").contains("2 devices, and libcuda shows device 3")
    );
}

#[test]
fn after_a_lost_context_nothing_more_is_asked() {
    let fault = "torch.matmul=CUDA_error:_an_illegal_memory_access_was_encountered,context=lost";
    let told: Vec<String> = Layer::torch(fault).checks().iter().skip(4).map(brief).collect();
    let wanted = ["bf16.exact-integer fail unknown", "context skip unknown", "libraries skip ok"];
    assert_eq!(told, wanted);
}

#[test]
fn a_promise_of_the_lock() {
    let layer = Layer::torch("torch.compile=libcuda.so_cannot_found!");
    let check = only(&layer.with("compiles", json!(true)).checks(), "compile");
    assert_eq!(brief(&check), "compile fail compiler-missing");
    assert_eq!(check["help"][0], "torch says: RuntimeError: libcuda.so cannot found!");
}

#[test]
fn what_is_switched_off_is_not_proven() {
    for name in ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"] {
        let layer = || Layer::torch("").env(name, "1");
        let free = only(&layer().checks(), "compile");
        assert_eq!((brief(&free), &free["optional"]), ("compile skip ok".into(), &json!(true)));
        let promised = only(&layer().with("compiles", json!(true)).checks(), "compile");
        assert_eq!(brief(&promised), "compile skip unknown");
        assert_eq!(promised["optional"], Value::Null);
        assert!(promised["text"].as_str().expect("a text").starts_with(name), "{promised}");
    }
}

#[test]
fn no_torch_and_no_python() {
    let layer = Layer::torch("");
    let site = layer.folder.path().join("site");
    fs_err::create_dir_all(&site).expect("a folder");
    let absent = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')";
    fs_err::write(site.join("torch.py"), absent).expect("a file");
    let checks = layer.env("PYTHONPATH", &site.display().to_string()).checks();
    assert_eq!(checks.iter().map(brief).collect::<Vec<_>>(), ["import skip unknown"]);
    assert!(checks[0]["text"].as_str().expect("a text").contains("has no torch"), "{checks:?}");

    let missing = Layer::torch("").with("python", json!("/nowhere/python")).checks();
    let text = missing[0]["text"].as_str().expect("a text");
    assert!(text.starts_with("/nowhere/python cannot be started: "), "{text}");
    let none = Layer::torch("").with("python", json!(null)).env("PATH", "/nowhere").checks();
    assert_eq!(brief(&none[0]), "import skip unknown");
}

#[test]
fn a_crash_names_its_phase_and_shows_the_stack() {
    let checks = Layer::torch("torch.matmul=crash").checks();
    let last = checks.last().expect("a check");
    assert_eq!(brief(last), "process crash unknown");
    let text = last["text"].as_str().expect("a text");
    assert!(text.contains("in bf16.exact-integer") && text.contains("SIGSEGV"), "{text}");
    assert!(last["facts"].to_string().contains("in multiply"), "{last:#}");
    let left = Layer::torch("torch.import=exit").checks();
    let text = left[0]["text"].as_str().expect("a text");
    assert_eq!(text, "the process ended in import torch: exit status: 7");
}

/// The supervisor kills its own child; Python is not that.
#[test]
fn a_hang_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    support::fakes::place(folder.path(), &["libcuda.so.1"]);
    let mut command = gpuseal(folder.path());
    command
        .env("LD_LIBRARY_PATH", folder.path())
        .args(["verify", "--here", "--layer", "torch", "--phase-limit", "4", "--dtype", "bf16"])
        .args(["--format", "json"])
        .env("PATH", Path::new(&python()).parent().expect("a folder"))
        .env("PYTHONPATH", root().join("tests/fakes/torch"))
        .env("FAKE_DRIVER", "torch.cuda.init=hang")
        .env("FAKE_TORCH_PID", &file);
    let run = finish(&mut command);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    let text = "no answer within 4 s in cuda-available";
    assert!(run.stdout.contains(text), "{}", run.stdout);
    let process = Path::new("/proc").join(fs_err::read_to_string(&file).expect("it has begun"));
    let start = Instant::now();
    // A process that nobody has waited for yet is a zombie, and has no memory any more.
    let alive =
        || fs_err::read_to_string(process.join("statm")).is_ok_and(|text| !text.starts_with("0 "));
    while alive() {
        assert!(start.elapsed() < Duration::from_secs(10), "Python is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn libraries_that_torch_has_loaded() {
    let layer = Layer::torch("");
    let folder = layer.folder.path().to_path_buf();
    let place = |name: &str| {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs_err::write(&path, "not empty").expect("a file");
        path.display().to_string()
    };
    let ours = place("site/libcublas.so.12");
    let theirs = place("system/libcublas.so.12.4.5.8");
    let told = |layer: Layer, maps: &str| {
        let layer = layer.with("libraries", json!({"cublas": ours})).with("dtypes", json!([]));
        only(&layer.env("FAKE_TORCH_MAPS", maps).checks(), "libraries")
    };
    assert_eq!(brief(&told(Layer::torch(""), &ours)), "libraries pass ok");
    let shadowed = told(Layer::torch("").env("LD_LIBRARY_PATH", "/opt/cuda"), &theirs);
    assert_eq!(brief(&shadowed), "libraries fail library-shadowed");
    assert_eq!(
        shadowed["text"],
        format!("torch has loaded {theirs}, and its files lead to {ours}")
    );
    assert_eq!(shadowed["help"][0], "LD_LIBRARY_PATH is /opt/cuda: unset it for torch");
    let twice = told(Layer::torch(""), &format!("{ours}:{theirs}"));
    assert!(twice["text"].as_str().expect("a text").starts_with("two copies of libcublas"));
}

/// L6 over two fake devices.
fn nccl(fault: &str) -> Layer {
    let fault = format!("devices=2,{fault}");
    let layer = Layer::new("nccl", fault.trim_end_matches(','));
    let folder = layer.folder.path().join("lib");
    support::fakes::place(&folder, &["libcuda.so.1", "libnccl.so.2"]);
    let library = folder.join("libnccl.so.2");
    layer
        .with("devices", json!([0, 1]))
        .with("libraries", json!({"nccl": library}))
        .env("LD_LIBRARY_PATH", &folder.display().to_string())
}

#[test]
fn devices_that_talk_to_each_other() {
    let checks = nccl("").with("speed", json!(true)).checks();
    let told: Vec<String> = checks.iter().map(brief).collect();
    let wanted = ["library", "connect", "int32.all-reduce", "bf16.all-reduce", "bandwidth"];
    assert_eq!(told, wanted.map(|name| format!("{name} pass ok")));
    assert_eq!(checks[0]["numbers"]["version"], "2.27.3");
    assert_eq!(checks[2]["numbers"]["elements"], 4096 + 17);
    assert!(checks[4]["numbers"]["gigabytes_per_second"].as_f64().expect("a number") >= 0.0);
}

#[test]
fn what_is_wrong_between_devices_is_named() {
    let table = [
        ("result=zeros", "int32.all-reduce fail wrong-result", "wrong on device 1: element 0 is 0"),
        ("result=nothing", "bf16.all-reduce fail wrong-result", "4113 of 4113 sums"),
        ("result=nothing", "int32.all-reduce fail wrong-result", "element 0 is -1,"),
        ("result=lost-tile", "bf16.all-reduce fail wrong-result", "element 100 is 0,"),
        ("result=flip-low", "int32.all-reduce fail wrong-result", "1 of 4113 sums of int32"),
        ("result=flip-low", "bf16.all-reduce fail wrong-result", "1 of 4113 sums of bf16"),
        ("result=flip-high", "bf16.all-reduce fail wrong-result", "1 of 4113"),
        ("result=second", "int32.all-reduce fail wrong-result", "right at first, then not: 1 of"),
        ("ncclCommInitAll=2", "connect fail nccl-error", "status 2: unhandled system error"),
        (
            "ncclCommInitAll=2,nccl.last=Error_while_creating_shared_memory_segment_/dev/shm/nccl-x",
            "connect fail shared-memory",
            "/dev/shm/nccl-x",
        ),
        (
            "ncclAllReduce=1",
            "int32.all-reduce fail nccl-error",
            "ncclAllReduce failed: status 1: unhandled cuda error",
        ),
        ("ncclGroupEnd@2=6", "int32.all-reduce fail nccl-error", "ncclGroupEnd failed"),
        (
            "nccl.async=6",
            "int32.all-reduce fail nccl-error",
            "ncclCommGetAsyncError failed: status 6: remote process exited",
        ),
        ("ncclGetVersion=3", "library fail nccl-error", "ncclGetVersion failed"),
        ("cuDevicePrimaryCtxRetain@2=46", "device fail device-busy", ""),
    ];
    for (fault, wanted, text) in table {
        let checks = nccl(fault).checks();
        let name = wanted.split(' ').next().expect("a name");
        let named = |check: &&Value| check["name"].as_str().is_some_and(|n| n.ends_with(name));
        let check = checks.iter().find(named).unwrap_or_else(|| panic!("{fault}: {checks:#?}"));
        assert!(brief(check).ends_with(wanted), "{fault}: {check:#}");
        assert!(check["text"].as_str().expect("a text").contains(text), "{fault}: {check:#}");
        assert!(!check["help"].as_array().expect("help").is_empty(), "{fault}: {check:#}");
    }
}

#[test]
fn a_nccl_that_is_not_there_or_not_whole() {
    let one = nccl("").with("devices", json!([0])).checks();
    assert_eq!((one.len(), &one[0]["optional"]), (1, &json!(true)));
    let none = nccl("").with("libraries", json!({})).checks();
    assert_eq!(brief(&none[0]), "library skip unknown");
    let broken = nccl("");
    let path = broken.folder.path().join("lib/libnccl.so.2");
    support::fakes::place_without(
        path.parent().expect("a folder"),
        "libnccl.so.2",
        &["ncclCommInitAll"],
    );
    let last = broken.checks().pop().expect("a check");
    assert_eq!(brief(&last), "connect fail companion-mismatch");
    fs_err::write(&path, "no library").expect("a file");
    assert_eq!(brief(&broken.checks()[0]), "library fail unknown");
}

/// What NCCL chooses its ways by stands beside its failure.
#[test]
fn variables_of_nccl_are_told() {
    let layer = nccl("ncclCommInitAll=2").env("NCCL_SOCKET_IFNAME", "eth9");
    let last = layer.checks().pop().expect("a check");
    assert_eq!(last["facts"][0]["text"], "NCCL_SOCKET_IFNAME=eth9");
}
