//! Random numbers that need no state of their own beyond a key: what is drawn for an epoch, a sample or a voxel depends on its number alone,
//! so a training that was stopped goes on as if it had not been.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: 64 bits that depend on each bit of z.
pub fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Random {
        Random(mix(seed.wrapping_add(STEP)))
    }

    /// Another stream, for the part `number` of what this one is for.
    pub fn derive(self, number: u64) -> Random {
        Random(mix(self.0 ^ mix(number.wrapping_mul(STEP).wrapping_add(STEP))))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0 .. `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Normal with mean 0 and variance 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(7);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let uniform: Vec<f64> = (0..100_000).map(|_| random.uniform()).collect();
        assert!((mean(&uniform) - 0.5).abs() < 0.005 && uniform.iter().all(|u| (0.0..1.0).contains(u)));
        let normal: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let squares: Vec<f64> = normal.iter().map(|x| x * x).collect();
        assert!(mean(&normal).abs() < 0.02 && (mean(&squares) - 1.0).abs() < 0.03);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |mut random: Random| random.bits();
        let root = Random::new(1);
        assert_eq!(first(root.derive(3)), first(Random::new(1).derive(3)));
        assert_ne!(first(root.derive(3)), first(root.derive(4)));
        assert_ne!(first(root.derive(3)), first(Random::new(2).derive(3)));
        assert_ne!(first(root.derive(3).derive(0)), first(root.derive(0).derive(3)));
    }

    #[test]
    fn numbers_below_a_count_are_all_met() {
        let mut random = Random::new(1);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[random.below(5)] = true);
        assert_eq!(seen, [true; 5]);
    }
}
