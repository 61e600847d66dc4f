//! The libraries that the loader really picks, against those that came with torch.

use super::view::{Build, only};
use super::{Outcome, Subject};
use crate::domain::{Code, Finding, Order as _, Severity};
use crate::resolve::case::Case;

/// Sonames of CUDA libraries that torch's wheels bring.
const BROUGHT: &[&str] = &[
    "libcublas",
    "libcudart",
    "libcudnn",
    "libcufft",
    "libcurand",
    "libcusolver",
    "libcusparse",
    "libnccl",
    "libnvJitLink",
    "libnvrtc",
    "libcupti",
    "libcufile",
];

fn brought(soname: &str) -> bool {
    BROUGHT.iter().any(|name| soname.starts_with(name))
}

/// In a Python environment, beside torch, where the wheels put it; or in uv's cache that it links to.
fn of_wheels(path: &str) -> bool {
    ["/site-packages/", "/dist-packages/", "/archive-v0/"]
        .iter()
        .any(|folder| path.contains(folder))
}

/// `libraries-of-the-wheel`: torch has mapped the libraries that came with it.
pub fn mapped(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch() else { return Outcome::Apart };
    // conda and builds of one's own take the system's libraries on purpose.
    if !torch.wheel || !matches!(torch.build, Build::Cuda(_)) {
        return Outcome::Apart;
    }
    let Some(told) = torch.told() else {
        return Outcome::Skipped("torch was not imported, so no library was loaded".into());
    };
    if told.mapped.is_empty() {
        return Outcome::Skipped("which libraries torch has loaded was not told".into());
    }
    let mut findings = Vec::new();
    let foreign: Vec<(&String, &String)> =
        told.mapped.iter().filter(|(name, path)| brought(name) && !of_wheels(path)).collect();
    let own = |prefix: &str| {
        told.mapped.iter().any(|(name, path)| name.starts_with(prefix) && of_wheels(path))
    };
    let unset = if subject.var("LD_LIBRARY_PATH").is_some() {
        "unset LD_LIBRARY_PATH, or take the folder out of it: the wheels find their own libraries"
    } else {
        "find who loads it: `LD_DEBUG=libs python -c 'import torch'`; LD_PRELOAD and /etc/ld.so.conf.d are the usual ones"
    };
    let works = subject.proven();
    let (cudnn, others): (Vec<_>, Vec<_>) =
        foreign.into_iter().partition(|(name, _)| name.starts_with("libcudnn"));
    if let Some((_, path)) = cudnn.first() {
        let two = own("libcudnn");
        // Parts of two versions in one process: products do not touch cuDNN, convolutions do.
        let (severity, message) = if two {
            (
                Severity::Error,
                format!(
                    "two copies of cuDNN meet in one process: {path} is loaded beside the parts that came with torch"
                ),
            )
        } else {
            (
                Severity::Warning,
                format!("torch uses the cuDNN of {path} and not the one that came with it"),
            )
        };
        let mut finding = Finding::new(Code::CudnnMismatch, severity, message)
            .fact(path.as_str(), "maps of the process");
        if let Some((_, path)) =
            told.mapped.iter().find(|(name, path)| name.starts_with("libcudnn") && of_wheels(path))
        {
            finding = finding.fact(path.as_str(), "maps of the process");
        }
        findings.push(finding.help(unset));
    }
    if let Some((_, path)) = others.first() {
        let names: Vec<_> = others.iter().map(|(name, _)| name.trim_end_matches('\'')).collect();
        let failed = subject.products().iter().any(|p| p.error.is_some() || p.right == Some(false));
        let severity = if failed && !works { Severity::Error } else { Severity::Warning };
        let mut finding = Finding::new(
            Code::LibraryShadowed,
            severity,
            format!(
                "torch has loaded {} from {}, not from its own wheels",
                names.join(", "),
                folder(path)
            ),
        );
        for (_, path) in others.iter().take(4) {
            finding = finding.fact(path.as_str(), "maps of the process");
        }
        findings.push(finding.help(unset));
    }
    if findings.is_empty() {
        Outcome::Passed(format!(
            "{} CUDA libraries, all of the wheels",
            told.mapped.keys().filter(|n| brought(n)).count()
        ))
    } else {
        findings.order_by_key(|f| f.severity);
        Outcome::Found(findings)
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(folder, _)| folder)
}

/// `library-path`: LD_LIBRARY_PATH and LD_PRELOAD lead the loader nowhere else.
pub fn library_path(subject: &Subject<'_>) -> Outcome {
    let Some(torch) = subject.torch().filter(|t| t.wheel) else { return Outcome::Apart };
    let loader = &subject.facts.loader;
    let told = mapped_says(subject);
    let mut env = Vec::new();
    if let Some(value) = subject.var("LD_PRELOAD") {
        env.push(("LD_PRELOAD".to_owned(), value.to_owned()));
    }
    // A folder counts when something of CUDA was found by it; stubs and compat are told of elsewhere.
    let counts = |folder: &&str| {
        let folder = folder.trim_end_matches('/');
        !folder.ends_with("/stubs")
            && !folder.ends_with("/compat")
            && loader
                .libraries
                .iter()
                .any(|l| l.found_by == "LD_LIBRARY_PATH" && l.path.starts_with(folder))
    };
    if let Some(value) = subject.var("LD_LIBRARY_PATH") {
        let folders: Vec<_> = value.split(':').filter(|f| !f.is_empty()).filter(counts).collect();
        if !folders.is_empty() {
            env.push(("LD_LIBRARY_PATH".to_owned(), folders.join(":")));
        }
    }
    if env.is_empty() {
        return Outcome::Apart;
    }
    // What was really loaded has been told of by its own check.
    if told {
        return Outcome::Apart;
    }
    let case = Case { env, ..subject.case() };
    let mut findings =
        only(subject.judged(&case).findings, &[Code::EnvPath, Code::LibraryShadowed]);
    findings.retain(|f| f.severity < Severity::Note);
    if torch.told().is_some_and(|t| !t.mapped.is_empty()) {
        // torch was imported, and has loaded its own.
        findings.clear();
    }
    if findings.is_empty() { Outcome::Apart } else { Outcome::Found(findings) }
}

fn mapped_says(subject: &Subject<'_>) -> bool {
    matches!(mapped(subject), Outcome::Found(_))
}
