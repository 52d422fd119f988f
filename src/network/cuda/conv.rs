//! Launcher of `kernels/conv.cu` and `kernels/sum.cu`: convolutions of stride 1 in f32.

use super::device::{Launch, Region};
use super::tiles::{Grid, TILE, address, splits, tile_count};
use bytemuck::{Pod, Zeroable};

/// Channels of a block.
pub const OUTPUTS: usize = 32;
const THREADS: u32 = 256;

/// A convolution of stride 1 with its epilogue on planar f32 activations: what `conv_f32` computes.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Kernel along (D, H, W): odd sides, at most 7.
    pub kernel: [usize; 3],
    /// Channels of `input` and, after them, of `skip`.
    pub channels: [usize; 2],
    /// Output channels.
    pub outputs: usize,
    /// The first input channels.
    pub input: Region,
    /// The others.
    pub skip: Option<Region>,
    /// Of [`pack`].
    pub weights: Region,
    /// Bias of each output, padded to a multiple of 32.
    pub bias: Region,
    /// Slope of each output, likewise.
    pub slopes: Region,
    /// What is added after the activation.
    pub residual: Option<Residual>,
    /// Where the result goes.
    pub output: Region,
    /// Parts of the input channels whose sums are added at the end, in their order ([`Conv::best_splits`]).
    pub splits: usize,
    /// Memory for [`Conv::partial_bytes`]; it may be used for something else after the launches.
    pub partial: Option<Region>,
    /// For each tile (u32) whether it is computed; all where absent.
    pub needed: Option<Region>,
}

/// What a convolution adds after its activation.
#[derive(Clone, Copy, Debug)]
pub enum Residual {
    /// One channel, added to every channel.
    Shared(Region),
    /// As many channels as the output has, the first `channels` of them in `first`, the others in `skip`.
    Channels {
        /// Channels of `first`.
        channels: usize,
        /// The first channels.
        first: Region,
        /// The others.
        skip: Option<Region>,
    },
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    input: u64,
    skip: u64,
    weights: u64,
    bias: u64,
    slopes: u64,
    residual: u64,
    residual_skip: u64,
    output: u64,
    partial: u64,
    needed: u64,
    grid: Grid,
    kernel: [u32; 2],
    input_channels: u32,
    channels: u32,
    outputs: u32,
    residual_channels: u32,
    residual_is_shared: u32,
    splits: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Arguments>() == 128);

impl Conv {
    /// As many splits as fill the device, of a convolution of `channels` inputs.
    pub fn best_splits(shape: [usize; 3], channels: usize, outputs: usize) -> usize {
        splits(channels, tile_count(shape) * outputs.div_ceil(OUTPUTS))
    }

    /// Bytes that the partial sums of a convolution need.
    pub fn partial_bytes(shape: [usize; 3], outputs: usize, splits: usize) -> usize {
        if splits == 1 { 0 } else { 4 * splits * outputs * shape.iter().product::<usize>() }
    }

    /// The launches, one after the other: the convolution, and where there are splits their sum.
    pub fn launches(&self) -> Vec<Launch> {
        let kernel = width_variant(self.kernel, ["conv_f32_w1", "conv_f32_w3", "conv_f32_w5", "conv_f32_w7"]);
        let arguments = self.arguments();
        let [tiles, blocks] = self.grid();
        let mut launches = vec![Launch::new(kernel, [tiles, blocks * self.splits as u32], THREADS, self.shared(), &arguments)];
        if self.splits > 1 {
            let voxels = self.shape.iter().product::<usize>().div_ceil(THREADS as usize);
            launches.push(Launch::new("sum_f32", [voxels as u32, self.outputs as u32], THREADS, 0, &arguments));
        }
        launches
    }

    fn grid(&self) -> [u32; 2] {
        [tile_count(self.shape) as u32, self.outputs.div_ceil(OUTPUTS) as u32]
    }

