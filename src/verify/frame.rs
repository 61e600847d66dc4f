//! The supervisor of a layer: one child of this program, and a deadline for every phase of it.
//!
//! The child prints a JSON object on each line: the phase that it enters and how long it may take, the checks
//! that it has made, and a last one when it is through. What a library prints in between is ignored. A child
//! that stays in a phase for too long is killed and the phase named; so is the one in which it died.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::Job;
use super::{Check, Device, Outcome, Ran};
use crate::domain::Code;

/// The hidden subcommand of the child; its job stands on standard input.
pub const COMMAND: &str = "verify-layer";

/// Until a child has told its first phase: the program itself starts in milliseconds.
const START: Duration = Duration::from_secs(20);

/// Bytes of a line; a child's longest has a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// Bytes that are kept of standard error.
const KEPT: u64 = 64 << 10;

/// Set where the child is one of a supervisor, so that a program of the image can tell.
pub const INSIDE: &str = "GPUSEAL_VERIFYING";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Phase {
        name: String,
        seconds: f64,
    },
    Check(Box<Check>),
    Device(Box<Device>),
    /// How many checks it has told: one whose line was torn by what a library prints is missed.
    Told(usize),
    Done,
}

/// What a layer in a child tells its supervisor.
pub struct Teller<'t> {
    out: &'t mut dyn FnMut(&str),
    told: usize,
}

impl<'t> Teller<'t> {
    /// Over a function that writes a text to standard output, at once.
    pub fn new(out: &'t mut dyn FnMut(&str)) -> Self {
        Self { out, told: 0 }
    }

    /// Enters a phase that may take so long. To be told before every call that may hang or crash.
    pub fn phase(&mut self, name: impl Into<String>, limit: Duration) {
        self.line(&Line::Phase { name: name.into(), seconds: limit.as_secs_f64() });
    }

    /// A check that was made.
    pub fn check(&mut self, check: Check) {
        self.told += 1;
        self.line(&Line::Check(Box::new(check)));
    }

    /// What is known of the device.
    pub fn device(&mut self, device: Device) {
        self.line(&Line::Device(Box::new(device)));
    }

    /// It is through: whatever happens after this is no crash.
    pub fn done(&mut self) {
        self.line(&Line::Told(self.told));
        self.line(&Line::Done);
    }

    fn line(&mut self, line: &Line) {
        // On a line of its own, whatever a library has printed before it.
        let value = serde_json::to_value(line).unwrap_or_default();
        (self.out)(&format!("\n{value}\n"));
    }
}

/// What a child told.
#[derive(Debug)]
pub struct Told {
    /// Its checks, with one more where it did not end as it should.
    pub ran: Ran,
    /// The device, where it told one.
    pub device: Option<Device>,
}

/// Runs a layer in a child. No phase may take longer than `longest`.
pub fn run(job: &Job, longest: Option<Duration>) -> Told {
    let start = Instant::now();
    let (mut checks, mut device) = (Vec::new(), None);
    let program = std::env::current_exe();
    let spawned = program.and_then(|program| spawn(Command::new(program).arg(COMMAND), job));
    match spawned {
        Ok((child, lines)) => {
            let end = listen(child, &lines, longest, |line| match line {
                Line::Check(check) => checks.push(*check),
                Line::Device(told) => device = Some(*told),
                Line::Phase { .. } | Line::Told(_) | Line::Done => (),
            });
            checks.extend(end);
        }
        Err(err) => checks.push(Check::skip(
            "process",
            Code::Unknown,
            format!("this program cannot start itself: {err}"),
        )),
    }
    if checks.is_empty() {
        // Whoever forgets to tell has not passed.
        checks.push(Check::skip("process", Code::Unknown, "the layer told nothing"));
    }
    let seconds = start.elapsed().as_secs_f64();
    Told { ran: Ran { layer: job.layer, device: job.device, seconds, checks }, device }
}

/// Where this process ends early, by a signal of the user's or of its own supervisor's, the kernel ends the
/// command too, whatever call it hangs in: else it would hold the GPU with nobody waiting for it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "a child that ends with its parent is a system call of Linux")]
pub fn end_with_us(command: &mut Command) {
    use std::ffi::{c_int, c_ulong};
    use std::os::unix::process::CommandExt as _;

    unsafe extern "C" {
        fn prctl(option: c_int, ...) -> c_int;
    }
    /// `PR_SET_PDEATHSIG` of linux/prctl.h.
    const PARENT_DEATH_SIGNAL: c_int = 1;
    const SIGKILL: c_ulong = 9;
    // SAFETY: a single system call, which may be made between fork and exec; it is about this process alone.
    unsafe {
        command.pre_exec(|| {
            prctl(PARENT_DEATH_SIGNAL, SIGKILL);
            Ok(())
        });
    }
}

