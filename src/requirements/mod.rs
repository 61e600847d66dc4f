//! What a project asks for: gpuseal.yaml, `[tool.gpuseal]` and flags, checked and merged.
//!
//! Knows nothing of the matrix: whether a card or a release exists is asked one floor up.

mod config;
mod mirrors;
pub mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;

use crate::domain::{
    CudaVersion, DriverSpec, KernelModule, Order as _, Package, ParseError, Platform,
    PythonVersion, TorchVersion, WheelVariant, in_brackets,
};

pub use config::{PLACEHOLDER, find, in_project, matrix_of, read};
pub use mirrors::{BadMirror, Mirrors};

/// Everything a resolution depends on, besides the matrix. `T` is a pool of machines: as written,
/// or placed in the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements<T = Target> {
    /// Wanted torch; `None`: any.
    pub torch: Option<TorchWish>,
    /// Wanted Python; `None`: any.
    pub python: Option<PythonWish>,
    /// Wanted CUDA builds; `None`: any.
    pub cuda: Option<CudaWish>,
    /// Further packages.
    pub with: Vec<Package>,
    /// What will be done with the image.
    pub needs: BTreeSet<Need>,
    /// Which of several answers is best.
    pub prefer: Prefer,
    /// What is only done on demand.
    pub allow: Allow,
    /// Where it is to run, by name, in the order of the file.
    pub targets: Vec<T>,
    /// Where files come from; no part of the canonical text.
    pub mirrors: Mirrors,
    /// File the targets were read from, for messages.
    pub file: Option<PathBuf>,
    /// Origin of each value, for `-v`: `torch` -> `gpuseal.yaml:3`.
    pub origins: BTreeMap<String, String>,
}

/// A pool of machines that run one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name, `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// Cards, as written.
    pub gpus: Vec<String>,
    /// Driver.
    pub driver: Option<DriverSpec>,
    /// Platform.
    pub platform: Option<Platform>,
    /// Distribution or `glibc:X.Y`, as written.
    pub os: Option<String>,
    /// Flavour of the kernel module.
    pub kernel_module: Option<KernelModule>,
    /// Line of the file that names it, from 1.
    pub line: Option<usize>,
    /// Keys that hold the placeholder of `init`: asked for before anything is resolved.
    pub todo: Vec<&'static str>,
}

/// A wanted torch.
///
/// `2.9.1` is that release, `2.9` any of the line, `>=2.8,<2.10` a range, `2.6.0+cu126` a release and
/// its build.
///
/// # Errors
/// Parsing refuses what PEP 440 refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchWish {
    /// As written.
    pub given: String,
    /// Releases.
    pub versions: VersionSpecifiers,
    /// Build, when a label names one.
    pub variant: Option<WheelVariant>,
    /// Its options that the project's files ask for.
    pub extras: BTreeSet<String>,
}

impl FromStr for TorchWish {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let err = || {
            ParseError::new(
                "a torch version",
                given,
                "a form like `2.9.1`, `2.9`, `>=2.8,<2.10` or `2.6.0+cu126`",
            )
        };
        let text = given.trim().strip_prefix("torch").unwrap_or(given).trim();
        let bare = text.trim_start_matches("==").trim();
        if let Ok(exact) = bare.parse::<TorchVersion>() {
            if exact.local().is_some() && exact.variant.is_none() {
                return Err(err());
            }
            let public = exact.version.clone().without_local();
            let spec = if public.release().len() < 3 && !public.any_prerelease() {
                format!("=={public}.*")
            } else {
                format!("=={public}")
            };
            let versions = spec.parse().map_err(|_| err())?;
            let (given, variant) = (given.into(), exact.variant);
            return Ok(Self { given, versions, variant, extras: BTreeSet::new() });
        }
        let versions: VersionSpecifiers = text.parse().map_err(|_| err())?;
        if versions.is_empty() {
            return Err(err());
        }
        Ok(Self { given: given.into(), versions, variant: None, extras: BTreeSet::new() })
    }
}

