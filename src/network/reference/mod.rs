//! Every operation of the network as plain loops: the definition of right.
//!
//! f32 in, f64 sums, f32 out. Activations are arrays (C, D, H, W); kernels are (kd, kh, kw, in, out), those of the
//! up-convolution (kd, kh, kw, out, in), as TensorFlow keeps them. Every fast version is tested against these functions.
//! They are as slow as they are simple. Beside each operation is its gradient, `_backward`; all take f64 too, in which the gradients
//! are checked by finite differences.
//!
//! They are public as a whole, for checks of other engines. A step along the gradient does what the gradient says:
//!
//! ```
//! use ichor::network::reference::{conv, conv_backward, prelu, prelu_backward};
//! use ndarray::{Array4, Array5};
//!
//! let x = Array4::from_shape_fn((1, 3, 3, 3), |(_, d, h, w)| d as f64 - 0.5 * h as f64 + 0.25 * w as f64);
//! let kernel = Array5::from_shape_fn((3, 3, 3, 1, 2), |(i, j, k, _, n)| (i + 2 * j) as f64 - (n + k) as f64);
//! let loss = |kernel: &Array5<f64>| prelu(conv(x.view(), kernel.view(), &[0.1, -0.2]), &[0.3, 0.4]).sum();
//! let y = conv(x.view(), kernel.view(), &[0.1, -0.2]);
//! let ones = Array4::ones(y.raw_dim());
//! let (dy, _) = prelu_backward(y.view(), &[0.3, 0.4], ones.view());
//! let gradient = conv_backward(x.view(), kernel.view(), dy.view());
//! let mut moved = kernel.clone();
//! moved[[0, 1, 2, 0, 1]] += 1e-6;
//! let rise = (loss(&moved) - loss(&kernel)) / 1e-6;
//! assert!((rise - gradient.kernel[[0, 1, 2, 0, 1]]).abs() < 1e-6);
//! ```

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
pub use engine::ReferenceEngine;
pub use gradient::Gradient;
pub use join::{add, broadcast_channels, concatenate, concatenate_backward};
pub use prelu::{prelu, prelu_backward};
pub use training::{Sample, Tensors, gradient};
pub use up::{up, up_backward};
