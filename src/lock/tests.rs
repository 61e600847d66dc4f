#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::drift::diff;
use super::{Error, Index, Lockfile, Sha256, sample};
use crate::domain::{CodeTarget, ComputeCapability, TorchRelease};
use crate::matrix::{GpuMatch, Matrix};
use crate::resolve::physics::Served;
use crate::resolve::{
    BaseChoice, DriverBounds, DriverMode, JudgedGpu, Pin, PinIndex, Resolution, Stack,
};

fn refused(text: &str) -> Error {
    Lockfile::parse(text, "gpuseal.lock").expect_err("refused")
}

/// The whole chain of messages on one line.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text.push_str(" / ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn stack() -> Stack {
    let card = |given: &str, capability: ComputeCapability, served| JudgedGpu {
        gpu: GpuMatch {
            given: given.into(),
            name: format!("NVIDIA {given}"),
            capability,
            kind: None,
            host: None,
            module: None,
            row: None,
            listed: None,
        },
        served: Some(served),
    };
    let sm: CodeTarget = "sm_90".parse().unwrap();
    let pin = |name: &str, local: Option<&str>, requested| Pin {
        name: name.into(),
        extras: vec!["b".into(), "a".into()],
        version: Some("2.9.1".into()),
        specifier: None,
        local: local.map(str::to_owned),
        index: if local.is_some() {
            PinIndex::Pytorch("cu126".parse().unwrap())
        } else {
            PinIndex::Pypi
        },
        requested,
        source_build: false,
    };
    Stack {
        target: "train".into(),
        platform: "linux/amd64".parse().unwrap(),
        python: "3.12".parse().unwrap(),
        torch: TorchRelease { major: 2, minor: 9, patch: 1 },
        variant: "cu126".parse().unwrap(),
        from_pypi: false,
        cuda: "12.6".parse().unwrap(),
        toolkit: None,
        cudnn: Some("9.10.2.21".parse().unwrap()),
        nccl: Some("2.27.5".into()),
        triton: None,
        packages: vec![pin("torch", Some("cu126"), true), pin("einops", None, true)],
        pins_unknown: false,
        driver: DriverBounds {
            mode: Some(DriverMode::MinorCompat),
            min: Some("525.60.13".parse().unwrap()),
            ..DriverBounds::default()
        },
        driver_given: Some("cuda:12.4".into()),
        gpus: vec![
            card("h200", ComputeCapability::new(9, 0), Served::Exact(sm)),
            card("h100", ComputeCapability::new(9, 0), Served::Exact(sm)),
            card("h100", ComputeCapability::new(9, 0), Served::Exact(sm)),
            card("a100", ComputeCapability::new(8, 0), Served::Unknown),
        ],
        base: BaseChoice {
            repository: "python".into(),
            tag: "3.12-slim-trixie".into(),
            flavour: "slim".into(),
            builder: None,
            apt: vec!["libc6-dev".into(), "gcc".into()],
            why: String::new(),
        },
        glibc_min: None,
        glibc: None,
        findings: Vec::new(),
        alternatives: Vec::new(),
    }
}

fn lock_of(stacks: Vec<Stack>) -> Result<Lockfile, Error> {
    let matrix =
        Matrix { id: "2026.11.0".into(), digest: Sha256::of(b"").to_string(), ..Matrix::default() };
    Lockfile::from_resolution(
        &Resolution { stacks, left_out: Vec::new() },
        &matrix,
        "torch >=2.8\n",
    )
}

#[test]
fn a_lock_reads_back_and_keeps_its_bytes() {
    let lock = sample::lock();
    assert_eq!(lock.to_toml(), sample::text());
    assert_eq!(Lockfile::parse(&lock.to_toml(), "again").unwrap(), lock);
    assert_eq!(lock.digest(), Sha256::of(sample::text().as_bytes()));
    assert!(!lock.to_toml().contains('\r'));
    // A checkout that changed the line ends is the same lock.
    assert_eq!(Lockfile::parse(&sample::text().replace('\n', "\r\n"), "crlf").unwrap(), lock);
}

