//! Random numbers that are the same on every machine and in every version, because results are compared by
//! their digests over a whole fleet. The generators of `rand` change with its versions, and a normal
//! distribution by logarithm and cosine with the C library: hence SplitMix64, and sums of uniform numbers.
//!
//! Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).

/// The golden ratio in 64 bits, by which the state goes on.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Stream number `stream` of a seed. Streams have nothing to do with each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self { state: seed };
        let start = rng.bits() ^ stream;
        Self { state: Self { state: start }.bits() }
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number from zero up to this one, which it never is. Its bias is below one in 2^32.
    pub fn below(&mut self, end: u32) -> u32 {
        ((self.bits() >> 32).wrapping_mul(u64::from(end)) >> 32) as u32
    }

    /// From `low` to `high`, both of them too.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low.wrapping_add_unsigned(self.below(high.abs_diff(low) + 1))
    }

    /// 1 or -1.
    pub const fn sign(&mut self) -> i32 {
        if self.bits() >> 63 == 0 { 1 } else { -1 }
    }

    /// A bell around zero with variance one, made of four uniform numbers: normal but for its ends, which lie
    /// at 3.46. The factor fills the mantissa.
    pub fn normal(&mut self) -> f64 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xFFFF).sum();
        (sum as f64 / 65536.0 - 2.0) * 3.0_f64.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_sequence() {
        let mut rng = Rng { state: 1_234_567 };
        assert_eq!(
            [rng.bits(), rng.bits(), rng.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn its_numbers_are_spread_as_they_should() {
        let mut rng = Rng::new(1, 2);
        assert_ne!(rng.bits(), Rng::new(1, 3).bits());
        let values: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[(rng.between(-1, 1) + 1) as usize] += 1);
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }
}
