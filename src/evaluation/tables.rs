//! The tables of the DeepBleed paper, as rows of text for people.

use super::Case;
use super::csv_files::ALL;
use super::results::{Remark, Results};
use super::statistics::{Agreement, FEWEST, Summary};
use crate::words::counted;

/// A cell of what is not defined.
const NONE: &str = "\u{2014}";

/// The same of a statistic over `n` cases, with the reason where these are too few.
fn missing(n: usize) -> String {
    if n < FEWEST { format!("n < {FEWEST}") } else { NONE.into() }
}

/// The same of an interval: where the cases are enough, it is their patients who are too few.
fn without_interval(n: usize) -> String {
    if n < FEWEST { missing(n) } else { format!("n < {FEWEST} patients") }
}

/// A table of text.
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Its rows, with a cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: String, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
        Table { title, columns: columns.iter().map(|column| column.to_string()).collect(), rows }
    }

    /// As Markdown, the columns in line.
    pub fn markdown(&self) -> String {
        let all = || std::iter::once(&self.columns).chain(&self.rows);
        // Three dashes are the shortest rule.
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let rows: String = self.rows.iter().map(line).collect();
        format!("{}\n\n{}|-{}-|\n{rows}", self.title, line(&self.columns), rule.join("-|-"))
    }
}

/// All tables, in the order in which they are shown.
pub fn all(results: &Results) -> Vec<Table> {
    let mut tables = vec![overlap(results)];
    if !results.subgroups.is_empty() {
        tables.push(by_subgroup(results));
    }
    tables.push(volumes(results));
    tables.extend(without_bleed(results));
    tables
}

/// What must be known beside the tables: which weights, what counts how, what is missing.
pub fn remarks(results: &Results) -> Vec<String> {
    let mut remarks = Vec::new();
    let weights: Vec<String> =
        results.weights.iter().map(|weights| format!("{} (SHA-256 {})", weights.name, weights.sha256)).collect();
    remarks.push(match weights.is_empty() {
        true => "Weights of the automated masks: not known, no report of ichor segment lies beside them.".into(),
        false => format!("Weights of the automated masks: {}.", weights.join(", ")),
    });
    remarks.push(format!("{}, {} with a bleed in the manual mask.", counted(results.cases, "case"), results.with_bleed));
    if results.nothing_found > 0 {
        let theirs = if results.nothing_found == 1 {
            "its distances count as the diagonal of its grid"
        } else {
            "their distances count as the diagonal of their grid"
        };
        remarks.push(format!("In {} of them nothing was found: {theirs}.", results.nothing_found));
    }
    remarks.extend(doubts(results));
    if !results.failed.is_empty() {
        let names: Vec<String> = results.failed.iter().map(|failure| format!("{} ({})", failure.name, failure.error)).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let cases = counted(names.len(), "case");
        remarks.push(format!("{cases} could not be compared and {are} in no table: {}", names.join("; ")));
    }
    if !results.without_partner.is_empty() {
        let masks = &results.without_partner;
        let have = if masks.len() == 1 { "has no partner and is" } else { "have no partner and are" };
        remarks.push(format!("{} {have} in no table: {}", counted(masks.len(), "mask"), masks.join(", ")));
    }
    remarks
}

/// So many cases are named.
const NAMED: usize = 10;

/// What makes it doubtful that the right masks were compared: pairs that do not overlap, and what is remarked of single
/// cases.
pub fn doubts(results: &Results) -> Vec<String> {
    let mut doubts = Vec::new();
    let (apart, both) = (&results.no_overlap, results.both_with_blood);
    if !apart.is_empty() {
        let more = if apart.len() > NAMED { ", .." } else { "" };
        let names = apart.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let wrong = match 2 * apart.len() >= both {
            true => ". Are the pairs right? Each must be two masks of the same scan",
            false => "",
        };
        let cases = counted(both, "case");
        doubts.push(format!(
            "In {} of {cases} with blood in both masks the two do not overlap at all: {names}{more}{wrong}.",
            apart.len()
        ));
    }
    doubts.extend(results.remarks.iter().map(|Remark { name, remark }| format!("{name}: {remark}.")));
    doubts
}

