//! Values of a volume at the voxels of another grid.
//!
//! Samples sit at voxel centres, and a voxel reaches half a step to each side, as in ITK: a point is inside a volume where its continuous index lies in
//! [-0.5, n - 0.5) along each axis. Within the outer half voxel, beyond the outermost centres, the outermost samples go on.

use rayon::prelude::*;

use super::{Affine, Grid, Volume};

/// What keeps a volume from being resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the volume's affine is singular")]
pub struct SingularAffine;

/// The volume at the voxels of `grid`, linear between the eight nearest samples.
///
/// `transform` takes RAS millimetres of the grid's world to RAS millimetres of the volume's, [`Affine::IDENTITY`] where they are one.
/// Points outside the volume get `outside`. The same for any number of threads.
///
/// # Errors
/// [`SingularAffine`] where the volume's affine is singular.
pub fn linear(volume: &Volume<f32>, grid: &Grid, transform: &Affine, outside: f32) -> Result<Volume<f32>, SingularAffine> {
    let (from, shape) = (volume.voxels(), volume.grid().shape);
    let [ni, nj, _] = shape;
    // Neighbours below and above, and how far the point is between them, along one axis. Beyond the last centre both are the last sample.
    let neighbours = |index: f64, side: usize| {
        let index = index.max(0.0);
        let below = index as usize;
        (below, (below + 1).min(side - 1), (index - below as f64) as f32)
    };
    sample(volume.grid(), grid, transform, outside, |[i, j, k]| {
        let (i0, i1, ti) = neighbours(i, ni);
        let (j0, j1, tj) = neighbours(j, nj);
        let (k0, k1, tk) = neighbours(k, shape[2]);
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let row = |j: usize, k: usize| {
            let row = &from[ni * (j + nj * k)..][..ni];
            mix(row[i0], row[i1], ti)
        };
        let slice = |k: usize| mix(row(j0, k), row(j1, k), tj);
        mix(slice(k0), slice(k1), tk)
    })
}

/// The volume at the voxels of `grid`, each the nearest sample (of two as near, the one of higher index): for masks and labels.
///
/// `transform`, `outside` and errors as for [`linear`].
///
/// # Errors
/// [`SingularAffine`] where the volume's affine is singular.
pub(crate) fn nearest<T: Copy + Send + Sync>(
    volume: &Volume<T>,
    grid: &Grid,
    transform: &Affine,
    outside: T,
) -> Result<Volume<T>, SingularAffine> {
    let from = volume.voxels();
    let [ni, nj, _] = volume.grid().shape;
    // Inside, index + 0.5 is not negative: truncation rounds it.
    sample(volume.grid(), grid, transform, outside, |[i, j, k]| {
        from[(i + 0.5) as usize + ni * ((j + 0.5) as usize + nj * (k + 0.5) as usize)]
    })
}

/// `value` of the continuous index in `from` of each voxel of `grid`, on all threads.
fn sample<T: Copy + Send + Sync>(
    from: &Grid,
    grid: &Grid,
    transform: &Affine,
    outside: T,
    value: impl Fn([f64; 3]) -> T + Sync,
) -> Result<Volume<T>, SingularAffine> {
    let world_to_index = from.affine.inverse().ok_or(SingularAffine)?;
    let map = round(world_to_index.after(&transform.after(&grid.affine)));
    let step = map.rows.map(|row| row[0]);
    let end = from.shape.map(|side| side as f64 - 0.5);
    let mut voxels = vec![outside; grid.len()];
    let [ni, nj, _] = grid.shape;
    voxels.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, voxels)| {
        let start = map.apply([0.0, (row % nj) as f64, (row / nj) as f64]);
        for (i, voxel) in voxels.iter_mut().enumerate() {
            let index = [0, 1, 2].map(|axis| start[axis] + i as f64 * step[axis]);
            if (0..3).all(|axis| index[axis] >= -0.5 && index[axis] < end[axis]) {
                *voxel = value(index);
            }
        }
    });
    Ok(Volume::new(grid.clone(), voxels))
}

