//! Scans whose air, bone or both were taken out: values outside a band of HU are all 0 (or one other value), or were cut at the band's ends.
//!
//! Such a scan has no bone to lean on. What is missing can still be told apart by its thickness: a ball of 10 mm fits into the air around a
//! head, not into a skull. Bone and air are put back for the search alone; the scan's own values stay as they are.

use super::coarse::Coarse;
use crate::volume::morphology::{dilate, erode};
use crate::volume::{Grid, Volume};
use rayon::prelude::*;

/// HU at or below which a voxel is air.
const AIR_HU: f32 = -300.0;

/// HU from which a voxel is dense bone: a band that ends lower leaves no skull.
const BONE_HU: f32 = 350.0;

/// Share of the voxels below which there is no air, or no bone. Heads have 20% and 3% or more, newborns 1% of bone.
const NONE: f64 = 0.001;

/// Least share of the voxels that one value must have to stand for what is missing: the air around a head has 25% or more, its bone 3%.
const FILLED: f64 = 0.02;

/// Least share of the voxels at a band's upper end where bone was cut down to it.
const CUT_DOWN: f64 = 0.005;

/// Upper end of a band in HU up to which bone that was cut down to it is no bone to brain extraction any more.
const BONE_END_HU: f32 = 200.0;

/// Lower end of a band in HU from which air that was cut to it is soft tissue to brain extraction.
const AIR_END_HU: f32 = -20.0;

/// Radius in mm of a ball that fits into air and not into the skull.
const WIDE_MM: f64 = 10.0;

/// A block's width in mm: what the ball reaches is widened by it, for blocks at the border are neither air nor tissue.
const BLOCK_MM: f64 = 1.5;

/// HU that are put back for the search.
const PUT_BACK_HU: [f32; 2] = [-1000.0, 1000.0];

/// A scan's values outside of a band were replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missing {
    /// The lowest and the highest HU that are left.
    pub band: [f32; 2],
    /// What stands for values outside the band; `None` where they were cut at its ends.
    pub fill: Option<f32>,
}

/// What stands for air and for bone in a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Replaced {
    /// The value of air, where it is to be put back.
    air: Option<f32>,
    /// The value of bone, likewise.
    bone: Option<f32>,
    missing: Missing,
}

/// The scan with its air and bone put back, and what was missing; `None` where nothing is.
pub(super) fn put_back(scan: &Volume<f32>) -> Option<(Volume<f32>, Missing)> {
    let replaced = replaced(scan.voxels())?;
    let grid = scan.grid();
    let is = |value: Option<f32>| -> Vec<bool> { scan.voxels().par_iter().map(|hu| Some(*hu) == value).collect() };
    if replaced.missing.fill.is_some() {
        // Noise makes single voxels of one value, not whole parts of the scan.
        let filled = without_specks(&is(replaced.air), grid).par_iter().filter(|filled| **filled).count();
        if (filled as f64) < FILLED * grid.len() as f64 {
            return None;
        }
    }
    let wide = replaced.air.map(|air| Wide::of(scan, air));
    let bone = without_specks(&is(replaced.bone), grid);
    // Where bone has a value of its own, what is narrow and of air's value is air too.
    let narrow_air = (replaced.air != replaced.bone && replaced.bone.is_some()).then(|| without_specks(&is(replaced.air), grid));
    let mut restored = scan.clone();
    let [ni, nj, _] = grid.shape;
    restored.voxels_mut().par_chunks_mut(ni).enumerate().for_each(|(row, voxels)| {
        for (i, hu) in voxels.iter_mut().enumerate() {
            let voxel = row * ni + i;
            let is_air = || {
                narrow_air.as_ref().is_some_and(|narrow| narrow[voxel])
                    || wide.as_ref().is_some_and(|wide| wide.holds([i, row % nj, row / nj]))
            };
            if Some(*hu) == replaced.air && is_air() {
                *hu = PUT_BACK_HU[0];
            } else if bone[voxel] {
                *hu = PUT_BACK_HU[1];
            } else if Some(*hu) == replaced.bone && *hu <= AIR_HU {
                *hu = 0.0;
            }
        }
    });
    Some((restored, replaced.missing))
}

