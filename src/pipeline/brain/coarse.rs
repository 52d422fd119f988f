//! The scan on a coarser grid, where the shape of the brain is found.

use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;

/// Voxels are joined into blocks about as wide as this, in mm: fine enough for the shape (the smallest ball used has
/// 4 mm radius), coarse enough to be fast and to average noise away.
const BLOCK_MM: f64 = 1.5;

/// HU are clamped to this range before they are averaged, so that a little bone or air in a block does not outweigh
/// the tissue in it.
const HU_RANGE: (f32, f32) = (-150.0, 250.0);

/// Means over blocks of voxels.
pub struct Coarse {
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

    /// The value of each voxel's block, on the grid `fine` that the blocks were made from.
    pub fn spread<T: Copy + Send + Sync>(&self, blocks: &[T], fine: &Grid) -> Vec<T> {
        let [ni, nj, nk] = fine.shape;
        let shape = self.volume.grid().shape;
        let rows = (0..nj * nk).into_par_iter().map(|row| {
            let (j, k) = (row % nj / self.factor[1], row / nj / self.factor[2]);
            &blocks[shape[0] * (j + shape[1] * k)..][..shape[0]]
        });
        rows.flat_map_iter(|row| (0..ni).map(move |i| row[i / self.factor[0]])).collect()
    }
}

/// A voxel's HU as it is averaged.
fn clamped(hu: f32) -> f32 {
    // A comparison with NaN is false: it becomes air.
    if hu > HU_RANGE.0 { hu.min(HU_RANGE.1) } else { HU_RANGE.0 }
}

/// The affine of blocks of `factor` voxels: their centres are those of their voxels' joint extent.
fn block_affine(fine: &Affine, factor: [usize; 3]) -> Affine {
    let scale = |a: usize| factor[a] as f64;
    let matrix = [[scale(0), 0.0, 0.0], [0.0, scale(1), 0.0], [0.0, 0.0, scale(2)]];
    fine.after(&Affine::new(matrix, [0, 1, 2].map(|a| (scale(a) - 1.0) / 2.0)))
}
