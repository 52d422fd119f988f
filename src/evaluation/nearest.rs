//! The nearest of many points: a k-d tree (Bentley, Multidimensional binary search trees used for associative searching, 1975) with the
//! bounds of each part.
//!
//! Distances between surfaces are taken between points in the world and not by a distance transform, so that they are exact on the
//! sheared grids of a tilted gantry too.

/// Points in mm, to be asked for the nearest.
pub struct Tree {
    /// The first half of each part lies below the second along the part's longest axis.
    points: Vec<[f64; 3]>,
    /// The bounds of each part, at the place of its middle point.
    bounds: Vec<Bounds>,
}

/// Least and greatest place along each axis.
type Bounds = [[f64; 2]; 3];

/// Parts of so many points are searched one by one.
const LEAF: usize = 8;

impl Tree {
    /// A tree of `points`.
    pub fn new(mut points: Vec<[f64; 3]>) -> Tree {
        let mut bounds = vec![[[0.0; 2]; 3]; points.len()];
        split(&mut points, &mut bounds);
        Tree { points, bounds }
    }

    /// Distance in mm from `place` to the nearest point; infinite where there is none.
    pub fn distance(&self, place: [f64; 3]) -> f64 {
        let mut best = f64::INFINITY;
        search(&self.points, &self.bounds, place, &mut best);
        best.sqrt()
    }
}

fn split(points: &mut [[f64; 3]], bounds: &mut [Bounds]) {
    let own = [0, 1, 2].map(|axis| {
        let values = points.iter().map(|point| point[axis]);
        [values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max)]
    });
    let middle = points.len() / 2;
    if let Some(place) = bounds.get_mut(middle) {
        *place = own;
    }
    if points.len() <= LEAF {
        return;
    }
    let length = |axis: usize| own[axis][1] - own[axis][0];
    let axis = (0..3).max_by(|&a, &b| length(a).total_cmp(&length(b))).unwrap_or(0);
    points.select_nth_unstable_by(middle, |a, b| a[axis].total_cmp(&b[axis]));
    let (below, above) = points.split_at_mut(middle);
    let (bounds_below, bounds_above) = bounds.split_at_mut(middle);
    split(below, bounds_below);
    split(&mut above[1..], &mut bounds_above[1..]);
}

/// Lowers `best`, a squared distance, to that of the nearest of `points`.
fn search(points: &[[f64; 3]], bounds: &[Bounds], place: [f64; 3], best: &mut f64) {
    if points.len() <= LEAF {
        points.iter().for_each(|&point| *best = best.min(squared(point, place)));
        return;
    }
    let middle = points.len() / 2;
    *best = best.min(squared(points[middle], place));
    let below = (&points[..middle], &bounds[..middle]);
    let above = (&points[middle + 1..], &bounds[middle + 1..]);
    let mut halves = [below, above].map(|half| (away(&half.1[half.1.len() / 2], place), half));
    if halves[1].0 < halves[0].0 {
        halves.swap(0, 1);
    }
    for (nearest, (points, bounds)) in halves {
        if nearest < *best {
            search(points, bounds, place, best);
        }
    }
}

/// Squared distance from `place` to the nearest place within bounds.
fn away(bounds: &Bounds, place: [f64; 3]) -> f64 {
    (0..3).map(|axis| (bounds[axis][0] - place[axis]).max(place[axis] - bounds[axis][1]).max(0.0).powi(2)).sum()
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
