//! Why nothing fits: the smallest set of demands that clash, and the cheapest changes that work.
//!
//! Both are found by solving variations of the problem; nothing is guessed.

use std::collections::BTreeSet;

use super::case::Driver;
use super::problem::{Pool, Problem};
use super::solve;
use super::stack::Resolution;
use crate::domain::{
    Code, DriverSpec, DriverVersion, Finding, Gather as _, KernelModule, Order as _, Platform,
    Severity,
};
use crate::matrix::Matrix;
use crate::requirements::{Allow, Need};

/// One thing that is asked for. Ordered by how readily it is given up when demands are minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// 8-bit floating point and the like.
    Needs,
    /// C library of a target.
    Os(usize),
    /// Kernel module of a target.
    Module(usize),
    /// Python.
    Python,
    /// A package.
    With(usize),
    /// CUDA builds.
    Cuda,
    /// torch.
    Torch,
    /// Platform of a target.
    Platform(usize),
    /// Driver of a target.
    Driver(usize),
    /// A card of a target: (target, card).
    Gpu(usize, usize),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The smallest set of demands that clash, in words.
    pub clash: Vec<String>,
    /// Findings that show the clash on the builds that come nearest.
    pub reasons: Vec<Finding>,
    /// Cheapest first; every one was solved.
    pub cures: Vec<Cure>,
    /// Something may work, but nobody knows.
    pub unknown: bool,
    /// The targets that clash.
    pub targets: Vec<String>,
}

/// A change after which there is an answer.
#[derive(Debug, Clone)]
pub struct Cure {
    /// What to change.
    pub change: String,
    /// What one gets.
    pub gives: String,
    /// 1 for a line of a file, up to 5 for the fleet.
    pub cost: u8,
    /// The changed problem, which solves.
    pub problem: Problem,
}

/// Most cures that are offered.
const MOST_CURES: usize = 3;

/// Explains a problem that has no answer.
pub fn explain(problem: &Problem, matrix: &Matrix) -> Explanation {
    // One target that fails by itself is the clearest story.
    let alone = (0..problem.targets.len())
        .map(|i| problem.only(i))
        .find(|p| solve::solve(p, matrix).is_none());
    let (story, between) = match alone {
        Some(single) => (single, false),
        None => (problem.clone(), true),
    };
    let core = minimise(&story, matrix);
    let reduced = restrict(&story, &core);
    let mut reasons = reasons(&reduced, matrix, between);
    let unknown = !between && is_unknown(&story, matrix, &mut reasons);
    let mut cures = cures(&story, matrix, between);
    if !between && problem.targets.len() > 1 {
        // What heals one target alone must suit the others too.
        cures.retain_mut(|cure| widen(cure, problem, &story, matrix));
    }
    cures.order_by_key(|c| c.cost);
    cures.truncate(MOST_CURES);
    let targets: Vec<_> = story
        .targets
        .iter()
        .enumerate()
        .filter(|(i, _)| !between || core.iter().any(|d| target_of(*d) == Some(*i)))
        .map(|(_, t)| t.name.clone())
        .collect();
    Explanation {
        clash: core.iter().map(|d| words(&story, *d)).collect(),
        reasons,
        cures,
        unknown,
        targets,
    }
}

fn target_of(demand: Demand) -> Option<usize> {
    match demand {
        Demand::Os(t)
        | Demand::Module(t)
        | Demand::Platform(t)
        | Demand::Driver(t)
        | Demand::Gpu(t, _) => Some(t),
        _ => None,
    }
}

