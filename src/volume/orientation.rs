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
    pub(crate) const RAS: Orientation = Orientation { axis: [0, 1, 2], flipped: [false; 3] };

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
pub(crate) fn to_ras<T: Copy + Send + Sync>(volume: &Volume<T>) -> Volume<T> {
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
    let affine = grid.affine.after(&old);
    gather(Grid { shape, affine }, volume.voxels(), first, step)
}

/// A volume whose axes were put into the order nearest to RAS, back on the grid it came from.
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
    gather(grid.clone(), volume.voxels(), first, step)
}

/// The volume on `grid`, where both have the same points: each voxel of the one lies where one of the other does, in
/// whatever order and direction of axes. Nothing is resampled: every value keeps its place in the world. `None` where a
/// point lies further than `tolerance` of the smallest spacing from that of the other grid.
pub(crate) fn onto_same_points<T: Copy + Send + Sync>(volume: &Volume<T>, grid: &Grid, tolerance: f64) -> Option<Volume<T>> {
    let from = volume.grid();
    let (axis, flipped) = same_axes(from, grid)?;
    let smallest = grid.spacing().into_iter().fold(f64::INFINITY, f64::min);
    if [0, 1, 2].map(|voxel| grid.shape[axis[voxel]]) != from.shape || distance_of_points(from, grid)? > tolerance * smallest {
        return None;
    }
    let strides = [1, from.shape[0], from.shape[0] * from.shape[1]];
    let (mut first, mut step) = (0, [0; 3]);
    for voxel in 0..3 {
        step[axis[voxel]] = if flipped[voxel] { -(strides[voxel] as isize) } else { strides[voxel] as isize };
        if flipped[voxel] {
            first += from.shape[voxel].saturating_sub(1) * strides[voxel];
        }
    }
    Some(gather(grid.clone(), volume.voxels(), first, step))
}

/// How far apart, in mm, the corners of two grids are at most when the axes of `from` are brought into the order and
/// direction of those of `grid`; `None` where the numbers of voxels along them differ, or the affine of `grid` has no
/// inverse.
pub(crate) fn distance_of_points(from: &Grid, grid: &Grid) -> Option<f64> {
    let (axis, flipped) = same_axes(from, grid)?;
    if [0, 1, 2].map(|voxel| grid.shape[axis[voxel]]) != from.shape {
        return None;
    }
    // As voxel indices of `from`: those of `grid`.
    let mut turned = Affine::new([[0.0; 3]; 3], [0.0; 3]);
    for voxel in 0..3 {
        turned.rows[axis[voxel]][voxel] = if flipped[voxel] { -1.0 } else { 1.0 };
        if flipped[voxel] {
            turned.rows[axis[voxel]][3] = from.shape[voxel].saturating_sub(1) as f64;
        }
    }
    Some(from.affine.farthest_corner(&grid.affine.after(&turned), from.shape))
}

/// For each axis of `from`, the axis of `grid` that it runs along, and whether it runs against it. `None` where the
/// affine of `grid` has no inverse.
fn same_axes(from: &Grid, grid: &Grid) -> Option<([usize; 3], [bool; 3])> {
    let Orientation { axis, flipped } = Orientation::of(&grid.affine.inverse()?.after(&from.affine));
    Some((axis, flipped))
}

/// Place of the voxel `ijk` steps away from `first`.
fn place(first: usize, step: [isize; 3], ijk: [usize; 3]) -> usize {
    (0..3).fold(first, |at, axis| at.wrapping_add_signed(step[axis] * ijk[axis] as isize))
}

