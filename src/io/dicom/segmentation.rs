//! A mask as a DICOM Segmentation (PS3.3, A.51) on the slices that the scanner wrote, so that an archive shows it on them.
//!
//! The mask of a tilted or unequal series, which was found on a corrected grid, goes back onto the original slices first ([`onto_slices`]). There is a frame for each
//! slice of the series, with blood or without: an empty mask is a valid object too, and tells that every slice was looked at.
//!
//! The same input gives the same bytes. UIDs are under 2.25 (PS3.5, B.2), from the SHA-256 of the source's UIDs, the algorithm and the pixels; date and time are those of the source.

use super::Converted;
use super::attributes::text;
use super::error::DicomError;
use super::file::File;
use super::onto_slices;
use super::slice::Slice;
use crate::io::atomic;
use crate::volume::Volume;
use crate::{Error, Result};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The most characters of a short text (VR LO; PS3.5, 6.2).
const LONGEST_TEXT: usize = 64;
/// The most characters of a decimal number (VR DS).
const LONGEST_DECIMAL: usize = 16;
/// Date and time of a source that has none, for they must not be empty: so old that nobody takes them for true.
const NO_DATE: [&str; 2] = ["19000101", "000000"];

/// What made a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// Name of the weights.
    pub weights: String,
    /// SHA-256 of the weights, in hexadecimal digits.
    pub sha256: String,
    /// What was set, in words.
    pub parameters: String,
}

/// Writes a mask on the grid of `converted` as a segmentation of its series.
///
/// # Errors
/// [`Error::Dicom`] where the first file of the series cannot be read any more, [`Error::Shape`] for a mask whose affine is singular, [`Error::Write`].
pub fn write(path: &Path, converted: &Converted, mask: &Volume<bool>, algorithm: &Algorithm) -> Result<()> {
    let object = segmentation(converted, mask, algorithm)?;
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file = object.with_meta(meta).map_err(io::Error::other).map_err(Error::write(path))?;
    atomic::write(path, |out| file.write_all(out).map_err(io::Error::other))
}

/// The data set of [`write()`].
///
/// # Errors
/// As [`write()`].
pub fn segmentation(converted: &Converted, mask: &Volume<bool>, algorithm: &Algorithm) -> Result<InMemDicomObject> {
    let first = &converted.series.slices[0];
    let failed = |source: DicomError| Error::Dicom { path: first.path.clone(), source };
    let source = File::open(&first.path).and_then(|mut file| file.attributes()).map_err(failed)?.object;
    let pixels = pack(&onto_slices(&converted.series.slices, mask)?);
    let uids = Uids::of(converted, algorithm, &pixels);

    let mut object = InMemDicomObject::new_empty();
    copy_patient_and_study(&mut object, &source);
    let mut add = |elements: Vec<Element>| elements.into_iter().for_each(|element| drop(object.put(element)));
    add(identity(converted, &source, &uids));
    add(equipment(algorithm));
    add(image(converted, &source, pixels));
    add(vec![
        sequence(tags::SEGMENT_SEQUENCE, vec![segment(algorithm)]),
        sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![references(converted)]),
    ]);
    add(dimensions(&uids));
    add(functional_groups(converted));
    Ok(object)
}

type Element = DataElement<InMemDicomObject>;

fn string(tag: Tag, vr: VR, value: impl Into<String>) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

fn number(tag: Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> Element {
    DataElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(items))
}

