//! The lock in other tools' words, from the command line: where each goes, what is refused, and that
//! what was written is no new demand.

mod support;

use std::path::Path;

use support::filled::fill;
use support::{folder, gpuseal, run, write};

const CONFIG: &str = "torch: \"2.9.1\"\npython: \"3.12\"\nwith: [torchvision]\ntargets:\n  arm: {gpus: [gh200], driver: \"580\"}\n  edge: {gpus: [l4], driver: \"535\"}\n";
const PROJECT: &str =
    "# mine\n[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"torch\"] # ours\n";

/// A project whose lock knows every file, as an index of nobody's would tell them.
fn locked() -> tempfile::TempDir {
    let project = folder(&[("gpuseal.yaml", CONFIG), ("pyproject.toml", PROJECT)]);
    run(project.path(), &["lock", "--offline"]).says(0, &["wrote"]);
    fill(project.path());
    project
}

fn read(project: &Path, name: &str) -> String {
    fs_err::read_to_string(project.join(name)).expect(name)
}

#[test]
fn each_target_has_its_own_file() {
    let project = locked();
    let at = project.path();
    for kind in ["requirements", "pylock", "constraints"] {
        run(at, &["render", kind]).says(2, &["there are several: arm, edge", "--target", "-o DIR"]);
        run(at, &["render", kind, "--target", "edge"]).says(0, &["Target: edge, linux/amd64"]);
        run(at, &["render", kind, "--target", "x"]).says(2, &["no target `x`", "arm, edge"]);
    }
    for (kind, file) in [
        ("requirements", "out/requirements.edge.txt"),
        ("pylock", "out/pylock.edge.toml"),
        ("constraints", "out/constraints.edge.txt"),
    ] {
        run(at, &["render", kind, "-o", "out/", "--check"])
            .says(1, &["lock-stale", file, "--- /dev/null", &format!("+++ {file}")]);
        run(at, &["render", kind, "-o", "out/", "--diff"]).says(0, &["--- /dev/null"]);
        assert!(!at.join(file).exists());
        run(at, &["render", kind, "-o", "out/"]).says(0, &["wrote out", file]);
        run(at, &["render", kind, "-o", "out", "--check"]).says(0, &[]);
        run(at, &["render", kind, "-o", "out"]).says(0, &["unchanged"]);
        run(at, &["render", kind, "-o", file, "--target", "edge", "--check"]).says(0, &[]);
    }
    let text = read(at, "out/requirements.edge.txt");
    assert!(
        text.lines().any(|l| l.starts_with("torch @ https://") && l.contains(" --hash=sha256:"))
    );
    run(at, &["render", "pylock", "--target", "arm", "-o", "lock.toml"])
        .says(2, &["`lock.toml` cannot name a pylock.toml", "pylock.arm.toml"]);
    run(at, &["render", "pylock", "--target", "arm", "-o", "pylock.toml"]).says(0, &["wrote"]);
    run(at, &["render", "pylock", "--write"]).says(2, &["--write is for `uv`"]);
    run(at, &["render", "uv", "--template", "x"]).says(2, &["--template is for"]);
    run(at, &["render", "uv", "--write", "-o", "x"]).says(2, &["cannot be used with"]);
    run(at, &["render", "uv", "--check"]).says(2, &["no file of its own", "--write"]);
}

