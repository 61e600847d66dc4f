//! What a child is to do: plain data, made by the supervisor and read by the child.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Layer;
use super::image::Libraries;
use super::numerics::Dtype;

/// The job of one child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The layer.
    pub layer: Layer,
    /// Index of the device in CUDA's order; `None`: all of them.
    pub device: Option<u32>,
    /// Devices that are asked for, of a layer that is about no single one; empty: all that there are.
    #[serde(default)]
    pub devices: Vec<u32>,
    /// Variables that are set for this child alone.
    pub env: Vec<(String, String)>,
    /// Data types to be proven.
    pub dtypes: Vec<Dtype>,
    /// Measure the speed as well.
    pub speed: bool,
    /// The image's libraries, at the place where torch loads them.
    pub libraries: Libraries,
    /// The image's interpreter.
    pub python: Option<PathBuf>,
    /// torch.compile is promised, not only tried.
    pub compiles: bool,
    /// Dense peak of the device in TFLOP/s (TOPS of int8) by the word of the data type; absent: not known.
    pub peaks: Vec<(Dtype, f64)>,
    /// Dense operations of one of its multiprocessors in a clock; absent: not known.
    #[serde(default)]
    pub per_clock: Vec<(Dtype, f64)>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Prove with small matrices: minutes become seconds where a CPU stands in for the device.
    #[serde(default)]
    pub quick: bool,
}

impl Job {
    /// A job with nothing but its layer and device.
    pub fn new(layer: Layer, device: Option<u32>) -> Self {
        Self {
            layer,
            device,
            devices: Vec::new(),
            env: Vec::new(),
            dtypes: Dtype::ALL.to_vec(),
            speed: true,
            libraries: Libraries::default(),
            python: None,
            compiles: false,
            peaks: Vec::new(),
            per_clock: Vec::new(),
            seed: 1,
            quick: false,
        }
    }
}
