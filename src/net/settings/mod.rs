//! Where PyPI is: the address that the user's own pip and uv are set to.
//!
//! This program knows no address of its own. It takes the one in the settings of uv and pip, in the
//! order in which they obey them, and where nothing is set it asks pip, then uv, for their default. The
//! further indexes that both can be given (`extra-index-url` and its kin) are never asked: a package of
//! the same name there would win by its version alone.

mod ask;
mod pip;
mod uv;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use url::Url;

pub use ask::ask;

use crate::domain::shown;

/// Longest settings file that is read, in bytes. A pyproject.toml of two megabytes was never seen.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Where PyPI is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PypiAddress {
    /// Root of its simple API, with `/` at its end, and with credentials where the setting has them.
    pub url: Url,
    /// The setting: `UV_DEFAULT_INDEX`, `~/.config/pip/pip.conf, [global] index-url`, `the default of pip`.
    pub origin: String,
    /// What the user ought to know of it, one sentence each, without credentials.
    pub notes: Vec<String>,
}

/// Which system's folders hold the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Linux and its kin.
    Unix,
    /// macOS.
    Macos,
    /// Windows.
    Windows,
}

/// Where to look. Tests fill it by hand: nothing else here reads the environment of the process.
pub struct Look<'a> {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// What holds the system's folders: `/`, or a test's folder.
    pub root: PathBuf,
    /// Folder of the project.
    pub project: PathBuf,
    /// The topmost folder whose settings count as the project's: its repository, or the project.
    pub fence: PathBuf,
    /// Which system's folders to look into.
    pub family: Family,
    /// Runs a program and tells what it printed; `None`: it is not there, or failed.
    pub ask: &'a dyn Fn(&str, &[&str]) -> Option<String>,
}

/// Why nobody knows where PyPI is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The settings say that no index may be asked.
    #[error("{origin} forbids every index, and the files of packages are looked up in one")]
    Forbidden {
        /// The setting.
        origin: String,
    },
    /// What is set is no address that can be asked.
    #[error("{origin} is `{given}`, which is no address of an index: {why}")]
    Address {
        /// The setting.
        origin: String,
        /// Its value, without credentials.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of settings cannot be read.
    #[error("`{file}`{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    File {
        /// The file.
        file: String,
        /// Line, from 1.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
    /// No setting, and no program that has a default.
    #[error(
        "nothing says where PyPI is: pip and uv have no setting for it, and neither could be asked for its default"
    )]
    Nowhere,
}

impl SettingsError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Forbidden { .. } => {
                "drop that setting for this run, name a mirror with `mirrors: {pypi: URL}` in gpuseal.yaml, or lock with --offline".into()
            }
            Self::Address { .. } => {
                "set it to the http or https address of a simple index, or name one with `mirrors: {pypi: URL}` in gpuseal.yaml".into()
            }
            Self::File { file, .. } => format!("mend `{file}`, or set PIP_INDEX_URL"),
            Self::Nowhere => {
                "set PIP_INDEX_URL, or write `mirrors: {pypi: URL}` into gpuseal.yaml".into()
            }
        })
    }
}

impl Look<'static> {
    /// This process, this machine.
    pub fn here(project: &Path) -> Self {
        let project = fs_err::canonicalize(project).unwrap_or_else(|_| project.into());
        let fence = project.ancestors().find(|dir| dir.join(".git").exists());
        Self {
            // A variable that is no text names no address.
            env: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            home: std::env::home_dir().filter(|home| home.is_absolute()),
            root: "/".into(),
            fence: fence.unwrap_or(&project).into(),
            project,
            family: if cfg!(windows) {
                Family::Windows
            } else if cfg!(target_os = "macos") {
                Family::Macos
            } else {
                Family::Unix
            },
            ask: &ask,
        }
    }
}

