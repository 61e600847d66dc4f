//! Runs the program as a user does, with nothing of this machine in its environment.
#![allow(dead_code, reason = "every test binary takes what it needs")]

pub(crate) mod fakes;
pub(crate) mod filled;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod machine;
pub(crate) mod shelf;
pub(crate) mod web;
#[cfg(target_os = "linux")]
pub(crate) mod wheelhouse;

use std::ffi::OsStr;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No run may take longer, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The command line, for messages.
    line: String,
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, in `folder`, with an empty environment but for NO_COLOR.
pub(crate) fn gpuseal(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpuseal"));
    command.env_clear().env("NO_COLOR", "1").current_dir(folder).stdin(Stdio::null());
    // Nor what the user has cached: whatever a test wants to find there it puts somewhere itself.
    command.env("GPUSEAL_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-cache"));
    // The system knows another home where the environment names none: no pip.conf, no netrc of it either.
    command.env("HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-home"));
    // Windows programs do not start without it.
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.env("SystemRoot", root);
    }
    command
}

/// Runs the program in `folder`.
pub(crate) fn run(folder: &Path, args: &[impl AsRef<OsStr>]) -> Run {
    let mut command = gpuseal(folder);
    command.args(args);
    finish(&mut command)
}

/// Runs a prepared command.
pub(crate) fn finish(command: &mut Command) -> Run {
    let line =
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let (mut out, mut err) =
        (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
    command.stdout(out.try_clone().expect("a handle")).stderr(err.try_clone().expect("a handle"));
    let mut child = command.spawn().expect("the program starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("a child");
            child.wait().expect("a child");
            panic!("no end after {LIMIT:?}: gpuseal {line:.200}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |file: &mut std::fs::File| {
        let mut text = String::new();
        file.rewind().expect("a file");
        file.read_to_string(&mut text).expect("the program speaks UTF-8");
        text
    };
    Run {
        code: status.code().unwrap_or_else(|| panic!("a signal ended `gpuseal {line}`")),
        stdout: text(&mut out),
        stderr: text(&mut err),
        line,
    }
}

impl Run {
    /// Both streams.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The exit code, and words that must stand in the answer.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, words: &[&str]) -> &Self {
        let all = self.all();
        let shown = format!("`gpuseal {}` ended with {}:\n{all}", self.line, self.code);
        assert_eq!(self.code, code, "{shown}");
        for word in words {
            assert!(all.contains(word), "`{word}` is missing; {shown}");
        }
        assert!(!all.contains("panicked"), "{shown}");
        assert!(!all.contains('\u{1b}'), "colour although NO_COLOR is set; {shown}");
        self
    }

    /// The lines of the answer under a caret line: what the carets underline.
    #[track_caller]
    pub(crate) fn underlines(&self, words: &str) -> &Self {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let at = lines
            .iter()
            .position(|l| l.contains('^'))
            .unwrap_or_else(|| panic!("no caret in:\n{}", self.stderr));
        let start = lines[at].find('^').expect("a caret");
        let marked: String =
            lines[at - 1].chars().skip(start).take(lines[at].matches('^').count()).collect();
        assert_eq!(marked, words, "{}", self.stderr);
        self
    }
}

/// A folder of its own, filled with files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

/// Writes a file below a folder.
pub(crate) fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs_err::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
    fs_err::write(&path, text).expect("a file");
    path
}

/// Copies a folder with all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a folder");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(&path, &target).expect("a file");
        }
    }
}

/// Names of all files of a folder, hidden ones too.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Takes out what changes with the place, the release or a row elsewhere in the matrix.
pub(crate) fn masked(text: &str, folder: &Path) -> String {
    let mut text = text
        .replace(&folder.display().to_string(), "[PROJECT]")
        .replace(&root().display().to_string(), "[ROOT]");
    text = mask_after(&text, "sha256:", "[DIGEST]", |c| c.is_ascii_hexdigit());
    let version = |c: char| c.is_ascii_digit() || c == '.';
    text = mask_after(&text, "matrix ", "[ID]", version);
    text = mask_after(&text, "\"id\": \"", "[ID]", version);
    mask_after(&text, "\"name\": \"gpuseal\",\n    \"version\": \"", "[VERSION]", version)
}

/// Replaces the characters of `kind` that follow `before`.
fn mask_after(text: &str, before: &str, mask: &str, kind: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&kind);
        masked.push_str(before);
        masked.push_str(if rest.len() < part.len() { mask } else { "" });
        masked.push_str(rest);
    }
    masked
}
