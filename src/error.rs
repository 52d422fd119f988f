//! The error of the library: what is wrong, in which file, and what to do about it.
//!
//! `io`, `network` and `scan` have errors of their own, which come into this one by `?`; what is made of them uses it.

use std::io;
use std::path::{Path, PathBuf};

use crate::io::dicom::DicomError;
use crate::io::nifti::NiftiError;
use crate::io::transform::TransformError;
use crate::memory::OutOfMemory;
use crate::network::weights::{CheckpointError, WeightsError};
use crate::scan::registration::RegistrationError;
use crate::volume::resample::SingularAffine;
use crate::{io as files, network, scan};

/// Result of every fallible function of ichor.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. `Display` is one sentence for a person; it names the file wherever there is one.
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
    /// A table (CSV) that cannot be used.
    #[error("{}: {problem}", path.display())]
    Table {
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
    /// A network description that no back end can run.
    #[error("the network description is not usable: {0}")]
    Description(String),
    /// A weights file that is not usable.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file, or the name of weights that come from no file.
        path: PathBuf,
        /// What is wrong with it.
        source: WeightsError,
    },
    /// A TensorFlow checkpoint that cannot be imported.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The index or data file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// A file of a transform that cannot be used.
    #[error("{}: {source}", path.display())]
    Transform {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TransformError,
    },
    /// A scan that cannot be registered to its template.
    #[error("{}: {source}", path.display())]
    Registration {
        /// The scan.
        path: PathBuf,
        /// Why not.
        source: RegistrationError,
    },
    /// A config, checkpoint or data of a training that cannot be used.
    #[error("{}: {problem}", path.display())]
    Training {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An input, mask or output that does not fit the network or the engine.
    #[error("{0}")]
    Shape(String),
    /// A phantom that cannot be made, with the reason.
    #[error("{0}")]
    Phantom(String),
    /// Memory that cannot be had.
    #[error("{what} would need {bytes} bytes of memory, which cannot be had: free some, or use a machine that has more")]
    Memory {
        /// What needs it, as a sentence begins.
        what: String,
        /// Bytes that are needed at once.
        bytes: u64,
    },
    /// A device that cannot run here, with the reason.
    #[error("{0}")]
    Device(String),
}

impl Error {
    /// An [`Error::Read`] for `path`; made for `map_err`.
    pub fn read(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Read { path, source }
    }

    /// An [`Error::Registration`] for the scan `path`; made for `map_err`.
    pub fn registration(path: impl AsRef<Path>) -> impl FnOnce(RegistrationError) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Registration { path, source }
    }

    /// An [`Error::Write`] for `path`; made for `map_err`.
    pub fn write(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Write { path, source }
    }
}

impl From<files::Error> for Error {
    fn from(error: files::Error) -> Error {
        match error {
            files::Error::Read { path, source } => Error::Read { path, source },
            files::Error::Write { path, source } => Error::Write { path, source },
            files::Error::Scan { path, problem } => Error::Scan { path, problem },
            files::Error::Nifti { path, source } => Error::Nifti { path, source },
            files::Error::Dicom { path, source } => Error::Dicom { path, source },
            files::Error::Transform { path, source } => Error::Transform { path, source },
            files::Error::Shape(problem) => Error::Shape(problem),
        }
    }
}

impl From<network::Error> for Error {
    fn from(error: network::Error) -> Error {
        match error {
            network::Error::File(error) => error.into(),
            network::Error::Description(problem) => Error::Description(problem),
            network::Error::Weights { path, source } => Error::Weights { path, source },
            network::Error::Checkpoint { path, source } => Error::Checkpoint { path, source },
            network::Error::Shape(problem) => Error::Shape(problem),
            network::Error::Device(problem) => Error::Device(problem),
            network::Error::Memory(error) => error.into(),
        }
    }
}

impl From<scan::Error> for Error {
    fn from(error: scan::Error) -> Error {
        match error {
            scan::Error::File(error) => error.into(),
            scan::Error::Network(error) => error.into(),
            scan::Error::Scan { path, problem } => Error::Scan { path, problem },
            scan::Error::Registration { path, source } => Error::Registration { path, source },
            scan::Error::Shape(problem) => Error::Shape(problem),
            scan::Error::Memory(error) => error.into(),
        }
    }
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory { what, bytes }: OutOfMemory) -> Error {
        Error::Memory { what, bytes }
    }
}

impl From<SingularAffine> for Error {
    fn from(error: SingularAffine) -> Error {
        Error::Shape(error.to_string())
    }
}
