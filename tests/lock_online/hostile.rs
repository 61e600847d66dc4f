//! Pages, names and files that are meant to do harm.

use std::fmt::Write as _;

use gpuseal::domain::Sha256;

use super::bench::{Bench, COUNT, below, portless, torch, version};
use super::support::shelf::{Form, JSON, Wheel};
use super::support::web::Route;
use super::support::{files, finish, folder};

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

/// The lines of a lock about a file's lengths and digest.
fn sizes(wheel: &Wheel) -> String {
    let (len, digest, unpacked) = (wheel.archive().len(), wheel.sha256(), wheel.unpacked());
    format!("size = {len}\nhash = \"{digest}\"\norigin = \"index\"\nunpacked = {unpacked}\n")
}

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
        let _ = writeln!(page, "<a href=\"{name}#sha256={digest}\">{name}</a>");
    }
    // Digests that are none.
    page += "<a href=\"/files/filelock-9.2.0-py3-none-any.whl#sha256=../../x\">x</a>";
    page += "<a href=\"/files/filelock-9.2.1-py3-none-any.whl#sha256=00\">x</a>";
    for wheel in bench.shelf.wheels.iter().filter(|wheel| wheel.name == "filelock") {
        let (file, hex) = (&wheel.file, wheel.sha256().hex().to_owned());
        let _ = writeln!(page, "<a href=\"/files/{file}#sha256={hex}\">{file}</a>");
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
        let file = format!("filelock-0.{number}-py3-none-any.whl");
        let _ = writeln!(page, "<a href=/files/{file}#sha256={digest}>x</a>");
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

#[test]
fn secrets_in_links_stay_out_of_the_lock() {
    for json in [true, false] {
        let bench = Bench::of(Form { json, ..Form::FULL });
        let page = String::from_utf8(body(&bench, "triton")).expect("a page");
        let signed =
            page.replace("/files/", &format!("http://alice:s3cr3t@{}/files/", bench.web.addr));
        let kind = if json { JSON } else { "text/html" };
        let route = Route::ok(signed).header("Content-Type", kind);
        bench.web.route(&bench.shelf.page_path("triton"), route);
        let run = bench.lock(&["-v"]);
        run.says(0, &[]);
        for text in [run.all(), bench.text()] {
            assert!(!text.contains("s3cr3t") && !text.contains("alice"), "{text}");
        }
        // The query of a link is part of the address, and often a signature that ends soon.
        let file = bench.shelf.wheel("triton").file;
        let link = |end: &str| format!("/files/{file}{end}");
        let signed = page
            .replace(&link("\""), &link("?token=s3cr3t\""))
            .replace(&link("#"), &link("?token=s3cr3t#"));
        assert!(signed.contains("?token=s3cr3t"));
        let route = Route::ok(signed).header("Content-Type", kind);
        bench.web.route(&bench.shelf.page_path("triton"), route);
        let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
        let words = ["triton", "an address that lasts", "?****", "help: lock from an index"];
        let run = bench.refuses_with(&mut command, 1, &words);
        assert!(!run.all().contains("s3cr3t"), "{}", run.all());
    }
}

#[test]
fn a_page_without_a_single_usable_link_is_told_as_such() {
    let bench = Bench::with_old(Form::FULL);
    let page = "<a href=\"/files/..%2fx.whl\">a</a><a href=\"javascript:1\">b</a>";
    let route = Route::ok(page).header("Content-Type", "text/html");
    bench.web.route(&bench.shelf.page_path("triton"), route);
    bench.refuses(1, &["no file of triton", "none of the 2 links of its page", "help: "]);
}

#[test]
fn requirements_in_circles_end() {
    let mut bench = Bench::new();
    let circle = ["filelock[all]>=1", "filelock; extra == 'all'", "torch", "triton[x]==3.9.0"];
    bench.shelf.swap(Wheel::pure("filelock", "3.20.0").requires(&circle));
    bench.publish();
    bench.lock(&[]).says(0, &["wrote"]);
    assert_eq!(bench.locked().targets[0].packages.len(), COUNT);
    // The newest of one excludes the newest of the other, and there is no search.
    let mut bench = Bench::new();
    bench.shelf.swap(Wheel::pure("filelock", "3.20.0").requires(&["ping"]));
    bench
        .shelf
        .add(Wheel::pure("ping", "1.0").requires(&["pong"]))
        .add(Wheel::pure("ping", "2.0").requires(&["pong"]))
        .add(Wheel::pure("pong", "1.0"))
        .add(Wheel::pure("pong", "2.0").requires(&["ping<2"]));
    bench.publish();
    let run = bench.lock(&["--upgrade"]);
    run.says(0, &["wrote"]);
    let found = ["ping", "pong"].map(|name| version(&bench.locked(), name));
    assert_eq!(found, ["1.0", "2.0"]);
    bench.shelf.swap(Wheel::pure("ping", "2.0").requires(&["pong>=2"]));
    bench.shelf.swap(Wheel::pure("ping", "1.0").requires(&["pong<2"]));
    bench.publish();
    fs_err::remove_file(bench.path()).expect("a lock");
    bench.refuses(1, &["target `default`", "excluding each other", "help: let uv solve"]);
    // What nobody has.
    let mut bench = Bench::new();
    bench.shelf.swap(Wheel::pure("filelock", "3.20.0").requires(&["nobody-has-this>=1"]));
    bench.publish();
    bench.refuses(1, &["PyPI has no file of nobody-has-this >=1 (filelock)", "no such package"]);
    let mut bench = Bench::new();
    bench.shelf.swap(Wheel::pure("filelock", "3.20.0").requires(&["triton<3"]));
    bench.publish();
    bench.refuses(1, &["PyPI has no file of triton", "(filelock)", "(torch)", "help: "]);
}
