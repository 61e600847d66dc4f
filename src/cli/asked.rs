//! What a command asks for: file and flags, and the project's own files below them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::Wanted;
use super::output::Output;
use super::wanted;
use crate::domain::{Finding, Setting, Sha256, normalise_name};
use crate::error::Error;
use crate::lock;
use crate::matrix::Matrix;
use crate::requirements::project::{self, Answer, Choice, Demand, Kind, Project};
use crate::requirements::{Requirements, in_project};
use crate::resolve::case::Case;
use crate::resolve::{
    Explanation, Fixed, Kept, Outcome, Part, Parts, Pinned, Pool, Problem, Stack, Unpinned, parts,
    pinned, resolve_parts,
};
use url::Url;

/// What a command asks for, placed in the matrix, and what the project's own files add.
pub struct Asked {
    /// File and flags.
    pub wanted: Requirements,
    parts: Result<Parts, Vec<Finding>>,
    project: Project,
}

impl Asked {
    /// The answer for all targets and all sets of the project's options.
    pub fn solve(&self, matrix: &Matrix) -> Outcome {
        self.solve_keeping(matrix, &BTreeMap::new())
    }

    /// The same, with the choices of a lock where they still fit.
    pub fn solve_keeping(&self, matrix: &Matrix, kept: &BTreeMap<String, Kept>) -> Outcome {
        match &self.parts {
            Ok(parts) => resolve_parts(parts, &self.project, matrix, kept),
            Err(clashes) => Outcome::Unsatisfiable(Explanation {
                clash: Vec::new(),
                reasons: clashes.clone(),
                cures: Vec::new(),
                unknown: false,
                targets: Vec::new(),
            }),
        }
    }

    /// The files that say what is asked for, from the current folder. What is rendered from the answer
    /// says nothing.
    pub fn files(&self, project: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.wanted.file.iter().cloned().collect();
        for file in &self.project.files {
            if matches!(file.what, "configuration" | "rendered by gpuseal") {
                continue;
            }
            let inside = in_project(project, &file.name);
            let path = if inside.exists() { inside } else { PathBuf::from(&file.name) };
            if !files.contains(&path) {
                files.push(path);
            }
        }
        files
    }

    /// Whether an answer is one for a target: a set of the project's options lends its name to those that
    /// it answers.
    pub fn is_for(&self, answer: &str, target: &str) -> bool {
        answer == target
            || self.parts.iter().flat_map(|p| &p.parts).any(|p| p.target_name(target) == answer)
    }

    /// The problem that a stack answers, and the place of its target there.
    pub fn problem_of(&self, stack: &Stack) -> Option<(&Problem, usize)> {
        let parts = self.parts.iter().flat_map(|parts| &parts.parts);
        parts.flat_map(|part| part.problems.iter().map(move |problem| (part, problem))).find_map(
            |(part, problem)| {
                // Of the problems of a part, which differ by Python, the one that admits the answer.
                let python = problem.python.as_ref().is_none_or(|wish| wish.admits(stack.python));
                let place = |pool: &Pool| part.target_name(&pool.name) == stack.target;
                let target = problem.targets.iter().position(place).filter(|_| python)?;
                Some((problem, target))
            },
        )
    }

    /// Everything that decides the answer, as one text: what the lock takes its digest of. `others`: the
    /// project's other packages are locked too, so what is asked of them counts.
    pub fn canonical(&self, others: bool) -> String {
        let mut text = String::new();
        for part in self.parts.iter().flat_map(|parts| &parts.parts) {
            if !part.name.is_empty() {
                let _ = writeln!(text, "options: {}", part.name);
            }
            for problem in &part.problems {
                text.push_str(&problem.canonical_demands());
            }
        }
        text += &self.wanted.canonical_targets();
        if others {
            let answers = self.parts.iter().flat_map(|parts| &parts.parts).map(|part| &part.answer);
            let mut all = BTreeSet::new();
            for answer in answers {
                let counts = |demand: &&Demand| answer.has(demand.choice.as_ref());
                all.extend(self.project.demands.iter().filter(counts).map(whole));
                all.extend(answer.choices.iter().map(ToString::to_string));
            }
            let all: Vec<_> = all.into_iter().collect();
            let _ = writeln!(text, "other packages: {}", Sha256::of(all.join("\n").as_bytes()));
        }
        text
    }

