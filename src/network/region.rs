//! Which parts of a pass must be computed: what the wanted logits depend on, less what sees nothing but background.
//!
//! A back end computes each step in tiles. From the wanted voxels the sets of needed tiles follow backwards through the plan: a needed tile needs
//! every tile that its whole receptive field meets. In the encoder, tiles whose receptive field is zero in the network's input and
//! inside the grid all have the same values, so one of them is computed and the others are its copies.

use super::plan::{BufferId, Plan, Step};
use std::ops::Range;

/// A box of voxels.
pub type Voxels = [Range<usize>; 3];

/// A grid cut into tiles; those at the far ends may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Size of a tile.
    pub tile: [usize; 3],
}

impl Tiling {
    /// Number of tiles along each axis.
    pub fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.shape[axis].div_ceil(self.tile[axis]))
    }

    /// Number of tiles.
    pub fn len(&self) -> usize {
        self.counts().iter().product()
    }

    /// Whether there is no tile.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the tile at `position` (in tiles).
    pub fn index(&self, [d, h, w]: [usize; 3]) -> usize {
        let [_, height, width] = self.counts();
        (d * height + h) * width + w
    }

    /// Where a tile is, in tiles.
    pub fn position(&self, index: usize) -> [usize; 3] {
        let [_, height, width] = self.counts();
        [index / (height * width), index / width % height, index % width]
    }

    /// The voxels of a tile.
    pub fn voxels(&self, index: usize) -> Voxels {
        let position = self.position(index);
        [0, 1, 2].map(|axis| {
            let begin = position[axis] * self.tile[axis];
            begin..(begin + self.tile[axis]).min(self.shape[axis])
        })
    }

    /// Calls `each` with the number of every tile that meets a box of voxels of the grid.
    pub fn meeting(&self, voxels: &Voxels, mut each: impl FnMut(usize)) {
        let [ds, hs, ws] = [0, 1, 2].map(|axis| voxels[axis].start / self.tile[axis]..voxels[axis].end.div_ceil(self.tile[axis]));
        for d in ds {
            for h in hs.clone() {
                let row = self.index([d, h, 0]);
                ws.clone().for_each(|w| each(row + w));
            }
        }
    }

    /// For each tile whether `flag` is true in any of its voxels (D, H, W).
    fn any<T>(&self, voxels: &[T], flag: impl Fn(&T) -> bool) -> Vec<bool> {
        let [_, height, width] = self.shape;
        let mut tiles = vec![false; self.len()];
        for (number, row) in voxels.chunks_exact(width).enumerate() {
            let first = self.index([number / height / self.tile[0], number % height / self.tile[1], 0]);
            for (tile, part) in row.chunks(self.tile[2]).enumerate() {
                tiles[first + tile] |= part.iter().any(&flag);
            }
        }
        tiles
    }
}

/// What is to be done in one step of a plan; tiles are numbered as in the step's [`Tiling`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// For each tile whether it is to be computed.
    pub compute: Vec<bool>,
    /// Tiles that are copies of `source`.
    pub copies: Vec<usize>,
    /// A computed tile that sees nothing but background.
    pub source: Option<usize>,
}

/// The work of a pass whose steps are computed in the tiles of `tilings` (one for each step, on the grid of its output; the head's on
/// the grid of the logits), for the network's `input` and the `wanted` logits (`None` for all), both (D, H, W).
///
/// A tile is computed from all of its receptive field, even where only some of its voxels are needed: so the values of a needed tile have the
/// same bits in every pass, whatever its neighbours outside of the needed parts hold.
pub fn work(plan: &Plan, tilings: &[Tiling], input: &[f32], wanted: Option<&[bool]>) -> Vec<Work> {
    let needed = match wanted {
        Some(wanted) => needed(plan, tilings, wanted),
        None => tilings.iter().map(|tiling| vec![true; tiling.len()]).collect(),
    };
    let background = background(plan, tilings, input);
    needed
        .into_iter()
        .zip(background)
        .map(|(mut compute, background)| {
            let mut same = (0..compute.len()).filter(|&tile| compute[tile] && background[tile]);
            let source = same.next();
            let copies: Vec<usize> = same.collect();
            copies.iter().for_each(|&tile| compute[tile] = false);
            Work { compute, copies, source }
        })
        .collect()
}

