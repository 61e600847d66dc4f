//! One result in every voice: what reads it is a person, a program, a runner, a scanner or a summary.
//! New texts: `INSTA_UPDATE=always cargo test --test voices`, then read them.

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Run, finish, folder, gpuseal, masked, root, run, write};

const ASKED: &str = "# train comes first here\ntorch: \"2.8.0\"\npython: \"3.12\"\ntargets:\n  train:\n    gpus: [h100]\n    driver: \"580\"\n";
const STRANGE: &str = "targets:\n  a:\n    gpus: [h100]\n    gpu: \"`x` | <b>@me</b> ::error::\"\n";

/// A place and what is asked there.
fn cases() -> Vec<(&'static str, tempfile::TempDir, Vec<String>, i32)> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let asked = || folder(&[("gpuseal.yaml", ASKED)]);
    let locked = || {
        let place = asked();
        run(place.path(), &["lock", "--offline", "--render", "dockerfile"]).says(0, &[]);
        place
    };
    let edited = locked();
    write(
        edited.path(),
        "Dockerfile",
        "# Written by gpuseal from gpuseal.lock: gpuseal render dockerfile\n```\n",
    );
    let clash = "torch==2.8.0+cu128\n";
    let split = folder(&[
        ("sub dir/requirements.txt", clash),
        (
            "sub dir/pyproject.toml",
            "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"torch==2.7.0\"]\n",
        ),
    ]);
    let inputs = vec!["inputs".to_owned(), "sub dir".to_owned()];
    let host = std::fs::read_to_string(root().join("tests/hosts/cublas-shadowed.json"));
    let host = folder(&[("host.json", &host.expect("a record"))]);
    vec![
        ("resolve", asked(), words("resolve"), 0),
        ("resolve-unsatisfiable", asked(), words("resolve --driver 450.80.02"), 1),
        ("resolve-check-stale", locked(), words("resolve --check --torch 2.7.1"), 1),
        (
            "check",
            folder(&[]),
            words("check --torch 2.6.0+cu126 --gpu b200 --driver 535.161.08"),
            1,
        ),
        ("lock-check", locked(), words("lock --check --render dockerfile"), 0),
        ("lock-check-stale", locked(), words("lock --check --torch 2.7.1"), 1),
        ("lock-check-missing", asked(), words("lock --check"), 1),
        ("lock-check-render-stale", edited, words("lock --check --render dockerfile"), 1),
        ("render-check-missing", locked(), words("render install --check"), 1),
        ("inputs-contradict", split, inputs, 1),
        ("doctor", host, words("doctor --facts host.json"), 1),
        ("error", folder(&[("gpuseal.yaml", STRANGE)]), words("resolve"), 2),
        ("why", asked(), words("why train"), 0),
        ("explain", folder(&[]), words("explain slow"), 0),
    ]
}

fn say(place: &Path, args: &[String], format: &str) -> Run {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(place, &[&args[..], &["--format", format]].concat())
}

/// Without what changes with a release or with the pages of the codes.
fn shown(run: &Run, place: &Path, format: &str) -> String {
    let mut text = run.stdout.clone();
    if format == "sarif" {
        let mut log: Value = serde_json::from_str(&text).expect("JSON");
        for rule in log["runs"][0]["tool"]["driver"]["rules"].as_array_mut().expect("rules") {
            let rule = rule.as_object_mut().expect("a rule");
            rule.retain(|key, _| !["fullDescription", "help"].contains(&key.as_str()));
        }
        text = serde_json::to_string_pretty(&log).expect("JSON");
    }
    if format == "json" && text.contains("\"difference\"") {
        let mut document: Value = serde_json::from_str(&text).expect("JSON");
        for list in ["/files", "/lock/files"] {
            for file in
                document.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                let patch = file["difference"].as_str().expect("a patch").to_owned();
                file["difference"] = patch.lines().next().unwrap_or_default().into();
            }
        }
        text = serde_json::to_string_pretty(&document).expect("JSON");
    }
    // What is rendered has its own tests: of a patch its names are enough.
    if let Some((before, rest)) = text.split_once("\n@@ ") {
        let fence = rest.find("\n````").or(rest.find("\n```")).expect("a fence");
        text = format!("{before}{}", &rest[fence..]);
    }
    let text = masked(&text, place).replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    format!("exit {}\n---\n{}", run.code, text.trim_end())
}

