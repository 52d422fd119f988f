//! Climbing to the nearest maximum of a smooth function of the pose.

use super::pose::{Lever, Pose, Step};

/// When to stop, and how far a step may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest step in millimetres; the first step is half as long.
    pub(crate) longest: f64,
    /// The climb ends where the next step would be shorter than this, in millimetres.
    pub(crate) shortest: f64,
    /// Most evaluations of the function.
    pub(crate) evaluations: usize,
}

/// A pose, the function's value there, and what a climb has learnt of the function's shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summit {
    pub(crate) pose: Pose,
    pub(crate) value: f64,
    /// Approximate inverse of the negated Hessian, in [`Step`] coordinates; `None` where nothing is known.
    pub(crate) curvature: Option<[Step; 6]>,
}

/// Climbs from `start` by the quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno (Nocedal and Wright,
/// Numerical Optimization, 2006, algorithm 6.1) with a backtracking line search, beginning with the curvature that
/// `start` brings. Steps are taken in the tangent space of the current pose; the curvature is carried from one pose to
/// the next unchanged, which for the small rotations between two steps loses nothing that the next update doesn't
/// learn again.
pub(crate) fn climb(start: &Summit, lever: &Lever, limits: Limits, value_and_gradient: impl Fn(&Pose) -> (f64, Step)) -> Summit {
    /// Share of the gain promised by the gradient that a step must bring.
    const SUFFICIENT: f64 = 1e-4;

    let mut pose = start.pose;
    let (mut value, mut gradient) = value_and_gradient(&pose);
    let mut evaluations = 1;
    let mut learnt = start.curvature;
    while evaluations < limits.evaluations {
        let steepness = norm(&gradient);
        if steepness < 1e-12 {
            break;
        }
        let curvature = learnt.unwrap_or_else(|| scaled_identity(0.5 * limits.longest / steepness));
        let mut step: Step = std::array::from_fn(|r| dot(&curvature[r], &gradient));
        let length = norm(&step);
        if length < limits.shortest {
            break;
        }
        if length > limits.longest {
            step = step.map(|s| s * limits.longest / length);
        }
        let mut slope = dot(&step, &gradient);
        let accepted = loop {
            let there = pose.moved(&step, lever);
            let (value_there, gradient_there) = value_and_gradient(&there);
            evaluations += 1;
            if value_there >= value + SUFFICIENT * slope {
                break Some((there, value_there, gradient_there));
            }
            // The maximum of the parabola through value, slope and the value there, kept within a tenth to a half.
            let shrink = (0.5 * slope / (slope - (value_there - value))).clamp(0.1, 0.5);
            step = step.map(|s| s * shrink);
            slope *= shrink;
            if norm(&step) < limits.shortest || evaluations >= limits.evaluations {
                break None;
            }
        };
        match accepted {
            Some((there, value_there, gradient_there)) => {
                let change: Step = std::array::from_fn(|n| gradient[n] - gradient_there[n]);
                learnt = Some(updated(learnt, curvature, &step, &change));
                (pose, value, gradient) = (there, value_there, gradient_there);
            }
            // The learnt curvature is worn out: once more straight uphill; where that fails too, this is the top.
            None if learnt.is_some() => learnt = None,
            None => break,
        }
    }
    Summit { pose, value, curvature: learnt }
}

fn scaled_identity(scale: f64) -> [Step; 6] {
    std::array::from_fn(|r| std::array::from_fn(|c| if r == c { scale } else { 0.0 }))
}

/// The BFGS update of the inverse of the negated Hessian: `change` is the loss of gradient over `step`. The first
/// update, from a guess that knows no scale, takes the scale from this step.
fn updated(learnt: Option<[Step; 6]>, guess: [Step; 6], step: &Step, change: &Step) -> [Step; 6] {
    let product = dot(step, change);
    // Where the function curves upward the update would lose the positive definite form.
    if product <= 1e-6 * norm(step) * norm(change) {
        return guess;
    }
    let mut inverse = learnt.unwrap_or_else(|| scaled_identity(product / dot(change, change)));
    let turned: Step = std::array::from_fn(|r| dot(&inverse[r], change));
    let factor = (1.0 + dot(change, &turned) / product) / product;
    for r in 0..6 {
        for c in 0..6 {
            inverse[r][c] += factor * step[r] * step[c] - (step[r] * turned[c] + turned[r] * step[c]) / product;
        }
    }
    inverse
}

