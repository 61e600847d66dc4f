//! `gpuseal resolve`

use super::args::{Format, Resolve};
use super::asked;
use super::hook;
use super::lock::{freshness, lock_path};
use super::output::Output;
use crate::error::{Error, Exit};
use crate::lock::Lockfile;
use crate::matrix::Matrix;
use crate::report::{github, human, json_v1};
use crate::requirements::Requirements;
use crate::resolve::Outcome;

/// Runs the command.
///
/// # Errors
/// Requirements that cannot be read or placed; a lock that cannot be read, with --check.
pub fn run(args: &Resolve, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let asked = asked::asked(&args.wanted, matrix, output)?;
    if args.hook {
        return hook::resolve(args, &asked, matrix, output);
    }
    let outcome = asked.solve(matrix);
    report(&outcome, &asked.wanted, matrix, output)?;
    let exit = exit(&outcome);
    if args.check && matches!(outcome, Outcome::Solved(_)) {
        let path = lock_path(&args.wanted.project);
        let old = Lockfile::read(&path)?;
        let inputs = asked.canonical(old.with_deps());
        let (verdict, _) = freshness(&old, &asked, &inputs, matrix)?;
        return verdict.tell(&path, false, output);
    }
    Ok(exit)
}

/// How an outcome ends the program.
pub fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Solved(_) => Exit::Done,
        Outcome::Unsatisfiable(_) => Exit::No,
        Outcome::Unknown(_) => Exit::Unknown,
    }
}

/// Prints an outcome in the voice asked for.
///
/// # Errors
/// Standard output.
pub fn report(
    outcome: &Outcome,
    wanted: &Requirements,
    matrix: &Matrix,
    output: &Output,
) -> Result<(), Error> {
    let text = match (output.format, outcome) {
        (Format::Json, _) => json_v1::resolve(outcome, matrix),
        (Format::Human, Outcome::Solved(resolution)) => human::resolution(resolution, matrix),
        (Format::Human, Outcome::Unsatisfiable(e) | Outcome::Unknown(e)) => {
            human::explanation(e, matrix)
        }
        (Format::Github, Outcome::Solved(resolution)) => resolution
            .stacks
            .iter()
            .map(|stack| github::annotations(&stack.findings, place(wanted, &stack.target)))
            .collect(),
        (Format::Github, Outcome::Unsatisfiable(e) | Outcome::Unknown(e)) => {
            let at = e.targets.first().and_then(|t| place(wanted, t));
            let mut message = format!("no stack satisfies: {}", e.clash.join("; "));
            for cure in &e.cures {
                message.push_str("\nhelp: ");
                message.push_str(&cure.change);
            }
            let mut text = github::error("unsatisfiable", &message, at);
            text.push_str(&github::annotations(&e.reasons, at));
            text
        }
    };
    output.result(&text)
}

fn place<'a>(wanted: &'a Requirements, target: &str) -> Option<(&'a str, usize)> {
    let line = wanted.targets.iter().find(|t| t.name == target)?.line?;
    Some((wanted.file.as_ref()?.to_str()?, line))
}
