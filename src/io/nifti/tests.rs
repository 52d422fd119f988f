//! Files made byte by byte by the standard, not by the code under test, and read; what is written, read by the `nifti` crate.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::voxels::sealed::Bytes as _;
use super::*;
use crate::Error;
use crate::volume::testing::{affine, rotation, signed_permutations, sum_of_squares};
use crate::volume::{Affine, Grid, orientation};

/// A file as the standard lays it out, of either version and byte order.
#[derive(Clone, Debug)]
struct File {
    version: Version,
    big_endian: bool,
    dim: [i64; 8],
    datatype: i16,
    pixdim: [f64; 8],
    vox_offset: f64,
    slope: f64,
    inter: f64,
    units: u8,
    qform_code: i16,
    sform_code: i16,
    quatern: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    magic: &'static [u8],
    /// Between header and voxels: the extender and whatever comes then.
    gap: Vec<u8>,
    voxels: Vec<u8>,
}

impl File {
    /// 2 x 3 x 2 bytes, 0 to 11, with an sform.
    fn small(version: Version) -> File {
        File {
            version,
            big_endian: false,
            dim: [3, 2, 3, 2, 1, 1, 1, 1],
            datatype: 2,
            pixdim: [1.0, 0.5, 0.5, 4.0, 0.0, 0.0, 0.0, 0.0],
            vox_offset: if version == Version::One { 352.0 } else { 544.0 },
            slope: 0.0,
            inter: 0.0,
            units: 10,
            qform_code: 0,
            sform_code: 1,
            quatern: [0.0; 3],
            qoffset: [0.0; 3],
            srow: [[0.5, 0.0, 0.0, -7.0], [0.0, 0.5, 0.0, 8.0], [0.0, 0.0, 4.0, 9.0]],
            magic: if version == Version::One { b"n+1\0" } else { b"n+2\0\r\n\x1a\n" },
            gap: vec![0; 4],
            voxels: (0..12).collect(),
        }
    }

    /// As [`File::small`], of one voxel of the given type.
    fn voxel(datatype: i16, bytes: &[u8]) -> File {
        File { dim: [1, 1, 0, 0, 0, 0, 0, 0], datatype, voxels: bytes.to_vec(), ..File::small(Version::One) }
    }

    fn with_affine(mut self, affine: &Affine) -> File {
        self.srow = affine.rows;
        self
    }

    fn number<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0; if self.version == Version::One { 348 } else { 540 }];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let i16 = |value: i64| self.number((value as i16).to_le_bytes());
        let i32 = |value: i64| self.number((value as i32).to_le_bytes());
        let i64 = |value: i64| self.number(value.to_le_bytes());
        let f32 = |value: f64| self.number((value as f32).to_le_bytes());
        let f64 = |value: f64| self.number(value.to_le_bytes());
        match self.version {
            Version::One => {
                put(0, &i32(348));
                put(4, b"data_type");
                (0..8).for_each(|n| put(40 + 2 * n, &i16(self.dim[n])));
                put(70, &i16(self.datatype.into()));
                (0..8).for_each(|n| put(76 + 4 * n, &f32(self.pixdim[n])));
                put(108, &f32(self.vox_offset));
                put(112, &f32(self.slope));
                put(116, &f32(self.inter));
                put(123, &[self.units]);
                put(148, b"a head");
                put(228, b"aux");
                put(252, &i16(self.qform_code.into()));
                put(254, &i16(self.sform_code.into()));
                (0..3).for_each(|n| put(256 + 4 * n, &f32(self.quatern[n])));
                (0..3).for_each(|n| put(268 + 4 * n, &f32(self.qoffset[n])));
                (0..12).for_each(|n| put(280 + 4 * n, &f32(self.srow[n / 4][n % 4])));
                put(328, b"intent");
                put(344, self.magic);
            }
            Version::Two => {
                put(0, &i32(540));
                put(4, self.magic);
                put(12, &i16(self.datatype.into()));
                (0..8).for_each(|n| put(16 + 8 * n, &i64(self.dim[n])));
                (0..8).for_each(|n| put(104 + 8 * n, &f64(self.pixdim[n])));
                put(168, &i64(self.vox_offset as i64));
                put(176, &f64(self.slope));
                put(184, &f64(self.inter));
                put(240, b"a head");
                put(320, b"aux");
                put(344, &i32(self.qform_code.into()));
                put(348, &i32(self.sform_code.into()));
                (0..3).for_each(|n| put(352 + 8 * n, &f64(self.quatern[n])));
                (0..3).for_each(|n| put(376 + 8 * n, &f64(self.qoffset[n])));
                (0..12).for_each(|n| put(400 + 8 * n, &f64(self.srow[n / 4][n % 4])));
                put(500, &i32(self.units.into()));
                put(508, b"intent");
            }
        }
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        [self.header(), self.gap.clone(), self.voxels.clone()].concat()
    }

    fn read(&self) -> Result<Scan, NiftiError> {
        read_bytes(&self.bytes())
    }

    fn error(&self) -> NiftiError {
        self.read().unwrap_err()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

const VERSIONS: [Version; 2] = [Version::One, Version::Two];

// Voxels.

#[test]
fn every_type_in_both_byte_orders() {
    // Little-endian bytes and the value by the type's definition.
    let cases: [(i16, &[u8], f32); 10] = [
        (2, &[200], 200.0),
        (256, &[200], -56.0),
        (512, &[0x01, 0xff], 65281.0),
        (4, &[0x01, 0xff], -255.0),
        (768, &[0x00, 0x00, 0x00, 0xff], 4278190080.0),
        (8, &[0x01, 0x00, 0x00, 0xff], -16777215.0),
        (1280, &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80], 9223372036854775808.0),
        (1024, &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80], -9223372036854775808.0),
        (16, &[0x00, 0x00, 0x20, 0xc1], -10.0),
        (64, &[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x24, 0xc0], -10.0),
    ];
    for (datatype, bytes, value) in cases {
        for version in VERSIONS {
            for big_endian in [false, true] {
                let mut file = File { big_endian, ..File::voxel(datatype, bytes) };
                file = File { version, magic: File::small(version).magic, vox_offset: File::small(version).vox_offset, ..file };
                if big_endian {
                    file.voxels.reverse();
                }
                let scan = file.read().unwrap();
                assert_eq!(scan.volume.voxels(), [value], "data type {datatype}, {version:?}, big-endian {big_endian}");
                assert_eq!((scan.header.version(), scan.not_finite), (version, 0));
            }
        }
    }
}

