//! One folder of `tests/projects/` is one project in the style of a real one. `expect.txt` is what a
//! person reads in its files, written before the program was run on it; the snapshots beside it are
//! everything that the program reads, and what it resolves for two cards.
//!
//! Lines of `expect.txt`:
//!
//! ```text
//! exit N                        exit code of `inputs`
//! error WORDS                   words of the error
//! python SPEC                   `requires_python`
//! torch SPEC                    versions of torch, of the one answer
//! cuda VARIANT                  the build that all of it asks for, or `none`
//! answer NAME VARIANT           the build of one set of options
//! req NAME | SPEC | key=value   a requirement: extra, group, index, kind, marker, at=FILE:LINE
//! noreq NAME                    no requirement of that name
//! finding CODE FILE:LINE        a finding that names the line; `*`: any line
//! nofinding CODE                none of that code
//! ```

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Run, copy, masked, root};

fn projects() -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = fs_err::read_dir(root().join("tests/projects"))
        .expect("tests/projects")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("expect.txt").is_file())
        .collect();
    list.sort();
    assert!(list.len() >= 100, "only {} projects were found", list.len());
    list
}

fn name(project: &Path) -> String {
    project.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Runs the program on a copy of the project, whose folder is `project` in the current one.
fn run(project: &Path, args: &[&str]) -> (Run, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(project, folder.path());
    // The fence of a project without a repository around it is the project itself.
    fs_err::create_dir(folder.path().join(".git")).expect("a folder");
    (support::run(folder.path(), args), folder)
}

/// Clauses of a specifier: their order, and zeros at the end of a version, say nothing.
fn clauses(spec: &str) -> BTreeSet<String> {
    spec.split(',')
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
        .map(|clause| {
            let (public, label) = clause.split_once('+').map_or((clause, ""), |(p, l)| (p, l));
            let mut public = public.to_owned();
            while !public.starts_with("~=") && public.ends_with(".0") {
                public.truncate(public.len() - 2);
            }
            format!("{public}+{label}")
        })
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("none")
}

fn line_of(value: &Value) -> String {
    format!("{}:{}", text(&value["origin"], "file"), value["origin"]["line"])
}

fn has(requirement: &Value, key: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.replace('\'', "\"").replace(['_', ' '], "");
    match key {
        "at" => line_of(requirement) == wanted,
        "marker" => plain(text(requirement, "marker")) == plain(wanted),
        "index" => text(requirement, "index").trim_end_matches('/') == wanted.trim_end_matches('/'),
        "extra" | "group" | "kind" => text(requirement, key) == wanted,
        other => panic!("`{other}` is no key of a requirement"),
    }
}

fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map_or(&[], Vec::as_slice)
}

/// Whether a line of `expect.txt` holds.
fn holds(expected: &str, run: &Run, document: &Value) -> bool {
    let (word, rest) = expected.split_once(' ').unwrap_or((expected, ""));
    let rest = rest.trim();
    match word {
        "exit" => run.code.to_string() == rest,
        "error" => run.stderr.contains(rest),
        "python" => clauses(document["requires_python"].as_str().unwrap_or("")) == clauses(rest),
        "torch" => match list(document, "answers") {
            [one] => one["torch"].as_str().is_some_and(|spec| clauses(spec) == clauses(rest)),
            _ => false,
        },
        "cuda" => text(&document["cuda"], "variant") == rest,
        "answer" => {
            let (name, variant) = rest.split_once(' ').expect("a name and a build");
            list(document, "answers")
                .iter()
                .any(|a| text(a, "name") == name && text(a, "variant") == variant)
        }
        "req" => {
            let mut parts = rest.split('|').map(str::trim);
            let (name, spec) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            let keys: Vec<_> = parts
                .next()
                .unwrap_or("")
                .split_whitespace()
                .map(|pair| pair.split_once('=').expect("key=value"))
                .collect();
            list(document, "requirements").iter().any(|r| {
                text(r, "name") == name
                    && clauses(text(r, "spec")) == clauses(spec)
                    && keys.iter().all(|(key, value)| has(r, key, value))
            })
        }
        "noreq" => !list(document, "requirements").iter().any(|r| text(r, "name") == rest),
        "nofinding" => !list(document, "findings").iter().any(|f| text(f, "code") == rest),
        "finding" => {
            let (code, place) = rest.split_once(' ').expect("a code and a line");
            list(document, "findings").iter().filter(|f| text(f, "code") == code).any(|f| {
                place == "*"
                    || format!("{}:{}", text(f, "path"), f["line"]) == place
                    || list(f, "facts").iter().any(|fact| text(fact, "source") == place)
            })
        }
        other => panic!("`{other}` is no word of expect.txt"),
    }
}

