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
use crate::closure::{Closure, is_gpu_package};
use crate::domain::{Platform, Sha256};
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

/// Asks uv.
///
/// # Errors
/// There is no uv, or it finds nothing: then its own words are in the message.
pub async fn solve(
    question: &Question<'_>,
    pypi: &Url,
    upgrade: &Upgrade,
) -> Result<Solved, Error> {
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("requirements.in"), folder.path().join("out.txt"));
    fs_err::write(&input, input_of(question))?;
    // uv keeps the versions of the file that it is to write over.
    fs_err::write(&output, kept(question, upgrade))?;
    let mut command = tokio::process::Command::new("uv");
    command
        .args(["pip", "compile", "--no-config", "--quiet", "--generate-hashes", "--no-header"])
        // Versions are all that is wanted: without the Python of the target here, uv would fetch one from
        // GitHub, past every mirror.
        .args(["--no-annotate", "--no-strip-extras", "--no-python-downloads", "--python-version"])
        .arg(question.target.python.to_string().trim_end_matches('t'))
        .args(["--python-platform", &platform(question.target)])
        .arg("--output-file")
        .arg(&output)
        .arg(&input)
        .env("UV_DEFAULT_INDEX", pypi.as_str())
        .env_remove("UV_INDEX")
        .env_remove("UV_INDEX_URL")
        .env_remove("UV_TORCH_BACKEND")
        .env_remove("UV_EXTRA_INDEX_URL")
        .env_remove("UV_FIND_LINKS")
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
                "uv finds no versions for target `{}`:\n{}",
                question.target.name,
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
    Ok(read(&fs_err::read_to_string(&output)?, question.closure))
}

/// What uv is to solve: what the project asks for, and our packages as they were chosen.
fn input_of(question: &Question<'_>) -> String {
    let mut text = String::new();
    let ours: BTreeSet<&str> = ours(question.closure).collect();
    for line in question.asked.others(question.target, &ours) {
        let _ = writeln!(text, "{line}");
    }
    for name in ours {
        let Some(member) = question.closure.members.get(name) else { continue };
        let _ = match member.index {
            Index::Pypi => writeln!(text, "{name}=={}", member.version),
            Index::Pytorch(_) => writeln!(text, "{name} @ {}", member.file.url),
        };
    }
    text
}

/// Packages of the closure that belong to torch's build, and those that were asked for by name.
fn ours(closure: &Closure) -> impl Iterator<Item = &str> {
    closure.members.iter().filter(|(name, m)| m.decided || is_gpu_package(name)).map(|(n, _)| &**n)
}

/// The versions of the older lock.
fn kept(question: &Question<'_>, upgrade: &Upgrade) -> String {
    let mut text = String::new();
    let old = question.old.and_then(|old| old.target(question.target.name.as_str()));
    for package in old.iter().flat_map(|old| &old.packages) {
        if let Some(version) = package.version.as_ref()
            && package.index == Index::Pypi
            && !upgrade.frees(package.name.as_str())
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
fn read(text: &str, closure: &Closure) -> Solved {
    let ours: BTreeSet<&str> = ours(closure).collect();
    let mut solved = Solved::default();
    let mut name = String::new();
    for line in text.lines().map(|line| line.trim().trim_end_matches('\\').trim_end()) {
        if let Some(hash) = line.strip_prefix("--hash=") {
            if let Ok(hash) = hash.parse() {
                solved.hashes.entry(name.clone()).or_default().insert(hash);
            }
            continue;
        }
        let Some((package, version)) = line.split_once("==") else {
            name.clear();
            continue;
        };
        let package = package.split('[').next().unwrap_or_default();
        name = crate::domain::normalise_name(package);
        // What holds elsewhere is left to that place.
        let version = version.split(';').next().unwrap_or_default().trim();
        if let Ok(version) = version.parse()
            && !ours.contains(name.as_str())
        {
            solved.versions.insert(name.clone(), version);
        }
    }
    solved.hashes.remove("");
    solved
}

/// uv's words must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
