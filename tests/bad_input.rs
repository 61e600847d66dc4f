//! What people and machines get wrong, and hostile files: each ends with the promised exit code, names
//! what is wrong and where, and leaves nothing half-written.

mod support;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Run, copy, files, folder, gpuseal, root, run, write};

const GOOD: &str = "targets:\n  a: {gpus: [h100], driver: \"580\"}\n";

/// `resolve` on a gpuseal.yaml of this text.
fn yaml(text: impl AsRef<[u8]>) -> Run {
    let project = folder(&[]);
    write(project.path(), "gpuseal.yaml", text);
    run(project.path(), &["resolve"])
}

/// `resolve` on a pyproject.toml of this text.
fn toml(text: &str) -> Run {
    run(folder(&[("pyproject.toml", text)]).path(), &["resolve"])
}

/// Runs without any file.
fn bare(args: &[&str]) -> Run {
    run(folder(&[]).path(), args)
}

/// A release has a second; a debug build beside other tests much more: what is sought here takes minutes.
#[track_caller]
fn soon(what: impl FnOnce() -> Run) -> Run {
    let start = Instant::now();
    let run = what();
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
    assert!(
        start.elapsed() < limit,
        "took {:?}: {}",
        start.elapsed(),
        run.all().chars().take(300).collect::<String>()
    );
    assert!(run.all().len() < 16 * 1024, "{} bytes of answer to a bad file", run.all().len());
    run
}

#[test]
fn an_unknown_card_is_underlined_and_a_near_one_is_named() {
    yaml("targets:\n  a:\n    gpus: [b200, h1000]\n")
        .says(
            5,
            &[
                "error: the matrix knows no GPU `h1000`",
                "gpuseal.yaml:3:18",
                "help: did you mean `h100`",
            ],
        )
        .underlines("h1000");
    toml("[tool.gpuseal.targets.a]\ngpus = [\"h1000\"]\n")
        .says(5, &["`h1000`", "pyproject.toml:2:10", "did you mean `h100`"])
        .underlines("h1000");
    bare(&["resolve", "--gpu", "h1000"]).says(5, &["`h1000`", "did you mean `h100`"]);
    bare(&["check", "--gpu", "h1000"]).says(5, &["`h1000`", "did you mean `h100`"]);
}

/// Nothing comes near: it is the matrix that lacks a row, not the user who mistyped.
#[test]
fn a_card_that_nobody_knows_is_the_matrixs_ignorance() {
    bare(&["check", "--gpu", "voodoo2"])
        .says(5, &["the matrix knows no GPU `voodoo2`", "--overlay"]);
    yaml("targets:\n  a: {gpus: [voodoo2]}\n")
        .says(5, &["voodoo2", "gpuseal.yaml:2:"])
        .underlines("voodoo2");
}

#[test]
fn a_bare_3_10_stays_3_10_in_yaml() {
    yaml(format!("python: 3.10\n{GOOD}")).says(0, &["Python 3.10)", "python:3.10-slim"]);
}

#[test]
fn a_bare_3_10_is_refused_in_toml_where_it_is_a_number() {
    toml("[tool.gpuseal]\npython = 3.10\n[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\n")
        .says(2, &["pyproject.toml:2:10", "quote"])
        .underlines("3.10");
    toml("[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\ndriver = 580\n")
        .says(2, &["pyproject.toml:3:10", "quote"])
        .underlines("580");
    toml("[tool.gpuseal]\npython = \"3.10\"\n[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\n")
        .says(0, &["Python 3.10)"]);
}

