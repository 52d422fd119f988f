//! The one-dimensional transforms of Winograd's convolution over lines of vectors.
//!
//! The nested convolution does them along D, H and W one after another. The points come in pairs p, -p, whose transforms share their
//! even and odd halves: half of the operations. The matrices are in [`super::points`]; a test compares every line here with them.

use super::pack::WeightLines;
use crate::network::cpu::simd::{LANES, Simd};

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
            let mut x = [S::zero(); N];
            for p in 0..N {
                x[p] = S::load(l.inputs[p].add(i * l.input_step));
            }
            let y = forward_points::<S, N>(x);
            for p in 0..N {
                S::store(l.output.add(p * l.output_stride + i * l.output_step), y[p]);
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
            let mut m = [S::zero(); N];
            for p in 0..N {
                m[p] = S::load(l.inputs[p].add(i * l.input_step));
            }
            let y = inverse_points::<S, N>(m);
            for o in 0..const { outputs(N) } {
                S::store(l.output.add(o * l.output_stride + i * l.output_step), y[o]);
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
            let mut m = [S::zero(); N];
            for p in 0..N {
                m[p] = S::load(l.input.add(p * l.input_stride + i * LANES));
            }
            let y = inverse_points::<S, N>(m);
            for o in 0..const { outputs(N) } {
                if o < l.valid {
                    let mut value = S::prelu(S::add(y[o], bias), slopes);
                    if !l.residuals[o].is_null() {
                        value = S::add(value, S::load(l.residuals[o].add(i * LANES)));
                    }
                    S::store(l.outputs[o].add(i * LANES), value);
                }
            }
        }
    }
}

/// G w: from taps to points.
///
/// # Safety
/// All vectors of inputs and outputs exist; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn weights<S: Simd>(l: &WeightLines) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..l.n {
            for p in 0..l.matrix.len() {
                let mut sum = S::zero();
                for t in 0..l.taps {
                    sum = S::mul_add(S::splat(l.matrix[p][t]), S::load(l.input.add(t * l.input_stride + i * LANES)), sum);
                }
                S::store(l.output.add(p * l.output_stride + i * LANES), sum);
            }
        }
    }
}

/// Outputs of the transform with `points` points: 4 of 8, 2 of 6, 1 of 1.
pub const fn outputs(points: usize) -> usize {
    if points == 1 { 1 } else { points - 4 }
}

/// a * b + c with one a for all.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn fma<S: Simd>(a: f32, b: S::V, c: S::V) -> S::V {
    // SAFETY: the caller has made sure of the instructions.
    unsafe { S::mul_add(S::splat(a), b, c) }
}

/// B^T x.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn forward_points<S: Simd, const N: usize>(x: [S::V; N]) -> [S::V; N] {
    // SAFETY: the caller has made sure of the instructions.
    unsafe {
        let mut y = x;
        if N == 6 {
            // Points 0, 1, -1, 1/2, -1/2, infinity.
            y[0] = fma::<S>(0.25, x[0], fma::<S>(-1.25, x[2], x[4]));
            let (even, odd) = (fma::<S>(-0.25, x[2], x[4]), fma::<S>(-0.25, x[1], x[3]));
            (y[1], y[2]) = (S::add(even, odd), S::sub(even, odd));
            let (even, odd) = (S::sub(x[4], x[2]), S::mul(S::splat(0.5), S::sub(x[3], x[1])));
            (y[3], y[4]) = (S::add(even, odd), S::sub(even, odd));
            y[5] = fma::<S>(0.25, x[1], fma::<S>(-1.25, x[3], x[5]));
        } else if N == 8 {
            // Points 0, 1, -1, 2, -2, 1/2, -1/2, infinity.
            y[0] = fma::<S>(5.25, S::sub(x[4], x[2]), S::sub(x[0], x[6]));
            let (even, odd) = (fma::<S>(-4.25, x[4], S::add(x[2], x[6])), fma::<S>(-4.25, x[3], S::add(x[1], x[5])));
            (y[1], y[2]) = (S::add(even, odd), S::sub(even, odd));
            let (even, odd) = (
                fma::<S>(0.25, x[2], fma::<S>(-1.25, x[4], x[6])),
                fma::<S>(0.5, x[1], fma::<S>(-2.5, x[3], S::add(x[5], x[5]))),
            );
            (y[3], y[4]) = (S::add(even, odd), S::sub(even, odd));
            let (even, odd) =
                (fma::<S>(4.0, x[2], fma::<S>(-5.0, x[4], x[6])), fma::<S>(0.5, x[5], fma::<S>(-2.5, x[3], S::add(x[1], x[1]))));
            (y[5], y[6]) = (S::add(even, odd), S::sub(even, odd));
            y[7] = fma::<S>(5.25, S::sub(x[3], x[5]), S::sub(x[7], x[1]));
        }
        y
    }
}

/// A^T m in the first places of the result.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn inverse_points<S: Simd, const N: usize>(m: [S::V; N]) -> [S::V; N] {
    // SAFETY: the caller has made sure of the instructions.
    unsafe {
        let mut y = m;
        if N == 6 {
            let (even1, odd1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            y[0] = S::add(m[0], S::add(even1, even2));
            y[1] = S::add(m[5], fma::<S>(0.5, odd2, odd1));
        } else if N == 8 {
            let (even1, odd1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let (even3, odd3) = (S::add(m[5], m[6]), S::sub(m[5], m[6]));
            y[0] = S::add(S::add(m[0], even1), S::add(even2, even3));
            y[1] = fma::<S>(2.0, odd2, fma::<S>(0.5, odd3, odd1));
            y[2] = fma::<S>(4.0, even2, fma::<S>(0.25, even3, even1));
            y[3] = fma::<S>(8.0, odd2, fma::<S>(0.125, odd3, S::add(odd1, m[7])));
        }
        y
    }
}
