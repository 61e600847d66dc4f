//! `gpuseal verify IMAGE` with engines that are shell scripts: what they are asked, and what is made of each
//! of their answers. Real ones stand in .ci/verify.
#![cfg(target_os = "linux")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gpuseal::matrix::Matrix;
use gpuseal::report::verify as voice;
use gpuseal::verify::{Check, Layer, Mode, Ran, Subject, Verdict, Verification};
use serde_json::Value;

const DOCKER: &str = r#"{"ServerVersion": "28.5.2", "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}}"#;
const BARE: &str = r#"{"ServerVersion": "28.5.2", "Runtimes": {"runc": {"path": "runc"}}}"#;
const PODMAN: &str = r#"{"host": {"arch": "amd64"}, "version": {"Version": "5.4.2"}}"#;
const DIGEST: &str = "sha256:5f4a1f5d5b8f8c3a3f0e4a3c0f4c9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b";

/// A folder with engines in `bin` and a project.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::create_dir(folder.path().join("bin")).expect("a folder");
        fs_err::write(folder.path().join("answer.json"), proven()).expect("a file");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// An engine: what it says of itself, of the image, and what its `run` does. Every call is written down, a
    /// line for each word.
    fn engine(self, name: &str, info: &str, inspect: &str, run: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;

        let here = self.path().display();
        let script = format!(
            "#!/bin/sh\ncd '{here}'\nprintf '%s\\n' \"[{name}]\" \"$@\" >>calls\ncase $1 in\ninfo) printf '%s\\n' '{info}' ;;\nimage) {inspect} ;;\nrun) {run} ;;\nrm) : >removed ;;\n*) exit 64 ;;\nesac\n"
        );
        let file = self.path().join("bin").join(name);
        fs_err::write(&file, script).expect("a file");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("its mode");
        self
    }

    /// Docker with an image of this machine, and this `run`.
    fn docker(run: &str) -> Self {
        Self::new().engine("docker", DOCKER, &image(platform()), run)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = support::gpuseal(self.path());
        command.env("PATH", self.path().join("bin")).arg("verify").args(args);
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> support::Run {
        support::finish(&mut self.command(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        let run = support::finish(self.command(args).args(["--format", "json"]));
        serde_json::from_str(&run.stdout).unwrap_or_else(|err| panic!("{err}: {}", run.all()))
    }

    /// The words of the engine's `run`.
    fn asked(&self) -> Vec<String> {
        let calls = fs_err::read_to_string(self.path().join("calls")).expect("calls");
        let at = calls.find("\nrun\n").expect("a run");
        calls[at + 1..].lines().take_while(|l| !l.starts_with('[')).map(str::to_owned).collect()
    }

    fn lock(&self) {
        fs_err::write(self.path().join("gpuseal.yaml"), "torch: 2.9.1\npython: \"3.12\"\ntargets:\n  train: {gpus: [h100], driver: \"580.65.06\", platform: PLATFORM}\n  other: {gpus: [h100], driver: \"580.65.06\", platform: PLATFORM}\n".replace("PLATFORM", platform())).expect("a file");
        support::run(self.path(), &["lock", "--offline", "--no-images"]).says(0, &[]);
    }
}

fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }
}

/// What `image inspect` does.
fn image(platform: &str) -> String {
    let (os, machine) = platform.split_once('/').expect("a platform");
    format!(
        r#"printf '%s\n' '[{{"Id": "sha256:11", "RepoDigests": ["other/ml@sha256:22", "docker.io/team/ml@{DIGEST}"], "Os": "{os}", "Architecture": "{machine}", "Config": {{"User": "USER"}}}}]'"#
    )
    .replace("USER", "")
}

/// A report as the program inside writes it.
fn proven() -> String {
    let ran = |layer, name: &str| Ran {
        layer,
        device: None,
        seconds: 0.5,
        checks: vec![Check::pass(name, "as it should be")],
    };
    let verification = Verification {
        verdict: Verdict::Proven,
        subject: Subject {
            mode: Mode::Here,
            image: None,
            image_digest: Some("sha256:of-its-own".into()),
            engine: None,
            lock_digest: None,
            target: None,
            driver: Some("580.65.06".into()),
            driver_cuda: None,
            torch: Some("2.9.1+cu128".into()),
        },
        devices: Vec::new(),
        layers: vec![ran(Layer::Driver, "kernel-driver"), ran(Layer::Cuda, "init")],
        seed: Some(1),
        seconds: 1.0,
    };
    voice::json(&verification, &Matrix::load(None, &[] as &[PathBuf]).expect("the matrix"))
}

