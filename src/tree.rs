//! A TOML or YAML document as it was written: every value with its line, every scalar as its text.
//!
//! Manifests of other tools are read through this and not through typed structs, for three reasons:
//! their versions must survive as text (`3.10`), each value keeps its line, and what another tool
//! adds to its own format tomorrow must not stop us. Depth, nodes and aliases are bounded.

use crate::domain::Order as _;
use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Deeper than any manifest, and shallow enough for the stack.
const MAX_DEPTH: usize = 64;
/// Values of a manifest after its aliases were written out. Large ones have some thousand.
pub const MAX_NODES: usize = 40_000;
/// Values of a lock of another tool: the largest name some ten thousand files.
pub const MAX_LOCK_NODES: usize = 150_000;
/// Bytes that the aliases of a document may add to it.
const MAX_ALIASED: usize = 4 * 1024 * 1024;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Line, from 1.
    pub line: usize,
}

/// Kinds of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string, or a number, boolean or date as written; an empty YAML value is the empty text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the document.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Line, from 1.
    pub line: usize,
}

/// What is wrong with a document, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// In one line.
    pub message: String,
    /// Line from 1, when it is known.
    pub line: Option<usize>,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// The value below a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar below a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Whether a scalar says yes.
    pub fn is_true(&self) -> bool {
        self.text() == Some("true")
    }

    /// The items of a list; of anything else none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The items of a list, or the value itself: many manifests take one where they take several.
    pub fn one_or_many(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The items of a list below a key.
    pub fn list_of(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    /// The entries of a mapping; of anything else none.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a mapping below a key.
    pub fn entries_of(&self, key: &str) -> &[(Key, Self)] {
        self.get(key).map_or(&[], Self::entries)
    }

    /// Whether it is a mapping.
    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }
}

/// Byte offsets of a text as lines.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

/// Reads TOML.
///
/// # Errors
/// What TOML refuses, too much depth, and more than `most` values.
pub fn toml(text: &str, most: usize) -> Result<Node, Error> {
    let lines = Lines::of(text);
    guard(text, most)?;
    let table = DeTable::parse(text).map_err(|err| Error {
        message: err.message().to_owned(),
        line: err.span().map(|span| lines.at(span.start)),
    })?;
    let line = lines.at(table.span().start);
    let value = toml_table(table.get_ref(), text, &lines, 0)?;
    Ok(Node { value, line })
}

fn beyond(most: usize) -> String {
    format!("more than the {most} values that are read")
}

/// Refuses what the TOML reader has no bounds for, before it begins.
///
/// It keeps every token, and a value, before it says what is wrong: sixteen megabytes of brackets
/// would take a gigabyte. And it counts how deep brackets are nested, but loses count where one of
/// them closes nothing, until the stack is at its end: `x = {a = 1` and a `[header]`, many times.
///
/// # Errors
/// More tokens than `most` values can need, too much depth, a bracket that closes nothing.
pub fn guard(text: &str, most: usize) -> Result<(), Error> {
    /// A key, a value, `=`, `,`, spaces between them, a newline.
    const EACH: usize = 8;
    // Dotted keys and headers nest without brackets, which the reader's own guard counts.
    let deep = text.lines().zip(1..).find(|(line, _)| {
        let code = line.trim_start();
        let key =
            if code.starts_with('[') { code } else { code.split('=').next().unwrap_or_default() };
        key.bytes().filter(|b| *b == b'.').count() > MAX_DEPTH
    });
    if let Some((_, line)) = deep {
        return Err(Error {
            message: format!("nested more than {MAX_DEPTH} deep"),
            line: Some(line),
        });
    }
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let (mut at, mut line, mut tokens) = (0, 1, 0);
    let run = |from: usize, belongs: fn(u8) -> bool| {
        bytes[from..].iter().position(|b| !belongs(*b)).unwrap_or(bytes.len() - from)
    };
    while let Some(&byte) = bytes.get(at) {
        let err = |message: String| Err(Error { message, line: Some(line) });
        tokens += 1;
        if tokens > most * EACH {
            return err(beyond(most));
        }
        at += match byte {
            b'[' | b'{' => {
                open.push(byte);
                if open.len() > MAX_DEPTH {
                    return err(format!("nested more than {MAX_DEPTH} deep"));
                }
                1
            }
            b']' | b'}' => {
                // In ASCII a bracket closes the one two before it.
                if open.pop() != Some(byte - 2) {
                    return err(format!("`{}` closes nothing", char::from(byte)));
                }
                1
            }
            b'"' | b'\'' => {
                let len = string(&bytes[at..]);
                line += text[at..at + len].matches('\n').count();
                len
            }
            b'\n' => {
                line += 1;
                1
            }
            b'#' => run(at, |b| b != b'\n'),
            b' ' | b'\t' => run(at, |b| matches!(b, b' ' | b'\t')),
            b'.' | b'=' | b',' | b'\r' => 1,
            // As the reader: quotes within a word begin no string.
            _ => run(at, |b| !b".=,[]{} \t#\r\n".contains(&b)),
        };
    }
    Ok(())
}

