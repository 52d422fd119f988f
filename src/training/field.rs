//! Smooth random values over a grid.

use super::random::Random;

/// Two smooth values at each place: normal at the points of a coarse grid, linear between them.
pub struct Field {
    spacing: f64,
    counts: [usize; 3],
    points: Vec<[f32; 2]>,
}

impl Field {
    /// Draws the points for a grid: normal with mean 0 and a deviation, `spacing` voxels apart.
    pub fn draw(shape: [usize; 3], spacing: usize, deviation: f64, random: &mut Random) -> Field {
        let counts = shape.map(|side| side.div_ceil(spacing) + 1);
        let mut normal = || (deviation * random.normal()) as f32;
        let points = (0..counts.iter().product()).map(|_| [normal(), normal()]).collect();
        Field { spacing: spacing as f64, counts, points }
    }

    /// The values at a voxel.
    pub fn at(&self, place: [usize; 3]) -> [f32; 2] {
        let mut cell = [0; 3];
        let mut share = [0.0f32; 3];
        for axis in 0..3 {
            let p = place[axis] as f64 / self.spacing;
            cell[axis] = p as usize;
            share[axis] = p.fract() as f32;
        }
        let mut sum = [0.0f32; 2];
        for corner in 0..8usize {
            let step = [corner >> 2, corner >> 1 & 1, corner & 1];
            let weight: f32 = (0..3).map(|axis| if step[axis] == 1 { share[axis] } else { 1.0 - share[axis] }).product();
            let index = |axis: usize| (cell[axis] + step[axis]).min(self.counts[axis] - 1);
            let point = self.points[(index(0) * self.counts[1] + index(1)) * self.counts[2] + index(2)];
            sum[0] += weight * point[0];
            sum[1] += weight * point[1];
        }
        sum
    }
}
