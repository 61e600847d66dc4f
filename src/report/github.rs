//! GitHub workflow commands: one annotation a finding, worst first.

use std::fmt::Write as _;

use crate::domain::{Code, Finding, Severity};

/// GitHub shows ten annotations of a kind in a step; the rest is counted.
const MOST: usize = 10;

/// Annotations for findings: each at its own place in a file, or else at `place`.
pub fn annotations(findings: &[Finding], place: Option<(&str, usize)>) -> String {
    let mut text = String::new();
    let shown: Vec<_> = findings
        .iter()
        .filter(|f| f.severity < Severity::Note || f.code == Code::OkViaPtxJit)
        .collect();
    for finding in shown.iter().take(MOST) {
        let kind = match finding.severity {
            Severity::Error | Severity::Unknown => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = String::new();
        let own = finding.place.as_ref().map(|p| (p.file.as_str(), p.line));
        if let Some((file, line)) = own.or(place) {
            let _ = write!(properties, "file={},line={line},", property(file));
        }
        let _ = write!(properties, "title={}", property(finding.code.word()));
        let mut message = finding.message.clone();
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
    let at =
        place.map_or(String::new(), |(file, line)| format!("file={},line={line},", property(file)));
    format!("::error {at}title={}::{}\n", property(title), data(message))
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_command() {
        let text = annotations(
            &[Finding::new(Code::Unknown, Severity::Error, "a\n::error::b%")],
            Some(("x,y:z", 3)),
        );
        assert_eq!(text, "::error file=x%2Cy%3Az,line=3,title=unknown::a%0A::error::b%25\n");
    }
}
