//! Which files beside a scan's report are its results: what ichor did not write is somebody else's, and stays.

use crate::Result;
use crate::batch::report;
use crate::batch::report::Report;
use crate::io::ownership;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of the files in `folder` that are results of the scan `name`: those that its report lists, and those that a
/// run which did not come to its end had begun.
pub(super) fn of_scan(folder: &Path, name: &str) -> BTreeSet<String> {
    // First what was begun: it is taken away when the report is there.
    let mut files = ownership::in_the_making(&report_of(folder, name));
    if let Some(report) = read(folder, name) {
        files.extend(listed(&report, name));
    }
    files
}

/// Whether the file `file` in `folder` is a result of the scan `name`.
pub(super) fn holds(folder: &Path, name: &str, file: &str) -> bool {
    // A report of which nothing can be read may be one of another version of ichor.
    let untold = report_of(folder, name).is_file() && read(folder, name).is_none();
    untold || of_scan(folder, name).contains(file)
}

fn read(folder: &Path, name: &str) -> Option<Report> {
    let text = fs::read(report_of(folder, name)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The files that a report lists, and itself, where the files are called `name` now.
pub(super) fn listed(report: &Report, name: &str) -> Vec<String> {
    let own = format!("{name}{}", report::ENDING);
    let told = report.outputs.iter().filter_map(|file| Some(format!("{name}{}", file.strip_prefix(&report.name)?)));
    let mut files: Vec<String> = told.chain([own]).collect();
    if report.outputs.is_empty() {
        // The report is of a version that did not name them.
        let saved = report.choices.iter().flat_map(|choices| &choices.saved).flat_map(|extra| extra.endings());
        let picture = report.picture.iter().map(|_| &"ich.png");
        let segmentation = report.dicom.iter().map(|_| &"ich.dcm");
        let endings = saved.chain(&["ich.nii.gz"]).chain(picture).chain(segmentation);
        files.extend(endings.map(|ending| format!("{name}_{ending}")));
    }
    files
}

/// The file that names the results of a scan that are in the making. It is there before anything of an earlier run is
/// removed, and goes when the new report is written: after a kill it tells what the run had begun.
pub(super) fn begun(folder: &Path, name: &str) -> PathBuf {
    ownership::begun(&report_of(folder, name))
}

/// Says that `files` are in the making.
///
/// # Errors
/// [`Error::Write`](crate::Error::Write).
pub(super) fn begin(folder: &Path, name: &str, files: &BTreeSet<String>) -> Result<()> {
    Ok(ownership::begin(&report_of(folder, name), files)?)
}

/// Says that nothing is in the making any more.
///
/// # Errors
/// [`Error::Write`](crate::Error::Write).
pub(super) fn end(folder: &Path, name: &str) -> Result<()> {
    Ok(ownership::end(&report_of(folder, name))?)
}

fn report_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", report::ENDING))
}
