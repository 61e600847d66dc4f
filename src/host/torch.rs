//! Asks an interpreter for its torch: a small program on its standard input, with a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::child::{self, Ran};
use super::machine::{Machine, why};
use super::{Answer, Failure, Product, TorchTold};
use crate::domain::shown;

const PROGRAM: &str = concat!(include_str!("tell.py"), include_str!("torch.py"));
const MARK: &str = "@gpuseal ";

/// The first start of torch on a cold disk takes tens of seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an interpreter told.
#[derive(Debug)]
pub(super) struct Heard {
    /// Its version, when it started at all.
    pub version: Option<String>,
    /// `sys.prefix`
    pub prefix: Option<String>,
    /// `sys.path`
    pub path: Option<Vec<String>>,
    /// torch.
    pub torch: Answer<TorchTold>,
}

/// One line of the program.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    phase: Option<String>,
    python: Option<String>,
    prefix: Option<String>,
    path: Option<Vec<String>>,
    absent: bool,
    failed: Option<String>,
    torch: Option<RawTorch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawTorch {
    version: String,
    cuda: Option<String>,
    arch_list: Option<Vec<String>>,
    cudnn: Option<u64>,
    available: Option<bool>,
    device_count: Option<u32>,
    said: Vec<String>,
    files: Vec<String>,
    products: Vec<Product>,
}

/// Runs the program in an interpreter. Its own site and PYTHONPATH count: they belong to the truth.
pub(super) fn ask(machine: &Machine, interpreter: &str) -> Heard {
    // -B: no byte code is written.
    match child::run(machine.at(interpreter), &["-B", "-"], PROGRAM, PATIENCE) {
        Ok(ran) => heard(&ran),
        Err(err) => {
            let failure =
                Failure { call: interpreter.to_owned(), code: err.raw_os_error(), text: why(&err) };
            Heard { version: None, prefix: None, path: None, torch: Answer::Failed(failure) }
        }
    }
}

fn heard(ran: &Ran) -> Heard {
    let mut last = Line::default();
    let mut end = None;
    for line in ran.stdout.lines().filter_map(|line| line.strip_prefix(MARK)) {
        let Ok(line) = line.parse().and_then(serde_json::from_value::<Line>) else { continue };
        last.phase = line.phase.or(last.phase);
        last.python = line.python.or(last.python);
        last.prefix = line.prefix.or(last.prefix);
        last.path = line.path.or(last.path);
        if let Some(failed) = line.failed {
            let call = "import torch".to_owned();
            end = Some(if line.absent {
                Answer::Absent(failed)
            } else {
                Answer::Failed(Failure { call, code: None, text: failed })
            });
        } else if let Some(torch) = line.torch {
            end = Some(Answer::Told(told(torch, &ran.stderr)));
        }
    }
    let phase = last.phase.unwrap_or_else(|| "start of Python".into());
    let torch = end.unwrap_or_else(|| match ran.status {
        None => Answer::Hung(phase),
        Some(status) => match status.code() {
            Some(code) => {
                let lines: Vec<&str> =
                    ran.stderr.lines().filter(|l| !l.trim().is_empty()).collect();
                let text = lines[lines.len().saturating_sub(3)..].join("\n");
                Answer::Failed(Failure { call: phase, code: Some(code), text })
            }
            // `signal: 11 (SIGSEGV) (core dumped)`
            None => Answer::Crashed(format!("{status}, in {phase}")),
        },
    });
    Heard { version: last.python, prefix: last.prefix, path: last.path, torch }
}

fn told(raw: RawTorch, stderr: &str) -> TorchTold {
    let mut said = raw.said;
    for line in stderr.lines().map(str::trim).filter(|line| !line.is_empty()).take(10) {
        let line = shown(line);
        if !said.iter().any(|known| known.contains(&line)) {
            said.push(line);
        }
    }
    let mut mapped = BTreeMap::new();
    for file in raw.files {
        let mut key = soname(file.rsplit('/').next().unwrap_or_default());
        // Two copies in one process are the very thing to be seen.
        while mapped.contains_key(&key) {
            key.push('\'');
        }
        mapped.insert(key, file);
    }
    TorchTold {
        version: raw.version,
        cuda: raw.cuda.and_then(|cuda| cuda.parse().ok()),
        arch_list: raw
            .arch_list
            .map(|list| list.iter().filter_map(|code| code.parse().ok()).collect()),
        cudnn: raw.cudnn,
        available: raw.available,
        device_count: raw.device_count,
        said,
        mapped,
        products: raw.products,
    }
}

