//! Python source as tokens: enough to see its literals and where they stand. Nothing is evaluated.
//!
//! Source: the Python Language Reference, "Lexical analysis".

use std::ops::Range;

/// Brackets within brackets, at most this deep.
const MAX_DEPTH: usize = 64;

/// A text as a string literal spells it, with the line of each of its parts.
#[derive(Debug, Clone)]
pub struct Literal {
    /// The text, escapes resolved.
    pub text: String,
    /// Offset in the text, and the line that it stands on from there.
    lines: Vec<(usize, usize)>,
}

/// Literals are the same when they say the same, wherever they stand.
impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Literal {}

impl Literal {
    /// A text on a line.
    pub fn new(text: &str, line: usize) -> Self {
        Self { text: text.to_owned(), lines: vec![(0, line)] }
    }

    /// Literals beside each other are one.
    pub fn join(&mut self, next: &Self) {
        let base = self.text.len();
        self.lines.extend(next.lines.iter().map(|(at, line)| (base + at, *line)));
        self.text.push_str(&next.text);
    }

    /// Its lines without the spaces around them, each with the line of the file it begins on.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut from = 0;
        self.text.split('\n').map(move |part| {
            let at = from + part.len() - part.trim_start().len();
            from += part.len() + 1;
            (self.line_at(at), part.trim())
        })
    }

    fn line_at(&self, offset: usize) -> usize {
        let after = self.lines.partition_point(|(at, _)| *at <= offset);
        self.lines.get(after.saturating_sub(1)).map_or(1, |(_, line)| *line)
    }
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A name or a keyword.
    Name,
    /// A string.
    Text(Box<Literal>),
    /// A string whose value is not looked at: bytes, an f-string, a named character.
    Opaque,
    /// A number.
    Number,
    /// An operator, a comma, a colon.
    Op,
    /// An opening bracket.
    Open,
    /// A closing bracket.
    Close,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// As written; of a string its first character.
    pub source: &'a str,
    /// Where it begins in the file, in bytes.
    pub at: usize,
    /// Line, from 1.
    pub line: usize,
    /// Of an opening bracket: the token that closes it.
    pub close: usize,
}

impl Token<'_> {
    /// Whether it is this name, operator or bracket.
    pub fn is(&self, source: &str) -> bool {
        !matches!(self.kind, Kind::Text(_) | Kind::Opaque | Kind::Number) && self.source == source
    }
}

/// A logical line: brackets and backslashes let it go on over several physical ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its tokens, at least one.
    pub tokens: Range<usize>,
    /// Columns before the first of them.
    pub indent: usize,
}

/// A file as tokens.
#[derive(Debug, Default)]
pub struct Source<'a> {
    /// The file.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: Vec<Token<'a>>,
    /// Its logical lines.
    pub lines: Vec<Line>,
}

/// Why a file is no Python.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// Line, from 1.
    pub line: usize,
    /// In a few words.
    pub what: &'static str,
}

struct Lexer<'a> {
    source: Source<'a>,
    at: usize,
    line: usize,
    open: Vec<usize>,
    /// First token of the logical line that is being read, and its column.
    first: usize,
    indent: usize,
    line_start: usize,
}

