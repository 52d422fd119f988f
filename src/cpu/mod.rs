//! The fast engine for machines without a GPU.
