//! Brain extraction.
pub mod coarse;
pub mod skull;
pub mod defect;
pub mod icosphere;
