//! `gpuseal verify --static`: what files tell, on environments whose torch is made of small C libraries. Which of
//! them a process gets is held against the loader of this machine itself.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::wheelhouse::{Environment, Made, environment, library};

/// A project with a lock, and an environment that answers to it.
struct House {
    _folder: tempfile::TempDir,
    root: PathBuf,
    env: Environment,
}

fn house() -> House {
    let folder = support::folder(&[]);
    let root = folder.path().canonicalize().expect("a folder");
    let env = environment(&root);
    env.lock(&root);
    House { _folder: folder, root, env }
}

/// An answer: exit code, verdict and checks.
struct Answer {
    code: i32,
    document: Value,
}

impl House {
    fn verify(&self, vars: &[(&str, &str)]) -> Answer {
        let mut command = support::gpuseal(&self.root);
        command.args(["verify", "--static", "--format", "json", "--env"]).arg(&self.env.root);
        command.envs(vars.iter().copied());
        let run = support::finish(&mut command);
        let document =
            serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.all()));
        Answer { code: run.code, document }
    }

    /// A file of the folder of packages.
    fn file(&self, path: &str) -> PathBuf {
        self.env.site.join(path)
    }
}

impl Answer {
    fn checks(&self) -> Vec<&Value> {
        self.document["layers"].as_array().expect("layers").iter().collect()
    }

    #[track_caller]
    fn check(&self, name: &str) -> &Value {
        let found = self.checks().into_iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no check {name} in {:#}", self.document))
    }

    /// A check that came out so, with these words in its sentence.
    #[track_caller]
    fn has(&self, name: &str, outcome: &str, code: &str, words: &[&str]) -> &Self {
        let check = self.check(name);
        assert_eq!(
            (&check["outcome"], &check["code"]),
            (&outcome.into(), &code.into()),
            "{check:#}"
        );
        for word in words {
            assert!(check["text"].as_str().expect("a text").contains(word), "{word}: {check:#}");
        }
        self
    }

    /// The verdict, and the names of all checks that neither pass nor need to.
    #[track_caller]
    fn ends(&self, code: i32, verdict: &str, names: &[&str]) -> &Self {
        let odd = self.checks().into_iter().filter(|check| {
            check["outcome"] != "pass" && !(check["outcome"] == "skip" && check["needed"] == false)
        });
        let odd: Vec<_> = odd.map(|check| check["check"].as_str().expect("a name")).collect();
        assert_eq!(odd, names, "{:#}", self.document);
        assert_eq!((self.code, self.document["verdict"].as_str()), (code, Some(verdict)));
        self
    }
}

#[test]
fn a_healthy_environment_is_proven() {
    let house = house();
    let answer = house.verify(&[]);
    answer.ends(0, "proven", &[]);
    answer.has("torch-version", "pass", "ok", &["2.9.1+cu128", "`default`"]);
    let versions = &answer.check("library-versions")["numbers"];
    for (name, version) in
        [("cublas", "12.8.4"), ("cublas-lt", "12.8.4"), ("cudnn", "9.10.2"), ("nccl", "2.27.5")]
    {
        assert_eq!(versions[name], version, "{versions}");
    }
    // Without a lock there is less to say, and nothing against it.
    fs_err::remove_file(house.root.join("gpuseal.lock")).expect("a file");
    let answer = house.verify(&[]);
    answer.ends(0, "proven", &[]);
    assert!(answer.checks().iter().all(|check| check["check"] != "packages"));
}

#[test]
fn a_torch_of_another_variant() {
    let house = house();
    house.env.put("torch/version.py", "__version__ = '2.9.1+cu126'\ncuda = '12.6'\nhip = None\n");
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["torch-version"]);
    answer.has("torch-version", "fail", "lock-drift", &["2.9.1+cu126", "2.9.1+cu128 is locked"]);
    // The wheel of an index names its build in its metadata too.
    let info = |version: &str| house.file(&format!("torch-{version}.dist-info"));
    fs_err::rename(info("2.9.1"), info("2.9.1+cu126")).expect("a folder");
    house.env.record();
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["torch-version", "packages.torch"]);
    answer.has("packages.torch", "fail", "lock-drift", &["torch 2.9.1+cu126", "2.9.1 is locked"]);
    // Files of two builds in one folder, lock or not.
    house.env.put("torch/version.py", "__version__ = '2.9.1+cu128'\ncuda = '12.8'\nhip = None\n");
    fs_err::remove_file(house.root.join("gpuseal.lock")).expect("a file");
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["torch-version"]);
    answer.has(
        "torch-version",
        "fail",
        "lock-drift",
        &["2.9.1+cu128", "2.9.1+cu126", "two builds"],
    );
}

