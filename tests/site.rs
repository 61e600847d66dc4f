//! docs/site/index.html: a page on which one chooses card, driver and Python and reads what the program
//! would say. Everything on it comes from the solver; the page only looks up.
//! After a change of the matrix or of docs/site/page.html: `UPDATE_DOCS=1 cargo test --test site`.

mod support;

#[path = "site/cards.rs"]
mod cards;
#[path = "site/grid.rs"]
mod grid;
#[path = "site/lookup.rs"]
mod lookup;
#[path = "site/page.rs"]
mod page;

use std::fmt::Write as _;
use std::sync::LazyLock;

use gpuseal::domain::{Finding, Platform, PythonVersion};
use gpuseal::matrix::Matrix;
use gpuseal::report::why::Chain;
use gpuseal::resolve::case::Driver;
use gpuseal::resolve::{Outcome, resolve};
use grid::Grid;
use lookup::{Page, Question, Said};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;
use support::{root, run};

/// Largest page, in bytes: it has to open at once from a slow disk or network.
const LARGEST: usize = 1_500_000;

fn template() -> String {
    fs_err::read_to_string(root().join("docs/site/page.html"))
        .expect("a page")
        .replace("\r\n", "\n")
}

/// What stands in docs/site, after it was written anew where that is asked for; and what was made for it.
static WRITTEN: LazyLock<(String, Option<String>)> = LazyLock::new(|| {
    let path = root().join("docs/site/index.html");
    let fresh = std::env::var_os("UPDATE_DOCS").map(|_| {
        let html = made();
        fs_err::write(&path, &html).expect("a file");
        html
    });
    (fs_err::read_to_string(path).expect("docs/site/index.html").replace("\r\n", "\n"), fresh)
});

fn made() -> String {
    page::page(&template(), &page::data(&Grid::new()))
}

#[test]
fn docs_show_the_same_page() {
    let (stands, fresh) = &*WRITTEN;
    let made = fresh.clone().unwrap_or_else(made);
    assert!(
        *stands == made,
        "docs/site/index.html is old: `UPDATE_DOCS=1 cargo test --test site` writes it"
    );
    assert!(made.len() < LARGEST, "{} bytes", made.len());
}

/// As many numbers as one likes, the same on each run.
struct Dice(TestRng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(end).expect("a size")).expect("a size")
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// A driver as people type it: none, a branch, one that the matrix names, or any number of a branch.
fn driver(dice: &mut Dice, page: &Page, matrix: &Matrix) -> Option<String> {
    let branch = *dice.one(&page.branches());
    match dice.below(8) {
        0 => None,
        1 | 2 => Some(branch.to_string()),
        3 | 4 => {
            let listed = matrix.first_listed.iter().filter_map(|row| row.version);
            let toolkits = matrix.toolkits.iter().filter_map(|row| row.driver);
            let known: Vec<String> = listed
                .chain(toolkits)
                .filter(|v| page.branches().contains(&u64::from(v.branch)) && !v.is_bare_branch())
                .map(|v| v.to_string())
                .collect();
            Some(dice.one(&known).clone())
        }
        _ => Some(format!("{branch}.{:02}.{:02}", dice.below(250), dice.below(20))),
    }
}

fn finding(finding: &Finding) -> String {
    let mut said = format!(
        "{} {} {}",
        json!(finding.code),
        json!(finding.severity.to_string()),
        finding.message
    );
    for fact in &finding.facts {
        let _ = write!(said, "\n= {} [{}]", fact.text, fact.source);
    }
    said
}

/// What the solver says to a question of the page.
fn solved(question: &Question, page: &Page, matrix: &Matrix) -> Said {
    let card = matrix.gpu(&page.cards()[question.card].1).expect("a card");
    let python: Option<PythonVersion> =
        page.texts("pythons")[question.python].as_ref().map(|p| p.parse().expect("a Python"));
    let platform: Platform = page.texts("platforms")[question.platform]
        .as_ref()
        .expect("a platform")
        .parse()
        .expect("a platform");
    let mut problem = grid::problem(&card, None, python, platform, matrix);
    problem.targets[0].driver = question
        .driver
        .as_ref()
        .map(|d| Driver::place(d.parse().expect("a driver"), matrix).expect("a branch"));
    match resolve(&problem, matrix) {
        Outcome::Solved(found) => {
            let stack = &found.stacks[0];
            let links = Chain::of(stack, &problem, 0, matrix).links;
            Said::Fits {
                torch: format!("{}+{}", stack.torch, stack.variant),
                floor: stack.driver.min.map(|v| v.to_string()),
                links: links.iter().map(lookup::plain).collect(),
                // The page says itself how a branch was read.
                notes: stack.findings.iter().map(finding).collect(),
            }
        }
        Outcome::Unsatisfiable(why) | Outcome::Unknown(why) => Said::None {
            unknown: why.unknown,
            clash: why.clash,
            reasons: why.reasons.iter().map(finding).collect(),
            cures: why.cures.iter().map(|c| format!("{} -> {}", c.change, c.gives)).collect(),
        },
    }
}

