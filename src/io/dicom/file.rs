//! One DICOM file: its attributes, and where its pixels lie.
//!
//! The data set is parsed by the `dicom` crates. They trust the lengths that a file claims, and nest as deep as it says; so the bytes are walked first
//! without reading a value, and only a data set whose lengths and nesting are sound is parsed. The pixels are never parsed: they are read where they lie.

use super::error::DicomError;
use dicom_core::{Length, Tag};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use std::fs;
use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest file that is read: an enhanced CT of 4000 slices of 512x512 has half of it.
pub const MAX_FILE: u64 = 4 << 30;
/// The most bytes of attributes before the pixels; an enhanced CT of 4000 slices has some 10 MB.
pub const MAX_HEADER: u64 = 64 << 20;
/// The most bytes that a deflated data set may inflate to.
pub const MAX_INFLATED: u64 = 512 << 20;
/// The deepest nesting of sequences; the standard's own objects stay below 10.
const DEEPEST: usize = 32;
/// The most elements, items and sequences before the pixels.
const MAX_TOKENS: u64 = 1 << 23;
/// The retired explicit VR big endian; old archives still have it.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Bytes that tell whether a file is DICOM.
const MAGIC: usize = 132;

/// An open file, or bytes in memory.
pub struct File<'a> {
    source: Box<dyn ReadSeek + 'a>,
    /// Where the data set begins.
    start: u64,
    /// Where the source ends.
    end: u64,
    syntax: &'static TransferSyntax,
}

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// The attributes of a file.
pub struct Attributes {
    /// All of them up to the pixels.
    pub object: InMemDicomObject,
    /// UID of the transfer syntax, for the decoder of the pixels.
    pub syntax: &'static str,
    /// Where the pixels are; `None` where the file has none.
    pixels: Option<Place>,
}

/// Where the pixels are in the source.
#[derive(Clone, Copy)]
enum Place {
    /// So many bytes from here, in the byte order of the data set.
    Native { at: u64, length: u64, big_endian: bool },
    /// Items from here.
    Encapsulated { at: u64 },
}