    /// What the project's own files ask for beside `ours`, where a target of the lock runs. `pypi` is
    /// the one index that is asked.
    ///
    /// # Errors
    /// A package that another index or an address of its own is named for: PyPI's of the same name would
    /// be a stranger's.
    pub fn others(
        &self,
        target: &lock::Target,
        ours: &BTreeSet<&str>,
        pypi: &Url,
    ) -> Result<Others, Error> {
        let setting = Setting::new(target.platform, target.python);
        let named = |part: &&Part| {
            let mut pools = part.problems.iter().flat_map(|problem| &problem.targets);
            pools.any(|pool| part.target_name(&pool.name) == target.name.as_str())
        };
        let mut others = Others::default();
        let Some(part) = self.parts.iter().flat_map(|parts| &parts.parts).find(named) else {
            return Ok(others);
        };
        let extras = part.answer.extras();
        for demand in &self.project.demands {
            let applies = part.answer.has(demand.choice.as_ref())
                && demand.marker.holds(&setting, &extras)
                && !self.project.is_image(&demand.place);
            if !applies || demand.name.is_empty() || ours.contains(demand.name.as_str()) {
                continue;
            }
            let list = match demand.kind {
                Kind::Requirement => &mut others.requirements,
                Kind::Constraint => &mut others.constraints,
                Kind::Override => &mut others.overrides,
                // Another package manager brings it.
                Kind::Hint => continue,
            };
            if demand.elsewhere || demand.link.as_ref().is_some_and(|link| link.local) {
                others.local.insert(demand.name.clone());
                continue;
            }
            if let Some(from) = another_place(demand, pypi) {
                return Err(Error::Uv {
                    message: format!(
                        "`{}` comes from {from} ({}), and --with-deps takes packages from PyPI alone",
                        demand.name, demand.place
                    ),
                    help: Some(
                        "name an index that has them all with `mirrors: {pypi: URL}`, or lock with --no-with-deps"
                            .into(),
                    ),
                });
            }
            list.insert(other(demand));
        }
        Ok(others)
    }
}

/// What uv is asked to solve beside our packages, as lines of requirement files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// What is installed.
    pub requirements: BTreeSet<String>,
    /// What bounds versions only.
    pub constraints: BTreeSet<String>,
    /// What replaces whatever others say.
    pub overrides: BTreeSet<String>,
    /// Names that come from folders of the project: no index is asked for them.
    pub local: BTreeSet<String>,
}

/// The index or address that a demand names, where it is not the one that is asked.
fn another_place(demand: &Demand, pypi: &Url) -> Option<String> {
    if let Some(link) = &demand.link {
        return Some(format!("the address {}", link.address));
    }
    let index = demand.index.as_ref()?;
    let same = Url::parse(&index.url).is_ok_and(|url| {
        url.host_str() == pypi.host_str()
            && url.port_or_known_default() == pypi.port_or_known_default()
            && url.path().trim_end_matches('/') == pypi.path().trim_end_matches('/')
    });
    (!same).then(|| format!("the index {}", index.url))
}

/// A demand as a line of a requirement file.
fn other(demand: &Demand) -> String {
    let extras = match demand.extras.as_slice() {
        [] => String::new(),
        extras => format!("[{}]", extras.join(",")),
    };
    format!("{}{extras}{}", demand.name, demand.spec())
}

/// Everything that a demand says, for a comparison with what it said before.
fn whole(demand: &Demand) -> String {
    let Demand { marker, kind, choice, elsewhere, .. } = demand;
    let choice = choice.as_ref().map_or_else(String::new, ToString::to_string);
    let index = demand.index.as_ref().map_or("", |index| index.url.as_str());
    let link = demand.link.as_ref().map_or("", |link| link.address.as_str());
    format!("{}; {marker}; {}; {choice}; {index}; {link}; {elsewhere}", other(demand), kind.word())
}

