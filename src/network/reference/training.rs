use super::{
    Gradient, add, broadcast_channels, concatenate, concatenate_backward, conv, conv_backward, down, down_backward, dropout,
    prelu, prelu_backward, up, up_backward,
};
use crate::network::plan::Layer;
use crate::network::{BufferId, Description, Dropout, Loss, Plan, Real, Step};
use crate::network::{Error, Result};
use ndarray::{Array4, Array5, ArrayView4, ArrayView5};
use std::collections::BTreeMap;

/// What a step of training is made from.
pub struct Sample<'a, T> {
    /// The network's input (D, H, W).
    pub input: &'a [T],
    /// Where blood is.
    pub label: &'a [bool],
    /// Where the loss counts.
    pub mask: &'a [bool],
    /// The loss.
    pub loss: Loss,
    /// Dropout; `None` for none.
    pub dropout: Option<Dropout<'a>>,
}

/// Values of each tensor of [`Description::tensors`], by its name.
pub type Tensors<T> = BTreeMap<String, Vec<T>>;

/// Loss of a network for a sample on a grid of `shape` (D, H, W), its derivative by every value of every tensor, and the logits.
///
/// # Errors
/// As [`Plan::new`]; [`Error::Shape`] where the sample does not fit the grid.
///
/// # Panics
/// Where `tensors` are not those of the description.
pub fn gradient<T: Real>(
    description: &Description,
    tensors: &Tensors<T>,
    shape: [usize; 3],
    sample: &Sample<T>,
) -> Result<(f64, Tensors<T>, Vec<T>)> {
    let plan = Plan::new(description, shape)?;
    let voxels: usize = shape.iter().product();
    if [sample.input.len(), sample.label.len(), sample.mask.len()] != [voxels; 3] {
        return Err(Error::Shape(format!("input, label and mask must have {voxels} voxels each")));
    }
    let input = Array4::from_shape_vec((1, shape[0], shape[1], shape[2]), sample.input.to_vec()).expect("the length was checked");
    let mut pass = Pass { plan: &plan, tensors, sample, input, buffers: vec![], before: vec![], logits: vec![] };
    plan.steps.iter().for_each(|step| pass.forward(step));
    let (loss, by_logit) = sample.loss.gradient(&pass.logits, sample.label, sample.mask);
    let by_logit = Array4::from_shape_vec((1, shape[0], shape[1], shape[2]), by_logit).expect("one for each voxel");
    Ok((loss, pass.backward(by_logit), pass.logits))
}

/// The values of a pass, forwards, that its way back needs.
struct Pass<'a, T> {
    plan: &'a Plan,
    tensors: &'a Tensors<T>,
    sample: &'a Sample<'a, T>,
    input: Array4<T>,
    /// What each buffer of the plan holds.
    buffers: Vec<Array4<T>>,
    /// What each step gave before its activation.
    before: Vec<Array4<T>>,
    logits: Vec<T>,
}

type Operation<T> = fn(ArrayView4<T>, ArrayView5<T>, &[T]) -> Array4<T>;
type Backward<T> = fn(ArrayView4<T>, ArrayView5<T>, ArrayView4<T>) -> Gradient<T>;

