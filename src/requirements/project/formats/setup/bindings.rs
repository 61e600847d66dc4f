//! What the statements of a Python file do to its names: which are certain, and which are not.
//!
//! A statement is certain when it stands at the level of the module, of the function that calls
//! `setup()`, or of `if __name__ == "__main__":`. What stands below a condition or a loop is not.

use crate::domain::Gather as _;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::python::{Kind, Source, Token};

/// What a statement does to a name. Ranges are ranges of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `NAME = value`.
    Set(Range<usize>),
    /// `NAME += value`, `NAME.extend(value)`.
    Extend(Range<usize>),
    /// `NAME.append(value)`, `NAME.add(value)`.
    Add(Range<usize>),
    /// `NAME[key] = value`.
    Item(Range<usize>, Range<usize>),
    /// `NAME.update(arguments)`.
    Merge(Range<usize>),
    /// Anything else that may change it.
    Unknown,
}

/// A change, and where it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What is done.
    pub change: Change,
    /// The statement.
    pub tokens: Range<usize>,
    /// The function or class that it stands in: its first token.
    pub scope: Option<usize>,
    /// Whether it is always run.
    pub certain: bool,
}

/// The names of a file, and what is done to them.
#[derive(Debug, Default)]
pub struct Bindings<'a> {
    events: BTreeMap<&'a str, Vec<Event>>,
    unknown: BTreeSet<&'a str>,
    /// Begin of each logical line and its scope.
    scopes: Vec<(usize, Option<usize>)>,
}

/// Words that begin a statement with a body.
const COMPOUND: &[&str] = &[
    "async", "case", "class", "def", "elif", "else", "except", "finally", "for", "if", "match",
    "try", "while", "with",
];
/// Methods that change a list, a set or a dict.
const MUTATORS: &[&str] = &[
    "add",
    "append",
    "clear",
    "difference_update",
    "discard",
    "extend",
    "insert",
    "intersection_update",
    "pop",
    "popitem",
    "remove",
    "setdefault",
    "update",
];

impl<'a> Bindings<'a> {
    /// Of a file. `calls`: the tokens of its calls of `setup()`; what a module does after the last
    /// of them comes too late.
    pub fn of(source: &Source<'a>, calls: &[usize]) -> Self {
        let mut scan = Scan { source, events: BTreeMap::new(), globals: BTreeSet::new() };
        let lines = scan.levels();
        let scopes: Vec<_> =
            lines.iter().map(|(tokens, level)| (tokens.start, level.scope)).collect();
        let mut bindings = Self { scopes, ..Self::default() };
        let last = calls.last().copied().filter(|call| bindings.scope_of(*call).is_none());
        for (tokens, level) in lines {
            if last.is_some_and(|last| tokens.start > last) {
                break;
            }
            scan.line(tokens, level);
        }
        let own: BTreeSet<_> = calls.iter().filter_map(|call| bindings.scope_of(*call)).gather();
        bindings.take(source, scan, &own);
        bindings
    }

    /// Sorts what is done inside other functions: to names of theirs, or to names of the module.
    fn take(&mut self, source: &Source<'a>, scan: Scan<'_, 'a>, own: &BTreeSet<usize>) {
        for (name, events) in scan.events {
            let binds = |e: &&Event| matches!(e.change, Change::Set(_) | Change::Unknown);
            let local: BTreeSet<_> = events
                .iter()
                .filter(binds)
                .filter_map(|e| e.scope)
                .filter(|scope| !scan.globals.contains(&(*scope, name)))
                .gather();
            let mut kept = Vec::new();
            for mut event in events {
                match event.scope {
                    Some(scope) if !own.contains(&scope) => {
                        if local.contains(&scope) {
                            continue;
                        }
                        // When the function is called, and whether at all, is not known.
                        event.certain = false;
                        event.scope = None;
                    }
                    Some(scope) if scan.globals.contains(&(scope, name)) => event.scope = None,
                    _ => (),
                }
                kept.push(event);
            }
            self.events.insert(name, kept);
        }
        let unknown: Vec<_> = self
            .events
            .iter()
            .filter(|(_, events)| events.iter().any(|e| e.change == Change::Unknown))
            .map(|(name, _)| *name)
            .collect();
        for name in unknown {
            self.forget(source, name);
        }
        self.aliases(source);
    }

