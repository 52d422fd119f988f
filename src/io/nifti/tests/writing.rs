//! Outputs.

use super::*;

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

#[derive(Clone, Copy, Debug)]
enum Forms {
    Sform,
    Qform,
    Both,
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
}
