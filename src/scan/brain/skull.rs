//! The brain as the soft tissue that the skull encloses.

use super::coarse::{BONE_HU, Coarse};
use super::defect;
use crate::volume::Grid;
use crate::volume::morphology::{Pieces, close, dilate, erode, fill_holes, keep_largest};
use rayon::prelude::*;

/// HU of brain, cerebrospinal fluid and blood, in the mean of a block.
const SOFT_HU: std::ops::RangeInclusive<f32> = -5.0..=105.0;

/// Gaussian in mm under which the core is sought: noise and single bright voxels do not break it.
const SIGMA_MM: f64 = 2.0;

/// What a ball of this radius in mm fits into is core. The ways out of the skull (orbital fissures, canals, sutures)
/// are narrower; the foramen magnum is not.
const CORE_MM: f64 = 6.0;

/// How far the core grows back in soft tissue, in mm: its radius, what the Gaussian took, and a block.
const GROW_MM: f64 = 8.0;

/// What a ball of this radius in mm does not fit into is closed: clips, calcifications, streaks of metal.
const CLOSING_MM: f64 = 3.0;

/// The inside of the skull, cerebellum and brainstem included, has room for a ball of this radius in mm; the spinal
/// canal (radius about 10) has not.
const DEEP_MM: f64 = 12.0;

/// The region ends this far, in mm, from where such a ball fits: some 2 cm below the foramen magnum, in the canal.
const REACH_MM: f64 = 20.0;

/// A piece of less than this share of the largest one is no candidate for the brain.
const CANDIDATE: f64 = 1.0 / 12.0;

/// Thickness in mm of the layer around a piece in which bone is counted.
const LAYER_MM: f64 = 4.0;

/// The brain on the coarse grid, or `None` where no soft tissue is wide enough.
pub(super) fn region(coarse: &Coarse) -> Option<Vec<bool>> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let hu = coarse.volume.voxels();
    let smooth: Vec<bool> = coarse.smoothed(SIGMA_MM).par_iter().map(|hu| SOFT_HU.contains(hu)).collect();
    let mut core = erode(&smooth, shape, spacing, CORE_MM);
    keep_enclosed(&mut core, coarse, CORE_MM)?;
    let mut region = dilate(&core, shape, spacing, GROW_MM);
    region.par_iter_mut().zip(hu).zip(&smooth).for_each(|((inside, hu), smooth)| *inside &= *smooth || SOFT_HU.contains(hu));
    keep_largest(&mut region, shape);
    region = close(&region, shape, spacing, CLOSING_MM);
    fill_holes(&mut region, shape);
    let mut deep = erode(&region, shape, spacing, DEEP_MM);
    keep_enclosed(&mut deep, coarse, DEEP_MM);
    if deep.contains(&true) {
        let near = dilate(&deep, shape, spacing, REACH_MM);
        region.par_iter_mut().zip(&near).for_each(|(inside, near)| *inside &= near);
    }
    defect::trim(&mut region, coarse);
    keep_largest(&mut region, shape);
    Some(region)
}

/// Keeps the piece that is most like a brain, which `eroded` mm were taken from: large, with bone around it.
/// `None` when there is no piece at all.
fn keep_enclosed(mask: &mut [bool], coarse: &Coarse, eroded: f64) -> Option<()> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let pieces = Pieces::of(mask, shape, true);
    let largest = pieces.largest()?;
    let least = pieces.sizes[largest] as f64 * CANDIDATE;
    let candidates: Vec<usize> = (0..pieces.sizes.len()).filter(|&piece| pieces.sizes[piece] as f64 >= least).collect();
    let best = match candidates[..] {
        [only] => only,
        _ => {
            let score = |piece: usize| pieces.sizes[piece] as f64 * bone_around(&pieces, piece, coarse, eroded).powi(2);
            let scores: Vec<f64> = candidates.iter().map(|&piece| score(piece)).collect();
            (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).map_or(largest, |n| candidates[n])
        }
    };
    pieces.paint(mask, false, |piece| piece != best);
    Some(())
}

/// Share of bone in the layer around a piece that `eroded` mm were taken from. Where the field of view cuts the piece, the
/// layer beyond counts as no bone: air reaches far, a brain is cut on a few slices.
fn bone_around(pieces: &Pieces, piece: usize, coarse: &Coarse, eroded: f64) -> f64 {
    let grid = coarse.volume.grid();
    let (shape, spacing) = (grid.shape, grid.spacing());
    let mut alone = vec![false; grid.len()];
    pieces.paint(&mut alone, true, |other| other == piece);
    let inner = dilate(&alone, shape, spacing, eroded);
    let outer = dilate(&alone, shape, spacing, eroded + LAYER_MM);
    let (mut bone, mut all) = (0.0, 0.0);
    for (n, hu) in coarse.volume.voxels().iter().enumerate() {
        if inner[n] {
            let place = grid.ijk(n);
            let cut = (0..3).filter(|&axis| place[axis] == 0 || place[axis] + 1 == shape[axis]);
            all += cut.map(|axis| LAYER_MM / spacing[axis]).sum::<f64>();
        } else if outer[n] {
            all += 1.0;
            bone += (*hu >= BONE_HU) as u8 as f64;
        }
    }
    if all > 0.0 { bone / all } else { 0.0 }
}
