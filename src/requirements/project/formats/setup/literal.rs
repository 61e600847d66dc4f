//! The values of Python literals, and of names that stand for nothing else.

use std::ops::Range;

use super::bindings::{Bindings, Change, Event, top_level};
use super::python::{Kind, Literal, Source, Token};

/// Expressions within expressions, at most this deep.
const MAX_DEPTH: usize = 64;
/// Values of a file, names written out: a list may be named often, and doubled each time.
const MAX_VALUES: usize = 50_000;
/// Bytes of a text that weigh as much as one more value.
const BYTES_A_VALUE: usize = 256;

/// A value as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(Literal),
    /// A list, tuple or set.
    List(Vec<Self>),
    /// A dict. An entry without a key may hold any key.
    Dict(Vec<(Option<Literal>, Self)>),
    /// Only running the code would tell.
    Computed(Code),
}

/// A piece of code that was not looked through.
#[derive(Debug, Clone)]
pub struct Code {
    /// Line, from 1.
    pub line: usize,
    /// How it begins, on one line.
    pub text: String,
}

/// Two pieces are the same when they read the same, wherever they stand.
impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Code {}

/// Reads the values of a file.
#[derive(Debug)]
pub struct Values<'s, 'a> {
    source: &'s Source<'a>,
    bindings: &'s Bindings<'a>,
    left: usize,
    depth: usize,
}

impl<'s, 'a> Values<'s, 'a> {
    /// Of a file whose names are known.
    pub fn new(source: &'s Source<'a>, bindings: &'s Bindings<'a>) -> Self {
        Self { source, bindings, left: MAX_VALUES, depth: 0 }
    }

