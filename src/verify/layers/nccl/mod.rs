//! L6: the image's NCCL adds up what stands on all devices, and every element on every device is looked at.
//!
//! One process has all devices, as NCCL allows: no rendezvous, no address, no second program.

#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod proof;

use crate::domain::Code;
use crate::verify::Check;
use crate::verify::frame::Teller;
use crate::verify::plan::Job;
#[cfg(target_os = "linux")]
use proof::prove;

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    if job.devices.len() < 2 {
        return tell.check(Check::not_needed("devices", "one device has nobody to talk to"));
    }
    let Some(path) = &job.libraries.nccl else {
        let text = "no torch of this image loads a NCCL: there is none to be proven";
        let help = "the layer `static` says what is in the image";
        return tell.check(Check::skip("library", Code::Unknown, text).help(help));
    };
    prove(job, path, tell);
}

#[cfg(not(target_os = "linux"))]
fn prove(_job: &Job, path: &std::path::Path, tell: &mut Teller<'_>) {
    let text = format!("{} was not loaded: only Linux's libraries are", path.display());
    tell.check(Check::skip("library", Code::Unknown, text));
}