#[test]
fn what_somebody_wrote_is_not_lost() {
    let project = locked();
    let at = project.path();
    write(at, "Dockerfile", "FROM scratch\n");
    let refused = &["`Dockerfile` is not what `gpuseal render dockerfile` writes", "--force"];
    run(at, &["render", "dockerfile", "-o", "Dockerfile"]).says(2, refused);
    run(at, &["lock", "--offline", "--force", "--render", "dockerfile"]).says(2, refused);
    run(at, &["lock", "--frozen", "--render", "dockerfile"]).says(2, refused);
    assert_eq!(read(at, "Dockerfile"), "FROM scratch\n");
    run(at, &["render", "dockerfile", "--check"])
        .says(1, &["lock-stale", "--- Dockerfile", "-FROM scratch"]);
    run(at, &["render", "dockerfile", "-o", "Dockerfile", "--force"]).says(0, &["wrote"]);
    run(at, &["render", "dockerfile", "--check"]).says(0, &[]);
    run(at, &["render", "dockerfile", "-o", "Dockerfile"]).says(0, &["unchanged"]);
    // One target of two.
    run(at, &["render", "dockerfile", "-o", "Dockerfile", "--target", "arm"]).says(0, &["wrote"]);
    assert!(!read(at, "Dockerfile").contains("edge"));
    // Nor what is ours and of another kind, the lock before all; nor by a template.
    for at_risk in ["gpuseal.lock", "Dockerfile", "pyproject.toml"] {
        let before = read(at, at_risk);
        run(at, &["render", "compose", "-o", at_risk]).says(2, &["would be lost"]);
        run(at, &["render", "uv", "-o", at_risk]).says(2, &["would be lost"]);
        assert_eq!(read(at, at_risk), before);
    }
    write(at, "x.tera", "{{ targets[0].name }}");
    write(at, "own.txt", "mine");
    let by_template = ["render", "dockerfile", "--template", "x.tera", "-o", "own.txt"];
    run(at, &by_template).says(2, &["would be lost"]);
    fs_err::create_dir(at.join("compose.yaml")).expect("a folder");
    run(at, &["lock", "--frozen", "--render", "install", "--render", "compose"])
        .says(2, &["`compose.yaml` is a folder"]);
    assert!(!at.join("install.sh").exists());
    run(at, &["render", "compose", "-o", "-"]).says(0, &["services:"]);
    assert!(!at.join("-").exists());
    // Every flag has its kinds.
    for (flag, of) in [
        (&["--no-syntax-line"][..], "`dockerfile`"),
        (&["--shell", "sh"], "`install`"),
        (&["--dra"], "`k8s`"),
        (&["--runtime", "pyxis"], "`slurm`"),
        (&["--gpu", "optional"], "`devcontainer`"),
        (&["--image", "x"], "`compose`"),
    ] {
        let args = [&["render", "constraints"], flag].concat();
        run(at, &args).says(2, &[flag[0], "is for", of]);
    }
    run(at, &["render", "k8s", "--image", "A b"]).says(2, &["`A b` is not the name of an image"]);
    run(at, &["render", "k8s", "--image", "app:1"])
        .says(2, &["`app:1` names one image", "--target"]);
}

#[test]
fn a_lock_made_offline_names_no_file() {
    let project = folder(&[("gpuseal.yaml", CONFIG)]);
    let at = project.path();
    run(at, &["lock", "--offline"]).says(0, &[]);
    run(at, &["render", "requirements", "--target", "arm"])
        .says(2, &["of target `arm` has no file", "help: run `gpuseal lock`"]);
    run(at, &["render", "constraints", "--target", "arm"]).says(0, &["torch==2.9.1+cu"]);
    // Nothing is written by a command that fails.
    run(at, &["lock", "--offline", "--render", "requirements"]).says(2, &["has no file"]);
    run(at, &["lock", "--offline", "--render", "constraints"]).says(0, &["constraints.edge.txt"]);
    run(at, &["lock", "--offline", "--render", "uv"]).says(2, &["render uv --write"]);
    run(at, &["render", "uv", "--write"]).says(2, &["no `pyproject.toml` to edit", "help:"]);
}

