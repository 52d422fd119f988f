//! The network's end, its loss, and the gradients of both.

use super::values::Values;
use crate::network::cpu::simd::LANES;
use crate::network::description::HEAD_CHANNELS;
use crate::network::{Loss, sigmoid};
use rayon::prelude::*;

/// Voxels that a thread takes at a time: fixed, so that sums have the same bits for any number of threads.
const CHUNK: usize = 4096;

/// The weights of the head, as slices of the tensors of `outblock`.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Kernel of the hidden layer, (in, 2).
    pub hidden: &'a [f32],
    /// Its biases.
    pub hidden_bias: &'a [f32],
    /// Its slopes.
    pub slopes: &'a [f32],
    /// Kernel of the last layer, (2, 1).
    pub binary: &'a [f32],
    /// Its bias.
    pub bias: f32,
}

/// The gradient by each of the head's weights.
#[derive(Clone, Debug, Default)]
pub struct HeadGradient {
    /// By [`Head::hidden`].
    pub hidden: Vec<f64>,
    /// By [`Head::hidden_bias`].
    pub hidden_bias: [f64; HEAD_CHANNELS],
    /// By [`Head::slopes`].
    pub slopes: [f64; HEAD_CHANNELS],
    /// By [`Head::binary`].
    pub binary: [f64; HEAD_CHANNELS],
    /// By [`Head::bias`].
    pub bias: f64,
}

impl Head<'_> {
    /// The hidden channels of a voxel before their activation.
    fn hidden_of(&self, x: &Values, voxel: usize) -> [f32; HEAD_CHANNELS] {
        let mut hidden = [self.hidden_bias[0], self.hidden_bias[1]];
        for block in 0..x.blocks() {
            let vector = &x.block(block)[voxel];
            let weights = &self.hidden[block * LANES * HEAD_CHANNELS..];
            for (value, weights) in vector.iter().zip(weights.chunks_exact(HEAD_CHANNELS)) {
                hidden[0] += value * weights[0];
                hidden[1] += value * weights[1];
            }
        }
        hidden
    }

    fn activated(&self, hidden: [f32; HEAD_CHANNELS]) -> [f32; HEAD_CHANNELS] {
        std::array::from_fn(|k| if hidden[k] > 0.0 { hidden[k] } else { self.slopes[k] * hidden[k] })
    }

    /// The logit of each voxel of a mask; 0 outside of it.
    pub fn forward(&self, x: &Values, mask: &[bool], logits: &mut [f32]) {
        logits.par_chunks_mut(CHUNK).zip(mask.par_chunks(CHUNK)).enumerate().for_each(|(chunk, (logits, mask))| {
            for (place, (logit, &inside)) in logits.iter_mut().zip(mask).enumerate() {
                if !inside {
                    *logit = 0.0;
                    continue;
                }
                let y = self.activated(self.hidden_of(x, chunk * CHUNK + place));
                *logit = self.bias + self.binary[0] * y[0] + self.binary[1] * y[1];
            }
        });
    }

    /// The gradient for that of the logits; that by the input is written to `dx`.
    pub fn backward(&self, x: &Values, by_logit: &[f32], dx: &mut Values) -> HeadGradient {
        // The slopes of the loss by both hidden channels before their activation, for each voxel.
        let mut by_hidden = vec![[0.0f32; HEAD_CHANNELS]; by_logit.len()];
        let parts: Vec<HeadGradient> = by_logit
            .par_chunks(CHUNK)
            .zip(by_hidden.par_chunks_mut(CHUNK))
            .enumerate()
            .map(|(chunk, (by_logit, by_hidden))| {
                let mut sum = HeadGradient { hidden: vec![0.0; self.hidden.len()], ..HeadGradient::default() };
                for (place, (&slope, by_hidden)) in by_logit.iter().zip(by_hidden).enumerate() {
                    if slope == 0.0 {
                        continue;
                    }
                    let voxel = chunk * CHUNK + place;
                    let hidden = self.hidden_of(x, voxel);
                    let y = self.activated(hidden);
                    sum.bias += f64::from(slope);
                    for k in 0..HEAD_CHANNELS {
                        let by_y = slope * self.binary[k];
                        sum.binary[k] += f64::from(slope * y[k]);
                        sum.slopes[k] += f64::from(by_y * hidden[k].min(0.0));
                        by_hidden[k] = if hidden[k] > 0.0 { by_y } else { self.slopes[k] * by_y };
                        sum.hidden_bias[k] += f64::from(by_hidden[k]);
                    }
                    for (c, sums) in sum.hidden.chunks_exact_mut(HEAD_CHANNELS).enumerate() {
                        let value = x.block(c / LANES)[voxel][c % LANES];
                        sums[0] += f64::from(value * by_hidden[0]);
                        sums[1] += f64::from(value * by_hidden[1]);
                    }
                }
                sum
            })
            .collect();
        for block in 0..dx.blocks() {
            let mut weights = [[0.0; HEAD_CHANNELS]; LANES];
            for (weights, values) in
                weights.iter_mut().zip(self.hidden[block * LANES * HEAD_CHANNELS..].chunks_exact(HEAD_CHANNELS))
            {
                weights.copy_from_slice(values);
            }
            dx.block_mut(block).par_chunks_mut(CHUNK).zip(by_hidden.par_chunks(CHUNK)).for_each(|(dx, by_hidden)| {
                for (dx, h) in dx.iter_mut().zip(by_hidden) {
                    *dx = std::array::from_fn(|i| h[0] * weights[i][0] + h[1] * weights[i][1]);
                }
            });
        }
        parts.into_iter().fold(
            HeadGradient { hidden: vec![0.0; self.hidden.len()], ..HeadGradient::default() },
            |mut total, part| {
                total.hidden.iter_mut().zip(part.hidden).for_each(|(total, part)| *total += part);
                total.bias += part.bias;
                for k in 0..HEAD_CHANNELS {
                    total.hidden_bias[k] += part.hidden_bias[k];
                    total.slopes[k] += part.slopes[k];
                    total.binary[k] += part.binary[k];
                }
                total
            },
        )
    }
}

