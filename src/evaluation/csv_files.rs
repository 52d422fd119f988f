//! Cases and tables as CSV for statistics programs: names of columns without blanks, one row for each thing that is measured, all digits, and an empty
//! cell for what is not defined.

use super::Case;
use super::results::Results;
use super::statistics::{Agreement, Summary};
use crate::io::atomic;
use crate::{Error, Result};
use std::path::Path;

/// Columns of cases.csv: the fields of a [`Case`].
const CASES: [&str; 24] = [
    "name",
    "subgroup",
    "patient",
    "automated_ml",
    "manual_ml",
    "difference_ml",
    "false_positive_ml",
    "false_negative_ml",
    "dice",
    "jaccard",
    "sensitivity",
    "precision",
    "surface_dice",
    "hd95_mm",
    "masd_mm",
    "assd_mm",
    "automated_lesions",
    "manual_lesions",
    "matched_lesions",
    "lesion_f1",
    "diagonal_mm",
    "automated",
    "manual",
    "remark",
];

/// Columns of a [`Summary`]; `mean_low` and `mean_high` are the 95% interval of the mean.
const SUMMARY: [&str; 8] = ["n", "mean", "mean_low", "mean_high", "sd", "median", "min", "max"];

/// Columns of an [`Agreement`].
const AGREEMENT: [&str; 9] = [
    "n",
    "correlation",
    "concordance",
    "rmse_ml",
    "within_5_ml_percent",
    "mean_difference_ml",
    "mse_ml2",
    "limits_low_ml",
    "limits_high_ml",
];

/// What Table 3 calls the cases of all subgroups together.
pub const ALL: &str = "all";

/// The files.
pub(super) const NAMES: [&str; 5] =
    ["cases.csv", "table1_measures.csv", "table2_subgroups.csv", "table3_volumes.csv", "without_bleed.csv"];

/// Writes cases.csv, table1_measures.csv, table2_subgroups.csv, table3_volumes.csv and without_bleed.csv. A table without rows is written
/// too, so that none of an earlier evaluation stays in the folder.
///
/// # Errors
/// [`Error::Write`].
pub fn write(folder: &Path, cases: &[Case], results: &Results) -> Result<()> {
    let [each, table1, table2, table3, clear] = NAMES;
    write_file(&folder.join(each), |table| match cases {
        [] => table.write_record(CASES),
        _ => cases.iter().try_for_each(|case| table.serialize(case)),
    })?;
    let tables = [
        (table1, head("measure", &SUMMARY, "failed_percent"), measures(results)),
        (table2, head("subgroup", &SUMMARY, "failed_percent"), subgroups(results)),
        (table3, [&["subgroup"], &AGREEMENT[..]].concat(), volumes(results)),
        (clear, head("measure", &SUMMARY, "clear_percent"), without_bleed(results)),
    ];
    for (name, columns, rows) in tables {
        write_file(&folder.join(name), |table| {
            table.write_record(columns)?;
            rows.iter().try_for_each(|row| table.write_record(row))
        })?;
    }
    Ok(())
}

fn write_file(path: &Path, rows: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    rows(&mut table).map_err(|error| Error::write(path)(error.into()))?;
    let text = table.into_inner().map_err(|error| Error::write(path)(error.into_error()))?;
    Ok(atomic::write(path, |file| file.write_all(&text))?)
}

fn head(first: &'static str, columns: &[&'static str], last: &'static str) -> Vec<&'static str> {
    [&[first], columns, &[last]].concat()
}

fn measures(results: &Results) -> Vec<Vec<String>> {
    let measures = results.measures.iter();
    measures.map(|measure| row(measure.column, measure.summary.as_ref(), measure.failed_percent)).collect()
}

fn subgroups(results: &Results) -> Vec<Vec<String>> {
    results.subgroups.iter().map(|group| row(&group.name, group.dice.as_ref(), group.failed_percent)).collect()
}

fn volumes(results: &Results) -> Vec<Vec<String>> {
    let groups = results.subgroups.iter().map(|group| (group.name.as_str(), &group.volumes));
    let all = std::iter::once((ALL, &results.volumes)).chain(groups);
    all.filter_map(|(name, volumes)| Some([vec![name.into()], agreement(volumes.as_ref()?)].concat())).collect()
}

fn without_bleed(results: &Results) -> Vec<Vec<String>> {
    let clear = results.without_bleed.iter();
    clear.map(|clear| row("false_positive_ml", Some(&clear.false_positive_ml), Some(clear.clear_percent))).collect()
}

/// A row of a table whose columns are those of [`head`].
fn row(name: &str, of: Option<&Summary>, percent: Option<f64>) -> Vec<String> {
    let [low, high] = bounds(of.and_then(|of| of.interval));
    let values = [
        of.map(|of| of.mean),
        low,
        high,
        of.and_then(|of| of.sd),
        of.map(|of| of.median),
        of.map(|of| of.min),
        of.map(|of| of.max),
        percent,
    ];
    let n = of.map_or(0, |of| of.n).to_string();
    [name.into(), n].into_iter().chain(values.map(cell)).collect()
}

fn agreement(of: &Agreement) -> Vec<String> {
    let [low, high] = bounds(of.limits_ml);
    let values = [
        of.correlation,
        of.concordance,
        Some(of.rmse_ml),
        Some(of.within_5_ml_percent),
        Some(of.mean_difference_ml),
        Some(of.mse_ml2),
        low,
        high,
    ];
    std::iter::once(of.n.to_string()).chain(values.map(cell)).collect()
}

