//! Single DICOM files as archives and scanners write them, each with one oddity: the sound image, a note where something was assumed, or an error that names what is wrong.

mod support;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::open_file;
use flate2::write::DeflateEncoder;
use ichor::batch::inputs;
use ichor::io::dicom::{self, Algorithm, Image, segmentation};
use std::io::Write;
use std::path::Path;
use support::raw_dicom::{RawSeries, text};

const PHILIPS: &str = "1.3.46.670589.33.1.4.1";
const GE_BIG_ENDIAN_PIXELS: &str = "1.2.840.113619.5.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// HU that differ in every pixel's neighbours.
fn field([x, y, z]: [f64; 3]) -> f64 {
    2.0 * x + 3.0 * y + z
}

/// An element as its bytes: the value, and the VR as two letters.
#[derive(Clone)]
struct Raw {
    tag: Tag,
    vr: [u8; 2],
    value: Vec<u8>,
}

fn raw(tag: Tag, vr: &[u8; 2], value: impl AsRef<[u8]>) -> Raw {
    Raw { tag, vr: *vr, value: value.as_ref().to_vec() }
}

/// The elements of one slice.
fn slice(texts: &[(Tag, VR, &str)]) -> Vec<Raw> {
    let plain = RawSeries::axial(&[40.0]);
    let series = texts.iter().fold(plain, |series, (tag, vr, text)| series.with(*tag, *vr, text));
    let object = series.object(0, &field);
    object
        .iter()
        .map(|element| {
            let letters = element.vr().to_string();
            let mut value = element.to_bytes().unwrap().into_owned();
            if value.len() % 2 == 1 {
                value.push(if element.vr() == VR::UI { 0 } else { b' ' });
            }
            raw(dicom_core::header::Header::tag(element), letters.as_bytes().try_into().unwrap(), value)
        })
        .collect()
}

/// The HU that every reading of it must give.
fn right() -> Vec<f32> {
    let series = RawSeries::axial(&[40.0]);
    let pixels = series.pixels(0, &field);
    pixels.chunks_exact(series.columns).rev().flatten().map(|&hu| f32::from(hu)).collect()
}

fn is_long(vr: [u8; 2]) -> bool {
    matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT" | b"UC" | b"UR")
}

/// Elements of explicit VR.
fn explicit(elements: &[Raw], big_endian: bool) -> Vec<u8> {
    let ordered = |mut bytes: Vec<u8>| {
        if big_endian {
            bytes.reverse();
        }
        bytes
    };
    let mut bytes = Vec::new();
    for Raw { tag, vr, value } in elements {
        bytes.extend(ordered(tag.group().to_le_bytes().into()));
        bytes.extend(ordered(tag.element().to_le_bytes().into()));
        bytes.extend(vr);
        if is_long(*vr) {
            bytes.extend([0, 0]);
            bytes.extend(ordered((value.len() as u32).to_le_bytes().into()));
        } else {
            bytes.extend(ordered((value.len() as u16).to_le_bytes().into()));
        }
        let words = matches!(vr, b"US" | b"SS" | b"OW") && big_endian;
        if words {
            value.chunks_exact(2).for_each(|word| bytes.extend([word[1], word[0]]));
        } else {
            bytes.extend(value);
        }
    }
    bytes
}

