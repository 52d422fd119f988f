//! Pictures. Knows nothing of scans.
//!
//! [`canvas`] is a picture of a few colours with lines and text; `raster` one of any colours with smooth lines; `drawing`
//! is made of lines, dots, boxes, text and images, and becomes SVG and PNG; `axes` is the frame of a diagram in one. The
//! letters of all are those of [`font`].

#[cfg(feature = "evaluate")]
pub(crate) mod axes;
pub mod canvas;
#[cfg(feature = "evaluate")]
pub(crate) mod drawing;
pub mod font;
#[cfg(feature = "evaluate")]
pub(crate) mod raster;
