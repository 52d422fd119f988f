//! The elements of a data set, read by what is there.
//!
//! Files of many writers break the rules of their encoding: they name another transfer syntax than they have, give attributes the VR UN or one that is not theirs, and put implicit items into
//! explicit sequences. So each item's encoding is told from its first element, as pydicom does; every attribute of the standard has the VR of the dictionary, whatever the file says
//! (PS3.5, 6.2.2, note 3); and what cannot be needed (private attributes, values of bytes) is passed over without being kept. Lengths are checked before they are believed, and nesting is bounded.

use super::attributes;
use super::character_set::CharacterSets;
use super::error::DicomError;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::header::Header;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};

/// The most bytes of attributes before the pixels; an enhanced CT of 4000 slices has some 10 MB.
pub const MAX_HEADER: u64 = 64 << 20;
/// The deepest nesting of sequences; the standard's own objects stay below 10.
const DEEPEST: usize = 32;
/// The most items of sequences; an enhanced CT of 4000 slices has some 60 000.
const MAX_ITEMS: u64 = 1 << 18;
/// No more bytes than these are looked ahead to tell the encoding.
const FAR: u64 = 1 << 20;
/// A length that is not told: a delimiter ends the value.
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// What separates values, the parts of a name, and lines: behind it the first character set is in force again (PS3.5, 6.1.2.5.3).
const DELIMITERS: &[u8] = b"\\\t\n\x0c\r";
const NAME_DELIMITERS: &[u8] = b"\\^=";

/// Texts that ichor hands on: it is told where they are not of the file's character sets.
const HANDED_ON: [Tag; 7] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
];

pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Whether each element names its VR.
    pub explicit: bool,
    /// The byte order.
    pub big_endian: bool,
}

impl Encoding {
    pub const IMPLICIT: Encoding = Encoding { explicit: false, big_endian: false };
    pub const EXPLICIT: Encoding = Encoding { explicit: true, big_endian: false };
    pub const BIG_ENDIAN: Encoding = Encoding { explicit: true, big_endian: true };

    /// Its name.
    pub fn name(self) -> &'static str {
        match (self.explicit, self.big_endian) {
            (true, false) => "explicit VR little endian",
            (false, false) => "implicit VR little endian",
            (true, true) => "explicit VR big endian",
            (false, true) => "implicit VR big endian",
        }
    }

    fn u16(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn tag(self, bytes: &[u8]) -> Tag {
        Tag(self.u16(bytes), self.u16(&bytes[2..]))
    }
}

/// Where the pixels are in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many bytes from here, as the element says.
    Native { at: u64, length: u64 },
    /// Items from here.
    Encapsulated { at: u64 },
}

/// What was read of a data set.
pub struct DataSet {
    /// Attributes of the standard that are texts, numbers or sequences, up to the pixels or to what is wrong.
    pub object: InMemDicomObject,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Where the pixels are; an error where there are none, or where something is wrong before them.
    pub pixels: Result<Place, DicomError>,
    /// What is odd and was assumed.
    pub notes: BTreeSet<String>,
}

/// Reads the data set from `start` to `end` of a source, whose encoding should be `claimed`.
pub fn read(source: &mut dyn ReadSeek, start: u64, end: u64, claimed: Encoding) -> DataSet {
    let mut reader = Reader { source, start, end, bytes: Vec::new(), items: 0, notes: BTreeSet::new() };
    let mut object = InMemDicomObject::new_empty();
    let encoding = reader.encoding_of_all(start, end, claimed).unwrap_or(claimed);
    let whole = Span { end, delimited: false, encoding, depth: 0 };
    let pixels = match reader.elements(&mut object, start, whole, &CharacterSets::default()) {
        Ok((_, Some(place))) => Ok(place),
        Ok((_, None)) => Err(DicomError::missing(tags::PIXEL_DATA)),
        Err(error) => Err(error),
    };
    DataSet { object, encoding, pixels, notes: reader.notes }
}

/// Whether an explicit or implicit element begins at `start`, with another one behind it.
pub fn begins(source: &mut dyn ReadSeek, start: u64, end: u64) -> bool {
    let mut reader = Reader { source, start, end, bytes: Vec::new(), items: 0, notes: BTreeSet::new() };
    reader.encoding_of_all(start, end, Encoding::EXPLICIT).is_some()
}

struct Reader<'a> {
    source: &'a mut dyn ReadSeek,
    start: u64,
    end: u64,
    /// The source from `start` on, as far as it was needed.
    bytes: Vec<u8>,
    items: u64,
    notes: BTreeSet<String>,
}

/// Elements that follow each other.
#[derive(Clone, Copy)]
struct Span {
    /// Where they end at the latest.
    end: u64,
    /// Whether a delimiter ends them.
    delimited: bool,
    encoding: Encoding,
    depth: usize,
}

/// The head of an element.
struct Head {
    tag: Tag,
    /// As the file says.
    vr: Option<VR>,
    length: u32,
    /// Where the value begins.
    value: u64,
}

