//! cuDNN called by name, and what its statuses mean.
#![allow(unsafe_code, reason = "cuDNN is C")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use crate::domain::Code;
use crate::verify::gpu::CudaError;
use crate::verify::library::{self, Loaded};
use crate::verify::{Check, status};

/// Functions that say whether a sub-library belongs to the others; each library has those that it has parts for.
///
/// Source: cudnn_graph.h, cudnn_ops.h, cudnn_cnn.h and cudnn_adv.h of cuDNN 9.
pub(super) const VERSION_CHECKS: &[&str] = &[
    "cudnnGraphVersionCheck",
    "cudnnOpsVersionCheck",
    "cudnnCnnVersionCheck",
    "cudnnAdvVersionCheck",
];

/// Torch's own package, as people install it again.
const AGAIN: &str = "install torch's own nvidia-cudnn package again: its files belong together";

/// cuDNN, loaded.
pub(super) struct Cudnn(Loaded);

impl Cudnn {
    /// Loads it as torch's loader does.
    pub(super) fn load(path: &Path) -> Result<Self, Box<Check>> {
        Loaded::load(path).map(Self).map_err(|why| {
            let text = format!("{} cannot be loaded: {why}", path.display());
            Box::new(Check::fail("library", Code::CudnnMismatch, text).help(AGAIN))
        })
    }

    /// Looks a function up and calls it. Its type is the one of the header: it stands beside the name.
    pub(super) fn call<F: Copy>(
        &self,
        name: &'static str,
        with: impl FnOnce(F) -> c_int,
    ) -> Result<(), CudaError> {
        // SAFETY: the caller gives the type.
        unsafe { self.0.call(name, with, |status| self.text(status)) }
    }

    /// `CUDNN_STATUS_NOT_INITIALIZED`
    fn text(&self, status: c_int) -> String {
        type Text = unsafe extern "C" fn(c_int) -> *const c_char;
        // SAFETY: as the header declares it; it gives a text that stays, or nothing.
        unsafe {
            let text = self.0.get::<Text>("cudnnGetErrorString").map(|text| text(status));
            match text {
                Ok(text) if !text.is_null() => CStr::from_ptr(text).to_string_lossy().into_owned(),
                _ => format!("status {status}"),
            }
        }
    }

    /// What makes something, and gives its pointer.
    pub(super) fn create(&self, name: &'static str) -> Result<*mut c_void, CudaError> {
        let mut made = std::ptr::null_mut();
        // SAFETY: it writes one pointer.
        self.call(name, |create: unsafe extern "C" fn(*mut *mut c_void) -> c_int| unsafe {
            create(&raw mut made)
        })?;
        Ok(made)
    }

    /// Its version, and that of the CUDA runtime that it was built with.
    pub(super) fn version(&self) -> Check {
        // SAFETY: both take nothing and give a number, and need no driver.
        let number = |name: &str| unsafe {
            self.0.get::<unsafe extern "C" fn() -> usize>(name).map(|ask| ask()).ok()
        };
        let Some(version) = number("cudnnGetVersion") else {
            let text = "the library that torch loads as cuDNN has no function cudnnGetVersion";
            return Check::fail("versions", Code::CudnnMismatch, text).help(AGAIN);
        };
        let text = shown(version);
        let check = Check::pass("versions", format!("cuDNN is {text}")).number("cudnn", text);
        match number("cudnnGetCudartVersion") {
            // 12080 is CUDA 12.8.
            Some(cuda) => check.number("cudart", format!("{}.{}", cuda / 1000, cuda % 1000 / 10)),
            None => check,
        }
    }

    /// Whether a sub-library belongs to the others; `None`: this cuDNN has no such part.
    pub(super) fn version_check(&self, name: &'static str) -> Option<Result<(), CudaError>> {
        // SAFETY: it takes nothing.
        let asked = self.call(name, |check: unsafe extern "C" fn() -> c_int| unsafe { check() });
        asked.as_ref().err().is_none_or(|err| err.status.is_some()).then_some(asked)
    }
}

