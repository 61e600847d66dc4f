//! `gpuseal action`: what the GitHub Action runs. Inputs come as variables, outputs go to a file that a
//! hostile value must not write into.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use support::{Run, finish, folder, gpuseal, write};

const ASKED: &str = "torch: \">=2.8\"\npython: \"3.12\"\ntargets:\n  train:\n    gpus: [h100]\n    driver: \"580\"\n  edge:\n    gpus: [l4, t4]\n    driver: \">=535.161\"\n";

/// Names of all outputs.
const OUTPUTS: &[&str] = &[
    "changed",
    "exit-code",
    "lock-digest",
    "matrix",
    "report-path",
    "sarif-path",
    "targets",
    "verdict",
];

struct Step {
    run: Run,
    outputs: BTreeMap<String, String>,
    summary: String,
}

/// A step of a workflow, in a fresh folder of the runner.
fn step(at: &Path, inputs: &[(&str, &str)]) -> Step {
    let runner = tempfile::tempdir().expect("a folder");
    let (out, summary) = (runner.path().join("output"), runner.path().join("summary.md"));
    let mut command = gpuseal(at);
    command.arg("action").env("RUNNER_TEMP", runner.path());
    command.env("GITHUB_OUTPUT", &out).env("GITHUB_STEP_SUMMARY", &summary);
    for (name, value) in inputs {
        let name = name.replace('-', "_").to_ascii_uppercase();
        command.env(format!("GPUSEAL_INPUT_{name}"), value);
    }
    let run = finish(&mut command);
    let outputs = read(&std::fs::read_to_string(&out).expect("outputs"));
    let names: Vec<_> = outputs.keys().map(String::as_str).collect();
    assert_eq!(names, OUTPUTS, "{}", run.all());
    assert_eq!(outputs["exit-code"], run.code.to_string());
    for (output, key) in [("report-path", "schema"), ("sarif-path", "runs")] {
        let text = std::fs::read_to_string(&outputs[output]).expect(output);
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert!(!document[key].is_null(), "{output}: {text}");
    }
    let summary = std::fs::read_to_string(&summary).unwrap_or_default();
    Step { run, outputs, summary }
}

/// As the runner reads them: `name<<END`, lines, `END`.
fn read(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let (name, end) = line.split_once("<<").expect("a heredoc");
        let value: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
        assert!(outputs.insert(name.to_owned(), value.join("\n")).is_none(), "{name} twice");
    }
    outputs
}

impl Step {
    #[track_caller]
    fn ends(&self, code: i32, verdict: &str, changed: bool) -> &Self {
        let all = format!("{}\n{:?}", self.run.all(), self.outputs);
        assert_eq!(self.run.code, code, "{all}");
        assert_eq!(self.outputs["verdict"], verdict, "{all}");
        assert_eq!(self.outputs["changed"], changed.to_string(), "{all}");
        assert!(!self.summary.is_empty(), "{all}");
        self
    }

    fn targets(&self) -> Vec<String> {
        serde_json::from_str(&self.outputs["targets"]).expect("a list")
    }
}

