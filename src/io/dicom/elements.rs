//! Elements of the data sets that ichor writes.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// The most characters of a short text (VR LO; PS3.5, 6.2).
const LONGEST_TEXT: usize = 64;
/// The most characters of a decimal number (VR DS).
const LONGEST_DECIMAL: usize = 16;
pub type Element = DataElement<InMemDicomObject>;

pub fn string(tag: Tag, vr: VR, value: impl Into<String>) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

pub fn number(tag: Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

pub fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> Element {
    DataElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(items))
}

pub fn item(elements: impl IntoIterator<Item = Element>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// A sequence of one coded concept: code, scheme, meaning (PS3.3, 8.8).
pub fn code(tag: Tag, [value, scheme, meaning]: [&str; 3]) -> Element {
    let concept = [
        string(tags::CODE_VALUE, VR::SH, value),
        string(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        string(tags::CODE_MEANING, VR::LO, meaning),
    ];
    sequence(tag, vec![item(concept)])
}

/// A text of VR LO: cut to its length, without what separates values and without control characters.
pub fn short(value: &str) -> String {
    value.chars().take(LONGEST_TEXT).map(|c| if c == '\\' || c.is_control() { '_' } else { c }).collect()
}

/// A number of VR DS: the shortest text that is this number, or as many digits as there is room for.
pub fn decimal(value: f64) -> String {
    let shortest = value.to_string();
    if shortest.len() <= LONGEST_DECIMAL {
        return shortest;
    }
    let fits = |text: &String| text.len() <= LONGEST_DECIMAL;
    let digits = (0..LONGEST_DECIMAL).rev().map(|digits| format!("{value:.digits$}")).find(fits);
    digits.unwrap_or_else(|| format!("{value:.8e}"))
}

pub fn decimals(tag: Tag, values: &[f64]) -> Element {
    string(tag, VR::DS, values.iter().map(|&value| decimal(value)).collect::<Vec<_>>().join("\\"))
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
}
