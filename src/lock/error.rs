//! Why a lock could not be read, made or written.

use std::io;
use std::path::PathBuf;

use crate::domain::{ParseError, Place};

/// Why a lock could not be read, made or written.
///
/// Every variant is "unreadable or invalid input" in the table of exit codes (2): none of them is an
/// honest no to the question that the user asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file.
    #[error("there is no `{}`", .0.display())]
    Missing(PathBuf),
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written; whatever stood there still stands there.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the folder.
    #[error("another process holds a lock on the folder `{}`", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The file is larger than any lock.
    #[error("`{name}` is larger than {limit} bytes, which is more than is read of a lock")]
    TooBig {
        /// The file.
        name: String,
        /// The cap.
        limit: usize,
    },
    /// The file is not UTF-8.
    #[error("`{name}` is not UTF-8: this is no lock")]
    NotUtf8 {
        /// The file.
        name: String,
    },
    /// A merge was left undecided in the file.
    #[error("`{name}` has a git conflict marker in line {line}")]
    Conflict {
        /// The file.
        name: String,
        /// First line with a marker, counted from 1.
        line: usize,
    },
    /// The file is no TOML, or a key is missing or has the wrong type.
    #[error("`{name}` is no lock: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// What the TOML reader said, with its excerpt.
        message: String,
    },
    /// A later program wrote it in a shape that this one does not know.
    #[error("`{name}` has lock version {found}, and this program reads version {reads}")]
    Version {
        /// The file.
        name: String,
        /// Version of the file.
        found: i64,
        /// Version that this program reads.
        reads: u32,
    },
    /// A later program wrote it: readable, but rewriting it here would lose what it knows.
    #[error("`{name}` has lock revision {found}, newer than {writes}, which this program writes")]
    Newer {
        /// The file.
        name: String,
        /// Revision of the file.
        found: u32,
        /// Revision that this program writes.
        writes: u32,
    },
    /// A key that this revision does not have.
    #[error("`{name}` has an unknown key `{field}`")]
    UnknownKey {
        /// The file.
        name: String,
        /// Path of the key, `target[0].gpu[1].colour`.
        field: String,
    },
    /// A value is not of its kind.
    #[error("`{name}`, key `{field}`: {source}")]
    Value {
        /// The file.
        name: String,
        /// Path of the key.
        field: String,
        /// What was expected there.
        source: ParseError,
    },
    /// Values contradict each other.
    #[error("`{name}`, key `{field}`: {reason}")]
    Broken {
        /// The file.
        name: String,
        /// Path of the key.
        field: String,
        /// In a few words.
        reason: String,
    },
    /// The file in the way is not one that may be replaced.
    #[error("`{}` was not overwritten: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why it is not a lock of ours.
        source: Box<Error>,
    },
}

impl Error {
    /// The file that is at fault, and its line where that is known.
    pub fn place(&self) -> Option<Place> {
        Some(match self {
            Self::Conflict { name, line } => Place { file: name.clone(), line: *line },
            Self::TooBig { name, .. }
            | Self::NotUtf8 { name }
            | Self::Syntax { name, .. }
            | Self::Version { name, .. }
            | Self::Newer { name, .. }
            | Self::UnknownKey { name, .. }
            | Self::Value { name, .. }
            | Self::Broken { name, .. } => Place { file: name.clone(), line: 1 },
            Self::Missing(path) | Self::Read { path, .. } => {
                Place { file: path.display().to_string(), line: 1 }
            }
            Self::Refused { source, .. } => return source.place(),
            Self::Write { .. } | Self::Busy { .. } => return None,
        })
    }

    /// What to do next, as one imperative sentence; silence beats a guess.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Conflict { .. } => "take either side of the conflict, then run `gpuseal lock --force`".into(),
            Self::Version { .. } | Self::Newer { .. } => {
                "use the gpuseal release that wrote it, or write it anew with `gpuseal lock --force`".into()
            }
            Self::Refused { source, .. } => match &**source {
                Self::Read { .. } => "check the permissions of the file, or move it away".into(),
                _ => "look at the file, then replace it with `gpuseal lock --force`".into(),
            },
            Self::TooBig { .. } => {
                "a lock holds some hundreds of targets: move some of them into a project of their own".into()
            }
            Self::NotUtf8 { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::Value { .. }
            | Self::Broken { .. } => "do not edit the lock: write it anew with `gpuseal lock --force`".into(),
            Self::Busy { .. } => "wait until the other process has ended, then try again".into(),
            Self::Missing(_) => "run `gpuseal lock` and commit the result".into(),
            Self::Read { .. } | Self::Write { .. } => return None,
        })
    }
}
