//! Automated masks against manual ones: measures of each case, and the tables of the DeepBleed paper over all cases.
//!
//! Sharrock et al., 3D Deep Neural Network Segmentation of Intracerebral Hemorrhage, Neuroinformatics 2021 (medRxiv 2020). What
//! each measure is, and what it is for empty masks, is told in docs/evaluation.md.

mod csv_files;
pub mod figures;
pub mod files;
pub mod lesions;
pub(crate) mod metrics;
mod misplaced;
mod nearest;
mod page;
pub mod pairs;
pub mod results;
pub(crate) mod statistics;
pub(crate) mod surface;
pub mod tables;
#[cfg(test)]
mod tests;

use crate::io::mask::{self, Mask};
use crate::volume::{Affine, Grid, Volume, orientation};
use crate::{Error, Result};
use lesions::Lesions;
use metrics::Counts;
use pairs::Pair;
use serde::Serialize;
use std::path::Path;
use surface::SurfaceDistances;

/// What can be chosen.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    /// Tolerance of the surface Dice in mm.
    pub tolerance_mm: f64,
    /// Intersection over union above which lesions are matched.
    pub lesion_iou: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { tolerance_mm: 2.0, lesion_iou: lesions::IOU }
    }
}

/// The measures of one case. `None` is a measure that is not defined for its masks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// Its subgroup; empty for none.
    pub subgroup: String,
    /// Its patient.
    pub patient: String,
    /// Volume of the automated mask, mL.
    pub automated_ml: f64,
    /// Volume of the manual mask, mL.
    pub manual_ml: f64,
    /// Automated minus manual volume, mL.
    pub difference_ml: f64,
    /// Volume of the automated mask outside the manual one, mL.
    pub false_positive_ml: f64,
    /// Volume of the manual mask outside the automated one, mL.
    pub false_negative_ml: f64,
    /// Dice similarity coefficient.
    pub dice: f64,
    /// Jaccard index.
    pub jaccard: Option<f64>,
    /// Sensitivity over voxels.
    pub sensitivity: Option<f64>,
    /// Precision (positive predictive value) over voxels.
    pub precision: Option<f64>,
    /// Surface Dice (normalized surface distance) at the tolerance of the settings.
    pub surface_dice: f64,
    /// 95th percentile of the Hausdorff distance, mm.
    pub hd95_mm: Option<f64>,
    /// Mean average surface distance, mm.
    pub masd_mm: Option<f64>,
    /// Average symmetric surface distance, mm.
    pub assd_mm: Option<f64>,
    /// Lesions of the automated mask.
    pub automated_lesions: usize,
    /// Lesions of the manual mask.
    pub manual_lesions: usize,
    /// Pairs of lesions that are matched.
    pub matched_lesions: usize,
    /// F1 score over lesions.
    pub lesion_f1: f64,
    /// Diagonal of the grid, mm: what a distance counts as in the tables where one mask alone is empty.
    pub diagonal_mm: f64,
    /// The automated mask.
    pub automated: String,
    /// The manual mask.
    pub manual: String,
    /// What should be known of its masks: several labels, no overlap where a mirrored mask would have one; empty for
    /// nothing.
    pub remark: String,
}

/// Reads the two masks of a pair and measures them.
///
/// # Errors
/// As [`mask::read`]; [`Error::Scan`] where the grids have not the same points.
pub fn compare(pair: &Pair, settings: &Settings) -> Result<Case> {
    let Masks { both, labels } = read(pair)?;
    let case = evaluate(pair, &both, settings);
    let mut remarks: Vec<String> = labels;
    if same_file(pair) {
        remarks.push("its two masks are one file".into());
    }
    let misplaced = misplaced::remark(&both, case.dice);
    let apart = misplaced.is_none() && case.dice == 0.0 && case.automated_ml > 0.0 && case.manual_ml > 0.0;
    remarks.extend(misplaced.or_else(|| apart.then(|| NO_OVERLAP.to_string())));
    Ok(Case { remark: remarks.join("; "), ..case })
}

/// The remark on a case with blood in both masks, none of which is in both.
const NO_OVERLAP: &str = "its two masks do not overlap at all";

fn same_file(pair: &Pair) -> bool {
    let path = |path: &Path| std::fs::canonicalize(path).ok();
    path(&pair.automated).is_some_and(|automated| path(&pair.manual) == Some(automated))
}

/// The masks of a pair on one grid.
struct Masks {
    /// The automated and the manual one.
    both: [Volume<bool>; 2],
    /// A remark for each that holds several labels.
    labels: Vec<String>,
}

/// Reads the two masks of a pair, the automated one in the manual one's order of axes.
fn read(pair: &Pair) -> Result<Masks> {
    let (automated, manual) = (mask::read(&pair.automated)?, mask::read(&pair.manual)?);
    let several = |name: &str, mask: &Mask| {
        let labels: Vec<String> = mask.labels.iter().take(MOST_LABELS).map(f32::to_string).collect();
        let more = if mask.labels.len() > MOST_LABELS { ", .." } else { "" };
        (mask.labels.len() > 1)
            .then(|| format!("its {name} mask holds the labels {}{more}: all count as inside", labels.join(", ")))
    };
    let labels = [several("automated", &automated), several("manual", &manual)].into_iter().flatten().collect();
    // On the manual mask's grid, whatever the rounding of the automated one's header.
    let automated = onto(&pair.automated, &automated.inside, &pair.manual, manual.inside.grid())?;
    Ok(Masks { both: [automated, manual.inside], labels })
}

