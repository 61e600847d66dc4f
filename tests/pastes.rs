//! What people paste becomes facts, each with its line; and every fix that is proposed from them holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gpuseal::diagnose::{Said, facts, for_cause, hidden};
use gpuseal::domain::{Code, Platform, Severity};
use gpuseal::matrix::Matrix;
use gpuseal::resolve::case::{Case, Driver};
use gpuseal::resolve::judge;

static MATRIX: LazyLock<Matrix> = LazyLock::new(Matrix::embedded);

fn said(text: &str) -> Said {
    let lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(at, l)| (at + 1, l)).collect();
    facts(&lines, &MATRIX)
}

fn captures(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn fix(code: Code, text: &str) -> Vec<String> {
    for_cause(code, &said(text), &BTreeMap::new(), &MATRIX).fix
}

/// A record without what nobody told.
fn told(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) | Value::Bool(_) => false,
    };
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, told(value)))
                .filter(|(key, value)| !empty(value) && key != "musl" && key != "first_on_path")
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(told).collect()),
        other => other,
    }
}

/// What a message in the text is about.
const ABOUT: &[(&str, &str)] = &[
    ("collect-env-2021-conda", "arch-not-in-binary"),
    ("collect-env-cpu-windows", "cpu-only-wheel"),
    ("collect-env-sections", "arch-not-in-binary"),
    ("comfyui-start", "arch-not-in-binary"),
    ("nvcc-and-torch", "toolkit-mismatch"),
    ("old-card-new-words", "arch-not-in-binary"),
    ("one-liner-blackwell", "arch-not-in-binary"),
    ("one-liner-blackwell", "companion-mismatch"),
    ("pip-label-on-pypi", "no-such-wheel"),
    ("pip-no-such-build", "no-such-wheel"),
    ("repl-old-driver", "driver-too-old"),
    ("transformers-env-wsl", "driver-too-old"),
    ("two-machines", "cpu-only-wheel"),
    ("uv-no-abi", "no-such-wheel"),
    ("xformers-mismatch", "companion-mismatch"),
];

/// One text: the facts by line, the record, what it comes to, and the fix for each code it may be about.
#[test]
fn every_paste_becomes_facts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pastes");
    let mut files: Vec<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 14, "{} pastes", files.len());
    for file in files {
        let said = said(&fs_err::read_to_string(&file).unwrap());
        let mut text = String::new();
        for read in &said.seen {
            let _ = writeln!(text, "{:>3}  {}: {}", read.line, read.what, read.value);
        }
        let record = told(serde_json::to_value(&said.facts).unwrap());
        let _ = writeln!(text, "\n{}", serde_json::to_string_pretty(&record).unwrap());
        for finding in hidden(&said, &MATRIX) {
            let _ = writeln!(text, "\n{}: {}", finding.code, finding.message);
            for help in &finding.help {
                let _ = writeln!(text, "  {help}");
            }
        }
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        for (_, code) in ABOUT.iter().filter(|(about, _)| *about == name) {
            let advice = for_cause(code.parse().unwrap(), &said, &BTreeMap::new(), &MATRIX);
            let sharper = advice.code.map_or(String::new(), |code| format!(" -> {code}"));
            for line in &advice.fix {
                let _ = writeln!(text, "\nfor {code}{sharper}: {line}");
            }
        }
        insta::with_settings!({
            snapshot_path => &folder, prepend_module_to_snapshot => false, omit_expression => true,
        }, {
            insta::assert_snapshot!(name, text);
        });
    }
}

