//! Transposed convolution whose stride is its kernel: each input voxel fills a block of output voxels of its own.
//!
//! One matrix product makes all taps of a tile's input voxels; their ends are written to where they belong.

use super::epilogue::Epilogue;
use super::gemm::{self, Gemm};
use super::kernels::Kernels;
use super::layout::{Blocks, Slots};
use super::memory::Block;
use super::rows::Finish;
use super::simd::LANES;
use crate::network::Result;
use crate::network::region::{Tiling, Voxels};

/// The smallest part that is computed by itself: a multiple of the largest stride.
pub const TILE: [usize; 3] = [4; 3];

/// Tiles side by side along W that are computed at a time.
pub const LONGEST: usize = 4;

/// A packed layer.
pub struct Up {
    stride: [usize; 3],
    weights: Block,
    input_blocks: usize,
    output_blocks: usize,
    epilogue: Epilogue,
}

impl Up {
    /// Packs `kernel_values`, (kd, kh, kw, out, in), for inputs in `input` and outputs in `output`; `channels` are those of input and output.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(
        kernels: &Kernels,
        stride: [usize; 3],
        kernel_values: &[f32],
        input: &Slots,
        output: &Slots,
        channels: [usize; 2],
        epilogue: Epilogue,
    ) -> Result<Up> {
        let (input_blocks, output_blocks) = (input.blocks(), output.blocks());
        let blocks = stride.iter().product::<usize>() * output_blocks;
        let mut weights = Block::new(gemm::packed_len(input_blocks, blocks))?;
        gemm::pack(input_blocks, blocks, kernels.panel, weights.values_mut(), |block, k, n| {
            let (tap, place) = (n / (output_blocks * LANES), n % (output_blocks * LANES));
            match (input.channel(block * LANES + k), output.channel(place)) {
                (Some(c), Some(n)) => kernel_values[(tap * channels[1] + n) * channels[0] + c],
                _ => 0.0,
            }
        });
        Ok(Up { stride, weights, input_blocks, output_blocks, epilogue })
    }

    /// What a pass is shared out in, on the output's grid.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: TILE }
    }

    fn taps(&self) -> usize {
        self.stride.iter().product()
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self) -> usize {
        let voxels = TILE.iter().product::<usize>() * LONGEST / self.taps();
        (self.input_blocks + self.taps() * self.output_blocks) * voxels * LANES
    }

    /// Computes tiles side by side, `voxels` of the output's first blocks.
    ///
    /// # Safety
    /// Input and output are of the blocks that the layer was made for, the output's grid is `stride` times the input's, and nobody writes them at the
    /// same time but for other voxels.
    pub unsafe fn tiles(&self, kernels: &Kernels, input: &Blocks, output: &Blocks, voxels: &Voxels, scratch: &mut [f32]) {
        let [sd, sh, sw] = self.stride;
        let [ds, hs, ws] = [0, 1, 2].map(|axis| voxels[axis].start / self.stride[axis]..voxels[axis].end / self.stride[axis]);
        let rows = ds.len() * hs.len() * ws.len();
        let segments: Vec<usize> = (0..self.input_blocks).map(|s| s * rows * LANES).collect();
        let (gathered, sums) = scratch.split_at_mut(segments.len() * rows * LANES);
        let mut lines = gathered.chunks_exact_mut(ws.len() * LANES);
        for block in 0..self.input_blocks {
            for d in ds.clone() {
                for h in hs.clone() {
                    let from = input.at(block, [d, h, ws.start]).cast_const();
                    let to = lines.next().expect("one line for each block, d and h");
                    // SAFETY: the line is inside the input's grid.
                    unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) };
                }
            }
        }
        // SAFETY: every segment has `rows` gathered vectors, the packed weights were made for these segments and blocks, the sums have room for them.
        unsafe {
            gemm::gemm(
                kernels,
                &Gemm {
                    a: gathered.as_ptr(),
                    segments: &segments,
                    rows,
                    weights: self.weights.values().as_ptr(),
                    blocks: self.taps() * self.output_blocks,
                    c: sums.as_mut_ptr(),
                    block_stride: rows * LANES,
                    accumulate: false,
                    next_weights: self.weights.values().as_ptr(),
                },
            );
        }
        let mut row = sums.as_ptr();
        for tap in 0..self.taps() {
            let [i, j, k] = [tap / (sh * sw), tap / sw % sh, tap % sw];
            for block in 0..self.output_blocks {
                for d in ds.clone() {
                    for h in hs.clone() {
                        // SAFETY: the sums hold a row for each tap, block, d and h; the voxels are inside the output's grid.
                        unsafe {
                            (kernels.finish)(&Finish {
                                sums: row,
                                voxels: ws.len(),
                                bias: self.epilogue.bias[block * LANES..].as_ptr(),
                                slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                                residual: std::ptr::null(),
                                output: output.at(block, [d * sd + i, h * sh + j, ws.start * sw + k]),
                                output_step: sw * LANES,
                            });
                            row = row.add(ws.len() * LANES);
                        }
                    }
                }
            }
        }
    }
}
