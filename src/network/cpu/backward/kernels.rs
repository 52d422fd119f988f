//! The kernels that only gradients need, written once over vectors of 16 and compiled for each set of instructions, as those of [`crate::network::cpu`].

use crate::network::cpu::dispatch::compile;
use crate::network::cpu::kernels::Instructions;
use crate::network::cpu::simd::{LANES, Simd};
use crate::network::cpu::winograd::transform::Lines;

/// Sums of outer products: `sums[c][n] += sum over i of a[i * a_step + c] * b[i * b_step + n]` for 16 n.
pub struct Outer {
    /// The first value that is broadcast. Up to the next multiple of 8 channels are read.
    pub a: *const f32,
    /// f32 from an `a` to the next.
    pub a_step: usize,
    /// The first vector.
    pub b: *const f32,
    /// f32 from a vector to the next.
    pub b_step: usize,
    /// Number of products.
    pub n: usize,
    /// Number of channels c, at most 16. The sums up to the next multiple of 8 are changed.
    pub channels: usize,
    /// 16 vectors of sums.
    pub sums: *mut f32,
}

/// Rows of a matrix product: `c[row] (+)= bias + sum over segments s and channels k of a[segments[s] + row * a_step + k] * weights[s][k]`, vectors of 16.
pub struct Product<'a> {
    /// Where the values begin.
    pub a: *const f32,
    /// Where each segment's begin, from `a`.
    pub segments: &'a [usize],
    /// f32 from a row of `a` to the next.
    pub a_step: usize,
    /// Number of channels of each segment.
    pub channels: &'a [usize],
    /// One vector for each channel of each segment, in their order.
    pub weights: *const f32,
    /// 16 values, that the sums begin with.
    pub bias: *const f32,
    /// The first vector of the result.
    pub c: *mut f32,
    /// f32 from a vector of the result to the next.
    pub c_step: usize,
    /// Number of rows.
    pub rows: usize,
    /// Whether to add to the result.
    pub accumulate: bool,
}

/// Does an [`Outer`].
///
/// # Safety
/// All values and vectors exist; the processor has the instructions of `S`.
#[inline(always)]
unsafe fn outer<S: Simd>(o: &Outer) {
    // SAFETY: the caller's promise.
    unsafe {
        if S::MANY_REGISTERS {
            for first in (0..o.channels).step_by(8) {
                outer_rows::<S, 8>(o, first);
            }
        } else {
            for first in (0..o.channels).step_by(4) {
                outer_rows::<S, 4>(o, first);
            }
        }
    }
}

/// R rows of [`outer`], from `first` on.
///
/// # Safety
/// As for [`outer`]; there are all of these rows.
#[inline(always)]
unsafe fn outer_rows<S: Simd, const R: usize>(o: &Outer, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [S::zero(); R];
        for r in 0..R {
            sums[r] = S::load(o.sums.add((first + r) * LANES));
        }
        let (mut a, mut b) = (o.a.add(first), o.b);
        for _ in 0..o.n {
            let vector = S::load(b);
            for r in 0..R {
                sums[r] = S::mul_add(S::broadcast(a.add(r)), vector, sums[r]);
            }
            (a, b) = (a.wrapping_add(o.a_step), b.wrapping_add(o.b_step));
        }
        for r in 0..R {
            S::store(o.sums.add((first + r) * LANES), sums[r]);
        }
    }
}

/// Does a [`Product`].
///
/// # Safety
/// All values and vectors exist; the processor has the instructions of `S`.
#[inline(always)]
unsafe fn product<S: Simd>(p: &Product) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = 0;
        while S::MANY_REGISTERS && p.rows - row >= 8 {
            product_rows::<S, 8>(p, row);
            row += 8;
        }
        while p.rows - row >= 4 {
            product_rows::<S, 4>(p, row);
            row += 4;
        }
        while row < p.rows {
            product_rows::<S, 1>(p, row);
            row += 1;
        }
    }
}

/// R rows of [`product`], from `first` on.
///
/// # Safety
/// As for [`product`]; there are all of these rows.
#[inline(always)]
unsafe fn product_rows<S: Simd, const R: usize>(p: &Product, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [S::load(p.bias); R];
        let mut weights = p.weights;
        for s in 0..p.segments.len() {
            let a = p.a.add(p.segments[s] + first * p.a_step);
            for k in 0..p.channels[s] {
                let weight = S::load(weights);
                weights = weights.wrapping_add(LANES);
                for r in 0..R {
                    sums[r] = S::mul_add(S::broadcast(a.add(r * p.a_step + k)), weight, sums[r]);
                }
            }
        }
        for r in 0..R {
            let place = p.c.add((first + r) * p.c_step);
            let value = if p.accumulate { S::add(S::load(place), sums[r]) } else { sums[r] };
            S::store(place, value);
        }
    }
}

/// The transpose of Winograd's inverse transform: from 4 outputs' gradients to 8 points (or from 1 to 1), `point[p] = sum over i of p^i * input[i]`.
///
/// # Safety
/// All vectors of inputs and outputs exist; the processor has the instructions of `S`.
#[inline(always)]
unsafe fn inverse_transposed<S: Simd, const N: usize>(l: &Lines) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..l.n {
            let at = |point: usize| l.output.wrapping_add(point * l.output_stride + i * l.output_step);
            if N == 1 {
                S::store(at(0), S::load(l.inputs[0].add(i * l.input_step)));
                continue;
            }
            let mut y = [S::zero(); 4];
            for o in 0..4 {
                y[o] = S::load(l.inputs[o].add(i * l.input_step));
            }
            // Points 0, 1, -1, 2, -2, 1/2, -1/2, infinity.
            S::store(at(0), y[0]);
            let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
            S::store(at(1), S::add(even, odd));
            S::store(at(2), S::sub(even, odd));
            let even = S::mul_add(S::splat(4.0), y[2], y[0]);
            let odd = S::mul_add(S::splat(8.0), y[3], S::add(y[1], y[1]));
            S::store(at(3), S::add(even, odd));
            S::store(at(4), S::sub(even, odd));
            let even = S::mul_add(S::splat(0.25), y[2], y[0]);
            let odd = S::mul_add(S::splat(0.125), y[3], S::mul(S::splat(0.5), y[1]));
            S::store(at(5), S::add(even, odd));
            S::store(at(6), S::sub(even, odd));
            S::store(at(7), y[3]);
        }
    }
}

/// The kernels for one set of instructions.
///
/// # Safety
/// Each function's contract is that of the generic function it is made from; that the processor has the instructions is checked by [`Kernels::of`].
pub struct Kernels {
    /// See [`Outer`].
    pub outer: unsafe fn(&Outer),
    /// See [`Product`].
    pub product: unsafe fn(&Product),
    /// See [`inverse_transposed`]: 1 and 8 points.
    pub inverse_transposed: [unsafe fn(&Lines); 2],
}

impl Kernels {
    /// The kernels for a set of instructions that this processor has.
    ///
    /// # Panics
    /// Where it does not have them.
    pub fn of(instructions: Instructions) -> &'static Kernels {
        assert!(instructions.available(), "this processor has no {instructions} instructions");
        compiled(instructions)
    }
}

macro_rules! table {
    ($simd:ident) => {
        Kernels { outer, product, inverse_transposed: [inverse_transposed::<1>, inverse_transposed::<8>] }
    };
}

compile! {
    table;
    outer = super::outer(Outer);
    product = super::product(Product);
    inverse_transposed[N] = super::inverse_transposed(Lines);
}
