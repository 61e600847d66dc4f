//! `gpuseal verify --compare A.json B.json`.

use std::io::Read as _;
use std::path::Path;

use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::Found;
use crate::report::verify::compare::{Side, compare, human, json, markdown};
use crate::report::verify::reading;

/// Bytes of a file that are looked at: one more than a report may have.
const LONGEST: u64 = (4 << 20) + 1;

/// Compares two reports.
///
/// # Errors
/// One of them cannot be read.
pub fn run(a: &Path, b: &Path, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let all = compare(side(a)?, side(b)?);
    let exit = if all.same() { Exit::Done } else { Exit::No };
    let found = Found::new("verify", exit, Some(matrix)).with("", None, &all.findings);
    output.answer(&|format| match format {
        Format::Human => human(&all, matrix),
        Format::Json => json(&all, matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => markdown(&all, &found),
    })?;
    Ok(exit)
}

/// Reads a report of an earlier run.
///
/// # Errors
/// It cannot be read, or is none.
pub fn side(path: &Path) -> Result<Side, Error> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    let name = path.display().to_string();
    // What is no text is no JSON either, and is named as such.
    let reading = reading(&String::from_utf8_lossy(&bytes)).map_err(|err| Error::Usage {
        message: format!("{name}: {err}"),
        help: Some(err.help()),
    })?;
    Ok(Side { name, reading })
}
