//! The only HTTP client: indexes, wheels, registries, and the cache of what they said.
//!
//! Async stays here and in `cli`. Nothing here prints: a watcher is told, and `cli` speaks.
//!
//! Whatever a server says is hostile until shown otherwise: sizes, counts, waits and redirects have
//! caps, and a file with a known digest must have it. `HEAD` is never sent: servers lie there more
//! often than in an answer that they have to fill.

mod auth;
mod body;
mod cache;
mod client;
mod download;
mod error;
mod names;
mod parts;
mod place;
mod range;
pub mod registry;
mod retry;
pub mod settings;
mod stored;
mod tls;
pub mod wheel;
mod wire;

pub use auth::Keyring;
pub use cache::Cache;
pub use client::{Client, Options, Page, Request, Silent, Traffic, Watcher};
pub use download::{Download, Expect};
pub use error::{Error, Phase};
pub use place::{Origin, masked};
pub use range::{Part, Want};
