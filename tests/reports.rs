//! What people ran, and the verdict that binaries and drivers demand: tests/reports/*.yaml.
//!
//! Every entry is one run of the program itself, so that flags, verdict and exit code are all
//! under test. All differences are printed at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gpuseal::domain::Code;
use serde::Deserialize;

/// One combination.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    id: String,
    /// A public thread, or `physics`: worked out from wheels, drivers and images.
    source: String,
    args: Vec<String>,
    verdict: String,
    /// In doubtful.yaml alone: every answer that can be defended.
    accepts: Option<Vec<String>>,
    why: String,
}

impl Report {
    fn accepts(&self, verdict: &str) -> bool {
        self.accepts
            .as_ref()
            .map_or(verdict == self.verdict, |all| all.iter().any(|v| v == verdict))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports")
}

/// File by file, in order of their names.
fn reports() -> BTreeMap<String, Vec<Report>> {
    std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let list = serde_yaml::from_str(&text)
                .unwrap_or_else(|err| panic!("{}: {err}", path.display()));
            (path.file_name().unwrap().to_str().unwrap().to_owned(), list)
        })
        .collect()
}

/// `check` in a folder without a gpuseal.yaml, free of the caller's variables.
fn check(args: &[String]) -> (String, Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpuseal"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GPUSEAL_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["check", "--format", "json"])
        .args(args)
        .current_dir(folder())
        .output()
        .unwrap();
    let json: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let verdict = json.as_ref().and_then(|j| j["verdict"].as_str());
    let mut messages = String::new();
    for finding in json.as_ref().and_then(|j| j["findings"].as_array()).into_iter().flatten() {
        let word = |key: &str| finding[key].as_str().unwrap_or("?");
        let _ = writeln!(
            messages,
            "      {} ({}): {}",
            word("code"),
            word("severity"),
            word("message")
        );
    }
    let talk = if verdict.is_some() {
        messages
    } else {
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    (verdict.unwrap_or("no verdict").to_owned(), output.status.code(), talk)
}

/// The promise of the exit codes.
fn exit_of(verdict: &str) -> i32 {
    match verdict {
        "ok" | "ok-via-ptx-jit" => 0,
        "unknown" => 5,
        _ => 1,
    }
}

#[test]
fn every_report_gets_its_verdict() {
    let files = reports();
    let all: Vec<(&str, &Report)> = files
        .iter()
        .flat_map(|(file, list)| list.iter().map(move |r| (file.as_str(), r)))
        .collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(8) {
            scope.spawn(|| {
                while let Some((at, (file, report))) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, all.get(i)?)))
                {
                    let (verdict, exit, talk) = check(&report.args);
                    let mut text = String::new();
                    if !report.accepts(&verdict) {
                        let _ = writeln!(text, "{file}: {} ({})", report.id, report.source);
                        let _ = writeln!(text, "   gpuseal check {}", report.args.join(" "));
                        let _ = writeln!(text, "   wants {}: {}", report.verdict, report.why);
                        let _ = write!(text, "   gives {verdict}\n{talk}");
                    } else if exit != Some(exit_of(&verdict)) {
                        let _ = writeln!(
                            text,
                            "{file}: {}: {verdict} must exit with {}, not {exit:?}",
                            report.id,
                            exit_of(&verdict)
                        );
                    }
                    if !text.is_empty() {
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push((at, text));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let text: String = wrong.iter().map(|(_, t)| t.as_str()).collect();
    assert!(wrong.is_empty(), "{} of {} reports differ:\n{text}", wrong.len(), all.len());
}

#[test]
fn reports_are_well_formed() {
    let mut ids = BTreeSet::new();
    for (file, list) in reports() {
        for report in list {
            let Report { id, source, args, verdict, accepts, why } = &report;
            assert!(ids.insert(id.clone()), "{file}: {id} stands twice");
            assert!(
                !source.is_empty() && !args.is_empty() && !why.is_empty(),
                "{file}: {id} lacks a field"
            );
            for word in accepts.iter().flatten().chain([verdict]) {
                assert!(word.parse::<Code>().is_ok(), "{file}: {id}: `{word}` is no verdict");
            }
            assert_eq!(
                accepts.is_some(),
                file == "doubtful.yaml",
                "{file}: {id}: `accepts` belongs to doubtful.yaml alone"
            );
            assert!(
                report.accepts(verdict),
                "{file}: {id}: its verdict is not among those it accepts"
            );
        }
    }
    assert!(ids.len() >= 450, "only {} reports are left", ids.len());
}

/// Every verdict that flags alone can bring about stands in some report.
#[test]
fn reports_span_the_vocabulary() {
    let seen: BTreeSet<String> = reports().into_values().flatten().map(|r| r.verdict).collect();
    let by_flags = [
        "no-cuda-platform",
        "no-such-wheel",
        "missing-index",
        "python-unsupported",
        "cpu-only-wheel",
        "glibc-too-old",
        "no-driver",
        "kernel-module-mismatch",
        "driver-too-old-for-gpu",
        "driver-too-new",
        "container-requirement",
        "env-path",
        "driver-too-old",
        "forward-compat-unsupported",
        "arch-not-in-binary",
        "abi-mismatch",
        "companion-mismatch",
        "toolkit-mismatch",
        "cudnn-mismatch",
        "unknown",
        "ok-via-ptx-jit",
        "ok",
    ];
    let missing: Vec<_> = by_flags.iter().filter(|word| !seen.contains(**word)).collect();
    assert!(missing.is_empty(), "no report brings about {missing:?}");
}