/// Length of the string that a text begins with, as TOML delimits it: one that is not closed ends
/// with its line, or with the text.
fn string(text: &[u8]) -> usize {
    let quote = text[0];
    let long = text.starts_with(&[quote; 3]);
    let mut at = if long { 3 } else { 1 };
    while let Some(&byte) = text.get(at) {
        if byte == b'\n' && !long {
            return at;
        }
        if byte == b'\\' && quote == b'"' {
            at += if matches!(text.get(at + 1), Some(b'\\' | b'"')) { 2 } else { 1 };
        } else if byte == quote && !long {
            return at + 1;
        } else if byte == quote && text[at..].starts_with(&[quote; 3]) {
            // Up to two quotes may stand before those that close it.
            return at + text[at..].iter().take(5).take_while(|b| **b == quote).count();
        } else {
            at += 1;
        }
    }
    text.len()
}

fn toml_table(
    table: &DeTable<'_>,
    text: &str,
    lines: &Lines,
    depth: usize,
) -> Result<Value, Error> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let at = key.span().start;
        let entry = Key { text: key.get_ref().to_string(), line: lines.at(at) };
        entries.push((at, (entry, toml_value(value, text, lines, depth + 1)?)));
    }
    entries.order_by_key(|(at, _)| *at);
    Ok(Value::Map(entries.into_iter().map(|(_, entry)| entry).collect()))
}

fn toml_value(
    value: &Spanned<DeValue<'_>>,
    text: &str,
    lines: &Lines,
    depth: usize,
) -> Result<Node, Error> {
    let line = lines.at(value.span().start);
    if depth > MAX_DEPTH {
        return Err(Error {
            message: format!("nested more than {MAX_DEPTH} deep"),
            line: Some(line),
        });
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| toml_value(item, text, lines, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => toml_table(table, text, lines, depth)?,
        // Numbers, booleans and dates: as written, so that 3.10 stays 3.10.
        _ => Value::Text(text.get(value.span()).unwrap_or_default().to_owned()),
    };
    Ok(Node { value, line })
}

/// A list or mapping that is not closed yet.
struct Open {
    node: Node,
    key: Option<Key>,
    keys: BTreeSet<String>,
    anchor: usize,
}

impl Open {
    fn new(value: Value, line: usize, anchor: usize) -> Self {
        Self { node: Node { value, line }, key: None, keys: BTreeSet::new(), anchor }
    }
}

/// Reads the first document of a YAML text.
///
/// # Errors
/// What YAML refuses, too much depth, and aliases that would grow it beyond all manifests.
pub fn yaml(text: &str) -> Result<Node, Error> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, (Node, Size)> = BTreeMap::new();
    let mut count = 0;
    let mut aliased = 0;
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|err| Error {
            message: err.info().clone(),
            line: Some(err.marker().line()),
        })?;
        let line = span.start.line();
        let err = |message: String| Error { message, line: Some(line) };
        count += 1;
        let done = match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "~" | "null");
                let text = if null { String::new() } else { text.to_string() };
                Some((Node { value: Value::Text(text), line }, anchor))
            }
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open::new(Value::List(Vec::new()), line, anchor));
                None
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open::new(Value::Map(Vec::new()), line, anchor));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop().map(|open| (open.node, open.anchor))
            }
            Event::Alias(id) => {
                let (node, size) = anchors
                    .get(&id)
                    .ok_or_else(|| err("an alias names an anchor that is not closed yet".into()))?;
                // Counted before it is copied: a bomb stops here.
                count += size.nodes;
                aliased += size.bytes;
                if aliased > MAX_ALIASED {
                    let most = MAX_ALIASED / 1024 / 1024;
                    return Err(err(format!("aliases add more than {most} MB to the file")));
                }
                (count <= MAX_NODES).then(|| (Node { value: node.value.clone(), line }, 0))
            }
            Event::DocumentEnd => break,
            _ => None,
        };
        if count > MAX_NODES {
            return Err(err(beyond(MAX_NODES)));
        }
        if open.len() > MAX_DEPTH {
            return Err(err(format!("nested more than {MAX_DEPTH} deep")));
        }
        let Some((node, anchor)) = done else { continue };
        if anchor != 0 {
            let size = size(&node);
            count += size.nodes;
            aliased += size.bytes;
            anchors.insert(anchor, (node.clone(), size));
        }
        match open.last_mut() {
            None => root = Some(node),
            Some(parent) => match &mut parent.node.value {
                Value::List(items) => items.push(node),
                Value::Map(entries) => {
                    if let Some(key) = parent.key.take() {
                        entries.push((key, node));
                    } else {
                        let Value::Text(text) = node.value else {
                            return Err(err("a key that is no text".into()));
                        };
                        if !parent.keys.insert(text.clone()) {
                            return Err(err(format!("the key `{}` stands twice", shown(&text))));
                        }
                        parent.key = Some(Key { text, line });
                    }
                }
                Value::Text(_) => (),
            },
        }
    }
    Ok(root.unwrap_or(Node { value: Value::Text(String::new()), line: 1 }))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// How much a copy of a value adds.
