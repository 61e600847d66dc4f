//! uv's settings: its variables, then the project's, the user's and the system's files.
//!
//! Source: uv's documentation, "Configuration files" and "Package indexes": the nearest uv.toml, or
//! pyproject.toml with a `[tool.uv]`, then `~/.config/uv/uv.toml`, then the system's; an index entry
//! with `default = true` comes before `index-url`.

use std::path::{Path, PathBuf};

use super::{Family, Found, Look, SettingsError, address, is_yes, note_unused};
use crate::tree::{self, Node};

/// The index that uv's variables name.
pub(super) fn from_variables(
    look: &Look<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Found>, SettingsError> {
    for name in ["UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"] {
        if let Some(value) = look.var(name) {
            note_unused(notes, name, &[value]);
        }
    }
    if look.var("UV_NO_INDEX").is_some_and(is_yes) {
        return Err(SettingsError::Forbidden { origin: "UV_NO_INDEX".into() });
    }
    for origin in ["UV_DEFAULT_INDEX", "UV_INDEX_URL"] {
        if let Some(value) = look.var(origin) {
            // `name=https://...`
            let (name, url) = match value.split_once('=') {
                Some((name, url)) if !name.contains([':', '/']) => (Some(name), url),
                _ => (None, value),
            };
            return named(look, url, name, origin).map(Some);
        }
    }
    Ok(None)
}

/// The index that uv's files name.
pub(super) fn from_files(
    look: &Look<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Found>, SettingsError> {
    if let Some(path) = look.var("UV_CONFIG_FILE").map(PathBuf::from) {
        let Some(file) = File::read(look, &path, &[])? else {
            let why = "UV_CONFIG_FILE names it, and it is not there".into();
            return Err(SettingsError::File { file: look.name(&path), line: None, why });
        };
        return file.index(look, notes);
    }
    if look.var("UV_NO_CONFIG").is_some_and(is_yes) {
        return Ok(None);
    }
    if let Some(file) = of_project(look)?
        && let Some(found) = file.index(look, notes)?
    {
        return Ok(Some(found));
    }
    let windows = look.family == Family::Windows;
    let (user, system) = if windows {
        (look.folder("APPDATA"), look.folder("PROGRAMDATA").into_iter().collect())
    } else {
        let mut dirs = look.config_dirs();
        dirs.push(look.root.join("etc"));
        (look.config_home(), dirs)
    };
    // Of the system's files the first alone counts.
    for dirs in [user.into_iter().collect(), system] {
        for dir in dirs {
            let Some(file) = File::read(look, &dir.join("uv/uv.toml"), &[])? else { continue };
            if let Some(found) = file.index(look, notes)? {
                return Ok(Some(found));
            }
            break;
        }
    }
    Ok(None)
}

/// The nearest file of the project that has settings for uv, not above the fence.
fn of_project(look: &Look<'_>) -> Result<Option<File>, SettingsError> {
    for folder in look.project.ancestors() {
        for (name, table) in [("uv.toml", &[][..]), ("pyproject.toml", &["tool", "uv"][..])] {
            let path = folder.join(name);
            // A link may lead anywhere on the machine, and the project was written by others.
            if let (Ok(real), Ok(fence)) = (path.canonicalize(), look.fence.canonicalize())
                && !real.starts_with(&fence)
            {
                let why = "it is a link that leads out of the project".into();
                return Err(SettingsError::File { file: look.name(&path), line: None, why });
            }
            if let Some(file) = File::read(look, &path, table)? {
                return Ok(Some(file));
            }
        }
        if folder == look.fence || !folder.starts_with(&look.fence) {
            break;
        }
    }
    Ok(None)
}

/// uv's settings in a file.
struct File {
    name: String,
    /// `[tool.uv] ` where they are a table of a larger file.
    prefix: &'static str,
    settings: Node,
}

impl File {
    /// `None`: there is no file, or it has no such table.
    fn read(look: &Look<'_>, path: &Path, table: &[&str]) -> Result<Option<Self>, SettingsError> {
        let Some(text) = look.text(path)? else { return Ok(None) };
        let name = look.name(path);
        let whole = tree::toml(&text, tree::MAX_NODES).map_err(|err| SettingsError::File {
            file: name.clone(),
            line: err.line,
            why: err.message,
        })?;
        let prefix = if table.is_empty() { "" } else { "[tool.uv] " };
        Ok(whole.at(table).cloned().map(|settings| Self { name, prefix, settings }))
    }

    fn origin(&self, node: &Node, key: &str) -> String {
        format!("{}:{}, {}{key}", self.name, node.line, self.prefix)
    }

    fn index(
        &self,
        look: &Look<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Found>, SettingsError> {
        let pip = self.settings.get("pip");
        let tables = || pip.into_iter().chain([&self.settings]);
        for table in tables() {
            for key in ["extra-index-url", "find-links"] {
                if let Some(list) = table.get(key) {
                    let words: Vec<_> = list.one_or_many().iter().filter_map(Node::text).collect();
                    note_unused(notes, &self.origin(list, key), &words);
                }
            }
        }
        let entries = self.settings.list_of("index");
        let is = |entry: &Node, key: &str| entry.get(key).is_some_and(Node::is_true);
        for entry in entries.iter().filter(|entry| !is(entry, "default") && !is(entry, "explicit"))
        {
            let word = entry.text_of("url").unwrap_or_default();
            note_unused(notes, &self.origin(entry, "index"), &[word]);
        }
        if let Some(node) = tables().find_map(|table| table.get("no-index"))
            && node.is_true()
        {
            return Err(SettingsError::Forbidden { origin: self.origin(node, "no-index") });
        }
        if let Some(entry) = entries.iter().find(|entry| is(entry, "default"))
            && let Some(url) = entry.text_of("url")
        {
            return named(look, url, entry.text_of("name"), &self.origin(entry, "index")).map(Some);
        }
        match tables().find_map(|table| table.get("index-url")) {
            Some(node) => {
                let url = node.text().unwrap_or_default();
                address(url, &self.origin(node, "index-url")).map(Some)
            }
            None => Ok(None),
        }
    }
}

/// An index that may have a name: uv takes its credentials from variables of that name.
fn named(
    look: &Look<'_>,
    url: &str,
    name: Option<&str>,
    origin: &str,
) -> Result<Found, SettingsError> {
    let mut found = address(url, origin)?;
    let Some(name) = name.filter(|_| found.url.username().is_empty()) else { return Ok(found) };
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(upper).collect();
    let var = |what: &str| look.var(&format!("UV_INDEX_{name}_{what}"));
    if let (Some(user), password) = (var("USERNAME"), var("PASSWORD")) {
        // Only an address without a host refuses them, and this one has one.
        let _ = found.url.set_username(user);
        let _ = found.url.set_password(password);
    }
    Ok(found)
}