#[test]
fn slope_and_intercept_in_double_precision() {
    let scaled = |slope, inter| File { slope, inter, ..File::voxel(4, &2000_i16.to_le_bytes()) };
    let value = |slope, inter| scaled(slope, inter).read().unwrap().volume.voxels()[0];
    assert_eq!(value(0.5, -1024.0), -24.0);
    assert_eq!(value(1.0, -1024.0), 976.0);
    assert_eq!(value(-2.0, 0.0), -4000.0);
    assert_eq!(value(0.0, -1024.0), 2000.0, "a slope of 0 is no scaling");
    // In single precision the large terms would swallow the small one.
    let file = File { slope: 1.0, inter: -16777216.0, ..File::voxel(8, &16777219_i32.to_le_bytes()) };
    assert_eq!(file.read().unwrap().volume.voxels(), [3.0]);
    // Float voxels are scaled as well.
    let file = File { slope: 2.0, inter: 1.0, ..File::voxel(16, &4.5_f32.to_le_bytes()) };
    assert_eq!(file.read().unwrap().volume.voxels(), [10.0]);
    for slope in [f64::NAN, f64::INFINITY] {
        let scan = scaled(slope, 0.0).read().unwrap();
        assert_eq!(scan.volume.voxels(), [2000.0]);
        assert!(matches!(scan.warnings[..], [Warning::ScalingIgnored(_)]));
        assert_eq!(scan.warnings[0].to_string(), format!("the header's slope is {slope}: the values are not scaled"));
    }
    assert!(scaled(0.5, 0.0).read().unwrap().warnings.is_empty());
    let error = scaled(2.0, f64::NAN).error();
    assert!(matches!(error, NiftiError::Scaling { slope: 2.0, .. }));
    assert_eq!(error.to_string(), "its header scales voxels by 2 and adds NaN, which gives no values");
}

#[test]
fn values_that_are_no_numbers_are_counted() {
    let values = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, 2.0];
    let bytes = values.map(f32::to_le_bytes).concat();
    let scan = File { dim: [1, 5, 0, 0, 0, 0, 0, 0], ..File::voxel(16, &bytes) }.read().unwrap();
    assert_eq!(scan.not_finite, 3);
    assert_eq!(scan.volume.voxels()[2], f32::INFINITY);
    // A double that no float can hold.
    assert_eq!(File::voxel(64, &1e300_f64.to_le_bytes()).read().unwrap().not_finite, 1);
}

