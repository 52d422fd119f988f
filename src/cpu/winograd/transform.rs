//! The one-dimensional transforms of Winograd's convolution over lines of vectors.
//!
//! The nested convolution does them along D, H and W one after another. The points come in pairs p, -p, whose transforms share their
//! even and odd halves: half of the operations. The matrices are in [`super::points`]; a test compares every line here with them.

use crate::cpu::simd::{LANES, Simd};

/// `n` transforms from up to 8 inputs to up to 8 outputs, each a line of vectors.
pub struct Lines {
    /// The first vector of each input.
    pub inputs: [*const f32; 8],
    /// f32 from a vector of an input to the next.
    pub input_step: usize,
    /// The first vector of output 0.
    pub output: *mut f32,
    /// f32 from an output to the next.
    pub output_stride: usize,
    /// f32 from a vector of an output to the next.
    pub output_step: usize,
    /// Number of vectors.
    pub n: usize,
}

/// `n` inverse transforms with the convolution's end: `outputs[i] = act(value + bias) (+ residuals[i])`.
pub struct Inverse {
    /// The first vector of input 0.
    pub input: *const f32,
    /// f32 from an input to the next; vectors follow one another.
    pub input_stride: usize,
    /// The first vector of each output; vectors follow one another.
    pub outputs: [*mut f32; 4],
    /// The first vector of what is added to each output after the activation; null for nothing.
    pub residuals: [*const f32; 4],
    /// Number of outputs that exist: fewer than the transform has at the grid's end.
    pub valid: usize,
    /// 16 biases.
    pub bias: *const f32,
    /// 16 slopes of the activation.
    pub slopes: *const f32,
    /// Number of vectors.
    pub n: usize,
}

/// From N voxels to N points.
///
/// # Safety
/// All vectors of inputs and outputs exist; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn forward<S: Simd, const N: usize>(l: &Lines) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..l.n {
            let x: [S::V; N] = std::array::from_fn(|p| S::load(l.inputs[p].add(i * l.input_step)));
            let y = forward_points::<S, N>(x);
            for (p, &y) in y.iter().enumerate() {
                S::store(l.output.add(p * l.output_stride + i * l.output_step), y);
            }
        }
    }
}

/// From N points to the outputs: 4 of 8, 2 of 6, 1 of 1.
///
/// # Safety
/// All vectors of inputs and outputs exist; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn inverse<S: Simd, const N: usize>(l: &Lines) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..l.n {
            let m: [S::V; N] = std::array::from_fn(|p| S::load(l.inputs[p].add(i * l.input_step)));
            let y = inverse_points::<S, N>(m);
            for (o, &y) in y.iter().enumerate().take(outputs(N)) {
                S::store(l.output.add(o * l.output_stride + i * l.output_step), y);
            }
        }
    }
}

/// [`inverse`] with the convolution's end.
///
/// # Safety
/// All vectors of the inputs, and of the valid outputs and residuals, exist; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn inverse_finish<S: Simd, const N: usize>(l: &Inverse) {
    // SAFETY: the caller's promise.
    unsafe {
        let (bias, slopes) = (S::load(l.bias), S::load(l.slopes));
        for i in 0..l.n {
            let m: [S::V; N] = std::array::from_fn(|p| S::load(l.input.add(p * l.input_stride + i * LANES)));
            let y = inverse_points::<S, N>(m);
            for (o, &y) in y.iter().enumerate().take(outputs(N)) {
                if o < l.valid {
                    let mut value = S::prelu(S::add(y, bias), slopes);
                    if !l.residuals[o].is_null() {
                        value = S::add(value, S::load(l.residuals[o].add(i * LANES)));
                    }
                    S::store(l.outputs[o].add(i * LANES), value);
                }
            }
        }
    }
}

/// Outputs of the transform with `points` points: 4 of 8, 2 of 6, 1 of 1.
pub const fn outputs(points: usize) -> usize {
    if points == 1 { 1 } else { points - 4 }
}

/// B^T x.
#[inline(always)]
unsafe fn forward_points<S: Simd, const N: usize>(x: [S::V; N]) -> [S::V; N] {
    // SAFETY: the caller has made sure of the instructions.
    unsafe {
        let add = |a, b| S::add(a, b);
        let sub = |a, b| S::sub(a, b);
        let fma = |a: f32, b, c| S::mul_add(S::splat(a), b, c);
        let mut y = x;
        if N == 6 {
            // Points 0, 1, -1, 1/2, -1/2, infinity.
            y[0] = fma(0.25, x[0], fma(-1.25, x[2], x[4]));
            let (even, odd) = (fma(-0.25, x[2], x[4]), fma(-0.25, x[1], x[3]));
            (y[1], y[2]) = (add(even, odd), sub(even, odd));
            let (even, odd) = (sub(x[4], x[2]), S::mul(S::splat(0.5), sub(x[3], x[1])));
            (y[3], y[4]) = (add(even, odd), sub(even, odd));
            y[5] = fma(0.25, x[1], fma(-1.25, x[3], x[5]));
        } else if N == 8 {
            // Points 0, 1, -1, 2, -2, 1/2, -1/2, infinity.
            y[0] = fma(5.25, sub(x[4], x[2]), sub(x[0], x[6]));
            let (even, odd) = (fma(-4.25, x[4], add(x[2], x[6])), fma(-4.25, x[3], add(x[1], x[5])));
            (y[1], y[2]) = (add(even, odd), sub(even, odd));
            let (even, odd) = (fma(0.25, x[2], fma(-1.25, x[4], x[6])), fma(0.5, x[1], fma(-2.5, x[3], add(x[5], x[5]))));
            (y[3], y[4]) = (add(even, odd), sub(even, odd));
            let (even, odd) = (fma(4.0, x[2], fma(-5.0, x[4], x[6])), fma(0.5, x[5], fma(-2.5, x[3], add(x[1], x[1]))));
            (y[5], y[6]) = (add(even, odd), sub(even, odd));
            y[7] = fma(5.25, sub(x[3], x[5]), sub(x[7], x[1]));
        }
        y
    }
}

/// A^T m in the first places of the result.
#[inline(always)]
unsafe fn inverse_points<S: Simd, const N: usize>(m: [S::V; N]) -> [S::V; N] {
    // SAFETY: the caller has made sure of the instructions.
    unsafe {
        let add = |a, b| S::add(a, b);
        let sub = |a, b| S::sub(a, b);
        let fma = |a: f32, b, c| S::mul_add(S::splat(a), b, c);
        let mut y = m;
        if N == 6 {
            let (even1, odd1) = (add(m[1], m[2]), sub(m[1], m[2]));
            let (even2, odd2) = (add(m[3], m[4]), sub(m[3], m[4]));
            y[0] = add(m[0], add(even1, even2));
            y[1] = add(m[5], fma(0.5, odd2, odd1));
        } else if N == 8 {
            let (even1, odd1) = (add(m[1], m[2]), sub(m[1], m[2]));
            let (even2, odd2) = (add(m[3], m[4]), sub(m[3], m[4]));
            let (even3, odd3) = (add(m[5], m[6]), sub(m[5], m[6]));
            y[0] = add(add(m[0], even1), add(even2, even3));
            y[1] = fma(2.0, odd2, fma(0.5, odd3, odd1));
            y[2] = fma(4.0, even2, fma(0.25, even3, even1));
            y[3] = fma(8.0, odd2, fma(0.125, odd3, add(odd1, m[7])));
        }
        y
    }
}
