//! The fast engine for machines without a GPU.
//!
//! From outside: [`Engine`], [`Options`], [`Instructions`]. Inside, in the order in which data goes through it:
//! [`layout`](self) (channels in blocks of 16), packed layers (`input`, `down`, `up`, `direct`, `winograd`, `head`),
//! the kernels that they call (`gemm`, `rows`, `winograd::transform`), written once over a vector type (`simd`) and
//! compiled for each set of instructions (`dispatch`, `kernels`).
//! [`backward`] goes the way back too, for training.

#![allow(clippy::needless_range_loop, reason = "kernels index several arrays of registers by one counter with a constant bound")]

#[cfg(feature = "train")]
pub mod backward;
mod builder;
mod convolution;
mod direct;
pub(crate) mod dispatch;
mod down;
mod engine;
mod epilogue;
mod gemm;
mod head;
mod input;
mod kernels;
mod last_block;
mod layout;
mod memory;
mod pass;
mod rows;
mod simd;
mod threads;
mod up;
mod winograd;

pub use engine::{Engine, Options};
pub use kernels::Instructions;

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod tests;