#[test]
fn types_that_hold_no_single_number_are_named() {
    let cases = [
        (1, "single bits"),
        (32, "complex numbers"),
        (1792, "complex numbers"),
        (2048, "complex numbers"),
        (128, "colours"),
        (2304, "colours"),
        (1536, "floats of 128 bits"),
        (0, "of a type that NIfTI does not have"),
        (9999, "of a type that NIfTI does not have"),
    ];
    for (code, name) in cases {
        let error = File::voxel(code, &[0; 32]).error();
        assert!(matches!(error, NiftiError::DataType { code: found, name: word } if found == i32::from(code) && word == name));
        let sentence = format!("its voxels are {name} (data type {code}); convert them to an integer or float type");
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn slabs_do_not_show() {
    // Larger than two slabs, and no multiple of one.
    let shape = [150, 130, 37];
    let voxels: Vec<u8> = (0..shape.iter().product::<i64>()).flat_map(|n| ((n % 30011) as i16).to_be_bytes()).collect();
    let file = File { dim: [3, 150, 130, 37, 1, 1, 1, 1], datatype: 4, big_endian: true, voxels, ..File::small(Version::One) };
    let scan = read_bytes(&gzip(&file.bytes())).unwrap();
    assert_eq!(scan.volume.voxels().len(), 150 * 130 * 37);
    assert!(scan.volume.voxels().iter().enumerate().all(|(n, &value)| value == (n % 30011) as f32));
    // And out again.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    write(&path, &scan.volume, &scan.header).unwrap();
    assert_eq!(super::read(&path).unwrap().volume, scan.volume);
}

// Dimensions.

#[test]
fn absent_dimensions_and_trailing_ones_are_dropped() {
    for (dim, shape) in [
        ([1, 12, 0, 0, 0, 0, 0, 0], [12, 1, 1]),
        ([2, 4, 3, 0, 0, 0, 0, 0], [4, 3, 1]),
        ([2, 4, 3, 9, 9, 9, 9, 9], [4, 3, 1]),
        ([3, 2, 3, 2, 0, 0, 0, 0], [2, 3, 2]),
        ([4, 2, 3, 2, 1, 7, 7, 7], [2, 3, 2]),
        ([7, 1, 3, 4, 1, 1, 1, 1], [1, 3, 4]),
    ] {
        for version in VERSIONS {
            let scan = File { dim, ..File::small(version) }.read().unwrap();
            assert_eq!(scan.volume.grid().shape, shape);
        }
    }
}

#[test]
fn several_volumes_are_an_error_with_their_number() {
    for version in VERSIONS {
        for (dim, number) in [([4, 2, 3, 1, 2, 1, 1, 1], 2), ([5, 1, 1, 1, 3, 4, 1, 1], 12), ([7, 1, 1, 1, 1, 1, 1, 12], 12)] {
            let error = File { dim, ..File::small(version) }.error();
            assert!(matches!(error, NiftiError::SeveralVolumes { volumes } if volumes == number), "{error}");
            assert_eq!(error.to_string(), format!("holds {number} volumes; ichor reads one scan at a time: split it"));
        }
    }
}

#[test]
fn dimensions_that_cannot_be() {
    for version in VERSIONS {
        for number in [0, 8, 9, -1] {
            let mut file = File::small(version);
            file.dim[0] = number;
            assert!(matches!(file.error(), NiftiError::DimensionCount(found) if found == number), "{}", file.error());
        }
        for (place, found) in [(1, 0), (2, -5), (3, i64::from(i16::MIN))] {
            let mut file = File::small(version);
            file.dim[place] = found;
            assert!(matches!(file.error(), NiftiError::Dimension { axis, size } if (axis, size) == (place, found)));
        }
    }
    let mut file = File::small(Version::One);
    file.dim[0] = 9;
    assert_eq!(file.error().to_string(), "its header claims 9 dimensions; NIfTI has 1 to 7");
    file.dim = [3, 2, -5, 2, 1, 1, 1, 1];
    assert_eq!(file.error().to_string(), "its header claims -5 voxels along axis 2");
}

#[test]
fn sizes_that_lie_are_refused_before_memory_is_taken() {
    let huge = File { dim: [3, 32767, 32767, 32767, 1, 1, 1, 1], ..File::small(Version::One) };
    let sentence = "its header claims 32767 x 32767 x 32767 voxels, more than the 1073741824 that ichor reads";
    assert_eq!(huge.error().to_string(), sentence);
    // Products and sums that do not fit 64 bits.
    for dim in
        [[3, i64::MAX, i64::MAX, 2, 1, 1, 1, 1], [3, 1 << 32, 1 << 32, 1, 1, 1, 1, 1], [3, 1, 1 << 32, 1 << 32, 1, 1, 1, 1]]
    {
        let file = File { dim, ..File::small(Version::Two) };
        assert!(matches!(file.error(), NiftiError::TooManyVoxels { .. }));
    }
    let file = File { dim: [5, 1, 1, 1, i64::MAX, i64::MAX, 1, 1], ..File::small(Version::Two) };
    assert!(matches!(file.error(), NiftiError::SeveralVolumes { volumes: u64::MAX }));
    // The largest that may be, if the file had it.
    let file = File { dim: [3, 1 << 10, 1 << 10, 1 << 10, 1, 1, 1, 1], ..File::small(Version::Two) };
    let error = file.error();
    assert!(matches!(error, NiftiError::Truncated { needed, found: 556 } if needed == 544 + (1 << 30)), "{error}");
    let compressed = gzip(&file.bytes());
    let error = read_bytes(&compressed).unwrap_err();
    let size = compressed.len();
    assert_eq!(
        error.to_string(),
        format!("its header needs 1073742368 bytes, more than its {size} compressed bytes can hold; copy or convert it again")
    );
    let one_more = File { dim: [3, 1 << 10, 1 << 10, (1 << 10) + 1, 1, 1, 1, 1], ..file };
    assert!(matches!(one_more.error(), NiftiError::TooManyVoxels { .. }));
}

// Ends and beginnings.

#[test]
fn a_file_that_ends_early_says_what_is_missing() {
    for version in VERSIONS {
        let whole = File::small(version).bytes();
        let header = whole.len() as u64 - 16;
        assert!(matches!(read_bytes(&[]), Err(NiftiError::Empty)));
        for length in 1..whole.len() {
            let error = read_bytes(&whole[..length]).unwrap_err();
            let compressed = read_bytes(&gzip(&whole[..length])).unwrap_err();
            let length = length as u64;
            if length < header {
                assert!(matches!(error, NiftiError::ShortHeader { found } if found == length), "{length}: {error}");
                assert!(matches!(compressed, NiftiError::ShortHeader { found } if found == length), "{length}: {compressed}");
            } else {
                let expected = |error: &NiftiError| {
                    matches!(error, NiftiError::Truncated { needed, found }
                        if *needed == whole.len() as u64 && *found == length)
                };
                assert!(expected(&error), "{length}: {error}");
                assert!(expected(&compressed), "{length}: {compressed}");
            }
        }
        assert!(read_bytes(&whole).is_ok());
    }
    let short = File::small(Version::One).bytes();
    let sentence = "is cut short: its header needs 364 bytes, it holds 363; copy or convert it again";
    assert_eq!(read_bytes(&short[..363]).unwrap_err().to_string(), sentence);
    let sentence = "holds 347 bytes, too few for a NIfTI header; copy or convert it again";
    assert_eq!(read_bytes(&short[..347]).unwrap_err().to_string(), sentence);
    assert_eq!(read_bytes(&[]).unwrap_err().to_string(), "is empty; copy or convert it again");
}

#[test]
fn voxels_begin_where_the_header_says() {
    // Behind an extension, and behind an extender that is not there.
    for (gap, vox_offset) in [(vec![9; 20], 368.0), (vec![9; 6000], 6348.0), (vec![], 348.0)] {
        let scan = File { gap, vox_offset, ..File::small(Version::One) }.read().unwrap();
        assert_eq!(scan.volume.voxels()[..3], [0.0, 1.0, 2.0]);
    }
    for vox_offset in [0.0, 347.0, -352.0, 352.5, 1e30, f64::NAN, f64::INFINITY] {
        let error = File { vox_offset, ..File::small(Version::One) }.error();
        assert!(matches!(error, NiftiError::Offset(_)), "{vox_offset}: {error}");
        let sentence = format!("its header has the voxels begin at byte {}, which cannot be", f64::from(vox_offset as f32));
        assert_eq!(error.to_string(), sentence);
    }
    let error = File { vox_offset: 1e9, ..File::small(Version::One) }.error();
    assert!(matches!(error, NiftiError::Truncated { needed: 1_000_000_012, found: 364 }), "{error}");
    for vox_offset in [0.0, 539.0, -1.0, 1e18] {
        let error = File { vox_offset, ..File::small(Version::Two) }.error();
        assert!(matches!(error, NiftiError::Offset(_)), "{vox_offset}: {error}");
    }
    assert!(File { vox_offset: 540.0, gap: vec![], ..File::small(Version::Two) }.read().is_ok());
}

#[test]
fn other_files_are_no_nifti() {
    let text = b"hello, I am no image\n".repeat(99);
    assert_eq!(read_bytes(&text).unwrap_err().to_string(), "is no NIfTI file (it does not begin with a header's size)");
    assert!(matches!(read_bytes(&gzip(&text)), Err(NiftiError::NotNifti)));
    let magic = File { magic: b"abcd", ..File::small(Version::One) }.error();
    assert!(matches!(&magic, NiftiError::Magic(found) if found == b"abcd"));
    assert_eq!(magic.to_string(), "is no NIfTI file (its magic is \"abcd\", not n+1, ni1, n+2 or ni2)");
    // What a transfer in text mode does to NIfTI-2.
    let magic = File { magic: b"n+2\0\n\x1a\n\0", ..File::small(Version::Two) }.error();
    assert!(matches!(magic, NiftiError::Magic(_)));
    let magic = File { magic: b"\0\0\0\0\0\0\0\0", ..File::small(Version::Two) }.error();
    assert!(matches!(magic, NiftiError::Magic(_)));
    let analyze = File { magic: b"\0\0\0\0", ..File::small(Version::One) }.error();
    assert!(matches!(analyze, NiftiError::Analyze));
    assert!(analyze.to_string().contains("ANALYZE 7.5"));
}

// Compression.

#[test]
fn compression_is_told_from_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = File::small(Version::One).bytes();
    let scan = read_bytes(&bytes).unwrap();
    for (name, content) in
        [("a.nii.gz", bytes.clone()), ("b.nii", gzip(&bytes)), ("c.nii.gz", gzip(&bytes)), ("d", bytes.clone())]
    {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        assert_eq!(super::read(&path).unwrap().volume, scan.volume, "{name}");
    }
    // Several members, as pigz and bgzip write them.
    let members = [gzip(&bytes[..100]), gzip(&bytes[100..])].concat();
    assert_eq!(read_bytes(&members).unwrap().volume, scan.volume);
    // Padding behind the voxels, more than is looked at.
    let padded = [bytes, vec![0; 1 << 20]].concat();
    assert_eq!(read_bytes(&gzip(&padded)).unwrap().volume, scan.volume);
    assert_eq!(read_bytes(&padded).unwrap().volume, scan.volume);
}

#[test]
fn damaged_compression_is_an_error() {
    let good = gzip(&File::small(Version::One).bytes());
    for cut in 1..good.len() {
        let error = read_bytes(&good[..cut]).unwrap_err();
        let named = match error {
            NiftiError::ShortHeader { .. } | NiftiError::Truncated { .. } | NiftiError::Overstated { .. } => cut < good.len() - 8,
            // All voxels are there, but not the end of the stream, or its checksum.
            NiftiError::Gzip(_) => cut >= good.len() - 9,
            _ => false,
        };
        assert!(named, "{cut} of {}: {error}", good.len());
    }
    // A wrong checksum, a wrong length, a wrong block type.
    for (at, name) in [(good.len() - 8, "checksum"), (good.len() - 1, "length"), (10, "block")] {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let error = read_bytes(&bad).unwrap_err();
        assert!(matches!(error, NiftiError::Gzip(_)), "{name}: {error}");
        assert!(error.to_string().starts_with("its gzip compression is damaged ("), "{error}");
    }
}

// Geometry.

#[test]
fn the_sform_wins_where_both_are_set() {
    let sform = Affine::new([[0.75, 0.0, 0.0], [0.0, 1.5, 0.1], [0.0, 0.0, 3.0]], [0.0, 0.0, 0.5]);
    let file = File { qform_code: 1, ..File::small(Version::Two) }.with_affine(&sform);
    let scan = file.read().unwrap();
    assert_eq!(scan.volume.grid().affine, sform);
    // The qform is 0.5 x 0.5 x 4 mm at the origin; the last voxel, (1, 2, 1), is the farthest off: by (0.25, 2.1, -0.5).
    let expected = 4.7225_f64.sqrt();
    assert!(matches!(scan.warnings[..], [Warning::FormsDisagree { mm }] if (mm - expected).abs() < 1e-9), "{:?}", scan.warnings);
    let sentence = scan.warnings[0].to_string();
    assert_eq!(sentence, format!("qform and sform of the header are {expected:.1} mm apart: the sform is taken"));
    // No word about two worlds, nor about less than a millimetre, nor about a form that is not set.
    let quiet = [
        File { qform_code: 2, ..file.clone() },
        File { qform_code: 0, ..file.clone() },
        File { qform_code: 1, qoffset: [-7.0, 8.0, 9.9], ..File::small(Version::Two) },
    ];
    for file in quiet {
        assert_eq!(file.read().unwrap().warnings, []);
    }
}

#[test]
fn the_unit_of_length_is_a_matter_of_the_header() {
    for (units, factor) in [(2, 1.0), (2 + 8, 1.0), (0, 1.0), (1, 1000.0), (1 + 16, 1000.0), (3, 0.001)] {
        for version in VERSIONS {
            let millimetres = Affine::new([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 4.0]], [-7.0, 8.0, 9.0]);
            let mut file = File { units, ..File::small(version) };
            file.srow.as_flattened_mut().iter_mut().for_each(|value| *value /= factor);
            let found = file.read().unwrap().volume.grid().affine;
            assert!(sum_of_squares(&found, &millimetres) < 1e-10, "{units}: {found:?}");
            // The same by qform and by spacing.
            file.pixdim[1..4].iter_mut().for_each(|value| *value /= factor);
            file = File { sform_code: 0, qform_code: 1, qoffset: [-7.0, 8.0, 9.0].map(|value| value / factor), ..file };
            let found = file.read().unwrap().volume.grid().affine;
            assert!(sum_of_squares(&found, &millimetres) < 1e-10, "{units}: {found:?}");
        }
    }
}

