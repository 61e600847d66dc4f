//! Text that one reads with pleasure: verdict first, then why.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::matrix_line;
use crate::domain::{Code, Finding, Severity};
use crate::matrix::Matrix;
use crate::resolve::physics::Served;
use crate::resolve::{
    DriverBounds, DriverMode, Explanation, JudgedGpu, Judgement, PinIndex, Resolution, Stack,
};

const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();

pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

pub(super) fn heading(severity: Severity) -> (Style, &'static str) {
    match severity {
        Severity::Error => (BAD, "error"),
        Severity::Unknown => (WARN, "unknown"),
        Severity::Warning => (WARN, "warning"),
        Severity::Note => (DIM, "note"),
    }
}

/// A finding: what cannot be, the facts that clash and where they stand, what to do.
pub fn finding(finding: &Finding, text: &mut String) {
    let (style, word) = heading(finding.severity);
    let label = if matches!(finding.code, Code::Ok | Code::Unknown) {
        word.to_owned()
    } else {
        format!("{word}[{}]", finding.code)
    };
    let _ = writeln!(text, "{}: {}", paint(style, label), finding.message);
    evidence(finding, text);
    for line in &finding.help {
        help(line, text);
    }
}

/// One thing to do.
pub(super) fn help(line: &str, text: &mut String) {
    let _ = writeln!(text, "{} {line}", paint(HELP, "help:"));
}

/// The facts of a finding, each with its source.
pub(super) fn evidence(finding: &Finding, text: &mut String) {
    for fact in &finding.facts {
        let source = if fact.source.is_empty() {
            String::new()
        } else {
            paint(DIM, format!("  [{}]", fact.source))
        };
        let _ = writeln!(text, "  = {}{source}", fact.text);
    }
}

/// The answer of `check`.
pub fn check(judgement: &Judgement<'_>, matrix: &Matrix) -> String {
    let mut text = String::new();
    let style = match judgement.verdict {
        Code::Ok | Code::OkViaPtxJit => GOOD,
        Code::Unknown => WARN,
        _ => BAD,
    };
    let _ = writeln!(text, "{}: {}", paint(style, judgement.verdict), judgement.verdict.meaning());
    if let Some(wheel) = &judgement.wheel {
        let from = if wheel.on_pypi { "the build that PyPI serves" } else { "from its own index" };
        let platform = wheel.build.map_or(String::new(), |b| format!(" for {}", b.platform));
        let _ = writeln!(text, "  torch   {}{platform}, {from}", wheel.name());
    }
    for gpu in &judgement.gpus {
        let _ = writeln!(text, "  gpu     {}", gpu_line(gpu));
    }
    if let Some(line) = driver_line(&judgement.driver) {
        let _ = writeln!(text, "  driver  {line}");
    }
    for item in &judgement.findings {
        text.push('\n');
        finding(item, &mut text);
    }
    let _ = writeln!(
        text,
        "\n{}",
        paint(
            DIM,
            format!(
                "not given, so not judged: {}; {}",
                judgement.not_judged.join(", "),
                matrix_line(matrix)
            )
        )
    );
    text
}

fn gpu_line(judged: &JudgedGpu) -> String {
    let gpu = &judged.gpu;
    let given = if gpu.given == gpu.name { String::new() } else { format!(" ({})", gpu.given) };
    let served =
        judged.served.map_or_else(String::new, |served| format!(" <- {}", self::served(served)));
    format!("{}{given}, compute capability {}{served}", gpu.name, gpu.capability)
}

/// By which code a card is served, and how.
pub(super) fn served(served: Served) -> String {
    match served {
        Served::Exact(code) => format!("{code}, made for it"),
        Served::SameMajor(code) => format!("{code}, of the same major"),
        Served::Ptx(code) => format!("{code}, compiled by the driver at the first start"),
        Served::Nothing => "nothing in the file".into(),
        Served::Unknown => "not known".into(),
    }
}

/// Which drivers run it, in words.
pub(super) fn driver_words(bounds: &DriverBounds) -> Option<String> {
    let min = bounds.min?;
    let mut line = format!("{min} or newer");
    if let Some(native) = bounds.native
        && native > min
    {
        let _ = write!(line, "; from {native} on with everything, PTX too");
    }
    if let Some(last) = bounds.max_branch {
        let _ = write!(line, "; branch {last} is the last for these cards");
    }
    Some(line)
}

fn driver_line(bounds: &DriverBounds) -> Option<String> {
    let mut line = driver_words(bounds)?;
    match bounds.mode {
        Some(DriverMode::Native) => line.push_str("; yours implements this CUDA"),
        Some(DriverMode::MinorCompat) => {
            line.push_str("; yours runs it by minor-version compatibility");
        }
        Some(DriverMode::ForwardCompat) => line.push_str("; yours runs it by cuda-compat"),
        None => (),
    }
    Some(line)
}

/// The answer of `resolve`: a table, then the chain of every target.
pub fn resolution(resolution: &Resolution, matrix: &Matrix) -> String {
    let mut text = String::new();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["TARGET", "TORCH", "PYTHON", "CUDA", "DRIVER", "CARDS", "BASE IMAGE"]);
    for stack in &resolution.stacks {
        let cards: Vec<_> = stack.gpus.iter().map(|g| g.gpu.given.as_str()).collect();
        table.add_row([
            stack.target.clone(),
            format!("{}+{}", stack.torch, stack.variant),
            stack.python.to_string(),
            stack.cuda.to_string(),
            stack.driver.min.map_or_else(|| "any".into(), |d| format!(">= {d}")),
            cards.join(", "),
            format!("{}:{}", stack.base.repository, stack.base.tag),
        ]);
    }
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for stack in &resolution.stacks {
        text.push('\n');
        chain(stack, matrix, &mut text);
    }
    for left in &resolution.left_out {
        let _ = writeln!(text, "\n{} {}: {}", paint(WARN, "left out"), left.name, left.why);
    }
    let _ = writeln!(text, "\n{}", paint(DIM, matrix_line(matrix)));
    text
}

