//! Where facts are read: this machine, or a folder that is laid out like one.

use crate::domain::Order as _;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Unread;
use super::child::{self, Ran};

/// Most that is read of a file: the list of Debian's packages has a few MB.
const MOST: u64 = 16 << 20;

/// Longest that a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A machine below a root folder. Paths go in and come out as the machine itself calls them.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
    env: BTreeMap<String, String>,
    unread: Mutex<Vec<Unread>>,
}

impl Machine {
    pub fn new(root: &Path) -> Self {
        let mut machine =
            Self { root: root.to_owned(), env: BTreeMap::new(), unread: Mutex::new(Vec::new()) };
        machine.env = if machine.is_here() {
            let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
            let vars = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
            // Windows knows no case in names: `Path` is PATH.
            let upper = |name: String| if cfg!(windows) { name.to_uppercase() } else { name };
            vars.map(|(name, value)| (upper(name), value)).collect()
        } else {
            let text = machine.read("/proc/self/environ").unwrap_or_default();
            let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        machine
    }

    /// It is the machine that this program runs on.
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Environment of this program.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// A variable that is set to something.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where a path lies for this program.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        if self.is_here() {
            return path.to_owned();
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Notes what could not be looked at.
    pub fn missed(&self, what: &str, why: impl Into<String>) {
        let note = Unread { what: what.to_owned(), why: why.into() };
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// What could not be looked at so far, in a stable order.
    pub fn all_missed(&self) -> Vec<Unread> {
        let mut list = self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        list.order_by(|a, b| (&a.what, &a.why).cmp(&(&b.what, &b.why)));
        list.dedup();
        list
    }

    /// A file's bytes. One that is not there is no news; one that may not be read is.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let read = || -> io::Result<Vec<u8>> {
            // To open a pipe would wait for somebody to write.
            if !std::fs::metadata(self.at(path))?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let mut bytes = Vec::new();
            std::fs::File::open(self.at(path))?.take(MOST + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) if bytes.len() as u64 > MOST => {
                self.missed(
                    path,
                    format!("it is larger than the {} MiB that are read", MOST >> 20),
                );
                None
            }
            Ok(bytes) => Some(bytes),
            Err(err) => {
                if !is_absence(&err) {
                    self.missed(path, why(&err));
                }
                None
            }
        }
    }

    /// A file's text; what is no UTF-8 in it is replaced.
    pub fn read(&self, path: &str) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// First line of a file, trimmed; of the device tree without its NUL.
    pub fn line(&self, path: &str) -> Option<String> {
        let text = self.read(path)?;
        let line = text.lines().next().unwrap_or_default().trim_matches(['\0', ' ', '\t', '\r']);
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// Names in a folder, sorted; `None`: there is no such folder, or it may not be listed.
    pub fn list(&self, folder: &str) -> Option<Vec<String>> {
        match std::fs::read_dir(self.at(folder)) {
            Ok(entries) => {
                let name =
                    |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
                let mut names: Vec<String> = entries.filter_map(Result::ok).map(name).collect();
                names.order();
                Some(names)
            }
            Err(err) => {
                if !is_absence(&err) {
                    self.missed(folder, why(&err));
                }
                None
            }
        }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// Days since a file was written; absent where the file system or the clock does not tell.
    pub fn age_days(&self, path: &str) -> Option<u64> {
        let written = fs_err::metadata(self.at(path)).ok()?.modified().ok()?;
        Some(written.elapsed().ok()?.as_secs() / (24 * 60 * 60))
    }

    pub fn is_folder(&self, path: &str) -> bool {
        self.at(path).is_dir()
    }

    pub fn is_file(&self, path: &str) -> bool {
        self.at(path).is_file()
    }

    /// The file behind all links.
    pub fn real(&self, path: &str) -> Option<String> {
        let real = self.at(path).canonicalize().ok()?;
        if self.is_here() {
            return Some(real.to_string_lossy().into_owned());
        }
        let root = self.root.canonicalize().ok()?;
        let inside =
            real.strip_prefix(root).map_or_else(|_| real.clone(), |p| Path::new("/").join(p));
        Some(inside.to_string_lossy().into_owned())
    }

    /// Every program of that name on PATH, in its order. Relative folders are passed over: what lies
    /// in the folder one happens to stand in is not run.
    pub fn on_path(&self, program: &str) -> Vec<String> {
        let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
        let folders = std::env::split_paths(self.env("PATH").unwrap_or_default());
        let found = folders
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&file).to_string_lossy().into_owned())
            .filter(|path| self.is_program(path));
        let mut list: Vec<String> = Vec::new();
        for path in found {
            if !list.contains(&path) {
                list.push(path);
            }
        }
        list
    }

