//! `gpuseal explain`

use super::args::Explain;
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Explain, _matrix: &Matrix, _output: &Output) -> Result<Exit, Error> {
    Err(Error::usage("`explain` is being built"))
}
