//! The page of a batch, ichor.html: one file that a browser opens without a network, with a table of all scans and their slices.
//!
//! It is written from the table and the reports on disk, so it shows what an interrupted run has done, too. One scan at a time is in memory.

use crate::batch::report::{Layout, Report, Row};
use crate::batch::table::{self, Table};
use crate::io::atomic;
use crate::io::dicom::Summary;
use crate::io::lock::Lock;
use crate::scan::components::Component;
use crate::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Its name.
pub(crate) const NAME: &str = "ichor.html";
/// The page; the scans go where [`PLACE`] is.
const PAGE: &str = include_str!("page.html");
const PLACE: &str = "/*SCANS*/";
/// What every page has, whichever version of ichor wrote it, within so many bytes.
const SIGNS: [&str; 2] = ["<title>ichor</title>", "For research use only, not for diagnosis."];
const HEAD: u64 = 64 << 10;
/// Pictures are put into the page until they fill so many bytes; those of the other scans are linked to. Browsers open pages of this size at once.
const EMBEDDED_BYTES: usize = 32 << 20;
/// The page lists so many components of a scan.
const LISTED_COMPONENTS: usize = 8;
/// Endings of the files that the page links to, where they are there.
const LINKED: [&str; 5] = ["ich.nii.gz", "ich.dcm", "ich_sr.dcm", "ich.png", "ich.json"];

/// What the page knows of a scan.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    input: &'a str,
    /// Number and description of the DICOM series; empty where there is none.
    series: String,
    /// Which series it was and why, and what was corrected.
    dicom: Vec<String>,
    /// Why it failed; empty where it did not.
    error: &'a str,
    volume: Option<f64>,
    brain: Option<f64>,
    seconds: Option<f64>,
    weights: &'a str,
    threshold: Option<f32>,
    warnings: Vec<&'a str>,
    count: usize,
    components: &'a [Component],
    /// Dice with the second method's mask, and whether there is a warning about it.
    agreement: Option<f64>,
    disputed: bool,
    layout: Option<&'a Layout>,
    /// Endings of its files.
    files: Vec<&'static str>,
    /// The picture as a data URI; empty where the file is linked to.
    picture: String,
}

/// Sees whether the page of `folder` may be written: a file of its name that is no page of ichor is never replaced.
///
/// # Errors
/// [`Error::Scan`] that names the file; [`Error::Read`].
pub(super) fn check(folder: &Path) -> Result<()> {
    let path = folder.join(NAME);
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let mut head = Vec::new();
    fs::File::open(&path).and_then(|file| file.take(HEAD).read_to_end(&mut head)).map_err(Error::read(&path))?;
    let head = String::from_utf8_lossy(&head);
    if SIGNS.iter().all(|sign| head.contains(sign)) {
        return Ok(());
    }
    let problem = "it is no page of ichor, and would be replaced: move it away, rename it or give another folder (-o)".into();
    Err(Error::Scan { path, problem })
}

/// Writes the page of a folder of results from the table and the reports that are there now. A folder with a single
/// scan gets none, unless it has one.
///
/// # Errors
/// [`Error::Table`] where the table is none; [`Error::Scan`] where a file of the page's name is none; [`Error::Write`] for the page, also
/// where another process has been writing it for longer than `patience`.
pub fn refresh(folder: &Path, patience: Duration) -> Result<()> {
    let path = folder.join(NAME);
    let table = folder.join(table::NAME);
    if Table::read(&table)?.len() < 2 && !path.exists() {
        return Ok(());
    }
    let _lock = Lock::of(&path, patience)?;
    check(folder)?;
    // Read under the lock: who writes the page last has seen all rows.
    write(&path, &Table::read(&table)?, folder)
}

/// Writes the page of the scans of `rows`, whose reports and pictures are in `folder`. Scans that failed or have warnings are first.
///
/// # Errors
/// [`Error::Write`] for the page.
fn write(path: &Path, rows: &[Row], folder: &Path) -> Result<()> {
    let (before, after) =
        PAGE.split_once(PLACE).ok_or_else(|| Error::write(path)(io::Error::other("the page has no place for scans")))?;
    let alarming = |row: &&Row| row.status != "done" || !row.warnings.is_empty();
    let calm = |row: &&Row| !alarming(row);
    Ok(atomic::write(path, |out| {
        out.write_all(before.as_bytes())?;
        let mut room = EMBEDDED_BYTES;
        for row in rows.iter().filter(alarming).chain(rows.iter().filter(calm)) {
            write_scan(out, row, folder, &mut room)?;
        }
        out.write_all(after.as_bytes())
    })?)
}

