//! Files that end early, are something else, or are compressed.

use super::*;

#[test]
fn a_file_that_ends_early_says_what_is_missing() {
    for version in VERSIONS {
        let whole = File::small(version).bytes();
        let header = whole.len() as u64 - 16;
        assert!(matches!(read_bytes(&[]), Err(NiftiError::Empty)));
        for length in 1..whole.len() {
            let error = read_bytes(&whole[..length]).unwrap_err();
            let compressed = read_bytes(&gzip(&whole[..length])).unwrap_err();
            let length = length as u64;
            if length < header {
                assert!(matches!(error, NiftiError::ShortHeader { found } if found == length), "{length}: {error}");
                assert!(matches!(compressed, NiftiError::ShortHeader { found } if found == length), "{length}: {compressed}");
            } else {
                let expected = |error: &NiftiError| {
                    matches!(error, NiftiError::Truncated { needed, found }
                        if *needed == whole.len() as u64 && *found == length)
                };
                assert!(expected(&error), "{length}: {error}");
                assert!(expected(&compressed), "{length}: {compressed}");
            }
        }
        assert!(read_bytes(&whole).is_ok());
    }
    let short = File::small(Version::One).bytes();
    let sentence = "is cut short: its header needs 364 bytes, it holds 363; copy or convert it again";
    assert_eq!(read_bytes(&short[..363]).unwrap_err().to_string(), sentence);
    let sentence = "holds 347 bytes, too few for a NIfTI header; copy or convert it again";
    assert_eq!(read_bytes(&short[..347]).unwrap_err().to_string(), sentence);
    assert_eq!(read_bytes(&[]).unwrap_err().to_string(), "is empty; copy or convert it again");
}

#[test]
fn voxels_begin_where_the_header_says() {
    // Behind an extension, and behind an extender that is not there.
    for (gap, vox_offset) in [(vec![9; 20], 368.0), (vec![9; 6000], 6348.0), (vec![], 348.0)] {
        let scan = File { gap, vox_offset, ..File::small(Version::One) }.read().unwrap();
        assert_eq!(scan.volume.voxels()[..3], [0.0, 1.0, 2.0]);
    }
    for vox_offset in [0.0, 347.0, -352.0, 352.5, 1e30, f64::NAN, f64::INFINITY] {
        let error = File { vox_offset, ..File::small(Version::One) }.error();
        assert!(matches!(error, NiftiError::Offset(_)), "{vox_offset}: {error}");
        let sentence = format!("its header has the voxels begin at byte {}, which cannot be", f64::from(vox_offset as f32));
        assert_eq!(error.to_string(), sentence);
    }
    let error = File { vox_offset: 1e9, ..File::small(Version::One) }.error();
    assert!(matches!(error, NiftiError::Truncated { needed: 1_000_000_012, found: 364 }), "{error}");
    for vox_offset in [0.0, 539.0, -1.0, 1e18] {
        let error = File { vox_offset, ..File::small(Version::Two) }.error();
        assert!(matches!(error, NiftiError::Offset(_)), "{vox_offset}: {error}");
    }
    assert!(File { vox_offset: 540.0, gap: vec![], ..File::small(Version::Two) }.read().is_ok());
}

#[test]
fn other_files_are_no_nifti() {
    let text = b"hello, I am no image\n".repeat(99);
    assert_eq!(read_bytes(&text).unwrap_err().to_string(), "is no NIfTI file (it does not begin with a header's size)");
    assert!(matches!(read_bytes(&gzip(&text)), Err(NiftiError::NotNifti)));
    let magic = File { magic: b"abcd", ..File::small(Version::One) }.error();
    assert!(matches!(&magic, NiftiError::Magic(found) if found == b"abcd"));
    assert_eq!(magic.to_string(), "is no NIfTI file (its magic is \"abcd\", not n+1, ni1, n+2 or ni2)");
    // What a transfer in text mode does to NIfTI-2.
    let magic = File { magic: b"n+2\0\n\x1a\n\0", ..File::small(Version::Two) }.error();
    assert!(matches!(magic, NiftiError::Magic(_)));
    let magic = File { magic: b"\0\0\0\0\0\0\0\0", ..File::small(Version::Two) }.error();
    assert!(matches!(magic, NiftiError::Magic(_)));
    let analyze = File { magic: b"\0\0\0\0", ..File::small(Version::One) }.error();
    assert!(matches!(analyze, NiftiError::Analyze));
    assert!(analyze.to_string().contains("ANALYZE 7.5"));
}

