//! The noise of a CT image: its texture and its strength.

use crate::random::stream::Random;
use rayon::prelude::*;

/// Noise of deviation 1 on `shape` voxels (i fastest) whose in-plane spacing is `spacing` mm, for a slice thickness of `slices` slice distances.
///
/// Filtered backprojection multiplies white noise by a ramp and the kernel's low pass, so that its power is low at low frequencies and falls off at high ones (Riederer,
/// Pelc and Chesler, Phys Med Biol 23:446, 1978). A difference of two Gaussians has that form. Slices that overlap share noise.
pub fn texture(seed: u64, stream: u64, shape: [usize; 3], spacing: [f64; 2], slices: f64) -> Vec<f32> {
    let [ni, nj, nk] = shape;
    let kernels = spacing.map(|s| {
        let s = s as f32;
        [kernel(0.55 / s), kernel(1.5 / s)]
    });
    let gain = gain(&kernels);
    let window = (slices.round() as usize).clamp(1, 8);
    let planes: Vec<Vec<f32>> =
        (0..nk + window - 1).into_par_iter().map(|k| plane(seed, stream + k as u64, [ni, nj], &kernels, gain)).collect();
    let mut noise = vec![0.0; ni * nj * nk];
    let weight = 1.0 / (window as f32).sqrt();
    noise.par_chunks_mut((ni * nj).max(1)).enumerate().for_each(|(k, slice)| {
        for plane in &planes[k..k + window] {
            slice.iter_mut().zip(plane).for_each(|(to, from)| *to += weight * from);
        }
    });
    noise
}

/// How much of the wide Gaussian is taken off the narrow one: most of the lowest frequencies.
const WIDE: f32 = 0.75;

/// Half of a Gaussian of a deviation in voxels, from its middle outward, sum 1.
fn kernel(deviation: f32) -> Vec<f32> {
    let deviation = deviation.max(0.05);
    let reach = (3.0 * deviation).ceil().min(40.0) as usize;
    let mut half: Vec<f32> = (0..=reach).map(|n| (-0.5 * (n as f32 / deviation).powi(2)).exp()).collect();
    let sum = 2.0 * half.iter().sum::<f32>() - half[0];
    half.iter_mut().for_each(|x| *x /= sum);
    half
}

/// What makes the filtered noise's deviation 1: filters are sums, so the variance is the sum of the squared weights.
fn gain(kernels: &[[Vec<f32>; 2]; 2]) -> f32 {
    let product = |a: &[f32], b: &[f32]| 2.0 * a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>() - a[0] * b[0];
    let both = |a: usize, b: usize| product(&kernels[0][a], &kernels[0][b]) * product(&kernels[1][a], &kernels[1][b]);
    let variance = both(0, 0) - 2.0 * WIDE * both(0, 1) + WIDE * WIDE * both(1, 1);
    1.0 / variance.max(1e-6).sqrt()
}

/// One slice of noise.
fn plane(seed: u64, stream: u64, [ni, nj]: [usize; 2], kernels: &[[Vec<f32>; 2]; 2], gain: f32) -> Vec<f32> {
    let mut random = Random::new(seed, stream);
    let mut white = vec![0.0; ni * nj];
    for pair in white.chunks_mut(2) {
        let normals = random.normals();
        pair.iter_mut().zip(normals).for_each(|(to, from)| *to = from);
    }
    let smooth = |which: usize| smooth(&white, [ni, nj], [&kernels[0][which], &kernels[1][which]]);
    let (mut narrow, wide) = (smooth(0), smooth(1));
    narrow.iter_mut().zip(&wide).for_each(|(a, b)| *a = gain * (*a - WIDE * b));
    narrow
}

/// A slice by a symmetric kernel along each of its axes, periodically.
fn smooth(slice: &[f32], [ni, nj]: [usize; 2], [along_i, along_j]: [&[f32]; 2]) -> Vec<f32> {
    let mut rows = vec![0.0; ni * nj];
    for (row, from) in rows.chunks_mut(ni.max(1)).zip(slice.chunks(ni.max(1))) {
        convolve(row, from, along_i);
    }
    let mut out = vec![0.0; ni * nj];
    for (j, row) in out.chunks_mut(ni.max(1)).enumerate() {
        let mut add = |from: usize, weight: f32| {
            row.iter_mut().zip(&rows[ni * from..]).for_each(|(to, from)| *to += weight * from);
        };
        add(j, along_j[0]);
        for (n, &weight) in along_j.iter().enumerate().skip(1) {
            add((j + n) % nj, weight);
            add((j + nj * n.div_ceil(nj) - n) % nj, weight);
        }
    }
    out
}

