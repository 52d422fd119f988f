//! The forward pass of a V-Net on one grid, as data: a list of steps over numbered buffers.
//!
//! A plan is made from a description and a grid. Which layers there are, in which order and with which buffers stands here
//! alone; a back end does each [`Step`] in its own way. Because the steps are known beforehand, every buffer's lifetime is
//! too, and `Plan::arena` places all of them in one block of memory.

use super::description::{Activation, Description};
use crate::network::{Error, Result};

/// Number of a buffer in [`Plan::buffers`].
pub type BufferId = usize;

/// The values between two steps: `channels` values for each voxel of the grid of `level`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Number of channels.
    pub channels: usize,
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// How often the grid has been halved: 0 is the input's grid.
    pub level: usize,
    /// For the output of an [`Step::Up`]: its last channels are those of this buffer, which the plan keeps alive as long. A back end
    /// may store the first channels only and read the others in place.
    pub skip: Option<BufferId>,
    /// The step that writes it.
    pub written: usize,
    /// The last step that reads it (or reads a buffer whose `skip` it is).
    pub last_read: usize,
}

/// A convolution with its activation, by the names of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name of the convolution: its tensors are `{convolution}/kernel` and `{convolution}/bias`.
    pub convolution: String,
    /// Name of the slopes where the activation is a PReLU; `None` for ReLU.
    pub slopes: Option<String>,
    /// Kernel along (D, H, W).
    pub kernel: [usize; 3],
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
}

/// One operation on buffers. `act` is the layer's activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `output = act(conv(x)) + x`, the one-channel network input x added to every channel.
    Input {
        /// The convolution.
        layer: Layer,
        /// Where the result goes.
        output: BufferId,
    },
    /// `output = act(conv(input))` with stride = kernel, no padding.
    Down {
        /// The strided convolution.
        layer: Layer,
        /// What is read.
        input: BufferId,
        /// Where the result goes.
        output: BufferId,
    },
    /// `output = [act(transposed conv(input)), skip]`: each input voxel fills its own block; the skip connection's channels follow.
    Up {
        /// The transposed convolution; its kernel is (kd, kh, kw, out, in).
        layer: Layer,
        /// What is read.
        input: BufferId,
        /// The encoder's output on the grid of `output`.
        skip: BufferId,
        /// Where the result goes.
        output: BufferId,
    },
    /// `output = act(conv(input)) (+ residual)`, stride 1, zero "same" padding.
    Conv {
        /// The convolution.
        layer: Layer,
        /// What is read.
        input: BufferId,
        /// Added after the activation.
        residual: Option<BufferId>,
        /// Where the result goes.
        output: BufferId,
    },
    /// `logits = conv1(act(conv1(input)))`, both 1x1x1.
    Head {
        /// The first convolution, with the activation.
        hidden: Layer,
        /// The second convolution, to one channel, with no activation.
        binary: Layer,
        /// What is read.
        input: BufferId,
    },
}

impl Step {
    /// The name of its convolution; of a head's first.
    pub fn name(&self) -> &str {
        match self {
            Step::Input { layer, .. } | Step::Down { layer, .. } | Step::Up { layer, .. } | Step::Conv { layer, .. } => {
                &layer.convolution
            }
            Step::Head { hidden, .. } => &hidden.convolution,
        }
    }

    /// The buffer that the step reads, besides skip and residual; `None` for the input layer.
    pub(crate) fn input(&self) -> Option<BufferId> {
        match *self {
            Step::Input { .. } => None,
            Step::Down { input, .. } | Step::Up { input, .. } | Step::Conv { input, .. } | Step::Head { input, .. } => {
                Some(input)
            }
        }
    }

    /// The buffer that the step writes; `None` for the head.
    pub(crate) fn output(&self) -> Option<BufferId> {
        match *self {
            Step::Input { output, .. } | Step::Down { output, .. } | Step::Up { output, .. } | Step::Conv { output, .. } => {
                Some(output)
            }
            Step::Head { .. } => None,
        }
    }
}

/// The forward pass of a network on one grid.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The network.
    pub description: Description,
    /// The grid (D, H, W) of input and logits.
    pub shape: [usize; 3],
    /// All buffers.
    pub buffers: Vec<Buffer>,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// Each block's name and the buffer that holds its output (all blocks but `outblock`).
    pub blocks: Vec<(String, BufferId)>,
}

/// Places of all buffers in one block of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arena {
    /// Where each buffer begins.
    pub offsets: Vec<usize>,
    /// Size of the whole block.
    pub size: usize,
}

impl Plan {
    /// The forward pass of `description` on a grid of `shape` (D, H, W).
    ///
    /// # Errors
    /// [`Error::Description`] for an unusable description, [`Error::Shape`] where a side is 0 or no multiple of [`Description::multiple`].
    pub fn new(description: &Description, shape: [usize; 3]) -> Result<Plan> {
        description.validate()?;
        let multiple = description.multiple();
        if (0..3).any(|axis| shape[axis] == 0 || !shape[axis].is_multiple_of(multiple[axis])) {
            return Err(Error::Shape(format!(
                "the network needs a grid whose sides are multiples of {multiple:?}, not {shape:?}: pad it with 0"
            )));
        }
        let mut plan = Plan { description: description.clone(), shape, buffers: vec![], steps: vec![], blocks: vec![] };
        plan.lay_out();
        Ok(plan)
    }

