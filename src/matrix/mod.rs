//! The compatibility matrix: facts as rows, each with its evidence.
//!
//! `raw` is the shape of the YAML, `check` turns it into the `model` or lists every bad row, and
//! this file loads (embedded, or from a folder or file) and looks up.

mod check;
mod file;
mod lookup;
mod model;
mod raw;
mod rows;
mod words;

use crate::domain::Order as _;
use std::io::Read as _;
use std::path::Path;

pub use check::{Fault, Input, SCHEMA, build};
pub use lookup::{GpuMatch, Located};
pub use model::*;
pub use rows::Row;
pub use words::*;

/// The matrix of `matrices/`, checked and packed by the build script.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/matrix.bin"));

/// Its messages and pages, packed by themselves and deflated.
static EMBEDDED_WORDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/words.bin"));

/// The files that the embedded matrix was made from, deflated, for overlays: they are laid over the text.
static EMBEDDED_FILES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/matrix_files.bin"));

/// Why a matrix could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// The folder holds no YAML.
    #[error("`{0}` holds no .yaml file")]
    Empty(String),
    /// Rows are wrong.
    #[error("the matrix has {} bad row{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Faults(Vec<Fault>),
}

impl Matrix {
    /// The matrix that came with the program.
    ///
    /// # Panics
    /// Never: the build script reads back what it wrote.
    pub fn embedded() -> Self {
        postcard::from_bytes(EMBEDDED).expect("the build script packed this matrix")
    }

    fn words(&self) -> &Words {
        // A matrix that was read from YAML has its own.
        self.words.get_or_init(|| {
            postcard::from_bytes(&inflated(EMBEDDED_WORDS))
                .expect("the build script packed these words")
        })
    }

    /// What programs print when something is broken.
    ///
    /// # Panics
    /// Never: the build script packed them.
    pub fn messages(&self) -> &[Message] {
        &self.words().messages
    }

    /// A page for each finding code.
    ///
    /// # Panics
    /// Never: the build script packed them.
    pub fn pages(&self) -> &[Page] {
        &self.words().pages
    }

    /// The matrix of a folder of YAML files, or of one file; of the embedded files when `path` is
    /// `None`. Overlays are laid over it in order.
    pub fn load(path: Option<&Path>, overlays: &[impl AsRef<Path>]) -> Result<Self, Error> {
        if path.is_none() && overlays.is_empty() {
            return Ok(Self::embedded());
        }
        let files = match path {
            Some(path) => read_inputs(path)?,
            None => embedded_inputs(),
        };
        let overlays = overlays
            .iter()
            .map(|path| {
                let path = path.as_ref();
                let name =
                    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                Ok(Input { name, text: read_text(path)? })
            })
            .collect::<Result<Vec<_>, std::io::Error>>()?;
        build(&files, &overlays).map_err(Error::Faults)
    }
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    flate2::read::ZlibDecoder::new(bytes)
        .read_to_end(&mut whole)
        .expect("the build script deflated these bytes");
    whole
}

/// The files of the embedded matrix.
fn embedded_inputs() -> Vec<Input> {
    let files: Vec<(String, String)> = postcard::from_bytes(&inflated(EMBEDDED_FILES))
        .expect("the build script packed these files");
    files.into_iter().map(|(name, text)| Input { name, text }).collect()
}

/// A file of a matrix, read no further than YAML is.
fn read_text(path: &Path) -> Result<String, std::io::Error> {
    crate::yaml::read(path, crate::yaml::MAX_BYTES).map_err(|err| match err {
        crate::yaml::ReadError::Io(err) => err,
        crate::yaml::ReadError::TooLong(limit) => std::io::Error::other(format!(
            "`{}` has more than the {limit} bytes that are read",
            path.display()
        )),
        crate::yaml::ReadError::NotUtf8(line) => {
            std::io::Error::other(format!("`{}`, line {line}: not UTF-8", path.display()))
        }
    })
}

/// Every `.yaml` below a folder, sorted by path, or the one file.
pub fn read_inputs(path: &Path) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    if fs_err::metadata(path)?.is_file() {
        let name = path.to_string_lossy().into_owned();
        inputs.push(Input { name, text: read_text(path)? });
        return Ok(inputs);
    }
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?.path();
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                let name =
                    entry.strip_prefix(path).unwrap_or(&entry).to_string_lossy().replace('\\', "/");
                inputs.push(Input { name, text: read_text(&entry)? });
            }
        }
    }
    if inputs.is_empty() {
        return Err(Error::Empty(path.display().to_string()));
    }
    inputs.order_by(|a, b| a.name.cmp(&b.name));
    Ok(inputs)
}
