#![no_main]

#[path = "../../tests/entry/checkpoint.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::checkpoint(bytes));
