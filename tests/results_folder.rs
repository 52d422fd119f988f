//! A folder of results: whose they are, that nothing stale stands beside them, and the one table and page of all that
//! was done into it.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use ichor::network::weights::Weights;
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::template;
use ichor::volume::{Affine, Grid, resample};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::raw_dicom::{RawSeries, field_of};
use support::raw_nifti::{self, Codes};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with scans, and what makes a run take a second: hand-set weights and a coarse template.
struct Place {
    folder: tempfile::TempDir,
    /// The folder of results.
    output: String,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap(), output: "out".into() };
        Weights::hand_set().write(place.path("weights.safetensors")).unwrap();
        let fine = template::built_in();
        let affine = fine.grid().affine.after(&Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], [0.5; 3]));
        let coarse = Grid { shape: fine.grid().shape.map(|side| side / 2), affine };
        let coarse = resample::linear(&fine, &coarse, &Affine::IDENTITY, 0.0).unwrap();
        raw_nifti::write(&place.path("template.nii"), &coarse, Codes::Both);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.path(&self.output).join(name)
    }

    /// A head with a bleed; those with other numbers have other HU.
    fn scan(&self, name: &str, number: i32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let affine = Affine::new([[-4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]], [126.0, -126.0, -100.0]);
        let mut head = phantom::head_on(Grid { shape: [64, 64, 40], affine }).scan;
        head.voxels_mut()[0] += number as f32;
        raw_nifti::write(&path, &head, Codes::Both);
        path
    }

    /// A head as a DICOM series of a patient, in a folder.
    fn series(&self, name: &str, patient: &str, study: &str, series: &str) -> PathBuf {
        let path = self.path(name);
        let affine = Affine::new([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]], [-111.0; 3]);
        let head = phantom::head_on(Grid { shape: [56, 64, 56], affine });
        let heights: Vec<f64> = (0..37).map(|n| -105.0 + 6.0 * f64::from(n)).collect();
        let positions = heights.iter().map(|&z| [-99.0, -110.0, z]).collect();
        let raw = RawSeries { columns: 50, rows: 56, spacing: [4.0, 4.0], positions, ..RawSeries::axial(&heights) };
        let raw = raw.with(tags::PATIENT_ID, VR::LO, patient).with(tags::STUDY_INSTANCE_UID, VR::UI, study);
        raw.with(tags::SERIES_INSTANCE_UID, VR::UI, series).write(&path, &field_of(&head));
        path
    }

    fn command(&self, input: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ichor"));
        command.args(["segment", text(input), "-o", text(&self.path(&self.output)), "--threads", "1"]);
        command.args(["--weights", text(&self.path("weights.safetensors")), "--template", text(&self.path("template.nii"))]);
        command.args(more);
        command
    }

    fn run(&self, input: &Path, more: &[&str]) -> Output {
        self.command(input, more).output().unwrap()
    }

    fn done(&self, input: &Path, more: &[&str]) -> Output {
        let output = self.run(input, more);
        assert!(output.status.success(), "{}", said(&output));
        output
    }

    fn start(&self, input: &Path, more: &[&str]) -> Child {
        self.command(input, more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The files of results, without the table and the page.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path(&self.output)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "ichor.csv" && name != "ichor.html");
        names.sort();
        names
    }

    /// Name and status of each row.
    fn rows(&self) -> Vec<String> {
        let table = fs::read_to_string(self.out("ichor.csv")).unwrap();
        assert!(table.ends_with('\n') && table.starts_with("name,status,"), "{table}");
        table.lines().skip(1).map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// The bytes of every file of results.
    fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        self.files().into_iter().map(|name| (name.clone(), fs::read(self.out(&name)).unwrap())).collect()
    }

    fn report(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.out(&format!("{name}_ich.json"))).unwrap()).unwrap()
    }
}

