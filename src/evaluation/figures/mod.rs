//! The figures of the DeepBleed paper, as SVG and PNG.

mod axes;
mod charts;
mod drawing;
mod loess;
mod overlay;
mod raster;

pub use drawing::{Drawing, escaped};
pub use loess::loess;

use super::results::Results;
use super::{Case, pairs::Pair};

/// The worst cases that are shown.
const WORST: usize = 3;

/// A figure: the name of its files, and what is drawn.
pub struct Figure {
    /// File name without ending.
    pub name: &'static str,
    /// The drawing.
    pub drawing: Drawing,
}

/// The figures that can be drawn: all where there is a case with a bleed and the scans are known. `pairs` and `cases` are in the same order.
/// A scan that cannot be used is told on the log and left out.
pub fn all(pairs: &[&Pair], cases: &[Case], results: &Results) -> Vec<Figure> {
    let mut bleeding: Vec<(&Pair, &Case)> = pairs.iter().copied().zip(cases).filter(|(_, case)| case.manual_ml > 0.0).collect();
    // Equal ones stay in the order of their names.
    bleeding.sort_by(|one, other| one.1.dice.total_cmp(&other.1.dice));
    let only_cases: Vec<&Case> = bleeding.iter().map(|(_, case)| *case).collect();
    let (Some(dice), Some(volumes)) = (results.measures.first().and_then(|dice| dice.summary.as_ref()), &results.volumes) else {
        return Vec::new();
    };
    let mut figures = vec![Figure { name: "figure2_distribution", drawing: charts::distribution(&only_cases, dice.median) }];
    let median = &bleeding[(bleeding.len() - 1) / 2..][..1];
    figures.extend(overlays("figure3_median", "Figure 3. The case with the median Dice", median));
    let worst = &bleeding[..WORST.min(bleeding.len())];
    figures.extend(overlays("figure4_worst", "Figure 4. The cases with the lowest Dice", worst));
    figures.push(Figure { name: "figure5_scatter", drawing: charts::scatter(&only_cases) });
    figures.push(Figure { name: "figure6_bland_altman", drawing: charts::bland_altman(&only_cases, volumes) });
    figures
}

/// The cases that have a scan, where there is one.
fn overlays(name: &'static str, title: &str, cases: &[(&Pair, &Case)]) -> Option<Figure> {
    let mut rows = Vec::new();
    for (pair, case) in cases.iter().filter(|(pair, _)| pair.scan.is_some()) {
        match overlay::row(pair, case) {
            Ok(row) => rows.push(row),
            Err(error) => log::warn!("{name} lacks {}: {error}", case.name),
        }
    }
    (!rows.is_empty()).then(|| Figure { name, drawing: overlay::draw(title, &rows) })
}
