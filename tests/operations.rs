//! Every operation of the network against the plain loops of `reference`: one suite, for the CPU's layers by each set
//! of instructions that the processor has, and in builds with the feature `emulator` for the CUDA kernels in both
//! grades, on the emulated device and on a GPU where there is one.

#[cfg(feature = "emulator")]
mod support;

use ichor::network::cpu::Instructions;
use ichor::network::problem::{Backend, Operation, Output, Problem, Sizes, UNTOUCHED, Way};
use ichor::network::{Description, Plan};
use ndarray::Array4;
use proptest::prelude::*;
use std::ops::Range;

/// Of the largest value: sums in f32 of at most a few thousand products.
const TOLERANCE: f32 = 1e-5;
/// Likewise, by Winograd's transforms: F(4, 5) along all axes; F(2, 5) is more exact.
const TRANSFORMS: f32 = 1e-4;
/// Likewise, of the input layer on the CPU, which has transforms along two axes.
const TWO_TRANSFORMS: f32 = 2e-5;
/// Likewise, in the fast grade: inputs and weights are exact in f16 here, so only the result is rounded, by at most
/// 2^-11 of itself.
#[cfg(feature = "emulator")]
const FAST: f32 = 6e-4;

fn tolerance(problem: &Problem, backend: &Backend, way: Way) -> f32 {
    match (backend, way, &problem.operation) {
        (Backend::Cpu(_), Way::Transforms { .. }, _) => TRANSFORMS,
        (Backend::Cpu(_), _, Operation::Input(_)) => TWO_TRANSFORMS,
        #[cfg(feature = "emulator")]
        (Backend::Cuda(_, ichor::network::cuda::Grade::Fast), _, Operation::Head { .. }) => TOLERANCE,
        #[cfg(feature = "emulator")]
        (Backend::Cuda(_, ichor::network::cuda::Grade::Fast), ..) => FAST,
        _ => TOLERANCE,
    }
}

fn assert_near(actual: &Array4<f32>, expected: &Array4<f32>, tolerance: f32, what: &str) {
    assert_eq!(actual.dim(), expected.dim(), "{what}");
    let largest = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
    for ((place, actual), expected) in actual.indexed_iter().zip(expected) {
        // A NaN is near nothing.
        let near = (actual - expected).abs() <= tolerance * largest;
        assert!(near, "{what}: {actual} instead of {expected} at {place:?}, the largest is {largest}");
    }
}

/// What is rounded before it is computed in f16, so that the result alone is.
fn exact_in(problem: &Problem, backend: &Backend) -> Problem {
    match backend {
        #[cfg(feature = "emulator")]
        Backend::Cuda(_, ichor::network::cuda::Grade::Fast) => problem.rounded(),
        _ => problem.clone(),
    }
}

