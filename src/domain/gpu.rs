//! GPU identity and GPU code: what a device is, and what a program was compiled for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseError, digits, serde_compact};

/// CUDA compute capability, such as `9.0` for Hopper.
///
/// Two small integers without a unit, not a decimal: `12.0` sorts above `9.0`. Read from `9.0`,
/// `sm_90` or `sm90`, always shown as `9.0`.
///
/// Source: CUDA C++ Programming Guide, "Compute Capabilities".
///
/// # Errors
/// Parsing refuses missing parts, signs, a third part, and suffixed targets such as `sm_90a`,
/// which name a code target and not a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// Generation; machine code never crosses it.
    pub major: u8,
    /// Revision inside the generation.
    pub minor: u8,
}

impl ComputeCapability {
    /// `major` and `minor` as NVIDIA writes them around the dot.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }
}

impl FromStr for ComputeCapability {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let parts = match given.strip_prefix("sm_").or_else(|| given.strip_prefix("sm")) {
            // The last digit is the minor: sm_120 is 12.0, not 1.20.
            Some(sm) => sm.split_at_checked(sm.len().saturating_sub(1)),
            None => given.split_once('.'),
        };
        parts
            .and_then(|(major, minor)| Some(Self::new(digits(major)?, digits(minor)?)))
            .filter(|cc| cc.major > 0 && cc.minor < 10)
            .ok_or_else(|| {
                ParseError::new("a compute capability", given, "a form like `9.0` or `sm_90`")
            })
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How far a code target reaches beyond its own capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Suffix {
    /// None: the ordinary rules of machine code and PTX.
    Plain,
    /// `a`: exactly this capability, machine code and PTX alike.
    ArchSpecific,
    /// `f`: this capability and later ones of its family (same major).
    Family,
}

/// What a piece of GPU code was compiled for: `sm_90a` (machine code) or `compute_120` (PTX).
///
/// # Errors
/// Parsing refuses bare numbers, other prefixes and unknown suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeTarget {
    /// The capability in its name.
    pub capability: ComputeCapability,
    /// Reach.
    pub suffix: Suffix,
    /// PTX (`compute_XY`), compiled by the driver when the program starts.
    pub ptx: bool,
}

impl CodeTarget {
    /// Whether PTX of this target can be compiled for `device`.
    ///
    /// Plain PTX serves every capability from its own upwards, majors included; `a` PTX only its
    /// own; `f` PTX its family. Source: CUDA C++ Programming Guide, measured with ptxas.
    pub fn ptx_reaches(self, device: ComputeCapability) -> bool {
        match self.suffix {
            Suffix::Plain => device >= self.capability,
            Suffix::ArchSpecific => device == self.capability,
            Suffix::Family => self.same_major_from(device),
        }
    }

    /// Same major, minor not below: the reach of plain machine code between discrete GPUs.
    pub fn same_major_from(self, device: ComputeCapability) -> bool {
        device.major == self.capability.major && device.minor >= self.capability.minor
    }
}

impl FromStr for CodeTarget {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (ptx, rest) = match given.strip_prefix("compute_") {
                Some(rest) => (true, rest),
                None => (false, given.strip_prefix("sm_")?),
            };
            let (number, suffix) = match rest.strip_suffix(['a', 'f']) {
                Some(number) if rest.ends_with('a') => (number, Suffix::ArchSpecific),
                Some(number) => (number, Suffix::Family),
                None => (rest, Suffix::Plain),
            };
            let (major, minor) = number.split_at_checked(number.len().checked_sub(1)?)?;
            let capability = ComputeCapability::new(digits(major)?, digits(minor)?);
            (capability.major > 0).then_some(Self { capability, suffix, ptx })
        };
        read().ok_or_else(|| {
            ParseError::new(
                "a code target",
                given,
                "a form like `sm_90`, `sm_90a` or `compute_120`",
            )
        })
    }
}

impl fmt::Display for CodeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.ptx { "compute_" } else { "sm_" };
        let suffix = match self.suffix {
            Suffix::Plain => "",
            Suffix::ArchSpecific => "a",
            Suffix::Family => "f",
        };
        write!(f, "{prefix}{}{}{suffix}", self.capability.major, self.capability.minor)
    }
}

/// What sort of product a GPU is. Decides forward compatibility and container brand clauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuKind {
    /// Data center cards (brand `tesla`).
    Datacenter,
    /// RTX PRO, Quadro and RTX A cards.
    Workstation,
    /// GeForce.
    Geforce,
    /// TITAN.
    Titan,
    /// Jetson modules: their driver comes with JetPack.
    Jetson,
    /// Built into a desktop computer (GB10).
    Integrated,
    /// A family of laptop parts known by a pattern of names.
    Family,
}

