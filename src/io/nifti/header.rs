//! The header of a NIfTI file: 348 bytes (NIfTI-1) or 540 bytes (NIfTI-2), in either byte order.
//!
//! Field names are those of the standard (`nifti1.h`, `nifti2.h`).

use super::error::NiftiError;
use super::geometry;
use super::voxels::DataType;
use super::{MAX_VOXELS, Warning};
use crate::io::Error;
use crate::volume::Grid;

/// The header of a scan, kept byte for byte, so that images on the scan's grid go out with the same qform, sform,
/// codes, units, dimensions and description, in the same version of NIfTI and the same byte order.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    bytes: Vec<u8>,
    version: Version,
    order: ByteOrder,
    grid: Grid,
}

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// NIfTI-1: a header of 348 bytes, at most 32767 voxels along an axis.
    One,
    /// NIfTI-2: a header of 540 bytes.
    Two,
}

impl Version {
    /// Bytes of the header.
    pub(super) fn header_size(self) -> usize {
        match self {
            Version::One => 348,
            Version::Two => 540,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// Turns a value's bytes from little-endian into this order, or back.
    pub(super) fn apply<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        if self == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    }
}

/// The fields that ichor uses, of either version.
struct Fields {
    dim: [i64; 8],
    datatype: i32,
    pixdim: [f64; 8],
    vox_offset: f64,
    scl_slope: f64,
    scl_inter: f64,
    xyzt_units: i32,
    forms: geometry::Forms,
}

/// What a header says about the voxels that follow it.
pub(super) struct Layout {
    pub(super) data_type: DataType,
    /// Bytes before the first voxel, in the file that holds the voxels.
    pub(super) offset: u64,
    /// Slope and intercept, where they change anything.
    pub(super) scaling: Option<(f64, f64)>,
    /// Whether the voxels are in the header's own file.
    pub(super) single_file: bool,
    /// What was odd.
    pub(super) warnings: Vec<Warning>,
}

/// The first bytes of a header: its version and byte order.
pub(super) fn version_and_order(first: [u8; 4]) -> Result<(Version, ByteOrder), NiftiError> {
    match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
        (348, _) => Ok((Version::One, ByteOrder::Little)),
        (_, 348) => Ok((Version::One, ByteOrder::Big)),
        (540, _) => Ok((Version::Two, ByteOrder::Little)),
        (_, 540) => Ok((Version::Two, ByteOrder::Big)),
        _ => Err(NiftiError::NotNifti),
    }
}

impl Header {
    /// A new NIfTI-1 header for images on `grid`: its affine is the sform (code 2, aligned), units are
    /// millimetres, the qform is not set.
    ///
    /// # Errors
    /// [`Error::Shape`] where a side of the grid does not fit NIfTI-1.
    pub fn for_grid(grid: &Grid) -> crate::io::Result<Header> {
        let mut header = Header { bytes: vec![0; 348], version: Version::One, order: ByteOrder::Little, grid: grid.clone() };
        header.put(0, 348_i32.to_le_bytes());
        header.put(40, 3_i16.to_le_bytes());
        for axis in 0..7 {
            let side = *grid.shape.get(axis).unwrap_or(&1);
            let side = i16::try_from(side).map_err(|_| {
                Error::Shape(format!("a side of {side} voxels is too long for a NIfTI-1 file (at most {})", i16::MAX))
            })?;
            header.put(42 + 2 * axis, side.to_le_bytes());
        }
        let spacing = grid.spacing();
        for axis in 0..8 {
            let step = if (1..=3).contains(&axis) { spacing[axis - 1] } else { 1.0 };
            header.put(76 + 4 * axis, (step as f32).to_le_bytes());
        }
        header.bytes[123] = geometry::UNITS_MM as u8;
        let description = concat!("ichor ", env!("CARGO_PKG_VERSION")).as_bytes();
        header.bytes[148..148 + description.len()].copy_from_slice(description);
        header.put(254, 2_i16.to_le_bytes());
        for (n, value) in grid.affine.rows.as_flattened().iter().enumerate() {
            header.put(280 + 4 * n, (*value as f32).to_le_bytes());
        }
        Ok(header)
    }

    /// As [`Header::for_grid`], for a scan in the scanner's own world (code 1): the grid's axes are perpendicular, so that the qform says the same as the sform.
    ///
    /// # Errors
    /// [`Error::Shape`] where a side of the grid does not fit NIfTI-1.
    pub(crate) fn for_scanner(grid: &Grid) -> crate::io::Result<Header> {
        let mut header = Header::for_grid(grid)?;
        let (quaternion, handedness) = geometry::quaternion(&grid.affine);
        header.put(76, (handedness as f32).to_le_bytes());
        header.put(252, 1_i16.to_le_bytes());
        header.put(254, 1_i16.to_le_bytes());
        for (n, value) in quaternion.into_iter().chain(grid.affine.translation()).enumerate() {
            header.put(256 + 4 * n, (value as f32).to_le_bytes());
        }
        Ok(header)
    }

