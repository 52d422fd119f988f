//! The brain on a head CT: a mask of the inside of the skull.
//!
//! Both methods find the brain's shape on blocks of about 1.5 mm (`coarse`) and then its border in the scan's own voxels
//! (`border`). `skull` takes the soft tissue that bone encloses; `bet` lets a surface grow in the intensities. Lengths are
//! in millimetres by the scan's affine and "up" is the world's z, so neither depends on the order or direction of the
//! scan's axes. `docs/brain-extraction.md` has the reasons for the constants and what both methods measure.

mod bet;
mod border;
mod coarse;
mod defect;
mod icosphere;
mod missing;
mod rasterise;
mod shape;
mod skull;
#[cfg(test)]
mod synthetic;

use crate::volume::{Grid, Volume};
use coarse::Coarse;
use std::fmt;

pub use missing::Missing;
pub use shape::Shape;

/// How the brain is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The soft tissue that the skull encloses.
    #[default]
    Skull,
    /// BET (Smith 2002) after the CT protocol of Muschelli and others (2015), its result kept off the bone.
    Bet,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Method::Skull => "skull",
            Method::Bet => "bet",
        })
    }
}

/// What [`extract`] can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How the brain is found.
    pub method: Method,
}

/// A brain mask and what a reader should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    /// The inside of the skull, on the scan's grid.
    pub mask: Volume<bool>,
    /// Volume of the mask in mL.
    pub volume_ml: f64,
    /// Area in cm² of the mask on the first and the last plane of the scan along i, j and k: brain that goes on beyond
    /// the field of view. The spinal canal has up to about 8 cm².
    pub cut_cm2: [[f64; 2]; 3],
    /// Share (0 to 1) of the mask's surface that bone covers within 6 mm; the field of view's border is not counted. About 0.9 for
    /// a whole skull, 0 for a scan without bone.
    pub bone_cover: f64,
    /// The mask's shape; `None` where it has no extent.
    pub shape: Option<Shape>,
    /// What had been taken out of the scan and was put back for the search; `None` where it was as a scanner makes it.
    pub missing: Option<Missing>,
}

/// Why no brain was found.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BrainError {
    /// Nothing in the scan is like a brain.
    #[error(
        "no brain was found: the scan shows no soft tissue (0 to 100 HU) as wide as a brain; check that it is a head CT in \
         Hounsfield units and the voxel size in its header, or give a brain mask (--brain-mask)"
    )]
    NoSoftTissue,
    /// What was found is too small to be a brain.
    #[error(
        "no brain was found: the largest candidate has only {volume_ml:.1} mL; check that the scan is a head CT and the voxel size in its header, \
         or give a brain mask (--brain-mask)"
    )]
    TooSmall {
        /// Volume of what was found, in mL.
        volume_ml: f64,
    },
    /// The scan's affine cannot place its voxels, or no scanner makes such voxels.
    #[error(
        "no brain can be sought: the scan's affine has no inverse, or a voxel side outside 0.01 to 100 mm; repair its header"
    )]
    Affine,
}

/// Less than this, in mL, is no brain: a newborn's has 350 mL, and a part of a brain that is worth a search has more than
/// a few slices.
const LEAST_ML: f64 = 20.0;

