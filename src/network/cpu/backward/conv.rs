//! The "same" convolutions of a network and their gradients, by Winograd's transforms.
//!
//! Forwards, and for the gradient by the input, the engine's own nested Winograd convolution is used: the gradient by the input is the
//! convolution of the output's gradient with the kernel flipped and its channels exchanged.
//!
//! The gradient by the kernel goes by the same points. With `y = A^T [(G w) * (B^T x)]` along an axis, the gradient by w of a tile is
//! `G^T [(A dy) * (B^T x)]`: per point the channels of all tiles meet in one matrix product, and G^T is applied once, to the sums.

use super::kernels::{Kernels, Outer};
use super::values::{Values, padded};
use crate::network::Result;
use crate::network::cpu::epilogue::Epilogue;
use crate::network::cpu::kernels::{Instructions, Kernels as EngineKernels, by_points};
use crate::network::cpu::layout::Slots;
use crate::network::cpu::simd::LANES;
use crate::network::cpu::winograd::batch::Batch;
use crate::network::cpu::winograd::transform::{Lines, outputs};
use crate::network::cpu::winograd::{Output, Winograd, pack, points};
use crate::network::region::Tiling;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that are computed together: along H and W, what stays in the cache of one core.
const TILES: usize = 48;
/// Most tiles of a batch along W.
const WIDTH: usize = 16;
/// Parts in which the sums of a kernel's gradient are made, so that threads can share them; fixed, so that the bits do not depend on the threads.
const PARTS: usize = 8;

/// Points along each axis: 8 for 5 taps, 1 for 1 tap; `None` for other kernels.
fn points_of(kernel: [usize; 3]) -> Option<[usize; 3]> {
    let points = kernel.map(|taps| match taps {
        1 => 1,
        5 => 8,
        _ => 0,
    });
    points.iter().all(|&n| n > 0).then_some(points)
}

/// A convolution with transformed weights, forwards and backwards.
pub struct Conv {
    instructions: Instructions,
    kernel: [usize; 3],
    points: [usize; 3],
    channels: [usize; 2],
    forward: Winograd,
    backward: Winograd,
}

/// Whether there is a transform for a kernel.
pub fn can(kernel: [usize; 3]) -> bool {
    points_of(kernel).is_some()
}

impl Conv {
    /// Transforms a layer's weights: a kernel (kd, kh, kw, in, out) whose sides [`can`] be, and a bias.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    ///
    /// # Panics
    /// For a kernel that has no transform.
    pub fn new(
        instructions: Instructions,
        kernel: [usize; 3],
        [inputs, outputs]: [usize; 2],
        values: &[f32],
        bias: &[f32],
    ) -> Result<Conv> {
        let points = points_of(kernel).expect("kernels have 1 or 5 taps along each axis");
        let kernels = EngineKernels::of(instructions)?;
        let taps: usize = kernel.iter().product();
        let mut flipped = vec![0.0; values.len()];
        for tap in 0..taps {
            for c in 0..inputs {
                for n in 0..outputs {
                    flipped[((taps - 1 - tap) * outputs + n) * inputs + c] = values[(tap * inputs + c) * outputs + n];
                }
            }
        }
        let pack = |values: &[f32], channels: [usize; 2], bias: &[f32]| {
            let [input, output] = channels.map(|channels| Slots::new(&[channels]));
            let layer = pack::Layer { kernel, points, values, channels, input: &input, output: &output };
            // Slopes of 1: what is kept is the value before the activation.
            Winograd::new(kernels, 1, &layer, Epilogue { bias: padded(bias), slopes: vec![1.0; output.blocks() * LANES] })
        };
        Ok(Conv {
            instructions,
            kernel,
            points,
            channels: [inputs, outputs],
            forward: pack(values, [inputs, outputs], bias)?,
            backward: pack(&flipped, [outputs, inputs], &vec![0.0; inputs])?,
        })
    }

    /// The tiles of a grid: what is needed of a result is said for each of them.
    pub fn tiling(&self, shape: [usize; 3]) -> Tiling {
        self.forward.tiling(shape)
    }

    /// `z = bias + conv(x)` in the needed tiles.
    pub fn forward(&self, x: &Values, z: &mut Values, needed: &[bool]) {
        self.run(&self.forward, x, z, needed, false);
    }

