//! What `--hook` adds to `resolve` and `render`: nothing is said when all is well, and what git is about to
//! commit is what was looked at.
//!
//! Runners of hooks compare the files that git knows. A first-ever lock is none of them, and would pass
//! without a word; so git itself is asked.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::args::Resolve;
use super::asked::Asked;
use super::lock::{freshness, own_lock_path, talk};
use super::output::Output;
use super::resolve::Told;
use crate::doctor::quoted;
use crate::domain::Code;
use crate::error::{Error, Exit};
use crate::host::child;
use crate::lock::{self, Lockfile};
use crate::matrix::Matrix;
use crate::resolve::Outcome;

/// Far more than git needs for a few names, even on a disk that sleeps.
const LONGEST: Duration = Duration::from_secs(10);

/// `gpuseal resolve --hook`: the lock is there, satisfies what is asked for, and will be committed.
///
/// # Errors
/// There is no lock, it cannot be read, or it is not in git's index.
pub fn resolve(
    args: &Resolve,
    asked: &Asked,
    matrix: &Matrix,
    output: &Output,
) -> Result<Exit, Error> {
    let path = own_lock_path(&args.wanted.project)?;
    let old = match Lockfile::read(&path) {
        Ok(old) => Some(old),
        Err(lock::Error::Missing(_)) => None,
        Err(err) => return Err(err.into()),
    };
    let (standing, outcome) = match &old {
        Some(old) => {
            let inputs = asked.canonical(old.with_deps());
            let (standing, outcome) = freshness(&path, old, asked, &inputs, matrix)?;
            (Some(standing), outcome)
        }
        // What cannot be locked is told before that it is not.
        None => (None, Some(asked.solve(matrix))),
    };
    if let Some(outcome) = outcome.filter(|outcome| !matches!(outcome, Outcome::Solved(_))) {
        let args = &args.wanted;
        let told = Told { command: "resolve", outcome: &outcome, asked, args, short: None };
        return told.tell(None, matrix, output);
    }
    let Some(standing) = standing else {
        return Err(Error::Hook {
            message: format!("there is no `{}`", path.display()),
            help: format!("run `gpuseal lock`, then `{}`", git_add(&[&path])),
        });
    };
    if !standing.findings().is_empty() {
        output.result(&standing.lines())?;
        talk(&standing, output);
        if standing.verdict() != Code::Ok {
            return Ok(Exit::No);
        }
    }
    committed(&[], &[&path], output)
}

/// Fails when files were written, or when git would commit something else than what stands there.
///
/// # Errors
/// The same, in words.
pub fn committed(wrote: &[&Path], all: &[&Path], output: &Output) -> Result<Exit, Error> {
    let left_out = match left_out(all) {
        Ok(left_out) => Some(left_out),
        Err(why) => {
            output.talk(format_args!("note: git could not say what a commit would hold: {why}"));
            None
        }
    };
    let left = left_out.as_deref().unwrap_or_default();
    let message = match (wrote, left) {
        ([], []) => return Ok(Exit::Done),
        ([], left) => format!("not in git's index as it stands here: {}", names(left)),
        (wrote, _) => format!("not what the lock renders, and now written: {}", names(wrote)),
    };
    let add = if left_out.is_some() { left } else { wrote };
    let help = match add {
        // The index had it right, and the folder did not.
        [] => "commit again".into(),
        add => format!("look at it, then `{}`", git_add(add)),
    };
    Err(Error::Hook { message, help })
}

fn names(paths: &[&Path]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// The command that puts files into the index, as a shell reads it.
fn git_add(paths: &[&Path]) -> String {
    let words = paths.iter().map(|path| quoted(&path.to_string_lossy()));
    format!("git add {}", words.collect::<Vec<_>>().join(" "))
}

/// Those of the files that git's index does not hold as they stand in the folder.
fn left_out<'p>(files: &[&'p Path]) -> Result<Vec<&'p Path>, String> {
    if holds(files)? {
        return Ok(Vec::new());
    }
    let mut left = Vec::new();
    for file in files {
        if !holds(&[file])? {
            left.push(*file);
        }
    }
    Ok(left)
}

/// Whether git's index holds all of the files as they stand. In a hook git says by the environment which
/// index is committed.
fn holds(files: &[&Path]) -> Result<bool, String> {
    // Names are names, and nothing that git watches folders with is started for a few of them.
    let options = ["--literal-pathspecs", "-c", "core.fsmonitor=false", "ls-files"];
    let listed = ["-z", "-t", "--cached", "--modified", "--"];
    let mut words: Vec<&OsStr> = options.iter().chain(&listed).map(OsStr::new).collect();
    words.extend(files.iter().map(|file| file.as_os_str()));
    let ran = child::run("git", &words, "", LONGEST).map_err(|err| format!("`git`: {err}"))?;
    if !ran.success() {
        let said = ran.stderr.lines().next().unwrap_or("it did not end in time");
        return Err(crate::domain::shown(said));
    }
    // What is modified, or in conflict, has a further entry with another tag.
    let mut entries = ran.stdout.split_terminator('\0');
    let known = entries.clone().count() == files.len();
    Ok(known && entries.all(|entry| entry.starts_with("H ")))
}
