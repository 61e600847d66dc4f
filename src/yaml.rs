//! The one place that reads and writes YAML.
//!
//! Strict booleans (`on` is a word, not `true`), a size cap and a budget on nodes and depth:
//! 10 MB of anything gives an error, quickly.

use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A sequence that is written in brackets, on one line.
pub use serde_yaml::FlowSeq;

/// Largest YAML text that is read, in bytes. The whole matrix is below a megabyte.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// In one line, without an excerpt.
    pub message: String,
    /// Line from 1, columns from 0.
    pub place: Option<(usize, Range<usize>)>,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, columns)) = &self.place {
            write!(f, "line {line}, column {}: ", columns.start + 1)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a file could not be had as text.
#[derive(Debug)]
pub enum ReadError {
    /// The system said no.
    Io(io::Error),
    /// It is longer than this.
    TooLong(usize),
    /// This line is not UTF-8.
    NotUtf8(usize),
}

/// Reads a text file of at most `limit` bytes, and not a byte more than that.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path, limit: usize) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(ReadError::Io)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() > limit {
        return Err(ReadError::TooLong(limit));
    }
    String::from_utf8(bytes).map_err(|err| {
        let valid = &err.as_bytes()[..err.utf8_error().valid_up_to()];
        ReadError::NotUtf8(String::from_utf8_lossy(valid).matches('\n').count() + 1)
    })
}

/// Reads one YAML document into `T`.
///
/// # Errors
/// A text of more than [`MAX_BYTES`], bad YAML, or a shape that is not `T`'s.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    if text.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        return Err(Error { message, place: None });
    }
    let options = serde_yaml::options! { strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).map_err(|err| ours(&err))
}

/// Writes a value as YAML that readers of 1.1 and 1.2 take alike: what either could take for another
/// type (`on`, `3.10`, `12:30`) stands in quotes. Lines are never folded.
///
/// # Errors
/// The value has no form in YAML.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, String> {
    let options = serde_yaml::ser_options! { folded_wrap_chars: usize::MAX };
    serde_yaml::to_string_with_options(value, options).map_err(|err| err.to_string())
}

/// The reader's words as ours: without its excerpt, its options and its prefix.
fn ours(err: &serde_yaml::Error) -> Error {
    let place = err.location().and_then(|at| {
        let line = usize::try_from(at.line()).ok()?;
        let column = usize::try_from(at.column()).ok()?.saturating_sub(1);
        (line > 0).then_some((line, column..column + 1))
    });
    let text = err.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    // `error: line 3 column 3: duplicate mapping key: a, set DuplicateKeyPolicy in Options ...`
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let first = match first.split_once(": ") {
        Some((head, rest)) if head.starts_with("line ") && place.is_some() => rest,
        _ => first,
    };
    let cut = [", set ", "; use from_", ", use from_", " at line "];
    let end = cut.iter().filter_map(|word| first.find(word)).min().unwrap_or(first.len());
    Error { message: first[..end].chars().take(300).collect(), place }
}