const ANSWERS: &str = "/bin/cat answer.json; echo progress >&2";

fn words(asked: &[String]) -> Vec<&str> {
    asked.iter().map(String::as_str).collect()
}

#[test]
fn the_image_runs_as_it_is_with_the_program_inside() {
    let host = Host::docker(ANSWERS);
    let run = host.run(&[
        "team/ml:1",
        "--no-speed",
        "--dtype",
        "bf16,int8",
        "--layer",
        "driver,cuda",
        "--seed",
        "7",
        "--phase-limit",
        "9",
        "--env",
        "/opt/env",
        "--",
        "--shm-size",
        "8g",
    ]);
    run.says(0, &["proven", "progress"]);
    let asked = host.asked();
    let asked = words(&asked);
    let program = env!("CARGO_BIN_EXE_gpuseal");
    let mount = format!("type=bind,src={program},dst=/gpuseal/gpuseal,readonly");
    assert_eq!(asked[..3], ["run", "--rm", "--name"]);
    assert!(asked[3].starts_with("gpuseal-verify-"), "{asked:?}");
    let rest: Vec<&str> = asked[4..]
        .iter()
        .copied()
        .filter(|w| !matches!(*w, "--security-opt" | "label=disable"))
        .collect();
    assert_eq!(
        rest,
        [
            "--network",
            "none",
            "--pull",
            "never",
            "--gpus",
            "all",
            "--mount",
            &mount,
            "--shm-size",
            "8g",
            "--entrypoint",
            "/gpuseal/gpuseal",
            "team/ml:1",
            "verify",
            "--here",
            "--format",
            "json",
            "--project",
            "/gpuseal",
            "--env",
            "/opt/env",
            "--layer",
            "driver,cuda",
            "--dtype",
            "bf16,int8",
            "--phase-limit",
            "9",
            "--seed",
            "7",
            "--no-speed",
        ]
    );
    // No flag takes the image's user or its environment away.
    assert!(
        !asked.iter().any(|word| matches!(*word, "--user" | "-u" | "-e" | "-w" | "--privileged"))
    );
    assert!(!host.path().join("removed").exists(), "it ended by itself");
}

#[test]
fn the_host_says_what_was_verified_and_the_inside_what_came_of_it() {
    let host = Host::docker(ANSWERS);
    let json = host.json(&["team/ml:1"]);
    let subject = &json["subject"];
    assert_eq!(subject["mode"], "image");
    assert_eq!(subject["image"], "team/ml:1");
    assert_eq!(subject["image_digest"], DIGEST, "the digest of this repository, not the first");
    assert_eq!(subject["engine"], "docker");
    assert_eq!(subject["driver"], "580.65.06");
    assert_eq!(subject["torch"], "2.9.1+cu128");
    assert_eq!(
        (&json["verdict"], json["layers"].as_array().map(Vec::len)),
        (&"proven".into(), Some(2))
    );
    // Files alone need no GPU, and nobody misses it.
    let host = Host::new().engine("docker", BARE, &image(platform()), ANSWERS);
    host.run(&["team/ml:1", "--static"]);
    assert!(host.asked().contains(&"--static".into()) && !host.asked().contains(&"--gpus".into()));
}

