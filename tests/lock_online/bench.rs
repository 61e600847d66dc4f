//! What the tests of `gpuseal lock` share: a project, a cache, and an index with all that torch 2.15.0
//! needs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use gpuseal::lock::Lockfile;

use super::support::shelf::{Form, Shelf, Wheel};
use super::support::web::Web;
use super::support::{Run, files, finish, folder, gpuseal, write};

/// What is locked here, unless a test says otherwise.
pub(crate) const ASKED: &[&str] =
    &["--torch", "2.15.0", "--python", "3.12", "--gpu", "h100", "--driver", "595.45.04"];
pub(crate) const TORCH: &str = "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl";
/// Packages of its closure.
pub(crate) const COUNT: usize = 9;

/// What torch 2.15.0 requires, as the matrix has it, and a pure package.
pub(crate) const REQUIRES: &[&str] = &[
    "filelock",
    "cuda-toolkit[cublas,cudart]==13.2.2; platform_system == \"Linux\"",
    "cuda-bindings<14,>=13.0.3; platform_system == \"Linux\"",
    "nvidia-cudnn-cu13==9.26.0.51; platform_system == \"Linux\"",
    "nvidia-cusparselt-cu13==0.8.1; platform_system == \"Linux\"",
    "nvidia-nccl-cu13==2.30.7; platform_system == \"Linux\"",
    "nvidia-nvshmem-cu13==3.7.2; platform_system == \"Linux\"",
    "triton~=3.9.0; platform_system == \"Linux\"",
    "pywin32; platform_system == \"Windows\"",
];

/// Bytes that no compression and no repetition makes less of.
pub(crate) fn filler(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}

pub(crate) fn torch(cuda: Option<&str>) -> Wheel {
    // The build lies before the last 2 MiB: it takes parts.
    Wheel::new(TORCH)
        .requires(REQUIRES)
        .build("2.15.0", cuda)
        .member("torch/lib/libtorch.so", &filler(2_200_000))
}