#[test]
fn every_mode() {
    let place = folder(&[("gpuseal.yaml", ASKED)]);
    let at = place.path();
    let lock = || std::fs::read(at.join("gpuseal.lock")).expect("a lock");

    let resolve = step(at, &[("mode", "resolve")]);
    resolve.ends(0, "ok", false);
    assert_eq!(resolve.outputs["lock-digest"], "");
    assert_eq!(resolve.targets(), ["train", "edge"]);
    assert!(resolve.summary.contains("| train | NVIDIA H100"), "{}", resolve.summary);
    // People read the log.
    resolve.run.says(0, &["TARGET", "matrix "]);
    let matrix: Value = serde_json::from_str(&resolve.outputs["matrix"]).expect("JSON");
    let edge = &matrix["include"][1];
    assert_eq!((&edge["target"], &edge["gpus"]), (&"edge".into(), &"l4,t4".into()));
    for key in ["platform", "python", "torch", "cuda", "driver"] {
        assert!(edge[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {edge}");
    }

    step(at, &[("mode", "lock-check")]).ends(1, "lock-stale", true);
    let made =
        step(at, &[("mode", "lock"), ("offline", "true"), ("render", "dockerfile\ninstall")]);
    made.ends(0, "ok", true);
    let digest = gpuseal::domain::Sha256::of(&lock()).to_string();
    assert_eq!(made.outputs["lock-digest"], digest);
    assert!(at.join("Dockerfile").is_file() && at.join("install.sh").is_file());
    step(at, &[("mode", "lock"), ("offline", "true")]).ends(0, "ok", false);

    let fresh = step(at, &[("mode", "lock-check"), ("render", "dockerfile, install")]);
    fresh.ends(0, "ok", false);
    assert_eq!((fresh.targets().len(), &fresh.outputs["lock-digest"]), (2, &digest));
    // The lock says of each what the answer said.
    let locked: Value = serde_json::from_str(&fresh.outputs["matrix"]).expect("JSON");
    for key in ["target", "platform", "python", "torch", "cuda", "driver"] {
        assert_eq!(locked["include"][1][key], edge[key], "{key}");
    }
    let rendered = step(at, &[("mode", "render-check")]);
    rendered.ends(0, "ok", false);
    for summary in [&fresh.summary, &rendered.summary] {
        assert!(
            summary.contains("| train | NVIDIA H100") && summary.contains("<code>python:"),
            "{summary}"
        );
    }
    let old = lock();
    let stale = step(at, &[("mode", "lock-check"), ("torch", "<2.14")]);
    stale.ends(1, "lock-stale", true);
    stale.run.says(1, &["::error file=gpuseal.lock,line=1,title=lock-stale::"]);
    assert_eq!(lock(), old, "a check writes nothing");

    write(at, "install.sh", "# Written by gpuseal from gpuseal.lock: gpuseal render install\n");
    let both = step(
        at,
        &[
            ("mode", "render-check"),
            ("render", "dockerfile,install,k8s"),
            ("image", "example.org/x"),
        ],
    );
    both.ends(1, "lock-stale", true);
    both.run.says(1, &["file=install.sh,line=1", "file=k8s.yaml,line=1"]);
    assert!(!both.run.stdout.contains("file=Dockerfile"), "{}", both.run.stdout);

    let check =
        [("mode", "check"), ("torch", "2.6.0+cu126"), ("gpu", "b200"), ("driver", "570.86.15")];
    let check = step(at, &check);
    check.ends(1, "arch-not-in-binary", false);
    assert_eq!((check.outputs["matrix"].as_str(), check.targets().len()), ("{\"include\":[]}", 0));
    step(at, &[("mode", "resolve"), ("driver", "450.80.02")]).ends(1, "unsatisfiable", false);

    let doctor = step(at, &[("mode", "doctor")]);
    assert!([0, 1, 3].contains(&doctor.run.code), "{}", doctor.run.all());
    assert_eq!(doctor.targets().len(), 2);
    assert!(doctor.summary.contains("gpuseal doctor: "), "{}", doctor.summary);
}

/// Without an image the runner's own environment is on trial; what could not be proven is no success unless it
/// was said before that it may be so, and then it is said again.
#[test]
fn verify() {
    let place = folder(&[]);
    let at = place.path();
    let verify = step(at, &[("mode", "verify"), ("junit", "out/v.xml")]);
    if verify.run.code == 3 {
        verify.ends(3, "unproven", false).run.says(3, &["::error title=", "unproven: "]);
        let allowed = step(at, &[("mode", "verify"), ("allow-unproven", "true")]);
        allowed.ends(0, "unproven", false).run.says(0, &["NOT PROVEN: --allow-unproven"]);
        assert!(allowed.summary.starts_with("### ⚠️ gpuseal verify: unproven\n"));
        assert!(allowed.summary.contains("NOT PROVEN"), "{}", allowed.summary);
    }
    assert!(verify.run.code != 2, "{}", verify.run.all());
    let junit = std::fs::read_to_string(at.join("out/v.xml")).expect("a report");
    assert!(junit.contains("<testsuites name=\"gpuseal verify\""), "{junit}");

    let image = |name| [("mode", "verify"), ("image", name), ("engine", "/none-such/docker")];
    let named = step(at, &image("team/ml:1"));
    // It comes as far as the engine.
    named.ends(3, "unproven", false).run.says(3, &["no container engine answers", "/none-such"]);
    let here = step(at, &image("--here"));
    here.run.says(2, &["input `image`: `--here` is no name of an image"]);
    for (inputs, words) in [
        (&[("mode", "verify"), ("gpu", "h100")][..], &["no use for the input `gpu`"][..]),
        (&[("mode", "doctor"), ("gpus", "all")], &["no use for the input `gpus`", "verify"]),
        (&[("mode", "verify"), ("allow-unproven", "maybe")], &["`maybe`", "neither `true`"]),
        (&[("mode", "verify"), ("target", "a")], &["no target `a`"]),
        (&[("mode", "verify"), ("target", "a,b")], &["input `target`", "multiple times"]),
    ] {
        step(at, inputs).ends(2, "error", false).run.says(2, words);
    }
}

#[test]
fn inputs_are_checked_and_named() {
    let place = folder(&[("gpuseal.yaml", ASKED)]);
    let at = place.path();
    for (inputs, words) in [
        (&[][..], &["input `mode`", "modes are resolve, check, lock"][..]),
        (&[("mode", "reslove")], &["no mode `reslove`"]),
        (&[("mode", "resolve"), ("summary", "yes")], &["input `summary`", "`yes`"]),
        (
            &[("mode", "resolve"), ("index", "pypi")],
            &["no use for the input `index`", "it is for check"],
        ),
        (&[("mode", "render-check"), ("matrix", "m")], &["no use for the input `matrix`"]),
        (&[("mode", "render-check"), ("overlay", "o")], &["no use for the input `overlay`"]),
        (&[("mode", "doctor"), ("matrix", "nowhere")], &["nowhere"]),
        (
            &[("mode", "render-check"), ("render", "helm")],
            &["input `render`", "helm", "dockerfile"],
        ),
        (&[("mode", "lock-check"), ("render", "helm")], &["input `render`", "helm", "dockerfile"]),
        (&[("mode", "doctor"), ("target", "a,b")], &["input `target`", "multiple times"]),
        (&[("mode", "resolve"), ("python", "two")], &["--python", "`two`"]),
        (&[("mode", "resolve"), ("gpu", "--matrix=/etc")], &["--matrix=/etc"]),
    ] {
        let step = step(at, inputs);
        assert!(step.run.code == 2 || step.run.code == 5, "{}", step.run.all());
        step.run.says(step.run.code, words);
        assert_eq!(step.outputs["verdict"].replace("unknown", "error"), "error");
        assert!(step.run.stdout.starts_with("::error "), "{}", step.run.stdout);
    }
    let quiet = step(at, &[("mode", "resolve"), ("summary", "false"), ("target", " train ,\n")]);
    let unknown = step(at, &[]).summary;
    assert!(unknown.starts_with("### ❌ gpuseal: error\n"), "{unknown}");
    assert_eq!((quiet.run.code, quiet.summary.as_str(), quiet.targets().len()), (0, "", 1));
}

#[test]
fn values_forge_nothing() {
    let place = folder(&[("gpuseal.yaml", ASKED)]);
    for value in [
        "h100\nverdict=ok",
        "h100\n::set-output name=verdict::ok",
        "x\r::error::forged",
        "%0A::error::forged",
        "verdict<<END\nok\nEND",
        "ghadelimiter_0\nverdict=ok",
        "##[set-output name=verdict;]ok",
        "  ::add-mask::a",
        "`</code></sub><script>x</script>@everyone",
    ] {
        for name in [
            "mode",
            "gpu",
            "torch",
            "python",
            "driver",
            "target",
            "with",
            "os",
            "needs",
            "summary",
            "allow-unproven",
        ] {
            let mode = if name == "allow-unproven" { "verify" } else { "resolve" };
            let mut inputs = vec![("mode", mode), (name, value)];
            inputs.reverse();
            if name == "mode" {
                inputs.truncate(1);
                inputs = vec![("mode", value)];
            }
            let step = step(place.path(), &inputs);
            assert_ne!(step.run.code, 0, "{name}: {value}");
            assert_ne!(step.outputs["verdict"], "ok", "{name}: {value}");
            for line in step.run.all().split(['\n', '\r']).map(str::trim_start) {
                let ours =
                    ["::error title=gpuseal::", "::error file=gpuseal.yaml,", "::error title="];
                let command =
                    line.starts_with("::") && !ours.iter().any(|own| line.starts_with(own));
                assert!(!command && !line.contains("##["), "{name}: {value}: {line}");
            }
            assert!(
                !step.summary.contains("<script") && !step.summary.contains("@every"),
                "{}",
                step.summary
            );
        }
    }
}

#[test]
fn without_a_runner_outputs_are_said() {
    let place = folder(&[("gpuseal.yaml", ASKED)]);
    let temp = tempfile::tempdir().expect("a folder");
    let mut command = gpuseal(place.path());
    command.arg("action").env("RUNNER_TEMP", temp.path()).env("GPUSEAL_INPUT_MODE", "resolve");
    let run = finish(&mut command);
    run.says(0, &["verdict=ok", "exit-code=0", "targets=[\"train\",\"edge\"]"]);
    assert!(!run.stdout.contains("verdict="), "{}", run.stdout);
}

/// What a variable of the job names is the project of the command and of the outputs.
#[test]
fn one_project_for_all() {
    let place = folder(&[("sub/gpuseal.yaml", ASKED)]);
    let at = place.path();
    let sub = at.join("sub");
    for mode in ["lock", "lock-check", "render-check"] {
        let runner = tempfile::tempdir().expect("a folder");
        let out = runner.path().join("output");
        let mut command = gpuseal(at);
        command.arg("action").env("RUNNER_TEMP", runner.path()).env("GITHUB_OUTPUT", &out);
        command.env("GPUSEAL_PROJECT", &sub).env("GPUSEAL_INPUT_MODE", mode);
        command.env("GPUSEAL_OFFLINE", "true");
        let run = finish(&mut command);
        let outputs = read(&std::fs::read_to_string(&out).expect("outputs"));
        let lock = std::fs::read(sub.join("gpuseal.lock")).expect("a lock");
        let digest = gpuseal::domain::Sha256::of(&lock).to_string();
        assert_eq!(outputs["lock-digest"], digest, "{mode}: {}", run.all());
        assert!(outputs["matrix"].contains("train"), "{mode}: {}", run.all());
    }
}

/// An old report is no answer to a new question, and an answer that cannot be handed on is no success.
#[test]
fn nothing_old_is_handed_on() {
    let place = folder(&[
        ("gpuseal.yaml", ASKED),
        ("r.json", "{\"schema\":{\"name\":\"gpuseal.check\"},\"verdict\":\"ok\"}"),
        ("s.sarif", "{\"runs\":[{\"tool\":{\"driver\":{\"name\":\"gpuseal\"}}}]}"),
    ]);
    let at = place.path();
    let step = step(at, &[("mode", "reslove"), ("report", "r.json"), ("sarif", "s.sarif")]);
    step.ends(2, "error", false);
    assert!(std::fs::read_to_string(at.join("s.sarif")).expect("a file").contains("results"));
    let mut command = gpuseal(at);
    command.arg("action").env("GPUSEAL_INPUT_MODE", "resolve").env("GITHUB_OUTPUT", at);
    command.env("RUNNER_TEMP", at);
    finish(&mut command).says(2, &["error: "]);
    let mut command = gpuseal(at);
    command.arg("action").env("GPUSEAL_INPUT_MODE", "resolve").env("RUNNER_TEMP", at);
    command.env("GPUSEAL_INPUT_REPORT", "same").env("GPUSEAL_INPUT_SARIF", "same");
    finish(&mut command).says(2, &["same file"]);
}

/// What stands there and is none of ours stays, the other report and the summary are written, and only
/// what was written is put out.
#[test]
fn the_files_of_others_stay() {
    let place = folder(&[("gpuseal.yaml", ASKED), ("s.sarif", "{\"runs\":[]}")]);
    let at = place.path();
    for (input, file) in [("report", "gpuseal.yaml"), ("sarif", "s.sarif")] {
        let before = std::fs::read(at.join(file)).expect("a file");
        let runner = tempfile::tempdir().expect("a folder");
        let (out, summary) = (runner.path().join("output"), runner.path().join("summary"));
        let mut command = gpuseal(at);
        command.arg("action").env("RUNNER_TEMP", runner.path()).env("GITHUB_OUTPUT", &out);
        command.env("GITHUB_STEP_SUMMARY", &summary).env("GPUSEAL_INPUT_MODE", "lock");
        command.env(format!("GPUSEAL_INPUT_{}", input.to_ascii_uppercase()), file);
        finish(&mut command).says(2, &[file, "help: name another file"]);
        assert_eq!(std::fs::read(at.join(file)).expect("a file"), before);
        assert!(!at.join("gpuseal.lock").exists());
        assert!(std::fs::read_to_string(&summary).expect("a summary").contains("error"));
        let outputs = read(&std::fs::read_to_string(&out).expect("outputs"));
        for output in ["report", "sarif"] {
            let path = &outputs[&format!("{output}-path")];
            assert_eq!(path.is_empty(), output == input, "{output}: {path}");
        }
        assert_eq!(outputs["verdict"], "error");
    }
}
