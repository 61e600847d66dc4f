//! `gpuseal render dockerfile`: a whole file or a block of the user's own, and what goes beside it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::place::{File, How, in_its_line_ends, is_ours};
use crate::error::Error;
use crate::lock::{Lockfile, Target};
use crate::render::{self, Kind, Options, managed};
use crate::yaml::{self, ReadError};

/// Largest Dockerfile that is edited, in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The Dockerfile, and with a first one a `.dockerignore` where there is none.
///
/// A Dockerfile that has our block keeps it, whether or not `--managed` is repeated.
pub(super) fn files(
    path: PathBuf,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
    how: How,
) -> Result<Vec<File>, Error> {
    let word = Kind::Dockerfile.word();
    let old = standing(&path)?;
    let first = old.is_none();
    // A whole file of ours holds nothing that a block would have to spare.
    let old = old.filter(|old| managed::has_block(old) || !is_ours(old, word));
    let in_block = options.managed || old.as_deref().is_some_and(managed::has_block);
    let options = Options { managed: in_block, ..*options };
    let text = render::render(Kind::Dockerfile, lock, targets, &options)?;
    // Beside a Dockerfile that stands there, what stays out of a build is the user's to say.
    let ignore = ignore_file(&path).filter(|_| first);
    let file = if in_block {
        let weave = |old: &str| {
            if old.is_empty() && options.no_syntax_line {
                return managed::weave("\n", &text, false).map(|new| new.trim_start().to_owned());
            }
            managed::weave(old, &text, how.force || how.compares())
        };
        File::edited(path, in_its_line_ends(old.as_deref().unwrap_or_default(), weave)?, word)
    } else {
        File::new(path, text, word)
    };
    let mut files = vec![file];
    files.extend(ignore.map(|path| File::first(path, render::DOCKERIGNORE.into(), word)));
    Ok(files)
}

/// The text that stands there; `None` where there is no file.
fn standing(path: &Path) -> Result<Option<String>, Error> {
    // A terminal, a pipe, /dev/null: nothing to keep, and a pipe would wait for ever.
    if fs_err::metadata(path).is_ok_and(|standing| !standing.is_file() && !standing.is_dir()) {
        return Ok(Some(String::new()));
    }
    match yaml::read(path, MAX_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::Io(err)) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(ReadError::Io(err)) => Err(err.into()),
        Err(ReadError::TooLong(_) | ReadError::NotUtf8(_)) => Err(super::usage(
            &format!("`{}` is no Dockerfile: it is not text, or far too long", path.display()),
            "name another file with -o",
        )),
    }
}

/// Where builders look for what stays out of a build, when none of the places has a file.
fn ignore_file(dockerfile: &Path) -> Option<PathBuf> {
    let name = dockerfile.file_name()?;
    let mut own = name.to_owned();
    own.push(".dockerignore");
    let places = [OsStr::new(".dockerignore"), OsStr::new(".containerignore"), &own];
    if places.iter().any(|place| dockerfile.with_file_name(place).exists()) {
        return None;
    }
    // The general one would speak for other Dockerfiles as well.
    let place = if name == "Dockerfile" { places[0] } else { &own };
    Some(dockerfile.with_file_name(place))
}