fn item(elements: impl IntoIterator<Item = Element>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// A sequence of one coded concept (PS3.3, 8.8).
fn code(tag: Tag, value: &str, scheme: &str, meaning: &str) -> Element {
    let concept = [
        string(tags::CODE_VALUE, VR::SH, value),
        string(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        string(tags::CODE_MEANING, VR::LO, meaning),
    ];
    sequence(tag, vec![item(concept)])
}

/// A text of VR LO: cut to its length, without what separates values and without control characters.
fn short(value: &str) -> String {
    value.chars().take(LONGEST_TEXT).map(|c| if c == '\\' || c.is_control() { '_' } else { c }).collect()
}

/// A number of VR DS: the shortest text that is this number, or as many digits as there is room for.
fn decimal(value: f64) -> String {
    let shortest = value.to_string();
    if shortest.len() <= LONGEST_DECIMAL {
        return shortest;
    }
    let fits = |text: &String| text.len() <= LONGEST_DECIMAL;
    let digits = (0..LONGEST_DECIMAL).rev().map(|digits| format!("{value:.digits$}")).find(fits);
    digits.unwrap_or_else(|| format!("{value:.8e}"))
}

fn decimals(tag: Tag, values: &[f64]) -> Element {
    string(tag, VR::DS, values.iter().map(|&value| decimal(value)).collect::<Vec<_>>().join("\\"))
}

/// Bits of all frames one behind the other, the first in the lowest bit (PS3.5, 8.1.1), filled to whole words.
fn pack(frames: &[Vec<bool>]) -> Vec<u8> {
    let bits: usize = frames.iter().map(Vec::len).sum();
    let mut bytes = vec![0; bits.div_ceil(8).next_multiple_of(2)];
    for (n, _) in frames.iter().flatten().enumerate().filter(|(_, inside)| **inside) {
        bytes[n / 8] |= 1 << (n % 8);
    }
    bytes
}

/// The UIDs of a segmentation.
struct Uids {
    series: String,
    instance: String,
    dimensions: String,
    /// Where the source has none.
    study: String,
    frame_of_reference: String,
}

impl Uids {
    fn of(converted: &Converted, algorithm: &Algorithm, pixels: &[u8]) -> Uids {
        let series = &converted.series.identity.series_uid;
        let mut all = vec![env!("CARGO_PKG_VERSION").into(), series.clone()];
        for slice in &converted.series.slices {
            all.extend([slice.sop_instance_uid.clone(), slice.frame.unwrap_or(0).to_string()]);
        }
        all.extend([&algorithm.weights, &algorithm.sha256, &algorithm.parameters].map(Clone::clone));
        let result = all.join("\n");
        let of_result = |what: &str| uid(&[what.as_bytes(), result.as_bytes(), pixels]);
        Uids {
            series: of_result("series"),
            instance: of_result("instance"),
            dimensions: of_result("dimensions"),
            study: uid(&[b"study", series.as_bytes()]),
            frame_of_reference: uid(&[b"frame of reference", series.as_bytes()]),
        }
    }
}

/// A UID from a UUID of version 8 (RFC 9562, 5.8) that is the beginning of the SHA-256 of `parts`.
fn uid(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

/// Attributes of patient and study, which must be the source's.
fn copy_patient_and_study(object: &mut InMemDicomObject, source: &InMemDicomObject) {
    // Those that must be there, empty if need be (type 2).
    let always = [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::STUDY_ID, VR::SH),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO),
    ];
    let where_known = [
        (tags::ISSUER_OF_PATIENT_ID, VR::LO),
        (tags::PATIENT_AGE, VR::AS),
        (tags::PATIENT_SIZE, VR::DS),
        (tags::PATIENT_WEIGHT, VR::DS),
        (tags::PATIENT_IDENTITY_REMOVED, VR::CS),
        (tags::DEIDENTIFICATION_METHOD, VR::LO),
        (tags::STUDY_DESCRIPTION, VR::LO),
        (tags::BODY_PART_EXAMINED, VR::CS),
        (tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS),
        (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS),
    ];
    // Texts were decoded from the source's character set.
    object.put(string(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
    for (tag, vr) in always {
        object.put(string(tag, vr, text(source, tag)));
    }
    for (tag, vr) in where_known {
        let value = text(source, tag);
        if !value.is_empty() {
            object.put(string(tag, vr, value));
        }
    }
    if text(source, tags::PATIENT_IDENTITY_REMOVED) == "YES" && object.get(tags::DEIDENTIFICATION_METHOD).is_none() {
        object.put(string(tags::DEIDENTIFICATION_METHOD, VR::LO, "as that of the source images"));
    }
}

/// Date and time of the source: of its content, else of acquisition, series or study.
fn date_and_time(source: &InMemDicomObject) -> [String; 2] {
    let pairs = [
        [tags::CONTENT_DATE, tags::CONTENT_TIME],
        [tags::ACQUISITION_DATE, tags::ACQUISITION_TIME],
        [tags::SERIES_DATE, tags::SERIES_TIME],
        [tags::STUDY_DATE, tags::STUDY_TIME],
    ];
    let known = pairs.map(|pair| pair.map(|tag| text(source, tag))).into_iter().find(|[date, _]| !date.is_empty());
    let [date, time] = known.unwrap_or_default();
    let or = |value: String, none: &str| if value.is_empty() { none.into() } else { value };
    [or(date, NO_DATE[0]), or(time, NO_DATE[1])]
}

/// Study, series, instance and frame of reference.
fn identity(converted: &Converted, source: &InMemDicomObject, uids: &Uids) -> Vec<Element> {
    let identity = &converted.series.identity;
    let or = |value: &String, other: &String| if value.is_empty() { other.clone() } else { value.clone() };
    let [date, time] = date_and_time(source);
    // A number that no scanner's series of the study is likely to have.
    let number = identity.series_number.unwrap_or(0).clamp(0, 1_000_000) + 1000;
    vec![
        string(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE),
        string(tags::SOP_INSTANCE_UID, VR::UI, &uids.instance),
        string(tags::MODALITY, VR::CS, "SEG"),
        string(tags::STUDY_INSTANCE_UID, VR::UI, or(&identity.study_uid, &uids.study)),
        string(tags::SERIES_INSTANCE_UID, VR::UI, &uids.series),
        string(tags::SERIES_NUMBER, VR::IS, number.to_string()),
        string(tags::SERIES_DESCRIPTION, VR::LO, "Intracerebral hemorrhage by ichor, for research use only"),
        string(tags::FRAME_OF_REFERENCE_UID, VR::UI, or(&identity.frame_of_reference_uid, &uids.frame_of_reference)),
        string(tags::INSTANCE_NUMBER, VR::IS, "1"),
        string(tags::CONTENT_DATE, VR::DA, date),
        string(tags::CONTENT_TIME, VR::TM, time),
        string(tags::CONTENT_LABEL, VR::CS, "HEMORRHAGE"),
        string(tags::CONTENT_DESCRIPTION, VR::LO, "For research use only, not for diagnosis."),
        string(tags::CONTENT_CREATOR_NAME, VR::PN, "ichor"),
    ]
}

/// The "equipment": the program, its version and, as serial number, the weights.
fn equipment(algorithm: &Algorithm) -> Vec<Element> {
    vec![
        string(tags::MANUFACTURER, VR::LO, "ichor"),
        string(tags::MANUFACTURER_MODEL_NAME, VR::LO, "ichor"),
        string(tags::DEVICE_SERIAL_NUMBER, VR::LO, short(&algorithm.sha256)),
        string(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
    ]
}

/// Pixels of one bit and what they mean (PS3.3, C.8.20.2).
fn image(converted: &Converted, source: &InMemDicomObject, pixels: Vec<u8>) -> Vec<Element> {
    let slices = &converted.series.slices;
    let lossy = if text(source, tags::LOSSY_IMAGE_COMPRESSION) == "01" { "01" } else { "00" };
    vec![
        string(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        number(tags::SAMPLES_PER_PIXEL, 1),
        string(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        string(tags::NUMBER_OF_FRAMES, VR::IS, slices.len().to_string()),
        number(tags::ROWS, slices[0].rows as u16),
        number(tags::COLUMNS, slices[0].columns as u16),
        number(tags::BITS_ALLOCATED, 1),
        number(tags::BITS_STORED, 1),
        number(tags::HIGH_BIT, 0),
        number(tags::PIXEL_REPRESENTATION, 0),
        string(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, lossy),
        string(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        string(tags::SEGMENTS_OVERLAP, VR::CS, "NO"),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(pixels)),
    ]
}

/// The only segment (PS3.3, C.8.20.4).
fn segment(algorithm: &Algorithm) -> InMemDicomObject {
    let name = short(&format!("ichor, weights {}", algorithm.weights));
    let parameters = format!("weights {}, SHA-256 {}; {}", algorithm.weights, algorithm.sha256, algorithm.parameters);
    let identification = item([
        code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, "123110", "DCM", "Artificial Intelligence"),
        string(tags::ALGORITHM_NAME, VR::LO, &name),
        string(tags::ALGORITHM_VERSION, VR::LO, env!("CARGO_PKG_VERSION")),
        string(tags::ALGORITHM_PARAMETERS, VR::LT, parameters),
        string(tags::ALGORITHM_SOURCE, VR::LO, "ichor"),
    ]);
    item([
        number(tags::SEGMENT_NUMBER, 1),
        string(tags::SEGMENT_LABEL, VR::LO, "Intracerebral hemorrhage"),
        string(tags::SEGMENT_DESCRIPTION, VR::ST, "Intracerebral hemorrhage. For research use only, not for diagnosis."),
        string(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        string(tags::SEGMENT_ALGORITHM_NAME, VR::LO, &name),
        sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![identification]),
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, "49755003", "SCT", "Morphologically Abnormal Structure"),
        code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, "274100004", "SCT", "Cerebral hemorrhage"),
        code(tags::ANATOMIC_REGION_SEQUENCE, "12738006", "SCT", "Brain"),
        // Red: L* 53, a* 80, b* 67 (PS3.3, C.10.7.1.1).
        DataElement::new(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, dicom_value!(U16, [34_885, 53_485, 50_171])),
    ])
}

/// The file of a slice.
fn reference(slice: &Slice) -> [Element; 2] {
    [
        string(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &slice.sop_class_uid),
        string(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &slice.sop_instance_uid),
    ]
}

/// All files of the series, each once (PS3.3, C.12.2).
fn references(converted: &Converted) -> InMemDicomObject {
    let files: BTreeMap<&str, &Slice> =
        converted.series.slices.iter().map(|slice| (slice.sop_instance_uid.as_str(), slice)).collect();
    item([
        string(tags::SERIES_INSTANCE_UID, VR::UI, &converted.series.identity.series_uid),
        sequence(tags::REFERENCED_INSTANCE_SEQUENCE, files.into_values().map(|slice| item(reference(slice))).collect()),
    ])
}

/// Frames are sorted by segment, then by position (PS3.3, C.7.6.17).
fn dimensions(uids: &Uids) -> Vec<Element> {
    let organization = || string(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &uids.dimensions);
    let index = |attribute, group, label: &str| {
        item([
            organization(),
            DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, dicom_value!(Tags, [attribute])),
            DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, dicom_value!(Tags, [group])),
            string(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
        ])
    };
    let indices = vec![
        index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment number"),
        index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Position of the slice"),
    ];
    vec![
        sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![item([organization()])]),
        sequence(tags::DIMENSION_INDEX_SEQUENCE, indices),
    ]
}

/// Where each frame lies and what it comes from (PS3.3, C.7.6.16): what all frames have in common is told once.
fn functional_groups(converted: &Converted) -> Vec<Element> {
    let slices = &converted.series.slices;
    let mut frames: Vec<Vec<Element>> = slices
        .iter()
        .enumerate()
        .map(|(n, slice)| vec![content(n), position(slice), derivation(slice), identification()])
        .collect();
    let mut shared = Vec::new();
    let measures = |slice: &Slice| measures(converted, slice);
    for group in [&measures as &dyn Fn(&Slice) -> Element, &orientation] {
        let groups: Vec<Element> = slices.iter().map(group).collect();
        if groups.windows(2).all(|pair| pair[0] == pair[1]) {
            shared.extend(groups.into_iter().next());
        } else {
            frames.iter_mut().zip(groups).for_each(|(frame, group)| frame.push(group));
        }
    }
    vec![
        sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![item(shared)]),
        sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.into_iter().map(item).collect()),
    ]
}