impl FromStr for GpuKind {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Ok(match given {
            "datacenter" => Self::Datacenter,
            "workstation" => Self::Workstation,
            "geforce" => Self::Geforce,
            "titan" => Self::Titan,
            "jetson" => Self::Jetson,
            "integrated" => Self::Integrated,
            "family" => Self::Family,
            _ => {
                return Err(ParseError::new(
                    "a GPU kind",
                    given,
                    "datacenter, workstation, geforce, titan, jetson, integrated or family",
                ));
            }
        })
    }
}

/// The two flavours of NVIDIA's kernel module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelModule {
    /// The open one: needs the GPU system processor, so Turing or newer; alone from Blackwell on.
    Open,
    /// The proprietary one: the only one before Turing.
    Proprietary,
}

impl FromStr for KernelModule {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.trim().to_ascii_lowercase().trim_start_matches("nvidia-") {
            "open" => Ok(Self::Open),
            "proprietary" | "closed" => Ok(Self::Proprietary),
            _ => Err(ParseError::new("a kernel module flavour", given, "`open` or `proprietary`")),
        }
    }
}

impl fmt::Display for KernelModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Proprietary => "proprietary",
        })
    }
}

/// The form in which GPU names are compared: lower case, no vendor words, letters and digits only.
///
/// nvidia-smi prints `NVIDIA GeForce RTX 3090`, older drivers `GeForce RTX 3090`, people write
/// `rtx-3090`; MIG devices append ` MIG 1g.10gb`. All of them become `rtx3090`.
pub fn gpu_key(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let lower = lower.split(" mig ").next().unwrap_or_default();
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !matches!(*word, "" | "nvidia" | "geforce" | "tesla" | "gpu" | "graphics"))
        .collect()
}

serde_compact!(ComputeCapability, (u8, u8), |v| (v.major, v.minor), |(major, minor)| {
    ComputeCapability { major, minor }
});
serde_compact!(
    CodeTarget,
    (ComputeCapability, Suffix, bool),
    |v| (v.capability, v.suffix, v.ptx),
    |(capability, suffix, ptx)| CodeTarget { capability, suffix, ptx }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_read_and_refused() {
        for (text, shown) in [
            ("9.0", "9.0"),
            ("sm_90", "9.0"),
            ("sm90", "9.0"),
            ("sm_120", "12.0"),
            ("12.1", "12.1"),
            ("8.6", "8.6"),
        ] {
            assert_eq!(text.parse::<ComputeCapability>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            "9",
            "9.",
            ".0",
            "9.0.1",
            "+9.0",
            "9.-0",
            "sm_",
            "sm_9",
            "sm_90a",
            "sm_120f",
            "compute_90",
            "0.0",
            "9.10",
            "nine",
            "90",
        ] {
            assert!(text.parse::<ComputeCapability>().is_err(), "{text}");
        }
        let newer: ComputeCapability = "12.0".parse().expect("12.0");
        assert!(newer > "9.0".parse().expect("9.0"));
    }

    #[test]
    fn code_targets_read_and_refused() {
        for text in
            ["sm_50", "sm_90a", "sm_120", "sm_103f", "compute_120", "compute_90a", "compute_120f"]
        {
            assert_eq!(text.parse::<CodeTarget>().expect(text).to_string(), text);
        }
        for text in [
            "", "90", "sm_", "sm_a", "sm_9", "sm_90b", "SM_90", "compute", "compute_", "sm_90aa",
            "lto_90", "sm_00",
        ] {
            assert!(text.parse::<CodeTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn ptx_reach_depends_on_the_suffix() {
        let reaches = |code: &str, device: &str| {
            code.parse::<CodeTarget>().expect(code).ptx_reaches(device.parse().expect(device))
        };
        assert!(reaches("compute_90", "12.0"));
        assert!(!reaches("compute_90", "8.9"));
        assert!(reaches("compute_90a", "9.0"));
        assert!(!reaches("compute_90a", "10.0"));
        assert!(reaches("compute_120f", "12.1"));
        assert!(!reaches("compute_100f", "12.0"));
    }

    #[test]
    fn gpu_names_meet_in_one_key() {
        for name in
            ["NVIDIA GeForce RTX 3090", "GeForce RTX 3090", "rtx-3090", "RTX3090", "rtx 3090 "]
        {
            assert_eq!(gpu_key(name), "rtx3090", "{name}");
        }
        assert_eq!(gpu_key("NVIDIA A100-SXM4-40GB MIG 1g.5gb"), "a100sxm440gb");
        assert_ne!(gpu_key("Quadro RTX 5000"), gpu_key("NVIDIA RTX 5000 Ada Generation"));
    }
}
