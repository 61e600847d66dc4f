//! The page of a finding code: rows of the matrix in three voices, terminal, Markdown and JSON.

use std::fmt::Write as _;

use anstyle::Style;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::human::{DIM, paint};
use super::{json_v1, matrix_line};
use crate::domain::{Code, Order as _};
use crate::matrix::{Evidence, Matrix, Message, Page, Tells};

const BOLD: Style = Style::new().bold();

/// Messages that a page shows; the rest is counted.
const MOST: usize = 12;

/// A line of a page that is to be typed begins with this.
const PROMPT: &str = "$ ";

/// The page of a code, with the messages that lead to it.
#[derive(Debug, Clone)]
pub struct Explained<'m> {
    matrix: &'m Matrix,
    page: &'m Page,
    messages: Vec<&'m Message>,
}

/// A part of an item: prose, or a command.
enum Piece<'p> {
    Prose(String),
    Command(&'p str),
}

/// An item in its parts: lines that begin with `$ ` are commands, the others run on as prose.
fn pieces(item: &str) -> Vec<Piece<'_>> {
    let mut list: Vec<Piece<'_>> = Vec::new();
    for line in item.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.strip_prefix(PROMPT), list.last_mut()) {
            (Some(command), _) => list.push(Piece::Command(command)),
            (None, Some(Piece::Prose(prose))) => {
                prose.push(' ');
                prose.push_str(line);
            }
            (None, _) => list.push(Piece::Prose(line.to_owned())),
        }
    }
    list
}

/// The commands that a page tells to type.
pub fn commands(page: &Page) -> impl Iterator<Item = &str> {
    page.look.iter().chain(&page.fixes).flat_map(|item| pieces(item)).filter_map(
        |piece| match piece {
            Piece::Command(command) => Some(command),
            Piece::Prose(_) => None,
        },
    )
}

impl<'m> Explained<'m> {
    /// The page of `code`; `None` where the matrix has none.
    pub fn of(code: Code, matrix: &'m Matrix) -> Option<Self> {
        let page = matrix.pages().iter().find(|page| page.code == code)?;
        let mut messages: Vec<_> = matrix.messages().iter().filter(|m| m.code == code).collect();
        messages.order_by_key(|message| message.tells);
        Some(Self { matrix, page, messages })
    }

    fn paragraphs(&self) -> impl Iterator<Item = &'m str> {
        self.page.means.split('\n').map(str::trim).filter(|p| !p.is_empty())
    }

    /// The first fragment of each message, as many as are shown.
    fn fragments(&self) -> impl Iterator<Item = (&'m Message, &'m str)> {
        self.messages.iter().take(MOST).filter_map(|m| Some((*m, m.text.first()?.as_str())))
    }

    /// `12 of 14` or `3`.
    fn count(&self) -> String {
        match self.messages.len() {
            all if all > MOST => format!("{MOST} of {all}"),
            all => all.to_string(),
        }
    }

    /// `document cuda.mvcdoc: Minor Version Compatibility ...`
    fn source(&self, evidence: &Evidence) -> String {
        let source = &self.matrix.sources[usize::from(evidence.source)];
        let note = evidence.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
        format!("{} {}: {}{note}", source.level.word(), source.key, source.text)
    }

    /// For a terminal of `width` columns. Commands are never broken: they are there to be copied.
    pub fn human(&self, width: usize, verbose: bool) -> String {
        let code = self.page.code;
        let mut text = filled(&format!("{}: {}", paint(BOLD, code), code.meaning()), "", "", width);
        for paragraph in self.paragraphs() {
            text.push('\n');
            text += &filled(paragraph, "", "", width);
        }
        let heading = |text: &mut String, words: &str| {
            let _ = writeln!(text, "\n{}", paint(BOLD, words));
        };
        heading(&mut text, "How to see it");
        for item in &self.page.look {
            listed(item, "* ", width, &mut text);
        }
        heading(&mut text, "What to do, cheapest first");
        for (number, item) in (1..).zip(&self.page.fixes) {
            listed(item, &format!("{number}. "), width, &mut text);
        }
        if !self.page.confused.is_empty() {
            heading(&mut text, "Often taken for");
            for (other, difference) in &self.page.confused {
                text +=
                    &filled(&format!("{}: {difference}", paint(BOLD, other)), "  ", "    ", width);
            }
        }
        if !self.messages.is_empty() {
            heading(&mut text, &format!("Messages that lead here ({})", self.count()));
            for (message, fragment) in self.fragments() {
                text += &filled(&format!("{fragment}{}", aside(message)), "  ", "    ", width);
            }
        }
        if verbose {
            heading(&mut text, "Sources");
            for evidence in &self.page.evidence {
                text += &filled(&self.source(evidence), "  ", "    ", width);
            }
            let _ = writeln!(text, "\n{}", paint(DIM, matrix_line(self.matrix)));
        }
        text
    }

    /// What the code means, in short.
    pub fn means(&self) -> &'m str {
        self.paragraphs().next().unwrap_or_default()
    }

    /// For docs/codes/; elsewhere pages of other codes lie below the address `at`.
    pub fn markdown(&self, at: &str) -> String {
        let code = self.page.code;
        let mut text = format!("# {code}\n\nIn short: {}.\n", code.meaning());
        for paragraph in self.paragraphs() {
            let _ = writeln!(text, "\n{paragraph}");
        }
        text.push_str("\n## How to see it\n");
        for item in &self.page.look {
            marked(item, "* ", &mut text);
        }
        text.push_str("\n## What to do, cheapest first\n");
        for (number, item) in (1..).zip(&self.page.fixes) {
            marked(item, &format!("{number}. "), &mut text);
        }
        if !self.page.confused.is_empty() {
            text.push_str("\n## Often taken for\n\n");
            for (other, difference) in &self.page.confused {
                let _ = writeln!(text, "* [{other}]({at}{other}.md): {difference}");
            }
        }
        if !self.messages.is_empty() {
            let _ = write!(text, "\n## Messages that lead here ({})\n\n", self.count());
            for (message, fragment) in self.fragments() {
                // Whatever a message holds, it is no Markdown.
                let fence = if fragment.contains('`') { "``" } else { "`" };
                let _ = writeln!(text, "* {fence}{fragment}{fence}{}", aside(message));
            }
        }
        text.push_str("\n## Sources\n\n");
        for evidence in &self.page.evidence {
            let _ = writeln!(text, "* {}", self.source(evidence));
        }
        text
    }

    /// `gpuseal.explain`
    pub fn json(&self) -> String {
        let items = |list: &[String]| -> Vec<_> {
            let part = |piece| match piece {
                Piece::Prose(prose) => json!({ "text": prose }),
                Piece::Command(command) => json!({ "command": command }),
            };
            list.iter().map(|item| pieces(item).into_iter().map(part).collect::<Vec<_>>()).collect()
        };
        let confused: Vec<_> = self
            .page
            .confused
            .iter()
            .map(|(other, difference)| json!({ "code": other, "difference": difference }))
            .collect();
        let messages: Vec<_> = self
            .messages
            .iter()
            .map(|m| json!({ "id": m.id, "text": m.text, "tells": m.tells, "certainty": m.certainty }))
            .collect();
        let sources: Vec<_> = self.page.evidence.iter().map(|e| self.source(e)).collect();
        let body = json!({
            "code": self.page.code,
            "meaning": self.page.code.meaning(),
            "means": self.paragraphs().collect::<Vec<_>>(),
            "look": items(&self.page.look),
            "fixes": items(&self.page.fixes),
            "confused": confused,
            "messages": messages,
            "sources": sources,
        });
        json_v1::document("gpuseal.explain", self.matrix, body)
    }
}

