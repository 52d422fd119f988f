//! What a second method says of a mask, as a user of the program sees it.

use ichor::io::nifti;
use ichor::scan::second_opinion::SecondOpinion;
use ichor::volume::Volume;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

fn done(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// A folder with a generated head with one large bleed, and one without.
struct Place(tempfile::TempDir);

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let place = Place(tempfile::tempdir().unwrap());
    let heads = place.path("heads");
    let size = ["--matrix", "208,208,32", "--voxel", "1.1,1.1,5", "-o", text(&heads)];
    let bleed = ["phantom", "--seed", "2012", "--without-bleed", "0", "--volume", "60,100", "--kinds", "lobar"];
    done(&[&bleed[..], &size].concat());
    done(&[&["phantom", "--seed", "1000", "--without-bleed", "1"][..], &size].concat());
    place
});

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Report and mask of the head with a bleed, segmented with these options.
    fn segment(&self, folder: &str, more: &[&str]) -> (Value, Volume<bool>) {
        let (scan, folder) = (self.path("heads/phantom_002012.nii.gz"), self.path(folder));
        done(&[&["segment", text(&scan), "-o", text(&folder), "--no-picture"][..], more].concat());
        let report = serde_json::from_slice(&fs::read(folder.join("phantom_002012_ich.json")).unwrap()).unwrap();
        let mask = nifti::read(folder.join("phantom_002012_ich.nii.gz")).unwrap().volume.map(|&value| value > 0.5);
        (report, mask)
    }
}

#[test]
fn the_second_opinion_is_the_other_methods_mask_and_changes_nothing() {
    let (report, mask) = PLACE.segment("both", &[]);
    let (alone, own) = PLACE.segment("alone", &["--no-second-opinion"]);
    assert!(own == mask, "the network's mask is the same without it");
    assert_eq!((&alone["second_opinion"], &alone["components"][0]["seen"]), (&Value::Null, &Value::Null));
    let (other, second) = PLACE.segment("other", &["--method", "pitchperfect"]);
    let expected = SecondOpinion::of(Default::default(), &mask, &second);
    let opinion = &report["second_opinion"];
    assert_eq!(opinion["method"], "pitchperfect");
    assert_eq!([&opinion["dice"], &opinion["volume_ml"]], [&Value::from(expected.dice), &Value::from(expected.volume_ml)]);
    assert!(expected.dice > 0.6, "both find a large bleed: {}", expected.dice);
    assert!(report["components"][0]["seen"].as_f64().unwrap() > 0.5);
    // The report of the other method names it, its source and its cutoff, and has no opinion on itself.
    assert_eq!((&other["second_opinion"], &other["choices"]["method"]), (&Value::Null, &"pitchperfect".into()));
    assert_eq!(other["weights"]["name"], "PItcHPERFeCT logistic model");
    assert!(other["weights"]["origin"].as_str().unwrap().contains("Muschelli"));
    assert!((other["threshold"].as_f64().unwrap() - 0.54812914).abs() < 1e-6);
    let (strict, stricter) = PLACE.segment("strict", &["--method", "pitchperfect", "--threshold", "0.9"]);
    assert!(stricter.count() < second.count() && strict["threshold"].as_f64().unwrap() > 0.89);
}

#[test]
fn what_is_not_seen_is_dropped_where_that_is_asked_for() {
    let (_, mask) = PLACE.segment("kept", &["--threshold", "0.02"]);
    let (report, dropped) = PLACE.segment("dropped", &["--threshold", "0.02", "--drop-unseen"]);
    assert!(dropped.count() > 0 && dropped.voxels().iter().zip(mask.voxels()).all(|(dropped, kept)| !dropped || *kept));
    let components = report["components"].as_array().unwrap();
    assert!(!components.is_empty() && components.iter().all(|component| component["seen"].as_f64().unwrap() > 0.0));
    assert_eq!(report["choices"]["drop_unseen"], true);
}

#[test]
fn normals_of_other_heads_are_made_read_and_told_apart() {
    let (healthy, normals) = (PLACE.path("heads/phantom_001000.nii.gz"), PLACE.path("normals.json"));
    done(&["pitchperfect", "normals", text(&healthy), "-o", text(&normals)]);
    let (built_in, mask) = PLACE.segment("built_in", &["--method", "pitchperfect"]);
    let (own, other) = PLACE.segment("own", &["--method", "pitchperfect", "--normals", text(&normals)]);
    assert!(own["weights"]["sha256"] != built_in["weights"]["sha256"] && other != mask);
    let scan = PLACE.path("heads/phantom_002012.nii.gz");
    let folder = PLACE.path("own");
    let arguments = ["segment", text(&scan), "-o", text(&folder), "--method", "pitchperfect", "--normals", text(&scan)];
    let output = Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("phantom_002012.nii.gz") && said.contains("normals"), "{said}");
}

#[test]
fn features_are_images_on_one_grid() {
    let folder = PLACE.path("features");
    done(&["pitchperfect", "features", text(&PLACE.path("heads/phantom_001000.nii.gz")), "-o", text(&folder)]);
    let image = |name: &str| nifti::read(folder.join(format!("{name}.nii.gz"))).unwrap().volume;
    let [hu, counted, value] = ["image", "voxels", "value"].map(image);
    assert_eq!(hu.grid().spacing(), [1.0; 3]);
    for ((hu, counted), value) in hu.voxels().iter().zip(counted.voxels()).zip(value.voxels()) {
        let expected = if *counted > 0.5 && (0.0..=100.0).contains(hu) { *hu } else { 0.0 };
        assert_eq!(*value, expected);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 22);
}
