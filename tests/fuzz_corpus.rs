//! What the fuzzers found and what they start from, on the stable toolchain: each file of tests/corpus/TARGET goes through
//! that target's entry point, which must neither panic nor hang.

#![allow(clippy::duplicate_mod)] // two entries read their choices from bytes

#[path = "entry/checkpoint.rs"]
mod checkpoint;
#[path = "entry/network.rs"]
mod network;
#[path = "entry/series/mod.rs"]
mod series;
#[path = "entry/weights.rs"]
mod weights;

use std::fs;
use std::path::Path;

/// Runs `entry` over every file of a target's corpus.
fn replay(target: &str, entry: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut count = 0;
    for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = file.unwrap().path();
        // Shown where the test fails: the file that did it.
        println!("{}", path.display());
        entry(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn nifti() {
    replay("nifti", |bytes| {
        if let Ok(scan) = ichor::io::nifti::read_bytes(bytes) {
            assert_eq!(scan.volume.grid(), scan.header.grid());
            assert!(scan.volume.grid().affine.inverse().is_some());
        }
    });
}

#[test]
fn dicom_files() {
    replay("dicom", |bytes| {
        if let Ok(slices) = ichor::io::dicom::read_bytes(bytes) {
            assert!(!slices.is_empty());
        }
        // What damage does: every file cut, and with single bytes turned over.
        for end in (0..bytes.len()).step_by(7) {
            assert!(ichor::io::dicom::read_bytes(&bytes[..end]).is_err(), "{end} bytes");
        }
        let mut damaged = bytes.to_vec();
        for at in (0..bytes.len()).step_by(5) {
            damaged[at] ^= 0xFF;
            let _ = ichor::io::dicom::read_bytes(&damaged);
            damaged[at] ^= 0xFF;
        }
    });
}

#[test]
fn weights_files() {
    replay("weights", weights::weights);
}

#[test]
fn checkpoints() {
    replay("checkpoint", checkpoint::checkpoint);
}

#[test]
fn networks() {
    replay("network", |bytes| assert!(network::network(bytes), "too large: it would not be run"));
}

#[test]
fn series_of_files() {
    replay("series", series::series);
}
