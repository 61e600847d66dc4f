//! Conda's way to name a package: `pytorch=2.1.0=py3.10_cuda12.1_cudnn8.9.2_0`.
//!
//! Source: conda's documentation, "Package match specifications". A spec that PEP 440 has no words
//! for is said to be unread, and never rounded to something near it.

use std::str::FromStr as _;

use pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use version_ranges::Ranges;

use super::demand::{countable, ranges};
use crate::domain::{CudaVersion, WheelVariant, shown};

/// What a version constraint can begin with.
const OPERATORS: [char; 5] = ['=', '<', '>', '!', '~'];

/// A match spec, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchSpec {
    /// Name of the conda package, without its channel.
    pub name: String,
    /// Versions as written, without spaces; `None`: any.
    pub version: Option<String>,
    /// Build string, often with `*`.
    pub build: Option<String>,
}

/// What a build string tells of CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildCuda {
    /// `12.1`, `12`, `*` for any CUDA, `cpu`.
    pub given: String,
    /// The build, when it names exactly one.
    pub variant: Option<WheelVariant>,
}

impl MatchSpec {
    /// Reads a spec with its name: `conda-forge::pytorch=2.1`, `pytorch[version='>=2']`.
    ///
    /// # Errors
    /// Why its text alone does not say which package it is.
    pub fn read(given: &str) -> Result<Self, String> {
        let text = given.split(" #").next().unwrap_or_default().trim();
        if ["{{", "{%", "${"].iter().any(|hole| text.contains(hole)) {
            return Err(format!("`{}` is filled in when the environment is made", shown(given)));
        }
        if let Some(stem) = [".conda", ".tar.bz2"].iter().find_map(|end| text.strip_suffix(end)) {
            return Self::of_file(stem)
                .ok_or_else(|| format!("`{}` is no name of a conda package", shown(given)));
        }
        let (text, brackets) = match text.split_once('[') {
            Some((head, tail)) if tail.ends_with(']') => (head, tail.trim_end_matches(']')),
            _ => (text, ""),
        };
        // The channel may be an address, so the last `::` counts.
        let text = text.rsplit_once("::").map_or(text, |(_, name)| name).trim();
        let ends = |c: char| c.is_whitespace() || OPERATORS.contains(&c) || "|,*".contains(c);
        let (name, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) || rest.starts_with('*') {
            return Err(format!("`{}` names no single conda package", shown(given)));
        }
        let mut spec = Self::of(name, rest);
        for (key, value) in pairs(brackets) {
            match key {
                "version" => spec.version = Self::of(name, value).version,
                "build" => spec.build = Some(value.to_owned()),
                _ => (),
            }
        }
        Ok(spec)
    }

    /// Reads a spec whose name stands elsewhere, as in `pytorch = "2.1.* cuda*"`.
    pub fn of(name: &str, rest: &str) -> Self {
        let rest = tidy(rest);
        let head = rest.find(|c| !OPERATORS.contains(&c)).unwrap_or(rest.len());
        let mut before = '=';
        let cut = rest[head..].char_indices().find_map(|(at, c)| {
            let joins = OPERATORS.contains(&before) || matches!(before, ',' | '|');
            before = c;
            (c == ' ' || c == '=' && !joins).then_some(head + at)
        });
        let (version, build) = match cut {
            // `2.1 ==...` would be two versions: the second half of an operator is no build.
            Some(at) if !rest[at + 1..].starts_with(OPERATORS) => {
                (&rest[..at], Some(rest[at + 1..].trim()))
            }
            _ => (rest.as_str(), None),
        };
        let any = matches!(version, "" | "*" | "=*" | "==*" | ">=*");
        Self {
            name: name.to_ascii_lowercase(),
            version: (!any).then(|| version.to_owned()),
            build: build.filter(|b| !b.is_empty() && *b != "*").map(str::to_owned),
        }
    }

