//! The input layer: a convolution of the one-channel scan, the scan itself added to every channel.

use super::epilogue::Epilogue;
use super::kernels::Kernels;
use super::layout::{Blocks, Slots};
use super::rows::InputRow;
use super::simd::LANES;
use crate::network::region::Tiling;

/// Largest tile of voxels.
pub const TILE: [usize; 3] = [4, 4, 16];

/// A packed layer.
pub struct Input {
    kernel: [usize; 3],
    /// For each output block one vector a tap.
    weights: Vec<f32>,
    /// 1 in each place that holds a channel.
    present: Vec<f32>,
    epilogue: Epilogue,
}

impl Input {
    /// Packs `kernel_values`, (kd, kh, kw, 1, out), for outputs in `output`.
    pub fn new(kernel: [usize; 3], kernel_values: &[f32], output: &Slots, channels: usize, epilogue: Epilogue) -> Input {
        let taps: usize = kernel.iter().product();
        let weights = (0..output.blocks()).flat_map(|block| {
            (0..taps * LANES)
                .map(move |i| output.channel(block * LANES + i % LANES).map_or(0.0, |n| kernel_values[i / LANES * channels + n]))
        });
        Input { kernel, weights: weights.collect(), present: output.spread(&vec![1.0; channels]), epilogue }
    }

    /// What a pass is shared out in.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: TILE }
    }

    fn patch_shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| TILE[axis] + self.kernel[axis] - 1)
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self) -> usize {
        self.patch_shape().iter().product()
    }

    /// Computes one tile of the output from the scan `x`, (D, H, W).
    ///
    /// # Safety
    /// The output is of the blocks that the layer was made for, x has the output's grid, and nobody writes the tile at the same time.
    pub unsafe fn tile(&self, kernels: &Kernels, x: &[f32], output: &Blocks, tile: usize, scratch: &mut [f32]) {
        let shape = output.shape;
        let [ds, hs, ws] = Input::tiling(shape).voxels(tile);
        let [kd, kh, kw] = self.kernel;
        let [_, patch_height, patch_width] = self.patch_shape();
        // The tile's surroundings with their padding.
        let left = ws.start.saturating_sub(kw / 2);
        let right = (ws.end + kw / 2).min(shape[2]);
        for (row, values) in scratch.chunks_exact_mut(patch_width).take(self.scratch_len() / patch_width).enumerate() {
            values.fill(0.0);
            let z = (ds.start + row / patch_height).wrapping_sub(kd / 2);
            let y = (hs.start + row % patch_height).wrapping_sub(kh / 2);
            if z < shape[0] && y < shape[1] {
                let from = (z * shape[1] + y) * shape[2];
                let to = left + kw / 2 - ws.start;
                values[to..to + right - left].copy_from_slice(&x[from + left..from + right]);
            }
        }
        let mut rows = Vec::with_capacity(kd * kh);
        for d in ds.clone() {
            for h in hs.clone() {
                rows.clear();
                for tap in 0..kd * kh {
                    let row = (d - ds.start + tap / kh) * patch_height + h - hs.start + tap % kh;
                    rows.push(scratch[row * patch_width..].as_ptr());
                }
                for block in 0..output.places.len() {
                    // SAFETY: the patch's rows are `kw - 1` longer than the tile's; the row (d, h) is inside the grid of x and output.
                    unsafe {
                        (kernels.input_row)(&InputRow {
                            rows: &rows,
                            width: kw,
                            weights: self.weights[block * kd * kh * kw * LANES..].as_ptr(),
                            bias: self.epilogue.bias[block * LANES..].as_ptr(),
                            slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                            present: self.present[block * LANES..].as_ptr(),
                            x: x[(d * shape[1] + h) * shape[2] + ws.start..].as_ptr(),
                            voxels: ws.len(),
                            output: output.at(block, [d, h, ws.start]),
                        });
                    }
                }
            }
        }
    }
}
