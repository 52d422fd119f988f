//! Any bytes as a .nii or .nii.gz file: a scan or an error, no panic, no memory that the bytes do not account for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(scan) = ichor::io::nifti::read_bytes(bytes) {
        assert_eq!(scan.volume.grid(), scan.header.grid());
        assert!(scan.volume.grid().affine.inverse().is_some());
    }
});
