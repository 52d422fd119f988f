//! The program as a user meets it: exit status, messages, outputs, a batch that goes on.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
#[cfg(feature = "emulator")]
use ichor::io::nifti;
use ichor::phantom::ellipsoids as phantom;
use ichor::pipeline::template;
use ichor::volume::{Affine, Grid, Volume, resample};
use ichor::weights::Weights;
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
    let output = ichor(&["demo", "--device", "cpu"]);
    assert!(output.status.success() && !said(&output).contains("warning"), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let dice = printed.lines().find_map(|line| line.strip_prefix("Dice")).and_then(|dice| dice.trim().parse::<f64>().ok());
    assert!(dice.is_some_and(|dice| dice > 0.9), "{printed}");
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
    std::fs::write(scans.join("c.nii"), b"no image").unwrap();
    let part = |shard: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ichor"));
        command.args(["segment", text(&scans), "-o", text(&out), "--shard", shard, "--no-picture"]);
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
    let whole = ichor(&["segment", text(&scans), "-o", text(&out), "--no-picture"]);
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
    let json: serde_json::Value = serde_json::from_str(&compare("after.nii", "before.nii", &["--json"])).unwrap();
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
    ok(&["segment", text(&path("scan.nii")), "-o", text(&path("out")), "--save", "template,brain"]);
    ok(&["brain", text(&path("scan.nii")), "-o", text(&path("brain.nii.gz"))]);
    let registered = path("registered.nii.gz");
    ok(&["register", text(&path("scan.nii")), "-o", text(&registered), "--brain-mask", text(&path("brain.nii.gz"))]);
    ok(&["network", text(&registered), "-o", text(&path("p.nii.gz"))]);
    let same = |a: &Path, b: &Path| std::fs::read(a).unwrap() == std::fs::read(b).unwrap();
    assert!(same(&path("brain.nii.gz"), &path("out/scan_brain.nii.gz")), "the same brain");
    assert!(same(&registered, &path("out/scan_template.nii.gz")), "the same network input");
    let probability = ichor::io::nifti::read(path("p.nii.gz")).unwrap().volume;
    let mask = ichor::io::nifti::read(path("out/scan_template_ich.nii.gz")).unwrap().volume;
    assert!(probability.voxels().iter().zip(mask.voxels()).all(|(p, m)| *m == 0.0 || *p > 0.5));
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
    assert!(said(&train()).contains("another config"));

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
    let rows =
        ["good", "mirrored", "short", "probability", "missing"].map(|name| format!("{name},{name}.nii,manual.nii\n")).concat();
    std::fs::write(at("pairs.csv"), format!("name,automated,manual\n{rows}")).unwrap();
    let output = ichor(&["evaluate", "--pairs", text(&at("pairs.csv")), "-o", text(&at("out"))]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for part in [
        "mirrored.nii: its header places a corner voxel",
        "short.nii: it has [20, 20, 9] voxels",
        "probability.nii: it is no mask",
        "missing.nii",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let cases = std::fs::read_to_string(at("out").join("cases.csv")).unwrap();
    assert_eq!(cases.lines().count(), 2, "{cases}");
}
