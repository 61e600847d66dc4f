//! The smallest base image that serves. The wheels bring their own CUDA, so a slim Python image is
//! enough; a toolkit is only needed where something is compiled, and there only.

use std::collections::BTreeSet;

use super::judge::Wheel;
use super::problem::Pool;
use super::stack::BaseChoice;
use crate::domain::{CudaVersion, Glibc, PythonVersion};
use crate::matrix::{CudaImage, Matrix, PythonImage};
use crate::requirements::Need;

/// The released slim image of a Python, if it has one.
pub fn python_image(matrix: &Matrix, python: PythonVersion) -> Option<&PythonImage> {
    let tag = format!("python:3.{}-slim", python.minor);
    matrix.python_images.iter().find(|image| image.tag == tag)
}

/// The C library of an image, by the Debian release at the end of its tag.
pub fn glibc(matrix: &Matrix, tag: &str) -> Option<Glibc> {
    matrix.distro(tag.rsplit('-').next()?)?.glibc
}

/// Chooses base, builder and packages.
pub fn choose(
    matrix: &Matrix,
    needs: &BTreeSet<Need>,
    source_build: bool,
    pool: &Pool,
    python: PythonVersion,
    wheel: Wheel<'_>,
) -> BaseChoice {
    let row = python_image(matrix, python);
    // The Debian release that the target names, when Python has an image on it; else the newest.
    let wanted = pool.libc.as_ref().and_then(|libc| matrix.distro(&libc.given));
    let stands_on = |tag: &&String| {
        wanted.is_some_and(|d| {
            std::iter::once(&d.name).chain(&d.aliases).any(|n| tag.ends_with(n.as_str()))
        })
    };
    let variants = row.map(|r| r.variants.as_slice()).unwrap_or_default();
    let named = variants.iter().find(stands_on).or(variants.first()).cloned();
    let tag = named.unwrap_or_else(|| format!("3.{}-slim-bookworm", python.minor));
    let elsewhere = pool.libc.as_ref().filter(|_| !variants.iter().any(|t| stands_on(&t)));
    let compiles = source_build || needs.contains(&Need::Nvcc);
    let builder =
        compiles.then(|| wheel.cuda().and_then(|cuda| devel_image(matrix, cuda, pool))).flatten();
    let mut apt = Vec::new();
    if needs.contains(&Need::Compile) {
        // Triton compiles a small C file at its first start; the headers of Python are in the image.
        apt.extend(["gcc".to_owned(), "libc6-dev".to_owned()]);
    }
    let why = if compiles {
        "extensions are compiled in a CUDA devel image and copied into the slim one: the wheels bring the CUDA that runs them"
    } else if apt.is_empty() {
        "the wheels bring their own CUDA, so nothing but Python is needed"
    } else {
        "the wheels bring their own CUDA; torch.compile needs a C compiler at run time"
    };
    BaseChoice {
        repository: "python".into(),
        tag,
        flavour: "slim".into(),
        builder,
        apt,
        why: match elsewhere {
            Some(libc) => format!(
                "{why}; `os: {}` bounds the wheels, the image has a newer C library",
                libc.given
            ),
            None => why.into(),
        },
    }
}

/// The newest patch of the series that has a devel image for the platform.
fn devel_image(matrix: &Matrix, cuda: CudaVersion, pool: &Pool) -> Option<(String, String)> {
    let platform = pool.platform();
    let distros = ["ubuntu24.04", "ubuntu22.04", "ubuntu20.04", "ubuntu18.04"];
    let fits = |image: &&CudaImage| {
        image.cuda.series() == cuda
            && image.platforms.as_ref().is_none_or(|p| p.contains(&platform))
    };
    let flavour = |image: &CudaImage| {
        ["devel", "cudnn-devel"].into_iter().find(|f| image.flavours.iter().any(|x| x == f))
    };
    let rank = |image: &&CudaImage| (image.status != "eol", image.cuda);
    let best = matrix
        .cuda_images
        .iter()
        .filter(fits)
        .filter(|i| flavour(i).is_some() && i.distros.iter().any(|d| distros.contains(&d.as_str())))
        .max_by_key(rank)?;
    let distro = distros.iter().find(|d| best.distros.iter().any(|x| x == *d))?;
    Some(("nvidia/cuda".into(), format!("{}-{}-{distro}", best.cuda, flavour(best)?)))
}
