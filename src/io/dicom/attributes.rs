//! Values of attributes, by tag.

use super::error::DicomError;
use super::file::Attributes;
use dicom_core::Tag;
use dicom_object::InMemDicomObject;

impl Attributes {
    /// A whole number; `None` where it is absent or empty.
    ///
    /// # Errors
    /// [`DicomError::Value`] where it is no number.
    pub fn whole(&self, tag: Tag) -> Result<Option<i64>, DicomError> {
        whole(&self.object, tag)
    }

    /// A text without the blanks around it; empty where it is absent.
    pub fn text(&self, tag: Tag) -> String {
        text(&self.object, tag)
    }
}

/// As [`Attributes::whole`].
pub(super) fn whole(object: &InMemDicomObject, tag: Tag) -> Result<Option<i64>, DicomError> {
    let Some(element) = object.get(tag) else { return Ok(None) };
    if element.value().to_str().is_ok_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    // Some scanners write whole numbers as 1.0.
    match element.to_int::<i64>() {
        Ok(number) => Ok(Some(number)),
        Err(_) => match element.to_float64() {
            Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => Ok(Some(number as i64)),
            _ => Err(DicomError::value(tag, text(object, tag))),
        },
    }
}

/// As [`Attributes::text`].
pub(super) fn text(object: &InMemDicomObject, tag: Tag) -> String {
    let text = object.get(tag).and_then(|element| element.value().to_str().ok()).unwrap_or_default();
    text.trim_matches(['\0', ' ']).to_string()
}

/// The values of a text of several, without the blanks around them.
pub(super) fn texts(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let texts = object.get(tag).and_then(|element| element.value().to_multi_str().ok()).unwrap_or_default();
    texts.iter().map(|text| text.trim_matches(['\0', ' ']).to_string()).collect()
}

/// `N` finite numbers; `None` where they are absent or empty.
///
/// # Errors
/// [`DicomError::Value`] where they are fewer or no numbers.
pub(super) fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Result<Option<[f64; N]>, DicomError> {
    let Some(element) = object.get(tag) else { return Ok(None) };
    if element.value().to_str().is_ok_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    let numbers = element.value().to_multi_float64().unwrap_or_default();
    match numbers.get(..N).and_then(|numbers| <[f64; N]>::try_from(numbers).ok()) {
        Some(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(Some(numbers)),
        _ => Err(DicomError::value(tag, text(object, tag))),
    }
}

/// The first item of a sequence.
pub(super) fn item(object: &InMemDicomObject, tag: Tag, n: usize) -> Option<&InMemDicomObject> {
    object.get(tag)?.items()?.get(n)
}
