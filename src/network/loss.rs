use super::dice::dice;
use super::real::Real;
use super::sigmoid::{sigmoid, sigmoid_backward};

/// What a training makes small: `dice * (1 - soft Dice) + cross_entropy * mean binary cross-entropy`, both over the voxels inside a mask.
///
/// Soft Dice is in Milletari's squared form (see [`dice()`]), the cross-entropy of logit z and label g is `ln(1 + e^z) - g z`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Factor of the Dice part.
    pub dice: f64,
    /// Factor of the cross-entropy.
    pub cross_entropy: f64,
}

impl Loss {
    /// The loss of `logits` for a `label`, both restricted to the voxels of `mask`, and its derivative by each logit; 0 outside of the mask.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn gradient<T: Real>(&self, logits: &[T], label: &[bool], mask: &[bool]) -> (f64, Vec<T>) {
        assert_eq!(
            (logits.len(), logits.len()),
            (label.len(), mask.len()),
            "logits, label and mask have one value for each voxel"
        );
        let places: Vec<usize> = (0..mask.len()).filter(|&place| mask[place]).collect();
        let inside: Vec<bool> = places.iter().map(|&place| label[place]).collect();
        let p: Vec<T> = places.iter().map(|&place| sigmoid(logits[place])).collect();
        let mut by_probability = vec![T::from_f64(0.0); p.len()];
        let soft = dice(&p, &inside, T::from_f64(0.5), Some(&mut by_probability)).soft;
        let voxels = places.len().max(1) as f64;
        let (mut entropy, mut gradient) = (0.0, vec![T::from_f64(0.0); logits.len()]);
        for (number, &place) in places.iter().enumerate() {
            let (z, g) = (logits[place].to_f64(), f64::from(u8::from(inside[number])));
            // ln(1 + e^z) without overflow.
            entropy += z.max(0.0) + (-z.abs()).exp().ln_1p() - g * z;
            let by_dice = sigmoid_backward(p[number], by_probability[number]).to_f64();
            gradient[place] = T::from_f64(self.cross_entropy * (p[number].to_f64() - g) / voxels - self.dice * by_dice);
        }
        (self.dice * (1.0 - soft) + self.cross_entropy * entropy / voxels, gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_finite_difference() {
        let logits = [-2.0f64, 0.5, 3.0, -0.1, 1.0, 0.0];
        let label = [false, true, true, true, false, true];
        let mask = [true, true, true, true, true, false];
        for loss in [
            Loss { dice: 1.0, cross_entropy: 0.0 },
            Loss { dice: 0.0, cross_entropy: 1.0 },
            Loss { dice: 1.0, cross_entropy: 3.0 },
        ] {
            let gradient = loss.gradient(&logits, &label, &mask).1;
            for n in 0..logits.len() {
                let at = |step: f64| {
                    let mut moved = logits;
                    moved[n] += step;
                    loss.gradient(&moved, &label, &mask).0
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((gradient[n] - difference).abs() < 1e-8, "{loss:?}, {n}: {} for {difference}", gradient[n]);
            }
        }
    }

    #[test]
    fn by_hand() {
        // p = 1/2 for both voxels of the mask, one of them blood: Dice = 2 * 1/2 / (1/4 + 1/4 + 1), cross-entropy ln 2.
        let loss =
            Loss { dice: 1.0, cross_entropy: 1.0 }.gradient(&[0.0f64, 0.0, 9.0], &[true, false, false], &[true, true, false]).0;
        assert!((loss - (1.0 / 3.0 + 2f64.ln())).abs() < 1e-12);
    }
}
