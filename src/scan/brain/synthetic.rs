//! A head made by formula, for the tests: brain, skull, scalp, neck with its canal, and a table.

use crate::volume::{Affine, Grid, Volume};

/// Half axes in mm of the brain's ellipsoid, its centre at 0.
pub(super) const BRAIN: [f64; 3] = [66.0, 82.0, 60.0];
/// Thickness of the skull in mm.
pub(super) const SKULL: f64 = 7.0;
/// Thickness of the scalp in mm.
const SCALP: f64 = 6.0;
/// Radius of the foramen magnum in mm; the canal below has 10.
const FORAMEN: f64 = 15.0;

/// Below 1 inside an ellipsoid around 0.
pub(super) fn ellipsoid(p: [f64; 3], half_axes: [f64; 3]) -> f64 {
    (0..3).map(|a| (p[a] / half_axes[a]).powi(2)).sum::<f64>()
}

/// HU at a point in RAS mm.
pub(super) fn tissue(p: [f64; 3]) -> f32 {
    let axis = (p[0].powi(2) + (p[1] + 10.0).powi(2)).sqrt();
    let low = p[2] < -50.0;
    if ellipsoid(p, BRAIN) < 1.0 || low && axis < FORAMEN && p[2] > -70.0 || low && axis < 10.0 {
        35.0
    } else if ellipsoid(p, BRAIN.map(|a| a + SKULL)) < 1.0 || low && axis < 20.0 {
        1000.0
    } else if ellipsoid(p, BRAIN.map(|a| a + SKULL + SCALP)) < 1.0 || low && axis < 55.0 {
        45.0
    } else if (-108.0..-100.0).contains(&p[1]) {
        60.0
    } else {
        -1000.0
    }
}

/// The grid that holds the head: 2 x 2 x 3 mm.
pub(super) fn grid() -> Grid {
    let matrix = [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]];
    Grid { shape: [88, 108, 64], affine: Affine::new(matrix, [-87.3, -109.1, -112.7]) }
}

/// RAS mm of each voxel of a grid.
pub(super) fn places(grid: &Grid) -> impl Iterator<Item = [f64; 3]> + '_ {
    (0..grid.len()).map(move |n| grid.world(n))
}

/// A scan of HU given at points in RAS mm.
pub(super) fn scan(grid: &Grid, hu: impl Fn([f64; 3]) -> f32) -> Volume<f32> {
    Volume::new(grid.clone(), places(grid).map(hu).collect())
}

/// Dice of a mask with the voxels at whose places `inside` holds.
pub(super) fn dice(mask: &Volume<bool>, inside: impl Fn([f64; 3]) -> bool) -> f64 {
    let (mut both, mut sum) = (0usize, 0usize);
    for (mask, place) in mask.voxels().iter().zip(places(mask.grid())) {
        let inside = inside(place);
        both += (*mask && inside) as usize;
        sum += *mask as usize + inside as usize;
    }
    2.0 * both as f64 / sum as f64
}
