//! The scan's own upright frame: where the search begins does not depend on where the scan's header puts it in the world.

use crate::volume::orientation::Orientation;
use crate::volume::{Affine, Grid};

/// The rigid motion from the scan's own frame to its world. In its own frame the scan's first voxel is the origin, and its axes, in the order
/// nearest to RAS, run along x, y and z as nearly as a rigid motion can make them (Gram and Schmidt: the first exactly, the second within the plane
/// of both).
///
/// A scanner's axes are nearly the patient's, whatever an oblique or wrong header says; and two scans with the same voxels and spacing
/// are the same problem in their own frames, bit for bit but for the rounding of their affines.
pub(crate) fn own_frame(grid: &Grid) -> Affine {
    let Orientation { axis, flipped } = Orientation::of(&grid.affine);
    let direction = |world: usize| {
        let voxel = (0..3).find(|&voxel| axis[voxel] == world).expect("the axes are a permutation");
        let sign = if flipped[voxel] { -1.0 } else { 1.0 };
        grid.affine.rows.map(|row| sign * row[voxel])
    };
    let x = unit(direction(0));
    let y = direction(1);
    let along: f64 = (0..3).map(|n| x[n] * y[n]).sum();
    let y = unit([0, 1, 2].map(|n| y[n] - along * x[n]));
    let z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
    Affine::new([0, 1, 2].map(|n| [x[n], y[n], z[n]]), grid.affine.translation())
}

/// An affine rounded to a ten-thousandth of a millimetre. A header's quaternion and its matrix, in single precision, say the same grid with
/// differences of a millionth, and where two summits are nearly as high such a hair could decide between them; over a head the rounding
/// adds up to some hundredth of a millimetre.
pub(crate) fn rounded(affine: &Affine) -> Affine {
    // The sum makes a negative zero positive.
    Affine { rows: affine.rows.map(|row| row.map(|x| (x * 1e4).round() / 1e4 + 0.0)) }
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.map(|x| x / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(affine: Affine) -> Grid {
        Grid { shape: [10, 11, 12], affine }
    }

    fn assert_near(a: &Affine, b: &Affine) {
        let far = a.rows.as_flattened().iter().zip(b.rows.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-12, "{a:?} {b:?}");
    }

    #[test]
    fn an_upright_grid_is_moved_only() {
        // x to the left, as scanners store it: the frame is right-handed RAS all the same.
        let affine = Affine::new([[-0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 5.0]], [90.0, -80.0, 7.0]);
        assert_near(&own_frame(&grid(affine)), &Affine::new(Affine::IDENTITY.matrix(), [90.0, -80.0, 7.0]));
    }

    #[test]
    fn a_hair_is_rounded_away() {
        let exact = Affine::new([[0.4883, 0.0, 0.0], [0.0, 0.4883, 0.0], [0.0, 0.0, 2.6198]], [1.5, -2.25, 0.0]);
        let hair = Affine { rows: exact.rows.map(|row| row.map(|x| x - 1.7e-6)) };
        assert_eq!(rounded(&hair), rounded(&exact));
        assert_eq!(format!("{:?}", rounded(&hair)), format!("{exact:?}"), "no negative zero");
    }

    #[test]
    fn a_moved_world_moves_the_frame_with_it() {
        let (sin, cos) = 0.4f64.sin_cos();
        let motion = Affine::new([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], [10.0, -20.0, 30.0]);
        // A gantry tilt shears the third axis.
        let sheared = Affine::new([[0.0, 0.5, 0.0], [0.45, 0.0, -1.2], [0.0, 0.0, 4.0]], [-60.0, -80.0, 7.0]);
        let moved = own_frame(&grid(motion.after(&sheared)));
        assert_near(&moved, &motion.after(&own_frame(&grid(sheared))));
    }
}