#[test]
fn versions_that_are_none() {
    yaml(format!("python: 010\n{GOOD}"))
        .says(2, &["python: `010` is not a Python version", "gpuseal.yaml:1:9"])
        .underlines("010");
    yaml("targets:\n  a: {gpus: [h100], driver: \"58O.65\"}\n")
        .says(2, &["target `a`: driver: `58O.65` is not a driver version", "gpuseal.yaml:2:"])
        .underlines("58O.65");
    yaml(format!("torch: on\n{GOOD}")).says(2, &["torch: `on` is not a torch version"]);
    bare(&["resolve", "--gpu", "h100", "--driver", "58O.65"]).says(2, &["--driver: `58O.65`"]);
    bare(&["resolve", "--gpu", "h100", "--torch", "2.8.0+mine"])
        .says(2, &["--torch: `2.8.0+mine`"]);
    bare(&["check", "--torch", ">=2.8"]).says(2, &["--torch: `>=2.8`"]);
    bare(&["resolve", "--gpu", "h100", "--os", "temple-os"]).says(2, &["temple-os", "glibc:"]);
    bare(&["resolve", "--gpu", "h100", "--platform", "vax/vms"])
        .says(2, &["vax/vms", "linux/amd64"]);
    bare(&["resolve", "--gpu", "h100", "--needs", "speed"]).says(2, &["speed", "nvcc"]);
}

#[test]
fn flags_that_contradict_each_other() {
    bare(&["resolve", "--gpu", "h100", "--torch", "2.6.0+cu126", "--cuda", "12.8"])
        .says(2, &["cu126", "CUDA 12.8", "help:"]);
    bare(&["resolve", "--gpu", "h100", "-q", "-v"]).says(2, &["cannot be used with"]);
    // Agreeing is no contradiction.
    bare(&["resolve", "--gpu", "h100", "--torch", "2.6.0+cu126", "--cuda", "12.6"])
        .says(0, &["2.6.0+cu126"]);
}

#[test]
fn an_unknown_key_is_a_mistake_and_x_is_yours() {
    yaml(format!("pyhton: \"3.12\"\n{GOOD}"))
        .says(2, &["there is no key `pyhton`", "did you mean `python`?", "gpuseal.yaml:1:1"])
        .underlines("pyhton");
    yaml("targets:\n  a: {gpus: [h100], drivr: \"580\"}\n")
        .says(2, &["target `a`: there is no key `drivr`", "did you mean `driver`?"])
        .underlines("drivr");
    toml("[tool.gpuseal]\npyton = \"3.10\"\n[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\n")
        .says(2, &["`pyton`", "did you mean `python`?", "pyproject.toml:2:1"]);
    yaml(format!("zzz: 1\n{GOOD}")).says(2, &["there is no key `zzz`", "known keys are", "x-"]);
    yaml(format!("x-team: {{anything: [1, 2]}}\n{GOOD}")).says(0, &["h100"]);
    toml("[tool.gpuseal]\nx-team = 1\n[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\n")
        .says(0, &["h100"]);
}

#[test]
fn mirrors_that_are_none() {
    let mirrors = |line: &str| yaml(format!("mirrors:\n  {line}\n{GOOD}"));
    mirrors("pypi: ftp://a.test")
        .says(
            2,
            &["`ftp://a.test` is no address of a mirror of `pypi`", "gpuseal.yaml:2:9", "help:"],
        )
        .underlines("ftp://a.test");
    mirrors("pipy: https://a.test")
        .says(2, &["no `pipy`", "did you mean `pypi`?", "gpuseal.yaml:2:3"])
        .underlines("pipy");
    mirrors("docker.io: http://registry.example.org")
        .says(2, &["plain http is for this machine alone", "gpuseal.yaml:2:14"]);
    mirrors("pypi: \"https://a.test/\\nRUN id\"").says(2, &["letters that no address needs"]);
    mirrors("pypi: [a]").says(2, &["gpuseal.yaml:2"]);
    yaml(format!("mirors: {{}}\n{GOOD}")).says(2, &["did you mean `mirrors`?"]);
    toml("[tool.gpuseal.mirrors]\ndocker.io = \"a.test\"\n[tool.gpuseal.targets.a]\ngpus = [\"h100\"]\n")
        .says(2, &["pyproject.toml:2:", "quote a key that has a dot"]);
    let many: String = (0..101).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "  r{n}.test: a.test");
        text
    });
    yaml(format!("mirrors:\n{many}{GOOD}")).says(2, &["more than the 100 registries"]);
    // A variable is named like a flag.
    let project = folder(&[("gpuseal.yaml", GOOD)]);
    let mut command = gpuseal(project.path());
    command.arg("resolve").env("GPUSEAL_MIRROR_GHCR_IO", "http://a.test");
    support::finish(&mut command).says(2, &["GPUSEAL_MIRROR_GHCR_IO", "`ghcr.io`", "help:"]);
}

