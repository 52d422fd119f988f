//! Nested Winograd convolution of kernels with 5 or 1 taps along each axis (Winograd 1980; Lavin and Gray 2016; nested as in Budden et al. 2017).
//!
//! A tile of 4x4x4 outputs sees 8x8x8 inputs. Transformed along D, H and W the tile has 512 points, at each of which the channels meet in one matrix
//! product: 512 products instead of 64 * 125 = 8000. The order of the work keeps everything in the cache:
//!
//! 1. along D for all points, into `depth`: `[point][block][tile d][row h][column w][16]`; neighbouring tiles share rows and columns;
//! 2. for each point along D: along H into `height`: `[point][block][tile d, h][column w][16]`;
//! 3. for each point along H: along W into `width`: `[point][block][tile][16]`, one matrix product for each point, back along W;
//! 4. back along H into `result`: `[point d][block][h][tile][w][16]`;
//! 5. back along D with bias, activation and residual.
//!
//! A tile's result depends on its own inputs alone, and not on the tiles that are computed with it.

pub mod batch;
pub mod pack;
pub mod points;
pub mod transform;

use super::epilogue::Epilogue;
use super::gemm::{self, Gemm};
use super::head::Head;
use super::kernels::{Kernels, by_points};
use super::layout::Blocks;
use super::memory::Block;
use super::simd::LANES;
use crate::network::Result;
use crate::network::region::Tiling;
use batch::{Batch, Run};
use transform::{Inverse, Lines, outputs};

/// A layer with transformed weights.
pub struct Winograd {
    points: [usize; 3],
    weights: Block,
    input_blocks: usize,
    output_blocks: usize,
    epilogue: Epilogue,
}

/// Where the outputs of a layer go.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// Into a buffer.
    Store(&'a Blocks),
    /// Through the head, whose logits are written, and nowhere else.
    Head(&'a Head, *mut f32),
}

/// Lengths of the parts of memory that a batch needs, in f32.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    depth: usize,
    height: usize,
    width: usize,
    products: usize,
    rows: usize,
    result: usize,
    head: usize,
}

/// Distance between the parts of two points, for parts of `len` f32: not a power of two, or the parts of all points would compete for the same few
/// places of the cache.
const fn apart(len: usize) -> usize {
    len + 3 * LANES
}

impl Lengths {
    /// What the threads share if they share out the points of a batch: `depth` and `result`.
    pub fn shared(&self) -> usize {
        self.depth + self.result
    }

    /// The part of [`Lengths::shared`] for the input's transform along D.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What a thread needs for itself if the threads share out points.
    pub fn own(&self) -> usize {
        (self.height + self.width + self.products + self.rows).max(self.head)
    }

    /// What a thread needs if the threads share out batches.
    pub fn all(&self) -> usize {
        self.shared() + self.own()
    }
}

