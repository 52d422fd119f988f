//! A network that can be trained: one pass forwards that keeps what the way back needs, the loss, and one pass backwards.
//!
//! The loss counts inside of the brain alone, so convolutions are computed, forwards and backwards, only in the tiles that it depends on. What is not
//! computed keeps old values: finite ones, whose gradient is 0.

use super::conv::{self, Conv};
use super::head::{self, Head};
use super::input::{self, Padded};
use super::parameters::Parameters;
use super::pointwise;
use super::stride::Strided;
use super::values::Values;
use crate::network::cpu::Instructions;
use crate::network::plan::Layer;
use crate::network::region::{self, Tiling};
use crate::network::{BufferId, Description, Plan, Step};
use crate::network::{Dropout, Loss};
use crate::network::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// Buffers for a network on one grid.
pub struct Network {
    plan: Plan,
    instructions: Instructions,
    input: Padded,
    /// What each buffer of the plan holds, and the loss's derivative by it.
    buffers: Vec<Values>,
    slopes: Vec<Values>,
    /// What each step but the head gives before its activation.
    before: Vec<Values>,
    logits: Vec<f32>,
    by_logit: Vec<f32>,
    /// For each step and tile whether the last pass's loss depends on it.
    needed: Vec<Vec<bool>>,
    /// Seconds by part, summed over all passes.
    seconds: BTreeMap<&'static str, f64>,
}

/// A layer's weights as its kernels want them.
enum Packed {
    Conv(Conv),
    Strided(Strided),
}

/// All layers' weights as their kernels want them, by the convolution's name: made once for each update of the weights.
pub struct Layers(BTreeMap<String, Packed>);

impl Layers {
    /// Packs the weights of a plan's layers.
    ///
    /// # Errors
    /// [`Error::Description`] for a network that cannot be trained here, [`Error::Memory`] where memory runs out.
    pub fn new(description: &Description, parameters: &Parameters, instructions: Instructions) -> Result<Layers> {
        if !conv::can(description.kernel) {
            return Err(Error::Description(format!(
                "kernel {:?}: training takes kernels of 5 taps, or 1, along each axis",
                description.kernel
            )));
        }
        // The smallest grid has the same layers as any other.
        let plan = Plan::new(description, description.multiple())?;
        let mut jobs: BTreeMap<&str, &Step> = BTreeMap::new();
        for step in &plan.steps {
            if let Step::Down { layer, .. } | Step::Up { layer, .. } | Step::Conv { layer, .. } = step {
                jobs.insert(&layer.convolution, step);
            }
        }
        let pack = |(name, step): (&str, &Step)| -> Result<(String, Packed)> {
            let values = parameters.tensor(&format!("{name}/kernel"));
            Ok((
                name.to_string(),
                match step {
                    Step::Conv { layer, .. } => {
                        let bias = parameters.tensor(&format!("{name}/bias"));
                        Packed::Conv(Conv::new(instructions, layer.kernel, [layer.inputs, layer.outputs], values, bias)?)
                    }
                    Step::Down { layer, .. } => {
                        Packed::Strided(Strided::new(instructions, layer.kernel, [layer.inputs, layer.outputs], values))
                    }
                    Step::Up { layer, .. } => {
                        Packed::Strided(Strided::new(instructions, layer.kernel, [layer.outputs, layer.inputs], values))
                    }
                    Step::Input { .. } | Step::Head { .. } => unreachable!("only the other steps are packed"),
                },
            ))
        };
        Ok(Layers(jobs.into_par_iter().map(pack).collect::<Result<_>>()?))
    }

    fn conv(&self, layer: &Layer) -> &Conv {
        match &self.0[&layer.convolution] {
            Packed::Conv(conv) => conv,
            Packed::Strided(_) => unreachable!("{} is a convolution of stride 1", layer.convolution),
        }
    }

    fn strided(&self, layer: &Layer) -> &Strided {
        match &self.0[&layer.convolution] {
            Packed::Strided(strided) => strided,
            Packed::Conv(_) => unreachable!("{} has a stride", layer.convolution),
        }
    }
}

/// What a step of training is made from.
#[derive(Clone, Copy)]
pub struct Example<'a> {
    /// The network's input (D, H, W).
    pub input: &'a [f32],
    /// Where blood is.
    pub label: &'a [bool],
    /// Where the loss counts.
    pub mask: &'a [bool],
}

