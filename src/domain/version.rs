//! Versions. None of these is semver: drivers have leading zeros, cuDNN has four parts, and the
//! local label of a torch version says which build, never which release is newer.

use std::fmt;
use std::str::FromStr;

use super::{ParseError, WheelVariant, digits, serde_as_text, serde_compact};

/// An NVIDIA driver version: `570.124.06` on Linux, `572.16` on Windows.
///
/// The first part is the branch. Ordered part by part; a missing part counts as zero, so the
/// bare branch `580` sorts below all of its releases.
///
/// # Errors
/// Parsing refuses anything but one to three groups of digits, and a first group of fewer than
/// three digits, which is a CUDA version (`12.8`) and not a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverVersion {
    /// Branch, such as 570.
    pub branch: u16,
    rest: [u16; 2],
    /// How many parts were written, 1 to 3; equal versions are written alike.
    parts: u8,
}

impl DriverVersion {
    /// The branch alone, below all of its releases.
    pub const fn of_branch(branch: u16) -> Self {
        Self { branch, rest: [0, 0], parts: 1 }
    }

    /// Its three numbers; a part that was not written is zero.
    pub const fn numbers(self) -> [u16; 3] {
        [self.branch, self.rest[0], self.rest[1]]
    }

    /// Whether only the branch was written.
    pub const fn is_bare_branch(self) -> bool {
        self.parts == 1
    }
}

impl FromStr for DriverVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let err = || {
            ParseError::new(
                "a driver version",
                given,
                "digits like `570.124.06`, `572.16` or a branch like `535`",
            )
        };
        let mut parts = given.split('.');
        let branch: u16 = parts.next().and_then(digits).ok_or_else(err)?;
        if !(100..1000).contains(&branch) {
            return Err(ParseError::new(
                "a driver version",
                given,
                "a branch of three digits, as in `570.124.06`; a CUDA version is written `cuda:12.8`",
            ));
        }
        let mut rest = [0, 0];
        let mut count = 1;
        for part in parts {
            *rest.get_mut(count - 1).ok_or_else(err)? = digits(part).ok_or_else(err)?;
            count += 1;
        }
        let parts = u8::try_from(count).map_err(|_| err())?;
        Ok(Self { branch, rest, parts })
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.branch)?;
        for part in &self.rest[..usize::from(self.parts - 1)] {
            write!(f, ".{part:02}")?;
        }
        Ok(())
    }
}

/// What a user says about the driver of a pool.
///
/// `570.86.15` is the oldest of the pool, `535` that branch's first data center release,
/// `>=535.161,<580` a range, `cuda:12.8` the branch whose nvidia-smi prints that CUDA version,
/// `none` a machine without a driver.
///
/// # Errors
/// As [`DriverVersion`]; ranges take `>=`, `>`, `<`, `<=` and `==` joined by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriverSpec {
    /// Exactly this one, or the oldest of the pool.
    Oldest(DriverVersion),
    /// From `lower` (its branch's first data center release when bare) to below `upper`.
    Range {
        /// Lowest driver of the pool.
        lower: Option<DriverVersion>,
        /// First driver above the pool, or the last in it when `upper_included`.
        upper: Option<DriverVersion>,
        /// Whether `upper` itself belongs to the pool.
        upper_included: bool,
    },
    /// The driver that implements this CUDA version.
    Cuda(CudaVersion),
    /// No driver at all.
    None,
}

impl FromStr for DriverSpec {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        // Whatever part of it is wrong, the message shows the whole as it was written.
        read_driver(given).map_err(|err| ParseError::new(err.what, given, err.expected))
    }
}

