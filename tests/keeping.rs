//! What a lock keeps when the matrix moves on, and when it does not.

mod support;

use std::path::Path;

use support::{Run, folder, root, run, write};

/// A project on the newest torch, locked, beside an overlay that knows a newer one and another that
/// corrects a driver floor.
fn project() -> tempfile::TempDir {
    let place = folder(&[(
        "gpuseal.yaml",
        "torch: \">=2.15\"\npython: \"3.12\"\nwith: [torchvision]\ntargets:\n  train: {gpus: h100, driver: \"595.45.04\"}\n",
    )]);
    let torch = std::fs::read_to_string(root().join("matrices/torch/2.15.yaml")).expect("the row");
    write(place.path(), "newer.yaml", torch.replace("version: \"2.15.0\"", "version: \"2.15.1\""));
    write(
        place.path(),
        "corrected.yaml",
        "distros:\n  - name: debian13\n    aliases: [trixie]\n    glibc: \"2.40\"\n    source: [images.apt]\n",
    );
    write(place.path(), "withdrawn.yaml", torch.replace("sm_90", "sm_89"));
    lock(place.path(), &[]).says(0, &["wrote gpuseal.lock"]);
    place
}

fn lock(at: &Path, args: &[&str]) -> Run {
    run(at, &[&["lock", "--offline"], args].concat())
}

fn text(at: &Path) -> String {
    std::fs::read_to_string(at.join("gpuseal.lock")).expect("a lock")
}

#[test]
fn a_newer_release_makes_no_lock_stale() {
    let place = project();
    let at = place.path();
    let before = text(at);
    run(at, &["resolve", "--overlay", "newer.yaml"]).says(0, &["2.15.1+cu132"]);
    lock(at, &["--check", "--overlay", "newer.yaml"]).says(0, &["up to date"]);
    run(at, &["resolve", "--check", "--overlay", "newer.yaml"]).says(0, &["up to date"]);
    assert_eq!(text(at), before);
    // Written anew it still has what it had; the matrix that says so is another one.
    lock(at, &["--overlay", "newer.yaml"]).says(0, &["wrote gpuseal.lock"]);
    let kept = text(at);
    let same = |text: &str| text.split_once("[inputs]").expect("inputs").1.to_owned();
    assert_eq!(same(&kept), same(&before));
    lock(at, &["-P", "torchvision", "--overlay", "newer.yaml"]).says(0, &["unchanged"]);
    lock(at, &["-P", "torch", "--dry-run", "--overlay", "newer.yaml"])
        .says(0, &["torch \"2.15.0\" -> \"2.15.1\""]);
    assert_eq!(text(at), kept);
    lock(at, &["--upgrade", "--overlay", "newer.yaml"]).says(0, &["wrote gpuseal.lock"]);
    assert!(text(at).contains("torch = \"2.15.1\""));
    // Another preference is another choice.
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes + "prefer: oldest-driver\n");
    lock(at, &["--check", "--overlay", "newer.yaml"])
        .says(1, &["~ asked prefer \"newest\" -> \"oldest-driver\"", "lock-stale"]);
}

#[test]
fn a_corrected_fact_is_a_warning_and_a_withdrawn_one_stale() {
    let place = project();
    let at = place.path();
    let check = |args: &[&str]| lock(at, &[&["--check"], args].concat());
    check(&["--overlay", "corrected.yaml"])
        .says(0, &["glibc \"2.41\" -> \"2.40\"", "warning[lock-stale]", "has corrected facts"]);
    check(&["--overlay", "corrected.yaml", "--deny-withdrawn"])
        .says(1, &["glibc \"2.41\" -> \"2.40\"", "error[lock-stale]"]);
    // What was chosen no longer runs: that is more than a correction.
    check(&["--overlay", "withdrawn.yaml"]).says(1, &["arch-not-in-binary", "help: take torch"]);
    lock(at, &["--overlay", "corrected.yaml"]).says(0, &["wrote"]);
    assert!(text(at).contains("glibc = \"2.40\""));
    check(&["--overlay", "corrected.yaml"]).says(0, &["up to date"]);
}

#[test]
fn a_changed_wish_is_told_line_by_line() {
    let place = project();
    let at = place.path();
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes.replace("h100", "[h100, b200]").replace(">=2.15", ">=2.14"));
    lock(at, &["--check"]).says(
        1,
        &[
            "~ asked torch \">=2.15\" -> \">=2.14\"",
            "~ asked target train: gpus \"h100\" -> \"b200, h100\"",
            "+ target train: gpu b200",
            "help: run `gpuseal lock` and commit the result",
        ],
    );
    // Only what has to change changes.
    lock(at, &[]).says(0, &["wrote"]);
    assert!(text(at).contains("torch = \"2.15.0\""));
    // The order of cards is none, nor is a comment.
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes.replace("[h100, b200]", "[b200, h100]"));
    lock(at, &["--locked"]).says(0, &["up to date"]);
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", format!("# ours\n{wishes}"));
    lock(at, &["--locked"]).says(0, &["up to date"]);
}

