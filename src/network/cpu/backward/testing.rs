//! What the tests of several operations share.

use crate::random::keyed::Random;

/// Uniform in [-1, 1).
pub fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.range(-1.0, 1.0) as f32).collect()
}

/// Fails where a value is farther from the expected one than `tolerance` times the largest of those (at least 1e-6).
#[track_caller]
pub fn assert_close(values: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(values.len(), expected.len());
    let largest = expected.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
    for (n, (value, expected)) in values.iter().zip(expected).enumerate() {
        assert!((value - expected).abs() <= tolerance * largest, "value {n}: {value} for {expected}, of at most {largest}");
    }
}