    /// `https://.../linux-64/pytorch-2.1.0-py3.10_cuda12.1_cudnn8.9.2_0`
    fn of_file(stem: &str) -> Option<Self> {
        let file = stem.rsplit(['/', '\\']).next()?;
        let mut parts = file.rsplitn(3, '-');
        let (build, version, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            name: name.to_ascii_lowercase(),
            version: Some(format!("=={version}")),
            build: Some(build.to_owned()),
        })
    }

    /// Versions as written, without conda's leading `=`; `*`: any.
    pub fn written(&self) -> String {
        let text = self.version.as_deref().unwrap_or("*");
        let fuzzy = text.starts_with('=') && !text.starts_with("==");
        text[usize::from(fuzzy)..].to_owned()
    }

    /// Versions in PEP 440's words.
    ///
    /// # Errors
    /// PEP 440 has no words for it.
    pub fn versions(&self) -> Result<VersionSpecifiers, String> {
        let Some(text) = &self.version else { return Ok(VersionSpecifiers::default()) };
        if text.contains('|') {
            return Err(format!(
                "`{} {}` names alternatives: any version of it is taken",
                self.name,
                shown(text)
            ));
        }
        // `=2.1` is every 2.1, but `=2.1=build` is 2.1 itself.
        let exact = self.build.is_some() && !text.contains(',');
        let all: Option<Vec<VersionSpecifier>> = text
            .split(',')
            .filter(|item| !matches!(*item, "*" | ""))
            .map(|item| specifier(item, exact))
            .collect();
        all.map(VersionSpecifiers::from_iter)
            .ok_or_else(|| format!("`{} {}` is no version that PyPI knows", self.name, shown(text)))
    }

    /// What the build string tells of CUDA.
    pub fn build_cuda(&self) -> Option<BuildCuda> {
        let build = self.build.as_deref()?.to_ascii_lowercase();
        let cpu = build.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "cpu");
        if cpu {
            return Some(BuildCuda { given: "cpu".into(), variant: Some(WheelVariant::Cpu) });
        }
        let digits = after(&build, "cuda")?;
        let given = match digits.len() {
            _ if digits.contains('.') => digits.split('.').take(2).collect::<Vec<_>>().join("."),
            0 => "*".to_owned(),
            1 | 2 => digits.to_owned(),
            // `cuda120`: the last digit is the minor.
            len => format!("{}.{}", &digits[..len - 1], &digits[len - 1..]),
        };
        let variant = given.parse::<CudaVersion>().ok().and_then(WheelVariant::of_cuda);
        Some(BuildCuda { given, variant })
    }

    /// The Python that the build string names: `py3.10` and `py310` are `3.10`.
    pub fn build_python(&self) -> Option<String> {
        let build = self.build.as_deref()?;
        let digits = after(build, "py")?;
        let dotted = match digits.split_once('.') {
            Some(_) => digits.to_owned(),
            None if digits.len() > 1 => format!("{}.{}", &digits[..1], &digits[1..]),
            None => return None,
        };
        (dotted.starts_with("3.") && dotted.len() <= 4).then_some(dotted)
    }
}

/// The CUDA series that a range does not leave, as a build: `12.1`, `12.1.*`, `>=12.4,<12.5`.
pub fn series(versions: &VersionSpecifiers) -> Option<WheelVariant> {
    let all = ranges(versions);
    versions.iter().find_map(|spec| {
        let [major, minor, ..] = *spec.version().release() else { return None };
        let below = matches!(spec.operator(), Operator::LessThan | Operator::LessThanEqual);
        let next = Version::new([major, minor.checked_add(1)?]);
        let one = Ranges::from_range_bounds(Version::new([major, minor]).with_dev(Some(0))..next);
        let cuda = CudaVersion::from_str(&format!("{major}.{minor}")).ok()?;
        (!below && major >= 9 && all.subset_of(&one)).then(|| WheelVariant::of_cuda(cuda))?
    })
}

/// Spaces around operators mean nothing; the others part version and build.
fn tidy(text: &str) -> String {
    let joins = |c: char| OPERATORS.contains(&c) || matches!(c, ',' | '|');
    text.split_whitespace().fold(String::new(), |mut out, word| {
        if !out.is_empty() && !out.ends_with(joins) && !word.starts_with(joins) {
            out.push(' ');
        }
        out.push_str(word);
        out
    })
}

/// `version='>=2,<3', build=cuda*` as keys and values.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, tail) = match quote {
            Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        out.push((key.trim_matches([',', ' ']), value.trim()));
        rest = tail;
    }
    out
}

/// The number behind a word that does not stand inside another word: `12.1` behind `cuda`.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (at, _) = text.match_indices(word).find(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphabetic())
    })?;
    let rest = &text[at + word.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Some(rest[..end].trim_matches('.'))
}

