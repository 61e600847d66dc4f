//! Of several messages, the root: causes before symptoms, the first before what follows from it; and
//! what the versions in the text say, where no message names a cause.

use std::collections::{BTreeMap, BTreeSet};

use super::advice::for_cause;
use super::hearsay::Voice;
use super::hidden::hidden;
use super::scan::{Scan, squeezed};
use super::situation::Situation;
use super::{Diagnosis, Hit, Match, Role, Said, filled, weight};
use crate::domain::{Code, CudaVersion, Finding, Gather as _, Order as _, Severity, shown};
use crate::host::Answer;
use crate::matrix::{Certainty, Matrix, Tells};

/// Puts the hits in order and into words.
pub(super) fn rank(
    scan: &Scan,
    mut hits: Vec<Hit<'_>>,
    mut said: Said,
    matrix: &Matrix,
) -> Diagnosis {
    // What the versions in the text contradict was not the cause.
    hits.retain(|hit| !for_cause(hit.message.code, &said, &hit.captures, matrix).refused);
    let hidden_by_others: BTreeSet<&str> =
        hits.iter().flat_map(|hit| hit.message.hides.iter().map(String::as_str)).gather();
    let role = |hit: &Hit<'_>| match hit.message.tells {
        _ if hidden_by_others.contains(hit.message.id.as_str()) => Role::Consequence,
        Tells::Hint => Role::Hint,
        _ if hit.voice == Voice::SpokenOf => Role::Hint,
        _ => Role::Other,
    };
    hits.order_by_key(|hit| (role(hit), hit.voice, weight(hit.message), hit.first));
    let first = hits.first().filter(|hit| role(hit) == Role::Other);
    let named = first.is_some_and(|hit| hit.message.tells == Tells::Cause);
    // What several causes end in is no second trouble beside a cause.
    let mut findings = hidden(&said, matrix);
    let told = findings.iter().find(|f| f.severity == Severity::Error).map(|f| f.code);
    let by_facts = told.filter(|code| first.is_none_or(|hit| precedes(*code, hit)));
    let mut matches: Vec<Match> = hits
        .iter()
        .enumerate()
        .map(|(at, hit)| {
            let role = match role(hit) {
                Role::Other if at == 0 && by_facts.is_none() => Role::Root,
                Role::Other
                    if hit.message.tells == Tells::Symptom && (named || by_facts.is_some()) =>
                {
                    Role::Consequence
                }
                other => other,
            };
            worded(scan, hit, role, &said, matrix)
        })
        .collect();
    if let Some(at) = by_facts.and_then(|code| findings.iter().position(|f| f.code == code)) {
        matches.insert(0, of_facts(&findings.remove(at), scan, &said));
    }
    let root = matches.first().filter(|m| m.is_root()).map(|m| m.code);
    let verdict = match root {
        Some(code) => code,
        None if quiet(&matches) && findings.is_empty() && works(&said) && !scan.trouble => Code::Ok,
        None => Code::Unknown,
    };
    for other in &mut matches {
        // The same trouble in other words.
        if other.role == Role::Other && root == Some(other.code) {
            other.role = Role::Consequence;
        }
    }
    // What was said already is not said twice.
    let spoken: BTreeSet<Code> = matches
        .iter()
        .filter(|m| matches!(m.role, Role::Root | Role::Other))
        .map(|m| m.code)
        .gather();
    findings.retain(|finding| !spoken.contains(&finding.code));
    let works = works(&said);
    let read = std::mem::take(&mut said.seen);
    Diagnosis { verdict, matches, findings, read, works, lines: scan.lines }
}

/// What the versions say, as the match that it is. It stands where torch or the card is named.
fn of_facts(finding: &Finding, scan: &Scan, said: &Said) -> Match {
    let line = ["torch", "gpu", "driver"]
        .iter()
        .find_map(|what| said.seen.iter().find(|read| read.what == *what))
        .or(said.seen.first())
        .map_or(1, |read| read.line);
    Match {
        message: None,
        code: finding.code,
        role: Role::Root,
        cause: finding.message.clone(),
        fix: finding.help.clone(),
        line,
        text: scan.kept.get(&line).map_or_else(String::new, |line| shown(line.text.trim())),
        count: 1,
        confidence: Certainty::Likely,
        sources: finding
            .facts
            .iter()
            .map(|fact| format!("{} [{}]", fact.text, fact.source))
            .collect(),
    }
}

/// Whether what the versions say comes before a message: the message names no cause, or more than one
/// cause can bring it about and what they say breaks an earlier link of the chain.
fn precedes(code: Code, hit: &Hit<'_>) -> bool {
    let message = hit.message;
    let open = message.certainty == Certainty::Possible || message.tells == Tells::Symptom;
    message.code == Code::Unknown
        || (message.tells == Tells::Symptom && message.certainty == Certainty::Possible)
        || (open && code < message.code)
}

