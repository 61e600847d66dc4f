//! pip's settings: its files, in pip's order, and its variables over them.
//!
//! Source: pip's user guide, "Configuration": the files are read from the system's to the environment's,
//! a later one replaces single keys; of all keys together `[install]` comes before `[global]`, and a
//! variable before both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Family, Found, Look, SettingsError, address, is_yes, note_unused};

/// Which settings may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Variables alone.
    Variables,
    /// Files too.
    Anything,
}

/// A value and who says so.
#[derive(Debug)]
struct Value {
    text: String,
    origin: String,
}

/// All of pip's settings, by section and key; variables are the section `:env:`.
#[derive(Debug, Default)]
pub(super) struct Settings(BTreeMap<(String, String), Value>);

/// Sections that `pip install` obeys, first the weakest.
const SECTIONS: [&str; 3] = ["global", "install", ENV];
const ENV: &str = ":env:";

impl Settings {
    pub(super) fn read(look: &Look<'_>) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for path in files(look) {
            let Some(text) = look.text(&path)? else { continue };
            let file = look.name(&path);
            let entries = ini(&text).map_err(|(line, why)| SettingsError::File {
                file: file.clone(),
                line: Some(line),
                why: why.into(),
            })?;
            for (section, key, text) in entries {
                let key = plain(&key);
                let origin = format!("{file}, [{section}] {key}");
                settings.0.insert((section, key), Value { text, origin });
            }
        }
        for (name, text) in &look.env {
            let Some(key) = name.strip_prefix("PIP_") else { continue };
            let value = Value { text: text.clone(), origin: name.clone() };
            settings.0.insert((ENV.into(), plain(key)), value);
        }
        Ok(settings)
    }

    /// The value that counts; empty ones do not.
    fn get(&self, key: &str) -> Option<(&'static str, &Value)> {
        SECTIONS.iter().rev().find_map(|section| {
            let value = self.0.get(&((*section).to_owned(), key.to_owned()))?;
            (!value.text.trim().is_empty()).then_some((*section, value))
        })
    }

    /// The index that these settings name.
    pub(super) fn index(&self, by: By) -> Result<Option<Found>, SettingsError> {
        let counts = |section: &str| by == By::Anything || section == ENV;
        // With `no-index` pip looks at no index, whatever else is set.
        let named = self.get("index-url").filter(|(section, _)| counts(section));
        if let Some((section, value)) = self.get("no-index")
            && (counts(section) || named.is_some())
            && is_yes(&value.text)
        {
            return Err(SettingsError::Forbidden { origin: value.origin.clone() });
        }
        named.map(|(_, value)| address(&value.text, &value.origin)).transpose()
    }

    /// Notes what else pip would look at.
    pub(super) fn note_others(&self, notes: &mut Vec<String>) {
        for key in ["extra-index-url", "find-links"] {
            if let Some((_, value)) = self.get(key) {
                note_unused(notes, &value.origin, &[&value.text]);
            }
        }
    }
}

