#![no_main]

#[path = "../../tests/entry/network.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::network(bytes);
});