/// A wanted Python: one version, or a range.
///
/// # Errors
/// Parsing refuses Python 2, `010`, and what PEP 440 refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonWish {
    /// This one.
    Exact(PythonVersion),
    /// The newest that all files allow.
    Range(String, VersionSpecifiers),
}

impl PythonWish {
    /// Whether a version answers the wish.
    pub fn admits(&self, python: PythonVersion) -> bool {
        match self {
            Self::Exact(exact) => {
                exact.minor == python.minor && exact.free_threaded == python.free_threaded
            }
            Self::Range(_, range) if python.free_threaded => range.is_empty(),
            // Without a patch any of them may be meant.
            Self::Range(_, range) => match python.patch {
                Some(_) => range.contains(&python.pep440()),
                None => (0..=99).any(|patch| {
                    range.contains(&PythonVersion { patch: Some(patch), ..python }.pep440())
                }),
            },
        }
    }
}

impl FromStr for PythonWish {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim();
        let bare = text.trim_start_matches("==").trim_end_matches(".*").trim();
        if !text.contains(['<', '>', '~', '!', ',']) {
            return bare.parse().map(Self::Exact);
        }
        match text.parse::<VersionSpecifiers>() {
            Ok(range) => Ok(Self::Range(text.into(), range)),
            Err(_) => Err(ParseError::new(
                "a Python version or range",
                given,
                "a form like `3.12` or `>=3.10,<3.13`",
            )),
        }
    }
}

impl fmt::Display for PythonWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(version) => version.fmt(f),
            Self::Range(text, _) => f.write_str(text),
        }
    }
}

/// Wanted CUDA builds: `12.8`, `>=12.6`, `cu128`.
///
/// # Errors
/// Parsing refuses everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaWish {
    /// As written.
    pub given: String,
    versions: VersionSpecifiers,
}

impl CudaWish {
    /// Whether a build of this CUDA answers the wish.
    pub fn admits(&self, cuda: CudaVersion) -> bool {
        self.versions.contains(&pep440_rs::Version::new([cuda.major, cuda.minor].map(u64::from)))
    }
}

impl FromStr for CudaWish {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim();
        let err =
            || ParseError::new("a CUDA version", given, "a form like `12.8`, `>=12.6` or `cu128`");
        let exact = text
            .parse::<WheelVariant>()
            .ok()
            .and_then(WheelVariant::cuda)
            .or_else(|| text.parse::<CudaVersion>().ok())
            .map(|c| format!("=={}", c.series()));
        let versions: VersionSpecifiers =
            exact.as_deref().unwrap_or(text).parse().map_err(|_| err())?;
        if versions.is_empty() {
            return Err(err());
        }
        Ok(Self { given: given.into(), versions })
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word itself.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(given: &str) -> Result<Self, Self::Err> {
                match given.trim() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ParseError::new($what, given, concat!("one of", $(" ", $word),+))),
                }
            }
        }
    };
}

words! {
    /// What will be done with the image; decides base flavour, packages and probes.
    Need, "a need" {
        /// torch.compile: Triton, a C compiler and Python's headers.
        Compile = "compile",
        /// CUDA extensions are compiled in the build.
        Nvcc = "nvcc",
        /// CUDA extensions are compiled while the program runs: the image itself gets the toolkit.
        NvccRuntime = "nvcc-runtime",
        /// Programs beside torch load CUDA's libraries from the system.
        CudaRuntime = "cuda-runtime",
        /// Several GPUs talk to each other.
        Nccl = "nccl",
        /// 8-bit floating point: capability 8.9 or newer.
        Fp8 = "fp8",
        /// Convolutions and attention by cuDNN.
        Cudnn = "cudnn",
    }
}

