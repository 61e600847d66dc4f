//! The vocabulary of findings: one word per kind of trouble, the same in every voice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseError, serde_as_text};

macro_rules! codes {
    ($($variant:ident = $word:literal, $meaning:literal;)+) => {
        /// What a finding is about. A word never changes its meaning; new ones may be added.
        ///
        /// The order is the order in which the links of the chain break: of several errors the
        /// one named first decides, because the later ones are never reached on that machine.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// Every code, in order of decision.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word itself.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// One line on what it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

codes! {
    InputConflict = "input-conflict", "two lines of the project contradict each other";
    InputUnread = "input-unread", "a part of the project could not be read without running it";
    AmbiguousIndex = "ambiguous-index", "several indexes may serve the package, and the installer picks by version number";
    NoCudaPlatform = "no-cuda-platform", "there is no CUDA for this platform";
    NoSuchWheel = "no-such-wheel", "this build was never published for this platform";
    MissingIndex = "missing-index", "the build exists, but not on the index that the install line names";
    PythonUnsupported = "python-unsupported", "no file for this Python";
    CpuOnlyWheel = "cpu-only-wheel", "the file carries no GPU code at all";
    GlibcTooOld = "glibc-too-old", "the C library of the system is older than the file needs";
    PlatformMismatch = "platform-mismatch", "an image or a binary for another kind of machine";
    CompilerMissing = "compiler-missing", "something is compiled here, and the compiler or its headers are missing";
    NoDriver = "no-driver", "no NVIDIA driver is installed";
    ContainerRuntime = "container-runtime", "the container engine is not set up to hand GPUs to containers";
    KernelModuleMismatch = "kernel-module-mismatch", "the flavour of the kernel module does not drive this card";
    DriverTooOldForGpu = "driver-too-old-for-gpu", "the driver is older than the card";
    DriverTooNew = "driver-too-new", "the driver has dropped the card";
    ContainerRequirement = "container-requirement", "the image refuses to start on this driver";
    EnvPath = "env-path", "an environment variable hides the GPU or leads the loader astray";
    ForwardCompatUnsupported = "forward-compat-unsupported", "forward compatibility does not cover this card or driver";
    DriverTooOld = "driver-too-old", "the driver is older than the CUDA of the build needs";
    ArchNotInBinary = "arch-not-in-binary", "the file has no code that this GPU can run";
    AbiMismatch = "abi-mismatch", "two packages were compiled for different C++ string ABIs";
    CompanionMismatch = "companion-mismatch", "a package does not belong to this torch build";
    ToolkitMismatch = "toolkit-mismatch", "the compiler does not fit torch's CUDA or does not know the card";
    CudnnMismatch = "cudnn-mismatch", "cuDNN has no code for the card, or two versions of it meet";
    LibraryShadowed = "library-shadowed", "another copy of a CUDA library is found first";
    DriverLibraryMismatch = "driver-library-mismatch", "the user-mode driver and the kernel module differ";
    FabricManager = "fabric-manager", "an NVSwitch machine runs without its Fabric Manager";
    DriverState = "driver-state", "the driver is there, but not in a working state";
    DevicePermission = "device-permission", "the GPU's device nodes may not be opened";
    ContainerDeviceLost = "container-device-lost", "the container lost its device nodes";
    NoDevice = "no-device", "the driver answers, and shows this process no GPU, or not the one asked for";
    DeviceBusy = "device-busy", "another process holds the GPU";
    OutOfMemory = "out-of-memory", "the memory of the GPU does not suffice";
    SharedMemory = "shared-memory", "/dev/shm is too small for the processes that share it";
    NcclError = "nccl-error", "NCCL could not connect the GPUs or processes";
    HardwareFault = "hardware-fault", "the GPU reports a fault of its own";
    ProgramFault = "program-fault", "the program itself did what no GPU allows";
    MatrixMismatch = "matrix-mismatch", "a file says something else than the matrix, and the file wins";
    LockStale = "lock-stale", "the lock no longer answers to the requirements";
    LockDrift = "lock-drift", "what is installed is not what was locked";
    WrongResult = "wrong-result", "the GPU computed something else than it should";
    Slow = "slow", "far below the peak of the card";
    Unknown = "unknown", "it is not known";
    OkViaPtxJit = "ok-via-ptx-jit", "runs after the driver has compiled PTX at the first start";
    Ok = "ok", "runs";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Code {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.word() == given).ok_or_else(|| {
            ParseError::new("a finding code", given, "a word such as `driver-too-old`")
        })
    }
}

serde_as_text!(Code);

/// How much a finding weighs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will not work.
    Error,
    /// Nobody could confirm that it works.
    Unknown,
    /// It works, with a catch.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something to be said about a combination, a project or a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// How much it weighs.
    pub severity: Severity,
    /// One sentence that names both sides.
    pub message: String,
    /// What it rests on.
    pub facts: Vec<Fact>,
    /// What to do, cheapest first.
    pub help: Vec<String>,
    /// File and line that it is about, where there is one.
    pub place: Option<Place>,
}

/// A line of a file of the user's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file, as a person in the project's folder would name it, with `/`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A fact and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The fact.
    pub text: String,
    /// Its evidence.
    pub source: String,
}

impl Finding {
    /// A finding without facts and help.
    pub fn new(code: Code, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            message: message.into(),
            facts: Vec::new(),
            help: Vec::new(),
            place: None,
        }
    }

    /// Adds what it rests on.
    #[must_use]
    pub fn fact(mut self, text: impl Into<String>, source: impl Into<String>) -> Self {
        self.facts.push(Fact { text: text.into(), source: source.into() });
        self
    }

    /// Says where it stands.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_kebab_case_and_read_back() {
        for code in Code::ALL {
            assert_eq!(code.word().parse::<Code>(), Ok(*code));
            assert!(code.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(!code.meaning().is_empty());
        }
        assert!("Driver-Too-Old".parse::<Code>().is_err());
        assert!("".parse::<Code>().is_err());
    }
}
