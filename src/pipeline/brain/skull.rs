//! The brain as the soft tissue that the skull encloses.

use super::coarse::{Coarse, HU_RANGE};
use super::defect;
use crate::volume::morphology::{Pieces, close, dilate, erode, fill_holes, keep_largest};
use crate::volume::{Grid, Volume};
use rayon::prelude::*;

pub fn p(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Mean HU of a block from which it counts as bone.
pub(super) const BONE_HU: f32 = 160.0;

pub fn region(coarse: &Coarse) -> Option<Vec<bool>> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let hu = coarse.volume.voxels();
    let range = p("LO", -5.0) as f32..=p("HI", 105.0) as f32;
    let smooth = coarse.smoothed(p("SIGMA", 2.0));
    let is_soft: Vec<bool> = smooth.par_iter().map(|hu| range.contains(hu)).collect();
    let mut core = erode(&is_soft, shape, spacing, p("ERODE", 6.0));
    keep_enclosed(&mut core, hu, shape, spacing, p("ERODE", 6.0) + 4.0)?;
    let soft: Vec<bool> = hu.par_iter().map(|hu| range.contains(hu)).collect();
    let mut region = dilate(&core, shape, spacing, p("GROW", 8.0));
    region.par_iter_mut().zip(&soft).zip(&is_soft).for_each(|((r, a), b)| *r &= a | b);
    keep_largest(&mut region, shape);
    region = close(&region, shape, spacing, p("CLOSE", 3.0));
    fill_holes(&mut region, shape);
    let mut deep = erode(&region, shape, spacing, p("DEEP", 12.0));
    keep_enclosed(&mut deep, hu, shape, spacing, p("DEEP", 12.0) + 4.0)?;
    let near = dilate(&deep, shape, spacing, p("REACH", 30.0));
    region.par_iter_mut().zip(&near).for_each(|(r, s)| *r &= s);
    if p("DEFECT", 1.0) > 0.0 {
    defect::trim(&mut region, coarse);
    }
    keep_largest(&mut region, shape);
    Some(region)
}

/// Keeps the piece that most looks like a brain's: large, with bone around it. `None` when there is no piece at all.
fn keep_enclosed(mask: &mut [bool], hu: &[f32], shape: [usize; 3], spacing: [f64; 3], reach: f64) -> Option<()> {
    let pieces = Pieces::of(mask, shape, true);
    let largest = pieces.sizes[pieces.largest()?];
    let score = |piece: usize| {
        let mut alone = vec![false; mask.len()];
        pieces.paint(&mut alone, true, |other| other == piece);
        let around = dilate(&alone, shape, spacing, reach);
        let inside = dilate(&alone, shape, spacing, reach - 4.0);
        let (mut bone, mut all) = (0usize, 1usize);
        for ((&hu, &around), &inside) in hu.iter().zip(&around).zip(&inside) {
            if around && !inside {
                all += 1;
                bone += (hu >= BONE_HU) as usize;
            }
        }
        pieces.sizes[piece] as f64 * (bone as f64 / all as f64).powi(2)
    };
    let mut candidates: Vec<usize> = (0..pieces.sizes.len()).filter(|&piece| pieces.sizes[piece] * 12 >= largest).collect();
    if candidates.len() > 1 {
        let scores: Vec<f64> = candidates.iter().map(|&piece| score(piece)).collect();
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
        candidates = vec![candidates[best]];
    }
    pieces.paint(mask, false, |piece| piece != candidates[0]);
    Some(())
}

pub fn refine(scan: &Volume<f32>, coarse: &Coarse, region: &[bool]) -> Vec<bool> {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let inner = erode(region, shape, spacing, p("INNER", 3.0));
    let outer = dilate(region, shape, spacing, p("OUTER", 1.0));
    let class: Vec<u8> = outer.par_iter().zip(&inner).map(|(&o, &i)| o as u8 + i as u8).collect();
    let fine = scan.grid();
    let [ni, nj, nk] = fine.shape;
    let steps = fine.spacing().map(|s| (s < p("BOX", 1.2)) as usize);
    let range = p("FLO", -20.0) as f32..=p("FHI", 100.0) as f32;
    let mean = |ijk: [usize; 3]| {
        let [i, j, k] = [0, 1, 2].map(|a| ijk[a].saturating_sub(steps[a])..(ijk[a] + steps[a] + 1).min(fine.shape[a]));
        let mut sum = 0.0;
        for k in k.clone() {
            for j in j.clone() {
                let row = &scan.voxels()[ni * (j + nj * k)..][i.clone()];
                sum += row.iter().map(|hu| hu.max(HU_RANGE.0).min(HU_RANGE.1)).sum::<f32>();
            }
        }
        sum / (i.len() * j.len() * k.len()) as f32
    };
    let mut mask = vec![false; ni * nj * nk];
    mask.par_chunks_mut(ni).enumerate().for_each(|(row, mask)| {
        let (j, k) = (row % nj, row / nj);
        let class = &class[shape[0] * (j / coarse.factor[1] + shape[1] * (k / coarse.factor[2]))..][..shape[0]];
        for (i, inside) in mask.iter_mut().enumerate() {
            *inside = match class[i / coarse.factor[0]] {
                0 => false,
                1 => range.contains(&mean([i, j, k])),
                _ => true,
            };
        }
    });
    keep_largest(&mut mask, fine.shape);
    fill_holes(&mut mask, fine.shape);
    mask
}
