//! The project's other packages: uv solves them around ours.
//!
//! uv gets what the project's own files ask for, and every GPU package of the closure as it was chosen:
//! by its version from PyPI, by its address from another index. Of its answer the versions are taken;
//! the files are then found, and their digests checked, as all others are, and held against uv's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use pep440_rs::Version;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::cli::asked::Asked;
use crate::closure::Closure;
use crate::domain::{Gather as _, Platform, Sha256};
use crate::error::Error;
use crate::lock::{Index, Lockfile, Target, Upgrade};

/// uv may have to build source archives to learn what they require.
const LIMIT: Duration = Duration::from_mins(10);
/// Longest answer. A closure of 300 packages has half a megabyte of hashes.
const LONGEST: u64 = 16 << 20;

/// What uv is asked.
pub struct Question<'a> {
    pub asked: &'a Asked,
    pub target: &'a Target,
    pub closure: &'a Closure,
    pub old: Option<&'a Lockfile>,
    pub pypi: &'a Url,
    pub upgrade: &'a Upgrade,
}

/// The same, written down: targets that ask alike are answered alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    requirements: String,
    constraints: String,
    overrides: String,
    kept: String,
    python: String,
    platform: String,
    /// Names that are not uv's to choose.
    ours: BTreeSet<String>,
    /// Names that come from folders of the project.
    pub local: BTreeSet<String>,
}

/// What uv answers.
#[derive(Debug, Clone, Default)]
pub struct Solved {
    /// Version of every package that is not ours.
    pub versions: BTreeMap<String, Version>,
    hashes: BTreeMap<String, BTreeSet<Sha256>>,
}

impl Solved {
    /// Holds the files that were found against uv's hashes.
    pub fn confirm(&self, closure: &Closure) -> Result<(), Error> {
        for (name, member) in &closure.members {
            let Some(hashes) = self.hashes.get(name).filter(|hashes| !hashes.is_empty()) else {
                continue;
            };
            if !hashes.contains(&member.inspected.sha256) {
                return Err(Error::Uv {
                    message: format!(
                        "the index gives {} for `{}`, and uv has seen it with other digests only",
                        member.inspected.sha256, member.file.name
                    ),
                    help: Some("clear uv's cache with `uv cache clean`, then try again".into()),
                });
            }
        }
        Ok(())
    }
}

/// Settings of uv that say how it works, and not what comes of it.
const HARMLESS: &[&str] = &[
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_INSECURE_HOST",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_CONCURRENT_BUILDS",
    "UV_OFFLINE",
    "UV_PYTHON",
    "UV_LINK_MODE",
];

/// Asks uv.
///
/// # Errors
/// There is no uv, or it finds nothing: then its own words are in the message.
pub async fn solve(question: &Written, target: &str, pypi: &Url) -> Result<Solved, Error> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let (input, output) = (file("requirements.in"), file("out.txt"));
    fs_err::write(&input, &question.requirements)?;
    fs_err::write(file("constraints.txt"), &question.constraints)?;
    fs_err::write(file("overrides.txt"), &question.overrides)?;
    // uv keeps the versions of the file that it is to write over.
    fs_err::write(&output, &question.kept)?;
    let mut command = tokio::process::Command::new("uv");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("UV_") && !HARMLESS.contains(&&*name) {
            command.env_remove(&*name);
        }
    }
    command
        .args(["pip", "compile", "--no-config", "--quiet", "--generate-hashes", "--no-header"])
        // Versions are all that is wanted: without the Python of the target here, uv would fetch one from
        // GitHub, past every mirror.
        .args(["--no-annotate", "--no-strip-extras", "--no-python-downloads"])
        .args(["--python-version", &question.python, "--python-platform", &question.platform])
        .arg("--constraint")
        .arg(file("constraints.txt"))
        .arg("--override")
        .arg(file("overrides.txt"))
        .arg("--output-file")
        .arg(&output)
        .arg(&input)
        .env("UV_DEFAULT_INDEX", pypi.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|err| match err.kind() {
        std::io::ErrorKind::NotFound => Error::Uv {
            message: "there is no `uv` on the PATH, and --with-deps lets it solve the project's other packages".into(),
            help: Some("install it with `pip install uv`, or lock without --with-deps".into()),
        },
        _ => Error::Io(err),
    })?;
    let mut said = Vec::new();
    let told = child.stderr.take();
    let ended = tokio::time::timeout(LIMIT, async {
        if let Some(told) = told {
            told.take(1 << 20).read_to_end(&mut said).await?;
        }
        child.wait().await
    })
    .await
    .map_err(|_| Error::Uv {
        message: format!("uv has found no answer in {} seconds", LIMIT.as_secs()),
        help: None,
    })??;
    if !ended.success() {
        let words = String::from_utf8_lossy(&said).replace(pypi.as_str(), "PyPI");
        return Err(Error::Uv {
            message: format!(
                "uv finds no versions for target `{target}`:\n{}",
                printable(words.trim_end())
            ),
            help: Some(
                "loosen one of these requirements; the GPU packages are as gpuseal chose them"
                    .into(),
            ),
        });
    }
    let size = fs_err::metadata(&output)?.len();
    if size > LONGEST {
        return Err(Error::Uv { message: format!("uv's answer has {size} bytes"), help: None });
    }
    read(&fs_err::read_to_string(&output)?, question)
}

