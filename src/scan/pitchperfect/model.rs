//! The logistic model of PItcHPERFeCT, as published.
//!
//! Coefficients and cutoffs: J. Muschelli, E. M. Sweeney, N. L. Ullman, P. Vespa, D. F. Hanley, C. M. Crainiceanu: PItcHPERFeCT:
//! Primary Intracranial Hemorrhage Probability Estimation using Random Forests on CT. NeuroImage: Clinical 14 (2017)
//! 379-390; the numbers are those of its R package ichseg. They were fitted to scans of patients of the MISTIE trials.

use super::brain::Brain;
use super::classes::bright_probability;
use super::features;
use super::gaussian::smooth;
use super::normals::Normals;
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// The constant of the model.
pub(super) const INTERCEPT: f64 = 1.007743;

/// The features by their published names, and the coefficient of each.
pub(super) const COEFFICIENTS: [(&str, f64); 20] = [
    ("moment1", 0.05138229),
    ("moment2", 5.014425e-05),
    ("skew", 0.06500046),
    ("kurtosis", -0.3515109),
    ("value", -0.1723319),
    ("thresh", -0.1513885),
    ("zscore1", -0.6322291),
    ("zscore2", -0.2492854),
    ("zscore3", 1.036857),
    ("win_z", 0.5474927),
    ("pct_thresh", 2.061226),
    ("prob_img", 0.1496994),
    ("pct_zero_neighbor", -9.180192),
    ("any_zero_neighbor", 0.07080312),
    ("dist_centroid", -0.08697947),
    ("smooth5", -0.05070919),
    ("smooth10", 0.5498716),
    ("smooth20", -0.3896607),
    ("zscore_template", 1.459823),
    ("flipped_value", 0.03256228),
];

/// Where blood is sought: HU, `zscore2`, `zscore3` and `pct_thresh` of a voxel. Elsewhere the probability is 0.
const CANDIDATE_HU: RangeInclusive<f32> = 30.0..=100.0;
const CANDIDATE_ZSCORE2: RangeInclusive<f32> = -0.449691..=4.874273;
#[allow(clippy::excessive_precision, reason = "as published")]
const CANDIDATE_ZSCORE3: RangeInclusive<f32> = -0.4418578..=5.2460197;
const CANDIDATE_BRIGHT: RangeInclusive<f32> = 0.03703704..=1.0;

/// Mean probability over 27 voxels above which a voxel is hemorrhage.
pub const CUTOFF: f32 = 0.54812914;

/// All numbers of the model, as text.
pub(super) fn numbers() -> String {
    let ranges = [CANDIDATE_HU, CANDIDATE_ZSCORE2, CANDIDATE_ZSCORE3, CANDIDATE_BRIGHT];
    format!("{INTERCEPT} {COEFFICIENTS:?} {ranges:?} {CUTOFF}")
}

/// The voxels of a brain in which blood is sought, in order.
pub(super) fn candidates(brain: &Brain) -> Vec<u32> {
    let kept = |at: Vec<u32>, feature: Vec<f32>, range: RangeInclusive<f32>| -> Vec<u32> {
        at.into_iter().zip(feature).filter(|(_, value)| range.contains(value)).map(|(voxel, _)| voxel).collect()
    };
    let mut at = brain.voxels().to_vec();
    for (feature, range) in [
        (&features::value as &dyn Fn(&Brain, &[u32]) -> Vec<f32>, CANDIDATE_HU),
        (&|brain, at| features::slice_z_score(brain, 1, at), CANDIDATE_ZSCORE2),
        (&|brain, at| features::slice_z_score(brain, 2, at), CANDIDATE_ZSCORE3),
        (&features::bright_neighbours, CANDIDATE_BRIGHT),
    ] {
        let values = feature(brain, &at);
        at = kept(at, values, range);
    }
    at
}

/// All features at the voxels `at`, in the order of [`COEFFICIENTS`].
pub(super) fn all_features(brain: &Brain, normals: &Normals, at: &[u32]) -> [Vec<f32>; 20] {
    let features::Moments { mean, variance, skew, kurtosis, zeros } = features::moments(brain, at);
    let win_z = features::winsorised_z_score(brain, at);
    let template_z = normals.z_score(brain, &win_z, at);
    let any_zero = zeros.par_iter().map(|&share| f32::from(u8::from(share > 0.0))).collect();
    [
        mean,
        variance,
        skew,
        kurtosis,
        features::value(brain, at),
        features::is_bright(brain, at),
        features::slice_z_score(brain, 0, at),
        features::slice_z_score(brain, 1, at),
        features::slice_z_score(brain, 2, at),
        win_z,
        features::bright_neighbours(brain, at),
        bright_probability(brain, at),
        zeros,
        any_zero,
        features::distance_to_centroid(brain, at),
        smooth(brain, 5.0, at),
        smooth(brain, 10.0, at),
        smooth(brain, 20.0, at),
        template_z,
        features::flipped_difference(brain, at),
    ]
}

/// The probability of hemorrhage in each voxel of the brain's grid: the logistic model's at candidates, 0 elsewhere, then the
/// mean over the 27 voxels around.
pub(super) fn probability(brain: &Brain, normals: &Normals) -> Vec<f32> {
    let at = candidates(brain);
    let features = all_features(brain, normals, &at);
    let of_voxel = |n: usize| {
        let terms = COEFFICIENTS.iter().zip(&features).map(|((_, coefficient), feature)| coefficient * f64::from(feature[n]));
        let logit = INTERCEPT + terms.sum::<f64>();
        (1.0 / (1.0 + (-logit).exp())) as f32
    };
    let probabilities: Vec<f32> = (0..at.len()).into_par_iter().map(of_voxel).collect();
    let mut all = vec![0.0; brain.grid().len()];
    at.iter().zip(probabilities).for_each(|(&voxel, probability)| all[voxel as usize] = probability);
    features::mean_of_27(&all, brain.grid().shape)
}
