//! Affine maps of three-dimensional space.

/// An affine map `p -> m p + t` of three-dimensional points, in double precision.
///
/// Used for voxel indices to RAS millimetres, and for rigid transforms between worlds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The upper three rows of the 4x4 homogeneous matrix; the last row is (0, 0, 0, 1).
    pub rows: [[f64; 4]; 3],
}

impl Affine {
    /// The map that leaves every point where it is.
    pub const IDENTITY: Affine = Affine { rows: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]] };

    /// The map `p -> matrix p + translation`.
    pub fn new(matrix: [[f64; 3]; 3], translation: [f64; 3]) -> Self {
        let row = |r: usize| [matrix[r][0], matrix[r][1], matrix[r][2], translation[r]];
        Affine { rows: [row(0), row(1), row(2)] }
    }

    /// The 3x3 part.
    pub fn matrix(&self) -> [[f64; 3]; 3] {
        self.rows.map(|r| [r[0], r[1], r[2]])
    }

    /// The translation.
    pub fn translation(&self) -> [f64; 3] {
        self.rows.map(|r| r[3])
    }

    /// The image of a point.
    pub fn apply(&self, p: [f64; 3]) -> [f64; 3] {
        self.rows.map(|r| r[0] * p[0] + r[1] * p[1] + r[2] * p[2] + r[3])
    }

    /// The map that does `first` and then `self`.
    pub fn after(&self, first: &Affine) -> Affine {
        let mut rows = [[0.0; 4]; 3];
        for (r, row) in rows.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = (0..3).map(|n| self.rows[r][n] * first.rows[n][c]).sum::<f64>();
            }
            row[3] += self.rows[r][3];
        }
        Affine { rows }
    }

    /// Largest distance between where two maps of voxel indices put the same corner voxel of a grid of `shape` voxels.
    pub(crate) fn farthest_corner(&self, other: &Affine, shape: [usize; 3]) -> f64 {
        let end = shape.map(|side| side.saturating_sub(1) as f64);
        let mut farthest = 0.0_f64;
        for i in [0.0, end[0]] {
            for j in [0.0, end[1]] {
                for k in [0.0, end[2]] {
                    let (p, q) = (self.apply([i, j, k]), other.apply([i, j, k]));
                    let square = (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum::<f64>();
                    farthest = farthest.max(square.sqrt());
                }
            }
        }
        farthest
    }

    /// Determinant of the 3x3 part.
    pub fn determinant(&self) -> f64 {
        let m = &self.rows;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// The inverse map, or `None` where the 3x3 part is singular or not finite.
    pub fn inverse(&self) -> Option<Affine> {
        let determinant = self.determinant();
        if !(determinant.is_finite() && determinant != 0.0) {
            return None;
        }
        let m = &self.rows;
        // Adjugate over determinant: entry (r, c) is the cofactor (c, r).
        let mut matrix = [[0.0; 3]; 3];
        for (r, row) in matrix.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                let (r1, r2, c1, c2) = ((c + 1) % 3, (c + 2) % 3, (r + 1) % 3, (r + 2) % 3);
                *value = (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) / determinant;
            }
        }
        let linear = Affine::new(matrix, [0.0; 3]);
        let translation = linear.apply(self.translation()).map(|t| -t);
        Some(Affine::new(matrix, translation))
    }

    /// Length of the image of a unit step along each axis: for a voxel-to-world map, the spacing in millimetres.
    pub fn spacing(&self) -> [f64; 3] {
        [0, 1, 2].map(|c| self.rows.iter().map(|r| r[c] * r[c]).sum::<f64>().sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::{affine, sum_of_squares};
    use proptest::prelude::*;

    /// Different entries everywhere, so that no two can be mixed up.
    const SAMPLE: Affine = Affine { rows: [[2.0, 3.0, 5.0, 7.0], [11.0, 13.0, 17.0, 19.0], [23.0, 29.0, 37.0, 41.0]] };

    #[test]
    fn parts_and_whole() {
        let (matrix, translation) = (SAMPLE.matrix(), SAMPLE.translation());
        assert_eq!(matrix, [[2.0, 3.0, 5.0], [11.0, 13.0, 17.0], [23.0, 29.0, 37.0]]);
        assert_eq!(translation, [7.0, 19.0, 41.0]);
        assert_eq!(Affine::new(matrix, translation), SAMPLE);
    }

    #[test]
    fn apply_is_matrix_times_point_plus_translation() {
        assert_eq!(SAMPLE.apply([1.0, 10.0, 100.0]), [539.0, 1860.0, 4054.0]);
        assert_eq!(Affine::IDENTITY.apply([1.0, 10.0, 100.0]), [1.0, 10.0, 100.0]);
    }

    #[test]
    fn determinant_by_hand() {
        // 2 (13 37 - 17 29) - 3 (11 37 - 17 23) + 5 (11 29 - 13 23) = -24 - 48 + 100
        assert_eq!(SAMPLE.determinant(), 28.0);
    }

    #[test]
    fn spacing_is_the_length_of_columns() {
        let affine = Affine::new([[0.0, 3.0, 0.0], [2.0, 0.0, 6.0], [0.0, 4.0, -8.0]], [1.0, 1.0, 1.0]);
        assert_eq!(affine.spacing(), [2.0, 5.0, 10.0]);
    }

    #[test]
    fn what_has_no_inverse_says_so() {
        let mut flat = SAMPLE;
        flat.rows[2] = [13.0, 16.0, 22.0, 5.0];
        assert_eq!(flat.determinant(), 0.0);
        assert_eq!(flat.inverse(), None);
        let mut endless = SAMPLE;
        endless.rows[0][0] = f64::NAN;
        assert_eq!(endless.inverse(), None);
        endless.rows[0][0] = f64::INFINITY;
        assert_eq!(endless.inverse(), None);
    }

    proptest! {
        #[test]
        fn after_is_one_then_the_other(first in affine(), then in affine(), p in [-100.0..100.0, -100.0..100.0, -100.0..100.0_f64]) {
            let (both, steps) = (then.after(&first).apply(p), then.apply(first.apply(p)));
            prop_assert!((0..3).all(|n| (both[n] - steps[n]).abs() < 1e-8), "{both:?} {steps:?}");
        }

        #[test]
        fn the_inverse_undoes_on_both_sides(affine in affine()) {
            let inverse = affine.inverse().unwrap();
            prop_assert!(sum_of_squares(&affine.after(&inverse), &Affine::IDENTITY) < 1e-18);
            prop_assert!(sum_of_squares(&inverse.after(&affine), &Affine::IDENTITY) < 1e-18);
            prop_assert!((affine.determinant() * inverse.determinant() - 1.0).abs() < 1e-9);
        }
    }
}
