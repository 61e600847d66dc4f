//! Recorded machines: tests/hosts/NAME.json is what `doctor --record` writes on one, NAME.lock or
//! NAME.yaml the lock or requirements of the project beside it. What must come of each stands in
//! verdicts.txt, written by hand; what people and programs read is the snapshot NAME.snap. New texts:
//! `INSTA_UPDATE=always cargo test --test hosts`, then read them as their reader would.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use gpuseal::doctor::{Link, Outcome, REGISTRY, Subject, examine};
use gpuseal::domain::Code;
use gpuseal::host::Facts;
use gpuseal::matrix::Matrix;
use gpuseal::report::doctor as voice;
use serde_json::Value;
use support::{Run, masked, root};

fn folder() -> PathBuf {
    root().join("tests/hosts")
}

/// Name -> verdict and exit code.
fn verdicts() -> BTreeMap<String, (String, i32)> {
    let text = fs_err::read_to_string(folder().join("verdicts.txt")).expect("verdicts.txt");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, verdict, exit] = words[..] else { panic!("`{line}`") };
        (name.to_owned(), (verdict.to_owned(), exit.parse().expect("an exit code")))
    });
    rows.collect()
}

fn record(name: &str) -> PathBuf {
    folder().join(format!("{name}.json"))
}

fn facts(name: &str) -> Facts {
    let text = fs_err::read_to_string(record(name)).expect("a record");
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{name}: {err}"))
}

/// Runs `doctor` on a record, in a project with the lock or the requirements beside it.
fn tell(name: &str, more: &[&str]) -> Run {
    let project = tempfile::tempdir().expect("a folder");
    for (ending, file) in [("lock", "gpuseal.lock"), ("yaml", "gpuseal.yaml")] {
        let path = folder().join(format!("{name}.{ending}"));
        if path.exists() {
            fs_err::copy(path, project.path().join(file)).expect("a copy");
        }
    }
    let record = record(name);
    let mut args = vec!["doctor", "--facts", record.to_str().expect("a path")];
    args.extend(more);
    support::run(project.path(), &args)
}

#[test]
fn verdicts_are_listed_for_every_record() {
    let records: BTreeSet<String> = fs_err::read_dir(folder())
        .expect("tests/hosts")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    assert_eq!(records, verdicts().into_keys().collect());
    assert!(records.len() >= 45, "only {} records", records.len());
}

