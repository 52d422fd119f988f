//! Adam with clipped gradients, and the moving average of the weights.

use super::config::Optimiser;
use super::parameters::Parameters;

/// Weights in training with what the optimiser remembers of them.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The weights.
    pub weights: Parameters,
    /// Their moving average: what is kept of a training.
    pub average: Parameters,
    /// Moving average of the gradient.
    pub mean: Parameters,
    /// Moving average of its square.
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

    /// One update by Adam (Kingma and Ba 2015, algorithm 1) with a gradient that is shortened to the norm `clip` first. The moving average's decay is
    /// `min(average, (1 + n) / (10 + n))` after n updates, so that the beginning is forgotten. Gives the gradient's norm.
    pub fn update(&mut self, gradient: &Parameters, rate: f64, rates: &Parameters, options: &Optimiser) -> f64 {
        let norm = gradient.values().iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            // A gradient that is no number teaches nothing; the caller sees it by the norm.
            return norm;
        }
        let shorten = (options.clip / norm.max(f64::MIN_POSITIVE)).min(1.0);
        self.updates += 1;
        let correction = [options.beta1, options.beta2].map(|beta| 1.0 - beta.powi(self.updates.min(i32::MAX as usize) as i32));
        let decay = options.average.min((1 + self.updates) as f64 / (10 + self.updates) as f64);
        let parts = self.weights.values_mut().iter_mut().zip(self.average.values_mut());
        let memory = self.mean.values_mut().iter_mut().zip(self.square.values_mut());
        let given = gradient.values().iter().zip(rates.values());
        for (((weight, average), (mean, square)), (&g, &factor)) in parts.zip(memory).zip(given) {
            let g = f64::from(g) * shorten;
            let m = options.beta1 * f64::from(*mean) + (1.0 - options.beta1) * g;
            let v = options.beta2 * f64::from(*square) + (1.0 - options.beta2) * g * g;
            let step = rate * f64::from(factor) * (m / correction[0]) / ((v / correction[1]).sqrt() + options.epsilon);
            (*mean, *square) = (m as f32, v as f32);
            *weight = (f64::from(*weight) - step) as f32;
            *average = (decay * f64::from(*average) + (1.0 - decay) * f64::from(*weight)) as f32;
        }
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Description;

    fn state() -> (State, Parameters, Parameters) {
        let description = Description {
            widths: vec![1, 1],
            convs: vec![1, 1],
            up_widths: vec![2],
            up_convs: vec![1],
            ..Description::deepbleed()
        };
        let gradient = Parameters::zeros(&description);
        let mut rates = gradient.clone();
        rates.values_mut().fill(1.0);
        (State::new(Parameters::initial(&description, 1).unwrap()), gradient, rates)
    }

    #[test]
    fn the_first_step_is_the_rate_against_the_gradients_sign() {
        let (mut state, mut gradient, rates) = state();
        let before = state.weights.clone();
        gradient.values_mut()[0] = 0.3;
        gradient.values_mut()[1] = -0.002;
        let norm = state.update(&gradient, 0.01, &rates, &Optimiser::default());
        assert!((norm - (0.09f64 + 4e-6).sqrt()).abs() < 1e-7);
        let moved: Vec<f32> = state.weights.values().iter().zip(before.values()).map(|(after, before)| after - before).collect();
        assert!((moved[0] + 0.01).abs() < 1e-6 && (moved[1] - 0.01).abs() < 1e-6);
        assert!(moved[2..].iter().all(|&m| m == 0.0));
    }

    #[test]
    fn a_weight_moves_by_its_own_rate() {
        let (mut state, mut gradient, mut rates) = state();
        let before = state.weights.clone();
        gradient.values_mut().fill(0.1);
        rates.values_mut()[1] = 0.25;
        state.update(&gradient, 0.01, &rates, &Optimiser::default());
        let moved = |n: usize| before.values()[n] - state.weights.values()[n];
        assert!((moved(0) - 0.01).abs() < 1e-6 && (moved(1) - 0.0025).abs() < 1e-6);
    }

    #[test]
    fn long_gradients_are_shortened() {
        let (mut state, mut gradient, rates) = state();
        gradient.values_mut()[0] = 30.0;
        gradient.values_mut()[1] = 40.0;
        let options = Optimiser { clip: 5.0, ..Optimiser::default() };
        assert_eq!(state.update(&gradient, 0.01, &rates, &options), 50.0);
        assert!((state.mean.values()[0] - 0.3).abs() < 1e-6 && (state.mean.values()[1] - 0.4).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_no_number_changes_nothing() {
        let (mut state, mut gradient, rates) = state();
        let before = state.clone();
        gradient.values_mut()[3] = f32::NAN;
        assert!(state.update(&gradient, 0.01, &rates, &Optimiser::default()).is_nan());
        assert_eq!(state, before);
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let (mut state, mut gradient, rates) = state();
        for _ in 0..2000 {
            let weights = state.weights.values().to_vec();
            gradient.values_mut().iter_mut().zip(weights).for_each(|(g, w)| *g = 2.0 * (w - 0.5));
            state.update(&gradient, 0.01, &rates, &Optimiser::default());
        }
        assert!(state.average.values().iter().all(|w| (w - 0.5).abs() < 0.01));
    }
}
