//! Words of a Dockerfile and of the shell: quotes, escapes, variables.

use super::vars::{Traced, Vars, Word, is_name};

/// Longest `${...}` or `$(...)` whose end is looked for.
const MAX_BRACED: usize = 16 * 1024;
/// Defaults inside of defaults, at most this deep.
const MAX_DEPTH: usize = 8;

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `ENV`, `ARG`, `FROM`: no operators, no splitting of values; the escape character.
    Docker(char),
    /// A command.
    Shell,
}

/// Reads words, one after another, in one pass.
#[derive(Debug)]
pub struct Words<'a> {
    text: &'a Traced,
    /// Where it stands.
    pub at: usize,
    dialect: Dialect,
    depth: usize,
}

/// Words that are being read: a variable's value may end one and begin the next.
#[derive(Default)]
struct Building {
    done: Vec<Word>,
    open: Option<Word>,
}

impl Building {
    fn open(&mut self, line: usize) -> &mut Word {
        self.open.get_or_insert_with(|| Word::empty(line))
    }

    fn push(&mut self, c: char, line: usize) {
        self.open(line).text.push_char(c, line);
    }
}

/// What a variable gives.
enum Given {
    Text(String),
    Unknown(String),
}

impl<'a> Words<'a> {
    /// For a text.
    pub fn new(text: &'a Traced, dialect: Dialect) -> Self {
        Self { text, at: 0, dialect, depth: 0 }
    }

    /// The character it stands on.
    pub fn peek(&self) -> Option<char> {
        self.text.text[self.at..].chars().next()
    }

