//! From a scan to a mask and its volume: joins volumes, files and networks.
//!
//! [`segment::segment`] does one scan, [`batch::run`] many; each stage is a public function of its own.

pub mod batch;
pub mod brain;
pub mod compare;
pub mod components;
pub mod hu;
pub mod inputs;
pub mod inverse;
mod outputs;
pub mod page;
pub mod picture;
pub mod postprocess;
pub mod registration;
pub mod report;
pub mod resume;
pub mod segment;
pub mod skull_margin;
pub mod source;
pub mod space;
pub mod table;
pub mod template;
mod template_file;
pub mod warnings;

pub use template_file::Template;