/// [`Loss::gradient`] by all cores: the loss, and its derivative by each logit in `by_logit`.
pub fn loss(loss: &Loss, logits: &[f32], label: &[bool], mask: &[bool], by_logit: &mut [f32]) -> f64 {
    let chunks = |logits: &[f32], label: &[bool], mask: &[bool]| {
        let mut sums = [0.0f64; 4];
        for ((&z, &g), _) in logits.iter().zip(label).zip(mask).filter(|&(_, &inside)| inside) {
            let (p, z, g) = (f64::from(sigmoid(z)), f64::from(z), f64::from(u8::from(g)));
            sums[0] += p * g;
            sums[1] += p * p + g;
            sums[2] += z.max(0.0) + (-z.abs()).exp().ln_1p() - g * z;
            sums[3] += 1.0;
        }
        sums
    };
    let parts: Vec<[f64; 4]> = logits
        .par_chunks(CHUNK)
        .zip(label.par_chunks(CHUNK))
        .zip(mask.par_chunks(CHUNK))
        .map(|((logits, label), mask)| chunks(logits, label, mask))
        .collect();
    let [products, squares, entropy, voxels] =
        parts.into_iter().fold([0.0; 4], |total, part| std::array::from_fn(|i| total[i] + part[i]));
    let voxels = voxels.max(1.0);
    let soft = if squares > 0.0 { 2.0 * products / squares } else { 1.0 };
    by_logit.par_iter_mut().zip(logits).zip(label).zip(mask).for_each(|(((slope, &z), &g), &inside)| {
        let (p, g) = (f64::from(sigmoid(z)), f64::from(u8::from(g)));
        let by_dice = if squares > 0.0 { 2.0 * (g * squares - 2.0 * p * products) / (squares * squares) } else { 0.0 };
        let value = loss.cross_entropy * (p - g) / voxels - loss.dice * by_dice * p * (1.0 - p);
        *slope = if inside { value as f32 } else { 0.0 };
    });
    loss.dice * (1.0 - soft) + loss.cross_entropy * entropy / voxels
}