#[test]
fn a_torch_for_the_cpu_and_none_at_all() {
    let house = house();
    house.env.put("torch/version.py", "__version__ = '2.9.1+cpu'\ncuda = None\nhip = None\n");
    let answer = house.verify(&[]);
    answer.has("torch", "fail", "cpu-only-wheel", &["2.9.1+cpu", "2.9.1+cu128"]);
    assert_eq!(answer.code, 1);
    fs_err::remove_dir_all(house.file("torch")).expect("a folder");
    house.verify(&[]).ends(1, "failed", &["torch"]).has(
        "torch",
        "fail",
        "lock-drift",
        &["`default`"],
    );
    fs_err::remove_file(house.root.join("gpuseal.lock")).expect("a file");
    house.verify(&[]).ends(3, "unproven", &["torch"]).has(
        "torch",
        "skip",
        "unknown",
        &["not installed"],
    );
}

#[test]
fn a_package_of_another_version_and_one_that_is_missing() {
    let house = house();
    let info = |stem: &str| house.file(&format!("{stem}.dist-info"));
    fs_err::rename(info("nvidia_cudnn_cu12-9.10.2.21"), info("nvidia_cudnn_cu12-9.11.0.98"))
        .expect("a folder");
    fs_err::remove_dir_all(info("triton-3.5.1")).expect("a folder");
    house.env.record();
    let answer = house.verify(&[]);
    let names = ["packages.nvidia-cudnn-cu12", "packages.triton", "library-versions.cudnn-package"];
    answer.ends(1, "failed", &names);
    answer.has(names[0], "fail", "lock-drift", &["9.11.0.98 is installed", "9.10.2.21 is locked"]);
    answer.has(names[1], "fail", "lock-drift", &["triton 3.5.1 is locked, and not installed"]);
    answer.has(names[2], "fail", "lock-drift", &["version 9.10.2", "9.11.0.98"]);
}

#[test]
fn a_library_that_differs_from_its_record() {
    let house = house();
    let path = house.file("nvidia/cublas/lib/libcublasLt.so.12");
    let mut bytes = fs_err::read(&path).expect("a library");
    // One bit behind all that the loader reads.
    *bytes.last_mut().expect("bytes") ^= 1;
    fs_err::write(&path, bytes).expect("a file");
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["record"]);
    let words = ["nvidia/cublas/lib/libcublasLt.so.12", "nvidia-cublas-cu12 12.8.4.1", "RECORD"];
    answer.has("record", "fail", "lock-drift", &words);
    // Another size is seen of any file; one that is no library is no reason to fail.
    house.env.record();
    fs_err::write(house.file("torch/__init__.py"), "# patched\n").expect("a file");
    let answer = house.verify(&[]);
    answer.ends(0, "proven", &["record-other-files"]);
    answer.has("record-other-files", "warn", "lock-drift", &["torch/__init__.py", "bytes"]);
}

#[test]
fn a_second_cudnn() {
    let house = house();
    let other = house.root.join("system/libcudnn.so.9");
    library(&other, Made::of("9.1.0"), &[], "", "$ORIGIN");
    let var = [("LD_LIBRARY_PATH", other.parent().and_then(Path::to_str).expect("a path"))];
    // torch's RPATH comes first: harmless today.
    let answer = house.verify(&var);
    answer.ends(0, "proven", &["second-copy"]);
    answer.has("second-copy", "warn", "library-shadowed", &["system/libcudnn.so.9"]);
    // Its parts are loaded by name, and cuDNN has a RUNPATH: theirs come from the other one.
    library(&other.with_file_name("libcudnn_ops.so.9"), Made::of("9.1.0"), &[], "", "$ORIGIN");
    let answer = house.verify(&var);
    answer.has(
        "second-copy",
        "fail",
        "library-shadowed",
        &["system/libcudnn_ops.so.9", "LD_LIBRARY_PATH"],
    );
    assert_eq!(answer.code, 1);
}

#[test]
fn parts_of_two_versions_of_cudnn() {
    let house = house();
    let path = house.file("nvidia/cudnn/lib/libcudnn.so.9");
    library(&path, Made { status: 1008, ..Made::of("9.10.2") }, &[], "", "$ORIGIN");
    house.env.record();
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["library-versions.cudnn"]);
    answer.has(
        "library-versions.cudnn",
        "fail",
        "cudnn-mismatch",
        &["cudnnGraphVersionCheck returns 1008"],
    );
}

#[test]
fn a_wheel_that_is_not_what_it_is_called() {
    let house = house();
    library(&house.file("nvidia/nccl/lib/libnccl.so.2"), Made::of("2.21.5"), &[], "", "");
    house.env.record();
    let answer = house.verify(&[]);
    let names = ["library-versions.nccl-package", "library-versions.nccl-locked"];
    answer.ends(1, "failed", &names);
    answer.has(names[0], "fail", "lock-drift", &["version 2.21.5", "nvidia-nccl-cu12 is 2.27.5"]);
    answer.has(names[1], "fail", "lock-drift", &["version 2.21.5", "2.27.5 is locked"]);
}

#[test]
fn a_missing_library_and_a_broken_one() {
    let house = house();
    let lt = house.file("nvidia/cublas/lib/libcublasLt.so.12");
    fs_err::remove_file(&lt).expect("a file");
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["loader", "record", "library-versions"]);
    let words = ["libcublas.so.12", "libcublasLt.so.12"];
    answer.has("loader", "fail", "companion-mismatch", &words);
    answer.has("record", "fail", "lock-drift", &["libcublasLt.so.12", "is missing"]);
    answer.has("library-versions", "skip", "unknown", &["not asked"]);
    fs_err::write(&lt, "half a download").expect("a file");
    let answer = house.verify(&[]);
    answer.has("loader", "fail", "lock-drift", &["libcublasLt.so.12", "ELF"]);
}

