//! The suite for the CUDA kernels, and what they alone have.

use super::*;
use crate::support;
use ichor::network::cuda::{CudaDevice, Grade};
use ichor::network::emulator::Emulator;
use ichor::network::problem::{Layer, Overlap};
use ndarray::Array5;

/// The devices of this machine; the seed is the emulated one's.
fn devices(seed: u64) -> Vec<Box<dyn CudaDevice>> {
    support::devices::all(|| vec![Box::new(Emulator::new(seed))])
}

fn backends(grade: Grade, seed: u64) -> Vec<Backend> {
    devices(seed).into_iter().map(|device| Backend::Cuda(device, grade)).collect()
}

mod exact {
    use super::*;

    fn exact(seed: u64) -> Vec<Backend> {
        backends(Grade::Exact, seed)
    }

    suite!(exact, cases: 8, channels: 5);
}

mod fast {
    use super::*;

    fn fast(seed: u64) -> Vec<Backend> {
        backends(Grade::Fast, seed)
    }

    suite!(fast, cases: 8, channels: 20);
}

fn in_both_grades(seed: u64, check: impl FnMut(&mut Backend)) {
    [Grade::Exact, Grade::Fast]
        .into_iter()
        .flat_map(|grade| backends(grade, seed))
        .collect::<Vec<_>>()
        .iter_mut()
        .for_each(check);
}

fn of_values(operation: Operation, channels: usize, values: &[f32]) -> Problem {
    let shape = (channels, 1, 1, values.len() / channels);
    Problem { operation, input: vec![Array4::from_shape_vec(shape, values.to_vec()).unwrap()] }
}

#[test]
fn head_with_probabilities() {
    for sizes in heads() {
        in_both_grades(4, |backend| check(&sizes.head(true), backend));
    }
}

#[test]
fn prelu_and_sigmoid() {
    let sizes = Sizes { shape: [5, 7, 11], kernel: [1; 3], inputs: vec![3], outputs: 3, prelu: true, seed: 31 };
    let Problem { input, operation: Operation::Convolution { layer, .. } } = sizes.convolution(&[]) else { unreachable!() };
    let prelu = Problem { operation: Operation::Prelu(layer.slopes.unwrap()), input };
    let logits = [f32::NEG_INFINITY, -200.0, -3.0, -0.0, 0.5, 20.0, 200.0, f32::INFINITY];
    for mut backend in backends(Grade::Exact, 6) {
        let output = prelu.run(&mut backend, Way::Plain, None).unwrap();
        assert_eq!(output.values, prelu.reference());
        check(&of_values(Operation::Sigmoid, 1, &logits), &mut backend);
    }
}

#[test]
fn pack_and_unpack() {
    let sizes = Sizes { shape: [3, 9, 10], kernel: [1; 3], inputs: vec![11], outputs: 1, prelu: true, seed: 41 };
    let input = sizes.convolution(&[]).rounded().input;
    for mut backend in backends(Grade::Fast, 7) {
        for operation in [Operation::Pack, Operation::Unpack] {
            let problem = Problem { operation, input: input.clone() };
            let output = problem.run(&mut backend, Way::Plain, None).unwrap();
            assert_eq!(output.values, input[0]);
            assert!(output.padding.iter().all(|value| *value == 0.0) && !output.overflow);
        }
    }
}

/// Whether a problem's output is said not to fit f16, which must be the same in each way.
fn overflows(problem: &Problem, backend: &mut Backend) -> bool {
    let flags: Vec<bool> =
        problem.ways(backend).into_iter().map(|way| problem.run(backend, way, None).unwrap().overflow).collect();
    assert!(!flags.is_empty() && flags.iter().all(|flag| *flag == flags[0]), "{problem:?}: {flags:?}");
    flags[0]
}

#[test]
fn what_does_not_fit_f16_is_flagged() {
    for (value, flag) in
        [(65504.0, false), (-65504.0, false), (65520.0, true), (-70000.0, true), (f32::INFINITY, true), (f32::NAN, true)]
    {
        let mut x = vec![0.0f32; 8 * 300];
        x[5 * 300 + 299] = value;
        for mut backend in backends(Grade::Fast, 8) {
            assert_eq!(overflows(&of_values(Operation::Pack, 8, &x), &mut backend), flag, "{value}");
        }
    }
}

/// One tap, no bias and slopes of 1: a product with a matrix (in, out).
fn product(kernel: Array5<f32>, outputs: usize) -> Layer {
    Layer { kernel, bias: vec![0.0; outputs], slopes: Some(vec![1.0; outputs]) }
}

/// Twice the identity.
fn doubling(channels: usize) -> Layer {
    let kernel = Array5::from_shape_fn((1, 1, 1, channels, channels), |(.., c, n)| if c == n { 2.0 } else { 0.0 });
    product(kernel, channels)
}

