//! A package as a requirement or a file name states it.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::ParseError;

/// How the names of the indexes begin that this program writes into a pyproject.toml. Its readers pass
/// them by: what follows from a lock asks for nothing.
pub const OUR_INDEX: &str = "gpuseal-";

/// The package that a constraint pins in the form that this program writes into a pyproject.toml:
/// `torch==2.9.1+cu126 ; sys_platform == 'linux' and platform_machine == 'x86_64'`. It is one of ours
/// where the package's index is.
pub fn our_constraint(text: &str) -> Option<String> {
    let (name, rest) = text.split_once("==")?;
    let (_, marker) = rest.split_once(" ; ")?;
    let ours =
        marker.starts_with("sys_platform == '") && marker.contains(" and platform_machine == '");
    ours.then(|| normalise_name(name.trim()))
}

/// A constraint on a package whose index somebody named by hand. Brackets around the marker tell it from
/// theirs: there is no index of ours to tell it by.
pub fn held(constraint: &str) -> String {
    match constraint.split_once(" ; ") {
        Some((pin, marker)) => format!("{pin} ; ({marker})"),
        None => constraint.to_owned(),
    }
}

/// Whether a constraint is one that [`held`] gives.
pub fn is_held(text: &str) -> bool {
    text.split_once(" ; ").is_some_and(|(pin, marker)| {
        let marker = marker.strip_prefix('(').and_then(|marker| marker.strip_suffix(')'));
        marker.is_some_and(|marker| our_constraint(&format!("{pin} ; {marker}")).is_some())
    })
}

/// A further package of an install line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// As given.
    pub given: String,
    /// Name, normalised (PEP 503).
    pub name: String,
    /// Its options that are asked for, normalised.
    pub extras: BTreeSet<String>,
    /// Versions asked for, local labels kept.
    pub versions: pep440_rs::VersionSpecifiers,
    /// The local label of an exact version, as written.
    pub local: Option<String>,
    /// Python tag of a wheel file that was named by its URL.
    pub python: Option<String>,
    /// Platform tag of such a file.
    pub platform: Option<String>,
}

impl Package {
    /// The exact version, when one is pinned.
    pub fn exact(&self) -> Option<&pep440_rs::Version> {
        let mut all = self.versions.iter();
        let first = all.next()?;
        (all.next().is_none()
            && matches!(
                first.operator(),
                pep440_rs::Operator::Equal | pep440_rs::Operator::ExactEqual
            ))
        .then(|| first.version())
    }

    /// Whether a published version (without its label) answers the request.
    pub fn admits(&self, version: &pep440_rs::Version) -> bool {
        let public = version.clone().without_local();
        match self.exact() {
            Some(exact) => exact.clone().without_local() == public,
            None => self.versions.contains(&public),
        }
    }
}

/// Longest requirement that is read, and the longest marker in it, in bytes.
const MAX_BYTES: usize = 2000;
const MAX_MARKER: usize = 200;

impl FromStr for Package {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let err = || {
            ParseError::new(
                "a requirement",
                given,
                "a form like `torchvision==0.21.0+cu118`, `flash-attn>=2` or a wheel's file name",
            )
        };
        if let Some(file) = wheel_file(given) {
            let mut parts = file.trim_end_matches(".whl").split('-');
            let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
                return Err(err());
            };
            let rest: Vec<_> = parts.collect();
            let version = version.replace("%2B", "+").replace("%2b", "+");
            let specifiers = format!("=={version}").parse().map_err(|_| err())?;
            return Ok(Self {
                given: super::shown(given),
                name: normalise_name(name),
                extras: BTreeSet::new(),
                versions: specifiers,
                // `https://.../whl/cu118/xformers-...` says the build by its folder.
                local: version.split_once('+').map(|(_, l)| l.to_owned()).or_else(|| {
                    given
                        .split('/')
                        .rev()
                        .nth(1)
                        .filter(|f| f.parse::<super::WheelVariant>().is_ok())
                        .map(str::to_owned)
                }),
                platform: rest.last().map(|t| (*t).to_owned()),
                python: rest
                    .len()
                    .checked_sub(3)
                    .and_then(|i| rest.get(i))
                    .map(|t| (*t).to_owned()),
            });
        }
        // The parser behind this takes its time for what is long, and for each part of a marker that
        // is independent of the others twice as much; it panics on letters beyond ASCII.
        let marker = given.split_once(';').map_or("", |(_, marker)| marker);
        let long = given.len() > MAX_BYTES || marker.len() > MAX_MARKER;
        if long || !given.is_ascii() || !names_end_well(given) {
            return Err(err());
        }
        let requirement: pep508_rs::Requirement = given.trim().parse().map_err(|_| err())?;
        let versions = match requirement.version_or_url {
            Some(pep508_rs::VersionOrUrl::VersionSpecifier(versions)) => versions,
            Some(pep508_rs::VersionOrUrl::Url(_)) => return Err(err()),
            None => pep440_rs::VersionSpecifiers::default(),
        };
        // pep440 folds case; the label of a flash-attn file does not mind.
        let local = given
            .split_once('+')
            .map(|(_, l)| l.split([',', ';', ' ']).next().unwrap_or_default().to_owned());
        Ok(Self {
            given: super::shown(given),
            name: normalise_name(requirement.name.as_ref()),
            extras: extras(requirement.extras.iter().map(AsRef::as_ref)),
            versions,
            local: local.filter(|l| !l.is_empty()),
            python: None,
            platform: None,
        })
    }
}

