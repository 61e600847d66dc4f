//! The one list of checks, in the order of the chain.

use super::Check;

/// Every check.
pub const REGISTRY: &[Check] = &[];
