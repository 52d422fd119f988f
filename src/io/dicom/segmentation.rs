//! A mask as a DICOM Segmentation (PS3.3, A.51) on the slices that the scanner wrote, so that an archive shows it on them.
//!
//! The mask of a tilted or unequal series, which was found on a corrected grid, goes back onto the original slices first ([`onto_slices`]). There is a frame for each
//! slice of the series, with blood or without: an empty mask is a valid object too, and tells that every slice was looked at.
//!
//! The same input gives the same bytes. UIDs are under 2.25 (PS3.5, B.2), from the SHA-256 of the source's UIDs, the algorithm and the pixels; date and time are those of the source.

use super::Converted;
use super::attributes::text;
use super::derived::{self, ARTIFICIAL_INTELLIGENCE, Algorithm, BRAIN, HEMORRHAGE, Instance, RESEARCH_USE_ONLY, uid};
use super::derived::{reference, references};
use super::elements::{Element, code, decimals, item, number, sequence, short, string};
use super::onto_slices;
use super::slice::Slice;
use crate::io::Result;
use crate::volume::Volume;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use std::path::Path;

/// Writes a mask on the grid of `converted` as a segmentation of its series.
///
/// # Errors
/// [`Error::Dicom`](crate::io::Error::Dicom) where the first file of the series cannot be read any more, [`Error::Shape`](crate::io::Error::Shape) for a mask whose affine is singular,
/// [`Error::Write`](crate::io::Error::Write).
pub fn write(path: &Path, converted: &Converted, mask: &Volume<bool>, algorithm: &Algorithm) -> Result<Uids> {
    let (object, uids) = segmentation(converted, mask, algorithm)?;
    derived::write(path, object)?;
    Ok(uids)
}

/// The data set of [`write()`].
///
/// # Errors
/// As [`write()`].
pub(crate) fn segmentation(
    converted: &Converted,
    mask: &Volume<bool>,
    algorithm: &Algorithm,
) -> Result<(InMemDicomObject, Uids)> {
    let source = derived::source(converted)?;
    let pixels = pack(&onto_slices(&converted.series.slices, mask)?);
    let uids = Uids::of(converted, algorithm, &pixels);
    let elements = [
        derived::patient_and_study(&source),
        identity(converted, &source, &uids),
        derived::equipment(algorithm),
        image(converted, &source, pixels),
        vec![
            sequence(tags::SEGMENT_SEQUENCE, vec![segment(algorithm, &uids)]),
            sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![source_series(converted)]),
        ],
        dimensions(&uids),
        functional_groups(converted),
    ];
    Ok((item(elements.into_iter().flatten()), uids))
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uids {
    /// Of the study: the source's, or one of its own where that has none.
    pub study: String,
    /// Of the series.
    pub series: String,
    /// Of the object.
    pub instance: String,
    /// Of the frame of reference, as that of the study.
    pub frame_of_reference: String,
    /// Of the order of the frames.
    pub dimensions: String,
    /// Of what was segmented.
    pub tracking: String,
}

impl Uids {
    fn of(converted: &Converted, algorithm: &Algorithm, pixels: &[u8]) -> Uids {
        let identity = &converted.series.identity;
        let series = &identity.series_uid;
        let mut all = vec![env!("CARGO_PKG_VERSION").into(), series.clone()];
        for slice in &converted.series.slices {
            all.extend([slice.sop_instance_uid.clone(), slice.frame.unwrap_or(0).to_string()]);
        }
        all.extend([&algorithm.weights, &algorithm.sha256, &algorithm.parameters].map(Clone::clone));
        let result = all.join("\n");
        let of_result = |what: &str| uid(&[what.as_bytes(), result.as_bytes(), pixels]);
        let or = |known: &str, what: &str| {
            if known.is_empty() { uid(&[what.as_bytes(), series.as_bytes()]) } else { known.into() }
        };
        Uids {
            study: or(&identity.study_uid, "study"),
            series: of_result("series"),
            instance: of_result("instance"),
            frame_of_reference: or(&identity.frame_of_reference_uid, "frame of reference"),
            dimensions: of_result("dimensions"),
            tracking: of_result("tracking"),
        }
    }
}

