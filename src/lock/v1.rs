//! The shape of `gpuseal.lock` on disk, version 1: TOML, one fact a line, texts and numbers only.
//!
//! The structs mirror the file and check nothing; `check` turns them into a `Lockfile`. Fields are
//! written in the order of their declaration.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::tree;

/// Version of the shape. A file with a greater one is refused.
pub const VERSION: u32 = 1;
/// Revision of the shape: what was only added since the version. A greater one is accepted.
pub const REVISION: u32 = 1;
/// Longest file that is read. A target takes about 16 KiB.
pub(super) const LONGEST: usize = 8 << 20;
/// Values of a lock that is read.
const MAX_VALUES: usize = 200_000;
/// First line of every lock.
const COMMENT: &str = "# Written by gpuseal, do not edit; run `gpuseal lock` to renew.\n";

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct File {
    pub version: u32,
    pub revision: u32,
    pub matrix: Matrix,
    pub inputs: Inputs,
    #[serde(default)]
    pub target: Vec<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index: Vec<IndexRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirror: Vec<MirrorRow>,
}

/// The matrix that the lock was resolved with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Matrix {
    pub id: String,
    pub digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
}

/// What one target gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Target {
    pub name: String,
    pub platform: String,
    pub python: String,
    pub torch: String,
    pub variant: String,
    pub index: String,
    pub cuda: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolkit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nccl: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triton: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc_min: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub pins_unknown: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub with_deps: bool,
    pub driver: Driver,
    #[serde(default)]
    pub gpu: Vec<Gpu>,
    pub base: Base,
    #[serde(default)]
    pub package: Vec<Package>,
}

/// Driver bounds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Driver {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_branch: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A card.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Gpu {
    pub given: String,
    pub name: String,
    pub capability: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Base image. `digest` is `unfetched` until somebody has asked the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Base {
    pub repository: String,
    pub tag: String,
    pub flavour: String,
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder_tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uv_tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uv_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apt: Vec<String>,
}

/// A package. `hash` is `unfetched` until somebody has asked the index; then the file is named too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Package {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specifier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    pub index: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub requested: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub source_build: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
}

/// An index. PyPI's address is the user's own setting; where its files are is told by the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexRow {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
}

/// What stands in for an index or a registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MirrorRow {
    pub of: String,
    pub at: String,
}

// serde hands out a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// The keys of every table, by the path of the table. A test holds them against the structs.
const KEYS: &[(&str, &[&str])] = &[
    ("", &["version", "revision", "matrix", "inputs", "target", "index", "mirror"]),
    ("matrix", &["id", "digest", "overlays"]),
    ("inputs", &["digest", "asked"]),
    (
        "target",
        &[
            "name",
            "platform",
            "python",
            "torch",
            "variant",
            "index",
            "cuda",
            "toolkit",
            "cudnn",
            "nccl",
            "triton",
            "glibc_min",
            "glibc",
            "pins_unknown",
            "with_deps",
            "driver",
            "gpu",
            "base",
            "package",
        ],
    ),
    ("target.driver", &["given", "min", "native", "max_branch", "mode"]),
    ("target.gpu", &["given", "name", "capability", "served_by", "code"]),
    (
        "target.base",
        &[
            "repository",
            "tag",
            "flavour",
            "digest",
            "size",
            "builder",
            "builder_tag",
            "builder_digest",
            "uv",
            "uv_tag",
            "uv_digest",
            "apt",
        ],
    ),
    (
        "target.package",
        &[
            "name",
            "version",
            "specifier",
            "local",
            "index",
            "extras",
            "requested",
            "source_build",
            "file",
            "path",
            "size",
            "hash",
            "origin",
            "unpacked",
            "libraries",
        ],
    ),
    ("index", &["name", "url", "files"]),
    ("mirror", &["of", "at"]),
];

/// What the TOML reader says, with its line but without an excerpt that may be a megabyte long.
fn brief(error: &toml::de::Error, text: &str) -> String {
    let line =
        error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let at = line.map_or(String::new(), |line| format!("line {line}: "));
    format!("{at}{}", error.message().chars().take(300).collect::<String>())
}

