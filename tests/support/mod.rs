//! What several tests share.
#![allow(dead_code)] // each test file uses a part

#[cfg(feature = "cuda")]
pub mod devices;
pub mod odd_nifti;
pub mod oracle;
#[cfg(all(feature = "dicom", feature = "phantom"))]
pub mod raw_dicom;
pub mod raw_nifti;

use std::path::PathBuf;

/// The folder of reference data beside the project (or named by ICHOR_SHARED), or `None` with a printed reason.
pub fn shared(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ICHOR_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join(part);
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there (set ICHOR_SHARED to the folder of reference data)", folder.display());
    None
}
