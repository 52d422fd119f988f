//! Content items of structured reports (PS3.3, C.17.3): a relation to the item above, a concept name, and a value.

use super::elements::{Element, code, decimal, item, number, sequence, string};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// A coded concept: code, scheme, meaning.
pub type Code<'a> = [&'a str; 3];

/// How an item relates to the one above it (PS3.3, C.17.3.2.4).
#[derive(Clone, Copy)]
pub enum Relation {
    Contains,
    Acquisition,
    Concept,
    Observation,
}

fn content<'a>(relation: Relation, kind: &str, name: impl Into<Option<Code<'a>>>, value: Vec<Element>) -> InMemDicomObject {
    let relation = match relation {
        Relation::Contains => "CONTAINS",
        Relation::Acquisition => "HAS ACQ CONTEXT",
        Relation::Concept => "HAS CONCEPT MOD",
        Relation::Observation => "HAS OBS CONTEXT",
    };
    let mut content = item(value);
    content.put(string(tags::RELATIONSHIP_TYPE, VR::CS, relation));
    content.put(string(tags::VALUE_TYPE, VR::CS, kind));
    if let Some(name) = name.into() {
        content.put(code(tags::CONCEPT_NAME_CODE_SEQUENCE, name));
    }
    content
}

/// A text; control characters become blanks.
pub fn text(relation: Relation, name: Code, value: &str) -> InMemDicomObject {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    content(relation, "TEXT", name, vec![string(tags::TEXT_VALUE, VR::UT, value)])
}

/// A coded value.
pub fn coded(relation: Relation, name: Code, value: Code) -> InMemDicomObject {
    content(relation, "CODE", name, vec![code(tags::CONCEPT_CODE_SEQUENCE, value)])
}

/// A UID.
pub fn uid(relation: Relation, name: Code, value: &str) -> InMemDicomObject {
    content(relation, "UIDREF", name, vec![string(tags::UID, VR::UI, value)])
}

/// A measured number; in binary too where 16 characters do not hold it.
pub fn measured(name: Code, value: f64, unit: Code) -> InMemDicomObject {
    let digits = decimal(value);
    let mut measured = item([code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit)]);
    if digits.parse() != Ok(value) {
        measured.put(DataElement::new(tags::FLOATING_POINT_VALUE, VR::FD, PrimitiveValue::from(value)));
    }
    measured.put(string(tags::NUMERIC_VALUE, VR::DS, digits));
    content(Relation::Contains, "NUM", name, vec![sequence(tags::MEASURED_VALUE_SEQUENCE, vec![measured])])
}

/// An image: its SOP class and instance.
pub fn image(reference: InMemDicomObject) -> InMemDicomObject {
    content(Relation::Contains, "IMAGE", None, vec![sequence(tags::REFERENCED_SOP_SEQUENCE, vec![reference])])
}

/// A segment of a segmentation.
pub fn segment(name: Code, mut reference: InMemDicomObject, segment: u16) -> InMemDicomObject {
    reference.put(number(tags::REFERENCED_SEGMENT_NUMBER, segment));
    content(Relation::Contains, "IMAGE", name, vec![sequence(tags::REFERENCED_SOP_SEQUENCE, vec![reference])])
}

/// An item with others below it.
pub fn with(mut content: InMemDicomObject, below: Vec<InMemDicomObject>) -> InMemDicomObject {
    content.put(sequence(tags::CONTENT_SEQUENCE, below));
    content
}

/// A container, by the template of that number where one is given.
pub fn container(name: Code, template: Option<&str>, below: Vec<InMemDicomObject>) -> InMemDicomObject {
    with(content(Relation::Contains, "CONTAINER", name, container_value(template)), below)
}

/// The container at the root of a report, which relates to nothing: its elements are the data set's.
pub fn root(name: Code, template: &str, below: Vec<InMemDicomObject>) -> InMemDicomObject {
    let mut root = container(name, Some(template), below);
    root.remove_element(tags::RELATIONSHIP_TYPE);
    root
}

fn container_value(template: Option<&str>) -> Vec<Element> {
    let template = template.map(|template| {
        let identification =
            [string(tags::MAPPING_RESOURCE, VR::CS, "DCMR"), string(tags::TEMPLATE_IDENTIFIER, VR::CS, template)];
        sequence(tags::CONTENT_TEMPLATE_SEQUENCE, vec![item(identification)])
    });
    [string(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")].into_iter().chain(template).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (value, binary) in [(0.0, false), (12.5, false), (1.0 / 3.0, true), (1_234.567_890_123_456_7, true)] {
            let number = measured(["118565006", "SCT", "Volume"], value, ["mL", "UCUM", "mL"]);
            let measured = &number.element(tags::MEASURED_VALUE_SEQUENCE).unwrap().items().unwrap()[0];
            let digits = measured.element(tags::NUMERIC_VALUE).unwrap().to_str().unwrap().into_owned();
            assert!(digits.len() <= 16 && (digits.parse::<f64>().unwrap() - value).abs() < 1e-11, "{digits}");
            let exact = measured.get(tags::FLOATING_POINT_VALUE).map(|element| element.to_float64().unwrap());
            assert_eq!(exact, binary.then_some(value));
        }
    }

    #[test]
    fn texts_have_no_control_characters() {
        let note = text(Relation::Contains, ["121106", "DCM", "Comment"], "a\u{1b}b\nc\\d");
        assert_eq!(note.element(tags::TEXT_VALUE).unwrap().to_str().unwrap(), "a b c\\d");
    }
}
