//! Pictures: an image of colours, what is drawn on it, and the letters. Knows nothing of scans.

pub mod canvas;
pub mod font;
