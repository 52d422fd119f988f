//! The whole path on files, with the hand-set weights, against a simple loop that needs no network: on a phantom and on a real
//! CT. All 48 axis orders and flips of a scan, each placed by qform, by sform and by both, must give the same mask in the world.

mod support;

use ichor::batch;
use ichor::io::nifti;
use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::weights::{Metadata, Weights, hand_set};
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::segment::{self, Interpolation, Options, Segmentation};
use ichor::scan::template;
use ichor::volume::{Affine, Grid, Volume, morphology, resample};
use rayon::prelude::*;
use std::path::Path;
use support::raw_nifti::{self, Codes};

/// A coarse form of the built-in template, of 4.5 mm, so that registration and network take little time.
fn template() -> Volume<f32> {
    let fine = template::built_in();
    let affine = fine.grid().affine;
    let thrice = Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], [1.0; 3]);
    let grid = Grid { shape: fine.grid().shape.map(|side| side / 3), affine: affine.after(&thrice) };
    resample::linear(&fine, &grid, &Affine::IDENTITY, 0.0).unwrap()
}

/// The phantom on a coarse grid with x to the left, as scanners store it. Single precision holds its affine, so an sform says it exactly.
fn scan() -> phantom::Phantom {
    let matrix = [[-3.0, 0.0, 0.0], [0.0, 3.125, 0.0], [0.0, 0.0, 4.0]];
    phantom::head_on(Grid { shape: [64, 70, 48], affine: Affine::new(matrix, [99.0, -105.0, -104.0]) })
}

fn run(scan: Volume<f32>, template: &Volume<f32>, options: &Options) -> Segmentation {
    let weights = Weights::hand_set();
    let mut inference = Inference::new(&weights, Device::Cpu, 2);
    segment::segment(scan, template, options, &mut inference, Path::new("scan")).unwrap()
}

/// The mask that a simple loop makes of the network's input: the rule inside the brain in template space, then each brain voxel of the scan by
/// the eight template voxels around it.
fn simple_loop(result: &Segmentation) -> Vec<bool> {
    let input = &result.network.input;
    let [ni, nj, nk] = input.grid().shape;
    let registration = result.registration.as_ref().unwrap();
    let to_template = input.grid().affine.inverse().unwrap().after(&registration.template_to_scan.inverse().unwrap());
    // The rule, on the network's order of voxels (k fastest).
    let mut network_order = Vec::new();
    for i in 0..ni {
        for j in 0..nj {
            network_order.extend((0..nk).map(|k| *input.at([i, j, k])));
        }
    }
    let rule = hand_set::rule(&network_order, [ni, nj, nk]);
    let grid = result.mask.grid();
    let scan_index = grid.affine.inverse().unwrap().after(&registration.template_to_scan).after(&input.grid().affine);
    let in_brain = |i: usize, j: usize, k: usize| {
        let at = scan_index.apply([i, j, k].map(|x| x as f64)).map(|x| (x + 0.5).floor());
        (0..3).all(|a| at[a] >= 0.0 && at[a] < grid.shape[a] as f64) && *result.brain.at(at.map(|x| x as usize))
    };
    let label = |i: i64, j: i64, k: i64| {
        let inside = [i, j, k].iter().zip([ni, nj, nk]).all(|(&at, side)| at >= 0 && at < side as i64);
        inside && rule[((i as usize * nj) + j as usize) * nk + k as usize] && in_brain(i as usize, j as usize, k as usize)
    };
    let mut mask = Vec::new();
    for k in 0..grid.shape[2] {
        for j in 0..grid.shape[1] {
            for i in 0..grid.shape[0] {
                if !result.brain.at([i, j, k]) {
                    mask.push(false);
                    continue;
                }
                let p = to_template.apply(grid.affine.apply([i, j, k].map(|x| x as f64)));
                let mut sum = 0.0;
                for (di, dj, dk) in (0..8).map(|c| (c & 1, c >> 1 & 1, c >> 2 & 1)) {
                    let near = |axis: usize, d: i64| {
                        let part = p[axis] - p[axis].floor();
                        if d == 1 { part } else { 1.0 - part }
                    };
                    if label(p[0].floor() as i64 + di, p[1].floor() as i64 + dj, p[2].floor() as i64 + dk) {
                        sum += near(0, di) * near(1, dj) * near(2, dk);
                    }
                }
                mask.push(sum > 0.5);
            }
        }
    }
    mask
}

#[test]
fn the_mask_is_that_of_a_simple_loop() {
    let phantom = scan();
    // With the nearest voxel's HU the network's input is whole, and so its arithmetic exact.
    let options = Options { interpolation: Interpolation::Nearest, ..Options::default() };
    let result = run(phantom.scan, &template(), &options);
    assert!(result.voxels() > 100, "{} voxels", result.voxels());
    assert_eq!(result.mask.voxels(), simple_loop(&result));
}

