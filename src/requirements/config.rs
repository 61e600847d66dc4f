//! gpuseal.yaml and `[tool.gpuseal]`: one shape, two syntaxes.
#![allow(clippy::zero_sized_map_values, reason = "keys are read before their values")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::project::{Files, mask};
use super::{Bad, BadMirror, Error, Requirements, Target, is_target_name};
use crate::domain::{Order as _, Package, ParseError, shown};
use crate::{tree, yaml};

/// Keys of the file and of a target.
const KEYS: &[&str] =
    &["torch", "python", "cuda", "with", "needs", "prefer", "allow", "mirrors", "targets"];
const TARGET_KEYS: &[&str] = &["gpus", "driver", "platform", "os", "kernel_module"];

/// Largest configuration that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// What `init` writes where only the user knows the answer.
pub const PLACEHOLDER: &str = "TODO";

/// More of these than anybody has: a file with more is a mistake, or an attack.
const MAX_TARGETS: usize = 1000;
const MAX_GPUS: usize = 200;
const MAX_PACKAGES: usize = 200;

/// The file as written. Versions are text: `3.10` must not become 3.1.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    torch: Option<String>,
    python: Option<String>,
    cuda: Option<String>,
    with: Vec<String>,
    needs: Vec<String>,
    prefer: Option<String>,
    allow: Vec<String>,
    mirrors: Option<BTreeMap<String, String>>,
    targets: Option<BTreeMap<String, RawTarget>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawTarget {
    gpus: OneOrMany,
    driver: Option<String>,
    platform: Option<String>,
    os: Option<String>,
    kernel_module: Option<String>,
}

/// `gpus: h100` and `gpus: [h100, b200]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Keys only: read first, so that unknown ones are named before anything else is complained of.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    targets: Option<BTreeMap<String, BTreeMap<String, IgnoredAny>>>,
}

/// A file of a project, without `./` where the project is the current folder.
pub fn in_project(project: &Path, name: &str) -> PathBuf {
    if project == Path::new(".") { name.into() } else { project.join(name) }
}

/// The file of a project: gpuseal.yaml, or pyproject.toml when it has a `[tool.gpuseal]`.
///
/// # Errors
/// Both say what is wanted.
pub fn find(project: &Path) -> Result<Option<PathBuf>, Error> {
    let own = ["gpuseal.yaml", "gpuseal.yml"]
        .map(|name| in_project(project, name))
        .into_iter()
        .find(|p| p.is_file());
    let pyproject = in_project(project, "pyproject.toml");
    // A link out of the project is refused by the reader of the project, which names it.
    let ours = |path: &Path| Files::of(project).is_ok_and(|files| files.holds(path));
    if let Some(own) = &own {
        Files::of(project)?.keep_in(own)?;
    }
    let inside = pyproject.is_file() && ours(&pyproject) && tool_table(&pyproject)?.is_some();
    match (own, inside) {
        (Some(own), true) => Err(Error::TwoFiles(own, pyproject)),
        (Some(own), false) => Ok(Some(own)),
        (None, true) => Ok(Some(pyproject)),
        (None, false) => Ok(None),
    }
}

/// A file as text, credentials in its addresses masked: a line of it may be shown.
fn load(path: &Path) -> Result<String, Error> {
    yaml::read(path, MAX_BYTES).map(|text| mask(&text)).map_err(|err| match err {
        yaml::ReadError::Io(err) => Error::Read(err),
        yaml::ReadError::TooLong(limit) => bad(
            path,
            "",
            None,
            format!("the file has more than the {limit} bytes that are read"),
            None,
        ),
        yaml::ReadError::NotUtf8(line) => bad(
            path,
            "",
            Some((line, 0..1)),
            format!("line {line} is not UTF-8"),
            Some("save the file as UTF-8".into()),
        ),
    })
}

