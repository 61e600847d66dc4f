//! GitHub workflow commands: one annotation a finding, worst first.

use std::fmt::Write as _;

use super::found::{Located, reference};
use crate::domain::{Code, Place, Severity};

/// GitHub shows ten annotations of a kind in a step; the rest is counted.
const MOST: usize = 10;

/// Annotations for findings, each at its place in a file.
pub fn annotations(findings: &[Located]) -> String {
    let mut text = String::new();
    let shown: Vec<_> = findings
        .iter()
        .filter(|located| {
            let finding = &located.finding;
            finding.severity < Severity::Note || finding.code == Code::OkViaPtxJit
        })
        .collect();
    for Located { title, finding, .. } in shown.iter().take(MOST) {
        let kind = match finding.severity {
            Severity::Error | Severity::Unknown => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = String::new();
        if let Some(Place { file, line }) = &finding.place {
            let _ = write!(properties, "file={},line={line},", property(&named(file)));
        }
        let _ = write!(properties, "title={}", property(title));
        let mut message = finding.message.clone();
        // What has no source is no evidence, but a part of what is said.
        for fact in finding.facts.iter().filter(|fact| fact.source.is_empty()) {
            let _ = write!(message, "\n{}", fact.text);
        }
        for help in &finding.help {
            let _ = write!(message, "\nhelp: {help}");
        }
        let _ = writeln!(text, "::{kind} {properties}::{}", data(&message));
    }
    if shown.len() > MOST {
        let _ = writeln!(text, "::notice title=gpuseal::{} more findings", shown.len() - MOST);
    }
    text
}

/// One error annotation.
pub fn error(title: &str, message: &str, place: Option<(&str, usize)>) -> String {
    let at = place.map_or(String::new(), |(file, line)| {
        format!("file={},line={line},", property(&named(file)))
    });
    format!("::error {at}title={}::{}\n", property(title), data(message))
}

/// Runners know a file by its name from the root of the repository.
fn named(file: &str) -> String {
    reference(file).unwrap_or_else(|| file.to_owned())
}

/// A text for a log that runners read: no line of it is taken for a command.
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Runners end lines at a carriage return too, skip blanks before `::`, and find `##[` anywhere.
    for line in text.split_inclusive(['\n', '\r']) {
        let line = line.replace("##[", "## [");
        let blank = line.len() - line.trim_start().len();
        let (blank, rest) = line.split_at(blank);
        out.push_str(blank);
        match rest.strip_prefix("::") {
            Some(rest) => out.extend([": :", rest]),
            None => out.push_str(rest),
        }
    }
    out
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    // A command of the first kind, should this one not be read as one.
    text.replace("##[", "## [")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Finding;

    #[test]
    fn a_log_holds_no_command() {
        assert_eq!(
            tame("a ::b\n  ::error::c\rx\r::set-output name=a::b\n##[error]y ##[add-path]z\n"),
            "a ::b\n  : :error::c\rx\r: :set-output name=a::b\n## [error]y ## [add-path]z\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_a_command() {
        let place = Place { file: "x,y:z".into(), line: 3 };
        let finding = Finding::new(Code::Unknown, Severity::Error, "a\n::error::b%").at(&place);
        let text = annotations(&[Located { title: "unknown", target: String::new(), finding }]);
        assert_eq!(text, "::error file=x%2Cy%3Az,line=3,title=unknown::a%0A::error::b%25\n");
    }
}
