//! The program as a user meets it: exit status, messages, outputs, a batch that goes on.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
#[cfg(feature = "emulator")]
use ichor::io::nifti;
use ichor::network::weights::Weights;
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::template;
use ichor::volume::{Affine, Grid, Volume, resample};
use std::path::Path;
use std::process::{Command, Output};
use support::raw_dicom::{RawSeries, field_of};
use support::raw_nifti::{self, Codes};

fn ichor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A coarse phantom: fast, and enough for brain extraction and registration.
fn write_scan(path: &Path) {
    let affine = Affine::new([[-3.0, 0.0, 0.0], [0.0, 3.1, 0.0], [0.0, 0.0, 4.0]], [99.0, -105.0, -104.0]);
    let phantom = phantom::head_on(Grid { shape: [64, 70, 48], affine });
    raw_nifti::write(path, &phantom.scan, Codes::Both);
}

#[test]
fn wrong_use_is_status_2() {
    for arguments in [
        &["segment"][..],
        &["nonsense"],
        &["segment", "a.nii", "-o", "b", "--threshold", "7"],
        &["bench", "--size", "1,2"],
        &["demo", "--grade", "fast"],
        &["segment", "a.nii", "-o", "b", "--shard", "3/2"],
        &["bench", "--threads", "65535"],
        &["brain", "a.nii", "-o", "b", "--threads", "0"],
        &["devices", "-q", "--log-level", "debug"],
        &["segment", "a.nii", "-o", "b", "--smooth=0"],
        &["phantom", "-o", "a", "--without-bleed", "2"],
        &["phantom", "-o", "a", "--volume", "5,1"],
        &["phantom", "-o", "a", "--tilt", "80"],
        &["phantom", "-o", "a", "--into", "b.nii", "--matrix", "9,9,9"],
        &["evaluate", "-o", "a"],
        &["evaluate", "-o", "a", "--automated", "b"],
        &["evaluate", "-o", "a", "--pairs", "b.csv", "--lesion-iou", "1"],
    ] {
        assert_eq!(ichor(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_demo_finds_its_bleed_and_warns_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = ichor(&["demo", "--device", "cpu", "-o", text(&out)]);
    assert!(output.status.success() && !said(&output).contains("warning"), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let dice = printed.lines().find_map(|line| line.strip_prefix("Dice")).and_then(|dice| dice.trim().parse::<f64>().ok());
    assert!(dice.is_some_and(|dice| dice > 0.9), "{printed}");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("demo.json")).unwrap()).unwrap();
    assert_eq!(kept["dice"].as_f64().map(|dice| format!("{dice:.3}")), dice.map(|dice| format!("{dice:.3}")));
    let files = ["phantom.nii.gz", "phantom_truth.nii.gz", "phantom_ich.nii.gz"];
    assert_eq!(kept["outputs"], serde_json::json!(files));
    assert!(files.iter().all(|name| out.join(name).is_file()) && std::fs::read_dir(&out).unwrap().count() == 4);
    // With demo.json the three are a demo's; without it they are not known to be.
    std::fs::remove_file(out.join("demo.json")).unwrap();
    assert_refused(&["demo", "-o", text(&out)], &out, "phantom.nii.gz");
}

/// A command fails with a sentence that names `file` and a way out, and changes nothing in `folder`.
fn assert_refused(arguments: &[&str], folder: &Path, file: &str) {
    let contents = || {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (std::fs::read(&path).unwrap_or_default(), path)).collect::<Vec<_>>()
    };
    let before = contents();
    let output = ichor(arguments);
    let said = said(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments:?}: {said}");
    assert!(said.contains(&format!("{file}: ")) && said.contains("would be replaced"), "{arguments:?}: {said}");
    assert!(said.contains("-o") || said.contains("--overwrite"), "{arguments:?} has no way out: {said}");
    assert!(contents() == before, "{arguments:?} changed a file");
}

#[test]
fn files_of_others_in_the_folder_of_results_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_mask(&path("mask.nii"), |[i, _, _]| i < 9);
    std::fs::write(path("pairs.csv"), "name,automated,manual\na,mask.nii,mask.nii\n").unwrap();
    let pairs = path("pairs.csv");
    let commands: [(&[&str], &[&str]); 3] = [
        (&["demo"], &["phantom.nii.gz", "phantom_truth.nii.gz", "phantom_ich.nii.gz", "demo.json"]),
        (&["train"], &["config.toml", "weights.safetensors", "last.safetensors", "curves.csv", "curves.png", "checkpoint"]),
        (
            &["evaluate", "--pairs", text(&pairs)],
            &["cases.csv", "summary.json", "evaluation.html", "table1_measures.csv", "figure5_scatter.svg", "figure4_worst.png"],
        ),
    ];
    for (command, names) in commands {
        for name in names {
            let out = path("out");
            std::fs::create_dir(&out).unwrap();
            std::fs::write(out.join(name), "{\"mine\": 1}").unwrap();
            if *name == "checkpoint" {
                let said = said(&ichor(&[command, &["-o", text(&out)]].concat()));
                assert!(said.contains("checkpoint: is no checkpoint of a training") && said.contains("-o"), "{said}");
                assert_eq!(std::fs::read(out.join(name)).unwrap(), b"{\"mine\": 1}");
            } else {
                assert_refused(&[command, &["-o", text(&out)]].concat(), &out, name);
            }
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    // What is called otherwise is in nobody's way, and what an evaluation wrote, the next one replaces.
    let out = path("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("figure7_mine.svg"), "mine").unwrap();
    let evaluate = || ichor(&["evaluate", "--pairs", text(&pairs), "-o", text(&out)]);
    for _ in 0..2 {
        assert!(evaluate().status.success());
    }
    let summary = || std::fs::read_to_string(out.join("summary.json")).unwrap();
    let listed = summary();
    // One of an earlier version, which did not list its files.
    let mut earlier: serde_json::Value = serde_json::from_str(&listed).unwrap();
    earlier.as_object_mut().unwrap().remove("outputs");
    std::fs::write(out.join("summary.json"), earlier.to_string()).unwrap();
    assert!(evaluate().status.success());
    assert_eq!(summary(), listed);
    // What a kill has left is known by what was begun.
    std::fs::remove_file(out.join("summary.json")).unwrap();
    std::fs::write(out.join(".summary.begun"), serde_json::json!(earlier_names(&out)).to_string()).unwrap();
    assert!(evaluate().status.success() && summary() == listed && !out.join(".summary.begun").exists());
    std::fs::remove_file(out.join("summary.json")).unwrap();
    assert_refused(&["evaluate", "--pairs", text(&pairs), "-o", text(&out)], &out, "figure2_distribution.svg");
}

fn earlier_names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "figure7_mine.svg").collect()
}

#[test]
fn weights_are_written_under_names_of_their_format_and_own_files_are_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Weights::hand_set().write(path("w.safetensors")).unwrap();
    std::fs::write(path("phantoms.csv"), "name,seed,kind\nphantom_000001,1,deep\n").unwrap();
    let (w, csv, h5, out) = (path("w.safetensors"), path("phantoms.csv"), path("q.h5"), path("v.safetensors"));
    let cases: [(&[&str], &str); 5] = [
        (&["weights", "export", "-o", text(&h5)], "q.h5: safetensors would be written under this name"),
        (&["weights", "export", text(&w), "-o", text(&h5), "--half"], "or, for ONNX, .onnx"),
        (&["weights", "import", text(&w), "-o", text(&h5)], "let it end in .safetensors"),
        (&["weights", "import", text(&w), "-o", text(&out)], "w.safetensors: is a weights file already: give it to `--weights`"),
        (&["weights", "check", text(&csv)], "phantoms.csv: is no weights file but text, such as a table"),
    ];
    for (arguments, sentence) in cases {
        let output = ichor(arguments);
        assert!(output.status.code() == Some(1) && said(&output).contains(sentence), "{arguments:?}: {}", said(&output));
    }
    assert!(!h5.exists() && !out.exists());
    assert!(ichor(&["weights", "export", text(&w), "-o", text(&path("W.ONNX"))]).status.success());
    assert_eq!(std::fs::read(path("W.ONNX")).unwrap()[0], 8, "ONNX begins with field 1");
}

