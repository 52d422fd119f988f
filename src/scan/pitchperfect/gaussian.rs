//! Smooth images of the brain.
//!
//! Gaussians as wide as these are smooth over many voxels, so they are computed on a coarser grid: means of blocks, a
//! Gaussian of what is left of the variance, and linear interpolation. Blocks of f voxels and the interpolation
//! between their centres have a variance of (f^2 - 1) / 12 and f^2 / 6 voxels^2 by themselves.

use super::brain::Brain;
use rayon::prelude::*;

/// Sigma in voxels of the coarser grid, at least.
const COARSE_SIGMA: f64 = 2.5;
/// A kernel reaches so many sigmas.
const REACH: f64 = 4.0;

/// `smooth5`, `smooth10`, `smooth20`, HU: a Gaussian of `sigma` mm over v, divided by the same over E (1 inside, 0
/// outside), so that the brain's edge does not darken.
pub fn smooth(brain: &Brain, sigma_mm: f64, at: &[u32]) -> Vec<f32> {
    let grid = brain.grid();
    let sigma = sigma_mm / grid.spacing()[0];
    let hu = Smooth::new(brain.values(), grid.shape, sigma);
    let inside: Vec<f32> = brain.inside().par_iter().map(|&inside| f32::from(u8::from(inside))).collect();
    let share = Smooth::new(&inside, grid.shape, sigma);
    let ratio = |&voxel: &u32| {
        let ijk = grid.ijk(voxel as usize);
        let ratio = hu.at(ijk) / share.at(ijk);
        if ratio.is_finite() { ratio } else { 0.0 }
    };
    at.par_iter().map(ratio).collect()
}

/// A Gaussian over an image, on a coarser grid.
struct Smooth {
    /// Voxels of a block along each axis.
    block: usize,
    shape: [usize; 3],
    values: Vec<f32>,
}

impl Smooth {
    /// `sigma` in voxels. Beyond the image there are zeros, which is why the coarse grid has a block more on each side.
    fn new(values: &[f32], shape: [usize; 3], sigma: f64) -> Smooth {
        let block = ((sigma / COARSE_SIGMA) as usize).max(1);
        let (coarse, mut values) = blocks(values, shape, block);
        let own = if block == 1 { 0.0 } else { (block * block - 1) as f64 / 12.0 + (block * block) as f64 / 6.0 };
        let rest = (sigma * sigma - own).sqrt() / block as f64;
        let kernel = kernel(rest);
        for axis in 0..3 {
            values = convolve(&values, coarse, axis, &kernel);
        }
        Smooth { block, shape: coarse, values }
    }

    /// The value at a voxel of the image.
    fn at(&self, ijk: [usize; 3]) -> f32 {
        let [ni, nj, _] = self.shape;
        // Block n (from 1; block 0 is beyond the image) has its centre at (n - 1) block + (block - 1) / 2.
        let middle = (self.block - 1) as f32 / 2.0;
        let place = ijk.map(|index| (index as f32 - middle) / self.block as f32 + 1.0);
        let base = place.map(|place| place as usize);
        let part = [0, 1, 2].map(|axis| place[axis] - base[axis] as f32);
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let first = base[0] + ni * (base[1] + nj * base[2]);
        let row = |from: usize| mix(self.values[from], self.values[from + 1], part[0]);
        let slice = |from: usize| mix(row(from), row(from + ni), part[1]);
        mix(slice(first), slice(first + ni * nj), part[2])
    }
}

/// Means of blocks, one empty block before the first along each axis and one or two behind the last.
fn blocks(values: &[f32], shape: [usize; 3], block: usize) -> ([usize; 3], Vec<f32>) {
    let coarse = shape.map(|side| side.div_ceil(block) + 2);
    let [ni, nj, nk] = shape;
    let mut means = vec![0.0; coarse.iter().product()];
    means.par_chunks_mut(coarse[0]).enumerate().for_each(|(row, means)| {
        let (j, k) = (row % coarse[1], row / coarse[1]);
        let of_block = |n: usize, side: usize| if n == 0 { 0..0 } else { (n - 1) * block..(n * block).min(side) };
        for k in of_block(k, nk) {
            for j in of_block(j, nj) {
                let line = &values[ni * (j + nj * k)..][..ni];
                line.chunks(block).zip(&mut means[1..]).for_each(|(part, mean)| *mean += part.iter().sum::<f32>());
            }
        }
        means.iter_mut().for_each(|mean| *mean /= (block * block * block) as f32);
    });
    (coarse, means)
}

/// The right half of a Gaussian, whose whole has the sum 1.
fn kernel(sigma: f64) -> Vec<f32> {
    let half: Vec<f64> = (0..=(REACH * sigma + 0.5) as usize).map(|n| (-0.5 * (n as f64 / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * half.iter().sum::<f64>() - half[0];
    half.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Weighted sums along one axis by a symmetric kernel given by its right half; zeros beyond the grid.
fn convolve(values: &[f32], shape: [usize; 3], axis: usize, kernel: &[f32]) -> Vec<f32> {
    let [ni, nj, nk] = shape;
    let mut result = vec![0.0; values.len()];
    result.par_chunks_mut(ni).enumerate().for_each(|(row, out)| {
        let (j, k) = (row % nj, row / nj);
        let own = &values[row * ni..][..ni];
        out.iter_mut().zip(own).for_each(|(out, value)| *out = kernel[0] * value);
        for (n, &weight) in kernel.iter().enumerate().skip(1) {
            let add = |out: &mut [f32], line: &[f32]| out.iter_mut().zip(line).for_each(|(out, value)| *out += weight * value);
            match axis {
                0 if n < ni => {
                    add(&mut out[n..], own);
                    add(out, &own[n..]);
                }
                0 => {}
                _ => {
                    let (place, side, rows) = if axis == 1 { (j, nj, 1) } else { (k, nk, nj) };
                    if place >= n {
                        add(out, &values[(row - n * rows) * ni..][..ni]);
                    }
                    if place + n < side {
                        add(out, &values[(row + n * rows) * ni..][..ni]);
                    }
                }
            }
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::super::brain::testing::block;
    use super::*;

    #[test]
    fn a_constant_stays_up_to_the_edge() {
        let brain = block([40, 40, 40], 1.0, 3, |_| 30.0);
        for sigma in [1.0, 5.0, 10.0, 20.0] {
            let smooth = smooth(&brain, sigma, brain.voxels());
            assert!(smooth.iter().all(|hu| (hu - 30.0).abs() < 1e-3), "sigma {sigma}");
        }
    }

    #[test]
    fn a_plane_is_smoothed_as_the_normal_distribution_says() {
        // 20 HU before and 60 behind the middle of a wide brain: the mean there, and 20 + 40 times the distribution's
        // value elsewhere.
        let brain = block([160, 44, 44], 1.0, 0, |[i, ..]| if i < 80 { 20.0 } else { 60.0 });
        let below = [0.5, 0.5 * (1.0 + 0.682_689_5), 0.5 * (1.0 - 0.682_689_5)];
        for sigma in [5.0, 10.0] {
            let places: [f64; 3] = [79.5, 79.5 + sigma, 79.5 - sigma];
            for (place, share) in places.into_iter().zip(below) {
                let ends = [place.floor(), place.floor() + 1.0].map(|i| brain.grid().index([i as usize, 22, 22]) as u32);
                let got = smooth(&brain, sigma, &ends).iter().sum::<f32>() / 2.0;
                let expected = 20.0 + 40.0 * share;
                assert!((f64::from(got) - expected).abs() < 0.25, "sigma {sigma} at {place}: {got} for {expected}");
            }
        }
    }
}
