//! Environment markers (PEP 508), evaluated for the machine that the image will run on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr as _;

use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree};

use crate::domain::{Condition, Platform, PythonVersion, Setting, Variable};

/// Longest marker that is read, in bytes.
const MAX_BYTES: usize = 4096;
/// Digits of one number: what compares versions counts on from them.
const MAX_DIGITS: usize = 18;
/// Brackets within brackets.
const MAX_DEPTH: usize = 32;
/// Environments that a marker may tell apart: what it costs to compare it with another grows with
/// them. An export with six extras that exclude each other has some ten thousand.
const MAX_CASES: usize = 1 << 16;

/// A condition on the environment, as written and as it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    text: Option<String>,
    condition: Condition,
    /// The same, for the algebra.
    tree: MarkerTree,
}

impl Default for Marker {
    fn default() -> Self {
        Self { text: None, condition: Condition::All(Vec::new()), tree: MarkerTree::TRUE }
    }
}

impl Marker {
    /// Reads a marker. An empty text holds everywhere.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(Self::default());
        }
        bounded(text)?;
        let condition = Condition::parse(text)?;
        let tree = condition.tree();
        Ok(Self { text: Some(text.to_owned()), condition, tree })
    }

    /// Both hold. Of two that are too much together, the first is what is compared.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut tree = self.tree.clone();
        if self.comparable(other) {
            tree.and(other.tree.clone());
        }
        let wrap = |text: &String| {
            if text.contains(" or ") { format!("({text})") } else { text.clone() }
        };
        let text = match (&self.text, &other.text) {
            // One that follows from the other says nothing more.
            (Some(a), Some(_)) if tree == self.tree => Some(a.clone()),
            (Some(_), Some(b)) if tree == other.tree => Some(b.clone()),
            (Some(a), Some(b)) => Some(format!("{} and {}", wrap(a), wrap(b))),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let condition = Condition::All(vec![self.condition.clone(), other.condition.clone()]);
        Self { text, condition, tree }
    }

    fn comparable(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (&self.text, &other.text) else { return true };
        // Most are short: together they stay below the bounds.
        a.len() + b.len() < 200 || bounded(&format!("{a} and {b}")).is_ok()
    }

    /// None of these holds. Whoever asks has seen to it that they are few.
    pub fn none_of<'a>(markers: impl Iterator<Item = &'a Self>) -> Self {
        let any = Condition::Any(markers.map(|marker| marker.condition.clone()).collect());
        let condition = Condition::Not(Box::new(any));
        let tree = condition.tree();
        Self { text: tree.try_to_string(), condition, tree }
    }

    /// Whether it says `extra != 'name'`.
    pub fn forbids_extra(&self, name: &str) -> bool {
        let text = self.text.as_deref().unwrap_or_default().replace([' ', '"', '\''], "");
        text.match_indices("extra!=").any(|(at, word)| {
            let rest = &text[at + word.len()..];
            rest.strip_prefix(name).is_some_and(|rest| {
                rest.is_empty()
                    || rest.starts_with("and")
                    || rest.starts_with("or")
                    || rest.starts_with(')')
            })
        })
    }

    /// Whether some environment satisfies it when just this extra is asked for.
    pub fn allows_extra(&self, extra: &str) -> bool {
        ExtraName::from_str(extra).is_ok_and(|name| self.tree.evaluate_extras(&[name]))
    }

    /// As written; `None`: holds everywhere.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Whether it never holds.
    pub fn is_never(&self) -> bool {
        self.tree.is_false()
    }

    /// Whether no environment satisfies both.
    pub fn excludes(&self, other: &Self) -> bool {
        self.comparable(other) && self.tree.is_disjoint(&other.tree)
    }

    /// Whether some machine that this program knows of satisfies both.
    pub fn meets(&self, other: &Self) -> bool {
        if self.tree.is_true() || other.tree.is_true() {
            return !self.tree.is_false() && !other.tree.is_false();
        }
        if self.excludes(other) {
            return false;
        }
        let mut both = self.tree.clone();
        both.and(other.tree.clone());
        // Whatever extras are asked for: those were compared already.
        let both = both.simplify_extras_with(|_| true);
        Platform::ALL.iter().any(|platform| {
            let mut minors = PythonVersion::MINORS;
            minors.any(|minor| {
                both.evaluate(&algebra(&Setting::new(*platform, PythonVersion::new(minor))), &[])
            })
        })
    }

    /// Whether it holds there, with these extras asked for: as pip does, for one after the other.
    pub fn holds(&self, setting: &Setting, extras: &[String]) -> bool {
        self.condition.holds_in(setting, extras)
    }
}