#[test]
fn a_password_of_a_mirror_is_not_shown() {
    for line in ["pypi: https://me:hunter2@a.test/simple", "docker.io: me:hunter2@a.test/hub"] {
        let run = yaml(format!("mirrors: {{{line}}}\n{GOOD}"));
        assert!(!run.all().contains("hunter2"), "{}", run.all());
        run.says(2, &["has credentials in its address", "gpuseal.yaml:1", "help: leave them out"]);
    }
}

#[test]
fn mirrors_are_no_demand() {
    let project = folder(&[("gpuseal.yaml", GOOD)]);
    run(project.path(), &["lock", "--offline"]).says(0, &["wrote"]);
    let mirrors = "mirrors:\n  pypi: https://a.test/simple\n  docker.io: r.test/hub\n";
    write(project.path(), "gpuseal.yaml", format!("{mirrors}{GOOD}"));
    run(project.path(), &["lock", "--offline", "--check"]).says(0, &["up to date"]);
    // From where each was taken is told; the variable stands over the file.
    let mut command = gpuseal(project.path());
    command.args(["resolve", "-v"]).env("GPUSEAL_MIRROR_DOCKER_IO", "127.0.0.1:5000");
    support::finish(&mut command).says(
        0,
        &["mirrors.pypi: from gpuseal.yaml:2", "mirrors.docker.io: from GPUSEAL_MIRROR_DOCKER_IO"],
    );
}

#[test]
fn the_matrix_may_have_a_mirror() {
    let mirrored = |at: &str| format!("mirrors: {{matrix: {at}}}\n{GOOD}");
    let project = folder(&[("sub/gpuseal.yaml", &mirrored("../facts"))]);
    // A path is taken from the folder of the file.
    let resolve = ["resolve", "--project", "sub"];
    run(project.path(), &resolve).says(2, &["facts"]);
    copy(&root().join("matrices"), &project.path().join("facts"));
    run(project.path(), &resolve).says(0, &["h100"]);
    write(project.path(), "facts/gpus.yaml", "gpus: {}\nwhat: 1\n");
    run(project.path(), &resolve).says(2, &["bad row"]);
    run(project.path(), &["lock", "--offline", "--project", "sub"]).says(2, &["bad row"]);
    run(project.path(), &["inputs", "sub"]).says(2, &["bad row"]);
    // Variable and flag stand before it.
    let matrices = root().join("matrices");
    for variable in ["GPUSEAL_MIRROR_MATRIX", "GPUSEAL_MATRIX"] {
        let mut command = gpuseal(project.path());
        command.args(resolve).env(variable, &matrices);
        support::finish(&mut command).says(0, &["h100"]);
    }
    let mut command = gpuseal(project.path());
    command.args(["matrix", "list"]).env("GPUSEAL_MIRROR_MATRIX", "facts");
    support::finish(&mut command).says(2, &["bad row"]);
    let mut command = gpuseal(project.path());
    command.args(["matrix", "list"]).env("GPUSEAL_MIRROR_MATRIX", "https://a.test/facts");
    support::finish(&mut command).says(2, &["GPUSEAL_MIRROR_MATRIX", "disk"]);
}

#[test]
fn two_files_say_what_is_wanted() {
    let project = folder(&[
        ("gpuseal.yaml", GOOD),
        ("pyproject.toml", "[tool.gpuseal.targets.b]\ngpus = [\"b200\"]\n"),
    ]);
    run(project.path(), &["resolve"])
        .says(2, &["gpuseal.yaml", "[tool.gpuseal]", "pyproject.toml", "help:"]);
    run(project.path(), &["resolve", "--config", "pyproject.toml"]).says(0, &["b200"]);
    // A pyproject.toml that says nothing to us does not disturb.
    let project =
        folder(&[("gpuseal.yaml", GOOD), ("pyproject.toml", "[project]\nname = \"x\"\n")]);
    run(project.path(), &["resolve"]).says(0, &["h100"]);
}

