//! One result, several voices: human text, JSON, GitHub annotations, SARIF, Markdown.

pub mod chart;
pub mod diagnose;
pub mod doctor;
mod draft;
pub mod explain;
mod failure;
mod found;
pub mod github;
pub mod human;
mod inputs;
pub mod json_v1;
pub mod lock;
pub mod markdown;
mod sarif;
pub mod size;
pub mod verify;
pub mod why;
mod xml;

pub use draft::Machines;
pub use failure::Failure;
pub use found::{Found, Located, cleaned, slashed};
pub use inputs::Inputs;

use std::fmt::Write as _;

use crate::matrix::Matrix;

/// Where this program is at home.
pub const HOME: &str = "https://github.com/gpuseal/gpuseal";

/// Where the pages of finding codes are.
pub fn docs() -> String {
    format!("{HOME}/blob/main/docs/codes/")
}

/// Name and version of this program, as every document states them.
pub const TOOL: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

/// `matrix 2026.11.0 (sha256:0123456789ab)`
pub fn matrix_line(matrix: &Matrix) -> String {
    let mut line = matrix.title();
    let _ = write!(line, " ({})", matrix.digest.chars().take(19).collect::<String>());
    line
}

/// `1.3 MB`, in the thousands that indexes count in.
pub fn bytes(count: u64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_counted_in_thousands() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_340_000, "1.3 MB"),
            (999_960, "1.0 MB"),
            (2_500_000_000, "2.5 GB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }
}
