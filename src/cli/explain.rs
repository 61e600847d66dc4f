//! `gpuseal explain`

use std::io::IsTerminal as _;

use super::args::{Explain, Format};
use super::output::Output;
use crate::domain::{Code, Order as _, shown};
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::explain::{self, Explained};
use crate::report::{Found, docs, markdown};

/// Prose is read in lines of this many columns at most.
const WIDEST: usize = 80;

/// Runs the command.
///
/// # Errors
/// A word that is no code; a matrix without its page.
pub fn run(args: &Explain, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let nothing = Found::new("explain", Exit::Done, Some(matrix));
    let Some(given) = &args.code else {
        output.answer(&|format| match format {
            Format::Json => explain::codes_json(matrix),
            Format::Human | Format::Github => explain::codes(),
            Format::Sarif => nothing.sarif(),
            Format::Markdown => markdown::plain(&nothing, "codes", &explain::codes()),
        })?;
        return Ok(Exit::Done);
    };
    let code = named(given, matrix).ok_or_else(|| stranger(given, matrix))?;
    let page = Explained::of(code, matrix).ok_or_else(|| Error::Unplaced {
        message: format!("{} has no page for `{code}`: {}", matrix.title(), code.meaning()),
        help: Some("ask the embedded matrix, without --matrix and GPUSEAL_MATRIX".into()),
        unknown: true,
        place: None,
    })?;
    // Filled here and not by the output, whose lines hang below a label.
    output.answer_as_it_is(&|format| match format {
        Format::Json => page.json(),
        Format::Human | Format::Github => page.human(width(), output.verbose),
        Format::Sarif => nothing.sarif(),
        Format::Markdown => page.markdown(&docs()),
    })?;
    Ok(Exit::Done)
}

fn width() -> usize {
    let terminal = terminal_size::terminal_size().filter(|_| std::io::stdout().is_terminal());
    terminal.map_or(WIDEST, |(width, _)| usize::from(width.0).min(WIDEST))
}

/// The code that a text names: the word itself, a finding as it is printed
/// (`error[driver-too-old]: ...`), or the id of a message.
fn named(given: &str, matrix: &Matrix) -> Option<Code> {
    let printed = given.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let word = printed.map_or(given, |(inside, _)| inside).trim();
    let word = word.to_ascii_lowercase().replace(['_', ' '], "-");
    let message = || matrix.messages().iter().find(|message| message.id == word).map(|m| m.code);
    word.parse().ok().or_else(message)
}

fn stranger(given: &str, matrix: &Matrix) -> Error {
    let codes = Code::ALL.iter().map(|code| code.word());
    let words = codes.chain(matrix.messages().iter().map(|message| message.id.as_str()));
    let lower = given.trim().to_ascii_lowercase();
    let mut near: Vec<_> = words
        .map(|word| (strsim::jaro_winkler(&lower, word), word))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    near.order_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<_> = near.iter().take(3).map(|(_, word)| format!("`{word}`")).collect();
    let asked = if near.is_empty() {
        String::new()
    } else {
        format!("did you mean {}? ", near.join(" or "))
    };
    Error::Usage {
        message: format!("`{}` is no finding code and no message", shown(given)),
        help: Some(format!(
            "{asked}`gpuseal explain` lists all codes; `gpuseal diagnose` takes an error text"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_what_people_paste() {
        let matrix = Matrix::embedded();
        for given in [
            "driver-too-old",
            "error[driver-too-old]",
            "error[driver-too-old]: torch 2.9.1+cu130 is built with CUDA 13.0",
            " DRIVER_TOO_OLD ",
            "driver too old",
        ] {
            assert_eq!(named(given, &matrix), Some(Code::DriverTooOld), "{given}");
        }
        assert_eq!(named("no-kernel-image", &matrix), Some(Code::ArchNotInBinary));
        for given in ["", "[", "[]", "driver-too", "error"] {
            assert_eq!(named(given, &matrix), None, "{given}");
        }
    }

    #[test]
    fn a_stranger_is_told_the_nearest() {
        let error = stranger("driver-to-old", &Matrix::embedded());
        assert!(error.help().expect("help").starts_with("did you mean `driver-too-old`"));
        assert!(!stranger("xyzzy", &Matrix::embedded()).help().expect("help").contains("did you"));
    }
}
