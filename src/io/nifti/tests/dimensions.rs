//! Numbers of voxels, honest or not.

use super::*;

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