#[test]
fn without_forms_spacing_alone_places_the_voxels() {
    for code in [0, -1] {
        let scan = File { sform_code: code, qform_code: code, ..File::small(Version::One) }.read().unwrap();
        let expected = Affine::new([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 4.0]], [0.0; 3]);
        assert_eq!(scan.volume.grid().affine, expected);
        assert_eq!(scan.warnings, [Warning::NoOrientation]);
        assert!(scan.warnings[0].to_string().contains("neither qform nor sform"));
    }
}

#[test]
fn a_qform_is_a_rotation_after_spacing() {
    let half = (0.5_f64).sqrt();
    let cases = [
        // No turn; qfac of 0 counts as 1.
        ([0.0, 0.0, 0.0], 0.0, [[0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 4.0]]),
        // Handedness.
        ([0.0, 0.0, 0.0], -1.0, [[0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, -4.0]]),
        // Half a turn about z: LPS.
        ([0.0, 0.0, 1.0], 1.0, [[-0.5, 0.0, 0.0], [0.0, -0.6, 0.0], [0.0, 0.0, 4.0]]),
        // Half a turn about y with the left hand: LAS, the commonest of dcm2niix.
        ([0.0, 1.0, 0.0], -1.0, [[-0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 4.0]]),
        // A quarter turn about x: y becomes z.
        ([half, 0.0, 0.0], 1.0, [[0.5, 0.0, 0.0], [0.0, 0.0, -4.0], [0.0, 0.6, 0.0]]),
        // A third of a turn about (1, 1, 1): x becomes y, y becomes z, z becomes x.
        ([0.5, 0.5, 0.5], 1.0, [[0.0, 0.0, 4.0], [0.5, 0.0, 0.0], [0.0, 0.6, 0.0]]),
    ];
    for (quatern, qfac, matrix) in cases {
        for version in VERSIONS {
            let pixdim = [qfac, 0.5, 0.6, 4.0, 0.0, 0.0, 0.0, 0.0];
            let qoffset = [1.0, -2.0, 3.0];
            let file = File { sform_code: 0, qform_code: 1, quatern, qoffset, pixdim, ..File::small(version) };
            let scan = file.read().unwrap();
            let expected = Affine::new(matrix, qoffset);
            let found = scan.volume.grid().affine;
            assert!(sum_of_squares(&found, &expected) < 1e-12, "{quatern:?}: {found:?}");
            assert_eq!(scan.warnings, []);
        }
    }
}

