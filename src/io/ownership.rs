//! Whose the files of a folder are: what ichor did not write is somebody else's, and stays.
//!
//! One file of a result, its record (a scan's report, `summary.json` of an evaluation, the checkpoint of a training),
//! tells that the others are ichor's, and is written last. Until it is there, the hidden file `.STEM.begun` beside it
//! lists what is in the making: after a kill it tells what the run had begun.

use crate::io::atomic;
use crate::io::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file that lists what is in the making of the result whose record is `record`.
pub(crate) fn begun(record: &Path) -> PathBuf {
    let stem = record.file_stem().unwrap_or_default().to_string_lossy();
    record.with_file_name(format!(".{stem}.begun"))
}

/// The names of the files that a run which did not come to its end had begun.
pub(crate) fn in_the_making(record: &Path) -> BTreeSet<String> {
    fs::read(begun(record)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Says that `files`, by name, are in the making beside `record`: before the first of them is replaced.
///
/// # Errors
/// [`Error::Write`].
pub fn begin(record: &Path, files: &BTreeSet<String>) -> Result<()> {
    atomic::write_json(begun(record), files)
}

/// Says that nothing is in the making any more: when the record is written.
///
/// # Errors
/// [`Error::Write`].
pub fn end(record: &Path) -> Result<()> {
    let path = begun(record);
    remove(&atomic::partial(&path))?;
    remove(&path)
}

/// The names of the files beside `record`, a JSON file of ichor's that lists them as `outputs`, that are its result:
/// those, itself, and what a run that did not come to its end had begun.
pub fn of(record: &Path) -> BTreeSet<String> {
    // First what was begun: it is taken away when the record is there.
    let mut files = in_the_making(record);
    let json: Option<serde_json::Value> = fs::read(record).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(json) = json.filter(|json| json["ichor_version"].is_string()) {
        files.extend(record.file_name().map(|name| name.to_string_lossy().into_owned()));
        files.extend(json["outputs"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).map(String::from));
    }
    files
}

/// Refuses to replace what is somebody else's: files in `folder` with one of `names` that are not `own`, or that are
/// among `inputs`, which are read.
///
/// # Errors
/// [`Error::Scan`] that names the file.
pub fn spare<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
    own: &BTreeSet<String>,
    inputs: &[&Path],
) -> Result<()> {
    let inputs: BTreeSet<PathBuf> = inputs.iter().filter_map(|path| path.canonicalize().ok()).collect();
    for name in names {
        let path = folder.join(name);
        let problem = match path.symlink_metadata() {
            Err(_) => continue,
            Ok(_) if path.canonicalize().is_ok_and(|path| inputs.contains(&path)) => {
                "the output is the input, and would be replaced: give another folder (-o)"
            }
            Ok(_) if !own.contains(name) => {
                "it would be replaced, and is no result of ichor that is known: give another folder (-o), or move it away"
            }
            Ok(_) => continue,
        };
        return Err(Error::Scan { path, problem: problem.into() });
    }
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::Write`].
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_what_its_record_lists_or_what_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("summary.json");
        let own = || of(&record).into_iter().collect::<Vec<_>>();
        assert!(own().is_empty());
        begin(&record, &["a.csv".to_string()].into()).unwrap();
        assert!(folder.path().join(".summary.begun").is_file());
        assert_eq!(own(), ["a.csv"]);
        end(&record).unwrap();
        // Another program's file of this name makes nothing ichor's.
        fs::write(&record, r#"{"outputs": ["b.csv"]}"#).unwrap();
        assert!(own().is_empty());
        fs::write(&record, r#"{"outputs": ["b.csv"], "ichor_version": "1"}"#).unwrap();
        assert_eq!(own(), ["b.csv", "summary.json"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_own_or_is_read_is_spared() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let refused = |names: &[&str], own: &[&str], read: &[&Path]| {
            let own = own.iter().map(|name| name.to_string()).collect();
            spare(folder.path(), names.iter().copied(), &own, read).err().map(|error| error.to_string())
        };
        fs::write(path("a.csv"), "mine").unwrap();
        assert_eq!(refused(&["b.csv"], &[], &[]), None, "it is not there");
        assert_eq!(refused(&["a.csv"], &["a.csv"], &[&path("missing")]), None);
        let foreign = refused(&["b.csv", "a.csv"], &["b.csv"], &[]).unwrap();
        assert!(foreign.contains("a.csv: it would be replaced") && foreign.contains("-o"), "{foreign}");
        let input = refused(&["a.csv"], &["a.csv"], &[&path("../").join(folder.path()).join("a.csv")]).unwrap();
        assert!(input.contains("a.csv: the output is the input"), "{input}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_somebody_elses_wherever_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("gone", folder.path().join("a.csv")).unwrap();
        assert!(spare(folder.path(), ["a.csv"], &BTreeSet::new(), &[]).is_err());
    }
}
