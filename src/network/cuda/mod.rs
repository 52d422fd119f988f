//! The CUDA engine: hand-written kernels (`kernels/`), their launchers, and the network on top of them.
//!
//! A kernel has one file in `kernels/` and one launcher here: `conv`, `conv_f16`, `input`, `stride` (down and up), `head`,
//! `pointwise`, `dice`. A launcher packs the weights and makes a [`Launch`] from typed values. [`CudaEngine`] makes the
//! launches of a whole network and runs them on a [`CudaDevice`]: a GPU ([`driver`]) or the emulated one. A single operation
//! is run by `network::problem`.

pub(super) mod conv;
pub(super) mod conv_f16;
pub mod device;
pub(super) mod dice;
pub mod driver;
mod engine;
pub(super) mod head;
pub(super) mod input;
pub(super) mod launches;
pub(super) mod pointwise;
pub(super) mod slots;
pub(super) mod stride;
pub(super) mod tiles;

pub use crate::network::grade::Grade;
pub use device::{CudaDevice, Launch, Region, Tensor, TensorMap};
pub use engine::CudaEngine;
