//! Many scans: what is found in folders, what goes on where it stopped, and the files of results.

pub mod compare;
pub mod inputs;
mod outputs;
pub mod page;
pub mod picture;
pub mod report;
pub mod resume;
pub(crate) mod run;
mod settings;
pub mod source;
pub mod table;

pub use report::Extra;
pub use run::{Outcome, run, write_mask};
pub use settings::Settings;
