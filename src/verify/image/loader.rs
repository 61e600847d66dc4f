//! Which files `import torch` loads, by the rules of glibc's loader, without loading any.
//!
//! What is modelled, by `man 8 ld.so` and `elf/dl-load.c` of glibc, and `torch/__init__.py`:
//!
//! * A name that is loaded already, as soname or as it was asked for, is not looked for again. Libraries are
//!   loaded in breadth: all that one needs, then what those need. That decides which copy of cublasLt comes: torch's
//!   own RPATH finds the wheel's where torch needs it by itself (2.9 does); where only cuBLAS needs it, cuBLAS's
//!   RUNPATH comes behind LD_LIBRARY_PATH.
//! * DT_RPATH of whoever asks, then of who loaded that one, up to the interpreter, unless the first has a
//!   DT_RUNPATH; LD_LIBRARY_PATH; DT_RUNPATH of whoever asks; the cache of ld.so; its own folders. Files for
//!   another kind of machine are passed over.
//! * LD_PRELOAD comes before all. torch loads libtorch_global_deps.so, then NVRTC and nvJitLink of the wheels where
//!   its `__init__.py` says so, then its extension. Where the first fails, it loads the wheels' libraries
//!   by their paths and tries again.
//! * cuDNN loads its parts by name: they are looked for as if it needed them.
//!
//! Not modelled: folders for kinds of processors (`glibc-hwcaps`), `dlmopen`, audit modules, /etc/ld.so.preload.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::elf::{self, Wants};
use super::names_in;
use crate::host;

/// How a file is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// By its path, as the interpreter does with an extension.
    Path,
    /// LD_PRELOAD.
    Preload,
    /// DT_RPATH.
    Rpath,
    /// LD_LIBRARY_PATH.
    LibraryPath,
    /// DT_RUNPATH.
    Runpath,
    /// /etc/ld.so.cache, or a folder that the loader itself knows.
    System,
    /// By torch's own Python, from the wheels' folders.
    Torch,
}

impl Rule {
    /// What people read behind a path.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Path => "its path",
            Self::Preload => "LD_PRELOAD",
            Self::Rpath => "DT_RPATH",
            Self::LibraryPath => "LD_LIBRARY_PATH",
            Self::Runpath => "DT_RUNPATH",
            Self::System => "ld.so.cache and default folders",
            Self::Torch => "torch/__init__.py",
        }
    }
}

/// A library that is loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The name that it was asked for by, or its file's name.
    pub name: String,
    /// Where it lies, as the loader would call it.
    pub path: PathBuf,
    /// How it was found.
    pub rule: Rule,
    /// Index of the one that asked for it.
    by: Option<usize>,
    wants: Wants,
}

/// A name that no file was found for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name.
    pub name: String,
    /// Who needs it.
    pub by: PathBuf,
}

/// What is loaded, in order.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Libraries of torch's and CUDA's; others are passed over.
    pub loaded: Vec<Loaded>,
    /// What is not found.
    pub missing: Vec<Missing>,
    /// Files that are found and cannot be read, with the reason.
    pub unread: Vec<(PathBuf, String)>,
}

/// Where names are looked for.
pub struct Search<'s> {
    /// Files that LD_LIBRARY_PATH, the cache and the default folders offer.
    pub system: &'s host::Loader,
    /// LD_PRELOAD.
    pub preload: &'s str,
    /// The interpreter, whose DT_RPATH counts too (conda's has one).
    pub python: Option<&'s Path>,
    /// Folders of packages, in the order of `sys.path`.
    pub sites: &'s [String],
}

/// torch's own and CUDA's, but not the driver's: that one comes from outside of the image.
fn matters(name: &str) -> bool {
    const STARTS: &[&str] =
        &["libc10", "libcaffe2", "libcu", "libnccl", "libnv", "libshm", "libtorch"];
    STARTS.iter().any(|start| name.starts_with(start))
        && !["libcuda.so", "libnvidia-", "libcurl"].iter().any(|start| name.starts_with(start))
}