/// The pixels of a file as they are stored.
pub enum Pixels {
    /// All frames, little endian.
    Native(Vec<u8>),
    /// Compressed frames.
    Encapsulated {
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
    // Without a preamble: group 2, or identifying attributes (0008,0000), (0008,0005), (0008,0008), (0008,0016) at once.
    match magic.get(..8)? {
        [2, 0, 0, 0, b'U', b'L', ..] => Some(0),
        [8, 0, 0x00 | 0x05 | 0x08 | 0x16, 0, ..] => Some(0),
        _ => None,
    }
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
        source.by_ref().take(MAGIC as u64).read_to_end(&mut magic).map_err(DicomError::read)?;
        let start = start(&magic).ok_or(DicomError::NotDicom)?;
        source.seek(SeekFrom::Start(start)).map_err(DicomError::read)?;
        let (uid, start) = transfer_syntax(&mut source, start, end, &magic)?;
        let deflated = uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let syntax = match TransferSyntaxRegistry.get(if deflated { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { &uid }) {
            Some(syntax) if syntax.can_decode_dataset() => syntax,
            other => {
                let name = other.map_or("unknown", |syntax| syntax.name()).to_string();
                return Err(DicomError::TransferSyntax { uid, name });
            }
        };
        if deflated {
            let bytes = inflate(&mut source, start)?;
            let end = bytes.len() as u64;
            return Ok(File { source: Box::new(Cursor::new(bytes)), start: 0, end, syntax });
        }
        Ok(File { source, start, end, syntax })
    }

    /// Reads the attributes.
    ///
    /// # Errors
    /// [`DicomError::Cut`], [`DicomError::Parse`] or [`DicomError::TooLarge`].
    pub fn attributes(&mut self) -> Result<Attributes, DicomError> {
        let (header, pixels) = self.walk()?;
        self.source.seek(SeekFrom::Start(self.start)).map_err(DicomError::read)?;
        let object = InMemDicomObject::read_dataset_with_ts(self.source.by_ref().take(header - self.start), self.syntax)
            .map_err(|error| DicomError::Parse(chain(&error)))?;
        Ok(Attributes { object, syntax: self.syntax.uid(), pixels })
    }

    /// Goes over the data set without reading a value, and says where it ends or the pixels begin, and how they lie. Checks that no value is longer than the
    /// file, that sequences are not nested too deep, and that items open and close in order.
    fn walk(&mut self) -> Result<(u64, Option<Place>), DicomError> {
        let (start, end) = (self.start, self.end);
        let cut = |needed: u64| DicomError::Cut { what: "data set".into(), needed: needed - start, found: end - start };
        self.source.seek(SeekFrom::Start(start)).map_err(DicomError::read)?;
        let mut reader =
            LazyDataSetReader::new_with_ts(&mut self.source, self.syntax).map_err(|e| DicomError::Parse(chain(&e)))?;
        // True for an open sequence, false for an open item.
        let mut open = Vec::new();
        let mut at = start;
        for count in 0_u64.. {
            if at - start > MAX_HEADER || count > MAX_TOKENS {
                return Err(DicomError::TooLarge { what: "bytes of attributes", found: at - start, most: MAX_HEADER });
            }
            let Some(token) = reader.advance() else { break };
            match token {
                Err(error) if ends(&error) => return Err(cut(end + 1)),
                Err(error) => return Err(DicomError::Parse(chain(&error))),
                Ok(LazyDataToken::SequenceStart { .. }) => open.push(true),
                Ok(LazyDataToken::ItemStart { .. }) if open.last() == Some(&true) => open.push(false),
                Ok(LazyDataToken::SequenceEnd) if open.last() == Some(&true) => drop(open.pop()),
                Ok(LazyDataToken::ItemEnd) if open.last() == Some(&false) => drop(open.pop()),
                Ok(LazyDataToken::ElementHeader(header)) if open.is_empty() && header.tag == tags::PIXEL_DATA => {
                    let after = reader.into_decoder().position();
                    return self.native(after, header.len);
                }
                Ok(LazyDataToken::PixelSequenceStart) if open.is_empty() => {
                    let after = reader.into_decoder().position();
                    return Ok((self.before(after), Some(Place::Encapsulated { at: after })));
                }
                Ok(LazyDataToken::ElementHeader(_)) => {}
                Ok(LazyDataToken::LazyValue { header, decoder }) => {
                    let length = header.len.get().ok_or_else(|| odd("a value without a length"))?;
                    at = decoder.position() + u64::from(length);
                    if at > end {
                        return Err(cut(at));
                    }
                    decoder.skip_bytes(length).map_err(|error| DicomError::Parse(chain(&error)))?;
                }
                Ok(_) => return Err(odd("items and sequences are not closed in order")),
            }
            if open.len() > DEEPEST {
                return Err(odd("sequences are nested too deep"));
            }
        }
        if open.is_empty() { Ok((end, None)) } else { Err(cut(end + 8)) }
    }

    /// Where the element of the pixels begins whose value begins at `after`: its VR is OB or OW, so that an explicit header has 12 bytes (PS3.5, 7.1).
    fn before(&self, after: u64) -> u64 {
        let size = if self.syntax.uid() == uids::IMPLICIT_VR_LITTLE_ENDIAN { 8 } else { 12 };
        after.saturating_sub(size).max(self.start)
    }

    /// Pixels that are not compressed, whose value begins at `after`.
    fn native(&self, after: u64, length: Length) -> Result<(u64, Option<Place>), DicomError> {
        let length = u64::from(length.get().ok_or_else(|| odd("pixels without a length"))?);
        let found = self.end.saturating_sub(after);
        if length > found {
            return Err(DicomError::Cut { what: "pixel data".into(), needed: length, found });
        }
        let big_endian = self.syntax.uid() == BIG_ENDIAN;
        Ok((self.before(after), Some(Place::Native { at: after, length, big_endian })))
    }

    /// Reads the pixels as they are stored. `bytes` a sample, for the byte order.
    ///
    /// # Errors
    /// [`DicomError::Missing`] where there are none, [`DicomError::Cut`] and [`DicomError::Parse`].
    pub fn pixels(&mut self, attributes: &Attributes, bytes: usize) -> Result<Pixels, DicomError> {
        match attributes.pixels.ok_or_else(|| DicomError::missing(tags::PIXEL_DATA))? {
            Place::Native { at, length, big_endian } => {
                self.source.seek(SeekFrom::Start(at)).map_err(DicomError::read)?;
                let mut pixels = self.take(length, "pixel data")?;
                if big_endian {
                    pixels.chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
                }
                Ok(Pixels::Native(pixels))
            }
            Place::Encapsulated { at } => self.encapsulated(at),
        }
    }

    /// The items of compressed pixels (PS3.5, A.4): first the table of offsets, then the fragments.
    fn encapsulated(&mut self, first: u64) -> Result<Pixels, DicomError> {
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
        Ok(Pixels::Encapsulated { offsets: offsets.unwrap_or_default(), fragments })
    }

    /// The next `length` bytes; no more memory than the source has bytes.
    fn take(&mut self, length: u64, what: &str) -> Result<Vec<u8>, DicomError> {
        let mut bytes = Vec::new();
        self.source.by_ref().take(length).read_to_end(&mut bytes).map_err(DicomError::read)?;
        if bytes.len() as u64 != length {
            return Err(DicomError::Cut { what: what.into(), needed: length, found: bytes.len() as u64 });
        }
        Ok(bytes)
    }
}

/// UID of the transfer syntax, and where the data set begins: behind group 2, which is explicit little endian (PS3.10, 7.1).
fn transfer_syntax(source: &mut dyn ReadSeek, start: u64, end: u64, magic: &[u8]) -> Result<(String, u64), DicomError> {
    if start == 0 && magic[0] == 8 {
        let explicit = magic[4..6].iter().all(u8::is_ascii_uppercase);
        return Ok((if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN }.into(), 0));
    }
    let mut uid = None;
    let mut at = start;
    let cut = |at: u64| DicomError::Cut { what: "file meta information".into(), needed: at, found: end };
    loop {
        let mut head = [0; 8];
        if at + 8 > end && uid.is_none() {
            return Err(cut(at + 8));
        }
        if at + 8 > end {
            break;
        }
        source.read_exact(&mut head).map_err(DicomError::read)?;
        let tag = Tag(u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        if tag.group() != 2 {
            break;
        }
        let long = matches!(&head[4..6], b"OB" | b"OW" | b"OF" | b"SQ" | b"UT" | b"UN" | b"UC" | b"UR");
        let (head_size, length) = if long {
            let mut length = [0; 4];
            source.read_exact(&mut length).map_err(|_| cut(at + 12))?;
            (12, u64::from(u32::from_le_bytes(length)))
        } else {
            (8, u64::from(u16::from_le_bytes([head[6], head[7]])))
        };
        at += head_size + length;
        if at > end {
            return Err(cut(at));
        }
        if tag == tags::TRANSFER_SYNTAX_UID && length <= 64 {
            let mut value = vec![0; length as usize];
            source.read_exact(&mut value).map_err(DicomError::read)?;
            uid = Some(String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).to_string());
        }
        source.seek(SeekFrom::Start(at)).map_err(DicomError::read)?;
    }
    Ok((uid.ok_or_else(|| DicomError::missing(tags::TRANSFER_SYNTAX_UID))?, at))
}

/// The rest of the source, inflated (PS3.5, A.5: deflate without a header).
fn inflate(source: &mut dyn ReadSeek, start: u64) -> Result<Vec<u8>, DicomError> {
    source.seek(SeekFrom::Start(start)).map_err(DicomError::read)?;
    let mut bytes = Vec::new();
    let result = flate2::read::DeflateDecoder::new(source).take(MAX_INFLATED + 1).read_to_end(&mut bytes);
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

fn odd(what: &str) -> DicomError {
    DicomError::Parse(what.into())
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Whether an error comes from the end of the source.
fn ends(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    false
}
