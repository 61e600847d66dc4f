//! L4: the image's cuDNN, loaded from where torch loads it. A convolution with filters of one by one is a matrix
//! product, and is proven as one.

#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod prove;

use std::path::Path;

use crate::domain::Code;
use crate::verify::Check;
use crate::verify::frame::Teller;
use crate::verify::plan::Job;

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    match &job.libraries.cudnn {
        Some(path) => prove(job, path, tell),
        // The layer of files says so where torch wants one that is not there.
        None if job.libraries.cublas.is_some() => tell.check(Check::not_needed(
            "library",
            "torch of this image loads a cuBLAS, and no cuDNN: there is none to be proven",
        )),
        None => {
            let why = "no torch of this image loads a cuDNN: there is none to be proven";
            tell.check(
                Check::skip("library", Code::Unknown, why)
                    .help("the layer `static` says what is in the image"),
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn prove(_job: &Job, path: &Path, tell: &mut Teller<'_>) {
    let text = format!("{} was not loaded: only Linux's libraries are", path.display());
    tell.check(Check::skip("library", Code::Unknown, text));
}

#[cfg(target_os = "linux")]
fn prove(job: &Job, path: &Path, tell: &mut Teller<'_>) {
    use std::time::Duration;

    use crate::verify::gpu::Gpu;
    use library::{Cudnn, explain};

    const CALL: Duration = Duration::from_mins(1);

    // torch's cuBLAS is in the process before its cuDNN, which takes that one by name and has no way to it of its
    // own. Whether it is sound L3 says.
    for library in [&job.libraries.cublas_lt, &job.libraries.cublas].into_iter().flatten() {
        tell.phase(format!("dlopen of {}", library.display()), Duration::from_mins(3));
        let _ = Cudnn::load(library);
    }
    // Its files have 600 MB and may lie on a disk that is far away.
    tell.phase(format!("dlopen of {}", path.display()), Duration::from_mins(3));
    let cudnn = match Cudnn::load(path) {
        Ok(cudnn) => cudnn,
        Err(check) => return tell.check(*check),
    };
    tell.phase("cudnnGetVersion", CALL);
    tell.check(cudnn.version());
    // Each loads the sub-library of its name; where that is missing cuDNN ends the process.
    for name in library::VERSION_CHECKS {
        tell.phase(*name, CALL);
        if let Some(Err(err)) = cudnn.version_check(name) {
            return tell.check(explain(&err, "sub-libraries".into()));
        }
    }
    tell.check(library::as_meant(path));
    let gpu = match Gpu::open(job.device.unwrap_or(0), &mut |call| tell.phase(call, CALL)) {
        Ok(gpu) => gpu,
        Err(err) => return tell.check(explain(&err, "device".into())),
    };
    tell.phase("cudnnCreate", CALL);
    let handle = match cudnn.create("cudnnCreate") {
        Ok(handle) => handle,
        Err(err) => return tell.check(explain(&err, "handle".into())),
    };
    match gpu.capability() {
        Ok(capability) => prove::dtypes(&gpu, &cudnn, handle, capability, job, tell),
        Err(err) => tell.check(explain(&err, "device".into())),
    }
}