/// Libraries as torch's Python loads them by path, in its order.
const BY_TORCH: &[&str] = &[
    "libcublas.so.",
    "libcudnn.so.",
    "libnvrtc.so.",
    "libcudart.so.",
    "libcupti.so.",
    "libcufft.so.",
    "libcurand.so.",
    "libnvJitLink.so.",
    "libcusparse.so.",
    "libcusparseLt.so.",
    "libcusolver.so.",
    "libnccl.so.",
    "libnvshmem_host.so.",
    "libcufile.so.",
];

/// What is in the process after `import torch` of this folder.
pub fn import(torch: &Path, search: &Search<'_>) -> Process {
    let start = || {
        let mut walk = Walk::new(search);
        walk.preload();
        walk
    };
    let mut walk = start();
    let deps = torch.join("lib/libtorch_global_deps.so");
    if deps.is_file() {
        walk.open(&deps, Rule::Path, None);
        if walk.process.missing.is_empty() {
            let init = fs_err::read_to_string(torch.join("__init__.py")).unwrap_or_default();
            if init.contains("_preload_cuda_deps(\"nvjitlink\"") {
                walk.by_torch(&["libnvrtc.so.", "libnvJitLink.so."]);
            }
        } else {
            let first = std::mem::replace(&mut walk, start()).process;
            walk.by_torch(BY_TORCH);
            walk.open(&deps, Rule::Path, None);
            if walk.process.loaded.len() < 2 {
                walk.process.missing = first.missing;
            }
        }
    }
    for entry in extension(torch) {
        walk.open(&entry, Rule::Path, None);
    }
    walk.parts_of_cudnn();
    walk.process
}

/// The extension of torch, and its libraries for CUDA, which a broken file before them must not hide.
fn extension(torch: &Path) -> Vec<PathBuf> {
    let names = names_in(torch);
    let is = |name: &&String| name.starts_with("_C.");
    let mut list: Vec<PathBuf> = names.iter().filter(is).map(|name| torch.join(name)).collect();
    let lib = torch.join("lib");
    list.extend(["libtorch_python.so", "libtorch_cuda.so"].map(|name| lib.join(name)));
    list.retain(|path| path.is_file());
    list
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Folders of a DT_RPATH or DT_RUNPATH in a file of this folder. `$LIB` and `$PLATFORM` stand in nobody's
/// libraries, and a relative folder means wherever one happens to be: both are passed over.
fn expanded(wanted: &[String], origin: &Path, rule: Rule) -> Vec<(PathBuf, Rule)> {
    let place = |wanted: &String| {
        let place = wanted.replace("${ORIGIN}", "$ORIGIN");
        let place = place.replace("$ORIGIN", &origin.to_string_lossy());
        (!place.contains('$') && place.starts_with('/')).then(|| (PathBuf::from(place), rule))
    };
    wanted.iter().filter_map(place).collect()
}

/// A path without `..`, where that names the same file.
fn tidy(path: PathBuf) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(short.pop()),
            part => short.push(part),
        }
    }
    let same = short.canonicalize().ok() == path.canonicalize().ok();
    if same { short } else { path }
}

struct Walk<'s> {
    search: &'s Search<'s>,
    /// DT_RPATH of the interpreter, and the folder that its `$ORIGIN` means.
    main: Option<(PathBuf, Vec<String>)>,
    process: Process,
}

impl<'s> Walk<'s> {
    fn new(search: &'s Search<'s>) -> Self {
        let main = search.python.and_then(|python| {
            let real = python.canonicalize().ok()?;
            let wants = elf::read(&real).ok()?;
            Some((real.parent()?.to_owned(), wants.rpath))
        });
        Self { search, main, process: Process::default() }
    }

    fn preload(&mut self) {
        for entry in self.search.preload.split([':', ' ']) {
            let path = Path::new(entry);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if matters(&name) && path.is_absolute() && path.is_file() {
                self.open(path, Rule::Preload, None);
            }
        }
    }

