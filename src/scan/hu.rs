//! Hounsfield units: the clamp, and whether a scan's values can be HU at all.

use crate::scan::warnings::{self, Warning};
use crate::volume::Volume;
use rayon::prelude::*;

/// The range of a 12-bit CT scanner, to which every scan is clamped (Sharrock et al. 2020, methods).
pub const HU_RANGE: [f32; 2] = [-1024.0, 3071.0];

/// HU at or below which a voxel is air, or padding.
pub const AIR_HU: f32 = -300.0;

/// HU below which a voxel is padding: no scanner measures air so low, and what is clamped to a scanner's range ends above.
pub const PADDING_HU: f32 = -1200.0;

/// Values that all lie within so narrow a range are no HU: from fluid to bone it is 1000, and a window of the brain is 80 wide.
pub const NARROWEST_SPAN: f32 = 50.0;

/// HU of the middle of soft tissue: muscle has 50, brain 35, fluid 0.
const SOFT_TISSUE_HU: f64 = 35.0;

/// How far soft tissue may seem to lie from there before an offset is suspected, in HU: the usual missing ones are 1000 and 1024.
const LEAST_OFFSET: f64 = 200.0;

/// The lowest and the highest value of a picture of 8 bits that uses all of them. A band of HU begins and ends elsewhere.
const GREY_VALUES: [f32; 2] = [0.0, 255.0];

/// What a scan's values say about it, before the clamp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    /// Voxels that were not a number or infinite; the clamp makes them air.
    pub not_finite: usize,
    /// Share of finite voxels above the clamp's range.
    pub above_range: f64,
    /// Share of finite voxels that can be soft tissue, -200..200 HU without 0 (a common padding).
    pub soft_tissue: f64,
    /// Share of finite voxels of -1200 to -300 HU: air. What is lower is padding.
    pub air: f64,
    /// What all values are too high by, where air and soft tissue stand out and lie elsewhere than in HU.
    pub offset: Option<f64>,
    /// The lowest and the highest finite value.
    pub span: [f32; 2],
}

/// Clamps a scan to [`HU_RANGE`]; voxels that are not finite become air. Returns what the values were.
pub fn clamp(scan: &mut Volume<f32>) -> Values {
    #[derive(Default)]
    struct Counts {
        not_finite: usize,
        above_range: usize,
        soft_tissue: usize,
        air: usize,
        span: Span,
    }
    let total = scan.voxels().len();
    let offset = offset(scan.voxels());
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
                counts.air += usize::from((PADDING_HU..=AIR_HU).contains(hu));
                counts.span.add(*hu);
                *hu = hu.clamp(HU_RANGE[0], HU_RANGE[1]);
            }
            counts
        })
        .reduce(Counts::default, |a, b| Counts {
            not_finite: a.not_finite + b.not_finite,
            above_range: a.above_range + b.above_range,
            soft_tissue: a.soft_tissue + b.soft_tissue,
            air: a.air + b.air,
            span: a.span.with(b.span),
        });
    let share = |count: usize| count as f64 / (total - counts.not_finite).max(1) as f64;
    Values {
        not_finite: counts.not_finite,
        above_range: share(counts.above_range),
        soft_tissue: share(counts.soft_tissue),
        air: share(counts.air),
        offset,
        span: counts.span.0,
    }
}

/// The lowest and the highest of some values; the other way round where there are none.
#[derive(Clone, Copy)]
struct Span([f32; 2]);

impl Default for Span {
    fn default() -> Self {
        Span([f32::INFINITY, f32::NEG_INFINITY])
    }
}

impl Span {
    fn add(&mut self, value: f32) {
        self.0 = [self.0[0].min(value), self.0[1].max(value)];
    }

    fn with(self, other: Span) -> Span {
        Span([self.0[0].min(other.0[0]), self.0[1].max(other.0[1])])
    }
}