    /// The forward pass itself.
    fn lay_out(&mut self) {
        let network = self.description.clone();
        let (kernel, stride, levels) = (network.kernel, network.stride, network.levels());

        let output = self.buffer(network.widths[0], 0, None);
        self.steps.push(Step::Input {
            layer: self.layer("input_layer/convolution", "input_layer/activation", kernel, 1, network.widths[0]),
            output,
        });
        self.blocks.push(("input_layer".into(), output));
        let mut skips = vec![output];
        let mut below = output;

        for level in 1..=levels {
            let block = format!("down_{level}");
            let (inputs, outputs) = (network.widths[level - 1], network.widths[level]);
            let output = self.buffer(outputs, level, None);
            let layer =
                self.layer(&format!("{block}/downsample"), &format!("{block}/downsample_activation"), stride, inputs, outputs);
            self.steps.push(Step::Down { layer, input: below, output });
            below = self.body(&block, output, network.convs[level]);
            skips.push(below);
        }
        for (index, &channels) in network.up_widths.iter().enumerate() {
            let level = levels - index;
            let block = format!("up_{level}");
            let skip = skips[level - 1];
            let output = self.buffer(channels, level - 1, Some(skip));
            let layer = self.layer(
                &format!("{block}/upsample"),
                &format!("{block}/upsample_activation"),
                stride,
                self.buffers[below].channels,
                network.upsampled_channels(index),
            );
            self.steps.push(Step::Up { layer, input: below, skip, output });
            below = self.body(&block, output, network.up_convs[index]);
        }
        let channels = self.buffers[below].channels;
        let hidden =
            self.layer("outblock/final", "outblock/final_activation", [1; 3], channels, super::description::HEAD_CHANNELS);
        let binary = Layer {
            convolution: "outblock/binary".into(),
            slopes: None,
            kernel: [1; 3],
            inputs: super::description::HEAD_CHANNELS,
            outputs: 1,
        };
        self.steps.push(Step::Head { hidden, binary, input: below });
        self.find_lifetimes();
    }

    /// `y = start; count times y = act(conv(y)); y + start`.
    fn body(&mut self, block: &str, start: BufferId, count: usize) -> BufferId {
        let Buffer { channels, level, .. } = self.buffers[start];
        let mut input = start;
        for index in 0..count {
            let layer = self.layer(
                &self.description.convolution_name(block, index),
                &self.description.activation_name(block, index),
                self.description.kernel,
                channels,
                channels,
            );
            let output = self.buffer(channels, level, None);
            let residual = (index + 1 == count).then_some(start);
            self.steps.push(Step::Conv { layer, input, residual, output });
            input = output;
        }
        self.blocks.push((block.to_string(), input));
        input
    }

    fn layer(&self, convolution: &str, activation: &str, kernel: [usize; 3], inputs: usize, outputs: usize) -> Layer {
        let slopes = (self.description.activation == Activation::Prelu).then(|| format!("{activation}/alpha"));
        Layer { convolution: convolution.to_string(), slopes, kernel, inputs, outputs }
    }

    fn buffer(&mut self, channels: usize, level: usize, skip: Option<BufferId>) -> BufferId {
        let shape = self.description.level_shape(self.shape, level);
        let written = self.steps.len();
        self.buffers.push(Buffer { channels, shape, level, skip, written, last_read: written });
        self.buffers.len() - 1
    }

    fn find_lifetimes(&mut self) {
        for (number, step) in self.steps.iter().enumerate() {
            let mut reads = vec![step.input()];
            match *step {
                Step::Up { skip, .. } => reads.push(Some(skip)),
                Step::Conv { residual, .. } => reads.push(residual),
                _ => {}
            }
            for id in reads.into_iter().flatten() {
                self.buffers[id].last_read = number;
                if let Some(skip) = self.buffers[id].skip {
                    self.buffers[skip].last_read = number;
                }
            }
        }
    }