/// Finds the brain on a head CT.
///
/// `scan` is in HU on any grid; values need no clamping, what is not a number counts as air. The mask holds all that the
/// skull encloses (ventricles, blood up to the bone, calcifications) down to some 2 cm below the foramen magnum.
/// The result does not depend on the number of threads.
///
/// # Errors
/// [`BrainError`] when the scan shows no brain or its affine has no inverse.
pub fn extract(scan: &Volume<f32>, options: &Options) -> Result<Extraction, BrainError> {
    let grid = scan.grid();
    if grid.affine.inverse().is_none() || !grid.spacing().iter().all(|s| (0.01..=100.0).contains(s)) {
        return Err(BrainError::Affine);
    }
    if grid.is_empty() {
        return Err(BrainError::NoSoftTissue);
    }
    let restored = missing::put_back(scan);
    let (scan, missing) = match &restored {
        Some((restored, missing)) => (restored, Some(*missing)),
        None => (scan, None),
    };
    let whole = Coarse::of(scan);
    let (coarse, region) = match options.method {
        Method::Skull => {
            let coarse = whole.around_tissue();
            let region = skull::region(&coarse);
            (coarse, region)
        }
        // The protocol's thresholds are shares of all voxels.
        Method::Bet => {
            let region = bet::region(&whole);
            (whole, region)
        }
    };
    let region = region.ok_or(BrainError::NoSoftTissue)?;
    let bone_cover = border::bone_cover(&region, &coarse);
    let mask = Volume::new(grid.clone(), border::refine(scan, &coarse, &region));
    let volume_ml = mask.voxels().iter().filter(|inside| **inside).count() as f64 * grid.voxel_mm3() / 1000.0;
    if volume_ml < LEAST_ML {
        return Err(BrainError::TooSmall { volume_ml });
    }
    let cut_cm2 = cut_areas(&mask);
    let shape = Shape::of(&mask);
    Ok(Extraction { mask, volume_ml, cut_cm2, bone_cover, shape, missing })
}

/// Area in cm² of a mask on the first and the last plane along each axis.
pub(crate) fn cut_areas(mask: &Volume<bool>) -> [[f64; 2]; 3] {
    let Grid { shape, affine } = mask.grid();
    let matrix = affine.matrix();
    let step = |axis: usize| [matrix[0][axis], matrix[1][axis], matrix[2][axis]];
    [0, 1, 2].map(|axis| {
        let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
        let voxel_mm2 = icosphere::norm(icosphere::cross(step(a), step(b)));
        [0, shape[axis] - 1].map(|at| {
            let mut place = [at; 3];
            let mut count = 0usize;
            for (x, y) in (0..shape[a]).flat_map(|x| (0..shape[b]).map(move |y| (x, y))) {
                (place[a], place[b]) = (x, y);
                count += *mask.at(place) as usize;
            }
            count as f64 * voxel_mm2 / 100.0
        })
    })
}

#[cfg(test)]
mod tests {
    use super::synthetic::{BRAIN, SKULL, dice, ellipsoid, grid, places, scan, tissue};
    use super::*;
    use crate::volume::Affine;

    const METHODS: [Method; 2] = [Method::Skull, Method::Bet];

    fn brain(p: [f64; 3]) -> bool {
        ellipsoid(p, BRAIN) < 1.0
    }

    fn find(scan: &Volume<f32>, method: Method) -> Extraction {
        extract(scan, &Options { method }).unwrap()
    }

    fn distance(p: [f64; 3], q: [f64; 3]) -> f64 {
        icosphere::norm(icosphere::sub(p, q))
    }

    /// A piece of bone that is missing on the left, where the skull has soft tissue instead.
    fn operated(p: [f64; 3]) -> f32 {
        let hu = tissue(p);
        if hu == 1000.0 && distance(p, [-55.0, 10.0, 40.0]) < 25.0 { 35.0 } else { hu }
    }

    #[test]
    fn finds_the_brain() {
        let ellipsoid_ml = 4.0 / 3.0 * std::f64::consts::PI * BRAIN.iter().product::<f64>() / 1000.0;
        for method in METHODS {
            let found = find(&scan(&grid(), tissue), method);
            assert!(dice(&found.mask, brain) > 0.98, "{method:?} {}", dice(&found.mask, brain));
            assert!((found.volume_ml / ellipsoid_ml - 1.0).abs() < 0.03, "{method:?} {}", found.volume_ml);
            assert!(found.bone_cover > 0.95, "{}", found.bone_cover);
            assert_eq!(found.cut_cm2, [[0.0; 2]; 3]);
            let lowest = places(found.mask.grid()).zip(found.mask.voxels()).filter(|(_, v)| **v).map(|(p, _)| p[2]);
            assert!(lowest.fold(0.0, f64::min) > -95.0, "the neck is cut");
        }
    }

