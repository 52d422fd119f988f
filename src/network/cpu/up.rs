//! Transposed convolution whose stride is its kernel: each input voxel fills a block of output voxels of its own.
//!
//! One matrix product makes all taps of a tile's input voxels; their ends are written to where they belong.

use super::epilogue::Epilogue;
use super::kernels::Kernels;
use super::layout::{Blocks, KernelValues};
use super::simd::LANES;
use super::strided::Strided;
use crate::network::Result;
use crate::network::region::{Tiling, Voxels};

/// The smallest part that is computed by itself: a multiple of the largest stride.
pub const TILE: [usize; 3] = [4; 3];

/// Tiles side by side along W that are computed at a time.
pub const LONGEST: usize = 4;

/// A packed layer.
pub struct Up(Strided);

impl Up {
    /// Packs the values of a transposed convolution's kernel.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &Kernels, kernel: &KernelValues, epilogue: Epilogue) -> Result<Up> {
        let of_tap = kernel.output.blocks() * LANES;
        let blocks = kernel.size.iter().product::<usize>() * kernel.output.blocks();
        Strided::new(kernels, kernel, epilogue, [kernel.input.blocks(), blocks], |block, k, n| {
            kernel.transposed_at(n / of_tap, block * LANES + k, n % of_tap)
        })
        .map(Up)
    }

    /// What a pass is shared out in, on the output's grid.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: TILE }
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self) -> usize {
        let voxels = TILE.iter().product::<usize>() * LONGEST / self.0.taps();
        (self.0.input_blocks + self.0.taps() * self.0.output_blocks) * voxels * LANES
    }

    /// Computes tiles side by side, `voxels` of the output's first blocks.
    ///
    /// # Safety
    /// Input and output are of the blocks that the layer was made for, the output's grid is `stride` times the input's, and nobody writes them at the
    /// same time but for other voxels.
    pub unsafe fn tiles(&self, kernels: &Kernels, input: &Blocks, output: &Blocks, voxels: &Voxels, scratch: &mut [f32]) {
        let [sd, sh, sw] = self.0.stride;
        let [ds, hs, ws] = [0, 1, 2].map(|axis| voxels[axis].start / self.0.stride[axis]..voxels[axis].end / self.0.stride[axis]);
        let rows = ds.len() * hs.len() * ws.len();
        let segments = self.0.input_blocks;
        let (gathered, sums) = scratch.split_at_mut(segments * rows * LANES);
        let mut lines = gathered.chunks_exact_mut(ws.len() * LANES);
        for block in 0..self.0.input_blocks {
            for d in ds.clone() {
                for h in hs.clone() {
                    let from = input.at(block, [d, h, ws.start]).cast_const();
                    let to = lines.next().expect("one line for each block, d and h");
                    // SAFETY: the line is inside the input's grid.
                    unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) };
                }
            }
        }
        // SAFETY: every segment has `rows` gathered vectors, and the sums have room for them.
        unsafe { self.0.product(kernels, [segments, self.0.taps() * self.0.output_blocks], rows, gathered, sums) };
        let mut row = sums.as_ptr();
        for tap in 0..self.0.taps() {
            let [i, j, k] = [tap / (sh * sw), tap / sw % sh, tap % sw];
            for block in 0..self.0.output_blocks {
                for d in ds.clone() {
                    for h in hs.clone() {
                        // SAFETY: the sums hold a row for each tap, block, d and h; the voxels are inside the output's grid.
                        unsafe {
                            let to = output.at(block, [d * sd + i, h * sh + j, ws.start * sw + k]);
                            self.0.finish(kernels, block, [ws.len(), sw], row, to);
                            row = row.add(ws.len() * LANES);
                        }
                    }
                }
            }
        }
    }
}
