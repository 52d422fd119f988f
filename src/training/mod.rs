//! Training: the optimiser, samples, and the trainer that joins them with the network's gradients.
//!
//! From outside: [`train`] with a [`Config`] and a [`Source`] of samples. Inside: `optimiser` (Adam, and `muon`);
//! `sample`, with `pairs` and `phantoms` as its sources and `augment`, `paint` and `field` for what is made of one;
//! `trainer`; `checkpoint`; `curves`. The network forwards and backwards is [`crate::network::cpu::backward`]. Everything
//! is in f32, and the same for any number of threads.

mod augment;
mod checkpoint;
pub(crate) mod config;
mod curves;
mod difference;
mod epoch;
mod field;
mod given;
mod muon;
mod optimiser;
mod paint;
mod pairs;
mod phantoms;
mod sample;
#[cfg(test)]
mod testing;
mod trainer;

pub use config::Config;
pub use epoch::Epoch;
pub use pairs::Pairs;
pub use phantoms::Phantoms;
pub use sample::{Cache, Sample, Source};
pub use trainer::{Outcome, Progress, check_folder, train};
