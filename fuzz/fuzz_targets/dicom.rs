//! Any bytes as a DICOM file: HU of its slices or an error, no panic, no memory that the bytes do not account for.
//!
//! JPEG 2000 is left out: its decoder, openjp2, breaks a rule of the language when it lets go of a damaged image (docs/dicom.md).

#![no_main]

/// What the UIDs of the JPEG 2000 transfer syntaxes (4.90 and 4.91) begin with.
const JPEG_2000: &[u8] = b"1.2.840.10008.1.2.4.9";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.windows(JPEG_2000.len()).any(|window| window == JPEG_2000) {
        return;
    }
    if let Ok(slices) = ichor::io::dicom::read_bytes(bytes) {
        assert!(!slices.is_empty());
    }
});
