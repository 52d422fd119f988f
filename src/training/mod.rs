//! Training: the gradient of each operation, the optimiser, samples, and the trainer that joins them.
//!
//! From outside: [`train`] with a [`Config`] and a [`Source`] of samples. Inside: the operations forwards and backwards (`input`, `conv`, `stride`,
//! `pointwise`, `head`) in the layout and with the parts of [`crate::network::cpu`]; `network`, which does them in the order of a plan and back; `optimiser`
//! (Adam, and `muon`); `sample`; `trainer`; `checkpoint`; `curves`. Everything is in f32, and the same for any number of threads. Each operation is tested against
//! [`mod@crate::network::reference`].

#![allow(clippy::needless_range_loop, reason = "kernels index several arrays of registers by one counter with a constant bound")]

mod augment;
mod checkpoint;
pub mod config;
mod conv;
mod curves;
mod field;
mod given;
mod head;
mod input;
mod kernels;
mod muon;
mod network;
mod optimiser;
mod paint;
mod pairs;
mod parameters;
mod phantoms;
mod pointwise;
mod sample;
mod stride;
#[cfg(test)]
mod testing;
mod trainer;
mod values;

pub use config::Config;
pub use network::{Example, Layers, Network};
pub use pairs::Pairs;
pub use parameters::Parameters;
pub use phantoms::Phantoms;
pub use sample::{Cache, Sample, Source};
pub use trainer::{Epoch, Outcome, Progress, train};
