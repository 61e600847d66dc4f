//! torch itself: CUDA or CPU, the driver it needs, its code, and whether it can be imported.

use super::install::{install_lines, same_again};
use super::view::{Build, Torch, only};
use super::{Outcome, Subject, follows, nothing_here, user_driver};
use crate::domain::{
    Code, CodeTarget, CudaVersion, DriverSpec, Finding, Order as _, Platform, Severity, shown,
};
use crate::host::{Answer, Python};
use crate::matrix::{CodeList, GpuMatch};
use crate::resolve::case::{Case, Driver};
use crate::resolve::physics::{self, Served};
use crate::resolve::{Judgement, judge};

/// `torch-found`: some environment has torch.
pub fn found(subject: &Subject<'_>) -> Outcome {
    if let Some(torch) = subject.torch() {
        return Outcome::Passed(format!(
            "{} in {}",
            shown(&torch.version),
            shown(&torch.python.path)
        ));
    }
    let pythons = &subject.facts.pythons;
    if pythons.is_empty() {
        return Outcome::Skipped("no Python environment was found: name one with --env".into());
    }
    // Who hangs, dies or fails when asked for torch and has no package told nothing at all.
    let silent = |p: &&Python| {
        let failed =
            matches!(p.imported, Some(Answer::Hung(_) | Answer::Crashed(_) | Answer::Failed(_)));
        failed && p.packages.is_empty() && p.torch.is_none()
    };
    if let Some(python) = pythons.iter().find(silent) {
        return Outcome::Skipped(format!("{} did not answer as a Python", shown(&python.path)));
    }
    let paths: Vec<_> = pythons.iter().map(|p| shown(&p.path)).take(4).collect();
    Outcome::Skipped(format!(
        "torch is not installed in {}: name another environment with --env",
        paths.join(", ")
    ))
}

/// `torch-once`: no second torch stands behind the first.
pub fn once(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    let others = torch.python.torch.as_ref().map(|t| t.others.as_slice()).unwrap_or_default();
    if others.is_empty() {
        return Outcome::Apart;
    }
    let mut finding = Finding::new(
        Code::LibraryShadowed,
        Severity::Warning,
        format!(
            "two copies of torch are on the path of {}: {} is found first and hides the other",
            torch.python.path, torch.version
        ),
    );
    for other in others.iter().take(3) {
        finding = finding.fact(other.clone(), "sys.path");
    }
    Outcome::Found(vec![finding
        .help("`python -m pip uninstall torch` until it says that there is none, then install it once")
        .help("a copy in ~/.local comes from `pip install --user`: PYTHONNOUSERSITE=1 leaves it out")])
}

/// `torch-for-cuda`: the build carries code for NVIDIA's GPUs at all.
pub fn for_cuda(subject: &Subject<'_>) -> Outcome {
    // Where there is no GPU, a build for the CPU is the right one.
    let Some(torch) = subject.torch().filter(|_| !nothing_here(subject)) else {
        return Outcome::Apart;
    };
    let (code, message, word) = match &torch.build {
        Build::Cuda(cuda) => {
            return Outcome::Passed(format!("built with CUDA {cuda}"));
        }
        Build::Pypi => return from_judge(subject, &[Code::CpuOnlyWheel], |_| true),
        Build::Cpu => (
            Code::CpuOnlyWheel,
            format!(
                "torch {} is a build for the CPU: it has no GPU code, so torch.cuda.is_available() is False whatever the driver",
                torch.version
            ),
            "cpu",
        ),
        Build::Foreign(word) => (
            Code::ArchNotInBinary,
            format!(
                "torch {} is built for another maker's GPUs ({word}): it has no code for NVIDIA's",
                torch.version
            ),
            word.as_str(),
        ),
    };
    let mut finding = Finding::new(code, Severity::Error, message);
    let source = format!("version.py of {}", torch.python.path);
    finding = finding.fact(format!("torch.version.cuda is None ({word})"), source);
    if let Some(why) = why_cpu(subject, &torch) {
        finding = finding.fact(why.0, why.1);
    }
    for help in install_lines(subject, &torch) {
        finding = finding.help(help);
    }
    Outcome::Found(vec![finding])
}