    /// `dx = (dx +) gradient by the input for the gradient dz of the result`, which is 0 outside of the needed tiles.
    pub fn backward(&self, dz: &Values, dx: &mut Values, needed: &[bool], accumulate: bool) {
        let tiling = self.tiling(dz.shape);
        let seen = self.beside(&tiling, needed);
        if !accumulate {
            clear(dx, &tiling, &seen);
        }
        self.run(&self.backward, dz, dx, &seen, accumulate);
    }

    /// The tiles from which some tiles are computed: those themselves and, as half a kernel is shorter than a tile, the ones beside them.
    fn beside(&self, tiling: &Tiling, tiles: &[bool]) -> Vec<bool> {
        let counts = tiling.counts();
        let mut seen = tiles.to_vec();
        for axis in (0..3).filter(|&axis| self.points[axis] > 1) {
            let before = seen.clone();
            let step: usize = counts[axis + 1..].iter().product();
            for (tile, seen) in seen.iter_mut().enumerate() {
                let at = tile / step % counts[axis];
                *seen |= (at > 0 && before[tile - step]) || (at + 1 < counts[axis] && before[tile + step]);
            }
        }
        seen
    }

    fn run(&self, layer: &Winograd, x: &Values, z: &mut Values, wanted: &[bool], accumulate: bool) {
        let kernels = EngineKernels::of(self.instructions).expect("they were there when the layer was made");
        let tiling = layer.tiling(x.shape);
        let counts = tiling.counts();
        let width = counts[2].min(WIDTH);
        let size = [1, (TILES / width).min(counts[1]).max(1), width];
        let zeros = vec![0.0; (x.shape[2] + 8) * LANES];
        let (from, to) = (x.places(), z.places_mut());
        Batch::list(&tiling, |tile| wanted[tile], size).par_iter().for_each_init(
            || vec![0.0; layer.lengths(size).all()],
            |scratch, batch| {
                let residual = accumulate.then_some(&to);
                // SAFETY: the values have the layer's channels; every batch writes voxels of its own, and what it adds to is read
                // vector by vector before it is written; the scratch memory is as long as the largest batch asks for.
                unsafe { layer.batch(kernels, batch, &from, residual, Output::Store(&to), &zeros, scratch) };
            },
        );
    }

