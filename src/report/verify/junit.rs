//! JUnit's XML, as Jenkins, GitLab and others read it: a suite for each layer and device, a case for each check.

use std::fmt::Write as _;

use super::{about, place};
use crate::report::xml::escaped;
use crate::verify::{Check, Outcome, Ran, Verification};

/// The report.
pub fn junit(verification: &Verification) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let count = |kind: &dyn Fn(Outcome) -> bool| {
        verification.checks().filter(|(_, check)| kind(check.outcome)).count()
    };
    let _ = writeln!(
        text,
        "<testsuites name=\"gpuseal verify\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">",
        count(&|_| true),
        count(&failed),
        count(&broken),
        verification.seconds
    );
    for ran in &verification.layers {
        suite(verification, ran, &mut text);
    }
    text.push_str("</testsuites>\n");
    text
}

/// It was looked at, and does not hold.
fn failed(outcome: Outcome) -> bool {
    outcome == Outcome::Fail
}

/// It did not come to its end.
fn broken(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Hang | Outcome::Crash)
}

fn suite(verification: &Verification, ran: &Ran, text: &mut String) {
    let count = |kind: &dyn Fn(Outcome) -> bool| {
        ran.checks.iter().filter(|check| kind(check.outcome)).count()
    };
    let _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
        escaped(&place(verification, ran)),
        ran.checks.len(),
        count(&failed),
        count(&broken),
        count(&|outcome| outcome == Outcome::Skip),
        ran.seconds
    );
    let mut properties = about(verification);
    properties.push(("verdict", verification.verdict.word().into()));
    let device = ran.device.and_then(|index| {
        verification.devices.iter().find(|device| device.index == index)?.uuid.clone()
    });
    properties.extend(device.map(|uuid| ("uuid", uuid)));
    text.push_str("    <properties>\n");
    for (name, value) in properties {
        let _ = writeln!(text, "      <property name=\"{name}\" value=\"{}\"/>", escaped(&value));
    }
    text.push_str("    </properties>\n");
    let device = ran.device.map_or_else(String::new, |index| format!(".device{index}"));
    for check in &ran.checks {
        let _ = write!(
            text,
            "    <testcase name=\"{}\" classname=\"gpuseal.{}{device}\"",
            escaped(&check.name),
            ran.layer.word()
        );
        // What it took alone is known of few: the suite has the time of all.
        if let Some(seconds) = check.numbers.get("seconds").and_then(serde_json::Value::as_f64) {
            let _ = write!(text, " time=\"{seconds:.3}\"");
        }
        text.push_str(">\n");
        case(check, text);
        text.push_str("    </testcase>\n");
    }
    text.push_str("  </testsuite>\n");
}

fn case(check: &Check, text: &mut String) {
    let message = escaped(&check.text);
    let code = check.code;
    match check.outcome {
        Outcome::Skip => {
            let why = if check.optional { "does not apply: " } else { "not looked at: " };
            let _ = writeln!(text, "      <skipped message=\"{why}{message}\"/>");
        }
        Outcome::Fail => {
            let all = escaped(&words(check));
            let _ = writeln!(
                text,
                "      <failure type=\"{code}\" message=\"{message}\">{all}</failure>"
            );
        }
        Outcome::Hang | Outcome::Crash => {
            let all = escaped(&words(check));
            let word = check.outcome.word();
            let _ =
                writeln!(text, "      <error type=\"{word}\" message=\"{message}\">{all}</error>");
        }
        Outcome::Pass | Outcome::Warn => (),
    }
    let mut said = String::new();
    if check.outcome == Outcome::Warn {
        let _ = write!(said, "warning [{code}]: {}", words(check));
    }
    for (name, value) in &check.numbers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(said, "{name}={value}");
    }
    if !said.is_empty() {
        let _ = writeln!(text, "      <system-out>{}</system-out>", escaped(said.trim_end()));
    }
}

/// All that is said of it.
fn words(check: &Check) -> String {
    let mut text = format!("{}\n", check.text);
    for fact in &check.facts {
        let _ = match fact.source.as_str() {
            "" => writeln!(text, "= {}", fact.text),
            source => writeln!(text, "= {} [{source}]", fact.text),
        };
    }
    for help in &check.help {
        let _ = writeln!(text, "help: {help}");
    }
    text
}
