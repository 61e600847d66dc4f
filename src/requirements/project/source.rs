//! Opens the files of a project: regular ones, inside it, of a sane size, as text.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::demand::Demand;
use super::{link, requirement};
use crate::domain::Place;
use crate::requirements::{Bad, Error};
use crate::tree;

/// Largest manifest that is read, in bytes. Compiled requirements with all hashes of some hundred
/// packages have a few hundred kilobytes.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Largest lock of another tool that is read, in bytes.
pub const MAX_LOCK_BYTES: usize = 16 * 1024 * 1024;
/// Files of one project that are read.
const MAX_FILES: usize = 500;
/// Bytes of one project that are read; a file that several others include counts each time.
const MAX_ALL: usize = 48 * 1024 * 1024;

/// A file of the project as text: decoded, `\n` at every line's end, credentials masked.
#[derive(Debug, Clone)]
#[allow(clippy::struct_field_names, reason = "the text of a file is its text")]
pub struct Text {
    /// Path from the project's folder, with `/`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it says. What refers to a line of it later keeps the whole.
    pub text: Arc<str>,
}

impl Text {
    /// A line of it.
    pub fn place(&self, line: usize) -> Place {
        Place { file: self.name.clone(), line }
    }

    /// Which file a line of it names, if there is one.
    pub fn names(&self, target: &str) -> Option<PathBuf> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs_err::canonicalize(plain(&folder.join(target))).ok()
    }

    /// An error on a line of it, with the line shown. What is missing at the end is said of the last.
    pub fn bad(&self, line: usize, message: impl Into<String>, help: Option<String>) -> Error {
        let mut line = line.max(1);
        let mut excerpt = self.text.lines().nth(line - 1);
        if excerpt.is_none() {
            line = self.text.lines().count().max(1);
            excerpt = self.text.lines().next_back();
        }
        let columns = excerpt.map_or(0..1, |text| {
            let start = text.len() - text.trim_start().len();
            start..text.trim_end().len().max(start + 1)
        });
        let (place, excerpt) = (Some((line, columns)), excerpt.map(str::to_owned));
        Error::Bad(Box::new(Bad {
            file: self.name.clone().into(),
            place,
            excerpt,
            message: clipped(message.into()),
            help: help.map(clipped),
        }))
    }

    /// Reads a requirement that stands on a line of it.
    ///
    /// # Errors
    /// What is wrong with it, on that line.
    pub fn demand(&self, line: usize, given: &str) -> Result<Demand, Error> {
        requirement::read(given, &self.place(line)).map_err(|why| self.bad(line, why, None))
    }

    /// It as TOML.
    ///
    /// # Errors
    /// What TOML refuses.
    pub fn toml(&self) -> Result<tree::Node, Error> {
        tree::toml(&self.text, tree::MAX_NODES).map_err(|err| self.of_tree(err))
    }

    /// It as TOML that another tool wrote: a lock has more values than a person writes.
    ///
    /// # Errors
    /// What TOML refuses.
    pub fn lock(&self) -> Result<tree::Node, Error> {
        tree::toml(&self.text, tree::MAX_LOCK_NODES).map_err(|err| self.of_tree(err))
    }

    /// It as YAML.
    ///
    /// # Errors
    /// What YAML refuses.
    pub fn yaml(&self) -> Result<tree::Node, Error> {
        tree::yaml(&self.text).map_err(|err| self.of_tree(err))
    }

    fn of_tree(&self, err: tree::Error) -> Error {
        self.bad(err.line.unwrap_or(1), err.message, None)
    }
}

/// The files of a project.
#[derive(Debug)]
pub struct Files {
    /// Folder of the project, as given.
    shown: PathBuf,
    /// The same, resolved.
    root: PathBuf,
    /// Nothing above this is opened: the repository around the project, or the project.
    fence: PathBuf,
    read: BTreeSet<PathBuf>,
    bytes: usize,
}

