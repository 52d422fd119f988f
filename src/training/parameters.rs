//! All values of a network's tensors one after another, as an optimiser wants them.

use super::random::Random;
use crate::Result;
use crate::network::Description;
use crate::network::plan::Layer;
use crate::reference::Tensors;
use std::collections::BTreeMap;
use std::ops::Range;

/// One value for each value of each tensor of a description: the weights, a gradient, or an optimiser's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    places: BTreeMap<String, Range<usize>>,
    values: Vec<f32>,
}

/// Slope that PReLUs begin with (He et al. 2015).
const SLOPE: f32 = 0.25;

impl Parameters {
    /// Zeros.
    pub fn zeros(description: &Description) -> Parameters {
        let mut places = BTreeMap::new();
        let mut len = 0;
        for spec in description.tensors() {
            let count: usize = spec.shape.iter().product();
            places.insert(spec.name, len..len + count);
            len += count;
        }
        Parameters { places, values: vec![0.0; len] }
    }

    /// What a training begins with: kernels normal with variance 2 / fan-in (He et al. 2015) and less where a block adds up the results of several
    /// uses of it, biases 0, slopes 0.25.
    ///
    /// # Errors
    /// [`crate::Error::Description`] for an unusable description.
    pub fn initial(description: &Description, seed: u64) -> Result<Parameters> {
        description.validate()?;
        let mut parameters = Parameters::zeros(description);
        for (number, spec) in description.tensors().into_iter().enumerate() {
            let mut random = Random::new(seed).derive(number as u64);
            let values = parameters.tensor_mut(&spec.name);
            if spec.name.ends_with("/alpha") {
                values.fill(SLOPE);
            } else if spec.name.ends_with("/kernel") {
                let up = spec.name.ends_with("/upsample/kernel");
                let fan_in: usize = if up { spec.shape[4] } else { spec.shape[..4].iter().product() };
                let body = spec.name.contains("/convolution") && !spec.name.starts_with("input_layer");
                // A block's result and what it is added to have about the same variance; halved, it grows slowly from block to block.
                let gain = match () {
                    () if body => 0.5,
                    // Logits begin near 0: no voxel is sure of anything yet.
                    () if spec.name == "outblock/binary/kernel" => 0.1,
                    () => 1.0,
                };
                let scale = gain * (2.0 / fan_in as f64).sqrt();
                values.iter_mut().for_each(|value| *value = (scale * random.normal()) as f32);
            }
        }
        Ok(parameters)
    }

    /// Those of `tensors`.
    ///
    /// # Panics
    /// Where they are not the description's.
    pub fn of(description: &Description, tensors: &Tensors<f32>) -> Parameters {
        let mut parameters = Parameters::zeros(description);
        let names: Vec<String> = parameters.places.keys().cloned().collect();
        names.iter().for_each(|name| parameters.tensor_mut(name).copy_from_slice(&tensors[name]));
        parameters
    }

    /// All values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of a tensor in C order.
    ///
    /// # Panics
    /// Where the description has no such tensor.
    pub fn tensor(&self, name: &str) -> &[f32] {
        &self.values[self.places[name].clone()]
    }

    /// The values of a tensor, to be changed.
    ///
    /// # Panics
    /// Where the description has no such tensor.
    pub fn tensor_mut(&mut self, name: &str) -> &mut [f32] {
        &mut self.values[self.places[name].clone()]
    }

    /// Each tensor by its name.
    pub fn tensors(&self) -> Tensors<f32> {
        self.places.iter().map(|(name, place)| (name.clone(), self.values[place.clone()].to_vec())).collect()
    }

    /// A layer's kernel.
    pub(super) fn kernel(&self, layer: &Layer) -> &[f32] {
        self.tensor(&format!("{}/kernel", layer.convolution))
    }

    /// A layer's bias.
    pub(super) fn bias(&self, layer: &Layer) -> &[f32] {
        self.tensor(&format!("{}/bias", layer.convolution))
    }

    /// A layer's slopes; 0 for ReLU.
    pub(super) fn slopes(&self, layer: &Layer) -> Vec<f32> {
        layer.slopes.as_ref().map_or_else(|| vec![0.0; layer.outputs], |name| self.tensor(name).to_vec())
    }
}
