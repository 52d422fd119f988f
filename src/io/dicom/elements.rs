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

/// A value of another file as one of this VR (PS3.5, 6.2): dates and times without what separates their parts, texts cut to their length. Empty where it cannot be one.
pub fn sound(vr: VR, value: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let or_empty = |text: String, valid: bool| if valid { text } else { String::new() };
    match vr {
        VR::DA => {
            let date: String = value.chars().filter(|c| !['.', '-', '/', ' '].contains(c)).collect();
            let valid = date.len() == 8 && digits(&date);
            or_empty(date, valid)
        }
        VR::TM => {
            let time: String = value.chars().filter(|c| ![':', ' '].contains(c)).collect();
            let (whole, part) = time.split_once('.').unwrap_or((&time, "0"));
            let valid = matches!(whole.len(), 2 | 4 | 6) && digits(whole) && part.len() <= 6 && digits(part);
            or_empty(time.clone(), valid)
        }
        VR::AS => {
            let age = format!("{value:0>4}");
            let valid = age.len() == 4 && digits(&age[..3]) && age.ends_with(['D', 'W', 'M', 'Y']);
            or_empty(age.clone(), valid)
        }
        VR::CS => {
            let code = value.to_ascii_uppercase();
            let valid = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || [' ', '_', '\\'].contains(&c);
            let fits = code.chars().all(valid) && code.split('\\').all(|code| code.len() <= 16);
            or_empty(code, fits)
        }
        VR::DS => {
            let numbers: Option<Vec<String>> = value.split('\\').map(|text| text.trim().parse().ok().map(decimal)).collect();
            numbers.unwrap_or_default().join("\\")
        }
        VR::SH => short(value).chars().take(16).collect(),
        // The three groups of a name have 64 characters each.
        VR::PN => value.split('=').take(3).map(short).collect::<Vec<_>>().join("="),
        _ => short(value),
    }
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
    fn values_of_other_files_become_sound() {
        for (vr, value, expected) in [
            (VR::DA, "2020.01.31", "20200131"),
            (VR::DA, "unknown", ""),
            (VR::TM, "12:30:05.25", "123005.25"),
            (VR::TM, "noon", ""),
            (VR::AS, "45Y", "045Y"),
            (VR::AS, "45 years", ""),
            (VR::AS, "äY", ""),
            (VR::CS, "Head", "HEAD"),
            (VR::CS, "ISO_10918_1\\ISO_14495_1", "ISO_10918_1\\ISO_14495_1"),
            (VR::CS, "Kopf, nativ", ""),
            (VR::DS, "71.500 ", "71.5"),
            (VR::DS, "heavy", ""),
            (VR::SH, "a number that is too long", "a number that is"),
            (VR::LO, "112\\49", "112_49"),
            (VR::PN, "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ] {
            assert_eq!(sound(vr, value), expected, "{vr:?} {value}");
        }
    }

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
