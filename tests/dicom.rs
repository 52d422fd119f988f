//! DICOM series as a user has them: written by the tests from fields of place, read, corrected, and compared with what the fields say.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use ichor::batch::inputs::{self, Scan};
use ichor::io::dicom::{self, LEAST_SLICES, Series, Slice, Stack, Study};
use ichor::io::nifti;
use ichor::volume::{Affine, Grid, Volume, orientation::Orientation};
use std::path::Path;
use support::raw_dicom::RawSeries;

/// HU that grow differently along each direction of the patient (LPS mm): a flip, a shift or a stretch changes them.
fn field([x, y, z]: [f64; 3]) -> f64 {
    1.0 * x + 2.0 * y + 4.0 * z
}

fn read(folder: &Path) -> Scan {
    inputs::read_one(folder, None).unwrap()
}

/// The field at a voxel of a volume in RAS millimetres.
fn expected(grid: &Grid, ijk: [usize; 3], field: impl Fn([f64; 3]) -> f64) -> f64 {
    let [x, y, z] = grid.affine.apply(ijk.map(|n| n as f64));
    field([-x, -y, z])
}

/// Checks that every voxel of these rows has the field's value at its place, and gives how many there are.
fn check_field(volume: &Volume<f32>, rows: std::ops::Range<usize>) -> usize {
    let [ni, _, nk] = volume.grid().shape;
    for (k, j, i) in (0..nk).flat_map(|k| rows.clone().flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
        let found = *volume.at([i, j, k]);
        let expected = expected(volume.grid(), [i, j, k], field);
        assert!((f64::from(found) - expected).abs() < 1.6, "voxel {i}, {j}, {k}: {found} for {expected}");
    }
    ni * nk * rows.len()
}

/// An ellipsoid of 330 HU in 30 HU; its volume is known. (Dense, so that whole HU do not move its border.)
const AXES: [f64; 3] = [34.0, 38.0, 40.0];
const CENTRE: [f64; 3] = [3.0, -4.0, 52.0];

fn ellipsoid(point: [f64; 3]) -> f64 {
    let square: f64 = (0..3).map(|n| ((point[n] - CENTRE[n]) / AXES[n]).powi(2)).sum();
    // A border of about 4 mm, as a scanner's: half of the step is on the ellipsoid.
    let outside = (square.sqrt() - 1.0) * 38.0;
    30.0 + 300.0 * (0.5 - outside / 4.0).clamp(0.0, 1.0)
}

fn ellipsoid_ml() -> f64 {
    4.0 / 3.0 * std::f64::consts::PI * AXES.iter().product::<f64>() / 1000.0
}

fn above_180_ml(volume: &Volume<f32>) -> f64 {
    volume.voxels().iter().filter(|&&hu| hu > 180.0).count() as f64 * volume.grid().voxel_mm3() / 1000.0
}

/// Heights with unequal gaps: thin slices below, thick ones above.
fn unequal() -> Vec<f64> {
    let mut heights: Vec<f64> = (0..20).map(|n| 2.5 * f64::from(n)).collect();
    heights.extend((0..12).map(|n| 52.5 + 5.0 * f64::from(n)));
    heights
}

fn equal() -> Vec<f64> {
    (0..36).map(|n| 3.0 * f64::from(n)).collect()
}