    /// Opens a file by its path, and all that it needs.
    fn open(&mut self, path: &Path, rule: Rule, by: Option<usize>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if self.has(&name) {
            return;
        }
        match elf::read(path) {
            Ok(wants) if wants.soname.as_ref().is_some_and(|soname| self.has(soname)) => (),
            Ok(wants) => self.follow(Loaded { name, path: path.to_owned(), rule, by, wants }),
            Err(err) => self.process.unread.push((path.to_owned(), err.to_string())),
        }
    }

    fn has(&self, name: &str) -> bool {
        let is = |known: &Loaded| known.name == name || known.wants.soname.as_deref() == Some(name);
        self.process.loaded.iter().any(is)
    }

    /// Loads what a library needs, in breadth.
    fn follow(&mut self, first: Loaded) {
        let mut queue = VecDeque::from([self.process.loaded.len()]);
        self.process.loaded.push(first);
        while let Some(index) = queue.pop_front() {
            for name in self.process.loaded[index].wants.needed.clone() {
                if let Some(found) = self.need(&name, index) {
                    queue.push_back(self.process.loaded.len());
                    self.process.loaded.push(found);
                }
            }
        }
    }

    /// A library that one needs, when it is not there yet.
    fn need(&mut self, name: &str, by: usize) -> Option<Loaded> {
        if !matters(name) || self.has(name) {
            return None;
        }
        let machine = self.process.loaded[by].wants.machine;
        for (path, rule) in self.places(name, by) {
            match elf::read(&path) {
                // The loader goes on where a file is for another machine.
                Ok(wants) if wants.machine == machine => {
                    return Some(Loaded { name: name.to_owned(), path, rule, by: Some(by), wants });
                }
                Ok(_) => (),
                Err(err) => {
                    self.process.unread.push((path, err.to_string()));
                    return None;
                }
            }
        }
        let missing = Missing { name: name.to_owned(), by: self.process.loaded[by].path.clone() };
        if !self.process.missing.iter().any(|known| known.name == missing.name) {
            self.process.missing.push(missing);
        }
        None
    }

    /// Files that a name may mean for whoever asks, in the order of the search.
    fn places(&self, name: &str, by: usize) -> Vec<(PathBuf, Rule)> {
        let asking = &self.process.loaded[by];
        let mut folders: Vec<(PathBuf, Rule)> = Vec::new();
        if asking.wants.runpath.is_none() {
            let mut next = Some(by);
            while let Some(loaded) = next.map(|index| &self.process.loaded[index]) {
                folders.extend(expanded(&loaded.wants.rpath, folder(&loaded.path), Rule::Rpath));
                next = loaded.by;
            }
            if let Some((folder, rpath)) = &self.main {
                folders.extend(expanded(rpath, folder, Rule::Rpath));
            }
        }
        let of_system = |by_user: bool, rule| {
            let files = self.search.system.libraries.iter().filter(move |file| {
                file.soname == name && (file.found_by == "LD_LIBRARY_PATH") == by_user
            });
            files.map(move |file| (PathBuf::from(&file.path), rule))
        };
        let in_folders = |list: Vec<(PathBuf, Rule)>| {
            list.into_iter().map(|(folder, rule)| (folder.join(name), rule)).collect::<Vec<_>>()
        };
        let mut list = in_folders(folders);
        list.extend(of_system(true, Rule::LibraryPath));
        let runpath = asking.wants.runpath.as_deref().unwrap_or_default();
        list.extend(in_folders(expanded(runpath, folder(&asking.path), Rule::Runpath)));
        list.extend(of_system(false, Rule::System));
        list.retain(|(path, _)| path.is_file());
        list.into_iter().map(|(path, rule)| (tidy(path), rule)).collect()
    }