/// For each step and tile whether the wanted logits depend on it.
fn needed(plan: &Plan, tilings: &[Tiling], wanted: &[bool]) -> Vec<Vec<bool>> {
    let mut needed: Vec<Vec<bool>> = tilings.iter().map(|tiling| vec![false; tiling.len()]).collect();
    for (number, step) in plan.steps.iter().enumerate().rev() {
        let tiling = &tilings[number];
        if matches!(step, Step::Head { .. }) {
            needed[number] = tiling.any(wanted, |&wanted| wanted);
        }
        let tiles: Vec<usize> = (0..tiling.len()).filter(|&tile| needed[number][tile]).collect();
        for tile in tiles {
            for (buffer, voxels) in reads(plan, step, tiling, tile) {
                let grid = plan.buffers[buffer].shape;
                let inside = [0, 1, 2].map(|axis| voxels[axis].0.max(0) as usize..(voxels[axis].1 as usize).min(grid[axis]));
                for buffer in [Some(buffer), plan.buffers[buffer].skip].into_iter().flatten() {
                    let writer = plan.buffers[buffer].written;
                    tilings[writer].meeting(&inside, |tile| needed[writer][tile] = true);
                }
            }
        }
    }
    needed
}

/// For each step and tile whether it sees nothing but zeros of the network's input, and no padding; only in the encoder.
fn background(plan: &Plan, tilings: &[Tiling], input: &[f32]) -> Vec<Vec<bool>> {
    let blocks = Tiling { shape: plan.shape, tile: [4; 3] };
    let occupied = blocks.any(input, |&x| x != 0.0);
    let mut background: Vec<Vec<bool>> = Vec::new();
    for (step, tiling) in plan.steps.iter().zip(tilings) {
        let empty = |tile: usize| match step {
            Step::Up { .. } | Step::Head { .. } => false,
            Step::Input { layer, .. } => inside(&around(tiling, tile, layer.kernel), plan.shape).is_some_and(|voxels| {
                let mut empty = true;
                blocks.meeting(&voxels, |block| empty &= !occupied[block]);
                empty
            }),
            Step::Down { .. } | Step::Conv { .. } => reads(plan, step, tiling, tile).into_iter().all(|(buffer, voxels)| {
                let writer = plan.buffers[buffer].written;
                inside(&voxels, plan.buffers[buffer].shape).is_some_and(|voxels| {
                    let mut empty = true;
                    tilings[writer].meeting(&voxels, |tile| empty &= background[writer][tile]);
                    empty
                })
            }),
        };
        let flags = (0..tiling.len()).map(empty).collect();
        background.push(flags);
    }
    background
}

/// A box of voxels that may reach beyond the grid: begin and end along each axis.
type Reach = [(isize, isize); 3];

/// The box as voxels if all of it is inside the grid.
fn inside(reach: &Reach, shape: [usize; 3]) -> Option<Voxels> {
    let inside = (0..3).all(|axis| reach[axis].0 >= 0 && reach[axis].1 <= shape[axis] as isize);
    inside.then(|| reach.map(|(begin, end)| begin as usize..end as usize))
}

/// A tile of full size with half a kernel around it.
fn around(tiling: &Tiling, tile: usize, kernel: [usize; 3]) -> Reach {
    let position = tiling.position(tile);
    [0, 1, 2].map(|axis| {
        let begin = (position[axis] * tiling.tile[axis]) as isize;
        let half = (kernel[axis] / 2) as isize;
        (begin - half, begin + tiling.tile[axis] as isize + half)
    })
}

