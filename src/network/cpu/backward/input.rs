//! The input layer's convolution, from one channel, and its gradient by the kernel. Directly: with one channel there is nothing that transforms could save.

use super::kernels::{Kernels, Outer};
use super::values::{Values, padded};
use crate::network::cpu::kernels::{Instructions, Kernels as EngineKernels};
use crate::network::cpu::rows::{InputRow, Row};
use crate::network::cpu::simd::LANES;
use rayon::prelude::*;
use std::ops::Range;

/// Values that the kernels may read beyond the last tap of a row.
const SPARE: usize = 8;

/// The network's input with half a kernel of zeros around it, (D, H, W).
pub struct Padded {
    /// Grid of the input.
    pub shape: [usize; 3],
    kernel: [usize; 3],
    row: usize,
    values: Vec<f32>,
    /// For each row from its first value that is not 0 to its last.
    occupied: Vec<Range<usize>>,
}

impl Padded {
    /// `x` (D, H, W), W fastest, for a kernel.
    pub fn new(x: &[f32], shape: [usize; 3], kernel: [usize; 3]) -> Padded {
        let row = shape[2] + kernel[2] - 1 + SPARE;
        let rows = (shape[0] + kernel[0] - 1) * (shape[1] + kernel[1] - 1);
        let mut padded = Padded { shape, kernel, row, values: vec![0.0; rows * row], occupied: vec![0..0; rows] };
        for (number, line) in x.chunks_exact(shape[2]).enumerate() {
            let place = padded.place(number / shape[1] + kernel[0] / 2, number % shape[1] + kernel[1] / 2);
            let first = kernel[2] / 2;
            padded.values[place * row + first..][..line.len()].copy_from_slice(line);
            if let Some(begin) = line.iter().position(|&x| x != 0.0) {
                let last = line.iter().rposition(|&x| x != 0.0).expect("there is a first one");
                padded.occupied[place] = first + begin..first + last + 1;
            }
        }
        padded
    }

    /// Number of a row.
    fn place(&self, d: usize, h: usize) -> usize {
        d * (self.shape[1] + self.kernel[1] - 1) + h
    }

    /// For each tap along (D, H) the row that it meets for the row (d, h).
    fn rows(&self, d: usize, h: usize) -> impl Iterator<Item = usize> {
        let [kd, kh, _] = self.kernel;
        (0..kd * kh).map(move |tap| self.place(d + tap / kh, h + tap % kh))
    }

    /// The values of a row, beginning with the leftmost tap of voxel 0.
    fn values(&self, row: usize) -> &[f32] {
        &self.values[row * self.row..][..self.row]
    }

    /// The voxels of a row of the grid that any tap in a row of the input is not 0 for.
    fn touched(&self, row: usize) -> Range<usize> {
        let Range { start, end } = self.occupied[row];
        (start + 1).saturating_sub(self.kernel[2])..end.min(self.shape[2])
    }

    /// The input itself in the row (d, h).
    pub fn line(&self, d: usize, h: usize) -> &[f32] {
        let row = self.place(d + self.kernel[0] / 2, h + self.kernel[1] / 2);
        &self.values(row)[self.kernel[2] / 2..][..self.shape[2]]
    }
}

/// `z[n] = bias[n] + conv(x)` for a kernel (kd, kh, kw, 1, N).
pub fn forward(instructions: Instructions, x: &Padded, kernel: &[f32], bias: &[f32], z: &mut Values) {
    let kernels = EngineKernels::of(instructions).expect("they were there when the network was made");
    let ([_, height, width], channels) = (z.shape, z.channels);
    let taps = kernel.len() / channels;
    for block in 0..z.blocks() {
        let lanes = block * LANES..channels.min((block + 1) * LANES);
        let weights: Vec<f32> = (0..taps).flat_map(|tap| padded(&kernel[tap * channels..][lanes.clone()])).collect();
        let bias = padded(&bias[lanes]);
        z.block_mut(block).par_chunks_exact_mut(width).enumerate().for_each(|(number, line)| {
            let rows: Vec<*const f32> = x.rows(number / height, number % height).map(|row| x.values(row).as_ptr()).collect();
            let row = InputRow {
                rows: &rows,
                width: x.kernel[2],
                weights: weights.as_ptr(),
                bias: bias.as_ptr(),
                // What is kept is the value before the activation, without x.
                slopes: [1.0; LANES].as_ptr(),
                present: [0.0; LANES].as_ptr(),
                x: x.line(number / height, number % height).as_ptr(),
                voxels: width,
                output: Row::plain(line.as_mut_ptr().cast()),
            };
            // SAFETY: the padded rows have a value for each voxel and tap, the line a vector for each voxel.
            unsafe { (kernels.input_row)(&row) };
        });
    }
}

