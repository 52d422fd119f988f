//! The mask of a series written as DICOM-SEG and read back: its voxels must be where they are in the patient, on the slices as the scanner wrote them.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject, from_reader};
use ichor::batch::inputs::{self, Scan};
use ichor::io::dicom::{Algorithm, Converted, segmentation};
use ichor::volume::Volume;
use std::path::Path;
use support::raw_dicom::{RawSeries, items, text};

type Object = FileDicomObject<InMemDicomObject>;

/// A ball at the patient's left, in front, in LPS mm.
const CENTRE: [f64; 3] = [22.0, -12.0, 50.0];
const RADIUS: f64 = 17.0;

fn from_centre(point: [f64; 3]) -> f64 {
    (0..3).map(|n| (point[n] - CENTRE[n]).powi(2)).sum::<f64>().sqrt()
}

fn algorithm() -> Algorithm {
    Algorithm { weights: "test".into(), sha256: "ab".repeat(32), parameters: "threshold 0.5".into() }
}

fn read(folder: &Path) -> Scan {
    inputs::read_one(folder, None).unwrap()
}

/// The mask on the scan's grid where `inside` is true at a voxel's centre in LPS mm.
fn mask(scan: &Scan, inside: impl Fn([f64; 3]) -> bool) -> Volume<bool> {
    let grid = scan.volume.grid().clone();
    let [ni, nj, _] = grid.shape;
    let at = |n: usize| {
        let [x, y, z] = grid.affine.apply([n % ni, n / ni % nj, n / (ni * nj)].map(|index| index as f64));
        inside([-x, -y, z])
    };
    let voxels = (0..grid.len()).map(at).collect();
    Volume::new(grid, voxels)
}

/// The bytes of the file.
fn file(converted: &Converted, mask: &Volume<bool>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ich.dcm");
    segmentation::write(&path, converted, mask, &algorithm()).unwrap();
    std::fs::read(path).unwrap()
}

fn write(converted: &Converted, mask: &Volume<bool>) -> Object {
    from_reader(&file(converted, mask)[..]).unwrap()
}