/// Two elements of a slice, the second to be changed.
fn pair(values: &mut [Values], from: usize, to: usize) -> (&Values, &mut Values) {
    assert_ne!(from, to, "no step writes what it reads");
    if from < to {
        let (head, tail) = values.split_at_mut(to);
        (&head[from], &mut tail[0])
    } else {
        let (head, tail) = values.split_at_mut(from);
        (&tail[0], &mut head[to])
    }
}

impl Network {
    /// Buffers for a network on a grid of `shape` (D, H, W).
    ///
    /// # Errors
    /// As [`Plan::new`]; [`Error::Memory`] where memory runs out.
    pub fn new(description: &Description, shape: [usize; 3], instructions: Instructions) -> Result<Network> {
        let plan = Plan::new(description, shape)?;
        let values = || plan.buffers.iter().map(|buffer| Values::new(buffer.shape, buffer.channels)).collect::<Result<Vec<_>>>();
        let before = plan.steps.iter().filter_map(|step| match step {
            Step::Input { layer, output }
            | Step::Down { layer, output, .. }
            | Step::Up { layer, output, .. }
            | Step::Conv { layer, output, .. } => Some(Values::new(plan.buffers[*output].shape, layer.outputs)),
            Step::Head { .. } => None,
        });
        let voxels = shape.iter().product();
        Ok(Network {
            instructions,
            input: Padded::new(&[], shape, description.kernel),
            buffers: values()?,
            slopes: values()?,
            before: before.collect::<Result<_>>()?,
            logits: vec![0.0; voxels],
            by_logit: vec![0.0; voxels],
            needed: Vec::new(),
            seconds: BTreeMap::new(),
            plan,
        })
    }

    /// The grid (D, H, W).
    pub fn shape(&self) -> [usize; 3] {
        self.plan.shape
    }

