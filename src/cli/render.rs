//! `gpuseal render`

use std::path::{Path, PathBuf};

use super::args::{Kind, Render};
use super::lock::lock_path;
use super::output::{Output, write_whole};
use crate::error::{Error, Exit};
use crate::lock::{Lockfile, Target};
use crate::render::export::{self, Export, uv};
use crate::render::{self, Options};
use crate::requirements::in_project;
use crate::requirements::project::Files;

/// Largest pyproject.toml that is edited, in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How a kind is made.
enum How {
    /// One text for all targets, by a template.
    Template(render::Kind),
    /// A text for each target.
    Export(Export),
    /// A fragment for a pyproject.toml.
    Uv,
}

fn how(kind: Kind) -> How {
    match kind {
        Kind::Dockerfile => How::Template(render::Kind::Dockerfile),
        Kind::Install => How::Template(render::Kind::Install),
        Kind::Requirements => How::Export(Export::Requirements),
        Kind::Pylock => How::Export(Export::Pylock),
        Kind::Constraints => How::Export(Export::Constraints),
        Kind::Uv => How::Uv,
    }
}

/// The files of a kind beside the lock, for `lock --render`.
///
/// # Errors
/// A value of the lock that may not reach a file; a kind that is part of another file.
pub fn beside(
    kind: Kind,
    lock: &Lockfile,
    project: &Path,
) -> Result<Vec<(PathBuf, String)>, Error> {
    match how(kind) {
        How::Template(of) => {
            let name = match of {
                render::Kind::Dockerfile => "Dockerfile",
                render::Kind::Install => "install.sh",
            };
            let text = render::render(of, lock, &Options::default())?;
            Ok(vec![(in_project(project, name), text)])
        }
        How::Export(of) => lock
            .targets
            .iter()
            .map(|target| {
                let file = in_project(project, &of.file_name(target));
                Ok((file, export::export(of, lock, target)?))
            })
            .collect(),
        How::Uv => Err(Error::Usage {
            message: "`uv` is a part of pyproject.toml and no file of its own".into(),
            help: Some("run `gpuseal render uv --write` after".into()),
        }),
    }
}

/// Runs the command.
///
/// # Errors
/// No lock, a bad one, a bad template, an unwritable file.
pub fn run(args: &Render, output: &Output) -> Result<Exit, Error> {
    let lock = Lockfile::read(&lock_path(&args.project))?;
    let how = how(args.kind);
    if args.write && !matches!(how, How::Uv) {
        return Err(usage("--write is for `uv`", "name a file with -o"));
    }
    if args.template.is_some() && !matches!(how, How::Template(_)) {
        return Err(usage("--template is for `dockerfile` and `install`", "leave it out"));
    }
    match how {
        How::Template(_) if !args.targets.is_empty() => Err(usage(
            "--target is for `requirements`, `pylock`, `constraints` and `uv`",
            "leave it out: a Dockerfile and an install script hold every target, and take one when they run",
        )),
        How::Template(of) => {
            let template = args.template.as_ref().map(fs_err::read_to_string).transpose()?;
            let options = Options { user_template: template.as_deref() };
            place(args, &render::render(of, &lock, &options)?, output)
        }
        How::Export(of) => exported(args, of, &lock, output),
        How::Uv if args.write => edited(args, &lock, output),
        How::Uv => place(args, &uv::fragment(&lock, &chosen(args, &lock)?)?, output),
    }
}

fn usage(message: &str, help: &str) -> Error {
    Error::Usage { message: message.into(), help: Some(help.into()) }
}

/// The targets that were asked for, or all.
fn chosen<'l>(args: &Render, lock: &'l Lockfile) -> Result<Vec<&'l Target>, Error> {
    if let Some(name) = args.targets.iter().find(|name| lock.target(name).is_none()) {
        return Err(Error::Usage {
            message: format!("the lock has no target `{}`", crate::domain::shown(name)),
            help: Some(format!("targets are {}", names(&lock.targets.iter().collect::<Vec<_>>()))),
        });
    }
    let asked = |target: &&Target| args.targets.iter().any(|name| name == target.name.as_str());
    Ok(lock.targets.iter().filter(|target| args.targets.is_empty() || asked(target)).collect())
}

fn names(targets: &[&Target]) -> String {
    const MOST: usize = 10;
    let mut names: Vec<_> = targets.iter().map(|target| target.name.to_string()).collect();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    names.join(", ") + &more
}

