//! One reader for each format. A reader puts what a file says into the `Project`, judges nothing, and
//! reports what only running or fetching would tell.

pub mod cog;
pub mod conda;
pub mod dockerfile;
pub mod envs;
mod fields;
mod local;
pub mod locks;
mod matchspec;
pub mod pipfile;
pub mod pixi;
mod poetry;
pub mod pyproject;
pub mod setup;
pub mod txt;
mod uv;

// What every reader builds on, one floor up.
use super::{demand, link, marker, reader, requirement, source};
