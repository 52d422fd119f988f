//! The structured report of a series, written beside its segmentation and read back: what it says and what it refers to.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject, open_file};
use ichor::batch::inputs::{self, Scan};
use ichor::io::Error;
use ichor::io::dicom::structured_report::{self, Measurements};
use ichor::io::dicom::{Algorithm, Converted, segmentation};
use std::path::Path;
use support::raw_dicom::{RawSeries, items, text};

type Object = FileDicomObject<InMemDicomObject>;

const SLICES: usize = 20;

fn algorithm() -> Algorithm {
    Algorithm { weights: "test".into(), sha256: "ab".repeat(32), parameters: "threshold 0.5".into() }
}

fn heights() -> Vec<f64> {
    (0..SLICES).map(|n| 4.0 * n as f64).collect()
}

/// A series written to `folder` and read.
fn scan(folder: &Path, series: &RawSeries) -> Scan {
    series.write(folder, &|_| 0.0);
    inputs::read_one(folder, None).unwrap()
}

/// 12.3 mL and a bit, which no decimal number is.
fn measurements() -> Measurements {
    Measurements { volume_ml: 37.0 / 3.0, remarks: vec!["Warning 4: slices of 9.0 mm".into()] }
}

/// Writes segmentation and report to `folder`, of a mask whose voxels are all `blood`.
fn write(folder: &Path, scan: &Scan, measurements: &Measurements, blood: bool) -> [Object; 2] {
    let (converted, mask) = (scan.series.as_ref().unwrap(), scan.volume.map(|_| blood));
    let [seg, sr] = ["seg.dcm", "sr.dcm"].map(|name| folder.join(name));
    let uids = segmentation::write(&seg, converted, &mask, &algorithm()).unwrap();
    structured_report::write(&sr, converted, &uids, measurements, &algorithm()).unwrap();
    [seg, sr].map(|path| open_file(path).unwrap())
}

/// All content items of this concept below `object`, in order.
fn find<'a>(object: &'a InMemDicomObject, concept: &str) -> Vec<&'a InMemDicomObject> {
    let below = object.get(tags::CONTENT_SEQUENCE).and_then(|content| content.items()).unwrap_or_default();
    let mut found = Vec::new();
    for content in below {
        let name = content.get(tags::CONCEPT_NAME_CODE_SEQUENCE).and_then(|name| name.items()?.first());
        if name.is_some_and(|name| text(name, tags::CODE_VALUE) == concept) {
            found.push(content);
        }
        found.extend(find(content, concept));
    }
    found
}

/// The value of a content item: a code, a number in mL.
fn code(content: &InMemDicomObject) -> String {
    text(&items(content, tags::CONCEPT_CODE_SEQUENCE)[0], tags::CODE_VALUE)
}

fn millilitres(content: &InMemDicomObject) -> f64 {
    let measured = &items(content, tags::MEASURED_VALUE_SEQUENCE)[0];
    let unit = &items(measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE)[0];
    assert_eq!((text(unit, tags::CODE_VALUE), text(unit, tags::CODING_SCHEME_DESIGNATOR)), ("mL".into(), "UCUM".into()));
    let exact = measured.get(tags::FLOATING_POINT_VALUE).or(measured.get(tags::NUMERIC_VALUE));
    exact.unwrap().to_float64().unwrap()
}

/// The instances that a series of the evidence, or an image of the content, refers to.
fn instances(object: &InMemDicomObject) -> Vec<String> {
    let references = items(object, tags::REFERENCED_SOP_SEQUENCE);
    references.iter().map(|reference| text(reference, tags::REFERENCED_SOP_INSTANCE_UID)).collect()
}

const VOLUME: &str = "118565006";
const COMMENT: &str = "121106";