/// Elements of implicit VR.
fn implicit(elements: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Raw { tag, value, .. } in elements {
        bytes.extend(tag.group().to_le_bytes());
        bytes.extend(tag.element().to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

/// A file that names this transfer syntax, whatever its data set is.
fn file(syntax: &str, more: &[Raw], data_set: &[u8]) -> Vec<u8> {
    let even = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let mut meta = more.to_vec();
    if !syntax.is_empty() {
        meta.push(raw(tags::TRANSFER_SYNTAX_UID, b"UI", even(syntax)));
    }
    meta.sort_by_key(|element| element.tag);
    let meta = explicit(&meta, false);
    let length = raw(Tag(2, 0), b"UL", (meta.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), explicit(&[length], false), meta, data_set.to_vec()].concat()
}

fn plain(elements: &[Raw]) -> Vec<u8> {
    file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &explicit(elements, false))
}

fn edit(elements: &mut [Raw], tag: Tag, change: impl FnOnce(&mut Raw)) {
    change(elements.iter_mut().find(|element| element.tag == tag).unwrap());
}

fn put(elements: &mut Vec<Raw>, element: Raw) {
    elements.retain(|other| other.tag != element.tag);
    elements.push(element);
    elements.sort_by_key(|element| element.tag);
}

/// The image and the HU of a file.
fn read(bytes: &[u8]) -> (Image, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    std::fs::write(&path, bytes).unwrap();
    let mut studies = dicom::study::find(std::slice::from_ref(&path));
    let study = studies.pop().expect("a study");
    let said = |error: &dicom::DicomError| panic!("{error}");
    study.broken.iter().for_each(|(_, error)| said(&error.error));
    study.others.iter().for_each(|(_, error)| said(&error.error));
    let hu = dicom::read_bytes(bytes).unwrap_or_else(|error| panic!("{error}"));
    (study.images[0].clone(), hu.into_iter().next().unwrap())
}

/// Checks that a file is the sound image, with a note that has these words, or without one where there are no words.
fn check(name: &str, bytes: &[u8], note: &str) -> Image {
    let (image, hu) = read(bytes);
    let reference = read(&plain(&slice(&[]))).0;
    assert_eq!(hu, right(), "{name}");
    let mut expected = reference.slices[0].clone();
    expected.path = image.slices[0].path.clone();
    assert_eq!(image.slices, [expected], "{name}");
    assert_eq!(image.identity, reference.identity, "{name}");
    let notes = image.notes.join("; ");
    assert!(if note.is_empty() { notes.is_empty() } else { notes.contains(note) }, "{name}: {notes:?}");
    image
}

fn wrong(bytes: &[u8]) -> String {
    dicom::read_bytes(bytes).unwrap_err().to_string()
}

/// Every known attribute is read by the VR of the dictionary: with VR UN, and with that of a text.
#[test]
fn known_attributes_are_read_whatever_their_vr_is() {
    let sound = slice(&[]);
    check("as it is", &plain(&sound), "");
    for n in 0..sound.len() {
        let Raw { tag, vr, .. } = sound[n];
        if tag == tags::PIXEL_DATA {
            continue;
        }
        let others: &[&[u8; 2]] =
            if &vr == b"US" { &[b"UN", b"OB", b"SS", b"LO", b"IS"] } else { &[b"UN", b"UT", b"LT", b"ST", b"LO", b"OB"] };
        for &other in others {
            let mut elements = sound.clone();
            elements[n].vr = *other;
            check(&format!("{tag} as {}", String::from_utf8_lossy(other)), &plain(&elements), "");
        }
        // A VR that is none.
        for other in [b"??", b"ZZ", b"\0\0", b"us"] {
            let mut elements = sound.clone();
            elements[n].vr = *other;
            check(&format!("{tag} as {}", String::from_utf8_lossy(other)), &plain(&elements), "");
        }
    }
    // All at once, in the byte order of the file.
    let mut all = sound.clone();
    all.iter_mut().filter(|element| element.tag != tags::PIXEL_DATA).for_each(|element| element.vr = *b"UN");
    check("all as UN", &plain(&all), "");
}

#[test]
fn numbers_of_another_kind_are_read_as_what_the_file_says() {
    let mut elements = slice(&[]);
    edit(&mut elements, tags::ROWS, |rows| *rows = raw(rows.tag, b"UL", 56_u32.to_le_bytes()));
    edit(&mut elements, tags::COLUMNS, |columns| *columns = raw(columns.tag, b"IS", "64"));
    edit(&mut elements, tags::RESCALE_INTERCEPT, |value| *value = raw(value.tag, b"FD", (-24.0_f64).to_le_bytes()));
    edit(&mut elements, tags::RESCALE_SLOPE, |value| *value = raw(value.tag, b"US", 1_u16.to_le_bytes()));
    edit(&mut elements, tags::INSTANCE_NUMBER, |value| *value = raw(value.tag, b"US", 1_u16.to_le_bytes()));
    edit(&mut elements, tags::PIXEL_SPACING, |value| *value = raw(value.tag, b"FL", [2.0_f32.to_le_bytes(); 2].concat()));
    check("numbers", &plain(&elements), "");
}

#[test]
fn values_with_fill_and_commas_are_numbers() {
    for (spacing, note) in [
        ("2.0 \\ 2.0", ""),
        ("2.0\\2.0\0\0", ""),
        (" 2\\2.", ""),
        ("2,0\\2,00", "PixelSpacing (0028,0030) is written with decimal commas"),
    ] {
        let mut elements = slice(&[]);
        edit(&mut elements, tags::PIXEL_SPACING, |value| value.value = spacing.into());
        let length = elements.iter().find(|element| element.tag == tags::PIXEL_SPACING).unwrap().value.len();
        // A value of an odd length is against the rules, and is there.
        check(&format!("{spacing:?} of {length} bytes"), &plain(&elements), note);
    }
}

#[test]
fn a_transfer_syntax_that_contradicts_the_data_set_is_noted() {
    let elements = slice(&[]);
    let (little, big) = (explicit(&elements, false), explicit(&elements, true));
    let implicit = implicit(&elements);
    let said = "its transfer syntax says";
    check("explicit", &file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &little), "");
    check("implicit", &file(uids::IMPLICIT_VR_LITTLE_ENDIAN, &[], &implicit), "");
    check("big endian", &file(BIG_ENDIAN, &[], &big), "");
    check("explicit as implicit", &file(uids::IMPLICIT_VR_LITTLE_ENDIAN, &[], &little), said);
    check("implicit as explicit", &file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &implicit), said);
    check("big as little", &file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &big), said);
    check("little as big", &file(BIG_ENDIAN, &[], &little), said);
    check("implicit as big", &file(BIG_ENDIAN, &[], &implicit), said);
    check("not deflated", &file(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, &[], &little), said);
    check("not compressed", &file(uids::JPEG_LOSSLESS_SV1, &[], &little), "the pixels are compressed, and they are not");
    check(
        "not compressed, and implicit",
        &file(uids::RLE_LOSSLESS, &[], &implicit),
        "the pixels are compressed, and they are not",
    );
    // The first element is there twice.
    let twice = [&elements[..1], &elements].concat();
    check("implicit as explicit, doubled", &file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &self::implicit(&twice)), said);
    check("explicit as implicit, doubled", &file(uids::IMPLICIT_VR_LITTLE_ENDIAN, &[], &explicit(&twice, false)), said);
    // Syntaxes of makers.
    check("Philips", &file(PHILIPS, &[], &little), "is not known");
    check("Philips, implicit", &file(PHILIPS, &[], &implicit), "is not known");
    let mut turned = elements.clone();
    edit(&mut turned, tags::PIXEL_DATA, |pixels| pixels.value.chunks_exact_mut(2).for_each(|pair| pair.reverse()));
    check("GE", &file(GE_BIG_ENDIAN_PIXELS, &[], &self::implicit(&turned)), "");
    let mut long = elements.clone();
    edit(&mut long, tags::PIXEL_DATA, |pixels| pixels.value.extend([0; 2]));
    let said = wrong(&file(PHILIPS, &[], &explicit(&long, false)));
    assert!(said.contains("transfer syntax") && said.contains(PHILIPS), "{said}");
    // No syntax, no group 2, no preamble.
    check("no syntax", &file("", &[], &implicit), "");
    for data_set in [&little, &implicit, &big] {
        check("no preamble", data_set, "");
        check("no group 2", &[&[0; 128], &b"DICM"[..], data_set].concat(), "");
    }
}

