#![no_main]

#[path = "../../tests/entry/weights.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::weights(bytes));
