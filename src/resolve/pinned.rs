//! What a project pins exactly: the combination that `check` judges.

use super::case::Case;
use super::parts::{Fixed, parts};
use super::problem::{Pool, Problem};
use crate::domain::{Finding, Package, PythonVersion, TorchVersion};
use crate::matrix::Matrix;
use crate::requirements::PythonWish;
use crate::requirements::project::{Answer, Project};

/// What the files of a project pin.
#[derive(Debug, Clone, Default)]
pub struct Pinned {
    /// torch, with the label of the build that is asked for.
    pub torch: Option<TorchVersion>,
    /// Python, when it is exact.
    pub python: Option<PythonVersion>,
    /// Address of the index that torch is to come from.
    pub index: Option<String>,
    /// Companions.
    pub with: Vec<Package>,
    /// What the files disagree about, and what counted.
    pub findings: Vec<Finding>,
}

/// Why a project pins nothing.
#[derive(Debug, Clone)]
pub enum Unpinned {
    /// Its lines contradict each other.
    Contradiction(Vec<Finding>),
    /// It has options that exclude each other: their names.
    Options(Vec<String>),
    /// It leaves the release of torch open.
    Open(String),
}

/// What a project pins for the machine of a case: exact versions, or those of another tool's lock.
///
/// # Errors
/// See [`Unpinned`].
pub fn pinned(
    case: &Case,
    project: &Project,
    answers: &[Answer],
    fixed: &Fixed,
    matrix: &Matrix,
) -> Result<Pinned, Unpinned> {
    let pool = Pool {
        name: String::new(),
        gpus: case.gpus.clone(),
        driver: None,
        platform: case.platform,
        libc: None,
        module: None,
        kept: None,
    };
    let python = case.python.map(PythonWish::Exact);
    let machine = Problem { targets: vec![pool], python, ..Problem::default() };
    let fixed = Fixed { python: fixed.python || machine.python.is_some(), ..fixed.clone() };
    let parts =
        parts(&machine, project, answers, &fixed, matrix).map_err(Unpinned::Contradiction)?;
    let [part] = &parts.parts[..] else {
        return Err(Unpinned::Options(answers.iter().map(Answer::name).collect()));
    };
    let Some(problem) = part.problems.first() else { return Ok(Pinned::default()) };
    let python = match &problem.python {
        Some(PythonWish::Exact(version)) => Some(*version),
        _ => None,
    };
    let mut pinned = Pinned {
        torch: None,
        python,
        index: part.index.clone(),
        with: problem.with.clone(),
        findings: part.findings.clone(),
    };
    let Some(wish) = problem.torch.as_ref().filter(|_| !fixed.torch) else { return Ok(pinned) };
    let exact = wish.versions.iter().find(|spec| {
        matches!(spec.operator(), pep440_rs::Operator::Equal | pep440_rs::Operator::ExactEqual)
    });
    let version = match exact {
        Some(spec) => spec.version().clone(),
        None => project
            .pins
            .iter()
            .find(|pin| pin.name == "torch" && wish.versions.contains(&pin.version))
            .map(|pin| pin.version.clone())
            .ok_or_else(|| Unpinned::Open(wish.given.clone()))?,
    };
    let build = wish.variant.filter(|_| version.local().is_empty());
    let label = build.map_or(String::new(), |variant| format!("+{variant}"));
    pinned.torch = format!("{version}{label}").parse().ok();
    Ok(pinned)
}
