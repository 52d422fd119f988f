//! The input layer: a convolution of the one-channel scan, the scan itself added to every channel.
//!
//! With 5 taps along H and W, Winograd's transforms are nested along those two axes and the taps along D are summed between them: 20 multiply-adds
//! a voxel and channel instead of 125. The transforms of the scan work on lines of voxels, those back on vectors of 16 channels. Other
//! kernels are computed by their definition.

use super::epilogue::Epilogue;
use super::kernels::{Kernels, by_points};
use super::layout::{Blocks, KernelValues};
use super::rows::{INPUT_POINTS, InputFinish, InputPoints, InputRow, Row};
use super::simd::LANES;
use super::winograd::points::{self, TAPS};
use super::winograd::transform::{Lines, outputs};
use crate::network::region::{Tiling, Voxels};

/// The smallest part that is computed by itself: a tile of the transforms, as thick as those of the layers that read it.
pub const TILE: [usize; 3] = [4; 3];

/// Tiles side by side along W that are computed at a time.
pub const LONGEST: usize = 4;

/// Largest box of voxels that is computed at a time.
const BOX: [usize; 3] = [4, 4, 32];

/// A packed layer.
pub struct Input {
    kernel: [usize; 3],
    /// In Winograd's form `[block][point h][tap d][point w][16]`, else `[block][tap][16]`.
    weights: Vec<f32>,
    winograd: bool,
    /// 1 in each place that holds a channel.
    present: Vec<f32>,
    epilogue: Epilogue,
}

impl Input {
    /// Packs the values of a kernel with one input channel.
    pub fn new(values: &KernelValues, epilogue: Epilogue) -> Input {
        let KernelValues { size: kernel, output, .. } = *values;
        let winograd = kernel[1] == TAPS && kernel[2] == TAPS;
        let value = |tap: usize, place: usize| values.at(tap, 0, place);
        let taps: usize = kernel.iter().product();
        let mut weights = Vec::new();
        if winograd {
            let matrix = points::weight_matrix(INPUT_POINTS);
            for block in 0..output.blocks() {
                for row in &matrix {
                    for d in 0..kernel[0] {
                        for column in &matrix {
                            weights.extend((0..LANES).map(|lane| {
                                let tap = |i: usize| f64::from(value(d * TAPS * TAPS + i, block * LANES + lane));
                                let terms = (0..TAPS * TAPS).map(|i| row[i / TAPS] * column[i % TAPS] * tap(i));
                                terms.sum::<f64>() as f32
                            }));
                        }
                    }
                }
            }
        } else {
            let places =
                (0..output.blocks()).flat_map(|block| (0..taps * LANES).map(move |i| (i / LANES, block * LANES + i % LANES)));
            weights.extend(places.map(|(tap, place)| value(tap, place)));
        }
        Input { kernel, weights, winograd, present: output.scatter(&vec![1.0; values.channels[1]]), epilogue }
    }

    /// What a pass is shared out in.
    pub fn tiling(shape: [usize; 3]) -> Tiling {
        Tiling { shape, tile: TILE }
    }

    fn lengths(&self) -> Lengths {
        let [kd, kh, kw] = self.kernel;
        let planes = BOX[0] + kd - 1;
        if !self.winograd {
            return Lengths { patch: planes * (BOX[1] + kh - 1) * (BOX[2] + kw - 1), ..Lengths::default() };
        }
        let lines = planes * INPUT_POINTS;
        let width = (BOX[2] + kw - 1).next_multiple_of(LANES);
        let tiles = BOX[2] / outputs(INPUT_POINTS);
        Lengths {
            patch: lines * width,
            height: lines * width,
            columns: (BOX[2] + kw - 1) * lines,
            values: INPUT_POINTS * tiles * lines,
            rows: INPUT_POINTS * BOX[2] * LANES,
        }
    }

    /// f32 that a thread needs besides.
    pub fn scratch_len(&self) -> usize {
        let Lengths { patch, height, columns, values, rows } = self.lengths();
        patch + height + columns + values + rows
    }

    /// Computes tiles side by side of the output from the scan `x`, (D, H, W).
    ///
    /// # Safety
    /// The output is of the blocks that the layer was made for, x has the output's grid, and nobody writes the voxels at the same time.
    pub unsafe fn tiles(&self, kernels: &Kernels, x: &[f32], output: &Blocks, voxels: &Voxels, scratch: &mut [f32]) {
        let place = |block, d, h| Row::plain(output.at(block, [d, h, voxels[2].start]));
        // SAFETY: the caller's promise.
        unsafe { self.voxels(kernels, x, output.shape, voxels, place, scratch) };
    }

