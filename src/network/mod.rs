//! The V-Net, from its description to the engines that run it. Knows nothing of CT.
//!
//! [`Description`] says what a network is; [`Plan`] is its forward pass on one grid, as steps over numbered buffers;
//! [`LoadedNetwork`] is what a back end that does these steps looks like from outside.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "no_cuda.rs"]
mod cuda;
pub(crate) mod description;
pub mod device;
mod dice;
mod dropout;
#[cfg(feature = "emulator")]
pub mod emulator;
mod error;
mod grade;
pub mod inference;
mod loss;
pub mod plan;
#[doc(hidden)]
pub mod problem;
mod real;
pub mod reference;
pub(crate) mod region;
mod sigmoid;
pub mod weights;

pub use description::{Activation, Description};
pub use dice::{Dice, dice};
pub use dropout::Dropout;
pub use error::{Error, Result};
pub use loss::Loss;
pub use plan::{Buffer, BufferId, Plan, Step};
pub use real::Real;
pub use sigmoid::{sigmoid, sigmoid_backward};

/// A loaded network on one device for one grid: what the pipeline and the benchmarks drive.
pub trait LoadedNetwork {
    /// The grid (D, H, W) of every pass.
    fn shape(&self) -> [usize; 3];

    /// The device in words, as the report names it.
    fn device(&self) -> String;

    /// One pass. `input` and `logits` hold D*H*W values, W fastest; `input` is in HU, 0 outside the brain.
    ///
    /// With `needed` (D*H*W, W fastest), only the logits where it is true are wanted: an engine may skip whatever
    /// they do not depend on, and leaves `f32::NEG_INFINITY` (probability 0) elsewhere. The wanted logits have the same bits with and
    /// without `needed`.
    ///
    /// # Errors
    /// [`crate::network::Error::Shape`] where a slice has another length than the grid, and whatever the device reports.
    fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()>;

    /// Starts a pass that the device does by itself, with the arguments of [`LoadedNetwork::run`]; `None` where the caller's
    /// thread would have to do it.
    fn start(&mut self, _input: &[f32], _needed: Option<&[bool]>) -> Option<Result<()>> {
        None
    }

    /// Waits for the pass that [`LoadedNetwork::start`] began. The logits that were not wanted may have any value.
    ///
    /// # Errors
    /// As [`LoadedNetwork::run`]; [`Error::Device`] where no pass was started.
    fn finish(&mut self, _logits: &mut [f32]) -> Result<()> {
        Err(Error::Device("no pass was started".into()))
    }
}