impl Question<'_> {
    /// What uv is to solve: what the project asks for, and our packages as they were chosen.
    ///
    /// # Errors
    /// A package that is not PyPI's to give.
    pub fn written(&self) -> Result<Written, Error> {
        let ours: BTreeSet<&str> = self.closure.members.keys().map(String::as_str).gather();
        let others = self.asked.others(self.target, &ours, self.pypi)?;
        let mut requirements = lines(&others.requirements);
        for (name, member) in &self.closure.members {
            let _ = match member.index {
                Index::Pypi => writeln!(requirements, "{name}=={}", member.version),
                Index::Pytorch(_) => writeln!(requirements, "{name} @ {}", member.file.url),
            };
        }
        // What was asked for by a range, and is not ours to choose within it.
        for package in self.target.packages.iter().filter(|p| p.requested) {
            if !ours.contains(package.name.as_str()) {
                let extras: Vec<_> = package.extras.iter().map(ToString::to_string).collect();
                let extras = if extras.is_empty() {
                    String::new()
                } else {
                    format!("[{}]", extras.join(","))
                };
                let range =
                    package.specifier.as_ref().map_or_else(String::new, ToString::to_string);
                let _ = writeln!(requirements, "{}{extras}{range}", package.name);
            }
        }
        Ok(Written {
            requirements,
            constraints: lines(&others.constraints),
            overrides: lines(&others.overrides),
            kept: kept(self),
            python: self.target.python.to_string().trim_end_matches('t').to_owned(),
            platform: platform(self.target),
            ours: ours.into_iter().map(str::to_owned).collect(),
            local: others.local,
        })
    }
}

fn lines(lines: &BTreeSet<String>) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    })
}

/// The versions of the older lock.
fn kept(question: &Question<'_>) -> String {
    let mut text = String::new();
    let old = question.old.and_then(|old| old.target(question.target.name.as_str()));
    for package in old.iter().flat_map(|old| &old.packages) {
        if let Some(version) = package.version.as_ref()
            && package.index == Index::Pypi
            && !question.upgrade.frees(package.name.as_str())
        {
            let _ = writeln!(text, "{}=={version}", package.name);
        }
    }
    text
}

/// The platform in uv's words, with the C library that bounds its files.
fn platform(target: &Target) -> String {
    match target.platform {
        Platform::WindowsAmd64 => "x86_64-pc-windows-msvc".into(),
        Platform::WindowsArm64 => "aarch64-pc-windows-msvc".into(),
        Platform::MacosArm64 => "aarch64-apple-darwin".into(),
        Platform::MacosAmd64 => "x86_64-apple-darwin".into(),
        Platform::LinuxAmd64 | Platform::LinuxArm64 | Platform::LinuxPpc64le => {
            let machine = match target.platform {
                Platform::LinuxArm64 => "aarch64",
                Platform::LinuxPpc64le => "powerpc64le",
                _ => "x86_64",
            };
            // uv knows each manylinux up to 2.40.
            let glibc = target.glibc.map_or_else(|| "2.28".to_owned(), |glibc| glibc.to_string());
            let minor: u32 = glibc.rsplit('.').next().and_then(|m| m.parse().ok()).unwrap_or(28);
            match minor {
                0..=27 => format!("{machine}-manylinux2014"),
                28..=40 => format!("{machine}-manylinux_2_{minor}"),
                _ => format!("{machine}-manylinux_2_40"),
            }
        }
    }
}

/// Reads uv's answer: `name==version \` and `--hash=sha256:...` lines.
fn read(text: &str, question: &Written) -> Result<Solved, Error> {
    let mut solved = Solved::default();
    let mut name = String::new();
    for line in text.lines().map(|line| line.trim().trim_end_matches('\\').trim_end()) {
        if let Some(hash) = line.strip_prefix("--hash=") {
            if let Ok(hash) = hash.parse() {
                solved.hashes.entry(name.clone()).or_default().insert(hash);
            }
            continue;
        }
        name.clear();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let end = line.find(['[', '=', ' ', '@', ';']).unwrap_or(line.len());
        name = crate::domain::normalise_name(&line[..end]);
        if question.ours.contains(&name) {
            continue;
        }
        let version = line.split_once("==").map(|(_, rest)| {
            // What holds elsewhere is left to that place.
            rest.split(';').next().unwrap_or_default().trim().parse()
        });
        let Some(Ok(version)) = version else {
            return Err(Error::Uv {
                message: format!("a package requires `{}`, which no lock holds", printable(line)),
                help: Some("lock without --with-deps, or leave out what requires it".into()),
            });
        };
        solved.versions.insert(name.clone(), version);
    }
    solved.hashes.remove("");
    Ok(solved)
}

/// uv's words must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
