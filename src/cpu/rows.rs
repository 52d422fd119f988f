//! Kernels over a row of voxels: what comes after a matrix product, the one-channel input layer, the head.

use super::simd::{LANES, Simd};

/// `output[v] = act(sums[v] + bias) (+ residual[v])` for one block of channels.
pub struct Finish {
    /// Sums of a convolution: one vector a voxel.
    pub sums: *const f32,
    /// Number of voxels.
    pub voxels: usize,
    /// 16 biases.
    pub bias: *const f32,
    /// 16 slopes of the activation.
    pub slopes: *const f32,
    /// What is added after the activation, one vector a voxel; null for nothing.
    pub residual: *const f32,
    /// The result.
    pub output: *mut f32,
    /// f32 from a voxel of the result to the next.
    pub output_step: usize,
}

/// Does a [`Finish`].
///
/// # Safety
/// Sums, residual and output exist for all voxels; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn finish<S: Simd>(f: &Finish) {
    // SAFETY: the caller's promise.
    unsafe {
        let (bias, slopes) = (S::load(f.bias), S::load(f.slopes));
        for v in 0..f.voxels {
            let mut value = S::prelu(S::add(S::load(f.sums.add(v * LANES)), bias), slopes);
            if !f.residual.is_null() {
                value = S::add(value, S::load(f.residual.add(v * LANES)));
            }
            S::store(f.output.add(v * f.output_step), value);
        }
    }
}

/// A row of one block of the input layer: `output[v] = act(bias + sum over taps of w[tap] * rows[tap / width][v + tap % width]) + x[v]`.
pub struct InputRow<'a> {
    /// For each tap along (D, H) the row that it meets, beginning with the leftmost tap of voxel 0.
    pub rows: &'a [*const f32],
    /// Number of taps along W.
    pub width: usize,
    /// One vector of weights for each tap.
    pub weights: *const f32,
    /// 16 biases.
    pub bias: *const f32,
    /// 16 slopes of the activation.
    pub slopes: *const f32,
    /// 1 for each place that holds a channel, else 0: what x is multiplied with.
    pub present: *const f32,
    /// The network's input in the voxels of the row.
    pub x: *const f32,
    /// Number of voxels.
    pub voxels: usize,
    /// The result, one vector a voxel.
    pub output: *mut f32,
}

/// Does an [`InputRow`].
///
/// # Safety
/// The rows exist for `voxels + width - 1` values, x for `voxels`, weights for every tap, the output for all voxels; the processor has the instructions of
/// `S`.
#[inline(always)]
pub unsafe fn input_row<S: Simd>(i: &InputRow) {
    // SAFETY: the caller's promise; a group of voxels lies within the row.
    unsafe {
        let mut voxel = 0;
        // 16 sums fit where there are 32 registers.
        while S::ROWS >= 12 && i.voxels - voxel >= 16 {
            input_voxels::<S, 16>(i, voxel);
            voxel += 16;
        }
        while i.voxels - voxel >= 4 {
            input_voxels::<S, 4>(i, voxel);
            voxel += 4;
        }
        while voxel < i.voxels {
            input_voxels::<S, 1>(i, voxel);
            voxel += 1;
        }
    }
}

#[inline(always)]
unsafe fn input_voxels<S: Simd, const R: usize>(i: &InputRow, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [S::load(i.bias); R];
        let mut weights = i.weights;
        for &row in i.rows {
            let row = row.add(first);
            for k in 0..i.width {
                let w = S::load(weights);
                weights = weights.add(LANES);
                for r in 0..R {
                    sums[r] = S::mul_add(S::broadcast(row.add(r + k)), w, sums[r]);
                }
            }
        }
        let (slopes, present) = (S::load(i.slopes), S::load(i.present));
        for r in 0..R {
            let value = S::mul_add(S::broadcast(i.x.add(first + r)), present, S::prelu(sums[r], slopes));
            S::store(i.output.add((first + r) * LANES), value);
        }
    }
}

/// The weights of the head: `logit = b + sum over h of w[h] * act(hidden_bias[h] + sum over channels of hidden[h] * x)`.
#[derive(Clone, Debug)]
pub struct HeadWeights {
    /// For each hidden channel a weight for each place of the input's blocks.
    pub hidden: [Vec<f32>; 2],
    /// Biases of the hidden channels.
    pub hidden_bias: [f32; 2],
    /// Slopes of the hidden channels' activation.
    pub slopes: [f32; 2],
    /// Weights of the hidden channels.
    pub binary: [f32; 2],
    /// Bias of the logit.
    pub bias: f32,
}

/// The head for a row of voxels.
pub struct HeadRow<'a> {
    /// For each block of channels its row, one vector a voxel.
    pub blocks: &'a [*const f32],
    /// Number of voxels.
    pub voxels: usize,
    /// The weights.
    pub weights: &'a HeadWeights,
    /// One logit a voxel.
    pub output: *mut f32,
}

/// Does a [`HeadRow`].
///
/// # Safety
/// Blocks and output exist for all voxels, the hidden weights for all blocks; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn head_row<S: Simd>(h: &HeadRow) {
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..h.voxels {
            let mut sums = [S::zero(); 2];
            for b in 0..h.blocks.len() {
                let x = S::load(h.blocks[b].add(v * LANES));
                for n in 0..2 {
                    sums[n] = S::mul_add(x, S::load(h.weights.hidden[n].as_ptr().add(b * LANES)), sums[n]);
                }
            }
            let mut logit = h.weights.bias;
            for n in 0..2 {
                let hidden = h.weights.hidden_bias[n] + S::sum(sums[n]);
                let active = if hidden > 0.0 { hidden } else { h.weights.slopes[n] * hidden };
                logit += h.weights.binary[n] * active;
            }
            *h.output.add(v) = logit;
        }
    }
}
