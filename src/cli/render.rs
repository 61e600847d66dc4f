//! `gpuseal render`

use super::args::{Kind, Render};
use super::lock::lock_path;
use super::output::{Output, write_whole};
use crate::error::{Error, Exit};
use crate::lock::Lockfile;
use crate::render;

/// Renders a lock, by the built-in template or the user's.
///
/// # Errors
/// The template, or a value of the lock that may not reach one.
pub fn text(kind: Kind, lock: &Lockfile, template: Option<&str>) -> Result<String, Error> {
    let kind = match kind {
        Kind::Dockerfile => render::Kind::Dockerfile,
        Kind::Install => render::Kind::Install,
    };
    Ok(render::render(kind, lock, &render::Options { user_template: template })?)
}

/// Runs the command.
///
/// # Errors
/// No lock, a bad one, a bad template, an unwritable file.
pub fn run(args: &Render, output: &Output) -> Result<Exit, Error> {
    let lock = Lockfile::read(&lock_path(&args.project))?;
    let template = args.template.as_ref().map(fs_err::read_to_string).transpose()?;
    let fresh = text(args.kind, &lock, template.as_deref())?;
    let Some(path) = &args.output else {
        output.result(&fresh)?;
        return Ok(Exit::Done);
    };
    if args.check {
        let same = fs_err::read_to_string(path).is_ok_and(|old| old == fresh);
        if !same {
            output.talk(format_args!(
                "error[lock-stale]: `{}` is not what the lock renders",
                path.display()
            ));
            output.talk("help: run the same command without --check");
        }
        return Ok(if same { Exit::Done } else { Exit::No });
    }
    let wrote = write_whole(path, &fresh)?;
    output.talk(format_args!("{} {}", if wrote { "wrote" } else { "unchanged" }, path.display()));
    Ok(Exit::Done)
}