    fn tokens(&self) -> &'s [Token<'a>] {
        &self.source.tokens
    }

    /// The value of the tokens of a range.
    ///
    /// `copied`: only what is in it is taken, so that later changes of it do not matter.
    pub fn value(&mut self, range: Range<usize>, copied: bool) -> Value {
        if self.left == 0 || self.depth >= MAX_DEPTH {
            return self.computed(range);
        }
        self.left -= 1;
        self.depth += 1;
        let value = self.expression(range.clone(), copied);
        self.depth -= 1;
        value.unwrap_or_else(|| self.computed(range))
    }

    /// A call's arguments: `name=value` by name, `**more` written out, others left out.
    pub fn arguments(&mut self, range: Range<usize>) -> Vec<(Option<Literal>, Value)> {
        let mut entries = Vec::new();
        for item in self.items(range) {
            let tokens = self.tokens();
            let first = &tokens[item.start];
            if first.is("**") {
                self.unpack(item.start + 1..item.end, &mut entries);
            } else if first.kind == Kind::Name && item.len() > 2 && tokens[item.start + 1].is("=") {
                let value = self.value(item.start + 2..item.end, false);
                entries.push((Some(Literal::new(first.source, first.line)), value));
            }
        }
        entries
    }

    /// What a range says, shortened, as something that is computed.
    fn computed(&self, range: Range<usize>) -> Value {
        const MOST: usize = 60;
        let tokens = self.tokens();
        let first = tokens.get(range.start);
        let line = first.map_or(1, |token| token.line);
        let begin = first.map_or(self.source.text.len(), |token| token.at);
        // Up to the token behind it; comments and spaces between them are cut off below.
        let end = tokens.get(range.end).map_or(self.source.text.len(), |token| token.at);
        let code = self.source.text.get(begin..end).unwrap_or_default();
        let mut text = String::new();
        for c in code.chars().take(4 * MOST) {
            match c {
                c if !c.is_whitespace() => text.push(c),
                _ if !text.ends_with(' ') => text.push(' '),
                _ => (),
            }
        }
        let text = text.trim();
        let cut = text.char_indices().nth(MOST).map(|(at, _)| at);
        let text = cut.map_or(text.to_owned(), |at| format!("{}...", &text[..at]));
        Value::Computed(Code { line, text })
    }

    fn expression(&mut self, range: Range<usize>, copied: bool) -> Option<Value> {
        let tokens = self.tokens();
        let mut operands = Vec::new();
        let mut begin = range.start;
        for at in top_level(tokens, range.clone()) {
            let token = &tokens[at];
            if token.is("+") && at > begin {
                operands.push(begin..at);
                begin = at + 1;
            } else if binds_weaker(token) {
                return None;
            }
        }
        if operands.is_empty() {
            return self.operand(range, copied);
        }
        operands.push(begin..range.end);
        let mut sum = Vec::new();
        for operand in operands {
            match self.value(operand, true) {
                Value::List(items) => sum.extend(items),
                Value::Computed(code) => sum.push(Value::Computed(code)),
                Value::Text(_) | Value::Dict(_) => return None,
            }
        }
        // With nothing known of any part it is the sum itself that is not known.
        sum.iter().any(|item| !matches!(item, Value::Computed(_))).then_some(Value::List(sum))
    }

    fn operand(&mut self, range: Range<usize>, copied: bool) -> Option<Value> {
        let tokens = self.tokens();
        let first = tokens.get(range.start).filter(|_| !range.is_empty())?;
        let last = range.end - 1;
        let next = tokens.get(range.start + 1).filter(|_| range.len() > 1);
        let inside = range.start + 1..last;
        match &first.kind {
            Kind::Text(text) => {
                let mut joined = (**text).clone();
                for token in &tokens[range.start + 1..range.end] {
                    let Kind::Text(text) = &token.kind else { return None };
                    joined.join(text);
                }
                // A name that stands for a long text may be written often.
                self.left = self.left.saturating_sub(joined.text.len() / BYTES_A_VALUE);
                Some(Value::Text(joined))
            }
            Kind::Open if first.close == last => match first.source {
                "(" if range.len() > 2
                    && !top_level(tokens, inside.clone()).any(|at| tokens[at].is(",")) =>
                {
                    Some(self.value(inside, copied))
                }
                "{" if self.is_dict(inside.clone()) => self.dict(inside),
                _ => self.list(inside),
            },
            Kind::Name if first.is("None") && next.is_none() => Some(Value::List(Vec::new())),
            Kind::Name if next.is_none() => self.name(first.source, range.start, copied),
            Kind::Name if next.is_some_and(|t| t.is("(") && t.close == last) => {
                let inside = range.start + 2..last;
                match first.source {
                    "dict" => Some(Value::Dict(self.merged(inside))),
                    "list" | "tuple" | "set" | "sorted" if inside.is_empty() => {
                        Some(Value::List(Vec::new()))
                    }
                    "list" | "tuple" | "set" | "sorted" => {
                        let copy = self.value(inside, true);
                        matches!(copy, Value::List(_)).then_some(copy)
                    }
                    _ => None,
                }
            }
            Kind::Name if next.is_some_and(|t| t.is("[") && t.close == last) => {
                let Value::Text(key) = self.value(range.start + 2..last, true) else {
                    return None;
                };
                let Value::Dict(entries) = self.name(first.source, range.start, true)? else {
                    return None;
                };
                let mut found = entries.into_iter().rev();
                // A later entry with any key may have replaced it.
                found
                    .find(|(k, _)| k.as_ref().is_none_or(|k| k.text == key.text))
                    .filter(|(k, _)| k.is_some())
                    .map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Parts between commas. A comprehension is one part.
    fn items(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut items = Vec::new();
        let mut begin = range.start;
        let tokens = self.tokens();
        let commas = top_level(tokens, range.clone()).filter(|at| tokens[*at].is(","));
        for at in commas.chain([range.end]) {
            if begin < at {
                items.push(begin..at);
            }
            begin = at + 1;
        }
        items
    }

    fn is_comprehension(&self, range: Range<usize>) -> bool {
        let tokens = self.tokens();
        top_level(tokens, range).any(|at| tokens[at].is("for"))
    }

    fn is_dict(&self, range: Range<usize>) -> bool {
        let tokens = self.tokens();
        range.is_empty()
            || tokens[range.start].is("**")
            || top_level(tokens, range).any(|at| tokens[at].is(":"))
    }

    fn list(&mut self, range: Range<usize>) -> Option<Value> {
        if self.is_comprehension(range.clone()) {
            return None;
        }
        let mut list = Vec::new();
        for item in self.items(range) {
            if self.tokens()[item.start].is("*") {
                match self.value(item.start + 1..item.end, true) {
                    Value::List(items) => list.extend(items),
                    _ => list.push(self.computed(item)),
                }
            } else {
                list.push(self.value(item, false));
            }
            // What is beyond the bound is one unknown part, not thousands.
            if self.left == 0 {
                break;
            }
        }
        Some(Value::List(list))
    }

    fn dict(&mut self, range: Range<usize>) -> Option<Value> {
        if self.is_comprehension(range.clone()) {
            return None;
        }
        let tokens = self.tokens();
        let mut entries = Vec::new();
        for item in self.items(range) {
            if tokens[item.start].is("**") {
                self.unpack(item.start + 1..item.end, &mut entries);
            } else {
                let colon = top_level(tokens, item.clone()).find(|at| tokens[*at].is(":"))?;
                match self.value(item.start..colon, true) {
                    Value::Text(key) => {
                        let value = self.value(colon + 1..item.end, false);
                        entries.push((Some(key), value));
                    }
                    _ => entries.push((None, self.computed(item))),
                }
            }
            if self.left == 0 {
                break;
            }
        }
        Some(Value::Dict(entries))
    }

    fn unpack(&mut self, range: Range<usize>, entries: &mut Vec<(Option<Literal>, Value)>) {
        match self.value(range.clone(), true) {
            Value::Dict(more) => entries.extend(more),
            _ => entries.push((None, self.computed(range))),
        }
    }

    /// The entries that `dict(...)` or `.update(...)` is given.
    fn merged(&mut self, range: Range<usize>) -> Vec<(Option<Literal>, Value)> {
        let mut entries = Vec::new();
        let tokens = self.tokens();
        if let Some(first) = self.items(range.clone()).into_iter().next()
            && !tokens[first.start].is("**")
            && !tokens.get(first.start + 1).is_some_and(|t| t.is("="))
        {
            self.unpack(first, &mut entries);
        }
        entries.extend(self.arguments(range));
        entries
    }

    /// The value of a name where a token refers to it.
    fn name(&mut self, name: &str, at: usize, copied: bool) -> Option<Value> {
        let events = self.bindings.of_name(name)?;
        let scope = self.bindings.scope_of(at);
        let inner = |event: &&Event| event.scope.is_some() && event.scope == scope;
        let local = events.iter().any(|e| inner(&e) && matches!(e.change, Change::Set(_)));
        let mut value = None;
        // A function sees all that the module does: it is called when that is done.
        let outer = events.iter().filter(|e| !local && e.scope.is_none());
        for event in outer.chain(events.iter().filter(inner)) {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return None;
            }
            if event.scope == scope && event.tokens.end > at {
                let changes = !matches!(event.change, Change::Set(_));
                if changes && !copied && !event.tokens.contains(&at) {
                    let code = self.computed(event.tokens.clone());
                    add(&mut value, code)?;
                }
                continue;
            }
            value = Some(self.changed(value, event)?);
        }
        value
    }

    /// A name's value after a statement.
    fn changed(&mut self, value: Option<Value>, event: &Event) -> Option<Value> {
        let code = self.computed(event.tokens.clone());
        match (&event.change, value) {
            (Change::Set(range), _) if event.certain => Some(self.value(range.clone(), false)),
            (Change::Set(_), _) => Some(code),
            (Change::Add(_) | Change::Extend(_), Some(Value::List(mut list))) if !event.certain => {
                list.push(code);
                Some(Value::List(list))
            }
            (Change::Add(range), Some(Value::List(mut list))) => {
                list.push(self.value(range.clone(), false));
                Some(Value::List(list))
            }
            (Change::Extend(range) | Change::Merge(range), Some(Value::List(mut list)))
                if event.certain =>
            {
                match self.value(range.clone(), true) {
                    Value::List(items) => list.extend(items),
                    _ => list.push(code),
                }
                Some(Value::List(list))
            }
            (Change::Item(key, range), Some(Value::Dict(mut entries))) => {
                let Value::Text(key) = self.value(key.clone(), true) else { return None };
                let value = if event.certain { self.value(range.clone(), false) } else { code };
                entries.push((Some(key), value));
                Some(Value::Dict(entries))
            }
            (Change::Merge(range), Some(Value::Dict(mut entries))) if event.certain => {
                entries.extend(self.merged(range.clone()));
                Some(Value::Dict(entries))
            }
            (Change::Merge(_), mut value) => {
                add(&mut value, code)?;
                value
            }
            _ => None,
        }
    }
}

/// Adds a part that is not known.
fn add(value: &mut Option<Value>, code: Value) -> Option<()> {
    match value.as_mut()? {
        Value::List(list) => list.push(code),
        Value::Dict(entries) => entries.push((None, code)),
        Value::Text(_) | Value::Computed(_) => return None,
    }
    Some(())
}

/// Whether an operator or keyword takes a whole sum as its operand, or is no part of a literal.
fn binds_weaker(token: &Token<'_>) -> bool {
    const WORDS: &[&str] =
        &["and", "await", "else", "for", "if", "in", "is", "lambda", "not", "or", "yield"];
    const OPS: &[&str] =
        &["|", "&", "^", "==", "!=", "<", ">", "<=", ">=", "<<", ">>", ":=", "=", ":", ",", ";"];
    match token.kind {
        Kind::Name => WORDS.contains(&token.source),
        Kind::Op => OPS.contains(&token.source),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::python;
    use super::*;

    /// The value of the last line's expression, in short.
    fn of(text: &str) -> String {
        let source = python::read(text).expect(text);
        let bindings = Bindings::of(&source, &[]);
        let last = source.lines.last().expect(text).tokens.clone();
        show(&Values::new(&source, &bindings).value(last, true))
    }

    fn show(value: &Value) -> String {
        let key = |k: &Option<Literal>| k.as_ref().map_or("?".to_owned(), |k| k.text.clone());
        match value {
            Value::Text(text) => text.text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Value::Dict(entries) => {
                let entries = entries.iter().map(|(k, v)| format!("{}:{}", key(k), show(v)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
            Value::Computed(code) => format!("<{}>", code.text),
        }
    }

    #[test]
    fn literals_names_and_what_is_neither() {
        for (text, value) in [
            ("('a' \n 'b')", "ab"),
            ("['a', ('b',), {'c'}, *['d'],]", "[a [b] [c] d]"),
            ("{'a': ['b'], **{'c': 'd'}, e: 'f'}", "{a:[b] c:d ?:<e: 'f'>}"),
            ("dict([], x='y')", "{?:<[]> x:y}"),
            ("a = ['x']\nb = a\na = ['y']\nb + a", "[x y]"),
            ("a = ['x']\nb = [a]\na.append('y')\nb", "[[x <a.append('y')>]]"),
            ("a = ['x']\nb = a + []\na.append('y')\nb", "[x]"),
            ("a = {'k': ['x']}\nif z:\n  a['k'] = []\na['k']", "<a['k'] = []>"),
            ("a = {}\na.update(f())\na", "{?:<f()>}"),
            ("a = {'k': 'x'}\na.update(f())\na['k']", "<a['k']>"),
            ("f(\n  # why\n  'x' )", "<f( # why 'x' )>"),
            ("['a'] + b or c", "<['a'] + b or c>"),
            ("lambda: []", "<lambda: []>"),
        ] {
            assert_eq!(of(text), value, "{text}");
        }
    }
}
