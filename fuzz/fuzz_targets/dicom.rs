//! Any bytes as a DICOM file: HU of its slices or an error, no panic, no memory that the bytes do not account for.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(slices) = ichor::io::dicom::read_bytes(bytes) {
        assert!(!slices.is_empty());
    }
});
