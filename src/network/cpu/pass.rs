//! One pass: what is to be done in each step, and the threads that do it.

use super::convolution::{self, Convolution};
use super::direct::Direct;
use super::down::{self, Down};
use super::engine::{CpuEngine, Operation};
use super::input::{self, Input};
use super::last_block::{LastBlock, Slab, Source};
use super::layout::Blocks;
use super::threads::{self, Worker};
use super::up;
use super::winograd::tile_batch::Batch;
use super::winograd::{Operands, Output, Winograd};
use crate::network::plan::Step;
use crate::network::region::{self, Voxels, Work};
use std::sync::Mutex;
use std::time::Instant;

/// What the threads of a pass share.
pub struct Pass<'a> {
    engine: &'a CpuEngine,
    input: &'a [f32],
    wanted: Option<&'a [bool]>,
    logits: *mut f32,
    scratch: *mut f32,
    workspace: *mut f32,
    jobs: Vec<Job>,
}

// SAFETY: the pointers are used as the steps' contracts say: each thread has its own part of `scratch`, and no two write the same part of the
// others at the same time.
unsafe impl Sync for Pass<'_> {}

/// What is to be done in a step.
struct Job {
    work: Work,
    /// The tiles that are computed, but for those in batches; some layers do several side by side.
    parts: Vec<Voxels>,
    batches: Vec<Batch>,
    slabs: Vec<Slab>,
}

impl<'a> Pass<'a> {
    /// Finds out what is to be done. `scratch` has a part of the engine's scratch length for each thread, `workspace` the engine's workspace length;
    /// `logits` has the grid's voxels.
    pub fn new(
        engine: &'a CpuEngine,
        input: &'a [f32],
        wanted: Option<&'a [bool]>,
        [logits, scratch, workspace]: [*mut f32; 3],
    ) -> Self {
        let mut jobs: Vec<Job> = Vec::new();
        for (number, work) in region::work(&engine.plan, &engine.tilings, input, wanted).into_iter().enumerate() {
            let tiling = &engine.tilings[number];
            let winograd = engine.winograd(number);
            let batch = |layer| Batch::list(tiling, |tile| work.compute[tile], convolution::batch_size(layer, tiling));
            let batches = winograd.map_or_else(Vec::new, batch);
            let longest = side_by_side(&engine.operations[number]).filter(|_| winograd.is_none());
            let boxes = |longest| tiling.boxes(0..tiling.len(), |tile| work.compute[tile], longest);
            let parts = longest.map_or_else(Vec::new, boxes);
            let slabs = match &engine.operations[number] {
                // The up-convolution is the step before.
                Operation::LastBlock(block) => block.slabs([&jobs[0].work, &jobs[number - 1].work], &batches),
                _ => Vec::new(),
            };
            jobs.push(Job { work, parts, batches, slabs });
        }
        Pass { engine, input, wanted, logits, scratch, workspace, jobs }
    }

    /// Does the pass; returns the seconds of each step.
    pub fn run(&self) -> Vec<f64> {
        let ends = Mutex::new(Vec::with_capacity(self.jobs.len()));
        let begin = Instant::now();
        threads::run(self.engine.threads, |worker| {
            for number in 0..self.jobs.len() {
                self.step(worker, number);
                if worker.index == 0 {
                    ends.lock().expect("only this thread takes the lock").push(begin.elapsed().as_secs_f64());
                }
            }
            self.mask(worker);
        });
        let ends = ends.into_inner().expect("no thread holds the lock any more");
        // From the end of one step to that of the next: a thread that comes late to a step would see too little of it.
        ends.iter().enumerate().map(|(n, end)| if n == 0 { *end } else { end - ends[n - 1] }).collect()
    }

    /// This worker's own memory.
    ///
    /// # Safety
    /// What was returned before to the same worker is not used any more.
    #[expect(clippy::mut_from_ref, reason = "each worker has a part of its own")]
    unsafe fn scratch(&self, worker: &Worker) -> &mut [f32] {
        let len = self.engine.scratch_len;
        // SAFETY: the scratch memory has a part for each thread, and this one belongs to this worker alone, which has
        // no other reference to it.
        unsafe { std::slice::from_raw_parts_mut(self.scratch.wrapping_add(worker.index * len), len) }
    }

