//! What a package of the program holds beside it: completions that their shells read, and manual pages
//! without a warning of groff. A shell that is not here is not asked; bash is on every system of `unix`.
#![cfg(unix)]

mod support;

use std::process::{Command, Stdio};

use support::{files, finish, folder, run};

/// The public commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = run(folder(&[]).path(), &["--help"]).all();
    let list = help.split_once("Commands:\n").expect("commands").1;
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| !word.is_empty() && *word != "help")
        .map(str::to_owned)
        .collect()
}

fn there(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

#[test]
fn shells_read_their_completions() {
    let commands = commands();
    assert!(commands.len() > 12 && commands.contains(&"man".to_owned()), "{commands:?}");
    let folder = folder(&[]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let made = run(folder.path(), &["completions", shell]);
        made.says(0, &[]);
        let script = made.all();
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell} does not complete {command}");
        }
        assert!(!script.contains("host-probe"), "{shell} completes a hidden command");
        let path = folder.path().join(shell);
        std::fs::write(&path, script).expect("written");
        if ["bash", "zsh", "fish"].contains(&shell) && (shell == "bash" || there(shell)) {
            let read = finish(Command::new(shell).arg("-n").arg(&path));
            assert_eq!((read.code, read.all().as_str()), (0, ""), "{shell} cannot read it");
        }
    }
    run(folder.path(), &["completions", "tcsh"]).says(2, &["possible values", "bash"]);
}

/// What bash offers after these words.
fn offered(line: &str) -> Vec<String> {
    let folder = folder(&[]);
    let script = run(folder.path(), &["completions", "bash"]).all();
    std::fs::write(folder.path().join("completions"), script).expect("written");
    let ask = r#"
        . ./completions
        COMP_WORDS=($1 "$2") COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _gpuseal gpuseal "$2" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let (before, last) = line.rsplit_once(' ').expect("two words");
    let answer = finish(
        Command::new("bash").current_dir(folder.path()).args(["-c", ask, "_", before, last]),
    );
    answer.says(0, &[]).all().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered("gpuseal reso"), ["resolve"]);
    assert_eq!(offered("gpuseal lock --frozen --offl"), ["--offline"]);
    assert_eq!(offered("gpuseal matrix sh"), ["show"]);
    assert!(offered("gpuseal render dev").contains(&"devcontainer".to_owned()));
    assert!(offered("gpuseal host").iter().all(|word| word != "host-probe"));
}

#[test]
fn every_command_has_a_page_that_groff_reads() {
    let folder = folder(&[]);
    run(folder.path(), &["man", "-o", "pages"]).says(0, &["pages to pages"]);
    let pages = files(&folder.path().join("pages"));
    let main = std::fs::read_to_string(folder.path().join("pages/gpuseal.1")).expect("a page");
    for command in commands() {
        assert!(
            pages.contains(&format!("gpuseal-{command}.1")),
            "{command} has no page: {pages:?}"
        );
        let plain = main.replace("\\-", "-");
        assert!(
            plain.contains(&format!("gpuseal-{command}(1)")),
            "gpuseal(1) does not name {command}"
        );
    }
    let title = format!(
        ".TH gpuseal 1 \" \" \"gpuseal {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(main.contains(&title), "{main}");
    assert!(pages.contains(&"gpuseal-matrix-show.1".to_owned()), "{pages:?}");
    assert!(
        pages.iter().all(|page| !page.contains("probe") && !page.contains("help")),
        "{pages:?}"
    );
    for page in &pages {
        let path = folder.path().join("pages").join(page);
        let text = std::fs::read_to_string(&path).expect("a page");
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "\"EXIT STATUS\"", "ENVIRONMENT"] {
            assert!(text.contains(&format!(".SH {section}\n")), "{page} has no {section}");
        }
        if there("groff") {
            let read =
                finish(Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(&path));
            assert_eq!((read.code, read.all().as_str()), (0, ""), "{page}");
        }
    }
    // The same without a folder, whatever the variables are set to.
    let one =
        finish(support::gpuseal(folder.path()).args(["man", "lock"]).env("GPUSEAL_TORCH", "2.9"));
    let lock = std::fs::read_to_string(folder.path().join("pages/gpuseal-lock.1")).expect("a page");
    assert_eq!(one.all(), lock);
    assert!(lock.contains("GPUSEAL_OFFLINE") && !lock.contains("2.9\n"), "{lock}");
    run(folder.path(), &["man", "matrix", "show"]).says(0, &["matrix\\-show"]);
    run(folder.path(), &["man", "lokc"]).says(2, &["no command `lokc`", "resolve"]);
    run(folder.path(), &["man", "host-probe"]).says(2, &["no command"]);
}
