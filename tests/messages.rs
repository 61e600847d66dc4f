//! Logs with a message in them give its cause and its line; ordinary logs give none.
//!
//! `tests/messages/known/NN-name.txt` is a log, `NN-name.toml` what a reader must get out of it;
//! `tests/messages/ordinary/` holds logs in which nothing about GPUs is wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gpuseal::diagnose::{Diagnosis, Role, read};
use gpuseal::domain::Code;
use gpuseal::matrix::{Matrix, Tells};
use serde::Deserialize;

static MATRIX: LazyLock<Matrix> = LazyLock::new(Matrix::embedded);

/// What a log holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The verdict.
    code: String,
    /// The row of the matrix that gives it.
    message: String,
    /// The line on which it rests.
    line: usize,
}

/// Texts of a folder, in the order of their names.
fn texts(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(folder);
    let mut paths: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    paths
}

fn diagnosed(bytes: &[u8]) -> Diagnosis {
    read(Cursor::new(bytes), &MATRIX).unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_known_message_is_found_where_it_stands() {
    let logs = texts("known");
    assert!(logs.len() >= 74, "{} logs", logs.len());
    let mut wrong = Vec::new();
    for path in logs {
        let text = fs_err::read(&path).unwrap();
        let wanted: Wanted =
            toml::from_str(&fs_err::read_to_string(path.with_extension("toml")).unwrap()).unwrap();
        let found = diagnosed(&text);
        let root = found.matches.first();
        let got = root.map(|m| (m.message.as_deref().unwrap_or_default(), m.line, m.is_root()));
        if found.verdict.word() != wanted.code
            || got != Some((wanted.message.as_str(), wanted.line, true))
        {
            wrong.push(format!(
                "{}: expected {} by {} in line {}, got {} by {got:?}",
                name(&path),
                wanted.code,
                wanted.message,
                wanted.line,
                found.verdict
            ));
        }
        if let Some(root) = root
            && (root.fix.is_empty() || root.cause.contains(['{', '}']))
        {
            wrong.push(format!("{}: {} says nothing to do", name(&path), root.cause));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ordinary_logs_give_no_cause() {
    let logs = texts("ordinary");
    assert!(logs.len() >= 100, "{} logs", logs.len());
    let mut wrong = Vec::new();
    for path in logs {
        let found = diagnosed(&fs_err::read(&path).unwrap());
        if !matches!(found.verdict, Code::Unknown | Code::Ok) {
            wrong.push(format!("{}: {}", name(&path), found.verdict));
        }
        for hit in &found.matches {
            // What the versions in the text come to has no row.
            let row = MATRIX.messages().iter().find(|m| Some(&m.id) == hit.message.as_ref());
            let tells = row.map_or(Tells::Cause, |row| row.tells);
            if tells == Tells::Cause && matches!(hit.role, Role::Root | Role::Other) {
                wrong.push(format!("{}: {} in `{}`", name(&path), hit.cause, hit.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text around a message may be anything that a terminal, a logger or a container makes of it.
#[test]
fn a_message_is_found_in_any_clothes() {
    let plain = "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device";
    let wrapped: String =
        plain.chars().collect::<Vec<_>>().chunks(40).fold(String::new(), |mut text, piece| {
            text.extend(piece);
            text.push('\n');
            text
        });
    for text in [
        plain.to_owned(),
        plain.to_uppercase(),
        wrapped,
        plain.replace('\n', "\r\n"),
        format!("\x1b[31m{}\x1b[0m", plain.replace(' ', " \x1b[1m")),
        format!("app-1  | 2026-03-11T09:12:00.1Z [rank3]: {plain}"),
        format!("#12 3.456 {plain}"),
        format!("epoch 1\repoch 2\r{plain}"),
        format!("> > {plain}"),
        plain.split(' ').collect::<Vec<_>>().join("\n[rank0]: "),
    ] {
        assert_eq!(diagnosed(text.as_bytes()).verdict, Code::ArchNotInBinary, "{text:?}");
    }
}

/// A row with a pattern is met by a log or by its own lines, so that no pattern is there in vain.
#[test]
fn every_pattern_holds_somewhere() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/rows.toml");
    let rows: BTreeMap<String, String> =
        toml::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for (id, text) in &rows {
        let found = diagnosed(text.as_bytes());
        met.extend(found.matches.iter().filter_map(|m| m.message.clone()));
        let role = found.matches.iter().find(|m| m.message.as_ref() == Some(id)).map(|m| m.role);
        let hint = MATRIX.messages().iter().any(|m| m.id == *id && m.tells == Tells::Hint);
        if role != Some(if hint { Role::Hint } else { Role::Root }) {
            wrong.push(format!("{id}: {role:?}, the verdict is {}", found.verdict));
        }
    }
    for path in texts("known") {
        let found = diagnosed(&fs_err::read(&path).unwrap());
        met.extend(found.matches.into_iter().filter_map(|m| m.message));
    }
    for row in MATRIX.messages().iter().filter(|m| m.pattern.is_some() && !met.contains(&m.id)) {
        wrong.push(format!("{}: no log and no lines hold it", row.id));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every fragment is met where it stands alone, so none is there in vain.
#[test]
fn every_fragment_can_be_met() {
    let mut never = Vec::new();
    let apart = "nothing here\n".repeat(130);
    for row in MATRIX.messages().iter().filter(|m| m.pattern.is_none()) {
        let near = row.beside.first().map_or("", String::as_str);
        let text = row.text.iter().fold(String::new(), |text, fragment| {
            format!("{text}{near}\n{apart}{near}\n{fragment}\n{apart}")
        });
        let found = diagnosed(text.as_bytes());
        let met = found
            .matches
            .iter()
            .find(|m| m.message.as_ref() == Some(&row.id))
            .map_or(0, |m| m.count);
        if met < row.text.len() {
            never.push(format!("{}: {met} of {}", row.id, row.text.len()));
        }
    }
    assert!(never.is_empty(), "{}", never.join("\n"));
}

/// A fragment that stands in another row's is met with it; the two must agree, or one hide the other.
#[test]
fn rows_that_share_a_fragment_do_not_contradict_each_other() {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let mut wrong = BTreeSet::new();
    for (at, one) in MATRIX.messages().iter().enumerate() {
        for other in &MATRIX.messages()[at + 1..] {
            let shared =
                one.text.iter().any(|a| other.text.iter().any(|b| squeezed(a) == squeezed(b)));
            // A pattern of each tells them apart.
            let apart = one.pattern.is_some() && other.pattern.is_some();
            let ordered = one.hides.contains(&other.id) || other.hides.contains(&one.id);
            let hint = one.tells == Tells::Hint || other.tells == Tells::Hint;
            if shared && one.code != other.code && !apart && !ordered && !hint {
                wrong.insert(format!("{} and {}", one.id, other.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}
