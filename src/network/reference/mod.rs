//! Every operation of the network as plain loops: the definition of right.
//!
//! f32 in, f64 sums, f32 out. Activations are arrays (C, D, H, W); kernels are (kd, kh, kw, in, out), those of the
//! up-convolution (kd, kh, kw, out, in), as TensorFlow keeps them. Every fast version is tested against these functions.
//! They are as slow as they are simple. Beside each operation is its gradient, `_backward`; all take f64 too, in which the gradients
//! are checked by finite differences.

mod conv;
mod down;
mod dropout;
mod engine;
mod gradient;
mod join;
mod prelu;
mod training;
mod up;

pub use conv::{conv, conv_backward};
pub use down::{down, down_backward};
pub use dropout::dropout;
pub use engine::Engine;
pub use gradient::Gradient;
pub use join::{add, broadcast_channels, concatenate, concatenate_backward};
pub use prelu::{prelu, prelu_backward};
pub use training::{Sample, Tensors, gradient};
pub use up::{up, up_backward};
