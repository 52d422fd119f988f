//! What a person should know before trusting a result. Each warning has a number that never changes.

use crate::words::counted;
use serde::{Serialize, Serializer};
use std::fmt;

/// Brain volumes in mL outside of which brain extraction is doubted.
pub const BRAIN_ML: [f64; 2] = [800.0, 2000.0];
/// Slices thicker than this in mm make volumes uncertain.
pub const THICKEST_SLICE_MM: f64 = 7.0;
/// Area in cm2 of brain in the grid's outermost layer above which the brain counts as cut; the spinal canal has up to 8.
pub const CUT_CM2: f64 = 8.0;
/// Share of the hemorrhage's surface on the brain's edge above which it is doubted.
pub const EDGE_SHARE: f64 = 0.25;
/// Noise in HU above which a bone kernel is suspected; brain kernels have 3 to 8.
pub const BONE_KERNEL_HU: f64 = 25.0;
/// Volume in mL of bright voxels (110 to 400 HU) inside the brain above which contrast agent is suspected; calcifications are smaller.
pub const CONTRAST_ML: f64 = 5.0;

/// Share of the brain's surface that bone covers below which the scan is no whole head.
pub const BONE_COVER: f64 = 0.5;

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
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Warning::BrainVolume { ml } => {
                write!(
                    f,
                    "the brain has {ml:.0} mL, outside of {:.0} to {:.0} mL: look at the brain mask",
                    BRAIN_ML[0], BRAIN_ML[1]
                )
            }
            Warning::PoorRegistration { overlap, mutual_information } => write!(
                f,
                "poor registration: Dice {overlap:.2} with the template's brain, mutual information {mutual_information:.3}: look at the scan in template space"
            ),
            Warning::BrainCut { side, cm2 } => {
                write!(f, "the brain is cut by the field of view: {cm2:.1} cm2 of it in the outermost layer on the {side} side")
            }
            Warning::ThickSlices { mm } => write!(f, "slices of {mm:.1} mm: the volume is less certain than with 5 mm or less"),
            Warning::NotHu { reason } => write!(f, "the values cannot be HU: {reason}"),
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
            Warning::LittleBone { share } => write!(
                f,
                "bone covers only {:.0}% of what was taken for the brain: not a whole head, or brain-extracted already (--skull-stripped)",
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
