//! The tiles of the convolutions, and which of them the answer needs.

use super::device::Region;
use crate::network::region::{self, Tiling};
use crate::network::{Plan, Step};
use bytemuck::{Pod, Zeroable};

/// Output voxels of a block (D, H, W), as in `kernels/common.cuh`.
pub const TILE: [usize; 3] = [4, 8, 16];

/// A grid (D, H, W) as kernels take it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Grid(pub [u32; 3]);

impl Grid {
    /// The grid of `shape`, whose sides fit 32 bits because its voxels fit memory.
    pub fn new(shape: [usize; 3]) -> Grid {
        Grid(shape.map(|side| u32::try_from(side).expect("a grid's side fits 32 bits")))
    }
}

/// Number of tiles along the axes.
pub fn tiles(shape: [usize; 3]) -> [usize; 3] {
    [0, 1, 2].map(|axis| shape[axis].div_ceil(TILE[axis]))
}

/// Number of tiles of a grid.
pub fn tile_count(shape: [usize; 3]) -> usize {
    tiles(shape).iter().product()
}

/// Blocks that fill a large GPU (an H100 has 132 multiprocessors). A constant, so that the bits of a result do not depend on the GPU.
pub(super) const FULL_GRID: usize = 128;

/// Parts of equal size, the last one perhaps smaller and none empty, of a convolution's inputs, so that `blocks` blocks fill the GPU.
pub(super) fn splits(inputs: usize, blocks: usize) -> usize {
    inputs.div_ceil(inputs.div_ceil(FULL_GRID.div_ceil(blocks)))
}

/// The tiles of every buffer of the plan that the logits in `mask` (W fastest) depend on, and after them those of the
/// logits, W fastest, as kernels read them: 1 for a tile that is needed. It is computed whole, so whatever it reads is
/// needed too; the down-convolutions are computed everywhere.
pub fn needed_tiles(plan: &Plan, mask: &[bool]) -> Vec<Vec<u32>> {
    let tiling = |step: &Step| {
        let shape = step.output().map_or(plan.shape, |output| plan.buffers[output].shape);
        Tiling { shape, tile: TILE }
    };
    let tilings: Vec<Tiling> = plan.steps.iter().map(tiling).collect();
    let needed = region::needed(plan, &tilings, mask, |step| matches!(step, Step::Down { .. }));
    let head = plan.steps.len() - 1;
    let steps = plan.buffers.iter().map(|buffer| buffer.written).chain([head]);
    steps.map(|step| needed[step].iter().copied().map(u32::from).collect()).collect()
}

/// The regions that [`needed_tiles`] is uploaded to, one for each buffer and one for the logits.
pub(super) fn flag_sizes(plan: &Plan) -> Vec<usize> {
    plan.buffers.iter().map(|buffer| buffer.shape).chain([plan.shape]).map(|shape| 4 * tile_count(shape)).collect()
}

/// The address of a region, or null.
pub(super) fn address(region: Option<Region>) -> u64 {
    region.map_or(0, |region| region.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Description;

    #[test]
    fn no_split_is_empty() {
        for (inputs, blocks, expected) in
            [(1, 1, 1), (5, 32, 3), (5, 25, 5), (16, 16, 8), (7, 32, 4), (7, 21, 7), (3, 128, 1), (3, 5000, 1)]
        {
            let count = splits(inputs, blocks);
            assert_eq!(count, expected);
            assert!((count - 1) * inputs.div_ceil(count) < inputs);
        }
    }

    #[test]
    fn nothing_is_needed_for_no_voxel_but_what_the_encoder_computes() {
        let plan = Plan::new(&Description::deepbleed(), [32; 3]).unwrap();
        let needed = needed_tiles(&plan, &vec![false; 32 * 32 * 32]);
        assert!(needed.last().unwrap().iter().all(|flag| *flag == 0));
        let last = plan.blocks.last().unwrap().1;
        assert!(needed[last].iter().all(|flag| *flag == 0));
    }

    #[test]
    fn one_voxel_needs_its_neighbourhood() {
        // The last convolution reads 2 voxels to each side of the tile of voxel (0, 8, 0): rows 6 to 17, so three tiles along H.
        let plan = Plan::new(&Description::deepbleed(), [32; 3]).unwrap();
        let mut mask = vec![false; 32 * 32 * 32];
        mask[8 * 32] = true;
        let needed = needed_tiles(&plan, &mask);
        assert_eq!(needed.last().unwrap().iter().sum::<u32>(), 1);
        let Step::Conv { input, output, .. } = plan.steps[plan.steps.len() - 2] else { panic!("up_1 ends with a convolution") };
        assert_eq!(needed[output].iter().sum::<u32>(), 1);
        assert_eq!(needed[input].iter().sum::<u32>(), 2 * 3 * 2);
    }
}
