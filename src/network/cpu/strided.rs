//! What down- and up-convolutions share: packed weights, the one matrix product of a box of tiles, and its ends.

use super::epilogue::Epilogue;
use super::gemm::{self, Gemm};
use super::kernels::Kernels;
use super::layout::KernelValues;
use super::memory::Block;
use super::rows::Finish;
use super::simd::LANES;
use crate::network::Result;

/// A packed layer whose stride is its kernel.
pub struct Strided {
    /// Stride and kernel.
    pub stride: [usize; 3],
    weights: Block,
    /// Blocks of the input.
    pub input_blocks: usize,
    /// Blocks of the output.
    pub output_blocks: usize,
    epilogue: Epilogue,
}

impl Strided {
    /// Packs `value` of each segment, place in it and column, for a product of so many `segments` and `blocks` of
    /// columns.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(
        kernels: &Kernels,
        kernel: &KernelValues,
        epilogue: Epilogue,
        [segments, blocks]: [usize; 2],
        value: impl Fn(usize, usize, usize) -> f32,
    ) -> Result<Strided> {
        let mut weights = Block::new(gemm::packed_len(segments, blocks))?;
        gemm::pack(segments, blocks, kernels.panel, weights.values_mut(), value);
        let (input_blocks, output_blocks) = (kernel.input.blocks(), kernel.output.blocks());
        Ok(Strided { stride: kernel.size, weights, input_blocks, output_blocks, epilogue })
    }

    /// Voxels of the kernel.
    pub fn taps(&self) -> usize {
        self.stride.iter().product()
    }

    /// The product of `rows` gathered vectors of each segment, into `blocks` blocks of sums.
    ///
    /// # Safety
    /// Segments and blocks are those of [`Strided::new`]; every segment has `rows` vectors, and the sums have room for
    /// as many of each block.
    pub unsafe fn product(
        &self,
        kernels: &Kernels,
        [segments, blocks]: [usize; 2],
        rows: usize,
        gathered: &[f32],
        sums: &mut [f32],
    ) {
        let segments: Vec<usize> = (0..segments).map(|segment| segment * rows * LANES).collect();
        let weights = self.weights.values().as_ptr();
        let product = Gemm {
            a: gathered.as_ptr(),
            segments: &segments,
            rows,
            weights,
            blocks,
            c: sums.as_mut_ptr(),
            block_stride: rows * LANES,
            accumulate: false,
            next_weights: weights,
        };
        // SAFETY: the caller's promise.
        unsafe { gemm::gemm(kernels, &product) };
    }

    /// Ends a row of `voxels` sums of a block: bias and activation, written to `output`, a vector every `step` voxels.
    ///
    /// # Safety
    /// There are so many sums, and so much room; nobody else writes there.
    pub unsafe fn finish(&self, kernels: &Kernels, block: usize, [voxels, step]: [usize; 2], sums: *const f32, output: *mut f32) {
        let finish = Finish {
            sums,
            voxels,
            bias: self.epilogue.bias[block * LANES..].as_ptr(),
            slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
            residual: std::ptr::null(),
            output,
            output_step: step * LANES,
        };
        // SAFETY: the caller's promise; bias and slopes have the places of every block.
        unsafe { (kernels.finish)(&finish) };
    }
}
