//! Which parts of a pass must be computed: what the wanted logits depend on, less what sees nothing but background.
//!
//! A back end computes each step in tiles. From the wanted voxels the sets of needed tiles follow backwards through the plan: a needed tile needs
//! every tile that its whole receptive field meets. In the encoder, tiles whose receptive field is zero in the network's input have the same
//! values where they see the grid's borders in the same way, so one of them is computed and the others are its copies.

use super::plan::{BufferId, Plan, Step};
use std::collections::HashMap;
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

    /// The voxels along an axis of each tile along it.
    pub fn ranges(&self, axis: usize) -> Vec<Range<usize>> {
        let (shape, tile) = (self.shape[axis], self.tile[axis]);
        (0..self.counts()[axis]).map(|position| position * tile..shape.min((position + 1) * tile)).collect()
    }

    /// The voxels of those of `tiles` that are `wanted`; up to `longest` of them side by side along W are one box.
    pub fn boxes(&self, tiles: Range<usize>, wanted: impl Fn(usize) -> bool, longest: usize) -> Vec<Voxels> {
        let mut boxes: Vec<Voxels> = Vec::new();
        let limit = longest * self.tile[2];
        for tile in tiles.filter(|&tile| wanted(tile)) {
            let [d, h, w] = self.voxels(tile);
            match boxes.last_mut() {
                Some([last_d, last_h, last])
                    if (&*last_d, &*last_h, last.end) == (&d, &h, w.start) && w.end - last.start <= limit =>
                {
                    last.end = w.end;
                }
                _ => boxes.push([d, h, w]),
            }
        }
        boxes
    }
}

/// A tile that has the values of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileCopy {
    /// The tile.
    pub tile: usize,
    /// The one that is computed.
    pub source: usize,
}

/// What is to be done in one step of a plan; tiles are numbered as in the step's [`Tiling`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// For each tile whether it is to be computed.
    pub compute: Vec<bool>,
    /// Tiles that see nothing but background, in order; they are as large as their sources.
    pub copies: Vec<TileCopy>,
}

/// The work of a pass whose steps are computed in the tiles of `tilings` (one for each step, on the grid of its output; the head's on
/// the grid of the logits), for the network's `input` and the `wanted` logits (`None` for all), both (D, H, W).
///
/// A tile is computed from all of its receptive field, even where only some of its voxels are needed: so the values of a needed tile have the
/// same bits in every pass, whatever its neighbours outside of the needed parts hold.
pub fn work(plan: &Plan, tilings: &[Tiling], input: &[f32], wanted: Option<&[bool]>) -> Vec<Work> {
    let reads = all_reads(plan, tilings);
    let needed = match wanted {
        Some(wanted) => needed_of(plan, tilings, &reads, wanted, |_| false),
        None => tilings.iter().map(|tiling| vec![true; tiling.len()]).collect(),
    };
    let background = background(plan, tilings, &reads, input);
    let work = |((mut compute, background), tiling): ((Vec<bool>, Option<Background>), &Tiling)| {
        let mut copies = Vec::new();
        if let Some(Background { empty, classes }) = background {
            let mut sources = HashMap::new();
            for tile in (0..compute.len()).filter(|&tile| empty[tile]) {
                let position = tiling.position(tile);
                if compute[tile]
                    && let source = *sources.entry([0, 1, 2].map(|axis| classes[axis][position[axis]])).or_insert(tile)
                    && source != tile
                {
                    copies.push(TileCopy { tile, source });
                    compute[tile] = false;
                }
            }
        }
        Work { compute, copies }
    };
    needed.into_iter().zip(background).zip(tilings).map(work).collect()
}

/// For each step and tile, as in [`work`], whether the wanted logits depend on it. Steps that are computed `everywhere`,
/// whatever is needed of them, need all that they read.
pub fn needed(plan: &Plan, tilings: &[Tiling], wanted: &[bool], everywhere: impl Fn(&Step) -> bool) -> Vec<Vec<bool>> {
    needed_of(plan, tilings, &all_reads(plan, tilings), wanted, everywhere)
}

