//! Files that are there whole or not at all.

use serde::Serialize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::io::{Error, Result};

/// Writes `path` by `content`, so that nobody ever sees half of it: the bytes go to the hidden sibling
/// `.NAME.partial`, which takes the name `path` when all of them are written, and is removed when one is not.
///
/// # Errors
/// [`Error::Write`], naming `path`, when the file cannot be created or renamed, or when `content` fails.
pub fn write(path: impl AsRef<Path>, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    write_and_rename(path, content).map_err(Error::write(path))
}

/// Writes `value` as JSON with a newline at its end, as [`write()`] does.
///
/// # Errors
/// As [`write()`], and [`Error::Write`] for a value that JSON cannot hold.
pub fn write_json(path: impl AsRef<Path>, value: &impl Serialize) -> Result<()> {
    write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// Where [`write()`] puts the bytes of `path` first; a kill may have left it there.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(".partial");
    path.with_file_name(hidden)
}

fn write_and_rename(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a file"));
    }
    let partial = Partial { path: partial(path) };
    let mut file = BufWriter::new(File::create(&partial.path)?);
    content(&mut file)?;
    // Dropping a BufWriter would swallow the error of its last write.
    file.into_inner().map_err(|error| error.into_error())?;
    fs::rename(&partial.path, path)
}

/// Removes the partial file when dropped; after the rename there is none left.
struct Partial {
    path: PathBuf,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Fails only where there is nothing to remove, or nothing can be: no better answer than the first error exists.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_appears_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write(&path, |out| {
            assert_eq!(names(folder.path()), [".report.json.partial"], "the final name is not taken while writing");
            out.write_all(b"{}")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn json_ends_with_a_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_json(&path, &[1, 2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  1,\n  2\n]\n");
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, b"old").unwrap();
        let error = write(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        })
        .unwrap_err();
        assert!(matches!(&error, Error::Write { path: named, .. } if *named == path));
        assert_eq!(error.to_string(), format!("{}: cannot be written: the disk is full", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn a_panic_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let outcome = std::panic::catch_unwind(|| write(&path, |_| panic!("in the middle")));
        assert!(outcome.is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing/report.json"), folder.path().join("..")] {
            assert!(matches!(write(&path, |_| Ok(())), Err(Error::Write { .. })), "{}", path.display());
        }
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
