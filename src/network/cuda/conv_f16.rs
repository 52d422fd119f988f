//! Launcher of `kernels/conv_f16.cu`, `kernels/conv_f16_sm90.cu` and `kernels/sum.cu`: convolutions of stride 1 on tensor cores.

use super::conv::width_variant;
use super::device::{CudaDevice, Launch, Region, Tensor, TensorMap};
use super::slots::Slots;
use super::tiles::{FULL_GRID, Grid, TILE, address, splits, tile_count};
use crate::network::Result;
use bytemuck::{Pod, Zeroable};
use half::f16;

/// Biases and slopes are padded to a multiple of this.
pub const PADDING: usize = 64;
/// Threads that hold a tile's sums.
const THREADS: u32 = 256;

/// The kernel that computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `conv_f16`: mma.sync, on every architecture.
    Portable,
    /// `conv_f16_sm90`: wgmma and TMA, compute capability 9.0 alone.
    Sm90,
}

/// How the work of a convolution is divided. Its weights are packed for a division, and its partial sums stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// The kernel.
    pub path: Path,
    /// Output channels of a block: 32 or 64.
    pub outputs: usize,
    /// Parts of the input channels whose sums are added at the end, in their order.
    pub splits: usize,
}

impl Division {
    /// The best on a device of this compute capability: 64 outputs a block, which share what is read of the input, where there are so many and
    /// still enough blocks, and no more splits than fill the device. wgmma is so much faster with 64 outputs than with 32 that more splits are
    /// worth it (measured: `docs/performance.md`).
    pub fn new(capability: (u32, u32), shape: [usize; 3], kernel: [usize; 3], chunks: usize, output_chunks: usize) -> Division {
        let path = if capability == (9, 0) && fits_sm90(kernel, 64) { Path::Sm90 } else { Path::Portable };
        let blocks = |outputs: usize| tile_count(shape) * (8 * output_chunks).div_ceil(outputs);
        let pairs = chunks.div_ceil(2);
        let most_blocks = if path == Path::Sm90 { blocks(64) * pairs } else { blocks(64) };
        let outputs = if output_chunks.div_ceil(4).is_multiple_of(2) && most_blocks >= FULL_GRID { 64 } else { 32 };
        Division { path, outputs, splits: splits(pairs, blocks(outputs)) }
    }

    /// Bytes that the partial sums of a convolution need.
    pub fn partial_bytes(&self, shape: [usize; 3], output_chunks: usize) -> usize {
        let items = tile_count(shape) * (8 * output_chunks).div_ceil(self.outputs) * self.splits;
        if self.splits == 1 { 0 } else { items * TILE.iter().product::<usize>() * self.outputs * 4 }
    }
}

/// A convolution of stride 1 with its epilogue on blocked f16 activations. Channels are counted in chunks of 8.
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
    /// How its work is divided.
    pub division: Division,
    /// The first input chunks.
    pub input: Region,
    /// The others.
    pub skip: Option<Region>,
    /// Of [`pack`], for the same division.
    pub weights: Region,
    /// f32 bias of each output slot, padded to a multiple of [`PADDING`].
    pub bias: Region,
    /// f32 slope of each output slot, likewise.
    pub slopes: Region,
    /// Added after the activation: its first chunks, their number, and where the others are.
    pub residual: Option<(Region, usize, Option<Region>)>,
    /// Where the result goes.
    pub output: Region,
    /// Memory for [`Division::partial_bytes`]; it may be used for something else after the launches.
    pub partial: Option<Region>,
    /// For each tile (u32) whether it is computed; all where absent.
    pub needed: Option<Region>,
    /// A u32 that becomes 1 where a value does not fit f16.
    pub overflow: Region,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Output {
    bias: u64,
    slopes: u64,
    residual: u64,
    residual_skip: u64,
    output: u64,
    partial: u64,
    needed: u64,
    overflow: u64,
    grid: Grid,
    chunks: u32,
    residual_chunks: u32,
    splits: u32,
}
const _: () = assert!(size_of::<Output>() == 88);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    out: Output,
    input: u64,
    skip: u64,
    weights: u64,
    kernel: [u32; 2],
    input_chunks: u32,
    chunks: u32,
}
const _: () = assert!(size_of::<Arguments>() == 128);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Sm90Arguments {
    input: TensorMap,
    skip: TensorMap,
    out: Output,
    weights: u64,
    kernel: [u32; 2],
    input_chunks: u32,
    chunks: u32,
    weight_stages: u32,
    padding: [u32; 3],
}
const _: () = assert!(size_of::<Sm90Arguments>() == 384);

