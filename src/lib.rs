//! ichor finds intracerebral hemorrhage on a non-contrast head CT and measures its volume.
//!
//! For research use only, not for diagnosis.
//!
//! The folders in the order in which data goes through them; a module uses those above it only:
//!
//! - [`words`]: words of messages. Knows nothing of anything.
//! - [`random`]: random numbers.
//! - [`memory`]: whether memory can be had.
//! - [`volume`]: voxel grids, affines, orientation, resampling. Knows nothing of networks.
//! - [`draw`]: pictures and their letters.
//! - [`io`]: NIfTI, DICOM, transforms. Knows nothing of networks.
//! - [`network`]: a V-Net's description and plan, weights, the plain loops that define what is right, and the engines
//!   for CPU and NVIDIA GPU. Knows nothing of CT.
//! - [`scan`]: one scan: clamp, brain extraction, registration, network, inverse transform.
//! - [`error`]: the error of all above; [`io`], [`network`] and [`scan`] have their own, which come into it.
//! - [`phantom`]: generated heads with bleeds of known place and volume.
//! - [`batch`]: many scans: finding them, going on, reports, tables, pages.
//! - [`training`]: the trainer, whose samples come through [`scan`].
//! - [`evaluation`]: automated masks against manual ones: measures, tables, figures.

#![warn(missing_docs)]

pub mod batch;
pub mod draw;
pub mod error;
pub mod evaluation;
pub mod io;
pub mod memory;
pub mod network;
pub mod phantom;
pub mod random;
pub mod scan;
pub mod training;
pub mod volume;
pub mod words;

pub use error::{Error, Result};
