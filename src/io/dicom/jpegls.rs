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
            (false, true) => (mapped - 1) / 2,
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
