//! L3: the image's cuBLAS, loaded from where torch loads it, and proven data type by data type.

#[cfg(target_os = "linux")]
mod judge;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod lt;
#[cfg(target_os = "linux")]
mod prove;
#[cfg(target_os = "linux")]
mod speed;
#[cfg(target_os = "linux")]
mod status;

use std::path::Path;

use crate::domain::Code;
use crate::verify::Check;
use crate::verify::frame::Teller;
use crate::verify::plan::Job;

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    match (&job.libraries.cublas_lt, &job.libraries.cublas) {
        (Some(lt), Some(cublas)) => prove(job, lt, cublas, tell),
        (lt, cublas) => {
            let known = lt.as_ref().or(cublas.as_ref());
            let text = known.map_or_else(
                || "no torch of this image loads a cuBLAS: there is none to be proven".to_owned(),
                |path| format!("{} was found, and not the library beside it", path.display()),
            );
            tell.check(
                Check::skip("libraries", Code::Unknown, text)
                    .help("the layer `static` says what is in the image"),
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn prove(_job: &Job, _lt: &Path, cublas: &Path, tell: &mut Teller<'_>) {
    let text = format!("{} was not loaded: only Linux's libraries are", cublas.display());
    tell.check(Check::skip("libraries", Code::Unknown, text));
}

#[cfg(target_os = "linux")]
fn prove(job: &Job, lt: &Path, cublas: &Path, tell: &mut Teller<'_>) {
    use std::time::Duration;

    use crate::verify::gpu::Gpu;
    use crate::verify::numerics::Dtype;
    use status::explain;

    // Of 900 MB on a disk that may be far away.
    tell.phase("dlopen of libcublasLt and libcublas", Duration::from_mins(3));
    let pair = match library::Pair::load(lt, cublas) {
        Ok(pair) => pair,
        Err(check) => return tell.check(*check),
    };
    tell.check(library::as_meant(lt, cublas));
    tell.check(match pair.versions() {
        Ok(versions) => library::same_version(versions),
        Err(err) => explain(&err, "versions"),
    });
    let mut enter = |call: &str| tell.phase(call, Duration::from_mins(1));
    let gpu = match Gpu::open(job.device.unwrap_or(0), &mut enter) {
        Ok(gpu) => gpu,
        Err(err) => return tell.check(explain(&err, "device")),
    };
    let blas = match lt::Blas::create(&pair, &gpu, &mut enter) {
        Ok(blas) => blas,
        Err(err) => return tell.check(explain(&err, "handle")),
    };
    let capability = match gpu.capability() {
        Ok(capability) => capability,
        Err(err) => return tell.check(explain(&err, "device")),
    };
    for dtype in job.dtypes.iter().copied() {
        if let Some(needed) = lt::needs(dtype).filter(|needed| capability < *needed) {
            let text =
                format!("{} needs compute capability {needed}, this is {capability}", dtype.word());
            tell.check(Check::not_needed(dtype.word(), text));
            continue;
        }
        if dtype == Dtype::Tf32 && forbids_tf32() {
            let text = "NVIDIA_TF32_OVERRIDE=0 forbids it: products of 32 bits keep all of them";
            tell.check(Check::not_needed(dtype.word(), text));
            continue;
        }
        if prove::prove(&gpu, &blas, dtype, job, tell) && job.speed {
            speed::tell(&blas, &gpu, dtype, job, tell);
        }
    }
}

/// The user wants no TF32, which NVIDIA's libraries obey whatever a program asks for.
#[cfg(target_os = "linux")]
fn forbids_tf32() -> bool {
    std::env::var_os("NVIDIA_TF32_OVERRIDE").is_some_and(|value| value == "0")
}
