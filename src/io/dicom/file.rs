//! One DICOM file: its attributes, and where its pixels lie.
//!
//! The data set is read by [`data_set`], which believes no length and bounds all nesting. The pixels are read where they lie. Where the transfer syntax that the file names contradicts what is
//! there, the file is read by what is there, and that is noted.

use super::data_set::{self, DataSet, Encoding, Place, ReadSeek};
use super::error::DicomError;
use super::pixels::{Compression, Layout};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use std::fs;
use std::io::{BufReader, Cursor, ErrorKind, Read, SeekFrom};
use std::path::Path;

/// The largest file that is read: an enhanced CT of 4000 slices of 512x512 has half of it.
pub const MAX_FILE: u64 = 4 << 30;
/// The most bytes that a deflated data set may inflate to.
pub const MAX_INFLATED: u64 = 512 << 20;
/// The retired explicit VR big endian; old archives still have it.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Implicit VR little endian with pixels in big endian order, of General Electric.
const GE_BIG_ENDIAN_PIXELS: &str = "1.2.840.113619.5.2";
/// Bytes that tell whether a file is DICOM.
const MAGIC: usize = 132;
/// So many inflated bytes tell whether a data set begins with them.
const BEGINNING: u64 = 1 << 16;

/// An open file, or bytes in memory.
pub struct File<'a> {
    source: Box<dyn ReadSeek + 'a>,
    /// Where the data set begins.
    start: u64,
    /// Where the source ends.
    end: u64,
    meta: Meta,
    /// How the transfer syntax says that the data set is encoded.
    claimed: Encoding,
    notes: Vec<String>,
    /// Whether a data set of any encoding begins where it should.
    begins: bool,
}

/// What group 2 says. All are empty where it is not there.
#[derive(Clone, Debug, Default)]
struct Meta {
    syntax: String,
    class: String,
    instance: String,
}

/// The attributes of a file.
pub struct Attributes {
    /// Those of the standard that are texts, numbers or sequences, up to the pixels or to what is wrong.
    pub object: InMemDicomObject,
    /// MediaStorageSOPClassUID of group 2; empty where there is none.
    pub media_class: String,
    /// MediaStorageSOPInstanceUID of group 2; empty where there is none.
    pub media_instance: String,
    /// What is odd and was assumed, one sentence each.
    pub notes: Vec<String>,
    /// UID of the transfer syntax that the file names; empty where it names none.
    syntax: String,
    encoding: Encoding,
    /// Where the pixels are; an error where there are none, or where the data set is broken before them.
    pixels: Result<Place, DicomError>,
    /// Where the file ends.
    end: u64,
    /// What the pixels' first bytes say about their compression.
    found: Option<Compression>,
}

/// Where pixels are that fit the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// So many bytes from here.
    Native {
        /// Where they begin.
        at: u64,
        /// How many they are.
        length: u64,
        /// Their byte order.
        big_endian: bool,
    },
    /// Items from here.
    Encapsulated {
        /// Where they begin.
        at: u64,
        /// How each frame is compressed.
        compression: Compression,
    },
}

/// The pixels of a file as they are stored.
pub enum Pixels {
    /// All frames, little endian.
    Native(Vec<u8>),
    /// Compressed frames.
    Encapsulated {
        /// How each frame is compressed.
        compression: Compression,
        /// For each frame, the offset of its first fragment from the first item; may be empty.
        offsets: Vec<u32>,
        /// The fragments, each with its offset.
        fragments: Vec<(u64, Vec<u8>)>,
    },
}

/// Whether a file is DICOM, from its content.
///
/// # Errors
/// [`DicomError::Read`].
pub fn is_dicom(path: &Path) -> Result<bool, DicomError> {
    let mut magic = Vec::with_capacity(MAGIC);
    fs::File::open(path).map_err(DicomError::read)?.take(MAGIC as u64).read_to_end(&mut magic).map_err(DicomError::read)?;
    Ok(start(&magic).is_some())
}

