//! Whether a lock still satisfies what is asked for; and what would change.

use std::fmt::Write as _;
use std::path::Path;

use super::Drift;
use crate::cli::args::Format;
use crate::cli::asked::Asked;
use crate::cli::output::Output;
use crate::domain::Sha256;
use crate::error::{Error, Exit};
use crate::lock::{Lockfile, Upgrade, drift};
use crate::matrix::Matrix;
use crate::report::github;
use crate::resolve::Outcome;

/// What a check comes to.
pub struct Verdict(Drift);

/// Holds a lock against what is asked for. Where neither the requirements nor the matrix have changed,
/// nothing is solved; else the outcome of solving comes along.
///
/// # Errors
/// A resolution that no lock can hold.
pub fn freshness(
    old: &Lockfile,
    asked: &Asked,
    inputs: &str,
    matrix: &Matrix,
) -> Result<(Verdict, Option<Outcome>), Error> {
    let same_inputs = old.inputs == Sha256::of(inputs.as_bytes());
    if same_inputs && old.matrix.digest.to_string() == matrix.digest {
        return Ok((Verdict(Drift::default()), None));
    }
    let kept = if prefers_alike(old, inputs) { old.kept(&Upgrade::Nothing) } else { [].into() };
    let outcome = asked.solve_keeping(matrix, &kept);
    let drift = match &outcome {
        Outcome::Solved(resolution) => {
            drift::check(old, &Lockfile::from_resolution(resolution, matrix, inputs)?)
        }
        Outcome::Unsatisfiable(_) | Outcome::Unknown(_) => Drift::default(),
    };
    Ok((Verdict(drift), Some(outcome)))
}

/// Whether the lock was decided by the same preference: another one makes another choice.
pub fn prefers_alike(old: &Lockfile, inputs: &str) -> bool {
    let prefer = |line: &str| line.strip_prefix("prefer: ").map(str::to_owned);
    let now: Vec<_> = inputs.lines().filter_map(prefer).collect();
    let then: Vec<_> = old.asked.iter().filter_map(|line| prefer(line.as_str())).collect();
    then.is_empty() || now == then
}

impl Verdict {
    /// There is nothing to tell.
    pub fn is_fresh(&self) -> bool {
        self.0.stale.is_empty() && self.0.corrected.is_empty()
    }

    /// Says it, and how the program ends with it.
    ///
    /// # Errors
    /// Standard output.
    pub fn tell(&self, path: &Path, deny: bool, output: &Output) -> Result<Exit, Error> {
        let Drift { stale, corrected } = &self.0;
        let path = path.display();
        if self.is_fresh() {
            output.talk(format_args!("{path} is up to date"));
            return Ok(Exit::Done);
        }
        let mut text = String::new();
        for change in stale.iter().chain(corrected) {
            let _ = writeln!(text, "{change}");
        }
        if output.format == Format::Human {
            output.result(&text)?;
        }
        if !stale.is_empty() {
            let message = format!("`{path}` is out of date");
            output.talk(format_args!("error[lock-stale]: {message}"));
            output.talk("help: run `gpuseal lock` and commit the result");
            if output.format == Format::Github {
                output.result(&github::error("lock-stale", &format!("{message}\n{text}"), None))?;
            }
            return Ok(Exit::No);
        }
        let word = if deny { "error" } else { "warning" };
        output.talk(format_args!(
            "{word}[lock-stale]: the matrix has corrected facts that `{path}` rests on; its choices still hold"
        ));
        output.talk("help: run `gpuseal lock` to write them down");
        Ok(if deny { Exit::No } else { Exit::Done })
    }
}

/// Shows what would change.
///
/// # Errors
/// Standard output.
pub fn show(
    path: &Path,
    old: Option<&Lockfile>,
    new: &Lockfile,
    output: &Output,
) -> Result<(), Error> {
    let Some(old) = old else {
        output.talk(format_args!("there is no `{}`: it would be written", path.display()));
        return if output.format == Format::Human { output.result(&new.to_toml()) } else { Ok(()) };
    };
    let changes = drift::diff(old, new);
    if changes.is_empty() {
        output.talk(format_args!("{} is up to date", path.display()));
        return Ok(());
    }
    let mut text = String::new();
    for change in &changes {
        let _ = writeln!(text, "{change}");
    }
    if output.format == Format::Human { output.result(&text) } else { Ok(()) }
}