#[test]
fn half_a_turn_survives_the_rounding_of_its_quaternion() {
    for (scale, tolerance) in [(1.0 + 4e-3, 1e-12), (1.0 - 4e-8, 1e-12)] {
        let quatern = [0.6 * scale, 0.8 * scale, 0.0];
        let pixdim = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let file = File { sform_code: 0, qform_code: 1, quatern, pixdim, ..File::small(Version::Two) };
        let found = file.read().unwrap().volume.grid().affine;
        let expected = Affine::new([[-0.28, 0.96, 0.0], [0.96, 0.28, 0.0], [0.0, 0.0, -1.0]], [0.0; 3]);
        assert!(sum_of_squares(&found, &expected) < tolerance, "{scale}: {found:?}");
    }
    for quatern in [[1.0, 0.2, 0.0], [f64::NAN, 0.0, 0.0], [0.0, 0.0, f64::INFINITY]] {
        let error = File { sform_code: 0, qform_code: 1, quatern, ..File::small(Version::One) }.error();
        assert!(matches!(error, NiftiError::Quaternion(_)), "{error}");
    }
    // Not used, not looked at.
    assert!(File { qform_code: 1, quatern: [f64::NAN; 3], ..File::small(Version::One) }.read().is_ok());
}

#[test]
fn spacings_that_cannot_be() {
    let forms = |sform_code, qform_code| File { sform_code, qform_code, ..File::small(Version::Two) };
    for (axis, mm) in [(1, 0.0), (2, -0.5), (3, f64::NAN), (1, f64::INFINITY), (2, 1e-4), (3, 2000.0)] {
        for (sform_code, qform_code) in [(0, 1), (0, 0)] {
            let mut file = forms(sform_code, qform_code);
            file.pixdim[axis] = mm;
            let error = file.error();
            assert!(matches!(error, NiftiError::Spacing { axis: found, .. } if found == axis), "{axis}, {mm}: {error}");
            assert_eq!(error.to_string(), format!("its voxels are {mm} mm long along axis {axis}; repair its header"));
        }
        // With an sform they do not matter.
        let mut file = forms(1, 1);
        file.pixdim[axis] = mm;
        assert!(file.read().is_ok(), "{axis}, {mm}");
    }
    for (axis, mm) in [(1, 2e-4), (3, 2000.0)] {
        let mut file = forms(1, 0);
        file.srow[axis - 1][axis - 1] = mm;
        assert!(matches!(file.error(), NiftiError::Spacing { axis: found, .. } if found == axis));
    }
    for mm in [1e-3, 1e3] {
        let mut file = forms(0, 1);
        file.pixdim[3] = mm;
        assert!(file.read().is_ok(), "{mm} mm");
    }
}

#[test]
fn affines_that_cannot_be() {
    for (row, column) in [(0, 0), (1, 2), (2, 3)] {
        for bad in [f64::NAN, f64::NEG_INFINITY] {
            let mut file = File::small(Version::One);
            file.srow[row][column] = bad;
            let error = file.error();
            assert!(matches!(error, NiftiError::Affine { form: "sform" }), "{error}");
        }
    }
    for (axis, far) in [(0, 1.1e6), (1, -1.1e6)] {
        let mut file = File::small(Version::One);
        file.srow[axis][3] = far;
        assert_eq!(file.error().to_string(), "its sform is not finite or lies kilometres away; repair its header");
        let mut file = File { sform_code: 0, qform_code: 1, ..File::small(Version::One) };
        file.qoffset[axis] = far;
        assert!(matches!(file.error(), NiftiError::Affine { form: "qform" }));
    }
    let mut file = File::small(Version::One);
    file.srow[0][3] = 1e6;
    assert!(file.read().is_ok());
    let flat = [
        [[0.0; 4]; 3],
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]],
        [[0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 4e-4, 0.0]],
    ];
    for srow in flat {
        let error = File { srow, ..File::small(Version::One) }.error();
        assert!(matches!(error, NiftiError::Singular { form: "sform" }), "{error}");
        let sentence = "its sform is singular: it puts different voxels in the same place; repair its header";
        assert_eq!(error.to_string(), sentence);
    }
    // Sheared by 45 degrees, and left-handed, is not flat.
    let sheared = [[-0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]];
    assert!(File { srow: sheared, ..File::small(Version::One) }.read().is_ok());
}

#[test]
fn the_same_head_in_48_orientations() {
    // One voxel of blood, on the left, in front, at the top.
    let shape = [4, 3, 2];
    let ras = Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 5.0]], [-3.0, -2.0, -2.0]);
    let blood = [-3.0, 2.0, 3.0];
    let inverse = ras.inverse().unwrap();
    for orientation in signed_permutations() {
        let mut map = Affine::new([[0.0; 3]; 3], [0.0; 3]);
        for voxel in 0..3 {
            let world = orientation.axis[voxel];
            map.rows[world][voxel] = if orientation.flipped[voxel] { -1.0 } else { 1.0 };
            map.rows[world][3] = if orientation.flipped[voxel] { (shape[world] - 1) as f64 } else { 0.0 };
        }
        let stored = Grid { shape: orientation.axis.map(|world| shape[world]), affine: ras.after(&map) };
        let mut voxels = vec![0; 24];
        let at = map.inverse().unwrap().apply(inverse.apply(blood)).map(|index| index.round() as usize);
        voxels[stored.index(at)] = 60;
        let [ni, nj, nk] = stored.shape.map(|side| side as i64);
        for version in VERSIONS {
            let file = File { dim: [3, ni, nj, nk, 0, 0, 0, 0], voxels: voxels.clone(), ..File::small(version) };
            let scan = file.with_affine(&stored.affine).read().unwrap();
            let turned = orientation::to_ras(&scan.volume);
            assert_eq!(*turned.at([0, 2, 1]), 60.0, "{}", orientation.letters());
            assert_eq!(turned.grid().affine.translation(), [-3.0, -2.0, -2.0]);
        }
    }
}