/// Which values stand for air and for bone; `None` where the scan has its own.
fn replaced(voxels: &[f32]) -> Option<Replaced> {
    let finite = || voxels.par_iter().copied().filter(|hu| hu.is_finite());
    let count = finite().count().max(1) as f64;
    let least = finite().reduce(|| f32::INFINITY, f32::min);
    let most = finite().reduce(|| f32::NEG_INFINITY, f32::max);
    let share = |is: &(dyn Fn(f32) -> bool + Sync)| finite().filter(|hu| is(*hu)).count() as f64 / count;
    let no_bone = share(&|hu| hu >= BONE_HU) < NONE;
    let at_least = share(&|hu| hu == least);
    // Of an image of two values or of one nothing can be said.
    let inner = share(&|hu| hu > least && hu < most && hu != 0.0);
    if inner < FILLED {
        return None;
    }
    let band_without = |fill: f32| {
        let left = || finite().filter(move |hu| *hu != fill);
        [left().reduce(|| f32::INFINITY, f32::min), left().reduce(|| f32::NEG_INFINITY, f32::max)]
    };
    let no_air = share(&|hu| hu <= AIR_HU) < NONE;
    let cut_down = most <= BONE_END_HU && most > 0.0 && share(&|hu| hu == most) >= CUT_DOWN;
    if cut_down || (no_air && least > AIR_END_HU && least != 0.0 && at_least >= FILLED) {
        return Some(Replaced {
            air: (least > AIR_END_HU && at_least >= FILLED).then_some(least),
            bone: cut_down.then_some(most),
            missing: Missing { band: [least, most], fill: None },
        });
    }
    let fill = if share(&|hu| hu == 0.0) >= FILLED && (no_air || no_bone) {
        0.0
    } else if no_bone && least <= AIR_HU && at_least >= FILLED {
        least
    } else {
        return None;
    };
    let missing = Missing { band: band_without(fill), fill: Some(fill) };
    Some(Replaced { air: Some(fill), bone: no_bone.then_some(fill), missing })
}

/// Where a ball of 10 mm fits into the voxels of one value.
struct Wide {
    coarse: Coarse,
    blocks: Vec<bool>,
}

impl Wide {
    fn of(scan: &Volume<f32>, value: f32) -> Wide {
        let coarse = Coarse::of(&scan.map(|hu| f32::from(u8::from(*hu == value))));
        let grid = coarse.volume.grid();
        let (shape, spacing) = (grid.shape, grid.spacing());
        let filled: Vec<bool> = coarse.volume.voxels().par_iter().map(|share| *share > 0.5).collect();
        let blocks = dilate(&erode(&filled, shape, spacing, WIDE_MM), shape, spacing, WIDE_MM + BLOCK_MM);
        Wide { coarse, blocks }
    }

    fn holds(&self, at: [usize; 3]) -> bool {
        let block = |axis: usize| self.coarse.axes[axis].block(at[axis]);
        match (block(0), block(1), block(2)) {
            (Some(i), Some(j), Some(k)) => self.blocks[self.coarse.volume.grid().index([i, j, k])],
            _ => false,
        }
    }
}

