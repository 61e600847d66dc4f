//! What an index and its files say of themselves, against what is wanted.

use super::bench::{Bench, REQUIRES, TORCH, filler, torch, version};
use super::support::shelf::{Form, Wheel};

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
