//! Runs the container, for no longer than it may take, and leaves none behind.

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::find::Engine;
use crate::cli::output::Output;
use crate::host::child;

/// Bytes of the answer; a run on eight devices has half a megabyte.
const LONGEST: u64 = 16 << 20;

/// Lines that are kept of what the engine and the program inside say.
const KEPT: usize = 200;

/// For an engine to remove a container.
const REMOVED: Duration = Duration::from_secs(30);

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// With this code; `None`: a signal ended the engine's program.
    Exit(Option<i32>),
    /// It took too long.
    Late,
    /// Control-C, or somebody asked this program to end.
    Interrupted,
}

/// What a container left behind.
pub struct Ran {
    pub end: End,
    /// Its standard output.
    pub answer: String,
    /// Standard error: the engine's lines and those of the program inside; the last of them.
    pub said: Vec<String>,
}

enum Heard {
    Said(String),
    Answer(String),
    Closed,
    Interrupted,
}

/// A name that no other container has.
pub fn name() -> String {
    use std::hash::{BuildHasher as _, RandomState};

    let random = RandomState::new().hash_one(Instant::now());
    format!("gpuseal-verify-{}-{:08x}", std::process::id(), random >> 32)
}

/// Runs it. What is said is passed on as it comes.
///
/// # Errors
/// The engine cannot be started.
pub fn run(
    engine: &Engine,
    words: &[String],
    container: &str,
    limit: Duration,
    output: &Output,
) -> io::Result<Ran> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Control-C is for this program, which removes the container.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let (sender, heard) = mpsc::channel();
    watch(sender.clone());
    let mut child = command.spawn()?;
    let end = Instant::now() + limit;
    if let Some(stream) = child.stdout.take() {
        answer(stream, sender.clone());
    }
    if let Some(stream) = child.stderr.take() {
        said(stream, sender);
    }
    let mut ran = Ran { end: End::Late, answer: String::new(), said: Vec::new() };
    let mut open = 2;
    while open > 0 {
        match heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Heard::Said(line)) => {
                output.talk(&line);
                if ran.said.len() == KEPT {
                    ran.said.remove(0);
                }
                ran.said.push(line);
            }
            Ok(Heard::Answer(text)) => ran.answer = text,
            Ok(Heard::Closed) => open -= 1,
            Ok(Heard::Interrupted) => ran.end = End::Interrupted,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
        if matches!(ran.end, End::Interrupted) {
            break;
        }
    }
    if open == 0
        && let Some(status) = waited(&mut child, end)
    {
        ran.end = End::Exit(status.code());
        return Ok(ran);
    }
    remove(engine, container, output);
    if waited(&mut child, Instant::now() + Duration::from_secs(5)).is_none() {
        let _ = child.kill();
        let _ = waited(&mut child, Instant::now() + Duration::from_secs(1));
    }
    Ok(ran)
}

fn remove(engine: &Engine, container: &str, output: &Output) {
    let removed = child::run(&engine.program, &["rm", "--force", container], "", REMOVED);
    let why = match removed {
        Ok(ran) if ran.success() => return,
        Ok(ran) => ran.stderr.trim().replace(char::is_control, " "),
        Err(err) => err.to_string(),
    };
    output.talk(format_args!(
        "the container {container} could not be removed: {why}; `{} rm --force {container}`",
        engine.program
    ));
}

/// Keeps what comes first, and reads the rest so that the container can end.
fn answer(stream: impl Read + Send + 'static, sender: Sender<Heard>) {
    thread::spawn(move || {
        let (mut stream, mut bytes) = (stream, Vec::new());
        let _ = stream.by_ref().take(LONGEST).read_to_end(&mut bytes);
        let _ = io::copy(&mut stream, &mut io::sink());
        let _ = sender.send(Heard::Answer(String::from_utf8_lossy(&bytes).into_owned()));
        let _ = sender.send(Heard::Closed);
    });
}

fn said(stream: impl Read + Send + 'static, sender: Sender<Heard>) {
    thread::spawn(move || {
        let (mut stream, mut bytes) = (BufReader::new(stream), Vec::new());
        while stream.by_ref().take(64 << 10).read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim_end().replace(char::is_control, " ");
            bytes.clear();
            if !line.is_empty() {
                let _ = sender.send(Heard::Said(line));
            }
        }
        let _ = sender.send(Heard::Closed);
    });
}

/// Listens for Control-C, and for the signal with which a CI system cancels a job.
fn watch(sender: Sender<Heard>) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            #[cfg(unix)]
            {
                use tokio::signal::unix::{SignalKind, signal};

                let Ok(mut ended) = signal(SignalKind::terminate()) else { return };
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => (),
                    _ = ended.recv() => (),
                }
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
        });
        let _ = sender.send(Heard::Interrupted);
    });
}

fn waited(child: &mut Child, end: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(10)),
            _ => return None,
        }
    }
}
