//! What a project's own files say: every demand with its file and line, and what contradicts what.
//!
//! The files are read as text. Nothing of the project is run, nothing is fetched, nothing outside the
//! project is opened, and no credential leaves [`source`]: it is masked before a reader sees the text.

mod answers;
mod bindings;
mod cog;
mod conda;
mod condition;
mod config;
mod demand;
mod discover;
mod dockerfile;
mod envs;
mod fields;
mod judge;
mod link;
mod literal;
mod local;
mod locks;
mod marker;
mod matchspec;
mod pipfile;
mod pixi;
mod poetry;
mod pyproject;
mod python;
mod reader;
mod requirement;
mod setup_cfg;
mod setup_py;
mod source;
mod txt;
mod uv;

pub use answers::{Answer, Said, Wish};
pub use demand::{
    By, Choice, CudaSaid, Demand, FileRead, Image, Index, Kind, Link, Pin, Project, PythonSaid,
};
pub use discover::{files, folder};
pub use marker::{Marker, Setting};
pub use source::Files;
