//! `gpuseal doctor`

use std::io::Read as _;
use std::path::Path;

use super::args::{Doctor, Format, Wanted};
use super::output::{self, Output};
use super::{asked, lock};
use crate::doctor::{Report, Subject, examine, examine_resolved};
use crate::domain::shown;
use crate::error::{Error, Exit};
use crate::host::{Facts, Look, collect};
use crate::lock::Lockfile;
use crate::matrix::Matrix;
use crate::report::{Found, doctor as voice};
use crate::requirements::in_project;
use crate::resolve::Outcome;

/// Longest record that is read: a machine with many cards and packages has some hundred kilobytes.
const LONGEST: u64 = 10 << 20;

/// Runs the command.
///
/// # Errors
/// A record that cannot be read or written; a lock that cannot be read; a target that is not there.
pub fn run(args: &Doctor, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let facts = facts(args)?;
    let to_stdout = args.record.as_deref() == Some(Path::new("-"));
    match &args.record {
        Some(_) if to_stdout => output.data(&facts.to_record())?,
        Some(path) => {
            output::write_whole(path, &facts.to_record())?;
            output.talk(format_args!("wrote {}", path.display()));
        }
        None => (),
    }
    // What goes into a public report is judged without names, so that no finding holds one either.
    let facts = if args.shareable { facts.shareable() } else { facts };
    let report = report(args, &facts, matrix, output)?;
    let exit = exit(&report);
    let found = Found::new("doctor", exit, Some(matrix)).with("", None, report.findings());
    let about = [lock::lock_path(&args.project), in_project(&args.project, "gpuseal.yaml")];
    let found = match about.into_iter().chain(args.facts.clone()).find(|file| file.is_file()) {
        Some(file) => found.about(&file),
        None => found,
    };
    let voices = |format| match format {
        Format::Human => voice::human(&report, matrix),
        Format::Json => voice::json(&report, &facts, matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => voice::markdown(&report, &found),
    };
    let shareable = args.shareable.then(|| voice::shareable(&report, &facts, matrix));
    // A block to be pasted keeps its lines; a record on stdout is the only thing there.
    match (to_stdout, shareable) {
        (false, None) => output.answer(&voices)?,
        (to_stdout, shareable) => {
            let text = shareable.unwrap_or_else(|| voices(output.format));
            if to_stdout {
                output.talk(text.trim_end());
            } else {
                output.data(&text)?;
            }
            output.report(&voices)?;
        }
    }
    Ok(exit)
}

fn exit(report: &Report) -> Exit {
    use crate::domain::Code;
    match report.verdict {
        _ if report.nothing_here => Exit::CannotJudge,
        Code::Ok | Code::OkViaPtxJit => Exit::Done,
        Code::Unknown if report.broken().is_none() => Exit::CannotJudge,
        _ => Exit::No,
    }
}

/// The machine: recorded, or this one.
fn facts(args: &Doctor) -> Result<Facts, Error> {
    if let Some(env) = args.envs.iter().find(|env| is_nowhere(env)) {
        return Err(Error::Usage {
            message: format!("there is no `{}`", shown(&env.display().to_string())),
            help: Some("--env names an interpreter, or the folder of an environment".into()),
        });
    }
    match &args.facts {
        Some(path) => recorded(path),
        None => Ok(collect(&Look {
            envs: args.envs.clone(),
            run_python: !args.no_run,
            project: args.project.clone(),
            ..Look::default()
        })),
    }
}

/// Neither a path nor, for a name alone, a program.
fn is_nowhere(env: &Path) -> bool {
    let on_path = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let exe = format!("{}.exe", env.display());
        std::env::split_paths(&folders)
            .any(|folder| folder.join(env).is_file() || folder.join(&exe).is_file())
    };
    !(env.exists() || env.components().count() == 1 && on_path())
}

fn recorded(path: &Path) -> Result<Facts, Error> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text)?;
        ("standard input".to_owned(), text)
    } else {
        let mut text = String::new();
        fs_err::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
        (path.display().to_string(), text)
    };
    from_record(&name, &text)
}

fn from_record(name: &str, text: &str) -> Result<Facts, Error> {
    Facts::from_record(text).map_err(|err| Error::Usage {
        message: format!("`{}`: {err}", shown(name)),
        help: err.help(),
    })
}

/// Judges the facts, with the project's lock or else what its gpuseal.yaml resolves to.
fn report(args: &Doctor, facts: &Facts, matrix: &Matrix, output: &Output) -> Result<Report, Error> {
    let alone = Subject { facts, matrix, lock: None };
    let path = lock::own_lock_path(&args.project)?;
    if path.exists() {
        let lock = narrowed(Lockfile::read(&path)?, args, &path.display().to_string())?;
        return Ok(examine(&Subject { lock: Some(&lock), ..alone }));
    }
    let wanted = Wanted { project: args.project.clone(), ..Wanted::default() };
    let declared = super::wanted::config(&wanted)?.is_some_and(|file| !file.targets.is_empty());
    if !declared {
        return match &args.target {
            Some(name) => Err(Error::Usage {
                message: format!(
                    "there is no target `{}`: `{}` has neither gpuseal.lock nor gpuseal.yaml",
                    shown(name),
                    args.project.display()
                ),
                help: Some("name the project's folder with --project".into()),
            }),
            None => Ok(examine(&alone)),
        };
    }
    let asked = asked::asked(&wanted, matrix, output)?;
    match asked.solve(matrix) {
        Outcome::Solved(resolution) => {
            let lock = Lockfile::from_resolution(&resolution, matrix, &asked.canonical(false))?;
            let lock = narrowed(lock, args, "gpuseal.yaml")?;
            Ok(examine_resolved(&Subject { lock: Some(&lock), ..alone }))
        }
        // That there is no stack is `resolve`'s to say; the machine is judged all the same.
        Outcome::Unsatisfiable(_) | Outcome::Unknown(_) => {
            output.talk("note: the project's requirements have no answer (`gpuseal resolve` says why), so the machine is judged without them");
            Ok(examine(&alone))
        }
    }
}

/// The lock with the one target that was asked for.
fn narrowed(mut lock: Lockfile, args: &Doctor, name: &str) -> Result<Lockfile, Error> {
    let Some(target) = &args.target else { return Ok(lock) };
    if lock.target(target).is_none() {
        let names: Vec<_> = lock.targets.iter().map(|t| format!("`{}`", t.name)).collect();
        return Err(Error::Usage {
            message: format!("{name} has no target `{}`", shown(target)),
            help: Some(format!("its targets: {}", names.join(", "))),
        });
    }
    lock.targets.retain(|t| t.name.as_str() == target);
    Ok(lock)
}
