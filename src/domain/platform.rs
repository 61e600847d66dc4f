//! Where a program runs and which file of a release is meant for there.

use std::fmt;
use std::str::FromStr;

use super::{CudaVersion, ParseError, digits, serde_as_text, serde_compact};

/// Operating system and machine, in Docker's words.
///
/// # Errors
/// Parsing takes Docker's words and the usual aliases of the machine (`x86_64`, `aarch64`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// `linux/amd64`
    LinuxAmd64,
    /// `linux/arm64`: Arm servers (SBSA) and Jetson; the GPU tells which.
    LinuxArm64,
    /// `linux/ppc64le`
    LinuxPpc64le,
    /// `windows/amd64`
    WindowsAmd64,
    /// `windows/arm64`
    WindowsArm64,
    /// `macos/arm64`
    MacosArm64,
    /// `macos/amd64`
    MacosAmd64,
}

impl Platform {
    /// Every platform.
    pub const ALL: &[Self] = &[
        Self::LinuxAmd64,
        Self::LinuxArm64,
        Self::LinuxPpc64le,
        Self::WindowsAmd64,
        Self::WindowsArm64,
        Self::MacosArm64,
        Self::MacosAmd64,
    ];

    /// Whether NVIDIA publishes CUDA for it and PyTorch builds with it.
    pub const fn has_cuda(self) -> bool {
        matches!(self, Self::LinuxAmd64 | Self::LinuxArm64 | Self::WindowsAmd64)
    }

    /// Images of NVIDIA GPU containers exist for it.
    pub const fn has_container(self) -> bool {
        matches!(self, Self::LinuxAmd64 | Self::LinuxArm64)
    }

    /// Linux of any machine.
    pub const fn is_linux(self) -> bool {
        matches!(self, Self::LinuxAmd64 | Self::LinuxArm64 | Self::LinuxPpc64le)
    }

    /// Docker's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "linux/amd64",
            Self::LinuxArm64 => "linux/arm64",
            Self::LinuxPpc64le => "linux/ppc64le",
            Self::WindowsAmd64 => "windows/amd64",
            Self::WindowsArm64 => "windows/arm64",
            Self::MacosArm64 => "macos/arm64",
            Self::MacosAmd64 => "macos/amd64",
        }
    }
}

impl FromStr for Platform {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let err = || {
            ParseError::new(
                "a platform",
                given,
                "`linux/amd64`, `linux/arm64`, `windows/amd64` or `macos/arm64`",
            )
        };
        let lower = given.trim().to_ascii_lowercase().replace("x86_64", "amd64");
        let (mut system, mut machine) = (None, None);
        for word in lower.split(['/', '-', '_', ' ', '.']) {
            match word {
                "windows" | "win" | "win32" | "win64" => system = Some("windows"),
                "macos" | "macosx" | "darwin" | "osx" => system = Some("macos"),
                "linux" | "linux64" | "manylinux" | "manylinux1" | "manylinux2010"
                | "manylinux2014" => system = Some("linux"),
                "amd64" | "x64" => machine = Some("amd64"),
                "arm64" | "aarch64" => machine = Some("arm64"),
                "ppc64le" => machine = Some("ppc64le"),
                // Versions: `windows 11`, `manylinux_2_28`, `linux/arm64/v8`.
                "v8" => (),
                number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => (),
                _ => return Err(err()),
            }
        }
        if system.is_none() && machine.is_none() {
            return Err(err());
        }
        let system = system.unwrap_or("linux");
        let machine = machine.unwrap_or(if system == "macos" { "arm64" } else { "amd64" });
        let name = format!("{system}/{machine}");
        Self::ALL.iter().copied().find(|p| p.name() == name).ok_or_else(err)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A glibc version, `2.28`.
///
/// # Errors
/// Parsing refuses anything but two groups of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glibc(u8, u8);

impl FromStr for Glibc {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        given
            .split_once('.')
            .and_then(|(major, minor)| Some(Self(digits(major)?, digits(minor)?)))
            .ok_or_else(|| ParseError::new("a glibc version", given, "a form like `2.28`"))
    }
}