// Pairs of files.

#[test]
fn pairs_are_found_from_either_half() {
    for version in VERSIONS {
        let magic: &[u8] = if version == Version::One { b"ni1\0" } else { b"ni2\0\r\n\x1a\n" };
        let file = File { magic, vox_offset: 0.0, ..File::small(version) };
        let expected = File::small(version).read().unwrap().volume;
        for (header, image) in
            [("a.hdr", "a.img"), ("a.hdr", "a.img.gz"), ("a.hdr.gz", "a.img.gz"), ("a.hdr.gz", "a.img"), ("a.b.HDR", "a.b.img")]
        {
            let folder = tempfile::tempdir().unwrap();
            let store = |name: &str, bytes: &[u8]| {
                let content = if name.ends_with("gz") { gzip(bytes) } else { bytes.to_vec() };
                fs::write(folder.path().join(name), content).unwrap();
            };
            store(header, &file.header());
            store(image, &file.voxels);
            for name in [header, image] {
                if name == "a.b.img" {
                    continue; // Only the name that was given may be in capitals.
                }
                let scan = super::read(folder.path().join(name)).unwrap();
                assert_eq!(scan.volume, expected, "{header}, {image}, by {name}");
                // Outputs are single files of the same version.
                let path = folder.path().join("out.nii");
                write(&path, &scan.volume, &scan.header).unwrap();
                let again = super::read(&path).unwrap();
                assert_eq!((again.volume, again.header.version()), (scan.volume, version));
            }
        }
    }
}

#[test]
fn an_image_file_may_begin_with_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = File { magic: b"ni1\0", vox_offset: 5.0, ..File::small(Version::One) };
    fs::write(folder.path().join("a.hdr"), file.header()).unwrap();
    fs::write(folder.path().join("a.img"), [vec![9; 5], file.voxels].concat()).unwrap();
    assert_eq!(super::read(folder.path().join("a.hdr")).unwrap().volume.voxels()[..3], [0.0, 1.0, 2.0]);
    fs::write(folder.path().join("a.img"), [9; 16]).unwrap();
    let error = super::read(folder.path().join("a.hdr")).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::Truncated { needed: 17, found: 16 }, .. }), "{error}");
}

#[test]
fn half_a_pair_is_an_error_that_names_the_other_half() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str| match super::read(folder.path().join(name)) {
        Err(Error::Nifti { path, source }) => {
            assert_eq!(path, folder.path().join(name));
            source
        }
        other => panic!("{other:?}"),
    };
    let pair = File { magic: b"ni1\0", vox_offset: 0.0, ..File::small(Version::One) };
    fs::write(folder.path().join("a.hdr"), pair.header()).unwrap();
    assert!(matches!(error("a.hdr"), NiftiError::MissingImage(path) if path == folder.path().join("a.img")));
    fs::write(folder.path().join("b.img"), &pair.voxels).unwrap();
    assert!(matches!(error("b.img"), NiftiError::MissingHeader(path) if path == folder.path().join("b.hdr")));
    // A pair's header under a single file's name, and the reverse.
    fs::write(folder.path().join("c.nii"), pair.bytes()).unwrap();
    assert!(matches!(error("c.nii"), NiftiError::HeaderOnly));
    fs::write(folder.path().join("b.hdr"), File::small(Version::One).bytes()).unwrap();
    assert!(matches!(error("b.hdr"), NiftiError::NotAPair));
    // Neither half.
    assert!(matches!(error("d.hdr"), NiftiError::Read(_)));
}

#[test]
fn what_is_not_a_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let error = super::read(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::NotAFile, .. }));
    let missing = folder.path().join("scan.nii");
    let error = super::read(&missing).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::Read(_), .. }));
    assert!(error.to_string().starts_with(&format!("{}: cannot be read: ", missing.display())), "{error}");
}

// Writing.

/// Places of the header that an output may change: data type, bits, offset, slope, intercept, range of display, magic.
fn may_change(version: Version) -> Vec<std::ops::Range<usize>> {
    match version {
        Version::One => vec![70..74, 108..120, 124..132, 344..348],
        Version::Two => vec![4..12, 12..16, 168..208],
    }
}

