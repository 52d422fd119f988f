//! A loaded network on one grid: packed layers and one block of memory for all activations.

use super::builder::Builder;
use super::convolution::Convolution;
use super::down::Down;
use super::head::Head;
use super::input::Input;
use super::kernels::{Instructions, Kernels};
use super::last_block::LastBlock;
use super::layout::Blocks;
use super::memory::Block;
use super::pass::Pass;
use super::simd::LANES;
use super::up::Up;
use super::winograd::{Winograd, transform};
use crate::network::plan::Plan;
use crate::network::region::Tiling;
use crate::network::weights::Weights;
use crate::network::{self, Error, Result};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How an engine is to work.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuOptions {
    /// Number of threads; `None` for as many as the process may use.
    pub threads: Option<NonZeroUsize>,
    /// The instructions; `None` for the best that the processor has.
    pub instructions: Option<Instructions>,
}

/// The CPU engine.
pub struct CpuEngine {
    pub(super) plan: Plan,
    pub(super) kernels: &'static Kernels,
    instructions: Instructions,
    pub(super) threads: usize,
    /// One for each step of the plan.
    pub(super) operations: Vec<Operation>,
    /// In which tiles each step is computed.
    pub(super) tilings: Vec<Tiling>,
    pub(super) convolutions: Vec<Convolution>,
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

/// How a step of the plan is done, with its packed layer.
pub(super) enum Operation {
    Input(Arc<Input>),
    Down(Down),
    /// A down-convolution from the input layer, whose outputs it makes where it gathers them.
    InputAndDown(Arc<Input>, Down),
    Up(Up),
    Conv {
        /// Number of the layer: one that is applied several times is packed once.
        layer: usize,
        /// The head, where it takes the outputs as they come.
        head: Option<Head>,
    },
    /// The last block's convolution, and all else of the block.
    LastBlock(Box<LastBlock>),
    Head(Head),
    /// Done along with another step.
    Elsewhere,
}

impl CpuEngine {
    /// Packs the weights for passes over a grid of `shape` (D, H, W) on all processors that the process may use.
    ///
    /// # Errors
    /// [`Error::Shape`] where a side is no multiple of what the network needs, [`Error::Memory`] where memory runs out.
    pub fn new(weights: &Weights, shape: [usize; 3]) -> Result<CpuEngine> {
        CpuEngine::with_options(weights, shape, &CpuOptions::default())
    }

    /// [`CpuEngine::new`] with [`CpuOptions`].
    ///
    /// # Errors
    /// As [`CpuEngine::new`], and [`Error::Device`] where the processor lacks the instructions.
    pub fn with_options(weights: &Weights, shape: [usize; 3], options: &CpuOptions) -> Result<CpuEngine> {
        let instructions = options.instructions.unwrap_or_else(Instructions::best);
        let kernels = Kernels::of(instructions)?;
        let threads = options.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let plan = Plan::new(weights.description(), shape)?;
        let builder = Builder::new(kernels, threads, weights, &plan)?;
        let (operations, tilings) = (builder.operations()?, builder.tilings());
        let (arena, buffers) = builder.buffers()?;
        let [scratch_len, workspace_len] = builder.lengths(&operations, &tilings);
        let convolutions = builder.convolutions;
        // All that is needed of the weights has been packed: their pages need not stay.
        weights.release();
        let scratch = Block::new(threads * scratch_len)?;
        let workspace = Block::new(workspace_len)?;
        let zeros = vec![0.0; (shape[2] + transform::outputs(8)) * LANES];
        Ok(CpuEngine {
            plan,
            kernels,
            instructions,
            threads,
            operations,
            tilings,
            convolutions,
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
        let product_flop = |(number, tiling): (usize, &Tiling)| Some(self.winograd(number)?.product_flop(tiling.shape));
        self.tilings.iter().enumerate().map(product_flop).collect()
    }

    /// The layer of a step that is computed by Winograd's transforms.
    pub(super) fn winograd(&self, number: usize) -> Option<&Winograd> {
        let layer = match &self.operations[number] {
            Operation::Conv { layer, .. } => *layer,
            Operation::LastBlock(block) => block.layers.convolution,
            _ => return None,
        };
        self.convolutions[layer].winograd()
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl network::LoadedNetwork for CpuEngine {
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