/// Reads file, flags and the project's own files, and places them in the matrix.
///
/// # Errors
/// What is wrong with any of them.
pub fn asked(args: &Wanted, matrix: &Matrix, output: &Output) -> Result<Asked, Error> {
    let config = wanted::config(args)?;
    let wanted = wanted::over(config.clone(), args, output)?;
    let problem = wanted::place(&wanted, matrix, output)?;
    let mut project = project_of(args)?;
    if let Some(config) = &config {
        project.add(config);
    }
    let fixed = fixed(args)?;
    let answers = answers(&project, args)?;
    let parts = parts(&problem, &project, &answers, &fixed, matrix);
    for part in parts.iter().flat_map(|parts| &parts.parts).filter(|_| output.verbose) {
        tell(part, output);
    }
    Ok(Asked { wanted, parts, project })
}

/// What a part asks for, and which lines say so.
fn tell(part: &Part, output: &Output) {
    let Some(problem) = part.problems.first() else { return };
    let name = if part.name.is_empty() { String::new() } else { format!("{}: ", part.name) };
    let demands = problem.canonical_demands();
    output.talk(format_args!("{name}asked for:\n{}", demands.trim_end()));
    if let Some(torch) = &problem.torch {
        output.talk(format_args!("torch: {}", torch.given));
    }
    for package in &problem.with {
        output.talk(format_args!("with: {}", package.given));
    }
}

fn project_of(args: &Wanted) -> Result<Project, Error> {
    if args.no_project {
        return Ok(Project::default());
    }
    Ok(if args.chosen.requirements.is_empty() {
        project::folder(&args.project)?
    } else {
        project::files(&args.project, &args.chosen.requirements)?
    })
}

/// The sets of options that are asked for: those of the flags, or all that the project has.
fn answers(project: &Project, args: &Wanted) -> Result<Vec<Answer>, Error> {
    if args.chosen.extras.is_empty() && args.chosen.groups.is_empty() {
        return project.answers().ok_or_else(|| Error::Usage {
            message:
                "the project has more sets of options that exclude each other than can be answered"
                    .into(),
            help: Some("name some of them with --extra and --group".into()),
        });
    }
    let extras = args.chosen.extras.iter().map(|name| Choice::Extra(normalise_name(name)));
    let groups = args.chosen.groups.iter().map(|name| Choice::Group(normalise_name(name)));
    project.answer(extras.chain(groups).collect()).map(|answer| vec![answer]).map_err(|why| {
        let (message, help) = why;
        Error::Usage { message, help: Some(help) }
    })
}

/// What the project's own files pin for a machine, for a judgement of exactly that.
///
/// # Errors
/// Files that cannot be read, that contradict each other, or that leave the version open.
pub fn pins(args: &Wanted, case: &Case, matrix: &Matrix) -> Result<Pinned, Error> {
    let project = project_of(args)?;
    let answers = answers(&project, args)?;
    pinned(case, &project, &answers, &fixed(args)?, matrix).map_err(|why| match why {
        Unpinned::Contradiction(findings) => Error::Contradiction(findings),
        Unpinned::Options(names) => Error::Usage {
            message: format!(
                "the project has options that exclude each other: {}",
                names.join(", ")
            ),
            help: Some("choose with --extra or --group".into()),
        },
        Unpinned::Open(wish) => Error::Usage {
            message: format!("the project asks for torch {wish}, and `check` judges one version"),
            help: Some("give it with --torch, or let `gpuseal resolve` choose".into()),
        },
    })
}

/// What flags have decided.
fn fixed(args: &Wanted) -> Result<Fixed, Error> {
    let name = |package: &String| {
        wanted::flag::<crate::domain::Package>("--with", package).map(|package| package.name)
    };
    Ok(Fixed {
        torch: args.torch.is_some(),
        // A label in --torch names the build as well.
        cuda: args.cuda.is_some() || args.torch.as_ref().is_some_and(|torch| torch.contains('+')),
        python: args.python.is_some(),
        with: args.with.iter().map(name).collect::<Result<_, _>>()?,
    })
}
