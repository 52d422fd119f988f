//! The slices of a file: one of a classic file, one for each frame of an enhanced one.

use super::attributes::{item, numbers, text, texts, whole};
use super::error::DicomError;
use super::file::{Attributes, File};
use super::pixels::Layout;
use crate::volume::Affine;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use std::path::{Path, PathBuf};

/// A slice as it lies in its file. Millimetres and directions are those of DICOM: to the patient's left, back and top (LPS).
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The file.
    pub path: PathBuf,
    /// SOPClassUID.
    pub sop_class_uid: String,
    /// SOPInstanceUID.
    pub sop_instance_uid: String,
    /// The number of the frame, from 1, in an enhanced multi-frame file; `None` in a classic file.
    pub frame: Option<u32>,
    /// InstanceNumber; the frame's number in an enhanced file.
    pub instance_number: Option<i64>,
    /// AcquisitionNumber.
    pub acquisition_number: Option<i64>,
    /// When it was acquired, as YYYYMMDDHHMMSS.FFFFFF as far as it is known: AcquisitionDateTime, else AcquisitionDate and AcquisitionTime.
    /// Empty where there is none.
    pub acquisition_time: String,
    /// StackID of an enhanced file's frame; empty where there is none.
    pub stack_id: String,
    /// TemporalPositionIdentifier, or TemporalPositionIndex of an enhanced file's frame.
    pub temporal_position: Option<i64>,
    /// Centre of the first pixel (ImagePositionPatient).
    pub position: [f64; 3],
    /// The direction in which the column index grows (first half of ImageOrientationPatient), of length 1.
    pub along_row: [f64; 3],
    /// The direction in which the row index grows (second half of ImageOrientationPatient), of length 1 and perpendicular to `along_row`.
    pub along_column: [f64; 3],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance in mm between the centres of rows, and of columns (PixelSpacing).
    pub spacing: [f64; 2],
    /// BitsStored.
    pub bits: u32,
    /// Whether stored values have a sign (PixelRepresentation).
    pub signed: bool,
    /// SliceThickness in mm, where it is more than 0.
    pub thickness: Option<f64>,
    /// RescaleSlope and RescaleIntercept: HU = slope x stored + intercept.
    pub rescale: [f64; 2],
    /// Stored values from the first to the second are padding (PixelPaddingValue, PixelPaddingRangeLimit).
    pub padding: Option<[i64; 2]>,
}

/// What slices of one series share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// PatientID.
    pub patient_id: String,
    /// StudyInstanceUID.
    pub study_uid: String,
    /// SeriesInstanceUID.
    pub series_uid: String,
    /// SeriesNumber.
    pub series_number: Option<i64>,
    /// FrameOfReferenceUID.
    pub frame_of_reference_uid: String,
    /// SeriesDescription.
    pub description: String,
    /// ProtocolName.
    pub protocol_name: String,
    /// Modality.
    pub modality: String,
    /// ContrastBolusAgent, or the agents that ContrastBolusAgentSequence names; empty where there is none.
    pub contrast_agent: String,
    /// ReconstructionDiameter in mm: the side of the field of view.
    pub reconstruction_diameter: Option<f64>,
    /// StudyDescription.
    pub study_description: String,
    /// BodyPartExamined.
    pub body_part: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// ManufacturerModelName.
    pub model: String,
    /// ImageType, such as ORIGINAL, PRIMARY, AXIAL.
    pub image_type: Vec<String>,
    /// ConvolutionKernel.
    pub kernel: Vec<String>,
    /// KVP.
    pub kvp: Option<f64>,
    /// GantryDetectorTilt in degrees; for the record only, geometry is what counts.
    pub gantry_tilt: Option<f64>,
}

/// A slope so near to 0 makes all values one; HU need about 1.
const LEAST_SLOPE: f64 = 1e-6;
/// No scanner's HU need a slope or an intercept above this.
const MOST_RESCALE: f64 = 1e6;
/// No patient lies farther than this from the scanner's origin, in mm.
const FARTHEST_MM: f64 = 1e6;

/// What a file has to give.
#[derive(Clone, Debug)]
pub struct Image {
    /// What its slices share.
    pub identity: Identity,
    /// Its slices.
    pub slices: Vec<Slice>,
    /// What is odd about the file and was assumed, one sentence each, such as a transfer syntax that contradicts the data.
    pub notes: Vec<String>,
}