#[test]
fn lock_and_matrix_go_in_read_only() {
    let host = Host::docker(ANSWERS);
    host.lock();
    host.run(&["ml"]).says(2, &["has several targets", "train", "--target"]);
    let overlay = host.path().join("own, rows.yaml");
    fs_err::copy(support::root().join("tests/overlay/our-card.yaml"), &overlay).expect("a file");
    let overlay = overlay.to_str().expect("a name");
    let run = host.run(&["ml", "--target", "train"]);
    run.says(0, &[]);
    let asked = host.asked();
    let root = fs_err::canonicalize(host.path()).expect("a folder");
    let lock = format!(
        "type=bind,src={},dst=/gpuseal/project/gpuseal.lock,readonly",
        root.join("gpuseal.lock").display()
    );
    assert!(asked.contains(&lock), "{asked:?}");
    assert!(
        words(&asked)
            .windows(4)
            .any(|w| w == ["--target", "train", "--project", "/gpuseal/project"]),
        "{asked:?}"
    );
    let json = host.json(&["ml", "--target", "train"]);
    assert_eq!(json["subject"]["target"], "train");
    assert!(
        json["subject"]["lock_digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:"))
    );
    // A comma in a path is none between the fields of a mount.
    let line = host.run(&["ml", "--target", "train", "--print-command", "--overlay", overlay]);
    line.says(0, &["\"src=", "own, rows.yaml\"", "/gpuseal/matrix-0/own, rows.yaml", "--overlay"]);
}