impl Look<'_> {
    /// An environment variable; an empty one counts as absent, as it does for pip and uv.
    fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A folder that a variable names. The XDG specification wants relative ones ignored.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// `~/.config`, or where the variable says.
    fn config_home(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME").or_else(|| Some(self.home.as_ref()?.join(".config")))
    }

    /// The system's folders of XDG, in their order.
    fn config_dirs(&self) -> Vec<PathBuf> {
        match self.var("XDG_CONFIG_DIRS") {
            Some(list) => {
                std::env::split_paths(list).filter(|path| path.is_absolute()).take(32).collect()
            }
            None => vec![self.root.join("etc/xdg")],
        }
    }

    /// How a person names a file: below the project as there, below home with `~`.
    fn name(&self, path: &Path) -> String {
        let plain = |path: &Path| path.to_string_lossy().replace('\\', "/");
        if let Ok(inside) = path.strip_prefix(&self.project) {
            return plain(inside);
        }
        match self.home.as_ref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(inside) => format!("~/{}", plain(inside)),
            None => plain(path),
        }
    }

    /// The text of a settings file; `None`: there is none.
    fn text(&self, path: &Path) -> Result<Option<String>, SettingsError> {
        let wrong = |why: String| SettingsError::File { file: self.name(path), line: None, why };
        let told = |err: std::io::Error| {
            let why = err.raw_os_error().map_or(err, std::io::Error::from_raw_os_error);
            wrong(why.to_string())
        };
        match std::fs::metadata(path) {
            // Nobody waits here for a pipe to be filled.
            Ok(found) if !found.is_file() => return Err(wrong("it is no regular file".into())),
            Ok(_) => (),
            Err(err)
                if matches!(
                    err.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(err) => return Err(told(err)),
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(told)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(wrong(format!("it has more than the {MAX_BYTES} bytes that are read")));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
        Ok(Some(text.trim_start_matches('\u{feff}').replace("\r\n", "\n")))
    }
}

/// Where PyPI is.
///
/// In order: uv's and pip's variables, the uv settings of the project, the user and the system, pip's
/// settings, the default of pip, the default of uv.
///
/// # Errors
/// See [`SettingsError`].
pub fn pypi(look: &Look<'_>) -> Result<PypiAddress, SettingsError> {
    let mut notes = Vec::new();
    let found = find(look, &mut notes)?;
    if found.url.scheme() == "http" && !is_loopback(&found.url) {
        notes.push(format!(
            "{} is {}: plain http, which anybody on the way can change",
            found.origin,
            masked(found.url.as_str())
        ));
    }
    notes.dedup();
    Ok(PypiAddress { url: found.url, origin: found.origin, notes })
}

/// An address and who says so.
#[derive(Debug)]
struct Found {
    url: Url,
    origin: String,
}

fn find(look: &Look<'_>, notes: &mut Vec<String>) -> Result<Found, SettingsError> {
    if let Some(found) = uv::from_variables(look, notes)? {
        return Ok(found);
    }
    let pip = pip::Settings::read(look)?;
    pip.note_others(notes);
    if let Some(found) = pip.index(pip::By::Variables)? {
        return Ok(found);
    }
    if let Some(found) = uv::from_files(look, notes)? {
        return Ok(found);
    }
    if let Some(found) = pip.index(pip::By::Anything)? {
        return Ok(found);
    }
    ask::default(look).ok_or(SettingsError::Nowhere)
}

/// Reads an address as a setting has it.
fn address(given: &str, origin: &str) -> Result<Found, SettingsError> {
    let wrong = |why| SettingsError::Address { origin: origin.into(), given: masked(given), why };
    let given = given.trim();
    if given.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong("it holds more than one word"));
    }
    let mut url: Url = given.parse().map_err(|_| wrong("it cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("neither http nor https"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it names no host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the address of an index has no `?` and no `#`"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(Found { url, origin: origin.into() })
}

/// Notes indexes and folders that are set, and that nobody here will ask.
fn note_unused(notes: &mut Vec<String>, origin: &str, given: &[&str]) {
    const MOST: usize = 8;
    let words: Vec<_> = given.iter().flat_map(|given| given.split_whitespace()).collect();
    if words.is_empty() {
        return;
    }
    let mut list: Vec<_> = words.iter().take(MOST).map(|word| masked(word)).collect();
    if words.len() > MOST {
        list.push(format!("and {} more", words.len() - MOST));
    }
    notes.push(format!(
        "{origin} is not used ({}): a package comes from one index",
        list.join(", ")
    ));
}

/// An address as it may be shown: no user, no password, no query; in one short line.
///
/// By its text alone: what cannot be read as an address may hold a password all the same.
fn masked(given: &str) -> String {
    let given = given.trim();
    let (scheme, rest) = match given.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), given),
    };
    // A password may hold a `?`, so what belongs to it is cut off first.
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    shown(&format!("{scheme}{user}{rest}{query}"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Words that both pip and uv take for yes.
fn is_yes(text: &str) -> bool {
    ["y", "yes", "t", "true", "on", "1"].contains(&text.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests;
