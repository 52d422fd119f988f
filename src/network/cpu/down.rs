//! Convolution whose stride is its kernel, without padding: each output voxel sees a block of input voxels of its own.
//!
//! A tile's blocks are gathered tap by tap; one matrix product does the rest.

use super::epilogue::Epilogue;
use super::kernels::Kernels;
use super::layout::{Blocks, KernelValues};
use super::rows::Row;
use super::simd::LANES;
use super::strided::Strided;
use crate::network::Result;
use crate::network::region::{Tiling, Voxels};

/// The smallest part that is computed by itself. The smaller it is, the more of the background is skipped here and in the layers that follow.
const TILE: [usize; 3] = [2, 2, 4];

/// Tiles side by side along W that are computed at a time.
pub const LONGEST: usize = 4;

/// A packed layer.
pub struct Down(Strided);

impl Down {
    /// Packs the values of a kernel.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &Kernels, kernel: &KernelValues, epilogue: Epilogue) -> Result<Down> {
        let blocks = kernel.input.blocks();
        let segments = kernel.size.iter().product::<usize>() * blocks;
        Strided::new(kernels, kernel, epilogue, [segments, kernel.output.blocks()], |segment, k, n| {
            kernel.at(segment / blocks, segment % blocks * LANES + k, n)
        })
        .map(Down)
    }

    /// What a pass is shared out in, on the output's grid.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: TILE }
    }

    fn segments(&self) -> usize {
        self.0.taps() * self.0.input_blocks
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self) -> usize {
        (self.segments() + self.0.output_blocks) * TILE.iter().product::<usize>() * LONGEST * LANES
    }

    /// Computes tiles side by side, `voxels` of the output.
    ///
    /// # Safety
    /// Input and output are of the blocks that the layer was made for, the input's grid is `stride` times the output's, and nobody writes them at the
    /// same time but for other voxels.
    pub unsafe fn tiles(&self, kernels: &Kernels, input: &Blocks, output: &Blocks, voxels: &Voxels, scratch: &mut [f32]) {
        let [ds, hs, ws] = self.inputs(voxels);
        for block in 0..self.0.input_blocks {
            for d in ds.clone() {
                for h in hs.clone() {
                    let from = input.at(block, [d, h, ws.start]);
                    let to = self.place(voxels, scratch.as_mut_ptr(), block, [d, h]);
                    for w in 0..ws.len() {
                        // SAFETY: the voxel is inside the input's grid; a vector is 16 f32 on both sides.
                        unsafe { to.at(w).copy_from_nonoverlapping(from.add(w * LANES), LANES) };
                    }
                }
            }
        }
        // SAFETY: the caller's promise; the inputs have been gathered.
        unsafe { self.gathered(kernels, output, voxels, scratch) };
    }

    /// The voxels of the input that `voxels` of the output are computed from.
    pub fn inputs(&self, voxels: &Voxels) -> Voxels {
        [0, 1, 2].map(|axis| voxels[axis].start * self.0.stride[axis]..voxels[axis].end * self.0.stride[axis])
    }

    /// Where row (d, h) of [`Down::inputs`] is gathered in `scratch`: `[tap][block][voxel of the output][16]`.
    pub fn place(&self, [ds, hs, ws]: &Voxels, scratch: *mut f32, block: usize, [d, h]: [usize; 2]) -> Row {
        let [sd, sh, sw] = self.0.stride;
        let rows = ds.len() * hs.len() * ws.len();
        let row = ((d / sd - ds.start) * hs.len() + h / sh - hs.start) * ws.len();
        let part = |k: usize| {
            let tap = (d % sd * sh + h % sh) * sw + k;
            scratch.wrapping_add(((tap * self.0.input_blocks + block) * rows + row) * LANES)
        };
        Row { parts: [part(0), part(sw - 1)], stride: sw }
    }

    /// Computes tiles whose inputs have been gathered.
    ///
    /// # Safety
    /// The output is of the blocks that the layer was made for, and nobody writes it at the same time but for other voxels.
    pub unsafe fn gathered(&self, kernels: &Kernels, output: &Blocks, [ds, hs, ws]: &Voxels, scratch: &mut [f32]) {
        let rows = ds.len() * hs.len() * ws.len();
        let segments = self.segments();
        let (gathered, sums) = scratch.split_at_mut(segments * rows * LANES);
        // SAFETY: every segment has `rows` gathered vectors, and the sums have room for them.
        unsafe { self.0.product(kernels, [segments, self.0.output_blocks], rows, gathered, sums) };
        let mut row = sums.as_ptr();
        for block in 0..self.0.output_blocks {
            for d in ds.clone() {
                for h in hs.clone() {
                    // SAFETY: the sums hold a row for each block, d and h; the row is inside the output's grid.
                    unsafe {
                        self.0.finish(kernels, block, [ws.len(), 1], row, output.at(block, [d, h, ws.start]));
                        row = row.add(ws.len() * LANES);
                    }
                }
            }
        }
    }
}
