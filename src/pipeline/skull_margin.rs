//! Blood in the voxels between brain mask and bone. Brain extraction leaves out a voxel that bone fills to a tenth, so a layer of blood under the skull loses its
//! outermost voxels; they are given back to it here, by the half of a voxel that a label's border means.

use crate::volume::Volume;
use crate::volume::distance::distance_squared;
use crate::volume::morphology;
use crate::volume::part::Part;
use std::ops::Range;

/// HU of a voxel at the skull's inner table that is blood or brain for the greater part: what has fewer is fluid, fat or air; compact bone, of which the table is,
/// has 700 to 1900, the half of it at its border, blurred, about 500.
const SOFT_HU: Range<f32> = 20.0..500.0;

/// The voxels around a brain that bone fills to less than half.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkullMargin {
    mm: f64,
    /// Voxels of the scan's grid, in order.
    voxels: Vec<usize>,
}

impl SkullMargin {
    /// Those of a scan in HU whose centres lie within `mm` of that of a voxel of the brain; none for 0 mm.
    pub fn of(scan: &Volume<f32>, brain: &Volume<bool>, mm: f32) -> SkullMargin {
        let mm = f64::from(mm);
        let Some(part) = Part::around(&[brain], mm).filter(|_| mm > 0.0) else { return SkullMargin::default() };
        let near = part.of(brain);
        let near = morphology::dilate(near.voxels(), near.grid().shape, near.grid().spacing(), mm);
        let soft = |voxel: usize| !brain.voxels()[voxel] && SOFT_HU.contains(&scan.voxels()[voxel]);
        let voxels = part.voxels(brain.grid()).zip(near).filter(|&(voxel, near)| near && soft(voxel));
        SkullMargin { mm, voxels: voxels.map(|(voxel, _)| voxel).collect() }
    }

