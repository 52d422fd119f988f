//! Variables that TensorFlow has saved in slices (a partitioner cuts large ones): the variable's own entry has no
//! values, but lists its slices; each slice has an entry of its own, whose key is the variable's and the slice's
//! extents in an encoding that sorts (TensorFlow's `saved_tensor_slice_util.cc` and `ordered_code.cc`).

use super::Checked;
use crate::network::error::CheckpointError;

/// A slice's part of one axis.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: u64,
    /// `None`: the whole axis.
    pub(super) length: Option<u64>,
}

/// A slice: one extent for each axis.
pub(super) type Slice = Vec<Extent>;

/// Where a slice lies: its start and length along each axis.
pub(super) type Place = Vec<(usize, usize)>;

/// The key of a slice's entry: `0, key, rank, start and length of each axis`, each in its sorting form.
pub(super) fn key(variable: &str, slice: &Slice) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(variable.as_bytes());
    bytes.extend([0, 1]);
    bytes.extend([1, slice.len() as u8]);
    for extent in slice {
        push_number(&mut bytes, extent.start as i64);
        push_number(&mut bytes, extent.length.map_or(-1, |length| length as i64));
    }
    bytes
}

/// A number n in as many bytes as its leading bits tell: `10` + 6 bits for n below 64, `110` + 13 bits below 2^13, ..;
/// -1 is `01` + ones.
fn push_number(bytes: &mut Vec<u8>, number: i64) {
    if (-64..64).contains(&number) {
        bytes.push(0x80 ^ number as u8);
        return;
    }
    let bits = 64 - number.leading_zeros() as usize;
    let length = 1 + bits / 7;
    let tail = &number.to_be_bytes()[8 - length..];
    bytes.push(tail[0] ^ !(0xff >> length));
    bytes.extend(&tail[1..]);
}

/// Where the slices lie, once it is certain that they are all in `shape` and together have as many values as it.
pub(super) fn resolve(name: &str, slices: &[Slice], shape: &[u64]) -> Checked<Vec<Place>> {
    let wrong = || CheckpointError::Slices(name.into());
    let mut places = Vec::new();
    let mut count = 0;
    for slice in slices {
        if slice.len() != shape.len() {
            return Err(wrong());
        }
        let mut place = Place::new();
        for (extent, &side) in slice.iter().zip(shape) {
            let length = extent.length.unwrap_or(side);
            if length == 0 || extent.start.checked_add(length).is_none_or(|end| end > side) {
                return Err(wrong());
            }
            place.push((extent.start as usize, length as usize));
        }
        count += place.iter().map(|(_, length)| *length as u64).product::<u64>();
        places.push(place);
    }
    if count == shape.iter().product::<u64>() { Ok(places) } else { Err(wrong()) }
}

/// Puts the values of slices together to those of `shape`, C order.
pub(super) fn join(name: &str, slices: &[(Place, Vec<f32>)], shape: &[u64]) -> Checked<Vec<f32>> {
    let mut joined: Vec<Option<f32>> = vec![None; shape.iter().product::<u64>() as usize];
    for (place, values) in slices {
        for (number, &value) in values.iter().enumerate() {
            let (mut rest, mut index, mut step) = (number, 0, 1);
            for (&(start, length), &side) in place.iter().zip(shape).rev() {
                index += (start + rest % length) * step;
                rest /= length;
                step *= side as usize;
            }
            if joined[index].replace(value).is_some() {
                return Err(CheckpointError::Slices(name.into()));
            }
        }
    }
    // As many values as places, no place taken twice: every place is taken.
    Ok(joined.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_sorting_form() {
        let of = |number| {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            bytes
        };
        // ordered_code.cc: one byte for -64..64, two for -2^13..2^13, three for -2^20..2^20; the order of the bytes is
        // that of the numbers.
        let cases: [(i64, &[u8]); 9] = [
            (-1, &[0x7f]),
            (0, &[0x80]),
            (63, &[0xbf]),
            (64, &[0xc0, 64]),
            (255, &[0xc0, 255]),
            (256, &[0xc1, 0]),
            (8191, &[0xdf, 0xff]),
            (8192, &[0xe0, 0x20, 0]),
            (1 << 20, &[0xf0, 0x10, 0, 0]),
        ];
        for (number, bytes) in cases {
            assert_eq!(of(number), bytes, "{number}");
        }
        assert!(cases.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }

    #[test]
    fn a_key_has_name_rank_and_extents() {
        let slice = vec![Extent { start: 3, length: Some(100) }, Extent { start: 0, length: None }];
        assert_eq!(key("a/b", &slice), b"\0a/b\0\x01\x01\x02\x83\xc0\x64\x80\x7f");
    }

    #[test]
    fn slices_are_put_where_they_belong() {
        // A 2x3 array cut into its first column and the rest.
        let shape = [2, 3];
        let slices = [
            vec![Extent { start: 0, length: None }, Extent { start: 0, length: Some(1) }],
            vec![Extent { start: 0, length: Some(2) }, Extent { start: 1, length: Some(2) }],
        ];
        let places = resolve("x", &slices, &shape).unwrap();
        assert_eq!(places, [[(0, 2), (0, 1)], [(0, 2), (1, 2)]]);
        let values = [vec![1.0, 4.0], vec![2.0, 3.0, 5.0, 6.0]];
        let parts: Vec<_> = places.into_iter().zip(values).collect();
        assert_eq!(join("x", &parts, &shape).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn slices_that_do_not_fill_the_variable_once_are_refused() {
        let of = |slices: &[(u64, Option<u64>)]| {
            let slices: Vec<Slice> = slices.iter().map(|&(start, length)| vec![Extent { start, length }]).collect();
            resolve("x", &slices, &[6])
        };
        assert!(of(&[(0, Some(2)), (2, Some(4))]).is_ok());
        assert!(of(&[(0, Some(2)), (2, Some(3))]).is_err(), "too few");
        assert!(of(&[(0, Some(2)), (0, Some(5))]).is_err(), "too many");
        assert!(of(&[(0, Some(2)), (3, Some(4))]).is_err(), "beyond the end");
        assert!(of(&[(u64::MAX, Some(2)), (2, Some(4))]).is_err(), "far beyond the end");
        assert!(of(&[(1, None)]).is_err(), "the whole axis, but not from its beginning");
        assert!(of(&[(0, Some(6)), (0, Some(0))]).is_err(), "empty");
        assert!(resolve("x", &[vec![]], &[6]).is_err(), "another rank");
        let twice = of(&[(0, Some(3)), (2, Some(3))]).unwrap();
        let parts: Vec<_> = twice.into_iter().map(|place| (place, vec![0.0; 3])).collect();
        assert!(join("x", &parts, &[6]).is_err(), "a value twice");
    }
}