/// A combination as a sentence proposes it: what it installs, and the driver that it asks for.
fn proposal(sentence: &str, case: &Case) -> Option<Case> {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let index = words.iter().position(|w| *w == "--index-url").map(|at| words[at + 1]);
    let exact = |name: &str| {
        let start = format!("{name}==");
        words
            .iter()
            .find_map(|w| w.strip_prefix(start.as_str()))
            .map(|v| v.trim_end_matches([';', ',']))
    };
    let torch = exact("torch")?;
    let label = torch.contains('+');
    let torch = match index.filter(|_| !label) {
        Some(url) => format!("{torch}+{}", url.trim_end_matches(';').rsplit('/').next()?),
        None => torch.to_owned(),
    };
    let with = ["torchvision", "torchaudio", "xformers"];
    let with =
        with.iter().filter_map(|name| Some(format!("{name}=={}", exact(name)?).parse().unwrap()));
    let needs =
        sentence.split("it needs driver ").nth(1).map(|rest| rest.split(' ').next().unwrap());
    Some(Case {
        torch: Some(torch.parse().unwrap()),
        with: with.collect(),
        driver: match needs {
            Some(text) => Some(Driver::place(text.parse().unwrap(), &MATRIX).unwrap()),
            None => case.driver.clone(),
        },
        python: case.python.filter(|_| !sentence.contains("its files are for Python")),
        ..case.clone()
    })
}

/// Judges what a sentence proposes. A Windows file that nobody read is taken for its Linux sibling, as
/// the sentence says.
fn holds(sentence: &str, case: &Case) {
    let Some(mut case) = proposal(sentence, case) else { return };
    let sibling = sentence.contains("the Windows file was not read");
    if sibling {
        assert_eq!(case.platform, Some(Platform::WindowsAmd64), "{sentence}");
        case.platform = Some(Platform::LinuxAmd64);
        // Windows' driver numbers are no Linux ones.
        case.driver = None;
    }
    let judged = judge(&case, &MATRIX);
    let against: Vec<_> = judged
        .findings
        .iter()
        .filter(|f| f.severity <= Severity::Unknown)
        .map(|f| &f.message)
        .collect();
    assert!(against.is_empty(), "{sentence}\n{case:?}\n{against:#?}");
}

/// The texts of a machine, in the words of collect_env.
fn block(torch: &str, gpu: &str, driver: &str, python: &str, windows: bool) -> String {
    let os = if windows { "Microsoft Windows 11 Pro" } else { "Ubuntu 24.04.1 LTS (x86_64)" };
    let public = torch.split('+').next().unwrap();
    let release = MATRIX.release(public.parse().unwrap()).unwrap();
    let mut text = format!(
        "PyTorch version: {torch}\nOS: {os}\nPython version: {python}.1 (main)\nGPU models and configuration: GPU 0: {gpu}\n"
    );
    if !driver.is_empty() {
        let _ = writeln!(text, "Nvidia driver version: {driver}");
    }
    for name in ["torchvision", "torchaudio"] {
        if let Some(version) = release.train.get(name).and_then(|train| train.exact.last()) {
            let _ = writeln!(text, "[pip3] {name}=={version}");
        }
    }
    text
}

const CARDS: &[&str] = &[
    "Tesla K80",
    "NVIDIA GeForce GTX 1080 Ti",
    "Tesla V100-SXM2-16GB",
    "Tesla T4",
    "NVIDIA GeForce RTX 3090",
    "NVIDIA L4",
    "NVIDIA H100 80GB HBM3",
    "NVIDIA B200",
    "NVIDIA GeForce RTX 5090",
];