/// A file that is no image which can be used, and what its header says about where it belongs.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What is wrong.
    pub error: DicomError,
    /// StudyInstanceUID; empty where it is not known.
    pub study_uid: String,
    /// SeriesInstanceUID; empty where it is not known.
    pub series_uid: String,
    /// Whether it is a picture that nothing places in the patient, by ImagePositionPatient or functional groups.
    pub without_place: bool,
    /// Whether its ImageType calls it an image of the scanner's own measurements (ORIGINAL, PRIMARY).
    pub original: bool,
}

impl From<DicomError> for Unreadable {
    fn from(error: DicomError) -> Self {
        Unreadable { error, study_uid: String::new(), series_uid: String::new(), without_place: false, original: false }
    }
}

impl Slice {
    /// The direction perpendicular to the slice: `along_row` x `along_column`.
    pub(crate) fn normal(&self) -> [f64; 3] {
        cross(self.along_row, self.along_column)
    }

    /// From column and row of the slice's pixels (and 0) to RAS millimetres; the third direction is the normal, of 1 mm.
    pub(crate) fn affine(&self) -> Affine {
        let [row, column] = self.spacing;
        let normal = self.normal();
        // LPS to RAS: the first two coordinates change their signs.
        let sign = [-1.0, -1.0, 1.0];
        let matrix =
            [0, 1, 2].map(|n| [self.along_row[n] * column, self.along_column[n] * row, normal[n]].map(|value| sign[n] * value));
        Affine::new(matrix, [0, 1, 2].map(|n| sign[n] * self.position[n]))
    }
}

/// Reads identity and slices of the CT image at `path`, without its pixels.
///
/// # Errors
/// [`DicomError::NotCt`] for other objects, [`DicomError::Localizer`], and what is wrong with the file.
pub fn read(path: &Path) -> Result<Image, Unreadable> {
    let attributes = File::open(path)?.attributes()?;
    from_attributes(&attributes, path).map_err(|error| Unreadable {
        error,
        study_uid: attributes.text(tags::STUDY_INSTANCE_UID),
        series_uid: attributes.text(tags::SERIES_INSTANCE_UID),
        without_place: attributes.text(tags::IMAGE_POSITION_PATIENT).is_empty()
            && attributes.object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).is_none(),
        original: Identity::of(&attributes).image_type.iter().take(2).eq(["ORIGINAL", "PRIMARY"]),
    })
}

/// The same from attributes that are read; `path` names the file.
///
/// # Errors
/// As [`read`].
pub fn from_attributes(attributes: &Attributes, path: &Path) -> Result<Image, DicomError> {
    let object = &attributes.object;
    let mut notes = attributes.notes.clone();
    let class = class(attributes)?;
    let enhanced = matches!(class.as_str(), uids::ENHANCED_CT_IMAGE_STORAGE | uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE);
    if !enhanced && class != uids::CT_IMAGE_STORAGE {
        let modality = attributes.text(tags::MODALITY);
        let what = if class.is_empty() { "an object without SOPClassUID".into() } else { format!("of class {class}") };
        return Err(DicomError::NotCt(if modality.is_empty() { what } else { format!("{what}, modality {modality}") }));
    }
    let mut identity = Identity::of(attributes);
    if identity.is_localizer() {
        return Err(DicomError::Localizer { study: identity.study_uid });
    }
    attributes.sound()?;
    if identity.series_uid.is_empty() {
        return Err(DicomError::missing(tags::SERIES_INSTANCE_UID));
    }
    let layout = Layout::of(attributes)?;
    notes.extend(attributes.stored(&layout)?.1);
    let instance = attributes.text(tags::SOP_INSTANCE_UID);
    let file = Origin { path, class, instance: if instance.is_empty() { attributes.media_instance.clone() } else { instance } };
    let groups = object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|element| element.items()).unwrap_or_default();
    if !enhanced && layout.frames == 1 {
        let groups = Groups { frame: None, shared: None, root: object };
        let slice = groups.slice(&layout, &file, None)?;
        return Ok(Image { identity, slices: vec![slice], notes });
    }
    if !enhanced && groups.is_empty() {
        return Err(DicomError::Frames(layout.frames));
    }
    if groups.is_empty() {
        return Err(DicomError::missing(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE));
    }
    if groups.len() != layout.frames {
        let text = format!("{}, while {} frames have functional groups", layout.frames, groups.len());
        return Err(DicomError::value(tags::NUMBER_OF_FRAMES, text));
    }
    let shared = item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0);
    let mut slices = Vec::new();
    for (frame, groups) in groups.iter().enumerate() {
        let groups = Groups { frame: Some(groups), shared, root: object };
        if frame == 0 {
            let reconstruction = groups.find(tags::CT_RECONSTRUCTION_SEQUENCE, tags::CONVOLUTION_KERNEL);
            identity.kernel = texts(reconstruction, tags::CONVOLUTION_KERNEL);
            let diameter = groups.numbers::<1>(tags::CT_RECONSTRUCTION_SEQUENCE, tags::RECONSTRUCTION_DIAMETER);
            identity.reconstruction_diameter = diameter.unwrap_or(None).map(|[mm]| mm);
        }
        slices.push(groups.slice(&layout, &file, Some(frame as u32 + 1))?);
    }
    Ok(Image { identity, slices, notes })
}