/// Whether a marker can be read and compared in a moment. The tree behind it doubles with every
/// comparison that is independent of the others.
///
/// # Errors
/// What there is too much of.
pub fn bounded(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("a marker longer than the {MAX_BYTES} bytes that are read"));
    }
    if text.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() > MAX_DIGITS) {
        return Err("a marker with a number that no version has".into());
    }
    let mut depth = 0_usize;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut name, mut value, mut is_in) = (None, None, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '"' | '\'' => {
                let inner = &rest[1..];
                let end = inner.find(c).unwrap_or(inner.len());
                value = Some(&inner[..end]);
                (end + 2).min(rest.len())
            }
            c if c.is_ascii_alphabetic() => {
                let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
                let word = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
                match word {
                    "and" | "or" | "not" => (),
                    "in" => is_in = true,
                    word => name = Some(word),
                }
                word.len()
            }
            '(' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("a marker nested more than {MAX_DEPTH} deep"));
                }
                1
            }
            ')' => {
                depth = depth.saturating_sub(1);
                1
            }
            c => c.len_utf8(),
        };
        rest = &rest[len..];
        if let (Some(of), Some(is)) = (name, value) {
            // Each of these is true or false whatever the others are.
            let alone = is_in || of == "extra";
            values.entry(if alone { is } else { of }).or_default().insert(is);
            (name, value, is_in) = (None, None, false);
        }
    }
    let cases = values.values().fold(1_usize, |all, v| all.saturating_mul(v.len() + 1));
    if cases > MAX_CASES {
        return Err("a marker that tells too many environments apart".into());
    }
    Ok(())
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or("everywhere"))
    }
}

/// An environment, for the algebra.
fn algebra(setting: &Setting) -> MarkerEnvironment {
    let environment = MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: setting.value(Variable::ImplementationName),
        implementation_version: setting.value(Variable::ImplementationVersion),
        os_name: setting.value(Variable::OsName),
        platform_machine: setting.value(Variable::PlatformMachine),
        platform_python_implementation: setting.value(Variable::PythonImplementation),
        platform_release: "",
        platform_system: setting.value(Variable::PlatformSystem),
        platform_version: "",
        python_full_version: setting.value(Variable::PythonFullVersion),
        python_version: setting.value(Variable::PythonVersion),
        sys_platform: setting.value(Variable::SysPlatform),
    });
    environment.expect("versions made of numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_judged_for_the_target() {
        let linux = Setting::new(Platform::LinuxAmd64, PythonVersion::new(12));
        let arm = Setting::new(Platform::LinuxArm64, PythonVersion::new(10));
        let marker = |text: &str| Marker::parse(text).expect(text);
        assert!(marker("sys_platform == 'linux' and python_version >= '3.12'").holds(&linux, &[]));
        assert!(!marker("platform_machine == 'x86_64'").holds(&arm, &[]));
        assert!(marker("extra == 'gpu'").holds(&linux, &["gpu".into()]));
        assert!(!marker("extra == 'gpu'").holds(&linux, &[]));
        assert!(marker("sys_platform == 'linux'").excludes(&marker("sys_platform == 'win32'")));
        assert!(Marker::parse("sys_platform = 'linux'").is_err());
        let mut pairs = (0..40).map(|i| format!("(extra == 'a{i}' and extra == 'b{i}')"));
        let apart = pairs.by_ref().collect::<Vec<_>>().join(" or ");
        for (text, why) in [
            (apart, "too many environments"),
            (vec!["os_name == 'a'"; 400].join(" or "), "4096 bytes"),
            ("(".repeat(1000), "32 deep"),
        ] {
            assert!(Marker::parse(&text).is_err_and(|err| err.contains(why)), "{why}");
        }
        let many = |name: &str| (0..120).map(|i| format!("{name} == 'v{i}'")).collect::<Vec<_>>();
        assert!(Marker::parse(&many("os_name").join(" or ")).is_ok());
        let rest = Marker::none_of([marker("sys_platform == 'linux'")].iter());
        assert!(!rest.holds(&linux, &[]) && !rest.is_never());
    }
}
