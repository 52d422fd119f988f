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
use crate::network::cpu::layout::{KernelValues, Slots};
use crate::network::cpu::simd::LANES;
use crate::network::cpu::winograd::tile_batch::Batch;
use crate::network::cpu::winograd::transform::Lines;
use crate::network::cpu::winograd::{Operands, Output, Winograd, points};
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
            let kernel = KernelValues { size: kernel, values, channels, input: &input, output: &output };
            // Slopes of 1: what is kept is the value before the activation.
            Winograd::new(
                kernels,
                1,
                points,
                &kernel,
                Epilogue { bias: padded(bias), slopes: vec![1.0; output.blocks() * LANES] },
            )
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
                let operands = Operands { input: &from, residual, output: Output::Store(&to), zeros: &zeros };
                // SAFETY: the values have the layer's channels; every batch writes voxels of its own, and what it adds to is read
                // vector by vector before it is written; the scratch memory is as long as the largest batch asks for.
                unsafe { layer.batch(kernels, &operands, batch, scratch) };
            },
        );
    }

    /// Adds the gradient by the kernel, (kd, kh, kw, in, out), for the gradient dz of the result, which is 0 outside of the needed tiles.
    pub fn kernel_gradient(&self, x: &Values, dz: &Values, needed: &[bool], gradient: &mut [f32]) {
        let [inputs, outputs] = self.channels;
        let pairs: Vec<[usize; 2]> = (0..x.blocks()).flat_map(|c| (0..dz.blocks()).map(move |n| [c, n])).collect();
        let tiles = self.tiling(x.shape).counts()[0];
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
        let tiling = self.tiling(x.shape);
        let [_, tiles_h, tiles_w] = tiling.counts();
        let channels = (self.channels[0] - block * LANES).min(LANES);
        let forward = self.points.map(|points| engine.forward[by_points(points)]);
        let transposed = self.points.map(|points| own.inverse_transposed[usize::from(points != 1)]);
        let mut x = Factor::new(x, block, &tiling, [self.points; 2], forward);
        let mut dz = Factor::new(dz, to, &tiling, [tiling.tile, self.points], transposed);
        let mut sums = vec![0.0f32; pd * ph * pw * LANES * LANES];
        for tile_d in layers {
            for tile_h in 0..tiles_h {
                // From the first needed tile to the last: between them dz may be 0, beside them it is.
                let row = &needed[(tile_d * tiles_h + tile_h) * tiles_w..][..tiles_w];
                let Some(first) = row.iter().position(|&needed| needed) else { continue };
                let tiles = first..1 + row.iter().rposition(|&needed| needed).expect("there is a first one");
                x.along_depth([tile_d, tile_h], &tiles);
                dz.along_depth([tile_d, tile_h], &tiles);
                for point_d in 0..pd {
                    x.along_height(point_d, &tiles);
                    dz.along_height(point_d, &tiles);
                    for point_h in 0..ph {
                        x.along_width(point_h, &tiles);
                        dz.along_width(point_h, &tiles);
                        for point_w in 0..pw {
                            let number = (point_d * ph + point_h) * pw + point_w;
                            let outer = Outer {
                                a: x.at_point(point_w).as_ptr(),
                                a_step: LANES,
                                b: dz.at_point(point_w).as_ptr(),
                                b_step: LANES,
                                n: tiles.len(),
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

/// One of the two factors of a kernel's gradient: a block of values, transformed tile by tile along one axis after the
/// other.
struct Factor<'a> {
    values: &'a [[f32; LANES]],
    shape: [usize; 3],
    /// Size of a tile, what it is made from, and how much of that lies before it.
    tile: [usize; 3],
    size: [usize; 3],
    halo: [usize; 3],
    /// The transforms along D, H and W.
    transforms: [unsafe fn(&Lines); 3],
    /// Columns of all tiles of a row, those before and behind the grid included.
    columns: usize,
    /// Tiles of a row.
    tiles: usize,
    /// A row beyond the grid.
    zeros: Vec<f32>,
    /// After the transform along D: `[point][row][column]`. Columns outside of the grid stay 0.
    depth: Vec<f32>,
    /// After that along H, of one point along D: `[point][column]`.
    height: Vec<f32>,
    /// After that along W, of one point along H: `[point][tile]`.
    width: Vec<f32>,
}

impl<'a> Factor<'a> {
    /// A block of `values` whose tiles are made from `size` values each, and have `points` after the `transforms`.
    fn new(
        values: &'a Values,
        block: usize,
        tiling: &Tiling,
        [size, points]: [[usize; 3]; 2],
        transforms: [unsafe fn(&Lines); 3],
    ) -> Factor<'a> {
        let tiles = tiling.counts()[2];
        let columns = (tiles - 1) * tiling.tile[2] + size[2];
        Factor {
            values: values.block(block),
            shape: values.shape,
            tile: tiling.tile,
            size,
            halo: [0, 1, 2].map(|axis| (size[axis] - tiling.tile[axis]) / 2),
            transforms,
            columns,
            tiles,
            zeros: vec![0.0; values.shape[2] * LANES],
            depth: vec![0.0; points[0] * size[1] * columns * LANES],
            height: vec![0.0; points[1] * columns * LANES],
            width: vec![0.0; points[2] * tiles * LANES],
        }
    }

    /// The columns that some tiles of a row are made from.
    fn columns_of(&self, tiles: &Range<usize>) -> Range<usize> {
        let first = tiles.start * self.tile[2];
        first..first + (tiles.len() - 1) * self.tile[2] + self.size[2]
    }

    /// Row (d, h) of the grid from column `from` on; zeros beyond the grid.
    fn row(&self, d: usize, h: usize, from: usize) -> *const f32 {
        let [depth, height, width] = self.shape;
        if d < depth && h < height {
            self.values[(d * height + h) * width + from..].as_ptr().cast()
        } else {
            self.zeros[from * LANES..].as_ptr()
        }
    }

    /// Transforms all that `tiles` of the row of tiles at (d, h) are made from along D.
    fn along_depth(&mut self, [tile_d, tile_h]: [usize; 2], tiles: &Range<usize>) {
        let columns = self.columns_of(tiles);
        let inside = columns.start.max(self.halo[2])..columns.end.min(self.halo[2] + self.shape[2]);
        let from = inside.start - self.halo[2];
        for r in 0..self.size[1] {
            // Before the grid the subtraction wraps around, to numbers beyond its end.
            let h = (tile_h * self.tile[1] + r).wrapping_sub(self.halo[1]);
            let d = (tile_d * self.tile[0]).wrapping_sub(self.halo[0]);
            let lines = Lines {
                inputs: std::array::from_fn(|p| self.row(d.wrapping_add(p), h, from)),
                input_step: LANES,
                output: self.depth[(r * self.columns + inside.start) * LANES..].as_mut_ptr(),
                output_stride: self.size[1] * self.columns * LANES,
                output_step: LANES,
                n: inside.len(),
            };
            // SAFETY: every input is a row of the grid or zeros as long; the outputs have room for the row at each
            // point.
            unsafe { self.transforms[0](&lines) };
        }
    }

    /// Transforms one point of [`Factor::depth`] along H.
    fn along_height(&mut self, point: usize, tiles: &Range<usize>) {
        let columns = self.columns_of(tiles);
        let row = self.columns * LANES;
        let from = self.depth[point * self.size[1] * row + columns.start * LANES..].as_ptr();
        let lines = Lines {
            inputs: std::array::from_fn(|p| from.wrapping_add(p * row)),
            input_step: LANES,
            output: self.height[columns.start * LANES..].as_mut_ptr(),
            output_stride: row,
            output_step: LANES,
            n: columns.len(),
        };
        // SAFETY: all rows of a point exist, and the outputs have a row for each point.
        unsafe { self.transforms[1](&lines) };
    }

    /// Transforms one point of [`Factor::height`] along W.
    fn along_width(&mut self, point: usize, tiles: &Range<usize>) {
        let from = self.height[(point * self.columns + self.columns_of(tiles).start) * LANES..].as_ptr();
        let lines = Lines {
            inputs: std::array::from_fn(|p| from.wrapping_add(p * LANES)),
            input_step: self.tile[2] * LANES,
            output: self.width.as_mut_ptr(),
            output_stride: self.tiles * LANES,
            output_step: LANES,
            n: tiles.len(),
        };
        // SAFETY: a row has the columns that its tiles are made from; the outputs have a vector for each point and
        // tile.
        unsafe { self.transforms[2](&lines) };
    }

    /// The vectors of all tiles at a point along W.
    fn at_point(&self, point: usize) -> &[f32] {
        &self.width[point * self.tiles * LANES..]
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
            let tiling = Tiling { shape, tile: points_of(kernel).unwrap().map(crate::network::cpu::winograd::transform::outputs) };
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
