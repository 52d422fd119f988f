//! What can be wrong with a scan on its way.

use super::registration::RegistrationError;
use crate::memory::OutOfMemory;
use crate::volume::resample::SingularAffine;
use crate::{io, network};
use std::path::{Path, PathBuf};

/// Result of what is done to a scan.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a scan. `Display` is one sentence for a person; it names the file wherever there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A network that cannot be run.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A scan, mask or template that cannot be used as it is, though it could be read.
    #[error("{}: {problem}", path.display())]
    Scan {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A scan that cannot be registered to its template.
    #[error("{}: {source}", path.display())]
    Registration {
        /// The scan.
        path: PathBuf,
        /// Why not.
        source: RegistrationError,
    },
    /// A volume that cannot be resampled.
    #[error("{0}")]
    Shape(String),
    /// Memory that cannot be had.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

impl Error {
    /// An [`Error::Registration`] for the scan `path`; made for `map_err`.
    pub fn registration(path: impl AsRef<Path>) -> impl FnOnce(RegistrationError) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Registration { path, source }
    }
}

impl From<SingularAffine> for Error {
    fn from(error: SingularAffine) -> Error {
        Error::Shape(error.to_string())
    }
}
