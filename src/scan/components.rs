//! The connected components of a hemorrhage: how large each is, and where.

use crate::volume::morphology::{Connectivity, Pieces};
use crate::volume::{Affine, Volume};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A component is on both sides when at least this share of it lies on each.
const BOTH_SIDES: f64 = 0.1;

/// The patient's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
    /// At least a tenth of the volume on either side of the midline.
    Both,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Side::Left => "left",
            Side::Right => "right",
            Side::Both => "both sides",
        })
    }
}

/// One component: voxels that are connected over faces, edges or corners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Number of voxels in the scan's grid.
    pub voxels: usize,
    /// Volume in mL.
    pub volume_ml: f64,
    /// The patient's side.
    pub side: Side,
    /// Mean place of its voxels in the scan's world, RAS mm, to a tenth.
    pub centroid_mm: [f64; 3],
    /// The same in the template's world; absent for a network that works in the scan's own space.
    pub template_mm: Option<[f64; 3]>,
    /// The share of it that a second method sees too, if only faintly; absent where none was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<f64>,
}

/// The components of `mask`, the largest first, of equal ones that with the first voxel.
///
/// Left and right are told by x in the template's world (`scan_to_template`), or in the scan's where there is none; `midline` is the x between them.
///
/// `second` is what a second method sees, on the same grid, by which each component is [`Component::seen`].
pub fn find(
    mask: &Volume<bool>,
    scan_to_template: Option<&Affine>,
    midline: f64,
    second: Option<&Volume<bool>>,
) -> Vec<Component> {
    let grid = mask.grid();
    let to_head = scan_to_template.unwrap_or(&Affine::IDENTITY).after(&grid.affine);
    let pieces = Pieces::connected(mask.voxels(), grid.shape, true, Connectivity::Corners);
    // Sums of the voxels' indices are whole numbers, so the result does not depend on an order.
    let mut sums = vec![[0_u64; 3]; pieces.sizes.len()];
    let mut left = vec![0_usize; pieces.sizes.len()];
    let mut seen = vec![0_usize; pieces.sizes.len()];
    for (start, length, piece) in pieces.runs() {
        let [i, j, k] = grid.ijk(start);
        sums[piece][0] += (i..i + length).map(|i| i as u64).sum::<u64>();
        sums[piece][1] += (j * length) as u64;
        sums[piece][2] += (k * length) as u64;
        let x = |i: usize| to_head.apply([i, j, k].map(|index| index as f64))[0];
        left[piece] += (i..i + length).filter(|&i| x(i) < midline).count();
        seen[piece] += second.map_or(0, |second| second.voxels()[start..start + length].iter().filter(|&&seen| seen).count());
    }
    let describe = |piece: usize| {
        let voxels = pieces.sizes[piece];
        let mean = sums[piece].map(|sum| sum as f64 / voxels as f64);
        let share = left[piece] as f64 / voxels as f64;
        Component {
            voxels,
            volume_ml: voxels as f64 * grid.voxel_mm3() / 1000.0,
            side: match share {
                _ if share > 1.0 - BOTH_SIDES => Side::Left,
                _ if share < BOTH_SIDES => Side::Right,
                _ => Side::Both,
            },
            centroid_mm: tenths(grid.affine.apply(mean)),
            template_mm: scan_to_template.map(|_| tenths(to_head.apply(mean))),
            seen: second.map(|_| seen[piece] as f64 / voxels as f64),
        }
    };
    let mut components: Vec<Component> = (0..pieces.sizes.len()).map(describe).collect();
    components.sort_by_key(|component| std::cmp::Reverse(component.voxels));
    components
}

fn tenths(mm: [f64; 3]) -> [f64; 3] {
    // Adding 0 makes a negative zero a zero.
    mm.map(|x| (x * 10.0).round() / 10.0 + 0.0)
}