    /// The logits of the last pass.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Seconds by part, summed over all passes so far.
    pub fn seconds(&self) -> &BTreeMap<&'static str, f64> {
        &self.seconds
    }

    fn timed<T>(&mut self, part: &'static str, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let result = work(self);
        *self.seconds.entry(part).or_default() += start.elapsed().as_secs_f64();
        result
    }

    /// Computes the logits of an input (D, H, W) inside of a mask, and what they depend on; outside of it they are 0.
    pub fn forward(&mut self, layers: &Layers, parameters: &Parameters, input: &[f32], mask: &[bool], dropout: Option<Dropout>) {
        self.input = Padded::new(input, self.plan.shape, self.plan.description.kernel);
        self.timed("needed tiles", |n| {
            let tiling = |step: &Step| match step {
                Step::Conv { layer, output, .. } => layers.conv(layer).tiling(n.plan.buffers[*output].shape),
                // Of the other steps everything is computed.
                _ => {
                    let shape = step.output().map_or(n.plan.shape, |output| n.plan.buffers[output].shape);
                    Tiling { shape, tile: [4; 3] }
                }
            };
            let tilings: Vec<Tiling> = n.plan.steps.iter().map(tiling).collect();
            n.needed = region::needed(&n.plan, &tilings, mask, |_| false);
        });
        for (number, step) in self.plan.steps.clone().iter().enumerate() {
            self.forward_step(layers, parameters, mask, number, step);
            if let Some(output) = step.output() {
                self.drop_out(output, dropout, false);
            }
        }
    }

    /// Dropout of a buffer, or of the derivative by it, where there is any.
    fn drop_out(&mut self, buffer: BufferId, dropout: Option<Dropout>, backwards: bool) {
        if let Some(dropout) = dropout.filter(|dropout| dropout.drops(&self.plan, buffer)) {
            let values = if backwards { &mut self.slopes[buffer] } else { &mut self.buffers[buffer] };
            pointwise::dropout(values, dropout.rate as f32, |voxel, channel| (dropout.keep)(buffer, voxel, channel));
        }
    }

    fn forward_step(&mut self, layers: &Layers, parameters: &Parameters, mask: &[bool], number: usize, step: &Step) {
        match step {
            Step::Input { layer, output } => {
                let (kernel, bias) = (parameters.kernel(layer), parameters.bias(layer));
                self.timed("input layer", |n| input::forward(n.instructions, &n.input, kernel, bias, &mut n.before[number]));
                self.timed("pointwise", |n| {
                    pointwise::prelu_add_input(&n.before[number], &parameters.slopes(layer), &n.input, &mut n.buffers[*output]);
                });
            }
            Step::Down { layer, input, output } => {
                let bias = parameters.bias(layer);
                self.timed("down and up", |n| {
                    layers.strided(layer).fine_to_coarse(&n.buffers[*input], &mut n.before[number], bias, false);
                });
                self.timed("pointwise", |n| {
                    pointwise::prelu(&n.before[number], &parameters.slopes(layer), None, &mut n.buffers[*output]);
                });
            }
            Step::Up { layer, input, skip, output } => {
                let bias = parameters.bias(layer);
                self.timed("down and up", |n| {
                    layers.strided(layer).coarse_to_fine(&n.buffers[*input], &mut n.before[number], bias, false);
                });
                self.timed("pointwise", |n| {
                    let (skip, output) = pair(&mut n.buffers, *skip, *output);
                    pointwise::prelu(&n.before[number], &parameters.slopes(layer), None, output);
                    pointwise::copy_channels(skip, 0, output, layer.outputs, skip.channels);
                });
            }
            Step::Conv { layer, input, residual, output } => {
                self.timed("conv", |n| {
                    layers.conv(layer).forward(&n.buffers[*input], &mut n.before[number], &n.needed[number]);
                });
                self.timed("pointwise", |n| {
                    let slopes = parameters.slopes(layer);
                    match residual {
                        Some(residual) => {
                            let (residual, output) = pair(&mut n.buffers, *residual, *output);
                            pointwise::prelu(&n.before[number], &slopes, Some(residual), output);
                        }
                        None => pointwise::prelu(&n.before[number], &slopes, None, &mut n.buffers[*output]),
                    }
                });
            }
            Step::Head { hidden, binary, input } => {
                let slopes = parameters.slopes(hidden);
                let head = head_of(parameters, hidden, binary, &slopes);
                self.timed("head", |n| head.forward(&n.buffers[*input], mask, &mut n.logits));
            }
        }
    }

    /// Loss of an example, and its gradient by all parameters, which is added to `gradient`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the example does not fit the grid.
    pub fn gradient(
        &mut self,
        layers: &Layers,
        parameters: &Parameters,
        example: Example,
        loss: &Loss,
        dropout: Option<Dropout>,
        gradient: &mut Parameters,
    ) -> Result<f64> {
        if [example.input.len(), example.label.len(), example.mask.len()] != [self.logits.len(); 3] {
            return Err(Error::Shape(format!("input, label and mask must have {} voxels each", self.logits.len())));
        }
        self.forward(layers, parameters, example.input, example.mask, dropout);
        let value = self.timed("loss", |n| head::loss(loss, &n.logits, example.label, example.mask, &mut n.by_logit));
        let mut written = vec![false; self.buffers.len()];
        for (number, step) in self.plan.steps.clone().iter().enumerate().rev() {
            if let Some(output) = step.output() {
                assert!(written[output], "every buffer is read by a later step");
                self.drop_out(output, dropout, true);
            }
            self.backward_step(layers, parameters, number, step, gradient, &mut written);
        }
        Ok(value)
    }

    fn backward_step(
        &mut self,
        layers: &Layers,
        parameters: &Parameters,
        number: usize,
        step: &Step,
        gradient: &mut Parameters,
        written: &mut [bool],
    ) {
        match step {
            Step::Head { hidden, binary, input } => {
                let slopes = parameters.slopes(hidden);
                let head = head_of(parameters, hidden, binary, &slopes);
                let found = self.timed("head", |n| head.backward(&n.buffers[*input], &n.by_logit, &mut n.slopes[*input]));
                written[*input] = true;
                let mut add = |name: &str, values: &[f64]| {
                    gradient.tensor_mut(name).iter_mut().zip(values).for_each(|(sum, value)| *sum += *value as f32);
                };
                add(&format!("{}/kernel", hidden.convolution), &found.hidden);
                add(&format!("{}/bias", hidden.convolution), &found.hidden_bias);
                if let Some(name) = &hidden.slopes {
                    add(name, &found.slopes);
                }
                add(&format!("{}/kernel", binary.convolution), &found.binary);
                add(&format!("{}/bias", binary.convolution), &[found.bias]);
            }
            Step::Conv { layer, input, residual, output } => {
                self.activation_backward(parameters, number, layer, *output, *residual, gradient);
                if let Some(residual) = residual {
                    // The block's other uses of what is added come before this one: it is the first on the way back.
                    assert!(
                        !std::mem::replace(&mut written[*residual], true),
                        "a residual is the last use of a block's beginning"
                    );
                }
                let kernel = gradient.tensor_mut(&format!("{}/kernel", layer.convolution));
                self.timed("conv, gradient by kernel", |n| {
                    layers.conv(layer).kernel_gradient(&n.buffers[*input], &n.slopes[*output], &n.needed[number], kernel);
                });
                self.timed("conv, gradient by input", |n| {
                    let (dz, dx) = pair(&mut n.slopes, *output, *input);
                    layers.conv(layer).backward(dz, dx, &n.needed[number], written[*input]);
                });
                written[*input] = true;
            }
            Step::Up { layer, input, skip, output } => {
                self.timed("pointwise", |n| {
                    let (dy, dskip) = pair(&mut n.slopes, *output, *skip);
                    let channels = dskip.channels;
                    pointwise::copy_channels(dy, layer.outputs, dskip, 0, channels);
                });
                assert!(!std::mem::replace(&mut written[*skip], true), "a skip connection is the last use of an encoder's block");
                self.activation_backward(parameters, number, layer, *output, None, gradient);
                let kernel = gradient.tensor_mut(&format!("{}/kernel", layer.convolution));
                self.timed("down and up", |n| {
                    let strided = layers.strided(layer);
                    strided.kernel_gradient(&n.slopes[*output], &n.buffers[*input], kernel);
                    let (dz, dx) = pair(&mut n.slopes, *output, *input);
                    strided.fine_to_coarse(dz, dx, &vec![0.0; layer.inputs], written[*input]);
                });
                written[*input] = true;
            }
            Step::Down { layer, input, output } => {
                self.activation_backward(parameters, number, layer, *output, None, gradient);
                let kernel = gradient.tensor_mut(&format!("{}/kernel", layer.convolution));
                self.timed("down and up", |n| {
                    let strided = layers.strided(layer);
                    strided.kernel_gradient(&n.buffers[*input], &n.slopes[*output], kernel);
                    let (dz, dx) = pair(&mut n.slopes, *output, *input);
                    strided.coarse_to_fine(dz, dx, &vec![0.0; layer.inputs], written[*input]);
                });
                written[*input] = true;
            }
            Step::Input { layer, output } => {
                self.activation_backward(parameters, number, layer, *output, None, gradient);
                let kernel = gradient.tensor_mut(&format!("{}/kernel", layer.convolution));
                self.timed("input layer", |n| {
                    input::kernel_gradient(n.instructions, &n.input, &n.slopes[*output], kernel);
                });
            }
        }
    }

    /// From the derivative by a layer's activated result to that before its activation, with those by slopes and bias; for a residual connection the
    /// former is also that by what is added.
    fn activation_backward(
        &mut self,
        parameters: &Parameters,
        step: usize,
        layer: &Layer,
        output: BufferId,
        residual: Option<BufferId>,
        gradient: &mut Parameters,
    ) {
        let (mut by_slopes, mut by_bias) = (vec![0.0; layer.outputs], vec![0.0; layer.outputs]);
        self.timed("pointwise", |n| {
            let slopes = parameters.slopes(layer);
            let (dy, residual) = match residual {
                Some(residual) => {
                    let [dy, residual] = n.slopes.get_disjoint_mut([output, residual]).expect("two buffers of the plan");
                    (dy, Some(residual))
                }
                None => (&mut n.slopes[output], None),
            };
            pointwise::prelu_backward(&n.before[step], &slopes, dy, residual, &mut by_slopes, &mut by_bias);
        });
        let mut add = |name: &str, values: &[f32]| {
            gradient.tensor_mut(name).iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        };
        if let Some(name) = &layer.slopes {
            add(name, &by_slopes);
        }
        add(&format!("{}/bias", layer.convolution), &by_bias);
    }
}

