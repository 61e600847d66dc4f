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

// ---- hashes ----

#[test]
fn what_the_index_does_not_hash_is_downloaded_and_hashed_here() {
    for json in [true, false] {
        let form = Form { json, hashes: false, ..Form::FULL };
        let one = Bench::of(form);
        one.lock(&[]).says(0, &["wrote gpuseal.lock"]);
        let lock = one.locked();
        for package in &lock.targets[0].packages {
            let file = package.file.as_ref().expect("a file");
            assert_eq!(file.origin, gpuseal::lock::Origin::Download, "{}", package.name);
        }
        assert_eq!(one.text().matches("origin = \"download\"").count(), COUNT);
        let torch = lock.targets[0].packages.iter().find(|p| p.name.as_str() == "torch");
        let torch = torch.and_then(|p| p.file.as_ref()).expect("torch's file");
        assert_eq!(torch.sha256, one.shelf.wheel("torch").sha256());
        let other = Bench::of(form);
        other.lock(&[]).says(0, &[]);
        assert_eq!(portless(&one.text(), &one.web), portless(&other.text(), &other.web));
    }
}

#[test]
fn a_file_of_another_digest_than_the_index_gives_is_refused() {
    let other = Sha256::of(b"other bytes");
    let mut bench = Bench::with_old(Form { ranges: false, sidecars: false, ..Form::FULL });
    let real = bench.shelf.wheel("cuda-toolkit");
    bench.shelf.swap(real.clone().said(&other));
    bench.publish();
    bench.refuses(
        1,
        &[other.as_str(), real.sha256().as_str(), "cuda_toolkit-13.2.2", "help: do not install it"],
    );
    let mut bench = Bench::with_old(Form::FULL);
    bench.shelf.swap(real.clone().said_beside(&other));
    bench.publish();
    let found = Sha256::of(real.metadata.as_bytes());
    bench.refuses(1, &[other.as_str(), found.as_str(), ".whl.metadata", "help: do not install it"]);
}

#[test]
fn a_page_that_gives_two_digests_for_a_file_is_refused() {
    let mut bench = Bench::with_old(Form::FULL);
    let other = Sha256::of(b"other bytes");
    bench.shelf.add(bench.shelf.wheel("triton").said(&other));
    bench.publish();
    // Whatever stands at the address, the page is about two files.
    let digest = bench.shelf.wheel("triton").sha256();
    bench.refuses(4, &["two digests", digest.as_str(), other.as_str(), "help: do not install"]);
}

#[test]
fn a_digest_that_changes_stops_the_lock_until_a_person_accepts_it() {
    let mut bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let old = bench.shelf.wheel("triton");
    let new = old.clone().member("triton/evil.py", b"import os");
    bench.shelf.swap(new.clone());
    bench.publish();
    let text = bench.text();
    bench.refuses(
        1,
        &[
            old.sha256().as_str(),
            new.sha256().as_str(),
            &old.file,
            "nothing was written",
            "help: ",
            "gpuseal lock --accept-hash triton",
        ],
    );
    // Another package does not do.
    bench.refuses_with(&mut bench.command(&["--upgrade", "--accept-hash", "filelock"]), 1, &[]);
    // What the help says does.
    bench.lock(&["--accept-hash", "Triton"]).says(0, &["wrote gpuseal.lock"]);
    assert_eq!(bench.text(), text.replace(&sizes(&old), &sizes(&new)));
}

/// The lines of a lock about a file's length and digest.
fn sizes(wheel: &Wheel) -> String {
    format!("size = {}\nhash = \"{}\"", wheel.archive().len(), wheel.sha256())
}

// ---- answers that break off, come late or never ----

#[test]
fn answers_that_break_off_are_told_with_their_bytes() {
    for form in [Form::FULL, Form { hashes: false, sidecars: false, ..Form::FULL }] {
        let bench = Bench::with_old(form);
        let path = bench.shelf.page_path("filelock");
        bench.web.route(&path, bench.shelf.page("filelock").truncated(30));
        bench.refuses(4, &[&path, "promised ", "sent 30", "help: try again"]);
        bench.publish();
        let path = bench.shelf.file_path("torch");
        let torch = bench.shelf.wheel("torch");
        bench.web.route(&path, bench.shelf.file(&torch).truncated(1000));
        bench.refuses_with(
            &mut bench.command(&["--upgrade", "--no-cache"]),
            4,
            &[&path, "sent 1000", "help: try again"],
        );
        // Once is none.
        bench
            .web
            .route(&path, bench.shelf.file(&torch).after(bench.shelf.file(&torch).truncated(9)));
        let mut command = bench.command(&["--upgrade", "--no-cache"]);
        finish(command.env("GPUSEAL_HTTP_RETRIES", "1"))
            .says(0, &["again: ", "sent 9; try 2 of 2"]);
    }
}

