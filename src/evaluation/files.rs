//! The files of an evaluation: cases and tables as CSV, summary.json, evaluation.html, the figures.

use super::figures::{self, Figure};
use super::results::Results;
use super::{Case, csv_files, page};
use crate::io::atomic;
use crate::{Error, Result};
use std::path::Path;

/// All that is written, besides the tables and the figures.
const SUMMARY: &str = "summary.json";
const PAGE: &str = "evaluation.html";

/// Removes what an earlier evaluation has left in `folder`, by the names that evaluations give: a figure that is not
/// drawn this time must not stay beside tables of other cases. Anything else stays.
fn remove_earlier(folder: &Path) -> Result<()> {
    let figures = figures::NAMES.iter().flat_map(|name| ["svg", "png"].map(|ending| format!("{name}.{ending}")));
    for name in figures.chain([SUMMARY, PAGE].into_iter().chain(csv_files::NAMES).map(String::from)) {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::write(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Writes cases.csv and the tables as CSV, summary.json, each figure as SVG and PNG, and evaluation.html into `folder`, which is made where it is not there.
/// Those of an earlier evaluation are removed first.
///
/// # Errors
/// [`Error::Write`].
pub fn write(folder: &Path, cases: &[Case], results: &Results, figures: &[Figure]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
    remove_earlier(folder)?;
    csv_files::write(folder, cases, results)?;
    atomic::write_json(folder.join(SUMMARY), results)?;
    for figure in figures {
        let svg = figure.drawing.svg();
        atomic::write(folder.join(format!("{}.svg", figure.name)), |file| file.write_all(svg.as_bytes()))?;
        let path = folder.join(format!("{}.png", figure.name));
        let png = figure.drawing.png().map_err(Error::write(&path))?;
        atomic::write(&path, |file| file.write_all(&png))?;
    }
    let html = page::html(cases, results, figures);
    Ok(atomic::write(folder.join(PAGE), |file| file.write_all(html.as_bytes()))?)
}
