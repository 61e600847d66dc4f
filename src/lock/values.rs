//! Texts that a lock may hold: each kind is checked once, when the lock is read or made.
//!
//! What passes here can stand in a Dockerfile or a shell line: no kind admits a newline, a quote, a
//! backtick, `$`, `;`, `&` or a backslash.

use std::fmt;
use std::str::FromStr;

use crate::domain::{ParseError, Sha256, WheelVariant, normalise_name};

macro_rules! text_kinds {
    ($($(#[$doc:meta])* $name:ident($rule:path), $what:literal, $expected:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(given: &str) -> Result<Self, Self::Err> {
                if $rule(given) {
                    Ok(Self(given.to_owned()))
                } else {
                    Err(ParseError::new($what, given, $expected))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text_kinds! {
    /// Name of a target; also of its image stage and of files made for it.
    TargetName(is_target_name), "a target name", "`[a-z0-9][a-z0-9_-]*` of at most 63 characters";
    /// Name of a Python package or of an extra, normalised by PEP 503.
    PackageName(is_package_name), "a normalised package name", "`[a-z0-9]` and single inner `-`, at most 100 characters";
    /// Local version label, `cu126`. Case is kept: flash-attn writes `abiTRUE`.
    LocalLabel(is_local_label), "a local version label", "letters, digits and inner dots, at most 64 characters";
    /// Repository of an image, `nvidia/cuda`.
    Repository(is_repository), "an image repository", "lower case path segments like `nvidia/cuda`";
    /// Tag of an image, `3.12-slim-trixie`.
    Tag(is_tag), "an image tag", "`[A-Za-z0-9_][A-Za-z0-9._-]*` of at most 128 characters";
    /// Lower case word, `slim`.
    Word(is_word), "a word", "`[a-z][a-z0-9-]*` of at most 40 characters";
    /// Name of a Debian package.
    AptName(is_apt_name), "a Debian package name", "`[a-z0-9][a-z0-9+.-]+` of at most 100 characters";
    /// Id of a matrix, `2026.11.0`.
    MatrixId(is_matrix_id), "a matrix id", "`[A-Za-z0-9][A-Za-z0-9._+-]*` of at most 64 characters";
    /// Name of a file on an index, decoded: `torch-2.9.1+cu126-cp312-cp312-manylinux_2_28_x86_64.whl`.
    FileName(is_file_name), "a file name of a package", "letters, digits and `._+!-`, ending in `.whl`, `.tar.gz` or `.zip`";
    /// A shared library, by its name and first number: `libcudart.so.12`.
    Library(is_library), "a shared library", "a form like `libcudart.so.12`, at most 60 characters";
    /// Address of an index, a folder of files or a mirror, without credentials, query and fragment.
    Address(is_address), "an address", "`https://host/path` (or `http://`), without credentials, query and fragment";
    /// What stands in for a registry: a host with a path, or an address.
    Standin(is_standin), "a mirror", "`registry.example.org/hub` or `https://host/path`, without credentials";
    /// What may have a mirror: `pypi`, `pytorch`, or the host of a registry.
    Mirrored(is_mirrored), "what a mirror stands for", "`pypi`, `pytorch` or the host of a registry";
    /// A line of the requirements in their canonical form.
    Asked(is_asked), "a line of requirements", "letters, digits and the signs of specifiers, at most 4,000 of them";
    /// What people and nvidia-smi call things: a card, an overlay file.
    Label(is_label), "a plain label", "letters, digits, spaces and `._:/()+,-`, at most 120 characters";
}

/// Length within bounds, and every byte passes.
fn all(text: &str, longest: usize, admits: impl Fn(u8) -> bool) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(admits)
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn starts(text: &str, admits: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(admits)
}

fn is_target_name(text: &str) -> bool {
    all(text, 63, |b| lower_or_digit(b) || matches!(b, b'_' | b'-')) && starts(text, lower_or_digit)
}

fn is_package_name(text: &str) -> bool {
    all(text, 100, |b| lower_or_digit(b) || b == b'-')
        && normalise_name(text) == text
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_local_label(text: &str) -> bool {
    all(text, 64, |b| b.is_ascii_alphanumeric() || b == b'.')
        && text.split('.').all(|part| !part.is_empty())
}

fn is_repository(text: &str) -> bool {
    let segment = |part: &str| {
        all(part, 128, |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'))
            && starts(part, lower_or_digit)
            && part.bytes().last().is_some_and(lower_or_digit)
    };
    text.len() <= 255 && text.split('/').all(segment)
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    all(text, 128, |b| word(b) || matches!(b, b'.' | b'-')) && starts(text, word)
}

fn is_word(text: &str) -> bool {
    all(text, 40, |b| lower_or_digit(b) || b == b'-') && starts(text, |b| b.is_ascii_lowercase())
}

fn is_apt_name(text: &str) -> bool {
    text.len() > 1
        && all(text, 100, |b| lower_or_digit(b) || matches!(b, b'+' | b'.' | b'-'))
        && starts(text, lower_or_digit)
        // At the end of a word apt reads them as orders: take away, match.
        && !text.ends_with(['-', '.'])
}

fn is_matrix_id(text: &str) -> bool {
    all(text, 64, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'))
        && starts(text, |b| b.is_ascii_alphanumeric())
}

fn is_file_name(text: &str) -> bool {
    all(text, 255, |b| b.is_ascii_alphanumeric() || b"._+!-".contains(&b))
        && starts(text, |b| b.is_ascii_alphanumeric() || b == b'_')
        && [".whl", ".tar.gz", ".zip"].iter().any(|end| text.ends_with(end))
}

fn is_library(text: &str) -> bool {
    let name = |stem: &str| {
        stem.starts_with("lib") && stem.bytes().all(|b| lower_or_digit(b) || b == b'_')
    };
    let number = |rest: &str| {
        rest.is_empty() || rest.strip_prefix('.').is_some_and(|n| all(n, 4, |b| b.is_ascii_digit()))
    };
    text.len() <= 60 && text.split_once(".so").is_some_and(|(a, b)| name(a) && number(b))
}

/// Bytes of a URL's host and path that mean nothing to a shell, a Dockerfile or a template.
fn is_url_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%+,:=/!".contains(&b)
}

fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        all(rest, 2000, is_url_byte) && starts(rest, |b| b.is_ascii_alphanumeric() || b == b'[')
    })
}

fn is_standin(text: &str) -> bool {
    is_address(text)
        || (all(text, 500, is_url_byte)
            && starts(text, |b| b.is_ascii_alphanumeric())
            && !text.contains("://"))
}

fn is_mirrored(text: &str) -> bool {
    all(text, 255, |b| lower_or_digit(b) || b"._:-".contains(&b)) && starts(text, lower_or_digit)
}

/// Specifiers and the names of cards; nothing that a shell would read.
fn is_asked_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b" ._:/()[]+,-<>=!~*@%#".contains(&b)
}

fn is_asked(text: &str) -> bool {
    all(text, 4000, is_asked_byte) && text.trim_end() == text
}

impl Asked {
    /// A line as near to `text` as a lock can hold. The digest beside it is that of the very text.
    pub(super) fn of(text: &str) -> Self {
        let held = |c: char| u8::try_from(c).is_ok_and(is_asked_byte);
        let line: String = text.chars().take(4000).map(|c| if held(c) { c } else { '?' }).collect();
        Self(line.trim_end().to_owned())
    }
}

fn is_label(text: &str) -> bool {
    all(text, 120, |b| b.is_ascii_alphanumeric() || b" ._:/()+,-".contains(&b))
        && text.trim() == text
}

impl Repository {
    /// Registry and path, as Docker reads the name: `docker.io` and `library/python` for `python`.
    pub fn parts(&self) -> (&str, String) {
        match self.0.split_once('/') {
            // A first segment with a dot is the host of a registry, `ghcr.io/x`.
            Some((host, path)) if host.contains('.') || host == "localhost" => {
                (host, path.to_owned())
            }
            Some(_) => ("docker.io", self.0.clone()),
            None => ("docker.io", format!("library/{}", self.0)),
        }
    }
}

/// A digest that only a registry or an index can tell.
///
/// A lock made without the network writes `unfetched`, so that nobody takes an absent digest for a
/// checked one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fetched {
    /// Nobody asked yet.
    Unfetched,
    /// As the registry or index told.
    Digest(Sha256),
}

impl FromStr for Fetched {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        if given == "unfetched" {
            return Ok(Self::Unfetched);
        }
        given.parse().map(Self::Digest).map_err(|_| {
            ParseError::new(
                "a digest",
                given,
                "`unfetched`, or `sha256:` and 64 lower case hexadecimal digits",
            )
        })
    }
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfetched => f.write_str("unfetched"),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A file of a package, as its index serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockedFile {
    /// Its name.
    pub name: FileName,
    /// Its whole address.
    pub url: Address,
    /// Size in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// How the digest was had.
    pub origin: Origin,
    /// What it holds; `None`: nobody has read its directory.
    pub contents: Option<Contents>,
}

/// What a wheel puts on the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contents {
    /// Bytes of all its files once they are installed.
    pub unpacked: u64,
    /// The driver's library, and those of CUDA and cuDNN that tell a copy of them.
    pub libraries: Vec<Library>,
}

/// How the digest of a file was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The index names it.
    Index,
    /// The index names none: the file was fetched and its digest computed.
    Download,
    /// uv found it, in the index that it was pointed to.
    Uv,
}

