//! The program meets drivers that answer, refuse, lie, hang and die: libraries of our own making, which
//! the loader finds first. What they do is told by `tests/driver/fault.h`.
#![cfg(target_os = "linux")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gpuseal::host::{Answer, Cuda, Device, Failure, Nvml, Smi};
use serde::de::DeserializeOwned;

/// Folder of a driver: `new`, or `old`, which lacks the functions of later years.
fn driver(age: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let root = BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver");
        for (age, flags, version) in
            [("new", &[][..], "580.65.06"), ("old", &["-DOLD"], "450.51.06")]
        {
            let folder = root.join(age);
            let _ = fs_err::remove_dir_all(&folder);
            fs_err::create_dir_all(&folder).expect("a folder");
            for (source, soname) in [("cuda", "libcuda.so"), ("nvml", "libnvidia-ml.so")] {
                let file = format!("{soname}.{version}");
                let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
                let status = Command::new(cc)
                    .args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"])
                    .args(flags)
                    .arg("-o")
                    .arg(folder.join(&file))
                    .arg(support::root().join(format!("tests/driver/{source}.c")))
                    .status()
                    .expect("a C compiler, which the build of this crate needs as well");
                assert!(status.success(), "tests/driver/{source}.c");
                // As a driver is installed: the soname is a link to the file with the version.
                std::os::unix::fs::symlink(&file, folder.join(format!("{soname}.1")))
                    .expect("a link");
            }
        }
        root
    });
    root.join(age)
}

/// The answer of a probe in a child of the program.
fn asked<T: DeserializeOwned>(library: &str, folder: &Path, faults: &str) -> Answer<T> {
    let mut command = support::gpuseal(folder);
    command
        .args(["host-probe", "--ask", library, "--within", "5"])
        .env("LD_LIBRARY_PATH", folder)
        .env("FAKE_DRIVER", faults);
    answer(&mut command)
}

fn answer<T: DeserializeOwned>(command: &mut Command) -> Answer<T> {
    let run = support::finish(command);
    assert_eq!(run.code, 0, "{}", run.all());
    let mut line: serde_json::Value = serde_json::from_str(&run.stdout).expect("one JSON document");
    serde_json::from_value(line["answer"].take()).expect("an answer")
}

fn cuda(faults: &str) -> Answer<Cuda> {
    asked("cuda", &driver("new"), faults)
}

fn nvml(faults: &str) -> Answer<Nvml> {
    asked("nvml", &driver("new"), faults)
}

#[track_caller]
fn told<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Told(value) => value,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn devices(faults: &str) -> Vec<Device> {
    told(nvml(faults)).devices
}

#[track_caller]
fn device(faults: &str) -> Device {
    let mut devices = devices(faults);
    assert_eq!(devices.len(), 1);
    devices.remove(0)
}

fn failure(call: &str, code: i32, text: &str) -> Failure {
    Failure { call: call.into(), code: Some(code), text: text.into() }
}

#[test]
fn a_healthy_libcuda() {
    let found = told(cuda("devices=2,cuda=12080"));
    let file = driver("new").join("libcuda.so.580.65.06");
    assert_eq!(found.file.as_deref(), file.to_str());
    assert_eq!(found.file_version.map(|v| v.to_string()).as_deref(), Some("580.65.06"));
    assert_eq!(found.version.map(|v| v.to_string()).as_deref(), Some("12.8"));
    assert_eq!(found.failure, None);
    assert_eq!(found.devices.len(), 2);
    let device = &found.devices[1];
    assert_eq!(device.name, "NVIDIA H100 80GB HBM3");
    assert_eq!(device.capability.map(|cc| cc.to_string()).as_deref(), Some("9.0"));
    assert_eq!(device.memory_total, Some(80 << 30));
}

