//! A library of the image, loaded from the path where torch loads it, and called by name.
#![allow(unsafe_code, reason = "the libraries are C")]

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::Library;

use super::Check;
use super::gpu::CudaError;
use crate::domain::Code;
use crate::host::probe;

/// A library that is loaded. It is never closed: what hangs or dies then would spoil what has been told.
pub struct Loaded(ManuallyDrop<Library>);

impl Loaded {
    /// Loads it as torch's own loader does.
    ///
    /// # Errors
    /// The loader's words.
    pub fn load(path: &Path) -> Result<Self, String> {
        #[cfg(unix)]
        // SAFETY: the constructors of the library run, as they do in torch; the process is made for it.
        let library = unsafe {
            use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
            Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL).map(Into::into)
        };
        #[cfg(not(unix))]
        // SAFETY: as above.
        let library = unsafe { Library::new(path) };
        library.map(|library| Self(ManuallyDrop::new(library))).map_err(|err| words(&err))
    }

    /// Looks a function up.
    ///
    /// # Errors
    /// The loader's words.
    ///
    /// # Safety
    /// `F` is the type of the function, as the header of the library declares it.
    pub unsafe fn get<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: nothing is called here; the caller's promise.
        let found = unsafe { self.0.get::<F>(name) };
        found.map(|function| *function).map_err(|err| words(&err))
    }

    /// Calls a function that returns a status, which `explain` puts into words.
    ///
    /// # Errors
    /// There is no such function, or its status is not 0.
    ///
    /// # Safety
    /// As [`Loaded::get`].
    pub unsafe fn call<F: Copy>(
        &self,
        name: &'static str,
        with: impl FnOnce(F) -> c_int,
        explain: impl FnOnce(c_int) -> String,
    ) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        let function = unsafe { self.get::<F>(name) };
        match function.map(with) {
            Ok(0) => Ok(()),
            Ok(status) => {
                Err(CudaError { call: name, status: Some(status), text: explain(status) })
            }
            Err(text) => Err(CudaError { call: name, status: None, text }),
        }
    }
}

fn words(err: &libloading::Error) -> String {
    std::error::Error::source(err).map_or_else(|| err.to_string(), ToString::to_string)
}

/// Whether the files in the memory of this process are the ones that were `meant`, and no other copies of them or
/// of what belongs to them (`libcudnn_ops.so.9` to `libcudnn.so.9`), as the check `name`; `good` is said of them.
pub fn as_meant(name: &str, meant: &[&Path], good: &str) -> Check {
    let mut files = Vec::new();
    for path in meant {
        let Some(mapped) = probe::all_mapped(family(path)) else {
            let why = "the maps of the process cannot be read: nobody knows which files are loaded";
            return Check::skip(name, Code::Unknown, why);
        };
        files.extend(mapped.into_iter().map(PathBuf::from));
    }
    judged(name, meant, &files, good)
}

fn judged(name: &str, meant: &[&Path], files: &[PathBuf], good: &str) -> Check {
    let real: Vec<PathBuf> = meant
        .iter()
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
        .collect();
    for file in files.iter().filter(|file| !real.contains(file)) {
        // Another copy of one, or a part of one that lies elsewhere.
        let copy = real.iter().find(|path| family(path) == family(file));
        let beside = real.iter().any(|path| path.parent() == file.parent());
        let whole = real.iter().find(|path| family(file).starts_with(family(path)));
        if let Some(own) = copy.or(whole.filter(|_| !beside)) {
            let text =
                format!("{} is loaded, where torch's own is {}", file.display(), own.display());
            return Check::fail(name, Code::LibraryShadowed, text)
                .fact(format!("{} stands in this process", file.display()), "/proc/self/maps")
                .help("take the other copy out of LD_LIBRARY_PATH and LD_PRELOAD, or out of the image");
        }
    }
    let told = |check: Check, path: &PathBuf| {
        check.fact(format!("{} is loaded", path.display()), "/proc/self/maps")
    };
    real.iter().fold(Check::pass(name, good), told)
}

/// `libcublasLt` of `libcublasLt.so.12` and of `libcublasLt.so.12.8.4.1`.
fn family(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split(".so").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    #[test]
    fn another_copy_in_memory_is_named_beside_the_one_that_is_meant() {
        let lt = Path::new("/site/nvidia/cublas/lib/libcublasLt.so.12");
        let cublas = Path::new("/site/nvidia/cublas/lib/libcublas.so.12");
        let mut files = vec![lt.to_path_buf(), cublas.to_path_buf()];
        let good = judged("libraries", &[lt, cublas], &files, "good");
        assert_eq!((good.outcome, good.facts.len()), (Outcome::Pass, 2));
        files.push("/usr/local/cuda/lib64/libcublasLt.so.12.9.1.4".into());
        let bad = judged("libraries", &[lt, cublas], &files, "good");
        assert_eq!((bad.outcome, bad.code), (Outcome::Fail, Code::LibraryShadowed));
        assert!(
            bad.text.contains("/usr/local/cuda/lib64") && bad.text.contains("/site/"),
            "{}",
            bad.text
        );
    }

    #[test]
    fn parts_lie_beside_their_library() {
        let cudnn = Path::new("/site/nvidia/cudnn/lib/libcudnn.so.9");
        let with = |part: &str| {
            let files = [cudnn.to_path_buf(), part.into()];
            judged("library", &[cudnn], &files, "good").outcome
        };
        assert_eq!(with("/site/nvidia/cudnn/lib/libcudnn_ops.so.9"), Outcome::Pass);
        assert_eq!(with("/opt/cudnn/lib/libcudnn_ops.so.9"), Outcome::Fail);
        assert_eq!(with("/site/nvidia/cudnn/lib/libcudnn.so.8"), Outcome::Fail);
    }
}
