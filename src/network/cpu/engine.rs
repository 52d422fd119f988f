//! A loaded network on one grid: packed layers and one block of memory for all activations.

use super::convolution::{self, Convolution};
use super::down::Down;
use super::epilogue::Epilogue;
use super::head::Head;
use super::input::Input;
use super::kernels::{Instructions, Kernels};
use super::layout::{Blocks, Slots};
use super::memory::Block;
use super::pass::{self, Pass};
use super::simd::LANES;
use super::top::Top;
use super::up::Up;
use super::winograd::transform;
use crate::network::plan::{Layer, Plan, Step};
use crate::network::region::Tiling;
use crate::network::weights::Weights;
use crate::network::{self, Error, Result};
use std::num::NonZeroUsize;

/// How an engine is to work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Number of threads; `None` for as many as the process may use.
    pub threads: Option<NonZeroUsize>,
    /// The instructions; `None` for the best that the processor has.
    pub instructions: Option<Instructions>,
}

/// The CPU engine.
pub struct Engine {
    pub(super) plan: Plan,
    pub(super) kernels: &'static Kernels,
    instructions: Instructions,
    pub(super) threads: usize,
    /// One for each step of the plan.
    pub(super) operations: Vec<Operation>,
    /// In which tiles each step is computed.
    pub(super) tilings: Vec<Tiling>,
    pub(super) convolutions: Vec<Convolution>,
    /// The last block, where it is done slab by slab.
    pub(super) top: Option<Top>,
    /// For each buffer of the plan where it lies in `arena`.
    pub(super) buffers: Vec<Blocks>,
    // Kept alive for `buffers`, which point into it.
    _arena: Block,
    scratch: Block,
    pub(super) scratch_len: usize,
    // Results between two loops of one step, which all threads read.
    workspace: Block,
    /// A row of voxels outside of the grid.
    pub(super) zeros: Vec<f32>,
    seconds: Vec<f64>,
}

/// A step of the plan with its packed layer.
pub(super) enum Operation {
    Input(Input),
    Down(Down),
    Up(Up),
    Conv {
        /// Number of the layer: one that is applied several times is packed once.
        layer: usize,
        /// The head, where it takes the outputs as they come.
        head: Option<Head>,
    },
    /// `None` where the convolution before it does it.
    Head(Option<Head>),
}

impl Engine {
    /// Packs the weights for passes over a grid of `shape` (D, H, W) on all processors that the process may use.
    ///
    /// # Errors
    /// [`Error::Shape`] where a side is no multiple of what the network needs, [`Error::Memory`] where memory runs out.
    pub fn new(weights: &Weights, shape: [usize; 3]) -> Result<Engine> {
        Engine::with_options(weights, shape, &Options::default())
    }

