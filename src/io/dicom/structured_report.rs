//! A hemorrhage's volume as a DICOM structured report: a Comprehensive SR (PS3.3, A.35.3) by the template "Measurement Report" (PS3.16, TID 1500), beside the segmentation that it refers to.
//!
//! The volume of all blood is one group of measurements (TID 1411), which refers to the segment. Where no blood was found the volume is 0 mL, and the segment, which is empty, tells
//! that every slice was looked at. Volumes of components are told in words: they have no segments of their own, and a reader that adds up volumes must not count them twice.
//!
//! The same input gives the same bytes, as in [`segmentation`](super::segmentation).

use super::Converted;
use super::content::{Code, Relation, coded, container, image, measured, root, segment, text, uid, with};
use super::derived::{self, ARTIFICIAL_INTELLIGENCE, Algorithm, BRAIN, HEMORRHAGE, Instance, RESEARCH_USE_ONLY, references};
use super::elements::{Element, item, sequence, string};
use super::segmentation::Uids;
use crate::io::Result;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use std::path::Path;

const TITLE: Code = ["126000", "DCM", "Imaging Measurement Report"];
const LANGUAGE: Code = ["121049", "DCM", "Language of Content Item and Descendants"];
const ENGLISH: Code = ["en-US", "RFC5646", "English (United States)"];
const PROCEDURE: Code = ["121058", "DCM", "Procedure reported"];
/// The nearest of the context group that the template names (CID 100).
const CT: Code = ["25045-6", "LN", "CT unspecified body region"];
const COMMENT: Code = ["121106", "DCM", "Comment"];
const VOLUME: Code = ["118565006", "SCT", "Volume"];
const MILLILITRE: Code = ["mL", "UCUM", "mL"];
const METHOD: Code = ["370129005", "SCT", "Measurement Method"];
const SUM_OF_VOXELS: Code = ["126030", "DCM", "Sum of segmented voxel method for volume"];

/// What a report says.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// Volume of all blood in mL.
    pub volume_ml: f64,
    /// What is to be known besides, in sentences.
    pub remarks: Vec<String>,
}

/// Writes the report of a segmentation of `converted` that was written with the UIDs `segmentation`.
///
/// # Errors
/// [`Error::Dicom`](crate::io::Error::Dicom) where the first file of the series cannot be read any more, [`Error::Write`](crate::io::Error::Write).
pub fn write(
    path: &Path,
    converted: &Converted,
    segmentation: &Uids,
    measurements: &Measurements,
    algorithm: &Algorithm,
) -> Result<()> {
    derived::write(path, structured_report(converted, segmentation, measurements, algorithm)?)
}

/// The data set of [`write()`].
///
/// # Errors
/// [`Error::Dicom`](crate::io::Error::Dicom) as [`write()`].
pub(crate) fn structured_report(
    converted: &Converted,
    segmentation: &Uids,
    measurements: &Measurements,
    algorithm: &Algorithm,
) -> Result<InMemDicomObject> {
    let source = derived::source(converted)?;
    let said = [&[measurements.volume_ml.to_string()], &measurements.remarks[..]].concat().join("\n");
    let of_report = |what: &str| derived::uid(&[what.as_bytes(), segmentation.instance.as_bytes(), said.as_bytes()]);
    let (series, instance) = (of_report("report series"), of_report("report instance"));
    let instance = Instance {
        class: uids::COMPREHENSIVE_SR_STORAGE,
        modality: "SR",
        study: &segmentation.study,
        series: &series,
        beyond: 2000,
        instance: &instance,
    };
    let elements = [
        derived::patient_and_study(&source),
        derived::identity(converted, &source, &instance),
        derived::equipment(algorithm),
        document(converted, segmentation),
    ];
    let mut report = root(TITLE, "1500", content(converted, segmentation, measurements, algorithm));
    elements.into_iter().flatten().for_each(|element| drop(report.put(element)));
    Ok(report)
}

