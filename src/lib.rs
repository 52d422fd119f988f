//! ichor finds intracerebral hemorrhage on a non-contrast head CT and measures its volume.
//!
//! **For research use only, not for diagnosis.**
//!
//! ```no_run
//! let mut segmenter = ichor::Segmenter::builder().threads(4).build()?; // built-in weights and template, on the CPU
//! let scan = ichor::Scan::open("ct.nii.gz")?; // NIfTI, or a DICOM file, folder or series
//! let found = segmenter.segment(&scan)?;
//! println!("{:.2} mL", found.volume_ml());
//! found.save("results/ct")?; // mask, report, picture; DICOM-SEG of a series
//! # Ok::<(), ichor::Error>(())
//! ```
//!
//! [`Segmenter`] is loaded once and kept; [`Segmenter::preparer`] makes the next scan ready on another thread. [`Engine`]
//! is the network alone, on plain slices, for a service that makes its own input. What stands below the root is what the
//! command line is made of.
//!
//! The folders in the order in which data goes through them; a module uses those above it only:
//!
//! - [`words`]: words of messages. Knows nothing of anything.
//! - `random`: random numbers.
//! - [`memory`]: memory and threads that cannot be had are an error. Knows nothing of anything.
//! - [`volume`]: voxel grids, affines, orientation, resampling. Knows nothing of networks.
//! - `draw`: pictures and their letters.
//! - [`io`]: NIfTI, DICOM, transforms. Knows nothing of networks.
//! - [`network`]: a V-Net's description and plan, weights, the plain loops that define what is right, and the engines
//!   for CPU and NVIDIA GPU. Knows nothing of CT.
//! - [`scan`]: one scan: clamp, brain extraction, registration, network, inverse transform.
//! - `error`: the error of all above; [`io`], [`network`] and [`scan`] have their own, which come into it.
//! - [`phantom`]: generated heads with bleeds of known place and volume.
//! - [`batch`]: many scans: finding them, going on, reports, tables, pages.
//! - [`training`]: the trainer, whose samples come through [`scan`].
//! - [`evaluation`]: automated masks against manual ones: measures, tables, figures.
//!
//! Cargo features, all of them on by default; without any there is the whole path of one scan on the CPU:
//!
//! | feature | brings |
//! |---|---|
//! | `built-in-weights` | the demonstration weights |
//! | `cli` | the program `ichor` |
//! | `cuda` | the engine for NVIDIA GPUs |
//! | `dicom` | DICOM in and out |
//! | `evaluate` | automated masks against manual ones |
//! | `phantom` | generated heads |
//! | `report` | tables, pages and pictures |
//! | `train` | the trainer |

#![warn(missing_docs)]
// What only the absent features use is not counted as dead.
#![cfg_attr(not(all(feature = "cli", feature = "cuda")), allow(dead_code))]

pub mod batch;
#[cfg(feature = "report")]
mod draw;
mod engine;
mod error;
#[cfg(feature = "evaluate")]
pub mod evaluation;
pub mod io;
pub mod memory;
pub mod network;
#[cfg(feature = "phantom")]
pub mod phantom;
mod random;
pub mod scan;
mod segmenter;
#[cfg(feature = "train")]
pub mod training;
pub mod volume;
pub mod words;

pub use engine::Engine;
pub use error::{Error, Result};
pub use network::device::{Device, Grade};
pub use network::weights::Weights;
pub use scan::segment::{BrainSource, Options, Segmentation};
pub use scan::warnings::Warning;
pub use segmenter::{Finding, Prepared, Preparer, Scan, Segmenter, SegmenterBuilder};
pub use volume::{Grid, Volume};
