//! Markdown for job summaries and comments: the verdict first, then tables and findings.
//!
//! What comes from users is text and never markup: no mention, link, image or tag of theirs comes alive.

use std::fmt::Write as _;

use super::found::{Found, Located};
use super::human::{driver_words, served};
use super::lock::{Rendered, Standing, State, differences};
use super::why::Chain;
use super::{TOOL, docs, matrix_line};
use crate::domain::{Code, Severity};
use crate::error::Exit;
use crate::lock::Lockfile;
use crate::resolve::judge::Wheel;
use crate::resolve::{Explanation, JudgedGpu, Judgement, Outcome, Resolution};

/// Bytes of a page. GitHub drops the summary of a step that has more than 1 MiB.
const MOST: usize = 900_000;

/// Bytes of a text between fences; the rest of a page has to have its place too.
const MOST_FENCED: usize = 300_000;

/// A page as it grows, block by block. What no longer fits is left out whole, and that is said.
pub struct Page {
    text: String,
    full: bool,
}

impl Page {
    /// The page of a command: verdict, a sentence, what `body` adds, findings, and what it rests on.
    pub fn of(
        found: &Found<'_>,
        verdict: &str,
        summary: &str,
        body: impl FnOnce(&mut Self),
    ) -> String {
        let mut page = Self { text: String::new(), full: false };
        let mark = match found.exit {
            Exit::Done if found.list.iter().any(|l| l.finding.severity < Severity::Note) => "⚠️",
            Exit::Done => "✅",
            Exit::CannotJudge | Exit::Unknown => "❔",
            _ => "❌",
        };
        // An error may come before the command is known.
        let command = Some(found.command).filter(|command| *command != TOOL.0);
        let command = command.map_or_else(String::new, |command| format!(" {command}"));
        page.add(&format!("### {mark} {}{command}: {}\n", TOOL.0, escaped(verdict)));
        if !summary.is_empty() {
            page.add(&format!("\n{}\n", escaped(summary)));
        }
        body(&mut page);
        page.findings(&found.list);
        let matrix = found.matrix.map_or_else(String::new, |m| format!(", {}", matrix_line(m)));
        let last = format!("\n<sub>{} {}{}</sub>\n\n", TOOL.0, TOOL.1, escaped(&matrix));
        if page.full {
            page.text.push_str("\nThis is not all of it: the JSON report has the rest.\n");
        }
        page.text + &last
    }

    /// Adds a block, if there is room for it.
    pub fn add(&mut self, block: &str) {
        if self.full || self.text.len() + block.len() > MOST {
            self.full = true;
        } else {
            self.text.push_str(block);
        }
    }

    /// Adds a table.
    pub fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        self.add(&format!("\n| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N)));
        for row in rows {
            self.add(&format!("| {} |\n", row.map(|cell| escaped(&cell)).join(" | ")));
        }
    }

    /// Adds items below a word.
    pub fn list(&mut self, heading: &str, items: impl IntoIterator<Item = String>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            self.add(&format!("\n**{heading}**\n\n"));
        }
        for item in items {
            self.add(&format!("* {}\n", escaped(&item)));
        }
    }

    /// Adds a text as it is, folded below a word.
    pub fn folded(&mut self, heading: &str, language: &str, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let fenced = fenced(language, text);
        self.add(&format!("\n<details><summary>{heading}</summary>\n\n{fenced}\n</details>\n"));
    }

    fn findings(&mut self, list: &[Located]) {
        if !list.is_empty() {
            self.add("\n**Findings**\n\n");
        }
        for Located { title, target, finding } in list {
            // That all is well is no name for a warning.
            let word = match title.parse::<Code>() {
                Ok(Code::Ok) => String::new(),
                Ok(code) => format!(" [`{code}`]({}{code}.md)", docs()),
                Err(_) => format!(" `{title}`"),
            };
            let target =
                if target.is_empty() { String::new() } else { format!(" {}:", escaped(target)) };
            let place = finding.place.as_ref();
            let place =
                place.map_or_else(String::new, |at| format!(" ({})", escaped(&format!("`{at}`"))));
            let message = escaped(&finding.message);
            let mut item = format!("* **{}**{word}{target} {message}{place}\n", finding.severity);
            for fact in &finding.facts {
                let _ = write!(item, "  * {}", escaped(&fact.text));
                if !fact.source.is_empty() {
                    let _ = write!(item, " <sub>{}</sub>", escaped(&fact.source));
                }
                item.push('\n');
            }
            for help in &finding.help {
                let _ = writeln!(item, "  * **help:** {}", escaped(help));
            }
            self.add(&item);
        }
    }
}