    /// The grid that the header describes: the first three dimensions, in RAS millimetres.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The version of the format.
    pub fn version(&self) -> Version {
        self.version
    }

    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Reads and checks a whole header.
    ///
    /// # Panics
    /// Where `bytes` are not as many as the version's header has.
    pub(super) fn parse(bytes: Vec<u8>, version: Version, order: ByteOrder) -> Result<(Header, Layout), NiftiError> {
        assert_eq!(bytes.len(), version.header_size());
        let single_file = check_magic(&bytes, version)?;
        let fields = match version {
            Version::One => fields_1(&bytes, order),
            Version::Two => fields_2(&bytes, order),
        };
        let shape = shape(&fields.dim)?;
        let data_type = DataType::from_code(fields.datatype)?;
        let offset = offset(&fields, version, single_file)?;
        let mut warnings = Vec::new();
        let scaling = scaling(&fields, &mut warnings)?;
        let affine = geometry::affine(&fields.forms, &fields.pixdim, fields.xyzt_units, shape, &mut warnings)?;
        let header = Header { bytes, version, order, grid: Grid { shape, affine } };
        Ok((header, Layout { data_type, offset, scaling, single_file, warnings }))
    }

    /// The header's bytes for a single file of unscaled voxels of `data_type`, followed by the four bytes that say that no extension
    /// comes. `range`, of the values, becomes the range of display.
    pub(super) fn for_voxels(&self, data_type: DataType, range: [f64; 2]) -> Vec<u8> {
        let mut header = self.clone();
        let code = data_type.code() as i16;
        let bits = 8 * data_type.size() as i16;
        let offset = header.bytes.len() + 4;
        match self.version {
            Version::One => {
                header.put(70, code.to_le_bytes());
                header.put(72, bits.to_le_bytes());
                let values = [(108, offset as f32), (112, 1.0), (116, 0.0), (124, range[1] as f32), (128, range[0] as f32)];
                for (at, value) in values {
                    header.put(at, value.to_le_bytes());
                }
                header.bytes[344..348].copy_from_slice(b"n+1\0");
            }
            Version::Two => {
                header.put(12, code.to_le_bytes());
                header.put(14, bits.to_le_bytes());
                header.put(168, (offset as i64).to_le_bytes());
                for (at, value) in [(176, 1.0), (184, 0.0), (192, range[1]), (200, range[0])] {
                    header.put(at, f64::to_le_bytes(value));
                }
                header.bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
            }
        }
        header.bytes.extend([0; 4]);
        header.bytes
    }

    /// Sets a field, given in little-endian order.
    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&self.order.apply(value));
    }
}

