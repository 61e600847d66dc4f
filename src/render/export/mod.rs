//! A lock in other tools' words: hashed requirements, pylock.toml, constraints, a fragment for uv.
//!
//! Data comes from typed structs and never from a template. What a target needs is named file by file,
//! so no installer has an index left to choose from.

mod pylock;
mod requirements;
pub mod uv;

use std::fmt::Write as _;

use super::{Error, Kind};
use crate::domain::{Setting, Variable};
use crate::lock::{Index, LockedFile, Lockfile, Mirrored, Package, Target};

/// Renders one target of a lock. The same lock gives the same bytes.
///
/// # Errors
/// [`Error::Unfetched`] where a file is wanted that nobody has looked up.
pub(super) fn export(kind: Kind, lock: &Lockfile, target: &Target) -> Result<String, Error> {
    let mut text = head(lock, kind.word());
    let _ = writeln!(
        text,
        "# Target: {}, {}, Python {}, torch {}",
        target.name,
        target.platform.name(),
        target.python,
        target.torch_version()
    );
    text.push_str(&match kind {
        Kind::Constraints => requirements::constraints(target),
        Kind::Pylock => pylock::text(lock, target)?,
        _ => requirements::hashed(lock, target)?,
    });
    Ok(text)
}

/// The first lines of every export; by the first of them a project's files are told from ours.
fn head(lock: &Lockfile, word: &str) -> String {
    format!(
        "# Written by gpuseal from gpuseal.lock. Do not edit: change gpuseal.yaml, run `gpuseal lock`, then\n# `gpuseal render {word}`.\n# Lock: {}\n",
        lock.digest()
    )
}

/// The file of a package.
fn file<'l>(package: &'l Package, target: &Target) -> Result<&'l LockedFile, Error> {
    package.file.as_ref().ok_or_else(|| Error::Unfetched {
        package: package.name.to_string(),
        target: target.name.to_string(),
    })
}

/// A wheel, and no source that is still to be built.
fn is_wheel(file: &LockedFile) -> bool {
    file.name.as_str().strip_suffix(".whl").is_some()
}

/// `2.9.1+cu126`
fn version(package: &Package) -> Option<String> {
    let version = package.version.as_ref()?;
    let local = package.local.as_ref().map_or_else(String::new, |local| format!("+{local}"));
    Some(format!("{version}{local}"))
}

/// What is asked for an index: its mirror, or its own address. PyPI's is a setting of the installer.
fn address(lock: &Lockfile, index: Index) -> Option<String> {
    let mirror = |of: &str| {
        let of: Mirrored = of.parse().ok()?;
        lock.mirrors.get(&of).map(|at| at.as_str().trim_end_matches('/'))
    };
    match index {
        Index::Pypi => mirror("pypi").map(str::to_owned),
        Index::Pytorch(variant) => match mirror("pytorch") {
            Some(at) => Some(format!("{at}/{variant}")),
            None => index.url(),
        },
    }
}

/// The machines of a target as a marker, with its Python where that is told apart too.
fn marker(target: &Target, python: bool) -> String {
    let setting = Setting::new(target.platform, target.python);
    let mut marker = format!(
        "sys_platform == '{}' and platform_machine == '{}'",
        setting.value(Variable::SysPlatform),
        setting.value(Variable::PlatformMachine)
    );
    if python {
        let _ =
            write!(marker, " and python_version == '{}'", setting.value(Variable::PythonVersion));
    }
    marker
}

#[cfg(test)]
mod tests;
