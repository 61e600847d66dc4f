//! What an interpreter was asked and what it replied: sessions, `python -c`, cells of a notebook.
//!
//! A reply is taken only when it has the form of an answer to that very question.

use std::collections::VecDeque;

use super::{Draft, Rank, told};
use crate::domain::{ComputeCapability, CudaVersion, Order as _, digits};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Version,
    Cuda,
    Available,
    Count,
    Name,
    Capability,
    ArchList,
    Cudnn,
    Python,
}

const QUESTIONS: &[(&str, Question)] = &[
    ("torch.__version__", Question::Version),
    ("torch.version.cuda", Question::Cuda),
    ("cuda.is_available()", Question::Available),
    ("cuda.device_count()", Question::Count),
    ("cuda.get_device_name(", Question::Name),
    ("cuda.get_device_capability(", Question::Capability),
    ("cuda.get_arch_list()", Question::ArchList),
    ("backends.cudnn.version()", Question::Cudnn),
    ("sys.version", Question::Python),
];

/// Questions that wait for their replies.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Question>,
    /// Lines without a reply since.
    idle: usize,
}

impl Replies {
    /// Takes a line; whether it was a question or a reply.
    pub fn line(&mut self, draft: &mut Draft<'_>, raw: &str) -> bool {
        if raw.contains("torch.") || raw.contains("sys.version") {
            let asks = [">>>", "...", "print(", "print ", "python", "In ["]
                .iter()
                .any(|mark| raw.contains(mark));
            let found = questions(raw);
            // `torch.cuda.is_available(): False` answers itself, and `assert ...` asks nobody.
            if !found.is_empty() && asks {
                self.waiting = found.into();
                self.idle = 0;
                return true;
            }
            return inline(draft, raw);
        }
        if raw.starts_with(">>>") || raw.starts_with("...") {
            return true;
        }
        if self.waiting.is_empty() {
            return banner(draft, raw);
        }
        let text = raw
            .split_once("Out[")
            .map_or(raw, |(_, rest)| rest.split_once(':').map_or(rest, |(_, reply)| reply));
        let words = words(text);
        let mut taken = false;
        // All on one line, or one on each.
        if words.len() == self.waiting.len() {
            for (question, word) in self.waiting.clone().into_iter().zip(&words) {
                taken |= answer(draft, question, word);
            }
        }
        if taken {
            self.waiting.clear();
        } else if let Some(question) = self.waiting.front().copied() {
            taken = answer(draft, question, text.trim());
            if taken {
                self.waiting.pop_front();
            }
        }
        self.idle = if taken { 0 } else { self.idle + 1 };
        // A warning may stand between; an error means that no reply comes.
        if self.idle > 6 || raw.starts_with("Traceback") {
            self.waiting.clear();
        }
        taken
    }
}

/// `torch.cuda.is_available() = False`, `torch.cuda.is_available() returns False`.
fn inline(draft: &mut Draft<'_>, raw: &str) -> bool {
    let mut taken = false;
    for (text, question) in QUESTIONS {
        let Some((_, rest)) = raw.split_once(text) else { continue };
        let rest = rest.trim_start_matches([')', '0', '`', '*']);
        let marks = [":", "==", "=", "->", "=>", "returns", "is", "prints", "gives", "→"];
        let reply =
            marks.iter().find_map(|mark| rest.trim_start().strip_prefix(mark)).map(|reply| {
                reply.trim_matches(|c: char| c.is_whitespace() || matches!(c, '`' | '*' | '.'))
            });
        if let Some(reply) = reply {
            let word = words(reply).into_iter().next().unwrap_or_default();
            taken |= answer(draft, *question, &word) || answer(draft, *question, reply);
        }
    }
    taken
}

/// Questions of a line, in their order.
fn questions(raw: &str) -> Vec<Question> {
    let mut found: Vec<(usize, Question)> = Vec::new();
    for (text, question) in QUESTIONS {
        found.extend(raw.match_indices(text).take(4).map(|(at, _)| (at, *question)));
    }
    found.order_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, question)| question).take(16).collect()
}

