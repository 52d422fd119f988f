//! The measures of a case against their definitions, voxel by voxel.

use super::pairs::Pair;
use super::results::{Failure, Results, weights_of};
use super::surface::SurfaceDistances;
use super::{Case, NO_OVERLAP, Settings, compare, evaluate, lesions::Lesions, metrics::Counts, page, tables};
use crate::batch::report::Report;
use crate::io::nifti;
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
    // Along x the longest is 1 + 0.5 + 0.5 steps, from another corner each time.
    for (of_y, of_z) in [(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)] {
        let affine = Affine::new([[1.0, of_y, of_z], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [7.0; 3]);
        let empty = Volume::new(Grid { shape: [4; 3], affine }, vec![false; 64]);
        let case = measure(&[empty.clone(), empty]);
        assert!((case.diagonal_mm - 96.0_f64.sqrt()).abs() < 1e-9, "{of_y} {of_z}: {}", case.diagonal_mm);
    }
}

/// Two files of masks in a folder that is gone with the first value.
fn files(automated: impl Fn([usize; 3]) -> u8, manual: impl Fn([usize; 3]) -> u8) -> (tempfile::TempDir, Pair) {
    let folder = tempfile::tempdir().unwrap();
    let grid = mask([8; 3], |_| false).grid().clone();
    let header = nifti::Header::for_grid(&grid).unwrap();
    let write = |name: &str, label: &dyn Fn([usize; 3]) -> u8| {
        let voxels = (0..grid.len()).map(|n| label(grid.ijk(n))).collect();
        nifti::write(folder.path().join(name), &Volume::new(grid.clone(), voxels), &header).unwrap();
        folder.path().join(name)
    };
    let (automated, manual) = (write("a_ich.nii.gz", &automated), write("manual.nii.gz", &manual));
    (folder, Pair { automated, manual, ..pair() })
}

#[test]
fn what_is_odd_about_two_masks_is_remarked() {
    let remark = |automated: &dyn Fn([usize; 3]) -> u8, manual: &dyn Fn([usize; 3]) -> u8| {
        let (_folder, pair) = files(automated, manual);
        compare(&pair, &Settings::default()).unwrap().remark
    };
    // Neither mirrored nor moved would they overlap: a few voxels and many.
    let (few, many) = (|[i, j, k]: [usize; 3]| u8::from(i + j + k < 2), |[i, ..]: [usize; 3]| u8::from(i > 4));
    assert_eq!(remark(&few, &many), "its two masks do not overlap at all");
    for empty in [remark(&few, &|_| 0), remark(&|_| 0, &many), remark(&|_| 0, &|_| 0), remark(&many, &many)] {
        assert_eq!(empty, "");
    }
    let labels =
        |most: u8| move |[i, j, _]: [usize; 3]| if i > 4 { (j as u8 + 1).min(most) } else { 9 * u8::from(most == 9 && i == 4) };
    assert_eq!(
        remark(&labels(9), &labels(2)),
        "its automated mask holds the labels 1, 2, 3, 4, 5, 6, 7, 8, ..: all count as inside; \
         its manual mask holds the labels 1, 2: all count as inside"
    );
    assert_eq!(remark(&labels(8), &many), "its automated mask holds the labels 1, 2, 3, 4, 5, 6, 7, 8: all count as inside");
}

#[test]
fn a_mask_that_is_compared_with_itself_is_told() {
    let (_folder, pair) = files(|[i, ..]| u8::from(i > 4), |[i, ..]| u8::from(i > 4));
    let remark = |pair: &Pair| compare(pair, &Settings::default()).unwrap().remark;
    assert_eq!(remark(&pair), "", "alike, but two");
    assert_eq!(remark(&Pair { manual: pair.automated.clone(), ..pair }), "its two masks are one file");
}

#[test]
fn weights_are_named_by_the_reports_beside_automated_masks() {
    let (folder, pair) = files(|_| 1, |_| 1);
    assert!(weights_of(std::slice::from_ref(&pair)).is_empty());
    let report = Report::example("a");
    std::fs::write(folder.path().join("a_ich.json"), serde_json::to_vec(&report).unwrap()).unwrap();
    let weights = weights_of(&[pair.clone(), pair]);
    assert_eq!(weights.len(), 1);
    assert_eq!((&weights[0].name, &weights[0].sha256), (&report.weights.name, &report.weights.sha256));
}

/// Cases by name: the slices of the automated mask, and those of the manual one.
fn cases(slices: &[(&str, std::ops::Range<usize>, std::ops::Range<usize>)]) -> Vec<Case> {
    let of = |slices: &std::ops::Range<usize>| mask([4, 4, 8], |[_, _, k]| slices.contains(&k));
    let case = |(name, automated, manual): &(&str, _, _)| Case {
        name: name.to_string(),
        patient: name.to_string(),
        ..measure(&[of(automated), of(manual)])
    };
    slices.iter().map(case).collect()
}

