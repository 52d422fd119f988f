//! Every back end against the float64 reference outputs of the network: final logits and each block's figures.

mod support;

use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::reference;
use ichor::network::weights::{Weights, generate};
use ichor::network::{Description, Engine};
use ndarray::Array3;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Of the largest logit: the reference rounds to f32 between layers only.
const REFERENCE_TOLERANCE: f64 = 1e-5;
/// Of the largest logit: the fast engine sums in f32, by Winograd's transforms where that is faster.
const CPU_TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    file: String,
    spec: serde_json::Map<String, serde_json::Value>,
    shape: [usize; 3],
    input_sum: f64,
    blocks: BTreeMap<String, Block>,
}

#[derive(Deserialize)]
struct Block {
    mean: f64,
    l2: f64,
    first: Vec<f64>,
}

impl Case {
    fn weights(&self) -> Weights {
        let mut spec = self.spec.clone();
        let seed = spec.remove("seed").unwrap();
        let description: Description = serde_json::from_value(spec.into()).unwrap();
        Weights::generate(&description, seed.as_str().unwrap()).unwrap()
    }

    fn input(&self) -> Array3<f32> {
        let input = generate::ct_input(self.spec["seed"].as_str().unwrap(), self.shape);
        let sum: f64 = input.iter().map(|&hu| f64::from(hu)).sum();
        assert!((sum - self.input_sum).abs() < 1e-6 * self.input_sum, "the input is not the oracle's");
        Array3::from_shape_vec(self.shape, input).unwrap()
    }
}

fn cases(folder: &Path) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert!(cases.len() >= 6);
    cases
}

/// The values of a .npy file of f8 or f4 in C order.
fn read_npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let data = &bytes[header_end..];
    if header.contains("<f8") {
        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    } else {
        assert!(header.contains("<f4"), "{header}");
        data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    }
}

fn compare(device: Device, tolerance: f64) {
    let Some(folder) = support::shared("oracle") else { return };
    for case in cases(&folder) {
        let truth = read_npy(&folder.join(&case.file));
        let weights = case.weights();
        let logits = Inference::new(&weights, device, 2).logits(case.input().view(), None).unwrap();
        check(&case, device, logits.as_slice().unwrap(), &truth, tolerance);
    }
}

fn check(case: &Case, device: Device, logits: &[f32], truth: &[f64], tolerance: f64) {
    assert_eq!(logits.len(), truth.len());
    let largest = truth.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let error = logits.iter().zip(truth).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / largest;
    let moved = logits.iter().zip(truth).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count();
    println!("{} {device}: {error:.1e} of the largest logit, {moved} of {} voxels moved", case.file, truth.len());
    assert!(error <= tolerance, "{} {device}: {error:e}", case.file);
}

#[test]
fn cpu_logits() {
    compare(Device::Cpu, CPU_TOLERANCE);
}

#[test]
fn reference_logits_and_blocks() {
    let Some(folder) = support::shared("oracle") else { return };
    for case in cases(&folder) {
        let weights = case.weights();
        let mut engine = reference::Engine::new(&weights, case.shape).unwrap();
        let mut logits = vec![0.0; case.shape.iter().product()];
        engine.run(case.input().as_slice().unwrap(), None, &mut logits).unwrap();
        check(&case, Device::Reference, &logits, &read_npy(&folder.join(&case.file)), REFERENCE_TOLERANCE);
        for (name, expected) in &case.blocks {
            let values = &engine.blocks()[name];
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let l2 = (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count).sqrt();
            let near = |a: f64, b: f64| (a - b).abs() <= REFERENCE_TOLERANCE * expected.l2;
            assert!(near(mean, expected.mean) && near(l2, expected.l2), "{} {name}: mean {mean}, l2 {l2}", case.file);
            for (channel, &first) in expected.first.iter().enumerate() {
                assert!(near(f64::from(values[[channel, 0, 0, 0]]), first), "{} {name}: first of channel {channel}", case.file);
            }
        }
    }
}
