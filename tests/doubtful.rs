//! Scans whose result cannot be right fail, with a number and a way out; sound ones of every kind do not, and a head whose air and bone were
//! taken out comes out as the untouched one.

mod support;

use ichor::io::nifti;
use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::weights::Weights;
use ichor::phantom::{self, ellipsoids};
use ichor::scan::brain;
use ichor::scan::segment::{self, BrainSource, Options};
use ichor::scan::template;
use ichor::volume::{Affine, Grid, Volume, resample};
use rayon::prelude::*;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;
use support::raw_nifti::{self, Codes};

/// A coarse form of the built-in template, of 4.5 mm, so that registration takes little time.
static COARSE_TEMPLATE: LazyLock<Volume<f32>> = LazyLock::new(|| {
    let fine = template::built_in();
    let thrice = Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]], [1.0; 3]);
    let grid = Grid { shape: fine.grid().shape.map(|side| side / 3), affine: fine.grid().affine.after(&thrice) };
    resample::linear(&fine, &grid, &Affine::IDENTITY, 0.0).unwrap()
});
static WEIGHTS: LazyLock<Weights> = LazyLock::new(Weights::hand_set);

/// A grid around 0.
fn grid(shape: [usize; 3], spacing: [f64; 3]) -> Grid {
    let matrix = [[spacing[0], 0.0, 0.0], [0.0, spacing[1], 0.0], [0.0, 0.0, spacing[2]]];
    Grid { shape, affine: Affine::new(matrix, [0, 1, 2].map(|a| -spacing[a] * (shape[a] as f64 - 1.0) / 2.0)) }
}

