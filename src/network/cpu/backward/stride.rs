//! Down- and up-convolutions (stride = kernel) and their gradients.
//!
//! Both join a voxel of the coarse grid with its block of the fine one, with kernels (kd, kh, kw, fine channels, coarse channels). So there are three
//! operations: from the fine to the coarse grid (down; the gradient of up by its input), from the coarse to the fine grid (up; the gradient of down by
//! its input), and the kernel's gradient, which is the same for both.

use super::kernels::{Kernels, Outer, Product};
use super::values::{Values, padded};
use crate::network::cpu::kernels::Instructions;
use crate::network::cpu::simd::LANES;
use rayon::prelude::*;

/// A kernel, packed for both directions.
pub struct Strided {
    instructions: Instructions,
    stride: [usize; 3],
    /// Channels on the fine and on the coarse grid.
    channels: [usize; 2],
    /// `[coarse block][tap][fine channel][16]`
    to_coarse: Vec<f32>,
    /// `[fine block][tap][coarse channel][16]`
    to_fine: Vec<f32>,
}

/// Where kernels write, each its own part.
#[derive(Clone, Copy)]
struct Destination(*mut f32);

// SAFETY: no two threads write to the same part.
unsafe impl Sync for Destination {}
// SAFETY: as above.
unsafe impl Send for Destination {}

impl Destination {
    fn at(self, place: usize) -> *mut f32 {
        self.0.wrapping_add(place)
    }
}

impl Strided {
    /// Packs a kernel (kd, kh, kw, fine, coarse).
    pub fn new(instructions: Instructions, stride: [usize; 3], [fine, coarse]: [usize; 2], values: &[f32]) -> Strided {
        let taps: usize = stride.iter().product();
        let pack = |from: usize, to: usize, value: &dyn Fn(usize, usize, usize) -> f32| {
            let mut packed = vec![0.0; to.div_ceil(LANES) * taps * from * LANES];
            for tap in 0..taps {
                for c in 0..from {
                    for n in 0..to {
                        packed[((n / LANES * taps + tap) * from + c) * LANES + n % LANES] = value(tap, c, n);
                    }
                }
            }
            packed
        };
        Strided {
            instructions,
            stride,
            channels: [fine, coarse],
            to_coarse: pack(fine, coarse, &|tap, f, c| values[(tap * fine + f) * coarse + c]),
            to_fine: pack(coarse, fine, &|tap, c, f| values[(tap * fine + f) * coarse + c]),
        }
    }

    /// Offsets of the taps on a fine grid, in f32 from the block's first voxel.
    fn taps(&self, shape: [usize; 3]) -> Vec<usize> {
        let [kd, kh, kw] = self.stride;
        let place = |i: usize, j: usize, k: usize| ((i * shape[1] + j) * shape[2] + k) * LANES;
        (0..kd).flat_map(|i| (0..kh).flat_map(move |j| (0..kw).map(move |k| place(i, j, k)))).collect()
    }

    /// First place of the fine block of the first voxel of a row (d, h) of the coarse grid.
    fn row(&self, fine: [usize; 3], d: usize, h: usize) -> usize {
        (d * self.stride[0] * fine[1] + h * self.stride[1]) * fine[2] * LANES
    }