/// What a person reads is what the program reads.
#[test]
fn a_person_reads_the_same() {
    let mut wrong = String::new();
    let mut count = 0;
    for project in projects() {
        let (run, _folder) = run(&project, &["inputs", "project", "--format", "json"]);
        let document = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
        let expected = fs_err::read_to_string(project.join("expect.txt")).expect("expect.txt");
        for line in expected.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            count += 1;
            if !holds(line, &run, &document) {
                let _ = writeln!(wrong, "{}: {line}", name(&project));
            }
        }
    }
    assert!(wrong.is_empty(), "of {count} lines these do not hold:\n{wrong}");
    assert!(count > 500, "only {count} lines were compared");
}

/// A credential of a project's file is in no output.
#[test]
fn credentials_stay_where_they_are() {
    for project in projects() {
        let expected = fs_err::read_to_string(project.join("expect.txt")).expect("expect.txt");
        let secrets: Vec<&str> =
            expected.lines().filter_map(|line| line.strip_prefix("# secret ")).collect();
        if secrets.is_empty() {
            continue;
        }
        let commands: [&[&str]; 4] = [
            &["inputs", "project"],
            &["inputs", "project", "--format", "json"],
            &["resolve", "-v", "--project", "project", "--gpu", "a100", "--driver", "535"],
            &["init", "--project", "project"],
        ];
        for args in commands {
            let (run, folder) = run(&project, args);
            let draft = fs_err::read_to_string(folder.path().join("project/gpuseal.yaml"));
            for secret in &secrets {
                assert!(!run.all().contains(secret), "{args:?}: {}", run.all());
                assert!(!draft.as_ref().is_ok_and(|d| d.contains(secret)), "{draft:?}");
            }
        }
        return;
    }
    panic!("no project holds a secret");
}

fn each(check: impl Fn(&Path)) {
    let failed: Vec<String> = projects()
        .iter()
        .filter(|project| catch_unwind(AssertUnwindSafe(|| check(project))).is_err())
        .map(|project| name(project))
        .collect();
    assert!(failed.is_empty(), "{} projects changed: {}", failed.len(), failed.join(", "));
}

fn snapshot(project: &Path, what: &str, args: &[&str]) {
    let (run, folder) = run(project, args);
    let mut text = format!("exit {}\n", run.code);
    for (stream, said) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        if !said.is_empty() {
            let _ = writeln!(text, "--- {stream}\n{}", masked(said, folder.path()).trim_end());
        }
    }
    insta::with_settings!({
        snapshot_path => project, prepend_module_to_snapshot => false, omit_expression => true,
    }, {
        insta::assert_snapshot!(what, text);
    });
}

#[test]
fn everything_that_is_read() {
    each(|project| snapshot(project, "inputs", &["inputs", "project", "--format", "json"]));
}

/// For a card and a driver that most releases of torch know.
#[test]
fn what_it_resolves_to() {
    each(|project| {
        let args =
            ["resolve", "--project", "project", "--gpu", "a100,l4", "--driver", "535.161.08"];
        snapshot(project, "resolve", &args);
    });
}

