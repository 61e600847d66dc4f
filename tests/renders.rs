//! What every kind of `render` writes for every example: `tests/renders/EXAMPLE/KIND.snap`. New texts:
//! `INSTA_UPDATE=always cargo test --test renders`, then read them as their reader would.

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gpuseal::lock::Lockfile;
use support::filled::fill;
use support::{copy, root, run};

/// Kinds with their flags; the first word names the snapshot.
const KINDS: &[(&str, &[&str])] = &[
    ("dockerfile", &["dockerfile"]),
    ("dockerfile-without-syntax", &["dockerfile", "--no-syntax-line"]),
    ("install", &["install"]),
    ("install-powershell", &["install", "--shell", "powershell"]),
    ("compose", &["compose"]),
    ("devcontainer", &["devcontainer"]),
    ("devcontainer-optional", &["devcontainer", "--gpu", "optional"]),
    ("k8s", &["k8s", "--image", "registry.example.org/team/app"]),
    ("k8s-dra", &["k8s", "--dra"]),
    ("slurm", &["slurm", "--image", "registry.example.org/team/app"]),
    ("slurm-apptainer", &["slurm", "--runtime", "apptainer"]),
    ("apptainer", &["apptainer"]),
    ("github", &["github"]),
    ("gitlab", &["gitlab"]),
    ("requirements", &["requirements"]),
    ("pylock", &["pylock"]),
    ("constraints", &["constraints"]),
    ("uv", &["uv", "--target"]),
];

/// Examples by name.
fn examples() -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(root().join("examples"))
        .expect("examples")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().join("gpuseal.yaml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 6, "only {names:?}");
    names
}

/// The example with its lock, in a folder of its own.
fn locked(example: &str) -> tempfile::TempDir {
    let project = tempfile::tempdir().expect("a temporary folder");
    copy(&root().join("examples").join(example), project.path());
    run(project.path(), &["lock", "--offline"]).says(0, &["wrote"]);
    project
}

fn lock_of(project: &Path) -> Lockfile {
    Lockfile::read(&project.join("gpuseal.lock")).expect("a lock")
}

/// Digests follow from every row of the matrix; here they say only what they are.
fn masked(text: &str, lock: &Lockfile) -> String {
    let digest = lock.digest();
    text.replace(digest.as_str(), "sha256:[LOCK]")
        .replace(&digest.hex()[..12], "[LOCK]")
        .replace(lock.matrix.digest.as_str(), "sha256:[MATRIX]")
        .replace(lock.matrix.id.as_str(), "[MATRIX]")
}

/// Every file below a folder with its name, in order.
fn all(folder: &Path) -> String {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs_err::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(folder, &mut files);
    files.sort();
    let mut text = String::new();
    for path in files {
        let name = path.strip_prefix(folder).expect("below").to_string_lossy().replace('\\', "/");
        let _ = writeln!(text, "==> {name}\n{}", fs_err::read_to_string(&path).expect("text"));
    }
    text
}

fn snapshot(example: &str, name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => root().join("tests/renders").join(example),
        prepend_module_to_snapshot => false, omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn every_kind_of_every_example() {
    let mut failed = Vec::new();
    for example in examples() {
        let project = locked(&example);
        let at = project.path();
        fill(at);
        let lock = lock_of(at);
        for (name, words) in KINDS {
            let text = if words[0] == "uv" {
                let target = lock.targets[0].name.as_str();
                run(at, &[&["render"], *words, &[target]].concat()).says(0, &[]).stdout.clone()
            } else {
                let out = format!("out/{name}/");
                let args = [&["render"], *words, &["-o", &out]].concat();
                run(at, &args).says(0, &["wrote"]);
                run(at, &args).says(0, &["unchanged"]);
                run(at, &[&args[..], &["--check"]].concat()).says(0, &[]);
                all(&at.join(out))
            };
            let text = masked(&text, &lock);
            let held = std::panic::catch_unwind(|| snapshot(&example, name, &text));
            if held.is_err() {
                failed.push(format!("{example}/{name}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} changed: {}", failed.len(), failed.join(", "));
}

/// A lock made offline names packages by version and images by tag.
#[test]
fn every_example_without_a_network() {
    for example in examples() {
        let project = locked(&example);
        let lock = lock_of(project.path());
        let mut text = String::new();
        for kind in ["dockerfile", "install"] {
            let run = run(project.path(), &["render", kind]);
            let _ = writeln!(text, "==> {kind}\n{}", run.says(0, &[]).stdout);
        }
        snapshot(&example, "offline", &masked(&text, &lock));
    }
}