/// Said where a run begins, at `--log-level debug`.
#[test]
fn one_thread_is_one_thread() {
    let said = said(&ichor(&["bench", "--size", "16,16,16", "--repeat", "1", "--threads", "1", "--log-level", "debug"]));
    assert!(said.contains("ichor: 1 thread\n") && !said.contains("1 threads"), "{said}");
}

#[test]
fn two_scans_of_one_name_are_refused_with_the_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        std::fs::create_dir(path(name)).unwrap();
        std::fs::write(path(name).join("scan.nii.gz"), "").unwrap();
    }
    let (a, b) = (path("a/scan.nii.gz"), path("b/scan.nii.gz"));
    let output = ichor(&["segment", text(&a), text(&b), "-o", text(&path("out"))]);
    let sentence = said(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in [text(&a), text(&b), "--name", "-o", "rename"] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

/// Runs with what is printed going to `to`.
fn printing_to(to: impl Into<std::process::Stdio>, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).stdout(to).output().unwrap()
}

#[test]
fn a_reader_that_has_gone_stops_nothing() {
    for arguments in [&["devices"][..], &["weights", "info"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = printing_to(writer, arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", said(&output));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_what_is_printed_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = printing_to(full, &["weights", "info"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("standard output cannot be written"), "{}", said(&output));
}

#[test]
fn help_says_that_it_is_for_research_only() {
    let output = ichor(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("not for diagnosis"));
}

#[test]
fn what_cannot_be_done_is_one_sentence_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let scan = folder.path().join("scan.nii");
    write_scan(&scan);
    let bad = folder.path().join("bad.nii");
    std::fs::write(&bad, b"no image").unwrap();
    // A brain-extracted scan with no brain in it.
    let empty = folder.path().join("empty_bad.nii");
    let grid = Grid { shape: [8, 8, 8], affine: Affine::IDENTITY };
    raw_nifti::write(&empty, &Volume::new(grid, vec![0.0; 512]), Codes::Both);
    let (out, missing, imported) = (folder.path().join("out"), folder.path().join("missing.nii"), folder.path().join("w"));
    let cases: [&[&str]; 9] = [
        &["segment", text(&bad), "-o", text(&out)],
        &["segment", text(&missing), "-o", text(&out)],
        &["segment", text(&scan), "-o", text(&out), "--weights", text(&bad)],
        &["segment", text(&scan), "-o", text(&out), "--template", text(&bad)],
        &["segment", text(&empty), "-o", text(&out), "--skull-stripped"],
        &["register", text(&empty), "-o", text(&out), "--skull-stripped"],
        &["brain", text(&bad), "-o", text(&out)],
        &["weights", "check", text(&bad)],
        &["weights", "import", text(&bad), "-o", text(&imported)],
    ];
    for arguments in cases {
        let output = ichor(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("bad.nii") || said.contains("missing.nii"), "{arguments:?} does not name the file: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let written = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let written = written.filter(|name| name != "ichor.csv" && name != "ichor.html");
    assert_eq!(written.count(), 0, "nothing but the table and the page of the failures is left");
}

/// Each way to name a file again: as it is, by another way through folders, by a link.
#[test]
fn no_command_replaces_its_own_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_scan(&path("a.nii"));
    std::fs::create_dir(path("sub")).unwrap();
    Weights::hand_set().write(path("w.safetensors")).unwrap();
    let heights: Vec<f64> = (0..5).map(|n| 5.0 * f64::from(n)).collect();
    RawSeries::axial(&heights).write(&path("dicom"), &|_| 40.0);
    let mut slices: Vec<_> = std::fs::read_dir(path("dicom")).unwrap().map(|entry| entry.unwrap().path()).collect();
    slices.sort();
    std::fs::write(path("ck.index"), b"index").unwrap();
    std::fs::write(path("ck.data-00000-of-00001"), b"data").unwrap();
    std::fs::write(path("w.onnx"), b"onnx").unwrap();
    let (a, w, ck) = (path("a.nii"), path("w.safetensors"), path("ck"));
    let (again, again_w, data) = (path("sub/../a.nii"), path("sub/../w.safetensors"), path("ck.data-00000-of-00001"));
    let (other, onnx, dicom, template) = (path("o.nii"), path("w.onnx"), path("dicom"), path("t.nii"));
    std::fs::copy(&a, &template).unwrap();
    let [a, again, w, again_w, ck, data, other, onnx, dicom, template] =
        [&a, &again, &w, &again_w, &ck, &data, &other, &onnx, &dicom, &template].map(|path| text(path));
    let mut cases: Vec<Vec<&str>> = vec![
        vec!["brain", a, "-o", a],
        vec!["brain", a, "-o", again],
        vec!["brain", dicom, "-o", text(&slices[2])],
        vec!["brain", text(&slices[0]), "-o", text(&slices[1])],
        vec!["register", a, "-o", a],
        vec!["register", a, "-o", template, "--template", template],
        vec!["register", a, "-o", other, "--save-transform", again],
        vec!["register", a, "-o", template, "--brain-mask", template],
        vec!["network", a, "-o", again],
        vec!["network", a, "-o", w, "--weights", w],
        vec!["convert", dicom, "-o", text(&slices[2])],
        vec!["weights", "export", w, "-o", again_w],
        vec!["weights", "import", ck, "-o", data],
        vec!["weights", "import", onnx, "-o", onnx],
    ];
    let (config, cases_csv, label) = (path("config.toml"), path("cases.csv"), path("a_000001_label.nii.gz"));
    std::fs::write(&config, "seed = 2\n").unwrap();
    std::fs::write(&cases_csv, "name,automated,manual\nx,a.nii,a.nii\n").unwrap();
    std::fs::copy(path("a.nii"), &label).unwrap();
    let root = folder.path();
    cases.push(vec!["train", "--config", text(&config), "-o", text(root)]);
    cases.push(vec!["evaluate", "--pairs", text(&cases_csv), "-o", text(root)]);
    cases.push(vec!["phantom", "-o", text(root), "--into", a, "--brain-mask", text(&label), "--overwrite"]);
    let link = path("link.nii");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.nii", &link).unwrap();
        cases.push(vec!["brain", text(&link), "-o", a]);
        cases.push(vec!["brain", a, "-o", text(&link)]);
    }
    let contents = || {
        let names = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let mut files = [names(folder.path()), names(&path("dicom"))].concat();
        files.sort();
        files.retain(|path| path.is_file());
        files.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = contents();
    for arguments in cases {
        let output = ichor(&arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("the output is the input") && output.stdout.is_empty(), "{arguments:?}: {said}");
        assert!(contents() == before, "{arguments:?} changed a file");
    }
    // An output that is there and is no input is replaced as ever.
    for _ in 0..2 {
        let output = ichor(&["weights", "export", w, "-o", text(&path("half.safetensors")), "--half"]);
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn an_unwritable_output_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let scan = folder.path().join("scan.nii");
    write_scan(&scan);
    // A file where the folder of the outputs should be.
    let output = ichor(&["segment", text(&scan), "-o", text(&scan)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("cannot be written"), "{}", said(&output));
}

#[test]
fn a_batch_goes_on_and_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    let scans = folder.path().join("scans");
    std::fs::create_dir(&scans).unwrap();
    std::fs::write(scans.join("a_bad.nii.gz"), b"no image").unwrap();
    write_scan(&scans.join("good.nii"));
    let out = folder.path().join("out");
    let arguments = ["segment", text(&scans), "-o", text(&out), "--save", "brain,probability,template,transform"];
    let first = ichor(&arguments);
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    assert!(String::from_utf8_lossy(&first.stdout).starts_with("good\t"), "the result is on standard output");
    let mut written: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    written.sort();
    let expected = [
        "good_brain.nii.gz",
        "good_ich.json",
        "good_ich.nii.gz",
        "good_ich.png",
        "good_probability.nii.gz",
        "good_template.nii.gz",
        "good_template_ich.nii.gz",
        "good_to_template.tfm",
        "ichor.csv",
        "ichor.html",
    ];
    assert_eq!(written, expected);

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("good_ich.json")).unwrap()).unwrap();
    assert_eq!(report["research_use_only"], true);
    assert_eq!(report["weights"]["name"], "built-in");
    assert_eq!(report["weights"]["sha256"].as_str().unwrap().len(), 64);
    let volume = report["voxels"].as_f64().unwrap() * 3.0 * 3.1 * 4.0 / 1000.0;
    assert!((report["volume_ml"].as_f64().unwrap() - volume).abs() < 1e-4 * volume, "{report}");

    // The phantom's one bleed is in the left basal ganglia, 30 mm from the midline of the head; the template's is at x = 5 mm.
    let components = report["components"].as_array().unwrap();
    let bleed = &components[0];
    assert_eq!((&report["component_count"], &bleed["side"]), (&components.len().into(), &"left".into()), "{report}");
    let voxels = |component: &serde_json::Value| component["voxels"].as_u64().unwrap();
    assert_eq!(components.iter().map(voxels).sum::<u64>(), voxels(&report));
    assert!(voxels(bleed) * 10 > voxels(&report) * 9, "{report}");
    let x = bleed["template_mm"][0].as_f64().unwrap();
    assert!((-30.0..-20.0).contains(&x), "{bleed}");
    assert!(report["picture"]["slices"].as_array().unwrap().len() > 20, "{report}");

    let made = std::fs::metadata(out.join("good_ich.nii.gz")).unwrap().modified().unwrap();
    let second = ichor(&arguments);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stdout).contains("there already"));
    assert_eq!(std::fs::metadata(out.join("good_ich.nii.gz")).unwrap().modified().unwrap(), made);
    let table = std::fs::read_to_string(out.join("ichor.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().any(|line| line.starts_with("a_bad,failed,")), "{table}");
}

#[test]
fn parts_of_a_collection_run_side_by_side_and_are_then_one() {
    let folder = tempfile::tempdir().unwrap();
    let (scans, out) = (folder.path().join("scans"), folder.path().join("out"));
    std::fs::create_dir(&scans).unwrap();
    write_scan(&scans.join("a.nii"));
    write_scan(&scans.join("b.nii"));
    let (template, weights) = (folder.path().join("template.nii"), folder.path().join("hand-set.safetensors"));
    write_coarse_template(&template);
    Weights::hand_set().write(&weights).unwrap();
    let quick = ["--template", text(&template), "--weights", text(&weights), "--no-picture"];
    std::fs::write(scans.join("c.nii"), b"no image").unwrap();
    let part = |shard: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ichor"));
        command.args(["segment", text(&scans), "-o", text(&out), "--shard", shard]).args(quick);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let (mut first, mut second) = (part("1/2"), part("2/2"));
    assert_eq!(first.wait().unwrap().code(), Some(1), "a, and c, which is no image");
    assert_eq!(second.wait().unwrap().code(), Some(0), "b");
    let rows = || {
        let text = std::fs::read_to_string(out.join("ichor.csv")).unwrap();
        text.lines().skip(1).map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(rows(), ["a done", "b done", "c failed"]);
    // Together: nothing is done again but what failed.
    let whole = ichor(&[&["segment", text(&scans), "-o", text(&out)][..], &quick].concat());
    assert_eq!(String::from_utf8_lossy(&whole.stdout).matches("there already").count(), 2);
    assert_eq!(rows(), ["a done", "b done", "c failed"]);
    assert!(!out.join("a_ich.png").exists());
}

#[test]
fn two_time_points_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, voxels: usize| {
        let grid =
            Grid { shape: [20, 20, 20], affine: Affine::new([[2.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]) };
        let mask = Volume::new(grid, (0..8000).map(|n| f32::from(u8::from(n < voxels))).collect());
        raw_nifti::write(&path(name), &mask, Codes::Both);
    };
    write("before.nii", 1000);
    write("after.nii", 1500);
    let compare = |a: &str, b: &str, more: &[&str]| {
        let output = ichor(&[&["compare", text(&path(a)), text(&path(b))][..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let grown = compare("before.nii", "after.nii", &[]);
    assert!(
        grown.contains("+5.00 mL  +50.0%") && grown.contains("(1 yes, 0 no): 1") && grown.contains("not for diagnosis"),
        "{grown}"
    );
    let printed = compare("after.nii", "before.nii", &["--json"]);
    assert!(printed.ends_with("}\n"));
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["expansion"], serde_json::json!({"above_6_ml": false, "above_33_percent": false}));
    assert!(json["time_points"][0]["method"].is_null() && json["warnings"].as_array().is_some_and(Vec::is_empty), "{json}");
    assert_eq!((&json["above_6_ml_or_33_percent"], json["change_ml"].as_f64().map(|ml| ml.round())), (&0.into(), Some(-5.0)));
    let missing = ichor(&["compare", text(&path("before.nii")), text(&path("missing.nii"))]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("missing.nii"));
}

/// A tilted series of unequal slices goes from its folder to mask, DICOM-SEG, structured report, picture and report by one command, the bleed on its side.
#[test]
fn a_dicom_folder_is_segmented_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let grid =
        Grid { shape: [75, 85, 75], affine: Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], [-111.0; 3]) };
    let head = phantom::head_on(grid.clone());
    let hu = field_of(&head);
    // 3 mm apart below, 5 mm above, tilted by 12 degrees.
    let heights: Vec<f64> =
        (0..30).map(|n| -105.0 + 3.0 * f64::from(n)).chain((0..19).map(|n| -13.0 + 5.0 * f64::from(n))).collect();
    let (sine, cosine) = 12.0_f64.to_radians().sin_cos();
    let positions = heights.iter().map(|&z| [-99.0, -110.0 * cosine, z + 110.0 * sine]).collect();
    let series = RawSeries { columns: 100, rows: 112, positions, ..RawSeries::tilted(&heights, 12.0) };
    series.write(&path("series"), &hu);
    Weights::hand_set().write(path("hand-set.safetensors")).unwrap();
    let (weights, series, out) = (path("hand-set.safetensors"), path("series"), path("out"));
    let arguments = ["segment", text(&series), "-o", text(&out), "--weights", text(&weights), "--dicom-report"];
    let first = ichor(&arguments);
    assert!(first.status.success(), "{}", said(&first));
    for ending in [".nii.gz", ".dcm", "_sr.dcm", ".png", ".json"] {
        assert!(out.join(format!("series_ich{ending}")).is_file(), "{ending}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("series_ich.json")).unwrap()).unwrap();
    let ml = report["volume_ml"].as_f64().unwrap();
    assert!((0.6..1.3).contains(&(ml / head.bleed_ml())), "{ml} mL of {}", head.bleed_ml());
    let voxels = (0..grid.len()).filter(|&n| head.bleed.voxels()[n]);
    let x: f64 = voxels.map(|n| grid.affine.apply([(n % 75) as f64, 0.0, 0.0])[0]).sum();
    assert_eq!(report["components"][0]["side"], if x < 0.0 { "left" } else { "right" });
    assert!((report["dicom"]["TiltCorrected"].as_f64().unwrap() - 12.0).abs() < 0.01, "{report}");
    let again = ichor(&arguments);
    assert!(String::from_utf8_lossy(&again.stdout).contains("there already"), "{}", said(&again));
    // The report that is missing is written again, the same.
    let structured = out.join("series_ich_sr.dcm");
    let before = std::fs::read(&structured).unwrap();
    std::fs::remove_file(&structured).unwrap();
    let third = ichor(&arguments);
    assert!(!String::from_utf8_lossy(&third.stdout).contains("there already"), "{}", said(&third));
    assert!(std::fs::read(&structured).unwrap() == before);
    // Another mask does not keep the report of this one.
    let other = ichor(&["segment", text(&series), "-o", text(&out), "--weights", text(&weights), "--threshold", "0.9"]);
    assert!(other.status.success() && !structured.exists(), "{}", said(&other));

    let converted = ichor(&["convert", text(&series), "-o", text(&path("scan.nii.gz"))]);
    assert!(converted.status.success(), "{}", said(&converted));
    let scan = ichor::io::nifti::read(path("scan.nii.gz")).unwrap().volume;
    assert_eq!(scan.grid().shape, ichor::io::nifti::read(out.join("series_ich.nii.gz")).unwrap().volume.grid().shape);
    let sidecar: serde_json::Value = serde_json::from_slice(&std::fs::read(path("scan.json")).unwrap()).unwrap();
    assert_eq!(sidecar["Slices"], 49);
    assert!(std::fs::read_to_string(path("scan.json")).unwrap().ends_with("}\n"));
    // Its own sidecar is replaced, another program's is not.
    let volume = path("scan.nii.gz");
    let arguments = ["convert", text(&series), "-o", text(&volume)];
    assert!(ichor(&arguments).status.success());
    std::fs::write(path("scan.json"), "{\"ConversionSoftware\": \"dcm2niix\"}").unwrap();
    assert_refused(&arguments, folder.path(), "scan.json");
}

/// A device that is not there is told once, before anything is read or written: the scans need not even be there.
#[test]
fn a_device_that_is_not_there_fails_once_before_the_first_scan() {
    let folder = tempfile::tempdir().unwrap();
    let scans = folder.path().join("scans");
    std::fs::create_dir(&scans).unwrap();
    for name in ["a.nii", "b.nii"] {
        std::fs::write(scans.join(name), b"no image").unwrap();
    }
    let out = folder.path().join("out");
    let (scans, out_file) = (text(&scans), text(&out));
    let commands: [&[&str]; 4] =
        [&["segment", scans, "-o", out_file], &["network", scans, "-o", out_file], &["demo", "-o", out_file], &["bench"]];
    for command in commands {
        // No machine has so many.
        let output = ichor(&[command, &["--device", "cuda:4000"]].concat());
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{command:?}: {said}");
        assert!(said.contains("--device cuda:4000 cannot be used: ") && said.contains("--device cpu"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!out.exists(), "{command:?}");
    }
    let output = ichor(&["segment", scans, "-o", out_file, "--device", "gpu"]);
    assert_eq!((output.status.code(), out.exists()), (Some(2), false));
    #[cfg(not(feature = "emulator"))]
    assert!(said(&ichor(&["bench", "--device", "emulated"])).contains("in builds with the feature emulator"));
}

#[test]
fn a_scan_given_as_a_brain_mask_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_scan(&path("scan.nii"));
    write_scan(&path("ct.nii"));
    let (scan, out) = (path("scan.nii"), path("out"));
    let commands: [&[&str]; 4] = [
        &["segment", text(&scan), "-o", text(&out), "--brain-mask"],
        &["register", text(&scan), "-o", text(&out), "--brain-mask"],
        &["phantom", "--into", text(&scan), "-o", text(&out), "--brain-mask"],
        &["bench", "--size", "64,80,48", "--mask"],
    ];
    for command in commands {
        let output = ichor(&[command, &[text(&path("ct.nii"))]].concat());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = said(&output);
        assert!(said.contains("ct.nii: it is no mask: it holds ") && said.contains("as a scan does"), "{command:?}: {said}");
        let written = std::fs::read_dir(&out).map_or(0, |files| files.count());
        assert_eq!(written, 0, "{command:?}");
    }
}

/// The built-in template with an eighth of its voxels.
fn write_coarse_template(path: &Path) {
    let fine = template::built_in();
    let affine = fine.grid().affine.after(&Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], [0.5; 3]));
    let coarse = Grid { shape: fine.grid().shape.map(|side| side / 2), affine };
    raw_nifti::write(path, &resample::linear(&fine, &coarse, &Affine::IDENTITY, 0.0).unwrap(), Codes::Both);
}

#[test]
fn the_results_of_another_series_are_not_taken_for_those_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let affine = Affine::new([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]], [-111.0; 3]);
    let head = phantom::head_on(Grid { shape: [56, 64, 56], affine });
    let hu = field_of(&head);
    let heights: Vec<f64> = (0..37).map(|n| -105.0 + 6.0 * f64::from(n)).collect();
    let positions: Vec<[f64; 3]> = heights.iter().map(|&z| [-99.0, -110.0, z]).collect();
    for (uid, number, kernel) in [("2.25.1", "1", "BONE"), ("2.25.2", "2", "STANDARD")] {
        let raw =
            RawSeries { columns: 50, rows: 56, spacing: [4.0, 4.0], positions: positions.clone(), ..RawSeries::axial(&heights) };
        let raw = raw.with(tags::SERIES_INSTANCE_UID, VR::UI, uid).with(tags::SERIES_NUMBER, VR::IS, number);
        raw.with(tags::CONVOLUTION_KERNEL, VR::SH, kernel).write(&path("scan"), &hu);
    }
    Weights::hand_set().write(path("hand-set.safetensors")).unwrap();
    write_coarse_template(&path("template.nii"));
    let (weights, template, scan, out) = (path("hand-set.safetensors"), path("template.nii"), path("scan"), path("out"));
    let segment = |more: &[&str]| {
        let made_by = ["--weights", text(&weights), "--template", text(&template), "--no-picture"];
        let basic = [&["segment", text(&scan), "-o", text(&out)], &made_by[..]].concat();
        ichor(&[&basic[..], more].concat())
    };
    let number = || {
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("scan_ich.json")).unwrap()).unwrap();
        report["dicom"]["SeriesNumber"].as_i64().unwrap()
    };
    let there = |output: &Output| String::from_utf8_lossy(&output.stdout).contains("there already");
    assert!(segment(&[]).status.success());
    assert_eq!(number(), 2, "the soft kernel");
    assert!(there(&segment(&["--series", "2"])), "asked for by its number, it is the same");

    let other = segment(&["--series", "1"]);
    assert!(other.status.success() && said(&other).contains("made with another DICOM series"), "{}", said(&other));
    assert_eq!(number(), 1);

    // A series that is not there: the scan fails, and what it had stays.
    let missing = segment(&["--series", "9"]);
    assert_eq!((missing.status.code(), number()), (Some(1), 1), "{}", said(&missing));
    let row = || std::fs::read_to_string(out.join("ichor.csv")).unwrap().lines().nth(1).unwrap().to_string();
    assert!(row().starts_with("scan,failed,"), "{}", row());
    assert!(there(&segment(&["--series", "1"])));
    assert!(row().starts_with("scan,done,"), "the row tells of what is there again: {}", row());
}

