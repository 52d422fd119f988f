//! Launcher of `kernels/conv_f16.cu`: convolutions of stride 1 on tensor cores.

use super::conv::{OUTPUTS, width_variant};
use super::device::{Launch, Region};
use super::slots::Slots;
use super::tiles::{Grid, TILE, address, tile_count};
use bytemuck::{Pod, Zeroable};
use half::f16;

const THREADS: u32 = 256;

/// A convolution of stride 1 with its epilogue on blocked f16 activations: what `conv_f16` computes. Channels are counted in chunks of 8.
#[derive(Clone, Copy, Debug)]
pub struct ConvF16 {
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Kernel along (D, H, W): odd sides, at most 7.
    pub kernel: [usize; 3],
    /// Chunks of `input` and, after them, of `skip`.
    pub chunks: [usize; 2],
    /// Chunks of the output.
    pub output_chunks: usize,
    /// The first input chunks.
    pub input: Region,
    /// The others.
    pub skip: Option<Region>,
    /// Of [`pack`].
    pub weights: Region,
    /// f32 bias of each output slot, padded to a multiple of 32.
    pub bias: Region,
    /// f32 slope of each output slot, likewise.
    pub slopes: Region,
    /// Added after the activation: its first chunks, their number, and where the others are.
    pub residual: Option<(Region, usize, Option<Region>)>,
    /// Where the result goes.
    pub output: Region,
    /// For each tile (u32) whether it is computed; all where absent.
    pub needed: Option<Region>,
    /// A u32 that becomes 1 where a value does not fit f16.
    pub overflow: Region,
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
    needed: u64,
    overflow: u64,
    grid: Grid,
    kernel: [u32; 2],
    input_chunks: u32,
    chunks: u32,
    output_chunks: u32,
    residual_chunks: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Arguments>() == 120);

impl ConvF16 {
    /// The launch.
    pub fn launch(&self) -> Launch {
        let (residual, residual_chunks, residual_skip) =
            self.residual.map_or((None, 0, None), |(first, chunks, skip)| (Some(first), chunks, skip));
        let arguments = Arguments {
            input: self.input.address,
            skip: address(self.skip),
            weights: self.weights.address,
            bias: self.bias.address,
            slopes: self.slopes.address,
            residual: address(residual),
            residual_skip: address(residual_skip),
            output: self.output.address,
            needed: address(self.needed),
            overflow: self.overflow.address,
            grid: Grid::new(self.shape),
            kernel: [self.kernel[0] as u32, self.kernel[1] as u32],
            input_chunks: self.chunks[0] as u32,
            chunks: (self.chunks[0] + self.chunks[1]) as u32,
            output_chunks: self.output_chunks as u32,
            residual_chunks: residual_chunks as u32,
            padding: 0,
        };
        let kernel = width_variant(self.kernel, ["conv_f16_w1", "conv_f16_w3", "conv_f16_w5", "conv_f16_w7"]);
        let grid = [tile_count(self.shape) as u32, (8 * self.output_chunks).div_ceil(OUTPUTS) as u32];
        let plane = TILE[0] * (TILE[1] + self.kernel[1] - 1) * (TILE[2] + self.kernel[2] - 1);
        Launch::new(kernel, grid, THREADS, (4 * plane * 16) as u32, &arguments)
    }
}

/// Packs a kernel (kd, kh, kw, in, out) as `conv_f16` reads it: `[slots/32][pairs of chunks][kd][kh][kw][2][lane][8]` f16.
///
/// Lane l of half q holds for the groups of 8 outputs 2q and 2q + 1 the two registers of m16n8k16's b fragment: rows
/// 2 (l % 4) + {0, 1} and 2 (l % 4) + {8, 9} of the 16 inputs at column l / 4 (PTX ISA, matrix fragments for mma.m16n8k16).
/// `None` where a weight does not fit f16.
pub fn pack(weights: &[f32], kernel: [usize; 3], inputs: &Slots, outputs: &Slots) -> Option<Vec<f16>> {
    let taps = kernel.iter().product::<usize>();
    assert_eq!(weights.len(), taps * inputs.channels() * outputs.channels(), "a kernel has taps x inputs x outputs values");
    let (pairs, blocks) = (inputs.chunks().div_ceil(2), outputs.chunks().div_ceil(4));
    let mut packed = vec![f16::ZERO; blocks * pairs * taps * 512];
    for tap in 0..taps {
        for (input, input_slot) in inputs.places() {
            for (output, output_slot) in outputs.places() {
                let value = f16::from_f32(weights[(tap * inputs.channels() + input) * outputs.channels() + output]);
                if !value.is_finite() {
                    return None;
                }
                let (row, group) = (input_slot % 16, output_slot / 8 % 4);
                let lane = output_slot % 8 * 4 + row % 8 / 2;
                let register = row / 8;
                let place = ((output_slot / 32 * pairs + input_slot / 16) * taps + tap) * 2 + group / 2;
                packed[(place * 32 + lane) * 8 + group % 2 * 4 + register * 2 + row % 2] = value;
            }
        }
    }
    Some(packed)
}