fn read_driver(given: &str) -> Result<DriverSpec, ParseError> {
    let lower = given.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "none" | "not installed" | "no driver") {
        return Ok(DriverSpec::None);
    }
    if let Some(cuda) =
        lower.strip_prefix("cuda").map(|t| t.trim_start_matches([':', '-', '=', ' ']))
    {
        return cuda.parse().map(DriverSpec::Cuda);
    }
    let plain = plain_driver(&lower);
    let text = plain.as_str();
    if !text.contains(['<', '>', '=', ',']) {
        return text.parse().map(DriverSpec::Oldest);
    }
    let err =
        || ParseError::new("a driver range", given, "bounds like `>=535.161` or `>=535,<580`");
    let (mut lower, mut upper, mut upper_included) = (None, None, false);
    for bound in text.split(',').map(str::trim) {
        let version = |op: &str| bound[op.len()..].trim().parse::<DriverVersion>();
        if bound.starts_with(">=") {
            lower = Some(version(">=")?);
        } else if bound.starts_with("==") {
            return version("==").map(DriverSpec::Oldest);
        } else if bound.starts_with("<=") {
            (upper, upper_included) = (Some(version("<=")?), true);
        } else if bound.starts_with('>') {
            // Drivers are named, not counted: above one is from one on.
            lower = Some(version(">")?);
        } else if bound.starts_with('<') {
            upper = Some(version("<")?);
        } else {
            return Err(err());
        }
    }
    if let (Some(low), Some(high)) = (lower, upper)
        && (low > high || (low == high && !upper_included))
    {
        return Err(ParseError::new("a driver range", given, "a lower bound below the upper one"));
    }
    Ok(DriverSpec::Range { lower, upper, upper_included })
}

/// A driver as package names, banners and Windows write it, as its number:
/// `nvidia-driver-535-server`, `R535`, `535.x`, `535+`, `535.54.03 (CUDA 12.2)`, `31.0.15.3623`.
fn plain_driver(lower: &str) -> String {
    let text = lower.split('(').next().unwrap_or_default().trim();
    let text = ["driver version:", "nvidia-driver-", "driver"]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text).trim());
    let text = text
        .strip_prefix('r')
        .filter(|t| t.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(text);
    let text = ["-server", "-open", ".x", ".*"]
        .iter()
        .fold(text, |text, suffix| text.strip_suffix(suffix).unwrap_or(text));
    if let Some(from) = text.strip_suffix('+') {
        return format!(">={from}");
    }
    // Windows' own numbers end in the five digits of the driver's.
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() == 4
        && parts[0].len() == 2
        && text.bytes().all(|b| b == b'.' || b.is_ascii_digit())
    {
        let digits: String = parts[2..].concat();
        if let Some(last) = digits.len().checked_sub(5).and_then(|at| digits.get(at..)) {
            return format!("{}.{}", &last[..3], &last[3..]);
        }
    }
    text.to_owned()
}

impl fmt::Display for DriverSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest(version) => version.fmt(f),
            Self::Cuda(cuda) => write!(f, "cuda:{cuda}"),
            Self::None => f.write_str("none"),
            Self::Range { lower, upper, upper_included } => {
                let mut comma = "";
                if let Some(version) = lower {
                    write!(f, ">={version}")?;
                    comma = ",";
                }
                if let Some(version) = upper {
                    let op = if *upper_included { "<=" } else { "<" };
                    write!(f, "{comma}{op}{version}")?;
                }
                Ok(())
            }
        }
    }
}

/// A CUDA version: `12.8`, or with its patch `12.8.1`.
///
/// # Errors
/// Parsing refuses fewer than two or more than four groups of digits; a fourth group must be zero
/// (PyPI writes `13.0.3.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion {
    /// Libraries of different majors do not mix.
    pub major: u16,
    /// Minor.
    pub minor: u16,
    /// Patch, where one was written.
    pub patch: Option<u16>,
}

impl CudaVersion {
    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, patch: None }
    }

    /// Without its patch: `12.8.1` -> `12.8`.
    #[must_use]
    pub const fn series(self) -> Self {
        Self::new(self.major, self.minor)
    }
}

impl FromStr for CudaVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = given.split('.').map(digits::<u16>);
            let (major, minor) = (parts.next()??, parts.next()??);
            let patch = match parts.next() {
                Some(patch) => Some(patch?),
                None => None,
            };
            match parts.next() {
                None | Some(Some(0)) => (),
                _ => return None,
            }
            (parts.next().is_none() && (1..100).contains(&major)).then_some(Self {
                major,
                minor,
                patch,
            })
        };
        read().ok_or_else(|| {
            ParseError::new("a CUDA version", given, "a form like `12.8` or `12.8.1`")
        })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// A cuDNN version: always four parts, `9.10.2.21`.
///
/// # Errors
/// Parsing refuses any other number of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudnnVersion(pub [u16; 4]);

