//! SARIF 2.1.0, which code scanning reads: one result for each finding, one rule for each code.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::explain::Explained;
use super::found::{Found, Located, cleaned, reference, slashed};
use super::{HOME, TOOL, docs, json_v1};
use crate::domain::{Code, Gather as _, Place, Severity, Sha256};
use crate::error::Exit;
use crate::matrix::Matrix;

/// Results that are listed; GitHub takes 25 000 a run and shows 5000.
const MOST: usize = 5000;

/// Columns in which the pages of codes are filled.
const WIDTH: usize = 80;

/// The log of a run.
pub fn log(found: &Found<'_>) -> String {
    let matrix = found.matrix.map_or_else(|| Cow::Owned(Matrix::embedded()), Cow::Borrowed);
    // That something is well is no alert.
    let well = |l: &&Located| l.finding.code == Code::Ok && l.finding.severity == Severity::Note;
    let list: Vec<&Located> = found.list.iter().filter(|l| !well(l)).take(MOST).collect();
    let titles: BTreeSet<&str> = list.iter().map(|located| located.title).gather();
    let titles: Vec<&str> = titles.into_iter().collect();
    let rules: Vec<Value> = titles.iter().map(|title| rule(title, &matrix)).collect();
    let results = list.iter().map(|located| {
        let index = titles.iter().position(|title| *title == located.title);
        result(located, index.unwrap_or_default(), &found.about)
    });
    // What could not be looked at is no scan without findings.
    let looked = matches!(found.exit, Exit::Done | Exit::No | Exit::Unknown);
    let meaning = Exit::ALL.iter().find(|(exit, _)| *exit == found.exit).map(|(_, words)| words);
    json_v1::written(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": TOOL.0,
                "version": TOOL.1,
                "semanticVersion": TOOL.1,
                "informationUri": HOME,
                "rules": rules,
            } },
            "automationDetails": { "id": format!("{}/{}/", TOOL.0, found.command) },
            "invocations": [{
                "executionSuccessful": looked,
                "exitCode": found.exit as u8,
                "exitCodeDescription": meaning,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    }))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        // As in annotations: nobody could confirm that it works.
        Severity::Error | Severity::Unknown => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A code with its page; what is said over all findings has none.
fn rule(title: &str, matrix: &Matrix) -> Value {
    let code = title.parse::<Code>().ok();
    let short = match (code, title) {
        (Some(code), _) => code.meaning(),
        (None, "unsatisfiable") => "no stack satisfies the demands",
        (None, _) => "the command did not come to its answer",
    };
    let mut rule = json!({ "id": title, "shortDescription": { "text": short } });
    if let Some(page) = code.and_then(|code| Explained::of(code, matrix)) {
        let docs = docs();
        rule["fullDescription"] = json!({ "text": page.means() });
        rule["help"] = json!({
            "text": anstream::adapter::strip_str(&page.human(WIDTH, false)).to_string(),
            "markdown": page.markdown(&docs),
        });
        rule["helpUri"] = format!("{docs}{title}.md").into();
    } else {
        rule["helpUri"] = format!("{HOME}#readme").into();
    }
    rule
}

fn result(located: &Located, index: usize, about: &str) -> Value {
    let finding = &located.finding;
    let mut message = finding.message.clone();
    for fact in &finding.facts {
        message.push_str("\n= ");
        message.push_str(&fact.text);
    }
    for help in &finding.help {
        message.push_str("\nhelp: ");
        message.push_str(help);
    }
    // A line of its own moves with every edit above it: the finding is known by what it says.
    let place = finding.place.as_ref();
    let file = place.map_or(about, |place| &place.file);
    let identity = [located.title, &located.target, file, &finding.message].join("\n");
    json!({
        "ruleId": located.title,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": { "text": message },
        "locations": [{ "physicalLocation": location(place, about) }],
        "partialFingerprints": { "gpuseal/v1": Sha256::of(identity.as_bytes()).hex() },
        "properties": {
            "severity": finding.severity,
            "target": located.target,
            "facts": finding.facts,
            "help": finding.help,
        },
    })
}

/// Where a finding stands. Scanners take no result without a file: what is about none is about the
/// folder that the program ran in.
fn location(place: Option<&Place>, about: &str) -> Value {
    let file = match place {
        Some(place) => &place.file,
        None if about.is_empty() => ".",
        None => about,
    };
    let mut location = json!({ "artifactLocation": { "uri": uri(file) } });
    if let Some(place) = place {
        location["region"] = json!({ "startLine": place.line.max(1) });
    }
    location
}

/// A path as a reference below the repository or the current folder, or as an address where it leads elsewhere.
fn uri(file: &str) -> String {
    let elsewhere = || slashed(&cleaned(Path::new(file)));
    let path = reference(file).unwrap_or_else(elsewhere);
    let drive = cfg!(windows) && path.as_bytes().get(1) == Some(&b':');
    let mut text = match (path.starts_with('/'), drive) {
        (true, _) => String::from("file://"),
        (false, true) => String::from("file:///"),
        (false, false) => String::new(),
    };
    for byte in path.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        if plain || byte == b':' && drive {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Finding;

    #[test]
    fn paths_are_references() {
        let here = std::env::current_dir().expect("a folder");
        for (path, reference) in [
            ("gpuseal.yaml", "gpuseal.yaml".to_owned()),
            ("./a b/50%.txt", "a%20b/50%25.txt".into()),
            ("über#1?.toml", "%C3%BCber%231%3F.toml".into()),
            ("a:b", "a%3Ab".into()),
            ("/elsewhere/x", "file:///elsewhere/x".into()),
            (&here.join("sub/x").display().to_string(), "sub/x".into()),
            (".", ".".into()),
            ("src/../sub/./x", "sub/x".into()),
            ("../../../../../../../../../../elsewhere/x", "file:///elsewhere/x".into()),
        ] {
            assert_eq!(uri(path), reference);
        }
    }

    #[test]
    fn a_finding_is_known_by_what_it_says_and_not_by_its_line() {
        let print = |line, message: &str| {
            let place = Place { file: "gpuseal.yaml".into(), line };
            let finding = Finding::new(Code::DriverTooOld, Severity::Error, message).at(&place);
            let found = Found::new("check", Exit::No, None).with("train", None, [&finding]);
            let log: Value = serde_json::from_str(&log(&found)).expect("JSON");
            log["runs"][0]["results"][0]["partialFingerprints"]["gpuseal/v1"].clone()
        };
        assert_eq!(print(3, "a"), print(4, "a"));
        assert_ne!(print(3, "a"), print(3, "b"));
    }
}
