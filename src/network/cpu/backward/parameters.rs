//! All values of a network's tensors one after another, as an optimiser wants them.

use crate::network::Description;
use crate::network::Result;
use crate::network::description::TensorSpec;
use crate::network::plan::Layer;
use crate::network::reference::Tensors;
use crate::random::keyed::Random;
use std::collections::BTreeMap;
use std::ops::Range;

/// One value for each value of each tensor of a description: the weights, a gradient, or an optimiser's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    places: BTreeMap<String, Range<usize>>,
    values: Vec<f32>,
}

/// How a tensor learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// Its place among the values.
    pub values: Range<usize>,
    /// What Adam's learning rate is multiplied with: kernels that sum over many inputs learn slower.
    pub rate: f32,
    /// What Muon needs, for kernels between hidden channels.
    pub matrix: Option<Matrix>,
}

/// A kernel as a matrix, a column for each of the channels that its shape ends with.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of columns.
    pub columns: usize,
    /// The greatest singular value that it begins with: of m x n normal values with deviation s it is near s (sqrt(m) + sqrt(n)) (Bai and Yin 1993).
    pub norm: f64,
}

/// Slope that PReLUs begin with (He et al. 2015).
const SLOPE: f32 = 0.25;

/// Logit that all voxels begin with: 3% of the brain is blood (Lin et al. 2017, "Focal loss", section 3.3). A network that begins at 0 learns first that what
/// is bright enough to be brain is not blood, which holds for what is brighter still.
const LOGIT: f32 = -3.5;

/// Inputs of a kernel up to which it learns at the full rate.
const FULL_RATE_FAN_IN: f32 = 500.0;

/// Number of inputs of each of a kernel's sums; 1 for biases and slopes.
fn fan_in(spec: &TensorSpec) -> usize {
    match () {
        () if spec.name.ends_with("/upsample/kernel") => spec.shape[4],
        () if spec.name.ends_with("/kernel") => spec.shape[..4].iter().product(),
        () => 1,
    }
}

/// Deviation of a kernel's weights at the beginning: variance 2 / fan-in (He et al. 2015), less where results are added up.
fn deviation(spec: &TensorSpec) -> f64 {
    let body = spec.name.contains("/convolution") && !spec.name.starts_with("input_layer");
    // A block's result and what it is added to have about the same variance; halved, it grows slowly from block to block.
    let gain = match () {
        () if body => 0.5,
        // Logits begin near that of the last bias: no voxel is sure of anything yet.
        () if spec.name == "outblock/binary/kernel" => 0.1,
        () => 1.0,
    };
    gain * (2.0 / fan_in(spec) as f64).sqrt()
}

