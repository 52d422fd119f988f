//! The tiles of the convolutions, and which of them the answer needs.

use super::device::Region;
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

/// For each tile of a grid whether it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    shape: [usize; 3],
    flags: Vec<u32>,
}

impl Needed {
    fn none(shape: [usize; 3]) -> Needed {
        Needed { shape, flags: vec![0; tile_count(shape)] }
    }

    /// The flags, W fastest, as kernels read them.
    pub fn flags(&self) -> &[u32] {
        &self.flags
    }

    /// Marks the tiles that hold voxels of the box from `low` to before `high`.
    fn mark(&mut self, low: [usize; 3], high: [usize; 3]) {
        let count = tiles(self.shape);
        let first = [0, 1, 2].map(|axis| low[axis] / TILE[axis]);
        let last = [0, 1, 2].map(|axis| (high[axis] - 1) / TILE[axis]);
        for d in first[0]..=last[0] {
            for h in first[1]..=last[1] {
                let row = (d * count[1] + h) * count[2];
                self.flags[row + first[2]..=row + last[2]].fill(1);
            }
        }
    }

    /// The boxes of the needed tiles, cut at the grid's end.
    fn boxes(&self) -> impl Iterator<Item = ([usize; 3], [usize; 3])> + '_ {
        let count = tiles(self.shape);
        self.flags.iter().enumerate().filter(|(_, flag)| **flag != 0).map(move |(tile, _)| {
            let place = [tile / count[2] / count[1], tile / count[2] % count[1], tile % count[2]];
            let low = [0, 1, 2].map(|axis| place[axis] * TILE[axis]);
            (low, [0, 1, 2].map(|axis| (low[axis] + TILE[axis]).min(self.shape[axis])))
        })
    }
}

/// The tiles of every buffer of the plan that the logits in `mask` (W fastest) depend on, and after them those of the logits. A tile that is needed is computed
/// whole, so whatever it reads is needed too; the down-convolutions are computed everywhere.
pub fn needed_tiles(plan: &Plan, mask: &[bool]) -> Vec<Needed> {
    let mut all: Vec<Needed> = plan.buffers.iter().map(|buffer| Needed::none(buffer.shape)).collect();
    let mut logits = Needed::none(plan.shape);
    let [_, height, width] = plan.shape;
    for (row, voxels) in mask.chunks_exact(width).enumerate() {
        for (w, _) in voxels.iter().enumerate().filter(|(_, needed)| **needed) {
            let at = [row / height, row % height, w];
            logits.mark(at, at.map(|x| x + 1));
        }
    }
    for step in plan.steps.iter().rev() {
        let output = step.output().map_or_else(|| logits.clone(), |id| all[id].clone());
        match step {
            Step::Input { .. } => {}
            Step::Head { input, .. } => {
                for (low, high) in output.boxes() {
                    all[*input].mark(low, high);
                }
            }
            Step::Down { input, .. } => all[*input].flags.fill(1),
            Step::Up { input, layer, .. } => {
                for (low, high) in output.boxes() {
                    let coarse = |x: [usize; 3]| [0, 1, 2].map(|axis| x[axis] / layer.kernel[axis]);
                    all[*input].mark(coarse(low), coarse(high.map(|x| x - 1)).map(|x| x + 1));
                }
            }
            Step::Conv { layer, input, residual, .. } => {
                for (low, high) in output.boxes() {
                    let begin = [0, 1, 2].map(|axis| low[axis].saturating_sub(layer.kernel[axis] / 2));
                    let end = [0, 1, 2].map(|axis| (high[axis] + layer.kernel[axis] / 2).min(output.shape[axis]));
                    mark_with_skip(plan, &mut all, *input, begin, end);
                    if let Some(residual) = residual {
                        mark_with_skip(plan, &mut all, *residual, low, high);
                    }
                }
            }
        }
    }
    all.push(logits);
    all
}

fn mark_with_skip(plan: &Plan, all: &mut [Needed], buffer: usize, low: [usize; 3], high: [usize; 3]) {
    all[buffer].mark(low, high);
    if let Some(skip) = plan.buffers[buffer].skip {
        all[skip].mark(low, high);
    }
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
    fn a_tile_is_marked_by_any_voxel_in_it() {
        let mut needed = Needed::none([8, 16, 32]);
        needed.mark([3, 7, 15], [5, 8, 16]);
        assert_eq!(needed.flags(), [1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(needed.boxes().collect::<Vec<_>>(), [([0, 0, 0], [4, 8, 16]), ([4, 0, 0], [8, 8, 16])]);
    }

    #[test]
    fn nothing_is_needed_for_no_voxel_but_what_the_encoder_computes() {
        let plan = Plan::new(&Description::deepbleed(), [32; 3]).unwrap();
        let needed = needed_tiles(&plan, &vec![false; 32 * 32 * 32]);
        assert!(needed.last().unwrap().flags().iter().all(|flag| *flag == 0));
        let last = plan.blocks.last().unwrap().1;
        assert!(needed[last].flags().iter().all(|flag| *flag == 0));
    }

    #[test]
    fn one_voxel_needs_its_neighbourhood() {
        // The last convolution reads 2 voxels to each side of the tile of voxel (0, 8, 0): rows 6 to 17, so three tiles along H.
        let plan = Plan::new(&Description::deepbleed(), [32; 3]).unwrap();
        let mut mask = vec![false; 32 * 32 * 32];
        mask[8 * 32] = true;
        let needed = needed_tiles(&plan, &mask);
        assert_eq!(needed.last().unwrap().flags().iter().sum::<u32>(), 1);
        let Step::Conv { input, output, .. } = plan.steps[plan.steps.len() - 2] else { panic!("up_1 ends with a convolution") };
        assert_eq!(needed[output].flags().iter().sum::<u32>(), 1);
        assert_eq!(needed[input].flags().iter().sum::<u32>(), 2 * 3 * 2);
    }
}