fn all_reads(plan: &Plan, tilings: &[Tiling]) -> Vec<Vec<Read>> {
    plan.steps.iter().zip(tilings).map(|(step, tiling)| reads(step, tiling)).collect()
}

fn needed_of(
    plan: &Plan,
    tilings: &[Tiling],
    reads: &[Vec<Read>],
    wanted: &[bool],
    everywhere: impl Fn(&Step) -> bool,
) -> Vec<Vec<bool>> {
    let mut needed: Vec<Vec<bool>> = tilings.iter().map(|tiling| vec![false; tiling.len()]).collect();
    for (number, step) in plan.steps.iter().enumerate().rev() {
        let counts = tilings[number].counts();
        if matches!(step, Step::Head { .. }) {
            needed[number] = any_within(wanted, plan.shape, &[0, 1, 2].map(|axis| tilings[number].ranges(axis)));
        }
        let computed = if everywhere(step) { vec![true; tilings[number].len()] } else { needed[number].clone() };
        for read in &reads[number] {
            let Some(buffer) = read.buffer else { continue };
            for buffer in [Some(buffer), plan.buffers[buffer].skip].into_iter().flatten() {
                let writer = plan.buffers[buffer].written;
                let readers = [0, 1, 2].map(|axis| inverse(&read.tiles(axis, &tilings[writer]), tilings[writer].counts()[axis]));
                let read = any_within(&computed, counts, &readers);
                needed[writer].iter_mut().zip(read).for_each(|(needed, read)| *needed |= read);
            }
        }
    }
    needed
}

/// The tiles of a step that see nothing but zeros of the network's input.
struct Background {
    /// For each tile whether it is one of them.
    empty: Vec<bool>,
    /// For each axis and position of a tile along it what it sees of the grids' borders: those of them that agree along all axes have the same values.
    classes: [Vec<usize>; 3],
}

/// The background of each step of the encoder.
fn background(plan: &Plan, tilings: &[Tiling], reads: &[Vec<Read>], input: &[f32]) -> Vec<Option<Background>> {
    let mut background: Vec<Option<Background>> = Vec::new();
    let occupied: Vec<bool> = input.iter().map(|&x| x != 0.0).collect();
    for (number, step) in plan.steps.iter().enumerate() {
        let tiling = &tilings[number];
        let mut empty = vec![true; tiling.len()];
        let mut seen = [0, 1, 2].map(|axis| tiling.ranges(axis).iter().map(|range| vec![range.len()]).collect::<Vec<_>>());
        let mut encoder = !matches!(step, Step::Up { .. } | Step::Head { .. });
        for read in &reads[number] {
            let Some(buffer) = read.buffer else {
                // Zeros inside of the grid are the same as those beyond it, so a tile sees no border.
                let occupied = any_within(&occupied, plan.shape, &[0, 1, 2].map(|axis| read.inside(axis, plan.shape[axis])));
                empty.iter_mut().zip(occupied).for_each(|(empty, occupied)| *empty &= !occupied);
                continue;
            };
            let writer = plan.buffers[buffer].written;
            let Some(Background { empty: below, classes }) = &background[writer] else {
                encoder = false;
                break;
            };
            let below: Vec<bool> = below.iter().map(|empty| !empty).collect();
            let tiles = [0, 1, 2].map(|axis| read.tiles(axis, &tilings[writer]));
            let occupied = any_within(&below, tilings[writer].counts(), &tiles);
            empty.iter_mut().zip(occupied).for_each(|(empty, occupied)| *empty &= !occupied);
            for axis in 0..3 {
                let (size, tile) = (tilings[writer].shape[axis], tilings[writer].tile[axis]);
                // A voxel's value depends on the class of its tile and its place therein; 0 is padding.
                let label = |v: isize| {
                    usize::try_from(v).ok().filter(|&v| v < size).map_or(0, |v| 1 + classes[axis][v / tile] * tile + v % tile)
                };
                seen[axis].iter_mut().zip(&read.windows[axis]).for_each(|(seen, window)| seen.extend(window.clone().map(label)));
            }
        }
        background.push(encoder.then(|| Background { empty, classes: seen.map(|seen| numbers(&seen)) }));
    }
    background
}