/// Mean x in RAS mm of the voxels of a brain: its midline.
pub fn midline<T>(brain: &Volume<T>, inside: impl Fn(&T) -> bool) -> f64 {
    let (mut sums, mut count) = ([0_u64; 3], 0_u64);
    for (index, _) in brain.voxels().iter().enumerate().filter(|(_, value)| inside(value)) {
        let at = brain.grid().ijk(index);
        (0..3).for_each(|axis| sums[axis] += at[axis] as u64);
        count += 1;
    }
    brain.grid().affine.apply(sums.map(|sum| sum as f64 / count.max(1) as f64))[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::template;
    use crate::volume::orientation;
    use crate::volume::testing::{mask, signed_permutations};
    use crate::volume::{Grid, Orientation, Volume};

    #[test]
    fn components_meet_at_corners_and_the_largest_is_first() {
        // Voxels of 2 x 3 x 5 mm. One voxel at the left; two that meet at a corner further right.
        let bleed = mask([8, 4, 4], |at| [[0, 0, 0], [4, 1, 1], [5, 2, 2]].contains(&at));
        let found = find(&bleed, None, 7.0, None);
        assert_eq!(found.iter().map(|c| (c.voxels, c.side)).collect::<Vec<_>>(), [(2, Side::Right), (1, Side::Left)]);
        assert_eq!((found[0].volume_ml, found[0].centroid_mm), (0.06, [9.0, 4.5, 7.5]));
        assert_eq!((found[1].centroid_mm, found[1].template_mm), ([0.0; 3], None));
        assert!(find(&mask([2, 2, 2], |_| false), None, 0.0, None).is_empty());
    }

    #[test]
    fn each_component_is_seen_by_its_share() {
        let bleed = mask([9, 4, 4], |[i, j, k]| j == 1 && k == 1 && (i < 4 || i == 6));
        let second = mask([9, 4, 4], |[i, ..]| i == 0);
        let seen: Vec<Option<f64>> = find(&bleed, None, 0.0, Some(&second)).iter().map(|component| component.seen).collect();
        assert_eq!(seen, [Some(0.25), Some(0.0)]);
        assert_eq!(find(&bleed, None, 0.0, None)[0].seen, None);
    }

    #[test]
    fn a_component_across_the_midline_is_on_both_sides() {
        let row = |length: usize| find(&mask([40, 1, 1], |[i, _, _]| i < length), None, 20.0, None)[0].side;
        // Ten voxels lie left of 20 mm.
        assert_eq!([row(10), row(11), row(12), row(40)], [Side::Left, Side::Left, Side::Both, Side::Both]);
    }

    #[test]
    fn the_left_is_left_and_the_place_the_same_for_every_order_of_axes() {
        // Left of the middle, in front and at the top, on a RAS grid; the template lies 100 mm to the patient's left of the scan.
        let bleed = mask([9, 7, 5], |[i, j, k]| i < 2 && j > 4 && k > 3);
        let shift = Affine::new(Affine::IDENTITY.matrix(), [-100.0, 0.0, 0.0]);
        let expected = find(&bleed, Some(&shift), -92.0, None);
        assert_eq!((expected[0].side, expected[0].template_mm), (Side::Left, Some([-99.0, 16.5, 20.0])));
        for Orientation { axis, flipped } in signed_permutations() {
            let mut to_ras = Affine::new([[0.0; 3]; 3], [0.0; 3]);
            let mut shape = [0; 3];
            for voxel in 0..3 {
                let side = bleed.grid().shape[axis[voxel]];
                shape[voxel] = side;
                to_ras.rows[axis[voxel]][voxel] = if flipped[voxel] { -1.0 } else { 1.0 };
                to_ras.rows[axis[voxel]][3] = if flipped[voxel] { side as f64 - 1.0 } else { 0.0 };
            }
            let own = Grid { shape, affine: bleed.grid().affine.after(&to_ras) };
            let turned: Volume<bool> = orientation::from_ras(&bleed, &own);
            assert_eq!(find(&turned, Some(&shift), -92.0, None), expected);
        }
    }

    #[test]
    fn the_midline_of_the_template_lies_between_its_halves() {
        assert!((midline(&template::built_in(), |&hu| hu > 0.0) - 5.25).abs() < 1e-9);
    }
}
