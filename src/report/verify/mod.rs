//! The answer of `verify`: for people, for programs, for CI systems, monitors and auditors.

use super::Found;
use super::json_v1;
use super::markdown::Page;
use crate::domain::{Finding, Severity};
use crate::matrix::Matrix;
use crate::verify::{Check, Outcome, Ran, Verification};

/// What was found, worst first: failures are errors, what could not be looked at is unknown.
pub fn findings(verification: &Verification) -> Vec<Finding> {
    verification.checks().filter_map(|(ran, check)| finding(ran, check)).collect()
}

fn finding(ran: &Ran, check: &Check) -> Option<Finding> {
    let severity = match check.outcome {
        Outcome::Fail | Outcome::Hang | Outcome::Crash => Severity::Error,
        Outcome::Warn => Severity::Warning,
        Outcome::Skip if !check.optional => Severity::Unknown,
        Outcome::Pass | Outcome::Skip => return None,
    };
    let place = ran.device.map_or_else(String::new, |device| format!(", device {device}"));
    let message = format!("{}{place}: {}", ran.layer.title(), check.text);
    let mut finding = Finding::new(check.code, severity, message);
    finding.facts.clone_from(&check.facts);
    finding.help.clone_from(&check.help);
    Some(finding)
}

/// Text for people.
pub fn human(verification: &Verification, _matrix: &Matrix) -> String {
    format!("{}\n", verification.verdict.word())
}

/// `gpuseal.verify`
pub fn json(verification: &Verification, matrix: &Matrix) -> String {
    json_v1::document("gpuseal.verify", matrix, verification)
}

/// Markdown for a summary.
pub fn markdown(verification: &Verification, found: &Found<'_>) -> String {
    Page::of(found, verification.verdict.word(), "", |_| ())
}
