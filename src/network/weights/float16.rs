//! The two 16-bit floating-point formats of weights files. The crate `half`, which the CUDA engine packs weights with and
//! the tests compare with, would bring four crates to everybody who reads a weights file.

/// 2^-24: the distance of the smallest numbers of f16.
const SMALLEST_F16: f32 = 1.0 / 16_777_216.0;
/// What is added to the exponent of an f16 to make it that of an f32, at its place there.
const REBIAS: u32 = (127 - 15) << 23;

/// The value of an IEEE 754 half-precision number.
pub fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let magnitude = match magnitude {
        0..0x0400 => (magnitude as f32 * SMALLEST_F16).to_bits(),
        0x0400..0x7c00 => (magnitude << 13) + REBIAS,
        0x7c00 => 0x7f80_0000,
        // Not a number: the quiet one, as processors make of it.
        _ => (magnitude << 13) | 0x7fc0_0000,
    };
    f32::from_bits(sign | magnitude)
}

/// The half-precision number nearest to a value, the even one of two that are as near; infinite where it is too large.
pub fn to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let nearest = match f32::from_bits(magnitude) {
        nan if nan.is_nan() => 0x7e00 | (magnitude >> 13) as u16 & 0x01ff,
        // Half of the distance above the largest number.
        large if large >= 65_520.0 => 0x7c00,
        small if small < 1024.0 * SMALLEST_F16 => (small / SMALLEST_F16).round_ties_even() as u16,
        _ => ((magnitude - REBIAS + 0x0fff + ((magnitude >> 13) & 1)) >> 13) as u16,
    };
    sign | nearest
}

/// The value of a bfloat16 number, the upper half of a single.
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bfloat16 number nearest to a value, the even one of two that are as near; infinite where it is too large.
pub fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x0040;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn every_number_has_the_value_that_the_half_crate_gives_it() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (from_f16(bits), f16::from_bits(bits).to_f32());
            assert_eq!(found.to_bits(), expected.to_bits(), "{bits:#06x}: {found} and {expected}");
            let (found, expected) = (from_bf16(bits), bf16::from_bits(bits).to_f32());
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{bits:#06x}: {found} and {expected}");
        }
    }

    /// Each number, the middles between neighbours, and what lies beside both.
    #[test]
    fn values_are_rounded_as_the_half_crate_rounds_them() {
        let around = |value: f32| (-2..=2).map(move |step: i32| f32::from_bits(value.to_bits().wrapping_add_signed(step)));
        for bits in 0..u16::MAX {
            let of_f16 = [from_f16(bits), (from_f16(bits) + from_f16(bits + 1)) / 2.0];
            let of_bf16 = [from_bf16(bits), f32::from_bits((u32::from(bits) << 16) + 0x8000)];
            for value in of_f16.into_iter().chain(of_bf16).flat_map(around) {
                assert_eq!(to_f16(value), f16::from_f32(value).to_bits(), "f16 of {value:e}");
                assert_eq!(to_bf16(value), bf16::from_f32(value).to_bits(), "bf16 of {value:e}");
            }
        }
        for value in [65_504.0, 65_519.99, 65_520.0, -65_520.0, f32::MAX, f32::INFINITY, f32::MIN_POSITIVE, 1e-45] {
            assert_eq!(to_f16(value), f16::from_f32(value).to_bits(), "f16 of {value:e}");
            assert_eq!(to_bf16(value), bf16::from_f32(value).to_bits(), "bf16 of {value:e}");
        }
    }
}
