//! Environment markers (PEP 508), evaluated for the machine that the image will run on.

use std::fmt;
use std::str::FromStr as _;

use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree};

use crate::domain::{Platform, PythonVersion};

/// Minor versions of Python 3 that a project may be meant for.
const PYTHONS: std::ops::RangeInclusive<u8> = 7..=15;

/// A condition on the environment, as written and as it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    text: Option<String>,
    tree: MarkerTree,
}

impl Default for Marker {
    fn default() -> Self {
        Self { text: None, tree: MarkerTree::TRUE }
    }
}

impl Marker {
    /// Reads a marker. An empty text holds everywhere.
    ///
    /// # Errors
    /// What PEP 508 refuses, in its words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let tree = MarkerTree::from_str(text)
            .map_err(|err| err.to_string().lines().next().unwrap_or_default().to_owned())?;
        Ok(Self { text: Some(text.to_owned()), tree })
    }

    /// A marker as written, beside the tree that was read with its requirement.
    pub fn new(text: Option<&str>, tree: MarkerTree) -> Self {
        let text = text.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        Self { text, tree }
    }

    /// Both hold.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut tree = self.tree.clone();
        tree.and(other.tree.clone());
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
        Self { text, tree }
    }

    /// None of these holds.
    pub fn none_of<'a>(markers: impl Iterator<Item = &'a Self>) -> Self {
        let mut any = MarkerTree::FALSE;
        for marker in markers {
            any.or(marker.tree.clone());
        }
        let tree = any.negate();
        Self { text: tree.try_to_string(), tree }
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
        self.tree.is_disjoint(&other.tree)
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
            PYTHONS.clone().any(|minor| {
                both.evaluate(&Setting::new(*platform, PythonVersion::new(minor)).0, &[])
            })
        })
    }

    /// Whether it holds there, with these extras asked for.
    pub fn holds(&self, setting: &Setting, extras: &[String]) -> bool {
        if self.tree.is_true() {
            return true;
        }
        let extras: Vec<ExtraName> =
            extras.iter().filter_map(|name| ExtraName::from_str(name).ok()).collect();
        self.tree.evaluate(&setting.0, &extras)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or("everywhere"))
    }
}

/// The environment of a target. What a container does not decide (the kernel's release) is empty.
#[derive(Debug, Clone)]
pub struct Setting(MarkerEnvironment);

impl Setting {
    /// CPython of this version on this platform.
    ///
    /// # Panics
    /// Never: the versions are made of numbers.
    pub fn new(platform: Platform, python: PythonVersion) -> Self {
        let (os_name, sys_platform, platform_system) = match platform {
            Platform::LinuxAmd64 | Platform::LinuxArm64 | Platform::LinuxPpc64le => {
                ("posix", "linux", "Linux")
            }
            Platform::WindowsAmd64 | Platform::WindowsArm64 => ("nt", "win32", "Windows"),
            Platform::MacosArm64 | Platform::MacosAmd64 => ("posix", "darwin", "Darwin"),
        };
        let platform_machine = match platform {
            Platform::LinuxAmd64 | Platform::MacosAmd64 => "x86_64",
            Platform::LinuxArm64 => "aarch64",
            Platform::LinuxPpc64le => "ppc64le",
            Platform::WindowsAmd64 => "AMD64",
            Platform::WindowsArm64 => "ARM64",
            Platform::MacosArm64 => "arm64",
        };
        let short = format!("3.{}", python.minor);
        let full = python.pep440().to_string();
        let environment = MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name,
            platform_machine,
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system,
            platform_version: "",
            python_full_version: &full,
            python_version: &short,
            sys_platform,
        });
        Self(environment.expect("versions made of numbers"))
    }
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
        let rest = Marker::none_of([marker("sys_platform == 'linux'")].iter());
        assert!(!rest.holds(&linux, &[]) && !rest.is_never());
    }
}
