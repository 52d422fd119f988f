//! The fast engine for machines without a GPU.
//!
//! From outside: [`Engine`], [`Options`], [`Instructions`]. Inside, in the order in which data goes through it:
//! [`layout`](self) (channels in blocks of 16), packed layers (`input`, `down`, `up`, `direct`, `winograd`, `head`),
//! the kernels that they call (`gemm`, `rows`, `winograd::transform`), written once over a vector type (`simd`) and
//! compiled for each set of instructions (`dispatch`, `kernels`).

#![allow(clippy::needless_range_loop, reason = "kernels index several arrays of registers by one counter with a constant bound")]

mod builder;
mod convolution;
mod direct;
pub(crate) mod dispatch;
mod down;
mod engine;
pub(crate) mod epilogue;
mod gemm;
mod head;
mod input;
pub(crate) mod kernels;
mod last_block;
pub(crate) mod layout;
pub(crate) mod memory;
mod pass;
pub(crate) mod rows;
pub(crate) mod simd;
mod threads;
mod up;
pub(crate) mod winograd;

pub use engine::{Engine, Options};
pub use kernels::Instructions;

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod tests;
