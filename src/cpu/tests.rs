//! The engine against the reference outputs and against plain loops.

use super::{Engine, Instructions, Options};
use crate::network::{Activation, Description, Engine as _};
use crate::weights::{Weights, generate};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Where the reference outputs are, or `None` with a printed reason.
fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("ICHOR_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    if path.join("oracle").is_dir() {
        return Some(path);
    }
    eprintln!("skipped: the reference outputs are not there (set ICHOR_SHARED)");
    None
}

/// Largest error of a logit that the CPU engine may have, as a part of the largest logit.
const TOLERANCE: f64 = 1e-4;

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

fn engine(weights: &Weights, shape: [usize; 3], threads: usize, instructions: Instructions) -> Engine {
    Engine::with_options(weights, shape, &Options { threads: NonZeroUsize::new(threads), instructions: Some(instructions) })
        .unwrap()
}

#[test]
fn every_reference_output_is_met_by_every_set_of_instructions() {
    let Some(shared) = shared() else { return };
    let cases = [
        ("deepbleed", Description::deepbleed(), [32, 32, 32]),
        ("deepbleed", Description::deepbleed(), [16, 48, 32]),
        ("narrow", narrow(), [32, 48, 16]),
        ("narrow", narrow(), [16, 16, 16]),
        ("paper_prelu", paper_prelu(), [32, 32, 48]),
        ("planar_2d", planar(), [3, 64, 96]),
    ];
    for (seed, description, shape) in cases {
        let weights = Weights::generate(&description, seed).unwrap();
        let input = generate::ct_input(seed, shape);
        let [d, h, w] = shape;
        let expected = npy(&shared.join(format!("oracle/{seed}_{d}x{h}x{w}.logits.npy")));
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
            let mut logits = vec![f32::NAN; input.len()];
            engine(&weights, shape, 2, instructions).run(&input, None, &mut logits).unwrap();
            let error = logits.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / largest;
            println!("{seed} {shape:?} {instructions}: largest error {error:.1e} of the largest logit");
            assert!(error <= TOLERANCE, "{seed} {shape:?} {instructions}: {error:.1e}");
            let moved = logits.iter().zip(&expected).filter(|&(&a, &b)| (a > 0.0) != (b > 0.0)).count();
            assert_eq!(moved, 0, "{seed} {shape:?} {instructions}: voxels moved across 0.5");
        }
    }
}
