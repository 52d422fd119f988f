//! Any bytes as a sound DICOM series and what happens to it on its way: attributes that are lost, doubled or changed, files that are copied, cut, renamed or linked to, slices of
//! other scans among these. What is read of it is the sound scan, or an error, or has a warning that names what happened: never another volume in silence.

#[path = "../choices.rs"]
mod choices;
mod edits;
mod files;
mod scan;

use choices::Choices;
use edits::{Edit, Outcome};
use ichor::batch::inputs;
use scan::Scan;
use std::fs;
use std::path::Path;

/// The most edits of a series.
const MOST_EDITS: usize = 3;

/// Reads the series that the bytes describe.
pub fn series(bytes: &[u8]) {
    let mut choices = Choices(bytes.iter());
    let scan = Scan::draw(&mut choices);
    let mut files = scan.files();
    let mut links = Vec::new();
    let count = choices.below(MOST_EDITS + 1);
    let edits: Vec<Edit> = (0..count).filter_map(|_| edits::edit(&mut choices, &scan, &mut files, &mut links)).collect();

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("a folder can be made");
        fs::write(path, bytes).expect("a file can be written");
    };
    for file in &files {
        write(&folder.path().join(&file.name), &file.bytes());
    }
    #[cfg(unix)]
    for (link, to) in &links {
        let link = folder.path().join(link);
        fs::create_dir_all(link.parent().expect("it is below the folder")).expect("a folder can be made");
        // Two edits may have made the same link.
        let _ = std::os::unix::fs::symlink(
            if to.is_relative() && to.as_os_str() != ".." { folder.path().join(to) } else { to.clone() },
            link,
        );
    }

    let said = |what: &str| {
        let made: Vec<String> = edits.iter().map(|edit| format!("{} ({:?})", edit.what, edit.outcome)).collect();
        format!("{what}\nedits: {}\n{scan:?}", made.join("; "))
    };
    let outcomes = |outcome: Outcome| edits.iter().all(|edit| edit.outcome == outcome);
    let read = match inputs::read_one(folder.path(), None) {
        Ok(read) => read,
        Err(error) => {
            assert!(!outcomes(Outcome::Read), "{}", said(&format!("refused: {error}")));
            return;
        }
    };
    let series = read.series.as_ref().expect("the scan is DICOM");
    let mut told: Vec<String> = read.warnings.iter().map(|warning| warning.to_string().to_lowercase()).collect();
    told.push(series.series.choice.to_lowercase());
    // A slice that is gone from an end cannot be missed.
    let slices: Vec<usize> = {
        let mut slices: Vec<usize> = files.iter().filter_map(|file| file.slice).collect();
        slices.sort_unstable();
        slices.dedup();
        slices
    };
    let checked = scan.check(&read.volume, &slices);
    if edits.is_empty() {
        assert!(read.warnings.is_empty(), "{}", said(&format!("a sound series has warnings: {told:?}")));
    }
    if edits.is_empty() || outcomes(Outcome::Read) {
        assert_eq!(checked, Ok(()), "{}", said(&format!("told: {told:?}")));
        return;
    }
    // Of a file that names another series, and has been edited besides, nothing tells that it belongs here.
    let moved = |slice: &&usize| !edits.iter().any(|edit| edit.moved.contains(slice));
    let rest: Vec<usize> = slices.iter().filter(moved).copied().collect();
    if edits.len() > 1 && rest.len() < slices.len() && scan.check(&read.volume, &rest).is_ok() {
        return;
    }
    let tells = |edit: &Edit| edit.words.iter().any(|word| told.iter().any(|text| text.contains(&word.to_lowercase())));
    if checked.is_err() || edits.iter().any(|edit| edit.outcome == Outcome::Told) {
        assert!(edits.iter().any(tells), "{}", said(&format!("in silence: {checked:?}\ntold: {told:?}")));
    }
}