fn without_reading(mut said: Said) -> Said {
    if let Said::Fits { notes, .. } = &mut said {
        notes.retain(|note| !note.contains(" was read as "));
    }
    said
}

/// Word for word, the sources too. `SITE_QUESTIONS=20000` asks that many others.
#[test]
fn the_page_says_what_the_solver_says() {
    let page = Page::read(&WRITTEN.0);
    let matrix = Matrix::embedded();
    let asked = std::env::var("SITE_QUESTIONS").ok().and_then(|n| n.parse().ok());
    let mut seed = [0; 32];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    seed[..16].copy_from_slice(&now.expect("a clock").as_nanos().to_le_bytes());
    let mut dice = Dice(match asked {
        Some(_) => TestRng::from_seed(RngAlgorithm::ChaCha, &seed),
        None => TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    });
    let (mut fit, mut none) = (0, 0);
    for _ in 0..asked.unwrap_or(240) {
        let question = Question {
            card: dice.below(page.cards().len()),
            driver: driver(&mut dice, &page, &matrix),
            python: dice.below(page.texts("pythons").len()),
            platform: dice.below(2),
        };
        let (read, said) = (page.answer(&question), solved(&question, &page, &matrix));
        match said {
            Said::Fits { .. } => fit += 1,
            Said::None { .. } => none += 1,
        }
        let card = &page.cards()[question.card].1;
        assert_eq!(without_reading(read), without_reading(said), "{card}: {question:?}");
    }
    assert!(fit > 50 && none > 50, "{fit} fit, {none} do not");
}

/// The command that the page shows gives the answer that the page shows.
#[test]
fn the_page_says_what_the_command_line_says() {
    let page = Page::read(&WRITTEN.0);
    let matrix = Matrix::embedded();
    let mut dice = Dice(TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let folder = support::folder(&[]);
    for _ in 0..40 {
        let question = Question {
            card: dice.below(page.cards().len()),
            driver: driver(&mut dice, &page, &matrix),
            python: dice.below(page.texts("pythons").len()),
            platform: dice.below(2),
        };
        let card = page.cards()[question.card].1.clone();
        let platform = page.texts("platforms")[question.platform].clone().expect("a platform");
        let mut line = vec!["resolve".to_owned(), "--format=json".into(), "--gpu".into(), card];
        line.extend(["--platform".into(), platform]);
        for (flag, value) in [
            ("--driver", question.driver.clone()),
            ("--python", page.texts("pythons")[question.python].clone()),
        ] {
            line.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        let run = run(folder.path(), &line);
        let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("a document");
        let target = &told["targets"][0];
        match page.answer(&question) {
            Said::Fits { torch, floor, .. } => {
                assert_eq!(run.code, 0, "{line:?}");
                let text =
                    |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let build = format!(
                    "{}+{}",
                    text(&target["torch"]["version"]),
                    text(&target["torch"]["variant"])
                );
                assert_eq!(torch, build, "{line:?}");
                assert_eq!(floor.unwrap_or_default(), text(&target["driver"]["min"]), "{line:?}");
            }
            Said::None { unknown, .. } => {
                assert_eq!(run.code, if unknown { 5 } else { 1 }, "{line:?}");
            }
        }
    }
}

/// What stands in the matrix cannot end the script that holds it, nor start another.
#[test]
fn data_stays_data() {
    let hostile = "</script><script>alert(1)</script><!-- \u{2028}";
    let html = page::page(&template(), &json!({ "texts": [hostile], "cards": [], "grid": [] }));
    let open = "<script type=\"application/json\" id=\"data\">";
    let rest = html.split(open).nth(1).expect("the data");
    let data = rest.split("</script>").next().expect("an end");
    assert!(!data.contains('<'), "{data}");
    let read: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(read["texts"][0], hostile);
    assert_eq!(html.matches("<script").count(), 2);
}

/// It works from a file, and asks nobody.
#[test]
fn the_page_stands_alone() {
    let html = &WRITTEN.0;
    assert!(html.contains("default-src 'none'") && !html.contains("unsafe-"));
    for word in ["-HASH", "PAGE-DATA", "@import", "url(", "<link", "<img", "<iframe", " src="] {
        assert!(!html.contains(word), "the page holds `{word}`");
    }
    let script = html.split("<script>").nth(1).expect("a script");
    for word in ["fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "import(", "innerHTML"] {
        assert!(!script.contains(word), "the script holds `{word}`");
    }
    let places = ["../chart.html", "https://github.com/gpuseal/gpuseal"];
    for link in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(places.contains(&link), "a link to {link}");
    }
    for host in [concat!("pypi", ".org"), concat!("python", "hosted"), concat!("npm", "js")] {
        assert!(!html.contains(host), "the page names {host}");
    }
}
