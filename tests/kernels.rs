//! Every CUDA kernel against the naive operation of `reference`: on the emulated device, and on a GPU where there is one.

mod support;

use half::f16;
use ichor::network::cuda::conv::{Conv, Residual};
use ichor::network::cuda::conv_f16::{ConvF16, Division, Path};
use ichor::network::cuda::dice::{DiceProblem, PARTIAL_BYTES, TOTAL_BYTES};
use ichor::network::cuda::head::{Head, HeadWeights};
use ichor::network::cuda::input::Input;
use ichor::network::cuda::slots::Slots;
use ichor::network::cuda::stride::{Order, Storage, Stride};
use ichor::network::cuda::{Device, Launch, Region, conv, conv_f16, dice, head, input, pointwise, stride, tiles};
use ichor::network::emulator::Emulator;
use ichor::network::{self, reference};
use ndarray::{Array4, Array5, ArrayView4};
use proptest::prelude::*;

/// Of the largest value: f32 sums of at most a few thousand products.
const F32_TOLERANCE: f32 = 2e-6;
/// Of the largest value: inputs and weights are exact halves here, so only the result is rounded, by at most 2^-11 of itself.
const F16_TOLERANCE: f32 = 6e-4;

/// The devices of this machine; the seed is the emulated one's.
fn devices(seed: u64) -> Vec<Box<dyn Device>> {
    support::devices::all(|| vec![Box::new(Emulator::new(seed))])
}

fn put<T: bytemuck::NoUninit>(device: &mut dyn Device, values: &[T]) -> Region {
    let bytes = bytemuck::cast_slice(values);
    let region = device.allocate(bytes.len()).unwrap();
    device.upload(region, bytes).unwrap();
    region
}

fn take<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(device: &mut dyn Device, region: Region) -> Vec<T> {
    let mut values = vec![T::zeroed(); region.bytes / size_of::<T>()];
    device.download(region, bytemuck::cast_slice_mut(&mut values)).unwrap();
    values
}

fn launch(device: &mut dyn Device, launch: &Launch) {
    // SAFETY: every address in the launches of these tests is a region of this device with the size that the problem wants.
    unsafe { device.launch(launch) }.unwrap_or_else(|error| panic!("{error}"));
}

/// Pseudo-random multiples of 1/64 in [-1, 1]: exact in f16.
fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) % 129) as f32 / 64.0 - 1.0
        })
        .collect()
}

fn array(seed: u64, channels: usize, shape: [usize; 3]) -> Array4<f32> {
    let count = channels * shape.iter().product::<usize>();
    Array4::from_shape_vec((channels, shape[0], shape[1], shape[2]), values(seed, count)).unwrap()
}

fn kernel(seed: u64, sides: [usize; 3], last: [usize; 2]) -> Array5<f32> {
    let shape = (sides[0], sides[1], sides[2], last[0], last[1]);
    let count = sides.iter().product::<usize>() * last[0] * last[1];
    Array5::from_shape_vec(shape, values(seed, count)).unwrap()
}

fn flat(array: &Array4<f32>) -> &[f32] {
    array.as_slice().unwrap()
}

/// Blocked f16 [chunks][V][8] of an array, zeros in the gaps.
fn blocked(x: ArrayView4<f32>) -> Vec<f16> {
    let (channels, voxels) = (x.dim().0, x.len() / x.dim().0);
    let mut out = vec![f16::ZERO; channels.div_ceil(8) * voxels * 8];
    for (index, value) in x.iter().enumerate() {
        let (channel, voxel) = (index / voxels, index % voxels);
        out[(channel / 8 * voxels + voxel) * 8 + channel % 8] = f16::from_f32(*value);
    }
    out
}

/// The channels of a blocked activation at their slots; everything at other places must be 0.
fn unblocked(data: &[f16], slots: &Slots, shape: [usize; 3]) -> Array4<f32> {
    let voxels = shape.iter().product::<usize>();
    let mut out = Array4::zeros((slots.channels(), shape[0], shape[1], shape[2]));
    let mut gaps = data.to_vec();
    for (channel, slot) in slots.places() {
        for voxel in 0..voxels {
            let place = (slot / 8 * voxels + voxel) * 8 + slot % 8;
            out.as_slice_mut().unwrap()[channel * voxels + voxel] = data[place].to_f32();
            gaps[place] = f16::ZERO;
        }
    }
    assert!(gaps.iter().all(|value| value.to_f32() == 0.0), "the padding of a blocked activation must be 0");
    out
}

