//! The default of pip and uv, told by the programs themselves.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Family, Found, Look, address};

/// How long a program may take for its few words.
const LIMIT: Duration = Duration::from_secs(20);
/// How much of them is read, in bytes: pip's help has 15 KB.
const MOST: u64 = 256 * 1024;

/// Where pip keeps its own default.
const SCRIPT: &str = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";

/// The default of pip, or of uv where there is no pip.
pub(super) fn default(look: &Look<'_>) -> Option<Found> {
    let pythons: &[&str] = if look.family == Family::Windows {
        &["python", "py", "python3"]
    } else {
        &["python3", "python"]
    };
    for python in pythons {
        let origin = format!("the default of pip, asked through {python}");
        // Isolated: a folder `pip` in some project is not what is asked.
        let told = (look.ask)(python, &["-I", "-c", SCRIPT]);
        if let Some(found) = told.and_then(|text| address(text.lines().next()?, &origin).ok()) {
            return Some(found);
        }
        let help = (look.ask)(python, &["-I", "-m", "pip", "install", "--help"]);
        if let Some(found) = help.and_then(|text| address(&in_help(&text)?, &origin).ok()) {
            return Some(found);
        }
    }
    let help = (look.ask)("uv", &["pip", "install", "--help"])?;
    address(&in_help(&help)?, "the default of uv").ok()
}

/// The address in `(default https://...)` and `(by default: <https://...>)`, behind `--index-url` or
/// `--default-index`.
fn in_help(text: &str) -> Option<String> {
    // Help is broken into lines where the terminal ends.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flags = ["--default-index", "--index-url"];
    let from = flags.iter().filter_map(|flag| text.find(flag)).min()?;
    text[from..].match_indices("default").find_map(|(at, word)| {
        let rest = text[from + at + word.len()..].trim_start_matches([':', ' ', '<']);
        let end = rest.find([' ', ')', '>', ']']).unwrap_or(rest.len());
        rest.starts_with("http").then(|| rest[..end].to_owned())
    })
}

/// Runs a program for a few words: twenty seconds, nothing to read, a folder that no project owns.
/// `None`: it is not there, failed, or was too slow.
pub fn ask(program: &str, args: &[&str]) -> Option<String> {
    let folder = if cfg!(unix) { "/".into() } else { std::env::temp_dir() };
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        // A help text in one piece, without colours.
        .env("COLUMNS", "200")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let end = Instant::now() + LIMIT;
    let left = || end.saturating_duration_since(Instant::now());
    let (tell, told) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        // A grandchild may keep the pipe open, so nobody waits for this thread.
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = out.take(MOST).read_to_end(&mut bytes);
            let _ = tell.send(read.map(|_| bytes));
        });
    }
    let bytes = told.recv_timeout(left());
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let bytes = bytes.ok()?.ok()?;
                return status.success().then(|| String::from_utf8_lossy(&bytes).into_owned());
            }
            Ok(None) if !left().is_zero() => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_stand_in_the_help() {
        let pip = "  -i, --index-url <url>       Base URL of the Python Package Index (default\n                              https://index.example.org/simple). This should point";
        assert_eq!(in_help(pip).as_deref(), Some("https://index.example.org/simple"));
        let uv = "  --default-index <DEFAULT_INDEX>\n          The default package index (by default: <https://index.example.org/simple>) [env: UV_DEFAULT_INDEX]";
        assert_eq!(in_help(uv).as_deref(), Some("https://index.example.org/simple"));
        for text in
            ["", "--index-url", "--index-url <url> (default: none)", "default http://a.test"]
        {
            assert_eq!(in_help(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn programs_are_asked_within_bounds() {
        assert_eq!(ask("sh", &["-c", "echo hello"]).as_deref(), Some("hello\n"));
        assert_eq!(ask("sh", &["-c", "cat; pwd"]).as_deref(), Some("/\n"));
        assert_eq!(ask("sh", &["-c", "echo hello; exit 3"]), None);
        assert_eq!(ask("gpuseal-has-no-such-program", &[]), None);
        // More than is read ends it, one way or another.
        assert!(ask("sh", &["-c", "yes"]).is_none());
    }
}
