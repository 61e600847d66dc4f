//! A shell script as its simple commands, each with what is known of whether it runs.
//!
//! Nothing is run: conditions on variables with known values are decided, every other condition
//! leaves open what stands behind it.

use super::vars::{Traced, Vars, Word};
use super::words::{Dialect, Words};

/// Whether a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// It does, if the build goes on at all.
    Yes,
    /// It does not.
    No,
    /// Only a build would tell.
    Maybe,
}

impl Runs {
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

/// What is known of how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Success,
    Failure,
    /// It is no test: a build goes on only if it succeeds.
    Assumed,
    Unknown,
}

impl Status {
    /// As the condition of an `if`: there, a command that fails is no end of the build.
    const fn decides(self) -> Runs {
        match self {
            Self::Success => Runs::Yes,
            Self::Failure => Runs::No,
            Self::Assumed | Self::Unknown => Runs::Maybe,
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::Success => Self::Failure,
            Self::Failure => Self::Success,
            other => other,
        }
    }
}

/// A simple command.
#[derive(Debug)]
pub struct Command {
    /// `NAME=value` before it.
    pub assigned: Vec<(String, Word)>,
    /// Its words, redirections left out.
    pub words: Vec<Word>,
    /// `>=2.0` glued to a word without quotes, which the shell takes for a redirection: the whole
    /// of it, and its line.
    pub redirected: Vec<(String, usize)>,
    /// Heredocs that it reads.
    pub heredocs: usize,
    /// Whether it runs.
    pub runs: Runs,
}

/// What stands behind a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    And,
    Or,
    Pipe,
    Next,
    Open,
    Close,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    If,
    For,
    While,
    Case,
    Brace,
    Paren,
}

/// A compound command that is open.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// Whether the compound runs at all.
    outer: Runs,
    /// Whether the part that is read runs.
    runs: Runs,
    /// Whether no branch was taken so far.
    left: Runs,
    /// How the command before it ended.
    before: Status,
}

/// Reads the commands of a script.
#[derive(Debug)]
pub struct Commands<'a> {
    words: Words<'a>,
    /// Heredocs whose bodies begin on the next line: delimiter, tabs taken off.
    bodies: Vec<(String, bool)>,
    frames: Vec<Frame>,
    op: Op,
    /// Whether the first command of a pipeline runs.
    piped: Runs,
    status: Status,
}

impl<'a> Commands<'a> {
    /// For a script.
    pub fn new(script: &'a Traced) -> Self {
        Self {
            words: Words::new(script, Dialect::Shell),
            bodies: Vec::new(),
            frames: Vec::new(),
            op: Op::Next,
            piped: Runs::Yes,
            status: Status::Assumed,
        }
    }

    /// The next command. What it assigns to variables holds from here on.
    pub fn next(&mut self, vars: &mut Vars) -> Option<Command> {
        if self.op == Op::End {
            return None;
        }
        let (mut command, op) = self.simple(vars);
        let before = std::mem::replace(&mut self.op, op);
        let mut gate = match (before, self.status) {
            (Op::And, Status::Success | Status::Assumed) | (Op::Or, Status::Failure) => Runs::Yes,
            (Op::And, Status::Failure) | (Op::Or, Status::Success) => Runs::No,
            (Op::And | Op::Or, _) => Runs::Maybe,
            (Op::Pipe, _) => self.piped,
            _ => Runs::Yes,
        };
        self.piped = gate;
        let negated = self.keywords(&mut command, &mut gate, vars);
        command.runs = self.inside().and(gate);
        let empty = command.words.is_empty();
        if !empty || !command.assigned.is_empty() {
            let own = if empty { Status::Assumed } else { judged(&command.words) };
            let own = if negated { own.not() } else { own };
            self.status = match (gate, before) {
                (Runs::Yes, _) => own,
                (Runs::No, _) => self.status,
                (Runs::Maybe, Op::Or) => Status::Assumed,
                (Runs::Maybe, _) => Status::Unknown,
            };
        }
        assign(&command, vars);
        match op {
            Op::Open => self.open(Kind::Paren, gate),
            Op::Close => self.close(Kind::Paren),
            _ => (),
        }
        Some(command)
    }

    fn inside(&self) -> Runs {
        self.frames.last().map_or(Runs::Yes, |frame| frame.runs)
    }

    fn open(&mut self, kind: Kind, gate: Runs) {
        let outer = self.inside().and(gate);
        let runs = if kind == Kind::Case { outer.and(Runs::Maybe) } else { outer };
        let before = self.status;
        self.frames.push(Frame { kind, outer, runs, left: Runs::Yes, before });
        self.status = Status::Assumed;
        if self.op == Op::Open {
            self.op = Op::Next;
        }
    }