#[test]
fn outputs_keep_the_header() {
    let folder = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        for big_endian in [false, true] {
            // 4D of one volume with an extension: what the scan has, but for the extension, the mask has too.
            let file = File {
                big_endian,
                dim: [4, 2, 3, 2, 1, 9, 9, 9],
                qform_code: 3,
                sform_code: 5,
                quatern: [0.1, 0.2, 0.3],
                qoffset: [4.0, 5.0, 6.0],
                slope: 2.0,
                inter: -3.0,
                gap: vec![7; 20],
                vox_offset: File::small(version).vox_offset + 16.0,
                ..File::small(version)
            };
            let scan = file.read().unwrap();
            let mask = scan.volume.map(|&value| u8::from(value > 10.0));
            let path = folder.path().join("mask.nii");
            write(&path, &mask, &scan.header).unwrap();
            let bytes = fs::read(&path).unwrap();
            let expected = File { gap: vec![0; 4], voxels: mask.voxels().to_vec(), ..file.clone() }.bytes();
            assert_eq!(bytes.len(), expected.len());
            let free = may_change(version);
            for (at, (found, expected)) in bytes.iter().zip(&expected).enumerate() {
                assert!(found == expected || free.iter().any(|range| range.contains(&at)), "{version:?}: byte {at}");
            }
            // What may change, by the standard.
            let expected = File { slope: 1.0, inter: 0.0, vox_offset: File::small(version).vox_offset, ..file };
            let number = |at: usize, length: usize| expected.header()[at..at + length].to_vec();
            let places: &[(usize, usize)] = match version {
                Version::One => &[(70, 2), (108, 12), (344, 4)],
                Version::Two => &[(4, 10), (168, 24)],
            };
            for &(at, length) in places {
                assert_eq!(bytes[at..at + length], number(at, length), "{version:?}: bytes from {at}");
            }
            let display: Vec<u8> = match version {
                Version::One => [1.0_f32, 0.0].into_iter().flat_map(|value| expected.number(value.to_le_bytes())).collect(),
                Version::Two => [1.0_f64, 0.0].into_iter().flat_map(|value| expected.number(value.to_le_bytes())).collect(),
            };
            let at = if version == Version::One { 124 } else { 192 };
            assert_eq!(bytes[at..at + display.len()], display, "cal_max, cal_min");
            let at = if version == Version::One { 72 } else { 14 };
            assert_eq!(bytes[at..at + 2], expected.number(8_i16.to_le_bytes()), "bitpix");
            let again = super::read(&path).unwrap();
            assert_eq!(again.volume, mask.map(|&value| f32::from(value)));
            assert_eq!(again.header.grid(), scan.header.grid());
        }
    }
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn every_type_is_written_and_read_by_the_nifti_crate() {
    fn check<T: Voxel + nifti::DataElement + PartialEq + std::fmt::Debug>(folder: &Path, shape: [usize; 3], values: &[T]) {
        use nifti::{IntoNdArray, NiftiObject};
        let grid = Grid { shape, affine: Affine::new([[-0.5, 0.0, 0.1], [0.0, 0.5, 0.0], [0.0, 0.0, 4.0]], [1.0, 2.0, 3.0]) };
        for big_endian in [false, true] {
            let [ni, nj, nk] = shape.map(|side| side as i64);
            let scan =
                File { big_endian, dim: [3, ni, nj, nk, 1, 1, 1, 1], voxels: vec![0; grid.len()], ..File::small(Version::One) };
            let header = scan.with_affine(&grid.affine).read().unwrap().header;
            let volume = Volume::new(header.grid().clone(), values.to_vec());
            for name in ["a.nii", "a.nii.gz"] {
                write(folder.join(name), &volume, &header).unwrap();
                let object = nifti::ReaderOptions::new().read_file(folder.join(name)).unwrap();
                let header = object.header();
                assert_eq!(header.data_type().unwrap(), <T as nifti::DataElement>::DATA_TYPE);
                assert_eq!(i32::from(header.bitpix), 8 * size_of::<T>() as i32);
                assert_eq!(
                    (header.sform_code, header.srow_x, header.descrip[..6].to_vec()),
                    (1, [-0.5, 0.0, 0.1, 1.0], b"a head".to_vec())
                );
                let array = object.into_volume().into_ndarray::<T>().unwrap();
                assert_eq!(array.shape(), shape);
                for (at, value) in values.iter().enumerate() {
                    let ijk = [at % shape[0], at / shape[0] % shape[1], at / shape[0] / shape[1]];
                    assert_eq!(array[&ijk[..]], *value, "{name}: {ijk:?}");
                }
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    // A first axis of length 1 once came back in another order from that crate (its issue 63).
    for shape in [[2, 3, 4], [1, 4, 6], [1, 1, 24], [4, 1, 6], [24, 1, 1]] {
        let ramp = || 0..24_u8;
        check(folder.path(), shape, &ramp().collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| n as i8 - 12).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| u16::from(n) * 2700).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| i16::from(n) * 270 - 3000).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| u32::from(n) << 27).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| (i32::from(n) - 12) << 26).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| u64::from(n) << 40).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| (i64::from(n) - 12) << 40).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| f32::from(n) / 7.0).collect::<Vec<_>>());
        check(folder.path(), shape, &ramp().map(|n| f64::from(n) / 7.0).collect::<Vec<_>>());
    }
}

#[test]
fn the_range_of_display_is_that_of_the_finite_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let header = File::small(Version::One).read().unwrap().header;
    let mut values = vec![0.5_f32; 12];
    for (changed, expected) in
        [(vec![], (0.5, 0.5)), (vec![(0, -1024.0), (11, 3071.0), (5, f32::INFINITY), (6, f32::NAN)], (-1024.0, 3071.0))]
    {
        for (at, value) in changed {
            values[at] = value;
        }
        write(&path, &Volume::new(header.grid().clone(), values.clone()), &header).unwrap();
        let written = nifti::NiftiHeader::from_file(&path).unwrap();
        assert_eq!((written.cal_min, written.cal_max), expected);
    }
    write(&path, &Volume::new(header.grid().clone(), vec![f32::NAN; 12]), &header).unwrap();
    let written = nifti::NiftiHeader::from_file(&path).unwrap();
    assert_eq!((written.cal_min, written.cal_max), (0.0, 0.0));
}

#[test]
fn a_new_header_describes_its_grid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.nii.gz");
    let affine = Affine::new([[1.5, 0.0, 0.25], [0.0, -1.5, 0.0], [0.0, 0.0, 1.5]], [-90.0, -125.0, -71.0]);
    let grid = Grid { shape: [3, 4, 5], affine };
    let volume = Volume::new(grid.clone(), (0..60).map(|n| n as f32).collect());
    let header = Header::for_grid(&grid).unwrap();
    assert_eq!((header.grid(), header.version()), (&grid, Version::One));
    write(&path, &volume, &header).unwrap();
    let scan = super::read(&path).unwrap();
    assert_eq!(scan.volume, volume);
    assert!(scan.warnings.is_empty());
    let written = nifti::NiftiHeader::from_file(&path).unwrap();
    assert_eq!(written.dim, [3, 3, 4, 5, 1, 1, 1, 1]);
    let thickness = (0.25_f32.powi(2) + 1.5_f32.powi(2)).sqrt();
    assert_eq!(written.pixdim, [1.0, 1.5, 1.5, thickness, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!((written.qform_code, written.sform_code, written.xyzt_units), (0, 2, 2));
    assert!(written.descrip.starts_with(concat!("ichor ", env!("CARGO_PKG_VERSION"), "\0").as_bytes()));

    let long = Grid { shape: [1, 1, 32768], affine: Affine::IDENTITY };
    let error = Header::for_grid(&long).unwrap_err();
    assert_eq!(error.to_string(), "a side of 32768 voxels is too long for a NIfTI-1 file (at most 32767)");
    assert!(Header::for_grid(&Grid { shape: [32767, 1, 1], ..long }).is_ok());
}

#[test]
fn the_same_volume_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let scan = File::small(Version::One).read().unwrap();
    let (one, other) = (folder.path().join("one.nii.gz"), folder.path().join("OTHER.NII.GZ"));
    for path in [&one, &other] {
        write(path, &scan.volume, &scan.header).unwrap();
    }
    let bytes = fs::read(&one).unwrap();
    assert_eq!(bytes, fs::read(&other).unwrap());
    // No name, no time (RFC 1952).
    assert_eq!((bytes[3], &bytes[4..8]), (0, &[0; 4][..]));
    assert_eq!(entries(folder.path()), 2);
}

