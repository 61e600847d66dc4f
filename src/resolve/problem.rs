//! Requirements placed in the matrix: every name found, every short form spelled out.

use std::collections::BTreeMap;

use super::case::{Driver, Libc, platform_of};
use crate::domain::{KernelModule, Platform, PythonVersion, TorchRelease, WheelVariant};
use crate::matrix::{GpuMatch, Matrix};
use crate::requirements::{Mirrors, Requirements, Target};

/// What is to be solved: requirements whose targets are placed. Cheap to copy and to change:
/// explanations solve many variations of it.
pub type Problem = Requirements<Pool>;

/// A target, placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Name.
    pub name: String,
    /// Cards.
    pub gpus: Vec<GpuMatch>,
    /// Driver.
    pub driver: Option<Driver>,
    /// Platform as given.
    pub platform: Option<Platform>,
    /// C library.
    pub libc: Option<Libc>,
    /// Flavour of the kernel module.
    pub module: Option<KernelModule>,
    /// What a lock holds for it, which is kept while it fits.
    pub kept: Option<Kept>,
}

/// A choice that was made before, and that a newer release alone does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// torch.
    pub torch: TorchRelease,
    /// Its build.
    pub variant: WheelVariant,
    /// Python.
    pub python: PythonVersion,
    /// Exact versions of the packages that were asked for, without labels.
    pub packages: BTreeMap<String, String>,
}

impl Pool {
    /// See [`platform_of`].
    pub fn platform(&self) -> Platform {
        platform_of(self.platform, &self.gpus)
    }
}

/// A name that the matrix does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    /// The text itself.
    pub given: String,
    /// What is wrong.
    pub message: String,
    /// It should name a card.
    pub gpu: bool,
    /// Names that come near.
    pub near: Vec<String>,
    /// Target it belongs to.
    pub target: String,
}

impl Requirements<Pool> {
    /// Places requirements.
    ///
    /// # Errors
    /// Every name that has no row.
    pub fn place(wanted: &Requirements, matrix: &Matrix) -> Result<Self, Vec<Unplaced>> {
        let mut unplaced = Vec::new();
        let targets =
            wanted.targets.iter().map(|t| place_target(t, matrix, &mut unplaced)).collect();
        if !unplaced.is_empty() {
            return Err(unplaced);
        }
        Ok(Self {
            torch: wanted.torch.clone(),
            python: wanted.python.clone(),
            cuda: wanted.cuda.clone(),
            with: wanted.with.clone(),
            needs: wanted.needs.clone(),
            prefer: wanted.prefer,
            allow: wanted.allow,
            targets,
            // Where files come from decides nothing here.
            mirrors: Mirrors::default(),
            file: wanted.file.clone(),
            origins: wanted.origins.clone(),
        })
    }

    /// The same problem for one of its targets.
    #[must_use]
    pub fn only(&self, target: usize) -> Self {
        Self { targets: vec![self.targets[target].clone()], ..self.clone() }
    }
}

/// Finds a card, or says what is wrong with its name.
pub fn place_gpu(given: &str, target: &str, matrix: &Matrix) -> Result<GpuMatch, Unplaced> {
    matrix.gpu(given).map_err(|near| Unplaced {
        given: given.into(),
        message: format!("the matrix knows no GPU `{}`", crate::domain::shown(given)),
        gpu: true,
        near,
        target: target.into(),
    })
}

fn place_target(target: &Target, matrix: &Matrix, unplaced: &mut Vec<Unplaced>) -> Pool {
    let mut gpus = Vec::new();
    for given in &target.gpus {
        match place_gpu(given, &target.name, matrix) {
            Ok(gpu) => gpus.push(gpu),
            Err(err) => unplaced.push(err),
        }
    }
    let mut note = |given: String, message: String| {
        unplaced.push(Unplaced {
            given,
            message,
            gpu: false,
            near: Vec::new(),
            target: target.name.clone(),
        });
    };
    let driver = target.driver.and_then(|spec| match Driver::place(spec, matrix) {
        Ok(driver) => Some(driver),
        Err(message) => {
            note(spec.to_string(), message);
            None
        }
    });
    let libc = target.os.as_ref().and_then(|os| match Libc::find(os, matrix) {
        Ok(libc) => Some(libc),
        Err(message) => {
            note(os.clone(), message);
            None
        }
    });
    Pool {
        name: target.name.clone(),
        gpus,
        driver,
        platform: target.platform,
        libc,
        module: target.kernel_module,
        kept: None,
    }
}
