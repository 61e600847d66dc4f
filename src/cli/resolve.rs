//! `gpuseal resolve`

use super::args::{Format, Resolve, Wanted};
use super::asked::{self, Asked};
use super::hook;
use super::lock::{freshness, own_lock_path, talk};
use super::output::Output;
use crate::domain::{Code, Finding, Place, Severity};
use crate::error::{Error, Exit};
use crate::lock::{self, Lockfile};
use crate::matrix::Matrix;
use crate::report::lock::Standing;
use crate::report::{Found, human, json_v1, markdown, slashed};
use crate::resolve::{Explanation, Outcome};

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
    let told = Told {
        command: "resolve",
        outcome: &outcome,
        asked: &asked,
        args: &args.wanted,
        short: None,
    };
    if args.check && matches!(outcome, Outcome::Solved(_)) {
        let path = own_lock_path(&args.wanted.project)?;
        let standing = match Lockfile::read(&path) {
            Ok(old) => {
                let inputs = asked.canonical(old.with_deps());
                freshness(&path, &old, &asked, &inputs, matrix)?.0
            }
            Err(lock::Error::Missing(_)) => Standing::missing(&path),
            Err(err) => return Err(err.into()),
        };
        let exit = told.tell(Some(&standing), matrix, output)?;
        talk(&standing, output);
        return Ok(exit);
    }
    told.tell(None, matrix, output)
}

/// How an outcome ends the program.
fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Solved(_) => Exit::Done,
        Outcome::Unsatisfiable(_) => Exit::No,
        Outcome::Unknown(_) => Exit::Unknown,
    }
}

/// An outcome that is to be told.
pub struct Told<'a> {
    /// The command that came to it.
    pub command: &'static str,
    /// The outcome.
    pub outcome: &'a Outcome,
    /// What was asked.
    pub asked: &'a Asked,
    /// By which flags.
    pub args: &'a Wanted,
    /// What people read instead of the whole answer.
    pub short: Option<&'a str>,
}

impl Told<'_> {
    /// Gives the answer, with how the lock stands to it where that was asked too.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn tell(
        &self,
        lock: Option<&Standing>,
        matrix: &Matrix,
        output: &Output,
    ) -> Result<Exit, Error> {
        let stale = lock.is_some_and(|lock| lock.verdict() != Code::Ok);
        let exit = if stale { Exit::No } else { exit(self.outcome) };
        let found = self.found(exit, lock, matrix);
        output.answer(&|format| match (format, self.outcome) {
            (Format::Json, _) => json_v1::resolve(self.outcome, lock, matrix),
            (Format::Human, Outcome::Solved(resolution)) => match self.short {
                Some(short) => short.to_owned(),
                None => {
                    human::resolution(resolution, matrix)
                        + &lock.map_or_else(String::new, Standing::lines)
                }
            },
            (Format::Human, Outcome::Unsatisfiable(e) | Outcome::Unknown(e)) => {
                human::explanation(e, matrix)
            }
            (Format::Github, _) => found.github(),
            (Format::Sarif, _) => found.sarif(),
            (Format::Markdown, _) => markdown::outcome(&found, self.outcome, lock),
        })?;
        Ok(exit)
    }

    fn found<'m>(&self, exit: Exit, lock: Option<&Standing>, matrix: &'m Matrix) -> Found<'m> {
        let mut found = Found::new(self.command, exit, Some(matrix));
        if let Some(file) = &self.asked.wanted.file {
            found = found.about(file);
        }
        let found = match self.outcome {
            Outcome::Solved(resolution) => resolution.stacks.iter().fold(found, |found, stack| {
                let place = self.place(&stack.target);
                found.with(&stack.target, place.as_ref(), &stack.findings)
            }),
            Outcome::Unsatisfiable(why) | Outcome::Unknown(why) => {
                let place = why.targets.first().and_then(|target| self.place(target));
                let found = found.with("", place.as_ref(), &why.reasons);
                match over_all(why) {
                    Some(mut finding) => {
                        finding.place = place;
                        found.over_all(self.word(), finding)
                    }
                    None => found,
                }
            }
        };
        let found = found.of_project(&self.args.project);
        match lock {
            Some(lock) => found.with("", None, &lock.findings()),
            None => found,
        }
    }

    /// The outcome in a word.
    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Solved(_) => "ok",
            Outcome::Unsatisfiable(_) => "unsatisfiable",
            Outcome::Unknown(_) => "unknown",
        }
    }

    /// The line of the configuration that names a target.
    fn place(&self, target: &str) -> Option<Place> {
        let wanted = &self.asked.wanted;
        let line = wanted.targets.iter().find(|t| self.asked.is_for(target, &t.name))?.line?;
        Some(Place { file: slashed(wanted.file.as_ref()?), line })
    }
}

/// What is said over the reasons, unless they say it all: lines of the project that contradict each other.
fn over_all(why: &Explanation) -> Option<Finding> {
    if why.clash.is_empty() && !why.reasons.is_empty() {
        return None;
    }
    let message = format!("no stack satisfies: {}", why.clash.join("; "));
    let severity = if why.unknown { Severity::Unknown } else { Severity::Error };
    let finding = Finding::new(Code::Unknown, severity, message);
    Some(why.cures.iter().fold(finding, |finding, cure| finding.help(&cure.change)))
}
