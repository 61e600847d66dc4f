//! A Dockerfile as its instructions: joined lines, comments, heredocs.
//!
//! Source: Dockerfile reference, "Parser directives", "Here-Documents"; BuildKit's parser.

use super::vars::Traced;

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// `FROM`, `RUN` ... in capitals.
    pub name: String,
    /// `--mount=...`, without the dashes.
    pub flags: Vec<String>,
    /// What stands behind the name and the flags.
    pub rest: Traced,
    /// Bodies of heredocs.
    pub bodies: Vec<Traced>,
    /// The line it begins on.
    pub line: usize,
}

/// Reads the instructions, and the escape character.
pub fn read(text: &str) -> (Vec<Instruction>, char) {
    let escape = escape(text);
    let mut out = Vec::new();
    let mut lines = text.lines().zip(1..);
    let mut open = Traced::default();
    loop {
        let next = lines.next();
        if let Some((line, number)) = next {
            let code = line.trim_start();
            if code.starts_with('#') || code.is_empty() {
                // Between joined lines too.
                continue;
            }
            let line = if open.text.is_empty() { code } else { line };
            if let Some(joined) = line.trim_end().strip_suffix(escape) {
                open.push(joined, number);
                continue;
            }
            open.push(line, number);
        }
        let whole = std::mem::take(&mut open);
        if !whole.text.trim().is_empty() {
            let mut instruction = taken_apart(&whole);
            if matches!(instruction.name.as_str(), "RUN" | "COPY" | "ADD") {
                for (delimiter, tabs) in delimiters(&instruction.rest.text) {
                    let mut body = Traced::default();
                    for (line, number) in lines.by_ref() {
                        let line = if tabs { line.trim_start_matches('\t') } else { line };
                        if line == delimiter {
                            break;
                        }
                        body.push(line, number);
                        body.push("\n", number);
                    }
                    instruction.bodies.push(body);
                }
            }
            out.push(instruction);
        }
        if next.is_none() {
            return (out, escape);
        }
    }
}

/// `# escape=` among the directives at the very top.
fn escape(text: &str) -> char {
    for line in text.lines() {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|l| l.split_once('='))
        else {
            break;
        };
        if key.trim().eq_ignore_ascii_case("escape") {
            return if value.trim() == "`" { '`' } else { '\\' };
        }
    }
    '\\'
}

fn taken_apart(whole: &Traced) -> Instruction {
    let text = &whole.text;
    let mut at = text.len() - text.trim_start().len();
    let len = text[at..].find(char::is_whitespace).unwrap_or(text.len() - at);
    let name = text[at..at + len].to_ascii_uppercase();
    at += len;
    let mut flags = Vec::new();
    loop {
        at = text.len() - text[at..].trim_start().len();
        let Some(flag) = text[at..].strip_prefix("--") else { break };
        let flag = flag.split(char::is_whitespace).next().unwrap_or_default();
        flags.push(flag.to_owned());
        at += 2 + flag.len();
    }
    let line = whole.line();
    Instruction { name, flags, rest: whole.from(at), bodies: Vec::new(), line }
}

/// `<<EOF`, `<<-"EOF"`, `3<<EOF` outside of quotes: the delimiter, and whether tabs are taken off.
fn delimiters(text: &str) -> Vec<(String, bool)> {
    let mut out = Vec::new();
    let mut quote = None;
    let mut before = ' ';
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some('\''), _) => (),
            (_, '\\') => {
                chars.next();
            }
            (None, '"' | '\'') => quote = Some(c),
            (None, '<')
                if before.is_whitespace() || before.is_ascii_digit() || ";&|(".contains(before) =>
            {
                let Some(rest) = text[at..].strip_prefix("<<") else { continue };
                let tabs = rest.starts_with('-');
                let rest = rest.strip_prefix('-').unwrap_or(rest);
                let ends =
                    |c: char| c.is_whitespace() || matches!(c, '<' | '>' | ';' | '&' | '|' | ')');
                let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
                let word = word.trim_matches(['"', '\'']);
                if !word.is_empty() {
                    out.push((word.to_owned(), tabs));
                }
            }
            _ => (),
        }
        before = c;
    }
    out
}

/// `["pip", "install"]`: the strings, each with its line. `None`: it is no such list.
pub fn exec_form(rest: &Traced) -> Option<Vec<(String, usize)>> {
    let text = rest.text.trim_end();
    if !text.starts_with('[') {
        return None;
    }
    let words: Vec<String> = serde_json::from_str(text).ok()?;
    let mut starts = Vec::new();
    let mut inside = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, b)) = bytes.next() {
        match b {
            b'\\' if inside => {
                bytes.next();
            }
            b'"' => {
                inside = !inside;
                if inside {
                    starts.push(rest.line_at(at));
                }
            }
            _ => (),
        }
    }
    Some(words.into_iter().zip(starts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_with_their_lines() {
        let text = "# c\nfrom --platform=linux/amd64 a AS b\nRUN --mount=type=cache,target=/x pip install \\\n  # inside\n\n  torch \\  \n  numpy\nRUN <<A cat <<-'B' \"<<C\"\none\nA\n\ttwo\n\tB\nRUN cat <<<x\nCOPY x y";
        let (all, _) = read(text);
        let names: Vec<_> = all.iter().map(|i| (i.name.as_str(), i.line)).collect();
        assert_eq!(names, [("FROM", 2), ("RUN", 3), ("RUN", 8), ("RUN", 13), ("COPY", 14)]);
        assert_eq!(all[0].flags, ["platform=linux/amd64"]);
        assert_eq!(all[0].rest.text, "a AS b");
        let run = &all[1].rest;
        let line = |word: &str| run.line_at(run.text.find(word).expect(word));
        assert_eq!((line("pip"), line("torch"), line("numpy")), (3, 6, 7));
        assert_eq!(run.text.split_whitespace().count(), 4);
        assert_eq!(all[2].bodies[0], Traced::lines("one\n", 9));
        assert_eq!(all[2].bodies[1], Traced::lines("two\n", 11));
        assert!(all[3].bodies.is_empty());
    }

    #[test]
    fn escapes_lists_and_open_ends() {
        let (all, escape) = read("# syntax=x\n# escape=`\nRUN a `\n  b\\\nRUN c \\");
        assert_eq!((all.len(), escape), (2, '`'));
        assert_eq!(all[0].rest.text, "a   b\\");
        let (all, _) = read("RUN [\"pip\", \\\n \"a\\\"b\"]\nRUN <<E\nx");
        let words = exec_form(&all[0].rest).expect("a list");
        assert_eq!(words, [("pip".to_owned(), 1), ("a\"b".to_owned(), 2)]);
        assert_eq!(all[1].bodies[0].text, "x\n");
        assert!(exec_form(&Traced::lines("[ -f x ] && y", 1)).is_none());
        let (all, _) = read("\\\n\\");
        assert!(all.is_empty());
    }
}