/// What a tile of a step's output is computed from: buffers and boxes of their voxels.
fn reads(plan: &Plan, step: &Step, tiling: &Tiling, tile: usize) -> Vec<(BufferId, Reach)> {
    let own = around(tiling, tile, [1; 3]);
    let scaled = |stride: [usize; 3]| {
        [0, 1, 2].map(|axis| {
            let stride = stride[axis] as isize;
            (own[axis].0 * stride, own[axis].1 * stride)
        })
    };
    match *step {
        Step::Input { .. } => Vec::new(),
        Step::Down { ref layer, input, .. } => vec![(input, scaled(layer.kernel))],
        Step::Up { ref layer, input, output, .. } => {
            let grid = plan.buffers[output].shape;
            let voxels = [0, 1, 2].map(|axis| {
                let (begin, end) = (own[axis].0 as usize, (own[axis].1 as usize).min(grid[axis]));
                ((begin / layer.kernel[axis]) as isize, end.div_ceil(layer.kernel[axis]) as isize)
            });
            vec![(input, voxels)]
        }
        Step::Conv { ref layer, input, residual, .. } => {
            let mut reads = vec![(input, around(tiling, tile, layer.kernel))];
            reads.extend(residual.map(|residual| (residual, own)));
            reads
        }
        Step::Head { input, .. } => vec![(input, own)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Description;

    /// One level: input layer, down, conv, up, conv, head.
    fn plan() -> Plan {
        let description = Description {
            widths: vec![4, 8],
            convs: vec![1, 1],
            up_widths: vec![8],
            up_convs: vec![1],
            ..Description::deepbleed()
        };
        Plan::new(&description, [32; 3]).unwrap()
    }

    fn tilings(plan: &Plan) -> Vec<Tiling> {
        let grid = |step: &Step| step.output().map_or(plan.shape, |output| plan.buffers[output].shape);
        plan.steps.iter().map(|step| Tiling { shape: grid(step), tile: [4; 3] }).collect()
    }

    fn count(flags: &[bool]) -> usize {
        flags.iter().filter(|f| **f).count()
    }

    #[test]
    fn tiles_cover_every_voxel_once() {
        let tiling = Tiling { shape: [5, 4, 9], tile: [2, 4, 3] };
        let mut seen = vec![0; 5 * 4 * 9];
        for tile in 0..tiling.len() {
            assert_eq!(tiling.index(tiling.position(tile)), tile);
            let [ds, hs, ws] = tiling.voxels(tile);
            for d in ds {
                for h in hs.clone() {
                    ws.clone().for_each(|w| seen[(d * 4 + h) * 9 + w] += 1);
                }
            }
        }
        assert!(seen.iter().all(|n| *n == 1));
    }

    #[test]
    fn one_wanted_voxel_needs_what_its_receptive_field_meets() {
        let plan = plan();
        let tilings = tilings(&plan);
        let mut wanted = vec![false; 32 * 32 * 32];
        // Voxel (13, 14, 15), in tile (3, 3, 3): voxels 12..16.
        wanted[(13 * 32 + 14) * 32 + 15] = true;
        let needed = needed(&plan, &tilings, &wanted);
        // Head and the last convolution: the tile itself.
        assert_eq!((count(&needed[5]), count(&needed[4])), (1, 1));
        assert!(needed[4][tilings[4].index([3; 3])]);
        // What it reads, 10..18: tiles 2, 3 and 4 of the up-convolution; of level 1 the voxels 4..10: tiles 1 and 2; those read 2..14 there:
        // tiles 0 to 3 of the down-convolution; of level 0 the voxels 0..32: all.
        assert_eq!(count(&needed[3]), 27);
        assert_eq!(count(&needed[2]), 8);
        assert_eq!(count(&needed[1]), 64);
        assert_eq!(count(&needed[0]), 512);
    }

    #[test]
    fn nothing_wanted_needs_nothing_and_everything_wanted_all() {
        let plan = plan();
        let tilings = tilings(&plan);
        assert!(needed(&plan, &tilings, &vec![false; 32 * 32 * 32]).iter().all(|flags| count(flags) == 0));
        assert!(needed(&plan, &tilings, &vec![true; 32 * 32 * 32]).iter().all(|flags| count(flags) == flags.len()));
    }

    #[test]
    fn background_is_where_the_receptive_field_is_zero_and_inside_the_grid() {
        let plan = plan();
        let tilings = tilings(&plan);
        let empty = background(&plan, &tilings, &vec![0.0; 32 * 32 * 32]);
        // Input layer: tiles at the grid's faces see padding, 6 of 8 along each axis do not.
        assert_eq!(count(&empty[0]), 216);
        // Down: tiles of 4 see 8 voxels, 2 tiles: tiles 1 and 2 of 4; the convolution after it sees beyond them.
        assert_eq!((count(&empty[1]), count(&empty[2])), (8, 0));
        assert!(empty[3..].iter().all(|flags| count(flags) == 0));

        let mut input = vec![0.0; 32 * 32 * 32];
        input[(16 * 32 + 16) * 32 + 16] = 1.0;
        // Tiles 3, 4 and 5 along each axis see the block of voxels 16..20.
        assert_eq!(count(&background(&plan, &tilings, &input)[0]), 216 - 27);
    }

    #[test]
    fn of_all_background_one_tile_is_computed() {
        let plan = plan();
        let tilings = tilings(&plan);
        let work = work(&plan, &tilings, &vec![0.0; 32 * 32 * 32], None);
        assert_eq!((work[0].copies.len(), count(&work[0].compute)), (215, 512 - 215));
        assert!(work[0].compute[work[0].source.unwrap()]);
        assert_eq!((work[5].copies.len(), work[5].source), (0, None));
    }
}