/// A whole run on the emulated device: the CUDA kernels inside the pipeline, with the reference's mask.
#[cfg(feature = "emulator")]
#[test]
fn the_emulated_device_finds_what_the_reference_finds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_scan(&path("scan.nii"));
    write_coarse_template(&path("template.nii"));
    let segment = |device: &str| {
        let (scan, template, out) = (path("scan.nii"), path("template.nii"), path(device));
        let output = ichor(&["segment", text(&scan), "-o", text(&out), "--template", text(&template), "--device", device]);
        assert!(output.status.success(), "{device}: {}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("scan_ich.json")).unwrap()).unwrap();
        assert!(report["device"].as_str().unwrap().contains(device), "{report}");
        nifti::read(out.join("scan_ich.nii.gz")).unwrap().volume
    };
    let (expected, mask) = (segment("reference"), segment("emulated"));
    assert!(expected.voxels().iter().filter(|&&value| value > 0.5).count() > 100);
    assert!(mask.voxels() == expected.voxels(), "the same mask");
}

#[test]
fn the_stages_alone_give_the_same_network_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_scan(&path("scan.nii"));
    let ok = |arguments: &[&str]| {
        let output = ichor(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    };
    let template = path("template.nii");
    write_coarse_template(&template);
    let by = ["--template", text(&template)];
    ok(&[&["segment", text(&path("scan.nii")), "-o", text(&path("out")), "--save", "template,brain"][..], &by].concat());
    ok(&["brain", text(&path("scan.nii")), "-o", text(&path("brain.nii.gz"))]);
    let registered = path("registered.nii.gz");
    let mask = path("brain.nii.gz");
    ok(&[&["register", text(&path("scan.nii")), "-o", text(&registered), "--brain-mask", text(&mask)][..], &by].concat());
    ok(&["network", text(&registered), "-o", text(&path("p.nii.gz"))]);
    let same = |a: &Path, b: &Path| std::fs::read(a).unwrap() == std::fs::read(b).unwrap();
    assert!(same(&path("brain.nii.gz"), &path("out/scan_brain.nii.gz")), "the same brain");
    assert!(same(&registered, &path("out/scan_template.nii.gz")), "the same network input");
    let probability = ichor::io::nifti::read(path("p.nii.gz")).unwrap().volume;
    let mask = ichor::io::nifti::read(path("out/scan_template_ich.nii.gz")).unwrap().volume;
    assert!(probability.voxels().iter().zip(mask.voxels()).all(|(p, m)| *m == 0.0 || *p > 0.5));
}

