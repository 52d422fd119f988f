//! A loaded network on one grid: packed layers, one block of memory for all activations, the pass.

use super::convolution::{self, Convolution};
use super::direct::Direct;
use super::down::Down;
use super::epilogue::Epilogue;
use super::head::Head;
use super::input::Input;
use super::kernels::{Instructions, Kernels};
use super::layout::{Blocks, Slots};
use super::memory::Block;
use super::simd::LANES;
use super::threads;
use super::up::Up;
use super::winograd::batch::Batch;
use super::winograd::{Output, transform};
use crate::network::plan::{Layer, Plan, Step};
use crate::weights::Weights;
use crate::{Error, Result, network};
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
    plan: Plan,
    kernels: &'static Kernels,
    instructions: Instructions,
    threads: usize,
    steps: Vec<Operation>,
    convolutions: Vec<Convolution>,
    /// For each buffer of the plan where it lies in `arena`.
    buffers: Vec<Blocks>,
    // Kept alive for `buffers`, which point into it.
    _arena: Block,
    scratch: Block,
    scratch_len: usize,
    // Results between two loops of one step, which all threads read.
    workspace: Block,
    // A row of voxels outside of the grid.
    zeros: Vec<f32>,
}

/// A step of the plan with its packed layer.
enum Operation {
    Input(Input),
    Down(Down),
    Up(Up),
    Conv {
        /// Number of the layer: one that is applied several times is packed once.
        layer: usize,
        /// The batches of Winograd's convolution.
        batches: Vec<Batch>,
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
    /// [`Error::Shape`] where a side is no multiple of what the network needs, [`Error::Device`] where memory runs out.
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
        let fused = fused_head(&plan, |step| matches!(numbers[step].map(|n| &convolutions[n]), Some(Convolution::Winograd(_))));

        let mut sizes: Vec<usize> = plan.buffers.iter().zip(&slots).map(|(b, s)| s.stored * Blocks::block_len(b.shape)).collect();
        if let Some(id) = fused.and_then(|step| plan.steps[step].output()) {
            sizes[id] = 0;
        }
        let places = plan.arena(&sizes);
        let mut arena = Block::new(places.size)?;
        let base = arena.values_mut().as_mut_ptr();
        let mut buffers: Vec<Blocks> = Vec::new();
        for (id, buffer) in plan.buffers.iter().enumerate() {
            let len = Blocks::block_len(buffer.shape);
            let mut blocks: Vec<*mut f32> =
                (0..slots[id].stored).map(|b| base.wrapping_add(places.offsets[id] + b * len)).collect();
            if let Some(skip) = buffer.skip {
                blocks.extend(&buffers[skip].places);
            }
            buffers.push(Blocks { shape: buffer.shape, places: blocks });
        }

        let mut steps = Vec::new();
        let (mut scratch_len, mut workspace_len) = (1, 1);
        for (number, step) in plan.steps.iter().enumerate() {
            let values = |layer: &Layer| weights.tensor(&format!("{}/kernel", layer.convolution));
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
                    let scratch = down.scratch_len();
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
                Step::Conv { output, .. } => {
                    let layer = numbers[number].expect("every convolution has a layer");
                    let shape = plan.buffers[*output].shape;
                    let (batches, scratch) = match &convolutions[layer] {
                        Convolution::Direct(direct) => (Vec::new(), direct.scratch_len(shape)),
                        Convolution::Winograd(winograd) => {
                            let tiling = winograd.tiling(shape);
                            let lengths = winograd.lengths(convolution::batch_size(winograd, &tiling));
                            let shares = convolution::shares_points(winograd, &tiling);
                            workspace_len = workspace_len.max(if shares { lengths.shared() } else { 0 });
                            let scratch = if shares { lengths.own() } else { lengths.all() };
                            (convolution::batches(winograd, shape), scratch)
                        }
                    };
                    let head = match plan.steps.get(number + 1) {
                        Some(Step::Head { hidden, binary, input }) if fused == Some(number) => {
                            Some(Head::new(weights, hidden, binary, &slots[*input].all))
                        }
                        _ => None,
                    };
                    (Operation::Conv { layer, batches, head }, scratch)
                }
                Step::Head { hidden, binary, input } => {
                    let head = fused.is_none().then(|| Head::new(weights, hidden, binary, &slots[*input].all));
                    (Operation::Head(head), 0)
                }
            };
            steps.push(operation);
            scratch_len = scratch_len.max(scratch);
        }
        let scratch = Block::new(threads * scratch_len)?;
        let workspace = Block::new(workspace_len)?;
        let zeros = vec![0.0; (shape[2] + transform::outputs(8)) * LANES];
        Ok(Engine {
            plan,
            kernels,
            instructions,
            threads,
            steps,
            convolutions,
            buffers,
            _arena: arena,
            scratch,
            scratch_len,
            workspace,
            zeros,
        })
    }

    /// The instructions that are used.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
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

