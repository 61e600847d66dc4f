//! `diagnose` on texts that were made to hurt: answered soon, with little memory, and never with a cause
//! that is not there.

mod support;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use support::{folder, run, write};

/// Runs on a text; the answer comes soon and is short.
#[track_caller]
fn diagnose(text: impl AsRef<[u8]>) -> (i32, String) {
    let place = folder(&[]);
    write(place.path(), "log.txt", text);
    let start = Instant::now();
    let run = run(place.path(), &["diagnose", "log.txt"]);
    let took = start.elapsed();
    // A debug build on a busy machine gets much more than the second that a release has.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
    let all = run.all();
    let head: String = all.chars().take(300).collect();
    assert!(took < limit, "took {took:?}: {head}");
    assert!(all.len() < 64 * 1024, "{} bytes of answer: {head}", all.len());
    assert!(all.chars().all(|c| c == '\n' || !c.is_control()), "control characters: {head:?}");
    (run.code, all)
}

const MESSAGE: &str =
    "RuntimeError: CUDA error: no kernel image is available for execution on the device";
const TEN: usize = 10_000_000;

#[test]
fn much_of_nothing_is_unknown() {
    for text in [
        Vec::new(),
        vec![0; TEN],
        vec![b'\n'; TEN],
        vec![b'\r'; TEN],
        vec![b' '; TEN],
        vec![0x1b; TEN],
        vec![0xff; TEN],
        b"\x1b[".repeat(TEN / 2),
        b"[".repeat(TEN),
        b"[rank0]: ".repeat(TEN / 9),
        "│ ".repeat(TEN / 4).into_bytes(),
        b"no kernel image is available for execution on the devic ".repeat(TEN / 56),
    ] {
        let (code, all) = diagnose(&text);
        assert_eq!(code, 5, "{all}");
        assert!(all.starts_with("unknown: "), "{all}");
    }
}

#[test]
fn one_message_in_much_text_is_found_wherever_it_stands() {
    let noise = "step 1 loss 0.5 lr 1e-4\n".repeat(TEN / 24 / 2);
    for text in [
        format!("{MESSAGE}\n{noise}{noise}"),
        format!("{noise}{MESSAGE}\n{noise}"),
        format!("{noise}{noise}{MESSAGE}"),
        format!("{}{MESSAGE}", "x".repeat(TEN)),
        // A progress bar: one line for as long as it runs.
        format!("{}{MESSAGE}\n", "10%|#         | 1/10\r".repeat(TEN / 21)),
    ] {
        let (code, all) = diagnose(&text);
        assert_eq!(code, 0, "{all}");
        assert!(all.starts_with("arch-not-in-binary: "), "{all}");
    }
}

#[test]
fn a_message_without_end_is_one_message() {
    let (code, all) = diagnose(format!("{MESSAGE}\n").repeat(TEN / MESSAGE.len()));
    assert_eq!(code, 0);
    assert!(all.starts_with("arch-not-in-binary: ") && all.contains(" times"), "{all}");
}

#[test]
fn every_message_at_once_is_answered_with_one_cause() {
    let matrix = gpuseal::matrix::Matrix::embedded();
    let mut text = String::new();
    for message in matrix.messages() {
        for fragment in &message.text {
            let _ = writeln!(text, "{fragment}");
        }
    }
    let many = text.repeat(TEN / text.len() + 1);
    let (_, all) = diagnose(many);
    assert_eq!(
        all.lines().filter(|line| line.starts_with("more: gpuseal explain ")).count(),
        1,
        "{all}"
    );
}

#[test]
fn what_moves_a_terminal_stays_out_of_the_answer() {
    let (code, all) =
        diagnose(format!("\x1b]0;title\x07\x1b[2J\x08\x08{MESSAGE}\x1b[?25l \u{9b}31m\u{202e}\n"));
    assert_eq!(code, 0, "{all}");
    assert!(!all.contains('\u{202e}'), "{all:?}");
}

#[test]
fn of_a_long_line_the_message_is_quoted() {
    let (_, all) = diagnose(format!("{{\"a\": \"{}\", \"msg\": \"{MESSAGE}\"}}", "y".repeat(4000)));
    assert!(all.contains("no kernel image is available for"), "{all}");
}

#[test]
fn a_file_that_is_none_is_an_error() {
    let place = folder(&[]);
    for (arguments, words) in
        [(vec!["diagnose", "absent.txt"], "absent.txt"), (vec!["diagnose", "."], ".")]
    {
        let run = run(place.path(), &arguments);
        assert_eq!(run.code, 2, "{}", run.all());
        assert!(run.all().contains(words), "{}", run.all());
    }
}