/// 91002 is 9.10.2, and 8907 of before is 8.9.7.
fn shown(version: usize) -> String {
    let major = if version < 10_000 { 1000 } else { 10_000 };
    format!("{}.{}.{}", version / major, version % major / 100, version % 100)
}

/// Whether all of cuDNN that stands in this process lies in the folder that was meant, and its main file once.
pub(super) fn as_meant(path: &Path) -> Check {
    library::as_meant("library", &[path], "cuDNN is the one that torch loads")
}

/// A call that failed, of cuDNN or of libcuda, as the check `name`.
///
/// Source: `cudnnStatus_t` of cuDNN 9; those below 1000 are of cuDNN 8 and older.
pub(super) fn explain(err: &CudaError, name: String) -> Check {
    if !err.call.starts_with("cudnn") {
        return status::explain(err, name);
    }
    let said = |check: Check| check.fact(err.to_string(), "cuDNN");
    let Some(number) = err.status else {
        let text = format!("the cuDNN that torch loads has no function {}", err.call);
        return said(Check::fail(name, Code::CudnnMismatch, text).help(AGAIN));
    };
    let what = format!("{} returns {number}, {}", err.call, err.text);
    let (code, text, help) = match number {
        1 | 1001 => (
            Code::DriverState,
            format!("cuDNN does not start: {what}"),
            "look whether libcuda starts (`gpuseal verify --here --layer cuda`); where it does, a part of cuDNN is missing: install its package again",
        ),
        14 | 1002 | 1003 => (
            Code::CudnnMismatch,
            format!("the parts of cuDNN are of different versions: {what}"),
            "one copy of cuDNN, torch's own: take the other out of LD_LIBRARY_PATH or out of the image",
        ),
        1008 => (Code::CudnnMismatch, format!("a part of cuDNN cannot be loaded: {what}"), AGAIN),
        6 | 3007 => (
            Code::CudnnMismatch,
            format!("this cuDNN has no code for this GPU: {what}"),
            "take a build of torch for its compute capability: `gpuseal resolve` names one",
        ),
        3008 => {
            (Code::CudnnMismatch, format!("this cuDNN is for another CUDA runtime: {what}"), AGAIN)
        }
        _ => (
            Code::Unknown,
            format!("cuDNN refuses: {what}"),
            "CUDNN_LOGLEVEL_DBG=2 and CUDNN_LOGDEST_DBG=stderr make cuDNN say why",
        ),
    };
    said(Check::fail(name, code, text).number("status", number).help(help))
}

/// A status that says that there is no such convolution.
pub(super) const fn is_unsupported(status: c_int) -> bool {
    matches!(status, 9 | 3000..=3006 | 3009..=3999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    #[test]
    fn versions_of_both_kinds() {
        assert_eq!(["9.10.2", "8.9.7", "9.1.0"], [91_002, 8907, 90_100].map(shown));
    }

    #[test]
    fn a_start_that_fails_is_told_from_parts_that_do_not_fit() {
        let code = |status| {
            let err = CudaError { call: "cudnnCreate", status, text: "why".into() };
            let check = explain(&err, "handle".into());
            assert!(check.outcome == Outcome::Fail && !check.help.is_empty(), "{check:?}");
            check.code
        };
        assert_eq!(code(Some(1001)), Code::DriverState);
        for status in [Some(14), Some(1002), Some(1008), Some(3007), None] {
            assert_eq!(code(status), Code::CudnnMismatch, "{status:?}");
        }
        assert_eq!(code(Some(5000)), Code::Unknown);
        let err = CudaError { call: "cuMemAlloc_v2", status: Some(2), text: "why".into() };
        assert_eq!(explain(&err, "handle".into()).code, Code::OutOfMemory);
    }
}
