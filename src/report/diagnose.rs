//! The answer of `diagnose`.

use std::fmt::Write as _;

use serde::Serialize;

use super::human::{self, BAD, DIM, GOOD, WARN, paint};
use super::json_v1::{self, FindingV1};
use super::matrix_line;
use crate::diagnose::{Diagnosis, Match, Read, Role};
use crate::domain::{Code, Finding, Place, Severity};
use crate::matrix::{Certainty, Matrix};

/// Matches beside the root that are told in full.
const MOST: usize = 3;

/// What was read that is told without `-v`.
const MATTERS: &[&str] = &[
    "torch",
    "torch's CUDA",
    "python",
    "platform",
    "gpu",
    "capability",
    "driver",
    "driver's CUDA",
    "nvcc",
    "kernel module",
];

/// Text: the cause on the first line, what it rests on, what to do, then the rest.
pub fn human(diagnosis: &Diagnosis, matrix: &Matrix, verbose: bool) -> String {
    let mut text = String::new();
    let root = diagnosis.matches.iter().find(|m| m.is_root());
    let style = match diagnosis.verdict {
        Code::Ok | Code::OkViaPtxJit => GOOD,
        Code::Unknown => WARN,
        _ => BAD,
    };
    let first = match root {
        Some(root) => root.cause.clone(),
        None => match diagnosis.verdict {
            Code::Unknown if diagnosis.works => {
                "torch finds its GPU in this text; no message in it names a cause that gpuseal knows".into()
            }
            Code::Unknown => "no message in this text names a cause that gpuseal knows".into(),
            Code::Ok => "the text shows a machine on which torch finds its GPU".into(),
            code => diagnosis
                .findings
                .iter()
                .find(|f| f.code == code)
                .map_or_else(|| code.meaning().to_owned(), |f| f.message.clone()),
        },
    };
    let _ = writeln!(text, "{}: {first}", paint(style, diagnosis.verdict));
    if let Some(root) = root {
        told(root, verbose, &mut text);
    }
    for finding in diagnosis.findings.iter().filter(|f| verbose || f.severity == Severity::Error) {
        text.push('\n');
        human::finding(finding, &mut text);
    }
    for (role, words) in [
        (Role::Other, "also wrong"),
        (Role::Consequence, "also seen"),
        (Role::Hint, "says nothing alone"),
    ] {
        let others: Vec<_> = diagnosis.matches.iter().filter(|m| m.role == role).collect();
        for (at, other) in others.iter().enumerate() {
            if role == Role::Other && at < MOST {
                let _ = writeln!(text, "\n{words}: {}: {}", paint(WARN, other.code), other.cause);
                told(other, verbose, &mut text);
            } else if role != Role::Hint || verbose {
                let _ = writeln!(
                    text,
                    "{}",
                    paint(DIM, format!("{words}: line {}: {}", other.line, other.text))
                );
            }
        }
    }
    if diagnosis.verdict == Code::Unknown {
        let _ = writeln!(
            text,
            "\nhelp: run `gpuseal doctor` on the machine itself, or give the whole log together with the output of `python -m torch.utils.collect_env` and `nvidia-smi`"
        );
    } else if diagnosis.verdict != Code::Ok {
        let _ = writeln!(text, "\nmore: gpuseal explain {}", diagnosis.verdict);
    }
    let told = |read: &&Read| verbose || MATTERS.contains(&read.what.as_str());
    if diagnosis.read.iter().any(|read| told(&read)) {
        let list: Vec<_> = diagnosis
            .read
            .iter()
            .filter(told)
            .map(|r| format!("{} {} (line {})", r.what, r.value, r.line))
            .collect();
        let _ =
            writeln!(text, "{}", paint(DIM, format!("read from the text: {}", list.join(", "))));
    }
    let plural = if diagnosis.lines == 1 { "" } else { "s" };
    let _ = writeln!(
        text,
        "{}",
        paint(DIM, format!("{} line{plural} read; {}", diagnosis.lines, matrix_line(matrix)))
    );
    text
}

/// The line, how sure the cause is, what to do.
fn told(item: &Match, verbose: bool, text: &mut String) {
    let often = if item.count > 1 { format!(", {} times", item.count) } else { String::new() };
    let _ = writeln!(text, "  = line {}{often}: {}", item.line, paint(DIM, &item.text));
    let _ = writeln!(text, "  = {}", certainty(item.confidence));
    for (fix, at) in item.fix.iter().zip(1..) {
        let _ = writeln!(text, "  {at}. {fix}");
    }
    if verbose && !item.sources.is_empty() {
        let _ = writeln!(text, "  {}", paint(DIM, format!("[{}]", item.sources.join("; "))));
    }
}

fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "certain: nothing else prints this",
        Certainty::Likely => "likely: the text alone does not prove it",
        Certainty::Possible => "possible: the most frequent of several causes",
    }
}

#[derive(Serialize)]
struct DiagnoseV1<'a> {
    verdict: Code,
    matches: Vec<MatchV1<'a>>,
    findings: Vec<FindingV1<'a>>,
    read: Vec<ReadV1<'a>>,
    lines: usize,
}

#[derive(Serialize)]
struct MatchV1<'a> {
    code: Code,
    cause: &'a str,
    fix: &'a [String],
    line: usize,
    text: &'a str,
    confidence: Certainty,
    message: Option<&'a str>,
    role: &'static str,
    count: usize,
    sources: &'a [String],
}

#[derive(Serialize)]
struct ReadV1<'a> {
    what: &'a str,
    value: &'a str,
    line: usize,
}

/// `gpuseal.diagnose`
pub fn json(diagnosis: &Diagnosis, matrix: &Matrix) -> String {
    let matches = diagnosis
        .matches
        .iter()
        .map(|m| MatchV1 {
            code: m.code,
            cause: &m.cause,
            fix: &m.fix,
            line: m.line,
            text: &m.text,
            confidence: m.confidence,
            message: m.message.as_deref(),
            role: match m.role {
                Role::Root => "root",
                Role::Other => "other",
                Role::Consequence => "consequence",
                Role::Hint => "hint",
            },
            count: m.count,
            sources: &m.sources,
        })
        .collect();
    let read = diagnosis
        .read
        .iter()
        .map(|r| ReadV1 { what: &r.what, value: &r.value, line: r.line })
        .collect();
    json_v1::document(
        "gpuseal.diagnose",
        matrix,
        DiagnoseV1 {
            verdict: diagnosis.verdict,
            matches,
            findings: diagnosis.findings.iter().map(json_v1::finding).collect(),
            read,
            lines: diagnosis.lines,
        },
    )
}

/// The root cause and what stands beside it as findings of a file, for annotations.
pub fn findings(diagnosis: &Diagnosis, file: Option<&str>) -> Vec<Finding> {
    let of_match = |m: &Match| {
        let severity = match m.role {
            Role::Root => Severity::Error,
            Role::Other => Severity::Warning,
            Role::Consequence | Role::Hint => return None,
        };
        let mut finding = Finding::new(m.code, severity, m.cause.clone());
        finding.help.clone_from(&m.fix);
        if let Some(file) = file {
            finding = finding.at(&Place { file: file.to_owned(), line: m.line });
        }
        Some(finding)
    };
    diagnosis
        .matches
        .iter()
        .filter_map(of_match)
        .chain(diagnosis.findings.iter().cloned())
        .collect()
}
