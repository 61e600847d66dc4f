//! One line of a log without what terminals, loggers and containers put around it.

/// A line as it is matched and shown.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Without escape sequences and control characters.
    pub text: String,
    /// Where the message itself begins: after time stamps, ranks, names of containers, frames.
    pub start: usize,
    /// Where it ends, before the frame of a box.
    pub end: usize,
}

impl Line {
    /// The message itself.
    pub fn body(&self) -> &str {
        &self.text[self.start..self.end]
    }
}

/// Cleans `raw` into `line`, whose memory is used again.
pub(super) fn clean(raw: &[u8], line: &mut Line) {
    line.text.clear();
    if raw.iter().any(|b| *b < b' ') {
        unescaped(raw, &mut line.text);
    } else {
        push_lossy(raw, &mut line.text);
    }
    let text = line.text.trim_end_matches(|c: char| c.is_whitespace() || is_frame(c));
    line.end = text.len();
    line.start = line.end - without_prefixes(text).len();
}

fn push_lossy(bytes: &[u8], text: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(whole) => text.push_str(whole),
        Err(_) => text.push_str(&String::from_utf8_lossy(bytes)),
    }
}

/// Leaves out control sequences: `ESC [ ... letter`, `ESC ] ... BEL`, two-character escapes; other control
/// characters become spaces.
fn unescaped(raw: &[u8], text: &mut String) {
    let mut plain = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            0x1b => match bytes.next() {
                Some(b'[') => while bytes.next().is_some_and(|b| !(0x40..=0x7e).contains(&b)) {},
                Some(b']') => while bytes.next().is_some_and(|b| b != 0x07 && b != 0x1b) {},
                _ => (),
            },
            // Typed over: `man` and some shells make bold that way.
            0x08 => {
                plain.pop();
            }
            byte if byte < b' ' => plain.push(b' '),
            byte => plain.push(byte),
        }
    }
    push_lossy(&plain, text);
}

/// Characters that boxes and quotes are drawn with.
fn is_frame(c: char) -> bool {
    matches!(c, '│' | '┃' | '║' | '╎' | '▏')
}

/// The line without any number of prefixes.
pub(super) fn without_prefixes(line: &str) -> &str {
    let mut rest = line.trim_start();
    // Nobody nests more; and each turn looks at no more than a few words.
    for _ in 0..8 {
        let shorter = without_prefix(rest).trim_start();
        if shorter.len() == rest.len() || shorter.is_empty() {
            break;
        }
        rest = shorter;
    }
    rest
}

/// Words of a level that loggers put before a message.
const LEVELS: &[&str] = &[
    "INFO", "WARNING", "WARN", "ERROR", "DEBUG", "CRITICAL", "FATAL", "TRACE", "E", "W", "I", "F",
];

fn without_prefix(line: &str) -> &str {
    let Some(first) = line.chars().next() else { return line };
    if is_frame(first) || matches!(first, '>' | '|') {
        return &line[first.len_utf8()..];
    }
    // `[rank0]:`, `[2026-01-01 12:00:00]`, `(EngineCore pid=12)`.
    if let Some(close) = match first {
        '[' => Some(']'),
        '(' => Some(')'),
        _ => None,
    } {
        let head = &line[..floor(line, 80)];
        return match head.find(close) {
            Some(end) => line[end + 1..].trim_start_matches(':'),
            None => line,
        };
    }
    let word_end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(word_end);
    if rest.is_empty() || word.len() > 64 {
        return line;
    }
    if is_stamp(word) || LEVELS.contains(&word.trim_end_matches(':')) {
        return rest;
    }
    // BuildKit: `#12 3.456 text`.
    if let Some(step) = word.strip_prefix('#')
        && !step.is_empty()
        && step.bytes().all(|b| b.is_ascii_digit())
    {
        return rest;
    }
    // Compose: `app-1  | text`.
    match rest.trim_start().strip_prefix('|') {
        Some(after) if after.starts_with(' ') => after,
        _ => line,
    }
}

/// A date, a time, seconds since the start: digits and what stands between them.
fn is_stamp(word: &str) -> bool {
    let word = word.trim_end_matches([',', ':']);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let between = word.bytes().filter(|b| matches!(b, b'-' | b':' | b'.' | b',' | b'/')).count();
    let other = word.bytes().filter(|b| matches!(b, b'T' | b'Z' | b'+')).count();
    digits >= 3 && between >= 1 && digits + between + other == word.len()
}

/// The largest index of at most `at` that is a boundary of characters.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(raw: &str) -> String {
        let mut line = Line::default();
        clean(raw.as_bytes(), &mut line);
        line.body().to_owned()
    }

    #[test]
    fn what_stands_around_a_message_goes() {
        for raw in [
            "no driver here",
            "  no driver here  ",
            "\x1b[31mno driver here\x1b[0m",
            "\x1b]8;;x\x07no driver here",
            "[rank0]: no driver here",
            "[rank0]:[W1122 10:00:00.123 Foo.cpp:12] no driver here",
            "2026-01-01T10:00:00.123456Z no driver here",
            "2026-01-01 10:00:00,123 ERROR no driver here",
            "app-1  | no driver here",
            "trainer_1 | 2026-01-01 10:00:00 | no driver here",
            "(EngineCore_DP0 pid=1234) ERROR 01-02 10:00:00 [core.py:12] no driver here",
            "#12 34.56 no driver here",
            "> > no driver here",
            "E   no driver here",
            "│ no driver here                │",
            "[1,3]<stderr>:no driver here",
        ] {
            let wanted =
                if raw.starts_with("[1,3]") { "<stderr>:no driver here" } else { "no driver here" };
            assert_eq!(body(raw), wanted, "{raw:?}");
        }
    }

    #[test]
    fn what_is_said_stays() {
        for raw in
            ["12 GPUs", "3 is a number", "Ran 12 tests in 3.4s", "E", "[", "(", "torch 2.8.0", ""]
        {
            assert_eq!(body(raw), raw);
        }
        assert_eq!(body("bad \u{fffd} text"), "bad \u{fffd} text");
    }
}