/// How a build without CUDA came here, when a fact says so.
fn why_cpu(subject: &Subject<'_>, torch: &Torch<'_>) -> Option<(String, String)> {
    let origin = torch.python.origins.get("torch");
    if let Some(origin) = origin {
        return Some((
            format!("it was installed from {}", shown(origin)),
            "direct_url.json".into(),
        ));
    }
    if torch.python.kind == "conda" && !torch.version.contains('+') {
        return Some(("conda picks its build for the CPU where it sees no driver while it installs, as in `docker build`".into(), "document: conda's virtual package __cuda".into()));
    }
    let release = torch.release()?;
    let platform = subject.facts.system.platform?;
    let row = subject.matrix.release(release)?;
    let pypi = row.pypi.get(&platform)?;
    if pypi.cuda().is_none() && !torch.version.contains("rocm") {
        return Some((
            format!(
                "for {platform} PyPI serves torch {release} without CUDA: a plain `pip install torch` gets this build"
            ),
            format!("matrix row torch/{release}"),
        ));
    }
    (torch.version.ends_with("+cpu")).then(|| {
        (
            "builds with the label +cpu come from the index https://download.pytorch.org/whl/cpu"
                .into(),
            format!("matrix row torch/{release}"),
        )
    })
}

/// What `resolve` says about torch on this machine, of these codes.
fn from_judge(subject: &Subject<'_>, codes: &[Code], keep: impl Fn(&Finding) -> bool) -> Outcome {
    let mut findings = only(judged(subject).findings, codes);
    findings.retain(keep);
    if findings.is_empty() { Outcome::Apart } else { Outcome::Found(findings) }
}

fn judged<'s>(subject: &Subject<'s>) -> Judgement<'s> {
    let jit = ["CUDA_DISABLE_PTX_JIT", "CUDA_FORCE_PTX_JIT"];
    let env =
        jit.iter().filter_map(|name| Some(((*name).to_owned(), subject.var(name)?.to_owned())));
    subject.judged(&Case { env: env.collect(), ..subject.case() })
}

/// `driver-starts-torch`: the driver is new enough for torch's CUDA.
pub fn driver_fits(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    let Build::Cuda(cuda) = torch.build else {
        return if torch.build == Build::Pypi {
            from_judge(subject, &[Code::DriverTooOld], |_| true)
        } else {
            Outcome::Apart
        };
    };
    let case = subject.case();
    let Some((driver, oldest)) = case.driver.as_ref().and_then(|d| Some((named(d), d.oldest?)))
    else {
        return Outcome::Skipped(format!(
            "no driver told its version: whether it starts CUDA {cuda} is not known"
        ));
    };
    if user_driver::by_compat(subject) {
        return Outcome::Passed(format!("CUDA {cuda} runs by cuda-compat on {driver}"));
    }
    if subject.is_jetson() {
        return Outcome::Skipped(format!(
            "whether this JetPack runs CUDA {cuda} stands in no table"
        ));
    }
    let starts = || Outcome::Passed(format!("{driver} starts CUDA {cuda}"));
    let known = torch.release().is_some_and(|r| subject.matrix.release(r).is_some());
    if !known {
        // No row for this torch; its CUDA is known all the same.
        let fit = physics::driver_fit(subject.matrix, cuda, oldest, case.platform());
        if fit != physics::DriverFit::TooOld || subject.proven() {
            return starts();
        }
        let floor = physics::driver_floor(subject.matrix, cuda, case.platform(), false);
        let floor = floor.map_or_else(|| "a newer one".into(), |v| v.to_string());
        return Outcome::Found(vec![
            Finding::new(Code::DriverTooOld, Severity::Error, format!(
                "torch {} is built with CUDA {cuda}, which needs driver {floor} or newer; the machine has {driver}", torch.version
            ))
            .help(format!("raise the driver to {floor}")),
        ]);
    }
    // PTX is a question of the list of code, which `torch-has-code` asks torch itself for.
    let by_ptx = |f: &Finding| f.message.contains(" serves ");
    let own_list =
        torch.told().is_some_and(|t| t.arch_list.as_ref().is_some_and(|l| !l.is_empty()));
    let mut findings = only(judged(subject).findings, &[Code::DriverTooOld]);
    findings.retain(|f| !by_ptx(f) || torch.wheel && !own_list);
    for finding in &mut findings {
        // A branch that stands for its CUDA is nobody's version.
        finding.message = finding
            .message
            .replace(&format!("the driver is {oldest}"), &format!("the machine has {driver}"));
        add_forward(subject, finding);
        if subject.in_wsl() {
            of_windows(subject, cuda, finding);
        }
        // Another wheel is less work than another driver, which all that runs on the machine shares.
        finding.help.retain(|help| !help.starts_with("take torch"));
        finding.help.splice(0..0, install_lines(subject, &torch));
    }
    if findings.is_empty() { starts() } else { Outcome::Found(findings) }
}

