//! The scan on a coarser grid, where the shape of the brain is found.

use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;

/// Voxels are joined into blocks about as wide as this, in mm: fine enough for the shape (the smallest ball used has
/// 4 mm radius), coarse enough to be fast and to average noise away.
const BLOCK_MM: f64 = 1.5;

/// Most voxels of a block along an axis.
const MOST_PER_BLOCK: usize = 16;

/// HU are clamped to this range before they are averaged, so that a little bone or air in a block does not outweigh
/// the tissue in it.
const HU_RANGE: (f32, f32) = (-150.0, 250.0);

/// Least mean HU of blocks that matter to the brain: those of fluid, brain, blood and bone.
const TISSUE_HU: f32 = -5.0;

/// How far around them the grid goes on, in mm. What becomes of them reaches less far: their Gaussian 6 mm, a closing 3 mm more, and
/// beyond that bone is looked for within 6 mm.
const MARGIN_MM: f64 = 20.0;

/// Mean HU from which a block counts as bone.
pub(super) const BONE_HU: f32 = 160.0;

/// Means over blocks of voxels.
pub(super) struct Coarse {
    /// Mean HU of each block, clamped to -150..250 before.
    pub volume: Volume<f32>,
    /// The blocks along i, j and k.
    pub axes: [Blocks; 3],
}

/// Blocks along one axis of a scan.
///
/// They are counted from the end that lies towards left, back or bottom in the world, so that a flipped scan has the same blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blocks {
    /// Voxels per block. The last block in the world's direction may hold fewer.
    size: usize,
    /// Voxels that the first block along the axis lacks.
    lacking: usize,
    /// Voxels along the axis.
    voxels: usize,
    /// Blocks that are left out before the first that is kept.
    first: usize,
    /// Blocks that are kept.
    count: usize,
}

impl Blocks {
    /// Blocks of about 1.5 mm along `axis` of a grid.
    fn along(grid: &Grid, axis: usize) -> Blocks {
        let step = grid.affine.matrix().map(|row| row[axis]);
        let length = grid.spacing()[axis];
        let size = ((BLOCK_MM / length).round() as usize).clamp(1, MOST_PER_BLOCK);
        let main = step.into_iter().fold(0.0f64, |main, x| if x.abs() > main.abs() { x } else { main });
        let voxels = grid.shape[axis];
        let lacking = if main < 0.0 { voxels.next_multiple_of(size) - voxels } else { 0 };
        Blocks { size, lacking, voxels, first: 0, count: (voxels + lacking).div_ceil(size) }
    }

    /// The block that a voxel is in, `None` where it is left out.
    pub(super) fn block(&self, voxel: usize) -> Option<usize> {
        ((voxel + self.lacking) / self.size).checked_sub(self.first).filter(|block| *block < self.count)
    }

    /// The voxels of a block.
    pub(super) fn voxels(&self, block: usize) -> std::ops::Range<usize> {
        let block = block + self.first;
        (block * self.size).saturating_sub(self.lacking)..((block + 1) * self.size - self.lacking).min(self.voxels)
    }
}

impl Coarse {
    /// Blocks of `scan` (HU; what is not a number counts as air).
    pub fn of(scan: &Volume<f32>) -> Coarse {
        let grid = scan.grid();
        let axes = [0, 1, 2].map(|axis| Blocks::along(grid, axis));
        let shape = axes.map(|axis| axis.count);
        let mut means = vec![0.0f32; shape.iter().product()];
        means.par_chunks_mut(shape[0] * shape[1]).enumerate().for_each(|(k, plane)| {
            let slices = axes[2].voxels(k);
            for (j, row) in plane.chunks_mut(shape[0]).enumerate() {
                let rows = axes[1].voxels(j);
                for (fine_k, fine_j) in slices.clone().flat_map(|k| rows.clone().map(move |j| (k, j))) {
                    let voxels = &scan.voxels()[grid.index([0, fine_j, fine_k])..][..grid.shape[0]];
                    for (i, sum) in row.iter_mut().enumerate() {
                        *sum += voxels[axes[0].voxels(i)].iter().map(|&hu| clamped(hu)).sum::<f32>();
                    }
                }
                for (i, sum) in row.iter_mut().enumerate() {
                    *sum /= (axes[0].voxels(i).len() * rows.len() * slices.len()) as f32;
                }
            }
        });
        Coarse { volume: Volume::new(Grid { shape, affine: block_affine(&grid.affine, axes) }, means), axes }
    }

