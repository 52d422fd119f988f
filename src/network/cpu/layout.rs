//! How the engine stores activations: channels in blocks of 16.
//!
//! A buffer is a list of blocks, each `[D][H][W][16]`. Channels that come from different sources (the two halves of a concatenation) begin
//! at a block of their own, so that a skip connection is read where it lies; places without a channel hold 0 and meet weights of 0.

use super::simd::LANES;
use crate::network::plan::Layer;
use crate::network::region::Voxels;
use crate::network::weights::LayerTensors;

/// Which channel each place of a buffer's blocks holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Vec<Option<usize>>);

impl Slots {
    /// The places of channels that come in `parts` (numbers of channels).
    pub fn new(parts: &[usize]) -> Slots {
        let mut slots = Vec::new();
        let mut first = 0;
        for &channels in parts {
            slots.extend((first..first + channels).map(Some));
            slots.resize(slots.len().next_multiple_of(LANES), None);
            first += channels;
        }
        Slots(slots)
    }

    /// Number of blocks of 16 places.
    pub fn blocks(&self) -> usize {
        self.0.len() / LANES
    }

    /// The channel at a place.
    pub fn channel(&self, place: usize) -> Option<usize> {
        self.0[place]
    }

    /// `values` (one for each channel) in the buffer's places, 0 where there is none.
    pub fn scatter(&self, values: &[f32]) -> Vec<f32> {
        self.0.iter().map(|channel| channel.map_or(0.0, |c| values[c])).collect()
    }
}

/// The values of a convolution's kernel, and the places of its channels.
#[derive(Clone, Copy)]
pub struct KernelValues<'a> {
    /// Taps along (D, H, W).
    pub size: [usize; 3],
    /// The values, (kd, kh, kw, in, out); of a transposed convolution (kd, kh, kw, out, in).
    pub values: &'a [f32],
    /// Numbers of input and output channels.
    pub channels: [usize; 2],
    /// Places of the input's channels.
    pub input: &'a Slots,
    /// Places of the output's channels.
    pub output: &'a Slots,
}

impl<'a> KernelValues<'a> {
    /// Those of a layer, for the places of its input and its output.
    pub fn new(layer: &Layer, tensors: &'a LayerTensors, [input, output]: [&'a Slots; 2]) -> KernelValues<'a> {
        let channels = [layer.inputs, layer.outputs];
        KernelValues { size: layer.kernel, values: &tensors.kernel, channels, input, output }
    }

    /// The value at a tap from the channel at a place of the input to that at a place of the output; 0 where one of
    /// them has none.
    #[inline]
    pub fn at(&self, tap: usize, from: usize, to: usize) -> f32 {
        match (self.input.channel(from), self.output.channel(to)) {
            (Some(c), Some(n)) => self.values[(tap * self.channels[0] + c) * self.channels[1] + n],
            _ => 0.0,
        }
    }

    /// [`KernelValues::at`] of a transposed convolution.
    #[inline]
    pub fn transposed_at(&self, tap: usize, from: usize, to: usize) -> f32 {
        match (self.input.channel(from), self.output.channel(to)) {
            (Some(c), Some(n)) => self.values[(tap * self.channels[1] + n) * self.channels[0] + c],
            _ => 0.0,
        }
    }
}

/// The blocks of one activation, each `[D][H][W][16]`, somewhere in the engine's memory.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Grid (D, H, W).
    pub shape: [usize; 3],
    /// Number of planes along D that are kept: plane d is at `d % planes`, and takes the place of plane `d - planes`.
    pub planes: usize,
    /// Where each block begins.
    pub places: Vec<*mut f32>,
}

// SAFETY: the pointers are only used by the engine's kernels, whose steps write each place on one thread and read it after a barrier.
unsafe impl Sync for Blocks {}
// SAFETY: as above; the memory outlives the pass.
unsafe impl Send for Blocks {}

impl Blocks {
    /// f32 from a voxel of a block to the next row.
    pub fn row(&self) -> usize {
        self.shape[2] * LANES
    }

    /// f32 in a block.
    pub fn block_len(shape: [usize; 3]) -> usize {
        shape.iter().product::<usize>() * LANES
    }

    /// Copies the vectors of a box at `begin` of `from` to `voxels` of these blocks.
    ///
    /// # Safety
    /// Both boxes are inside their grids, the blocks are there on both sides, and nobody else uses the vectors that are written.
    pub unsafe fn copy_box(&self, [ds, hs, ws]: &Voxels, from: &Blocks, begin: [usize; 3], blocks: usize) {
        for block in 0..blocks {
            for d in ds.clone() {
                for h in hs.clone() {
                    let source = from.at(block, [begin[0] + d - ds.start, begin[1] + h - hs.start, begin[2]]).cast_const();
                    // SAFETY: a line of the box lies inside the grid on both sides.
                    unsafe { self.at(block, [d, h, ws.start]).copy_from_nonoverlapping(source, ws.len() * LANES) };
                }
            }
        }
    }

    /// Where voxel (d, h, w) of a block begins.
    pub fn at(&self, block: usize, [d, h, w]: [usize; 3]) -> *mut f32 {
        self.places[block].wrapping_add(((d % self.planes * self.shape[1] + h) * self.shape[2] + w) * LANES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_begins_at_a_block() {
        let slots = Slots::new(&[3, 16, 1]);
        assert_eq!(slots.blocks(), 3);
        let scattered = slots.scatter(&(1..=20).map(|c| c as f32).collect::<Vec<_>>());
        assert_eq!(scattered[..4], [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(scattered[16], 4.0);
        assert_eq!(scattered[31..34], [19.0, 20.0, 0.0]);
        assert_eq!((slots.channel(2), slots.channel(3), slots.channel(32)), (Some(2), None, Some(19)));
    }
}
