//! The smallest base image that serves. The wheels bring their own CUDA, so a slim Python image is
//! enough; a toolkit is only needed where something is compiled, and there only.

use std::collections::BTreeSet;

use super::judge::Wheel;
use super::problem::Pool;
use super::stack::BaseChoice;
use crate::domain::{CudaVersion, Glibc, Order as _, PythonVersion};
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

/// Distributions of NVIDIA's images that are taken, newest first.
const DISTROS: [&str; 4] = ["ubuntu24.04", "ubuntu22.04", "ubuntu20.04", "ubuntu18.04"];

/// Chooses base, builder and packages.
pub fn choose(
    matrix: &Matrix,
    needs: &BTreeSet<Need>,
    source_build: bool,
    pool: &Pool,
    python: PythonVersion,
    wheel: Wheel<'_>,
    forward_compat: bool,
) -> BaseChoice {
    let compiles = source_build || needs.contains(&Need::Nvcc);
    // A wheel that carries CUDA has its libraries under names of its own: what is compiled against
    // CUDA would not find them.
    let hidden = source_build && wheel.variant.bundled;
    // The larger one first: each holds what the next one does.
    let system = if needs.contains(&Need::NvccRuntime) {
        Some(("devel", "extensions are compiled while the program runs, which takes the toolkit"))
    } else if needs.contains(&Need::CudaRuntime) {
        Some(("runtime", "programs beside torch load CUDA's libraries from the system"))
    } else if hidden {
        Some((
            "runtime",
            "this build of torch hides its CUDA libraries, so a compiled extension needs the system's",
        ))
    } else if forward_compat {
        Some((
            "base",
            "a driver of an older CUDA takes NVIDIA's compat libraries, which its images hold",
        ))
    } else {
        None
    };
    let cuda = wheel.cuda();
    let found = system.and_then(|(flavour, why)| {
        Some((cuda_image(matrix, cuda?, pool, flavour, None)?, flavour, why))
    });
    let (repository, tag, flavour, why) = if let Some(((repository, tag), flavour, why)) = found {
        (repository, tag, flavour, why.to_owned())
    } else {
        let (tag, elsewhere) = slim(matrix, pool, python);
        let mut why = reason(needs, compiles).to_owned();
        if let Some((flavour, _)) = system {
            let cuda = cuda.map_or_else(|| "this CUDA".into(), |cuda| format!("CUDA {cuda}"));
            let platform = pool.platform();
            why = format!(
                "no nvidia/cuda {flavour} image of {cuda} is known for {platform}, which was wanted; {why}"
            );
        }
        if let Some(given) = elsewhere {
            why =
                format!("{why}; `os: {given}` bounds the wheels, the image has a newer C library");
        }
        ("python".to_owned(), tag, "slim", why)
    };
    // What is compiled against a newer C library does not load in an older image.
    let newest = glibc(matrix, &tag);
    let builder = compiles.then(|| cuda_image(matrix, cuda?, pool, "devel", newest)).flatten();
    let mut apt = Vec::new();
    if needs.contains(&Need::Compile) && flavour != "devel" {
        // Triton compiles a small C file at its first start; the headers of Python are in the image.
        apt.extend(["gcc".to_owned(), "libc6-dev".to_owned()]);
    }
    BaseChoice { repository, tag, flavour: flavour.into(), builder, apt, why }
}

/// Why the slim image is enough.
fn reason(needs: &BTreeSet<Need>, compiles: bool) -> &'static str {
    if compiles {
        "extensions are compiled in a CUDA devel image and copied into the slim one: the wheels bring the CUDA that runs them"
    } else if needs.contains(&Need::Compile) {
        "the wheels bring their own CUDA; torch.compile needs a C compiler at run time"
    } else {
        "the wheels bring their own CUDA, so nothing but Python is needed"
    }
}

/// The tag of the slim image, and the distribution that was asked for where there is none on it.
fn slim<'p>(matrix: &Matrix, pool: &'p Pool, python: PythonVersion) -> (String, Option<&'p str>) {
    // The Debian release that the target names, when Python has an image on it; else the newest.
    let wanted = pool.libc.as_ref().and_then(|libc| matrix.distro(&libc.given));
    let stands_on = |tag: &&String| {
        wanted.is_some_and(|d| {
            std::iter::once(&d.name).chain(&d.aliases).any(|n| tag.ends_with(n.as_str()))
        })
    };
    let variants = python_image(matrix, python).map(|r| r.variants.as_slice()).unwrap_or_default();
    let named = variants.iter().find(stands_on);
    let elsewhere = pool.libc.as_ref().filter(|_| named.is_none()).map(|libc| libc.given.as_str());
    let tag = named.or(variants.first()).cloned();
    (tag.unwrap_or_else(|| format!("3.{}-slim-bookworm", python.minor)), elsewhere)
}

/// The newest patch of the series that has an image of the flavour for the platform, on the newest
/// distribution whose C library is not newer than `newest`; the one that the target names goes first.
fn cuda_image(
    matrix: &Matrix,
    cuda: CudaVersion,
    pool: &Pool,
    flavour: &str,
    newest: Option<Glibc>,
) -> Option<(String, String)> {
    let platform = pool.platform();
    let old_enough = |distro: &str| {
        let library = matrix.distro(distro).and_then(|distro| distro.glibc);
        newest.is_none_or(|newest| library.is_none_or(|library| library <= newest))
    };
    let named = pool.libc.as_ref().map(|libc| libc.given.as_str());
    let mut distros: Vec<&str> = DISTROS.into_iter().filter(|distro| old_enough(distro)).collect();
    distros.order_by_key(|distro| Some(*distro) != named);
    let with_cudnn = format!("cudnn-{flavour}");
    // Without cuDNN where there is one: the wheels bring theirs.
    let flavour = |image: &CudaImage| {
        [flavour, &with_cudnn]
            .into_iter()
            .find(|f| image.flavours.iter().any(|x| x == f))
            .map(str::to_owned)
    };
    let on = |image: &CudaImage| {
        distros.iter().position(|distro| image.distros.iter().any(|x| x == distro))
    };
    let fits = |image: &&CudaImage| {
        image.cuda.series() == cuda
            && image.platforms.as_ref().is_none_or(|p| p.contains(&platform))
            && flavour(image).is_some()
            && on(image).is_some()
    };
    let rank =
        |image: &&CudaImage| (image.status != "eol", image.cuda, std::cmp::Reverse(on(image)));
    let best = matrix.cuda_images.iter().filter(fits).max_by_key(rank)?;
    let distro = distros[on(best)?];
    Some(("nvidia/cuda".into(), format!("{}-{}-{distro}", best.cuda, flavour(best)?)))
}
