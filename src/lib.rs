#![doc = include_str!("../ARCHITECTURE.md")]

pub mod cli;
pub mod closure;
pub mod diagnose;
pub mod doctor;
pub mod domain;
pub mod error;
pub mod host;
pub mod index;
pub mod lock;
pub mod matrix;
pub mod net;
pub mod render;
pub mod report;
pub mod requirements;
pub mod resolve;
mod tree;
pub mod verify;
mod yaml;
