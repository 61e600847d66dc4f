//! The grammar of environment markers, and what a comparison means, as `packaging` has both.
//!
//! pep508_rs keeps the algebra (what excludes what). It is not asked to read whole markers, because
//! it skips comparisons that it finds strange, and a skipped one holds everywhere: a list with commas
//! (`python_version in "3.9,3.10"`), or `platform_version < "5"`. It also panics on `é` behind one.
//!
//! Source: PyPA specifications, "Dependency specifiers"; packaging's `_parser.py` and `markers.py`.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifier};
use pep508_rs::MarkerTree;

use super::{Platform, PythonVersion, normalise_name, shown};

/// Brackets inside each other, at most this deep.
const MAX_DEPTH: usize = 50;

/// Names of variables, the old ones too, and which they are.
const VARIABLES: &[(&str, Variable)] = &[
    ("python_version", Variable::PythonVersion),
    ("python_full_version", Variable::PythonFullVersion),
    ("os_name", Variable::OsName),
    ("os.name", Variable::OsName),
    ("sys_platform", Variable::SysPlatform),
    ("sys.platform", Variable::SysPlatform),
    ("platform_release", Variable::PlatformRelease),
    ("platform_system", Variable::PlatformSystem),
    ("platform_version", Variable::PlatformVersion),
    ("platform.version", Variable::PlatformVersion),
    ("platform_machine", Variable::PlatformMachine),
    ("platform.machine", Variable::PlatformMachine),
    ("platform_python_implementation", Variable::PythonImplementation),
    ("platform.python_implementation", Variable::PythonImplementation),
    ("python_implementation", Variable::PythonImplementation),
    ("implementation_name", Variable::ImplementationName),
    ("implementation_version", Variable::ImplementationVersion),
    ("extra", Variable::Extra),
];

/// What a marker asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `3.12`
    PythonVersion,
    /// `3.12.4`
    PythonFullVersion,
    /// `posix`
    OsName,
    /// `linux`
    SysPlatform,
    /// Release of the kernel.
    PlatformRelease,
    /// `Linux`
    PlatformSystem,
    /// Build of the kernel.
    PlatformVersion,
    /// `x86_64`
    PlatformMachine,
    /// `CPython`
    PythonImplementation,
    /// `cpython`
    ImplementationName,
    /// As `PythonFullVersion`, for CPython.
    ImplementationVersion,
    /// The extra that is asked for.
    Extra,
}

impl Variable {
    /// The name that is not out of date.
    fn name(self) -> &'static str {
        // The first of its names is the one of today.
        VARIABLES.iter().find(|(_, variable)| *variable == self).map_or("", |(name, _)| name)
    }

    /// Whether its values are compared as versions, when both sides are some.
    const fn is_version(self) -> bool {
        matches!(
            self,
            Self::PythonVersion
                | Self::PythonFullVersion
                | Self::ImplementationVersion
                | Self::PlatformRelease
        )
    }
}

/// A marker, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// One comparison.
    Compare(Compare),
    /// All hold. Without any: everywhere.
    All(Vec<Condition>),
    /// One holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// `python_version >= "3.10"`, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    variable: Variable,
    /// `==`, `in`, `not in` ...
    operator: &'static str,
    value: String,
    /// The value stands on the left.
    turned: bool,
}

impl Condition {
    /// Reads a marker.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut cursor = Cursor { rest: text };
        let condition = cursor.any(0)?;
        match cursor.rest {
            "" => Ok(condition),
            rest => Err(format!("expected `and`, `or` or the end, found `{}`", shown(rest))),
        }
    }

    /// Whether it holds where the variables have these values.
    pub fn holds<'v>(&self, value: &impl Fn(Variable) -> &'v str) -> bool {
        match self {
            Self::Compare(compare) => compare.holds(value(compare.variable)),
            Self::All(list) => list.iter().all(|inner| inner.holds(value)),
            Self::Any(list) => list.iter().any(|inner| inner.holds(value)),
            Self::Not(inner) => !inner.holds(value),
        }
    }

    /// Whether it holds there, with these extras asked for: as pip does, for one after the other.
    pub fn holds_in(&self, setting: &Setting, extras: &[String]) -> bool {
        let with = |extra: &str| {
            self.holds(&|variable| match variable {
                Variable::Extra => extra,
                variable => setting.value(variable),
            })
        };
        if extras.is_empty() { with("") } else { extras.iter().any(|e| with(&normalise_name(e))) }
    }

    /// The same, for the algebra.
    pub fn tree(&self) -> MarkerTree {
        match self {
            Self::Compare(compare) => compare.tree(),
            Self::All(list) => list.iter().fold(MarkerTree::TRUE, |mut all, inner| {
                all.and(inner.tree());
                all
            }),
            Self::Any(list) => list.iter().fold(MarkerTree::FALSE, |mut any, inner| {
                any.or(inner.tree());
                any
            }),
            Self::Not(inner) => inner.tree().negate(),
        }
    }
}

