//! Problems of given sizes with random values.

use super::{Layer, Operation, Problem};
use crate::network::description::HEAD_CHANNELS;
use crate::network::plan::{self, BufferId, Plan, Step};
use crate::network::weights::generate;
use ndarray::{Array4, Array5};

/// The sizes of a problem, and the seed of its values, which are uniform in [-1, 1).
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The grid (D, H, W); of a down- and an up-convolution the smaller one.
    pub shape: [usize; 3],
    /// The kernel along (D, H, W); of a down- and an up-convolution the stride too.
    pub kernel: [usize; 3],
    /// Channels of the input's parts.
    pub inputs: Vec<usize>,
    /// Channels of the output.
    pub outputs: usize,
    /// Whether the activation is a PReLU.
    pub prelu: bool,
    /// What the values depend on.
    pub seed: u64,
}

impl Problem {
    /// A step of a plan, with random values.
    pub fn of_step(plan: &Plan, step: &Step, seed: u64) -> Problem {
        let parts = |id: BufferId| {
            let (all, skip) = (plan.buffers[id].channels, plan.buffers[id].skip);
            skip.map_or(vec![all], |skip| vec![all - plan.buffers[skip].channels, plan.buffers[skip].channels])
        };
        let sizes = |layer: &plan::Layer, coarse: BufferId, inputs: Vec<usize>| Sizes {
            shape: plan.buffers[coarse].shape,
            kernel: layer.kernel,
            inputs,
            outputs: layer.outputs,
            prelu: layer.slopes.is_some(),
            seed,
        };
        match step {
            Step::Input { layer, output } => sizes(layer, *output, vec![1]).input(),
            Step::Conv { layer, input, residual, output } => {
                sizes(layer, *output, parts(*input)).convolution(&residual.map_or(vec![], parts))
            }
            Step::Down { layer, input, output } => sizes(layer, *output, parts(*input)).down(),
            Step::Up { layer, input, .. } => sizes(layer, *input, parts(*input)).up(),
            Step::Head { hidden, input, .. } => sizes(hidden, *input, parts(*input)).head(false),
        }
    }
}

impl Sizes {
    /// An input layer, of one channel whatever `inputs` are.
    pub fn input(&self) -> Problem {
        let layer = self.layer("layer", self.kernel, [1, self.outputs]);
        Problem { operation: Operation::Input(layer), input: self.parts("input", self.shape, &[1]) }
    }

    /// A convolution with a residual connection of so many channels in its parts, as many as there are outputs; with
    /// none where they are none.
    pub fn convolution(&self, residual: &[usize]) -> Problem {
        let layer = self.layer("layer", self.kernel, [self.inputs.iter().sum(), self.outputs]);
        let residual = self.parts("residual", self.shape, residual);
        Problem { operation: Operation::Convolution { layer, residual }, input: self.parts("input", self.shape, &self.inputs) }
    }

    /// A down-convolution.
    pub fn down(&self) -> Problem {
        let layer = self.layer("layer", self.kernel, [self.inputs.iter().sum(), self.outputs]);
        let fine = [0, 1, 2].map(|axis| self.shape[axis] * self.kernel[axis]);
        Problem { operation: Operation::Down(layer), input: self.parts("input", fine, &self.inputs) }
    }

    /// An up-convolution.
    pub fn up(&self) -> Problem {
        // Its kernel has the outputs first.
        let mut layer = self.layer("layer", self.kernel, [self.outputs, self.inputs.iter().sum()]);
        layer.bias = self.values("bias", self.outputs);
        layer.slopes = self.prelu.then(|| self.values("slopes", self.outputs));
        Problem { operation: Operation::Up(layer), input: self.parts("input", self.shape, &self.inputs) }
    }

    /// A head, whatever kernel and outputs are.
    pub fn head(&self, probabilities: bool) -> Problem {
        let hidden = self.layer("hidden", [1; 3], [self.inputs.iter().sum(), HEAD_CHANNELS]);
        let binary = self.layer("binary", [1; 3], [HEAD_CHANNELS, 1]);
        let operation = Operation::Head { hidden, binary, probabilities };
        Problem { operation, input: self.parts("input", self.shape, &self.inputs) }
    }

    fn values(&self, name: &str, count: usize) -> Vec<f32> {
        let uniform = generate::uniform(&format!("problem/{}/{name}", self.seed), count);
        uniform.into_iter().map(|value| 2.0 * value - 1.0).collect()
    }

    fn layer(&self, name: &str, [kd, kh, kw]: [usize; 3], [inputs, outputs]: [usize; 2]) -> Layer {
        let values = self.values(name, kd * kh * kw * inputs * outputs);
        Layer {
            kernel: Array5::from_shape_vec((kd, kh, kw, inputs, outputs), values).expect("as many values"),
            bias: self.values(&format!("{name}/bias"), outputs),
            slopes: self.prelu.then(|| self.values(&format!("{name}/slopes"), outputs)),
        }
    }

    fn parts(&self, name: &str, [depth, height, width]: [usize; 3], channels: &[usize]) -> Vec<Array4<f32>> {
        let part = |(number, &channels): (usize, &usize)| {
            let values = self.values(&format!("{name}/{number}"), channels * depth * height * width);
            Array4::from_shape_vec((channels, depth, height, width), values).expect("as many values")
        };
        channels.iter().enumerate().map(part).collect()
    }
}
