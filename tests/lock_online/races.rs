//! Interrupted, killed, two at once, in any order.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bench::{Bench, below, old_lock, portless};
use super::support::shelf::Form;
use super::support::web::Route;
use super::support::{files, finish, folder, gpuseal};

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
#[test]
fn control_c_while_uv_solves_ends_uv_too() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::with_old(Form::FULL);
    let bin = folder(&[(
        "uv",
        "#!/bin/sh\necho $$ > \"$0.pid.new\"; mv \"$0.pid.new\" \"$0.pid\"\nexec sleep 60\n",
    )]);
    let mode = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(bin.path().join("uv"), mode).expect("a mode");
    let path = std::env::join_paths([bin.path(), Path::new("/bin"), Path::new("/usr/bin")]);
    let mut command = bench.command(&["--upgrade", "--with-deps"]);
    command.env("PATH", path.expect("a search path"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child");
    let written = bin.path().join("uv.pid");
    let start = Instant::now();
    while !written.exists() {
        assert!(start.elapsed() < Duration::from_secs(15), "uv is not asked");
        std::thread::sleep(Duration::from_millis(10));
    }
    let uv = fs_err::read_to_string(&written).expect("a number");
    signal(child.id(), "INT");
    let ended = child.wait_with_output().expect("an end");
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(bench.text(), old_lock());
    let start = Instant::now();
    let lives = || {
        let asked = Command::new("kill").args(["-0", uv.trim()]).stderr(Stdio::null()).status();
        asked.expect("kill").success()
    };
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(5), "uv goes on");
        std::thread::sleep(Duration::from_millis(10));
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
                // Towards the moment of writing, however busy the machine is.
                let mut latest = whole.max(10_000);
                for run in 0..RUNS / 4 {
                    // Half of them start cold.
                    if run % 2 == 0 {
                        fs_err::remove_dir_all(cache.path()).expect("a folder");
                        fs_err::create_dir_all(cache.path()).expect("a folder");
                    }
                    // What the lock is not.
                    let gpu = wishes[usize::from(before == texts[0])];
                    let mut child = asked(gpu, project.path(), cache.path())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn()
                        .expect("a child");
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    std::thread::sleep(Duration::from_micros((state >> 33) % latest));
                    child.kill().expect("a child");
                    let ended = child.wait().expect("a child");
                    killed.fetch_add(usize::from(ended.code().is_none()), Ordering::Relaxed);
                    let text = fs_err::read_to_string(&path).unwrap_or_default();
                    assert!(
                        text == before || texts.contains(&text),
                        "after run {run} of worker {worker}:\n{text}"
                    );
                    changed.fetch_add(usize::from(text != before), Ordering::Relaxed);
                    let late = text != before || ended.success();
                    latest = if late { latest * 3 / 4 } else { latest * 9 / 8 };
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