/// Where group 2 (or, without it, the data set) begins in a file that begins with these bytes.
fn start(magic: &[u8]) -> Option<u64> {
    if magic.get(128..132) == Some(b"DICM") {
        return Some(132);
    }
    let first = magic.get(..8)?;
    // Without a preamble: `DICM` at once, group 2, or a data set that begins with its length, character set, or what identifies it: explicit or implicit,
    // little endian or big endian.
    if first.starts_with(b"DICM") {
        return Some(4);
    }
    let known = |vr: &[u8]| dicom_core::VR::from_binary([vr[0], vr[1]]).is_some();
    let short = |length: u32| length <= 256;
    let (little, big) = ([first[4], first[5], first[6], first[7]], [first[7], first[6], first[5], first[4]]);
    let begins = match *first {
        [2, 0, 0 | 1 | 2 | 3 | 0x10, 0, ..] => known(&first[4..6]),
        [8, 0, 0x00 | 0x01 | 0x05 | 0x08 | 0x12..=0x18, 0, ..] => known(&first[4..6]) || short(u32::from_le_bytes(little)),
        [0, 8, 0, 0x00 | 0x05 | 0x08 | 0x12..=0x18, ..] => known(&first[4..6]) || short(u32::from_le_bytes(big)),
        _ => false,
    };
    begins.then_some(0)
}

