//! Launchers of `kernels/down.cu` and `kernels/up.cu` and, for the fast grade, of `kernels/stride_f16.cu`: convolutions whose stride is their kernel.

use super::conv_f16::fragment_place;
use super::device::{Launch, Region};
use super::slots::Slots;
use super::tiles::{Grid, address};
use bytemuck::{Pod, Zeroable};
use half::f16;

const THREADS: usize = 128;

/// Storage of activations: the grade's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// f32 `[C][V]`
    Planar,
    /// f16 `[C/8][V][8]`
    Blocked,
}

/// A convolution whose stride is its kernel, down or transposed up, with its activation.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// How activations are stored.
    pub storage: Storage,
    /// The smaller grid (D, H, W): the output's of a down-, the input's of an up-convolution.
    pub shape: [usize; 3],
    /// Kernel and stride: sides of 1 or 2.
    pub stride: [usize; 3],
    /// Input channels; for blocked storage, 8 for each chunk.
    pub channels: usize,
    /// Output channels.
    pub outputs: usize,
    /// What is read.
    pub input: Region,
    /// Of [`pack`] for planar, of [`pack_f16`] for blocked storage.
    pub weights: Region,
    /// Bias of each output, padded to a multiple of 8.
    pub bias: Region,
    /// Slope of each output, likewise.
    pub slopes: Region,
    /// Where the result goes.
    pub output: Region,
    /// For each tile (u32) of an up-convolution's output whether it is computed; all where absent.
    pub needed: Option<Region>,
    /// For blocked storage: a u32 that becomes 1 where a value does not fit f16.
    pub overflow: Option<Region>,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    input: u64,
    weights: u64,
    bias: u64,
    slopes: u64,
    output: u64,
    needed: u64,
    overflow: u64,
    grid: Grid,
    stride: [u32; 3],
    channels: u32,
    outputs: u32,
}
const _: () = assert!(size_of::<Arguments>() == 88);

impl Stride {
    /// The launch of `down_f32` or `down_f16`.
    pub fn launch_down(&self) -> Launch {
        self.launch(["down_f32", "down_f16"], 1)
    }

    /// The launch of `up_f32` or `up_f16`.
    pub fn launch_up(&self) -> Launch {
        self.launch(["up_f32", "up_f16"], self.stride.iter().product())
    }

    /// The launch of the storage's kernel, whose output has so many taps.
    fn launch(&self, kernels: [&'static str; 2], taps: usize) -> Launch {
        // Coarse voxels of a block, and chunks of 8 outputs of a tap that it computes.
        let (kernel, voxels, chunks) = match self.storage {
            Storage::Planar => (kernels[0], 256, 1),
            Storage::Blocked => (kernels[1], 128, 8),
        };
        let arguments = Arguments {
            input: self.input.address,
            weights: self.weights.address,
            bias: self.bias.address,
            slopes: self.slopes.address,
            output: self.output.address,
            needed: address(self.needed),
            overflow: address(self.overflow),
            grid: Grid::new(self.shape),
            stride: self.stride.map(|side| side as u32),
            channels: self.channels as u32,
            outputs: self.outputs as u32,
        };
        let blocks = self.shape.iter().product::<usize>().div_ceil(voxels);
        let rows = (taps * self.outputs.div_ceil(8)).div_ceil(chunks);
        Launch::new(kernel, [blocks as u32, rows as u32], THREADS as u32, 0, &arguments)
    }
}

/// Whether the outputs come before the inputs in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// (kd, kh, kw, in, out): a down-convolution.
    InOut,
    /// (kd, kh, kw, out, in): an up-convolution.
    OutIn,
}

/// Packs a kernel as `down_f32` and `up_f32` read it: `[out/8][tap][in/8][8 in][8 out]`, zeros in the padding.
pub fn pack(weights: &[f32], order: Order, stride: [usize; 3], inputs: usize, outputs: usize) -> Vec<f32> {
    let taps = stride.iter().product::<usize>();
    assert_eq!(weights.len(), taps * inputs * outputs, "a kernel has taps x inputs x outputs values");
    let chunks = inputs.div_ceil(8);
    let mut packed = vec![0.0; outputs.div_ceil(8) * taps * chunks * 64];
    for tap in 0..taps {
        for input in 0..inputs {
            for output in 0..outputs {
                let from = match order {
                    Order::InOut => (tap * inputs + input) * outputs + output,
                    Order::OutIn => (tap * outputs + output) * inputs + input,
                };
                let to = ((output / 8 * taps + tap) * chunks * 8 + input) * 8 + output % 8;
                packed[to] = weights[from];
            }
        }
    }
    packed
}

/// Packs a kernel as `down_f16` and `up_f16` read it: `[columns/16][depth/16][lane][8]`, each 16x16 as [`fragment_place`] says. Columns are the outputs
/// (of an up-convolution those of one tap after another, each in whole chunks of 8), depth the inputs in pairs of chunks (of a down-convolution
/// those of one tap after another). `None` where a weight does not fit f16.
pub fn pack_f16(weights: &[f32], order: Order, stride: [usize; 3], inputs: &Slots, outputs: usize) -> Option<Vec<f16>> {
    let taps = stride.iter().product::<usize>();
    assert_eq!(weights.len(), taps * inputs.channels() * outputs, "a kernel has taps x inputs x outputs values");
    let (pairs, of_tap) = (inputs.chunks().div_ceil(2), outputs.next_multiple_of(8));
    let (columns, steps) = match order {
        Order::InOut => (of_tap, taps * pairs),
        Order::OutIn => (taps * of_tap, pairs),
    };
    let mut packed = vec![f16::ZERO; columns.div_ceil(16) * steps * 256];
    for tap in 0..taps {
        for (input, slot) in inputs.places() {
            for output in 0..outputs {
                let (from, column, step) = match order {
                    Order::InOut => ((tap * inputs.channels() + input) * outputs + output, output, tap * pairs + slot / 16),
                    Order::OutIn => ((tap * outputs + output) * inputs.channels() + input, tap * of_tap + output, slot / 16),
                };
                let value = f16::from_f32(weights[from]);
                if !value.is_finite() {
                    return None;
                }
                packed[(column / 16 * steps + step) * 256 + fragment_place(slot % 16, column % 16)] = value;
            }
        }
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_has_its_place() {
        // Values count the source of a 1x1x2 kernel with 17 inputs and 9 outputs.
        let source: Vec<f32> = (0..2 * 17 * 9).map(|n| n as f32 + 1.0).collect();
        let inputs = Slots::plain(17);
        let down = pack_f16(&source, Order::InOut, [1, 1, 2], &inputs, 9).unwrap();
        assert_eq!(down.len(), 4 * 256);
        // Tap 1, input 16, output 8: the second pair of chunks of tap 1 is step 3; row 0, column 8.
        assert_eq!(down[3 * 256 + fragment_place(0, 8)].to_f32(), source[(17 + 16) * 9 + 8]);
        let up = pack_f16(&source, Order::OutIn, [1, 1, 2], &inputs, 9).unwrap();
        assert_eq!(up.len(), 2 * 2 * 256);
        // Tap 1, output 8, input 16: column 16 + 8, step 1, row 0.
        assert_eq!(up[(2 + 1) * 256 + fragment_place(0, 8)].to_f32(), source[(9 + 8) * 17 + 16]);
        assert!(pack_f16(&[1e5; 8], Order::InOut, [2; 3], &Slots::plain(1), 1).is_none());
    }
}
