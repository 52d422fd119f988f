//! What an engine is made of: packed layers, how each step is done, and where activations lie.

use super::convolution::{self, Convolution};
use super::down::Down;
use super::engine::Operation;
use super::epilogue::Epilogue;
use super::head::Head;
use super::input::Input;
use super::kernels::Kernels;
use super::last_block::{self, LastBlock, Layers};
use super::layout::{Blocks, KernelValues, Slots};
use super::memory::Block;
use super::up::Up;
use super::winograd::Winograd;
use crate::network::Result;
use crate::network::plan::{BufferId, Layer, Plan, Step};
use crate::network::region::Tiling;
use crate::network::weights::Weights;
use std::sync::Arc;

/// An engine under construction.
pub struct Builder<'a> {
    kernels: &'static Kernels,
    weights: &'a Weights,
    plan: &'a Plan,
    /// For each buffer.
    slots: Vec<BufferSlots>,
    input: Arc<Input>,
    /// The packed convolutions of stride 1: one that is applied several times is packed once.
    pub convolutions: Vec<Convolution>,
    /// Number of the packed layer of each step that is a convolution of stride 1.
    numbers: Vec<Option<usize>>,
    /// The step whose convolution does the head as well, so that its outputs are never stored.
    with_head: Option<usize>,
    /// That step, where its whole block is done slab by slab.
    last_block: Option<usize>,
}

/// Which channels a buffer's places hold.
struct BufferSlots {
    /// Of all blocks, a skip connection's included.
    all: Slots,
    /// Number of blocks that the buffer stores itself.
    stored: usize,
}