/// SOPClassUID; without it that of group 2; without both that of CT images, where the modality is CT. Empty where none is known.
fn class(attributes: &Attributes) -> Result<String, DicomError> {
    let class = attributes.text(tags::SOP_CLASS_UID);
    let class = if class.is_empty() { attributes.media_class.clone() } else { class };
    if !class.is_empty() {
        return Ok(class);
    }
    // What is broken before the class or the modality has none of both.
    attributes.sound()?;
    let ct = attributes.text(tags::MODALITY).eq_ignore_ascii_case("CT");
    let frames = attributes.object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).is_some();
    Ok(match (ct, frames) {
        (true, true) => uids::ENHANCED_CT_IMAGE_STORAGE.into(),
        (true, false) => uids::CT_IMAGE_STORAGE.into(),
        (false, _) => String::new(),
    })
}

/// The file that a slice is of.
struct Origin<'a> {
    path: &'a Path,
    class: String,
    instance: String,
}

impl Identity {
    fn of(attributes: &Attributes) -> Identity {
        let object = &attributes.object;
        Identity {
            patient_id: attributes.text(tags::PATIENT_ID),
            study_uid: attributes.text(tags::STUDY_INSTANCE_UID),
            series_uid: attributes.text(tags::SERIES_INSTANCE_UID),
            series_number: attributes.whole(tags::SERIES_NUMBER).unwrap_or(None),
            frame_of_reference_uid: attributes.text(tags::FRAME_OF_REFERENCE_UID),
            description: attributes.text(tags::SERIES_DESCRIPTION),
            protocol_name: attributes.text(tags::PROTOCOL_NAME),
            modality: attributes.text(tags::MODALITY),
            contrast_agent: contrast_agent(object),
            reconstruction_diameter: numbers::<1>(object, tags::RECONSTRUCTION_DIAMETER).unwrap_or(None).map(|[mm]| mm),
            study_description: attributes.text(tags::STUDY_DESCRIPTION),
            body_part: attributes.text(tags::BODY_PART_EXAMINED),
            manufacturer: attributes.text(tags::MANUFACTURER),
            model: attributes.text(tags::MANUFACTURER_MODEL_NAME),
            image_type: texts(object, tags::IMAGE_TYPE).iter().map(|text| text.to_ascii_uppercase()).collect(),
            kernel: texts(object, tags::CONVOLUTION_KERNEL),
            kvp: numbers::<1>(object, tags::KVP).unwrap_or(None).map(|[kvp]| kvp),
            gantry_tilt: numbers::<1>(object, tags::GANTRY_DETECTOR_TILT).unwrap_or(None).map(|[tilt]| tilt),
        }
    }

    /// Whether the image is a localizer (scout, topogram), by the third value of ImageType or a later one.
    pub(crate) fn is_localizer(&self) -> bool {
        self.image_type.iter().skip(2).any(|text| ["LOCALIZER", "SCOUT", "TOPOGRAM"].contains(&text.as_str()))
    }
}

