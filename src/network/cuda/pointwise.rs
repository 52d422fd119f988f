//! Launchers of `kernels/pointwise.cu`: PReLU, sigmoid, and the change of layout.

use super::device::{Launch, Region};
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    input: u64,
    slopes: u64,
    output: u64,
    voxels: u64,
    channels: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Arguments>() == 40);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackArguments {
    planar_input: u64,
    blocked_output: u64,
    blocked_input: u64,
    planar_output: u64,
    overflow: u64,
    voxels: u64,
    channels: u32,
    padding: u32,
}
const _: () = assert!(size_of::<PackArguments>() == 56);

fn blocks(voxels: usize) -> u32 {
    voxels.div_ceil(THREADS) as u32
}

/// `prelu_f32`: planar f32 `input` (C, V) through the activation with `slopes` (C) to `output`.
pub fn prelu(input: Region, slopes: Region, output: Region, channels: usize, voxels: usize) -> Launch {
    let arguments = Arguments {
        input: input.address,
        slopes: slopes.address,
        output: output.address,
        voxels: voxels as u64,
        channels: channels as u32,
        padding: 0,
    };
    Launch::new("prelu_f32", [blocks(voxels), channels as u32], THREADS as u32, 0, &arguments)
}

/// `sigmoid_f32`: `voxels` f32 logits to probabilities.
pub fn sigmoid(input: Region, output: Region, voxels: usize) -> Launch {
    let arguments =
        Arguments { input: input.address, slopes: 0, output: output.address, voxels: voxels as u64, channels: 1, padding: 0 };
    Launch::new("sigmoid_f32", [blocks(voxels), 1], THREADS as u32, 0, &arguments)
}

/// `pack_f16`: planar f32 (C, V) to blocked f16; `overflow` (u32) becomes 1 where a value does not fit.
pub fn pack(planar: Region, blocked: Region, overflow: Region, channels: usize, voxels: usize) -> Launch {
    let arguments = PackArguments {
        planar_input: planar.address,
        blocked_output: blocked.address,
        blocked_input: 0,
        planar_output: 0,
        overflow: overflow.address,
        voxels: voxels as u64,
        channels: channels as u32,
        padding: 0,
    };
    Launch::new("pack_f16", [blocks(voxels), channels.div_ceil(8) as u32], THREADS as u32, 0, &arguments)
}

/// `unpack_f16`: blocked f16 to planar f32 (C, V).
pub fn unpack(blocked: Region, planar: Region, channels: usize, voxels: usize) -> Launch {
    let arguments = PackArguments {
        planar_input: 0,
        blocked_output: 0,
        blocked_input: blocked.address,
        planar_output: planar.address,
        overflow: 0,
        voxels: voxels as u64,
        channels: channels as u32,
        padding: 0,
    };
    Launch::new("unpack_f16", [blocks(voxels), channels.div_ceil(8) as u32], THREADS as u32, 0, &arguments)
}
