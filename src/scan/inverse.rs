//! Back from the network's space: a label on another grid.

use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;

/// A mask on another grid by linear interpolation of its 0 and 1, cut at one half, inside `within` only; `to_mask` takes the grid's world to
/// the mask's. Outside its grid a mask is 0.
pub fn mask_on(mask: &Volume<bool>, grid: &Grid, to_mask: &Affine, within: Option<&Volume<bool>>) -> Volume<bool> {
    let mut found = vec![false; grid.len()];
    let to_index = mask.grid().affine.inverse().map(|inverse| inverse.after(to_mask).after(&grid.affine));
    let (Some(to_index), Some([low, high])) = (to_index, bounds(mask)) else {
        return Volume::new(grid.clone(), found);
    };
    let [ni, nj, _] = grid.shape;
    let step = to_index.rows.map(|row| row[0]);
    let (shape, voxels) = (mask.grid().shape, mask.voxels());
    let corners: [usize; 8] =
        std::array::from_fn(|corner| (corner & 1) + shape[0] * ((corner >> 1 & 1) + shape[1] * (corner >> 2)));
    // The eight voxels from the one at `base` on.
    let cube = |base: [isize; 3]| -> [bool; 8] {
        if (0..3).all(|axis| base[axis] >= 0 && base[axis] + 1 < shape[axis] as isize) {
            let first = mask.grid().index(base.map(|at| at as usize));
            return corners.map(|corner| voxels[first + corner]);
        }
        std::array::from_fn(|corner| {
            let at: [isize; 3] = std::array::from_fn(|axis| base[axis] + (corner >> axis & 1) as isize);
            let inside = (0..3).all(|axis| at[axis] >= 0 && at[axis] < shape[axis] as isize);
            inside && voxels[mask.grid().index(at.map(|x| x as usize))]
        })
    };
    found.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, found)| {
        let start = to_index.apply([0.0, (row % nj) as f64, (row / nj) as f64]);
        // Only these voxels of the row have one of the mask's among the eight around them.
        let mut range = [0.0, ni as f64 - 1.0];
        for axis in 0..3 {
            narrow(&mut range, start[axis], step[axis], [low[axis] - 1.0, high[axis] + 1.0]);
        }
        if range[0] > range[1] {
            return;
        }
        for (i, found) in found.iter_mut().enumerate().take(range[1] as usize + 1).skip(range[0] as usize) {
            if within.is_some_and(|within| !within.voxels()[i + ni * row]) {
                continue;
            }
            let p = [0, 1, 2].map(|axis| start[axis] + i as f64 * step[axis]);
            let base = p.map(f64::floor);
            let cube = cube(base.map(|at| at as isize));
            if cube == [cube[0]; 8] {
                *found = cube[0];
                continue;
            }
            let part = [0, 1, 2].map(|axis| p[axis] - base[axis]);
            let weight = |axis: usize, corner: usize| if corner >> axis & 1 == 1 { part[axis] } else { 1.0 - part[axis] };
            let inside = (0..8).filter(|&corner| cube[corner]);
            let sum: f64 = inside.map(|corner| weight(0, corner) * weight(1, corner) * weight(2, corner)).sum();
            *found = sum > 0.5;
        }
    });
    Volume::new(grid.clone(), found)
}

/// The lowest and the highest index along each axis among the voxels of a mask; `None` for an empty one.
fn bounds(mask: &Volume<bool>) -> Option<[[f64; 3]; 2]> {
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for (index, _) in mask.voxels().iter().enumerate().filter(|(_, inside)| **inside) {
        for (axis, at) in mask.grid().ijk(index).into_iter().enumerate() {
            low[axis] = low[axis].min(at as f64);
            high[axis] = high[axis].max(at as f64);
        }
    }
    (low[0] <= high[0]).then_some([low, high])
}