#[test]
fn extras_are_locked_and_held() {
    let place = project();
    let at = place.path();
    let plain = text(at);
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes.replace("[torchvision]", "[\"torchvision[SciPy, gdown]\"]"));
    write(at, "requirements.txt", "torch[optree]>=2.15\n");
    lock(at, &["--check"]).says(
        1,
        &[
            "-> \"torchvision[gdown,scipy]",
            "asked torch \">=2.15\" -> \"[optree]>=2.15\"",
            "+ target train: package torch extras \"optree\"",
            "+ target train: package torchvision extras \"gdown, scipy\"",
        ],
    );
    lock(at, &[]).says(0, &["wrote"]);
    assert!(text(at).contains("extras = [\"optree\"]"));
    lock(at, &["--check"]).says(0, &["up to date"]);
    run(at, &["render", "install"])
        .says(0, &["'torchvision[gdown,scipy]==", "'torch[optree]==2.15.0"]);
    // A flag names the release, the file still its options.
    lock(at, &["--torch", "2.15", "--dry-run"]).says(0, &["[optree]"]);
    // No extras is what it was before there were any.
    write(at, "gpuseal.yaml", wishes);
    std::fs::remove_file(at.join("requirements.txt")).expect("removed");
    lock(at, &[]).says(0, &["wrote"]);
    assert_eq!(text(at), plain);
}

#[test]
fn a_python_without_the_global_lock_stays_one() {
    let place = project();
    let at = place.path();
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    let with = |python: &str| {
        let wishes = wishes.replace("\"3.12\"", python).replace("with: [torchvision]\n", "");
        write(at, "gpuseal.yaml", wishes);
    };
    with("\"3.14\"");
    lock(at, &[]).says(0, &["wrote"]);
    with("3.14t");
    lock(at, &["--check"]).says(
        1,
        &["~ asked python \"3.14\" -> \"3.14t\"", "~ target train: python \"3.14\" -> \"3.14t\""],
    );
    // What other files say of Python still counts.
    write(at, "pyproject.toml", "[project]\nname = \"x\"\nrequires-python = \">=3.14\"\n");
    lock(at, &[]).says(0, &["wrote"]);
    assert!(text(at).contains("python = \"3.14t\""));
    run(at, &["render", "install"]).says(0, &["prepare linux/amd64 3.14t"]);
    write(at, "pyproject.toml", "[project]\nname = \"x\"\nrequires-python = \"<3.14\"\n");
    lock(at, &["--check"]).says(1, &["requires-python"]);
}

#[test]
fn some_targets_alone_do_not_lose_the_others() {
    let place = project();
    let at = place.path();
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes + "  edge: {gpus: l4, driver: \"580.65.06\"}\n");
    lock(at, &[]).says(0, &["wrote"]);
    let both = text(at);
    lock(at, &["--target", "edge"]).says(2, &["also holds train", "--target", "--force"]);
    assert_eq!(text(at), both);
    lock(at, &["--target", "edge", "--check"]).says(2, &["as a whole", "leaves out train"]);
    lock(at, &["-P", "torch_vision"]).says(0, &["the lock has no package `torch-vision`"]);
    lock(at, &["--target", "edge", "--force"]).says(0, &["wrote"]);
    assert!(!text(at).contains("name = \"train\""));
    run(at, &["lock", "--frozen", "--render", "constraints"]).says(0, &["constraints"]);
}

#[test]
fn what_is_rendered_is_checked_and_not_written() {
    let place = project();
    let at = place.path();
    let render = |how: &str| lock(at, &[how, "--render", "dockerfile"]);
    render("--check").says(1, &["`Dockerfile` is not what the lock renders", "--locked"]);
    assert!(!at.join("Dockerfile").exists());
    render("--locked").says(0, &["up to date", "wrote Dockerfile"]);
    render("--check").says(0, &["up to date"]);
    write(at, "Dockerfile", "FROM scratch\n");
    render("--check").says(1, &["Dockerfile"]);
    assert_eq!(std::fs::read_to_string(at.join("Dockerfile")).expect("mine"), "FROM scratch\n");
    let wishes = std::fs::read_to_string(at.join("gpuseal.yaml")).expect("gpuseal.yaml");
    write(at, "gpuseal.yaml", wishes.replace("h100", "b200"));
    render("--locked").says(1, &["lock-stale", "gpu b200"]);
    assert_eq!(std::fs::read_to_string(at.join("Dockerfile")).expect("mine"), "FROM scratch\n");
}

/// Every lock that the examples give reads back to the same bytes; so does one of revision 0, which had
/// no files yet, and which is still a lock that can be checked.
#[test]
fn locks_read_back_to_the_byte() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("examples") {
        let example = entry.expect("an entry").path();
        if !example.join("gpuseal.yaml").exists() {
            continue;
        }
        let place = tempfile::tempdir().expect("a folder");
        support::copy(&example, place.path());
        lock(place.path(), &[]).says(0, &["wrote"]);
        let written = text(place.path());
        let read = gpuseal::lock::Lockfile::parse(&written, "gpuseal.lock").expect("a lock");
        assert_eq!(read.to_toml(), written, "{}", example.display());
        count += 1;
    }
    assert!(count >= 5, "only {count} examples");

    let place = project();
    let at = place.path();
    let lines = |keep: &dyn Fn(&str) -> bool| {
        let kept: Vec<String> = text(at).lines().filter(|l| keep(l)).map(str::to_owned).collect();
        kept.join("\n") + "\n"
    };
    let first = lines(&|line| !line.starts_with("uv") && !line.starts_with("glibc ="))
        .replace("revision = 1", "revision = 0");
    let asked = first.find("asked = [").expect("what was asked");
    let end = first[asked..].find("]\n").expect("its end") + asked + 2;
    write(at, "gpuseal.lock", format!("{}{}", &first[..asked], &first[end..]));
    lock(at, &["--check"]).says(0, &["up to date"]);
    lock(at, &[]).says(0, &["wrote"]);
    assert!(text(at).contains("revision = 1"));
}