#[test]
fn statuses_of_cu_init() {
    for (code, text) in [
        (34, "CUDA_ERROR_STUB_LIBRARY"),
        (35, "CUDA_ERROR_INSUFFICIENT_DRIVER"),
        (100, "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"),
        (802, "CUDA_ERROR_SYSTEM_NOT_READY"),
        (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        (804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        (999, "CUDA_ERROR_UNKNOWN"),
        // One of a driver of the future.
        (31337, "status 31337"),
    ] {
        let found = told(cuda(&format!("cuInit={code}")));
        assert_eq!(found.failure, Some(failure("cuInit", code, text)));
        // What it tells without a GPU is told all the same.
        assert_eq!(found.version.map(|v| v.to_string()).as_deref(), Some("13.0"));
        assert_eq!(found.devices, []);
    }
    // The stub answers everything with its number.
    let stub = told(cuda("cuInit=34,cuDriverGetVersion=34"));
    assert_eq!((stub.version, stub.failure.and_then(|f| f.code)), (None, Some(34)));
}

#[test]
fn libcuda_fails_later() {
    let found = told(cuda("cuDeviceGetCount=3"));
    assert_eq!(found.failure, Some(failure("cuDeviceGetCount", 3, "CUDA_ERROR_NOT_INITIALIZED")));
    // What one device refuses is unknown.
    let found = told(cuda("cuDeviceGetAttribute=999,cuDeviceTotalMem_v2=999"));
    assert_eq!(found.failure, None);
    assert_eq!((found.devices[0].capability, found.devices[0].memory_total), (None, None));
}

#[test]
fn a_call_that_hangs_and_one_that_kills() {
    let start = Instant::now();
    assert_eq!(cuda("cuInit=hang"), Answer::Hung("cuInit".into()));
    assert!(start.elapsed() >= Duration::from_secs(5), "it was not waited for");
    let Answer::Crashed(how) = cuda("cuInit=crash") else { panic!("it died") };
    assert!(how.contains("SIGSEGV") && how.ends_with("in cuInit"), "{how}");
    let phase = "nvmlDeviceGetName of device 0";
    assert_eq!(nvml("nvmlDeviceGetName=hang"), Answer::Hung(phase.into()));
    let Answer::Crashed(how) = nvml("nvmlInit_v2=crash") else { panic!("it died") };
    assert!(how.ends_with("in nvmlInit_v2"), "{how}");
}

#[test]
fn a_healthy_nvml() {
    let found = told(nvml("devices=2"));
    assert_eq!(found.driver.map(|v| v.to_string()).as_deref(), Some("580.65.06"));
    assert_eq!(found.cuda.map(|v| v.to_string()).as_deref(), Some("13.0"));
    assert_eq!(found.devices.len(), 2);
    let device = &found.devices[1];
    assert_eq!(device.name, "NVIDIA H100 80GB HBM3");
    assert_eq!(device.address.as_deref(), Some("00000000:02:00.0"));
    assert_eq!(device.capability.map(|cc| cc.to_string()).as_deref(), Some("9.0"));
    assert_eq!((device.memory_total, device.memory_used), (Some(80 << 30), Some(4 << 20)));
    assert_eq!(device.compute_mode.as_deref(), Some("Default"));
    assert_eq!((device.mig, device.persistence, device.ecc), (Some(false), Some(true), Some(true)));
    assert_eq!(device.ecc_uncorrected, Some(0));
    assert_eq!((device.remap_pending, device.remap_failed), (Some(false), Some(false)));
    assert_eq!(device.processes.as_deref(), Some(&[][..]));
    assert_eq!(device.temperature, Some(31));
    assert_eq!((device.nvlinks, device.fabric.as_deref()), (None, None));
    assert_eq!(device.pcie, Some([5, 16, 5, 16]));
    assert!(device.throttled.is_empty() && device.failure.is_none());
}

#[test]
fn what_a_device_tells_of_itself() {
    assert_eq!(device("mode=3").compute_mode.as_deref(), Some("Exclusive_Process"));
    assert_eq!(device("mode=2").compute_mode.as_deref(), Some("Prohibited"));
    // A mode that nobody has heard of.
    assert_eq!(device("mode=9").compute_mode, None);
    assert_eq!(device("uncorrected=7").ecc_uncorrected, Some(7));
    let rows = device("remap_pending=1,remap_failed=1");
    assert_eq!((rows.remap_pending, rows.remap_failed), (Some(true), Some(true)));
    let mig = device("mig=1");
    assert_eq!(mig.mig, Some(true));
    assert_eq!(mig.mig_instances, ["1g.10gb", "1g.10gb"]);
    // Bit 0x1000 is none that the wrapper knows.
    assert_eq!(device("throttle=4168").throttled, ["HW_SLOWDOWN", "HW_THERMAL_SLOWDOWN"]);
    assert_eq!(device("links=18,down=1").nvlinks, Some((17, 18)));
    for (fault, state) in [
        ("fabric=1", Some("not-started")),
        ("fabric=2", Some("in-progress")),
        ("fabric=3", Some("completed")),
        ("fabric=3,fabric_status=999", Some("failed")),
        ("nvmlDeviceGetGpuFabricInfo=3", None),
    ] {
        assert_eq!(device(fault).fabric.as_deref(), state, "{fault}");
    }
    assert_eq!(device("generation=1,width=8").pcie, Some([1, 8, 5, 16]));
    let processes = device("processes=2").processes.expect("a list");
    assert_eq!(processes.iter().map(|p| p.pid).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((processes[0].memory, processes[1].memory), (Some(3 << 30), None));
}

#[test]
fn what_nvml_refuses_is_unknown() {
    let refused = device(
        "nvmlDeviceGetEccMode=3,nvmlDeviceGetTotalEccErrors=3,nvmlDeviceGetRemappedRows=3,\
         nvmlDeviceGetMemoryInfo_v2=3,nvmlDeviceGetMemoryInfo=3,nvmlDeviceGetMigMode=3,\
         nvmlDeviceGetComputeRunningProcesses_v3=4,nvmlDeviceGetCurrPcieLinkWidth=3,\
         nvmlDeviceGetTemperature=999,nvmlDeviceGetPersistenceMode=3,nvmlDeviceGetComputeMode=3",
    );
    let expected = Device {
        name: "NVIDIA H100 80GB HBM3".into(),
        address: Some("00000000:01:00.0".into()),
        capability: "9.0".parse().ok(),
        ..Device::default()
    };
    assert_eq!(refused, expected);
}

#[test]
fn nvml_does_not_start() {
    for (code, text) in [
        (9, "Driver Not Loaded"),
        // Which driver the library is of stands in the name of its file.
        (18, "Driver/library version mismatch; NVML library version: 580.65.06"),
        (999, "Unknown Error"),
        // One that the wrapper would call 999.
        (27, "Unknown Error"),
    ] {
        let expected = Answer::Failed(failure("nvmlInit_v2", code, text));
        assert_eq!(nvml(&format!("nvmlInit_v2={code}")), expected);
    }
}

#[test]
fn one_card_is_lost() {
    let lost = failure("nvmlDeviceGetHandleByIndex_v2", 15, "GPU is lost");
    let found = devices("devices=3,lost=1");
    assert_eq!(found[1], Device { failure: Some(lost), ..Device::default() });
    assert!(found[0].failure.is_none() && !found[2].name.is_empty());
    // It goes while it is asked: what it said before counts, and nothing after.
    let gone = device("nvmlDeviceGetTemperature=15");
    assert_eq!(gone.failure, Some(failure("nvmlDeviceGetTemperature", 15, "GPU is lost")));
    assert_eq!((gone.ecc, gone.temperature, gone.memory_total), (Some(true), None, None));
}

#[test]
fn an_old_driver_lacks_functions() {
    let old = driver("old");
    let found: Nvml = told(asked("nvml", &old, "driver=450.51.06,cuda=11000"));
    assert_eq!(found.driver.map(|v| v.to_string()).as_deref(), Some("450.51.06"));
    let device = &found.devices[0];
    // From the function that came before; used is what that one calls so.
    assert_eq!((device.memory_total, device.memory_used), (Some(80 << 30), Some(1 << 30)));
    assert_eq!((&device.processes, device.remap_pending), (&None, None));
    assert_eq!(device.failure, None);
    let found: Cuda = told(asked("cuda", &old, "cuInit=100"));
    assert_eq!(found.failure, Some(failure("cuInit", 100, "CUDA_ERROR_NO_DEVICE")));
    assert_eq!(found.file_version.map(|v| v.to_string()).as_deref(), Some("450.51.06"));
}

#[test]
fn no_library_a_broken_one_and_a_foreign_one() {
    let empty = support::folder(&[]);
    let Answer::Absent(why) = asked::<Cuda>("cuda", empty.path(), "") else { panic!("absent") };
    assert!(why.contains("libcuda.so.1"), "{why}");
    assert!(matches!(asked::<Nvml>("nvml", empty.path(), ""), Answer::Absent(_)));
    // What is left of a mount point in an image: a file of no bytes.
    let broken = support::folder(&[("libcuda.so.1", ""), ("libnvidia-ml.so.1", "")]);
    let answer = asked::<Cuda>("cuda", broken.path(), "");
    let failure = answer.failure().expect("it is there");
    assert!(failure.call == "dlopen" && failure.text.contains("too short"), "{failure:?}");
    assert!(asked::<Nvml>("nvml", broken.path(), "").failure().is_some());
    // A library without the functions.
    let foreign = support::folder(&[]);
    for (soname, other) in
        [("libcuda.so.1", "libnvidia-ml.so.1"), ("libnvidia-ml.so.1", "libcuda.so.1")]
    {
        fs_err::copy(driver("new").join(other), foreign.path().join(soname)).expect("a copy");
    }
    let found = told(asked::<Cuda>("cuda", foreign.path(), ""));
    let failure = found.failure.expect("no cuInit");
    assert!(failure.call == "cuInit" && failure.code.is_none(), "{failure:?}");
    let answer = asked::<Nvml>("nvml", foreign.path(), "");
    assert!(answer.failure().is_some_and(|f| f.call == "nvmlInit_v2" && f.code.is_none()));
}

/// The answer of nvidia-smi, where it is this script.
fn smi(script: &str) -> Answer<Smi> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = support::folder(&[]);
    let file = support::write(folder.path(), "nvidia-smi", format!("#!/bin/sh\n{script}\n"));
    fs_err::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let mut command = support::gpuseal(folder.path());
    answer(command.args(["host-probe", "--ask", "smi"]).env("PATH", folder.path()))
}

#[test]
fn nvidia_smi_answers_fails_and_dies() {
    let found = told(smi("echo \"=====NVSMI LOG=====\nDriver Version : 570.86.15\""));
    assert_eq!(found.driver.map(|v| v.to_string()).as_deref(), Some("570.86.15"));
    assert_eq!(
        smi("echo 'No devices were found'; exit 6"),
        Answer::Failed(failure("nvidia-smi", 6, "No devices were found"))
    );
    // Words that nobody knows, on the other stream.
    assert_eq!(
        smi("echo 'no room' >&2; exit 7"),
        Answer::Failed(failure("nvidia-smi", 7, "no room"))
    );
    assert_eq!(smi("exit 3"), Answer::Failed(failure("nvidia-smi", 3, "it said nothing")));
    let Answer::Crashed(how) = smi("kill -11 $$") else { panic!("it died") };
    assert!(how.contains("SIGSEGV"), "{how}");
    let nowhere = support::folder(&[]);
    let mut command = support::gpuseal(nowhere.path());
    let absent = answer(command.args(["host-probe", "--ask", "smi"]).env("PATH", nowhere.path()));
    assert_eq!(absent, Answer::<Smi>::Absent("nvidia-smi is not on PATH".into()));
}

#[test]
fn the_probe_is_no_command_for_people() {
    let help = support::run(support::root(), &["--help"]);
    assert!(!help.all().contains("host-probe"));
}