#[test]
fn every_voxel_has_the_value_of_its_place_in_all_ways_to_lie() {
    let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
    let minus = |v: [f64; 3]| v.map(|c: f64| -c);
    // Head or feet first, on the back or the face, axial, coronal, sagittal: row and column directions; slices go along any normal.
    for (along_row, along_column, step) in
        [(x, y, z), (x, y, minus(z)), (minus(x), minus(y), z), (minus(x), y, z), (x, minus(z), y), (y, minus(z), x)]
    {
        let folder = tempfile::tempdir().unwrap();
        let positions = (0..6).map(|n| [0, 1, 2].map(|c| -20.0 + 3.0 * f64::from(n) * step[c])).collect();
        let series =
            RawSeries { columns: 12, rows: 9, spacing: [1.5, 2.5], along_row, along_column, positions, texts: Vec::new() };
        series.write(folder.path(), &field);
        let scan = read(folder.path());
        assert_eq!(check_field(&scan.volume, 0..9), 12 * 9 * 6, "{along_row:?} {along_column:?}");
        assert!(scan.warnings.is_empty() && scan.series.unwrap().tilt.is_none());
        // What is written says the same.
        let path = folder.path().join("out.nii.gz");
        nifti::write(&path, &scan.volume, &scan.header).unwrap();
        let again = nifti::read(&path).unwrap();
        assert!(again.warnings.is_empty(), "qform and sform agree: {:?}", again.warnings);
        check_field(&again.volume, 0..9);
    }
}

#[test]
fn left_stays_left() {
    let folder = tempfile::tempdir().unwrap();
    // One bright block at the patient's left (LPS x > 0), in front (y < 0), at the top.
    let block = |[x, y, z]: [f64; 3]| if x > 30.0 && y < -30.0 && z > 20.0 { 500.0 } else { 0.0 };
    RawSeries::axial(&[0.0, 5.0, 10.0, 15.0, 20.0, 25.0]).write(folder.path(), &block);
    let volume = read(folder.path()).volume;
    assert_eq!(Orientation::of(&volume.grid().affine).letters(), "LAS");
    let [ni, nj, nk] = volume.grid().shape;
    assert_eq!(*volume.at([ni - 1, nj - 1, nk - 1]), 500.0);
    let [x, y, _] = volume.grid().affine.apply([(ni - 1) as f64, (nj - 1) as f64, 0.0]);
    assert!(x < 0.0 && y > 0.0, "RAS: left is negative, front positive");
    assert_eq!(volume.voxels().iter().filter(|&&hu| hu > 0.0).count() % 17, 0);
}

#[test]
fn tilted_and_unequal_series_put_every_voxel_where_it_was() {
    for degrees in [0.0, 20.0, -20.0] {
        for heights in [equal(), unequal()] {
            let folder = tempfile::tempdir().unwrap();
            RawSeries::tilted(&heights, degrees).write(folder.path(), &field);
            let scan = read(folder.path());
            let converted = scan.series.unwrap();
            assert_eq!(converted.tilt.map_or(0.0, |tilt| tilt.degrees).round(), degrees.abs());
            assert_eq!(converted.spacing.is_some(), heights == unequal());
            // In these rows there are pixels of all slices.
            let added = converted.tilt.map_or(0, |tilt| tilt.added[1]);
            assert_eq!(converted.grid.shape[1], 56 + added);
            assert!(check_field(&scan.volume, added..56) > 64 * 30 * converted.grid.shape[2]);
        }
    }
}

