//! What can be done to a mask after the network: smoothing, filling of holes, leaving out small components. Nothing, unless asked for: the
//! DeepBleed paper takes the thresholded output as it is.

use crate::volume::Volume;
use crate::volume::morphology::{Connectivity, Pieces, fill_holes};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What is done, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Postprocessing {
    /// Smooth the surface: a Gaussian of this sigma in mm over the mask's 0 and 1, cut at one half.
    pub smooth_mm: Option<f64>,
    /// Fill what the mask encloses.
    pub fill_holes: bool,
    /// Leave out components (connected over faces, edges or corners) of less than this many mL.
    pub min_component_ml: Option<f64>,
}

impl Postprocessing {
    /// Does it to a mask; nothing is added outside `within`.
    pub fn apply(&self, mask: &mut Volume<bool>, within: Option<&Volume<bool>>) {
        if self.smooth_mm.is_none() && !self.fill_holes && self.min_component_ml.is_none() {
            return;
        }
        let shape = mask.grid().shape;
        if let Some(sigma) = self.smooth_mm {
            smooth(mask, sigma);
        }
        if self.fill_holes {
            fill_holes(mask.voxels_mut(), shape);
        }
        if let Some(within) = within {
            mask.voxels_mut().par_iter_mut().zip(within.voxels()).for_each(|(inside, allowed)| *inside &= allowed);
        }
        if let Some(least) = self.min_component_ml {
            let voxel_ml = mask.grid().voxel_mm3() / 1000.0;
            let pieces = Pieces::connected(mask.voxels(), shape, true, Connectivity::Corners);
            // A hair less, so that a component of exactly the volume stays however it was rounded.
            let small = |piece: usize| (pieces.sizes[piece] as f64) * voxel_ml < least * (1.0 - 1e-9);
            pieces.paint(mask.voxels_mut(), false, small);
        }
    }
}

/// A Gaussian of `sigma` mm over 0 and 1, cut at one half. Beyond the grid there is nothing: the kernel's inner part weighs all.
fn smooth(mask: &mut Volume<bool>, sigma: f64) {
    let grid = mask.grid().clone();
    let mut values: Vec<f32> = mask.voxels().iter().map(|&inside| f32::from(u8::from(inside))).collect();
    let Some([low, high]) = occupied_slices(mask) else { return };
    for (axis, spacing) in grid.spacing().into_iter().enumerate() {
        let reach = (3.0 * sigma / spacing).min(grid.shape[axis] as f64) as usize;
        let kernel: Vec<f32> = (0..=reach).map(|n| (-0.5 * (n as f64 * spacing / sigma).powi(2)).exp() as f32).collect();
        values = convolve(&values, grid.shape, axis, &kernel, [low.saturating_sub(reach), high + reach]);
    }
    mask.voxels_mut().par_iter_mut().zip(values).for_each(|(inside, value)| *inside = value > 0.5);
}

/// First and last k of a mask.
fn occupied_slices(mask: &Volume<bool>) -> Option<[usize; 2]> {
    let slice = (mask.grid().shape[0] * mask.grid().shape[1]).max(1);
    let place = |found: Option<usize>| found.map(|index| index / slice);
    let low = place(mask.voxels().iter().position(|&inside| inside))?;
    let high = place(mask.voxels().iter().rposition(|&inside| inside))?;
    Some([low, high])
}

/// Weighted means along one axis by a symmetric kernel given by its right half; slices outside of `slices` are empty.
fn convolve(values: &[f32], shape: [usize; 3], axis: usize, kernel: &[f32], slices: [usize; 2]) -> Vec<f32> {
    let stride = [1, shape[0], shape[0] * shape[1]][axis];
    let mut result = vec![0.0; values.len()];
    result.par_chunks_mut(shape[0]).enumerate().for_each(|(row, line)| {
        let (j, k) = (row % shape[1], row / shape[1]);
        if k < slices[0] || k > slices[1] {
            return;
        }
        for (i, out) in line.iter_mut().enumerate() {
            let (index, place) = (row * shape[0] + i, [i, j, k][axis]);
            let (mut sum, mut weights) = (kernel[0] * values[index], kernel[0]);
            for (n, &weight) in kernel.iter().enumerate().skip(1) {
                if place >= n {
                    sum += weight * values[index - n * stride];
                    weights += weight;
                }
                if place + n < shape[axis] {
                    sum += weight * values[index + n * stride];
                    weights += weight;
                }
            }
            *out = sum / weights;
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;

    fn count(mask: &Volume<bool>) -> usize {
        mask.voxels().iter().filter(|&&inside| inside).count()
    }

    #[test]
    fn nothing_is_done_unless_asked_for() {
        let ragged = mask([7, 7, 7], |[i, j, k]| (i * j + k) % 3 == 0);
        let mut after = ragged.clone();
        Postprocessing::default().apply(&mut after, Some(&mask([7, 7, 7], |_| false)));
        assert_eq!(after, ragged);
    }

    #[test]
    fn components_below_the_volume_are_left_out_and_one_of_just_the_volume_stays() {
        // 30 mm3 a voxel: components of 1, 2 (meeting at a corner) and 3 voxels.
        let three = mask([9, 5, 5], |at| {
            at == [0, 0, 0] || at == [3, 0, 0] || at == [4, 1, 1] || (at[0] > 5 && at[1] == 4 && at[2] == 4)
        });
        for (least, left) in [(0.03, 6), (0.031, 5), (0.06, 5), (0.061, 3), (0.09, 3), (1.0, 0)] {
            let mut after = three.clone();
            Postprocessing { min_component_ml: Some(least), ..Postprocessing::default() }.apply(&mut after, None);
            assert_eq!(count(&after), left, "{least} mL");
        }
    }

    #[test]
    fn holes_are_filled_inside_the_brain_only() {
        let shell = mask([7, 7, 7], |at| at.iter().all(|x| (1..6).contains(x)) && at.iter().any(|x| *x == 1 || *x == 5));
        let fill = Postprocessing { fill_holes: true, ..Postprocessing::default() };
        let mut after = shell.clone();
        fill.apply(&mut after, None);
        assert_eq!(count(&after), 125);
        let mut after = shell.clone();
        let brain = mask([7, 7, 7], |at| at != [3, 3, 3]);
        fill.apply(&mut after, Some(&brain));
        assert_eq!(count(&after), 124);
    }

    #[test]
    fn smoothing_removes_a_spur_fills_a_dent_and_keeps_a_plane() {
        let smooth = |mut mask: Volume<bool>| {
            Postprocessing { smooth_mm: Some(5.0), ..Postprocessing::default() }.apply(&mut mask, None);
            mask
        };
        let half = mask([20, 20, 12], |[i, _, _]| i < 10);
        assert!(smooth(half.clone()) == half, "a plane stays, up to the grid's edge");
        let spur = mask([20, 20, 12], |[i, j, k]| i < 10 || (i < 14 && j == 9 && k == 6));
        assert!(smooth(spur) == half, "the spur is gone");
        let dent = mask([20, 20, 12], |[i, j, k]| i < 10 && !(i > 7 && j == 9 && k == 6));
        assert!(smooth(dent) == half, "the dent is filled");
    }
}
