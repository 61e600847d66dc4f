//! One folder of `tests/cases/` is one story: `args` goes in (one argument a line), with the files
//! beside it as the project; what the program says comes out, in `human.snap` and, where the folder
//! has one, `json.snap`. New texts: `INSTA_UPDATE=always cargo test --test stories`, then read them.

mod support;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use support::{Run, copy, masked, root};

/// Folders of stories, by name.
fn stories() -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = fs_err::read_dir(root().join("tests/cases"))
        .expect("tests/cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("args").is_file())
        .collect();
    list.sort();
    assert!(list.len() > 40, "only {} stories were found", list.len());
    list
}

fn name(story: &Path) -> String {
    story.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Arguments of a story. `{case}` is its folder, `{root}` the repository; `#` starts a comment.
fn args(story: &Path, project: &Path) -> Vec<String> {
    fs_err::read_to_string(story.join("args"))
        .expect("args")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.replace("{case}", &project.display().to_string())
                .replace("{root}", &root().display().to_string())
        })
        .collect()
}

/// Runs a story in a copy of its folder.
fn tell(story: &Path, more: &[&str]) -> (Run, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(story, folder.path());
    let mut args = args(story, folder.path());
    args.extend(more.iter().map(|&a| a.to_owned()));
    (support::run(folder.path(), &args), folder)
}

fn snapshot(story: &Path, voice: &str) {
    let (run, folder) = tell(story, &["--format", voice]);
    let mut text = format!("exit {}\n", run.code);
    for (stream, said) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        if !said.is_empty() {
            let _ = writeln!(text, "--- {stream}\n{}", masked(said, folder.path()).trim_end());
        }
    }
    insta::with_settings!({
        snapshot_path => story, prepend_module_to_snapshot => false, omit_expression => true,
    }, {
        insta::assert_snapshot!(voice, text);
    });
}

/// Runs `check` on every story and lists those that fail, so that one run shows all.
fn each(check: impl Fn(&Path)) {
    let failed: Vec<String> = stories()
        .iter()
        .filter(|story| catch_unwind(AssertUnwindSafe(|| check(story))).is_err())
        .map(|story| name(story))
        .collect();
    assert!(failed.is_empty(), "{} stories changed or failed: {}", failed.len(), failed.join(", "));
}

#[test]
fn told_to_people() {
    each(|story| snapshot(story, "human"));
}

#[test]
fn told_to_programs() {
    each(|story| {
        if story.join("json.snap").exists() {
            snapshot(story, "json");
        }
    });
}

/// Whatever the voice, the exit code is the same; JSON is one document with its schema.
#[test]
fn all_voices_agree() {
    each(|story| {
        let human = tell(story, &[]).0;
        let json = tell(story, &["--format", "json"]).0;
        assert_eq!(human.code, json.code, "{}", name(story));
        let document: serde_json::Value =
            serde_json::from_str(&json.stdout).expect("one JSON document");
        for key in ["schema", "tool", "matrix"] {
            assert!(document[key].is_object(), "{}: no `{key}` in {}", name(story), json.stdout);
        }
        let word = document
            .get("verdict")
            .or(document.get("result"))
            .and_then(|w| w.as_str())
            .expect("a verdict");
        let agrees = match human.code {
            0 => word.starts_with("ok"),
            1 => !word.starts_with("ok") && word != "unknown",
            5 => word == "unknown",
            _ => false,
        };
        assert!(agrees, "{}: exit {} with `{word}`", name(story), human.code);
        assert_eq!(tell(story, &["--format", "github"]).0.code, human.code, "{}", name(story));
    });
}

/// The same question gets the same bytes.
#[test]
fn told_twice_it_is_the_same_story() {
    each(|story| {
        let (first, second) = (tell(story, &["-v"]), tell(story, &["-v"]));
        assert_eq!(
            masked(&first.0.all(), first.1.path()),
            masked(&second.0.all(), second.1.path())
        );
    });
}

/// Every folder that people may copy is a story that ends well.
#[test]
fn every_example_is_told() {
    let examples = fs_err::read_dir(root().join("examples"))
        .expect("examples")
        .map(|e| e.expect("an entry").path());
    for example in examples.filter(|path| path.join("gpuseal.yaml").exists()) {
        let story = root().join("tests/cases").join(format!("example-{}", name(&example)));
        assert!(story.join("args").is_file(), "no story for {}", example.display());
        assert_eq!(tell(&story, &[]).0.code, 0, "{}", example.display());
    }
}
