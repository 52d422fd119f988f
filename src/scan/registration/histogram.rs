//! The figure by which registrations are compared: mutual information of the template and the resampled scan by a
//! plain joint histogram.

use rayon::prelude::*;

use super::brain::HIGHEST_HU;
use crate::volume::{Affine, Volume};

/// Bins along each axis of the joint histogram.
const BINS: usize = 64;

/// Mutual information and overlap of two brains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Agreement {
    /// Mutual information in nats.
    pub(crate) mutual_information: f64,
    /// Dice overlap of the two brains.
    pub(crate) dice: f64,
}

/// Compares `scan`, resampled linearly on the template's grid (0 outside its grid), with `template`.
///
/// The joint histogram has 64 x 64 bins of both volumes clipped to 0..100 HU and counts the voxels where either is
/// above 0. Voxels are counted in whole numbers, so the result doesn't depend on the order or the number of threads.
/// `None` where the scan's affine is singular.
pub(crate) fn agreement(scan: &Volume<f32>, template: &Volume<f32>, template_to_scan: &Affine) -> Option<Agreement> {
    let map = scan.grid().affine.inverse()?.after(template_to_scan).after(&template.grid().affine);
    let [ni, nj, nk] = template.grid().shape;
    let parts: Vec<Counts> = (0..nk)
        .into_par_iter()
        .map(|k| {
            let mut counts = Counts::new();
            for j in 0..nj {
                let row = template.grid().index([0, j, k]);
                for (i, &fixed) in template.voxels()[row..row + ni].iter().enumerate() {
                    let moved = linear(scan, map.apply([i as f64, j as f64, k as f64]));
                    counts.add(fixed, moved);
                }
            }
            counts
        })
        .collect();
    let mut counts = Counts::new();
    parts.iter().for_each(|part| counts.merge(part));
    Some(Agreement { mutual_information: counts.mutual_information(), dice: counts.dice() })
}

/// Linear interpolation at voxel coordinates `p`; 0 outside the grid of voxel centres.
pub(crate) fn linear(volume: &Volume<f32>, p: [f64; 3]) -> f32 {
    let shape = volume.grid().shape;
    if (0..3).any(|axis| !(0.0..=shape[axis] as f64 - 1.0).contains(&p[axis])) {
        return 0.0;
    }
    let base = p.map(|x| x as usize);
    let t = [0, 1, 2].map(|axis| (p[axis] - base[axis] as f64) as f32);
    let next = [0, 1, 2].map(|axis| (base[axis] + 1).min(shape[axis] - 1));
    let at = |i: usize, j: usize, k: usize| volume.voxels()[volume.grid().index([i, j, k])];
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let along_i = |j: usize, k: usize| mix(at(base[0], j, k), at(next[0], j, k), t[0]);
    let along_j = |k: usize| mix(along_i(base[1], k), along_i(next[1], k), t[1]);
    mix(along_j(base[2]), along_j(next[2]), t[2])
}

/// A joint histogram in whole numbers.
struct Counts {
    joint: Vec<u64>,
    fixed: u64,
    moved: u64,
    both: u64,
}

impl Counts {
    fn new() -> Self {
        Counts { joint: vec![0; BINS * BINS], fixed: 0, moved: 0, both: 0 }
    }

    fn add(&mut self, fixed: f32, moved: f32) {
        if fixed > 0.0 || moved > 0.0 {
            let bin = |v: f32| ((v.clamp(0.0, HIGHEST_HU) * (BINS as f32 / HIGHEST_HU)) as usize).min(BINS - 1);
            self.joint[bin(fixed) * BINS + bin(moved)] += 1;
            self.fixed += u64::from(fixed > 0.0);
            self.moved += u64::from(moved > 0.0);
            self.both += u64::from(fixed > 0.0 && moved > 0.0);
        }
    }

    fn merge(&mut self, other: &Counts) {
        self.joint.iter_mut().zip(&other.joint).for_each(|(a, b)| *a += b);
        self.fixed += other.fixed;
        self.moved += other.moved;
        self.both += other.both;
    }

    fn dice(&self) -> f64 {
        match self.fixed + self.moved {
            0 => 1.0,
            sum => 2.0 * self.both as f64 / sum as f64,
        }
    }