/// One constraint of a spec in PEP 440's words.
fn specifier(item: &str, exact: bool) -> Option<VersionSpecifier> {
    let (operator, version) = item.split_at(item.find(|c| !OPERATORS.contains(&c))?);
    let bare = version.strip_suffix(".*").or_else(|| version.strip_suffix('*'));
    let star = bare.is_some();
    let version = bare.unwrap_or(version);
    let (operator, tail) = match (operator, star) {
        ("" | "==" | "=", true) => ("==", ".*"),
        ("=", false) if !exact => ("==", ".*"),
        ("" | "==" | "=", false) => ("==", ""),
        ("!=", true) => ("!=", ".*"),
        // Conda ignores the `.*` of `>=2.1.*` as well.
        ("!=" | "~=", false) | (">=" | "<=" | ">" | "<", _) => (operator, ""),
        _ => return None,
    };
    let version = Version::from_str(version).ok()?;
    // `=2.1.0rc1` has nothing below it that a `.*` could stand for.
    let tail = if version.any_prerelease() || version.is_local() { "" } else { tail };
    let spec = VersionSpecifier::from_str(&format!("{operator}{version}{tail}")).ok()?;
    countable(spec.version()).then_some(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> String {
        let spec = MatchSpec::read(text).expect(text);
        let all = spec.versions().unwrap_or_else(|why| panic!("{text}: {why}"));
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn versions_in_words_of_pep_440() {
        for (text, expected) in [
            ("pytorch", ""),
            ("pytorch *", ""),
            ("pytorch=2.1", "==2.1.*"),
            ("pytorch = 2.1", "==2.1.*"),
            ("pytorch=2.1.*", "==2.1.*"),
            ("pytorch 2.1*", "==2.1.*"),
            ("pytorch 2.1.*", "==2.1.*"),
            ("pytorch 2.1.0", "==2.1.0"),
            ("pytorch==2.1.0", "==2.1.0"),
            ("pytorch=2.1.0rc1", "==2.1.0rc1"),
            ("pytorch>=2.0,<3", ">=2.0,<3"),
            ("pytorch >= 2.0, < 3.0a0", ">=2.0,<3.0a0"),
            ("pytorch>=2.1.*", ">=2.1"),
            ("pytorch~=2.1", "~=2.1"),
            ("pytorch!=2.1.*,>=2", ">=2,!=2.1.*"),
            ("pytorch=2.1.0=py3.10_cuda12.1_cudnn8.9.2_0", "==2.1.0"),
            ("pytorch 2.1.0 py3.10_cuda12.1_cudnn8.9.2_0", "==2.1.0"),
            ("pytorch=2.1=cuda*", "==2.1"),
            ("pytorch=2.1.*=*cuda*", "==2.1.*"),
            ("pytorch=*=cuda120*", ""),
            ("pytorch *=cuda120*", ""),
            ("pytorch >=2.0 cuda*", ">=2.0"),
            ("pytorch::pytorch=2.1.0", "==2.1.0.*"),
            ("nvidia/label/cuda-12.1.0::cuda-toolkit", ""),
            ("https://conda.example/pytorch::pytorch>=2", ">=2"),
            ("pytorch[version='>=2,<3',build=cuda*]", ">=2,<3"),
            ("conda-forge::pytorch[version=2.1.*]", "==2.1.*"),
            ("https://x.example/linux-64/pytorch-2.1.0-py3.10_cpu_0.tar.bz2", "==2.1.0"),
        ] {
            assert_eq!(versions(text), expected, "{text}");
        }
    }

    #[test]
    fn what_pep_440_has_no_words_for() {
        for text in ["a=2.1|2.2", "a 2.*.1", "a=2022g", "a>=", "a >=2 <3", "a=99999999999999999"] {
            assert!(MatchSpec::read(text).expect(text).versions().is_err(), "{text}");
        }
        for text in ["", "*", "pytorch*", "=2.1", "{{ name }}=2", "pytorch=${V}", "a b:c::", "ä=1"]
        {
            assert!(MatchSpec::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn builds_tell_cuda_and_python() {
        for (build, cuda, variant, python) in [
            ("py3.10_cuda12.1_cudnn8.9.2_0", Some("12.1"), Some("cu121"), Some("3.10")),
            ("cuda120_py39h123", Some("12.0"), Some("cu120"), Some("3.9")),
            ("cuda112py310h5_200", Some("11.2"), Some("cu112"), Some("3.10")),
            ("cuda12*", Some("12"), None, None),
            ("*cuda*", Some("*"), None, None),
            ("cpu_generic*", Some("cpu"), Some("cpu"), None),
            ("py3.8_cpu_0", Some("cpu"), Some("cpu"), Some("3.8")),
            ("*nocuda*", None, None, None),
            ("py3*", None, None, None),
            ("mkl_numpy126", None, None, None),
        ] {
            let spec = MatchSpec::of("pytorch", &format!("*={build}"));
            let found = spec.build_cuda();
            assert_eq!(found.as_ref().map(|c| c.given.as_str()), cuda, "{build}");
            let named = found.and_then(|c| c.variant).map(|v| v.to_string());
            assert_eq!(named.as_deref(), variant, "{build}");
            assert_eq!(spec.build_python().as_deref(), python, "{build}");
        }
    }

    #[test]
    fn ranges_that_stay_in_one_series() {
        for (text, expected) in [
            ("12.1", Some("cu121")),
            ("=12.1", Some("cu121")),
            ("12.1.*", Some("cu121")),
            ("==11.8.0", Some("cu118")),
            (">=12.4,<12.5", Some("cu124")),
            (">=12.4,<12.5.0a0", Some("cu124")),
            ("~=12.4.1", Some("cu124")),
            (">=12.4,<13", None),
            ("12", None),
            ("=12", None),
            ("*", None),
            ("<12.5", None),
            ("!=12.4", None),
        ] {
            let all = MatchSpec::of("cuda-version", text).versions().expect(text);
            assert_eq!(series(&all).map(|v| v.to_string()).as_deref(), expected, "{text}");
        }
    }
}
