//! The engine against the reference outputs and against plain loops.

use super::{CpuEngine, CpuOptions, Instructions};
use crate::network::weights::{Weights, generate};
use crate::network::{Activation, Description, LoadedNetwork as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// A file of reference outputs, of the project or of the folder of reference data, or `None` with a printed reason.
fn reference_output(file: &str) -> Option<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("ICHOR_SHARED").map_or_else(|| project.join("../shared"), PathBuf::from);
    let found =
        [project.join("tests"), shared].map(|folder| folder.join("oracle").join(file)).into_iter().find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {file} is not there (set ICHOR_SHARED to the folder of reference data)");
    }
    found
}

/// Largest error of a logit that the CPU engine may have, as a part of the largest logit.
const TOLERANCE: f64 = 1e-4;

/// Largest part of the voxels that may move across a probability of 0.5: those whose logit is within the rounding error of 0.
const MOVED: f64 = 5e-5;

/// The values of a float64 or float32 .npy file.
fn npy(path: &std::path::Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let (text, data) = (String::from_utf8_lossy(&bytes[10..10 + header]), &bytes[10 + header..]);
    if text.contains("<f8") {
        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    } else {
        assert!(text.contains("<f4"), "{text}");
        data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    }
}

fn narrow() -> Description {
    Description { widths: vec![16, 8, 8, 12, 20], up_widths: vec![24, 16, 16, 32], ..Description::deepbleed() }
}

fn paper_prelu() -> Description {
    Description {
        widths: vec![4, 8, 16, 32, 64],
        up_widths: vec![64, 32, 16, 8],
        shared: false,
        activation: Activation::Prelu,
        ..Description::deepbleed()
    }
}

fn planar() -> Description {
    Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..Description::deepbleed() }
}

fn engine(weights: &Weights, shape: [usize; 3], threads: usize, instructions: Instructions) -> CpuEngine {
    CpuEngine::with_options(weights, shape, &CpuOptions { threads: NonZeroUsize::new(threads), instructions: Some(instructions) })
        .unwrap()
}

#[test]
fn every_reference_output_is_met_by_every_set_of_instructions() {
    let mut met = 0;
    let cases = [
        ("deepbleed", Description::deepbleed(), [32, 32, 32]),
        ("deepbleed", Description::deepbleed(), [16, 48, 32]),
        ("narrow", narrow(), [32, 48, 16]),
        ("narrow", narrow(), [16, 16, 16]),
        ("paper_prelu", paper_prelu(), [32, 32, 48]),
        ("planar_2d", planar(), [3, 64, 96]),
    ];
    for (seed, description, shape) in cases {
        let [d, h, w] = shape;
        let Some(file) = reference_output(&format!("{seed}_{d}x{h}x{w}.logits.npy")) else { continue };
        met += 1;
        let weights = Weights::generate(&description, seed).unwrap();
        let input = generate::ct_input(seed, shape);
        let expected = npy(&file);
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        // At full width the portable kernels take too long for a test.
        let wide = description.widths[4] > 64;
        for instructions in Instructions::ALL.into_iter().filter(|&i| i.available() && !(wide && i == Instructions::Portable)) {
            let mut logits = vec![f32::NAN; input.len()];
            engine(&weights, shape, 2, instructions).run(&input, None, &mut logits).unwrap();
            let error = logits.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / largest;
            println!("{seed} {shape:?} {instructions}: largest error {error:.1e} of the largest logit");
            assert!(error <= TOLERANCE, "{seed} {shape:?} {instructions}: {error:.1e}");
            let moved = logits.iter().zip(&expected).filter(|&(&a, &b)| (a > 0.0) != (b > 0.0)).count();
            println!("{moved} of {} voxels moved across 0.5", input.len());
            assert!(moved as f64 <= MOVED * input.len() as f64, "{seed} {shape:?} {instructions}: {moved} voxels moved");
        }
    }
    assert!(met > 0, "the smallest is part of the project");
}

