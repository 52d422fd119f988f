//! Smooth random values over a grid.

use crate::random::keyed::Random;

/// Two smooth values at each place: normal at the points of a coarse grid, linear between them.
pub struct Field {
    /// For each place along an axis the points on both sides of it, in values of `points`, and the share of the second.
    places: [Vec<([usize; 2], f32)>; 3],
    points: Vec<[f32; 2]>,
}

impl Field {
    /// Draws the points for a grid: normal with mean 0 and a deviation, `spacing` voxels apart.
    pub fn draw(shape: [usize; 3], spacing: usize, deviation: f64, random: &mut Random) -> Field {
        let counts = shape.map(|side| side.div_ceil(spacing) + 1);
        let mut normal = || (deviation * random.normal()) as f32;
        let points = (0..counts.iter().product()).map(|_| [normal(), normal()]).collect();
        let strides = [counts[1] * counts[2], counts[2], 1];
        let places = [0, 1, 2].map(|axis| {
            let place = |place: usize| {
                let p = place as f64 / spacing as f64;
                let cell = p as usize;
                ([cell, cell + 1].map(|point| point.min(counts[axis] - 1) * strides[axis]), p.fract() as f32)
            };
            (0..shape[axis]).map(place).collect()
        });
        Field { places, points }
    }

    /// The values at a voxel.
    pub fn at(&self, place: [usize; 3]) -> [f32; 2] {
        let [(i, si), (j, sj), (k, sk)] = [0, 1, 2].map(|axis| self.places[axis][place[axis]]);
        let mut sum = [0.0f32; 2];
        for (i, wi) in i.into_iter().zip([1.0 - si, si]) {
            for (j, wj) in j.into_iter().zip([1.0 - sj, sj]) {
                for (k, wk) in k.into_iter().zip([1.0 - sk, sk]) {
                    let (point, weight) = (self.points[i + j + k], wi * wj * wk);
                    sum[0] += weight * point[0];
                    sum[1] += weight * point[1];
                }
            }
        }
        sum
    }
}
