//! Nested Winograd convolution of 5x5x5 and 1x5x5 kernels.

pub mod points;
pub mod transform;
