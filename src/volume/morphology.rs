//! Binary morphology on voxel grids: erosion and dilation by balls in millimetres, connected pieces, holes.
//!
//! A mask is a slice of `bool`, i fastest, with its shape beside it. Beyond the grid there is neither foreground nor
//! background: a structure that the field of view cuts off is not eroded there.

use super::distance::distance_squared;
use rayon::prelude::*;

/// Voxels whose ball of `radius` mm holds foreground only.
pub fn erode(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    let background: Vec<bool> = mask.par_iter().map(|inside| !inside).collect();
    let limit = (radius * radius) as f32;
    distance_squared(&background, shape, spacing).par_iter().map(|d| *d > limit).collect()
}

/// Voxels whose ball of `radius` mm holds some foreground.
pub fn dilate(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    let limit = (radius * radius) as f32;
    distance_squared(mask, shape, spacing).par_iter().map(|d| *d <= limit).collect()
}

/// Erosion, then dilation: what a ball of `radius` mm inside the foreground reaches.
pub fn open(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    dilate(&erode(mask, shape, spacing, radius), shape, spacing, radius)
}

/// Dilation, then erosion: all but what a ball of `radius` mm outside the foreground reaches.
pub fn close(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    erode(&dilate(mask, shape, spacing, radius), shape, spacing, radius)
}

/// Connected pieces of a mask, as runs along i.
pub struct Pieces {
    /// Voxels of each piece, in the order of the pieces' first voxels.
    pub sizes: Vec<usize>,
    /// First voxel and length of each run of equal voxels, in order.
    runs: Vec<(usize, usize)>,
    /// The piece that each run is part of.
    pieces: Vec<u32>,
}

impl Pieces {
    /// The pieces of the voxels of `mask` that are `value`, two voxels with a common face being connected.
    pub fn of(mask: &[bool], shape: [usize; 3], value: bool) -> Pieces {
        let [ni, nj, nk] = shape;
        assert_eq!(mask.len(), ni * nj * nk, "a mask needs one value for each voxel of its shape");
        if mask.is_empty() {
            return Pieces { sizes: Vec::new(), runs: Vec::new(), pieces: Vec::new() };
        }
        let rows: Vec<Vec<(usize, usize)>> =
            mask.par_chunks(ni).enumerate().map(|(row, voxels)| runs_of(voxels, row * ni, value)).collect();
        let mut first = Vec::with_capacity(rows.len() + 1);
        let mut count = 0;
        for row in &rows {
            first.push(count);
            count += row.len();
        }
        first.push(count);
        let mut parents: Vec<u32> = (0..count as u32).collect();
        for k in 0..nk {
            for j in 0..nj {
                let row = j + nj * k;
                let before = [(j > 0).then(|| row - 1), (k > 0).then(|| row - nj)];
                for other in before.into_iter().flatten() {
                    join_rows(&mut parents, (&rows[row], first[row], row * ni), (&rows[other], first[other], other * ni));
                }
            }
        }
        let mut sizes = Vec::new();
        let mut pieces = vec![0; count];
        let runs: Vec<(usize, usize)> = rows.into_iter().flatten().collect();
        for run in 0..count {
            // A root is the first run of its piece: it is numbered before any other run of it is met.
            let root = root(&mut parents, run as u32) as usize;
            if root == run {
                pieces[run] = sizes.len() as u32;
                sizes.push(0);
            }
            pieces[run] = pieces[root];
            sizes[pieces[run] as usize] += runs[run].1;
        }
        Pieces { sizes, runs, pieces }
    }

    /// The largest piece, of equal ones the first; `None` when there is none.
    pub fn largest(&self) -> Option<usize> {
        (0..self.sizes.len()).max_by_key(|&piece| (self.sizes[piece], std::cmp::Reverse(piece)))
    }

    /// Sets to `value` the voxels of the pieces that `chosen` says.
    pub fn paint(&self, mask: &mut [bool], value: bool, chosen: impl Fn(usize) -> bool) {
        for (&(start, length), &piece) in self.runs.iter().zip(&self.pieces) {
            if chosen(piece as usize) {
                mask[start..start + length].fill(value);
            }
        }
    }
}

