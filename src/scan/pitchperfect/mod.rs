//! PItcHPERFeCT (Muschelli et al. 2017): hemorrhage by features of each voxel and a logistic model that was fitted to
//! scans of patients. docs/pitchperfect.md has its source and what was measured.

pub mod brain;
mod classes;
mod features;
mod gaussian;
mod model;
pub mod normals;

use crate::scan::Result;
use crate::volume::morphology::{Connectivity, Pieces};
use crate::volume::{Affine, Grid, Volume, resample};
use brain::Brain;
use normals::Normals;
use sha2::{Digest, Sha256};

pub(crate) use model::CUTOFF;

/// What made a mask, in reports.
pub const NAME: &str = "PItcHPERFeCT logistic model";
/// Where the model comes from.
pub const ORIGIN: &str = "published coefficients (Muschelli et al. 2017, R package ichseg), fitted to scans of patients; compared with healthy brains in ichor's own normals";
/// Its license.
pub(crate) const LICENSE: &str = "numbers of a publication";

/// Side of a voxel in mm: the model was fitted on such a grid, so that a neighbourhood is 3 mm wide.
const VOXEL_MM: f64 = 1.0;
/// Where the built-in template's halves meet: x in RAS mm.
const MIDLINE: f64 = 5.25;
/// Room around the brain in mm, on each side.
const ROOM_MM: f64 = 3.0;
/// The longest side of a grid in mm: no head is larger.
const LONGEST_MM: f64 = 240.0;
/// Hemorrhage in pieces of fewer voxels of 1 mm3 is left out.
const SMALLEST_PIECE: usize = 100;

/// What was found, on a grid of the built-in template's world.
#[derive(Clone, Debug)]
pub struct Found {
    /// HU of the brain, 0 outside.
    pub input: Volume<f32>,
    /// Mean probability of hemorrhage over 27 voxels.
    pub probability: Volume<f32>,
    /// Where it is above the cutoff, in pieces that are large enough.
    pub mask: Volume<bool>,
}