/// Where a package is installed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Index {
    /// PyPI, whatever address pip or uv is set to.
    Pypi,
    /// The page of one build on the PyTorch wheel index.
    Pytorch(WheelVariant),
}

impl Index {
    /// Its address; `None` for PyPI, which is the user's own setting.
    pub fn url(self) -> Option<String> {
        match self {
            Self::Pypi => None,
            Self::Pytorch(variant) => Some(format!("https://download.pytorch.org/whl/{variant}")),
        }
    }
}

impl FromStr for Index {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        if given == "pypi" {
            return Ok(Self::Pypi);
        }
        given
            .strip_prefix("pytorch-")
            .and_then(|variant| variant.parse().ok())
            .map(Self::Pytorch)
            .ok_or_else(|| {
                ParseError::new("an index", given, "`pypi` or a form like `pytorch-cu126`")
            })
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pypi => f.write_str("pypi"),
            Self::Pytorch(variant) => write!(f, "pytorch-{variant}"),
        }
    }
}

/// How the driver of the pool runs the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It implements the build's CUDA.
    Native,
    /// By minor-version compatibility.
    MinorCompat,
    /// By a cuda-compat package.
    ForwardCompat,
}

/// How a card gets code that it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serving {
    /// Machine code for exactly this capability.
    Exact,
    /// Machine code for an older revision of the same generation.
    SameMajor,
    /// PTX that the driver compiles.
    Ptx,
}

