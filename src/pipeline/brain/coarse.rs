//! The scan on a coarser grid, where the shape of the brain is found.

use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;

/// Voxels are joined into blocks about as wide as this, in mm: fine enough for the shape (the smallest ball used has
/// 4 mm radius), coarse enough to be fast and to average noise away.
const BLOCK_MM: f64 = 1.5;

/// HU are clamped to this range before they are averaged, so that a little bone or air in a block does not outweigh
/// the tissue in it.
const HU_RANGE: (f32, f32) = (-150.0, 250.0);

/// Mean HU from which a block counts as bone.
pub(super) const BONE_HU: f32 = 160.0;

/// Means over blocks of voxels.
pub(super) struct Coarse {
    /// Mean HU of each block, clamped to -150..250 before.
    pub volume: Volume<f32>,
    /// Voxels of the scan per block along each axis. The last block of an axis may hold fewer.
    pub factor: [usize; 3],
}

impl Coarse {
    /// Blocks of `scan` (HU; what is not a number counts as air).
    pub fn of(scan: &Volume<f32>) -> Coarse {
        let grid = scan.grid();
        let factor = grid.spacing().map(|s| ((BLOCK_MM / s).round() as usize).clamp(1, 16));
        let [ni, nj, nk] = grid.shape;
        let shape = [0, 1, 2].map(|a| grid.shape[a].div_ceil(factor[a]));
        let mut means = vec![0.0f32; shape.iter().product()];
        means.par_chunks_mut((shape[0] * shape[1]).max(1)).enumerate().for_each(|(k, plane)| {
            let slices = k * factor[2]..((k + 1) * factor[2]).min(nk);
            let mut sums = vec![0.0f32; shape[0]];
            for (j, row) in plane.chunks_mut(shape[0]).enumerate() {
                let rows = j * factor[1]..((j + 1) * factor[1]).min(nj);
                sums.fill(0.0);
                for (fine_k, fine_j) in slices.clone().flat_map(|k| rows.clone().map(move |j| (k, j))) {
                    let voxels = &scan.voxels()[ni * (fine_j + nj * fine_k)..][..ni];
                    for (sum, block) in sums.iter_mut().zip(voxels.chunks(factor[0])) {
                        *sum += block.iter().map(|&hu| clamped(hu)).sum::<f32>();
                    }
                }
                for (i, (mean, sum)) in row.iter_mut().zip(&sums).enumerate() {
                    let width = factor[0].min(ni - i * factor[0]);
                    *mean = sum / (width * rows.len() * slices.len()) as f32;
                }
            }
        });
        Coarse { volume: Volume::new(Grid { shape, affine: block_affine(&grid.affine, factor) }, means), factor }
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

/// The affine of blocks of `factor` voxels: their centres are those of their voxels' joint extent.
fn block_affine(fine: &Affine, factor: [usize; 3]) -> Affine {
    let scale = |a: usize| factor[a] as f64;
    let matrix = [[scale(0), 0.0, 0.0], [0.0, scale(1), 0.0], [0.0, 0.0, scale(2)]];
    fine.after(&Affine::new(matrix, [0, 1, 2].map(|a| (scale(a) - 1.0) / 2.0)))
}