impl CudnnVersion {
    /// The major, which is the number in its soname.
    pub const fn major(self) -> u16 {
        self.0[0]
    }
}

impl FromStr for CudnnVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = [0; 4];
            let mut texts = given.split('.');
            for part in &mut parts {
                *part = digits(texts.next()?)?;
            }
            texts.next().is_none().then_some(Self(parts))
        };
        read()
            .ok_or_else(|| ParseError::new("a cuDNN version", given, "four parts like `9.10.2.21`"))
    }
}

impl fmt::Display for CudnnVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, build] = self.0;
        write!(f, "{major}.{minor}.{patch}.{build}")
    }
}

/// A stable torch release, `2.9.1`: the public part of a version, nothing else.
///
/// # Errors
/// Parsing refuses anything but three groups of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorchRelease {
    /// Major.
    pub major: u16,
    /// Minor; `major.minor` is a release line.
    pub minor: u16,
    /// Patch.
    pub patch: u16,
}

impl TorchRelease {
    /// The release line, `(2, 9)`.
    pub const fn line(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// The same number for PEP 440 comparisons.
    pub fn pep440(self) -> pep440_rs::Version {
        pep440_rs::Version::new([self.major, self.minor, self.patch].map(u64::from))
    }
}

impl FromStr for TorchRelease {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = given.split('.').map(digits::<u16>);
            let release =
                Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
            parts.next().is_none().then_some(release)
        };
        read().ok_or_else(|| ParseError::new("a torch release", given, "three parts like `2.9.1`"))
    }
}

impl fmt::Display for TorchRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// An exact torch version as an install line writes it: PEP 440, with or without a local label.
///
/// # Errors
/// Parsing refuses what PEP 440 refuses, and ranges.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TorchVersion {
    /// The whole version.
    pub version: pep440_rs::Version,
    /// The build its local label names, if it has one that is known to be a build.
    pub variant: Option<WheelVariant>,
}

impl TorchVersion {
    /// The stable release it belongs to; `None` for pre-releases, nightlies and post-releases.
    pub fn release(&self) -> Option<TorchRelease> {
        let v = &self.version;
        if v.any_prerelease() || v.is_post() || v.epoch() != 0 || v.release().len() > 3 {
            return None;
        }
        let part = |i: usize| u16::try_from(v.release().get(i).copied().unwrap_or(0)).ok();
        Some(TorchRelease { major: part(0)?, minor: part(1)?, patch: part(2)? })
    }

    /// The local label as written, `cu126`.
    pub fn local(&self) -> Option<String> {
        let text = self.version.to_string();
        text.split_once('+').map(|(_, local)| local.to_owned())
    }
}

impl FromStr for TorchVersion {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim().trim_start_matches("torch").trim_start_matches("==").trim();
        let version = pep440_rs::Version::from_str(text).map_err(|_| {
            ParseError::new("an exact torch version", given, "a form like `2.9.1` or `2.9.1+cu130`")
        })?;
        // `cu121.with.pypi.cudnn` is a way in which cu121 is built.
        let label = version.to_string();
        let label = label.split_once('+').map(|(_, local)| local);
        let variant = label.and_then(|label| {
            label.parse().or_else(|_| label.split('.').next().unwrap_or(label).parse()).ok()
        });
        Ok(Self { version, variant })
    }
}

impl fmt::Display for TorchVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)
    }
}

serde_as_text!(DriverSpec, TorchVersion);

