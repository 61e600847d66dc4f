//! Where a Dockerfile goes: a whole file, a block in somebody's own, and what stands beside it.

mod support;

use std::path::Path;

use support::{files, folder, run, write};

const CONFIG: &str =
    "torch: \"2.9.1\"\npython: \"3.12\"\ntargets:\n  edge: {gpus: [l4], driver: \"550\"}\n";
const OWN: &str = "# syntax=docker/dockerfile:1\n# check=error=true\nARG WHAT=edge\n\n# The program itself.\nFROM ${WHAT}\nCOPY . /home/app\n";

fn locked(more: &[(&str, &str)]) -> tempfile::TempDir {
    let project = folder(&[&[("gpuseal.yaml", CONFIG)], more].concat());
    run(project.path(), &["lock", "--offline"]).says(0, &["wrote"]);
    project
}

fn read(project: &Path, name: &str) -> String {
    fs_err::read_to_string(project.join(name)).expect(name)
}

#[test]
fn a_block_in_the_users_own_dockerfile() {
    let project = locked(&[("Dockerfile", OWN)]);
    let at = project.path();
    run(at, &["render", "dockerfile", "--managed", "--check"])
        .says(1, &["lock-stale", "--- Dockerfile", "+# >>> gpuseal", "+FROM python:3.12"]);
    assert_eq!(read(at, "Dockerfile"), OWN);
    run(at, &["render", "dockerfile", "--managed"]).says(0, &["wrote Dockerfile"]);
    // What stays out of the user's own build is the user's to say.
    assert!(!at.join(".dockerignore").exists());
    let first = read(at, "Dockerfile");
    let (before, after) = OWN.split_once("# The program").expect("both");
    assert!(first.starts_with(&format!("{before}# >>> gpuseal: ")), "{first}");
    assert!(first.ends_with(&format!("# <<< gpuseal\n\n# The program{after}")), "{first}");
    assert_eq!(first.matches("# syntax=").count(), 1);
    assert!(!first.contains("Written by gpuseal"));
    // From now on every way to render it keeps the block.
    for args in [
        &["render", "dockerfile", "--managed"][..],
        &["render", "dockerfile", "-o", "Dockerfile"],
        &["lock", "--offline", "--render", "dockerfile"],
        &["lock", "--frozen", "--render", "dockerfile"],
    ] {
        run(at, args).says(0, &["unchanged Dockerfile"]);
    }
    run(at, &["render", "dockerfile", "--check"]).says(0, &[]);
    // What follows from the lock is no new demand.
    assert!(!run(at, &["inputs"]).all().contains("Dockerfile:"));
    run(at, &["lock", "--offline", "--check", "--render", "dockerfile"]).says(0, &[]);
    // Another lock changes the block alone.
    write(at, "gpuseal.yaml", CONFIG.replace("l4", "l40s"));
    run(at, &["lock", "--offline", "--render", "dockerfile"]).says(0, &["wrote Dockerfile"]);
    let second = read(at, "Dockerfile");
    assert!(second.contains("L40S") && !first.contains("L40S"));
    assert!(second.ends_with(&format!("# <<< gpuseal\n\n# The program{after}")));
    // Edited by hand, it is shown and not lost.
    let edited = second.replace("WORKDIR /home/app", "WORKDIR /srv");
    write(at, "Dockerfile", &edited);
    run(at, &["render", "dockerfile"]).says(0, &["Written by gpuseal"]);
    run(at, &["render", "dockerfile", "--check"]).says(1, &["-WORKDIR /srv", "+WORKDIR /home/app"]);
    for args in [
        &["render", "dockerfile", "--managed"][..],
        &["lock", "--offline", "--render", "dockerfile"],
    ] {
        run(at, args).says(2, &["edited by hand", "--force"]);
        assert_eq!(read(at, "Dockerfile"), edited);
    }
    run(at, &["lock", "--offline", "--check", "--render", "dockerfile"])
        .says(1, &["lock-stale", "-WORKDIR /srv"]);
    run(at, &["render", "dockerfile", "--managed", "--force"]).says(0, &["wrote"]);
    assert_eq!(read(at, "Dockerfile"), second);
}

#[test]
fn windows_line_ends_stay() {
    let own = OWN.replace('\n', "\r\n");
    let project = locked(&[("docker/gpu.Dockerfile", &own)]);
    let at = project.path();
    let args = ["render", "dockerfile", "--managed", "-o", "docker/gpu.Dockerfile"];
    run(at, &args).says(0, &["wrote docker/gpu.Dockerfile"]);
    let new = read(at, "docker/gpu.Dockerfile");
    assert!(!new.replace("\r\n", "").contains('\n') && new.contains("# <<< gpuseal\r\n"));
    run(at, &args).says(0, &["unchanged"]);
    // Mixed line ends stay, each as it is.
    write(at, "Mixed", "FROM alpine\nRUN <<EOS\na\nEOS\nENV A=b\r\n");
    run(at, &["render", "dockerfile", "--managed", "-o", "Mixed"]).says(0, &["wrote Mixed"]);
    assert!(read(at, "Mixed").ends_with("\nFROM alpine\nRUN <<EOS\na\nEOS\nENV A=b\r\n"));
    // What cannot take a block is left as it is.
    for (text, part) in [
        ("FROM x AS edge\n", "a stage `edge` of its own"),
        ("# escape=`\nFROM x\n", "`# escape=``"),
        ("# <<< gpuseal\n", "no pair"),
    ] {
        write(at, "Other", text);
        run(at, &["render", "dockerfile", "--managed", "-o", "Other"]).says(2, &[part, "help: "]);
        assert_eq!(read(at, "Other"), text);
    }
    write(at, "Other", b"\xff\xfe\x00F");
    run(at, &["render", "dockerfile", "-o", "Other"]).says(2, &["`Other` is no Dockerfile"]);
}