/// What counts as unequal, how many slices there may be then, and what is no tilt.
#[test]
fn distances_are_made_equal_where_they_are_not_and_only_there() {
    let converted = |raw: RawSeries| {
        let folder = tempfile::tempdir().unwrap();
        raw.write(folder.path(), &field);
        let scan = read(folder.path());
        // Beyond the last slice, by less than one, that one goes on.
        let series = scan.series.as_ref().unwrap();
        let last = series.series.slices.last().unwrap().position[2];
        let [ni, nj, nk] = scan.volume.grid().shape;
        for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i)))) {
            let found = f64::from(*scan.volume.at([i, j, k]));
            let right = expected(scan.volume.grid(), [i, j, k], |[x, y, z]| field([x, y, z.min(last)]));
            assert!((found - right).abs() < 1.6, "{i}, {j}, {k}: {found} for {right}");
        }
        scan.series.unwrap()
    };
    // Two slices nearer to each other: none lies far from a regular grid, but gaps of 3.15 and 2.7 mm are not equal.
    let near = |mm: f64| {
        let place = |n: usize| 3.0 * n as f64 + if n == 10 { mm } else { 0.0 } - if n == 11 { mm } else { 0.0 };
        (0..20).map(place).collect::<Vec<f64>>()
    };
    let made_equal = converted(RawSeries::axial(&near(0.15)));
    assert!(made_equal.spacing.is_some_and(|spacing| (spacing.largest - 3.15).abs() < 1e-6 && spacing.slices == 20));
    assert!((made_equal.grid.spacing()[2] - 2.7).abs() < 1e-6);
    assert!(converted(RawSeries::axial(&near(0.05))).spacing.is_none(), "rounded positions");
    // Gaps that each are nearly the first: together they are not.
    let drifting: Vec<f64> = (0..20).map(|n| 3.0 * f64::from(n) + 0.005 * f64::from(n * n)).collect();
    assert!(converted(RawSeries::axial(&drifting)).spacing.is_some());
    // One small gap makes no more than twice the slices.
    let one_gap = converted(RawSeries::axial(&[0.0, 1.0, 11.0, 21.0, 31.0, 41.0, 51.0]));
    assert_eq!(one_gap.grid.shape[2], 14);
    assert!((one_gap.grid.spacing()[2] - 51.0 / 13.0).abs() < 1e-6);
    // Less than a tenth of a pixel over all slices is rounding.
    let equal = equal();
    assert!(converted(RawSeries::tilted(&equal, 0.05)).tilt.is_none());
    let tilt = |degrees| {
        let folder = tempfile::tempdir().unwrap();
        RawSeries::tilted(&equal, degrees).write(folder.path(), &field);
        read(folder.path()).series.unwrap().tilt
    };
    assert!(tilt(0.2).is_some_and(|tilt| tilt.added == [0, 1]));
}

#[test]
fn volumes_stay_right_under_tilt_and_unequal_spacing() {
    for degrees in [0.0, 22.0, -22.0] {
        for heights in [equal(), unequal()] {
            let folder = tempfile::tempdir().unwrap();
            RawSeries::tilted(&heights, degrees).write(folder.path(), &ellipsoid);
            let (found, known) = (above_180_ml(&read(folder.path()).volume), ellipsoid_ml());
            let off = found / known - 1.0;
            println!("{degrees} degrees, {} slices: {:.2}% off", heights.len(), 100.0 * off);
            assert!(off.abs() < 0.01, "{degrees} degrees, {} slices: {found} for {known} mL", heights.len());
        }
    }
}

fn dice(a: &[Vec<bool>], b: &[Vec<bool>]) -> f64 {
    let count = |mask: &[Vec<bool>]| mask.iter().flatten().filter(|&&inside| inside).count() as f64;
    let both = a.iter().flatten().zip(b.iter().flatten()).filter(|&(&a, &b)| a && b).count() as f64;
    2.0 * both / (count(a) + count(b))
}

#[test]
fn a_mask_drawn_on_the_slices_comes_back_to_them() {
    for degrees in [0.0, 22.0, -22.0] {
        for heights in [equal(), unequal()] {
            let folder = tempfile::tempdir().unwrap();
            let raw = RawSeries::tilted(&heights, degrees);
            raw.write(folder.path(), &ellipsoid);
            let slices = read(folder.path()).series.unwrap().series.slices;
            let drawn: Vec<Vec<bool>> =
                (0..slices.len()).map(|n| raw.pixels(n, &ellipsoid).iter().map(|&hu| hu > 180).collect()).collect();
            assert!(slices.windows(2).all(|pair| pair[0].position[2] < pair[1].position[2]), "the slices are in order");
            let values: Vec<Vec<f32>> =
                drawn.iter().map(|mask| mask.iter().map(|&inside| 100.0 * f32::from(u8::from(inside))).collect()).collect();
            let volume = dicom::correct(Stack::of_values(&slices, &values)).unwrap().volume;
            let back = dicom::onto_slices(&slices, &volume.map(|&value| value > 50.0)).unwrap();
            let dice = dice(&drawn, &back);
            println!("{degrees} degrees, {} slices: Dice {dice:.4}", slices.len());
            assert!(dice > 0.97, "{degrees} degrees, {} slices: {dice}", slices.len());
        }
    }
}

