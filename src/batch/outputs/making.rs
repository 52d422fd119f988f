//! Results in the making: they are named before anything of an earlier run is removed.

use super::begun;
use crate::io::atomic;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Says that `files` are in the making.
///
/// # Errors
/// [`Error::Write`].
pub(in crate::batch) fn begin(folder: &Path, name: &str, files: &BTreeSet<String>) -> Result<()> {
    atomic::write_json(begun(folder, name), files)
}

/// Says that nothing is in the making any more.
///
/// # Errors
/// [`Error::Write`].
pub(in crate::batch) fn end(folder: &Path, name: &str) -> Result<()> {
    let path = begun(folder, name);
    remove(&atomic::partial(&path))?;
    remove(&path)
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::Write`].
pub(in crate::batch) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(path)(error)),
        _ => Ok(()),
    }
}