    /// `coarse[n] = (coarse[n] +) bias[n] + sum over taps and fine channels`; no bias for a gradient.
    pub fn fine_to_coarse(&self, fine: &Values, coarse: &mut Values, bias: &[f32], accumulate: bool) {
        let kernels = Kernels::of(self.instructions);
        let (taps, bias) = (self.taps(fine.shape), padded(bias));
        let [depth, height, width] = coarse.shape;
        let (voxels, blocks) = (fine.voxels() * LANES, coarse.blocks());
        let input = self.channels[0].div_ceil(LANES);
        let segments: Vec<usize> = taps.iter().flat_map(|tap| (0..input).map(move |block| block * voxels + tap)).collect();
        let channels: Vec<usize> =
            taps.iter().flat_map(|_| (0..input).map(|block| (self.channels[0] - block * LANES).min(LANES))).collect();
        let len = self.to_coarse.len() / blocks;
        let stride = coarse.voxels() * LANES;
        let to = Destination(coarse.all_mut().as_mut_ptr());
        (0..depth * height).into_par_iter().for_each(|row| {
            for block in 0..blocks {
                let product = Product {
                    a: fine.all()[self.row(fine.shape, row / height, row % height)..].as_ptr(),
                    segments: &segments,
                    a_step: self.stride[2] * LANES,
                    channels: &channels,
                    weights: self.to_coarse[block * len..].as_ptr(),
                    bias: bias[block * LANES..].as_ptr(),
                    c: to.at(block * stride + row * width * LANES),
                    c_step: LANES,
                    rows: width,
                    accumulate,
                };
                // SAFETY: the fine grid has a whole block for each voxel of the coarse one; each row is written by one item.
                unsafe { (kernels.product)(&product) };
            }
        });
    }

    /// `fine[n] = (fine[n] +) bias[n] + sum over coarse channels` for each tap; no bias for a gradient.
    pub fn coarse_to_fine(&self, coarse: &Values, fine: &mut Values, bias: &[f32], accumulate: bool) {
        let kernels = Kernels::of(self.instructions);
        let (taps, bias) = (self.taps(fine.shape), padded(bias));
        let [depth, height, width] = coarse.shape;
        let (voxels, blocks) = (coarse.voxels() * LANES, self.channels[0].div_ceil(LANES));
        let input = self.channels[1].div_ceil(LANES);
        let segments: Vec<usize> = (0..input).map(|block| block * voxels).collect();
        let channels: Vec<usize> = (0..input).map(|block| (self.channels[1] - block * LANES).min(LANES)).collect();
        let stride = fine.voxels() * LANES;
        let shape = fine.shape;
        let to = Destination(fine.all_mut().as_mut_ptr());
        (0..depth * height).into_par_iter().for_each(|row| {
            for block in 0..blocks {
                for (number, tap) in taps.iter().enumerate() {
                    let product = Product {
                        a: coarse.all()[row * width * LANES..].as_ptr(),
                        segments: &segments,
                        a_step: LANES,
                        channels: &channels,
                        weights: self.to_fine[(block * taps.len() + number) * self.channels[1] * LANES..].as_ptr(),
                        bias: bias[block * LANES..].as_ptr(),
                        c: to.at(block * stride + self.row(shape, row / height, row % height) + tap),
                        c_step: self.stride[2] * LANES,
                        rows: width,
                        accumulate,
                    };
                    // SAFETY: as above, with the grids exchanged.
                    unsafe { (kernels.product)(&product) };
                }
            }
        });
    }

