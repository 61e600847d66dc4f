//! What a package says of itself: the METADATA file of a wheel, or the copy that an index serves.
//!
//! Source: PyPA specifications, "Core metadata"; the format is that of mail headers.

use std::borrow::Cow;

use pep440_rs::{Version, VersionSpecifiers};

use super::wheel::WheelName;
use super::{has_small_numbers, version};
use crate::domain::{Condition, Setting, names_end_well, normalise_name, shown};

/// Longest text that is read. A README may be in it.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Requirements of one package. The largest that is known to have extras for everything has 700.
const MAX_LINES: usize = 10_000;
/// Longest requirement and longest marker, in bytes.
const MAX_REQUIREMENT: usize = 2000;
const MAX_MARKER: usize = 4096;

/// What of a package's metadata decides what is installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// Normalised.
    pub name: String,
    /// With its local label.
    pub version: Version,
    /// The Pythons that it is for.
    pub requires_python: Option<VersionSpecifiers>,
    /// What it needs, in the order of the file.
    pub requires: Vec<Requirement>,
    /// Extras that it offers, normalised.
    pub extras: Vec<String>,
    /// `Requires-Dist` and `Requires-Python` lines that are not what the specifications describe. pip
    /// stops at the first kind and passes over the second.
    pub unread: Vec<String>,
}

/// One line of what a package needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// As written.
    pub given: String,
    /// Normalised.
    pub name: String,
    /// Extras of it that are asked for, normalised.
    pub extras: Vec<String>,
    /// Versions that will do.
    pub versions: VersionSpecifiers,
    /// The one file that is asked for by its address.
    pub url: Option<String>,
    /// Where it is needed.
    marker: Option<Condition>,
}

/// Why a text is no metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Longer than any.
    #[error("the metadata has {len} bytes, and {MAX_BYTES} are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// More requirements than any.
    #[error("the metadata has more than {MAX_LINES} `{field}` lines")]
    TooMany {
        /// The field.
        field: &'static str,
    },
    /// A field that every package has.
    #[error("the metadata has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Two answers.
    #[error("the metadata has two of `{field}`: `{one}` and `{other}`")]
    Twice {
        /// The field.
        field: &'static str,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// A name or a version that is none.
    #[error("the metadata says `{field}: {given}`, which is none")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        given: String,
    },
}

impl MetadataError {
    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::TooLong { .. } | Self::TooMany { .. } => {
                "ask for another version; no package that installers take looks like this".into()
            }
            Self::Missing { .. } | Self::Twice { .. } | Self::Value { .. } => {
                "ask for another version, or report it to those who publish the file".into()
            }
        }
    }
}

impl Requirement {
    /// Reads a requirement of PEP 508, or the older `x (>=1)`. `None`: it is neither.
    pub fn read(given: &str) -> Option<Self> {
        let given = given.trim_ascii();
        // An address may hold a `;`, so a space must come before that of the marker.
        let apart = if given.split(';').next()?.contains('@') { " ;" } else { ";" };
        let (need, marker) = match given.split_once(apart) {
            Some((need, marker)) => (need, Some(marker.trim_ascii())),
            None => (given, None),
        };
        // The parser behind this panics on letters beyond ASCII and on names that end badly.
        if need.len() > MAX_REQUIREMENT
            || marker.is_some_and(|text| text.len() > MAX_MARKER || !has_small_numbers(text))
            || !need.is_ascii()
            || !names_end_well(need)
        {
            return None;
        }
        let read: pep508_rs::Requirement<url::Url> = need.trim().parse().ok()?;
        let (versions, url) = match read.version_or_url {
            None => (VersionSpecifiers::default(), None),
            Some(pep508_rs::VersionOrUrl::Url(url)) => {
                (VersionSpecifiers::default(), Some(url.to_string()))
            }
            Some(pep508_rs::VersionOrUrl::VersionSpecifier(versions)) => (versions, None),
        };
        if url.is_none() && !has_small_numbers(need) {
            return None;
        }
        let marker = match marker {
            None | Some("") => None,
            Some(text) => Some(Condition::parse(text).ok()?),
        };
        Some(Self {
            given: given.to_owned(),
            name: normalise_name(read.name.as_ref()),
            extras: read.extras.iter().map(|extra| normalise_name(extra.as_ref())).collect(),
            versions,
            url,
            marker,
        })
    }

    /// Whether it is needed there, when these extras of the package are asked for.
    pub fn holds(&self, on: &Setting, extras: &[String]) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.holds_in(on, extras))
    }
}

