//! The image's two libraries of cuBLAS, at the path where torch loads them, called by name.
#![allow(unsafe_code, reason = "cuBLAS is C")]

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::status::words;
use crate::domain::Code;
use crate::verify::Check;
use crate::verify::gpu::CudaError;

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

/// Both libraries, loaded. They are never closed: what hangs or dies then would spoil what has been told.
pub(super) struct Pair {
    lt: ManuallyDrop<Library>,
    cublas: ManuallyDrop<Library>,
}

impl Pair {
    /// Loads `libcublasLt` and then `libcublas`, in the order of torch's own loader: a `libcublas` that comes
    /// first brings the `libcublasLt` that `LD_LIBRARY_PATH` finds, not the one beside it.
    pub(super) fn load(lt: &Path, cublas: &Path) -> Result<Self, Box<Check>> {
        let open = |path: &Path| {
            // SAFETY: the constructors of the library run, as they do in torch.
            unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|err| {
                let text = format!("{} cannot be loaded: {}", path.display(), source(&err));
                Box::new(Check::fail("libraries", Code::Unknown, text).help(
                    "install torch's own nvidia-cublas package again, with what it depends on",
                ))
            })
        };
        let pair =
            Self { lt: ManuallyDrop::new(open(lt)?), cublas: ManuallyDrop::new(open(cublas)?) };
        for (names, library, path) in [(LT, &pair.lt, lt), (CUBLAS, &pair.cublas, cublas)] {
            // SAFETY: nothing is called here.
            let lacks =
                |name: &&&str| unsafe { library.get::<unsafe extern "C" fn()>(**name) }.is_err();
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
        // SAFETY: nothing is called here; the caller gives the type.
        let function = unsafe { library.get::<F>(name) }.map_err(|err| CudaError {
            call: name,
            status: None,
            text: source(&err),
        })?;
        match with(*function) {
            0 => Ok(()),
            status => Err(CudaError { call: name, status: Some(status), text: words(status) }),
        }
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

fn source(err: &libloading::Error) -> String {
    std::error::Error::source(err).map_or_else(|| err.to_string(), ToString::to_string)
}

/// Whether the files in the memory of this process are the ones that were meant, and no others.
pub(super) fn as_meant(lt: &Path, cublas: &Path) -> Check {
    match fs_err::read_to_string("/proc/self/maps") {
        Ok(maps) => judge_maps(&maps, &[lt, cublas]),
        Err(err) => Check::skip(
            "libraries",
            Code::Unknown,
            format!("nobody knows which files are loaded: {err}"),
        ),
    }
}

fn judge_maps(maps: &str, meant: &[&Path]) -> Check {
    let mut check =
        Check::pass("libraries", "both libraries of cuBLAS are the ones that torch loads");
    for path in meant {
        let real = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let stem =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // `libcublasLt.so.12` and `libcublasLt.so.12.8.4.1` are one library, `libcublas.so.12` another.
        let stem = stem.split_inclusive(".so").next().unwrap_or(&stem);
        let others: Vec<PathBuf> =
            mapped(maps, stem).into_iter().filter(|file| *file != real).collect();
        if let Some(other) = others.first() {
            let text =
                format!("{} is loaded, where torch's own is {}", other.display(), real.display());
            return Check::fail("libraries", Code::LibraryShadowed, text)
                .fact(format!("{} stands in this process", other.display()), "/proc/self/maps")
                .help("take the other copy out of LD_LIBRARY_PATH and LD_PRELOAD, or out of the image");
        }
        check = check.fact(format!("{} is loaded", real.display()), "/proc/self/maps");
    }
    check
}

/// Files in memory whose name begins so.
fn mapped(maps: &str, stem: &str) -> Vec<PathBuf> {
    let files = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let named = |file: &PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stem))
    };
    let mut list: Vec<PathBuf> = files.filter(named).collect();
    list.dedup();
    list
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

    const MAPS: &str = "\
7f0000000000-7f0000001000 r--p 00000000 08:01 11 /site/nvidia/cublas/lib/libcublasLt.so.12
7f0000001000-7f0000002000 r-xp 00001000 08:01 11 /site/nvidia/cublas/lib/libcublasLt.so.12
7f0000003000-7f0000004000 r-xp 00000000 08:01 12 /site/nvidia/cublas/lib/libcublas.so.12
7f0000005000-7f0000006000 rw-p 00000000 00:00 0 [heap]
";

    #[test]
    fn another_copy_in_memory_is_named_beside_the_one_that_is_meant() {
        let lt = Path::new("/site/nvidia/cublas/lib/libcublasLt.so.12");
        let cublas = Path::new("/site/nvidia/cublas/lib/libcublas.so.12");
        let good = judge_maps(MAPS, &[lt, cublas]);
        assert_eq!((good.outcome, good.facts.len()), (Outcome::Pass, 2));
        let other = "7f0-7f1 r-xp 0 08:01 99 /usr/local/cuda/lib64/libcublasLt.so.12.9.1.4\n";
        let bad = judge_maps(&format!("{MAPS}{other}"), &[lt, cublas]);
        assert_eq!((bad.outcome, bad.code), (Outcome::Fail, Code::LibraryShadowed));
        assert!(
            bad.text.contains("/usr/local/cuda/lib64") && bad.text.contains("/site/"),
            "{}",
            bad.text
        );
    }

    #[test]
    fn two_versions_do_not_belong_together() {
        assert_eq!(same_version([[12, 8, 4], [12, 8, 4]]).outcome, Outcome::Pass);
        let mixed = same_version([[12, 9, 1], [12, 8, 4]]);
        assert_eq!(mixed.outcome, Outcome::Fail);
        assert_eq!(mixed.text, "cuBLAS is 12.8.4, and its cublasLt is 12.9.1");
    }
}
