//! `gpuseal lock` against an index on the loopback interface that misbehaves on purpose.
//!
//! Every fault has to come with a message that names both sides, the exit code of its kind, and an
//! old lock that is the same byte for byte.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gpuseal::domain::Sha256;
use gpuseal::lock::Lockfile;
use support::shelf::{Form, JSON, Shelf, Wheel};
use support::web::{Route, Web};
use support::{Run, files, finish, folder, gpuseal, write};

/// What is locked here, unless a test says otherwise.
const ASKED: &[&str] =
    &["--torch", "2.15.0", "--python", "3.12", "--gpu", "h100", "--driver", "595.45.04"];
const TORCH: &str = "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl";
/// Packages of its closure.
const COUNT: usize = 9;

/// What torch 2.15.0 requires, as the matrix has it, and a pure package.
const REQUIRES: &[&str] = &[
    "filelock",
    "cuda-toolkit[cublas,cudart]==13.2.2; platform_system == \"Linux\"",
    "cuda-bindings<14,>=13.0.3; platform_system == \"Linux\"",
    "nvidia-cudnn-cu13==9.26.0.51; platform_system == \"Linux\"",
    "nvidia-cusparselt-cu13==0.8.1; platform_system == \"Linux\"",
    "nvidia-nccl-cu13==2.30.7; platform_system == \"Linux\"",
    "nvidia-nvshmem-cu13==3.7.2; platform_system == \"Linux\"",
    "triton~=3.9.0; platform_system == \"Linux\"",
    "pywin32; platform_system == \"Windows\"",
];

