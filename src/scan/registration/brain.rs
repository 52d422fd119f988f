//! A brain made ready for matching: cropped, clipped, reduced and smoothed.

use rayon::prelude::*;

use crate::volume::{Affine, Grid, Volume};

/// HU are clipped to 0..this before they are compared: above is bone or calcification, below is fat or air.
pub(crate) const HIGHEST_HU: f32 = 100.0;

/// HU and share of brain of one voxel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tissue {
    /// HU clipped to 0..100, 0 outside the brain.
    pub(crate) hu: f32,
    /// Share of the voxel that is brain, 0 to 1.
    pub(crate) share: f32,
}

impl Tissue {
    /// The tissue of a voxel of a brain-extracted volume: brain is what is above 0 HU.
    fn of(hu: f32) -> Self {
        if hu > 0.0 { Tissue { hu: hu.min(HIGHEST_HU), share: 1.0 } } else { Tissue::default() }
    }
}

/// A brain on a grid that ends in tissue-free voxels on every side.
#[derive(Clone, Debug)]
pub(crate) struct Brain {
    pub(crate) grid: Grid,
    /// One a voxel, i fastest.
    pub(crate) tissue: Vec<Tissue>,
}

impl Brain {
    /// The brain of `volume` (what is above 0 HU), cropped to its bounding box and averaged over blocks of about
    /// `spacing` millimetres; axes that are coarser stay as they are. `None` where no voxel is above 0.
    pub(crate) fn new(volume: &Volume<f32>, spacing: f64) -> Option<Self> {
        let grid = volume.grid();
        let bounds = bounding_box(volume)?;
        Some(reduce(grid, bounds, spacing, |index| Tissue::of(volume.voxels()[index])))
    }

    /// This brain averaged over blocks of about `spacing` millimetres.
    pub(crate) fn reduced(&self, spacing: f64) -> Self {
        let bounds = self.grid.shape.map(|n| (1, n - 2));
        reduce(&self.grid, bounds, spacing, |index| self.tissue[index])
    }

    /// This brain after a Gaussian of `sigma` millimetres, on a grid that is larger by three sigma.
    pub(crate) fn smoothed(&self, sigma: f64) -> Self {
        let spacing = self.grid.spacing();
        let kernels = spacing.map(|s| gaussian(sigma / s));
        let radius = [0, 1, 2].map(|axis| kernels[axis].len() - 1);
        let shape = [0, 1, 2].map(|axis| self.grid.shape[axis] + 2 * radius[axis]);
        let shift = Affine::new(Affine::IDENTITY.matrix(), radius.map(|r| -(r as f64)));
        let grid = Grid { shape, affine: self.grid.affine.after(&shift) };
        let mut tissue = vec![Tissue::default(); grid.len()];
        for k in 0..self.grid.shape[2] {
            for j in 0..self.grid.shape[1] {
                let from = self.grid.index([0, j, k]);
                let to = grid.index([radius[0], j + radius[1], k + radius[2]]);
                tissue[to..to + self.grid.shape[0]].copy_from_slice(&self.tissue[from..from + self.grid.shape[0]]);
            }
        }
        for (axis, kernel) in kernels.iter().enumerate() {
            tissue = convolve(&tissue, shape, axis, kernel);
        }
        Brain { grid, tissue }
    }

    /// Centre of the brain in RAS millimetres: the mean place of its voxels, weighted by their share of brain.
    pub(crate) fn centre(&self) -> [f64; 3] {
        let (mut sum, mut moment) = (0.0, [0.0; 3]);
        self.each(|ijk, share| {
            sum += share;
            (0..3).for_each(|axis| moment[axis] += share * ijk[axis]);
        });
        self.grid.affine.apply(moment.map(|m| m / sum))
    }

    /// Mean distance in millimetres of the brain from the x, y and z axes through `centre`: what a rotation of one
    /// radian about that axis moves it by. At least 1, so that a brain of one point can still be divided by it.
    pub(crate) fn lever(&self, centre: [f64; 3]) -> [f64; 3] {
        let (mut sum, mut distance) = (0.0, [0.0; 3]);
        self.each(|ijk, share| {
            let p = self.grid.affine.apply(ijk);
            let r = [0, 1, 2].map(|axis| p[axis] - centre[axis]);
            sum += share;
            (0..3).for_each(|axis| distance[axis] += share * r[(axis + 1) % 3].hypot(r[(axis + 2) % 3]));
        });
        distance.map(|d| (d / sum).max(1.0))
    }

    /// Calls `f` with the indices and the share of brain of every voxel that has some.
    fn each(&self, mut f: impl FnMut([f64; 3], f64)) {
        for (index, tissue) in self.tissue.iter().enumerate() {
            if tissue.share > 0.0 {
                f(self.grid.ijk(index).map(|n| n as f64), f64::from(tissue.share));
            }
        }
    }
}

