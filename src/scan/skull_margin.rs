//! Blood in the voxels between brain mask and bone. Brain extraction leaves out voxels that bone fills to a tenth or more, so a layer of blood under the skull loses
//! its outermost ones. Here those are given back to it that are blood for the greater part. Axes of the grid count as perpendicular.

use crate::volume::{Grid, Volume};
use rayon::prelude::*;
use std::ops::Range;

/// HU of a voxel at the skull's inner table that is blood or brain for the greater part: what has fewer is fluid, fat or air; compact bone, of which the table is,
/// has 700 to 1900, the half of it at its border, blurred, about 500.
const SOFT_HU: Range<f32> = 20.0..500.0;

/// A margin has no more voxels than this along an axis, however small they are: partial volume is a matter of voxels.
const MOST_VOXELS: isize = 10;

/// The voxels of a scan that blood between brain and bone may fill.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkullMargin {
    mm: f64,
    /// Whether each voxel is of soft tissue for the greater part; empty for no margin.
    soft: Vec<bool>,
}

impl SkullMargin {
    /// Those of a scan in HU, for a margin of `mm`; none for 0 mm.
    pub fn of(scan: &Volume<f32>, mm: f32) -> SkullMargin {
        let soft = |hu: &f32| SOFT_HU.contains(hu);
        let soft = if mm > 0.0 { scan.voxels().par_iter().map(soft).collect() } else { Vec::new() };
        SkullMargin { mm: f64::from(mm), soft }
    }

    /// Adds to a mask of blood inside the brain the soft voxels outside of it whose nearest voxel of the brain is blood and not farther, centre to centre, than the
    /// margin is wide; where several are as near, one of them is enough.
    pub fn add_to(&self, blood: &mut Volume<bool>, brain: &Volume<bool>) {
        if self.soft.is_empty() {
            return;
        }
        let ball = ball(brain.grid(), self.mm);
        let mut seen = vec![false; self.soft.len()];
        let mut added = Vec::new();
        for voxel in edge(blood, brain) {
            for at in ball.iter().filter_map(|(step, _)| neighbour(brain.grid(), voxel, *step)) {
                if self.soft[at] && !brain.voxels()[at] && !seen[at] {
                    seen[at] = true;
                    if nearest_is_blood(at, blood, brain, &ball) {
                        added.push(at);
                    }
                }
            }
        }
        added.into_iter().for_each(|voxel| blood.voxels_mut()[voxel] = true);
    }
}

/// Voxels of blood with a face to what is no brain. The voxel of the brain that is nearest to one outside is such a voxel, for the one beside it on the way is nearer.
fn edge(blood: &Volume<bool>, brain: &Volume<bool>) -> Vec<usize> {
    let faces = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
    let outside = |voxel: usize, step| neighbour(brain.grid(), voxel, step).is_some_and(|at| !brain.voxels()[at]);
    let found = blood.voxels().par_iter().enumerate().filter(|(_, blood)| **blood).map(|(voxel, _)| voxel);
    found.filter(|&voxel| faces.into_iter().any(|step| outside(voxel, step))).collect()
}

/// The voxel so many steps away; `None` where it lies beyond the grid.
fn neighbour(grid: &Grid, voxel: usize, step: [isize; 3]) -> Option<usize> {
    let [ni, nj, nk] = grid.shape;
    let place = grid.ijk(voxel);
    let [i, j, k] = [0, 1, 2].map(|axis| place[axis].wrapping_add_signed(step[axis]));
    (i < ni && j < nj && k < nk).then(|| grid.index([i, j, k]))
}

/// The steps to all voxels not farther than `mm`, the nearest first, with their squared lengths in mm2.
fn ball(grid: &Grid, mm: f64) -> Vec<([isize; 3], f64)> {
    let spacing = grid.spacing();
    let range = |axis: usize| {
        // A hair more, for a step that is as long as the margin is wide, however it was rounded.
        let reach = ((mm / spacing[axis] * (1.0 + 1e-5)) as isize).min(MOST_VOXELS);
        -reach..=reach
    };
    let mut steps: Vec<([isize; 3], f64)> = range(2)
        .flat_map(|k| range(1).flat_map(move |j| range(0).map(move |i| [i, j, k])))
        .map(|step| (step, (0..3).map(|axis| (step[axis] as f64 * spacing[axis]).powi(2)).sum()))
        .filter(|(_, squared): &([isize; 3], f64)| *squared <= mm * mm * (1.0 + 1e-5))
        .collect();
    steps.sort_by(|a, b| a.1.total_cmp(&b.1));
    steps
}

/// Whether blood is among the voxels of the brain that are nearest to a voxel.
fn nearest_is_blood(voxel: usize, blood: &Volume<bool>, brain: &Volume<bool>, ball: &[([isize; 3], f64)]) -> bool {
    let mut nearest = f64::INFINITY;
    for &(step, squared) in ball {
        // As near but for rounding.
        if squared > nearest * (1.0 + 1e-5) {
            break;
        }
        let Some(at) = neighbour(brain.grid(), voxel, step).filter(|&at| brain.voxels()[at]) else { continue };
        if blood.voxels()[at] {
            return true;
        }
        nearest = nearest.min(squared);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;
    use crate::volume::{Affine, orientation};

    /// A brain of 2 x 3 x 5 mm voxels in soft tissue of 60 HU.
    fn brain() -> Volume<bool> {
        mask([16, 12, 6], |[i, j, k]| (4..12).contains(&i) && (3..9).contains(&j) && (1..5).contains(&k))
    }

    /// Squared distance to the nearest voxel that is flagged.
    fn squared(grid: &Grid, voxel: usize, flagged: impl Fn(usize) -> bool) -> f64 {
        let p = grid.world(voxel);
        let others = (0..grid.len()).filter(|&other| flagged(other)).map(|other| grid.world(other));
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
            SkullMargin::of(&scan, mm).add_to(&mut grown, &brain);
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
                SkullMargin::of(&scan, mm).add_to(&mut grown, &brain);
                let count = |mask: &Volume<bool>| mask.voxels().iter().filter(|&&inside| inside).count();
                assert_eq!(count(&grown) - count(&layer), added, "{hu} HU, {mm} mm");
            }
        }
    }

    #[test]
    fn of_small_voxels_a_margin_has_ten() {
        let affine = Affine::new([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1]], [0.0; 3]);
        let row = |inside: Range<usize>| {
            Volume::new(Grid { shape: [60, 1, 1], affine }, (0..60).map(|i| inside.contains(&i)).collect())
        };
        let (brain, mut blood) = (row(0..30), row(20..30));
        SkullMargin::of(&brain.map(|_| 60.0), 5.0).add_to(&mut blood, &brain);
        assert_eq!(blood, row(20..40));
    }

    /// Two layers on opposite sides with the brain's edge between them: a mirrored scan must give the mirrored mask.
    #[test]
    fn a_mirrored_scan_gives_the_mirrored_mask() {
        let brain = brain();
        let blood = mask(brain.grid().shape, |[i, j, k]| i < 8 && i > 3 && j == 3 && (2..4).contains(&k));
        let scan = Volume::new(brain.grid().clone(), (0..brain.grid().len()).map(|n| [60.0, 700.0][n % 7 / 6]).collect());
        let grown = |scan: &Volume<f32>, brain: &Volume<bool>, mut blood: Volume<bool>| {
            SkullMargin::of(scan, 4.0).add_to(&mut blood, brain);
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