words! {
    /// Which of several answers is best.
    ///
    /// Between builds of one release it is always: machine code before PTX, announced builds before
    /// others, builds whose pins were seen before others, a driver that implements the build's CUDA
    /// before minor-version compatibility, PyPI's own build before the rest, then the newest CUDA.
    #[derive(Default)]
    Prefer, "a preference" {
        /// The newest torch release.
        #[default]
        Newest = "newest",
        /// The newest release of the line before the newest line: its faults are known.
        Stable = "stable",
        /// The build that runs on the oldest driver, then the newest release.
        OldestDriver = "oldest-driver",
        /// The build with code for the fewest capabilities, which decides the size of the wheel,
        /// then the newest release.
        Smallest = "smallest",
    }
}

/// What is only done on demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allow {
    /// Cards served by PTX alone.
    pub ptx: bool,
    /// cuda-compat on a driver that is too old.
    pub forward_compat: bool,
    /// Builds on the index that no announcement lists.
    pub unofficial: bool,
}

impl Allow {
    /// The words of the configuration.
    pub const WORDS: &[&str] = &["ptx", "forward-compat", "unofficial"];

    /// Turns on what a word names.
    ///
    /// # Errors
    /// An unknown word.
    pub fn add(&mut self, word: &str) -> Result<(), ParseError> {
        match word.trim() {
            "ptx" => self.ptx = true,
            "forward-compat" => self.forward_compat = true,
            "unofficial" => self.unofficial = true,
            _ => {
                return Err(ParseError::new(
                    "something to allow",
                    word,
                    "one of ptx forward-compat unofficial",
                ));
            }
        }
        Ok(())
    }

    /// The words that are on.
    pub fn words(self) -> Vec<&'static str> {
        let all = [
            (self.ptx, "ptx"),
            (self.forward_compat, "forward-compat"),
            (self.unofficial, "unofficial"),
        ];
        all.into_iter().filter_map(|(on, word)| on.then_some(word)).collect()
    }
}

impl<T> Default for Requirements<T> {
    fn default() -> Self {
        Self {
            torch: None,
            python: None,
            cuda: None,
            with: Vec::new(),
            needs: BTreeSet::new(),
            prefer: Prefer::default(),
            allow: Allow::default(),
            targets: Vec::new(),
            mirrors: Mirrors::default(),
            file: None,
            origins: BTreeMap::new(),
        }
    }
}

impl<T> Requirements<T> {
    /// What is asked for everywhere, as one text, independent of files, order of flags and comments.
    pub fn canonical_demands(&self) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "{key}: {value}");
            }
        };
        line(
            "torch",
            self.torch.as_ref().map_or(String::new(), |t| {
                let label = t.variant.map_or(String::new(), |v| format!("+{v}"));
                format!("{}{}{label}", in_brackets(&t.extras), t.versions)
            }),
        );
        line("python", self.python.as_ref().map_or(String::new(), ToString::to_string));
        line("cuda", self.cuda.as_ref().map_or(String::new(), |c| c.versions.to_string()));
        let mut with: Vec<_> = self
            .with
            .iter()
            .map(|p| {
                let local = p.local.as_deref().map_or(String::new(), |l| format!("+{l}"));
                format!("{}{}{}{local}", p.name, in_brackets(&p.extras), p.versions)
            })
            .collect();
        with.order();
        line("with", with.join(" "));
        line("needs", self.needs.iter().map(|n| n.word()).collect::<Vec<_>>().join(" "));
        line("prefer", self.prefer.word().into());
        line("allow", self.allow.words().join(" "));
        text
    }
}

impl Requirements {
    /// The requirements as one text: what the lock takes its digest of.
    pub fn canonical(&self) -> String {
        self.canonical_demands() + &self.canonical_targets()
    }

    /// Where it is to run, as one text.
    pub fn canonical_targets(&self) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "{key}: {value}");
            }
        };
        for target in &self.targets {
            line("target", target.name.clone());
            // All of them run it, whichever comes first.
            let mut cards: Vec<_> = target.gpus.iter().map(String::as_str).collect();
            cards.sort_unstable();
            line("  gpus", cards.join(", "));
            line("  driver", target.driver.map_or(String::new(), |d| d.to_string()));
            line("  platform", target.platform.map_or(String::new(), |p| p.to_string()));
            line("  os", target.os.clone().unwrap_or_default());
            line("  kernel_module", target.kernel_module.map_or(String::new(), |m| m.to_string()));
        }
        text
    }
}