fn measures(converted: &Converted, slice: &Slice) -> Element {
    let [_, _, apart] = converted.grid.spacing();
    let mut measures = vec![
        decimals(tags::PIXEL_SPACING, &slice.spacing),
        decimals(tags::SLICE_THICKNESS, &[slice.thickness.filter(|&mm| mm > 0.0).unwrap_or(apart)]),
    ];
    // Slices that are not equally far apart have no spacing: a reader that trusts it would put them elsewhere.
    if converted.spacing.is_none() {
        measures.push(decimals(tags::SPACING_BETWEEN_SLICES, &[apart]));
    }
    sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![item(measures)])
}

fn orientation(slice: &Slice) -> Element {
    let directions = [slice.along_row, slice.along_column].concat();
    sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![item([decimals(tags::IMAGE_ORIENTATION_PATIENT, &directions)])])
}

fn position(slice: &Slice) -> Element {
    sequence(tags::PLANE_POSITION_SEQUENCE, vec![item([decimals(tags::IMAGE_POSITION_PATIENT, &slice.position)])])
}

/// The place of frame `n` among the dimensions.
fn content(n: usize) -> Element {
    let indices = DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, dicom_value!(U32, [1, n as u32 + 1]));
    sequence(tags::FRAME_CONTENT_SEQUENCE, vec![item([indices])])
}