/// Each case, for the page.
pub fn cases(cases: &[Case]) -> Table {
    let optional = |value: Option<f64>| value.map_or(NONE.into(), |value| format!("{value:.3}"));
    let row = |case: &Case| {
        vec![
            case.name.clone(),
            case.subgroup.clone(),
            format!("{:.2}", case.manual_ml),
            format!("{:.2}", case.automated_ml),
            format!("{:.3}", case.dice),
            format!("{:.3}", case.surface_dice),
            optional(case.hd95_mm),
            optional(case.masd_mm),
            optional(case.sensitivity),
            optional(case.precision),
            format!("{:.3}", case.lesion_f1),
        ]
    };
    let columns = [
        "case",
        "subgroup",
        "manual mL",
        "automated mL",
        "Dice",
        "surface Dice",
        "HD95 mm",
        "MASD mm",
        "sensitivity",
        "precision",
        "lesion F1",
    ];
    Table::new("Cases".into(), &columns, cases.iter().map(row).collect())
}

fn overlap(results: &Results) -> Table {
    let rows = results.measures.iter().map(|measure| {
        let failed = measure.failed_percent.map_or(NONE.into(), |percent| format!("{percent:.1}"));
        let mut row = vec![measure.title.clone()];
        row.extend(summary(measure.summary.as_ref()));
        row.push(failed);
        row
    });
    let columns = ["measure", "n", "mean", "95% interval", "SD", "median", "min", "max", "% failed"];
    let title = format!("Table 1. Cases with a bleed ({}); failed: Dice below 0.5", results.with_bleed);
    Table::new(title, &columns, rows.collect())
}

fn by_subgroup(results: &Results) -> Table {
    let rows = results.subgroups.iter().map(|group| {
        let mut row = vec![group.name.clone()];
        row.extend(summary(group.dice.as_ref()));
        row.push(group.failed_percent.map_or(NONE.into(), |percent| format!("{percent:.1}")));
        row
    });
    let columns = ["subgroup", "n", "mean", "95% interval", "SD", "median", "min", "max", "% failed"];
    Table::new("Table 2. Dice by subgroup, cases with a bleed".into(), &columns, rows.collect())
}

fn volumes(results: &Results) -> Table {
    let all = std::iter::once((ALL.to_string(), &results.volumes));
    let groups = results.subgroups.iter().map(|group| (group.name.clone(), &group.volumes));
    let rows = all.chain(groups).filter_map(|(name, agreement)| Some(agreement_row(name, agreement.as_ref()?)));
    let columns = [
        "cases",
        "n",
        "correlation",
        "concordance",
        "RMSE mL",
        "% within 5 mL",
        "average difference mL",
        "MSE mL2",
        "limits of agreement mL",
    ];
    Table::new("Table 3. Volumes, automated against manual, cases with a bleed".into(), &columns, rows.collect())
}

fn agreement_row(name: String, agreement: &Agreement) -> Vec<String> {
    let optional = |value: Option<f64>| value.map_or_else(|| missing(agreement.n), |value| format!("{value:.3}"));
    vec![
        name,
        agreement.n.to_string(),
        optional(agreement.correlation),
        optional(agreement.concordance),
        format!("{:.2}", agreement.rmse_ml),
        format!("{:.1}", agreement.within_5_ml_percent),
        format!("{:.2}", agreement.mean_difference_ml),
        format!("{:.2}", agreement.mse_ml2),
        agreement.limits_ml.map_or_else(|| missing(agreement.n), |[low, high]| format!("{low:.2} to {high:.2}")),
    ]
}

fn without_bleed(results: &Results) -> Option<Table> {
    let clear = results.without_bleed.as_ref()?;
    let mut row = summary(Some(&clear.false_positive_ml)).to_vec();
    row.push(format!("{:.1}", clear.clear_percent));
    let columns = ["n", "mean", "95% interval", "SD", "median", "min", "max", "% without false blood"];
    Some(Table::new("Cases without a bleed: false-positive mL".into(), &columns, vec![row]))
}

fn summary(summary: Option<&Summary>) -> [String; 7] {
    let Some(summary) = summary else {
        let mut none = [NONE; 7].map(String::from);
        none[0] = "0".into();
        return none;
    };
    let number = |value: f64| format!("{value:.3}");
    [
        summary.n.to_string(),
        number(summary.mean),
        summary.interval.map_or_else(|| without_interval(summary.n), |[low, high]| format!("{low:.3} to {high:.3}")),
        summary.sd.map_or_else(|| missing(summary.n), number),
        number(summary.median),
        number(summary.min),
        number(summary.max),
    ]
}
