//! The choice of how a convolution of stride 1 is computed, and in what parts.

use super::direct::Direct;
use super::epilogue::Epilogue;
use super::kernels::Kernels;
use super::layout::{KernelValues, Slots};
use super::winograd::Winograd;
use crate::network::Result;
use crate::network::plan::Layer;
use crate::network::region::Tiling;
use crate::network::weights::Weights;

/// A packed layer.
pub enum Convolution {
    /// Kernels that no transform is there for.
    Direct(Direct),
    /// Kernels of 5 taps along each axis, or 1.
    Winograd(Winograd),
}

/// Tiles of a batch where the matrices are small: all that belongs to a batch stays in the cache of one core.
const TILES: usize = 48;
/// Tiles of a batch where the matrices are large: each weight is read once for so many tiles.
const MANY_TILES: usize = 64;
/// Most tiles of a batch along W.
const WIDTH: usize = 16;
/// From so many blocks of input channels on matrices are large.
const LARGE: usize = 4;

impl Convolution {
    /// Packs a layer for a grid of `shape` in the way that is fastest there.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(
        kernels: &Kernels,
        threads: usize,
        weights: &Weights,
        layer: &Layer,
        shape: [usize; 3],
        slots: [&Slots; 2],
    ) -> Result<Convolution> {
        let tensors = weights.layer(layer);
        let (kernel, epilogue) = (KernelValues::new(layer, &tensors, slots), Epilogue::new(&tensors, slots[1]));
        Ok(match points(layer.kernel, shape) {
            Some(points) => Convolution::Winograd(Winograd::new(kernels, threads, points, &kernel, epilogue)?),
            None => Convolution::Direct(Direct::new(kernels, &kernel, epilogue)?),
        })
    }

    /// The layer, if it is computed by Winograd's transforms.
    pub fn winograd(&self) -> Option<&Winograd> {
        match self {
            Convolution::Direct(_) => None,
            Convolution::Winograd(layer) => Some(layer),
        }
    }

    /// What a pass over a grid is shared out in.
    pub fn tiling(&self, shape: [usize; 3]) -> Tiling {
        match self {
            Convolution::Direct(_) => Direct::tiling(shape),
            Convolution::Winograd(layer) => layer.tiling(shape),
        }
    }
}

/// Points along each axis of the best transform for a kernel on a grid; `None` where there is none for the kernel.
///
/// Of n voxels along an axis F(4, 5) takes 8 products for each 4 voxels begun, F(2, 5) takes 6 for each 2 begun: F(4, 5) is faster but for 1 or 2
/// voxels. On grids of at most [`SMALL_GRID`] voxels a side both wait for their weights more than for the processor; F(2, 5) has less than half
/// of them, which is worth more than the few milliseconds that it takes longer.
pub fn points(kernel: [usize; 3], shape: [usize; 3]) -> Option<[usize; 3]> {
    let small = (0..3).all(|axis| kernel[axis] == 1 || shape[axis] <= SMALL_GRID);
    let mut points = [1; 3];
    for axis in 0..3 {
        points[axis] = match kernel[axis] {
            1 => 1,
            5 if small || shape[axis] <= 2 => 6,
            5 => 8,
            _ => return None,
        };
    }
    // Without any transform the matrix product over rows is all there is to do.
    (points != [1; 3]).then_some(points)
}

/// Longest side of a grid on which weights matter more than products.
const SMALL_GRID: usize = 8;

/// Largest box of tiles of a batch.
pub fn batch_size(layer: &Winograd, tiling: &Tiling) -> [usize; 3] {
    let counts = tiling.counts();
    if shares_points(layer, tiling) {
        return counts;
    }
    let tiles = if layer.input_blocks() < LARGE { TILES } else { MANY_TILES };
    let width = counts[2].min(WIDTH);
    [1, (tiles / width).min(counts[1]).max(1), width]
}

/// Whether the threads share out the points of one batch, which has all tiles, instead of batches: on small grids of many channels, where
/// reading the weights takes longest, each weight is then read once.
pub fn shares_points(layer: &Winograd, tiling: &Tiling) -> bool {
    layer.depth_points() > 1 && tiling.len() <= MANY_TILES
}
