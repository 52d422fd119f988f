//! What can be wrong with a NIfTI file.

use std::io;
use std::path::PathBuf;

/// Why a NIfTI file cannot be used. `Display` is a sentence that goes behind the file's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NiftiError {
    /// The operating system cannot read the file.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A folder, a pipe or a device.
    #[error("is not a file; give a .nii, .nii.gz, .hdr or .img file")]
    NotAFile,
    /// A file of no byte.
    #[error("is empty; copy or convert it again")]
    Empty,
    /// The gzip stream is damaged.
    #[error("its gzip compression is damaged ({0}); copy or convert it again")]
    Gzip(#[source] io::Error),
    /// The file ends within the header.
    #[error("holds {found} bytes, too few for a NIfTI header; copy or convert it again")]
    ShortHeader {
        /// Bytes in the file, after decompression.
        found: u64,
    },
    /// The first four bytes are the size of no NIfTI header.
    #[error("is no NIfTI file (it does not begin with a header's size)")]
    NotNifti,
    /// A header of the right size without a NIfTI magic: ANALYZE 7.5.
    #[error("is no NIfTI file but ANALYZE 7.5, which does not say where left is; convert it to NIfTI")]
    Analyze,
    /// Another magic than those of NIfTI.
    #[error("is no NIfTI file (its magic is \"{}\", not n+1, ni1, n+2 or ni2)", .0.escape_ascii())]
    Magic(Vec<u8>),
    /// A header whose voxels are in another file, which is not there.
    #[error("its voxels belong in {}, which is not there", .0.display())]
    MissingImage(PathBuf),
    /// An image whose header is not there.
    #[error("its header belongs in {}, which is not there", .0.display())]
    MissingHeader(PathBuf),
    /// The header has the voxels in another file, but there is only this one.
    #[error("its header (magic ni1 or ni2) has the voxels in an .img file; name the header .hdr and put the .img beside it")]
    HeaderOnly,
    /// The magic and the file's name disagree: an .hdr file that says to hold its voxels itself.
    #[error("its header (magic n+1 or n+2) has the voxels in the same file; rename it to .nii")]
    NotAPair,
    /// `dim[0]` is not 1 to 7.
    #[error("its header claims {0} dimensions; NIfTI has 1 to 7")]
    DimensionCount(i64),
    /// A `dim` that is not positive.
    #[error("its header claims {size} voxels along axis {axis}")]
    Dimension {
        /// The axis, from 1.
        axis: usize,
        /// The `dim` of the header.
        size: i64,
    },
    /// More volumes than one.
    #[error("holds {volumes} volumes; ichor reads one scan at a time: split it")]
    SeveralVolumes {
        /// Product of the dimensions after the third.
        volumes: u64,
    },
    /// More voxels than ichor reads, be it honest or not.
    #[error("its header claims {} x {} x {} voxels, more than the {} that ichor reads", shape[0], shape[1], shape[2], super::MAX_VOXELS)]
    TooManyVoxels {
        /// Voxels along i, j and k.
        shape: [u64; 3],
    },
    /// A data type that holds no single real number, or that ichor does not read.
    #[error("its voxels are {name} (data type {code}); convert them to an integer or float type")]
    DataType {
        /// The `datatype` of the header.
        code: i32,
        /// The type in words.
        name: &'static str,
    },
    /// `vox_offset` is not a whole number of bytes behind the header.
    #[error("its header has the voxels begin at byte {0}, which cannot be")]
    Offset(f64),
    /// The file ends before the last voxel.
    #[error("is cut short: its header needs {needed} bytes, it holds {found}; copy or convert it again")]
    Truncated {
        /// Bytes up to the last voxel.
        needed: u64,
        /// Bytes there, after decompression.
        found: u64,
    },
    /// A compressed file too small to hold its voxels, whatever they are.
    #[error("its header needs {needed} bytes, more than its {compressed} compressed bytes can hold; copy or convert it again")]
    Overstated {
        /// Bytes up to the last voxel.
        needed: u64,
        /// Bytes of the compressed file.
        compressed: u64,
    },
    /// `scl_inter` is not finite.
    #[error(
        "its header scales voxels by {slope} and adds {inter}, which gives no values; repair its header (scl_inter is 0 where nothing is to be added)"
    )]
    Scaling {
        /// `scl_slope`.
        slope: f64,
        /// `scl_inter`.
        inter: f64,
    },
    /// A voxel size that is zero, negative, not finite or beyond all reason.
    #[error("its voxels are {mm} mm long along axis {axis}; repair its header")]
    Spacing {
        /// The axis, from 1.
        axis: usize,
        /// The size in millimetres.
        mm: f64,
    },
    /// An entry of the affine is not finite or is beyond all reason.
    #[error("its {form} is not finite or lies kilometres away; repair its header")]
    Affine {
        /// `sform` or `qform`.
        form: &'static str,
    },
    /// The affine flattens the grid.
    #[error("its {form} is singular: it puts different voxels in the same place; repair its header")]
    Singular {
        /// `sform` or `qform`.
        form: &'static str,
    },
    /// The quaternion of the qform is longer than 1.
    #[error("its qform is no rotation (the squares of b, c and d add up to {0}); repair its header")]
    Quaternion(f64),
    /// The computer has too little memory.
    #[error("its {voxels} voxels need {} bytes of memory, which cannot be had: free some, or use a machine that has more", 4 * voxels)]
    Memory {
        /// Voxels, of 4 bytes each in memory.
        voxels: usize,
    },
    /// An output whose name is not one of a NIfTI file.
    #[error("is no name for an output; let it end in .nii or .nii.gz")]
    OutputName,
}
