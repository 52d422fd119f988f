//! What is done to each value by itself: activation, residual and skip connections, dropout, and their gradients.

use super::values::{Values, padded};
use crate::cpu::simd::LANES;
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

/// From the gradient `dy` of prelu(z) to that of z, in its place, with those by the slopes and by the bias that z ends with, which are added to
/// `by_slopes` and `by_bias`. Of `dy` the blocks that z has are changed.
pub fn prelu_backward(z: &Values, slopes: &[f32], dy: &mut Values, by_slopes: &mut [f32], by_bias: &mut [f32]) {
    for block in 0..z.blocks() {
        let factor = slopes_of(slopes, block);
        let sums: Vec<[Vector; 2]> = z
            .block(block)
            .par_chunks(CHUNK)
            .zip(dy.block_mut(block).par_chunks_mut(CHUNK))
            .map(|(from, to)| {
                let [mut slopes, mut bias] = [[0.0; LANES]; 2];
                for (z, dy) in from.iter().zip(to) {
                    for i in 0..LANES {
                        let (value, slope) = (z[i], dy[i]);
                        let below = value.min(0.0);
                        slopes[i] += slope * below;
                        dy[i] = if value > 0.0 { slope } else { factor[i] * slope };
                        bias[i] += dy[i];
                    }
                }
                [slopes, bias]
            })
            .collect();
        let channels = block * LANES..z.channels.min((block + 1) * LANES);
        for (lane, channel) in channels.enumerate() {
            by_slopes[channel] += sums.iter().map(|[slopes, _]| f64::from(slopes[lane])).sum::<f64>() as f32;
            by_bias[channel] += sums.iter().map(|[_, bias]| f64::from(bias[lane])).sum::<f64>() as f32;
        }
    }
}

/// `y = y + x`.
pub fn add(x: &Values, y: &mut Values) {
    x.all().par_chunks(CHUNK * LANES).zip(y.all_mut().par_chunks_mut(CHUNK * LANES)).for_each(|(x, y)| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    });
}

/// Writes the channels of `skip` after the first `half` of `y`: the end of a concatenation.
pub fn concatenate(skip: &Values, half: usize, y: &mut Values) {
    each_channel(skip, half, y, |skip, y| *y = *skip);
}

/// Adds the channels after the first `half` of `dy` to `dskip`: the gradient of [`concatenate`].
pub fn concatenate_backward(dy: &Values, half: usize, dskip: &mut Values) {
    let (voxels, channels) = (dskip.voxels(), dskip.channels);
    for_runs(channels, half, |from, to, len| {
        let source = &dy.all()[to / LANES * voxels * LANES..][..voxels * LANES];
        let target = &mut dskip.all_mut()[from / LANES * voxels * LANES..][..voxels * LANES];
        source.par_chunks(CHUNK * LANES).zip(target.par_chunks_mut(CHUNK * LANES)).for_each(|(source, target)| {
            for (source, target) in source.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES)) {
                let source = &source[to % LANES..][..len];
                target[from % LANES..][..len].iter_mut().zip(source).for_each(|(target, source)| *target += source);
            }
        });
    });
}

/// Calls `each` for every value of `skip` and its place among the channels of `y` after `half`.
fn each_channel(skip: &Values, half: usize, y: &mut Values, each: impl Fn(&f32, &mut f32) + Sync) {
    let voxels = skip.voxels();
    for_runs(skip.channels, half, |from, to, len| {
        let source = &skip.all()[from / LANES * voxels * LANES..][..voxels * LANES];
        let target = &mut y.all_mut()[to / LANES * voxels * LANES..][..voxels * LANES];
        source.par_chunks(CHUNK * LANES).zip(target.par_chunks_mut(CHUNK * LANES)).for_each(|(source, target)| {
            for (source, target) in source.chunks_exact(LANES).zip(target.chunks_exact_mut(LANES)) {
                let target = &mut target[to % LANES..][..len];
                source[from % LANES..][..len].iter().zip(target).for_each(|(source, target)| each(source, target));
            }
        });
    });
}

/// Runs of channels `from ..` of the second part of a concatenation, at `to ..` of the whole, that lie in one block on both sides.
fn for_runs(channels: usize, half: usize, mut each: impl FnMut(usize, usize, usize)) {
    let mut from = 0;
    while from < channels {
        let to = half + from;
        let len = (channels - from).min(LANES - from % LANES).min(LANES - to % LANES);
        each(from, to, len);
        from += len;
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