impl<'a> File<'a> {
    /// Opens the file at `path` and reads which transfer syntax it has.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(path: &Path) -> Result<File<'static>, DicomError> {
        // Before opening: opening a pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(DicomError::read)?;
        if !metadata.is_file() {
            return Err(DicomError::NotDicom);
        }
        let source = BufReader::with_capacity(1 << 14, fs::File::open(path).map_err(DicomError::read)?);
        File::new(Box::new(source), metadata.len())
    }

    /// The same for bytes in memory.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<File<'a>, DicomError> {
        File::new(Box::new(Cursor::new(bytes)), bytes.len() as u64)
    }

    fn new(mut source: Box<dyn ReadSeek + 'a>, end: u64) -> Result<File<'a>, DicomError> {
        if end > MAX_FILE {
            return Err(DicomError::TooLarge { what: "bytes of the file", found: end, most: MAX_FILE });
        }
        let mut magic = Vec::with_capacity(MAGIC);
        Read::take(&mut *source, MAGIC as u64).read_to_end(&mut magic).map_err(DicomError::read)?;
        let start = start(&magic).ok_or(DicomError::NotDicom)?;
        let (meta, start) = meta(&mut source, start, end)?;
        let claimed = match meta.syntax.as_str() {
            uids::IMPLICIT_VR_LITTLE_ENDIAN | GE_BIG_ENDIAN_PIXELS => Encoding::IMPLICIT,
            BIG_ENDIAN => Encoding::BIG_ENDIAN,
            _ => Encoding::EXPLICIT,
        };
        let file = File { source, start, end, meta, claimed, notes: Vec::new(), begins: true };
        file.inflated()
    }

    /// The file with its data set inflated where it is deflated, whatever its transfer syntax says.
    fn inflated(mut self) -> Result<File<'a>, DicomError> {
        let said = self.meta.syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        if data_set::begins(&mut self.source, self.start, self.end) {
            if said {
                self.notes.push("its transfer syntax says that the data set is deflated, and it is not".into());
            }
            return Ok(self);
        }
        let found = Wrapping::ALL.into_iter().find(|wrapping| wrapping.holds_a_data_set(&mut self.source, self.start));
        let Some(wrapping) = found.or(said.then_some(Wrapping::None)) else {
            self.begins = false;
            return Ok(self);
        };
        let bytes = wrapping.inflate(&mut self.source, self.start).map_err(|error| match error {
            DicomError::Parse(text) => DicomError::Parse(format!("{text}; {}", self.says())),
            error => error,
        })?;
        if !said {
            self.notes.push(format!("{}, and the data set is deflated: read as that", self.says()));
        } else if wrapping != Wrapping::None {
            self.notes.push(format!("its deflated data set is wrapped as {}, against the standard", wrapping.name()));
        }
        let end = bytes.len() as u64;
        let mut source: Box<dyn ReadSeek + 'a> = Box::new(Cursor::new(bytes));
        let begins = data_set::begins(&mut source, 0, end);
        Ok(File { source, start: 0, end, begins, ..self })
    }

    /// Reads the attributes, as far as they can be read: what is wrong with the data set is told by [`Attributes::stored`].
    ///
    /// # Errors
    /// [`DicomError::Read`].
    pub fn attributes(&mut self) -> Result<Attributes, DicomError> {
        let DataSet { object, encoding, pixels, notes } = data_set::read(&mut self.source, self.start, self.end, self.claimed);
        let mut all = self.notes.clone();
        if encoding != self.claimed && !(self.meta.syntax.is_empty() || self.is_private()) {
            all.push(format!("its transfer syntax says {}, and it is {}: read as that", self.said(), encoding.name()));
        } else if self.is_private() {
            all.push(format!("its transfer syntax {} is not known: read as {}", self.meta.syntax, encoding.name()));
        }
        all.extend(notes);
        let pixels = match pixels {
            Err(DicomError::Parse(why)) if !self.begins => {
                Err(DicomError::Parse(format!("{}, and the data set is neither that nor deflated: {why}", self.says())))
            }
            // A length that was never one: a data set begins with the groups of its identification.
            Err(DicomError::Cut { .. }) if !self.begins && object.iter().next().is_none() && !self.is_identified() => {
                Err(DicomError::Parse(format!("{}, and the data set is neither that nor deflated", self.says())))
            }
            pixels => pixels,
        };
        let found = match pixels {
            Ok(Place::Encapsulated { at }) => self.first_fragment(at).and_then(|bytes| Compression::of_bytes(&bytes)),
            _ => None,
        };
        let Meta { syntax, class, instance } = self.meta.clone();
        let end = self.end;
        Ok(Attributes { object, media_class: class, media_instance: instance, notes: all, syntax, encoding, pixels, end, found })
    }

    /// Whether the transfer syntax is none of the standard's.
    fn is_private(&self) -> bool {
        !self.meta.syntax.is_empty() && known(&self.meta.syntax).is_none()
    }

    /// The sentence's beginning: what the file says about its data set.
    fn says(&self) -> String {
        match self.meta.syntax.as_str() {
            "" => "it names no transfer syntax".into(),
            uid if self.is_private() => format!("its transfer syntax {uid} is not known"),
            _ => format!("its transfer syntax says {}", self.said()),
        }
    }

    /// Whether the first tag is of a group that data sets begin with, whatever follows it.
    fn is_identified(&mut self) -> bool {
        let mut group = [0; 2];
        let read = self.source.seek(SeekFrom::Start(self.start)).and_then(|_| self.source.read_exact(&mut group));
        // What is cut before it has a whole tag tells nothing.
        read.is_err() || [[0, 0], [4, 0], [8, 0], [0, 4], [0, 8]].contains(&group)
    }

    /// What the transfer syntax says about the data set.
    fn said(&self) -> String {
        let name = known(&self.meta.syntax).unwrap_or("unknown");
        format!("{name} ({})", self.meta.syntax)
    }

    /// The first bytes of the first fragment behind the table of offsets.
    fn first_fragment(&mut self, at: u64) -> Option<Vec<u8>> {
        self.source.seek(SeekFrom::Start(at)).ok()?;
        let table = self.take(8, "pixel data").ok()?;
        let length = u32::from_le_bytes([table[4], table[5], table[6], table[7]]);
        self.source.seek(SeekFrom::Start(at + 16 + u64::from(length))).ok()?;
        let mut bytes = Vec::new();
        Read::take(&mut *self.source, 1 << 10).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Reads the pixels as they are stored.
    ///
    /// # Errors
    /// As [`Attributes::stored`].
    pub fn pixels(&mut self, attributes: &Attributes, layout: &Layout) -> Result<Pixels, DicomError> {
        match attributes.stored(layout)?.0 {
            Stored::Native { at, length, big_endian } => {
                self.source.seek(SeekFrom::Start(at)).map_err(DicomError::read)?;
                let mut pixels = self.take(length, "pixel data")?;
                if big_endian {
                    pixels.chunks_exact_mut(layout.bytes).for_each(<[u8]>::reverse);
                }
                Ok(Pixels::Native(pixels))
            }
            Stored::Encapsulated { at, compression } => self.encapsulated(at, compression),
        }
    }

    /// The items of compressed pixels (PS3.5, A.4): first the table of offsets, then the fragments.
    fn encapsulated(&mut self, first: u64, compression: Compression) -> Result<Pixels, DicomError> {
        const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
        const DELIMITER: [u8; 4] = [0xFE, 0xFF, 0xDD, 0xE0];
        self.source.seek(SeekFrom::Start(first)).map_err(DicomError::read)?;
        let mut offsets = None;
        let mut fragments = Vec::new();
        let mut at = first;
        // Offsets count from the item behind the table.
        let mut zero = first;
        loop {
            let head = self.take(8, "pixel data")?;
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            if head[..4] == DELIMITER {
                break;
            }
            if head[..4] != ITEM || length == u32::MAX {
                return Err(odd("compressed pixels are not in items"));
            }
            let item = self.take(length.into(), "pixel data")?;
            if offsets.is_none() {
                offsets = Some(item.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect());
                zero = at + 8 + u64::from(length);
            } else {
                fragments.push((at - zero, item));
            }
            at += 8 + u64::from(length);
        }
        Ok(Pixels::Encapsulated { compression, offsets: offsets.unwrap_or_default(), fragments })
    }

    /// The next `length` bytes; no more memory than the source has bytes.
    fn take(&mut self, length: u64, what: &str) -> Result<Vec<u8>, DicomError> {
        let mut bytes = Vec::new();
        Read::take(&mut *self.source, length).read_to_end(&mut bytes).map_err(DicomError::read)?;
        if bytes.len() as u64 != length {
            return Err(DicomError::Cut { what: what.into(), needed: length, found: bytes.len() as u64 });
        }
        Ok(bytes)
    }
}

