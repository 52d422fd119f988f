//! What the built-in weights are, and that they find the blood of generated heads by the whole path, on the side where it is.

use ichor::network::device::Device;
use ichor::network::dice;
use ichor::network::inference::Inference;
use ichor::network::weights::{Dtype, Weights};
use ichor::phantom::{self, Head, Kind, Settings};
use ichor::scan::segment::{self, Options};
use ichor::scan::template;
use ichor::volume::Volume;
use std::path::Path;

/// A head on coarse voxels of a seed that no training has seen.
fn head(seed: u64, without_bleed: f32) -> Head {
    let grid = phantom::ct_grid([200, 232, 34], [1.0, 1.0, 4.5], 10.0);
    let settings =
        Settings { without_bleed, volume_ml: [20.0, 35.0], kinds: vec![Kind::Deep, Kind::Lobar], ..Settings::new(grid, 4.5) };
    phantom::generate(seed, &settings).unwrap()
}

fn blood(scan: Volume<f32>) -> Volume<bool> {
    let weights = Weights::built_in().unwrap();
    let mut inference = Inference::new(&weights, Device::Cpu, 2);
    let options = Options::default();
    segment::segment(scan, &template::built_in(), &options, &mut inference, Path::new("scan")).unwrap().mask
}

/// Mean x of a mask's voxels in the world, mm.
fn mean_x(mask: &Volume<bool>) -> f64 {
    let grid = mask.grid();
    let [ni, nj, _] = grid.shape;
    let inside: Vec<usize> = (0..grid.len()).filter(|&n| mask.voxels()[n]).collect();
    let x = |n: &usize| grid.affine.apply([n % ni, n / ni % nj, n / ni / nj].map(|i| i as f64))[0];
    inside.iter().map(x).sum::<f64>() / inside.len() as f64
}

#[test]
fn they_are_small_and_say_what_they_are() {
    let weights = Weights::built_in().unwrap();
    assert!(weights.bytes().len() < 4_000_000);
    assert_eq!(weights.dtype("input_layer/convolution/kernel"), Dtype::F16);
    let metadata = weights.metadata();
    assert!(metadata.origin.as_ref().unwrap().contains("trained by ichor"), "{metadata:?}");
    assert!(metadata.trained_on.as_ref().unwrap().contains("generated heads"), "{metadata:?}");
    assert_eq!(metadata.license.as_deref(), Some("MIT OR Apache-2.0"));
    assert!(metadata.others["training"].contains("[schedule]"));
    // The same values in twice the bytes.
    let single = weights.with_dtype(Dtype::F32).unwrap();
    let name = "up_1/convolution/kernel";
    assert_eq!((single.tensor(name), single.dtype(name)), (weights.tensor(name), Dtype::F32));
    assert_eq!(single.with_dtype(Dtype::F16).unwrap().bytes(), weights.bytes());
}

#[test]
fn they_find_the_blood_of_a_head_on_its_side() {
    for seed in [770_001, 770_002] {
        let head = head(seed, 0.0);
        let found = blood(head.scan);
        let values: Vec<f32> = found.voxels().iter().map(|&inside| f32::from(u8::from(inside))).collect();
        let overlap = dice(&values, head.label.voxels(), 0.5, None).hard;
        assert!(overlap > 0.8, "seed {seed}: Dice {overlap}");
        assert!((mean_x(&found) - mean_x(&head.label)).abs() < 4.0, "seed {seed}");
    }
}

#[test]
fn they_find_next_to_nothing_in_a_head_without_blood() {
    let ml = blood(head(770_003, 1.0).scan).volume_ml();
    assert!(ml < 1.0, "{ml} mL");
}