    /// Loads libraries as torch's Python does: of each name the first file in `nvidia/*/lib` of `sys.path`.
    fn by_torch(&mut self, starts: &[&str]) {
        for start in starts {
            let found = self.search.sites.iter().find_map(|site| of_wheels(site, start).next());
            if let Some(path) = found {
                self.open(&path, Rule::Torch, None);
            }
        }
    }

    fn parts_of_cudnn(&mut self) {
        let is = |loaded: &Loaded| loaded.name.starts_with("libcudnn.so.");
        let Some(index) = self.process.loaded.iter().position(is) else { return };
        let shim = &self.process.loaded[index];
        let major = shim.name.trim_start_matches("libcudnn").to_owned();
        let beside = folder(&shim.path).to_owned();
        for name in names_in(&beside) {
            if name.starts_with("libcudnn_")
                && name.ends_with(&major)
                && let Some(found) = self.need(&name, index)
            {
                self.follow(found);
            }
        }
    }
}

/// Files whose name begins so in the folders of NVIDIA's wheels.
pub fn of_wheels(site: &str, start: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let nvidia = Path::new(site).join("nvidia");
    let start = start.to_owned();
    names_in(&nvidia).into_iter().flat_map(move |package| {
        let lib = nvidia.join(package).join("lib");
        let names = names_in(&lib).into_iter().filter(|name| name.starts_with(&start));
        names.map(|name| lib.join(name)).collect::<Vec<_>>()
    })
}

impl Process {
    /// The library whose name begins so: `libcublas.so.`; older wheels carry `libcublas-0123abcd.so.12`.
    pub fn of(&self, library: &str) -> Option<&Loaded> {
        let is = |name: &str| {
            let rest = name.strip_prefix(library);
            rest.is_some_and(|rest| rest.starts_with(".so") || rest.starts_with('-'))
        };
        self.loaded.iter().find(|loaded| is(&loaded.name))
    }