/// ContrastBolusAgent; without it the names of the agents of ContrastBolusAgentSequence.
fn contrast_agent(object: &InMemDicomObject) -> String {
    let agent = text(object, tags::CONTRAST_BOLUS_AGENT);
    if !agent.is_empty() {
        return agent;
    }
    let items = object.get(tags::CONTRAST_BOLUS_AGENT_SEQUENCE).and_then(|element| element.items()).unwrap_or_default();
    let names = items.iter().map(|item| {
        let meaning = text(item, tags::CODE_MEANING);
        if meaning.is_empty() { text(item, tags::CODE_VALUE) } else { meaning }
    });
    names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Where the attributes of a frame may be: in its own item, in the shared one, or (classic files) in the data set itself.
struct Groups<'a> {
    frame: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
    root: &'a InMemDicomObject,
}

impl<'a> Groups<'a> {
    /// The object that has `tag`: the item of the functional group `sequence`, of the frame before the shared one; else the data set.
    fn find(&self, sequence: Tag, tag: Tag) -> &'a InMemDicomObject {
        let places = [self.frame, self.shared].into_iter().flatten();
        places.filter_map(|groups| item(groups, sequence, 0)).find(|item| item.get(tag).is_some()).unwrap_or(self.root)
    }

    fn numbers<const N: usize>(&self, sequence: Tag, tag: Tag) -> Result<Option<[f64; N]>, DicomError> {
        numbers(self.find(sequence, tag), tag)
    }

    fn slice(&self, layout: &Layout, file: &Origin, frame: Option<u32>) -> Result<Slice, DicomError> {
        let orientation = self
            .numbers::<6>(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?
            .ok_or_else(|| DicomError::missing(tags::IMAGE_ORIENTATION_PATIENT))?;
        let [a, b, c, d, e, f] = orientation;
        let axes = perpendicular([a, b, c], [d, e, f]);
        let (along_row, along_column) =
            axes.ok_or_else(|| DicomError::value(tags::IMAGE_ORIENTATION_PATIENT, format!("{orientation:?}")))?;
        let position = self.numbers::<3>(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?;
        if let Some(position) = position.filter(|position| position.iter().any(|mm| mm.abs() > FARTHEST_MM)) {
            return Err(DicomError::value(tags::IMAGE_POSITION_PATIENT, format!("{position:?}")));
        }
        let spacing = self.numbers::<2>(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?;
        let spacing = spacing.ok_or_else(|| DicomError::missing(tags::PIXEL_SPACING))?;
        if !spacing.iter().all(|mm| (0.01..=100.0).contains(mm)) {
            return Err(DicomError::value(tags::PIXEL_SPACING, format!("{spacing:?}")));
        }
        let rescale = [(tags::RESCALE_SLOPE, LEAST_SLOPE), (tags::RESCALE_INTERCEPT, 0.0)].map(|(tag, least)| {
            let [value] =
                self.numbers::<1>(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag)?.ok_or_else(|| DicomError::missing(tag))?;
            if (least..=MOST_RESCALE).contains(&value.abs()) { Ok(value) } else { Err(DicomError::value(tag, value)) }
        });
        let [slope, intercept] = rescale;
        let content = self.find(tags::FRAME_CONTENT_SEQUENCE, tags::FRAME_ACQUISITION_NUMBER);
        let acquisition = if frame.is_some() { tags::FRAME_ACQUISITION_NUMBER } else { tags::ACQUISITION_NUMBER };
        let temporal = match frame {
            Some(_) => tags::TEMPORAL_POSITION_INDEX,
            None => tags::TEMPORAL_POSITION_IDENTIFIER,
        };
        Ok(Slice {
            path: file.path.to_path_buf(),
            sop_class_uid: file.class.clone(),
            sop_instance_uid: file.instance.clone(),
            frame,
            instance_number: frame.map_or_else(|| whole(self.root, tags::INSTANCE_NUMBER).unwrap_or(None), |n| Some(n.into())),
            acquisition_number: whole(content, acquisition).unwrap_or(None),
            acquisition_time: self.acquisition_time(),
            stack_id: text(self.find(tags::FRAME_CONTENT_SEQUENCE, tags::STACK_ID), tags::STACK_ID),
            temporal_position: whole(self.find(tags::FRAME_CONTENT_SEQUENCE, temporal), temporal).unwrap_or(None),
            position: position.ok_or_else(|| DicomError::missing(tags::IMAGE_POSITION_PATIENT))?,
            along_row,
            along_column,
            rows: layout.rows,
            columns: layout.columns,
            spacing,
            bits: layout.bits,
            signed: layout.signed,
            thickness: self
                .numbers::<1>(tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS)
                .unwrap_or(None)
                .map(|[mm]| mm)
                .filter(|mm| *mm > 0.0),
            rescale: [slope?, intercept?],
            padding: self.padding(layout),
        })
    }

    /// Date and time of acquisition in one text.
    fn acquisition_time(&self) -> String {
        let of_frame =
            text(self.find(tags::FRAME_CONTENT_SEQUENCE, tags::FRAME_ACQUISITION_DATE_TIME), tags::FRAME_ACQUISITION_DATE_TIME);
        let whole = text(self.root, tags::ACQUISITION_DATE_TIME);
        let parts = || text(self.root, tags::ACQUISITION_DATE) + &text(self.root, tags::ACQUISITION_TIME);
        [of_frame, whole].into_iter().find(|time| !time.is_empty()).unwrap_or_else(parts)
    }

    /// The range of stored values that are padding. Its VR is often that of the other sign: its bits are what counts.
    fn padding(&self, layout: &Layout) -> Option<[i64; 2]> {
        let value = |tag| {
            let stored = whole(self.root, tag).unwrap_or(None)?;
            let value = layout.number(stored as u32);
            // A value that needs more bits than are stored is none that a pixel can have.
            let bits = 8 * layout.bytes as u32;
            ((value ^ stored) & ((1 << bits) - 1) == 0).then_some(value)
        };
        let first = value(tags::PIXEL_PADDING_VALUE)?;
        let last = value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(first);
        Some([first.min(last), first.max(last)])
    }
}

/// Two directions made perpendicular and of length 1, the first kept; `None` where they are not nearly so.
fn perpendicular(row: [f64; 3], column: [f64; 3]) -> Option<([f64; 3], [f64; 3])> {
    let row = unit(row)?;
    let column = unit(column)?;
    let along = dot(row, column);
    if along.abs() > 0.01 {
        return None;
    }
    let column = unit([0, 1, 2].map(|n| column[n] - along * row[n]))?;
    Some((row, column))
}

/// A vector made of length 1; `None` where its length is not 1 within 10%.
fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(vector, vector).sqrt();
    (0.9..1.1).contains(&length).then(|| vector.map(|value| value / length))
}

/// The inner product.
pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
pub(super) mod testing {
    //! Slices for the tests of other modules.

    use super::Slice;

    /// An axial slice of 2 x 3 pixels of 0.5 mm in the file `a/NAME`, whose first pixel lies at `height`.
    pub fn slice(name: &str, height: f64) -> Slice {
        Slice {
            path: std::path::Path::new("a").join(name),
            sop_class_uid: String::new(),
            sop_instance_uid: String::new(),
            frame: None,
            instance_number: None,
            acquisition_number: None,
            acquisition_time: String::new(),
            stack_id: String::new(),
            temporal_position: None,
            position: [0.0, 0.0, height],
            along_row: [1.0, 0.0, 0.0],
            along_column: [0.0, 1.0, 0.0],
            rows: 2,
            columns: 3,
            spacing: [0.5; 2],
            bits: 16,
            signed: false,
            thickness: None,
            rescale: [1.0, -1024.0],
            padding: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_made_perpendicular_and_of_length_1() {
        assert_eq!(unit([0.0, 1.05, 0.0]), Some([0.0, 1.0, 0.0]));
        assert_eq!([unit([0.0, 0.89, 0.0]), unit([0.0, 1.11, 0.0])], [None; 2]);
        let (row, column) = perpendicular([1.0, 0.0, 0.0], [0.008, 1.0, 0.0]).unwrap();
        assert!(row == [1.0, 0.0, 0.0] && dot(row, column).abs() < 1e-12 && (dot(column, column) - 1.0).abs() < 1e-12);
        for off in [0.02, -0.02] {
            assert!(perpendicular([1.0, 0.0, 0.0], [off, 1.0, 0.0]).is_none(), "{off}");
        }
    }
}
