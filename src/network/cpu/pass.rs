//! One pass: what is to be done in each step, and the threads that do it.

use super::convolution::{self, Convolution};
use super::direct::Direct;
use super::down::{self, Down};
use super::engine::{Engine, Operation};
use super::head::Head;
use super::input::{self, Input};
use super::layout::Blocks;
use super::rows::Row;
use super::threads::{self, Worker};
use super::top::{Part, Slab, Top};
use super::up::{self, Up};
use super::winograd::batch::Batch;
use super::winograd::{Output, Winograd};
use crate::network::plan::Step;
use crate::network::region::{self, Tiling, Voxels, Work};
use std::sync::Mutex;
use std::time::Instant;

/// What the threads of a pass share.
pub struct Pass<'a> {
    engine: &'a Engine,
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
        engine: &'a Engine,
        input: &'a [f32],
        wanted: Option<&'a [bool]>,
        [logits, scratch, workspace]: [*mut f32; 3],
    ) -> Self {
        let mut jobs: Vec<Job> = Vec::new();
        for (number, work) in region::work(&engine.plan, &engine.tilings, input, wanted).into_iter().enumerate() {
            let winograd = match &engine.operations[number] {
                Operation::Conv { layer, .. } => engine.convolutions[*layer].winograd(),
                _ => None,
            };
            let tiling = &engine.tilings[number];
            let (mut parts, mut batches, mut slabs) = (Vec::new(), Vec::new(), Vec::new());
            match winograd {
                Some(layer) => {
                    batches = Batch::list(tiling, |tile| work.compute[tile], convolution::batch_size(layer, tiling));
                }
                None => {
                    let longest = match &engine.operations[number] {
                        Operation::Input(_) => input::LONGEST,
                        Operation::Down(_) => down::LONGEST,
                        Operation::Up(_) => up::LONGEST,
                        Operation::Conv { .. } | Operation::Head(_) => 1,
                    };
                    parts = tiling.boxes(0..tiling.len(), |tile| work.compute[tile], longest);
                }
            }
            if let Some(top) = engine.top.as_ref().filter(|top| top.convolution == number) {
                slabs = top.slabs([&jobs[0].work, &jobs[top.up].work], &batches);
            }
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
    #[expect(clippy::mut_from_ref, reason = "each worker has a part of its own")]
    fn scratch(&self, worker: &Worker) -> &mut [f32] {
        let len = self.engine.scratch_len;
        // SAFETY: the scratch memory has a part for each thread, and this one belongs to this worker alone; no step asks for it twice.
        unsafe { std::slice::from_raw_parts_mut(self.scratch.wrapping_add(worker.index * len), len) }
    }

    fn step(&self, worker: &mut Worker, number: usize) {
        let (engine, job) = (self.engine, &self.jobs[number]);
        let kernels = engine.kernels;
        let at = |id: usize| &engine.buffers[id];
        let scratch = self.scratch(worker);
        match (&engine.operations[number], &engine.plan.steps[number]) {
            (Operation::Input(layer), Step::Input { .. }) if engine.top.is_some() => {
                // Computed where it is read: here only what all tiles of background are copies of.
                let (Some(top), Some(copy)) = (&engine.top, job.work.copies.first()) else { return };
                let voxels = engine.tilings[number].voxels(copy.source);
                let [ds, hs, _] = voxels.clone().map(|axis| axis.start);
                worker.for_each(1, |_| {
                    let place = |block, d, h| Row::plain(top.background.at(block, [d - ds, h - hs, 0]));
                    // SAFETY: a background tile is inside the grid as a whole; one thread computes it.
                    unsafe { layer.voxels(kernels, self.input, engine.plan.shape, &voxels, place, scratch) }
                });
            }
            (Operation::Input(layer), Step::Input { output, .. }) => {
                let output = at(*output);
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                    unsafe { layer.tiles(kernels, self.input, output, &job.parts[part], scratch) }
                });
                self.copies(worker, number, output, output.places.len());
            }
            (Operation::Down(layer), Step::Down { input, output, .. }) => {
                let output_blocks = at(*output);
                match &engine.operations[engine.plan.buffers[*input].written] {
                    Operation::Input(input_layer) if engine.top.is_some() => worker.for_each(job.parts.len(), |part| {
                        // SAFETY: layers and buffers were made for one another; every tile is done by one thread.
                        unsafe { self.input_and_down(input_layer, layer, output_blocks, &job.parts[part], scratch) }
                    }),
                    _ => worker.for_each(job.parts.len(), |part| {
                        // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                        unsafe { layer.tiles(kernels, at(*input), output_blocks, &job.parts[part], scratch) }
                    }),
                }
                self.copies(worker, number, output_blocks, output_blocks.places.len());
            }
            (Operation::Up(_), _) if engine.top.as_ref().is_some_and(|top| top.up == number) => {}
            (Operation::Up(layer), Step::Up { input, output, .. }) => {
                let (input, output) = (at(*input), at(*output));
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: layer and buffers were made for one another; every tile is done by one thread.
                    unsafe { layer.tiles(kernels, input, output, &job.parts[part], scratch) }
                });
            }
            (Operation::Conv { layer, head }, Step::Conv { input, residual, output, .. }) => {
                let (input, residual, output) = (at(*input), residual.map(at), at(*output));
                let target = match head {
                    Some(head) => Output::Head(head, self.logits),
                    None => Output::Store(output),
                };
                match (&engine.convolutions[*layer], &engine.top) {
                    (Convolution::Direct(layer), _) => worker.for_each(job.parts.len(), |part| {
                        // SAFETY: layer and buffers were made for one another; every row is done by one thread.
                        unsafe { layer.row(kernels, input, residual, output, &job.parts[part], scratch) }
                    }),
                    (Convolution::Winograd(layer), Some(top)) if top.convolution == number => {
                        self.top(worker, top, layer, target);
                    }
                    (Convolution::Winograd(layer), _) if convolution::shares_points(layer, &engine.tilings[number]) => {
                        self.shared_points(worker, number, layer, input, residual, target);
                    }
                    (Convolution::Winograd(layer), _) => worker.for_each(job.batches.len(), |batch| {
                        let batch = &job.batches[batch];
                        // SAFETY: layer and buffers were made for one another; every batch is done by one thread.
                        unsafe { layer.batch(kernels, batch, input, residual, target, &engine.zeros, scratch) }
                    }),
                }
                self.copies(worker, number, output, output.places.len());
            }
            (Operation::Head(Some(head)), Step::Head { input, .. }) => {
                let input = at(*input);
                worker.for_each(job.parts.len(), |part| {
                    // SAFETY: head and buffer were made for one another; every row is done by one thread.
                    unsafe { head.row(kernels, input, self.logits, &job.parts[part]) }
                });
            }
            (Operation::Head(None), _) => {}
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

    /// Fills the tiles that are copies.
    fn copies(&self, worker: &mut Worker, number: usize, output: &Blocks, blocks: usize) {
        let (copies, tiling) = (&self.jobs[number].work.copies, &self.engine.tilings[number]);
        worker.for_each(copies.len(), |copy| {
            let begin = tiling.voxels(copies[copy].source).map(|axis| axis.start);
            // SAFETY: both tiles are inside the grid and of one size; each is filled by one thread, and no source is among them.
            unsafe { output.copy_box(&tiling.voxels(copies[copy].tile), output, begin, blocks) };
        });
    }

    /// A convolution on a small grid, whose points the threads share out.
    fn shared_points(
        &self,
        worker: &mut Worker,
        number: usize,
        layer: &Winograd,
        input: &Blocks,
        residual: Option<&Blocks>,
        target: Output,
    ) {
        let (engine, kernels, scratch) = (self.engine, self.engine.kernels, self.scratch(worker));
        let shape = input.shape;
        for batch in &self.jobs[number].batches {
            let depth = self.workspace;
            let sums = depth.wrapping_add(layer.lengths(batch.size).depth());
            worker.for_each(layer.depth_parts(batch), |part| {
                // SAFETY: layer and buffers were made for one another; every part is done by one thread.
                unsafe { layer.transform_depth(kernels, batch, input, &engine.zeros, part, depth) }
            });
            worker.for_each(layer.depth_points(), |point| {
                // SAFETY: all parts have been done; every point is done by one thread.
                unsafe { layer.point(kernels, batch, point, depth, sums, scratch) }
            });
            worker.for_each(batch.runs.len(), |run| {
                // SAFETY: all points have been done; every run is done by one thread.
                unsafe { layer.finish(kernels, batch, &batch.runs[run], shape, residual, target, sums, scratch) }
            });
        }
    }

    /// The last block, slab by slab.
    fn top(&self, worker: &mut Worker, top: &Top, layer: &Winograd, target: Output) {
        let (engine, kernels, scratch) = (self.engine, self.engine.kernels, self.scratch(worker));
        let (Operation::Up(up), Operation::Input(input_layer)) = (&engine.operations[top.up], &engine.operations[0]) else {
            unreachable!("the last block begins with an up-convolution, the network with the input layer")
        };
        let below = engine.plan.steps[top.up].input().expect("an up-convolution reads a buffer");
        let job = &self.jobs[top.convolution];
        for slab in &job.slabs {
            worker.for_each(slab.parts.len(), |part| {
                // SAFETY: layers and buffers were made for one another; every tile is done by one thread; the planes that are written are not
                // read any more.
                unsafe {
                    match &slab.parts[part] {
                        Part::Up(voxels) => up.tiles(kernels, &engine.buffers[below], &top.planes, voxels, scratch),
                        Part::Input(voxels) => input_layer.tiles(kernels, self.input, &top.skip, voxels, scratch),
                        Part::Background(voxels) => {
                            top.skip.copy_box(voxels, &top.background, [0; 3], top.skip.places.len());
                        }
                    }
                }
            });
            worker.for_each(slab.batches.len(), |batch| {
                let batch = &job.batches[slab.batches.start + batch];
                // SAFETY: layer and buffers were made for one another; every batch is done by one thread.
                unsafe {
                    layer.batch(kernels, batch, &top.planes, Some(&top.planes), target, &engine.zeros, scratch);
                }
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

/// The tiles in which a step is computed.
pub fn tiling(step: &Step, shape: [usize; 3], convolution: Option<&Convolution>) -> Tiling {
    match (step, convolution) {
        (Step::Input { .. }, _) => Input::tiling(shape),
        (Step::Down { .. }, _) => Down::tiling(shape),
        (Step::Up { .. }, _) => Up::tiling(shape),
        // The head that a convolution does is done in its tiles.
        (Step::Conv { .. } | Step::Head { .. }, Some(convolution)) => convolution.tiling(shape),
        (Step::Head { .. }, None) => Head::tiling(shape),
        (Step::Conv { .. }, None) => Direct::tiling(shape),
    }
}
