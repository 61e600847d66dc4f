//! A project's own demands over the targets: one problem for every set of its options and every
//! platform, because markers and indexes may differ there.

use std::collections::{BTreeMap, BTreeSet};

use super::Outcome;
use super::layer::Layer;
use super::problem::{Kept, Pool, Problem};
use super::stack::{LeftOut, Resolution, Stack};
use crate::domain::{Code, Finding, Gather as _, Platform, Severity};
use crate::matrix::Matrix;
use crate::requirements::project::{Answer, Pin, Project, Setting};

/// What flags have decided, so that the files no longer matter.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    /// `--torch`
    pub torch: bool,
    /// `--cuda`
    pub cuda: bool,
    /// `--python`
    pub python: bool,
    /// Names given by `--with`.
    pub with: BTreeSet<String>,
}

/// One set of options on one platform.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of the options; empty where the project has no choice to make.
    pub name: String,
    /// The options themselves.
    pub answer: Answer,
    /// What to solve. Several where a marker tells Pythons apart: the newest Python first.
    pub problems: Vec<Problem>,
    /// Address of the index that the build is taken from, when a line names it.
    pub index: Option<String>,
    /// What the files say that is worth knowing beside the answer.
    pub findings: Vec<Finding>,
}

/// The parts of a project, and the sets of options that are left out beside them.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// To be solved.
    pub parts: Vec<Part>,
    /// Sets that contradict themselves, or that ask for builds without CUDA.
    pub left_out: Vec<LeftOut>,
}

/// Lays the demands of a project under a problem.
///
/// # Errors
/// Lines that contradict each other about a package this program answers for, or that ask for builds
/// without CUDA, when that leaves nothing to solve.
pub fn parts(
    problem: &Problem,
    project: &Project,
    answers: &[Answer],
    fixed: &Fixed,
    matrix: &Matrix,
) -> Result<Parts, Vec<Finding>> {
    let mut platforms: BTreeMap<Platform, Vec<Pool>> = BTreeMap::new();
    for pool in &problem.targets {
        platforms.entry(pool.platform()).or_default().push(pool.clone());
    }
    let mut all = Parts::default();
    let mut refusals = Vec::new();
    for answer in answers {
        let mut here = Vec::new();
        let mut against = Vec::new();
        for (platform, targets) in &platforms {
            let layer = Layer { problem, project, answer, fixed, matrix, platform: *platform };
            let built = layer.problems(targets);
            against.extend(built.against);
            here.push(Part {
                name: answer.name(),
                answer: answer.clone(),
                problems: built.problems,
                index: built.index,
                findings: layer.findings(),
            });
        }
        if let Some(first) = against.first() {
            all.left_out.push(LeftOut { name: answer.name(), why: first.message.clone() });
            refusals.append(&mut against);
            continue;
        }
        // One problem where the platforms do not matter: one release for all targets.
        match &here[..] {
            [first, rest @ ..] if rest.iter().all(|part| first.asks_the_same(part)) => {
                let mut joined = first.clone();
                for one in &mut joined.problems {
                    one.targets.clone_from(&problem.targets);
                }
                all.parts.push(joined);
            }
            _ => all.parts.extend(here),
        }
    }
    if all.parts.is_empty() {
        let mut seen = BTreeSet::new();
        refusals.retain(|finding: &Finding| seen.insert(finding.message.clone()));
        return Err(refusals);
    }
    if all.parts.iter().map(|part| &part.answer.named).gather::<BTreeSet<_>>().len() < 2 {
        for part in &mut all.parts {
            part.name.clear();
        }
    }
    Ok(all)
}

/// Solves every part. A set of options without an answer is left out beside others that have one; what
/// is left when none has is explained.
///
/// `kept` are the choices of a lock by the names of its targets; they stay while they fit.
pub fn resolve_parts(
    parts: &Parts,
    project: &Project,
    matrix: &Matrix,
    kept: &BTreeMap<String, Kept>,
) -> Outcome {
    let mut all = Resolution { stacks: Vec::new(), left_out: parts.left_out.clone() };
    let mut first = None;
    let mut seen = BTreeSet::new();
    for part in parts.parts.iter().filter(|part| seen.insert(&part.answer.named)) {
        // All platforms of a set, or none of them.
        let mine = parts.parts.iter().filter(|other| other.answer.named == part.answer.named);
        let stacks: Result<Vec<_>, _> =
            mine.map(|part| stacks_of(part, project, matrix, kept)).collect();
        match stacks {
            Ok(stacks) => all.stacks.extend(stacks.into_iter().flatten()),
            Err(outcome) => {
                all.left_out.push(LeftOut { name: part.name.clone(), why: why(&outcome) });
                first.get_or_insert(*outcome);
            }
        }
    }
    let mut taken = BTreeSet::new();
    for stack in &mut all.stacks {
        let plain = stack.target.clone();
        for number in 2.. {
            if taken.insert(stack.target.clone()) {
                break;
            }
            let cut: String = plain.chars().take(58).collect();
            stack.target = format!("{cut}-{number}");
        }
    }
    match first {
        Some(outcome) if all.stacks.is_empty() => outcome,
        _ => Outcome::Solved(all),
    }
}