/// One scan as a line of JavaScript; `room` is what is left for pictures.
fn write_scan(out: &mut dyn Write, row: &Row, folder: &Path, room: &mut usize) -> io::Result<()> {
    let file = |ending: &str| folder.join(format!("{}_{ending}", row.name));
    // A report that has gone is shown by its row alone.
    let done = row.status == "done";
    let report: Option<Report> =
        done.then(|| fs::read(file("ich.json")).ok().and_then(|text| serde_json::from_slice(&text).ok())).flatten();
    let layout = report.as_ref().and_then(|report| report.picture.as_ref());
    let mut picture = String::new();
    if layout.is_some() && fs::metadata(file("ich.png")).is_ok_and(|png| png.len() * 4 / 3 < *room as u64) {
        picture = format!("data:image/png;base64,{}", STANDARD.encode(fs::read(file("ich.png"))?));
        *room = room.saturating_sub(picture.len());
    }
    let dicom = report.as_ref().and_then(|report| report.dicom.as_ref());
    let components = report.as_ref().map_or(&[][..], |report| &report.components);
    let warnings = match &report {
        Some(report) => report.warnings.iter().map(|warning| warning.text.as_str()).collect(),
        None => row.warnings.split(" | ").filter(|text| !text.is_empty()).collect(),
    };
    let entry = Entry {
        name: &row.name,
        input: &row.input,
        series: dicom.map_or_else(String::new, Summary::label),
        dicom: dicom.map_or_else(Vec::new, Summary::sentences),
        error: if done { "" } else { &row.error },
        volume: row.volume_ml,
        brain: row.brain_ml,
        seconds: row.seconds,
        weights: &row.weights,
        threshold: row.threshold,
        warnings,
        count: report.as_ref().map_or(0, |report| report.component_count),
        components: &components[..components.len().min(LISTED_COMPONENTS)],
        agreement: row.second_opinion_dice,
        disputed: report.as_ref().is_some_and(|report| report.warnings.iter().any(|warning| warning.number == 15)),
        layout,
        files: LINKED.into_iter().filter(|ending| done && file(ending).is_file()).collect(),
        picture,
    };
    // In JSON this character is inside of texts only; there it could end the script.
    let text = serde_json::to_string(&entry)?.replace('<', "\\u003c");
    writeln!(out, "{text},")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scans of a page, in its order.
    fn scans(page: &str) -> Vec<serde_json::Value> {
        let lines = page.lines().filter_map(|line| line.strip_prefix('{').map(|_| line.trim_end_matches(',')));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_page_is_made_of_what_is_on_disk_with_warnings_first_and_nothing_in_a_name_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let calm = Report { warnings: Vec::new(), ..Report::example("calm") };
        let warned = Report::example("warned");
        fs::write(folder.path().join("warned_ich.json"), serde_json::to_vec(&warned).unwrap()).unwrap();
        // The report of `calm` has gone: its row is enough.
        let rows = [Row::done(&calm), Row::done(&warned), Row::failed("</script><b>", "in", "no <i>image</i>")];
        let path = folder.path().join("ichor.html");
        write(&path, &rows, folder.path()).unwrap();
        let page = fs::read_to_string(&path).unwrap();
        let scans = scans(&page);
        assert_eq!(
            scans.iter().map(|scan| scan["name"].as_str().unwrap()).collect::<Vec<_>>(),
            ["warned", "</script><b>", "calm"]
        );
        assert_eq!((&scans[0]["warnings"][0], &scans[2]["volume"]), (&"slices of 9.0 mm".into(), &12.5.into()));
        assert!(!page.contains("</script><b>") && !page.contains("<i>"), "texts are no markup");
        assert!(page.contains("For research use only, not for diagnosis."));
        // Self-contained: nothing is loaded from anywhere.
        assert!(!page.contains("http") && !page.contains("src="), "{page}");
    }

    #[test]
    fn a_file_that_is_no_page_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        check(folder.path()).unwrap();
        write(&path, &[Row::failed("a", "in", "no")], folder.path()).unwrap();
        check(folder.path()).unwrap();
        for foreign in ["", "<title>ichor</title>", "<p>For research use only, not for diagnosis.</p>"] {
            fs::write(&path, foreign).unwrap();
            let said = check(folder.path()).unwrap_err().to_string();
            assert!(said.contains("ichor.html: it is no page of ichor") && said.contains("-o"), "{said}");
        }
    }

    #[test]
    fn pictures_are_in_the_page_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout { size: [9, 9], panel: [3, 3], columns: 3, top: 0, slices: vec![1], key: 0, mm: 1.0 };
        let report = Report { picture: Some(layout), ..Report::example("a") };
        fs::write(folder.path().join("a_ich.json"), serde_json::to_vec(&report).unwrap()).unwrap();
        fs::write(folder.path().join("a_ich.png"), b"picture").unwrap();
        let embedded = |room: usize| {
            let (mut out, mut room) = (Vec::new(), room);
            write_scan(&mut out, &Row::done(&report), folder.path(), &mut room).unwrap();
            (scans(&String::from_utf8(out).unwrap())[0]["picture"].as_str().unwrap().to_string(), room)
        };
        assert_eq!(embedded(100), ("data:image/png;base64,cGljdHVyZQ==".into(), 66));
        assert_eq!(embedded(5), (String::new(), 5));
    }
}
