//! Kernels over a row of voxels: what comes after a matrix product, the one-channel input layer, the head.

use super::simd::{LANES, Simd};
use super::winograd::transform::inverse_points;

/// Where the vectors of a row of voxels go: voxel `w` is vector `w / stride` of part `w % stride`. With stride 2 this is how the convolution of
/// stride 2 that comes next wants them.
#[derive(Clone, Copy)]
pub struct Row {
    /// The first vector of each part.
    pub parts: [*mut f32; 2],
    /// Number of parts: 1 or 2.
    pub stride: usize,
}

impl Row {
    /// All voxels one after another.
    pub fn plain(first: *mut f32) -> Row {
        Row { parts: [first; 2], stride: 1 }
    }

    /// Where voxel `voxel` goes.
    #[inline(always)]
    pub fn at(&self, voxel: usize) -> *mut f32 {
        // Strides are 1 or 2: no division is needed.
        self.parts[voxel & (self.stride - 1)].wrapping_add((voxel >> (self.stride - 1)) * LANES)
    }
}

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
    /// The result.
    pub output: Row,
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
        while S::MANY_REGISTERS && i.voxels - voxel >= 16 {
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

/// R voxels of [`input_row`], from `first` on.
///
/// # Safety
/// As for [`input_row`]; the row has all of these voxels.
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
            S::store(i.output.at(first + r), value);
        }
    }
}

/// Points of the input layer's transforms along H and W: those of F(4, 5).
pub const INPUT_POINTS: usize = 8;

/// One point along H of the input layer in Winograd's form, for a row of tiles: `sum over taps t of weights[t][p] * values[p][t]` at each point p
/// along W, transformed back to 4 vectors a tile.
pub struct InputPoints {
    /// The value of tile 0 at the first point along W for tap 0.
    pub values: *const f32,
    /// f32 from a point's value to the next.
    pub point_stride: usize,
    /// f32 from a tile's value to the next.
    pub tile_stride: usize,
    /// f32 from a tap's value to the next.
    pub tap_stride: usize,
    /// A vector for each tap along D and point along W.
    pub weights: *const f32,
    /// Number of taps along D.
    pub taps: usize,
    /// Number of tiles.
    pub tiles: usize,
    /// The result: 4 vectors a tile.
    pub output: *mut f32,
}

/// Does an [`InputPoints`].
///
/// # Safety
/// Values exist for all points, tiles and taps, weights for all points and taps, the output for all tiles; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn input_points<S: Simd>(i: &InputPoints) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut tile = 0;
        while i.tiles - tile >= 2 {
            input_tiles::<S, 2>(i, tile);
            tile += 2;
        }
        if tile < i.tiles {
            input_tiles::<S, 1>(i, tile);
        }
    }
}

/// T tiles of [`input_points`], from `first` on.
///
/// # Safety
/// As for [`input_points`]; there are all of these tiles.
#[inline(always)]
unsafe fn input_tiles<S: Simd, const T: usize>(i: &InputPoints, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut products = [[S::zero(); INPUT_POINTS]; T];
        // As many points at a time as have their sums in registers.
        if S::MANY_REGISTERS {
            input_sums::<S, T, 8>(i, first, 0, &mut products);
        } else {
            for point in (0..INPUT_POINTS).step_by(2) {
                input_sums::<S, T, 2>(i, first, point, &mut products);
            }
        }
        for t in 0..T {
            let y = inverse_points::<S, INPUT_POINTS>(products[t]);
            for o in 0..4 {
                S::store(i.output.add(((first + t) * 4 + o) * LANES), y[o]);
            }
        }
    }
}

/// Adds the products of P points, from `point` on, of T tiles.
///
/// # Safety
/// As for [`input_tiles`]; there are all of these points.
#[inline(always)]
unsafe fn input_sums<S: Simd, const T: usize, const P: usize>(
    i: &InputPoints,
    first: usize,
    point: usize,
    products: &mut [[S::V; INPUT_POINTS]; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::zero(); P]; T];
        for tap in 0..i.taps {
            for p in 0..P {
                let weight = S::load(i.weights.add((tap * INPUT_POINTS + point + p) * LANES));
                let value = i.values.add((point + p) * i.point_stride + tap * i.tap_stride + first * i.tile_stride);
                for t in 0..T {
                    sums[t][p] = S::mul_add(S::broadcast(value.add(t * i.tile_stride)), weight, sums[t][p]);
                }
            }
        }
        for t in 0..T {
            for p in 0..P {
                products[t][point + p] = sums[t][p];
            }
        }
    }
}

/// The end of the input layer in Winograd's form, for 4 rows of voxels: back along H, then `output = act(value + bias) + x`.
pub struct InputFinish {
    /// The vector of voxel 0 at the first point along H.
    pub input: *const f32,
    /// f32 from a point to the next; the vectors of a row follow one another.
    pub input_stride: usize,
    /// 16 biases.
    pub bias: *const f32,
    /// 16 slopes of the activation.
    pub slopes: *const f32,
    /// 1 for each place that holds a channel, else 0: what x is multiplied with.
    pub present: *const f32,
    /// The network's input in the voxels of each row.
    pub x: [*const f32; 4],
    /// The results.
    pub outputs: [Row; 4],
    /// Number of rows that exist.
    pub rows: usize,
    /// Number of voxels in a row.
    pub voxels: usize,
}

/// Does an [`InputFinish`].
///
/// # Safety
/// The input exists for all points and voxels, x and the outputs for the rows that exist; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn input_finish<S: Simd>(i: &InputFinish) {
    // SAFETY: the caller's promise.
    unsafe {
        let (bias, slopes, present) = (S::load(i.bias), S::load(i.slopes), S::load(i.present));
        for v in 0..i.voxels {
            let mut m = [S::zero(); INPUT_POINTS];
            for p in 0..INPUT_POINTS {
                m[p] = S::load(i.input.add(p * i.input_stride + v * LANES));
            }
            let y = inverse_points::<S, INPUT_POINTS>(m);
            for o in 0..4 {
                if o < i.rows {
                    let value = S::prelu(S::add(y[o], bias), slopes);
                    S::store(i.outputs[o].at(v), S::mul_add(S::broadcast(i.x[o].add(v)), present, value));
                }
            }
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
        let w = h.weights;
        let mut first = 0;
        while first < h.voxels {
            // As many voxels as there are lanes, so that all their sums over channels are made together.
            let count = LANES.min(h.voxels - first);
            let mut logits = S::splat(w.bias);
            for n in 0..2 {
                let mut products = [S::zero(); LANES];
                for v in 0..count {
                    for b in 0..h.blocks.len() {
                        let x = S::load(h.blocks[b].add((first + v) * LANES));
                        products[v] = S::mul_add(x, S::load(w.hidden[n].as_ptr().add(b * LANES)), products[v]);
                    }
                }
                let hidden = S::add(S::sums(products), S::splat(w.hidden_bias[n]));
                logits = S::mul_add(S::splat(w.binary[n]), S::prelu(hidden, S::splat(w.slopes[n])), logits);
            }
            if count == LANES {
                S::store(h.output.add(first), logits);
            } else {
                let mut values = [0.0; LANES];
                S::store(values.as_mut_ptr(), logits);
                h.output.add(first).copy_from_nonoverlapping(values.as_ptr(), count);
            }
            first += count;
        }
    }
}