/// Every demand of a problem.
fn demands(problem: &Problem) -> BTreeSet<Demand> {
    let mut all = BTreeSet::new();
    let mut put = |there: bool, demand| {
        if there {
            all.insert(demand);
        }
    };
    put(problem.torch.is_some(), Demand::Torch);
    put(problem.cuda.is_some(), Demand::Cuda);
    put(problem.python.is_some(), Demand::Python);
    put(!problem.needs.is_empty(), Demand::Needs);
    for i in 0..problem.with.len() {
        put(true, Demand::With(i));
    }
    for (t, pool) in problem.targets.iter().enumerate() {
        put(pool.libc.is_some(), Demand::Os(t));
        put(pool.driver.is_some(), Demand::Driver(t));
        put(pool.platform.is_some(), Demand::Platform(t));
        put(pool.module.is_some(), Demand::Module(t));
        for g in 0..pool.gpus.len() {
            put(true, Demand::Gpu(t, g));
        }
    }
    all
}

/// The problem with these demands alone.
fn restrict(problem: &Problem, keep: &BTreeSet<Demand>) -> Problem {
    let has = |demand: Demand| keep.contains(&demand);
    let mut p = problem.clone();
    p.torch = p.torch.filter(|_| has(Demand::Torch));
    p.cuda = p.cuda.filter(|_| has(Demand::Cuda));
    p.python = p.python.filter(|_| has(Demand::Python));
    if !has(Demand::Needs) {
        p.needs.clear();
    }
    let mut i = 0;
    p.with.retain(|_| {
        i += 1;
        has(Demand::With(i - 1))
    });
    for (t, pool) in p.targets.iter_mut().enumerate() {
        let Pool { gpus, driver, platform, libc, module, .. } = pool;
        *driver = driver.take().filter(|_| has(Demand::Driver(t)));
        *libc = libc.take().filter(|_| has(Demand::Os(t)));
        *module = module.filter(|_| has(Demand::Module(t)));
        *platform = platform.filter(|_| has(Demand::Platform(t)));
        let mut g = 0;
        gpus.retain(|_| {
            g += 1;
            has(Demand::Gpu(t, g - 1))
        });
    }
    p
}

/// Drops one demand after the other for as long as the rest still clashes.
fn minimise(problem: &Problem, matrix: &Matrix) -> BTreeSet<Demand> {
    let mut core = demands(problem);
    for demand in core.clone() {
        let mut fewer = core.clone();
        fewer.remove(&demand);
        if solve::solve(&restrict(problem, &fewer), matrix).is_none() {
            core = fewer;
        }
    }
    core
}

fn words(problem: &Problem, demand: Demand) -> String {
    let of = |t: usize, text: String| {
        let name = &problem.targets[t].name;
        if name.is_empty() { text } else { format!("{text} (target `{name}`)") }
    };
    match demand {
        Demand::Torch => {
            format!("torch {}", problem.torch.as_ref().map_or("", |t| t.given.as_str()))
        }
        Demand::Cuda => format!("CUDA {}", problem.cuda.as_ref().map_or("", |c| c.given.as_str())),
        Demand::Python => {
            format!("Python {}", problem.python.as_ref().map_or(String::new(), ToString::to_string))
        }
        Demand::Needs => format!(
            "needs {}",
            problem.needs.iter().map(|n| n.word()).collect::<Vec<_>>().join(", ")
        ),
        Demand::With(i) => problem.with[i].given.clone(),
        Demand::Os(t) => of(
            t,
            format!("os {}", problem.targets[t].libc.as_ref().map_or("", |l| l.given.as_str())),
        ),
        Demand::Module(t) => of(
            t,
            format!(
                "{} kernel module",
                problem.targets[t].module.map_or(String::new(), |m| m.to_string())
            ),
        ),
        Demand::Platform(t) => of(t, format!("platform {}", problem.targets[t].platform())),
        Demand::Driver(t) => of(
            t,
            format!(
                "driver {}",
                problem.targets[t].driver.as_ref().map_or(String::new(), |d| d.spec.to_string())
            ),
        ),
        Demand::Gpu(t, g) => {
            let gpu = &problem.targets[t].gpus[g];
            of(t, format!("gpu {} (compute capability {})", gpu.given, gpu.capability))
        }
    }
}

