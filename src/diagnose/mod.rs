//! From a text that somebody's program printed to the cause and the fix.
//!
//! ```text
//! clean: a line without its surroundings  ->  scan: fragments of messages, in one pass
//!   ->  confirm: pattern, neighbours  ->  rank: cause before symptom, first before consequence
//! paste: versions and machines in the text  ->  the same checks as `doctor`  ->  advice: computed
//! ```
//!
//! A text that says nothing is answered with `unknown`: a wrong cause costs more than none.

mod advice;
mod clean;
mod hearsay;
mod hidden;
mod missing;
mod paste;
mod rank;
mod scan;
mod search;
mod situation;
mod utf16;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::domain::{Code, Finding};
use crate::matrix::{Certainty, Matrix, Message, Tells};

pub use advice::{Advice, for_cause};
use hearsay::Voice;
pub use hidden::{case, hidden};
pub use paste::{Asked, Said, facts};
use scan::{AROUND, Scan, Scanner, squeezed};

/// What a text comes to.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// Code of the root cause; `ok` where the text shows a working machine; `unknown`.
    pub verdict: Code,
    /// What was recognised: the root cause first, then its consequences and what else was met.
    pub matches: Vec<Match>,
    /// What the machine and the versions in the text come to, by the checks of `doctor`.
    pub findings: Vec<Finding>,
    /// Versions and machines that were read from it.
    pub read: Vec<Read>,
    /// The text shows that torch found its GPU: what fails, if anything does, is another matter.
    pub works: bool,
    /// Lines that were read.
    pub lines: usize,
}

/// A fact that a text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// `torch`, `driver`, `GPU`
    pub what: String,
    /// As it stands there.
    pub value: String,
    /// Line, from 1.
    pub line: usize,
}

/// What a match is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The root cause.
    Root,
    /// Something else that is wrong.
    Other,
    /// It follows from another match, or says the same in other words.
    Consequence,
    /// It says nothing alone.
    Hint,
}

/// A message that was recognised.
#[derive(Debug, Clone)]
pub struct Match {
    /// The row of the matrix; `None`: the versions in the text say it, and no message.
    pub message: Option<String>,
    /// What it is about.
    pub code: Code,
    /// What it is to the others.
    pub role: Role,
    /// The cause in a sentence.
    pub cause: String,
    /// What to do, cheapest first.
    pub fix: Vec<String>,
    /// Line on which it rests, from 1.
    pub line: usize,
    /// That line.
    pub text: String,
    /// How often it was met.
    pub count: usize,
    /// How sure the cause is.
    pub confidence: Certainty,
    /// What it rests on: evidence and reports.
    pub sources: Vec<String>,
}

impl Match {
    /// It is the root cause.
    pub fn is_root(&self) -> bool {
        self.role == Role::Root
    }
}

/// A message at its place, confirmed.
struct Hit<'m> {
    message: &'m Message,
    /// A program printed it, or somebody speaks of it.
    voice: Voice,
    /// Where its fragment begins and ends.
    first: usize,
    line: usize,
    count: usize,
    captures: BTreeMap<String, String>,
}

/// Reads a text of any size to its end.
///
/// # Errors
/// The text could not be read.
pub fn read(text: impl BufRead, matrix: &Matrix) -> io::Result<Diagnosis> {
    let scan = Scanner::new(matrix).scan(utf16::Decoded::new(text)?)?;
    let hits = confirmed(&scan, matrix);
    let lines: Vec<(usize, &str)> =
        scan.kept.iter().map(|(number, line)| (*number, line.text.as_str())).collect();
    let said = facts(&lines, matrix);
    Ok(rank::rank(&scan, hits, said, matrix))
}

