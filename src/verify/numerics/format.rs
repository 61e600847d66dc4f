//! Numbers as bytes, as a device holds them, and back.

use super::{Dtype, Output};

/// A floating-point format with fewer bits than a double, of a sign, an exponent and a mantissa.
struct Float {
    /// Bits of the mantissa that are held.
    mantissa: i32,
    /// Exponent of the smallest normal number.
    lowest: i32,
    /// What stands for all that is too large: infinity, or the largest number of a format that has none.
    top: u32,
    /// What stands for no number.
    nan: u32,
}

const FP16: Float = Float { mantissa: 10, lowest: -14, top: 0x7C00, nan: 0x7E00 };
const BF16: Float = Float { mantissa: 7, lowest: -126, top: 0x7F80, nan: 0x7FC0 };
const TF32: Float = Float { mantissa: 10, lowest: -126, top: 0x3FC00, nan: 0x3FE00 };
/// OCP's E4M3: no infinity, so that the largest is 448; all bits set are no number.
const E4M3: Float = Float { mantissa: 3, lowest: -6, top: 0x7E, nan: 0x7F };

impl Float {
    /// To the nearest; of two that are equally near, to the even one. Without the sign.
    fn bits(&self, value: f64) -> u32 {
        if value.is_nan() {
            return self.nan;
        }
        let exponent = ((value.to_bits() >> 52) & 0x7FF) as i32 - 1023;
        // Below the lowest exponent the steps stay as they are: subnormal numbers.
        let exponent = exponent.max(self.lowest);
        let steps = (value.abs() / power(exponent - self.mantissa)).round_ties_even();
        // As many steps as the mantissa has, and more, carry into the exponent by themselves.
        let bits =
            (i64::from(exponent - self.lowest) << self.mantissa).saturating_add(steps as i64);
        bits.min(i64::from(self.top)) as u32
    }

    fn value(&self, bits: u32, infinite: bool) -> f64 {
        if infinite && bits == self.top {
            return f64::INFINITY;
        }
        if bits > self.top {
            return f64::NAN;
        }
        let (exponent, mantissa) = (bits >> self.mantissa, bits & ((1 << self.mantissa) - 1));
        let hidden = if exponent == 0 { 0 } else { 1 << self.mantissa };
        let scale = exponent.max(1).cast_signed() - 1 + self.lowest - self.mantissa;
        f64::from(mantissa + hidden) * power(scale)
    }
}

/// A power of two, in the range of normal doubles.
fn power(exponent: i32) -> f64 {
    f64::from_bits(u64::from((exponent.clamp(-1022, 1023) + 1023).cast_unsigned()) << 52)
}

/// The sign as the highest of so many bits.
fn sign(value: f64, bits: u32) -> u32 {
    u32::from(value.is_sign_negative()) << (bits - 1)
}

fn to_16(format: &Float, value: f64) -> [u8; 2] {
    ((format.bits(value) | sign(value, 16)) as u16).to_le_bytes()
}

fn from_16(format: &Float, bytes: [u8; 2]) -> f64 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    format.value(bits & 0x7FFF, true).copysign(signed(bits >> 15))
}

fn signed(bit: u32) -> f64 {
    if bit == 0 { 1.0 } else { -1.0 }
}

fn each<const N: usize>(values: &[f64], encode: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| encode(*value)).collect()
}

fn all<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| decode(*bytes)).collect()
}

impl Dtype {
    /// Numbers as operands hold them, rounded to the nearest, ties to even. TF32 is rounded to its 19 bits
    /// already here: what hardware does with the other 13 differs. FP8 and int8 stop at their largest number.
    pub fn encode(self, values: &[f64]) -> Vec<u8> {
        match self {
            Self::Fp32 => Output::F32.encode(values),
            Self::Tf32 => {
                each(values, |value| (TF32.bits(value) << 13 | sign(value, 32)).to_le_bytes())
            }
            Self::Fp16 => Output::F16.encode(values),
            Self::Bf16 => Output::Bf16.encode(values),
            Self::E4m3 => each(values, |value| [(E4M3.bits(value) | sign(value, 8)) as u8]),
            Self::Int8 => each(values, |value| (value.round_ties_even() as i8).to_le_bytes()),
        }
    }

    /// The numbers that operands hold.
    pub fn decode(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            Self::Fp32 | Self::Tf32 => Output::F32.decode(bytes),
            Self::Fp16 => Output::F16.decode(bytes),
            Self::Bf16 => Output::Bf16.decode(bytes),
            Self::E4m3 => all(bytes, |[byte]| {
                let bits = u32::from(byte);
                E4M3.value(bits & 0x7F, false).copysign(signed(bits >> 7))
            }),
            Self::Int8 => all(bytes, |byte| f64::from(i8::from_le_bytes(byte))),
        }
    }
}

impl Output {
    /// Numbers as a result holds them, rounded to the nearest, ties to even.
    pub fn encode(self, values: &[f64]) -> Vec<u8> {
        match self {
            Self::F32 => each(values, |value| (value as f32).to_le_bytes()),
            Self::F16 => each(values, |value| to_16(&FP16, value)),
            Self::Bf16 => each(values, |value| to_16(&BF16, value)),
            Self::I32 => each(values, |value| (value.round_ties_even() as i32).to_le_bytes()),
        }
    }