/// The volume on `grid` whose voxel (i, j, k) is the value of `from` so many steps away from `first`, on all threads.
fn gather<T: Copy + Send + Sync>(grid: Grid, from: &[T], first: usize, step: [isize; 3]) -> Volume<T> {
    let [ni, nj, _] = grid.shape;
    let mut voxels = from.to_vec();
    voxels.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, voxels)| {
        let start = place(first, step, [0, row % nj, row / nj]);
        // Most scans' rows stay rows: those two cases are as fast as memory.
        match step[0] {
            1 => voxels.copy_from_slice(&from[start..][..ni]),
            -1 => voxels.iter_mut().zip(from[..=start].iter().rev()).for_each(|(to, from)| *to = *from),
            step => voxels.iter_mut().enumerate().for_each(|(i, to)| *to = from[start.wrapping_add_signed(step * i as isize)]),
        }
    });
    Volume::new(grid, voxels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::{affine, signed_permutations, sum_of_squares};
    use proptest::prelude::*;

    #[test]
    fn letters_say_where_the_axes_grow() {
        let cases = [
            ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "RAS"),
            ([[-0.5, 0.0, 0.0], [0.0, -0.5, 0.0], [0.0, 0.0, 5.0]], "LPS"),
            // Sagittal slices: i to the back, j to the bottom, k to the left.
            ([[0.0, 0.0, -3.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], "PIL"),
            // Coronal slices, tilted by 20 degrees.
            ([[1.0, 0.0, 0.0], [0.0, 0.34, -0.94], [0.0, 0.94, 0.34]], "RSP"),
            // A gantry tilt of 40 degrees: the k axis leans to the back, and still goes to the top first.
            ([[-0.5, 0.0, 0.0], [0.0, 0.5, -3.2], [0.0, 0.0, 3.8]], "LAS"),
        ];
        for (matrix, letters) in cases {
            assert_eq!(Orientation::of(&Affine::new(matrix, [9.0, -9.0, 0.0])).letters(), letters);
        }
    }

    #[test]
    fn each_axis_has_its_own_world_axis() {
        // Both i and j lean most to z; the sum of cosines decides, and thin voxels count no less than thick ones.
        let sheared = Affine::new([[0.1, 6.0, 0.0], [0.0, 0.0, 1.0], [0.9, 7.0, 0.0]], [0.0; 3]);
        assert_eq!(Orientation::of(&sheared), Orientation { axis: [2, 0, 1], flipped: [false; 3] });
    }

    #[test]
    fn a_tie_goes_to_the_earlier_order_and_to_the_worlds_direction() {
        // Turned by 45 degrees about z: i is as near to x as to y.
        let between = Affine::new([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        assert_eq!(Orientation::of(&between).letters(), "RAS");
        // Flat: j has no part in y at all.
        let flat = Affine::new([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        assert_eq!(Orientation::of(&flat).letters(), "RAS");
    }

    #[test]
    fn all_48_are_told_apart_and_turn_into_the_same_volume() {
        let shape = [3, 4, 5];
        let ras = Grid { shape, affine: Affine::new([[0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 4.0]], [-7.0, 8.0, 9.0]) };
        let original = Volume::new(ras, (0..60).collect::<Vec<i32>>());
        assert_eq!(to_ras(&original), original);
        let all = signed_permutations();
        assert_eq!(all.len(), 48);
        for orientation in all {
            let Orientation { axis, flipped } = orientation;
            // The same head, as a scanner of this orientation stores it.
            let mut map = Affine::new([[0.0; 3]; 3], [0.0; 3]);
            for voxel in 0..3 {
                map.rows[axis[voxel]][voxel] = if flipped[voxel] { -1.0 } else { 1.0 };
                map.rows[axis[voxel]][3] = if flipped[voxel] { (shape[axis[voxel]] - 1) as f64 } else { 0.0 };
            }
            let grid = Grid { shape: axis.map(|world| shape[world]), affine: original.grid().affine.after(&map) };
            let mut voxels = vec![0; 60];
            for (k, j, i) in (0..grid.shape[2]).flat_map(|k| {
                let grid = &grid;
                (0..grid.shape[1]).flat_map(move |j| (0..grid.shape[0]).map(move |i| (k, j, i)))
            }) {
                let old = map.apply([i as f64, j as f64, k as f64]).map(|index| index as usize);
                voxels[grid.index([i, j, k])] = *original.at(old);
            }
            let stored = Volume::new(grid, voxels);
            assert_eq!(Orientation::of(&stored.grid().affine), orientation);
            let turned = to_ras(&stored);
            assert_eq!(turned.voxels(), original.voxels(), "{}", orientation.letters());
            assert_eq!(turned.grid().shape, shape);
            let difference = sum_of_squares(&turned.grid().affine, &original.grid().affine);
            assert!(difference < 1e-20, "{}: {difference}", orientation.letters());
            assert_eq!(from_ras(&turned, stored.grid()), stored);
        }
    }

    proptest! {
        #[test]
        fn turning_moves_no_value_in_the_world(affine in affine(), shape in [1..5_usize, 1..5, 1..5]) {
            let grid = Grid { shape, affine };
            // Every voxel holds its own place.
            let mut places = Volume::new(grid.clone(), vec![[0.0; 3]; grid.len()]);
            for k in 0..shape[2] { for j in 0..shape[1] { for i in 0..shape[0] {
                let place = grid.index([i, j, k]);
                places.voxels_mut()[place] = affine.apply([i, j, k].map(|index| index as f64));
            } } }
            let turned = to_ras(&places);
            prop_assert_eq!(Orientation::of(&turned.grid().affine), Orientation::RAS);
            let [ni, nj, nk] = turned.grid().shape;
            for k in 0..nk { for j in 0..nj { for i in 0..ni {
                let here = turned.grid().affine.apply([i, j, k].map(|index| index as f64));
                let there = turned.at([i, j, k]);
                prop_assert!((0..3).all(|n| (here[n] - there[n]).abs() < 1e-9), "{here:?} {there:?}");
            } } }
            prop_assert_eq!(from_ras(&turned, &grid), places);
        }
    }

    #[test]
    #[should_panic(expected = "not on this grid")]
    fn a_volume_of_another_shape_is_refused() {
        let grid = Grid { shape: [1, 2, 3], affine: Affine::IDENTITY };
        from_ras(&Volume::new(Grid { shape: [3, 2, 1], ..grid.clone() }, vec![0; 6]), &grid);
    }

    proptest! {
        #[test]
        fn all_orders_of_axes_of_the_same_points_come_onto_one_grid(shape in [1..5_usize, 1..5_usize, 1..5_usize], affine in affine()) {
            let grid = Grid { shape, affine };
            let volume = Volume::new(grid.clone(), (0..grid.len()).collect::<Vec<_>>());
            for Orientation { axis, flipped } in signed_permutations() {
                // The same points stored in another order: axis n of the other is axis `axis[n]` of this one.
                let side = axis.map(|own| shape[own]);
                let mut old = Affine::new([[0.0; 3]; 3], [0.0; 3]);
                for n in 0..3 {
                    old.rows[axis[n]][n] = if flipped[n] { -1.0 } else { 1.0 };
                    old.rows[axis[n]][3] = if flipped[n] { side[n] as f64 - 1.0 } else { 0.0 };
                }
                let other = Grid { shape: side, affine: affine.after(&old) };
                let mut voxels = Vec::new();
                for n in 0..other.len() {
                    let place = [n % side[0], n / side[0] % side[1], n / (side[0] * side[1])];
                    voxels.push(*volume.at(old.apply(place.map(|x| x as f64)).map(|x| x.round() as usize)));
                }
                let stored = Volume::new(other.clone(), voxels);
                prop_assert!(onto_same_points(&stored, &grid, 1e-6) == Some(volume.clone()), "{axis:?} {flipped:?}");
                let mut moved = stored;
                moved.grid.affine.rows[2][3] += 0.2 * grid.spacing().into_iter().fold(f64::INFINITY, f64::min);
                prop_assert!(onto_same_points(&moved, &grid, 0.1).is_none());
                prop_assert!(onto_same_points(&moved, &grid, 0.3).is_some());
            }
        }
    }

    #[test]
    fn other_points_are_not_brought_onto_a_grid() {
        let volume = |shape: [usize; 3], affine| Volume::new(Grid { shape, affine }, vec![0_u8; shape.iter().product()]);
        let grid = Grid { shape: [2, 3, 4], affine: Affine::IDENTITY };
        assert!(onto_same_points(&volume([3, 2, 4], Affine::IDENTITY), &grid, 0.1).is_none(), "no axis runs along another");
        let twice = Affine::new([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        assert!(onto_same_points(&volume([2, 3, 4], twice), &grid, 0.1).is_none());
        let flat = Grid { affine: Affine::new([[0.0; 3]; 3], [0.0; 3]), ..grid.clone() };
        assert!(onto_same_points(&volume([2, 3, 4], Affine::IDENTITY), &flat, 0.1).is_none());
    }

    #[test]
    fn an_empty_volume_stays_empty() {
        let grid = Grid { shape: [0, 2, 3], affine: Affine::IDENTITY };
        assert_eq!(to_ras(&Volume::<u8>::new(grid.clone(), vec![])), Volume::new(grid, vec![]));
    }
}
