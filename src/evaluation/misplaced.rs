//! Masks that hardly overlap and would if one of them were mirrored or moved: mostly a header that says the wrong
//! orientation.

use crate::volume::{Affine, Grid, Orientation, Volume};

/// Masks whose Dice is lower are looked at.
const HARDLY: f64 = 0.1;
/// A mirrored mask whose Dice is above this is told of. Blood on the other side of the head that was found by mistake
/// has hardly ever the same place and shape.
const MIRRORED: f64 = 0.5;
/// The same of a moved one, which fits better, for its place says nothing.
const MOVED: f64 = 0.9;

/// A sentence about masks that would overlap otherwise; `None` for masks that overlap, of which one is empty, or that
/// are not alike.
pub fn remark([automated, manual]: &[Volume<bool>; 2], dice: f64) -> Option<String> {
    let grid = manual.grid();
    let (found, real) = (places(automated), places(manual));
    if dice >= HARDLY || found.is_empty() || real.is_empty() {
        return None;
    }
    let inside = |place: [isize; 3]| {
        (0..3).all(|axis| (0..grid.shape[axis] as isize).contains(&place[axis])) && *manual.at(place.map(|at| at as usize))
    };
    let dice_of = |map: &dyn Fn([isize; 3]) -> [isize; 3]| {
        let both = found.iter().filter(|&&place| inside(map(place))).count();
        2.0 * both as f64 / (found.len() + real.len()) as f64
    };
    let mirrored = (1..8_usize).map(|sides| {
        let end = grid.shape.map(|side| side as isize - 1);
        let mirror = |place: [isize; 3]| {
            std::array::from_fn(|axis| if sides >> axis & 1 == 1 { end[axis] - place[axis] } else { place[axis] })
        };
        (sides, dice_of(&mirror))
    });
    // The fewest sides win a tie.
    let (sides, best) = mirrored.rev().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let says = "one of them is stored the other way round, or its header says so";
    if best > MIRRORED {
        return Some(format!(
            "its masks hardly overlap (Dice {dice:.2}), but mirrored {} they would (Dice {best:.2}): {says}",
            directions(grid, sides)
        ));
    }
    let (from, to) = (middle(&found), middle(&real));
    let step: [isize; 3] = std::array::from_fn(|axis| (to[axis] - from[axis]).round() as isize);
    let moved = dice_of(&|place| std::array::from_fn(|axis| place[axis] + step[axis]));
    let way = Affine::new(grid.affine.matrix(), [0.0; 3]).apply(step.map(|n| n as f64));
    let mm = way.into_iter().map(|mm| mm * mm).sum::<f64>().sqrt();
    (moved > MOVED).then(|| {
        format!("its masks hardly overlap (Dice {dice:.2}), but moved by {mm:.1} mm they would (Dice {moved:.2}): their headers may differ")
    })
}

fn places(mask: &Volume<bool>) -> Vec<[isize; 3]> {
    let inside = mask.voxels().iter().enumerate().filter(|(_, inside)| **inside);
    inside.map(|(n, _)| mask.grid().ijk(n).map(|at| at as isize)).collect()
}

fn middle(places: &[[isize; 3]]) -> [f64; 3] {
    std::array::from_fn(|axis| places.iter().map(|place| place[axis] as f64).sum::<f64>() / places.len() as f64)
}

/// The patient's directions of the axes whose bits are set.
fn directions(grid: &Grid, sides: usize) -> String {
    let axis = Orientation::of(&grid.affine).axis;
    let names = (0..3)
        .filter(|voxel| sides >> voxel & 1 == 1)
        .map(|voxel| ["left to right", "front to back", "top to bottom"][axis[voxel]]);
    names.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;

    fn said(automated: impl Fn([usize; 3]) -> bool, manual: impl Fn([usize; 3]) -> bool) -> Option<String> {
        let masks = [mask([20, 24, 16], automated), mask([20, 24, 16], manual)];
        let count = |inside: &dyn Fn(bool, bool) -> bool| {
            masks[0].voxels().iter().zip(masks[1].voxels()).filter(|(a, m)| inside(**a, **m)).count() as f64
        };
        let dice = 2.0 * count(&|a, m| a && m) / (count(&|a, _| a) + count(&|_, m| m)).max(1.0);
        remark(&masks, dice)
    }

    /// A bleed that no mirror leaves as it is.
    fn bleed([i, j, k]: [usize; 3]) -> bool {
        (2..7).contains(&i) && (3..8).contains(&j) && (2..6).contains(&k) && i + j + k > 9
    }

    #[test]
    fn a_mirrored_mask_is_told_by_its_direction() {
        let left = said(bleed, |[i, j, k]| bleed([19 - i, j, k])).unwrap();
        assert!(left.contains("mirrored left to right they would (Dice 1.00)"), "{left}");
        let both = said(bleed, |[i, j, k]| bleed([19 - i, 23 - j, k])).unwrap();
        assert!(both.contains("mirrored left to right and front to back"), "{both}");
        // Of mirrors that fit as well, the one of the fewest sides is named.
        let even = |[i, j, k]: [usize; 3]| (2..7).contains(&i) && (9..15).contains(&j) && (2..6).contains(&k);
        let left = said(even, |[i, j, k]| even([19 - i, j, k])).unwrap();
        assert!(left.contains("mirrored left to right they would"), "{left}");
    }

    #[test]
    fn a_moved_mask_is_told_in_millimetres_and_other_ones_are_not() {
        // 6 voxels of 2 mm.
        let moved = said(|[i, j, k]| i >= 6 && bleed([i - 6, j, k]), bleed).unwrap();
        assert!(moved.contains("moved by 12.0 mm"), "{moved}");
        assert_eq!(said(bleed, bleed), None);
        assert_eq!(said(|_| false, bleed), None);
        assert_eq!(said(|[i, j, _]| i > 10 && j > 10, bleed), None);
    }
}
