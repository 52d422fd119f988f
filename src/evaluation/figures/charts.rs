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
