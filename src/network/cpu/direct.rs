//! Convolution of stride 1 by its definition: for kernels that Winograd's transforms are not made for.
//!
//! Work is shared out in rows of the output. For each block of input channels the row's surroundings are gathered with their padding, then one
//! matrix product adds all taps.

use super::epilogue::Epilogue;
use super::gemm::{self, Gemm};
use super::kernels::Kernels;
use super::layout::{Blocks, KernelValues};
use super::memory::Block;
use super::rows::Finish;
use super::simd::LANES;
use crate::network::Result;
use crate::network::region::{Tiling, Voxels};

/// A packed layer.
pub struct Direct {
    kernel: [usize; 3],
    /// For each block of input channels the packed weights of all taps.
    weights: Block,
    input_blocks: usize,
    output_blocks: usize,
    epilogue: Epilogue,
}

impl Direct {
    /// Packs the values of a kernel.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &Kernels, kernel: &KernelValues, epilogue: Epilogue) -> Result<Direct> {
        let taps = kernel.size.iter().product();
        let (input_blocks, output_blocks) = (kernel.input.blocks(), kernel.output.blocks());
        let len = gemm::packed_len(taps, output_blocks);
        let mut weights = Block::new(input_blocks * len)?;
        for (block, packed) in weights.values_mut().chunks_exact_mut(len).enumerate() {
            gemm::pack(taps, output_blocks, kernels.panel, packed, |tap, k, n| kernel.at(tap, block * LANES + k, n));
        }
        Ok(Direct { kernel: kernel.size, weights, input_blocks, output_blocks, epilogue })
    }

    /// What a pass over a grid is shared out in: rows.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: [1, 1, shape[2]] }
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self, shape: [usize; 3]) -> usize {
        self.patch_len(shape) + self.output_blocks * shape[2] * LANES
    }

    fn patch_row(&self, shape: [usize; 3]) -> usize {
        (shape[2] + self.kernel[2] - 1) * LANES
    }

    fn patch_len(&self, shape: [usize; 3]) -> usize {
        self.kernel[0] * self.kernel[1] * self.patch_row(shape)
    }

    /// Computes one tile, `voxels`: a row.
    ///
    /// # Safety
    /// Input, residual and output are of the grid and the blocks that the layer was made for, and nobody writes them at the same time but for other rows.
    pub unsafe fn row(
        &self,
        kernels: &Kernels,
        input: &Blocks,
        residual: Option<&Blocks>,
        output: &Blocks,
        [d, h, _]: &Voxels,
        scratch: &mut [f32],
    ) {
        let shape = input.shape;
        let (d, h) = (d.start, h.start);
        let (patch, sums) = scratch.split_at_mut(self.patch_len(shape));
        let [kd, kh, kw] = self.kernel;
        let row_len = self.patch_row(shape);
        let segments: Vec<usize> = (0..kd * kh).flat_map(|row| (0..kw).map(move |k| row * row_len + k * LANES)).collect();
        let packed = gemm::packed_len(segments.len(), self.output_blocks);
        for block in 0..self.input_blocks {
            for (row, values) in patch.chunks_exact_mut(row_len).enumerate() {
                values.fill(0.0);
                let (z, y) = ((d + row / kh).wrapping_sub(kd / 2), (h + row % kh).wrapping_sub(kh / 2));
                if z < shape[0] && y < shape[1] {
                    // SAFETY: the row (z, y) is inside the input's grid and has `shape[2]` vectors; the patch's row has `kw - 1` more.
                    unsafe {
                        let from = input.at(block, [z, y, 0]).cast_const();
                        values.as_mut_ptr().add(kw / 2 * LANES).copy_from_nonoverlapping(from, input.row());
                    }
                }
            }
            let weights = self.weights.values()[block * packed..].as_ptr();
            // SAFETY: every segment's row lies in the patch, the packed weights were made for these segments and blocks, the sums have room for them.
            unsafe {
                gemm::gemm(
                    kernels,
                    &Gemm {
                        a: patch.as_ptr(),
                        segments: &segments,
                        rows: shape[2],
                        weights,
                        blocks: self.output_blocks,
                        c: sums.as_mut_ptr(),
                        block_stride: shape[2] * LANES,
                        accumulate: block > 0,
                        next_weights: weights.wrapping_add(packed),
                    },
                );
            }
        }
        for block in 0..self.output_blocks {
            // SAFETY: the sums hold a row for each block; the row (d, h) is inside the grid of output and residual.
            unsafe {
                (kernels.finish)(&Finish {
                    sums: sums.as_ptr().add(block * shape[2] * LANES),
                    voxels: shape[2],
                    bias: self.epilogue.bias[block * LANES..].as_ptr(),
                    slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                    residual: residual.map_or(std::ptr::null(), |r| r.at(block, [d, h, 0]).cast_const()),
                    output: output.at(block, [d, h, 0]),
                    output_step: LANES,
                });
            }
        }
    }
}