    /// The hole is on the left only, so a mirrored mask would differ.
    #[test]
    fn all_48_axis_orders_and_directions_give_the_same_mask() {
        let mut grid = grid();
        grid.shape = [59, 72, 48];
        grid.affine = grid.affine.after(&Affine::new([[1.5, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, 4.0 / 3.0]], [0.0; 3]));
        let upright = scan(&grid, operated);
        let expected = find(&upright, Method::Skull).mask;
        let shape = upright.grid().shape;
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for flips in 0..8usize {
                let back = |n: usize| flips >> n & 1 == 1;
                let turned_shape = order.map(|axis| shape[axis]);
                // Axis n of the turned scan runs along axis order[n] of the upright one, backward where its bit is set.
                let (mut matrix, mut offset) = ([[0.0; 3]; 3], [0.0; 3]);
                for n in 0..3 {
                    matrix[order[n]][n] = if back(n) { -1.0 } else { 1.0 };
                    offset[order[n]] = if back(n) { shape[order[n]] as f64 - 1.0 } else { 0.0 };
                }
                let to_upright = Affine::new(matrix, offset);
                let turned = Grid { shape: turned_shape, affine: upright.grid().affine.after(&to_upright) };
                let voxels: Vec<usize> = (0..turned.len())
                    .map(|v| upright.grid().index(to_upright.apply(turned.ijk(v).map(|x| x as f64)).map(|x| x as usize)))
                    .collect();
                let found = find(&Volume::new(turned, voxels.iter().map(|v| upright.voxels()[*v]).collect()), Method::Skull).mask;
                let differ = voxels.iter().zip(found.voxels()).filter(|(v, found)| expected.voxels()[**v] != **found).count();
                assert_eq!(differ, 0, "axes {order:?}, directions {flips:03b}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same() {
        let head = scan(&grid(), operated);
        for method in METHODS {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| find(&head, method))
            };
            assert_eq!(with(1), with(3), "{method:?}");
        }
    }

    #[test]
    fn blood_at_the_bone_calcification_and_metal_stay_inside() {
        let bleed = |p: [f64; 3]| brain(p) && distance(p, [-60.0, 0.0, 10.0]) < 30.0;
        let clip = |p: [f64; 3]| distance(p, [20.0, 10.0, -5.0]) < 4.0;
        let head = scan(&grid(), |p| {
            if clip(p) {
                2500.0
            } else if bleed(p) {
                85.0
            } else {
                tissue(p)
            }
        });
        let found = find(&head, Method::Skull).mask;
        let kept = |part: &dyn Fn([f64; 3]) -> bool| {
            let inside = places(found.grid()).zip(found.voxels()).filter(|(p, _)| part(*p));
            let (kept, all) = inside.fold((0, 0), |(kept, all), (_, v)| (kept + *v as usize, all + 1));
            kept as f64 / all as f64
        };
        assert!(kept(&bleed) > 0.98, "{}", kept(&bleed));
        assert_eq!(kept(&clip), 1.0);
        assert!(dice(&found, brain) > 0.98, "{}", dice(&found, brain));
    }

