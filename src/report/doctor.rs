//! The answer of `doctor`: for people, for programs, for GitHub, and as a block for bug reports.

use std::fmt::Write as _;

use serde::Serialize;

use super::human::{BAD, DIM, GOOD, WARN, evidence, heading, help, paint};
use super::json_v1::{self, FindingV1};
use super::markdown::Page;
use super::{Found, TOOL, matrix_line};
use crate::doctor::{Link, Outcome, Report, symptom_of};
use crate::domain::{Code, Finding, Order as _, Severity};
use crate::host::Facts;
use crate::matrix::Matrix;

/// A link as people call it.
const fn title(link: Link) -> &'static str {
    match link {
        Link::Gpu => "GPU",
        Link::KernelDriver => "kernel driver",
        Link::UserDriver => "user-mode driver",
        Link::Container => "container",
        Link::Toolkit => "toolkit",
        Link::Wheel => "torch",
        Link::Libraries => "libraries",
        Link::Selection => "device selection",
        Link::Product => "computing",
        Link::Lock => "lock",
    }
}

/// What the first line says beside the verdict.
fn summary(report: &Report) -> String {
    if let Some((_, broken)) = report.broken() {
        return broken.message.clone();
    }
    let product = report.checks.iter().find(|c| c.check.link == Link::Product).map(|c| &c.outcome);
    match product {
        Some(Outcome::Passed(text)) if report.proven => {
            format!("torch computes here: {}", text.split("; memory").next().unwrap_or_default())
        }
        Some(Outcome::Passed(text)) if report.verdict == Code::Ok => {
            let exact = text.split("; memory").next().unwrap_or_default();
            format!("torch computes here, but not on every device: {exact}")
        }
        Some(Outcome::Skipped(why)) if report.verdict == Code::Ok => {
            format!(
                "nothing is broken as far as it was looked at; that torch computes here is not proven ({why})"
            )
        }
        _ if report.verdict == Code::Ok => {
            "nothing stands in the way; see the warnings below".into()
        }
        _ => "nothing here could be looked at".into(),
    }
}

/// Text for people.
pub fn human(report: &Report, matrix: &Matrix) -> String {
    let mut text = String::new();
    let style = match report.verdict {
        Code::Ok | Code::OkViaPtxJit => GOOD,
        Code::Unknown => WARN,
        _ => BAD,
    };
    let _ = writeln!(text, "{}: {}", paint(style, report.verdict), summary(report));
    let broken = report.broken();
    if let Some((link, finding)) = broken {
        if !report.nothing_here {
            let _ = writeln!(text, "  broken: the link `{}`", title(link));
        }
        evidence(finding, &mut text);
        let told = |symptom: &&str| {
            finding.facts.iter().any(|fact| symptom.replace(" fails", "") == fact.text)
        };
        for symptom in report.findings().filter_map(symptom_of).filter(|s| !told(s)) {
            let _ = writeln!(text, "  so {symptom}");
        }
        for line in &finding.help {
            help(line, &mut text);
        }
    }
    let decisive = broken.map(|(_, finding)| finding);
    let shown =
        |f: &&Finding| decisive.is_some_and(|d| std::ptr::eq(*f, d)) || symptom_of(f).is_some();
    let mut others: Vec<&Finding> = report.findings().filter(|f| !shown(f)).collect();
    others.order_by_key(|f| f.severity);
    for finding in &others {
        let (style, word) = heading(finding.severity);
        let _ = writeln!(text, "\n{}: {}", paint(style, label(finding, word)), finding.message);
        if finding.severity < Severity::Note {
            evidence(finding, &mut text);
            finding.help.iter().take(2).for_each(|line| help(line, &mut text));
        } else {
            finding.help.iter().take(1).for_each(|line| help(line, &mut text));
        }
    }
    listed("fine", GOOD, report, &mut text, |outcome| match outcome {
        Outcome::Passed(text) => Some(text),
        _ => None,
    });
    listed("not looked at", WARN, report, &mut text, |outcome| match outcome {
        Outcome::Skipped(why) => Some(why),
        _ => None,
    });
    if !report.unread.is_empty() {
        if !report.checks.iter().any(|c| matches!(c.outcome, Outcome::Skipped(_))) {
            let _ = writeln!(text, "\n{}", paint(WARN, "not looked at:"));
        }
        let _ = writeln!(text, "  {:<17} {}", "machine", report.unread.join("; "));
    }
    let _ = writeln!(text, "\n{}", paint(DIM, matrix_line(matrix)));
    text
}

