//! The files of an evaluation: cases and tables as CSV, summary.json, evaluation.html, the figures.

use super::figures::{self, Figure};
use super::results::Results;
use super::{Case, csv_files, page};
use crate::io::{atomic, ownership};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// All that is written, besides the tables and the figures.
const SUMMARY: &str = "summary.json";
const PAGE: &str = "evaluation.html";

/// The names that the files of an evaluation can have.
fn names() -> Vec<String> {
    let figures = figures::NAMES.iter().flat_map(|name| ["svg", "png"].map(|ending| format!("{name}.{ending}")));
    figures.chain([SUMMARY, PAGE].into_iter().chain(csv_files::NAMES).map(String::from)).collect()
}

/// The files in `folder` that an earlier evaluation wrote.
fn own(folder: &Path) -> BTreeSet<String> {
    let path = folder.join(SUMMARY);
    let mut own = ownership::of(&path);
    let summary: Option<serde_json::Value> = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    // One of a version that did not list its files.
    if summary.is_some_and(|summary| own.contains(SUMMARY) && summary["outputs"].is_null() && summary["with_bleed"].is_number()) {
        own.extend(names());
    }
    own
}

/// Sees whether an evaluation may be written into `folder`: no file of its names is somebody else's, or one of `inputs`,
/// which it reads.
///
/// # Errors
/// [`Error::Scan`] that names the file.
pub fn check(folder: &Path, inputs: &[&Path]) -> Result<()> {
    Ok(ownership::spare(folder, names().iter().map(String::as_str), &own(folder), inputs)?)
}

/// Writes cases.csv and the tables as CSV, each figure as SVG and PNG, evaluation.html, and in the end summary.json into
/// `folder`, which is made where it is not there. Those of an earlier evaluation are removed first: a figure that is not
/// drawn this time must not stay beside tables of other cases. Anything else stays.
///
/// # Errors
/// As [`check`]; [`Error::Write`].
pub fn write(folder: &Path, cases: &[Case], results: &mut Results, figures: &[Figure]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
    check(folder, &[])?;
    let drawn = figures.iter().flat_map(|figure| ["svg", "png"].map(|ending| format!("{}.{ending}", figure.name)));
    results.outputs = drawn.chain([PAGE].into_iter().chain(csv_files::NAMES).map(String::from)).collect();
    results.outputs.sort();
    let summary = folder.join(SUMMARY);
    let earlier: BTreeSet<String> = own(folder).into_iter().filter(|name| names().contains(name)).collect();
    let begun = earlier.iter().chain(&results.outputs).cloned().chain([SUMMARY.to_string()]).collect();
    ownership::begin(&summary, &begun)?;
    ownership::remove(&summary)?;
    earlier.iter().try_for_each(|name| ownership::remove(&folder.join(name)))?;
    csv_files::write(folder, cases, results)?;
    for figure in figures {
        let svg = figure.drawing.svg();
        atomic::write(folder.join(format!("{}.svg", figure.name)), |file| file.write_all(svg.as_bytes()))?;
        let path = folder.join(format!("{}.png", figure.name));
        let png = figure.drawing.png().map_err(Error::write(&path))?;
        atomic::write(&path, |file| file.write_all(&png))?;
    }
    let html = page::html(cases, results, figures);
    atomic::write(folder.join(PAGE), |file| file.write_all(html.as_bytes()))?;
    atomic::write_json(&summary, results)?;
    Ok(ownership::end(&summary)?)
}