/// Over all releases and builds, cards of every generation and drivers of every age: what is proposed for
/// a card without code, an old driver or a CPU build is a combination that `check` takes.
#[test]
fn every_proposal_is_one_that_check_takes() {
    let mut proposed = 0;
    for release in &MATRIX.releases {
        let names =
            release.variants.iter().filter(|v| v.cuda.is_some()).map(|v| v.name.to_string());
        let names: Vec<String> = names.chain(["cpu".to_owned()]).collect();
        for (at, name) in names.iter().enumerate() {
            for (turn, gpu) in CARDS.iter().enumerate() {
                // Each pair once, the rest in turns: the whole product would take minutes.
                let driver =
                    ["", "470.57.02", "525.85.12", "550.54.14", "580.65.06"][(at + turn) % 5];
                let python = ["3.8", "3.10", "3.12", "3.13"][(at * 3 + turn) % 4];
                let windows = (at + turn) % 3 == 2;
                let text =
                    block(&format!("{}+{name}", release.version), gpu, driver, python, windows);
                let said = said(&text);
                let case = gpuseal::diagnose::case(&said, &MATRIX);
                let code = match (name.as_str(), turn % 2) {
                    ("cpu", _) => Code::CpuOnlyWheel,
                    (_, 0) => Code::ArchNotInBinary,
                    _ => Code::DriverTooOld,
                };
                for sentence in for_cause(code, &said, &BTreeMap::new(), &MATRIX).fix {
                    if sentence.starts_with("take torch") {
                        proposed += 1;
                        holds(&sentence, &case);
                    }
                }
            }
        }
    }
    assert!(proposed > 300, "only {proposed} proposals");
}

/// The smallest change: the same release where it will do, else the nearest line, its newest patch.
#[test]
fn the_nearest_build_is_proposed() {
    let blackwell = block("2.6.0+cu124", "NVIDIA GeForce RTX 5090", "570.86.16", "3.12", false);
    let lines = fix(Code::ArchNotInBinary, &blackwell);
    assert!(lines[0].starts_with("take torch 2.7.1+cu128, which has machine code for sm_120: pip install torch==2.7.1+cu128 torchvision==0.22.1+cu128 torchaudio==2.7.1+cu128 --index-url https://download.pytorch.org/whl/cu128"), "{lines:?}");
    let pascal = block("2.8.0+cu128", "NVIDIA GeForce GTX 1080 Ti", "570.86.16", "3.12", false);
    assert!(
        fix(Code::ArchNotInBinary, &pascal)[0].starts_with("take torch 2.8.0+cu126"),
        "{pascal}"
    );
    let old = block("2.9.1+cu130", "NVIDIA L4", "535.161.08", "3.12", false);
    let lines = fix(Code::DriverTooOld, &old);
    assert!(lines[0].starts_with("raise the driver to 580"), "{lines:?}");
    assert!(lines[1].starts_with("take torch 2.9.1+cu12"), "{lines:?}");
    let cpu = block("2.6.0+cpu", "NVIDIA L4", "550.54.14", "3.12", false);
    assert!(
        fix(Code::CpuOnlyWheel, &cpu)[0]
            .starts_with("take torch 2.6.0+cu124, a CUDA build: pip install torch==2.6.0+cu124"),
        "{cpu}"
    );
}

/// torch has code for the card: then an extension has none, and another torch is no cure.
#[test]
fn an_extension_is_told_from_torch() {
    let text = block("2.8.0+cu128", "NVIDIA GeForce RTX 5090", "570.86.16", "3.12", false);
    let lines = fix(Code::ArchNotInBinary, &text);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("itself has machine code for sm_120") && lines[0].contains("12.0"),
        "{lines:?}"
    );
}

/// The message's own words count before the rest of the text, and stand alone where there is no rest.
#[test]
fn captures_count() {
    let nothing = said("");
    let pairs = captures(&[("capability", "sm_120"), ("torch", "2.6.0"), ("variant", "cu124")]);
    let advice = for_cause(Code::ArchNotInBinary, &nothing, &pairs, &MATRIX);
    assert!(advice.fix[0].starts_with("take torch 2.7.1+cu128"), "{advice:?}");
    let pairs = captures(&[("capability", "120")]);
    let advice = for_cause(Code::ToolkitMismatch, &nothing, &pairs, &MATRIX);
    assert!(advice.fix[0].contains("12.8 or newer"), "{advice:?}");
    let pairs = captures(&[("arch", "compute_35")]);
    let advice = for_cause(Code::ToolkitMismatch, &nothing, &pairs, &MATRIX);
    assert!(advice.fix[0].contains("to 11.8"), "{advice:?}");
    let pairs = captures(&[("nvcc", "12.1"), ("gcc", "13")]);
    let advice = for_cause(Code::ToolkitMismatch, &nothing, &pairs, &MATRIX);
    assert!(advice.fix[0].contains("gcc 12 at most"), "{advice:?}");
    let pairs = captures(&[("driver_cuda", "11040"), ("torch", "2.4.1+cu121")]);
    let advice = for_cause(Code::DriverTooOld, &nothing, &pairs, &MATRIX);
    assert!(
        advice.fix[1].contains("torch 2.4.1+cu118, which a driver of CUDA 11.4 runs"),
        "{advice:?}"
    );
}

