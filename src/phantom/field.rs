//! Scalar fields of space: smooth noise, distances to simple shapes, how much of a small box lies behind a surface.
//!
//! Lengths are millimetres in f32. Distances are positive inside a shape ("depth").

use crate::random::stream::Random;
use bytemuck::Pod;
use rayon::prelude::*;

/// A point or a vector.
pub type Vec3 = [f32; 3];

/// `a - b`.
pub fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a + t b`.
pub fn along(a: Vec3, t: f32, b: Vec3) -> Vec3 {
    [a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]]
}

/// Scalar product.
pub fn dot(a: Vec3, b: Vec3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Length.
pub fn norm(a: Vec3) -> f32 {
    dot(a, a).sqrt()
}

/// A rotation by `angle` radians about a unit `axis` (Rodrigues), as rows.
pub fn rotation(axis: Vec3, angle: f32) -> [Vec3; 3] {
    let (s, c) = angle.sin_cos();
    let [x, y, z] = axis;
    let t = 1.0 - c;
    [
        [t * x * x + c, t * x * y - s * z, t * x * z + s * y],
        [t * x * y + s * z, t * y * y + c, t * y * z - s * x],
        [t * x * z - s * y, t * y * z + s * x, t * z * z + c],
    ]
}

/// A direction, all equally likely.
pub fn direction(random: &mut Random) -> Vec3 {
    let z = random.uniform(-1.0, 1.0);
    let (s, c) = random.uniform(0.0, std::f32::consts::TAU).sin_cos();
    let r = (1.0 - z * z).sqrt();
    [r * c, r * s, z]
}

/// Share of a box of width `width` that lies behind a plane surface at depth `depth` of its centre: 0 outside, 1 inside.
pub fn cover(depth: f32, width: f32) -> f32 {
    (0.5 + depth / width).clamp(0.0, 1.0)
}

/// Share of a box of width `width` inside a layer of half thickness `half`, its middle plane at distance `x`: right for layers thinner than the box too.
pub fn layer(x: f32, half: f32, width: f32) -> f32 {
    (cover(half - x.abs(), width) - cover(-half - x.abs(), width)).max(0.0)
}

/// 0 below 0, 1 above 1, smooth between.
pub fn smooth_step(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// Maximum of two depths with the edge where they meet rounded over `radius`: the smooth union of two shapes.
pub fn union(a: f32, b: f32, radius: f32) -> f32 {
    let h = (radius - (a - b).abs()).max(0.0);
    a.max(b) + h * h / (4.0 * radius)
}

/// Minimum of two depths with a rounded edge: the smooth intersection of two shapes.
pub fn intersection(a: f32, b: f32, radius: f32) -> f32 {
    -union(-a, -b, radius)
}

/// Depth in an ellipsoid, exact on its surface and to first order near it.
pub fn ellipsoid(p: Vec3, centre: Vec3, half: Vec3) -> f32 {
    let (mut level, mut slope) = (0.0, 0.0);
    for axis in 0..3 {
        let x = (p[axis] - centre[axis]) / half[axis];
        level += x * x;
        slope += (x / half[axis]) * (x / half[axis]);
    }
    if level < 1e-6 {
        // At the centre there is no way that is the steepest.
        return half[0].min(half[1]).min(half[2]);
    }
    let level = level.sqrt();
    (1.0 - level) * level / slope.sqrt()
}

/// Depth in a rounded cone about the segment from `a` to `b`, of radius `ra` at one end and `rb` at the other.
pub fn cone(p: Vec3, a: Vec3, b: Vec3, ra: f32, rb: f32) -> f32 {
    let (ap, ab) = (sub(p, a), sub(b, a));
    let t = (dot(ap, ab) / dot(ab, ab)).clamp(0.0, 1.0);
    ra + (rb - ra) * t - norm(along(ap, -t, ab))
}

/// Gradients of the noise at its cells' corners: points all over a cube of side 2, by a small congruential generator.
const DIRECTIONS: [Vec3; 64] = {
    let mut all = [[0.0; 3]; 64];
    let mut state = 1u32;
    let mut n = 0;
    while n < 192 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        all[n / 3][n % 3] = (state >> 16) as f32 / 32_767.5 - 1.0;
        n += 1;
    }
    all
};

/// Gradient noise (Perlin 1985, with the fade of 2002): smooth, mean 0, features of about two cells,
/// deviation about two thirds.
#[derive(Clone, Debug)]
pub struct Noise {
    salt: u32,
    /// Turns space, so that no axis is special, and divides it by the cell's size.
    turn: [Vec3; 3],
}

impl Noise {
    /// Noise whose cells are `cell` millimetres wide.
    pub fn new(random: &mut Random, cell: f32) -> Self {
        let axis = direction(random);
        let turn = rotation(axis, random.uniform(0.3, 2.8)).map(|row| row.map(|x| x / cell));
        Noise { salt: random.bits() as u32, turn }
    }

    /// The noise at a point.
    pub fn at(&self, p: Vec3) -> f32 {
        self.value_and_gradient(p).0
    }

    /// The noise and its gradient per millimetre.
    #[inline(always)]
    pub fn value_and_gradient(&self, p: Vec3) -> (f32, Vec3) {
        /// Makes the extremes about -2 and 2.
        const SCALE: f32 = 3.4;
        let q = self.turn.map(|row| dot(row, p));
        // `floor` is a call where the processor's instructions for it may not be used.
        let floor = q.map(|x| x as i32 - i32::from(x < 0.0));
        let r = [0, 1, 2].map(|a| q[a] - floor[a] as f32);
        let fade = r.map(|t| t * t * t * (t * (t * 6.0 - 15.0) + 10.0));
        let slope = r.map(|t| 30.0 * t * t * (t - 1.0) * (t - 1.0));
        let hash = |axis: usize, prime: u32| {
            let first = (floor[axis] as u32).wrapping_mul(prime);
            [first, first.wrapping_add(prime)]
        };
        let hashes = [hash(0, 0x8DA6_B343), hash(1, 0xD816_3841), hash(2, 0xCB1A_B31F)];
        let (mut value, mut gradient) = (0.0, [0.0; 3]);
        for n in 0..8 {
            let d = [n & 1, n >> 1 & 1, n >> 2];
            let h = hashes[0][d[0]] ^ hashes[1][d[1]] ^ hashes[2][d[2]] ^ self.salt;
            let h = (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D);
            let g = &DIRECTIONS[(h >> 26) as usize];
            let w = [0, 1, 2].map(|a| if d[a] == 1 { fade[a] } else { 1.0 - fade[a] });
            let s = [0, 1, 2].map(|a| if d[a] == 1 { slope[a] } else { -slope[a] });
            let along = (0..3).map(|a| g[a] * (r[a] - d[a] as f32)).sum::<f32>();
            let weight = w[0] * w[1] * w[2];
            value += weight * along;
            gradient[0] += weight * g[0] + s[0] * w[1] * w[2] * along;
            gradient[1] += weight * g[1] + w[0] * s[1] * w[2] * along;
            gradient[2] += weight * g[2] + w[0] * w[1] * s[2] * along;
        }
        let back = [0, 1, 2].map(|a| SCALE * (0..3).map(|row| self.turn[row][a] * gradient[row]).sum::<f32>());
        (SCALE * value, back)
    }
}

/// Values of several fields, a T of f32 alone, at the nodes of a cubic lattice, linear between them: what is smooth and
/// dear is computed once for each node.
pub struct Lattice<T> {
    origin: Vec3,
    step: f32,
    shape: [usize; 3],
    nodes: Vec<T>,
}

impl<T: Pod + Send + Sync> Lattice<T> {
    /// `f` at the nodes of a box from `low` to `high`, `step` apart, on all threads.
    pub fn new(low: Vec3, high: Vec3, step: f32, f: impl Fn(Vec3) -> T + Sync) -> Self {
        let shape = [0, 1, 2].map(|a| (((high[a] - low[a]) / step).ceil().max(1.0)) as usize + 1);
        let [ni, nj, _] = shape;
        let mut nodes = vec![T::zeroed(); shape.iter().product()];
        nodes.par_chunks_mut(ni).enumerate().for_each(|(row, nodes)| {
            let (y, z) = (low[1] + step * (row % nj) as f32, low[2] + step * (row / nj) as f32);
            nodes.iter_mut().enumerate().for_each(|(i, node)| *node = f([low[0] + step * i as f32, y, z]));
        });
        Lattice { origin: low, step, shape, nodes }
    }

    /// The fields at a point; beyond the box, those of its nearest face.
    #[inline(always)]
    pub fn at(&self, p: Vec3) -> T {
        let mut base = [0; 3];
        let mut part = [0.0; 3];
        for a in 0..3 {
            let x = ((p[a] - self.origin[a]) / self.step).clamp(0.0, (self.shape[a] - 1) as f32);
            base[a] = (x as usize).min(self.shape[a] - 2);
            part[a] = x - base[a] as f32;
        }
        let [ni, nj, _] = self.shape;
        let first = base[0] + ni * (base[1] + nj * base[2]);
        let mut fields = T::zeroed();
        for n in 0..8 {
            let d = [n & 1, n >> 1 & 1, n >> 2];
            let weight = (0..3).map(|a| if d[a] == 1 { part[a] } else { 1.0 - part[a] }).product::<f32>();
            let node = &self.nodes[first + d[0] + ni * (d[1] + nj * d[2])];
            let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(node));
            let sums: &mut [f32] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut fields));
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_mean_and_deviation_and_its_own_gradient() {
        let mut random = Random::new(5, 0);
        let noise = Noise::new(&mut random, 7.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        let count = 20_000;
        for _ in 0..count {
            let p = [0.0; 3].map(|_: f32| random.uniform(-100.0, 100.0));
            let (value, gradient) = noise.value_and_gradient(p);
            sum += value;
            squares += value * value;
            for axis in 0..3 {
                let mut step = [0.0; 3];
                step[axis] = 1.0;
                let h = 0.02;
                let difference = (noise.at(along(p, h, step)) - noise.at(along(p, -h, step))) / (2.0 * h);
                assert!((difference - gradient[axis]).abs() < 0.02, "{p:?} axis {axis}: {difference} {gradient:?} {value}");
            }
        }
        let mean = sum / count as f32;
        let deviation = (squares / count as f32 - mean * mean).sqrt();
        assert!(mean.abs() < 0.05 && (deviation - 0.66).abs() < 0.05, "{mean} {deviation}");
    }

    #[test]
    fn a_lattice_reproduces_linear_fields_and_stops_at_its_faces() {
        let field = |p: Vec3| [p[0] - 2.0 * p[1] + 0.5 * p[2], p[2]];
        let lattice = Lattice::new([-3.0, 1.0, 2.0], [4.0, 9.0, 11.0], 2.0, field);
        for p in [[-3.0, 1.0, 2.0], [0.3, 4.7, 9.1], [3.9, 8.9, 10.9]] {
            let (found, exact) = (lattice.at(p), field(p));
            assert!((found[0] - exact[0]).abs() < 1e-4 && (found[1] - exact[1]).abs() < 1e-4, "{p:?}");
        }
        assert_eq!(lattice.at([-50.0, 1.0, 2.0]), lattice.at([-3.0, 1.0, 2.0]));
    }

    #[test]
    fn a_thin_layer_fills_its_share_of_a_box() {
        assert_eq!(layer(0.0, 0.25, 2.0), 0.25);
        assert_eq!(layer(0.0, 3.0, 2.0), 1.0);
        assert_eq!(layer(5.0, 0.25, 2.0), 0.0);
        // All boxes together hold the whole layer.
        let sum: f32 = (-40..=40).map(|n| layer(0.1 * n as f32, 0.25, 2.0) * 0.1).sum();
        assert!((sum - 0.5).abs() < 0.01, "{sum}");
    }

    #[test]
    fn depths_are_distances_near_the_surface() {
        assert!((ellipsoid([9.0, 0.0, 0.0], [0.0; 3], [10.0, 20.0, 30.0]) - 1.0).abs() < 0.11);
        assert!(ellipsoid([0.0; 3], [0.0; 3], [10.0, 20.0, 30.0]) > 0.0);
        assert!((cone([0.0, 3.0, 5.0], [0.0; 3], [0.0, 0.0, 10.0], 2.0, 4.0)).abs() < 1e-5);
        assert_eq!(union(1.0, 9.0, 3.0), 9.0);
        assert_eq!(union(2.0, 2.0, 4.0), 3.0);
        assert_eq!(intersection(2.0, 2.0, 4.0), 1.0);
    }
}