#[test]
fn a_storm_of_429_is_waited_for_and_not_for_ever() {
    let bench = Bench::with_old(Form::FULL);
    let path = bench.shelf.page_path("torch");
    for status in [429, 503] {
        let before = bench.web.hits(&path);
        bench.web.route(&path, Route::status(status).header("Retry-After", "0"));
        let mut command = bench.command(&["--upgrade"]);
        let shown = format!("HTTP {status}");
        bench.refuses_with(
            command.env("GPUSEAL_HTTP_RETRIES", "2"),
            4,
            &[&path, &shown, "tried 3 times", "help: try again later, or name a mirror"],
        );
        assert_eq!(bench.web.hits(&path) - before, 3);
    }
    // Seconds that nobody waits.
    bench.web.route(&path, Route::status(429).header("Retry-After", "3600"));
    let (before, start) = (bench.web.hits(&path), Instant::now());
    let mut command = bench.command(&["--upgrade"]);
    bench.refuses_with(
        command.env("GPUSEAL_HTTP_RETRIES", "20"),
        4,
        &["asked again in 3600 s", "longer than the 60 s", "help: try again later"],
    );
    assert_eq!(bench.web.hits(&path) - before, 1);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // A storm of all pages that ends.
    for name in bench.shelf.names() {
        let page = bench.shelf.page(&name).fails(2, 429, Some("0")).fails(1, 503, None);
        bench.web.route(&bench.shelf.page_path(&name), page);
    }
    let mut command = bench.command(&["--upgrade"]);
    finish(command.env("GPUSEAL_HTTP_RETRIES", "3")).says(0, &["again: ", "try 2 of 4", "wrote"]);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let bench = Bench::with_old(Form::FULL);
    let start = Instant::now();
    for route in [Route::silent(), Route::hangs_up()] {
        bench.web.route(&bench.shelf.page_path("torch"), route);
        let mut command = bench.command(&["--upgrade"]);
        bench.refuses_with(
            command.env("GPUSEAL_HTTP_TIMEOUT", "1"),
            4,
            &[&bench.shelf.page_path("torch"), "help: check the network"],
        );
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_page_that_drips_is_not_waited_for() {
    let bench = Bench::with_old(Form::FULL);
    dripped(&bench, &bench.shelf.page_path("torch"), bench.shelf.page("torch"));
}

#[test]
fn a_file_that_drips_is_not_waited_for() {
    let bench = Bench::with_old(Form { hashes: false, ..Form::FULL });
    let route = bench.shelf.file(&bench.shelf.wheel("triton"));
    dripped(&bench, &bench.shelf.file_path("triton"), route);
}

/// There is always a next byte in time, and never a last one.
fn dripped(bench: &Bench, path: &str, route: Route) {
    bench.web.route(path, route.drip(Duration::from_millis(400)));
    let start = Instant::now();
    let mut command = bench.command(&["--upgrade"]);
    bench.refuses_with(
        command.env("GPUSEAL_HTTP_TIMEOUT", "1"),
        4,
        &[path, "no whole answer within 4 s", "help: check the network"],
    );
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

// ---- answers that lead elsewhere, or are too much ----

#[test]
fn files_may_lie_elsewhere_but_not_past_a_mirror() {
    let bench = Bench::with_old(Form { sidecars: false, ..Form::FULL });
    let elsewhere = Web::start([]);
    let wheel = bench.shelf.wheel("triton");
    let path = bench.shelf.file_path("triton");
    elsewhere.route("/stored", bench.shelf.file(&wheel));
    bench.web.route(&path, Route::redirect(elsewhere.url("/stored").as_str()));
    let run = bench.lock(&["--upgrade", "-v"]);
    run.says(0, &["/stored 206 "]);
    assert!(bench.text().contains(wheel.sha256().as_str()));
    let (here, there) = (bench.web.addr.to_string(), elsewhere.addr.to_string());
    assert!(!bench.text().contains(&there), "the index's own address is locked, not where it led");
    // The same, past a mirror: by a redirect, then by a link.
    let asked = elsewhere.log().len();
    let mirror = bench.web.url("/simple").to_string();
    let mirrored = |bench: &Bench| {
        let mut command = bench.command(&["--upgrade", "--no-cache"]);
        command.env("GPUSEAL_MIRROR_PYPI", &mirror).env_remove("PIP_INDEX_URL");
        command
    };
    let words = [&*here, &*there, "redirects to", "not among the mirrors", "help: let the mirror"];
    bench.refuses_with(&mut mirrored(&bench), 4, &words);
    bench.publish();
    let link = format!(
        "<a href=\"{}#sha256={}\">x</a>",
        elsewhere.url(&format!("/{}", wheel.file)),
        wheel.sha256().hex()
    );
    let page = Route::ok(link).header("Content-Type", "text/html");
    bench.web.route(&bench.shelf.page_path("triton"), page);
    bench.refuses_with(&mut mirrored(&bench), 4, &[&here, &there, "is not among the mirrors"]);
    assert_eq!(elsewhere.log().len(), asked, "a request has left the mirror");
}

#[test]
fn redirects_that_lead_nowhere_end() {
    let bench = Bench::with_old(Form::FULL);
    let path = bench.shelf.page_path("torch");
    for (to, words) in [
        (&*path, "redirects more than 5 times"),
        ("ftp://example.org/x", "is no address of a web server"),
        ("file:///etc/passwd", "is no address of a web server"),
        ("javascript:alert(1)", "is no address of a web server"),
    ] {
        bench.web.route(&path, Route::redirect(to));
        bench.refuses(4, &[words, "help: "]);
    }
    bench.web.route(&path, Route::status(302));
    bench.refuses(4, &[&path, "redirects without saying where to"]);
}

#[test]
fn a_claim_of_a_gigabyte_is_not_believed_and_not_read() {
    const GB: u64 = 1 << 30;
    let bench = Bench::with_old(Form::FULL);
    let path = bench.shelf.page_path("triton");
    bench.web.route(&path, bench.shelf.page("triton").claims(GB));
    bench.refuses(4, &[&path, "announces more than 67108864 bytes"]);
    bench.publish();
    let path = format!("{}.metadata", bench.shelf.file_path("triton"));
    bench.web.route(&path, Route::ok("Name: triton").claims(GB));
    bench.refuses(4, &[&path, "announces more than 16777216 bytes"]);
    // A file: against the size that the index gives, or none.
    let bench = Bench::with_old(Form { hashes: false, ..Form::FULL });
    let wheel = bench.shelf.wheel("triton");
    let path = bench.shelf.file_path("triton");
    bench.web.route(&path, bench.shelf.file(&wheel).claims(GB));
    let size = wheel.archive().len().to_string();
    bench.refuses(4, &[&path, "has 1073741824 bytes, and the index says ", &size, "help: "]);
    let bench = Bench::with_old(Form { hashes: false, ..Form::PLAIN });
    bench.web.route(&path, bench.shelf.file(&wheel).claims(GB));
    bench.refuses(4, &[&path, "promised 1073741824 bytes and sent ", &size]);
    bench.web.route(&path, bench.shelf.file(&wheel).claims(GB * 30));
    bench.refuses(4, &[&path, "announces more than 21474836480 bytes"]);
}

#[test]
fn pages_of_no_index_are_told_as_such() {
    let bench = Bench::with_old(Form::FULL);
    let path = bench.shelf.page_path("torch");
    let typed = |text: &str, kind: &str| Route::ok(text).header("Content-Type", kind);
    for (route, words) in [
        (Route::ok("<html>"), "no Content-Type"),
        (typed("%PDF", "application/pdf"), "`application/pdf`"),
        (typed("{", JSON), "JSON that is none of an index"),
        (typed("[]", JSON), "JSON that is none of an index"),
        (typed(&"[".repeat(100_000), JSON), "JSON that is none of an index"),
        (typed(r#"{"meta":{"api-version":"2.0"},"files":[]}"#, JSON), "version 2.0"),
        (typed("", "text/html").header("Content-Encoding", "br"), "cannot be decompressed"),
        (
            typed("no gzip", "text/html").header("Content-Encoding", "gzip"),
            "cannot be decompressed",
        ),
    ] {
        bench.web.route(&path, route);
        bench.refuses(4, &[&path, words]);
    }
    for (status, words) in [
        (401, "may not be read (HTTP 401)"),
        (403, "may not be read (HTTP 403)"),
        (418, "answered HTTP 418"),
        (500, "answered HTTP 500"),
    ] {
        bench.web.route(&path, Route::status(status));
        bench.refuses(4, &[&path, words]);
    }
    for status in [404, 410] {
        bench.web.route(&path, Route::status(status));
        bench.refuses(1, &["PyPI has no file of torch", "there is no such package", "help: "]);
    }
}

// ---- hostile pages ----

#[test]
fn hostile_names_create_nothing_and_are_never_taken() {
    let good = Bench::new();
    good.lock(&[]).says(0, &[]);
    let root = folder(&[("project/keep", "")]);
    let project = root.path().join("project");
    let mut bench = Bench::of(Form::PLAIN);
    bench.cache = tempfile::tempdir_in(root.path()).expect("a folder");
    let digest = "0".repeat(64);
    let names = [
        "../../x.whl",
        "/../../../filelock-9.0.0-py3-none-any.whl/..",
        "..%2f..%2ffilelock-9.0.1-py3-none-any.whl",
        "/files/..%5c..%5cfilelock-9.0.2-py3-none-any.whl",
        "javascript:alert('filelock-9.0.3-py3-none-any.whl')",
        "file:///tmp/filelock-9.0.4-py3-none-any.whl",
        "data:text/html,filelock-9.0.5-py3-none-any.whl",
        "/files/filelock-9.0.6-py3-none-any.whl%0a[[target]]",
        "/files/filelock-9.0.7-py3-none-any.whl&quot;",
        "/files/%22filelock-9.0.8-py3-none-any.whl",
        "/files/filelock-9.0.9%00-py3-none-any.whl",
        "/files/evil-9.9.9-py3-none-any.whl",
        "http://[::1/filelock-9.1.0-py3-none-any.whl",
        "mailto:filelock-9.1.1-py3-none-any.whl",
        "/files/filelock-9.1.2-py3-none-any.whl%1b[31m",
        "",
        "#",
    ];
    let mut page = String::from("<html><body>");
    for name in names {
        page += &format!("<a href=\"{name}#sha256={digest}\">{name}</a>\n");
    }
    // Digests that are none.
    page += "<a href=\"/files/filelock-9.2.0-py3-none-any.whl#sha256=../../x\">x</a>";
    page += "<a href=\"/files/filelock-9.2.1-py3-none-any.whl#sha256=00\">x</a>";
    for wheel in bench.shelf.wheels.iter().filter(|wheel| wheel.name == "filelock") {
        let (file, hex) = (&wheel.file, wheel.sha256().hex().to_owned());
        page += &format!("<a href=\"/files/{file}#sha256={hex}\">{file}</a>");
    }
    let page = Route::ok(page).header("Content-Type", "text/html");
    bench.web.route(&bench.shelf.page_path("filelock"), page);
    let run = finish(&mut bench.command_in(&project, &[]));
    run.says(0, &["wrote gpuseal.lock"]);
    let text = fs_err::read_to_string(project.join("gpuseal.lock")).expect("a lock");
    assert_eq!(portless(&text, &bench.web), portless(&good.text(), &good.web));
    assert_eq!(files(&project), ["gpuseal.lock", "keep"]);
    assert_eq!(files(root.path()).len(), 2, "{:?}", files(root.path()));
    assert!(below(root.path()).iter().all(|(path, _)| !path.to_string_lossy().ends_with("whl")));
    // In JSON the name stands beside the address.
    let mut bench = Bench::new();
    bench.cache = tempfile::tempdir_in(root.path()).expect("a folder");
    let mut page: serde_json::Value =
        serde_json::from_slice(&body(&bench, "filelock")).expect("JSON");
    for name in [
        "../../filelock-9.0.0-py3-none-any.whl",
        "/filelock-9.0.0-py3-none-any.whl",
        "filelock-9.0.0-py3-none-any.whl\n[[target]]",
        "filelock-9.0.0-py3-none-any.whl\"",
        "..\\filelock-9.0.0-py3-none-any.whl",
        "",
    ] {
        let url = format!("/files/{}", name.trim_start_matches(['.', '/', '\\']));
        page["files"].as_array_mut().expect("files").push(serde_json::json!({
            "filename": name, "url": url, "hashes": { "sha256": digest },
        }));
    }
    let page = Route::ok(page.to_string()).header("Content-Type", JSON);
    bench.web.route(&bench.shelf.page_path("filelock"), page);
    finish(&mut bench.command_in(&project, &["--upgrade"])).says(0, &[]);
    let text = fs_err::read_to_string(project.join("gpuseal.lock")).expect("a lock");
    assert_eq!(portless(&text, &bench.web), portless(&good.text(), &good.web));
    assert_eq!(files(root.path()).len(), 3);
}

/// A page as the server has it.
fn body(bench: &Bench, name: &str) -> Vec<u8> {
    bench.shelf.page(name).text().to_vec()
}

#[test]
fn a_page_of_a_hundred_thousand_links_is_read() {
    let bench = Bench::of(Form::PLAIN);
    let mut page = String::from_utf8(body(&bench, "filelock")).expect("a page");
    let digest = "0".repeat(64);
    for number in 0..100_000 {
        page +=
            &format!("<a href=/files/filelock-0.{number}-py3-none-any.whl#sha256={digest}>x</a>\n");
    }
    let page = Route::ok(page).header("Content-Type", "text/html");
    bench.web.route(&bench.shelf.page_path("filelock"), page);
    bench.lock(&[]).says(0, &["wrote"]);
    assert!(bench.text().contains("filelock-3.20.0"));
    let page = "<a href=x-1-py3-none-any.whl>".repeat(200_001);
    let page = Route::ok(page).header("Content-Type", "text/html");
    bench.web.route(&bench.shelf.page_path("filelock"), page);
    let mut command = bench.command(&["--upgrade"]);
    bench.refuses_with(&mut command, 4, &["more than 200000 files", "help: check the address"]);
}

#[test]
fn words_of_the_index_do_not_steer_the_terminal() {
    let mut bench = Bench::new();
    let why = "bad\u{1b}[2J\u{1b}]0;title\u{7}\nerror: forged\r\u{9b}31m";
    for file in ["filelock-3.19.0", "filelock-3.20.0"] {
        let wheel = Wheel::new(&format!("{file}-py3-none-any.whl")).yanked(why);
        bench.shelf.swap(wheel);
    }
    let torch = torch(Some("13.2"));
    let metadata = torch.metadata.replace(
        "Requires-Dist: filelock\n",
        "Requires-Dist: filelock==3.20.0\nRequires-Dist: ???\u{1b}[31m\n",
    );
    bench.shelf.swap(torch.says(&metadata));
    bench.shelf.status.push(("filelock".into(), "archived".into(), why.into()));
    bench.publish();
    for args in [&["--color", "always", "--upgrade"][..], &["--upgrade", "-v"]] {
        let run = bench.lock(args);
        assert_eq!(run.code, 0, "{}", run.all());
        let all = run.all();
        assert!(all.contains("is yanked: bad"), "{all}");
        for bad in ["\u{1b}[2J", "\u{1b}]0", "\u{7}", "\r", "\u{9b}", "\nerror: forged"] {
            assert!(!all.contains(bad), "{bad:?} in {all:?}");
        }
    }
}

// ---- what an index says of its releases ----

#[test]
fn yanked_quarantined_and_unfit_releases_are_passed_over() {
    let mut bench = Bench::new();
    let newest = Wheel::pure("filelock", "3.21.0");
    bench.shelf.add(newest.clone().yanked("broken on NFS"));
    bench.shelf.add(Wheel::pure("filelock", "3.22.0").python(">=3.13"));
    bench.shelf.add(Wheel::pure("filelock", "4.0.0rc1"));
    // A range that nobody can read binds nobody, as in pip.
    bench.shelf.swap(Wheel::pure("filelock", "3.20.0").python("three"));
    for json in [true, false] {
        bench.shelf.form.json = json;
        bench.publish();
        bench.lock(&["--upgrade", "--no-cache"]).says(0, &[]);
        assert_eq!(version(&bench.locked(), "filelock"), "3.20.0");
    }
    // Locked before it was yanked, it stays, and is told.
    bench.shelf.swap(newest.clone());
    bench.publish();
    bench.lock(&["--upgrade", "--no-cache"]).says(0, &[]);
    assert_eq!(version(&bench.locked(), "filelock"), "3.21.0");
    bench.shelf.swap(newest.yanked("broken on NFS"));
    bench.publish();
    let run = bench.lock(&["--upgrade-package", "triton", "--no-cache"]);
    run.says(0, &["note: filelock 3.21.0 is yanked: broken on NFS"]);
    assert_eq!(version(&bench.locked(), "filelock"), "3.21.0");
    // Nothing but yanked releases.
    let mut bench = Bench::with_old(Form::FULL);
    for version in ["3.19.0", "3.20.0"] {
        bench.shelf.swap(Wheel::pure("filelock", version).yanked(""));
    }
    bench.publish();
    bench.refuses(1, &["PyPI has no file of filelock", "yanked", "help: "]);
    for (status, words) in [("quarantined", "quarantined"), ("archived", ""), ("deprecated", "")] {
        let mut bench = Bench::with_old(Form::FULL);
        bench.shelf.status.push(("filelock".into(), status.into(), "malware".into()));
        bench.publish();
        if words.is_empty() {
            let told = format!("note: filelock is {status}: malware");
            bench.lock(&["--upgrade"]).says(0, &[&told]);
        } else {
            bench.refuses(1, &["filelock", words, "help: "]);
        }
    }
}

/// The version of a package in the first target.
fn version(lock: &Lockfile, name: &str) -> String {
    let package = lock.targets[0].packages.iter().find(|p| p.name.as_str() == name);
    package.and_then(|p| p.version.as_ref()).expect("a version").to_string()
}

#[test]
fn files_that_are_not_what_their_name_says_are_refused() {
    let ranged = Form { sidecars: false, ..Form::FULL };
    let whole = Form { hashes: false, ..ranged };
    for form in [ranged, whole] {
        let mut bench = Bench::with_old(form);
        let good = bench.shelf.wheel("triton");
        let other = "Metadata-Version: 2.1\nName: evil\nVersion: 6.6.6\n";
        for (wheel, words) in [
            (good.clone().says(other), &["is that of evil 6.6.6"][..]),
            (good.clone().says("nothing"), &["cannot be read", "Name"]),
            (good.clone().bytes(b"<html>not found</html>"), &["cannot be read as a wheel"]),
            (good.clone().bytes(b""), &["cannot be read as a wheel"]),
            (good.clone().bytes(&filler(100_000)), &["cannot be read as a wheel"]),
            (good.clone().bytes(&good.archive()[..good.archive().len() - 9]), &["cannot be read"]),
        ] {
            bench.shelf.swap(wheel);
            bench.publish();
            let words: Vec<_> = [&[&*good.file, "help: "][..], words].concat();
            bench.refuses_with(&mut bench.command(&["--upgrade", "--no-cache"]), 4, &words);
        }
    }
    // Beside the file.
    let mut bench = Bench::with_old(Form::FULL);
    let good = bench.shelf.wheel("triton");
    bench.shelf.swap(good.says("Metadata-Version: 2.1\nName: triton\nVersion: 3.9.1\n"));
    bench.publish();
    bench.refuses(4, &["is that of triton 3.9.1"]);
}

#[test]
fn a_build_for_no_cuda_or_another_is_refused() {
    for (cuda, shown) in [(None, "none: it is a CPU build"), (Some("13.0"), "says 13.0")] {
        for form in [Form::FULL, Form { hashes: false, ..Form::FULL }] {
            let mut bench = Bench::with_old(form);
            bench.shelf.swap(torch(cuda));
            bench.publish();
            bench.refuses(
                1,
                &["CUDA of torch", "the matrix says 13.2", TORCH, shown, "help: the file wins"],
            );
        }
    }
    let mut bench = Bench::with_old(Form::FULL);
    bench.shelf.swap(Wheel::new(TORCH).requires(REQUIRES));
    bench.publish();
    bench.refuses(4, &[TORCH, "torch/version.py", "help: "]);
    // Where the whole file was read, the code inside is held against the cards.
    let mut bench = Bench::with_old(Form { hashes: false, ..Form::FULL });
    let library = b"\x7fELF\0sm_75 sm_80 sm_86\0tail".as_slice();
    bench.shelf.swap(torch(Some("13.2")).member("torch/lib/libtorch_python.so", library));
    bench.publish();
    bench.refuses(1, &["code for", "H100", "sm_90", "sm_75 sm_80 sm_86", TORCH]);
}

#[test]
fn where_file_and_matrix_differ_the_file_wins_and_is_told() {
    let mut bench = Bench::new();
    let requires: Vec<String> =
        REQUIRES.iter().map(|line| line.replace("9.26.0.51", "9.27.0.1")).collect();
    let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
    bench.shelf.swap(Wheel::new(TORCH).requires(&requires).build("2.15.0", Some("13.2")));
    bench.shelf.add(Wheel::new("nvidia_cudnn_cu13-9.27.0.1-py3-none-manylinux_2_27_x86_64.whl"));
    bench.publish();
    bench.lock(&[]).says(
        0,
        &["warning[matrix-mismatch]", "cuDNN: the matrix says 9.26.0.51, the file says 9.27.0.1"],
    );
    let lock = bench.locked();
    assert_eq!(version(&lock, "nvidia-cudnn-cu13"), "9.27.0.1");
    assert_eq!(lock.targets[0].cudnn.expect("cuDNN").to_string(), "9.27.0.1");
    // It stays so without a question, and is no drift.
    let (text, asked) = (bench.text(), bench.web.log().len());
    bench.lock(&[]).says(0, &["unchanged"]);
    bench.lock(&["--check"]).says(0, &["up to date"]);
    assert_eq!((bench.text(), bench.web.log().len()), (text, asked));
}

// ---- offline ----

#[test]
fn offline_gives_the_same_bytes_from_the_cache_and_asks_nobody() {
    let bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let (text, asked) = (bench.text(), bench.web.log().len());
    // An old and complete lock keeps all it has, cache or not.
    let empty = folder(&[]);
    let mut command = bench.command(&["--offline"]);
    finish(command.env("GPUSEAL_CACHE_DIR", empty.path())).says(0, &["unchanged"]);
    // No lock, a warm cache.
    fs_err::remove_file(bench.path()).expect("a lock");
    bench.lock(&["--offline"]).says(0, &["wrote gpuseal.lock"]);
    assert_eq!(bench.text(), text);
    // No lock, an empty cache.
    fs_err::remove_file(bench.path()).expect("a lock");
    let mut command = bench.command(&["--offline"]);
    finish(command.env("GPUSEAL_CACHE_DIR", empty.path()))
        .says(0, &["files are not fetched", "is not in the cache"]);
    assert!(bench.text().contains("hash = \"unfetched\""));
    assert!(!bench.text().contains("sha256 = "));
    assert_eq!(bench.web.log().len(), asked);
    // What is missing is fetched by the next run.
    bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
    assert_eq!(bench.text(), text);
}

#[test]
fn a_damaged_cache_is_never_served() {
    let bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let text = bench.text();
    let whole = below(bench.cache.path());
    assert!(whole.len() > 2 * COUNT, "{whole:?}");
    let damages: [fn(&[u8]) -> Vec<u8>; 6] = [
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        |bytes| flipped(bytes, bytes.len() / 2),
        |bytes| flipped(bytes, bytes.len() - 1),
        |bytes| flipped(bytes, 0),
    ];
    for damage in damages {
        for offline in [true, false] {
            for (path, bytes) in &whole {
                fs_err::write(path, damage(bytes)).expect("a file");
            }
            fs_err::remove_file(bench.path()).expect("a lock");
            if offline {
                bench.lock(&["--offline"]).says(0, &["files are not fetched"]);
                assert!(!bench.text().contains("hash = \"sha256:"), "{}", bench.text());
            } else {
                let before = bench.web.log().len();
                bench.lock(&[]).says(0, &[]);
                assert_eq!(bench.text(), text);
                assert!(bench.web.log().len() > before);
            }
        }
    }
    // One entry after the other, and one in the place of another.
    for at in 0..whole.len() {
        for other in
            [&flipped(&whole[at].1, whole[at].1.len() / 2), &whole[(at + 1) % whole.len()].1]
        {
            for (path, bytes) in &whole {
                fs_err::write(path, bytes).expect("a file");
            }
            fs_err::write(&whole[at].0, other).expect("a file");
            fs_err::remove_file(bench.path()).expect("a lock");
            let run = bench.lock(&["--offline"]);
            run.says(0, &[]);
            // What is not in the closure may be damaged.
            assert!(
                bench.text() == text || bench.text().contains("hash = \"unfetched\""),
                "{}: {}",
                whole[at].0.display(),
                bench.text()
            );
        }
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

// ---- what changes, and what does not ----

/// Lines that are not in both texts.
fn changed(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

#[test]
fn a_lock_keeps_its_versions_until_it_is_told_otherwise() {
    let mut bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let old = bench.text();
    let before = files(bench.project.path());
    bench.shelf.add(Wheel::pure("filelock", "3.30.0").member("filelock.py", b"new"));
    bench.shelf.add(Wheel::new("triton-3.9.1-cp312-cp312-manylinux_2_28_x86_64.whl"));
    bench.publish();
    let none = ["--no-cache"];
    bench.lock(&none).says(0, &["unchanged"]);
    assert_eq!(bench.text(), old);
    // A dry run says what would change, and changes nothing.
    let run = bench.lock(&["--dry-run", "--upgrade-package", "filelock", "--no-cache"]);
    run.says(0, &["3.20.0", "3.30.0"]);
    assert!(!run.stdout.contains("triton"), "{}", run.stdout);
    assert_eq!((bench.text(), files(bench.project.path())), (old.clone(), before));
    // One package.
    bench.lock(&["--upgrade-package", "FileLock", "--no-cache"]).says(0, &["wrote"]);
    let one = bench.text();
    assert!(one.contains("filelock-3.30.0") && !one.contains("triton-3.9.1"));
    let lines = changed(&old, &one);
    assert!(lines.len() <= 10 && !lines.is_empty(), "{lines:#?}");
    let ours = ["filelock", "version = \"3.", "size = ", "hash = \"sha256:"];
    assert!(lines.iter().all(|line| ours.iter().any(|part| line.contains(part))), "{lines:#?}");
    // Everything.
    bench.lock(&["--upgrade", "--no-cache"]).says(0, &["wrote"]);
    assert!(bench.text().contains("filelock-3.30.0") && bench.text().contains("triton-3.9.1"));
    // A name that nobody knows.
    bench.refuses_with(&mut bench.command(&["--check", "--upgrade"]), 2, &[]);
}

const YAML: &str = "# What the tests lock.\ntorch: \"2.15.0\"\npython: \"3.12\"\ntargets:\n  train: { gpus: [h100], driver: \"595.45.04\" }\n";

#[test]
fn a_changed_wish_is_seen_by_check_line_by_line() {
    let mut bench = Bench::new();
    bench.asked.clear();
    let edit = |from: &str, to: &str| {
        assert!(YAML.contains(from));
        write(bench.project.path(), "gpuseal.yaml", YAML.replace(from, to));
    };
    edit("train", "train");
    bench
        .lock(&["--check"])
        .says(1, &["error[lock-stale]: there is no `", "help: run `gpuseal lock`"]);
    bench.lock(&[]).says(0, &["wrote"]);
    let (old, asked) = (bench.text(), bench.web.log().len());
    bench.lock(&["--check"]).says(0, &["up to date"]);
    for (from, to, words) in [
        ("h100", "h100, l4", &["l4"][..]),
        ("595.45.04", "580.65.06", &["595.45.04", "580.65.06"]),
        ("python: \"3.12\"", "python: \"3.13\"", &["3.12", "3.13"]),
        ("torch: \"2.15.0\"", "torch: \"2.14.1\"", &["2.15.0", "2.14.1"]),
        ("train:", "serve:", &["train", "serve"]),
    ] {
        edit(from, to);
        for flag in ["--check", "--locked"] {
            let run = bench.lock(&[flag]);
            run.says(1, &["error[lock-stale]: `", "is out of date", "help: run `gpuseal lock`"]);
            run.says(1, words);
        }
        // It is taken as it stands.
        bench.lock(&["--frozen"]).says(0, &[]);
        assert_eq!(
            (bench.text(), files(bench.project.path())),
            (old.clone(), vec!["gpuseal.lock".to_owned(), "gpuseal.yaml".to_owned(),])
        );
    }
    assert_eq!(bench.web.log().len(), asked, "a check asks nobody");
    // What changes nothing is no drift.
    edit("# What the tests lock.\n", "# Other words.\n\n");
    bench.lock(&["--check"]).says(0, &["up to date"]);
    // Another card is locked without a question: its files are known.
    edit("h100", "h200");
    bench.lock(&["--check"]).says(1, &[]);
    bench.lock(&[]).says(0, &["wrote"]);
    bench.lock(&["--check"]).says(0, &["up to date"]);
}

#[test]
fn a_lock_that_is_none_of_ours_is_explained_and_left_alone() {
    let bench = Bench::with_old(Form::FULL);
    let old = old_lock();
    let conflict =
        format!("<<<<<<< HEAD\n{old}=======\n{}>>>>>>> other\n", old.replace("3.20.0", "3.19.0"));
    for (text, words) in [
        (conflict, &["conflict", "help: "][..]),
        (old.replace("version = 1\n", "version = 2\n"), &["version 2", "help: "]),
        ("not a lock".into(), &["gpuseal.lock", "help: "]),
        (String::new(), &["gpuseal.lock", "help: "]),
        (old[..old.len() / 2].into(), &["gpuseal.lock", "help: "]),
        (old.replace("hash = \"sha256:", "hash = \"sha256:x"), &["hash", "help: "]),
        (old.replace(".whl\"", "/../x.whl\""), &["gpuseal.lock", "help: "]),
    ] {
        write(bench.project.path(), "gpuseal.lock", &text);
        for args in [&[][..], &["--upgrade"], &["--check"], &["--frozen"]] {
            bench.refuses_with(&mut bench.command(args), 2, words);
        }
    }
    assert!(bench.web.log().is_empty());
    // A later revision is read, but not written over.
    write(
        bench.project.path(),
        "gpuseal.lock",
        old.replace("revision = 1\n", "revision = 2\n")
            .replace("cuda = ", "moon = \"full\"\ncuda = "),
    );
    bench.lock(&["--check"]).says(0, &["up to date"]);
    bench.refuses(2, &["gpuseal.lock", "revision 2", "help: "]);
    // Told to replace it.
    bench.lock(&["--upgrade", "--force"]).says(0, &["wrote"]);
    assert_eq!(bench.locked().targets[0].packages.len(), COUNT);
}

// ---- mirrors ----

const CU126: &str = "torch-2.14.1+cu126-cp312-cp312-manylinux_2_28_x86_64.whl";

/// The PyTorch wheel index's page of a build, and PyPI's part of the rest.
fn two_shelves() -> (Shelf, Shelf) {
    let requires = [
        "filelock",
        "cuda-toolkit[cublas]==12.6.3; platform_system == \"Linux\"",
        "cuda-bindings<13,>=12.9.4; platform_system == \"Linux\"",
        "nvidia-nvjitlink-cu12<13,>=12.6.85; platform_system == \"Linux\"",
        "nvidia-cudnn-cu12==9.10.2.21; platform_system == \"Linux\"",
        "nvidia-nccl-cu12==2.29.3; platform_system == \"Linux\"",
        "nvidia-cusparselt-cu12==0.7.1; platform_system == \"Linux\"",
        "nvidia-nvshmem-cu12==3.4.5; platform_system == \"Linux\"",
        "triton~=3.8.0; platform_system == \"Linux\"",
    ];
    let mut build = Shelf::at("/whl/cu126", "/whl/cu126");
    build.form = Form::PLAIN;
    build
        .add(Wheel::new(CU126).requires(&requires).build("2.14.1+cu126", Some("12.6")))
        // Old copies of common packages lie there too.
        .add(Wheel::pure("filelock", "9.9.9"))
        .add(Wheel::pure("cuda-toolkit", "12.6.3"))
        .add(Wheel::new("nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl"))
        .add(Wheel::new("nvidia_nccl_cu12-2.29.3-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_cusparselt_cu12-0.7.1-py3-none-manylinux2014_x86_64.whl"))
        .add(Wheel::new("triton-3.8.0-cp312-cp312-manylinux_2_28_x86_64.whl"));
    let mut pypi = Shelf::at("/simple", "/files");
    pypi.add(Wheel::pure("filelock", "3.20.0"))
        .add(Wheel::new("cuda_bindings-12.9.4-cp312-cp312-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("nvidia_nvjitlink_cu12-12.9.86-py3-none-manylinux_2_28_x86_64.whl"))
        // Another version on the build's own index: there it has to be looked for first.
        .add(Wheel::new("nvidia_nccl_cu12-2.30.0-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_nvshmem_cu12-3.4.5-py3-none-manylinux_2_28_x86_64.whl"));
    (build, pypi)
}

#[test]
fn with_mirrors_no_request_goes_elsewhere_and_the_lock_names_them() {
    let mut bench = Bench::new();
    let (build, pypi) = two_shelves();
    let [own, pypis] = [Web::start([]), Web::start([])];
    build.publish(&own);
    pypi.publish(&pypis);
    // That is how the PyTorch wheel index says that there is no such package, and how it does not.
    own.route("/whl/cu126/nvidia-nvjitlink-cu12/", Route::status(403));
    own.route("/whl/cu126/cuda-bindings/", Route::status(403));
    bench.asked = ["--cuda", "cu126", "--python", "3.12", "--gpu", "h100", "--driver", "550.54.14"]
        .map(String::from)
        .to_vec();
    let mirrored = |args: &[&str]| {
        let mut command = bench.command(args);
        command
            .env("GPUSEAL_MIRROR_PYTORCH", own.url("/whl").as_str())
            .env("GPUSEAL_MIRROR_PYPI", pypis.url("/simple").as_str());
        command
    };
    finish(&mut mirrored(&["-v"])).says(0, &["wrote gpuseal.lock"]);
    assert!(bench.web.log().is_empty(), "a request has gone past the mirrors");
    let (text, lock) = (bench.text(), bench.locked());
    let of = |name: &str| {
        let package = lock.targets[0].packages.iter().find(|p| p.name.as_str() == name);
        package.expect(name).index.to_string()
    };
    assert_eq!(of("torch"), "pytorch-cu126");
    assert_eq!(of("nvidia-cudnn-cu12"), "pytorch-cu126");
    assert_eq!(of("nvidia-nccl-cu12"), "pytorch-cu126");
    assert_eq!(of("nvidia-nvjitlink-cu12"), "pypi");
    assert_eq!(of("nvidia-nvshmem-cu12"), "pypi");
    assert_eq!(of("filelock"), "pypi");
    assert_eq!(version(&lock, "filelock"), "3.20.0");
    assert_eq!(own.hits("/whl/cu126/filelock/"), 0, "only what belongs to the GPU is asked there");
    assert_eq!(text.matches("[[mirror]]").count(), 2);
    for url in [own.url("/whl"), pypis.url("/simple")] {
        assert!(text.contains(&format!("at = \"{url}\"")), "{text}");
    }
    assert!(!text.contains("download.pytorch.org/whl/cu126/torch"), "{text}");
    // Again: nobody is asked.
    let asked = (own.log().len(), pypis.log().len());
    finish(&mut mirrored(&[])).says(0, &["unchanged"]);
    finish(&mut mirrored(&["--check"])).says(0, &[]);
    assert_eq!((own.log().len(), pypis.log().len()), asked);
    assert_eq!(bench.text(), text);
    // torch itself is not there.
    own.route("/whl/cu126/torch/", Route::status(403));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        1,
        &["pytorch-cu126 has no file of torch", "there is no such package", "help: "],
    );
    // A refusal on PyPI is one.
    build.publish(&own);
    pypis.route("/simple/filelock/", Route::status(403));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        4,
        &["/simple/filelock/", "HTTP 403"],
    );
    // The PyTorch mirror refuses files of PyPI's mirror: each has its own fence.
    pypi.publish(&pypis);
    let link = format!("<a href=\"{}\">x</a>", pypis.url(&format!("/{CU126}").replace('+', "%2B")));
    own.route("/whl/cu126/torch/", Route::ok(link).header("Content-Type", "text/html"));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        4,
        &[&own.addr.to_string(), &pypis.addr.to_string(), "is not among the mirrors"],
    );
}

#[test]
fn a_mirror_in_the_file_counts_like_one_in_the_environment() {
    let mut bench = Bench::new();
    bench.asked.clear();
    let yaml = format!("{YAML}mirrors: {{ pypi: \"{}\" }}\n", bench.web.url("/simple"));
    write(bench.project.path(), "gpuseal.yaml", yaml);
    let mut command = bench.command(&[]);
    finish(command.env("PIP_INDEX_URL", "http://nowhere.test/simple")).says(0, &["wrote"]);
    assert!(bench.text().contains("[[mirror]]"));
    let bad = ["ftp://example.org/simple", "http://u:p@example.org/simple", "nowhere", "http://"];
    for mirror in bad {
        let mut command = bench.command(&["--upgrade"]);
        let run = bench.refuses_with(command.env("GPUSEAL_MIRROR_PYPI", mirror), 2, &["help: "]);
        assert!(!run.all().contains("u:p@"), "{}", run.all());
    }
}

// ---- secrets ----

#[test]
fn credentials_are_sent_to_their_server_alone_and_written_nowhere() {
    const SECRET: &str = "s3cr3t-pass";
    let bench = Bench::of(Form { sidecars: false, ..Form::FULL });
    let only = |route: Route| route.only("alice", SECRET);
    for name in bench.shelf.names() {
        bench.web.route(&bench.shelf.page_path(&name), only(bench.shelf.page(&name)));
    }
    for wheel in bench.shelf.wheels.clone() {
        bench.web.route(&format!("/files/{}", wheel.file), only(bench.shelf.file(&wheel)));
    }
    // One file lies elsewhere: nothing goes there.
    let elsewhere = Web::start([]);
    let triton = bench.shelf.wheel("triton");
    elsewhere.route("/stored", bench.shelf.file(&triton));
    let to = elsewhere.url("/stored");
    bench.web.route(&bench.shelf.file_path("triton"), only(Route::redirect(to.as_str())));
    let url = bench.web.url_of(&format!("alice:{SECRET}"), "/simple").to_string();
    let run = finish(bench.command(&["-v"]).env("PIP_INDEX_URL", &url));
    run.says(0, &["wrote gpuseal.lock"]);
    let silent = |text: &str| {
        for word in [SECRET, "alice", "YWxpY2U6"] {
            assert!(!text.contains(word), "`{word}` in {text}");
        }
    };
    silent(&run.all());
    silent(&bench.text());
    for (path, bytes) in below(bench.cache.path()) {
        silent(&path.to_string_lossy());
        silent(&String::from_utf8_lossy(&bytes));
    }
    assert!(elsewhere.log().iter().all(|hit| hit.header("authorization").is_none()));
    assert!(!elsewhere.log().is_empty());
    // Wrong ones.
    let wrong = bench.web.url_of("alice:other-s3cr3t", "/simple").to_string();
    let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
    let words = ["HTTP 401", "the credentials were refused", "help: check the credentials"];
    let run = bench.refuses_with(command.env("PIP_INDEX_URL", wrong), 4, &words);
    assert!(!run.all().contains("other-s3cr3t"), "{}", run.all());
    // None, then those of netrc.
    let words = ["HTTP 401", "help: if the index wants credentials, put them into ~/.netrc"];
    bench.refuses_with(&mut bench.command(&["--upgrade", "--no-cache"]), 4, &words);
    let home = folder(&[]);
    let line = format!("machine 127.0.0.1 login alice password {SECRET}\n");
    write(home.path(), "netrc", line);
    let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
    let run = finish(command.env("NETRC", home.path().join("netrc")));
    run.says(0, &[]);
    silent(&run.all());
    silent(&bench.text());
    // A failure names the address without them.
    bench.web.route(&bench.shelf.page_path("triton"), Route::status(500));
    let mut command = bench.command(&["--upgrade", "--no-cache"]);
    let run = bench.refuses_with(command.env("PIP_INDEX_URL", &url), 4, &["HTTP 500"]);
    silent(&run.all());
}

#[cfg(unix)]
#[test]
fn the_keyring_is_asked_by_its_command_where_pip_would_ask_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::new();
    for name in bench.shelf.names() {
        let page = bench.shelf.page(&name).only("alice", "from-the-ring");
        bench.web.route(&bench.shelf.page_path(&name), page);
    }
    let bin = folder(&[("keyring", "#!/bin/sh\necho \"$@\" >> \"$0.log\"\necho from-the-ring\n")]);
    let program = bin.path().join("keyring");
    let runs = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(&program, runs).expect("a mode");
    let path = std::env::join_paths([bin.path(), Path::new("/bin"), Path::new("/usr/bin")]);
    let path = path.expect("a search path");
    let url = bench.web.url_of("alice", "/simple").to_string();
    let signed = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("PIP_INDEX_URL", &url).env("PATH", &path);
        command
    };
    bench.refuses_with(&mut signed(&[]), 4, &["HTTP 401", "help: "]);
    assert_eq!(files(bin.path()), ["keyring"], "it was asked although nobody wants that");
    let mut command = signed(&["-v"]);
    let run = finish(command.env("PIP_KEYRING_PROVIDER", "subprocess"));
    run.says(0, &["wrote gpuseal.lock"]);
    for text in [run.all(), bench.text()] {
        assert!(!text.contains("from-the-ring") && !text.contains("alice"), "{text}");
    }
    let asked = fs_err::read_to_string(bin.path().join("keyring.log")).expect("a log");
    assert!(asked.lines().count() <= 2, "{asked}");
}

// ---- the way there ----

#[test]
fn proxies_are_used_but_for_those_that_need_none() {
    let bench = Bench::new();
    let proxy = Web::start([]);
    bench.shelf.publish(&proxy);
    let at = proxy.url("/").to_string();
    let proxied = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("http_proxy", &at).env("PIP_INDEX_URL", "http://pypi.test/simple");
        command
    };
    finish(&mut proxied(&[])).says(0, &["wrote gpuseal.lock"]);
    assert!(proxy.log().iter().all(|hit| hit.target.starts_with("http://pypi.test/")));
    let asked = proxy.log().len();
    let mut command = bench.command(&["--upgrade", "--no-cache"]);
    finish(command.env("http_proxy", &at).env("NO_PROXY", "127.0.0.1")).says(0, &["wrote"]);
    assert_eq!(proxy.log().len(), asked);
    // One that is not there.
    let mut command = proxied(&["--upgrade", "--no-cache"]);
    command.env("http_proxy", "http://127.0.0.1:9/");
    bench.refuses_with(
        &mut command,
        4,
        &["cannot reach `http://pypi.test/simple/", "help: check the network; behind a proxy"],
    );
}

#[test]
fn a_cache_that_cannot_be_written_costs_time_alone() {
    let good = Bench::new();
    good.lock(&[]).says(0, &[]);
    let bench = Bench::new();
    let file = write(bench.cache.path(), "cache", "a file");
    let mut command = bench.command(&[]);
    finish(command.env("GPUSEAL_CACHE_DIR", &file))
        .says(0, &["wrote gpuseal.lock", "nothing is kept in the cache"]);
    assert_eq!(portless(&bench.text(), &bench.web), portless(&good.text(), &good.web));
    // And none at all is no trouble.
    bench.lock(&["--upgrade", "--no-cache"]).says(0, &[]);
    assert_eq!(files(bench.cache.path()), ["cache"]);
}

#[test]
fn what_several_targets_need_is_asked_for_once() {
    let mut bench = Bench::of(Form { sidecars: false, ..Form::FULL });
    bench.asked.clear();
    let yaml = format!("{YAML}  serve: {{ gpus: [l4], driver: \"595.45.04\" }}\n");
    write(bench.project.path(), "gpuseal.yaml", yaml);
    bench.lock(&[]).says(0, &["wrote", &format!("locked {COUNT} files of ")]);
    assert_eq!(bench.locked().targets.len(), 2);
    let (mut asked, count) = (bench.asked_for(), bench.web.log().len());
    asked.sort();
    asked.dedup();
    let parts = bench.web.hits(&bench.shelf.file_path("torch"));
    assert_eq!(asked.len(), count + 1 - parts, "{:#?}", bench.asked_for());
}

#[test]
fn a_directory_of_more_than_a_megabyte_is_read_in_parts() {
    let mut bench = Bench::of(Form { sidecars: false, ..Form::FULL });
    let mut wheel = torch(Some("13.2")).member("torch/lib/libcuda.so", &filler(4_000_000));
    for number in 0..9000 {
        wheel = wheel.member(&format!("torch/include/{}/{number}.h", "deeper/".repeat(14)), b"");
    }
    bench.shelf.swap(wheel);
    bench.publish();
    bench.lock(&[]).says(0, &["wrote"]);
    let path = bench.shelf.file_path("torch");
    let (size, sent) = (bench.shelf.wheel("torch").archive().len(), bench.web.bytes(&path));
    assert!(size > 6_000_000 && sent > 1_000_000 && sent < 3_000_000, "{sent} of {size} bytes");
    assert!(bench.web.log().iter().all(|hit| hit.target != path || hit.status == 206));
}

// ---- interruptions, races ----

#[cfg(unix)]
#[test]
fn control_c_while_an_index_is_silent_leaves_everything_as_it_was() {
    let bench = Bench::with_old(Form { hashes: false, ..Form::FULL });
    let wheel = bench.shelf.wheel("triton");
    let before = files(bench.project.path());
    for (path, route) in [
        (bench.shelf.page_path("torch"), Route::silent()),
        (bench.shelf.file_path("triton"), bench.shelf.file(&wheel).drip(Duration::from_millis(50))),
    ] {
        bench.publish();
        bench.web.route(&path, route);
        let asked = bench.web.hits(&path);
        let mut command = bench.command(&["--upgrade"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child");
        let start = Instant::now();
        while bench.web.hits(&path) == asked {
            assert!(start.elapsed() < Duration::from_secs(10), "it is not asked");
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(child.id(), "INT");
        let ended = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(130), "{said}");
        assert!(said.contains("interrupted; nothing was written"), "{said}");
        assert_eq!(
            (bench.text(), files(bench.project.path())),
            (old_lock().into(), before.clone())
        );
        assert!(
            below(bench.cache.path()).iter().all(|(p, _)| !p.to_string_lossy().contains("writing")),
            "half a file was left in the cache"
        );
    }
}

#[cfg(unix)]
fn signal(process: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(done.expect("kill").success());
}

#[test]
fn two_at_once_leave_one_whole_lock() {
    let bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let text = bench.text();
    for _ in 0..10 {
        let cache = folder(&[]);
        fs_err::remove_file(bench.path()).expect("a lock");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut command = bench.command(&[]);
                    finish(command.env("GPUSEAL_CACHE_DIR", cache.path()))
                        .says(0, &["gpuseal.lock"]);
                });
            }
        });
        assert_eq!(
            (bench.text(), files(bench.project.path())),
            (text.clone(), vec!["gpuseal.lock".into()])
        );
        assert!(
            below(cache.path()).iter().all(|(path, _)| !path.to_string_lossy().contains("writing"))
        );
    }
}

#[test]
fn the_lock_does_not_depend_on_the_order_of_anything() {
    let good = Bench::new();
    good.lock(&[]).says(0, &[]);
    let text = portless(&good.text(), &good.web);
    let mut bench = Bench::new();
    for round in 0..4u64 {
        bench.shelf.form.reversed = round % 2 == 1;
        bench.shelf.wheels.rotate_left(3);
        bench.publish();
        for (at, name) in (0u64..).zip(bench.shelf.names()) {
            let pause = Duration::from_micros((at * 7 + round * 5) % 11 * 60);
            bench.web.route(&bench.shelf.page_path(&name), bench.shelf.page(&name).drip(pause));
        }
        bench.lock(&["--upgrade", "--no-cache"]).says(0, &[]);
        assert_eq!(portless(&bench.text(), &bench.web), text);
    }
}

/// Killed at any moment, a lock is the old one or the new one, and what a cache gives is what an index
/// gave.
#[cfg(unix)]
#[test]
fn killed_at_any_moment_the_lock_is_old_or_new() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    const RUNS: usize = 200;
    let bench = Bench::new();
    let page = |pause| bench.shelf.page("filelock").drip(Duration::from_micros(pause));
    // Two wishes whose locks differ.
    let wishes = ["h100", "h200"];
    let asked = |gpu: &str, folder: &Path, cache: &Path| {
        let mut command = gpuseal(folder);
        command
            .args(["lock", "--torch", "2.15.0", "--python", "3.12", "--driver", "595.45.04"])
            .args(["--no-images", "--upgrade", "--gpu", gpu])
            .env("PIP_INDEX_URL", bench.web.url("/simple").as_str())
            .env("GPUSEAL_CACHE_DIR", cache)
            .env("GPUSEAL_HTTP_RETRIES", "0");
        command
    };
    let (project, cache) = (folder(&[]), folder(&[]));
    let texts = wishes.map(|gpu| {
        let run = finish(&mut asked(gpu, project.path(), cache.path()));
        run.says(0, &["wrote"]);
        fs_err::read_to_string(project.path().join("gpuseal.lock")).expect("a lock")
    });
    assert_ne!(texts[0], texts[1]);
    bench.web.route(&bench.shelf.page_path("filelock"), page(100));
    let start = Instant::now();
    finish(&mut asked("h100", project.path(), folder(&[]).path())).says(0, &[]);
    let whole = u64::try_from(start.elapsed().as_micros()).expect("a short time");
    let (killed, changed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let (texts, killed, changed, asked) = (&texts, &killed, &changed, &asked);
            scope.spawn(move || {
                let (project, cache) = (folder(&[]), folder(&[]));
                let path = project.path().join("gpuseal.lock");
                let mut state = worker + 1;
                let mut before = String::new();
                for run in 0..RUNS / 4 {
                    // Half of them start cold.
                    if run % 2 == 0 {
                        fs_err::remove_dir_all(cache.path()).expect("a folder");
                        fs_err::create_dir_all(cache.path()).expect("a folder");
                    }
                    let gpu = wishes[run % 2];
                    let mut child = asked(gpu, project.path(), cache.path())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn()
                        .expect("a child");
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    std::thread::sleep(Duration::from_micros((state >> 33) % (whole * 3 / 2)));
                    child.kill().expect("a child");
                    let ended = child.wait().expect("a child");
                    killed.fetch_add(usize::from(ended.code().is_none()), Ordering::Relaxed);
                    let text = fs_err::read_to_string(&path).unwrap_or_default();
                    assert!(
                        text == before || texts.contains(&text),
                        "after run {run} of worker {worker}:\n{text}"
                    );
                    changed.fetch_add(usize::from(text != before), Ordering::Relaxed);
                    before = text;
                }
                // What they left in the cache is good, or nothing.
                for (gpu, text) in wishes.into_iter().zip(texts) {
                    finish(&mut asked(gpu, project.path(), cache.path())).says(0, &[]);
                    let found = fs_err::read_to_string(&path).expect("a lock");
                    assert_eq!(found, *text, "worker {worker}");
                }
                let mut command = asked(wishes[0], project.path(), cache.path());
                finish(command.arg("--offline")).says(0, &[]);
                let found = fs_err::read_to_string(&path).expect("a lock");
                assert_eq!(found, texts[0], "worker {worker}, offline");
            });
        }
    });
    let (killed, changed) = (killed.into_inner(), changed.into_inner());
    assert!(killed > RUNS / 4 && changed > RUNS / 20, "{killed} killed, {changed} changes");
}