    /// `b = a` gives one list two names: what is done to one is done to both.
    fn aliases(&mut self, source: &Source<'a>) {
        let changed = |e: &Event| !matches!(e.change, Change::Set(_));
        let names: Vec<_> = self
            .events
            .iter()
            .filter(|(_, events)| {
                events.iter().any(changed)
                    && events.iter().any(|e| match &e.change {
                        Change::Set(value) => {
                            value.len() == 1 && source.tokens[value.start].kind == Kind::Name
                        }
                        _ => false,
                    })
            })
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            self.forget(source, name);
        }
    }

    /// Nothing is known of a name, nor of those whose lists it may share.
    fn forget(&mut self, source: &Source<'a>, name: &'a str) {
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            if !self.unknown.insert(name) {
                continue;
            }
            for event in self.events.get(name).into_iter().flatten() {
                let tokens = &source.tokens[event.tokens.clone()];
                let names = tokens.iter().filter(|t| t.kind == Kind::Name).map(|t| t.source);
                open.extend(names.filter(|name| self.events.contains_key(name)));
            }
        }
    }

    /// What is done to a name, in the order of the file; `None` when that cannot be told.
    pub fn of_name(&self, name: &str) -> Option<&[Event]> {
        self.events.get(name).filter(|_| !self.unknown.contains(name)).map(Vec::as_slice)
    }

    /// The function that a token stands in.
    pub fn scope_of(&self, token: usize) -> Option<usize> {
        let after = self.scopes.partition_point(|(begin, _)| *begin <= token);
        self.scopes.get(after.checked_sub(1)?)?.1
    }
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Level {
    scope: Option<usize>,
    certain: bool,
}

struct Scan<'s, 'a> {
    source: &'s Source<'a>,
    events: BTreeMap<&'a str, Vec<Event>>,
    globals: BTreeSet<(usize, &'a str)>,
}

impl<'a> Scan<'_, 'a> {
    /// Every logical line with its level, from the indentation of the blocks around it.
    fn levels(&self) -> Vec<(Range<usize>, Level)> {
        let tokens = &self.source.tokens;
        let mut blocks: Vec<(usize, Level)> = Vec::new();
        let mut lines = Vec::with_capacity(self.source.lines.len());
        for line in &self.source.lines {
            while blocks.last().is_some_and(|(indent, _)| line.indent <= *indent) {
                blocks.pop();
            }
            let outer = Level { scope: None, certain: true };
            let level = blocks.last().map_or(outer, |(_, level)| *level);
            lines.push((line.tokens.clone(), level));
            let first = &tokens[line.tokens.start];
            if !COMPOUND.contains(&first.source) || !tokens[line.tokens.end - 1].is(":") {
                continue;
            }
            let head = &tokens[line.tokens.clone()];
            let scope = ["def", "class"].iter().any(|word| head.iter().take(2).any(|t| t.is(word)));
            let main = first.is("if") && head.get(1).is_some_and(|t| t.is("__name__"));
            let body = if scope {
                Level { scope: Some(line.tokens.start), certain: true }
            } else {
                Level { certain: level.certain && main, ..level }
            };
            blocks.push((line.indent, body));
        }
        lines
    }

    fn line(&mut self, tokens: Range<usize>, level: Level) {
        let source = self.source;
        if COMPOUND.contains(&source.tokens[tokens.start].source) && !self.is_plain(&tokens) {
            self.anything(tokens, level, true);
            return;
        }
        let mut begin = tokens.start;
        for at in self.top(tokens.clone(), ";").into_iter().chain([tokens.end]) {
            if begin < at {
                self.statement(begin..at, level);
            }
            begin = at + 1;
        }
    }

    /// `match = 1`: a word that begins a body only where the language needs one.
    fn is_plain(&self, tokens: &Range<usize>) -> bool {
        let first = &self.source.tokens[tokens.start];
        (first.is("match") || first.is("case"))
            && self.source.tokens.get(tokens.start + 1).is_some_and(|next| next.is("="))
    }

    /// Where an operator stands in a range, outside of brackets.
    fn top(&self, range: Range<usize>, op: &str) -> Vec<usize> {
        top_level(&self.source.tokens, range).filter(|at| self.source.tokens[*at].is(op)).collect()
    }