    /// Does this worker's share of a step.
    ///
    /// Layers and buffers were made for one another by the engine, whose arena keeps apart what lives at the same time.
    /// Within a loop no two threads do the same item, and what a loop reads was written before the barrier at the end
    /// of another: the contracts of all layers.
    fn step(&self, worker: &mut Worker, number: usize) {
        let (engine, job) = (self.engine, &self.jobs[number]);
        let kernels = engine.kernels;
        let at = |id: usize| &engine.buffers[id];
        // SAFETY: the one call for a worker in a step; what needs the memory below is handed this reference.
        let scratch = unsafe { self.scratch(worker) };
        match (&engine.operations[number], &engine.plan.steps[number]) {
            (Operation::Input(layer), Step::Input { output, .. }) => {
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: as above; the scan has the output's grid.
                    unsafe { layer.tiles(kernels, self.input, at(*output), &job.parts[part], scratch) }
                });
                self.copies(worker, number, at(*output));
            }
            (Operation::Down(layer), Step::Down { input, output, .. }) => {
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: as above.
                    unsafe { layer.tiles(kernels, at(*input), at(*output), &job.parts[part], scratch) }
                });
                self.copies(worker, number, at(*output));
            }
            (Operation::InputAndDown(first, second), Step::Down { output, .. }) => {
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: as above; the layers follow one another.
                    unsafe { self.input_and_down(first, second, at(*output), &job.parts[part], scratch) }
                });
                self.copies(worker, number, at(*output));
            }
            (Operation::Up(layer), Step::Up { input, output, .. }) => worker.for_each(job.parts.len(), |part| {
                // SAFETY: as above.
                unsafe { layer.tiles(kernels, at(*input), at(*output), &job.parts[part], scratch) }
            }),
            (Operation::Conv { layer, head }, Step::Conv { input, residual, output, .. }) => {
                let target = match head {
                    Some(head) => Output::Head(head, self.logits),
                    None => Output::Store(at(*output)),
                };
                let (input, residual) = (at(*input), residual.map(at));
                let operands = Operands { input, residual, output: target, zeros: &engine.zeros };
                match &engine.convolutions[*layer] {
                    Convolution::Direct(layer) => self.rows(worker, job, layer, &operands, scratch),
                    Convolution::Winograd(layer) if convolution::shares_points(layer, &engine.tilings[number]) => {
                        self.shared_points(worker, job, layer, &operands, scratch);
                    }
                    Convolution::Winograd(layer) => worker.for_each(job.batches.len(), |batch| {
                        // SAFETY: as above.
                        unsafe { layer.batch(kernels, &operands, &job.batches[batch], scratch) }
                    }),
                }
                self.copies(worker, number, at(*output));
            }
            (Operation::LastBlock(block), _) => self.last_block(worker, number, block, scratch),
            (Operation::Head(head), Step::Head { input, .. }) => worker.for_each(job.parts.len(), |part| {
                // SAFETY: as above; the logits have the input's grid.
                unsafe { head.row(kernels, at(*input), self.logits, &job.parts[part]) }
            }),
            (Operation::Elsewhere, _) => {}
            _ => unreachable!("operations are made from the plan's steps, one for each"),
        }
    }

    /// Some tiles of the first down-convolution, from inputs that the input layer leaves where the down-convolution gathers them.
    ///
    /// # Safety
    /// The layers follow one another, the output was made for the second, and nobody else writes the voxels.
    unsafe fn input_and_down(&self, input: &Input, down: &Down, output: &Blocks, voxels: &Voxels, scratch: &mut [f32]) {
        let (gathered, own) = scratch.split_at_mut(down.scratch_len());
        let places = gathered.as_mut_ptr();
        let place = |block, d, h| down.place(voxels, places, block, [d, h]);
        // SAFETY: the caller's promise; the gathered inputs have a place for each voxel of the box.
        unsafe {
            input.voxels(self.engine.kernels, self.input, self.engine.plan.shape, &down.inputs(voxels), place, own);
            down.gathered(self.engine.kernels, output, voxels, gathered);
        }
    }

    /// Fills the tiles of a step that are copies. Only the encoder has any, whose outputs are all stored but for what
    /// [`LastBlock`] makes again.
    fn copies(&self, worker: &mut Worker, number: usize, output: &Blocks) {
        let (copies, tiling) = (&self.jobs[number].work.copies, &self.engine.tilings[number]);
        worker.for_each(copies.len(), |copy| {
            let begin = tiling.voxels(copies[copy].source).map(|axis| axis.start);
            let blocks = output.places.len();
            // SAFETY: both tiles are inside the grid and of one size; each is filled by one thread, and no source is among them.
            unsafe { output.copy_box(&tiling.voxels(copies[copy].tile), output, begin, blocks) };
        });
    }

    /// A convolution by its definition, row by row.
    fn rows(&self, worker: &mut Worker, job: &Job, layer: &Direct, operands: &Operands, scratch: &mut [f32]) {
        let Operands { input, residual, output, .. } = *operands;
        let Output::Store(output) = output else { unreachable!("a head is given to Winograd's convolutions alone") };
        worker.for_each(job.parts.len(), |part| {
            // SAFETY: as in `step`.
            unsafe { layer.row(self.engine.kernels, input, residual, output, &job.parts[part], scratch) }
        });
    }

    /// A convolution on a small grid, whose points the threads share out.
    fn shared_points(&self, worker: &mut Worker, job: &Job, layer: &Winograd, operands: &Operands, scratch: &mut [f32]) {
        let kernels = self.engine.kernels;
        for batch in &job.batches {
            let depth = self.workspace;
            let sums = depth.wrapping_add(layer.lengths(batch.size).depth());
            worker.for_each(layer.depth_parts(batch), |part| {
                // SAFETY: as in `step`; the workspace has room for the engine's largest layer.
                unsafe { layer.transform_depth(kernels, operands, batch, part, depth) }
            });
            worker.for_each(layer.depth_points(), |point| {
                // SAFETY: all parts have been done; every point is done by one thread.
                unsafe { layer.point(kernels, batch, point, [depth, sums], scratch) }
            });
            worker.for_each(batch.runs.len(), |run| {
                // SAFETY: all points have been done; every run is done by one thread.
                unsafe { layer.finish(kernels, operands, batch, &batch.runs[run], sums, scratch) }
            });
        }
    }

    /// The last block, slab by slab; step `number` is its convolution's.
    fn last_block(&self, worker: &mut Worker, number: usize, block: &LastBlock, scratch: &mut [f32]) {
        let (engine, kernels, job) = (self.engine, self.engine.kernels, &self.jobs[number]);
        let LastBlock { layers, planes, skip, background, .. } = block;
        let (Some(layer), Some(below)) = (engine.winograd(number), engine.plan.steps[number - 1].input()) else {
            unreachable!("the last block is an up-convolution, which reads a buffer, and one of Winograd's convolutions")
        };
        let output = Output::Head(&layers.head, self.logits);
        let operands = Operands { input: planes, residual: Some(planes), output, zeros: &engine.zeros };
        for slab in &job.slabs {
            worker.for_each(slab.sources.len(), |source| {
                // SAFETY: as in `step`; of the planes that are written all batches that read what was there before have
                // been done.
                unsafe {
                    match &slab.sources[source] {
                        Source::Up(voxels) => layers.up.tiles(kernels, &engine.buffers[below], planes, voxels, scratch),
                        Source::Input(voxels) => layers.input.tiles(kernels, self.input, skip, voxels, scratch),
                        Source::Background(voxels) => skip.copy_box(voxels, background, [0; 3], skip.places.len()),
                    }
                }
            });
            worker.for_each(slab.batches.len(), |batch| {
                // SAFETY: as in `step`; all planes that the batch reads have been made.
                unsafe { layer.batch(kernels, &operands, &job.batches[slab.batches.start + batch], scratch) }
            });
        }
    }

    /// Probability 0 where no logit is wanted.
    fn mask(&self, worker: &mut Worker) {
        let Some(wanted) = self.wanted else { return };
        let plane = wanted.len() / self.engine.plan.shape[0];
        worker.for_each(self.engine.plan.shape[0], |d| {
            // SAFETY: the logits have the grid's voxels; each plane is done by one thread.
            let logits = unsafe { std::slice::from_raw_parts_mut(self.logits.wrapping_add(d * plane), plane) };
            for (logit, wanted) in logits.iter_mut().zip(&wanted[d * plane..]) {
                if !wanted {
                    *logit = f32::NEG_INFINITY;
                }
            }
        });
    }
}

/// The most tiles side by side along W that a step does at a time; `None` where it has no tiles of its own.
fn side_by_side(operation: &Operation) -> Option<usize> {
    match operation {
        Operation::Input(_) => Some(input::LONGEST),
        Operation::Down(_) | Operation::InputAndDown(..) => Some(down::LONGEST),
        Operation::Up(_) => Some(up::LONGEST),
        Operation::Conv { .. } | Operation::Head(_) => Some(1),
        Operation::LastBlock(_) | Operation::Elsewhere => None,
    }
}