#[test]
fn slices_know_what_a_segmentation_object_refers_to() {
    let folder = tempfile::tempdir().unwrap();
    RawSeries::tilted(&[0.0, 4.0, 8.0], 10.0).write(folder.path(), &field);
    let series = read(folder.path()).series.unwrap().series;
    let Slice { sop_instance_uid, frame, rows, columns, path, .. } = &series.slices[2];
    assert_eq!((sop_instance_uid.as_str(), *frame, *rows, *columns), ("2.25.30.3", None, 56, 64));
    assert!(dicom::is_dicom(path).unwrap());
    assert_eq!(series.identity.study_uid, "2.25.20");
}

/// The studies below a folder.
fn studies(folder: &Path) -> Vec<Study> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    dicom::study::find(&entries.collect::<Vec<_>>())
}

fn chosen(folder: &Path, wanted: Option<&str>) -> Series {
    let mut studies = studies(folder);
    assert_eq!(studies.len(), 1);
    studies.remove(0).choose(wanted).unwrap()
}

#[test]
fn of_several_series_the_axial_original_soft_one_of_most_slices_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let write = |uid: &str, number: &str, raw: RawSeries| {
        let raw = raw.with(tags::SERIES_INSTANCE_UID, VR::UI, uid).with(tags::SERIES_NUMBER, VR::IS, number);
        raw.write(folder.path(), &field);
    };
    let kernel = |raw: RawSeries, name: &str| raw.with(tags::CONVOLUTION_KERNEL, VR::SH, name);
    let kind = |raw: RawSeries, name: &str| raw.with(tags::IMAGE_TYPE, VR::CS, name);
    let coronal = RawSeries { along_column: [0.0, 0.0, -1.0], ..RawSeries::axial(&[0.0; 9]) };
    let positions = (0..9).map(|n| [-63.0, 3.0 * f64::from(n), 50.0]).collect();
    write("2.25.1", "1", kind(RawSeries::axial(&[0.0]), "ORIGINAL\\PRIMARY\\LOCALIZER"));
    write("2.25.2", "2", kernel(RawSeries { positions, ..coronal }, "STANDARD"));
    write("2.25.3", "3", kind(kernel(RawSeries::axial(&[0., 2., 4., 6., 8., 10.]), "STANDARD"), "DERIVED\\SECONDARY\\AXIAL"));
    write("2.25.4", "4", kernel(RawSeries::axial(&[0., 2., 4., 6., 8.]), "BONE"));
    write("2.25.5", "5", kernel(RawSeries::axial(&[0., 4., 8.]), "STANDARD"));
    write("2.25.6", "6", kernel(RawSeries::axial(&[0., 3., 6., 9.]), "STANDARD"));
    let series = chosen(folder.path(), None);
    assert_eq!((series.identity.series_number, series.slices.len()), (Some(6), 4));
    assert!(series.choice.contains("of 5 series") && series.choice.contains("sharp kernel BONE"), "{}", series.choice);
    assert_eq!(chosen(folder.path(), Some("4")).identity.series_uid, "2.25.4");
    assert_eq!(chosen(folder.path(), Some("2.25.3")).slices.len(), 6);
    let missing = studies(folder.path())[0].choose(Some("77")).unwrap_err().to_string();
    assert!(missing.contains("\"77\"") && missing.contains("2.25.4"), "{missing}");
}

#[test]
fn slices_that_are_missing_or_doubled_are_told() {
    let folder = tempfile::tempdir().unwrap();
    RawSeries::axial(&[0.0, 3.0, 6.0, 12.0, 15.0, 18.0, 18.0]).write(folder.path(), &field);
    let scan = read(folder.path());
    let said: Vec<String> = scan.warnings.iter().map(|warning| warning.to_string()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("1 of 7 slices") && said[1].contains("1 slice is missing in a gap of 6.0 mm"), "{said:?}");
    // The gap is filled: seven slices of 3 mm, with the right values.
    assert_eq!(scan.volume.grid().shape[2], 7);
    check_field(&scan.volume, 0..56);
}

