//! `gpuseal render`

mod difference;
mod dockerfile;
mod place;
mod size;
mod uv;

use std::path::{Component, Path};

use super::args::{self, Render};
use super::lock::own_lock_path;
use super::output::Output;
use crate::domain::shown;
use crate::error::{Error, Exit};
use crate::lock::{self, Lockfile, Target};
use crate::render::{self, Gpu, ImageName, Kind, Options, Runtime, Shell};
use crate::report::lock::{Rendered, Standing};
use crate::requirements::in_project;
use crate::requirements::project::Files;
use crate::yaml::{self, ReadError};
pub use place::{File, compared, tell_stale, voices, written};
use place::{How, place};
pub use size::tell as tell_sizes;

/// The kind behind a word; `None` for uv, which is a part of another file.
const fn kind_of(kind: args::Kind) -> Option<Kind> {
    Some(match kind {
        args::Kind::Dockerfile => Kind::Dockerfile,
        args::Kind::Install => Kind::Install,
        args::Kind::Compose => Kind::Compose,
        args::Kind::Devcontainer => Kind::Devcontainer,
        args::Kind::K8s => Kind::K8s,
        args::Kind::Slurm => Kind::Slurm,
        args::Kind::Apptainer => Kind::Apptainer,
        args::Kind::Github => Kind::Github,
        args::Kind::Gitlab => Kind::Gitlab,
        args::Kind::Requirements => Kind::Requirements,
        args::Kind::Pylock => Kind::Pylock,
        args::Kind::Constraints => Kind::Constraints,
        args::Kind::Uv => return None,
    })
}

/// The files of a kind at their usual places in the project, for `lock --render`.
///
/// # Errors
/// A value of the lock that may not reach a file; a kind that is part of another file.
pub fn beside(
    kind: args::Kind,
    lock: &Lockfile,
    project: &Path,
    check: bool,
) -> Result<Vec<File>, Error> {
    let kind = kind_of(kind).ok_or_else(|| {
        usage(
            "`uv` is a part of pyproject.toml and no file of its own",
            "run `gpuseal render uv --write` after",
        )
    })?;
    let all: Vec<_> = lock.targets.iter().collect();
    let folder = in_project(project, kind.folder());
    files(kind, lock, &all, &Options::default(), How::comparing(check), (project, &folder))
}

/// Runs the command.
///
/// # Errors
/// No lock, a bad one, a bad template, an unwritable file.
pub fn run(args: &Render, output: &Output) -> Result<Exit, Error> {
    let stdout = args.output.as_deref() == Some(Path::new("-"));
    if args.hook && stdout {
        return Err(usage("--hook keeps a file", "name it with -o, or leave -o out"));
    }
    let mut args = args.clone();
    args.output = args.output.filter(|_| !stdout);
    let args = &args;
    let compares = How::of(args).has_place();
    let lock = lock_of(&args.project, compares)?;
    let kind = kind_of(args.kind);
    fitting(args, kind)?;
    let targets = chosen(args, &lock)?;
    let aside = args.output.is_some() || args.managed || How::of(args).has_place();
    if args.explain_size && !aside {
        size::answer(&lock, &targets, output)?;
        return Ok(Exit::Done);
    }
    let how = How::of(args);
    let files = match made(args, &lock, &targets)? {
        Made::Files(files) => files,
        Made::Text(text) => {
            let file = Rendered::on_stdout(kind.map_or("uv", Kind::word));
            output.data(&text)?;
            output.report(&voices("render", &lock, &[file], Exit::Done))?;
            return Ok(Exit::Done);
        }
    };
    let exit = place(&files, how, &lock, output)?;
    if args.explain_size {
        output.talk(size::account(&lock, &targets)?.trim_end());
    } else if kind == Some(Kind::Dockerfile) && !how.has_place() {
        size::tell(&lock, &targets, output);
    }
    Ok(exit)
}

/// The lock of a project. To a comparison it is as stale when it is missing.
fn lock_of(project: &Path, compares: bool) -> Result<Lockfile, Error> {
    let path = own_lock_path(project)?;
    match Lockfile::read(&path) {
        Err(lock::Error::Missing(_)) if compares => {
            let mut findings = Standing::missing(&path).findings();
            // Places of errors are taken from the project's folder.
            for place in findings.iter_mut().filter_map(|finding| finding.place.as_mut()) {
                place.file = "gpuseal.lock".into();
            }
            Err(Error::NoLock(findings))
        }
        other => Ok(other?),
    }
}