impl<T: Real> Pass<'_, T> {
    fn kernel(&self, layer: &Layer, transposed: bool) -> Array5<T> {
        let [kd, kh, kw] = layer.kernel;
        let [from, to] = if transposed { [layer.outputs, layer.inputs] } else { [layer.inputs, layer.outputs] };
        let values = self.tensors[&format!("{}/kernel", layer.convolution)].clone();
        Array5::from_shape_vec((kd, kh, kw, from, to), values).expect("the tensors are those of the description")
    }

    fn slopes(&self, layer: &Layer) -> Vec<T> {
        layer.slopes.as_ref().map_or_else(|| vec![T::from_f64(0.0); layer.outputs], |name| self.tensors[name].clone())
    }

    fn layer(&mut self, operation: Operation<T>, layer: &Layer, x: &Array4<T>, transposed: bool) -> Array4<T> {
        let bias = &self.tensors[&format!("{}/bias", layer.convolution)];
        let y = operation(x.view(), self.kernel(layer, transposed).view(), bias);
        self.before.push(y.clone());
        prelu(y, &self.slopes(layer))
    }

    /// Which values of a buffer are kept; `None` where all are.
    fn kept(&self, buffer: BufferId) -> Option<(Array4<bool>, f64)> {
        let dropout = self.sample.dropout.filter(|dropout| dropout.drops(self.plan, buffer))?;
        let [depth, height, width] = self.plan.buffers[buffer].shape;
        let keep = Array4::from_shape_fn((self.plan.buffers[buffer].channels, depth, height, width), |(c, d, h, w)| {
            (dropout.keep)(buffer, (d * height + h) * width + w, c)
        });
        Some((keep, dropout.rate))
    }

    fn forward(&mut self, step: &Step) {
        let of = |pass: &Self, buffer: BufferId| pass.buffers[buffer].clone();
        let y = match step {
            Step::Input { layer, .. } => {
                let x = self.input.clone();
                add(self.layer(conv, layer, &x, false), broadcast_channels(x.view(), layer.outputs).view())
            }
            Step::Down { layer, input, .. } => self.layer(down, layer, &of(self, *input), false),
            Step::Up { layer, input, skip, .. } => {
                let y = self.layer(up, layer, &of(self, *input), true);
                concatenate(y.view(), self.buffers[*skip].view())
            }
            Step::Conv { layer, input, residual, .. } => {
                let y = self.layer(conv, layer, &of(self, *input), false);
                residual.map_or(y.clone(), |residual| add(y, self.buffers[residual].view()))
            }
            Step::Head { hidden, binary, input } => {
                let y = self.layer(conv, hidden, &of(self, *input), false);
                let bias = &self.tensors[&format!("{}/bias", binary.convolution)];
                self.logits = conv(y.view(), self.kernel(binary, false).view(), bias).into_iter().collect();
                return;
            }
        };
        let kept = step.output().and_then(|output| self.kept(output));
        self.buffers.push(match kept {
            Some((keep, rate)) => dropout(y, &keep, rate),
            None => y,
        });
    }

    fn backward(&self, by_logit: Array4<T>) -> Tensors<T> {
        let zero = T::from_f64(0.0);
        let mut found: Tensors<T> = self.tensors.iter().map(|(name, values)| (name.clone(), vec![zero; values.len()])).collect();
        let mut slopes: Vec<Array4<T>> = self.buffers.iter().map(|buffer| Array4::from_elem(buffer.raw_dim(), zero)).collect();
        let gather = |sum: &mut Array4<T>, part: &Array4<T>| *sum = add(sum.clone(), part.view());
        for (number, step) in self.plan.steps.iter().enumerate().rev() {
            let mut dy = step.output().map_or_else(|| by_logit.clone(), |output| slopes[output].clone());
            if let Some((keep, rate)) = step.output().and_then(|output| self.kept(output)) {
                dy = dropout(dy, &keep, rate);
            }
            match step {
                Step::Input { layer, .. } => {
                    self.layer_backward(conv_backward, number, layer, &self.input, false, &dy, &mut found);
                }
                Step::Down { layer, input, .. } => {
                    let dx = self.layer_backward(down_backward, number, layer, &self.buffers[*input], false, &dy, &mut found);
                    gather(&mut slopes[*input], &dx);
                }
                Step::Up { layer, input, skip, .. } => {
                    let (dy, by_skip) = concatenate_backward(dy.view(), layer.outputs);
                    gather(&mut slopes[*skip], &by_skip);
                    let dx = self.layer_backward(up_backward, number, layer, &self.buffers[*input], true, &dy, &mut found);
                    gather(&mut slopes[*input], &dx);
                }
                Step::Conv { layer, input, residual, .. } => {
                    if let Some(residual) = residual {
                        gather(&mut slopes[*residual], &dy);
                    }
                    let dx = self.layer_backward(conv_backward, number, layer, &self.buffers[*input], false, &dy, &mut found);
                    gather(&mut slopes[*input], &dx);
                }
                Step::Head { hidden, binary, input } => {
                    let y = prelu(self.before[number].clone(), &self.slopes(hidden));
                    let gradient = conv_backward(y.view(), self.kernel(binary, false).view(), dy.view());
                    collect(&mut found, &format!("{}/kernel", binary.convolution), gradient.kernel.iter());
                    collect(&mut found, &format!("{}/bias", binary.convolution), gradient.bias.iter());
                    let (x, dy) = (&self.buffers[*input], &gradient.x);
                    let dx = self.layer_backward(conv_backward, number, hidden, x, false, dy, &mut found);
                    gather(&mut slopes[*input], &dx);
                }
            }
        }
        found
    }

    /// Adds a layer's gradient for that of its activated result, `dy`, to `found` and gives that by its input.
    #[expect(clippy::too_many_arguments, reason = "what a layer's gradient is made from")]
    fn layer_backward(
        &self,
        backward: Backward<T>,
        step: usize,
        layer: &Layer,
        x: &Array4<T>,
        transposed: bool,
        dy: &Array4<T>,
        found: &mut Tensors<T>,
    ) -> Array4<T> {
        let (dz, by_slopes) = prelu_backward(self.before[step].view(), &self.slopes(layer), dy.view());
        if let Some(name) = &layer.slopes {
            collect(found, name, by_slopes.iter());
        }
        let gradient = backward(x.view(), self.kernel(layer, transposed).view(), dz.view());
        collect(found, &format!("{}/kernel", layer.convolution), gradient.kernel.iter());
        collect(found, &format!("{}/bias", layer.convolution), gradient.bias.iter());
        gradient.x
    }
}

