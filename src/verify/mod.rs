//! Proves on the GPU that an image computes what it should.
//!
//! A run is made of layers, each standing on the one before: files, driver, libcuda, our own kernels, the
//! image's cuBLAS, its cuDNN, its torch, NCCL. [`session`] decides what runs and what it comes to. Whatever
//! touches a driver or a library of the image does so in a child of this program ([`frame`]), because such
//! calls hang, crash and poison the process that made them. A child tells [`Check`]s; what it did not come
//! to tell was not passed.

pub mod before;
pub mod clocks;
pub mod frame;
pub mod gpu;
pub mod image;
pub mod layers;
mod library;
pub mod numerics;
pub mod peaks;
pub mod plan;
pub mod proofs;
pub mod session;
pub mod status;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{Code, Fact};

/// A layer of the proof, in the order in which they stand on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Files and versions of the image; needs no GPU.
    Static,
    /// L0: kernel driver, device nodes, NVML.
    Driver,
    /// L1: libcuda, a context on each device.
    Cuda,
    /// L2: kernels of our own, as PTX and as cubin.
    Kernel,
    /// L3: the image's cuBLAS at the place where torch loads it.
    Cublas,
    /// L4: the image's cuDNN.
    Cudnn,
    /// L5: the image's torch in its own Python.
    Torch,
    /// L6: NCCL between several devices.
    Nccl,
}

impl Layer {
    /// All of them, in order.
    pub const ALL: &[Self] = &[
        Self::Static,
        Self::Driver,
        Self::Cuda,
        Self::Kernel,
        Self::Cublas,
        Self::Cudnn,
        Self::Torch,
        Self::Nccl,
    ];

    /// Its word in every voice: `cublas`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Driver => "driver",
            Self::Cuda => "cuda",
            Self::Kernel => "kernel",
            Self::Cublas => "cublas",
            Self::Cudnn => "cudnn",
            Self::Torch => "torch",
            Self::Nccl => "nccl",
        }
    }

    /// What people read beside it: `L3 cuBLAS`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Static => "files",
            Self::Driver => "L0 driver",
            Self::Cuda => "L1 CUDA context",
            Self::Kernel => "L2 own kernels",
            Self::Cublas => "L3 cuBLAS",
            Self::Cudnn => "L4 cuDNN",
            Self::Torch => "L5 torch",
            Self::Nccl => "L6 NCCL",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It holds, with a catch.
    Warn,
    /// It could not be looked at, or does not apply; the text says why.
    Skip,
    /// It does not hold.
    Fail,
    /// A call did not come back.
    Hang,
    /// The process died.
    Crash,
}

impl Outcome {
    /// Its word in every voice.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::Crash => "crash",
        }
    }

    /// The image or the machine is at fault.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::Hang | Self::Crash)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Unique within its layer and device: `bf16.exact-integer`.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What is wrong; `ok` of a pass, `unknown` of a skip that tells no cause.
    pub code: Code,
    /// One sentence that names both sides.
    pub text: String,
    /// What was measured; the unit stands in the name: `tflops`, `milliseconds`, `sha256`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// What to do, cheapest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<String>,
    /// Without it nothing is proven; a skip of one that is not needed leaves the verdict as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Check {
    /// A check without numbers, facts and help.
    pub fn new(
        name: impl Into<String>,
        outcome: Outcome,
        code: Code,
        text: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            outcome,
            code,
            text: text.into(),
            numbers: Map::new(),
            facts: Vec::new(),
            help: Vec::new(),
            optional: false,
        }
    }

    /// It holds.
    pub fn pass(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(name, Outcome::Pass, Code::Ok, text)
    }

    /// It does not hold.
    pub fn fail(name: impl Into<String>, code: Code, text: impl Into<String>) -> Self {
        Self::new(name, Outcome::Fail, code, text)
    }

    /// It holds, with a catch.
    pub fn warn(name: impl Into<String>, code: Code, text: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warn, code, text)
    }

    /// It could not be looked at.
    pub fn skip(name: impl Into<String>, code: Code, why: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skip, code, why)
    }

    /// It does not apply here: nothing is missing without it.
    pub fn not_needed(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { optional: true, ..Self::skip(name, Code::Ok, why) }
    }

    /// Adds a number or a text that was measured.
    #[must_use]
    pub fn number(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.numbers.insert(name.into(), value.into());
        self
    }

    /// Adds what it rests on.
    #[must_use]
    pub fn fact(mut self, text: impl Into<String>, source: impl Into<String>) -> Self {
        self.facts.push(Fact { text: text.into(), source: source.into() });
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

/// A layer that was run, or why it was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The layer.
    pub layer: Layer,
    /// Index of the device in CUDA's order; `None`: the layer is about no single one.
    pub device: Option<u32>,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// What was looked at, in order; never empty.
    pub checks: Vec<Check>,
}