    /// The blocks around the tissue. Air more than 20 mm away from any is left out: that changes nothing where the brain is sought in soft
    /// tissue and bone, and saves most of the work where the field of view is wide.
    pub fn around_tissue(self) -> Coarse {
        let Coarse { volume, mut axes } = self;
        let Grid { shape, affine } = *volume.grid();
        let Some(bounds) = tissue_bounds(&volume) else { return Coarse { volume, axes } };
        let margin = volume.grid().spacing().map(|spacing| (MARGIN_MM / spacing).ceil() as usize);
        let first = [0, 1, 2].map(|a| bounds[a].0.saturating_sub(margin[a]));
        let kept = [0, 1, 2].map(|a| (bounds[a].1 + margin[a] + 1).min(shape[a]) - first[a]);
        for a in 0..3 {
            axes[a] = Blocks { first: axes[a].first + first[a], count: kept[a], ..axes[a] };
        }
        let rows = (0..kept[1] * kept[2]).map(|row| [first[0], first[1] + row % kept[1], first[2] + row / kept[1]]);
        let voxels = rows.flat_map(|start| &volume.voxels()[volume.grid().index(start)..][..kept[0]]).copied().collect();
        let shift = Affine::new(Affine::IDENTITY.matrix(), first.map(|n| n as f64));
        Coarse { volume: Volume::new(Grid { shape: kept, affine: affine.after(&shift) }, voxels), axes }
    }

    /// The blocks' HU after a Gaussian of `sigma` mm along each axis, cut off at 3 sigma; at a border the kernel's inner part
    /// weighs all.
    pub fn smoothed(&self, sigma: f64) -> Vec<f32> {
        let Grid { shape: [ni, nj, nk], .. } = *self.volume.grid();
        let kernels = self.volume.grid().spacing().map(|spacing| {
            let reach = (3.0 * sigma / spacing) as usize;
            (0..=reach).map(|n| (-0.5 * (n as f64 * spacing / sigma).powi(2)).exp() as f32).collect::<Vec<f32>>()
        });
        let plane = ni * nj;
        let mut smooth = vec![0.0f32; self.volume.voxels().len()];
        smooth.par_chunks_mut(plane.max(1)).enumerate().for_each(|(k, out)| {
            let mut along_k = vec![0.0f32; plane];
            weighted(&mut along_k, &kernels[2], k, nk, |k| &self.volume.voxels()[plane * k..][..plane]);
            let mut along_j = vec![0.0f32; plane];
            for (j, row) in along_j.chunks_mut(ni).enumerate() {
                weighted(row, &kernels[1], j, nj, |j| &along_k[ni * j..][..ni]);
            }
            for (out, row) in out.chunks_mut(ni).zip(along_j.chunks(ni)) {
                for (i, out) in out.iter_mut().enumerate() {
                    weighted(std::slice::from_mut(out), &kernels[0], i, ni, |i| &row[i..=i]);
                }
            }
        });
        smooth
    }
}

/// First and last index along i, j and k of the blocks of tissue, `None` where there is none.
fn tissue_bounds(volume: &Volume<f32>) -> Option<[(usize, usize); 3]> {
    let [ni, nj, _] = volume.grid().shape;
    let rows = volume.voxels().par_chunks(ni.max(1)).enumerate().filter_map(|(row, hu)| {
        let first = hu.iter().position(|hu| *hu >= TISSUE_HU)?;
        let last = hu.iter().rposition(|hu| *hu >= TISSUE_HU)?;
        Some([(first, last), (row % nj, row % nj), (row / nj, row / nj)])
    });
    rows.reduce_with(|p, q| [0, 1, 2].map(|a| (p[a].0.min(q[a].0), p[a].1.max(q[a].1))))
}

