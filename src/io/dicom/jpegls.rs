//! JPEG-LS decoder for pictures of one component (ITU-T T.87 | ISO/IEC 14495-1), lossless and near-lossless.
//!
//! The `dicom` crates decode JPEG-LS by a C++ library; this is Rust alone. Names are those of the standard's annex A.

use super::error::DicomError;
use super::pixels::same_size;

/// Coding parameters (annex C.2.4.1) and the size of the picture.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    width: usize,
    height: usize,
    /// Bits a sample.
    precision: u32,
    maxval: i32,
    near: i32,
    thresholds: [i32; 3],
    reset: i32,
}

/// The samples of a JPEG-LS picture, row by row. `size`: the width and height that it must have.
///
/// # Errors
/// [`DicomError::Pixels`] where the picture has another size or more than one component, or is damaged or cut.
pub fn decode(bytes: &[u8], size: [usize; 2]) -> Result<Vec<u16>, DicomError> {
    let (parameters, scan) = header(bytes, size)?;
    let damaged = || DicomError::Pixels("JPEG-LS: the picture is damaged or cut".into());
    Scan::new(parameters, scan).decode().ok_or_else(damaged)
}

/// The parameters, and the bytes of the only scan.
fn header(bytes: &[u8], size: [usize; 2]) -> Result<(Parameters, &[u8]), DicomError> {
    let failed = |what: &str| DicomError::Pixels(format!("JPEG-LS: {what}"));
    let cut = || failed("the header is cut");
    let mut parameters = Parameters::default();
    let mut preset = [0_i32; 5];
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8]).ok_or_else(|| failed("no picture"))?;
    loop {
        let (marker, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let [0xFF, kind, high, low] = *marker else { return Err(failed("the header is damaged")) };
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(2).ok_or_else(cut)?;
        let (segment, after) = after.split_at_checked(length).ok_or_else(cut)?;
        let word = |n: usize| segment.get(n..n + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(cut);
        match kind {
            0xF7 => {
                parameters.precision = u32::from(*segment.first().ok_or_else(cut)?);
                (parameters.height, parameters.width) = (word(1)?.into(), word(3)?.into());
                if segment.get(5) != Some(&1) {
                    return Err(failed("more than one component"));
                }
            }
            0xF8 if segment.first() == Some(&1) => {
                for (n, value) in preset.iter_mut().enumerate() {
                    *value = word(1 + 2 * n)?.into();
                }
            }
            0xF8 => return Err(failed("palettes and large pictures are not decoded")),
            0xDD => return Err(failed("restart intervals are not decoded")),
            0xDA => {
                let &[1, _, _, near, 0, _] = segment else { return Err(failed("an interleaved or mapped scan")) };
                same_size([parameters.width, parameters.height], size)?;
                if !(2..=16).contains(&parameters.precision) {
                    return Err(failed("samples of other than 2 to 16 bits"));
                }
                parameters.near = near.into();
                return Ok((parameters.with(preset).ok_or_else(|| failed("parameters that cannot be"))?, after));
            }
            _ => {}
        }
        rest = after;
    }
}

impl Parameters {
    /// With those of an LSE segment (MAXVAL, T1, T2, T3, RESET; 0 for the default, C.2.4.1.1.1); `None` where they contradict each other.
    fn with(mut self, preset: [i32; 5]) -> Option<Parameters> {
        let near = self.near;
        self.maxval = if preset[0] > 0 { preset[0] } else { (1 << self.precision) - 1 };
        let clamp = |value: i32, least: i32| if value > self.maxval || value < least { least } else { value };
        let defaults = if self.maxval >= 128 {
            let factor = (self.maxval.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
        } else {
            let factor = 256 / (self.maxval + 1);
            [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
        };
        let mut least = near + 1;
        for n in 0..3 {
            let default = clamp(defaults[n], least);
            self.thresholds[n] = if preset[1 + n] > 0 { preset[1 + n] } else { default };
            if !(least..=self.maxval.max(least)).contains(&self.thresholds[n]) {
                return None;
            }
            least = self.thresholds[n];
        }
        self.reset = if preset[4] > 0 { preset[4] } else { 64 };
        (self.reset >= 3 && 2 * near <= self.maxval && self.maxval < 1 << self.precision).then_some(self)
    }
}

/// J of A.7.1.2.
const J: [u32; 32] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A context's counters (A.2.1); the two of run interruption use `nn` in place of `b` and `c`.
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
    nn: i32,
}

struct Scan<'a> {
    parameters: Parameters,
    bits: Bits<'a>,
    range: i32,
    qbpp: u32,
    limit: u32,
    contexts: [Context; 367],
    run_index: usize,
}

impl<'a> Scan<'a> {
    fn new(parameters: Parameters, bytes: &'a [u8]) -> Self {
        let Parameters { maxval, near, .. } = parameters;
        let log2 = |value: i32| 32 - (value as u32 - 1).leading_zeros();
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let bpp = log2(maxval + 1).max(2);
        let context = Context { a: ((range + 32) / 64).max(2), b: 0, c: 0, n: 1, nn: 0 };
        Scan {
            parameters,
            bits: Bits { bytes, value: 0, count: 0, after_ff: false },
            range,
            qbpp: log2(range),
            limit: 2 * (bpp + bpp.max(8)),
            contexts: [context; 367],
            run_index: 0,
        }
    }

    /// All samples; `None` where the bits end early.
    fn decode(mut self) -> Option<Vec<u16>> {
        let Parameters { width, height, near, .. } = self.parameters;
        let mut samples = Vec::with_capacity(width * height);
        // A line with one sample before it and one behind (A.2.1, figure A.1).
        let (mut above, mut line) = (vec![0_i32; width + 2], vec![0_i32; width + 2]);
        for _ in 0..height {
            above[width + 1] = above[width];
            line[0] = above[1];
            let mut x = 1;
            while x <= width {
                let [a, b, c, d] = [line[x - 1], above[x], above[x - 1], above[x + 1]];
                let gradients = [d - b, b - c, c - a];
                if gradients.iter().all(|gradient| gradient.abs() <= near) {
                    x = self.run(&mut line, &above, x, width)?;
                } else {
                    line[x] = self.regular([a, b, c], gradients)?;
                    x += 1;
                }
            }
            samples.extend(line[1..=width].iter().map(|&sample| sample as u16));
            std::mem::swap(&mut above, &mut line);
        }
        Some(samples)
    }

    /// A sample in regular mode (A.3 to A.6).
    fn regular(&mut self, [a, b, c]: [i32; 3], gradients: [i32; 3]) -> Option<i32> {
        let Parameters { maxval, near, reset, .. } = self.parameters;
        let [q1, q2, q3] = gradients.map(|gradient| self.quantise(gradient));
        let q = 81 * q1 + 9 * q2 + q3;
        let sign = q.signum();
        let at = q.unsigned_abs() as usize;
        let context = self.contexts[at];
        let prediction = match c {
            c if c >= a.max(b) => a.min(b),
            c if c <= a.min(b) => a.max(b),
            c => a + b - c,
        };
        let prediction = (prediction + sign * context.c).clamp(0, maxval);
        let k = golomb(context.n, context.a);
        let mapped = self.golomb(k, self.limit)?;
        let turned = near == 0 && k == 0 && 2 * context.b <= -context.n;
        let error = match (mapped % 2 == 0, turned) {
            (true, false) => mapped / 2,
            (false, false) => -(mapped + 1) / 2,
            (true, true) => -mapped / 2 - 1,
            (false, true) => mapped / 2,
        };
        self.contexts[at].update(error, near, reset);
        Some(self.reconstruct(prediction, sign * error))
    }

    /// A run from `x`, with the sample that ends it (A.7); gives where it goes on.
    fn run(&mut self, line: &mut [i32], above: &[i32], mut x: usize, width: usize) -> Option<usize> {
        let value = line[x - 1];
        while self.bits.one()? {
            let length = 1 << J[self.run_index];
            let end = (x + length).min(width + 1);
            line[x..end].fill(value);
            if x + length == end && self.run_index < 31 {
                self.run_index += 1;
            }
            x = end;
            if x > width {
                return Some(x);
            }
        }
        let end = x + self.bits.take(J[self.run_index])? as usize;
        if end > width {
            return None;
        }
        line[x..end].fill(value);
        line[end] = self.interruption(value, above[end])?;
        self.run_index = self.run_index.saturating_sub(1);
        Some(end + 1)
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, a: i32, b: i32) -> Option<i32> {
        let Parameters { near, reset, .. } = self.parameters;
        let same = (a - b).abs() <= near;
        let (prediction, sign) = if same { (a, 1) } else { (b, if a > b { -1 } else { 1 }) };
        let kind = i32::from(same);
        let at = 365 + usize::from(same);
        let context = self.contexts[at];
        let k = golomb(context.n, if same { context.a.saturating_add(context.n >> 1) } else { context.a });
        let mapped = self.golomb(k, self.limit - J[self.run_index] - 1)?;
        let total = mapped + kind;
        let odd = total % 2 == 1;
        let size = (total + 1) / 2;
        let error = if (k != 0 || 2 * context.nn >= context.n) == odd { -size } else { size };
        let context = &mut self.contexts[at];
        context.nn += i32::from(error < 0);
        context.a = context.a.saturating_add((mapped + 1 - kind) >> 1);
        if context.n == reset {
            (context.a, context.n, context.nn) = (context.a >> 1, context.n >> 1, context.nn >> 1);
        }
        context.n += 1;
        Some(self.reconstruct(prediction, sign * error))
    }

    /// A gradient's region, -4 to 4 (A.3.3).
    fn quantise(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.parameters.thresholds;
        let size = gradient.abs();
        let region = match () {
            _ if size <= self.parameters.near => 0,
            _ if size < t1 => 1,
            _ if size < t2 => 2,
            _ if size < t3 => 3,
            _ => 4,
        };
        gradient.signum() * region
    }

    /// Prediction and error, modulo the range (A.4.5).
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let Parameters { maxval, near, .. } = self.parameters;
        let step = 2 * near + 1;
        let mut value = prediction.saturating_add(error.saturating_mul(step));
        if value < -near {
            value = value.saturating_add(self.range * step);
        } else if value > maxval + near {
            value = value.saturating_sub(self.range * step);
        }
        value.clamp(0, maxval)
    }

    /// A Golomb code of limited length (A.5.3).
    fn golomb(&mut self, k: u32, limit: u32) -> Option<i32> {
        let most = limit.checked_sub(self.qbpp + 1)?;
        let mut zeros = 0;
        while zeros < most && !self.bits.one()? {
            zeros += 1;
        }
        let value = if zeros < most {
            zeros << k | self.bits.take(k)?
        } else {
            // The escape code's own 1.
            self.bits.one()?.then_some(())?;
            self.bits.take(self.qbpp)? + 1
        };
        // No error is as large; damaged bits may say so.
        i32::try_from(value).ok().filter(|&value| value <= 2 * self.range)
    }
}