#[test]
fn compression_is_told_from_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = File::small(Version::One).bytes();
    let scan = read_bytes(&bytes).unwrap();
    for (name, content) in
        [("a.nii.gz", bytes.clone()), ("b.nii", gzip(&bytes)), ("c.nii.gz", gzip(&bytes)), ("d", bytes.clone())]
    {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        assert_eq!(super::read(&path).unwrap().volume, scan.volume, "{name}");
    }
    // Padding behind the voxels, more than is looked at.
    let padded = [bytes, vec![0; 1 << 20]].concat();
    assert_eq!(read_bytes(&gzip(&padded)).unwrap().volume, scan.volume);
    assert_eq!(read_bytes(&padded).unwrap().volume, scan.volume);
}

/// A block of a block-compressed file (BGZF): a member with its length in the extra field `BC`.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new().extra(*b"BC\x02\0\0\0").write(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    let mut block = encoder.finish().unwrap();
    let size = (block.len() as u16 - 1).to_le_bytes();
    block[16..18].copy_from_slice(&size);
    block
}

#[test]
fn what_follows_the_compressed_image_is_told_and_changes_nothing() {
    let bytes = File::small(Version::One).bytes();
    let expected = read_bytes(&bytes).unwrap();
    assert_eq!(expected.warnings, []);
    let (whole, middle, end) = (gzip(&bytes), bytes.len() - 3, bytes.len());
    let parts = |places: &[usize], pack: fn(&[u8]) -> Vec<u8>| -> Vec<u8> {
        places.windows(2).flat_map(|ends| pack(&bytes[ends[0]..ends[1]])).collect()
    };
    let damaged = {
        let mut damaged = gzip(b"another file that was appended");
        damaged[14] ^= 0xff;
        damaged
    };
    use super::super::Warning::{BehindGzip as Behind, SeveralMembers as Several};
    let cases: [(&str, Vec<u8>, &[super::super::Warning]); 19] = [
        ("one member", whole.clone(), &[]),
        ("a zero", [&whole[..], &[0]].concat(), &[Behind]),
        ("a tape's zeros", [&whole[..], &[0; 10240]].concat(), &[Behind]),
        ("one byte", [&whole[..], b"x"].concat(), &[Behind]),
        ("half of a member's first bytes", [&whole[..], &[0x1f]].concat(), &[Behind]),
        ("text", [&whole[..], b"-----BEGIN PGP SIGNATURE-----\n"].concat(), &[Behind]),
        ("zeros and text", [&whole[..], &[0; 700], b"text"].concat(), &[Behind]),
        ("a member's beginning alone", [&whole[..], &[0x1f, 0x8b]].concat(), &[Several]),
        ("a damaged member", [&whole[..], &damaged].concat(), &[Several]),
        ("a cut member", [&whole[..], &whole[..whole.len() / 2]].concat(), &[Several]),
        ("the image twice", [&whole[..], &whole].concat(), &[Several]),
        ("two members", parts(&[0, 100, end], gzip), &[Several]),
        ("many, some empty", parts(&[0, 0, 1, 2, 2, 347, 348, 352, 353, middle, end, end], gzip), &[Several]),
        ("two and text", [&parts(&[0, 100, end], gzip)[..], b"text"].concat(), &[Several, Behind]),
        (
            "two with zeros between and behind",
            [&gzip(&bytes[..100])[..], &[0; 512], &gzip(&bytes[100..]), &[0; 3]].concat(),
            &[Several, Behind],
        ),
        ("blocks", parts(&[0, 60, 61, middle, end], block), &[]),
        ("blocks with the empty one that ends them", parts(&[0, 60, middle, end, end], block), &[]),
        ("blocks and text", [&parts(&[0, 60, end, end], block)[..], b"text"].concat(), &[]),
        ("blocks of which the last is followed by text", [&parts(&[0, 60, end], block)[..], b"text"].concat(), &[Behind]),
    ];
    for (name, content, warnings) in cases {
        let scan = read_bytes(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scan.volume, expected.volume, "{name}");
        assert_eq!(scan.warnings, warnings, "{name}");
    }
}

