//! The project's other packages, which uv solves.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::bench::{Bench, COUNT, YAML, version};
use super::support::shelf::{Form, Wheel};
use super::support::{finish, folder, write};

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

/// A project beside an index, and uv.
struct WithUv {
    bench: Bench,
    path: std::ffi::OsString,
    cache: tempfile::TempDir,
}

impl WithUv {
    fn new() -> Option<Self> {
        let mut bench = Bench::new();
        bench.asked.clear();
        write(bench.project.path(), "gpuseal.yaml", YAML);
        for version in ["1.0", "2.0"] {
            bench.shelf.add(Wheel::pure("left-pad", version).requires(&["inner"]));
            bench.shelf.add(Wheel::pure("inner", version));
        }
        bench.publish();
        let bin = folder_of_uv()?;
        let path = std::env::join_paths([&*bin, Path::new("/usr/bin"), Path::new("/bin")]);
        Some(Self { bench, path: path.expect("a search path"), cache: folder(&[]) })
    }

    fn project(&self, lines: &str) {
        let head = "[project]\nname = \"ours\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n";
        write(self.bench.project.path(), "pyproject.toml", format!("{head}{lines}"));
    }

    fn lock(&self, args: &[&str]) -> super::support::Run {
        let mut command = self.bench.command(args);
        command.env("PATH", &self.path).env("UV_CACHE_DIR", self.cache.path());
        // Settings that change what comes of it.
        command.env("UV_RESOLUTION", "lowest").env("UV_EXCLUDE_NEWER", "2000-01-01");
        finish(&mut command)
    }
}

#[test]
fn no_index_is_asked_for_what_another_place_is_named_for() {
    let Some(with) = WithUv::new() else { return };
    with.project("dependencies = [\"torch\", \"left-pad\"]\n[tool.uv.sources]\nleft-pad = {path = \"vendored\"}\n");
    with.lock(&["--with-deps"]).says(0, &["wrote", "come from folders of the project: left-pad"]);
    let lock = with.bench.locked();
    assert!(lock.targets[0].packages.iter().all(|p| p.name.as_str() != "left-pad"));
    assert!(with.bench.web.log().iter().all(|hit| !hit.target.contains("left-pad")));
    for source in [
        "left-pad = {index = \"corp\"}\n[[tool.uv.index]]\nname = \"corp\"\nurl = \"https://corp.example.org/simple\"\nexplicit = true\n",
        "left-pad = {url = \"https://corp.example.org/left_pad-1.0-py3-none-any.whl\"}\n",
    ] {
        with.project(&format!(
            "dependencies = [\"torch\", \"left-pad\"]\n[tool.uv.sources]\n{source}"
        ));
        let text = with.bench.text();
        with.lock(&["--with-deps", "-U"])
            .says(1, &["`left-pad` comes from", "corp.example.org", "help: name an index"]);
        assert_eq!(with.bench.text(), text);
    }
}

#[test]
fn constraints_bound_and_overrides_replace() {
    let Some(with) = WithUv::new() else { return };
    with.project("dependencies = [\"torch\", \"left-pad\"]\n[tool.uv]\nconstraint-dependencies = [\"inner<2\"]\n");
    with.lock(&["--with-deps"]).says(0, &["wrote"]);
    let found = |name: &str| version(&with.bench.locked(), name);
    assert_eq!((found("left-pad").as_str(), found("inner").as_str()), ("2.0", "1.0"));
    let mut with = with;
    with.bench.shelf.add(Wheel::pure("left-pad", "3.0").requires(&["inner>=2"]));
    with.bench.publish();
    with.project("dependencies = [\"torch\", \"left-pad>=3\"]\n[tool.uv]\noverride-dependencies = [\"inner==1.0\"]\n");
    with.lock(&["--check"]).says(1, &["lock-stale", "other packages"]);
    with.lock(&["-U", "--no-cache"]).says(0, &["wrote"]);
    let found = |name: &str| version(&with.bench.locked(), name);
    assert_eq!((found("left-pad").as_str(), found("inner").as_str()), ("3.0", "1.0"));
    // A marker that changes is a change.
    with.project("dependencies = [\"torch\", \"left-pad>=3; python_version > '3.13'\"]\n[tool.uv]\noverride-dependencies = [\"inner==1.0\"]\n");
    with.lock(&["--check"]).says(1, &["lock-stale", "other packages"]);
    with.lock(&[]).says(0, &["wrote"]);
    assert!(!with.bench.text().contains("left-pad\""));
    // Without a network there is no uv, and no lock that says more than it holds.
    std::fs::remove_file(with.bench.path()).expect("a lock");
    with.lock(&["--offline", "--with-deps"])
        .says(0, &["files are not fetched", "uv and a network"]);
    assert!(with.bench.text().contains("hash = \"unfetched\""));
    // What was asked for offline is done by the next run that can.
    with.lock(&[]).says(0, &["wrote"]);
    assert!(with.bench.locked().with_deps());
    assert!(!with.bench.text().contains("hash = \"unfetched\""));
}
