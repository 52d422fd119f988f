//! The V-Net on a CUDA device: weights packed once, one arena, the whole pass prepared as one graph.

use super::conv_f16;
use super::device::{CudaDevice, Launch, Pass, Prepared, Region};
use super::launches::{Activations, launches};
use super::tiles::{flag_sizes, needed_tiles};
use crate::network::grade::Grade;
use crate::network::weights::Weights;
use crate::network::{self, Error, Plan, Result, Step};

/// A loaded network on one CUDA device (a GPU or the emulated one) for one grid.
///
/// Everything is allocated by [`CudaEngine::new`]: device memory, pinned host memory, the CUDA graphs. [`CudaEngine::start`] and
/// [`CudaEngine::finish`] allocate no device memory, and only `finish` waits; between the two the caller is free. Several engines may live in one
/// process; each has a stream of its own, so two engines on one GPU overlap the copies of one scan with the pass of another.
///
/// ```no_run
/// # fn main() -> ichor::Result<()> {
/// use ichor::network::cuda::{CudaEngine, Grade};
/// use ichor::network::weights::Weights;
///
/// let weights = Weights::open("deepbleed.safetensors")?;
/// let mut engine = CudaEngine::new(&weights, [128, 128, 128], Grade::Fast)?;
/// let (input, mut logits) = (vec![0.0; 128 * 128 * 128], vec![0.0; 128 * 128 * 128]);
/// engine.start(&input, None)?;
/// // ... the next scan is read here ...
/// engine.finish(&mut logits)?;
/// # Ok(())
/// # }
/// ```
pub struct CudaEngine {
    // Passes are dropped before the device whose memory they use.
    fast: Option<Box<dyn Prepared>>,
    exact: Box<dyn Prepared>,
    device: Box<dyn CudaDevice>,
    plan: Plan,
    grade: Grade,
    state: State,
}

/// Where the wanted logits are while a pass is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Started,
}