/// The `[tool.gpuseal]` table of a pyproject.toml, as TOML text of its own.
fn tool_table(path: &Path) -> Result<Option<toml::Value>, Error> {
    let text = load(path)?;
    tree::guard(&text, tree::MAX_NODES).map_err(|err| {
        let place = err.line.map(|line| (line, 0..1));
        bad(path, &text, place, err.message, None)
    })?;
    let whole: toml::Table = toml::from_str(&text).map_err(|err| from_toml(path, &text, &err))?;
    Ok(whole.get("tool").and_then(|t| t.get("gpuseal")).cloned())
}

fn from_toml(path: &Path, text: &str, err: &toml::de::Error) -> Error {
    let place = err.span().map(|span| {
        let start = span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line = text[..start].matches('\n').count() + 1;
        (line, start - line_start..(span.end.min(text.len()).max(start + 1)) - line_start)
    });
    let text_wanted = err.message().contains("expected a string");
    let quote = match text_wanted {
        // `docker.io = "..."` is a table `docker` with a key `io`.
        true if err.message().contains("map") => {
            Some("quote a key that has a dot, as in \"docker.io\" = \"...\"")
        }
        true => Some("versions are text: quote them, as in python = \"3.10\""),
        false => None,
    };
    bad(path, text, place, err.message().to_owned(), quote.map(str::to_owned))
}

fn bad(
    path: &Path,
    text: &str,
    place: Option<(usize, std::ops::Range<usize>)>,
    message: String,
    help: Option<String>,
) -> Error {
    let excerpt =
        place.as_ref().and_then(|(line, _)| text.lines().nth(line - 1)).map(str::to_owned);
    Error::Bad(Box::new(Bad { file: path.into(), place, excerpt, message, help }))
}

/// First place of `value` as a word of its own in `text`: line from 1, columns.
fn locate(text: &str, value: &str) -> Option<(usize, std::ops::Range<usize>)> {
    if value.is_empty() {
        return None;
    }
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    text.lines().zip(1..).find_map(|(line, number)| {
        let code = line.split(" #").next().unwrap_or(line);
        let code = if code.trim_start().starts_with('#') { "" } else { code };
        // Searching begins with a look at all of the value, which may go over thousands of lines.
        if code.len() < value.len() {
            return None;
        }
        code.match_indices(value).find_map(|(at, _)| {
            let (before, after) =
                (code[..at].chars().next_back(), code[at + value.len()..].chars().next());
            (edge(before) && edge(after)).then(|| (number, at..at + value.len()))
        })
    })
}

/// The line of the key below `targets` that names a target; elsewhere the same word may stand before it.
fn line_of_target(text: &str, name: &str) -> Option<usize> {
    let quotes = ['"', '\''];
    let is_key = |line: &str| {
        let line = line.trim();
        let header = line.strip_prefix("[tool.gpuseal.targets.").and_then(|l| l.strip_suffix(']'));
        let key = header.or_else(|| Some(line.split_once([':', '='])?.0));
        key.is_some_and(|key| key.trim().trim_matches(quotes) == name)
    };
    let begin = |line: &str| line.trim_start().starts_with("targets") || line.contains(".targets");
    let keys = text.lines().zip(1..).skip_while(|(line, _)| !begin(line));
    let found = keys.filter(|(line, _)| is_key(line)).map(|(_, number)| number).next();
    found.or_else(|| Some(locate(text, name)?.0))
}

/// Where the configuration says that the matrix is: asked for before anything is read with it.
///
/// # Errors
/// As [`read`], when the file speaks of a matrix at all.
pub fn matrix_of(path: &Path) -> Result<Option<PathBuf>, Error> {
    // Most files do not, and are then read but once.
    if !load(path)?.contains("matrix") {
        return Ok(None);
    }
    Ok(read(path)?.mirrors.matrix.map(PathBuf::from))
}

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with it, with its line.
pub fn read(path: &Path) -> Result<Requirements, Error> {
    let text = load(path)?;
    let toml = path.extension().is_some_and(|e| e == "toml");
    let (file, keys, nested) = if toml { read_toml(path, &text)? } else { read_yaml(path, &text)? };
    unknown_keys(path, &text, "", &keys, KEYS)?;
    for (target, keys) in &nested {
        unknown_keys(path, &text, &format!("target `{target}`: "), keys, TARGET_KEYS)?;
    }
    Reader { path, text: &text }.requirements(file)
}