    /// Adds to a mask of blood inside the brain the voxels of the margin whose nearest voxel of the brain is blood; where several are as near, one of them is enough.
    pub fn add_to(&self, blood: &mut Volume<bool>, brain: &Volume<bool>) {
        // A voxel's nearest one is not farther than the margin is wide, and neither is one that is nearer than blood.
        let Some(part) = Part::around(&[blood], 2.0 * self.mm).filter(|_| !self.voxels.is_empty()) else { return };
        let (inside, found) = (part.of(brain), part.of(blood));
        let distances = |flags: &[bool]| distance_squared(flags, inside.grid().shape, inside.grid().spacing());
        let to_blood = distances(found.voxels());
        let rest: Vec<bool> = inside.voxels().iter().zip(found.voxels()).map(|(&brain, &blood)| brain && !blood).collect();
        let to_rest = distances(&rest);
        // A hair more, for distances that are the same but for rounding.
        let nearest =
            |n: usize| to_blood[n] <= to_rest[n] * (1.0 + 1e-5) && f64::from(to_blood[n]) <= self.mm * self.mm * (1.0 + 1e-5);
        for (n, voxel) in part.voxels(brain.grid()).enumerate() {
            if nearest(n) && self.voxels.binary_search(&voxel).is_ok() {
                blood.voxels_mut()[voxel] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;
    use crate::volume::{Grid, orientation};

    /// A brain of 2 x 3 x 5 mm voxels in soft tissue of 60 HU.
    fn brain() -> Volume<bool> {
        mask([16, 12, 6], |[i, j, k]| (4..12).contains(&i) && (3..9).contains(&j) && (1..5).contains(&k))
    }

    fn place(grid: &Grid, voxel: usize) -> [f64; 3] {
        let [ni, nj, _] = grid.shape;
        grid.affine.apply([voxel % ni, voxel / ni % nj, voxel / ni / nj].map(|x| x as f64))
    }

    /// Squared distance to the nearest voxel that is flagged.
    fn squared(grid: &Grid, voxel: usize, flagged: impl Fn(usize) -> bool) -> f64 {
        let p = place(grid, voxel);
        let others = (0..grid.len()).filter(|&other| flagged(other)).map(|other| place(grid, other));
        others.map(|q| (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum()).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn blood_at_the_edge_goes_on_where_it_is_nearest() {
        let brain = brain();
        let grid = brain.grid().clone();
        let scan = brain.map(|_| 60.0);
        // A layer on a part of one side, over an edge, and a body inside.
        let layer = mask(grid.shape, |[i, j, k]| {
            ((i < 6 && (4..7).contains(&j)) || (i < 9 && j > 6) || (i, j) == (9, 5)) && (2..4).contains(&k)
        });
        let blood = Volume::new(grid.clone(), layer.voxels().iter().zip(brain.voxels()).map(|(a, b)| *a && *b).collect());
        for mm in [2.0, 3.0, 4.0, 7.0] {
            let mut grown = blood.clone();
            SkullMargin::of(&scan, &brain, mm).add_to(&mut grown, &brain);
            let mut added = 0;
            for voxel in 0..grid.len() {
                let near = squared(&grid, voxel, |other| blood.voxels()[other]);
                let rest = squared(&grid, voxel, |other| brain.voxels()[other] && !blood.voxels()[other]);
                let expected = !brain.voxels()[voxel] && near <= rest + 1e-9 && near <= f64::from(mm * mm) + 1e-9;
                assert_eq!(grown.voxels()[voxel], expected || blood.voxels()[voxel], "voxel {voxel}, {mm} mm");
                added += usize::from(expected);
            }
            assert!(added >= 10, "{added}");
        }
    }

    #[test]
    fn bone_fluid_and_air_are_left_out_and_so_is_all_without_a_margin() {
        let brain = brain();
        let layer = mask(brain.grid().shape, |[i, j, k]| i == 4 && (4..7).contains(&j) && (2..4).contains(&k));
        for (hu, added) in [(-900.0, 0), (10.0, 0), (25.0, 6), (450.0, 6), (600.0, 0), (1500.0, 0)] {
            let scan = brain.map(|&inside| if inside { 40.0 } else { hu });
            for (mm, added) in [(2.0, added), (0.0, 0)] {
                let mut grown = layer.clone();
                SkullMargin::of(&scan, &brain, mm).add_to(&mut grown, &brain);
                let count = |mask: &Volume<bool>| mask.voxels().iter().filter(|&&inside| inside).count();
                assert_eq!(count(&grown) - count(&layer), added, "{hu} HU, {mm} mm");
            }
        }
    }

    /// Two layers on opposite sides with the brain's edge between them: a mirrored scan must give the mirrored mask.
    #[test]
    fn a_mirrored_scan_gives_the_mirrored_mask() {
        let brain = brain();
        let blood = mask(brain.grid().shape, |[i, j, k]| i < 8 && i > 3 && j == 3 && (2..4).contains(&k));
        let scan = Volume::new(brain.grid().clone(), (0..brain.grid().len()).map(|n| [60.0, 700.0][n % 7 / 6]).collect());
        let grown = |scan: &Volume<f32>, brain: &Volume<bool>, mut blood: Volume<bool>| {
            SkullMargin::of(scan, brain, 4.0).add_to(&mut blood, brain);
            blood
        };
        let mirrored = |grid: &Grid| {
            let mut grid = grid.clone();
            grid.affine.rows.iter_mut().for_each(|row| row[0] = -row[0]);
            grid
        };
        fn through<T: Copy + Send + Sync>(volume: &Volume<T>, grid: Grid) -> Volume<T> {
            orientation::to_ras(&Volume::new(grid, volume.voxels().to_vec()))
        }
        let flip = |volume: &Volume<bool>| through(volume, mirrored(volume.grid()));
        let flipped_scan = through(&scan, mirrored(scan.grid()));
        let expected = flip(&grown(&scan, &brain, blood.clone()));
        assert_eq!(grown(&flipped_scan, &flip(&brain), flip(&blood)), expected);
    }
}
