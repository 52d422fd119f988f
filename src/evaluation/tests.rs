//! The measures of a case against their definitions, voxel by voxel.

use super::pairs::Pair;
use super::surface::SurfaceDistances;
use super::{Case, Settings, evaluate, lesions::Lesions, metrics::Counts};
use crate::volume::testing::{affine, mask};
use crate::volume::{Affine, Grid, Volume};
use proptest::prelude::*;
use std::collections::BTreeSet;

type Place = [i64; 3];

fn places(mask: &Volume<bool>) -> BTreeSet<Place> {
    let inside = (0..mask.voxels().len()).filter(|&n| mask.voxels()[n]);
    inside.map(|n| mask.grid().ijk(n).map(|at| at as i64)).collect()
}

/// A voxel with a neighbour outside the mask.
fn surface(places: &BTreeSet<Place>) -> Vec<Place> {
    let neighbours = |p: Place| {
        (0..6).map(move |n| std::array::from_fn(|axis| p[axis] + if n / 2 == axis { n as i64 % 2 * 2 - 1 } else { 0 }))
    };
    places.iter().copied().filter(|&p| neighbours(p).any(|other| !places.contains(&other))).collect()
}

/// Distances from each voxel of one surface to the nearest of the other, ascending.
fn directed(from: &[Place], to: &[Place], affine: &Affine) -> Vec<f64> {
    let world = |p: Place| affine.apply(p.map(|n| n as f64));
    let apart = |p: Place, q: Place| {
        let (p, q) = (world(p), world(q));
        (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum::<f64>().sqrt()
    };
    let nearest = |&p: &Place| to.iter().map(|&q| apart(p, q)).fold(f64::INFINITY, f64::min);
    let mut distances: Vec<f64> = from.iter().map(nearest).collect();
    distances.sort_by(f64::total_cmp);
    distances
}

/// 95% of the way through ascending values, the first being 0% and the last 100%.
fn percentile_95(ascending: &[f64]) -> f64 {
    let place = 0.95 * (ascending.len() as f64 - 1.0);
    let below = ascending[place as usize];
    match ascending.get(place as usize + 1) {
        Some(above) => below * (1.0 - place % 1.0) + above * (place % 1.0),
        None => below,
    }
}

fn pair() -> Pair {
    let (name, path) = (String::from("case"), std::path::PathBuf::from("case.nii"));
    Pair { name: name.clone(), automated: path.clone(), manual: path, scan: None, subgroup: String::new(), patient: name }
}

fn measure(masks: &[Volume<bool>; 2]) -> Case {
    evaluate(&pair(), masks, &Settings::default())
}

/// Two masks on one grid, oblique and sheared; some are empty.
fn masks() -> impl Strategy<Value = [Volume<bool>; 2]> {
    let shape = [1..7_usize, 1..6_usize, 1..5_usize];
    (shape, affine(), 0..100_u8, 0..100_u8).prop_flat_map(|(shape, affine, one, other)| {
        let voxels =
            move |percent: u8| prop::collection::vec((0..100_u8).prop_map(move |n| n < percent), shape.iter().product::<usize>());
        let volume = move |voxels| Volume::new(Grid { shape, affine }, voxels);
        (voxels(one), voxels(other)).prop_map(move |(one, other)| [volume(one), volume(other)])
    })
}

fn near(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9 * (1.0 + one.abs()),
        (one, other) => one == other,
    }
}

