//! What the objects that ichor derives from a series have in common: patient, study, program, references to the source.

use super::Converted;
use super::attributes::text;
use super::elements::{Element, item, short, sound, string};
use super::error::DicomError;
use super::file::File;
use super::slice::Slice;
use crate::io::atomic;
use crate::io::{Error, Result};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The sentence that every object carries.
pub const RESEARCH_USE_ONLY: &str = "For research use only, not for diagnosis.";
/// What is found: code, scheme, meaning.
pub const HEMORRHAGE: [&str; 3] = ["274100004", "SCT", "Cerebral hemorrhage"];
/// Where it is found.
pub const BRAIN: [&str; 3] = ["12738006", "SCT", "Brain"];
/// How it is found.
pub const ARTIFICIAL_INTELLIGENCE: [&str; 3] = ["123110", "DCM", "Artificial Intelligence"];
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

impl Algorithm {
    /// The name of the algorithm: the program and its weights.
    pub(super) fn name(&self) -> String {
        short(&format!("ichor, weights {}", self.weights))
    }

    /// Weights and what was set.
    pub(super) fn settings(&self) -> String {
        format!("weights {}, SHA-256 {}; {}", self.weights, self.sha256, self.parameters)
    }
}

/// The attributes of the first file of a series.
///
/// # Errors
/// [`Error::Dicom`] where it cannot be read any more.
pub fn source(converted: &Converted) -> Result<InMemDicomObject> {
    let path = &converted.series.slices[0].path;
    let failed = |source: DicomError| Error::Dicom { path: path.clone(), source };
    Ok(File::open(path).and_then(|mut file| file.attributes()).map_err(failed)?.object)
}

/// Writes a data set as a file.
///
/// # Errors
/// [`Error::Write`].
pub fn write(path: &Path, object: InMemDicomObject) -> Result<()> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file = object.with_meta(meta).map_err(io::Error::other).map_err(Error::write(path))?;
    atomic::write(path, |out| file.write_all(out).map_err(io::Error::other))
}

/// Attributes of patient and study, which must be the source's.
pub fn patient_and_study(source: &InMemDicomObject) -> Vec<Element> {
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
    ];
    let sometimes = [
        (tags::ISSUER_OF_PATIENT_ID, VR::LO),
        (tags::PATIENT_AGE, VR::AS),
        (tags::PATIENT_SIZE, VR::DS),
        (tags::PATIENT_WEIGHT, VR::DS),
        (tags::PATIENT_IDENTITY_REMOVED, VR::CS),
        (tags::DEIDENTIFICATION_METHOD, VR::LO),
        (tags::STUDY_DESCRIPTION, VR::LO),
    ];
    // Texts were decoded from the source's character set.
    let mut elements = vec![string(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")];
    elements.extend(always.map(|(tag, vr)| string(tag, vr, sound(vr, &text(source, tag)))));
    elements.extend(where_known(source, &sometimes));
    if text(source, tags::PATIENT_IDENTITY_REMOVED) == "YES" && text(source, tags::DEIDENTIFICATION_METHOD).is_empty() {
        elements.push(string(tags::DEIDENTIFICATION_METHOD, VR::LO, "as that of the source images"));
    }
    elements
}

/// Those of the source's attributes that have a value.
pub fn where_known(source: &InMemDicomObject, attributes: &[(Tag, VR)]) -> Vec<Element> {
    let element = |&(tag, vr): &(Tag, VR)| {
        let value = sound(vr, &text(source, tag));
        (!value.is_empty()).then(|| string(tag, vr, value))
    };
    attributes.iter().filter_map(element).collect()
}

/// Which object of which series it is.
pub struct Instance<'a> {
    /// UID of the kind of object.
    pub class: &'a str,
    /// Modality.
    pub modality: &'a str,
    /// UID of the study.
    pub study: &'a str,
    /// UID of the series.
    pub series: &'a str,
    /// What is added to the number of the source's series.
    pub beyond: i64,
    /// UID of the object.
    pub instance: &'a str,
}

