//! Facts about the machine that this program runs on. Measures, and judges nothing.
//!
//! [`Facts`] is the record; [`collect()`] fills it. `kernel` is what `--gpu host` needs: cards and
//! driver as the kernel module tells them in procfs, which needs no library and no rights. `nvml` and
//! `cuda` ask the driver's libraries, each in a child of this program: see `probe`.

pub mod child;
mod collect;
mod container;
pub mod cuda;
mod devices;
mod engines;
mod facts;
mod kernel;
mod loader;
mod machine;
pub mod nvml;
pub mod probe;
mod python;
mod record;
pub mod smi;
mod system;
mod toolkits;
mod torch;

pub use collect::{Look, collect, files};
pub use container::is_here as in_container;
pub use facts::*;
pub use kernel::{Error, Host, look};
pub use record::RecordError;
pub use system::platform;

/// Container engines of this machine alone, which takes a moment where all of [`collect()`] takes seconds.
pub fn engines() -> Engines {
    engines::look(&machine::Machine::new(std::path::Path::new("/")))
}
