//! From a scan to a mask and its volume: joins volumes, files and networks.

pub mod brain;
