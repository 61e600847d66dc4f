//! From a text that somebody's program printed to the cause and the fix.

mod paste;

pub use paste::facts;
