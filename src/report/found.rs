//! What a command found, for the voices that list findings one by one.

use std::path::{Component, Path, PathBuf};

use super::{github, sarif};
use crate::domain::{Finding, Order as _, Place};
use crate::error::Exit;
use crate::matrix::Matrix;

/// Findings of a command, each at its place.
pub struct Found<'m> {
    /// The command, as it is typed.
    pub command: &'static str,
    /// How the program ends.
    pub exit: Exit,
    /// The matrix, where the command has one.
    pub matrix: Option<&'m Matrix>,
    /// The file that findings without a place are about; empty: none.
    pub about: String,
    /// Worst first.
    pub list: Vec<Located>,
}

/// A finding with the target that it is about.
#[derive(Debug, Clone)]
pub struct Located {
    /// The finding's code, or what is said over all of them.
    pub title: &'static str,
    /// Name of the target; empty: all of them, or none.
    pub target: String,
    /// The finding.
    pub finding: Finding,
}

impl<'m> Found<'m> {
    /// Nothing yet.
    pub const fn new(command: &'static str, exit: Exit, matrix: Option<&'m Matrix>) -> Self {
        Self { command, exit, matrix, about: String::new(), list: Vec::new() }
    }

    /// Says which file findings without a place are about.
    #[must_use]
    pub fn about(mut self, file: &Path) -> Self {
        self.about = slashed(file);
        self
    }

    /// Adds findings, with the place of those that have none.
    #[must_use]
    pub fn with<'f>(
        mut self,
        target: &str,
        place: Option<&Place>,
        findings: impl IntoIterator<Item = &'f Finding>,
    ) -> Self {
        for finding in findings {
            let mut finding = finding.clone();
            finding.place = finding.place.or_else(|| place.cloned());
            self.list.push(Located { title: finding.code.word(), target: target.into(), finding });
        }
        self.list.order_by_key(|located| located.finding.severity);
        self
    }

    /// Puts first what is said over all of them.
    #[must_use]
    pub fn over_all(mut self, title: &'static str, finding: Finding) -> Self {
        self.list.insert(0, Located { title, target: String::new(), finding });
        self
    }

    /// Names files as one does in the current folder: those of a project are named from its folder.
    #[must_use]
    pub fn of_project(mut self, project: &Path) -> Self {
        for located in &mut self.list {
            let place = located.finding.place.take();
            located.finding.place = place.map(|place| below(project, place));
        }
        self
    }

    /// SARIF 2.1.0.
    pub fn sarif(&self) -> String {
        sarif::log(self)
    }

    /// Annotations for a GitHub workflow.
    pub fn github(&self) -> String {
        github::annotations(&self.list)
    }
}

/// A place that may be named from the folder of a project, named from the current one.
pub(super) fn below(project: &Path, place: Place) -> Place {
    let inside = project.join(&place.file);
    if project == Path::new(".") || !inside.is_file() {
        return place;
    }
    Place { file: slashed(&inside), ..place }
}

/// A path as addresses and annotations have it.
pub fn slashed(path: &Path) -> String {
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { text.into_owned() } else { text.replace('\\', "/") }
}

/// A file as annotations and scanners know it: named from the root of the repository where the job has
/// one checked out, else from the current folder. `None`: it is below neither.
pub fn reference(file: &str) -> Option<String> {
    let file = cleaned(Path::new(file));
    // A link on the way hides that a file is below, or the name under which the repository has it.
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let roots =
        [std::env::var_os("GITHUB_WORKSPACE").filter(|root| !root.is_empty()), Some(".".into())];
    roots.iter().flatten().find_map(|root| {
        let root = cleaned(Path::new(root));
        let below = file.strip_prefix(&root).map(Path::to_owned);
        let below =
            below.or_else(|_| real(&file).strip_prefix(real(&root)).map(Path::to_owned)).ok()?;
        let below = slashed(&below);
        Some(if below.is_empty() { ".".into() } else { below })
    })
}

/// A path from the root without `.` and `..`, whether or not something stands there.
pub fn cleaned(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => _ = clean.pop(),
            Component::CurDir => (),
            part => clean.push(part),
        }
    }
    clean
}