/// What all values are too high by: the two peaks of a CT's histogram, air and soft tissue, lie 1000 to 1060 apart with little between,
/// and soft tissue should be at about 35 HU. `None` where it is, or where no two such peaks stand out.
fn offset(voxels: &[f32]) -> Option<f64> {
    const BIN: f64 = 16.0;
    const LEAST: f64 = -6144.0;
    const BINS: usize = 3072;
    let counts = voxels
        .par_chunks(1 << 16)
        .map(|chunk| {
            let mut counts = vec![0u32; BINS];
            for value in chunk.iter().filter(|value| value.is_finite()) {
                let bin = ((f64::from(*value) - LEAST) / BIN).floor();
                if (0.0..BINS as f64).contains(&bin) {
                    counts[bin as usize] += 1;
                }
            }
            counts
        })
        .reduce(
            || vec![0; BINS],
            |mut a, b| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            },
        );
    // Voxels within 48 of each bin's middle.
    let near: Vec<u32> = (0..BINS).map(|bin| counts[bin.saturating_sub(3)..(bin + 4).min(BINS)].iter().sum()).collect();
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    // A newborn's soft tissue in a wide field of view is 1% of it.
    let peak = |bin: usize| f64::from(near[bin]) >= 0.003 * total as f64;
    let mut above = vec![0u64; BINS + 1];
    (0..BINS).rev().for_each(|bin| above[bin] = above[bin + 1] + u64::from(counts[bin]));
    // Beyond soft tissue there is bone. It spreads wide; where bone is drawn as one value, that is no soft tissue 1000 above the brain's.
    let has_bone = |soft: usize| above[(soft + 10).min(BINS)] as f64 >= 0.02 * f64::from(near[soft]);
    let apart = (960.0 / BIN) as usize..=(1088.0 / BIN) as usize;
    // The peak of air that a peak of soft tissue has below it.
    let air_below = |soft: usize| {
        let below = apart.clone().filter_map(|apart| soft.checked_sub(apart).map(|air| (air, apart)));
        let (air, apart) = below.max_by_key(|(air, _)| near[*air])?;
        let valley = near[air + apart / 2].max(near[air + apart / 4]);
        (peak(air) && f64::from(valley) < 0.3 * f64::from(near[air].min(near[soft]))).then_some(air)
    };
    // Bone 1000 above sound soft tissue can be a peak too, but a low one: of 0.07 of it in a generated head, where soft tissue above
    // air above padding has 0.38 or more of the air.
    let is_bone = |soft: usize, below: usize| air_below(below).is_some() && f64::from(near[soft]) < 0.2 * f64::from(near[below]);
    // The highest pair: padding below air makes another one, farther down.
    let soft = (0..BINS).rev().find(|&soft| {
        peak(soft)
            && has_bone(soft)
            && (soft.saturating_sub(3)..(soft + 4).min(BINS)).all(|other| near[other] <= near[soft])
            && air_below(soft).is_some_and(|air| !is_bone(soft, air))
    })?;
    let offset = LEAST + (soft as f64 + 0.5) * BIN - SOFT_TISSUE_HU;
    (offset.abs() > LEAST_OFFSET).then_some(offset)
}

impl Values {
    /// The warnings that these values call for. `whole`: the scan is that of a whole head as a scanner makes it, so that air is expected;
    /// not one that holds the brain alone, or whose air was taken out.
    pub fn warnings(&self, whole: bool) -> Vec<Warning> {
        let mut said = Vec::new();
        if self.not_finite > 0 {
            said.push(Warning::NotFinite { voxels: self.not_finite });
        }
        let not_hu = |reason: String, sure: bool| Warning::NotHu { reason, sure, inside: false };
        let [least, most] = self.span;
        if let Some(offset) = self.offset {
            said.push(not_hu(offset_words(offset), true));
        } else if self.above_range > 0.02 {
            let sure = self.above_range > warnings::MOST_ABOVE_RANGE;
            let why = if sure { ": negative values stored without their sign, or no CT" } else { "" };
            said.push(not_hu(format!("{:.0}% of the voxels are above 3071{why}", 100.0 * self.above_range), sure));
        } else if self.span[1] - self.span[0] < NARROWEST_SPAN {
            said.push(not_hu(format!("they reach from {least} to {most} only: scaled values, or an image of nothing"), true));
        } else if self.soft_tissue < 0.01 {
            said.push(not_hu(format!("only {:.1}% of the voxels can be soft tissue", 100.0 * self.soft_tissue), false));
        } else if self.span == GREY_VALUES {
            said.push(not_hu(format!("they reach from {least} to {most}: grey values of a picture, whatever its window"), true));
        } else if whole && self.air < 0.001 {
            // Stored values without their intercept: air is 0 instead of -1000.
            said.push(not_hu("no voxel is air: perhaps an offset of 1024 is missing".into(), false));
        }
        said
    }
}