/// The name that others know a file by: `libcublas.so.12` of `libcublas.so.12.4.5.8`. The driver's
/// own files carry its version, and their name ends in 1.
fn soname(file: &str) -> String {
    let Some((name, version)) = file.split_once(".so.") else { return file.to_owned() };
    if name == "libcuda" || name.starts_with("libnvidia-") {
        return format!("{name}.so.1");
    }
    format!("{name}.so.{}", version.split('.').next().unwrap_or_default())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn ran(raw: Option<i32>, stdout: &str, stderr: &str) -> Heard {
        let status = raw.map(ExitStatus::from_raw);
        heard(&Ran { status, stdout: stdout.into(), stderr: stderr.into() })
    }

    const START: &str = "noise\n@gpuseal {\"python\": \"3.12.4\", \"prefix\": \"/v\", \"path\": [\"/v/l\"], \"phase\": \"import torch\"}\n";

    #[test]
    fn what_it_told() {
        let end = r#"library talk
@gpuseal {"torch": {"version": "2.7.1+cu128", "cuda": "12.8", "arch_list": ["sm_75", "compute_120", "gfx90a"], "cudnn": 90701, "available": true, "device_count": 1, "said": ["a warning"], "files": ["/a/libcuda.so.570.1.2", "/a/libcublas.so.12", "/b/libcublas.so.12.4.5.8"], "products": [{"device": 0, "name": "NVIDIA L4", "capability": "8.9", "memory": [5, 9], "right": true}]}}
"#;
        let heard = ran(Some(0), &format!("{START}{end}"), "a warning\nW1 something else\n");
        assert_eq!(heard.version.as_deref(), Some("3.12.4"));
        assert_eq!(heard.path.as_deref(), Some(["/v/l".to_owned()].as_slice()));
        let Answer::Told(torch) = heard.torch else { panic!("{:?}", heard.torch) };
        let codes: Vec<_> = torch.arch_list.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(codes, ["sm_75", "compute_120"]);
        assert_eq!(torch.said, ["a warning", "W1 something else"]);
        assert_eq!(torch.mapped["libcuda.so.1"], "/a/libcuda.so.570.1.2");
        assert_eq!(torch.mapped["libcublas.so.12"], "/a/libcublas.so.12");
        assert_eq!(torch.mapped["libcublas.so.12'"], "/b/libcublas.so.12.4.5.8");
        let product = &torch.products[0];
        assert_eq!((product.right, product.memory), (Some(true), Some((5, 9))));
    }

    #[test]
    fn every_way_to_end() {
        let absent = "@gpuseal {\"absent\": true, \"failed\": \"ModuleNotFoundError: No module named 'torch'\"}\n";
        assert!(matches!(ran(Some(0), &format!("{START}{absent}"), "").torch, Answer::Absent(_)));
        let broken = "@gpuseal {\"absent\": false, \"failed\": \"ImportError: libcudnn.so.9\"}\n";
        let heard = ran(Some(0), &format!("{START}{broken}"), "");
        assert_eq!(heard.torch.failure().expect("a failure").text, "ImportError: libcudnn.so.9");
        let phase = "@gpuseal {\"phase\": \"torch.cuda.init\"}\n";
        let heard = ran(None, &format!("{START}{phase}"), "");
        assert_eq!(heard.torch, Answer::Hung("torch.cuda.init".into()));
        let Answer::Crashed(text) = ran(Some(11), START, "").torch else { panic!("no crash") };
        assert!(text.contains("11") && text.ends_with("in import torch"), "{text}");
        let heard = ran(Some(3 << 8), "", "Traceback\n  x\nSyntaxError: invalid syntax\n");
        let failure = heard.torch.failure().expect("a failure");
        assert_eq!((failure.code, failure.call.as_str()), (Some(3), "start of Python"));
        assert!(failure.text.ends_with("SyntaxError: invalid syntax"));
    }

    /// A torch of three devices: one computes, one computes something else, one is broken.
    const FAKE: &str = r#"
import types, warnings
__version__ = "9.9.9+fake"
version = types.SimpleNamespace(cuda="12.8", hip=None)
class Matrix:
    def __init__(self, value): self.value, self.place = value, "cpu"
    def __matmul__(self, other):
        product = Matrix(self.value * other.value)
        if self.place == "cuda:1": product.value += 1
        return product
    def to(self, place):
        if place == "cuda:2": raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        moved = Matrix(self.value); moved.place = place
        return moved
    def float(self): return self
    def cpu(self): return self
    def long(self): return self
class Generator:
    def manual_seed(self, seed): return self
def randint(low, high, shape, generator): return Matrix(3)
def equal(a, b): return a.value == b.value
def init():
    print("a library talks", end="")
    raise RuntimeError("CUDA driver initialization failed")
def available():
    warnings.warn("CUDA initialization: Unexpected error")
    warnings.warn("old", DeprecationWarning)
    return True
_C = types.SimpleNamespace(_cuda_getArchFlags=lambda: "sm_75 sm_90a compute_120")
backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 90701))
cuda = types.SimpleNamespace(
    is_available=available, device_count=lambda: 3, init=init,
    get_device_name=lambda index: f"Fake {index}", get_device_capability=lambda index: (9, 0),
    mem_get_info=lambda index: (60, 100))