fn near(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance * largest,
            "value {index} of {}: {a} instead of {e} (largest {largest})",
            actual.len()
        );
    }
}

/// Input, skip connection, kernel, bias and slopes.
type ConvTensors = (Array4<f32>, Array4<f32>, Array5<f32>, Vec<f32>, Vec<f32>);

/// A convolution of stride 1 in all its forms.
#[derive(Clone, Debug)]
struct ConvProblem {
    shape: [usize; 3],
    kernel: [usize; 3],
    /// Channels of the input and of its skip connection (0: none).
    channels: [usize; 2],
    outputs: usize,
    residual: bool,
    seed: u64,
}

impl ConvProblem {
    fn parts(&self) -> ConvTensors {
        (
            array(self.seed, self.channels[0], self.shape),
            array(self.seed + 1, self.channels[1], self.shape),
            kernel(self.seed + 2, self.kernel, [self.channels[0] + self.channels[1], self.outputs]),
            values(self.seed + 3, self.outputs),
            values(self.seed + 4, self.outputs),
        )
    }

    fn reference(&self) -> Array4<f32> {
        let (input, skip, kernel, bias, slopes) = self.parts();
        let joined = reference::concatenate(input.view(), skip.view());
        let y = reference::prelu(reference::conv(joined.view(), kernel.view(), &bias), &slopes);
        if self.residual { reference::add(y, joined.view()) } else { y }
    }

    /// In one part and in up to three.
    fn exact(&self, device: &mut dyn Device) {
        let channels = self.channels[0] + self.channels[1];
        for splits in if channels > 1 { vec![1, channels.div_ceil(channels.div_ceil(3))] } else { vec![1] } {
            self.exact_in(device, splits);
        }
    }

    fn exact_in(&self, device: &mut dyn Device, splits: usize) {
        let (input, skip, kernel, bias, slopes) = self.parts();
        let channels = self.channels;
        let input = put(device, flat(&input));
        let skip = (channels[1] > 0).then(|| put(device, flat(&skip)));
        let packed = conv::pack(kernel.as_slice().unwrap(), self.kernel, channels[0] + channels[1], self.outputs);
        let voxels = self.shape.iter().product::<usize>();
        let output = device.allocate(4 * self.outputs * voxels).unwrap();
        let partial_bytes = Conv::partial_bytes(self.shape, self.outputs, splits);
        let problem = Conv {
            shape: self.shape,
            kernel: self.kernel,
            channels,
            outputs: self.outputs,
            input,
            skip,
            weights: put(device, &packed),
            bias: put(device, &conv::pad(Some(&bias), self.outputs, 32)),
            slopes: put(device, &conv::pad(Some(&slopes), self.outputs, 32)),
            residual: self.residual.then_some(Residual::Channels { channels: channels[0], first: input, skip }),
            output,
            splits,
            partial: (partial_bytes > 0).then(|| device.allocate(partial_bytes).unwrap()),
            needed: None,
        };
        problem.launches().iter().for_each(|one| launch(device, one));
        near(&take::<f32>(device, output), flat(&self.reference()), F32_TOLERANCE);
    }

    /// In each division of its work that the device can do.
    fn fast(&self, device: &mut dyn Device) {
        let pairs = self.channels.map(|channels| channels.div_ceil(8)).iter().sum::<usize>().div_ceil(2);
        let mut paths = vec![Path::Portable];
        if Division::new(device.capability(), self.shape, self.kernel, 1, 1).path == Path::Sm90 {
            paths.push(Path::Sm90);
        }
        for path in paths {
            for outputs in [32, 64] {
                for splits in if pairs > 1 { vec![1, pairs] } else { vec![1] } {
                    self.fast_in(device, Division { path, outputs, splits });
                }
            }
        }
    }