    /// What is left.
    pub fn rest(&self) -> &'a str {
        &self.text.text[self.at..]
    }

    /// The line it stands on.
    pub fn line(&self) -> usize {
        self.text.line_at(self.at)
    }

    /// Goes on by one character.
    pub fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Goes on past spaces and joined lines; a newline stays.
    pub fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(c) if c != '\n' && c.is_whitespace() => self.at += c.len_utf8(),
                Some('\\') if self.rest().starts_with("\\\n") => self.at += 2,
                _ => return,
            }
        }
    }

    /// All words of a line.
    pub fn all(text: &Traced, dialect: Dialect, vars: &mut Vars) -> Vec<Word> {
        let mut words = Words::new(text, dialect);
        let mut out = Vec::new();
        loop {
            while words.peek().is_some_and(char::is_whitespace) {
                words.next();
            }
            if words.peek().is_none() {
                return out;
            }
            let before = words.at;
            out.append(&mut words.word(vars, false));
            if words.at == before {
                // An operator, which is no word.
                words.next();
            }
        }
    }

    /// The whole text as one word.
    fn whole(text: &Traced, depth: usize, vars: &mut Vars) -> Word {
        let mut words = Words { text, at: 0, dialect: Dialect::Docker('\\'), depth };
        let mut out = Building::default();
        while words.peek().is_some() {
            words.piece(&mut out, vars, true);
        }
        out.open.unwrap_or_else(|| Word::empty(text.line()))
    }

    /// The word that begins here. A value with spaces makes it several, an empty one none.
    pub fn word(&mut self, vars: &mut Vars, may_assign: bool) -> Vec<Word> {
        let mut out = Building::default();
        // The value of `NAME=value` is not split. Decided at the first `=`.
        let mut assigns = None;
        while let Some(c) = self.peek() {
            let ends = self.dialect == Dialect::Shell
                && matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')');
            if c.is_whitespace() || ends {
                break;
            }
            if c == '=' && assigns.is_none() {
                let name = out.open.as_ref().filter(|_| may_assign && out.done.is_empty());
                assigns = Some(name.is_some_and(|word| is_name(word.as_str())));
            }
            self.piece(&mut out, vars, assigns == Some(true));
        }
        out.done.extend(out.open);
        out.done
    }

    /// One character, quotation or variable.
    fn piece(&mut self, out: &mut Building, vars: &mut Vars, whole: bool) {
        let line = self.line();
        let Some(c) = self.next() else { return };
        let shell = self.dialect == Dialect::Shell;
        let escape = if let Dialect::Docker(escape) = self.dialect { escape } else { '\\' };
        match c {
            c if c == escape => match self.next() {
                Some('\n') | None => (),
                Some(c) => {
                    out.push(c, line);
                    out.open(line).plain = false;
                }
            },
            '\'' => {
                let len = self.rest().find('\'').unwrap_or(self.rest().len());
                out.open(line).plain = false;
                for c in self.rest()[..len].chars() {
                    let line = self.line();
                    out.push(c, line);
                    self.at += c.len_utf8();
                }
                self.next();
            }
            '"' => self.double(out, vars, escape),
            '$' => self.dollar(out, vars, whole || !shell),
            '`' if shell => {
                let len = self.rest().find('`').unwrap_or(self.rest().len());
                self.at += len;
                self.next();
                Self::unknown(out, "`...`", line);
            }
            c => out.push(c, line),
        }
    }

    fn double(&mut self, out: &mut Building, vars: &mut Vars, escape: char) {
        let line = self.line();
        out.open(line).plain = false;
        while let Some(c) = self.peek() {
            let line = self.line();
            self.next();
            match c {
                '"' => return,
                '$' => self.dollar(out, vars, true),
                '`' if self.dialect == Dialect::Shell => {
                    let len = self.rest().find('`').unwrap_or(self.rest().len());
                    self.at += len;
                    self.next();
                    Self::unknown(out, "`...`", line);
                }
                c if c == escape => match self.peek() {
                    Some('\n') => {
                        self.next();
                    }
                    Some(c @ ('"' | '$' | '`' | '\\')) => {
                        self.next();
                        out.push(c, line);
                    }
                    _ => out.push(c, line),
                },
                c => out.push(c, line),
            }
        }
    }

    fn unknown(out: &mut Building, name: &str, line: usize) {
        let word = out.open(line);
        word.plain = false;
        let shown = if is_name(name) { format!("${{{name}}}") } else { name.to_owned() };
        word.text.push(&shown, line);
        word.unknown.get_or_insert_with(|| name.to_owned());
    }

    /// What stands behind a `$`.
    fn dollar(&mut self, out: &mut Building, vars: &mut Vars, whole: bool) {
        let line = self.line();
        let rest = self.rest();
        let given = match rest.chars().next() {
            Some('{') => {
                let Some(len) = self.closing('{', '}') else { return self.lost(out) };
                let inner = Traced::lines(&rest[1..len], line);
                self.at += len + 1;
                self.braced(&inner, vars)
            }
            Some('(') => {
                let Some(len) = self.closing('(', ')') else { return self.lost(out) };
                self.at += len + 1;
                Given::Unknown("$(...)".into())
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let len = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_');
                let name = &rest[..len.count()];
                self.at += name.len();
                Self::value(name, vars).unwrap_or_else(|| Given::Unknown(name.into()))
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '?' | '#' | '!' | '$') => {
                self.next();
                Given::Unknown(format!("${c}"))
            }
            _ => {
                out.push('$', line);
                return;
            }
        };
        match given {
            Given::Unknown(name) => Self::unknown(out, &name, line),
            Given::Text(text) if whole => {
                let word = out.open(line);
                word.plain = false;
                word.text.push(&text, line);
            }
            Given::Text(text) => {
                if text.starts_with(char::is_whitespace) {
                    out.done.extend(out.open.take());
                }
                for (nth, part) in text.split_whitespace().enumerate() {
                    if nth > 0 {
                        out.done.extend(out.open.take());
                    }
                    let word = out.open(line);
                    word.plain = false;
                    word.text.push(part, line);
                }
                if text.ends_with(char::is_whitespace) {
                    out.done.extend(out.open.take());
                }
            }
        }
    }

    /// Something that has no end: what was looked through is not looked through again.
    fn lost(&mut self, out: &mut Building) {
        let line = self.line();
        let end = self.rest().char_indices().map(|(at, _)| at).find(|at| *at >= MAX_BRACED);
        self.at += end.unwrap_or(self.rest().len());
        Self::unknown(out, "$...", line);
    }

    /// The offset of the bracket that closes the one it stands on.
    fn closing(&self, open: char, close: char) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, c) in self.rest().char_indices().take_while(|(at, _)| *at < MAX_BRACED) {
            if c == open {
                depth += 1;
            } else if c == close {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The value of a variable, counted before it is copied.
    fn value(name: &str, vars: &mut Vars) -> Option<Given> {
        let text = vars.get(name)?.text.as_ref();
        let len = text.map_or(0, String::len);
        if !vars.spend(len) {
            return Some(Given::Unknown(name.into()));
        }
        let text = vars.get(name)?.text.clone();
        Some(text.map_or_else(|| Given::Unknown(name.into()), Given::Text))
    }

    /// The inside of `${...}`.
    fn braced(&self, inner: &Traced, vars: &mut Vars) -> Given {
        let text = &inner.text;
        let len = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let (name, rest) = text.split_at(len);
        if !is_name(name) || self.depth >= MAX_DEPTH {
            return Given::Unknown(format!("${{{}}}", crate::domain::shown(text)));
        }
        let value = Self::value(name, vars);
        if rest.is_empty() {
            return value.unwrap_or_else(|| Given::Unknown(name.into()));
        }
        let (or_empty, operator) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut other = |at: usize| {
            let from = inner.from(text.len() - operator.len() + at);
            let word = Self::whole(&from, self.depth + 1, vars);
            match word.unknown {
                Some(name) => Given::Unknown(name),
                None => Given::Text(word.text.text),
            }
        };
        let empty = matches!(&value, Some(Given::Text(text)) if text.is_empty() && or_empty);
        match (operator.chars().next(), value) {
            (Some('-' | '='), None) => other(1),
            (Some('-' | '='), Some(_)) if empty => other(1),
            (Some('-' | '=' | '?'), Some(value)) => value,
            (Some('+'), Some(Given::Text(_))) if !empty => other(1),
            (Some('+'), None | Some(Given::Text(_))) => Given::Text(String::new()),
            (Some('/' | '%' | '#'), Some(Given::Text(text))) if !or_empty => {
                cut(&text, operator).map_or_else(|| Given::Unknown(name.into()), Given::Text)
            }
            _ => Given::Unknown(name.into()),
        }
    }
}

/// `${X//./}`, `${X%.*}`: replaced and cut, as far as the pattern is plain.
fn cut(value: &str, operator: &str) -> Option<String> {
    let plain = |text: &str| !text.contains(['*', '?', '[', '$', '\\', '"', '\'']);
    if let Some(rest) = operator.strip_prefix('/') {
        let (all, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let (what, with) = rest.split_once('/').unwrap_or((rest, ""));
        if what.is_empty() || !plain(what) || !plain(with) || what.starts_with(['#', '%']) {
            return None;
        }
        let times = if all { usize::MAX } else { 1 };
        // A longer text than the value would grow past what was counted.
        return (with.len() <= what.len()).then(|| value.replacen(what, with, times));
    }
    let sign = operator.chars().next()?;
    let rest = &operator[1..];
    let (longest, pattern) = rest.strip_prefix(sign).map_or((false, rest), |rest| (true, rest));
    if sign == '%' {
        if let Some(mark) = pattern.strip_suffix('*').filter(|p| plain(p) && !p.is_empty()) {
            let at = if longest { value.find(mark) } else { value.rfind(mark) };
            return Some(at.map_or(value, |at| &value[..at]).to_owned());
        }
        return plain(pattern).then(|| value.strip_suffix(pattern).unwrap_or(value).to_owned());
    }
    if let Some(mark) = pattern.strip_prefix('*').filter(|p| plain(p) && !p.is_empty()) {
        let at = if longest { value.rfind(mark) } else { value.find(mark) };
        return Some(at.map_or(value, |at| &value[at + mark.len()..]).to_owned());
    }
    plain(pattern).then(|| value.strip_prefix(pattern).unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, dialect: Dialect) -> Vec<String> {
        let mut vars = Vars::default();
        vars.set("V", &Word::literal("12.4.1", 1), true);
        vars.set("LIST", &Word::literal("a  b", 1), true);
        vars.set("EMPTY", &Word::literal("", 1), true);
        let text = Traced::lines(text, 1);
        Words::all(&text, dialect, &mut vars).into_iter().map(|w| w.text.text).collect()
    }

    #[test]
    fn quotes_and_variables() {
        for (text, expected) in [
            ("a 'b c' \"d $V\" e\\ f", &["a", "b c", "d 12.4.1", "e f"][..]),
            ("x$LIST-y \"$LIST\"", &["xa", "b-y", "a  b"]),
            ("$EMPTY \"$EMPTY\" z", &["", "z"]),
            (
                "${V} ${NO:-d} ${V:-d} ${EMPTY:-$V} ${V:+y} ${NO:+y}",
                &["12.4.1", "d", "12.4.1", "12.4.1", "y"],
            ),
            (
                "${V//./} ${V%.*} ${V%%.*} ${V#*.} ${V/./_}",
                &["1241", "12.4", "12", "4.1", "12_4.1"],
            ),
            ("$NO ${NO} $(date) ${A[@]}", &["${NO}", "${NO}", "$(...)", "${A}"]),
            ("${NO:-${V}}", &["12.4.1"]),
            ("'open", &["open"]),
            ("$", &["$"]),
        ] {
            assert_eq!(words(text, Dialect::Shell), expected, "{text}");
        }
        assert_eq!(words("A=$LIST B=x;y#z", Dialect::Docker('\\')), ["A=a  b", "B=x;y#z"]);
    }

    #[test]
    fn growth_has_an_end() {
        let mut vars = Vars::default();
        vars.set("A", &Word::literal("aaaaaaaa", 1), true);
        let text = Traced::lines("$A$A$A$A", 1);
        for _ in 0..100 {
            let word = Words::all(&text, Dialect::Docker('\\'), &mut vars).remove(0);
            vars.set("A", &word, true);
        }
        assert_eq!(vars.get("A").map(|v| v.text.is_none()), Some(true));
        for text in ["${", "$(", "${A:-", "\"", "`"] {
            let text = Traced::lines(&text.repeat(300_000), 1);
            Words::all(&text, Dialect::Shell, &mut vars);
        }
    }
}
