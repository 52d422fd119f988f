use super::real::Real;

/// Overlap of a prediction with a label, all from one pass over both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dice {
    /// Soft Dice in Milletari's squared form (V-Net, section 3): 2 sum(p g) / (sum(p^2) + sum(g^2)); 1 where both are empty.
    pub soft: f64,
    /// Dice of the prediction thresholded: 2 |P and G| / (|P| + |G|); 1 where both are empty.
    pub hard: f64,
    /// Number of voxels above the threshold in the prediction.
    pub predicted_voxels: u64,
    /// Number of voxels in the label.
    pub label_voxels: u64,
}

/// Dice of probabilities `prediction` with the binary `label`; a voxel is predicted where its probability is above `threshold`.
///
/// With `gradient`, the derivative of soft Dice by each probability is written there (V-Net, section 3):
/// `2 (g (sum p^2 + sum g^2) - 2 p sum(p g)) / (sum p^2 + sum g^2)^2`, 0 where both are empty.
///
/// # Panics
/// Where the lengths differ.
pub fn dice<T: Real>(prediction: &[T], label: &[bool], threshold: T, gradient: Option<&mut [T]>) -> Dice {
    assert_eq!(prediction.len(), label.len(), "prediction and label must have the same number of voxels");
    let (mut products, mut squares) = (0.0f64, 0.0f64);
    let (mut both, mut predicted_voxels, mut label_voxels) = (0u64, 0u64, 0u64);
    for (&p, &g) in prediction.iter().zip(label) {
        let (probability, inside) = (p.to_f64(), if g { 1.0 } else { 0.0 });
        products += probability * inside;
        squares += probability * probability + inside;
        let predicted = p > threshold;
        both += u64::from(predicted && g);
        predicted_voxels += u64::from(predicted);
        label_voxels += u64::from(g);
    }
    if let Some(gradient) = gradient {
        assert_eq!(prediction.len(), gradient.len(), "prediction and gradient must have the same number of voxels");
        for ((slope, &p), &g) in gradient.iter_mut().zip(prediction).zip(label) {
            let inside = if g { 1.0 } else { 0.0 };
            *slope = T::from_f64(if squares > 0.0 {
                2.0 * (inside * squares - 2.0 * p.to_f64() * products) / (squares * squares)
            } else {
                0.0
            });
        }
    }
    let ratio = |twice: f64, sum: f64| if sum > 0.0 { twice / sum } else { 1.0 };
    Dice {
        soft: ratio(2.0 * products, squares),
        hard: ratio(2.0 * both as f64, (predicted_voxels + label_voxels) as f64),
        predicted_voxels,
        label_voxels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let d = dice(&[1.0f32, 0.5, 0.0, 0.5], &[true, true, true, false], 0.4, None);
        assert_eq!(d, Dice { soft: 2.0 * 1.5 / (1.5 + 3.0), hard: 4.0 / 6.0, predicted_voxels: 3, label_voxels: 3 });
    }

    #[test]
    fn a_probability_at_the_threshold_is_not_predicted() {
        assert_eq!(dice(&[0.5f32], &[true], 0.5, None).predicted_voxels, 0);
    }

    #[test]
    fn two_empty_masks_agree() {
        let d = dice(&[0.0f32; 3], &[false; 3], 0.5, None);
        assert_eq!((d.soft, d.hard), (1.0, 1.0));
    }

    #[test]
    fn the_gradient_is_the_finite_difference() {
        let p = [0.9f32, 0.2, 0.6, 0.1, 0.5];
        let g = [true, false, true, true, false];
        let mut gradient = [0.0; 5];
        dice(&p, &g, 0.5, Some(&mut gradient));
        let soft = |p: &[f64; 5]| {
            let products: f64 = p.iter().zip(g).map(|(p, g)| if g { *p } else { 0.0 }).sum();
            2.0 * products / (p.iter().map(|p| p * p).sum::<f64>() + 3.0)
        };
        for n in 0..5 {
            let (mut up, mut low) = (p.map(f64::from), p.map(f64::from));
            up[n] += 1e-6;
            low[n] -= 1e-6;
            let difference = (soft(&up) - soft(&low)) / 2e-6;
            assert!((difference - f64::from(gradient[n])).abs() < 1e-6, "{n}: {difference} {}", gradient[n]);
        }
    }
}