    fn push(&mut self, name: &'a str, change: Change, tokens: Range<usize>, level: Level) {
        let event = Event { change, tokens, scope: level.scope, certain: level.certain };
        self.events.entry(name).or_default().push(event);
    }

    /// A simple statement: the forms that are followed, or anything.
    fn statement(&mut self, range: Range<usize>, level: Level) {
        let tokens = &self.source.tokens;
        let first = &tokens[range.start];
        let end = range.end;
        let token = |at: usize| tokens.get(at).filter(|_| at < end);
        let is = |at: usize, text: &str| token(at).is_some_and(|t| t.is(text));
        let mut known = None;
        if first.kind == Kind::Name {
            let at = range.start + 1;
            let equals = self.top(range.clone(), "=");
            let assigns = equals.len() == 1;
            if assigns && (equals[0] == at || is(at, ":")) {
                known = Some((Change::Set(equals[0] + 1..end), equals[0] + 1..end));
            } else if is(at, "+=") {
                known = Some((Change::Extend(at + 1..end), at + 1..end));
            } else if is(at, "[") && assigns && tokens[at].close + 1 == equals[0] {
                let value = equals[0] + 1..end;
                known = Some((Change::Item(at + 1..tokens[at].close, value.clone()), value));
            } else if is(at, ".") && is(at + 2, "(") && tokens[at + 2].close + 1 == end {
                let inside = at + 3..tokens[at + 2].close;
                known = match tokens[at + 1].source {
                    "append" | "add" => Some(Change::Add(inside.clone())),
                    "extend" => Some(Change::Extend(inside.clone())),
                    "update" => Some(Change::Merge(inside.clone())),
                    "insert" => self
                        .top(inside.clone(), ",")
                        .first()
                        .map(|comma| Change::Add(*comma + 1..inside.end)),
                    _ => None,
                }
                .map(|change| (change, inside));
            }
        }
        match known {
            Some((change, rest)) => {
                self.push(first.source, change, range, level);
                self.anything(rest, level, false);
            }
            None => self.anything(range, level, true),
        }
    }

    /// Finds names that a stretch of code may bind or change in ways that are not followed.
    fn anything(&mut self, range: Range<usize>, level: Level, statement: bool) {
        let tokens = &self.source.tokens;
        let first = tokens.get(range.start).filter(|_| !range.is_empty());
        let starts = |words: &[&str]| first.is_some_and(|t| statement && words.contains(&t.source));
        let binds_all = starts(&["import", "from", "del", "nonlocal"]);
        let global = starts(&["global"]);
        // A function's parameters are names of the function.
        let def = starts(&["def", "class"])
            || starts(&["async"]) && tokens.get(range.start + 1).is_some_and(|t| t.is("def"));
        let last_equals =
            if statement { self.top(range.clone(), "=").last().copied() } else { None };
        // A call whose result nobody takes is made for what it does to its arguments.
        let called = first.is_some_and(|t| t.kind == Kind::Name && statement)
            && tokens[range.end - 1].is(")")
            && !starts(COMPOUND)
            && !starts(&["print", "setup", "return", "raise", "assert", "setuptools", "skbuild"])
            && last_equals.is_none();
        let mut loop_target = false;
        let mut depth = 0_usize;
        for at in range.clone() {
            let token = &tokens[at];
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                _ => (),
            }
            if token.kind != Kind::Name {
                continue;
            }
            loop_target = token.is("for") || loop_target && !token.is("in");
            let previous = at.checked_sub(1).map(|at| &tokens[at]).filter(|_| at > range.start);
            let after = |words: &[&str]| previous.is_some_and(|t| words.iter().any(|w| t.is(w)));
            if after(&["."]) {
                continue;
            }
            if global {
                if let Some(scope) = level.scope {
                    self.globals.insert((scope, token.source));
                }
                continue;
            }
            let next = |by: usize| tokens.get(at + by).filter(|_| at + by < range.end);
            let argument = called
                && depth > 0
                && after(&["(", ","])
                && next(1).is_some_and(|t| t.is(")") || t.is(","));
            let changed = self.changes(at, range.end, depth)
                || binds_all
                || argument
                || loop_target
                || after(&["as", "def", "class"])
                || last_equals.is_some_and(|equals| at < equals && depth == 0);
            if def && depth > 0 {
                let level = Level { scope: Some(range.start), certain: true };
                self.push(token.source, Change::Unknown, at..at + 1, level);
            } else if changed {
                self.push(token.source, Change::Unknown, at..at + 1, level);
            }
        }
    }

    /// Whether what follows a name changes it: `NAME =`, `NAME -=`, `NAME.pop(`, `NAME[0] =`.
    fn changes(&self, at: usize, end: usize, depth: usize) -> bool {
        let tokens = &self.source.tokens;
        let token = |at: usize| tokens.get(at).filter(|_| at < end);
        let mut behind = at + 1;
        while let Some(open) = token(behind).filter(|t| t.is("[")) {
            behind = open.close + 1;
        }
        let Some(next) = token(behind) else { return false };
        match next.source {
            _ if next.kind != Kind::Op => false,
            "=" => depth == 0,
            "==" | "!=" | "<=" | ">=" => false,
            "." => {
                token(behind + 1).is_some_and(|t| MUTATORS.contains(&t.source))
                    && token(behind + 2).is_some_and(|t| t.is("("))
            }
            op => op.len() > 1 && op.ends_with('='),
        }
    }
}

