//! Launchers of `kernels/down.cu` and `kernels/up.cu`: convolutions whose stride is their kernel, in f32.

use super::device::{Launch, Region};
use super::tiles::{Grid, address};
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 128;
const VOXELS: usize = 2;

/// A convolution on planar f32 activations whose stride is its kernel, down or transposed up, with its activation.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// The smaller grid (D, H, W): the output's of a down-, the input's of an up-convolution.
    pub shape: [usize; 3],
    /// Kernel and stride.
    pub stride: [usize; 3],
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub outputs: usize,
    /// What is read.
    pub input: Region,
    /// Of [`pack`].
    pub weights: Region,
    /// Bias of each output, padded to a multiple of 8.
    pub bias: Region,
    /// Slope of each output, likewise.
    pub slopes: Region,
    /// Where the result goes.
    pub output: Region,
    /// For each tile (u32) of an up-convolution's output whether it is computed; all where absent.
    pub needed: Option<Region>,
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
    grid: Grid,
    stride: [u32; 3],
    channels: u32,
    outputs: u32,
}
const _: () = assert!(size_of::<Arguments>() == 80);

impl Stride {
    /// The launch of `down_f32`.
    pub fn launch_down(&self) -> Launch {
        self.launch("down_f32", self.outputs.div_ceil(8))
    }

    /// The launch of `up_f32`.
    pub fn launch_up(&self) -> Launch {
        self.launch("up_f32", self.outputs.div_ceil(8) * self.stride.iter().product::<usize>())
    }

    fn launch(&self, kernel: &'static str, rows: usize) -> Launch {
        let arguments = Arguments {
            input: self.input.address,
            weights: self.weights.address,
            bias: self.bias.address,
            slopes: self.slopes.address,
            output: self.output.address,
            needed: address(self.needed),
            grid: Grid::new(self.shape),
            stride: self.stride.map(|side| side as u32),
            channels: self.channels as u32,
            outputs: self.outputs as u32,
        };
        let blocks = self.shape.iter().product::<usize>().div_ceil(THREADS * VOXELS);
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

/// Packs a kernel as `down` and `up` read it: `[out/8][tap][in/8][8 in][8 out]`, zeros in the padding.
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