#[test]
fn podman_takes_cdi_names_and_a_docker_may_be_podman() {
    for name in ["podman", "docker"] {
        let host = Host::new().engine(name, PODMAN, &image(platform()), ANSWERS);
        host.run(&["ml", "--gpus", "device=0,1"]).says(0, &["proven"]);
        let asked = host.asked();
        assert!(
            words(&asked)
                .windows(4)
                .any(|w| w == ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1"]),
            "{asked:?}"
        );
        assert_eq!(host.json(&["ml", "--gpus", "all"])["subject"]["engine"], "podman");
        host.run(&["ml", "--gpus", "2"])
            .says(2, &["podman hands GPUs over by CDI", "--gpus device=0,1"]);
    }
    let host = Host::docker(ANSWERS);
    host.run(&["ml", "--gpus", "device=0,1"]).says(0, &[]);
    assert!(host.asked().contains(&"\"device=0,1\"".into()), "{:?}", host.asked());
    host.run(&["ml", "--gpus", "nvidia.com/gpu=0,vendor.com/nic=1"]).says(0, &[]);
}

#[test]
fn without_a_way_to_hand_gpus_over_nothing_is_proven() {
    let host = Host::new().engine("docker", BARE, &image(platform()), ANSWERS);
    let json = host.json(&["ml"]);
    let (code, word) = if Path::new("/proc/driver/nvidia/version").exists() {
        ("container-runtime", "docker can hand no GPU to a container")
    } else {
        ("no-driver", "the container was started without a GPU")
    };
    assert_eq!((&json["verdict"], &json["layers"][0]["code"]), (&"unproven".into(), &code.into()));
    host.run(&["ml"]).says(3, &["unproven", word]);
    assert!(!host.asked().contains(&"--gpus".into()));
    // Whoever asks for none misses none.
    host.run(&["ml", "--gpus", "none"]).says(0, &["proven"]);
}

#[test]
fn words_of_engines_have_a_code_and_a_way_out() {
    let cases: &[(i32, &str, &str, i32, &[&str])] = &[
        (
            125,
            "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].",
            "container-runtime",
            3,
            &["nvidia-container-toolkit", "could not select device driver"],
        ),
        (
            125,
            "docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9",
            "container-runtime",
            3,
            &["nvidia.com/gpu=9", "nvidia-ctk cdi generate"],
        ),
        (
            126,
            "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
            "container-runtime",
            3,
            &["nvidia.com/gpu=all"],
        ),
        (
            125,
            "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container: unknown.",
            "container-requirement",
            1,
            &["cuda>=12.8"],
        ),
        (
            125,
            "docker: Error response from daemon: failed to create task for container: error running hook #0: exit status 1, stderr: nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory: unknown.",
            "no-driver",
            3,
            &["nvidia-smi on the host"],
        ),
        (
            125,
            "docker: Error response from daemon: nvidia-container-cli: device error: GPU-5: unknown device: unknown.",
            "no-device",
            3,
            &["nvidia-smi -L"],
        ),
        (
            255,
            "exec /gpuseal/gpuseal: exec format error",
            "platform-mismatch",
            1,
            &["another kind of machine"],
        ),
        (
            127,
            "exec /gpuseal/gpuseal: no such file or directory",
            "platform-mismatch",
            3,
            &["needs glibc"],
        ),
        (
            1,
            "/gpuseal/gpuseal: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34'\\'' not found (required by /gpuseal/gpuseal)",
            "glibc-too-old",
            3,
            &["glibc 2.17"],
        ),
        (126, "exec /gpuseal/gpuseal: permission denied", "unknown", 3, &["may not run gpuseal"]),
        (
            125,
            "docker: Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /x",
            "unknown",
            3,
            &["does not see the files", "--print-command"],
        ),
        (125, "something new", "unknown", 3, &["exit code 125", "something new"]),
    ];
    for (rc, said, code, exit, with) in cases {
        let host = Host::docker(&format!("printf '%s\\n' '{said}' >&2; exit {rc}"));
        let json = host.json(&["ml"]);
        assert_eq!(json["layers"][0]["code"], *code, "{said}: {json}");
        assert!(
            json["layers"][0]["help"].as_array().is_some_and(|help| !help.is_empty()),
            "{said}"
        );
        host.run(&["ml"])
            .says(*exit, with)
            .says(*exit, &[if *exit == 1 { "failed" } else { "unproven" }]);
    }
}

#[test]
fn engines_and_images_that_are_not_there() {
    let empty = Host::new();
    empty.run(&["ml"]).says(
        3,
        &["no container engine answers here", "docker: not found", "podman: not found", "--engine"],
    );
    empty
        .run(&["ml", "--engine", "runc"])
        .says(2, &["`runc` is no container engine", "docker, podman or nerdctl"]);
    let json = empty.json(&["ml", "--engine", "podman"]);
    assert_eq!(
        (&json["verdict"], &json["layers"][0]["code"]),
        (&"unproven".into(), &"container-runtime".into())
    );
    // A daemon that is down is no reason to stop looking.
    let host = Host::new().engine("docker", "", "exit 64", "exit 64").engine(
        "podman",
        PODMAN,
        "echo 'Error: ml: image not known' >&2; exit 125",
        "exit 64",
    );
    let script = host.path().join("bin/docker");
    fs_err::write(&script, "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2\nexit 1\n").expect("a file");
    host.run(&["ml"]).says(3, &["podman has no image `ml` here", "podman pull ml"]);
    host.run(&["ml", "--engine", "docker"]).says(3, &["Cannot connect to the Docker daemon"]);
    let other = if platform() == "linux/amd64" { "linux/arm64" } else { "linux/amd64" };
    let host = Host::new().engine("docker", DOCKER, &image(other), "exit 64");
    host.run(&["ml"]).says(1, &["failed", &format!("the image is for {other}"), "--platform"]);
    assert_eq!(host.json(&["ml"])["layers"][0]["code"], "platform-mismatch");
}

#[test]
fn an_answer_that_is_none_proves_nothing() {
    for run in [
        "echo '{}'",
        "echo nonsense",
        "/bin/sed s/Driver/Drawer/ answer.json | /bin/head -c 300",
        ":",
    ] {
        let host = Host::docker(run);
        host.run(&["ml"]).says(3, &["unproven"]);
    }
    // What the program inside finds wrong with its flags is a usage error here.
    let host = Host::docker(
        r#"printf '%s\n' '{"schema": {"name": "gpuseal.error"}, "exit": 2, "message": "there is no `/opt/env`", "help": "name another"}'; exit 2"#,
    );
    host.run(&["ml", "--env", "/opt/env"])
        .says(2, &["inside of the image: there is no `/opt/env`", "help: name another"]);
    // A report that says proven over checks that do not.
    let host =
        Host::docker("/bin/sed 's/\"outcome\": \"pass\"/\"outcome\": \"fail\"/' answer.json");
    host.run(&["ml"]).says(3, &["unproven"]);
}

#[test]
fn a_container_that_does_not_end_is_removed() {
    let host = Host::docker("echo started >&2; exec /bin/sleep 60");
    let start = Instant::now();
    host.run(&["ml", "--run-limit", "1"]).says(3, &["did not end within 1 s", "--run-limit"]);
    assert!(start.elapsed() < Duration::from_secs(15));
    let calls = fs_err::read_to_string(host.path().join("calls")).expect("calls");
    let name = host.asked()[3].clone();
    assert!(calls.ends_with(&format!("rm\n--force\n{name}\n")), "{calls}");
}

#[test]
fn control_c_and_a_cancelled_job_leave_no_container() {
    for signal in ["INT", "TERM"] {
        let host = Host::docker(": >started; exec /bin/sleep 60");
        let mut child =
            host.command(&["ml"]).stderr(std::process::Stdio::null()).spawn().expect("a start");
        let end = Instant::now() + Duration::from_secs(20);
        while !host.path().join("started").exists() {
            assert!(Instant::now() < end, "no run");
            std::thread::sleep(Duration::from_millis(10));
        }
        let id = child.id().to_string();
        assert!(
            Command::new("/bin/kill").args(["-s", signal, &id]).status().expect("kill").success()
        );
        let code = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status.code();
            }
            assert!(Instant::now() < end + Duration::from_secs(20), "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(code, Some(130), "{signal}");
        assert!(host.path().join("removed").exists(), "{signal}");
    }
}

#[test]
fn the_user_of_the_image_has_to_read_what_is_mounted() {
    use std::os::unix::fs::PermissionsExt;

    let inspect = image(platform()).replace("\"User\": \"\"", "\"User\": \"65532:65532\"");
    let host = Host::new().engine("docker", DOCKER, &inspect, ANSWERS);
    host.lock();
    let lock = host.path().join("gpuseal.lock");
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o600)).expect("its mode");
    host.run(&["ml", "--target", "train"]).says(2, &["user `65532`", "gpuseal.lock", "chmod o+r"]);
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).expect("its mode");
    host.run(&["ml", "--target", "train"]).says(0, &["proven"]);
}

