//! Hooks before a commit: what stops one, what is said, and which files the manifests of the hooks name.
//! `.ci/hooks` runs them by pre-commit and prek.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use gpuseal::render::{Kind, Options};
use gpuseal::requirements::project;
use regex::Regex;
use serde::Deserialize;
use support::{Run, finish, folder, gpuseal, root, run, write};

const WISHES: &str = "torch: \"2.9.1\"\npython: \"3.12\"\ntargets:\n  train: {gpus: h100, driver: \"580\"}\n  edge: {gpus: l4, driver: \"580\"}\n";

/// git in `at`, with nothing of this machine's settings.
fn git_with(at: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").expect("a PATH")).current_dir(at);
    git.env("GIT_CONFIG_GLOBAL", at.join("no-config")).env("GIT_CONFIG_NOSYSTEM", "1");
    git.envs(env.iter().copied());
    git.args([
        "-c",
        "user.name=N",
        "-c",
        "user.email=n@example.org",
        "-c",
        "init.defaultBranch=main",
    ]);
    git.args(args).output().expect("git is on the PATH")
}

#[track_caller]
fn git(at: &Path, args: &[&str]) {
    let done = git_with(at, args, &[]);
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The program where git can be found.
fn hook(at: &Path, args: &[&str]) -> Run {
    let mut command = gpuseal(at);
    command.env("PATH", std::env::var_os("PATH").expect("a PATH")).args(args);
    finish(&mut command)
}

fn resolve(at: &Path) -> Run {
    hook(at, &["resolve", "--hook"])
}

fn dockerfile(at: &Path) -> Run {
    hook(at, &["render", "--hook", "dockerfile"])
}

#[track_caller]
fn silent(run: &Run) {
    run.says(0, &[]);
    assert_eq!(run.all(), "");
}

/// A repository with wishes, and with a lock that git does not know yet.
fn locked() -> tempfile::TempDir {
    let place = folder(&[("gpuseal.yaml", WISHES)]);
    git(place.path(), &["init", "-q"]);
    git(place.path(), &["add", "gpuseal.yaml"]);
    run(place.path(), &["lock", "--offline"]).says(0, &["wrote gpuseal.lock"]);
    place
}

fn rewrite(at: &Path, name: &str, old: &str, new: &str) {
    let text = fs_err::read_to_string(at.join(name)).expect("a file");
    assert!(text.contains(old), "{text}");
    write(at, name, text.replace(old, new));
}

#[test]
fn a_first_lock_passes_once_git_knows_it() {
    let place = folder(&[("gpuseal.yaml", WISHES)]);
    let at = place.path();
    git(at, &["init", "-q"]);
    git(at, &["add", "gpuseal.yaml"]);
    resolve(at).says(
        1,
        &[
            "error[lock-stale]: there is no `gpuseal.lock`",
            "help: run `gpuseal lock` and commit the result",
        ],
    );
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    let untracked = "error: not in git's index as it stands here: `gpuseal.lock`";
    let help = "help: look at it, then `git add gpuseal.lock`";
    resolve(at).says(1, &[untracked, help]);
    // A name without a content is a promise.
    git(at, &["add", "--intent-to-add", "gpuseal.lock"]);
    resolve(at).says(1, &[untracked]);
    git(at, &["add", "gpuseal.lock"]);
    silent(&resolve(at));
    git(at, &["commit", "-qm", "first"]);
    silent(&resolve(at));
    // From elsewhere, and by the name that it has there.
    fs_err::create_dir(at.join("below")).expect("a folder");
    silent(&hook(&at.join("below"), &["resolve", "--hook", "--project", ".."]));
    write(at, "gpuseal.lock", fs_err::read_to_string(at.join("gpuseal.lock")).expect("it") + "\n");
    hook(&at.join("below"), &["resolve", "--hook", "--project", ".."])
        .says(1, &["`../gpuseal.lock`", "git add ../gpuseal.lock"]);
}

#[test]
fn what_stops_a_commit_is_told() {
    let place = locked();
    let at = place.path();
    git(at, &["add", "."]);
    rewrite(at, "gpuseal.yaml", "2.9.1", "2.8.0");
    resolve(at).says(
        1,
        &[
            "~ target train: torch \"2.9.1\" -> \"2.8.0\"",
            "error[lock-stale]",
            "help: run `gpuseal lock` and",
        ],
    );
    // The new one stands there, and git would commit the old one.
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    resolve(at).says(1, &["git add gpuseal.lock gpuseal.yaml"]);
    // The wishes of the commit are still the old ones, which the new lock does not answer.
    git(at, &["add", "gpuseal.lock"]);
    resolve(at).says(1, &["not in git's index as it stands here: `gpuseal.yaml`\n"]);
    git(at, &["add", "gpuseal.yaml"]);
    silent(&resolve(at));
    rewrite(at, "gpuseal.yaml", "driver: \"580\"", "driver: \"470\"");
    resolve(at).says(1, &["train", "driver"]);
    fs_err::remove_file(at.join("gpuseal.lock")).expect("a file");
    let no = resolve(at);
    no.says(1, &["raise the driver"]);
    assert!(!no.all().contains("there is no `gpuseal.lock`"), "{}", no.all());
    fs_err::remove_file(at.join("gpuseal.yaml")).expect("a file");
    resolve(at).says(2, &["error: ", "help: "]);
    write(at, "gpuseal.yaml", WISHES);
    write(at, "gpuseal.lock", "version = 1\n<<<<<<<\n");
    resolve(at).says(2, &["gpuseal.lock", "gpuseal lock --force"]);
    run(at, &["resolve", "--hook", "--check"]).says(2, &["cannot be used with"]);
    run(at, &["resolve", "--hook", "--target", "train"]).says(2, &["cannot be used with"]);
}

#[test]
fn everything_that_was_read_is_committed_with_the_lock() {
    let place = folder(&[("gpuseal.yaml", WISHES), ("deps/base.txt", "torch>=2.9\n")]);
    let at = place.path();
    write(at, "requirements.txt", "-r deps/base.txt\n");
    git(at, &["init", "-q"]);
    run(at, &["lock", "--offline", "--render", "dockerfile"]).says(0, &["wrote"]);
    git(at, &["add", "gpuseal.lock", "requirements.txt"]);
    resolve(at).says(
        1,
        &[
            "not in git's index as it stands here: `gpuseal.yaml`, `deps/base.txt`\n",
            "help: look at it, then `git add gpuseal.yaml deps/base.txt`\n",
        ],
    );
    git(at, &["add", "gpuseal.yaml", "deps"]);
    silent(&resolve(at));
    // A file elsewhere is in no commit of this repository.
    let other = folder(&[("wishes.yaml", WISHES)]);
    let config = other.path().join("wishes.yaml");
    let run = hook(at, &["resolve", "--hook", "--config", &config.to_string_lossy()]);
    silent(&run);
}

/// As `lock --check` does: a hook in CI is read by programs too.
/// What git is told to leave alone is its owner's; but without lock or configuration nothing can be judged.
#[test]
fn what_is_ignored_stays_with_its_owner() {
    let place = locked();
    let at = place.path();
    git(at, &["add", "gpuseal.lock"]);
    write(at, ".gitignore", ".python-version\n");
    write(at, ".python-version", "3.12\n");
    run(at, &["lock", "--offline"]).says(0, &[]);
    git(at, &["add", "gpuseal.lock"]);
    silent(&resolve(at));
    write(at, ".gitignore", "");
    resolve(at).says(1, &["git add .python-version"]);
    write(at, ".gitignore", ".python-version\ngpuseal.yaml\n");
    git(at, &["rm", "-q", "--cached", "gpuseal.yaml"]);
    resolve(at).says(1, &["git ignores: `gpuseal.yaml`"]);
}

#[test]
fn a_hook_speaks_in_every_voice() {
    let place = locked();
    let at = place.path();
    git(at, &["add", "."]);
    let hook = |args: &[&str]| hook(at, &[&["resolve", "--hook"], args].concat());
    hook(&["--format", "json"]).says(0, &["\"state\": \"unchanged\""]);
    silent(&hook(&["--report", "markdown=said.md", "--report", "json=said.json"]));
    let read = |name: &str| fs_err::read_to_string(at.join(name)).expect(name);
    assert!(read("said.json").contains("\"verdict\": \"ok\"") && !read("said.md").is_empty());
    rewrite(at, "gpuseal.yaml", "2.9.1", "2.8.0");
    hook(&["--format", "json", "--report", "sarif=said.sarif"])
        .says(1, &["\"state\": \"stale\"", "lock-stale"]);
    assert!(read("said.sarif").contains("lock-stale"));
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    hook(&["--report", "json=said.json"]).says(1, &["not in git's index"]);
    assert!(read("said.json").contains("not in git's index"));
    fs_err::remove_file(at.join("gpuseal.lock")).expect("a lock");
    hook(&["--report", "json=said.json"]).says(1, &["error[lock-stale]"]);
    assert!(read("said.json").contains("\"state\": \"missing\""));
}

/// What is advised has to work.
#[test]
fn advice_that_git_follows() {
    let place = locked();
    let at = place.path();
    write(at, ".gitignore", "*.lock\n");
    resolve(at)
        .says(1, &["take out of .gitignore (or `git add -f`) what git ignores: `gpuseal.lock`"]);
    git(at, &["add", "-f", "gpuseal.lock"]);
    silent(&resolve(at));
    git(at, &["update-index", "--skip-worktree", "gpuseal.lock"]);
    silent(&resolve(at));

    // Another repository in a folder of this one has an index of its own.
    write(at, "my sub/gpuseal.yaml", WISHES);
    let sub = at.join("my sub");
    git(&sub, &["init", "-q"]);
    run(&sub, &["lock", "--offline"]).says(0, &["wrote"]);
    git(&sub, &["add", "gpuseal.yaml"]);
    let mut command = gpuseal(at);
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    // As git runs hooks.
    command.env("GIT_INDEX_FILE", ".git/index").env("GIT_DIR", ".git");
    command.args(["resolve", "--hook", "--project", "my sub"]);
    finish(&mut command)
        .says(1, &["`my sub/gpuseal.lock`\n", "then `git -C 'my sub' add gpuseal.lock`\n"]);
    git(at, &["-C", "my sub", "add", "gpuseal.lock"]);
    silent(&finish(&mut command));
}

#[test]
fn a_missing_lock_is_a_stale_one() {
    let place = folder(&[("p/gpuseal.yaml", WISHES)]);
    let at = place.path();
    let no = "there is no `p/gpuseal.lock`";
    let in_p = |args: &[&str]| run(at, &[args, &["--project", "p"]].concat());
    for args in [
        &["lock", "--check"][..],
        &["resolve", "--check"],
        &["resolve", "--hook"],
        &["render", "dockerfile", "--check"],
        &["render", "dockerfile", "--hook"],
    ] {
        in_p(args).says(1, &[no, "help: run `gpuseal lock` and commit the result"]);
        in_p(&[args, &["--format", "sarif"]].concat())
            .says(0, &["lock-stale", no, "p/gpuseal.lock"]);
        in_p(&[args, &["--format", "json"]].concat()).says(1, &["lock-stale", no]);
    }
    in_p(&["render", "dockerfile"]).says(2, &[no]);
}

#[test]
fn where_git_cannot_be_asked_the_rest_decides() {
    let place = locked();
    let at = place.path();
    // No PATH: no git.
    let empty = tempfile::tempdir().expect("a folder");
    let mut command = gpuseal(at);
    command.env("PATH", empty.path()).args(["resolve", "--hook"]);
    finish(&mut command).says(0, &["note: git could not say what a commit would hold: `git`: "]);
    fs_err::remove_dir_all(at.join(".git")).expect("a folder");
    let mut command = gpuseal(at);
    // Not even where a repository lies around the folder of temporary files.
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    command.env("GIT_CEILING_DIRECTORIES", at.parent().expect("a folder"));
    finish(command.args(["resolve", "--hook"]))
        .says(0, &["note: git could not say", "not a git repository"]);
    rewrite(at, "gpuseal.yaml", "2.9.1", "2.8.0");
    resolve(at).says(1, &["error[lock-stale]"]);
}

#[test]
fn rendered_files_are_kept_and_told() {
    let place = locked();
    let at = place.path();
    git(at, &["add", "."]);
    dockerfile(at).says(
        1,
        &[
            "error: not what the lock renders, and now written: `Dockerfile`, `.dockerignore`",
            "help: look at it, then `git add Dockerfile .dockerignore`",
        ],
    );
    let first = fs_err::read(at.join("Dockerfile")).expect("a Dockerfile");
    dockerfile(at).says(1, &["not in git's index as it stands here: `Dockerfile`"]);
    git(at, &["add", "."]);
    silent(&dockerfile(at));
    // It is nobody's to bring back.
    fs_err::remove_file(at.join(".dockerignore")).expect("a file");
    silent(&dockerfile(at));
    rewrite(at, "Dockerfile", "torch==2.9.1", "torch==2.9.0");
    // The index had it right.
    dockerfile(at).says(1, &["now written: `Dockerfile`", "help: commit again"]);
    assert_eq!(fs_err::read(at.join("Dockerfile")).expect("a Dockerfile"), first);
    silent(&dockerfile(at));
    // A checkout of Windows.
    write(at, "Dockerfile", String::from_utf8(first).expect("text").replace('\n', "\r\n"));
    git(at, &["add", "Dockerfile"]);
    silent(&dockerfile(at));

    let hand = "FROM scratch\n";
    write(at, "Dockerfile", hand);
    dockerfile(at).says(2, &["is not what `gpuseal render dockerfile` writes"]);
    assert_eq!(fs_err::read_to_string(at.join("Dockerfile")).expect("it"), hand);
    hook(at, &["render", "--hook", "dockerfile", "--managed"])
        .says(1, &["now written: `Dockerfile`", "git add Dockerfile"]);
    git(at, &["add", "Dockerfile"]);
    silent(&hook(at, &["render", "--hook", "dockerfile", "--managed"]));
    assert!(fs_err::read_to_string(at.join("Dockerfile")).expect("it").contains(hand));
}

#[test]
fn kinds_of_several_files_and_places_of_the_users() {
    let place = locked();
    let at = place.path();
    support::filled::fill(at);
    git(at, &["add", "."]);
    let pylock = ["render", "--hook", "pylock"];
    hook(at, &pylock).says(1, &["git add pylock.train.toml pylock.edge.toml"]);
    git(at, &["add", "pylock.edge.toml"]);
    hook(at, &pylock).says(1, &["not in git's index as it stands here: `pylock.train.toml`"]);
    git(at, &["add", "."]);
    silent(&hook(at, &pylock));
    rewrite(at, "pylock.edge.toml", "lock-version", "look-version");
    let one = hook(at, &pylock);
    one.says(1, &["now written: `pylock.edge.toml`\n"]);

    fs_err::create_dir(at.join("of ours")).expect("a folder");
    let k8s = ["render", "--hook", "k8s", "-o", "of ours/k8s.yaml"];
    hook(at, &k8s).says(1, &["git add 'of ours/k8s.yaml'"]);
    git(at, &["add", "of ours"]);
    silent(&hook(at, &k8s));
    hook(at, &["render", "--hook", "k8s", "-o", "-"]).says(2, &["--hook keeps a file"]);
    hook(at, &["render", "--hook", "uv"]).says(2, &["take the project's with --write"]);
    hook(at, &["render", "--hook", "dockerfile", "--check"]).says(2, &["cannot be used with"]);
}

/// git looks at a link, and not behind it: what lies there is no part of the repository.
#[cfg(unix)]
#[test]
fn what_git_cannot_see_is_not_passed() {
    let place = locked();
    let at = place.path();
    git(at, &["add", "gpuseal.lock"]);
    let other = folder(&[("gpuseal.yaml", WISHES)]);
    run(other.path(), &["lock", "--offline"]).says(0, &["wrote"]);
    std::os::unix::fs::symlink(other.path(), at.join("link")).expect("a link");
    let project = |name: &str| hook(at, &["resolve", "--hook", "--project", name]);
    project("link").says(1, &["not in git's index as it stands here: `link/gpuseal.lock`"]);
    fs_err::create_dir(at.join("inner")).expect("a folder");
    write(at, "inner/gpuseal.yaml", WISHES);
    git(&at.join("inner"), &["init", "-q"]);
    run(&at.join("inner"), &["lock", "--offline"]).says(0, &["wrote"]);
    project("inner").says(1, &["`inner/gpuseal.lock`"]);
}

/// git tells a hook by the environment which index it commits: with `-a`, and with names on the command
/// line, that is not the usual one.
#[cfg(unix)]
#[test]
fn the_index_of_the_commit_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = locked();
    let at = place.path();
    let script =
        write(at, ".git/hooks/pre-commit", "#!/bin/sh\nexec \"$GPUSEAL\" resolve --hook\n");
    fs_err::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let commit_in = |at: &Path, args: &[&str]| {
        let env = [("GPUSEAL", env!("CARGO_BIN_EXE_gpuseal")), ("NO_COLOR", "1")];
        let done = git_with(at, &[&["commit", "-qm", "x"], args].concat(), &env);
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let commit = |args: &[&str]| commit_in(at, args);
    let (done, said) = commit(&[]);
    assert!(!done && said.contains("not in git's index"), "{said}");
    git(at, &["add", "gpuseal.lock"]);
    assert_eq!(commit(&[]), (true, String::new()));

    rewrite(at, "gpuseal.yaml", "2.9.1", "2.8.0");
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    // A part of the folder: the lock stays behind.
    let (done, said) = commit(&["gpuseal.yaml"]);
    assert!(!done && said.contains("git add gpuseal.lock"), "{said}");
    assert_eq!(commit(&["-a"]), (true, String::new()));
    rewrite(at, "gpuseal.yaml", "2.8.0", "2.9.1");
    run(at, &["lock", "--offline"]).says(0, &["wrote"]);
    assert_eq!(commit(&["gpuseal.yaml", "gpuseal.lock"]), (true, String::new()));
    // A second folder of the same repository has its GIT_DIR elsewhere.
    git(at, &["worktree", "add", "-q", "second"]);
    let second = at.join("second");
    rewrite(&second, "gpuseal.yaml", "2.9.1", "2.8.0");
    let (done, said) = commit_in(&second, &["-a"]);
    assert!(!done && said.contains("error[lock-stale]"), "{said}");
    run(&second, &["lock", "--offline"]).says(0, &["wrote"]);
    let (done, said) = commit_in(&second, &["gpuseal.yaml"]);
    assert!(!done && said.contains("git add gpuseal.lock"), "{said}");
    assert_eq!(commit_in(&second, &["-a"]), (true, String::new()));
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    id: String,
    name: String,
    description: String,
    entry: String,
    #[serde(default)]
    args: Vec<String>,
    language: String,
    files: String,
    pass_filenames: bool,
    require_serial: bool,
    stages: Vec<String>,
    minimum_pre_commit_version: String,
}

fn hooks(path: &str) -> Vec<Hook> {
    let text = fs_err::read_to_string(root().join(path)).expect("a manifest");
    serde_yaml::from_str(&text).unwrap_or_else(|err| panic!("{path}: {err}"))
}

fn files(id: &str) -> Regex {
    let hooks = hooks(".pre-commit-hooks.yaml");
    let hook = hooks.iter().find(|hook| hook.id == id).expect("the hook");
    Regex::new(&hook.files).expect("a pattern")
}

/// Every literal of the file that looks for a project's files, alone and with each end: of those names
/// that it reads, `files` must name all. A file that is looked for tomorrow is caught here.
#[test]
fn the_pattern_names_every_file_that_is_looked_for() {
    let pattern = files("gpuseal-resolve");
    let source = root().join("src/requirements/project/discover.rs");
    let code = fs_err::read_to_string(source).expect("the source");
    let literal = Regex::new("\"([A-Za-z0-9._-]+)\"").expect("a pattern");
    let words: BTreeSet<&str> =
        literal.captures_iter(&code).map(|found| found.get(1).expect("a word").as_str()).collect();
    let mut names: BTreeSet<String> = words.iter().map(|&word| word.to_owned()).collect();
    // Ends are short, or begin with a dot; some are split off before a comparison.
    let ends = words.iter().copied().filter(|word| word.len() < 5 || word.starts_with('.'));
    let ends = ends.chain([".txt", ".yml", ".yaml", ".toml", ""]);
    for end in ends.collect::<BTreeSet<_>>() {
        for word in &words {
            names.extend([
                format!("{word}{end}"),
                format!("{word}.{end}"),
                format!("{word}-x.{end}"),
                format!("x-{word}{end}"),
                format!("{}{end}", word.to_ascii_uppercase()),
            ]);
        }
    }
    names.retain(|name| name.chars().any(char::is_alphanumeric));
    let is_read = |name: &str| {
        let place = folder(&[]);
        // No text of any format; whoever says so has read it.
        write(place.path(), name, "{\0");
        project::folder(place.path()).map_or(true, |project| !project.files.is_empty())
    };
    for must in ["pyproject.toml", "uv.lock", "Dockerfile", "pylock.toml", ".python-version"] {
        assert!(words.contains(must) || must == "pylock.toml", "{must} is no literal");
        assert!(is_read(must), "{must} is not read");
    }
    assert!(names.len() > 2000, "only {} names", names.len());
    let mut missed = Vec::new();
    for (count, name) in names.iter().enumerate() {
        for dir in ["", "requirements/", "requirements/x/", "docker/"] {
            let name = format!("{dir}{name}");
            // Folders matter to few: a tenth of all is a fair share of them.
            if (dir.is_empty() || count % 10 == 0) && !pattern.is_match(&name) && is_read(&name) {
                missed.push(name);
            }
        }
    }
    assert!(missed.is_empty(), "of {} names these are read: {missed:?}", names.len());
}

#[test]
fn the_pattern_names_what_projects_have() {
    let pattern = files("gpuseal-resolve");
    let mut count = 0;
    for entry in fs_err::read_dir(root().join("tests/projects")).expect("tests/projects") {
        let path = entry.expect("an entry").path().join("project");
        let Ok(project) = project::folder(&path) else { continue };
        for file in project.files {
            count += 1;
            // What a file includes may have any name.
            let included = file.name.starts_with("deploy/");
            assert!(
                included || pattern.is_match(&file.name),
                "{} of {}",
                file.name,
                path.display()
            );
        }
    }
    assert!(count > 100, "only {count} files");
    for name in ["gpuseal.yaml", "gpuseal.yml", "gpuseal.lock", "uv.toml", "a/b/constraints.txt"] {
        assert!(pattern.is_match(name) && pattern.is_match(&format!("below/{name}")), "{name}");
    }
    for name in ["README.md", "a/x.py", "my-pyproject.toml", "pyproject.toml.orig", "k8s.yaml"] {
        assert!(!pattern.is_match(name), "{name}");
    }
}

#[test]
fn the_pattern_names_what_is_rendered() {
    let pattern = files("gpuseal-render");
    for kind in Kind::ALL {
        for shell in [gpuseal::render::Shell::Sh, gpuseal::render::Shell::Powershell] {
            let options = Options { shell, ..Options::default() };
            let name = format!("{}{}", kind.folder(), kind.file_name("train", &options));
            assert!(pattern.is_match(&name) && pattern.is_match(&format!("a/{name}")), "{name}");
        }
    }
    for name in ["gpuseal.lock", ".dockerignore", "Dockerfile.dockerignore", "pyproject.toml"] {
        assert!(pattern.is_match(name), "{name}");
    }
    assert!(!pattern.is_match("src/main.rs") && !pattern.is_match("gpuseal.lock.bak"));
}

/// The repository of the wheel has the same hooks, and installs the release of its own number.
#[test]
fn the_mirror_is_the_same_but_for_its_language() {
    let here = hooks(".pre-commit-hooks.yaml");
    let ids: Vec<_> = here.iter().map(|hook| hook.id.as_str()).collect();
    assert_eq!(ids, ["gpuseal-resolve", "gpuseal-render", "gpuseal-inputs"]);
    for hook in &here {
        assert!(hook.language == "rust" && !hook.pass_filenames && hook.require_serial, "{hook:?}");
        assert!(
            hook.files.starts_with("(?x)^(") && hook.files.trim_end().ends_with(")$"),
            "{hook:?}"
        );
    }
    // A crate that was packed for a registry has no mirror in it.
    if !root().join("packaging/pre-commit").exists() {
        return;
    }
    let mirror = hooks("packaging/pre-commit/.pre-commit-hooks.yaml");
    assert!(mirror.iter().all(|hook| hook.language == "python"));
    let as_rust = |hook: Hook| Hook { language: "rust".into(), ..hook };
    assert_eq!(mirror.into_iter().map(as_rust).collect::<Vec<_>>(), here);

    let version = env!("CARGO_PKG_VERSION");
    let text = fs_err::read_to_string(root().join("packaging/pre-commit/pyproject.toml"));
    let project: toml::Table = text.expect("pyproject.toml").parse().expect("TOML");
    assert_eq!(project["project"]["version"].as_str(), Some(version));
    let demands = project["project"]["dependencies"].as_array().expect("a list");
    assert_eq!(demands.as_slice(), [format!("gpuseal=={version}").into()]);
    let readme = fs_err::read_to_string(root().join("packaging/pre-commit/README.md"));
    assert!(readme.expect("a README").contains(&format!("rev: v{version}\n")));
}
