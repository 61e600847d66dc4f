//! Whether a lock still satisfies what is asked for; and what would change.

use std::path::Path;

use crate::cli::asked::Asked;
use crate::cli::output::Output;
use crate::domain::Sha256;
use crate::error::Error;
use crate::lock::{Lockfile, Upgrade, drift};
use crate::matrix::Matrix;
use crate::report::lock::{Standing, State};
use crate::resolve::Outcome;

/// Holds a lock against what is asked for. Where neither the requirements nor the matrix have changed,
/// nothing is solved; else the outcome of solving comes along.
///
/// # Errors
/// A resolution that no lock can hold.
pub fn freshness(
    path: &Path,
    old: &Lockfile,
    asked: &Asked,
    inputs: &str,
    matrix: &Matrix,
) -> Result<(Standing, Option<Outcome>), Error> {
    let same_inputs = old.inputs == Sha256::of(inputs.as_bytes());
    if same_inputs && old.matrix.digest.to_string() == matrix.digest {
        return Ok((Standing::of(path, old, State::Unchanged), None));
    }
    let kept = if prefers_alike(old, inputs) { old.kept(&Upgrade::Nothing) } else { [].into() };
    let outcome = asked.solve_keeping(matrix, &kept);
    let drift = match &outcome {
        Outcome::Solved(resolution) => {
            drift::check(old, &Lockfile::from_resolution(resolution, matrix, inputs)?)
        }
        Outcome::Unsatisfiable(_) | Outcome::Unknown(_) => drift::Drift::default(),
    };
    let state = if drift.stale.is_empty() { State::Unchanged } else { State::Stale };
    let words =
        |changes: &[drift::Change]| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let standing = Standing {
        changes: words(&drift.stale),
        corrected: words(&drift.corrected),
        ..Standing::of(path, old, state)
    };
    Ok((standing, Some(outcome)))
}

/// Whether the lock was decided by the same preference: another one makes another choice.
pub fn prefers_alike(old: &Lockfile, inputs: &str) -> bool {
    let prefer = |line: &str| line.strip_prefix("prefer: ").map(str::to_owned);
    let now: Vec<_> = inputs.lines().filter_map(prefer).collect();
    let then: Vec<_> = old.asked.iter().filter_map(|line| prefer(line.as_str())).collect();
    then.is_empty() || now == then
}

/// Says on the side how a lock stands.
pub fn talk(standing: &Standing, output: &Output) {
    let findings = standing.own_findings();
    if findings.is_empty() && standing.state == State::Unchanged {
        output.talk(format_args!("{} is up to date", standing.path));
    }
    for finding in findings {
        output.talk(format_args!("{}[{}]: {}", finding.severity, finding.code, finding.message));
        for help in finding.help {
            output.talk(format_args!("help: {help}"));
        }
    }
}

/// What a lock would become, and what people read of it.
pub fn planned(
    path: &Path,
    old: Option<&Lockfile>,
    new: &Lockfile,
    output: &Output,
) -> (Standing, String) {
    let standing = Standing::of(path, new, State::Planned).since(old, new);
    if old.is_none() {
        output.talk(format_args!("there is no `{}`: it would be written", path.display()));
        return (standing, new.to_toml());
    }
    if standing.changes.is_empty() {
        output.talk(format_args!("{} is up to date", path.display()));
        return (Standing { state: State::Unchanged, ..standing }, String::new());
    }
    let lines = standing.lines();
    (standing, lines)
}
