//! Rigid registration of a brain-extracted scan to a template.
//!
//! The mutual information of both brains is maximised over rotation and translation from many starting rotations,
//! first on small and smooth copies of both, then on finer ones; each level goes on with the best few poses of the level
//! before. There is no randomness, and sums are taken in a fixed order: the same input gives the same transform for any
//! number of threads. The method and its figures are in `docs/registration.md`.
//!
//! - `brain`: copies of a brain, smaller and smoother.
//! - `pose`: rigid motions and steps between them.
//! - `metric`: smooth mutual information and its derivative.
//! - `optimiser`: the climb to the nearest maximum.
//! - `histogram`: the figures that a registration reports.

mod brain;
mod frame;
mod histogram;
mod metric;
mod optimiser;
mod pose;

use rayon::prelude::*;

use crate::volume::{Affine, Volume};
use brain::Brain;
use metric::{Domain, Metric, TemplateSamples};
use optimiser::{Limits, Summit, climb};
use pose::{Lever, Pose};
use serde::{Deserialize, Serialize};

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Angles in degrees about the x, y and z axes of the world at which the search starts, in all combinations.
    /// Every combination costs a fifth of a millisecond.
    pub starting_angles: Vec<f64>,
}

impl Default for Options {
    /// From -45 to 45 degrees by 15.
    fn default() -> Self {
        Options { starting_angles: vec![-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0] }
    }
}

/// Where the scan lies on the template, and how well the two agree there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registration {
    /// Takes a point of the template to the point of the scan, RAS mm; rigid.
    pub template_to_scan: Affine,
    /// Mutual information of the template and the linearly resampled scan in nats: 64 x 64 joint histogram, both clipped
    /// to 0..100 HU, over the template's voxels where either is above 0.
    pub mutual_information: f64,
    /// Dice overlap of the template's brain and the scan's, 0 to 1: 2 |both| / (|template| + |scan|).
    pub overlap: f64,
}

impl Registration {
    /// The mutual information below which a registration is to be looked at. `docs/registration.md` has what good and
    /// bad registrations reach.
    pub(crate) const POOR_MUTUAL_INFORMATION: f64 = 0.10;
    /// The overlap below which a registration is to be looked at.
    pub(crate) const POOR_OVERLAP: f64 = 0.55;

    /// The mutual information below which a registration has failed.
    pub(crate) const FAILED_MUTUAL_INFORMATION: f64 = 0.01;
    /// The overlap below which a registration has failed.
    pub(crate) const FAILED_OVERLAP: f64 = 0.25;

    /// Whether a registration with these figures has failed, so that nothing that comes of it can be right.
    pub(crate) fn has_failed(overlap: f64, mutual_information: f64) -> bool {
        // Not a number is a failure too.
        !(overlap >= Self::FAILED_OVERLAP && mutual_information >= Self::FAILED_MUTUAL_INFORMATION)
    }

    /// How well the scan lies on the template.
    pub fn quality(&self) -> RegistrationQuality {
        RegistrationQuality { mutual_information: self.mutual_information, overlap: self.overlap }
    }

    /// Whether a person should look at this registration before its result is used.
    pub fn is_poor(&self) -> bool {
        self.mutual_information < Self::POOR_MUTUAL_INFORMATION || self.overlap < Self::POOR_OVERLAP
    }
}

/// How well a scan lies on the template, as a report tells it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RegistrationQuality {
    /// Mutual information in nats of scan and template on the template's grid.
    pub mutual_information: f64,
    /// Dice of the template's brain and the registered brain.
    pub overlap: f64,
}

/// What keeps a scan from being registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The scan has no voxel above 0 HU.
    #[error("the brain-extracted scan is empty: no voxel is above 0 HU; check the brain mask")]
    EmptyScan,
    /// The template has no voxel above 0 HU.
    #[error("the template is empty: no voxel is above 0 HU; choose another template")]
    EmptyTemplate,
    /// A grid whose affine is singular or whose spacing is no spacing of a head scan.
    #[error("the {0} has voxels of no sensible size (0.01 to 100 mm): check the affine in its header")]
    Spacing(&'static str),
    /// No angle to start from, or one that is not finite.
    #[error("the search needs at least one starting angle, and only finite ones")]
    StartingAngles,
}