impl Attributes {
    /// What is wrong with the data set before the pixels.
    ///
    /// # Errors
    /// [`DicomError::Cut`], [`DicomError::Parse`], [`DicomError::TooLarge`] or [`DicomError::Read`].
    pub fn sound(&self) -> Result<(), DicomError> {
        match &self.pixels {
            Ok(_) | Err(DicomError::Missing(_)) => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    /// Where the pixels of this layout are, and what is odd about them.
    ///
    /// # Errors
    /// What is wrong with the data set before the pixels; [`DicomError::Missing`] without pixels; [`DicomError::Cut`] where the file ends within them; [`DicomError::TransferSyntax`] for a
    /// compression that is not decoded, or a transfer syntax that is not known and pixels that are not as long as they should be; [`DicomError::Pixels`] where nothing tells how they are stored.
    pub fn stored(&self, layout: &Layout) -> Result<(Stored, Option<String>), DicomError> {
        let uid = self.syntax.as_str();
        let name = known(uid);
        let named = format!("{} (transfer syntax {uid})", name.unwrap_or("unknown"));
        let not_decoded = || DicomError::TransferSyntax { uid: uid.into(), name: name.unwrap_or("unknown").into() };
        let is_native = uid.is_empty() || NATIVE.contains(&uid);
        match self.pixels.clone()? {
            Place::Native { at, length } => {
                let expected = (layout.len() as u64 * layout.bytes as u64).saturating_mul(layout.frames as u64);
                // A value has an even number of bytes.
                let exact = length == expected || length == expected.saturating_add(expected % 2);
                let there = self.end.saturating_sub(at);
                let sizes = format!(
                    "{} x {} pixels of {} bytes{} need {expected}",
                    layout.rows,
                    layout.columns,
                    layout.bytes,
                    if layout.frames > 1 { format!(" in {} frames", layout.frames) } else { String::new() },
                );
                let big_endian = self.encoding.big_endian || uid == GE_BIG_ENDIAN_PIXELS;
                let stored = Stored::Native { at, length: length.min(expected), big_endian };
                if !is_native && !exact {
                    return Err(match name {
                        None => not_decoded(),
                        Some(_) => DicomError::Pixels(format!(
                            "by {named} they are compressed; they are in no items, and are {length} bytes, where {sizes}"
                        )),
                    });
                }
                if there < length.min(expected) {
                    return Err(DicomError::Cut { what: "pixel data".into(), needed: length.min(expected), found: there });
                }
                if length > there && exact {
                    return Err(DicomError::Cut { what: "pixel data".into(), needed: length, found: there });
                }
                if length < expected {
                    return Err(DicomError::Pixels(format!("PixelData is {length} bytes, where {sizes}")));
                }
                let note = match () {
                    _ if !is_native && name.is_some() => Some(format!("by {named} the pixels are compressed, and they are not")),
                    // More than what fills a block.
                    _ if length - expected >= (layout.columns * layout.bytes) as u64 => {
                        Some(format!("PixelData is {length} bytes, where {sizes}: what is behind these is not read"))
                    }
                    _ if length > there => Some("the file is cut behind its last pixel".into()),
                    _ => None,
                };
                Ok((stored, note))
            }
            Place::Encapsulated { at } => {
                let compression = match (Compression::of_uid(uid), self.found) {
                    (Some(claimed), Some(found)) if claimed != found => found,
                    (Some(claimed), _) => return Ok((Stored::Encapsulated { at, compression: claimed }, None)),
                    (None, Some(found)) if is_native => found,
                    (None, None) if is_native => {
                        let text = format!(
                            "by {named} they are not compressed; they are in items, and nothing tells how they are compressed"
                        );
                        return Err(DicomError::Pixels(text));
                    }
                    _ => return Err(not_decoded()),
                };
                let note = format!("by {named} the pixels are not {0}, and they are: read as {0}", compression.name());
                Ok((Stored::Encapsulated { at, compression }, Some(note)))
            }
        }
    }
}

/// Transfer syntaxes whose pixels are not compressed.
const NATIVE: [&str; 5] = [
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    BIG_ENDIAN,
    GE_BIG_ENDIAN_PIXELS,
];

/// The name of a transfer syntax; `None` where it is not known.
fn known(uid: &str) -> Option<&'static str> {
    if uid == GE_BIG_ENDIAN_PIXELS {
        return Some("Implicit VR Little Endian with Big Endian Pixels (GE Private)");
    }
    TransferSyntaxRegistry.get(uid).map(|syntax| syntax.name())
}

/// What group 2 says, and where the data set begins behind it. Group 2 is explicit little endian (PS3.10, 7.1); some files have it implicit, or have none.
fn meta(source: &mut dyn ReadSeek, start: u64, end: u64) -> Result<(Meta, u64), DicomError> {
    let mut meta = Meta::default();
    let mut at = start;
    let cut = |at: u64| DicomError::Cut { what: "file meta information".into(), needed: at, found: end };
    loop {
        if at + 8 > end {
            return Err(cut(at + 8));
        }
        let mut head = [0; 8];
        source.seek(SeekFrom::Start(at)).map_err(DicomError::read)?;
        source.read_exact(&mut head).map_err(DicomError::read)?;
        let tag = Tag(u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        if tag.group() != 2 {
            return Ok((meta, at));
        }
        let explicit = head[4..6].iter().all(u8::is_ascii_uppercase);
        let long = explicit && matches!(&head[4..6], b"OB" | b"OW" | b"OF" | b"SQ" | b"UT" | b"UN" | b"UC" | b"UR");
        let (head_size, length) = if long {
            let mut length = [0; 4];
            source.read_exact(&mut length).map_err(|_| cut(at + 12))?;
            (12, u64::from(u32::from_le_bytes(length)))
        } else if explicit {
            (8, u64::from(u16::from_le_bytes([head[6], head[7]])))
        } else {
            (8, u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])))
        };
        at += head_size + length;
        if at > end {
            return Err(cut(at));
        }
        let uid = match tag {
            tags::TRANSFER_SYNTAX_UID => &mut meta.syntax,
            tags::MEDIA_STORAGE_SOP_CLASS_UID => &mut meta.class,
            tags::MEDIA_STORAGE_SOP_INSTANCE_UID => &mut meta.instance,
            _ => continue,
        };
        if length <= 128 {
            let mut value = vec![0; length as usize];
            source.read_exact(&mut value).map_err(DicomError::read)?;
            *uid = String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).to_string();
        }
    }
}

