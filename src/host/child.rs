//! Runs a program that may hang, flood or die, and always comes back.

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Most that is kept of each stream; the rest is read and thrown away, so that the program can end.
const KEPT: u64 = 1 << 20;

/// What a program left behind.
#[derive(Debug)]
pub struct Ran {
    /// How it ended; `None`: it had to be killed at its deadline.
    pub status: Option<ExitStatus>,
    /// Standard output, its first MiB.
    pub stdout: String,
    /// Standard error, its first MiB.
    pub stderr: String,
}

impl Ran {
    /// It ended by itself, with success.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a program with a text on its standard input, for no longer than `deadline`.
///
/// # Errors
/// It cannot be started.
pub fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: &[S],
    stdin: &str,
    deadline: Duration,
) -> io::Result<Ran> {
    run_command(Command::new(program).args(args), stdin, deadline)
}

/// The same with what else is set for it, such as its folder.
///
/// # Errors
/// It cannot be started.
pub fn run_command(command: &mut Command, stdin: &str, deadline: Duration) -> io::Result<Ran> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let end = Instant::now() + deadline;
    let stdout = child.stdout.take().map(listen);
    let stderr = child.stderr.take().map(listen);
    if let Some(mut pipe) = child.stdin.take() {
        let text = stdin.to_owned();
        // A program that does not read would hold us up; one that ends early is no failure of ours.
        thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    }
    let status = wait(&mut child, end)?;
    if status.is_none() {
        let _ = child.kill();
        // Inside a driver that hangs, a kill takes effect only when the call returns: it is left behind.
        let _ = wait(&mut child, Instant::now() + Duration::from_millis(500));
    }
    // A grandchild may hold the pipes open: what has come by then counts.
    let grace = Instant::now() + Duration::from_millis(500);
    let text = |stream: Option<Receiver<Vec<u8>>>| {
        let bytes = stream.map(|receiver| gather(&receiver, grace)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Ran { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Waits until the child has ended; `None`: it has not by then.
fn wait(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Reads a stream to its end on a thread of its own, and passes on what is kept.
fn listen(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut left = KEPT;
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let kept = usize::try_from(left).unwrap_or(usize::MAX).min(count);
            left -= kept as u64;
            if kept > 0 && sender.send(buffer[..kept].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What a stream gave until its end or until then.
fn gather(receiver: &Receiver<Vec<u8>>, end: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(part) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        all.extend(part);
    }
    all
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, stdin: &str, deadline: Duration) -> Ran {
        run("sh", &["-c", script], stdin, deadline).expect("a shell")
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_was_said_and_how_it_ended() {
        let ran = sh("cat; echo aside >&2; exit 3", "given\n", LONG);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("given\n", "aside\n"));
        assert_eq!(ran.status.and_then(|status| status.code()), Some(3));
        assert!(!ran.success());
        assert!(sh("true", "nobody reads this", LONG).success());
        assert!(run("no such program", &[""], "", LONG).is_err());
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_its_words_are_kept() {
        let start = Instant::now();
        let ran = sh("echo first; exec sleep 60", "", Duration::from_millis(300));
        assert!(ran.status.is_none() && start.elapsed() < LONG);
        assert_eq!(ran.stdout, "first\n");
    }

    #[test]
    fn a_grandchild_with_our_pipes_holds_nobody_up() {
        let start = Instant::now();
        let ran = sh("sleep 30 & echo done", "", LONG);
        assert!(ran.success() && ran.stdout == "done\n");
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_flood_is_cut() {
        let ran = sh("head -c 3000000 /dev/zero", &"x".repeat(3_000_000), LONG);
        assert!(ran.success());
        assert_eq!(ran.stdout.len() as u64, KEPT);
    }
}