/// Holds what a back end computes to the plain loops: values, zeros in the places without a channel, nothing written
/// behind the output.
fn computed(problem: &Problem, backend: &mut Backend, way: Way, expected: &Array4<f32>) -> Output {
    let what = format!("{problem:?} by {backend}, {way:?}");
    let output = problem.run(backend, way, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_near(&output.values, expected, tolerance(problem, backend, way), &what);
    assert!(output.padding.iter().all(|value| *value == 0.0), "{what}: padding is not 0");
    assert!(output.beyond.iter().all(|value| *value == UNTOUCHED), "{what}: memory behind the output was written");
    assert!(!output.overflow, "{what}: nothing overflows");
    output
}

/// Holds what a back end computes in each way that it has to the plain loops.
fn check(problem: &Problem, backend: &mut Backend) {
    let problem = exact_in(problem, backend);
    let (expected, ways) = (problem.reference(), problem.ways(backend));
    assert!(!ways.is_empty(), "{problem:?} is not computed by {backend}");
    for way in ways {
        computed(&problem, backend, way, &expected);
    }
}

/// Likewise, and what is computed of some tiles alone, where any can be left out, to what is computed of all: the same
/// bits in these tiles, what stood there before in the others.
fn check_tiles(problem: &Problem, backend: &mut Backend, needed: impl Fn(usize) -> bool) {
    let problem = exact_in(problem, backend);
    let (expected, ways) = (problem.reference(), problem.ways(backend));
    assert!(!ways.is_empty(), "{problem:?} is not computed by {backend}");
    for way in ways {
        let all = computed(&problem, backend, way, &expected);
        let Some(tiles) = problem.tiles(backend, way) else { continue };
        let flags: Vec<bool> = (0..tiles.len()).map(&needed).collect();
        let what = format!("some tiles of {problem:?} by {backend}, {way:?}");
        let some = problem.run(backend, way, Some(&flags)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(some.beyond.iter().all(|value| *value == UNTOUCHED), "{what}: memory behind the output was written");
        for (tile, needed) in tiles.iter().zip(flags) {
            let left_out = (!needed).then(|| left_out(&problem, backend));
            assert_tile([&all.values, &some.values], tile, left_out, &what);
            assert_tile([&all.padding, &some.padding], tile, left_out, &what);
        }
    }
}

/// What stands where nothing was computed.
fn left_out(problem: &Problem, backend: &Backend) -> f32 {
    match (backend, &problem.operation) {
        // Logits of probability 0.
        #[cfg(feature = "cuda")]
        (Backend::Cuda(..), Operation::Head { .. }) => f32::NEG_INFINITY,
        _ => UNTOUCHED,
    }
}

fn assert_tile([all, some]: [&Array4<f32>; 2], [ds, hs, ws]: &[Range<usize>; 3], left_out: Option<f32>, what: &str) {
    for n in 0..all.dim().0 {
        for (d, h) in ds.clone().flat_map(|d| hs.clone().map(move |h| (d, h))) {
            for at in ws.clone().map(|w| [n, d, h, w]) {
                let (some, expected) = (some[at], left_out.unwrap_or(all[at]));
                assert_eq!(some.to_bits(), expected.to_bits(), "{what}: {some} for {expected} at {at:?}");
            }
        }
    }
}

/// Convolutions that have everything: several tiles along each axis with tails, several blocks of outputs, a skip
/// connection.
fn convolutions() -> Vec<Problem> {
    let case = |shape, kernel, inputs: &[usize], outputs, residual: &[usize]| {
        Sizes { shape, kernel, inputs: inputs.to_vec(), outputs, prelu: true, seed: 7 }.convolution(residual)
    };
    vec![
        case([5, 9, 18], [5, 5, 5], &[3, 2], 5, &[3, 2]),
        case([3, 9, 17], [1, 5, 5], &[9, 10], 19, &[9, 10]),
        case([1, 1, 1], [5, 5, 5], &[1], 1, &[]),
        case([9, 5, 5], [3, 3, 3], &[2], 40, &[]),
        case([2, 3, 33], [7, 7, 7], &[2, 1], 3, &[2, 1]),
        case([4, 8, 16], [1, 1, 1], &[17], 33, &[]),
    ]
}

/// Convolutions of any shape, of at most so many channels in each of at most two parts.
fn any_convolution(most: usize) -> impl Strategy<Value = (Sizes, Vec<usize>)> {
    let side = || prop_oneof![Just(1usize), Just(3), Just(5), Just(7)];
    let sizes = ([1usize..6, 1..11, 1..20], [side(), side(), side()]);
    let channels = (prop::collection::vec(1..=most, 1..3), 1..=40usize, 0usize..3);
    (sizes, channels, any::<bool>(), any::<u32>()).prop_map(|((shape, kernel), (inputs, outputs, parts), prelu, seed)| {
        // What is added has the channels of the input, as in a network, or one part; or nothing is added.
        let (residual, outputs) = match parts {
            0 => (inputs.clone(), inputs.iter().sum()),
            1 => (vec![outputs], outputs),
            _ => (vec![], outputs),
        };
        (Sizes { shape, kernel, inputs, outputs, prelu, seed: seed.into() }, residual)
    })
}

/// Several blocks of voxels with a tail, and more than one chunk on both sides; a block that is full, and more outputs,
/// in whole chunks, than a warp has; an input in two parts.
fn strides() -> Vec<Sizes> {
    let case = |shape, inputs: &[usize], outputs| Sizes {
        shape,
        kernel: [2; 3],
        inputs: inputs.to_vec(),
        outputs,
        prelu: true,
        seed: 3,
    };
    vec![case([3, 7, 13], &[9], 10), case([2, 8, 8], &[8], 72), case([2, 3, 17], &[17, 3], 33)]
}

fn any_stride() -> impl Strategy<Value = Sizes> {
    let channels = || prop_oneof![Just(1usize), 1usize..20, Just(16), Just(33)];
    let sizes = ([1usize..6, 1..6, 1..20], [1usize..=2, 1..=2, 1..=2]);
    (sizes, prop::collection::vec(channels(), 1..3), channels(), any::<bool>(), any::<u32>()).prop_map(
        |((shape, kernel), inputs, outputs, prelu, seed)| Sizes { shape, kernel, inputs, outputs, prelu, seed: seed.into() },
    )
}

fn inputs() -> Vec<Problem> {
    let case = |(shape, kernel, outputs)| Sizes { shape, kernel, inputs: vec![1], outputs, prelu: true, seed: 11 }.input();
    let sizes = [
        ([5, 9, 18], [5, 5, 5], 16),
        ([2, 3, 4], [1, 3, 7], 37),
        ([1, 8, 16], [1, 1, 1], 3),
        ([1, 1, 3], [3, 1, 1], 8),
        ([1, 2, 5], [1, 1, 3], 10),
    ];
    sizes.into_iter().map(case).collect()
}

fn any_input() -> impl Strategy<Value = Sizes> {
    let kernels = [[5, 5, 5], [1, 5, 5], [3, 5, 5], [7, 5, 5], [5, 5, 3], [3, 3, 3], [1, 1, 1]];
    let sizes = ([1usize..10, 1..10, 1..40], prop::sample::select(kernels.to_vec()));
    (sizes, 1usize..20, any::<bool>(), any::<u32>()).prop_map(|((shape, kernel), outputs, prelu, seed)| Sizes {
        shape,
        kernel,
        inputs: vec![1],
        outputs,
        prelu,
        seed: seed.into(),
    })
}

fn heads() -> Vec<Sizes> {
    let case = |(shape, inputs): ([usize; 3], &[usize])| Sizes {
        shape,
        kernel: [1; 3],
        inputs: inputs.to_vec(),
        outputs: 1,
        prelu: true,
        seed: 21,
    };
    [([2, 3, 17], &[5][..]), ([5, 9, 3], &[32]), ([1, 1, 1], &[8]), ([4, 9, 17], &[9, 2])].into_iter().map(case).collect()
}

fn any_head() -> impl Strategy<Value = Sizes> {
    ([1usize..6, 1..10, 1..40], prop::collection::vec(1usize..20, 1..3), any::<bool>(), any::<u32>())
        .prop_map(|(shape, inputs, prelu, seed)| Sizes { shape, kernel: [1; 3], inputs, outputs: 1, prelu, seed: seed.into() })
}

/// A network of two levels with uneven widths.
fn small(kernel: [usize; 3]) -> Description {
    Description {
        kernel,
        widths: vec![3, 9, 5],
        convs: vec![1, 2, 1],
        up_widths: vec![11, 7],
        up_convs: vec![2, 1],
        ..Description::deepbleed()
    }
}

/// The suite, for what `$backends` gives for a seed: random convolutions have at most `$channels` channels in a part.
macro_rules! suite {
    ($backends:path, cases: $cases:literal, channels: $channels:literal) => {
        fn all(seed: u64, check: impl Fn(&mut Backend)) {
            $backends(seed).iter_mut().for_each(check);
        }

        #[test]
        fn convolution() {
            for (seed, problem) in convolutions().iter().enumerate() {
                all(seed as u64, |backend| check(problem, backend));
            }
        }

        #[test]
        fn input() {
            inputs().iter().for_each(|problem| all(5, |backend| check(problem, backend)));
        }

        #[test]
        fn down_and_up() {
            for problem in strides().iter().flat_map(|sizes| [sizes.down(), sizes.up()]) {
                all(1, |backend| check(&problem, backend));
            }
        }

        #[test]
        fn head() {
            for sizes in heads() {
                all(4, |backend| check_tiles(&sizes.head(false), backend, |tile| tile == 0));
            }
        }

        #[test]
        fn a_convolution_computes_the_needed_tiles_only() {
            // Tiles of the CUDA kernels: two along D and W, and along H and W with a whole number of tiles along W; two
            // along all three, more than the emulated device has multiprocessors, and in two splits in both grades.
            for (shape, kernel, inputs) in
                [([5, 8, 17], [3; 3], 2), ([4, 9, 32], [3; 3], 2), ([5, 9, 17], [1; 3], 17), ([2, 9, 17], [1, 5, 5], 1)]
            {
                let (inputs, outputs) = (vec![inputs], inputs.max(3));
                let sizes = Sizes { shape, kernel, inputs, outputs, prelu: true, seed: 1 };
                let needed = |tile: usize| [false, true, true, false, true, false, false, true][tile % 8];
                all(3, |backend| check_tiles(&sizes.convolution(&[]), backend, needed));
            }
        }

        #[test]
        fn an_up_convolution_computes_the_needed_tiles_only() {
            // The output is 6x14x26: 2x2x2 tiles of the CUDA kernels.
            let sizes = Sizes { shape: [3, 7, 13], kernel: [2; 3], inputs: vec![3], outputs: 2, prelu: true, seed: 4 };
            let needed = |tile: usize| [true, false, false, true, false, true, false, false][tile % 8];
            all(2, |backend| check_tiles(&sizes.up(), backend, needed));
        }

        #[test]
        fn each_step_of_a_network_in_the_engines_way() {
            for (kernel, shape) in [([5, 5, 5], [4, 8, 20]), ([1, 3, 3], [4, 12, 8])] {
                let plan = Plan::new(&small(kernel), shape).unwrap();
                for step in &plan.steps {
                    let problem = Problem::of_step(&plan, step, 9);
                    assert_eq!(problem.flop(), plan.flop(step), "{problem:?}");
                    all(9, |backend| {
                        let problem = exact_in(&problem, backend);
                        let way = problem.best_way(backend);
                        computed(&problem, backend, way, &problem.reference());
                    });
                }
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn convolution_of_any_shape((sizes, residual) in any_convolution($channels), every in 1usize..4) {
                let problem = sizes.convolution(&residual);
                all(sizes.seed, |backend| match every {
                    1 => check(&problem, backend),
                    _ => check_tiles(&problem, backend, |tile| tile.is_multiple_of(every)),
                });
            }

            #[test]
            fn input_of_any_shape(sizes in any_input(), every in 1usize..4) {
                all(sizes.seed, |backend| check_tiles(&sizes.input(), backend, |tile| tile.is_multiple_of(every)));
            }

            #[test]
            fn down_and_up_of_any_shape(sizes in any_stride(), every in 1usize..4) {
                for problem in [sizes.down(), sizes.up()] {
                    all(sizes.seed, |backend| check_tiles(&problem, backend, |tile| tile.is_multiple_of(every)));
                }
            }

            #[test]
            fn head_of_any_shape(sizes in any_head(), every in 1usize..4) {
                all(sizes.seed, |backend| check_tiles(&sizes.head(false), backend, |tile| tile.is_multiple_of(every)));
            }
        }
    };
}

mod cpu {
    use super::*;

    fn instructions(_: u64) -> Vec<Backend> {
        Instructions::ALL.into_iter().filter(|instructions| instructions.available()).map(Backend::Cpu).collect()
    }

    suite!(instructions, cases: 48, channels: 20);

    /// The root of the mean squared error against sums in float64, as a part of the root of the mean square: of direct
    /// sums, F(2, 5) and F(4, 5).
    #[test]
    fn rounding_errors_are_what_the_documentation_says() {
        let sizes = Sizes { shape: [12; 3], kernel: [5; 3], inputs: vec![32], outputs: 16, prelu: false, seed: 5 };
        let (problem, mut backend) = (sizes.convolution(&[]), instructions(0).pop().unwrap());
        let norm = |values: &Array4<f32>| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let by = |points: usize| Way::Transforms { points: [points; 3], batch: None };
        let mut errors = Vec::new();
        for (name, way, most) in [("direct", Way::Plain, 2e-6), ("F(2, 5)", by(6), 1e-5), ("F(4, 5)", by(8), 2e-5)] {
            let Output { values, .. } = problem.run(&mut backend, way, None).unwrap();
            let error = norm(&(&values - &problem.reference())) / norm(&problem.reference());
            println!("{name}: {error:.1e}");
            assert!(error < most, "{name}: {error:e}");
            errors.push(error);
        }
        assert!(errors[0] < errors[1] && errors[1] < errors[2], "{errors:?}");
    }
}

#[cfg(feature = "emulator")]
#[path = "support/cuda_operations.rs"]
mod cuda;