    /// Two stages of the input's tile with its border and of one plane of taps, as the kernel's head says.
    fn shared(&self) -> u32 {
        let pitch = 8 + (8 + self.kernel[2] - 1).div_ceil(4) * 4;
        let tile = TILE[0] * (TILE[1] + self.kernel[1] - 1) * pitch;
        (2 * 4 * (tile + self.kernel[1] * self.kernel[2] * OUTPUTS)) as u32
    }

    fn arguments(&self) -> Arguments {
        let partial_bytes = Conv::partial_bytes(self.shape, self.outputs, self.splits);
        assert!(partial_bytes <= self.partial.map_or(0, |region| region.bytes), "partial sums have their memory");
        let (residual, residual_skip, residual_channels) = match self.residual {
            None => (None, None, 0),
            Some(Residual::Shared(one)) => (Some(one), None, self.outputs),
            Some(Residual::Channels { channels, first, skip }) => (Some(first), skip, channels),
        };
        Arguments {
            input: self.input.address,
            skip: address(self.skip),
            weights: self.weights.address,
            bias: self.bias.address,
            slopes: self.slopes.address,
            residual: address(residual),
            residual_skip: address(residual_skip),
            output: self.output.address,
            partial: address(self.partial),
            needed: address(self.needed),
            grid: Grid::new(self.shape),
            kernel: [self.kernel[0] as u32, self.kernel[1] as u32],
            input_channels: self.channels[0] as u32,
            channels: (self.channels[0] + self.channels[1]) as u32,
            outputs: self.outputs as u32,
            residual_channels: residual_channels as u32,
            residual_is_shared: u32::from(matches!(self.residual, Some(Residual::Shared(_)))),
            splits: self.splits as u32,
            padding: 0,
        }
    }
}

/// Of a kernel's variants for a width of 1, 3, 5 and 7 the one for `kernel`.
pub(super) fn width_variant(kernel: [usize; 3], variants: [&'static str; 4]) -> &'static str {
    assert!(kernel.iter().all(|side| side % 2 == 1 && *side <= 7), "a kernel's sides are odd and at most 7");
    variants[kernel[2] / 2]
}

/// Packs a kernel (kd, kh, kw, in, out) as `conv_f32` reads it: `[out/32][in][kd][kh][kw][32]`, zeros past the last output.
pub fn pack(weights: &[f32], kernel: [usize; 3], inputs: usize, outputs: usize) -> Vec<f32> {
    let taps = kernel.iter().product::<usize>();
    assert_eq!(weights.len(), taps * inputs * outputs, "a kernel has taps x inputs x outputs values");
    let mut packed = vec![0.0; outputs.div_ceil(OUTPUTS) * inputs * taps * OUTPUTS];
    for (row, values) in weights.chunks_exact(outputs).enumerate() {
        let (tap, input) = (row / inputs, row % inputs);
        for (block, part) in values.chunks(OUTPUTS).enumerate() {
            let to = ((block * inputs + input) * taps + tap) * OUTPUTS;
            packed[to..to + part.len()].copy_from_slice(part);
        }
    }
    packed
}

/// `values` (or zeros for none) with zeros to a multiple of `multiple`.
pub fn pad(values: Option<&[f32]>, count: usize, multiple: usize) -> Vec<f32> {
    let mut padded = values.map_or_else(|| vec![0.0; count], <[f32]>::to_vec);
    padded.resize(count.next_multiple_of(multiple), 0.0);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_has_its_place() {
        // Values count the source: (tap, in, out) of a 1x1x3 kernel with 2 inputs and 33 outputs.
        let source: Vec<f32> = (0..3 * 2 * 33).map(|n| n as f32 + 1.0).collect();
        let packed = pack(&source, [1, 1, 3], 2, 33);
        assert_eq!(packed.len(), 2 * 2 * 3 * 32);
        for (tap, input, output) in [(0, 0, 0), (2, 1, 31), (1, 0, 32), (2, 1, 32)] {
            let place = (((output / 32) * 2 + input) * 3 + tap) * 32 + output % 32;
            assert_eq!(packed[place], source[(tap * 2 + input) * 33 + output]);
        }
        assert_eq!(packed[(2 + 1) * 3 * 32 + 1], 0.0, "past the last output");
    }
}
