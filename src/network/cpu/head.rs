//! The head: two convolutions of one tap that make a logit of each voxel.

use super::kernels::Kernels;
use super::layout::{Blocks, Slots};
use super::rows::{HeadRow, HeadWeights};
use crate::network::description::HEAD_CHANNELS;
use crate::network::region::{Tiling, Voxels};
use crate::network::weights::LayerTensors;

/// A packed head.
pub struct Head {
    weights: HeadWeights,
}

impl Head {
    /// The head with the weights of its first convolution in the places of `input`.
    pub fn new(hidden: &LayerTensors, binary: &LayerTensors, input: &Slots) -> Head {
        let pair = |values: &[f32]| [values[0], values[1]];
        let column = |n: usize| input.scatter(&hidden.kernel.iter().skip(n).step_by(HEAD_CHANNELS).copied().collect::<Vec<_>>());
        Head {
            weights: HeadWeights {
                hidden: [column(0), column(1)],
                hidden_bias: pair(&hidden.bias),
                slopes: hidden.slopes.as_deref().map_or([0.0; 2], pair),
                binary: pair(&binary.kernel),
                bias: binary.bias[0],
            },
        }
    }

    /// What a pass is shared out in: rows.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: [1, 1, shape[2]] }
    }

    /// The logits of `voxels` voxels; `blocks` has the first vector of each block.
    ///
    /// # Safety
    /// Every block has `voxels` vectors, and there is one block for each that the head was made for; the logits have room.
    pub unsafe fn logits(&self, kernels: &Kernels, blocks: &[*const f32], voxels: usize, logits: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { (kernels.head_row)(&HeadRow { blocks, voxels, weights: &self.weights, output: logits }) }
    }

    /// Computes one tile, `voxels`: a row.
    ///
    /// # Safety
    /// The input is of the blocks that the head was made for, the logits have its grid, and nobody writes them at the same time but for other rows.
    pub unsafe fn row(&self, kernels: &Kernels, input: &Blocks, logits: *mut f32, [d, h, _]: &Voxels) {
        let (d, h) = (d.start, h.start);
        let blocks: Vec<*const f32> = (0..input.places.len()).map(|b| input.at(b, [d, h, 0]).cast_const()).collect();
        let width = input.shape[2];
        // SAFETY: a row of the grid has `width` voxels on both sides.
        unsafe { self.logits(kernels, &blocks, width, logits.add((d * input.shape[1] + h) * width)) }
    }
}