/// Study, series, instance and frame of reference.
fn identity(converted: &Converted, source: &InMemDicomObject, uids: &Uids) -> Vec<Element> {
    let Uids { study, series, instance, .. } = uids;
    let instance = Instance { class: uids::SEGMENTATION_STORAGE, modality: "SEG", study, series, beyond: 1000, instance };
    let mut elements = derived::identity(converted, source, &instance);
    elements.extend([
        string(tags::FRAME_OF_REFERENCE_UID, VR::UI, &uids.frame_of_reference),
        string(tags::POSITION_REFERENCE_INDICATOR, VR::LO, short(&text(source, tags::POSITION_REFERENCE_INDICATOR))),
        string(tags::CONTENT_LABEL, VR::CS, "HEMORRHAGE"),
        string(tags::CONTENT_DESCRIPTION, VR::LO, RESEARCH_USE_ONLY),
        string(tags::CONTENT_CREATOR_NAME, VR::PN, "ichor"),
    ]);
    elements
}

/// Pixels of one bit and what they mean (PS3.3, C.8.20.2).
fn image(converted: &Converted, source: &InMemDicomObject, pixels: Vec<u8>) -> Vec<Element> {
    let slices = &converted.series.slices;
    let of_source = [
        (tags::BODY_PART_EXAMINED, VR::CS),
        (tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS),
        (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS),
    ];
    let lossy = if text(source, tags::LOSSY_IMAGE_COMPRESSION) == "01" { "01" } else { "00" };
    let mut elements = derived::where_known(source, &of_source);
    elements.extend([
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
    ]);
    elements
}

/// The only segment (PS3.3, C.8.20.4).
fn segment(algorithm: &Algorithm, uids: &Uids) -> InMemDicomObject {
    let name = algorithm.name();
    let identification = item([
        code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, ARTIFICIAL_INTELLIGENCE),
        string(tags::ALGORITHM_NAME, VR::LO, &name),
        string(tags::ALGORITHM_VERSION, VR::LO, env!("CARGO_PKG_VERSION")),
        string(tags::ALGORITHM_PARAMETERS, VR::LT, algorithm.settings()),
        string(tags::ALGORITHM_SOURCE, VR::LO, "ichor"),
    ]);
    item([
        number(tags::SEGMENT_NUMBER, 1),
        string(tags::SEGMENT_LABEL, VR::LO, "Intracerebral hemorrhage"),
        string(tags::SEGMENT_DESCRIPTION, VR::ST, "Intracerebral hemorrhage. For research use only, not for diagnosis."),
        string(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        string(tags::SEGMENT_ALGORITHM_NAME, VR::LO, &name),
        sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![identification]),
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, ["49755003", "SCT", "Morphologically Abnormal Structure"]),
        code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, HEMORRHAGE),
        code(tags::ANATOMIC_REGION_SEQUENCE, BRAIN),
        string(tags::TRACKING_ID, VR::UT, "Intracerebral hemorrhage"),
        string(tags::TRACKING_UID, VR::UI, &uids.tracking),
        // Red: L* 53, a* 80, b* 67 (PS3.3, C.10.7.1.1).
        DataElement::new(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, dicom_value!(U16, [34_885, 53_485, 50_171])),
    ])
}

/// The series that was segmented (PS3.3, C.12.2).
fn source_series(converted: &Converted) -> InMemDicomObject {
    item([
        string(tags::SERIES_INSTANCE_UID, VR::UI, &converted.series.identity.series_uid),
        sequence(tags::REFERENCED_INSTANCE_SEQUENCE, references(converted)),
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
    from.put(code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, ["121322", "DCM", "Source image for image processing operation"]));
    let derivation = item([
        code(tags::DERIVATION_CODE_SEQUENCE, ["113076", "DCM", "Segmentation"]),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![from]),
    ]);
    sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_on_from_frame_to_frame() {
        let frames = [vec![true, false, true], vec![false, true, true], vec![true, true, true]];
        assert_eq!(pack(&frames), [0b1111_0101, 1]);
        assert_eq!(pack(&[vec![false; 16], vec![true]]), [0, 0, 1, 0]);
    }
}
