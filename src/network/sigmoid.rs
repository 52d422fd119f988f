use super::real::Real;

/// The logistic function 1 / (1 + e^-x), which makes a probability of a logit. Summed in f64; no overflow for any x.
pub fn sigmoid<T: Real>(x: T) -> T {
    let x = x.to_f64();
    let e = (-x.abs()).exp();
    let tail = e / (1.0 + e);
    T::from_f64(if x >= 0.0 { 1.0 - tail } else { tail })
}

/// Gradient of [`sigmoid`] by its input, for its result `y` and the gradient `dy` of it: dy * y * (1 - y).
pub fn sigmoid_backward<T: Real>(y: T, dy: T) -> T {
    T::from_f64(dy.to_f64() * y.to_f64() * (1.0 - y.to_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_finite_difference() {
        for x in [-3.0f64, 0.0, 0.7] {
            let difference = (sigmoid(x + 1e-6) - sigmoid(x - 1e-6)) / 2e-6;
            assert!((sigmoid_backward(sigmoid(x), 2.0) - 2.0 * difference).abs() < 1e-9);
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(sigmoid(0.0f32), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert!((f64::from(sigmoid(1.0f32)) - 0.731_058_578_630_004_9).abs() < 1e-7);
        assert!((sigmoid(-3.0f32) + sigmoid(3.0) - 1.0).abs() < 1e-7);
    }
}