/// Bytes deflated: by the standard, and with the header of zlib or gzip.
fn deflated(bytes: &[u8]) -> [Vec<u8>; 3] {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    raw.write_all(bytes).unwrap();
    zlib.write_all(bytes).unwrap();
    gzip.write_all(bytes).unwrap();
    [raw.finish().unwrap(), zlib.finish().unwrap(), gzip.finish().unwrap()]
}

#[test]
fn a_deflated_data_set_is_inflated_whatever_the_transfer_syntax_says() {
    let elements = slice(&[]);
    let deflate = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    let syntaxes = [
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        BIG_ENDIAN,
        uids::RLE_LOSSLESS,
        uids::JPEG_LOSSLESS_SV1,
        PHILIPS,
    ];
    for (encoding, data_set) in
        [("explicit", explicit(&elements, false)), ("implicit", implicit(&elements)), ("big", explicit(&elements, true))]
    {
        let [raw, zlib, gzip] = deflated(&data_set);
        for syntax in syntaxes {
            for (name, data_set) in [("deflate", &raw), ("zlib", &zlib), ("gzip", &gzip)] {
                let name = format!("{encoding}, {name} as {syntax}");
                let image = check(&name, &file(syntax, &[], data_set), "the data set is deflated: read as that");
                assert!(image.notes[0].contains(syntax), "{name}: {:?}", image.notes);
            }
        }
        let said = if encoding == "explicit" { "" } else { "its transfer syntax says Deflated" };
        check(encoding, &file(deflate, &[], &raw), said);
        check(encoding, &file(deflate, &[], &zlib), "wrapped as zlib (RFC 1950)");
        check(encoding, &file(deflate, &[], &gzip), "wrapped as gzip (RFC 1952)");
        check(encoding, &file("", &[], &raw), "it names no transfer syntax, and the data set is deflated");
    }
}