impl File {
    /// Reads the text of a lock, and says of which revision it is.
    pub(super) fn read(text: &str, name: &str) -> Result<Self, Error> {
        if text.len() > LONGEST {
            return Err(Error::TooBig { name: name.into(), limit: LONGEST });
        }
        if let Some(line) = conflict_marker(text) {
            return Err(Error::Conflict { name: name.into(), line });
        }
        let syntax = |error: &toml::de::Error| Error::Syntax {
            name: name.into(),
            message: printable(&brief(error, text)),
        };
        tree::guard(text, MAX_VALUES).map_err(|err| Error::Syntax {
            name: name.into(),
            message: format!("line {}: {}", err.line.unwrap_or(1), err.message),
        })?;
        let table: toml::Table = text.parse().map_err(|e| syntax(&e))?;
        // Before the shape: a later version may share nothing else with this one.
        if let Some(found) = table.get("version").and_then(toml::Value::as_integer)
            && found != i64::from(VERSION)
        {
            return Err(Error::Version { name: name.into(), found, reads: VERSION });
        }
        let file: Self = toml::from_str(text).map_err(|e| syntax(&e))?;
        if (0..=REVISION).contains(&file.revision)
            && let Some(field) = unknown_key(&table)
        {
            return Err(Error::UnknownKey { name: name.into(), field });
        }
        Ok(file)
    }

    /// The text of a lock.
    pub(super) fn text(&self) -> String {
        // Texts, numbers and tables in an order that TOML can write: no input makes this fail.
        let body = toml::to_string_pretty(self).unwrap_or_default();
        format!("{COMMENT}\n{body}")
    }
}

/// The first line that git left in an undecided merge.
fn conflict_marker(text: &str) -> Option<usize> {
    let marker = |line: &str| ["<<<<<<<", "|||||||", ">>>>>>>"].iter().any(|m| line.starts_with(m));
    text.lines().position(marker).map(|index| index + 1)
}

/// The excerpt of a broken file must not steer the terminal.
fn printable(message: &str) -> String {
    let hidden = |c: char| {
        if c.is_control() && c != '\n' { '\u{fffd}' } else { c }
    };
    message.trim_end().chars().map(hidden).collect()
}

/// The path of the first key that no table of this revision has.
fn unknown_key(table: &toml::Table) -> Option<String> {
    fn walk(table: &toml::Table, kind: &str, shown: &str) -> Option<String> {
        let known = KEYS.iter().find(|(path, _)| *path == kind).map_or(&[][..], |(_, keys)| keys);
        let join = |at: &str, key: &str| {
            if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
        };
        table.iter().find_map(|(key, value)| {
            if !known.contains(&key.as_str()) {
                return Some(printable(&join(shown, key)));
            }
            let (kind, shown) = (join(kind, key), join(shown, key));
            match value {
                toml::Value::Table(inner) => walk(inner, &kind, &shown),
                toml::Value::Array(rows) => rows.iter().enumerate().find_map(|(index, row)| {
                    walk(row.as_table()?, &kind, &format!("{shown}[{index}]"))
                }),
                _ => None,
            }
        })
    }
    walk(table, "", "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lock::sample;

    fn walk(table: &toml::Table, path: &str, seen: &mut BTreeSet<String>) {
        for (key, value) in table {
            let full = format!("{path}/{key}");
            match value {
                toml::Value::Table(inner) => walk(inner, &full, seen),
                toml::Value::Array(rows) => rows
                    .iter()
                    .filter_map(toml::Value::as_table)
                    .for_each(|row| walk(row, &full, seen)),
                _ => (),
            }
            seen.insert(full);
        }
    }

    #[test]
    fn keys_and_structs_agree() {
        let mut seen = BTreeSet::new();
        let table: toml::Table = sample::text().parse().expect("the sample is TOML");
        walk(&table, "", &mut seen);
        for (path, keys) in KEYS {
            for key in *keys {
                let full = format!("/{path}/{key}").replace('.', "/").replace("//", "/");
                assert!(seen.remove(&full), "the sample lacks {full}");
            }
        }
        assert!(seen.is_empty(), "no table knows {seen:?}");
    }
}
