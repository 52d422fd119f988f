//! Bias and activation of a layer in the places of its output's blocks.

use super::layout::Slots;
use crate::network::plan::Layer;
use crate::network::weights::Weights;

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
    pub fn new(weights: &Weights, layer: &Layer, slots: &Slots) -> Epilogue {
        let bias = slots.scatter(&weights.tensor(&format!("{}/bias", layer.convolution)));
        let slopes = match &layer.slopes {
            Some(name) => slots.scatter(&weights.tensor(name)),
            None => vec![0.0; bias.len()],
        };
        Epilogue { bias, slopes }
    }
}