/// PyPI, as far as it is needed.
pub(crate) fn shelf() -> Shelf {
    let mut shelf = Shelf::at("/simple", "/files");
    shelf
        .add(torch(Some("13.2")))
        .add(Wheel::pure("filelock", "3.19.0"))
        .add(Wheel::pure("filelock", "3.20.0"))
        .add(Wheel::pure("cuda-toolkit", "13.2.2"))
        .add(Wheel::new("cuda_bindings-13.2.0-cp312-cp312-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("nvidia_cudnn_cu13-9.26.0.51-py3-none-manylinux_2_27_x86_64.whl"))
        .add(Wheel::new("nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl"))
        .add(Wheel::new("nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_nvshmem_cu13-3.7.2-py3-none-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("triton-3.9.0-cp312-cp312-manylinux_2_28_x86_64.whl"));
    shelf
}

/// A project, a cache and an index.
pub(crate) struct Bench {
    pub(crate) project: tempfile::TempDir,
    pub(crate) cache: tempfile::TempDir,
    pub(crate) web: Web,
    pub(crate) shelf: Shelf,
    pub(crate) asked: Vec<String>,
}

impl Bench {
    /// With an index that does everything right.
    pub(crate) fn new() -> Self {
        Self::of(Form::FULL)
    }

    pub(crate) fn of(form: Form) -> Self {
        let mut shelf = shelf();
        shelf.form = form;
        let web = Web::start([]);
        shelf.publish(&web);
        let asked = ASKED.iter().map(ToString::to_string).collect();
        Self { project: folder(&[]), cache: folder(&[]), web, shelf, asked }
    }

    /// The same with an old lock in the project, complete, and of an index that is gone.
    pub(crate) fn with_old(form: Form) -> Self {
        let bench = Self::of(form);
        write(bench.project.path(), "gpuseal.lock", old_lock());
        bench
    }

    /// Puts the shelf on the server again.
    pub(crate) fn publish(&self) {
        self.shelf.publish(&self.web);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_in(self.project.path(), args)
    }

    pub(crate) fn command_in(&self, project: &Path, args: &[&str]) -> Command {
        let mut command = gpuseal(project);
        command
            .arg("lock")
            .args(&self.asked)
            .arg("--no-images")
            .args(args)
            .env("PIP_INDEX_URL", self.web.url("/simple").as_str())
            .env("GPUSEAL_CACHE_DIR", self.cache.path())
            .env("GPUSEAL_HTTP_TIMEOUT", "5")
            .env("GPUSEAL_HTTP_RETRIES", "0");
        command
    }

    pub(crate) fn lock(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.project.path().join("gpuseal.lock")
    }

    /// The lock as it stands.
    pub(crate) fn text(&self) -> String {
        fs_err::read_to_string(self.path()).expect("a lock")
    }

    pub(crate) fn locked(&self) -> Lockfile {
        Lockfile::read(&self.path()).expect("a lock")
    }

    /// Everything anew, which must come to nothing and leave no trace.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, words: &[&str]) -> Run {
        self.refuses_with(&mut self.command(&["--upgrade"]), code, words)
    }

    #[track_caller]
    pub(crate) fn refuses_with(&self, command: &mut Command, code: i32, words: &[&str]) -> Run {
        let before = (files(self.project.path()), fs_err::read(self.path()).ok());
        let run = finish(command);
        run.says(code, words);
        let after = (files(self.project.path()), fs_err::read(self.path()).ok());
        assert!(before == after, "the old lock has changed, or something was left: {}", run.all());
        assert!(
            run.stderr.starts_with("error: ") || run.stderr.contains("\nerror: "),
            "{}",
            run.all()
        );
        run
    }

    /// Paths that were asked for, with HEAD told apart.
    pub(crate) fn asked_for(&self) -> Vec<String> {
        let log = self.web.log();
        assert!(log.iter().all(|hit| hit.method == "GET"), "HEAD may lie: it is not to be asked");
        log.into_iter().map(|hit| hit.target).collect()
    }
}

/// A complete lock of the good index, made once.
pub(crate) fn old_lock() -> &'static str {
    static LOCK: OnceLock<String> = OnceLock::new();
    LOCK.get_or_init(|| {
        let bench = Bench::new();
        bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
        bench.text()
    })
}

/// A lock without what names the index: its port changes from test to test.
pub(crate) fn portless(text: &str, web: &Web) -> String {
    text.replace(&web.addr.to_string(), "INDEX")
}

/// A lock as nobody had read the directories of its files.
pub(crate) fn without_sizes(text: &str) -> String {
    let mut table: toml::Table = text.parse().expect("a lock");
    for target in table["target"].as_array_mut().expect("targets") {
        for package in target["package"].as_array_mut().expect("packages") {
            let package = package.as_table_mut().expect("a package");
            let _ = (package.remove("unpacked"), package.remove("libraries"));
        }
    }
    let table = toml::to_string_pretty(&table).expect("a lock");
    // The order of the keys is that of a lock again.
    Lockfile::parse(&table, "without sizes").expect("a lock").to_toml()
}

/// All files below a folder, with their bytes.
pub(crate) fn below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut list = Vec::new();
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list.extend(below(&path));
        } else {
            let bytes = fs_err::read(&path).expect("a file");
            list.push((path, bytes));
        }
    }
    list
}

pub(crate) fn size_of(folder: &Path) -> usize {
    below(folder).iter().map(|(_, bytes)| bytes.len()).sum()
}

/// The version of a package in the first target.
pub(crate) fn version(lock: &Lockfile, name: &str) -> String {
    let package = lock.targets[0].packages.iter().find(|p| p.name.as_str() == name);
    package.and_then(|p| p.version.as_ref()).expect("a version").to_string()
}

/// A project that asks for the same.
pub(crate) const YAML: &str = "# What the tests lock.\ntorch: \"2.15.0\"\npython: \"3.12\"\ntargets:\n  train: { gpus: [h100], driver: \"595.45.04\" }\n";
