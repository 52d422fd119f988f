//! Files in and out. Knows nothing of networks.

pub mod atomic;
pub mod canvas;
pub mod dicom;
pub mod font;
pub mod lock;
pub mod mask;
pub mod nifti;
pub mod ownership;
pub mod spreadsheet;
pub mod transform;
