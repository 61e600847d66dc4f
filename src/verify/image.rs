//! What an image holds, from its files alone: its Python, its torch, and the CUDA libraries that torch will load.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Check;
use crate::lock::Target;

/// Libraries at the place where torch loads them, by absolute path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Libraries {
    /// `libcublas.so.12`
    pub cublas: Option<PathBuf>,
    /// `libcublasLt.so.12`
    pub cublas_lt: Option<PathBuf>,
    /// `libcudnn.so.9`
    pub cudnn: Option<PathBuf>,
    /// `libnccl.so.2`
    pub nccl: Option<PathBuf>,
}

/// An image, or the environment that this program runs in.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The interpreter.
    pub python: Option<PathBuf>,
    /// torch as its files say: `2.9.1+cu128`.
    pub torch: Option<String>,
    /// See there.
    pub libraries: Libraries,
}

/// Looks at the environment that this program runs in: what it holds, and how its files were judged, held against
/// the target of a lock where there is one. `env` is an interpreter or the folder of an environment.
pub fn look(_env: Option<&Path>, _target: Option<&Target>) -> (Image, Vec<Check>) {
    (Image::default(), Vec::new())
}
