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

pub mod pack;
pub mod points;
pub mod tile_batch;
pub mod transform;

use super::epilogue::Epilogue;
use super::gemm::{self, Gemm};
use super::head::Head;
use super::kernels::{Kernels, by_points};
use super::layout::{Blocks, KernelValues};
use super::memory::Block;
use super::simd::LANES;
use crate::network::Result;
use crate::network::region::Tiling;
use tile_batch::{Batch, Run};
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

/// What a layer is applied to.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// The blocks that it reads.
    pub input: &'a Blocks,
    /// What is added after the activation.
    pub residual: Option<&'a Blocks>,
    /// Where the outputs go.
    pub output: Output<'a>,
    /// A row of zeros as long as the input's: what lies beyond the grid.
    pub zeros: &'a [f32],
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
    pub fn new(
        kernels: &Kernels,
        threads: usize,
        points: [usize; 3],
        kernel: &KernelValues,
        epilogue: Epilogue,
    ) -> Result<Winograd> {
        Ok(Winograd {
            points,
            weights: pack::pack(kernels, threads, points, kernel)?,
            input_blocks: kernel.input.blocks(),
            output_blocks: kernel.output.blocks(),
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

    /// Computes all of a batch. `scratch` has [`Lengths::all`] f32.
    ///
    /// # Safety
    /// As for [`Winograd::transform_depth`] and [`Winograd::finish`].
    pub unsafe fn batch(&self, kernels: &Kernels, operands: &Operands, batch: &Batch, scratch: &mut [f32]) {
        let lengths = self.lengths(batch.size);
        let (depth, rest) = scratch.split_at_mut(lengths.depth);
        let (result, own) = rest.split_at_mut(lengths.result);
        for part in 0..self.depth_parts(batch) {
            // SAFETY: the caller's promise.
            unsafe { self.transform_depth(kernels, operands, batch, part, depth.as_mut_ptr()) };
        }
        for point in 0..self.points[0] {
            // SAFETY: `depth` has been filled; `result` has room for all points.
            unsafe { self.point(kernels, batch, point, [depth.as_mut_ptr(), result.as_mut_ptr()], own) };
        }
        for run in &batch.runs {
            // SAFETY: `result` has been filled; the caller's promise for the output.
            unsafe { self.finish(kernels, operands, batch, run, result.as_ptr(), own) };
        }
    }

    /// Number of parts in which [`Winograd::transform_depth`] can be shared out.
    pub fn depth_parts(&self, batch: &Batch) -> usize {
        self.input_blocks * batch.size[0]
    }

    /// Transforms one part of a batch's input along D, all points.
    ///
    /// # Safety
    /// The input is of the blocks that the layer was made for and nobody writes it; there are as many zeros as a row of
    /// it has; `depth` has room for [`Lengths::depth`]; nobody else writes the same part.
    pub unsafe fn transform_depth(
        &self,
        kernels: &Kernels,
        &Operands { input, zeros, .. }: &Operands,
        batch: &Batch,
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
        let stride = self.depth_stride(batch);
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
    pub unsafe fn point(&self, kernels: &Kernels, batch: &Batch, point: usize, [depth, result]: [*mut f32; 2], own: &mut [f32]) {
        let lengths = self.lengths(batch.size);
        let (height, own) = own.split_at_mut(lengths.height);
        let (width, own) = own.split_at_mut(lengths.width);
        let (products, rows) = own.split_at_mut(lengths.products);
        let segments: Vec<usize> = (0..self.input_blocks).map(|block| block * batch.tiles * LANES).collect();
        // SAFETY: the caller's promise; each part of `own` has room for what is made there, and is filled before it is
        // read.
        unsafe {
            self.along_height(kernels, batch, depth.cast_const().wrapping_add(point * self.depth_stride(batch)), height);
            for row in 0..self.points[1] {
                self.along_width(kernels, batch, row, height, width);
                self.products(kernels, batch, point * self.points[1] + row, &segments, width, products);
                self.back_along_width(kernels, batch, row, products, rows);
            }
            self.back_along_height(kernels, batch, rows, result.wrapping_add(point * self.result_stride(batch)));
        }
    }

    /// f32 from a point of `depth` to the next.
    fn depth_stride(&self, batch: &Batch) -> usize {
        let [_, ph, pw] = self.points;
        let plane = Batch::extent(batch.size[1], ph) * Batch::extent(batch.size[2], pw) * LANES;
        apart(self.input_blocks * batch.size[0] * plane)
    }

    /// f32 from a point of `height` to the next.
    fn height_stride(&self, batch: &Batch) -> usize {
        apart(self.input_blocks * batch.size[0] * batch.size[1] * Batch::extent(batch.size[2], self.points[2]) * LANES)
    }

    /// f32 from a point of `width`, and of the products, to the next.
    fn tile_strides(&self, batch: &Batch) -> [usize; 2] {
        [self.input_blocks, self.output_blocks].map(|blocks| apart(blocks * batch.tiles * LANES))
    }

    /// f32 from a point of `rows` to the next.
    fn row_stride(&self, batch: &Batch) -> usize {
        apart(self.output_blocks * batch.tiles * outputs(self.points[2]) * LANES)
    }

    /// f32 from a point of `result` to the next.
    fn result_stride(&self, batch: &Batch) -> usize {
        let [_, oh, ow] = self.points.map(outputs);
        apart(self.output_blocks * oh * batch.tiles * ow * LANES)
    }

    /// One point of `depth`, transformed along H into `height`.
    ///
    /// # Safety
    /// `depth` has the rows and columns of all blocks and tiles.
    unsafe fn along_height(&self, kernels: &Kernels, batch: &Batch, depth: *const f32, height: &mut [f32]) {
        let [_, ph, pw] = self.points;
        let [bd, bh, bw] = batch.size;
        let columns = Batch::extent(bw, pw) * LANES;
        let plane = Batch::extent(bh, ph) * columns;
        for slab in 0..self.input_blocks * bd {
            for tile in 0..bh {
                let line = depth.wrapping_add(slab * plane + tile * outputs(ph) * columns);
                let lines = Lines {
                    inputs: std::array::from_fn(|p| line.wrapping_add(p * columns)),
                    input_step: LANES,
                    output: height.as_mut_ptr().wrapping_add((slab * bh + tile) * columns),
                    output_stride: self.height_stride(batch),
                    output_step: LANES,
                    n: columns / LANES,
                };
                // SAFETY: both arrays have the lines of every slab and tile.
                unsafe { kernels.forward[by_points(ph)](&lines) };
            }
        }
    }

    /// One point of `height`, transformed along W into `width`.
    ///
    /// # Safety
    /// `height` has been filled.
    unsafe fn along_width(&self, kernels: &Kernels, batch: &Batch, point: usize, height: &[f32], width: &mut [f32]) {
        let pw = self.points[2];
        let ow = outputs(pw);
        let [bd, bh, bw] = batch.size;
        let columns = Batch::extent(bw, pw) * LANES;
        for run in &batch.runs {
            let [d, h, w] = run.position;
            for block in 0..self.input_blocks {
                let line = point * self.height_stride(batch) + ((block * bd + d) * bh + h) * columns + w * ow * LANES;
                let line = height.as_ptr().wrapping_add(line);
                let lines = Lines {
                    inputs: std::array::from_fn(|p| line.wrapping_add(p * LANES)),
                    input_step: ow * LANES,
                    output: width.as_mut_ptr().wrapping_add((block * batch.tiles + run.first) * LANES),
                    output_stride: self.tile_strides(batch)[0],
                    output_step: LANES,
                    n: run.len,
                };
                // SAFETY: both arrays have the vectors of every tile.
                unsafe { kernels.forward[by_points(pw)](&lines) };
            }
        }
    }

    /// The matrix products at all points along W; `row` counts the points along D and H, `segments` says where the
    /// blocks begin in `width`.
    ///
    /// # Safety
    /// `width` has been filled.
    unsafe fn products(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        row: usize,
        segments: &[usize],
        width: &[f32],
        products: &mut [f32],
    ) {
        let (k, n, tiles) = (self.input_blocks, self.output_blocks, batch.tiles);
        let [width_stride, product_stride] = self.tile_strides(batch);
        let packed = gemm::packed_len(k, n);
        for point in 0..self.points[2] {
            let weights = self.weights.values()[(row * self.points[2] + point) * packed..].as_ptr();
            // SAFETY: `width` has `tiles` vectors of each block, `products` room for them; the weights were packed for
            // these blocks.
            unsafe {
                gemm::gemm(
                    kernels,
                    &Gemm {
                        a: width.as_ptr().add(point * width_stride),
                        segments,
                        rows: tiles,
                        weights,
                        blocks: n,
                        c: products.as_mut_ptr().add(point * product_stride),
                        block_stride: tiles * LANES,
                        accumulate: false,
                        next_weights: weights.wrapping_add(packed),
                    },
                );
            }
        }
    }

    /// The products of one point along H, transformed back along W into its row of `rows`.
    ///
    /// # Safety
    /// The products of all points along W have been made.
    unsafe fn back_along_width(&self, kernels: &Kernels, batch: &Batch, point: usize, products: &[f32], rows: &mut [f32]) {
        let pw = self.points[2];
        let (from, stride) = (products.as_ptr(), self.tile_strides(batch)[1]);
        let lines = Lines {
            inputs: std::array::from_fn(|p| from.wrapping_add(p * stride)),
            input_step: LANES,
            output: rows.as_mut_ptr().wrapping_add(point * self.row_stride(batch)),
            output_stride: LANES,
            output_step: outputs(pw) * LANES,
            n: self.output_blocks * batch.tiles,
        };
        // SAFETY: both arrays have the vectors of every block and tile.
        unsafe { kernels.inverse[by_points(pw)](&lines) };
    }

    /// All rows, transformed back along H into one point of `result`.
    ///
    /// # Safety
    /// `rows` has been filled for all points; `result` has room for a point.
    unsafe fn back_along_height(&self, kernels: &Kernels, batch: &Batch, rows: &[f32], result: *mut f32) {
        let [_, oh, ow] = self.points.map(outputs);
        let (line, stride) = (batch.tiles * ow * LANES, self.row_stride(batch));
        for block in 0..self.output_blocks {
            let row = rows.as_ptr().wrapping_add(block * line);
            let lines = Lines {
                inputs: std::array::from_fn(|p| row.wrapping_add(p * stride)),
                input_step: LANES,
                output: result.wrapping_add(block * oh * line),
                output_stride: line,
                output_step: LANES,
                n: batch.tiles * ow,
            };
            // SAFETY: both arrays have the vectors of every block and tile.
            unsafe { kernels.inverse[by_points(self.points[1])](&lines) };
        }
    }

    /// Transforms a run's results back along D and ends the convolution.
    ///
    /// # Safety
    /// `result` has been filled for all points; residual and output are of the blocks that the layer was made for and of the
    /// input's grid; nobody else writes the run's voxels.
    pub unsafe fn finish(
        &self,
        kernels: &Kernels,
        &Operands { input, residual, output, .. }: &Operands,
        batch: &Batch,
        run: &Run,
        result: *const f32,
        own: &mut [f32],
    ) {
        let shape = input.shape;
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
                    input_stride: self.result_stride(batch),
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
