//! From volumes (i fastest) to the network's arrays (k fastest) and back.
//!
//! The network's first spatial axis is the NIfTI i axis, then j, then k. The index order stays; only the order in
//! memory changes: an array is read by (i, j, k) on both sides, so that nothing can be mirrored.

use crate::volume::{Grid, Volume};
use ndarray::{Array3, ArrayView3, ShapeBuilder};

/// A view (i, j, k) of a volume's voxels, without a copy.
pub(crate) fn view<T>(volume: &Volume<T>) -> ArrayView3<'_, T> {
    let [ni, nj, nk] = volume.grid().shape;
    ArrayView3::from_shape((ni, nj, nk).f(), volume.voxels()).expect("a volume has a value for each voxel")
}

/// The network's array (D, H, W) = (i, j, k), W fastest in memory.
pub fn to_network<T: Copy>(volume: &Volume<T>) -> Array3<T> {
    let mut array = Vec::with_capacity(volume.voxels().len());
    array.extend(view(volume).iter().copied());
    Array3::from_shape_vec(volume.grid().shape, array).expect("the length is the volume's")
}

/// A volume on `grid` of the network's array (D, H, W) = (i, j, k).
///
/// # Panics
/// Where the shapes differ.
pub fn from_network<T: Copy>(array: ArrayView3<T>, grid: Grid) -> Volume<T> {
    assert_eq!(array.shape(), grid.shape, "array and grid must have the same shape");
    // Reversed axes are visited in the order k, j, i with i fastest.
    let voxels = array.reversed_axes().iter().copied().collect();
    Volume::new(grid, voxels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Affine;

    #[test]
    fn a_voxel_keeps_its_indices() {
        let grid = Grid { shape: [2, 3, 4], affine: Affine::IDENTITY };
        let mut voxels = vec![0.0; 24];
        voxels[grid.index([1, 2, 3])] = 1.0;
        voxels[grid.index([0, 1, 0])] = 2.0;
        let volume = Volume::new(grid.clone(), voxels);
        let array = to_network(&volume);
        assert_eq!((array[[1, 2, 3]], array[[0, 1, 0]]), (1.0, 2.0));
        assert_eq!(array.as_slice().unwrap()[4], 2.0, "k is fastest in memory");
        assert_eq!(from_network(array.view(), grid), volume);
    }
}