#[test]
fn nothing_is_asked_for() {
    bare(&["resolve"]).says(2, &["no gpuseal.yaml", "--gpu", "help:"]);
    bare(&["check"]).says(2, &["nothing to judge", "--torch"]);
    for text in ["", "\n\n", "# only a comment\n"] {
        yaml(text).says(2, &["the file is empty", "gpuseal.yaml", "help:"]);
    }
    yaml("targets: {}\n").says(2, &["names no targets"]);
    yaml("targets:\n  a: {gpus: []}\n").says(2, &["target `a` names no gpus", "gpuseal.yaml:2:3"]);
    bare(&["resolve", "--config", "absent.yaml"]).says(2, &["absent.yaml"]);
    let project = folder(&[("gpuseal.yaml", GOOD)]);
    run(project.path(), &["resolve", "--target", "b"])
        .says(2, &["there is no target `b`", "targets are a"]);
    run(project.path(), &["check", "--torch", "2.8.0", "--target", "b"])
        .says(2, &["there is no target `b`"]);
}

#[test]
fn unknown_commands_and_flags() {
    bare(&["frobnicate"]).says(2, &["frobnicate", "--help"]);
    bare(&["resolv"]).says(2, &["resolv", "'resolve'"]);
    bare(&["resolve", "--gppu", "h100"]).says(2, &["--gppu", "--gpu"]);
    bare(&[]).says(2, &["Usage: gpuseal"]);
    bare(&["--help"]).says(0, &["Exit codes:", "5 unknown to the matrix"]);
    bare(&["--version"]).says(0, &[concat!("gpuseal ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn names_that_would_reach_a_dockerfile_or_a_shell() {
    for name in [
        r#""a\nRUN x""#,
        r#""$(x)""#,
        r#""a b""#,
        r#""a;b""#,
        r#""`x`""#,
        r#""../a""#,
        r#""-a""#,
        r#""""#,
        "Train",
    ] {
        yaml(format!("targets:\n  {name}: {{gpus: [h100]}}\n"))
            .says(2, &["cannot name a target", "gpuseal.yaml"]);
    }
    for package in ["torchvision; rm -rf /", "a @ http://x/$(y)", "a\\nb", "a`b`"] {
        yaml(format!("with: [\"{package}\"]\n{GOOD}")).says(2, &["with: "]);
    }
}

/// What is echoed cannot make a line of its own: a runner reads `::` commands from both streams.
#[test]
fn what_is_echoed_stays_on_its_line() {
    for format in ["human", "github", "json"] {
        let run = bare(&["check", "--format", format, "--gpu", "h100\n::set-env name=X::y"]);
        assert!(
            !run.all().lines().any(|line| line.starts_with("::set-env")),
            "{format}: {}",
            run.all()
        );
        let run = bare(&["check", "--format", format, "--gpu", "\u{1b}]0;title\u{7}\u{1b}[31mred"]);
        assert!(!run.all().contains(['\u{1b}', '\u{7}']), "{format}: {:?}", run.all());
    }
}

#[test]
fn large_and_deep_files() {
    soon(|| yaml("a".repeat(10_000_000))).says(2, &["more than the 1048576 bytes that are read"]);
    for bracket in ["[", "{", "- ", "? ", "!!a "] {
        soon(|| yaml(bracket.repeat(100_000))).says(2, &["gpuseal.yaml"]);
        soon(|| yaml(format!("{GOOD}x-deep: {}", bracket.repeat(100_000))))
            .says(2, &["gpuseal.yaml"]);
    }
    soon(|| toml(&format!("x = {}", "[".repeat(100_000)))).says(2, &["pyproject.toml"]);
    soon(|| toml(&format!("[{}b]", "a.".repeat(50_000)))).says(2, &["pyproject.toml"]);
    soon(|| {
        yaml(format!(
            "{GOOD}{}",
            (0..30_000).fold(String::new(), |t, i| t + &format!("x-{i}: 1\n"))
        ))
    })
    .says(0, &["h100"]);
}

#[test]
fn an_alias_bomb() {
    let mut text = "x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..30 {
        writeln!(text, "x-{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(", "))
            .expect("a string");
    }
    soon(|| yaml(text + GOOD)).says(2, &["gpuseal.yaml", "budget"]);
    soon(|| yaml("targets: &a\n  a: *a\n")).says(2, &["gpuseal.yaml"]);
}

/// A file below the size cap can still ask for more work than anybody needs.
#[test]
fn more_targets_and_cards_than_anybody_has() {
    let targets = (0..20_000)
        .fold("targets:\n".to_owned(), |t, i| t + &format!("  t{i}: {{gpus: [h100]}}\n"));
    soon(|| yaml(targets)).says(2, &["targets"]);
    soon(|| yaml(format!("targets:\n  a: {{gpus: [{}b200]}}\n", "h100, ".repeat(100_000))))
        .says(2, &["gpus"]);
    soon(|| bare(&["resolve", "--gpu", &"h".repeat(100_000)]));
}

#[test]
fn bytes_that_are_no_text() {
    yaml(b"targets:\n  a: {gpus: [h100]}\n# \xff\n")
        .says(2, &["line 3 is not UTF-8", "gpuseal.yaml"]);
    yaml(b"\xff\xfet\0a\0").says(2, &["not UTF-8"]);
    yaml(b"targets:\n  a: {gpus: [h1\0\0]}\n").says(2, &["gpuseal.yaml"]);
    yaml(b"\0\0\0\0").says(2, &["gpuseal.yaml"]);
    yaml("targets: [a]\n").says(2, &["gpuseal.yaml"]);
    yaml("just text\n").says(2, &["gpuseal.yaml"]);
    yaml("targets:\n  a: {gpus: [h100]}\n  a: {gpus: [b200]}\n")
        .says(2, &["gpuseal.yaml", "duplicate"]);
    // A byte order mark and CRLF are what editors write.
    yaml("\u{feff}targets:\r\n  a: {gpus: [h100]}\r\n").says(0, &["h100"]);
}

/// An error is said once, in our words: the reader's own wrapping is not shown.
#[test]
fn errors_of_the_yaml_reader_are_told_as_ours() {
    for text in [
        "targets: [a]\n",
        "torch: \">=2\ntargets: {}\n",
        "targets:\n  a: {gpus: [h100]}\n  a: {gpus: [b200]}\n",
        "a: 1\n---\nb: 2\n",
    ] {
        let run = yaml(text);
        run.says(2, &["gpuseal.yaml:"]);
        for word in ["error: error", "<input>", "DuplicateKeyPolicy", "from_str"] {
            assert!(!run.stderr.contains(word), "`{word}` in:\n{}", run.stderr);
        }
    }
}

/// The embedded matrix as files.
fn matrix() -> tempfile::TempDir {
    let folder = folder(&[]);
    copy(&root().join("matrices"), folder.path());
    folder
}

fn check(matrix: &Path) -> Run {
    run(matrix, &["matrix", "check", "."])
}

#[test]
fn every_bad_row_is_listed_at_once() {
    let matrix = matrix();
    check(matrix.path()).says(0, &["no fault"]);
    fs_err::copy(root().join("tests/overlay/faults.yaml"), matrix.path().join("faults.yaml"))
        .expect("a copy");
    let answer = soon(|| check(matrix.path()));
    let faults = answer.stdout.lines().count() - 1;
    assert!(faults >= 50, "only {faults} faults:\n{}", answer.stdout);
    answer.says(1, &[&format!("{faults} bad rows")]);
    insta::with_settings!({
        snapshot_path => root().join("tests/overlay"), prepend_module_to_snapshot => false, omit_expression => true,
    }, {
        insta::assert_snapshot!("faults", answer.stdout);
    });
    // A command that only wanted to use it ends as with any bad input.
    run(matrix.path(), &["resolve", "--matrix", ".", "--gpu", "h100"])
        .says(2, &["bad rows", "faults.yaml: gpus F dangling"]);
}

#[test]
fn facts_changed_by_hand_are_noticed() {
    let change = |file: &str, old: &str, new: &str| {
        let matrix = matrix();
        let path = matrix.path().join(file);
        let text = fs_err::read_to_string(&path).expect("a file");
        assert!(text.contains(old), "{file} has no `{old}`");
        fs_err::write(&path, text.replacen(old, new, 1)).expect("a file");
        (check(matrix.path()), matrix)
    };
    change("torch/2.8.yaml", "torch.wheel", "torch.weel")
        .0
        .says(1, &["torch/2.8.yaml: torch 2.8.0", "source `torch.weel"]);
    change("torch/2.8.yaml", "sass: [sm_70, sm_75", "sass: [sm_75, sm_70")
        .0
        .says(1, &["torch 2.8.0", "not sorted"]);
    change("torch/2.8.yaml", "version: \"2.8.0\"", "version: \"2.8\"")
        .0
        .says(1, &["`2.8` is not a torch release"]);
    change("cuda.yaml", "minor_compat_driver: \"450.80.02\"", "minor_compat_driver: \"450.80.01\"")
        .0
        .says(1, &["contradicts minor_compat 11"]);
    change("torch/2.8.yaml", "requires_python", "requires_pyhton")
        .0
        .says(1, &["torch/2.8.yaml: torch 2.8.0", "requires_pyhton"]);
}

#[test]
fn a_matrix_of_the_future_is_refused_by_name() {
    let header = |schema: &str, more: &str| {
        let matrix = matrix();
        write(
            matrix.path(),
            "matrix.yaml",
            format!("matrix: {{id: \"2031.1.0\", schema: {schema}, date: \"2031-01-01\"}}\n{more}"),
        );
        matrix
    };
    for more in ["", "future: [{never: seen}]\n"] {
        let matrix = header("99", more);
        check(matrix.path()).says(1, &["schema 99", "a newer gpuseal"]);
        run(matrix.path(), &["resolve", "--matrix", ".", "--gpu", "h100"])
            .says(2, &["schema 99", "a newer gpuseal"]);
    }
}

#[test]
fn a_matrix_that_is_not_there() {
    let place = folder(&[("empty/readme.txt", "")]);
    run(place.path(), &["resolve", "--gpu", "h100", "--matrix", "absent"]).says(2, &["absent"]);
    run(place.path(), &["resolve", "--gpu", "h100", "--matrix", "empty"])
        .says(2, &["empty", "no .yaml file"]);
    run(place.path(), &["resolve", "--gpu", "h100", "--overlay", "absent.yaml"])
        .says(2, &["absent.yaml"]);
    write(place.path(), "deep.yaml", "[".repeat(100_000));
    soon(|| run(place.path(), &["resolve", "--gpu", "h100", "--overlay", "deep.yaml"]))
        .says(2, &["deep.yaml"]);
    write(place.path(), "large.yaml", "a".repeat(10_000_000));
    soon(|| run(place.path(), &["resolve", "--gpu", "h100", "--overlay", "large.yaml"]))
        .says(2, &["large.yaml"]);
}

#[test]
fn an_overlay_adds_a_card_and_is_seen() {
    let overlay = root().join("tests/overlay/our-card.yaml").display().to_string();
    let with = |args: &[&str]| bare(&[&["--overlay", overlay.as_str()], args].concat());
    bare(&["check", "--torch", "2.8.0", "--gpu", "bigbox"]).says(5, &["bigbox"]);
    with(&["check", "--torch", "2.8.0", "--gpu", "bigbox"])
        .says(0, &["Lab Prototype 1 (bigbox)", "+ overlay our-card.yaml"]);
    with(&["resolve", "--gpu", "bigbox"]).says(0, &["bigbox", "+ overlay our-card.yaml"]);
    with(&["resolve", "--gpu", "bigbox", "--driver", "450.80.02"])
        .says(1, &["+ overlay our-card.yaml"]);
    with(&["resolve", "--gpu", "bigbox", "--format", "json"])
        .says(0, &["\"overlays\": [\n      \"our-card.yaml\""]);
    with(&["matrix", "show", "bigbox"]).says(0, &["overlay our-card.yaml", "own.bench"]);
    with(&["matrix", "check"]).says(0, &["+ overlay our-card.yaml", "no fault"]);
    // The digest names the overlay's bytes too.
    let digest = |run: Run| {
        run.stdout.split("sha256:").nth(1).map(|t| t[..12].to_owned()).expect("a digest")
    };
    assert_ne!(
        digest(bare(&["check", "--gpu", "h100"])),
        digest(with(&["check", "--gpu", "h100"]))
    );
}

#[test]
fn the_matrix_is_shown_and_compared() {
    bare(&["matrix", "list"]).says(0, &["torch", "gpus", "branches", "schema 1"]);
    bare(&["matrix", "list", "gpus"]).says(0, &["H100-SXM5-80GB"]);
    bare(&["matrix", "list", "nonsense"]).says(2, &["`nonsense`", "tables are torch, gpus"]);
    bare(&["matrix", "show", "h100"]).says(0, &["gpus/", "capability: 9.0", "source: "]);
    bare(&["matrix", "show", "torch/2.8.0+cu128"])
        .says(0, &["cuda: 12.8", "sass: [sm_70, sm_75", "source: artifact"]);
    bare(&["matrix", "show", "nonsense"]).says(2, &["`nonsense`", "gpuseal matrix list"]);
    bare(&["matrix", "diff", "embedded", "embedded"]).says(0, &["no difference"]);
    bare(&["matrix", "diff", "embedded", "absent"]).says(2, &["absent"]);
    let changed = matrix();
    let path = changed.path().join("gpus.yaml");
    let text = fs_err::read_to_string(&path).expect("gpus.yaml");
    fs_err::write(&path, text.replacen("aliases: [h100,", "aliases: [our-h100, h100,", 1))
        .expect("gpus.yaml");
    run(changed.path(), &["matrix", "diff", "embedded", "."])
        .says(1, &["~ gpus/H100", "aliases: ", "our-h100"]);
    run(changed.path(), &["matrix", "diff", ".", "embedded"]).says(1, &["~ gpus/H100"]);
}

/// `gpuseal ... | head -1`: the reader goes away, and that is no error.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_silence() {
    let place = folder(&[]);
    for args in [
        &["matrix", "show", "torch"][..],
        &["matrix", "show", "gpus", "--format", "json"],
        &["resolve", "--gpu", "h100"],
        &["--help"],
    ] {
        let mut child = gpuseal(place.path())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().expect("stdout"));
        reader.read_line(&mut line).expect("a line");
        drop(reader);
        let mut said = String::new();
        child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
        let status = child.wait().expect("an end");
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// A disk that is full is one, though: an answer that nobody got is not a success.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let place = folder(&[]);
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut command = gpuseal(place.path());
    let output = command
        .args(["resolve", "--gpu", "h100"])
        .stdout(full.into_parts().0)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: "));
}

fn locked() -> tempfile::TempDir {
    let project = folder(&[("gpuseal.yaml", GOOD)]);
    run(project.path(), &["lock", "--offline"]).says(0, &["wrote", "gpuseal.lock"]);
    assert_eq!(files(project.path()), ["gpuseal.lock", "gpuseal.yaml"]);
    project
}

#[test]
fn a_lock_is_written_once_and_then_fresh() {
    let project = locked();
    let read = || fs_err::read_to_string(project.path().join("gpuseal.lock")).expect("a lock");
    let first = read();
    run(project.path(), &["lock", "--offline"]).says(0, &["unchanged"]);
    assert_eq!(read(), first);
    run(project.path(), &["lock", "--offline", "--check"]).says(0, &["up to date"]);
    run(project.path(), &["resolve", "--check"]).says(0, &[]);
    run(project.path(), &["resolve", "--check", "--driver", "570.86.15"])
        .says(1, &["lock-stale", "gpuseal lock"]);
    run(project.path(), &["lock", "--offline", "--check", "--driver", "570.86.15"])
        .says(1, &["lock-stale", "driver"]);
    run(project.path(), &["lock", "--offline", "--dry-run", "--driver", "570.86.15"])
        .says(0, &["driver"]);
    assert_eq!(read(), first);
    assert!(
        !first.contains(&project.path().display().to_string()),
        "the lock names the folder it was made in"
    );
    assert_eq!(files(project.path()), ["gpuseal.lock", "gpuseal.yaml"]);
}

#[test]
fn locks_that_are_refused() {
    let good = fs_err::read_to_string(locked().path().join("gpuseal.lock")).expect("a lock");
    let future = good.replacen("version = 1", "version = 99", 1);
    let zeros = vec![0; 3_000_000];
    let cases: [(&[u8], &[&str]); 5] = [
        (future.as_bytes(), &["lock version 99"]),
        (b"not toml [[[", &["is no lock"]),
        (b"", &["gpuseal.lock"]),
        (b"version = 1\n\xff\xfe", &["not UTF-8"]),
        (&zeros, &["gpuseal.lock"]),
    ];
    for (bytes, words) in cases {
        let project = folder(&[("gpuseal.yaml", GOOD)]);
        let path = write(project.path(), "gpuseal.lock", bytes);
        for args in [
            &["lock", "--offline"][..],
            &["lock", "--offline", "--check"],
            &["resolve", "--check"],
            &["render", "dockerfile"],
        ] {
            soon(|| run(project.path(), args)).says(2, words);
            assert_eq!(
                fs_err::read(&path).expect("a lock"),
                bytes,
                "{args:?} changed a lock that it could not read"
            );
        }
        assert_eq!(files(project.path()), ["gpuseal.lock", "gpuseal.yaml"]);
        run(project.path(), &["lock", "--offline", "--force"]).says(0, &["wrote"]);
        assert_eq!(fs_err::read_to_string(&path).expect("a lock"), good);
    }
    let project = folder(&[("gpuseal.yaml", GOOD)]);
    run(project.path(), &["lock", "--offline", "--check"]).says(1, &["lock-stale", "there is no"]);
    run(project.path(), &["render", "dockerfile"]).says(2, &["gpuseal.lock", "gpuseal lock"]);
}

#[test]
fn places_that_cannot_be_written() {
    let project = folder(&[("gpuseal.yaml", GOOD), ("gpuseal.lock/keep", "")]);
    for args in [
        &["lock", "--offline"][..],
        &["lock", "--offline", "--force"],
        &["lock", "--offline", "--render", "dockerfile"],
    ] {
        // The reason of the system is part of the message.
        run(project.path(), args).says(2, &["error: ", "gpuseal.lock", "irectory"]);
        assert_eq!(files(project.path()), ["gpuseal.lock", "gpuseal.yaml"], "{args:?}");
    }
    assert_eq!(files(&project.path().join("gpuseal.lock")), ["keep"]);
    run(project.path(), &["lock", "--offline", "--gpu", "h100", "--project", "absent"])
        .says(2, &["absent", "o such file"]);
    let project = locked();
    write(project.path(), "Dockerfile/keep", "");
    run(project.path(), &["lock", "--frozen", "--render", "dockerfile"]).says(2, &["Dockerfile"]);
    run(project.path(), &["render", "dockerfile", "-o", "absent/Dockerfile"])
        .says(2, &["absent/Dockerfile"]);
    run(project.path(), &["render", "dockerfile", "-o", "gpuseal.yaml/Dockerfile"])
        .says(2, &["gpuseal.yaml/Dockerfile"]);
    assert_eq!(files(project.path()), ["Dockerfile", "gpuseal.lock", "gpuseal.yaml"]);
}

/// A wish that nothing satisfies leaves no lock, and an old one alone.
#[test]
fn no_answer_writes_no_lock() {
    let project = folder(&[("gpuseal.yaml", "targets:\n  a: {gpus: [v100], driver: \"595\"}\n")]);
    run(project.path(), &["lock", "--offline"]).says(1, &["driver-too-new"]);
    assert_eq!(files(project.path()), ["gpuseal.yaml"]);
    run(project.path(), &["lock"]).says(1, &["driver-too-new"]);
    assert_eq!(files(project.path()), ["gpuseal.yaml"]);
}