/// State of the document, and what it is about (PS3.3, C.17.1 and C.17.2).
fn document(converted: &Converted, segmentation: &Uids) -> Vec<Element> {
    let series =
        |uid: &str, files| item([string(tags::SERIES_INSTANCE_UID, VR::UI, uid), sequence(tags::REFERENCED_SOP_SEQUENCE, files)]);
    let all = vec![
        series(&converted.series.identity.series_uid, references(converted)),
        series(&segmentation.series, vec![reference(segmentation)]),
    ];
    let study =
        item([string(tags::STUDY_INSTANCE_UID, VR::UI, &segmentation.study), sequence(tags::REFERENCED_SERIES_SEQUENCE, all)]);
    vec![
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
        sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![study]),
        string(tags::COMPLETION_FLAG, VR::CS, "COMPLETE"),
        string(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED"),
        string(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY"),
    ]
}

/// The segmentation's file.
fn reference(segmentation: &Uids) -> InMemDicomObject {
    item([
        string(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE),
        string(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &segmentation.instance),
    ])
}

/// What stands below the root (TID 1500).
fn content(
    converted: &Converted,
    segmentation: &Uids,
    measurements: &Measurements,
    algorithm: &Algorithm,
) -> Vec<InMemDicomObject> {
    let mut measured: Vec<_> = identification(algorithm).into();
    measured.push(all_blood(converted, segmentation, measurements));
    let mut content = vec![coded(Relation::Concept, LANGUAGE, ENGLISH)];
    content.extend(observer(algorithm));
    content.extend([
        coded(Relation::Concept, PROCEDURE, CT),
        image_library(converted, segmentation),
        container(["126010", "DCM", "Imaging Measurements"], None, measured),
    ]);
    content.extend(remarks(converted, measurements).iter().map(|remark| text(Relation::Contains, COMMENT, remark)));
    content
}

/// The program as the observer (TID 1002, TID 1004).
fn observer(algorithm: &Algorithm) -> [InMemDicomObject; 6] {
    let version = env!("CARGO_PKG_VERSION");
    let device = derived::uid(&[b"device", version.as_bytes(), algorithm.sha256.as_bytes()]);
    let said = |name, value| text(Relation::Observation, name, value);
    [
        coded(Relation::Observation, ["121005", "DCM", "Observer Type"], ["121007", "DCM", "Device"]),
        uid(Relation::Observation, ["121012", "DCM", "Device Observer UID"], &device),
        said(["121013", "DCM", "Device Observer Name"], &format!("ichor {version}")),
        said(["121014", "DCM", "Device Observer Manufacturer"], "ichor"),
        said(["121015", "DCM", "Device Observer Model Name"], "ichor"),
        said(["121016", "DCM", "Device Observer Serial Number"], &algorithm.sha256),
    ]
}

/// The files of the source series (TID 1600).
fn image_library(converted: &Converted, segmentation: &Uids) -> InMemDicomObject {
    let context = Relation::Acquisition;
    let mut group = vec![
        coded(context, ["121139", "DCM", "Modality"], ["CT", "DCM", "Computed Tomography"]),
        uid(context, ["112227", "DCM", "Frame of Reference UID"], &segmentation.frame_of_reference),
    ];
    group.extend(references(converted).into_iter().map(image));
    let group = container(["126200", "DCM", "Image Library Group"], None, group);
    container(["111028", "DCM", "Image Library"], None, vec![group])
}

/// The volume of the segment (TID 1411).
fn all_blood(converted: &Converted, segmentation: &Uids, measurements: &Measurements) -> InMemDicomObject {
    let source = &converted.series.identity.series_uid;
    let volume = measured(VOLUME, measurements.volume_ml, MILLILITRE);
    let mut group = vec![
        text(Relation::Observation, ["112039", "DCM", "Tracking Identifier"], "Intracerebral hemorrhage"),
        uid(Relation::Observation, ["112040", "DCM", "Tracking Unique Identifier"], &segmentation.tracking),
        coded(Relation::Contains, ["121071", "DCM", "Finding"], HEMORRHAGE),
        coded(Relation::Concept, ["363698007", "SCT", "Finding Site"], BRAIN),
        segment(["121191", "DCM", "Referenced Segment"], reference(segmentation), 1),
        uid(Relation::Contains, ["121232", "DCM", "Source series for segmentation"], source),
        with(volume, vec![coded(Relation::Concept, METHOD, SUM_OF_VOXELS)]),
    ];
    if measurements.volume_ml == 0.0 {
        let nothing = "No hemorrhage was found: the segment is empty. This does not exclude one.";
        group.push(text(Relation::Contains, COMMENT, nothing));
    }
    container(["125007", "DCM", "Measurement Group"], Some("1411"), group)
}

/// What made the segment (TID 4019).
fn identification(algorithm: &Algorithm) -> [InMemDicomObject; 5] {
    let said = |name, value: &str| text(Relation::Concept, name, value);
    [
        coded(Relation::Concept, ["111000", "DCM", "Algorithm Family"], ARTIFICIAL_INTELLIGENCE),
        said(["111001", "DCM", "Algorithm Name"], &algorithm.name()),
        said(["111003", "DCM", "Algorithm Version"], env!("CARGO_PKG_VERSION")),
        said(["122405", "DCM", "Algorithm Manufacturer"], "ichor"),
        said(["111002", "DCM", "Algorithm Parameters"], &algorithm.settings()),
    ]
}

/// What a reader must know; the first is the most important.
fn remarks(converted: &Converted, measurements: &Measurements) -> Vec<String> {
    let mut remarks = vec![RESEARCH_USE_ONLY.to_string()];
    if converted.tilt.is_some() || converted.spacing.is_some() {
        remarks.push("The volume was measured after the corrections; that of the segment, which is on the slices as they were, may differ a little.".into());
    }
    remarks.extend(measurements.remarks.iter().cloned());
    remarks
}
