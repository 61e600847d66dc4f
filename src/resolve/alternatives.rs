//! The next best answers, each one solved: another build of the release, the one that runs on the
//! oldest driver, the release before.

use super::problem::Problem;
use super::stack::{Alternative, PinIndex, Resolution, Stack};
use super::{physics, solve};
use crate::domain::{DriverVersion, Order as _};
use crate::matrix::{Matrix, Release, Variant};
use crate::requirements::TorchWish;

/// At most so many for a target.
const MOST: usize = 3;

/// Fills in the alternatives of every stack.
pub fn add(resolution: &mut Resolution, problem: &Problem, matrix: &Matrix) {
    let older = next_release(resolution, problem, matrix);
    for (i, pool) in problem.targets.iter().enumerate() {
        let chosen = resolution.stacks[i].clone();
        let mut found: Vec<Stack> = Vec::new();
        let mut keep = |stack: Option<Stack>| {
            let Some(stack) = stack else { return };
            let new = |other: &Stack| (other.torch, other.variant) != (stack.torch, stack.variant);
            if new(&chosen) && found.iter().all(new) {
                found.push(stack);
            }
        };
        let same = matrix.release(chosen.torch);
        let others = same.into_iter().flat_map(|r| builds_by_cuda(r).map(move |v| (r, v)));
        keep(
            others
                .filter(|(_, v)| v.name != chosen.variant)
                .find_map(|(r, v)| solve::solve_exactly(problem, matrix, pool, r, v.name)),
        );
        // One torch for all targets: another release must suit every one of them.
        if problem.targets.len() == 1 {
            keep(lowest_driver(problem, matrix, &chosen));
        }
        keep(older.as_ref().map(|r| r.stacks[i].clone()));
        resolution.stacks[i].alternatives = found
            .iter()
            .take(MOST)
            .map(|stack| describe(&chosen, stack, problem.targets.len() > 1))
            .collect();
    }
}

/// Newest CUDA first.
fn builds_by_cuda(release: &Release) -> impl Iterator<Item = &Variant> {
    let mut list: Vec<_> = release.variants.iter().filter(|v| v.cuda.is_some()).collect();
    list.order_by_key(|v| std::cmp::Reverse(v.cuda));
    list.into_iter()
}

/// The newest release of an older line that suits all targets.
fn next_release(resolution: &Resolution, problem: &Problem, matrix: &Matrix) -> Option<Resolution> {
    let current = resolution.stacks.first()?.torch;
    // Of its own line, an older release has nothing to give.
    let older =
        matrix.releases.iter().rev().map(|r| r.version).filter(|v| v.line() < current.line());
    let admitted = older
        .filter(|v| problem.torch.as_ref().is_none_or(|wish| wish.versions.contains(&v.pep440())));
    // A few steps back are an alternative; further ones are history.
    admitted
        .take(6)
        .find_map(|version| solve::solve(&pinned(problem, &version.to_string())?, matrix))
}

fn pinned(problem: &Problem, version: &str) -> Option<Problem> {
    let mut wish: TorchWish = version.parse().ok()?;
    if let Some(asked) = &problem.torch {
        wish.variant = asked.variant;
        wish.extras.clone_from(&asked.extras);
    }
    Some(Problem { torch: Some(wish), ..problem.clone() })
}

/// The newest build that runs on a driver older than the chosen one needs.
fn lowest_driver(problem: &Problem, matrix: &Matrix, chosen: &Stack) -> Option<Stack> {
    let pool = problem.targets.first()?;
    let current = chosen.driver.min?;
    let platform = pool.platform();
    let mut candidates: Vec<(DriverVersion, &Release, &Variant)> = matrix
        .releases
        .iter()
        .rev()
        .filter(|r| {
            problem.torch.as_ref().is_none_or(|wish| wish.versions.contains(&r.version.pep440()))
        })
        .flat_map(|r| r.variants.iter().map(move |v| (r, v)))
        .filter_map(|(r, v)| Some((physics::driver_floor(matrix, v.cuda?, platform, false)?, r, v)))
        .filter(|(floor, _, _)| *floor < current)
        .collect();
    candidates.order_by_key(|(floor, ..)| *floor);
    candidates
        .into_iter()
        .filter_map(|(_, r, v)| solve::solve_exactly(problem, matrix, pool, r, v.name))
        .find(|s| s.driver.min < chosen.driver.min)
}

fn describe(chosen: &Stack, other: &Stack, with_others: bool) -> Alternative {
    let name = |s: &Stack| format!("torch {}+{}", s.torch, s.variant);
    let everywhere =
        if with_others && other.torch != chosen.torch { " for all targets" } else { "" };
    let floor =
        |s: &Stack| s.driver.min.map_or_else(|| "an unknown driver".into(), |d| d.to_string());
    let mut gives = vec![format!("CUDA {}, runs from driver {} on", other.cuda, floor(other))];
    if other.driver.min < chosen.driver.min {
        gives.push(format!("instead of {}", floor(chosen)));
    }
    let mut costs = Vec::new();
    if other.torch != chosen.torch {
        costs.push(format!("an older release than {}", chosen.torch));
    }
    if other.cuda < chosen.cuda {
        costs.push(format!("older CUDA libraries than {}", chosen.cuda));
    }
    if other.driver.mode > chosen.driver.mode {
        costs.push("minor-version compatibility on your driver: no PTX".into());
    }
    if other.driver.min > chosen.driver.min {
        costs.push(format!("a newer driver than {}", floor(chosen)));
    }
    if matches!(other.packages.first().map(|p| p.index), Some(PinIndex::Pytorch(_)))
        && chosen.from_pypi
    {
        costs.push("the PyTorch wheel index instead of PyPI".into());
    }
    if costs.is_empty() {
        costs.push("nothing but the change".into());
    }
    Alternative {
        change: format!("take {}{everywhere}", name(other)),
        gives: gives.join(" "),
        costs: costs.join(", "),
    }
}