impl Metadata {
    /// Whether it is that of this wheel: same name, same version.
    pub fn is_of(&self, wheel: &WheelName) -> bool {
        self.name == wheel.name() && self.version == *wheel.version()
    }
}

/// Reads the headers of a METADATA file. What follows the first empty line is prose.
pub fn read(bytes: &[u8]) -> Result<Metadata, MetadataError> {
    if bytes.len() > MAX_BYTES {
        return Err(MetadataError::TooLong { len: bytes.len() });
    }
    let (mut name, mut number, mut python) = (None, None, None);
    let (mut requires, mut extras, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    for (field, value) in headers(bytes) {
        let value = value.trim_ascii();
        match field.to_ascii_lowercase().as_str() {
            "name" => once(&mut name, "Name", value)?,
            "version" => once(&mut number, "Version", value)?,
            "requires-python" => once(&mut python, "Requires-Python", value)?,
            "requires-dist" => {
                match Requirement::read(value) {
                    Some(requirement) => requires.push(requirement),
                    None => unread.push(format!("Requires-Dist: {}", shown(value))),
                }
                if requires.len() + unread.len() > MAX_LINES {
                    return Err(MetadataError::TooMany { field: "Requires-Dist" });
                }
            }
            "provides-extra" => {
                if is_name(value) {
                    extras.push(normalise_name(value));
                }
                if extras.len() > MAX_LINES {
                    return Err(MetadataError::TooMany { field: "Provides-Extra" });
                }
            }
            _ => (),
        }
    }
    let value = |field, value: Option<String>| value.ok_or(MetadataError::Missing { field });
    let (name, number) = (value("Name", name)?, value("Version", number)?);
    let bad = |field, given: &str| MetadataError::Value { field, given: shown(given) };
    let requires_python = python.filter(|text| !text.is_empty()).and_then(|text| {
        let read = pythons(&text);
        if read.is_none() {
            unread.push(format!("Requires-Python: {}", shown(&text)));
        }
        read
    });
    Ok(Metadata {
        version: version(&number).ok_or_else(|| bad("Version", &number))?,
        name: Some(&name)
            .filter(|name| is_name(name))
            .map(|name| normalise_name(name))
            .ok_or_else(|| bad("Name", &name))?,
        requires_python,
        requires,
        extras,
        unread,
    })
}

/// What an index or a package says of the Pythons that a file is for. `None`: it is no PEP 440.
pub fn pythons(text: &str) -> Option<VersionSpecifiers> {
    (text.len() <= MAX_REQUIREMENT && text.is_ascii() && has_small_numbers(text))
        .then(|| text.parse().ok())
        .flatten()
}

fn is_name(text: &str) -> bool {
    let ends = |end: Option<u8>| end.is_some_and(|b| b.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    ends(bytes.first().copied())
        && ends(bytes.last().copied())
        && text.len() <= super::MAX_NAME
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Keeps the value of a field that stands once; the same value twice does no harm.
fn once(slot: &mut Option<String>, field: &'static str, value: &str) -> Result<(), MetadataError> {
    match slot {
        Some(one) if one != value => {
            Err(MetadataError::Twice { field, one: shown(one), other: shown(value) })
        }
        _ => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

/// Names and values of headers up to the first empty line, folded lines put together.
fn headers(bytes: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, String)> {
    let mut lines = bytes
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .peekable();
    std::iter::from_fn(move || {
        loop {
            let mut whole = Cow::Borrowed(lines.next()?);
            while let Some(more) =
                lines.next_if(|line| line.starts_with(b" ") || line.starts_with(b"\t"))
            {
                whole.to_mut().extend_from_slice(more);
            }
            if let Some(colon) = whole.iter().position(|b| *b == b':') {
                let field = text(&whole[..colon]).into_owned();
                return Some((Cow::Owned(field), text(&whole[colon + 1..]).into_owned()));
            }
        }
    })
}

/// UTF-8, or else Latin-1: packages of long ago name their authors in it.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Platform, PythonVersion};

    const TORCH: &str = "Metadata-Version: 2.1\r\nName: torch\r\nVersion: 2.6.0+cu126\r\n\
        Classifier: A :: B\r\nRequires-Python: >=3.9.0\r\nLicense: BSD\r\n  3-clause\r\n\
        Requires-Dist: filelock\r\nRequires-Dist: sympy==1.13.1; python_version >= \"3.9\"\r\n\
        Requires-Dist: nvidia-cublas-cu12 (==12.6.4.1) ; platform_system == \"Linux\" and\r\n\
        \tplatform_machine == \"x86_64\"\r\nProvides-Extra: opt-einsum\r\n\
        Requires-Dist: opt-einsum>=3.3; extra == \"opt-einsum\"\r\n\r\nRequires-Dist: prose\r\n";

    #[test]
    fn headers_are_read_to_the_first_empty_line() {
        let torch = read(TORCH.as_bytes()).expect("metadata");
        assert_eq!(
            (torch.name.as_str(), torch.version.to_string().as_str()),
            ("torch", "2.6.0+cu126")
        );
        assert!(torch.requires_python.as_ref().is_some_and(|p| p.to_string() == ">=3.9.0"));
        assert_eq!((torch.extras.as_slice(), torch.unread.len()), (&["opt-einsum".into()][..], 0));
        let names: Vec<_> = torch.requires.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["filelock", "sympy", "nvidia-cublas-cu12", "opt-einsum"]);
        assert_eq!(torch.requires[2].versions.to_string(), "==12.6.4.1");

        let on = |platform| Setting::new(platform, PythonVersion::new(12));
        let (linux, windows) = (on(Platform::LinuxAmd64), on(Platform::WindowsAmd64));
        assert!(torch.requires[2].holds(&linux, &[]) && !torch.requires[2].holds(&windows, &[]));
        assert!(!torch.requires[3].holds(&linux, &[]));
        assert!(torch.requires[3].holds(&linux, &["opt_einsum".into()]));
        let wheel = |file: &str| file.parse::<WheelName>().expect(file);
        assert!(torch.is_of(&wheel("torch-2.6.0+cu126-cp312-cp312-linux_x86_64.whl")));
        assert!(!torch.is_of(&wheel("torch-2.6.0-cp312-cp312-linux_x86_64.whl")));
    }

    #[test]
    fn requirements_read_and_left() {
        for (text, name, extras, versions, url) in [
            ("A.b_c", "a-b-c", "", "", None),
            ("a[X_y,z] >=1,<2", "a", "x-y z", ">=1, <2", None),
            ("a (>=1.0)", "a", "", ">=1.0", None),
            ("a (>=1.0,<2) ; extra == 'b'", "a", "", ">=1.0, <2", None),
            ("a;", "a", "", "", None),
            (
                "a @ https://x.example/a;b.whl ; os_name == 'nt'",
                "a",
                "",
                "",
                Some("https://x.example/a;b.whl"),
            ),
        ] {
            let read = Requirement::read(text).expect(text);
            assert_eq!(
                (
                    read.name.as_str(),
                    read.extras.join(" ").as_str(),
                    read.versions.to_string().as_str()
                ),
                (name, extras, versions),
                "{text}"
            );
            assert_eq!(read.url.as_deref(), url, "{text}");
        }
        let (long, deep) = ("a".repeat(3000), format!("a; {}", "(".repeat(4000)));
        for text in [
            "",
            ";",
            "==1",
            "a- >=1",
            "a >=",
            "a (1.0)",
            "é",
            "a; os_name = 'b'",
            "a; é",
            "a b",
            "a==1.99999999999999999999999",
            "a; python_version > '99999999999999999999'",
            &long,
            &deep,
        ] {
            assert!(Requirement::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        let why = |text: &str| read(text.as_bytes()).expect_err(text).to_string();
        assert!(why("").contains("no `Name`"));
        assert!(why("\nName: a\nVersion: 1\n").contains("no `Name`"));
        assert!(why("Name: a\n").contains("no `Version`"));
        assert!(why("Name: a\nVersion: x\n").contains("`Version: x`"));
        assert!(why("Name: ../a\nVersion: 1\n").contains("`Name: ../a`"));
        assert!(why("Name: a\nVersion: 1\nVersion: 2\n").contains("`1` and `2`"));
        let many = format!("Name: a\nVersion: 1\n{}", "Requires-Dist: b\n".repeat(MAX_LINES + 1));
        assert!(why(&many).contains("10000"));
        assert!(matches!(read(&vec![b'a'; MAX_BYTES + 1]), Err(MetadataError::TooLong { .. })));
    }

    #[test]
    fn old_and_odd_files_are_read() {
        let read = read(
            b"NAME: a\nVersion : 0\nversion: 1\nAuthor: Andr\xe9\nRequires-Python: >=3.6.*\n\
              no colon\nRequires-Dist: pytz (>dev)\nProvides-Extra: b/c\n",
        )
        .expect("metadata");
        assert_eq!((read.name.as_str(), read.version.to_string().as_str()), ("a", "1"));
        assert_eq!(read.unread, ["Requires-Dist: pytz (>dev)", "Requires-Python: >=3.6.*"]);
        assert!(
            read.requires.is_empty() && read.extras.is_empty() && read.requires_python.is_none()
        );
    }
}
