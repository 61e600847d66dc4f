//! `gpuseal diagnose`

use std::io::{self, BufReader, IsTerminal};
use std::path::Path;

use super::args::{Diagnose, Format};
use super::output::Output;
use crate::diagnose::{self, Diagnosis};
use crate::domain::Code;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::{Found, diagnose as voice, markdown};

/// Runs the command.
///
/// # Errors
/// The text cannot be read.
pub fn run(args: &Diagnose, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let file = args.log.as_deref().filter(|path| *path != Path::new("-"));
    let diagnosis = match file {
        Some(path) => {
            diagnose::read(BufReader::with_capacity(BUFFER, fs_err::File::open(path)?), matrix)?
        }
        None => from_stdin(matrix, output)?,
    };
    let exit = match diagnosis.verdict {
        Code::Unknown => Exit::Unknown,
        _ => Exit::Done,
    };
    let findings = voice::findings(&diagnosis, file.and_then(Path::to_str));
    let found = Found::new("diagnose", exit, Some(matrix)).with("", None, &findings);
    output.answer(&|format| match format {
        Format::Human => voice::human(&diagnosis, matrix, output.verbose),
        Format::Json => voice::json(&diagnosis, matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => {
            let text = voice::human(&diagnosis, matrix, output.verbose);
            markdown::plain(&found, diagnosis.verdict.word(), &text)
        }
    })?;
    Ok(exit)
}

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

fn from_stdin(matrix: &Matrix, output: &Output) -> Result<Diagnosis, Error> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        output.talk("paste the text, then end it with Control-D (on Windows Control-Z and Enter)");
    }
    Ok(diagnose::read(BufReader::with_capacity(BUFFER, stdin.lock()), matrix)?)
}