/// What a message is worth, where it does not name the cause.
fn aside(message: &Message) -> &'static str {
    match message.tells {
        Tells::Cause => "",
        Tells::Symptom => " (one of several causes)",
        Tells::Hint => " (says nothing alone)",
    }
}

fn filled(text: &str, first: &str, then: &str, width: usize) -> String {
    let options = textwrap::Options::new(width.max(40))
        .initial_indent(first)
        .subsequent_indent(then)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let mut filled = textwrap::fill(text, options);
    filled.push('\n');
    filled
}

/// An item of a list in a terminal.
fn listed(item: &str, bullet: &str, width: usize, text: &mut String) {
    let indent = " ".repeat(bullet.len() + 2);
    let mut lead = format!("  {bullet}");
    for piece in pieces(item) {
        match piece {
            Piece::Prose(prose) => *text += &filled(&prose, &lead, &indent, width),
            Piece::Command(command) => {
                let _ = writeln!(text, "{lead}  {}", paint(DIM, format!("{PROMPT}{command}")));
            }
        }
        lead.clone_from(&indent);
    }
}

/// An item of a list in Markdown; commands that follow each other are one block.
fn marked(item: &str, bullet: &str, text: &mut String) {
    let indent = " ".repeat(bullet.len());
    let mut lead = bullet;
    let list = pieces(item);
    for run in list.chunk_by(|a, b| matches!((a, b), (Piece::Command(_), Piece::Command(_)))) {
        let lines: Vec<&str> = run
            .iter()
            .map(|piece| match piece {
                Piece::Prose(prose) => prose.as_str(),
                Piece::Command(command) => command,
            })
            .collect();
        let lines = lines.join(&format!("\n{indent}"));
        let _ = match run {
            [Piece::Command(_), ..] => {
                writeln!(text, "\n{lead}```sh\n{indent}{lines}\n{indent}```")
            }
            _ => writeln!(text, "\n{lead}{lines}"),
        };
        lead = &indent;
    }
}

/// Every code with its meaning, in the order in which they decide.
pub fn codes() -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["CODE", "MEANING"]);
    for code in Code::ALL {
        table.add_row([code.word(), code.meaning()]);
    }
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text, "\n{}", paint(DIM, "`gpuseal explain CODE` prints the page of one"));
    text
}

/// The same as a document.
pub fn codes_json(matrix: &Matrix) -> String {
    let codes: Vec<_> =
        Code::ALL.iter().map(|c| json!({ "code": c, "meaning": c.meaning() })).collect();
    json_v1::document("gpuseal.explain", matrix, json!({ "codes": codes }))
}

/// The files of docs/codes/: a list, and a page for each code.
pub fn docs(matrix: &Matrix) -> Vec<(String, String)> {
    let mut list = String::from(
        "# Finding codes\n\n\
         What gpuseal says about a combination, a project or a machine has one of these codes; a code never changes\n\
         its meaning. `gpuseal explain CODE` prints the same page. Of several findings the one that stands first here\n\
         decides: what comes later is never reached on that machine. Written from `matrices/pages.yaml`; do not edit.\n\n\
         | code | meaning |\n| --- | --- |\n",
    );
    let mut files = Vec::new();
    for code in Code::ALL {
        let _ = writeln!(list, "| [{code}]({code}.md) | {} |", code.meaning());
        if let Some(page) = Explained::of(*code, matrix) {
            files.push((format!("{code}.md"), page.markdown("")));
        }
    }
    files.push(("README.md".into(), list));
    files
}
