//! L5: the image's torch in its own Python.
//!
//! The program that asks it stands in `torch.py`. It comes to the interpreter on standard input, and what it tells
//! is passed on line by line: a call of torch that hangs or dies is named as the phase that it is.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::domain::{Code, CodeTarget, ComputeCapability, Gather as _, Suffix};
use crate::verify::Check;
use crate::verify::frame::{self, Teller};
use crate::verify::image::Libraries;
use crate::verify::plan::Job;

const PROGRAM: &str = concat!(include_str!("../../host/tell.py"), include_str!("torch.py"));
const MARK: &str = "@gpuseal ";

/// Python itself starts in milliseconds, from a cold disk in seconds.
const START: Duration = Duration::from_secs(30);

/// Bytes of a line; the program's longest has a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// How long what has ended may leave its pipes open: workers of a DataLoader hold them too.
const GRACE: Duration = Duration::from_millis(500);

/// Sides of the squares whose product is timed, as cuBLAS's own are; the last where a CPU stands in for the device.
const SIDES: &[u32] = &[8192, 4096, 2048, 256];

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    tell.phase("start of Python", START);
    let given = asked(job).to_string();
    let named = job.python.iter().map(|path| path.as_os_str());
    let usual = ["python3", "python"].map(OsStr::new).into_iter();
    let mut interpreters = named.chain(usual.filter(|_| job.python.is_none()));
    let started = interpreters.find_map(|name| match start(name, &given) {
        Err(err) if err.kind() == io::ErrorKind::NotFound && job.python.is_none() => None,
        started => Some((name, started)),
    });
    match started {
        Some((_, Ok(child))) => listen(child, tell),
        Some((name, Err(err))) => {
            let text = format!("{} cannot be started: {err}", name.to_string_lossy());
            tell.check(Check::skip("import", Code::Unknown, text));
        }
        None => {
            let text = "there is no Python: neither python3 nor python is on PATH";
            let check = Check::skip("import", Code::Unknown, text);
            tell.check(check.help("name the interpreter of the environment with --env"));
        }
    }
}

/// What the program has to know.
fn asked(job: &Job) -> Value {
    let Libraries { cublas, cublas_lt, cudnn, nccl } = &job.libraries;
    let libraries = [cublas, cublas_lt, cudnn, nccl].into_iter().flatten();
    json!({
        "dtypes": job.dtypes.iter().map(|dtype| dtype.word()).gather::<Vec<_>>(),
        "speed": job.speed,
        "shape": if job.quick { [48, 48, 64] } else { [256, 192, 256] },
        "sizes": if job.quick { &SIDES[3..] } else { &SIDES[..3] },
        "seed": job.seed,
        "devices": job.devices,
        "compiles": job.compiles,
        "libraries": libraries.map(|path| path.to_string_lossy().into_owned()).gather::<Vec<_>>(),
    })
}

fn start(interpreter: &OsStr, given: &str) -> io::Result<Child> {
    let mut command = Command::new(interpreter);
    // -B: no byte code is written. faulthandler: a signal leaves Python's stack on standard error.
    command.args(["-B", "-X", "faulthandler", "-", given]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The supervisor kills this process where a phase takes too long, and knows nothing of Python.
    frame::end_with_us(&mut command);
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        thread::spawn(move || drop(pipe.write_all(PROGRAM.as_bytes())));
    }
    Ok(child)
}

/// Passes on what the program tells, until it is through or has died.
fn listen(mut child: Child, tell: &mut Teller<'_>) {
    let stdout = child.stdout.take().map(lines);
    let stderr = child.stderr.take().map(lines);
    let mut heard = Heard { tell, phase: "start of Python".into(), done: false };
    let mut ended: Option<Instant> = None;
    while let (Some(stdout), false) = (&stdout, heard.done) {
        match stdout.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => heard.line(&line),
            Err(RecvTimeoutError::Timeout) => match ended {
                Some(at) if at.elapsed() > GRACE => break,
                Some(_) => (),
                None => ended = child.try_wait().ok().flatten().map(|_| Instant::now()),
            },
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = frame::waited(&mut child, Instant::now() + Duration::from_secs(5));
    // A driver that hangs while it closes: nothing is judged by that.
    let _ = child.kill();
    if !heard.done {
        let mut said: Vec<String> = Vec::new();
        while let Some(Ok(line)) = stderr.as_ref().map(|stderr| stderr.recv_timeout(GRACE)) {
            said.push(crate::domain::shown(&line));
        }
        heard.tell.check(frame::crashed(&heard.phase, status, &last_words(&said)));
    }
}

/// What counts of standard error: its end, or the innermost calls of the stack that faulthandler writes there.
fn last_words(said: &[String]) -> String {
    let fatal = said.iter().position(|line| line.starts_with("Fatal Python error"));
    let stack = fatal.map(|at| said[at..].iter().filter(|line| !line.trim().is_empty()));
    // The reason, a line of the thread, calls.
    stack.map_or_else(
        || said.join("\n"),
        |stack| stack.take(5).cloned().gather::<Vec<_>>().join("\n"),
    )
}

/// Reads a stream on a thread of its own.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.by_ref().take(LONGEST).read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Heard<'h, 't> {
    tell: &'h mut Teller<'t>,
    phase: String,
    done: bool,
}

