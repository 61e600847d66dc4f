//! Values that are right by construction.
//!
//! Ground floor: reads no file, opens no library, knows nothing of YAML or of the command line.
//! A value that exists has been checked; each type lists in its tests what it reads and refuses.

mod block;
mod condition;
mod digest;
mod finding;
mod gpu;
mod order;
mod package;
mod platform;
mod version;

pub use block::{BLOCK_END, BLOCK_START, is_block_mark, without_block};
pub use condition::{Compare, Condition, Setting, Variable};
pub use digest::{Hasher, Sha256};
pub use finding::{Code, Fact, Finding, Place, Severity};
pub use gpu::{CodeTarget, ComputeCapability, GpuKind, KernelModule, Suffix, gpu_key};
pub use order::{Gather, Order};
pub use package::{
    OUR_INDEX, Package, extras, held, in_brackets, is_held, names_end_well, normalise_name,
    our_constraint,
};
pub use platform::{Glibc, Platform, PythonTag, PythonVersion, WheelVariant};
pub use version::{
    CudaVersion, CudnnVersion, DriverSpec, DriverVersion, TorchRelease, TorchVersion,
};

/// A text that is no value of the wanted type. Names both sides: what was given, what is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("`{given}` is not {what}: expected {expected}")]
pub struct ParseError {
    /// What the text should have been, with its article: `a driver version`.
    pub what: &'static str,
    /// The text itself, shortened when it is long.
    pub given: String,
    /// The forms that are read.
    pub expected: &'static str,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, given: &str, expected: &'static str) -> Self {
        let given = if given.is_empty() { "(nothing)".into() } else { shown(given) };
        Self { what, given, expected }
    }
}

/// Serde by way of `FromStr` and `Display`, so that a file can hold no value that a flag could not.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;

/// Serde for values that stand in the embedded matrix: numbers there, text everywhere else.
macro_rules! serde_compact {
    ($type:ty, $tuple:ty, $into:expr, $from:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    return s.collect_str(self);
                }
                let into: fn(&$type) -> $tuple = $into;
                into(self).serialize(s)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                let from: fn($tuple) -> $type = $from;
                <$tuple>::deserialize(d).map(from)
            }
        }
    };
}
pub(crate) use serde_compact;

/// A user's text as it may stand in a message: not longer than a name, on one line. What a runner or
/// a terminal would take for a command is spelled out.
pub fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let mut out = String::new();
    for c in text.chars().take(MOST) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    if text.chars().nth(MOST).is_some() {
        out.push_str("...");
    }
    out
}

/// Decimal digits only: `u16::from_str` itself would take a leading plus.
pub(crate) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}
