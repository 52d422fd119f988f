//! ichor finds intracerebral hemorrhage on a non-contrast head CT and measures its volume.
//!
//! For research use only, not for diagnosis.
//!
//! The folders in the order in which data goes through them; a module uses those above it only:
//!
//! - [`words`]: words of messages. Knows nothing of anything.
//! - [`memory`]: memory and threads that cannot be had are an error. Knows nothing of anything.
//! - [`volume`]: voxel grids, affines, orientation, resampling. Knows nothing of networks.
//! - [`io`]: NIfTI files. Knows nothing of networks.
//! - [`network`]: the description of a V-Net and its forward pass, as a plan of steps. Knows nothing of CT.
//! - [`weights`]: the weights file, and the import of TensorFlow checkpoints.
//! - [`mod@reference`]: every operation as plain loops: the definition of right.
//! - [`cpu`]: the fast engine for machines without a GPU.
//! - [`cuda`]: the engine for NVIDIA GPUs; with the feature `emulator`, its kernels run on a CPU under checks as well.
//! - [`pipeline`]: clamp, brain extraction, registration, inverse transform, report: joins the above.
//! - [`training`]: the gradients of the operations on the CPU, and the trainer, whose samples come through the pipeline.
//! - [`evaluation`]: automated masks against manual ones: measures, tables, figures.

#![warn(missing_docs)]

pub mod cpu;
pub mod cuda;
pub mod device;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod error;
pub mod evaluation;
pub mod inference;
pub mod io;
pub mod memory;
pub mod network;
pub mod phantom;
pub mod pipeline;
pub mod reference;
pub mod training;
pub mod volume;
pub mod weights;
pub mod words;

pub use error::{Error, Result};