/// What is around a deflated data set: nothing by the standard (PS3.5, A.5), a header of zlib or gzip by some writers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    None,
    Zlib,
    Gzip,
}

impl Wrapping {
    const ALL: [Wrapping; 3] = [Wrapping::None, Wrapping::Zlib, Wrapping::Gzip];

    fn name(self) -> &'static str {
        match self {
            Wrapping::None => "deflate",
            Wrapping::Zlib => "zlib (RFC 1950)",
            Wrapping::Gzip => "gzip (RFC 1952)",
        }
    }

    fn decoder<'s>(self, source: &'s mut dyn ReadSeek) -> Box<dyn Read + 's> {
        match self {
            Wrapping::None => Box::new(flate2::read::DeflateDecoder::new(source)),
            Wrapping::Zlib => Box::new(flate2::read::ZlibDecoder::new(source)),
            Wrapping::Gzip => Box::new(flate2::read::GzDecoder::new(source)),
        }
    }

    /// Whether what lies here inflates to the beginning of a data set.
    fn holds_a_data_set(self, source: &mut dyn ReadSeek, start: u64) -> bool {
        let mut bytes = Vec::new();
        // What was inflated before an error is a beginning too.
        let read = source.seek(SeekFrom::Start(start)).map(|_| self.decoder(source).take(BEGINNING).read_to_end(&mut bytes));
        let end = bytes.len() as u64;
        read.is_ok() && end > 0 && data_set::begins(&mut Cursor::new(bytes), 0, end)
    }

    /// The rest of the source, inflated.
    fn inflate(self, source: &mut dyn ReadSeek, start: u64) -> Result<Vec<u8>, DicomError> {
        source.seek(SeekFrom::Start(start)).map_err(DicomError::read)?;
        let mut bytes = Vec::new();
        let result = self.decoder(source).take(MAX_INFLATED + 1).read_to_end(&mut bytes);
        if bytes.len() as u64 > MAX_INFLATED {
            let (found, most) = (bytes.len() as u64, MAX_INFLATED);
            return Err(DicomError::TooLarge { what: "bytes that the deflated data set inflates to", found, most });
        }
        match result {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let found = bytes.len() as u64;
                Err(DicomError::Cut { what: "deflated data set".into(), needed: found + 1, found })
            }
            Err(error) => Err(DicomError::Parse(format!("the deflated data set is damaged ({error})"))),
        }
    }
}