    /// Computes a box of voxels that begins at multiples of 4 from the scan `x` on the grid `shape`; `place` says where the box's row (d, h) of a block goes.
    ///
    /// # Safety
    /// x has the grid's voxels; every place has room for a vector for each voxel of its row, and nobody writes there at the same time.
    pub unsafe fn voxels(
        &self,
        kernels: &Kernels,
        x: &[f32],
        shape: [usize; 3],
        voxels: &Voxels,
        place: impl Fn(usize, usize, usize) -> Row,
        scratch: &mut [f32],
    ) {
        let [ds, hs, ws] = voxels;
        for d in ds.clone().step_by(BOX[0]) {
            for h in hs.clone().step_by(BOX[1]) {
                for w in ws.clone().step_by(BOX[2]) {
                    let part = [d..ds.end.min(d + BOX[0]), h..hs.end.min(h + BOX[1]), w..ws.end.min(w + BOX[2])];
                    // The row that begins at w instead of at the box's first voxel.
                    let place = |block, d, h| {
                        let row = place(block, d, h);
                        let skipped = (w - ws.start) / row.stride * LANES;
                        Row { parts: row.parts.map(|part| part.wrapping_add(skipped)), ..row }
                    };
                    // SAFETY: the caller's promise.
                    unsafe {
                        if self.winograd {
                            self.by_transforms(kernels, x, shape, &part, place, scratch);
                        } else {
                            self.by_definition(kernels, x, shape, &part, place, scratch);
                        }
                    }
                }
            }
        }
    }

    /// The scan around a box: `planes` by `rows` lines of `width` values, of which the first `columns` count; 0 outside of the grid.
    fn patch(
        &self,
        x: &[f32],
        shape: [usize; 3],
        [ds, hs, ws]: &Voxels,
        [planes, rows, columns, width]: [usize; 4],
        patch: &mut [f32],
    ) {
        let [kd, kh, kw] = self.kernel;
        let left = (kw / 2).saturating_sub(ws.start);
        let begin = ws.start + left - kw / 2;
        let inside = (shape[2] - begin).min(columns - left);
        for (line, values) in patch.chunks_exact_mut(width).take(planes * rows).enumerate() {
            let z = (ds.start + line / rows).wrapping_sub(kd / 2);
            let y = (hs.start + line % rows).wrapping_sub(kh / 2);
            if z < shape[0] && y < shape[1] {
                let from = (z * shape[1] + y) * shape[2] + begin;
                values[..left].fill(0.0);
                values[left..left + inside].copy_from_slice(&x[from..from + inside]);
                values[left + inside..].fill(0.0);
            } else {
                values.fill(0.0);
            }
        }
    }