/// What a shell makes of a line.
fn split(line: &str) -> Vec<String> {
    let out = Command::new("/bin/sh").arg("-c").arg(format!("printf '%s\\n' {line}")).output();
    let out = String::from_utf8(out.expect("a shell").stdout).expect("UTF-8");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn the_command_is_printed_as_a_shell_reads_it() {
    let nowhere = Host::new();
    let line = nowhere.run(&["ml", "--print-command"]);
    line.says(0, &["docker run --rm --network none --pull never --gpus all", " ml verify --here"]);
    assert_eq!(line.stdout.lines().count(), 1);
    nowhere
        .run(&["ml", "--print-command", "--engine", "podman"])
        .says(0, &["podman run", "--device nvidia.com/gpu=all"]);
    let line = nowhere.run(&["ml", "--print-command", "--env", "/o p/it's $(id)/`x`"]);
    assert!(split(&line.stdout).contains(&"/o p/it's $(id)/`x`".to_owned()), "{}", line.stdout);
    let here = nowhere.run(&["--here", "--print-command", "--layer", "cuda", "--no-speed"]);
    assert_eq!(here.stdout, "gpuseal verify --here --layer cuda --no-speed\n");
    let overlay = nowhere.path().join("a site.yaml");
    fs_err::write(&overlay, "{}").expect("a file");
    let overlay = overlay.to_str().expect("a name");
    let here = nowhere.run(&["--here", "--print-command", "--overlay", overlay]);
    assert_eq!(split(&here.stdout)[3..], ["--overlay", overlay]);
    nowhere.run(&["--here", "--engine", "podman"]).says(2, &["--engine", "--here"]);
    // What is printed is what is run, but for the name of the container.
    let host = Host::docker(ANSWERS);
    let printed = split(&host.run(&["ml", "--print-command"]).stdout);
    assert!(
        !host.path().join("calls").exists()
            || !fs_err::read_to_string(host.path().join("calls"))
                .expect("calls")
                .contains("\nrun\n"),
        "it ran something"
    );
    host.run(&["ml"]).says(0, &[]);
    let mut asked = host.asked();
    asked.drain(2..4);
    assert_eq!(printed[1..], asked);
}

#[test]
fn the_folder_of_the_engine_may_have_any_name() {
    let host = Host::docker(ANSWERS);
    let odd: PathBuf = host.path().join("a b");
    fs_err::create_dir(&odd).expect("a folder");
    fs_err::rename(host.path().join("bin/docker"), odd.join("docker")).expect("a move");
    let engine = odd.join("docker");
    let engine = engine.to_str().expect("a name");
    host.run(&["ml", "--engine", engine]).says(0, &["proven"]);
    let line = host.run(&["ml", "--engine", engine, "--print-command"]);
    assert_eq!(split(&line.stdout)[0], engine);
}