impl ConvF16 {
    /// The launches, one after the other: the convolution, and where there are splits their sum.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where the device cannot make a tensor map of the input.
    pub fn launches(&self, device: &dyn CudaDevice) -> Result<Vec<Launch>> {
        let Division { path, outputs, splits } = self.division;
        let blocks = tile_count(self.shape) * (8 * self.output_chunks).div_ceil(outputs);
        let of_outputs = |names: [&'static str; 2]| names[usize::from(outputs == 64)];
        let mut launches = vec![match path {
            Path::Portable => {
                let kernel = of_outputs([
                    width_variant(self.kernel, ["conv_f16_w1_n32", "conv_f16_w3_n32", "conv_f16_w5_n32", "conv_f16_w7_n32"]),
                    width_variant(self.kernel, ["conv_f16_w1_n64", "conv_f16_w3_n64", "conv_f16_w5_n64", "conv_f16_w7_n64"]),
                ]);
                let shared = portable_bytes(self.kernel) as u32;
                Launch::new(kernel, [(blocks * splits) as u32, 1], THREADS, shared, &self.arguments())
            }
            Path::Sm90 => {
                let depth = self.kernel[0] / 2;
                let kernel = of_outputs([
                    ["conv_f16_sm90_d1_n32", "conv_f16_sm90_d3_n32", "conv_f16_sm90_d5_n32"][depth],
                    ["conv_f16_sm90_d1_n64", "conv_f16_sm90_d3_n64", "conv_f16_sm90_d5_n64"][depth],
                ]);
                let grid = (blocks * splits).min(device.processors());
                let (arguments, shared) = self.sm90_arguments(device)?;
                Launch::new(kernel, [grid as u32, 1], THREADS + 128, shared as u32, &arguments)
            }
        }];
        if splits > 1 {
            let kernel = of_outputs(["sum_f16_n32", "sum_f16_n64"]);
            // A block for each of the tile's rows of D and groups of 8 channels.
            let fragments = TILE[0] * outputs / 8;
            launches.push(Launch::new(kernel, [blocks as u32, fragments as u32], THREADS, 0, &self.output()));
        }
        Ok(launches)
    }

    fn output(&self) -> Output {
        let (residual, residual_chunks, residual_skip) =
            self.residual.map_or((None, 0, None), |(first, chunks, skip)| (Some(first), chunks, skip));
        let partial_bytes = self.division.partial_bytes(self.shape, self.output_chunks);
        assert!(partial_bytes <= self.partial.map_or(0, |region| region.bytes), "partial sums have their memory");
        Output {
            bias: self.bias.address,
            slopes: self.slopes.address,
            residual: address(residual),
            residual_skip: address(residual_skip),
            output: self.output.address,
            partial: address(self.partial),
            needed: address(self.needed),
            overflow: self.overflow.address,
            grid: Grid::new(self.shape),
            chunks: self.output_chunks as u32,
            residual_chunks: residual_chunks as u32,
            splits: self.division.splits as u32,
        }
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            out: self.output(),
            input: self.input.address,
            skip: address(self.skip),
            weights: self.weights.address,
            kernel: [self.kernel[0] as u32, self.kernel[1] as u32],
            input_chunks: self.chunks[0] as u32,
            chunks: (self.chunks[0] + self.chunks[1]) as u32,
        }
    }