fn label(finding: &Finding, word: &str) -> String {
    format!("{word}[{}]", finding.code)
}

/// A block with one line for each link that has something to say.
fn listed<'r>(
    heading: &str,
    style: anstyle::Style,
    report: &'r Report,
    text: &mut String,
    say: impl Fn(&'r Outcome) -> Option<&'r String>,
) {
    let mut begun = false;
    for link in Link::ALL {
        let words: Vec<&str> = report
            .checks
            .iter()
            .filter(|c| c.check.link == *link)
            .filter_map(|c| say(&c.outcome))
            .map(String::as_str)
            .collect();
        if words.is_empty() {
            continue;
        }
        if !begun {
            let _ = writeln!(text, "\n{}", paint(style, format!("{heading}:")));
            begun = true;
        }
        let _ = writeln!(text, "  {:<17} {}", title(*link), words.join("; "));
    }
}

/// Markdown for a summary: the verdict, findings, and what was looked at.
pub fn markdown(report: &Report, found: &Found<'_>) -> String {
    Page::of(found, report.verdict.word(), &summary(report), |page| {
        let rows = report.checks.iter().filter_map(|checked| {
            let (outcome, text) = match &checked.outcome {
                Outcome::Passed(text) => ("fine", text.as_str()),
                Outcome::Skipped(why) => ("not looked at", why.as_str()),
                Outcome::Found(findings) => ("found", findings.first()?.message.as_str()),
                Outcome::Apart => return None,
            };
            Some([title(checked.check.link), checked.check.name, outcome, text].map(str::to_owned))
        });
        page.table(["link", "check", "outcome", "what"], rows);
        page.list("Could not be read", report.unread.iter().cloned());
    })
}

#[derive(Serialize)]
struct DoctorV1<'a> {
    verdict: Code,
    summary: String,
    broken: Option<&'static str>,
    proven: bool,
    findings: Vec<FindingV1<'a>>,
    checks: Vec<CheckV1<'a>>,
    facts: serde_json::Value,
}

#[derive(Serialize)]
struct CheckV1<'a> {
    name: &'a str,
    link: &'static str,
    outcome: &'static str,
    text: &'a str,
}

/// `gpuseal.doctor`
pub fn json(report: &Report, facts: &Facts, matrix: &Matrix) -> String {
    let checks = report.checks.iter().filter_map(|checked| {
        let (outcome, text) = match &checked.outcome {
            Outcome::Passed(text) => ("passed", text.as_str()),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
            Outcome::Found(findings) => ("found", findings.first()?.message.as_str()),
            Outcome::Apart => return None,
        };
        let link = checked.check.link.word();
        Some(CheckV1 { name: checked.check.name, link, outcome, text })
    });
    let body = DoctorV1 {
        verdict: report.verdict,
        summary: summary(report),
        broken: report.broken().map(|(link, _)| link.word()),
        proven: report.proven,
        findings: report.findings().map(json_v1::finding).collect(),
        checks: checks.collect(),
        facts: serde_json::to_value(facts).unwrap_or_default(),
    };
    json_v1::document("gpuseal.doctor", matrix, body)
}