/// Identity of study, series and object; date and time are the source's.
pub fn identity(converted: &Converted, source: &InMemDicomObject, instance: &Instance) -> Vec<Element> {
    let [date, time] = date_and_time(source);
    // A number that no scanner's series of the study is likely to have.
    let number = converted.series.identity.series_number.unwrap_or(0).clamp(0, 1_000_000) + instance.beyond;
    vec![
        string(tags::SOP_CLASS_UID, VR::UI, instance.class),
        string(tags::SOP_INSTANCE_UID, VR::UI, instance.instance),
        string(tags::MODALITY, VR::CS, instance.modality),
        string(tags::STUDY_INSTANCE_UID, VR::UI, instance.study),
        string(tags::SERIES_INSTANCE_UID, VR::UI, instance.series),
        string(tags::SERIES_NUMBER, VR::IS, number.to_string()),
        string(tags::SERIES_DESCRIPTION, VR::LO, "Intracerebral hemorrhage by ichor, for research use only"),
        string(tags::INSTANCE_NUMBER, VR::IS, "1"),
        string(tags::CONTENT_DATE, VR::DA, date),
        string(tags::CONTENT_TIME, VR::TM, time),
    ]
}

/// Date and time of the source: of its content, else of acquisition, series or study.
fn date_and_time(source: &InMemDicomObject) -> [String; 2] {
    let pairs = [
        [tags::CONTENT_DATE, tags::CONTENT_TIME],
        [tags::ACQUISITION_DATE, tags::ACQUISITION_TIME],
        [tags::SERIES_DATE, tags::SERIES_TIME],
        [tags::STUDY_DATE, tags::STUDY_TIME],
    ];
    let value = |[date, time]: [Tag; 2]| [sound(VR::DA, &text(source, date)), sound(VR::TM, &text(source, time))];
    let known = pairs.map(value).into_iter().find(|[date, _]| !date.is_empty());
    let [date, time] = known.unwrap_or_default();
    let or = |value: String, none: &str| if value.is_empty() { none.into() } else { value };
    [or(date, NO_DATE[0]), or(time, NO_DATE[1])]
}

/// The "equipment": the program, its version and, as serial number, the weights.
pub fn equipment(algorithm: &Algorithm) -> Vec<Element> {
    vec![
        string(tags::MANUFACTURER, VR::LO, "ichor"),
        string(tags::MANUFACTURER_MODEL_NAME, VR::LO, "ichor"),
        string(tags::DEVICE_SERIAL_NUMBER, VR::LO, short(&algorithm.sha256)),
        string(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
    ]
}

/// The file of a slice.
pub fn reference(slice: &Slice) -> [Element; 2] {
    [
        string(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &slice.sop_class_uid),
        string(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &slice.sop_instance_uid),
    ]
}

/// References to all files of the series, each once, by UID.
pub fn references(converted: &Converted) -> Vec<InMemDicomObject> {
    let files: BTreeMap<&str, &Slice> =
        converted.series.slices.iter().map(|slice| (slice.sop_instance_uid.as_str(), slice)).collect();
    files.into_values().map(|slice| item(reference(slice))).collect()
}

/// A UID from a UUID of version 8 (RFC 9562, 5.8) that is the beginning of the SHA-256 of `parts`.
pub fn uid(parts: &[&[u8]]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_differ() {
        let one = uid(&[b"a", b"bc"]);
        assert!(one.len() <= 64 && one.starts_with("2.25."));
        assert_ne!(one, uid(&[b"ab", b"c"]));
        // Version 8, and the variant of RFC 9562.
        for n in 0..20_u8 {
            let number: u128 = uid(&[&[n]])["2.25.".len()..].parse().unwrap();
            assert_eq!((number >> 76 & 0xF, number >> 62 & 3), (8, 2), "{n}");
        }
    }

    #[test]
    fn what_made_a_mask_is_told_by_weights_hash_and_settings() {
        let algorithm = Algorithm { weights: "w 1".into(), sha256: "0a".into(), parameters: "threshold 0.5".into() };
        assert_eq!(algorithm.name(), "ichor, weights w 1");
        assert_eq!(algorithm.settings(), "weights w 1, SHA-256 0a; threshold 0.5");
    }
}
