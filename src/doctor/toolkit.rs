//! The toolkit: judged only where something is compiled here. Its version need not be that of the
//! driver or of the wheel.

use super::view::{Build, only};
use super::{Outcome, Subject};
use crate::domain::{Code, Finding, Severity};
use crate::host::{Told, Toolkit};
use crate::resolve::case::Case;

/// Why something is compiled on this machine; `None`: nothing is.
fn compiled(subject: &Subject<'_>) -> Option<String> {
    if subject.var("TORCH_CUDA_ARCH_LIST").is_some() {
        return Some("TORCH_CUDA_ARCH_LIST is set".into());
    }
    let targets = subject.lock.iter().flat_map(|lock| &lock.targets);
    let package = targets.flat_map(|t| &t.packages).find(|p| p.source_build)?;
    // It is compiled in the image, unless this is where it is installed.
    subject.in_container().then(|| format!("the lock compiles {}", package.name))
}

/// The nvcc that a build would take.
fn picked<'s>(subject: &Subject<'s>) -> Option<&'s Told<Toolkit>> {
    let toolkits = &subject.facts.toolkits;
    let home = subject.var("CUDA_HOME").or_else(|| subject.var("CUDA_PATH"));
    let at_home = home.and_then(|home| {
        let home = format!("{}/", home.trim_end_matches('/'));
        toolkits.iter().find(|t| t.value.path.starts_with(&home))
    });
    at_home.or_else(|| toolkits.iter().find(|t| t.value.first_on_path)).or_else(|| toolkits.first())
}

/// `toolkit`: nvcc fits torch and cards, where it is used.
pub fn toolkit(subject: &Subject<'_>) -> Outcome {
    let nvcc = picked(subject);
    let Some(why) = compiled(subject) else {
        return match nvcc {
            Some(_) => Outcome::Passed(nvcc_line(subject).unwrap_or_default()),
            None => Outcome::Apart,
        };
    };
    let Some(nvcc) = nvcc else {
        return Outcome::Found(vec![
            Finding::new(
                Code::CompilerMissing,
                Severity::Error,
                format!("{why}, and there is no nvcc"),
            )
            .fact("no nvcc on PATH, at CUDA_HOME or in /usr/local/cuda", "PATH")
            .help("take a prebuilt wheel of the package where there is one")
            .help(
                "or compile in an image with the toolkit: needs: [nvcc] in gpuseal.yaml makes one",
            ),
        ]);
    };
    let env = subject
        .var("TORCH_CUDA_ARCH_LIST")
        .map(|list| ("TORCH_CUDA_ARCH_LIST".to_owned(), list.to_owned()));
    let case =
        Case { nvcc: Some(nvcc.value.cuda), env: env.into_iter().collect(), ..subject.case() };
    // Compiled at install time, so a product of torch's own proves nothing about it.
    let findings = crate::resolve::judge(&case, subject.matrix).findings;
    let findings = only(findings, &[Code::ToolkitMismatch]);
    if findings.iter().all(|f| f.severity > Severity::Warning) {
        Outcome::Passed(format!("nvcc {} at {}", nvcc.value.cuda, nvcc.value.path))
    } else {
        Outcome::Found(findings)
    }
}

/// One line about an nvcc that nothing uses: its version is neither the driver's nor the wheel's CUDA.
pub fn nvcc_line(subject: &Subject<'_>) -> Option<String> {
    let nvcc = picked(subject).filter(|_| compiled(subject).is_none())?;
    let driver = subject.nvml().and_then(|n| n.cuda).or_else(|| subject.cuda()?.version);
    let torch = subject.torch().and_then(|t| match t.build {
        Build::Cuda(cuda) => Some(cuda),
        _ => None,
    });
    let mut others = Vec::new();
    others.extend(torch.map(|cuda| format!("torch brings its own CUDA {cuda}")));
    others.extend(driver.map(|cuda| format!("the driver runs up to CUDA {cuda}")));
    let others =
        if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    Some(format!(
        "nvcc {} is there and only compiles extensions: its version need not equal theirs; an extension needs the major version of torch's CUDA{others}",
        nvcc.value.cuda
    ))
}