/// Words of a reply; what stands in quotes or brackets is one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut closing: Option<char> = None;
    for c in text.chars() {
        match closing {
            Some(end) => {
                word.push(c);
                if c == end {
                    closing = None;
                }
            }
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => {
                closing = match c {
                    '\'' | '"' => Some(c),
                    '(' => Some(')'),
                    '[' => Some(']'),
                    _ => None,
                };
                word.push(c);
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes a reply; whether it has the form of an answer.
fn answer(draft: &mut Draft<'_>, question: Question, text: &str) -> bool {
    let rank = Rank::Replied;
    let text = text.trim().trim_end_matches([',', ';']);
    let bare = text.trim_matches(['\'', '"']);
    match question {
        Question::Version => {
            let is_version = super::torch_version(bare).is_some();
            draft.torch(rank, bare);
            is_version
        }
        Question::Cuda => match (bare, bare.parse::<CudaVersion>()) {
            ("None", _) => {
                draft.torch_cuda(rank, None);
                true
            }
            (_, Ok(cuda)) => {
                draft.torch_cuda(rank, Some(cuda));
                true
            }
            _ => false,
        },
        Question::Available => match bare {
            "True" | "False" | "true" | "false" => {
                draft.available(rank, bare.eq_ignore_ascii_case("true"));
                true
            }
            _ => false,
        },
        Question::Count => digits::<u32>(bare).filter(|n| *n < 1000).is_some_and(|count| {
            draft.here().count.put(rank, count);
            true
        }),
        Question::Name => {
            let is_name = draft.is_card(bare);
            if is_name {
                draft.device(rank, bare, None);
            }
            is_name
        }
        Question::Capability => {
            let pair = text.trim_matches(['(', ')']).split_once(',');
            let capability: Option<ComputeCapability> =
                pair.and_then(|(a, b)| format!("{}.{}", a.trim(), b.trim()).parse().ok());
            let Some(capability) = capability else { return false };
            draft.see("capability", &capability.to_string());
            let known = draft.devices.last().map(|(_, device)| device.name.clone());
            let name =
                known.unwrap_or_else(|| format!("sm_{}{}", capability.major, capability.minor));
            if let Some(device) = draft.device(rank, &name, None) {
                device.capability = device.capability.or(Some(capability));
            }
            true
        }
        Question::ArchList => {
            let is_list = text.starts_with('[') && (text.contains("sm_") || text == "[]");
            if is_list {
                told::arch_words(draft, text);
            }
            is_list
        }
        Question::Cudnn => digits::<u64>(bare).filter(|n| *n > 1000).is_some_and(|number| {
            draft.here().cudnn.put(rank, number);
            true
        }),
        Question::Python => {
            let version = bare.split(' ').next().unwrap_or_default();
            draft.python(rank, version);
            version.starts_with("3.")
        }
    }
}

/// `Python 3.10.12 (main, Nov 20 2023, 15:14:05) [GCC 11.4.0] on linux`; A1111 prints it in the same form.
fn banner(draft: &mut Draft<'_>, raw: &str) -> bool {
    let Some(rest) = raw.strip_prefix("Python 3.") else { return false };
    let Some(end) = rest.find([' ', '|']) else {
        // `python --version`
        let whole = rest.bytes().all(|b| b == b'.' || b.is_ascii_digit());
        if whole {
            draft.python(Rank::Replied, &format!("3.{rest}"));
        }
        return whole;
    };
    let is_banner = rest.contains("[GCC") || rest.contains("[MSC") || rest.contains("[Clang");
    if is_banner {
        draft.python(Rank::Replied, &format!("3.{}", &rest[..end]));
        if rest.contains("[MSC") && rest.contains("AMD64") {
            draft.platform(Rank::Replied, crate::domain::Platform::WindowsAmd64);
        }
    }
    is_banner
}