    fn close(&mut self, kind: Kind) {
        // The `)` of a pattern in `case` closes nothing.
        let Some(frame) = self.frames.pop_if(|frame| frame.kind == kind) else {
            self.op = Op::Next;
            return;
        };
        let group = matches!(kind, Kind::Brace | Kind::Paren);
        self.status = match frame.outer {
            Runs::Yes if group => self.status,
            Runs::Yes => Status::Assumed,
            Runs::No => frame.before,
            Runs::Maybe => Status::Unknown,
        };
        if kind == Kind::Paren {
            // What follows: `&&`, `|`, a newline.
            self.op = self.operator();
        }
    }

    /// Takes the words of the grammar off a command; whether it is negated.
    fn keywords(&mut self, command: &mut Command, gate: &mut Runs, vars: &mut Vars) -> bool {
        let mut negated = false;
        let mut taken = 0;
        while let Some(word) = command.words.get(taken).filter(|word| word.plain) {
            let kind = match word.as_str() {
                "if" => Kind::If,
                "while" | "until" => Kind::While,
                "{" => Kind::Brace,
                "for" | "select" => {
                    if let Some(name) = command.words.get(taken + 1) {
                        vars.forget_here(name.as_str(), name.line());
                    }
                    taken = command.words.len();
                    Kind::For
                }
                "case" => {
                    taken = command.words.len();
                    Kind::Case
                }
                word => {
                    match word {
                        "then" | "elif" | "else" | "do" => self.branch(word),
                        "fi" => self.close(Kind::If),
                        "done" => {
                            self.close(Kind::While);
                            self.close(Kind::For);
                        }
                        "esac" => self.close(Kind::Case),
                        "}" => self.close(Kind::Brace),
                        "!" => negated = !negated,
                        "time" => (),
                        _ => break,
                    }
                    taken += 1;
                    continue;
                }
            };
            self.open(kind, *gate);
            *gate = Runs::Yes;
            taken += 1;
        }
        command.words.drain(..taken.min(command.words.len()));
        negated
    }

    fn branch(&mut self, word: &str) {
        let condition = self.status.decides();
        let Some(frame) = self.frames.last_mut() else { return };
        match (word, frame.kind) {
            ("then", Kind::If) => {
                frame.runs = frame.outer.and(frame.left).and(condition);
                frame.left = frame.left.and(condition.not());
            }
            ("elif" | "else", Kind::If) => frame.runs = frame.outer.and(frame.left),
            ("do", Kind::While) => frame.runs = frame.outer.and(Runs::Maybe),
            _ => (),
        }
        self.status = Status::Assumed;
    }

