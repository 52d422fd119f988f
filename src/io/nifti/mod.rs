//! NIfTI-1 and NIfTI-2 files, read and written: .nii, .nii.gz, and (read only) pairs of .hdr and .img.
//!
//! The headers of NIfTI-1 are parsed by the `nifti` crate (0.18). The rest is done here, because that crate
//! - knows no NIfTI-2;
//! - takes a file for compressed by its name, and reserves the memory that the header claims before it looks at the file;
//! - takes `dim` for unsigned and tells the byte order from `dim[0]`;
//! - holds the file's bytes and the values at once, and scales in single precision;
//! - writes to paths only (no hidden partial file), and loses an error of the last write.
//!
//! The format: <https://nifti.nimh.nih.gov>, `nifti1.h` and `nifti2.h`, which name the fields.

mod error;
mod geometry;
mod gzip;
mod header;
mod read;
#[cfg(test)]
mod tests;
mod voxels;
mod write;

use std::fmt;

pub use error::NiftiError;
pub use header::{Header, Version};
pub use read::{files, read, read_bytes};
pub use voxels::{DataType, Voxel};
pub use write::write;

use crate::volume::Volume;

/// The most voxels of a scan, honest or not: 4 GiB of values. A head CT of 0.25 mm voxels has fewer.
pub(crate) const MAX_VOXELS: u64 = 1 << 30;

/// A scan as it lies in a NIfTI file.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The values, after scaling by slope and intercept: HU for a CT.
    pub volume: Volume<f32>,
    /// The header, for outputs on the same grid.
    pub header: Header,
    /// How many values are NaN or infinite. They are left as they are.
    pub not_finite: usize,
    /// What is odd about the header or the file, though the scan can be used.
    pub warnings: Vec<Warning>,
}

/// What is odd about a header or the file. `Display` is a sentence about the file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Neither sform nor qform: spacing alone places the voxels.
    NoOrientation,
    /// Sform and qform, of the same code, put a corner of the volume in places that are so many millimetres apart. The sform is taken.
    FormsDisagree {
        /// The distance in millimetres.
        mm: f64,
    },
    /// A slope that is not finite. The voxels are taken as values.
    ScalingIgnored(f64),
    /// The gzip file has several members, and is not block-compressed (BGZF), which has them by its nature. As much of them is taken as the image needs.
    SeveralMembers,
    /// The gzip file goes on behind its last member, with zeros or with what is no gzip.
    BehindGzip,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NoOrientation => {
                write!(f, "the header has neither qform nor sform: left and right, front and back, top and bottom are guessed")
            }
            Warning::FormsDisagree { mm } => {
                write!(f, "qform and sform of the header are {mm:.1} mm apart: the sform is taken")
            }
            Warning::ScalingIgnored(slope) => write!(f, "the header's slope is {slope}: the values are not scaled"),
            Warning::SeveralMembers => write!(
                f,
                "the gzip file has several members, as files that were joined have: the image was read from the beginning on, what is behind it was left out"
            ),
            Warning::BehindGzip => write!(f, "the gzip file has further bytes behind its compressed content: they were ignored"),
        }
    }
}