/// A network whose channels fill no block, small enough for many passes.
fn uneven(kernel: usize) -> Description {
    Description {
        kernel: [kernel; 3],
        widths: vec![3, 17, 20],
        convs: vec![1, 2, 1],
        up_widths: vec![24, 19],
        up_convs: vec![2, 1],
        activation: Activation::Prelu,
        shared: false,
        ..Description::deepbleed()
    }
}

#[test]
fn networks_of_every_form_are_the_plain_loops() {
    let planar = Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..uneven(5) };
    let anisotropic = Description { kernel: [3, 5, 5], stride: [1, 2, 2], ..uneven(5) };
    for (description, shape) in [
        (uneven(5), [12, 16, 20]),
        (uneven(3), [16, 12, 8]),
        (uneven(7), [8, 8, 12]),
        (uneven(1), [4, 8, 4]),
        (planar, [3, 24, 20]),
        (anisotropic, [5, 12, 16]),
        (Description { shared: true, activation: Activation::Relu, ..uneven(5) }, [16, 16, 40]),
    ] {
        let weights = Weights::generate(&description, "forms").unwrap();
        let x = generate::ct_input("forms", shape);
        let mut expected = vec![0.0; x.len()];
        crate::network::reference::ReferenceEngine::new(&weights, shape).unwrap().run(&x, None, &mut expected).unwrap();
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
            let mut logits = vec![f32::NAN; x.len()];
            engine(&weights, shape, 2, instructions).run(&x, None, &mut logits).unwrap();
            let error = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
            assert!(logits.iter().all(|l| l.is_finite()), "{description:?} {instructions}: not finite");
            assert!(f64::from(error) <= TOLERANCE, "{description:?} {instructions}: {error:e}");
        }
    }
}

/// A scan whose brain is a ball of `radius` voxels at `centre`, zero elsewhere.
fn ball(shape: [usize; 3], centre: [usize; 3], radius: f64) -> Vec<f32> {
    let mut x = generate::ct_input("ball", shape);
    for (index, value) in x.iter_mut().enumerate() {
        let place = [index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]];
        let squares: f64 = (0..3).map(|axis| (place[axis] as f64 - centre[axis] as f64).powi(2)).sum();
        *value = if squares < radius * radius { 40.0 + (index % 23) as f32 } else { 0.0 };
    }
    x
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn wanted_logits_have_the_same_bits_as_in_a_dense_pass() {
    for (description, shape) in [
        (uneven(5), [40, 32, 44]),
        (uneven(3), [24, 32, 20]),
        (Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..uneven(5) }, [3, 48, 64]),
        (Description { up_convs: vec![1, 2], ..uneven(5) }, [32, 32, 32]),
    ] {
        let weights = Weights::generate(&description, "mask").unwrap();
        let voxels: usize = shape.iter().product();
        let x = ball(shape, [shape[0] / 2, shape[1] / 3, shape[2] / 2], 7.0);
        let mut engine = engine(&weights, shape, 2, Instructions::best());
        let mut dense = vec![f32::NAN; voxels];
        engine.run(&x, None, &mut dense).unwrap();
        let corner = |index: usize| index == voxels - 1;
        let masks: [Vec<bool>; 6] = [
            vec![false; voxels],
            vec![true; voxels],
            (0..voxels).map(|index| index == 0).collect(),
            (0..voxels).map(corner).collect(),
            x.iter().map(|&x| x != 0.0).collect(),
            (0..voxels).map(|index| (index / 5) % 97 == 0).collect(),
        ];
        for (number, mask) in masks.iter().enumerate() {
            let mut logits = vec![f32::NAN; voxels];
            engine.run(&x, Some(mask), &mut logits).unwrap();
            let expected: Vec<f32> =
                dense.iter().zip(mask).map(|(&logit, &wanted)| if wanted { logit } else { f32::NEG_INFINITY }).collect();
            assert!(bits(&logits) == bits(&expected), "{description:?}, mask {number}");
        }
    }
}