/// Verdict, exit code and every word, for people and for programs.
#[test]
fn the_words_are_those_that_were_read() {
    let mut wrong = String::new();
    for (name, (verdict, exit)) in verdicts() {
        let human = tell(&name, &[]);
        let first = human.stdout.lines().next().unwrap_or_default();
        if !first.starts_with(&format!("{verdict}: ")) || human.code != exit {
            let _ = writeln!(
                wrong,
                "{name}: wanted {verdict} ({exit}), got `{first}` ({})",
                human.code
            );
        }
        let json = tell(&name, &["--format", "json"]);
        assert_eq!(json.code, exit, "{name}");
        let mut document: Value = serde_json::from_str(&json.stdout).expect("a document");
        assert_eq!(document["verdict"].as_str(), Some(verdict.as_str()), "{name}");
        let object = document.as_object_mut().expect("an object");
        let kept = object.remove("facts").expect("facts");
        let replayed: Facts = serde_json::from_value(kept).expect("a record");
        assert_eq!(replayed, facts(&name), "{name}: the document holds the record");
        for key in ["schema", "tool", "matrix"] {
            assert!(object.remove(key).is_some_and(|v| v.is_object()), "{name}: {key}");
        }
        let document = serde_json::to_string_pretty(&document).expect("text");
        let text = format!("exit {}\n{}{}\n{document}\n", human.code, human.stdout, human.stderr);
        let text = masked(&text, &folder());
        let same = std::panic::catch_unwind(|| {
            insta::with_settings!({
                snapshot_path => folder(), prepend_module_to_snapshot => false, omit_expression => true,
            }, {
                insta::assert_snapshot!(name.as_str(), text);
            });
        });
        if same.is_err() {
            let _ = writeln!(wrong, "{name}: the words have changed");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// No line breaks out of an annotation, no cell out of a table.
#[test]
fn other_voices_keep_their_form() {
    let matrix = Matrix::embedded();
    for name in verdicts().keys() {
        let facts = facts(name);
        let report = examine(&Subject { facts: &facts, matrix: &matrix, lock: None });
        let found = gpuseal::report::Found::new("doctor", gpuseal::error::Exit::Done, None);
        let github = found.with("", None, report.findings()).github();
        assert!(github.lines().all(|line| line.starts_with("::")), "{name}: {github}");
        let shared = voice::shareable(&report, &facts, &matrix);
        assert!(shared.starts_with("<details>"), "{name}");
        assert!(shared.trim_end().ends_with("</details>"), "{name}");
        let cells = |line: &str| line.matches('|').count();
        let mut rows = shared.lines().filter(|line| line.starts_with('|'));
        assert!(rows.all(|row| cells(row) == 3), "{name}: {shared}");
    }
    let record = record("cpu-wheel-index");
    let args = ["doctor", "--shareable", "--facts", record.to_str().expect("a path")];
    support::run(&folder(), &args).says(1, &["<details>", "| GPUs | Tesla T4 |", "cpu-only-wheel"]);
    // Names of people go, in findings too.
    let text = fs_err::read_to_string(&record).expect("a record");
    let text = text
        .replace("/srv/train", "/home/somebody")
        .replace("download.pytorch", "u:p@download.pytorch");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.json");
    fs_err::write(&path, text).expect("a file");
    let run = support::run(
        folder.path(),
        &["doctor", "--shareable", "--facts", path.to_str().expect("a path")],
    );
    run.says(1, &["~/.venv/bin/python"]);
    assert!(!run.all().contains("somebody") && !run.all().contains("u:p"), "{}", run.all());
}

/// A healthy machine alarms nobody.
#[test]
fn nothing_alarms_on_a_healthy_machine() {
    let matrix = Matrix::embedded();
    for name in verdicts().keys().filter(|name| name.starts_with("healthy-")) {
        let facts = facts(name);
        let report = examine(&Subject { facts: &facts, matrix: &matrix, lock: None });
        assert_eq!(report.verdict, Code::Ok, "{name}");
        assert_eq!(report.findings().next(), None, "{name}");
    }
}

/// Every check has a machine that it objects to, unless it only tells what others found.
#[test]
fn every_check_is_seen_to_object() {
    let matrix = Matrix::embedded();
    let (mut found, mut passed) = (BTreeSet::new(), BTreeSet::new());
    for name in verdicts().keys() {
        let facts = facts(name);
        let path = folder().join(format!("{name}.lock"));
        let lock = path.exists().then(|| gpuseal::lock::Lockfile::read(&path).expect("a lock"));
        let report = examine(&Subject { facts: &facts, matrix: &matrix, lock: lock.as_ref() });
        for checked in report.checks {
            match checked.outcome {
                Outcome::Found(list) if !list.is_empty() => found.insert(checked.check.name),
                Outcome::Passed(_) => passed.insert(checked.check.name),
                _ => false,
            };
        }
    }
    let all: BTreeSet<&str> = REGISTRY.iter().map(|check| check.name).collect();
    assert_eq!(all.len(), REGISTRY.len(), "names are unique");
    let kebab = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    assert!(all.iter().all(kebab), "{all:?}");
    assert!(
        REGISTRY.is_sorted_by_key(|check| check.link),
        "checks stand in the order of the chain"
    );
    assert!(REGISTRY.iter().any(|check| check.link == *Link::ALL.last().expect("links")));
    let silent: Vec<_> = all.difference(&found).filter(|name| **name != "torch-found").collect();
    assert!(silent.is_empty(), "no record makes these object: {silent:?}");
    // These speak only where something is wrong.
    let quiet = [
        "gpu-cool",
        "driver-started-cards",
        "container-capabilities",
        "container-requirement",
        "image-without-driver",
        "torch-once",
        "cudnn-has-code",
        "library-path",
        "device-order",
    ];
    let mute: Vec<_> = all.difference(&passed).filter(|name| !quiet.contains(name)).collect();
    assert!(mute.is_empty(), "no record lets these pass: {mute:?}");
}

/// Facts that are missing never make a verdict worse, and never make one fine that was not looked at:
/// each record again without each of its parts.
#[test]
fn less_is_known_without_a_panic() {
    let matrix = Matrix::embedded();
    for name in verdicts().keys() {
        let text = fs_err::read_to_string(record(name)).expect("a record");
        let whole: Value = serde_json::from_str(&text).expect("a record");
        for key in whole.as_object().expect("an object").keys() {
            let mut less = whole.clone();
            less.as_object_mut().expect("an object").remove(key);
            let facts: Facts = serde_json::from_value(less).expect("a record");
            let report = examine(&Subject { facts: &facts, matrix: &matrix, lock: None });
            if name.starts_with("healthy-") {
                assert_eq!(report.broken(), None, "{name} without {key}");
            }
        }
    }
}

/// A record goes where it was sent, alone and whole, and into nothing but a file.
#[test]
fn a_record_is_written_where_it_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("env")).expect("a folder");
    let record = |to: &str| {
        support::run(folder.path(), &["doctor", "--no-run", "--env", "env", "--record", to])
    };
    let piped = record("-");
    assert!(Facts::from_record(&piped.stdout).is_ok(), "{}", piped.all());
    assert!(piped.stderr.contains("matrix "), "the report is told beside it: {}", piped.stderr);
    assert!(!folder.path().join("-").exists());
    record("env").says(2, &["cannot write `env`: it is there, and is no regular file"]);
}

#[test]
fn bad_records_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| {
        let path = folder.path().join("record.json");
        fs_err::write(&path, text).expect("a file");
        path
    };
    for (text, words) in [
        ("", "no record of a machine"),
        ("{}", "no number called `record`"),
        ("{\"record\": 0}", "the record has version 0, and this program reads version 1"),
        ("{\"record\": 1, \"gpu\": 1}", "unknown field `gpu`"),
        ("{\"record\": 1, \"module\": {\"value\": {\"driver\": \"12.8\"}}}", "no record"),
    ] {
        let path = write(text);
        let args = ["doctor", "--facts", path.to_str().expect("a path")];
        support::run(folder.path(), &args).says(2, &[words, "help: "]);
    }
    support::run(folder.path(), &["doctor", "--facts", "nowhere.json"]).says(2, &["nowhere.json"]);
    let path = write("{\"record\": 1}");
    let path = path.to_str().expect("a path");
    support::run(folder.path(), &["doctor", "--facts", path, "--target", "train"])
        .says(2, &["there is no target `train`", "--project"]);
    support::run(folder.path(), &["doctor", "--env", "no/such/env"])
        .says(2, &["there is no `no/such/env`", "--env names an interpreter"]);
    let lock = self::folder().join("lock-drift.lock");
    fs_err::copy(lock, folder.path().join("gpuseal.lock")).expect("a copy");
    support::run(folder.path(), &["doctor", "--facts", path, "--target", "serve"])
        .says(2, &["no target `serve`", "its targets: `train`"]);
}
