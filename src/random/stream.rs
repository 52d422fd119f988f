//! Random numbers: everything that chance decides in a phantom comes from its seed through here.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A stream of random numbers: xoshiro256++ (Blackman and Vigna 2021).
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream number `stream` of a seed. Streams of one seed have nothing to do with each other, so that one part of a phantom may draw more
    /// numbers without changing the others.
    pub fn new(seed: u64, stream: u64) -> Self {
        // `seed_from_u64` hashes what it is given (SplitMix64); the odd factor keeps the streams of neighbouring seeds apart.
        Random(Xoshiro256PlusPlus::seed_from_u64(
            seed.rotate_left(32) ^ stream.wrapping_add(1).wrapping_mul(0xD134_2543_DE82_EF95),
        ))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform between two values.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in the logarithm between two positive values.
    pub fn log_uniform(&mut self, low: f32, high: f32) -> f32 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// -1 or 1.
    pub fn side(&mut self) -> f32 {
        if self.chance(0.5) { -1.0 } else { 1.0 }
    }

    /// Two independent normal values of mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normals(&mut self) -> [f32; 2] {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * self.unit()).sin_cos();
        [radius * cosine, radius * sine]
    }

    /// Normal of a mean and a deviation, cut at 2.5 deviations: people, not monsters.
    pub fn normal(&mut self, mean: f32, deviation: f32) -> f32 {
        mean + deviation * self.normals()[0].clamp(-2.5, 2.5)
    }

    /// Number of one of `weights`, each as likely as its weight.
    pub fn pick(&mut self, weights: &[f32]) -> usize {
        let mut at = self.unit() * weights.iter().sum::<f32>();
        for (number, weight) in weights.iter().enumerate() {
            at -= weight;
            if at < 0.0 {
                return number;
            }
        }
        weights.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_values_have_their_mean_and_deviation() {
        let mut random = Random::new(1, 0);
        let values: Vec<f32> = (0..50_000).flat_map(|_| random.normals()).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.02, "{mean} {deviation}");
    }

    #[test]
    fn seeds_and_streams_differ_and_each_repeats() {
        let first = |seed, stream| Random::new(seed, stream).bits();
        let all = [first(0, 0), first(0, 1), first(1, 0), first(1, 1), first(2, 0)];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one));
        }
        assert_eq!(first(7, 3), first(7, 3));
    }

    #[test]
    fn picks_are_as_likely_as_their_weights() {
        let mut random = Random::new(3, 0);
        let mut counts = [0; 3];
        (0..40_000).for_each(|_| counts[random.pick(&[1.0, 0.0, 3.0])] += 1);
        assert_eq!(counts[1], 0);
        assert!((counts[0] as f32 / 10_000.0 - 1.0).abs() < 0.05, "{counts:?}");
    }
}