/// Takes off the mean of each of a kernel's sums, so that what all inputs have in common (most of a brain is near 32 HU) does not pass.
fn without_means(kernel: &mut [f32], fan_in: usize) {
    let outputs = kernel.len() / fan_in;
    for output in 0..outputs {
        let mean = kernel.iter().skip(output).step_by(outputs).sum::<f32>() / fan_in as f32;
        kernel.iter_mut().skip(output).step_by(outputs).for_each(|value| *value -= mean);
    }
}

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
    /// uses of it, those of convolutions with mean 0, biases 0, slopes 0.25, all logits near -3.5.
    ///
    /// # Errors
    /// [`crate::network::Error::Description`] for an unusable description.
    pub(crate) fn initial(description: &Description, seed: u64) -> Result<Parameters> {
        description.validate()?;
        let mut parameters = Parameters::zeros(description);
        for (number, spec) in description.tensors().into_iter().enumerate() {
            let mut random = Random::new(seed).derive(number as u64);
            let values = parameters.tensor_mut(&spec.name);
            if spec.name.ends_with("/alpha") {
                values.fill(SLOPE);
            } else if spec.name == "outblock/binary/bias" {
                values.fill(LOGIT);
            } else if spec.name.ends_with("/kernel") {
                let scale = deviation(&spec);
                values.iter_mut().for_each(|value| *value = (scale * random.normal()) as f32);
                if spec.name.contains("/convolution") || spec.name.contains("/downsample/") {
                    without_means(values, fan_in(&spec));
                }
            }
        }
        Ok(parameters)
    }

    /// How each tensor learns, in the order of the values.
    ///
    /// Adam moves all weights of a kernel by about the same amount. Where they are moved the same way, the sum over `n` inputs moves by `n` times as much, and
    /// a block that applies one kernel several times grows by a power of that; where they are moved without regard to each other, by the root of `n`. A kernel's
    /// rate falls with the root of its fan-in, from 500 on: falling with the fan-in itself (Yang et al. 2021, "Tensor Programs V", table 3) it learned slower.
    pub(crate) fn learning(description: &Description) -> Vec<Learning> {
        let mut end = 0;
        let learning = |spec: TensorSpec| {
            let begin = end;
            end += spec.shape.iter().product::<usize>();
            let hidden = !spec.name.starts_with("input_layer") && !spec.name.starts_with("outblock");
            let matrix = (hidden && spec.name.ends_with("/kernel")).then(|| {
                let columns = spec.shape[4];
                let rows = (end - begin) / columns;
                Matrix { columns, norm: deviation(&spec) * ((rows as f64).sqrt() + (columns as f64).sqrt()) }
            });
            Learning { values: begin..end, rate: (FULL_RATE_FAN_IN / fan_in(&spec) as f32).min(1.0).sqrt(), matrix }
        };
        description.tensors().into_iter().map(learning).collect()
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
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of a tensor in C order.
    ///
    /// # Panics
    /// Where the description has no such tensor.
    pub(crate) fn tensor(&self, name: &str) -> &[f32] {
        &self.values[self.places[name].clone()]
    }

    /// The values of a tensor, to be changed.
    ///
    /// # Panics
    /// Where the description has no such tensor.
    pub(crate) fn tensor_mut(&mut self, name: &str) -> &mut [f32] {
        &mut self.values[self.places[name].clone()]
    }

    /// Each tensor by its name.
    pub(crate) fn tensors(&self) -> Tensors<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, ArrayView2};

    fn small() -> Description {
        Description { widths: vec![4, 8], convs: vec![1, 2], up_widths: vec![8], up_convs: vec![1], ..Description::deepbleed() }
    }

    #[test]
    fn a_constant_passes_no_kernel_at_the_beginning() {
        let description = small();
        for description in [Description { shared: false, ..description.clone() }, description] {
            let parameters = Parameters::initial(&description, 3).unwrap();
            for spec in description.tensors().iter().filter(|spec| spec.name.ends_with("/kernel")) {
                let kernel = parameters.tensor(&spec.name);
                let sum: f32 = kernel.chunks_exact(spec.shape[4]).map(|weights| weights[0]).sum();
                let centred = !spec.name.contains("/upsample/") && !spec.name.starts_with("outblock");
                assert_eq!(sum.abs() < 1e-4, centred, "{}: {sum}", spec.name);
            }
        }
    }

    #[test]
    fn wide_kernels_learn_slower() {
        let description = Description::deepbleed();
        let learning = Parameters::learning(&description);
        let rate = |name: &str| learning[description.tensors().iter().position(|spec| spec.name == name).unwrap()].rate;
        assert_eq!((rate("input_layer/convolution/kernel"), rate("up_1/convolution/bias")), (1.0, 1.0));
        // 125 taps of 32 and of 256 channels.
        assert_eq!(
            (rate("up_1/convolution/kernel"), rate("up_4/convolution/kernel")),
            ((500.0f32 / 4000.0).sqrt(), (500.0f32 / 32000.0).sqrt())
        );
    }

    #[test]
    fn the_norm_is_that_of_a_kernel_at_the_beginning() {
        let description = small();
        let parameters = Parameters::initial(&description, 3).unwrap();
        let learning = Parameters::learning(&description);
        assert_eq!(learning.last().unwrap().values.end, parameters.values().len());
        let mut kernels = 0;
        for (spec, Learning { values, matrix, .. }) in description.tensors().iter().zip(&learning) {
            assert_eq!(parameters.values()[values.clone()], *parameters.tensor(&spec.name));
            let Some(Matrix { columns, norm }) = matrix else { continue };
            kernels += 1;
            let view = ArrayView2::from_shape((values.len() / columns, *columns), &parameters.values()[values.clone()]).unwrap();
            let gram = view.t().dot(&view);
            // Powers of the Gram matrix find its greatest eigenvalue.
            let mut vector = Array1::from_elem(*columns, 1.0f32);
            for n in 0..100 {
                vector[n % columns] += 1e-3;
                vector = gram.dot(&vector);
                vector /= vector.dot(&vector).sqrt();
            }
            let found = f64::from(vector.dot(&gram.dot(&vector)).sqrt());
            assert!((0.7..1.2).contains(&(found / norm)), "{}: {found} for {norm}", spec.name);
        }
        // Of the blocks below and above: the way down or up, and a convolution.
        assert_eq!(kernels, 4);
    }
}