#[test]
fn another_scan_of_the_same_name_replaces_nothing() {
    let place = Place::new();
    let (a, b) = (place.scan("a/scan.nii", 1), place.scan("b/scan.nii", 2));
    place.done(&a, &[]);
    let before = place.bytes();
    let table = fs::read(place.out("ichor.csv")).unwrap();
    // Refused, with options or without: nothing has changed, and the sentence names both and the ways out.
    for more in [&[][..], &["--threshold", "0.4", "--save", "brain"]] {
        let refused = place.run(&b, more);
        let sentence = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{sentence}");
        for part in [text(&a), text(&b), "--name", "--overwrite", "-o"] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
        assert!(printed(&refused).is_empty());
        assert!(place.bytes() == before && fs::read(place.out("ichor.csv")).unwrap() == table);
    }
    // In a batch too, before its first scan is done.
    place.scan("b/another.nii", 3);
    assert_eq!(place.run(&place.path("b"), &[]).status.code(), Some(1));
    assert!(place.bytes() == before && fs::read(place.out("ichor.csv")).unwrap() == table);
    // A scan that fails takes nothing from another either.
    fs::create_dir(place.path("c")).unwrap();
    fs::write(place.path("c/scan.nii"), b"no image").unwrap();
    for more in [&[][..], &["--overwrite"]] {
        let failed = place.run(&place.path("c/scan.nii"), more);
        assert_eq!(failed.status.code(), Some(1));
        assert!(said(&failed).contains("c/scan.nii"), "{}", said(&failed));
        assert!(place.bytes() == before && place.rows() == ["scan done"], "{}", said(&failed));
    }

    // The ways out.
    place.done(&b, &["--name", "scan_b"]);
    assert_eq!(place.rows(), ["scan done", "scan_b done"]);
    assert_eq!(place.report("scan_b")["input"], text(&b));
    assert!(place.bytes()["scan_ich.nii.gz"] == before["scan_ich.nii.gz"]);
    let replaced = place.done(&b, &["--overwrite"]);
    assert!(said(&replaced).contains("will be replaced"), "{}", said(&replaced));
    assert_eq!(place.report("scan")["input"], text(&b));
    // It is the other's now.
    assert_eq!(place.run(&a, &[]).status.code(), Some(1));
}

#[test]
fn a_scan_is_known_by_its_content() {
    let place = Place::new();
    let scan = place.scan("a/scan.nii", 1);
    place.done(&scan, &[]);
    // Moved, it is the same.
    fs::rename(place.path("a"), place.path("moved")).unwrap();
    let again = place.done(&place.path("moved/scan.nii"), &[]);
    assert!(printed(&again).contains("there already"), "{}", said(&again));
    // A file that was replaced by another scan at the same path is another one.
    let before = place.bytes();
    place.scan("moved/scan.nii", 2);
    let refused = place.run(&place.path("moved/scan.nii"), &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("scan.nii") && said(&refused).contains("--overwrite"), "{}", said(&refused));
    assert!(place.bytes() == before);
    place.scan("moved/scan.nii", 1);
    let touched = place.done(&place.path("moved/scan.nii"), &[]);
    assert!(printed(&touched).contains("there already"), "the same bytes, written again: {}", said(&touched));
}

#[test]
fn two_patients_whose_folders_have_one_name_are_not_mixed() {
    let place = Place::new();
    let first = place.series("p1/dicom", "p1", "2.25.21", "2.25.21.1");
    let second = place.series("p2/dicom", "p2", "2.25.22", "2.25.22.1");
    // Another patient under the very same UIDs, as careless tools give them.
    let third = place.series("p3/dicom", "p3", "2.25.21", "2.25.21.1");
    // Another series of the first patient and study, which lies elsewhere.
    let fourth = place.series("p4/dicom", "p1", "2.25.21", "2.25.21.2");
    place.done(&first, &["--no-picture"]);
    let before = place.bytes();
    for other in [&second, &third, &fourth] {
        let refused = place.run(other, &["--no-picture"]);
        let sentence = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{sentence}");
        assert!(sentence.contains(text(&first)) && sentence.contains(text(other)), "{sentence}");
        assert!(place.bytes() == before);
    }
    place.done(&second, &["--no-picture", "--name", "p2"]);
    assert_eq!(place.rows(), ["dicom done", "p2 done"]);
    // Two time points of different patients are told, those of one are not.
    let compare = |one: &str, other: &str| {
        let reports = [one, other].map(|name| place.out(&format!("{name}_ich.json")));
        said(&Command::new(env!("CARGO_BIN_EXE_ichor")).args(["compare"]).args(reports).output().unwrap())
    };
    assert!(compare("dicom", "p2").contains("the two are of different patients"), "{}", compare("dicom", "p2"));
    assert!(!compare("dicom", "dicom").contains("different patients"));
    // The folder itself is a scan of another patient now.
    fs::rename(&first, place.path("p1/old")).unwrap();
    fs::rename(&third, place.path("p1/dicom")).unwrap();
    assert_eq!(place.run(&first, &["--no-picture"]).status.code(), Some(1));
    // The same series from elsewhere, under its name, is known.
    fs::create_dir(place.path("archive")).unwrap();
    fs::rename(place.path("p1/old"), place.path("archive/dicom")).unwrap();
    let again = place.done(&place.path("archive/dicom"), &["--no-picture"]);
    assert!(printed(&again).contains("there already"), "{}", said(&again));
    assert!(place.bytes()["dicom_ich.dcm"] == before["dicom_ich.dcm"]);
    // Reports name no patient.
    let report = fs::read_to_string(place.out("dicom_ich.json")).unwrap();
    assert!(report.contains("\"patient\"") && !report.contains("\"p1\"") && report.ends_with("}\n"), "{report}");
}

