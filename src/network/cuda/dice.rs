//! Launchers of `kernels/dice.cu`: the overlap of a prediction with a label, and its gradient.

use super::device::{Launch, Region};
use crate::network::Dice;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 256;
const BLOCKS: usize = 64;
const SUMS: usize = 5;

/// Bytes of the partial sums that [`DiceSums`] needs as scratch memory.
pub const PARTIAL_BYTES: usize = BLOCKS * SUMS * 8;
/// Bytes of the sums.
pub const TOTAL_BYTES: usize = SUMS * 8;

/// The sums that Dice of `voxels` probabilities with a label is made from.
#[derive(Clone, Copy, Debug)]
pub struct DiceSums {
    /// f32 probabilities.
    pub prediction: Region,
    /// Bytes, 0 or 1.
    pub label: Region,
    /// Scratch memory of [`PARTIAL_BYTES`].
    pub partial: Region,
    /// Where the sums go: [`TOTAL_BYTES`].
    pub total: Region,
    /// Where the gradient of soft Dice goes, f32 for each voxel.
    pub gradient: Option<Region>,
    /// Number of voxels.
    pub voxels: usize,
    /// A voxel is predicted where its probability is above it.
    pub threshold: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arguments {
    prediction: u64,
    label: u64,
    partial: u64,
    total: u64,
    gradient: u64,
    voxels: u64,
    threshold: f32,
    padding: u32,
}
const _: () = assert!(size_of::<Arguments>() == 56);

impl DiceSums {
    /// The launches, in their order.
    pub fn launches(&self) -> Vec<Launch> {
        let arguments = Arguments {
            prediction: self.prediction.address,
            label: self.label.address,
            partial: self.partial.address,
            total: self.total.address,
            gradient: self.gradient.map_or(0, |gradient| gradient.address),
            voxels: self.voxels as u64,
            threshold: self.threshold,
            padding: 0,
        };
        let warps = (SUMS * 8 * THREADS / 32) as u32;
        let mut launches = vec![
            Launch::new("dice_partial", [BLOCKS as u32, 1], THREADS as u32, warps, &arguments),
            Launch::new("dice_total", [1, 1], 32, 0, &arguments),
        ];
        if self.gradient.is_some() {
            let blocks = self.voxels.div_ceil(THREADS) as u32;
            launches.push(Launch::new("dice_gradient", [blocks, 1], THREADS as u32, 0, &arguments));
        }
        launches
    }
}

/// Dice from the sums that the launches leave in `total`.
pub fn from_sums(total: [f64; SUMS]) -> Dice {
    let [products, squares, both, predicted, label] = total;
    let ratio = |twice: f64, sum: f64| if sum > 0.0 { twice / sum } else { 1.0 };
    Dice {
        soft: ratio(2.0 * products, squares),
        hard: ratio(2.0 * both, predicted + label),
        predicted_voxels: predicted as u64,
        label_voxels: label as u64,
    }
}
