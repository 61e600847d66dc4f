//! An error in the voices of a result: a command that does not come to its answer says why in each.

use serde_json::json;

use super::{TOOL, github, json_v1};
use crate::domain::Place;
use crate::error::Error;

/// An error, taken apart.
pub struct Failure<'e> {
    error: &'e Error,
    place: Option<Place>,
}

impl<'e> Failure<'e> {
    /// Of an error.
    pub fn of(error: &'e Error) -> Self {
        let place = error.place().map(|bad| Place {
            file: bad.file.display().to_string(),
            line: bad.place.as_ref().map_or(1, |(line, _)| *line),
        });
        Self { error, place }
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