/// The stacks of one part: those of the newest Python that has them.
fn stacks_of(
    part: &Part,
    project: &Project,
    matrix: &Matrix,
    kept: &BTreeMap<String, Kept>,
) -> Result<Vec<Stack>, Box<Outcome>> {
    let mut failed = None;
    for problem in &part.problems {
        let mut problem = problem.clone();
        for pool in &mut problem.targets {
            pool.kept = kept.get(&part.target_name(&pool.name)).cloned();
        }
        match super::resolve(&problem, matrix) {
            Outcome::Solved(resolution) => {
                let mut stacks = resolution.stacks;
                for stack in &mut stacks {
                    stack.findings.extend(part.findings.iter().cloned());
                    stack.findings.extend(pinned_elsewhere(stack, project));
                    stack.target = part.target_name(&stack.target);
                }
                return Ok(stacks);
            }
            other => {
                failed.get_or_insert(other);
            }
        }
    }
    match failed {
        Some(Outcome::Unsatisfiable(e)) => Err(Box::new(Outcome::Unsatisfiable(renamed(e, part)))),
        Some(Outcome::Unknown(e)) => Err(Box::new(Outcome::Unknown(renamed(e, part)))),
        // Every part has a problem: one without is left out before.
        _ => Ok(Vec::new()),
    }
}

/// Why a set of options has no answer, in one sentence.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Solved(_) => String::new(),
        Outcome::Unsatisfiable(e) | Outcome::Unknown(e) if !e.clash.is_empty() => {
            format!("these clash: {}", e.clash.join("; "))
        }
        Outcome::Unsatisfiable(e) | Outcome::Unknown(e) => {
            e.reasons.first().map_or(String::new(), |reason| reason.message.clone())
        }
    }
}

/// `train` with the extra `cu128` is `train-cu128`: a name is also a build stage and a file.
fn named(target: &str, part: &str) -> String {
    let fits = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }
    };
    let part: String = part.chars().map(fits).collect();
    format!("{target}-{part}").chars().take(63).collect()
}

fn renamed(mut explanation: super::Explanation, part: &Part) -> super::Explanation {
    if !part.name.is_empty() {
        for target in &mut explanation.targets {
            *target = named(target, &part.name);
        }
    }
    explanation
}

/// What a lock of another tool pins, where the answer is something else.
fn pinned_elsewhere(stack: &Stack, project: &Project) -> Option<Finding> {
    let setting = Setting::new(stack.platform, stack.python);
    let mine = |pin: &&Pin| pin.name == "torch" && pin.holds(&setting);
    let mut pins = project.pins.iter().filter(mine).peekable();
    let first = *pins.peek()?;
    let release = stack.torch.to_string();
    let same = |pin: &Pin| {
        pin.version.clone().without_local().to_string() == release
            && pin.variant().is_none_or(|variant| variant == stack.variant)
    };
    if pins.any(same) {
        return None;
    }
    Some(
        Finding::new(
            Code::LockStale,
            Severity::Note,
            format!(
                "{} pins torch {}, and the answer is {release}+{}",
                first.place, first.version, stack.variant
            ),
        )
        .at(&first.place)
        .help(format!("ask for --torch {} to stay there", first.version)),
    )
}

impl Part {
    /// What the lock calls a target of this part.
    pub fn target_name(&self, target: &str) -> String {
        if self.name.is_empty() { target.to_owned() } else { named(target, &self.name) }
    }

    fn asks_the_same(&self, other: &Self) -> bool {
        let head = |problem: &Problem| {
            (
                problem.torch.clone(),
                problem.python.clone(),
                problem.cuda.clone(),
                problem.with.clone(),
            )
        };
        self.problems.len() == other.problems.len()
            && self.problems.iter().zip(&other.problems).all(|(a, b)| head(a) == head(b))
    }
}
