//! A box of a grid's voxels: work on a small structure in a large scan need not touch the rest.

use super::{Affine, Grid, Volume};

/// A box of voxels of a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    first: [usize; 3],
    shape: [usize; 3],
}

impl Part {
    /// The smallest box that holds the foreground of all masks, which have one grid, and `margin_mm` around it as far as the grid goes. `None` where they are empty.
    pub fn around(masks: &[&Volume<bool>], margin_mm: f64) -> Option<Part> {
        let grid = masks.first()?.grid();
        let (mut low, mut high) = (grid.shape, [0; 3]);
        for mask in masks {
            for (row, voxels) in mask.voxels().chunks(grid.shape[0].max(1)).enumerate() {
                let Some(first) = voxels.iter().position(|&inside| inside) else { continue };
                let last = voxels.iter().rposition(|&inside| inside).unwrap_or(first);
                for (axis, [from, to]) in
                    [[first, last], [row % grid.shape[1]; 2], [row / grid.shape[1]; 2]].into_iter().enumerate()
                {
                    low[axis] = low[axis].min(from);
                    high[axis] = high[axis].max(to + 1);
                }
            }
        }
        if high == [0; 3] {
            return None;
        }
        // A hair more: a step that is as long as the margin lies in it, however it was rounded.
        let reach = grid.spacing().map(|spacing| (margin_mm / spacing * (1.0 + 1e-5)) as usize);
        let first = [0, 1, 2].map(|axis| low[axis].saturating_sub(reach[axis]));
        let shape = [0, 1, 2].map(|axis| high[axis].saturating_add(reach[axis]).min(grid.shape[axis]) - first[axis]);
        Some(Part { first, shape })
    }

    /// The numbers that the box's voxels have in the whole grid, in the box's order.
    pub fn voxels(&self, whole: &Grid) -> impl Iterator<Item = usize> {
        let Part { first, shape } = *self;
        let start = whole.index(first);
        let [ni, nj, _] = whole.shape;
        let rows = (0..shape[2]).flat_map(move |k| (0..shape[1]).map(move |j| start + ni * (j + nj * k)));
        rows.flat_map(move |row| row..row + shape[0])
    }

    /// What a volume has in the box, at the same place in the world.
    pub fn of<T: Copy>(&self, volume: &Volume<T>) -> Volume<T> {
        let whole = volume.grid();
        let origin = whole.affine.apply(self.first.map(|n| n as f64));
        let grid = Grid { shape: self.shape, affine: Affine::new(whole.affine.matrix(), origin) };
        Volume::new(grid, self.voxels(whole).map(|voxel| volume.voxels()[voxel]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;

    #[test]
    fn a_box_holds_all_masks_and_the_margin_inside_the_grid() {
        // Voxels of 2 x 3 x 5 mm.
        let one = mask([12, 10, 8], |at| at == [1, 5, 3]);
        let other = mask([12, 10, 8], |at| at == [4, 6, 2]);
        let empty = mask([12, 10, 8], |_| false);
        assert_eq!(Part::around(&[&one, &other], 0.0), Some(Part { first: [1, 5, 2], shape: [4, 2, 2] }));
        // 6 mm are 3, 2 and 1 voxels; to the left there is one only.
        assert_eq!(Part::around(&[&other, &one, &empty], 6.0), Some(Part { first: [0, 3, 1], shape: [8, 6, 4] }));
        assert_eq!(Part::around(&[&one], f64::MAX), Some(Part { first: [0; 3], shape: [12, 10, 8] }));
        assert_eq!(Part::around(&[&empty, &empty], 6.0), None);
    }

    #[test]
    fn what_is_in_a_box_keeps_its_place() {
        let grid = mask([6, 5, 4], |_| false).grid().clone();
        let volume = Volume::new(grid.clone(), (0..grid.len()).collect());
        let part = Part { first: [2, 1, 1], shape: [3, 4, 2] };
        let cut = part.of(&volume);
        for ([i, j, k], at) in [([0, 0, 0], [2, 1, 1]), ([2, 3, 1], [4, 4, 2]), ([1, 0, 1], [3, 1, 2])] {
            assert_eq!(*cut.at([i, j, k]), grid.index(at));
            assert_eq!(cut.grid().affine.apply([i, j, k].map(|x| x as f64)), grid.affine.apply(at.map(|x| x as f64)));
        }
        assert_eq!(cut.voxels(), part.voxels(&grid).collect::<Vec<_>>());
    }
}
