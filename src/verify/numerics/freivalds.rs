//! Whether a matrix is the product of two others, in the time that it takes to read them.
//!
//! Freivalds: for a random vector x, C x is compared with A (B x). Over the integers modulo the prime
//! p = 2^61 - 1 a wrong row is missed with a probability of 1 / p, and there is no tolerance. The same from the
//! left names the wrong columns, so that every wrong element lies where a wrong row and a wrong column cross.
//!
//! Source: R. Freivalds, Probabilistic machines can use less running time (IFIP 1977).

use super::Shape;
use super::random::Rng;

/// A Mersenne prime, so that 61 random bits are a number below it but for one case.
const P: u64 = (1 << 61) - 1;

/// A matrix by rows.
struct Matrix<'v> {
    values: &'v [i32],
    width: usize,
}

impl Matrix<'_> {
    /// The matrix times a vector.
    fn times(&self, x: &[u64]) -> Vec<u64> {
        let rows = self.values.chunks_exact(self.width);
        // 2^31 times 2^61, and no more than 2^32 of them: the sum has room.
        let sum = |row: &[i32]| row.iter().zip(x).map(|(v, x)| product(*v, *x)).sum();
        rows.map(|row| modulo(sum(row))).collect()
    }

    /// A vector times the matrix.
    fn weighted(&self, x: &[u64]) -> Vec<u64> {
        let mut sums = vec![0_i128; self.width];
        for (row, x) in self.values.chunks_exact(self.width).zip(x) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += product(*value, *x);
            }
        }
        sums.into_iter().map(modulo).collect()
    }
}

fn product(value: i32, x: u64) -> i128 {
    i128::from(value) * i128::from(x)
}

fn modulo(sum: i128) -> u64 {
    sum.rem_euclid(i128::from(P)) as u64
}

fn vector(length: usize, rng: &mut Rng) -> Vec<u64> {
    (0..length).map(|_| (rng.bits() >> 3) % P).collect()
}

/// For each row and each column of C whether it is wrong, in the layout of [`super`].
pub fn wrong(
    shape: Shape,
    a: &[i32],
    b: &[i32],
    c: &[i32],
    rng: &mut Rng,
) -> (Vec<bool>, Vec<bool>) {
    let (a, b) = (Matrix { values: a, width: shape.k }, Matrix { values: b, width: shape.k });
    let c = Matrix { values: c, width: shape.m };
    let x = vector(shape.n, rng);
    let rows = differ(&c.weighted(&x), &a.times(&b.weighted(&x)));
    let y = vector(shape.m, rng);
    let columns = differ(&c.times(&y), &b.times(&a.weighted(&y)));
    (rows, columns)
}

fn differ(left: &[u64], right: &[u64]) -> Vec<bool> {
    left.iter().zip(right).map(|(left, right)| left != right).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_wrong_is_found_and_nothing_else(
            (m, n, k) in (1_usize..20, 1_usize..20, 1_usize..20),
            seed in any::<u64>(),
            changes in proptest::collection::vec((any::<usize>(), any::<i32>()), 0..4),
        ) {
            let shape = Shape { m, n, k };
            let mut rng = Rng::new(seed, 0);
            let a: Vec<i32> = (0..m * k).map(|_| rng.between(-4095, 4095)).collect();
            let b: Vec<i32> = (0..n * k).map(|_| rng.between(-128, 127)).collect();
            let right: Vec<i32> = (0..n * m)
                .map(|at| {
                    let (j, i) = (at / m, at % m);
                    (0..k).map(|x| a[i * k + x] * b[j * k + x]).sum()
                })
                .collect();
            let mut c = right.clone();
            for (at, change) in changes {
                let at = at % c.len();
                c[at] = c[at].wrapping_add(change);
            }
            let is_wrong = |i: usize, j: usize| c[j * m + i] != right[j * m + i];
            let rows: Vec<bool> = (0..m).map(|i| (0..n).any(|j| is_wrong(i, j))).collect();
            let columns: Vec<bool> = (0..n).map(|j| (0..m).any(|i| is_wrong(i, j))).collect();
            prop_assert_eq!(wrong(shape, &a, &b, &c, &mut rng), (rows, columns));
        }
    }
}
