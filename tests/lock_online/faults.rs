//! Answers that break off, lead elsewhere, are too much, come late or never.

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::support::finish;
use super::support::shelf::{Form, JSON};
use super::support::web::{Route, Web};

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
        let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
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
    let mut command = bench.command(&["--upgrade", "-v"]);
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