#[derive(Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

fn size(node: &Node) -> Size {
    let mut all = Size { nodes: 1, bytes: 0 };
    let mut add = |more: usize, inner: &Node| {
        let inner = size(inner);
        all.nodes += 1 + inner.nodes;
        all.bytes += more + inner.bytes;
    };
    match &node.value {
        Value::Text(text) => all.bytes += text.len(),
        Value::List(items) => items.iter().for_each(|item| add(0, item)),
        Value::Map(entries) => {
            for (key, node) in entries {
                add(key.text.len(), node);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_syntaxes_give_text_and_lines() {
        let toml = toml("# c\n[a]\nb = \"x\"\nn = 3.10\nl = [\n  \"p\",\n  \"q\",\n]\n", MAX_NODES)
            .expect("toml");
        let a = toml.get("a").expect("a");
        assert_eq!((a.text_of("b"), a.text_of("n")), (Some("x"), Some("3.10")));
        assert_eq!(a.list_of("l").iter().map(|n| n.line).collect::<Vec<_>>(), [6, 7]);
        let yaml = yaml("# c\na:\n  b: x\n  n: 3.10\n  l:\n  - p\n  - q: [1, ~]\n").expect("yaml");
        let a = yaml.get("a").expect("a");
        assert_eq!((a.text_of("b"), a.text_of("n")), (Some("x"), Some("3.10")));
        assert_eq!(a.list_of("l").iter().map(|n| n.line).collect::<Vec<_>>(), [6, 7]);
        let merged = yaml_anchor();
        assert_eq!(merged.at(&["b"]).map(Node::items).map(<[Node]>::len), Some(2));
    }

    fn yaml_anchor() -> Node {
        yaml("a: &x [1, 2]\nb: *x\n").expect("an alias")
    }

    #[test]
    fn growth_has_an_end() {
        use std::fmt::Write as _;
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let of = format!("*a{}", i - 1);
            let _ = writeln!(bomb, "a{i}: &a{i} [{}]", vec![of; 9].join(", "));
        }
        assert!(yaml(&bomb).is_err_and(|err| err.message.contains("values") && err.line.is_some()));
        assert!(yaml(&"[".repeat(100_000)).is_err());
        assert!(yaml("a: 1\na: 2\n").is_err_and(|err| err.line == Some(2)));
        assert!(yaml("&a [*a]").is_err());
        for deep in [
            format!("a = {}", "[".repeat(100_000)),
            format!("{}x = 1", "a.".repeat(100_000)),
            format!("[{}x]", "a.".repeat(100_000)),
            format!("a = {}", "{a=".repeat(100_000)),
            format!("a = {{{}x = 1}}", "a.".repeat(100_000)),
        ] {
            assert!(toml(&deep, MAX_NODES).is_err(), "{}", &deep[..20]);
        }
        let scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1_000));
        assert!(yaml(&scalar).is_err_and(|err| err.message.contains("MB") && err.line == Some(2)));
    }

    #[test]
    fn crowds_are_refused_where_they_end() {
        for (text, line) in [
            (format!("a = 1\nb = [{}]", "1,".repeat(MAX_NODES * 8)), 2),
            ("a,".repeat(MAX_NODES * 9), 1),
            ("\"\",".repeat(MAX_NODES * 9), 1),
            ("\n".repeat(MAX_NODES * 9), MAX_NODES * 8 + 1),
        ] {
            let err = toml(&text, MAX_NODES).expect_err("a crowd");
            assert_eq!((err.line, err.message), (Some(line), beyond(MAX_NODES)));
        }
        for (text, line) in [
            ("[".repeat(1000), 1),
            ("x = {a = 1\n[b]\n".repeat(50_000), 128),
            ("{a=[}],b=".repeat(50_000), 1),
            ("a = \"\"\"\n]\"\"\"\"\"\n]".into(), 3),
            ("a\"b{\n}\n]".into(), 3),
            ("a = 'x\n]".into(), 2),
        ] {
            let err = guard(&text, MAX_NODES).expect_err("brackets");
            assert_eq!(err.line, Some(line), "{}: {}", &text[..8], err.message);
        }
        let fine = "a = \"\\\"]\" # ]\n'}' = ''']''''\nb = [{c = \"]\"}, [\n]]\n[[d]]\n";
        assert_eq!(guard(fine, MAX_NODES), Ok(()));
        assert!(toml(fine, MAX_NODES).is_ok());
        let long = format!("a = \"{}\" # {}\n", "= ,".repeat(150_000), "[".repeat(400_000));
        assert!(toml(&long, MAX_NODES).is_ok());
    }
}