/// `-q` leaves errors alone on standard error, `--log-level` more by each step; what is printed on standard output stays the same.
#[test]
fn what_is_said_follows_the_level() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_scan(&path("scan.nii"));
    // A gzip file with bytes behind it: warned of, not refused.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &std::fs::read(path("scan.nii")).unwrap()).unwrap();
    std::fs::write(path("odd.nii.gz"), [&gzip.finish().unwrap()[..], b"text"].concat()).unwrap();
    write_mask(&path("mask.nii"), |[i, _, _]| i < 9);
    std::fs::write(path("pairs.csv"), "name,automated,manual\na,mask.nii,mask.nii\n").unwrap();
    let (odd, network, out) = (path("odd.nii.gz"), path("network.nii"), path("out"));
    raw_nifti::write(&network, &Volume::new(Grid { shape: [16; 3], affine: Affine::IDENTITY }, vec![40.0; 4096]), Codes::Both);
    let (mask, pairs, evaluation, phantoms) = (path("mask.nii"), path("pairs.csv"), path("evaluation"), path("phantoms"));
    let (onnx, brain, registered, probability) = (path("w.onnx"), path("brain.nii"), path("registered.nii"), path("p.nii"));
    let (template, weights) = (path("template.nii"), path("hand-set.safetensors"));
    write_coarse_template(&template);
    Weights::hand_set().write(&weights).unwrap();
    let segment =
        ["segment", text(&odd), "-o", text(&out), "--overwrite", "--template", text(&template), "--weights", text(&weights)];
    let phantom = ["phantom", "-o", text(&phantoms), "--matrix", "50,60,24", "--voxel", "4,4,7", "--overwrite"];
    let commands: [&[&str]; 9] = [
        &segment,
        &["brain", text(&odd), "-o", text(&brain)],
        &["register", text(&odd), "-o", text(&registered), "--template", text(&template)],
        &["network", text(&network), "-o", text(&probability)],
        &["bench", "--size", "16,16,16", "--repeat", "1"],
        &phantom,
        &["compare", text(&mask), text(&mask)],
        &["evaluate", "--pairs", text(&pairs), "-o", text(&evaluation)],
        &["weights", "export", "-o", text(&onnx)],
    ];
    for command in commands {
        let at = |level: &[&str]| {
            let output = ichor(&[command, level].concat());
            assert!(output.status.success(), "{command:?} {level:?}: {}", said(&output));
            said(&output)
        };
        assert_eq!((at(&["-q"]), at(&["--log-level", "error"])), (String::new(), String::new()), "{command:?}");
        let (warn, debug) = (at(&["--log-level", "warn"]), at(&["--log-level", "debug"]));
        assert!(warn.lines().all(|line| line.starts_with("ichor: warning: ")), "{command:?}: {warn}");
        assert!(debug.contains(" s in all") && debug.lines().count() >= 3, "{command:?}: {debug}");
    }
    // Errors are said at each of them.
    let missing = ichor(&["brain", text(&path("missing.nii")), "-o", text(&brain), "-q"]);
    assert!(missing.status.code() == Some(1) && said(&missing).contains("missing.nii"), "{}", said(&missing));
    assert!(said(&ichor(commands[0])).contains("further bytes behind its compressed content: they were ignored (warning 9)"));
}

