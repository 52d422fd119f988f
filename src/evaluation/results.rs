//! What all cases come to.

use super::pairs::Pair;
use super::statistics::{Agreement, Summary, percent};
use super::{Case, NO_OVERLAP, Settings};
use crate::batch::inputs;
use crate::batch::report::{RESEARCH_USE_ONLY, Report};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A case whose Dice is lower has failed.
pub(crate) const FAILED_BELOW: f64 = 0.5;

/// A measure over the cases with a bleed: a row of Table 1.
#[derive(Debug, Serialize)]
pub struct Measure {
    /// The column of cases.csv.
    pub column: &'static str,
    /// Its name for people.
    pub title: String,
    /// Over the cases with a bleed.
    pub summary: Option<Summary>,
    /// Percent of cases that failed; for Dice alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_percent: Option<f64>,
}

/// The cases with a bleed of a subgroup: a row of Table 2, and one of Table 3.
#[derive(Debug, Serialize)]
pub struct Subgroup {
    /// Its name.
    pub name: String,
    /// Dice.
    pub dice: Option<Summary>,
    /// Percent of cases that failed.
    pub failed_percent: Option<f64>,
    /// Volumes.
    pub volumes: Option<Agreement>,
}

/// The cases whose manual mask is empty.
#[derive(Debug, Serialize)]
pub struct WithoutBleed {
    /// Volume of the automated mask, mL.
    pub false_positive_ml: Summary,
    /// Percent of them whose automated mask is empty too.
    pub clear_percent: f64,
}

/// A case that could not be compared.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

/// What should be known of a case.
#[derive(Debug, Serialize)]
pub struct Remark {
    /// Its name.
    pub name: String,
    /// The sentence.
    pub remark: String,
}

/// Weights that made automated masks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MaskWeights {
    /// Their name.
    pub name: String,
    /// SHA-256 of their file.
    pub sha256: String,
}

/// The weights that the reports of `ichor segment` beside the automated masks name, each once; a mask without a report adds none.
pub fn weights_of(pairs: &[Pair]) -> Vec<MaskWeights> {
    let report = |pair: &Pair| -> Option<MaskWeights> {
        let name = pair.automated.file_name()?.to_string_lossy().into_owned();
        let path = pair.automated.with_file_name(format!("{}.json", inputs::stem(&name)?));
        let report: Report = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        Some(MaskWeights { name: report.weights.name, sha256: report.weights.sha256 })
    };
    let each: BTreeSet<MaskWeights> = pairs.iter().filter_map(report).collect();
    each.into_iter().collect()
}

/// What all cases come to; summary.json.
#[derive(Debug, Serialize)]
pub struct Results {
    /// For research use only.
    pub notice: &'static str,
    /// Version of ichor.
    pub ichor_version: &'static str,
    /// What was chosen.
    pub settings: Settings,
    /// Cases that were compared.
    pub cases: usize,
    /// Cases whose manual mask is not empty: those of Tables 1, 2 and 3.
    pub with_bleed: usize,
    /// Cases with a bleed whose automated mask is empty: their distances count as the diagonal of their grid.
    pub nothing_found: usize,
    /// Cases that have blood in both masks.
    pub both_with_blood: usize,
    /// Names of those of them whose masks do not overlap at all.
    pub no_overlap: Vec<String>,
    /// What should be known of cases.
    pub remarks: Vec<Remark>,
    /// Table 1.
    pub measures: Vec<Measure>,
    /// Table 2, by name.
    pub subgroups: Vec<Subgroup>,
    /// Table 3.
    pub volumes: Option<Agreement>,
    /// The cases without a bleed, where there are any.
    pub without_bleed: Option<WithoutBleed>,
    /// Cases that could not be compared.
    pub failed: Vec<Failure>,
    /// Masks without a partner.
    pub without_partner: Vec<String>,
    /// The weights that made the automated masks, as far as reports beside them say.
    pub weights: Vec<MaskWeights>,
    /// The files that were written besides summary.json, by name; of them alone a later evaluation removes any.
    pub outputs: Vec<String>,
}

/// A measure of a case as it counts in a table: its column, its title, its value.
type Column = (&'static str, &'static str, fn(&Case) -> Option<f64>);

