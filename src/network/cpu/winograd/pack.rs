//! The transform of a layer's weights, once, from the weights file's own bytes to packed panels for each point.

use super::points::{TAPS, weight_matrix};
use crate::network::Result;
use crate::network::cpu::gemm;
use crate::network::cpu::kernels::Kernels;
use crate::network::cpu::layout::KernelValues;
use crate::network::cpu::memory::Block;
use crate::network::cpu::simd::LANES;
use crate::network::cpu::threads;

/// `n` vectors of products of the weight matrix with lines of weights: `output[p] = sum over t of matrix[p][t] * input[t]`.
pub struct WeightLines<'a> {
    /// One row for each point.
    pub matrix: &'a [[f32; TAPS]],
    /// Number of taps: 1 or 5.
    pub taps: usize,
    /// The first vector of tap 0.
    pub input: *const f32,
    /// f32 from a tap to the next.
    pub input_stride: usize,
    /// The first vector of point 0.
    pub output: *mut f32,
    /// f32 from a point to the next.
    pub output_stride: usize,
    /// Number of vectors, which follow one another.
    pub n: usize,
}

/// Packed panels of a kernel of 1 or 5 taps along each axis for each of the `points` along (D, H, W), those of (0, 0,
/// 0) first, W fastest.
///
/// # Errors
/// [`crate::network::Error::Memory`] where memory runs out.
pub fn pack(kernels: &Kernels, threads: usize, points: [usize; 3], kernel: &KernelValues) -> Result<Block> {
    let (input_blocks, output_blocks) = (kernel.input.blocks(), kernel.output.blocks());
    let point_len = gemm::packed_len(input_blocks, output_blocks);
    let mut packed = Block::new(points.iter().product::<usize>() * point_len)?;
    let destination = Destination(packed.values_mut().as_mut_ptr());
    let panels = output_blocks.div_ceil(kernels.panel);
    let matrices = points.map(|p| weight_matrix(p).into_iter().map(|row| row.map(|value| value as f32)).collect::<Vec<_>>());
    threads::run(threads, |worker| {
        let [kd, kh, kw] = kernel.size;
        let [_, ph, pw] = points;
        let most = LANES * kernels.panel * LANES;
        let mut gathered = vec![0.0; kd * kh * kw * most];
        let mut along_w = vec![0.0; kd * kh * pw * most];
        let mut along_h = vec![0.0; kd * ph * pw * most];
        worker.for_each(panels * input_blocks, |item| {
            let (panel, block) = (item / input_blocks, item % input_blocks);
            let first = panel * kernels.panel;
            let width = kernels.panel.min(output_blocks - first);
            // f32 of a point: 16 input channels by `width` blocks of output channels.
            let len = LANES * width * LANES;
            for (row, values) in gathered[..kd * kh * kw * len].chunks_exact_mut(width * LANES).enumerate() {
                gather(kernel, row / LANES, block * LANES + row % LANES, first * LANES, values);
            }
            // SAFETY: all lines lie within the three arrays; the last ones fill this panel's and input block's part of each point, which no other
            // item writes.
            unsafe {
                let lines = |axis: usize, input: *const f32, input_stride, output, output_stride| {
                    (kernels.weights)(&WeightLines {
                        matrix: &matrices[axis],
                        taps: kernel.size[axis],
                        input,
                        input_stride,
                        output,
                        output_stride,
                        n: len / LANES,
                    });
                };
                for row in 0..kd * kh {
                    let (from, to) = (gathered.as_ptr().add(row * kw * len), along_w.as_mut_ptr().add(row * pw * len));
                    lines(2, from, len, to, len);
                }
                for plane in 0..kd {
                    for w in 0..pw {
                        let from = along_w.as_ptr().add((plane * kh * pw + w) * len);
                        let to = along_h.as_mut_ptr().add((plane * ph * pw + w) * len);
                        lines(1, from, pw * len, to, pw * len);
                    }
                }
                for point in 0..ph * pw {
                    let from = along_h.as_ptr().add(point * len);
                    let place = point * point_len + gemm::packed_len(input_blocks, first) + block * len;
                    lines(0, from, ph * pw * len, destination.get().add(place), ph * pw * point_len);
                }
            }
        });
    });
    Ok(packed)
}

/// The weights of one tap from the channel at place `from` to those at places `to` and following.
fn gather(kernel: &KernelValues, tap: usize, from: usize, to: usize, values: &mut [f32]) {
    values.fill(0.0);
    let Some(c) = kernel.input.channel(from) else { return };
    let row = &kernel.values[(tap * kernel.channels[0] + c) * kernel.channels[1]..][..kernel.channels[1]];
    for (place, value) in values.iter_mut().enumerate() {
        if let Some(n) = kernel.output.channel(to + place) {
            *value = row[n];
        }
    }
}

/// Where the packed weights go; every thread writes to parts of its own.
#[derive(Clone, Copy)]
struct Destination(*mut f32);

// SAFETY: no two threads write to the same part.
unsafe impl Sync for Destination {}

impl Destination {
    fn get(&self) -> *mut f32 {
        self.0
    }
}