/// What stands against the build that comes nearest.
fn reasons(problem: &Problem, matrix: &Matrix, between: bool) -> Vec<Finding> {
    if between {
        return problem.targets.iter().enumerate().filter_map(|(i, pool)| {
            let solved = solve::solve(&problem.only(i), matrix)?;
            let stack = solved.stacks.first()?;
            (!pool.gpus.is_empty() || pool.driver.is_some()).then(|| {
                Finding::new(Code::ArchNotInBinary, Severity::Error, format!(
                    "target `{}` alone would take torch {}+{}, which no other target shares", pool.name, stack.torch, stack.variant
                ))
            })
        }).collect();
    }
    let Some(pool) = problem.targets.first() else {
        return Vec::new();
    };
    if let Some(wish) = &problem.torch
        && !matrix.releases.iter().any(|r| wish.versions.contains(&r.version.pep440()))
    {
        return vec![no_release(problem, matrix)];
    }
    let mut objections = solve::objections(problem, matrix, pool);
    if objections.is_empty() {
        let platform = pool.platform();
        let code = if platform.has_cuda() { Code::NoSuchWheel } else { Code::NoCudaPlatform };
        return vec![Finding::new(
            code,
            Severity::Error,
            format!("no build that answers the demands exists for {platform}"),
        )];
    }
    // The build that comes nearest is the one with the fewest objections.
    objections.order_by_key(|(_, findings)| findings.len());
    let mut nearest = objections.swap_remove(0).1;
    nearest.order_by_key(|f| (f.severity, f.code));
    nearest.truncate(MOST_CURES);
    nearest
}

fn no_release(problem: &Problem, matrix: &Matrix) -> Finding {
    let given = problem.torch.as_ref().map_or("", |t| t.given.as_str());
    let range = matrix.release_range();
    let text = range.map_or_else(String::new, |(first, last)| {
        format!("the matrix knows torch {first} to {last}")
    });
    let beyond = beyond_matrix(problem, matrix);
    let (code, severity) = if beyond {
        (Code::Unknown, Severity::Unknown)
    } else {
        (Code::NoSuchWheel, Severity::Error)
    };
    let message = if beyond {
        format!("torch {given} is not known to the matrix")
    } else {
        format!("no torch release answers {given}")
    };
    Finding::new(code, severity, message).fact(text, matrix.title())
}

/// The wish could be met by a release that the matrix does not know.
fn beyond_matrix(problem: &Problem, matrix: &Matrix) -> bool {
    let (Some(wish), Some((first, last))) = (&problem.torch, matrix.release_range()) else {
        return false;
    };
    if matrix.releases.iter().any(|r| wish.versions.contains(&r.version.pep440())) {
        return false;
    }
    let (first, last) = (first.pep440(), last.pep440());
    let named = wish
        .versions
        .iter()
        .map(pep440_rs::VersionSpecifier::version)
        .any(|v| *v > last || *v < first);
    named || wish.versions.contains(&pep440_rs::Version::new([99, 0, 0]))
}

/// Some build fails only by what nobody knows.
fn is_unknown(problem: &Problem, matrix: &Matrix, reasons: &mut Vec<Finding>) -> bool {
    if beyond_matrix(problem, matrix) {
        return true;
    }
    let Some(pool) = problem.targets.first() else {
        return false;
    };
    let open = solve::objections(problem, matrix, pool).into_iter().find(|(_, findings)| {
        !findings.is_empty() && findings.iter().all(|f| f.severity == Severity::Unknown)
    });
    match open {
        Some((_, findings)) => {
            reasons.retain(|reason| !findings.contains(reason));
            reasons.splice(0..0, findings);
            reasons.truncate(MOST_CURES);
            true
        }
        None => false,
    }
}

/// Applies the change of a cure for one target to the whole problem, and solves that.
fn widen(cure: &mut Cure, whole: &Problem, story: &Problem, matrix: &Matrix) -> bool {
    let mut wide = Problem { targets: whole.targets.clone(), ..cure.problem.clone() };
    let Some(old) = story.targets.first() else {
        return false;
    };
    let Some(at) = wide.targets.iter().position(|t| t.name == old.name) else {
        return false;
    };
    wide.targets.splice(at..=at, cure.problem.targets.iter().cloned());
    let Some(solved) = solve::solve(&wide, matrix) else {
        return false;
    };
    cure.gives = gives(&solved);
    cure.problem = wide;
    true
}

