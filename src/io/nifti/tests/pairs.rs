//! Headers and images in two files.

use super::*;

#[test]
fn pairs_are_found_from_either_half() {
    for version in VERSIONS {
        let magic: &[u8] = if version == Version::One { b"ni1\0" } else { b"ni2\0\r\n\x1a\n" };
        let file = File { magic, vox_offset: 0.0, ..File::small(version) };
        let expected = File::small(version).read().unwrap().volume;
        for (header, image) in
            [("a.hdr", "a.img"), ("a.hdr", "a.img.gz"), ("a.hdr.gz", "a.img.gz"), ("a.hdr.gz", "a.img"), ("a.b.HDR", "a.b.img")]
        {
            let folder = tempfile::tempdir().unwrap();
            let store = |name: &str, bytes: &[u8]| {
                let content = if name.ends_with("gz") { gzip(bytes) } else { bytes.to_vec() };
                fs::write(folder.path().join(name), content).unwrap();
            };
            store(header, &file.header());
            store(image, &file.voxels);
            for name in [header, image] {
                if name == "a.b.img" {
                    continue; // Only the name that was given may be in capitals.
                }
                let scan = super::read(folder.path().join(name)).unwrap();
                assert_eq!(scan.volume, expected, "{header}, {image}, by {name}");
                // Outputs are single files of the same version.
                let path = folder.path().join("out.nii");
                write(&path, &scan.volume, &scan.header).unwrap();
                let again = super::read(&path).unwrap();
                assert_eq!((again.volume, again.header.version()), (scan.volume, version));
            }
        }
    }
}

#[test]
fn what_follows_the_compressed_half_of_a_pair_is_told() {
    use super::super::Warning::{BehindGzip, SeveralMembers};
    let folder = tempfile::tempdir().unwrap();
    let file = File { magic: b"ni1\0", vox_offset: 0.0, ..File::small(Version::One) };
    let [header, image] = ["a.hdr.gz", "a.img.gz"].map(|name| folder.path().join(name));
    fs::write(&header, [&gzip(&file.header())[..], b"text"].concat()).unwrap();
    fs::write(&image, [gzip(&file.voxels[..5]), gzip(&file.voxels[5..])].concat()).unwrap();
    let scan = super::read(&header).unwrap();
    assert_eq!(scan.volume, File::small(Version::One).read().unwrap().volume);
    assert_eq!(scan.warnings, [BehindGzip, SeveralMembers]);
    // A header whose checksum is wrong.
    let mut bad = gzip(&file.header());
    let place = bad.len() - 8;
    bad[place] ^= 0xff;
    fs::write(&header, bad).unwrap();
    assert!(matches!(super::read(&header), Err(Error::Nifti { source: NiftiError::Gzip(_), .. })));
}

#[test]
fn an_image_file_may_begin_with_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = File { magic: b"ni1\0", vox_offset: 5.0, ..File::small(Version::One) };
    fs::write(folder.path().join("a.hdr"), file.header()).unwrap();
    fs::write(folder.path().join("a.img"), [vec![9; 5], file.voxels].concat()).unwrap();
    assert_eq!(super::read(folder.path().join("a.hdr")).unwrap().volume.voxels()[..3], [0.0, 1.0, 2.0]);
    fs::write(folder.path().join("a.img"), [9; 16]).unwrap();
    let error = super::read(folder.path().join("a.hdr")).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::Truncated { needed: 17, found: 16 }, .. }), "{error}");
}

#[test]
fn half_a_pair_is_an_error_that_names_the_other_half() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str| match super::read(folder.path().join(name)) {
        Err(Error::Nifti { path, source }) => {
            assert_eq!(path, folder.path().join(name));
            source
        }
        other => panic!("{other:?}"),
    };
    let pair = File { magic: b"ni1\0", vox_offset: 0.0, ..File::small(Version::One) };
    fs::write(folder.path().join("a.hdr"), pair.header()).unwrap();
    assert!(matches!(error("a.hdr"), NiftiError::MissingImage(path) if path == folder.path().join("a.img")));
    fs::write(folder.path().join("b.img"), &pair.voxels).unwrap();
    assert!(matches!(error("b.img"), NiftiError::MissingHeader(path) if path == folder.path().join("b.hdr")));
    // A pair's header under a single file's name, and the reverse.
    fs::write(folder.path().join("c.nii"), pair.bytes()).unwrap();
    assert!(matches!(error("c.nii"), NiftiError::HeaderOnly));
    fs::write(folder.path().join("b.hdr"), File::small(Version::One).bytes()).unwrap();
    assert!(matches!(error("b.hdr"), NiftiError::NotAPair));
    // Neither half.
    assert!(matches!(error("d.hdr"), NiftiError::Read(_)));
}

#[test]
fn what_is_not_a_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let error = super::read(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::NotAFile, .. }));
    let missing = folder.path().join("scan.nii");
    let error = super::read(&missing).unwrap_err();
    assert!(matches!(error, Error::Nifti { source: NiftiError::Read(_), .. }));
    assert!(error.to_string().starts_with(&format!("{}: cannot be read: ", missing.display())), "{error}");
}
