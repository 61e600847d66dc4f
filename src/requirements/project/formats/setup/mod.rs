//! setuptools: setup.cfg, and a look at setup.py that runs nothing of it.

mod bindings;
mod literal;
mod python;
pub mod setup_cfg;
pub mod setup_py;

use super::{demand, link, marker, reader, requirement, source, txt};
