//! `gpuseal lock`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{Format, Kind, Lock};
use super::output::{Output, write_whole};
use super::{asked, render, resolve as resolving};
use crate::error::{Error, Exit};
use crate::lock::{self, Lockfile, drift};
use crate::matrix::Matrix;
use crate::requirements::in_project;
use crate::resolve::Outcome;

/// Where the lock of a project stands.
pub fn lock_path(project: &Path) -> PathBuf {
    in_project(project, "gpuseal.lock")
}

/// Runs the command.
///
/// # Errors
/// Requirements, an old lock that is not to be overwritten, an unwritable folder.
pub fn run(args: &Lock, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    if !args.offline {
        return Err(Error::Usage {
            message: "this gpuseal locks from its matrix alone and asks no index".into(),
            help: Some(
                "say so with --offline: hashes and digests are then marked as not fetched".into(),
            ),
        });
    }
    let asked = asked::asked(&args.wanted, matrix, output)?;
    let outcome = asked.solve(matrix);
    let Outcome::Solved(resolution) = &outcome else {
        resolving::report(&outcome, &asked.wanted, matrix, output)?;
        return Ok(resolving::exit(&outcome));
    };
    let fresh = Lockfile::from_resolution(resolution, matrix, &asked.canonical())?;
    let path = lock_path(&args.wanted.project);
    if args.check || args.dry_run {
        return compare(args, &path, &fresh, output);
    }
    // Rendered before anything is written: a lock that cannot be rendered leaves no trace.
    let mut files = Vec::new();
    for kind in &args.render {
        files.push((
            in_project(&args.wanted.project, file_name(*kind)),
            render::text(*kind, &fresh, None)?,
        ));
    }
    let mut told = vec![(path.clone(), fresh.write(&path, args.force)?)];
    for (file, text) in files {
        let wrote = write_whole(&file, &text)?;
        told.push((file, wrote));
    }
    resolving::report(&outcome, &asked.wanted, matrix, output)?;
    for (file, wrote) in told {
        tell(output, &file, wrote);
    }
    Ok(Exit::Done)
}

fn tell(output: &Output, path: &std::path::Path, wrote: bool) {
    let how = if wrote { "wrote" } else { "unchanged" };
    output.talk(format_args!("{how} {}", path.display()));
}

/// Name of a rendered file next to the lock.
fn file_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Dockerfile => "Dockerfile",
        Kind::Install => "install.sh",
    }
}

fn compare(
    args: &Lock,
    path: &std::path::Path,
    fresh: &Lockfile,
    output: &Output,
) -> Result<Exit, Error> {
    let old = match Lockfile::read(path) {
        Ok(old) => old,
        Err(lock::Error::Missing(_)) => {
            output.talk(format_args!("error[lock-stale]: there is no `{}`", path.display()));
            output.talk("help: run `gpuseal lock --offline` and commit the result");
            return Ok(if args.check { Exit::No } else { Exit::Done });
        }
        Err(err) => return Err(err.into()),
    };
    let changes = drift::diff(&old, fresh);
    if changes.is_empty() {
        output.talk(format_args!("{} is up to date", path.display()));
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for change in &changes {
        let _ = writeln!(text, "{change}");
    }
    if output.format == Format::Human {
        output.result(&text)?;
    }
    if args.check {
        output.talk(format_args!("error[lock-stale]: `{}` is out of date", path.display()));
        output.talk("help: run `gpuseal lock --offline` and commit the result");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}
