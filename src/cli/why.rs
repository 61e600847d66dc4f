//! `gpuseal why`

use super::args::{Format, Why};
use super::output::Output;
use super::{asked, resolve::Told};
use crate::domain::shown;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::why::{self, Chain};
use crate::report::{Found, markdown};
use crate::resolve::Outcome;

/// Runs the command.
///
/// # Errors
/// Requirements that cannot be read or placed; a target that they do not have.
pub fn run(args: &Why, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let asked = asked::asked(&args.wanted, matrix, output)?;
    let outcome = asked.solve(matrix);
    let pools: Vec<&str> = asked.wanted.targets.iter().map(|t| t.name.as_str()).collect();
    let Outcome::Solved(resolution) = &outcome else {
        // Which of them is at fault stands in the explanation; a name that none has is a slip.
        if let Some(name) = args.name.as_deref().filter(|name| !pools.contains(name)) {
            return Err(stranger(name, &pools));
        }
        let told = Told {
            command: "why",
            outcome: &outcome,
            asked: &asked,
            args: &args.wanted,
            short: None,
        };
        return told.tell(None, matrix, output);
    };
    let names: Vec<&str> = resolution.stacks.iter().map(|s| s.target.as_str()).collect();
    let chains: Vec<Chain> = resolution
        .stacks
        .iter()
        .filter(|stack| args.name.as_ref().is_none_or(|name| *name == stack.target))
        .filter_map(|stack| {
            let (problem, target) = asked.problem_of(stack)?;
            Some(Chain::of(stack, problem, target, matrix))
        })
        .collect();
    if let Some(name) = args.name.as_deref().filter(|_| chains.is_empty()) {
        return Err(stranger(name, &names));
    }
    let nothing = Found::new("why", Exit::Done, Some(matrix));
    output.answer(&|format| match format {
        Format::Json => why::json(&chains, matrix),
        Format::Human | Format::Github => why::human(&chains, matrix),
        Format::Sarif => nothing.sarif(),
        Format::Markdown => markdown::chains(&nothing, &chains),
    })?;
    Ok(Exit::Done)
}

fn stranger(name: &str, names: &[&str]) -> Error {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    Error::Usage {
        message: format!("there is no target `{}`", shown(name)),
        help: Some(format!("the targets are {}", names.join(", "))),
    }
}