#[test]
fn a_network_is_trained_on_pairs_of_scan_and_label_and_segments() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data = path("pairs");
    std::fs::create_dir(&data).unwrap();
    let affine = Affine::new([[-3.0, 0.0, 0.0], [0.0, 3.1, 0.0], [0.0, 0.0, 4.0]], [99.0, -105.0, -104.0]);
    let head = phantom::head_on(Grid { shape: [64, 70, 48], affine });
    for name in ["a", "b"] {
        raw_nifti::write(&data.join(format!("{name}.nii")), &head.scan, Codes::Both);
        raw_nifti::write(
            &data.join(format!("{name}_label.nii")),
            &head.bleed.map(|&blood| f32::from(u8::from(blood))),
            Codes::Both,
        );
    }
    let config = path("config.toml");
    let options = "license = \"none\"\n[network]\nkernel = [5, 5, 5]\nstride = [2, 2, 2]\nwidths = [2, 3]\nconvs = [1, 1]\nup_widths = [4]\nup_convs = [1]\n\
                   shared = true\nactivation = \"prelu\"\n[data]\nheld_out = 1\ngrid = [112, 128, 112]\n[schedule]\nepochs = 1\ncrop_epochs = 0\nupdates = 2\nbatch = 1\n";
    std::fs::write(&config, options).unwrap();
    let output = path("trained");
    let train = || ichor(&["train", "--config", text(&config), "--data", text(&data), "-o", text(&output)]);
    let first = train();
    assert!(first.status.success(), "{}", said(&first));
    assert!(said(&first).contains("epoch 1: loss"), "{}", said(&first));
    let weights = output.join("weights.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    // The label reached the network's grid: the second highest bit of a voxel says blood.
    let samples = std::fs::read_dir(output.join("samples")).unwrap().next().unwrap().unwrap().path();
    let sample = std::fs::read(samples.join("000000.sample")).unwrap();
    let voxels = sample[48..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let blood: Vec<f64> = voxels.filter(|value| value & 0x4000 != 0).map(|value| f64::from(value & 0x3fff) - 4096.0).collect();
    let volume = blood.len() as f64 * 0.003_375;
    assert!((volume - head.bleed_ml()).abs() < 0.2 * head.bleed_ml(), "{volume} mL of {}", head.bleed_ml());
    // It lies where the scan's blood lies, and not in the other half of the head.
    let mean = blood.iter().sum::<f64>() / blood.len() as f64;
    assert!(mean > 50.0, "the mean below the label is {mean} HU");

    // All epochs are done: the same command changes nothing. Other options are refused.
    assert!(train().status.success());
    assert_eq!(std::fs::read(&weights).unwrap(), bytes);
    std::fs::write(&config, options.replace("batch = 1", "batch = 2")).unwrap();
    assert!(said(&train()).contains("schedule.batch is 2 now and was 1 there"));

    // From those weights, with a config that says nothing of the network; and one that contradicts them.
    std::fs::write(&config, "[data]\nheld_out = 1\n[samples]\ncrop = 16\n[schedule]\nepochs = 1\ncrop_epochs = 0\nupdates = 1\n")
        .unwrap();
    let further = path("further");
    let from = |options: &[&str]| {
        let basic = ["train", "--from", text(&weights), "--config", text(&config), "--data", text(&data), "-o", text(&further)];
        ichor(&[&basic[..], options].concat())
    };
    let begun = from(&["-q"]);
    assert!(begun.status.success() && begun.stderr.is_empty(), "{}", said(&begun));
    std::fs::write(&config, "[network]\nwidths = [2, 4]\n").unwrap();
    let refused = said(&from(&[]));
    assert!(refused.contains("network.widths is [2, 4], but [2, 3] in those weights"), "{refused}");

    let mask = path("mask");
    let segment = ichor(&["segment", text(&data.join("a.nii")), "-o", text(&mask), "--weights", text(&weights)]);
    assert!(segment.status.success(), "{}", said(&segment));
    assert!(mask.join("a_ich.nii.gz").exists());
}

#[test]
fn phantoms_come_with_labels_and_a_table_and_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let out = folder.path().join(name);
        let output = ichor(&[
            "phantom",
            "-o",
            text(&out),
            "--count",
            "2",
            "--seed",
            "5",
            "--matrix",
            "50,60,24",
            "--voxel",
            "4,4,7",
            "--tilt",
            "10",
            "--without-bleed",
            "0",
        ]);
        assert!(output.status.success(), "{}", said(&output));
        ["phantom_000005.nii.gz", "phantom_000005_label.nii.gz", "phantom_000006.nii.gz", "phantoms.csv"]
            .map(|file| std::fs::read(out.join(file)).unwrap())
    };
    let first = make("a");
    assert_eq!(first, make("b"));
    let table = String::from_utf8(first[3].clone()).unwrap();
    assert!(table.starts_with("name,seed,kind,volume_ml,"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("phantom_000006,6,")), "{table}");
}