impl Ran {
    /// The worst outcome of its checks: a layer passes only where all that is needed was looked at.
    pub fn outcome(&self) -> Outcome {
        let counted =
            self.checks.iter().filter(|check| !check.optional || check.outcome != Outcome::Skip);
        counted.map(|check| check.outcome).max().unwrap_or(Outcome::Skip)
    }
}

/// A device that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Index in CUDA's order, as this process sees it.
    pub index: u32,
    /// `NVIDIA H200`
    pub name: String,
    /// `GPU-...`, or `MIG-...` of an instance.
    pub uuid: Option<String>,
    /// `00000000:01:00.0`
    pub address: Option<String>,
    /// `9.0`
    pub capability: Option<String>,
    /// Streaming multiprocessors.
    pub multiprocessors: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// What all of it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All that was asked for was looked at, and holds.
    Proven,
    /// Nothing is known to be wrong, and something that is needed could not be looked at.
    Unproven,
    /// Something is wrong.
    Failed,
}

impl Verdict {
    /// Its word in every voice.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Failed => "failed",
        }
    }
}

/// How the image was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Its files only; no GPU was asked.
    Static,
    /// From inside.
    Here,
    /// From outside, in a container that was started for it.
    Image,
}

/// What the verdict is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// How it was looked at.
    pub mode: Mode,
    /// The image as it was named.
    #[serde(default)]
    pub image: Option<String>,
    /// `sha256:...`, as the engine tells it.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// The engine: `docker`.
    #[serde(default)]
    pub engine: Option<String>,
    /// `sha256:...` of gpuseal.lock; `None`: there is none.
    #[serde(default)]
    pub lock_digest: Option<String>,
    /// The target of the lock.
    #[serde(default)]
    pub target: Option<String>,
    /// Version of the kernel driver.
    #[serde(default)]
    pub driver: Option<String>,
    /// CUDA that the user-mode driver implements.
    #[serde(default)]
    pub driver_cuda: Option<String>,
    /// torch as the image has it: `2.9.1+cu128`.
    #[serde(default)]
    pub torch: Option<String>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// What all of it came to.
    pub verdict: Verdict,
    /// What it is about.
    pub subject: Subject,
    /// Devices, in CUDA's order.
    pub devices: Vec<Device>,
    /// Layers in order, device by device.
    pub layers: Vec<Ran>,
    /// Seed of the random numbers: other numbers have other results.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Wall time, in seconds.
    pub seconds: f64,
}

impl Verification {
    /// Every check with the layer that it belongs to.
    pub fn checks(&self) -> impl Iterator<Item = (&Ran, &Check)> {
        self.layers.iter().flat_map(|ran| ran.checks.iter().map(move |check| (ran, check)))
    }

    /// The check that decides: the first failure in the order of layers, else the first that is needed and
    /// was not looked at.
    pub fn decisive(&self) -> Option<(&Ran, &Check)> {
        let missing = |check: &Check| check.outcome == Outcome::Skip && !check.optional;
        self.checks()
            .find(|(_, check)| check.outcome.is_failure())
            .or_else(|| self.checks().find(|(_, check)| missing(check)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(checks: Vec<Check>) -> Ran {
        Ran { layer: Layer::Cuda, device: None, seconds: 0.0, checks }
    }

    #[test]
    fn a_layer_passes_only_where_all_that_is_needed_was_looked_at() {
        let pass = || Check::pass("a", "fine");
        let skip = || Check::skip("b", Code::Unknown, "nobody looked");
        assert_eq!(ran(vec![pass()]).outcome(), Outcome::Pass);
        assert_eq!(ran(vec![pass(), skip()]).outcome(), Outcome::Skip);
        assert_eq!(ran(vec![pass(), Check::not_needed("b", "no")]).outcome(), Outcome::Pass);
        assert_eq!(ran(vec![Check::not_needed("b", "no")]).outcome(), Outcome::Skip);
        let fail = Check::fail("c", Code::WrongResult, "wrong");
        assert_eq!(ran(vec![skip(), fail, pass()]).outcome(), Outcome::Fail);
        assert_eq!(ran(vec![]).outcome(), Outcome::Skip);
    }
}
