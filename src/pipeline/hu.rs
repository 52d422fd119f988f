//! Hounsfield units: the clamp, and whether a scan's values can be HU at all.

use crate::pipeline::warnings::Warning;
use crate::volume::Volume;
use rayon::prelude::*;

/// The range of a 12-bit CT scanner, to which every scan is clamped (Sharrock et al. 2020, methods).
pub const HU_RANGE: [f32; 2] = [-1024.0, 3071.0];

/// What a scan's values say about it, before the clamp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    /// Voxels that were not a number or infinite; the clamp makes them air.
    pub not_finite: usize,
    /// Share of finite voxels above the clamp's range.
    pub above_range: f64,
    /// Share of finite voxels that can be soft tissue, -200..200 HU without 0 (a common padding).
    pub soft_tissue: f64,
    /// Share of finite voxels that can be air, -1024..-300 HU: what is below the range is padding.
    pub air: f64,
}

/// Clamps a scan to [`HU_RANGE`]; voxels that are not finite become air. Returns what the values were.
pub fn clamp(scan: &mut Volume<f32>) -> Values {
    #[derive(Default)]
    struct Counts {
        not_finite: usize,
        above_range: usize,
        soft_tissue: usize,
        air: usize,
    }
    let total = scan.voxels().len();
    let counts = scan
        .voxels_mut()
        .par_chunks_mut(1 << 16)
        .map(|chunk| {
            let mut counts = Counts::default();
            for hu in chunk {
                if !hu.is_finite() {
                    counts.not_finite += 1;
                    *hu = HU_RANGE[0];
                    continue;
                }
                counts.above_range += usize::from(*hu > HU_RANGE[1]);
                counts.soft_tissue += usize::from(hu.abs() < 200.0 && *hu != 0.0);
                counts.air += usize::from((HU_RANGE[0]..=-300.0).contains(hu));
                *hu = hu.clamp(HU_RANGE[0], HU_RANGE[1]);
            }
            counts
        })
        .reduce(Counts::default, |a, b| Counts {
            not_finite: a.not_finite + b.not_finite,
            above_range: a.above_range + b.above_range,
            soft_tissue: a.soft_tissue + b.soft_tissue,
            air: a.air + b.air,
        });
    let share = |count: usize| count as f64 / (total - counts.not_finite).max(1) as f64;
    Values {
        not_finite: counts.not_finite,
        above_range: share(counts.above_range),
        soft_tissue: share(counts.soft_tissue),
        air: share(counts.air),
    }
}

impl Values {
    /// The warnings that these values call for. `skull_stripped`: no air is expected, everything outside the brain is 0.
    pub fn warnings(&self, skull_stripped: bool) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.not_finite > 0 {
            warnings.push(Warning::NotFinite { voxels: self.not_finite });
        }
        if self.above_range > 0.02 {
            warnings.push(Warning::NotHu { reason: format!("{:.0}% of the voxels are above 3071", 100.0 * self.above_range) });
        } else if self.soft_tissue < 0.01 {
            warnings.push(Warning::NotHu {
                reason: format!("only {:.1}% of the voxels can be soft tissue", 100.0 * self.soft_tissue),
            });
        } else if !skull_stripped && self.air < 0.001 {
            // Stored values without their intercept: air is 0 instead of -1000.
            warnings.push(Warning::NotHu { reason: "no voxel is air: perhaps an offset of 1024 is missing".into() });
        }
        warnings
    }
}

/// Standard deviation of the noise in HU inside `mask`: from the differences of neighbours along i, by their median (robust to edges).
/// `None` for fewer than 1000 pairs.
pub fn noise(scan: &Volume<f32>, mask: &Volume<bool>) -> Option<f64> {
    let [ni, _, _] = scan.grid().shape;
    // A histogram instead of a sort: differences of 0 to 500 HU in steps of a quarter.
    let mut histogram = vec![0u64; 2000];
    for (row, inside) in scan.voxels().chunks_exact(ni.max(1)).zip(mask.voxels().chunks_exact(ni.max(1))) {
        for (pair, inside) in row.windows(2).zip(inside.windows(2)) {
            if inside[0] && inside[1] {
                let bin = (4.0 * (pair[1] - pair[0]).abs()) as usize;
                histogram[bin.min(1999)] += 1;
            }
        }
    }
    let pairs: u64 = histogram.iter().sum();
    if pairs < 1000 {
        return None;
    }
    let mut below = 0;
    let median = histogram.iter().position(|count| {
        below += count;
        2 * below >= pairs
    })?;
    // The difference of two values has sqrt(2) of their deviation; the median of |x| is 0.6745 deviations of a normal x.
    Some((median as f64 + 0.5) / 4.0 / 0.6745 / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{Affine, Grid};

    fn volume<T>(shape: [usize; 3], voxels: Vec<T>) -> Volume<T> {
        Volume::new(Grid { shape, affine: Affine::IDENTITY }, voxels)
    }

    #[test]
    fn the_clamp_counts_and_cuts() {
        let mut scan = volume([2, 2, 2], vec![-3000.0, f32::NAN, f32::INFINITY, 5000.0, 30.0, 0.0, -1000.0, 3071.0]);
        let values = clamp(&mut scan);
        assert_eq!(scan.voxels(), [-1024.0, -1024.0, -1024.0, 3071.0, 30.0, 0.0, -1000.0, 3071.0]);
        assert_eq!(values, Values { not_finite: 2, above_range: 1.0 / 6.0, soft_tissue: 1.0 / 6.0, air: 1.0 / 6.0 });
    }

    #[test]
    fn values_that_cannot_be_hu_are_named() {
        let good = Values { not_finite: 0, above_range: 0.0, soft_tissue: 0.3, air: 0.5 };
        assert!(good.warnings(false).is_empty());
        let said = |values: Values, stripped| values.warnings(stripped).iter().map(|w| w.number()).collect::<Vec<_>>();
        assert_eq!(said(Values { above_range: 0.03, ..good }, false), [5]);
        assert_eq!(said(Values { soft_tissue: 0.005, ..good }, false), [5]);
        assert_eq!(said(Values { air: 0.0, ..good }, false), [5]);
        assert_eq!(said(Values { air: 0.0, ..good }, true), [0u8; 0]);
        assert_eq!(said(Values { not_finite: 3, ..good }, false), [8]);
    }

    #[test]
    fn noise_of_a_known_deviation_is_found() {
        // A sum of 12 uniform values of a congruential generator is nearly normal with deviation 1.
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let voxels: Vec<f32> = (0..32 * 32 * 32).map(|_| 35.0 + 12.0 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0)).collect();
        let scan = volume([32; 3], voxels);
        let found = noise(&scan, &scan.map(|_| true)).unwrap();
        assert!((found - 12.0).abs() < 0.4, "{found}");
        assert_eq!(noise(&scan, &scan.map(|_| false)), None);
    }
}