/// Packages beside torch: by name, from its index, and the one that carries a library for each CUDA.
#[test]
fn what_belongs_to_torch_is_named() {
    let text = "torch 2.6.0+cu124\ntorchvision 0.20.1+cu124\nRuntimeError: operator torchvision::nms does not exist\n";
    let lines = fix(Code::CompanionMismatch, text);
    assert!(lines[0].ends_with("pip install torchvision==0.21.0+cu124 --index-url https://download.pytorch.org/whl/cu124"), "{lines:?}");
    assert!(lines[1].contains("torch 2.5.1"), "{lines:?}");
    let text =
        "Could not find the bitsandbytes CUDA binary at /x/bitsandbytes/libbitsandbytes_cuda128.so";
    let lines = fix(Code::CompanionMismatch, text);
    assert!(lines[0].contains("CUDA 12.8") && lines[0].contains("bitsandbytes>="), "{lines:?}");
    // A CUDA that no release has a library for, and packages that nobody complains of.
    assert!(fix(Code::CompanionMismatch, &text.replace("128", "129")).is_empty());
    let fits = "torch 2.6.0+cu124\ntorchvision 0.21.0+cu124\nsomething else\n";
    assert!(fix(Code::CompanionMismatch, fits).is_empty());
}

/// What a toolkit takes, as it says itself; PTX needs a driver for all of its CUDA.
#[test]
fn compilers_and_ptx() {
    let gcc = "Cuda compilation tools, release 12.1, V12.1.105\n#error -- unsupported GNU version! gcc versions later than 12 are not supported!\n";
    assert!(fix(Code::ToolkitMismatch, gcc)[0].starts_with("nvcc 12.1 takes gcc 12 at most"));
    let driver = block("2.9.1+cu129", "NVIDIA GeForce RTX 5090", "570.86.16", "3.12", false);
    let lines = fix(Code::DriverTooOld, &driver);
    assert!(lines[0].starts_with("raise the driver to 575"), "{lines:?}");
    assert!(
        lines[1].starts_with("take torch 2.9.1+cu128, which driver 570.86.16 runs"),
        "{lines:?}"
    );
    // torch's CUDA is not told: a call or PTX may be what the driver lacks, so no older branch will do.
    assert!(fix(Code::DriverTooOld, "Nvidia driver version: 450.216.04\n").is_empty());
}

/// An index that ends before the Python at hand.
#[test]
fn an_index_without_files_for_this_python() {
    let text = "C:\\Users\\me> python --version\nPython 3.13.5\nC:\\Users\\me> pip install torch --index-url https://download.pytorch.org/whl/cu121\nERROR: No matching distribution found for torch\n";
    let lines = fix(Code::NoSuchWheel, text);
    assert!(lines[0].contains("cu121 ends with torch 2.5.1"), "{lines:?}");
    assert!(lines[1].starts_with("take torch 2.6.0+cu12"), "{lines:?}");
}

