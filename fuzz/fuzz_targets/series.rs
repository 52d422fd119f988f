#![no_main]

#[path = "../../tests/entry/series/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::series(bytes));
