//! Where rendered texts go: written, compared or shown as a difference.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::difference::difference;
use super::{Render, usage};
use crate::cli::args::Format;
use crate::cli::hook;
use crate::cli::output::{Output, write_new, write_whole};
use crate::error::{Error, Exit};
use crate::lock::Lockfile;
use crate::report::lock::{Rendered, State, differences, findings, rendered};
use crate::report::{Found, markdown, slashed};
use crate::yaml::{self, ReadError};

/// Stands in the first lines of every file that is ours as a whole.
const MARK: &str = "Written by gpuseal from gpuseal.lock";

/// Largest file that a text is compared with, in bytes: more than any lock renders.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A text and the file that it is for.
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
    word: &'static str,
    over: Over,
    /// It has its usual place, so folders on the way are made.
    usual: bool,
}

/// What a file may be written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// What is ours as a whole, and of the same kind.
    Ours,
    /// Anything: it was read, and edited.
    Edited,
    /// Nothing: it is there for the user to go on with.
    Nothing,
}

impl File {
    /// A file that is rendered as a whole.
    pub(super) const fn new(path: PathBuf, text: String, word: &'static str) -> Self {
        Self { path, text, word, over: Over::Ours, usual: false }
    }

    /// The same at its usual place: folders on the way to it are made.
    pub(super) fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    /// A file of the user's in which a part is ours.
    pub(super) const fn edited(path: PathBuf, text: String, word: &'static str) -> Self {
        Self { path, text, word, over: Over::Edited, usual: false }
    }

    /// A file that is missing, for the user to go on with; never over one that stands there.
    pub(super) const fn first(path: PathBuf, text: String, word: &'static str) -> Self {
        Self { path, text, word, over: Over::Nothing, usual: false }
    }

    fn rendered(&self, state: State, difference: String) -> Rendered {
        Rendered { path: slashed(&self.path), kind: self.word, state, difference }
    }

    /// Writes it; says whether anything changed.
    ///
    /// # Errors
    /// It stands in for something that somebody wrote by hand; the folder is not writable.
    pub fn write(&self, force: bool) -> Result<bool, Error> {
        self.free(force)?;
        if let Some(folder) = self.path.parent().filter(|_| self.usual) {
            fs_err::create_dir_all(folder)?;
        }
        if self.over == Over::Nothing {
            return match write_new(&self.path, &self.text) {
                Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(false),
                other => Ok(other.map(|()| true)?),
            };
        }
        match fs_err::metadata(&self.path) {
            // A terminal, a pipe, /dev/null: nothing that could be replaced by a file.
            Ok(standing) if !standing.is_file() => {
                fs_err::write(&self.path, &self.text)?;
                Ok(true)
            }
            // A link stays one.
            Ok(_) => Ok(write_whole(&fs_err::canonicalize(&self.path)?, &self.text)?),
            Err(_) => Ok(write_whole(&self.path, &self.text)?),
        }
    }

    /// What stands there; `None`: no file does.
    fn standing(&self) -> Result<Option<String>, Error> {
        // Before it is opened: a pipe would wait for ever.
        if fs_err::metadata(&self.path).is_ok_and(|standing| !standing.is_file()) {
            return Err(self.no_file());
        }
        match yaml::read(&self.path, MAX_BYTES) {
            Ok(text) => Ok(Some(text)),
            Err(ReadError::Io(err)) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(err)) => Err(err.into()),
            Err(ReadError::TooLong(_) | ReadError::NotUtf8(_)) => Err(self.foreign()),
        }
    }

    fn no_file(&self) -> Error {
        let message = format!("`{}` is no regular file", self.path.display());
        usage(&message, "take it away, or name another file with -o")
    }

    fn foreign(&self) -> Error {
        let (name, word) = (self.path.display(), self.word);
        usage(
            &format!("`{name}` is not what `gpuseal render {word}` writes, and would be lost"),
            &format!(
                "name another file with `gpuseal render {word} -o FILE`, or replace it with `--force` there"
            ),
        )
    }

    /// Whether a text is what the file is to hold. A checkout of Windows has its own line ends.
    fn is(&self, old: Option<&str>) -> bool {
        old.is_some_and(|old| old == self.text || old.replace("\r\n", "\n") == self.text)
    }

    /// What stands there may go.
    ///
    /// # Errors
    /// Somebody wrote it by hand, it cannot be read, or it is no place for a file.
    pub fn free(&self, force: bool) -> Result<(), Error> {
        let name = self.path.display();
        let standing = match fs_err::metadata(&self.path) {
            Ok(standing) => standing,
            Err(err) if err.kind() == ErrorKind::NotFound => {
                return if fs_err::symlink_metadata(&self.path).is_ok() {
                    Err(usage(
                        &format!("`{name}` is a link to a file that is not there"),
                        "mend the link, or take it away",
                    ))
                } else {
                    Ok(())
                };
            }
            Err(err) => return Err(err.into()),
        };
        if standing.is_dir() {
            return Err(usage(&format!("`{name}` is a folder"), "name a file in it with -o"));
        }
        // Nobody has asked for what stands at a usual place.
        if self.usual && !standing.is_file() {
            return Err(self.no_file());
        }
        if self.over != Over::Ours || force || !standing.is_file() {
            return Ok(());
        }
        let ours = self.standing()?.is_none_or(|old| is_ours(&old, self.word));
        if ours { Ok(()) } else { Err(self.foreign()) }
    }
}

/// Whether a file is one that this kind of `render` wrote, or empty.
pub(super) fn is_ours(text: &str, word: &str) -> bool {
    // JSON has no comments: there it stands among the last lines.
    let lines = if text.starts_with('{') { usize::MAX } else { 8 };
    let head: String = text.lines().take(lines).collect::<Vec<_>>().join("\n");
    text.trim().is_empty()
        || head.contains(MARK) && head.contains(&format!("gpuseal render {word}"))
}

