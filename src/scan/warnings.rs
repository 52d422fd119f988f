//! What a person should know before trusting a result. Each warning has a number that never changes.

use crate::scan::registration::Registration;
use crate::words::counted;
use serde::{Serialize, Serializer};
use std::fmt;

/// Brain volumes in mL outside of which brain extraction is doubted.
pub(crate) const BRAIN_ML: [f64; 2] = [800.0, 2000.0];
/// Slices thicker than this in mm make volumes uncertain.
pub(crate) const THICKEST_SLICE_MM: f64 = 7.0;
/// Area in cm2 of brain in the grid's outermost layer above which the brain counts as cut; the spinal canal has up to 8.
pub(crate) const CUT_CM2: f64 = 8.0;
/// Share of the hemorrhage's surface on the brain's edge above which it is doubted.
pub(crate) const EDGE_SHARE: f64 = 0.25;
/// Noise in HU above which a bone kernel is suspected; brain kernels have 3 to 8.
pub(crate) const BONE_KERNEL_HU: f64 = 25.0;
/// Volume in mL of bright voxels (110 to 400 HU) inside the brain above which contrast agent is suspected; calcifications are smaller.
pub(crate) const CONTRAST_ML: f64 = 5.0;

/// Share of the brain's surface that bone covers below which the scan is no head; heads without half of their vault have 0.8.
pub(crate) const BONE_COVER: f64 = 0.5;

/// Brain volumes in mL outside of which nothing that comes of the scan can be right. A newborn's brain has 350 mL; the upper limit leaves room for heads whose
/// header gives voxels of up to twice their size, as copies made for tests have.
pub(crate) const POSSIBLE_BRAIN_ML: [f64; 2] = [200.0, 5000.0];
/// A brain larger than this in mL cannot lie on the template by a rigid motion: that its overlap is small says nothing more.
pub(crate) const LARGEST_REGISTERED_ML: f64 = 3000.0;
/// Volume of a brain by that of the ellipsoid with the same moments, at least; whole brains have 0.93, half ones 0.72 or more.
pub(crate) const SOLIDITY: f64 = 0.55;
/// Longest axis of that ellipsoid in mm, at most; brains have up to 200. The room is for voxels of twice their size, as above.
pub(crate) const LONGEST_MM: f64 = 400.0;
/// Shortest axis by longest, at least, of a brain that the field of view does not cut; brains have 0.6 or more.
pub(crate) const FLATTEST: f64 = 0.4;
/// Medians in HU inside the brain that are possible; brains have 20 to 45, one of which little but fluid is left less.
pub(crate) const BRAIN_HU: [f32; 2] = [-5.0, 70.0];
/// Medians in HU inside the brain that are usual; beyond them an offset of the values is suspected.
pub(crate) const USUAL_BRAIN_HU: [f32; 2] = [10.0, 46.0];
/// Share of the voxels above the scanner's range from which the values are no HU; metal fills less.
pub(crate) const MOST_ABOVE_RANGE: f64 = 0.2;
/// Share of the brain that is hemorrhage from which it is to be looked at, and from which nothing but a scan that is none explains it: the largest
/// hemorrhages that people live to be scanned with have a fifth to a quarter of the brain.
pub(crate) const BLOOD_SHARE: [f64; 2] = [0.2, 0.4];
/// Above this in HU there is bone, metal or calcification.
pub(crate) const BRIGHT_HU: f32 = 250.0;
/// Share of the brain above [`BRIGHT_HU`], at most; brains with metal or much calcification have 1%.
pub(crate) const BRIGHT_SHARE: f64 = 0.05;