    /// [`Engine::new`] with [`Options`].
    ///
    /// # Errors
    /// As [`Engine::new`], and [`Error::Device`] where the processor lacks the instructions.
    pub fn with_options(weights: &Weights, shape: [usize; 3], options: &Options) -> Result<Engine> {
        let instructions = options.instructions.unwrap_or_else(Instructions::best);
        let kernels = Kernels::of(instructions)?;
        let threads = options.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let plan = Plan::new(weights.description(), shape)?;
        let slots = slots(&plan);

        let mut layers: Vec<&Layer> = Vec::new();
        let mut convolutions = Vec::new();
        // Number of the packed layer of each step that is a convolution.
        let mut numbers = vec![None; plan.steps.len()];
        for (step, number) in plan.steps.iter().zip(&mut numbers) {
            let Step::Conv { layer, input, output, .. } = step else { continue };
            *number = Some(match layers.iter().position(|known| *known == layer) {
                Some(known) => known,
                None => {
                    let (shape, slots) = (plan.buffers[*output].shape, [&slots[*input].all, &slots[*output].all]);
                    convolutions.push(Convolution::new(kernels, threads, weights, layer, shape, slots)?);
                    layers.push(layer);
                    layers.len() - 1
                }
            });
        }
        let winograd = |step: usize| numbers[step].and_then(|layer: usize| convolutions[layer].winograd());
        let fused = fused_head(&plan, |step| winograd(step).is_some());
        let top = match fused {
            Some(step) => {
                let input = plan.steps[step].input().expect("a convolution reads a buffer");
                let layer = &convolutions[numbers[step].expect("every convolution has a layer")];
                let blocks = [slots[input].stored, slots[input].all.blocks() - slots[input].stored];
                Top::new(&plan, step, layer, blocks)?
            }
            None => None,
        };
        let (arena, buffers) = place(&plan, &slots, fused, top.as_ref())?;

        let mut operations = Vec::new();
        let mut tilings = Vec::new();
        let (mut scratch_len, mut workspace_len) = (1, 1);
        for (number, step) in plan.steps.iter().enumerate() {
            let values = |layer: &Layer| weights.tensor(&format!("{}/kernel", layer.convolution));
            let grid = step.output().map_or(shape, |output| plan.buffers[output].shape);
            let layer_of = if matches!(step, Step::Head { .. }) { fused } else { Some(number) };
            let convolution = layer_of.and_then(|step| numbers[step]).map(|layer| &convolutions[layer]);
            let tiling = pass::tiling(step, grid, convolution);
            let (operation, scratch) = match step {
                Step::Input { layer, output } => {
                    let slots = &slots[*output].all;
                    let epilogue = Epilogue::new(weights, layer, slots);
                    let input = Input::new(layer.kernel, &values(layer), slots, layer.outputs, epilogue);
                    let scratch = input.scratch_len();
                    (Operation::Input(input), scratch)
                }
                Step::Down { layer, input, output } => {
                    let (from, to) = (&slots[*input].all, &slots[*output].all);
                    let epilogue = Epilogue::new(weights, layer, to);
                    let channels = [layer.inputs, layer.outputs];
                    let down = Down::new(kernels, layer.kernel, &values(layer), from, to, channels, epilogue)?;
                    // The input layer works beside the first one.
                    let scratch = down.scratch_len() + if number == 1 { input_scratch(&operations) } else { 0 };
                    (Operation::Down(down), scratch)
                }
                Step::Up { layer, input, .. } => {
                    let (from, to) = (&slots[*input].all, Slots::new(&[layer.outputs]));
                    let epilogue = Epilogue::new(weights, layer, &to);
                    let channels = [layer.inputs, layer.outputs];
                    let up = Up::new(kernels, layer.kernel, &values(layer), from, &to, channels, epilogue)?;
                    let scratch = up.scratch_len();
                    (Operation::Up(up), scratch)
                }
                Step::Conv { .. } => {
                    let layer = numbers[number].expect("every convolution has a layer");
                    let scratch = match &convolutions[layer] {
                        Convolution::Direct(direct) => direct.scratch_len(grid),
                        Convolution::Winograd(winograd) => {
                            let lengths = winograd.lengths(convolution::batch_size(winograd, &tiling));
                            if convolution::shares_points(winograd, &tiling) {
                                workspace_len = workspace_len.max(lengths.shared());
                                lengths.own()
                            } else {
                                lengths.all()
                            }
                        }
                    };
                    let head = match plan.steps.get(number + 1) {
                        Some(Step::Head { hidden, binary, input }) if fused == Some(number) => {
                            Some(Head::new(weights, hidden, binary, &slots[*input].all))
                        }
                        _ => None,
                    };
                    (Operation::Conv { layer, head }, scratch)
                }
                Step::Head { hidden, binary, input } => {
                    let head = fused.is_none().then(|| Head::new(weights, hidden, binary, &slots[*input].all));
                    (Operation::Head(head), 0)
                }
            };
            operations.push(operation);
            tilings.push(tiling);
            scratch_len = scratch_len.max(scratch);
        }
        // All that is needed of the weights has been packed: their pages need not stay.
        weights.release();
        let scratch = Block::new(threads * scratch_len)?;
        let workspace = Block::new(workspace_len)?;
        let zeros = vec![0.0; (shape[2] + transform::outputs(8)) * LANES];
        Ok(Engine {
            plan,
            kernels,
            instructions,
            threads,
            operations,
            tilings,
            convolutions,
            top,
            buffers,
            _arena: arena,
            scratch,
            scratch_len,
            workspace,
            zeros,
            seconds: Vec::new(),
        })
    }