#[test]
fn a_data_set_that_nothing_reads_is_an_error_that_names_the_transfer_syntax() {
    let elements = slice(&[]);
    let [raw, ..] = deflated(&explicit(&elements, false));
    // Bytes as those of an encrypted data set.
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut damaged = raw.clone();
    damaged[raw.len() / 2..].iter_mut().for_each(|byte| *byte ^= 0x55);
    let cut = &raw[..raw.len() / 2];
    let syntaxes = [
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        uids::RLE_LOSSLESS,
        PHILIPS,
    ];
    for syntax in syntaxes {
        for (name, data_set) in [("noise", &noise[..]), ("a run and noise", &[&[0x77; 40], &noise[..]].concat())] {
            let said = wrong(&file(syntax, &[], data_set));
            assert!(said.contains(syntax) && !said.contains("copy it again"), "{name} as {syntax}: {said}");
        }
        let said = wrong(&file(syntax, &[], cut));
        assert!(said.contains("its deflated data set needs") && said.contains("copy it again"), "{syntax}: {said}");
        let said = wrong(&file(syntax, &[], &damaged));
        assert!(said.contains("deflated data set"), "{syntax}: {said}");
    }
}

#[test]
fn a_deflated_data_set_under_another_transfer_syntax_is_not_inflated_without_bound() {
    let elements = slice(&[]);
    let syntax = file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &[]);
    let mut bomb = DeflateEncoder::new(syntax, flate2::Compression::fast());
    // A sound beginning, and then more zeros than are inflated.
    let mut data_set = explicit(&elements[..elements.len() - 1], false);
    data_set.extend(b"\xe0\x7f\x10\0OW\0\0\xfe\xff\xff\xff");
    bomb.write_all(&data_set).unwrap();
    (0..513).for_each(|_| bomb.write_all(&[0; 1 << 20]).unwrap());
    let said = wrong(&bomb.finish().unwrap());
    assert!(said.contains("bytes that the deflated data set inflates to"), "{said}");
}

