//! `gpuseal diagnose`

use super::args::Diagnose;
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Diagnose, _matrix: &Matrix, _output: &Output) -> Result<Exit, Error> {
    Err(Error::usage("`diagnose` is being built"))
}