/// Checks the magic and says whether the voxels are in the same file.
fn check_magic(bytes: &[u8], version: Version) -> Result<bool, NiftiError> {
    let (magic, single, pair): (&[u8], &[u8], &[u8]) = match version {
        Version::One => (&bytes[344..348], b"n+1\0", b"ni1\0"),
        Version::Two => (&bytes[4..12], b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"),
    };
    match magic {
        _ if magic == single => Ok(true),
        _ if magic == pair => Ok(false),
        // ANALYZE 7.5 has the size of NIfTI-1, and nothing where the magic is.
        [0, 0, 0, 0] => Err(NiftiError::Analyze),
        _ => Err(NiftiError::Magic(magic.to_vec())),
    }
}

/// The bytes of a header, read in its byte order.
struct Numbers<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl Numbers<'_> {
    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        self.order.apply(self.bytes[at..at + N].try_into().expect("N bytes"))
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.take(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.take(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.take(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f32::from_le_bytes(self.take(at)).into()
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.take(at))
    }
}

/// The fields of a NIfTI-1 header.
fn fields_1(bytes: &[u8], order: ByteOrder) -> Fields {
    let read = Numbers { bytes, order };
    Fields {
        dim: std::array::from_fn(|n| read.i16(40 + 2 * n).into()),
        datatype: read.i16(70).into(),
        pixdim: std::array::from_fn(|n| read.f32(76 + 4 * n)),
        vox_offset: read.f32(108),
        scl_slope: read.f32(112),
        scl_inter: read.f32(116),
        xyzt_units: bytes[123].into(),
        forms: geometry::Forms {
            qform_code: read.i16(252).into(),
            sform_code: read.i16(254).into(),
            quatern: std::array::from_fn(|n| read.f32(256 + 4 * n)),
            qoffset: std::array::from_fn(|n| read.f32(268 + 4 * n)),
            sform: std::array::from_fn(|row| std::array::from_fn(|n| read.f32(280 + 16 * row + 4 * n))),
        },
    }
}

/// The fields of a NIfTI-2 header.
fn fields_2(bytes: &[u8], order: ByteOrder) -> Fields {
    let read = Numbers { bytes, order };
    Fields {
        dim: std::array::from_fn(|n| read.i64(16 + 8 * n)),
        datatype: read.i16(12).into(),
        pixdim: std::array::from_fn(|n| read.f64(104 + 8 * n)),
        vox_offset: read.i64(168) as f64,
        scl_slope: read.f64(176),
        scl_inter: read.f64(184),
        xyzt_units: read.i32(500),
        forms: geometry::Forms {
            qform_code: read.i32(344),
            sform_code: read.i32(348),
            quatern: std::array::from_fn(|n| read.f64(352 + 8 * n)),
            qoffset: std::array::from_fn(|n| read.f64(376 + 8 * n)),
            sform: std::array::from_fn(|row| std::array::from_fn(|n| read.f64(400 + 32 * row + 8 * n))),
        },
    }
}

/// The first three dimensions. Absent ones are 1; those after the third must be 1.
fn shape(dim: &[i64; 8]) -> Result<[usize; 3], NiftiError> {
    if !(1..=7).contains(&dim[0]) {
        return Err(NiftiError::DimensionCount(dim[0]));
    }
    let mut sides = [1_u64; 7];
    for axis in 1..=dim[0] as usize {
        sides[axis - 1] = match dim[axis] {
            size @ 1.. => size as u64,
            size => return Err(NiftiError::Dimension { axis, size }),
        };
    }
    let volumes = sides[3..].iter().fold(1_u64, |product, &side| product.saturating_mul(side));
    if volumes != 1 {
        return Err(NiftiError::SeveralVolumes { volumes });
    }
    let shape = [sides[0], sides[1], sides[2]];
    match sides[0].checked_mul(sides[1]).and_then(|slice| slice.checked_mul(sides[2])) {
        Some(voxels) if voxels <= MAX_VOXELS => Ok(shape.map(|side| side as usize)),
        _ => Err(NiftiError::TooManyVoxels { shape }),
    }
}

fn offset(fields: &Fields, version: Version, single_file: bool) -> Result<u64, NiftiError> {
    // Up to here every whole number has a double of its own.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let least = if single_file { version.header_size() as f64 } else { 0.0 };
    let offset = fields.vox_offset;
    if (least..=EXACT).contains(&offset) && offset.fract() == 0.0 { Ok(offset as u64) } else { Err(NiftiError::Offset(offset)) }
}

/// Slope and intercept, or `None` where the voxels are the values. A slope of 0 means so by the standard; one that is not finite means so
/// to nifti_clib, nibabel and MRtrix, and is worth a warning.
fn scaling(fields: &Fields, warnings: &mut Vec<Warning>) -> Result<Option<(f64, f64)>, NiftiError> {
    let (slope, inter) = (fields.scl_slope, fields.scl_inter);
    if !slope.is_finite() {
        warnings.push(Warning::ScalingIgnored(slope));
        return Ok(None);
    }
    match (slope, inter) {
        (0.0, _) | (1.0, 0.0) => Ok(None),
        (_, inter) if inter.is_finite() => Ok(Some((slope, inter))),
        _ => Err(NiftiError::Scaling { slope, inter }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The nifti crate reads `dim` as unsigned, and tells the byte order from `dim[0]`.
        #[test]
        fn fields_of_nifti_1_are_those_that_the_nifti_crate_reads(
            mut bytes in proptest::collection::vec(any::<u8>(), 348),
            dimensions in 1_u8..=7,
            big in any::<bool>(),
        ) {
            let order = if big { ByteOrder::Big } else { ByteOrder::Little };
            bytes[..4].copy_from_slice(&order.apply(348_i32.to_le_bytes()));
            bytes[40..42].copy_from_slice(&order.apply([dimensions, 0]));
            bytes[344..].copy_from_slice(b"n+1\0");
            let expected = nifti::NiftiHeader::from_reader(&bytes[..]).unwrap();
            let found = fields_1(&bytes, order);
            // Not-a-number, of which there are many, is one here; 0 and -0 are two.
            let bit = |value: f32| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
            let bits = |values: &[f64]| values.iter().map(|value| bit(*value as f32)).collect::<Vec<u32>>();
            let bits_32 = |values: &[f32]| values.iter().map(|value| bit(*value)).collect::<Vec<u32>>();
            prop_assert_eq!(found.dim, expected.dim.map(|side| i64::from(side as i16)));
            prop_assert_eq!(found.datatype, i32::from(expected.datatype));
            prop_assert_eq!(found.xyzt_units, i32::from(expected.xyzt_units));
            prop_assert_eq!(bits(&found.pixdim), bits_32(&expected.pixdim));
            let scaling = [found.vox_offset, found.scl_slope, found.scl_inter];
            prop_assert_eq!(bits(&scaling), bits_32(&[expected.vox_offset, expected.scl_slope, expected.scl_inter]));
            let codes = (found.forms.qform_code, found.forms.sform_code);
            prop_assert_eq!(codes, (expected.qform_code.into(), expected.sform_code.into()));
            let quatern = [expected.quatern_b, expected.quatern_c, expected.quatern_d];
            prop_assert_eq!(bits(&found.forms.quatern), bits_32(&quatern));
            let offset = [expected.quatern_x, expected.quatern_y, expected.quatern_z];
            prop_assert_eq!(bits(&found.forms.qoffset), bits_32(&offset));
            for (found, expected) in found.forms.sform.iter().zip([expected.srow_x, expected.srow_y, expected.srow_z]) {
                prop_assert_eq!(bits(found), bits_32(&expected));
            }
        }
    }
}