#[test]
fn a_list_of_what_stays_out_comes_once() {
    let project = locked(&[]);
    let at = project.path();
    run(at, &["render", "dockerfile", "--check"]).says(1, &["--- /dev/null"]);
    assert_eq!(files(at), ["gpuseal.lock", "gpuseal.yaml"]);
    run(at, &["render", "dockerfile", "-o", "Dockerfile"]).says(0, &["wrote .dockerignore"]);
    assert!(read(at, ".dockerignore").contains("\n.git\n"));
    // Beside a Dockerfile that stands there it is nobody's to bring back.
    fs_err::remove_file(at.join(".dockerignore")).expect("a file");
    run(at, &["render", "dockerfile", "-o", "Dockerfile"]).says(0, &["unchanged Dockerfile"]);
    run(at, &["lock", "--offline", "--render", "dockerfile"]).says(0, &["unchanged Dockerfile"]);
    assert!(!at.join(".dockerignore").exists());
    write(at, ".dockerignore", "mine\n");
    run(at, &["render", "dockerfile", "-o", "Dockerfile", "--no-syntax-line"]).says(0, &["wrote"]);
    assert_eq!(read(at, ".dockerignore"), "mine\n");
    assert!(read(at, "Dockerfile").starts_with("# Written by gpuseal"));
    run(at, &["render", "dockerfile", "-o", "."]).says(0, &["wrote Dockerfile"]);
    assert!(read(at, "Dockerfile").starts_with("# syntax="));
    // Managed from the start.
    fs_err::remove_file(at.join("Dockerfile")).expect("a file");
    run(at, &["render", "dockerfile", "--managed"]).says(0, &["wrote Dockerfile"]);
    assert!(read(at, "Dockerfile").starts_with("# syntax=docker/dockerfile:1\n# >>> gpuseal: "));
    fs_err::remove_file(at.join("Dockerfile")).expect("a file");
    run(at, &["render", "dockerfile", "--managed", "--no-syntax-line"]).says(0, &["wrote"]);
    assert!(read(at, "Dockerfile").starts_with("# >>> gpuseal: "));
    // A whole file of ours becomes a block, and a checkout of Windows is no difference.
    fs_err::remove_file(at.join("Dockerfile")).expect("a file");
    run(at, &["render", "dockerfile", "-o", "Dockerfile"]).says(0, &["wrote"]);
    write(at, "Dockerfile", read(at, "Dockerfile").replace('\n', "\r\n"));
    run(at, &["render", "dockerfile", "--check"]).says(0, &[]);
    run(at, &["render", "dockerfile", "--managed"]).says(0, &["wrote"]);
    assert_eq!(read(at, "Dockerfile").matches("AS edge\n").count(), 1);
    // A template writes no mark, and needs no last line end.
    write(at, "x.tera", "FROM scratch AS edge");
    run(at, &["render", "dockerfile", "--managed", "--template", "x.tera"]).says(0, &["wrote"]);
    assert!(read(at, "Dockerfile").ends_with("FROM scratch AS edge\n# <<< gpuseal\n"));
    write(at, "x.tera", "# <<< gpuseal\n");
    run(at, &["render", "dockerfile", "--managed", "--template", "x.tera"]).says(2, &["a mark"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        run(at, &["render", "install", "-o", "install.sh"]).says(0, &["wrote"]);
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(at.join("install.sh"), mode).expect("a mode");
        write(at, "gpuseal.yaml", CONFIG.replace("l4", "l40s"));
        run(at, &["lock", "--offline", "--render", "install"]).says(0, &["wrote install.sh"]);
        let mode = fs_err::metadata(at.join("install.sh")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        run(at, &["render", "install", "-o", "/dev/null"]).says(0, &[]);
        assert!(!fs_err::metadata("/dev/null").expect("a device").is_file());
        std::os::unix::fs::symlink("nowhere/x", at.join("link")).expect("a link");
        run(at, &["render", "install", "-o", "link"])
            .says(2, &["a link to a file that is not there"]);
    }
}

#[test]
fn files_find_the_project_from_where_they_lie() {
    let project = locked(&[("deploy/keep", "")]);
    let at = project.path();
    for (kind, path, part) in [
        ("devcontainer", ".devcontainer/devcontainer.json", "\"context\": \"..\""),
        ("devcontainer", ".devcontainer/", "\"context\": \"../..\""),
        ("compose", "compose.yaml", "context: '.'"),
        ("compose", "deploy/compose.yaml", "context: \"..\""),
    ] {
        fs_err::create_dir_all(at.join(".devcontainer")).expect("a folder");
        run(at, &["render", kind, "-o", path]).says(0, &["wrote"]);
        let path = if path.ends_with('/') { ".devcontainer/edge/devcontainer.json" } else { path };
        assert!(read(at, path).contains(part), "{}", read(at, path));
        // The same from outside.
        let (project, out) = (at.to_string_lossy(), at.join(path));
        let args = ["render", kind, "--check", "--project", &project, "-o", &out.to_string_lossy()];
        run(Path::new("/"), &args).says(0, &[]);
    }
}