/// A slice as a scanner of limited resolution shows it: spread by a Gaussian of a deviation in mm.
pub fn blurred(slice: &[f32], shape: [usize; 2], spacing: [f32; 2], deviation_mm: f32) -> Vec<f32> {
    let [along_i, along_j] = spacing.map(|s| kernel(deviation_mm / s));
    smooth(slice, shape, [&along_i, &along_j])
}

/// One row by a symmetric kernel, periodically.
fn convolve(to: &mut [f32], from: &[f32], half: &[f32]) {
    let n = from.len();
    let reach = half.len() - 1;
    let mut padded = Vec::with_capacity(n + 2 * reach);
    padded.extend((0..n + 2 * reach).map(|i| from[(i + n * reach.div_ceil(n.max(1)) - reach) % n]));
    to.iter_mut().enumerate().for_each(|(i, to)| *to = half[0] * padded[i + reach]);
    for (d, &weight) in half.iter().enumerate().skip(1) {
        let (before, after) = (&padded[reach - d..], &padded[reach + d..]);
        to.iter_mut().zip(before.iter().zip(after)).for_each(|(to, (a, b))| *to += weight * (a + b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(values: impl Iterator<Item = f32> + Clone) -> f32 {
        let count = values.clone().count() as f32;
        let mean = values.clone().sum::<f32>() / count;
        (values.map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt()
    }

    #[test]
    fn deviation_is_1_at_any_spacing() {
        for (spacing, slices) in [([0.45, 0.45], 1.0), ([1.5, 1.5], 3.0), ([0.3, 0.9], 1.0)] {
            let noise = texture(4, 100, [120, 110, 4], spacing, slices);
            let found = deviation(noise.iter().copied());
            assert!((found - 1.0).abs() < 0.04, "{found} at {spacing:?}");
        }
    }

    #[test]
    fn power_is_low_at_the_lowest_frequencies() {
        // Means over 16 x 16 voxels of white noise would have a deviation of 1/16.
        let noise = texture(4, 100, [256, 256, 1], [0.45, 0.45], 1.0);
        let means: Vec<f32> = (0..256)
            .map(|n| {
                let (bi, bj) = (n % 16 * 16, n / 16 * 16);
                (0..256).map(|m| noise[bi + m % 16 + 256 * (bj + m / 16)]).sum::<f32>() / 256.0
            })
            .collect();
        // And neighbours are alike, which white noise's are not.
        let alike = noise.windows(2).map(|pair| pair[0] * pair[1]).sum::<f32>() / noise.len() as f32;
        assert!(alike > 0.4, "{alike}");
        // Noise as alike but without the ramp has 4 pi (0.55 / 0.45)^2 = 19 times the power of white noise there; this has a fraction of that.
        let found = deviation(means.into_iter());
        assert!(found < 0.6 * 19f32.sqrt() / 16.0, "{found}");
    }

    #[test]
    fn a_blur_spreads_a_point_by_its_deviation_in_mm_and_keeps_what_is_even() {
        let (shape, spacing) = ([64, 48], [0.5, 0.8]);
        let mut point = vec![0.0; 64 * 48];
        point[32 + 64 * 24] = 1.0;
        let spread = blurred(&point, shape, spacing, 1.1);
        let total: f32 = spread.iter().sum();
        assert!((total - 1.0).abs() < 1e-4, "{total}");
        for axis in 0..2 {
            let from = |n: usize| ([n % 64, n / 64][axis] as f32 - [32.0, 24.0][axis]) * spacing[axis];
            // No part of a voxel off: labels are not blurred.
            let mean: f32 = spread.iter().enumerate().map(|(n, value)| value * from(n)).sum();
            assert!(mean.abs() < 1e-3, "moved by {mean} mm along axis {axis}");
            let variance: f32 = spread.iter().enumerate().map(|(n, value)| value * from(n).powi(2)).sum();
            assert!((variance.sqrt() - 1.1).abs() < 0.03, "{} along axis {axis}", variance.sqrt());
        }
        assert!(blurred(&[37.0; 64 * 48], shape, spacing, 1.1).iter().all(|hu| (hu - 37.0).abs() < 1e-3));
    }

    #[test]
    fn slices_that_overlap_share_noise() {
        let plane = 64 * 64;
        let correlation = |noise: &[f32]| (0..plane).map(|n| noise[n] * noise[n + plane]).sum::<f32>() / plane as f32;
        assert!(correlation(&texture(9, 0, [64, 64, 2], [0.5, 0.5], 1.0)).abs() < 0.1);
        let overlapping = correlation(&texture(9, 0, [64, 64, 2], [0.5, 0.5], 3.0));
        assert!((overlapping - 0.667).abs() < 0.1, "{overlapping}");
    }
}
