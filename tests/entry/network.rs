//! Any bytes as a small network, a grid, a brain and the voxels that are wanted: the CPU engine and training's pass forwards give the logits
//! of the plain loops, and the pass backwards finite gradients. The fuzzer looks for combinations of shapes, channels, kernels and masks, the
//! sanitizer for a value read or written outside of its block.

mod choices;

use choices::Choices;
use ichor::network::cpu::backward::{Example, Layers, Network, Parameters};
use ichor::network::cpu::{CpuEngine, CpuOptions, Instructions};
use ichor::network::reference;
use ichor::network::weights::{Weights, generate};
use ichor::network::{Activation, Description, LoadedNetwork as _, Loss, Plan};
use std::num::NonZeroUsize;

/// Most operations of a pass, and most parameters: what the plain loops do in a second or two under a sanitizer.
const MOST_FLOP: u64 = 60_000_000;
const MOST_PARAMETERS: usize = 1_000_000;

/// Largest error of a logit, as a part of the largest one. The rounding is a hundredth of it (the tests of the engine hold it to that); what is
/// computed from wrong values is not near.
const TOLERANCE: f32 = 1e-2;

impl Choices<'_> {
    fn description(&mut self) -> Description {
        let kernel = [0; 3].map(|_| [5, 1, 3, 7][self.below(4)]);
        let stride = [0; 3].map(|_| [2, 1][self.below(2)]);
        let levels = 1 + self.below(3);
        let widths: Vec<usize> = (0..=levels).map(|_| 1 + self.below(36)).collect();
        let up_widths = (0..levels).rev().map(|skip| widths[skip] + 1 + self.below(36)).collect();
        let convs = std::iter::once(1).chain((0..levels).map(|_| 1 + self.below(3))).collect();
        let up_convs = (0..levels).map(|_| 1 + self.below(3)).collect();
        let shared = self.below(2) == 0;
        let activation = [Activation::Prelu, Activation::Relu][self.below(2)];
        Description { kernel, stride, widths, convs, up_widths, up_convs, shared, activation }
    }

    /// For each voxel of a grid whether it lies in some box, less every so many-th.
    fn part(&mut self, [depth, height, width]: [usize; 3]) -> Vec<bool> {
        let ranges = [depth, height, width].map(|side| {
            let begin = self.below(side);
            begin..side - self.below(side - begin)
        });
        let gap = 2 + self.below(250);
        let inside = |at: usize| {
            let place = [at / (height * width), at / width % height, at % width];
            ranges.iter().zip(&place).all(|(range, place)| range.contains(place)) && at % gap != 1
        };
        (0..depth * height * width).map(inside).collect()
    }
}

/// Runs the network that the bytes describe; `false` where it would take too long.
pub fn network(bytes: &[u8]) -> bool {
    let mut choices = Choices(bytes.iter());
    let description = choices.description();
    let shape = description.multiple().map(|multiple| multiple * (1 + choices.below(12)));
    let plan = Plan::new(&description, shape).expect("the description is usable, the grid fits");
    if plan.steps.iter().map(|step| plan.flop(step)).sum::<u64>() > MOST_FLOP || description.parameters() > MOST_PARAMETERS {
        return false;
    }
    let available: Vec<Instructions> = Instructions::ALL.into_iter().rev().filter(|i| i.available()).collect();
    let instructions = available[choices.below(available.len())];
    let threads = NonZeroUsize::new(1 + choices.below(3));
    let brain = choices.part(shape);
    let wanted = choices.part(shape);

    let weights = Weights::generate(&description, "fuzz").unwrap();
    let mut input = generate::ct_input("fuzz", shape);
    input.iter_mut().zip(&brain).filter(|(_, inside)| !**inside).for_each(|(value, _)| *value = 0.0);
    let mut expected = vec![f32::NAN; input.len()];
    reference::ReferenceEngine::new(&weights, shape).unwrap().run(&input, None, &mut expected).unwrap();

    let mut engine = CpuEngine::with_options(&weights, shape, &CpuOptions { threads, instructions: Some(instructions) }).unwrap();
    let mut logits = vec![f32::NAN; input.len()];
    engine.run(&input, None, &mut logits).unwrap();
    assert_close(&logits, &expected);
    let mut some = vec![f32::NAN; input.len()];
    engine.run(&input, Some(&wanted), &mut some).unwrap();
    for ((some, all), wanted) in some.iter().zip(&logits).zip(&wanted) {
        assert_eq!(some.to_bits(), if *wanted { all.to_bits() } else { f32::NEG_INFINITY.to_bits() });
    }

    let tensors = description.tensors().into_iter().map(|t| (t.name.clone(), weights.tensor(&t.name).into_owned())).collect();
    let parameters = Parameters::of(&description, &tensors);
    // Training has no transforms for kernels of 3 and 7.
    let Ok(layers) = Layers::new(&description, &parameters, instructions) else { return true };
    let mut network = Network::new(&description, shape, instructions).unwrap();
    let mut gradient = Parameters::zeros(&description);
    let example = Example { input: &input, label: &brain, mask: &wanted };
    let loss = Loss { dice: 1.0, cross_entropy: 1.0 };
    let value = network.gradient(&layers, &parameters, example, &loss, None, &mut gradient).unwrap();
    assert!(value.is_finite() && gradient.values().iter().all(|g| g.is_finite()), "loss {value}");
    expected.iter_mut().zip(&wanted).filter(|(_, wanted)| !**wanted).for_each(|(logit, _)| *logit = 0.0);
    assert_close(network.logits(), &expected);
    true
}

fn assert_close(values: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        assert!((value - expected).abs() <= TOLERANCE * largest, "voxel {at}: {value} for {expected}, the largest {largest}");
    }
}
