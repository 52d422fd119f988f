//! From stored pixels to HU, one frame at a time.

use super::error::DicomError;
use super::file::{Attributes, Pixels};
use super::{jpegls, rle};
use dicom_core::Tag;
use dicom_core::header::Header;
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use jpeg_decoder::{Decoder, PixelFormat};
use std::io::Cursor;

/// How a frame's samples are stored (PS3.3, C.7.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a frame.
    pub rows: usize,
    /// Columns of a frame.
    pub columns: usize,
    /// Bytes a sample: 1, 2 or 4.
    pub bytes: usize,
    /// Bits of a sample that count.
    pub bits: u32,
    /// The highest of them.
    pub high_bit: u32,
    /// Two's complement.
    pub signed: bool,
    /// Frames in the file.
    pub frames: usize,
    /// Whether the bits that do not count hold overlays (retired, PS3.3 2004, C.9.2).
    pub overlays: bool,
}

/// The stored values of a frame, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    /// The values.
    pub values: Vec<i64>,
    /// Whether some of them need more bits than the attributes say; then all bits are read.
    pub beyond_bits: bool,
}

/// How a frame is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Run lengths (PS3.5, annex G).
    Rle,
    /// JPEG: baseline, extended and lossless.
    Jpeg,
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000.
    Jpeg2000,
}

impl Compression {
    /// That of a transfer syntax; `None` for other syntaxes.
    pub fn of_uid(uid: &str) -> Option<Compression> {
        match uid {
            uids::RLE_LOSSLESS => Some(Compression::Rle),
            uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT | uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => {
                Some(Compression::Jpeg)
            }
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Some(Compression::JpegLs),
            uids::JPEG2000_LOSSLESS | uids::JPEG2000 => Some(Compression::Jpeg2000),
            _ => None,
        }
    }

    /// That which the first bytes of a frame have; `None` where they have none of them.
    pub fn of_bytes(bytes: &[u8]) -> Option<Compression> {
        match bytes {
            [0xFF, 0x4F, 0xFF, 0x51, ..] | [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => return Some(Compression::Jpeg2000),
            // The number of planes, and where the first one is: behind a head of 64 bytes.
            [1..=4, 0, 0, 0, 64, 0, 0, 0, ..] => return Some(Compression::Rle),
            [0xFF, 0xD8, 0xFF, ..] => {}
            _ => return None,
        }
        // The first start of frame tells which JPEG it is; segments before it are passed over.
        let mut at = 2;
        while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
            match marker {
                0xF7 => return Some(Compression::JpegLs),
                0xC0..=0xCF if ![0xC4, 0xC8, 0xCC].contains(&marker) => return Some(Compression::Jpeg),
                0xFF => at += 1,
                _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            }
        }
        None
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Rle => "RLE",
            Compression::Jpeg => "JPEG",
            Compression::JpegLs => "JPEG-LS",
            Compression::Jpeg2000 => "JPEG 2000",
        }
    }
}

/// The most samples of a frame: 8192 x 8192.
pub const MAX_FRAME: u64 = 1 << 26;

