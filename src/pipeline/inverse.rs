//! Back from the network's space: a label on another grid.

use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;

/// A label on another grid by linear interpolation of its 0 and 1, cut at one half, inside `within` only; `to_label` takes the grid's world to the
/// label's.
pub fn mask_on(mask: &Volume<bool>, grid: &Grid, to_label: &Affine, within: Option<&Volume<bool>>) -> Volume<bool> {
    let mut found = vec![false; grid.len()];
    let Some(to_index) = mask.grid().affine.inverse().map(|inverse| inverse.after(to_label).after(&grid.affine)) else {
        return Volume::new(grid.clone(), found);
    };
    let [ni, nj, _] = grid.shape;
    let shape = mask.grid().shape;
    // The value at an index of the label's grid; outside it is 0.
    let value = |i: i64, j: i64, k: i64| {
        let inside = [i, j, k].iter().zip(shape).all(|(&at, length)| at >= 0 && (at as usize) < length);
        f64::from(u8::from(inside && mask.voxels()[mask.grid().index([i as usize, j as usize, k as usize])]))
    };
    found.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, out)| {
        let (j, k) = (row % nj, row / nj);
        for (i, out) in out.iter_mut().enumerate() {
            if within.is_some_and(|within| !within.voxels()[i + ni * row]) {
                continue;
            }
            let p = to_index.apply([i as f64, j as f64, k as f64]);
            let base = p.map(f64::floor);
            if (0..3).any(|axis| base[axis] < -1.0 || base[axis] >= shape[axis] as f64) {
                continue;
            }
            let f = [0, 1, 2].map(|axis| p[axis] - base[axis]);
            let b = base.map(|at| at as i64);
            let mut sum = 0.0;
            for corner in 0..8 {
                let bit = [corner & 1, corner >> 1 & 1, corner >> 2 & 1];
                let weight: f64 = (0..3).map(|axis| if bit[axis] == 1 { f[axis] } else { 1.0 - f[axis] }).product();
                sum += weight * value(b[0] + bit[0], b[1] + bit[1], b[2] + bit[2]);
            }
            *out = sum > 0.5;
        }
    });
    Volume::new(grid.clone(), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(shape: [usize; 3], inside: impl Fn([usize; 3]) -> bool) -> Volume<bool> {
        let grid = Grid { shape, affine: Affine::new([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]], [0.0; 3]) };
        let mut voxels = Vec::new();
        for k in 0..shape[2] {
            for j in 0..shape[1] {
                voxels.extend((0..shape[0]).map(|i| inside([i, j, k])));
            }
        }
        Volume::new(grid, voxels)
    }

    #[test]
    fn a_label_comes_back_through_the_identity_and_a_shift_by_a_voxel() {
        let label = made([5, 6, 7], |[i, j, k]| i * j + k == 6);
        assert_eq!(mask_on(&label, label.grid(), &Affine::IDENTITY, None), label);
        let shift = Affine::new(Affine::IDENTITY.matrix(), [2.0, 0.0, 0.0]);
        let moved = mask_on(&label, label.grid(), &shift, None);
        for k in 0..7 {
            for j in 0..6 {
                for i in 0..5 {
                    assert_eq!(*moved.at([i, j, k]), i < 4 && *label.at([i + 1, j, k]));
                }
            }
        }
    }

    #[test]
    fn a_label_is_cut_at_one_half() {
        let label = made([4, 1, 1], |[i, _, _]| i == 1 || i == 2);
        let shifted = |mm: f64| mask_on(&label, label.grid(), &Affine::new(Affine::IDENTITY.matrix(), [mm, 0.0, 0.0]), None).into_voxels();
        // Voxels are 2 mm: a point 0.8 mm before voxel 1 sees 0.6 of it.
        assert_eq!(shifted(1.2), [true, true, false, false]);
        assert_eq!(shifted(0.8), [false, true, true, false]);
    }

    #[test]
    fn the_brain_bounds_a_label() {
        let label = made([4, 4, 4], |_| true);
        let brain = made([4, 4, 4], |[i, _, _]| i < 2);
        assert_eq!(mask_on(&label, label.grid(), &Affine::IDENTITY, Some(&brain)), brain);
    }
}