/// A number from -1 to 1 that looks random, the same for the same voxel.
fn random(voxel: usize) -> f32 {
    let mixed = (voxel as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A scan of HU given at points in RAS mm, with noise of up to 10 HU.
fn painted(grid: Grid, hu: impl Fn([f64; 3]) -> f32 + Sync) -> Volume<f32> {
    let [ni, nj, _] = grid.shape;
    let voxels = (0..grid.len()).into_par_iter().map(|n| {
        let at = [n % ni, n / ni % nj, n / ni / nj].map(|x| x as f64);
        (hu(grid.affine.apply(at)) + 10.0 * random(n)).round()
    });
    Volume::new(grid.clone(), voxels.collect())
}

/// The simple head on 2 x 2 x 2.5 mm.
fn head() -> ellipsoids::Phantom {
    ellipsoids::head_on(grid([96, 112, 72], [2.0, 2.0, 2.5]))
}

/// A generated head with a person's anatomy, on 2 x 2 x 4 mm.
fn person(seed: u64, hard: bool) -> Volume<f32> {
    let grid = phantom::ct_grid([104, 120, 42], [2.0, 2.0, 4.0], if seed.is_multiple_of(2) { 18.0 } else { 0.0 });
    let mut settings = phantom::Settings::new(grid, 4.0);
    settings.hard = hard;
    phantom::generate(seed, &settings).unwrap().scan
}

/// Another affine for the same voxels: so many times as large along each axis.
fn stretched(scan: &Volume<f32>, factors: [f64; 3]) -> Volume<f32> {
    let Grid { shape, affine } = *scan.grid();
    let mut matrix = [[0.0; 3]; 3];
    (0..3).for_each(|a| matrix[a][a] = factors[a]);
    Volume::new(Grid { shape, affine: Affine::new(matrix, [0.0; 3]).after(&affine) }, scan.voxels().to_vec())
}

/// The slices of a scan from `first` on.
fn slices(scan: &Volume<f32>, range: std::ops::Range<usize>) -> Volume<f32> {
    let Grid { shape: [ni, nj, _], affine } = *scan.grid();
    let shift = Affine::new(Affine::IDENTITY.matrix(), [0.0, 0.0, range.start as f64]);
    let voxels = scan.voxels()[ni * nj * range.start..ni * nj * range.end].to_vec();
    Volume::new(Grid { shape: [ni, nj, range.len()], affine: affine.after(&shift) }, voxels)
}

/// What becomes of a scan up to the network: the numbers of its warnings, or the error's sentence.
fn verdict(scan: Volume<f32>, options: &Options) -> Result<Vec<u8>, String> {
    let mut inference = Inference::new(&WEIGHTS, Device::Cpu, 2);
    let result = segment::segment(scan, &COARSE_TEMPLATE, options, &mut inference, Path::new("scan.nii"));
    let numbers = |result: segment::Segmentation| result.warnings.iter().map(|warning| warning.number()).collect();
    result.map(numbers).map_err(|error| error.to_string())
}

/// Fails with all of `words` in the sentence and a way out.
fn assert_fails(name: &str, scan: Volume<f32>, words: &[&str]) {
    let said = verdict(scan, &Options::default()).expect_err(name);
    assert!(said.starts_with("scan.nii: "), "{name}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
    let ways = ["--brain-mask", "--skull-stripped", "HU"];
    assert!(ways.iter().any(|way| said.contains(way)), "{name} has no way out: {said}");
}

fn ellipse(x: f64, y: f64, a: f64, b: f64) -> bool {
    (x / a).powi(2) + (y / b).powi(2) < 1.0
}

fn ellipsoid(p: [f64; 3], centre: [f64; 3], half_axes: [f64; 3]) -> bool {
    (0..3).map(|a| ((p[a] - centre[a]) / half_axes[a]).powi(2)).sum::<f64>() < 1.0
}

/// A chest: soft tissue, lungs with vessels, ribs, heart, spine with its canal, sternum.
fn chest([x, y, z]: [f64; 3]) -> f32 {
    let canal = (x.powi(2) + (y + 88.0).powi(2)).sqrt();
    let near_rib = (z - 0.3 * y).rem_euclid(24.0) < 10.0;
    if !ellipse(x, y, 170.0, 110.0) {
        -1000.0
    } else if canal < 9.0 {
        35.0
    } else if canal < 14.0 || ellipse(x, y + 62.0, 18.0, 16.0) || x.abs() < 18.0 && (85.0..93.0).contains(&y) {
        400.0
    } else if ellipsoid([x, y, z], [25.0, 20.0, -30.0], [48.0, 42.0, 58.0]) {
        45.0
    } else if ellipse(x, y, 135.0, 82.0) && x.abs() > 22.0 && (-110.0..140.0).contains(&z) {
        if (x / 9.0).sin() * (y / 8.0).sin() * (z / 11.0).sin() > 0.55 { 30.0 } else { -850.0 }
    } else if near_rib && ellipse(x, y, 147.0, 92.0) && !ellipse(x, y, 139.0, 84.0) {
        600.0
    } else if ellipse(x, y, 155.0, 95.0) {
        50.0
    } else {
        -100.0
    }
}

/// An abdomen: soft tissue, liver, kidney fat, gas, spine.
fn abdomen([x, y, z]: [f64; 3]) -> f32 {
    let canal = (x.powi(2) + (y + 82.0).powi(2)).sqrt();
    if !ellipse(x, y, 170.0, 110.0) {
        -1000.0
    } else if canal < 9.0 {
        35.0
    } else if canal < 13.0 || ellipse(x, y + 55.0, 22.0, 18.0) {
        400.0
    } else if ellipsoid([x, y, z], [-40.0, 45.0, 20.0], [25.0, 18.0, 40.0]) {
        -950.0
    } else if ellipse(x, y, 140.0, 85.0) {
        55.0
    } else {
        -100.0
    }
}

/// Two legs: muscle around bone, the other way round than a head.
fn legs([x, y, _]: [f64; 3]) -> f32 {
    let r = (x.abs() - 90.0).hypot(y);
    match r {
        r if r < 8.0 => -50.0,
        r if r < 15.0 => 900.0,
        r if r < 65.0 => 55.0,
        r if r < 75.0 => -100.0,
        _ => -1000.0,
    }
}

#[test]
fn other_parts_of_the_body_and_other_things_fail() {
    let body = || grid([92, 64, 72], [4.0, 4.0, 4.0]);
    let thick = || grid([150, 100, 40], [2.5, 2.5, 7.0]);
    for (name, grid) in [("4 mm", body()), ("thick", thick())] {
        assert_fails(&format!("chest, {name}"), painted(grid.clone(), chest), &["%"]);
        assert_fails(&format!("abdomen, {name}"), painted(grid.clone(), abdomen), &["no brain is outside"]);
        assert_fails(&format!("legs, {name}"), painted(grid, legs), &["bone covers only 0%"]);
    }
    assert_fails("a part of a chest", slices(&painted(body(), chest), 20..44), &["%"]);
    let bottle = |p: [f64; 3]| if ellipse(p[0], p[1], 85.0, 85.0) && p[2].abs() < 75.0 { 0.0 } else { -1000.0 };
    assert_fails("water", painted(body(), bottle), &["bone covers only 0%", "--skull-stripped"]);
    let walled = |p: [f64; 3]| match p[0].hypot(p[1]) {
        _ if p[2].abs() > 75.0 => -1000.0,
        r if r < 80.0 => 0.0,
        r if r < 85.0 => 120.0,
        _ => -1000.0,
    };
    assert_fails("water in an acrylic wall", painted(body(), walled), &["bone covers only 0%"]);
    for (name, hu) in [("air", -1000.0), ("nothing", 0.0), ("soft tissue", 40.0), ("bone", 1000.0)] {
        assert_fails(name, Volume::new(body(), vec![hu; body().len()]), &[]);
    }
    let noise = |deviation: f32, mean: f32| (0..body().len()).map(|n| mean + deviation * random(n)).collect();
    assert_fails("noise", Volume::new(body(), noise(1500.0, 0.0)), &[]);
    assert_fails("noise of soft tissue", Volume::new(body(), noise(80.0, 40.0)), &["mL"]);
    // A radiograph of a head, 5 mm thick.
    assert_fails("localizer", slices(&head().scan, 36..38), &["mL"]);
}

#[test]
fn values_that_are_no_hu_fail_with_what_is_wrong() {
    for scan in [head().scan, person(2, true)] {
        let with = |change: &dyn Fn(f32) -> f32| scan.map(|hu| change(*hu));
        assert_fails("stored values", with(&|hu| hu.max(-1024.0) + 1024.0), &["subtract", "1024", "rescale intercept"]);
        assert_fails("stored values, 1000", with(&|hu| hu.max(-1000.0) + 1000.0), &["subtract 1000"]);
        assert_fails("stored values, 32768", with(&|hu| hu + 32768.0), &["subtract 32768"]);
        assert_fails("intercept twice", with(&|hu| hu.max(-1000.0) - 1024.0), &["add"]);
        let [ni, nj, _] = scan.grid().shape;
        let padded = |value: f32| {
            let mut padded = with(&|hu| hu.max(-1024.0) + 1024.0);
            for (n, hu) in padded.voxels_mut().iter_mut().enumerate() {
                let (x, y) = ((n % ni) as f32 / ni as f32 - 0.5, (n / ni % nj) as f32 / nj as f32 - 0.5);
                if x.hypot(y) > 0.48 {
                    *hu = value;
                }
            }
            padded
        };
        assert_fails("stored values, padding -2000", padded(-2000.0), &["subtract", "1024"]);
        assert_fails("0 to 1", with(&|hu| (hu.clamp(-1024.0, 3071.0) + 1024.0) / 4095.0), &["0", "only"]);
        let unsigned = with(&|hu| if hu < 0.0 { hu + 65536.0 } else { hu });
        assert_fails("negative values without their sign", unsigned, &["3071"]);
        for [low, high] in [[0.0f32, 80.0], [-100.0, 300.0], [-50.0, 150.0], [-15.0, 155.0], [0.0, 130.0]] {
            let grey = with(&|hu| ((hu.clamp(low, high) - low) / (high - low) * 255.0).round());
            assert_fails(&format!("grey values of {low} to {high} HU"), grey, &[]);
        }
        // Bright fat and brain, dark bone and air, no value below 0.
        let resonance = |hu: f32, n: usize| match hu {
            hu if hu < -300.0 => 20.0 + 15.0 * random(n),
            hu if hu < -30.0 => 900.0,
            hu if hu < 12.0 => 120.0,
            hu if hu < 120.0 => 450.0 + 20.0 * random(n),
            _ => 60.0 + 15.0 * random(n),
        };
        for scale in [1.0, 4.0, 0.25] {
            let voxels = scan.voxels().iter().enumerate().map(|(n, hu)| (scale * resonance(*hu, n)).round()).collect();
            assert_fails(&format!("magnetic resonance, {scale}"), Volume::new(scan.grid().clone(), voxels), &[]);
        }
    }
}

/// The hand-set weights call 50 to 90 HU blood: values that are 30 HU too high make blood of most of a brain.
#[test]
fn a_brain_that_is_mostly_blood_fails() {
    let shifted = head().scan.map(|&hu| if hu > -200.0 { hu + 30.0 } else { hu });
    assert_fails("30 HU too high", shifted.clone(), &["% of the brain", "hemorrhage", "offset"]);
    let kept = verdict(shifted, &Options { keep_doubtful: true, ..Options::default() }).unwrap();
    assert!(kept.contains(&14) && kept.contains(&5), "{kept:?}");
}

#[test]
fn headers_of_another_size_fail() {
    let scan = head().scan;
    assert_fails("a tenth", stretched(&scan, [0.1; 3]), &["voxel size"]);
    assert_fails("ten times", stretched(&scan, [10.0; 3]), &[]);
    assert_fails("slices ten times as far apart", stretched(&scan, [1.0, 1.0, 10.0]), &[]);
    assert_fails("a tenth as far", stretched(&scan, [1.0, 1.0, 0.1]), &[]);
}

#[test]
fn a_head_whose_brain_lies_elsewhere_than_any_registration_reaches_fails() {
    // Two balls far from each other: the mask is that of a brain by its volume alone.
    let grid = grid([140, 40, 40], [4.0; 3]);
    let balls = |p: [f64; 3]| (p[0].abs() - 200.0).hypot(p[1]).hypot(p[2]) < 50.0;
    let scan = painted(grid.clone(), |p| if balls(p) { 35.0 } else { -1000.0 });
    let mask = painted(grid, |p| if balls(p) { 100.0 } else { -100.0 }).map(|value| *value > 0.0);
    let options = Options { brain: BrainSource::Mask(mask), ..Options::default() };
    let said = verdict(scan.clone(), &options).unwrap_err();
    assert!(said.contains("brain") && said.contains("mask") && !said.contains("--brain-mask"), "{said}");
    let kept = verdict(scan, &Options { keep_doubtful: true, ..options }).unwrap();
    assert!(!kept.is_empty());
}

#[test]
fn sound_scans_of_every_kind_do_not_fail() {
    let sound = |name: String, scan: Volume<f32>| {
        let numbers = verdict(scan, &Options::default());
        numbers.unwrap_or_else(|said| panic!("{name}: {said}"))
    };
    let people: Vec<Volume<f32>> = [(1, false), (2, true)].map(|(seed, hard)| person(seed, hard)).into_iter().collect();
    for (n, scan) in people.iter().chain([&head().scan]).enumerate() {
        assert!(sound(format!("head {n}"), scan.clone()).is_empty());
        // An adult of 800 mL, children, a newborn of some 300 mL.
        for size in [0.9, 0.82, 0.75, 0.65, 1.1] {
            sound(format!("head {n}, {size} times"), stretched(scan, [size; 3]));
        }
        // Thin bone of a newborn.
        let soft = scan.map(|hu| if *hu > 150.0 { 150.0 + 0.35 * (hu - 150.0) } else { *hu });
        sound(format!("newborn {n}"), stretched(&soft, [0.65; 3]));
        let count = scan.grid().shape[2];
        let part = |from: f64, to: f64| slices(scan, (from * count as f64) as usize..(to * count as f64) as usize);
        let half = sound(format!("upper half {n}"), part(0.5, 1.0));
        assert!(half.contains(&3), "cut: {half:?}");
        sound(format!("slab {n}"), part(0.38, 0.68));
        sound(format!("without its base {n}"), part(0.3, 1.0));
        sound(format!("without its vertex {n}"), part(0.0, 0.75));
        let noisy = scan.voxels().iter().enumerate().map(|(voxel, hu)| hu + 100.0 * random(voxel)).collect();
        sound(format!("noisy {n}"), Volume::new(scan.grid().clone(), noisy));
        sound(format!("air of -3024 {n}"), scan.map(|hu| if *hu < -900.0 { -3024.0 } else { *hu }));
        // Half of the vault is soft tissue.
        let [ni, nj, _] = scan.grid().shape;
        let mut operated = scan.clone();
        let affine = scan.grid().affine;
        for (voxel, hu) in operated.voxels_mut().iter_mut().enumerate() {
            let p = affine.apply([voxel % ni, voxel / ni % nj, voxel / ni / nj].map(|x| x as f64));
            if *hu > 150.0 && p[0] > 15.0 && p[2] > 15.0 {
                *hu = 40.0;
            }
        }
        sound(format!("operated {n}"), operated);
    }
    let thick = phantom::ct_grid([104, 120, 17], [2.0, 2.0, 10.0], 0.0);
    let thick = phantom::generate(5, &phantom::Settings::new(thick, 10.0)).unwrap().scan;
    assert!(sound("slices of 10 mm".into(), thick).contains(&4));
}

#[test]
fn real_heads_do_not_fail() {
    let Some(data) = support::shared("data") else { return };
    for file in ["ge_tilt/dcm2niix/ge_tilt_eq.nii.gz", "ge_tilt/dcm2niix/ge.nii.gz"] {
        let scan = nifti::read(data.join(file)).unwrap().volume;
        verdict(scan, &Options::default()).unwrap();
    }
    // The average of many heads is a head, but its brain has 54 HU: what finds blood by HU takes it for blood.
    let average = nifti::read(data.join("average_head/head_2mm.nii.gz")).unwrap().volume;
    segment::prepare(average.clone(), &BrainSource::Extract(Default::default()), Path::new("average.nii"))
        .unwrap()
        .check(Path::new("average.nii"))
        .unwrap();
    assert!(verdict(average, &Options::default()).unwrap_err().contains("were taken for hemorrhage"));
}

/// Dice of two masks.
fn dice(a: &Volume<bool>, b: &Volume<bool>) -> f64 {
    let both = a.voxels().iter().zip(b.voxels()).filter(|(a, b)| **a && **b).count();
    2.0 * both as f64 / (a.count() + b.count()) as f64
}

/// The same brain, bleeds and warnings as of the untouched scan, with warning 12 besides where air or bone had to be put back.
fn assert_as_untouched(name: &str, scan: &Volume<f32>, bands: &[[f32; 2]], least: f64) {
    let run = |scan: Volume<f32>| {
        let mut inference = Inference::new(&WEIGHTS, Device::Cpu, 2);
        segment::segment(scan, &COARSE_TEMPLATE, &Options::default(), &mut inference, Path::new(name)).unwrap()
    };
    let untouched = run(scan.clone());
    for &[low, high] in bands {
        let inside = |hu: f32| (low..=high).contains(&hu);
        let kinds = [
            ("0", scan.map(|&hu| if inside(hu) { hu } else { 0.0 })),
            ("-1024", scan.map(|&hu| if inside(hu) { hu } else { -1024.0 })),
            ("no number", scan.map(|&hu| if inside(hu) { hu } else { f32::NAN })),
            ("cut", scan.map(|&hu| hu.clamp(low, high))),
        ];
        for (kind, changed) in kinds {
            let found = run(changed);
            let (same, blood) = (dice(&found.brain, &untouched.brain), dice(&found.mask, &untouched.mask));
            println!(
                "{name}, {low} to {high}, {kind}: brain {same:.4}, blood {blood:.4}, {:.2} mL of {:.2}",
                found.volume_ml(),
                untouched.volume_ml()
            );
            assert!(same >= least, "{name}, {low} to {high}, {kind}: brain {same}");
            // The hand-set weights call 45 HU and more blood, on a coarse template.
            if high >= 100.0 && untouched.volume_ml() > 1.0 {
                assert!(blood > 0.9, "{name}, {low} to {high}, {kind}: blood {blood}");
            }
            let warned = found.warnings.iter().find(|warning| warning.number() == 12).map(|warning| warning.to_string());
            if kind == "0" {
                assert!(warned.as_ref().is_some_and(|text| text.contains("replaced by 0")), "{warned:?}");
            }
            assert!(!found.is_doubtful());
        }
    }
}

#[test]
fn a_head_without_air_and_bone_comes_out_as_the_untouched_one() {
    let bands = [[-70.0, 320.0], [-100.0, 300.0], [-50.0, 200.0], [0.0, 100.0], [0.0, 80.0]];
    assert_as_untouched("ellipsoids", &head().scan, &bands, 0.97);
    let fine = phantom::ct_grid([200, 240, 42], [1.0, 1.0, 4.0], 0.0);
    let person = phantom::generate(7, &phantom::Settings::new(fine, 4.0)).unwrap().scan;
    assert_as_untouched("a person", &person, &bands[..1], 0.97);
}

#[test]
fn a_real_head_without_air_and_bone_comes_out_as_the_untouched_one() {
    let Some(file) = support::shared("data/ge_tilt/dcm2niix/ge_tilt_eq.nii.gz") else { return };
    let scan = nifti::read(file).unwrap().volume;
    assert_as_untouched("real", &scan, &[[-70.0, 320.0]], 0.99);
    // Bone of 100 HU or less is little to lean on.
    let untouched = brain::extract(&scan, &brain::Options::default()).unwrap().mask;
    for [low, high] in [[0.0, 100.0], [0.0, 80.0]] {
        let zero = scan.map(|&hu| if (low..=high).contains(&hu) { hu } else { 0.0 });
        for changed in [zero, scan.map(|hu| hu.clamp(low, high))] {
            let found = brain::extract(&changed, &brain::Options::default()).unwrap();
            let same = dice(&found.mask, &untouched);
            assert!(same > 0.97 && found.missing.is_some(), "{low} to {high}: {same}");
        }
    }
}

#[test]
fn a_chest_without_air_and_bone_is_no_head() {
    let scan = painted(grid([92, 64, 72], [4.0, 4.0, 4.0]), chest);
    assert_fails("0", scan.map(|&hu| if (-70.0..=320.0).contains(&hu) { hu } else { 0.0 }), &[]);
    assert_fails("cut", scan.map(|hu| hu.clamp(-70.0, 320.0)), &[]);
}

#[test]
fn given_brains_are_judged_by_what_can_be_known_of_them() {
    let head = head();
    let masked = |brain: Volume<bool>| Options { brain: BrainSource::Mask(brain), ..Options::default() };
    assert_eq!(verdict(head.scan.clone(), &masked(head.brain.clone())), Ok(vec![]));
    // A mask says where the brain is, so air and bone may be gone.
    let zero = head.scan.map(|&hu| if (-70.0..=320.0).contains(&hu) { hu } else { 0.0 });
    verdict(zero, &masked(head.brain.clone())).unwrap();
    let mut stripped = head.scan.clone();
    stripped.voxels_mut().iter_mut().zip(head.brain.voxels()).filter(|(_, inside)| !**inside).for_each(|(hu, _)| *hu = 0.0);
    let options = Options { brain: BrainSource::SkullStripped, ..Options::default() };
    assert_eq!(verdict(stripped.clone(), &options), Ok(vec![]));
    let said = verdict(stripped.clone(), &Options::default()).unwrap_err();
    assert!(said.contains("bone covers only") && said.contains("--skull-stripped"), "{said}");
    // Values that are no HU are none behind a mask either.
    let stored = head.scan.map(|hu| hu.max(-1024.0) + 1024.0);
    let said = verdict(stored, &masked(head.brain.clone())).unwrap_err();
    assert!(said.contains("subtract") && said.contains("1024"), "{said}");
    let grey = stripped.map(|hu| if *hu == 0.0 { 0.0 } else { hu + 1024.0 });
    let said = verdict(grey, &options).unwrap_err();
    assert!(said.contains("median inside the brain is 105"), "{said}");
    let said = verdict(stretched(&stripped, [0.3; 3]), &options).unwrap_err();
    assert!(said.contains(" mL") && said.contains("voxel size") && !said.contains("--brain-mask"), "{said}");
}

fn ichor(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn the_program_fails_and_keeps_what_is_doubtful_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let scan = painted(grid([80, 60, 40], [4.0, 4.0, 4.0]), legs);
    raw_nifti::write(Path::new(&path("legs.nii")), &scan, Codes::Both);
    let (scan, out, file) = (path("legs.nii"), path("out"), path("file.nii"));
    for arguments in [
        &["segment", &scan, "-o", &out, "--device", "cpu"][..],
        &["brain", &scan, "-o", &file],
        &["register", &scan, "-o", &file],
    ] {
        let (status, said) = ichor(arguments);
        assert_eq!(status, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("legs.nii") && said.contains("bone covers only 0%"), "{arguments:?}: {said}");
        assert!(said.contains("--skull-stripped") && said.contains("--keep-doubtful"), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&file).exists());
    let left = |name: &str| Path::new(&out).join(name).exists();
    assert!(left("ichor.csv") && !left("legs_ich.nii.gz") && !left("legs_ich.json") && !left("legs_ich.png"));
    let table = std::fs::read_to_string(Path::new(&out).join("ichor.csv")).unwrap();
    assert!(table.contains("failed") && table.contains("bone covers only 0%"), "{table}");

    let keep = ["segment", &scan, "-o", &out, "--device", "cpu", "--keep-doubtful"];
    let kept = Command::new(env!("CARGO_BIN_EXE_ichor")).args(keep).output().unwrap();
    let line = String::from_utf8_lossy(&kept.stdout).into_owned();
    assert!(kept.status.success() && line.contains("(doubtful: warning"), "{line}");
    assert!(left("legs_ich.nii.gz") && left("legs_ich.json"));
    let report = std::fs::read_to_string(Path::new(&out).join("legs_ich.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["doubtful"], true);
    assert!(report["warnings"].as_array().unwrap().iter().any(|warning| warning["number"] == 10), "{report}");
    // What was kept is not taken for a result by a run that keeps nothing doubtful.
    assert_eq!(ichor(&["segment", &scan, "-o", &out, "--device", "cpu"]).0, Some(1));
    for command in ["brain", "register"] {
        let (status, said) = ichor(&[command, &scan, "-o", &file, "--keep-doubtful"]);
        assert!(status == Some(0) && said.contains("warning 10"), "{command}: {said}");
        std::fs::remove_file(&file).unwrap();
    }
}
