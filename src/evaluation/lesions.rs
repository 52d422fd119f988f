//! Which bleeds of a manual mask an automated one has found.
//!
//! A lesion is a piece of a mask whose voxels touch at faces, edges or corners (26 neighbours). A manual and an automated lesion
//! may be matched where their intersection over union is above a threshold, each lesion once. As many are matched as can be (the
//! optimal matching by mask IoU of Metrics Reloaded), so that no order of the lesions matters.

use crate::volume::Volume;
use crate::volume::morphology::{Connectivity, Pieces};
use std::collections::{BTreeMap, VecDeque};

/// The intersection over union above which lesions are matched, where nothing else is asked for.
pub const IOU: f64 = 0.1;

/// Numbers of lesions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lesions {
    /// In the automated mask.
    pub automated: usize,
    /// In the manual mask.
    pub manual: usize,
    /// Pairs that are matched: true positives.
    pub matched: usize,
}

impl Lesions {
    /// The lesions of two masks on one grid, matched where their intersection over union is above `iou`.
    pub(crate) fn of(automated: &Volume<bool>, manual: &Volume<bool>, iou: f64) -> Lesions {
        let pieces = |mask: &Volume<bool>| Pieces::connected(mask.voxels(), mask.grid().shape, true, Connectivity::Corners);
        let (found, real) = (pieces(automated), pieces(manual));
        let mut overlaps: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let voxels = manual.voxels().len();
        for pair in numbers(&real, voxels).into_iter().zip(numbers(&found, voxels)) {
            if let (Some(manual), Some(automated)) = pair {
                *overlaps.entry((manual, automated)).or_default() += 1;
            }
        }
        let mut partners = vec![Vec::new(); real.sizes.len()];
        for ((manual, automated), both) in overlaps {
            let union = real.sizes[manual] + found.sizes[automated] - both;
            if both as f64 / union as f64 > iou {
                partners[manual].push(automated);
            }
        }
        let matched = most_pairs(&partners, found.sizes.len());
        Lesions { automated: found.sizes.len(), manual: real.sizes.len(), matched }
    }

    /// F1 score, 2 TP / (2 TP + FP + FN) over lesions; 1 where there is no lesion in either mask.
    pub(crate) fn f1(&self) -> f64 {
        match self.automated + self.manual {
            0 => 1.0,
            lesions => 2.0 * self.matched as f64 / lesions as f64,
        }
    }
}

/// The piece of each voxel.
fn numbers(pieces: &Pieces, voxels: usize) -> Vec<Option<usize>> {
    let mut numbers = vec![None; voxels];
    pieces.runs().for_each(|(start, length, piece)| numbers[start..start + length].fill(Some(piece)));
    numbers
}

/// The largest number of pairs when each is used once: one is paired after the other, those before being paired anew where that
/// makes room (augmenting paths, Berge 1957). `partners` lists those of the other side, of which there are `others`.
fn most_pairs(partners: &[Vec<usize>], others: usize) -> usize {
    let mut partner_of: Vec<Option<usize>> = vec![None; others];
    let mut chosen: Vec<Option<usize>> = vec![None; partners.len()];
    // For which start, and from which one, another was reached last.
    let mut reached: Vec<Option<(usize, usize)>> = vec![None; others];
    for start in 0..partners.len() {
        let mut queue = VecDeque::from([start]);
        'path: while let Some(one) = queue.pop_front() {
            for &other in &partners[one] {
                if reached[other].is_some_and(|(last, _)| last == start) {
                    continue;
                }
                reached[other] = Some((start, one));
                match partner_of[other] {
                    Some(next) => queue.push_back(next),
                    None => {
                        exchange(other, &reached, &mut partner_of, &mut chosen);
                        break 'path;
                    }
                }
            }
        }
    }
    chosen.iter().flatten().count()
}

/// Pairs `other` with the one that it was reached from, whose partner goes to the one before, and so on to the first.
fn exchange(other: usize, reached: &[Option<(usize, usize)>], partner_of: &mut [Option<usize>], chosen: &mut [Option<usize>]) {
    let mut free = Some(other);
    while let Some(other) = free
        && let Some((_, one)) = reached[other]
    {
        partner_of[other] = Some(one);
        free = chosen[one].replace(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying everything.
    fn most(partners: &[Vec<usize>], used: u32) -> usize {
        let Some((first, rest)) = partners.split_first() else { return 0 };
        let with = first.iter().filter(|&&other| used >> other & 1 == 0).map(|&other| 1 + most(rest, used | 1 << other));
        with.max().unwrap_or(0).max(most(rest, used))
    }

    proptest! {
        #[test]
        fn no_more_pairs_can_be_made(edges in prop::collection::vec(prop::collection::btree_set(0..6_usize, 0..4), 0..7)) {
            let partners: Vec<Vec<usize>> = edges.into_iter().map(|edges| edges.into_iter().collect()).collect();
            prop_assert_eq!(most_pairs(&partners, 6), most(&partners, 0));
        }
    }
}
