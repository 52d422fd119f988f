//! Random numbers of two kinds, for two needs. What was drawn with either must be drawn again from the same seed, so
//! neither takes the other's place.
//!
//! - [`keyed`]: a number belongs to a key (the epoch, the sample, the voxel), in whatever order keys are asked for:
//!   what a training goes on with after a stop, and what threads draw side by side.
//! - `stream`: numbers come one after the other, in f32: what a phantom is drawn from.

#[cfg(any(feature = "evaluate", feature = "train"))]
pub mod keyed;
#[cfg(feature = "phantom")]
pub(crate) mod stream;