#[test]
fn every_voice_tells_the_same() {
    for (name, place, args, code) in cases() {
        for format in ["github", "json", "markdown", "sarif"] {
            let run = say(place.path(), &args, format);
            // A scanner that prints its findings has not failed; what it prints says how it is.
            let ends = if format == "sarif" && code == 1 { 0 } else { code };
            assert_eq!(run.code, ends, "{name} {format}: {}", run.all());
            match format {
                "sarif" => valid(&run.stdout, code, name),
                "json" => {
                    let document: Value = serde_json::from_str(&run.stdout).expect("one document");
                    assert!(document["schema"]["name"].is_string(), "{name}");
                }
                _ => (),
            }
            // Those documents have snapshots elsewhere.
            if format == "json"
                && !name.contains("lock")
                && !name.contains("render")
                && name != "error"
            {
                continue;
            }
            if ["why", "explain"].contains(&name) && format != "markdown" {
                continue;
            }
            insta::with_settings!({
                snapshot_path => root().join("tests/voices"), prepend_module_to_snapshot => false,
                omit_expression => true,
            }, {
                insta::assert_snapshot!(format!("{name}.{format}"), shown(&run, place.path(), format));
            });
        }
    }
}

/// What the standard requires, and GitHub on top of it.
#[track_caller]
fn valid(text: &str, exit: i32, name: &str) {
    let log: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(log["version"], "2.1.0", "{name}");
    assert!(log["$schema"].as_str().expect("a schema").contains("sarif-schema-2.1.0"));
    let [run] = &log["runs"].as_array().expect("runs")[..] else { panic!("{name}: one run") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "gpuseal");
    assert_eq!(driver["version"], env!("CARGO_PKG_VERSION"));
    let rules = driver["rules"].as_array().expect("rules");
    for rule in rules {
        for key in ["id", "helpUri"] {
            assert!(rule[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {rule}");
        }
        let text = |key: &str| rule[key]["text"].as_str().unwrap_or("-").chars().count();
        for key in ["shortDescription", "fullDescription"] {
            assert!((1..=1024).contains(&text(key)), "{name}: {key} of {rule}");
        }
        assert!(!rule.to_string().contains("\\u001b"), "{name}: colours in {rule}");
    }
    let ids: std::collections::BTreeSet<_> = rules.iter().map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "{name}: a rule stands twice");
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["exitCode"], exit, "{name}");
    let words = invocation["exitCodeDescription"].as_str().expect("words");
    assert_eq!(words.starts_with("done"), exit == 0, "{name}: {words}");
    assert_eq!(invocation["executionSuccessful"], [0, 1, 5].contains(&exit), "{name}");
    let id = run["automationDetails"]["id"].as_str().expect("an id");
    assert!(
        id.starts_with("gpuseal/") && id.ends_with('/') && !id.contains("error"),
        "{name}: {id}"
    );
    let mut prints = std::collections::BTreeSet::new();
    for result in run["results"].as_array().expect("results") {
        let index =
            usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("small");
        assert_eq!(result["ruleId"], rules[index]["id"], "{name}");
        let level = result["level"].as_str().expect("a level");
        assert!(["error", "warning", "note"].contains(&level), "{name}: {level}");
        assert!(!result["message"]["text"].as_str().expect("a message").is_empty(), "{name}");
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().expect("a place");
        assert!(!uri.is_empty() && !uri.contains([' ', '\\', ':']), "{name}: {uri}");
        if !place["region"].is_null() {
            assert!(place["region"]["startLine"].as_u64().is_some_and(|line| line > 0), "{name}");
        }
        let print = result["partialFingerprints"]["gpuseal/v1"].as_str().expect("a fingerprint");
        assert!(print.len() == 64 && prints.insert(print.to_owned()), "{name}: {print}");
    }
}

