//! The image's two libraries of cuBLAS, at the path where torch loads them, called by name.
#![allow(unsafe_code, reason = "cuBLAS is C")]

use std::ffi::{c_int, c_void};
use std::path::Path;

use super::status::words;
use crate::domain::Code;
use crate::verify::Check;
use crate::verify::gpu::CudaError;
use crate::verify::library::{self, Loaded};

/// Functions of `libcublasLt` that are called here.
///
/// Source: cublasLt.h of CUDA 12.8; all of them are there since CUDA 11.0.
const LT: &[&str] = &[
    "cublasLtCreate",
    "cublasLtGetProperty",
    "cublasLtMatmul",
    "cublasLtMatmulAlgoConfigGetAttribute",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
];

/// Functions of `libcublas` that are called here.
///
/// Source: `cublas_api.h` of CUDA 12.8; all of them are there since CUDA 11.2.
const CUBLAS: &[&str] = &[
    "cublasCreate_v2",
    "cublasGemmEx",
    "cublasGetProperty",
    "cublasSetMathMode",
    "cublasSetWorkspace_v2",
];

/// Both libraries, loaded.
pub(super) struct Pair {
    lt: Loaded,
    cublas: Loaded,
}

impl Pair {
    /// Loads `libcublasLt` and then `libcublas`, in the order of torch's own loader: a `libcublas` that comes
    /// first brings the `libcublasLt` that `LD_LIBRARY_PATH` finds, not the one beside it.
    pub(super) fn load(lt: &Path, cublas: &Path) -> Result<Self, Box<Check>> {
        let open = |path: &Path| {
            Loaded::load(path).map_err(|why| {
                let text = format!("{} cannot be loaded: {why}", path.display());
                Box::new(Check::fail("libraries", Code::Unknown, text).help(
                    "install torch's own nvidia-cublas package again, with what it depends on",
                ))
            })
        };
        let pair = Self { lt: open(lt)?, cublas: open(cublas)? };
        for (names, library, path) in [(LT, &pair.lt, lt), (CUBLAS, &pair.cublas, cublas)] {
            // SAFETY: nothing is called here.
            let lacks =
                |name: &&&str| unsafe { library.get::<unsafe extern "C" fn()>(name) }.is_err();
            let missing: Vec<&str> = names.iter().filter(lacks).copied().collect();
            if !missing.is_empty() {
                let missing = missing.join(", ");
                let text = format!("{} has no function {missing}", path.display());
                let check = Check::fail("libraries", Code::CompanionMismatch, text);
                return Err(Box::new(check.help("install torch's own nvidia-cublas package again: the file is another library, or older than CUDA 11.2")));
            }
        }
        Ok(pair)
    }

    /// Looks a function up and calls it. Its type is the one of the header: it stands beside the name.
    pub(super) fn call<F: Copy>(
        &self,
        name: &'static str,
        with: impl FnOnce(F) -> c_int,
    ) -> Result<(), CudaError> {
        let library = if name.starts_with("cublasLt") { &self.lt } else { &self.cublas };
        // SAFETY: the caller gives the type.
        unsafe { library.call(name, with, words) }
    }

    /// Versions of cublasLt and cublas, as they say themselves: major, minor, patch. Their one number is of no
    /// use: the factor of its first part has changed from 1000 to 10000.
    pub(super) fn versions(&self) -> Result<[[c_int; 3]; 2], CudaError> {
        let ask = |name| {
            let mut version: [c_int; 3] = [0; 3];
            for (which, part) in (0..).zip(&mut version) {
                // SAFETY: as library_types.h numbers them (`MAJOR_VERSION` is 0); it writes one integer, and
                // needs no handle.
                self.call(name, |get: unsafe extern "C" fn(c_int, *mut c_int) -> c_int| unsafe {
                    get(which, part)
                })?;
            }
            Ok(version)
        };
        Ok([ask("cublasLtGetProperty")?, ask("cublasGetProperty")?])
    }

    /// A handle of either library: `cublasLtCreate`, `cublasCreate_v2`.
    pub(super) fn handle(&self, name: &'static str) -> Result<*mut c_void, CudaError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: it writes one pointer.
        self.call(name, |create: unsafe extern "C" fn(*mut *mut c_void) -> c_int| unsafe {
            create(&raw mut handle)
        })?;
        Ok(handle)
    }
}

/// Whether the files in the memory of this process are the ones that were meant, and no others.
pub(super) fn as_meant(lt: &Path, cublas: &Path) -> Check {
    let good = "both libraries of cuBLAS are the ones that torch loads";
    library::as_meant("libraries", &[lt, cublas], good)
}

/// Whether both libraries say the same version.
pub(super) fn same_version([lt, cublas]: [[c_int; 3]; 2]) -> Check {
    let [lt_text, cublas_text] =
        [lt, cublas].map(|[major, minor, patch]| format!("{major}.{minor}.{patch}"));
    let check = if lt == cublas {
        Check::pass("versions", format!("cuBLAS and cublasLt are both {cublas_text}"))
    } else {
        let text = format!("cuBLAS is {cublas_text}, and its cublasLt is {lt_text}");
        Check::fail("versions", Code::LibraryShadowed, text)
            .help("install torch's own nvidia-cublas package again: its two files belong together")
    };
    check.number("cublas", cublas_text).number("cublas_lt", lt_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    #[test]
    fn two_versions_do_not_belong_together() {
        assert_eq!(same_version([[12, 8, 4], [12, 8, 4]]).outcome, Outcome::Pass);
        let mixed = same_version([[12, 9, 1], [12, 8, 4]]);
        assert_eq!(mixed.outcome, Outcome::Fail);
        assert_eq!(mixed.text, "cuBLAS is 12.8.4, and its cublasLt is 12.9.1");
    }
}
