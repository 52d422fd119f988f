//! The last block of the network slab by slab: its up-convolution, the skip connection, its convolution and the head.
//!
//! On the network's own grid activations are largest. Where the last block has a single convolution, the
//! up-convolution's output and the skip connection (the input layer's output, computed a second time) are only made for
//! the few planes that the convolution is about to read. That costs one more pass of the input layer and saves two
//! buffers on the largest grid.

use super::convolution::{self, Convolution};
use super::head::Head;
use super::input::{self, Input};
use super::kernels::Kernels;
use super::layout::Blocks;
use super::memory::Block;
use super::up::{self, Up};
use super::winograd::tile_batch::Batch;
use crate::network::Result;
use crate::network::plan::{Plan, Step};
use crate::network::region::{Voxels, Work};
use std::ops::Range;
use std::sync::Arc;

/// Rows of tiles along D that are convolved at a time.
const ROWS: usize = 1;
/// Rows of tiles that the convolution reads beyond them, on both sides together.
const BEYOND: usize = 2;

/// The layers of the last block.
pub struct Layers {
    /// The input layer, whose outputs are the skip connection.
    pub input: Arc<Input>,
    /// The up-convolution.
    pub up: Up,
    /// Number of the packed convolution.
    pub convolution: usize,
    /// The head, which takes the convolution's outputs as they come.
    pub head: Head,
}

/// The last block, done slab by slab.
pub struct LastBlock {
    /// Its layers.
    pub layers: Layers,
    /// The planes that are kept of the concatenation: the up-convolution's blocks, then the skip connection's.
    pub planes: Blocks,
    /// The skip connection's blocks of `planes`.
    pub skip: Blocks,
    /// A whole tile of the input layer's output that sees nothing but background.
    pub background: Blocks,
    // Kept alive for the blocks above, which point into it.
    _memory: Block,
}

/// A box of the concatenation, and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
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
    pub sources: Vec<Source>,
    /// Which of the batches belong to the slab.
    pub batches: Range<usize>,
}

/// Whether a plan's last block can be done slab by slab: one convolution, which step `number` of the plan is, with the
/// head following, by tiles as thick as those of the layers that make what it reads.
pub fn possible(plan: &Plan, number: usize, convolution: &Convolution) -> bool {
    let Some(Step::Up { skip, .. }) = number.checked_sub(1).map(|before| &plan.steps[before]) else { return false };
    let Some(winograd) = convolution.winograd() else { return false };
    let tiling = winograd.tiling(plan.shape);
    let from_input = matches!(plan.steps[plan.buffers[*skip].written], Step::Input { .. });
    let thick = tiling.tile[0] == up::TILE[0] && tiling.tile[0] == input::TILE[0];
    from_input && thick && !convolution::shares_points(winograd, &tiling)
}

impl LastBlock {
    /// The last block on the network's grid, `shape`; `blocks` are the numbers of the up-convolution's and of the skip
    /// connection's.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &Kernels, shape: [usize; 3], layers: Layers, blocks: [usize; 2]) -> Result<LastBlock> {
        let thick = input::TILE[0];
        let planes = ((ROWS + BEYOND) * thick).min(shape[0].next_multiple_of(thick));
        let (len, all) = (Blocks::block_len([planes, shape[1], shape[2]]), blocks[0] + blocks[1]);
        let tile_len = Blocks::block_len(input::TILE);
        let mut memory = Block::new(all * len + blocks[1] * tile_len)?;
        let base = memory.values_mut().as_mut_ptr();
        let places: Vec<*mut f32> = (0..all).map(|block| base.wrapping_add(block * len)).collect();
        let skip = Blocks { shape, planes, places: places[blocks[0]..].to_vec() };
        let background = Blocks {
            shape: input::TILE,
            planes: input::TILE[0],
            places: (0..blocks[1]).map(|block| base.wrapping_add(all * len + block * tile_len)).collect(),
        };
        // A grid of one tile without a scan. No tile of the scan will do: those at the grid's ends may be smaller.
        let nothing = [0.0; input::TILE[0] * input::TILE[1] * input::TILE[2]];
        let mut scratch = vec![0.0; layers.input.scratch_len()];
        // SAFETY: `nothing` has the grid of `background`, whose blocks are those of the layer and known to nobody else
        // yet.
        unsafe { layers.input.tiles(kernels, &nothing, &background, &input::TILE.map(|side| 0..side), &mut scratch) };
        let planes = Blocks { shape, planes, places };
        Ok(LastBlock { layers, planes, skip, background, _memory: memory })
    }

    /// The slabs of a pass, from the work of the input layer and the up-convolution; `batches` are the convolution's,
    /// in the order of their first axis.
    pub fn slabs(&self, [input, up]: [&Work; 2], batches: &[Batch]) -> Vec<Slab> {
        let shape = self.planes.shape;
        // Of the input layer's tiles the first block needs more than the last, which reads those where the
        // up-convolution's are.
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
            let upsampled = tiling.boxes(tiles.clone(), |tile| up.compute[tile], up::LONGEST);
            let mut sources: Vec<Source> = upsampled.into_iter().map(Source::Up).collect();
            let computed = tiling.boxes(tiles.clone(), |tile| up.compute[tile] && input.compute[tile], input::LONGEST);
            sources.extend(computed.into_iter().map(Source::Input));
            let copied = input.copies.iter().map(|copy| copy.tile).filter(|&tile| tiles.contains(&tile) && up.compute[tile]);
            sources.extend(copied.map(|tile| Source::Background(tiling.voxels(tile))));
            let begin = batch;
            while batch < batches.len() && batches[batch].origin[0] < first + ROWS {
                batch += 1;
            }
            slabs.push(Slab { sources, batches: begin..batch });
        }
        slabs
    }
}