fn dot(a: &Step, b: &Step) -> f64 {
    (0..6).map(|n| a[n] * b[n]).sum()
}

fn norm(a: &Step) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVER: Lever = [50.0, 40.0, 45.0];
    const LIMITS: Limits = Limits { longest: 5.0, shortest: 1e-6, evaluations: 200 };

    /// A concave function of the six components of the pose's place and turn, with its top at
    /// `top`; its derivative is taken by differences.
    fn hill(top: Pose) -> impl Fn(&Pose) -> (f64, Step) {
        let value = move |pose: &Pose| {
            let points = [[60.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 45.0], [-10.0, -20.0, -30.0]];
            let (a, b) = (pose.affine(), top.affine());
            let apart = points.iter().map(|&p| (0..3).map(|n| (a.apply(p)[n] - b.apply(p)[n]).powi(2)).sum::<f64>());
            -1e-3 * apart.sum::<f64>()
        };
        move |pose| {
            let slope = |n: usize| {
                let mut step = [0.0; 6];
                step[n] = 1e-4;
                let ahead = value(&pose.moved(&step, &LEVER));
                step[n] = -1e-4;
                (ahead - value(&pose.moved(&step, &LEVER))) / 2e-4
            };
            (value(pose), std::array::from_fn(slope))
        }
    }

    fn start() -> Summit {
        Summit { pose: Pose::new([0.0; 3], [1.0, 2.0, 3.0], [0.0; 3]), value: f64::NEG_INFINITY, curvature: None }
    }

    #[test]
    fn finds_the_top_of_a_hill_from_far_away() {
        let top = Pose::new([0.0; 3], [20.0, -30.0, 10.0], [0.4, -0.3, 0.5]);
        let summit = climb(&start(), &LEVER, LIMITS, hill(top));
        assert!(summit.pose.distance(&top, &LEVER) < 1e-3, "{summit:?}");
        assert_eq!(summit.value, hill(top)(&summit.pose).0);
    }

    #[test]
    fn what_was_learnt_shortens_the_next_climb() {
        let count = |start: &Summit, top: Pose| {
            let calls = std::cell::Cell::new(0);
            let function = hill(top);
            let summit = climb(start, &LEVER, LIMITS, |pose| {
                calls.set(calls.get() + 1);
                function(pose)
            });
            (summit, calls.get())
        };
        let (summit, first) = count(&start(), Pose::new([0.0; 3], [3.0, 1.0, 2.0], [0.05, 0.02, -0.04]));
        let next = Pose::new([0.0; 3], [3.5, 1.5, 2.0], [0.06, 0.02, -0.05]);
        let (_, informed) = count(&summit, next);
        let (_, ignorant) = count(&Summit { curvature: None, ..summit }, next);
        assert!(informed < ignorant && informed < first, "{first}, {informed}, {ignorant}");
    }

    #[test]
    fn stays_within_its_evaluations_and_on_level_ground() {
        let calls = std::cell::Cell::new(0);
        let function = hill(Pose::new([0.0; 3], [50.0, 50.0, 50.0], [0.0; 3]));
        climb(&start(), &LEVER, Limits { evaluations: 5, ..LIMITS }, |pose| {
            calls.set(calls.get() + 1);
            function(pose)
        });
        assert!((2..=5).contains(&calls.get()), "{}", calls.get());
        let summit = climb(&start(), &LEVER, LIMITS, |_| (1.0, [0.0; 6]));
        assert_eq!((summit.pose, summit.value), (start().pose, 1.0));
        // A slope that isn't there: every step is refused, and the climb ends where it began.
        let summit = climb(&start(), &LEVER, LIMITS, |_| (1.0, [1.0; 6]));
        assert_eq!(summit.pose, start().pose);
    }
}