"#;

    fn asked(files: &[(&str, &str)]) -> Heard {
        let (root, machine) = crate::host::machine::tests::machine(files);
        let site = root.path().join("site");
        // The program is Python, so this needs one: any from 3.6 on.
        let wrapper = format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 \"$@\"\n", site.display());
        let path = root.path().join("python");
        fs_err::write(&path, wrapper).expect("a file");
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a program");
        let heard = ask(&machine, "/python");
        assert!(!site.join("torch/__pycache__").exists(), "something was written");
        heard
    }

    #[test]
    fn a_torch_is_asked() {
        let heard = asked(&[("/site/torch/__init__.py", FAKE)]);
        assert!(heard.path.expect("a path").iter().all(|folder| !folder.is_empty()));
        let Answer::Told(torch) = heard.torch else { panic!("{:?}", heard.torch) };
        assert_eq!((torch.version.as_str(), torch.cudnn), ("9.9.9+fake", Some(90701)));
        assert_eq!((torch.available, torch.device_count), (Some(true), Some(3)));
        assert_eq!(torch.arch_list.map(|list| list.len()), Some(3));
        assert_eq!(
            torch.said,
            [
                "RuntimeError: CUDA driver initialization failed",
                "CUDA initialization: Unexpected error"
            ]
        );
        let products: Vec<_> =
            torch.products.iter().map(|p| (p.name.as_str(), p.right, p.error.is_some())).collect();
        assert_eq!(
            products,
            [("Fake 0", Some(true), false), ("Fake 1", Some(false), false), ("Fake 2", None, true)]
        );
        assert_eq!(torch.products[0].memory, Some((40, 100)));
        assert_eq!(torch.products[0].capability.map(|c| c.to_string()).as_deref(), Some("9.0"));
    }

    #[test]
    fn a_torch_that_cannot_be_imported() {
        let absent = asked(&[("/site/", "")]);
        assert!(
            matches!(&absent.torch, Answer::Absent(text) if text.contains("No module named 'torch'"))
        );
        let library = "raise ImportError('libcudnn.so.9: cannot open shared object file')";
        let broken = asked(&[("/site/torch/__init__.py", library)]);
        let failure = broken.torch.failure().expect("a failure").clone();
        assert_eq!(failure.call, "import torch");
        assert!(failure.text.contains("libcudnn.so.9"), "{failure:?}");
        let killed = asked(&[("/site/torch/__init__.py", "import os; os.kill(os.getpid(), 11)")]);
        assert!(
            matches!(&killed.torch, Answer::Crashed(text) if text.ends_with("in import torch"))
        );
        let left = asked(&[("/site/torch/__init__.py", "import os; os._exit(7)")]);
        assert_eq!(left.torch.failure().expect("a failure").code, Some(7));
    }
}