/// pip's files, the weakest first.
fn files(look: &Look<'_>) -> Vec<PathBuf> {
    let named = look.env.get("PIP_CONFIG_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    // The way to say "no file at all".
    if named.as_ref().is_some_and(|path| {
        path.as_os_str() == if look.family == Family::Windows { "nul" } else { "/dev/null" }
    }) {
        return Vec::new();
    }
    let base = if look.family == Family::Windows { "pip.ini" } else { "pip.conf" };
    let mut files: Vec<PathBuf> = match look.family {
        Family::Unix => {
            let dirs = look.config_dirs().into_iter().map(|dir| dir.join("pip").join(base));
            dirs.chain([look.root.join("etc").join(base)]).collect()
        }
        Family::Macos => vec![look.root.join("Library/Application Support/pip").join(base)],
        Family::Windows => {
            look.folder("PROGRAMDATA").map(|dir| dir.join("pip").join(base)).into_iter().collect()
        }
    };
    // A file named by hand stands for the user's own.
    if !named.as_ref().is_some_and(|path| path.exists()) {
        let home = look.home.as_ref();
        let legacy = if look.family == Family::Windows { "pip" } else { ".pip" };
        files.extend(home.map(|home| home.join(legacy).join(base)));
        let new = match look.family {
            Family::Unix => look.config_home().map(|dir| dir.join("pip")),
            Family::Macos => home.map(|home| {
                let own = home.join("Library/Application Support/pip");
                if own.is_dir() { own } else { home.join(".config/pip") }
            }),
            Family::Windows => look.folder("APPDATA").map(|dir| dir.join("pip")),
        };
        files.extend(new.map(|dir| dir.join(base)));
    }
    files.extend(look.folder("VIRTUAL_ENV").map(|dir| dir.join(base)));
    files.extend(named);
    files
}

/// `INDEX_URL`, `index_url` and `--index-url` are one key.
fn plain(key: &str) -> String {
    let key = key.trim().to_lowercase().replace('_', "-");
    key.strip_prefix("--").unwrap_or(&key).to_owned()
}

type Entry = (String, String, String);

/// Reads the INI of Python's configparser as pip sets it: `=` or `:`, comments on lines of their own,
/// values that go on below on deeper lines, nothing twice. `[DEFAULT]` holds for every section.
fn ini(text: &str) -> Result<Vec<Entry>, (usize, &'static str)> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut sections: Vec<String> = Vec::new();
    let mut keys = BTreeSet::new();
    // How deep the key stands whose value may go on.
    let mut open: Option<usize> = None;
    for (line, number) in text.lines().zip(1..) {
        let code = line.trim();
        if code.is_empty() || code.starts_with(['#', ';']) {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if let (Some(key_depth), Some((_, _, value))) = (open, entries.last_mut())
            && depth > key_depth
        {
            value.push('\n');
            value.push_str(code);
            continue;
        }
        open = None;
        if let Some(name) = code.strip_prefix('[').and_then(|c| Some(&c[..c.rfind(']')?])) {
            if sections.iter().any(|known| known == name) {
                return Err((number, "the section stands there twice"));
            }
            sections.push(name.to_owned());
            continue;
        }
        let Some(section) = sections.last() else {
            return Err((number, "a line before the first [section]"));
        };
        let Some((key, value)) = code.split_once(['=', ':']) else {
            return Err((number, "neither a [section] nor `key = value`"));
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err((number, "a value without a key"));
        }
        if !keys.insert((section.clone(), key.clone())) {
            return Err((number, "the key stands there twice"));
        }
        entries.push((section.clone(), key, value.trim().to_owned()));
        open = Some(depth);
    }
    let (defaults, mut entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(section, ..)| section == "DEFAULT");
    for section in sections.iter().filter(|section| *section != "DEFAULT") {
        for (_, key, value) in &defaults {
            if !keys.contains(&(section.clone(), key.clone())) {
                entries.push((section.clone(), key.clone(), value.clone()));
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, String)> {
        ini(text).expect(text)
    }

    #[test]
    fn pips_ini_is_read_as_python_reads_it() {
        let entry = |s: &str, k: &str, v: &str| (s.to_owned(), k.to_owned(), v.to_owned());
        assert_eq!(
            read("# note\n[global]\nindex-url = https://a.test/simple\n; no\ntimeout: 60\n"),
            [
                entry("global", "index-url", "https://a.test/simple"),
                entry("global", "timeout", "60")
            ]
        );
        // A value that goes on, with a comment in it; an inline `#` belongs to the value.
        assert_eq!(
            read(
                "[install]\nextra-index-url =\n  https://a.test\n  # note\n\n  https://b.test # c\nx=1"
            ),
            [
                entry("install", "extra-index-url", "\nhttps://a.test\nhttps://b.test # c"),
                entry("install", "x", "1")
            ]
        );
        assert_eq!(
            read("[DEFAULT]\na = 1\n[global]\nb = 2\n[install]\na = 3\n"),
            [entry("global", "b", "2"), entry("install", "a", "3"), entry("global", "a", "1")]
        );
        assert_eq!(plain("INDEX_URL"), "index-url");
        assert_eq!(plain("--index_url"), "index-url");
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line() {
        for (text, line) in [
            ("index-url = x\n", 1),
            ("[global]\nnothing\n", 2),
            ("[global]\na = 1\nA = 2\n", 3),
            ("[global]\n[install]\n[global]\n", 3),
            ("[global]\n= 1\n", 2),
        ] {
            assert_eq!(ini(text).expect_err(text).0, line, "{text}");
        }
    }
}