impl Glibc {
    /// `major.minor`.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self(major, minor)
    }

    /// Major and minor.
    pub const fn parts(self) -> (u8, u8) {
        (self.0, self.1)
    }

    /// The floor that a wheel's platform tag states (PEP 600 and its forerunners), lowest of several.
    pub fn of_tag(tag: &str) -> Option<Self> {
        tag.split('.')
            .filter_map(|tag| {
                if let Some(rest) = tag.strip_prefix("manylinux_") {
                    let mut parts = rest.split('_');
                    return Some(Self(digits(parts.next()?)?, digits(parts.next()?)?));
                }
                let legacy = [("manylinux1_", 5), ("manylinux2010_", 12), ("manylinux2014_", 17)];
                legacy.iter().find(|(p, _)| tag.starts_with(p)).map(|(_, minor)| Self(2, *minor))
            })
            .min()
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A Python version as far as wheels care: `3.12`, `3.13t` (free-threaded), patch kept if given.
///
/// # Errors
/// Parsing refuses Python 2, leading zeros and anything but digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    /// 12 in `3.12`.
    pub minor: u8,
    /// Patch, where one was written.
    pub patch: Option<u8>,
    /// The build without the global interpreter lock.
    pub free_threaded: bool,
}

impl PythonVersion {
    /// Minor versions of Python 3 that are told apart where none is named: from the oldest that a
    /// torch of the matrix knows to some that are still to come.
    pub const MINORS: std::ops::RangeInclusive<u8> = 6..=20;

    /// `3.minor`.
    pub const fn new(minor: u8) -> Self {
        Self { minor, patch: None, free_threaded: false }
    }

    /// The same number for PEP 440 comparisons.
    pub fn pep440(self) -> pep440_rs::Version {
        // Without a patch, any patch may be meant; the highest satisfies `<3.13` and `!=3.13.1`.
        pep440_rs::Version::new([3, u64::from(self.minor), self.patch.map_or(99, u64::from)])
    }
}

impl FromStr for PythonVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            let lower = given.trim().to_ascii_lowercase();
            let text = ["python", "cp", "py"]
                .iter()
                .find_map(|prefix| lower.strip_prefix(prefix))
                .unwrap_or(&lower)
                .trim();
            let text = text.strip_suffix(".x").or_else(|| text.strip_suffix(".*")).unwrap_or(text);
            // `cp312`: the dot is left out.
            let dotted = text
                .strip_prefix('3')
                .filter(|t| lower != text && !t.is_empty() && !t.starts_with('.'))
                .map(|t| format!("3.{t}"));
            let text = dotted.as_deref().unwrap_or(text);
            let (text, free_threaded) = text.strip_suffix('t').map_or((text, false), |t| (t, true));
            let mut parts = text.split('.');
            let plain =
                |t: &str| (t == "0" || !t.starts_with('0')).then(|| digits::<u8>(t)).flatten();
            if parts.next()? != "3" {
                return None;
            }
            let minor = plain(parts.next()?)?;
            let patch = match parts.next() {
                Some(t) => Some(plain(t)?),
                None => None,
            };
            parts.next().is_none().then_some(Self { minor, patch, free_threaded })
        };
        read().ok_or_else(|| {
            ParseError::new(
                "a Python version",
                given,
                "a form like `3.12` or `3.13t`, quoted in a file",
            )
        })
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.minor)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        f.write_str(if self.free_threaded { "t" } else { "" })
    }
}

/// The Python part of a wheel's file name: `cp312`, `cp313t`, `cp38-abi3`, `py3`.
///
/// # Errors
/// Parsing refuses what is neither a CPython, a stable-ABI, a pure nor a PyPy tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PythonTag {
    /// One CPython minor; `t` without the global interpreter lock.
    CPython {
        /// 12 in `cp312`.
        minor: u8,
        /// `cp313t`.
        free_threaded: bool,
    },
    /// The stable ABI: this minor and all later ones, never free-threaded.
    Abi3 {
        /// 38 in `cp38-abi3`.
        from: u8,
    },
    /// No extension module for Python itself: `py3`, `py39`.
    Pure {
        /// 9 in `py39`.
        from: u8,
    },
    /// PyPy, which CUDA packages do not serve.
    PyPy,
}

impl PythonTag {
    /// Whether an interpreter of this version installs a file with this tag.
    pub fn admits(self, python: PythonVersion) -> bool {
        match self {
            Self::CPython { minor, free_threaded } => {
                minor == python.minor && free_threaded == python.free_threaded
            }
            Self::Abi3 { from } => python.minor >= from && !python.free_threaded,
            Self::Pure { from } => python.minor >= from,
            Self::PyPy => false,
        }
    }
}

impl FromStr for PythonTag {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            if given.starts_with("pypy") || given.starts_with("pp") {
                return Some(Self::PyPy);
            }
            if let Some(rest) = given.strip_prefix("py3") {
                return Some(Self::Pure { from: if rest.is_empty() { 0 } else { digits(rest)? } });
            }
            let rest = given.strip_prefix("cp3")?;
            if let Some(from) = rest.strip_suffix("-abi3") {
                return Some(Self::Abi3 { from: digits(from)? });
            }
            // `cp37m`: the m of Python 3.7 and older names an ABI flag, not another Python.
            let (number, free_threaded) = match rest.strip_suffix('t') {
                Some(number) => (number, true),
                None => (rest.strip_suffix('m').unwrap_or(rest), false),
            };
            Some(Self::CPython { minor: digits(number)?, free_threaded })
        };
        read().ok_or_else(|| {
            ParseError::new("a Python tag", given, "a form like `cp312`, `cp313t` or `cp38-abi3`")
        })
    }
}

