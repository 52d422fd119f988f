//! Adam or Muon with clipped gradients, and the moving average of the weights.

use super::config::Optimiser;
use super::muon;
use crate::network::cpu::backward::parameters::{Learning, Matrix, Parameters};
use ndarray::ArrayView2;
use std::ops::Range;

/// Weights in training with what the optimiser remembers of them.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The weights.
    pub weights: Parameters,
    /// Their moving average: what is kept of a training.
    pub average: Parameters,
    /// Moving average of the gradient.
    pub mean: Parameters,
    /// Moving average of its square; 0 where Muon is the optimiser.
    pub square: Parameters,
    /// Number of updates so far.
    pub updates: usize,
}

impl State {
    /// The state before the first update.
    pub fn new(weights: Parameters) -> State {
        let mut zeros = weights.clone();
        zeros.values_mut().fill(0.0);
        State { average: weights.clone(), mean: zeros.clone(), square: zeros, weights, updates: 0 }
    }

    /// One update with a gradient that is shortened to the norm `clip` first: by Muon where it is asked for and a tensor is a kernel that it takes, else by
    /// Adam. The moving average's decay is `min(average, (1 + n) / (10 + n))` after n updates, so that the beginning is forgotten. Gives the gradient's norm.
    pub fn update(&mut self, gradient: &Parameters, rate: f64, learning: &[Learning], options: &Optimiser) -> f64 {
        let norm = gradient.values().iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            // A gradient that is no number teaches nothing; the caller sees it by the norm.
            return norm;
        }
        let shorten = (options.clip / norm.max(f64::MIN_POSITIVE)).min(1.0);
        self.updates += 1;
        for Learning { values, rate: factor, matrix } in learning {
            match matrix {
                Some(matrix) if options.muon > 0.0 => self.muon(gradient, shorten, rate, values.clone(), matrix, options),
                _ => self.adam(gradient, shorten, rate * f64::from(*factor), values.clone(), options),
            }
        }
        let decay = options.average.min((1 + self.updates) as f64 / (10 + self.updates) as f64);
        for (average, &weight) in self.average.values_mut().iter_mut().zip(self.weights.values()) {
            *average = (decay * f64::from(*average) + (1.0 - decay) * f64::from(weight)) as f32;
        }
        norm
    }

    /// A step of some values by Adam (Kingma and Ba 2015, algorithm 1), with the gradient times `shorten`.
    fn adam(&mut self, gradient: &Parameters, shorten: f64, rate: f64, values: Range<usize>, options: &Optimiser) {
        let correction = [options.beta1, options.beta2].map(|beta| 1.0 - beta.powi(self.updates.min(i32::MAX as usize) as i32));
        for n in values {
            let (weight, mean, square) =
                (&mut self.weights.values_mut()[n], &mut self.mean.values_mut()[n], &mut self.square.values_mut()[n]);
            let g = f64::from(gradient.values()[n]) * shorten;
            let m = options.beta1 * f64::from(*mean) + (1.0 - options.beta1) * g;
            let v = options.beta2 * f64::from(*square) + (1.0 - options.beta2) * g * g;
            let step = rate * (m / correction[0]) / ((v / correction[1]).sqrt() + options.epsilon);
            (*mean, *square) = (m as f32, v as f32);
            *weight = (f64::from(*weight) - step) as f32;
        }
    }

    /// A step of a kernel by Muon (Jordan et al. 2024) with Nesterov's momentum, with the gradient times `shorten`.
    fn muon(
        &mut self,
        gradient: &Parameters,
        shorten: f64,
        rate: f64,
        values: Range<usize>,
        matrix: &Matrix,
        options: &Optimiser,
    ) {
        let follow =
            |mean: f32, g: f32| (options.momentum * f64::from(mean) + (1.0 - options.momentum) * f64::from(g) * shorten) as f32;
        let gradient = &gradient.values()[values.clone()];
        let mean = &mut self.mean.values_mut()[values.clone()];
        mean.iter_mut().zip(gradient).for_each(|(mean, &g)| *mean = follow(*mean, g));
        let ahead: Vec<f32> = mean.iter().zip(gradient).map(|(&mean, &g)| follow(mean, g)).collect();
        let ahead =
            ArrayView2::from_shape((values.len() / matrix.columns, matrix.columns), &ahead).expect("a kernel has whole rows");
        let step = (rate * options.muon * matrix.norm) as f32;
        let weights = self.weights.values_mut()[values].iter_mut();
        weights.zip(&muon::orthogonal(ahead)).for_each(|(weight, direction)| *weight -= step * direction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Description;

    fn state() -> (State, Parameters, Vec<Learning>) {
        let description = Description {
            widths: vec![1, 1],
            convs: vec![1, 1],
            up_widths: vec![2],
            up_convs: vec![1],
            ..Description::deepbleed()
        };
        let gradient = Parameters::zeros(&description);
        let learning = Parameters::learning(&description).into_iter().map(|tensor| Learning { rate: 1.0, ..tensor });
        (State::new(Parameters::initial(&description, 1).unwrap()), gradient, learning.collect())
    }

    #[test]
    fn the_first_step_is_the_rate_against_the_gradients_sign() {
        let (mut state, mut gradient, learning) = state();
        let before = state.weights.clone();
        gradient.values_mut()[0] = 0.3;
        gradient.values_mut()[1] = -0.002;
        let norm = state.update(&gradient, 0.01, &learning, &Optimiser::default());
        assert!((norm - (0.09f64 + 4e-6).sqrt()).abs() < 1e-7);
        let moved: Vec<f32> = state.weights.values().iter().zip(before.values()).map(|(after, before)| after - before).collect();
        assert!((moved[0] + 0.01).abs() < 1e-6 && (moved[1] - 0.01).abs() < 1e-6);
        assert!(moved[2..].iter().all(|&m| m == 0.0));
    }

    #[test]
    fn a_tensor_moves_by_its_own_rate() {
        let (mut state, mut gradient, mut learning) = state();
        let before = state.weights.clone();
        gradient.values_mut().fill(0.1);
        learning[1].rate = 0.25;
        state.update(&gradient, 0.01, &learning, &Optimiser::default());
        let moved = |n: usize| before.values()[n] - state.weights.values()[n];
        let [first, second] = [0, 1].map(|tensor: usize| learning[tensor].values.start);
        assert!((moved(first) - 0.01).abs() < 1e-6 && (moved(second) - 0.0025).abs() < 1e-6);
    }

    #[test]
    fn a_muon_step_is_as_long_in_every_direction() {
        let (mut state, mut gradient, learning) = state();
        let before = state.weights.clone();
        let mut random = crate::random::keyed::Random::new(5);
        gradient.values_mut().iter_mut().for_each(|g| *g = random.normal() as f32);
        let options = Optimiser { muon: 10.0, ..Optimiser::default() };
        state.update(&gradient, 0.01, &learning, &options);
        let mut kernels = 0;
        for Learning { values, matrix, .. } in &learning {
            let moved: Vec<f32> = values.clone().map(|n| before.values()[n] - state.weights.values()[n]).collect();
            let Some(Matrix { columns, norm }) = matrix else {
                // The others move by Adam.
                assert!(moved.iter().all(|m| (m.abs() - 0.01).abs() < 1e-6), "{moved:?}");
                continue;
            };
            kernels += 1;
            let moved = ArrayView2::from_shape((moved.len() / columns, *columns), &moved).unwrap();
            let gram = moved.t().dot(&moved);
            for ((row, column), &value) in gram.indexed_iter() {
                let value = f64::from(value) / (0.1 * norm).powi(2);
                assert!(if row == column { (0.3..1.7).contains(&value) } else { value.abs() < 0.4 }, "{value}");
            }
            let along: f32 = moved.iter().zip(&gradient.values()[values.clone()]).map(|(m, g)| m * g).sum();
            assert!(along > 0.0);
            assert!(state.square.values()[values.clone()].iter().all(|&v| v == 0.0));
        }
        assert_eq!(kernels, 4);
    }

    #[test]
    fn long_gradients_are_shortened() {
        let (mut state, mut gradient, learning) = state();
        gradient.values_mut()[0] = 30.0;
        gradient.values_mut()[1] = 40.0;
        let options = Optimiser { clip: 5.0, ..Optimiser::default() };
        assert_eq!(state.update(&gradient, 0.01, &learning, &options), 50.0);
        assert!((state.mean.values()[0] - 0.3).abs() < 1e-6 && (state.mean.values()[1] - 0.4).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_no_number_changes_nothing() {
        let (mut state, mut gradient, learning) = state();
        let before = state.clone();
        gradient.values_mut()[3] = f32::NAN;
        assert!(state.update(&gradient, 0.01, &learning, &Optimiser::default()).is_nan());
        assert_eq!(state, before);
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        for muon in [0.0, 1.0] {
            let (mut state, mut gradient, learning) = state();
            for update in 0..2000 {
                let weights = state.weights.values().to_vec();
                gradient.values_mut().iter_mut().zip(weights).for_each(|(g, w)| *g = 2.0 * (w - 0.5));
                let rate = 0.02 * (1.0 - f64::from(update) / 2000.0);
                state.update(&gradient, rate, &learning, &Optimiser { muon, ..Optimiser::default() });
            }
            assert!(state.average.values().iter().all(|w| (w - 0.5).abs() < 0.01), "muon {muon}");
        }
    }
}