    /// The instructions that are used.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// The forward pass that the engine does.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Seconds of each step of the last pass, in the order of the plan; those of a step that is done along with another are 0 or in the other's.
    pub fn step_seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Floating-point operations that each step of a dense pass really does in matrix products, where they are fewer than [`Plan::flop`]
    /// says because of Winograd's transforms; `None` for the other steps.
    pub fn product_flop(&self) -> Vec<Option<u64>> {
        let product_flop = |(operation, tiling): (&Operation, &Tiling)| match operation {
            Operation::Conv { layer, .. } => Some(self.convolutions[*layer].winograd()?.product_flop(tiling.shape)),
            _ => None,
        };
        self.operations.iter().zip(&self.tilings).map(product_flop).collect()
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

/// f32 that a thread needs for the input layer.
fn input_scratch(operations: &[Operation]) -> usize {
    match operations.first() {
        Some(Operation::Input(input)) => input.scratch_len(),
        _ => 0,
    }
}

/// The convolution that can do the head as well, so that its outputs are never stored: the step before the head, where `able`.
fn fused_head(plan: &Plan, able: impl Fn(usize) -> bool) -> Option<usize> {
    let head = plan.steps.iter().position(|step| matches!(step, Step::Head { .. }))?;
    let before = head.checked_sub(1)?;
    (able(before) && plan.steps[before].output() == plan.steps[head].input()).then_some(before)
}

/// Which channels a buffer's places hold.
struct BufferSlots {
    /// Of all blocks, a skip connection's included.
    all: Slots,
    /// Number of blocks that the buffer stores itself.
    stored: usize,
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

/// Places all buffers in one block of memory: each where no other lives at the same time. The output of the convolution with the fused head, and what the
/// last block makes slab by slab (so also the input layer's, which the first down-convolution makes tile by tile), are not stored.
fn place(plan: &Plan, slots: &[BufferSlots], fused: Option<usize>, top: Option<&Top>) -> Result<(Block, Vec<Blocks>)> {
    let mut sizes: Vec<usize> = plan.buffers.iter().zip(slots).map(|(b, s)| s.stored * Blocks::block_len(b.shape)).collect();
    if let Some(id) = fused.and_then(|step| plan.steps[step].output()) {
        sizes[id] = 0;
    }
    if let Some(top) = top
        && let Step::Up { skip, output, .. } = plan.steps[top.up]
    {
        sizes[output] = 0;
        sizes[skip] = 0;
    }
    let arena = plan.arena(&sizes);
    let mut memory = Block::new(arena.size)?;
    let base = memory.values_mut().as_mut_ptr();
    let mut buffers: Vec<Blocks> = Vec::new();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let len = Blocks::block_len(buffer.shape);
        let mut places: Vec<*mut f32> =
            (0..slots[id].stored).map(|block| base.wrapping_add(arena.offsets[id] + block * len)).collect();
        if let Some(skip) = buffer.skip {
            places.extend(&buffers[skip].places);
        }
        buffers.push(Blocks { shape: buffer.shape, planes: buffer.shape[0], places });
    }
    Ok((memory, buffers))
}

impl network::Engine for Engine {
    fn shape(&self) -> [usize; 3] {
        self.plan.shape
    }

    fn device(&self) -> String {
        format!("cpu ({}, {} thread{})", self.instructions, self.threads, if self.threads == 1 { "" } else { "s" })
    }

    fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()> {
        let voxels: usize = self.plan.shape.iter().product();
        let lengths = [Some(input.len()), needed.map(<[bool]>::len), Some(logits.len())];
        if let Some(wrong) = lengths.into_iter().flatten().find(|&len| len != voxels) {
            return Err(Error::Shape(format!(
                "the engine was made for {:?}, which is {voxels} voxels, but was given {wrong}",
                self.plan.shape
            )));
        }
        let (scratch, workspace) = (self.scratch.values_mut().as_mut_ptr(), self.workspace.values_mut().as_mut_ptr());
        self.seconds = Pass::new(self, input, needed, [logits.as_mut_ptr(), scratch, workspace]).run();
        Ok(())
    }
}
