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
pub(crate) fn climb(
    start: &Summit,
    lever: &Lever,
    limits: Limits,
    value_and_gradient: impl Fn(&Pose) -> (f64, Step),
) -> Summit {
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
