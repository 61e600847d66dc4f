//! Why this release and this build, and not the ones beside it: each of them is judged for the same
//! cards and driver by the function behind `check`, and where nothing is found, solved for.

use super::Link;
use crate::domain::{Code, Finding, Severity, WheelVariant};
use crate::matrix::{Matrix, Release, Variant};
use crate::requirements::{Prefer, TorchWish};
use crate::resolve::case::Case;
use crate::resolve::physics::Served;
use crate::resolve::{DriverMode, Judgement, Pool, Problem, Stack, judge, solves};

/// A build, judged for the machines of a target and nothing else: what is found stands against it
/// whatever is asked for beside them.
struct Rival<'m> {
    variant: &'m Variant,
    judgement: Judgement<'m>,
}

impl<'m> Rival<'m> {
    /// `None`: it has no GPU code, or was not made for the platform.
    fn new(
        pool: &Pool,
        release: &'m Release,
        variant: &'m Variant,
        problem: &Problem,
        matrix: &'m Matrix,
    ) -> Option<Self> {
        variant.cuda?;
        variant.build(pool.platform())?;
        let case = Case {
            torch: format!("{}+{}", release.version, variant.name).parse().ok(),
            gpus: pool.gpus.clone(),
            driver: pool.driver.clone(),
            platform: Some(pool.platform()),
            libc: pool.libc.clone(),
            module: pool.module,
            allow_forward_compat: problem.allow.forward_compat,
            ..Case::default()
        };
        Some(Self { variant, judgement: judge(&case, matrix) })
    }

    fn objection(&self, problem: &Problem) -> Option<Finding> {
        let findings = &self.judgement.findings;
        let against = findings.iter().find(|f| f.severity <= Severity::Unknown).cloned();
        let by_ptx = findings.iter().find(|f| f.code == Code::OkViaPtxJit && !problem.allow.ptx);
        against.or_else(|| {
            let finding = by_ptx?;
            let message = format!("{}, and `allow: [ptx]` is not given", finding.message);
            Some(Finding { message, ..finding.clone() })
        })
    }

    /// What the search ranks builds by, in its order; smaller is better. Beside it what is said of a build
    /// that loses there.
    fn rank(&self, pypi: Option<WheelVariant>) -> [(i32, &'static str); 6] {
        let variant = self.variant;
        let by_ptx = self.judgement.gpus.iter().any(|g| matches!(g.served, Some(Served::Ptx(_))));
        let unseen = variant.requires.is_none() && !variant.bundled;
        let mode = self.judgement.driver.mode.unwrap_or(DriverMode::Native);
        let cuda = variant.cuda.map_or(0, |c| i32::from(c.major) * 1000 + i32::from(c.minor));
        [
            (i32::from(by_ptx), "the chosen one needs no PTX"),
            (i32::from(!variant.official), "the chosen one is one that the project announced"),
            (i32::from(unseen), "but nobody has seen what its metadata requires"),
            (mode as i32, "your driver runs the chosen one with fewer limits"),
            (i32::from(pypi != Some(variant.name)), "the chosen one is the one that PyPI serves"),
            (-cuda, "the chosen one has the newer CUDA"),
        ]
    }

    /// The first thing that makes another build the better one.
    fn loses_to(&self, chosen: &Self, pypi: Option<WheelVariant>) -> Option<&'static str> {
        let pairs = self.rank(pypi).into_iter().zip(chosen.rank(pypi));
        let (mine, theirs) = pairs.into_iter().find(|(mine, theirs)| mine.0 != theirs.0)?;
        (mine.0 > theirs.0).then_some(mine.1)
    }
}

/// The builds beside the chosen one, then the release after it.
pub(super) fn links(stack: &Stack, problem: &Problem, target: usize, matrix: &Matrix) -> Vec<Link> {
    let mut links = Vec::new();
    let pool = &problem.targets[target];
    let Some(release) = matrix.release(stack.torch) else { return links };
    let judged = |variant| Rival::new(pool, release, variant, problem, matrix);
    if let Some(chosen) = release.variant(stack.variant).and_then(judged) {
        let others = release.variants.iter().filter(|v| v.name != stack.variant);
        for other in others.filter_map(judged) {
            links.push(beside(&other, &chosen, release, problem, target, matrix));
        }
    }
    links.extend(after(stack, problem, matrix));
    links
}