#[test]
fn results_say_what_was_found_where_and_what_is_doubtful() {
    let mut cases = cases(&[
        ("good", 0..4, 0..4),
        ("half", 0..1, 0..3),
        ("apart", 0..1, 4..6),
        ("missed", 0..0, 1..2),
        ("false", 1..2, 0..0),
        ("clear", 0..0, 0..0),
    ]);
    cases[0].remark = "its header says so".into();
    cases[2].remark = NO_OVERLAP.into();
    assert_eq!(cases[1].dice, 0.5, "just the limit is no failure");
    let results = Results::of(&cases, &Settings { tolerance_mm: 1.5, lesion_iou: 0.2 });
    assert_eq!((results.cases, results.with_bleed, results.nothing_found, results.both_with_blood), (6, 4, 1, 3));
    assert_eq!(results.no_overlap, ["apart"]);
    assert_eq!(results.remarks.len(), 1, "those that do not overlap are named together");
    let titles: Vec<&str> = results.measures.iter().map(|measure| measure.title.as_str()).collect();
    assert_eq!([titles[0], titles[2], titles[8]], ["Dice (DSC)", "Surface Dice (NSD) at 1.5 mm", "Lesion F1 at IoU > 0.2"]);
    assert_eq!(results.measures[0].failed_percent, Some(50.0));
    assert_eq!(results.without_bleed.as_ref().unwrap().clear_percent, 50.0);
    assert_eq!(
        tables::doubts(&results),
        ["In 1 of 3 cases with blood in both masks the two do not overlap at all: apart.", "good: its header says so."]
    );
    // All of it is on the page.
    let html = page::html(&cases, &results, &[]);
    for part in ["Lesion F1 at IoU &gt; 0.2", "<td>missed</td>", "<p>good: its header says so.</p>", "<th>% failed</th>"] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn remarks_agree_with_how_many_they_are_about() {
    let mut results = Results::of(&cases(&[("a", 0..2, 0..2)]), &Settings::default());
    assert_eq!(
        tables::remarks(&results),
        [
            "Weights of the automated masks: not known, no report of ichor segment lies beside them.",
            "1 case, 1 with a bleed in the manual mask."
        ]
    );
    let last = |results: &Results| tables::remarks(results).pop().unwrap();
    results.nothing_found = 1;
    assert_eq!(last(&results), "In 1 of them nothing was found: its distances count as the diagonal of its grid.");
    results.nothing_found = 2;
    assert_eq!(last(&results), "In 2 of them nothing was found: their distances count as the diagonal of their grid.");
    results.without_partner = vec!["a.nii".into()];
    assert_eq!(last(&results), "1 mask has no partner and is in no table: a.nii");
    results.without_partner.push("b.nii".into());
    assert_eq!(last(&results), "2 masks have no partner and are in no table: a.nii, b.nii");
    results.without_partner.clear();
    let failure = |name: &str| Failure { name: name.into(), error: "no mask".into() };
    results.failed = vec![failure("c")];
    assert_eq!(last(&results), "1 case could not be compared and is in no table: c (no mask)");
    results.failed.push(failure("d"));
    assert_eq!(last(&results), "2 cases could not be compared and are in no table: c (no mask); d (no mask)");
    // Half of the pairs, or more: they may be wrong. Ten are named.
    let apart = |count: usize, of: usize| {
        let mut results = Results::of(&[], &Settings::default());
        (results.no_overlap, results.both_with_blood) = ((0..count).map(|n| n.to_string()).collect(), of);
        tables::doubts(&results).join("")
    };
    assert!(apart(0, 4).is_empty());
    assert!(apart(1, 3).ends_with("at all: 0."), "{}", apart(1, 3));
    for (count, of) in [(2, 4), (3, 4)] {
        assert!(apart(count, of).contains(". Are the pairs right?"), "{}", apart(count, of));
    }
    assert!(apart(10, 90).ends_with(", 8, 9."), "{}", apart(10, 90));
    assert!(apart(11, 90).ends_with(", 8, 9, ..."), "{}", apart(11, 90));
}

#[test]
fn a_table_says_why_a_cell_is_empty() {
    let tables = |cases: &[Case]| tables::all(&Results::of(cases, &Settings::default()));
    let named = |count: usize| {
        let slices: Vec<_> = ["a", "b", "c", "d"].into_iter().take(count).map(|name| (name, 0..2, 0..3)).collect();
        cases(&slices)
    };
    // Interval and standard deviation of Dice; correlation and limits of agreement of volumes.
    let cells = |cases: &[Case]| {
        let [overlap, volumes] = <[tables::Table; 2]>::try_from(tables(cases)).ok().expect("no subgroup, and all have a bleed");
        [&overlap.rows[0][3], &overlap.rows[0][4], &volumes.rows[0][2], &volumes.rows[0][8]].map(String::from)
    };
    assert_eq!(cells(&named(2)), ["n < 3", "n < 3", "n < 3", "n < 3"]);
    // Three equal volumes have no correlation.
    let [_, deviation, correlation, limits] = cells(&named(3));
    assert_eq!((deviation.as_str(), correlation.as_str(), limits.as_str()), ("0.000", "\u{2014}", "-0.48 to -0.48"));
    let of_one: Vec<Case> = named(4).into_iter().map(|case| Case { patient: "a".into(), ..case }).collect();
    assert_eq!(cells(&of_one)[0], "n < 3 patients");
    let of_one: Vec<Case> = named(3).into_iter().map(|case| Case { patient: "a".into(), ..case }).collect();
    assert_eq!(cells(&of_one)[0], "n < 3 patients", "the cases are enough");
}
