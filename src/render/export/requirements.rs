//! Requirement files: every file with its digest, and versions alone.

use std::fmt::Write as _;

use super::{address, file, is_wheel, version};
use crate::lock::{Index, Lockfile, Target};
use crate::render::Error;

/// One line for every package: `name @ URL --hash=sha256:...`.
///
/// What is compiled on installation is named by its version: its file is the source, and an installer
/// takes it from its own index, held to the same digest.
pub(super) fn hashed(lock: &Lockfile, target: &Target) -> Result<String, Error> {
    let mut text =
        String::from("# For `pip install --require-hashes -r FILE`, or the same with `uv pip`.\n");
    let (mut lines, mut by_version) = (String::new(), false);
    for package in &target.packages {
        let file = file(package, target)?;
        let _ = match version(package) {
            Some(version) if package.source_build || !is_wheel(file) => {
                by_version |= package.index == Index::Pypi;
                write!(lines, "{}=={version}", package.name)
            }
            _ => write!(lines, "{} @ {}", package.name, file.url),
        };
        let _ = writeln!(lines, " --hash={}", file.sha256);
    }
    if by_version && let Some(url) = address(lock, Index::Pypi) {
        let _ = writeln!(text, "--index-url {url}");
    }
    Ok(text + &lines)
}

/// `name==version` for every package whose version is known; a range where that is all there is.
pub(super) fn constraints(target: &Target) -> String {
    let mut text = String::new();
    for package in &target.packages {
        if let Some(version) = version(package) {
            let _ = writeln!(text, "{}=={version}", package.name);
        } else if let Some(specifier) = &package.specifier {
            let _ = writeln!(text, "{}{}", package.name, specifier.to_string().replace(", ", ","));
        }
    }
    text
}