fn corpus(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dicom").join(format!("{name}.dcm"))).unwrap()
}

/// The same bytes with another transfer syntax in group 2.
fn renamed(bytes: &[u8], syntax: &str) -> Vec<u8> {
    let at = bytes.windows(6).position(|window| window == b"\x02\0\x10\0UI").unwrap();
    let length = u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]) as usize;
    let mut uid = syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    [&bytes[..at + 6], &(uid.len() as u16).to_le_bytes(), &uid, &bytes[at + 8 + length..]].concat()
}

#[test]
fn compressed_pixels_are_known_by_their_first_bytes() {
    for (name, word) in [("rle", "RLE"), ("jpeg_lossless", "JPEG"), ("jpeg_ls", "JPEG-LS"), ("jpeg_2000", "JPEG 2000")] {
        let bytes = corpus(name);
        let expected = dicom::read_bytes(&bytes).unwrap();
        let others = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::RLE_LOSSLESS, uids::JPEG_BASELINE8_BIT, uids::JPEG2000];
        for syntax in others {
            let renamed = renamed(&bytes, syntax);
            assert_eq!(dicom::read_bytes(&renamed).unwrap_or_else(|error| panic!("{name} as {syntax}: {error}")), expected);
        }
        let (image, _) = read(&renamed(&bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN));
        assert!(image.notes[0].contains(&format!("read as {word}")), "{:?}", image.notes);
    }
    let said = wrong(&renamed(&corpus("jpeg_2000"), PHILIPS));
    assert!(said.contains(PHILIPS) && said.contains("transfer syntax"), "{said}");
}

/// An item of undefined length, and a sequence of one.
fn undefined(tag: Tag, vr: &[u8; 2], item: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.group().to_le_bytes(), tag.element().to_le_bytes(), *vr, [0; 2]].concat();
    bytes.extend([0xFF; 4]);
    bytes.extend(b"\xfe\xff\x00\xe0\xff\xff\xff\xff");
    bytes.extend(item);
    bytes.extend(b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
    bytes
}

#[test]
fn sequences_in_other_encodings_are_passed_over_or_read() {
    let elements = slice(&[]);
    let (head, pixels) = elements.split_at(elements.len() - 1);
    let with = |sequence: &[u8]| {
        let data_set = [explicit(head, false), sequence.to_vec(), explicit(pixels, false)].concat();
        file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[], &data_set)
    };
    let inside = [raw(Tag(0x0008, 0x0100), b"SH", "CODE"), raw(Tag(0x0008, 0x0104), b"LO", "a meaning of some length")];
    let private = Tag(0x5001, 0x1010);
    for (name, item) in [("implicit", implicit(&inside)), ("explicit", explicit(&inside, false))] {
        for (tag, vr) in
            [(private, b"UN"), (private, b"SQ"), (tags::ICON_IMAGE_SEQUENCE, b"UN"), (tags::ICON_IMAGE_SEQUENCE, b"SQ")]
        {
            check(&format!("{name} in {tag}"), &with(&undefined(tag, vr, &item)), "");
        }
    }
    // UN in UN, down to more levels than are read.
    let nested = |depth| (0..depth).fold(implicit(&inside), |item, _| undefined(private, b"UN", &item));
    let implicit_nested = |depth| {
        (0..depth).fold(implicit(&inside), |item, _| {
            let explicit = undefined(private, b"UN", &item);
            [&explicit[..4], &explicit[8..]].concat()
        })
    };
    check("nested", &with(&undefined(private, b"UN", &implicit_nested(5))), "");
    check("nested, explicit", &with(&nested(5)), "");
    assert!(wrong(&with(&nested(1000))).contains("nested too deep"));
    // An icon with compressed pixels of its own, in an explicit and in an implicit item.
    let compressed = |explicit: bool| {
        let mut bytes = b"\xe0\x7f\x10\0".to_vec();
        bytes.extend(if explicit { &b"OB\0\0"[..] } else { b"" });
        bytes.extend(b"\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x08\0\0\0ABCDEFGH\xfe\xff\xdd\xe0\0\0\0\0");
        bytes
    };
    let rows = [raw(tags::ROWS, b"US", [9, 0]), raw(tags::COLUMNS, b"US", [7, 0])];
    let icon = [explicit(&rows, false), compressed(true)].concat();
    check("icon", &with(&undefined(tags::ICON_IMAGE_SEQUENCE, b"SQ", &icon)), "");
    let icon = [implicit(&rows), compressed(false)].concat();
    check("implicit icon", &with(&undefined(tags::ICON_IMAGE_SEQUENCE, b"UN", &icon)), "");
    // A sequence of known length that holds no items.
    let junk = raw(tags::ICON_IMAGE_SEQUENCE, b"SQ", [7; 20]);
    check("junk", &with(&explicit(&[junk], false)), "IconImageSequence (0088,0200) is damaged");
    check("private junk", &with(&explicit(&[raw(private, b"SQ", [7; 20])], false)), "");
}

