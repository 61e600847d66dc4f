//! `gpuseal render uv`: a fragment, or an edit of the project's pyproject.toml.

use super::place::{File, How, in_its_line_ends};
use super::{Made, Render, usage};
use crate::error::Error;
use crate::lock::{Lockfile, Target};
use crate::render::export::uv;
use crate::requirements::in_project;
use crate::requirements::project::Files;

/// Largest pyproject.toml that is edited, in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;

pub(super) fn made(args: &Render, lock: &Lockfile, targets: &[&Target]) -> Result<Made, Error> {
    if args.write {
        return Ok(Made::Files(vec![edited(args, lock, targets)?]));
    }
    let text = uv::fragment(lock, targets)?;
    match &args.output {
        Some(path) => {
            super::keep_in(&args.project, path)?;
            Ok(Made::Files(vec![File::new(path.clone(), text, "uv")]))
        }
        None if How::of(args).has_place() => Err(usage(
            "`uv` is a part of pyproject.toml and no file of its own",
            "take the project's with --write, or a file that you name with -o",
        )),
        None => Ok(Made::Text(text)),
    }
}

/// `--write`
fn edited(args: &Render, lock: &Lockfile, targets: &[&Target]) -> Result<File, Error> {
    let path = in_project(&args.project, "pyproject.toml");
    if !path.is_file() {
        return Err(usage(
            &format!("there is no `{}` to edit", path.display()),
            "run `uv init` first, or render `uv` without --write",
        ));
    }
    // The reader of projects has bounds for size and depth, and opens nothing outside.
    Files::of(&args.project)?.read(&path, MAX_BYTES)?.toml()?;
    let old = fs_err::read_to_string(&path)?;
    let new = in_its_line_ends(&old, |body| uv::edit(body, lock, targets, args.force))?;
    Ok(File::edited(path, new, "uv"))
}