fn gives(resolution: &Resolution) -> String {
    let mut parts: Vec<String> = Vec::new();
    for stack in &resolution.stacks {
        let text = format!("torch {}+{} on Python {}", stack.torch, stack.variant, stack.python);
        if !parts.contains(&text) {
            parts.push(text);
        }
    }
    parts.join(", ")
}

fn cures(problem: &Problem, matrix: &Matrix, between: bool) -> Vec<Cure> {
    let mut found: Vec<Cure> = Vec::new();
    let mut attempt = |change: String, cost: u8, changed: Problem| -> bool {
        match solve::solve(&changed, matrix) {
            Some(solved) => {
                found.push(Cure { change, gives: gives(&solved), cost, problem: changed });
                true
            }
            None => false,
        }
    };
    if between {
        split_targets(problem, matrix, &mut attempt);
    }
    one_line(problem, matrix, &mut attempt);
    split_pool(problem, matrix, &mut attempt);
    fleet(problem, &mut attempt, matrix);
    if found.is_empty() {
        pairs(problem, matrix, &mut found);
    }
    found
}

/// Changes of one line in the project.
fn one_line(
    problem: &Problem,
    matrix: &Matrix,
    attempt: &mut dyn FnMut(String, u8, Problem) -> bool,
) {
    if let Some(wish) = &problem.torch {
        let free = Problem { torch: None, ..problem.clone() };
        // The nearest release that works: the smallest step from what was asked for.
        let nearest = nearest_release(problem, &free, matrix);
        if let Some((version, changed)) = nearest {
            attempt(format!("take torch {version} instead of {}", wish.given), 1, changed);
        }
    }
    if let Some(wish) = &problem.cuda {
        attempt(
            format!("drop the demand for CUDA {}", wish.given),
            1,
            Problem { cuda: None, ..problem.clone() },
        );
    }
    if let Some(wish) = &problem.python {
        attempt(
            format!("take another Python than {wish}"),
            1,
            Problem { python: None, ..problem.clone() },
        );
    }
    for (i, package) in problem.with.iter().enumerate() {
        let mut loose = problem.clone();
        if let Ok(any) = package.name.parse() {
            loose.with[i] = any;
            if !package.versions.is_empty()
                && attempt(
                    format!("let {} choose its version instead of {}", package.name, package.given),
                    1,
                    loose.clone(),
                )
            {
                continue;
            }
        }
        loose.with.remove(i);
        attempt(format!("do without {}", package.given), 3, loose);
    }
    for word in Allow::WORDS {
        let mut changed = problem.clone();
        if changed.allow.add(word).is_ok() && changed.allow != problem.allow {
            attempt(format!("allow: [{word}]"), 2, changed);
        }
    }
    if problem.needs.contains(&Need::Fp8) {
        let mut changed = problem.clone();
        changed.needs.remove(&Need::Fp8);
        attempt("drop fp8 from needs".into(), 2, changed);
    }
}

/// The release nearest to the wish that solves: from the wish's own bound upwards, then downwards.
fn nearest_release(
    problem: &Problem,
    free: &Problem,
    matrix: &Matrix,
) -> Option<(String, Problem)> {
    let wish = problem.torch.as_ref()?;
    let pin = |version: &str| Some(Problem { torch: Some(version.parse().ok()?), ..free.clone() });
    // The same release in another build comes first of all.
    let mut order: Vec<_> = matrix.releases.iter().map(|r| r.version).collect();
    let anchor = wish.versions.iter().map(|s| s.version().clone()).max()?;
    let admitted = |v: &crate::domain::TorchRelease| wish.versions.contains(&v.pep440());
    order.order_by_key(|v| {
        (
            !admitted(v),
            v.pep440() < anchor,
            if v.pep440() < anchor {
                std::cmp::Reverse(*v)
            } else {
                std::cmp::Reverse(crate::domain::TorchRelease {
                    major: u16::MAX - v.major,
                    minor: u16::MAX - v.minor,
                    patch: u16::MAX - v.patch,
                })
            },
        )
    });
    order.into_iter().find_map(|version| {
        let changed = pin(&version.to_string())?;
        let solved = solve::solve(&changed, matrix)?;
        let variant = solved.stacks.first()?.variant;
        Some((format!("{version}+{variant}"), changed))
    })
}

