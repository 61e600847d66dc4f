//! What stays and what changes: with the cache, with an old lock, with another wish.

use super::bench::{Bench, COUNT, YAML, below, old_lock, without_sizes};
use super::support::shelf::{Form, Wheel};
use super::support::{files, finish, folder, write};

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
    let damages: [Damage; 6] = [
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
            // What is not in the closure may be damaged. METADATA is kept twice, sizes are not.
            assert!(
                without_sizes(&bench.text()) == without_sizes(&text)
                    || bench.text().contains("hash = \"unfetched\""),
                "{}: {}",
                whole[at].0.display(),
                bench.text()
            );
        }
    }
}

type Damage = fn(&[u8]) -> Vec<u8>;

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

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
    assert!(lines.len() <= 12 && !lines.is_empty(), "{lines:#?}");
    let ours = ["filelock", "version = \"3.", "size = ", "unpacked = ", "hash = \"sha256:"];
    assert!(lines.iter().all(|line| ours.iter().any(|part| line.contains(part))), "{lines:#?}");
    // Everything.
    bench.lock(&["--upgrade", "--no-cache"]).says(0, &["wrote"]);
    assert!(bench.text().contains("filelock-3.30.0") && bench.text().contains("triton-3.9.1"));
    // A name that nobody knows.
    bench.refuses_with(&mut bench.command(&["--check", "--upgrade"]), 2, &[]);
}

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