macro_rules! words {
    ($($type:ident, $what:literal, $expected:literal: $($variant:ident = $word:literal),+;)+) => {$(
        impl $type {
            /// The word in the lock.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(given: &str) -> Result<Self, Self::Err> {
                match given {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ParseError::new($what, given, $expected)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )+};
}

words! {
    Mode, "a driver mode", "native, minor-compat or forward-compat":
        Native = "native", MinorCompat = "minor-compat", ForwardCompat = "forward-compat";
    Origin, "the origin of a hash", "index, download or uv":
        Index = "index", Download = "download", Uv = "uv";
    Serving, "a way to serve a card", "exact, same-major or ptx":
        Exact = "exact", SameMajor = "same-major", Ptx = "ptx";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text}");
        }
        let hostile = [
            "", " ", "a\nb", "a\r", "a'b", "a\"b", "`a`", "$(a)", "a;b", "a&b", "a\\b", "a\0", "ä",
            "-rf",
        ];
        for text in bad.iter().chain(&hostile) {
            assert!(text.parse::<T>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn each_kind_reads_and_refuses() {
        reads::<TargetName>(
            &["train", "a100-80_x", "3090", &"a".repeat(63)],
            &["Train", "_a", "a.b", &"a".repeat(64)],
        );
        reads::<PackageName>(&["torch", "nvidia-nccl-cu12"], &["Torch", "a_b", "a--b", "a-"]);
        reads::<LocalLabel>(&["cu126", "cu12torch2.6cxx11abiFALSE"], &["a..b", "a.", "a-b", "a b"]);
        reads::<Repository>(
            &["python", "nvidia/cuda", "ghcr.io/a-b/c"],
            &["Python", "a//b", "/a", "a/", "a b"],
        );
        reads::<Tag>(&["3.12-slim-trixie", "_x"], &[".a", "a:b", "a/b"]);
        reads::<Word>(&["slim", "cudnn-devel"], &["Slim", "1a"]);
        reads::<AptName>(
            &["gcc", "libstdc++6", "cuda-compat-12-8"],
            &["g", "Gcc", "gcc=1", "gcc ", "bash-", "libc6."],
        );
        reads::<Library>(
            &["libcudart.so.12", "libcuda.so", "libcudnn_ops.so.9"],
            &["libcudart.so.12.4", "cudart.so", "libcudart.so.", "libcudart.sox", "lib/a.so"],
        );
        reads::<MatrixId>(&["2026.11.0", "2026.11.0+site"], &[".1", "a b"]);
        reads::<Fetched>(&["unfetched"], &["not-fetched", "sha256:12"]);
        reads::<Index>(
            &["pypi", "pytorch-cu126", "pytorch-rocm6.4"],
            &["PyPI", "pytorch", "pytorch-", "https://x.example"],
        );
        reads::<Mode>(&["native", "minor-compat", "forward-compat"], &["Native"]);
        reads::<Serving>(&["exact", "same-major", "ptx"], &["nothing"]);
        for text in
            ["NVIDIA A100-SXM4-80GB MIG 1g.10gb", "Quadro RTX 6000/8000", "p5.48xlarge", "sm_75"]
        {
            assert!(text.parse::<Label>().is_ok(), "{text}");
        }
        for text in ["", " a", "a\nb", "a'b", "a$b", "a;b", "a#b", "a<b", "a\u{1b}[0m"] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
    }
}