/// Targets that cannot share one torch, apart.
fn split_targets(
    problem: &Problem,
    matrix: &Matrix,
    attempt: &mut dyn FnMut(String, u8, Problem) -> bool,
) {
    let each: Vec<String> = (0..problem.targets.len())
        .filter_map(|i| {
            let solved = solve::solve(&problem.only(i), matrix)?;
            let stack = solved.stacks.first()?;
            Some(format!("`{}` takes torch {}+{}", stack.target, stack.torch, stack.variant))
        })
        .collect();
    if each.len() == problem.targets.len() {
        let change = format!(
            "keep the targets in two configurations, each with its own lock: {}",
            each.join(", ")
        );
        attempt(change, 3, problem.only(0));
    }
}

/// A pool whose cards need different kernel modules, or have no build in common, apart.
fn split_pool(
    problem: &Problem,
    matrix: &Matrix,
    attempt: &mut dyn FnMut(String, u8, Problem) -> bool,
) {
    for (t, pool) in problem.targets.iter().enumerate() {
        if pool.gpus.len() < 2 {
            continue;
        }
        let key = |g: &crate::matrix::GpuMatch| g.module == Some(KernelModule::Proprietary);
        let by_module = pool.gpus.iter().any(key) && !pool.gpus.iter().all(key);
        let solo = |g: &crate::matrix::GpuMatch| {
            let mut p = problem.only(t);
            p.targets[0].gpus = vec![g.clone()];
            solve::solve(&p, matrix).map(|r| r.stacks[0].variant)
        };
        let newest = pool.gpus.iter().filter_map(solo).max();
        let (left, right): (Vec<_>, Vec<_>) = if by_module {
            pool.gpus.iter().cloned().partition(key)
        } else {
            pool.gpus.iter().cloned().partition(|g| solo(g) != newest)
        };
        if left.is_empty() || right.is_empty() {
            continue;
        }
        let names = |list: &[crate::matrix::GpuMatch]| {
            list.iter().map(|g| g.given.clone()).collect::<Vec<_>>().join(", ")
        };
        let mut changed = problem.clone();
        let stem = if pool.name.is_empty() { "pool" } else { &pool.name };
        let part = |suffix: &str, gpus: Vec<_>| Pool {
            name: format!("{stem}-{suffix}"),
            gpus,
            ..pool.clone()
        };
        let change = format!(
            "split {}: one target with [{}], one with [{}]",
            if pool.name.is_empty() {
                "the cards".into()
            } else {
                format!("target `{}`", pool.name)
            },
            names(&left),
            names(&right)
        );
        changed.targets.splice(t..=t, [part("a", left), part("b", right)]);
        attempt(change, 3, changed);
    }
}