/// Whether a text can name a target, a build stage and a file: `[a-z][a-z0-9_-]*`, at most 63.
pub fn is_target_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && name.as_bytes()[0].is_ascii_lowercase()
}

/// Why requirements could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// Two files say what is wanted.
    #[error("both `{0}` and `[tool.gpuseal]` in `{1}` say what is wanted")]
    TwoFiles(PathBuf, PathBuf),
    /// No file says what is wanted.
    #[error(
        "there is no gpuseal.yaml in `{0}` and no [tool.gpuseal] in its pyproject.toml, and no --gpu was given"
    )]
    NoFile(PathBuf),
    /// The file is not as it should be.
    #[error("{}", .0.message)]
    Bad(Box<Bad>),
}

/// A place in a file, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// The file.
    pub file: PathBuf,
    /// Line from 1, and the columns of the offending text in it (bytes, from 0).
    pub place: Option<(usize, std::ops::Range<usize>)>,
    /// The line itself.
    pub excerpt: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Error {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read(_) => None,
            Self::TwoFiles(..) => Some("keep one of them, or name one with --config".into()),
            Self::NoFile(_) => {
                Some("write a gpuseal.yaml (see examples/), or give --gpu and --driver".into())
            }
            Self::Bad(bad) => bad.help.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_wishes_read_and_refused() {
        let admits = |wish: &str, version: &str| {
            let wish: TorchWish = wish.parse().expect(wish);
            wish.versions.contains(&version.parse().expect(version))
        };
        assert!(admits("2.9.1", "2.9.1") && !admits("2.9.1", "2.9.0"));
        assert!(admits("2.9", "2.9.1") && !admits("2.9", "2.10.0"));
        assert!(admits(">=2.8,<2.10", "2.9.0") && !admits(">=2.8,<2.10", "2.10.0"));
        assert!(admits("torch>=2.8", "2.15.0"));
        let labelled: TorchWish = "2.6.0+cu126".parse().expect("labelled");
        assert_eq!(labelled.variant.map(|v| v.to_string()).as_deref(), Some("cu126"));
        for text in ["", "two", ">=", "2.6.0+mine", ">=2.8 <", "cu126"] {
            assert!(text.parse::<TorchWish>().is_err(), "{text}");
        }
    }

    #[test]
    fn python_and_cuda_wishes_read_and_refused() {
        let python = |text: &str| text.parse::<PythonWish>();
        assert!(python("3.12").expect("exact").admits(PythonVersion::new(12)));
        assert!(python(">=3.10,<3.13").expect("range").admits(PythonVersion::new(12)));
        assert!(!python(">=3.10,<3.13").expect("range").admits(PythonVersion::new(13)));
        for text in ["", "010", "3.010", "2.7", "3", ">=", "python"] {
            assert!(python(text).is_err(), "{text}");
        }
        let cuda = |wish: &str, text: &str| {
            wish.parse::<CudaWish>().expect(wish).admits(text.parse().expect(text))
        };
        assert!(
            cuda("cu128", "12.8")
                && cuda("12.8", "12.8")
                && cuda("12.8.1", "12.8")
                && !cuda("12.8", "12.6")
        );
        assert!(cuda(">=12.6", "13.0") && !cuda(">=12.6,<13", "13.0"));
        for text in ["", "cpu", "twelve", "cu"] {
            assert!(text.parse::<CudaWish>().is_err(), "{text}");
        }
    }

    #[test]
    fn target_names() {
        for name in ["train", "gh200-pool", "a", "a_1"] {
            assert!(is_target_name(name), "{name}");
        }
        for name in ["", "Train", "-x", "0a", "a b", "a.b", "a/b", "a\nb", &"x".repeat(64)] {
            assert!(!is_target_name(name), "{name}");
        }
    }
}
