//! An error in the voices of a result: a command that does not come to its answer says why in each.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::{Found, TOOL, github, json_v1, slashed};
use crate::domain::{Code, Finding, Place, Severity};
use crate::error::{Error, Exit};

/// An error, taken apart.
pub struct Failure<'e> {
    error: &'e Error,
    place: Option<Place>,
    /// The same for voices that list findings.
    pub found: Found<'static>,
}

impl<'e> Failure<'e> {
    /// Of an error with which a command about a project ends so.
    pub fn of(error: &'e Error, command: &'static str, project: &Path, exit: Exit) -> Self {
        let place = match error {
            Error::Lock(err) => err.place(),
            _ => error.place().map(|bad| Place {
                file: slashed(&bad.file),
                line: bad.place.as_ref().map_or(1, |(line, _)| *line),
            }),
        };
        let place = place.map(|place| super::found::below(project, place));
        let found = Found::new(command, exit, None);
        let found = if error.findings().is_empty() {
            let unknown = error.exit() == Exit::Unknown;
            let severity = if unknown { Severity::Unknown } else { Severity::Error };
            let mut finding = Finding::new(Code::Unknown, severity, error.to_string());
            finding.place.clone_from(&place);
            finding.help.extend(error.help());
            for fault in error.faults() {
                finding = finding.fact(fault.to_string(), "");
            }
            found.over_all(if unknown { "unknown" } else { "error" }, finding)
        } else {
            found.with("", None, error.findings()).of_project(project)
        };
        Self { error, place, found }
    }

    /// For people.
    pub fn human(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        if let Some(help) = self.error.help() {
            let _ = writeln!(text, "help: {help}");
        }
        text
    }

    /// One error annotation.
    pub fn github(&self) -> String {
        let place = self.place.as_ref().map(|place| (place.file.as_str(), place.line));
        github::error("gpuseal", &self.error.to_string(), place)
    }

    /// `gpuseal.error`
    pub fn json(&self) -> String {
        json_v1::written(&json!({
            "schema": { "name": "gpuseal.error", "version": "1.0" },
            "tool": { "name": TOOL.0, "version": TOOL.1 },
            // It may be the matrix that cannot be read.
            "matrix": null,
            "result": "error",
            "exit": self.error.exit() as u8,
            "message": self.error.to_string(),
            "help": self.error.help(),
            "path": self.place.as_ref().map(|place| &place.file),
            "line": self.place.as_ref().map(|place| place.line),
            "findings": self.error.findings().iter().map(json_v1::finding).collect::<Vec<_>>(),
        }))
    }
}
