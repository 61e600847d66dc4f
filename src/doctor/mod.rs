//! Judges facts about a machine, link by link of the chain. Collects nothing, so that a recorded
//! host gives the same words.

mod beside;
mod container;
mod driver;
mod gpu;
mod install;
mod libraries;
mod lock;
mod product;
mod registry;
mod selection;
mod toolkit;
mod user_driver;
mod view;
mod wheel;

pub use registry::REGISTRY;
pub use user_driver::by_status;
pub use view::{counted, quoted};

use crate::domain::{Code, Finding, Severity, shown};
use crate::host::{Facts, Unread};
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
    /// It asks whether something works at all: where a cause was found elsewhere, it only shows it.
    pub symptom: bool,
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
    /// There is nothing to judge here: no card, no driver, no trace of either.
    pub nothing_here: bool,
    /// A matrix product was right on every device.
    pub proven: bool,
    /// What of the machine could not be read, and why.
    pub unread: Vec<String>,
    /// A toolkit is here that nothing needs; what is to be said of it.
    pub nvcc: Option<String>,
}

impl Link {
    /// Every link, in order.
    pub const ALL: &[Self] = &[
        Self::Gpu,
        Self::KernelDriver,
        Self::UserDriver,
        Self::Container,
        Self::Toolkit,
        Self::Wheel,
        Self::Libraries,
        Self::Selection,
        Self::Product,
        Self::Lock,
    ];

    /// Its word in texts and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::KernelDriver => "kernel-driver",
            Self::UserDriver => "user-driver",
            Self::Container => "container",
            Self::Toolkit => "toolkit",
            Self::Wheel => "wheel",
            Self::Libraries => "libraries",
            Self::Selection => "selection",
            Self::Product => "product",
            Self::Lock => "lock",
        }
    }
}

impl Report {
    /// Findings in the order of the chain.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|checked| match &checked.outcome {
            Outcome::Found(findings) => findings.as_slice(),
            _ => &[],
        })
    }

    /// The first broken link and its finding.
    pub fn broken(&self) -> Option<(Link, &Finding)> {
        self.checks.iter().find_map(|checked| match &checked.outcome {
            Outcome::Found(findings) => {
                let broken = findings.iter().find(|f| f.severity == Severity::Error)?;
                Some((checked.check.link, broken))
            }
            _ => None,
        })
    }
}

/// Runs every check of the registry.
pub fn examine(subject: &Subject<'_>) -> Report {
    report(subject, |_| true)
}

/// The same where `lock` was resolved a moment ago and is no file: nothing was installed by it.
pub fn examine_resolved(subject: &Subject<'_>) -> Report {
    report(subject, |check| check.name != lock::AS_LOCKED)
}

fn report(subject: &Subject<'_>, wanted: impl Fn(&Check) -> bool) -> Report {
    let checks: Vec<Checked> = REGISTRY
        .iter()
        .filter(|check| wanted(check))
        .map(|check| Checked { check: *check, outcome: (check.run)(subject) })
        .collect();
    let mut report = Report {
        verdict: Code::Ok,
        checks,
        nothing_here: nothing_here(subject),
        proven: subject.proven(),
        unread: subject.facts.unread.iter().take(8).map(unread).collect(),
        nvcc: toolkit::nvcc_line(subject),
    };
    let looked = |c: &Checked| matches!(c.outcome, Outcome::Passed(_) | Outcome::Found(_));
    report.verdict = if let Some((_, broken)) = report.broken() {
        broken.code
    } else if report.checks.iter().any(looked) {
        Code::Ok
    } else {
        Code::Unknown
    };
    report
}

fn unread(unread: &Unread) -> String {
    format!("{}: {}", shown(&unread.what), shown(&unread.why))
}

/// Whether the machine shows no trace of an NVIDIA GPU.
fn nothing_here(subject: &Subject<'_>) -> bool {
    let facts = subject.facts;
    let no_card = facts.pci.as_ref().is_none_or(|pci| pci.value.is_empty());
    let no_cuda_here = facts.system.platform.is_some_and(|p| !p.has_cuda());
    no_card
        && (facts.pci.is_some() || no_cuda_here)
        && facts.module.is_none()
        && subject.driver().is_none()
        && subject.devices().is_empty()
        && !subject.cuda_works()
        && subject.card_nodes().unwrap_or(0) == 0
        && !subject.is_jetson()
        && !subject.in_wsl()
}

/// Whether a check found the link broken.
fn errors(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Found(list) if list.iter().any(|f| f.severity == Severity::Error))
}

/// What the symptom of the check `of` comes to where a cause was found, or an earlier symptom: a
/// remark. `None`: nothing says why.
fn follows(subject: &Subject<'_>, of: &str, symptom: &str) -> Option<Outcome> {
    let causes = REGISTRY.iter().filter(|check| !check.symptom && may_cause(subject, check, of));
    let earlier =
        REGISTRY.iter().take_while(|check| check.name != of).filter(|check| check.symptom);
    let broken = causes.chain(earlier).find_map(|check| match (check.run)(subject) {
        Outcome::Found(list) => list.into_iter().find(|f| f.severity == Severity::Error),
        _ => None,
    })?;
    let message = format!("{symptom}{FOLLOWS}`{}`", broken.code);
    Some(Outcome::Found(vec![Finding::new(broken.code, Severity::Note, message)]))
}

/// Whether what a check finds can be why the symptom of the check `of` shows. A wheel without GPU code
/// explains that torch sees no GPU, and never that the driver does not start.
fn may_cause(subject: &Subject<'_>, check: &Check, of: &str) -> bool {
    let access = ["container-has-gpu", "container-capabilities"].contains(&check.name);
    let driver = matches!(check.link, Link::Gpu | Link::KernelDriver | Link::UserDriver) || access;
    match of {
        "nvml-answers" => driver,
        "cuda-starts" => {
            let hidden = matches!(subject.cuda_code(), Some(100 | 101)) || subject.sees_none();
            driver || check.name == "visible-devices" && hidden
        }
        // What serves other programs: containers, compilers, the project's lock.
        _ => match check.link {
            Link::Container => access,
            Link::Toolkit | Link::Lock => false,
            _ => true,
        },
    }
}

/// Between a symptom and the code of what it follows from.
const FOLLOWS: &str = ": it follows from ";

/// The symptom in the message of a remark that it follows from something else.
pub fn symptom_of(finding: &Finding) -> Option<&str> {
    Some(finding.message.rsplit_once(FOLLOWS)?.0)
}