/// Why another build of the same release was not taken.
fn beside(
    other: &Rival<'_>,
    chosen: &Rival<'_>,
    release: &Release,
    problem: &Problem,
    target: usize,
    matrix: &Matrix,
) -> Link {
    let variant = other.variant;
    let name = format!("not {}", variant.name);
    if let Some(finding) = other.objection(problem) {
        return against(&name, &finding);
    }
    let cuda = problem.cuda.as_ref().filter(|w| variant.cuda.is_none_or(|c| !w.admits(c)));
    let build = problem.torch.as_ref().and_then(|t| t.variant).filter(|v| *v != variant.name);
    let why = if let Some(wish) = cuda {
        format!("CUDA {} is asked for", wish.given)
    } else if let Some(build) = build {
        format!("the build {build} is asked for")
    } else if !variant.official && !problem.allow.unofficial {
        "the project never announced it, and `allow: [unofficial]` is not given".into()
    } else if solves(&only(&problem.only(target), release, Some(variant.name)), matrix).is_none() {
        "cards and driver would allow it; what else is asked for, packages and Python, does not"
            .into()
    } else if matches!(problem.prefer, Prefer::OldestDriver | Prefer::Smallest) {
        "it would run too, and `prefer` ranks it lower".into()
    } else {
        let pypi = release.pypi.get(&problem.targets[target].platform()).copied();
        match other.loses_to(chosen, pypi) {
            Some(why) => format!("it would run too; {why}"),
            None => "it would run too".into(),
        }
    };
    Link::new("choice", format!("{name}: {why}"), "")
}

/// Whether the demands name a build, as they do without looking at machines.
fn admits(problem: &Problem, variant: &Variant) -> bool {
    let cuda = |cuda| problem.cuda.as_ref().is_none_or(|wish| wish.admits(cuda));
    let build = problem.torch.as_ref().and_then(|wish| wish.variant);
    variant.cuda.is_some_and(cuda)
        && build.is_none_or(|build| build == variant.name)
        && (variant.official || problem.allow.unofficial)
}

/// The same problem with one release, or one build of it, asked for.
fn only(problem: &Problem, release: &Release, build: Option<WheelVariant>) -> Problem {
    let exactly = release.version.to_string().parse::<TorchWish>().ok();
    let torch = exactly.map(|mut wish| {
        if let Some(asked) = &problem.torch {
            wish.variant = asked.variant;
            wish.extras.clone_from(&asked.extras);
        }
        wish.variant = build.or(wish.variant);
        wish
    });
    Problem { torch, ..problem.clone() }
}

/// Why a newer release was not taken: the one that follows, and the target that it fails.
fn after(stack: &Stack, problem: &Problem, matrix: &Matrix) -> Option<Link> {
    let next = matrix.releases.iter().find(|release| release.version > stack.torch)?;
    let name = format!("not {}, the next release", next.version);
    let own = |why: String| Some(Link::new("choice", format!("{name}: {why}"), ""));
    if let Some(wish) = &problem.torch
        && !wish.versions.contains(&next.version.pep440())
    {
        return own(format!("torch {} is asked for", wish.versions));
    }
    let newest = matrix.releases.last()?;
    match problem.prefer {
        Prefer::Stable if next.version.line() == newest.version.line() => {
            return own("`prefer: stable` takes the newest line last".into());
        }
        Prefer::OldestDriver => return own("`prefer: oldest-driver` decides before age".into()),
        Prefer::Smallest => return own("`prefer: smallest` decides before age".into()),
        Prefer::Newest | Prefer::Stable => (),
    }
    let admitted: Vec<&Variant> = next.variants.iter().filter(|v| admits(problem, v)).collect();
    if admitted.is_empty() {
        return own("it has no build of those that are asked for and announced".into());
    }
    // One release for all targets: the first one that it has no build for decides.
    for (i, pool) in problem.targets.iter().enumerate() {
        let here = if problem.targets.len() > 1 {
            format!("`{}`", pool.name)
        } else {
            "this target".into()
        };
        let rivals: Vec<_> = admitted
            .iter()
            .filter_map(|variant| Rival::new(pool, next, variant, problem, matrix))
            .map(|rival| (rival.objection(problem), rival))
            .collect();
        if let Some(finding) = rivals
            .iter()
            .filter(|_| rivals.iter().all(|(objection, _)| objection.is_some()))
            // That of the build of the same name, or of the oldest CUDA, says most.
            .min_by_key(|(_, rival)| (rival.variant.name != stack.variant, rival.variant.cuda))
            .and_then(|(objection, _)| objection.as_ref())
        {
            return Some(against(&format!("{name}: no build of it suits {here}"), finding));
        }
        if solves(&only(&problem.only(i), next, None), matrix).is_none() {
            return own(format!(
                "cards and driver of {here} would allow it; what else is asked for, builds, packages and Python, does not"
            ));
        }
    }
    None
}

fn against(name: &str, finding: &Finding) -> Link {
    let source = finding.facts.first().map_or("", |fact| fact.source.as_str());
    Link::new("choice", format!("{name}: {}", finding.message), source)
}