/// Nothing known, other makers' accelerators, Jetson, a driver that is new enough: no guess.
#[test]
fn what_is_not_known_is_not_answered() {
    for code in Code::ALL {
        let advice = for_cause(*code, &said("it does not work"), &BTreeMap::new(), &MATRIX);
        assert_eq!((advice.code, advice.fix.len()), (None, 0), "{code}");
    }
    let npu = "PyTorch version: 2.5.1\nCUDA used to build PyTorch: None\nIs CUDA available: False\nnpu-smi 24.1";
    assert!(fix(Code::CpuOnlyWheel, npu).is_empty());
    assert!(hidden(&said(npu), &MATRIX).is_empty());
    let rocm = "PyTorch version: 2.5.1+rocm6.2\nROCM used to build PyTorch: 6.2.1\nIs CUDA available: True\n";
    assert!(fix(Code::ArchNotInBinary, rocm).is_empty() && hidden(&said(rocm), &MATRIX).is_empty());
    let jetson = "Linux tegra 5.15.136-tegra #1 SMP aarch64 aarch64 aarch64 GNU/Linux\nPyTorch version: 2.5.1+cpu\n";
    let lines = fix(Code::CpuOnlyWheel, jetson);
    assert!(lines.len() == 1 && lines[0].contains("JetPack"), "{lines:?}");
    let enough = block("2.6.0+cu124", "NVIDIA L4", "580.65.06", "3.12", false);
    assert!(fix(Code::DriverTooOld, &enough).is_empty());
    assert!(hidden(&said(&enough), &MATRIX).is_empty());
}

/// The list that torch told itself, and what the text contradicts.
#[test]
fn the_text_counts_before_the_matrix() {
    // A build of one's own with the label of a release: its list says that it has the code.
    let own = "PyTorch version: 2.6.0+cu124\nGPU 0: NVIDIA GeForce RTX 5090\n>>> torch.cuda.get_arch_list()\n['sm_90', 'sm_120']\n";
    assert!(hidden(&said(own), &MATRIX).is_empty());
    let works =
        "PyTorch version: 2.9.1+cu130\nIs CUDA available: True\nNvidia driver version: 550.54.15\n";
    assert!(hidden(&said(works), &MATRIX).is_empty());
    let fails = works.replace("True", "False");
    assert_eq!(hidden(&said(&fails), &MATRIX)[0].code, Code::DriverTooOld);
    // A card of a sentence is no card of the machine.
    let mention = "PyTorch version: 2.6.0+cu124\nIs CUDA available: True\nI plan to buy an RTX 5090 next year\n";
    assert!(hidden(&said(mention), &MATRIX).is_empty());
}

/// Time grows with the text and no faster: four times the lines take four times as long, not sixteen
/// times. And nothing panics.
#[test]
fn hostile_texts_are_read_in_time() {
    let took = |line: &str, count: usize| {
        let texts: Vec<String> =
            (0..count).map(|at| line.replace("9000", &at.to_string())).collect();
        let list: Vec<(usize, &str)> =
            texts.iter().enumerate().map(|(at, l)| (at, l.as_str())).collect();
        let start = Instant::now();
        let said = facts(&list, &MATRIX);
        let _ = hidden(&said, &MATRIX);
        let _ = for_cause(Code::ArchNotInBinary, &said, &BTreeMap::new(), &MATRIX);
        start.elapsed()
    };
    for line in [
        "torch==2.6.0 ".repeat(300),
        "torch-9000-2.6.0 torch==9000.1 ".repeat(90),
        "NVIDIA GeForce RTX 5090 ".repeat(170),
        "GPU 9000: NVIDIA H9000 PCIe".to_owned(),
        "GPU name: NVIDIA Imaginary 9000 Ti Super Duper".to_owned(),
        ">>> torch.__version__; torch.cuda.is_available()".to_owned(),
        "requirement torch==9.9000 (from versions: 1.0, 2.0)".to_owned(),
        "x9000 with CUDA capability sm_120 supports CUDA capabilities sm_50".to_owned(),
        "((((((((((((((((((((((".to_owned(),
        "é: ü | ß = 日本語 torch 2.9000".to_owned(),
        "PyTorch version: 2.6.9000+cu124".to_owned(),
        "/usr/local/cuda-12.9000/ --index-url https://example.org/9000".to_owned(),
    ] {
        let (short, long) = (took(&line, 1500), took(&line, 6000));
        let bound = short * 10 + Duration::from_secs(2);
        assert!(
            long < bound,
            "{short:?} and {long:?}: {}",
            line.chars().take(20).collect::<String>()
        );
    }
}