    /// # Safety
    /// As for [`Input::voxels`]; the box is at most a [`BOX`].
    unsafe fn by_definition(
        &self,
        kernels: &Kernels,
        x: &[f32],
        shape: [usize; 3],
        voxels: &Voxels,
        place: impl Fn(usize, usize, usize) -> Row,
        scratch: &mut [f32],
    ) {
        let [ds, hs, ws] = voxels;
        let [kd, kh, kw] = self.kernel;
        let [height, width] = [BOX[1] + kh - 1, BOX[2] + kw - 1];
        self.patch(x, shape, voxels, [ds.len() + kd - 1, height, ws.len() + kw - 1, width], scratch);
        let mut rows = Vec::with_capacity(kd * kh);
        for d in ds.clone() {
            for h in hs.clone() {
                rows.clear();
                for tap in 0..kd * kh {
                    let row = (d - ds.start + tap / kh) * height + h - hs.start + tap % kh;
                    rows.push(scratch[row * width..].as_ptr());
                }
                for block in 0..self.present.len() / LANES {
                    // SAFETY: the patch's rows are `kw - 1` longer than the box's; the row (d, h) is inside the grid of x and output.
                    unsafe {
                        (kernels.input_row)(&InputRow {
                            rows: &rows,
                            width: kw,
                            weights: self.weights[block * kd * kh * kw * LANES..].as_ptr(),
                            bias: self.epilogue.bias[block * LANES..].as_ptr(),
                            slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                            present: self.present[block * LANES..].as_ptr(),
                            x: x[(d * shape[1] + h) * shape[2] + ws.start..].as_ptr(),
                            voxels: ws.len(),
                            output: place(block, d, h),
                        });
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Input::voxels`]; the box is at most a [`BOX`].
    unsafe fn by_transforms(
        &self,
        kernels: &Kernels,
        x: &[f32],
        shape: [usize; 3],
        voxels: &Voxels,
        place: impl Fn(usize, usize, usize) -> Row,
        scratch: &mut [f32],
    ) {
        let [ds, hs, ws] = voxels;
        let [kd, _, kw] = self.kernel;
        let lengths = self.lengths();
        let (patch, rest) = scratch.split_at_mut(lengths.patch);
        let (height, rest) = rest.split_at_mut(lengths.height);
        let (columns, rest) = rest.split_at_mut(lengths.columns);
        let (values, rows) = rest.split_at_mut(lengths.values);

        let tiles = ws.len().div_ceil(outputs(INPUT_POINTS));
        let seen = tiles * outputs(INPUT_POINTS) + kw - 1;
        let width = seen.next_multiple_of(LANES);
        let planes = BOX[0] + kd - 1;
        self.patch(x, shape, voxels, [planes, INPUT_POINTS, seen, width], patch);
        // SAFETY: the patch has been filled; `height` is as long.
        unsafe { along_height(kernels, planes, width, patch, height) };
        // Columns instead of lines, so that all lines are transformed along W at a time.
        let count = planes * INPUT_POINTS;
        for (w, column) in columns.chunks_exact_mut(count).take(seen).enumerate() {
            for (value, line) in column.iter_mut().zip(height.chunks_exact(width)) {
                *value = line[w];
            }
        }
        // SAFETY: the columns that the tiles see have been filled; the values have room for a box's tiles.
        unsafe { along_width(kernels, tiles, count, columns, values) };
        let row_stride = tiles * outputs(INPUT_POINTS) * LANES;
        for block in 0..self.present.len() / LANES {
            for d in ds.clone() {
                let first = (d - ds.start) * INPUT_POINTS;
                // SAFETY: the values of all points, tiles and planes have been made; the rows have room for a box's
                // tiles.
                unsafe { self.products(kernels, block, [tiles, count], &values[first..], rows) };
                let line = |row: usize| hs.start + row.min(hs.len() - 1);
                // SAFETY: the rows of all points have been made; the rows of voxels are inside the grid of x and output.
                unsafe {
                    (kernels.input_finish)(&InputFinish {
                        input: rows.as_ptr(),
                        input_stride: row_stride,
                        bias: self.epilogue.bias[block * LANES..].as_ptr(),
                        slopes: self.epilogue.slopes[block * LANES..].as_ptr(),
                        present: self.present[block * LANES..].as_ptr(),
                        x: std::array::from_fn(|row| x[(d * shape[1] + line(row)) * shape[2] + ws.start..].as_ptr()),
                        outputs: std::array::from_fn(|row| place(block, d, line(row))),
                        rows: hs.len(),
                        voxels: ws.len(),
                    });
                }
            }
        }
    }

    /// Products with the weights of a block, summed over the taps along D and transformed back along W: a row for each
    /// point along H. The `values` begin with those of the first tap, and have `count` lines for each of the `tiles`.
    ///
    /// # Safety
    /// There are values of all points, tiles and taps; the rows have 4 vectors for each tile and point.
    unsafe fn products(&self, kernels: &Kernels, block: usize, [tiles, count]: [usize; 2], values: &[f32], rows: &mut [f32]) {
        let kd = self.kernel[0];
        for point in 0..INPUT_POINTS {
            // SAFETY: the caller's promise.
            unsafe {
                (kernels.input_points)(&InputPoints {
                    values: values[point..].as_ptr(),
                    point_stride: tiles * count,
                    tile_stride: count,
                    tap_stride: INPUT_POINTS,
                    weights: self.weights[(block * INPUT_POINTS + point) * kd * INPUT_POINTS * LANES..].as_ptr(),
                    taps: kd,
                    tiles,
                    output: rows[point * tiles * outputs(INPUT_POINTS) * LANES..].as_mut_ptr(),
                });
            }
        }
    }
}

/// Transforms the 8 lines of each plane of a patch along H, a line of `width` voxels at a time: line `plane * 8 +
/// point` of `height`.
///
/// # Safety
/// Patch and height have 8 lines of `width` values, a multiple of 16, for each plane.
unsafe fn along_height(kernels: &Kernels, planes: usize, width: usize, patch: &[f32], height: &mut [f32]) {
    for plane in 0..planes {
        let from = patch[plane * INPUT_POINTS * width..].as_ptr();
        let lines = Lines {
            inputs: std::array::from_fn(|p| from.wrapping_add(p * width)),
            input_step: LANES,
            output: height[plane * INPUT_POINTS * width..].as_mut_ptr(),
            output_stride: width,
            output_step: LANES,
            n: width / LANES,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.forward[by_points(INPUT_POINTS)])(&lines) };
    }
}

/// Transforms `columns` of `count` values along W: `[point][tile][count]`.
///
/// # Safety
/// Every tile has its 8 columns; the values have room for 8 points of every tile.
unsafe fn along_width(kernels: &Kernels, tiles: usize, count: usize, columns: &[f32], values: &mut [f32]) {
    for group in 0..count / LANES {
        let from = columns[group * LANES..].as_ptr();
        let lines = Lines {
            inputs: std::array::from_fn(|p| from.wrapping_add(p * count)),
            input_step: outputs(INPUT_POINTS) * count,
            output: values[group * LANES..].as_mut_ptr(),
            output_stride: tiles * count,
            output_step: count,
            n: tiles,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernels.forward[by_points(INPUT_POINTS)])(&lines) };
    }
}

/// Lengths of the parts of a thread's memory, in f32.
#[derive(Default)]
struct Lengths {
    patch: usize,
    height: usize,
    columns: usize,
    values: usize,
    rows: usize,
}