#[test]
fn a_name_is_for_one_scan_and_is_a_name() {
    let place = Place::new();
    place.scan("scans/a.nii", 1);
    place.scan("scans/b.nii", 2);
    let several = place.run(&place.path("scans"), &["--name", "x"]);
    assert_eq!(several.status.code(), Some(1));
    assert!(said(&several).contains("--name is for a single scan, and there are 2"), "{}", said(&several));
    for name in ["", "../x", "a/b", ".x", "a\nb"] {
        assert_eq!(place.run(&place.path("scans/a.nii"), &["--name", name]).status.code(), Some(2), "{name:?}");
    }
    assert_eq!(place.run(&place.path("scans/a.nii"), &["--name", "a", "--shard", "1/2"]).status.code(), Some(2));
    assert!(!place.path("out").exists());
}

#[test]
fn nothing_of_other_options_stays_beside_a_result() {
    let place = Place::new();
    let series = place.series("head", "p1", "2.25.21", "2.25.21.1");
    place.done(&series, &["--save", "brain,probability,template,transform", "--dicom-report"]);
    let all = place.files();
    assert_eq!(all.len(), 10, "{all:?}");
    // What a kill has left.
    fs::write(place.out(".head_probability.nii.gz.partial"), b"half").unwrap();
    // With fewer outputs but otherwise the same, all of it belongs together, and stays.
    place.done(&series, &["--no-picture"]);
    assert_eq!(place.files().len(), 11);
    place.done(&series, &["--no-picture", "--threshold", "0.4"]);
    assert_eq!(place.files(), ["head_ich.dcm", "head_ich.json", "head_ich.nii.gz"]);
    // A NIfTI file in its place by --overwrite: no DICOM stays.
    let nifti = place.scan("head.nii", 1);
    place.done(&nifti, &["--overwrite", "--save", "transform"]);
    assert_eq!(place.files(), ["head_ich.json", "head_ich.nii.gz", "head_ich.png", "head_to_template.tfm"]);
    // A run that fails leaves what the scan had.
    let before = place.bytes();
    fs::write(&nifti, b"no image").unwrap();
    assert_eq!(place.run(&nifti, &["--threshold", "0.3"]).status.code(), Some(1));
    assert!(place.bytes() == before);
}

/// What is called like an output but lies there as a scan of the same call, or of an earlier one.
#[test]
fn an_input_is_neither_removed_nor_replaced_nor_taken_for_an_output() {
    let mut place = Place::new();
    place.output = "scans".into();
    let scans = place.path("scans");
    let (sub, brain) = (place.scan("scans/sub.nii.gz", 1), place.scan("scans/sub_brain.nii.gz", 2));
    let (sub_bytes, brain_bytes) = (fs::read(&sub).unwrap(), fs::read(&brain).unwrap());
    let unharmed = || fs::read(&sub).unwrap() == sub_bytes && fs::read(&brain).unwrap() == brain_bytes;
    place.done(&scans, &["--no-picture"]);
    assert!(unharmed());
    assert_eq!(place.rows(), ["sub done", "sub_brain done"]);
    // The report of `sub` lists no brain mask: sub_brain is a scan the next time too.
    for more in [&[][..], &["--threshold", "0.4"], &["--overwrite"]] {
        let again = place.done(&scans, &[&["--no-picture"], more].concat());
        assert!(unharmed() && printed(&again).contains("sub_brain\t"), "{more:?}: {}", printed(&again));
    }
    let before = place.bytes();
    for more in [&["--save", "brain"][..], &["--save", "brain", "--overwrite"]] {
        let refused = place.run(&scans, more);
        let sentence = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{sentence}");
        assert!(sentence.contains("sub_brain.nii.gz would be replaced, which this call reads"), "{sentence}");
        assert!(place.bytes() == before);
    }
    // A part of the list spares what other parts read.
    assert_eq!(place.run(&scans, &["--save", "brain", "--overwrite", "--shard", "1/2"]).status.code(), Some(1));
    assert!(unharmed());
}

