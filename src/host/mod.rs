//! Facts about the machine that this program runs on. Measures, and judges nothing.
//!
//! [`Facts`] is the record; [`collect`] fills it. `kernel` is what `--gpu host` needs: cards and
//! driver as the kernel module tells them in procfs, which needs no library and no rights.

mod facts;
mod kernel;
pub mod smi;

pub use facts::*;
pub use kernel::{Error, Host, look};