fn head_of<'a>(parameters: &'a Parameters, hidden: &Layer, binary: &Layer, slopes: &'a [f32]) -> Head<'a> {
    Head {
        hidden: parameters.kernel(hidden),
        hidden_bias: parameters.bias(hidden),
        slopes,
        binary: parameters.kernel(binary),
        bias: parameters.bias(binary)[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Activation;
    use crate::network::cpu::backward::testing::{assert_close, random};
    use crate::network::reference;

    fn network(shared: bool, kernel: [usize; 3], stride: [usize; 3]) -> Description {
        Description {
            kernel,
            stride,
            widths: vec![4, 8, 20],
            convs: vec![1, 2, 2],
            up_widths: vec![18, 8],
            up_convs: vec![2, 1],
            shared,
            activation: Activation::Prelu,
        }
    }

    /// Loss and gradient of a network for a random example, on some number of threads.
    fn run(
        description: &Description,
        shape: [usize; 3],
        threads: usize,
        dropout: Option<Dropout>,
    ) -> (f64, Parameters, Vec<f32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let instructions = Instructions::best();
            let parameters = Parameters::initial(description, 1).unwrap();
            let mut gradient = Parameters::zeros(description);
            let layers = Layers::new(description, &parameters, instructions).unwrap();
            let mut network = Network::new(description, shape, instructions).unwrap();
            let (input, label, mask) = example(shape);
            let loss = Loss { dice: 1.0, cross_entropy: 3.0 };
            // Nothing may be left from one pass for the next, whose example has a smaller mask.
            let before = random(6, input.len());
            let before = Example { input: &before, label: &label, mask: &vec![true; mask.len()] };
            network.gradient(&layers, &parameters, before, &loss, dropout, &mut gradient).unwrap();
            let example = Example { input: &input, label: &label, mask: &mask };
            let mut gradient = Parameters::zeros(description);
            let value = network.gradient(&layers, &parameters, example, &loss, dropout, &mut gradient).unwrap();
            (value, gradient, network.logits().to_vec())
        })
    }

    /// A random example whose mask lies in the lower half of each axis.
    fn example(shape: [usize; 3]) -> (Vec<f32>, Vec<bool>, Vec<bool>) {
        let voxels = shape.iter().product();
        let label = random(4, voxels).into_iter().map(|value| value > 0.5).collect();
        let low = |voxel: usize| {
            let at = [voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]];
            (0..3).all(|axis| at[axis] < shape[axis].div_ceil(2))
        };
        let mask = random(5, voxels).into_iter().enumerate().map(|(voxel, value)| value > -0.5 && low(voxel)).collect();
        (random(3, voxels), label, mask)
    }

    fn check(description: &Description, shape: [usize; 3], dropout: Option<Dropout>) {
        let (loss, gradient, logits) = run(description, shape, 2, dropout);
        let parameters = Parameters::initial(description, 1).unwrap();
        let (input, label, mask) = example(shape);
        let sample = reference::Sample {
            input: &input,
            label: &label,
            mask: &mask,
            loss: Loss { dice: 1.0, cross_entropy: 3.0 },
            dropout,
        };
        let (expected, expected_gradient, expected_logits) =
            reference::gradient(description, &parameters.tensors(), shape, &sample).unwrap();
        assert!((loss - expected).abs() < 1e-4 * expected, "{loss} for {expected}");
        let inside: Vec<f32> =
            expected_logits.iter().zip(&mask).map(|(&logit, &inside)| if inside { logit } else { 0.0 }).collect();
        assert_close(&logits, &inside, 1e-4);
        for (name, expected) in expected_gradient {
            eprintln!("{name}");
            assert_close(gradient.tensor(&name), &expected, 2e-3);
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_the_reference() {
        check(&network(true, [5; 3], [2; 3]), [8, 12, 16], None);
        check(&network(true, [5; 3], [2; 3]), [28, 16, 24], None);
        check(&network(false, [1, 5, 5], [1, 2, 2]), [3, 12, 36], None);
        check(&Description { activation: Activation::Relu, ..network(true, [5; 3], [2; 3]) }, [8; 3], None);
    }

    #[test]
    fn dropout_is_that_of_the_reference() {
        let keep = |buffer: BufferId, voxel: usize, channel: usize| !(buffer + voxel * 3 + channel * 5).is_multiple_of(4);
        check(&network(true, [5; 3], [2; 3]), [8, 12, 8], Some(Dropout { rate: 0.25, levels: 1, keep: &keep }));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let description = network(true, [5; 3], [2; 3]);
        let one = run(&description, [16, 20, 24], 1, None);
        for threads in [2, 5] {
            let several = run(&description, [16, 20, 24], threads, None);
            assert_eq!(one.0.to_bits(), several.0.to_bits());
            assert_eq!(one.1.values(), several.1.values());
        }
    }

    #[test]
    fn kernels_without_a_transform_and_examples_of_another_size_are_refused() {
        let description = Description { kernel: [3; 3], ..network(true, [5; 3], [2; 3]) };
        let parameters = Parameters::initial(&description, 1).unwrap();
        assert!(matches!(Layers::new(&description, &parameters, Instructions::best()), Err(Error::Description(_))));
    }
}
