//! Which slices of a DICOM series belong together, which series is used, and what `ichor inspect` says about it: the rules of docs/dicom.md.

mod support;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use ichor::batch::inputs::{self, Scan};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::raw_dicom::RawSeries;

/// HU that grow along each direction (LPS mm).
fn field([x, y, z]: [f64; 3]) -> f64 {
    1.0 * x + 2.0 * y + 4.0 * z
}

/// Those of another scan.
fn other_field(point: [f64; 3]) -> f64 {
    field(point) + 300.0
}

fn heights(count: usize, gap: f64, from: f64) -> Vec<f64> {
    (0..count).map(|n| from + gap * n as f64).collect()
}

/// Ten slices of 5 mm from 0 to 45 mm.
fn sound() -> RawSeries {
    RawSeries::axial(&heights(10, 5.0, 0.0)).with(tags::SERIES_NUMBER, VR::IS, "2")
}

/// Slices of the same series.
fn part(heights: &[f64]) -> RawSeries {
    RawSeries::axial(heights).with(tags::SERIES_NUMBER, VR::IS, "2")
}

/// Writes slices of the series 2.25.30 under names and SOPInstanceUIDs of their own; each with these attributes besides.
fn write_part(
    folder: &Path,
    name: &str,
    raw: &RawSeries,
    from_number: usize,
    texts: &[(Tag, VR, &str)],
    hu: &dyn Fn([f64; 3]) -> f64,
) {
    let below = folder.join(".part");
    for slice in 0..raw.positions.len() {
        let mut one = RawSeries { positions: vec![raw.positions[slice]], ..raw.clone() };
        let number = (from_number + slice).to_string();
        one = one.with(tags::SOP_INSTANCE_UID, VR::UI, &format!("2.25.77.{}{number}", name.len()));
        one = one.with(tags::INSTANCE_NUMBER, VR::IS, &number);
        for (tag, vr, text) in texts {
            one = one.with(*tag, *vr, text);
        }
        one.write(&below, hu);
        let file = fs::read_dir(&below).unwrap().next().unwrap().unwrap().path();
        fs::rename(file, folder.join(format!("{name}{slice:03}"))).unwrap();
    }
    fs::remove_dir(below).unwrap();
}

fn read(folder: &Path, series: Option<&str>) -> Result<Scan, String> {
    inputs::read_one(folder, series).map_err(|error| error.to_string())
}

fn said(scan: &Scan) -> String {
    scan.warnings.iter().map(|warning| format!("{} {warning}\n", warning.number())).collect()
}

/// Whether every voxel has the value that `hu` has at its place, and there are so many slices.
fn is_whole(scan: &Scan, slices: usize, hu: &dyn Fn([f64; 3]) -> f64) -> bool {
    let grid = scan.volume.grid();
    let [ni, nj, nk] = grid.shape;
    let right = |i, j, k| {
        let [x, y, z] = grid.affine.apply([i, j, k].map(|n| n as f64));
        (f64::from(*scan.volume.at([i, j, k])) - hu([-x, -y, z])).abs() < 1.6
    };
    nk == slices && (0..nk).all(|k| (0..nj).all(|j| (0..ni).all(|i| right(i, j, k))))
}

#[test]
fn parts_above_each_other_are_one_stack() {
    for (tag, vr, other, told) in [
        (tags::ACQUISITION_NUMBER, VR::IS, "2", None),
        (tags::CONVOLUTION_KERNEL, VR::SH, "BONE", Some("ConvolutionKernel")),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.41", Some("FrameOfReferenceUID")),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\AXIAL", Some("ImageType")),
        (tags::RESCALE_INTERCEPT, VR::DS, "-24.0", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_part(folder.path(), "a", &part(&heights(6, 5.0, 0.0)), 1, &[], &field);
        write_part(folder.path(), "bb", &part(&heights(6, 5.0, 30.0)), 7, &[(tag, vr, other)], &field);
        let scan = read(folder.path(), None).unwrap();
        assert!(is_whole(&scan, 12, &field), "{other}");
        match told {
            None => assert!(scan.warnings.is_empty(), "{}", said(&scan)),
            Some(word) => assert!(said(&scan).contains(word) && said(&scan).starts_with("11 "), "{word}: {}", said(&scan)),
        }
    }
}

