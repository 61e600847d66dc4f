//! The order of the house, held by reading it: who may know whom, who may print, what is pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gpuseal::error::Exit;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below `src/`, with their room (`resolve`, `yaml`, `main` ...) and their code: no
/// comments, and nothing from the first `#[cfg(test)]` on.
fn sources() -> Vec<(PathBuf, String, String)> {
    let mut list = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && path.file_name().is_some_and(|n| n != "tests.rs")
            {
                let text = fs_err::read_to_string(&path).expect("a file");
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                let code = code
                    .lines()
                    .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
                    .collect::<Vec<_>>()
                    .join("\n");
                let inside =
                    path.strip_prefix(root().join("src")).expect("below src").to_path_buf();
                let room = inside
                    .components()
                    .next()
                    .expect("a name")
                    .as_os_str()
                    .to_string_lossy()
                    .trim_end_matches(".rs")
                    .to_owned();
                list.push((inside, room, code));
            }
        }
    }
    list.sort();
    assert!(list.len() > 20, "only {} files were found", list.len());
    list
}

/// Rooms of the crate that a text names, as `crate::room`, `gpuseal::room` or `use crate::{a, b}`.
fn named(code: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = |text: &str| text.chars().take_while(|&c| is_word(c)).collect::<String>();
    let mut rooms = BTreeSet::new();
    for prefix in ["crate::", "gpuseal::"] {
        for (at, _) in code.match_indices(prefix) {
            let after = &code[at + prefix.len()..];
            match after.strip_prefix('{') {
                None => {
                    rooms.insert(word(after));
                }
                // Names at the first depth of the braces.
                Some(list) => {
                    let mut depth = 0;
                    let mut fresh = true;
                    for (i, c) in list.char_indices() {
                        match c {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => fresh = true,
                            _ if fresh && is_word(c) => {
                                rooms.insert(word(&list[i..]));
                                fresh = false;
                            }
                            _ => (),
                        }
                    }
                }
            }
        }
    }
    rooms.retain(|room| room.starts_with(|c: char| c.is_lowercase()));
    rooms
}

/// What each room may know of the others.
fn may(room: &str) -> &'static [&'static str] {
    match room {
        "requirements" | "matrix" => &["domain", "tree", "yaml"],
        "resolve" => &["domain", "requirements", "matrix"],
        "lock" => &["domain", "tree", "matrix", "resolve"],
        "closure" => &["domain", "index", "lock"],
        "net" => &["domain", "tree", "index"],
        "render" => &["domain", "lock", "yaml"],
        "host" => &["domain", "yaml"],
        "index" | "tree" => &["domain"],
        "doctor" => &["domain", "host", "matrix", "resolve", "lock"],
        "diagnose" => &["domain", "host", "matrix", "requirements", "resolve", "doctor"],
        "verify" => &["domain", "host", "matrix", "lock", "doctor"],
        "report" => &[
            "domain",
            "host",
            "requirements",
            "matrix",
            "resolve",
            "lock",
            "render",
            "doctor",
            "diagnose",
            "verify",
            "error",
        ],
        "error" => &[
            "domain",
            "host",
            "requirements",
            "matrix",
            "resolve",
            "lock",
            "render",
            "index",
            "closure",
            "net",
        ],
        "cli" => &[
            "domain",
            "host",
            "requirements",
            "matrix",
            "resolve",
            "lock",
            "render",
            "index",
            "closure",
            "net",
            "doctor",
            "diagnose",
            "verify",
            "report",
            "error",
            "yaml",
        ],
        "main" => &["cli", "error"],
        // The ground floor, the reader of YAML, and the map.
        "domain" | "yaml" | "lib" => &[],
        other => panic!("`{other}` is a new room: say here whom it may know"),
    }
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources() {
        for other in named(&code) {
            if other != room && !may(&room).contains(&other.as_str()) {
                wrong.push(format!("src/{}: `{room}` may not know `{other}`", path.display()));
            }
        }
        // `super::super` would be a way around.
        let depth = path.components().count() - usize::from(path.ends_with("mod.rs"));
        let ups = "super::".repeat(depth);
        if code.contains(&ups) && room != "lib" {
            wrong.push(format!("src/{}: `{ups}` leaves the room", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = "use crate::domain::{Gpu, Code};\nuse crate::{error::Error, lock::{self, drift}, yaml};\nlet x = crate::matrix::Matrix::new();\npub(crate) fn f() {}";
    assert_eq!(
        named(code).into_iter().collect::<Vec<_>>(),
        ["domain", "error", "lock", "matrix", "yaml"]
    );
    assert_eq!(named("gpuseal::cli::main()").into_iter().collect::<Vec<_>>(), ["cli"]);
}

/// The program's words go through `report` and `cli`; a library that prints cannot be tested.
#[test]
fn only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources() {
        for (line, number) in code.lines().zip(1..) {
            let prints = ["println!", "print!", "dbg!", "io::stdout", "io::stderr"]
                .iter()
                .any(|word| line.contains(word));
            if prints && room != "cli" {
                wrong.push(format!("src/{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Same input, same bytes: the rooms that decide and write texts look at nothing else.
#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources() {
        if !["domain", "resolve", "render", "index", "closure", "doctor", "diagnose"]
            .contains(&room.as_str())
        {
            continue;
        }
        for (line, number) in code.lines().zip(1..) {
            let outside = [
                "std::env",
                "env::var",
                "SystemTime",
                "Instant",
                "std::net",
                "TcpStream",
                "std::fs",
                "fs_err",
                "File::",
                "std::process",
                "Command",
                "std::thread",
                "rand::",
                "HashMap",
                "HashSet",
            ];
            if let Some(word) = outside.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("src/{}:{number}: `{word}`: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The README's table of exit codes is the program's: number and meaning, in order.
#[test]
fn the_readme_lists_the_exit_codes() {
    let path = root().join("README.md");
    if !path.exists() {
        return;
    }
    let readme = fs_err::read_to_string(path).expect("README.md");
    let mut rows = Vec::new();
    for line in readme.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if let [code, meaning] = cells[..]
            && let Ok(code) = code.trim_matches('`').parse::<u8>()
        {
            rows.push((code, meaning.to_owned()));
        }
    }
    let promised: Vec<(u8, String)> =
        Exit::ALL.iter().map(|&(exit, meaning)| (exit as u8, meaning.to_owned())).collect();
    assert_eq!(rows, promised, "the table in README.md is not `Exit::ALL`");
}

/// The help shows the same codes.
#[test]
fn the_exit_codes_are_numbered_as_promised() {
    let numbers: Vec<u8> = Exit::ALL.iter().map(|&(exit, _)| exit as u8).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 70, 130]);
}

#[test]
fn every_template_is_used() {
    let render: String = sources()
        .into_iter()
        .filter(|(_, room, _)| room == "render")
        .map(|(_, _, code)| code)
        .collect();
    let mut count = 0;
    for entry in fs_err::read_dir(root().join("templates")).expect("templates") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(render.contains(&name), "templates/{name} is named nowhere in src/render");
        count += 1;
    }
    assert!(count > 0, "no template was found");
}

/// An example without a reason is only a file.
#[test]
fn examples_say_why() {
    for entry in fs_err::read_dir(root().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path().join("gpuseal.yaml");
        if path.exists() {
            let text = fs_err::read_to_string(&path).expect("a file");
            assert!(text.starts_with("# "), "{} begins without saying what it is", path.display());
        }
    }
}
