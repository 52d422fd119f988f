//! Four classes of brightness: what the feature `prob_img` is the probability of.

use super::brain::Brain;
use rayon::prelude::*;

/// Classes: fluid, white matter, grey matter, and what is brighter.
const CLASSES: usize = 4;
/// Bins of the histogram in each HU.
const BINS_PER_HU: f32 = 10.0;
/// Bins from 0 to 100 HU.
const BINS: usize = 1001;
/// Steps of k-means, and those of expectation and maximisation after them.
const STEPS: [usize; 2] = [20, 6];
/// Variance of a class in HU^2, at least: one of few values must not become a spike.
const LEAST_VARIANCE: f64 = 1.0;

/// `prob_img`: the probability that a voxel is of the two brightest of four classes; 0 where v is 0.
///
/// The classes are normal distributions over the histogram of E's values above 0, in bins of 0.1 HU. k-means (20 steps from
/// the quantiles 1/8, 3/8, 5/8, 7/8) finds where they begin; 5 steps of expectation and maximisation follow, and a last
/// expectation. The original uses ANTs' Atropos ("KMeans[4]"); which form is taken makes no difference to the masks.
pub fn bright_probability(brain: &Brain, at: &[u32]) -> Vec<f32> {
    let table = table(&histogram(&brain.inner_values()));
    let probability = |&voxel: &u32| match brain.values()[voxel as usize] {
        0.0 => 0.0,
        hu => table[bin(hu)],
    };
    at.par_iter().map(probability).collect()
}

fn bin(hu: f32) -> usize {
    ((hu * BINS_PER_HU) as usize).min(BINS - 1)
}

fn histogram(values: &[f32]) -> [f64; BINS] {
    let mut counts = [0.0; BINS];
    values.iter().filter(|&&hu| hu > 0.0).for_each(|&hu| counts[bin(hu)] += 1.0);
    counts
}

/// HU in the middle of a bin.
fn centre(bin: usize) -> f64 {
    (bin as f64 + 0.5) / f64::from(BINS_PER_HU)
}

/// The probability in each bin.
fn table(counts: &[f64; BINS]) -> Vec<f32> {
    let total: f64 = counts.iter().sum();
    if total == 0.0 {
        return vec![0.0; BINS];
    }
    let mut means = quantiles(counts, total);
    for _ in 0..STEPS[0] {
        let classes = nearest(means);
        means = weighted_means(&classes, counts, means);
    }
    let mut model = Mixture::of(&nearest(means), counts, means);
    for _ in 1..STEPS[1] {
        let shares = model.shares();
        let means = weighted_means(&shares, counts, model.means);
        model = Mixture::of(&shares, counts, means);
    }
    // The two with the largest means; k-means and these steps rarely change their order, but may.
    let mut order: [usize; CLASSES] = std::array::from_fn(|class| class);
    order.sort_by(|&a, &b| model.means[a].total_cmp(&model.means[b]));
    model.shares().iter().map(|shares| (shares[order[CLASSES - 2]] + shares[order[CLASSES - 1]]) as f32).collect()
}

/// A share of each class in each bin.
type Shares = Vec<[f64; CLASSES]>;

fn quantiles(counts: &[f64; BINS], total: f64) -> [f64; CLASSES] {
    std::array::from_fn(|class| {
        let below = total * (2 * class + 1) as f64 / (2 * CLASSES) as f64;
        let mut sum = 0.0;
        let reached = |count: &f64| {
            sum += count;
            sum >= below
        };
        centre(counts.iter().position(reached).unwrap_or(BINS - 1))
    })
}

/// Each bin in the class of the nearest mean, of two as near in the lower one; the means rise.
fn nearest(means: [f64; CLASSES]) -> Shares {
    let class = |bin: usize| (1..CLASSES).filter(|&n| centre(bin) > (means[n - 1] + means[n]) / 2.0).count();
    let only = |class: usize| std::array::from_fn(|n| f64::from(u8::from(n == class)));
    (0..BINS).map(|bin| only(class(bin))).collect()
}

/// The mean of each class; the one it had where it is empty.
fn weighted_means(shares: &Shares, counts: &[f64; BINS], before: [f64; CLASSES]) -> [f64; CLASSES] {
    std::array::from_fn(|class| {
        let weight = |bin: usize| shares[bin][class] * counts[bin];
        let sum: f64 = (0..BINS).map(weight).sum();
        if sum > 1e-9 { (0..BINS).map(|bin| weight(bin) * centre(bin)).sum::<f64>() / sum } else { before[class] }
    })
}

/// Normal distributions.
struct Mixture {
    weights: [f64; CLASSES],
    means: [f64; CLASSES],
    variances: [f64; CLASSES],
}

impl Mixture {
    fn of(shares: &Shares, counts: &[f64; BINS], means: [f64; CLASSES]) -> Mixture {
        let sum = |class: usize, term: &dyn Fn(f64) -> f64| -> f64 {
            (0..BINS).map(|bin| shares[bin][class] * counts[bin] * term(centre(bin))).sum()
        };
        let weights: [f64; CLASSES] = std::array::from_fn(|class| sum(class, &|_| 1.0));
        let spread = |class: usize| sum(class, &|hu| (hu - means[class]).powi(2)) / weights[class].max(1e-9);
        let total: f64 = weights.iter().sum();
        Mixture {
            variances: std::array::from_fn(|class| spread(class).max(LEAST_VARIANCE)),
            weights: weights.map(|weight| weight / total),
            means,
        }
    }

    /// The probability of each class in each bin.
    fn shares(&self) -> Shares {
        let of_bin = |bin: usize| {
            let density = |class: usize| {
                let variance = self.variances[class];
                let distance = centre(bin) - self.means[class];
                self.weights[class] * (-0.5 * distance * distance / variance).exp() / variance.sqrt()
            };
            let densities: [f64; CLASSES] = std::array::from_fn(density);
            let sum: f64 = densities.iter().sum();
            densities.map(|density| density / sum.max(1e-300))
        };
        (0..BINS).map(of_bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::brain::testing::block;
    use super::*;

    #[test]
    fn of_four_values_the_two_brightest_are_told_from_the_others() {
        let hu = [8.0, 25.0, 36.0, 60.0];
        let brain = block([18, 18, 4], 1.0, 0, |[i, _, _]| if i < 2 { 0.0 } else { hu[(i - 2) / 4] });
        let found = bright_probability(&brain, brain.voxels());
        for (&voxel, &probability) in brain.voxels().iter().zip(&found) {
            let value = brain.values()[voxel as usize];
            if value > 30.0 {
                assert!(probability > 0.99, "{value}: {probability}");
            } else {
                assert!(probability < 0.01, "{value}: {probability}");
            }
        }
    }

    #[test]
    fn an_empty_brain_and_one_of_one_value_have_numbers() {
        for hu in [0.0, 30.0] {
            let brain = block([6, 6, 6], 1.0, 0, |_| hu);
            assert!(bright_probability(&brain, brain.voxels()).iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
