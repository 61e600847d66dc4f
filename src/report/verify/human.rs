//! Text for people: the verdict, what decides it, a line for each layer, and what it is all about.

use std::fmt::Write as _;

use super::super::human::{BAD, DIM, GOOD, WARN, evidence, finding as say, help, paint};
use super::super::matrix_line;
use super::{about, allowed, counted, finding, skipped, speeds, summary};
use crate::error::Exit;
use crate::matrix::Matrix;
use crate::verify::{Check, Mode, Outcome, Ran, Verdict, Verification};

/// Text for people.
pub fn human(verification: &Verification, exit: Exit, matrix: &Matrix) -> String {
    let mut text = String::new();
    let style = match verification.verdict {
        Verdict::Proven => GOOD,
        Verdict::Unproven => WARN,
        Verdict::Failed => BAD,
    };
    let verdict = paint(style, verification.verdict.word());
    let _ = writeln!(text, "{verdict}: {}", summary(verification));
    let decisive = verification.decisive();
    if let Some(found) = decisive.and_then(|(ran, check)| finding(verification, ran, check)) {
        evidence(&found, &mut text);
        found.help.iter().for_each(|line| help(line, &mut text));
    }
    if let Some(words) = allowed(verification, exit) {
        let _ = writeln!(text, "{}", paint(BAD, words));
    }
    if verification.subject.mode == Mode::Static {
        let _ = writeln!(
            text,
            "files and versions alone: no GPU was asked, so nothing is said about what it computes"
        );
    }
    layers(verification, &mut text);
    let decisive = decisive.map(|(_, check)| check);
    for (ran, check, also) in blocks(verification) {
        // What decides stands above; of the same trouble in the same layer the names are enough.
        let above = decisive.is_some_and(|decisive| std::ptr::eq(decisive, check));
        if let Some(found) = finding(verification, ran, check).filter(|_| !above) {
            text.push('\n');
            say(&found, &mut text);
        }
        if !also.is_empty() {
            let whose =
                if above { format!("\nalso {} there", check.code) } else { "  also".into() };
            let _ = writeln!(text, "{whose}: {}", also.join(", "));
        }
    }
    let missing = |check: &Check| !decisive.is_some_and(|decisive| std::ptr::eq(decisive, check));
    let groups = skipped(verification, &missing);
    for (needed, heading) in [(true, "not looked at, and needed:"), (false, "does not apply:")] {
        let mut groups = groups.iter().filter(|group| group.needed == needed).peekable();
        if groups.peek().is_some() {
            let _ = writeln!(text, "\n{}", paint(if needed { WARN } else { DIM }, heading));
        }
        for group in groups {
            let _ = writeln!(text, "  {}: {}", group.whose(), group.text);
        }
    }
    let about: Vec<_> =
        about(verification).iter().map(|(name, value)| format!("{name} {value}")).collect();
    text.push('\n');
    if !about.is_empty() {
        let _ = writeln!(text, "{}", about.join("; "));
    }
    let last = format!("{:.1} s; {}", verification.seconds, matrix_line(matrix));
    let _ = writeln!(text, "{}", paint(DIM, last));
    text
}

/// The first check of each code in a layer that is to be told, with the names of those like it.
fn blocks(verification: &Verification) -> Vec<(&Ran, &Check, Vec<&str>)> {
    let mut blocks: Vec<(&Ran, &Check, Vec<&str>)> = Vec::new();
    for (ran, check) in verification.checks() {
        if matches!(check.outcome, Outcome::Pass | Outcome::Skip) {
            continue;
        }
        let like = |(of, first, _): &&mut (&Ran, &Check, Vec<&str>)| {
            std::ptr::eq(*of, ran) && (first.code, first.outcome) == (check.code, check.outcome)
        };
        match blocks.iter_mut().find(like) {
            Some((_, _, also)) => also.push(&check.name),
            None => blocks.push((ran, check, Vec::new())),
        }
    }
    blocks
}

/// One line for each layer and device.
fn layers(verification: &Verification, text: &mut String) {
    // L1 has a part that is about no single device.
    let several = |of: &Ran| {
        let devices = verification.layers.iter().any(|ran| ran.device.is_some_and(|i| i > 0));
        devices || verification.layers.iter().filter(|ran| ran.layer == of.layer).count() > 1
    };
    let name = |ran: &Ran| match ran.device {
        Some(index) if several(ran) => format!("{}, device {index}", ran.layer.title()),
        _ => ran.layer.title().to_owned(),
    };
    let width = |texts: &mut dyn Iterator<Item = String>| texts.map(|t| t.len()).max().unwrap_or(0);
    let names = width(&mut verification.layers.iter().map(name));
    let counts = width(&mut verification.layers.iter().map(counted));
    for ran in &verification.layers {
        let outcome = ran.outcome();
        let style = match outcome {
            Outcome::Pass => GOOD,
            Outcome::Warn | Outcome::Skip => WARN,
            _ => BAD,
        };
        let line = format!(
            "  {:<names$}  {}  {:>counts$}  {:>5.1} s  {}",
            name(ran),
            paint(style, format_args!("{:<5}", outcome.word())),
            counted(ran),
            ran.seconds,
            speeds(ran)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