/// Whether the name and the extras that a requirement begins with end with a letter or a number. The
/// parser behind it panics on `torch- >=2`.
pub fn names_end_well(given: &str) -> bool {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let given = given.trim_start();
    let (name, rest) = given.split_at(given.find(|c| !belongs(c)).unwrap_or(given.len()));
    let extras = rest.trim_start().strip_prefix('[').unwrap_or_default();
    let extras =
        extras.split(']').next().unwrap_or_default().split(|c: char| c == ',' || c.is_whitespace());
    extras.chain([name]).all(|name| !name.ends_with(['-', '_', '.']))
}

/// Extras as a lock names them. What is none by PEP 508 is left out: a table of another tool may hold
/// any text.
pub fn extras<'t>(given: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
    const LONGEST: usize = 100;
    let named = |name: &String| {
        (1..=LONGEST).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    given.into_iter().map(normalise_name).filter(named).collect()
}

/// `[a,b]`, or nothing where there are none.
pub fn in_brackets(extras: &BTreeSet<String>) -> String {
    if extras.is_empty() {
        return String::new();
    }
    let names: Vec<_> = extras.iter().map(String::as_str).collect();
    format!("[{}]", names.join(","))
}

/// The file name in a wheel's URL, path or direct reference.
fn wheel_file(given: &str) -> Option<&str> {
    let last = given.split(['#', '?']).next()?.trim().rsplit(['/', '\\', ' ']).next()?;
    // The file name of a wheel is lower case here: PEP 427.
    last.strip_suffix(".whl").map(|_| last)
}

/// PEP 503: lower case, runs of `-`, `_` and `.` as one `-`.
pub fn normalise_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !out.ends_with('-') {
                out.push('-');
            }
        } else {
            out.push(c.to_ascii_lowercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_from_what_is_asked() {
        let ours = "torch==2.9.1+cu126 ; sys_platform == 'linux' and platform_machine == 'x86_64'";
        assert!(is_held(&held(ours)) && !is_held(ours) && our_constraint(&held(ours)).is_none());
        held(ours).parse::<Package>().expect("a requirement");
        for text in
            ["", "torch<3", "torch==2 ; (", "torch==2 ; ()", "a ; (sys_platform == 'linux')"]
        {
            assert!(!is_held(text), "{text}");
        }
    }

    #[test]
    fn packages_read_and_refused() {
        let read = |text: &str| text.parse::<Package>().expect(text);
        assert_eq!(read("Flash_Attn>=2").name, "flash-attn");
        assert_eq!(read("torchvision==0.21.0+cu118").local.as_deref(), Some("cu118"));
        let video = read("torchvision[Gdown, sci_py]>=0.21");
        assert_eq!(in_brackets(&video.extras), "[gdown,sci-py]");
        assert_eq!(in_brackets(&extras(["a b", "", "-", "x\n", "é", "ok"])), "[ok]");
        let fa = read("flash-attn==2.7.4.post1+cu12torch2.6cxx11abiFALSE");
        assert_eq!(fa.local.as_deref(), Some("cu12torch2.6cxx11abiFALSE"));
        assert!(fa.admits(&"2.7.4.post1".parse().expect("a version")));
        let file = read(
            "https://x.example/flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl",
        );
        assert_eq!((file.name.as_str(), file.python.as_deref()), ("flash-attn", Some("cp312")));
        for text in [
            "",
            "==1.0",
            "x_ >=2",
            "x; os_name == 'a' éé",
            "torch vision",
            "torchvision==",
            "x @ https://x.example/x.tar.gz",
        ] {
            assert!(text.parse::<Package>().is_err(), "{text}");
        }
    }
}
