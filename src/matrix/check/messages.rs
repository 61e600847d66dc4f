//! Messages that programs print, and the page of each finding code.

use std::collections::BTreeSet;

use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as WordError, StrDeserializer};

use super::Check;
use super::tables::put;
use crate::domain::{Code, Gather as _};
use crate::matrix::raw::{RawMessage, RawPage};
use crate::matrix::words::{Message, Page, Words};

/// Characters that a fragment has at least, without white space: less is found everywhere.
const SHORTEST: usize = 8;

impl Check {
    pub(super) fn message(&mut self, row: RawMessage) {
        self.enter("messages", &row.id, &[]);
        let evidence = self.evidence(row.source);
        let well_named = !row.id.is_empty()
            && row.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !well_named {
            self.here("id: expected a word in kebab-case");
        }
        if row.text.is_empty() || row.cause.trim().is_empty() || row.fix.is_empty() {
            self.here("a message has at least one fragment, a cause and a fix");
        }
        for text in row.text.iter().chain(&row.beside).chain(&row.unless) {
            if text.chars().filter(|c| !c.is_whitespace()).count() < SHORTEST
                && row.text.contains(text)
            {
                self.here(format!("text: `{text}` has less than {SHORTEST} characters"));
            }
            if text.trim().is_empty() {
                self.here("an empty text stands everywhere");
            }
        }
        if let Some(pattern) = &row.pattern
            && let Err(err) = regex::Regex::new(pattern)
        {
            let reason = err.to_string().lines().last().unwrap_or_default().to_owned();
            self.here(format!("pattern: {reason}"));
        }
        for text in row.fix.iter().chain([&row.cause]) {
            if let Some(wrong) = bad_hole(text) {
                self.here(format!("`{wrong}` is no hole: expected `{{name}}` or `{{name|words}}`"));
            }
        }
        let code = self.read("code", &row.code);
        let tells = self.word("tells", &row.tells, "cause, symptom or hint");
        let certainty = self.word("certainty", &row.certainty, "certain, likely or possible");
        let (Some(code), Some(tells), Some(certainty)) = (code, tells, certainty) else { return };
        let message = Message {
            id: row.id,
            code,
            tells,
            text: row.text,
            pattern: row.pattern,
            beside: row.beside,
            unless: row.unless,
            hides: row.hides,
            certainty,
            cause: row.cause,
            fix: row.fix,
            seen: row.seen,
            evidence,
        };
        put(&mut self.words.messages, message, |m| m.id.clone());
    }

    pub(super) fn page(&mut self, row: RawPage) {
        self.enter("pages", &row.code, &[]);
        let evidence = self.evidence(row.source);
        if row.means.trim().is_empty() {
            self.here("a page says what its code means");
        }
        let code: Option<Code> = self.read("code", &row.code);
        let mut confused = Vec::new();
        for (other, difference) in row.confused {
            if let Some(other) = self.read("confused", &other) {
                confused.push((other, difference));
            }
        }
        let Some(code) = code else { return };
        let page =
            Page { code, means: row.means, look: row.look, fixes: row.fixes, confused, evidence };
        put(&mut self.words.pages, page, |p| p.code);
    }

    /// A word of a short list, as serde reads it.
    fn word<T: serde::de::DeserializeOwned>(
        &mut self,
        column: &str,
        text: &str,
        words: &str,
    ) -> Option<T> {
        let reader: StrDeserializer<'_, WordError> = text.into_deserializer();
        let value = T::deserialize(reader).ok();
        if value.is_none() {
            self.here(format!("{column}: `{text}`: expected {words}"));
        }
        value
    }
}

/// A brace that opens no `{name}` or `{name|words}`.
fn bad_hole(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let end = rest[start..].find('}').map_or(rest.len(), |end| start + end + 1);
        let inside = rest[start + 1..end].trim_end_matches('}');
        let name = inside.split('|').next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Some(&rest[start..end]);
        }
        rest = &rest[end..];
    }
    None
}

/// Names in `hides` exist, and nothing hides itself.
pub(super) fn across(words: &Words, fault: &mut super::across::Report<'_>) {
    let ids: BTreeSet<&str> = words.messages.iter().map(|m| m.id.as_str()).gather();
    for message in &words.messages {
        for other in &message.hides {
            if !ids.contains(other.as_str()) || *other == message.id {
                fault(
                    "messages",
                    message.id.clone(),
                    "",
                    format!("hides `{other}`: no other message"),
                );
            }
        }
    }
}
