//! The nearest of many points: a k-d tree (Bentley, Multidimensional binary search trees used for associative searching, 1975).
//!
//! Distances between surfaces are taken between points in the world and not by a distance transform, so that they are exact on the
//! sheared grids of a tilted gantry too.

/// Points in mm, to be asked for the nearest.
pub struct Tree {
    /// The middle of each part lies between the points below and above it along the axis of `axes`.
    points: Vec<[f64; 3]>,
    axes: Vec<u8>,
}

/// Parts of so many points are searched one by one.
const LEAF: usize = 8;

impl Tree {
    /// A tree of `points`.
    pub fn new(mut points: Vec<[f64; 3]>) -> Tree {
        let mut axes = vec![0; points.len()];
        split(&mut points, &mut axes);
        Tree { points, axes }
    }

    /// Distance in mm from `place` to the nearest point; infinite where there is none.
    pub fn distance(&self, place: [f64; 3]) -> f64 {
        let mut best = f64::INFINITY;
        search(&self.points, &self.axes, place, &mut best);
        best.sqrt()
    }
}

fn split(points: &mut [[f64; 3]], axes: &mut [u8]) {
    if points.len() <= LEAF {
        return;
    }
    let extent = |axis: usize| {
        let values = points.iter().map(|point| point[axis]);
        values.clone().fold(f64::NEG_INFINITY, f64::max) - values.fold(f64::INFINITY, f64::min)
    };
    let extents = [extent(0), extent(1), extent(2)];
    let axis = (0..3).max_by(|&a, &b| extents[a].total_cmp(&extents[b])).unwrap_or(0);
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |a, b| a[axis].total_cmp(&b[axis]));
    axes[middle] = axis as u8;
    let (below, above) = points.split_at_mut(middle);
    let (axes_below, axes_above) = axes.split_at_mut(middle);
    split(below, axes_below);
    split(&mut above[1..], &mut axes_above[1..]);
}

/// Lowers `best`, a squared distance, to that of the nearest of `points`.
fn search(points: &[[f64; 3]], axes: &[u8], place: [f64; 3], best: &mut f64) {
    if points.len() <= LEAF {
        points.iter().for_each(|&point| *best = best.min(squared(point, place)));
        return;
    }
    let middle = points.len() / 2;
    let axis = usize::from(axes[middle]);
    let beyond = place[axis] - points[middle][axis];
    *best = best.min(squared(points[middle], place));
    let (below, above) = ((&points[..middle], &axes[..middle]), (&points[middle + 1..], &axes[middle + 1..]));
    let (near, far) = if beyond < 0.0 { (below, above) } else { (above, below) };
    search(near.0, near.1, place, best);
    if beyond * beyond < *best {
        search(far.0, far.1, place, best);
    }
}

fn squared(one: [f64; 3], other: [f64; 3]) -> f64 {
    (0..3).map(|axis| (one[axis] - other[axis]).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_point_is_that_of_a_search_through_all(
            points in prop::collection::vec([0..6_i32, 0..4_i32, -3..9_i32], 0..200),
            place in [-3..9_i32, -3..9_i32, -3..9_i32],
        ) {
            // Few places for many points: most have equal coordinates.
            let points: Vec<[f64; 3]> = points.into_iter().map(|point| point.map(|n| 0.3 * f64::from(n))).collect();
            let place = place.map(|n| 0.3 * f64::from(n));
            let expected = points.iter().map(|&point| squared(point, place).sqrt()).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(Tree::new(points).distance(place), expected);
        }
    }
}