/// Small heads with a bleed of 20 mL.
fn make_phantoms(out: &Path, more: &[&str]) -> Output {
    let small = ["--matrix", "50,60,24", "--voxel", "4,4,7", "--without-bleed", "0", "--volume", "20,20", "--kinds", "lobar"];
    ichor(&[&["phantom", "-o", text(out)], &small[..], more].concat())
}

#[test]
fn phantoms_are_added_to_a_folder_and_replaced_only_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (out, other) = (folder.path().join("out"), folder.path().join("other"));
    let names = |folder: &Path| {
        let table = std::fs::read_to_string(folder.join("phantoms.csv")).unwrap();
        assert!(table.starts_with("name,seed,") && table.lines().all(|line| line.split(',').count() == 15), "{table}");
        let mut names: Vec<String> = table.lines().skip(1).filter_map(|line| line.split(',').next()).map(String::from).collect();
        names.dedup();
        names
    };
    assert!(make_phantoms(&out, &["--seed", "5"]).status.success());
    assert!(make_phantoms(&out, &["--seed", "8"]).status.success());
    assert_eq!(names(&out), ["phantom_000005", "phantom_000008"]);

    let all = || {
        let mut files: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    let before = all();
    let refused = make_phantoms(&out, &["--seed", "4", "--count", "2", "--hard"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let expected =
        "phantom_000005 would be replaced: give another --seed (from 9 on none is taken), another folder, or --overwrite";
    assert!(said(&refused).contains(expected), "{}", said(&refused));
    assert!(all() == before, "nothing has changed");

    // A spreadsheet has saved the table by semicolons, and one of an older version lacks the last column.
    let table = out.join("phantoms.csv");
    let rows = std::fs::read_to_string(&table).unwrap();
    let older: Vec<String> =
        rows.lines().map(|line| line.rsplit_once(',').unwrap().0.replace(',', ";").replace('.', ",")).collect();
    std::fs::write(&table, older.join("\r\n") + "\r\n").unwrap();
    assert!(make_phantoms(&out, &["--seed", "4", "--count", "2", "--overwrite"]).status.success());
    assert_eq!(names(&out), ["phantom_000008", "phantom_000004", "phantom_000005"]);
    let kept = std::fs::read_to_string(&table).unwrap();
    let of_8 = |table: &str| {
        let row = table.lines().find(|line| line.starts_with("phantom_000008")).unwrap();
        row.split(',').take(14).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(of_8(&kept), of_8(&rows));

    // A scan of the user's own with such a name is never replaced, and another table is left alone.
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("phantom_000007_label.nii.gz"), b"mine").unwrap();
    assert_eq!(make_phantoms(&other, &["--seed", "7"]).status.code(), Some(1));
    assert!(!other.join("phantoms.csv").exists());
    std::fs::write(other.join("phantoms.csv"), b"patient,age\nx,61\n").unwrap();
    let output = make_phantoms(&other, &["--seed", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no table of `ichor phantom`"), "{}", said(&output));
    assert_eq!(std::fs::read(other.join("phantoms.csv")).unwrap(), b"patient,age\nx,61\n");
}

#[test]
fn phantoms_whose_field_of_view_misses_the_bleed_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let arguments = ["--matrix", "50,60,4", "--voxel", "4,4,2", "--kinds", "lobar", "--volume", "20,20", "--without-bleed", "0"];
    let output = ichor(&[&["phantom", "-o", text(&out), "--count", "6"], &arguments[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let mut table = csv::Reader::from_path(out.join("phantoms.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (shown, label, drawn) = (column("in_view_percent"), column("label_ml"), column("volume_ml"));
    let mut missed = 0;
    for row in table.records().map(|row| row.unwrap()) {
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        // 8 mm of a head hold no bleed of 20 mL as a whole.
        assert!(number(shown) < 100.0 && number(drawn) > 15.0, "{row:?}");
        assert!(number(label) <= 1.3 * number(drawn) * number(shown) / 100.0 + 1.0, "{row:?}");
        let sentences: Vec<String> = said(&output).lines().filter(|line| line.contains(&row[0])).map(String::from).collect();
        let what =
            if number(shown) == 0.0 { "the field of view misses the lobar bleed of " } else { "the field of view leaves out " };
        assert!(sentences.iter().any(|sentence| sentence.contains(what)), "{row:?}: {sentences:?}");
        missed += usize::from(number(shown) == 0.0);
    }
    assert!(missed > 0);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("(out of the field of view)"), "{printed}");
}

#[test]
fn a_bleed_is_put_into_a_scan() {
    let folder = tempfile::tempdir().unwrap();
    let (scan, out) = (folder.path().join("scan.nii"), folder.path().join("out"));
    write_scan(&scan);
    let arguments = [
        "phantom",
        "-o",
        text(&out),
        "--into",
        text(&scan),
        "--seed",
        "3",
        "--without-bleed",
        "0",
        "--kinds",
        "lobar",
        "--volume",
        "10,20",
    ];
    let output = ichor(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    let label = ichor::io::nifti::read(out.join("scan_000003_label.nii.gz")).unwrap().volume;
    assert!(label.voxels().iter().filter(|&&inside| inside == 1.0).count() > 100);
    assert!(out.join("scan_000003.nii.gz").is_file());
}

/// A mask of 0 and 1 on 20 x 20 x 10 voxels of 1 x 1 x 4 mm.
fn write_mask(path: &Path, inside: impl Fn([usize; 3]) -> bool) {
    write_mask_on(path, Affine::new([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0]], [9.0, -9.0, -20.0]), inside);
}

fn write_mask_on(path: &Path, affine: Affine, inside: impl Fn([usize; 3]) -> bool) {
    let places = (0..4000).map(|n| [n % 20, n / 20 % 20, n / 400]);
    let voxels = places.map(|place| f32::from(u8::from(inside(place)))).collect();
    raw_nifti::write(path, &Volume::new(Grid { shape: [20, 20, 10], affine }, voxels), Codes::Both);
}

#[test]
fn masks_are_evaluated_with_tables_figures_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let [automated, manual] = ["automated", "manual"].map(|name| folder.path().join(name));
    for folder in [&automated, &manual] {
        std::fs::create_dir(folder).unwrap();
    }
    let ball = |middle: usize, radius: usize| {
        move |place: [usize; 3]| place.iter().map(|&n| n.abs_diff(middle).pow(2)).sum::<usize>() <= radius * radius
    };
    for (name, truth, found) in [("a", 5, 4), ("b", 4, 4), ("c", 3, 0), ("clear", 0, 2)] {
        write_mask(&manual.join(format!("{name}_label.nii")), |place| truth > 0 && ball(5, truth)(place));
        write_mask(&automated.join(format!("{name}_ich.nii")), |place| found > 0 && ball(5, found)(place));
        // Scans lie beside the labels, as phantoms do.
        write_mask(&manual.join(format!("{name}.nii")), |_| true);
    }
    write_mask(&manual.join("unseen_label.nii"), |_| true);
    let table = manual.join("phantoms.csv");
    std::fs::write(&table, "name,kind\na,deep\nb,deep\nc,lobar\nclear,none\n").unwrap();
    let evaluate = |out: &Path, threads: &str| {
        let folders = ["--automated", text(&automated), "--manual", text(&manual), "--scans", text(&manual), "-o", text(out)];
        let by = ["--table", text(&table), "--subgroup", "kind", "--threads", threads];
        ichor(&[&["evaluate"], &folders[..], &by].concat())
    };
    let out = folder.path().join("out");
    let output = evaluate(&out, "1");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("unseen_label.nii: no mask of the other folder belongs to it"), "{}", said(&output));
    for part in ["Table 1", "| deep", "Table 3", "false-positive mL", "In 1 of them nothing was found", "not for diagnosis"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["cases"], &summary["with_bleed"], &summary["measures"][0]["summary"]["max"]),
        (&4.into(), &3.into(), &1.0.into())
    );
    let page = std::fs::read_to_string(out.join("evaluation.html")).unwrap();
    assert!(page.matches("<svg").count() == 5 && page.contains("not for diagnosis") && !page.contains("href=\"http"));
    let mut files: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files.len(), 17, "{files:?}");
    let volumes = std::fs::read_to_string(out.join("table3_volumes.csv")).unwrap();
    let rows: Vec<&str> = volumes.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(rows, ["subgroup", "all", "deep", "lobar"]);
    let again = folder.path().join("again");
    evaluate(&again, "2");
    for file in files {
        assert!(std::fs::read(out.join(&file)).unwrap() == std::fs::read(again.join(&file)).unwrap(), "{file}");
    }
}

/// Runs `ichor evaluate` on pairs that a table names; what it has written.
fn evaluate_pairs(folder: &Path, table: &str) -> (Output, serde_json::Value) {
    let pairs = folder.join("pairs.csv");
    std::fs::write(&pairs, table).unwrap();
    let output = ichor(&["evaluate", "--pairs", text(&pairs), "-o", text(&folder.join("out"))]);
    let summary = std::fs::read_to_string(folder.join("out").join("summary.json")).unwrap_or_else(|_| "null\n".into());
    assert!(summary.ends_with('\n'));
    (output, serde_json::from_str(&summary).unwrap())
}

#[test]
fn masks_stored_in_any_order_and_direction_of_axes_are_evaluated_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A sheared and oblique grid of a mask that has no symmetry.
    let affine = Affine::new([[-1.0, 0.1, 0.0], [0.1, 1.0, 0.3], [0.0, 0.2, 4.0]], [9.0, -9.0, -20.0]);
    let inside = |[i, j, k]: [usize; 3]| (2..9).contains(&i) && (3..15).contains(&j) && k > 4 && i + j + 2 * k < 28;
    write_mask_on(&at("manual.nii"), affine, |place| inside(place) || place == [1, 3, 5]);
    write_mask_on(&at("same.nii"), affine, inside);
    let shape = [20, 20, 10];
    let mut table = String::from("name;automated;manual\r\nsame;same.nii;manual.nii\r\n");
    for (n, axis) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        for signs in 0..8 {
            // Axis n of the file is axis `axis[n]` of the mask, from its other end where the bit is set.
            let side = axis.map(|own| shape[own]);
            let flipped = [0, 1, 2].map(|n| signs >> n & 1 == 1);
            let mut old = Affine::new([[0.0; 3]; 3], [0.0; 3]);
            for n in 0..3 {
                old.rows[axis[n]][n] = if flipped[n] { -1.0 } else { 1.0 };
                old.rows[axis[n]][3] = if flipped[n] { side[n] as f64 - 1.0 } else { 0.0 };
            }
            let grid = Grid { shape: side, affine: affine.after(&old) };
            let places = (0..grid.len()).map(|n| [n % side[0], n / side[0] % side[1], n / (side[0] * side[1])]);
            let stored = places.map(|place| inside(old.apply(place.map(|x| x as f64)).map(|x| x.round() as usize)));
            let name = format!("{n}{signs}");
            let voxels = stored.map(|inside| f32::from(u8::from(inside))).collect();
            raw_nifti::write(&at(&format!("{name}.nii")), &Volume::new(grid, voxels), Codes::Both);
            table += &format!("{name};{name}.nii;manual.nii\r\n");
        }
    }
    let (output, summary) = evaluate_pairs(folder.path(), &table);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((&summary["cases"], &summary["no_overlap"]), (&49.into(), &serde_json::json!([])));
    // All columns but names are those of the mask in the manual one's own order.
    let cases = std::fs::read_to_string(at("out").join("cases.csv")).unwrap();
    let measures = |line: &str| line.split(',').skip(3).take(18).map(String::from).collect::<Vec<_>>();
    let same = cases.lines().find(|line| line.starts_with("same,")).map(measures).unwrap();
    assert!(cases.lines().skip(1).all(|line| measures(line) == same), "{cases}");
    assert!(same[5].parse::<f64>().is_ok_and(|dice| dice > 0.9 && dice < 1.0), "{same:?}");
}

#[test]
fn pairs_that_do_not_overlap_are_told_with_what_may_be_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bleed = |[i, j, k]: [usize; 3]| (2..7).contains(&i) && (3..8).contains(&j) && k > 3 && i + j < 12;
    let other = |[i, j, k]: [usize; 3]| i > 12 && j > 10 && k < 4;
    write_mask(&at("a.nii"), bleed);
    write_mask(&at("b.nii"), other);
    write_mask(&at("a_mirrored.nii"), |[i, j, k]| bleed([19 - i, j, k]));
    write_mask(&at("none.nii"), |_| false);
    let head = "name,automated,manual\n";
    // The pairs of two patients exchanged.
    let (output, summary) = evaluate_pairs(folder.path(), &format!("{head}x,a.nii,b.nii\ny,b.nii,a.nii\nz,none.nii,a.nii\n"));
    assert!(output.status.success());
    let doubt = "In 2 of 2 cases with blood in both masks the two do not overlap at all: x, y. Are the pairs right?";
    let page = std::fs::read_to_string(at("out").join("evaluation.html")).unwrap();
    for told in [&said(&output), &String::from_utf8_lossy(&output.stdout).into_owned(), &page] {
        assert!(told.contains(doubt), "{told}");
    }
    assert_eq!((&summary["no_overlap"], &summary["remarks"]), (&serde_json::json!(["x", "y"]), &serde_json::json!([])));
    // It stands in the column of each of them.
    let cases = std::fs::read_to_string(at("out").join("cases.csv")).unwrap();
    let remarked = cases.lines().filter(|line| line.ends_with(",its two masks do not overlap at all"));
    assert_eq!(remarked.map(|line| &line[..2]).collect::<Vec<_>>(), ["x,", "y,"], "{cases}");
    let (output, summary) =
        evaluate_pairs(folder.path(), &format!("{head}x,a_mirrored.nii,a.nii\ny,a.nii,a.nii\nz,b.nii,b.nii\n"));
    assert!(
        said(&output).contains("In 1 of 3 cases with blood") && !said(&output).contains("Are the pairs right"),
        "{}",
        said(&output)
    );
    assert!(
        said(&output).contains("x: its masks hardly overlap (Dice 0.00), but mirrored left to right they would"),
        "{}",
        said(&output)
    );
    assert!(said(&output).contains("y: its two masks are one file"), "{}", said(&output));
    assert_eq!(summary["remarks"].as_array().map(Vec::len), Some(3));
}