/// Both brains as one level of the search sees them, and how many of its summits go on to the next.
struct Level {
    template: TemplateSamples,
    scan: Brain,
    /// Longest step of the climb in millimetres.
    longest: f64,
    survivors: usize,
}

/// Most rotations that are climbed from.
const STARTS: usize = 12;
/// Poses closer than this, in millimetres, are one start.
const STARTS_APART: f64 = 20.0;
/// Summits closer than this, in millimetres, are one.
const SUMMITS_APART: f64 = 3.0;

/// Finds the rigid motion that takes the template's brain to the scan's.
///
/// Both volumes are brains in HU, 0 outside; what is not above 0 HU, NaN included, counts as outside. The grids may have
/// any shape, orientation and spacing. The work is done on the current rayon thread pool; its number of threads doesn't
/// change a bit of the result.
///
/// # Errors
/// Where a volume holds no brain, where a grid has no sensible voxel size, or where `options` have no starting angle.
pub fn register(scan: &Volume<f32>, template: &Volume<f32>, options: &Options) -> Result<Registration, RegistrationError> {
    for (volume, name) in [(scan, "scan"), (template, "template")] {
        let sensible = |spacing: f64| (0.01..=100.0).contains(&spacing);
        let affine = &volume.grid().affine;
        if affine.inverse().is_none() || !affine.spacing().into_iter().all(sensible) {
            return Err(RegistrationError::Spacing(name));
        }
    }
    if options.starting_angles.is_empty() || !options.starting_angles.iter().all(|angle| angle.is_finite()) {
        return Err(RegistrationError::StartingAngles);
    }
    let fine_template = Brain::new(template, 1.5).ok_or(RegistrationError::EmptyTemplate)?;
    let mut fine_scan = Brain::new(scan, 1.5).ok_or(RegistrationError::EmptyScan)?;
    let frame = frame::own_frame(scan.grid());
    let upright = frame.inverse().ok_or(RegistrationError::Spacing("scan"))?.after(&fine_scan.grid.affine);
    fine_scan.grid.affine = frame::rounded(&upright);
    let (centre, image) = (fine_template.centre(), fine_scan.centre());
    let lever = fine_template.lever(centre);
    let levels = levels(&fine_template, &fine_scan);

    let mut summits = starts(&levels[0], centre, image, lever, options)?;
    for level in &levels {
        let metric = Metric::new(&level.template, &level.scan, lever).ok_or(RegistrationError::Spacing("scan"))?;
        let limits = Limits { longest: level.longest, shortest: 0.01, evaluations: 60 };
        let climbed = summits.par_iter().map(|summit| climb(summit, &lever, limits, |p| metric.value_and_gradient(p)));
        summits = best(climbed.collect(), level.survivors, SUMMITS_APART, &lever);
    }

    let template_to_scan = frame.after(&summits[0].pose.affine());
    let agreement = histogram::agreement(scan, template, &template_to_scan).ok_or(RegistrationError::Spacing("scan"))?;
    Ok(Registration { template_to_scan, mutual_information: agreement.mutual_information, overlap: agreement.dice })
}

/// The levels of the search, from coarse to fine.
fn levels(fine_template: &Brain, fine_scan: &Brain) -> [Level; 5] {
    let (template, scan) = (fine_template.reduced(3.0), fine_scan.reduced(3.0));
    let coarse = |sigma: f64, stride: usize, bins: usize, domain: Domain, longest: f64, survivors: usize| Level {
        template: TemplateSamples::new(&template.smoothed(sigma), [stride; 3], bins, domain),
        scan: scan.smoothed(sigma),
        longest,
        survivors,
    };
    // Without this much smoothing small bumps hold the last climbs up to a millimetre apart; with much more the summit
    // itself moves.
    const SIGMA: f64 = 1.2;
    let (smooth_template, smooth_scan) = (fine_template.smoothed(SIGMA), fine_scan.smoothed(SIGMA));
    let fine = |stride: [usize; 3], scan: Brain| Level {
        template: TemplateSamples::new(&smooth_template, stride, 64, Domain::Brain),
        scan,
        longest: 1.0,
        survivors: 1,
    };
    [
        coarse(4.0, 3, 32, Domain::Surroundings, 10.0, 4),
        coarse(2.5, 2, 32, Domain::Surroundings, 5.0, 2),
        coarse(1.2, 1, 48, Domain::Brain, 2.0, 1),
        fine([2, 1, 1], smooth_scan.clone()),
        fine([1, 1, 1], smooth_scan),
    ]
}