/// Takes a file apart.
///
/// # Errors
/// A string or bracket that is not closed, and too many brackets within each other.
pub fn read(text: &str) -> Result<Source<'_>, Broken> {
    let source = Source { text, ..Source::default() };
    let mut lexer =
        Lexer { source, at: 0, line: 1, open: Vec::new(), first: 0, indent: 0, line_start: 0 };
    lexer.run()?;
    Ok(lexer.source)
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), Broken> {
        let bytes = self.source.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\n' => {
                    self.end_line();
                    self.newline();
                }
                b' ' | b'\t' | b'\x0c' | b'\r' => self.at += 1,
                b'#' => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                b'\\' if bytes.get(self.at + 1) == Some(&b'\n') => {
                    self.at += 1;
                    self.newline();
                }
                b'"' | b'\'' => self.string("")?,
                b'(' | b'[' | b'{' => {
                    if self.open.len() >= MAX_DEPTH {
                        return Err(self.broken("brackets are nested too deep"));
                    }
                    self.open.push(self.source.tokens.len());
                    self.push(Kind::Open, 1);
                }
                b')' | b']' | b'}' => self.close(byte)?,
                b'0'..=b'9' => {
                    let len = self.run_of(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
                    self.push(Kind::Number, len);
                }
                _ if byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii() => {
                    let len =
                        self.run_of(|b| b.is_ascii_alphanumeric() || b == b'_' || !b.is_ascii());
                    let name = &self.source.text[self.at..self.at + len];
                    let quote = bytes.get(self.at + len).is_some_and(|b| matches!(b, b'"' | b'\''));
                    if quote && len <= 2 && name.bytes().all(|b| b"rRbBuUfFtT".contains(&b)) {
                        self.string(name)?;
                    } else {
                        self.push(Kind::Name, len);
                    }
                }
                _ => {
                    let rest = &self.source.text[self.at..];
                    let long = ["**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<"];
                    let two = ["+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "@="];
                    let other = [":=", "==", "!=", "<=", ">=", "->"];
                    let mut known = long.iter().chain(&two).chain(&other);
                    let len = known.find(|op| rest.starts_with(**op)).map_or(1, |op| op.len());
                    self.push(Kind::Op, len);
                }
            }
        }
        if let Some(open) = self.open.last() {
            let line = self.source.tokens[*open].line;
            return Err(Broken { line, what: "a bracket is not closed" });
        }
        self.end_line();
        Ok(())
    }

    fn broken(&self, what: &'static str) -> Broken {
        Broken { line: self.line, what }
    }

    fn run_of(&self, belongs: impl Fn(u8) -> bool) -> usize {
        self.source.text.as_bytes()[self.at..].iter().take_while(|b| belongs(**b)).count()
    }

    /// Goes past a newline.
    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn end_line(&mut self) {
        let end = self.source.tokens.len();
        if self.open.is_empty() && end > self.first {
            let line = Line { tokens: self.first..end, indent: self.indent };
            self.source.lines.push(line);
            self.first = end;
        }
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.add(kind, self.at, len, self.line);
        self.at += len;
    }

    fn add(&mut self, kind: Kind, at: usize, len: usize, line: usize) {
        if self.source.tokens.len() == self.first {
            self.indent = at.saturating_sub(self.line_start);
        }
        let source = &self.source.text[at..at + len];
        self.source.tokens.push(Token { kind, source, at, line, close: 0 });
    }

    fn close(&mut self, byte: u8) -> Result<(), Broken> {
        let partner = match byte {
            b')' => "(",
            b']' => "[",
            _ => "{",
        };
        let open = self.open.pop().filter(|open| self.source.tokens[*open].source == partner);
        let Some(open) = open else { return Err(self.broken("a bracket closes nothing")) };
        self.source.tokens[open].close = self.source.tokens.len();
        self.push(Kind::Close, 1);
        Ok(())
    }

    /// Reads a string from its prefix to its last quote.
    fn string(&mut self, prefix: &str) -> Result<(), Broken> {
        let (begin, line) = (self.at, self.line);
        let raw = prefix.contains(['r', 'R']);
        let mut opaque = prefix.contains(['b', 'B', 'f', 'F', 't', 'T']);
        self.at += prefix.len();
        // The column counts where the line of the first token begins, which a long string leaves.
        if self.source.tokens.len() == self.first {
            self.indent = begin.saturating_sub(self.line_start);
        }
        let indent = self.indent;
        let text = self.source.text;
        let quote = &text[self.at..=self.at];
        let triple = text[self.at..].starts_with(&quote.repeat(3));
        let end = if triple { quote.repeat(3) } else { quote.to_owned() };
        self.at += end.len();
        let not_closed = Broken { line, what: "a string is not closed" };
        let mut value = Literal::new("", line);
        loop {
            let rest = &text[self.at..];
            let plain = rest.find(['\n', '\\', '"', '\'']).unwrap_or(rest.len());
            value.text.push_str(&rest[..plain]);
            self.at += plain;
            let rest = &text[self.at..];
            if rest.starts_with(&end) {
                self.at += end.len();
                break;
            }
            match rest.chars().next() {
                None => return Err(not_closed),
                Some('\n') if !triple => return Err(not_closed),
                Some('\n') => {
                    value.text.push('\n');
                    self.newline();
                    value.lines.push((value.text.len(), self.line));
                }
                Some('\\') => opaque |= !self.escape(raw, &mut value),
                Some(other) => {
                    value.text.push(other);
                    self.at += 1;
                }
            }
        }
        let kind = if opaque { Kind::Opaque } else { Kind::Text(Box::new(value)) };
        self.add(kind, begin, 1, line);
        self.indent = indent;
        Ok(())
    }

    /// Reads what a backslash begins. `false`: the character is named, and names are not looked up.
    fn escape(&mut self, raw: bool, value: &mut Literal) -> bool {
        self.at += 1;
        let Some(next) = self.source.text[self.at..].chars().next() else { return true };
        if raw || !"\n\\'\"abfnrtvxuUN01234567".contains(next) {
            value.text.push('\\');
            if next != '\n' {
                value.text.push(next);
                self.at += next.len_utf8();
                return true;
            }
        }
        if next == '\n' {
            if raw {
                value.text.push('\n');
            }
            self.newline();
            value.lines.push((value.text.len(), self.line));
            return true;
        }
        self.at += 1;
        let (digits, radix) = match next {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => {
                self.at -= 1;
                (3, 8)
            }
            'N' => return false,
            _ => {
                value.text.push(match next {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    same => same,
                });
                return true;
            }
        };
        let rest = self.source.text[self.at..].chars().take(digits);
        let len = rest.take_while(|c| c.is_digit(radix)).count();
        let code = u32::from_str_radix(&self.source.text[self.at..self.at + len], radix);
        self.at += len;
        let char = code.ok().filter(|_| radix == 8 || len == digits).and_then(char::from_u32);
        value.text.extend(char);
        char.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(usize, String)> {
        let source = read(source).expect(source);
        let literals = source.tokens.iter().filter_map(|token| match &token.kind {
            Kind::Text(literal) => Some(literal),
            _ => None,
        });
        literals
            .flat_map(|l| l.lines().map(|(n, t)| (n, t.to_owned())).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn strings_and_their_lines() {
        let one = |text: &str| texts(text).first().map(|(_, text)| text.clone());
        assert_eq!(one(r#"'a\'b\"c\\d\x41\u00e9\101'"#).as_deref(), Some("a'b\"c\\dAéA"));
        assert_eq!(one(r"r'a\'b\n'").as_deref(), Some(r"a\'b\n"));
        assert_eq!(one("u'a' # 'b'").as_deref(), Some("a"));
        assert_eq!(one(r"'\d'").as_deref(), Some(r"\d"));
        for opaque in ["b'a'", "f'a{b}'", "Rb'a'", r"'\N{DASH}'", r"'\ud800'", r"'\x4'"] {
            assert_eq!(one(opaque), None, "{opaque}");
        }
        let lines = texts("x = '''\\\na\n  b\n\nc'''\ny = 'd\\ne'\n");
        let shown: Vec<_> = lines.iter().map(|(line, text)| format!("{line}{text}")).collect();
        assert_eq!(shown, ["2a", "3b", "4", "5c", "6d", "6e"]);
    }

    #[test]
    fn lines_and_brackets() {
        let source = read("a = [\n1,\n]\nif x:\n  b \\\n += '''\n'''; c\n").expect("python");
        let lines: Vec<_> = source.lines.iter().map(|l| (l.tokens.len(), l.indent)).collect();
        assert_eq!(lines, [(6, 0), (3, 0), (5, 2)]);
        assert_eq!(source.tokens[2].close, 5);
    }

    #[test]
    fn garbage_is_refused_with_its_line() {
        for (text, line) in [("\n'a", 2), ("'''a\n", 1), ("'a\n'", 1), ("\n(\n", 2), ("(]", 1)] {
            assert_eq!(read(text).err().map(|b| b.line), Some(line), "{text}");
        }
        for text in ["[", "\"", "'", "\\", "\\\n", "é'", "r\"", "\u{1}", "'''"] {
            let _ = read(&text.repeat(1_000_000 / text.len()));
        }
        assert!(read(&"[".repeat(1_000_000)).is_err());
        assert!(read(&"\"".repeat(1_000_000)).is_err());
    }
}
