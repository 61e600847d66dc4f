//! Asks a driver library in a process of its own.
//!
//! A call into a driver can hang for ever or end the process. So the program starts itself with
//! [`COMMAND`], which prints the phase that it enters before each call and the answer at the end, a
//! JSON object on each line; from what has come by the deadline, [`ask`] tells what happened.
#![allow(unsafe_code, reason = "opening a library runs its code")]

use std::error::Error;
use std::time::Duration;

use libloading::Library;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::child::{self, Ran};
use super::{Answer, Failure};
use crate::domain::DriverVersion;

/// The hidden subcommand; its option `--ask` is none of a test runner, which would otherwise take
/// the words for names of tests when a test asks.
pub const COMMAND: &str = "host-probe";

/// Without persistence mode every card is woken up first, which takes eight of them ten seconds and
/// more: an earlier verdict would call a healthy machine hung.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Told before each call: what is entered.
pub type Phase<'p> = &'p mut dyn FnMut(&str);

/// A line that the child prints.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line<T> {
    Phase(String),
    Answer(Answer<T>),
}

/// The line of a phase.
pub fn phase_line(phase: &str) -> String {
    line(&Line::<()>::Phase(phase.into()))
}

/// The line of an answer.
pub fn answer_line<T: Serialize>(answer: Answer<T>) -> String {
    line(&Line::Answer(answer))
}

fn line<T: Serialize>(line: &Line<T>) -> String {
    let value = serde_json::to_value(line).expect("texts and numbers are JSON");
    let mut text = value.to_string();
    text.push('\n');
    text
}

/// Asks a library, `nvml` or `cuda`, in a child of this program.
pub fn ask<T: DeserializeOwned>(library: &str, deadline: Duration) -> Answer<T> {
    let ran = std::env::current_exe()
        .and_then(|program| child::run(program, &[COMMAND, "--ask", library], "", deadline));
    match ran {
        Ok(ran) => judge(&ran),
        Err(err) => Answer::Failed(Failure {
            call: COMMAND.into(),
            code: err.raw_os_error(),
            text: err.to_string(),
        }),
    }
}

/// What a child's last words mean. An answer counts however the child ended after it: drivers are
/// known to die while they are being closed.
fn judge<T: DeserializeOwned>(ran: &Ran) -> Answer<T> {
    let mut last = None;
    // The library may print lines of its own.
    let values = ran.stdout.lines().filter_map(|line| line.parse::<serde_json::Value>().ok());
    for line in values.filter_map(|value| serde_json::from_value(value).ok()) {
        match line {
            Line::Answer(answer) => return answer,
            Line::Phase(phase) => last = Some(phase),
        }
    }
    match (last, ran.status) {
        (Some(phase), None) => Answer::Hung(phase),
        (Some(phase), Some(status)) => Answer::Crashed(format!("{status} in {phase}")),
        // It never came as far as the library.
        (None, status) => Answer::Failed(Failure {
            call: COMMAND.into(),
            code: status.and_then(|status| status.code()),
            text: ran.stderr.lines().last().unwrap_or("it said nothing").into(),
        }),
    }
}

/// Opens a library by its soname, as every program does that uses the driver.
///
/// # Errors
/// The answer where it cannot be opened: absent, or there and broken.
pub(super) fn load<T>(soname: &str, phase: Phase<'_>) -> Result<Library, Answer<T>> {
    if !cfg!(target_os = "linux") {
        return Err(Answer::Absent("the driver's libraries are asked on Linux only".into()));
    }
    phase(&format!("dlopen {soname}"));
    // SAFETY: the constructors of the driver's library run, as in every CUDA program; should they end
    // or hold up this process, that is what it is there for.
    unsafe { Library::new(soname) }.map_err(|err| {
        let text = err.source().map_or_else(|| err.to_string(), ToString::to_string);
        if is_absent(soname, &text) {
            Answer::Absent(text)
        } else {
            Answer::Failed(Failure { call: "dlopen".into(), code: None, text })
        }
    })
}

/// Whether the loader's words mean that there is no such library. `libcuda.so.1: file too short` is there;
/// so it is where what it needs is missing.
pub fn is_absent(soname: &str, words: &str) -> bool {
    words.contains("No such file") && words.contains(soname) && !words.contains("needed by")
}

/// The first file of a library that is mapped into this process, by the start of its name.
pub(super) fn mapped(start: &str) -> Option<String> {
    all_mapped(start)?.into_iter().next()
}

/// Every file of a library that is mapped into this process, by the start of its name; `None`: the maps
/// cannot be read.
pub fn all_mapped(start: &str) -> Option<Vec<String>> {
    let maps = fs_err::read_to_string("/proc/self/maps").ok()?;
    let mut files: Vec<String> = Vec::new();
    for file in maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..])) {
        let named = file.rsplit('/').next().is_some_and(|name| name.starts_with(start));
        if named && !files.iter().any(|known| known == file) {
            files.push(file.into());
        }
    }
    Some(files)
}

/// Driver version in the name of a library: `libcuda.so.580.65.06`.
pub(super) fn version_of(file: &str) -> Option<DriverVersion> {
    let (_, version) = file.rsplit_once(".so.")?;
    // `libcuda.so.1` is refused: a branch has three digits.
    version.parse().ok().filter(|version: &DriverVersion| !version.is_bare_branch())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn judged(stdout: &str, wait_status: Option<i32>) -> Answer<String> {
        let status = wait_status.map(ExitStatus::from_raw);
        judge(&Ran { status, stdout: stdout.into(), stderr: "first\nlast\n".into() })
    }

    #[test]
    fn last_words() {
        let phase = phase_line("cuInit");
        let told = format!("noise\n{phase}{}", answer_line(Answer::Told("all".to_owned())));
        for end in [Some(0), Some(11), None] {
            assert_eq!(judged(&told, end), Answer::Told("all".into()));
        }
        assert_eq!(judged(&phase, None), Answer::Hung("cuInit".into()));
        let Answer::Crashed(how) = judged(&phase, Some(11)) else { panic!("it died") };
        assert!(how.contains("SIGSEGV") && how.ends_with("in cuInit"), "{how}");
        let failed = judged("something else", Some(2 << 8));
        let failure = failed.failure().expect("a failure");
        assert_eq!((failure.code, failure.text.as_str()), (Some(2), "last"));
    }

    #[test]
    fn a_test_runner_is_no_driver() {
        // This very test runs as the child, which refuses the option.
        let answer: Answer<String> = ask("cuda", DEADLINE);
        assert!(answer.failure().is_some_and(|f| f.call == COMMAND), "{answer:?}");
    }

    #[test]
    fn versions_in_names() {
        let version = |file| version_of(file).map(|v| v.to_string());
        assert_eq!(version("/usr/lib/libcuda.so.580.65.06").as_deref(), Some("580.65.06"));
        for other in ["/usr/lib/libcuda.so.1", "libcuda.so.1.1", "libcuda.so", "libcuda.so.580"] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