/// A warning of a scan's report.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// 1: the brain's volume is not that of a brain.
    BrainVolume {
        /// In mL.
        ml: f64,
    },
    /// 2: the scan does not lie well on the template.
    PoorRegistration {
        /// Dice of the template's brain and the registered brain.
        overlap: f64,
        /// Mutual information in nats.
        mutual_information: f64,
        /// Volume of the brain in mL.
        brain_ml: f64,
    },
    /// 3: brain in the outermost layer of the grid.
    BrainCut {
        /// The side of the patient.
        side: &'static str,
        /// Area in cm2.
        cm2: f64,
    },
    /// 4: thick slices.
    ThickSlices {
        /// In mm.
        mm: f64,
    },
    /// 5: the values cannot be HU.
    NotHu {
        /// Why.
        reason: String,
        /// Whether that is sure, so that nothing measured in the scan can be right.
        sure: bool,
        /// Whether the values inside the brain say so, which may also be wrong.
        inside: bool,
    },
    /// 6: the hemorrhage lies on the brain's edge.
    OnBrainEdge {
        /// Share of its surface.
        share: f64,
    },
    /// 7: contrast agent or a bone kernel is suspected.
    ContrastOrKernel {
        /// Why.
        reason: String,
    },
    /// 8: voxels that are not a number or infinite were made air.
    NotFinite {
        /// How many.
        voxels: usize,
    },
    /// 9: the file's header is doubtful, and what was assumed.
    Header {
        /// What.
        reason: String,
    },
    /// 10: little of what was taken for the brain lies behind bone.
    LittleBone {
        /// Share of the brain's surface that bone covers.
        share: f64,
    },
    /// 11: slices of the DICOM series are missing or were left out.
    Series {
        /// Which.
        reason: String,
    },
    /// 12: values outside a band were taken out of the scan: its air, its bone or both are gone.
    Missing {
        /// The lowest and the highest HU that are left.
        band: [f32; 2],
        /// What stands for values outside the band; `None` where they were cut at its ends.
        fill: Option<f32>,
    },
    /// 13: what was taken for the brain has not the shape of one.
    BrainShape {
        /// What of it.
        reason: String,
    },
    /// 14: much of the brain was taken for hemorrhage.
    MuchBlood {
        /// Share of the brain's volume.
        share: f64,
    },
    /// 15: a second method sees another hemorrhage.
    SecondOpinion {
        /// Dice of both masks.
        dice: f64,
        /// Volume that the second method finds, in mL.
        volume_ml: f64,
        /// How many components there are.
        components: usize,
        /// How many of them the second method does not see at all.
        unseen: usize,
        /// Where the largest of these is, in words; absent where places are not known.
        place: Option<String>,
    },
}

impl Warning {
    /// The number of this kind of warning.
    pub fn number(&self) -> u8 {
        match self {
            Warning::BrainVolume { .. } => 1,
            Warning::PoorRegistration { .. } => 2,
            Warning::BrainCut { .. } => 3,
            Warning::ThickSlices { .. } => 4,
            Warning::NotHu { .. } => 5,
            Warning::OnBrainEdge { .. } => 6,
            Warning::ContrastOrKernel { .. } => 7,
            Warning::NotFinite { .. } => 8,
            Warning::Header { .. } => 9,
            Warning::LittleBone { .. } => 10,
            Warning::Series { .. } => 11,
            Warning::Missing { .. } => 12,
            Warning::BrainShape { .. } => 13,
            Warning::MuchBlood { .. } => 14,
            Warning::SecondOpinion { .. } => 15,
        }
    }
}

impl Warning {
    /// Whether nothing that comes of the scan can be right, so that it fails unless doubtful results are kept. `docs/report.md` has the limits
    /// and what good scans measure.
    pub(crate) fn is_doubt(&self) -> bool {
        match self {
            Warning::BrainVolume { ml } => !(POSSIBLE_BRAIN_ML[0]..=POSSIBLE_BRAIN_ML[1]).contains(ml),
            Warning::PoorRegistration { overlap, mutual_information, brain_ml } => {
                *brain_ml <= LARGEST_REGISTERED_ML && Registration::has_failed(*overlap, *mutual_information)
            }
            Warning::NotHu { sure, .. } => *sure,
            Warning::LittleBone { .. } | Warning::BrainShape { .. } => true,
            Warning::MuchBlood { share } => *share > BLOOD_SHARE[1],
            _ => false,
        }
    }

