//! A lock that uses every key, for the tests of this room and of `render`.

use super::Lockfile;

/// The text: several targets, PyPI and PyTorch indexes, Arm, a compiled package, a compiler.
pub(crate) fn text() -> String {
    include_str!("sample.toml").to_owned()
}

/// The same, read.
pub(crate) fn lock() -> Lockfile {
    Lockfile::parse(&text(), "sample.lock").expect("the sample is a lock")
}
