//! Locks as files: read whole or not at all, written whole or not at all.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Lockfile, v1};

fn text(path: &Path, name: &str) -> Result<String, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.into()),
        _ => Error::Read { path: path.into(), source },
    };
    let mut bytes = Vec::new();
    let limit = v1::LONGEST as u64 + 1;
    // Before it is opened: a pipe would wait for ever.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    // Never more than the cap, whatever the size that the system reports.
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > v1::LONGEST {
        return Err(Error::TooBig { name: name.into(), limit: v1::LONGEST });
    }
    String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { name: name.into() })
}

impl Lockfile {
    /// Reads a lock from its file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        Self::parse(&text(path, &name)?, &name)
    }

    /// Writes the lock and says whether it had to: unchanged content leaves the file alone.
    ///
    /// The new text goes to a temporary file of the same folder and takes the place of the old one
    /// when it is on the disk, so that no reader ever sees half a lock. Two writers wait for each
    /// other. A link is followed, the mode of an existing file is kept.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is a file that is no readable lock, holds git's conflict markers
    /// or was written by a later program, unless `force`.
    pub fn write(&self, path: &Path, force: bool) -> Result<bool, Error> {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = match real.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let held = hold(&folder)?;
        if held.is_some() {
            sweep(&folder);
        }
        let new = self.to_toml();
        // Whoever comes next has to be able to read it: hundreds of targets may be too many for one lock.
        Self::parse(&new, "the new lock")?;
        let old = self.standing(&real)?;
        match old {
            Standing::Lock(text) if text.replace("\r\n", "\n") == new => return Ok(false),
            Standing::Nothing | Standing::Lock(_) => (),
            Standing::Other(_) if force => (),
            Standing::Other(reason) => {
                return Err(Error::Refused { path: path.into(), source: Box::new(reason) });
            }
        }
        replace(&real, &folder, new.as_bytes())
            .map_err(|source| Error::Write { path: path.into(), source })?;
        Ok(true)
    }

    /// What stands at the place to be written.
    fn standing(&self, path: &Path) -> Result<Standing, Error> {
        let name = path.display().to_string();
        let text = match text(path, &name) {
            Ok(text) => text,
            Err(Error::Missing(_)) => return Ok(Standing::Nothing),
            // Not even `force` replaces a folder.
            Err(error) if path.is_dir() => return Err(error),
            Err(error) => return Ok(Standing::Other(error)),
        };
        Ok(match Self::parse(&text, &name) {
            Ok(lock) => match lock.later {
                // The same text again loses nothing.
                Some(later) if self.later.as_ref() != Some(&later) => {
                    let found = v1::File::read(&later, &name)
                        .map_or(v1::REVISION + 1, |file| file.revision);
                    Standing::Other(Error::Newer { name, found, writes: v1::REVISION })
                }
                _ => Standing::Lock(text),
            },
            Err(error) => Standing::Other(error),
        })
    }
}

/// What stands at a path.
enum Standing {
    Nothing,
    Lock(String),
    Other(Error),
}

/// Keeps other writers of the folder out until it is dropped.
///
/// The folder itself is locked: it outlives every rename inside it and leaves no file behind. Where
/// a folder cannot be locked (Windows, some network file systems) the rename alone keeps the file
/// whole, and the last writer wins.
fn hold(folder: &Path) -> Result<Option<File>, Error> {
    if cfg!(not(unix)) {
        return Ok(None);
    }
    let Ok(held) = File::open(folder) else {
        return Ok(None);
    };
    // A lock takes milliseconds; whoever holds the folder for 5 s may wait for us, as `flock` does
    // when it runs this program.
    for _ in 0..250 {
        match held.try_lock() {
            Ok(()) => return Ok(Some(held)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(Error::Busy { folder: folder.into() })
}

/// Removes what a writer that was killed has left: who holds the folder is the only writer.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(BEGIN) && n.ends_with(END));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // Left there it does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// How the name of a file that is being written begins and ends.
const BEGIN: &str = ".gpuseal-";
const END: &str = ".tmp";

fn replace(path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(BEGIN).suffix(END);
    set_mode(&mut builder, path);
    // Dropped before `persist`, the temporary file is gone again.
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    if cfg!(unix) {
        // The new name has to reach the disk too. Some file systems cannot; the content is there.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The mode of the file in place, or what any new file gets; a temporary file alone would be 0600.
#[cfg(unix)]
fn set_mode(builder: &mut tempfile::Builder<'_, '_>, path: &Path) {
    use std::fs::{Metadata, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let standing = std::fs::metadata(path).ok().filter(Metadata::is_file);
    builder.permissions(
        standing.map_or_else(|| Permissions::from_mode(0o666), |file| file.permissions()),
    );
}

#[cfg(not(unix))]
fn set_mode(_: &mut tempfile::Builder<'_, '_>, _: &Path) {}