impl Layout {
    /// The layout that a file's attributes describe.
    ///
    /// # Errors
    /// [`DicomError::Missing`], [`DicomError::Value`], [`DicomError::TooLarge`], [`DicomError::NotCt`] for a picture in colour.
    pub fn of(attributes: &Attributes) -> Result<Layout, DicomError> {
        let rows = attributes.whole(tags::ROWS)?.ok_or_else(|| DicomError::missing(tags::ROWS))?;
        let columns = attributes.whole(tags::COLUMNS)?.ok_or_else(|| DicomError::missing(tags::COLUMNS))?;
        let side = |tag, side: i64| usize::try_from(side).ok().filter(|&n| n > 0).ok_or_else(|| DicomError::value(tag, side));
        let (rows, columns) = (side(tags::ROWS, rows)?, side(tags::COLUMNS, columns)?);
        if (rows * columns) as u64 > MAX_FRAME {
            return Err(DicomError::TooLarge { what: "pixels of an image", found: (rows * columns) as u64, most: MAX_FRAME });
        }
        match attributes.whole(tags::SAMPLES_PER_PIXEL)?.unwrap_or(1) {
            1 => {}
            3 | 4 => return Err(DicomError::NotCt("a picture in colour".into())),
            other => return Err(DicomError::value(tags::SAMPLES_PER_PIXEL, other)),
        }
        let allocated = attributes.whole(tags::BITS_ALLOCATED)?.ok_or_else(|| DicomError::missing(tags::BITS_ALLOCATED))?;
        if ![8, 16, 32].contains(&allocated) {
            return Err(DicomError::value(tags::BITS_ALLOCATED, allocated));
        }
        let bits = attributes.whole(tags::BITS_STORED)?.unwrap_or(allocated);
        if !(1..=allocated).contains(&bits) {
            return Err(DicomError::value(tags::BITS_STORED, bits));
        }
        // A HighBit that cannot be says nothing; pydicom and dcm2niix never ask for it. No frames are one frame.
        let high_bit = attributes.whole(tags::HIGH_BIT)?.filter(|bit| (bits - 1..allocated).contains(bit)).unwrap_or(bits - 1);
        let frames = attributes.whole(tags::NUMBER_OF_FRAMES)?.filter(|&frames| frames != 0).unwrap_or(1);
        let frames = side(tags::NUMBER_OF_FRAMES, frames)?;
        let tag = tags::PIXEL_REPRESENTATION;
        let signed = match attributes.whole(tag)?.ok_or_else(|| DicomError::missing(tag))? {
            0 => false,
            1 => true,
            other => return Err(DicomError::value(tag, other)),
        };
        let (bits, high_bit) = (bits as u32, high_bit as u32);
        let overlay = |element: &InMemElement| {
            let Tag(group, position) = element.tag();
            (0x6000..=0x601E).contains(&group) && position == 0x0102 && element.to_int::<i64>().is_ok_and(|bit| bit > 0)
        };
        let overlays = attributes.object.iter().any(overlay);
        Ok(Layout { rows, columns, bytes: allocated as usize / 8, bits, high_bit, signed, frames, overlays })
    }

    /// A sample as the number that it stands for: the bits that count, with their sign.
    fn value(&self, sample: u32) -> i64 {
        let bits = sample >> (self.high_bit + 1 - self.bits);
        self.number(bits)
    }

    /// The lower `bits` of a number, with their sign.
    pub fn number(&self, bits: u32) -> i64 {
        let unused = 32 - self.bits;
        if self.signed { i64::from((bits << unused) as i32 >> unused) } else { i64::from(bits << unused >> unused) }
    }

    /// Samples of a frame.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }
}

/// The stored values of a frame, row by row.
///
/// # Errors
/// [`DicomError::Cut`] and [`DicomError::Pixels`].
pub fn decode(pixels: &Pixels, layout: &Layout, frame: usize) -> Result<Samples, DicomError> {
    match pixels {
        Pixels::Native(bytes) => native(bytes, layout, frame),
        Pixels::Encapsulated { compression, offsets, fragments } => {
            let bytes = collect(offsets, fragments, layout.frames, frame)?;
            let samples = compressed(&bytes, *compression, layout)?;
            if samples.values.len() != layout.len() {
                let text = format!("{} instead of {} samples of a frame", samples.values.len(), layout.len());
                return Err(DicomError::Pixels(text));
            }
            Ok(samples)
        }
    }
}

fn native(bytes: &[u8], layout: &Layout, frame: usize) -> Result<Samples, DicomError> {
    let size = layout.len() * layout.bytes;
    let needed = (size as u64).saturating_mul(layout.frames as u64);
    let cut = || DicomError::Cut { what: "pixel data".into(), needed, found: bytes.len() as u64 };
    let bytes = bytes.get(frame * size..).and_then(|bytes| bytes.get(..size)).ok_or_else(cut)?;
    Ok(samples(bytes, layout))
}

/// Values of samples in little endian order. Where bits are set that do not count, and overlays are not why, BitsStored or HighBit is wrong: all bits are read, as dcm2niix does.
fn samples(bytes: &[u8], layout: &Layout) -> Samples {
    let number = |sample: &[u8]| sample.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
    let allocated = 8 * layout.bytes as u32;
    let all = Layout { bits: allocated, high_bit: allocated - 1, ..*layout };
    let counting = (u32::MAX >> (32 - layout.bits)) << (layout.high_bit + 1 - layout.bits);
    // Negative numbers may have their sign in the bits above.
    let extended = |sample: u32| layout.signed && layout.high_bit + 1 == layout.bits && all.value(sample) == layout.value(sample);
    let fits = |sample: u32| sample & !counting == 0 || extended(sample);
    let beyond_bits = !layout.overlays && !bytes.chunks_exact(layout.bytes).all(|sample| fits(number(sample)));
    let layout = if beyond_bits { &all } else { layout };
    let values = bytes.chunks_exact(layout.bytes).map(|sample| layout.value(number(sample))).collect();
    Samples { values, beyond_bits }
}

