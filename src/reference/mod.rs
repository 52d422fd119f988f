//! Every operation of the network as plain loops: the definition of right.
//!
//! f32 in, f64 sums, f32 out. Activations are arrays (C, D, H, W); kernels are (kd, kh, kw, in, out), those of the
//! up-convolution (kd, kh, kw, out, in), as TensorFlow keeps them. Every fast version is tested against these functions.
//! They are as slow as they are simple.

mod conv;
mod dice;
mod down;
mod engine;
mod join;
mod prelu;
mod sigmoid;
mod up;

pub use conv::conv;
pub use dice::{Dice, dice};
pub use down::down;
pub use engine::Engine;
pub use join::{add, broadcast_channels, concatenate};
pub use prelu::prelu;
pub use sigmoid::sigmoid;
pub use up::up;