#[test]
fn the_bleed_of_the_phantom_is_found_where_it_is() {
    let phantom = scan();
    let result = run(phantom.scan.clone(), &template::built_in(), &Options::default());
    let both = result.mask.voxels().iter().zip(phantom.bleed.voxels()).filter(|(a, b)| **a && **b).count();
    let truth = phantom.bleed.count();
    let dice = 2.0 * both as f64 / (result.voxels() + truth) as f64;
    assert!(dice > 0.8, "Dice {dice}, {} mL of {}", result.volume_ml(), phantom.bleed_ml());
    for (index, _) in result.mask.voxels().iter().enumerate().filter(|(_, inside)| **inside) {
        let [ni, nj, _] = result.mask.grid().shape;
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        assert!(result.mask.grid().affine.apply(at)[0] < 5.0, "the bleed is on the patient's left");
    }
}

/// The volume with its axes in another order and some reversed; world positions stay.
fn turned(volume: &Volume<f32>, order: [usize; 3], flips: [bool; 3]) -> Volume<f32> {
    let old = volume.grid();
    let shape = order.map(|axis| old.shape[axis]);
    let mut matrix = [[0.0; 3]; 3];
    let mut first = [0.0; 3];
    for (new, &axis) in order.iter().enumerate() {
        matrix[axis][new] = if flips[new] { -1.0 } else { 1.0 };
        first[axis] = if flips[new] { (old.shape[axis] - 1) as f64 } else { 0.0 };
    }
    let to_old = Affine::new(matrix, first);
    let grid = Grid { shape, affine: old.affine.after(&to_old) };
    let mut voxels = Vec::new();
    for k in 0..shape[2] {
        for j in 0..shape[1] {
            voxels.extend((0..shape[0]).map(|i| *volume.at(to_old.apply([i, j, k].map(|x| x as f64)).map(|x| x as usize))));
        }
    }
    Volume::new(grid, voxels)
}

/// The scan as a file in another order of axes, read, segmented, its mask written and read again: the mask's bits, turned back into the order of
/// `upright`. The mask is compared with that of the simple loop on the way.
fn mask_by_files(folder: &Path, upright: &Volume<f32>, template: &Volume<f32>, case: Case) -> Vec<bool> {
    let name = format!("{case:?}").replace(|c: char| !c.is_alphanumeric(), "_");
    let (path, out) = (folder.join(format!("{name}.nii")), folder.join(format!("{name}_ich.nii.gz")));
    let moved = turned(upright, case.order, case.flips);
    raw_nifti::write(&path, &moved, case.codes);
    let scan = nifti::read(&path).unwrap();
    let options = Options { interpolation: Interpolation::Nearest, ..Options::default() };
    let result = run(scan.volume, template, &options);
    assert_eq!(result.mask.voxels(), simple_loop(&result), "{case:?}: not the simple loop's mask");
    batch::write_mask(&out, &result.mask, &scan.header).unwrap();
    let mask = nifti::read(&out).unwrap().volume;
    assert_eq!(mask.grid().shape, moved.grid().shape, "{case:?}");
    let to_upright = upright.grid().affine.inverse().unwrap().after(&mask.grid().affine);
    let mut upright_mask = vec![false; upright.grid().len()];
    let [ni, nj, _] = mask.grid().shape;
    for (index, _) in mask.voxels().iter().enumerate().filter(|(_, value)| **value > 0.5) {
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        // A bleed in the left half stays left.
        assert!(mask.grid().affine.apply(at)[0] < 0.0, "{case:?}: blood on the right");
        upright_mask[upright.grid().index(to_upright.apply(at).map(|x| x.round() as usize))] = true;
    }
    upright_mask
}

/// How a scan is stored.
#[derive(Clone, Copy, Debug)]
struct Case {
    order: [usize; 3],
    flips: [bool; 3],
    codes: Codes,
}

#[test]
fn every_orientation_and_placement_gives_the_same_mask_in_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let (upright, template) = (scan().scan, template());
    let mut cases = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in (0..8).map(|f| [f & 1 == 1, f & 2 == 2, f & 4 == 4]) {
            cases.extend([Codes::Sform, Codes::Qform, Codes::Both].map(|codes| Case { order, flips, codes }));
        }
    }
    assert_eq!(cases.len(), 144);
    let expected = mask_by_files(folder.path(), &upright, &template, cases[0]);
    let size = expected.iter().filter(|inside| **inside).count();
    assert!(size > 100, "{size} voxels");
    cases.par_iter().for_each(|&case| {
        let found = mask_by_files(folder.path(), &upright, &template, case);
        let differing = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{case:?}: voxels of {size} that differ");
    });
}

