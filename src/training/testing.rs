//! Samples for tests.

use super::sample::{Sample, Source};
use crate::Result;
use crate::random::keyed::Random;

/// Ellipsoid brains of noise with a bright ball in each: what a small network learns in a few updates.
#[derive(Debug)]
pub struct Balls {
    pub shape: [usize; 3],
    pub count: usize,
    pub planar: bool,
}

impl Balls {
    pub const CUBE: Balls = Balls { shape: [32; 3], count: 8, planar: false };
}

impl Source for Balls {
    fn len(&self) -> usize {
        self.count
    }

    fn key(&self) -> String {
        format!("{self:?}")
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let mut random = Random::new(number as u64 + 1);
        let centre = [0, 1, 2].map(|_| random.range(-0.4, 0.4));
        let radius = random.range(0.25, 0.4);
        let mut sample =
            Sample { shape: self.shape, planar: self.planar, voxel_ml: 0.003_375, hu: vec![], label: vec![], mask: vec![] };
        let voxels: usize = self.shape.iter().product();
        for voxel in 0..voxels {
            let index = [voxel / (self.shape[1] * self.shape[2]), voxel / self.shape[2] % self.shape[1], voxel % self.shape[2]];
            let p = [0, 1, 2].map(|axis| (index[axis] as f64 + 0.5) / self.shape[axis] as f64 * 2.0 - 1.0);
            let mask = p.iter().map(|x| x * x).sum::<f64>() < 0.9;
            let label = mask && (0..3).map(|axis| (p[axis] - centre[axis]).powi(2)).sum::<f64>() < radius * radius;
            let hu = if label { 65.0 } else { 32.0 } + 4.0 * random.normal();
            sample.hu.push(if mask { hu as i16 } else { 0 });
            sample.label.push(label);
            sample.mask.push(mask);
        }
        Ok(sample)
    }
}