#[test]
fn each_study_of_a_folder_is_a_scan_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for (name, uid) in [("a", "2.25.21"), ("b", "2.25.22")] {
        let raw = RawSeries::axial(&[0.0, 3.0, 6.0]).with(tags::STUDY_INSTANCE_UID, VR::UI, uid);
        raw.with(tags::SERIES_INSTANCE_UID, VR::UI, &format!("{uid}.1")).write(&folder.path().join(name), &field);
    }
    let root = folder.path().to_path_buf();
    let names = |input: &Path| {
        let jobs = inputs::find(&[input.to_path_buf()]).unwrap();
        jobs.into_iter().map(|job| job.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&root), ["a", "b"]);
    let several = inputs::read_one(&root, None).unwrap_err().to_string();
    assert!(several.contains("2 studies"), "{several}");
    assert_eq!(inputs::read_one(&root, Some("2.25.22.1")).unwrap().volume.grid().shape[2], 3);
    // One file stands for its series.
    let file = std::fs::read_dir(root.join("a")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(names(&file), ["a"]);
    assert_eq!(read(&file).volume.grid().shape[2], 3);
}

/// What is said about a folder that `make` has filled.
fn said(make: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let said = inputs::read_one(folder.path(), None).unwrap_err().to_string();
    assert!(said.contains(folder.path().to_str().unwrap()), "{said} names the folder");
    assert!(!said.contains('\n'), "one sentence: {said}");
    said
}

