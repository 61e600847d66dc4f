//! An environment of Python with a torch of CUDA as pip leaves it, without Python, torch and NVIDIA: small
//! libraries of the C compiler's, with the names, sonames, dependencies, RPATHs and versions of the real ones.
//!
//! ```ignore
//! let env = wheelhouse::environment(folder.path());          // `env.root` is for --env
//! env.lock(project.path());                                   // a gpuseal.lock that it answers to
//! env.put("torch/__init__.py", "raise SystemExit(3)");        // a file, and its line in RECORD
//! env.fakes();                                                // libraries of tests/fakes in place of those in C
//! ```
//!
//! `root/bin/python3` starts the machine's own Python 3 with the environment's folder of packages on its path,
//! under the environment's own name: `import torch` there reads what was put into `torch/__init__.py`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gpuseal::lock::{Lockfile, Target};

use super::{fakes, run, write};

/// Functions by which libraries tell their version, in one source; `VERSION` is three numbers.
const SOURCE: &str = r"
static const int version[] = {VERSION};
#define NUMBER(a) (version[0] * a + version[1] * 100 + version[2])
int cublasGetProperty(int which, int *value) { *value = version[which]; return 0; }
int cublasLtGetProperty(int which, int *value) { *value = version[which]; return 0; }
unsigned long cudnnGetVersion(void) { return NUMBER(10000); }
int cudnnGraphVersionCheck(void) { return STATUS; }
int ncclGetVersion(int *value) { *value = NUMBER(10000); return 0; }
__attribute__((constructor)) static void start(void) { if (CRASH) *(volatile int *)0 = 0; }
";

/// An environment.
pub(crate) struct Environment {
    /// Its folder.
    pub(crate) root: PathBuf,
    /// Its folder of packages.
    pub(crate) site: PathBuf,
}

/// What a library is made of.
#[derive(Clone, Copy)]
pub(crate) struct Made<'m> {
    /// Its version.
    pub(crate) version: &'m str,
    /// What it dies of when it is loaded.
    pub(crate) crash: bool,
    /// What cudnnGraphVersionCheck returns.
    pub(crate) status: i32,
}

impl<'m> Made<'m> {
    /// A healthy one.
    pub(crate) const fn of(version: &'m str) -> Self {
        Self { version, crash: false, status: 0 }
    }
}

const RPATH: &str = "$ORIGIN/../../nvidia/cublas/lib:$ORIGIN/../../nvidia/cudnn/lib:\
                     $ORIGIN/../../nvidia/nccl/lib:$ORIGIN/../../nvidia/cuda_runtime/lib:$ORIGIN";

/// Compiles a library; `rpath` is DT_RPATH, `runpath` DT_RUNPATH.
pub(crate) fn library(path: &Path, made: Made<'_>, needed: &[&Path], rpath: &str, runpath: &str) {
    let folder = path.parent().expect("a folder");
    fs_err::create_dir_all(folder).expect("a folder");
    let name = path.file_name().expect("a name").to_string_lossy();
    let source = tempfile::Builder::new().suffix(".c").tempfile().expect("a file");
    fs_err::write(source.path(), SOURCE).expect("a file");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(cc);
    command.args(["-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed"]);
    command.arg("-Wl,--allow-shlib-undefined").arg(format!("-Wl,-soname,{name}"));
    command.arg(format!("-DVERSION={}", made.version.replace('.', ",")));
    command.arg(format!("-DCRASH={}", i32::from(made.crash)));
    command.arg(format!("-DSTATUS={}", made.status));
    for (paths, tags) in [(rpath, "disable"), (runpath, "enable")] {
        if !paths.is_empty() {
            command.arg(format!("-Wl,-rpath,{paths}")).arg(format!("-Wl,--{tags}-new-dtags"));
        }
    }
    command.arg("-o").arg(path).arg(source.path()).args(needed);
    let status =
        command.status().expect("a C compiler, which the build of this crate needs as well");
    assert!(status.success(), "{name}");
}