/// A driver by what was told of it: `driver 570.86.15`, `a driver of CUDA 12.8`.
fn named(driver: &Driver) -> String {
    match driver.spec {
        DriverSpec::Cuda(cuda) => format!("a driver of CUDA {cuda}"),
        _ => format!("driver {}", driver.spec),
    }
}

/// Below WSL the driver is that of Windows, whose numbers are others.
fn of_windows(subject: &Subject<'_>, cuda: CudaVersion, finding: &mut Finding) {
    let floor = |platform| physics::driver_floor(subject.matrix, cuda, platform, false);
    let (Some(linux), Some(windows)) =
        (floor(subject.case().platform()), floor(Platform::WindowsAmd64))
    else {
        return;
    };
    let (linux, windows) = (linux.to_string(), windows.to_string());
    finding.message = finding.message.replace(&linux, &windows);
    for fact in &mut finding.facts {
        fact.text = fact.text.replace(&linux, &windows);
    }
    for help in finding.help.iter_mut().filter(|help| help.starts_with("raise the driver")) {
        *help = format!("raise the driver in Windows to {windows}");
    }
}

/// Where an older driver may be kept by cuda-compat, that is a way too.
fn add_forward(subject: &Subject<'_>, finding: &mut Finding) {
    let case = Case { allow_forward_compat: true, ..subject.case() };
    let with = judge(&case, subject.matrix);
    let works = with.driver.mode == Some(crate::resolve::DriverMode::ForwardCompat);
    if works
        && let Some(told) = with.findings.iter().find(|f| f.message.contains("by the package"))
        && let Some(package) =
            told.message.split("by the package ").nth(1).and_then(|rest| rest.split(',').next())
    {
        finding.help.push(format!(
            "or keep the driver and add {package} to the image: its cards are entitled to it"
        ));
    }
}