#[test]
fn without_a_class_group_2_or_the_modality_decides() {
    let mut elements = slice(&[]);
    elements.retain(|element| element.tag != tags::SOP_CLASS_UID);
    check("modality", &plain(&elements), "");
    let class = |uid: &str| {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        raw(tags::MEDIA_STORAGE_SOP_CLASS_UID, b"UI", value)
    };
    let data_set = explicit(&elements, false);
    check("group 2", &file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[class(uids::CT_IMAGE_STORAGE)], &data_set), "");
    let said = wrong(&file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[class(uids::MR_IMAGE_STORAGE)], &data_set));
    assert!(said.contains("no CT image"), "{said}");
    put(&mut elements, raw(tags::MODALITY, b"CS", "MR"));
    let said = wrong(&plain(&elements));
    assert!(said.contains("no CT image") && said.contains("MR"), "{said}");
}

#[test]
fn elements_that_are_doubled_or_behind_the_image_are_told_or_passed_over() {
    let mut elements = slice(&[]);
    let lengths = raw(Tag(0x0028, 0), b"UL", [9; 4]);
    put(&mut elements, lengths);
    let mut bytes = plain(&elements);
    bytes.extend(explicit(&[raw(tags::DATA_SET_TRAILING_PADDING, b"OB", [0; 64])], false));
    bytes.extend([0; 300]);
    check("group length and padding behind the data set", &bytes, "");
    // The same attribute again, with the same value and with another one.
    let again = |value: &str| {
        let mut elements = slice(&[]);
        let at = elements.iter().position(|element| element.tag == tags::RESCALE_INTERCEPT).unwrap();
        elements.insert(at, raw(tags::RESCALE_INTERCEPT, b"DS", value));
        plain(&elements)
    };
    check("doubled", &again("-24 "), "");
    check("doubled, another value", &again("1000"), "RescaleIntercept (0028,1052) is there twice");
    // An empty padding value is none.
    let mut elements = slice(&[]);
    put(&mut elements, raw(tags::PIXEL_PADDING_VALUE, b"US", ""));
    check("no padding value", &plain(&elements), "");
}