/// A mask without what is narrower than two voxels along its fine axes: single voxels of cerebrospinal fluid are 0 HU too, a skull is thicker.
fn without_specks(mask: &[bool], grid: &Grid) -> Vec<bool> {
    let spacing = grid.spacing();
    let finest = spacing.into_iter().fold(f64::INFINITY, f64::min);
    let fine = spacing.map(|mm| mm <= 1.5 * finest);
    // Eroded by a box of two voxels, counted from its lower corner, then dilated by the same box.
    let strides = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
    let mut kept = mask.to_vec();
    for upward in [true, false] {
        for axis in (0..3).filter(|&axis| fine[axis] && grid.shape[axis] > 1) {
            let before = kept.clone();
            kept.par_iter_mut().enumerate().for_each(|(voxel, kept)| {
                let at = voxel / strides[axis] % grid.shape[axis];
                if upward {
                    *kept = before[voxel] && at + 1 < grid.shape[axis] && before[voxel + strides[axis]];
                } else {
                    *kept = before[voxel] || (at > 0 && before[voxel - strides[axis]]);
                }
            });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{SKULL, grid, places, scan, tissue};
    use super::*;

    /// The synthetic head with a little noise, so that no value but what is put in stands out.
    fn head() -> Volume<f32> {
        let mut head = scan(&grid(), tissue);
        head.voxels_mut().iter_mut().enumerate().for_each(|(n, hu)| *hu += (n * 7919 % 11) as f32 - 5.0);
        head
    }

    fn banded(head: &Volume<f32>, fill: f32) -> Volume<f32> {
        head.map(|&hu| if (-70.0..=320.0).contains(&hu) { hu } else { fill })
    }

    #[test]
    fn a_scanners_own_head_is_left_as_it_is() {
        assert!(put_back(&head()).is_none());
        // 0 as padding beyond the field of view, beside air and bone.
        let mut padded = head();
        let far = |p: [f64; 3]| p[0].hypot(p[1]) > 84.0;
        let grid = grid();
        padded.voxels_mut().iter_mut().zip(places(&grid)).filter(|(_, p)| far(*p)).for_each(|(hu, _)| *hu = 0.0);
        assert!(put_back(&padded).is_none());
        assert!(put_back(&head().map(|_| 0.0)).is_none() && put_back(&head().map(|_| 35.0)).is_none());
    }

    #[test]
    fn air_and_bone_are_put_back_where_they_were() {
        let head = head();
        for fill in [0.0, -1024.0] {
            let (restored, missing) = put_back(&banded(&head, fill)).unwrap();
            assert_eq!(missing.fill, Some(fill));
            assert!(missing.band[0] >= -70.0 && missing.band[1] <= 320.0);
            let pairs = || restored.voxels().iter().zip(head.voxels());
            let share = |is: fn(f32) -> bool, was: fn(f32) -> bool| {
                let of = pairs().filter(|(_, hu)| was(**hu)).count() as f64;
                pairs().filter(|(back, hu)| is(**back) && was(**hu)).count() as f64 / of
            };
            // Between head, table and the scan's border the air is narrow: it becomes bone, which is no tissue either.
            let air = share(|hu| hu == -1000.0, |hu| hu < -900.0);
            assert!(air > 0.9, "air: {air}");
            // The skull is 7 mm thick, two or three voxels.
            assert!(SKULL == 7.0 && share(|hu| hu >= 900.0, |hu| hu > 900.0) > 0.9, "bone");
            assert_eq!(share(|hu| !(-70.0..=320.0).contains(&hu), |hu| (-70.0..=320.0).contains(&hu)), 0.0, "tissue");
        }
    }

    #[test]
    fn what_was_cut_at_the_ends_is_put_back_too() {
        let head = head();
        let (restored, missing) = put_back(&head.map(|hu| hu.clamp(0.0, 80.0))).unwrap();
        assert_eq!(missing, Missing { band: [0.0, 80.0], fill: None });
        let bone = restored.voxels().iter().zip(head.voxels()).filter(|(_, hu)| **hu > 900.0);
        let (put, all) = bone.fold((0, 0), |(put, all), (back, _)| (put + usize::from(*back == 1000.0), all + 1));
        assert!(put * 10 > all * 9, "{put} of {all}");
        // Bone of 320 HU is bone, air of -70 HU is none of the brain's.
        assert!(put_back(&head.map(|hu| hu.clamp(-70.0, 320.0))).is_none());
    }

    #[test]
    fn single_voxels_are_no_cluster() {
        let grid = Grid { shape: [6, 4, 2], ..grid() };
        let mut mask = vec![false; 48];
        let mut set = |i: usize, j: usize, k: usize| mask[i + 6 * (j + 4 * k)] = true;
        set(5, 3, 1);
        (0..8).for_each(|n| set(1 + (n & 1), 1 + (n >> 1 & 1), n >> 2));
        let kept = without_specks(&mask, &grid);
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 8);
        assert!(!kept[5 + 6 * 7]);
    }
}
