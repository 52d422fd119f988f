//! The brain's border in the scan's own voxels, and what lies beyond it.

use super::coarse::{BONE_HU, Coarse, clamped};
use crate::volume::morphology::{dilate, erode, fill_holes, keep_largest};
use crate::volume::{Grid, Volume};
use rayon::prelude::*;

/// What is deeper than this in the region, in mm, is brain whatever its HU: calcification, blood, contrast, metal.
const DEEP_MM: f64 = 3.0;

/// HU of brain at its border, in the mean of a voxel and its neighbours: the mean of fat and fluid below, a tenth of the
/// way to bone above. Less than the coarse range: at the border the HU is that of brain and dura, not of a bleed's centre.
const BORDER_HU: std::ops::RangeInclusive<f32> = -20.0..=100.0;

/// HU of what touches such voxels and is brain too: with bone beside them the mean of thin blood under the skull is that of bone.
const TOUCHING_HU: std::ops::RangeInclusive<f32> = -20.0..=80.0;

/// Neighbours count in the mean along axes whose voxels are no longer than this, in mm; others are too far.
const NEIGHBOUR_MM: f64 = 1.2;

/// How far beyond the region bone is looked for, in mm.
const COVER_MM: f64 = 6.0;

/// The mask on the scan's grid of a region on the coarse grid: the deep part as it is, the rest by the voxels' HU.
pub(super) fn refine(scan: &Volume<f32>, coarse: &Coarse, region: &[bool]) -> Vec<bool> {
    let Grid { shape: [ni, nj, nk], .. } = *scan.grid();
    let blocks = coarse.volume.grid();
    let deep = erode(region, blocks.shape, blocks.spacing(), DEEP_MM);
    let neighbours = scan.grid().spacing().map(|s| (s <= NEIGHBOUR_MM) as usize);
    let mut mask = vec![false; scan.grid().len()];
    mask.par_chunks_mut(ni).enumerate().for_each(|(row, mask)| {
        let (j, k) = (row % nj, row / nj);
        let (Some(block_j), Some(block_k)) = (coarse.axes[1].block(j), coarse.axes[2].block(k)) else { return };
        let first = blocks.index([0, block_j, block_k]);
        for block in (0..blocks.shape[0]).filter(|block| region[first + block]) {
            for i in coarse.axes[0].voxels(block) {
                mask[i] = deep[first + block] || BORDER_HU.contains(&local_mean(scan, [i, j, k], neighbours));
            }
        }
    });
    keep_largest(&mut mask, [ni, nj, nk]);
    touch(scan, coarse, region, neighbours, &mut mask);
    fill_holes(&mut mask, [ni, nj, nk]);
    mask
}

/// Adds the voxels of the region that are of brain's or blood's HU themselves and lie beside one of the mask, along axes of short voxels.
fn touch(scan: &Volume<f32>, coarse: &Coarse, region: &[bool], neighbours: [usize; 3], mask: &mut [bool]) {
    let Grid { shape, .. } = *scan.grid();
    let blocks = coarse.volume.grid();
    let strides = [1, shape[0], shape[0] * shape[1]];
    let before = mask.to_vec();
    mask.par_chunks_mut(shape[0]).enumerate().for_each(|(row, mask)| {
        let (j, k) = (row % shape[1], row / shape[1]);
        let (Some(block_j), Some(block_k)) = (coarse.axes[1].block(j), coarse.axes[2].block(k)) else { return };
        let first = blocks.index([0, block_j, block_k]);
        for block in (0..blocks.shape[0]).filter(|block| region[first + block]) {
            for i in coarse.axes[0].voxels(block) {
                let voxel = row * shape[0] + i;
                let beside = |axis: usize| {
                    let at = [i, j, k][axis];
                    (at > 0 && before[voxel - strides[axis]]) || (at + 1 < shape[axis] && before[voxel + strides[axis]])
                };
                mask[i] |=
                    TOUCHING_HU.contains(&scan.voxels()[voxel]) && (0..3).any(|axis| neighbours[axis] == 1 && beside(axis));
            }
        }
    });
}

/// Mean HU, clamped, of a voxel and of those within `reach` voxels of it along each axis.
fn local_mean(scan: &Volume<f32>, ijk: [usize; 3], reach: [usize; 3]) -> f32 {
    let grid = scan.grid();
    let range = |axis: usize| ijk[axis].saturating_sub(reach[axis])..(ijk[axis] + reach[axis] + 1).min(grid.shape[axis]);
    let (is, js, ks) = (range(0), range(1), range(2));
    let count = is.len() * js.len() * ks.len();
    let mut sum = 0.0;
    for (k, j) in ks.flat_map(|k| js.clone().map(move |j| (k, j))) {
        let row = grid.index([0, j, k]);
        sum += scan.voxels()[row + is.start..row + is.end].iter().map(|hu| clamped(*hu)).sum::<f32>();
    }
    sum / count as f32
}

/// Share of the region's surface blocks that have bone within 6 mm.
pub(super) fn bone_cover(region: &[bool], coarse: &Coarse) -> f64 {
    let Grid { shape, .. } = *coarse.volume.grid();
    let spacing = coarse.volume.grid().spacing();
    let bone: Vec<bool> = coarse.volume.voxels().par_iter().map(|hu| *hu >= BONE_HU).collect();
    let near = dilate(&bone, shape, spacing, COVER_MM);
    // One block along the finest axis is the surface.
    let thickness = spacing.into_iter().fold(f64::INFINITY, f64::min);
    let within = erode(region, shape, spacing, thickness * 1.01);
    let (mut covered, mut all) = (0usize, 0usize);
    for ((region, within), near) in region.iter().zip(&within).zip(&near) {
        if *region && !within {
            all += 1;
            covered += *near as usize;
        }
    }
    covered as f64 / all.max(1) as f64
}