/// Makes an environment in a folder: Python 3.12, torch 2.9.1 of CUDA 12.8 from PyPI, and what that pins.
pub(crate) fn environment(folder: &Path) -> Environment {
    let root = folder.canonicalize().expect("a folder").join("env");
    let site = root.join("lib/python3.12/site-packages");
    let env = Environment { root, site };
    write(&env.root, "pyvenv.cfg", "home = /usr/bin\nversion = 3.12.4\n");
    let python = write(
        &env.root,
        "bin/python3",
        format!(
            "#!/bin/sh\nPATH=${{PATH:-/usr/local/bin:/usr/bin:/bin}}\nexport PATH\nPYTHONPATH='{}' exec python3 \"$@\"\n",
            env.site.display()
        ),
    );
    #[cfg(unix)]
    fs_err::set_permissions(python, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a program");
    let site = |path: &str| env.site.join(path);
    write(&env.site, "torch/__init__.py", "from .version import __version__\n");
    write(
        &env.site,
        "torch/version.py",
        "__version__ = '2.9.1+cu128'\ncuda = '12.8'\nhip = None\n",
    );
    let nvidia = |package: &str, name: &str| site(&format!("nvidia/{package}/lib/{name}"));
    let (runtime, nccl) =
        (nvidia("cuda_runtime", "libcudart.so.12"), nvidia("nccl", "libnccl.so.2"));
    let (cublas, lt) = (nvidia("cublas", "libcublas.so.12"), nvidia("cublas", "libcublasLt.so.12"));
    let (cudnn, ops) = (nvidia("cudnn", "libcudnn.so.9"), nvidia("cudnn", "libcudnn_ops.so.9"));
    library(&runtime, Made::of("12.8.90"), &[], "", "");
    library(&nccl, Made::of("2.27.5"), &[], "", "");
    library(&lt, Made::of("12.8.4"), &[], "", "$ORIGIN");
    library(&cublas, Made::of("12.8.4"), &[&lt], "", "$ORIGIN");
    library(&cudnn, Made::of("9.10.2"), &[], "", "$ORIGIN");
    library(&ops, Made::of("9.10.2"), &[], "", "$ORIGIN");
    let lib = |name: &str| site(&format!("torch/lib/{name}"));
    let none = Made::of("2.9.1");
    library(&lib("libtorch_global_deps.so"), none, &[&runtime], RPATH, "");
    // As before torch 2.9: cublasLt comes by way of cuBLAS alone.
    library(&lib("libtorch_cuda.so"), none, &[&runtime, &nccl, &cublas, &cudnn], RPATH, "");
    library(&lib("libtorch_python.so"), none, &[&lib("libtorch_cuda.so")], RPATH, "");
    let project = tempfile::tempdir().expect("a folder");
    for package in env.lock(project.path()).packages {
        let version = package.version.expect("a version").to_string();
        let name = package.name.as_str().replace('-', "_");
        let info = format!("{name}-{version}.dist-info");
        write(
            &env.site,
            &format!("{info}/METADATA"),
            format!("Name: {name}\nVersion: {version}\n"),
        );
    }
    env.record();
    env
}

impl Environment {
    /// Writes a gpuseal.lock that the environment answers to, and reads it.
    #[allow(clippy::unused_self, reason = "it is the lock of this environment")]
    pub(crate) fn lock(&self, project: &Path) -> Target {
        let args = "lock --offline --torch 2.9.1 --cuda cu128 --gpu h100 --driver 570.86.15 --python 3.12 \
                    --platform linux/amd64 --os glibc:2.28 --no-project --no-images";
        run(project, &args.split_whitespace().collect::<Vec<_>>()).says(0, &[]);
        Lockfile::read(&project.join("gpuseal.lock")).expect("a lock").targets[0].clone()
    }

    /// Puts a file into the folder of packages as the wheel itself would have brought it.
    pub(crate) fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.site, path, text);
        self.record();
    }

    /// Puts the libraries of `tests/fakes` in place of those in C, which compute nothing.
    pub(crate) fn fakes(&self) {
        // The fake cuBLAS names no other library, so torch names cublasLt itself, as from 2.9 on.
        let at = |path: &str| self.site.join(path);
        let needed = [
            "cublas/lib/libcublasLt.so.12",
            "cublas/lib/libcublas.so.12",
            "cudnn/lib/libcudnn.so.9",
            "nccl/lib/libnccl.so.2",
        ]
        .map(|path| at(&format!("nvidia/{path}")));
        let needed: Vec<&Path> = needed.iter().map(PathBuf::as_path).collect();
        library(&at("torch/lib/libtorch_cuda.so"), Made::of("2.9.1"), &needed, RPATH, "");
        for (folder, names) in [
            ("cublas", &["libcublas.so.12", "libcublasLt.so.12"][..]),
            ("cudnn", &["libcudnn.so.9"]),
            ("nccl", &["libnccl.so.2"]),
        ] {
            fakes::place(&self.site.join(format!("nvidia/{folder}/lib")), names);
        }
        self.record();
    }

    /// Writes RECORD of every wheel from the files that are there.
    pub(crate) fn record(&self) {
        for entry in fs_err::read_dir(&self.site).expect("a folder") {
            let info = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let Some(stem) = info.strip_suffix(".dist-info") else { continue };
            let name = stem.split('-').next().expect("a name");
            // `nvidia_cublas_cu12` lies in nvidia/cublas, `torch` in torch.
            let own = name.strip_prefix("nvidia_").map_or_else(
                || name.to_owned(),
                |name| format!("nvidia/{}", name.trim_end_matches("_cu12")),
            );
            let mut lines = format!("{info}/RECORD,,\n");
            for path in files(&self.site.join(&own)) {
                let bytes = fs_err::read(&path).expect("a file");
                let inside = path.strip_prefix(&self.site).expect("below it").display();
                let _ = writeln!(lines, "{inside},sha256={},{}", digest(&bytes), bytes.len());
            }
            write(&self.site, &format!("{info}/RECORD"), lines);
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex = gpuseal::domain::Sha256::of(bytes);
    let pair = |at: usize| u8::from_str_radix(&hex.hex()[at..at + 2], 16).expect("digits");
    URL_SAFE_NO_PAD.encode((0..64).step_by(2).map(pair).collect::<Vec<_>>())
}

/// Files below a folder, which may be absent.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in fs_err::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { list.extend(files(&path)) } else { list.push(path) }
    }
    list.sort();
    list
}
