//! Every back end against the float64 reference outputs of the network: final logits and each block's figures.

mod support;

use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::{LoadedNetwork, reference};
use ndarray::Array3;
use support::oracle::cases;

/// Of the largest logit: the reference rounds to f32 between layers only.
const REFERENCE_TOLERANCE: f64 = 1e-5;
/// Of the largest logit: the fast engine sums in f32, by Winograd's transforms where that is faster.
const CPU_TOLERANCE: f64 = 1e-4;

#[test]
fn cpu_logits() {
    for case in cases() {
        let input = Array3::from_shape_vec(case.shape, case.input()).unwrap();
        let logits = Inference::new(&case.weights(), Device::Cpu, 2).logits(input.view(), None).unwrap();
        case.check("cpu", logits.as_slice().unwrap(), CPU_TOLERANCE);
    }
}

#[test]
fn reference_logits_and_blocks() {
    for case in cases() {
        let weights = case.weights();
        let mut engine = reference::ReferenceEngine::new(&weights, case.shape).unwrap();
        let mut logits = vec![0.0; case.shape.iter().product()];
        engine.run(&case.input(), None, &mut logits).unwrap();
        case.check("reference", &logits, REFERENCE_TOLERANCE);
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
