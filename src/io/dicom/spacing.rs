//! Unequal distances between slices, made equal by resampling.

use super::error::DicomError;
use super::stack::Stack;
use crate::io::nifti::MAX_VOXELS;
use rayon::prelude::*;

/// Slices that lie so many millimetres off a regular grid, or gaps that differ so much from the first, are not regular.
const OFF_MM: f64 = 0.2;

/// What was done about unequal distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    /// The smallest gap between two slices, in mm.
    pub smallest: f64,
    /// The largest gap, in mm.
    pub largest: f64,
    /// Number of slices before.
    pub slices: usize,
}

/// The regular distance of a stack's slices in mm; where there is none, the stack is resampled, linear between slices.
///
/// The new distance is the smallest gap d. There are as many slices n as lie nearest to the old length L: n = round(L / d) + 1. Where that were more than twice as many as
/// before, there are twice as many, L / (n - 1) apart.
///
/// # Errors
/// [`DicomError::Volume`] where the volume would be too large.
pub fn regularise(stack: &mut Stack) -> Result<(f64, Option<Spacing>), DicomError> {
    let slices = stack.distance.len();
    let length = stack.distance[slices - 1];
    let mean = length / (slices - 1) as f64;
    let gaps: Vec<f64> = stack.distance.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let off = stack.distance.iter().enumerate().any(|(n, distance)| (distance - n as f64 * mean).abs() > OFF_MM);
    if !off && gaps.iter().all(|gap| (gap - gaps[0]).abs() <= OFF_MM) {
        return Ok((mean, None));
    }
    let smallest = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = gaps.iter().copied().fold(0.0, f64::max);
    let (mut spacing, mut count) = (smallest, (length / smallest).round() as usize + 1);
    if count > 2 * slices {
        count = 2 * slices;
        spacing = length / (count - 1) as f64;
    }
    if stack.slice_len() as u64 * count as u64 > MAX_VOXELS {
        return Err(DicomError::Volume(stack.side[0], stack.side[1], count));
    }
    resample(stack, spacing, count);
    Ok((spacing, Some(Spacing { smallest, largest, slices })))
}

/// Puts `count` slices `spacing` apart, the first where it was; beyond the last old slice that one goes on.
fn resample(stack: &mut Stack, spacing: f64, count: usize) {
    let len = stack.slice_len();
    let (old, distance) = (&stack.hu, &stack.distance);
    let mut hu = vec![0.0; len * count];
    hu.par_chunks_mut(len).enumerate().for_each(|(n, slice)| {
        let at = n as f64 * spacing;
        let above = distance.partition_point(|&distance| distance < at).min(distance.len() - 1);
        let below = above.saturating_sub(1);
        let (low, high) = (&old[below * len..][..len], &old[above * len..][..len]);
        let part = if above == below || at >= distance[above] {
            1.0
        } else {
            (at - distance[below]) / (distance[above] - distance[below])
        };
        let part = part as f32;
        for (hu, (low, high)) in slice.iter_mut().zip(low.iter().zip(high)) {
            *hu = low + (high - low) * part;
        }
    });
    stack.hu = hu;
    stack.distance = (0..count).map(|n| n as f64 * spacing).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dicom::stack::testing::stack;

    /// The distance and the HU of slices of one voxel, whose HU are ten times their place.
    fn regular(distance: &[f64]) -> (f64, Option<Spacing>, Vec<f32>) {
        let mut stack = stack(distance, [1, 1], distance.iter().map(|&mm| 10.0 * mm as f32).collect());
        let (mm, spacing) = regularise(&mut stack).unwrap();
        assert_eq!(stack.distance.len(), stack.hu.len());
        (mm, spacing, stack.hu)
    }

    #[test]
    fn slices_that_are_nearly_regular_stay() {
        assert_eq!(regular(&[0.0, 5.0, 10.0]), (5.0, None, vec![0.0, 50.0, 100.0]));
        // 0.1875 mm off, and gaps that differ by less than 0.2 mm.
        assert_eq!(regular(&[0.0, 5.09375, 10.0]).1, None);
        assert!(regular(&[0.0, 5.25, 10.0]).1.is_some());
        // Each gap is like the one before it, and the slices in the middle are far off.
        assert!(regular(&[0.0, 5.0, 10.0, 15.15, 20.3, 25.45, 30.6]).1.is_some());
    }

    #[test]
    fn unequal_slices_are_resampled_at_the_smallest_gap() {
        let spacing = Spacing { smallest: 2.0, largest: 4.0, slices: 4 };
        let (mm, found, hu) = regular(&[0.0, 2.0, 4.0, 8.0]);
        assert_eq!((mm, found, hu), (2.0, Some(spacing), vec![0.0, 20.0, 40.0, 60.0, 80.0]));
        // Beyond the last slice that one goes on.
        assert_eq!(regular(&[0.0, 2.0, 5.0]).2, [0.0, 20.0, 40.0, 50.0]);
        // No more than twice as many slices as before: 3 + 3, 20 mm in five parts.
        let (mm, _, hu) = regular(&[0.0, 1.0, 20.0]);
        assert_eq!((mm, hu), (4.0, vec![0.0, 40.0, 80.0, 120.0, 160.0, 200.0]));
        // Just as many are at the smallest gap still.
        assert_eq!(regular(&[0.0, 4.0, 20.0]).0, 4.0);
    }
}