#[test]
fn reports_stand_beside_the_answer_and_leave_the_exit_code_alone() {
    let place = folder(&[("gpuseal.yaml", ASKED), ("notes.md", "# Before\n")]);
    let at = place.path();
    let text = |name: &str| std::fs::read_to_string(at.join(name)).expect(name);
    let args = [
        "resolve",
        "--driver",
        "450.80.02",
        "--report",
        "sarif=out/scan.sarif",
        "--report",
        "json=out/a=b.json",
        "--report",
        "markdown=notes.md",
        "--report",
        "human=out/human.log",
        "--report",
        "github=out/github.log",
    ];
    let first = run(at, &args);
    first.says(1, &["no stack satisfies"]);
    valid(&text("out/scan.sarif"), 1, "a report");
    let document: Value = serde_json::from_str(&text("out/a=b.json")).expect("JSON");
    assert_eq!(document["result"], "unsatisfiable");
    assert_eq!(text("out/human.log"), first.stdout);
    assert!(text("out/github.log").starts_with("::error file=gpuseal.yaml,line=5,"));
    // A summary goes on; files are written anew.
    run(at, &args).says(1, &[]);
    let notes = text("notes.md");
    assert!(notes.starts_with("# Before\n### "), "{notes}");
    assert_eq!(notes.matches("gpuseal resolve: unsatisfiable").count(), 2);
    assert_eq!(text("out/human.log"), first.stdout);
    // An error is told in the same files.
    write(at, "gpuseal.yaml", STRANGE);
    run(at, &args).says(2, &["there is no key `gpu`"]);
    valid(&text("out/scan.sarif"), 2, "an error");
    let document: Value = serde_json::from_str(&text("out/a=b.json")).expect("JSON");
    assert_eq!(
        (&document["exit"], &document["path"], &document["line"]),
        (&2.into(), &"gpuseal.yaml".into(), &4.into())
    );
    assert!(text("out/human.log").starts_with("error: target `a`"));
}

#[test]
fn reports_that_cannot_be() {
    let place = folder(&[("gpuseal.yaml", ASKED), ("file", "")]);
    let at = place.path();
    run(at, &["resolve", "--report", "sarif"]).says(2, &["--report", "FORMAT=FILE"]);
    run(at, &["resolve", "--report", "sarif="]).says(2, &["FORMAT=FILE"]);
    run(at, &["resolve", "--report", "xml=x"])
        .says(2, &["no format `xml`", "human, json, github, sarif, markdown"]);
    // An answer that was to be kept and is not is no success.
    let kept = run(at, &["resolve", "--report", "json=file/x.json", "--report", "sarif=s.sarif"]);
    kept.says(2, &["file", "TARGET"]);
    valid(&std::fs::read_to_string(at.join("s.sarif")).expect("a report"), 0, "the other one");
    run(at, &["init", "--report", "json=x.json"]).says(2, &["--report", "none"]);
    run(at, &["matrix", "list", "--format", "sarif"]).says(2, &["text or JSON"]);
}

