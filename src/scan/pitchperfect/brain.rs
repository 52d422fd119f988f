//! The brain that the features are computed on: HU on a grid of the template's world, and which voxels count.

use crate::volume::{Grid, Volume};
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// HU that brain and blood have; others are set to 0.
const BRAIN_HU: RangeInclusive<f32> = 0.0..=100.0;

/// A brain in the template's world: RAS, the head's midline plane in the middle of the grid's first axis.
#[derive(Debug)]
pub struct Brain {
    grid: Grid,
    /// Which voxels count (E): the brain mask eroded by 3 x 3 x 1 voxels.
    inside: Vec<bool>,
    /// HU (v): 0 where they are outside 0 to 100, and in voxels that do not count.
    values: Vec<f32>,
    /// The indices of the voxels that count, in order.
    voxels: Vec<u32>,
}

impl Brain {
    /// `image` in HU and the brain's mask, on one grid. Voxels at the rim of `mask` within a slice do not count: there
    /// bone and brain share them.
    ///
    /// # Panics
    /// Where the grids differ, or have 2^32 voxels.
    pub fn new(image: &Volume<f32>, mask: &Volume<bool>) -> Brain {
        let grid = image.grid().clone();
        assert_eq!(grid.shape, mask.grid().shape, "image and mask must have the same shape");
        assert!(u32::try_from(grid.len()).is_ok(), "so many voxels have no index of 32 bits");
        let inside = eroded(mask);
        let hu = |(&hu, &inside): (&f32, &bool)| if inside && BRAIN_HU.contains(&hu) { hu } else { 0.0 };
        let values = image.voxels().par_iter().zip(&inside).map(hu).collect();
        let voxels = (0..grid.len() as u32).filter(|&index| inside[index as usize]).collect();
        Brain { grid, inside, values, voxels }
    }

    /// Its grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The indices of the voxels that count, in order.
    pub fn voxels(&self) -> &[u32] {
        &self.voxels
    }

    /// Which voxels count, as a mask.
    pub fn mask(&self) -> Volume<bool> {
        Volume::new(self.grid.clone(), self.inside.clone())
    }

    /// HU in every voxel of the grid.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether each voxel of the grid counts.
    pub(super) fn inside(&self) -> &[bool] {
        &self.inside
    }

    /// HU of the voxels that count.
    pub(super) fn inner_values(&self) -> Vec<f32> {
        self.voxels.par_iter().map(|&index| self.values[index as usize]).collect()
    }
}

/// A mask eroded by 3 x 3 x 1 voxels; beyond the grid there is none of it.
fn eroded(mask: &Volume<bool>) -> Vec<bool> {
    let [ni, nj, _] = mask.grid().shape;
    let voxels = mask.voxels();
    let mut eroded = vec![false; voxels.len()];
    eroded.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, eroded)| {
        let j = row % nj;
        if ni < 3 || j == 0 || j + 1 == nj {
            return;
        }
        let [before, own, after] = [row - 1, row, row + 1].map(|row| &voxels[row * ni..][..ni]);
        for i in 1..ni - 1 {
            eroded[i] = [before, own, after].iter().all(|row| row[i - 1] && row[i] && row[i + 1]);
        }
    });
    eroded
}

/// The sum of a function of each value, the same for any number of threads.
pub(super) fn sum(values: &[f32], term: impl Fn(f64) -> f64 + Sync) -> f64 {
    const CHUNK: usize = 1 << 14;
    let parts: Vec<f64> = values.par_chunks(CHUNK).map(|part| part.iter().map(|&x| term(f64::from(x))).sum()).collect();
    parts.iter().sum()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::volume::Affine;

    /// A brain that fills a grid of `mm` voxels but for `rim` voxels on each side; `hu` of each voxel.
    pub fn block(shape: [usize; 3], mm: f64, rim: usize, hu: impl Fn([usize; 3]) -> f32) -> Brain {
        let grid = Grid { shape, affine: Affine::new([[mm, 0.0, 0.0], [0.0, mm, 0.0], [0.0, 0.0, mm]], [0.0; 3]) };
        let image = (0..grid.len()).map(|index| hu(grid.ijk(index))).collect();
        let inside = |index: usize| (0..3).all(|axis| (rim..shape[axis] - rim).contains(&grid.ijk(index)[axis]));
        let mask = (0..grid.len()).map(inside).collect();
        Brain::new(&Volume::new(grid.clone(), image), &Volume::new(grid.clone(), mask))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::block;

    #[test]
    fn the_rim_of_each_slice_and_values_of_no_tissue_do_not_count() {
        let brain = block([7, 6, 3], 1.0, 0, |[i, j, k]| match (i, j, k) {
            (2, 2, 1) => -1.0,
            (3, 2, 1) => 101.0,
            (4, 2, 1) => 100.0,
            _ => 40.0,
        });
        // 5 x 4 voxels are left in each of the three slices, the outermost ones too.
        assert_eq!(brain.voxels().len(), 60);
        let at = |ijk| brain.values()[brain.grid().index(ijk)];
        assert_eq!([at([2, 2, 1]), at([3, 2, 1]), at([4, 2, 1]), at([1, 1, 0]), at([0, 1, 0])], [0.0, 0.0, 100.0, 40.0, 0.0]);
    }
}