/// Narrows a range of whole numbers i to those with `start + i * step` within the limits, and at most one more on each side: the rounding of a
/// division must not lose a voxel.
fn narrow(range: &mut [f64; 2], start: f64, step: f64, limits: [f64; 2]) {
    if step == 0.0 {
        if !(limits[0]..=limits[1]).contains(&start) {
            *range = [0.0, -1.0];
        }
        return;
    }
    let ends = limits.map(|limit| (limit - start) / step);
    range[0] = range[0].max(ends[0].min(ends[1]).floor());
    range[1] = range[1].min(ends[0].max(ends[1]).ceil());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;
    use proptest::prelude::*;

    #[test]
    fn a_label_comes_back_through_the_identity_and_a_shift_by_a_voxel() {
        let label = mask([5, 6, 7], |[i, j, k]| i * j + k == 6);
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
        let label = mask([4, 1, 1], |[i, _, _]| i == 1 || i == 2);
        let shifted =
            |mm: f64| mask_on(&label, label.grid(), &Affine::new(Affine::IDENTITY.matrix(), [mm, 0.0, 0.0]), None).into_voxels();
        // Voxels are 2 mm: a point 0.8 mm before voxel 1 sees 0.6 of it.
        assert_eq!(shifted(1.2), [true, true, false, false]);
        assert_eq!(shifted(0.8), [false, true, true, false]);
    }

    #[test]
    fn the_brain_bounds_a_label() {
        let label = mask([4, 4, 4], |_| true);
        let brain = mask([4, 4, 4], |[i, _, _]| i < 2);
        assert_eq!(mask_on(&label, label.grid(), &Affine::IDENTITY, Some(&brain)), brain);
    }

    /// The definition, voxel by voxel. Places are multiples of 1/4 here, so that sums are exact, ties too.
    fn plain(label: &Volume<bool>, grid: &Grid, to_label: &Affine, within: Option<&Volume<bool>>) -> Vec<bool> {
        let inside = |at: [f64; 3]| {
            let is_in = (0..3).all(|axis| at[axis] >= 0.0 && at[axis] < label.grid().shape[axis] as f64);
            is_in && *label.at(at.map(|x| x as usize))
        };
        let to_index = label.grid().affine.inverse().unwrap().after(to_label).after(&grid.affine);
        let [ni, nj, _] = grid.shape;
        (0..grid.len())
            .map(|n| {
                let p = to_index.apply([n % ni, n / ni % nj, n / ni / nj].map(|x| x as f64));
                let base = p.map(f64::floor);
                let weight = |corner: usize| -> f64 {
                    let part = |axis: usize| p[axis] - base[axis];
                    (0..3).map(|axis| if corner >> axis & 1 == 1 { part(axis) } else { 1.0 - part(axis) }).product()
                };
                let at = |corner: usize| [0, 1, 2].map(|axis| base[axis] + (corner >> axis & 1) as f64);
                let sum: f64 = (0..8).filter(|&corner| inside(at(corner))).map(weight).sum();
                sum > 0.5 && within.is_none_or(|within| within.voxels()[n])
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_label_is_that_of_its_definition(
            shape in [1usize..6, 1..5, 1..4],
            sides in [1usize..9, 1..6, 1..5],
            matrix in [[-6i8..7, -4..5, -4..5], [-4..5, -6..7, -4..5], [-4..5, -4..5, -6..7]],
            shift in [-8i8..20, -8..20, -8..16],
            flags in prop::collection::vec(0u8..8, 400),
            bounded in any::<bool>(),
        ) {
            let grid = |shape| Grid { shape, affine: Affine::IDENTITY };
            let volume = |shape: [usize; 3], bit: u8| {
                let voxels = flags.iter().take(shape.iter().product()).map(|flags| flags >> bit & 1 == 1).collect();
                Volume::new(grid(shape), voxels)
            };
            let (label, within) = (volume(shape, 0), volume(sides, 1));
            let within = bounded.then_some(&within);
            let quarters = |n: i8| f64::from(n) / 4.0;
            let to_label = Affine::new(matrix.map(|row| row.map(quarters)), shift.map(quarters));
            let found = mask_on(&label, &grid(sides), &to_label, within);
            prop_assert_eq!(found.into_voxels(), plain(&label, &grid(sides), &to_label, within));
        }
    }
}