/// Adds the gradient by the kernel for the gradient dz of the result.
pub fn kernel_gradient(instructions: Instructions, x: &Padded, dz: &Values, gradient: &mut [f32]) {
    let kernels = Kernels::of(instructions);
    let ([depth, height, width], [kd, kh, kw]) = (dz.shape, x.kernel);
    for block in 0..dz.blocks() {
        // One part for each plane: summed in their order, whatever the threads.
        let parts: Vec<Vec<f32>> = (0..depth)
            .into_par_iter()
            .map(|d| {
                let mut sums = vec![0.0; kd * kh * LANES * LANES];
                for h in 0..height {
                    for (row, sums) in x.rows(d, h).zip(sums.chunks_exact_mut(LANES * LANES)) {
                        // Beside them the input is 0.
                        let voxels = x.touched(row);
                        if voxels.is_empty() {
                            continue;
                        }
                        let outer = Outer {
                            a: x.values(row)[voxels.start..].as_ptr(),
                            a_step: 1,
                            b: dz.block(block)[(d * height + h) * width + voxels.start..].as_ptr().cast(),
                            b_step: LANES,
                            n: voxels.len(),
                            channels: kw,
                            sums: sums.as_mut_ptr(),
                        };
                        // SAFETY: a padded row has SPARE values more than the taps of its last voxel need.
                        unsafe { (kernels.outer)(&outer) };
                    }
                }
                sums
            })
            .collect();
        for sums in parts {
            for (tap, line) in gradient.chunks_exact_mut(dz.channels).enumerate() {
                let vector = &sums[(tap / kw * LANES + tap % kw) * LANES..][..LANES];
                line[block * LANES..].iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu::backward::testing::{assert_close, random};
    use crate::network::reference;
    use ndarray::{Array4, Array5};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn forward_and_gradient_are_those_of_the_reference(
            shape in prop::array::uniform3(1usize..9),
            kernel in prop::sample::select(vec![[5, 5, 5], [1, 5, 5], [3, 3, 3], [7, 7, 7]]),
            outputs in 1usize..20,
            share in prop::sample::select(vec![0.0, 0.1, 1.0]),
            seed in any::<u64>(),
        ) {
            let (taps, voxels) = (kernel.iter().product::<usize>(), shape.iter().product::<usize>());
            let (weights, bias, mut x, dz) =
                (random(seed, taps * outputs), random(seed ^ 1, outputs), random(seed ^ 2, voxels), random(seed ^ 3, outputs * voxels));
            // Zeros, as outside of a brain.
            x.iter_mut().zip(random(seed ^ 4, voxels)).filter(|(_, chance)| chance.abs() > share).for_each(|(x, _)| *x = 0.0);
            let array = |channels: usize, values: &[f32]| Array4::from_shape_vec((channels, shape[0], shape[1], shape[2]), values.to_vec()).unwrap();
            let tensor = Array5::from_shape_vec((kernel[0], kernel[1], kernel[2], 1, outputs), weights.clone()).unwrap();
            let expected = reference::conv(array(1, &x).view(), tensor.view(), &bias);
            let gradient = reference::conv_backward(array(1, &x).view(), tensor.view(), array(outputs, &dz).view());
            for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
                let x = Padded::new(&x, shape, kernel);
                let mut z = Values::new(shape, outputs).unwrap();
                forward(instructions, &x, &weights, &bias, &mut z);
                assert_close(&z.to_channels(), expected.as_slice().unwrap(), 1e-5);
                z.set_channels(&dz);
                let mut sums = vec![0.0; weights.len()];
                kernel_gradient(instructions, &x, &z, &mut sums);
                assert_close(&sums, gradient.kernel.as_slice().unwrap(), 1e-5);
            }
        }
    }
}
