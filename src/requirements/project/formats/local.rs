//! Folders of the project that are installed as packages: `-e ./lib`, `.[gpu]`.

use super::demand::Choice;
use super::pyproject;
use super::reader::Reader;
use super::setup::{setup_cfg, setup_py};
use super::source::{MAX_BYTES, Text};
use crate::requirements::Error;

/// Reads what a folder asks for when it is installed with these extras. The project's own folder is
/// read anyway.
///
/// # Errors
/// Its files cannot be read.
pub fn folder(
    path: &str,
    extras: &[String],
    from: &Text,
    line: usize,
    reader: &mut Reader,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    let base = from.path.parent().unwrap_or(std::path::Path::new(".")).join(path);
    if !base.is_dir() {
        let message = format!("`{path}` is no folder of the project, and is not read");
        reader.unread(&from.place(line), message);
        return Ok(());
    }
    for name in ["pyproject.toml", "setup.cfg", "setup.py"] {
        let file = base.join(name);
        let root = reader.files.folder().join(name);
        let own = fs_err::canonicalize(&file).ok() == fs_err::canonicalize(root).ok();
        if own || !file.is_file() || reader.files.was_read(&file) {
            continue;
        }
        let text = match reader.files.read(&file, MAX_BYTES) {
            Ok(text) => text,
            Err(err) => {
                reader.unread(&from.place(line), format!("`{path}` is not read: {err}"));
                continue;
            }
        };
        match name {
            "pyproject.toml" => pyproject::installed(&text, extras, reader, choice)?,
            "setup.cfg" => setup_cfg::read(&text, reader)?,
            _ => setup_py::read(&text, reader)?,
        }
    }
    Ok(())
}