/// Compares files of several kinds at once, as `render --check` does one.
///
/// # Errors
/// Those of [`run`].
pub fn check(list: &[Render], project: &Path, output: &Output) -> Result<Exit, Error> {
    let lock = lock_of(project, true)?;
    let mut files = Vec::new();
    for args in list {
        fitting(args, kind_of(args.kind))?;
        if let Made::Files(more) = made(args, &lock, &chosen(args, &lock)?)? {
            files.extend(more);
        }
    }
    place(&files, How::comparing(true), &lock, output)
}

/// What is rendered.
enum Made {
    /// Files with their places.
    Files(Vec<File>),
    /// A text for standard output.
    Text(String),
}

fn made(args: &Render, lock: &Lockfile, targets: &[&Target]) -> Result<Made, Error> {
    let Some(kind) = kind_of(args.kind) else { return uv::made(args, lock, targets) };
    let template = args.template.as_deref().map(template).transpose()?;
    let image = args.image.as_deref().map(str::parse::<ImageName>).transpose().map_err(|err| {
        usage(&err.to_string(), "give --image the name that the built image is pushed or pulled by")
    })?;
    if let Some(name) = image.as_ref().filter(|name| name.is_whole() && targets.len() > 1) {
        return Err(usage(
            &format!("`{name}` names one image, and there are several targets: {}", names(targets)),
            "leave out the tag, so that each target gets its own, or choose one with --target",
        ));
    }
    let options = Options {
        user_template: template.as_deref(),
        no_syntax_line: args.no_syntax_line,
        managed: args.managed,
        shell: match args.shell {
            Some(args::Shell::Powershell) => Shell::Powershell,
            _ => Shell::Sh,
        },
        image: image.as_ref(),
        dra: args.dra,
        runtime: match args.runtime {
            Some(args::Runtime::Apptainer) => Runtime::Apptainer,
            _ => Runtime::Pyxis,
        },
        gpu: match args.gpu {
            Some(args::Gpu::Optional) => Gpu::Optional,
            _ => Gpu::Required,
        },
        depth: None,
    };
    let how = How::of(args);
    if let Some(path) = &args.output {
        keep_in(&args.project, path)?;
    }
    let folder = match &args.output {
        Some(path) if is_folder(path) => Some(path.clone()),
        // What is compared, kept or edited without a place is what `lock --render` writes.
        None if how.has_place() || args.managed => Some(in_project(&args.project, kind.folder())),
        _ => None,
    };
    let files = match (folder, &args.output) {
        (Some(folder), _) => files(kind, lock, targets, &options, how, (&args.project, &folder))?,
        (None, Some(path)) if kind == Kind::Dockerfile => {
            dockerfile::files(path.clone(), lock, targets, &options, how)?
        }
        (None, path) => {
            if kind.each() {
                one(kind, targets, args, &options)?;
            }
            let options = Options {
                depth: args.output.as_deref().and_then(|path| depth(path, &args.project)),
                ..options
            };
            let text = render::render(kind, lock, targets, &options)?;
            let Some(path) = path else { return Ok(Made::Text(text)) };
            vec![File::new(path.clone(), text, kind.word())]
        }
    };
    Ok(Made::Files(files))
}

fn usage(message: &str, help: &str) -> Error {
    Error::Usage { message: message.into(), help: Some(help.into()) }
}

/// A template of the user's, of a size that somebody can have written.
fn template(path: &Path) -> Result<String, Error> {
    const MAX_BYTES: usize = 2 * 1024 * 1024;
    yaml::read(path, MAX_BYTES).map_err(|err| match err {
        ReadError::Io(err) => err.into(),
        ReadError::TooLong(_) | ReadError::NotUtf8(_) => usage(
            &format!("`{}` is no template: it is not text, or far too long", path.display()),
            "name a Tera template",
        ),
    })
}