fn torch_of(text: &str) -> Option<String> {
    said(text).facts.pythons.first()?.packages.get("torch").cloned()
}

/// torch in the middle of a line is the one at hand, unless the words before it say otherwise.
#[test]
fn torch_is_read_from_a_sentence() {
    for (line, version) in [
        ("(torch 2.6.0+cu124)", "2.6.0+cu124"),
        ("| torch | 2.6.0+cu124 |", "2.6.0+cu124"),
        ("we are using torch version 2.6.0+cu124 here", "2.6.0+cu124"),
        ("PyTorch: v2.6.0+cu124", "2.6.0+cu124"),
        ("Ultralytics 8.3 Python-3.12.7 torch-2.5.1+cpu CPU (Intel)", "2.5.1+cpu"),
        ("versions: torch 2.5.1+cu124, driver 570.86, RTX 5070", "2.5.1+cu124"),
        ("Model was trained with torch 1.10.0+cu102, yours is 2.5.1+cu124.", "2.5.1+cu124"),
        ("2.8.0+cu128 True NVIDIA GeForce RTX 5090", "2.8.0+cu128"),
        (
            "x 1.0 requires torch==2.3.1, but you have torch 2.4.0+cu121 which is incompatible.",
            "2.4.0+cu121",
        ),
        ("x 1.0 has requirement torch==2.3.1, but you have torch 2.4.0.", "2.4.0"),
    ] {
        assert_eq!(torch_of(line).as_deref(), Some(version), "{line}");
    }
    for line in [
        "xformers was built for torch 2.6.0+cu124 and more",
        "this package requires torch 2.6.0+cu124 here",
        "pip install torch 2.6.0+cu124 now",
        "it worked with torch 2.6.0 here",
    ] {
        assert_eq!(torch_of(line), None, "{line}");
    }
    // A report in one line tells a machine; a wish tells none.
    let report = "torch 2.5.1+cu124 NVIDIA GeForce RTX 5070";
    assert_eq!(hidden(&said(report), &MATRIX)[0].code, Code::ArchNotInBinary);
    assert!(hidden(&said("torch 2.5.1+cu124\nshould I buy an RTX 5070?"), &MATRIX).is_empty());
}

/// Systems, drivers and C libraries by the words that people use.
#[test]
fn the_machine_is_read_from_a_sentence() {
    let platform = |text: &str| said(text).facts.system.platform;
    for line in ["PS C:\\work> python a.py", "torch 2.6.0+cu126 windows 11", "win10, python 3.12"] {
        assert_eq!(platform(line), Some(Platform::WindowsAmd64), "{line}");
    }
    assert_eq!(platform("MacBook with macOS 14.5"), Some(Platform::MacosArm64));
    assert_eq!(platform("from my MacBook to a server, driver 570.86.15"), None);
    assert_eq!(platform("Windows 11\n5.15.0-microsoft-standard-WSL2"), Some(Platform::LinuxAmd64));
    for line in ["# R36 (release), REVISION: 4.3", "Orin Nano 8GB", "JetPack 6.1"] {
        assert!(said(line).facts.system.jetson.is_some(), "{line}");
    }
    assert!(said("Detected non-Tegra platform").facts.system.jetson.is_none());
    let driver = |text: &str| gpuseal::diagnose::case(&said(text), &MATRIX).driver;
    let placed = |text: &str| driver(text).unwrap().spec.to_string();
    assert!(placed("filename: /lib/nvidia.ko\nversion:  550.120").contains("550.120"));
    assert!(placed("ii  nvidia-driver-550  550.120-0ubuntu0.22.04.1 amd64").contains("550.120"));
    assert!(placed("RTX 4090, driver 555").contains("555"));
    assert!(driver("needs driver 570 or newer").is_none());
    let glibc = said("ldd (GNU libc) 2.17").facts.system.glibc.unwrap();
    assert_eq!(glibc.value.to_string(), "2.17");
    // Several cards share a short name: what stands there is shown.
    let case = gpuseal::diagnose::case(&said("torch 2.6.0+cu124, A100 80GB"), &MATRIX);
    assert_eq!(case.gpus[0].name, "A100");
}