#[test]
fn background_is_skipped_without_a_change_of_any_bit() {
    // The same scan with and without values so small that they change no value of the network, but are not background.
    for (description, shape, centre) in [
        (uneven(5), [48, 32, 64], [20, 16, 20]),
        (uneven(5), [40, 44, 36], [0, 43, 17]),
        (uneven(3), [24, 32, 20], [12, 8, 10]),
        (Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..uneven(5) }, [5, 48, 64], [2, 8, 50]),
    ] {
        let weights = Weights::generate(&description, "background").unwrap();
        let x = ball(shape, centre, 6.0);
        let mut engine = engine(&weights, shape, 2, Instructions::best());
        let mut skipped = vec![f32::NAN; x.len()];
        engine.run(&x, None, &mut skipped).unwrap();
        let tiny: Vec<f32> = x.iter().map(|&x| if x == 0.0 { f32::MIN_POSITIVE } else { x }).collect();
        let mut computed = vec![f32::NAN; x.len()];
        engine.run(&tiny, None, &mut computed).unwrap();
        assert!(bits(&skipped) == bits(&computed), "{description:?} {shape:?}");
    }
}

#[test]
fn background_in_the_short_tiles_at_a_grids_end_is_no_pattern_for_whole_ones() {
    // One level, so that sides need be no multiples of 4: the first tiles of background are the short ones at the end
    // of W.
    let description = Description { widths: vec![4, 8], convs: vec![1, 1], up_widths: vec![8], up_convs: vec![1], ..uneven(5) };
    let weights = Weights::generate(&description, "short").unwrap();
    let shape = [22, 22, 22];
    let scan = |background: f32| {
        let mut x = generate::ct_input("short", shape);
        for (index, value) in x.iter_mut().enumerate() {
            let (d, w) = (index / (22 * 22), index % 22);
            // Small beside the biases, which are all that background has.
            *value = if d >= 10 || (d < 8 && w >= 18) { background } else { 0.01 * value.abs() + 1.0 };
        }
        x
    };
    for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
        let [mut skipped, mut computed] = [(); 2].map(|()| vec![f32::NAN; 22 * 22 * 22]);
        engine(&weights, shape, 2, instructions).run(&scan(0.0), None, &mut skipped).unwrap();
        engine(&weights, shape, 2, instructions).run(&scan(f32::MIN_POSITIVE), None, &mut computed).unwrap();
        let largest = computed.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let error = skipped.iter().zip(&computed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        assert!(f64::from(error) <= TOLERANCE, "{instructions}: {error:e}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (description, shape) = (uneven(5), [32, 40, 36]);
    let weights = Weights::generate(&description, "threads").unwrap();
    let x = generate::ct_input("threads", shape);
    let mut expected = vec![f32::NAN; x.len()];
    engine(&weights, shape, 1, Instructions::best()).run(&x, None, &mut expected).unwrap();
    for threads in [2, 3, 11] {
        let mut logits = vec![f32::NAN; x.len()];
        engine(&weights, shape, threads, Instructions::best()).run(&x, None, &mut logits).unwrap();
        assert!(bits(&logits) == bits(&expected), "{threads} threads");
    }
}

#[test]
fn values_that_are_not_finite_do_no_harm() {
    let weights = Weights::generate(&uneven(5), "nan").unwrap();
    let shape = [16, 16, 16];
    let mut engine = engine(&weights, shape, 2, Instructions::best());
    let x = generate::ct_input("nan", shape);
    let mut before = vec![0.0; x.len()];
    engine.run(&x, None, &mut before).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let mut logits = vec![0.0; x.len()];
        engine.run(&vec![value; x.len()], None, &mut logits).unwrap();
    }
    // Nothing of them stays behind in the engine's memory.
    let mut after = vec![0.0; x.len()];
    engine.run(&x, None, &mut after).unwrap();
    assert!(bits(&before) == bits(&after));
}

#[test]
fn slices_of_another_length_are_refused() {
    let weights = Weights::generate(&uneven(5), "length").unwrap();
    let mut engine = engine(&weights, [8, 8, 8], 1, Instructions::Portable);
    let (x, mut logits) = (vec![0.0; 512], vec![0.0; 512]);
    assert!(engine.run(&x[1..], None, &mut logits).is_err());
    assert!(engine.run(&x, Some(&[true; 3]), &mut logits).is_err());
    assert!(engine.run(&x, None, &mut logits[..8]).is_err());
    assert!(CpuEngine::new(&weights, [8, 9, 8]).is_err());
}