    /// The arguments, and the bytes of shared memory.
    fn sm90_arguments(&self, device: &dyn CudaDevice) -> Result<(Sm90Arguments, usize)> {
        let [depth, height, width] = self.shape;
        let map = |region: Region, chunks: usize| {
            device.tensor_map(&Tensor {
                region,
                sides: [8 * width, height, depth, chunks],
                tile: [8 * (TILE[2] + self.kernel[2] - 1), TILE[1] + self.kernel[1] - 1, TILE[0] + self.kernel[0] - 1, 1],
            })
        };
        let weight_stages = sm90_weight_stages(self.kernel, self.division.outputs);
        assert!(weight_stages >= 2, "one row of weights is copied while another is multiplied: Division::new sees to it");
        let arguments = Sm90Arguments {
            input: map(self.input, self.chunks[0])?,
            skip: self.skip.map_or(Ok([0; 16]), |skip| map(skip, self.chunks[1]))?,
            out: self.output(),
            weights: self.weights.address,
            kernel: [self.kernel[1] as u32, self.kernel[2] as u32],
            input_chunks: self.chunks[0] as u32,
            chunks: (self.chunks[0] + self.chunks[1]) as u32,
            weight_stages: weight_stages as u32,
            padding: [0; 3],
        };
        let shared = sm90_fixed_bytes(self.kernel) + weight_stages * sm90_row_bytes(self.kernel, self.division.outputs);
        Ok((arguments, shared))
    }
}

/// Shared memory that a block may have at compute capability 7.5, the least of all (CUDA C++ programming guide, technical specifications).
const SM75_SHARED: usize = 64 * 1024;

/// Of `conv_f16`: two stages of two chunks of the input's tile with its border.
fn portable_bytes(kernel: [usize; 3]) -> usize {
    4 * 16 * TILE[0] * (TILE[1] + kernel[1] - 1) * (TILE[2] + kernel[2] - 1)
}

/// Whether a device of this compute capability has the shared memory for the fast grade with this kernel: 7.5 has not for 7 along H and W.
pub fn fits(capability: (u32, u32), kernel: [usize; 3]) -> bool {
    capability >= (8, 0) || portable_bytes(kernel) <= SM75_SHARED
}

/// Shared memory that a block may have at compute capability 9.0 (CUDA C++ programming guide, technical specifications).
const SM90_SHARED: usize = 227 * 1024;

/// Of the mbarriers and both stages of the input.
fn sm90_fixed_bytes(kernel: [usize; 3]) -> usize {
    128 + 4 * 16 * (0..3).map(|axis| TILE[axis] + kernel[axis] - 1).product::<usize>()
}

/// Of a stage of weights: a row of the kernel at all its depths.
fn sm90_row_bytes(kernel: [usize; 3], outputs: usize) -> usize {
    kernel[0] * kernel[2] * 16 * outputs * 2
}

/// Stages of weights: as many as there is memory for, at most 4.
fn sm90_weight_stages(kernel: [usize; 3], outputs: usize) -> usize {
    (SM90_SHARED.saturating_sub(sm90_fixed_bytes(kernel)) / sm90_row_bytes(kernel, outputs)).min(4)
}

/// Whether `conv_f16_sm90` takes this kernel: a depth that it was compiled for, and two stages of everything in shared memory.
fn fits_sm90(kernel: [usize; 3], outputs: usize) -> bool {
    kernel[0] <= 5 && sm90_weight_stages(kernel, outputs) >= 2
}

/// Where the value of a 16x16 matrix lies among the b fragments of its two groups of 8 columns: `[lane][8]`, lane l with the two registers of m16n8k16's
/// b fragment for each group: rows 2 (l % 4) + {0, 1} and 2 (l % 4) + {8, 9} at column l / 4 (PTX ISA, matrix fragments for mma.m16n8k16).
pub fn fragment_place(row: usize, column: usize) -> usize {
    let lane = column % 8 * 4 + row % 8 / 2;
    lane * 8 + column / 8 * 4 + row / 8 * 2 + row % 2
}