/// Elsewhere no kernel does so.
#[cfg(not(target_os = "linux"))]
pub fn end_with_us(_command: &mut Command) {}

/// A line of the child, or its end with what it said on standard error.
enum Heard {
    Line(Line),
    End(String),
}

fn spawn(command: &mut Command, job: &Job) -> std::io::Result<(Child, mpsc::Receiver<Heard>)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env(INSIDE, "1");
    for (name, value) in &job.env {
        command.env(name, value);
    }
    end_with_us(command);
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let text = serde_json::to_value(job).unwrap_or_default().to_string();
        thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    }
    let (sender, receiver) = mpsc::channel();
    let stderr = child.stderr.take();
    let stderr = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stream) = stderr {
            let _ = stream.by_ref().take(KEPT).read_to_end(&mut text);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while stdout.by_ref().take(LONGEST).read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let read: Option<Line> = std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|text| text.trim().parse::<serde_json::Value>().ok())
                    .and_then(|value| serde_json::from_value(value).ok());
                bytes.clear();
                if let Some(line) = read
                    && sender.send(Heard::Line(line)).is_err()
                {
                    return;
                }
            }
            let _ = sender.send(Heard::End(stderr.join().unwrap_or_default()));
        });
    }
    Ok((child, receiver))
}

/// Takes lines until the child has ended or stays away for too long; what has to be said of its end.
fn listen(
    mut child: Child,
    lines: &mpsc::Receiver<Heard>,
    longest: Option<Duration>,
    mut take: impl FnMut(Line),
) -> Option<Check> {
    let within = |limit: Duration| longest.map_or(limit, |longest| limit.min(longest));
    let (mut phase, mut limit, mut done) = ("start".to_owned(), within(START), false);
    let mut end = Instant::now() + limit;
    let (mut seen, mut told) = (0, None);
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Heard::Line(Line::Phase { name, seconds })) => {
                limit = within(Duration::try_from_secs_f64(seconds).unwrap_or(START));
                (phase, end) = (name, Instant::now() + limit);
            }
            Ok(Heard::Line(Line::Done)) => {
                done = true;
                // Drivers take their time to close, and some die of it: nothing is judged by that.
                end = Instant::now() + Duration::from_secs(5);
            }
            Ok(Heard::Line(Line::Told(count))) => told = Some(count),
            Ok(Heard::Line(line)) => {
                seen += usize::from(matches!(line, Line::Check(_)));
                take(line);
            }
            Ok(Heard::End(stderr)) => {
                let status = waited(&mut child, Instant::now() + Duration::from_secs(5));
                return if done {
                    lost(seen, told)
                } else {
                    Some(crashed(&phase, status, &stderr))
                };
            }
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                // A process that waits inside the kernel cannot be killed: it is left behind, and said.
                let gone =
                    waited(&mut child, Instant::now() + Duration::from_millis(500)).is_some();
                return if done {
                    lost(seen, told)
                } else {
                    Some(hung(&phase, limit, child.id(), gone))
                };
            }
            Err(RecvTimeoutError::Disconnected) => {
                let _ = child.kill();
                let _ = child.wait();
                return if done { lost(seen, told) } else { Some(crashed(&phase, None, "")) };
            }
        }
    }
}

