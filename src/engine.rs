//! The engine alone: a loaded network on plain slices, for a service that makes its own input.

use crate::network;
use crate::network::device::{Device, Grade};
use crate::network::weights::Weights;
use crate::{Error, Result};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

/// A loaded network on one device for one grid, for pass after pass: waiting for each ([`Engine::run`]), or going on
/// meanwhile ([`Engine::start`], [`Engine::finish`]).
///
/// Two engines on one GPU overlap the copies of one scan with the pass of another; `examples/service.rs` does so.
///
#[cfg_attr(feature = "built-in-weights", doc = "```")]
#[cfg_attr(not(feature = "built-in-weights"), doc = "```no_run")]
/// use ichor::{Device, Engine, Weights};
///
/// let weights = Weights::built_in()?;
/// let mut engine = Engine::load(&weights, Device::Cpu, [32, 32, 32])?;
/// let scan = vec![30.0; 32 * 32 * 32]; // HU, 0 outside the brain
/// let mut logits = vec![0.0; scan.len()];
/// engine.run(&scan, None, &mut logits)?;
/// // The same without waiting.
/// engine.start(&scan, None)?;
/// let mut again = vec![0.0; scan.len()];
/// engine.finish(&mut again)?;
/// assert_eq!(logits, again);
/// # Ok::<(), ichor::Error>(())
/// ```
pub struct Engine {
    shape: [usize; 3],
    device: String,
    state: State,
}

type Loaded = Box<dyn network::LoadedNetwork + Send>;

/// Where the loaded network is.
enum State {
    Idle(Loaded),
    /// In a pass that the device does by itself, with the voxels that are wanted.
    OnDevice(Loaded, Option<Vec<bool>>),
    /// In a pass that a thread does.
    OnThread(JoinHandle<(Loaded, network::Result<Vec<f32>>)>),
    /// The thread that had it has panicked.
    Lost,
}

impl Engine {
    /// Loads `weights` on `device` for passes over grids of `shape` (D, H, W), on all cores (a CPU), in
    /// [`Grade::Exact`] (a GPU).
    ///
    /// # Errors
    /// [`Error::Device`] where the device cannot run here, [`Error::Shape`] where a side is no multiple of
    /// [`Description::multiple`](network::Description::multiple), [`Error::Memory`].
    pub fn load(weights: &Weights, device: Device, shape: [usize; 3]) -> Result<Engine> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Engine::load_with(weights, device, shape, threads, Grade::Exact)
    }

    /// As [`Engine::load`], with so many threads on a CPU, and in this grade on a GPU.
    ///
    /// # Errors
    /// As [`Engine::load`], and for a grade that the device does not have.
    pub fn load_with(weights: &Weights, device: Device, shape: [usize; 3], threads: usize, grade: Grade) -> Result<Engine> {
        let engine = device.load(weights, shape, threads, grade)?;
        Ok(Engine { shape, device: engine.device(), state: State::Idle(engine) })
    }

    /// The grid (D, H, W) of every pass.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The device in words.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// One pass, to its end. `input` and `logits` hold D*H*W values, W fastest; `input` is HU in the template's space, 0
    /// outside the brain, clipped by the caller where the weights' metadata have an `hu_range`.
    ///
    /// With `needed` (D*H*W, W fastest), only the logits where it is true are computed, with the bits that they have
    /// without it; the others are `f32::NEG_INFINITY` (probability 0).
    ///
    /// # Errors
    /// [`Error::Shape`] where a slice has another length than the grid, [`Error::Device`] where a pass is under way, and
    /// whatever the device reports.
    pub fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()> {
        match &mut self.state {
            State::Idle(engine) => Ok(engine.run(input, needed, logits)?),
            State::OnDevice(..) | State::OnThread(_) => Err(under_way()),
            State::Lost => Err(lost()),
        }
    }

    /// Starts a pass and returns before it has ended. A GPU does it by itself; for a CPU a thread does, with a copy of the
    /// input.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn start(&mut self, input: &[f32], needed: Option<&[bool]>) -> Result<()> {
        self.fits("input", input.len())?;
        self.fits("mask", needed.map_or(input.len(), <[bool]>::len))?;
        let mut engine = match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(engine) => engine,
            State::Lost => return Err(lost()),
            busy => {
                self.state = busy;
                return Err(under_way());
            }
        };
        let wanted = needed.map(<[bool]>::to_vec);
        match engine.start(input, needed) {
            Some(Ok(())) => self.state = State::OnDevice(engine, wanted),
            Some(Err(error)) => {
                self.state = State::Idle(engine);
                return Err(error.into());
            }
            None => {
                let input = input.to_vec();
                self.state = State::OnThread(std::thread::spawn(move || {
                    let mut logits = vec![0.0; input.len()];
                    let outcome = engine.run(&input, wanted.as_deref(), &mut logits);
                    (engine, outcome.map(|()| logits))
                }));
            }
        }
        Ok(())
    }

    /// Waits for the pass that was started and takes its logits, as [`Engine::run`] gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] where `logits` has another length than the grid (the pass stays), [`Error::Device`] where no pass
    /// was started, and whatever the device reports.
    pub fn finish(&mut self, logits: &mut [f32]) -> Result<()> {
        self.fits("output", logits.len())?;
        match std::mem::replace(&mut self.state, State::Lost) {
            State::OnDevice(mut engine, needed) => {
                let outcome = engine.finish(logits);
                self.state = State::Idle(engine);
                outcome?;
                let unwanted = needed.iter().flatten().zip(logits).filter(|(needed, _)| !**needed);
                unwanted.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
                Ok(())
            }
            State::OnThread(thread) => {
                let (engine, outcome) = thread.join().map_err(|_| lost())?;
                self.state = State::Idle(engine);
                logits.copy_from_slice(&outcome?);
                Ok(())
            }
            State::Idle(engine) => {
                self.state = State::Idle(engine);
                Err(Error::Device("no pass was started".into()))
            }
            State::Lost => Err(lost()),
        }
    }

    fn fits(&self, what: &str, length: usize) -> Result<()> {
        let voxels = self.shape.iter().product::<usize>();
        if length == voxels {
            return Ok(());
        }
        Err(Error::Shape(format!("the {what} has {length} voxels, but the engine was made for a grid of {voxels}")))
    }
}

fn under_way() -> Error {
    Error::Device("a pass is under way: finish it before the next one".into())
}

fn lost() -> Error {
    Error::Device("the engine is lost, for a pass has failed badly: load it again".into())
}
