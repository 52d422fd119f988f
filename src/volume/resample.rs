//! Values of a volume at the voxels of another grid.
//!
//! Samples sit at voxel centres, and a voxel reaches half a step to each side, as in ITK: a point is inside a volume where its continuous index lies in
//! [-0.5, n - 0.5) along each axis. Within the outer half voxel, beyond the outermost centres, the outermost samples go on.

use rayon::prelude::*;

use super::{Affine, Grid, Volume};
use crate::{Error, Result};

/// The volume at the voxels of `grid`, linear between the eight nearest samples.
///
/// `transform` takes RAS millimetres of the grid's world to RAS millimetres of the volume's, [`Affine::IDENTITY`] where they are one.
/// Points outside the volume get `outside`. The same for any number of threads.
///
/// # Errors
/// [`Error::Shape`] where the volume's affine is singular.
pub fn linear(volume: &Volume<f32>, grid: &Grid, transform: &Affine, outside: f32) -> Result<Volume<f32>> {
    let (from, shape) = (volume.voxels(), volume.grid().shape);
    let [ni, nj, _] = shape;
    // Neighbours below and above, and how far the point is between them, along one axis.
    let neighbours = |index: f64, side: usize| {
        let index = index.clamp(0.0, (side - 1) as f64);
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
/// [`Error::Shape`] where the volume's affine is singular.
pub fn nearest<T: Copy + Send + Sync>(volume: &Volume<T>, grid: &Grid, transform: &Affine, outside: T) -> Result<Volume<T>> {
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
) -> Result<Volume<T>> {
    let world_to_index = from.affine.inverse().ok_or_else(|| Error::Shape("the volume's affine is singular".into()))?;
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
