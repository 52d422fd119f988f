//! Rigid motions of the template's points into the scan's world, and small steps between them.

use crate::volume::Affine;

/// A step from one pose to a close one: rotation about x, y and z, then translation along x, y and z.
///
/// All six are in millimetres: a rotation component is an angle in radians times [`Lever`], so that a unit of any
/// component moves the template's brain by one millimetre in the mean.
pub(crate) type Step = [f64; 6];

/// Millimetres that the points of the template's brain move, in the mean, for a rotation of one radian about the x, y
/// and z axes through its centre.
pub(crate) type Lever = [f64; 3];

/// A rigid motion: rotation about the centre of the template's brain, which goes to `image`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pose {
    /// Unit quaternion (w, x, y, z).
    rotation: [f64; 4],
    /// Centre of the template's brain, RAS mm.
    centre: [f64; 3],
    /// Where the centre goes in the scan's world, RAS mm.
    image: [f64; 3],
}

impl Pose {
    /// The motion that takes `centre` to `image` after a rotation by `angles` (radians): about x first, then y, then z.
    pub(crate) fn new(centre: [f64; 3], image: [f64; 3], angles: [f64; 3]) -> Self {
        let about = |axis: usize| {
            let mut vector = [0.0; 3];
            vector[axis] = angles[axis];
            exponential(vector)
        };
        Pose { rotation: product(about(2), product(about(1), about(0))), centre, image }
    }

    /// The map of template points to scan points, RAS mm.
    pub(crate) fn affine(&self) -> Affine {
        let matrix = self.matrix();
        let turned = Affine::new(matrix, [0.0; 3]).apply(self.centre);
        Affine::new(matrix, [0, 1, 2].map(|axis| self.image[axis] - turned[axis]))
    }

    /// The rotation as an orthonormal matrix.
    fn matrix(&self) -> [[f64; 3]; 3] {
        let [w, x, y, z] = self.rotation;
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ]
    }

    /// The pose after `step`: the rotation vector is applied after this pose's rotation.
    pub(crate) fn moved(&self, step: &Step, lever: &Lever) -> Self {
        let vector = [0, 1, 2].map(|axis| step[axis] / lever[axis]);
        Pose {
            rotation: product(exponential(vector), self.rotation),
            centre: self.centre,
            image: [0, 1, 2].map(|axis| self.image[axis] + step[3 + axis]),
        }
    }

    /// The derivative by a [`Step`] of a function of the pose, from its derivative by the entries of the matrix of
    /// [`Pose::affine`] taken about the centre: `by_rows[r][c]` for the matrix entry, `by_rows[r][3]` for the image.
    pub(crate) fn gradient(&self, by_rows: &[[f64; 4]; 3], lever: &Lever) -> Step {
        // A rotation vector o turns the matrix R into R + [o] R, where [o] is the cross product's matrix; so the
        // derivative by o is the axial vector of by_rows R^T.
        let rotation = self.matrix();
        let torque =
            |a: usize, b: usize| (0..3).map(|c| by_rows[b][c] * rotation[a][c] - by_rows[a][c] * rotation[b][c]).sum::<f64>();
        [torque(1, 2) / lever[0], torque(2, 0) / lever[1], torque(0, 1) / lever[2], by_rows[0][3], by_rows[1][3], by_rows[2][3]]
    }

    /// Centre of the template's brain, RAS mm.
    pub(crate) fn centre(&self) -> [f64; 3] {
        self.centre
    }

    /// How far apart two poses put the template's brain: an upper estimate of the mean distance in millimetres.
    pub(crate) fn distance(&self, other: &Pose, lever: &Lever) -> f64 {
        let shift = (0..3).map(|axis| (self.image[axis] - other.image[axis]).powi(2)).sum::<f64>().sqrt();
        self.angle(other) * lever.iter().fold(0.0, |a: f64, &b| a.max(b)) + shift
    }

    /// Angle in radians between the rotations of two poses.
    pub(crate) fn angle(&self, other: &Pose) -> f64 {
        let cosine = (0..4).map(|n| self.rotation[n] * other.rotation[n]).sum::<f64>().abs().min(1.0);
        2.0 * cosine.acos()
    }
}

