//! What `--hook` adds to `resolve` and `render`: nothing is said when all is well, and what git is about to
//! commit is what was looked at.
//!
//! Runners of hooks compare the files that git knows. A first-ever lock is none of them, and would pass
//! without a word; so git itself is asked.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::args::Resolve;
use super::asked::Asked;
use super::lock::{answered, freshness, own_lock_path, talk};
use super::output::Output;
use super::resolve::Told;
use crate::doctor::quoted;
use crate::domain::Code;
use crate::error::{Error, Exit};
use crate::host::child::{self, Ran};
use crate::lock::{self, Lockfile};
use crate::matrix::Matrix;
use crate::report::lock::Standing;
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
            freshness(&path, old, asked, &inputs, matrix)?
        }
        // What cannot be locked is told before that it is not.
        None => (Standing::missing(&path), Some(asked.solve(matrix))),
    };
    if let Some(outcome) = outcome.filter(|outcome| !matches!(outcome, Outcome::Solved(_))) {
        let args = &args.wanted;
        let told = Told { command: "resolve", outcome: &outcome, asked, args, short: None };
        return told.tell(None, matrix, output);
    }
    if standing.verdict() == Code::Ok {
        // A lock of what stands here is none of what is committed, if that is something else.
        let home = repository(&path);
        let mut files = asked.files(&args.wanted.project);
        files.retain(|file| repository(file) == home);
        files.insert(0, path.clone());
        // What git is told to ignore stays with its owner, such as a .python-version; not lock and configuration.
        let held = left_out(&paths(&files)).is_ok_and(|left| left.is_empty());
        let configured = asked.wanted.file.as_ref();
        files.retain(|file| {
            let needed = *file == path || configured == Some(file);
            held || needed || !is_ignored(None, file.as_os_str())
        });
        committed(&[], &paths(&files), output)?;
    }
    let exit = answered("resolve", &standing, matrix, output)?;
    if !standing.findings().is_empty() {
        talk(&standing, output);
    }
    Ok(exit)
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
        add => format!("look at it, then {}", adding(add)),
    };
    Err(Error::Hook { message, help })
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

fn names(paths: &[&Path]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// The commands that put files into the index, as a shell reads them.
fn adding(paths: &[&Path]) -> String {
    let here = repository(Path::new("."));
    let (mut plain, mut ignored, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let folder = other_folder(path, here.as_deref());
        let name = if folder.is_some() { path.file_name() } else { None };
        let name = name.unwrap_or(path.as_os_str());
        let is_ignored = is_ignored(folder, name);
        let word = quoted(&name.to_string_lossy());
        match folder {
            Some(folder) => {
                let (folder, force) =
                    (folder.to_string_lossy(), if is_ignored { " -f" } else { "" });
                elsewhere.push(format!("`git -C {} add{force} {word}`", quoted(&folder)));
            }
            None if is_ignored => ignored.push(word),
            None => plain.push(word),
        }
    }
    let mut ways = Vec::new();
    if !plain.is_empty() {
        ways.push(format!("`git add {}`", plain.join(" ")));
    }
    if !ignored.is_empty() {
        let words = ignored.join(" ");
        ways.push(format!("take out of .gitignore (or `git add -f`) what git ignores: `{words}`"));
    }
    ways.extend(elsewhere);
    ways.join(", ")
}

/// Whether git leaves a file out that nobody has added.
fn is_ignored(folder: Option<&Path>, name: &OsStr) -> bool {
    let words = ["check-ignore", "--quiet", "--"].map(OsStr::new);
    git(folder, &[&words[..], &[name]].concat()).is_ok_and(|ran| ran.success())
}

/// The repository that a file or folder lies in.
fn repository(path: &Path) -> Option<PathBuf> {
    let real = fs_err::canonicalize(path).ok()?;
    real.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_path_buf)
}

/// The folder of a file in another repository than `here`, such as a submodule.
fn other_folder<'p>(path: &'p Path, here: Option<&Path>) -> Option<&'p Path> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (Some(repository(path)?.as_path()) != here).then_some(folder)
}

/// Those of the files that git's index does not hold as they stand in the folder.
fn left_out<'p>(files: &[&'p Path]) -> Result<Vec<&'p Path>, String> {
    let here = repository(Path::new("."));
    let other = |file: &'p Path| other_folder(file, here.as_deref());
    let ours: Vec<_> = files.iter().filter(|file| other(file).is_none()).collect();
    let all: Vec<_> = ours.iter().map(|file| file.as_os_str()).collect();
    let all_ours = all.is_empty() || holds(None, &all)?;
    let mut left = Vec::new();
    for file in files {
        let held = match (other(file), file.file_name()) {
            (Some(folder), Some(name)) => holds(Some(folder), &[name])?,
            _ => all_ours || holds(None, &[file.as_os_str()])?,
        };
        if !held {
            left.push(*file);
        }
    }
    Ok(left)
}

/// Whether git's index holds all of the files as they stand.
fn holds(folder: Option<&Path>, files: &[&OsStr]) -> Result<bool, String> {
    // Names are names, and nothing that git watches folders with is started for a few of them.
    let options = ["--literal-pathspecs", "-c", "core.fsmonitor=false", "ls-files"];
    let listed = ["-z", "-t", "--cached", "--modified", "--"];
    let mut words: Vec<&OsStr> = options.iter().chain(&listed).map(OsStr::new).collect();
    words.extend(files);
    let ran = git(folder, &words)?;
    if !ran.success() {
        let said = ran.stderr.lines().next().unwrap_or("it did not end in time");
        return Err(crate::domain::shown(said));
    }
    // What is modified, or in conflict, has a further entry with another tag. `S`: the user has told git
    // to leave the folder's alone.
    let mut entries = ran.stdout.split_terminator('\0');
    let known = entries.clone().count() == files.len();
    Ok(known && entries.all(|entry| entry.starts_with("H ") || entry.starts_with("S ")))
}

/// Runs git. In a hook it is told by the environment which index is committed: of another repository, in a
/// folder that is named, that would be the wrong one.
fn git(folder: Option<&Path>, words: &[&OsStr]) -> Result<Ran, String> {
    let mut git = Command::new("git");
    if let Some(folder) = folder {
        git.current_dir(folder);
        for name in ["DIR", "INDEX_FILE", "WORK_TREE", "PREFIX", "COMMON_DIR", "OBJECT_DIRECTORY"] {
            git.env_remove(format!("GIT_{name}"));
        }
    }
    child::run_command(git.args(words), "", LONGEST).map_err(|err| format!("`git`: {err}"))
}
