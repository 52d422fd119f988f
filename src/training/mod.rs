//! Training: the gradient of each operation, the optimiser, samples, and the trainer that joins them.

#![allow(clippy::needless_range_loop, reason = "kernels index several arrays of registers by one counter with a constant bound")]

mod conv;
mod head;
mod input;
mod kernels;
mod network;
mod parameters;
mod pointwise;
mod random;
mod stride;
mod values;

pub use network::{Example, Layers, Network};
pub use parameters::Parameters;
pub use random::Random;

#[cfg(test)]
mod testing;
