//! Values of attributes, by tag.

use super::error::DicomError;
use super::file::Attributes;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{PrimitiveValue, Tag};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;

/// What fills a value.
const FILL: [char; 5] = ['\0', ' ', '\t', '\n', '\r'];

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

impl DicomError {
    /// A [`DicomError::Missing`] for `tag`.
    pub(super) fn missing(tag: Tag) -> Self {
        DicomError::Missing(name(tag))
    }

    /// A [`DicomError::Value`] for `tag`.
    pub(super) fn value(tag: Tag, value: impl ToString) -> Self {
        DicomError::Value { name: name(tag), value: value.to_string() }
    }

    /// This error of the file at `path`, for the error of a series.
    pub(super) fn of(self, path: &std::path::Path) -> Self {
        match self {
            DicomError::File { .. } => self,
            source => {
                let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                DicomError::File { file, source: Box::new(source) }
            }
        }
    }
}

/// An attribute as the standard names it, with its number.
pub(super) fn name(tag: Tag) -> String {
    let alias = StandardDataDictionary.by_tag(tag).map_or("unknown", |entry| entry.alias());
    format!("{alias} ({:04X},{:04X})", tag.group(), tag.element())
}

/// As [`Attributes::whole`].
pub(super) fn whole(object: &InMemDicomObject, tag: Tag) -> Result<Option<i64>, DicomError> {
    // Some scanners write whole numbers as 1.0.
    match first(object, tag, 1)? {
        None => Ok(None),
        Some(numbers) if numbers[0].fract() == 0.0 && numbers[0].abs() < 1e15 => Ok(Some(numbers[0] as i64)),
        Some(_) => Err(DicomError::value(tag, text(object, tag))),
    }
}

/// As [`Attributes::text`].
pub(super) fn text(object: &InMemDicomObject, tag: Tag) -> String {
    let text = object.get(tag).and_then(|element| element.value().to_str().ok()).unwrap_or_default();
    text.trim_matches(FILL).to_string()
}

/// The values of a text of several, without the blanks around them.
pub(super) fn texts(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let texts = object.get(tag).and_then(|element| element.value().to_multi_str().ok()).unwrap_or_default();
    texts.iter().map(|text| text.trim_matches(FILL).to_string()).collect()
}

/// `N` finite numbers; `None` where they are absent or empty.
///
/// # Errors
/// [`DicomError::Value`] where they are fewer or no numbers.
pub(super) fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Result<Option<[f64; N]>, DicomError> {
    let numbers = first(object, tag, N)?;
    Ok(numbers.map(|numbers| numbers.try_into().expect("N numbers")))
}

/// The first numbers of a value; `None` where it is absent or empty.
fn first(object: &InMemDicomObject, tag: Tag, count: usize) -> Result<Option<Vec<f64>>, DicomError> {
    let Some(value) = object.get(tag).and_then(|element| element.value().primitive()) else { return Ok(None) };
    let wrong = || DicomError::value(tag, text(object, tag));
    let numbers: Option<Vec<f64>> = match value {
        PrimitiveValue::Empty => return Ok(None),
        PrimitiveValue::Str(_) | PrimitiveValue::Strs(_) => {
            let texts = value.to_multi_str();
            if texts.iter().all(|text| text.trim_matches(FILL).is_empty()) {
                return Ok(None);
            }
            texts.iter().take(count).map(|text| text.trim_matches(FILL).parse().ok()).collect()
        }
        value => value.to_multi_float64().ok().map(|numbers| numbers.into_iter().take(count).collect()),
    };
    let numbers = numbers.filter(|numbers| numbers.len() == count && numbers.iter().all(|number| number.is_finite()));
    numbers.map(Some).ok_or_else(wrong)
}

/// Numbers that are written with decimal commas, with points; `None` where they are none such.
pub(super) fn with_points(text: &str) -> Option<String> {
    let number = |text: &str| {
        let text = text.trim_matches(FILL);
        let point = text.replacen(',', ".", 1);
        (point.parse::<f64>().is_ok()).then_some(point)
    };
    text.contains(',').then(|| text.split('\\').map(number).collect::<Option<Vec<_>>>())?.map(|numbers| numbers.join("\\"))
}

/// An item of a sequence.
pub(super) fn item(object: &InMemDicomObject, tag: Tag, n: usize) -> Option<&InMemDicomObject> {
    object.get(tag)?.items()?.get(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_commas_become_points() {
        assert_eq!(with_points("0,488281\\0,488281 "), Some("0.488281\\0.488281".into()));
        assert_eq!(with_points("0.5\\0.5"), None);
        assert_eq!(with_points("1,000.5"), None);
        assert_eq!(with_points("1,2,3"), None);
    }
}
