//! The whole path on files, with the hand-set weights, against a simple loop that needs no network: on a phantom and on a real
//! CT. All 48 axis orders and flips of a scan, each placed by qform, by sform and by both, must give the same mask in the world.

mod support;

use ichor::batch;
use ichor::io::nifti;
use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::weights::{Metadata, Weights, hand_set};
use ichor::phantom::ellipsoids as phantom;
use ichor::scan::postprocess::Postprocessing;
use ichor::scan::segment::{Interpolation, Options, Segmentation};
use ichor::scan::{segment, template};
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

/// The scan as a file in another order of axes, read again.
fn read_stored(folder: &Path, upright: &Volume<f32>, case: Case) -> nifti::Scan {
    let path = folder.join(format!("{}.nii", case.name()));
    raw_nifti::write(&path, &turned(upright, case.order, case.flips), case.codes);
    nifti::read(&path).unwrap()
}

/// A mask written as that of a scan and read again, turned back into the order of `upright`.
fn mask_by_file(folder: &Path, upright: &Grid, mask: &Volume<bool>, header: &nifti::Header, case: Case) -> Vec<bool> {
    let out = folder.join(format!("{}_ich.nii.gz", case.name()));
    batch::write_mask(&out, mask, header).unwrap();
    let read = nifti::read(&out).unwrap().volume;
    assert_eq!(read.grid().shape, mask.grid().shape, "{case:?}");
    let to_upright = upright.affine.inverse().unwrap().after(&read.grid().affine);
    let mut upright_mask = vec![false; upright.len()];
    let [ni, nj, _] = read.grid().shape;
    for (index, _) in read.voxels().iter().enumerate().filter(|(_, value)| **value > 0.5) {
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        // A bleed in the left half stays left.
        assert!(read.grid().affine.apply(at)[0] < 0.0, "{case:?}: blood on the right");
        upright_mask[upright.index(to_upright.apply(at).map(|x| x.round() as usize))] = true;
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

impl Case {
    fn name(&self) -> String {
        format!("{self:?}").replace(|c: char| !c.is_alphanumeric(), "_")
    }
}

/// Each of the 48 orders of axes is segmented, with one of the three placements; with the other two it is read as the
/// same volume, so that what follows is the same, and its mask is written.
#[test]
fn every_orientation_and_placement_gives_the_same_mask_in_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let (upright, template) = (scan().scan, template());
    let all_codes = [Codes::Sform, Codes::Qform, Codes::Both];
    let mut cases = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in (0..8).map(|f| [f & 1 == 1, f & 2 == 2, f & 4 == 4]) {
            let first = cases.len();
            cases.push([0, 1, 2].map(|n| Case { order, flips, codes: all_codes[(first + n) % 3] }));
        }
    }
    assert_eq!(cases.len(), 48);
    let options = Options { interpolation: Interpolation::Nearest, ..Options::default() };
    let masks: Vec<Vec<bool>> = cases
        .par_iter()
        .map(|&[case, others @ ..]| {
            let stored = read_stored(folder.path(), &upright, case);
            let result = run(stored.volume.clone(), &template, &options);
            assert_eq!(result.mask.voxels(), simple_loop(&result), "{case:?}: not the simple loop's mask");
            let mask = mask_by_file(folder.path(), upright.grid(), &result.mask, &stored.header, case);
            for other in others {
                let again = read_stored(folder.path(), &upright, other);
                assert_eq!(again.volume.grid().shape, stored.volume.grid().shape, "{other:?}");
                assert!(again.volume.voxels() == stored.volume.voxels(), "{other:?}");
                let [found, expected] = [&again, &stored].map(|scan| scan.volume.grid().affine.rows);
                let differences = found.as_flattened().iter().zip(expected.as_flattened()).map(|(a, b)| (a - b).abs());
                // Single precision holds the affine, and the quaternion of these turns: sines of 0 and 90 degrees.
                assert!(differences.fold(0.0, f64::max) < 1e-6, "{other:?}: {found:?} for {expected:?}");
                let on_its_grid = Volume::new(again.volume.grid().clone(), result.mask.voxels().to_vec());
                let moved = mask_by_file(folder.path(), upright.grid(), &on_its_grid, &again.header, other);
                assert!(moved == mask, "{other:?}: another mask than {case:?}");
            }
            mask
        })
        .collect();
    let size = masks[0].iter().filter(|inside| **inside).count();
    assert!(size > 100, "{size} voxels");
    for (found, case) in masks.iter().zip(&cases) {
        let differing = found.iter().zip(&masks[0]).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{case:?}: voxels of {size} that differ");
    }
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

/// With a threshold that everything is above, blood is wherever it is sought.
#[test]
fn blood_is_sought_in_the_whole_of_both_spaces_or_in_the_brain() {
    let mut phantom = scan();
    let template = template();
    let weights = Weights::hand_set();
    // A brain with a cavity that is none of it, which no filling may close.
    let grid = phantom.brain.grid().clone();
    for (index, inside) in phantom.brain.voxels_mut().iter_mut().enumerate() {
        let [ni, nj, _] = grid.shape;
        let [x, y, z] = grid.affine.apply([index % ni, index / ni % nj, index / ni / nj].map(|n| n as f64));
        *inside &= (x - 30.0).hypot(y).hypot(z) >= 12.0;
    }
    let with = |outside_brain, postprocessing| {
        let brain = segment::BrainSource::Mask(phantom.brain.clone());
        // All of a brain cannot be blood.
        let threshold = Some(0.0);
        let (probability, keep_doubtful) = (true, true);
        let options =
            Options { threshold, outside_brain, brain, postprocessing, probability, keep_doubtful, ..Options::default() };
        let mut inference = Inference::new(&weights, Device::Cpu, 2);
        segment::segment(phantom.scan.clone(), &template, &options, &mut inference, Path::new("scan")).unwrap()
    };
    let brain = phantom.brain.voxels();
    let outside = |inside: &[bool]| inside.iter().zip(brain).filter(|(inside, brain)| **inside && !**brain).count();
    let above_0 = |probability: &Option<Volume<f32>>| -> Vec<bool> {
        probability.as_ref().unwrap().voxels().iter().map(|p| *p > 0.0).collect()
    };

    let bounded = with(false, Postprocessing::default());
    let template_voxels = template.grid().len();
    let sought = bounded.network.mask.count();
    // The brain fills about a third of the template's grid.
    assert!(sought > template_voxels / 5 && sought < template_voxels / 2, "{sought} of {template_voxels} voxels");
    assert_eq!(outside(bounded.mask.voxels()), 0);
    assert!(bounded.voxels() as f64 > 0.95 * phantom.brain.count() as f64);
    assert_eq!(outside(&above_0(&bounded.probability)), 0);

    let dense = with(true, Postprocessing::default());
    assert_eq!(dense.network.mask.count(), template_voxels, "everywhere in the network's space");
    // In the scan's: in every voxel that lies inside of the template's grid.
    let registration = dense.registration.as_ref().unwrap();
    let (grid, shape) = (phantom.scan.grid(), template.grid().shape);
    let to_index = template.grid().affine.inverse().unwrap().after(&registration.template_to_scan.inverse().unwrap());
    let mut inside = 0;
    for index in 0..grid.len() {
        let [ni, nj, _] = grid.shape;
        let at = [index % ni, index / ni % nj, index / ni / nj].map(|x| x as f64);
        let place = to_index.apply(grid.affine.apply(at));
        if (0..3).all(|axis| place[axis] >= 0.0 && place[axis] <= shape[axis] as f64 - 1.0) {
            inside += 1;
            assert!(dense.mask.voxels()[index], "voxel {at:?}, {place:?} of the template");
        }
    }
    assert!(outside(dense.mask.voxels()) > phantom.brain.count(), "{inside} voxels inside of the template's grid");
    assert!(outside(&above_0(&dense.probability)) > phantom.brain.count());
    // What follows the network does not cut it at the brain either.
    let smooth = Postprocessing { smooth_mm: Some(1.0), ..Postprocessing::default() };
    assert!(outside(with(true, smooth).mask.voxels()) > phantom.brain.count());
    assert_eq!(outside(with(false, smooth).mask.voxels()), 0);
    let fill = Postprocessing { fill_holes: true, ..Postprocessing::default() };
    assert_eq!(outside(with(false, fill).mask.voxels()), 0);
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
}

#[test]
fn blood_that_is_sought_everywhere_is_left_as_the_network_found_it() {
    let mut phantom = scan();
    let grid = phantom.brain.grid().clone();
    let mask = Volume::new(grid.clone(), morphology::erode(phantom.brain.voxels(), grid.shape, grid.spacing(), 3.2));
    // Dense blood at the left edge of the brain: the mean of a cube of which half lies outside is that of blood.
    for (index, hu) in phantom.scan.voxels_mut().iter_mut().enumerate() {
        let [ni, nj, _] = grid.shape;
        let [x, y, z] = grid.affine.apply([index % ni, index / ni % nj, index / ni / nj].map(|n| n as f64));
        if phantom.brain.voxels()[index] && x < -35.0 && y.abs() < 40.0 && z.abs() < 30.0 {
            *hu = 115.0;
        }
    }
    let hand_set = Weights::hand_set();
    let tensors = |name: &str| (name.to_string(), hand_set.tensor(name).into_owned());
    let tensors = hand_set.description().tensors().iter().map(|spec| tensors(&spec.name)).collect();
    let with = |skull_margin_mm: f32, outside_brain: bool| {
        let brain = segment::BrainSource::Mask(mask.clone());
        let options = Options { outside_brain, brain, keep_doubtful: true, ..Options::default() };
        let metadata = Metadata { skull_margin_mm, ..Metadata::default() };
        let weights = Weights::from_tensors("margin", hand_set.description(), &metadata, &tensors).unwrap();
        let mut inference = Inference::new(&weights, Device::Cpu, 2);
        let path = Path::new("scan");
        segment::segment(phantom.scan.clone(), &template(), &options, &mut inference, path).unwrap().mask
    };
    assert!(with(3.2, false) != with(0.0, false), "blood at the edge");
    assert!(with(3.2, true) == with(0.0, true));
}
