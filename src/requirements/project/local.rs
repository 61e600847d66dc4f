//! Folders of the project that are installed as packages: `-e ./lib`, `{ path = "../lib" }`.

use super::demand::Choice;
use super::reader::Reader;
use super::source::Text;
use crate::requirements::Error;

/// Reads what a folder asks for when it is installed with these extras.
///
/// # Errors
/// Its files cannot be read.
pub fn folder(
    _path: &str,
    _extras: &[String],
    _from: &Text,
    _line: usize,
    _reader: &mut Reader,
    _choice: Option<&Choice>,
) -> Result<(), Error> {
    Ok(())
}
