//! RLE, the compression of PS3.5, annex G: PackBits over planes of bytes, the highest byte first.

use super::error::DicomError;

/// The samples of a frame, little endian, of `bytes` bytes each.
///
/// # Errors
/// [`DicomError::Pixels`] where the planes are not as many as a sample has bytes, or one of them ends early.
pub fn decode(frame: &[u8], samples: usize, bytes: usize) -> Result<Vec<u8>, DicomError> {
    let failed = || DicomError::Pixels("RLE: the frame is damaged".into());
    let long = |n: usize| frame.get(4 * n..4 * n + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    if long(0) != Some(bytes) {
        return Err(failed());
    }
    let mut values = vec![0; samples * bytes];
    for plane in 0..bytes {
        let from = long(1 + plane).ok_or_else(failed)?;
        let to = if plane + 1 < bytes { long(2 + plane).ok_or_else(failed)? } else { frame.len() };
        let packed = frame.get(from..to).ok_or_else(failed)?;
        let unpacked = unpack(packed, samples).ok_or_else(failed)?;
        for (sample, byte) in values.chunks_exact_mut(bytes).zip(unpacked) {
            sample[bytes - 1 - plane] = byte;
        }
    }
    Ok(values)
}

/// `length` bytes of PackBits; `None` where there are fewer.
fn unpack(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (&control, rest) = packed.split_first()?;
        packed = match control {
            0..128 => {
                let (literal, rest) = rest.split_at_checked(usize::from(control) + 1)?;
                bytes.extend(literal);
                rest
            }
            128 => rest,
            129.. => {
                let (&byte, rest) = rest.split_first()?;
                bytes.extend(std::iter::repeat_n(byte, 257 - usize::from(control)));
                rest
            }
        };
    }
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_come_back_with_the_high_byte_first() {
        // High bytes: five times 1. Low bytes: literals 2, 3, 4 and twice 9.
        let mut frame = [2_u32, 64, 66].map(u32::to_le_bytes).concat();
        frame.resize(64, 0);
        frame.extend([252, 1, 2, 2, 3, 4, 255, 9]);
        assert_eq!(decode(&frame, 5, 2).unwrap(), [2, 1, 3, 1, 4, 1, 9, 1, 9, 1]);
        for end in 0..frame.len() {
            assert!(decode(&frame[..end], 5, 2).is_err(), "{end} bytes");
        }
    }
}
