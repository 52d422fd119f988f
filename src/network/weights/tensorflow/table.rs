//! The index of a checkpoint is a sorted table as of LevelDB (`table_format.md` in its documentation; TensorFlow's copy is
//! `core/lib/io/format.cc`):
//!
//! ```text
//! data blocks | meta index block | index block | footer of 48 bytes: handles of both index blocks, padding, magic number
//! block       entries, offsets of restarts (u32 each), their number (u32) | type (0: not compressed) | masked CRC-32C
//! entry       varints: bytes shared with the key before, further bytes of the key, bytes of the value | those bytes
//! index entry a key between two blocks -> handle of the first: varints offset and size
//! ```

use super::Checked;
use super::reader::Reader;
use crate::network::error::CheckpointError;

const FOOTER: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Type and checksum after a block.
const TRAILER: usize = 5;
/// Most entries: every variable of the largest network, and an optimizer's slots for each.
const MOST_ENTRIES: usize = 1 << 16;
/// Longest key. A few bytes can repeat a key before them, so this and the number of entries bound the memory.
const LONGEST_KEY: usize = 1024;

/// A key and its value.
pub(super) type Entry<'a> = (Vec<u8>, &'a [u8]);

/// All entries of a table.
///
/// # Errors
/// [`CheckpointError`] where the table is not whole.
pub(super) fn entries(table: &[u8]) -> Checked<Vec<Entry<'_>>> {
    let Some((body, footer)) = table.split_last_chunk::<FOOTER>() else { return Err(CheckpointError::Magic) };
    if !footer.ends_with(&MAGIC.to_le_bytes()) {
        return Err(CheckpointError::Magic);
    }
    let mut handles = Reader(footer);
    Handle::read(&mut handles)?;
    let index = block(body, Handle::read(&mut handles)?, "index block")?;
    let mut list = Vec::new();
    let mut behind = 0;
    for (_, handle) in block_entries(index)? {
        let handle = Handle::read(&mut Reader(handle))?;
        // Blocks that overlap could make a small file endless work.
        if handle.offset < behind {
            return Err(CheckpointError::Malformed("its blocks overlap"));
        }
        let block = block(body, handle, "data block")?;
        behind = handle.offset + block.len() as u64;
        list.extend(block_entries(block)?);
        if list.len() > MOST_ENTRIES {
            return Err(CheckpointError::Malformed("it has more entries than any network"));
        }
    }
    Ok(list)
}

/// Where a block lies.
#[derive(Clone, Copy)]
struct Handle {
    offset: u64,
    size: u64,
}

impl Handle {
    fn read(reader: &mut Reader) -> Checked<Handle> {
        Ok(Handle { offset: reader.varint()?, size: reader.varint()? })
    }
}

/// Contents of a block whose checksum fits.
fn block<'a>(body: &'a [u8], handle: Handle, what: &'static str) -> Checked<&'a [u8]> {
    let whole = usize::try_from(handle.offset).ok().and_then(|offset| {
        let end = offset.checked_add(usize::try_from(handle.size).ok()?)?.checked_add(TRAILER)?;
        body.get(offset..end)
    });
    let Some((checked, &checksum)) = whole.and_then(|whole| whole.split_last_chunk()) else {
        return Err(CheckpointError::Outside(what));
    };
    if masked(crc32c::crc32c(checked)) != u32::from_le_bytes(checksum) {
        return Err(CheckpointError::Checksum(what.into()));
    }
    match checked.split_last() {
        Some((0, contents)) => Ok(contents),
        Some((&kind, _)) => Err(CheckpointError::Compressed(kind)),
        None => Err(CheckpointError::Outside(what)),
    }
}

/// LevelDB stores a CRC turned and shifted, so that the checksum of bytes that hold a checksum is no special case.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The entries of a block's contents.
fn block_entries(block: &[u8]) -> Checked<Vec<Entry<'_>>> {
    let restarts = |block: &[u8]| {
        let (rest, &number) = block.split_last_chunk()?;
        rest.len().checked_sub(4 * u32::from_le_bytes(number) as usize)
    };
    let end = restarts(block).ok_or(CheckpointError::Outside("list of restarts"))?;
    let mut rest = Reader(&block[..end]);
    let mut list: Vec<Entry> = Vec::new();
    while !rest.is_empty() {
        let [shared, own, value] = [rest.varint()?, rest.varint()?, rest.varint()?];
        let before = list.last().map_or(&[][..], |(key, _)| key);
        let Some(shared) = usize::try_from(shared).ok().and_then(|shared| before.get(..shared)) else {
            return Err(CheckpointError::Malformed("a key repeats more of the key before it than there is"));
        };
        let key = [shared, rest.take(own)?].concat();
        if key.len() > LONGEST_KEY {
            return Err(CheckpointError::Malformed("a key is longer than any variable's"));
        }
        list.push((key, rest.take(value)?));
        if list.len() > MOST_ENTRIES {
            return Err(CheckpointError::Malformed("it has more entries than any network"));
        }
    }
    Ok(list)
}