fn identification() -> Element {
    sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![item([number(tags::REFERENCED_SEGMENT_NUMBER, 1)])])
}

/// The slice that a frame was made from, whose pixels the frame's are.
fn derivation(slice: &Slice) -> Element {
    let mut from = item(reference(slice));
    if let Some(frame) = slice.frame {
        from.put(string(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
    }
    from.put(string(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"));
    from.put(code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, "121322", "DCM", "Source image for image processing operation"));
    let derivation = item([
        code(tags::DERIVATION_CODE_SEQUENCE, "113076", "DCM", "Segmentation"),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![from]),
    ]);
    sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_fit_and_are_as_exact_as_they_can_be() {
        assert_eq!(decimal(-123.5404569), "-123.5404569");
        assert_eq!(decimal(2.0 / 3.0), "0.66666666666667");
        assert_eq!(decimal(-1e-17), "-0.0000000000000");
        assert_eq!(decimal(1e300), "1.00000000e300");
        for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, -1.0 / 3.0, 1e15 + 0.3] {
            assert!(decimal(value).len() <= LONGEST_DECIMAL, "{value}");
        }
    }

    #[test]
    fn bits_go_on_from_frame_to_frame() {
        let frames = [vec![true, false, true], vec![false, true, true], vec![true, true, true]];
        assert_eq!(pack(&frames), [0b1111_0101, 1]);
        assert_eq!(pack(&[vec![false; 16], vec![true]]), [0, 0, 1, 0]);
    }

    #[test]
    fn uids_are_valid_and_differ() {
        let one = uid(&[b"a", b"bc"]);
        assert!(one.len() <= 64 && one.starts_with("2.25."));
        assert_ne!(one, uid(&[b"ab", b"c"]));
    }
}
