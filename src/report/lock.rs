//! How a lock, and the files that are rendered from it, stand to what they should be.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::found::slashed;
use super::json_v1;
use crate::domain::{Code, Finding, Place, Severity, Sha256};
use crate::lock::{Lockfile, drift};
use crate::matrix::Matrix;

/// A lock and what is known of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The file.
    pub path: String,
    /// Its digest; `None` where there is no file.
    pub digest: Option<Sha256>,
    /// What it says; `None` where there is no file.
    pub lock: Option<Lockfile>,
    /// How it stands.
    pub state: State,
    /// What differs from what is asked for, or would change.
    pub changes: Vec<String>,
    /// Facts that the matrix has corrected, on which the lock rests.
    pub corrected: Vec<String>,
    /// That is no warning but an error.
    pub deny: bool,
    /// Files that are rendered from it.
    pub files: Vec<Rendered>,
}

/// How a file stands to what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is what it should be.
    Unchanged,
    /// It is something else.
    Stale,
    /// It is not there.
    Missing,
    /// It would be written, and was not.
    Planned,
    /// It was not what it should be, and is now.
    Written,
}

impl State {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Planned => "planned",
            Self::Written => "written",
        }
    }
}

/// A rendered file.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The file.
    pub path: String,
    /// Its kind, as `render` is told it.
    pub kind: &'static str,
    /// How it stands.
    pub state: State,
    /// In what it differs, as a patch.
    pub difference: String,
}

impl Rendered {
    /// One that went to standard output.
    pub fn on_stdout(kind: &'static str) -> Self {
        Self { path: "-".into(), kind, state: State::Written, difference: String::new() }
    }
}

impl Standing {
    /// Of a lock that is there.
    pub fn of(path: &Path, lock: &Lockfile, state: State) -> Self {
        Self::new(slashed(path), Some(lock), state)
    }

    /// Of a lock that is not there.
    pub fn missing(path: &Path) -> Self {
        Self::new(slashed(path), None, State::Missing)
    }

    fn new(path: String, lock: Option<&Lockfile>, state: State) -> Self {
        let digest = lock.map(Lockfile::digest);
        let (changes, corrected, files) = (Vec::new(), Vec::new(), Vec::new());
        Self { path, digest, lock: lock.cloned(), state, changes, corrected, deny: false, files }
    }

    /// The same with what has changed from an older lock.
    #[must_use]
    pub fn since(mut self, old: Option<&Lockfile>, new: &Lockfile) -> Self {
        let changes = old.map_or_else(Vec::new, |old| drift::diff(old, new));
        self.changes = changes.iter().map(ToString::to_string).collect();
        self
    }

    /// What is to be said about it and its files.
    pub fn findings(&self) -> Vec<Finding> {
        let mut list = self.own_findings();
        list.extend(findings(&self.files));
        list
    }

    /// What is to be said about it alone.
    pub fn own_findings(&self) -> Vec<Finding> {
        let at = Place { file: self.path.clone(), line: 1 };
        let stale =
            |severity, message: String| Finding::new(Code::LockStale, severity, message).at(&at);
        let told = |finding: Finding, changes: &[String]| {
            changes.iter().fold(finding, |finding, change| finding.fact(change, ""))
        };
        let mut list = Vec::new();
        let path = &self.path;
        match self.state {
            State::Missing => list.push(
                stale(Severity::Error, format!("there is no `{path}`"))
                    .help("run `gpuseal lock` and commit the result"),
            ),
            State::Stale => list.push(told(
                stale(Severity::Error, format!("`{path}` is out of date"))
                    .help("run `gpuseal lock` and commit the result"),
                &self.changes,
            )),
            State::Unchanged | State::Planned | State::Written => (),
        }
        if !self.corrected.is_empty() {
            let severity = if self.deny { Severity::Error } else { Severity::Warning };
            let message = format!(
                "the matrix has corrected facts that `{path}` rests on; its choices still hold"
            );
            list.push(told(
                stale(severity, message).help("run `gpuseal lock` to write them down"),
                &self.corrected,
            ));
        }
        list
    }

    /// The decisive code.
    pub fn verdict(&self) -> Code {
        verdict(&self.findings())
    }

    /// The lock as a part of a document.
    pub(super) fn json(&self) -> Value {
        json!({
            "path": self.path,
            "digest": self.digest.as_ref().map(Sha256::as_str),
            "state": self.state,
            "changes": self.changes,
            "corrected": self.corrected,
            "files": files(&self.files),
        })
    }

    /// What is not as it should be, a line each.
    pub fn lines(&self) -> String {
        if self.state == State::Written {
            return String::new();
        }
        let lines = self.changes.iter().chain(&self.corrected).map(String::as_str);
        lines.flat_map(|change| [change, "\n"]).collect()
    }

    /// `gpuseal.lock`
    pub fn document(&self, matrix: &Matrix) -> String {
        let findings = self.findings();
        let body = json!({
            "verdict": verdict(&findings),
            "lock": self.json(),
            "findings": findings.iter().map(json_v1::finding).collect::<Vec<_>>(),
        });
        json_v1::document("gpuseal.lock", matrix, body)
    }
}

fn verdict(findings: &[Finding]) -> Code {
    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
    error.map_or(Code::Ok, |finding| finding.code)
}

/// What is to be said about rendered files.
pub fn findings(files: &[Rendered]) -> Vec<Finding> {
    let stale = files.iter().filter(|file| matches!(file.state, State::Stale | State::Missing));
    stale
        .map(|file| {
            let at = Place { file: file.path.clone(), line: 1 };
            let message = format!("`{}` is not what the lock renders", file.path);
            let how =
                if file.kind == "uv" { " --write".into() } else { format!(" -o {}", file.path) };
            Finding::new(Code::LockStale, Severity::Error, message).at(&at).help(format!(
                "run `gpuseal render {}{how}` with the flags that it has, and commit the result",
                file.kind
            ))
        })
        .collect()
}

fn files(files: &[Rendered]) -> Vec<Value> {
    let row = |file: &Rendered| {
        json!({
            "path": file.path, "kind": file.kind, "state": file.state, "difference": file.difference,
        })
    };
    files.iter().map(row).collect()
}

/// `gpuseal.render`
pub fn rendered(lock: &Lockfile, list: &[Rendered]) -> String {
    let findings = findings(list);
    let body = json!({
        "verdict": verdict(&findings),
        "lock": lock.digest().as_str(),
        "files": files(list),
        "findings": findings.iter().map(json_v1::finding).collect::<Vec<_>>(),
    });
    json_v1::document_of_lock("gpuseal.render", lock, body)
}

/// Differences as patches, one after the other.
pub fn differences(list: &[Rendered]) -> String {
    list.iter().map(|file| file.difference.as_str()).collect()
}