/// What `init` writes is read again, and stops at its placeholders until they are filled in.
#[test]
fn a_draft_is_a_configuration() {
    each(|project| {
        if project.join("project/gpuseal.yaml").exists() {
            return;
        }
        let (before, folder) = run(project, &["inputs", "project", "--format", "json"]);
        if before.code == 2 {
            return;
        }
        let say = |args: &[&str]| support::run(folder.path(), args);
        say(&["init", "--project", "project"]).says(0, &["wrote project/gpuseal.yaml", "TODO"]);
        say(&["init", "--project", "project"]).says(2, &["gpuseal.yaml", "left alone"]);
        say(&["resolve", "--project", "project"]).says(2, &["gpus", "still to be filled in"]);
        let flags = ["resolve", "--project", "project", "--gpu", "a100", "--driver", "535"];
        let with = say(&flags);
        assert!([0, 1, 5].contains(&with.code), "{}", with.all());
        fs_err::remove_file(folder.path().join("project/gpuseal.yaml")).expect("a file");
        let machines = ["--gpu", "NVIDIA L4", "--driver", ">=535.161", "--os", "ubuntu22.04"];
        let mut args = vec!["init", "--project", "project"];
        args.extend(machines);
        say(&args).says(0, &["now run"]);
        let filled = say(&["resolve", "--project", "project"]);
        assert!([0, 1, 5].contains(&filled.code), "{}", filled.all());
    });
}

