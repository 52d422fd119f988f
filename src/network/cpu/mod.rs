//! The fast engine for machines without a GPU.
//!
//! From outside: [`CpuEngine`], [`CpuOptions`], [`Instructions`]. Inside, in the order in which data goes through it:
//! [`layout`](self) (channels in blocks of 16), packed layers (`input`, `down` and `up`, which share `strided`, `direct`,
//! `winograd`, `head`), the kernels that they call (`gemm`, `rows`, `winograd::transform`), written once over a vector
//! type (`simd`) and compiled for each set of instructions (`dispatch`, `kernels`). A layer by itself is run by
//! `network::problem`.
//! [`backward`] goes the way back too, for training.

#![allow(clippy::needless_range_loop, reason = "kernels index several arrays of registers by one counter with a constant bound")]

#[cfg(feature = "train")]
pub mod backward;
mod builder;
pub(super) mod convolution;
pub(super) mod direct;
pub(crate) mod dispatch;
pub(super) mod down;
mod engine;
pub(super) mod epilogue;
mod gemm;
pub(super) mod head;
pub(super) mod input;
pub(super) mod kernels;
mod last_block;
pub(super) mod layout;
mod memory;
mod pass;
mod rows;
pub(super) mod simd;
mod strided;
mod threads;
pub(super) mod up;
pub(super) mod winograd;

pub use engine::{CpuEngine, CpuOptions};
pub use kernels::Instructions;

#[cfg(test)]
mod tests;
