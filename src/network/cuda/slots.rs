//! Where the channels of a blocked activation lie.

/// The place of each channel of a blocked activation. Chunks hold 8 places; two activations that are joined keep their own chunks, so the
/// first one's last chunk may have a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    places: Vec<usize>,
    chunks: usize,
}

impl Slots {
    /// `channels` channels one after another.
    pub fn plain(channels: usize) -> Slots {
        Slots { places: (0..channels).collect(), chunks: channels.div_ceil(8) }
    }

    /// The channels of `first`, then those of `second`, each in their own chunks.
    pub fn joined(first: &Slots, second: &Slots) -> Slots {
        let places = first.places.iter().copied().chain(second.places.iter().map(|place| 8 * first.chunks + place)).collect();
        Slots { places, chunks: first.chunks + second.chunks }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.places.len()
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Each channel with its place.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.places.iter().copied().enumerate()
    }

    /// `values` of the channels (or zeros for none) at their places, with zeros between and to a multiple of `multiple`.
    pub fn scatter(&self, values: Option<&[f32]>, multiple: usize) -> Vec<f32> {
        let mut scattered = vec![0.0; (8 * self.chunks).next_multiple_of(multiple)];
        for (channel, place) in self.places() {
            scattered[place] = values.map_or(0.0, |values| values[channel]);
        }
        scattered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_part_begins_with_a_chunk_of_its_own() {
        let joined = Slots::joined(&Slots::plain(3), &Slots::plain(9));
        assert_eq!(joined.chunks(), 3);
        assert_eq!(joined.channels(), 12);
        let places: Vec<usize> = joined.places().map(|(_, place)| place).collect();
        assert_eq!(places, [0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let scattered = joined.scatter(Some(&[1.0; 12]), 32);
        assert_eq!((scattered.len(), scattered[2], scattered[3], scattered[8], scattered[17]), (32, 1.0, 0.0, 1.0, 0.0));
    }
}
