//! Every fault of docs/verify-faults.md is injected, and comes to the exit, the code and the words that stand there.
//! `UPDATE_DOCS=1` writes what came of it into the page, to be read.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use serde_json::Value;
use support::machine::{Machine, machine};

const PAGE: &str = "docs/verify-faults.md";

/// A row of the page: what is wrong, the layer, the switch of the fakes; then exit, code and words.
struct Row<'p> {
    given: [&'p str; 3],
    told: [&'p str; 3],
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [what, layer, switch, exit, code, words] = cells[..] else {
        panic!("not six cells: {cells:?}");
    };
    Some(Row { given: [what, layer, switch], told: [exit, code, words] })
}

/// What the program says: its exit, and the code and the words of the check that decides.
fn injected(machine: &Machine, row: &Row<'_>) -> [String; 3] {
    let [_, layer, switch] = row.given.map(|cell| cell.trim_matches('`'));
    let missing: Vec<&str> = switch.strip_prefix("without ").into_iter().collect();
    support::fakes::place_without(&machine.driver(), "libcuda.so.1", &missing);
    let faults = if missing.is_empty() { switch } else { "" };
    let mut command = machine.verify(faults);
    // One data type shows what is wrong.
    command.args(["--layer", layer, "--dtype", "fp32"]);
    if faults.contains("=hang") {
        command.args(["--phase-limit", "5"]);
    }
    let run = support::finish(&mut command);
    let document: Value = run.stdout.parse().unwrap_or_else(|_| panic!("{switch}: {}", run.all()));
    let checks = document["layers"].as_array().expect("checks");
    let wrong = |check: &&Value| {
        ["fail", "hang", "crash"].contains(&check["outcome"].as_str().expect("a word"))
    };
    let missed = |check: &&Value| check["outcome"] == "skip" && check["needed"] == true;
    let decides = checks.iter().find(wrong).or_else(|| checks.iter().find(missed));
    let [code, words] = match decides {
        Some(check) => ["code", "text"].map(|key| check[key].as_str().expect("a word").to_owned()),
        None => ["ok".into(), document["verdict"].as_str().expect("a verdict").to_owned()],
    };
    let folder = machine.folder().display().to_string();
    let words = words.replace(&folder, "").replace(" (core dumped)", "").replace('|', "\\|");
    [run.code.to_string(), format!("`{code}`"), words]
}

#[test]
fn every_fault_is_caught_and_named_as_documented() {
    let page = fs_err::read_to_string(support::root().join(PAGE)).expect("the page");
    let rows: Vec<Row<'_>> = page.lines().filter_map(row).skip(2).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    // Four at a time: most of it is waiting for children.
    let parts: Vec<&[Row<'_>]> = rows.chunks(rows.len().div_ceil(4)).collect();
    let came: Vec<[String; 3]> = std::thread::scope(|scope| {
        let started: Vec<_> = parts
            .iter()
            .map(|part| {
                scope.spawn(|| {
                    let machine = machine();
                    part.iter().map(|row| injected(&machine, row)).collect::<Vec<_>>()
                })
            })
            .collect();
        started.into_iter().flat_map(|part| part.join().expect("rows")).collect()
    });
    let mut new = page.clone();
    let mut wrong = Vec::new();
    for (Row { given, told }, came) in rows.iter().zip(&came) {
        let came = came.each_ref().map(String::as_str);
        // Where the words go on with what this machine has, `…` stands for the rest.
        let begins = told[2].strip_suffix('…').is_some_and(|words| came[2].starts_with(words));
        if came[..2] != told[..2] || !begins && came[2] != told[2] {
            let line =
                |told: [&str; 3]| format!("| {} | {} |", given.join(" | "), told.join(" | "));
            new = new.replace(&line(*told), &line(came));
            wrong.push(format!("{}\n{}", line(*told), line(came)));
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs_err::write(support::root().join(PAGE), new).expect("the page");
    } else {
        assert!(wrong.is_empty(), "the page, and what came:\n{}", wrong.join("\n\n"));
    }
}
