//! `gpuseal why`

use super::args::Why;
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Why, _matrix: &Matrix, _output: &Output) -> Result<Exit, Error> {
    Err(Error::usage("`why` is being built"))
}