/// The brain mask of one run, given to the next, is read and stays, though an earlier report lists it.
#[test]
fn a_brain_mask_of_an_earlier_run_can_be_given_to_the_next() {
    let place = Place::new();
    let scan = place.scan("a.nii", 1);
    place.done(&scan, &["--save", "brain"]);
    let (mask, given) = (place.out("a_brain.nii.gz"), fs::read(place.out("a_brain.nii.gz")).unwrap());
    place.done(&scan, &["--brain-mask", text(&mask)]);
    assert!(fs::read(&mask).unwrap() == given);
    assert_eq!(place.report("a")["choices"]["saved"].as_array().unwrap().len(), 0);
    let refused = place.run(&scan, &["--brain-mask", text(&mask), "--save", "brain", "--overwrite"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(fs::read(&mask).unwrap() == given);
}

#[test]
fn files_that_ichor_did_not_write_are_not_touched() {
    let place = Place::new();
    let scan = place.scan("foo.nii", 1);
    fs::create_dir(place.path("out")).unwrap();
    let foreign = ["foo_ich.nii.gz", "foo_brain.nii.gz", "foo_to_template.tfm", "foo_template.nii.gz"];
    for file in foreign {
        fs::write(place.out(file), file).unwrap();
    }
    let unharmed = |files: &[&str]| files.iter().all(|file| fs::read(place.out(file)).unwrap() == file.as_bytes());
    let refused = place.run(&scan, &[]);
    let sentence = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{sentence}");
    for part in ["foo_ich.nii.gz would be replaced", "-o", "--name", "--overwrite"] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    assert!(unharmed(&foreign) && place.files().len() == 4 && !place.out("ichor.csv").exists(), "{:?}", place.files());
    // --overwrite replaces what is to be written, nothing else.
    place.done(&scan, &["--overwrite"]);
    assert!(unharmed(&foreign[1..]) && fs::read(place.out("foo_ich.nii.gz")).unwrap() != b"foo_ich.nii.gz");
    // The report lists its own files, and only they are removed.
    place.done(&scan, &["--threshold", "0.4", "--no-picture"]);
    assert!(unharmed(&foreign[1..]) && !place.out("foo_ich.png").exists());
    assert_eq!(place.report("foo")["outputs"], serde_json::json!(["foo_ich.nii.gz"]));
    let refused = place.run(&scan, &["--save", "transform"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("foo_to_template.tfm"), "{}", said(&refused));
    assert!(unharmed(&foreign[1..]) && place.out("foo_ich.json").is_file());
    // A report that lists files elsewhere, or others of the folder, makes them nobody's.
    let mut report = place.report("foo");
    fs::write(place.path("precious"), "precious").unwrap();
    report["outputs"] = serde_json::json!(["foo_ich.nii.gz", "foo/../../precious", "foo_notes.txt"]);
    fs::write(place.out("foo_notes.txt"), "foo_notes.txt").unwrap();
    fs::write(place.out("foo_ich.json"), report.to_string()).unwrap();
    place.done(&scan, &["--threshold", "0.3", "--no-picture"]);
    assert!(unharmed(&["foo_notes.txt"]) && place.path("precious").is_file());
}

/// The states that a kill leaves: what was in the making is made by the same call, with no word of --overwrite.
#[test]
fn what_a_kill_has_left_is_known_as_ichors() {
    let place = Place::new();
    let scan = place.scan("a.nii", 1);
    place.done(&scan, &["--save", "brain"]);
    let masks = place.bytes();
    let begun = place.out(".a_ich.begun");
    // Before anything was removed, and after the report was written.
    fs::write(&begun, r#"["a_ich.json","a_ich.nii.gz","a_ich.png","a_brain.nii.gz"]"#).unwrap();
    let again = place.done(&scan, &[]);
    assert!(printed(&again).contains("there already") && !begun.exists(), "{}", printed(&again));
    // After the report was removed: half of the outputs are there. The folder of results is read too.
    fs::write(&begun, r#"["a_ich.json","a_ich.nii.gz","a_ich.png","a_brain.nii.gz"]"#).unwrap();
    fs::remove_file(place.out("a_ich.json")).unwrap();
    fs::remove_file(place.out("a_ich.png")).unwrap();
    fs::copy(&scan, place.out("a.nii")).unwrap();
    let output = place.done(&place.path("out"), &[]);
    assert_eq!(printed(&output).lines().count(), 1, "{}", printed(&output));
    assert_eq!(place.files(), ["a.nii", "a_ich.json", "a_ich.nii.gz", "a_ich.png"]);
    assert!(place.bytes()["a_ich.nii.gz"] == masks["a_ich.nii.gz"]);
}

#[test]
fn a_batch_that_must_stop_says_how_many_scans_it_did_not_try() {
    let place = Place::new();
    for number in 0..6 {
        place.scan(&format!("scans/s{number}.nii"), number);
    }
    let mut child = place.start(&place.path("scans"), &["--no-picture"]);
    while !place.out("s0_ich.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first scan was done");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The table cannot be written any more.
    let lock = fs::File::create(place.out(".ichor.csv.lock")).unwrap();
    lock.lock().unwrap();
    fs::write(place.out("ichor.csv"), "date,amount\n").unwrap();
    drop(lock);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = said(&output);
    assert!(sentence.contains("stopped: ") && sentence.contains(" of 6 scans were not tried"), "{sentence}");
    assert!(sentence.contains("no table of ichor"), "{sentence}");
}

/// `a --save template` writes a_template_ich.nii.gz, which is what the mask of a scan `a_template` is called.
#[test]
fn a_mask_in_template_space_is_not_mistaken_for_that_of_a_scan() {
    let place = Place::new();
    let (a, template) = (place.scan("scans/a.nii", 1), place.scan("scans/a_template.nii", 2));
    let both = place.run(&place.path("scans"), &["--save", "template"]);
    assert_eq!(both.status.code(), Some(1));
    assert!(said(&both).contains("a_template.nii") && place.files().is_empty(), "{}", said(&both));
    place.done(&template, &[]);
    let mask = fs::read(place.out("a_template_ich.nii.gz")).unwrap();
    assert_eq!(place.run(&a, &["--save", "template"]).status.code(), Some(1));
    place.done(&a, &[]);
    place.done(&a, &["--threshold", "0.4"]);
    assert!(fs::read(place.out("a_template_ich.nii.gz")).unwrap() == mask, "it is no file of another run of a");
    // The other way round.
    fs::remove_dir_all(place.path("out")).unwrap();
    place.done(&a, &["--save", "template"]);
    assert_eq!(place.run(&template, &[]).status.code(), Some(1));
}

#[test]
fn one_table_and_one_page_hold_what_every_call_has_done() {
    let place = Place::new();
    let b = place.scan("b.nii", 1);
    place.done(&b, &[]);
    assert!(!place.out("ichor.html").exists(), "a single scan needs no page");
    fs::write(place.path("c.nii"), b"no image").unwrap();
    assert_eq!(place.run(&place.path("c.nii"), &[]).status.code(), Some(1));
    place.done(&place.scan("a.nii", 2), &[]);
    assert_eq!(place.rows(), ["a done", "b done", "c failed"]);
    let page = fs::read_to_string(place.out("ichor.html")).unwrap();
    for name in ["a", "b", "c"] {
        assert!(page.contains(&format!("{{\"name\":\"{name}\"")), "{name} is on the page");
    }
    // Made again from the reports.
    let table = fs::read(place.out("ichor.csv")).unwrap();
    let remake = || Command::new(env!("CARGO_BIN_EXE_ichor")).args(["table", text(&place.path("out"))]).output().unwrap();
    let output = remake();
    assert!(output.status.success() && printed(&output).contains("3 scans, 1 failed"), "{}", said(&output));
    assert!(fs::read(place.out("ichor.csv")).unwrap() == table, "the same bytes");
    fs::remove_file(place.out("ichor.html")).unwrap();
    fs::remove_file(place.out("ichor.csv")).unwrap();
    assert!(remake().status.success());
    assert_eq!(place.rows(), ["a done", "b done"], "a failure is known to the table alone");
    assert!(place.out("ichor.html").is_file());
    fs::write(place.out("odd_ich.json"), b"{").unwrap();
    let odd = remake();
    assert_eq!(odd.status.code(), Some(1));
    assert!(said(&odd).contains("odd_ich.json"), "{}", said(&odd));
    // A table or page of somebody else is not replaced, and nothing is done.
    let (table, page) = (fs::read(place.out("ichor.csv")).unwrap(), fs::read(place.out("ichor.html")).unwrap());
    for (name, own, foreign) in [("ichor.csv", table, "name,age\n"), ("ichor.html", page, "<title>my notes</title>")] {
        fs::write(place.out(name), foreign).unwrap();
        let before = place.bytes();
        for more in [&[][..], &["--overwrite"]] {
            let refused = place.run(&b, more);
            let sentence = said(&refused);
            assert_eq!(refused.status.code(), Some(1), "{sentence}");
            assert!(sentence.contains(&format!("{name}: it is no ")) && sentence.contains("-o"), "{sentence}");
        }
        assert!(said(&remake()).contains(&format!("{name}: it is no ")), "{}", said(&remake()));
        assert!(place.bytes() == before && fs::read_to_string(place.out(name)).unwrap() == foreign);
        fs::write(place.out(name), own).unwrap();
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_ichor")).args(["table", text(&place.path("none"))]).output().unwrap();
    assert!(missing.status.code() == Some(1) && said(&missing).contains("none"), "{}", said(&missing));
}

#[test]
fn processes_that_write_one_folder_at_the_same_time_lose_nothing() {
    let place = Place::new();
    for number in 0..6 {
        place.scan(&format!("scans/s{number}.nii"), number);
    }
    fs::write(place.path("scans/s6.nii"), b"no image").unwrap();
    // Three parts, and twice all of it.
    let scans = place.path("scans");
    let parts = [&["--shard", "1/3"][..], &["--shard", "2/3"], &["--shard", "3/3"], &[], &[]];
    let children: Vec<Child> = parts.iter().map(|part| place.start(&scans, part)).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let status: Vec<Option<i32>> = outputs.iter().map(|output| output.status.code()).collect();
    assert_eq!(status, [Some(1), Some(0), Some(0), Some(1), Some(1)], "s6 is in the first part: {}", said(&outputs[1]));
    let expected: Vec<String> = (0..6).map(|n| format!("s{n} done")).chain(["s6 failed".to_string()]).collect();
    assert_eq!(place.rows(), expected);
    let page = fs::read_to_string(place.out("ichor.html")).unwrap();
    assert_eq!(page.matches("{\"name\":\"s").count(), 7);
    let files = place.files();
    assert_eq!(files.len(), 18, "three files of each, and no lock is left: {files:?}");
    // They are what one process makes.
    let masks = |place: &Place| {
        let bytes = place.bytes().into_iter();
        bytes.filter(|(name, _)| name.ends_with(".nii.gz")).collect::<BTreeMap<_, _>>()
    };
    let together = masks(&place);
    fs::remove_dir_all(place.path("out")).unwrap();
    place.run(&scans, &[]);
    assert!(masks(&place) == together);
}

#[test]
fn two_scans_of_one_name_at_the_same_time_are_not_mixed() {
    let place = Place::new();
    let (a, b) = (place.scan("a/scan.nii", 1), place.scan("b/scan.nii", 2));
    let children = [&a, &b].map(|scan| place.start(scan, &["--save", "brain,probability,template,transform"]));
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let mut status = outputs.each_ref().map(|output| output.status.code());
    status.sort();
    assert_eq!(status, [Some(0), Some(1)], "{} {}", said(&outputs[0]), said(&outputs[1]));
    assert_eq!(place.rows(), ["scan done"]);
    let winner = if outputs[0].status.success() { &a } else { &b };
    assert_eq!(place.report("scan")["input"], text(winner));
    assert!(printed(&place.done(winner, &[])).contains("there already"));
}

#[test]
fn a_kill_leaves_a_whole_table_and_the_next_run_ends_it() {
    let place = Place::new();
    for number in 0..5 {
        place.scan(&format!("scans/s{number}.nii"), number);
    }
    let scans = place.path("scans");
    for wait in [150, 400, 700, 1000] {
        let mut children = [&["--shard", "1/2"], &["--shard", "2/2"]].map(|part| place.start(&scans, part));
        std::thread::sleep(Duration::from_millis(wait));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // Whole: each row has all columns, and each mask that is told of is there.
        if place.out("ichor.csv").exists() {
            for row in place.rows() {
                let name = row.strip_suffix(" done").unwrap();
                assert!(place.out(&format!("{name}_ich.nii.gz")).is_file(), "{row}");
            }
        }
    }
    place.done(&scans, &["--no-picture"]);
    assert_eq!(place.rows().len(), 5);
    let hidden: Vec<String> = place.files().into_iter().filter(|name| name.starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn a_table_that_another_process_holds_is_not_waited_for_without_end() {
    let place = Place::new();
    let scan = place.scan("a.nii", 1);
    fs::create_dir(place.path("out")).unwrap();
    let lock = fs::File::create(place.out(".ichor.csv.lock")).unwrap();
    lock.lock().unwrap();
    let mut child = place.start(&scan, &[]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.rows(), ["a done"]);
    // The file alone, as a kill leaves it, holds nobody up.
    fs::write(place.out(".ichor.csv.lock"), b"").unwrap();
    place.done(&scan, &[]);
    assert!(!place.out(".ichor.csv.lock").exists());
}

#[test]
fn results_with_warnings_are_marked_and_a_batch_says_how_far_it_is() {
    let place = Place::new();
    place.scan("scans/a.nii", 1);
    // Slices of 9 mm.
    let affine = Affine::new([[-4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 9.0]], [126.0, -126.0, -100.0]);
    let head = phantom::head_on(Grid { shape: [64, 64, 22], affine }).scan;
    raw_nifti::write(&place.path("scans/thick.nii"), &head, Codes::Both);
    let scans = place.path("scans");
    let output = place.done(&scans, &[]);
    let line = |output: &Output, name: &str| printed(output).lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(line(&output, "a\t").ends_with(" voxels"), "{}", printed(&output));
    assert!(line(&output, "thick\t").contains("(warning"), "{}", printed(&output));
    let messages = said(&output);
    assert!(messages.contains("ichor: 1/2, about ") && messages.contains(" left\n"), "{messages}");
    assert!(messages.contains("ichor: 2/2\n"), "{messages}");
    let again = place.done(&scans, &["--quiet"]);
    assert!(line(&again, "thick\t").contains("(there already; warning"), "{}", printed(&again));
    assert_eq!(said(&again), "");
    let single = place.done(&scans.join("a.nii"), &["--overwrite"]);
    assert!(!said(&single).contains("1/1"), "{}", said(&single));
}

/// Files that lead in a circle, and one file under two names.
#[cfg(unix)]
#[test]
fn a_scan_that_links_lead_to_twice_is_done_once() {
    let place = Place::new();
    let series = place.series("scans/head", "p1", "2.25.21", "2.25.21.1");
    let link = |target: &str, link: PathBuf| std::os::unix::fs::symlink(target, link).unwrap();
    link("..", series.join("parent"));
    link("head", place.path("scans/again"));
    let file = fs::read_dir(&series).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    link(file.file_name().unwrap().to_str().unwrap(), series.join("copy.dcm"));
    let output = place.done(&place.path("scans"), &["--no-picture"]);
    assert_eq!(place.rows(), ["head done"]);
    let report = place.report("head");
    assert_eq!((&report["dicom"]["Slices"], report["dicom"]["Doubts"].as_array().unwrap().len()), (&37.into(), 0), "{report}");
    assert!(!said(&output).contains("left out"), "{}", said(&output));
    // Two files of it, and its folder, are one scan as well.
    fs::remove_file(series.join("copy.dcm")).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(&series).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    let again = place.done(&files[0], &[text(&files[1]), text(&series), "--no-picture"]);
    assert_eq!(printed(&again).matches("there already").count(), 1, "{}", printed(&again));
    assert_eq!(place.rows(), ["head done"]);
}
