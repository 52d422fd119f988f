//! DICOM files written element by element, so that an edit can do to them what no library would write: elements twice, values of another VR, a transfer syntax that is not
//! that of the data set (PS3.5, 7.1; PS3.10, 7.1).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

/// A value, before it has a byte order.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Numbers(Vec<u16>),
}

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub tag: Tag,
    pub vr: VR,
    pub value: Value,
}

/// How a data set is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    Explicit,
    Implicit,
    BigEndian,
}

/// A file before it is written.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the series' folder.
    pub name: String,
    pub elements: Vec<Element>,
    /// How the data set is encoded.
    pub syntax: Syntax,
    /// What group 2 says about that.
    pub says: Syntax,
    /// So many 256ths of the bytes are written; all of them if `None`.
    pub cut: Option<u8>,
    /// The slice of the sound scan that it holds.
    pub slice: Option<usize>,
}

impl Element {
    pub fn text(tag: Tag, vr: VR, text: impl ToString) -> Element {
        Element { tag, vr, value: Value::Text(text.to_string()) }
    }

    pub fn number(tag: Tag, number: u16) -> Element {
        Element { tag, vr: VR::US, value: Value::Numbers(vec![number]) }
    }

    fn write(&self, syntax: Syntax, out: &mut Vec<u8>) {
        let mut bytes = match &self.value {
            Value::Text(text) => text.clone().into_bytes(),
            Value::Numbers(numbers) => numbers.iter().flat_map(|number| syntax.two(*number)).collect(),
        };
        if bytes.len() % 2 == 1 {
            bytes.push(if self.vr == VR::UI { 0 } else { b' ' });
        }
        out.extend(syntax.two(self.tag.group()));
        out.extend(syntax.two(self.tag.element()));
        if syntax == Syntax::Implicit {
            out.extend((bytes.len() as u32).to_le_bytes());
        } else {
            out.extend(self.vr.to_bytes());
            // VRs whose length has four bytes (PS3.5, 7.1.2).
            if matches!(self.vr, VR::OB | VR::OW | VR::UN | VR::UT) {
                out.extend([0, 0]);
                out.extend(syntax.four(bytes.len() as u32));
            } else {
                out.extend(syntax.two(bytes.len() as u16));
            }
        }
        out.extend(bytes);
    }
}

impl Syntax {
    fn two(self, number: u16) -> [u8; 2] {
        if self == Syntax::BigEndian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn four(self, number: u32) -> [u8; 4] {
        if self == Syntax::BigEndian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn uid(self) -> &'static str {
        match self {
            Syntax::Explicit => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Syntax::Implicit => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Syntax::BigEndian => "1.2.840.10008.1.2.2",
        }
    }
}

impl File {
    /// The first element of this tag.
    pub fn find(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// Puts an element in the place of those of its tag, or adds it in the order of tags.
    pub fn put(&mut self, element: Element) {
        self.remove(element.tag);
        let at = self.elements.partition_point(|other| other.tag < element.tag);
        self.elements.insert(at, element);
    }

    pub fn remove(&mut self, tag: Tag) {
        self.elements.retain(|element| element.tag != tag);
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let text = |tag| match self.find(tag).map(|element| &element.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let mut meta = Vec::new();
        for (tag, value) in [
            (tags::MEDIA_STORAGE_SOP_CLASS_UID, text(tags::SOP_CLASS_UID)),
            (tags::MEDIA_STORAGE_SOP_INSTANCE_UID, text(tags::SOP_INSTANCE_UID)),
            (tags::TRANSFER_SYNTAX_UID, self.says.uid().into()),
        ] {
            Element::text(tag, VR::UI, value).write(Syntax::Explicit, &mut meta);
        }
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\0\0UL\x04\0");
        bytes.extend((meta.len() as u32).to_le_bytes());
        bytes.extend(meta);
        for element in &self.elements {
            element.write(self.syntax, &mut bytes);
        }
        if let Some(cut) = self.cut {
            bytes.truncate(bytes.len() * usize::from(cut) / 256);
        }
        bytes
    }
}
