//! Measures of a mask's shape that tell a brain from other things.

use super::icosphere::{cross, dot};
use crate::volume::Volume;
use rayon::prelude::*;

/// The shape of a mask, from its moments of the second order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Volume of the mask by that of the ellipsoid with the same moments: 1 for an ellipsoid, 0.93 for a cylinder, 0.89 for a box, less for what
    /// is hollow, branched or in several pieces.
    pub solidity: f64,
    /// Lengths in mm of the axes of that ellipsoid, the longest first.
    pub axes_mm: [f64; 3],
}

impl Shape {
    /// The shape of a mask; `None` for one of no voxels or of no extent along some axis.
    pub fn of(mask: &Volume<bool>) -> Option<Shape> {
        let grid = mask.grid();
        let [ni, nj, _] = grid.shape;
        // Sums of whole numbers: the same for any order.
        type Sums = (u64, [u64; 3], [u64; 6]);
        let add = |mut a: Sums, b: Sums| {
            a.0 += b.0;
            (0..3).for_each(|n| a.1[n] += b.1[n]);
            (0..6).for_each(|n| a.2[n] += b.2[n]);
            a
        };
        let rows = mask.voxels().par_chunks(ni.max(1)).enumerate().map(|(row, voxels)| {
            let (j, k) = ((row % nj) as u64, (row / nj) as u64);
            let mut sums: Sums = (0, [0; 3], [0; 6]);
            for (i, _) in voxels.iter().enumerate().filter(|(_, inside)| **inside) {
                let i = i as u64;
                sums = add(sums, (1, [i, j, k], [i * i, j * j, k * k, i * j, i * k, j * k]));
            }
            sums
        });
        let (count, first, second) = rows.reduce(|| (0, [0; 3], [0; 6]), add);
        if count == 0 {
            return None;
        }
        let n = count as f64;
        let mean = first.map(|sum| sum as f64 / n);
        let moment = |at: usize, a: usize, b: usize| second[at] as f64 / n - mean[a] * mean[b];
        // A voxel is a box of 1/12 of its side squared, not a point.
        let diagonal = |a: usize| moment(a, a, a) + 1.0 / 12.0;
        let (ij, ik, jk) = (moment(3, 0, 1), moment(4, 0, 2), moment(5, 1, 2));
        let voxels = [[diagonal(0), ij, ik], [ij, diagonal(1), jk], [ik, jk, diagonal(2)]];
        let matrix = grid.affine.matrix();
        let covariance = [0, 1, 2].map(|r| {
            [0, 1, 2].map(|c| {
                (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).map(|(a, b)| matrix[r][a] * voxels[a][b] * matrix[c][b]).sum()
            })
        });
        let axes_mm = eigenvalues(covariance).map(|variance| 2.0 * (5.0 * variance.max(0.0)).sqrt());
        let ellipsoid = std::f64::consts::PI / 6.0 * axes_mm.iter().product::<f64>();
        (ellipsoid > 0.0).then(|| Shape { solidity: n * grid.voxel_mm3() / ellipsoid, axes_mm })
    }
}

/// Eigenvalues of a symmetric matrix, the greatest first, by the trigonometric solution of its characteristic equation (Smith 1961).
fn eigenvalues(m: [[f64; 3]; 3]) -> [f64; 3] {
    let mean = (m[0][0] + m[1][1] + m[2][2]) / 3.0;
    let mut b = m;
    (0..3).for_each(|a| b[a][a] -= mean);
    let p = (b.iter().flatten().map(|x| x * x).sum::<f64>() / 6.0).sqrt();
    if p <= 0.0 {
        return [mean; 3];
    }
    let determinant = dot(b[0], cross(b[1], b[2])) / p.powi(3);
    let angle = (determinant / 2.0).clamp(-1.0, 1.0).acos() / 3.0;
    let at = |turn: f64| mean + 2.0 * p * (angle + turn).cos();
    let third = 2.0 * std::f64::consts::PI / 3.0;
    let (greatest, least) = (at(0.0), at(third));
    [greatest, 3.0 * mean - greatest - least, least]
}

#[cfg(test)]
mod tests {
    use super::super::icosphere::norm;
    use super::super::synthetic::{BRAIN, ellipsoid, grid, scan};
    use super::*;
    use crate::volume::{Affine, Grid};

    fn shape(mask: &Volume<bool>) -> Shape {
        Shape::of(mask).unwrap()
    }

    #[test]
    fn an_ellipsoid_fills_itself_and_has_its_axes() {
        let mask = scan(&grid(), |p| if ellipsoid(p, BRAIN) < 1.0 { 1.0 } else { 0.0 }).map(|v| *v > 0.0);
        let Shape { solidity, axes_mm } = shape(&mask);
        assert!((solidity - 1.0).abs() < 0.01, "{solidity}");
        let expected = [2.0 * BRAIN[1], 2.0 * BRAIN[0], 2.0 * BRAIN[2]];
        assert!((0..3).all(|a| (axes_mm[a] / expected[a] - 1.0).abs() < 0.02), "{axes_mm:?}");
    }

    #[test]
    fn a_turned_and_sheared_grid_changes_nothing() {
        // A box of 20 x 30 x 40 mm along axes that are turned by 30 degrees.
        let (s, c) = (0.5, 0.75f64.sqrt());
        let affine = Affine::new([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 2.0]], [7.0, -5.0, 3.0]);
        let mask = Volume::new(Grid { shape: [20, 30, 20], affine }, vec![true; 12_000]);
        let Shape { solidity, axes_mm } = shape(&mask);
        // The ellipsoid of a box has 2 sqrt(5 / 12) times its sides as axes.
        let expected = [40.0, 30.0, 20.0].map(|side| side * 2.0 * (5.0f64 / 12.0).sqrt());
        assert!((0..3).all(|a| (axes_mm[a] - expected[a]).abs() < 1e-6), "{axes_mm:?}");
        assert!((solidity - 6.0 / std::f64::consts::PI / (2.0 * (5.0f64 / 12.0).sqrt()).powi(3)).abs() < 1e-9, "{solidity}");
    }

    #[test]
    fn what_is_in_pieces_fills_little_and_nothing_has_no_shape() {
        let balls = scan(&grid(), |p| if norm([p[0].abs() - 60.0, p[1], p[2]]) < 20.0 { 1.0 } else { 0.0 });
        let solidity = shape(&balls.map(|v| *v > 0.0)).solidity;
        assert!(solidity < 0.35, "{solidity}");
        assert_eq!(Shape::of(&balls.map(|_| false)), None);
    }
}