/// A torch that nobody named, an extension, Jetson, cards of other makers.
#[test]
fn advice_stays_within_what_is_known() {
    let lines = fix(Code::ArchNotInBinary, "GPU 0: NVIDIA GeForce RTX 5090\n");
    assert!(lines[0].starts_with("take torch 2.7.1+cu128 or newer, which"), "{lines:?}");
    let extension =
        "GPU 0: NVIDIA GeForce RTX 5090\nno kernel image at line 90 in file /src/csrc/ops.cu\n";
    assert!(fix(Code::ArchNotInBinary, extension).is_empty());
    let alone =
        "torch 2.6.0+cu124\nGPU 0: NVIDIA GeForce RTX 5090\n[ONNXRuntimeError] : 1 : FAIL\n";
    assert!(fix(Code::ArchNotInBinary, alone).is_empty());
    // The card asks for another driver: that first, and no CUDA 13 beside the old one.
    let old = block("2.6.0+cu124", "NVIDIA GeForce RTX 5090", "550.54.14", "3.12", false);
    let lines = fix(Code::ArchNotInBinary, &old);
    assert!(lines[0].starts_with("raise the driver first"), "{lines:?}");
    assert!(lines[1].starts_with("take torch 2.7.1+cu128"), "{lines:?}");
    let jetson = "JetPack 6.2\nGPU 0: Orin\nPyTorch version: 2.6.0\n";
    let lines = fix(Code::ArchNotInBinary, jetson);
    assert!(lines.iter().all(|line| line.contains("JetPack")), "{lines:?}");
    let amd = "AMD Radeon RX 7900 XTX\nPyTorch version: 2.6.0+cpu\n";
    let lines = fix(Code::CpuOnlyWheel, amd);
    assert!(lines.len() == 1 && lines[0].contains("/whl/rocm"), "{lines:?}");
    let mac = "macOS 14.5, Apple M2\nPyTorch version: 2.6.0\n";
    let lines = fix(Code::CpuOnlyWheel, mac);
    assert!(lines.len() == 1 && lines[0].contains("MPS"), "{lines:?}");
    // A CUDA build is no CPU build.
    let advice =
        for_cause(Code::CpuOnlyWheel, &said("torch 2.6.0+cu124"), &BTreeMap::new(), &MATRIX);
    assert!(advice.refused && advice.fix.is_empty(), "{advice:?}");
}

/// What belongs to a torch without code for the card is no help; the install that changed torch is named.
#[test]
fn the_install_that_changed_torch_is_named() {
    let text = "GPU 0: NVIDIA GeForce RTX 5090\nFound existing installation: torch 2.8.0+cu128\nSuccessfully installed torch-2.5.1+cu121 torchvision-0.23.0\nRuntimeError: operator torchvision::nms does not exist\n";
    let advice = for_cause(Code::CompanionMismatch, &said(text), &BTreeMap::new(), &MATRIX);
    assert!(advice.instead && advice.fix[0].starts_with("take torch 2.7.1+cu128"), "{advice:?}");
    let last = advice.fix.last().unwrap();
    assert!(last.contains("line 3 replaced torch 2.8.0+cu128 by 2.5.1+cu121"), "{last}");
}
