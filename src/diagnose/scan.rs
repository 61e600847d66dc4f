//! One pass over a text of any size: which messages stand where, and the lines around them.
//!
//! Memory does not grow with the text. Fragments are compared without case and white space, and
//! across the ends of lines, so that what a terminal wrapped is found too.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead};

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;

use super::clean::{Line, clean};
use crate::matrix::Matrix;

/// Lines before and after a message that are kept.
pub(super) const AROUND: usize = 60;
/// Lines at the start and at the end that are kept whatever they say.
const ENDS: usize = 1500;
/// Lines that are kept in all.
const MOST_KEPT: usize = 20_000;
/// Longest piece of a line, in bytes; what follows is taken for a line of its own.
const LONGEST: usize = 16 * 1024;
/// Places of one message that are kept.
const MOST_PLACES: usize = 64;

/// Fragments of lines that name versions: the lines around them are kept.
const TELLING: &[&str] = &[
    "pytorchversion",
    "cudausedtobuild",
    "driverversion",
    "cudaversion",
    "umdversion",
    "kmdversion",
    "nvidiageforce",
    "nvidiartx",
    "quadrortx",
    "teslav100",
    "teslat4",
    "nvidia-smi",
    "torch==",
    "torch-2.",
    "torch-1.",
    "+cu1",
    "+cpu",
    "+rocm",
    "torch.__version__",
    "torch.version",
    "capabilitysm_",
    "computecapability",
    "cudacapability",
    "nvidia/cuda:",
    "pytorch/pytorch:",
    "visible_devices",
    "libcversion",
    "pythonversion",
    "compilationtools",
    "get_arch_list",
    "get_device_capability",
    "is_available()",
    "torchvision==",
    "torchaudio==",
    "flash_attn-",
    "xformers==",
    "download.pytorch.org",
    "gpumodels",
    "gpu0:",
    "rmversion",
];

/// Fragments of lines that say that something failed, whatever it was.
const TROUBLE: &[&str] = &[
    "traceback(mostrecentcalllast)",
    "error:",
    "exception:",
    "##[error]",
    "coredumped",
    "segmentationfault",
    "nomodulenamed",
    "failed",
    "killed",
    "exitcode1",
    "exitcode:1",
    "fatal:",
];

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index in the matrix's messages.
    pub message: usize,
    /// Line in which its fragment ends, from 1.
    pub line: usize,
}

/// What one pass came to.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// In the order of the text.
    pub places: Vec<Place>,
    /// How often each message was met, by index.
    pub counts: BTreeMap<usize, usize>,
    /// Lines that were kept: number -> text, and where in it the message begins and ends.
    pub kept: BTreeMap<usize, Line>,
    /// Lines in all.
    pub lines: usize,
    /// A line says that something failed.
    pub trouble: bool,
}

impl Scan {
    /// The bodies of the lines from `first` to `last` as one text; wrapped words are rejoined when
    /// `glued`.
    pub fn joined(&self, first: usize, last: usize, glued: bool) -> String {
        let mut text = String::new();
        for (_, line) in self.kept.range(first..=last) {
            if !text.is_empty() && !glued {
                text.push(' ');
            }
            text.push_str(line.body());
        }
        text
    }
}

/// A text as it is compared: lower case, without white space.
pub(super) fn squeezed(text: &str) -> String {
    text.bytes().filter_map(|b| SQUEEZE[usize::from(b)]).map(char::from).collect()
}

/// What a byte is compared as; `None`: it does not count. Bytes above ASCII do not: fragments have none.
const SQUEEZE: [Option<u8>; 256] = {
    let mut table = [None; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        #[allow(clippy::cast_possible_truncation, reason = "below 127")]
        let lower = (byte as u8).to_ascii_lowercase();
        table[byte] = Some(lower);
        byte += 1;
    }
    table
};

/// What a fragment is of.
#[derive(Debug, Clone, Copy)]
enum Owner {
    /// A message, by its index.
    Message(usize),
    /// A line that names versions.
    Telling,
    /// A line that says that something failed.
    Trouble,
}

/// The fragments of a matrix, ready to be looked for.
pub(super) struct Scanner {
    automaton: NFA,
    /// What each fragment is of.
    owner: Vec<Owner>,
}

impl Scanner {
    pub fn new(matrix: &Matrix) -> Self {
        let mut fragments = Vec::new();
        let mut owner = Vec::new();
        for (at, message) in matrix.messages().iter().enumerate() {
            for text in &message.text {
                fragments.push(squeezed(text));
                owner.push(Owner::Message(at));
            }
        }
        for text in TELLING {
            fragments.push((*text).to_owned());
            owner.push(Owner::Telling);
        }
        for text in TROUBLE {
            fragments.push((*text).to_owned());
            owner.push(Owner::Trouble);
        }
        let automaton = NFA::builder()
            .build(&fragments)
            .expect("a few hundred fragments of a line each make a small automaton");
        Self { automaton, owner }
    }