/// The tokens of a range that stand in no bracket of it; of a bracket the opening one.
pub fn top_level<'s>(
    tokens: &'s [Token<'_>],
    range: Range<usize>,
) -> impl Iterator<Item = usize> + 's {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let here = at;
        let token = tokens.get(here).filter(|_| here < range.end)?;
        at = if token.kind == Kind::Open { token.close.max(here) + 1 } else { here + 1 };
        Some(here)
    })
}

#[cfg(test)]
mod tests {
    use super::super::python;
    use super::*;

    /// What is known of `a`: its changes and whether they are certain; `None` when nothing is.
    fn of(text: &str) -> Option<Vec<(&'static str, bool)>> {
        let source = python::read(text).expect(text);
        let calls: Vec<_> =
            (0..source.tokens.len()).filter(|at| source.tokens[*at].is("setup")).collect();
        let bindings = Bindings::of(&source, &calls);
        let word = |change: &Change| match change {
            Change::Set(_) => "set",
            Change::Extend(_) => "extend",
            Change::Add(_) => "add",
            Change::Item(..) => "item",
            Change::Merge(_) => "merge",
            Change::Unknown => "unknown",
        };
        let events = bindings.of_name("a")?;
        Some(events.iter().map(|e| (word(&e.change), e.certain)).collect())
    }

    #[test]
    fn certain_and_uncertain_changes() {
        assert_eq!(
            of("a = []; a += b\na.append(1)\na[1] = 2\nif x:\n  a.extend(b)\n"),
            Some(vec![
                ("set", true),
                ("extend", true),
                ("add", true),
                ("item", true),
                ("extend", false)
            ])
        );
        assert_eq!(of("a: list[str] = []\nif a == b: print(a)\n"), Some(vec![("set", true)]));
        assert_eq!(of("a = []\ndef f():\n  a = 1\n  a.pop()\n"), Some(vec![("set", true)]));
        assert_eq!(of("a = []\ndef f(a):\n  a.pop()\n"), Some(vec![("set", true)]));
        assert_eq!(of("a = []\nsetup(x=a)\na = 2\n"), Some(vec![("set", true)]));
        assert_eq!(of("def f():\n  a = []\n  setup(x=a)\n"), Some(vec![("set", true)]));
        assert_eq!(
            of("if __name__ == '__main__':\n  a = []\n  if x:\n    a += b\n"),
            Some(vec![("set", true), ("extend", false)])
        );
    }

    #[test]
    fn what_is_not_followed_is_forgotten() {
        for text in [
            "a = []\na.pop()\n",
            "a = []\na, b = 1, 2\n",
            "a = []\nfor a in b: pass\n",
            "a = []\nif x: a = 1\n",
            "a = []\ndel a[0]\n",
            "a = []\nfrom x import a\n",
            "a = []\nchange(a)\n",
            "a = []\na[0][1] = 2\n",
            "a = []\na -= b\n",
            "a = []\nb = a\nb.append(1)\n",
            "a = []\nb = {'x': a}\nb['x'].append(1)\n",
            "a = []\ndef f():\n  global a\n  a -= 1\n",
            "a = []\ndef f():\n  a.pop()\n  global a\n",
            "a = []\nx = [a.pop()]\n",
            "import a\n",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
