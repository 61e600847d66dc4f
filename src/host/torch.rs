//! Asks an interpreter for its torch: a small program on its standard input, with a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::child::{self, Ran};
use super::machine::{Machine, why};
use super::{Answer, Failure, Product, TorchTold};
use crate::domain::shown;

const PROGRAM: &str = include_str!("torch.py");
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
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
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
}
