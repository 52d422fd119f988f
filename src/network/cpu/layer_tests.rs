//! Down-convolution, up-convolution and head, each by itself, against the plain loops: odd sides, channels that fill no
//! block, parts of a concatenation, some tiles alone, every set of instructions that the processor has.

use super::down::{self, Down};
use super::epilogue::Epilogue;
use super::head::Head;
use super::kernels::{Instructions, Kernels};
use super::layout::{Blocks, Slots};
use super::simd::LANES;
use super::up::{self, Up};
use crate::network::plan::{Plan, Step};
use crate::network::reference;
use crate::network::region::Tiling;
use crate::network::weights::Weights;
use crate::network::{Activation, Description};
use ndarray::{Array4, Array5, ArrayView4};
use proptest::prelude::*;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Of the largest value: sums in f32 of at most 8 times 40 products.
const TOLERANCE: f32 = 1e-5;

/// What stands where nothing may be written.
const UNTOUCHED: f32 = 77.0;

/// A layer of one kind with random values.
#[derive(Clone, Debug)]
struct Problem {
    /// The coarse grid: the output's of a down-convolution, the input's of an up-convolution.
    coarse: [usize; 3],
    stride: [usize; 3],
    /// Channels of the input, in the parts of a concatenation.
    inputs: Vec<usize>,
    outputs: usize,
    prelu: bool,
    /// Every tile whose number is a multiple of it is computed.
    every: usize,
    seed: u64,
}

struct Values {
    kernel: Vec<f32>,
    bias: Vec<f32>,
    slopes: Vec<f32>,
}

