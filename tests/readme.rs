//! What the README shows is what the program prints.

use std::process::Command;

/// Every line below a `$ gpuseal ...` of a console block stands in the output of that command.
#[test]
fn sessions_hold() {
    let readme = std::fs::read_to_string("README.md").expect("README.md");
    let mut sessions = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut lines = block.lines();
        let command = lines.next().and_then(|l| l.strip_prefix("$ gpuseal ")).expect("a command");
        let run = Command::new(env!("CARGO_BIN_EXE_gpuseal"))
            .args(command.split_whitespace())
            .env_clear()
            .output()
            .expect("the program runs");
        let output = String::from_utf8_lossy(&run.stdout).into_owned();
        for line in lines {
            assert!(output.contains(line), "`{command}` does not print\n{line}\nbut\n{output}");
        }
        sessions += 1;
    }
    assert!(sessions >= 3, "only {sessions} sessions");
}

/// The session above the fold is that of the example.
#[test]
fn the_first_answer_holds() {
    let readme = std::fs::read_to_string("README.md").expect("README.md");
    let run = Command::new(env!("CARGO_BIN_EXE_gpuseal"))
        .args(["resolve", "--project", "examples/mixed-fleet"])
        .env_clear()
        .output()
        .expect("the program runs");
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    let shown = readme.split("```text\n").nth(2).expect("the session").split("```").next();
    for line in shown.unwrap_or_default().lines().filter(|l| !l.is_empty()) {
        assert!(output.contains(line), "the example does not print\n{line}\nbut\n{output}");
    }
}
