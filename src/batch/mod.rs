//! Many scans: what is found in folders, what goes on where it stopped, and the files of results.

pub mod compare;
pub mod inputs;
mod outputs;
pub mod page;
pub mod picture;
pub mod report;
pub mod resume;
pub(crate) mod run;
pub mod source;
pub mod table;

pub use run::*;