/// `torch-has-code`: every card finds code in torch.
pub fn has_code(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    if matches!(torch.build, Build::Cpu | Build::Foreign(_)) {
        return Outcome::Apart;
    }
    let cards = subject.cards();
    if cards.is_empty() {
        return Outcome::Skipped("no card was named, so its code could not be looked for".into());
    }
    let list =
        torch.told().and_then(|told| told.arch_list.as_deref()).filter(|list| !list.is_empty());
    let codes = &[Code::ArchNotInBinary, Code::OkViaPtxJit, Code::EnvPath];
    let mut findings = only(judged(subject).findings, codes);
    // Notes on parts of the file, and on the file of a wheel that this is not.
    findings.retain(|f| torch.wheel && f.severity != Severity::Warning);
    if let Some(list) = list {
        findings = by_own_list(subject, &torch, list, &cards, &findings);
    } else if !torch.wheel {
        return Outcome::Skipped(format!(
            "torch {} is no wheel of PyTorch's: only torch itself can list its code, and it was not asked",
            torch.version
        ));
    }
    let broken = findings.iter().filter(|f| f.severity == Severity::Error).count();
    // Beside a card that is served, an old one (often for the display) is a catch and no break.
    if broken > 0 && broken < cards.len() {
        for finding in findings.iter_mut().filter(|f| f.severity == Severity::Error) {
            finding.severity = Severity::Warning;
            finding.help.insert(0, leave_out(subject));
        }
    }
    if findings.iter().any(|f| f.severity < Severity::Note) {
        findings.order_by_key(|f| f.severity);
        return Outcome::Found(findings);
    }
    if list.is_none()
        && only(judged(subject).findings, &[Code::Unknown])
            .iter()
            .any(|f| f.message.contains("code for"))
    {
        return Outcome::Skipped(format!("nobody has read the code of torch {}", torch.version));
    }
    let ptx = findings.iter().any(|f| f.code == Code::OkViaPtxJit);
    if ptx {
        return Outcome::Found(findings);
    }
    let names: Vec<_> = cards.iter().map(|c| format!("{} ({})", c.name, c.capability)).collect();
    Outcome::Passed(format!("has code for {}", names.join(", ")))
}

/// PTX alone serves a card: the driver must implement the CUDA that it was written by.
fn by_ptx(subject: &Subject<'_>, torch: &Torch<'_>, card: &GpuMatch, ptx: CodeTarget) -> Finding {
    let case = subject.case();
    let driver = case.driver.as_ref().and_then(|d| d.oldest);
    let (name, capability) = (&card.name, card.capability);
    if let (Build::Cuda(cuda), Some(driver)) = (&torch.build, driver)
        && !user_driver::by_compat(subject)
        && !subject.proven()
        && physics::driver_fit(subject.matrix, *cuda, driver, case.platform())
            == physics::DriverFit::MinorCompat
    {
        let native = physics::native_floor(subject.matrix, *cuda, case.platform());
        let native = native.map_or_else(|| "a newer one".into(), |v| v.to_string());
        return Finding::new(Code::DriverTooOld, Severity::Error, format!(
            "torch {} serves {name} ({capability}) only by {ptx}, and PTX of CUDA {cuda} needs driver {native} or newer: minor-version compatibility does not cover PTX", torch.version
        ))
        .help("take a build with machine code for the card")
        .help(format!("raise the driver to {native}"));
    }
    Finding::new(
        Code::OkViaPtxJit,
        Severity::Note,
        format!(
            "{name} ({capability}) is served by {ptx}: the driver compiles it at the first start, which takes minutes"
        ),
    )
}

/// How to use the other cards alone.
fn leave_out(subject: &Subject<'_>) -> String {
    let devices = subject.cuda().map(|c| c.devices.as_slice()).unwrap_or_default();
    let products = subject.products();
    let right =
        |at: &usize| products.iter().any(|p| p.device as usize == *at && p.right == Some(true));
    let working: Vec<_> = (0..devices.len()).filter(right).map(|at| at.to_string()).collect();
    if working.is_empty() || subject.var("CUDA_VISIBLE_DEVICES").is_some() {
        return "leave it out: CUDA_VISIBLE_DEVICES with the indices of the others".into();
    }
    format!("leave it out: CUDA_VISIBLE_DEVICES={}", working.join(","))
}

