//! The weights file: a safetensors container whose metadata holds the network's description.
//!
//! ```text
//! u64 little-endian: length of the header
//! header, JSON: {"__metadata__": {"format": "ichor-weights-1", "network": "{..}", ..},
//!                "<tensor>": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..}
//! the tensors' values, C order, little-endian, without gaps
//! ```
//!
//! The container is read and written here and not by the `safetensors` crate (the tests compare the two), because that
//! crate adds up a file's claims unchecked at the end, lets a header have 100 MB, does not name the tensor whose size
//! is wrong, and writes metadata in a random order: the same weights would give different bytes each time.

use super::Metadata;
use super::float16;
use crate::network::Description;
use crate::network::error::{FORMAT, WeightsError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Longest header that is read, in bytes: ten times that of the largest network that a description allows.
const MOST_HEADER: u64 = 1 << 20;
/// Bytes of the header's length.
const LENGTH: usize = 8;
/// The header is padded with blanks to a multiple of this, so that every f32 in the file is aligned.
const ALIGNMENT: usize = 8;

/// How a file stores values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    BF16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

    /// Bytes of a value.
    pub(crate) fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// Values of little-endian bytes.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| float16::from_f16(u16::from_le_bytes(b))).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| float16::from_bf16(u16::from_le_bytes(b))).collect(),
        }
    }

    /// Little-endian bytes of values, each rounded to the nearest.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Dtype::F32 => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Dtype::F16 => values.iter().for_each(|&v| bytes.extend(float16::to_f16(v).to_le_bytes())),
            Dtype::BF16 => values.iter().for_each(|&v| bytes.extend(float16::to_bf16(v).to_le_bytes())),
        }
    }

    /// Index of the first value that is infinite or not a number: one whose exponent has all bits set.
    fn first_not_finite(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Dtype::F32 => first_where(bytes, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
            Dtype::F16 => first_where(bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
            Dtype::BF16 => first_where(bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Index of the first value of N bytes for which `found` holds. Whole blocks are looked at without a branch: that way
/// it is vectorised.
fn first_where<const N: usize>(bytes: &[u8], found: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const BLOCK: usize = 4096;
    let (values, _) = bytes.as_chunks::<N>();
    for (number, block) in values.chunks(BLOCK).enumerate() {
        if block.iter().fold(false, |any, &value| any | found(value)) {
            return block.iter().position(|&value| found(value)).map(|index| number * BLOCK + index);
        }
    }
    None
}

/// A checked file: the network, and where each tensor lies.
pub(super) struct Layout {
    pub(super) description: Description,
    pub(super) metadata: Metadata,
    entries: BTreeMap<String, Entry>,
}

/// A tensor's place in the file.
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) range: Range<usize>,
}

impl Layout {
    pub(super) fn entry(&self, name: &str) -> &Entry {
        self.entries.get(name).unwrap_or_else(|| panic!("the network has no tensor {name:?}"))
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorHeader {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// Checks a whole file.
///
/// # Errors
/// The first [`WeightsError`] that is found: container, metadata, then tensors, then values.
pub(super) fn parse(bytes: &[u8]) -> Result<Layout, WeightsError> {
    let (header, data) = read_header(bytes)?;
    let mut entries = header.metadata;
    match entries.remove("format") {
        None => return Err(WeightsError::NoFormat),
        Some(format) if format != FORMAT => return Err(WeightsError::Format(format)),
        Some(_) => {}
    }
    let network = entries.remove("network").ok_or(WeightsError::NoNetwork)?;
    let description: Description = serde_json::from_str(&network).map_err(|e| WeightsError::Network(e.to_string()))?;
    description.validate().map_err(|e| WeightsError::Description(e.to_string()))?;
    let metadata = Metadata::parse(entries, &description)?;
    let entries = place_tensors(&description, header.tensors, data.clone())?;
    check_values(bytes, &entries)?;
    Ok(Layout { description, metadata, entries })
}

/// The header, and where the tensors' values lie in the file.
fn read_header(bytes: &[u8]) -> Result<(Header, Range<usize>), WeightsError> {
    let (&length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or(WeightsError::TooShort(bytes.len()))?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER {
        return Err(WeightsError::HeaderTooLong(length));
    }
    let text = rest.get(..length as usize).ok_or(WeightsError::HeaderCut { header: length, rest: rest.len() })?;
    let header = serde_json::from_slice(text).map_err(|e| WeightsError::Header(e.to_string()))?;
    Ok((header, LENGTH + length as usize..bytes.len()))
}

/// Where each of the network's tensors lies, once names, types, shapes and ranges are right.
fn place_tensors(
    description: &Description,
    mut headers: BTreeMap<String, TensorHeader>,
    data: Range<usize>,
) -> Result<BTreeMap<String, Entry>, WeightsError> {
    let mut placed = Vec::new();
    for spec in description.tensors() {
        let name = spec.name;
        let Some(TensorHeader { dtype, shape, data_offsets: [begin, end] }) = headers.remove(&name) else {
            return Err(WeightsError::MissingTensor(name));
        };
        let Some(dtype) = Dtype::ALL.into_iter().find(|d| d.to_string() == dtype) else {
            return Err(WeightsError::Dtype { name, dtype });
        };
        if shape != spec.shape {
            return Err(WeightsError::Shape { name, found: shape, expected: spec.shape });
        }
        // A valid description's shapes are small enough for the product.
        let expected = shape.iter().product::<usize>() * dtype.size();
        if end.checked_sub(begin) != Some(expected) {
            return Err(WeightsError::Size { name, begin, end, expected });
        }
        placed.push((begin..end, dtype, name));
    }
    if let Some((name, _)) = headers.pop_first() {
        return Err(WeightsError::UnknownTensor(name));
    }
    placed.sort_by_key(|(range, ..)| range.start);
    let mut before = (0, String::new());
    for (range, _, name) in &placed {
        if range.start < before.0 {
            return Err(WeightsError::Overlap(before.1, name.clone()));
        }
        if range.start > before.0 {
            return Err(WeightsError::Gap { name: name.clone(), bytes: range.start - before.0 });
        }
        before = (range.end, name.clone());
    }
    if before.0 != data.len() {
        return Err(WeightsError::Length { expected: before.0, found: data.len() });
    }
    let in_file = |range: Range<usize>| data.start + range.start..data.start + range.end;
    Ok(placed.into_iter().map(|(range, dtype, name)| (name, Entry { dtype, range: in_file(range) })).collect())
}

/// Checks that every value is finite.
fn check_values(bytes: &[u8], entries: &BTreeMap<String, Entry>) -> Result<(), WeightsError> {
    let wrong = entries.par_iter().find_map_first(|(name, Entry { dtype, range })| {
        let values = &bytes[range.clone()];
        let index = dtype.first_not_finite(values)?;
        let value = dtype.decode(&values[index * dtype.size()..][..dtype.size()])[0];
        Some(WeightsError::NotFinite { name: name.clone(), index, value })
    });
    wrong.map_or(Ok(()), Err)
}

/// The bytes of a weights file. The same weights give the same bytes.
///
/// `tensors` has the values of every tensor of [`Description::tensors`] in C order; `dtype` is how the file stores
/// them, rounded to the nearest.
///
/// # Errors
/// [`WeightsError::MissingTensor`], [`WeightsError::UnknownTensor`] and [`WeightsError::Values`] where the tensors are
/// not those of the description. Everything else is checked when the bytes are opened.
pub fn serialize(
    description: &Description,
    metadata: &Metadata,
    tensors: &BTreeMap<String, Vec<f32>>,
    dtype: Dtype,
) -> Result<Vec<u8>, WeightsError> {
    description.validate().map_err(|e| WeightsError::Description(e.to_string()))?;
    let shapes: BTreeMap<String, Vec<usize>> = description.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
    if let Some(name) = tensors.keys().find(|name| !shapes.contains_key(*name)) {
        return Err(WeightsError::UnknownTensor(name.clone()));
    }
    let mut header = Header { metadata: metadata.entries(), tensors: BTreeMap::new() };
    let network = serde_json::to_string(description).expect("a description has string keys");
    header.metadata.extend([("format".into(), FORMAT.into()), ("network".into(), network)]);
    let mut end = 0;
    for (name, shape) in shapes {
        let values = tensors.get(&name).ok_or_else(|| WeightsError::MissingTensor(name.clone()))?;
        let expected = shape.iter().product();
        if values.len() != expected {
            return Err(WeightsError::Values { name, found: values.len(), expected });
        }
        let begin = end;
        end += expected * dtype.size();
        header.tensors.insert(name, TensorHeader { dtype: dtype.to_string(), shape, data_offsets: [begin, end] });
    }
    let mut text = serde_json::to_vec(&header).expect("the header has string keys");
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = Vec::with_capacity(LENGTH + text.len() + end);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
    tensors.values().for_each(|values| dtype.encode(values, &mut bytes));
    Ok(bytes)
}

#[cfg(test)]
mod tests;
