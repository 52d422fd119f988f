//! What is done to each value by itself: activation, residual and skip connections, dropout, and their gradients.

use super::input::Padded;
use super::values::{Values, padded};
use crate::network::cpu::simd::LANES;
use rayon::prelude::*;

/// Vectors that a thread takes at a time: fixed, so that sums have the same bits for any number of threads.
const CHUNK: usize = 4096;

type Vector = [f32; LANES];

/// The slopes of a block, 0 in places without a channel.
fn slopes_of(slopes: &[f32], block: usize) -> Vector {
    padded(slopes)[block * LANES..][..LANES].try_into().expect("a block has 16 places")
}

/// `y = prelu(z)`, and `+ residual` where there is one. `z` may have fewer blocks than `y`; the others are left.
pub fn prelu(z: &Values, slopes: &[f32], residual: Option<&Values>, y: &mut Values) {
    for block in 0..z.blocks() {
        let slopes = slopes_of(slopes, block);
        let activated = |z: &Vector| -> Vector { std::array::from_fn(|i| if z[i] > 0.0 { z[i] } else { slopes[i] * z[i] }) };
        let (from, to) = (z.block(block).par_chunks(CHUNK), y.block_mut(block).par_chunks_mut(CHUNK));
        match residual {
            Some(residual) => from.zip(to).zip(residual.block(block).par_chunks(CHUNK)).for_each(|((from, to), added)| {
                for ((z, y), r) in from.iter().zip(to).zip(added) {
                    let value = activated(z);
                    *y = std::array::from_fn(|i| value[i] + r[i]);
                }
            }),
            None => from.zip(to).for_each(|(from, to)| from.iter().zip(to).for_each(|(z, y)| *y = activated(z))),
        }
    }
}

/// `y = prelu(z) + x` in each channel, for the network's input x.
pub fn prelu_add_input(z: &Values, slopes: &[f32], x: &Padded, y: &mut Values) {
    let ([_, height, width], channels) = (z.shape, z.channels);
    for block in 0..z.blocks() {
        let slopes = slopes_of(slopes, block);
        let present: Vector = std::array::from_fn(|i| if block * LANES + i < channels { 1.0 } else { 0.0 });
        let rows = z.block(block).par_chunks_exact(width).zip(y.block_mut(block).par_chunks_exact_mut(width)).enumerate();
        rows.for_each(|(number, (from, to))| {
            for ((z, y), x) in from.iter().zip(to).zip(x.line(number / height, number % height)) {
                *y = std::array::from_fn(|i| present[i] * x + if z[i] > 0.0 { z[i] } else { slopes[i] * z[i] });
            }
        });
    }
}

/// From the gradient `dy` of prelu(z) to that of z, in its place, with those by the slopes and by the bias that z ends with, which are added to
/// `by_slopes` and `by_bias`. Of `dy` the blocks that z has are changed. For a residual connection `dy` is copied to `residual` first.
pub fn prelu_backward(
    z: &Values,
    slopes: &[f32],
    dy: &mut Values,
    residual: Option<&mut Values>,
    by_slopes: &mut [f32],
    by_bias: &mut [f32],
) {
    let mut residual = residual;
    for block in 0..z.blocks() {
        let factor = slopes_of(slopes, block);
        let change = |z: &Vector, dy: &mut Vector, [slopes, bias]: &mut [Vector; 2]| {
            for i in 0..LANES {
                let (value, slope) = (z[i], dy[i]);
                slopes[i] += slope * value.min(0.0);
                dy[i] = if value > 0.0 { slope } else { factor[i] * slope };
                bias[i] += dy[i];
            }
        };
        let parts = z.block(block).par_chunks(CHUNK).zip(dy.block_mut(block).par_chunks_mut(CHUNK));
        let sums: Vec<[Vector; 2]> = match &mut residual {
            Some(residual) => parts
                .zip(residual.block_mut(block).par_chunks_mut(CHUNK))
                .map(|((from, to), copies)| {
                    let mut sums = [[0.0; LANES]; 2];
                    for ((z, dy), copy) in from.iter().zip(to).zip(copies) {
                        *copy = *dy;
                        change(z, dy, &mut sums);
                    }
                    sums
                })
                .collect(),
            None => parts
                .map(|(from, to)| {
                    let mut sums = [[0.0; LANES]; 2];
                    from.iter().zip(to).for_each(|(z, dy)| change(z, dy, &mut sums));
                    sums
                })
                .collect(),
        };
        let channels = block * LANES..z.channels.min((block + 1) * LANES);
        for (lane, channel) in channels.enumerate() {
            by_slopes[channel] += sums.iter().map(|[slopes, _]| f64::from(slopes[lane])).sum::<f64>() as f32;
            by_bias[channel] += sums.iter().map(|[_, bias]| f64::from(bias[lane])).sum::<f64>() as f32;
        }
    }
}

/// Copies `count` channels from `first` on to those from `to_first` on: a half of a concatenation, there or back.
pub fn copy_channels(from: &Values, first: usize, to: &mut Values, to_first: usize, count: usize) {
    let len = from.voxels() * LANES;
    let mut done = 0;
    while done < count {
        let (a, b) = (first + done, to_first + done);
        // As many as lie in one block on both sides.
        let run = (count - done).min(LANES - a % LANES).min(LANES - b % LANES);
        let (source, target) = (&from.all()[a / LANES * len..][..len], &mut to.all_mut()[b / LANES * len..][..len]);
        source.par_chunks(CHUNK * LANES).zip(target.par_chunks_mut(CHUNK * LANES)).for_each(|(source, target)| {
            for (source, target) in source.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES)) {
                target[b % LANES..][..run].copy_from_slice(&source[a % LANES..][..run]);
            }
        });
        done += run;
    }
}

/// Dropout in its inverted form: values are 0 where `keep(voxel, channel)` is false, and divided by `1 - rate` elsewhere. Its gradient is the same.
pub fn dropout(y: &mut Values, rate: f32, keep: impl Fn(usize, usize) -> bool + Sync) {
    let channels = y.channels;
    for block in 0..y.blocks() {
        let lanes = (channels - block * LANES).min(LANES);
        y.block_mut(block).par_iter_mut().enumerate().for_each(|(voxel, vector)| {
            for (lane, value) in vector[..lanes].iter_mut().enumerate() {
                *value = if keep(voxel, block * LANES + lane) { *value / (1.0 - rate) } else { 0.0 };
            }
        });
    }
}
