/// The logistic function 1 / (1 + e^-x), which makes a probability of a logit. Summed in f64; no overflow for any x.
pub fn sigmoid(x: f32) -> f32 {
    let e = (-f64::from(x.abs())).exp();
    let tail = e / (1.0 + e);
    (if x >= 0.0 { 1.0 - tail } else { tail }) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert!((f64::from(sigmoid(1.0)) - 0.731_058_578_630_004_9).abs() < 1e-7);
        assert!((sigmoid(-3.0) + sigmoid(3.0) - 1.0).abs() < 1e-7);
    }
}