pub(super) fn waited(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// A check that was made and did not arrive may be the one that failed.
fn lost(seen: usize, told: Option<usize>) -> Option<Check> {
    (told != Some(seen)).then(|| {
        let made = told.map_or_else(|| "an unknown number".to_owned(), |told| told.to_string());
        let text = format!("the layer has made {made} of checks, and {seen} arrived");
        Check::skip("process", Code::Unknown, text)
            .help("a library of the image prints between the lines of this program: run it again")
    })
}

fn hung(phase: &str, limit: Duration, id: u32, gone: bool) -> Check {
    let seconds = limit.as_secs_f64();
    let check = Check::new(
        "process",
        Outcome::Hang,
        Code::DriverState,
        format!("no answer within {seconds} s in {phase}"),
    )
    .number("phase", phase)
    .number("limit_seconds", seconds);
    if gone {
        check.help("look for the GPU's faults in the kernel log (`dmesg`, lines with `Xid`), and reset the GPU or restart the machine")
    } else {
        check
            .fact(format!("process {id} could not be ended: it waits inside the kernel"), "kill")
            .help("the machine has to be restarted: a call into the kernel driver does not return")
    }
}

pub(super) fn crashed(phase: &str, status: Option<ExitStatus>, stderr: &str) -> Check {
    let how = status.map_or_else(|| "it died".to_owned(), |status| status.to_string());
    let mut check = Check::new(
        "process",
        Outcome::Crash,
        Code::Unknown,
        format!("the process ended in {phase}: {how}"),
    )
    .number("phase", phase);
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in &lines[lines.len().saturating_sub(5)..] {
        check = check.fact(*line, "standard error");
    }
    check
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::verify::Layer;

    fn shell(script: &str, longest: Option<Duration>) -> (Vec<Check>, Option<Check>) {
        let job = Job::new(Layer::Cuda, None);
        let (child, lines) =
            spawn(Command::new("sh").args(["-c", script]), &job).expect("a shell starts");
        let mut checks = Vec::new();
        let end = listen(child, &lines, longest, |line| {
            if let Line::Check(check) = line {
                checks.push(*check);
            }
        });
        (checks, end)
    }

    fn line(line: &Line) -> String {
        format!("echo '{}'\n", serde_json::to_value(line).expect("JSON"))
    }

    fn phase(name: &str, seconds: f64) -> String {
        line(&Line::Phase { name: name.into(), seconds })
    }

    #[test]
    fn what_is_told_counts_whatever_the_library_prints() {
        let check = Check::pass("one", "fine").number("tflops", 1.5);
        let script = format!(
            "echo noise; {}{}{}printf 'half a line'; exit 0",
            line(&Line::Check(Box::new(check.clone()))),
            line(&Line::Told(1)),
            line(&Line::Done)
        );
        assert_eq!(shell(&script, None), (vec![check], None));
    }

    #[test]
    fn a_hang_names_its_phase_and_keeps_what_came_before() {
        let check = line(&Line::Check(Box::new(Check::pass("one", "fine"))));
        let (checks, end) = shell(&format!("{check}{}exec sleep 60", phase("cuInit", 0.3)), None);
        let end = end.expect("an end");
        assert_eq!((checks.len(), end.outcome), (1, Outcome::Hang));
        assert!(end.text.ends_with("in cuInit"), "{}", end.text);
        // A shorter limit of the user's counts.
        let longest = Some(Duration::from_millis(200));
        let (_, end) = shell(&format!("{}exec sleep 60", phase("cuInit", 3600.0)), longest);
        assert_eq!(end.expect("an end").outcome, Outcome::Hang);
    }

    #[test]
    fn a_crash_names_its_phase_and_quotes_the_last_words() {
        let (_, end) = shell(&format!("{}echo why >&2; kill -SEGV $$", phase("dlopen", 9.0)), None);
        let end = end.expect("an end");
        assert_eq!(end.outcome, Outcome::Crash);
        assert!(end.text.contains("dlopen") && end.text.contains("SIGSEGV"), "{}", end.text);
        assert_eq!(end.facts[0].text, "why");
        // Success without a last word is none.
        assert_eq!(shell("exit 0", None).1.expect("an end").outcome, Outcome::Crash);
    }

    #[test]
    fn dying_while_it_closes_is_no_crash() {
        let script = format!("{}{}kill -SEGV $$", line(&Line::Told(0)), line(&Line::Done));
        assert_eq!(shell(&script, None).1, None);
    }

    #[test]
    fn a_check_that_did_not_arrive_is_missed() {
        let check = line(&Line::Check(Box::new(Check::pass("one", "fine"))));
        let torn = check.replace("echo '", "echo 'a library says{");
        let script = format!("{check}{torn}{}{}", line(&Line::Told(2)), line(&Line::Done));
        let (checks, end) = shell(&script, None);
        let end = end.expect("an end");
        assert_eq!((checks.len(), end.outcome, end.optional), (1, Outcome::Skip, false));
        // So is all that should have come before a last word that comes from elsewhere.
        let (_, end) = shell(&format!("{check}{}", line(&Line::Done)), None);
        assert_eq!(end.expect("an end").outcome, Outcome::Skip);
    }
}