#[test]
fn one_or_two_cases_have_no_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, end) in [("a", 5), ("b", 8), ("c", 11), ("found", 7)] {
        write_mask(&at(&format!("{name}.nii")), |[i, _, _]| i < end);
    }
    let mut table = String::from("name,automated,manual\n");
    for (n, name) in (1..).zip(["a", "b", "c"]) {
        table += &format!("{name},found.nii,{name}.nii\n");
        let (output, summary) = evaluate_pairs(folder.path(), &table);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains(if n == 1 { "1 case, 1 with a bleed" } else { "cases, " }), "{printed}");
        let few = n < 3;
        assert_eq!(printed.contains("| n < 3 "), few, "{printed}");
        let (dice, volumes) = (&summary["measures"][0]["summary"], &summary["volumes"]);
        for value in [&dice["sd"], &dice["interval"], &volumes["correlation"], &volumes["concordance"], &volumes["limits_ml"]] {
            assert_eq!(value.is_null(), few, "{n}: {summary}");
        }
        assert!(dice["mean"].is_number() && volumes["rmse_ml"].is_number());
        let csv = std::fs::read_to_string(at("out").join("table3_volumes.csv")).unwrap();
        assert_eq!(csv.contains(&format!("all,{n},,,")), few, "{csv}");
        let figure = std::fs::read_to_string(at("out").join("figure5_scatter.svg")).unwrap();
        assert_eq!(figure.contains(">loess<"), !few);
        assert!(figure.contains(if n == 1 { "Volumes of 1 case with" } else { " cases with" }), "{figure}");
    }
}

