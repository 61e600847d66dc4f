//! `gpuseal lock`

mod compare;
mod deps;
mod files;
mod images;
mod online;
mod sources;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::args::{Format, Kind, Lock};
use super::asked::{self, Asked};
use super::output::Output;
use super::render;
use super::resolve::Told;
use crate::closure;
use crate::domain::{Code, Gather as _, normalise_name, shown};
use crate::error::{Error, Exit};
use crate::lock::{self, Lockfile, Upgrade};
use crate::matrix::Matrix;
use crate::report::lock::{Rendered, Standing, State, differences};
use crate::report::{Found, markdown};
use crate::requirements::in_project;
use crate::requirements::project::Files;
use crate::resolve::Outcome;

pub use compare::{freshness, talk};

/// Where the lock of a project stands.
pub fn lock_path(project: &Path) -> PathBuf {
    in_project(project, "gpuseal.lock")
}

/// The same where it is read or written: a link does not lead out of the project.
///
/// # Errors
/// One does.
pub fn own_lock_path(project: &Path) -> Result<PathBuf, Error> {
    let path = lock_path(project);
    if path.is_symlink() {
        Files::of(project)?.keep_in(&path)?;
    }
    Ok(path)
}

/// Runs the command.
///
/// # Errors
/// Requirements, an old lock that is not to be overwritten, an index that does not answer, an
/// unwritable folder.
pub fn run(args: &Lock, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let path = own_lock_path(&args.wanted.project)?;
    if args.frozen {
        let lock = Lockfile::read(&path)?;
        let files = write_renders(args, &lock, output)?;
        output.answer(&render::voices("lock", &lock, &files, Exit::Done))?;
        return Ok(Exit::Done);
    }
    let old = old_lock(&path, args)?;
    let with_deps = with_deps(args, old.as_ref());
    let asked = asked::asked(&args.wanted, matrix, output)?;
    let inputs = asked.canonical(with_deps);
    if args.check || args.locked {
        return check(args, &path, old.as_ref(), &asked, &inputs, matrix, output);
    }
    let upgrade = upgrade(args);
    let kept = old
        .as_ref()
        .filter(|old| compare::prefers_alike(old, &inputs))
        .map(|old| old.kept(&upgrade))
        .unwrap_or_default();
    let mut outcome = asked.solve_keeping(matrix, &kept);
    let Outcome::Solved(resolution) = &mut outcome else {
        return told(args, &outcome, &asked, None).tell(None, matrix, output);
    };
    let decided = Lockfile::from_resolution(resolution, matrix, &inputs)?;
    if let Some(old) = old.as_ref().filter(|_| !args.force && !args.wanted.targets.is_empty()) {
        nobody_is_dropped(old, &decided, &path)?;
    }
    let job = online::Job {
        args,
        asked: &asked,
        decided,
        old: old.as_ref(),
        upgrade: &upgrade,
        with_deps,
        matrix,
    };
    let found = online::complete(&job, output)?;
    accept(old.as_ref(), &found.lock, args)?;
    for (target, finding) in found.findings.iter().filter(|_| output.format != Format::Human) {
        if let Some(stack) = resolution.stacks.iter_mut().find(|s| s.target == *target) {
            stack.findings.push(finding.clone());
        }
    }
    if args.dry_run {
        let (standing, text) = compare::planned(&path, old.as_ref(), &found.lock, output);
        return told(args, &outcome, &asked, Some(&text)).tell(Some(&standing), matrix, output);
    }
    let standing = finish(args, &path, old.as_ref(), &found, output)?;
    told(args, &outcome, &asked, None).tell(Some(&standing), matrix, output)?;
    found.tell(output);
    for name in unheard(args, old.as_ref(), &found.lock) {
        output.talk(format_args!("note: the lock has no package `{}`", shown(&name)));
    }
    Ok(Exit::Done)
}

/// Names given by flags that neither lock holds.
fn unheard(args: &Lock, old: Option<&Lockfile>, new: &Lockfile) -> BTreeSet<String> {
    let names = args.upgrade_package.iter().chain(&args.accept_hash);
    let holds = |lock: &Lockfile, name: &str| {
        lock.targets.iter().flat_map(|t| &t.packages).any(|p| p.name.as_str() == name)
    };
    names
        .map(|name| normalise_name(name))
        .filter(|name| !holds(new, name) && !old.is_some_and(|old| holds(old, name)))
        .collect()
}

/// Renders before anything is written: a lock that cannot be rendered leaves no trace.
fn finish(
    args: &Lock,
    path: &Path,
    old: Option<&Lockfile>,
    found: &online::Found,
    output: &Output,
) -> Result<Standing, Error> {
    let files = renders(args, &found.lock)?;
    for file in &files {
        file.free(false)?;
    }
    let wrote = found.lock.write(path, args.force)?;
    tell(output, path, wrote);
    let state = if wrote { State::Written } else { State::Unchanged };
    let mut standing = Standing::of(path, &found.lock, state).since(old, &found.lock);
    standing.files = render::written(&files, false, output)?;
    tell_sizes(args, &found.lock, output);
    Ok(standing)
}

/// An outcome that is to be told.
fn told<'a>(
    args: &'a Lock,
    outcome: &'a Outcome,
    asked: &'a Asked,
    short: Option<&'a str>,
) -> Told<'a> {
    Told { command: "lock", outcome, asked, args: &args.wanted, short }
}