impl Compare {
    /// As versions where both sides are versions, otherwise as texts; a text has no order.
    fn holds(&self, actual: &str) -> bool {
        let given = match self.variable {
            Variable::Extra => &normalise_name(&self.value),
            _ => &self.value,
        };
        let (left, right) =
            if self.turned { (given.as_str(), actual) } else { (actual, given.as_str()) };
        if self.variable.is_version()
            && let Ok(specifier) =
                VersionSpecifier::from_str(&format!("{}{}", self.operator, right.trim()))
        {
            // pep440_rs ends a `.*` where the version ends: `3.12` would be `==3.12.1.*`.
            let parts = specifier.version().release().len();
            return Version::from_str(left).is_ok_and(|version| {
                let padding = parts.saturating_sub(version.release().len());
                let release = version.release().iter().copied();
                let padded: Vec<u64> = release.chain(std::iter::repeat_n(0, padding)).collect();
                specifier.contains(&version.with_release(padded))
            });
        }
        match self.operator {
            "in" => right.contains(left),
            "not in" => !right.contains(left),
            "==" | "<=" | ">=" => left == right,
            "!=" => left != right,
            _ => false,
        }
    }

    /// Whether it means something for every value that the variable may have.
    fn is_defined(&self) -> bool {
        !matches!(self.operator, "~=" | "===")
            || self.variable.is_version()
                && (self.turned
                    || VersionSpecifier::from_str(&format!(
                        "{}{}",
                        self.operator,
                        self.value.trim()
                    ))
                    .is_ok())
    }

    fn tree(&self) -> MarkerTree {
        let plain = matches!(self.operator, "==" | "!=" | "<" | "<=" | ">" | ">=") && !self.turned;
        match (self.variable, self.operator) {
            // Every Python there is or soon will be, one by one.
            (Variable::PythonVersion, _) if !plain => {
                let pythons = (0..40).map(|minor| format!("3.{minor}")).chain(["2.7".into()]);
                let held = pythons.filter(|python| self.holds(python));
                held.fold(MarkerTree::FALSE, |mut any, python| {
                    any.or(comparison(Variable::PythonVersion, "==", &python));
                    any
                })
            }
            (variable, "<" | ">") if !variable.is_version() => MarkerTree::FALSE,
            (variable, "<=" | ">=") if !variable.is_version() => {
                comparison(variable, "==", &self.value)
            }
            (variable, operator) if self.turned => {
                let quote = if self.value.contains('"') { '\'' } else { '"' };
                let text = format!("{quote}{}{quote} {operator} {}", self.value, variable.name());
                MarkerTree::from_str(&text).unwrap_or(MarkerTree::TRUE)
            }
            (variable, operator) => comparison(variable, operator, &self.value),
        }
    }
}

fn comparison(variable: Variable, operator: &str, value: &str) -> MarkerTree {
    let quote = if value.contains('"') { '\'' } else { '"' };
    let text = format!("{} {operator} {quote}{value}{quote}", variable.name());
    MarkerTree::from_str(&text).unwrap_or(MarkerTree::TRUE)
}

/// The environment of a target. What a container does not decide (the kernel's release) is empty.
#[derive(Debug, Clone)]
pub struct Setting {
    platform: Platform,
    /// `3.12`
    python: String,
    /// `3.12.4`
    full: String,
}

impl Setting {
    /// CPython of this version on this platform.
    pub fn new(platform: Platform, python: PythonVersion) -> Self {
        let full = python.pep440().to_string();
        Self { platform, python: format!("3.{}", python.minor), full }
    }

    /// The value of a variable there.
    pub fn value(&self, variable: Variable) -> &str {
        let (os_name, sys_platform, platform_system) = match self.platform {
            Platform::LinuxAmd64 | Platform::LinuxArm64 | Platform::LinuxPpc64le => {
                ("posix", "linux", "Linux")
            }
            Platform::WindowsAmd64 | Platform::WindowsArm64 => ("nt", "win32", "Windows"),
            Platform::MacosArm64 | Platform::MacosAmd64 => ("posix", "darwin", "Darwin"),
        };
        match variable {
            Variable::PythonVersion => &self.python,
            Variable::PythonFullVersion | Variable::ImplementationVersion => &self.full,
            Variable::OsName => os_name,
            Variable::SysPlatform => sys_platform,
            Variable::PlatformSystem => platform_system,
            Variable::PlatformMachine => match self.platform {
                Platform::LinuxAmd64 | Platform::MacosAmd64 => "x86_64",
                Platform::LinuxArm64 => "aarch64",
                Platform::LinuxPpc64le => "ppc64le",
                Platform::WindowsAmd64 => "AMD64",
                Platform::WindowsArm64 => "ARM64",
                Platform::MacosArm64 => "arm64",
            },
            Variable::PythonImplementation => "CPython",
            Variable::ImplementationName => "cpython",
            Variable::PlatformRelease | Variable::PlatformVersion | Variable::Extra => "",
        }
    }
}

/// What is left to read.
struct Cursor<'t> {
    rest: &'t str,
}

/// One side of a comparison.
enum Side {
    Variable(Variable),
    Value(String),
}