/// Flags that say something to the kind that is rendered.
fn fitting(args: &Render, kind: Option<Kind>) -> Result<(), Error> {
    let is = |kinds: &[Kind]| kind.is_some_and(|kind| kinds.contains(&kind));
    let templates: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.has_template()).collect();
    let image =
        [Kind::Compose, Kind::K8s, Kind::Slurm, Kind::Apptainer, Kind::Github, Kind::Gitlab];
    for (given, flag, of) in [
        (args.template.is_some(), "--template", &templates[..]),
        (args.managed, "--managed", &[Kind::Dockerfile]),
        (args.no_syntax_line, "--no-syntax-line", &[Kind::Dockerfile]),
        (args.explain_size, "--explain-size", &[Kind::Dockerfile]),
        (args.shell.is_some(), "--shell", &[Kind::Install]),
        (args.image.is_some(), "--image", &image),
        (args.dra, "--dra", &[Kind::K8s]),
        (args.runtime.is_some(), "--runtime", &[Kind::Slurm]),
        (args.gpu.is_some(), "--gpu", &[Kind::Devcontainer]),
    ] {
        if given && !is(of) {
            let of: Vec<_> = of.iter().map(|kind| format!("`{}`", kind.word())).collect();
            return Err(usage(&format!("{flag} is for {}", of.join(", ")), "leave it out"));
        }
    }
    if args.write && kind.is_some() {
        return Err(usage("--write is for `uv`", "name a file with -o"));
    }
    Ok(())
}

/// No link takes a file out of the project, unless the user names a place outside.
fn keep_in(project: &Path, path: &Path) -> Result<(), Error> {
    Ok(Files::of(project)?.keep_in(path)?)
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
}

/// The targets that were asked for, or all.
fn chosen<'l>(args: &Render, lock: &'l Lockfile) -> Result<Vec<&'l Target>, Error> {
    if let Some(name) = args.targets.iter().find(|name| lock.target(name).is_none()) {
        return Err(usage(
            &format!("the lock has no target `{}`", shown(name)),
            &format!("targets are {}", names(&lock.targets.iter().collect::<Vec<_>>())),
        ));
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

/// The files of a kind in a folder: one, or one for each target.
fn files(
    kind: Kind,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
    how: How,
    (project, folder): (&Path, &Path),
) -> Result<Vec<File>, Error> {
    if kind == Kind::Dockerfile {
        let path = in_project(folder, &kind.file_name("", options));
        keep_in(project, &path)?;
        let files = dockerfile::files(path, lock, targets, options, how)?;
        return Ok(files.into_iter().map(File::usual).collect());
    }
    let file = |name: &str, targets: &[&Target]| {
        let usual_name = kind.file_name(name, options);
        let options = &Options { depth: depth(&folder.join(usual_name), project), ..*options };
        let path = in_project(folder, &kind.file_name(name, options));
        keep_in(project, &path)?;
        Ok::<_, Error>(
            File::new(path, render::render(kind, lock, targets, options)?, kind.word()).usual(),
        )
    };
    if !kind.each() {
        return Ok(vec![file("", targets)?]);
    }
    let fits = |target: &&&Target| !kind.is_container() || target.platform.has_container();
    let mut fitting = targets.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        return Err(render::Error::NoContainer.into());
    }
    fitting.map(|target| file(target.name.as_str(), &[target])).collect()
}

/// A kind with a file for each target, and a place for one of them.
fn one(kind: Kind, targets: &[&Target], args: &Render, options: &Options<'_>) -> Result<(), Error> {
    let [target] = targets else {
        return Err(usage(
            &format!(
                "each target has its own {}, and there are several: {}",
                kind.word(),
                names(targets)
            ),
            "choose one with --target, or write all into a folder with -o DIR",
        ));
    };
    let name = args.output.as_ref().and_then(|path| path.file_name()).map(|n| n.to_string_lossy());
    if let Some(name) = name.filter(|name| kind == Kind::Pylock && !is_pylock(name)) {
        return Err(usage(
            &format!(
                "`{}` cannot name a pylock.toml: installers would not take it for one",
                shown(&name)
            ),
            &format!("call it pylock.toml or {}", kind.file_name(target.name.as_str(), options)),
        ));
    }
    Ok(())
}

/// How many folders below the project a file lies; `None` where that is not plain from its name.
fn depth(path: &Path, project: &Path) -> Option<usize> {
    let inside = if project == Path::new(".") { path } else { path.strip_prefix(project).ok()? };
    let mut folders = 0;
    for component in inside.parent()?.components() {
        match component {
            Component::Normal(_) => folders += 1,
            Component::CurDir => (),
            _ => return None,
        }
    }
    Some(folders)
}

/// PEP 751: `pylock.toml`, or one name between two dots.
fn is_pylock(name: &str) -> bool {
    let inner = name.strip_prefix("pylock.").and_then(|rest| rest.strip_suffix("toml"));
    inner.is_some_and(|inner| {
        inner.is_empty()
            || inner.strip_suffix('.').is_some_and(|name| !name.is_empty() && !name.contains('.'))
    })
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