/// What is to be built weighs something.
fn tell_sizes(args: &Lock, lock: &Lockfile, output: &Output) {
    if args.render.contains(&Kind::Dockerfile) {
        render::tell_sizes(lock, &lock.targets.iter().collect::<Vec<_>>(), output);
    }
}

fn renders(args: &Lock, lock: &Lockfile) -> Result<Vec<render::File>, Error> {
    let mut files = Vec::new();
    for kind in &args.render {
        files.extend(render::beside(*kind, lock, &args.wanted.project, args.check)?);
    }
    Ok(files)
}

fn write_renders(args: &Lock, lock: &Lockfile, output: &Output) -> Result<Vec<Rendered>, Error> {
    let files = render::written(&renders(args, lock)?, false, output)?;
    tell_sizes(args, lock, output);
    Ok(files)
}

fn tell(output: &Output, path: &Path, wrote: bool) {
    let how = if wrote { "wrote" } else { "unchanged" };
    output.talk(format_args!("{how} {}", path.display()));
}

/// The lock that stands there. One that cannot be read stops the command, unless it is to be replaced.
fn old_lock(path: &Path, args: &Lock) -> Result<Option<Lockfile>, Error> {
    match Lockfile::read(path) {
        Ok(old) => Ok(Some(old)),
        Err(lock::Error::Missing(_)) => Ok(None),
        Err(_) if args.force => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// The project's other packages are locked when asked for, and stay when nobody says otherwise.
fn with_deps(args: &Lock, old: Option<&Lockfile>) -> bool {
    args.with_deps || (!args.no_with_deps && old.is_some_and(Lockfile::with_deps))
}

fn upgrade(args: &Lock) -> Upgrade {
    if args.upgrade {
        return Upgrade::Everything;
    }
    if args.upgrade_package.is_empty() {
        return Upgrade::Nothing;
    }
    Upgrade::Packages(args.upgrade_package.iter().map(|name| normalise_name(name)).collect())
}

fn check(
    args: &Lock,
    path: &Path,
    old: Option<&Lockfile>,
    asked: &Asked,
    inputs: &str,
    matrix: &Matrix,
    output: &Output,
) -> Result<Exit, Error> {
    let Some(old) = old else {
        return standing_told(&Standing::missing(path), matrix, output);
    };
    let chosen = &args.wanted.targets;
    if let Some(other) = old.targets.iter().find(|target| {
        let name = target.name.as_str();
        !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name)
    }) {
        return Err(Error::Usage {
            message: format!(
                "`{}` is checked as a whole, and --target leaves out {}",
                path.display(),
                other.name
            ),
            help: Some("leave --target out".into()),
        });
    }
    let (mut standing, outcome) = freshness(path, old, asked, inputs, matrix)?;
    if let Some(outcome) = outcome.filter(|outcome| !matches!(outcome, Outcome::Solved(_))) {
        return told(args, &outcome, asked, None).tell(None, matrix, output);
    }
    standing.deny = args.deny_withdrawn;
    if standing.verdict() == Code::Ok && !args.render.is_empty() {
        standing.files = if args.locked {
            write_renders(args, old, output)?
        } else {
            render::compared(&renders(args, old)?)?
        };
    }
    standing_told(&standing, matrix, output)
}

fn standing_told(standing: &Standing, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let exit = answered("lock", standing, matrix, output)?;
    talk(standing, output);
    if render::tell_stale(&standing.files, output) {
        output.talk("help: run the same command with --locked instead of --check");
    }
    Ok(exit)
}

/// Answers how a lock and its files stand, in every voice.
///
/// # Errors
/// The answer cannot be written.
pub fn answered(
    command: &'static str,
    standing: &Standing,
    matrix: &Matrix,
    output: &Output,
) -> Result<Exit, Error> {
    let findings = standing.findings();
    let exit = if standing.verdict() == Code::Ok { Exit::Done } else { Exit::No };
    let found = Found::new(command, exit, Some(matrix)).with("", None, &findings);
    output.answer_as_it_is(&|format| match format {
        Format::Human => standing.lines() + &differences(&standing.files),
        Format::Json => standing.document(matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => markdown::checked(&found, standing),
    })?;
    Ok(exit)
}

/// Some targets alone, with `--target`: the lock would lose the others.
fn nobody_is_dropped(old: &Lockfile, new: &Lockfile, path: &Path) -> Result<(), Error> {
    let gone = |target: &&lock::Target| new.target(target.name.as_str()).is_none();
    let names: Vec<_> = old.targets.iter().filter(gone).map(|t| t.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Usage {
        message: format!(
            "`{}` also holds {}, which --target leaves out and the new lock would lose",
            path.display(),
            names.join(", ")
        ),
        help: Some("lock all targets (what still fits stays as it is), or give --force".into()),
    })
}

/// The same file never changes its digest: whoever changed it, a person has to look.
fn accept(old: Option<&Lockfile>, new: &Lockfile, args: &Lock) -> Result<(), Error> {
    let accepted: BTreeSet<String> =
        args.accept_hash.iter().map(|name| normalise_name(name)).gather();
    let clash = closure::two_digests(old.unwrap_or(new), new)
        .into_iter()
        .find(|clash| !accepted.contains(&clash.package));
    match clash {
        Some(clash) => Err(Error::TwoDigests(Box::new(clash))),
        None => Ok(()),
    }
}
