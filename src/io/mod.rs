//! Files in and out. Knows nothing of networks.

pub mod atomic;
pub mod dicom;
mod error;
pub mod lock;
pub mod mask;
pub mod nifti;
pub mod ownership;
pub mod spreadsheet;
pub mod transform;

pub use error::{Error, Result};