#[test]
fn what_follows_a_part_of_the_image_is_an_error() {
    let bytes = File::small(Version::One).bytes();
    let (first, second) = (gzip(&bytes[..bytes.len() - 4]), gzip(&bytes[bytes.len() - 4..]));
    let mut wrong = second.clone();
    let place = wrong.len() - 8;
    wrong[place] ^= 0xff;
    for (name, rest) in [("nothing", &b""[..]), ("zeros", &[0; 100]), ("text", b"text"), ("half a member", &second[..12])] {
        let error = read_bytes(&[&first[..], rest].concat()).unwrap_err();
        assert!(matches!(error, NiftiError::Truncated { .. }), "{name}: {error}");
    }
    for (name, rest) in [("a wrong checksum", &wrong[..]), ("no deflate", b"\x1f\x8b\x07\0\0\0\0\0\0\0\0\0\0")] {
        let error = read_bytes(&[&first[..], rest].concat()).unwrap_err();
        assert!(matches!(error, NiftiError::Gzip(_)), "{name}: {error}");
    }
    // A first member that is damaged stays an error, whatever follows.
    let mut bad = gzip(&bytes);
    let place = bad.len() - 8;
    bad[place] ^= 0xff;
    for rest in [&b""[..], b"text", &gzip(&bytes)] {
        assert!(matches!(read_bytes(&[&bad[..], rest].concat()), Err(NiftiError::Gzip(_))));
    }
}

#[test]
fn damaged_compression_is_an_error() {
    let good = gzip(&File::small(Version::One).bytes());
    for cut in 1..good.len() {
        let error = read_bytes(&good[..cut]).unwrap_err();
        let named = match error {
            NiftiError::ShortHeader { .. } | NiftiError::Truncated { .. } | NiftiError::Overstated { .. } => cut < good.len() - 8,
            // All voxels are there, but not the end of the stream, or its checksum.
            NiftiError::Gzip(_) => cut >= good.len() - 9,
            _ => false,
        };
        assert!(named, "{cut} of {}: {error}", good.len());
    }
    // A wrong checksum, a wrong length, a wrong block type.
    for (at, name) in [(good.len() - 8, "checksum"), (good.len() - 1, "length"), (10, "block")] {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let error = read_bytes(&bad).unwrap_err();
        assert!(matches!(error, NiftiError::Gzip(_)), "{name}: {error}");
        assert!(error.to_string().starts_with("its gzip compression is damaged ("), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_bring_it_down(mut bytes in proptest::collection::vec(any::<u8>(), 0..700), version in proptest::sample::select(VERSIONS.to_vec())) {
        let _ = read_bytes(&bytes);
        // Get past the size and the magic.
        let whole = File::small(version).bytes();
        bytes.resize(whole.len().max(bytes.len()), 0);
        let kept = if version == Version::One { [0..4, 344..348] } else { [0..4, 4..12] };
        for range in kept {
            bytes[range.clone()].copy_from_slice(&whole[range]);
        }
        let _ = read_bytes(&bytes);
    }
}
