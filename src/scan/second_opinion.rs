//! What a second method says of a hemorrhage that a network found: it makes other mistakes, so that where both agree there
//! is less to look at.

use crate::scan::components::{Component, Side};
use crate::scan::warnings::Warning;
use crate::volume::Volume;
use crate::volume::morphology::{Connectivity, Pieces};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Dice of both masks below which a person is told, where either finds [`LEAST_ML`]; docs/pitchperfect.md has how many bad
/// masks that finds.
pub(crate) const AGREEMENT: f64 = 0.3;
/// Probability of the second method above which it sees a voxel. Far below its cutoff: it draws small bleeds, and those far from
/// the middle of the head, too small or not at all, but to most of what is no blood it gives even less.
pub(crate) const SEEN: f32 = 0.1;
/// Less than this in mL by either method is no disagreement.
pub(crate) const LEAST_ML: f64 = 2.0;

/// What finds hemorrhage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A network, whose weights a report names.
    #[default]
    Network,
    /// The logistic model of PItcHPERFeCT (Muschelli et al. 2017).
    Pitchperfect,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Method::Network => "network",
            Method::Pitchperfect => "pitchperfect",
        })
    }
}

/// What the second method found, as it stands in a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondOpinion {
    /// Which method.
    pub method: Method,
    /// Dice of both masks on the scan's grid; 1 where both are empty.
    pub dice: f64,
    /// Volume of its mask in mL.
    pub volume_ml: f64,
}

impl SecondOpinion {
    /// What `second`, the mask of `method`, says of `mask`; both are on one grid.
    pub fn of(method: Method, mask: &Volume<bool>, second: &Volume<bool>) -> SecondOpinion {
        let both = mask.voxels().iter().zip(second.voxels()).filter(|(a, b)| **a && **b).count();
        let sum = mask.count() + second.count();
        let dice = if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 };
        SecondOpinion { method, dice, volume_ml: second.volume_ml() }
    }

    /// A warning where both methods disagree on a hemorrhage of `volume_ml` in these components. `places`: whether they lie
    /// in the built-in template's world.
    pub fn warning(&self, volume_ml: f64, components: &[Component], places: bool) -> Option<Warning> {
        let disagree = self.dice < AGREEMENT && volume_ml.max(self.volume_ml) >= LEAST_ML;
        let unseen: Vec<&Component> = components.iter().filter(|component| component.seen == Some(0.0)).collect();
        disagree.then(|| Warning::SecondOpinion {
            dice: self.dice,
            volume_ml: self.volume_ml,
            components: components.len(),
            unseen: unseen.len(),
            place: unseen.first().filter(|_| places).and_then(|component| place(component)),
        })
    }
}

/// Leaves the components of `mask` out of which no voxel is `seen`.
pub fn drop_unseen(mask: &mut Volume<bool>, seen: &Volume<bool>) {
    if let Some(unseen) = unseen(mask, seen) {
        mask.voxels_mut().iter_mut().zip(unseen.voxels()).for_each(|(inside, unseen)| *inside &= !unseen);
    }
}

/// The components of `mask` of which no voxel is in `second`; `None` where there is none.
pub fn unseen(mask: &Volume<bool>, second: &Volume<bool>) -> Option<Volume<bool>> {
    let pieces = Pieces::connected(mask.voxels(), mask.grid().shape, true, Connectivity::Corners);
    let mut seen = vec![false; pieces.sizes.len()];
    for (start, length, piece) in pieces.runs() {
        seen[piece] |= second.voxels()[start..start + length].contains(&true);
    }
    if !seen.contains(&false) {
        return None;
    }
    let mut unseen = mask.clone();
    pieces.paint(unseen.voxels_mut(), false, |piece| seen[piece]);
    Some(unseen)
}

/// Where a component is, in words, by its place in the built-in template's world (RAS mm); `None` where that is not known.
/// What network and person take for blood most often lies at the midline (falx, sinuses) and at the skull base.
fn place(component: &Component) -> Option<String> {
    /// So far from the midline plane it is no more at the midline, in mm.
    const MIDLINE: [f64; 2] = [5.25, 8.0];
    /// Behind this there is the occipital lobe, and before that the frontal one.
    const BACK_FRONT: [f64; 2] = [-75.0, 0.0];
    /// Below this there are skull base and posterior fossa.
    const BASE: f64 = -5.0;
    let [x, y, z] = component.template_mm?;
    let along = match y {
        _ if z < BASE && y < -35.0 => "in the posterior fossa",
        _ if z < BASE => "at the skull base",
        y if y < BACK_FRONT[0] => "in the occipital region",
        y if y > BACK_FRONT[1] => "in the frontal region",
        _ => "in the middle of the head",
    };
    let side = match component.side {
        _ if (x - MIDLINE[0]).abs() < MIDLINE[1] => "at the midline",
        Side::Left => "on the left",
        Side::Right => "on the right",
        Side::Both => "on both sides",
    };
    Some(format!("{along}, {side}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::components;
    use crate::volume::Affine;
    use crate::volume::testing::mask;

    #[test]
    fn the_dice_is_of_both_masks_and_two_empty_ones_agree() {
        let [first, second] = [0..4, 2..5].map(|range| mask([9, 2, 2], |[i, ..]| range.contains(&i)));
        let opinion = SecondOpinion::of(Method::Pitchperfect, &first, &second);
        assert_eq!(opinion.dice, 2.0 * 8.0 / 28.0);
        assert!((opinion.volume_ml - 12.0 * 0.03).abs() < 1e-12);
        let empty = mask([9, 2, 2], |_| false);
        assert_eq!(SecondOpinion::of(Method::Pitchperfect, &empty, &empty).dice, 1.0);
        assert_eq!(SecondOpinion::of(Method::Pitchperfect, &first, &empty).dice, 0.0);
    }

    #[test]
    fn what_is_not_seen_is_dropped_and_what_is_seen_at_one_voxel_stays_whole() {
        let mut found = mask([9, 3, 3], |[i, ..]| !(3..=5).contains(&i));
        drop_unseen(&mut found, &mask([9, 3, 3], |at| at == [8, 1, 1]));
        assert!(found == mask([9, 3, 3], |[i, ..]| i > 5));
    }

    #[test]
    fn a_disagreement_is_told_in_words() {
        // Two components in the template's world, the larger at the midline in the occipital region; nothing is seen.
        let found = mask([4, 3, 3], |[i, ..]| i != 2);
        let shift = Affine::new(Affine::IDENTITY.matrix(), [4.0, -90.0, 20.0]);
        let second = mask([4, 3, 3], |_| false);
        let components = components::find(&found, Some(&shift), 5.25, Some(&second));
        let opinion = SecondOpinion::of(Method::Pitchperfect, &found, &second);
        let said = opinion.warning(12.0, &components, true).unwrap().to_string();
        assert_eq!(
            said,
            "the second method (PItcHPERFeCT) finds 0.00 mL (Dice 0.00) and sees none of these 2 components, the largest of them in the occipital region, at the midline: look at the picture"
        );
        let elsewhere = opinion.warning(12.0, &components, false).unwrap().to_string();
        assert!(elsewhere.ends_with("sees none of these 2 components: look at the picture"), "{elsewhere}");
        assert_eq!(opinion.warning(0.1, &components, true), None, "so little is no disagreement");
        assert_eq!(SecondOpinion { dice: 0.8, ..opinion }.warning(12.0, &components, true), None);
    }
}