/// Adds `values` to a tensor: a shared layer has a gradient from each of its uses.
fn collect<'a, T: Real>(found: &mut Tensors<T>, name: &str, values: impl Iterator<Item = &'a T>) {
    let sums = found.get_mut(name).expect("every tensor has its sums");
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = T::from_f64(sum.to_f64() + value.to_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Activation;
    use crate::network::weights::Weights;

    /// A whole small network, each kind of step in it, by finite differences in f64.
    fn check(description: Description, shape: [usize; 3], dropout: Option<Dropout>) {
        let weights = Weights::generate(&description, "gradient").unwrap();
        let mut tensors: Tensors<f64> = description
            .tensors()
            .into_iter()
            .map(|spec| (spec.name.clone(), weights.tensor(&spec.name).iter().map(|&v| f64::from(v)).collect()))
            .collect();
        let voxels: usize = shape.iter().product();
        let input: Vec<f64> = (0..voxels).map(|i| (i * 7919 % 97) as f64 / 48.0 - 1.0).collect();
        let label: Vec<bool> = (0..voxels).map(|i| i * 31 % 7 < 2).collect();
        let mask: Vec<bool> = (0..voxels).map(|i| !i.is_multiple_of(5)).collect();
        let loss = Loss { dice: 1.0, cross_entropy: 3.0 };
        let sample = Sample { input: &input, label: &label, mask: &mask, loss, dropout };
        let found = gradient(&description, &tensors, shape, &sample).unwrap().1;
        for name in tensors.keys().cloned().collect::<Vec<_>>() {
            let len = tensors[&name].len();
            // Of the large tensors some values, spread over all of it.
            for n in (0..len).step_by(len.div_ceil(12)) {
                let value = tensors[&name][n];
                let mut at = |step: f64| {
                    tensors.get_mut(&name).unwrap()[n] = value + step;
                    gradient(&description, &tensors, shape, &sample).unwrap().0
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                tensors.get_mut(&name).unwrap()[n] = value;
                let error = (found[&name][n] - difference).abs();
                assert!(error < 1e-6 * (1.0 + difference.abs()), "{name} {n}: {} for {difference}", found[&name][n]);
            }
        }
    }

    fn small() -> Description {
        Description {
            kernel: [3; 3],
            widths: vec![2, 3],
            convs: vec![1, 2],
            up_widths: vec![4],
            up_convs: vec![2],
            activation: Activation::Prelu,
            ..Description::deepbleed()
        }
    }

    #[test]
    fn the_networks_gradient_is_finite_differences() {
        check(small(), [4, 4, 6], None);
        check(Description { shared: false, kernel: [1, 3, 3], stride: [1, 2, 2], ..small() }, [2, 4, 4], None);
        check(Description { activation: Activation::Relu, ..small() }, [4; 3], None);
    }

    #[test]
    fn the_gradient_under_dropout_is_that_of_what_was_kept() {
        let keep = |buffer: BufferId, voxel: usize, channel: usize| !(buffer + voxel * 3 + channel * 5).is_multiple_of(4);
        check(small(), [4; 3], Some(Dropout { rate: 0.25, levels: 1, keep: &keep }));
    }

    #[test]
    fn a_sample_of_another_size_is_refused() {
        let sample = Sample {
            input: &[0.0f32; 8],
            label: &[false; 8],
            mask: &[true; 7],
            loss: Loss { dice: 1.0, cross_entropy: 0.0 },
            dropout: None,
        };
        assert!(matches!(gradient(&small(), &Tensors::new(), [2; 3], &sample), Err(Error::Shape(_))));
    }
}
