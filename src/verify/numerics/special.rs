//! Infinity and what is no number: one row of A has a NaN and one column of B an infinity, and exactly that row
//! and that column of the result show it. FP8 has no infinity, so that there both are NaN.

use super::exact::Case;
use super::random::Rng;
use super::{Dtype, Operands, Output, Shape};

const SHAPE: Shape = Shape { m: 32, n: 32, k: 64 };

/// A product with two special numbers.
pub struct Special {
    /// What goes in.
    pub operands: Operands,
    plain: Case,
    row: usize,
    column: usize,
    /// Where in its column the infinity stands.
    at: usize,
}

impl Special {
    /// Draws one; `None`: integers have no special numbers.
    pub fn draw(dtype: Dtype, rng: &mut Rng) -> Option<Self> {
        if dtype == Dtype::Int8 {
            return None;
        }
        let mut signs = |rows: usize| (0..rows * SHAPE.k).map(|_| rng.sign()).collect::<Vec<i32>>();
        let plain = Case::of(dtype, SHAPE, signs(SHAPE.m), signs(SHAPE.n), 0);
        let mut somewhere = |length: usize| rng.below(length as u32) as usize;
        let (row, column, at) = (somewhere(SHAPE.m), somewhere(SHAPE.n), somewhere(SHAPE.k));
        let mut operands = plain.operands.clone();
        let infinity = if dtype == Dtype::E4m3 { f64::NAN } else { f64::INFINITY };
        let put = |to: &mut [u8], index: usize, value: f64| {
            to[index * dtype.bytes()..][..dtype.bytes()].copy_from_slice(&dtype.encode(&[value]));
        };
        put(&mut operands.a, row * SHAPE.k + somewhere(SHAPE.k), f64::NAN);
        put(&mut operands.b, column * SHAPE.k + at, infinity);
        Some(Self { operands, plain, row, column, at })
    }

    fn expected(&self, row: usize, column: usize) -> f64 {
        if row == self.row || column == self.column && self.operands.dtype == Dtype::E4m3 {
            f64::NAN
        } else if column == self.column {
            f64::INFINITY.copysign(f64::from(self.plain.a(row, self.at)))
        } else {
            f64::from(self.plain.element(row, column))
        }
    }

    /// What is wrong with a result; `None`: nothing is.
    pub fn judge(&self, output: Output, c: &[u8]) -> Option<String> {
        let found = output.decode(c);
        let places = (0..SHAPE.n).flat_map(|column| (0..SHAPE.m).map(move |row| (row, column)));
        let mut wrong = places.filter_map(|(row, column)| {
            let (found, right) = (found[column * SHAPE.m + row], self.expected(row, column));
            let same = found == right || found.is_nan() && right.is_nan();
            (!same).then_some((row, column, found, right))
        });
        let (row, column, found, right) = wrong.next()?;
        let count = 1 + wrong.count();
        Some(format!(
            "with NaN in row {} of A and {} in column {} of B, {count} elements are wrong: the first, row \
             {row}, column {column}, is {found} and must be {right}",
            self.row,
            if self.operands.dtype == Dtype::E4m3 { "NaN" } else { "infinity" },
            self.column,
        ))
    }
}