impl CudaEngine {
    /// Loads the network on the first GPU for grids of `shape` (D, H, W).
    ///
    /// # Errors
    /// [`Error::Device`] where there is no GPU, no driver, no kernels in this build or too little memory; [`Error::Shape`] where
    /// a side is no multiple of [`network::Description::multiple`].
    pub fn new(weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<CudaEngine> {
        CudaEngine::on_gpu(0, weights, shape, grade)
    }

    /// As [`CudaEngine::new`], on GPU number `ordinal`.
    ///
    /// # Errors
    /// As [`CudaEngine::new`].
    pub fn on_gpu(ordinal: usize, weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<CudaEngine> {
        CudaEngine::on(Box::new(super::driver::Gpu::new(ordinal)?), weights, shape, grade)
    }

    /// Loads the network on `device` for grids of `shape` (D, H, W).
    ///
    /// # Errors
    /// As [`CudaEngine::new`].
    pub fn on(mut device: Box<dyn CudaDevice>, weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<CudaEngine> {
        let plan = Plan::new(weights.description(), shape)?;
        let kernel = weights.description().kernel;
        let (f32, f16) = (Activations::F32, (grade == Grade::Fast).then(|| Activations::f16(&plan)));
        let all: Vec<&Activations> = std::iter::once(&f32).chain(&f16).collect();
        let memory = Memory::allocate(device.as_mut(), &plan, &all)?;
        let exact = launches(device.as_mut(), &memory, &plan, weights, &f32)?.expect("every weight fits f32");
        let exact = prepare(device.as_mut(), &memory, exact)?;
        let fast = match f16 {
            None => None,
            Some(_) if !conv_f16::fits(device.capability(), kernel) => {
                log::warn!(
                    "{}: kernels of {kernel:?} need more shared memory than the GPU has; every pass is done in f32",
                    weights.name()
                );
                None
            }
            Some(f16) => match launches(device.as_mut(), &memory, &plan, weights, &f16)? {
                Some(launches) => Some(prepare(device.as_mut(), &memory, launches)?),
                None => {
                    log::warn!("{}: a weight does not fit f16; every pass is done in f32", weights.name());
                    None
                }
            },
        };
        Ok(CudaEngine { fast, exact, device, plan, grade, state: State::Idle })
    }

    /// The grade that was asked for.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Starts a pass and returns before it has ended; the arguments are those of [`network::LoadedNetwork::run`].
    ///
    /// # Errors
    /// [`Error::Shape`] where a slice has another length than the grid, [`Error::Device`] where a pass is under way already, and
    /// whatever the device reports.
    pub fn start(&mut self, input: &[f32], needed: Option<&[bool]>) -> Result<()> {
        let voxels = self.plan.shape.iter().product();
        network_slice("input", input.len(), voxels)?;
        if let Some(mask) = needed {
            network_slice("mask", mask.len(), voxels)?;
        }
        if self.state != State::Idle {
            return Err(Error::Device("a pass is under way: finish it before the next is started".into()));
        }
        let pass = self.fast.as_mut().unwrap_or(&mut self.exact);
        fill(pass.as_mut(), &self.plan, input, needed);
        pass.start()?;
        self.state = State::Started;
        Ok(())
    }

    /// Waits for the pass and takes its logits. Those outside the `needed` of [`CudaEngine::start`] may have any value where a tile
    /// holds needed ones too, and are -infinity elsewhere; [`network::LoadedNetwork::run`] makes all of them -infinity.
    ///
    /// Where a value of a fast pass did not fit f16, a warning says so and the pass is done again in f32.
    ///
    /// # Errors
    /// [`Error::Shape`] where `logits` has another length than the grid, [`Error::Device`] where no pass was started, and whatever the
    /// device reports.
    pub fn finish(&mut self, logits: &mut [f32]) -> Result<()> {
        network_slice("output", logits.len(), self.plan.shape.iter().product())?;
        if self.state != State::Started {
            return Err(Error::Device("no pass was started".into()));
        }
        self.state = State::Idle;
        let logits: &mut [u8] = bytemuck::cast_slice_mut(logits);
        if let Some(fast) = &mut self.fast {
            fast.wait()?;
            if fast.output(1) == 0u32.to_ne_bytes() {
                logits.copy_from_slice(fast.output(0));
                return Ok(());
            }
            log::warn!("a value does not fit f16: the pass is done again in f32");
            for n in 0..2 {
                self.exact.input(n).copy_from_slice(fast.input(n));
            }
            self.exact.start()?;
        }
        self.exact.wait()?;
        logits.copy_from_slice(self.exact.output(0));
        Ok(())
    }
}

impl network::LoadedNetwork for CudaEngine {
    fn shape(&self) -> [usize; 3] {
        self.plan.shape
    }

    fn device(&self) -> String {
        self.device.name()
    }

    fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()> {
        network_slice("output", logits.len(), self.plan.shape.iter().product())?;
        CudaEngine::start(self, input, needed)?;
        CudaEngine::finish(self, logits)?;
        if let Some(mask) = needed {
            for (logit, _) in logits.iter_mut().zip(mask).filter(|(_, needed)| !**needed) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn start(&mut self, input: &[f32], needed: Option<&[bool]>) -> Option<Result<()>> {
        Some(CudaEngine::start(self, input, needed))
    }

    fn finish(&mut self, logits: &mut [f32]) -> Result<()> {
        CudaEngine::finish(self, logits)
    }
}

fn network_slice(what: &str, length: usize, voxels: usize) -> Result<()> {
    if length == voxels {
        return Ok(());
    }
    Err(Error::Shape(format!("the {what} has {length} voxels, but the engine was made for a grid of {voxels}")))
}

/// Fills the host memory of a pass: the scan, and the control block of tile flags and the overflow flag.
fn fill(pass: &mut dyn Prepared, plan: &Plan, input: &[f32], needed: Option<&[bool]>) {
    pass.input(0).copy_from_slice(bytemuck::cast_slice(input));
    let control = pass.input(1);
    let flags_end = control.len() - 4;
    match needed {
        None => {
            for flag in control[..flags_end].chunks_exact_mut(4) {
                flag.copy_from_slice(&1u32.to_ne_bytes());
            }
        }
        Some(mask) => {
            let mut at = 0;
            for tiles in needed_tiles(plan, mask) {
                let bytes: &[u8] = bytemuck::cast_slice(&tiles);
                control[at..at + bytes.len()].copy_from_slice(bytes);
                at += bytes.len();
            }
        }
    }
    control[flags_end..].fill(0);
}

/// The device memory of an engine besides its weights. Both grades use the same: their passes never run at the same time.
pub struct Memory {
    /// The network's input.
    pub scan: Region,
    /// Its output.
    pub logits: Region,
    /// Flags of each buffer's tiles, then of the logits', then the overflow flag.
    pub control: Region,
    /// Those of each buffer, then those of the logits.
    pub flags: Vec<Region>,
    /// A u32 that becomes 1 where a value does not fit f16.
    pub overflow: Region,
    /// All activations.
    pub arena: Region,
    /// For the partial sums of one convolution at a time; absent where none is split.
    pub partial: Option<Region>,
}

impl Memory {
    /// What passes over any of the given forms of `activations` need.
    fn allocate(device: &mut dyn CudaDevice, plan: &Plan, activations: &[&Activations]) -> Result<Memory> {
        let voxels = plan.shape.iter().product::<usize>();
        let sizes = flag_sizes(plan);
        let control = device.allocate(sizes.iter().sum::<usize>() + 4)?;
        let mut address = control.address;
        let mut take = |bytes: usize| {
            address += bytes as u64;
            Region { address: address - bytes as u64, bytes }
        };
        let flags = sizes.into_iter().map(&mut take).collect();
        let overflow = take(4);
        let arena = activations.iter().map(|form| plan.arena(&form.sizes(plan)).size).max().unwrap_or(0);
        let convolutions = plan.steps.iter().filter(|step| matches!(step, Step::Conv { .. }));
        let partial = |step| activations.iter().map(|form| form.partial_bytes(device, plan, step)).max().unwrap_or(0);
        let partial = convolutions.map(partial).max().unwrap_or(0);
        Ok(Memory {
            scan: device.allocate(4 * voxels)?,
            logits: device.allocate(4 * voxels)?,
            control,
            flags,
            overflow,
            arena: device.allocate(arena)?,
            partial: if partial > 0 { Some(device.allocate(partial)?) } else { None },
        })
    }
}

fn prepare(device: &mut dyn CudaDevice, memory: &Memory, launches: Vec<Launch>) -> Result<Box<dyn Prepared>> {
    let pass = Pass { inputs: vec![memory.scan, memory.control], launches, outputs: vec![memory.logits, memory.overflow] };
    // SAFETY: the launches were made for buffers of this plan in this memory, which lives as long as the device.
    unsafe { device.prepare(&pass) }
}