/// For each frame its position as it is written, the UID of its source, and its pixels, row by row.
fn frames(object: &Object) -> Vec<([f64; 3], String, Vec<bool>)> {
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let whole = |tag| object.element(tag).unwrap().to_int::<usize>().unwrap();
    let size = whole(tags::ROWS) * whole(tags::COLUMNS);
    let groups = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    assert_eq!(groups.len(), whole(tags::NUMBER_OF_FRAMES));
    let frame = |(n, group): (usize, &InMemDicomObject)| {
        let position = &items(group, tags::PLANE_POSITION_SEQUENCE)[0];
        let position = position.element(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64().unwrap();
        let derivation = &items(group, tags::DERIVATION_IMAGE_SEQUENCE)[0];
        let source = text(&items(derivation, tags::SOURCE_IMAGE_SEQUENCE)[0], tags::REFERENCED_SOP_INSTANCE_UID);
        let bit = |n: usize| pixels[n / 8] >> (n % 8) & 1 == 1;
        (position.try_into().unwrap(), source, (n * size..(n + 1) * size).map(bit).collect())
    };
    groups.iter().enumerate().map(frame).collect()
}

fn equal() -> Vec<f64> {
    (0..34).map(|n| 3.0 * f64::from(n)).collect()
}

/// Thin slices below, thick ones above.
fn unequal() -> Vec<f64> {
    let mut heights: Vec<f64> = (0..20).map(|n| 2.5 * f64::from(n)).collect();
    heights.extend((0..12).map(|n| 52.5 + 5.0 * f64::from(n)));
    heights
}

#[test]
fn the_voxels_of_a_straight_series_are_the_masks() {
    let folder = tempfile::tempdir().unwrap();
    // An odd number of pixels: frames begin within a byte.
    let series = RawSeries { columns: 63, rows: 55, ..RawSeries::axial(&equal()) };
    series.write(folder.path(), &|_| 0.0);
    let scan = read(folder.path());
    let mask = mask(&scan, |point| from_centre(point) < RADIUS);
    let object = write(scan.series.as_ref().unwrap(), &mask);
    let frames = frames(&object);
    let mut count = 0;
    for (k, (_, _, pixels)) in frames.iter().enumerate() {
        for (n, &pixel) in pixels.iter().enumerate() {
            // Rows of the volume are stored from the last to the first.
            assert_eq!(pixel, *mask.at([n % 63, 54 - n / 63, k]));
            count += usize::from(pixel);
        }
    }
    assert!(count > 1000 && frames.len() == 34, "{count} voxels");
}

#[test]
fn masks_of_tilted_and_unequal_series_lie_in_the_patient_where_they_were() {
    for (degrees, heights) in [(0.0, unequal()), (18.5, equal()), (-18.5, equal()), (20.0, unequal())] {
        let folder = tempfile::tempdir().unwrap();
        let series = RawSeries::tilted(&heights, degrees);
        series.write(folder.path(), &|_| 0.0);
        let scan = read(folder.path());
        let converted = scan.series.as_ref().unwrap();
        assert!(converted.tilt.is_some() || converted.spacing.is_some());
        let object = write(converted, &mask(&scan, |point| from_centre(point) < RADIUS));
        let frames = frames(&object);
        assert_eq!(frames.len(), heights.len(), "the slices as they were");
        // The nearest voxel's centre is at most half a diagonal of 2 x 2 x 2.5 or 3 mm away.
        let mut sure = [0, 0];
        for (slice, (position, source, pixels)) in frames.iter().enumerate() {
            assert!((0..3).all(|n| (position[n] - series.positions[slice][n]).abs() < 1e-6));
            assert_eq!(*source, format!("2.25.30.{}", slice + 1));
            for (n, &pixel) in pixels.iter().enumerate() {
                let distance = from_centre(series.place(slice, n / series.columns, n % series.columns));
                if (distance - RADIUS).abs() > 2.1 {
                    assert_eq!(pixel, distance < RADIUS, "{degrees} degrees, slice {slice}, pixel {n}: {distance} mm");
                    sure[usize::from(pixel)] += 1;
                }
            }
        }
        assert!(sure[1] > 500 && sure[0] > 50_000, "{sure:?}");
    }
}

#[test]
fn left_stays_left() {
    let folder = tempfile::tempdir().unwrap();
    // The first column at the patient's left: rows go to the right, as no scanner does, but as a file may.
    let turned = RawSeries { along_row: [-1.0, 0.0, 0.0], ..RawSeries::axial(&equal()) };
    let turned = RawSeries { positions: equal().iter().map(|&z| [63.0, -55.0, z]).collect(), ..turned };
    for (name, series) in [("usual", RawSeries::axial(&equal())), ("turned", turned)] {
        let folder = folder.path().join(name);
        series.write(&folder, &|_| 0.0);
        let scan = read(&folder);
        let left_front = |[x, y, _]: [f64; 3]| x > 20.0 && y < -20.0;
        for (slice, (_, _, pixels)) in frames(&write(scan.series.as_ref().unwrap(), &mask(&scan, left_front))).iter().enumerate()
        {
            for (n, &pixel) in pixels.iter().enumerate() {
                assert_eq!(pixel, left_front(series.place(slice, n / 64, n % 64)), "{name}");
            }
        }
    }
}

#[test]
fn patient_study_weights_and_codes_are_told_and_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let series = RawSeries::axial(&equal())
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100")
        .with(tags::PATIENT_NAME, VR::PN, "M\u{fc}ller^J\u{f6}rg")
        .with(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.77")
        .with(tags::ACQUISITION_DATE, VR::DA, "20240229");
    series.write(folder.path(), &|_| 0.0);
    let scan = read(folder.path());
    let converted = scan.series.as_ref().unwrap();
    let full = mask(&scan, |point| from_centre(point) < RADIUS);
    let object = write(converted, &full);
    for (tag, value) in [
        (tags::PATIENT_NAME, "M\u{fc}ller^J\u{f6}rg"),
        (tags::PATIENT_ID, "phantom"),
        (tags::STUDY_INSTANCE_UID, "2.25.20"),
        (tags::FRAME_OF_REFERENCE_UID, "2.25.77"),
        (tags::CONTENT_DATE, "20240229"),
        (tags::MODALITY, "SEG"),
        (tags::DEVICE_SERIAL_NUMBER, "ab".repeat(32).as_str()),
        (tags::CONTENT_DESCRIPTION, "For research use only, not for diagnosis."),
    ] {
        assert_eq!(text(&object, tag), value);
    }
    let segment = &items(&object, tags::SEGMENT_SEQUENCE)[0];
    assert_eq!(text(segment, tags::SEGMENT_ALGORITHM_NAME), "ichor, weights test");
    let kind = &items(segment, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE)[0];
    assert_eq!([text(kind, tags::CODE_VALUE), text(kind, tags::CODING_SCHEME_DESIGNATOR)], ["274100004", "SCT"]);
    let sources = items(&items(&object, tags::REFERENCED_SERIES_SEQUENCE)[0], tags::REFERENCED_INSTANCE_SEQUENCE);
    assert_eq!(sources.len(), 34);

    // The same input gives the same bytes; another result is another object, and an empty mask is one with all frames.
    let uid = |object: &Object| text(object, tags::SOP_INSTANCE_UID);
    assert!(file(converted, &full) == file(converted, &full));
    let empty = write(converted, &mask(&scan, |_| false));
    assert_ne!(uid(&empty), uid(&object));
    assert_ne!(text(&empty, tags::SERIES_INSTANCE_UID), "2.25.30");
    assert!(frames(&empty).len() == 34 && frames(&empty).iter().all(|(.., pixels)| !pixels.contains(&true)));
}

#[test]
fn what_the_source_says_of_its_images_is_carried_on() {
    let segmentation = |heights: &[f64], texts: &[(dicom_core::Tag, VR, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let mut series = RawSeries::axial(heights);
        for (tag, vr, value) in texts {
            series = series.with(*tag, *vr, value);
        }
        series.write(folder.path(), &|_| 0.0);
        let scan = read(folder.path());
        write(scan.series.as_ref().unwrap(), &mask(&scan, |_| false))
    };
    let plain = segmentation(&equal(), &[]);
    assert_eq!(text(&plain, tags::LOSSY_IMAGE_COMPRESSION), "00");
    assert!(plain.element(tags::DEIDENTIFICATION_METHOD).is_err() && plain.element(tags::BODY_PART_EXAMINED).is_err());
    // A number of the series that a segmentation cannot be counted on from, a thickness that cannot be.
    let odd = segmentation(
        &equal(),
        &[
            (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"),
            (tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "8"),
            (tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
            (tags::SERIES_NUMBER, VR::IS, "-5"),
            (tags::SLICE_THICKNESS, VR::DS, "0"),
            (tags::BODY_PART_EXAMINED, VR::CS, "HEAD"),
        ],
    );
    for (tag, value) in [
        (tags::LOSSY_IMAGE_COMPRESSION, "01"),
        (tags::LOSSY_IMAGE_COMPRESSION_RATIO, "8"),
        (tags::DEIDENTIFICATION_METHOD, "as that of the source images"),
        (tags::SERIES_NUMBER, "1000"),
        (tags::BODY_PART_EXAMINED, "HEAD"),
    ] {
        assert_eq!(text(&odd, tag), value);
    }
    let method = (tags::DEIDENTIFICATION_METHOD, VR::LO, "defaced");
    let told = segmentation(&equal(), &[(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"), method]);
    assert_eq!(text(&told, tags::DEIDENTIFICATION_METHOD), "defaced");
    // Slices that are equally far apart say how far; others must not.
    let measures = |object: &Object, tag| {
        let groups = [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE];
        let mut groups = groups.iter().map(|&groups| &items(object, groups)[0]);
        let group = groups.find(|group| group.element(tags::PIXEL_MEASURES_SEQUENCE).is_ok()).unwrap();
        let measures = &items(group, tags::PIXEL_MEASURES_SEQUENCE)[0];
        measures.element(tag).ok().map(|element| element.to_float64().unwrap())
    };
    assert_eq!(measures(&odd, tags::SPACING_BETWEEN_SLICES), Some(3.0));
    assert_eq!(measures(&odd, tags::SLICE_THICKNESS), Some(3.0));
    let unequal = segmentation(&unequal(), &[(tags::SLICE_THICKNESS, VR::DS, "2.5")]);
    assert_eq!(measures(&unequal, tags::SPACING_BETWEEN_SLICES), None);
    assert_eq!(measures(&unequal, tags::SLICE_THICKNESS), Some(2.5));
}
