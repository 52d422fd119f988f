//! Voxels as numbers: types, byte orders, scaling.

use super::*;

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
    let sentence = "its header scales voxels by 2 and adds NaN, which gives no values; \
                    repair its header (scl_inter is 0 where nothing is to be added)";
    assert_eq!(error.to_string(), sentence);
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