#[test]
fn a_resolution_becomes_the_same_lock_each_time() {
    let lock = lock_of(vec![stack()]).unwrap();
    assert_eq!(lock.to_toml(), lock_of(vec![stack()]).unwrap().to_toml());
    assert_eq!(Lockfile::parse(&lock.to_toml(), "again").unwrap(), lock);
    let target = lock.target("train").unwrap();
    assert_eq!(target.torch_version(), "2.9.1+cu126");
    assert_eq!(target.index, Index::Pytorch("cu126".parse().unwrap()));
    let given: Vec<_> = target.gpus.iter().map(|g| g.given.as_str()).collect();
    assert_eq!(given, ["a100", "h100", "h200"]);
    assert_eq!(target.gpus[0].served, None);
    let names: Vec<_> = target.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["einops", "torch"]);
    assert!(lock.to_toml().contains("digest = \"unfetched\""));
    assert!(lock.to_toml().contains(
        "[[index]]\nname = \"pytorch-cu126\"\nurl = \"https://download.pytorch.org/whl/cu126\"\n"
    ));
    // The order of cards and packages in the requirements is no fact.
    let mut turned = stack();
    turned.gpus.reverse();
    turned.packages.reverse();
    assert_eq!(lock_of(vec![turned]).unwrap(), lock);
}

#[test]
fn texts_of_users_are_checked_before_they_are_locked() {
    let hostile = Stack { target: "train\nRUN true".into(), ..stack() };
    let error = lock_of(vec![hostile]).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(error.to_string().contains("target[0].name"), "{error}");
    let mut hostile = stack();
    hostile.gpus[0].gpu.given = "h100 $(id)".into();
    assert!(lock_of(vec![hostile]).unwrap_err().to_string().contains("gpu[2].given"));
    let error = lock_of(vec![stack(), stack()]).unwrap_err();
    assert!(error.to_string().contains("target[1].name"), "{error}");
    assert!(lock_of(Vec::new()).is_err());
}

#[test]
fn later_versions_are_refused_and_later_revisions_kept() {
    let error = refused(&sample::text().replace("version = 1\n", "version = 2\nnew_shape = [1]\n"));
    assert!(matches!(error, Error::Version { found: 2, reads: 1, .. }));
    assert!(
        error.to_string().contains("version 2") && error.to_string().contains("version 1"),
        "{error}"
    );
    assert!(error.help().unwrap().contains("release"));

    let later = sample::text()
        .replace("revision = 1\n", "revision = 7\nmood = \"good\"\n")
        .replace("[target.base]\n", "[target.base]\nmood = 12\n");
    let lock = Lockfile::parse(&later, "later").unwrap();
    assert_eq!(lock.targets, sample::lock().targets);
    assert_eq!(lock.to_toml(), later);
    assert_ne!(lock.digest(), sample::lock().digest());

    // In a revision that we know, an unknown key is a slip or a forgery.
    let error =
        refused(&sample::text().replacen("[target.base]\n", "[target.base]\nmood = 12\n", 1));
    assert!(
        matches!(&error, Error::UnknownKey { field, .. } if field == "target[0].base.mood"),
        "{error}"
    );
}

#[test]
fn broken_files_are_refused_by_name() {
    let text = sample::text();
    for (from, to, part) in [
        (
            "torch = \"2.14.1\"",
            "torch = \"two\"",
            "`gpuseal.lock`, key `target[0].torch`: `two` is not a torch release",
        ),
        ("platform = \"linux/amd64\"", "platform = \"beos\"", "target[0].platform"),
        ("code = \"sm_90\"\n", "", "target[0].gpu[0].code"),
        ("code = \"sm_90\"", "code = \"sm90\"", "target[0].gpu[0].code"),
        ("name = \"torchvision\"", "name = \"torch\"", "stands here twice"),
        ("name = \"fleet\"", "name = \"train\"", "target[1].name"),
        (
            "name = \"pytorch-cu126\"\n",
            "name = \"pytorch-cu128\"\n",
            "`pytorch-cu126` has no `files`",
        ),
        (
            "https://download.pytorch.org/whl/cu126",
            "https://evil.example/whl/cu126",
            "index[1].url",
        ),
        ("name = \"pypi\"\n", "name = \"pypi\"\nurl = \"https://evil.example\"\n", "index[0].url"),
        ("files = \"https://files.example.org\"\n", "", "has no `files`"),
        ("https://files.example.org", "https://files.example.org/$(id)", "index[0].files"),
        ("path = \"packages/ab", "path = \"packages/..", "leads out of its folder"),
        (
            "cp312-manylinux_2_28_x86_64.whl\"\nsize",
            "cp313-manylinux_2_28_x86_64.whl\"\nsize",
            "ends in another name",
        ),
        ("size = 912345678\n", "", "go together"),
        ("origin = \"index\"\n", "origin = \"hearsay\"\n", "package[1].origin"),
        ("of = \"quay.io\"", "of = \"Quay io\"", "mirror[0].of"),
        (
            "at = \"registry.example.org/quay\"",
            "at = \"https://me:secret@registry.example.org\"",
            "mirror[0].at",
        ),
        ("uv_tag = \"0.13.8\"\n", "", "`uv`, `uv_tag` and `uv_digest` go together"),
        ("builder_tag = ", "# ", "target[3].base.builder_tag"),
        ("specifier = \">=5, <6\"", "specifier = \">=5; true\"", "target[0].package[3].specifier"),
        ("version = \"2.14.1\"", "version = \"2.14.0\"", "no row for torch 2.14.1"),
        ("version = \"0.29.1\"\nlocal = \"cu126\"", "local = \"cu126\"", "needs a version"),
        ("version = \"0.29.1\"\n", "version = \"0.29.1+cu126\"\n", "without a local label"),
        ("max_branch = 580", "max_branch = \"580\"", "invalid type"),
        ("revision = 1\n", "", "missing field `revision`"),
        ("version = 1\n", "version = \"1\"\n", "invalid type"),
        ("revision = 1\n", "revision = -1\n", "invalid value"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = refused(&text.replacen(from, to, 1));
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.help().is_some());
    }
    let cut = &text[..text.find("[target.base]").unwrap()];
    assert!(refused(cut).to_string().contains("missing field `base`"));
    for text in ["", "\0\0\0\0", "version = 1\0", "<html>", "\u{feff}", "{}"] {
        assert!(matches!(refused(text), Error::Syntax { .. }), "{text:?}");
    }
    assert!(!refused("version = \u{1b}[31m1").to_string().contains('\u{1b}'));
    let error = refused(&format!("a = 1\n<<<<<<< HEAD\n{text}"));
    assert!(matches!(error, Error::Conflict { line: 2, .. }), "{error}");
    assert!(error.help().unwrap().contains("conflict"));
}