#[test]
fn the_first_layer_flags_what_does_not_fit_f16() {
    // Outputs w x + x of a scan with one large voxel.
    for (weights, flag) in [([0.0, 0.0], false), ([0.5, 0.5], false), ([1.0, 0.0], true), ([0.0, 1.0], true)] {
        let layer = product(Array5::from_shape_vec((1, 1, 1, 1, 2), weights.to_vec()).unwrap(), 2);
        let mut scan = vec![0.0; 9];
        scan[8] = 40000.0;
        for mut backend in backends(Grade::Fast, 12) {
            let problem = of_values(Operation::Input(layer.clone()), 1, &scan);
            assert_eq!(overflows(&problem, &mut backend), flag, "{weights:?}");
        }
    }
}

#[test]
fn down_and_up_flag_what_does_not_fit_f16() {
    for (channel, value, flag) in [(0, 32752.0, false), (0, 40000.0, true), (1, 40000.0, true), (1, -40000.0, true)] {
        let mut x = vec![0.0; 2 * 9];
        x[channel * 9 + 8] = value;
        for operation in [Operation::Down(doubling(2)), Operation::Up(doubling(2))] {
            let problem = of_values(operation, 2, &x);
            for mut backend in backends(Grade::Fast, 13) {
                assert_eq!(overflows(&problem, &mut backend), flag, "{value} in channel {channel} of {problem:?}");
            }
        }
    }
}

#[test]
fn a_fast_convolution_flags_what_does_not_fit_f16() {
    // Only the one large value can overflow: in the first or second channel of a pair, in each half of a row.
    for (channel, w, value, flag) in [
        (0, 8, 32752.0, false),
        (0, 8, 40000.0, true),
        (1, 7, 40000.0, true),
        (16, 0, -40000.0, true),
        (16, 8, -32752.0, false),
        (9, 8, f32::NAN, true),
    ] {
        let mut x = Array4::zeros((17, 1, 2, 9));
        x[[channel, 0, 1, w]] = value;
        let operation = Operation::Convolution { layer: doubling(17), residual: vec![] };
        let problem = Problem { operation, input: vec![x] };
        for mut backend in backends(Grade::Fast, 10) {
            assert_eq!(overflows(&problem, &mut backend), flag, "{value} in channel {channel}");
        }
    }
}

#[test]
fn the_largest_values_of_f16_are_exact() {
    // Twice of what f16 holds: in all channels, in some of the tiles.
    let sizes = Sizes { shape: [5, 9, 17], kernel: [1; 3], inputs: vec![17], outputs: 17, prelu: true, seed: 61 };
    let input = sizes.convolution(&[]).rounded().input[0].mapv(|value| 32752.0 * value);
    let input = vec![input.mapv(|value| half::f16::from_f32(value).to_f32())];
    let problem = Problem { operation: Operation::Convolution { layer: doubling(17), residual: vec![] }, input };
    for mut backend in backends(Grade::Fast, 11) {
        for way in problem.ways(&backend) {
            let output = problem.run(&mut backend, way, None).unwrap();
            assert_eq!(output.values, problem.reference(), "{way:?}");
            assert!(!output.overflow, "{way:?}");
        }
    }
}

#[test]
fn dice_and_its_gradient() {
    // More voxels than one round of all threads, with a tail, and many predictions that are the threshold itself; empty
    // masks.
    for (voxels, threshold, empty) in [(20_000, 0.3125, false), (1, 0.5, false), (777, 0.5, true)] {
        let values = |seed| {
            let sizes = Sizes { shape: [1, 1, voxels], kernel: [1; 3], inputs: vec![1], outputs: 1, prelu: false, seed };
            sizes.input().rounded().input[0].iter().copied().collect::<Vec<f32>>()
        };
        let prediction = if empty { vec![0.0; voxels] } else { values(51).iter().map(|value| (value + 1.0) / 2.0).collect() };
        let label = values(52).iter().map(|value| !empty && *value > 0.2).collect();
        let problem = Overlap { prediction, label, threshold };
        let at_threshold = problem.prediction.iter().filter(|value| **value == threshold).count();
        assert!(voxels < 1000 || at_threshold > 50, "{at_threshold} predictions are the threshold");
        let (expected, gradient) = problem.reference();
        for device in &mut devices(9) {
            let mut before = None;
            for with_gradient in [true, false] {
                let mut prepared = problem.prepare(device.as_mut(), with_gradient).unwrap();
                for _ in 0..2 {
                    prepared.launch().unwrap();
                    let (dice, found) = prepared.output().unwrap();
                    assert!((dice.soft - expected.soft).abs() < 1e-12 && (dice.hard - expected.hard).abs() < 1e-12);
                    assert_eq!(dice.predicted_voxels, expected.predicted_voxels);
                    assert_eq!(dice.label_voxels, expected.label_voxels);
                    assert_eq!(found.is_some(), with_gradient);
                    if let Some(found) = found {
                        let largest = gradient.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
                        for (found, right) in found.iter().zip(&gradient) {
                            assert!((found - right).abs() <= 1e-6 * largest, "{found} for {right}");
                        }
                    }
                    assert!(before.is_none_or(|before| before == dice), "the same bits each time");
                    before = Some(dice);
                }
            }
        }
    }
}