/// A block in Markdown for bug reports. `facts` is a record that names nobody.
pub fn shareable(report: &Report, facts: &Facts, matrix: &Matrix) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "<details><summary>gpuseal doctor: <b>{}</b>: {}</summary>\n",
        report.verdict,
        markup(&summary(report))
    );
    let _ = writeln!(text, "| what | value |\n| --- | --- |");
    for (what, value) in versions(report, facts) {
        let _ = writeln!(text, "| {what} | {} |", markup(&value));
    }
    let _ = writeln!(text, "\n| check | outcome |\n| --- | --- |");
    for checked in &report.checks {
        let line = match &checked.outcome {
            Outcome::Apart => continue,
            Outcome::Passed(text) => format!("ok: {text}"),
            Outcome::Skipped(why) => format!("not looked at: {why}"),
            Outcome::Found(findings) => {
                let lines = findings
                    .iter()
                    .map(|f| format!("**{} [{}]** {}", f.severity, f.code, f.message));
                lines.collect::<Vec<_>>().join("; ")
            }
        };
        let _ = writeln!(text, "| {} | {} |", checked.check.name, markup(&line));
    }
    for unread in &report.unread {
        let _ = writeln!(text, "| could not be read | {} |", markup(unread));
    }
    let _ = writeln!(text, "\n{} {}, {}\n\n</details>", TOOL.0, TOOL.1, matrix_line(matrix));
    text
}

/// What a maintainer asks first.
fn versions(report: &Report, facts: &Facts) -> Vec<(&'static str, String)> {
    let system = &facts.system;
    let mut rows = Vec::new();
    let distro = [system.distro.as_deref(), system.distro_version.as_deref()];
    let mut place = distro.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if let Some(platform) = system.platform {
        let _ = write!(place, " ({platform})");
    }
    if let Some(wsl) = system.wsl {
        let _ = write!(place, ", WSL {wsl}");
    }
    rows.push(("system", place.trim().to_owned()));
    rows.push(("kernel", system.kernel.clone().unwrap_or_default()));
    rows.push((
        "C library",
        system.glibc.as_ref().map_or(String::new(), |g| format!("glibc {}", g.value)),
    ));
    rows.push((
        "container",
        facts.container.as_ref().map_or(String::new(), |c| match c.value.engine.as_str() {
            "" => "yes".into(),
            engine => engine.to_owned(),
        }),
    ));
    let nvml = facts.nvml.as_ref().and_then(|n| n.told());
    let driver = facts.module.as_ref().map(|m| {
        m.value
            .flavour
            .map_or_else(|| m.value.driver.to_string(), |f| format!("{} ({f})", m.value.driver))
    });
    let driver = driver.or_else(|| nvml?.driver.map(|d| d.to_string()));
    rows.push(("driver", driver.unwrap_or_default()));
    rows.push((
        "CUDA of the driver",
        nvml.and_then(|n| n.cuda).map_or(String::new(), |c| c.to_string()),
    ));
    let names = nvml.map(|n| crate::doctor::counted(n.devices.iter().map(|d| d.name.as_str())));
    rows.push(("GPUs", names.unwrap_or_default()));
    for python in
        facts.pythons.iter().filter(|p| p.torch.is_some() || p.packages.contains_key("torch"))
    {
        let version = python.version.as_deref().unwrap_or("?");
        let torch = python
            .torch
            .as_ref()
            .map(|t| t.version.clone())
            .or_else(|| python.packages.get("torch").cloned());
        rows.push((
            "torch",
            format!("{} (Python {version}, {})", torch.unwrap_or_default(), python.kind),
        ));
        let beside = python.packages.iter().filter(|(name, _)| *name != "torch");
        let beside: Vec<_> =
            beside.map(|(name, version)| format!("{name} {version}")).take(40).collect();
        rows.push(("packages", beside.join(", ")));
    }
    let nvcc: Vec<_> = facts.toolkits.iter().map(|t| t.value.cuda.to_string()).collect();
    rows.push(("nvcc", nvcc.join(", ")));
    rows.push(("computes", if report.proven { "proven".into() } else { "not proven".into() }));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

/// A text inside a cell of a table: nothing of it is markup or a mention.
fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '@' | '#' | '`' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_breaks_no_table_and_calls_nobody() {
        assert_eq!(
            markup("a|b <b> @who #12 `x`\n"),
            "a&#124;b &#60;b&#62; &#64;who &#35;12 &#96;x&#96; "
        );
    }
}
