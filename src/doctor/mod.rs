//! Judges facts about a machine, link by link of the chain. Collects nothing, so that a recorded
//! host gives the same words.

mod registry;

pub use registry::REGISTRY;

use crate::domain::{Code, Finding, Severity};
use crate::host::Facts;
use crate::lock::Lockfile;
use crate::matrix::Matrix;

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The machine.
    pub facts: &'s Facts,
    /// What is compatible with what.
    pub matrix: &'s Matrix,
    /// The lock that this machine is to run, when there is one.
    pub lock: Option<&'s Lockfile>,
}

/// Links of the chain, in its order: a later one is never reached on a machine whose earlier is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// The GPU is there, healthy and free.
    Gpu,
    /// The kernel driver.
    KernelDriver,
    /// The user-mode driver.
    UserDriver,
    /// The container's access to both.
    Container,
    /// The toolkit; only where something compiles.
    Toolkit,
    /// The wheel: CUDA or CPU, its code, the index it came from.
    Wheel,
    /// The libraries that the loader picks.
    Libraries,
    /// Which devices the process is shown.
    Selection,
    /// A small matrix product on every device.
    Product,
    /// The lock or the requirements of the project, against this machine.
    Lock,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was looked at, and is fine; what was seen.
    Passed(String),
    /// It could not be looked at, and why. Never shown as fine.
    Skipped(String),
    /// It says nothing about this machine (no MIG, no container): not shown.
    Apart,
    /// Something is to be said: an error breaks the chain.
    Found(Vec<Finding>),
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Stable, unique, kebab-case.
    pub name: &'static str,
    /// Its link.
    pub link: Link,
    /// The check itself.
    pub run: fn(&Subject<'_>) -> Outcome,
}

/// A check and what it came to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Which check.
    pub check: Check,
    /// What it came to.
    pub outcome: Outcome,
}

/// The answer of `doctor`.
#[derive(Debug, Clone)]
pub struct Report {
    /// The code of the first broken link, `ok`, or `unknown` where nothing could be looked at.
    pub verdict: Code,
    /// Every check in the order of the registry.
    pub checks: Vec<Checked>,
}

impl Report {
    /// Findings, the decisive one first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|checked| match &checked.outcome {
            Outcome::Found(findings) => findings.as_slice(),
            _ => &[],
        })
    }
}

/// Runs every check of the registry.
pub fn examine(subject: &Subject<'_>) -> Report {
    let checks: Vec<Checked> = REGISTRY
        .iter()
        .map(|check| Checked { check: *check, outcome: (check.run)(subject) })
        .collect();
    let mut report = Report { verdict: Code::Ok, checks };
    let broken = report.findings().find(|f| f.severity == Severity::Error).map(|f| f.code);
    report.verdict = broken.unwrap_or(Code::Ok);
    report
}
