//! Launcher of `kernels/input.cu`: the network's first layer for the fast grade.

use super::conv_f16::fragment_place;
use super::device::{Launch, Region};
use super::tiles::{Grid, TILE, tile_count};
use bytemuck::{Pod, Zeroable};
use half::f16;

/// Biases and slopes are padded to a multiple of this: the outputs of a block.
pub const PADDING: usize = 16;

/// The first layer: a convolution of the scan, its activation, and the scan added to every output.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Kernel along (D, H, W): odd sides, at most 7.
    pub kernel: [usize; 3],
    /// Output channels.
    pub outputs: usize,
    /// The scan, f32.
    pub input: Region,
    /// Of [`pack`].
    pub weights: Region,
    /// f32 bias of each output, padded to a multiple of [`PADDING`].
    pub bias: Region,
    /// f32 slope of each output, likewise.
    pub slopes: Region,
    /// Where the result goes, blocked f16.
    pub output: Region,
    /// A u32 that becomes 1 where a value does not fit f16.
    pub overflow: Region,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    input: u64,
    weights: u64,
    bias: u64,
    slopes: u64,
    output: u64,
    overflow: u64,
    grid: Grid,
    kernel: [u32; 3],
    outputs: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Arguments>() == 80);

impl Input {
    /// The launch of `input_f16`.
    pub fn launch(&self) -> Launch {
        let arguments = Arguments {
            input: self.input.address,
            weights: self.weights.address,
            bias: self.bias.address,
            slopes: self.slopes.address,
            output: self.output.address,
            overflow: self.overflow.address,
            grid: Grid::new(self.shape),
            kernel: self.kernel.map(|side| side as u32),
            outputs: self.outputs as u32,
            padding: 0,
        };
        // Each row of the tile with its border twice, 12 words each.
        let shared = (TILE[0] + self.kernel[0] - 1) * (TILE[1] + self.kernel[1] - 1) * 24 * 4;
        let grid = [tile_count(self.shape) as u32, self.outputs.div_ceil(PADDING) as u32];
        Launch::new("input_f16", grid, 256, shared as u32, &arguments)
    }
}

/// Packs a kernel (kd, kh, kw, 1, out) as `input_f16` reads it: `[out/16][rows of taps/2][lane][8]`, each 16x16 as [`fragment_place`] says: 8 taps along W of
/// a row, zeros past the last, and 8 of the next. `None` where a weight does not fit f16.
pub fn pack(weights: &[f32], kernel: [usize; 3], outputs: usize) -> Option<Vec<f16>> {
    assert_eq!(weights.len(), kernel.iter().product::<usize>() * outputs, "a kernel has taps x outputs values");
    assert!(kernel[2] < 8, "a row of taps is at most 7 wide");
    let steps = (kernel[0] * kernel[1]).div_ceil(2);
    let mut packed = vec![f16::ZERO; outputs.div_ceil(16) * steps * 256];
    for (tap, values) in weights.chunks_exact(outputs).enumerate() {
        let (row, k) = (tap / kernel[2], tap % kernel[2]);
        for (output, &value) in values.iter().enumerate() {
            let value = f16::from_f32(value);
            if !value.is_finite() {
                return None;
            }
            packed[(output / 16 * steps + row / 2) * 256 + fragment_place(row % 2 * 8 + k, output % 16)] = value;
        }
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_has_its_place() {
        // Values count the source of a 1x3x5 kernel with 17 outputs.
        let source: Vec<f32> = (0..15 * 17).map(|n| n as f32 + 1.0).collect();
        let packed = pack(&source, [1, 3, 5], 17).unwrap();
        assert_eq!(packed.len(), 2 * 2 * 256);
        // Row of taps 2, tap 4, output 16: the second block's step 1, row 4, column 0. Row 1, tap 0, output 9: step 0, row 8, column 9.
        assert_eq!(packed[3 * 256 + fragment_place(4, 0)].to_f32(), source[14 * 17 + 16]);
        assert_eq!(packed[fragment_place(8, 9)].to_f32(), source[5 * 17 + 9]);
        assert!(packed[256 + fragment_place(8, 0)].to_f32() == 0.0, "there is no row 3");
        assert!(pack(&[f32::INFINITY], [1; 3], 1).is_none());
    }
}