proptest! {
    #[test]
    fn overlap_is_that_of_sets_of_voxels(masks in masks()) {
        let (automated, manual) = (places(&masks[0]), places(&masks[1]));
        let (both, either) = (automated.intersection(&manual).count() as f64, automated.union(&manual).count() as f64);
        let (a, m) = (automated.len() as f64, manual.len() as f64);
        let case = measure(&masks);
        let voxel_ml = masks[0].grid().voxel_mm3() / 1000.0;
        let dice = if either > 0.0 { 2.0 * both / (a + m) } else { 1.0 };
        let precision = if a > 0.0 { Some(both / a) } else { (m > 0.0).then_some(0.0) };
        prop_assert!(near(Some(case.dice), Some(dice)));
        prop_assert!(near(case.jaccard, (either > 0.0).then(|| both / either)));
        prop_assert!(near(case.sensitivity, (m > 0.0).then(|| both / m)));
        prop_assert!(near(case.precision, precision));
        prop_assert!(near(Some(case.difference_ml), Some((a - m) * voxel_ml)));
        prop_assert!(near(Some(case.false_positive_ml), Some((a - both) * voxel_ml)));
        prop_assert!(near(Some(case.false_negative_ml), Some((m - both) * voxel_ml)));
    }

    #[test]
    fn surface_measures_are_those_of_all_pairs_of_voxels(masks in masks()) {
        let [automated, manual] = [0, 1].map(|n| surface(&places(&masks[n])));
        let case = measure(&masks);
        if automated.is_empty() || manual.is_empty() {
            let agree = automated.is_empty() && manual.is_empty();
            prop_assert_eq!(case.surface_dice, f64::from(u8::from(agree)));
            prop_assert_eq!([case.hd95_mm, case.masd_mm, case.assd_mm], [agree.then_some(0.0); 3]);
            return Ok(());
        }
        let affine = &masks[0].grid().affine;
        let (one, other) = (directed(&automated, &manual, affine), directed(&manual, &automated, affine));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let all = [&one[..], &other[..]].concat();
        let within = all.iter().filter(|&&mm| mm <= 2.0).count() as f64 / all.len() as f64;
        prop_assert!(near(case.hd95_mm, Some(percentile_95(&one).max(percentile_95(&other)))));
        prop_assert!(near(case.masd_mm, Some((mean(&one) + mean(&other)) / 2.0)));
        prop_assert!(near(case.assd_mm, Some(mean(&all))));
        prop_assert!(near(Some(case.surface_dice), Some(within)));
    }

    #[test]
    fn exchanging_the_masks_exchanges_sensitivity_and_precision_and_nothing_else(masks in masks()) {
        let exchanged = [masks[1].clone(), masks[0].clone()];
        let (case, other) = (measure(&masks), measure(&exchanged));
        prop_assert_eq!((case.dice, case.jaccard, case.surface_dice), (other.dice, other.jaccard, other.surface_dice));
        prop_assert_eq!((case.hd95_mm, case.masd_mm, case.lesion_f1), (other.hd95_mm, other.masd_mm, other.lesion_f1));
        prop_assert!(near(case.assd_mm, other.assd_mm));
        let counts = Counts::of(&masks[0], &masks[1]);
        if counts.automated > 0 && counts.manual > 0 {
            prop_assert_eq!(case.sensitivity, other.precision);
        }
    }

    #[test]
    fn mirroring_both_masks_changes_nothing(masks in masks(), axis in 0..3_usize) {
        let mirrored = [0, 1].map(|n| {
            let mut affine = Affine::IDENTITY;
            affine.rows[axis][axis] = -1.0;
            affine.rows[axis][3] = (masks[n].grid().shape[axis] - 1) as f64;
            let grid = Grid { affine: masks[n].grid().affine.after(&affine), ..masks[n].grid().clone() };
            let mut voxels = masks[n].voxels().to_vec();
            for (from, &inside) in masks[n].voxels().iter().enumerate() {
                let mut place = grid.ijk(from);
                place[axis] = grid.shape[axis] - 1 - place[axis];
                voxels[grid.index(place)] = inside;
            }
            Volume::new(grid, voxels)
        });
        let (case, other) = (measure(&masks), measure(&mirrored));
        prop_assert_eq!((case.dice, case.lesion_f1), (other.dice, other.lesion_f1));
        for (one, other) in [(case.hd95_mm, other.hd95_mm), (case.masd_mm, other.masd_mm), (case.assd_mm, other.assd_mm)] {
            prop_assert!(near(one, other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn distances_are_in_millimetres_along_each_axis() {
    // Voxels of 2 x 3 x 5 mm.
    let dot = |place: [usize; 3]| mask([4, 4, 4], |at| at == place);
    for (place, mm) in [([2, 1, 1], 2.0), ([1, 2, 1], 3.0), ([1, 1, 2], 5.0), ([2, 2, 1], 13_f64.sqrt())] {
        let distances = SurfaceDistances::between(&dot([1, 1, 1]), &dot(place)).unwrap();
        assert_eq!([distances.hausdorff(95.0), distances.mean_average(), distances.average_symmetric()], [mm; 3]);
        assert_eq!([distances.surface_dice(mm - 0.01), distances.surface_dice(mm)], [0.0, 1.0]);
    }
}

#[test]
fn a_missed_bleed_and_a_false_one_are_the_worst_and_two_empty_masks_agree() {
    let (some, none) = (mask([6, 6, 6], |at| at[2] > 2), mask([6, 6, 6], |_| false));
    let missed = measure(&[none.clone(), some.clone()]);
    assert_eq!((missed.dice, missed.jaccard, missed.surface_dice, missed.lesion_f1), (0.0, Some(0.0), 0.0, 0.0));
    assert_eq!((missed.sensitivity, missed.precision, missed.hd95_mm), (Some(0.0), Some(0.0), None));
    // 6 voxels of 2 x 3 x 5 mm.
    assert!((missed.diagonal_mm - (12_f64.powi(2) + 18_f64.powi(2) + 30_f64.powi(2)).sqrt()).abs() < 1e-12);
    let false_one = measure(&[some, none.clone()]);
    assert_eq!((false_one.dice, false_one.sensitivity, false_one.precision), (0.0, None, Some(0.0)));
    assert!((false_one.false_positive_ml - 108.0 * 0.03).abs() < 1e-12);
    let clear = measure(&[none.clone(), none]);
    assert_eq!((clear.dice, clear.surface_dice, clear.lesion_f1, clear.hd95_mm), (1.0, 1.0, 1.0, Some(0.0)));
    assert_eq!((clear.jaccard, clear.sensitivity, clear.precision), (None, None, None));
}

#[test]
fn a_lesion_is_found_once_and_by_enough_overlap() {
    let row = |text: &str| {
        let row: Vec<bool> = text.chars().map(|character| character == '#').collect();
        mask([row.len(), 1, 1], |at| row[at[0]])
    };
    let lesions = |automated: &str, manual: &str, iou: f64| {
        let lesions = Lesions::of(&row(automated), &row(manual), iou);
        ([lesions.automated, lesions.manual, lesions.matched], lesions.f1())
    };
    assert_eq!(lesions("##.##.....", "##....####", 0.1), ([2, 2, 1], 0.5));
    // Cut in two: one of the pieces is false.
    assert_eq!(lesions("##.###", "######", 0.1), ([2, 1, 1], 2.0 / 3.0));
    // One over two: one of them is missed.
    assert_eq!(lesions("######", "##.###", 0.1), ([1, 2, 1], 2.0 / 3.0));
    // Exactly the threshold is not above it.
    assert_eq!([lesions("##", "#.", 0.5).0[2], lesions("##", "#.", 0.49).0[2]], [0, 1]);
}

#[test]
fn lesions_that_touch_at_a_corner_are_one() {
    let diagonal = mask([3, 3, 3], |[i, j, k]| i == j && j == k);
    assert_eq!(Lesions::of(&diagonal, &diagonal, 0.1), Lesions { automated: 1, manual: 1, matched: 1 });
}

#[test]
fn a_distance_of_just_the_tolerance_is_within_it() {
    // From 0.4 to 2.4 mm are 2.0000000000000004 mm in floating point.
    let affine = Affine::new([[0.4, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.4]], [0.0; 3]);
    let voxel = |at: usize| Volume::new(Grid { shape: [10, 1, 1], affine }, (0..10).map(|i| i == at).collect());
    let distances = SurfaceDistances::between(&voxel(6), &voxel(1)).unwrap();
    assert_eq!((distances.surface_dice(2.0), distances.surface_dice(1.99)), (1.0, 0.0));
}

#[test]
fn the_diagonal_of_a_sheared_grid_is_its_longest() {
    let affine = Affine::new([[1.0, -0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [7.0; 3]);
    let empty = Volume::new(Grid { shape: [4; 3], affine }, vec![false; 64]);
    // From (4, 0, 0) to (0, 4, 4): 6, 4 and 4 mm.
    let case = measure(&[empty.clone(), empty]);
    assert!((case.diagonal_mm - 68.0_f64.sqrt()).abs() < 1e-9, "{}", case.diagonal_mm);
}