impl fmt::Display for PythonTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CPython { minor, free_threaded: true } => write!(f, "cp3{minor}t"),
            Self::CPython { minor, .. } => write!(f, "cp3{minor}"),
            Self::Abi3 { from } => write!(f, "cp3{from}-abi3"),
            Self::Pure { from: 0 } => f.write_str("py3"),
            Self::Pure { from } => write!(f, "py3{from}"),
            Self::PyPy => f.write_str("pypy"),
        }
    }
}

/// Which build of a release: `cu128`, `cpu`, `rocm6.4`, `xpu`. Also the last path segment of its index.
///
/// # Errors
/// Parsing refuses what is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WheelVariant {
    /// No GPU code.
    Cpu,
    /// CUDA of this series.
    Cuda {
        /// 12 in `cu128`.
        major: u8,
        /// 8 in `cu128`.
        minor: u8,
    },
    /// AMD.
    Rocm {
        /// 6 in `rocm6.2.4`.
        major: u8,
        /// 2 in `rocm6.2.4`.
        minor: u8,
        /// 4 in `rocm6.2.4`.
        patch: Option<u8>,
    },
    /// Intel.
    Xpu,
}

impl WheelVariant {
    /// The CUDA series, for CUDA builds.
    pub fn cuda(self) -> Option<CudaVersion> {
        match self {
            Self::Cuda { major, minor } => {
                Some(CudaVersion::new(u16::from(major), u16::from(minor)))
            }
            _ => None,
        }
    }

    /// The build made with this CUDA series.
    pub fn of_cuda(cuda: CudaVersion) -> Option<Self> {
        Some(Self::Cuda {
            major: u8::try_from(cuda.major).ok()?,
            minor: u8::try_from(cuda.minor).ok()?,
        })
    }
}

impl FromStr for WheelVariant {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            if given == "cpu" {
                return Some(Self::Cpu);
            }
            if given == "xpu" {
                return Some(Self::Xpu);
            }
            if let Some(rest) = given.strip_prefix("cu") {
                // The last digit is the minor: cu118 is 11.8, cu92 is 9.2.
                let (major, minor) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
                // `cu12` names a major, not CUDA 1.2.
                let major = digits(major).filter(|major| *major >= 9)?;
                return Some(Self::Cuda { major, minor: digits(minor)? });
            }
            let mut parts = given.strip_prefix("rocm")?.split('.');
            let (major, minor) = (digits(parts.next()?)?, digits(parts.next()?)?);
            let patch = match parts.next() {
                Some(text) => Some(digits(text)?),
                None => None,
            };
            parts.next().is_none().then_some(Self::Rocm { major, minor, patch })
        };
        read().ok_or_else(|| {
            ParseError::new(
                "a wheel variant",
                given,
                "a form like `cu128`, `cpu`, `rocm6.4` or `xpu`",
            )
        })
    }
}

impl fmt::Display for WheelVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Xpu => f.write_str("xpu"),
            Self::Cuda { major, minor } => write!(f, "cu{major}{minor}"),
            Self::Rocm { major, minor, patch } => {
                write!(f, "rocm{major}.{minor}")?;
                patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
            }
        }
    }
}

serde_as_text!(PythonVersion);
serde_compact!(Platform, u8, |v| *v as u8, |index| *Platform::ALL
    .get(usize::from(index))
    .unwrap_or(&Platform::LinuxAmd64));
