//! What keeps a container from running, as a check: its code, its cause, what to do.
//!
//! The words of engines and of NVIDIA's toolkit are known to the matrix, where `gpuseal diagnose` has them as
//! well; here stands what comes of our own files in a container, and what it means for the verdict.

use std::path::Path;
use std::time::Duration;

use super::command::PROGRAM;
use super::find::{Engine, Image, Kind};
use super::run::Ran;
use crate::diagnose;
use crate::domain::{Code, shown};
use crate::host;
use crate::matrix::Matrix;
use crate::verify::Check;

/// Lines that are quoted.
const QUOTED: usize = 4;

const INSIDE: &str = "start the container yourself, and run `gpuseal verify --here` in it; `--print-command` shows both lines";

/// No engine that answers.
pub fn no_engine(why: &[String]) -> Check {
    let check = Check::skip(
        "container",
        Code::ContainerRuntime,
        format!("no container engine answers here: {}", why.join("; ")),
    );
    check.help("start the engine, or name another with --engine").help(INSIDE)
}

/// This program cannot run in a container of Linux.
pub fn no_linux() -> Check {
    let text = format!(
        "a container runs programs for Linux, and this one is for {}",
        std::env::consts::OS
    );
    Check::skip("container", Code::PlatformMismatch, text)
        .help("run `gpuseal verify --here` in the container, with the program for Linux")
}

/// The engine shows no such image.
pub fn no_image(engine: &Engine, name: &str, said: &str, matrix: &Matrix) -> Check {
    let kind = engine.kind.word();
    let low = said.to_lowercase();
    let absent = ["no such image", "not known", "no such object", "not found", "unable to find"];
    if !absent.iter().any(|words| low.contains(words)) {
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        return told(engine, "say anything of the image", &lines, matrix);
    }
    let name = shown(name);
    Check::skip(
        "image",
        Code::Unknown,
        format!("{kind} has no image `{name}` here, and `verify` fetches none"),
    )
    .help(format!("`{kind} pull {name}`, or build it, first"))
    .help("an image of another engine: name that one with --engine")
}

/// The image is for another kind of machine.
pub fn other_machine(image: &Image) -> Option<Check> {
    let theirs = image.platform.as_deref()?;
    let ours = host::platform()?.to_string();
    if theirs == ours {
        return None;
    }
    let text = format!("the image is for {}, and this machine is {ours}", shown(theirs));
    Some(
        Check::fail("image", Code::PlatformMismatch, text)
            .help(format!("take or build the image for {ours}: `--platform {ours}`"))
            .help("verify this one on a machine of its kind"),
    )
}

/// The container had no GPU, because nothing here hands one over.
pub fn without_gpu(engine: &Engine) -> Check {
    let kind = engine.kind.word();
    let nothing = match engine.kind {
        Kind::Podman => "no CDI specification names nvidia.com/gpu",
        _ => "it has no runtime of NVIDIA's, and no CDI specification names nvidia.com/gpu",
    };
    let driver = match host::look(Path::new("/")) {
        Ok(host) => Ok(host.driver.to_string()),
        Err(host::Error::NoGpu(driver)) => Ok(driver.to_string()),
        Err(err) => Err(err.to_string()),
    };
    match driver {
        Ok(driver) => {
            let text = format!(
                "driver {driver} is loaded here, and {kind} can hand no GPU to a container: {nothing}"
            );
            let check = Check::skip("container", Code::ContainerRuntime, text)
                .help("install nvidia-container-toolkit on this host");
            match engine.kind {
                Kind::Docker => check.help("`sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`"),
                _ => check.help("`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"),
            }
        }
        Err(why) => {
            let text = format!(
                "the container was started without a GPU: {why}; and {kind} knows of none: {nothing}"
            );
            Check::skip("container", Code::NoDriver, text)
                .help("verify the image on a machine with a GPU, its driver and nvidia-container-toolkit")
                .help("`--gpus all` asks the engine all the same")
        }
    }
}

/// It did not come to an end.
pub fn late(ran: &Ran, limit: Duration) -> Check {
    let text = format!("the container did not end within {} s, and was removed", limit.as_secs());
    quoted(Check::skip("container", Code::Unknown, text), &ran.said)
        .help("a call that hangs is named with a short --phase-limit; a slow machine needs a longer --run-limit")
}

/// The container did not start, or its program gave no answer that can be read, for the reason `why`.
pub fn not_run(
    engine: &Engine,
    image: &Image,
    code: Option<i32>,
    said: &[String],
    why: Option<String>,
    matrix: &Matrix,
) -> Check {
    let kind = engine.kind.word();
    let all = said.join("\n");
    let low = all.to_lowercase();
    let skip = |code: Code, text: String| quoted(Check::skip("container", code, text), said);
    let ours = low.contains(PROGRAM);
    if all.contains(&format!("required by {PROGRAM}")) {
        let text = "the image's C library is older than this build of gpuseal needs".into();
        return skip(Code::GlibcTooOld, text)
            .help("take a released gpuseal, which runs down to glibc 2.17");
    }
    if low.contains("bind source path does not exist") || low.contains("statfs /") {
        let text = format!("{kind} does not see the files of this machine that it is to mount");
        return skip(Code::Unknown, text)
            .help("its daemon runs on another machine, or outside of the container that this is")
            .help(INSIDE);
    }
    if ours && low.contains("no such file or directory") {
        // The kernel says so of the loader that the program names.
        let of = image.platform.as_deref().unwrap_or("an image");
        let text = format!(
            "gpuseal needs glibc, and the image ({of}) has none: musl, or no C library at all"
        );
        return skip(Code::PlatformMismatch, text)
            .help("torch's wheels need glibc as well: take a base such as Debian's, Ubuntu's or Red Hat's");
    }
    if ours && low.contains("permission denied") {
        let text = "the image's user may not run gpuseal as it is mounted".into();
        return skip(Code::Unknown, text)
            .help("let everybody read and run the file, and see that its file system is not mounted noexec")
            .help(INSIDE);
    }
    let failed = match (why, code) {
        (Some(why), _) => {
            let text = format!("what the program inside says cannot be read: {why}");
            return skip(Code::Unknown, text).help("report it, with the lines above");
        }
        (None, Some(code)) => format!("run the image (exit code {code})"),
        (None, None) => "run the image: a signal ended it".into(),
    };
    told(engine, &failed, said, matrix)
}

/// What the matrix knows of the words of an engine.
fn told(engine: &Engine, what: &str, said: &[String], matrix: &Matrix) -> Check {
    let text = said.join("\n");
    let diagnosis = diagnose::read(text.as_bytes(), matrix).ok();
    let root = diagnosis.and_then(|all| all.matches.into_iter().find(diagnose::Match::is_root));
    let kind = engine.kind.word();
    let Some(root) = root else {
        let text = format!("{kind} could not {what}");
        return quoted(Check::skip("container", Code::Unknown, text), said).help(INSIDE);
    };
    let text = format!("{kind} could not {what}: {}", root.cause);
    // These lie in the image, wherever it is run.
    let its_own = matches!(
        root.code,
        Code::ContainerRequirement | Code::PlatformMismatch | Code::LibraryShadowed
    );
    let mut check = if its_own {
        Check::fail("container", root.code, text)
    } else {
        Check::skip("container", root.code, text)
    };
    for fix in root.fix {
        check = check.help(fix);
    }
    quoted(check, said)
}

fn quoted(mut check: Check, said: &[String]) -> Check {
    for line in &said[said.len().saturating_sub(QUOTED)..] {
        check = check.fact(line.chars().take(600).collect::<String>(), "standard error");
    }
    check
}
