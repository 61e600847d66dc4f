//! Texts that still know the lines they were put together from, and what is known of variables.

use std::collections::BTreeMap;

/// Bytes that variables may put into texts of one file, all together. A value that doubles itself
/// line by line ends here; what comes after it counts as unknown.
const MAX_EXPANDED: usize = 4 * 1024 * 1024;

/// A text made of pieces of a file, each with its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    /// The text.
    pub text: String,
    /// Offset and line, wherever the line changes.
    marks: Vec<(usize, usize)>,
}

impl Traced {
    /// A text that begins on a line and goes on with the lines after it.
    pub fn lines(text: &str, first: usize) -> Self {
        let mut out = Self::default();
        for (line, number) in text.split_inclusive('\n').zip(first..) {
            out.push(line, number);
        }
        out
    }

    /// Adds a piece of a line.
    pub fn push(&mut self, piece: &str, line: usize) {
        self.mark(line);
        self.text.push_str(piece);
    }

    /// Adds a character of a line.
    pub fn push_char(&mut self, c: char, line: usize) {
        self.mark(line);
        self.text.push(c);
    }

    fn mark(&mut self, line: usize) {
        if self.marks.last().is_none_or(|(_, last)| *last != line) {
            self.marks.push((self.text.len(), line));
        }
    }

    /// The line of its first character.
    pub fn line(&self) -> usize {
        self.marks.first().map_or(1, |(_, line)| *line)
    }

    /// The line of a character.
    pub fn line_at(&self, offset: usize) -> usize {
        let after = self.marks.partition_point(|(start, _)| *start <= offset);
        self.marks.get(after.saturating_sub(1)).map_or(1, |(_, line)| *line)
    }

    /// What stands behind an offset.
    #[must_use]
    pub fn from(&self, offset: usize) -> Self {
        let mut out = Self { text: self.text[offset..].to_owned(), marks: Vec::new() };
        out.marks.push((0, self.line_at(offset)));
        let later = self.marks.iter().filter(|(start, _)| *start > offset);
        out.marks.extend(later.map(|(start, line)| (start - offset, *line)));
        out
    }
}

/// A word after its quotes and variables were resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text; a variable without a value stands in it as `${NAME}`.
    pub text: Traced,
    /// Nothing in it was quoted, escaped or a variable.
    pub plain: bool,
    /// The first variable in it that has no known value.
    pub unknown: Option<String>,
}

impl Word {
    /// An empty word that begins on a line.
    pub fn empty(line: usize) -> Self {
        let mut text = Traced::default();
        text.push("", line);
        Self { text, plain: true, unknown: None }
    }

    /// A word as written.
    pub fn literal(text: &str, line: usize) -> Self {
        let mut word = Self::empty(line);
        word.text.push(text, line);
        word.plain = false;
        word
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text.text
    }

    /// Its line.
    pub fn line(&self) -> usize {
        self.text.line()
    }

    /// What stands behind an offset, as a word of its own.
    #[must_use]
    pub fn from(&self, offset: usize) -> Self {
        Self { text: self.text.from(offset), plain: self.plain, unknown: self.unknown.clone() }
    }

    /// A word `NAME=value`, taken apart.
    pub fn assignment(&self) -> Option<(&str, Self)> {
        let (name, _) = self.as_str().split_once('=')?;
        is_name(name).then(|| (name, self.from(name.len() + 1)))
    }
}

/// Whether a text is the name of a variable.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its text; `None`: it has one, but only a build would tell.
    pub text: Option<String>,
    /// The line that sets it.
    pub line: usize,
    /// `ENV` set it, which no `ARG` of the same name undoes.
    pub env: bool,
}

/// Variables of a stage, and of the command that is read.
#[derive(Debug, Clone)]
pub struct Vars {
    stage: BTreeMap<String, Value>,
    command: BTreeMap<String, Value>,
    budget: usize,
}

impl Default for Vars {
    fn default() -> Self {
        Self { stage: BTreeMap::new(), command: BTreeMap::new(), budget: MAX_EXPANDED }
    }
}

impl Vars {
    /// What is known of a variable.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.command.get(name).or_else(|| self.stage.get(name))
    }

    /// Sets a variable for all that follows in the stage.
    pub fn set(&mut self, name: &str, word: &Word, env: bool) {
        if !env && self.stage.get(name).is_some_and(|value| value.env) {
            return;
        }
        self.stage.insert(name.to_owned(), Self::value(word, env));
    }

    /// Sets a variable for the rest of the command.
    pub fn set_here(&mut self, name: &str, word: &Word) {
        self.command.insert(name.to_owned(), Self::value(word, false));
    }

    /// A command sets a variable to something that only running it would tell.
    pub fn forget_here(&mut self, name: &str, line: usize) {
        self.command.insert(name.to_owned(), Value { text: None, line, env: false });
    }

    fn value(word: &Word, env: bool) -> Value {
        let text = word.unknown.is_none().then(|| word.as_str().to_owned());
        Value { text, line: word.line(), env }
    }

    /// The command ended: what it set is gone.
    pub fn end_of_command(&mut self) {
        self.command.clear();
    }

    /// Begins a stage with the variables of another one.
    pub fn begin_stage(&mut self, parent: Option<&BTreeMap<String, Value>>) {
        self.command.clear();
        let cost = |map: &BTreeMap<String, Value>| {
            map.iter().map(|(k, v)| k.len() + v.text.as_ref().map_or(0, String::len) + 32).sum()
        };
        self.stage = match parent {
            Some(map) if self.spend(cost(map)) => map.clone(),
            _ => BTreeMap::new(),
        };
    }

    /// The variables at the end of a stage.
    pub fn end_stage(&mut self) -> BTreeMap<String, Value> {
        std::mem::take(&mut self.stage)
    }

    /// Takes from what variables may put into texts; `false`: there is not that much left.
    pub fn spend(&mut self, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }
}