/// Nothing was met that a healthy machine does not print.
fn quiet(matches: &[Match]) -> bool {
    matches.iter().all(|m| m.role == Role::Hint)
}

/// The text shows that torch found its GPU.
fn works(said: &Said) -> bool {
    said.available == Some(true)
}

fn worded(scan: &Scan, hit: &Hit<'_>, role: Role, said: &Said, matrix: &Matrix) -> Match {
    let message = hit.message;
    let values = values(said, &hit.captures, matrix);
    let advice = match role {
        Role::Root | Role::Other => for_cause(message.code, said, &hit.captures, matrix),
        Role::Consequence | Role::Hint => super::advice::Advice::default(),
    };
    let mut fix = advice.fix;
    // What was computed for this situation stands for what the row says of every one.
    let instead = advice.instead && !fix.is_empty();
    let general = |line: &&String| !(instead && is_of_builds(line));
    fix.extend(message.fix.iter().filter(general).filter_map(|line| filled(line, &values)));
    let mut sources: Vec<String> = message.evidence.iter().map(|e| matrix.cite(e)).collect();
    sources.extend(message.seen.iter().cloned());
    Match {
        message: Some(message.id.clone()),
        code: advice.code.unwrap_or(message.code),
        role,
        cause: filled(&message.cause, &values).unwrap_or_else(|| message.code.meaning().to_owned()),
        fix,
        line: hit.first,
        text: quoted(scan, hit),
        count: hit.count,
        confidence: match message.tells {
            // A symptom never names its cause for certain.
            Tells::Symptom => message.certainty.max(Certainty::Likely),
            // Nor does what somebody quotes.
            Tells::Cause if hit.voice != Voice::Printed => message.certainty.max(Certainty::Likely),
            _ => message.certainty,
        },
        sources,
    }
}

/// Whether a line of a row is about which build to take.
fn is_of_builds(line: &str) -> bool {
    ["pip install", "--index-url", "take a build", "or a build"].iter().any(|w| line.contains(w))
}

/// What fills the holes: what the message itself named, then what stands elsewhere in the text.
fn values(
    said: &Said,
    captures: &BTreeMap<String, String>,
    matrix: &Matrix,
) -> BTreeMap<String, String> {
    let here = Situation::of(said, captures, matrix);
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            values.insert(name.to_owned(), value);
        }
    };
    put("torch", here.torch.as_ref().map(ToString::to_string));
    // The index of a CPU build is never the one to install from.
    let of_cuda = here.variant().filter(|variant| variant.cuda().is_some());
    put("variant", of_cuda.map(|variant| variant.to_string()));
    put("cuda", here.cuda.map(|c| c.to_string()));
    put("driver", here.driver.as_ref().map(|d| d.spec.to_string()));
    let told = |answer: Option<CudaVersion>| answer.map(|cuda| cuda.to_string());
    let facts = &said.facts;
    let by_smi = facts.smi.as_ref().and_then(Answer::told).and_then(|smi| smi.cuda);
    put(
        "driver_cuda",
        told(facts.nvml.as_ref().and_then(Answer::told).and_then(|n| n.cuda).or(by_smi)),
    );
    put("gpu", here.cards.first().map(|card| card.name.clone()));
    put("capability", here.cards.first().map(|card| card.capability.to_string()));
    put("python", here.python.map(|p| p.to_string()));
    put("platform", here.platform.map(|p| p.to_string()));
    put("nvcc", here.nvcc.map(|n| n.to_string()));
    values.extend(captures.iter().map(|(name, value)| (name.clone(), value.clone())));
    values
}

/// Characters of a line that are quoted before its message, where the line is long.
const BEFORE: usize = 24;

/// The lines that hold the fragment, as they stand; of a long one the part with the message.
fn quoted(scan: &Scan, hit: &Hit<'_>) -> String {
    let text = if hit.first == hit.line {
        scan.kept.get(&hit.line).map_or("", |line| line.text.trim()).to_owned()
    } else {
        scan.joined(hit.first, hit.line, false)
    };
    // Marks that turn the direction of writing around would change the rest of the answer.
    let text = text.replace(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "");
    let start = hit.message.text.iter().filter_map(|fragment| found_at(&text, fragment)).min();
    match start.and_then(|at| text[..at].char_indices().rev().nth(BEFORE)) {
        Some((from, _)) if text.len() > 120 => shown(&format!("...{}", &text[from..])),
        _ => shown(&text),
    }
}

/// Where a fragment begins in a text, compared as the scanner does.
fn found_at(text: &str, fragment: &str) -> Option<usize> {
    let tight = squeezed(text);
    let at = tight.find(&squeezed(fragment))?;
    // The offset of each byte that counts.
    text.char_indices().filter(|(_, c)| c.is_ascii_graphic()).nth(at).map(|(offset, _)| offset)
}
