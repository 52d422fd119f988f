//! The one matrix product of the engine: rows of values in cache by a packed weight panel.
//!
//! `C[row, n] (+)= sum over segments s and channels k of A[offset(s) + row * 16 + k] * W[s, k, n]`
//!
//! A segment is a block of 16 channels of one tap; the rows of a segment follow one another. Weights are packed by [`pack`] in
//! panels of [`Kernels::panel`] output blocks: `[panel][segment][channel k][block in panel][16]`; the last panel may be narrower.

use super::kernels::Kernels;
use super::simd::{LANES, Simd};

/// A matrix product. All sizes and strides are in f32.
#[derive(Clone, Copy)]
pub struct Gemm<'a> {
    /// The values A.
    pub a: *const f32,
    /// Where the rows of each segment begin, from `a`.
    pub segments: &'a [usize],
    /// Number of rows.
    pub rows: usize,
    /// The packed weights.
    pub weights: *const f32,
    /// Number of blocks of 16 output channels.
    pub blocks: usize,
    /// The result C: block after block, each with `rows` rows of 16.
    pub c: *mut f32,
    /// From one block of C to the next.
    pub block_stride: usize,
    /// Whether to add to C instead of writing it.
    pub accumulate: bool,
    /// What is multiplied next: fetched into the cache during the last panel.
    pub next_weights: *const f32,
}

/// Length of the packed weights for a number of segments and of output blocks.
pub fn packed_len(segments: usize, blocks: usize) -> usize {
    segments * LANES * blocks * LANES
}

/// Packs weights for panels of `panel` blocks; `weight(segment, channel, output)` gives one value, outputs counted over all blocks.
pub fn pack(segments: usize, blocks: usize, panel: usize, packed: &mut [f32], weight: impl Fn(usize, usize, usize) -> f32) {
    assert_eq!(packed.len(), packed_len(segments, blocks), "the packed weights' length");
    let mut place = packed.iter_mut();
    for first in (0..blocks).step_by(panel) {
        for segment in 0..segments {
            for k in 0..LANES {
                for output in first * LANES..blocks.min(first + panel) * LANES {
                    *place.next().expect("the length was checked") = weight(segment, k, output);
                }
            }
        }
    }
}

/// Does a matrix product.
///
/// # Safety
/// Of every segment `rows` rows of 16 f32 can be read from `a`, the packed weights from `weights`, and `blocks` times `rows` rows
/// written to `c`.
pub unsafe fn gemm(kernels: &Kernels, g: &Gemm) {
    let groups = g.rows.div_ceil(kernels.rows).max(1);
    let mut weights = g.weights;
    let mut block = 0;
    while block < g.blocks {
        let width = kernels.panel.min(g.blocks - block);
        let len = g.segments.len() * LANES * width * LANES;
        let after = weights.wrapping_add(len);
        let next = if block + width < g.blocks { after } else { g.next_weights };
        // Cache lines of the next panel that every segment of every group of rows asks for.
        let ahead = (width * LANES).div_ceil(groups);
        for group in 0..groups {
            let (begin, end) = (g.rows * group / groups, g.rows * (group + 1) / groups);
            if begin == end {
                continue;
            }
            let tile = RegisterTile {
                a: g.a.wrapping_add(begin * LANES),
                segments: g.segments,
                weights,
                c: g.c.wrapping_add(block * g.block_stride + begin * LANES),
                block_stride: g.block_stride,
                accumulate: g.accumulate,
                next: next.wrapping_add(group * g.segments.len() * ahead * LANES),
                ahead,
            };
            // SAFETY: the tile lies within what the caller promises, and has at most as many rows and blocks as there
            // are kernels for.
            unsafe { (kernels.micro[width - 1][end - begin - 1])(&tile) };
        }
        weights = after;
        block += width;
    }
}

/// Rows and blocks of a product that fit into registers.
pub struct RegisterTile<'a> {
    a: *const f32,
    segments: &'a [usize],
    weights: *const f32,
    c: *mut f32,
    block_stride: usize,
    accumulate: bool,
    next: *const f32,
    ahead: usize,
}

/// Adds one channel's products to all sums.
///
/// # Safety
/// `a` has R rows of [`LANES`] f32 and `weights` B vectors; the processor has the instructions of `S`.
#[inline(always)]
unsafe fn channel<S: Simd, const R: usize, const B: usize>(sums: &mut [[S::V; B]; R], a: *const f32, weights: *const f32) {
    // SAFETY: the caller of `gemm` promises that all these places exist.
    unsafe {
        let mut w = [S::zero(); B];
        for b in 0..B {
            w[b] = S::load(weights.add(b * LANES));
        }
        for r in 0..R {
            let x = S::broadcast(a.add(r * LANES));
            for b in 0..B {
                sums[r][b] = S::mul_add(x, w[b], sums[r][b]);
            }
        }
    }
}

/// R rows by B blocks, all sums in registers.
///
/// # Safety
/// The places of R rows and B blocks exist as [`gemm`] asks for them; the processor has the instructions of `S`.
#[inline(always)]
pub unsafe fn micro<S: Simd, const R: usize, const B: usize>(tile: &RegisterTile) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::zero(); B]; R];
        if tile.accumulate {
            for r in 0..R {
                for b in 0..B {
                    sums[r][b] = S::load(tile.c.add(b * tile.block_stride + r * LANES));
                }
            }
        }
        let (mut weights, mut next) = (tile.weights, tile.next);
        for &segment in tile.segments {
            let a = tile.a.add(segment);
            // Four channels in a row: what a loop costs besides its multiply-adds competes with them for the same units.
            for k in (0..LANES).step_by(4) {
                for line in 0..4 {
                    S::prefetch(next.wrapping_add((k + line) * LANES));
                }
                if tile.ahead > LANES {
                    for line in 0..4 {
                        S::prefetch(next.wrapping_add((LANES + k + line) * LANES));
                    }
                }
                channel::<S, R, B>(&mut sums, a.add(k), weights.add(k * B * LANES));
                channel::<S, R, B>(&mut sums, a.add(k + 1), weights.add((k + 1) * B * LANES));
                channel::<S, R, B>(&mut sums, a.add(k + 2), weights.add((k + 2) * B * LANES));
                channel::<S, R, B>(&mut sums, a.add(k + 3), weights.add((k + 3) * B * LANES));
            }
            weights = weights.add(LANES * B * LANES);
            next = next.wrapping_add(tile.ahead * LANES);
        }
        for r in 0..R {
            for b in 0..B {
                S::store(tile.c.add(b * tile.block_stride + r * LANES), sums[r][b]);
            }
        }
    }
}
