//! The whole of `verify --here` on libraries that compute on the CPU: every layer stands on the one before, and a
//! fault in one library is found in its layer and nowhere else.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::machine::{Machine, machine};

/// All layers but the files: where this test runs in a container, a driver among its files is a fault.
fn verify(machine: &Machine, faults: &str) -> (i32, Value) {
    let mut command = machine.verify(faults);
    command.args(["--layer", "driver,cuda,kernel,cublas,cudnn,torch,nccl", "--dtype", "bf16"]);
    let run = support::finish(&mut command);
    (run.code, run.stdout.parse().unwrap_or_else(|_| panic!("{}", run.all())))
}

/// `layer outcome` of every check that has one of these outcomes, each once.
fn layers(document: &Value, outcomes: &[&str]) -> Vec<String> {
    let checks = document["layers"].as_array().expect("checks");
    let word = |check: &Value, key: &str| check[key].as_str().expect("a word").to_owned();
    let mut list: Vec<String> = checks
        .iter()
        .filter(|check| outcomes.contains(&word(check, "outcome").as_str()))
        .map(|check| format!("{} {}", word(check, "layer"), word(check, "outcome")))
        .collect();
    list.dedup();
    list
}

const WRONG: &[&str] = &["fail", "hang", "crash"];

#[test]
fn everything_is_proven_on_two_devices() {
    let (code, document) = verify(&machine(), "devices=2,name=Fake GPU");
    assert_eq!((code, document["verdict"].as_str()), (0, Some("proven")), "{document:#}");
    let passed = layers(&document, &["pass"]);
    for layer in ["driver", "cuda", "kernel", "cublas", "cudnn", "torch", "nccl"] {
        assert!(passed.contains(&format!("{layer} pass")), "{layer} of {passed:?}");
    }
    let devices = document["devices"].as_array().expect("devices");
    assert_eq!(devices.len(), 2, "{devices:?}");
}

#[test]
fn a_wrong_bit_is_found_in_the_layer_that_computed_it() {
    let machine = machine();
    for (library, layer) in [
        ("cuda", "kernel"),
        ("cublas", "cublas"),
        ("cudnn", "cudnn"),
        ("torch", "torch"),
        ("nccl", "nccl"),
    ] {
        let faults = format!("devices=2,result=flip-low,result-of={library}");
        let (code, document) = verify(&machine, &faults);
        assert_eq!((code, document["verdict"].as_str()), (1, Some("failed")), "{library}");
        assert_eq!(layers(&document, WRONG), [format!("{layer} fail")], "{library}");
        let found = document["findings"].as_array().expect("findings");
        assert!(found.iter().any(|finding| finding["code"] == "wrong-result"), "{found:#?}");
    }
}

#[test]
fn what_hangs_or_dies_costs_its_layer_alone() {
    let machine = machine();
    for (faults, layer, outcome) in [
        ("cublasLtMatmul=crash", "cublas", "crash"),
        ("cudnnCreate=crash", "cudnn", "crash"),
        ("cuLaunchKernel=crash", "kernel", "crash"),
    ] {
        let (code, document) = verify(&machine, faults);
        assert_eq!(code, 1, "{faults}: {document:#}");
        assert_eq!(layers(&document, WRONG), [format!("{layer} {outcome}")], "{faults}");
        // What does not stand on it was proven all the same.
        assert!(layers(&document, &["pass"]).contains(&"torch pass".to_owned()), "{faults}");
    }
}

#[test]
fn without_a_device_nothing_is_proven() {
    let machine = machine();
    let (code, document) = verify(&machine, "devices=0,cuInit=100");
    assert_eq!((code, document["verdict"].as_str()), (3, Some("unproven")), "{document:#}");
    assert_eq!(layers(&document, WRONG), Vec::<String>::new());
    let file: PathBuf = machine.env.site.join("torch/__pycache__");
    assert!(!file.exists(), "something was written into the image");
}
