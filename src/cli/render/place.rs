//! Where rendered texts go: written, compared or shown as a difference.

use std::path::PathBuf;

use super::Render;
use super::difference::difference;
use crate::cli::output::{Output, write_new, write_whole};
use crate::error::{Error, Exit};
use crate::render::Options;

/// Stands in every file that is ours as a whole.
const MARK: &str = "Written by gpuseal";

/// A text and the file that it is for.
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
    /// Nothing of what stands there is lost: it was read, and edited.
    edited: bool,
    /// It has its usual place, so folders on the way are made.
    usual: bool,
    /// It is written once, and then the user's own.
    once: bool,
}

impl File {
    /// A file that is rendered as a whole.
    pub(super) fn new(path: PathBuf, text: String, options: &Options<'_>) -> Self {
        // What a template of the user's writes need not say whose it is.
        Self { path, text, edited: options.user_template.is_some(), usual: false, once: false }
    }

    /// The same at its usual place: folders on the way to it are made.
    pub(super) fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    /// A file of the user's in which a part is ours.
    pub(super) const fn edited(path: PathBuf, text: String) -> Self {
        Self { path, text, edited: true, usual: false, once: false }
    }

    /// A file that is missing, for the user to go on with; never over one that stands there.
    pub(super) const fn first(path: PathBuf, text: String) -> Self {
        Self { path, text, edited: false, usual: false, once: true }
    }

    /// Writes it; says whether anything changed.
    ///
    /// # Errors
    /// It stands in for something that somebody wrote by hand; the folder is not writable.
    pub fn write(&self, force: bool) -> Result<bool, Error> {
        self.free(force)?;
        if self.once {
            return match write_new(&self.path, &self.text) {
                Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
                other => Ok(other.map(|()| true)?),
            };
        }
        if let Some(folder) = self.path.parent().filter(|_| self.usual) {
            fs_err::create_dir_all(folder)?;
        }
        // A link stays one.
        let path = fs_err::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(write_whole(&path, &self.text)?)
    }

    /// What stands there may go.
    ///
    /// # Errors
    /// Somebody wrote it by hand.
    pub fn free(&self, force: bool) -> Result<(), Error> {
        let asked = !force && !self.edited && !self.once;
        match fs_err::read(&self.path) {
            Ok(old) if asked && !is_ours(&old) => Err(Error::Usage {
                message: format!(
                    "`{}` was not written by gpuseal, and would be lost",
                    self.path.display()
                ),
                help: Some(
                    "name another file with `gpuseal render KIND -o FILE`, or replace it with `render KIND --force`".into(),
                ),
            }),
            _ => Ok(()),
        }
    }
}

fn is_ours(old: &[u8]) -> bool {
    old.iter().all(u8::is_ascii_whitespace)
        || old.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

/// What is done with the files.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    check: bool,
    diff: bool,
    /// What was written or changed by hand may go.
    pub(super) force: bool,
}

impl How {
    pub(super) const fn of(args: &Render) -> Self {
        Self { check: args.check, diff: args.diff, force: args.force }
    }

    /// Nothing is written.
    pub(super) const fn compares(self) -> bool {
        self.check || self.diff
    }
}

/// Writes files, or shows in what they differ. All of them are looked at before one is written.
pub(super) fn place(files: &[File], how: How, output: &Output) -> Result<Exit, Error> {
    if how.check {
        let exit = compared(files, output)?;
        if exit == Exit::No {
            output.talk("help: run the same command without --check");
        }
        return Ok(exit);
    }
    if how.diff {
        differing(files, output)?;
        return Ok(Exit::Done);
    }
    for file in files {
        file.free(how.force)?;
    }
    for file in files {
        let wrote = if file.write(how.force)? { "wrote" } else { "unchanged" };
        output.talk(format_args!("{wrote} {}", file.path.display()));
    }
    Ok(Exit::Done)
}

/// `--check`: shows in what files differ from what stands there, and fails when they do.
///
/// # Errors
/// The difference cannot be printed.
pub fn compared(files: &[File], output: &Output) -> Result<Exit, Error> {
    let stale = differing(files, output)?;
    for file in &stale {
        output.talk(format_args!(
            "error[lock-stale]: `{}` is not what the lock renders",
            file.path.display()
        ));
    }
    Ok(if stale.is_empty() { Exit::Done } else { Exit::No })
}

/// Prints the differences; gives the files that have one.
fn differing<'f>(files: &'f [File], output: &Output) -> Result<Vec<&'f File>, Error> {
    let mut text = String::new();
    let mut stale = Vec::new();
    for file in files.iter().filter(|file| !file.once) {
        let old = fs_err::read(&file.path).ok();
        let old = old.as_deref().map(String::from_utf8_lossy);
        if old.as_deref() != Some(&file.text) {
            text.push_str(&difference(&file.path, old.as_deref(), &file.text));
            stale.push(file);
        }
    }
    output.data(&text)?;
    Ok(stale)
}

/// Edits a text whose byte order mark and line ends stay as they are.
pub(super) fn in_its_line_ends<E>(
    old: &str,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<String, E> {
    let (mark, body) = old.strip_prefix('\u{feff}').map_or(("", old), |body| ("\u{feff}", body));
    let windows = body.contains("\r\n");
    let new = edit(&body.replace("\r\n", "\n"))?;
    Ok(mark.to_owned() + &if windows { new.replace('\n', "\r\n") } else { new })
}
