//! Figures 2, 5 and 6 of the DeepBleed paper: distribution of Dice, volumes against each other, Bland-Altman.

use super::loess::loess;
use crate::draw::axes::Axes;
use crate::draw::drawing::{BLACK, BLUE, Drawing, GREEN, ORANGE, RED};
use crate::evaluation::Case;
use crate::evaluation::results::FAILED_BELOW;
use crate::evaluation::statistics::{Agreement, FEWEST, NEAR_ML};
use crate::words::counted;

/// Bars of the distribution: 0.05 of Dice each.
const BARS: usize = 20;

/// Figure 2: how many cases have which Dice, with the median and the limit of failure.
pub fn distribution(cases: &[&Case], median: f64, footer: &str) -> Drawing {
    let mut counts = [0; BARS];
    for case in cases {
        counts[((case.dice * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    // At least five, so that the axis counts whole cases.
    let most = f64::from(counts.into_iter().max().unwrap_or(0).max(5));
    let title = format!("Figure 2. Dice of {} with a bleed", counted(cases.len(), "case"));
    let mut axes = Axes::new(&title, footer, ["Dice", "cases"], [0.0, 1.0], [0.0, most]);
    for (bar, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        axes.bar([bar, bar + 1].map(|n| n as f64 / BARS as f64), f64::from(count), BLUE);
    }
    axes.curve(&[[median, 0.0], [median, most]], false, ORANGE);
    axes.curve(&[[FAILED_BELOW, 0.0], [FAILED_BELOW, most]], true, RED);
    axes.legend(&format!("median {median:.3}"), ORANGE);
    axes.legend(&format!("failed below {FAILED_BELOW}"), RED);
    axes.finish()
}

/// Figure 5: automated against manual volume, with identity, the least-squares line and loess.
pub fn scatter(cases: &[&Case], footer: &str) -> Drawing {
    let points: Vec<[f64; 2]> = cases.iter().map(|case| [case.manual_ml, case.automated_ml]).collect();
    let most = points.iter().flatten().copied().fold(0.0, f64::max);
    let title = format!("Figure 5. Volumes of {} with a bleed", counted(cases.len(), "case"));
    let mut axes = Axes::new(&title, footer, ["manual mL", "automated mL"], [0.0, most], [0.0, most]);
    axes.dots(&points, BLUE);
    axes.curve(&[[0.0; 2], [axes.x()[1]; 2]], true, BLACK);
    axes.legend("identity", BLACK);
    if let Some([intercept, slope]) = least_squares(&points) {
        let ends = axes.x().map(|x| [x, intercept + slope * x]);
        axes.curve(&ends, false, RED);
        axes.legend(&format!("linear {intercept:+.2} {slope:+.3} x"), RED);
    }
    if points.len() >= FEWEST {
        axes.curve(&loess(&points), false, GREEN);
        axes.legend("loess", GREEN);
    }
    axes.finish()
}

/// Figure 6: the difference against the mean of both volumes, with the mean difference, the limits of agreement and 5 mL.
pub fn bland_altman(cases: &[&Case], agreement: &Agreement, footer: &str) -> Drawing {
    let points: Vec<[f64; 2]> =
        cases.iter().map(|case| [(case.manual_ml + case.automated_ml) / 2.0, case.difference_ml]).collect();
    let limits = agreement.limits_ml.into_iter().flatten();
    let heights: Vec<f64> = points.iter().map(|point| point[1]).chain(limits).chain([-NEAR_ML, NEAR_ML]).collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let high = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let most = points.iter().map(|point| point[0]).fold(0.0, f64::max);
    let title = format!("Figure 6. Bland-Altman, {} with a bleed", counted(cases.len(), "case"));
    let names = ["mean of automated and manual mL", "automated - manual mL"];
    let mut axes = Axes::new(&title, footer, names, [0.0, most], [low, high]);
    axes.dots(&points, BLUE);
    let across = |y: f64, axes: &Axes| axes.x().map(|x| [x, y]);
    for y in [-NEAR_ML, NEAR_ML] {
        axes.curve(&across(y, &axes), true, GREEN);
    }
    axes.curve(&across(agreement.mean_difference_ml, &axes), false, BLACK);
    axes.legend(&format!("mean {:.2} mL", agreement.mean_difference_ml), BLACK);
    if let Some(limits) = agreement.limits_ml {
        for y in limits {
            axes.curve(&across(y, &axes), false, RED);
        }
        axes.legend(&format!("limits {:.2} to {:.2} mL", limits[0], limits[1]), RED);
    }
    axes.legend("5 mL", GREEN);
    axes.finish()
}

/// Intercept and slope of the least-squares line; none for fewer than [`FEWEST`] points and where all x are equal.
fn least_squares(points: &[[f64; 2]]) -> Option<[f64; 2]> {
    let n = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>() / n;
    let (x, y) = (mean(0), mean(1));
    let xx: f64 = points.iter().map(|point| (point[0] - x).powi(2)).sum();
    let xy: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
    (points.len() >= FEWEST && xx > 0.0).then(|| [y - xy / xx * x, xy / xx])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Settings, evaluate, pairs::Pair};
    use crate::volume::testing::mask;

    fn case(dice: f64, manual_ml: f64, automated_ml: f64) -> Case {
        let path = std::path::PathBuf::from("a.nii");
        let [name, patient, subgroup] = [const { String::new() }; 3];
        let pair = Pair { name, patient, subgroup, automated: path.clone(), manual: path, scan: None };
        let empty = || mask([2; 3], |_| false);
        let made = evaluate(&pair, &[empty(), empty()], &Settings::default());
        Case { dice, manual_ml, automated_ml, difference_ml: automated_ml - manual_ml, ..made }
    }

    fn contains(drawing: &Drawing, shapes: &[&str]) {
        let svg = drawing.svg();
        for shape in shapes {
            assert!(svg.contains(shape), "{shape} is not in {svg}");
        }
    }

    // The box of a diagram goes from (62, 398), where both values are least, to (596, 58).

    #[test]
    fn each_bar_is_as_high_as_there_are_cases_of_its_dice() {
        let cases = [0.0, 0.05, 0.05, 0.42, 1.0].map(|dice| case(dice, 1.0, 1.0));
        let drawing = distribution(&cases.each_ref(), 0.05, "");
        assert_eq!(drawing.svg().matches("fill=\"#1f77b4\"").count(), 4);
        // 26.7 units to a bar, 68 to a case: the axis has five at least.
        contains(
            &drawing,
            &[
                "<rect x=\"63.00\" y=\"330.00\" width=\"24.70\" height=\"68.00\"",
                "<rect x=\"89.70\" y=\"262.00\" width=\"24.70\" height=\"136.00\"",
                "<rect x=\"276.60\" y=\"330.00\" width=\"24.70\" height=\"68.00\"",
                "<rect x=\"570.30\" y=\"330.00\" width=\"24.70\" height=\"68.00\"",
                "<line x1=\"88.70\" y1=\"398.00\" x2=\"88.70\" y2=\"58.00\" stroke=\"#e67e00\"",
                "<line x1=\"329.00\" y1=\"398.00\" x2=\"329.00\" y2=\"58.00\" stroke=\"#d62728\"",
            ],
        );
    }

    #[test]
    fn volumes_lie_on_their_places_with_identity_line_and_loess() {
        let cases = [[10.0, 14.0], [20.0, 20.0], [30.0, 35.0]].map(|[manual, automated]| case(0.8, manual, automated));
        // 0 to 35 mL; the line 2 + 1.05 x leaves the box at 31.43 mL; loess of three points goes through them.
        contains(
            &scatter(&cases.each_ref(), ""),
            &[
                ">35</text>",
                "<circle cx=\"214.57\" cy=\"262.00\"",
                "<circle cx=\"367.14\" cy=\"203.71\"",
                "<circle cx=\"519.71\" cy=\"58.00\"",
                "<line x1=\"62.00\" y1=\"398.00\" x2=\"596.00\" y2=\"58.00\" stroke=\"#000000\"",
                "<line x1=\"62.00\" y1=\"378.57\" x2=\"541.51\" y2=\"58.00\" stroke=\"#d62728\"",
                ">linear +2.00 +1.050 x<",
                "<line x1=\"214.57\" y1=\"262.00\" x2=\"367.14\" y2=\"203.71\" stroke=\"#2c8c2c\"",
                "<line x1=\"367.14\" y1=\"203.71\" x2=\"519.71\" y2=\"58.00\" stroke=\"#2c8c2c\"",
                ">loess<",
            ],
        );
        let two = scatter(&cases.each_ref()[..2], "").svg();
        assert!(!two.contains("linear") && !two.contains("loess"), "{two}");
        let upright = scatter(&[&case(0.8, 10.0, 1.0), &case(0.8, 10.0, 2.0), &case(0.8, 10.0, 3.0)], "").svg();
        assert!(!upright.contains("linear") && upright.contains("loess"), "{upright}");
    }

    #[test]
    fn differences_lie_over_the_mean_of_both_volumes() {
        let cases = [[10.0, 14.0], [20.0, 20.0], [30.0, 35.0]].map(|[manual, automated]| case(0.8, manual, automated));
        let agreement = Agreement {
            n: 3,
            correlation: None,
            concordance: None,
            rmse_ml: 0.0,
            mse_ml2: 0.0,
            within_5_ml_percent: 100.0,
            mean_difference_ml: 3.0,
            limits_ml: Some([-2.0, 8.0]),
        };
        // 0 to 35 mL and -6 to 8 mL.
        contains(
            &bland_altman(&cases.each_ref(), &agreement, ""),
            &[
                ">35</text>",
                "<circle cx=\"245.09\" cy=\"155.14\"",
                "<circle cx=\"367.14\" cy=\"252.29\"",
                "<circle cx=\"557.86\" cy=\"130.86\"",
                "<line x1=\"62.00\" y1=\"373.71\" x2=\"596.00\" y2=\"373.71\" stroke=\"#2c8c2c\"",
                "<line x1=\"62.00\" y1=\"130.86\" x2=\"596.00\" y2=\"130.86\" stroke=\"#2c8c2c\"",
                "<line x1=\"62.00\" y1=\"179.43\" x2=\"596.00\" y2=\"179.43\" stroke=\"#000000\"",
                "<line x1=\"62.00\" y1=\"300.86\" x2=\"596.00\" y2=\"300.86\" stroke=\"#d62728\"",
                "<line x1=\"62.00\" y1=\"58.00\" x2=\"596.00\" y2=\"58.00\" stroke=\"#d62728\"",
            ],
        );
    }
}
