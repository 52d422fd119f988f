//! Where a header puts its voxels.

use super::*;

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
    // 2 m apart, in a header in metres.
    let mut metres = File { units: 1, qform_code: 1, qoffset: [0.0, 2.0, 0.0], ..File::small(Version::Two) };
    metres.pixdim[1..4].copy_from_slice(&[0.5; 3]);
    metres.srow = [[0.5, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]];
    assert_eq!(metres.read().unwrap().warnings, [Warning::FormsDisagree { mm: 2000.0 }]);
    // No word about two worlds, nor about a millimetre, nor about a form that is not set.
    let quiet = [
        File { qform_code: 2, ..file.clone() },
        File { qform_code: 0, ..file.clone() },
        File { qform_code: 1, qoffset: [-7.0, 8.0, 10.0], ..File::small(Version::Two) },
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
    let axis = [0.48, 0.6, 0.64];
    // Half a turn about a unit vector: 2 axis axis' - 1.
    let matrix = [0, 1, 2].map(|row| [0, 1, 2].map(|n| 2.0 * axis[row] * axis[n] - f64::from(u8::from(row == n))));
    for scale in [1.0 + 4e-3, 1.0, 1.0 - 4e-8] {
        let pixdim = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let file = File { sform_code: 0, qform_code: 1, quatern: axis.map(|a| a * scale), pixdim, ..File::small(Version::Two) };
        let found = file.read().unwrap().volume.grid().affine;
        assert!(sum_of_squares(&found, &Affine::new(matrix, [0.0; 3])) < 1e-12, "{scale}: {found:?}");
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

proptest! {
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
}
