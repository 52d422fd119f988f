//! Binary morphology on voxel grids: erosion and dilation by balls in millimetres, connected pieces, holes.
//!
//! A mask is a slice of `bool`, i fastest, with its shape beside it. Beyond the grid there is neither foreground nor
//! background: a structure that the field of view cuts off is not eroded there.

use super::distance::distance_squared;
use rayon::prelude::*;

/// Voxels whose ball of `radius` mm holds foreground only.
pub fn erode(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    let background: Vec<bool> = mask.par_iter().map(|inside| !inside).collect();
    let limit = reach_squared(radius);
    distance_squared(&background, shape, spacing).par_iter().map(|d| *d > limit).collect()
}

/// Voxels whose ball of `radius` mm holds some foreground.
pub fn dilate(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    let limit = reach_squared(radius);
    distance_squared(mask, shape, spacing).par_iter().map(|d| *d <= limit).collect()
}

/// The square of a ball's radius and a hair: five steps of 1.2 mm are within 6 mm, however their squares were rounded.
fn reach_squared(radius: f64) -> f32 {
    (radius * radius * (1.0 + 1e-5)) as f32
}

/// Dilation, then erosion: all but what a ball of `radius` mm outside the foreground reaches.
pub(crate) fn close(mask: &[bool], shape: [usize; 3], spacing: [f64; 3], radius: f64) -> Vec<bool> {
    erode(&dilate(mask, shape, spacing, radius), shape, spacing, radius)
}

