//! What can be wrong with a network, its files and its devices.

mod checkpoint;
mod weights;

pub use checkpoint::CheckpointError;
pub(crate) use weights::FORMAT;
pub use weights::WeightsError;

use crate::io;
use crate::memory::OutOfMemory;
use std::path::{Path, PathBuf};

/// Result of what loads and runs networks.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a network. `Display` is one sentence for a person; it names the file wherever there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
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
    /// An input, mask or output that does not fit the network or the engine.
    #[error("{0}")]
    Shape(String),
    /// A device that cannot run here, with the reason.
    #[error("{0}")]
    Device(String),
    /// Memory that cannot be had.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

impl Error {
    /// An [`Error::File`] for the file `path`, which cannot be read; made for `map_err`.
    pub fn read(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let error = io::Error::read(path);
        move |source| error(source).into()
    }
}
