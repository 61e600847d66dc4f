//! Facts about the machine that this program runs on. Measures, and judges nothing.
//!
//! [`Facts`] is the record; [`collect`] fills it. `kernel` is what `--gpu host` needs: cards and
//! driver as the kernel module tells them in procfs, which needs no library and no rights. `nvml` and
//! `cuda` ask the driver's libraries, each in a child of this program: see `probe`.

pub mod child;
pub mod cuda;
mod facts;
mod kernel;
pub mod nvml;
pub mod probe;
pub mod smi;

pub use facts::*;
pub use kernel::{Error, Host, look};
