//! The CUDA engine: hand-written kernels (`kernels/`), their launchers, and the network on top of them.
//!
//! A kernel has one file in `kernels/` and one launcher here: [`conv`], [`conv_f16`], [`input`], [`stride`] (down and up), [`head`],
//! [`pointwise`], [`dice`]. A launcher packs the weights and makes a [`Launch`] from a typed problem. [`Engine`]
//! makes the launches of a whole network and runs them on a [`Device`]: a GPU ([`driver`]) or the emulated one.

pub mod conv;
pub mod conv_f16;
pub mod device;
pub mod dice;
pub mod driver;
mod engine;
pub mod head;
pub mod input;
mod launches;
pub mod pointwise;
pub mod slots;
pub mod stride;
pub mod tiles;

pub use crate::network::grade::Grade;
pub use device::{Device, Launch, Region, Tensor, TensorMap};
pub use engine::Engine;