/// What is done with the files.
#[derive(Debug, Clone, Copy)]
pub struct How {
    what: What,
    /// What was written or changed by hand may go.
    pub(super) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Write,
    /// As a hook: write what is out of date, and fail where git would commit something else.
    Keep,
    /// Fail with the differences.
    Check,
    /// Show the differences.
    Show,
}

impl How {
    pub(super) const fn of(args: &Render) -> Self {
        let what = match (args.check, args.diff, args.hook) {
            (true, ..) => What::Check,
            (_, true, _) => What::Show,
            (.., true) => What::Keep,
            _ => What::Write,
        };
        Self { what, force: args.force }
    }

    /// Of `lock --render`, which has no other flags for it.
    pub(super) const fn comparing(check: bool) -> Self {
        Self { what: if check { What::Check } else { What::Write }, force: false }
    }

    /// Nothing is written.
    pub(super) const fn compares(self) -> bool {
        matches!(self.what, What::Check | What::Show)
    }

    /// A file is compared or kept that is named by its kind alone.
    pub(super) const fn has_place(self) -> bool {
        !matches!(self.what, What::Write)
    }
}

/// Writes or keeps files, or shows in what they differ. All of them are looked at before one is written.
pub(super) fn place(
    files: &[File],
    how: How,
    lock: &Lockfile,
    output: &Output,
) -> Result<Exit, Error> {
    match how.what {
        What::Write => {
            let written = written(files, how.force, output)?;
            output.answer(&voices("render", lock, &written, Exit::Done))?;
            return Ok(Exit::Done);
        }
        What::Keep => return keep(files, how, output),
        What::Check | What::Show => (),
    }
    let mut compared = compared(files)?;
    if how.what == What::Show {
        // What is only shown is no fault.
        let stale = compared.iter_mut().filter(|file| file.state != State::Unchanged);
        stale.for_each(|file| file.state = State::Planned);
    }
    let fresh = findings(&compared).is_empty();
    let exit = if fresh { Exit::Done } else { Exit::No };
    output.answer_as_it_is(&voices("render", lock, &compared, exit))?;
    if tell_stale(&compared, output) {
        output.talk(
            "help: run the same command without --check; what was changed by hand takes --force as well",
        );
    }
    Ok(exit)
}

/// `--hook`: writes what is not what the lock renders, and asks git about all of it.
fn keep(files: &[File], how: How, output: &Output) -> Result<Exit, Error> {
    for file in files {
        file.free(how.force)?;
    }
    let (mut all, mut wrote) = (Vec::new(), Vec::new());
    for file in files {
        let path = file.path.as_path();
        all.push(path);
        if !file.is(file.standing()?.as_deref()) && file.write(how.force)? {
            wrote.push(path);
        }
    }
    hook::committed(&wrote, &all, output)
}

/// Writes files, and says so. All of them are looked at before one is written.
///
/// # Errors
/// One stands in for something that somebody wrote by hand; a folder is not writable.
pub fn written(files: &[File], force: bool, output: &Output) -> Result<Vec<Rendered>, Error> {
    for file in files {
        file.free(force)?;
    }
    let mut list = Vec::new();
    for file in files {
        let (state, word) = if file.write(force)? {
            (State::Written, "wrote")
        } else {
            (State::Unchanged, "unchanged")
        };
        output.talk(format_args!("{word} {}", file.path.display()));
        list.push(file.rendered(state, String::new()));
    }
    Ok(list)
}

/// In what files differ from what stands there.
///
/// # Errors
/// One that is there and cannot be read.
pub fn compared(files: &[File]) -> Result<Vec<Rendered>, Error> {
    let mut list = Vec::new();
    for file in files.iter().filter(|file| file.over != Over::Nothing) {
        let old = file.standing()?;
        let state = match old.as_deref() {
            None => State::Missing,
            old if file.is(old) => State::Unchanged,
            Some(_) => State::Stale,
        };
        let difference = if state == State::Unchanged {
            String::new()
        } else {
            difference(&file.path, old.as_deref(), &file.text)
        };
        list.push(file.rendered(state, difference));
    }
    Ok(list)
}

/// Says on the side which files are stale; whether one is.
pub fn tell_stale(files: &[Rendered], output: &Output) -> bool {
    let findings = findings(files);
    for finding in &findings {
        output.talk(format_args!("{}[{}]: {}", finding.severity, finding.code, finding.message));
    }
    // Between annotations a difference would be read as more of them.
    if output.format == Format::Github && !output.aloud && !findings.is_empty() {
        output.talk(differences(files).trim_end());
    }
    !findings.is_empty()
}

/// How rendered files stand, in every voice.
pub fn voices<'a>(
    command: &'static str,
    lock: &'a Lockfile,
    files: &'a [Rendered],
    exit: Exit,
) -> impl Fn(Format) -> String + 'a {
    let found = Found::new(command, exit, None).with("", None, &findings(files));
    move |format| match format {
        Format::Human => differences(files),
        Format::Json => rendered(lock, files),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => markdown::rendered(&found, lock, files),
    }
}

/// Edits a text whose byte order mark and line ends stay as they are.
pub(super) fn in_its_line_ends<E>(
    old: &str,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<String, E> {
    let (mark, body) = old.strip_prefix('\u{feff}').map_or(("", old), |body| ("\u{feff}", body));
    // Where they are mixed, each line keeps its own.
    let windows = body.contains("\r\n") && !body.replace("\r\n", "").contains('\n');
    Ok(mark.to_owned()
        + &if windows {
            edit(&body.replace("\r\n", "\n"))?.replace('\n', "\r\n")
        } else {
            edit(body)?
        })
}