    fn fast_in(&self, device: &mut dyn Device, division: Division) {
        let (input, skip, kernel, bias, slopes) = self.parts();
        let joined = Slots::joined(&Slots::plain(self.channels[0]), &Slots::plain(self.channels[1]));
        let outputs = if self.residual { joined.clone() } else { Slots::plain(self.outputs) };
        let chunks = self.channels.map(|channels| channels.div_ceil(8));
        let input = put(device, &blocked(input.view()));
        let skip = (chunks[1] > 0).then(|| put(device, &blocked(skip.view())));
        let packed = conv_f16::pack(kernel.as_slice().unwrap(), self.kernel, &joined, &outputs, division).unwrap();
        let voxels = self.shape.iter().product::<usize>();
        let output = device.allocate(16 * outputs.chunks() * voxels).unwrap();
        let overflow = put(device, &[0u32]);
        let partial_bytes = division.partial_bytes(self.shape, outputs.chunks());
        let problem = ConvF16 {
            shape: self.shape,
            kernel: self.kernel,
            chunks,
            output_chunks: outputs.chunks(),
            division,
            input,
            skip,
            weights: put(device, &packed),
            bias: put(device, &outputs.scatter(Some(&bias), conv_f16::PADDING)),
            slopes: put(device, &outputs.scatter(Some(&slopes), conv_f16::PADDING)),
            residual: self.residual.then_some((input, chunks[0], skip)),
            output,
            partial: (partial_bytes > 0).then(|| device.allocate(partial_bytes).unwrap()),
            needed: None,
            overflow,
        };
        println!("{division:?}");
        problem.launches(device).unwrap().iter().for_each(|one| launch(device, one));
        let y = unblocked(&take::<f16>(device, output), &outputs, self.shape);
        near(flat(&y), flat(&self.reference()), F16_TOLERANCE);
        assert_eq!(take::<u32>(device, overflow), [0], "nothing overflows");
    }
}

fn conv_problems(most_channels: usize) -> impl Strategy<Value = ConvProblem> {
    let side = prop_oneof![Just(1usize), Just(3), Just(5), Just(7)];
    (
        ([1usize..6, 1..11, 1..20], [side.clone(), side.clone(), side]),
        ([1..=most_channels, 0..=most_channels], 1..=40usize, any::<bool>(), any::<u32>()),
    )
        .prop_map(|((shape, kernel), (channels, outputs, residual, seed))| ConvProblem {
            shape,
            kernel,
            channels,
            outputs: if residual { channels[0] + channels[1] } else { outputs },
            residual,
            seed: u64::from(seed),
        })
}

/// Shapes that have everything: several tiles along each axis with tails, several blocks of outputs, a skip connection.
fn conv_cases() -> Vec<ConvProblem> {
    let case = |shape, kernel, channels: [usize; 2], outputs, residual| ConvProblem {
        shape,
        kernel,
        channels,
        outputs,
        residual,
        seed: 7,
    };
    vec![
        case([5, 9, 18], [5, 5, 5], [3, 2], 5, true),
        case([3, 9, 17], [1, 5, 5], [9, 10], 19, true),
        case([1, 1, 1], [5, 5, 5], [1, 0], 1, false),
        case([9, 5, 5], [3, 3, 3], [2, 0], 40, false),
        case([2, 3, 33], [7, 7, 7], [2, 1], 3, true),
        case([4, 8, 16], [1, 1, 1], [17, 0], 33, false),
    ]
}

#[test]
fn conv_f32() {
    for (seed, problem) in conv_cases().iter().enumerate() {
        devices(seed as u64).iter_mut().for_each(|device| problem.exact(device.as_mut()));
    }
}