/// GPU -> code -> CUDA -> driver -> image, each with why.
fn chain(stack: &Stack, matrix: &Matrix, text: &mut String) {
    let _ = writeln!(
        text,
        "{}",
        paint(BOLD, format!("{} ({}, Python {})", stack.target, stack.platform, stack.python))
    );
    let release = matrix.release(stack.torch);
    let variant = release.and_then(|r| r.variant(stack.variant));
    let build = variant.and_then(|v| v.build(stack.platform));
    let cite = |evidence: Option<String>| {
        evidence.map_or(String::new(), |e| paint(DIM, format!("  [{e}]")))
    };
    for gpu in &stack.gpus {
        let _ = writeln!(
            text,
            "  gpu     {}{}",
            gpu_line(gpu),
            cite(build.map(|b| matrix.cite_best(&b.evidence)))
        );
    }
    let from = match stack.packages.first().map(|p| p.index) {
        Some(PinIndex::Pytorch(v)) => format!("from the PyTorch wheel index, page {v}"),
        _ => "from PyPI, which serves this build".into(),
    };
    let _ = writeln!(
        text,
        "  torch   {}+{}, {from}{}",
        stack.torch,
        stack.variant,
        cite(variant.map(|v| matrix.cite_best(&v.evidence)))
    );
    let parts: Vec<String> = [
        stack.cudnn.map(|v| format!("cuDNN {v}")),
        stack.nccl.as_ref().map(|v| format!("NCCL {v}")),
        stack.triton.as_ref().map(|v| format!("Triton {v}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let with =
        if parts.is_empty() { String::new() } else { format!(", with {}", parts.join(", ")) };
    let _ = writeln!(text, "  CUDA    {}{with}", stack.cuda);
    for pin in stack.packages.iter().filter(|p| p.requested && p.name != "torch") {
        let local = pin.local.as_deref().map_or(String::new(), |l| format!("+{l}"));
        let version = pin.version.as_deref().or(pin.specifier.as_deref()).unwrap_or("any version");
        let how = if pin.source_build { ", compiled on installation" } else { "" };
        let _ = writeln!(text, "  with    {} {version}{local}{how}", pin.name);
    }
    if let Some(line) = driver_line(&stack.driver) {
        let _ = writeln!(text, "  driver  {line}");
    }
    let builder = stack
        .base
        .builder
        .as_ref()
        .map_or(String::new(), |(name, tag)| format!(", built in {name}:{tag}"));
    let _ = writeln!(
        text,
        "  image   {}:{}{builder}: {}",
        stack.base.repository, stack.base.tag, stack.base.why
    );
    for item in &stack.findings {
        let (style, word) = heading(item.severity);
        let _ = writeln!(text, "  {} {}", paint(style, format!("{word}:")), item.message);
        for help in &item.help {
            let _ = writeln!(text, "          {help}");
        }
    }
    for (i, other) in stack.alternatives.iter().enumerate() {
        let label = if i == 0 { "  or     " } else { "         " };
        let _ = writeln!(text, "{label} {}: {}; costs {}", other.change, other.gives, other.costs);
    }
}

/// Why there is no answer.
pub fn explanation(explanation: &Explanation, matrix: &Matrix) -> String {
    let mut text = String::new();
    let whom = if explanation.targets.iter().all(String::is_empty) {
        String::new()
    } else {
        let names: Vec<_> = explanation.targets.iter().map(|t| format!("`{t}`")).collect();
        format!(" for target{} {}", if names.len() == 1 { "" } else { "s" }, names.join(" and "))
    };
    let contradiction = !explanation.reasons.is_empty()
        && explanation.reasons.iter().all(|reason| reason.code == Code::InputConflict);
    if explanation.unknown {
        let _ = writeln!(
            text,
            "{}: nothing is known to work{whom}, and some builds could not be judged",
            paint(WARN, "unknown")
        );
    } else if contradiction {
        let _ =
            writeln!(text, "{}: the project's files contradict each other", paint(BAD, "error"));
    } else {
        let _ = writeln!(text, "{}: no stack satisfies the demands{whom}", paint(BAD, "error"));
    }
    if !explanation.clash.is_empty() {
        let _ = writeln!(text, "  these clash: {}", explanation.clash.join("; "));
    }
    for reason in &explanation.reasons {
        text.push('\n');
        let bare = Finding { help: Vec::new(), ..reason.clone() };
        finding(&bare, &mut text);
    }
    if !explanation.cures.is_empty() {
        text.push('\n');
    }
    for cure in &explanation.cures {
        let _ = writeln!(
            text,
            "{} {}  {}",
            paint(HELP, "help:"),
            cure.change,
            paint(DIM, format!("(then: {})", cure.gives))
        );
    }
    if explanation.cures.is_empty() {
        if !contradiction {
            let _ = writeln!(text, "\nno change of the demands was found that helps");
        }
        for help in explanation.reasons.iter().flat_map(|r| &r.help) {
            let _ = writeln!(text, "{} {help}", paint(HELP, "help:"));
        }
    }
    let _ = writeln!(text, "\n{}", paint(DIM, matrix_line(matrix)));
    text
}
