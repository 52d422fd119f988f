//! Options of the commands that segment a scan, or do a stage of it, change what they are there for, and nothing else.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use ichor::io::{nifti, transform};
use ichor::network::sigmoid;
use ichor::network::weights::Weights;
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::postprocess::Postprocessing;
use ichor::scan::template;
use ichor::volume::{Affine, Grid, Volume, morphology, resample};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::raw_dicom::{RawSeries, field_of};
use support::raw_nifti::{self, Codes};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Does a command that must succeed.
fn done(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with scans, hand-set weights and a coarse template.
struct Place {
    folder: tempfile::TempDir,
}

/// What `ichor segment` made.
struct Results {
    folder: PathBuf,
}

impl Results {
    fn volume(&self, ending: &str) -> Volume<f32> {
        nifti::read(self.folder.join(format!("scan_{ending}.nii.gz"))).unwrap().volume
    }

    fn flags(&self, ending: &str) -> Volume<bool> {
        self.volume(ending).map(|&value| value > 0.5)
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.join(file)).unwrap()
    }

    fn report(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes("scan_ich.json")).unwrap()
    }
}

fn count(mask: &Volume<bool>) -> usize {
    mask.voxels().iter().filter(|inside| **inside).count()
}

impl Place {
    /// `scan.nii` has a large bleed with a dense core, which is above the weights' band, and a small one.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        Weights::hand_set().write(place.path("weights.safetensors")).unwrap();
        let fine = template::built_in();
        let affine = fine.grid().affine.after(&Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], [0.5; 3]));
        let coarse = Grid { shape: fine.grid().shape.map(|side| side / 2), affine };
        let coarse = resample::linear(&fine, &coarse, &Affine::IDENTITY, 0.0).unwrap();
        raw_nifti::write(&place.path("template.nii"), &coarse, Codes::Both);

        let mut head = place.head();
        let grid = head.scan.grid().clone();
        for (index, hu) in head.scan.voxels_mut().iter_mut().enumerate() {
            let [ni, nj, _] = grid.shape;
            let [x, y, z] = grid.affine.apply([index % ni, index / ni % nj, index / ni / nj].map(|n| n as f64));
            if (x + 30.0).hypot(y + 2.0).hypot(z - 6.0) < 8.0 {
                *hu = 190.0;
            }
            if (x - 32.0).hypot(y + 20.0).hypot(z - 10.0) < 11.0 {
                *hu = 64.0;
            }
        }
        raw_nifti::write(&place.path("scan.nii"), &head.scan, Codes::Both);
        place
    }

    /// A head in the order of axes that the pipeline works in.
    fn head(&self) -> phantom::Phantom {
        let affine = Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]], [-94.5, -100.5, -104.0]);
        phantom::head_on(Grid { shape: [64, 68, 48], affine })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Segments a scan with everything saved.
    fn segment_with(&self, scan: &Path, weights: Option<&Path>, template: Option<&Path>, more: &[&str]) -> Results {
        let folder = self.path(&format!("out {}", more.join(" ").replace('/', "_")));
        let mut arguments = vec!["segment", text(scan), "-o", text(&folder), "--name", "scan", "--overwrite"];
        arguments.extend(["--save", "brain,probability,template,transform"]);
        weights.iter().for_each(|path| arguments.extend(["--weights", text(path)]));
        template.iter().for_each(|path| arguments.extend(["--template", text(path)]));
        arguments.extend(more);
        done(&arguments);
        Results { folder }
    }

    fn segment(&self, more: &[&str]) -> Results {
        let (weights, template) = (self.path("weights.safetensors"), self.path("template.nii"));
        self.segment_with(&self.path("scan.nii"), Some(&weights), Some(&template), more)
    }
}