#[test]
fn what_cannot_be_written_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let scan = File::small(Version::One).read().unwrap();
    for name in ["mask", "mask.gz", "mask.img", "mask.mha", "masknii"] {
        let error = write(folder.path().join(name), &scan.volume, &scan.header).unwrap_err();
        assert!(matches!(error, Error::Nifti { source: NiftiError::OutputName, .. }), "{name}: {error}");
    }
    let elsewhere = Grid { shape: [2, 3, 2], affine: Affine::IDENTITY };
    let moved = Volume::new(elsewhere, vec![0_u8; 12]);
    assert!(matches!(write(folder.path().join("mask.nii"), &moved, &scan.header), Err(Error::Shape(_))));
    let path = folder.path().join("missing/mask.nii");
    assert!(matches!(write(&path, &scan.volume, &scan.header), Err(Error::Write { path: named, .. }) if named == path));
    assert_eq!(entries(folder.path()), 0);
}

// Properties.

#[derive(Clone, Copy, Debug)]
enum Forms {
    Sform,
    Qform,
    Both,
}

/// The quaternion of a rotation about an axis.
fn quaternion(axis: [f64; 3], angle: f64) -> [f64; 3] {
    let length = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
    axis.map(|a| a / length * (angle / 2.0).sin())
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        affine in affine(),
        shape in [1..6_usize, 1..6, 1..6],
        version in proptest::sample::select(VERSIONS.to_vec()),
        big_endian: bool,
        compressed: bool,
        seed: u64,
        forms in proptest::sample::select(vec![Forms::Sform, Forms::Qform, Forms::Both]),
    ) {
        let spacing = affine.spacing();
        let [ni, nj, nk] = shape.map(|side| side as i64);
        let (sform_code, qform_code) = match forms {
            Forms::Sform => (1, 0),
            Forms::Qform => (0, 1),
            Forms::Both => (4, 1),
        };
        let file = File {
            big_endian,
            dim: [3, ni, nj, nk, 1, 1, 1, 1],
            pixdim: [-1.0, spacing[0], spacing[1], spacing[2], 0.0, 0.0, 0.0, 0.0],
            sform_code,
            qform_code,
            quatern: quaternion([1.0, 2.0, 3.0], 0.7),
            qoffset: affine.translation(),
            voxels: vec![0; shape.iter().product()],
            ..File::small(version)
        }.with_affine(&affine);
        let scan = file.read().unwrap();
        let found = scan.volume.grid().affine;
        match forms {
            Forms::Qform => {
                prop_assert!((0..3).all(|n| (found.spacing()[n] - spacing[n]).abs() < 1e-5));
                prop_assert!(found.determinant() < 0.0);
            }
            _ => prop_assert!(sum_of_squares(&found, &affine) < 1e-8),
        }
        let values: Vec<f32> = (0..scan.volume.grid().len() as u64)
            .map(|n| ((n + 1).wrapping_mul(seed | 1) >> 40) as f32 / 1000.0 - 8000.0)
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if compressed { "a.nii.gz" } else { "a.nii" });
        let volume = Volume::new(scan.volume.grid().clone(), values);
        write(&path, &volume, &scan.header).unwrap();
        let again = super::read(&path).unwrap();
        prop_assert_eq!(again.volume, volume);
        let strip = |header: &Header| {
            let mut bytes = header.for_voxels(DataType::U8, [0.0; 2]);
            bytes.truncate(version.header_size());
            bytes
        };
        prop_assert_eq!(strip(&again.header), strip(&scan.header));
    }

    #[test]
    fn a_quaternion_turns_as_its_rotation_does(axis in 0..3_usize, angle in -3.1..3.1_f64, handed: bool) {
        let mut direction = [0.0; 3];
        direction[axis] = 1.0;
        let pixdim = [if handed { 1.0 } else { -1.0 }, 0.5, 0.6, 4.0, 0.0, 0.0, 0.0, 0.0];
        // A negative angle: the quaternion's a stays positive, as the standard wants it.
        let file = File { sform_code: 0, qform_code: 1, quatern: quaternion(direction, angle), pixdim, ..File::small(Version::Two) };
        let k = if handed { 4.0 } else { -4.0 };
        let steps = Affine::new([[0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, k]], [0.0; 3]);
        let expected = rotation(axis, angle).after(&steps);
        let found = file.read().unwrap().volume.grid().affine;
        prop_assert!(sum_of_squares(&found, &expected) < 1e-12, "{found:?} {expected:?}");
    }

    #[test]
    fn no_bytes_bring_it_down(mut bytes in proptest::collection::vec(any::<u8>(), 0..700), version in proptest::sample::select(VERSIONS.to_vec())) {
        let _ = read_bytes(&bytes);
        // Get past the size and the magic.
        let whole = File::small(version).bytes();
        bytes.resize(whole.len().max(bytes.len()), 0);
        let kept = if version == Version::One { [0..4, 344..348] } else { [0..4, 4..12] };
        for range in kept {
            bytes[range.clone()].copy_from_slice(&whole[range]);
        }
        let _ = read_bytes(&bytes);
    }
}

#[test]
fn codes_and_sizes_agree_with_the_bytes() {
    let mut bytes = Vec::new();
    i16::append(&[1, -2], super::header::ByteOrder::Big, &mut bytes);
    assert_eq!(bytes, [0, 1, 0xff, 0xfe]);
}