serde_compact!(
    DriverVersion,
    (u16, u16, u16, u8),
    |v| (v.branch, v.rest[0], v.rest[1], v.parts),
    |(branch, a, b, parts)| DriverVersion { branch, rest: [a, b], parts: parts.clamp(1, 3) }
);
serde_compact!(CudaVersion, (u16, u16, Option<u16>), |v| (v.major, v.minor, v.patch), |(
    major,
    minor,
    patch,
)| {
    CudaVersion { major, minor, patch }
});
serde_compact!(CudnnVersion, [u16; 4], |v| v.0, CudnnVersion);
serde_compact!(TorchRelease, (u16, u16, u16), |v| (v.major, v.minor, v.patch), |(
    major,
    minor,
    patch,
)| TorchRelease {
    major,
    minor,
    patch
});

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(text: &str) -> DriverVersion {
        text.parse().expect(text)
    }

    #[test]
    fn drivers_read_and_refused() {
        for text in ["570.124.06", "535.54.03", "572.16", "528.02", "580", "418.40.04", "525.60.13"]
        {
            assert_eq!(driver(text).to_string(), text);
        }
        for text in [
            "",
            "58O.65",
            "570.",
            ".570",
            "570..06",
            "570.1.2.3",
            "v570.12",
            "570.12a",
            "+570",
            "12.8",
            "13",
            "1000.1",
            "570 .12",
            "-570",
        ] {
            assert!(text.parse::<DriverVersion>().is_err(), "{text}");
        }
        assert!(driver("570.124.06") > driver("570.86.15"));
        assert!(driver("580") < driver("580.65.06"));
        assert!(
            "12.8".parse::<DriverVersion>().expect_err("CUDA").to_string().contains("cuda:12.8")
        );
    }

    #[test]
    fn driver_specs_read_and_refused() {
        for (text, shown) in [
            ("570.86.15", "570.86.15"),
            ("535", "535"),
            (">=535.161", ">=535.161"),
            (">= 535 , < 580", ">=535,<580"),
            ("<=580.95.05", "<=580.95.05"),
            ("==550.54.14", "550.54.14"),
            ("cuda:12.8", "cuda:12.8"),
            ("cuda 12.8", "cuda:12.8"),
            ("none", "none"),
            ("None", "none"),
            ("CUDA 12.4", "cuda:12.4"),
            ("R535", "535"),
            ("535.x", "535"),
            ("535+", ">=535"),
            ("nvidia-driver-535-server", "535"),
            ("535.104.05 (CUDA 12.2)", "535.104.05"),
            ("31.0.15.3623", "536.23"),
        ] {
            assert_eq!(text.parse::<DriverSpec>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            ">=",
            ">=58O",
            "~=535",
            ">=580,<535",
            ">=580,<580",
            "535,580",
            "cuda:",
            ">= 535 580",
        ] {
            assert!(text.parse::<DriverSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn cuda_versions_read_and_refused() {
        for (text, shown) in [
            ("12.8", "12.8"),
            ("12.10", "12.10"),
            ("12.8.1", "12.8.1"),
            ("13.0.3.0", "13.0.3"),
            ("10.2.89", "10.2.89"),
        ] {
            assert_eq!(text.parse::<CudaVersion>().expect(text).to_string(), shown);
        }
        for text in ["", "12", "12.", "cu128", "12.8.1.5", "12.8.1.0.0", "+12.8", "0.1", "128.1"] {
            assert!(text.parse::<CudaVersion>().is_err(), "{text}");
        }
        assert!("12.10".parse::<CudaVersion>().expect("12.10") > CudaVersion::new(12, 9));
    }

    #[test]
    fn cudnn_versions_read_and_refused() {
        assert_eq!("9.10.2.21".parse::<CudnnVersion>().expect("four").to_string(), "9.10.2.21");
        for text in ["", "9", "9.10.2", "9.10.2.21.1", "9.10.2.x", "9..2.21"] {
            assert!(text.parse::<CudnnVersion>().is_err(), "{text}");
        }
        assert!("9.10.2.21".parse::<CudnnVersion>() > "9.5.1.17".parse());
    }

    #[test]
    fn torch_versions_read_and_refused() {
        let read = |text: &str| text.parse::<TorchVersion>().expect(text);
        assert_eq!(read("2.6.0+cu126").release().expect("stable").to_string(), "2.6.0");
        assert_eq!(read("2.6").release().expect("stable").to_string(), "2.6.0");
        assert_eq!(read("torch==2.6.0").to_string(), "2.6.0");
        assert_eq!(read("2.6.0+cu126").variant.expect("variant").to_string(), "cu126");
        assert_eq!(read("2.1.0+ptx").variant, None);
        assert_eq!(read("2.10.0.dev20251001+cu130").release(), None);
        assert_eq!(read("2.9.0rc1").release(), None);
        for text in ["", "two", ">=2.6", "2.6.*", "2.6.0+", "cu126"] {
            assert!(text.parse::<TorchVersion>().is_err(), "{text}");
        }
        for text in ["2.6", "2.6.0.1", "2.6.x", ""] {
            assert!(text.parse::<TorchRelease>().is_err(), "{text}");
        }
    }
}