serde_compact!(Glibc, (u8, u8), |v| (v.0, v.1), |(major, minor)| Glibc(major, minor));
serde_compact!(
    PythonTag,
    (u8, u8),
    |v| match *v {
        PythonTag::CPython { minor, free_threaded: false } => (0, minor),
        PythonTag::CPython { minor, free_threaded: true } => (1, minor),
        PythonTag::Abi3 { from } => (2, from),
        PythonTag::Pure { from } => (3, from),
        PythonTag::PyPy => (4, 0),
    },
    |(kind, minor)| match kind {
        0 | 1 => PythonTag::CPython { minor, free_threaded: kind == 1 },
        2 => PythonTag::Abi3 { from: minor },
        3 => PythonTag::Pure { from: minor },
        _ => PythonTag::PyPy,
    }
);
serde_compact!(
    WheelVariant,
    (u8, u8, u8, Option<u8>),
    |v| match *v {
        WheelVariant::Cpu => (0, 0, 0, None),
        WheelVariant::Cuda { major, minor } => (1, major, minor, None),
        WheelVariant::Rocm { major, minor, patch } => (2, major, minor, patch),
        WheelVariant::Xpu => (3, 0, 0, None),
    },
    |(kind, major, minor, patch)| match kind {
        1 => WheelVariant::Cuda { major, minor },
        2 => WheelVariant::Rocm { major, minor, patch },
        3 => WheelVariant::Xpu,
        _ => WheelVariant::Cpu,
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_read_and_refused() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux_x86_64", "linux/amd64"),
            ("linux-aarch64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("win_amd64", "windows/amd64"),
            ("windows", "windows/amd64"),
            ("macos/arm64", "macos/arm64"),
            ("darwin/arm64", "macos/arm64"),
            ("Windows 11", "windows/amd64"),
            ("manylinux_2_28_x86_64", "linux/amd64"),
            ("macosx_11_0_arm64", "macos/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
        ] {
            assert_eq!(text.parse::<Platform>().expect(text).to_string(), shown);
        }
        for text in ["", "linux/", "beos/amd64", "linux/riscv64", "11"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn glibc_read_and_refused() {
        assert_eq!("2.28".parse::<Glibc>().expect("2.28").to_string(), "2.28");
        assert!("2.9".parse::<Glibc>() < "2.28".parse());
        for text in ["", "2", "2.", "2.28.1", "musl", "+2.28"] {
            assert!(text.parse::<Glibc>().is_err(), "{text}");
        }
        assert_eq!(Glibc::of_tag("manylinux_2_28_x86_64"), "2.28".parse().ok());
        assert_eq!(
            Glibc::of_tag("manylinux_2_17_x86_64.manylinux2014_x86_64"),
            "2.17".parse().ok()
        );
        assert_eq!(Glibc::of_tag("manylinux1_x86_64"), "2.5".parse().ok());
        assert_eq!(Glibc::of_tag("linux_x86_64"), None);
    }

    #[test]
    fn pythons_read_and_refused() {
        for text in ["3.12", "3.10", "3.13t", "3.9.18", "3.0"] {
            assert_eq!(text.parse::<PythonVersion>().expect(text).to_string(), text);
        }
        for text in
            ["", "3", "3.", "2.7", "310", "3.010", "010", "3.x.y", "3.12.1.2", "py3", "3.1e1", "t"]
        {
            assert!(text.parse::<PythonVersion>().is_err(), "{text}");
        }
        assert!("3.10".parse::<PythonVersion>() > "3.9".parse());
    }

    #[test]
    fn python_tags_read_refused_and_admit() {
        for (text, shown) in [
            ("cp312", "cp312"),
            ("cp313t", "cp313t"),
            ("cp37m", "cp37"),
            ("cp38-abi3", "cp38-abi3"),
            ("py3", "py3"),
            ("py39", "py39"),
            ("pypy38_pp73", "pypy"),
        ] {
            assert_eq!(text.parse::<PythonTag>().expect(text).to_string(), shown);
        }
        for text in ["", "312", "cp", "cp3", "cp27", "cp3x", "abi3", "cp312-abi4", "ip312"] {
            assert!(text.parse::<PythonTag>().is_err(), "{text}");
        }
        let admits = |tag: &str, python: &str| {
            tag.parse::<PythonTag>().expect(tag).admits(python.parse().expect(python))
        };
        assert!(admits("cp312", "3.12.4") && !admits("cp312", "3.13") && !admits("cp313", "3.13t"));
        assert!(
            admits("cp38-abi3", "3.14")
                && !admits("cp38-abi3", "3.7")
                && !admits("cp38-abi3", "3.14t")
        );
        assert!(admits("py39", "3.13t") && !admits("py39", "3.8"));
    }

    #[test]
    fn variants_read_and_refused() {
        for text in ["cu118", "cu130", "cu92", "cpu", "xpu", "rocm6.4", "rocm6.2.4"] {
            assert_eq!(text.parse::<WheelVariant>().expect(text).to_string(), text);
        }
        for text in [
            "", "cu", "cu1", "cu12", "cuda", "cuda12.8", "12.8", "rocm", "rocm6", "CPU", "cu12.8",
            "whl",
        ] {
            assert!(text.parse::<WheelVariant>().is_err(), "{text}");
        }
        let cu130: WheelVariant = "cu130".parse().expect("cu130");
        assert_eq!(cu130.cuda(), Some(CudaVersion::new(13, 0)));
    }
}