/// `out` becomes the mean of the lines around number `at` of `count`, weighted by the half kernel.
fn weighted<'a>(out: &mut [f32], kernel: &[f32], at: usize, count: usize, line: impl Fn(usize) -> &'a [f32]) {
    let mut total = 0.0;
    for n in (at + 1).saturating_sub(kernel.len())..(at + kernel.len()).min(count) {
        let weight = kernel[n.abs_diff(at)];
        total += weight;
        out.iter_mut().zip(line(n)).for_each(|(out, value)| *out += weight * value);
    }
    out.iter_mut().for_each(|out| *out /= total);
}

/// A voxel's HU as it is averaged: within -150..250.
pub(super) fn clamped(hu: f32) -> f32 {
    // A comparison with NaN is false: it becomes air.
    if hu > HU_RANGE.0 { hu.min(HU_RANGE.1) } else { HU_RANGE.0 }
}

/// The affine of blocks: a whole block's centre is that of its voxels' joint extent.
fn block_affine(fine: &Affine, axes: [Blocks; 3]) -> Affine {
    let mut matrix = [[0.0; 3]; 3];
    (0..3).for_each(|a| matrix[a][a] = axes[a].size as f64);
    fine.after(&Affine::new(matrix, axes.map(|axis| (axis.size as f64 - 1.0) / 2.0 - axis.lacking as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid of 0.5 mm along i (to the left), 1.5 mm along j (up) and 5 mm along k (to the front).
    fn grid(shape: [usize; 3]) -> Grid {
        let matrix = [[-0.5, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, 1.5, 0.0]];
        Grid { shape, affine: Affine::new(matrix, [10.0, 20.0, 30.0]) }
    }

    #[test]
    fn blocks_are_means_of_clamped_hu() {
        let scan = Volume::new(grid([6, 2, 1]), vec![0., 30., 60., 3000., -1024., f32::NAN, 1., 2., 3., 4., 5., 6.]);
        let coarse = Coarse::of(&scan);
        assert_eq!(coarse.volume.grid().shape, [2, 2, 1]);
        assert_eq!(coarse.volume.voxels(), [30.0, (250.0 - 150.0 - 150.0) / 3.0, 2.0, 5.0]);
        // The first block's centre is voxel 1.
        assert_eq!(coarse.volume.grid().affine.apply([0.0; 3]), scan.grid().affine.apply([1.0, 0.0, 0.0]));
        assert_eq!(coarse.volume.grid().affine.apply([1.0, 1.0, 0.0]), scan.grid().affine.apply([4.0, 1.0, 0.0]));
    }

    #[test]
    fn a_flipped_scan_has_the_same_blocks() {
        let values: Vec<f32> = (0..8 * 2).map(|n| (n * n % 37) as f32).collect();
        let scan = Volume::new(grid([8, 2, 1]), values.clone());
        let flipped: Vec<f32> = values.chunks(8).flat_map(|row| row.iter().rev().copied()).collect();
        let mut other = grid([8, 2, 1]);
        other.affine = scan.grid().affine.after(&Affine::new([[-1., 0., 0.], [0., 1., 0.], [0., 0., 1.]], [7.0, 0.0, 0.0]));
        let (a, b) = (Coarse::of(&scan), Coarse::of(&Volume::new(other, flipped)));
        // Along the axis to the left the incomplete block comes first: 2, 3, 3 voxels.
        assert_eq!([0, 1, 2].map(|block| a.axes[0].voxels(block)), [0..2, 2..5, 5..8]);
        assert_eq!([0, 1, 2].map(|block| b.axes[0].voxels(block)), [0..3, 3..6, 6..8]);
        assert_eq!([0, 1, 2, 4, 5, 7].map(|voxel| a.axes[0].block(voxel)), [0, 0, 1, 1, 2, 2].map(Some));
        for (block, row) in [(0, 0), (1, 0), (2, 1)] {
            assert_eq!(a.volume.at([block, row, 0]), b.volume.at([2 - block, row, 0]));
            let place = |c: &Coarse, i: usize| c.volume.grid().affine.apply([i as f64, row as f64, 0.0]);
            assert_eq!(place(&a, block), place(&b, 2 - block));
        }
    }

    #[test]
    fn air_far_from_the_tissue_is_left_out() {
        // Blocks of 3, 1 and 1 voxels of 0.5, 1.5 and 5 mm; tissue in blocks 30 to 31, 25 and 6 of 60, 40 and 12.
        let fine = grid([180, 40, 12]);
        let hu = |n: usize| if (90..96).contains(&(n % 180)) && n / 180 == 25 + 40 * 6 { 35.0 } else { -1000.0 };
        let whole = Coarse::of(&Volume::new(fine.clone(), (0..fine.len()).map(hu).collect()));
        let at = whole.volume.grid().affine.apply([20.0, 13.0, 5.0]);
        let values = whole.volume.clone();
        let part = whole.around_tissue();
        // 20 mm are 14, 14 and 4 blocks.
        let Grid { shape, affine } = part.volume.grid();
        assert_eq!(*shape, [2 + 28, 1 + 14 + 14, 1 + 8]);
        let first = [16, 11, 2];
        assert_eq!(affine.apply([4.0, 2.0, 3.0]), at);
        for [i, j, k] in [[0, 0, 0], [14, 14, 4], [15, 14, 4], [29, 28, 8]] {
            assert_eq!(part.volume.at([i, j, k]), values.at([i + first[0], j + first[1], k + first[2]]));
        }
        assert_eq!(*part.volume.at([14, 14, 4]), 35.0);
        // Voxels and blocks still know each other.
        assert_eq!(part.axes[0].voxels(14), 90..93);
        assert_eq!([47, 48, 92, 137, 138].map(|voxel| part.axes[0].block(voxel)), [None, Some(0), Some(14), Some(29), None]);
        // Nothing but air is kept as it is.
        let air = Coarse::of(&Volume::new(grid([9, 2, 1]), vec![-1000.0; 18]));
        assert_eq!(air.around_tissue().volume.grid().shape, [3, 2, 1]);
    }

    #[test]
    fn the_gaussian_keeps_constants_and_falls_by_the_formula() {
        let axes = [Blocks { size: 1, lacking: 0, voxels: 9, first: 0, count: 9 }; 3];
        let of = |values: Vec<f32>| {
            let affine = Affine::new([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0]], [0.0; 3]);
            Coarse { volume: Volume::new(Grid { shape: [9, 9, 9], affine }, values), axes }
        };
        assert!(of(vec![7.0; 729]).smoothed(2.0).iter().all(|v| (v - 7.0).abs() < 1e-5));
        let mut point = vec![0.0; 729];
        point[4 + 9 * (4 + 9 * 4)] = 1.0;
        let smooth = of(point).smoothed(2.0);
        let at = |i: usize, j: usize, k: usize| smooth[i + 9 * (j + 9 * k)] / smooth[4 + 9 * (4 + 9 * 4)];
        assert!((at(4, 5, 4) - (-0.5f32).exp()).abs() < 1e-5, "2 mm are one sigma");
        assert!((at(4, 4, 3) - (-2.0f32).exp()).abs() < 1e-5, "4 mm are two sigma");
        // Near a border the weights are those that remain, so the first axis is compared at equal reach.
        assert!((at(3, 4, 4) / at(5, 4, 4) - 1.0).abs() < 1e-5);
    }
}
