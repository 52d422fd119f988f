//! What can be wrong with a file that is read or written.

use super::dicom::DicomError;
use super::nifti::NiftiError;
use super::transform::TransformError;
use std::io;
use std::path::{Path, PathBuf};

/// Result of what reads and writes files.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a file. `Display` is one sentence for a person; it names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A scan, mask or template that cannot be used as it is, though it could be read.
    #[error("{}: {problem}", path.display())]
    Scan {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A NIfTI file that cannot be used.
    #[error("{}: {source}", path.display())]
    Nifti {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NiftiError,
    },
    /// A DICOM file or folder that cannot be used.
    #[error("{}: {source}", path.display())]
    Dicom {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: DicomError,
    },
    /// A file of a transform that cannot be used.
    #[error("{}: {source}", path.display())]
    Transform {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TransformError,
    },
    /// A volume or mask that does not fit its file or its grid.
    #[error("{0}")]
    Shape(String),
}

impl Error {
    /// An [`Error::Read`] for `path`; made for `map_err`.
    pub fn read(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Read { path, source }
    }

    /// An [`Error::Write`] for `path`; made for `map_err`.
    pub fn write(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Write { path, source }
    }
}