/// An offset in words. What it is exactly, the file's maker knows: the peak of soft tissue is found within some 40 HU.
fn offset_words(offset: f64) -> String {
    let usual = [1000.0, 1024.0, 32768.0, -1000.0, -1024.0];
    let near = usual.into_iter().filter(|usual: &f64| (offset - usual).abs() <= 40.0);
    let likely = near.map(|usual| format!("{:.0}", usual.abs())).collect::<Vec<_>>().join(" or ");
    let (soft, change) = (offset + SOFT_TISSUE_HU, if offset > 0.0 { "subtract" } else { "add" });
    let amount = if likely.is_empty() { format!("about {:.0}", offset.abs()) } else { likely };
    format!(
        "soft tissue lies at about {soft:.0} instead of {SOFT_TISSUE_HU:.0} HU, so an offset is missing or doubled: {change} {amount} (DICOM: rescale intercept)"
    )
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
        let span = [-3000.0, 5000.0];
        let expected =
            Values { not_finite: 2, above_range: 1.0 / 6.0, soft_tissue: 1.0 / 6.0, air: 1.0 / 6.0, offset: None, span };
        assert_eq!(values, expected);
    }

    #[test]
    fn values_that_cannot_be_hu_are_named() {
        let span = [-1024.0, 2000.0];
        let good = Values { not_finite: 0, above_range: 0.0, soft_tissue: 0.3, air: 0.5, offset: None, span };
        assert!(good.warnings(true).is_empty());
        let said = |values: Values, whole| values.warnings(whole).iter().map(|w| (w.number(), w.is_doubt())).collect::<Vec<_>>();
        assert_eq!(said(Values { above_range: 0.03, ..good }, true), [(5, false)]);
        assert_eq!(said(Values { soft_tissue: 0.005, ..good }, true), [(5, false)]);
        assert_eq!(said(Values { air: 0.0, ..good }, true), [(5, false)]);
        assert!(said(Values { air: 0.0, ..good }, false).is_empty());
        assert_eq!(said(Values { not_finite: 3, ..good }, true), [(8, false)]);
        assert_eq!(said(Values { offset: Some(1025.0), ..good }, true), [(5, true)]);
        assert_eq!(said(Values { span: [0.0, 1.0], ..good }, false), [(5, true)]);
        let text = |offset: f64| Values { offset: Some(offset), ..good }.warnings(true)[0].to_string();
        assert!(text(1025.0).contains("subtract 1000 or 1024 (DICOM"), "{}", text(1025.0));
        assert!(text(-1050.0).contains("add 1024 (DICOM"), "{}", text(-1050.0));
        assert!(text(2500.0).contains("subtract about 2500 (DICOM"), "{}", text(2500.0));
    }

    /// Air, soft tissue and some bone, with a little of what lies between them.
    fn head_values() -> Vec<f32> {
        let values = (0..100_000).map(|n| {
            let spread = (n * 7919 % 61) as f32 - 30.0;
            match n % 100 {
                0..60 => -1000.0 + spread,
                60..90 => 40.0 + spread,
                90..95 => -950.0 + (n % 9000) as f32 / 10.0,
                _ => 150.0 + (n % 15000) as f32 / 10.0,
            }
        });
        values.collect()
    }

    #[test]
    fn an_offset_is_found_where_air_and_soft_tissue_lie_elsewhere() {
        let head = head_values();
        assert_eq!(offset(&head), None);
        for missing in [1000.0, 1024.0, -1024.0, 8192.0, 32768.0] {
            let moved: Vec<f32> = head.iter().map(|hu| hu + missing).collect();
            let found = offset(&moved).unwrap();
            assert!((found - f64::from(missing)).abs() < 40.0, "{found} for {missing}");
            // Padding is no air, however much of it there is and wherever it lies below.
            for padding in [-2000.0, -1024.0, 0.0f32] {
                let lower = padding.min(-1000.0 + missing);
                let padded: Vec<f32> = moved.iter().copied().chain(std::iter::repeat_n(lower, 50_000)).collect();
                let found = offset(&padded).unwrap();
                assert!((found - f64::from(missing)).abs() < 40.0, "{found} for {missing} with padding {lower}");
            }
        }
        // Bone of one value is a low peak 1000 above soft tissue.
        let drawn: Vec<f32> = head.iter().copied().chain((0..2000).map(|n| 1040.0 + (n % 20) as f32)).collect();
        assert_eq!(offset(&drawn), None);
        // Padding below sound values is no peak of air; values without two such peaks have no offset.
        let padded: Vec<f32> = head.iter().copied().chain(std::iter::repeat_n(-2024.0, 50_000)).collect();
        assert_eq!(offset(&padded), None);
        assert_eq!(offset(&vec![0.0; 1000]), None);
        assert_eq!(offset(&(0..100_000).map(|n| (n % 4096) as f32).collect::<Vec<_>>()), None);
        assert_eq!(offset(&[]), None);
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