    /// Places buffers of the given `sizes` (in any unit; 0 for one that is not stored) so that no two that live at the same time overlap.
    /// The largest is placed first, each at the lowest place that is free during its whole life.
    pub(crate) fn arena(&self, sizes: &[usize]) -> Arena {
        let mut order: Vec<BufferId> = (0..self.buffers.len()).filter(|&id| sizes[id] > 0).collect();
        order.sort_by_key(|&id| std::cmp::Reverse(sizes[id]));
        let mut arena = Arena { offsets: vec![0; self.buffers.len()], size: 0 };
        let mut placed: Vec<BufferId> = Vec::new();
        for id in order {
            let buffer = &self.buffers[id];
            let mut busy: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&other| {
                    let other = &self.buffers[other];
                    other.written <= buffer.last_read && buffer.written <= other.last_read
                })
                .map(|&other| (arena.offsets[other], arena.offsets[other] + sizes[other]))
                .collect();
            busy.sort_unstable();
            let mut offset = 0;
            for (begin, end) in busy {
                if offset + sizes[id] <= begin {
                    break;
                }
                offset = offset.max(end);
            }
            arena.offsets[id] = offset;
            arena.size = arena.size.max(offset + sizes[id]);
            placed.push(id);
        }
        arena
    }

    /// Floating-point operations of a step: 2 for each multiply-add of its convolution, padding taps counted.
    pub fn flop(&self, step: &Step) -> u64 {
        let taps = |layer: &Layer| layer.kernel.iter().product::<usize>() * layer.inputs * layer.outputs;
        let voxels = |id: BufferId| self.buffers[id].shape.iter().product::<usize>();
        let products = match step {
            Step::Input { layer, output } | Step::Down { layer, output, .. } | Step::Conv { layer, output, .. } => {
                taps(layer) * voxels(*output)
            }
            Step::Up { layer, input, .. } => taps(layer) * voxels(*input),
            Step::Head { hidden, binary, input } => (taps(hidden) + taps(binary)) * voxels(*input),
        };
        2 * products as u64
    }

    /// Each block's name and the floating-point operations of its steps, `outblock` last.
    pub(crate) fn block_flop(&self) -> Vec<(String, u64)> {
        let mut table: Vec<(String, u64)> = self.blocks.iter().map(|(name, _)| (name.clone(), 0)).collect();
        table.push(("outblock".into(), 0));
        let mut block = 0;
        for step in &self.steps {
            if matches!(step, Step::Head { .. }) {
                block = table.len() - 1;
            }
            table[block].1 += self.flop(step);
            if step.output().is_some() && step.output() == self.blocks.get(block).map(|b| b.1) {
                block += 1;
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deepbleed_has_the_floating_point_operations_of_the_design() {
        let plan = Plan::new(&Description::deepbleed(), [128; 3]).unwrap();
        let table = plan.block_flop();
        // DESIGN.md's table, in GFLOP: the 5x5x5 convolutions of each block; the 2x2x2 ones add up to 1%.
        let expected = [
            ("input_layer", 8.4),
            ("down_1", 134.2),
            ("down_2", 100.7),
            ("down_3", 50.3),
            ("down_4", 25.2),
            ("up_4", 201.3),
            ("up_3", 402.7),
            ("up_2", 536.9),
            ("up_1", 536.9),
            ("outblock", 0.3),
        ];
        let total: u64 = plan.steps.iter().map(|s| plan.flop(s)).sum();
        assert_eq!(total, table.iter().map(|t| t.1).sum::<u64>());
        assert!((total as f64 / 1e9 - 2008.6).abs() < 0.1, "{total}");
        for ((name, flop), (expected_name, gflop)) in table.into_iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!((flop as f64 / 1e9 - gflop).abs() < 0.02 * gflop + 0.05, "{name}: {flop}");
        }
    }

    #[test]
    fn buffers_that_live_together_never_overlap() {
        let plan = Plan::new(&Description::deepbleed(), [32, 48, 16]).unwrap();
        let sizes: Vec<usize> = plan.buffers.iter().map(|b| b.channels * b.shape.iter().product::<usize>()).collect();
        let arena = plan.arena(&sizes);
        for (a, first) in plan.buffers.iter().enumerate() {
            for (b, second) in plan.buffers.iter().enumerate().skip(a + 1) {
                let together = first.written <= second.last_read && second.written <= first.last_read;
                let apart = arena.offsets[a] + sizes[a] <= arena.offsets[b] || arena.offsets[b] + sizes[b] <= arena.offsets[a];
                assert!(!together || apart, "buffers {a} and {b} overlap");
            }
        }
        let live = |step: usize| {
            let alive = plan.buffers.iter().zip(&sizes).filter(|(b, _)| b.written <= step && step <= b.last_read);
            alive.map(|(_, size)| size).sum::<usize>()
        };
        let least = (0..plan.steps.len()).map(live).max().unwrap();
        assert!(arena.size <= least + least / 10, "{} for {least} that live at once", arena.size);
    }

    #[test]
    fn a_skip_connection_lives_as_long_as_the_buffer_it_is_joined_to() {
        let plan = Plan::new(&Description::deepbleed(), [16; 3]).unwrap();
        for buffer in &plan.buffers {
            if let Some(skip) = buffer.skip {
                assert!(plan.buffers[skip].last_read >= buffer.last_read);
            }
        }
    }

    #[test]
    fn sides_must_be_multiples_of_the_stride() {
        assert!(Plan::new(&Description::deepbleed(), [16, 24, 16]).is_err());
        assert!(Plan::new(&Description::deepbleed(), [0, 16, 16]).is_err());
        let planar = Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..Description::deepbleed() };
        assert!(Plan::new(&planar, [3, 16, 32]).is_ok());
    }
}
