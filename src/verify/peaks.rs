//! What a card can do at most, by data type: rows of the matrix.

use super::Device;
use super::numerics::Dtype;

/// Dense peaks of cards.
#[derive(Debug, Clone, Default)]
pub struct Peaks {}

impl Peaks {
    /// Dense peak of a device in TFLOP/s (TOPS of int8), as far as it is known.
    pub fn of(&self, _device: &Device) -> Vec<(Dtype, f64)> {
        Vec::new()
    }
}