/// A pointer that the threads of a pass share.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each thread writes to places of its own behind the pointer.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(self) -> *mut f32 {
        self.0
    }
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
        let scratch = Shared(self.scratch.values_mut().as_mut_ptr());
        let workspace = Shared(self.workspace.values_mut().as_mut_ptr());
        let result = Shared(logits.as_mut_ptr());
        let this = &*self;
        let kernels = this.kernels;
        threads::run(this.threads, |worker| {
            let begin = scratch.get().wrapping_add(worker.index * this.scratch_len);
            // SAFETY: the scratch memory has a part for each thread, and this one belongs to this worker alone.
            let scratch = unsafe { std::slice::from_raw_parts_mut(begin, this.scratch_len) };
            for (step, operation) in this.plan.steps.iter().zip(&this.steps) {
                let at = |id: usize| &this.buffers[id];
                match (operation, step) {
                    (Operation::Input(layer), Step::Input { output, .. }) => {
                        let output = at(*output);
                        worker.for_each(Input::tiling(output.shape).len(), |tile| {
                            // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                            unsafe { layer.tile(kernels, input, output, tile, scratch) }
                        });
                    }
                    (Operation::Down(layer), Step::Down { input, output, .. }) => {
                        let (input, output) = (at(*input), at(*output));
                        worker.for_each(Down::tiling(output.shape).len(), |tile| {
                            // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                            unsafe { layer.tile(kernels, input, output, tile, scratch) }
                        });
                    }
                    (Operation::Up(layer), Step::Up { input, output, .. }) => {
                        let (input, output) = (at(*input), at(*output));
                        worker.for_each(Up::tiling(output.shape).len(), |tile| {
                            // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                            unsafe { layer.tile(kernels, input, output, tile, scratch) }
                        });
                    }
                    (Operation::Conv { layer, batches, head }, Step::Conv { input, residual, output, .. }) => {
                        let (input, residual, output) = (at(*input), residual.map(at), at(*output));
                        let target = match head {
                            Some(head) => Output::Head(head, result.get()),
                            None => Output::Store(output),
                        };
                        match &this.convolutions[*layer] {
                            Convolution::Direct(layer) => worker.for_each(Direct::tiling(output.shape).len(), |tile| {
                                // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                                unsafe { layer.tile(kernels, input, residual, output, tile, scratch) }
                            }),
                            Convolution::Winograd(layer) if convolution::shares_points(layer, &layer.tiling(output.shape)) => {
                                for batch in batches {
                                    let depth = workspace.get();
                                    let sums = depth.wrapping_add(layer.lengths(batch.size).depth());
                                    worker.for_each(layer.depth_parts(batch), |part| {
                                        // SAFETY: layer and buffers were made for one another; every part is done by one thread.
                                        unsafe { layer.into_depth(kernels, batch, input, &this.zeros, part, depth) }
                                    });
                                    worker.for_each(layer.depth_points(), |point| {
                                        // SAFETY: all parts have been done; every point is done by one thread.
                                        unsafe { layer.point(kernels, batch, point, depth, sums, scratch) }
                                    });
                                    worker.for_each(batch.runs.len(), |run| {
                                        let run = &batch.runs[run];
                                        // SAFETY: all points have been done; every run is done by one thread.
                                        unsafe {
                                            layer.finish(kernels, batch, run, output.shape, residual, target, sums, scratch)
                                        }
                                    });
                                }
                            }
                            Convolution::Winograd(layer) => worker.for_each(batches.len(), |batch| {
                                // SAFETY: layer and buffers were made for one another; every batch is done by one thread.
                                unsafe { layer.batch(kernels, &batches[batch], input, residual, target, &this.zeros, scratch) }
                            }),
                        }
                    }
                    (Operation::Head(Some(head)), Step::Head { input, .. }) => {
                        let input = at(*input);
                        worker.for_each(Head::tiling(input.shape).len(), |tile| {
                            // SAFETY: head and buffer were made for one another; every tile is done by one thread.
                            unsafe { head.tile(kernels, input, result.get(), tile) }
                        });
                    }
                    (Operation::Head(None), Step::Head { .. }) => {}
                    _ => unreachable!("operations are made from the plan's steps, one for each"),
                }
            }
        });
        if let Some(needed) = needed {
            for (logit, _) in logits.iter_mut().zip(needed).filter(|(_, needed)| !**needed) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }
}