fn odd(what: &str) -> DicomError {
    DicomError::Parse(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout =
        Layout { rows: 3, columns: 3, bytes: 2, bits: 16, high_bit: 15, signed: false, frames: 1, overlays: false };

    /// Where the pixels of this syntax and place are, in words, in a source of 100 bytes.
    fn stored(syntax: &str, pixels: Place, found: Option<Compression>, layout: &Layout) -> String {
        let attributes = Attributes {
            object: InMemDicomObject::new_empty(),
            media_class: String::new(),
            media_instance: String::new(),
            notes: Vec::new(),
            syntax: syntax.into(),
            encoding: Encoding::EXPLICIT,
            pixels: Ok(pixels),
            end: 100,
            found,
        };
        match attributes.stored(layout) {
            Ok((Stored::Native { at, length, .. }, note)) => format!("{length} bytes at {at}: {}", note.unwrap_or_default()),
            Ok((Stored::Encapsulated { at, compression }, note)) => {
                format!("{} at {at}: {}", compression.name(), note.unwrap_or_default())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn native_pixels_are_as_long_as_they_should_be_or_it_is_told() {
        let of = |at, length| stored(uids::EXPLICIT_VR_LITTLE_ENDIAN, Place::Native { at, length }, None, &LAYOUT);
        assert_eq!(of(10, 18), "18 bytes at 10: ");
        // Less than a row is what fills a block.
        assert_eq!(of(10, 23), "18 bytes at 10: ");
        assert!(of(10, 24).starts_with("18 bytes at 10: PixelData is 24 bytes"), "{}", of(10, 24));
        assert_eq!(of(82, 19), "18 bytes at 82: the file is cut behind its last pixel");
        for (at, length) in [(83, 18), (90, 12)] {
            assert!(of(at, length).starts_with("the file is cut"), "{}", of(at, length));
        }
        assert!(of(10, 16).contains("PixelData is 16 bytes, where 3 x 3 pixels of 2 bytes need 18"), "{}", of(10, 16));
        // An odd number of bytes is made even; compressed pixels that are not are just as long.
        let bytes = Layout { bytes: 1, bits: 8, high_bit: 7, ..LAYOUT };
        let compressed = |length| stored(uids::RLE_LOSSLESS, Place::Native { at: 10, length }, None, &bytes);
        for length in [9, 10] {
            assert!(compressed(length).ends_with("the pixels are compressed, and they are not"), "{}", compressed(length));
        }
        assert!(compressed(13).contains("they are in no items"), "{}", compressed(13));
    }

    #[test]
    fn compressed_pixels_are_what_their_bytes_say() {
        let of = |syntax, found| stored(syntax, Place::Encapsulated { at: 10 }, found, &LAYOUT);
        let (rle, jpeg) = (Some(Compression::Rle), Some(Compression::Jpeg));
        assert_eq!(of(uids::RLE_LOSSLESS, rle), "RLE at 10: ");
        assert_eq!(of(uids::RLE_LOSSLESS, None), "RLE at 10: ");
        assert!(of(uids::RLE_LOSSLESS, jpeg).ends_with("the pixels are not JPEG, and they are: read as JPEG"));
        assert!(of(uids::EXPLICIT_VR_LITTLE_ENDIAN, rle).starts_with("RLE at 10: by Explicit VR Little Endian"));
        assert!(of(uids::EXPLICIT_VR_LITTLE_ENDIAN, None).contains("nothing tells how they are compressed"));
        assert!(!of("1.2.3", None).contains("nothing tells how they are compressed"), "{}", of("1.2.3", None));
    }

    #[test]
    fn files_without_a_preamble_are_known_and_cut_heads_say_how_much_is_missing() {
        assert_eq!(start(b"\x02\0\x10\0UI\x02\0"), Some(0));
        assert_eq!(start(b"\x02\0\x20\0UI\x02\0"), None);
        assert_eq!(start(b"DICM\x02\0\x10\0"), Some(4));
        let head = |bytes: &[u8]| match meta(&mut Cursor::new(bytes), 0, bytes.len() as u64) {
            Ok((meta, at)) => format!("{} {at}", meta.syntax),
            Err(DicomError::Cut { needed, found, .. }) => format!("{found} of {needed}"),
            Err(error) => error.to_string(),
        };
        let whole = b"\x02\0\x10\0UI\x04\x001.2\0\x08\0\x05\0CS\0\0";
        assert_eq!(head(whole), "1.2 12");
        assert_eq!(head(&whole[..12]), "12 of 20");
        assert_eq!(head(&whole[..10]), "10 of 12");
        assert_eq!(head(b"\x02\0\x01\0OB\0\0\x02"), "9 of 12");
    }

    /// A file with a preamble, of this transfer syntax, with these bytes as its data set.
    fn with(syntax: &str, set: &[u8]) -> Vec<u8> {
        let mut uid = syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        [&[0; 128], b"DICM\x02\0\x10\0UI".as_slice(), &(uid.len() as u16).to_le_bytes(), &uid, set].concat()
    }

    #[test]
    fn what_is_no_data_set_is_told_with_what_the_file_says() {
        let problem = |syntax: &str, set: &[u8]| {
            let bytes = with(syntax, set);
            let attributes = File::from_bytes(&bytes).unwrap().attributes().unwrap();
            (attributes.pixels.unwrap_err().to_string(), attributes.notes.concat())
        };
        let neither = "and the data set is neither that nor deflated";
        // An element that reaches beyond the file, of a group that data sets do not begin with, and of one that they do.
        let (unknown, identified) = (b"\x34\x12\x01\0LO\xf0\x01ab", b"\x08\0\x05\0LO\xf0\x01ab");
        for (syntax, says) in [
            (uids::EXPLICIT_VR_LITTLE_ENDIAN, "its transfer syntax says Explicit VR Little Endian (1.2.840.10008.1.2.1)"),
            ("1.2.3", "its transfer syntax 1.2.3 is not known"),
        ] {
            let (said, _) = problem(syntax, unknown);
            assert!(said.contains(&format!("{says}, {neither}")), "{said}");
            let (said, _) = problem(syntax, identified);
            assert!(said.starts_with("the file is cut"), "{said}");
        }
        // A text that is deflated is no deflated data set.
        let mut zlib = flate2::read::ZlibEncoder::new(b"no data set".as_slice(), flate2::Compression::best());
        let mut text = Vec::new();
        zlib.read_to_end(&mut text).unwrap();
        let (_, notes) = problem(uids::EXPLICIT_VR_LITTLE_ENDIAN, &text);
        assert!(!notes.contains("deflated: read as that"), "{notes}");
        // One that begins well, and is cut behind that, is cut.
        let whole = b"\x08\0\x18\0UI\x04\x001.2\0";
        let (said, _) = problem(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[whole.as_slice(), unknown].concat());
        assert!(said.starts_with("the file is cut"), "{said}");
    }

    #[test]
    fn fragments_are_counted_from_behind_the_table_of_offsets() {
        let item = |value: &[u8]| [b"\xFE\xFF\x00\xE0", (value.len() as u32).to_le_bytes().as_slice(), value].concat();
        for table in [&[][..], &[0, 0, 0, 0, 18, 0, 0, 0]] {
            let pixels = [
                b"\x08\0\x18\0UI\x04\x001.2\0\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF".to_vec(),
                item(table),
                item(b"\xFF\xD8\xFF\xC0abcdef"),
                item(b"\xFF\xD8"),
                b"\xFE\xFF\xDD\xE0\0\0\0\0".to_vec(),
            ];
            let bytes = with(uids::JPEG_BASELINE8_BIT, &pixels.concat());
            let mut file = File::from_bytes(&bytes).unwrap();
            let attributes = file.attributes().unwrap();
            assert!(attributes.found == Some(Compression::Jpeg), "{} bytes of offsets", table.len());
            match file.pixels(&attributes, &LAYOUT).unwrap() {
                Pixels::Encapsulated { offsets, fragments, .. } => {
                    assert_eq!(offsets.len(), table.len() / 4);
                    assert_eq!(fragments, [(0, b"\xFF\xD8\xFF\xC0abcdef".to_vec()), (18, b"\xFF\xD8".to_vec())]);
                }
                Pixels::Native(_) => panic!("the fragments are read as native pixels"),
            }
        }
    }
}