#[test]
fn a_pyproject_is_edited_and_asks_for_nothing_new() {
    let project = locked();
    let at = project.path();
    let fresh = |name: &str| run(at, &["lock", "--offline", "--check"]).all().contains(name);
    let before = fresh("inputs digest");
    run(at, &["render", "uv"]).says(0, &["[[tool.uv.index]]", "[tool.uv.sources]"]);
    run(at, &["render", "uv", "--write", "--check"]).says(1, &["lock-stale"]);
    assert_eq!(read(at, "pyproject.toml"), PROJECT);
    run(at, &["render", "uv", "--write"]).says(0, &["wrote pyproject.toml"]);
    let new = read(at, "pyproject.toml");
    assert!(new.starts_with(PROJECT) && new.contains("gpuseal-cu"), "{new}");
    run(at, &["render", "uv", "--write"]).says(0, &["unchanged"]);
    run(at, &["render", "uv", "--write", "--check"]).says(0, &[]);
    // Neither what stands there now nor what was rendered beside it is a demand.
    run(at, &["render", "requirements", "-o", "."]).says(0, &["wrote"]);
    run(at, &["render", "pylock", "-o", "."]).says(0, &["wrote"]);
    assert_eq!(fresh("inputs digest"), before);
    let inputs = run(at, &["inputs"]);
    assert!(!inputs.all().contains("gpuseal-cu"), "{}", inputs.all());
    inputs.says(0, &["none contradicts another"]);
    // With Windows' line ends it keeps them.
    let windows = PROJECT.replace('\n', "\r\n");
    write(at, "pyproject.toml", &windows);
    run(at, &["render", "uv", "--write"]).says(0, &["wrote"]);
    let new = read(at, "pyproject.toml");
    assert!(new.starts_with(&windows) && !new.replace("\r\n", "").contains('\n'), "{new:?}");
}

#[test]
fn a_source_by_hand_is_held_to_the_lock_and_asks_for_nothing_new() {
    let config =
        "torch: \"2.9.1\"\npython: \"3.12\"\ntargets:\n  edge: {gpus: [l4], driver: \"535\"}\n";
    let by_hand = format!(
        "{PROJECT}[tool.uv.sources]\ntorch = {{ index = \"mine\" }}\n[[tool.uv.index]]\nname = \"mine\"\nurl = \"https://download.pytorch.org/whl/cu126\"\nexplicit = true\n"
    );
    let project = folder(&[("gpuseal.yaml", config), ("pyproject.toml", &by_hand)]);
    let at = project.path();
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    run(at, &["render", "uv", "--write"]).says(0, &["wrote pyproject.toml"]);
    let new = read(at, "pyproject.toml");
    assert!(new.contains("torch = { index = \"mine\" }") && new.contains("torch==2.9.1+cu126 ; ("));
    run(at, &["render", "uv", "--write"]).says(0, &["unchanged"]);
    run(at, &["lock", "--offline", "--check"]).says(0, &["up to date"]);
    assert!(!run(at, &["inputs"]).all().contains("constraint"));
}

#[test]
fn many_targets_are_not_all_named() {
    let target = |n: usize| format!("  t{n:02}: {{gpus: [l4], driver: \"580\"}}\n");
    let config = format!("targets:\n{}", (1..=12).map(target).collect::<String>());
    let project = folder(&[("gpuseal.yaml", &config)]);
    let at = project.path();
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    let run = run(at, &["render", "constraints"]);
    assert!(!run.all().contains("t11"));
    run.says(2, &["t09, t10 and 2 more", "--target"]);
}

#[test]
fn a_pyproject_that_cannot_be_edited_stays() {
    let project = locked();
    let at = project.path();
    let by_hand = format!(
        "{PROJECT}[tool.uv.sources]\ntorch = {{ index = \"mine\" }}\n[[tool.uv.index]]\nname = \"mine\"\nurl = \"https://me:hunter2@a.test/cu118\"\n"
    );
    let deep = format!("{PROJECT}x = {}", "[".repeat(100_000));
    for (text, words) in [
        (by_hand.as_str(), &["`torch` has a source of its own", "help:", "--force"][..]),
        (deep.as_str(), &["pyproject.toml", "deep"]),
        ("[tool\n", &["pyproject.toml:1"]),
    ] {
        write(at, "pyproject.toml", text);
        let run = run(at, &["render", "uv", "--write"]);
        assert!(!run.all().contains("hunter2"));
        run.says(2, words);
        assert_eq!(read(at, "pyproject.toml"), text);
    }
    write(at, "pyproject.toml", by_hand);
    run(at, &["render", "uv", "--write", "--force"]).says(0, &["wrote"]);
    assert!(read(at, "pyproject.toml").contains("hunter2"));
    let mut command = gpuseal(at);
    command.args(["render", "uv", "--write", "--check"]);
    support::finish(&mut command).says(0, &[]);
}