/// Bytes that no compression and no repetition makes less of.
fn filler(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn torch(cuda: Option<&str>) -> Wheel {
    // The answers lie before the last 64 KiB: it takes parts.
    Wheel::new(TORCH)
        .requires(REQUIRES)
        .build("2.15.0", cuda)
        .member("torch/lib/libtorch.so", &filler(200_000))
}

/// PyPI, as far as it is needed.
fn shelf() -> Shelf {
    let mut shelf = Shelf::at("/simple", "/files");
    shelf
        .add(torch(Some("13.2")))
        .add(Wheel::pure("filelock", "3.19.0"))
        .add(Wheel::pure("filelock", "3.20.0"))
        .add(Wheel::pure("cuda-toolkit", "13.2.2"))
        .add(Wheel::new("cuda_bindings-13.2.0-cp312-cp312-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("nvidia_cudnn_cu13-9.26.0.51-py3-none-manylinux_2_27_x86_64.whl"))
        .add(Wheel::new("nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl"))
        .add(Wheel::new("nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_nvshmem_cu13-3.7.2-py3-none-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("triton-3.9.0-cp312-cp312-manylinux_2_28_x86_64.whl"));
    shelf
}

/// A project, a cache and an index.
struct Bench {
    project: tempfile::TempDir,
    cache: tempfile::TempDir,
    web: Web,
    shelf: Shelf,
    asked: Vec<String>,
}

impl Bench {
    /// With an index that does everything right.
    fn new() -> Self {
        Self::of(Form::FULL)
    }

    fn of(form: Form) -> Self {
        let mut shelf = shelf();
        shelf.form = form;
        let web = Web::start([]);
        shelf.publish(&web);
        let asked = ASKED.iter().map(ToString::to_string).collect();
        Self { project: folder(&[]), cache: folder(&[]), web, shelf, asked }
    }

    /// The same with an old lock in the project, complete, and of an index that is gone.
    fn with_old(form: Form) -> Self {
        let bench = Self::of(form);
        write(bench.project.path(), "gpuseal.lock", old_lock());
        bench
    }

    /// Puts the shelf on the server again.
    fn publish(&self) {
        self.shelf.publish(&self.web);
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_in(self.project.path(), args)
    }

    fn command_in(&self, project: &Path, args: &[&str]) -> Command {
        let mut command = gpuseal(project);
        command
            .arg("lock")
            .args(&self.asked)
            .arg("--no-images")
            .args(args)
            .env("PIP_INDEX_URL", self.web.url("/simple").as_str())
            .env("GPUSEAL_CACHE_DIR", self.cache.path())
            .env("GPUSEAL_HTTP_TIMEOUT", "5")
            .env("GPUSEAL_HTTP_RETRIES", "0");
        command
    }

    fn lock(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    fn path(&self) -> PathBuf {
        self.project.path().join("gpuseal.lock")
    }

    /// The lock as it stands.
    fn text(&self) -> String {
        fs_err::read_to_string(self.path()).expect("a lock")
    }

    fn locked(&self) -> Lockfile {
        Lockfile::read(&self.path()).expect("a lock")
    }

    /// Everything anew, which must come to nothing and leave no trace.
    #[track_caller]
    fn refuses(&self, code: i32, words: &[&str]) -> Run {
        self.refuses_with(&mut self.command(&["--upgrade"]), code, words)
    }

    #[track_caller]
    fn refuses_with(&self, command: &mut Command, code: i32, words: &[&str]) -> Run {
        let before = (files(self.project.path()), fs_err::read(self.path()).ok());
        let run = finish(command);
        run.says(code, words);
        let after = (files(self.project.path()), fs_err::read(self.path()).ok());
        assert!(before == after, "the old lock has changed, or something was left: {}", run.all());
        assert!(
            run.stderr.starts_with("error: ") || run.stderr.contains("\nerror: "),
            "{}",
            run.all()
        );
        run
    }

    /// Paths that were asked for, with HEAD told apart.
    fn asked_for(&self) -> Vec<String> {
        let log = self.web.log();
        assert!(log.iter().all(|hit| hit.method == "GET"), "HEAD may lie: it is not to be asked");
        log.into_iter().map(|hit| hit.target).collect()
    }
}

/// A complete lock of the good index, made once.
fn old_lock() -> &'static str {
    static LOCK: OnceLock<String> = OnceLock::new();
    LOCK.get_or_init(|| {
        let bench = Bench::new();
        bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
        bench.text()
    })
}

/// A lock without what names the index: its port changes from test to test.
fn portless(text: &str, web: &Web) -> String {
    text.replace(&web.addr.to_string(), "INDEX")
}

// ---- an honest index ----

#[test]
fn html_and_json_come_to_the_same_lock() {
    let json = Bench::new();
    let run = json.lock(&["-v"]);
    run.says(0, &["wrote gpuseal.lock", &format!("locked {COUNT} files of ")]);
    let html = Bench::of(Form::PLAIN);
    html.lock(&[]).says(0, &["wrote gpuseal.lock"]);
    let (one, other) = (portless(&json.text(), &json.web), portless(&html.text(), &html.web));
    assert_eq!(one, other);
    let lock = json.locked();
    assert!(lock.complete() || lock.targets.iter().all(gpuseal::lock::Target::files_known));
    assert_eq!(lock.targets[0].packages.len(), COUNT);
    // JSON has METADATA beside the files, so only torch itself was opened.
    let opened: Vec<_> =
        json.asked_for().into_iter().filter(|path| path.ends_with(".whl")).collect();
    assert!(
        !opened.is_empty() && opened.iter().all(|path| path.contains("torch-2.15.0")),
        "{opened:?}"
    );
    // Every request is told, with its bytes, and the sum.
    let told: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(told.len(), json.web.log().len(), "{}", run.stderr);
    for hit in json.web.log() {
        let line = told.iter().find(|line| line.contains(&format!("{} ", hit.target)));
        let line = line.unwrap_or_else(|| panic!("{} is not told:\n{}", hit.target, run.stderr));
        assert!(line.contains(" 200 ") || line.contains(" 206 "), "{line}");
    }
    let summary = run.stderr.lines().find(|line| line.starts_with("locked ")).expect("a summary");
    assert!(summary.contains(&format!("{} requests, ", told.len())), "{summary}");
    let bytes: u64 = json.web.log().iter().map(|hit| hit.bytes).sum();
    #[allow(clippy::cast_precision_loss, reason = "a few hundred kilobytes")]
    let shown = format!("{:.1} kB fetched", bytes as f64 / 1000.0);
    assert!(summary.contains(&shown), "{summary} for {bytes} bytes");
    assert_eq!(files(json.project.path()), ["gpuseal.lock"]);
}

#[test]
fn a_lock_that_is_complete_asks_nobody() {
    let bench = Bench::new();
    bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
    let (text, asked) = (bench.text(), bench.web.log().len());
    let time = || fs_err::metadata(bench.path()).expect("a lock").modified().expect("a time");
    let before = time();
    bench.lock(&[]).says(0, &["unchanged gpuseal.lock"]);
    bench.lock(&["--check"]).says(0, &["is up to date"]);
    bench.lock(&["--locked"]).says(0, &["is up to date"]);
    bench.lock(&["--frozen"]).says(0, &[]);
    bench.lock(&["--no-cache"]).says(0, &["unchanged"]);
    assert_eq!((bench.text(), bench.web.log().len()), (text, asked));
    assert_eq!(time(), before);
}

#[test]
fn a_server_that_gives_no_parts_gives_whole_files() {
    let bench = Bench::of(Form { ranges: false, sidecars: false, ..Form::FULL });
    bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
    let good = Bench::new();
    good.lock(&[]).says(0, &[]);
    assert_eq!(portless(&bench.text(), &bench.web), portless(&good.text(), &good.web));
    // Nothing that was downloaded stays: the cache keeps what files say, not files.
    assert!(size_of(bench.cache.path()) < 100_000, "{} bytes", size_of(bench.cache.path()));
    // Suffix ranges that are no ranges, with the others known.
    let odd = Bench::of(Form { sidecars: false, ..Form::FULL });
    let wheel = odd.shelf.wheel("torch");
    odd.web
        .route(&odd.shelf.file_path("torch"), Route::ok(wheel.archive()).ranges_from_the_start());
    odd.lock(&[]).says(0, &[]);
    assert_eq!(portless(&odd.text(), &odd.web), portless(&good.text(), &good.web));
    assert!(odd.web.bytes(&odd.shelf.file_path("torch")) < 200_000);
}

#[test]
fn head_is_never_asked() {
    let bench = Bench::of(Form::PLAIN);
    for name in bench.shelf.names() {
        let route = bench.shelf.page(&name).head_type("text/plain");
        bench.web.route(&bench.shelf.page_path(&name), route);
    }
    bench.lock(&[]).says(0, &[]);
    assert!(!bench.asked_for().is_empty());
}

/// All files below a folder, with their bytes.
fn below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut list = Vec::new();
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list.extend(below(&path));
        } else {
            let bytes = fs_err::read(&path).expect("a file");
            list.push((path, bytes));
        }
    }
    list
}

fn size_of(folder: &Path) -> usize {
    below(folder).iter().map(|(_, bytes)| bytes.len()).sum()
}