    /// Adds the gradient by the kernel, (kd, kh, kw, in, out), for the gradient dz of the result, which is 0 outside of the needed tiles.
    pub fn kernel_gradient(&self, x: &Values, dz: &Values, needed: &[bool], gradient: &mut [f32]) {
        let [inputs, outputs] = self.channels;
        let pairs: Vec<[usize; 2]> = (0..x.blocks()).flat_map(|c| (0..dz.blocks()).map(move |n| [c, n])).collect();
        let tiles = x.shape[0].div_ceil(crate::network::cpu::winograd::transform::outputs(self.points[0]));
        let parts = PARTS.div_ceil(pairs.len()).min(tiles);
        let taps: Vec<Vec<[f32; LANES]>> = pairs
            .par_iter()
            .map(|&pair| {
                let sums: Vec<Vec<f32>> = (0..parts)
                    .into_par_iter()
                    .map(|part| self.sums(x, dz, needed, pair, tiles * part / parts..tiles * (part + 1) / parts))
                    .collect();
                let mut sums = sums.into_iter();
                let mut total = sums.next().expect("there is a part");
                sums.for_each(|part| total.iter_mut().zip(part).for_each(|(total, value)| *total += value));
                self.to_taps(&total)
            })
            .collect();
        for (&[block, to], taps) in pairs.iter().zip(&taps) {
            for (row, vector) in taps.iter().enumerate() {
                let (tap, c) = (row / LANES, block * LANES + row % LANES);
                if c < inputs {
                    let first = (tap * inputs + c) * outputs;
                    let range = to * LANES..outputs.min((to + 1) * LANES);
                    gradient[first + range.start..first + range.end]
                        .iter_mut()
                        .zip(vector)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
        }
    }

    /// Products of input and gradient at each point, `[point][c][16]`, summed over the tiles of some layers of tiles along D.
    fn sums(&self, x: &Values, dz: &Values, needed: &[bool], [block, to]: [usize; 2], layers: Range<usize>) -> Vec<f32> {
        let engine = EngineKernels::of(self.instructions).expect("they were there when the layer was made");
        let own = Kernels::of(self.instructions);
        let [pd, ph, pw] = self.points;
        let [od, oh, ow] = self.points.map(outputs);
        let [depth, height, width] = x.shape;
        let (tiles_h, tiles_w) = (height.div_ceil(oh), width.div_ceil(ow));
        let halo = self.points.map(|n| (n - outputs(n)) / 2);
        let (columns, row) = (Batch::extent(tiles_w, pw), width * LANES);
        let channels = (self.channels[0] - block * LANES).min(LANES);

        let zeros = vec![0.0f32; row];
        let mut sums = vec![0.0f32; pd * ph * pw * LANES * LANES];
        // Lines after the transform along D, H and W: `[point][row][column]`, `[point][column]`, `[point][tile]`. Columns outside of the grid stay 0.
        let mut x_depth = vec![0.0f32; pd * ph * columns * LANES];
        let mut x_height = vec![0.0f32; ph * columns * LANES];
        let mut x_width = vec![0.0f32; pw * tiles_w * LANES];
        let mut z_depth = vec![0.0f32; pd * oh * tiles_w * ow * LANES];
        let mut z_height = vec![0.0f32; ph * tiles_w * ow * LANES];
        let mut z_width = vec![0.0f32; pw * tiles_w * LANES];
        let spread = |points: usize| own.spread[usize::from(points != 1)];
        let source = |values: &Values, block: usize, d: usize, h: usize| {
            if d < depth && h < height { values.block(block)[(d * height + h) * width..].as_ptr().cast() } else { zeros.as_ptr() }
        };
        for tile_d in layers {
            for tile_h in 0..tiles_h {
                // From the first needed tile to the last: between them dz may be 0, beside them it is.
                let row = &needed[(tile_d * tiles_h + tile_h) * tiles_w..][..tiles_w];
                let Some(first) = row.iter().position(|&needed| needed) else { continue };
                let last = row.iter().rposition(|&needed| needed).expect("there is a first one");
                let count = last + 1 - first;
                // Columns that these see, the ones before the grid counted, and their own.
                let (column, seen) = (first * ow, Batch::extent(count, pw));
                let inside = column.max(halo[2])..(column + seen).min(halo[2] + width);
                let own_columns = column..width.min((last + 1) * ow);
                for r in 0..ph {
                    // Before the grid the subtraction wraps around, to numbers beyond its end.
                    let h = (tile_h * oh + r).wrapping_sub(halo[1]);
                    let depth = (tile_d * od).wrapping_sub(halo[0]);
                    let from = inside.start - halo[2];
                    let lines = Lines {
                        inputs: std::array::from_fn(|p| source(x, block, depth.wrapping_add(p), h).wrapping_add(from * LANES)),
                        input_step: LANES,
                        output: x_depth[(r * columns + inside.start) * LANES..].as_mut_ptr(),
                        output_stride: ph * columns * LANES,
                        output_step: LANES,
                        n: inside.len(),
                    };
                    // SAFETY: every input is a row of the grid or zeros as long; the outputs have room for the row at each point.
                    unsafe { (engine.forward[by_points(pd)])(&lines) };
                }
                for r in 0..oh {
                    let from = own_columns.start;
                    let lines = Lines {
                        inputs: std::array::from_fn(|p| {
                            source(dz, to, tile_d * od + p, tile_h * oh + r).wrapping_add(from * LANES)
                        }),
                        input_step: LANES,
                        output: z_depth[(r * tiles_w * ow + from) * LANES..].as_mut_ptr(),
                        output_stride: oh * tiles_w * ow * LANES,
                        output_step: LANES,
                        n: own_columns.len(),
                    };
                    // SAFETY: as above.
                    unsafe { spread(pd)(&lines) };
                }
                for point_d in 0..pd {
                    let line = |rows: &[f32], row: usize, output: &mut [f32], n: usize| Lines {
                        inputs: std::array::from_fn(|p| rows[column * LANES..].as_ptr().wrapping_add(p * row)),
                        input_step: LANES,
                        output: output[column * LANES..].as_mut_ptr(),
                        output_stride: row,
                        output_step: LANES,
                        n,
                    };
                    let x_line = line(&x_depth[point_d * ph * columns * LANES..], columns * LANES, &mut x_height, seen);
                    let z_line =
                        line(&z_depth[point_d * oh * tiles_w * ow * LANES..], tiles_w * ow * LANES, &mut z_height, count * ow);
                    // SAFETY: all rows of a point exist, and the outputs have a row for each point.
                    unsafe {
                        (engine.forward[by_points(ph)])(&x_line);
                        spread(ph)(&z_line);
                    }
                    for point_h in 0..ph {
                        let tiles = |first: *const f32, output: *mut f32| Lines {
                            inputs: std::array::from_fn(|p| first.wrapping_add(p * LANES)),
                            input_step: ow * LANES,
                            output,
                            output_stride: tiles_w * LANES,
                            output_step: LANES,
                            n: count,
                        };
                        let (x_row, z_row) = ((point_h * columns + column) * LANES, (point_h * tiles_w * ow + column) * LANES);
                        // SAFETY: a row has the columns that its tiles see; the outputs have a vector for each point and tile.
                        unsafe {
                            (engine.forward[by_points(pw)])(&tiles(x_height[x_row..].as_ptr(), x_width.as_mut_ptr()));
                            spread(pw)(&tiles(z_height[z_row..].as_ptr(), z_width.as_mut_ptr()));
                        }
                        for point_w in 0..pw {
                            let number = (point_d * ph + point_h) * pw + point_w;
                            let outer = Outer {
                                a: x_width[point_w * tiles_w * LANES..].as_ptr(),
                                a_step: LANES,
                                b: z_width[point_w * tiles_w * LANES..].as_ptr(),
                                b_step: LANES,
                                n: count,
                                channels,
                                sums: sums[number * LANES * LANES..].as_mut_ptr(),
                            };
                            // SAFETY: both have a vector for each tile; each point has 16 vectors of sums.
                            unsafe { (own.outer)(&outer) };
                        }
                    }
                }
            }
        }
        sums
    }

    /// G^T along the three axes: `[point][c][16]` to `[tap][c][16]`.
    fn to_taps(&self, sums: &[f32]) -> Vec<[f32; LANES]> {
        let mut values: Vec<[f32; LANES]> = sums.as_chunks().0.to_vec();
        let mut shape = self.points;
        for axis in 0..3 {
            let matrix = points::weight_matrix(self.points[axis]);
            let after: usize = shape[axis + 1..].iter().product::<usize>() * LANES;
            let before: usize = shape[..axis].iter().product();
            let mut next = vec![[0.0; LANES]; before * self.kernel[axis] * after];
            for b in 0..before {
                for tap in 0..self.kernel[axis] {
                    for (p, row) in matrix.iter().enumerate() {
                        let from = &values[(b * shape[axis] + p) * after..][..after];
                        let to = &mut next[(b * self.kernel[axis] + tap) * after..][..after];
                        let factor = row[tap] as f32;
                        for (to, from) in to.iter_mut().zip(from) {
                            // As whole vectors: lane by lane in place, the compiler cannot tell that they do not overlap.
                            *to = std::array::from_fn(|lane| to[lane] + factor * from[lane]);
                        }
                    }
                }
            }
            shape[axis] = self.kernel[axis];
            values = next;
        }
        values
    }
}

/// Zeros in the tiles that are not kept.
fn clear(values: &mut Values, tiling: &Tiling, kept: &[bool]) {
    let [_, height, width] = values.shape;
    let [_, tiles_h, tiles_w] = tiling.counts();
    let [depth, tile_h, tile_w] = tiling.tile;
    for block in 0..values.blocks() {
        values.block_mut(block).par_chunks_mut(depth * height * width).enumerate().for_each(|(d, layer)| {
            for (row, line) in layer.chunks_mut(width).enumerate() {
                let tiles = &kept[(d * tiles_h + row % height / tile_h) * tiles_w..][..tiles_w];
                for (tile, _) in line.chunks_mut(tile_w).zip(tiles).filter(|&(_, &kept)| !kept) {
                    tile.fill([0.0; LANES]);
                }
            }
        });
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
        fn forward_and_gradients_are_those_of_the_reference(
            shape in prop::array::uniform3(1usize..14),
            planar in any::<bool>(),
            share in prop::sample::select(vec![0.1, 0.5, 1.0]),
            inputs in 1usize..20,
            outputs in 1usize..20,
            seed in any::<u64>(),
        ) {
            let kernel = if planar { [1, 5, 5] } else { [5; 3] };
            let taps: usize = kernel.iter().product();
            let voxels: usize = shape.iter().product();
            let (values, bias) = (random(seed, taps * inputs * outputs), random(seed ^ 1, outputs));
            let (x, mut dz) = (random(seed ^ 2, inputs * voxels), random(seed ^ 3, outputs * voxels));
            let array = |channels: usize, values: &[f32]| Array4::from_shape_vec((channels, shape[0], shape[1], shape[2]), values.to_vec()).unwrap();
            let weights = Array5::from_shape_vec((kernel[0], kernel[1], kernel[2], inputs, outputs), values.clone()).unwrap();
            // The tiles that are needed, and the voxels in them: elsewhere the gradient of the result is 0.
            let tiling = Tiling { shape, tile: points_of(kernel).unwrap().map(super::outputs) };
            let needed: Vec<bool> = random(seed ^ 4, tiling.len()).into_iter().map(|value| value.abs() <= share).collect();
            let tile = |voxel: usize| {
                let at = [voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]];
                tiling.index([0, 1, 2].map(|axis| at[axis] / tiling.tile[axis]))
            };
            dz.iter_mut().enumerate().filter(|(place, _)| !needed[tile(place % voxels)]).for_each(|(_, value)| *value = 0.0);
            let expected = reference::conv(array(inputs, &x).view(), weights.view(), &bias);
            let gradient = reference::conv_backward(array(inputs, &x).view(), weights.view(), array(outputs, &dz).view());

            for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
                let conv = Conv::new(instructions, kernel, [inputs, outputs], &values, &bias).unwrap();
                let blocked = |channels: usize, values: &[f32]| {
                    let mut blocked = Values::new(shape, channels).unwrap();
                    blocked.set_channels(values);
                    blocked
                };
                let (x, dz) = (blocked(inputs, &x), blocked(outputs, &dz));
                prop_assert_eq!(conv.tiling(shape), tiling);
                let mut z = Values::new(shape, outputs).unwrap();
                conv.forward(&x, &mut z, &needed);
                let in_needed = |values: &[f32]| -> Vec<f32> {
                    values.iter().enumerate().map(|(place, &value)| if needed[tile(place % voxels)] { value } else { 0.0 }).collect()
                };
                assert_close(&z.to_channels(), &in_needed(expected.as_slice().unwrap()), 1e-4);
                // What was there before does not matter.
                let mut dx = blocked(inputs, &random(seed ^ 5, inputs * voxels));
                conv.backward(&dz, &mut dx, &needed, false);
                assert_close(&dx.to_channels(), gradient.x.as_slice().unwrap(), 1e-4);
                let mut sums = vec![1.0; values.len()];
                conv.kernel_gradient(&x, &dz, &needed, &mut sums);
                let added: Vec<f32> = gradient.kernel.iter().map(|value| value + 1.0).collect();
                assert_close(&sums, &added, 1e-4);
            }
        }
    }

    #[test]
    fn the_gradient_by_the_input_is_added_where_that_is_asked_for() {
        let conv = Conv::new(Instructions::best(), [5; 3], [3, 4], &random(1, 125 * 12), &[0.0; 4]).unwrap();
        let mut dz = Values::new([6, 9, 7], 4).unwrap();
        dz.set_channels(&random(2, 4 * 6 * 9 * 7));
        let [mut once, mut twice] = [(); 2].map(|()| Values::new([6, 9, 7], 3).unwrap());
        let all = vec![true; conv.tiling(dz.shape).len()];
        conv.backward(&dz, &mut once, &all, false);
        conv.backward(&dz, &mut twice, &all, false);
        conv.backward(&dz, &mut twice, &all, true);
        let doubled: Vec<f32> = once.to_channels().iter().map(|value| 2.0 * value).collect();
        assert_eq!(twice.to_channels(), doubled);
    }
}