impl<'a> Builder<'a> {
    /// Packs the input layer and the convolutions, and finds out which steps are done together.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(kernels: &'static Kernels, threads: usize, weights: &'a Weights, plan: &'a Plan) -> Result<Builder<'a>> {
        let slots = slots(plan);
        let input = Arc::new(input_layer(weights, plan, &slots));
        let (convolutions, numbers) = pack_convolutions(kernels, threads, weights, plan, &slots)?;
        let convolution = |step: usize| numbers[step].map(|number: usize| &convolutions[number]);
        let with_head = before_head(plan).filter(|&step| convolution(step).is_some_and(|layer| layer.winograd().is_some()));
        let slab_by_slab = |&step: &usize| convolution(step).is_some_and(|layer| last_block::possible(plan, step, layer));
        let last_block = with_head.filter(slab_by_slab);
        Ok(Builder { kernels, weights, plan, slots, input, convolutions, numbers, with_head, last_block })
    }

    /// How each step is done.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn operations(&self) -> Result<Vec<Operation>> {
        (0..self.plan.steps.len()).map(|number| self.operation(number)).collect()
    }

    fn operation(&self, number: usize) -> Result<Operation> {
        let slab_by_slab = self.last_block.is_some();
        Ok(match &self.plan.steps[number] {
            Step::Input { .. } if slab_by_slab => Operation::Elsewhere,
            Step::Input { .. } => Operation::Input(self.input.clone()),
            Step::Down { layer, input, output } if slab_by_slab && self.is_input_layer(*input) => {
                Operation::InputAndDown(self.input.clone(), self.down(layer, *input, *output)?)
            }
            Step::Down { layer, input, output } => Operation::Down(self.down(layer, *input, *output)?),
            Step::Up { .. } if self.last_block == Some(number + 1) => Operation::Elsewhere,
            Step::Up { layer, input, .. } => Operation::Up(self.up(layer, *input)?),
            Step::Conv { input, .. } if self.last_block == Some(number) => {
                Operation::LastBlock(Box::new(self.last_block(number, *input)?))
            }
            Step::Conv { .. } => {
                Operation::Conv { layer: self.convolution(number), head: (self.with_head == Some(number)).then(|| self.head()) }
            }
            Step::Head { .. } if self.with_head.is_some() => Operation::Elsewhere,
            Step::Head { .. } => Operation::Head(self.head()),
        })
    }

    /// Whether a buffer is the input layer's output.
    fn is_input_layer(&self, id: BufferId) -> bool {
        matches!(self.plan.steps[self.plan.buffers[id].written], Step::Input { .. })
    }

    fn down(&self, layer: &Layer, input: BufferId, output: BufferId) -> Result<Down> {
        let (from, to) = (&self.slots[input].all, &self.slots[output].all);
        let tensors = self.weights.layer(layer);
        Down::new(self.kernels, &KernelValues::new(layer, &tensors, [from, to]), Epilogue::new(&tensors, to))
    }

    fn up(&self, layer: &Layer, input: BufferId) -> Result<Up> {
        let (from, to) = (&self.slots[input].all, Slots::new(&[layer.outputs]));
        let tensors = self.weights.layer(layer);
        Up::new(self.kernels, &KernelValues::new(layer, &tensors, [from, &to]), Epilogue::new(&tensors, &to))
    }

    fn head(&self) -> Head {
        let Some(Step::Head { hidden, binary, input }) = self.plan.steps.last() else {
            unreachable!("a plan ends with the head")
        };
        Head::new(&self.weights.layer(hidden), &self.weights.layer(binary), &self.slots[*input].all)
    }

    /// The last block, whose convolution is step `number` and reads `concatenation`.
    fn last_block(&self, number: usize, concatenation: BufferId) -> Result<LastBlock> {
        let Step::Up { layer, input, .. } = &self.plan.steps[number - 1] else {
            unreachable!("a block begins with its up-convolution")
        };
        let layers = Layers {
            input: self.input.clone(),
            up: self.up(layer, *input)?,
            convolution: self.convolution(number),
            head: self.head(),
        };
        let BufferSlots { all, stored } = &self.slots[concatenation];
        LastBlock::new(self.kernels, self.plan.shape, layers, [*stored, all.blocks() - stored])
    }

    /// Number of the packed layer of a step that is a convolution of stride 1.
    fn convolution(&self, step: usize) -> usize {
        self.numbers[step].expect("every convolution has been packed")
    }

    /// The tiles in which each step is computed.
    pub fn tilings(&self) -> Vec<Tiling> {
        self.plan.steps.iter().enumerate().map(|(number, step)| self.tiling(number, step)).collect()
    }

    fn tiling(&self, number: usize, step: &Step) -> Tiling {
        let shape = step.output().map_or(self.plan.shape, |output| self.plan.buffers[output].shape);
        match (step, self.with_head) {
            (Step::Input { .. }, _) => Input::tiling(shape),
            (Step::Down { .. }, _) => Down::tiling(shape),
            (Step::Up { .. }, _) => Up::tiling(shape),
            (Step::Conv { .. }, _) => self.convolutions[self.convolution(number)].tiling(shape),
            // The head that a convolution does is done in its tiles.
            (Step::Head { .. }, Some(step)) => self.convolutions[self.convolution(step)].tiling(shape),
            (Step::Head { .. }, None) => Head::tiling(shape),
        }
    }

    /// f32 that each thread needs for itself, and that all threads share, for every step.
    pub fn lengths(&self, operations: &[Operation], tilings: &[Tiling]) -> [usize; 2] {
        let lengths = operations.iter().zip(tilings).map(|(operation, tiling)| self.step_lengths(operation, tiling));
        lengths.fold([1, 1], |most, step| [most[0].max(step[0]), most[1].max(step[1])])
    }

    fn step_lengths(&self, operation: &Operation, tiling: &Tiling) -> [usize; 2] {
        match operation {
            Operation::Input(layer) => [layer.scratch_len(), 0],
            Operation::Down(layer) => [layer.scratch_len(), 0],
            Operation::InputAndDown(first, second) => [first.scratch_len() + second.scratch_len(), 0],
            Operation::Up(layer) => [layer.scratch_len(), 0],
            Operation::Conv { layer, .. } => match &self.convolutions[*layer] {
                Convolution::Direct(layer) => [layer.scratch_len(tiling.shape), 0],
                Convolution::Winograd(layer) => winograd_lengths(layer, tiling),
            },
            Operation::LastBlock(block) => {
                let Layers { input, up, convolution, .. } = &block.layers;
                let own = self.convolutions[*convolution].winograd().map_or(0, |layer| winograd_lengths(layer, tiling)[0]);
                [own.max(input.scratch_len()).max(up.scratch_len()), 0]
            }
            Operation::Head(_) | Operation::Elsewhere => [0, 0],
        }
    }

    /// Places all buffers in one block of memory: each where no other lives at the same time. The output of the
    /// convolution with the head, and what the last block makes slab by slab (so also the input layer's, which the
    /// first down-convolution makes tile by tile), are not stored.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn buffers(&self) -> Result<(Block, Vec<Blocks>)> {
        let plan = self.plan;
        let len = |id: BufferId| Blocks::block_len(plan.buffers[id].shape);
        let mut sizes: Vec<usize> = (0..plan.buffers.len()).map(|id| self.slots[id].stored * len(id)).collect();
        if let Some(id) = self.with_head.and_then(|step| plan.steps[step].output()) {
            sizes[id] = 0;
        }
        if let Some(Step::Up { skip, output, .. }) = self.last_block.map(|step| &plan.steps[step - 1]) {
            sizes[*output] = 0;
            sizes[*skip] = 0;
        }
        let arena = plan.arena(&sizes);
        let mut memory = Block::new(arena.size)?;
        let base = memory.values_mut().as_mut_ptr();
        let mut buffers: Vec<Blocks> = Vec::new();
        for (id, buffer) in plan.buffers.iter().enumerate() {
            let place = |block| base.wrapping_add(arena.offsets[id] + block * len(id));
            let mut places: Vec<*mut f32> = (0..self.slots[id].stored).map(place).collect();
            if let Some(skip) = buffer.skip {
                places.extend(&buffers[skip].places);
            }
            buffers.push(Blocks { shape: buffer.shape, planes: buffer.shape[0], places });
        }
        Ok((memory, buffers))
    }
}

