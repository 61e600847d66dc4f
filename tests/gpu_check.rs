//! `scripts/gpu-check` where a CPU stands in for the device: it comes to its end, and what it does to the machine is
//! found. Its speeds say nothing here.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::process::Command;

use serde_json::Value;
use support::machine::machine;

#[test]
fn the_script_for_a_machine_with_a_gpu_runs_without_one() {
    let machine = machine();
    let out = machine.folder().join("answer.json");
    let mut command = Command::new("bash");
    command.arg(support::root().join("scripts/gpu-check")).arg(env!("CARGO_BIN_EXE_gpuseal"));
    command.arg(&out).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GPU_CHECK_PYTHON", machine.env.root.join("bin/python3"));
    command.env("GPU_CHECK_FLAGS", "--quick --dtype bf16").env("LD_LIBRARY_PATH", machine.driver());
    let run = command.output().expect("bash");
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    let text = fs_err::read_to_string(&out).unwrap_or_else(|err| panic!("{err}: {said}"));
    let answer: Value = text.parse().expect("JSON");
    let check = |name: &str| {
        let checks = answer["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no `{name}`: {said}")).clone()
    };
    // The matrix products of both, on one device, in one data type or more.
    assert_eq!(check("speed")["ok"], true, "{said}");
    for fault in ["hidden-empty", "hidden-minus-one", "stub-libcuda", "killed"] {
        assert_eq!(check(fault)["ok"], true, "{said}");
    }
    assert!(check("whole-run")["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(answer["results"]["schema"]["name"], "gpuseal.verify");
    assert_eq!(answer["gpu"].as_array().map(Vec::len), Some(1), "{}", answer["gpu"]);

    // Where no device opens nothing was shown, and nothing is written.
    fs_err::remove_file(&out).expect("a file");
    let run = command.env("FAKE_DRIVER", "cuInit=100").output().expect("bash");
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!out.exists());
}