impl Winograd {
    /// Transforms and packs a layer's weights.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &Kernels, threads: usize, layer: &pack::Layer, epilogue: Epilogue) -> Result<Winograd> {
        Ok(Winograd {
            points: layer.points,
            weights: pack::pack(kernels, threads, layer)?,
            input_blocks: layer.input.blocks(),
            output_blocks: layer.output.blocks(),
            epilogue,
        })
    }

    /// The tiles of a grid.
    pub fn tiling(&self, shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: self.points.map(outputs) }
    }

    /// Number of points along the first axis, which threads can share out.
    pub fn depth_points(&self) -> usize {
        self.points[0]
    }

    /// Floating-point operations of the matrix products of a dense pass over a grid: 2 for each multiply-add.
    pub fn product_flop(&self, shape: [usize; 3]) -> u64 {
        let tiles = self.tiling(shape).len() * self.points.iter().product::<usize>();
        2 * (tiles * self.input_blocks * self.output_blocks * LANES * LANES) as u64
    }

    /// Number of blocks of the input.
    pub fn input_blocks(&self) -> usize {
        self.input_blocks
    }

    /// The memory that a batch in a box of `size` tiles needs at most.
    pub fn lengths(&self, size: [usize; 3]) -> Lengths {
        let [pd, ph, pw] = self.points;
        let [_, oh, ow] = self.points.map(outputs);
        let tiles = size.iter().product::<usize>();
        let columns = Batch::extent(size[2], pw);
        let (k, n) = (self.input_blocks * LANES, self.output_blocks * LANES);
        Lengths {
            depth: pd * apart(k * size[0] * Batch::extent(size[1], ph) * columns),
            height: ph * apart(k * size[0] * size[1] * columns),
            width: pw * apart(k * tiles),
            products: pw * apart(n * tiles),
            rows: ph * apart(n * tiles * ow),
            result: pd * apart(n * oh * tiles * ow),
            head: n * outputs(pd) * size[2] * ow,
        }
    }

    /// Computes all of a batch. `scratch` has [`Lengths::all`] f32, `zeros` a row of zeros as long as the input's.
    ///
    /// # Safety
    /// As for [`Winograd::transform_depth`] and [`Winograd::finish`].
    #[expect(clippy::too_many_arguments, reason = "what a layer reads and writes")]
    pub unsafe fn batch(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        input: &Blocks,
        residual: Option<&Blocks>,
        output: Output,
        zeros: &[f32],
        scratch: &mut [f32],
    ) {
        let lengths = self.lengths(batch.size);
        let (depth, rest) = scratch.split_at_mut(lengths.depth);
        let (result, own) = rest.split_at_mut(lengths.result);
        for part in 0..self.depth_parts(batch) {
            // SAFETY: the caller's promise.
            unsafe { self.transform_depth(kernels, batch, input, zeros, part, depth.as_mut_ptr()) };
        }
        for point in 0..self.points[0] {
            // SAFETY: `depth` has been filled; `result` has room for all points.
            unsafe { self.point(kernels, batch, point, depth.as_ptr(), result.as_mut_ptr(), own) };
        }
        for run in &batch.runs {
            // SAFETY: `result` has been filled; the caller's promise for the output.
            unsafe { self.finish(kernels, batch, run, input.shape, residual, output, result.as_ptr(), own) };
        }
    }

    /// Number of parts in which [`Winograd::transform_depth`] can be shared out.
    pub fn depth_parts(&self, batch: &Batch) -> usize {
        self.input_blocks * batch.size[0]
    }

    /// Transforms one part of a batch's input along D, all points.
    ///
    /// # Safety
    /// The input is of the blocks that the layer was made for and nobody writes it; `depth` has room for [`Lengths::depth`]; nobody
    /// else writes the same part.
    pub unsafe fn transform_depth(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        input: &Blocks,
        zeros: &[f32],
        part: usize,
        depth: *mut f32,
    ) {
        let [pd, ph, pw] = self.points;
        let step = self.points.map(outputs);
        let [rows, columns] = [Batch::extent(batch.size[1], ph), Batch::extent(batch.size[2], pw)];
        let (block, tile) = (part / batch.size[0], part % batch.size[0]);
        // Of voxels before the grid the subtraction wraps around, to numbers beyond its end.
        let first = [0, 1, 2].map(|axis| {
            let tile = batch.origin[axis] + if axis == 0 { tile } else { 0 };
            (tile * step[axis]).wrapping_sub((self.points[axis] - step[axis]) / 2)
        });
        let padding = first[2].wrapping_neg().min(columns) * usize::from(first[2] > input.shape[2]);
        let begin = first[2].wrapping_add(padding);
        let inside = input.shape[2].saturating_sub(begin).min(columns - padding);
        let stride = apart(self.input_blocks * batch.size[0] * rows * columns * LANES);
        for row in 0..rows {
            let h = first[1].wrapping_add(row);
            let line = depth.wrapping_add((part * rows + row) * columns * LANES);
            let (left, right) = if h < input.shape[1] { (padding, padding + inside) } else { (columns, columns) };
            for point in 0..pd {
                // SAFETY: the line of each point has room for all columns.
                unsafe {
                    let line = line.add(point * stride);
                    line.write_bytes(0, left * LANES);
                    line.add(right * LANES).write_bytes(0, (columns - right) * LANES);
                }
            }
            if left == right {
                continue;
            }
            let mut inputs = [zeros.as_ptr(); 8];
            for (p, place) in inputs.iter_mut().enumerate().take(pd) {
                let d = first[0].wrapping_add(p);
                if d < input.shape[0] {
                    *place = input.at(block, [d, h, begin]);
                }
            }
            let lines = Lines {
                inputs,
                input_step: LANES,
                output: line.wrapping_add(left * LANES),
                output_stride: stride,
                output_step: LANES,
                n: inside,
            };
            // SAFETY: inside the grid the input has `inside` voxels from `begin` on; outside of it zeros are read.
            unsafe { kernels.forward[by_points(pd)](&lines) };
        }
    }

    /// Does all that belongs to one point along D: transforms along H and W, products, and back.
    ///
    /// # Safety
    /// `depth` has been filled by all parts; `result` has room for [`Lengths::result`], `own` for [`Lengths::own`]; nobody else writes the same point.
    pub unsafe fn point(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        point: usize,
        depth: *const f32,
        result: *mut f32,
        own: &mut [f32],
    ) {
        let [_, ph, pw] = self.points;
        let [_, oh, ow] = self.points.map(outputs);
        let [bd, bh, bw] = batch.size;
        let (k, n, tiles) = (self.input_blocks, self.output_blocks, batch.tiles);
        let lengths = self.lengths(batch.size);
        let (height, own) = own.split_at_mut(lengths.height);
        let (width, own) = own.split_at_mut(lengths.width);
        let (products, rows) = own.split_at_mut(lengths.products);
        let columns = Batch::extent(bw, pw) * LANES;
        let plane = Batch::extent(bh, ph) * columns;

        let depth = depth.wrapping_add(point * apart(k * bd * plane));
        let height_stride = apart(k * bd * bh * columns);
        let (width_stride, product_stride) = (apart(k * tiles * LANES), apart(n * tiles * LANES));
        let row_stride = apart(n * tiles * ow * LANES);
        for slab in 0..k * bd {
            for tile in 0..bh {
                let line = depth.wrapping_add(slab * plane + tile * oh * columns);
                let lines = Lines {
                    inputs: std::array::from_fn(|p| line.wrapping_add(p * columns)),
                    input_step: LANES,
                    output: height.as_mut_ptr().wrapping_add((slab * bh + tile) * columns),
                    output_stride: height_stride,
                    output_step: LANES,
                    n: columns / LANES,
                };
                // SAFETY: both arrays have the lines of every slab and tile.
                unsafe { kernels.forward[by_points(ph)](&lines) };
            }
        }

        let segments: Vec<usize> = (0..k).map(|block| block * tiles * LANES).collect();
        let packed = gemm::packed_len(k, n);
        for ph_point in 0..ph {
            for run in &batch.runs {
                let [d, h, w] = run.position;
                for block in 0..k {
                    let line = ph_point * height_stride + ((block * bd + d) * bh + h) * columns + w * ow * LANES;
                    let line = height.as_ptr().wrapping_add(line);
                    let lines = Lines {
                        inputs: std::array::from_fn(|p| line.wrapping_add(p * LANES)),
                        input_step: ow * LANES,
                        output: width.as_mut_ptr().wrapping_add((block * tiles + run.first) * LANES),
                        output_stride: width_stride,
                        output_step: LANES,
                        n: run.len,
                    };
                    // SAFETY: both arrays have the vectors of every tile.
                    unsafe { kernels.forward[by_points(pw)](&lines) };
                }
            }
            for pw_point in 0..pw {
                let number = (point * ph + ph_point) * pw + pw_point;
                let weights = self.weights.values()[number * packed..].as_ptr();
                // SAFETY: `width` has `tiles` vectors of each block, `products` room for them; the weights were packed for these blocks.
                unsafe {
                    gemm::gemm(
                        kernels,
                        &Gemm {
                            a: width.as_ptr().add(pw_point * width_stride),
                            segments: &segments,
                            rows: tiles,
                            weights,
                            blocks: n,
                            c: products.as_mut_ptr().add(pw_point * product_stride),
                            block_stride: tiles * LANES,
                            accumulate: false,
                            next_weights: weights.wrapping_add(packed),
                        },
                    );
                }
            }
            let row = products.as_ptr();
            let lines = Lines {
                inputs: std::array::from_fn(|p| row.wrapping_add(p * product_stride)),
                input_step: LANES,
                output: rows.as_mut_ptr().wrapping_add(ph_point * row_stride),
                output_stride: LANES,
                output_step: ow * LANES,
                n: n * tiles,
            };
            // SAFETY: both arrays have the vectors of every block and tile.
            unsafe { kernels.inverse[by_points(pw)](&lines) };
        }

        for block in 0..n {
            let row = rows.as_ptr().wrapping_add(block * tiles * ow * LANES);
            let lines = Lines {
                inputs: std::array::from_fn(|p| row.wrapping_add(p * row_stride)),
                input_step: LANES,
                output: result.wrapping_add(point * apart(n * oh * tiles * ow * LANES) + block * oh * tiles * ow * LANES),
                output_stride: tiles * ow * LANES,
                output_step: LANES,
                n: tiles * ow,
            };
            // SAFETY: both arrays have the vectors of every block and tile.
            unsafe { kernels.inverse[by_points(ph)](&lines) };
        }
    }

    /// Transforms a run's results back along D and ends the convolution.
    ///
    /// # Safety
    /// `result` has been filled for all points; residual and output are of the blocks that the layer was made for and of the grid `shape`;
    /// nobody else writes the run's voxels.
    #[expect(clippy::too_many_arguments, reason = "what a layer reads and writes")]
    pub unsafe fn finish(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        run: &Run,
        shape: [usize; 3],
        residual: Option<&Blocks>,
        output: Output,
        result: *const f32,
        own: &mut [f32],
    ) {
        let [od, oh, ow] = self.points.map(outputs);
        let (n, tiles) = (self.output_blocks, batch.tiles);
        let [d, h, w] = [0, 1, 2].map(|axis| (batch.origin[axis] + run.position[axis]) * [od, oh, ow][axis]);
        let voxels = (run.len * ow).min(shape[2] - w);
        let valid = od.min(shape[0] - d);
        let scratch = own.as_mut_ptr();
        for line in 0..oh.min(shape[1] - h) {
            // Where voxel (d + plane, h + line, w) of a block goes.
            let place = |block: usize, plane: usize| match output {
                Output::Store(blocks) => blocks.at(block, [d + plane, h + line, w]),
                Output::Head(..) => scratch.wrapping_add((block * od + plane) * run.len * ow * LANES),
            };
            for block in 0..n {
                let mut outputs = [std::ptr::null_mut(); 4];
                let mut residuals = [std::ptr::null(); 4];
                for plane in 0..valid {
                    outputs[plane] = place(block, plane);
                    if let Some(residual) = residual {
                        residuals[plane] = residual.at(block, [d + plane, h + line, w]);
                    }
                }
                let inverse = Inverse {
                    input: result.wrapping_add(((block * oh + line) * tiles + run.first) * ow * LANES),
                    input_stride: apart(n * oh * tiles * ow * LANES),
                    outputs,
                    residuals,
                    valid,
                    bias: self.epilogue.bias[block * LANES..].as_ptr(),
                    slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                    n: voxels,
                };
                // SAFETY: `result` has the run's vectors of every point; the voxels are inside the grid, or in this thread's own memory.
                unsafe { kernels.inverse_finish[by_points(self.points[0])](&inverse) };
            }
            if let Output::Head(head, logits) = output {
                for plane in 0..valid {
                    let blocks: Vec<*const f32> = (0..n).map(|block| place(block, plane).cast_const()).collect();
                    let to = ((d + plane) * shape[1] + h + line) * shape[2] + w;
                    // SAFETY: the blocks have just been written; the voxels are inside the grid.
                    unsafe { head.logits(kernels, &blocks, voxels, logits.add(to)) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
