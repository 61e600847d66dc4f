//! One result, several voices: human text, JSON, GitHub annotations.

mod draft;
pub mod github;
pub mod human;
mod inputs;
pub mod json_v1;

pub use draft::Machines;
pub use inputs::Inputs;

use std::fmt::Write as _;

use crate::matrix::Matrix;

/// Name and version of this program, as every document states them.
pub const TOOL: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

/// `matrix 2026.11.0 (sha256:0123456789ab)`
pub fn matrix_line(matrix: &Matrix) -> String {
    let mut line = matrix.title();
    let _ = write!(line, " ({})", matrix.digest.chars().take(19).collect::<String>());
    line
}