    /// Reads a text to its end.
    pub fn scan(&self, mut text: impl BufRead) -> io::Result<Scan> {
        let mut pass = Pass::new(self);
        let mut raw = Vec::with_capacity(LONGEST);
        loop {
            raw.clear();
            let more = io::Read::take(&mut text, LONGEST as u64).read_until(b'\n', &mut raw)?;
            if more == 0 {
                break;
            }
            let whole = raw.last() == Some(&b'\n');
            while raw.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                raw.pop();
            }
            // A progress bar writes over itself: each state is a line to match, and none to count.
            let mut pieces = raw.split(|b| *b == b'\r').peekable();
            while let Some(piece) = pieces.next() {
                pass.line(piece, whole && pieces.peek().is_none());
            }
        }
        Ok(pass.finish())
    }
}

struct Pass<'s> {
    scanner: &'s Scanner,
    root: StateID,
    state: StateID,
    scan: Scan,
    /// The last lines, the youngest at the back.
    recent: VecDeque<(usize, Line)>,
    /// Lines up to this one are kept.
    keep_until: usize,
    number: usize,
    /// Fragments met in the line at hand.
    met: Vec<usize>,
}

impl<'s> Pass<'s> {
    fn new(scanner: &'s Scanner) -> Self {
        let root = scanner
            .automaton
            .start_state(Anchored::No)
            .expect("the automaton was built for unanchored searches");
        Self {
            scanner,
            root,
            state: root,
            scan: Scan::default(),
            recent: VecDeque::with_capacity(ENDS + 1),
            keep_until: ENDS,
            number: 1,
            met: Vec::new(),
        }
    }

    /// Takes a line, or a piece of one.
    fn line(&mut self, raw: &[u8], ends: bool) {
        let mut line = if self.recent.len() >= ENDS {
            self.recent.pop_front().map(|(_, line)| line).unwrap_or_default()
        } else {
            Line::default()
        };
        clean(raw, &mut line);
        // Once with what stood before, for wrapped words; and once as it is, if a prefix was cut off.
        let wrapped = self.walk(self.state, line.body());
        self.state = if line.start > 0 && !line.text[..line.start].trim().is_empty() {
            self.walk(self.root, &line.text);
            wrapped
        } else {
            wrapped
        };
        self.take_met();
        self.recent.push_back((self.number, line));
        if self.number <= self.keep_until
            && let Some((number, line)) = self.recent.back()
        {
            keep(&mut self.scan, *number, line);
        }
        if ends {
            self.number += 1;
        }
    }

    fn walk(&mut self, mut state: StateID, text: &str) -> StateID {
        let automaton = &self.scanner.automaton;
        for byte in text.bytes() {
            let Some(byte) = SQUEEZE[usize::from(byte)] else { continue };
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                for i in 0..automaton.match_len(state) {
                    self.met.push(automaton.match_pattern(state, i).as_usize());
                }
            }
        }
        state
    }

    fn take_met(&mut self) {
        if self.met.is_empty() {
            return;
        }
        let number = self.number;
        let mut met = std::mem::take(&mut self.met);
        met.sort_unstable();
        met.dedup();
        let (mut before, mut after) = (0, 0);
        let mut last = None;
        for fragment in &met {
            let message = match self.scanner.owner[*fragment] {
                Owner::Message(message) => message,
                Owner::Telling => {
                    (before, after) = (before.max(2), after.max(8));
                    continue;
                }
                Owner::Trouble => {
                    self.scan.trouble = true;
                    continue;
                }
            };
            if last == Some(message) {
                continue;
            }
            last = Some(message);
            let count = self.scan.counts.entry(message).or_default();
            *count += 1;
            if *count <= MOST_PLACES {
                self.scan.places.push(Place { message, line: number });
                (before, after) = (AROUND, AROUND);
            }
        }
        met.clear();
        self.met = met;
        if after == 0 {
            return;
        }
        self.keep_until = self.keep_until.max(number + after);
        let from = number.saturating_sub(before);
        for (number, line) in self.recent.iter().rev().take_while(|(n, _)| *n >= from) {
            keep(&mut self.scan, *number, line);
        }
    }

    fn finish(mut self) -> Scan {
        self.scan.lines = self.recent.back().map_or(0, |(number, _)| *number);
        for (number, line) in std::mem::take(&mut self.recent) {
            if self.scan.kept.len() >= MOST_KEPT + ENDS {
                break;
            }
            self.scan.kept.entry(number).or_insert(line);
        }
        self.scan
    }
}

fn keep(scan: &mut Scan, number: usize, line: &Line) {
    if scan.kept.len() < MOST_KEPT {
        // Pieces of one line stand under one number: the last that said something counts.
        if line.start < line.end || !scan.kept.contains_key(&number) {
            let copy = Line { text: line.text.clone(), start: line.start, end: line.end };
            scan.kept.insert(number, copy);
        }
    }
}
