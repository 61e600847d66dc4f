//! What a project's own files say: every demand with its file and line, and what contradicts what.
//!
//! The files are read as text. Nothing of the project is run, nothing is fetched, nothing outside the
//! project is opened, and no credential leaves [`source`]: it is masked before a reader sees the text.

mod demand;
mod link;
mod local;
mod marker;
mod reader;
mod requirement;
mod source;
mod txt;

pub use demand::{
    By, Choice, CudaSaid, Demand, FileRead, Image, Index, Kind, Link, Pin, Project, PythonSaid,
};
pub use marker::{Marker, Setting};
