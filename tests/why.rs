//! `gpuseal why`: what it says rests on rows that exist. What it says of three examples and of
//! troubles stands in the stories `why-*`.

mod support;

use std::collections::BTreeSet;

use gpuseal::matrix::Matrix;
use serde_json::Value;
use support::{root, run};

fn chains(args: &[&str]) -> Value {
    let mut all = vec!["why", "--format", "json"];
    all.extend(args);
    let run = run(root(), &all);
    run.says(0, &["gpuseal.why"]);
    serde_json::from_str(&run.stdout).expect("one JSON document")
}

fn text<'v>(link: &'v Value, key: &str) -> &'v str {
    link[key].as_str().expect("a text")
}

#[test]
fn every_row_that_is_cited_exists() {
    let rows: BTreeSet<String> =
        Matrix::embedded().rows().into_iter().map(|r| format!("{}/{}", r.table, r.key)).collect();
    let tables: BTreeSet<&str> = rows.iter().filter_map(|row| row.split('/').next()).collect();
    let mut cited = 0;
    let mut examples = 0;
    for entry in fs_err::read_dir(root().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        if !path.join("gpuseal.yaml").exists() {
            continue;
        }
        let document = chains(&["--project", &path.display().to_string()]);
        examples += 1;
        for target in document["targets"].as_array().expect("targets") {
            for link in target["links"].as_array().expect("links") {
                let source = text(link, "source");
                for part in source.split("; ") {
                    let table = part.split('/').next().unwrap_or_default();
                    if !tables.contains(table) {
                        continue;
                    }
                    // Names have commas; the evidence stands behind the last.
                    let found = rows.contains(part)
                        || part.rsplit_once(", ").is_some_and(|(row, _)| rows.contains(row));
                    assert!(found, "`{part}` is no row: {}", text(link, "text"));
                    cited += 1;
                }
            }
        }
    }
    assert!(examples >= 6 && cited > 150, "{cited} rows in {examples} examples");
}

#[test]
fn the_chain_is_whole_and_in_order() {
    let document = chains(&["edge", "--project", "examples/mixed-fleet"]);
    let targets = document["targets"].as_array().expect("targets");
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0]["name"], "edge");
    let links = targets[0]["links"].as_array().expect("links");
    let mut order: Vec<&str> = links.iter().map(|link| text(link, "link")).collect();
    order.dedup();
    assert_eq!(
        order,
        [
            "gpu", "code", "torch", "index", "choice", "CUDA", "driver", "cuDNN", "NCCL", "Triton",
            "with", "Python", "glibc", "image"
        ]
    );
    // Every build beside the chosen one has its reason, and it is the reason `check` gives.
    let choices: Vec<&str> =
        links.iter().filter(|l| text(l, "link") == "choice").map(|l| text(l, "text")).collect();
    for build in ["cu130", "cu132"] {
        let said = choices.iter().find(|c| c.starts_with(&format!("not {build}: ")));
        let said = said.unwrap_or_else(|| panic!("nothing on {build}: {choices:?}"));
        let torch = format!("2.14.1+{build}");
        let check =
            run(root(), &["check", "--torch", &torch, "--gpu", "l4", "--driver", ">=535.161"]);
        let message = said.split_once(": ").expect("a reason").1;
        check.says(1, &[message]);
    }
}

/// What is said of a build that was not taken holds: where nothing but rank is named, it can be had.
#[test]
fn what_would_run_too_does() {
    let args = ["--no-project", "--gpu", "h100", "--driver", "580", "--torch", "2.14.1"];
    let document = chains(&args);
    let links = document["targets"][0]["links"].as_array().expect("links");
    let mut seen = 0;
    for said in links.iter().map(|l| text(l, "text")).filter(|t| t.contains("it would run too")) {
        let build = said.strip_prefix("not ").and_then(|rest| rest.split(':').next());
        let cuda = build.expect("a build");
        run(root(), &[&["resolve"], &args[..], &["--cuda", cuda]].concat())
            .says(0, &[&format!("2.14.1+{cuda}")]);
        seen += 1;
    }
    assert!(seen >= 2, "{seen} builds would run too");
}

#[test]
fn a_target_that_is_not_there_is_told_so() {
    run(root(), &["why", "egde", "--project", "examples/mixed-fleet"])
        .says(2, &["no target `egde`", "`train`, `edge`"]);
    // There is no stack, and the name is wrong as well: the name goes first.
    let none = ["--no-project", "--gpu", "v100", "--driver", "535", "--torch", "2.9.1+cu130"];
    run(root(), &[&["why", "edge"], &none[..]].concat()).says(2, &["no target `edge`"]);
    run(root(), &[&["why"], &none[..]].concat()).says(1, &["no stack satisfies"]);
    run(root(), &["why", "\u{1b}[2J", "--project", "examples/mixed-fleet"])
        .says(2, &["no target `\\u{1b}[2J`"]);
}