/// Packs a kernel (kd, kh, kw, in, out) for a division of the work. `None` where a weight does not fit f16.
///
/// Portable: `[slots/32][pairs of chunks][kd][kh][kw][2][lane][8]`: for each tap two matrices of 16 inputs and 16 outputs, as [`fragment_place`] says.
///
/// Sm90: `[slots/outputs][pairs of chunks][kh][kw][kd][2][outputs/8][8 outputs][8 inputs]`: for each tap a matrix of 16 inputs and 32 or 64 outputs, as
/// core matrices with no swizzle (PTX ISA, strides of matrices in shared memory for wgmma).
pub fn pack(weights: &[f32], kernel: [usize; 3], inputs: &Slots, outputs: &Slots, division: Division) -> Option<Vec<f16>> {
    let taps = kernel.iter().product::<usize>();
    assert_eq!(weights.len(), taps * inputs.channels() * outputs.channels(), "a kernel has taps x inputs x outputs values");
    let pairs = inputs.chunks().div_ceil(2);
    let width = if division.path == Path::Portable { 32 } else { division.outputs };
    // The portable kernel reads whole blocks of its outputs.
    let blocks = (8 * outputs.chunks()).next_multiple_of(division.outputs) / width;
    let mut packed = vec![f16::ZERO; blocks * pairs * taps * 16 * width];
    for tap in 0..taps {
        let [i, j, k] = [tap / kernel[2] / kernel[1], tap / kernel[2] % kernel[1], tap % kernel[2]];
        for (input, input_slot) in inputs.places() {
            for (output, output_slot) in outputs.places() {
                let value = f16::from_f32(weights[(tap * inputs.channels() + input) * outputs.channels() + output]);
                if !value.is_finite() {
                    return None;
                }
                let (row, group) = (input_slot % 16, output_slot % width / 8);
                let tap = if division.path == Path::Portable { tap } else { (j * kernel[2] + k) * kernel[0] + i };
                let matrix = ((output_slot / width * pairs + input_slot / 16) * taps + tap) * 16 * width;
                let place = match division.path {
                    Path::Portable => group / 2 * 256 + fragment_place(row, output_slot % 16),
                    Path::Sm90 => ((row / 8 * (width / 8) + group) * 8 + output_slot % 8) * 8 + row % 8,
                };
                packed[matrix + place] = value;
            }
        }
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn division(capability: (u32, u32), channels: usize, side: usize) -> Division {
        Division::new(capability, [side; 3], [5; 3], channels / 8, channels / 8)
    }

    #[test]
    fn the_released_network_fills_a_large_gpu() {
        // The layers of docs/kernels.md: outputs a block and splits, by wgmma and by the portable path.
        for (channels, side, sm90, portable) in [
            (32, 128, (32, 1), (32, 1)),
            (64, 64, (64, 1), (64, 1)),
            (128, 32, (64, 1), (64, 1)),
            (256, 16, (64, 4), (32, 2)),
            (32, 64, (32, 1), (32, 1)),
            (64, 32, (64, 2), (32, 1)),
            (128, 16, (64, 8), (32, 4)),
            (256, 8, (64, 16), (32, 8)),
        ] {
            let expected = |path, (outputs, splits)| Division { path, outputs, splits };
            assert_eq!(division((9, 0), channels, side), expected(Path::Sm90, sm90));
            assert_eq!(division((8, 0), channels, side), expected(Path::Portable, portable));
        }
    }

    #[test]
    fn what_does_not_fit_shared_memory_takes_the_portable_path() {
        let path = |kernel| Division::new((9, 0), [16; 3], kernel, 4, 4).path;
        assert_eq!([path([5; 3]), path([1, 5, 5]), path([3, 7, 7])], [Path::Sm90; 3]);
        assert_eq!([path([7, 1, 1]), path([5, 7, 7])], [Path::Portable; 2]);
        assert_eq!(Division::new((10, 0), [16; 3], [5; 3], 4, 4).path, Path::Portable);
    }
}