/// Uniform in [-1, 1): SplitMix64 (Steele et al. 2014).
fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut random = SplitMix64::seed_from_u64(seed);
    (0..count).map(|_| (random.next_u64() >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}

fn array(seed: u64, channels: usize, [d, h, w]: [usize; 3]) -> Array4<f32> {
    Array4::from_shape_vec((channels, d, h, w), values(seed, channels * d * h * w)).unwrap()
}

/// The memory of an activation's blocks, with the values of `x` in their places and 0 in the others.
fn blocked(x: ArrayView4<f32>, slots: &Slots) -> Vec<f32> {
    let (_, d, h, w) = x.dim();
    let voxels = d * h * w;
    let mut memory = vec![0.0; slots.blocks() * voxels * LANES];
    for place in 0..slots.blocks() * LANES {
        let Some(channel) = slots.channel(place) else { continue };
        for (voxel, value) in x.index_axis(ndarray::Axis(0), channel).iter().enumerate() {
            memory[(place / LANES * voxels + voxel) * LANES + place % LANES] = *value;
        }
    }
    memory
}

fn places(memory: &mut [f32], shape: [usize; 3]) -> Blocks {
    let places = memory.chunks_exact_mut(Blocks::block_len(shape)).map(<[f32]>::as_mut_ptr).collect();
    Blocks { shape, planes: shape[0], places }
}

fn available() -> impl Iterator<Item = Instructions> {
    Instructions::ALL.into_iter().filter(|instructions| instructions.available())
}

impl Problem {
    fn fine(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.coarse[axis] * self.stride[axis])
    }

    fn channels(&self) -> [usize; 2] {
        [self.inputs.iter().sum(), self.outputs]
    }

    fn values(&self) -> Values {
        let taps: usize = self.stride.iter().product();
        let [inputs, outputs] = self.channels();
        let slopes = if self.prelu { values(self.seed + 3, outputs) } else { vec![0.0; outputs] };
        Values { kernel: values(self.seed + 1, taps * inputs * outputs), bias: values(self.seed + 2, outputs), slopes }
    }

    fn kernel(&self, last: [usize; 2]) -> Array5<f32> {
        let [kd, kh, kw] = self.stride;
        Array5::from_shape_vec((kd, kh, kw, last[0], last[1]), self.values().kernel).unwrap()
    }

    /// Compares the output's blocks: what was computed with `expected`, all else with what stood there before.
    fn compare(&self, memory: &[f32], expected: &Array4<f32>, slots: &Slots, tiling: &Tiling, what: &str) {
        let [_, height, width] = tiling.shape;
        let voxels: usize = tiling.shape.iter().product();
        let largest = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (index, &value) in memory.iter().enumerate() {
            let (block, voxel, lane) = (index / LANES / voxels, index / LANES % voxels, index % LANES);
            let at = [voxel / (height * width), voxel / width % height, voxel % width];
            let tile = tiling.index([0, 1, 2].map(|axis| at[axis] / tiling.tile[axis]));
            let right = if block >= slots.blocks() || !tile.is_multiple_of(self.every) {
                UNTOUCHED
            } else {
                slots.channel(block * LANES + lane).map_or(0.0, |channel| expected[[channel, at[0], at[1], at[2]]])
            };
            assert!(
                (value - right).abs() <= TOLERANCE * largest,
                "{what}: {value} instead of {right} in block {block}, lane {lane} of {at:?}"
            );
        }
    }

    fn down(&self) {
        let ([inputs, outputs], v) = (self.channels(), self.values());
        let x = array(self.seed, inputs, self.fine());
        let y = reference::down(x.view(), self.kernel([inputs, outputs]).view(), &v.bias);
        let expected = reference::prelu(y, &v.slopes);
        let (from, to) = (Slots::new(&self.inputs), Slots::new(&[outputs]));
        for instructions in available() {
            let kernels = Kernels::of(instructions).unwrap();
            let epilogue = Epilogue { bias: to.scatter(&v.bias), slopes: to.scatter(&v.slopes) };
            let layer = Down::new(kernels, self.stride, &v.kernel, &from, &to, self.channels(), epilogue).unwrap();
            let mut input = blocked(x.view(), &from);
            let mut output = vec![UNTOUCHED; to.blocks() * Blocks::block_len(self.coarse)];
            let (read, written) = (places(&mut input, self.fine()), places(&mut output, self.coarse));
            let mut scratch = vec![f32::NAN; layer.scratch_len()];
            let tiling = Down::tiling(self.coarse);
            for voxels in tiling.boxes(0..tiling.len(), |tile| tile.is_multiple_of(self.every), down::LONGEST) {
                // SAFETY: the buffers and the scratch memory were made for the layer, and nobody else uses them.
                unsafe { layer.tiles(kernels, &read, &written, &voxels, &mut scratch) };
            }
            self.compare(&output, &expected, &to, &tiling, &format!("down, {instructions}"));
        }
    }

    fn up(&self) {
        let ([inputs, outputs], v) = (self.channels(), self.values());
        let x = array(self.seed, inputs, self.coarse);
        let y = reference::up(x.view(), self.kernel([outputs, inputs]).view(), &v.bias);
        let expected = reference::prelu(y, &v.slopes);
        let (from, to) = (Slots::new(&self.inputs), Slots::new(&[outputs]));
        for instructions in available() {
            let kernels = Kernels::of(instructions).unwrap();
            let epilogue = Epilogue { bias: to.scatter(&v.bias), slopes: to.scatter(&v.slopes) };
            let layer = Up::new(kernels, self.stride, &v.kernel, &from, &to, self.channels(), epilogue).unwrap();
            let mut input = blocked(x.view(), &from);
            // One block more: a skip connection that the layer leaves alone.
            let mut output = vec![UNTOUCHED; (to.blocks() + 1) * Blocks::block_len(self.fine())];
            let (read, written) = (places(&mut input, self.coarse), places(&mut output, self.fine()));
            let mut scratch = vec![f32::NAN; layer.scratch_len()];
            let tiling = Up::tiling(self.fine());
            for voxels in tiling.boxes(0..tiling.len(), |tile| tile.is_multiple_of(self.every), up::LONGEST) {
                // SAFETY: the buffers and the scratch memory were made for the layer, and nobody else uses them.
                unsafe { layer.tiles(kernels, &read, &written, &voxels, &mut scratch) };
            }
            self.compare(&output, &expected, &to, &tiling, &format!("up, {instructions}"));
        }
    }
}