/// An index-to-index map rounded to 2^-36 of a voxel, which is far below what single-precision headers can say: a grid onto itself, or onto one shifted by half
/// a voxel, is exact, whatever the rounding of the inverse.
fn round(map: Affine) -> Affine {
    const PARTS: f64 = (1_u64 << 36) as f64;
    Affine { rows: map.rows.map(|row| row.map(|value| (value * PARTS).round() / PARTS)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::{affine, rotation};
    use proptest::prelude::*;

    fn grid(shape: [usize; 3], spacing: f64, offset: [f64; 3]) -> Grid {
        Grid { shape, affine: Affine::new([[spacing, 0.0, 0.0], [0.0, spacing, 0.0], [0.0, 0.0, spacing]], offset) }
    }

    /// A volume along i whose values are given.
    fn line(values: &[f32]) -> Volume<f32> {
        Volume::new(grid([values.len(), 1, 1], 1.0, [0.0; 3]), values.to_vec())
    }

    /// A different value in every voxel, without order.
    fn noise(grid: Grid) -> Volume<f32> {
        let voxels = (0..grid.len()).map(|n| ((n * 7919) % 4096) as f32 - 1024.0).collect();
        Volume::new(grid, voxels)
    }

    #[test]
    fn linear_lies_between_centres_and_goes_on_for_half_a_voxel() {
        let volume = line(&[10.0, 20.0, 40.0]);
        // Steps of a quarter voxel, from -0.75 to 2.75.
        let fine = Grid { shape: [15, 1, 1], ..grid([0; 3], 0.25, [-0.75, 0.0, 0.0]) };
        let found = linear(&volume, &fine, &Affine::IDENTITY, -1.0).unwrap();
        let expected = [-1.0, 10.0, 10.0, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0, 30.0, 35.0, 40.0, 40.0, -1.0, -1.0];
        assert_eq!(found.voxels(), expected);
    }

    #[test]
    fn nearest_rounds_to_centres_and_reaches_half_a_voxel() {
        let volume = line(&[10.0, 20.0, 40.0]);
        let fine = Grid { shape: [15, 1, 1], ..grid([0; 3], 0.25, [-0.75, 0.0, 0.0]) };
        let found = nearest(&volume, &fine, &Affine::IDENTITY, -1.0).unwrap();
        let expected = [-1.0, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0, 40.0, 40.0, 40.0, 40.0, -1.0, -1.0];
        assert_eq!(found.voxels(), expected);
    }

    #[test]
    fn the_edges_of_all_axes_are_half_a_voxel_out() {
        // One voxel of value 5, seen from points on both sides of each of its faces.
        let volume = Volume::new(grid([1; 3], 2.0, [0.0; 3]), vec![5.0]);
        for axis in 0..3 {
            for (mm, expected) in [(-1.0001, 0.0), (-1.0, 5.0), (0.9999, 5.0), (1.0, 0.0)] {
                let mut offset = [0.0; 3];
                offset[axis] = mm;
                let point = grid([1; 3], 1.0, offset);
                let found = linear(&volume, &point, &Affine::IDENTITY, 0.0).unwrap();
                assert_eq!(found.voxels(), [expected], "linear, axis {axis}, {mm} mm");
                let found = nearest(&volume, &point, &Affine::IDENTITY, 0.0).unwrap();
                assert_eq!(found.voxels(), [expected], "nearest, axis {axis}, {mm} mm");
            }
        }
    }

    #[test]
    fn the_transform_takes_the_grids_world_to_the_volumes() {
        let volume = line(&[1.0, 2.0, 3.0, 4.0]);
        let shift = Affine::new(Affine::IDENTITY.matrix(), [1.0, 0.0, 0.0]);
        assert_eq!(linear(&volume, volume.grid(), &shift, 0.0).unwrap().voxels(), [2.0, 3.0, 4.0, 0.0]);
        // A quarter turn about z takes the grid's y to the volume's -x.
        let column = Grid { shape: [1, 4, 1], affine: Affine::new(Affine::IDENTITY.matrix(), [0.0, -3.0, 0.0]) };
        let turn = rotation(2, std::f64::consts::FRAC_PI_2);
        assert_eq!(nearest(&volume, &column, &turn, 0.0).unwrap().voxels(), [4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn a_singular_volume_is_an_error() {
        let mut flat = grid([2; 3], 1.0, [0.0; 3]);
        flat.affine.rows[1] = [0.0; 4];
        let volume = Volume::new(flat, vec![0.0; 8]);
        let target = grid([2; 3], 1.0, [0.0; 3]);
        assert!(matches!(linear(&volume, &target, &Affine::IDENTITY, 0.0), Err(SingularAffine)));
        assert!(matches!(nearest(&volume, &target, &Affine::IDENTITY, 0.0), Err(SingularAffine)));
    }

    #[test]
    fn an_empty_grid_gives_an_empty_volume() {
        let empty = grid([0, 3, 3], 1.0, [0.0; 3]);
        assert_eq!(linear(&line(&[1.0]), &empty, &Affine::IDENTITY, 0.0).unwrap(), Volume::new(empty, vec![]));
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let volume = noise(grid([20, 21, 22], 1.0, [0.0; 3]));
        let target = Grid { shape: [23, 19, 17], affine: rotation(0, 0.3).after(&rotation(2, 0.2)) };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| linear(&volume, &target, &Affine::IDENTITY, 0.0).unwrap())
        };
        let one = run(1);
        assert!(one.voxels().iter().filter(|&&value| value != 0.0).count() > 1000);
        assert_eq!(one, run(3));
    }

    proptest! {
        #[test]
        fn a_grid_onto_itself_changes_nothing(affine in affine(), shape in [1..6_usize, 1..6, 1..6]) {
            let volume = noise(Grid { shape, affine });
            prop_assert_eq!(&linear(&volume, volume.grid(), &Affine::IDENTITY, f32::NAN).unwrap(), &volume);
            prop_assert_eq!(&nearest(&volume, volume.grid(), &Affine::IDENTITY, f32::NAN).unwrap(), &volume);
        }

        #[test]
        fn linear_reproduces_linear_fields(
            from in affine(),
            to in affine(),
            angle in -3.0..3.0_f64,
            slope in [-1.0..1.0, -1.0..1.0, -1.0..1.0_f64],
        ) {
            let field = |p: [f64; 3]| 30.0 + slope[0] * p[0] + slope[1] * p[1] + slope[2] * p[2];
            let grid = Grid { shape: [6, 7, 8], affine: Affine::new(from.matrix(), [0.0; 3]) };
            let mut volume = Volume::new(grid.clone(), vec![0.0; grid.len()]);
            for k in 0..8 { for j in 0..7 { for i in 0..6 {
                volume.voxels_mut()[grid.index([i, j, k])] = field(grid.affine.apply([i, j, k].map(|n| n as f64))) as f32;
            } } }
            // A target whose middle is the middle of the volume, whatever the turn between them.
            let turn = rotation(1, angle);
            let middle = turn.inverse().unwrap().apply(grid.affine.apply([2.5, 3.0, 3.5]));
            let half = Affine::new(to.matrix(), [0.0; 3]).apply([2.0, 2.0, 2.0]);
            let target = Grid {
                shape: [5; 3],
                affine: Affine::new(to.matrix(), [0, 1, 2].map(|n| middle[n] - half[n])),
            };
            let found = linear(&volume, &target, &turn, f32::NAN).unwrap();
            let index = grid.affine.inverse().unwrap();
            let mut inside = 0;
            for k in 0..5 { for j in 0..5 { for i in 0..5 {
                let p = turn.apply(target.affine.apply([i, j, k].map(|n| n as f64)));
                let at = index.apply(p);
                let value = f64::from(*found.at([i, j, k]));
                let far = |axis: usize| at[axis] < -0.5001 || at[axis] > grid.shape[axis] as f64 - 0.4999;
                if (0..3).all(|axis| (0.0..=(grid.shape[axis] - 1) as f64).contains(&at[axis])) {
                    inside += 1;
                    prop_assert!((value - field(p)).abs() < 1e-3, "{value} for {}", field(p));
                } else if (0..3).any(far) {
                    prop_assert!(value.is_nan(), "{value} at {at:?}");
                }
            } } }
            prop_assert!(inside > 0);
        }
    }
}
