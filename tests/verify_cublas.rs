//! The layer of cuBLAS (L3), with fakes of both libraries: what a child tells of a job.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use gpuseal::verify::image::Libraries;
use gpuseal::verify::numerics::Dtype;
use gpuseal::verify::plan::Job;
use gpuseal::verify::{Check, Layer, Outcome};
use serde_json::Value;
use support::fakes;
use tempfile::TempDir;

const CUBLAS: &str = "libcublas.so.12";
const LT: &str = "libcublasLt.so.12";

/// A driver in `driver`, and both libraries in `site`.
struct Machine {
    folder: TempDir,
    dtypes: Vec<Dtype>,
    env: Vec<(&'static str, String)>,
    speed: bool,
}

/// What a child told.
struct Told {
    checks: Vec<Check>,
    phase: String,
    /// It came to its end.
    done: bool,
}

impl Machine {
    fn new(dtypes: &[Dtype]) -> Self {
        let folder = support::folder(&[]);
        fakes::place(&folder.path().join("driver"), &["libcuda.so.1", "libnvidia-ml.so.1"]);
        fakes::place(&folder.path().join("site"), &[CUBLAS, LT]);
        Self { folder, dtypes: dtypes.to_vec(), env: Vec::new(), speed: false }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn job(&self) -> Job {
        let libraries = Libraries {
            cublas: Some(self.at("site").join(CUBLAS)),
            cublas_lt: Some(self.at("site").join(LT)),
            ..Libraries::default()
        };
        Job {
            dtypes: self.dtypes.clone(),
            speed: self.speed,
            libraries,
            quick: true,
            peaks: vec![(Dtype::Bf16, 989.0)],
            ..Job::new(Layer::Cublas, Some(0))
        }
    }

    fn child(&self, faults: &str, job: &Job) -> Child {
        let mut command: Command = support::gpuseal(self.folder.path());
        command.arg("verify-layer").env("LD_LIBRARY_PATH", self.at("driver"));
        command.env("FAKE_DRIVER", faults).envs(self.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let job = serde_json::to_value(job).expect("JSON").to_string();
        child.stdin.take().expect("a pipe").write_all(job.as_bytes()).expect("a reader");
        child
    }

    fn tell(&self, faults: &str) -> Told {
        self.tell_of(faults, &self.job())
    }

    fn tell_of(&self, faults: &str, job: &Job) -> Told {
        let mut child = self.child(faults, job);
        let told = Told::hear(&mut child, |_| false);
        child.wait().expect("a child");
        told
    }
}

impl Told {
    /// Listens until the child ends, or enters a phase of which `enough` is true.
    fn hear(child: &mut Child, enough: impl Fn(&str) -> bool) -> Self {
        let mut told = Self { checks: Vec::new(), phase: String::new(), done: false };
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            // A library prints what it likes.
            let Ok(value) = line.expect("a line").parse::<Value>() else { continue };
            if let Some(check) = value.get("check") {
                told.checks.push(serde_json::from_value(check.clone()).expect("a check"));
            } else if let Some(phase) = value.get("phase") {
                phase["name"].as_str().expect("a name").clone_into(&mut told.phase);
                if enough(&told.phase) {
                    break;
                }
            } else {
                told.done |= value == "done";
            }
        }
        told
    }

    #[track_caller]
    fn check(&self, name: &str) -> &Check {
        let found = self.checks.iter().find(|check| check.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", self.checks))
    }

    /// A check with its outcome, its code, and words of its text.
    #[track_caller]
    fn has(&self, name: &str, outcome: Outcome, code: &str, words: &str) -> &Check {
        let check = self.check(name);
        assert_eq!((check.outcome, check.code.word()), (outcome, code), "{check:#?}");
        assert!(check.text.contains(words), "{check:#?}");
        assert!(!outcome.is_failure() || !check.help.is_empty(), "no way out: {check:#?}");
        check
    }

    /// All is done, and nothing is wrong.
    #[track_caller]
    fn is_sound(&self) {
        let wrong: Vec<&Check> =
            self.checks.iter().filter(|c| c.outcome != Outcome::Pass).collect();
        let wrong: Vec<_> = wrong.iter().filter(|c| !c.optional).collect();
        assert!(self.done && wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn sound_libraries_prove_every_data_type() {
    let machine = Machine::new(Dtype::ALL);
    let told = machine.tell("");
    told.is_sound();
    let text = &told.check("libraries").facts[0].text;
    assert!(text.contains("site/libcublasLt.so.12"), "{text}");
    let versions = told.has("versions", Outcome::Pass, "ok", "12.8.4");
    assert_eq!(versions.numbers["cublas_lt"], "12.8.4");
    for kind in
        ["fp32", "tf32", "fp16", "fp16-fp16", "bf16", "bf16-bf16", "e4m3", "e4m3-bf16", "int8"]
    {
        told.has(&format!("{kind}.exact-integer"), Outcome::Pass, "ok", "exact");
        told.has(&format!("{kind}.guard"), Outcome::Pass, "ok", "");
    }
    // Three algorithms, each by its name.
    let algorithms = &told.check("bf16.algorithms").numbers["algorithms"];
    assert_eq!(algorithms.as_array().expect("a list").len(), 3, "{algorithms}");
    assert_eq!(algorithms[2], "62, tile 1, stages 1, split 1");
}

#[test]
fn a_data_type_that_the_card_lacks_is_not_missed() {
    let machine = Machine::new(&[Dtype::Fp32, Dtype::Bf16, Dtype::E4m3]);
    let told = machine.tell("capability=7.5");
    told.is_sound();
    told.has("bf16", Outcome::Skip, "ok", "needs compute capability 8.0, this is 7.5");
    told.has("e4m3", Outcome::Skip, "ok", "needs compute capability 8.9");
    told.has("fp32.exact-integer", Outcome::Pass, "ok", "");
}

#[test]
fn what_cublas_does_not_support_fails_only_where_no_training_goes_without() {
    let machine = Machine::new(&[Dtype::E4m3, Dtype::Bf16]);
    let told = machine.tell("lt-lacks=e4m3");
    told.is_sound();
    told.has("e4m3", Outcome::Skip, "ok", "15 CUBLAS_STATUS_NOT_SUPPORTED");
    let told = machine.tell("lt-lacks=bf16");
    told.has("bf16", Outcome::Fail, "unknown", "15 CUBLAS_STATUS_NOT_SUPPORTED");
}

#[test]
fn a_user_who_forbids_tf32_is_obeyed() {
    let mut machine = Machine::new(&[Dtype::Tf32, Dtype::Fp32]);
    machine.env.push(("NVIDIA_TF32_OVERRIDE", "0".into()));
    let told = machine.tell("");
    told.is_sound();
    told.has("tf32", Outcome::Skip, "ok", "NVIDIA_TF32_OVERRIDE=0");
}

#[test]
fn two_versions_are_named_both() {
    let told = Machine::new(&[]).tell("blas-version=120804,lt-version=120901");
    told.has(
        "versions",
        Outcome::Fail,
        "library-shadowed",
        "cuBLAS is 12.8.4, and its cublasLt is 12.9.1",
    );
}

#[test]
fn another_copy_in_the_process_is_named_beside_the_own_one() {
    let mut machine = Machine::new(&[]);
    fakes::place(&machine.at("cuda"), &[LT]);
    let other = machine.at("cuda").join(LT);
    machine.env.push(("LD_PRELOAD", other.to_string_lossy().into_owned()));
    let told = machine.tell("");
    let check = told.has("libraries", Outcome::Fail, "library-shadowed", &other.to_string_lossy());
    assert!(check.text.contains("site/libcublasLt.so.12"), "{}", check.text);
}

#[test]
fn without_a_cublas_nothing_is_proven() {
    let machine = Machine::new(&[]);
    let job = |cublas: Option<PathBuf>| Job {
        libraries: Libraries { cublas, ..Libraries::default() },
        ..machine.job()
    };
    let told = machine.tell_of("", &job(None));
    assert!(!told.has("libraries", Outcome::Skip, "unknown", "no torch of this image").optional);
    let told = machine.tell_of("", &job(Some("/site/libcublas.so.12".into())));
    told.has("libraries", Outcome::Skip, "unknown", "/site/libcublas.so.12 was found");
}

#[test]
fn a_file_that_is_no_library_is_named_with_the_words_of_the_loader() {
    let machine = Machine::new(&[]);
    fs_err::write(machine.at("site").join(LT), "version https://example.org/spec\n")
        .expect("a file");
    machine.tell("").has("libraries", Outcome::Fail, "unknown", "cannot be loaded: ");
    fs_err::remove_file(machine.at("site").join(LT)).expect("a file");
    machine.tell("").has("libraries", Outcome::Fail, "unknown", "No such file");
}

#[test]
fn a_missing_function_is_named() {
    let machine = Machine::new(&[]);
    fakes::place_without(&machine.at("site"), LT, &["cublasLtMatmul"]);
    let told = machine.tell("");
    told.has("libraries", Outcome::Fail, "companion-mismatch", "has no function cublasLtMatmul");
    assert!(told.done);
}

#[test]
fn a_status_is_told_with_its_name_and_a_way_out() {
    let machine = Machine::new(&[Dtype::Bf16]);
    let told = |faults: &str, name: &str, code: &str, words: &str| {
        let told = machine.tell(faults);
        let check = told.has(name, Outcome::Fail, code, words);
        assert!(told.done && check.numbers.contains_key("status"), "{check:#?}");
    };
    told(
        "cublasLtCreate=1",
        "handle",
        "driver-state",
        "cublasLtCreate: 1 CUBLAS_STATUS_NOT_INITIALIZED",
    );
    told("cublasCreate_v2=3", "handle", "out-of-memory", "3 CUBLAS_STATUS_ALLOC_FAILED");
    told(
        "cublasLtMatmul=8",
        "bf16.exact-integer",
        "arch-not-in-binary",
        "8 CUBLAS_STATUS_ARCH_MISMATCH",
    );
    told(
        "cublasGemmEx=13",
        "bf16-bf16.exact-integer",
        "hardware-fault",
        "13 CUBLAS_STATUS_EXECUTION",
    );
    told("cublasLtMatmul=77", "bf16.exact-integer", "unknown", "77, a status that no header knows");
    // Of the driver below it.
    told("cuCtxSynchronize=700", "bf16.exact-integer", "program-fault", "");
}

/// Each fault of a result by the proof that is there for it.
#[test]
fn wrong_results_are_refused_by_the_proof_that_is_there_for_it() {
    let machine = Machine::new(&[Dtype::Bf16]);
    for (fault, proof, code) in [
        ("nothing", "written", "wrong-result"),
        ("zeros", "exact-integer", "wrong-result"),
        ("lost-tile", "exact-integer", "wrong-result"),
        ("flip-high", "exact-integer", "wrong-result"),
        ("flip-low", "exact-integer", "wrong-result"),
        ("nan", "bound", "wrong-result"),
        ("second", "rerun", "hardware-fault"),
        ("wrong-arithmetic", "arithmetic", "wrong-result"),
        ("overrun", "guard", "wrong-result"),
    ] {
        let told = machine.tell(&format!("result={fault},result-of=cublas"));
        told.has(&format!("bf16.{proof}"), Outcome::Fail, code, "");
        // Through the other library as well.
        told.has(&format!("bf16-bf16.{proof}"), Outcome::Fail, code, "");
        assert!(told.done, "{fault}");
    }
}

#[test]
fn fp32_that_drops_bits_is_not_fp32_and_tf32_that_keeps_them_is_not_tf32() {
    let machine = Machine::new(&[Dtype::Fp32, Dtype::Tf32]);
    let told = machine.tell("result=wrong-arithmetic");
    told.has("fp32.arithmetic", Outcome::Fail, "wrong-result", "");
    // It is allowed to, and no number is wrong.
    told.has("tf32.arithmetic", Outcome::Warn, "slow", "tensor cores did not run");
}

#[test]
fn a_hang_and_a_crash_have_said_where_they_are() {
    let machine = Machine::new(&[Dtype::Bf16]);
    let mut child = machine.child("cublasLtMatmul=hang", &machine.job());
    let told = Told::hear(&mut child, |phase| phase.starts_with("bf16.exact-integer"));
    // It says nothing more: what the supervisor makes of that is tested where it lives.
    thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().expect("a child").is_none(), "{}", told.phase);
    child.kill().expect("a child");
    child.wait().expect("a child");
    assert!(told.phase.contains("on the device"), "{}", told.phase);
    let told = machine.tell("cublasCreate_v2=crash");
    assert_eq!((told.phase.as_str(), told.done), ("cublasCreate_v2", false));
}

/// Its clock says 600 TFLOP/s, whatever the CPU needs.
#[test]
fn a_speed_is_measured_and_its_result_is_right() {
    let mut machine = Machine::new(&[Dtype::Bf16]);
    machine.speed = true;
    let fast = |tflops: u32| format!("blas-tflops={tflops},l2=1000000,memory=1,free=1");
    let told = machine.tell(&fast(800));
    let speed = told.check("bf16.speed");
    assert_eq!(speed.numbers["tflops"], 800.0, "{speed:#?}");
    assert_eq!(speed.numbers["sm_clock_mhz"], 1755.0, "{speed:#?}");
    assert!(speed.numbers["launches"].as_u64() >= Some(20), "{speed:#?}");
    told.has("bf16.timed-result", Outcome::Pass, "ok", "1024 elements");
    // Slow without a reason; and fast, and wrong.
    let told = machine.tell(&fast(400));
    told.has("bf16.speed", Outcome::Fail, "slow", "40 % of the 989");
    let told = machine.tell(&format!("{},result=zeros", fast(800)));
    told.has("bf16.timed-result", Outcome::Fail, "wrong-result", "is 0 and must be");
    machine.speed = false;
    let none = machine.tell(&fast(400));
    assert!(none.checks.iter().all(|check| check.name != "bf16.speed"), "nobody asked for it");
}

#[test]
fn a_path_is_no_text_of_the_library() {
    // A folder with a space and a letter outside of ASCII.
    let machine = Machine::new(&[Dtype::Fp32]);
    let odd = machine.at("Übung 1");
    fakes::place(&odd, &[CUBLAS, LT]);
    let libraries = Libraries {
        cublas: Some(odd.join(CUBLAS)),
        cublas_lt: Some(odd.join(LT)),
        ..Libraries::default()
    };
    assert!(Path::new(&odd).is_dir());
    machine.tell_of("", &Job { libraries, ..machine.job() }).is_sound();
}