/// Changes of the machines.
fn fleet(problem: &Problem, attempt: &mut dyn FnMut(String, u8, Problem) -> bool, matrix: &Matrix) {
    for (t, pool) in problem.targets.iter().enumerate() {
        let of = if pool.name.is_empty() { String::new() } else { format!(" of `{}`", pool.name) };
        if let Some(libc) = &pool.libc {
            let mut changed = problem.clone();
            changed.targets[t].libc = None;
            attempt(
                format!("take an image with a newer glibc than {} has{of}", libc.given),
                2,
                changed,
            );
        }
        for version in driver_steps(matrix, pool) {
            let Ok(driver) = Driver::place(DriverSpec::Oldest(version), matrix) else {
                continue;
            };
            let up = pool.driver.as_ref().and_then(|d| d.oldest).is_none_or(|old| version > old);
            let mut changed = problem.clone();
            changed.targets[t].driver = Some(driver);
            let verb = if up { "raise" } else { "lower" };
            if attempt(format!("{verb} the driver{of} to {version}"), 4, changed) {
                break;
            }
        }
        if let Some(module) = pool.module {
            let mut changed = problem.clone();
            changed.targets[t].module = None;
            attempt(
                format!("install the other kernel module than the {module} one{of}"),
                4,
                changed,
            );
        }
        if let Some(platform) = pool.platform
            && !platform.has_cuda()
        {
            let mut changed = problem.clone();
            changed.targets[t].platform = Some(Platform::LinuxAmd64);
            attempt(format!("run on linux/amd64 instead of {platform}{of}"), 4, changed);
        }
        if pool.gpus.len() > 1 {
            for g in 0..pool.gpus.len() {
                let mut changed = problem.clone();
                let gpu = changed.targets[t].gpus.remove(g);
                attempt(format!("drop {} from the cards{of}", gpu.given), 5, changed);
            }
        }
    }
}

/// Drivers worth trying, nearest first: floors above the one at hand, or the last branch below it.
fn driver_steps(matrix: &Matrix, pool: &Pool) -> Vec<DriverVersion> {
    let Some(oldest) = pool.driver.as_ref().and_then(|d| d.oldest) else {
        return Vec::new();
    };
    let platform = pool.platform();
    let last = pool.gpus.iter().filter_map(|g| matrix.generation(g.capability)?.last_branch).min();
    if let Some(last) = last
        && oldest.branch > last
    {
        let newest = matrix
            .branch(last)
            .and_then(|b| b.latest.as_ref()?.parse().ok().or(b.first_data_center));
        return newest.into_iter().collect();
    }
    let cudas: BTreeSet<_> =
        matrix.releases.iter().flat_map(|r| r.variants.iter().filter_map(|v| v.cuda)).gather();
    let mut steps: BTreeSet<DriverVersion> = BTreeSet::new();
    for cuda in cudas {
        steps.extend(matrix.minor_floor(cuda, platform));
        steps.extend(matrix.native_driver(cuda, platform));
    }
    let listed: Vec<_> = pool.gpus.iter().filter_map(|g| matrix.first_listed(g)?.version).collect();
    steps.extend(&listed);
    // A floor given as a bare branch stands for its first release.
    steps
        .into_iter()
        .map(|v| {
            if v.is_bare_branch() {
                matrix.branch(v.branch).and_then(|b| b.first_data_center).unwrap_or(v)
            } else {
                v
            }
        })
        .filter(|v| *v > oldest && last.is_none_or(|last| v.branch <= last))
        // Whoever moves a driver moves it to one whose list names the cards.
        .filter(|v| listed.iter().all(|first| v >= first))
        .collect()
}

/// Two changes at once, when none alone helps.
fn pairs(problem: &Problem, matrix: &Matrix, found: &mut Vec<Cure>) {
    let free = Problem { torch: None, cuda: None, ..problem.clone() };
    let attempt = |change: String, cost: u8, changed: Problem, found: &mut Vec<Cure>| {
        if let Some(solved) = solve::solve(&changed, matrix) {
            found.push(Cure { change, gives: gives(&solved), cost, problem: changed });
            true
        } else {
            false
        }
    };
    for (t, pool) in problem.targets.iter().enumerate() {
        for version in driver_steps(matrix, pool) {
            let Ok(driver) = Driver::place(DriverSpec::Oldest(version), matrix) else {
                continue;
            };
            let mut changed = free.clone();
            changed.targets[t].driver = Some(driver);
            if attempt(
                format!("move the driver to {version} and let torch and CUDA be chosen"),
                5,
                changed,
                found,
            ) {
                return;
            }
        }
    }
    let bare = Problem { python: None, with: Vec::new(), ..free };
    attempt(
        "let torch, CUDA and Python be chosen, without further packages".into(),
        4,
        bare,
        found,
    );
}