type Keyed = (File, Vec<String>, BTreeMap<String, Vec<String>>);

fn read_yaml(path: &Path, text: &str) -> Result<Keyed, Error> {
    let wrap = |err: yaml::Error| bad(path, text, err.place, err.message, None);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(bad(
            path,
            text,
            None,
            "the file is empty".into(),
            Some("name at least one target with its gpus; see examples/".into()),
        ));
    }
    let top: BTreeMap<String, IgnoredAny> = yaml::from_str(text).map_err(wrap)?;
    let keys: Keys = yaml::from_str(text).map_err(wrap)?;
    let file: File = yaml::from_str(text).map_err(wrap)?;
    let nested = keys
        .targets
        .unwrap_or_default()
        .into_iter()
        .map(|(k, v)| (k, v.into_keys().collect()))
        .collect();
    Ok((file, top.into_keys().collect(), nested))
}

fn read_toml(path: &Path, text: &str) -> Result<Keyed, Error> {
    // Deserialised from the whole document, so that errors carry their place in it.
    #[derive(Deserialize)]
    struct Pyproject {
        tool: Tool,
    }
    #[derive(Deserialize)]
    struct Tool {
        gpuseal: File,
    }
    let Some(table) = tool_table(path)? else {
        return Err(bad(path, text, None, "there is no [tool.gpuseal] in it".into(), None));
    };
    let whole: Pyproject = toml::from_str(text).map_err(|err| from_toml(path, text, &err))?;
    let keys = |value: &toml::Value| {
        value.as_table().map(|t| t.keys().cloned().collect()).unwrap_or_default()
    };
    let nested = table
        .get("targets")
        .and_then(toml::Value::as_table)
        .map(|targets| targets.iter().map(|(name, t)| (name.clone(), keys(t))).collect())
        .unwrap_or_default();
    Ok((whole.tool.gpuseal, keys(&table), nested))
}

