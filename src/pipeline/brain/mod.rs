//! The brain on a head CT: a mask of the inside of the skull.
//!
//! Both methods find the brain's shape on blocks of about 1.5 mm ([`coarse`]) and then its border in the scan's own voxels
//! ([`border`]). [`skull`] takes the soft tissue that bone encloses; [`bet`] lets a surface grow in the intensities. Lengths are
//! in millimetres by the scan's affine and "up" is the world's z, so neither depends on the order or direction of the
//! scan's axes. `docs/brain-extraction.md` has the reasons for the constants and what both methods measure.

mod bet;
mod border;
mod coarse;
mod defect;
mod icosphere;
mod rasterise;
mod skull;

use crate::volume::{Grid, Volume};
use coarse::Coarse;

/// How the brain is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The soft tissue that the skull encloses.
    #[default]
    Skull,
    /// BET (Smith 2002) after the CT protocol of Muschelli and others (2015), its result kept off the bone.
    Bet,
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
}

/// Why no brain was found.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BrainError {
    /// No place holds enough soft tissue.
    #[error(
        "no brain was found: nowhere is there a ball of 6 mm radius of soft tissue (0 to 100 HU); check that the scan is a head \
         CT in Hounsfield units, or bring a brain mask"
    )]
    NoSoftTissue,
    /// What was found is too small to be a brain.
    #[error(
        "no brain was found: the largest candidate has only {volume_ml:.1} mL; check that the scan is a head CT, or bring a brain mask"
    )]
    TooSmall {
        /// Volume of what was found, in mL.
        volume_ml: f64,
    },
    /// The scan's affine cannot place its voxels.
    #[error("no brain can be sought: the scan's affine is singular or not finite; repair its header")]
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
    if grid.affine.inverse().is_none() || !grid.spacing().iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err(BrainError::Affine);
    }
    if grid.is_empty() {
        return Err(BrainError::NoSoftTissue);
    }
    let coarse = Coarse::of(scan);
    let region = match options.method {
        Method::Skull => skull::region(&coarse),
        Method::Bet => bet::region(&coarse),
    };
    let region = region.ok_or(BrainError::NoSoftTissue)?;
    let bone_cover = border::bone_cover(&region, &coarse);
    let mask = Volume::new(grid.clone(), border::refine(scan, &coarse, &region));
    let volume_ml = mask.voxels().iter().filter(|inside| **inside).count() as f64 * grid.voxel_mm3() / 1000.0;
    if volume_ml < LEAST_ML {
        return Err(BrainError::TooSmall { volume_ml });
    }
    let cut_cm2 = cut_areas(&mask);
    Ok(Extraction { mask, volume_ml, cut_cm2, bone_cover })
}

/// Area in cm² of a mask on the first and the last plane along each axis.
fn cut_areas(mask: &Volume<bool>) -> [[f64; 2]; 3] {
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