#[test]
fn what_is_done_after_the_network_is_what_was_asked_for() {
    let place = Place::new();
    let plain = place.segment(&[]);
    let (mask, brain) = (plain.flags("ich"), plain.flags("brain"));
    let after = |postprocessing: Postprocessing| {
        let mut expected = mask.clone();
        postprocessing.apply(&mut expected, Some(&brain));
        expected
    };
    let smooth = Postprocessing { smooth_mm: Some(4.0), ..Postprocessing::default() };
    let fill = Postprocessing { fill_holes: true, ..Postprocessing::default() };
    let least = Postprocessing { min_component_ml: Some(3.0), ..Postprocessing::default() };
    let all = Postprocessing { smooth_mm: Some(1.0), fill_holes: true, min_component_ml: Some(3.0) };
    for (more, postprocessing) in [
        (&["--smooth=4"][..], smooth),
        (&["--fill-holes"], fill),
        (&["--min-component", "3"], least),
        (&["--smooth", "--fill-holes", "--min-component", "3"], all),
    ] {
        let expected = after(postprocessing);
        assert!(expected != mask, "{more:?} would change nothing");
        let results = place.segment(more);
        assert!(results.flags("ich") == expected, "{more:?}");
        assert!(
            results.flags("brain") == brain
                && results.bytes("scan_template_ich.nii.gz") == plain.bytes("scan_template_ich.nii.gz")
        );
        assert_eq!(results.report()["voxels"], count(&expected));
        assert_eq!(results.report()["postprocessing"], serde_json::to_value(postprocessing).unwrap());
    }
}

#[test]
fn a_threshold_is_the_one_that_was_asked_for() {
    let place = Place::new();
    let plain = place.segment(&[]);
    let high = place.segment(&["--threshold", "0.9"]);
    assert_eq!((&plain.report()["threshold"], &high.report()["threshold"]), (&0.5.into(), &0.9.into()));
    for (results, threshold) in [(&plain, 0.5), (&high, 0.9)] {
        let space = "template_ich";
        let found = count(&results.flags(space));
        assert!(found > 0 && (threshold == 0.5 || found < count(&plain.flags(space))), "{found} above {threshold}");
        // The network's own answer about what it was given.
        let (input, out) = (results.folder.join("scan_template.nii.gz"), results.folder.join("p.nii.gz"));
        done(&["network", text(&input), "-o", text(&out), "--weights", text(&place.path("weights.safetensors"))]);
        let answer = nifti::read(&out).unwrap().volume;
        let brain = nifti::read(&input).unwrap().volume;
        for (voxel, &inside) in results.flags(space).voxels().iter().enumerate() {
            if brain.voxels()[voxel] != 0.0 {
                assert_eq!(inside, answer.voxels()[voxel] > threshold, "voxel {voxel}");
            }
        }
    }
    let (plain, high) = (plain.flags("ich"), high.flags("ich"));
    assert!(count(&high) > 0 && count(&high) < count(&plain));
    assert!(high.voxels().iter().zip(plain.voxels()).all(|(high, plain)| !high || *plain));
}

#[test]
fn the_network_alone_gives_logits_where_they_are_asked_for() {
    let place = Place::new();
    let weights = place.path("weights.safetensors");
    let answer = |more: &[&str]| {
        let out = place.path("answer.nii.gz");
        done(&[&["network", text(&place.path("template.nii")), "-o", text(&out), "--weights", text(&weights)], more].concat());
        nifti::read(&out).unwrap().volume
    };
    let (probability, logits) = (answer(&[]), answer(&["--logits"]));
    assert!(logits.voxels().iter().any(|logit| *logit < 0.0));
    assert!(probability.voxels().iter().zip(logits.voxels()).all(|(p, logit)| (*p - sigmoid(*logit)).abs() < 1e-6));
    assert_eq!(answer(&["--device", "reference", "--logits"]).voxels(), logits.voxels(), "sums that are exact");
}