    /// Adds the kernel's gradient (kd, kh, kw, fine, coarse): of each tap the products of both grids' values, one of which is a gradient.
    pub fn kernel_gradient(&self, fine: &Values, coarse: &Values, gradient: &mut [f32]) {
        let kernels = Kernels::of(self.instructions);
        let taps = self.taps(fine.shape);
        let [depth, height, width] = coarse.shape;
        let [from, to] = self.channels;
        let blocks = [from, to].map(|channels| channels.div_ceil(LANES));
        let len = taps.len() * blocks[0] * LANES * blocks[1] * LANES;
        // One part for each plane: summed in their order, whatever the threads.
        let parts: Vec<Vec<f32>> = (0..depth)
            .into_par_iter()
            .map(|d| {
                let mut sums = vec![0.0; len];
                for h in 0..height {
                    for (place, sums) in sums.chunks_exact_mut(LANES * LANES).enumerate() {
                        let (pair, tap) = (place / taps.len(), taps[place % taps.len()]);
                        let (f, c) = (pair / blocks[1], pair % blocks[1]);
                        let outer = Outer {
                            a: fine.all()[f * fine.voxels() * LANES + self.row(fine.shape, d, h) + tap..].as_ptr(),
                            a_step: self.stride[2] * LANES,
                            b: coarse.all()[c * coarse.voxels() * LANES + (d * height + h) * width * LANES..].as_ptr(),
                            b_step: LANES,
                            n: width,
                            channels: (from - f * LANES).min(LANES),
                            sums: sums.as_mut_ptr(),
                        };
                        // SAFETY: the fine grid has a whole block for each voxel of the coarse one.
                        unsafe { (kernels.outer)(&outer) };
                    }
                }
                sums
            })
            .collect();
        for sums in parts {
            for (row, vector) in sums.chunks_exact(LANES).enumerate() {
                let (place, lane) = (row / LANES, row % LANES);
                let (pair, tap) = (place / taps.len(), place % taps.len());
                let (f, c) = (pair / blocks[1] * LANES + lane, pair % blocks[1] * LANES);
                if f < from {
                    let line = &mut gradient[(tap * from + f) * to..][..to];
                    line[c..].iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
                }
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
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn down_up_and_their_gradients_are_those_of_the_reference(
            shape in prop::array::uniform3(1usize..6),
            planar in any::<bool>(),
            fine in 1usize..20,
            coarse in 1usize..36,
            seed in any::<u64>(),
        ) {
            let stride = if planar { [1, 2, 2] } else { [2; 3] };
            let large = [0, 1, 2].map(|axis| shape[axis] * stride[axis]);
            let array = |channels: usize, [d, h, w]: [usize; 3], seed: u64| {
                Array4::from_shape_vec((channels, d, h, w), random(seed, channels * d * h * w)).unwrap()
            };
            let blocked = |array: &Array4<f32>| {
                let (c, d, h, w) = array.dim();
                let mut values = Values::new([d, h, w], c).unwrap();
                values.set_channels(array.as_slice().unwrap());
                values
            };
            let dim = (stride[0], stride[1], stride[2], fine, coarse);
            let kernel = Array5::from_shape_vec(dim, random(seed, stride.iter().product::<usize>() * fine * coarse)).unwrap();
            let (f, c) = (array(fine, large, seed ^ 1), array(coarse, shape, seed ^ 2));
            let (bias_c, bias_f) = (random(seed ^ 3, coarse), random(seed ^ 4, fine));
            let down = reference::down(f.view(), kernel.view(), &bias_c);
            let down_gradient = reference::down_backward(f.view(), kernel.view(), c.view());
            let up = reference::up(c.view(), kernel.view(), &bias_f);
            let up_gradient = reference::up_backward(c.view(), kernel.view(), f.view());

            for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
                let layer = Strided::new(instructions, stride, [fine, coarse], kernel.as_slice().unwrap());
                let (f, c) = (blocked(&f), blocked(&c));
                let check = |values: &Values, expected: &Array4<f32>| assert_close(&values.to_channels(), expected.as_slice().unwrap(), 1e-5);
                let mut result = Values::new(shape, coarse).unwrap();
                layer.fine_to_coarse(&f, &mut result, &bias_c, false);
                check(&result, &down);
                layer.fine_to_coarse(&f, &mut result, &vec![0.0; coarse], false);
                layer.fine_to_coarse(&f, &mut result, &vec![0.0; coarse], true);
                check(&result, &up_gradient.x.mapv(|value| 2.0 * value));
                let mut result = Values::new(large, fine).unwrap();
                layer.coarse_to_fine(&c, &mut result, &bias_f, false);
                check(&result, &up);
                layer.coarse_to_fine(&c, &mut result, &vec![0.0; fine], false);
                layer.coarse_to_fine(&c, &mut result, &vec![0.0; fine], true);
                check(&result, &down_gradient.x.mapv(|value| 2.0 * value));
                let mut sums = vec![0.0; kernel.len()];
                layer.kernel_gradient(&f, &c, &mut sums);
                assert_close(&sums, down_gradient.kernel.as_slice().unwrap(), 1e-5);
                assert_close(&sums, up_gradient.kernel.as_slice().unwrap(), 1e-5);
            }
        }
    }
}