impl Heard<'_, '_> {
    fn line(&mut self, line: &str) {
        let Some(line) = line.strip_prefix(MARK) else { return };
        let Ok(mut told) = line.parse::<Value>() else {
            // It may be the check that failed.
            let text = format!("a line of the program cannot be read, in {}", self.phase);
            return self.tell.check(Check::skip("program", Code::Unknown, text));
        };
        if let Some(phase) = told["phase"].as_str() {
            let seconds = told["seconds"].as_f64().unwrap_or_default();
            self.tell.phase(phase, Duration::try_from_secs_f64(seconds).unwrap_or(START));
            phase.clone_into(&mut self.phase);
        }
        if told.get("check").is_some() {
            let check = serde_json::from_value(told["check"].take()).unwrap_or_else(|err| {
                let text = format!("a check in {} cannot be read: {err}", self.phase);
                Check::skip("program", Code::Unknown, text)
            });
            self.tell.check(check);
        }
        if let Some(arch) = told.get("arch") {
            self.tell.check(judge(arch));
        }
        self.done = told.get("done").is_some();
    }
}

/// Whether torch has code for a device.
fn judge(arch: &Value) -> Check {
    let text = |key: &str| arch[key].as_str().unwrap_or_default();
    let (name, torch, capability) = (text("name"), text("torch"), text("capability"));
    let listed: Vec<&str> =
        arch["list"].as_array().into_iter().flatten().filter_map(Value::as_str).gather();
    let Ok(device) = capability.parse::<ComputeCapability>() else {
        let text = format!("torch tells no compute capability of the device: `{capability}`");
        return Check::skip(name, Code::Unknown, text);
    };
    let targets = || listed.iter().filter_map(|code| code.parse::<CodeTarget>().ok());
    let runs = |code: &CodeTarget| match code.suffix {
        Suffix::Plain => code.same_major_from(device),
        Suffix::ArchSpecific | Suffix::Family => code.ptx_reaches(device),
    };
    let machine = targets().find(|code| !code.ptx && runs(code));
    let ptx = targets().find(|code| code.ptx && code.ptx_reaches(device));
    let all = listed.join(" ");
    match (machine, ptx) {
        (Some(code), _) => Check::pass(name, format!("torch {torch} has {code} for {device}")),
        (None, Some(code)) => {
            let text = format!(
                "torch {torch} has no machine code for {device}: the driver compiles its {code} at the first start"
            );
            Check::warn(name, Code::OkViaPtxJit, text)
        }
        (None, None) if all.is_empty() => {
            Check::skip(name, Code::Unknown, format!("torch {torch} lists no code at all"))
        }
        (None, None) => {
            let text = format!("torch {torch} has {all}, and nothing of that runs on {device}");
            Check::fail(name, Code::ArchNotInBinary, text)
                .help("install a torch whose list has the device's capability: `gpuseal resolve` names one")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    #[test]
    fn code_that_runs_on_a_device() {
        let judged = |capability: &str, list: &[&str]| {
            let check = judge(
                &json!({"name": "arch", "torch": "2.9.1+cu128", "capability": capability, "list": list}),
            );
            (check.outcome, check.code)
        };
        let list = ["sm_75", "sm_80", "sm_90a", "compute_90"];
        assert_eq!(judged("8.6", &list), (Outcome::Pass, Code::Ok));
        assert_eq!(judged("9.0", &list), (Outcome::Pass, Code::Ok));
        assert_eq!(judged("12.0", &list), (Outcome::Warn, Code::OkViaPtxJit));
        assert_eq!(judged("7.0", &list), (Outcome::Fail, Code::ArchNotInBinary));
        // `a` code reaches no further than its own capability.
        assert_eq!(judged("10.3", &["sm_100a"]), (Outcome::Fail, Code::ArchNotInBinary));
        assert_eq!(judged("10.3", &["sm_100f"]), (Outcome::Pass, Code::Ok));
        assert_eq!(judged("9.0", &[]), (Outcome::Skip, Code::Unknown));
        assert_eq!(judged("", &list), (Outcome::Skip, Code::Unknown));
    }
    #[test]
    fn its_codes_are_known() {
        let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
        let program = include_str!("torch.py");
        let known = program.split("KNOWN = [").nth(1).and_then(|rest| rest.split("]\n").next());
        let known = known.expect("a table").lines().filter_map(|line| line.split_once("\", "));
        let codes = known.map(|(_, code)| quoted(code));
        let raised = program.split("Wrong(").skip(1).filter(|text| text.trim().starts_with('"'));
        let codes: Vec<String> = codes.chain(raised.map(quoted)).collect();
        assert!(codes.len() > 20, "{codes:?}");
        for code in codes {
            code.parse::<Code>().expect("a code");
        }
    }
}