/// The list that torch printed itself wins over any table.
fn by_own_list(
    subject: &Subject<'_>,
    torch: &Torch<'_>,
    list: &[CodeTarget],
    cards: &[GpuMatch],
    told: &[Finding],
) -> Vec<Finding> {
    let code = CodeList {
        sass: Some(list.iter().copied().filter(|c| !c.ptx).collect()),
        ptx: Some(list.iter().copied().filter(|c| c.ptx).collect()),
    };
    let words = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut findings: Vec<Finding> =
        told.iter().filter(|f| f.code == Code::EnvPath).cloned().collect();
    for card in cards {
        let fact = |finding: Finding| {
            finding.fact(format!("its code: {words}"), "torch.cuda.get_arch_list()")
        };
        match physics::served(subject.matrix, &code, None, card.capability) {
            Served::Exact(_) | Served::SameMajor(_) | Served::Unknown => (),
            Served::Ptx(ptx) => findings.push(fact(by_ptx(subject, torch, card, ptx))),
            Served::Nothing => {
                let mut finding = fact(Finding::new(
                    Code::ArchNotInBinary,
                    Severity::Error,
                    format!(
                        "torch {} has no code that {} (compute capability {}) can run",
                        torch.version, card.name, card.capability
                    ),
                ));
                let same = told
                    .iter()
                    .find(|f| f.code == Code::ArchNotInBinary && f.message.contains(&card.name));
                finding.help = same.map(|f| f.help.clone()).unwrap_or_default();
                finding.help.retain(|help| !help.ends_with("has code for it"));
                let lines = install_lines(subject, torch);
                finding.help.splice(0..0, lines);
                findings.push(finding);
            }
        }
    }
    findings
}

/// `torch-imports`: `import torch` comes to its end.
pub fn imports(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    let failure = match &torch.python.imported {
        None => return Outcome::Skipped("torch was not run".into()),
        Some(Answer::Told(_)) => return Outcome::Passed("torch can be imported".into()),
        Some(Answer::Absent(words)) => return Outcome::Skipped(shown(words)),
        Some(Answer::Hung(phase)) => {
            return follows(subject, "torch-imports", &format!("torch does not come back from {phase}")).unwrap_or_else(|| {
                Outcome::Found(vec![
                    Finding::new(Code::DriverState, Severity::Error, format!("torch does not come back from {phase}"))
                        .help("look for Xid lines: `sudo dmesg | grep -i xid`, and for programs that hang on the GPU; reboot"),
                ])
            });
        }
        Some(Answer::Crashed(how)) => {
            return follows(subject, "torch-imports", &format!("Python died while torch was imported: {how}")).unwrap_or_else(|| {
                Outcome::Found(vec![
                    Finding::new(Code::Unknown, Severity::Error, format!("Python died while torch was imported: {how}"))
                        .help("`python -X faulthandler -c 'import torch'` shows where; two builds of CUDA packages in one environment are the usual reason: make it anew"),
                ])
            });
        }
        Some(Answer::Failed(failure)) => failure,
    };
    let words = shown(&failure.text);
    let has = |word: &str| failure.text.contains(word);
    let pair = subject.facts.env.contains_key("LD_LIBRARY_PATH");
    let again =
        format!("install it again with its dependencies: `{}`", same_again(subject, &torch));
    let (code, message, help) = if has("GLIBCXX_") || has("CXXABI_") {
        (
            Code::LibraryShadowed,
            "an older libstdc++ is loaded before the one that torch needs",
            "take a newer libstdc++ (conda: `conda install -c conda-forge libstdcxx-ng`), or take conda's out of LD_LIBRARY_PATH",
        )
    } else if has("GLIBC_") {
        (
            Code::GlibcTooOld,
            "the C library of this system is older than torch needs",
            "take a newer distribution or image, or an older torch",
        )
    } else if has("undefined symbol")
        && (has("libnvJitLink")
            || has("__nvJitLink")
            || has("libcusparse")
            || has("libcublas")
            || has("cudnn")
            || has("ncclComm"))
    {
        (
            Code::LibraryShadowed,
            "torch meets a CUDA library of another version than its own",
            if pair {
                "unset LD_LIBRARY_PATH: the wheels find their own libraries"
            } else {
                "make the environment anew, so that torch and its nvidia-* packages are of one build"
            },
        )
    } else if has("cannot open shared object file") {
        (
            Code::CompanionMismatch,
            "a library that torch was built with is missing from its environment",
            again.as_str(),
        )
    } else {
        (
            Code::Unknown,
            "torch cannot be imported",
            "`gpuseal diagnose` reads the whole text that Python printed",
        )
    };
    Outcome::Found(vec![
        Finding::new(code, Severity::Error, message).fact(words, "import torch").help(help),
    ])
}