impl Files {
    /// For a folder.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let root = std::fs::canonicalize(folder).map_err(|err| {
            Error::Read(io::Error::new(err.kind(), format!("`{}`: {err}", folder.display())))
        })?;
        if !root.is_dir() {
            return Err(Error::Read(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("`{}` is no folder", folder.display()),
            )));
        }
        let fence = root.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(&root).into();
        Ok(Self { shown: folder.into(), root, fence, read: BTreeSet::new(), bytes: 0 })
    }

    /// The folder as given.
    pub fn folder(&self) -> &Path {
        &self.shown
    }

    /// Whether a path leads to a place inside.
    pub fn holds(&self, path: &Path) -> bool {
        fs_err::canonicalize(path).is_ok_and(|real| real.starts_with(&self.fence))
    }

    /// Holds a place whose name lies inside to what is inside: a link on the way that leads out would
    /// show, or change, what is none of the project's.
    ///
    /// # Errors
    /// It leads out.
    pub fn keep_in(&self, path: &Path) -> Result<(), Error> {
        // Of what is not there yet, the nearest folder.
        let real = path.ancestors().find_map(|path| std::fs::canonicalize(path).ok());
        if real.is_none_or(|real| real.starts_with(&self.fence)) {
            return Ok(());
        }
        // What is named outside is meant.
        let named = plain(&std::path::absolute(path)?);
        if !named.ancestors().any(|folder| self.holds(folder)) {
            return Ok(());
        }
        let (name, fence) = (path.display(), self.fence_word(&self.fence));
        Err(Error::Bad(Box::new(Bad {
            message: format!(
                "`{name}` is a link that leads out of {fence}, where nothing is read or written"
            ),
            file: path.into(),
            place: None,
            excerpt: None,
            help: Some(
                "put the file itself in the place of the link, or name the other one".into(),
            ),
        })))
    }

    fn fence_word(&self, fence: &Path) -> &'static str {
        if fence == self.root { "the project" } else { "the repository" }
    }

    /// Whether a file or folder below the project is there, and inside it.
    pub fn has(&self, name: &str) -> bool {
        let path = self.shown.join(name);
        path.exists() && self.holds(&path)
    }

    /// Whether a file was read already.
    pub fn was_read(&self, path: &Path) -> bool {
        fs_err::canonicalize(path).is_ok_and(|path| self.read.contains(&path))
    }

    /// How a person in the project's folder names a path.
    pub fn name(&self, path: &Path) -> String {
        let plain = plain(path);
        let inside = plain.strip_prefix(plain_folder(&self.shown)).map(Path::to_path_buf);
        let resolved = fs_err::canonicalize(path).ok();
        let inside = inside.ok().or_else(|| {
            resolved.as_ref().and_then(|p| p.strip_prefix(&self.root).ok()).map(Path::to_path_buf)
        });
        let shown = inside.filter(|p| !p.as_os_str().is_empty()).unwrap_or(plain);
        shown.to_string_lossy().replace('\\', "/")
    }

    /// Reads a file that a line of another names.
    ///
    /// # Errors
    /// As [`Files::read`], on that line.
    pub fn include(&mut self, from: &Text, line: usize, target: &str) -> Result<Text, Error> {
        let folder = from.path.parent().unwrap_or(Path::new("."));
        let path = plain(&folder.join(target));
        self.open(&path, MAX_BYTES).map_err(|why| {
            let message = match why {
                Why::Io(err) if err.kind() == io::ErrorKind::NotFound => {
                    format!("there is no `{}`", self.name(&path))
                }
                why => self.words(&path, &why),
            };
            from.bad(line, message, Some("paths are taken from the folder of this file".into()))
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is no regular file, lies outside of the project, is too long, or is no text.
    pub fn read(&mut self, path: &Path, most: usize) -> Result<Text, Error> {
        self.open(path, most).map_err(|why| {
            let place = match &why {
                Why::Line(line, _) | Why::Merge(line) | Why::TooLong(_, line) => {
                    Some((*line, 0..1))
                }
                _ => None,
            };
            if let Why::Io(err) = why {
                return Error::Read(err);
            }
            Error::Bad(Box::new(Bad {
                file: self.name(path).into(),
                place,
                excerpt: None,
                message: self.words(path, &why),
                help: match why {
                    Why::Outside(_) => {
                        Some("copy the file into the project, or give it with -r".into())
                    }
                    Why::Line(_, _) => Some("save the file as UTF-8 text".into()),
                    Why::Merge(_) => {
                        Some("finish the merge: keep one side and take the marks out".into())
                    }
                    _ => None,
                },
            }))
        })
    }

    fn words(&self, path: &Path, why: &Why) -> String {
        let name = self.name(path);
        match why {
            Why::Io(err) => err.to_string(),
            Why::NoFile => format!("`{name}` is no regular file"),
            Why::Outside(fence) => {
                let fence = self.fence_word(fence);
                format!("`{name}` leads out of {fence}, where nothing is read")
            }
            Why::TooLong(most, line) => format!(
                "`{name}` has more than the {} MB that are read: line {line} is where they end",
                most / 1024 / 1024
            ),
            Why::TooMany => {
                format!("the project has more than the {MAX_FILES} files that are read")
            }
            Why::Merge(line) => {
                format!("line {line} of `{name}` holds the mark of a merge that was not finished")
            }
            Why::TooMuch => format!(
                "the files of the project have more than the {} MB that are read",
                MAX_ALL / 1024 / 1024
            ),
            Why::Line(line, what) => format!("line {line} of `{name}` {what}"),
        }
    }

    fn open(&mut self, path: &Path, most: usize) -> Result<Text, Why> {
        let real = fs_err::canonicalize(path).map_err(Why::Io)?;
        if !real.starts_with(&self.fence) {
            return Err(Why::Outside(self.fence.clone()));
        }
        // Before it is opened: a pipe would wait for ever.
        if !fs_err::metadata(&real).map_err(Why::Io)?.is_file() {
            return Err(Why::NoFile);
        }
        if self.read.len() >= MAX_FILES {
            return Err(Why::TooMany);
        }
        let mut bytes = Vec::new();
        let file = fs_err::File::open(&real).map_err(Why::Io)?;
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(Why::Io)?;
        if bytes.len() > most {
            let line = newlines(&bytes) + 1;
            return Err(Why::TooLong(most, line));
        }
        self.bytes += bytes.len();
        if self.bytes > MAX_ALL {
            return Err(Why::TooMuch);
        }
        let text = decode(bytes)?;
        self.read.insert(real);
        Ok(Text { name: self.name(path), path: path.into(), text: link::mask(&text).into() })
    }

    /// Lets one file be read wherever it lies, because the user named it.
    pub fn trust(&mut self, path: &Path) {
        if let Ok(real) = fs_err::canonicalize(path)
            && !real.starts_with(&self.fence)
            && let Some(folder) = real.parent()
        {
            self.fence =
                folder.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(folder).into();
        }
    }
}

/// A message as people read it: what it quotes may be as long as a file.
pub fn clipped(mut message: String) -> String {
    const MOST: usize = 1000;
    if let Some((at, _)) = message.char_indices().nth(MOST) {
        message.truncate(at);
        message.push_str("...");
    }
    message
}

/// Why a file could not be had as text.
enum Why {
    Io(io::Error),
    NoFile,
    Outside(PathBuf),
    TooLong(usize, usize),
    TooMany,
    TooMuch,
    Line(usize, String),
    Merge(usize),
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|b| *b == b'\n').count() - 1
}

/// UTF-8 with or without its mark, or UTF-16 with it; every line ends in `\n`.
fn decode(bytes: Vec<u8>) -> Result<String, Why> {
    let utf16 = |big: bool| {
        let units: Vec<u16> = bytes[2..]
            .chunks(2)
            .map(|pair| {
                let pair = [pair[0], *pair.get(1).unwrap_or(&0)];
                if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
            })
            .collect();
        String::from_utf16(&units)
            .map_err(|_| Why::Line(1, "is not the UTF-16 that it says".into()))
    };
    let text = if bytes.starts_with(&[0xff, 0xfe]) {
        utf16(false)?
    } else if bytes.starts_with(&[0xfe, 0xff]) {
        utf16(true)?
    } else {
        String::from_utf8(bytes).map_err(|err| {
            let valid = &err.as_bytes()[..err.utf8_error().valid_up_to()];
            let line = newlines(valid) + 1;
            Why::Line(line, "is not UTF-8".into())
        })?
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // Said here, because no format has a better word for it.
    let mark = |start: &str| text.lines().position(|line| line.starts_with(start));
    if let (Some(at), Some(_)) = (mark("<<<<<<< "), mark(">>>>>>> ")) {
        return Err(Why::Merge(at + 1));
    }
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        return Err(Why::Line(line, "holds a NUL byte".into()));
    }
    Ok(if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    })
}

fn plain_folder(folder: &Path) -> PathBuf {
    let plain = plain(folder);
    if plain == Path::new(".") { PathBuf::new() } else { plain }
}

/// Without `./` and without `x/..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => (),
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            part => out.push(part),
        }
    }
    if out.as_os_str().is_empty() {
        out.push(".");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, String> {
        decode(bytes.to_vec()).map_err(|why| match why {
            Why::Line(line, what) => format!("{line} {what}"),
            _ => "other".into(),
        })
    }

    #[test]
    fn encodings() {
        assert_eq!(decoded(b"\xef\xbb\xbftorch\r\nnumpy\r").as_deref(), Ok("torch\nnumpy\n"));
        let utf16: Vec<u8> =
            "\u{feff}torch\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(&utf16).as_deref(), Ok("torch\n"));
        let big: Vec<u8> = "\u{feff}torch\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decoded(&big).as_deref(), Ok("torch\n"));
        assert_eq!(decoded(b"a\nb\xff\n"), Err("2 is not UTF-8".into()));
        assert_eq!(decoded(b"a\nb\0\n"), Err("2 holds a NUL byte".into()));
    }
}
