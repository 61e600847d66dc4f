//! The layer of cuDNN (L4), with a fake of it: what a child tells of a job.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use gpuseal::verify::image::Libraries;
use gpuseal::verify::numerics::Dtype;
use gpuseal::verify::plan::Job;
use gpuseal::verify::{Check, Layer, Outcome};
use serde_json::Value;
use support::fakes;
use tempfile::TempDir;

const CUDNN: &str = "libcudnn.so.9";

/// A driver in `driver`, and cuDNN in `site`.
struct Machine {
    folder: TempDir,
    env: Vec<(&'static str, PathBuf)>,
}

/// What a child told.
struct Told {
    checks: Vec<Check>,
    phases: Vec<String>,
    /// It came to its end.
    done: bool,
}

impl Machine {
    fn new() -> Self {
        let folder = support::folder(&[]);
        fakes::place(&folder.path().join("driver"), &["libcuda.so.1"]);
        fakes::place(&folder.path().join("site"), &[CUDNN]);
        Self { folder, env: Vec::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn job(&self, dtypes: &[Dtype]) -> Job {
        let libraries =
            Libraries { cudnn: Some(self.at("site").join(CUDNN)), ..Libraries::default() };
        Job { dtypes: dtypes.to_vec(), libraries, quick: true, ..Job::new(Layer::Cudnn, Some(0)) }
    }

    fn tell(&self, faults: &str, job: &Job) -> Told {
        let mut command = support::gpuseal(self.folder.path());
        command.arg("verify-layer").env("LD_LIBRARY_PATH", self.at("driver"));
        command.env("FAKE_DRIVER", faults).envs(self.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let text = serde_json::to_value(job).expect("JSON").to_string();
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a reader");
        let output = child.wait_with_output().expect("a child");
        let mut told = Told { checks: Vec::new(), phases: Vec::new(), done: false };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for value in text.lines().filter_map(|line| line.parse::<Value>().ok()) {
            if let Some(check) = value.get("check") {
                told.checks.push(serde_json::from_value(check.clone()).expect("a check"));
            } else if let Some(phase) = value.get("phase") {
                told.phases.push(phase["name"].as_str().expect("a name").to_owned());
            } else {
                told.done |= value == "done";
            }
        }
        told
    }

    fn fp32(&self, faults: &str) -> Told {
        self.tell(faults, &self.job(&[Dtype::Fp32]))
    }
}

impl Told {
    /// A check with its outcome, its code, and words of its text.
    #[track_caller]
    fn has(&self, name: &str, outcome: Outcome, code: &str, words: &str) -> &Check {
        let check = self.checks.iter().find(|check| check.name == name);
        let check = check.unwrap_or_else(|| panic!("no {name} in {:#?}", self.checks));
        assert_eq!((check.outcome, check.code.word()), (outcome, code), "{check:#?}");
        assert!(check.text.contains(words), "{check:#?}");
        assert!(!outcome.is_failure() || !check.help.is_empty(), "no way out: {check:#?}");
        check
    }

    fn failing(&self) -> Vec<&str> {
        let failing = self.checks.iter().filter(|check| check.outcome.is_failure());
        failing.map(|check| check.name.as_str()).collect()
    }

    /// All is done, and nothing is wrong.
    #[track_caller]
    fn is_sound(&self) {
        let wrong: Vec<&Check> = self
            .checks
            .iter()
            .filter(|check| check.outcome != Outcome::Pass && !check.optional)
            .collect();
        assert!(self.done && wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn a_sound_cudnn_is_proven() {
    let machine = Machine::new();
    let told = machine.tell("cudnn-workspace=1000", &machine.job(Dtype::ALL));
    told.is_sound();
    let versions = told.has("versions", Outcome::Pass, "ok", "cuDNN is 9.10.2");
    assert_eq!(versions.numbers["cudart"], "12.8");
    let library = told.has("library", Outcome::Pass, "ok", "the one that torch loads");
    assert!(library.facts[0].text.contains("site/libcudnn.so.9"), "{library:?}");
    for dtype in ["fp32", "fp16", "bf16"] {
        for proof in
            ["exact-integer", "bound", "rerun", "arithmetic", "special", "guard", "written"]
        {
            told.has(&format!("{dtype}.{proof}"), Outcome::Pass, "ok", "");
        }
    }
    told.has("tf32", Outcome::Skip, "ok", "cuBLAS proves the others");
    assert!(told.phases.contains(&"cudnnAdvVersionCheck".to_owned()), "{:?}", told.phases);
}

#[test]
fn wrong_results_are_refused_by_their_proofs() {
    let machine = Machine::new();
    let with = |fault: &str| machine.fp32(&format!("result={fault},result-of=cudnn"));
    let told = with("nothing");
    told.has("fp32.written", Outcome::Fail, "wrong-result", "nothing was written");
    for (fault, proofs) in [
        ("zeros", vec!["exact-integer", "bound"]),
        ("lost-tile", vec!["exact-integer", "bound"]),
        ("flip-high", vec!["exact-integer", "bound"]),
        ("flip-low", vec!["exact-integer"]),
        ("nan", vec!["exact-integer", "bound"]),
        ("wrong-arithmetic", vec!["arithmetic"]),
        ("overrun", vec!["guard"]),
    ] {
        let told = with(fault);
        for proof in proofs {
            told.has(&format!("fp32.{proof}"), Outcome::Fail, "wrong-result", "");
        }
        assert!(told.done, "{fault}");
    }
    with("second").has("fp32.rerun", Outcome::Fail, "hardware-fault", "differs from the first");
    // Another library's faults are not this one's.
    machine.fp32("result=zeros,result-of=cublas").is_sound();
}

#[test]
fn a_start_that_fails_is_told_from_parts_that_do_not_fit() {
    let machine = Machine::new();
    let told = machine.fp32("cudnnCreate=1001");
    told.has("handle", Outcome::Fail, "driver-state", "1001, CUDNN_STATUS_NOT_INITIALIZED");
    assert_eq!(told.failing(), ["handle"]);
    let told = machine.fp32("cudnnCnnVersionCheck=1002");
    told.has("sub-libraries", Outcome::Fail, "cudnn-mismatch", "cudnnCnnVersionCheck returns 1002");
    assert!(!told.phases.contains(&"cuInit".to_owned()), "{:?}", told.phases);
    let told = machine.fp32("cudnnConvolutionForward=5000");
    told.has("fp32.exact-integer", Outcome::Fail, "unknown", "CUDNN_STATUS_EXECUTION_FAILED");
}

#[test]
fn whoever_dies_has_said_where() {
    let told = Machine::new().fp32("cudnnOpsVersionCheck=crash");
    assert!(!told.done);
    assert_eq!(told.phases.last().map(String::as_str), Some("cudnnOpsVersionCheck"));
}

#[test]
fn another_copy_in_the_process_is_seen() {
    let mut machine = Machine::new();
    fakes::place(&machine.at("other"), &[CUDNN]);
    machine.env.push(("LD_PRELOAD", machine.at("other").join(CUDNN)));
    let told = machine.fp32("");
    told.has("library", Outcome::Fail, "library-shadowed", "other/libcudnn.so.9 is loaded");
}

#[test]
fn older_libraries_lack_what_is_asked_for() {
    let machine = Machine::new();
    // cuDNN 8 checks no versions, and that is no fault.
    fakes::place_without(&machine.at("site"), CUDNN, &["cudnnAdvVersionCheck"]);
    machine.fp32("cudnn-version=8907").is_sound();
    fakes::place_without(&machine.at("site"), CUDNN, &["cudnnConvolutionForward"]);
    let told = machine.fp32("");
    told.has("fp32.exact-integer", Outcome::Fail, "cudnn-mismatch", "has no function");
}

#[test]
fn what_does_not_apply_is_not_missed_and_what_is_unknown_is() {
    let machine = Machine::new();
    let told = machine.tell("capability=7.5,cudnn-lacks=fp16", &machine.job(Dtype::ALL));
    told.is_sound();
    told.has("bf16", Outcome::Skip, "ok", "needs compute capability 8.0, this is 7.5");
    told.has("fp16.exact-integer", Outcome::Skip, "ok", "3000, CUDNN_STATUS_NOT_SUPPORTED");
    // One of the two algorithms is enough, and no other is asked for.
    machine.fp32("cudnn-algorithm=0").is_sound();
    let told = machine.fp32("cudnn-algorithm=6");
    told.has("fp32.exact-integer", Outcome::Skip, "unknown", "no such convolution");
    let told = machine.fp32("cudnn-lacks=fp32");
    let check = told.has("fp32.exact-integer", Outcome::Skip, "unknown", "no such convolution");
    assert!(!check.optional);

    let mut job = Job::new(Layer::Cudnn, Some(0));
    let told = machine.tell("", &job);
    assert!(!told.has("library", Outcome::Skip, "unknown", "no torch of this image").optional);
    job.libraries.cublas = Some(machine.at("site/libcublas.so.12"));
    machine.tell("", &job).is_sound();
    // A file that is no library.
    fs_err::write(machine.at("site").join(CUDNN), "nothing").expect("a file");
    let told = machine.fp32("");
    told.has("library", Outcome::Fail, "cudnn-mismatch", "cannot be loaded");
}