/// The unit quaternion of a rotation vector (axis times angle in radians).
fn exponential(vector: [f64; 3]) -> [f64; 4] {
    let angle = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    // sin(angle / 2) / angle, by its series where the division loses digits.
    let factor = if angle < 1e-4 { 0.5 - angle * angle / 48.0 } else { (0.5 * angle).sin() / angle };
    [(0.5 * angle).cos(), factor * vector[0], factor * vector[1], factor * vector[2]]
}

/// The rotation `b` followed by `a`, made a unit quaternion again so that rounding never adds up.
fn product(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    let product = [
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ];
    let norm = product.iter().map(|v| v * v).sum::<f64>().sqrt();
    product.map(|v| v / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positive_turn_about_z_takes_right_to_front() {
        let pose = Pose::new([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [0.0, 0.0, std::f64::consts::FRAC_PI_2]);
        let image = pose.affine().apply([2.0, 2.0, 3.0]);
        for (got, want) in image.iter().zip([10.0, 21.0, 30.0]) {
            assert!((got - want).abs() < 1e-12, "{image:?}");
        }
    }

    #[test]
    fn stays_rigid_over_many_steps() {
        let mut pose = Pose::new([0.0; 3], [0.0; 3], [0.3, -0.2, 0.5]);
        for n in 0..10_000 {
            let n = n as f64;
            pose = pose.moved(&[n.sin(), n.cos(), 0.4, 0.1, 0.2, -0.1], &[50.0, 60.0, 40.0]);
        }
        let m = pose.affine().matrix();
        for a in 0..3 {
            for b in 0..3 {
                let dot: f64 = (0..3).map(|c| m[a][c] * m[b][c]).sum();
                assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-14);
            }
        }
        assert!((pose.affine().determinant() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_step_moves_a_point_at_the_lever_by_its_length() {
        let pose = Pose::new([5.0, 5.0, 5.0], [1.0, 2.0, 3.0], [0.1, 0.2, 0.3]);
        let lever = [50.0, 40.0, 30.0];
        let moved = pose.moved(&[1e-4, 0.0, 0.0, 0.0, 0.0, 0.0], &lever);
        // A point whose image lies 50 mm along y from the image of the centre, so a turn about x moves it along z.
        let point = pose.affine().inverse().unwrap().apply([1.0, 52.0, 3.0]);
        let image = moved.affine().apply(point);
        assert!((image[2] - 3.0 - 1e-4).abs() < 1e-9, "{image:?}");
        assert!((pose.angle(&moved) - 1e-4 / 50.0).abs() < 1e-8);
    }

    #[test]
    fn gradient_agrees_with_finite_differences_of_an_affine_function() {
        let pose = Pose::new([3.0, -2.0, 1.0], [7.0, 8.0, 9.0], [0.4, -0.3, 0.2]);
        let lever = [50.0, 40.0, 30.0];
        let weights = [[1.0, -2.0, 3.0, 0.5], [4.0, 5.0, -6.0, 0.25], [-7.0, 8.0, 9.0, -0.75]];
        let function = |pose: &Pose| -> f64 {
            let m = pose.matrix();
            (0..3).map(|r| (0..3).map(|c| weights[r][c] * m[r][c]).sum::<f64>() + weights[r][3] * pose.image[r]).sum()
        };
        let gradient = pose.gradient(&weights, &lever);
        for n in 0..6 {
            let mut step = [0.0; 6];
            step[n] = 1e-4;
            let ahead = function(&pose.moved(&step, &lever));
            step[n] = -1e-4;
            let behind = function(&pose.moved(&step, &lever));
            assert!((gradient[n] - (ahead - behind) / 2e-4).abs() < 1e-6, "component {n}");
        }
    }
}