/// First and last index of the voxels above 0 along i, j and k.
fn bounding_box(volume: &Volume<f32>) -> Option<[(usize, usize); 3]> {
    let [ni, nj, nk] = volume.grid().shape;
    if volume.grid().is_empty() {
        return None;
    }
    let join = |a: Option<[(usize, usize); 3]>, b: Option<[(usize, usize); 3]>| match (a, b) {
        (Some(a), Some(b)) => Some([0, 1, 2].map(|axis| (a[axis].0.min(b[axis].0), a[axis].1.max(b[axis].1)))),
        (one, other) => one.or(other),
    };
    (0..nj * nk)
        .into_par_iter()
        .map(|row| {
            let values = &volume.voxels()[row * ni..(row + 1) * ni];
            let first = values.iter().position(|&v| v > 0.0)?;
            let last = values.iter().rposition(|&v| v > 0.0)?;
            Some([(first, last), (row % nj, row % nj), (row / nj, row / nj)])
        })
        .reduce(|| None, join)
}

/// Averages blocks of voxels inside `bounds`, so that a block measures about `spacing` millimetres along each axis, and
/// surrounds them with one layer of empty blocks. `tissue` gives the tissue at a place of `grid`.
fn reduce(grid: &Grid, bounds: [(usize, usize); 3], spacing: f64, tissue: impl Fn(usize) -> Tissue + Sync) -> Brain {
    let step = grid.spacing();
    let factor = step.map(|step| (spacing / step).round().max(1.0) as usize);
    let blocks = [0, 1, 2].map(|axis| (bounds[axis].1 - bounds[axis].0 + 1).div_ceil(factor[axis]));
    let shape = blocks.map(|n| n + 2);
    // Block b (1 for the first that is not empty) covers voxels first + factor (b - 1) .. first + factor b.
    let mut matrix = [[0.0; 3]; 3];
    let mut translation = [0.0; 3];
    for axis in 0..3 {
        let factor = factor[axis] as f64;
        matrix[axis][axis] = factor;
        translation[axis] = bounds[axis].0 as f64 + 0.5 * (factor - 1.0) - factor;
    }
    let grid_of_blocks = Grid { shape, affine: grid.affine.after(&Affine::new(matrix, translation)) };
    let mut result = vec![Tissue::default(); grid_of_blocks.len()];
    let scale = 1.0 / factor.iter().product::<usize>() as f32;
    result.par_chunks_mut(shape[0] * shape[1]).enumerate().skip(1).take(blocks[2]).for_each(|(bk, slice)| {
        let range = |axis: usize, block: usize| {
            let first = bounds[axis].0 + (block - 1) * factor[axis];
            first..(first + factor[axis]).min(bounds[axis].1 + 1)
        };
        for bj in 1..=blocks[1] {
            let row = &mut slice[bj * shape[0]..(bj + 1) * shape[0]];
            for k in range(2, bk) {
                for j in range(1, bj) {
                    for (bi, sum) in row.iter_mut().enumerate().skip(1).take(blocks[0]) {
                        for i in range(0, bi) {
                            let t = tissue(grid.index([i, j, k]));
                            sum.hu += t.hu;
                            sum.share += t.share;
                        }
                    }
                }
            }
            row.iter_mut().for_each(|t| *t = Tissue { hu: t.hu * scale, share: t.share * scale });
        }
    });
    Brain { grid: grid_of_blocks, tissue: result }
}

/// The right half of a Gaussian of `sigma` voxels, its centre first, normalised so that the whole sums to 1.
fn gaussian(sigma: f64) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil().max(0.0) as usize;
    let half: Vec<f64> = (0..=radius).map(|n| (-0.5 * (n as f64 / sigma.max(1e-6)).powi(2)).exp()).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    half.iter().map(|h| (h / sum) as f32).collect()
}