#[test]
fn the_volume_is_told_with_its_segment_and_its_series() {
    let folder = tempfile::tempdir().unwrap();
    let series = RawSeries::axial(&heights()).with(tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    let [seg, sr] = write(folder.path(), &scan(&folder.path().join("series"), &series), &measurements(), true);
    for tag in [tags::PATIENT_ID, tags::PATIENT_NAME, tags::STUDY_INSTANCE_UID, tags::CONTENT_DATE, tags::DEVICE_SERIAL_NUMBER] {
        assert_eq!(text(&sr, tag), text(&seg, tag));
    }
    assert_eq!(text(&sr, tags::SOP_CLASS_UID), uids::COMPREHENSIVE_SR_STORAGE);
    assert_ne!(text(&sr, tags::SERIES_INSTANCE_UID), text(&seg, tags::SERIES_INSTANCE_UID));
    assert_eq!(text(&items(&sr, tags::CONTENT_TEMPLATE_SEQUENCE)[0], tags::TEMPLATE_IDENTIFIER), "1500");

    let [group] = find(&sr, "125007")[..] else { panic!("one group of measurements") };
    assert_eq!(text(&items(group, tags::CONTENT_TEMPLATE_SEQUENCE)[0], tags::TEMPLATE_IDENTIFIER), "1411");
    assert_eq!(millilitres(find(group, VOLUME)[0]), 37.0 / 3.0, "exactly");
    assert_eq!((code(find(group, "121071")[0]), code(find(group, "363698007")[0])), ("274100004".into(), "12738006".into()));

    let segment = &items(find(group, "121191")[0], tags::REFERENCED_SOP_SEQUENCE)[0];
    assert_eq!(text(segment, tags::REFERENCED_SOP_INSTANCE_UID), text(&seg, tags::SOP_INSTANCE_UID));
    assert_eq!(segment.element(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int::<u16>().unwrap(), 1);
    assert_eq!(text(find(group, "121232")[0], tags::UID), "2.25.30");
    let tracking = text(&items(&seg, tags::SEGMENT_SEQUENCE)[0], tags::TRACKING_UID);
    assert_eq!(text(find(group, "112040")[0], tags::UID), tracking);
    assert_eq!(text(find(&sr, "111001")[0], tags::TEXT_VALUE), "ichor, weights test");
    assert_eq!(text(find(&sr, "121016")[0], tags::TEXT_VALUE), "ab".repeat(32));
    let comments: Vec<String> = find(&sr, COMMENT).iter().map(|comment| text(comment, tags::TEXT_VALUE)).collect();
    assert_eq!(comments, ["For research use only, not for diagnosis.", "Warning 4: slices of 9.0 mm"]);
}

#[test]
fn all_that_is_referred_to_is_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan(&folder.path().join("series"), &RawSeries::axial(&heights()));
    let [seg, sr] = write(folder.path(), &scan, &measurements(), true);
    let study = &items(&sr, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE)[0];
    assert_eq!(text(study, tags::STUDY_INSTANCE_UID), "2.25.20");
    let [source, segmentation] = items(study, tags::REFERENCED_SERIES_SEQUENCE) else { panic!("two series") };
    assert_eq!(text(source, tags::SERIES_INSTANCE_UID), "2.25.30");
    let sources = instances(source);
    assert!(sources.len() == SLICES && (1..=SLICES).all(|n| sources.contains(&format!("2.25.30.{n}"))), "{sources:?}");
    assert_eq!(text(segmentation, tags::SERIES_INSTANCE_UID), text(&seg, tags::SERIES_INSTANCE_UID));
    assert_eq!(instances(segmentation), [text(&seg, tags::SOP_INSTANCE_UID)]);
    // The image library lists the same images.
    let library = find(&sr, "126200")[0];
    let images = items(library, tags::CONTENT_SEQUENCE).iter().filter(|content| text(content, tags::VALUE_TYPE) == "IMAGE");
    assert!(images.flat_map(instances).eq(sources));
}

#[test]
fn where_nothing_was_found_the_volume_is_0_ml_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan(&folder.path().join("series"), &RawSeries::axial(&heights()));
    let nothing = Measurements { volume_ml: 0.0, remarks: Vec::new() };
    let [seg, sr] = write(folder.path(), &scan, &nothing, false);
    let [group] = find(&sr, "125007")[..] else { panic!("one group of measurements") };
    assert_eq!(millilitres(find(group, VOLUME)[0]), 0.0);
    let segment = &items(find(group, "121191")[0], tags::REFERENCED_SOP_SEQUENCE)[0];
    assert_eq!(text(segment, tags::REFERENCED_SOP_INSTANCE_UID), text(&seg, tags::SOP_INSTANCE_UID), "the empty segment");
    assert!(text(find(group, COMMENT)[0], tags::TEXT_VALUE).starts_with("No hemorrhage was found"));
}

#[test]
fn a_volume_that_was_measured_after_a_correction_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan(&folder.path().join("series"), &RawSeries::tilted(&heights(), 15.0));
    let [_, sr] = write(folder.path(), &scan, &measurements(), true);
    assert!(text(find(&sr, COMMENT)[1], tags::TEXT_VALUE).contains("measured after the corrections"));
}

#[test]
fn the_same_result_gives_the_same_bytes_and_another_another_uid() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan(&folder.path().join("series"), &RawSeries::axial(&heights()));
    let bytes = || std::fs::read(folder.path().join("sr.dcm")).unwrap();
    let uid = |sr: &Object| text(sr, tags::SOP_INSTANCE_UID);
    let [_, first] = write(folder.path(), &scan, &measurements(), true);
    let one = bytes();
    write(folder.path(), &scan, &measurements(), true);
    assert!(bytes() == one);
    for other in [Measurements { volume_ml: 12.0, ..measurements() }, Measurements { remarks: Vec::new(), ..measurements() }] {
        assert_ne!(uid(&write(folder.path(), &scan, &other, true)[1]), uid(&first), "{other:?}");
    }
    assert_ne!(uid(&write(folder.path(), &scan, &measurements(), false)[1]), uid(&first), "another segmentation");
}

#[test]
fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("series");
    let scan = scan(&series, &RawSeries::axial(&heights()));
    let converted: &Converted = scan.series.as_ref().unwrap();
    let uids = segmentation::write(&folder.path().join("seg.dcm"), converted, &scan.volume.map(|_| true), &algorithm()).unwrap();
    let write = |path: &Path| structured_report::write(path, converted, &uids, &measurements(), &algorithm());
    let missing = folder.path().join("missing/sr.dcm");
    assert!(matches!(write(&missing), Err(Error::Write { path, .. }) if path == missing));
    std::fs::remove_dir_all(&series).unwrap();
    let sr = folder.path().join("sr.dcm");
    assert!(matches!(write(&sr), Err(Error::Dicom { path, .. }) if path.starts_with(&series)), "the source is gone");
    assert!(!sr.exists());
}