    /// The program that a shell would start.
    pub fn which(&self, program: &str) -> Option<String> {
        self.on_path(program).into_iter().next()
    }

    fn is_program(&self, path: &str) -> bool {
        let Ok(about) = std::fs::metadata(self.at(path)) else { return false };
        #[cfg(unix)]
        if std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o111 == 0 {
            return false;
        }
        about.is_file()
    }

    /// What a program prints when it ends well. One that fails or hangs is noted.
    pub fn answer(&self, program: &str, args: &[&str]) -> Option<String> {
        let ran = child::run(self.at(program), args, "", PATIENCE);
        let why = match ran {
            Ok(ran) if ran.success() => return Some(ran.stdout),
            Ok(Ran { status: None, .. }) => format!("no answer in {} s", PATIENCE.as_secs()),
            Ok(Ran { status: Some(status), stderr, .. }) => {
                let words = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                format!("{status}: {}", crate::domain::shown(words))
            }
            Err(err) => why(&err),
        };
        self.missed(&format!("{program} {}", args.join(" ")), why);
        None
    }
}

/// There is no such thing, which is a fact like any other.
fn is_absence(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The system's words without the number.
pub(super) fn why(err: &io::Error) -> String {
    if err.kind() == ErrorKind::PermissionDenied {
        return "permission denied".into();
    }
    let text = err.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// The first word that looks like a version: `Docker version 28.5.2, build ecc6942`.
pub(super) fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|word| word.trim_matches([',', ';', '(', ')', 'v', 'V']))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine made of files: paths that end in `/` are folders, `*` before a path makes a program
    /// of it, and a text that begins with `->` is a link.
    pub fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let program = path.strip_prefix('*');
            let path = root.path().join(program.unwrap_or(path).trim_start_matches('/'));
            fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            if program.is_none() && path.to_string_lossy().ends_with('/') {
                fs_err::create_dir_all(&path).expect("a folder");
                continue;
            }
            #[cfg(unix)]
            if let Some(target) = text.strip_prefix("->") {
                std::os::unix::fs::symlink(target, &path).expect("a link");
                continue;
            }
            fs_err::write(&path, text).expect("a file");
            #[cfg(unix)]
            if program.is_some() {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs_err::set_permissions(&path, mode).expect("a program");
            }
        }
        let machine = Machine::new(root.path());
        (root, machine)
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let (root, machine) = machine(&[]);
        let made = std::process::Command::new("mkfifo").arg(root.path().join("version")).status();
        assert!(made.expect("mkfifo").success());
        assert_eq!(machine.read("/version"), None);
        assert_eq!(machine.all_missed()[0].why, "it is no file");
    }

    #[test]
    fn a_machine_in_a_folder_is_read_as_it_calls_itself() {
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin:relative:/opt/bin\0EMPTY=\0HOME=/home/jane\0"),
            ("*/usr/bin/tool", "#!/bin/sh\necho tool version v1.2.3, build 9\n"),
            ("*/opt/bin/tool", "#!/bin/sh\necho broken >&2; exit 3\n"),
            ("/opt/bin/plain", "no program"),
            ("/lib/a.so.1", "->a.so.1.2"),
            ("/lib/a.so.1.2", "x"),
        ]);
        assert_eq!(machine.env("HOME"), Some("/home/jane"));
        assert_eq!(machine.env("EMPTY"), None);
        assert_eq!(machine.on_path("tool"), ["/usr/bin/tool", "/opt/bin/tool"]);
        assert_eq!(machine.which("plain"), None);
        assert_eq!(machine.list("/lib").expect("a folder"), ["a.so.1", "a.so.1.2"]);
        #[cfg(unix)]
        {
            assert_eq!(machine.real("/lib/a.so.1").as_deref(), Some("/lib/a.so.1.2"));
            let said = machine.answer("/usr/bin/tool", &["--version"]).expect("an answer");
            assert_eq!(version_in(&said), Some("1.2.3"));
            assert_eq!(machine.answer("/opt/bin/tool", &["--version"]), None);
            let missed = machine.all_missed();
            assert_eq!(missed.len(), 1);
            assert!(missed[0].why.contains("broken"), "{missed:?}");
        }
        // What is not there is no news; what is there and cannot be read is.
        assert_eq!(machine.read("/no/such/file"), None);
        assert_eq!(machine.read("/lib"), None);
        assert!(machine.all_missed().iter().any(|note| note.what == "/lib"));
    }
}