fn input_layer(weights: &Weights, plan: &Plan, slots: &[BufferSlots]) -> Input {
    let Some(Step::Input { layer, output }) = plan.steps.first() else { unreachable!("a plan begins with the input layer") };
    let (slots, tensors) = (&slots[*output].all, weights.layer(layer));
    Input::new(&KernelValues::new(layer, &tensors, [&Slots::new(&[1]), slots]), Epilogue::new(&tensors, slots))
}

/// The packed convolutions of stride 1, and for each step that is one its number.
fn pack_convolutions(
    kernels: &Kernels,
    threads: usize,
    weights: &Weights,
    plan: &Plan,
    slots: &[BufferSlots],
) -> Result<(Vec<Convolution>, Vec<Option<usize>>)> {
    let mut layers: Vec<&Layer> = Vec::new();
    let mut convolutions = Vec::new();
    let mut numbers = vec![None; plan.steps.len()];
    for (step, number) in plan.steps.iter().zip(&mut numbers) {
        let Step::Conv { layer, input, output, .. } = step else { continue };
        let known = layers.iter().position(|known| *known == layer);
        if known.is_none() {
            let (shape, slots) = (plan.buffers[*output].shape, [&slots[*input].all, &slots[*output].all]);
            convolutions.push(Convolution::new(kernels, threads, weights, layer, shape, slots)?);
            layers.push(layer);
        }
        *number = known.or(Some(layers.len() - 1));
    }
    Ok((convolutions, numbers))
}

/// The step before the head, where the head reads what it writes.
fn before_head(plan: &Plan) -> Option<usize> {
    let head = plan.steps.iter().position(|step| matches!(step, Step::Head { .. }))?;
    let before = head.checked_sub(1)?;
    (plan.steps[before].output() == plan.steps[head].input()).then_some(before)
}

/// f32 that each thread needs for itself, and that all threads share.
fn winograd_lengths(layer: &Winograd, tiling: &Tiling) -> [usize; 2] {
    let lengths = layer.lengths(convolution::batch_size(layer, tiling));
    if convolution::shares_points(layer, tiling) { [lengths.own(), lengths.shared()] } else { [lengths.all(), 0] }
}

/// Which channels the buffers' places hold: within a block of the network all buffers have the places of its first.
fn slots(plan: &Plan) -> Vec<BufferSlots> {
    let mut slots: Vec<BufferSlots> = Vec::new();
    for step in &plan.steps {
        let Some(output) = step.output() else { continue };
        let buffer = &plan.buffers[output];
        slots.push(match *step {
            Step::Up { ref layer, skip, .. } => BufferSlots {
                all: Slots::new(&[layer.outputs, plan.buffers[skip].channels]),
                stored: Slots::new(&[layer.outputs]).blocks(),
            },
            Step::Conv { input, .. } => {
                let all = slots[input].all.clone();
                BufferSlots { stored: all.blocks(), all }
            }
            _ => {
                let all = Slots::new(&[buffer.channels]);
                BufferSlots { stored: all.blocks(), all }
            }
        });
    }
    slots
}
