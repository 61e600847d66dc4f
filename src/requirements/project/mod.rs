//! What a project's own files say: every demand with its file and line, and what contradicts what.
//!
//! The files are read as text. Nothing of the project is run, nothing is fetched, nothing outside the
//! project is opened, and no credential leaves `source`: it is masked before a reader sees the text.

mod answers;
mod compare;
mod config;
mod demand;
mod discover;
mod formats;
mod judge;
mod link;
mod marker;
mod reader;
mod requirement;
mod source;

pub use crate::domain::Setting;
pub use answers::{Answer, Said, Wish};
pub use compare::contradict;
pub use demand::{
    By, Choice, CudaSaid, Demand, Environment, FileRead, Image, Index, Kind, Link, Pin, Project,
    PythonSaid,
};
pub use discover::{files, folder};
pub(crate) use link::mask;
pub use marker::Marker;
pub use source::Files;
