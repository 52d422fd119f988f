//! Convolutions against plain loops, and the rounding error of each transform.

use super::batch::Batch;
use super::{Operands, Output, Winograd, pack};
use crate::network::cpu::direct::Direct;
use crate::network::cpu::epilogue::Epilogue;
use crate::network::cpu::kernels::{Instructions, Kernels};
use crate::network::cpu::layout::{Blocks, Slots};
use crate::network::cpu::simd::LANES;
use crate::network::reference;
use crate::network::region::Tiling;
use ndarray::{Array4, Array5, ArrayView4};
use proptest::prelude::*;

/// A convolution with random values.
#[derive(Clone, Debug)]
struct Problem {
    shape: [usize; 3],
    kernel: [usize; 3],
    channels: [usize; 2],
    prelu: bool,
    residual: bool,
    seed: u64,
}

/// Uniform in [-1, 1).
fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// (C, D, H, W) in blocks of 16 channels.
fn blocked(x: ArrayView4<f32>, slots: &Slots) -> (Vec<f32>, [usize; 3]) {
    let (_, d, h, w) = x.dim();
    let mut values = vec![0.0; slots.blocks() * d * h * w * LANES];
    for ((c, z, y, u), &value) in x.indexed_iter() {
        values[(((c / LANES * d + z) * h + y) * w + u) * LANES + c % LANES] = value;
    }
    (values, [d, h, w])
}

fn places(values: &mut [f32], shape: [usize; 3]) -> Blocks {
    let places = values.chunks_exact_mut(Blocks::block_len(shape)).map(<[f32]>::as_mut_ptr).collect();
    Blocks { shape, planes: shape[0], places }
}

struct Values {
    x: Array4<f32>,
    weights: Array5<f32>,
    bias: Vec<f32>,
    slopes: Vec<f32>,
    residual: Array4<f32>,
}

impl Problem {
    fn values(&self) -> Values {
        let ([d, h, w], [kd, kh, kw], [c, n]) = (self.shape, self.kernel, self.channels);
        let array = |seed, channels| Array4::from_shape_vec((channels, d, h, w), random(seed, channels * d * h * w)).unwrap();
        let weights = random(self.seed + 1, kd * kh * kw * c * n);
        Values {
            x: array(self.seed + 2, c),
            weights: Array5::from_shape_vec((kd, kh, kw, c, n), weights).unwrap(),
            bias: random(self.seed + 3, n),
            slopes: if self.prelu { random(self.seed + 4, n) } else { vec![0.0; n] },
            residual: array(self.seed + 5, n),
        }
    }

    fn reference(&self) -> Array4<f32> {
        let v = self.values();
        let y = reference::prelu(reference::conv(v.x.view(), v.weights.view(), &v.bias), &v.slopes);
        if self.residual { reference::add(y, v.residual.view()) } else { y }
    }

    /// By Winograd's transforms with `points`, or directly where there are none.
    fn run(&self, instructions: Instructions, points: Option<[usize; 3]>) -> Array4<f32> {
        let kernels = Kernels::of(instructions).unwrap();
        let v = self.values();
        let [input, output] = self.channels.map(|channels| Slots::new(&[channels]));
        let epilogue = Epilogue { bias: output.scatter(&v.bias), slopes: output.scatter(&v.slopes) };
        let ((mut x, shape), (mut residual, _)) = (blocked(v.x.view(), &input), blocked(v.residual.view(), &output));
        let mut y = vec![f32::NAN; residual.len()];
        let (from, to) = (places(&mut x, shape), places(&mut y, shape));
        let added = places(&mut residual, shape);
        let added = self.residual.then_some(&added);
        let values = v.weights.as_slice().unwrap();
        match points {
            Some(points) => {
                let (channels, kernel) = (self.channels, self.kernel);
                let layer = pack::Layer { kernel, points, values, channels, input: &input, output: &output };
                let layer = Winograd::new(kernels, 2, &layer, epilogue).unwrap();
                let size = [1, 2, 3];
                let mut scratch = vec![f32::NAN; layer.lengths(size).all()];
                let zeros = vec![0.0; (shape[2] + 8) * LANES];
                let operands = Operands { input: &from, residual: added, output: Output::Store(&to), zeros: &zeros };
                for batch in Batch::list(&layer.tiling(shape), |_| true, size) {
                    // SAFETY: the buffers were made for the layer; the scratch memory is as long as the largest batch asks for.
                    unsafe { layer.batch(kernels, &operands, &batch, &mut scratch) };
                }
            }
            None => {
                let layer = Direct::new(kernels, self.kernel, values, &input, &output, self.channels, epilogue).unwrap();
                let mut scratch = vec![f32::NAN; layer.scratch_len(shape)];
                let tiling = Direct::tiling(shape);
                for tile in 0..tiling.len() {
                    // SAFETY: the buffers were made for the layer.
                    unsafe { layer.row(kernels, &from, added, &to, &tiling.voxels(tile), &mut scratch) };
                }
            }
        }
        let [d, h, w] = shape;
        Array4::from_shape_fn((self.channels[1], d, h, w), |(c, z, u, t)| {
            y[(((c / LANES * d + z) * h + u) * w + t) * LANES + c % LANES]
        })
    }