    /// Who asked for a library: its file's name.
    pub fn asker(&self, loaded: &Loaded) -> Option<String> {
        let by = &self.loaded[loaded.by?];
        Some(by.path.file_name()?.to_string_lossy().into_owned())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::host::LoaderFile;

    /// Makes a library that needs others, by the C compiler that this crate's build needs as well.
    fn library(path: &Path, needed: &[&Path], flags: &[&str]) {
        fs_err::create_dir_all(folder(path)).expect("a folder");
        let name = path.file_name().expect("a name").to_string_lossy();
        let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut command = std::process::Command::new(cc);
        command.args(["-shared", "-nostdlib", "-x", "c", "/dev/null", "-x", "none", "-o"]);
        command.arg(path).arg(format!("-Wl,-soname,{name}")).arg("-Wl,--no-as-needed");
        command.arg("-Wl,--allow-shlib-undefined").args(flags).args(needed);
        assert!(command.status().expect("a C compiler").success(), "{name}");
    }

    const OLD: &str = "-Wl,--disable-new-dtags";
    const NEW: &str = "-Wl,--enable-new-dtags";
    const RPATH: &str = "-Wl,-rpath,$ORIGIN/../../nvidia/cublas/lib:$ORIGIN";

    /// torch beside cuBLAS; what torch itself needs decides.
    fn site(root: &Path, direct: bool, tags: &str) -> PathBuf {
        let blas = root.join("nvidia/cublas/lib");
        let (lt, cublas) = (blas.join("libcublasLt.so.12"), blas.join("libcublas.so.12"));
        library(&lt, &[], &[]);
        library(&cublas, &[&lt], &["-Wl,-rpath,$ORIGIN", NEW]);
        let lib = root.join("torch/lib");
        let both: [&Path; 2] = [&cublas, &lt];
        let needed = if direct { &both[..] } else { &both[..1] };
        library(&lib.join("libtorch_cuda.so"), needed, &[RPATH, tags]);
        library(&lib.join("libtorch_python.so"), &[&lib.join("libtorch_cuda.so")], &[RPATH, tags]);
        root.join("torch")
    }

    fn by_user(path: &Path) -> host::Loader {
        let file = LoaderFile {
            soname: path.file_name().expect("a name").to_string_lossy().into_owned(),
            path: path.to_string_lossy().into_owned(),
            target: None,
            found_by: "LD_LIBRARY_PATH".into(),
        };
        host::Loader { libraries: vec![file], ..host::Loader::default() }
    }

    fn imported(torch: &Path, system: &host::Loader) -> Process {
        import(torch, &Search { system, preload: "", python: None, sites: &[] })
    }

    #[track_caller]
    fn found(process: &Process, library: &str) -> (PathBuf, Rule) {
        let loaded = process.of(library).expect(library);
        (loaded.path.canonicalize().expect("a file"), loaded.rule)
    }

    #[test]
    fn the_pair_that_torch_really_gets() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("a folder");
        let other = root.join("system/libcublasLt.so.12");
        library(&other, &[], &[]);
        let (env, none) = (by_user(&other), host::Loader::default());
        let blas = |site: &str, name: &str| root.join(site).join("nvidia/cublas/lib").join(name);

        // Only cuBLAS needs it, and cuBLAS has a RUNPATH: LD_LIBRARY_PATH comes before.
        let torch = site(&root.join("a"), false, OLD);
        let process = imported(&torch, &env);
        let cublas = (blas("a", "libcublas.so.12"), Rule::Rpath);
        assert_eq!(found(&process, "libcublas"), cublas);
        assert_eq!(found(&process, "libcublasLt"), (other.clone(), Rule::LibraryPath));
        let process = imported(&torch, &none);
        let own = (blas("a", "libcublasLt.so.12"), Rule::Runpath);
        assert_eq!(found(&process, "libcublasLt"), own);
        assert_eq!(process.missing, []);

        // torch needs it by itself: its RPATH counts, before LD_LIBRARY_PATH.
        let torch = site(&root.join("b"), true, OLD);
        let own = (blas("b", "libcublasLt.so.12"), Rule::Rpath);
        assert_eq!(found(&imported(&torch, &env), "libcublasLt"), own);
        // With a RUNPATH it comes behind.
        let torch = site(&root.join("c"), true, NEW);
        assert_eq!(found(&imported(&torch, &env), "libcublasLt"), (other, Rule::LibraryPath));
    }

    #[test]
    fn what_is_missing_and_what_is_no_library() {
        let root = tempfile::tempdir().expect("a folder");
        let torch = site(root.path(), false, OLD);
        let lt = root.path().join("nvidia/cublas/lib/libcublasLt.so.12");
        fs_err::write(&lt, "half a download").expect("a file");
        let process = imported(&torch, &host::Loader::default());
        assert_eq!(process.unread.len(), 1, "{process:?}");
        fs_err::remove_file(&lt).expect("a file");
        let process = imported(&torch, &host::Loader::default());
        assert_eq!(process.missing[0].name, "libcublasLt.so.12");
        assert!(process.missing[0].by.ends_with("libcublas.so.12"));
    }

    #[test]
    fn torch_loads_the_wheels_libraries_by_path_where_the_loader_fails() {
        let root = tempfile::tempdir().expect("a folder");
        let (system, user) = (root.path().join("system"), root.path().join("user"));
        let runtime = user.join("nvidia/cuda_runtime/lib/libcudart.so.12");
        library(&runtime, &[], &[]);
        let lib = system.join("torch/lib");
        library(&lib.join("libtorch_global_deps.so"), &[&runtime], &[RPATH, OLD]);
        let torch = lib.parent().expect("a folder");
        let none = host::Loader::default();
        assert_eq!(imported(torch, &none).missing[0].name, "libcudart.so.12");
        let sites = [system, user].map(|site| site.to_string_lossy().into_owned());
        let search = Search { system: &none, preload: "", python: None, sites: &sites };
        let process = import(torch, &search);
        assert_eq!(process.missing, []);
        assert_eq!(process.of("libcudart").expect("found").rule, Rule::Torch);
    }
}
