//! Gantry tilt: slices that are moved against each other within their plane, made to lie behind one another by shearing.

use super::error::DicomError;
use super::stack::Stack;
use crate::io::nifti::MAX_VOXELS;
use crate::volume::Affine;
use rayon::prelude::*;

/// Movements smaller than this part of a pixel are left: the positions in the files are rounded.
const LEAST_PIXELS: f64 = 0.1;

/// What was done about a tilt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tilt {
    /// Angle in degrees between the way from the first to the last slice and the slices' normal.
    pub degrees: f64,
    /// Columns and rows that were added to have room for all slices.
    pub added: [usize; 2],
}

/// Moves every slice of `stack` to where it lies, linear between two pixels, and makes room for it. The rest is padding, and a value between a pixel and padding is
/// that of the nearer one. `None` where no slice is moved.
///
/// # Errors
/// [`DicomError::Volume`] where the slices lie so far apart that the volume would be too large.
pub fn correct(stack: &mut Stack) -> Result<Option<Tilt>, DicomError> {
    let moved = std::mem::take(&mut stack.moved);
    let last = stack.distance.len() - 1;
    let degrees = (moved[last][0].hypot(moved[last][1])).atan2(stack.distance[last]).to_degrees();
    let mut added = [0; 2];
    for axis in [1, 0] {
        let pixels: Vec<f64> = moved.iter().map(|moved| moved[axis] / stack.spacing[axis]).collect();
        let least = pixels.iter().copied().fold(f64::INFINITY, f64::min);
        let most = pixels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most - least > LEAST_PIXELS {
            added[axis] = (most - least).ceil() as usize;
            let offsets: Vec<f64> = pixels.iter().map(|pixel| pixel - least).collect();
            shear(stack, axis, added[axis], &offsets)?;
            // The first voxel now lies before that of the first slice by as much as that one was moved.
            let mut back = [0.0; 3];
            back[axis] = least;
            stack.affine = stack.affine.after(&Affine::new(Affine::IDENTITY.matrix(), back));
        }
    }
    Ok((added != [0; 2]).then_some(Tilt { degrees, added }))
}

/// Moves slice k by `offsets[k]` pixels along columns (axis 0) or rows (axis 1), in slices that are `added` pixels longer.
fn shear(stack: &mut Stack, axis: usize, added: usize, offsets: &[f64]) -> Result<(), DicomError> {
    let old = stack.side;
    let mut side = old;
    side[axis] = old[axis].saturating_add(added);
    let voxels = (side[0] as u64).saturating_mul(side[1] as u64).saturating_mul(offsets.len() as u64);
    if voxels > MAX_VOXELS {
        return Err(DicomError::Volume(side[0], side[1], offsets.len()));
    }
    let padding = if stack.padding.is_finite() { stack.padding } else { 0.0 };
    let mut hu = vec![padding; voxels as usize];
    let limit = stack.padding;
    let (from, step) = (&stack.hu, [1, old[0]][axis]);
    hu.par_chunks_mut(side[0] * side[1]).zip(from.par_chunks(old[0] * old[1])).zip(offsets).for_each(|((to, from), &offset)| {
        for (n, hu) in to.iter_mut().enumerate() {
            let mut place = [n % side[0], n / side[0]];
            let at = place[axis] as f64 - offset;
            if at < 0.0 || at > (old[axis] - 1) as f64 {
                continue;
            }
            let below = at as usize;
            let part = (at - below as f64) as f32;
            place[axis] = below;
            let low = from[place[0] + old[0] * place[1]];
            // On the last pixel there is no next one, and no part of it.
            let high = if part > 0.0 { from[place[0] + old[0] * place[1] + step] } else { low };
            *hu = match () {
                _ if low > limit && high > limit => low + (high - low) * part,
                _ if part >= 0.5 => high,
                _ => low,
            };
        }
    });
    stack.hu = hu;
    stack.side = side;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dicom::stack::testing::stack;

    /// Two rows of three columns, the second slice moved by these mm along the rows.
    fn moved(mm: f64, padding: f32) -> (Option<Tilt>, Stack) {
        let slice = [100.0, 200.0, 300.0, 400.0, 500.0, 600.0];
        let mut stack = stack(&[0.0, 5.0], [3, 2], [slice, slice].concat());
        (stack.moved[1], stack.padding) = ([mm, 0.0], padding);
        (correct(&mut stack).unwrap(), stack)
    }

    #[test]
    fn slices_are_moved_to_where_they_lie() {
        // One pixel of 0.5 mm.
        let (tilt, stack) = moved(0.5, -1024.0);
        let tilt = tilt.unwrap();
        assert!(tilt.added == [1, 0] && (tilt.degrees - 0.1_f64.atan().to_degrees()).abs() < 1e-9, "{tilt:?}");
        const P: f32 = -1024.0;
        assert_eq!(stack.side, [4, 2]);
        assert_eq!(stack.hu[..8], [100.0, 200.0, 300.0, P, 400.0, 500.0, 600.0, P]);
        assert_eq!(stack.hu[8..], [P, 100.0, 200.0, 300.0, P, 400.0, 500.0, 600.0]);
        assert_eq!(stack.affine, Affine::IDENTITY);
        // The other way, the first voxel lies before that of the first slice.
        let (_, back) = moved(-0.5, -1024.0);
        assert_eq!(back.hu[..8], stack.hu[8..]);
        assert_eq!(back.affine.apply([1.0, 0.0, 0.0]), [0.0; 3]);
        // Where no padding is known the rest is 0.
        assert_eq!(moved(0.5, f32::NEG_INFINITY).1.hu[3], 0.0);
    }

    #[test]
    fn between_two_pixels_values_are_linear_but_beside_padding() {
        // A quarter of a pixel: what lies between two is three quarters of the one before.
        let (_, stack) = moved(0.375, -1024.0);
        assert_eq!(stack.hu[8..12], [-1024.0, 125.0, 225.0, -1024.0]);
        // Up to 100 all is padding: the nearer value counts, of two the next one.
        let (_, stack) = moved(0.375, 100.0);
        assert_eq!(stack.hu[8..12], [100.0, 100.0, 225.0, 100.0]);
        let (_, stack) = moved(0.25, 100.0);
        assert_eq!(stack.hu[8..12], [100.0, 200.0, 250.0, 100.0]);
    }

    #[test]
    fn a_tenth_of_a_pixel_is_left() {
        assert!(moved(0.05, -1024.0).0.is_none() && moved(0.051, -1024.0).0.is_some() && moved(-0.051, -1024.0).0.is_some());
    }
}