#[test]
fn an_interval_that_too_few_patients_have_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, end) in [("a", 5), ("b", 8), ("c", 11), ("found", 7)] {
        write_mask(&at(&format!("{name}.nii")), |[i, _, _]| i < end);
    }
    let table = "name,automated,manual,patient\na,found.nii,a.nii,p\nb,found.nii,b.nii,p\nc,found.nii,c.nii,q\n";
    let (output, summary) = evaluate_pairs(folder.path(), table);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("| n < 3 patients ") && !printed.contains("| n < 3 |"), "{printed}");
    let dice = &summary["measures"][0]["summary"];
    assert!(dice["interval"].is_null() && dice["sd"].is_number(), "{summary}");
}

#[test]
fn cases_have_their_columns_where_none_could_be_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (output, summary) = evaluate_pairs(folder.path(), "name,automated,manual\na,a.nii,b.nii\n");
    assert_eq!((output.status.code(), &summary["cases"]), (Some(1), &0.into()), "{}", said(&output));
    let cases = std::fs::read_to_string(folder.path().join("out").join("cases.csv")).unwrap();
    assert!(cases.starts_with("name,subgroup,patient,automated_ml,") && cases.ends_with(",remark\n"), "{cases}");
}

#[test]
fn figures_of_an_earlier_evaluation_do_not_stay_beside_new_tables() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_mask(&at("a.nii"), |[i, _, _]| i < 5);
    write_mask(&at("none.nii"), |_| false);
    let names = || {
        let mut names: Vec<String> =
            std::fs::read_dir(at("out")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    evaluate_pairs(folder.path(), "name,automated,manual,scan\na,a.nii,a.nii,a.nii\n");
    assert!(names().contains(&"figure3_median.png".to_string()), "{:?}", names());
    std::fs::write(at("out").join("figure7_mine.svg"), b"mine").unwrap();
    evaluate_pairs(folder.path(), "name,automated,manual\na,a.nii,a.nii\n");
    assert!(names().iter().any(|name| name == "figure5_scatter.svg") && !names().iter().any(|name| name.starts_with("figure3")));
    evaluate_pairs(folder.path(), "name,automated,manual\na,none.nii,none.nii\n");
    let left: Vec<String> = names().into_iter().filter(|name| name.starts_with("figure")).collect();
    assert_eq!(left, ["figure7_mine.svg"], "only what evaluations do not write");
}

#[test]
fn masks_of_other_grids_and_probabilities_fail_alone_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let box_of = |[i, _, _]: [usize; 3]| i < 9;
    write_mask(&at("manual.nii"), box_of);
    write_mask(&at("good.nii"), box_of);
    // The same voxels, mirrored in the world.
    write_mask_on(
        &at("mirrored.nii"),
        Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0]], [-9.0, -9.0, -20.0]),
        box_of,
    );
    let grid = Grid { shape: [20, 20, 9], affine: Affine::IDENTITY };
    raw_nifti::write(&at("short.nii"), &Volume::new(grid, vec![0.0; 3600]), Codes::Both);
    let mut probability =
        raw_nifti::bytes(&Volume::new(Grid { shape: [20, 20, 10], affine: Affine::IDENTITY }, vec![1.0; 4000]), Codes::Both);
    // The slope of the header.
    probability[112..116].copy_from_slice(&0.4_f32.to_le_bytes());
    std::fs::write(at("probability.nii"), probability).unwrap();
    let grid = Grid { shape: [20, 20, 10], affine: Affine::IDENTITY };
    raw_nifti::write(&at("ct.nii"), &Volume::new(grid, (0..4000).map(|n| (n % 1200) as f32 - 1000.0).collect()), Codes::Both);
    let rows = ["good", "mirrored", "short", "probability", "missing", "ct"]
        .map(|name| format!("{name},{name}.nii,manual.nii\n"))
        .concat();
    std::fs::write(at("pairs.csv"), format!("name,automated,manual\n{rows}")).unwrap();
    let output = ichor(&["evaluate", "--pairs", text(&at("pairs.csv")), "-o", text(&at("out"))]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for part in [
        "mirrored.nii: its header places a corner voxel",
        "short.nii: it has [20, 20, 9] voxels",
        "probability.nii: it is no mask",
        "ct.nii: it is no mask: it holds very many different values from -1000 to 199, as a scan does",
        "missing.nii",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let cases = std::fs::read_to_string(at("out").join("cases.csv")).unwrap();
    assert_eq!(cases.lines().count(), 2, "{cases}");
}