#[test]
fn bad_dicom_gets_one_clear_sentence() {
    let good = || RawSeries::axial(&[0.0, 3.0, 6.0, 9.0]);
    let cut = |keep: f64| {
        said(|folder| {
            good().write(folder, &field);
            let path = folder.join("2.25.30_14");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..(keep * bytes.len() as f64) as usize]).unwrap();
        })
    };
    for keep in [0.03, 0.05, 0.5, 0.99] {
        let said = cut(keep);
        assert!(said.contains("2.25.30_14") && said.contains("cut"), "{keep}: {said}");
    }
    let mixed = said(|folder| {
        good().write(folder, &field);
        let other = good().with(tags::PATIENT_ID, VR::LO, "other").with(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31");
        other.write(folder, &field);
    });
    assert!(mixed.contains("different patients (other, phantom)"), "{mixed}");
    for (tag, name) in [
        (tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient (0020,0032)"),
        (tags::PIXEL_SPACING, "PixelSpacing (0028,0030)"),
        (tags::RESCALE_INTERCEPT, "RescaleIntercept (0028,1052)"),
        (tags::ROWS, "Rows (0028,0010)"),
    ] {
        let said = said(|folder| good().with(tag, VR::DS, "").write(folder, &field));
        assert!(said.contains(name) && said.contains("missing"), "{said}");
    }
    let localizer = said(|folder| good().with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER").write(folder, &field));
    assert!(localizer.contains("4 files are a localizer"), "{localizer}");
    let one = said(|folder| RawSeries::axial(&[0.0]).write(folder, &field));
    assert!(one.contains("1 slice: a volume needs at least 3"), "{one}");
    assert_eq!(LEAST_SLICES, 3);
    let text = said(|folder| std::fs::write(folder.join("notes.txt"), "no scan").unwrap());
    assert!(text.contains("no NIfTI file") && text.contains("no DICOM file"), "{text}");
}

/// A deflated file of a few hundred kilobytes that would inflate to 520 MiB.
fn write_bomb(path: &Path) {
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write;
    let explicit = std::fs::read(corpus("deflated")).unwrap();
    let start = 132 + 12 + u32::from_le_bytes(explicit[140..144].try_into().unwrap()) as usize;
    let mut bomb = DeflateEncoder::new(explicit[..start].to_vec(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..520 {
        bomb.write_all(&zeros).unwrap();
    }
    std::fs::write(path, bomb.finish().unwrap()).unwrap();
}

#[test]
fn a_zip_bomb_is_refused_and_not_inflated() {
    let said = said(|folder| write_bomb(&folder.join("bomb")));
    assert!(said.contains("inflates to"), "{said}");
}

#[test]
fn a_localizer_of_the_same_study_is_no_scan_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    RawSeries::axial(&[0.0, 3.0, 6.0]).write(&folder.path().join("axial"), &field);
    let localizer = |study: &str| {
        let raw = RawSeries::axial(&[0.0]).with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
        raw.with(tags::STUDY_INSTANCE_UID, VR::UI, study).with(tags::SERIES_INSTANCE_UID, VR::UI, &format!("{study}.9"))
    };
    let names = || inputs::find(&[folder.path().into()]).unwrap().into_iter().map(|job| job.name).collect::<Vec<_>>();
    localizer("2.25.20").write(&folder.path().join("scout"), &field);
    assert_eq!(names(), ["axial"]);
    // That of another patient, whose scan is missing, is told; where one scan is wanted, it is clear which.
    localizer("2.25.21").write(&folder.path().join("another"), &field);
    assert_eq!(names(), ["another", "axial"]);
    assert_eq!(read(folder.path()).volume.grid().shape[2], 3);
}

/// Runs the program: its exit status and what it says on standard error.
fn ichor(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Names of the files in a folder, sorted; none where there is no folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_program_says_what_is_wrong_with_each_bad_series_and_leaves_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let scans = folder.path().join("scans");
    let write = |name: &str, raw: RawSeries| {
        // A study for each folder.
        let uid = format!("2.25.4{}", name.as_bytes()[0]);
        raw.with(tags::STUDY_INSTANCE_UID, VR::UI, &uid).write(&scans.join(name), &field);
    };
    let good = || RawSeries::axial(&[0.0, 3.0, 6.0, 9.0]);
    write("cut", good());
    let file = scans.join("cut/2.25.30_14");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    write("mixed", good());
    write("mixed", good().with(tags::PATIENT_ID, VR::LO, "other").with(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31"));
    write("untold", good().with(tags::PIXEL_SPACING, VR::DS, ""));
    write("localizer", good().with(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER"));
    write("slice", RawSeries::axial(&[0.0]));
    std::fs::create_dir(scans.join("bomb")).unwrap();
    write_bomb(&scans.join("bomb/image"));
    let wrong = [
        ("bomb", "image: 536870913 bytes that the deflated data set inflates to", "damaged"),
        ("cut", "2.25.30_14: the file is cut", "copy it again"),
        ("localizer", "4 files are a localizer", "give the folder of the axial series"),
        ("mixed", "different patients (other, phantom)", "sort them into folders"),
        ("slice", "has 1 slice", "give the folder that holds all of them"),
        ("untold", "PixelSpacing (0028,0030) is missing", "export the series again"),
    ];
    let out = folder.path().join("out");
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let (status, said) = ichor(&["segment", &text(&scans), "-o", &text(&out)]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("6 of 6 scans failed") && !said.contains("panicked"), "{said}");
    assert_eq!(files(&out), ["ichor.csv", "ichor.html"]);
    let table = std::fs::read_to_string(out.join("ichor.csv")).unwrap();
    assert_eq!(table.lines().count(), 7, "{table}");
    for (name, what, remedy) in wrong {
        let row =
            table.lines().find(|line| line.starts_with(&format!("{name},failed,"))).unwrap_or_else(|| panic!("{name}: {table}"));
        assert!(row.contains(what) && row.contains(remedy), "{name}: {row}");
        // Alone it is the same sentence, for each command that reads a scan.
        let scan = text(&scans.join(name));
        let alone = folder.path().join(name);
        std::fs::create_dir(&alone).unwrap();
        for command in ["segment", "convert", "brain", "register"] {
            let output = if command == "segment" { alone.clone() } else { alone.join(format!("{command}.nii.gz")) };
            let (status, said) = ichor(&[command, &scan, "-o", &text(&output)]);
            assert_eq!(status, Some(1), "{command} {name}: {said}");
            let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("ichor: error: ")).collect();
            assert!(errors.len() == 1 && errors[0].contains(&scan), "{command} {name}: {said}");
            assert!(errors[0].contains(what) && errors[0].contains(remedy), "{command} {name}: {said}");
        }
        assert_eq!(files(&alone), ["ichor.csv"], "{name}");
    }
}

fn corpus(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dicom").join(format!("{name}.dcm"))
}

/// The picture of the small files: 32 rows of 40, written by pydicom and GDCM from this formula, in HU.
fn picture(row: i32, column: i32) -> f32 {
    let disk = if (row - 16).pow(2) + (column - 20).pow(2) < 60 { 1000 } else { 0 };
    ((row * 37 + column * column * 11) % 900 + disk - 1024) as f32
}

#[test]
fn every_transfer_syntax_gives_the_same_pixels() {
    let lossless = ["rle", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "jpeg_2000_signed"];
    for name in ["explicit", "implicit", "big_endian", "deflated", "signed"].into_iter().chain(lossless) {
        let slices = dicom::read_bytes(&std::fs::read(corpus(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected: Vec<f32> = (0..32).rev().flat_map(|row| (0..40).map(move |column| picture(row, column))).collect();
        assert_eq!(slices, [expected], "{name}");
    }
}

/// A disk of the greatest stored value on the least one: what lossy compression adds to either must not come out at the other end.
#[test]
fn lossy_samples_stay_in_their_range() {
    let slices = dicom::read_bytes(&std::fs::read(corpus("jpeg_2000_lossy")).unwrap()).unwrap();
    let expected = (0..32).rev().flat_map(|row| (0..40).map(move |column| (row - 16i32).pow(2) + (column - 20i32).pow(2) < 60));
    for (hu, disk) in slices[0].iter().zip(expected) {
        let expected = if disk { 3071.0 } else { -1024.0 };
        assert!((-1024.0..=3071.0).contains(hu) && (hu - expected).abs() < 400.0, "{hu} for {expected}");
    }
}

#[test]
fn frames_of_an_enhanced_file_are_sorted_by_their_own_positions() {
    let scan = read(&corpus("enhanced"));
    assert_eq!(scan.volume.grid().shape, [40, 32, 3]);
    let affine = Affine::new([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]], [10.0, -23.0, 5.0]);
    assert_eq!(scan.volume.grid().affine, affine);
    for k in 0..3 {
        assert_eq!(*scan.volume.at([7, 31 - 4, k]), picture(4, 7) + k as f32);
    }
    let frames: Vec<_> = scan.series.unwrap().series.slices.iter().map(|slice| slice.frame).collect();
    assert_eq!(frames, [Some(2), Some(3), Some(1)]);
}

#[test]
fn the_tilted_scan_is_as_dcm2niix_makes_it() {
    let Some(folder) = support::shared("data/ge_tilt") else { return };
    let scan = read(&folder.join("dicom"));
    let theirs = nifti::read(folder.join("dcm2niix/ge_tilt_eq.nii.gz")).unwrap().volume;
    assert_eq!(scan.volume.grid().shape, theirs.grid().shape);
    let rows = |grid: &Grid| grid.affine.rows.into_iter().flatten().collect::<Vec<f64>>();
    assert!(rows(scan.volume.grid()).iter().zip(rows(theirs.grid())).all(|(a, b)| (a - b).abs() < 1e-3));
    let differences = scan.volume.voxels().iter().zip(theirs.voxels()).map(|(a, b)| f64::from((a - b).abs()));
    let mean = differences.sum::<f64>() / theirs.voxels().len() as f64;
    assert!(mean < 0.01, "{mean} HU");
    // Before the corrections: every voxel.
    let stack = Stack::read(&scan.series.unwrap().series).unwrap();
    let plain = nifti::read(folder.join("dcm2niix/ge.nii.gz")).unwrap().volume;
    assert_eq!(stack.hu, plain.voxels());
}
