//! What the entries of a checkpoint's index say: protocol buffers of TensorFlow's `tensor_bundle.proto`.
//!
//! ```text
//! key ""   BundleHeaderProto   1 num_shards, 2 endianness (0: little)
//! a name   BundleEntryProto    1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 6 crc32c (masked, fixed32), 7 slices, repeated
//!          TensorShapeProto    2 dim { 1 size }, repeated
//!          TensorSliceProto    1 extent { 1 start, 2 length }, repeated; without a length: the whole axis
//! ```

use super::reader::{Field, Reader};
use super::slices::{Extent, Slice};
use super::{Checked, table};
use crate::network::error::CheckpointError;
use crate::network::weights::Dtype;
use std::collections::BTreeMap;

/// Most data files: TensorFlow numbers them with five digits, and nobody splits a network further.
const MOST_SHARDS: u64 = 1000;

/// The index of a checkpoint.
pub(super) struct Bundle {
    /// Number of data files.
    pub(super) shards: usize,
    /// Every tensor by its key: variables, slices of variables, and TensorFlow's own.
    pub(super) tensors: BTreeMap<Vec<u8>, Entry>,
}

/// Where a tensor lies.
#[derive(Default)]
pub(super) struct Entry {
    /// TensorFlow's number of the type.
    dtype: u64,
    pub(super) shape: Vec<u64>,
    /// Number of the data file; below [`Bundle::shards`].
    pub(super) shard: u64,
    offset: u64,
    size: u64,
    checksum: u32,
    /// Where the variable has been saved in slices: these, and no values here.
    pub(super) slices: Vec<Slice>,
}

impl Bundle {
    pub(super) fn parse(index: &[u8]) -> Checked<Bundle> {
        let mut bundle = Bundle { shards: 0, tensors: BTreeMap::new() };
        for (key, value) in table::entries(index)? {
            if key.is_empty() {
                bundle.shards = parse_header(value)?;
                continue;
            }
            let entry = Entry::parse(value)?;
            if entry.shard >= bundle.shards as u64 {
                let name = String::from_utf8_lossy(&key).into_owned();
                return Err(CheckpointError::Shard { name, shard: entry.shard, shards: bundle.shards });
            }
            bundle.tensors.insert(key, entry);
        }
        Ok(bundle)
    }
}

/// The number of data files.
fn parse_header(message: &[u8]) -> Checked<usize> {
    let mut message = Reader(message);
    let mut shards = 0;
    while !message.is_empty() {
        match message.field()? {
            (1, Field::Varint(number)) => shards = number,
            (2, Field::Varint(endianness)) if endianness != 0 => return Err(CheckpointError::BigEndian),
            _ => {}
        }
    }
    if !(1..=MOST_SHARDS).contains(&shards) {
        return Err(CheckpointError::Malformed("its number of data files is not possible"));
    }
    Ok(shards as usize)
}

impl Entry {
    fn parse(message: &[u8]) -> Checked<Entry> {
        let mut message = Reader(message);
        let mut entry = Entry::default();
        while !message.is_empty() {
            match message.field()? {
                (1, Field::Varint(dtype)) => entry.dtype = dtype,
                (2, Field::Bytes(shape)) => entry.shape = parse_shape(shape)?,
                (3, Field::Varint(shard)) => entry.shard = shard,
                (4, Field::Varint(offset)) => entry.offset = offset,
                (5, Field::Varint(size)) => entry.size = size,
                (6, Field::Fixed32(checksum)) => entry.checksum = checksum,
                (7, Field::Bytes(slice)) => entry.slices.push(parse_slice(slice)?),
                _ => {}
            }
        }
        Ok(entry)
    }

    /// How the values are stored.
    pub(super) fn dtype(&self, name: &str) -> Checked<Dtype> {
        match self.dtype {
            1 => Ok(Dtype::F32),
            14 => Ok(Dtype::BF16),
            19 => Ok(Dtype::F16),
            dtype => Err(CheckpointError::Dtype { name: name.into(), dtype }),
        }
    }

    /// The values of an entry without slices, from the bytes of its data file. `name` is for errors.
    pub(super) fn read(&self, name: &str, file: &[u8]) -> Checked<Vec<f32>> {
        let dtype = self.dtype(name)?;
        let needed = self.shape.iter().try_fold(dtype.size() as u64, |size, &side| size.checked_mul(side));
        if needed != Some(self.size) {
            return Err(CheckpointError::Size { name: name.into(), shape: self.shape.clone(), size: self.size });
        }
        let end = self.offset.saturating_add(self.size);
        let Some(bytes) = file.get(self.offset as usize..end as usize) else {
            return Err(CheckpointError::Cut { name: name.into(), end, found: file.len() });
        };
        if table::masked(crc32c::crc32c(bytes)) != self.checksum {
            return Err(CheckpointError::Checksum(format!("the variable {name:?}")));
        }
        Ok(dtype.decode(bytes))
    }
}

/// The size of each dimension.
fn parse_shape(message: &[u8]) -> Checked<Vec<u64>> {
    let mut message = Reader(message);
    let mut shape = Vec::new();
    while !message.is_empty() {
        if let (2, Field::Bytes(dimension)) = message.field()? {
            shape.push(parse_numbers(dimension)?[0].unwrap_or(0));
        }
    }
    Ok(shape)
}

fn parse_slice(message: &[u8]) -> Checked<Slice> {
    let mut message = Reader(message);
    let mut slice = Slice::new();
    while !message.is_empty() {
        if let (1, Field::Bytes(extent)) = message.field()? {
            let [start, length] = parse_numbers(extent)?;
            slice.push(Extent { start: start.unwrap_or(0), length });
        }
    }
    Ok(slice)
}

/// The fields 1 and 2 of a message, where it has them.
fn parse_numbers(message: &[u8]) -> Checked<[Option<u64>; 2]> {
    let mut message = Reader(message);
    let mut numbers = [None; 2];
    while !message.is_empty() {
        if let (field @ 1..=2, Field::Varint(number)) = message.field()? {
            numbers[field as usize - 1] = Some(number);
        }
    }
    Ok(numbers)
}