/// Convolution along one axis with a symmetric kernel given by its right half; what lies outside is empty.
fn convolve(tissue: &[Tissue], shape: [usize; 3], axis: usize, kernel: &[f32]) -> Vec<Tissue> {
    let stride = [1, shape[0], shape[0] * shape[1]][axis];
    let mut result = vec![Tissue::default(); tissue.len()];
    result.par_chunks_mut(shape[0]).enumerate().for_each(|(row, line)| {
        for (i, out) in line.iter_mut().enumerate() {
            let index = row * shape[0] + i;
            let place = [i, row % shape[1], row / shape[1]][axis];
            let mut sum = Tissue { hu: kernel[0] * tissue[index].hu, share: kernel[0] * tissue[index].share };
            for (n, &weight) in kernel.iter().enumerate().skip(1) {
                if place >= n {
                    let t = tissue[index - n * stride];
                    sum.hu += weight * t.hu;
                    sum.share += weight * t.share;
                }
                if place + n < shape[axis] {
                    let t = tissue[index + n * stride];
                    sum.hu += weight * t.hu;
                    sum.share += weight * t.share;
                }
            }
            *out = sum;
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box of 40 HU at indices 3..9, 4..8, 2..7 of a grid with its own spacing and a turned affine.
    fn box_of_tissue() -> Volume<f32> {
        let affine = Affine::new([[-0.5, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.5, 0.0]], [10.0, -20.0, 30.0]);
        let grid = Grid { shape: [16, 12, 10], affine };
        let mut voxels = vec![0.0; grid.len()];
        for k in 2..7 {
            for j in 4..8 {
                for i in 3..9 {
                    voxels[grid.index([i, j, k])] = 40.0;
                }
            }
        }
        Volume::new(grid, voxels)
    }

    #[test]
    fn reducing_and_smoothing_keep_volume_and_centre() {
        let volume = box_of_tissue();
        let want_centre = volume.grid().affine.apply([5.5, 5.5, 4.0]);
        let want_mm3 = 6.0 * 4.0 * 5.0 * 0.5;
        let full = Brain::new(&volume, 0.0).unwrap();
        assert_eq!(full.grid.shape, [8, 6, 7]);
        for brain in [full.clone(), Brain::new(&volume, 1.0).unwrap(), full.reduced(1.0), full.smoothed(1.5)] {
            let centre = brain.centre();
            let mm3 = brain.tissue.iter().map(|t| f64::from(t.share)).sum::<f64>() * brain.grid.voxel_mm3();
            assert!((mm3 / want_mm3 - 1.0).abs() < 1e-5, "{mm3} in {:?}", brain.grid.shape);
            for axis in 0..3 {
                assert!((centre[axis] - want_centre[axis]).abs() < 1e-4, "{centre:?}");
            }
            let hu: f64 = brain.tissue.iter().map(|t| f64::from(t.hu)).sum::<f64>() * brain.grid.voxel_mm3();
            assert!((hu / (40.0 * want_mm3) - 1.0).abs() < 1e-5);
        }
        assert_eq!(Brain::new(&volume, 1.0).unwrap().grid.spacing(), [1.0, 1.0, 2.0]);
    }

    #[test]
    fn every_side_is_empty() {
        let brain = Brain::new(&box_of_tissue().map(|v| v + 1.0), 1.0).unwrap();
        let [ni, nj, nk] = brain.grid.shape;
        for (index, tissue) in brain.tissue.iter().enumerate() {
            let ijk = brain.grid.ijk(index);
            if ijk.contains(&0) || ijk[0] == ni - 1 || ijk[1] == nj - 1 || ijk[2] == nk - 1 {
                assert_eq!(*tissue, Tissue::default());
            }
        }
    }

    #[test]
    fn what_is_not_a_brain_value_is_outside() {
        let grid = Grid { shape: [5, 1, 1], affine: Affine::IDENTITY };
        let volume = Volume::new(grid.clone(), vec![f32::NAN, -5.0, 500.0, f32::INFINITY, 0.0]);
        let brain = Brain::new(&volume, 1.0).unwrap();
        assert_eq!(brain.grid.shape, [4, 3, 3]);
        assert_eq!(brain.centre(), [2.5, 0.0, 0.0]);
        assert_eq!(brain.tissue.iter().map(|t| t.share).sum::<f32>(), 2.0);
        assert_eq!(brain.tissue.iter().map(|t| t.hu).sum::<f32>(), 200.0);
        assert!(Brain::new(&Volume::new(grid, vec![0.0, -1.0, f32::NAN, -0.0, f32::NEG_INFINITY]), 1.0).is_none());
        let empty = Grid { shape: [0, 3, 3], affine: Affine::IDENTITY };
        assert!(Brain::new(&Volume::new(empty, vec![]), 1.0).is_none());
    }

    #[test]
    fn a_speck_of_tiny_voxels_stays_small() {
        let affine = Affine::new([[0.01, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.0, 0.01]], [0.0; 3]);
        let speck = Brain::new(&Volume::new(Grid { shape: [2, 1, 1], affine }, vec![30.0; 2]), 1.5).unwrap();
        assert_eq!(speck.grid.shape, [3, 3, 3]);
        assert_eq!(speck.smoothed(1.5).grid.shape, [9, 9, 9]);
        let mm3 = speck.tissue.iter().map(|t| f64::from(t.share)).sum::<f64>() * speck.grid.voxel_mm3();
        assert!((mm3 / 2e-6 - 1.0).abs() < 1e-5, "{mm3}");
    }

    #[test]
    fn lever_of_a_rod_is_its_mean_distance() {
        let grid = Grid { shape: [101, 1, 1], affine: Affine::IDENTITY };
        let brain = Brain::new(&Volume::new(grid, vec![30.0; 101]), 1.0).unwrap();
        let lever = brain.lever([50.0, 0.0, 0.0]);
        let mean = 2.0 * (1..=50).sum::<i32>() as f64 / 101.0;
        assert!(lever[0] == 1.0 && (lever[1] - mean).abs() < 1e-9 && (lever[2] - mean).abs() < 1e-9, "{lever:?}");
    }

    #[test]
    fn a_gaussian_has_its_width() {
        for sigma in [0.8, 1.2, 4.0] {
            let half = gaussian(sigma);
            let variance: f64 = half.iter().enumerate().map(|(n, &w)| 2.0 * (n * n) as f64 * f64::from(w)).sum();
            assert!((variance.sqrt() / sigma - 1.0).abs() < 0.1, "sigma {sigma}: {}", variance.sqrt());
        }
        assert_eq!(gaussian(0.0), [1.0]);
    }
}