/// The measures of Table 1. A distance that a missed bleed leaves undefined is the worst: the diagonal of the grid (Metrics Reloaded).
const MEASURES: [Column; 11] = [
    ("dice", "Dice (DSC)", |case| Some(case.dice)),
    ("jaccard", "Jaccard (IoU)", |case| case.jaccard),
    ("surface_dice", "Surface Dice (NSD)", |case| Some(case.surface_dice)),
    ("hd95_mm", "HD95 mm", |case| case.hd95_mm.or(Some(case.diagonal_mm))),
    ("masd_mm", "Mean surface distance (MASD) mm", |case| case.masd_mm.or(Some(case.diagonal_mm))),
    ("assd_mm", "Average symmetric surface distance (ASSD) mm", |case| case.assd_mm.or(Some(case.diagonal_mm))),
    ("sensitivity", "Sensitivity", |case| case.sensitivity),
    ("precision", "Precision (PPV)", |case| case.precision),
    ("lesion_f1", "Lesion F1", |case| Some(case.lesion_f1)),
    ("difference_ml", "Volume difference mL", |case| Some(case.difference_ml)),
    ("absolute_difference_ml", "Absolute volume difference mL", |case| Some(case.difference_ml.abs())),
];

impl Results {
    /// What `cases` come to.
    pub fn of(cases: &[Case], settings: &Settings) -> Results {
        let (bleeding, clear): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.manual_ml > 0.0);
        let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for case in bleeding.iter().filter(|case| !case.subgroup.is_empty()) {
            groups.entry(&case.subgroup).or_default().push(case);
        }
        let subgroups = groups.into_iter().map(|(name, cases)| Subgroup {
            name: name.into(),
            dice: summary(&cases, |case| Some(case.dice)),
            failed_percent: failed_percent(&cases),
            volumes: agreement(&cases),
        });
        let measures = MEASURES.map(|(column, title, value)| Measure {
            column,
            title: title_of(column, title, settings),
            summary: summary(&bleeding, value),
            failed_percent: if column == "dice" { failed_percent(&bleeding) } else { None },
        });
        let without_bleed = summary(&clear, |case| Some(case.false_positive_ml)).map(|false_positive_ml| {
            let volumes: Vec<f64> = clear.iter().map(|case| case.automated_ml).collect();
            WithoutBleed { false_positive_ml, clear_percent: percent(&volumes, |ml| ml == 0.0) }
        });
        let apart = bleeding.iter().filter(|case| case.automated_ml > 0.0 && case.dice == 0.0);
        // Those that do not overlap are named together.
        let remarked = cases.iter().filter(|case| !case.remark.is_empty() && case.remark != NO_OVERLAP);
        let remarks = remarked.map(|case| Remark { name: case.name.clone(), remark: case.remark.clone() });
        Results {
            notice: RESEARCH_USE_ONLY,
            ichor_version: env!("CARGO_PKG_VERSION"),
            settings: *settings,
            cases: cases.len(),
            with_bleed: bleeding.len(),
            nothing_found: bleeding.iter().filter(|case| case.automated_ml == 0.0).count(),
            both_with_blood: bleeding.iter().filter(|case| case.automated_ml > 0.0).count(),
            no_overlap: apart.map(|case| case.name.clone()).collect(),
            remarks: remarks.collect(),
            measures: measures.into(),
            subgroups: subgroups.collect(),
            volumes: agreement(&bleeding),
            without_bleed,
            failed: Vec::new(),
            without_partner: Vec::new(),
            weights: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

fn title_of(column: &str, title: &str, settings: &Settings) -> String {
    match column {
        "surface_dice" => format!("{title} at {} mm", settings.tolerance_mm),
        "lesion_f1" => format!("{title} at IoU > {}", settings.lesion_iou),
        _ => title.into(),
    }
}

fn summary(cases: &[&Case], value: impl Fn(&Case) -> Option<f64>) -> Option<Summary> {
    let values: Vec<(&str, f64)> = cases.iter().filter_map(|case| Some((case.patient.as_str(), value(case)?))).collect();
    Summary::of(&values)
}

fn failed_percent(cases: &[&Case]) -> Option<f64> {
    let dice: Vec<f64> = cases.iter().map(|case| case.dice).collect();
    (!dice.is_empty()).then(|| percent(&dice, |dice| dice < FAILED_BELOW))
}

fn agreement(cases: &[&Case]) -> Option<Agreement> {
    let volumes: Vec<[f64; 2]> = cases.iter().map(|case| [case.automated_ml, case.manual_ml]).collect();
    Agreement::of(&volumes)
}
