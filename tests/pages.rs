//! The pages of finding codes: each code has one, what it tells to type can be typed, and docs/codes/
//! shows the same. After a change of a page or a message: `UPDATE_DOCS=1 cargo test --test pages`.

mod support;

use std::collections::BTreeSet;

use clap::Parser as _;
use gpuseal::domain::Code;
use gpuseal::matrix::Matrix;
use gpuseal::report::explain;
use support::{root, run};

/// Letters of the shortest page that can be of use.
const SHORTEST: usize = 600;

#[test]
fn every_code_has_a_page_with_all_its_parts() {
    let matrix = Matrix::embedded();
    let codes: Vec<_> = matrix.pages().iter().map(|page| page.code).collect();
    assert_eq!(codes, Code::ALL, "a page for each code, in the order of the codes");
    for page in matrix.pages() {
        let (code, paragraphs) = (page.code, page.means.split('\n').count());
        assert!((2..=4).contains(&paragraphs), "{code}: {paragraphs} paragraphs");
        assert!(!page.look.is_empty(), "{code} says nowhere how to see it");
        assert!(page.fixes.len() >= 2, "{code} has {} ways out", page.fixes.len());
        assert!(!page.confused.is_empty(), "{code} is never taken for another");
        assert!(page.confused.iter().all(|(other, _)| *other != code), "{code} is not {code}");
        let texts = page.look.iter().chain(&page.fixes).chain(page.confused.iter().map(|(_, t)| t));
        let letters = page.means.len() + texts.map(String::len).sum::<usize>();
        assert!(letters >= SHORTEST, "{code}: a page of {letters} letters");
    }
}

/// The words of a command line; single quotes hold some together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn commands_of_gpuseal_are_real() {
    let matrix = Matrix::embedded();
    let mut seen = 0;
    for page in matrix.pages() {
        let own = explain::commands(page)
            .flat_map(|line| line.split("&&"))
            .map(words)
            .filter(|words| words.first().is_some_and(|word| word == "gpuseal"));
        for command in own {
            seen += 1;
            if let Err(err) = gpuseal::cli::Cli::try_parse_from(&command) {
                panic!("{}: `{}`: {err}", page.code, command.join(" "));
            }
            // What needs no project is run; an answer may well be no.
            let alone = match command[1].as_str() {
                "matrix" | "check" => true,
                "resolve" => command.contains(&"--gpu".to_owned()),
                _ => false,
            };
            if alone {
                let run = run(root(), &command[1..]);
                assert!(run.code < 2, "{}: `{}`: {}", page.code, command.join(" "), run.all());
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
}

/// Words in backticks that look like commands of this program are ones.
#[test]
fn commands_within_prose_are_real() {
    let mut seen = 0;
    for (name, text) in explain::docs(&Matrix::embedded()) {
        for quoted in text.split('`').filter(|part| part.starts_with("gpuseal ")) {
            let command = words(&quoted.replace("CODE", "ok").replace("KIND", "dockerfile"));
            let parsed = gpuseal::cli::Cli::try_parse_from(&command);
            assert!(parsed.is_ok(), "{name}: `{quoted}`: {}", parsed.expect_err("an error"));
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

#[test]
fn pages_name_no_registry_and_no_unknown_code() {
    let hosts = [
        concat!("pypi", ".org"),
        concat!("python", "hosted"),
        concat!("crates", ".io"),
        concat!("deb.", "debian"),
        concat!("npm", "js"),
    ];
    for (name, text) in explain::docs(&Matrix::embedded()) {
        for host in hosts {
            assert!(!text.contains(host), "{name} names {host}");
        }
        for code in text.split("gpuseal explain ").skip(1) {
            let word = code.split(['`', ' ', '\n']).next().unwrap_or_default();
            assert!(word == "CODE" || word.parse::<Code>().is_ok(), "{name} sends to `{word}`");
        }
    }
}

#[test]
fn docs_show_the_same_pages() {
    let folder = root().join("docs/codes");
    let files = explain::docs(&Matrix::embedded());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = fs_err::remove_dir_all(&folder);
        fs_err::create_dir_all(&folder).expect("a folder");
        for (name, text) in &files {
            fs_err::write(folder.join(name), text).expect("a file");
        }
    }
    let there: BTreeSet<String> = fs_err::read_dir(&folder)
        .expect("docs/codes")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let wanted: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(there, wanted, "`UPDATE_DOCS=1 cargo test --test pages` writes docs/codes");
    for (name, text) in files {
        let stands = fs_err::read_to_string(folder.join(&name)).expect("a page");
        // A checkout on Windows may have other line ends.
        assert!(
            stands.replace("\r\n", "\n") == text,
            "docs/codes/{name} is old: `UPDATE_DOCS=1 cargo test --test pages` writes it"
        );
    }
}

#[test]
fn a_page_is_told_in_eighty_columns_and_as_a_document() {
    for code in Code::ALL {
        let page = run(root(), &["explain", code.word()]);
        page.says(0, &["\nHow to see it\n", "\nWhat to do, cheapest first\n"]);
        let first = page.stdout.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        assert_eq!(first, format!("{code}: {}", code.meaning()));
        for line in page.stdout.lines().filter(|line| !line.trim_start().starts_with("$ ")) {
            assert!(line.chars().count() <= 80, "{code}: {line}");
        }
        let json = run(root(), &["explain", code.word(), "--format", "json"]);
        let document: serde_json::Value =
            serde_json::from_str(&json.stdout).expect("one JSON document");
        assert_eq!(document["schema"]["name"], "gpuseal.explain");
        assert_eq!(document["code"], code.word());
        assert!(document["fixes"][0][0]["text"].is_string(), "{}", json.stdout);
        let github = run(root(), &["explain", code.word(), "--format", "github"]);
        assert_eq!(github.stdout, page.stdout);
    }
}

#[test]
fn sources_are_told_on_request() {
    let brief = run(root(), &["explain", "driver-too-old"]);
    assert!(!brief.stdout.contains("cuda.mvcdoc"));
    run(root(), &["explain", "driver-too-old", "-v"]).says(0, &["document cuda.mvcdoc: Minor"]);
}

#[test]
fn codes_are_listed_and_strangers_are_told_so() {
    let list = run(root(), &["explain"]);
    let words: Vec<_> = Code::ALL.iter().map(|code| code.word()).collect();
    list.says(0, &words);
    run(root(), &["explain", "error[no-driver]: no NVIDIA driver is installed"])
        .says(0, &["no-driver: no NVIDIA driver"]);
    // The id of a message leads to the page of its code, which shows the message.
    let matrix = Matrix::embedded();
    let message = matrix.messages().first().expect("a message");
    run(root(), &["explain", &message.id]).says(0, &[message.code.word(), "Messages that lead"]);
    run(root(), &["explain", "driver-to-old"]).says(2, &["did you mean `driver-too-old`"]);
    run(root(), &["explain", "\u{1b}[31mx"]).says(2, &["is no finding code"]);
}

/// A matrix of somebody's own has rows, and no pages.
#[test]
fn a_matrix_without_pages_says_so() {
    let matrix = "matrix: {id: \"2026.11.0\", schema: 1, date: \"2026-11-21\"}\n";
    let folder = support::folder(&[("m.yaml", matrix)]);
    run(folder.path(), &["explain", "no-driver", "--matrix", "m.yaml"])
        .says(5, &["has no page for `no-driver`", "--matrix"]);
}