#[test]
fn lengths_that_cannot_be_are_told_from_files_that_are_cut() {
    let elements = slice(&[]);
    let sound = plain(&elements);
    for end in [200, 400, sound.len() - 4000, sound.len() - 2] {
        let said = wrong(&sound[..end]);
        assert!(said.contains("the file is cut"), "{end}: {said}");
    }
    // The length of a text becomes 65000 bytes: no text is so long, and the file is whole.
    let at = sound.windows(6).position(|window| window == b"\x28\0\x30\0DS").unwrap();
    let mut nonsense = sound.clone();
    nonsense[at + 6..at + 8].copy_from_slice(&65_000_u16.to_le_bytes());
    let said = wrong(&nonsense);
    assert!(said.contains("length of PixelSpacing") && !said.contains("cut"), "{said}");
    // Pixels whose length is wrong.
    let length = |claimed: u32| {
        let at = sound.windows(6).position(|window| window == b"\xe0\x7f\x10\0OW").unwrap();
        let mut bytes = sound.clone();
        bytes[at + 8..at + 12].copy_from_slice(&claimed.to_le_bytes());
        bytes
    };
    let said = wrong(&length(100));
    assert!(said.contains("PixelData is 100 bytes") && !said.contains("cut"), "{said}");
    check("a length of 2 GB", &length(2_000_000_000), "what is behind these is not read");
    // As many bytes as two frames.
    let mut two = elements.clone();
    edit(&mut two, tags::PIXEL_DATA, |pixels| pixels.value.extend(vec![0; 64 * 56 * 2]));
    check("two frames that are not named", &plain(&two), "what is behind these is not read");
}

#[test]
fn many_frames_in_the_class_for_one_need_a_place_for_each() {
    let mut elements = slice(&[(tags::NUMBER_OF_FRAMES, VR::IS, "2")]);
    edit(&mut elements, tags::PIXEL_DATA, |pixels| pixels.value = pixels.value.repeat(2));
    let said = wrong(&plain(&elements));
    assert!(said.contains("2 frames") && said.contains("Enhanced CT"), "{said}");
    // With functional groups each frame has its place.
    let enhanced = corpus("enhanced");
    let from = uids::ENHANCED_CT_IMAGE_STORAGE.as_bytes();
    let mut classic = enhanced.clone();
    while let Some(at) = classic.windows(from.len()).position(|window| window == from) {
        let mut uid = uids::CT_IMAGE_STORAGE.as_bytes().to_vec();
        uid.resize(from.len(), 0);
        classic[at..at + from.len()].copy_from_slice(&uid);
    }
    assert_eq!(dicom::read_bytes(&classic).unwrap(), dicom::read_bytes(&enhanced).unwrap());
}

/// The stored values are HU + 24: 24 is 0 HU.
#[test]
fn padding_takes_nothing_that_can_be_tissue() {
    let with = |value: i16| {
        let mut elements = slice(&[]);
        put(&mut elements, raw(tags::PIXEL_PADDING_VALUE, b"SS", value.to_le_bytes()));
        elements
    };
    for value in [24, 64, -76, 1024] {
        let (_, hu) = read(&plain(&with(value)));
        assert_eq!(hu, right(), "{value}");
    }
    // What is denser than any tissue is padding at the border of the image, and metal inside it.
    let mut elements = with(4095);
    edit(&mut elements, tags::PIXEL_DATA, |pixels| {
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1), (20, 20)] {
            let at = 2 * (row * 64 + column);
            pixels.value[at..at + 2].copy_from_slice(&4095_i16.to_le_bytes());
        }
    });
    let (_, hu) = read(&plain(&elements));
    let at = |row: usize, column: usize| hu[(55 - row) * 64 + column];
    assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1), at(20, 20)], [-1025.0, -1025.0, -1025.0, -1025.0, 4071.0]);
    assert_eq!(at(2, 2), right()[53 * 64 + 2]);
}

