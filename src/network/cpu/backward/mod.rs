//! The network forwards and backwards, for training: the operations in the layout and with the parts of the fast engine,
//! each with its gradient beside it, and [`Network`], which does them in the order of a plan and back.
//!
//! `conv`, `input`, `stride` (down and up), `pointwise` and `head` are the operations; `kernels` what only gradients
//! need; `values` their memory; [`Parameters`] the values of all tensors one after another. Everything is in f32, and
//! the same for any number of threads. Each operation is tested against [`mod@crate::network::reference`].

pub(crate) mod conv;
pub(crate) mod head;
mod input;
mod kernels;
mod network;
pub(crate) mod parameters;
mod pointwise;
mod stride;
#[cfg(test)]
pub(crate) mod testing;
mod values;

pub use network::{Example, Layers, Network};
pub use parameters::Parameters;
