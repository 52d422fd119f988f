//! Bias and activation of a layer in the places of its output's blocks.

use super::layout::Slots;
use crate::network::weights::LayerTensors;

/// Bias and slopes of a layer, one for each place of its output's blocks; 0 in places without a channel.
#[derive(Clone, Debug)]
pub struct Epilogue {
    /// The biases.
    pub bias: Vec<f32>,
    /// The slopes of the activation; 0 for ReLU.
    pub slopes: Vec<f32>,
}

impl Epilogue {
    /// The epilogue of a layer whose outputs are in `slots`.
    pub fn new(layer: &LayerTensors, slots: &Slots) -> Epilogue {
        let bias = slots.scatter(&layer.bias);
        let slopes = layer.slopes.as_ref().map_or_else(|| vec![0.0; bias.len()], |slopes| slots.scatter(slopes));
        Epilogue { bias, slopes }
    }
}
