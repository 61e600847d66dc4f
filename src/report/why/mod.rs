//! Why a target gets what it gets: the chain from card to image, link by link, with the row of the
//! matrix that each link rests on.

mod choice;
mod links;

use std::fmt::Write as _;

use anstyle::Style;
use serde::Serialize;

use super::human::{DIM, paint};
use super::{json_v1, matrix_line};
use crate::matrix::{Evidence, Matrix};
use crate::resolve::{Problem, Stack};

const BOLD: Style = Style::new().bold();

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// `gpu`, `code`, `torch`, `choice`, `CUDA`, `driver` ...
    pub link: &'static str,
    /// What holds, in a sentence.
    pub text: String,
    /// The row and its best evidence; empty where it follows from other links.
    pub source: String,
}

impl Link {
    fn new(link: &'static str, text: impl Into<String>, source: impl Into<String>) -> Self {
        Self { link, text: text.into(), source: source.into() }
    }
}

/// The chain of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Name of the target.
    pub name: String,
    /// From the card to the image.
    pub links: Vec<Link>,
    #[serde(skip)]
    title: String,
}

impl Chain {
    /// The chain of `stack`, the answer for one target of `problem`, by its place there.
    pub fn of(stack: &Stack, problem: &Problem, target: usize, matrix: &Matrix) -> Self {
        let mut links = links::to_torch(stack, matrix);
        links.extend(choice::links(stack, problem, target, matrix));
        links.extend(links::from_torch(stack, matrix));
        let title = format!("{} ({}, Python {})", stack.target, stack.platform, stack.python);
        Self { name: stack.target.clone(), links, title }
    }
}

/// Chains for people.
pub fn human(chains: &[Chain], matrix: &Matrix) -> String {
    let mut text = String::new();
    for chain in chains {
        let _ = writeln!(text, "{}", paint(BOLD, &chain.title));
        for link in &chain.links {
            let source = if link.source.is_empty() {
                String::new()
            } else {
                paint(DIM, format!("  [{}]", link.source))
            };
            let _ = writeln!(text, "  {:<8}{}{source}", link.link, link.text);
        }
        text.push('\n');
    }
    let rows = "`gpuseal matrix show ROW` shows a row that is named in brackets";
    let _ = writeln!(text, "{}", paint(DIM, format!("{rows}; {}", matrix_line(matrix))));
    text
}

/// `gpuseal.why`
pub fn json(chains: &[Chain], matrix: &Matrix) -> String {
    json_v1::document(
        "gpuseal.why",
        matrix,
        serde_json::json!({ "result": "ok", "targets": chains }),
    )
}

/// A row, and the best evidence for one of its columns: `minor_compat/12, document: cuda.mvcdoc`.
fn cited(matrix: &Matrix, row: &str, evidence: &[Evidence], column: &str) -> String {
    let speaks = |what: Option<&str>| -> Vec<Evidence> {
        evidence.iter().filter(|e| e.what.as_deref() == what).cloned().collect()
    };
    // What speaks for another column says nothing here.
    let best = [speaks(Some(column)), speaks(None), evidence.to_vec()]
        .into_iter()
        .find(|list| !list.is_empty())
        .unwrap_or_default();
    format!("{row}, {}", matrix.cite_best(&best))
}