/// A mistyped name costs no file, and the command does nothing before that is known.
#[test]
fn a_report_takes_the_place_of_reports_alone() {
    let place = folder(&[("gpuseal.yaml", ASKED), ("empty", ""), ("requirements.txt", "x\n")]);
    let at = place.path();
    for (report, file) in [
        ("json=gpuseal.yaml", "gpuseal.yaml"),
        ("sarif=./gpuseal.yaml", "gpuseal.yaml"),
        ("markdown=gpuseal.yaml", "gpuseal.yaml"),
        ("human=requirements.txt", "requirements.txt"),
        ("github=requirements.txt", "requirements.txt"),
    ] {
        let before = std::fs::read(at.join(file)).expect("a file");
        let asked = run(at, &["lock", "--offline", "--report", report]);
        asked.says(2, &[file, "help: name another file"]);
        assert_eq!(asked.stderr.matches("error: ").count(), 1, "{}", asked.stderr);
        assert_eq!(std::fs::read(at.join(file)).expect("a file"), before, "{report}");
        assert!(!at.join("gpuseal.lock").exists(), "{report}: it was locked");
    }
    // Nor a file that the command itself writes meanwhile.
    run(at, &["lock", "--offline", "--report", "json=gpuseal.lock"]).says(2, &["gpuseal.lock"]);
    run(at, &["lock", "--check"]).says(0, &[]);
    run(at, &["resolve", "--report", "json=r.json", "--report", "sarif=sub/../r.json"])
        .says(2, &["same file", "`r.json` and `sub/../r.json`"]);
    for format in ["json", "sarif", "human", "github"] {
        let report = format!("{format}=empty");
        run(at, &["resolve", "--report", &report]).says(0, &[]);
        write(at, "empty", "");
    }
    // A report in the place of one, whatever its voice.
    run(at, &["resolve", "--report", "json=r"]).says(0, &[]);
    run(at, &["resolve", "--report", "sarif=r"]).says(0, &[]);
    run(at, &["resolve", "--report", "json=r"]).says(0, &[]);
    if cfg!(unix) {
        for format in ["json", "markdown"] {
            let reports = [format!("{format}=/dev/stdout"), format!("{format}=/dev/null")];
            let args = ["resolve", "--report", &reports[0], "--report", &reports[1]];
            run(at, &args).says(0, &["TARGET", "NVIDIA H100"]);
        }
    }
}

/// Names of the project reach every voice as text.
#[test]
fn what_users_write_stays_text() {
    let name = "x`](javascript:a)<img src=x>@me\n::set-output name=a::b %0A ##[error]";
    let place = folder(&[("gpuseal.yaml", ASKED)]);
    for format in ["markdown", "github", "sarif", "json"] {
        let args = ["resolve", "--target", name, "--format", format];
        let run = run(place.path(), &args);
        assert_eq!(run.code, 2, "{}", run.all());
        for line in run.all().lines().map(str::trim_start) {
            assert!(!line.starts_with("::set-output"), "{format}: {line}");
        }
        if format == "markdown" {
            assert!(!run.stdout.contains("<img") && !run.stdout.contains("@me"), "{}", run.stdout);
            assert!(!run.stdout.contains("](javascript"), "{}", run.stdout);
        }
        if format == "github" {
            assert!(!run.all().contains("##["), "{}", run.all());
        }
    }
}

/// Files are named as the repository has them, however the project was given.
#[test]
fn files_are_named_from_the_root_of_the_repository() {
    let place = folder(&[("sub/gpuseal.yaml", ASKED), ("other/x", "")]);
    let at = place.path();
    let whole = at.join("sub").display().to_string();
    for (here, project, workspace, named) in [
        (".", whole.as_str(), None, "sub/gpuseal.yaml"),
        (".", "other/../sub", None, "sub/gpuseal.yaml"),
        ("sub", ".", None, "gpuseal.yaml"),
        ("sub", ".", Some(at), "sub/gpuseal.yaml"),
        ("other", "../sub", Some(at), "sub/gpuseal.yaml"),
    ] {
        let said = |format: &str| {
            let mut command = gpuseal(&at.join(here));
            command.args(["resolve", "--driver", "450.80.02", "--format", format]);
            command.args(["--project", project]);
            if let Some(root) = workspace {
                command.env("GITHUB_WORKSPACE", root);
            }
            finish(&mut command).stdout
        };
        let log: Value = serde_json::from_str(&said("sarif")).expect("JSON");
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], named, "{here} {project}");
        let note = said("github");
        assert!(note.starts_with(&format!("::error file={named},")), "{here} {project}: {note}");
    }
}

/// A runner takes no line of a text for people for a command.
#[test]
fn a_runner_reads_no_command_in_a_text_for_people() {
    let line = "##[error]CUDA error: no kernel image is available for execution on the device\n";
    let place = folder(&[("log", line)]);
    let mut command = gpuseal(place.path());
    command.args(["diagnose", "log"]).env("GITHUB_ACTIONS", "true");
    let tamed = finish(&mut command);
    tamed.says(0, &["## [error]CUDA error"]);
    assert!(!tamed.all().contains("##["), "{}", tamed.all());
    run(place.path(), &["diagnose", "log"]).says(0, &["##[error]CUDA error"]);
}
