//! Launcher of `kernels/head.cu`: both 1x1x1 convolutions of the network's end.

use super::device::{Launch, Region};
use super::slots::Slots;
use super::stride::Storage;
use super::tiles::{Grid, address};
use crate::network::weights::LayerTensors;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 128;

/// The network's end: from the last activation to logits and, if wanted, probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// How the activation is stored.
    pub storage: Storage,
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Input channels; for blocked storage, 8 for each chunk.
    pub channels: usize,
    /// What is read.
    pub input: Region,
    /// Of [`pack`].
    pub weights: Region,
    /// Where the logits go.
    pub logits: Region,
    /// Where the probabilities go.
    pub probabilities: Option<Region>,
    /// For each tile (u32) whether it is computed; the logits of the others become -infinity.
    pub needed: Option<Region>,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    input: u64,
    weights: u64,
    logits: u64,
    probabilities: u64,
    needed: u64,
    grid: Grid,
    channels: u32,
}
const _: () = assert!(size_of::<Arguments>() == 56);

impl Head {
    /// The launch of `head_f32` or `head_f16`.
    pub fn launch(&self) -> Launch {
        let arguments = Arguments {
            input: self.input.address,
            weights: self.weights.address,
            logits: self.logits.address,
            probabilities: address(self.probabilities),
            needed: address(self.needed),
            grid: Grid::new(self.shape),
            channels: self.channels as u32,
        };
        let kernel = match self.storage {
            Storage::Planar => "head_f32",
            Storage::Blocked => "head_f16",
        };
        let blocks = self.shape.iter().product::<usize>().div_ceil(THREADS);
        Launch::new(kernel, [blocks as u32, 1], THREADS as u32, 0, &arguments)
    }
}

/// Packs the head's tensors as `head` reads them: `[2][slots]`, bias, slopes and last kernel (2 each), the last bias.
pub fn pack(hidden: &LayerTensors, binary: &LayerTensors, inputs: &Slots) -> Vec<f32> {
    let mut packed = Vec::with_capacity(16 * inputs.chunks() + 7);
    for m in 0..2 {
        let column: Vec<f32> = hidden.kernel.iter().skip(m).step_by(2).copied().collect();
        packed.extend(inputs.scatter(Some(&column), 8));
    }
    packed.extend(hidden.bias.iter());
    packed.extend(hidden.slopes.as_deref().unwrap_or(&[0.0; 2]));
    packed.extend(binary.kernel.iter());
    packed.extend(binary.bias.iter());
    packed
}