#[test]
fn another_frame_of_reference_that_does_not_fit_is_another_scan() {
    let folder = tempfile::tempdir().unwrap();
    write_part(folder.path(), "a", &part(&heights(8, 5.0, 0.0)), 1, &[], &field);
    let frame = [(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.41")];
    write_part(folder.path(), "bb", &part(&heights(5, 5.0, 43.0)), 9, &frame, &other_field);
    let scan = read(folder.path(), None).unwrap();
    assert!(is_whole(&scan, 8, &field));
    assert!(said(&scan).contains("5 slices of the same series are left out") && said(&scan).contains("FrameOfReferenceUID"));
}

#[test]
fn two_scans_of_one_series_are_not_mixed() {
    let differ: [(Tag, VR, &str, &str); 5] = [
        (tags::ACQUISITION_NUMBER, VR::IS, "2", "AcquisitionNumber"),
        (tags::CONVOLUTION_KERNEL, VR::SH, "BONE", "ConvolutionKernel"),
        (tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\MPR", "ImageType"),
        (tags::CONTRAST_BOLUS_AGENT, VR::LO, "Iomeron 400", "ContrastBolusAgent"),
        (tags::ACQUISITION_TIME, VR::TM, "150000", "AcquisitionTime"),
    ];
    for (tag, vr, other, keyword) in differ {
        // At the same places, half a gap apart, and less.
        for shift in [0.0, 2.5, 1.7] {
            let folder = tempfile::tempdir().unwrap();
            let own = [
                (tags::ACQUISITION_NUMBER, VR::IS, "1"),
                (tags::CONVOLUTION_KERNEL, VR::SH, "STANDARD"),
                (tags::ACQUISITION_TIME, VR::TM, "120000"),
            ];
            write_part(folder.path(), "a", &part(&heights(10, 5.0, 0.0)), 1, &own, &field);
            let mut texts = own.to_vec();
            texts.push((tag, vr, other));
            write_part(folder.path(), "bb", &part(&heights(10, 5.0, shift)), 1, &texts, &other_field);
            let scan = read(folder.path(), None).unwrap_or_else(|error| panic!("{keyword} {shift}: {error}"));
            assert!(is_whole(&scan, 10, &field), "{keyword} {shift}: {}", said(&scan));
            let said = said(&scan);
            assert!(said.contains("10 slices of the same series are left out") && said.contains(keyword), "{shift}: {said}");
        }
    }
}

#[test]
fn series_names_an_acquisition() {
    let folder = tempfile::tempdir().unwrap();
    for (name, number, shift, hu) in
        [("a", "4", 0.0, &field as &dyn Fn([f64; 3]) -> f64), ("bb", "7", 2.5, &other_field as &dyn Fn([f64; 3]) -> f64)]
    {
        let texts = [(tags::ACQUISITION_NUMBER, VR::IS, number)];
        write_part(folder.path(), name, &part(&heights(10, 5.0, shift)), 1, &texts, hu);
    }
    assert!(is_whole(&read(folder.path(), Some("2:4")).unwrap(), 10, &field));
    for wanted in ["2:7", "2.25.30:7"] {
        assert!(is_whole(&read(folder.path(), Some(wanted)).unwrap(), 10, &other_field), "{wanted}");
    }
    let none = read(folder.path(), Some("2:5")).unwrap_err();
    assert!(none.contains("\"2:5\"") && none.contains("2:4") && none.contains("2:7"), "{none}");
}

#[test]
fn scans_that_nothing_tells_apart_are_refused() {
    for (shift, word) in [(0.0, "lie where another one is"), (1.7, "are not those of one scan"), (2.5, "InstanceNumber")] {
        let folder = tempfile::tempdir().unwrap();
        write_part(folder.path(), "a", &part(&heights(10, 5.0, 0.0)), 1, &[], &field);
        write_part(folder.path(), "bb", &part(&heights(10, 5.0, shift)), 1, &[], &other_field);
        let refused = read(folder.path(), None).unwrap_err();
        assert!(refused.contains(word) && refused.contains("two scans"), "{shift}: {refused}");
    }
}

#[test]
fn copies_go_first() {
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    fs::copy(folder.path().join("2.25.30_14"), folder.path().join("2.25.30_14 (1)")).unwrap();
    let scan = read(folder.path(), None).unwrap();
    assert!(is_whole(&scan, 10, &field) && scan.warnings.is_empty(), "{}", said(&scan));
    // The whole series again under other UIDs: the same, and told.
    write_part(folder.path(), "again", &part(&heights(10, 5.0, 0.0)), 1, &[], &field);
    let scan = read(folder.path(), None).unwrap();
    assert!(is_whole(&scan, 10, &field) && said(&scan).contains("10 of 20 slices lie where another one is"), "{}", said(&scan));
}

#[test]
fn doubles_without_a_uid_do_not_hide_another_acquisition() {
    let folder = tempfile::tempdir().unwrap();
    let lost = (tags::SOP_INSTANCE_UID, VR::UI, "");
    for name in ["a", "copy of a"] {
        write_part(
            folder.path(),
            name,
            &part(&heights(10, 5.0, 0.0)),
            1,
            &[lost, (tags::ACQUISITION_NUMBER, VR::IS, "1")],
            &field,
        );
    }
    write_part(folder.path(), "b", &part(&heights(10, 5.0, 2.5)), 1, &[(tags::ACQUISITION_NUMBER, VR::IS, "2")], &other_field);
    let scan = read(folder.path(), None).unwrap();
    assert!(is_whole(&scan, 10, &field), "{}", said(&scan));
    for word in ["10 of 20 slices lie where another one is", "10 slices of the same series are left out", "AcquisitionNumber"] {
        assert!(said(&scan).contains(word), "{word}: {}", said(&scan));
    }
}

#[test]
fn a_change_where_a_slice_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_part(folder.path(), "a", &part(&heights(6, 5.0, 0.0)), 1, &[(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.40")], &field);
    let above = part(&heights(4, 5.0, 35.0));
    write_part(folder.path(), "bb", &above, 8, &[(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.41")], &field);
    let scan = read(folder.path(), None).unwrap();
    let told = "FrameOfReferenceUID changes between a005 and bb000, and the gap there, 10.0 mm, is not that beside it";
    assert!(is_whole(&scan, 6, &field) && said(&scan).contains(told), "{}", said(&scan));
}

#[test]
fn what_parts_scans_is_what_is_said() {
    let apart = |texts: [[(Tag, VR, &str); 2]; 3], from: [f64; 3], counts: [usize; 3]| {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..3 {
            let name = ["a", "bb", "ccc"][n];
            write_part(folder.path(), name, &part(&heights(counts[n], 5.0, from[n])), 1 + 20 * n, &texts[n], &field);
        }
        said(&read(folder.path(), None).unwrap())
    };
    let kernel = |name| (tags::CONVOLUTION_KERNEL, VR::SH, name);
    let time = |time| (tags::ACQUISITION_TIME, VR::TM, time);
    let texts = [[kernel("STANDARD"), time("120000")], [kernel("BONE"), time("120100")], [kernel("STANDARD"), time("120200")]];
    // Above each other with gaps between them: times and numbers differ, as they do from slice to slice.
    let told = apart(texts, [0.0, 35.0, 65.0], [6, 4, 4]);
    let gap = "mm away (ImagePositionPatient), beyond a gap that is not that beside it";
    for words in [
        format!("they lie 10.0 {gap}, where ConvolutionKernel changes"),
        format!("they lie 40.0 {gap} (--series"),
        "bb000".into(),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    assert!(!told.contains("AcquisitionTime") && !told.contains("InstanceNumber"), "{told}");
    // Among each other.
    let told = apart(texts, [0.0, 2.5, 4.0], [10, 4, 4]);
    for words in ["they differ in ConvolutionKernel (BONE for STANDARD)", "they differ in AcquisitionTime (120200 for 120000)"] {
        assert!(told.contains(words) && !told.contains("away"), "{words}: {told}");
    }
    // By their numbers alone, which go on in each.
    let folder = tempfile::tempdir().unwrap();
    write_part(folder.path(), "a", &part(&heights(10, 5.0, 0.0)), 1, &[], &field);
    write_part(folder.path(), "bb", &part(&heights(10, 5.0, 2.5)), 21, &[], &other_field);
    let told = said(&read(folder.path(), None).unwrap());
    assert!(told.contains("they differ in InstanceNumber (21 to 30 for 1 to 10)"), "{told}");
    // Beside the line.
    let folder = tempfile::tempdir().unwrap();
    write_part(folder.path(), "a", &part(&heights(10, 5.0, 0.0)), 1, &[], &field);
    let mut moved = part(&heights(3, 5.0, 50.0));
    moved.positions.iter_mut().for_each(|position| position[0] += 30.0);
    write_part(folder.path(), "bb", &moved, 11, &[], &field);
    let told = said(&read(folder.path(), None).unwrap());
    let line = "they lie beside the line of the others in their plane (ImagePositionPatient)";
    assert!(told.contains(line) && !told.contains("InstanceNumber"), "{told}");
}

#[test]
fn the_reason_against_a_series_is_true_where_the_last_rules_decide() {
    let reason = |folder: &Path| {
        let (_, json) = inspect(&[folder.to_str().unwrap(), "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["studies"][0]["series"][1]["reason"].as_str().unwrap().to_string()
    };
    let two = |texts: [&[(Tag, &str)]; 2]| {
        let folder = tempfile::tempdir().unwrap();
        for (n, texts) in texts.into_iter().enumerate() {
            let mut raw = head().with(tags::SERIES_INSTANCE_UID, VR::UI, &format!("2.25.5{n}"));
            for (tag, text) in texts {
                raw = raw.with(*tag, VR::LO, text);
            }
            raw.write(folder.path(), &field);
        }
        reason(folder.path())
    };
    let (number, acquisition, kernel) = (tags::SERIES_NUMBER, tags::ACQUISITION_NUMBER, tags::CONVOLUTION_KERNEL);
    assert_eq!(two([&[(number, "3")], &[(number, "4")]]), "a higher series number (4)");
    assert_eq!(two([&[(number, "3")], &[]]), "no series number");
    assert_eq!(two([&[(acquisition, "3")], &[]]), "no acquisition number");
    assert_eq!(two([&[], &[]]), "no rule tells them apart, and the SeriesInstanceUID that comes first by name is used");
    assert_eq!(two([&[(kernel, "H31s")], &[]]), "no ConvolutionKernel");
    assert_eq!(two([&[(kernel, "H31s")], &[(kernel, "H60s")]]), "sharp kernel H60s");
    let bone = [(tags::SERIES_DESCRIPTION, "Kopf Knochen")];
    assert_eq!(two([&[], &bone]), "sharp by SeriesDescription \"Kopf Knochen\"");
    let map = [(tags::SERIES_DESCRIPTION, "Iodine map")];
    assert!(two([&[], &map]).contains("(SeriesDescription \"Iodine map\")"));
    // Two parts of one series.
    let folder = tempfile::tempdir().unwrap();
    for (name, hu) in [("a", &field as &dyn Fn([f64; 3]) -> f64), ("bb", &other_field)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        write_part(&folder.path().join(name), name, &part(&heights(10, 5.0, 0.0)), 1, &[], hu);
    }
    assert_eq!(reason(folder.path()), "no rule tells them apart, and the part that comes first by name is used");
}

#[test]
fn thick_slices_above_thin_ones_are_usual_only_where_their_thickness_says_so() {
    // (Thickness below and above, whether it is told.)
    for (below, above, told) in [("3", "6", false), ("77", "6", true), ("6", "3", true), ("", "6", true)] {
        let folder = tempfile::tempdir().unwrap();
        write_part(folder.path(), "a", &part(&heights(6, 3.0, 0.0)), 1, &[(tags::SLICE_THICKNESS, VR::DS, below)], &field);
        write_part(folder.path(), "bb", &part(&heights(6, 6.0, 19.5)), 7, &[(tags::SLICE_THICKNESS, VR::DS, above)], &field);
        let scan = read(folder.path(), None).unwrap();
        assert_eq!(said(&scan).contains("a gap of 4.5 mm"), told, "{below} {above}: {}", said(&scan));
    }
}

#[test]
fn files_of_another_study_beside_a_scan_are_not_passed_over_in_silence() {
    let other = (tags::STUDY_INSTANCE_UID, VR::UI, "2.25.21");
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    // Slices of the same kind could be of this scan.
    write_part(folder.path(), "lost", &part(&[50.0, 55.0]), 11, &[other, (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31")], &field);
    let scan = read(folder.path(), None).unwrap();
    let told = "left out: 2 images of another study (StudyInstanceUID 2.25.21), which could be slices of the series";
    assert!(is_whole(&scan, 10, &field) && said(&scan).contains(told), "{}", said(&scan));

    // A page that names a study of its own.
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    let page = part(&[50.0]).with(tags::IMAGE_POSITION_PATIENT, VR::DS, "");
    write_part(folder.path(), "page", &page, 1, &[other, (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31")], &field);
    let scan = read(folder.path(), None).unwrap();
    assert!(is_whole(&scan, 10, &field) && scan.warnings.is_empty(), "{}", said(&scan));
    let choice = &scan.series.as_ref().unwrap().series.choice;
    assert!(choice.contains("1 file is a page of text"), "{choice}");
}

#[test]
fn a_slice_that_is_unlike_the_others_is_told() {
    for (tag, vr, value, word) in [
        (tags::PIXEL_SPACING, VR::DS, "1\\1", "PixelSpacing"),
        (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0.94\\0.34", "ImageOrientationPatient"),
        (tags::IMAGE_POSITION_PATIENT, VR::DS, "-40\\-55\\45", "ImagePositionPatient"),
        (tags::IMAGE_POSITION_PATIENT, VR::DS, "-63\\-55\\46.5", "ImagePositionPatient"),
        (tags::RESCALE_INTERCEPT, VR::DS, "-1024", "RescaleIntercept"),
        (tags::RESCALE_SLOPE, VR::DS, "2", "RescaleSlope"),
        (tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER", "localizer"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31", "SeriesInstanceUID"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "2.25.21", "StudyInstanceUID"),
        (tags::MODALITY, VR::CS, "CT", ""),
    ] {
        // The last slice: without it there is no gap.
        let folder = tempfile::tempdir().unwrap();
        write_part(folder.path(), "a", &part(&heights(9, 5.0, 0.0)), 1, &[], &field);
        write_part(folder.path(), "bb", &part(&[45.0]), 10, &[(tag, vr, value)], &field);
        let scan = read(folder.path(), None).unwrap();
        assert_eq!(scan.warnings.is_empty(), word.is_empty(), "{word}: {}", said(&scan));
        assert!(said(&scan).contains(word), "{word}: {}", said(&scan));
    }
}

#[test]
fn slices_at_one_place_are_not_called_one_slice() {
    let folder = tempfile::tempdir().unwrap();
    RawSeries::axial(&[7.0; 28]).write(folder.path(), &field);
    let refused = read(folder.path(), None).unwrap_err();
    assert!(refused.contains("28 slices lie at one position (ImagePositionPatient)"), "{refused}");
}

#[test]
fn files_of_no_bytes_are_told_of() {
    for keep in [0, 1, 100, 131] {
        let folder = tempfile::tempdir().unwrap();
        sound().write(folder.path(), &field);
        for name in ["lost1", "lost2"] {
            let bytes = fs::read(folder.path().join("2.25.30_0")).unwrap();
            fs::write(folder.path().join(name), &bytes[..keep]).unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "a short text is no slice").unwrap();
        let scan = read(folder.path(), None).unwrap();
        assert!(is_whole(&scan, 10, &field));
        let said = said(&scan);
        assert!(said.contains("2 files") && said.contains("lost1, lost2") && !said.contains("notes"), "{keep}: {said}");
    }
}

/// Writes a series of its own, and gives its number.
fn series(folder: &Path, number: &str, raw: RawSeries, texts: &[(Tag, &str)]) {
    let mut raw =
        raw.with(tags::SERIES_NUMBER, VR::IS, number).with(tags::SERIES_INSTANCE_UID, VR::UI, &format!("2.25.5{number}"));
    raw = raw.with(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    for (tag, text) in texts {
        raw = raw.with(*tag, VR::LO, text);
    }
    raw.write(folder, &field);
}

fn used(folder: &Path) -> i64 {
    read(folder, None).unwrap().series.unwrap().series.identity.series_number.unwrap()
}

/// A head of 30 slices of 5 mm.
fn head() -> RawSeries {
    RawSeries::axial(&heights(30, 5.0, 0.0))
}

/// The same place in thin slices: more of them.
fn thin() -> RawSeries {
    RawSeries::axial(&heights(70, 2.0, 0.0))
}

#[test]
fn a_plain_head_is_used_and_not_what_lies_beside_it() {
    let (description, body, agent) = (tags::SERIES_DESCRIPTION, tags::BODY_PART_EXAMINED, tags::CONTRAST_BOLUS_AGENT);
    let (kernel, kind) = (tags::CONVOLUTION_KERNEL, tags::IMAGE_TYPE);
    let wide = RawSeries { spacing: [6.0, 6.0], ..thin() };
    let rows = (0..70).map(|n| [-63.0, -70.0 + 2.0 * f64::from(n), 145.0]).collect();
    let coronal = RawSeries { along_column: [0.0, 0.0, -1.0], positions: rows, ..thin() };
    type Beside<'a> = (&'a str, RawSeries, Vec<(Tag, &'a str)>);
    let beside: Vec<Beside> = vec![
        ("agent", thin(), vec![(agent, "Iomeron 400")]),
        ("angiography by its words", thin(), vec![(description, "CTA 1.5")]),
        ("after contrast agent, or an operation", thin(), vec![(description, "Brain post")]),
        ("of an early phase", thin(), vec![(description, "Kopf art. Phase")]),
        ("of a late phase", thin(), vec![(description, "faza żylna")]),
        ("one voltage of two", thin(), vec![(description, "Head 80kV")]),
        ("the other voltage", thin(), vec![(description, "Head Sn150kV")]),
        ("a blend", thin(), vec![(description, "Head M_0.6")]),
        ("for another energy", thin(), vec![(description, "Head VMI 70 keV")]),
        ("for an energy far off", thin(), vec![(description, "monoenergetic 40 keV")]),
        ("a map", thin(), vec![(description, "mapa de yodo")]),
        ("without what is in it", thin(), vec![(description, "virtuell nativ")]),
        ("venous", thin(), vec![(description, "Head venous")]),
        ("with KM", thin(), vec![(description, "Schädel mit KM")]),
        ("chest", thin(), vec![(body, "CHEST")]),
        ("chest by its words", thin(), vec![(description, "Thorax 1.0")]),
        ("neck", thin(), vec![(description, "C-Spine 1.0")]),
        ("a body's field of view", wide, vec![]),
        ("bone", thin(), vec![(kernel, "H60s")]),
        ("soft and sharp", thin(), vec![(kernel, "H31s\\H60s")]),
        ("head and neck", thin(), vec![(description, "Head and neck 1.0")]),
        ("coronal", coronal, vec![]),
        ("projection", thin(), vec![(kind, "DERIVED\\SECONDARY\\MIP")]),
        ("maps", thin(), vec![(description, "CBF")]),
        ("derived", thin(), vec![(kind, "DERIVED\\SECONDARY\\MPR")]),
        ("a slab of many slices", RawSeries::axial(&heights(50, 0.5, 40.0)), vec![]),
        ("half a head of more slices", RawSeries::axial(&heights(70, 1.0, 0.0)), vec![]),
    ];
    for (name, raw, texts) in beside {
        let folder = tempfile::tempdir().unwrap();
        series(folder.path(), "5", head(), &[(description, "5.0"), (kernel, "H31s")]);
        let mut all = vec![(kernel, "H31s")];
        all.extend(texts);
        series(folder.path(), "4", raw, &all);
        assert_eq!(used(folder.path()), 5, "{name}");
        // What is asked for is used.
        let asked = read(folder.path(), Some("4")).unwrap();
        assert_eq!(asked.series.unwrap().series.identity.series_number, Some(4), "{name}");
    }
    // A few plain slices are no head beside a whole one; words for plain are none for contrast agent.
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "1", RawSeries::axial(&[0.0, 5.0, 10.0]), &[(description, "Head plain")]);
    series(folder.path(), "2", head(), &[(description, "CTA"), (agent, "Ultravist")]);
    assert_eq!(used(folder.path()), 2);
    let scan = read(folder.path(), None).unwrap();
    assert!(said(&scan).contains("contrast agent (ContrastBolusAgent \"Ultravist\")"), "{}", said(&scan));
    series(folder.path(), "3", head(), &[(description, "Kopf ohne KM"), (agent, "NONE")]);
    assert_eq!(used(folder.path()), 3);
    // Words that say plain and an attribute that names an agent are less certain than an agent alone; but not plain.
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "1", thin(), &[(description, "Head"), (agent, "Ultravist")]);
    series(folder.path(), "2", head(), &[(description, "Head native"), (agent, "Ultravist")]);
    assert_eq!(used(folder.path()), 2);
    series(folder.path(), "3", RawSeries::axial(&heights(20, 6.0, 0.0)), &[(description, "Head native")]);
    assert_eq!(used(folder.path()), 3);
    // Where no kernel is named, words that name bone say that it is sharp.
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "1", thin(), &[(description, "Head bone 1.0")]);
    series(folder.path(), "2", head(), &[(description, "Head 5.0")]);
    assert_eq!(used(folder.path()), 2);
    // One slice that names an agent speaks for all of its series.
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "1", thin(), &[]);
    let first = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut file = dicom_object::open_file(&first).unwrap();
    file.put(dicom_core::DataElement::new(agent, VR::LO, "Ultravist"));
    file.write_to_file(&first).unwrap();
    series(folder.path(), "2", head(), &[]);
    assert_eq!(used(folder.path()), 2);
}

#[test]
fn a_plain_head_of_two_voltages_is_used_before_contrast_agent_and_its_blend_before_either() {
    let description = tags::SERIES_DESCRIPTION;
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "7", thin(), &[(description, "CTA 1.0")]);
    series(folder.path(), "5", thin(), &[(description, "DE Head Sn150kV")]);
    assert_eq!(used(folder.path()), 5);
    series(folder.path(), "4", thin(), &[(description, "DE Head 80kV")]);
    series(folder.path(), "6", thin(), &[(description, "DE Head M_0.6")]);
    assert_eq!(used(folder.path()), 6);
    // The voltage of a plain head says nothing against it beside bone.
    series(folder.path(), "3", thin(), &[(description, "Kopf 100kV"), (tags::CONVOLUTION_KERNEL, "H31s")]);
    series(folder.path(), "2", thin(), &[(description, "Kopf"), (tags::CONVOLUTION_KERNEL, "H60s")]);
    assert_eq!(used(folder.path()), 3);
}

#[test]
fn a_number_of_several_series_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    for uid in ["2.25.61", "2.25.62"] {
        let raw = head().with(tags::SERIES_NUMBER, VR::IS, "3").with(tags::SERIES_INSTANCE_UID, VR::UI, uid);
        raw.write(folder.path(), &field);
    }
    let refused = read(folder.path(), Some("3")).unwrap_err();
    assert!(refused.contains("2.25.61") && refused.contains("2.25.62") && refused.contains("UID"), "{refused}");
    assert!(is_whole(&read(folder.path(), Some("2.25.62")).unwrap(), 30, &field));
}

/// A page of text, as scanners store it: of class CT, without a place.
fn page(folder: &Path, study: &str) {
    let mut raw = RawSeries::axial(&[0.0]).with(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.99");
    raw = raw.with(tags::STUDY_INSTANCE_UID, VR::UI, study).with(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\OTHER");
    for tag in [tags::IMAGE_POSITION_PATIENT, tags::IMAGE_ORIENTATION_PATIENT, tags::PIXEL_SPACING, tags::RESCALE_SLOPE] {
        raw = raw.with(tag, VR::DS, "");
    }
    raw.write(folder, &field);
}

#[test]
fn pages_and_broken_files_of_other_series_block_nothing() {
    for (below, study) in [(".", "2.25.20"), ("pages", "2.25.20"), ("pages", "2.25.29")] {
        let folder = tempfile::tempdir().unwrap();
        sound().write(folder.path(), &field);
        page(&folder.path().join(below), study);
        let scan = read(folder.path(), None).unwrap();
        assert!(is_whole(&scan, 10, &field) && scan.warnings.is_empty(), "{below} {study}: {}", said(&scan));
        let jobs = inputs::find(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(jobs.len(), 1, "a page is no scan: {below} {study}");
    }
    // Pixels that are cut in another series, whose header can be read or not.
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    series(folder.path(), "9", RawSeries::axial(&[0.0, 5.0]), &[]);
    let file = folder.path().join("2.25.59_0");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..300]).unwrap();
    let refused = read(folder.path(), None).unwrap_err();
    assert!(refused.contains("2.25.59_0"), "it may be a slice: {refused}");
    let scan = read(folder.path(), Some("2")).unwrap();
    assert!(is_whole(&scan, 10, &field) && said(&scan).contains("2.25.59_0"), "{}", said(&scan));
}

#[test]
fn another_patient_in_the_study_is_told_and_blocks_no_series_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    series(folder.path(), "9", RawSeries::axial(&[15.0]), &[(tags::PATIENT_ID, "P1-EXT")]);
    for wanted in [None, Some("2")] {
        let scan = read(folder.path(), wanted).unwrap();
        assert!(is_whole(&scan, 10, &field));
        assert!(said(&scan).contains("P1-EXT") && said(&scan).contains("\"phantom\""), "{}", said(&scan));
    }
    // In the series itself it is an error.
    write_part(folder.path(), "bb", &part(&[50.0]), 11, &[(tags::PATIENT_ID, VR::LO, "P1-EXT")], &field);
    let refused = read(folder.path(), Some("2")).unwrap_err();
    assert!(refused.contains("different patients (P1-EXT, phantom)"), "{refused}");
}

fn inspect(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } =
        Command::new(env!("CARGO_BIN_EXE_ichor")).arg("inspect").args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn inspect_says_which_series_is_used_and_why() {
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), "5", head(), &[(tags::SERIES_DESCRIPTION, "Head plain"), (tags::CONVOLUTION_KERNEL, "H31s")]);
    series(folder.path(), "4", thin(), &[(tags::SERIES_DESCRIPTION, "CTA"), (tags::CONTRAST_BOLUS_AGENT, "Iomeron")]);
    let scout = RawSeries::axial(&[0.0]).with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
    series(folder.path(), "1", scout, &[]);
    page(folder.path(), "2.25.20");
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("notes.txt"), "no scan").unwrap();
    let path = folder.path().to_str().unwrap();
    let (status, text) = inspect(&[path]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || line.contains(path)), "{text}");
    assert!(text.lines().any(|line| line.starts_with("-> 5 ") && line.contains("30") && line.contains("H31s")), "{text}");
    for words in [
        "used: first by the rules",
        "not used: contrast agent (ContrastBolusAgent \"Iomeron\")",
        "no image: 1 file: a localizer",
        "pages of text, no slices: 1 file\n",
        "cut at the beginning: 1 file",
        "besides: 1 file neither",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("unreadable"), "{text}");
    assert!(!text.contains("phantom"), "no patient is named: {text}");
    // The same as JSON, and another series asked for.
    let (_, json) = inspect(&[path, "--json", "--series", "4"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let study = &json["studies"][0];
    assert_eq!(study["used"], "4");
    let of = |number: i64| study["series"].as_array().unwrap().iter().find(|one| one["series_number"] == number).unwrap();
    assert_eq!((of(4)["used"].as_bool(), of(4)["reason"].as_str()), (Some(true), Some("asked for")));
    assert_eq!((of(5)["slices"].as_u64(), of(5)["gap_mm"][0].as_f64()), (Some(30), Some(5.0)));
    assert_eq!(json["other_files"], 1);
    assert_eq!((study["pages_of_text"].as_array().unwrap().len(), study["unreadable"].as_array().unwrap().len()), (1, 0));
    // Nothing that can be used.
    let empty = tempfile::tempdir().unwrap();
    RawSeries::axial(&[0.0]).write(empty.path(), &field);
    let (status, text) = inspect(&[empty.path().to_str().unwrap()]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("nothing can be used: series"), "{text}");
}

#[test]
fn inspect_tells_pages_of_text_from_slices_that_have_lost_their_places() {
    let lost = |heights: &[f64], kind: &str, uid: &str| {
        let raw = RawSeries::axial(heights).with(tags::SERIES_INSTANCE_UID, VR::UI, uid);
        raw.with(tags::IMAGE_POSITION_PATIENT, VR::DS, "").with(tags::IMAGE_TYPE, VR::CS, kind)
    };
    let report = "DERIVED\\SECONDARY\\OTHER";
    // (Images, ImageType, pages, unreadable.)
    for (count, kind, pages, unreadable) in
        [(1, "ORIGINAL\\PRIMARY\\AXIAL", 1, 0), (2, report, 2, 0), (5, report, 5, 0), (5, "ORIGINAL\\PRIMARY\\AXIAL", 0, 5)]
    {
        let folder = tempfile::tempdir().unwrap();
        sound().write(folder.path(), &field);
        lost(&heights(count, 5.0, 0.0), kind, "2.25.98").write(folder.path(), &field);
        let path = folder.path().to_str().unwrap();
        let (_, json) = inspect(&[path, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let counts = ["pages_of_text", "unreadable"].map(|key| json["studies"][0][key].as_array().unwrap().len());
        assert_eq!(counts, [pages, unreadable], "{count} {kind}");
        let (status, text) = inspect(&[path]);
        let told = text.contains(&format!("pages of text, no slices: {pages} file"));
        assert_eq!((status, told, text.contains("unreadable: ")), (Some(0), pages > 0, unreadable > 0), "{text}");
        let scan = read(folder.path(), None).unwrap();
        assert_eq!(scan.warnings.is_empty(), pages > 0, "{}", said(&scan));
        let choice = scan.series.unwrap().series.choice;
        assert_eq!(choice.contains("of text (2.25.98_0"), pages > 0, "{choice}");
    }
    // A slice of the series that has lost its place is no page.
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    lost(&[50.0], "ORIGINAL\\PRIMARY\\AXIAL", "2.25.30").write(&folder.path().join("lost"), &field);
    let (status, text) = inspect(&[folder.path().to_str().unwrap()]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("unreadable: 2.25.30_0: the attribute ImagePositionPatient") && !text.contains("pages"), "{text}");
    // A study of its own for the page.
    let folder = tempfile::tempdir().unwrap();
    sound().write(folder.path(), &field);
    page(folder.path(), "2.25.29");
    let (status, text) = inspect(&[folder.path().to_str().unwrap()]);
    assert!(status == Some(0) && text.contains("pages of text, no slices: 1 file") && !text.contains("unreadable"), "{text}");
}

#[test]
fn the_real_series_has_no_doubts() {
    let Some(folder) = support::shared("data/ge_tilt/dicom") else { return };
    let (status, text) = inspect(&[folder.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("-> 2 ") && text.contains("1.1-7.0") && !text.contains("doubt"), "{text}");
    assert!(read(&folder, None).unwrap().warnings.is_empty());
}

#[test]
fn every_second_slice_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let heights: Vec<f64> = (0..10).map(|n| 5.0 * f64::from(n)).collect();
    let raw = RawSeries::axial(&heights).with(tags::SLICE_THICKNESS, VR::DS, "2.5");
    raw.write(folder.path(), &field);
    assert!(!said(&read(folder.path(), None).unwrap()).contains("missing all along"), "a gap alone may be the protocol's");
    for (n, path) in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).enumerate() {
        let mut file = dicom_object::open_file(&path).unwrap();
        let number: i64 = file.element(tags::INSTANCE_NUMBER).unwrap().to_int().unwrap();
        file.put(dicom_core::DataElement::new(tags::INSTANCE_NUMBER, VR::IS, (2 * number).to_string()));
        file.write_to_file(folder.path().join(format!("n{n}"))).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    let told = said(&read(folder.path(), None).unwrap());
    assert!(told.contains("missing all along") && told.contains("InstanceNumber"), "{told}");
}