/// The ways to find the brain, each against what it must give, and the stages alone against the whole.
#[test]
fn the_brain_is_found_in_the_way_that_was_asked_for_by_every_command() {
    let place = Place::new();
    let head = place.head();
    let grid = head.brain.grid().clone();
    // A mask that no method would find: the brain without its edge.
    let given = Volume::new(grid.clone(), morphology::erode(head.brain.voxels(), grid.shape, grid.spacing(), 5.0));
    raw_nifti::write(&place.path("brain.nii"), &given.map(|&inside| f32::from(u8::from(inside))), Codes::Both);
    let scan = nifti::read(place.path("scan.nii")).unwrap().volume;
    let stripped = scan.voxels().iter().zip(given.voxels()).map(|(&hu, &inside)| if inside { hu } else { 0.0 }).collect();
    raw_nifti::write(&place.path("stripped.nii"), &Volume::new(grid.clone(), stripped), Codes::Both);

    let (mask, template, weights) = (place.path("brain.nii"), place.path("template.nii"), place.path("weights.safetensors"));
    let mut brains = Vec::new();
    let mut inputs = Vec::new();
    for (file, more) in [
        ("scan.nii", &[][..]),
        ("scan.nii", &["--brain-method", "bet"]),
        ("scan.nii", &["--brain-mask", text(&mask)]),
        ("stripped.nii", &["--skull-stripped"]),
        ("scan.nii", &["--interpolation", "nearest"]),
    ] {
        let scan = place.path(file);
        let results = place.segment_with(&scan, Some(&weights), Some(&template), more);
        let (input, tfm) = (results.folder.join("alone.nii.gz"), results.folder.join("alone.tfm"));
        let basic = ["register", text(&scan), "-o", text(&input), "--template", text(&template), "--save-transform", text(&tfm)];
        done(&[&basic[..], more].concat());
        assert!(results.bytes("alone.nii.gz") == results.bytes("scan_template.nii.gz"), "{more:?}");
        assert!(results.bytes("alone.tfm") == results.bytes("scan_to_template.tfm"), "{more:?}");
        let transform = transform::read(results.folder.join("alone.tfm"));
        assert!(transform.is_ok_and(|transform| transform != Affine::IDENTITY), "{more:?}");
        brains.push(results.flags("brain"));
        inputs.push(results.volume("template"));
    }
    let [skull, bet, by_mask, by_zeros, again] = &brains[..] else { unreachable!() };
    assert!(count(skull) > count(&given) && again == skull);
    assert!(*by_mask == given, "the mask that was given");
    // What noise has set to 0 inside is filled.
    assert!(*by_zeros == given, "everything that is not 0");
    assert!(bet != skull && count(bet) > count(skull) / 2, "BET finds another brain");
    for (more, expected) in [(&[][..], skull), (&["--brain-method", "bet"], bet)] {
        let out = place.path("brain alone.nii.gz");
        done(&[&["brain", text(&place.path("scan.nii")), "-o", text(&out)], more].concat());
        assert!(nifti::read(&out).unwrap().volume.map(|&value| value > 0.5) == *expected, "{more:?}");
    }
    // The scan's HU are whole: so is what the nearest voxel gives, and not what lies between voxels.
    let whole = |volume: &Volume<f32>| volume.voxels().iter().all(|hu| hu.fract() == 0.0);
    assert_eq!(inputs.iter().map(whole).collect::<Vec<_>>(), [false, false, false, false, true]);
}

#[test]
fn blood_is_sought_outside_the_brain_where_it_is_asked_for() {
    let place = Place::new();
    // Everything is above it.
    let lowest = ["--threshold", "1e-30", "--keep-doubtful"];
    let (bounded, dense) = (place.segment(&lowest), place.segment(&[&lowest[..], &["--outside-brain"]].concat()));
    let outside = |results: &Results| {
        let brain = results.flags("brain");
        results.flags("ich").voxels().iter().zip(brain.voxels()).filter(|(found, inside)| **found && !**inside).count()
    };
    assert_eq!(outside(&bounded), 0);
    assert!(outside(&dense) > count(&dense.flags("brain")), "{} voxels", outside(&dense));
    let network = dense.flags("template_ich");
    assert_eq!(count(&network), network.grid().len());
    assert!(count(&bounded.flags("template_ich")) < network.grid().len() / 2);
    assert_eq!((&bounded.report()["doubtful"], &bounded.report()["choices"]["outside_brain"]), (&true.into(), &false.into()));
    assert_eq!(dense.report()["choices"]["outside_brain"], true);
}