    fn mutual_information(&self) -> f64 {
        let rows: Vec<u64> = self.joint.chunks(BINS).map(|row| row.iter().sum()).collect();
        let columns: Vec<u64> = (0..BINS).map(|m| self.joint.iter().skip(m).step_by(BINS).sum()).collect();
        let total = rows.iter().sum::<u64>() as f64;
        let mut sum = 0.0;
        for (f, row) in self.joint.chunks(BINS).enumerate() {
            for (m, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let count = count as f64;
                sum += count / total * (count * total / (rows[f] as f64 * columns[m] as f64)).ln();
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Grid;
    use proptest::prelude::*;

    fn line(values: &[f32], affine: Affine) -> Volume<f32> {
        Volume::new(Grid { shape: [values.len(), 1, 1], affine }, values.to_vec())
    }

    #[test]
    fn two_classes_that_determine_each_other_share_ln_2() {
        let template = line(&[10.0, 10.0, 50.0, 50.0, 0.0], Affine::IDENTITY);
        let scan = line(&[70.0, 70.0, 20.0, 20.0, 0.0], Affine::IDENTITY);
        let got = agreement(&scan, &template, &Affine::IDENTITY).unwrap();
        assert!((got.mutual_information - 2.0_f64.ln()).abs() < 1e-12, "{got:?}");
        assert_eq!(got.dice, 1.0);
    }

    #[test]
    fn independent_classes_share_nothing() {
        let template = line(&[10.0, 10.0, 50.0, 50.0], Affine::IDENTITY);
        let scan = line(&[70.0, 20.0, 70.0, 20.0], Affine::IDENTITY);
        let got = agreement(&scan, &template, &Affine::IDENTITY).unwrap();
        assert!(got.mutual_information.abs() < 1e-12, "{got:?}");
    }

    #[test]
    fn counts_where_either_is_brain_and_interpolates_between() {
        // Moved by half a voxel: the scan at template voxels 0..4 is 20, 20, 10, 0 and, beyond its grid, 0.
        let template = line(&[0.0, 30.0, 30.0, 30.0, 0.0], Affine::IDENTITY);
        let scan = line(&[20.0, 20.0, 20.0, 0.0, 0.0], Affine::IDENTITY);
        let half = Affine::new(Affine::IDENTITY.matrix(), [0.5, 0.0, 0.0]);
        let got = agreement(&scan, &template, &half).unwrap();
        // Joint counts (0, 20), (30, 20), (30, 10), (30, 0): four voxels, the last is outside both.
        let ln = |joint: f64, row: f64, column: f64| joint / 4.0 * (joint * 4.0 / (row * column)).ln();
        let want = ln(1.0, 1.0, 2.0) + ln(1.0, 3.0, 2.0) + 2.0 * ln(1.0, 3.0, 1.0);
        assert!((got.mutual_information - want).abs() < 1e-12, "{got:?}, wanted {want}");
        assert_eq!(got.dice, 2.0 * 2.0 / 6.0);
    }

    #[test]
    fn empty_volumes_agree_and_a_flat_scan_grid_is_none() {
        let empty = line(&[0.0; 4], Affine::IDENTITY);
        let got = agreement(&empty, &empty, &Affine::IDENTITY).unwrap();
        assert_eq!(got, Agreement { mutual_information: 0.0, dice: 1.0 });
        let flat = line(&[1.0; 4], Affine::new([[0.0; 3]; 3], [0.0; 3]));
        assert_eq!(agreement(&flat, &empty, &Affine::IDENTITY), None);
    }

    proptest! {
        #[test]
        fn is_between_nothing_and_the_template_s_own_information(values in proptest::collection::vec((0.0_f32..120.0, 0.0_f32..120.0), 1..200)) {
            let (a, b): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let (a, b) = (line(&a, Affine::IDENTITY), line(&b, Affine::IDENTITY));
            let shared = agreement(&a, &b, &Affine::IDENTITY).unwrap().mutual_information;
            let own = agreement(&b, &b, &Affine::IDENTITY).unwrap().mutual_information;
            prop_assert!(shared > -1e-12 && shared < own + 1e-12, "{shared} of {own}");
        }
    }
}