impl Cursor<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A word that no letter, number or `_` continues.
    fn eat_word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut list = vec![self.all(depth)?];
        while self.eat_word("or") {
            list.push(self.all(depth)?);
        }
        Ok(if list.len() == 1 { list.remove(0) } else { Condition::Any(list) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut list = vec![self.one(depth)?];
        while self.eat_word("and") {
            list.push(self.one(depth)?);
        }
        Ok(if list.len() == 1 { list.remove(0) } else { Condition::All(list) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        self.space();
        let condition = if self.eat("(") {
            if depth == MAX_DEPTH {
                return Err(format!("more than {MAX_DEPTH} brackets inside each other"));
            }
            let inner = self.any(depth + 1)?;
            if !self.eat(")") {
                return Err(format!("expected `)`, found {}", self.found()));
            }
            inner
        } else {
            Condition::Compare(self.compare()?)
        };
        self.space();
        Ok(condition)
    }

    fn compare(&mut self) -> Result<Compare, String> {
        let start = self.rest;
        let left = self.side()?;
        self.space();
        let operator = self.operator()?;
        self.space();
        let right = self.side()?;
        let given = &start[..start.len() - self.rest.len()];
        let compare = match (left, right) {
            (Side::Variable(variable), Side::Value(value)) => {
                Compare { variable, operator, value, turned: false }
            }
            (Side::Value(value), Side::Variable(variable)) => {
                Compare { variable, operator, value, turned: true }
            }
            _ => {
                return Err(format!("`{}` compares no variable with a text", shown(given)));
            }
        };
        if !compare.is_defined() {
            return Err(format!("`{}` means nothing for what is no version", shown(given)));
        }
        Ok(compare)
    }

    fn side(&mut self) -> Result<Side, String> {
        for quote in ['"', '\''] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                let Some((value, rest)) = rest.split_once(quote) else {
                    return Err(format!("`{}` lacks its closing quote", shown(self.rest)));
                };
                self.rest = rest;
                return Ok(Side::Value(value.to_owned()));
            }
        }
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        match VARIABLES.iter().find(|(known, _)| *known == name) {
            Some((_, variable)) => {
                self.rest = &self.rest[end..];
                Ok(Side::Variable(*variable))
            }
            None => {
                Err(format!("expected a marker variable or a quoted text, found {}", self.found()))
            }
        }
    }

    fn operator(&mut self) -> Result<&'static str, String> {
        if self.eat_word("in") {
            return Ok("in");
        }
        if self.eat_word("not") {
            let spaced = self.rest.starts_with([' ', '\t']);
            self.space();
            if spaced && self.eat_word("in") {
                return Ok("not in");
            }
        }
        let known = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
        known.into_iter().find(|operator| self.eat(operator)).ok_or_else(|| {
            format!("expected a comparison such as `>=` or `in`, found {}", self.found())
        })
    }

    fn found(&self) -> String {
        match self.rest.split([' ', '\t']).next() {
            None | Some("") => "the end".into(),
            Some(word) => format!("`{}`", shown(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, python: &'static str) -> bool {
        let condition = Condition::parse(text).expect(text);
        condition.holds(&|variable| match variable {
            Variable::PythonVersion => python,
            Variable::SysPlatform => "linux",
            _ => "",
        })
    }

    #[test]
    fn comparisons_mean_what_packaging_says() {
        for (text, python, held) in [
            ("python_version in '3.9,3.11'", "3.11", true),
            ("python_version in '3.9,3.11'", "3.10", false),
            ("python_version not in '2.6, 2.7, 3.2'", "3.12", true),
            ("python_version ~= '3.10.0'", "3.11", false),
            ("'3.10' <= python_version", "3.9", false),
            ("sys_platform > 'a'", "3.11", false),
            ("'lin' in sys_platform and(python_version>'3.9')", "3.10", true),
            ("os.name == 'nt' or python_version == '3.*'", "3.10", true),
            ("platform_release >= '5.15'", "3.10", false),
            ("python_version == '3.10.1.*'", "3.10", false),
        ] {
            assert_eq!(holds(text, python), held, "{text} on {python}");
        }
    }

    #[test]
    fn what_is_no_marker_is_refused() {
        let deep = format!("{}os_name == 'nt'{}", "(".repeat(99_999), ")".repeat(99_999));
        for text in [
            "os_name == 'a' é",
            "os_name = 'a'",
            "os_name == 'a",
            "os_name 'a'",
            "'a' == 'a'",
            "extras == 'a'",
            "os_name ~= 'a'",
            "python_version notin '3'",
            "(os_name == 'a'",
            "os_name == 'a' or",
            "",
            &deep,
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_algebra_agrees() {
        let tree = |text: &str| Condition::parse(text).expect(text).tree();
        assert!(
            tree("python_version in '3.9,3.11'").is_disjoint(&tree("python_version == '3.10'"))
        );
        assert!(
            !tree("python_version in '3.9,3.11'").is_disjoint(&tree("python_version < '3.10'"))
        );
        assert!(tree("sys_platform < 'z'").is_false());
        assert!(tree("'linux' == sys_platform").is_disjoint(&tree("sys.platform == 'win32'")));
    }
}