/// Which voxels are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connectivity {
    /// The 6 that have a common face.
    Faces,
    /// The 26 that have a common face, edge or corner.
    Corners,
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
        Pieces::connected(mask, shape, value, Connectivity::Faces)
    }

    /// The pieces of the voxels of `mask` that are `value`.
    pub(crate) fn connected(mask: &[bool], shape: [usize; 3], value: bool, connectivity: Connectivity) -> Pieces {
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
                let corners = connectivity == Connectivity::Corners;
                let before = [
                    (j > 0).then(|| row - 1),
                    (k > 0).then(|| row - nj),
                    (corners && k > 0 && j > 0).then(|| row - nj - 1),
                    (corners && k > 0 && j + 1 < nj).then(|| row - nj + 1),
                ];
                for other in before.into_iter().flatten() {
                    let (row, other) = ((&rows[row][..], first[row], row * ni), (&rows[other][..], first[other], other * ni));
                    join_rows(&mut parents, row, other, usize::from(corners));
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
    pub(crate) fn largest(&self) -> Option<usize> {
        (0..self.sizes.len()).max_by_key(|&piece| (self.sizes[piece], std::cmp::Reverse(piece)))
    }

    /// First voxel, length and piece of each run along i, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.runs.iter().zip(&self.pieces).map(|(&(start, length), &piece)| (start, length, piece as usize))
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

/// Joins the runs of two rows that overlap, or come within `reach` voxels (0 or 1) of it.
fn join_rows(parents: &mut [u32], (a, first_a, start_a): Row, (b, first_b, start_b): Row, reach: usize) {
    let (mut x, mut y) = (0, 0);
    while x < a.len() && y < b.len() {
        let (from_a, from_b) = (a[x].0 - start_a, b[y].0 - start_b);
        let (to_a, to_b) = (from_a + a[x].1, from_b + b[y].1);
        if from_a < to_b + reach && from_b < to_a + reach {
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
pub(crate) fn keep_largest(mask: &mut [bool], shape: [usize; 3]) {
    let pieces = Pieces::of(mask, shape, true);
    if let Some(largest) = pieces.largest() {
        pieces.paint(mask, false, |piece| piece != largest);
    }
}

/// Fills what is enclosed: background that no path over common faces joins to the outside.
///
/// A face of the grid cuts structures open, so background on a face that is enclosed within that face is enclosed too:
/// a calcification or a ventricle that the last slice cuts is filled.
pub(crate) fn fill_holes(mask: &mut [bool], shape: [usize; 3]) {
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
    // What is left on a face reaches the face's rim, and of the two faces that meet there one is across i or j.
    let pieces = Pieces::of(mask, shape, false);
    let mut open = vec![false; pieces.sizes.len()];
    for (&(start, length), &piece) in pieces.runs.iter().zip(&pieces.pieces) {
        let (i, j) = (start % ni, start / ni % nj);
        open[piece as usize] |= i == 0 || i + length == ni || j == 0 || j + 1 == nj;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACING: [f64; 3] = [1.0, 2.0, 0.5];

    /// `#` is foreground; rows along i, blocks of rows along k.
    fn mask(planes: &[&[&str]]) -> (Vec<bool>, [usize; 3]) {
        let shape = [planes[0][0].len(), planes[0].len(), planes.len()];
        (planes.iter().flat_map(|plane| plane.iter().flat_map(|row| row.bytes().map(|b| b == b'#'))).collect(), shape)
    }

    fn random(shape: [usize; 3], seed: u64, percent: u64) -> Vec<bool> {
        let mut state = seed;
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*state >> 33) % 100 < percent
        };
        (0..shape.iter().product()).map(|_| next(&mut state)).collect()
    }

    /// Pieces by flooding, one number per voxel, 0 where the mask is not `value`.
    fn flooded(mask: &[bool], [ni, nj, nk]: [usize; 3], value: bool, connectivity: Connectivity) -> (Vec<usize>, usize) {
        let mut labels = vec![0; mask.len()];
        let mut count = 0;
        for seed in 0..mask.len() {
            if mask[seed] != value || labels[seed] != 0 {
                continue;
            }
            count += 1;
            let mut stack = vec![seed];
            while let Some(n) = stack.pop() {
                if mask[n] != value || labels[n] != 0 {
                    continue;
                }
                labels[n] = count;
                let (i, j, k) = (n % ni, n / ni % nj, n / ni / nj);
                for (di, dj, dk) in (0..27).map(|d| (d % 3, d / 3 % 3, d / 9)) {
                    let steps = [di, dj, dk].iter().filter(|&&d| d != 1).count();
                    let (i, j, k) = (i + di, j + dj, k + dk);
                    if (steps == 1 || connectivity == Connectivity::Corners)
                        && (1..=ni).contains(&i)
                        && (1..=nj).contains(&j)
                        && (1..=nk).contains(&k)
                    {
                        stack.push(i - 1 + ni * (j - 1 + nj * (k - 1)));
                    }
                }
            }
        }
        (labels, count)
    }

    #[test]
    fn a_ball_grows_and_shrinks_by_its_radius() {
        let (shape, spacing) = ([21, 21, 21], [1.0; 3]);
        let radius = |n: usize| [n % 21, n / 21 % 21, n / 441].map(|x| (x as f64 - 10.0).powi(2)).iter().sum::<f64>().sqrt();
        let mut point = vec![false; 9261];
        point[10 + 21 * (10 + 21 * 10)] = true;
        let grown = dilate(&point, shape, spacing, 6.0);
        assert!((0..9261).all(|n| grown[n] == (radius(n) <= 6.0)));
        assert_eq!(erode(&grown, shape, spacing, 6.0), point, "what the ball of the radius fits into is its centre");
    }

    #[test]
    fn radii_are_millimetres_and_reach_their_own_length() {
        let (line, shape) = mask(&[&[".........", "....#....", "........."]]);
        let count = |r: f64| dilate(&line, shape, SPACING, r).iter().filter(|v| **v).count();
        // Steps of 1 mm along i and of 2 mm along j.
        assert_eq!([0.9, 1.0, 1.9, 2.0].map(count), [1, 3, 3, 7]);
    }

    /// Distances that are a whole number of steps and just the radius, on a long line where sums of lengths would be rounded differently.
    #[test]
    fn what_a_ball_reaches_does_not_depend_on_its_place() {
        let shape = [600, 3, 3];
        for (step, radius) in [(1.2_f64, 6.0), (0.1, 0.7), (0.7, 4.9), (1.1, 12.1)] {
            let steps = (radius / step).round() as usize;
            for axis in 0..3 {
                let mut turned = shape;
                turned.swap(0, axis);
                let stride = [1, turned[0], turned[0] * turned[1]][axis];
                for at in [0, 1, 7, 100, 333, 570, 599] {
                    let mut dot = vec![false; turned.iter().product()];
                    dot[at * stride] = true;
                    let grown = dilate(&dot, turned, [step; 3], radius);
                    let reached: Vec<usize> = (0..600).filter(|n| grown[n * stride]).collect();
                    let expected: Vec<usize> = (at.saturating_sub(steps)..=(at + steps).min(599)).collect();
                    assert_eq!(reached, expected, "{radius} mm in steps of {step} mm along axis {axis}");
                    let hole: Vec<bool> = dot.iter().map(|dot| !dot).collect();
                    let shrunk = erode(&hole, turned, [step; 3], radius);
                    assert!((0..600).all(|n| shrunk[n * stride] != expected.contains(&n)));
                }
            }
        }
    }

    #[test]
    fn the_border_of_the_grid_does_not_erode() {
        let full = vec![true; 5 * 4 * 3];
        assert_eq!(erode(&full, [5, 4, 3], SPACING, 10.0), full);
        assert!(!dilate(&[false; 60], [5, 4, 3], SPACING, 10.0).contains(&true));
    }

    #[test]
    fn closing_bridges_a_narrow_gap_alone() {
        let (gap, shape) = mask(&[&["####.####"]]);
        assert!(close(&gap, shape, SPACING, 1.0).iter().all(|v| *v));
        assert_eq!(close(&gap, shape, SPACING, 0.5), gap);
    }

    #[test]
    fn pieces_meet_over_faces_only() {
        let (diagonal, shape) = mask(&[&["#.#", ".#."], &["..#", "#.."]]);
        let pieces = Pieces::of(&diagonal, shape, true);
        assert_eq!(pieces.sizes, [1, 2, 1, 1]);
        assert_eq!(pieces.largest(), Some(1));
        let mut largest = diagonal.clone();
        keep_largest(&mut largest, shape);
        assert_eq!(largest, mask(&[&["..#", "..."], &["..#", "..."]]).0);
    }

    #[test]
    fn of_equal_pieces_the_first_is_kept() {
        let (mut two, shape) = mask(&[&["##.##"]]);
        keep_largest(&mut two, shape);
        assert_eq!(two, mask(&[&["##..."]]).0);
        let mut none = vec![false; 5];
        keep_largest(&mut none, shape);
        assert!(!none.contains(&true));
        assert_eq!(Pieces::of(&none, shape, true).largest(), None);
        assert!(Pieces::of(&[], [0, 2, 2], true).sizes.is_empty());
    }

    #[test]
    fn enclosed_background_is_filled_and_open_background_is_not() {
        let shell = &[".....", ".###.", ".###.", ".###.", "....."];
        let ring = &[".....", ".###.", ".#.#.", ".###.", "....."];
        let empty = &[".....", ".....", ".....", ".....", "....."];
        let (mut closed, shape) = mask(&[empty, shell, ring, shell, empty]);
        fill_holes(&mut closed, shape);
        assert_eq!(closed, mask(&[empty, shell, shell, shell, empty]).0);
        let (mut tunnel, shape) = mask(&[empty, ring, ring, empty]);
        let before = tunnel.clone();
        fill_holes(&mut tunnel, shape);
        assert_eq!(tunnel, before, "a tunnel that ends within the grid is open");
    }

    #[test]
    fn a_hole_that_the_field_of_view_cuts_is_filled_on_every_face() {
        let shell = &[".....", ".###.", ".###.", ".###.", "....."];
        let ring = &[".....", ".###.", ".#.#.", ".###.", "....."];
        let empty = &[".....", ".....", ".....", ".....", "....."];
        let (cup, shape) = mask(&[ring, ring, shell, empty, empty]);
        let (full, _) = mask(&[shell, shell, shell, empty, empty]);
        for axis in 0..3 {
            for backward in [false, true] {
                // The cup's mouth on each of the six faces of the cube.
                let turned = |mask: &[bool]| -> Vec<bool> {
                    (0..125)
                        .map(|n| {
                            let mut place = [n % 5, n / 5 % 5, n / 25];
                            place.swap(axis, 2);
                            place[2] = if backward { 4 - place[2] } else { place[2] };
                            mask[place[0] + 5 * (place[1] + 5 * place[2])]
                        })
                        .collect()
                };
                let mut filled = turned(&cup);
                fill_holes(&mut filled, shape);
                assert_eq!(filled, turned(&full), "axis {axis}, backward {backward}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn pieces_are_those_of_flooding(shape in prop::array::uniform3(1usize..8), seed in any::<u64>(), percent in 5u64..95, value in any::<bool>(), corners in any::<bool>()) {
            let mask = random(shape, seed, percent);
            let connectivity = if corners { Connectivity::Corners } else { Connectivity::Faces };
            let pieces = Pieces::connected(&mask, shape, value, connectivity);
            let (labels, count) = flooded(&mask, shape, value, connectivity);
            prop_assert_eq!(pieces.sizes.len(), count);
            for (piece, size) in pieces.sizes.iter().enumerate() {
                // Flooding numbers pieces by their first voxels too.
                prop_assert_eq!(*size, labels.iter().filter(|label| **label == piece + 1).count());
                let mut painted = vec![false; mask.len()];
                pieces.paint(&mut painted, true, |other| other == piece);
                prop_assert!(painted.iter().zip(&labels).all(|(painted, label)| *painted == (*label == piece + 1)));
            }
        }

        #[test]
        fn filling_is_that_of_flooding(shape in prop::array::uniform3(1usize..8), seed in any::<u64>(), percent in 30u64..95) {
            let before = random(shape, seed, percent);
            let mut filled = before.clone();
            fill_holes(&mut filled, shape);
            let place = |n: usize| [n % shape[0], n / shape[0] % shape[1], n / shape[0] / shape[1]];
            let ends = |axis: usize, place: [usize; 3]| place[axis] == 0 || place[axis] + 1 == shape[axis];
            // Each face alone: background that no path within the face joins to the face's rim.
            let mut expected = before.clone();
            for (axis, end) in (0..6).map(|face| (face / 2, face % 2 * (shape[face / 2] - 1))) {
                let on_face: Vec<usize> = (0..before.len()).filter(|&n| place(n)[axis] == end).collect();
                let mut flat = shape;
                flat[axis] = 1;
                let face: Vec<bool> = on_face.iter().map(|&n| before[n]).collect();
                let (labels, count) = flooded(&face, flat, false, Connectivity::Faces);
                for label in 1..=count {
                    let piece: Vec<usize> = (0..labels.len()).filter(|&m| labels[m] == label).map(|m| on_face[m]).collect();
                    let reaches_rim = piece.iter().any(|&n| (0..3).any(|other| other != axis && ends(other, place(n))));
                    piece.iter().for_each(|&n| expected[n] |= !reaches_rim);
                }
            }
            // Then all: background that no path joins to a face.
            let (labels, count) = flooded(&expected, shape, false, Connectivity::Faces);
            for label in 1..=count {
                let piece: Vec<usize> = (0..labels.len()).filter(|&n| labels[n] == label).collect();
                let reaches_face = piece.iter().any(|&n| (0..3).any(|axis| ends(axis, place(n))));
                piece.iter().for_each(|&n| expected[n] |= !reaches_face);
            }
            prop_assert_eq!(&filled, &expected);
            fill_holes(&mut filled, shape);
            prop_assert_eq!(filled, expected, "filled twice");
        }
    }
}
