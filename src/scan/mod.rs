//! One scan's way from HU to a mask and its volume: clamp, brain, registration, network, inverse.
//!
//! [`segment::segment`] goes the whole way; each stage is a public function of its own.

pub mod brain;
pub(crate) mod components;
mod error;
pub(crate) mod hu;
pub(crate) mod inverse;
pub mod pitchperfect;
pub mod postprocess;
pub mod registration;
pub mod second_opinion;
pub mod segment;
pub(crate) mod skull_margin;
pub mod space;
pub mod template;
pub(crate) mod template_file;
pub mod warnings;

pub use error::{Error, Result};
pub use template_file::Template;