#[test]
fn values_beyond_bits_stored_are_not_folded() {
    let mut elements = slice(&[]);
    edit(&mut elements, tags::BITS_STORED, |bits| bits.value = vec![8, 0]);
    edit(&mut elements, tags::HIGH_BIT, |bits| bits.value = vec![7, 0]);
    let (_, hu) = read(&plain(&elements));
    assert_eq!(hu, right());
    // It is told with the series.
    let folder = tempfile::tempdir().unwrap();
    let series = RawSeries::axial(&[0.0, 3.0, 6.0]);
    for n in 0..3 {
        let mut object = series.object(n, &field);
        object.put(dicom_core::DataElement::new(tags::BITS_STORED, VR::US, dicom_core::PrimitiveValue::from(8_u16)));
        object.put(dicom_core::DataElement::new(tags::HIGH_BIT, VR::US, dicom_core::PrimitiveValue::from(7_u16)));
        let meta = dicom_object::FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        object.with_meta(meta).unwrap().write_to_file(folder.path().join(n.to_string())).unwrap();
    }
    let scan = inputs::read_one(folder.path(), None).unwrap();
    let doubts = scan.series.unwrap().series.doubts;
    assert!(doubts[0].contains("3 slices have values that BitsStored"), "{doubts:?}");
}

/// A name in three groups and an identification of VR UN come back in what is written, in a character set that can hold them.
#[test]
fn texts_come_back_in_derived_objects() {
    let name = "Yamada^Tarou=山田^太郎=やまだ^たろう";
    let folder = tempfile::tempdir().unwrap();
    let series = RawSeries::axial(&[0.0, 3.0, 6.0]);
    for n in 0..3 {
        let mut elements = slice(&[(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("-63\\-55\\{}", 3 * n))]);
        put(&mut elements, raw(tags::SOP_INSTANCE_UID, b"UI", format!("2.25.30.{n}\0")));
        put(&mut elements, raw(tags::SPECIFIC_CHARACTER_SET, b"CS", "\\ISO 2022 IR 87 "));
        let bytes = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B ";
        put(&mut elements, raw(tags::PATIENT_NAME, b"PN", bytes));
        put(&mut elements, raw(tags::PATIENT_ID, b"UN", "p1"));
        put(&mut elements, raw(tags::STUDY_DATE, b"DA", "2020.01.31"));
        put(&mut elements, raw(tags::PATIENT_AGE, b"AS", "old "));
        std::fs::write(folder.path().join(n.to_string()), plain(&elements)).unwrap();
    }
    let scan = inputs::read_one(folder.path(), None).unwrap();
    assert_eq!(scan.volume.grid().shape, [series.columns, series.rows, 3]);
    let path = folder.path().join("out.dcm");
    let algorithm = Algorithm { weights: "test".into(), sha256: "ab".repeat(32), parameters: "none".into() };
    let mask = scan.volume.map(|_| false);
    segmentation::write(&path, scan.series.as_ref().unwrap(), &mask, &algorithm).unwrap();
    let written = std::fs::read(&path).unwrap();
    assert!(written.windows(name.len()).any(|window| window == name.as_bytes()), "the name in UTF-8");
    let object = open_file(&path).unwrap();
    assert_eq!(text(&object, tags::SPECIFIC_CHARACTER_SET), "ISO_IR 192");
    assert_eq!(text(&object, tags::PATIENT_NAME), name);
    assert_eq!(text(&object, tags::PATIENT_ID), "p1");
    assert_eq!(object.element(tags::PATIENT_ID).unwrap().vr(), VR::LO);
    assert_eq!(text(&object, tags::STUDY_DATE), "20200131");
    assert!(object.get(tags::PATIENT_AGE).is_none());
}

/// A broken file whose header can be read says where it belongs.
#[test]
fn broken_files_say_which_series_they_belong_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let sound = plain(&slice(&[]));
    std::fs::write(&path, &sound[..sound.len() - 100]).unwrap();
    let unreadable = dicom::read_image(&path).unwrap_err();
    assert!(unreadable.error.to_string().contains("the file is cut"));
    assert_eq!([unreadable.study_uid, unreadable.series_uid], ["2.25.20", "2.25.30"]);
    std::fs::write(&path, &sound[..180]).unwrap();
    let unreadable = dicom::read_image(&path).unwrap_err();
    assert_eq!([unreadable.study_uid, unreadable.series_uid], ["", ""]);
}
