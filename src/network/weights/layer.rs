//! The values of one layer, in whatever file or memory they are.

use super::Weights;
use crate::network::plan::Layer;
use std::borrow::Cow;

/// The tensors of a convolution and of its activation.
pub(crate) struct LayerTensors<'a> {
    /// (kd, kh, kw, in, out); of a transposed convolution (kd, kh, kw, out, in).
    pub kernel: Cow<'a, [f32]>,
    /// One for each output channel.
    pub bias: Cow<'a, [f32]>,
    /// Likewise; `None` for ReLU.
    pub slopes: Option<Cow<'a, [f32]>>,
}

impl Weights {
    /// The tensors of a layer.
    pub(crate) fn layer(&self, layer: &Layer) -> LayerTensors<'_> {
        LayerTensors {
            kernel: self.tensor(&format!("{}/kernel", layer.convolution)),
            bias: self.tensor(&format!("{}/bias", layer.convolution)),
            slopes: layer.slopes.as_ref().map(|name| self.tensor(name)),
        }
    }
}