/// The first place of each message at which its pattern and its neighbours hold, in the order of the text.
fn confirmed<'m>(scan: &Scan, matrix: &'m Matrix) -> Vec<Hit<'m>> {
    let mut patterns = BTreeMap::new();
    let mut done: BTreeMap<usize, usize> = BTreeMap::new();
    let mut hits: Vec<Hit<'m>> = Vec::new();
    for place in &scan.places {
        // A place where it was printed counts before one where it is spoken of.
        let before = done.get(&place.message).copied();
        if before.is_some_and(|at| hits[at].voice == Voice::Printed) {
            continue;
        }
        let message = &matrix.messages()[place.message];
        let near = scan.joined(place.line.saturating_sub(2), place.line + 4, false);
        let tight = squeezed(&near);
        if message.unless.iter().any(|text| tight.contains(&squeezed(text))) {
            continue;
        }
        if !message.beside.is_empty() {
            let wide = squeezed(&scan.joined(
                place.line.saturating_sub(AROUND),
                place.line + AROUND,
                false,
            ));
            if !message.beside.iter().any(|text| wide.contains(&squeezed(text))) {
                continue;
            }
        }
        let mut captures = BTreeMap::new();
        if let Some(pattern) = &message.pattern {
            let regex = patterns.entry(place.message).or_insert_with(|| {
                regex::RegexBuilder::new(pattern)
                    .case_insensitive(true)
                    .build()
                    .expect("the matrix was checked")
            });
            // A wrapped word has a space too many in the one, two words have one too few in the other.
            let glued = scan.joined(place.line.saturating_sub(2), place.line + 4, true);
            let Some(found) = [&near, &glued].into_iter().find_map(|text| regex.captures(text))
            else {
                continue;
            };
            for name in regex.capture_names().flatten() {
                if let Some(value) = found.name(name) {
                    captures.insert(name.to_owned(), crate::domain::shown(value.as_str()));
                }
            }
        }
        let first = begins(scan, message, place.line);
        let voice = scan
            .kept
            .get(&first)
            .map_or(Voice::Printed, |line| hearsay::voice(&line.text, line.body()));
        let hit = Hit {
            message,
            voice,
            first,
            line: place.line,
            count: scan.counts.get(&place.message).copied().unwrap_or(1),
            captures,
        };
        match before {
            Some(at) if voice < hits[at].voice => hits[at] = hit,
            Some(_) => (),
            None => {
                done.insert(place.message, hits.len());
                hits.push(hit);
            }
        }
    }
    hits
}

/// The line in which the fragment begins that ends in `last`: a terminal may have wrapped it.
fn begins(scan: &Scan, message: &Message, last: usize) -> usize {
    let fragments: Vec<String> = message.text.iter().map(|text| squeezed(text)).collect();
    (last.saturating_sub(4)..=last)
        .rev()
        .find(|first| {
            let text = squeezed(&scan.joined(*first, last, true));
            fragments.iter().any(|fragment| text.contains(fragment))
        })
        .unwrap_or(last)
}

/// Fills the holes of a text: `{name}`, `{name|words when nothing fills it}`. `None`: one stays open.
fn filled(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let end = start + rest[start..].find('}')?;
        out.push_str(&rest[..start]);
        let (name, words) = match rest[start + 1..end].split_once('|') {
            Some((name, words)) => (name, Some(words)),
            None => (&rest[start + 1..end], None),
        };
        out.push_str(values.get(name).map(String::as_str).or(words)?);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

/// The order in which matches of one kind are believed.
fn weight(message: &Message) -> (Tells, Certainty) {
    (message.tells, message.certainty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_or_the_text_is_left_out() {
        let values = BTreeMap::from([("driver".to_owned(), "535.54.03".to_owned())]);
        assert_eq!(
            filled("driver {driver} is old", &values).as_deref(),
            Some("driver 535.54.03 is old")
        );
        assert_eq!(filled("{gpu|this GPU} is new", &values).as_deref(), Some("this GPU is new"));
        assert_eq!(filled("take {torch}", &values), None);
        assert_eq!(filled("open {", &values), None);
    }
}