/// The runs of `value` in one row that begins at voxel `offset`.
fn runs_of(row: &[bool], offset: usize, value: bool) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut i = 0;
    while let Some(start) = row[i..].iter().position(|v| *v == value).map(|n| i + n) {
        let end = row[start..].iter().position(|v| *v != value).map_or(row.len(), |n| start + n);
        runs.push((offset + start, end - start));
        i = end;
    }
    runs
}

/// Runs of one row, the number of the first of them, and the row's first voxel.
type Row<'a> = (&'a [(usize, usize)], usize, usize);

/// Joins the runs of two rows that overlap.
fn join_rows(parents: &mut [u32], (a, first_a, start_a): Row, (b, first_b, start_b): Row) {
    let (mut x, mut y) = (0, 0);
    while x < a.len() && y < b.len() {
        let (from_a, from_b) = (a[x].0 - start_a, b[y].0 - start_b);
        let (to_a, to_b) = (from_a + a[x].1, from_b + b[y].1);
        if from_a < to_b && from_b < to_a {
            let (p, q) = (root(parents, (first_a + x) as u32), root(parents, (first_b + y) as u32));
            // The smaller number becomes the root, so that a root is always its piece's first run.
            parents[p.max(q) as usize] = p.min(q);
        }
        if to_a <= to_b {
            x += 1;
        } else {
            y += 1;
        }
    }
}

/// The root of a run, halving the path to it.
fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let grandparent = parents[parents[run as usize] as usize];
        parents[run as usize] = grandparent;
        run = grandparent;
    }
    run
}

/// Keeps the largest piece only.
pub fn keep_largest(mask: &mut [bool], shape: [usize; 3]) {
    let pieces = Pieces::of(mask, shape, true);
    if let Some(largest) = pieces.largest() {
        pieces.paint(mask, false, |piece| piece != largest);
    }
}

/// Fills what is enclosed: background that no path over common faces joins to the outside.
///
/// A face of the grid cuts structures open, so background on a face that is enclosed within that face is enclosed too:
/// a calcification or a ventricle that the last slice cuts is filled.
pub fn fill_holes(mask: &mut [bool], shape: [usize; 3]) {
    let [ni, nj, nk] = shape;
    if mask.is_empty() {
        return;
    }
    let index = |i: usize, j: usize, k: usize| i + ni * (j + nj * k);
    for end in [0, 1] {
        let (i, j, k) = (end * (ni - 1), end * (nj - 1), end * (nk - 1));
        fill_face(mask, [nj, nk], |a, b| index(i, a, b));
        fill_face(mask, [ni, nk], |a, b| index(a, j, b));
        fill_face(mask, [ni, nj], |a, b| index(a, b, k));
    }
    let pieces = Pieces::of(mask, shape, false);
    let mut open = vec![false; pieces.sizes.len()];
    for (&(start, length), &piece) in pieces.runs.iter().zip(&pieces.pieces) {
        let (i, j, k) = (start % ni, start / ni % nj, start / ni / nj);
        open[piece as usize] |= i == 0 || i + length == ni || j == 0 || j + 1 == nj || k == 0 || k + 1 == nk;
    }
    pieces.paint(mask, true, |piece| !open[piece]);
}

/// Fills what is enclosed within one face of a grid; `index` takes places on the face to voxels.
fn fill_face(mask: &mut [bool], [na, nb]: [usize; 2], index: impl Fn(usize, usize) -> usize) {
    let mut face: Vec<bool> = (0..na * nb).map(|n| mask[index(n % na, n / na)]).collect();
    let pieces = Pieces::of(&face, [na, nb, 1], false);
    let mut open = vec![false; pieces.sizes.len()];
    for (&(start, length), &piece) in pieces.runs.iter().zip(&pieces.pieces) {
        let (a, b) = (start % na, start / na);
        open[piece as usize] |= a == 0 || a + length == na || b == 0 || b + 1 == nb;
    }
    pieces.paint(&mut face, true, |piece| !open[piece]);
    (0..na * nb).for_each(|n| mask[index(n % na, n / na)] = face[n]);
}