/// What was rendered from the lock is no demand of the project: a second run finds the same.
#[test]
fn a_rendered_dockerfile_asks_for_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&root().join("examples/uv-extras"), folder.path());
    let say = |args: &[&str]| support::run(folder.path(), args);
    let before: Value =
        serde_json::from_str(&say(&["inputs", "--format", "json"]).stdout).expect("JSON");
    say(&["lock", "--offline", "--render", "dockerfile"]).says(0, &["wrote Dockerfile"]);
    say(&["lock", "--offline", "--check"]).says(0, &["up to date"]);
    say(&["lock", "--offline", "--render", "dockerfile"]).says(0, &["unchanged Dockerfile"]);
    let after: Value =
        serde_json::from_str(&say(&["inputs", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(before["requirements"], after["requirements"]);
    assert!(list(&after, "files").iter().any(|f| text(f, "kind") == "rendered by gpuseal"));
}

/// Flags choose what of a project counts.
#[test]
fn flags_choose_what_counts() {
    let folder = support::folder(&[
        (
            "pyproject.toml",
            "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\"torch>=2.6\"]\n\
             [project.optional-dependencies]\nold = [\"torch<2.7\", \"torchvision\"]\n",
        ),
        ("other.txt", "torch==2.4.1+cu121\n--index-url https://download.pytorch.org/whl/cu121\n"),
    ]);
    let machine = ["--gpu", "a100", "--driver", "535.161.08", "--format", "json"];
    let torch = |args: &[&str]| {
        let all: Vec<&str> = ["resolve"].iter().chain(args).chain(&machine).copied().collect();
        let run = support::run(folder.path(), &all);
        let answer: Value = serde_json::from_str(&run.stdout).expect("JSON");
        format!("{} {}", answer["targets"][0]["torch"]["version"], answer["targets"][0]["cuda"])
    };
    assert!(torch(&["--extra", "old"]).starts_with("\"2.6.0\""));
    assert_eq!(torch(&["-r", "other.txt"]), "\"2.4.1\" \"12.1\"");
    assert!(torch(&["--torch", "2.5.1"]).starts_with("\"2.5.1\""));
    assert!(torch(&["--no-project", "--torch", "2.3.1"]).starts_with("\"2.3.1\""));
    let run = |args: &[&str]| support::run(folder.path(), args);
    run(&["resolve", "--extra", "new", "--gpu", "a100"])
        .says(2, &["no extra `new`", "extra `old`"]);
    run(&["check", "--project", ".", "--gpu", "a100"]).says(2, &[">=2.6", "pyproject.toml:4"]);
    run(&["check", "-r", "other.txt", "--gpu", "h100", "--driver", "535.161.08"])
        .says(0, &["torch   2.4.1+cu121"]);
    run(&["check", "-r", "other.txt", "--gpu", "b200", "--driver", "570.86.15"])
        .says(1, &["arch-not-in-binary"]);
    run(&["inputs", "other.txt"]).says(0, &["1 requirement in 1 file", "cu121"]);
    run(&["inputs", "nowhere"]).says(2, &["nowhere"]);
    if !Path::new("/proc/driver/nvidia/version").exists() {
        run(&["init", "--gpu", "host"]).says(3, &["no NVIDIA driver is loaded here"]);
    }
    run(&["init", "--gpu", "rtx9999"]).says(5, &["rtx9999"]);
    assert!(!folder.path().join("gpuseal.yaml").exists());
}

/// Several targets on several platforms: markers are judged for each.
#[test]
fn markers_are_judged_for_each_target() {
    let folder = support::folder(&[
        (
            "requirements.txt",
            "torch==2.8.0 ; platform_machine == 'x86_64'\ntorch==2.9.1 ; platform_machine == 'aarch64'\n",
        ),
        ("gpuseal.yaml", "targets:\n  x86: { gpus: [a100] }\n  arm: { gpus: [gh200] }\n"),
    ]);
    let run = support::run(folder.path(), &["resolve", "--format", "json"]);
    let answer: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let found: BTreeSet<String> = list(&answer, "targets")
        .iter()
        .map(|t| format!("{} {} {}", text(t, "name"), text(t, "platform"), t["torch"]["version"]))
        .collect();
    let expected = ["arm linux/arm64 \"2.9.1\"", "x86 linux/amd64 \"2.8.0\""];
    assert_eq!(found, expected.map(str::to_owned).into(), "{}", run.all());
}

/// uv's `environments` are all that a project is meant for.
#[test]
fn a_project_may_be_limited_to_environments() {
    let project = root().join("tests/projects/uv-environments-limited");
    let resolve = ["resolve", "--project", "project", "--gpu"];
    let with = |gpu: &str| run(&project, &[&resolve[..], &[gpu]].concat()).0;
    with("a100").says(0, &["torch"]);
    with("gh200").says(1, &["pyproject.toml:9", "linux/arm64", "limited to environments"]);
}

/// Files, more arguments, exit code, torch and its build.
type Case = (Vec<(&'static str, String)>, &'static [&'static str], i32, &'static str);

/// Small projects whose answer once was wrong: files, more arguments, exit code, torch and its build.
#[test]
fn what_counts_is_what_would_be_installed() {
    let project = |body: &str| {
        format!("[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n{body}")
    };
    let index = |name: &str, url: &str, more: &str| {
        format!("[[tool.uv.index]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}")
    };
    let whl = |build: &str| format!("https://download.pytorch.org/whl/{build}");
    let cases: Vec<Case> = vec![
        // An override replaces what it overrides, its build too.
        (
            vec![(
                "pyproject.toml",
                project("dependencies = [\"torch==2.6.0+cu124\"]\n[tool.uv]\noverride-dependencies = [\"torch==2.6.0+cu126\"]\n"),
            )],
            &[],
            0,
            "2.6.0 cu126",
        ),
        // A constraint on a package that nobody asks for says nothing.
        (
            vec![
                ("requirements.txt", "torch==2.6.0\n-c c.txt\n".into()),
                ("c.txt", "torchaudio==2.6.0+cu118\n".into()),
            ],
            &["--cuda", "12.4"],
            0,
            "2.6.0 cu124",
        ),
        // One build is refused, not the release.
        (
            vec![("requirements.txt", "torch>=2.6,<2.7,!=2.6.0+cu118\n".into())],
            &[],
            0,
            "2.6.0",
        ),
        // The configuration's line of releases keeps its patches.
        (
            vec![("gpuseal.yaml", "torch: \"2.7+cu128\"\ntargets: { a: { gpus: [a100] } }\n".into())],
            &[],
            0,
            "2.7.1 cu128",
        ),
        // A flag names the release, the files still name the build.
        (
            vec![("requirements.txt", format!("--index-url {}\ntorch\n", whl("cu118")))],
            &["--torch", "2.6.0"],
            0,
            "2.6.0 cu118",
        ),
        // torch's own label counts before the index of a companion.
        (
            vec![(
                "pyproject.toml",
                project("dependencies = [\"torch==2.6.0+cu124\", \"torchvision\"]\n[tool.uv.sources]\ntorchvision = { index = \"w\" }\n")
                    + &index("w", &whl("cu126"), "explicit = true\n"),
            )],
            &[],
            0,
            "2.6.0 cu124",
        ),
        // uv asks its indexes in their order, and the default one last.
        (
            vec![(
                "pyproject.toml",
                project("dependencies = [\"torch==2.6.0\"]\n")
                    + &index("pypi", "https://pypi.example/simple", "")
                    + &index("w", &whl("cu118"), "default = true\n"),
            )],
            &["--cuda", "12.4"],
            0,
            "2.6.0 cu124",
        ),
        // Groups that exclude nothing are locked together by uv.
        (
            vec![(
                "pyproject.toml",
                project("dependencies = [\"torch>=2.2\"]\n[dependency-groups]\nold = [\"torch<2.5\"]\n[tool.uv]\nmanaged = true\n"),
            )],
            &[],
            0,
            "2.4.1",
        ),
        // A Python for which no torch is asked for is not meant.
        (
            vec![("requirements.txt", "torch==2.5.1 ; python_version < '3.12'\n".into())],
            &[],
            0,
            "2.5.1",
        ),
        // No Python that anybody has.
        (vec![("requirements.txt", "torch\n".into()), (".python-version", "3.20\n".into())], &[], 1, ""),
        // A folder of requirements that only its own tool can put together.
        (
            vec![(
                "pyproject.toml",
                project("dependencies = [\"torch==2.6.0\"]\n[tool.pdm.dev-dependencies]\ntest = [\"-e file:///${PROJECT_ROOT}/sub#egg=sub\"]\n"),
            )],
            &[],
            0,
            "2.6.0",
        ),
        // Poetry's extras that forbid each other.
        (
            vec![(
                "pyproject.toml",
                "[tool.poetry]\nname = \"app\"\n[tool.poetry.dependencies]\npython = \"^3.10\"\n\
                 torch = [\n  { version = \"2.6.0\", source = \"cpu\", optional = true, markers = \"extra=='cpu' and extra!='cuda'\" },\n\
                 {   version = \"2.6.0\", source = \"cuda\", optional = true, markers = \"extra=='cuda' and extra!='cpu'\" },\n]\n\
                 [tool.poetry.extras]\ncpu = [\"torch\"]\ncuda = [\"torch\"]\n\
                 [[tool.poetry.source]]\nname = \"cpu\"\nurl = \"https://download.pytorch.org/whl/cpu\"\npriority = \"explicit\"\n\
                 [[tool.poetry.source]]\nname = \"cuda\"\nurl = \"https://download.pytorch.org/whl/cu124\"\npriority = \"explicit\"\n"
                    .into(),
            )],
            &[],
            0,
            "2.6.0 cu124",
        ),
        // A supplemental source is asked for what no other has.
        (
            vec![(
                "pyproject.toml",
                format!("[tool.poetry]\nname = \"app\"\n[tool.poetry.dependencies]\npython = \"^3.10\"\ntorch = \"2.6.0\"\n[[tool.poetry.source]]\nname = \"w\"\nurl = \"{}\"\npriority = \"supplemental\"\n", whl("cu118")),
            )],
            &["--cuda", "12.4"],
            0,
            "2.6.0 cu124",
        ),
    ];
    for (files, more, code, expected) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        let folder = support::folder(&files);
        let machine = ["resolve", "--gpu", "a100", "--driver", "550.54.15", "--format", "json"];
        let run = support::run(folder.path(), &[&machine[..], more].concat());
        let answer: Value = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
        let torch = &answer["targets"][0]["torch"];
        let found = format!("{} {}", text(torch, "version"), text(torch, "variant"));
        let right = run.code == code && (code != 0 || found.starts_with(expected));
        assert!(right, "{files:?}\n{found} for {expected}, exit {}\n{}", run.code, run.all());
    }
    // A range of the configuration, and a build outside of it: both lines are shown.
    let folder = support::folder(&[
        ("gpuseal.yaml", "cuda: \">=12.6\"\ntargets: { a: { gpus: [a100] } }\n"),
        ("requirements.txt", "--index-url https://download.pytorch.org/whl/cu118\ntorch\n"),
    ]);
    support::run(folder.path(), &["inputs"])
        .says(1, &["input-conflict", "requirements.txt:1", "gpuseal.yaml:1"]);
}
