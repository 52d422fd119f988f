//! Files in and out. Knows nothing of networks.

pub mod atomic;
#[cfg_attr(not(feature = "dicom"), path = "no_dicom.rs")]
pub mod dicom;
mod error;
pub mod lock;
pub mod mask;
pub mod nifti;
pub mod ownership;
#[cfg(feature = "report")]
pub mod spreadsheet;
pub mod transform;

pub use error::{Error, Result};
