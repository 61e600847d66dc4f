//! The only HTTP client: indexes, wheels, registries, and the cache of what they said.
//!
//! Async stays here and in `cli`. Nothing here prints: a watcher is told, and `cli` speaks.

pub mod settings;