/// A text to where it was asked for.
fn place(args: &Render, text: &str, output: &Output) -> Result<Exit, Error> {
    match &args.output {
        None => {
            output.result(text)?;
            Ok(Exit::Done)
        }
        Some(path) => put(&[(path.clone(), text.to_owned())], args.check, output),
    }
}

/// Writes files, or compares them.
fn put(files: &[(PathBuf, String)], check: bool, output: &Output) -> Result<Exit, Error> {
    let mut exit = Exit::Done;
    for (path, text) in files {
        if check {
            if !fs_err::read_to_string(path).is_ok_and(|old| old == *text) {
                output.talk(format_args!(
                    "error[lock-stale]: `{}` is not what the lock renders",
                    path.display()
                ));
                exit = Exit::No;
            }
            continue;
        }
        let how = if write_whole(path, text)? { "wrote" } else { "unchanged" };
        output.talk(format_args!("{how} {}", path.display()));
    }
    if exit == Exit::No {
        output.talk("help: run the same command without --check");
    }
    Ok(exit)
}

/// One file for each target: to standard output or a file for one of them, into a folder for all.
fn exported(args: &Render, of: Export, lock: &Lockfile, output: &Output) -> Result<Exit, Error> {
    let targets = chosen(args, lock)?;
    let folder = args.output.as_ref().filter(|path| {
        path.is_dir() || path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
    });
    if let Some(folder) = folder {
        let files = targets
            .iter()
            .map(|target| {
                Ok((folder.join(of.file_name(target)), export::export(of, lock, target)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        return put(&files, args.check, output);
    }
    let [target] = targets[..] else {
        return Err(Error::Usage {
            message: format!(
                "each target has its own {}, and there are several: {}",
                of.word(),
                names(&targets)
            ),
            help: Some("choose one with --target, or write all into a folder with -o DIR".into()),
        });
    };
    let name = args.output.as_ref().and_then(|path| path.file_name()).map(|n| n.to_string_lossy());
    if let Some(name) = name.filter(|name| of == Export::Pylock && !is_pylock(name)) {
        return Err(Error::Usage {
            message: format!(
                "`{}` cannot name a pylock.toml: installers would not take it for one",
                crate::domain::shown(&name)
            ),
            help: Some(format!("call it pylock.toml or {}", of.file_name(target))),
        });
    }
    place(args, &export::export(of, lock, target)?, output)
}

/// PEP 751: `pylock.toml`, or one name between two dots.
fn is_pylock(name: &str) -> bool {
    let inner = name.strip_prefix("pylock.").and_then(|rest| rest.strip_suffix("toml"));
    inner.is_some_and(|inner| {
        inner.is_empty()
            || inner.strip_suffix('.').is_some_and(|name| !name.is_empty() && !name.contains('.'))
    })
}

/// `render uv --write`
fn edited(args: &Render, lock: &Lockfile, output: &Output) -> Result<Exit, Error> {
    let path = in_project(&args.project, "pyproject.toml");
    if !path.is_file() {
        return Err(Error::Usage {
            message: format!("there is no `{}` to edit", path.display()),
            help: Some("run `uv init` first, or render `uv` without --write".into()),
        });
    }
    // The reader of projects has bounds for size and depth, and opens nothing outside.
    Files::of(&args.project)?.read(&path, MAX_BYTES)?.toml()?;
    let old = fs_err::read_to_string(&path)?;
    let (mark, body) = old.strip_prefix('\u{feff}').map_or(("", &*old), |body| ("\u{feff}", body));
    let windows = body.contains("\r\n");
    let new = uv::edit(&body.replace("\r\n", "\n"), lock, &chosen(args, lock)?, args.force)?;
    let new = if windows { new.replace('\n', "\r\n") } else { new };
    // A link stays one.
    let real = fs_err::canonicalize(&path)?;
    let same = mark.to_owned() + &new;
    if args.check || same == old {
        return put(&[(path, same)], args.check, output);
    }
    write_whole(&real, &same)?;
    output.talk(format_args!("wrote {}", path.display()));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::is_pylock;

    #[test]
    fn names_of_pep_751() {
        for name in ["pylock.toml", "pylock.train.toml", "pylock.a100-80_x.toml"] {
            assert!(is_pylock(name), "{name}");
        }
        for name in ["pylock..toml", "pylock.a.b.toml", "lock.toml", "pylock.train", "pylocktoml"] {
            assert!(!is_pylock(name), "{name}");
        }
    }
}