    /// Words up to an operator, and the operator.
    fn simple(&mut self, vars: &mut Vars) -> (Command, Op) {
        let mut command = Command {
            assigned: Vec::new(),
            words: Vec::new(),
            redirected: Vec::new(),
            heredocs: 0,
            runs: Runs::Yes,
        };
        // Where the last word ended: what follows without a space is glued to it.
        let mut end = usize::MAX;
        loop {
            self.words.blanks();
            let Some(c) = self.words.peek() else { return (command, Op::End) };
            match c {
                '#' => self.skip_line(),
                '<' | '>' => self.redirect(&mut command, end, vars),
                '&' if self.words.rest().starts_with("&>") => {
                    self.words.next();
                    self.redirect(&mut command, usize::MAX, vars);
                }
                '(' if end == self.words.at && command.words.is_empty() => {
                    // `A=(x y)`: a list, not a value.
                    self.words.next();
                    while self.words.peek().is_some_and(|c| c != ')') {
                        self.words.next();
                    }
                    self.words.next();
                    if let Some((name, word)) = command.assigned.last_mut() {
                        word.unknown = Some(name.clone());
                    }
                }
                '\n' | ';' | '&' | '|' | '(' | ')' => return (command, self.operator()),
                _ => {
                    let first = command.words.is_empty();
                    for word in self.words.word(vars, first) {
                        match word.assignment().filter(|_| command.words.is_empty()) {
                            Some((name, value)) => command.assigned.push((name.into(), value)),
                            None => command.words.push(word),
                        }
                    }
                    end = self.words.at;
                }
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = self.words.rest();
        self.words.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn operator(&mut self) -> Op {
        self.words.blanks();
        let rest = self.words.rest();
        let (len, op) = match rest.bytes().next() {
            None => (0, Op::End),
            Some(b'&') if rest.starts_with("&&") => (2, Op::And),
            Some(b'|') if rest.starts_with("||") => (2, Op::Or),
            Some(b'|') if rest.starts_with("|&") => (2, Op::Pipe),
            Some(b'|') => (1, Op::Pipe),
            Some(b'(') => (1, Op::Open),
            Some(b')') => (1, Op::Close),
            Some(b';') if rest.starts_with(";;") => (2, Op::Next),
            Some(b';' | b'&' | b'\n') => (1, Op::Next),
            Some(_) => (0, Op::Next),
        };
        let newline = rest.starts_with('\n');
        self.words.at += len;
        if newline {
            for (delimiter, tabs) in std::mem::take(&mut self.bodies) {
                self.skip_body(&delimiter, tabs);
            }
        }
        op
    }

    fn skip_body(&mut self, delimiter: &str, tabs: bool) {
        while !self.words.rest().is_empty() {
            let rest = self.words.rest();
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            self.words.at += line.len();
            let line = line.trim_end_matches('\n');
            if (if tabs { line.trim_start_matches('\t') } else { line }) == delimiter {
                return;
            }
        }
    }

    /// Takes a redirection and its target.
    fn redirect(&mut self, command: &mut Command, end: usize, vars: &mut Vars) {
        let line = self.words.line();
        let glued = end == self.words.at;
        let rest = self.words.rest();
        let signs = rest.bytes().take_while(|b| matches!(b, b'<' | b'>')).count();
        let sign = &rest[..signs];
        let more = rest[signs..].bytes().take_while(|b| matches!(b, b'&' | b'|' | b'-')).count();
        self.words.at += signs;
        if sign == "<<" {
            let tabs = self.words.rest().starts_with('-');
            self.words.at += usize::from(tabs);
            self.words.blanks();
            let word = self.words.word(vars, false);
            let delimiter = word.first().map_or("", Word::as_str).to_owned();
            self.bodies.push((delimiter, tabs));
            command.heredocs += 1;
            return;
        }
        self.words.at += more;
        if self.words.peek() == Some('(') {
            // A command in place of a file: its output is not known.
            let mut word = Word::literal("<(...)", line);
            word.unknown = Some("<(...)".into());
            command.words.push(word);
            self.words.next();
            while self.words.peek().is_some_and(|c| c != ')') {
                self.words.next();
            }
            self.words.next();
            return;
        }
        let spaced = self.words.peek().is_some_and(char::is_whitespace);
        self.words.blanks();
        let target = self.words.word(vars, false);
        let digits = |word: &Word| word.as_str().bytes().all(|b| b.is_ascii_digit());
        if !glued {
            return;
        }
        if command.words.last().is_some_and(|word| word.plain && digits(word)) {
            command.words.pop();
        } else if let (Some(word), Some(target), false) =
            (command.words.last(), target.first(), spaced)
            && target.as_str().starts_with(|c: char| c == '=' || c.is_ascii_digit())
        {
            let whole = format!("{}{sign}{}", word.as_str(), target.as_str());
            command.redirected.push((whole, line));
        }
    }
}

/// Variables that a command sets.
fn assign(command: &Command, vars: &mut Vars) {
    let exports = ["export", "declare", "local", "readonly", "typeset"];
    let words = match command.words.split_first() {
        None => &[],
        Some((first, rest)) if exports.contains(&first.as_str()) => rest,
        Some((first, rest)) => {
            if matches!(first.as_str(), "read" | "unset") {
                for word in rest {
                    vars.forget_here(word.as_str(), word.line());
                }
            }
            return;
        }
    };
    let exported = words.iter().filter_map(Word::assignment);
    let assigned = command.assigned.iter().map(|(name, word)| (name.as_str(), word.clone()));
    for (name, word) in assigned.chain(exported) {
        match command.runs {
            Runs::Yes => vars.set_here(name, &word),
            Runs::Maybe => vars.forget_here(name, word.line()),
            Runs::No => (),
        }
    }
}

/// How a test ends, when its words are known.
fn judged(words: &[Word]) -> Status {
    let Some((first, mut rest)) = words.split_first() else { return Status::Assumed };
    let close = match first.as_str() {
        "true" | ":" => return Status::Success,
        "false" => return Status::Failure,
        "[" => "]",
        "[[" => "]]",
        "test" => "",
        _ => return Status::Assumed,
    };
    if !close.is_empty() {
        match rest.split_last() {
            Some((last, words)) if last.as_str() == close => rest = words,
            _ => return Status::Unknown,
        }
    }
    if rest.iter().any(|word| word.unknown.is_some()) {
        return Status::Unknown;
    }
    let mut words: Vec<&str> = rest.iter().map(Word::as_str).collect();
    let negated = words.first() == Some(&"!");
    if negated {
        words.remove(0);
    }
    let holds = match words.as_slice() {
        [a, "=" | "==", b] if close != "]]" || !b.contains(['*', '?', '[']) => a == b,
        [a, "!=", b] if close != "]]" || !b.contains(['*', '?', '[']) => a != b,
        ["-z", a] => a.is_empty(),
        ["-n", a] | [a] => !a.is_empty(),
        _ => return Status::Unknown,
    };
    if holds == negated { Status::Failure } else { Status::Success }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(script: &str) -> Vec<(String, usize, Runs)> {
        let mut vars = Vars::default();
        vars.set("GPU", &Word::literal("1", 1), true);
        let script = Traced::lines(script, 1);
        let mut commands = Commands::new(&script);
        let mut out = Vec::new();
        while let Some(command) = commands.next(&mut vars) {
            if let Some(first) = command.words.first() {
                let words: Vec<_> = command.words.iter().map(Word::as_str).collect();
                out.push((words.join(" "), first.line(), command.runs));
            }
        }
        out
    }

    /// What runs, without the tests.
    fn run(script: &str) -> Vec<(String, Runs)> {
        let all = commands(script).into_iter();
        all.filter(|(text, ..)| !text.starts_with('['))
            .map(|(text, _, runs)| (text, runs))
            .collect()
    }

    #[test]
    fn operators_and_lines() {
        assert_eq!(
            commands("a 1 && b 'x\ny' > out 2>&1; c # d\n\n(e; f) | g &\nV=2 h i$V <<E\nj k\nE\nl"),
            [
                ("a 1".into(), 1, Runs::Yes),
                ("b x\ny".into(), 1, Runs::Yes),
                ("c".into(), 2, Runs::Yes),
                ("e".into(), 4, Runs::Yes),
                ("f".into(), 4, Runs::Yes),
                ("g".into(), 4, Runs::Yes),
                ("h i${V}".into(), 5, Runs::Yes),
                ("l".into(), 8, Runs::Yes),
            ]
        );
        assert_eq!(commands("A=1; B=\"$A 2\"; echo $B")[0].0, "echo 1 2");
        assert_eq!(commands("export A=1 && echo $A")[1].0, "echo 1");
    }

    #[test]
    fn conditions_are_decided_or_left_open() {
        for (script, expected) in [
            (
                "if [ $GPU = 1 ]; then a; else b; fi; c",
                &[("a", Runs::Yes), ("b", Runs::No), ("c", Runs::Yes)][..],
            ),
            (
                "if [ \"$X\" = 1 ]; then a; elif [ $GPU = 1 ]; then b; else c; fi",
                &[("a", Runs::Maybe), ("b", Runs::Maybe), ("c", Runs::No)],
            ),
            (
                "if nvidia-smi; then a; fi && b",
                &[("nvidia-smi", Runs::Yes), ("a", Runs::Maybe), ("b", Runs::Yes)],
            ),
            ("[ $GPU = 0 ] && a || b", &[("a", Runs::No), ("b", Runs::Yes)]),
            ("[ -f x ] && a || b", &[("a", Runs::Maybe), ("b", Runs::Maybe)]),
            ("a || b && c", &[("a", Runs::Yes), ("b", Runs::Maybe), ("c", Runs::Yes)]),
            (
                "[ ! -z $GPU ] && { a; b; } || (c; d)",
                &[("a", Runs::Yes), ("b", Runs::Yes), ("c", Runs::Maybe), ("d", Runs::Maybe)],
            ),
            ("[ $GPU = 0 ] && ( a; b ); c", &[("a", Runs::No), ("b", Runs::No), ("c", Runs::Yes)]),
            ("for x in 1 2; do a $x; done; b", &[("a ${x}", Runs::Yes), ("b", Runs::Yes)]),
            (
                "case $GPU in 1) a ;; *) b ;; esac; c",
                &[
                    ("1", Runs::Maybe),
                    ("a", Runs::Maybe),
                    ("*", Runs::Maybe),
                    ("b", Runs::Maybe),
                    ("c", Runs::Yes),
                ],
            ),
        ] {
            let given = run(script);
            let given: Vec<_> = given.iter().map(|(text, runs)| (text.as_str(), *runs)).collect();
            // The pattern of the first arm stands on the line of `case`.
            let expected: Vec<_> =
                expected.iter().filter(|(text, _)| *text != "1").copied().collect();
            assert_eq!(given, expected, "{script}");
        }
    }

    #[test]
    fn a_version_without_quotes_is_a_redirection() {
        let script = Traced::lines("pip install torch>=2.0 x 2>/dev/null", 1);
        let mut commands = Commands::new(&script);
        let command = commands.next(&mut Vars::default()).expect("one command");
        assert_eq!(command.redirected, [("torch>=2.0".to_owned(), 1)]);
        assert_eq!(command.words.len(), 4);
    }

    #[test]
    fn garbage_has_an_end() {
        for piece in ["(", ")", "if ", "fi;", "<<", "<(", "A=(", "{ ", "case ", "|", "&>", "\\\n"] {
            commands(&piece.repeat(100_000));
        }
    }
}