fn unknown_keys(
    path: &Path,
    text: &str,
    place: &str,
    keys: &[String],
    known: &[&str],
) -> Result<(), Error> {
    for key in keys {
        if known.contains(&key.as_str()) || key.starts_with("x-") {
            continue;
        }
        let near = known
            .iter()
            .map(|k| (strsim::jaro_winkler(k, key), k))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let help = match near {
            Some((score, near)) if score > 0.75 => format!("did you mean `{near}`?"),
            _ => format!("known keys are {}; your own start with `x-`", known.join(", ")),
        };
        return Err(bad(
            path,
            text,
            locate(text, key),
            format!("{place}there is no key `{}`", shown(key)),
            Some(help),
        ));
    }
    Ok(())
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, value: &str, message: String, help: Option<String>) -> Error {
        bad(self.path, self.text, locate(self.text, value), message, help)
    }

    fn parse<T: FromStr<Err = ParseError>>(&self, key: &str, value: &str) -> Result<T, Error> {
        value.parse().map_err(|err: ParseError| self.wrong(value, format!("{key}: {err}"), None))
    }

    fn opt<T: FromStr<Err = ParseError>>(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<Option<T>, Error> {
        value.map(|v| self.parse(key, v)).transpose()
    }

    /// The line is not shown where a password stands in it.
    fn bad_mirror(&self, of: &str, at: &str, err: BadMirror) -> Error {
        let place = locate(self.text, if err.key { of } else { at });
        let text = if err.secret { "" } else { self.text };
        let place = place.or_else(|| locate(self.text, of));
        bad(self.path, text, place, err.message, err.help)
    }

    fn requirements(&self, file: File) -> Result<Requirements, Error> {
        let mut wanted = Requirements { file: Some(self.path.into()), ..Requirements::default() };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut origin = |key: &str, value: &str| {
            let line =
                locate(self.text, value).map_or(String::new(), |(line, _)| format!(":{line}"));
            wanted.origins.insert(key.into(), format!("{name}{line}"));
        };
        for (key, value) in [
            ("torch", &file.torch),
            ("python", &file.python),
            ("cuda", &file.cuda),
            ("prefer", &file.prefer),
        ] {
            if let Some(value) = value {
                origin(key, value);
            }
        }
        wanted.torch = self.opt("torch", file.torch.as_deref())?;
        wanted.python = self.opt("python", file.python.as_deref())?;
        wanted.cuda = self.opt("cuda", file.cuda.as_deref())?;
        if let Some(prefer) = self.opt("prefer", file.prefer.as_deref())? {
            wanted.prefer = prefer;
        }
        for package in &file.with {
            wanted.with.push(self.parse::<Package>("with", package)?);
        }
        for need in &file.needs {
            wanted.needs.insert(self.parse("needs", need)?);
        }
        for word in &file.allow {
            wanted
                .allow
                .add(word)
                .map_err(|err| self.wrong(word, format!("allow: {err}"), None))?;
        }
        let mirrors = file.mirrors.unwrap_or_default();
        for (of, at) in &mirrors {
            wanted.mirrors.set(of, at).map_err(|err| self.bad_mirror(of, at, err))?;
            let line = locate(self.text, of).map_or(String::new(), |(line, _)| format!(":{line}"));
            wanted.origins.insert(format!("mirrors.{of}"), format!("{name}{line}"));
        }
        // A path is taken from the folder of the file that names it.
        if let (Some(matrix), Some(folder)) = (&mut wanted.mirrors.matrix, self.path.parent()) {
            *matrix = folder.join(&*matrix).to_string_lossy().into_owned();
        }
        let raw_targets = file.targets.unwrap_or_default();
        for (count, most, what) in [
            (raw_targets.len(), MAX_TARGETS, "targets"),
            (file.with.len(), MAX_PACKAGES, "packages in `with`"),
        ] {
            if count > most {
                let message =
                    format!("the file names {count} {what}, more than the {most} that are read");
                return Err(bad(self.path, self.text, None, message, None));
            }
        }
        let mut targets = Vec::new();
        for (name, raw) in raw_targets {
            targets.push(self.target(name, raw)?);
        }
        targets.order_by_key(|t: &Target| t.line);
        wanted.targets = targets;
        Ok(wanted)
    }

    fn target(&self, name: String, raw: RawTarget) -> Result<Target, Error> {
        if !is_target_name(&name) {
            return Err(self.wrong(
                &name,
                format!("`{}` cannot name a target", name.escape_debug()),
                Some(
                    "start with a lower-case letter, go on with letters, digits, `-` and `_`: the name becomes a build stage"
                        .into(),
                ),
            ));
        }
        let gpus = match raw.gpus {
            OneOrMany::One(gpu) => vec![gpu],
            OneOrMany::Many(gpus) => gpus,
        };
        if gpus.len() > MAX_GPUS {
            let message = format!(
                "target `{name}` names {} gpus, more than the {MAX_GPUS} that are read",
                gpus.len()
            );
            return Err(self.wrong(&name, message, Some("name each sort of card once".into())));
        }
        if gpus.is_empty() {
            return Err(self.wrong(
                &name,
                format!("target `{name}` names no gpus"),
                Some("add gpus: [h100], for example".into()),
            ));
        }
        let of = |key: &str| format!("target `{name}`: {key}");
        let mut todo = Vec::new();
        if gpus.iter().any(|gpu| gpu == PLACEHOLDER) {
            todo.push("gpus");
        }
        let driver = raw.driver.as_deref().filter(|driver| *driver != PLACEHOLDER);
        if driver != raw.driver.as_deref() {
            todo.push("driver");
        }
        Ok(Target {
            todo,
            driver: self.opt(&of("driver"), driver)?,
            platform: self.opt(&of("platform"), raw.platform.as_deref())?,
            kernel_module: self.opt(&of("kernel_module"), raw.kernel_module.as_deref())?,
            os: raw.os,
            gpus,
            line: line_of_target(self.text, &name),
            name,
        })
    }
}