#[test]
fn conv_f16() {
    for (seed, problem) in conv_cases().iter().enumerate() {
        devices(seed as u64).iter_mut().for_each(|device| problem.fast(device.as_mut()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conv_f32_of_any_shape(problem in conv_problems(5)) {
        devices(problem.seed).iter_mut().for_each(|device| problem.exact(device.as_mut()));
    }

    #[test]
    fn conv_f16_of_any_shape(problem in conv_problems(20)) {
        devices(problem.seed).iter_mut().for_each(|device| problem.fast(device.as_mut()));
    }

    #[test]
    fn down_and_up_of_any_shape(problem in stride_problems()) {
        for device in &mut devices(problem.seed) {
            for storage in [Storage::Planar, Storage::Blocked] {
                problem.down(device.as_mut(), storage);
                problem.up(device.as_mut(), storage);
            }
        }
    }
}

#[test]
fn a_convolution_computes_the_needed_tiles_only() {
    // Two tiles along D and W, and along H and W with a whole number of tiles along W.
    for (shape, splits) in [[5, 8, 17], [4, 9, 32]].into_iter().flat_map(|shape| [(shape, 1), (shape, 2)]) {
        let problem = ConvProblem { shape, kernel: [3; 3], channels: [2, 0], outputs: 3, residual: false, seed: 1 };
        let (input, _, kernel, bias, slopes) = problem.parts();
        let expected = problem.reference();
        let (count, flags) = (tiles::tiles(shape), [0u32, 1, 1, 0]);
        assert_eq!(count.iter().product::<usize>(), flags.len());
        for device in &mut devices(3) {
            let device = device.as_mut();
            let output = put(device, &vec![77.0f32; expected.len()]);
            let conv = Conv {
                shape,
                kernel: problem.kernel,
                channels: problem.channels,
                outputs: 3,
                input: put(device, flat(&input)),
                skip: None,
                weights: put(device, &conv::pack(kernel.as_slice().unwrap(), [3; 3], 2, 3)),
                bias: put(device, &conv::pad(Some(&bias), 3, 32)),
                slopes: put(device, &conv::pad(Some(&slopes), 3, 32)),
                residual: None,
                output,
                splits,
                partial: Some(device.allocate(2 * output.bytes).unwrap()),
                needed: Some(put(device, &flags)),
            };
            conv.launches().iter().for_each(|one| launch(device, one));
            let y = Array4::from_shape_vec(expected.dim(), take::<f32>(device, output)).unwrap();
            for ((n, d, h, w), value) in y.indexed_iter() {
                let tile = (d / 4 * count[1] + h / 8) * count[2] + w / 16;
                let right = if flags[tile] == 1 { expected[[n, d, h, w]] } else { 77.0 };
                assert!((value - right).abs() < 1e-5, "{shape:?}, voxel ({d}, {h}, {w}): {value} instead of {right}");
            }
        }
    }
}

#[test]
fn input_f16() {
    for (shape, kernel_sides, outputs) in [
        ([5, 9, 18], [5, 5, 5], 16),
        ([2, 3, 4], [1, 3, 7], 37),
        ([1, 8, 16], [1, 1, 1], 3),
        ([1, 1, 3], [3, 1, 1], 8),
        ([1, 2, 5], [1, 1, 3], 10),
    ] {
        let x = array(11, 1, shape);
        let kernel = kernel(12, kernel_sides, [1, outputs]);
        let (bias, slopes) = (values(13, outputs), values(14, outputs));
        let convolved = reference::prelu(reference::conv(x.view(), kernel.view(), &bias), &slopes);
        let expected = reference::add(convolved, reference::broadcast_channels(x.view(), outputs).view());
        for device in &mut devices(5) {
            let device = device.as_mut();
            let voxels = shape.iter().product::<usize>();
            let slots = Slots::plain(outputs);
            let output = device.allocate(16 * slots.chunks() * voxels).unwrap();
            let overflow = put(device, &[0u32]);
            let problem = Input {
                shape,
                kernel: kernel_sides,
                outputs,
                input: put(device, flat(&x)),
                weights: put(device, &input::pack(kernel.as_slice().unwrap(), kernel_sides, outputs).unwrap()),
                bias: put(device, &conv::pad(Some(&bias), outputs, input::PADDING)),
                slopes: put(device, &conv::pad(Some(&slopes), outputs, input::PADDING)),
                output,
                overflow,
            };
            launch(device, &problem.launch());
            near(flat(&unblocked(&take::<f16>(device, output), &slots, shape)), flat(&expected), F16_TOLERANCE);
            assert_eq!(take::<u32>(device, overflow), [0]);
        }
    }
}

/// A convolution whose stride is its kernel, down and up.
#[derive(Clone, Debug)]
struct StrideProblem {
    shape: [usize; 3],
    stride: [usize; 3],
    channels: usize,
    outputs: usize,
    seed: u64,
}

impl StrideProblem {
    fn fine(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.shape[axis] * self.stride[axis])
    }

    fn run(&self, device: &mut dyn Device, storage: Storage, up: bool, needed: Option<&[u32]>) -> (Array4<f32>, Array4<f32>) {
        let (from, to) = if up { (self.shape, self.fine()) } else { (self.fine(), self.shape) };
        let x = array(self.seed, self.channels, from);
        let (bias, slopes) = (values(self.seed + 1, self.outputs), values(self.seed + 2, self.outputs));
        let (order, last) =
            if up { (Order::OutIn, [self.outputs, self.channels]) } else { (Order::InOut, [self.channels, self.outputs]) };
        let kernel = kernel(self.seed + 3, self.stride, last);
        let convolved =
            if up { reference::up(x.view(), kernel.view(), &bias) } else { reference::down(x.view(), kernel.view(), &bias) };
        let expected = reference::prelu(convolved, &slopes);

        let (inputs, outputs) = (Slots::plain(self.channels), Slots::plain(self.outputs));
        // What is not computed keeps its values; the padding of what is computed becomes 0.
        let before = Array4::from_elem(expected.dim(), 77.0f32);
        let weights = kernel.as_slice().unwrap();
        let (input, weights, output, channels) = match storage {
            Storage::Planar => {
                let packed = stride::pack(weights, order, self.stride, self.channels, self.outputs);
                (put(device, flat(&x)), put(device, &packed), put(device, flat(&before)), self.channels)
            }
            Storage::Blocked => {
                let packed = stride::pack_f16(weights, order, self.stride, &inputs, self.outputs).unwrap();
                let mut poison = blocked(before.view());
                if needed.is_none() {
                    poison.fill(f16::from_f32(77.0));
                }
                (put(device, &blocked(x.view())), put(device, &packed), put(device, &poison), 8 * inputs.chunks())
            }
        };
        let overflow = put(device, &[0u32]);
        let problem = Stride {
            storage,
            shape: self.shape,
            stride: self.stride,
            channels,
            outputs: self.outputs,
            input,
            weights,
            bias: put(device, &conv::pad(Some(&bias), self.outputs, 8)),
            slopes: put(device, &conv::pad(Some(&slopes), self.outputs, 8)),
            output,
            needed: needed.map(|flags| put(device, flags)),
            overflow: Some(overflow),
        };
        launch(device, &if up { problem.launch_up() } else { problem.launch_down() });
        assert_eq!(take::<u32>(device, overflow), [0]);
        let y = match storage {
            Storage::Planar => Array4::from_shape_vec(expected.dim(), take::<f32>(device, output)).unwrap(),
            Storage::Blocked => unblocked(&take::<f16>(device, output), &outputs, to),
        };
        (y, expected)
    }

    fn check(&self, device: &mut dyn Device, storage: Storage, up: bool) {
        let (y, expected) = self.run(device, storage, up, None);
        let tolerance = if storage == Storage::Planar { F32_TOLERANCE } else { F16_TOLERANCE };
        near(flat(&y), flat(&expected), tolerance);
    }

    fn down(&self, device: &mut dyn Device, storage: Storage) {
        self.check(device, storage, false);
    }

    fn up(&self, device: &mut dyn Device, storage: Storage) {
        self.check(device, storage, true);
    }
}

fn stride_problems() -> impl Strategy<Value = StrideProblem> {
    ([1usize..4, 1..6, 1..20], [1usize..=2, 1..=2, 1..=2], 1..20usize, 1..20usize, any::<u32>()).prop_map(
        |(shape, stride, channels, outputs, seed)| StrideProblem { shape, stride, channels, outputs, seed: u64::from(seed) },
    )
}

#[test]
fn down_and_up() {
    // Several blocks of voxels with a tail, and more than one chunk on both sides; a block that is full, and more outputs, in whole chunks, than a warp has.
    for (shape, channels, outputs) in [([3, 7, 13], 9, 10), ([2, 8, 8], 8, 72)] {
        let problem = StrideProblem { shape, stride: [2, 2, 2], channels, outputs, seed: 3 };
        for device in &mut devices(1) {
            for storage in [Storage::Planar, Storage::Blocked] {
                problem.down(device.as_mut(), storage);
                problem.up(device.as_mut(), storage);
            }
        }
    }
}

#[test]
fn an_up_convolution_computes_the_needed_tiles_only() {
    // The output is 6x14x26: tiles 2x2x2.
    let problem = StrideProblem { shape: [3, 7, 13], stride: [2, 2, 2], channels: 3, outputs: 2, seed: 4 };
    assert_eq!(tiles::tiles(problem.fine()), [2, 2, 2]);
    let flags = [1, 0, 0, 1, 0, 1, 0, 0];
    for device in &mut devices(2) {
        for (storage, tolerance) in [(Storage::Planar, 1e-5), (Storage::Blocked, 2e-3)] {
            let (y, expected) = problem.run(device.as_mut(), storage, true, Some(&flags));
            for ((n, d, h, w), value) in y.indexed_iter() {
                let tile = (d / 4 * 2 + h / 8) * 2 + w / 16;
                let right = if flags[tile] == 1 { expected[[n, d, h, w]] } else { 77.0 };
                assert!((value - right).abs() < tolerance, "{storage:?}, voxel ({d}, {h}, {w}): {value} instead of {right}");
            }
        }
    }
}

#[test]
fn head_with_and_without_probabilities() {
    for (channels, shape) in [(5, [2, 3, 17]), (32, [5, 9, 3]), (8, [1, 1, 1])] {
        let x = array(21, channels, shape);
        let hidden = kernel(22, [1; 3], [channels, 2]);
        let binary = kernel(23, [1; 3], [2, 1]);
        let (hidden_bias, slopes, binary_bias) = (values(24, 2), values(25, 2), values(26, 1));
        let middle = reference::prelu(reference::conv(x.view(), hidden.view(), &hidden_bias), &slopes);
        let expected = reference::conv(middle.view(), binary.view(), &binary_bias);
        let voxels = shape.iter().product::<usize>();
        for device in &mut devices(4) {
            let device = device.as_mut();
            for storage in [Storage::Planar, Storage::Blocked] {
                let slots = Slots::plain(channels);
                let packed = head::pack(
                    HeadWeights {
                        hidden: hidden.as_slice().unwrap(),
                        hidden_bias: &hidden_bias,
                        slopes: Some(&slopes),
                        binary: binary.as_slice().unwrap(),
                        binary_bias: &binary_bias,
                    },
                    &slots,
                );
                let (input, channels) = match storage {
                    Storage::Planar => (put(device, flat(&x)), channels),
                    Storage::Blocked => (put(device, &blocked(x.view())), 8 * slots.chunks()),
                };
                let (logits, probabilities) = (device.allocate(4 * voxels).unwrap(), device.allocate(4 * voxels).unwrap());
                // The first tile is needed, no other.
                let mut flags = vec![0u32; tiles::tile_count(shape)];
                flags[0] = 1;
                let problem = Head {
                    storage,
                    shape,
                    channels,
                    input,
                    weights: put(device, &packed),
                    logits,
                    probabilities: Some(probabilities),
                    needed: None,
                };
                launch(device, &problem.launch());
                near(&take::<f32>(device, logits), flat(&expected), F32_TOLERANCE);
                let sigmoid: Vec<f32> = expected.iter().map(|&x| network::sigmoid(x)).collect();
                near(&take::<f32>(device, probabilities), &sigmoid, F32_TOLERANCE);

                let skipping = Head { needed: Some(put(device, &flags)), probabilities: None, ..problem };
                launch(device, &skipping.launch());
                for (index, logit) in take::<f32>(device, logits).into_iter().enumerate() {
                    let at = [index / shape[2] / shape[1], index / shape[2] % shape[1], index % shape[2]];
                    let inside = at[0] < 4 && at[1] < 8 && at[2] < 16;
                    assert!(if inside { (logit - flat(&expected)[index]).abs() < 1e-4 } else { logit == f32::NEG_INFINITY });
                }
            }
        }
    }
}

#[test]
fn prelu_and_sigmoid() {
    let (channels, shape) = (3, [5, 7, 11]);
    let voxels = shape.iter().product::<usize>();
    let x = array(31, channels, shape);
    let slopes = values(32, channels);
    for device in &mut devices(6) {
        let device = device.as_mut();
        let (input, output) = (put(device, flat(&x)), device.allocate(4 * channels * voxels).unwrap());
        let slopes_there = put(device, &slopes);
        launch(device, &pointwise::prelu(input, slopes_there, output, channels, voxels));
        assert_eq!(take::<f32>(device, output), flat(&reference::prelu(x.clone(), &slopes)));

        let logits = [f32::NEG_INFINITY, -200.0, -3.0, -0.0, 0.5, 20.0, 200.0, f32::INFINITY];
        let (input, output) = (put(device, &logits), device.allocate(4 * logits.len()).unwrap());
        launch(device, &pointwise::sigmoid(input, output, logits.len()));
        near(&take::<f32>(device, output), &logits.map(network::sigmoid), F32_TOLERANCE);
    }
}

#[test]
fn pack_and_unpack() {
    let (channels, shape) = (11, [3, 9, 10]);
    let voxels = shape.iter().product::<usize>();
    let x = array(41, channels, shape);
    for device in &mut devices(7) {
        let device = device.as_mut();
        let overflow = put(device, &[0u32]);
        let (planar, there) = (put(device, flat(&x)), device.allocate(16 * 2 * voxels).unwrap());
        launch(device, &pointwise::pack(planar, there, overflow, channels, voxels));
        assert_eq!(take::<f16>(device, there), blocked(x.view()));
        assert_eq!(take::<u32>(device, overflow), [0]);
        let back = device.allocate(4 * channels * voxels).unwrap();
        launch(device, &pointwise::unpack(there, back, channels, voxels));
        assert_eq!(take::<f32>(device, back), flat(&x));
    }
}

#[test]
fn what_does_not_fit_f16_is_flagged() {
    for (value, flag) in [(65504.0, 0), (-65504.0, 0), (65520.0, 1), (-70000.0, 1), (f32::INFINITY, 1), (f32::NAN, 1)] {
        for device in &mut devices(8) {
            let device = device.as_mut();
            let mut x = vec![0.0f32; 8 * 300];
            x[5 * 300 + 299] = value;
            let overflow = put(device, &[0u32]);
            let (planar, there) = (put(device, &x), device.allocate(16 * 300).unwrap());
            launch(device, &pointwise::pack(planar, there, overflow, 8, 300));
            assert_eq!(take::<u32>(device, overflow), [flag], "{value}");
        }
    }
}

#[test]
fn the_first_layer_flags_what_does_not_fit_f16() {
    // One tap: outputs w x + x of a scan with one large voxel.
    for (weights, flag) in [([0.0, 0.0], 0), ([0.5, 0.5], 0), ([1.0, 0.0], 1), ([0.0, 1.0], 1)] {
        for device in &mut devices(12) {
            let device = device.as_mut();
            let mut scan = vec![0.0f32; 9];
            scan[8] = 40000.0;
            let overflow = put(device, &[0u32]);
            let problem = Input {
                shape: [1, 1, 9],
                kernel: [1; 3],
                outputs: 2,
                input: put(device, &scan),
                weights: put(device, &input::pack(&weights, [1; 3], 2).unwrap()),
                bias: put(device, &[0.0f32; input::PADDING]),
                slopes: put(device, &[1.0f32; input::PADDING]),
                output: device.allocate(16 * 9).unwrap(),
                overflow,
            };
            launch(device, &problem.launch());
            assert_eq!(take::<u32>(device, overflow), [flag], "{weights:?}");
        }
    }
}

#[test]
fn down_and_up_flag_what_does_not_fit_f16() {
    // One tap whose matrix is twice the identity.
    for (channel, value, flag) in [(0, 32752.0, 0), (0, 40000.0, 1), (1, 40000.0, 1), (1, -40000.0, 1)] {
        let mut x = Array4::zeros((2, 1, 1, 9));
        x[[channel, 0, 0, 8]] = value;
        for (mut device, up) in [false, true].into_iter().flat_map(|up| devices(13).into_iter().map(move |device| (device, up))) {
            let device = device.as_mut();
            let overflow = put(device, &[0u32]);
            let packed = stride::pack_f16(&[2.0, 0.0, 0.0, 2.0], Order::InOut, [1; 3], &Slots::plain(2), 2).unwrap();
            let problem = Stride {
                storage: Storage::Blocked,
                shape: [1, 1, 9],
                stride: [1; 3],
                channels: 8,
                outputs: 2,
                input: put(device, &blocked(x.view())),
                weights: put(device, &packed),
                bias: put(device, &[0.0f32; 8]),
                slopes: put(device, &[1.0f32; 8]),
                output: device.allocate(16 * 9).unwrap(),
                needed: None,
                overflow: Some(overflow),
            };
            launch(device, &if up { problem.launch_up() } else { problem.launch_down() });
            assert_eq!(take::<u32>(device, overflow), [flag], "{value} in channel {channel}, up: {up}");
        }
    }
}

/// Divisions that take every kernel of the fast grade on a device, for two pairs of input chunks.
fn divisions(device: &dyn Device) -> Vec<Division> {
    let paths = if device.capability() == (9, 0) { vec![Path::Portable, Path::Sm90] } else { vec![Path::Portable] };
    let sizes = [(32, 1), (32, 2), (64, 1), (64, 2)];
    paths.iter().flat_map(|path| sizes.map(|(outputs, splits)| Division { path: *path, outputs, splits })).collect()
}

/// A 1x1x1 convolution whose matrix is twice the identity.
fn doubling(device: &mut dyn Device, x: &Array4<f32>, division: Division, needed: Option<&[u32]>) -> (Vec<f16>, u32) {
    let (channels, depth, height, width) = x.dim();
    let shape = [depth, height, width];
    let slots = Slots::plain(channels);
    let mut identity = vec![0.0; channels * channels];
    identity.iter_mut().step_by(channels + 1).for_each(|value| *value = 2.0);
    let overflow = put(device, &[0u32]);
    let output = put(device, &vec![f16::from_f32(77.0); 8 * slots.chunks() * shape.iter().product::<usize>()]);
    let partial_bytes = division.partial_bytes(shape, slots.chunks());
    let problem = ConvF16 {
        shape,
        kernel: [1; 3],
        chunks: [slots.chunks(), 0],
        output_chunks: slots.chunks(),
        division,
        input: put(device, &blocked(x.view())),
        skip: None,
        weights: put(device, &conv_f16::pack(&identity, [1; 3], &slots, &slots, division).unwrap()),
        bias: put(device, &[0.0f32; conv_f16::PADDING]),
        slopes: put(device, &[1.0f32; conv_f16::PADDING]),
        residual: None,
        output,
        partial: (partial_bytes > 0).then(|| device.allocate(partial_bytes).unwrap()),
        needed: needed.map(|flags| put(device, flags)),
        overflow,
    };
    problem.launches(device).unwrap().iter().for_each(|one| launch(device, one));
    (take::<f16>(device, output), take::<u32>(device, overflow)[0])
}

#[test]
fn a_fast_convolution_flags_what_does_not_fit_f16() {
    // Only the one large value can overflow: in the first or second channel of a pair, in each half of a row.
    for (channel, w, value, flag) in [
        (0, 8, 32752.0, 0),
        (0, 8, 40000.0, 1),
        (1, 7, 40000.0, 1),
        (16, 0, -40000.0, 1),
        (16, 8, -32752.0, 0),
        (9, 8, f32::NAN, 1),
    ] {
        let mut x = Array4::zeros((17, 1, 2, 9));
        x[[channel, 0, 1, w]] = value;
        for device in &mut devices(10) {
            for division in divisions(device.as_ref()) {
                let (_, raised) = doubling(device.as_mut(), &x, division, None);
                assert_eq!(raised, flag, "{value} in channel {channel}, {division:?}");
            }
        }
    }
}

#[test]
fn a_fast_convolution_computes_the_needed_tiles_only() {
    // Tiles are 4x8x16: two along each axis. More tiles than the emulated device has multiprocessors, so some blocks do several.
    let x = array(61, 17, [5, 9, 17]);
    let flags = [0, 1, 1, 0, 1, 0, 0, 1];
    for device in &mut devices(11) {
        for division in divisions(device.as_ref()) {
            let (y, raised) = doubling(device.as_mut(), &x, division, Some(&flags));
            assert_eq!(raised, 0);
            for ((c, d, h, w), value) in x.indexed_iter() {
                let tile = (d / 4 * 2 + h / 8) * 2 + w / 16;
                let expected = if flags[tile] == 1 { 2.0 * value } else { 77.0 };
                let place = (c / 8 * 5 * 9 * 17 + (d * 9 + h) * 17 + w) * 8 + c % 8;
                assert_eq!(y[place].to_f32(), expected, "channel {c}, voxel ({d}, {h}, {w}), {division:?}");
            }
        }
    }
}

#[test]
fn dice_and_its_gradient() {
    // More voxels than one round of all threads, with a tail, and many predictions that are the threshold itself; empty masks.
    for (voxels, threshold, empty) in [(20_000, 0.3125, false), (1, 0.5, false), (777, 0.5, true)] {
        let prediction: Vec<f32> =
            if empty { vec![0.0; voxels] } else { values(51, voxels).iter().map(|v| (v + 1.0) / 2.0).collect() };
        let label: Vec<bool> = values(52, voxels).iter().map(|v| !empty && *v > 0.2).collect();
        let mut gradient = vec![0.0; voxels];
        let expected = network::dice(&prediction, &label, threshold, Some(&mut gradient));
        for device in &mut devices(9) {
            let device = device.as_mut();
            let bytes: Vec<u8> = label.iter().map(|&inside| u8::from(inside)).collect();
            let problem = DiceProblem {
                prediction: put(device, &prediction),
                label: put(device, &bytes),
                partial: device.allocate(PARTIAL_BYTES).unwrap(),
                total: device.allocate(TOTAL_BYTES).unwrap(),
                gradient: Some(device.allocate(4 * voxels).unwrap()),
                voxels,
                threshold,
            };
            let mut before = None;
            for _ in 0..2 {
                problem.launches().iter().for_each(|one| launch(device, one));
                let total = take::<f64>(device, problem.total);
                let actual = dice::from_sums(total.clone().try_into().unwrap());
                assert!((actual.soft - expected.soft).abs() < 1e-12 && (actual.hard - expected.hard).abs() < 1e-12);
                assert_eq!(actual.predicted_voxels, expected.predicted_voxels);
                assert_eq!(actual.label_voxels, expected.label_voxels);
                near(&take::<f32>(device, problem.gradient.unwrap()), &gradient, 1e-6);
                assert!(before.is_none_or(|before| before == total), "the same bits each time");
                before = Some(total);
            }
        }
    }
}
