//! Brain extraction.
pub mod coarse;
pub mod skull;