    /// Largest error, as a part of the largest value.
    fn error(&self, instructions: Instructions, points: Option<[usize; 3]>) -> f64 {
        let (y, expected) = (self.run(instructions, points), self.reference());
        let largest = expected.iter().fold(1e-3f64, |a, &b| a.max(f64::from(b.abs())));
        let error = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).abs();
        // A NaN is no error that `max` would see.
        assert!(y.iter().all(|value| value.is_finite()), "a value was not written");
        y.iter().zip(&expected).map(error).fold(0.0, f64::max) / largest
    }
}

/// Of one convolution with F(4, 5) along all axes; F(2, 5) and direct sums are more exact.
const TOLERANCE: f64 = 1e-4;

fn problems() -> impl Strategy<Value = (Problem, usize, usize)> {
    let side = 1usize..11;
    let channels = prop_oneof![1usize..20, Just(32), Just(33)];
    (
        (side.clone(), side.clone(), side),
        (channels.clone(), channels),
        prop::sample::select(vec![[5, 5, 5], [1, 5, 5], [5, 1, 5], [5, 5, 1], [3, 3, 3], [7, 7, 7], [1, 3, 7], [1, 1, 1]]),
        (any::<bool>(), any::<bool>(), 0u64..1000),
        (0usize..3, 0usize..2),
    )
        .prop_map(|((d, h, w), (c, n), kernel, (prelu, residual, seed), (instructions, points))| {
            (Problem { shape: [d, h, w], kernel, channels: [c, n], prelu, residual, seed }, instructions, points)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_convolution_is_that_of_plain_loops((problem, instructions, points) in problems()) {
        let instructions = Instructions::ALL[instructions];
        if instructions.available() {
            let transformable = problem.kernel.iter().all(|k| [1, 5].contains(k)) && problem.kernel != [1; 3];
            let points = transformable.then(|| problem.kernel.map(|k| if k == 1 { 1 } else { [6, 8][points] }));
            let error = problem.error(instructions, points);
            prop_assert!(error <= TOLERANCE, "{error:e} with {points:?}");
            prop_assert!(problem.error(instructions, None) <= 1e-5);
        }
    }

    #[test]
    fn batches_hold_every_wanted_tile_once(
        (d, h, w) in (1usize..5, 1usize..6, 1usize..9),
        size in (1usize..3, 1usize..4, 1usize..5),
        seed in 0u64..1000,
    ) {
        let tiling = Tiling { shape: [d, h, w], tile: [1; 3] };
        let wanted: Vec<bool> = random(seed, tiling.len()).iter().map(|v| *v > 0.0).collect();
        let size = [size.0, size.1, size.2];
        let mut seen = vec![0; tiling.len()];
        for batch in Batch::list(&tiling, |tile| wanted[tile], size) {
            prop_assert!((0..3).all(|axis| batch.size[axis] <= size[axis]));
            prop_assert_eq!(batch.tiles, batch.runs.iter().map(|run| run.len).sum::<usize>());
            for run in &batch.runs {
                for n in 0..run.len {
                    let [d, h, w] = [0, 1, 2].map(|axis| batch.origin[axis] + run.position[axis]);
                    prop_assert!(run.position[2] + n < batch.size[2]);
                    seen[tiling.index([d, h, w + n])] += 1;
                }
            }
        }
        prop_assert!(seen.iter().zip(&wanted).all(|(&n, &wanted)| n == usize::from(wanted)));
    }
}

/// The root of the mean squared error against sums in float64, as a part of the root of the mean square: of direct sums, F(2, 5) and F(4, 5).
#[test]
fn rounding_errors_are_what_the_documentation_says() {
    let problem = Problem { shape: [12; 3], kernel: [5; 3], channels: [32, 16], prelu: false, residual: false, seed: 5 };
    let expected = {
        let v = problem.values();
        reference::prelu(reference::conv(v.x.view(), v.weights.view(), &v.bias), &[0.0; 16])
    };
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let cases = [("direct", None, 2e-6), ("F(2, 5)", Some([6; 3]), 1e-5), ("F(4, 5)", Some([8; 3]), 2e-5)];
    let mut errors = Vec::new();
    for (name, points, most) in cases {
        let y = problem.run(Instructions::best(), points);
        let difference = norm(&mut y.iter().zip(&expected).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let error = difference / norm(&mut expected.iter().map(|&v| f64::from(v)));
        println!("{name}: {error:.1e}");
        assert!(error < most, "{name}: {error:e}");
        errors.push(error);
    }
    assert!(errors[0] < errors[1] && errors[1] < errors[2], "{errors:?}");
}