#[test]
fn weights_and_template_are_those_that_were_given() {
    let place = Place::new();
    let (scan, weights, template) = (place.path("scan.nii"), place.path("weights.safetensors"), place.path("template.nii"));
    let given = place.segment(&[]);
    let built_in = place.segment_with(&scan, None, None, &["--device", "cpu"]);
    let name = |results: &Results, of: &str| results.report()[of].clone();
    assert_eq!(name(&given, "weights")["name"], "weights");
    assert_eq!(name(&built_in, "weights")["name"], Weights::built_in().unwrap().name());
    let shape = |path: &Path| nifti::read(path).unwrap().volume.grid().shape;
    assert_eq!(given.volume("template").grid().shape, shape(&template));
    assert_eq!(built_in.volume("template").grid().shape, template::built_in().grid().shape);
    assert!(name(&given, "template") != name(&built_in, "template"));
    let registered = place.path("registered.nii.gz");
    done(&["register", text(&scan), "-o", text(&registered)]);
    assert_eq!(shape(&registered), template::built_in().grid().shape);
    // The same input, other weights: another answer.
    let answer = |more: &[&str]| {
        let out = place.path("p.nii.gz");
        done(&[&["network", text(&template), "-o", text(&out)], more].concat());
        fs::read(&out).unwrap()
    };
    assert!(answer(&[]) != answer(&["--weights", text(&weights)]));
}

#[test]
fn the_series_that_was_asked_for_is_read_by_every_command() {
    let place = Place::new();
    let affine = Affine::new([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]], [-111.0; 3]);
    let head = phantom::head_on(Grid { shape: [56, 64, 56], affine });
    let heights: Vec<f64> = (0..37).map(|n| -105.0 + 6.0 * f64::from(n)).collect();
    // The second has voxels of 5 mm along x.
    for (number, columns, width) in [("1", 50, 4.0), ("2", 40, 5.0)] {
        let positions = heights.iter().map(|&z| [-99.0, -110.0, z]).collect();
        let raw = RawSeries { columns, rows: 56, spacing: [4.0, width], positions, ..RawSeries::axial(&heights) };
        let raw = raw.with(tags::SERIES_INSTANCE_UID, VR::UI, &format!("2.25.{number}"));
        raw.with(tags::SERIES_NUMBER, VR::IS, number).write(&place.path("dicom"), &field_of(&head));
    }
    let (dicom, template) = (place.path("dicom"), place.path("template.nii"));
    let weights = place.path("weights.safetensors");
    for (number, width) in [("1", 4.0), ("2", 5.0)] {
        let more = ["--series", number];
        let out = place.path("stage.nii.gz");
        let width_of = |volume: &Volume<f32>| volume.grid().spacing()[0];
        for command in ["convert", "brain"] {
            done(&[&[command, text(&dicom), "-o", text(&out)], &more[..]].concat());
            assert!((width_of(&nifti::read(&out).unwrap().volume) - width).abs() < 1e-6, "{command} {number}");
        }
        let results = place.segment_with(&dicom, Some(&weights), Some(&template), &more);
        assert!((width_of(&results.volume("ich")) - width).abs() < 1e-6, "segment {number}");
        done(&[&["register", text(&dicom), "-o", text(&out), "--template", text(&template)], &more[..]].concat());
        assert!(fs::read(&out).unwrap() == results.bytes("scan_template.nii.gz"), "register {number}");
    }
}