impl Reader<'_> {
    /// Bytes of the source.
    fn get(&mut self, at: u64, length: u64) -> Result<&[u8], DicomError> {
        let (from, to) = (at - self.start, at - self.start + length);
        if at + length > self.end {
            return Err(self.cut(at + length));
        }
        if to > MAX_HEADER + FAR {
            return Err(too_large(to));
        }
        let have = self.bytes.len() as u64;
        if to > have {
            // Twice as much as before, so that a long header is not read in small pieces.
            let more = (to - have).max(have).max(1 << 13).min(self.end - self.start - have);
            self.source.seek(SeekFrom::Start(self.start + have)).map_err(DicomError::read)?;
            Read::take(&mut *self.source, more).read_to_end(&mut self.bytes).map_err(DicomError::read)?;
        }
        // The file may have been cut since its size was asked for.
        let found = self.start + self.bytes.len() as u64;
        self.bytes.get(from as usize..to as usize).ok_or(DicomError::Cut {
            what: "data set".into(),
            needed: to,
            found: found - self.start,
        })
    }

    fn cut(&self, needed: u64) -> DicomError {
        DicomError::Cut { what: "data set".into(), needed: needed - self.start, found: self.end - self.start }
    }

    /// The encoding of the data set from `at` on: that which was claimed, unless the first element is none of it and one of another encoding.
    fn encoding_of_all(&mut self, at: u64, end: u64, claimed: Encoding) -> Option<Encoding> {
        let first = self.get(at, 8).ok()?;
        // Groups are small numbers, so that the wrong order gives the larger one.
        let (little, big) = (Encoding::IMPLICIT.u16(first), Encoding::BIG_ENDIAN.u16(first));
        let big_endian = if little == big { claimed.big_endian } else { big < little };
        self.encoding(at, end, Encoding { big_endian, ..claimed })
    }

    /// The encoding of the elements from `at` on, whose byte order is known: that which was claimed, or the other one, by the first element.
    fn encoding(&mut self, at: u64, end: u64, claimed: Encoding) -> Option<Encoding> {
        let other = Encoding { explicit: !claimed.explicit, ..claimed };
        // The letters of a long VR and two zeros are a length of some 20 000 bytes too; that another element lies behind the length that follows is no chance.
        let explicit = Encoding { explicit: true, ..claimed };
        let long =
            self.get(at, 8).is_ok_and(|head| VR::from_binary([head[4], head[5]]).is_some_and(is_long) && head[6..8] == [0, 0]);
        let candidates = if long { [explicit, Encoding { explicit: false, ..claimed }] } else { [claimed, other] };
        candidates.into_iter().find(|&encoding| self.begins(at, end, encoding))
    }

    /// Whether an element of this encoding begins here, with another one behind it.
    fn begins(&mut self, at: u64, end: u64, encoding: Encoding) -> bool {
        let Ok(head) = self.get(at, 8).map(<[u8]>::to_vec) else { return false };
        let tag = encoding.tag(&head);
        if tag.group() == 0 || tag.group() == 0xFFFE {
            return false;
        }
        if !encoding.explicit {
            return self.follows(at + 8, encoding.u32(&head[4..]), tag, end, encoding);
        }
        match VR::from_binary([head[4], head[5]]) {
            None => false,
            Some(vr) if is_long(vr) => {
                let Ok(length) = self.get(at + 8, 4).map(|bytes| encoding.u32(bytes)) else { return false };
                self.follows(at + 12, length, tag, end, encoding)
            }
            Some(_) => self.follows(at + 8, encoding.u16(&head[6..]).into(), tag, end, encoding),
        }
    }

    /// Whether an element follows a value of this length (the same one again, where it is there twice), or the end does.
    fn follows(&mut self, value: u64, length: u32, tag: Tag, end: u64, encoding: Encoding) -> bool {
        let next = if length == UNDEFINED { value } else { value + u64::from(length) };
        if length == UNDEFINED {
            return self.get(next, 4).is_ok_and(|bytes| {
                [Encoding::IMPLICIT, Encoding::BIG_ENDIAN]
                    .iter()
                    .any(|encoding| [ITEM, SEQUENCE_END].contains(&encoding.tag(bytes)))
            });
        }
        if next == end {
            return true;
        }
        if next + 8 > end || next - self.start > MAX_HEADER || u64::from(length) > FAR {
            return false;
        }
        self.get(next, 4).is_ok_and(|bytes| {
            let following = encoding.tag(bytes);
            [ITEM_END, SEQUENCE_END].contains(&following) || following >= tag
        })
    }

    fn head(&mut self, at: u64, span: Span) -> Result<Head, DicomError> {
        let Span { end, encoding, .. } = span;
        let head: [u8; 8] = self.get(at, 8)?.try_into().expect("8 bytes");
        let tag = encoding.tag(&head);
        if tag.group() == 0xFFFE || !encoding.explicit {
            return Ok(Head { tag, vr: None, length: encoding.u32(&head[4..]), value: at + 8 });
        }
        let vr = VR::from_binary([head[4], head[5]]);
        let short = Head { tag, vr, length: encoding.u16(&head[6..]).into(), value: at + 8 };
        if vr.is_some_and(|vr| !is_long(vr)) {
            return Ok(short);
        }
        let long = |reader: &mut Self| {
            let length = encoding.u32(reader.get(at + 8, 4)?);
            Ok::<Head, DicomError>(Head { tag, vr, length, value: at + 12 })
        };
        if vr.is_some() && head[6..] == [0, 0] {
            return long(self);
        }
        // A VR that is none, or a length of two bytes where four belong: the way to read it behind which another element lies.
        let implicit = Head { tag, vr: None, length: encoding.u32(&head[4..]), value: at + 8 };
        for head in [Ok(implicit), long(self), Ok(short)].into_iter().flatten() {
            if self.follows(head.value, head.length, tag, end, encoding) {
                return Ok(head);
            }
        }
        let letters = String::from_utf8_lossy(&head[4..6]).escape_debug().to_string();
        Err(odd(format!("{} has the VR {letters:?}, which is none", attributes::name(tag))))
    }

    /// Reads elements into `object`; returns where they end, and where the pixels are if they end by them.
    fn elements(
        &mut self,
        object: &mut InMemDicomObject,
        mut at: u64,
        span: Span,
        sets: &CharacterSets,
    ) -> Result<(u64, Option<Place>), DicomError> {
        let mut sets = sets.clone();
        loop {
            if at - self.start > MAX_HEADER {
                return Err(too_large(at - self.start));
            }
            if at + 8 > span.end && !span.delimited {
                // What is left is no element: zeros that fill a block.
                let rest = self.get(at, span.end - at)?;
                let filled = rest.iter().all(|&byte| byte == 0);
                return if filled { Ok((span.end, None)) } else { Err(self.cut(at + 8)) };
            }
            if at + 8 > span.end && span.end < self.end {
                return Err(odd("an item is not closed"));
            }
            let head = self.head(at, span)?;
            let Head { tag, vr, length, value } = head;
            if tag == ITEM_END && span.delimited {
                return Ok((value, None));
            }
            if tag == SEQUENCE_END && span.delimited {
                // The item's own delimiter is missing.
                return Ok((at, None));
            }
            if [ITEM_END, SEQUENCE_END].contains(&tag) && length == 0 {
                at = value;
                continue;
            }
            if tag == Tag(0, 0) && length == 0 && span.depth == 0 {
                return Ok((span.end, None));
            }
            if tag.group() == 0xFFFE {
                return Err(odd("items and sequences are not closed in order"));
            }
            let known = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr().relaxed());
            if tag == tags::PIXEL_DATA && span.depth == 0 {
                let native = Place::Native { at: value, length: length.into() };
                let place = if length == UNDEFINED { Place::Encapsulated { at: value } } else { native };
                return Ok((value, Some(place)));
            }
            if length == UNDEFINED {
                let bytes = known != Some(VR::SQ) && vr.is_some_and(|vr| ![VR::SQ, VR::UN].contains(&vr));
                if tag == tags::PIXEL_DATA || bytes {
                    at = self.skip_fragments(value, span)?;
                    continue;
                }
                // The items of an element of unknown VR are implicit little endian (PS3.5, 6.2.2, note 2).
                let claimed = if vr == Some(VR::UN) { Encoding::IMPLICIT } else { span.encoding };
                let (items, after) = self.sequence(value, None, Span { encoding: claimed, ..span }, &sets)?;
                self.put_items(object, tag, known, items);
                at = after;
                continue;
            }
            let after = value + u64::from(length);
            if after > span.end {
                return Err(self.beyond(&head, known, span));
            }
            at = after;
            match known {
                Some(VR::SQ) => self.known_sequence(object, &head, span, &sets)?,
                _ if vr == Some(VR::SQ) => self.known_sequence(object, &head, span, &sets)?,
                Some(known) if tag.group() % 2 == 0 && tag.element() != 0 => {
                    let bytes = self.get(value, length.into())?.to_vec();
                    if tag == tags::SPECIFIC_CHARACTER_SET {
                        sets = CharacterSets::of(&String::from_utf8_lossy(&bytes));
                    }
                    if let Some(value) = self.value(tag, &bytes, vr, known, span, &sets) {
                        self.put(object, DataElement::new(tag, known, value));
                    }
                }
                _ => {}
            }
        }
    }

    /// An attribute; where it is there twice, the later one counts, as for pydicom and dcm2niix.
    fn put(&mut self, object: &mut InMemDicomObject, element: DataElement<InMemDicomObject>) {
        let tag = element.tag();
        if object.get(tag).is_some_and(|earlier| *earlier != element) {
            self.notes.insert(format!(
                "the attribute {} is there twice with different values; the last is used",
                attributes::name(tag)
            ));
        }
        object.put(element);
    }

    fn put_items(&mut self, object: &mut InMemDicomObject, tag: Tag, known: Option<VR>, items: Vec<InMemDicomObject>) {
        if known.is_some() {
            self.put(object, DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        }
    }

    /// A sequence of a known length, or a value that the dictionary calls one. One that holds no items is passed over: an image can do without, or the attribute is missed later.
    fn known_sequence(
        &mut self,
        object: &mut InMemDicomObject,
        head: &Head,
        span: Span,
        sets: &CharacterSets,
    ) -> Result<(), DicomError> {
        let end = head.value + u64::from(head.length);
        let claimed = if head.vr == Some(VR::UN) { Encoding::IMPLICIT } else { span.encoding };
        let known = StandardDataDictionary.by_tag(head.tag).map(|entry| entry.vr().relaxed());
        match self.sequence(head.value, Some(end), Span { encoding: claimed, end, ..span }, sets) {
            Ok((items, _)) => self.put_items(object, head.tag, known, items),
            Err(error @ (DicomError::TooLarge { .. } | DicomError::Read(_))) => return Err(error),
            Err(_) if known.is_some() => {
                self.notes.insert(format!("the sequence {} is damaged, and is not read", attributes::name(head.tag)));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// The items of a sequence, to `end` or to their delimiter, and where they end.
    fn sequence(
        &mut self,
        mut at: u64,
        end: Option<u64>,
        span: Span,
        sets: &CharacterSets,
    ) -> Result<(Vec<InMemDicomObject>, u64), DicomError> {
        if span.depth == DEEPEST {
            return Err(odd("sequences are nested too deep"));
        }
        let mut items = Vec::new();
        while Some(at) != end {
            let (tag, length, big_endian) = self.item(at, span)?;
            at += 8;
            match tag {
                SEQUENCE_END => break,
                // A delimiter behind an item of known length.
                ITEM_END if length == 0 => continue,
                ITEM => {}
                _ => return Err(odd("items and sequences are not closed in order")),
            }
            self.items += 1;
            if self.items > MAX_ITEMS {
                return Err(DicomError::TooLarge { what: "items of sequences", found: self.items, most: MAX_ITEMS });
            }
            let delimited = length == UNDEFINED;
            let last = if delimited { span.end } else { at + u64::from(length) };
            if last > span.end {
                return Err(if span.end == self.end { self.cut(last) } else { odd("an item is longer than its sequence") });
            }
            let claimed = Encoding { big_endian, ..span.encoding };
            let encoding = if at == last { None } else { self.encoding(at, last, claimed) };
            let inside = Span { end: last, delimited, encoding: encoding.unwrap_or(claimed), depth: span.depth + 1 };
            let mut object = InMemDicomObject::new_empty();
            (at, _) = self.elements(&mut object, at, inside, sets)?;
            items.push(object);
        }
        Ok((items, at))
    }

    /// Tag and length of an item or a delimiter, and whether it is big endian.
    fn item(&mut self, at: u64, span: Span) -> Result<(Tag, u32, bool), DicomError> {
        if at + 8 > span.end {
            return Err(if span.end == self.end { self.cut(at + 8) } else { odd("a sequence ends within an item") });
        }
        let head = self.get(at, 8)?;
        let encoding = if head[..2] == [0xFF, 0xFE] { Encoding::BIG_ENDIAN } else { Encoding::IMPLICIT };
        Ok((encoding.tag(head), encoding.u32(&head[4..]), encoding.big_endian))
    }

    /// Passes over compressed pixels that are not the image's, such as those of an icon.
    fn skip_fragments(&mut self, mut at: u64, span: Span) -> Result<u64, DicomError> {
        loop {
            let (tag, length, _) = self.item(at, span)?;
            at += 8;
            match tag {
                SEQUENCE_END => return Ok(at),
                ITEM if length != UNDEFINED => at += u64::from(length),
                _ => return Err(odd("compressed pixels are not in items")),
            }
            if at - self.start > MAX_HEADER {
                return Err(too_large(at - self.start));
            }
        }
    }

    /// The error of a value that reaches beyond its item or the file: where a value of that kind cannot be so long, it is the length that is wrong.
    fn beyond(&self, head: &Head, known: Option<VR>, span: Span) -> DicomError {
        let longest = match known.or(head.vr) {
            Some(VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::AT | VR::SV | VR::UV) => 1 << 12,
            Some(VR::AE | VR::AS | VR::CS | VR::DA | VR::DS | VR::DT | VR::IS | VR::LO | VR::PN | VR::SH | VR::TM | VR::UI) => {
                1 << 12
            }
            Some(VR::LT | VR::ST) => 1 << 16,
            _ => MAX_HEADER,
        };
        let name = attributes::name(head.tag);
        if u64::from(head.length) > longest || span.end < self.end {
            return odd(format!("the length of {name}, {} bytes, cannot be", head.length));
        }
        self.cut(head.value + u64::from(head.length))
    }

    /// A value by the VR of the dictionary, whatever the file's is; `None` where it is not kept.
    fn value(
        &mut self,
        tag: Tag,
        bytes: &[u8],
        given: Option<VR>,
        known: VR,
        span: Span,
        sets: &CharacterSets,
    ) -> Option<PrimitiveValue> {
        let big_endian = span.encoding.big_endian;
        let given_size = given.and_then(size);
        let known_size = size(known);
        if known_size.is_none() && !is_text(known) {
            return None;
        }
        if bytes.is_empty() {
            return Some(PrimitiveValue::Empty);
        }
        if let Some(known_size) = known_size {
            // Digits, where the file says that it is a text: a zero, which fills no number that is a text, is a part of one that is none.
            if given.is_some_and(is_text) && is_number(bytes) && !bytes.contains(&0) {
                return Some(texts(&String::from_utf8_lossy(bytes), known));
            }
            // The numbers of another size that the file says they are.
            let vr = given.filter(|&given| {
                given_size.is_some_and(|size| bytes.len().is_multiple_of(size)) && is_float(given) != is_float(known)
            });
            let vr =
                vr.or(given.filter(|_| given_size.is_some_and(|size| size != known_size && bytes.len().is_multiple_of(size))));
            return Some(numbers(bytes, vr.unwrap_or(known), big_endian));
        }
        let readable = match known {
            VR::DS | VR::IS => is_number(bytes),
            _ => bytes.iter().all(|&byte| byte >= b' ' || byte == 0x1B) || bytes.iter().all(|&byte| byte == 0),
        };
        if let (Some(given), Some(size), false) = (given, given_size, readable)
            && bytes.len().is_multiple_of(size)
        {
            return Some(texts(&numbers(bytes, given, big_endian).to_str(), known));
        }
        let has_charset = matches!(known, VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT);
        let text = if has_charset {
            let decoded = sets.decode(bytes, if known == VR::PN { NAME_DELIMITERS } else { DELIMITERS });
            if !decoded.as_declared && span.depth == 0 && HANDED_ON.contains(&tag) {
                self.notes.insert(format!(
                    "{} is no text of the character set that the file names, and was read as UTF-8 or Latin-1",
                    attributes::name(tag)
                ));
            }
            decoded.text
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        };
        if known == VR::DS
            && let Some(points) = attributes::with_points(&text)
        {
            self.notes.insert(format!("{} is written with decimal commas", attributes::name(tag)));
            return Some(texts(&points, known));
        }
        Some(texts(&text, known))
    }
}

/// Whether an element of this VR has a length of four bytes (PS3.5, 7.1.2).
fn is_long(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

fn is_text(vr: VR) -> bool {
    use VR::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
    matches!(vr, AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT)
}

fn is_float(vr: VR) -> bool {
    matches!(vr, VR::FL | VR::FD)
}

/// Bytes of one number of this VR; `None` for other VRs.
fn size(vr: VR) -> Option<usize> {
    match vr {
        VR::US | VR::SS => Some(2),
        VR::UL | VR::SL | VR::FL => Some(4),
        VR::UV | VR::SV | VR::FD => Some(8),
        _ => None,
    }
}

/// Whether bytes are numbers as a text has them.
fn is_number(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().all(|byte| byte.is_ascii_digit() || b"+-.,eE\\ \0".contains(byte))
        && !bytes.starts_with(b"\0")
}

fn numbers(bytes: &[u8], vr: VR, big_endian: bool) -> PrimitiveValue {
    fn each<const N: usize, T>(bytes: &[u8], big_endian: bool, number: fn([u8; N]) -> T) -> Vec<T> {
        let ordered = |chunk: &[u8]| {
            let mut bytes = [0; N];
            bytes.copy_from_slice(chunk);
            if big_endian {
                bytes.reverse();
            }
            number(bytes)
        };
        bytes.chunks_exact(N).map(ordered).collect()
    }
    match vr {
        VR::SS => PrimitiveValue::I16(each(bytes, big_endian, i16::from_le_bytes).into()),
        VR::UL => PrimitiveValue::U32(each(bytes, big_endian, u32::from_le_bytes).into()),
        VR::SL => PrimitiveValue::I32(each(bytes, big_endian, i32::from_le_bytes).into()),
        VR::FL => PrimitiveValue::F32(each(bytes, big_endian, f32::from_le_bytes).into()),
        VR::FD => PrimitiveValue::F64(each(bytes, big_endian, f64::from_le_bytes).into()),
        VR::UV => PrimitiveValue::U64(each(bytes, big_endian, u64::from_le_bytes).into()),
        VR::SV => PrimitiveValue::I64(each(bytes, big_endian, i64::from_le_bytes).into()),
        _ => PrimitiveValue::U16(each(bytes, big_endian, u16::from_le_bytes).into()),
    }
}

/// A text as one value, or as several for the VRs that have several; one of more values than any attribute that is needed stays in one piece, which takes less memory.
fn texts(text: &str, vr: VR) -> PrimitiveValue {
    match vr {
        _ if text.len() > 1 << 10 => PrimitiveValue::from(text),
        VR::LT | VR::ST | VR::UT | VR::UR => PrimitiveValue::from(text),
        _ => PrimitiveValue::Strs(text.split('\\').map(String::from).collect()),
    }
}

fn too_large(found: u64) -> DicomError {
    DicomError::TooLarge { what: "bytes of attributes", found, most: MAX_HEADER }
}

fn odd(what: impl Into<String>) -> DicomError {
    DicomError::Parse(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const UID: Tag = tags::SOP_INSTANCE_UID;
    const ROWS: Tag = tags::ROWS;
    const SEQUENCE: Tag = tags::REFERENCED_IMAGE_SEQUENCE;
    const PRIVATE: Tag = Tag(0x0009, 0x1001);

    fn tag(tag: Tag) -> Vec<u8> {
        [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat()
    }

    /// An explicit element, little endian.
    fn explicit(at: Tag, vr: &str, value: &[u8]) -> Vec<u8> {
        let long = is_long(vr.parse().unwrap());
        let length = if long { (value.len() as u32).to_le_bytes().to_vec() } else { (value.len() as u16).to_le_bytes().to_vec() };
        [tag(at).as_slice(), vr.as_bytes(), if long { &[0, 0] } else { &[] }, &length, value].concat()
    }

    /// An implicit element, an item or a delimiter, of a length that may be wrong.
    fn told(at: Tag, length: u32, value: &[u8]) -> Vec<u8> {
        [&tag(at), length.to_le_bytes().as_slice(), value].concat()
    }

    fn implicit(at: Tag, value: &[u8]) -> Vec<u8> {
        told(at, value.len() as u32, value)
    }

    fn pixels() -> Vec<u8> {
        explicit(tags::PIXEL_DATA, "OW", &[1, 2])
    }

    /// What is read of an explicit data set with an UID before and pixels behind these elements.
    fn between(elements: &[&[u8]]) -> DataSet {
        all(&[explicit(UID, "UI", b"1.2\0"), elements.concat(), pixels()].concat())
    }

    fn all(bytes: &[u8]) -> DataSet {
        read(&mut Cursor::new(bytes), 0, bytes.len() as u64, Encoding::EXPLICIT)
    }

    fn items(set: &DataSet) -> Vec<Option<String>> {
        let text = |item: &InMemDicomObject| item.get(UID).map(|uid| uid.to_str().unwrap().trim_end_matches('\0').into());
        set.object.get(SEQUENCE).unwrap().items().unwrap().iter().map(text).collect()
    }

    fn problem(set: &DataSet) -> String {
        set.pixels.as_ref().unwrap_err().to_string()
    }

    #[test]
    fn encodings_have_the_names_of_the_standard() {
        for (encoding, name) in [
            (Encoding::EXPLICIT, "explicit VR little endian"),
            (Encoding::IMPLICIT, "implicit VR little endian"),
            (Encoding::BIG_ENDIAN, "explicit VR big endian"),
            (Encoding { explicit: false, big_endian: true }, "implicit VR big endian"),
        ] {
            assert_eq!(encoding.name(), name);
        }
    }

    #[test]
    fn sequences_are_read_in_each_form() {
        let uid = explicit(UID, "UI", b"1.5\0");
        let implicit_uid = implicit(UID, b"1.5\0");
        let (end, last) = (told(ITEM_END, 0, &[]), told(SEQUENCE_END, 0, &[]));
        let open = |inside: &[u8]| [told(ITEM, UNDEFINED, &[]), inside.to_vec(), end.clone()].concat();
        let undefined =
            |vr: &str, items: &[u8]| [&tag(SEQUENCE), vr.as_bytes(), &[0, 0, 255, 255, 255, 255], items, &last].concat();
        let one = vec![Some("1.5".to_string())];
        for (what, element, expected) in [
            ("known lengths", explicit(SEQUENCE, "SQ", &implicit(ITEM, &uid)), &one),
            ("open items", explicit(SEQUENCE, "SQ", &open(&uid)), &one),
            ("open", undefined("SQ", &implicit(ITEM, &uid)), &one),
            ("all open", undefined("SQ", &open(&uid)), &one),
            ("a needless delimiter", undefined("SQ", &[implicit(ITEM, &uid), end.clone()].concat()), &one),
            ("no delimiter of the item", undefined("SQ", &[told(ITEM, UNDEFINED, &[]), uid.clone()].concat()), &one),
            ("unknown VR", explicit(SEQUENCE, "UN", &implicit(ITEM, &implicit_uid)), &one),
            ("unknown VR, open", undefined("UN", &open(&implicit_uid)), &one),
            ("implicit items", undefined("SQ", &open(&implicit_uid)), &one),
            (
                "an empty item",
                undefined("SQ", &[implicit(ITEM, &[]), implicit(ITEM, &uid)].concat()),
                &vec![None, one[0].clone()],
            ),
        ] {
            let set = between(&[&element]);
            assert!(set.pixels.is_ok() && set.notes.is_empty(), "{what}: {:?}, {:?}", set.pixels, set.notes);
            assert_eq!(&items(&set), expected, "{what}");
        }
        // A private sequence is read over.
        let set = between(&[&explicit(PRIVATE, "SQ", &implicit(ITEM, &uid))]);
        assert!(set.pixels.is_ok() && set.notes.is_empty() && set.object.get(PRIVATE).is_none());
    }

    #[test]
    fn items_may_be_of_the_other_byte_order() {
        let big =
            |at: Tag, rest: &[&[u8]]| [&at.group().to_be_bytes(), at.element().to_be_bytes().as_slice(), &rest.concat()].concat();
        let uid = big(UID, &[b"UI", &[0, 4], b"1.5\0"]);
        let item = big(ITEM, &[&(uid.len() as u32).to_be_bytes(), &uid]);
        let set = between(&[&explicit(SEQUENCE, "SQ", &item)]);
        assert_eq!(items(&set), [Some("1.5".to_string())]);
    }

    #[test]
    fn damaged_sequences_are_told_of_and_those_that_do_not_end_are_errors() {
        let uid = explicit(UID, "UI", b"1.5\0");
        for (what, value) in [
            ("an item longer than its sequence", told(ITEM, uid.len() as u32 + 2, &uid)),
            ("half an item", [implicit(ITEM, &uid), vec![0xFE, 0xFF, 0, 0xE0]].concat()),
            ("an item that is not closed", [told(ITEM, UNDEFINED, &[]), uid.clone()].concat()),
            ("a delimiter with a length", [told(ITEM_END, 2, &[]), uid.clone()].concat()),
            ("no item", uid.clone()),
        ] {
            let set = between(&[&explicit(SEQUENCE, "SQ", &value)]);
            assert!(set.pixels.is_ok(), "{what}: {:?}", set.pixels);
            let note = "the sequence ReferencedImageSequence (0008,1140) is damaged, and is not read";
            assert_eq!(set.notes.iter().collect::<Vec<_>>(), [note], "{what}");
        }
        let open = [&tag(SEQUENCE), b"SQ\0\0".as_slice(), &[255; 4]].concat();
        for (what, value, said) in [
            ("a longer item than the file", told(ITEM, 1 << 20, &uid), "the file is cut"),
            ("pixels in place of an item", Vec::new(), "not closed in order"),
            ("a second item inside", told(ITEM, UNDEFINED, &told(ITEM, 0, &[])), "not closed in order"),
        ] {
            let problem = problem(&between(&[&open, &value]));
            assert!(problem.contains(said), "{what}: {problem}");
        }
    }

    #[test]
    fn so_many_items_are_read_and_no_more() {
        let with = |count: u64| between(&[&explicit(SEQUENCE, "SQ", &implicit(ITEM, &[]).repeat(count as usize))]);
        assert_eq!(items(&with(MAX_ITEMS)).len() as u64, MAX_ITEMS);
        let problem = problem(&with(MAX_ITEMS + 1));
        assert!(problem.contains("items of sequences"), "{problem}");
    }

    #[test]
    fn delimiters_zeros_and_remains_outside_of_sequences() {
        for delimiter in [ITEM_END, SEQUENCE_END] {
            assert!(between(&[&told(delimiter, 0, &[])]).pixels.is_ok());
            assert!(problem(&between(&[&told(delimiter, 2, &[1, 1])])).contains("not closed in order"));
        }
        let uid = explicit(UID, "UI", b"1.2\0");
        let missing = DicomError::missing(tags::PIXEL_DATA).to_string();
        for zeros in [0, 3, 8, 40] {
            assert_eq!(problem(&all(&[uid.clone(), vec![0; zeros]].concat())), missing, "{zeros} zeros");
        }
        match all(&[uid.clone(), vec![1; 3]].concat()).pixels {
            Err(DicomError::Cut { needed, found, .. }) => assert_eq!((needed, found), (20, 15)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn compressed_pixels_of_an_icon_are_passed_over() {
        let icon = |fragments: &[u8]| {
            let head = [&tag(PRIVATE), b"OB\0\0".as_slice(), &[255; 4]].concat();
            between(&[&head, fragments])
        };
        let end = told(SEQUENCE_END, 0, &[]);
        assert!(icon(&[implicit(ITEM, &[]), implicit(ITEM, &[7; 6]), end.clone()].concat()).pixels.is_ok());
        for fragments in [told(ITEM, UNDEFINED, &end), explicit(ROWS, "US", &[1, 0])] {
            let problem = problem(&icon(&fragments));
            assert!(problem.contains("compressed pixels are not in items"), "{problem}");
        }
    }

    #[test]
    fn a_value_that_reaches_beyond_the_file_is_cut_or_has_a_wrong_length() {
        let said = |at: Tag, length: u32| {
            let set = [implicit(UID, b"1.2\0"), told(at, length, &[1, 1])].concat();
            problem(&read(&mut Cursor::new(&set), 0, set.len() as u64, Encoding::IMPLICIT))
        };
        for (at, most) in [(ROWS, 1 << 12), (tags::PATIENT_ID, 1 << 12), (tags::PATIENT_COMMENTS, 1 << 16)] {
            assert!(said(at, most).contains("the file is cut"), "{at}: {}", said(at, most));
            assert!(said(at, most + 2).contains("cannot be"), "{at}: {}", said(at, most + 2));
        }
        assert!(said(tags::ICC_PROFILE, MAX_HEADER as u32).contains("the file is cut"));
        assert!(said(tags::ICC_PROFILE, MAX_HEADER as u32 + 2).contains("cannot be"));
    }

    #[test]
    fn numbers_are_those_of_the_vr_that_fits_their_size() {
        let value =
            |at: Tag, vr: &str, bytes: &[u8]| between(&[&explicit(at, vr, bytes)]).object.get(at).unwrap().value().clone();
        let number = |at: Tag, vr: &str, bytes: &[u8]| value(at, vr, bytes).to_int::<i64>().unwrap();
        // Rows is US, SimpleFrameList UL.
        assert_eq!(number(ROWS, "US", &[0xFE, 0xFF]), 65534);
        assert_eq!(number(ROWS, "SS", &[0xFE, 0xFF]), 65534, "the dictionary knows the sign");
        assert_eq!(number(ROWS, "SL", &(-2_i32).to_le_bytes()), -2);
        assert_eq!(number(ROWS, "UL", &(70_000_u32).to_le_bytes()), 70_000);
        assert_eq!(number(ROWS, "SV", &(-2_i64).to_le_bytes()), -2);
        assert_eq!(number(ROWS, "UV", &(70_000_u64).to_le_bytes()), 70_000);
        assert_eq!(number(tags::SIMPLE_FRAME_LIST, "SS", &[0xFE, 0xFF]), -2);
        assert_eq!(value(ROWS, "FL", &2.5_f32.to_le_bytes()).to_float64().unwrap(), 2.5);
        assert_eq!(value(ROWS, "FD", &2.5_f64.to_le_bytes()).to_float64().unwrap(), 2.5);
        // Texts in place of numbers, and numbers in place of texts.
        assert_eq!(number(ROWS, "IS", b"12"), 12);
        assert_eq!(value(tags::INSTANCE_NUMBER, "US", &[7, 0]).to_int::<i64>().unwrap(), 7);
        assert_eq!(value(tags::PATIENT_ID, "US", &[7, 0]).to_str().unwrap(), "7");
        assert_eq!(value(tags::PATIENT_ID, "US", b"ab").to_str().unwrap(), "ab");
        // A text of zeros is empty, and no number.
        assert_eq!(value(tags::PATIENT_ID, "US", &[0, 0]).to_str().unwrap().trim_end_matches('\0'), "");
    }

    #[test]
    fn backslashes_part_values_but_in_long_texts() {
        let value = |at: Tag, vr: &str| {
            between(&[&explicit(at, vr, b"a\\b ")]).object.get(at).unwrap().value().to_multi_str().unwrap().len()
        };
        assert_eq!([value(tags::IMAGE_TYPE, "CS"), value(tags::PATIENT_COMMENTS, "LT")], [2, 1]);
    }

    #[test]
    fn a_data_set_may_lie_anywhere_in_its_source_and_be_long() {
        let comments = explicit(tags::PATIENT_COMMENTS, "LT", &[b'c'; 1000]).repeat(60);
        let set = [explicit(UID, "UI", b"1.2\0"), comments, explicit(ROWS, "US", &[7, 0]), pixels()].concat();
        let end = 100 + set.len() as u64;
        let source = [vec![9; 100], set, vec![9; 100]].concat();
        let read = |end| read(&mut Cursor::new(&source), 100, end, Encoding::EXPLICIT);
        let whole = read(end);
        assert_eq!(whole.pixels.unwrap(), Place::Native { at: end - 2, length: 2 });
        assert_eq!(whole.object.get(ROWS).unwrap().to_int::<i64>().unwrap(), 7);
        // Cut within the last comment: bytes count from the data set's beginning.
        match read(100 + 12 + 59 * 1008 + 500).pixels {
            Err(DicomError::Cut { needed, found, .. }) => assert_eq!([needed, found], [12 + 60 * 1008, 12 + 59 * 1008 + 500]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_data_set_begins_with_an_element_and_another_one_behind_it() {
        let begins = |bytes: &[u8]| super::begins(&mut Cursor::new(bytes), 0, bytes.len() as u64);
        let uid = explicit(UID, "UI", b"1.2\0");
        let rows = explicit(ROWS, "US", &[7, 0]);
        assert!(begins(&uid) && begins(&[uid.clone(), rows.clone()].concat()) && begins(&implicit(UID, b"1.2\0")));
        assert!(!begins(&[rows.clone(), uid.clone()].concat()), "in the wrong order");
        assert!(!begins(&[uid.clone(), rows[..6].to_vec()].concat()), "half an element behind it");
        assert!(!begins(&explicit(Tag(0, 2), "UI", b"1.2\0")) && !begins(&implicit(ITEM, b"1.2\0")));
        // No farther away than is looked ahead.
        for (length, expected) in [(FAR, true), (FAR + 2, false)] {
            let long = [implicit(UID, &vec![0; length as usize]), implicit(ROWS, &[7, 0])].concat();
            assert_eq!(begins(&long), expected, "{length}");
        }
    }

    #[test]
    fn lengths_of_groups_are_not_kept_and_items_are_told_by_the_vr() {
        let item = implicit(ITEM, &explicit(UID, "UI", b"1.5\0"));
        let set = between(&[&explicit(Tag(0x0010, 0), "UL", &[9, 0, 0, 0]), &explicit(tags::PATIENT_ID, "SQ", &item)]);
        assert!(set.object.get(Tag(0x0010, 0)).is_none());
        assert_eq!(set.object.get(tags::PATIENT_ID).unwrap().items().unwrap().len(), 1);
        let list = between(&[&explicit(tags::SIMPLE_FRAME_LIST, "FL", &2.5_f32.to_le_bytes())]);
        assert_eq!(list.object.get(tags::SIMPLE_FRAME_LIST).unwrap().to_float64().unwrap(), 2.5);
    }

    #[test]
    fn a_header_is_read_up_to_its_limit_wherever_it_begins() {
        const BEFORE: usize = 100;
        let uid = explicit(UID, "UI", b"1.2\0");
        let icon = [&tag(PRIVATE), b"OB\0\0".as_slice(), &[255; 4]].concat();
        let end = told(SEQUENCE_END, 0, &[]);
        let long = |length: u64| vec![0; length as usize];
        // The last element, or the last fragment of an icon, ends so many bytes behind the limit.
        let value = |more: u64| explicit(PRIVATE, "UN", &long(MAX_HEADER + more - 12 - 12));
        let fragment = |more: u64| [icon.clone(), implicit(ITEM, &long(MAX_HEADER + more - 12 - 12 - 8))].concat();
        let read = |elements: &[Vec<u8>]| {
            let source = [&[9; BEFORE][..], &uid, &elements.concat(), &pixels()].concat();
            super::read(&mut Cursor::new(&source), BEFORE as u64, source.len() as u64, Encoding::EXPLICIT)
        };
        let too_large = |set: DataSet| match set.pixels {
            Err(DicomError::TooLarge { found, most: MAX_HEADER, .. }) => found,
            other => panic!("{other:?}"),
        };
        assert!(read(&[value(0)]).pixels.is_ok());
        assert_eq!(too_large(read(&[value(2)])), MAX_HEADER + 2);
        assert_eq!(too_large(read(&[fragment(2), end.clone()])), MAX_HEADER + 2);
        // The delimiter is behind the limit, and what follows it too.
        assert_eq!(too_large(read(&[fragment(0), end])), MAX_HEADER + 8);
        // A value that is kept is read no farther than the look ahead.
        let kept = [&told(tags::PATIENT_COMMENTS, 0, &[])[..4], b"UT\0\0"].concat();
        let text = |length: u64| [kept.clone(), (length as u32).to_le_bytes().to_vec(), long(length)].concat();
        assert_eq!(too_large(read(&[value(0), text(FAR)])), MAX_HEADER + FAR + 12);
        assert_eq!(too_large(read(&[value(0), text(FAR - 12)])), MAX_HEADER + FAR);
    }

    #[test]
    fn an_implicit_element_among_explicit_ones_is_read() {
        let set = between(&[&implicit(ROWS, &[7, 0])]);
        assert_eq!(set.object.get(ROWS).unwrap().to_int::<i64>().unwrap(), 7);
        assert!(set.pixels.is_ok());
    }

    #[test]
    fn where_no_order_tells_the_encoding_of_an_item_it_is_that_of_its_sequence() {
        // Behind no element lies one with a larger tag.
        let backwards = |one: fn(Tag, &[u8]) -> Vec<u8>| implicit(ITEM, &[one(ROWS, &[7, 0]), one(UID, b"1.5\0")].concat());
        let known = |at: Tag, value: &[u8]| explicit(at, if at == ROWS { "US" } else { "UI" }, value);
        let open = |vr: &str, items: &[u8]| {
            [&tag(SEQUENCE), vr.as_bytes(), &[0, 0, 255, 255, 255, 255], items, &told(SEQUENCE_END, 0, &[])].concat()
        };
        for (what, element) in [
            ("unknown VR", explicit(SEQUENCE, "UN", &backwards(implicit))),
            ("unknown VR, open", open("UN", &backwards(implicit))),
            ("explicit", explicit(SEQUENCE, "SQ", &backwards(known))),
            ("explicit, open", open("SQ", &backwards(known))),
        ] {
            let set = between(&[&element]);
            assert!(set.pixels.is_ok() && set.notes.is_empty(), "{what}: {:?}, {:?}", set.pixels, set.notes);
            assert_eq!(items(&set), [Some("1.5".to_string())], "{what}");
        }
    }

    #[test]
    fn items_end_where_their_sequence_does() {
        let uid = explicit(UID, "UI", b"1.5\0");
        let rows = explicit(ROWS, "US", &[7, 0]);
        // An item that reaches to the end of the element behind its sequence, and a delimiter there.
        let item = told(ITEM, (uid.len() + rows.len()) as u32, &uid);
        let set = between(&[&explicit(SEQUENCE, "SQ", &item), &rows, &told(SEQUENCE_END, 0, &[])]);
        assert!(set.pixels.is_ok() && set.object.get(SEQUENCE).is_none());
        assert_eq!(set.object.get(ROWS).unwrap().to_int::<i64>().unwrap(), 7);
        assert!(set.notes.iter().next().unwrap().contains("is damaged"), "{:?}", set.notes);
        // Within a sequence that is open, so that nothing can be read over.
        let open = [&tag(SEQUENCE), b"SQ\0\0".as_slice(), &[255; 4]].concat();
        let unclosed = [open.clone(), told(ITEM, UNDEFINED, &uid)].concat();
        let longer = [&tag(ROWS), b"US\x28\0\x07\0".as_slice()].concat();
        for (what, value, said) in [
            ("an open item in a closed one", implicit(ITEM, &unclosed), "an item is not closed"),
            ("a value longer than its item", implicit(ITEM, &longer), "the length of Rows (0028,0010), 40 bytes, cannot be"),
        ] {
            let problem = problem(&between(&[&open, &value, &rows.repeat(8)]));
            assert!(problem.contains(said), "{what}: {problem}");
        }
        // At the end of the file all of them are cut.
        for (what, last) in [("an open item", told(ITEM, UNDEFINED, &uid)), ("a sequence", implicit(ITEM, &uid))] {
            let bytes = [explicit(UID, "UI", b"1.2\0"), open.clone(), last, vec![0; 3]].concat();
            match all(&bytes).pixels {
                Err(DicomError::Cut { needed, found, .. }) => {
                    assert_eq!([needed, found], [bytes.len() as u64 + 5, bytes.len() as u64], "{what}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn long_texts_stay_in_one_piece() {
        let values = |length: usize| {
            let set = between(&[&explicit(tags::IMAGE_TYPE, "CS", &b"a\\".repeat(length / 2))]);
            set.object.get(tags::IMAGE_TYPE).unwrap().value().multiplicity()
        };
        assert_eq!([values(1 << 10), values((1 << 10) + 2)], [513, 1]);
    }

    #[test]
    fn zeros_end_a_data_set_and_an_element_of_group_0_does_not() {
        assert!(between(&[&told(Tag(0, 0), 2, &[1, 1])]).pixels.is_ok());
        let missing = DicomError::missing(tags::PIXEL_DATA).to_string();
        assert_eq!(problem(&between(&[&told(Tag(0, 0), 0, &[])])), missing);
    }

    #[test]
    fn a_text_of_another_character_set_is_told_of_where_it_is_handed_on() {
        let name = explicit(tags::PATIENT_NAME, "PN", b"M\xfcller");
        let notes = |element: &[u8]| between(&[element]).notes.len();
        assert_eq!(notes(&name), 1);
        assert_eq!(notes(&explicit(tags::PATIENT_NAME, "PN", b"Muller")), 0);
        assert_eq!(notes(&explicit(SEQUENCE, "SQ", &implicit(ITEM, &name))), 0, "of an item nothing is handed on");
        assert_eq!(notes(&explicit(tags::PATIENT_COMMENTS, "LT", b"M\xfcller")), 0);
    }
}