#[test]
fn garbage_is_refused_quickly() {
    let long = 5_000_000;
    for text in [
        "[".repeat(long),
        format!("a={}", "[".repeat(long)),
        "a.".repeat(long / 2),
        "\"".repeat(long),
        "[[target]]\n".repeat(long / 11),
    ] {
        let start = Instant::now();
        refused(&text);
        refused(&text[..text.len() / 20]);
        assert!(start.elapsed() < Duration::from_secs(5), "{}", &text[..10]);
    }
}

fn files(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.collect()
}

#[test]
fn writing_is_whole_and_leaves_no_litter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpuseal.lock");
    let lock = sample::lock();
    assert!(matches!(Lockfile::read(&path), Err(Error::Missing(_))));
    assert!(lock.write(&path, false).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lock.to_toml());
    let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let before = modified();
    assert!(!lock.write(&path, false).unwrap());
    assert_eq!(modified(), before);
    let mut other = sample::lock();
    other.targets.pop();
    assert!(other.write(&path, false).unwrap());
    assert_eq!(Lockfile::read(&path).unwrap(), other);
    assert_eq!(files(folder.path()), BTreeSet::from(["gpuseal.lock".to_owned()]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        // A writer was killed in the midst of it: the next one clears up, and touches nothing else.
        for name in [".gpuseal-aB3xY9.tmp", ".gpuseal-notes", "x.tmp"] {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        assert!(!other.write(&path, false).unwrap());
        let left = [".gpuseal-notes", "gpuseal.lock", "x.tmp"].map(str::to_owned);
        assert_eq!(files(folder.path()), BTreeSet::from(left));
        for name in [".gpuseal-notes", "x.tmp"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        assert_ne!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o044,
            0,
            "others can read it"
        );
        let link = folder.path().join("link.lock");
        symlink(&path, &link).unwrap();
        assert!(lock.write(&link, false).unwrap());
        assert!(link.is_symlink());
        assert_eq!(Lockfile::read(&path).unwrap(), lock);
    }
}

#[test]
fn what_is_no_lock_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpuseal.lock");
    let lock = sample::lock();
    let text = sample::text();
    let later = text.replace("revision = 1\n", "revision = 7\n");
    let cases: &[(&[u8], &str)] = &[
        (b"<<<<<<< HEAD\nversion = 1\n", "conflict marker in line 1"),
        (b"\xff\xfe", "UTF-8"),
        (b"my notes", "is no lock"),
        (b"version = 2\n", "version 2"),
        (later.as_bytes(), "revision 7"),
    ];
    for (content, part) in cases {
        std::fs::write(&path, content).unwrap();
        let error = lock.write(&path, false).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(said(&error).contains(part), "{}", said(&error));
        assert!(error.help().unwrap().contains("--force"));
        assert_eq!(&std::fs::read(&path).unwrap(), content);
        assert!(lock.write(&path, true).unwrap());
        assert_eq!(Lockfile::read(&path).unwrap(), lock);
    }
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_folder_that_takes_no_file_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let lock = sample::lock();
    let error = lock.write(&folder.path().join("absent/gpuseal.lock"), false).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    // A folder in the place of the file: not even by force.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(lock.write(&taken, true).is_err());
    assert_eq!(files(folder.path()), BTreeSet::from(["taken".to_owned()]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&taken, std::fs::Permissions::from_mode(0o555)).unwrap();
        // A user with every right writes all the same.
        if std::fs::write(taken.join("probe"), "").is_err() {
            assert!(matches!(
                lock.write(&taken.join("gpuseal.lock"), false),
                Err(Error::Write { .. })
            ));
            assert!(files(&taken).is_empty());
        }
    }
}