fn problems() -> impl Strategy<Value = Problem> {
    let channels = || prop_oneof![Just(1usize), 1usize..20, Just(16), Just(33)];
    let stride = 1usize..3;
    (
        [1usize..6, 1..6, 1..20],
        [stride.clone(), stride.clone(), stride],
        (prop::collection::vec(channels(), 1..3), channels()),
        (any::<bool>(), 1usize..4, 0u64..1000),
    )
        .prop_map(|(coarse, stride, (inputs, outputs), (prelu, every, seed))| Problem {
            coarse,
            stride,
            inputs,
            outputs,
            prelu,
            every,
            seed,
        })
}

/// A network whose head reads `channels`: those of the last up-convolution and those of the skip connection.
fn network(channels: [usize; 2], activation: Activation) -> Description {
    Description {
        widths: vec![channels[1], 2],
        convs: vec![1, 1],
        up_widths: vec![channels.iter().sum()],
        up_convs: vec![1],
        activation,
        ..Description::deepbleed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_down_convolution_is_that_of_plain_loops(problem in problems()) {
        problem.down();
    }

    #[test]
    fn an_up_convolution_is_that_of_plain_loops(problem in problems()) {
        problem.up();
    }

    #[test]
    fn a_head_is_that_of_plain_loops(
        shape in [1usize..4, 1..4, 1..40],
        channels in [1usize..20, 1..20],
        prelu in any::<bool>(),
        every in 1usize..4,
        seed in 0u64..1000,
    ) {
        let activation = if prelu { Activation::Prelu } else { Activation::Relu };
        let description = network(channels, activation);
        let weights = Weights::generate(&description, &format!("head {seed}")).unwrap();
        // A head is the same on every grid: here one that the whole network cannot have.
        let plan = Plan::new(&description, description.multiple()).unwrap();
        let Some(Step::Head { hidden, binary, .. }) = plan.steps.last() else { panic!("a network ends with its head") };
        let tensor = |name: &str| weights.tensor(name).into_owned();
        let kernel = |name: &str, last| Array5::from_shape_vec((1, 1, 1, last, tensor(name).len() / last), tensor(name)).unwrap();
        let all: usize = channels.iter().sum();
        let x = array(seed, all, shape);
        let inner = reference::conv(x.view(), kernel("outblock/final/kernel", all).view(), &tensor("outblock/final/bias"));
        let slopes = hidden.slopes.as_ref().map_or(vec![0.0; 2], |name| tensor(name));
        let inner = reference::prelu(inner, &slopes);
        let last = kernel("outblock/binary/kernel", 2);
        let expected = reference::conv(inner.view(), last.view(), &tensor("outblock/binary/bias"));
        let largest = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));

        let slots = Slots::new(&channels);
        let head = Head::new(&weights, hidden, binary, &slots);
        let mut input = blocked(x.view(), &slots);
        let read = places(&mut input, shape);
        for instructions in available() {
            let mut logits = vec![UNTOUCHED; shape.iter().product()];
            let tiling = Head::tiling(shape);
            for tile in (0..tiling.len()).step_by(every) {
                // SAFETY: the blocks were made for the head, the logits have their grid, and nobody else uses them.
                unsafe { head.row(Kernels::of(instructions).unwrap(), &read, logits.as_mut_ptr(), &tiling.voxels(tile)) };
            }
            for (voxel, (&logit, &right)) in logits.iter().zip(&expected).enumerate() {
                let right = if (voxel / shape[2]).is_multiple_of(every) { right } else { UNTOUCHED };
                prop_assert!((logit - right).abs() <= TOLERANCE * largest, "{instructions}: {logit} for {right} in voxel {voxel}");
            }
        }
    }
}