/// The best starting rotations, each with the centre of the template's brain on that of the scan's.
fn starts(
    level: &Level,
    centre: [f64; 3],
    image: [f64; 3],
    lever: Lever,
    options: &Options,
) -> Result<Vec<Summit>, RegistrationError> {
    let metric = Metric::new(&level.template, &level.scan, lever).ok_or(RegistrationError::Spacing("scan"))?;
    let angles: Vec<f64> = options.starting_angles.iter().map(|angle| angle.to_radians()).collect();
    let count = angles.len();
    let poses = (0..count.pow(3)).into_par_iter().map(|n| {
        let turn = [angles[n % count], angles[n / count % count], angles[n / (count * count)]];
        let pose = Pose::new(centre, image, turn);
        Summit { pose, value: metric.value(&pose), curvature: None }
    });
    Ok(best(poses.collect(), STARTS, STARTS_APART, &lever))
}

/// The best `count` of `summits`, best first, without those closer than `apart` millimetres to a better one.
fn best(mut summits: Vec<Summit>, count: usize, apart: f64, lever: &Lever) -> Vec<Summit> {
    // The sort is stable, so summits of equal value stay in their order.
    summits.sort_by(|a, b| b.value.total_cmp(&a.value));
    let mut kept: Vec<Summit> = Vec::with_capacity(count);
    for summit in summits {
        if kept.len() < count && kept.iter().all(|better| better.pose.distance(&summit.pose, lever) > apart) {
            kept.push(summit);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::template;
    use crate::volume::Grid;

    /// Centre of the built-in template's brain.
    const CENTRE: [f64; 3] = [5.25, -29.75, 24.25];

    /// The built-in template's brain moved by `motion` (template to scan) and scanned on `grid`, with noise of a few HU
    /// and a bleed of 65 HU in the right hemisphere.
    fn scan(grid: Grid, motion: &Affine) -> Volume<f32> {
        let template = template::built_in();
        let to_template = template.grid().affine.inverse().unwrap().after(&motion.inverse().unwrap()).after(&grid.affine);
        let voxels = (0..grid.len())
            .into_par_iter()
            .map(|n| {
                let p = to_template.apply(grid.ijk(n).map(|x| x as f64));
                let hu = histogram::linear(&template, p);
                let bleed = (0..3).map(|axis| (p[axis] - [78.0, 70.0, 60.0][axis]).powi(2)).sum::<f64>() < 100.0;
                // Noise of -4..4 HU from the bits of a multiplied index.
                let noise = (n as u32).wrapping_mul(2_654_435_761) >> 16;
                if hu > 0.0 { (if bleed { 65.0 } else { hu } + noise as f32 / 8192.0 - 4.0).max(0.1) } else { 0.0 }
            })
            .collect();
        Volume::new(grid, voxels)
    }

    /// A grid of `spacing` mm that holds the moved brain, stored from left to right or the other way.
    fn grid_around(motion: &Affine, spacing: [f64; 3], leftward: bool) -> Grid {
        let middle = motion.apply(CENTRE);
        let shape = spacing.map(|s| (220.0 / s) as usize);
        let half = [0, 1, 2].map(|axis| 0.5 * spacing[axis] * (shape[axis] - 1) as f64);
        let sign = if leftward { -1.0 } else { 1.0 };
        let matrix = [[sign * spacing[0], 0.0, 0.0], [0.0, spacing[1], 0.0], [0.0, 0.0, spacing[2]]];
        let corner = [middle[0] - sign * half[0], middle[1] - half[1], middle[2] - half[2]];
        Grid { shape, affine: Affine::new(matrix, corner) }
    }

    /// Mean distance in millimetres at which two transforms put the template's brain.
    fn apart(a: &Affine, b: &Affine) -> f64 {
        let template = template::built_in();
        let brain = template.voxels().iter().enumerate().filter(|(_, v)| **v > 0.0).step_by(97);
        let distances: Vec<f64> = brain
            .map(|(n, _)| {
                let p = template.grid().affine.apply([n % 128, n / 128 % 128, n / 16384].map(|x| x as f64));
                (0..3).map(|axis| (a.apply(p)[axis] - b.apply(p)[axis]).powi(2)).sum::<f64>().sqrt()
            })
            .collect();
        distances.iter().sum::<f64>() / distances.len() as f64
    }

    /// A rotation by `angles` (degrees) and a shift.
    fn motion(angles: [f64; 3], image: [f64; 3]) -> Affine {
        Pose::new(CENTRE, image, angles.map(f64::to_radians)).affine()
    }

    #[test]
    fn finds_known_motions_of_a_noisy_brain_with_thick_slices() {
        let template = template::built_in();
        let cases = [
            ([12.0, -5.0, 8.0], [30.0, -60.0, 900.0], [1.0, 1.0, 5.0], false),
            ([-25.0, 20.0, -30.0], [-40.0, 10.0, 25.0], [1.9, 1.6, 2.5], true),
        ];
        for (angles, image, spacing, leftward) in cases {
            let truth = motion(angles, image);
            let found = register(&scan(grid_around(&truth, spacing, leftward), &truth), &template, &Options::default()).unwrap();
            let error = apart(&found.template_to_scan, &truth);
            assert!(error < 0.5, "{error} mm for {angles:?}");
            assert!(found.overlap > 0.9 && found.mutual_information > 0.3 && !found.is_poor(), "{found:?}");
        }
    }

    #[test]
    fn gives_the_same_bits_for_any_number_of_threads() {
        let template = template::built_in();
        let truth = motion([5.0, 10.0, -15.0], [3.0, 4.0, 5.0]);
        let scan = scan(grid_around(&truth, [3.0, 3.0, 6.0], false), &truth);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| register(&scan, &template, &Options::default()).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn one_that_does_not_fit_is_poor() {
        // A bar of tissue is no brain.
        let grid =
            Grid { shape: [40, 40, 40], affine: Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], [0.0; 3]) };
        let voxels = (0..grid.len()).map(|n| if n / 40 % 40 < 12 { 30.0 + (n % 7) as f32 } else { 0.0 }).collect();
        let found = register(&Volume::new(grid, voxels), &template::built_in(), &Options::default()).unwrap();
        assert!(found.is_poor(), "{found:?}");
    }

    #[test]
    fn refuses_what_cannot_be_registered() {
        let template = template::built_in();
        let options = Options::default();
        let empty = template.map(|_| 0.0);
        assert_eq!(register(&empty, &template, &options), Err(RegistrationError::EmptyScan));
        assert_eq!(register(&template, &empty, &options), Err(RegistrationError::EmptyTemplate));
        let with = |affine: Affine| Volume::new(Grid { shape: [1, 1, 1], affine }, vec![30.0]);
        let scaled = |s: f64| with(Affine::new([[s, 0.0, 0.0], [0.0, s, 0.0], [0.0, 0.0, s]], [0.0; 3]));
        for bad in [scaled(0.0), scaled(0.001), scaled(1000.0), scaled(f64::NAN)] {
            assert_eq!(register(&bad, &template, &options), Err(RegistrationError::Spacing("scan")));
            assert_eq!(register(&template, &bad, &options), Err(RegistrationError::Spacing("template")));
        }
        for starting_angles in [vec![], vec![0.0, f64::NAN]] {
            assert_eq!(register(&template, &template, &Options { starting_angles }), Err(RegistrationError::StartingAngles));
        }
    }

    #[test]
    fn a_single_voxel_is_registered_without_fuss() {
        let affine = Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [7.0, 8.0, 9.0]);
        let dot = Volume::new(Grid { shape: [1, 1, 1], affine }, vec![30.0]);
        let found = register(&dot, &template::built_in(), &Options { starting_angles: vec![0.0] }).unwrap();
        assert!(found.is_poor() && found.template_to_scan.rows.iter().flatten().all(|v| v.is_finite()), "{found:?}");
    }
}
