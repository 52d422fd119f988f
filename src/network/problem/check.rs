//! Whether the parts of a problem fit one another: what back ends compute by unsafe code must be what they were made for.

use super::{Layer, Operation, Problem, channels};
use crate::network::description::HEAD_CHANNELS;
use crate::network::{Error, Result};
use ndarray::Array4;

/// The longest kernel that every back end has.
const LONGEST: usize = 7;

impl Problem {
    /// # Errors
    /// [`Error::Shape`] where the parts of the problem do not fit one another.
    pub(super) fn check(&self) -> Result<()> {
        let fits = !self.input.is_empty() && self.on_grid(&self.input) && self.operation_fits();
        if fits { Ok(()) } else { Err(Error::Shape(format!("the parts of the {self:?} do not fit one another"))) }
    }

    /// Whether all parts of an activation are on the input's grid, and none is empty.
    fn on_grid(&self, parts: &[Array4<f32>]) -> bool {
        let (_, depth, height, width) = self.input[0].dim();
        let same = |part: &Array4<f32>| !part.is_empty() && part.dim() == (part.dim().0, depth, height, width);
        parts.iter().all(same)
    }

    fn operation_fits(&self) -> bool {
        let inputs = channels(&self.input).iter().sum();
        let odd = |layer: &Layer| layer.size().iter().all(|side| side % 2 == 1 && *side <= LONGEST);
        let stride = |layer: &Layer| layer.size().iter().all(|side| [1, 2].contains(side));
        match &self.operation {
            Operation::Input(layer) => inputs == 1 && odd(layer) && layer.fits([1, layer.bias.len()]),
            Operation::Convolution { layer, residual } => {
                let outputs = layer.bias.len();
                let added = residual.is_empty() || channels(residual).iter().sum::<usize>() == outputs;
                odd(layer) && layer.fits([inputs, outputs]) && added && self.on_grid(residual)
            }
            Operation::Down(layer) => {
                let whole = (0..3).all(|axis| self.shape()[axis].is_multiple_of(layer.size()[axis]));
                stride(layer) && whole && layer.fits([inputs, layer.bias.len()])
            }
            Operation::Up(layer) => stride(layer) && layer.fits([layer.bias.len(), inputs]),
            Operation::Head { hidden, binary, .. } => {
                let single = hidden.size() == [1; 3] && binary.size() == [1; 3];
                single && hidden.fits([inputs, HEAD_CHANNELS]) && binary.fits([HEAD_CHANNELS, 1])
            }
            Operation::Prelu(slopes) => slopes.len() == inputs,
            Operation::Sigmoid | Operation::Pack | Operation::Unpack => true,
        }
    }
}

impl Layer {
    /// Whether the kernel's last two sides are `last`, and bias and slopes as many as the outputs.
    fn fits(&self, last: [usize; 2]) -> bool {
        let (.., first, second) = self.kernel.dim();
        let outputs = self.bias.len();
        let slopes = self.slopes.as_ref().is_none_or(|slopes| slopes.len() == outputs);
        outputs > 0 && self.kernel.is_standard_layout() && [first, second] == last && last.contains(&outputs) && slopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu::Instructions;
    use crate::network::problem::{Backend, Sizes, Way};

    fn is_refused(problem: &Problem, way: Way) -> bool {
        matches!(problem.run(&mut Backend::Cpu(Instructions::Portable), way, None), Err(Error::Shape(_) | Error::Device(_)))
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let sizes = Sizes { shape: [2; 3], kernel: [1; 3], inputs: vec![2, 1], outputs: 4, prelu: true, seed: 1 };
        let good = sizes.convolution(&[4]);
        assert!(!is_refused(&good, Way::Plain));
        // A channel less than the kernel has; parts on two grids; no part.
        for input in [vec![good.input[0].clone()], vec![good.input[0].clone(), Array4::zeros((1, 2, 2, 3))], vec![]] {
            assert!(is_refused(&Problem { input, ..good.clone() }, Way::Plain));
        }
        assert!(is_refused(&sizes.convolution(&[3]), Way::Plain), "one residual channel too few");
        assert!(is_refused(&Sizes { kernel: [2, 1, 1], ..sizes.clone() }.convolution(&[]), Way::Plain), "an even kernel");
        assert!(is_refused(&Sizes { kernel: [3, 1, 1], ..sizes.clone() }.up(), Way::Plain), "a stride of 3");
        let mut odd = Sizes { kernel: [2; 3], ..sizes.clone() }.down();
        odd.input = vec![Array4::zeros((3, 3, 4, 4))];
        assert!(is_refused(&odd, Way::Plain), "a grid that is no multiple of the stride");
        let mut short = sizes.up();
        let Operation::Up(layer) = &mut short.operation else { unreachable!() };
        layer.bias.pop();
        assert!(is_refused(&short, Way::Plain), "a bias too few");
    }

    #[test]
    fn ways_that_a_back_end_has_not_are_refused() {
        let sizes = Sizes { shape: [2; 3], kernel: [5; 3], inputs: vec![1], outputs: 1, prelu: true, seed: 1 };
        let transforms = |points, batch| Way::Transforms { points, batch };
        assert!(!is_refused(&sizes.convolution(&[]), transforms([8; 3], None)));
        for way in [transforms([1, 8, 8], None), transforms([8; 3], Some([0; 3])), Way::Split(1)] {
            assert!(is_refused(&sizes.convolution(&[]), way), "{way:?}");
        }
        let three = Sizes { kernel: [3; 3], ..sizes.clone() }.convolution(&[]);
        assert!(is_refused(&three, transforms([8; 3], None)));
        assert!(is_refused(&sizes.head(true), Way::Plain), "the CPU's head has no probabilities");
    }
}
