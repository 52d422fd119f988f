//! The figures of the DeepBleed paper, as SVG and PNG.

mod charts;
mod loess;
mod overlay;

pub(crate) use crate::draw::drawing::{Drawing, escaped};

use super::results::Results;
use super::{Case, pairs::Pair};

/// The names that figures can have.
pub(super) const NAMES: [&str; 5] =
    ["figure2_distribution", "figure3_median", "figure4_worst", "figure5_scatter", "figure6_bland_altman"];

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
    let footer = &footer(results);
    let [distribution, median_case, worst_cases, scatter, bland_altman] = NAMES;
    let mut figures = vec![Figure { name: distribution, drawing: charts::distribution(&only_cases, dice.median, footer) }];
    let median = &bleeding[(bleeding.len() - 1) / 2..][..1];
    figures.extend(overlays(median_case, "Figure 3. The case with the median Dice", footer, median));
    let worst = &bleeding[..WORST.min(bleeding.len())];
    figures.extend(overlays(worst_cases, "Figure 4. The cases with the lowest Dice", footer, worst));
    figures.push(Figure { name: scatter, drawing: charts::scatter(&only_cases, footer) });
    figures.push(Figure { name: bland_altman, drawing: charts::bland_altman(&only_cases, volumes, footer) });
    figures
}

/// The cases that have a scan, where there is one.
fn overlays(name: &'static str, title: &str, footer: &str, cases: &[(&Pair, &Case)]) -> Option<Figure> {
    let mut rows = Vec::new();
    for (pair, case) in cases.iter().filter(|(pair, _)| pair.scan.is_some()) {
        match overlay::row(pair, case) {
            Ok(row) => rows.push(row),
            Err(error) => log::warn!("{name} lacks {}: {error}", case.name),
        }
    }
    (!rows.is_empty()).then(|| Figure { name, drawing: overlay::draw(title, footer, &rows) })
}

/// What stands below each figure.
fn footer(results: &Results) -> String {
    let names: Vec<&str> = results.weights.iter().map(|weights| weights.name.as_str()).collect();
    let weights = if names.is_empty() { "not known".into() } else { names.join(", ") };
    format!("{} Weights: {weights}.", results.notice)
}

#[cfg(test)]
mod tests {
    use super::super::results::MaskWeights;
    use super::super::{Settings, evaluate};
    use super::*;
    use crate::volume::testing::mask;

    /// Cases whose automated mask is a slice larger than the manual one, which has one to `count` slices.
    fn cases(count: usize) -> (Vec<Pair>, Vec<Case>) {
        let slices = |slices: usize| mask([20, 20, 12], |place| place[2] < slices);
        let made = (1..=count).map(|n| {
            let (name, path) = (format!("case {n}"), std::path::PathBuf::from("a.nii"));
            let pair =
                Pair { patient: name.clone(), name, automated: path.clone(), manual: path, scan: None, subgroup: String::new() };
            let case = evaluate(&pair, &[slices(n + 1), slices(n)], &Settings::default());
            (pair, case)
        });
        made.unzip()
    }

    fn drawn(count: usize) -> Vec<(&'static str, String)> {
        let (pairs, cases) = cases(count);
        let weights = vec![MaskWeights { name: "net.safetensors".into(), sha256: String::new() }];
        let results = Results { weights, ..Results::of(&cases, &Settings::default()) };
        let figures = all(&pairs.iter().collect::<Vec<_>>(), &cases, &results);
        figures.iter().for_each(|figure| assert!(!figure.drawing.png().unwrap().is_empty()));
        figures.into_iter().map(|figure| (figure.name, figure.drawing.svg())).collect()
    }

    #[test]
    fn figures_show_each_case_and_say_which_weights() {
        let figures = drawn(7);
        assert_eq!(
            figures.iter().map(|figure| figure.0).collect::<Vec<_>>(),
            ["figure2_distribution", "figure5_scatter", "figure6_bland_altman"]
        );
        for (name, svg) in &figures {
            assert!(svg.contains("For research use only, not for diagnosis. Weights: net.safetensors."), "{name}");
            assert_eq!(svg.matches("<circle").count(), if *name == "figure2_distribution" { 0 } else { 7 }, "{name}");
        }
        // A slice is 400 voxels of 2 x 3 x 5 mm: automated = manual + 12 mL.
        assert!(figures[1].1.contains(">linear +12.00 +1.000 x</text>"), "{}", figures[1].1);
        assert!(figures[2].1.contains(">mean 12.00 mL</text>") && figures[2].1.contains(">limits 12.00 to 12.00 mL</text>"));
        // Dice 2 n / (2 n + 1), of which the middle one is 8 / 9.
        assert!(figures[0].1.contains(">median 0.889</text>"), "{}", figures[0].1);
    }

    #[test]
    fn one_case_can_be_drawn_and_none_is_no_figure() {
        assert_eq!(drawn(1).len(), 3);
        assert!(drawn(0).is_empty());
    }

    #[test]
    fn cases_with_scans_are_shown_the_middle_one_and_the_worst_and_those_without_a_bleed_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, low: usize, high: usize| {
            let path = folder.path().join(name);
            let slices = mask([20, 20, 12], |place| place[2] >= low && place[2] < high).map(|&inside| u8::from(inside));
            crate::io::nifti::write(&path, &slices, &crate::io::nifti::Header::for_grid(slices.grid()).unwrap()).unwrap();
            path
        };
        let scan = write("scan.nii", 0, 12);
        // Dice 2 n / (2 n + 1); the first has no bleed.
        let pairs: Vec<Pair> = (0..=6)
            .map(|n| Pair {
                name: format!("case {n}"),
                patient: format!("case {n}"),
                automated: write(&format!("automated{n}.nii"), 0, n + 1),
                manual: write(&format!("manual{n}.nii"), 0, n),
                scan: Some(scan.clone()),
                subgroup: String::new(),
            })
            .collect();
        let cases: Vec<Case> = pairs.iter().map(|pair| super::super::compare(pair, &Settings::default()).unwrap()).collect();
        let results = Results::of(&cases, &Settings::default());
        let figures = all(&pairs.iter().collect::<Vec<_>>(), &cases, &results);
        assert_eq!(figures.iter().map(|figure| figure.name).collect::<Vec<_>>(), NAMES);
        let captions = |figure: &Figure| {
            let svg = figure.drawing.svg();
            let shown = |n: &usize| svg.contains(&format!(">case {n}: Dice "));
            (0..=6).filter(shown).collect::<Vec<usize>>()
        };
        assert_eq!((captions(&figures[1]), captions(&figures[2])), (vec![3], vec![1, 2, 3]));
        assert!(figures[1].drawing.svg().contains(">case 3: Dice 0.857, manual 36.0 mL, automated 48.0 mL<"));
        assert_eq!(figures[3].drawing.svg().matches("<circle").count(), 6);
    }
}