/// So many labels are named.
const MOST_LABELS: usize = 8;

/// Measures two masks on one grid, the automated and the manual.
fn evaluate(pair: &Pair, [automated, manual]: &[Volume<bool>; 2], settings: &Settings) -> Case {
    let diagonal_mm = diagonal(manual.grid());
    let [automated, manual] = cropped(automated, manual);
    let counts = Counts::of(&automated, &manual);
    let ml = |voxels: usize| voxels as f64 * manual.grid().voxel_mm3() / 1000.0;
    let (automated_ml, manual_ml) = (ml(counts.automated), ml(counts.manual));
    let distances = SurfaceDistances::between(&automated, &manual);
    // Two empty masks agree: the distances are 0. One empty mask has none.
    let none = (counts.automated + counts.manual == 0).then_some(0.0);
    let distance = |measure: fn(&SurfaceDistances) -> f64| distances.as_ref().map(measure).or(none);
    let lesions = Lesions::of(&automated, &manual, settings.lesion_iou);
    Case {
        name: pair.name.clone(),
        subgroup: pair.subgroup.clone(),
        patient: pair.patient.clone(),
        automated_ml,
        manual_ml,
        difference_ml: automated_ml - manual_ml,
        false_positive_ml: ml(counts.automated - counts.both),
        false_negative_ml: ml(counts.manual - counts.both),
        dice: counts.dice(),
        jaccard: counts.jaccard(),
        sensitivity: counts.sensitivity(),
        precision: counts.precision(),
        surface_dice: match &distances {
            Some(distances) => distances.surface_dice(settings.tolerance_mm),
            None => f64::from(none.is_some()),
        },
        hd95_mm: distance(|distances| distances.hausdorff(95.0)),
        masd_mm: distance(SurfaceDistances::mean_average),
        assd_mm: distance(SurfaceDistances::average_symmetric),
        automated_lesions: lesions.automated,
        manual_lesions: lesions.manual,
        matched_lesions: lesions.matched,
        lesion_f1: lesions.f1(),
        diagonal_mm,
        automated: pair.automated.display().to_string(),
        manual: pair.manual.display().to_string(),
        remark: String::new(),
    }
}

/// Headers may place the same corner voxel so far apart, in steps of the smallest spacing: more than rounding, less than any other voxel.
const SAME_PLACE: f64 = 0.1;

/// A volume in the order and direction of axes of another file's grid, which must have the same points: nothing is
/// resampled.
fn onto<T: Copy + Send + Sync>(path: &Path, volume: &Volume<T>, other: &Path, grid: &Grid) -> Result<Volume<T>> {
    orientation::onto_same_points(volume, grid, SAME_PLACE).ok_or_else(|| {
        let own = volume.grid();
        let apart = match orientation::distance_of_points(own, grid) {
            Some(mm) => format!("its header places a corner voxel {mm:.2} mm from where that of {} does", other.display()),
            None => format!("it has {:?} voxels, {} has {:?}", own.shape, other.display(), grid.shape),
        };
        let problem = format!("{apart}: the files of a case must lie on the same points (nothing is resampled here)");
        Error::Scan { path: path.to_path_buf(), problem }
    })
}

/// Distance between the outermost corners of a grid's voxels.
fn diagonal(grid: &Grid) -> f64 {
    let shape = grid.shape.map(|side| side as f64);
    let signs = [[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]];
    let linear = Affine::new(grid.affine.matrix(), [0.0; 3]);
    let lengths = signs.map(|sign| {
        let corner = linear.apply([0, 1, 2].map(|axis| sign[axis] * shape[axis]));
        corner.into_iter().map(|mm| mm * mm).sum::<f64>().sqrt()
    });
    lengths.into_iter().fold(0.0, f64::max)
}

/// Both masks cut to the box that holds their foreground; to one voxel where they are empty.
fn cropped(automated: &Volume<bool>, manual: &Volume<bool>) -> [Volume<bool>; 2] {
    let grid = manual.grid();
    let (mut low, mut high) = (grid.shape, [0; 3]);
    for mask in [automated, manual] {
        for (row, voxels) in mask.voxels().chunks(grid.shape[0].max(1)).enumerate() {
            let Some(first) = voxels.iter().position(|&inside| inside) else { continue };
            let last = voxels.iter().rposition(|&inside| inside).unwrap_or(first);
            for (axis, [from, to]) in [[first, last], [row % grid.shape[1]; 2], [row / grid.shape[1]; 2]].into_iter().enumerate()
            {
                low[axis] = low[axis].min(from);
                high[axis] = high[axis].max(to + 1);
            }
        }
    }
    if high == [0; 3] {
        (low, high) = ([0; 3], [1; 3]);
    }
    let shape = [0, 1, 2].map(|axis| high[axis] - low[axis]);
    let origin = grid.affine.apply(low.map(|n| n as f64));
    let cut = Grid { shape, affine: Affine::new(grid.affine.matrix(), origin) };
    [automated, manual].map(|mask| {
        let rows = (low[2]..high[2]).flat_map(|k| (low[1]..high[1]).map(move |j| [low[0], j, k]));
        let voxels = rows.flat_map(|place| &mask.voxels()[grid.index(place)..][..shape[0]]).copied().collect();
        Volume::new(cut.clone(), voxels)
    })
}