/// The fragments of a frame in one piece: by the table of offsets where there is one, else one fragment a frame, or all of them for one frame.
fn collect(offsets: &[u32], fragments: &[(u64, Vec<u8>)], frames: usize, frame: usize) -> Result<Vec<u8>, DicomError> {
    let join = |fragments: &mut dyn Iterator<Item = &(u64, Vec<u8>)>| fragments.flat_map(|(_, bytes)| bytes).copied().collect();
    let bytes: Vec<u8> = if frames == 1 {
        join(&mut fragments.iter())
    } else if fragments.len() == frames {
        fragments[frame].1.clone()
    } else if offsets.len() == frames {
        let (from, to) = (u64::from(offsets[frame]), offsets.get(frame + 1).map_or(u64::MAX, |&next| next.into()));
        join(&mut fragments.iter().filter(|(at, _)| (from..to).contains(at)))
    } else {
        Vec::new()
    };
    if bytes.is_empty() {
        let text = format!("{} compressed fragments for {frames} frames, and no table of which is whose", fragments.len());
        return Err(DicomError::Pixels(text));
    }
    Ok(bytes)
}

fn compressed(bytes: &[u8], compression: Compression, layout: &Layout) -> Result<Samples, DicomError> {
    let values = match compression {
        Compression::Rle => return Ok(samples(&rle::decode(bytes, layout.len(), layout.bytes)?, layout)),
        Compression::Jpeg => jpeg(bytes, layout)?,
        Compression::JpegLs => {
            let image = jpegls::decode(bytes, [layout.columns, layout.rows])?;
            image.into_iter().map(|sample| layout.number(sample.into())).collect()
        }
        Compression::Jpeg2000 => jpeg_2000(bytes, layout)?,
    };
    Ok(Samples { values, beyond_bits: false })
}

/// That a compressed picture has the size that the attributes say, before anything is allocated for it.
pub(super) fn same_size(found: [usize; 2], expected: [usize; 2]) -> Result<(), DicomError> {
    if found == expected {
        return Ok(());
    }
    let ([w, h], [columns, rows]) = (found, expected);
    Err(DicomError::Pixels(format!("the compressed picture has {w}x{h} pixels, the attributes say {columns}x{rows}")))
}

fn jpeg(bytes: &[u8], layout: &Layout) -> Result<Vec<i64>, DicomError> {
    let failed = |error: jpeg_decoder::Error| DicomError::Pixels(format!("JPEG: {error}"));
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_max_decoding_buffer_size(2 * layout.len());
    decoder.read_info().map_err(failed)?;
    let info = decoder.info().ok_or_else(|| DicomError::Pixels("JPEG without a picture".into()))?;
    same_size([info.width.into(), info.height.into()], [layout.columns, layout.rows])?;
    let bytes = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => decoder.decode().map_err(failed)?,
        _ => return Err(DicomError::NotCt("a picture in colour".into())),
    };
    Ok(match info.pixel_format {
        PixelFormat::L8 => bytes.into_iter().map(|byte| layout.number(byte.into())).collect(),
        _ => bytes.chunks_exact(2).map(|pair| layout.number(u16::from_ne_bytes([pair[0], pair[1]]).into())).collect(),
    })
}

fn jpeg_2000(bytes: &[u8], layout: &Layout) -> Result<Vec<i64>, DicomError> {
    let header = Jpeg2000Header::of(bytes).ok_or_else(|| DicomError::Pixels("JPEG 2000 without a header".into()))?;
    same_size(header.size, [layout.columns, layout.rows])?;
    if header.components != 1 {
        return Err(DicomError::NotCt("a picture in colour".into()));
    }
    if header.bits > 16 {
        return Err(DicomError::Pixels(format!("JPEG 2000 of {} bits", header.bits)));
    }
    let failed = |error| DicomError::Pixels(format!("JPEG 2000: {error}"));
    // Strict: a codestream that ends early is an error and no picture with a part that is blurred.
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let mut context = DecoderContext::default();
    let image = Image::new(bytes, &settings).map_err(failed)?;
    let decoded = image.decode(&mut context).map_err(failed)?;
    let component = decoded.components().first().ok_or_else(|| DicomError::Pixels("JPEG 2000 without a picture".into()))?;
    if component.samples().len() != layout.len() {
        return Err(DicomError::Pixels("JPEG 2000 with a part of the picture alone".into()));
    }
    // Lossy samples may lie beyond the range, and would come out at its other end. The decoder shifts all of them as if they were unsigned; the codestream
    // knows the sign. The attributes decide all the same, as for every other compression.
    let shift = if header.signed { 1 << (header.bits - 1) } else { 0 };
    let most = ((1u32 << header.bits) - 1) as f32;
    let whole = |sample: f32| sample.round().clamp(0.0, most) as i32;
    Ok(component.samples().iter().map(|&sample| layout.number((whole(sample) - shift) as u32)).collect())
}