fn bounds(range: Option<[f64; 2]>) -> [Option<f64>; 2] {
    range.map_or([None; 2], |range| range.map(Some))
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::pairs::Pair;
    use crate::evaluation::{Settings, evaluate};
    use crate::volume::{Affine, Grid, Volume};
    use std::collections::BTreeMap;

    /// A case of a bleed of `manual` voxels of 1 mL in a row, of which the first `automated` were found.
    fn case(name: &str, subgroup: &str, automated: usize, manual: usize) -> Case {
        let affine = Affine::new([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 10.0]], [0.0; 3]);
        let mask = |voxels| Volume::new(Grid { shape: [30, 1, 1], affine }, (0..30).map(|n| n < voxels).collect());
        let pair = Pair {
            name: name.into(),
            automated: "found.nii".into(),
            manual: "real.nii".into(),
            scan: None,
            subgroup: subgroup.into(),
            patient: name.into(),
        };
        evaluate(&pair, &[mask(automated), mask(manual)], &Settings::default())
    }

    /// Column and cell of each row, by its first cell, as a statistics program reads it.
    fn read(folder: &Path, name: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut table = csv::Reader::from_path(folder.join(name)).unwrap();
        let columns = table.headers().unwrap().clone();
        let cells = |row: csv::StringRecord| columns.iter().map(String::from).zip(row.iter().map(String::from)).collect();
        table.records().map(|row| row.unwrap()).map(|row| (row[0].to_string(), cells(row))).collect()
    }

    #[test]
    fn a_statistics_program_reads_the_tables_with_all_digits() {
        let folder = tempfile::tempdir().unwrap();
        let cases =
            [case("a", "deep, left", 10, 10), case("b", "deep, left", 1, 20), case("c", "lobar", 12, 6), case("d", "", 3, 0)];
        let results = Results::of(&cases, &Settings::default());
        write(folder.path(), &cases, &results).unwrap();
        let number = |text: &str| text.parse::<f64>().unwrap();

        let measures = read(folder.path(), "table1_measures.csv");
        let dice = &measures["dice"];
        assert_eq!((measures.len(), dice["n"].as_str(), dice["max"].as_str()), (results.measures.len(), "3", "1"));
        assert_eq!(number(&dice["mean"]), results.measures[0].summary.as_ref().unwrap().mean, "the same bits");
        assert_eq!(number(&dice["failed_percent"]), 100.0 / 3.0);
        assert!(number(&dice["mean_low"]) < number(&dice["mean"]) && number(&dice["mean"]) < number(&dice["mean_high"]));
        assert_eq!(measures["hd95_mm"]["failed_percent"], "", "failed is a matter of Dice alone");

        let subgroups = read(folder.path(), "table2_subgroups.csv");
        assert_eq!(subgroups.keys().collect::<Vec<_>>(), ["deep, left", "lobar"]);
        assert_eq!((subgroups["lobar"]["n"].as_str(), subgroups["lobar"]["sd"].as_str()), ("1", ""), "one case has no spread");
        assert_eq!((subgroups["deep, left"]["n"].as_str(), subgroups["deep, left"]["sd"].as_str()), ("2", ""), "nor have two");

        let volumes = read(folder.path(), "table3_volumes.csv");
        assert_eq!(volumes.keys().collect::<Vec<_>>(), [ALL, "deep, left", "lobar"]);
        // Automated minus manual: 0, -19 and 6 mL.
        let (all, deep) = (&volumes[ALL], &volumes["deep, left"]);
        assert!((number(&all["mean_difference_ml"]) + 13.0 / 3.0).abs() < 1e-12, "{all:?}");
        // Differences about their mean: 13/3, -44/3 and 31/3, whose squares add up to 3066/9.
        let sd = (3066.0_f64 / 9.0 / 2.0).sqrt();
        assert!((number(&all["limits_high_ml"]) - (-13.0 / 3.0 + 1.96 * sd)).abs() < 1e-12, "{all:?}");
        for column in ["limits_high_ml", "limits_low_ml", "correlation", "concordance"] {
            assert_eq!(deep[column], "", "of two cases");
        }
        assert_eq!((deep["within_5_ml_percent"].as_str(), deep["mse_ml2"].as_str()), ("50", "180.5"));

        let clear = &read(folder.path(), "without_bleed.csv")["false_positive_ml"];
        assert_eq!((clear["mean"].as_str(), clear["clear_percent"].as_str()), ("3", "0"));
    }

    #[test]
    fn the_columns_of_cases_are_there_without_a_case() {
        let folder = tempfile::tempdir().unwrap();
        let header = |cases: &[Case]| {
            write(folder.path(), cases, &Results::of(cases, &Settings::default())).unwrap();
            let text = std::fs::read_to_string(folder.path().join("cases.csv")).unwrap();
            (text.lines().next().unwrap().to_string(), text.lines().count())
        };
        assert_eq!(header(&[]), (CASES.join(","), 1));
        assert_eq!(header(&[case("a", "", 1, 2)]), (CASES.join(","), 2));
    }

    #[test]
    fn a_table_without_rows_replaces_that_of_an_earlier_evaluation() {
        let folder = tempfile::tempdir().unwrap();
        for cases in [vec![case("a", "deep", 1, 2), case("b", "", 1, 0)], vec![case("a", "", 1, 2)]] {
            write(folder.path(), &cases, &Results::of(&cases, &Settings::default())).unwrap();
        }
        for name in ["table2_subgroups.csv", "without_bleed.csv"] {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.lines().count() == 1 && text.contains(",mean_low,"), "{name}: {text}");
        }
        assert_eq!(read(folder.path(), "table3_volumes.csv").len(), 1);
    }
}
