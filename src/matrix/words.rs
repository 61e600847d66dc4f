//! What no verdict rests on: messages that programs print, and the pages of finding codes.

use serde::{Deserialize, Serialize};

use super::model::Evidence;
use crate::domain::Code;

/// What is only told: messages of programs, and pages of codes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Words {
    /// What programs print when something is broken.
    pub messages: Vec<Message>,
    /// A page for each finding code.
    pub pages: Vec<Page>,
}

/// How much a message says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tells {
    /// The cause.
    Cause,
    /// That something is broken; several causes end in it.
    Symptom,
    /// Nothing alone: healthy machines print it too.
    Hint,
}

/// How sure a cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Nothing else prints it.
    Certain,
    /// Nearly always.
    Likely,
    /// The most frequent of several.
    Possible,
}

/// What a program prints when something of the chain is broken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub code: Code,
    /// How much it says by itself.
    pub tells: Tells,
    /// Fragments, any of which is the message. Case and white space do not count.
    pub text: Vec<String>,
    /// Must hold in the lines around the fragment. Named groups fill holes.
    pub pattern: Option<String>,
    /// One of these must stand in the neighbourhood.
    pub beside: Vec<String>,
    /// None of these may stand in the lines around the fragment.
    pub unless: Vec<String>,
    /// Messages that are only its consequence when both are met.
    pub hides: Vec<String>,
    /// How sure the cause is.
    pub certainty: Certainty,
    /// The cause in one sentence, with holes: `{driver}`, `{driver|this driver}`.
    pub cause: String,
    /// What to do, cheapest first. A line with a hole that nothing fills is left out.
    pub fix: Vec<String>,
    /// Reports in which it was met.
    pub seen: Vec<String>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}

/// The page of a finding code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// What it means, in paragraphs.
    pub means: String,
    /// How to see it oneself.
    pub look: Vec<String>,
    /// What to do, cheapest first.
    pub fixes: Vec<String>,
    /// Codes it is taken for, and how to tell them apart.
    pub confused: Vec<(Code, String)>,
    /// Why it is believed.
    pub evidence: Vec<Evidence>,
}