/// What the SIZ segment of a JPEG 2000 codestream with one component says (ISO 15444-1, A.5.1).
struct Jpeg2000Header {
    /// Width and height.
    size: [usize; 2],
    components: u16,
    /// Of the first component.
    bits: u8,
    signed: bool,
}

impl Jpeg2000Header {
    /// `None` where there is none, or its tiles are none of a CT's.
    fn of(bytes: &[u8]) -> Option<Jpeg2000Header> {
        const SOC_SIZ: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
        let at = bytes.windows(4).take(1 << 12).position(|window| window == SOC_SIZ)?;
        let long = |n: usize| Some(u32::from_be_bytes(bytes.get(at + n..at + n + 4)?.try_into().ok()?));
        let (x1, y1, x0, y0, tile_x, tile_y) = (long(8)?, long(12)?, long(16)?, long(20)?, long(24)?, long(28)?);
        let components = u16::from_be_bytes(bytes.get(at + 40..at + 42)?.try_into().ok()?);
        let &depth = bytes.get(at + 42)?;
        let size = [x1.checked_sub(x0)? as usize, y1.checked_sub(y0)? as usize];
        let tiles = u64::from(x1.div_ceil(tile_x.max(1))) * u64::from(y1.div_ceil(tile_y.max(1)));
        let possible = tile_x > 0 && tile_y > 0 && tiles <= 4096;
        possible.then_some(Jpeg2000Header { size, components, bits: (depth & 0x7F) + 1, signed: depth & 0x80 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout =
        Layout { rows: 1, columns: 1, bytes: 2, bits: 12, high_bit: 11, signed: true, frames: 1, overlays: false };

    #[test]
    fn a_frame_is_known_by_its_first_bytes() {
        for (bytes, expected) in [
            (&[0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 9, 9, 0xFF, 0xF7, 0, 11][..], Some(Compression::JpegLs)),
            (&[0xFF, 0xD8, 0xFF, 0xFF, 0xF7, 0, 11], Some(Compression::JpegLs)),
            (&[0xFF, 0xD8, 0xFF, 0xC4, 0, 3, 9, 0xFF, 0xC3, 0, 11], Some(Compression::Jpeg)),
            (&[0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 9, 9], None),
            (&[0xFF, 0x4F, 0xFF, 0x51, 0], Some(Compression::Jpeg2000)),
            (&[2, 0, 0, 0, 64, 0, 0, 0, 0], Some(Compression::Rle)),
            (&[5, 0, 0, 0, 64, 0, 0, 0, 0], None),
        ] {
            assert_eq!(Compression::of_bytes(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn bits_that_do_not_count_are_a_sign_or_show_that_the_attributes_are_wrong() {
        let read = |sample: u16, layout: Layout| {
            let Samples { values, beyond_bits } = samples(&sample.to_le_bytes(), &layout);
            (values[0], beyond_bits)
        };
        let unsigned = Layout { signed: false, ..LAYOUT };
        assert_eq!(read(0x0FFF, LAYOUT), (-1, false));
        assert_eq!(read(0xFFFF, LAYOUT), (-1, false), "a sign in the bits above");
        assert_eq!(read(0x1FFF, LAYOUT), (0x1FFF, true));
        assert_eq!(read(0x1FFF, Layout { overlays: true, ..LAYOUT }), (-1, false));
        assert_eq!(read(0x0FFF, unsigned), (4095, false));
        assert_eq!(read(0xFFFF, unsigned), (65535, true));
        // Bits below those that count are no sign.
        let higher = Layout { high_bit: 13, ..LAYOUT };
        assert_eq!(read(0x3FFC, higher), (-1, false));
        assert_eq!(read(0xFFFF, higher), (-1, true));
    }

    #[test]
    fn fragments_are_those_of_their_frame() {
        let fragments = [(0, vec![1]), (10, vec![2]), (20, vec![3])];
        let of = |offsets: &[u32], frames, frame| collect(offsets, &fragments, frames, frame).ok();
        assert_eq!(of(&[], 1, 0), Some(vec![1, 2, 3]));
        assert_eq!(of(&[], 3, 1), Some(vec![2]));
        assert_eq!([of(&[0, 20], 2, 0), of(&[0, 20], 2, 1)], [Some(vec![1, 2]), Some(vec![3])]);
        assert_eq!([of(&[], 2, 0), of(&[0], 2, 0), of(&[0, 30], 2, 1)], [None, None, None]);
    }

    #[test]
    fn a_picture_of_another_size_is_an_error() {
        assert!(same_size([3, 2], [3, 2]).is_ok());
        let error = same_size([2, 3], [3, 2]).unwrap_err().to_string();
        assert!(error.contains("has 2x3 pixels, the attributes say 3x2"), "{error}");
    }

    #[test]
    fn the_head_of_jpeg_2000_tells_size_bits_and_sign_and_its_tiles_are_not_too_many() {
        let of = |[x1, y1, x0, y0]: [u32; 4], [tile_x, tile_y]: [u32; 2]| {
            let numbers = [x1, y1, x0, y0, tile_x, tile_y, 0, 0].map(u32::to_be_bytes).concat();
            let bytes = [&[9, 0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0], numbers.as_slice(), &[0, 1, 0x8B, 1, 1]].concat();
            Jpeg2000Header::of(&bytes).map(|header| (header.size, header.components, header.bits, header.signed))
        };
        assert_eq!(of([70, 50, 6, 8], [64, 64]), Some(([64, 42], 1, 12, true)));
        assert_eq!(of([64, 64, 0, 0], [1, 1]), Some(([64, 64], 1, 12, true)));
        assert_eq!(of([65, 64, 0, 0], [1, 1]), None);
        for wrong in [[0, 64], [64, 0]] {
            assert_eq!(of([64, 64, 0, 0], wrong), None, "{wrong:?}");
        }
        assert_eq!(of([5, 50, 6, 8], [64, 64]), None);
    }

    #[test]
    fn a_layout_is_read_up_to_the_largest_picture() {
        // Elements of the group 28 in the order of their numbers, and an overlay's bit, of a file without a preamble.
        let layout = |changes: &[(u16, u16)], overlay: Option<u16>| {
            let mut numbers: std::collections::BTreeMap<u16, u16> =
                [(0x10, 2), (0x11, 3), (0x100, 16), (0x101, 12), (0x102, 11), (0x103, 0)].into();
            numbers.extend(changes.iter().copied());
            let element = |group: u16, number: u16, value: u16| {
                let [group, number, value] = [group, number, value].map(u16::to_le_bytes);
                [&group, &number, b"US\x02\0".as_slice(), &value].concat()
            };
            let mut bytes = b"\x08\0\x18\0UI\x04\x001.2\0".to_vec();
            if let Some(frames) = numbers.remove(&8) {
                bytes.extend([b"\x28\0\x08\0IS\x02\0".to_vec(), format!("{frames} ").into_bytes()].concat());
            }
            numbers.iter().for_each(|(&number, &value)| bytes.extend(element(0x28, number, value)));
            bytes.extend(overlay.map_or(Vec::new(), |bit| element(0x6000, 0x102, bit)));
            Layout::of(&super::super::file::File::from_bytes(&bytes).unwrap().attributes().unwrap())
        };
        let plain = layout(&[], None).unwrap();
        assert_eq!([plain.rows, plain.columns, plain.bytes, plain.frames], [2, 3, 2, 1]);
        assert_eq!((plain.bits, plain.high_bit, plain.signed, plain.overlays), (12, 11, false, false));
        assert_eq!(layout(&[(0x10, 8192), (0x11, 8192)], None).unwrap().rows, 8192);
        assert!(layout(&[(0x10, 0)], None).is_err() && layout(&[(0x11, 0)], None).is_err());
        match layout(&[(0x10, 8192), (0x11, 8193)], None) {
            Err(DicomError::TooLarge { found, most: MAX_FRAME, .. }) => assert_eq!(found, 8192 * 8193),
            other => panic!("{other:?}"),
        }
        // The highest bit that is used is at least the number of bits, and within those that there are.
        for (bit, expected) in [(10, 11), (11, 11), (12, 12), (15, 15), (16, 11)] {
            assert_eq!(layout(&[(0x102, bit)], None).unwrap().high_bit, expected, "{bit}");
        }
        assert_eq!([0, 1, 4].map(|frames| layout(&[(8, frames)], None).unwrap().frames), [1, 1, 4]);
        assert_eq!([0, 1, 12].map(|bit| layout(&[], Some(bit)).unwrap().overlays), [false, true, true]);
    }
}