#[test]
fn on_a_real_ct_the_mask_is_that_of_a_simple_loop() {
    let Some(folder) = support::shared("data/ge_tilt/dcm2niix") else { return };
    // As scanned, with the gantry's tilt in its sheared affine, and corrected for it.
    for name in ["ge.nii.gz", "ge_tilt_eq.nii.gz"] {
        let scan = nifti::read(folder.join(name)).unwrap().volume;
        let options = Options { interpolation: Interpolation::Nearest, ..Options::default() };
        let result = run(scan, &template::built_in(), &options);
        assert!(result.voxels() > 100, "{name}: {} voxels", result.voxels());
        assert!(result.mask.voxels() == simple_loop(&result), "{name}");
    }
}

#[test]
fn outside_the_brain_only_when_asked_for() {
    // A ball of blood HU in the neck, far from the brain.
    let mut phantom = scan();
    let grid = phantom.scan.grid().clone();
    let [ni, nj, _] = grid.shape;
    for (index, hu) in phantom.scan.voxels_mut().iter_mut().enumerate() {
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        let [x, y, z] = grid.affine.apply(at);
        if (x - 30.0).hypot(y - 0.0).hypot(z - 0.0) < 16.0 {
            *hu = 65.0;
        }
    }
    // The brain mask leaves the ball out: only the dense answer may see it, and the network sees 0 there either way.
    let mask = phantom.brain.clone();
    let mut without = mask.clone();
    for (index, inside) in without.voxels_mut().iter_mut().enumerate() {
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        let [x, y, z] = grid.affine.apply(at);
        *inside &= (x - 30.0).hypot(y).hypot(z) >= 20.0;
    }
    let with = |brain: Volume<bool>, outside_brain| {
        let options = Options { brain: segment::BrainSource::Mask(brain), outside_brain, ..Options::default() };
        run(phantom.scan.clone(), &template(), &options)
    };
    let all = with(mask, false);
    let bounded = with(without.clone(), false);
    let dense = with(without.clone(), true);
    assert!(bounded.voxels() < all.voxels(), "the ball is left out");
    assert!(bounded.mask.voxels().iter().zip(without.voxels()).all(|(found, inside)| !found || *inside));
    assert!(dense.voxels() >= bounded.voxels());
}

#[test]
fn where_the_weights_ask_for_it_blood_goes_on_between_brain_and_bone() {
    let hand_set = Weights::hand_set();
    let network = hand_set.description();
    let tensors =
        network.tensors().into_iter().map(|spec| (spec.name.clone(), hand_set.tensor(&spec.name).into_owned())).collect();
    let phantom = scan();
    // A brain mask that leaves out soft tissue as wide as a voxel at its edge; above a threshold of 0 all is blood wherever it is sought.
    let grid = phantom.brain.grid().clone();
    let mask = Volume::new(grid.clone(), morphology::erode(phantom.brain.voxels(), grid.shape, grid.spacing(), 3.2));
    let with = |skull_margin_mm: f32, outside_brain: bool| {
        let brain = segment::BrainSource::Mask(mask.clone());
        // All of a brain cannot be blood.
        let options = Options { threshold: Some(0.0), outside_brain, brain, keep_doubtful: true, ..Options::default() };
        let metadata = Metadata { skull_margin_mm, ..Metadata::default() };
        let weights = Weights::from_tensors("margin", network, &metadata, &tensors).unwrap();
        let mut inference = Inference::new(&weights, Device::Cpu, 2);
        segment::segment(phantom.scan.clone(), &template(), &options, &mut inference, Path::new("scan")).unwrap()
    };
    let (none, some) = (with(0.0, false), with(3.2, false));
    assert_eq!(none.network.mask, some.network.mask);
    assert!(none.mask.voxels().iter().zip(mask.voxels()).all(|(found, inside)| !found || *inside));
    let wide = morphology::dilate(mask.voxels(), grid.shape, grid.spacing(), 3.2);
    let mut added = 0;
    for (voxel, &found) in some.mask.voxels().iter().enumerate() {
        let hu = phantom.scan.voxels()[voxel];
        assert!(found || !none.mask.voxels()[voxel]);
        if found && !none.mask.voxels()[voxel] {
            assert!(wide[voxel] && !mask.voxels()[voxel] && (20.0..500.0).contains(&hu), "{hu} HU at voxel {voxel}");
            added += 1;
        }
    }
    assert!(added > 1000, "{added} voxels");
    assert_eq!(some.components.iter().map(|component| component.voxels).sum::<usize>(), some.voxels());
    // Blood that is sought everywhere is left as the network found it.
    assert_eq!(with(0.0, true).mask, with(3.2, true).mask);
}
