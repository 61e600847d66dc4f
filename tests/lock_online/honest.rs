//! Indexes that do nothing wrong, each as far as it goes.

use super::bench::{Bench, COUNT, YAML, filler, portless, size_of, torch};
use super::support::shelf::Form;
use super::support::web::{Route, Web};
use super::support::{files, finish, write};

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
    // JSON has METADATA beside the files: of all but torch no more than one part is asked for.
    let opened: Vec<_> = json
        .asked_for()
        .into_iter()
        .filter(|path| path.contains(".whl") && !path.contains(".metadata"))
        .collect();
    let asked_once = |path: &&String| opened.iter().filter(|other| other == path).count() == 1;
    assert_eq!(opened.iter().filter(asked_once).count(), COUNT - 1, "{opened:?}");
    assert!(
        opened.iter().any(|path| !asked_once(&path) && path.contains("torch-2.15.0")),
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
    #[allow(clippy::cast_precision_loss, reason = "a few megabytes")]
    let shown = format!("{:.1} MB fetched", bytes as f64 / 1e6);
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
    assert!(odd.web.bytes(&odd.shelf.file_path("torch")) < 2_150_000);
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
        &["no answer from `http://pypi.test/simple/", "help: check the network; behind a proxy"],
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

#[test]
fn pages_that_have_not_changed_are_not_sent_again() {
    let bench = Bench::new();
    for name in bench.shelf.names() {
        let page = bench.shelf.page(&name).etag("\"1\"");
        bench.web.route(&bench.shelf.page_path(&name), page);
    }
    bench.lock(&[]).says(0, &[]);
    let (text, asked) = (bench.text(), bench.web.log().len());
    let run = bench.lock(&["--upgrade", "-v"]);
    run.says(0, &["unchanged", " 304 0 B ", "0 B fetched"]);
    assert!(bench.web.log()[asked..].iter().all(|hit| hit.status == 304));
    assert_eq!(bench.text(), text);
    // A page that its server gives for a while is not even asked for.
    for name in bench.shelf.names() {
        let page = bench.shelf.page(&name).header("Cache-Control", "max-age=600");
        bench.web.route(&bench.shelf.page_path(&name), page);
    }
    bench.lock(&["--upgrade"]).says(0, &["unchanged"]);
    let asked = bench.web.log().len();
    bench.lock(&["--upgrade"]).says(0, &["unchanged", "0 requests, 0 B fetched"]);
    assert_eq!(bench.web.log().len(), asked);
}

#[test]
fn limits_that_are_none_are_refused() {
    let bench = Bench::new();
    for (name, value) in [
        ("GPUSEAL_HTTP_TIMEOUT", "0"),
        ("GPUSEAL_HTTP_TIMEOUT", "99999999999999999999"),
        ("GPUSEAL_HTTP_TIMEOUT", "soon"),
        ("GPUSEAL_HTTP_RETRIES", "-1"),
        ("GPUSEAL_HTTP_RETRIES", "21"),
    ] {
        finish(bench.command(&[]).env(name, value)).says(2, &[value]);
    }
    for url in ["nowhere", "ftp://example.org/simple", "http:///", "file:///tmp"] {
        let run = finish(bench.command(&[]).env("PIP_INDEX_URL", url));
        run.says(2, &["PIP_INDEX_URL", "help: "]);
    }
    assert!(bench.web.log().is_empty() && files(bench.project.path()).is_empty());
}

#[test]
fn other_voices_speak_of_nothing_else() {
    let bench = Bench::new();
    let run = bench.lock(&["--format", "json", "-v"]);
    run.says(0, &["GET "]);
    serde_json::from_str::<serde_json::Value>(&run.stdout).expect("one JSON document");
    let run = bench.lock(&["--upgrade", "--no-cache", "--quiet"]);
    run.says(0, &[]);
    assert_eq!(run.stderr, "");
    bench.web.route(&bench.shelf.page_path("torch"), Route::status(500));
    for format in ["json", "github"] {
        let mut command =
            bench.command(&["--upgrade", "--no-cache", "--quiet", "--format", format]);
        let run = bench.refuses_with(&mut command, 4, &["HTTP 500"]);
        assert_eq!(run.stdout.starts_with("::error"), format == "github", "{}", run.stdout);
    }
}
