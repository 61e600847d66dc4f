//! `gpuseal doctor`

use super::args::Doctor;
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Doctor, _matrix: &Matrix, _output: &Output) -> Result<Exit, Error> {
    Err(Error::usage("`doctor` is being built"))
}