    /// What to do about a doubt. `given`: the brain was not sought but given, by a mask or by a scan that holds nothing else.
    pub(crate) fn way_out(&self, given: bool) -> &'static str {
        match self {
            Warning::NotHu { inside: true, .. } if given => {
                "look whether the mask is that of this scan's brain, and whether the values are HU; --keep-doubtful writes what there is"
            }
            Warning::NotHu { inside: true, .. } => {
                "bring the values to HU, or look at the voxel size in the header; --keep-doubtful writes what there is"
            }
            Warning::NotHu { .. } => "bring the values to HU; --keep-doubtful writes what there is",
            Warning::MuchBlood { .. } => {
                "look whether the values are HU, without an offset or another scale; --keep-doubtful writes what there is"
            }
            Warning::LittleBone { .. } => {
                "give --skull-stripped where the scan holds the brain alone, a mask with --brain-mask where it is a head; --keep-doubtful writes what there is"
            }
            _ if given => "look at the brain mask and at the voxel size in the header; --keep-doubtful writes what there is",
            _ => {
                "look whether it is a head CT and at the voxel size in its header, or give a mask with --brain-mask; --keep-doubtful writes what there is"
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Warning::BrainVolume { ml } if self.is_doubt() => {
                let [least, most] = POSSIBLE_BRAIN_ML;
                write!(f, "what was taken for the brain has {ml:.0} mL, and no brain is outside of {least:.0} to {most:.0} mL")
            }
            Warning::BrainVolume { ml } => {
                let [least, most] = BRAIN_ML;
                write!(f, "the brain has {ml:.0} mL, outside of {least:.0} to {most:.0} mL: look at the brain mask")
            }
            Warning::MuchBlood { share } => {
                write!(f, "{:.0}% of the brain were taken for hemorrhage", 100.0 * share)
            }
            Warning::PoorRegistration { overlap, mutual_information, .. } => write!(
                f,
                "poor registration: Dice {overlap:.2} with the template's brain, mutual information {mutual_information:.3}: look at the scan in template space"
            ),
            Warning::BrainCut { side, cm2 } => {
                write!(f, "the brain is cut by the field of view: {cm2:.1} cm2 of it in the outermost layer on the {side} side")
            }
            Warning::ThickSlices { mm } => write!(f, "slices of {mm:.1} mm: the volume is less certain than with 5 mm or less"),
            Warning::NotHu { reason, .. } => write!(f, "the values cannot be HU: {reason}"),
            Warning::OnBrainEdge { share } => {
                write!(
                    f,
                    "{:.0}% of the hemorrhage's surface lies on the edge of the brain mask: look whether it is bone or cut off",
                    100.0 * share
                )
            }
            Warning::ContrastOrKernel { reason } => write!(f, "contrast agent or a bone kernel is suspected: {reason}"),
            Warning::NotFinite { voxels } => {
                let (are, were) = if *voxels == 1 { ("is", "was") } else { ("are", "were") };
                write!(f, "{} {are} not a number or infinite and {were} taken for air", counted(voxels, "voxel"))
            }
            Warning::Header { reason } | Warning::Series { reason } => write!(f, "{reason}"),
            Warning::Missing { band: [least, most], fill } => {
                let how = match fill {
                    Some(fill) => format!("values outside {least:.0} to {most:.0} HU were replaced by {fill:.0}"),
                    None => format!("values were cut at {least:.0} and {most:.0} HU"),
                };
                write!(
                    f,
                    "{how}, so air or bone is missing: the brain was found without it, and blood outside that range cannot be"
                )
            }
            Warning::BrainShape { reason } => write!(f, "what was taken for the brain has not the shape of one: {reason}"),
            Warning::SecondOpinion { dice, volume_ml, components, unseen, place } => {
                write!(f, "the second method (PItcHPERFeCT) finds {volume_ml:.2} mL (Dice {dice:.2})")?;
                match (unseen, components) {
                    (0, _) => {}
                    (1, 1) => write!(f, " and sees nothing of the only component")?,
                    (unseen, components) if unseen == components => {
                        write!(f, " and sees none of these {}", counted(*components, "component"))?;
                    }
                    (unseen, components) => write!(f, " and sees nothing of {unseen} of {}", counted(*components, "component"))?,
                }
                if let (Some(place), true) = (place, *unseen > 0) {
                    write!(f, "{} {place}", if *unseen == 1 { "," } else { ", the largest of them" })?;
                }
                write!(f, ": look at the picture")
            }
            Warning::LittleBone { share } => write!(
                f,
                "bone covers only {:.0}% of what was taken for the brain: no head, or brain-extracted already",
                100.0 * share
            ),
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry {
            number: u8,
            text: String,
        }
        Entry { number: self.number(), text: self.to_string() }.serialize(serializer)
    }
}