#[test]
fn a_library_that_dies_when_it_is_loaded() {
    let house = house();
    let path = house.file("nvidia/nccl/lib/libnccl.so.2");
    library(&path, Made { crash: true, ..Made::of("2.27.5") }, &[], "", "");
    house.env.record();
    let answer = house.verify(&[]);
    answer.ends(1, "failed", &["library-versions"]);
    let words = ["dlopen", "libnccl.so.2", "SIGSEGV"];
    answer.has("library-versions", "crash", "unknown", &words);
}

/// The pair that torch gets: an old rule of the loader that surprises everybody.
#[test]
fn a_library_path_that_redirects_cublas_lt() {
    let house = house();
    let other = house.root.join("system/libcublasLt.so.12");
    library(&other, Made::of("12.1.3"), &[], "", "");
    let var = ("LD_LIBRARY_PATH", other.parent().and_then(Path::to_str).expect("a path"));
    let answer = house.verify(&[var]);
    let names = ["second-copy", "library-versions.pair", "library-versions.cublas-lt-package"];
    answer.has(
        names[0],
        "fail",
        "library-shadowed",
        &["system/libcublasLt.so.12", "LD_LIBRARY_PATH"],
    );
    answer.has(names[1], "fail", "library-shadowed", &["cuBLAS 12.8.4", "cublasLt 12.1.3"]);
    assert_eq!((answer.code, loaded(&house, &[var])), (1, told(&answer)));
    // And without it.
    let answer = house.verify(&[]);
    assert_eq!((answer.code, loaded(&house, &[])), (0, told(&answer)));
}

/// Files of CUDA's libraries that `loader` names, sorted.
fn told(answer: &Answer) -> Vec<String> {
    let facts = answer.check("loader")["facts"].as_array().expect("facts");
    let mut list: Vec<_> =
        facts.iter().map(|fact| fact["text"].as_str().expect("a text").to_owned()).collect();
    list.sort();
    list
}

/// The same as the loader of this machine has it: a program that opens torch's libraries and prints its maps.
fn loaded(house: &House, vars: &[(&str, &str)]) -> Vec<String> {
    let source = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++)
        if (!dlopen(names[i], RTLD_NOW | RTLD_GLOBAL)) return fprintf(stderr, "%s\n", dlerror()), 1;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (fgets(line, sizeof line, maps)) fputs(line, stdout);
    return 0;
}
"#;
    let path = support::write(&house.root, "open.c", source);
    let program = path.with_extension("");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let made = Command::new(cc).arg("-o").arg(&program).arg(&path).arg("-ldl").status();
    assert!(made.expect("a C compiler").success());
    let torch = ["libtorch_global_deps.so", "libtorch_python.so"];
    let torch = torch.map(|name| house.file(&format!("torch/lib/{name}")));
    let run = Command::new(program)
        .args(torch)
        .env_clear()
        .envs(vars.iter().copied())
        .output()
        .expect("the program");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let maps = String::from_utf8(run.stdout).expect("paths");
    let mut list: Vec<String> = maps
        .lines()
        .filter_map(|line| Some(line[line.find('/')?..].to_owned()))
        .filter(|path| {
            let name = path.rsplit('/').next().expect("a name");
            ["libcublas", "libcudart", "libcudnn", "libnccl"]
                .iter()
                .any(|start| name.starts_with(start))
        })
        .collect();
    list.sort();
    list.dedup();
    list
}

#[test]
fn a_driver_in_the_image() {
    let house = house();
    library(&house.root.join("driver/libcuda.so.1"), Made::of("535.183.1"), &[], "", "");
    let folder = house.root.join("driver");
    let path = ("LD_LIBRARY_PATH", folder.to_str().expect("a path"));
    let answer = house.verify(&[path, ("container", "podman")]);
    answer.has("driver-in-image", "fail", "driver-library-mismatch", &["driver/libcuda.so.1"]);
    assert_eq!(answer.code, 1);
}

#[test]
fn variables_that_lead_astray() {
    let house = house();
    let answer = house.verify(&[("CUDA_FORCE_PTX_JIT", "1"), ("CUDA_VISIBLE_DEVICES", "")]);
    answer.ends(0, "proven", &["env"]);
    answer.has("env", "warn", "env-path", &["CUDA_VISIBLE_DEVICES", "hides every GPU", "1 more"]);
    let stubs = house.root.join("cuda/lib64/stubs");
    library(&stubs.join("libcuda.so.1"), Made::of("12.8.0"), &[], "", "");
    let answer = house.verify(&[("LD_LIBRARY_PATH", stubs.to_str().expect("a path"))]);
    answer.has("env", "warn", "env-path", &["stubs/libcuda.so.1", "stub of the toolkit"]);
}
