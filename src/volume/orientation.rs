//! How a grid's axes lie in the patient, and volumes turned so that they lie right, front, top.

use rayon::prelude::*;

use super::{Affine, Grid, Volume};

/// Which way each voxel axis runs, to the nearest of right-left, back-front and bottom-top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// For each voxel axis, the world axis it runs along: 0 for x, 1 for y, 2 for z. A permutation.
    pub axis: [usize; 3],
    /// For each voxel axis, whether it runs against its world axis: to the left, the back or the bottom.
    pub flipped: [bool; 3],
}

/// The six permutations of three axes; the earlier wins a tie.
const PERMUTATIONS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

impl Orientation {
    /// Right, front, top: the order and the signs of the world's axes.
    pub const RAS: Orientation = Orientation { axis: [0, 1, 2], flipped: [false; 3] };

    /// The signed permutation nearest to a voxel-to-world affine: the one for which the cosines between voxel axes and their world axes add
    /// up to the most, so that an oblique or sheared grid has one world axis for each of its own, too.
    pub fn of(affine: &Affine) -> Orientation {
        let spacing = affine.spacing();
        let cosine = |world: usize, voxel: usize| affine.rows[world][voxel] / spacing[voxel];
        let sum = |axis: &[usize; 3]| (0..3).map(|voxel| cosine(axis[voxel], voxel).abs()).sum::<f64>();
        let mut axis = PERMUTATIONS[0];
        for candidate in &PERMUTATIONS[1..] {
            if sum(candidate) > sum(&axis) {
                axis = *candidate;
            }
        }
        Orientation { axis, flipped: [0, 1, 2].map(|voxel| cosine(axis[voxel], voxel) < 0.0) }
    }

    /// The directions towards which i, j and k grow, as letters: `RAS`, `LPS`, `PIR` and so on.
    pub fn letters(&self) -> String {
        (0..3).map(|voxel| [['R', 'A', 'S'], ['L', 'P', 'I']][self.flipped[voxel] as usize][self.axis[voxel]]).collect()
    }
}

/// The volume with its axes put in the order and direction nearest to RAS. No value changes, and every value stays where it is in the world.
pub fn to_ras<T: Copy + Send + Sync>(volume: &Volume<T>) -> Volume<T> {
    let grid = volume.grid();
    let Orientation { axis, flipped } = Orientation::of(&grid.affine);
    let mut shape = [0; 3];
    // Places in `volume`: of the new first voxel, and from one voxel to the next along each new axis.
    let (mut first, mut step) = (0, [0; 3]);
    // The same as voxel indices: new to old.
    let mut old = Affine::new([[0.0; 3]; 3], [0.0; 3]);
    let strides = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
    for voxel in 0..3 {
        let (side, world) = (grid.shape[voxel], axis[voxel]);
        shape[world] = side;
        let sign = if flipped[voxel] { -1 } else { 1 };
        step[world] = sign * strides[voxel] as isize;
        old.rows[voxel][world] = sign as f64;
        if flipped[voxel] {
            first += (side - 1) * strides[voxel];
            old.rows[voxel][3] = (side - 1) as f64;
        }
    }
    let from = volume.voxels();
    let affine = grid.affine.after(&old);
    gather(Grid { shape, affine }, |[i, j, k]| from[place(first, step, [i, j, k])])
}

/// A volume as [`to_ras`] gives it, put back on the grid it came from.
///
/// # Panics
/// Where `volume` has not the shape of `grid` turned to RAS.
pub fn from_ras<T: Copy + Send + Sync>(volume: &Volume<T>, grid: &Grid) -> Volume<T> {
    let Orientation { axis, flipped } = Orientation::of(&grid.affine);
    let shape = volume.grid().shape;
    assert_eq!(axis.map(|world| shape[world]), grid.shape, "the volume is not on this grid turned to RAS");
    let strides = [1, shape[0], shape[0] * shape[1]];
    let (mut first, mut step) = (0, [0; 3]);
    for voxel in 0..3 {
        let stride = strides[axis[voxel]];
        step[voxel] = if flipped[voxel] { -(stride as isize) } else { stride as isize };
        if flipped[voxel] {
            first += (grid.shape[voxel] - 1) * stride;
        }
    }
    let from = volume.voxels();
    gather(grid.clone(), |ijk| from[place(first, step, ijk)])
}

/// Place of the voxel `ijk` steps away from `first`.
fn place(first: usize, step: [isize; 3], ijk: [usize; 3]) -> usize {
    (0..3).fold(first, |at, axis| at.wrapping_add_signed(step[axis] * ijk[axis] as isize))
}

/// A volume made voxel by voxel, on all threads.
fn gather<T: Copy + Send + Sync>(grid: Grid, value: impl Fn([usize; 3]) -> T + Sync) -> Volume<T> {
    let [ni, nj, nk] = grid.shape;
    let value = &value;
    let voxels =
        (0..nk).into_par_iter().flat_map_iter(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| value([i, j, k])))).collect();
    Volume::new(grid, voxels)
}