#[test]
fn two_writers_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpuseal.lock");
    let mut short = sample::lock();
    short.targets.truncate(1);
    std::thread::scope(|scope| {
        for lock in [sample::lock(), short.clone()] {
            let path = &path;
            scope.spawn(move || (0..50).for_each(|_| _ = lock.write(path, false).unwrap()));
        }
        scope.spawn(|| {
            for _ in 0..200 {
                match Lockfile::read(&path) {
                    Ok(_) | Err(Error::Missing(_)) => (),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });
    let left = Lockfile::read(&path).unwrap();
    assert!(left == sample::lock() || left == short);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn changes_are_told_field_by_field() {
    let old = sample::lock();
    assert!(diff(&old, &old).is_empty());
    let text = sample::text()
        .replacen("torch = \"2.14.1\"", "torch = \"2.15.0\"", 1)
        .replacen(
            "name = \"torch\"\nversion = \"2.14.1\"",
            "name = \"torch\"\nversion = \"2.15.0\"",
            1,
        )
        .replacen("toolkit = \"13.2.1\"\n", "", 1)
        .replacen("name = \"torchvision\"", "name = \"timm\"", 1)
        .replacen("max_branch = 580\n", "max_branch = 580\n# \n", 1)
        .replacen("mode = \"native\"", "max_branch = 595\nmode = \"native\"", 1)
        .replace("name = \"desk\"", "name = \"office\"")
        .replace("2222", "4444");
    let new = Lockfile::parse(&text, "new").unwrap();
    let changes: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(changes.join("\n"), @r#"
    ~ inputs digest "sha256:2222222222222222222222222222222222222222222222222222222222222222" -> "sha256:4444444444444444444444444444444444444444444444444444444444444444"
    ~ target train: torch "2.14.1" -> "2.15.0"
    - target train: toolkit "13.2.1"
    + target train: package timm "0.29.1"
    ~ target train: package torch version "2.14.1" -> "2.15.0"
    - target train: package torchvision "0.29.1"
    + target arm: driver max_branch "595"
    + target office
    - target desk
    "#);
    let mut turned = sample::lock();
    turned.targets.swap(0, 1);
    let changes: Vec<_> = diff(&old, &turned).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            r#"~ order of targets "train, fleet, arm, compiled, desk" -> "fleet, train, arm, compiled, desk""#
        ]
    );
}

#[test]
fn what_stands_behind_the_targets_belongs_to_none() {
    let lock = |end: &str| {
        let lines = format!("    \"target: train\",\n    \"  driver: 580\",\n    \"{end}\",\n");
        let text = sample::text().replacen("    \"target: train\",\n", &lines, 1);
        Lockfile::parse(&text, "lock").unwrap()
    };
    let told = |old: &str, new: &str| {
        let changes = diff(&lock(old), &lock(new));
        changes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told("other packages: 1", "other packages: 2"),
        [r#"~ asked other packages "1" -> "2""#]
    );
    assert_eq!(told("  os: a", "  os: b"), [r#"~ asked target train: os "a" -> "b""#]);
}

proptest! {
    /// No text makes the reader panic, and what it reads it writes so that it reads the same again.
    #[test]
    fn any_line_may_be_replaced(line in 0usize..300, with in "\\PC{0,40}") {
        let text = sample::text();
        let mut lines: Vec<&str> = text.lines().collect();
        let count = lines.len();
        lines[line % count] = &with;
        if let Ok(lock) = Lockfile::parse(&lines.join("\n"), "mutated") {
            prop_assert_eq!(Lockfile::parse(&lock.to_toml(), "again").unwrap(), lock);
        }
    }
}