/// A text in which nothing is markup, on one line; what stands between backticks stays code.
pub fn escaped(text: &str) -> String {
    let pairs = text.matches('`').count() / 2;
    let mut ticks = 0;
    let mut out = String::with_capacity(text.len() + 16);
    let first = text.trim_start();
    for (at, c) in first.char_indices() {
        match c {
            '`' if ticks < pairs * 2 => {
                out.push_str(if ticks % 2 == 0 { "<code>" } else { "</code>" });
                ticks += 1;
            }
            // Inside a word it is no markup.
            '_' if first[..at].ends_with(char::is_alphanumeric)
                && first[at + 1..].starts_with(char::is_alphanumeric) =>
            {
                out.push('_');
            }
            // Mentions and addresses are looked for in what is shown: a comment takes them apart, and
            // what is copied from the page is as it was.
            '@' | '#' => {
                let _ = write!(out, "&#{};<!-- -->", u32::from(c));
            }
            '.' if first[..at].to_ascii_lowercase().ends_with("www") => out.push_str("<!-- -->."),
            '`' | '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '!' | '$' | '^' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            // At the beginning they would make a list, a heading or a rule.
            '-' | '+' | '=' if at == 0 => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            // An address would become a link.
            ':' if first[at..].starts_with("://") => out.push_str("&#58;<!-- -->"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A text between fences that it cannot end, without colours and without what moves a cursor.
pub fn fenced(language: &str, text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    let mut end = plain.len().min(MOST_FENCED);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    let mut ticks = 2;
    let mut run = 0;
    let mut body = String::with_capacity(end);
    for c in plain[..end].chars() {
        run = if c == '`' { run + 1 } else { 0 };
        ticks = ticks.max(run);
        match c {
            '\n' | '\t' => body.push(c),
            '\r' => (),
            c if c.is_control() => body.push(' '),
            c => body.push(c),
        }
    }
    let fence = "`".repeat(ticks + 1);
    let more = if end < plain.len() { "\n... and more" } else { "" };
    format!("{fence}{language}\n{}{more}\n{fence}\n", body.trim_end())
}

/// A text for people that has no better form.
pub fn plain(found: &Found<'_>, verdict: &str, text: &str) -> String {
    Page::of(found, verdict, "", |page| page.add(&format!("\n{}", fenced("text", text))))
}

/// A verdict with its findings, and all that was read behind them.
pub fn folded(found: &Found<'_>, verdict: &str, heading: &str, text: &str) -> String {
    Page::of(found, verdict, "", |page| page.folded(heading, "text", text))
}

fn card(judged: &JudgedGpu) -> String {
    let gpu = &judged.gpu;
    if gpu.given == gpu.name { gpu.name.clone() } else { format!("{} ({})", gpu.name, gpu.given) }
}

/// The answer of `resolve` and `lock`.
pub fn outcome(found: &Found<'_>, outcome: &Outcome, lock: Option<&Standing>) -> String {
    let (word, summary) = match outcome {
        Outcome::Solved(_) => match lock {
            Some(lock) if lock.verdict() != Code::Ok => (lock.verdict().word(), ""),
            _ => ("ok", ""),
        },
        Outcome::Unsatisfiable(_) => ("unsatisfiable", "No stack satisfies the demands."),
        Outcome::Unknown(_) => {
            ("unknown", "Nothing is known to work, and some builds could not be judged.")
        }
    };
    Page::of(found, word, summary, |page| {
        match outcome {
            Outcome::Solved(resolution) => stacks(page, resolution),
            Outcome::Unsatisfiable(why) | Outcome::Unknown(why) => explanation(page, why),
        }
        if let Some(lock) = lock {
            standing(page, lock);
        }
    })
}

/// Which build runs on which card with which driver: a row for each target and card.
fn stacks(page: &mut Page, resolution: &Resolution) {
    let rows = resolution.stacks.iter().flat_map(|stack| {
        stack.gpus.iter().map(move |gpu| {
            [
                stack.target.clone(),
                card(gpu),
                gpu.gpu.capability.to_string(),
                gpu.served.map_or_else(String::new, served),
                format!("{}+{}", stack.torch, stack.variant),
                stack.python.to_string(),
                stack.cuda.to_string(),
                driver_words(&stack.driver).unwrap_or_else(|| "unknown".into()),
                stack.platform.to_string(),
                format!("`{}:{}`", stack.base.repository, stack.base.tag),
            ]
        })
    });
    page.table(
        [
            "target",
            "card",
            "capability",
            "served by",
            "torch",
            "Python",
            "CUDA",
            "driver",
            "platform",
            "base image",
        ],
        rows,
    );
    let left = resolution.left_out.iter().map(|left| format!("`{}`: {}", left.name, left.why));
    page.list("Left out", left);
}

fn explanation(page: &mut Page, why: &Explanation) {
    page.list("These clash", why.clash.iter().cloned());
    let cures = why.cures.iter().map(|cure| format!("{} (then: {})", cure.change, cure.gives));
    page.list("What helps, cheapest first", cures);
}

fn standing(page: &mut Page, lock: &Standing) {
    let digest = lock.digest.as_ref().map_or("none", |digest| digest.as_str());
    let rows = [[lock.path.clone(), lock.state.word().into(), digest.into()]];
    page.table(["lock", "state", "digest"], rows);
    page.folded("What changed", "text", &[&lock.changes[..], &lock.corrected].concat().join("\n"));
    files(page, &lock.files);
}

fn files(page: &mut Page, list: &[Rendered]) {
    let rows = list
        .iter()
        .map(|file| [file.path.clone(), file.kind.to_owned(), file.state.word().to_owned()]);
    page.table(["file", "kind", "state"], rows);
    page.folded("Differences", "diff", &differences(list));
}

/// The same of a lock, as far as it says it.
fn locked(page: &mut Page, lock: &Lockfile) {
    let rows = lock.targets.iter().flat_map(|target| {
        target.gpus.iter().map(move |gpu| {
            [
                target.name.to_string(),
                gpu.name.to_string(),
                gpu.capability.to_string(),
                format!("{}+{}", target.torch, target.variant),
                target.python.to_string(),
                target.cuda.to_string(),
                target.driver.min.map_or_else(|| "unknown".into(), |min| format!("{min} or newer")),
                target.platform.to_string(),
                format!("`{}:{}`", target.base.repository, target.base.tag),
            ]
        })
    });
    page.table(
        [
            "target",
            "card",
            "capability",
            "torch",
            "Python",
            "CUDA",
            "driver",
            "platform",
            "base image",
        ],
        rows,
    );
}

/// The answer of `lock --check`.
pub fn checked(found: &Found<'_>, lock: &Standing) -> String {
    let fresh = lock.state == State::Unchanged && lock.verdict() == Code::Ok;
    let summary = if fresh { format!("`{}` is up to date.", lock.path) } else { String::new() };
    Page::of(found, lock.verdict().word(), &summary, |page| {
        if let Some(lock) = &lock.lock {
            locked(page, lock);
        }
        standing(page, lock);
    })
}

/// The answer of `render`.
pub fn rendered(found: &Found<'_>, lock: &Lockfile, list: &[Rendered]) -> String {
    let word = if found.exit == Exit::Done { Code::Ok } else { Code::LockStale };
    let summary = format!("From the lock `{}`.", lock.digest());
    Page::of(found, word.word(), &summary, |page| {
        locked(page, lock);
        files(page, list);
    })
}

/// The answer of `check`.
pub fn check(found: &Found<'_>, judgement: &Judgement<'_>) -> String {
    let verdict = judgement.verdict;
    Page::of(found, verdict.word(), verdict.meaning(), |page| {
        let torch = judgement.wheel.as_ref().map_or_else(String::new, Wheel::name);
        let driver = driver_words(&judgement.driver).unwrap_or_default();
        let rows = judgement.gpus.iter().map(|gpu| {
            [
                card(gpu),
                gpu.gpu.capability.to_string(),
                gpu.served.map_or_else(String::new, served),
                torch.clone(),
                driver.clone(),
            ]
        });
        page.table(["card", "capability", "served by", "torch", "driver"], rows);
        page.add(&format!(
            "\nNot given, so not judged: {}.\n",
            escaped(&judgement.not_judged.join(", "))
        ));
    })
}

/// An error: the command came to no answer.
pub fn failure(found: &Found<'_>) -> String {
    Page::of(found, "error", "The command did not come to its answer.", |_| ())
}

/// The answer of `why`: a table for each target.
pub fn chains(found: &Found<'_>, chains: &[Chain]) -> String {
    Page::of(found, "ok", "", |page| {
        for chain in chains {
            page.add(&format!("\n**{}**\n", escaped(&chain.name)));
            let rows = chain
                .links
                .iter()
                .map(|link| [link.link.to_owned(), link.text.clone(), link.source.clone()]);
            page.table(["link", "what holds", "source"], rows);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Finding;

    #[test]
    fn what_users_write_is_no_markup() {
        assert_eq!(
            escaped("`a` <b> [x](y) @me #1 ![i](j) a|b\n- c"),
            "<code>a</code> &#60;b&#62; &#91;x&#93;(y) &#64;<!-- -->me &#35;<!-- -->1 &#33;&#91;i&#93;(j) a&#124;b - c"
        );
        assert_eq!(escaped("- a `b` ` c"), "&#45; a <code>b</code> &#96; c");
        assert_eq!(escaped("see https://example.org"), "see https&#58;<!-- -->//example.org");
        assert_eq!(escaped("a@b.c Www.x"), "a&#64;<!-- -->b.c Www<!-- -->.x");
        assert_eq!(
            fenced("text", "a\n````\n\u{1b}[31mred\u{1b}[0m\r\u{7}b"),
            "`````text\na\n````\nredb\n`````\n"
        );
    }

    #[test]
    fn a_page_is_cut_between_blocks_and_says_so() {
        let findings: Vec<Finding> = (0..20_000)
            .map(|n| {
                Finding::new(Code::Slow, Severity::Error, format!("finding {n} {}", "x".repeat(60)))
            })
            .collect();
        let found = Found::new("doctor", Exit::No, None).with("", None, &findings);
        let text = Page::of(&found, "slow", "", |page| {
            page.folded("all", "text", &"y\n".repeat(1_000_000));
        });
        assert!(text.len() < MOST + 500, "{}", text.len());
        assert!(text.contains("This is not all of it") && text.contains("... and more"));
        assert!(text.lines().filter(|l| l.starts_with("* **error**")).all(|l| l.ends_with('x')));
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    }
}