    /// The mean of the outermost voxels and their neighbours is that of bone.
    #[test]
    fn thin_blood_under_the_skull_stays_inside() {
        let matrix = [[1.2, 0.0, 0.0], [0.0, 1.2, 0.0], [0.0, 0.0, 3.0]];
        let fine = Grid { shape: [142, 167, 54], affine: Affine::new(matrix, [-84.6, -99.4, -80.2]) };
        let sheet = |p: [f64; 3]| brain(p) && ellipsoid(p, BRAIN.map(|a| a - 2.4)) > 1.0 && p[0] > 30.0 && p[2].abs() < 30.0;
        let head = |p: [f64; 3]| if sheet(p) { 60.0 } else { tissue(p) };
        let found = find(&scan(&fine, head), Method::Skull).mask;
        // The same head with its first two axes exchanged, one of them backward.
        let [ni, nj, nk] = fine.shape;
        let turn = Affine::new([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [ni as f64 - 1.0, 0.0, 0.0]);
        let turned = find(&scan(&Grid { shape: [nj, ni, nk], affine: fine.affine.after(&turn) }, head), Method::Skull).mask;
        let voxels = (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| [i, j, k])));
        assert!(
            voxels.into_iter().all(|[i, j, k]| found.at([i, j, k]) == turned.at([j, ni - 1 - i, k])),
            "another way to lie, another mask"
        );
        let blood = places(&fine).zip(found.voxels()).filter(|(p, _)| sheet(*p));
        let (kept, all) = blood.fold((0, 0), |(kept, all), (_, v)| (kept + usize::from(*v), all + 1));
        assert!(kept as f64 > 0.9 * f64::from(all), "{kept} of {all} voxels");
        assert!(places(&fine).zip(found.voxels()).all(|(p, v)| !*v || tissue(p) < 1000.0), "no bone");
    }

    #[test]
    fn scalp_is_cut_where_bone_is_missing() {
        for method in METHODS {
            let found = find(&scan(&grid(), operated), method);
            assert!(dice(&found.mask, brain) > 0.98, "{method:?} {}", dice(&found.mask, brain));
            let outside = |p: [f64; 3]| ellipsoid(p, BRAIN.map(|a| a + SKULL)) > 1.0 && p[2] > 0.0;
            assert!(places(&grid()).zip(found.mask.voxels()).all(|(p, v)| !(*v && outside(p))), "{method:?}");
            assert!(found.bone_cover < 0.98 && found.bone_cover > 0.8, "{}", found.bone_cover);
        }
    }

    #[test]
    fn brain_cut_by_the_field_of_view_is_measured_and_kept() {
        let mut cut = grid();
        cut.shape[2] = 25;
        cut.affine.rows[2][3] = -31.0;
        let found = find(&scan(&cut, tissue), Method::Skull);
        assert!(dice(&found.mask, brain) > 0.98);
        // The cross-section of the ellipsoid at the first slice's height and at the last one's.
        let area = |z: f64| std::f64::consts::PI * BRAIN[0] * BRAIN[1] * (1.0 - (z / BRAIN[2]).powi(2)) / 100.0;
        let [first, last] = found.cut_cm2[2];
        assert!((first / area(-31.0) - 1.0).abs() < 0.02 && (last / area(41.0) - 1.0).abs() < 0.05, "{first} {last}");
        assert_eq!(found.cut_cm2[..2], [[0.0; 2]; 2]);
    }

    #[test]
    fn areas_of_cut_are_those_of_the_faces() {
        let affine = Affine::new([[0.0, -2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 5.0]], [0.0; 3]);
        let mut mask = Volume::new(Grid { shape: [3, 4, 2], affine }, vec![false; 24]);
        mask.voxels_mut()[..4].fill(true);
        // Voxels (0..3, 0, 0) and (0, 1, 0); faces of 10, 5 and 2 mm².
        assert_eq!(cut_areas(&mask), [[0.2, 0.1], [0.15, 0.0], [0.08, 0.0]]);
    }

    /// Voxels of 1.2 mm, of which five are the core's 6 mm: what is just within a radius must not depend on where the head lies.
    #[test]
    fn air_around_the_head_changes_nothing() {
        let matrix = [[1.2, 0.0, 0.0], [0.0, 1.2, 0.0], [0.0, 0.0, 1.2]];
        let narrow = Grid { shape: [150, 170, 140], affine: Affine::new(matrix, [-89.3, -99.1, -90.7]) };
        let head = scan(&narrow, |p| if p[1] > -100.0 { operated(p) } else { -1000.0 });
        let expected = find(&head, Method::Skull).mask;
        assert!(dice(&expected, brain) > 0.98);
        let first = [37, 23, 0];
        let shift = Affine::new(Affine::IDENTITY.matrix(), first.map(|n| -(n as f64)));
        let wide = Grid { shape: [237, 230, 171], affine: narrow.affine.after(&shift) };
        let mut padded = Volume::new(wide.clone(), vec![-1000.0; wide.len()]);
        for row in 0..narrow.shape[1] * narrow.shape[2] {
            let (j, k) = (row % narrow.shape[1], row / narrow.shape[1]);
            let to = wide.index([first[0], first[1] + j, k]);
            padded.voxels_mut()[to..to + narrow.shape[0]]
                .copy_from_slice(&head.voxels()[row * narrow.shape[0]..][..narrow.shape[0]]);
        }
        let found = find(&padded, Method::Skull).mask;
        assert_eq!(found.voxels().iter().filter(|v| **v).count(), expected.voxels().iter().filter(|v| **v).count());
        for row in 0..narrow.shape[1] * narrow.shape[2] {
            let (j, k) = (row % narrow.shape[1], row / narrow.shape[1]);
            let at = wide.index([first[0], first[1] + j, k]);
            assert!(found.voxels()[at..at + narrow.shape[0]] == expected.voxels()[row * narrow.shape[0]..][..narrow.shape[0]]);
        }
    }

    /// Air at 0 HU joins everything outside the skull to a piece far larger than the brain.
    #[test]
    fn the_piece_that_bone_encloses_is_taken_not_the_largest() {
        let head = scan(&grid(), |p| tissue(p).max(0.0));
        assert!(dice(&find(&head, Method::Skull).mask, brain) > 0.98);
    }

    #[test]
    fn a_brain_without_a_skull_is_found_without_bone_cover() {
        let head = scan(&grid(), |p| if brain(p) { 35.0 } else { -1000.0 });
        let found = find(&head, Method::Skull);
        assert!(dice(&found.mask, brain) > 0.98);
        assert_eq!(found.bone_cover, 0.0);
    }

    #[test]
    fn scans_without_a_brain_are_errors() {
        let fails = |scan: &Volume<f32>, method| extract(scan, &Options { method }).unwrap_err();
        for method in METHODS {
            assert_eq!(fails(&scan(&grid(), |_| -1000.0), method), BrainError::NoSoftTissue);
            assert_eq!(fails(&scan(&grid(), |_| f32::NAN), method), BrainError::NoSoftTissue);
            let empty = Grid { shape: [0, 4, 4], ..grid() };
            assert_eq!(fails(&Volume::new(empty, Vec::new()), method), BrainError::NoSoftTissue);
        }
        let ball = scan(&grid(), |p| if distance(p, [0.0; 3]) < 14.0 { 35.0 } else { -1000.0 });
        let error = fails(&ball, Method::Skull);
        assert!(matches!(error, BrainError::TooSmall { volume_ml } if volume_ml > 1.0 && volume_ml < 20.0), "{error:?}");
    }

    #[test]
    fn grids_that_no_scanner_makes_are_errors() {
        for side in [0.0, f64::NAN, f64::INFINITY, 0.009, 101.0] {
            let affine = Affine::new([[side, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
            let scan = Volume::new(Grid { shape: [4, 4, 4], affine }, vec![35.0; 64]);
            assert_eq!(extract(&scan, &Options::default()).unwrap_err(), BrainError::Affine, "{side}");
        }
        let flat = Affine::new([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        let scan = Volume::new(Grid { shape: [4, 4, 4], affine: flat }, vec![35.0; 64]);
        assert_eq!(extract(&scan, &Options::default()).unwrap_err(), BrainError::Affine);
    }

    #[test]
    fn a_real_head() {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
        let shared = std::env::var("ICHOR_SHARED").unwrap_or_else(|_| beside.to_string());
        let folder = std::path::Path::new(&shared).join("data/ge_tilt");
        if !folder.is_dir() {
            println!("skipped: {} is not there", folder.display());
            return;
        }
        let head = crate::io::nifti::read(folder.join("dcm2niix/ge_tilt_eq.nii.gz")).unwrap().volume;
        let truth = crate::io::nifti::read(folder.join("brain.nii.gz")).unwrap().volume;
        for method in METHODS {
            let found = find(&head, method);
            let both = found.mask.voxels().iter().zip(truth.voxels()).filter(|(a, b)| **a && **b > 0.5).count();
            let sum = found.mask.voxels().iter().filter(|v| **v).count() + truth.voxels().iter().filter(|v| **v > 0.5).count();
            let dice = 2.0 * both as f64 / sum as f64;
            assert!(dice > 0.985, "{method:?} {dice}");
        }
    }
}
