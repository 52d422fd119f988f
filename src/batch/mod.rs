//! Many scans: what is found in folders, what goes on where it stopped, and the files of results.

#[cfg(feature = "report")]
pub mod compare;
pub mod inputs;
mod outputs;
#[cfg(feature = "report")]
pub mod page;
#[cfg(feature = "report")]
pub mod picture;
pub mod report;
#[cfg(feature = "report")]
pub mod resume;
#[cfg(feature = "report")]
mod run;
#[cfg(feature = "report")]
pub mod source;
#[cfg(feature = "report")]
pub mod table;

#[cfg(feature = "report")]
pub use run::*;