/// SHA-256, in hex, of all numbers of the model and of the healthy brains that it compares with (the built-in ones if
/// `None`): the same masks come of the same sum.
pub fn sha256(normals: Option<&Normals>) -> String {
    let mut hash = Sha256::new();
    hash.update(model::numbers());
    hash.update(normals.unwrap_or_else(|| Normals::built_in()).to_json());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The brain of a scan on voxels of 1 mm of the built-in template's world. `masked`: HU, 0 outside of `mask`;
/// `to_scan` takes that world to the scan's.
///
/// # Errors
/// As [`resample::linear`].
pub fn brain(masked: &Volume<f32>, mask: &Volume<bool>, to_scan: &Affine) -> Result<(Volume<f32>, Brain)> {
    let grid = grid(mask, to_scan);
    let image = resample::linear(masked, &grid, to_scan, 0.0)?;
    let brain = Brain::new(&image, &resample::nearest(mask, &grid, to_scan, false)?);
    Ok((image, brain))
}

/// Each feature by its published name, as an image on the brain's grid: 0 in voxels that do not count.
pub fn features(brain: &Brain, normals: &Normals) -> Vec<(&'static str, Volume<f32>)> {
    let at = brain.voxels();
    let names = model::COEFFICIENTS.iter().map(|&(name, _)| name);
    let image = |values: Vec<f32>| {
        let mut image = vec![0.0; brain.grid().len()];
        at.iter().zip(values).for_each(|(&voxel, value)| image[voxel as usize] = value);
        Volume::new(brain.grid().clone(), image)
    };
    names.zip(model::all_features(brain, normals, at)).map(|(name, values)| (name, image(values))).collect()
}

/// Finds hemorrhage; arguments as for [`brain()`]. `cutoff` is the mean probability above which there is some.
///
/// # Errors
/// As [`brain()`].
pub fn find(masked: &Volume<f32>, mask: &Volume<bool>, to_scan: &Affine, normals: &Normals, cutoff: f32) -> Result<Found> {
    let (input, brain) = brain(masked, mask, to_scan)?;
    let probability = model::probability(&brain, normals);
    let grid = brain.grid().clone();
    let mut found: Vec<bool> = probability.iter().map(|&p| p > cutoff).collect();
    let pieces = Pieces::connected(&found, grid.shape, true, Connectivity::Corners);
    pieces.paint(&mut found, false, |piece| pieces.sizes[piece] < SMALLEST_PIECE);
    Ok(Found { input, probability: Volume::new(grid.clone(), probability), mask: Volume::new(grid, found) })
}

/// The grid around a brain, its middle in the midline plane.
fn grid(mask: &Volume<bool>, to_scan: &Affine) -> Grid {
    let to_template = to_scan.inverse().unwrap_or(Affine::IDENTITY).after(&mask.grid().affine);
    let [ni, nj, _] = mask.grid().shape;
    let (mut low, mut high) = ([f64::MAX; 3], [f64::MIN; 3]);
    for (row, voxels) in mask.voxels().chunks(ni.max(1)).enumerate() {
        let ends = [voxels.iter().position(|&inside| inside), voxels.iter().rposition(|&inside| inside)];
        for i in ends.into_iter().flatten() {
            let p = to_template.apply([i, row % nj, row / nj].map(|index| index as f64));
            for axis in 0..3 {
                low[axis] = low[axis].min(p[axis]);
                high[axis] = high[axis].max(p[axis]);
            }
        }
    }
    // The same places of voxels for every brain: half a voxel from the midline plane, and whole millimetres.
    let half = ((MIDLINE - low[0]).max(high[0] - MIDLINE) + ROOM_MM).clamp(1.0, LONGEST_MM / 2.0);
    let first = [1, 2].map(|axis| (low[axis] - ROOM_MM).floor());
    let side = |axis: usize| (high[axis] + ROOM_MM - first[axis - 1]).clamp(1.0, LONGEST_MM);
    let count = |mm: f64| (mm / VOXEL_MM).ceil() as usize;
    let shape = [2 * count(half), count(side(1)), count(side(2))];
    let matrix = [[VOXEL_MM, 0.0, 0.0], [0.0, VOXEL_MM, 0.0], [0.0, 0.0, VOXEL_MM]];
    let x = MIDLINE - (count(half) as f64 - 0.5) * VOXEL_MM;
    Grid { shape, affine: Affine::new(matrix, [x, first[0], first[1]]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The brain that scripts/check-pitchperfect computes the features of: an ellipsoid with a bright block in it.
    fn small() -> Brain {
        let shape = [26, 28, 24];
        let matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let grid = Grid { shape, affine: Affine::new(matrix, [MIDLINE - 12.5, -40.0, 20.0]) };
        let inside = |[i, j, k]: [i64; 3]| 4 * (2 * i - 25).pow(2) + 3 * (2 * j - 27).pow(2) + 5 * (2 * k - 23).pow(2) < 2000;
        let hu = |[i, j, k]: [i64; 3]| match (7 * i + 13 * j + 29 * k + i * j * k) % 41 {
            _ if (8..13).contains(&i) && (10..16).contains(&j) && (8..12).contains(&k) => 60 + (i + j + k) % 7,
            40 if k > 15 => 120,
            rest => 18 + rest * 3 / 4,
        };
        let at = |index: usize| grid.ijk(index).map(|x| x as i64);
        let image = (0..grid.len()).map(|index| if inside(at(index)) { hu(at(index)) as f32 } else { 0.0 }).collect();
        let mask = (0..grid.len()).map(|index| inside(at(index))).collect();
        Brain::new(&Volume::new(grid.clone(), image), &Volume::new(grid.clone(), mask))
    }

    #[test]
    fn features_are_those_of_scipy() {
        // Gaussians are computed on a coarser grid: within 0.2 HU. All else is rounding.
        let tolerance = |name: &str, value: f64| if name.starts_with("smooth") { 0.2 } else { 2e-4 * value.abs().max(1.0) };
        let brain = small();
        let found = features(&brain, Normals::built_in());
        let mut lines = include_str!("scipy.csv").lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').skip(3).collect();
        let mut compared = 0;
        for line in lines {
            let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            let at = [cells[0], cells[1], cells[2]].map(|index| index as usize);
            for (&name, &expected) in names.iter().zip(&cells[3..]) {
                let image = &found.iter().find(|(own, _)| *own == name).unwrap().1;
                let got = f64::from(*image.at(at));
                assert!((got - expected).abs() <= tolerance(name, expected), "{name} at {at:?}: {got} for {expected}");
                compared += 1;
            }
        }
        assert_eq!(compared, 40 * 19, "all features but the one that compares with healthy brains");
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| model::probability(&small(), Normals::built_in()))
        };
        let one = with(1);
        assert!(one.iter().any(|&p| p > 0.5), "the bright block is found");
        assert!([2, 3, 5].into_iter().all(|threads| with(threads) == one));
    }

    #[test]
    fn the_grid_is_around_the_brain_with_the_midline_plane_in_its_middle() {
        // 20 x 30 x 50 mm of a scan that lies 3, 4, 5 mm from the template's world.
        let mask = crate::volume::testing::mask([10, 10, 10], |_| true);
        let to_scan = Affine::new(Affine::IDENTITY.matrix(), [3.0, 4.0, 5.0]);
        let grid = grid(&mask, &to_scan);
        let last = grid.affine.apply(grid.shape.map(|side| side as f64 - 1.0));
        let first = grid.affine.translation();
        assert_eq!(first[0] + last[0], 2.0 * MIDLINE);
        for axis in 0..3 {
            let [low, high] = [0.0, [18.0, 27.0, 45.0][axis]].map(|mm| mm - to_scan.translation()[axis]);
            assert!(first[axis] <= low - 2.0 && last[axis] >= high + 2.0, "axis {axis}: {first:?} to {last:?}");
        }
    }

    #[test]
    fn a_bleed_in_a_plain_brain_is_found_and_a_small_one_is_not() {
        // 35 HU with a texture; a cube of 62 HU, 25 mm and 3 mm wide.
        let found = |half: i64| {
            let shape = [120, 140, 110];
            let grid = Grid { shape, affine: Affine::new(Affine::IDENTITY.matrix(), [MIDLINE - 59.5, -100.0, -30.0]) };
            let middle = [[0, 60, 50, 40], [1, 70, 60, 45], [2, 55, 50, 40]];
            let inside = |index: usize| {
                let at = grid.ijk(index);
                middle
                    .iter()
                    .map(|&[axis, centre, half, _]| ((at[axis] as f64 - centre as f64) / half as f64).powi(2))
                    .sum::<f64>()
                    < 1.0
            };
            let hu = |index: usize| {
                let at = grid.ijk(index).map(|x| x as i64);
                let blood = [40, 70, 55].iter().zip(at).all(|(centre, x)| (x - centre).abs() <= half);
                if blood { 62.0 } else { 31.0 + ((at[0] / 3 + at[1] / 4 + at[2] / 3) % 3) as f32 * 3.0 }
            };
            let mask: Vec<bool> = (0..grid.len()).map(inside).collect();
            let image = mask.iter().enumerate().map(|(index, &inside)| if inside { hu(index) } else { 0.0 }).collect();
            let (image, mask) = (Volume::new(grid.clone(), image), Volume::new(grid.clone(), mask));
            find(&image, &mask, &Affine::IDENTITY, Normals::built_in(), CUTOFF).unwrap().mask.volume_ml()
        };
        let [ml, cube] = [found(12), 25.0_f64.powi(3) / 1000.0];
        assert!((ml / cube - 1.0).abs() < 0.25, "{ml} mL of {cube}");
        assert_eq!(found(1), 0.0);
    }
}
