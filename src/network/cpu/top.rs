//! The last block of the network slab by slab: its up-convolution, the skip connection, its convolution and the head.
//!
//! On the network's own grid activations are largest. Where the last block has a single convolution, the up-convolution's output and the skip
//! connection (the input layer's output, computed a second time) are only made for the few planes that the convolution is about to read. That
//! costs one more pass of the input layer and saves two buffers on the largest grid.

use super::convolution::{self, Convolution};
use super::layout::Blocks;
use super::memory::Block;
use super::winograd::batch::Batch;
use super::{input, up};
use crate::network::Result;
use crate::network::plan::{Plan, Step};
use crate::network::region::{Voxels, Work};
use std::ops::Range;

/// Rows of tiles along D that are convolved at a time.
const ROWS: usize = 1;
/// Rows of tiles that the convolution reads beyond them, on both sides together.
const BEYOND: usize = 2;

/// The steps of the last block.
pub struct Top {
    /// Number of the up-convolution's step.
    pub up: usize,
    /// Number of the convolution's step.
    pub convolution: usize,
    /// The planes that are kept of the concatenation: the up-convolution's blocks, then the skip connection's.
    pub planes: Blocks,
    /// The skip connection's blocks of `planes`.
    pub skip: Blocks,
    /// A tile of the input layer's output that sees nothing but background.
    pub background: Blocks,
    // Kept alive for the blocks above, which point into it.
    _memory: Block,
}

/// What is made of the concatenation for a slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tiles of the up-convolution.
    Up(Voxels),
    /// Tiles of the input layer.
    Input(Voxels),
    /// A tile of the input layer that sees nothing but background.
    Background(Voxels),
}

/// A slab: what it needs of the concatenation besides what is there already, and its batches.
#[derive(Clone, Debug)]
pub struct Slab {
    /// To be made first.
    pub parts: Vec<Part>,
    /// Which of the batches belong to the slab.
    pub batches: Range<usize>,
}

impl Top {
    /// The last block of a plan, if it can be done slab by slab: one convolution by tiles as thick as the producers', `blocks` (the
    /// up-convolution's and the skip connection's), and the head following; `step` is the convolution's.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(plan: &Plan, step: usize, layer: &Convolution, blocks: [usize; 2]) -> Result<Option<Top>> {
        let tiling = layer.tiling(plan.shape);
        let tile = tiling.tile;
        let Some(up) = step.checked_sub(1) else { return Ok(None) };
        let (Step::Up { skip, .. }, Convolution::Winograd(winograd)) = (&plan.steps[up], layer) else { return Ok(None) };
        let from_input = matches!(plan.steps[plan.buffers[*skip].written], Step::Input { .. });
        let thick = tile[0] == up::TILE[0] && tile[0] == input::TILE[0];
        if !from_input || !thick || convolution::shares_points(winograd, &tiling) {
            return Ok(None);
        }
        let planes = ((ROWS + BEYOND) * tile[0]).min(plan.shape[0].next_multiple_of(tile[0]));
        let (len, all) = (Blocks::block_len([planes, plan.shape[1], plan.shape[2]]), blocks[0] + blocks[1]);
        let tile_len = Blocks::block_len(input::TILE);
        let mut memory = Block::new(all * len + blocks[1] * tile_len)?;
        let base = memory.values_mut().as_mut_ptr();
        let places: Vec<*mut f32> = (0..all).map(|block| base.wrapping_add(block * len)).collect();
        let skip = Blocks { shape: plan.shape, planes, places: places[blocks[0]..].to_vec() };
        let background = Blocks {
            shape: input::TILE,
            planes: input::TILE[0],
            places: (0..blocks[1]).map(|block| base.wrapping_add(all * len + block * tile_len)).collect(),
        };
        let planes = Blocks { shape: plan.shape, planes, places };
        Ok(Some(Top { up, convolution: step, planes, skip, background, _memory: memory }))
    }

    /// The slabs of a pass, from the work of the input layer and the up-convolution; `batches` are the convolution's, in the order of their first axis.
    pub fn slabs(&self, [input, up]: [&Work; 2], batches: &[Batch]) -> Vec<Slab> {
        let shape = self.planes.shape;
        // Of the input layer's tiles the first block needs more than the last, which reads those where the up-convolution's are.
        let tiling = input::Input::tiling(shape);
        debug_assert_eq!(tiling, up::Up::tiling(shape), "both layers' outputs are read together");
        let rows = tiling.counts()[0];
        let row = tiling.len() / rows;
        let mut slabs = Vec::new();
        let (mut made, mut batch) = (0, 0);
        for first in (0..rows).step_by(ROWS) {
            let needed = (first + ROWS + BEYOND / 2).min(rows);
            let tiles = made * row..needed * row;
            made = needed;
            let mut parts: Vec<Part> =
                tiling.boxes(tiles.clone(), |tile| up.compute[tile], up::LONGEST).into_iter().map(Part::Up).collect();
            let computed = tiling.boxes(tiles.clone(), |tile| up.compute[tile] && input.compute[tile], input::LONGEST);
            parts.extend(computed.into_iter().map(Part::Input));
            let copied = input.copies.iter().map(|copy| copy.tile).filter(|&tile| tiles.contains(&tile) && up.compute[tile]);
            parts.extend(copied.map(|tile| Part::Background(tiling.voxels(tile))));
            let begin = batch;
            while batch < batches.len() && batches[batch].origin[0] < first + ROWS {
                batch += 1;
            }
            slabs.push(Slab { parts, batches: begin..batch });
        }
        slabs
    }
}
