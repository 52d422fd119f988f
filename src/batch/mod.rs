//! Many scans: what is found in folders, what goes on where it stopped, and the files of results.

pub mod compare;
pub mod inputs;
#[cfg(not(feature = "report"))]
mod no_report;
mod outputs;
#[cfg(feature = "report")]
pub mod page;
#[cfg(feature = "report")]
pub(crate) mod picture;
pub mod report;
pub(crate) mod resume;
pub(crate) mod run;
mod settings;
pub(crate) mod source;
#[cfg(feature = "report")]
pub mod table;

#[cfg(not(feature = "report"))]
pub(crate) use no_report::{page, picture, table};
pub use report::Extra;
pub use run::{Outcome, run, write_mask};
pub use settings::Settings;