/// The Golomb parameter k (A.5.1).
fn golomb(n: i32, a: i32) -> u32 {
    (0..24).find(|&k| i64::from(n) << k >= i64::from(a)).unwrap_or(24)
}

impl Context {
    /// A.6.
    fn update(&mut self, error: i32, near: i32, reset: i32) {
        self.b += error * (2 * near + 1);
        self.a = self.a.saturating_add(error.abs());
        if self.n == reset {
            self.a >>= 1;
            // Rounds towards minus infinity, as the standard does for negative numbers.
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// The bits of a scan, the highest of each byte first; a byte behind 0xFF has seven (A.1).
struct Bits<'a> {
    bytes: &'a [u8],
    value: u32,
    count: u32,
    after_ff: bool,
}

impl Bits<'_> {
    fn one(&mut self) -> Option<bool> {
        if self.count == 0 {
            let (&byte, rest) = self.bytes.split_first()?;
            if self.after_ff && byte >= 0x80 {
                return None;
            }
            self.bytes = rest;
            self.count = if self.after_ff { 7 } else { 8 };
            self.value = byte.into();
            self.after_ff = byte == 0xFF;
        }
        self.count -= 1;
        Some(self.value >> self.count & 1 == 1)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.one()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A file in `tests/jpegls`: its name, what it shows, width and height, the greatest value, NEAR, and the sum of
    /// what CharLS decodes.
    type Picture = (&'static str, Kind, [usize; 2], u32, u32, u64);

    /// Written by CharLS 2.4.3.
    #[rustfmt::skip]
    const PICTURES: [Picture; 36] = [
        ("bits_2", Kind::Patches, [33, 21], 3, 0, 0x8182_c17b_e925_15bc),
        ("bits_3", Kind::Patches, [33, 21], 7, 0, 0xd21a_fd31_abee_18a0),
        ("bits_4", Kind::Patches, [33, 21], 15, 0, 0x007a_b712_882a_a541),
        ("bits_5", Kind::Patches, [33, 21], 31, 0, 0x1624_9a4b_272c_e200),
        ("bits_6", Kind::Patches, [33, 21], 63, 0, 0x7646_cc2b_4f0f_90d2),
        ("bits_7", Kind::Patches, [33, 21], 127, 0, 0xc4ce_2def_403f_8a41),
        ("bits_3_near_1", Kind::Patches, [33, 21], 7, 1, 0x6133_8df4_af81_a78a),
        ("bits_4_near_1", Kind::Patches, [33, 21], 15, 1, 0x91b5_b8b2_86e8_672f),
        ("bits_5_near_1", Kind::Patches, [33, 21], 31, 1, 0x737d_fbcb_a9f2_2b07),
        ("bits_6_near_1", Kind::Patches, [33, 21], 63, 1, 0xf479_62f3_436f_71eb),
        ("bits_7_near_1", Kind::Patches, [33, 21], 127, 1, 0x81e8_77f3_468d_8d60),
        ("bits_8", Kind::Patches, [61, 37], 255, 0, 0x07ef_a649_0c37_22d0),
        ("bits_12", Kind::Patches, [61, 37], 4095, 0, 0x3816_b4a3_402f_d23e),
        ("bits_16", Kind::Patches, [61, 37], 65535, 0, 0xf11c_6770_0407_ad84),
        ("bits_10", Kind::Patches, [45, 20], 1023, 0, 0x6f52_703d_4b8f_efe5),
        ("bits_8_near_1", Kind::Patches, [61, 37], 255, 1, 0x6004_42fa_8f66_319e),
        ("bits_8_near_2", Kind::Patches, [61, 37], 255, 2, 0x4781_9e4a_709c_c44b),
        ("bits_8_near_3", Kind::Patches, [61, 37], 255, 3, 0xfb57_8755_4a6a_9e09),
        ("bits_8_near_25", Kind::Patches, [61, 37], 255, 25, 0xe78b_6a40_ba27_073a),
        ("bits_8_near_40", Kind::Patches, [61, 37], 255, 40, 0x640a_3a0c_d330_541f),
        ("bits_8_near_127", Kind::Patches, [61, 37], 255, 127, 0x32a3_bc94_0ae0_3011),
        ("bits_12_near_3", Kind::Patches, [61, 37], 4095, 3, 0xa830_36d6_9c65_0ad5),
        ("bits_16_near_2", Kind::Patches, [61, 37], 65535, 2, 0x389a_87f7_56a8_aeb3),
        ("thresholds", Kind::Patches, [61, 37], 255, 0, 0x07ef_a649_0c37_22d0),
        ("thresholds_near_2", Kind::Patches, [61, 37], 4095, 2, 0xc9e0_93b2_d1a8_42bb),
        ("reset_20", Kind::Patches, [61, 37], 255, 0, 0x07ef_a649_0c37_22d0),
        ("reset_3", Kind::Patches, [61, 37], 255, 0, 0x07ef_a649_0c37_22d0),
        ("defaults_told", Kind::Patches, [33, 21], 255, 0, 0x7c78_1b42_b4f2_245e),
        ("defaults_told_near_3", Kind::Patches, [33, 21], 4095, 3, 0x79c4_228b_3dbe_853c),
        ("column", Kind::Patches, [1, 60], 255, 0, 0xea1d_e6ac_c3c7_7a87),
        ("row", Kind::Patches, [77, 1], 4095, 0, 0x9657_f824_bf57_9412),
        ("one", Kind::Patches, [1, 1], 255, 0, 0x0931_6a07_b5c3_fcf0),
        ("runs", Kind::Flat, [65_535, 4], 255, 0, 0x2f01_b22d_9f83_27b5),
        ("runs_16", Kind::Flat, [300, 301], 65535, 1, 0x094f_f3a8_7509_b208),
        ("rising", Kind::Up, [240, 2], 65535, 0, 0xc096_4703_9f48_0e65),
        ("falling", Kind::Down, [240, 2], 65535, 0, 0x8a1f_a182_dd18_0e75),
    ];

    #[derive(Clone, Copy)]
    enum Kind {
        /// Flat patches, some with dots, ramps, faint and strong noise.
        Patches,
        /// Zeros, with a dot in the middle row and a brighter one in the last.
        Flat,
        /// Rows that rise, or fall, by the same step.
        Up,
        Down,
    }

    /// What was coded, row by row.
    fn picture(kind: Kind, [width, height]: [usize; 2], most: u32) -> Vec<u32> {
        let mut state = 1_u32;
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let value = |(x, y): (usize, usize)| match kind {
            Kind::Flat if (x, y) == (3, height / 2) => most / 2,
            Kind::Flat if (x, y) == (width - 5, height - 1) => most,
            Kind::Flat => 0,
            Kind::Up => x as u32 * 250 % (most + 1),
            Kind::Down => most - x as u32 * 250 % (most + 1),
            Kind::Patches => {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) % (most + 1);
                match (x / 16 + y / 4) % 5 {
                    0 => most / 3,
                    1 if noise.is_multiple_of(23) => noise,
                    1 => most / 2,
                    2 => (7 * x + 3 * y) as u32 * (most / 50 + 1) % (most + 1),
                    3 => (most / 2 + noise % 9).min(most),
                    _ => noise,
                }
            }
        };
        places.map(value).collect()
    }

    fn coded(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/jpegls/{name}.jls"))).unwrap()
    }

    /// FNV-1a of the samples' bytes, the low one first.
    fn sum(samples: &[u16]) -> u64 {
        let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    #[test]
    fn pictures_of_another_program_come_back_as_it_decodes_them() {
        for (name, kind, size, most, near, expected) in PICTURES {
            let samples = decode(&coded(name), size).unwrap_or_else(|error| panic!("{name}: {error}"));
            let picture = picture(kind, size, most);
            let off = |(a, b): (&u16, &u32)| u32::from(*a).abs_diff(*b) > near;
            assert!(samples.len() == picture.len() && !samples.iter().zip(&picture).any(off), "{name}");
            assert_eq!(sum(&samples), expected, "{name}");
        }
    }

    /// A picture of 8 bits, 1 x 1, with other bytes in place of its segments.
    fn with(segments: &[&[u8]]) -> Result<Vec<u16>, DicomError> {
        let data = &coded("one")[25..];
        decode(&[&[0xFF, 0xD8], segments.concat().as_slice(), data].concat(), [1, 1])
    }

    const FRAME: &[u8] = &[0xFF, 0xF7, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0];
    const SCAN: &[u8] = &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0];

    /// An LSE segment of coding parameters.
    fn preset(values: [u16; 5]) -> Vec<u8> {
        [&[0xFF, 0xF8, 0, 13, 1], values.map(u16::to_be_bytes).concat().as_slice()].concat()
    }

    #[test]
    fn headers_that_are_not_decoded_say_so() {
        let whole = with(&[FRAME, SCAN]).unwrap();
        assert_eq!(with(&[FRAME, &[0xFF, 0xE0, 0, 4, 9, 9], SCAN]).unwrap(), whole, "a comment");
        let cases: [(&str, &[&[u8]]); 9] = [
            ("restart intervals", &[FRAME, &[0xFF, 0xDD, 0, 4, 0, 5], SCAN]),
            ("palettes", &[FRAME, &[0xFF, 0xF8, 0, 5, 2, 1, 1], SCAN]),
            ("more than one component", &[&[0xFF, 0xF7, 0, 11, 8, 0, 1, 0, 1, 3, 1, 0x11, 0], SCAN]),
            ("interleaved", &[FRAME, &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 1, 0]]),
            ("other than 2 to 16 bits", &[&[0xFF, 0xF7, 0, 11, 17, 0, 1, 0, 1, 1, 1, 0x11, 0], SCAN]),
            ("other than 2 to 16 bits", &[&[0xFF, 0xF7, 0, 11, 1, 0, 1, 0, 1, 1, 1, 0x11, 0], SCAN]),
            ("the header is damaged", &[FRAME, &[0, 0xDA, 0, 8]]),
            ("the header is cut", &[FRAME, &[0xFF, 0xE0, 0, 1]]),
            ("the header is cut", &[FRAME, &[0xFF, 0xF8, 0, 11, 1, 0, 255, 0, 3, 0, 7, 0, 21], SCAN]),
        ];
        for (what, segments) in cases {
            let error = with(segments).unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
    }

    #[test]
    fn parameters_are_those_of_the_standard_or_contradict_each_other() {
        let told = |precision, near, preset| {
            Parameters { precision, near, ..Parameters::default() }.with(preset).map(|p| (p.maxval, p.thresholds, p.reset))
        };
        let default = [0; 5];
        // C.2.4.1.1.1, worked out by hand.
        assert_eq!(told(8, 0, default), Some((255, [3, 7, 21], 64)));
        assert_eq!(told(12, 0, default), Some((4095, [18, 67, 276], 64)));
        assert_eq!(told(16, 0, default), Some((65535, [18, 67, 276], 64)));
        assert_eq!(told(7, 1, default), Some((127, [4, 8, 17], 64)));
        assert_eq!(told(8, 0, [127, 0, 0, 0, 0]), Some((127, [2, 3, 10], 64)));
        assert_eq!(told(8, 0, [128, 0, 0, 0, 0]), Some((128, [3, 7, 21], 64)));
        assert_eq!(told(5, 3, default), Some((31, [9, 15, 23], 64)));
        assert_eq!(told(2, 0, default), Some((3, [2, 3, 3], 64)));
        assert_eq!(told(2, 1, default), Some((3, [3, 3, 3], 64)));
        // A default above MAXVAL is the threshold before it.
        assert_eq!(told(8, 40, default), Some((255, [123, 207, 207], 64)));
        assert_eq!(told(8, 127, default), Some((255, [128, 128, 128], 64)));
        // Those that are told, and the default of the others.
        assert_eq!(told(8, 0, [200, 5, 0, 30, 3]), Some((200, [5, 7, 30], 3)));
        assert_eq!(told(8, 0, [0, 10, 0, 0, 0]), Some((255, [10, 10, 21], 64)));
        assert_eq!(told(8, 0, [85, 0, 0, 0, 0]), Some((85, [2, 3, 10], 64)));
        assert_eq!(told(8, 0, [0, 1, 1, 255, 0]), Some((255, [1, 1, 255], 64)));
        assert_eq!(told(8, 127, [254, 0, 0, 0, 0]), Some((254, [128; 3], 64)));
        for (precision, near, wrong) in [
            (8, 127, [253, 0, 0, 0, 0]),
            (8, 0, [256, 0, 0, 0, 0]),
            (8, 2, [0, 2, 0, 0, 0]),
            (8, 0, [0, 9, 8, 0, 0]),
            (8, 0, [0, 0, 9, 8, 0]),
            (8, 0, [0, 0, 0, 256, 0]),
            (8, 0, [0, 0, 0, 0, 2]),
        ] {
            assert_eq!(told(precision, near, wrong), None, "{wrong:?}");
        }
        assert_eq!(with(&[FRAME, &preset([0, 0, 0, 0, 3]), SCAN]).unwrap().len(), 1);
        assert!(with(&[FRAME, &preset([0, 0, 0, 0, 2]), SCAN]).is_err());
    }

    #[test]
    fn cut_and_damaged_pictures_are_errors_or_samples_of_the_range() {
        for (name, size) in [("bits_7", [33, 21]), ("bits_3_near_1", [33, 21]), ("runs", [65_535, 4])] {
            let whole = coded(name);
            for end in 0..whole.len() - 8 {
                assert!(decode(&whole[..end], size).is_err(), "{name}, {end} bytes");
            }
            for at in 25..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x5A;
                // No panic; nothing above MAXVAL.
                let most = if name == "runs" {
                    255
                } else if name == "bits_7" {
                    127
                } else {
                    7
                };
                assert!(decode(&damaged, size).unwrap_or_default().iter().all(|&sample| sample <= most), "{name}, byte {at}");
            }
        }
    }
}
