//! Reading of untrusted bytes piece by piece: varints, lengths, protocol buffer fields. Never beyond the end.

use super::Checked;
use crate::network::error::CheckpointError;

/// What is left to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// The value of a protocol buffer's field.
pub(super) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Fixed64,
}

const ENDS_EARLY: CheckpointError = CheckpointError::Malformed("an entry ends early");

impl<'a> Reader<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64) -> Checked<&'a [u8]> {
        let (taken, rest) = usize::try_from(count).ok().and_then(|n| self.0.split_at_checked(n)).ok_or(ENDS_EARLY)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of up to 64 bits in groups of 7, the lowest first; the high bit of a byte says that there are more.
    pub(super) fn varint(&mut self) -> Checked<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CheckpointError::Malformed("a number has more than 64 bits"))
    }

    pub(super) fn u32(&mut self) -> Checked<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The next field of a protocol buffer message: its number and its value.
    pub(super) fn field(&mut self) -> Checked<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(self.u32()?),
            _ => return Err(CheckpointError::Malformed("an entry has a field of an unknown kind")),
        };
        Ok((tag >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
        let mut reader = Reader(bytes);
        reader.varint().ok().map(|value| (value, reader.0.len()))
    }

    #[test]
    fn varints_are_those_of_the_specification() {
        // protobuf.dev/programming-guides/encoding: 150 is 96 01.
        assert_eq!(varint(&[0x96, 0x01]), Some((150, 0)));
        assert_eq!(varint(&[0x7f, 0x01]), Some((127, 1)));
        assert_eq!(varint(&[0x80, 0x00]), Some((0, 0)));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(varint(&[&most[..], &[0x01]].concat()), Some((u64::MAX, 0)));
        assert_eq!(varint(&[&most[..], &[0x02]].concat()), None, "65 bits");
        assert_eq!(varint(&[&most[..], &[0x81, 0x00]].concat()), None, "eleven bytes");
        assert_eq!(varint(&[0x80]), None, "cut");
        assert_eq!(varint(&[]), None);
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut reader = Reader(&[1, 2, 3]);
        assert!(reader.take(4).is_err() && reader.take(u64::MAX).is_err() && reader.u32().is_err());
        assert_eq!(reader.take(3).unwrap(), [1, 2, 3]);
        assert!(reader.is_empty() && reader.take(1).is_err());
    }

    #[test]
    fn fields_of_every_kind_are_read() {
        let mut reader = Reader(&[0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, 9, 9, 0x25, 1, 0, 0, 2]);
        assert!(matches!(reader.field().unwrap(), (1, Field::Varint(150))));
        assert!(matches!(reader.field().unwrap(), (2, Field::Fixed64)));
        assert!(matches!(reader.field().unwrap(), (3, Field::Bytes([9, 9]))));
        assert!(matches!(reader.field().unwrap(), (4, Field::Fixed32(0x0200_0001))));
        assert!(reader.is_empty());
        assert!(Reader(&[0x0b]).field().is_err(), "a group, which nobody writes any more");
        assert!(Reader(&[0x1a, 2, 9]).field().is_err());
    }
}