    /// The numbers that a result holds.
    pub fn decode(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            Self::F32 => all(bytes, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Self::F16 => all(bytes, |bytes| from_16(&FP16, bytes)),
            Self::Bf16 => all(bytes, |bytes| from_16(&BF16, bytes)),
            Self::I32 => all(bytes, |bytes| f64::from(i32::from_le_bytes(bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every finite number of a format in order, from zero up, with its bits.
    fn ladder(decode: impl Fn(u32) -> f64, top: u32) -> Vec<f64> {
        let values: Vec<f64> = (0..=top).map(decode).collect();
        assert!(values.is_sorted_by(|a, b| a < b), "bits and values have one order");
        values
    }

    /// Each number comes back as itself; halfway between two goes to the even one, a little more or less
    /// than halfway to the nearer one.
    fn rounds(values: &[f64], encode: impl Fn(f64) -> u32, sign: u32) {
        for (bits, pair) in (0_u32..).zip(values.windows(2)) {
            let half = f64::midpoint(pair[0], pair[1]);
            let even = bits + bits % 2;
            for (value, expected) in [
                (pair[0], bits),
                (half, even),
                (half.next_down(), bits),
                (half.next_up(), bits + 1),
                (pair[1], bits + 1),
            ] {
                assert_eq!(encode(value), expected, "{value:e}");
                assert_eq!(encode(-value), expected | sign, "-{value:e}");
            }
        }
    }

    fn bits_of_16(bytes: &[u8]) -> u32 {
        u32::from(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    #[test]
    fn every_half_and_every_bf16() {
        for (output, infinite, largest) in [
            (Output::F16, 0x7C00_u32, 65504.0),
            (Output::Bf16, 0x7F80, f64::from_bits(0x47EF_E000_0000_0000)),
        ] {
            let decode = |bits: u32| output.decode(&(bits as u16).to_le_bytes())[0];
            let values = ladder(decode, infinite);
            assert_eq!(values[infinite as usize], f64::INFINITY);
            assert_eq!(values[infinite as usize - 1], largest);
            rounds(&values[..infinite as usize], |v| bits_of_16(&output.encode(&[v])), 0x8000);
            for bits in 0..=0xFFFF_u32 {
                let (value, positive) = (decode(bits), decode(bits & 0x7FFF));
                assert_eq!(value.is_nan(), bits & 0x7FFF > infinite, "{bits:#x}");
                assert!(value.is_nan() || value == -positive || bits < 0x8000, "{bits:#x}");
                let again = bits_of_16(&output.encode(&[value]));
                assert!(again == bits || value.is_nan() && again & 0x7FFF > infinite, "{bits:#x}");
            }
            assert_eq!(bits_of_16(&output.encode(&[1e300])), infinite);
            assert_eq!(bits_of_16(&output.encode(&[f64::NEG_INFINITY])), infinite | 0x8000);
        }
        // Halfway to what would be the next number is too large already.
        assert_eq!(bits_of_16(&Output::F16.encode(&[65520.0])), 0x7C00);
        assert_eq!(bits_of_16(&Output::F16.encode(&[65519.9])), 0x7BFF);
    }

    #[test]
    fn bf16_is_the_upper_half_of_a_single() {
        for bits in (0..=0xFFFF_u32).filter(|bits| bits & 0x7FFF <= 0x7F80) {
            let single = f64::from(f32::from_bits(bits << 16));
            assert_eq!(Output::Bf16.decode(&(bits as u16).to_le_bytes()), [single]);
        }
    }

    #[test]
    fn every_e4m3() {
        let decode = |bits: u32| Dtype::E4m3.decode(&[bits as u8])[0];
        let encode = |value: f64| u32::from(Dtype::E4m3.encode(&[value])[0]);
        let values = ladder(decode, 0x7E);
        assert_eq!((values[0x7E], values[1], values[0x38]), (448.0, 0.001_953_125, 1.0));
        rounds(&values, encode, 0x80);
        assert!(decode(0x7F).is_nan() && decode(0xFF).is_nan());
        assert_eq!(
            (encode(f64::NAN) & 0x7F, encode(1e9), encode(f64::NEG_INFINITY)),
            (0x7F, 0x7E, 0xFE)
        );
        // 16 is held, 17 is not.
        assert_eq!((decode(encode(16.0)), decode(encode(17.0))), (16.0, 16.0));
    }

    #[test]
    fn tf32_holds_ten_bits_in_four_bytes() {
        let through = |value: f64| Dtype::Tf32.decode(&Dtype::Tf32.encode(&[value]))[0];
        for whole in 0..=2048_u32 {
            assert_eq!(through(f64::from(whole)), f64::from(whole));
        }
        assert_eq!((through(2049.0), through(2051.0), through(-2050.0)), (2048.0, 2052.0, -2050.0));
        assert_eq!((through(1e-45), through(1e40)), (0.0, f64::INFINITY));
        assert!(through(f64::NAN).is_nan());
        assert_eq!(Dtype::Tf32.encode(&[1.0]), 1.0_f32.to_le_bytes());
    }

    #[test]
    fn integers_stop_at_their_ends() {
        let values = [-200.0, -128.0, -0.5, 0.5, 1.5, 127.0, 128.0];
        let bytes = Dtype::Int8.encode(&values);
        assert_eq!(Dtype::Int8.decode(&bytes), [-128.0, -128.0, 0.0, 0.0, 2.0, 127.0, 127.0]);
        let bytes = Output::I32.encode(&[3e9, -3e9, 7.0]);
        assert_eq!(Output::I32.decode(&bytes), [2_147_483_647.0, -2_147_483_648.0, 7.0]);
    }

    #[test]
    fn a_byte_of_ones_is_the_poison_of_every_output() {
        for output in [Output::F32, Output::F16, Output::Bf16] {
            assert!(output.decode(&[0xFF; 4]).iter().all(|value| value.is_nan()));
        }
        assert_eq!(Output::I32.decode(&[0xFF; 4]), [-1.0]);
    }
}