/// A number for each item; equal items have the same.
fn numbers(items: &[Vec<usize>]) -> Vec<usize> {
    let mut known = HashMap::new();
    items
        .iter()
        .map(|item| {
            let next = known.len();
            *known.entry(item).or_insert(next)
        })
        .collect()
}

/// For every box made of one range along each axis, D and H before W, whether any of the `flags` (D, H, W) of a grid within it is set.
fn any_within(flags: &[bool], mut shape: [usize; 3], ranges: &[Vec<Range<usize>>; 3]) -> Vec<bool> {
    let mut flags = flags.to_vec();
    for axis in 0..3 {
        let row: usize = shape[axis + 1..].iter().product();
        let boxes = ranges[axis].len();
        let mut any = vec![false; shape[..axis].iter().product::<usize>() * boxes * row];
        for (outer, any) in any.chunks_exact_mut((boxes * row).max(1)).enumerate() {
            for (range, any) in ranges[axis].iter().zip(any.chunks_exact_mut(row)) {
                for index in range.clone() {
                    let from = (outer * shape[axis] + index) * row;
                    any.iter_mut().zip(&flags[from..from + row]).for_each(|(any, flag)| *any |= flag);
                }
            }
        }
        shape[axis] = boxes;
        flags = any;
    }
    flags
}

/// For each of `n` places the items whose range it is in; the ranges' ends grow with their number.
fn inverse(ranges: &[Range<usize>], n: usize) -> Vec<Range<usize>> {
    let readers = |place: usize| {
        let begin = ranges.partition_point(|range| range.end <= place);
        begin..ranges.partition_point(|range| range.start <= place).max(begin)
    };
    (0..n).map(readers).collect()
}

/// What the tiles of a step are computed from.
struct Read {
    /// Of which buffer; `None` for the network's input.
    buffer: Option<BufferId>,
    /// For each axis and position of a tile along it the voxels, which may reach beyond the grid.
    windows: [Vec<Range<isize>>; 3],
}

impl Read {
    /// The voxels along an axis of `size` voxels.
    fn inside(&self, axis: usize, size: usize) -> Vec<Range<usize>> {
        self.windows[axis].iter().map(|window| window.start.max(0) as usize..(window.end.max(0) as usize).min(size)).collect()
    }

    /// The tiles along an axis of the buffer's tiling.
    fn tiles(&self, axis: usize, tiling: &Tiling) -> Vec<Range<usize>> {
        let tile = tiling.tile[axis];
        self.inside(axis, tiling.shape[axis]).into_iter().map(|voxels| voxels.start / tile..voxels.end.div_ceil(tile)).collect()
    }
}