// ---- the project's other packages ----

#[test]
fn other_packages_need_uv() {
    let bench = Bench::with_old(Form::FULL);
    let empty = folder(&[]);
    let mut command = bench.command(&["--upgrade", "--with-deps"]);
    bench.refuses_with(
        command.env("PATH", empty.path()),
        1,
        &["there is no `uv` on the PATH", "help: install it with `pip install uv`"],
    );
}

/// The folder of uv, where this machine has it: the program itself, since a launcher in its place asks
/// every Python there is, which takes seconds.
fn folder_of_uv() -> Option<PathBuf> {
    let python =
        Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output().ok();
    let prefix = python.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let beside = prefix.map(|prefix| Path::new(&prefix).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(beside).find(|folder| {
        let launches = fs_err::read(folder.join("uv")).map(|bytes| bytes.starts_with(b"#!"));
        launches.is_ok_and(|launches| !launches)
    });
    if found.is_none() {
        #[allow(clippy::print_stderr, reason = "a test that was not run has to say so")]
        {
            eprintln!("skipped: there is no uv");
        }
    }
    found
}

#[test]
fn other_packages_are_solved_by_uv_and_locked_from_the_index() {
    let mut bench = Bench::new();
    bench.asked.clear();
    write(bench.project.path(), "gpuseal.yaml", YAML);
    write(bench.project.path(), "requirements.txt", "torch\nleft-pad<2\n");
    bench
        .shelf
        .add(Wheel::pure("left-pad", "1.2.0").requires(&["inner>=1"]))
        .add(Wheel::pure("left-pad", "2.0.0"))
        .add(Wheel::pure("inner", "1.0.0"))
        // Newest does not do, as filelock is none of ours but required by torch: that takes a solver.
        .add(Wheel::pure("inner", "1.5.0").requires(&["filelock<3"]));
    bench.publish();
    let uv_cache = folder(&[]);
    let Some(bin) = folder_of_uv() else { return };
    let path = std::env::join_paths([&*bin, Path::new("/usr/bin"), Path::new("/bin")]);
    let path = path.expect("a search path");
    let with_uv = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("PATH", &path).env("UV_CACHE_DIR", uv_cache.path());
        // It would lead uv to the PyTorch wheel index.
        command.env("UV_TORCH_BACKEND", "cu126");
        command
    };
    finish(&mut with_uv(&["--with-deps"])).says(0, &["wrote gpuseal.lock"]);
    let lock = bench.locked();
    assert!(lock.with_deps());
    assert_eq!(version(&lock, "left-pad"), "1.2.0");
    assert_eq!(version(&lock, "inner"), "1.0.0");
    assert_eq!(lock.targets[0].packages.len(), COUNT + 2, "{}", bench.text());
    let text = bench.text();
    // It stays so without being said again, and asks nobody.
    let asked = bench.web.log().len();
    bench.lock(&[]).says(0, &["unchanged"]);
    bench.lock(&["--check"]).says(0, &["up to date"]);
    assert_eq!((bench.text(), bench.web.log().len()), (text, asked));
    // Another wish is seen, and solved anew around what stays.
    write(bench.project.path(), "requirements.txt", "torch\nleft-pad<2\ninner<1.2\n");
    bench.lock(&["--check"]).says(1, &["error[lock-stale]", "other packages"]);
    finish(&mut with_uv(&[])).says(0, &["wrote"]);
    assert_eq!(version(&bench.locked(), "inner"), "1.0.0");
    assert_eq!(version(&bench.locked(), "left-pad"), "1.2.0");
    // What uv cannot solve it says itself.
    write(bench.project.path(), "requirements.txt", "torch\nleft-pad>=3\n");
    let words = ["uv finds no versions", "left-pad", "help: loosen"];
    bench.refuses_with(&mut with_uv(&[]), 1, &words);
}
