//! Any bytes as a TensorFlow checkpoint with one data file: weights or an error, no panic, no memory that the bytes do
//! not account for.
//!
//! The first two bytes are a length n, little-endian. n < 65535: n bytes that become the contents of the index's only
//! block, around which a whole table with right checksums is built (by chance they would never be right), then the data
//! file. n = 65535: the rest is the index as it is.

use ichor::network::weights::Weights;
use ichor::network::weights::tensorflow::Options;

/// Imports the checkpoint that the bytes describe.
pub fn checkpoint(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let length = u16::from_le_bytes(*length);
    let (index, data) = match length {
        u16::MAX => (rest.to_vec(), &[][..]),
        _ => {
            let (block, data) = rest.split_at(usize::from(length).min(rest.len()));
            (table(block), data)
        }
    };
    if let Ok(weights) = Weights::import_tensorflow_bytes("fuzz", &index, data, Options::default()) {
        let values: usize = weights.description().tensors().iter().map(|t| weights.tensor(&t.name).len()).sum();
        assert_eq!(values, weights.description().parameters());
    }
}

/// A table of the LevelDB kind with one data block.
fn table(block: &[u8]) -> Vec<u8> {
    let mut table = Vec::new();
    let data = append(&mut table, block);
    // One entry with an empty key, one restart at 0.
    let entry = [&[0, 0, data.len() as u8][..], &data, &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
    let index = append(&mut table, &entry);
    let mut footer = [data, index].concat();
    footer.resize(40, 0);
    table.extend([&footer[..], &0xdb47_7524_8b80_fb57u64.to_le_bytes()].concat());
    table
}

/// Appends a block with type and masked checksum; gives its handle.
fn append(table: &mut Vec<u8>, block: &[u8]) -> Vec<u8> {
    let handle = [varint(table.len()), varint(block.len())].concat();
    let typed = [block, &[0]].concat();
    let checksum = crc32c::crc32c(&typed).rotate_right(15).wrapping_add(0xa282_ead8);
    table.extend([&typed[..], &checksum.to_le_bytes()].concat());
    handle
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
