//! Of several messages, the root: causes before symptoms, the first before what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Scan, squeezed};
use super::{Diagnosis, Hit, Match, Role, filled, weight};
use crate::domain::{Code, shown};
use crate::matrix::{Certainty, Matrix, Tells};

/// Puts the hits in order and into words.
pub(super) fn rank(scan: &Scan, mut hits: Vec<Hit<'_>>, matrix: &Matrix) -> Diagnosis {
    let met: BTreeSet<&str> = hits.iter().map(|hit| hit.message.id.as_str()).collect();
    let hidden: BTreeSet<String> = hits
        .iter()
        .filter(|hit| met.contains(hit.message.id.as_str()))
        .flat_map(|hit| hit.message.hides.iter().cloned())
        .collect();
    let role = |hit: &Hit<'_>| match hit.message.tells {
        _ if hidden.contains(&hit.message.id) => Role::Consequence,
        Tells::Hint => Role::Hint,
        _ => Role::Other,
    };
    hits.sort_by_key(|hit| (role(hit), weight(hit.message), hit.first));
    let rooted = hits.first().is_some_and(|hit| role(hit) == Role::Other);
    // What several causes end in is no second trouble beside a cause.
    let by_cause = rooted && hits.first().is_some_and(|hit| hit.message.tells == Tells::Cause);
    let matches: Vec<Match> = hits
        .iter()
        .enumerate()
        .map(|(at, hit)| {
            let role = match role(hit) {
                Role::Other if at == 0 && rooted => Role::Root,
                Role::Other if by_cause && hit.message.tells == Tells::Symptom => Role::Consequence,
                other => other,
            };
            told(scan, hit, role, matrix)
        })
        .collect();
    let verdict = matches.first().filter(|m| m.is_root()).map_or(Code::Unknown, |m| m.code);
    Diagnosis { verdict, matches, findings: Vec::new(), read: Vec::new(), lines: scan.lines }
}

fn told(scan: &Scan, hit: &Hit<'_>, role: Role, matrix: &Matrix) -> Match {
    let message = hit.message;
    let values: BTreeMap<String, String> = hit.captures.clone();
    let mut sources: Vec<String> = message.evidence.iter().map(|e| matrix.cite(e)).collect();
    sources.extend(message.seen.iter().cloned());
    Match {
        message: message.id.clone(),
        code: message.code,
        role,
        cause: filled(&message.cause, &values).unwrap_or_else(|| message.code.meaning().to_owned()),
        fix: message.fix.iter().filter_map(|line| filled(line, &values)).collect(),
        line: hit.first,
        text: quoted(scan, hit),
        count: hit.count,
        confidence: match message.tells {
            // A symptom never names its cause for certain.
            Tells::Symptom => message.certainty.max(Certainty::Likely),
            _ => message.certainty,
        },
        sources,
    }
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