/// What a step reads.
fn reads(step: &Step, tiling: &Tiling) -> Vec<Read> {
    let own = |axis: usize, position: usize| {
        let begin = position * tiling.tile[axis];
        begin as isize..(begin + tiling.tile[axis]) as isize
    };
    let windows = |of: &dyn Fn(usize, Range<isize>) -> Range<isize>| {
        [0, 1, 2].map(|axis| (0..tiling.counts()[axis]).map(|position| of(axis, own(axis, position))).collect())
    };
    // A tile of full size with half a kernel around it.
    let around = |kernel: [usize; 3]| {
        windows(&|axis, own| {
            let half = (kernel[axis] / 2) as isize;
            own.start - half..own.end + half
        })
    };
    let read = |buffer: BufferId, windows| Read { buffer: Some(buffer), windows };
    match *step {
        Step::Input { ref layer, .. } => vec![Read { buffer: None, windows: around(layer.kernel) }],
        Step::Down { ref layer, input, .. } => {
            let stride = layer.kernel.map(|stride| stride as isize);
            vec![read(input, windows(&|axis, own| own.start * stride[axis]..own.end * stride[axis]))]
        }
        Step::Up { ref layer, input, .. } => {
            let stride = layer.kernel.map(|stride| stride as isize);
            vec![read(input, windows(&|axis, own| own.start / stride[axis]..(own.end + stride[axis] - 1) / stride[axis]))]
        }
        Step::Conv { ref layer, input, residual, .. } => {
            let mut reads = vec![read(input, around(layer.kernel))];
            reads.extend(residual.map(|residual| read(residual, around([1; 3]))));
            reads
        }
        Step::Head { input, .. } => vec![read(input, around([1; 3]))],
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
    fn boxes_hold_the_wanted_tiles_once_and_no_others() {
        let tiling = Tiling { shape: [3, 4, 22], tile: [2, 4, 3] };
        let wanted = |tile: usize| ![2, 9].contains(&tile);
        let boxes = tiling.boxes(0..tiling.len(), wanted, 3);
        let along_w = |d: Range<usize>, w: Range<usize>| [d, 0..4, w];
        let expected = [(0..2, 0..6), (0..2, 9..18), (0..2, 18..22), (2..3, 0..3), (2..3, 6..15), (2..3, 15..22)];
        assert_eq!(boxes, expected.map(|(d, w)| along_w(d, w)));
        assert_eq!(tiling.boxes(3..5, wanted, 3), [along_w(0..2, 9..15)]);
    }

    #[test]
    fn flags_are_found_in_boxes() {
        let flags: Vec<bool> = (0..2 * 3 * 4).map(|voxel| voxel == (3 + 1) * 4 + 2).collect();
        let found = any_within(&flags, [2, 3, 4], &[vec![0..1, 0..2], vec![0..3, 1..2, 2..3], vec![0..2, 1..4]]);
        assert_eq!(found, [false, false, false, false, false, false, false, true, false, true, false, false]);
    }

    #[test]
    fn one_wanted_voxel_needs_what_its_receptive_field_meets() {
        let plan = plan();
        let tilings = tilings(&plan);
        let mut wanted = vec![false; 32 * 32 * 32];
        // Voxel (13, 14, 15), in tile (3, 3, 3): voxels 12..16.
        wanted[(13 * 32 + 14) * 32 + 15] = true;
        let needed = needed(&plan, &tilings, &wanted, |_| false);
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
        assert!(needed(&plan, &tilings, &vec![false; 32 * 32 * 32], |_| false).iter().all(|flags| count(flags) == 0));
        assert!(needed(&plan, &tilings, &vec![true; 32 * 32 * 32], |_| false).iter().all(|flags| count(flags) == flags.len()));
    }

    #[test]
    fn of_background_that_sees_the_same_one_tile_is_computed() {
        let plan = plan();
        let tilings = tilings(&plan);
        let mut input = vec![0.0; 32 * 32 * 32];
        let all = work(&plan, &tilings, &input, None);
        // Zeros inside of the grid are like those beyond it: one tile of the input layer, and one of the down-convolution, which has no padding.
        assert_eq!((count(&all[0].compute), all[0].copies.len()), (1, 511));
        assert_eq!((count(&all[1].compute), all[1].copies.len()), (1, 63));
        assert!(all[0].copies.iter().all(|copy| copy.source == 0));
        // Of 4 tiles along each axis the convolution's first and last see padding on one side: 3 classes.
        assert_eq!((count(&all[2].compute), all[2].copies.len()), (27, 64 - 27));
        let source = |position: [usize; 3]| {
            let tile = tilings[2].index(position);
            all[2].copies.iter().find(|copy| copy.tile == tile).map(|copy| tilings[2].position(copy.source))
        };
        assert_eq!(source([2, 1, 2]), Some([1, 1, 1]));
        assert_eq!(source([0, 2, 3]), Some([0, 1, 3]));
        assert_eq!(source([3, 0, 1]), None);
        // The decoder sees more than the background.
        assert!(all[3..].iter().all(|work| work.copies.is_empty() && work.compute.iter().all(|&compute| compute)));

        // Tiles 4 and 5 along each axis see voxel 18; of the down-convolution, whose tiles are two of them, tile 2.
        input[(18 * 32 + 18) * 32 + 18] = 1.0;
        let some = work(&plan, &tilings, &input, None);
        assert_eq!(count(&some[0].compute), 1 + 8);
        assert_eq!(count(&some[1].compute), 1 + 1);
    }
}
