//! From requirements and matrix to a stack, or to the reason why there is none.
//!
//! Pure: no clock, environment, file or socket. `physics` answers the three questions about one
//! card, one file and one driver; `judge` judges a whole combination; `solve` searches; `explain`
//! finds the smallest clash and the cheapest cures, each solved again.

mod alternatives;
mod base;
pub mod case;
mod companion;
mod environment;
mod explain;
pub mod judge;
mod layer;
mod parts;
pub mod physics;
mod pinned;
mod problem;
mod solve;
mod stack;

use crate::matrix::Matrix;

pub use explain::{Cure, Demand, Explanation};
pub use judge::{DriverBounds, DriverMode, JudgedGpu, Judgement, judge};
pub use parts::{Fixed, Part, Parts, parts, resolve_parts};
pub use pinned::{Pinned, Unpinned, pinned};
pub use problem::{Kept, Pool, Problem, Unplaced, place_gpu};
pub use stack::{Alternative, BaseChoice, LeftOut, Pin, PinIndex, Resolution, Stack};

/// What `resolve` comes to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A stack for every target.
    Solved(Resolution),
    /// There is none, and why.
    Unsatisfiable(Explanation),
    /// Nothing is known to work, but some builds could not be judged.
    Unknown(Explanation),
}

/// Solves `problem`, with alternatives; or explains.
pub fn resolve(problem: &Problem, matrix: &Matrix) -> Outcome {
    if let Some(mut resolution) = solve::solve(problem, matrix) {
        alternatives::add(&mut resolution, problem, matrix);
        Outcome::Solved(resolution)
    } else {
        let explanation = explain::explain(problem, matrix);
        if explanation.unknown {
            Outcome::Unknown(explanation)
        } else {
            Outcome::Unsatisfiable(explanation)
        }
    }
}

/// Whether `problem` has an answer, without alternatives or explanations.
pub fn solves(problem: &Problem, matrix: &Matrix) -> Option<Resolution> {
    solve::solve(problem, matrix)
}
