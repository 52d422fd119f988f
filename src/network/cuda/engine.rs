//! The V-Net on a CUDA device: weights packed once, one arena, the whole pass prepared as one graph.

use super::conv::{self, Conv, Residual};
use super::conv_f16::{self, ConvF16, Division};
use super::device::{Device, Launch, Pass, Prepared, Region};
use super::head::{self, Head, HeadWeights};
use super::input::{self, Input};
use super::slots::Slots;
use super::stride::{self, Order, Storage, Stride};
use super::tiles::{flag_sizes, needed_tiles};
use crate::network::grade::Grade;
use crate::network::plan::Layer;
use crate::network::weights::Weights;
use crate::network::{self, BufferId, Plan, Step};
use crate::network::{Error, Result};

/// A loaded network on one CUDA device (a GPU or the emulated one) for one grid.
///
/// Everything is allocated by [`Engine::new`]: device memory, pinned host memory, the CUDA graphs. [`Engine::start`] and
/// [`Engine::finish`] allocate no device memory, and only `finish` waits; between the two the caller is free. Several engines may live in one
/// process; each has a stream of its own, so two engines on one GPU overlap the copies of one scan with the pass of another.
///
/// ```no_run
/// # fn main() -> ichor::Result<()> {
/// use ichor::network::cuda::{Engine, Grade};
/// use ichor::network::weights::Weights;
///
/// let weights = Weights::open("deepbleed.safetensors")?;
/// let mut engine = Engine::new(&weights, [128, 128, 128], Grade::Fast)?;
/// let (input, mut logits) = (vec![0.0; 128 * 128 * 128], vec![0.0; 128 * 128 * 128]);
/// engine.start(&input, None)?;
/// // ... the next scan is read here ...
/// engine.finish(&mut logits)?;
/// # Ok(())
/// # }
/// ```
pub struct Engine {
    // Passes are dropped before the device whose memory they use.
    fast: Option<Box<dyn Prepared>>,
    exact: Box<dyn Prepared>,
    device: Box<dyn Device>,
    plan: Plan,
    grade: Grade,
    state: State,
}

/// Where the wanted logits are while a pass is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Started,
}

impl Engine {
    /// Loads the network on the first GPU for grids of `shape` (D, H, W).
    ///
    /// # Errors
    /// [`Error::Device`] where there is no GPU, no driver, no kernels in this build or too little memory; [`Error::Shape`] where
    /// a side is no multiple of [`network::Description::multiple`].
    pub fn new(weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<Engine> {
        Engine::on_gpu(0, weights, shape, grade)
    }

    /// As [`Engine::new`], on GPU number `ordinal`.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn on_gpu(ordinal: usize, weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<Engine> {
        Engine::on(Box::new(super::driver::Gpu::new(ordinal)?), weights, shape, grade)
    }

    /// Loads the network on `device` for grids of `shape` (D, H, W).
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn on(mut device: Box<dyn Device>, weights: &Weights, shape: [usize; 3], grade: Grade) -> Result<Engine> {
        let plan = Plan::new(weights.description(), shape)?;
        let kernel = weights.description().kernel;
        let memory = Memory::allocate(device.as_mut(), &plan, grade)?;
        let launches = exact_launches(device.as_mut(), &memory, &plan, weights)?;
        let exact = prepare(device.as_mut(), &memory, launches)?;
        let fast = match grade {
            Grade::Exact => None,
            Grade::Fast if !conv_f16::fits(device.capability(), kernel) => {
                log::warn!(
                    "{}: kernels of {kernel:?} need more shared memory than the GPU has; every pass is done in f32",
                    weights.name()
                );
                None
            }
            Grade::Fast => match fast_launches(device.as_mut(), &memory, &plan, weights)? {
                Some(launches) => Some(prepare(device.as_mut(), &memory, launches)?),
                None => {
                    log::warn!("{}: a weight does not fit f16; every pass is done in f32", weights.name());
                    None
                }
            },
        };
        Ok(Engine { fast, exact, device, plan, grade, state: State::Idle })
    }

    /// The grade that was asked for.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Starts a pass and returns before it has ended; the arguments are those of [`network::Engine::run`].
    ///
    /// # Errors
    /// [`Error::Shape`] where a slice has another length than the grid, [`Error::Device`] where a pass is under way already, and
    /// whatever the device reports.
    pub fn start(&mut self, input: &[f32], needed: Option<&[bool]>) -> Result<()> {
        let voxels = self.plan.shape.iter().product();
        network_slice("input", input.len(), voxels)?;
        if let Some(mask) = needed {
            network_slice("mask", mask.len(), voxels)?;
        }
        if self.state != State::Idle {
            return Err(Error::Device("a pass is under way: finish it before the next is started".into()));
        }
        let pass = self.fast.as_mut().unwrap_or(&mut self.exact);
        fill(pass.as_mut(), &self.plan, input, needed);
        pass.start()?;
        self.state = State::Started;
        Ok(())
    }

    /// Waits for the pass and takes its logits. Those outside the `needed` of [`Engine::start`] may have any value where a tile
    /// holds needed ones too, and are -infinity elsewhere; [`network::Engine::run`] makes all of them -infinity.
    ///
    /// Where a value of a fast pass did not fit f16, a warning says so and the pass is done again in f32.
    ///
    /// # Errors
    /// [`Error::Shape`] where `logits` has another length than the grid, [`Error::Device`] where no pass was started, and whatever the
    /// device reports.
    pub fn finish(&mut self, logits: &mut [f32]) -> Result<()> {
        network_slice("output", logits.len(), self.plan.shape.iter().product())?;
        if self.state != State::Started {
            return Err(Error::Device("no pass was started".into()));
        }
        self.state = State::Idle;
        let logits: &mut [u8] = bytemuck::cast_slice_mut(logits);
        if let Some(fast) = &mut self.fast {
            fast.wait()?;
            if fast.output(1) == 0u32.to_ne_bytes() {
                logits.copy_from_slice(fast.output(0));
                return Ok(());
            }
            log::warn!("a value does not fit f16: the pass is done again in f32");
            for n in 0..2 {
                self.exact.input(n).copy_from_slice(fast.input(n));
            }
            self.exact.start()?;
        }
        self.exact.wait()?;
        logits.copy_from_slice(self.exact.output(0));
        Ok(())
    }
}

impl network::Engine for Engine {
    fn shape(&self) -> [usize; 3] {
        self.plan.shape
    }

    fn device(&self) -> String {
        self.device.name()
    }

    fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()> {
        network_slice("output", logits.len(), self.plan.shape.iter().product())?;
        Engine::start(self, input, needed)?;
        Engine::finish(self, logits)?;
        if let Some(mask) = needed {
            for (logit, _) in logits.iter_mut().zip(mask).filter(|(_, needed)| !**needed) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn start(&mut self, input: &[f32], needed: Option<&[bool]>) -> Option<Result<()>> {
        Some(Engine::start(self, input, needed))
    }

    fn finish(&mut self, logits: &mut [f32]) -> Result<()> {
        Engine::finish(self, logits)
    }
}

fn network_slice(what: &str, length: usize, voxels: usize) -> Result<()> {
    if length == voxels {
        return Ok(());
    }
    Err(Error::Shape(format!("the {what} has {length} voxels, but the engine was made for a grid of {voxels}")))
}

/// Fills the host memory of a pass: the scan, and the control block of tile flags and the overflow flag.
fn fill(pass: &mut dyn Prepared, plan: &Plan, input: &[f32], needed: Option<&[bool]>) {
    pass.input(0).copy_from_slice(bytemuck::cast_slice(input));
    let control = pass.input(1);
    let flags_end = control.len() - 4;
    match needed {
        None => {
            for flag in control[..flags_end].chunks_exact_mut(4) {
                flag.copy_from_slice(&1u32.to_ne_bytes());
            }
        }
        Some(mask) => {
            let mut at = 0;
            for tiles in needed_tiles(plan, mask) {
                let bytes: &[u8] = bytemuck::cast_slice(tiles.flags());
                control[at..at + bytes.len()].copy_from_slice(bytes);
                at += bytes.len();
            }
        }
    }
    control[flags_end..].fill(0);
}

/// The device memory of an engine besides its weights. Both grades use the same: their passes never run at the same time.
struct Memory {
    scan: Region,
    logits: Region,
    /// Flags of each buffer's tiles, then of the logits', then the overflow flag.
    control: Region,
    flags: Vec<Region>,
    overflow: Region,
    arena: Region,
    /// For the partial sums of one convolution at a time; absent where none is split.
    partial: Option<Region>,
}

impl Memory {
    fn allocate(device: &mut dyn Device, plan: &Plan, grade: Grade) -> Result<Memory> {
        let voxels = plan.shape.iter().product::<usize>();
        let sizes = flag_sizes(plan);
        let control = device.allocate(sizes.iter().sum::<usize>() + 4)?;
        let mut address = control.address;
        let mut take = |bytes: usize| {
            address += bytes as u64;
            Region { address: address - bytes as u64, bytes }
        };
        let flags = sizes.into_iter().map(&mut take).collect();
        let overflow = take(4);
        let exact = plan.arena(&exact_sizes(plan)).size;
        let slots = slots(plan);
        let fast = if grade == Grade::Fast { plan.arena(&fast_sizes(plan, &slots)).size } else { 0 };
        let mut partial = 0;
        for step in &plan.steps {
            if let Step::Conv { layer, input, output, .. } = step {
                let shape = plan.buffers[*output].shape;
                let splits = Conv::best_splits(shape, layer.inputs, layer.outputs);
                partial = partial.max(Conv::partial_bytes(shape, layer.outputs, splits));
                if grade == Grade::Fast {
                    let division = division(device, plan, &slots, layer, *input, *output);
                    partial = partial.max(division.partial_bytes(shape, slots[*output].chunks()));
                }
            }
        }
        Ok(Memory {
            scan: device.allocate(4 * voxels)?,
            logits: device.allocate(4 * voxels)?,
            control,
            flags,
            overflow,
            arena: device.allocate(exact.max(fast))?,
            partial: if partial > 0 { Some(device.allocate(partial)?) } else { None },
        })
    }

    fn buffers(&self, plan: &Plan, sizes: &[usize]) -> Vec<Region> {
        let offsets = plan.arena(sizes).offsets;
        let place = |(offset, bytes): (usize, &usize)| Region { address: self.arena.address + offset as u64, bytes: *bytes };
        offsets.into_iter().zip(sizes).map(place).collect()
    }
}

fn prepare(device: &mut dyn Device, memory: &Memory, launches: Vec<Launch>) -> Result<Box<dyn Prepared>> {
    let pass = Pass { inputs: vec![memory.scan, memory.control], launches, outputs: vec![memory.logits, memory.overflow] };
    // SAFETY: the launches were made for buffers of this plan in this memory, which lives as long as the device.
    unsafe { device.prepare(&pass) }
}

/// Uploads `values` to memory of their own.
fn store<T: bytemuck::NoUninit>(device: &mut dyn Device, values: &[T]) -> Result<Region> {
    let bytes = bytemuck::cast_slice(values);
    let region = device.allocate(bytes.len())?;
    device.upload(region, bytes)?;
    Ok(region)
}

/// Channels that are stored for a buffer: those of its skip connection are read where they are.
fn stored_channels(plan: &Plan, id: BufferId) -> usize {
    plan.buffers[id].channels - plan.buffers[id].skip.map_or(0, |skip| plan.buffers[skip].channels)
}

/// Bytes of each buffer of the exact grade: planar f32, to a multiple of 256.
fn exact_sizes(plan: &Plan) -> Vec<usize> {
    let size = |id: BufferId| stored_channels(plan, id) * plan.buffers[id].shape.iter().product::<usize>() * 4;
    (0..plan.buffers.len()).map(|id| size(id).next_multiple_of(256)).collect()
}

/// The places of each buffer's channels in blocked storage.
fn slots(plan: &Plan) -> Vec<Slots> {
    let mut all: Vec<Slots> = Vec::new();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let slots = match (&plan.steps[buffer.written], buffer.skip) {
            (_, Some(skip)) => Slots::joined(&Slots::plain(stored_channels(plan, id)), &all[skip]),
            (Step::Conv { input, .. }, None) => all[*input].clone(),
            _ => Slots::plain(buffer.channels),
        };
        all.push(slots);
    }
    all
}

/// Chunks that are stored for a buffer.
fn stored_chunks(plan: &Plan, slots: &[Slots], id: BufferId) -> usize {
    slots[id].chunks() - plan.buffers[id].skip.map_or(0, |skip| slots[skip].chunks())
}

/// Bytes of each buffer of the fast grade: blocked f16, to a multiple of 256.
fn fast_sizes(plan: &Plan, slots: &[Slots]) -> Vec<usize> {
    let size = |id: BufferId| stored_chunks(plan, slots, id) * plan.buffers[id].shape.iter().product::<usize>() * 16;
    (0..plan.buffers.len()).map(|id| size(id).next_multiple_of(256)).collect()
}

/// The tensors of a layer.
struct Tensors<'a> {
    kernel: std::borrow::Cow<'a, [f32]>,
    bias: std::borrow::Cow<'a, [f32]>,
    slopes: Option<std::borrow::Cow<'a, [f32]>>,
}

fn tensors<'a>(weights: &'a Weights, layer: &Layer) -> Tensors<'a> {
    Tensors {
        kernel: weights.tensor(&format!("{}/kernel", layer.convolution)),
        bias: weights.tensor(&format!("{}/bias", layer.convolution)),
        slopes: layer.slopes.as_ref().map(|name| weights.tensor(name)),
    }
}

/// A layer's packed tensors on the device: kernel, bias and slopes. A layer that is applied several times is stored once.
#[derive(Default)]
struct Layers(std::collections::HashMap<(String, Option<String>), [Region; 3]>);

impl Layers {
    fn get(&mut self, layer: &Layer, make: impl FnOnce() -> Result<Option<[Region; 3]>>) -> Result<Option<[Region; 3]>> {
        let key = (layer.convolution.clone(), layer.slopes.clone());
        if let Some(regions) = self.0.get(&key) {
            return Ok(Some(*regions));
        }
        let made = make()?;
        if let Some(regions) = made {
            self.0.insert(key, regions);
        }
        Ok(made)
    }
}

fn head_weights(device: &mut dyn Device, weights: &Weights, hidden: &Layer, binary: &Layer, slots: &Slots) -> Result<Region> {
    let (first, last) = (tensors(weights, hidden), tensors(weights, binary));
    let packed = head::pack(
        HeadWeights {
            hidden: &first.kernel,
            hidden_bias: &first.bias,
            slopes: first.slopes.as_deref(),
            binary: &last.kernel,
            binary_bias: &last.bias,
        },
        slots,
    );
    store(device, &packed)
}

/// The launches of the exact grade.
fn exact_launches(device: &mut dyn Device, memory: &Memory, plan: &Plan, weights: &Weights) -> Result<Vec<Launch>> {
    let buffers = memory.buffers(plan, &exact_sizes(plan));
    let mut layers = Layers::default();
    let mut launches = Vec::new();
    for step in &plan.steps {
        let launch = match step {
            Step::Input { layer, output } | Step::Conv { layer, output, .. } => {
                let [packed, bias, slopes] = exact_conv(device, &mut layers, weights, layer)?;
                let (input, residual, channels, skip, needed) = match step {
                    Step::Conv { input, residual, output, .. } => {
                        let skip = plan.buffers[*input].skip;
                        let residual = residual.map(|id| Residual::Channels {
                            channels: stored_channels(plan, id),
                            first: buffers[id],
                            skip: plan.buffers[id].skip.map(|skip| buffers[skip]),
                        });
                        let stored = stored_channels(plan, *input);
                        let channels = [stored, layer.inputs - stored];
                        (buffers[*input], residual, channels, skip.map(|skip| buffers[skip]), Some(memory.flags[*output]))
                    }
                    _ => (memory.scan, Some(Residual::Shared(memory.scan)), [1, 0], None, None),
                };
                let shape = plan.buffers[*output].shape;
                let conv = Conv {
                    shape,
                    kernel: layer.kernel,
                    channels,
                    outputs: layer.outputs,
                    input,
                    skip,
                    weights: packed,
                    bias,
                    slopes,
                    residual,
                    output: buffers[*output],
                    splits: Conv::best_splits(shape, layer.inputs, layer.outputs),
                    partial: memory.partial,
                    needed,
                };
                launches.extend(conv.launches());
                continue;
            }
            Step::Down { layer, input, output } | Step::Up { layer, input, output, .. } => {
                let up = matches!(step, Step::Up { .. });
                let tensors = tensors(weights, layer);
                let packed = stride::pack(&tensors.kernel, order(up), layer.kernel, layer.inputs, layer.outputs);
                let [packed, bias, slopes] = layer_regions(device, &tensors, layer.outputs, 8, &packed)?;
                let problem = Stride {
                    storage: Storage::Planar,
                    shape: plan.buffers[if up { *input } else { *output }].shape,
                    stride: layer.kernel,
                    channels: layer.inputs,
                    outputs: layer.outputs,
                    input: buffers[*input],
                    weights: packed,
                    bias,
                    slopes,
                    output: buffers[*output],
                    needed: up.then_some(memory.flags[*output]),
                    overflow: None,
                };
                if up { problem.launch_up() } else { problem.launch_down() }
            }
            Step::Head { hidden, binary, input } => {
                let packed = head_weights(device, weights, hidden, binary, &Slots::plain(hidden.inputs))?;
                head_launch(memory, plan, Storage::Planar, hidden.inputs, buffers[*input], packed)
            }
        };
        launches.push(launch);
    }
    Ok(launches)
}

fn exact_conv(device: &mut dyn Device, layers: &mut Layers, weights: &Weights, layer: &Layer) -> Result<[Region; 3]> {
    let made = layers.get(layer, || {
        let tensors = tensors(weights, layer);
        let packed = conv::pack(&tensors.kernel, layer.kernel, layer.inputs, layer.outputs);
        layer_regions(device, &tensors, layer.outputs, conv::OUTPUTS, &packed).map(Some)
    })?;
    Ok(made.expect("a layer in f32 always fits"))
}

/// Uploads a layer's packed kernel, bias and slopes.
fn layer_regions<T: bytemuck::NoUninit>(
    device: &mut dyn Device,
    tensors: &Tensors,
    outputs: usize,
    padding: usize,
    packed: &[T],
) -> Result<[Region; 3]> {
    Ok([
        store(device, packed)?,
        store(device, &conv::pad(Some(&tensors.bias), outputs, padding))?,
        store(device, &conv::pad(tensors.slopes.as_deref(), outputs, padding))?,
    ])
}

fn order(up: bool) -> Order {
    if up { Order::OutIn } else { Order::InOut }
}

fn head_launch(memory: &Memory, plan: &Plan, storage: Storage, channels: usize, input: Region, weights: Region) -> Launch {
    let head = Head {
        storage,
        shape: plan.shape,
        channels,
        input,
        weights,
        logits: memory.logits,
        probabilities: None,
        needed: memory.flags.last().copied(),
    };
    head.launch()
}

/// How a convolution of the fast grade is divided on `device`.
fn division(device: &dyn Device, plan: &Plan, slots: &[Slots], layer: &Layer, input: BufferId, output: BufferId) -> Division {
    let shape = plan.buffers[output].shape;
    Division::new(device.capability(), shape, layer.kernel, slots[input].chunks(), slots[output].chunks())
}

/// The launches of the fast grade, or `None` where a weight does not fit f16.
fn fast_launches(device: &mut dyn Device, memory: &Memory, plan: &Plan, weights: &Weights) -> Result<Option<Vec<Launch>>> {
    let slots = slots(plan);
    let buffers = memory.buffers(plan, &fast_sizes(plan, &slots));
    let mut layers = Layers::default();
    let mut launches = Vec::new();
    for step in &plan.steps {
        let launch = match step {
            Step::Input { layer, output } => {
                let tensors = tensors(weights, layer);
                let Some(packed) = input::pack(&tensors.kernel, layer.kernel, layer.outputs) else { return Ok(None) };
                let [packed, bias, slopes] = layer_regions(device, &tensors, layer.outputs, input::PADDING, &packed)?;
                let problem = Input {
                    shape: plan.shape,
                    kernel: layer.kernel,
                    outputs: layer.outputs,
                    input: memory.scan,
                    weights: packed,
                    bias,
                    slopes,
                    output: buffers[*output],
                    overflow: memory.overflow,
                };
                problem.launch()
            }
            Step::Conv { layer, input, residual, output } => {
                let division = division(device, plan, &slots, layer, *input, *output);
                let made = layers.get(layer, || {
                    let tensors = tensors(weights, layer);
                    let Some(packed) = conv_f16::pack(&tensors.kernel, layer.kernel, &slots[*input], &slots[*output], division)
                    else {
                        return Ok(None);
                    };
                    Ok(Some([
                        store(device, &packed)?,
                        store(device, &slots[*output].spread(Some(&tensors.bias), conv_f16::PADDING))?,
                        store(device, &slots[*output].spread(tensors.slopes.as_deref(), conv_f16::PADDING))?,
                    ]))
                })?;
                let Some([packed, bias, slopes]) = made else { return Ok(None) };
                let skip = |id: BufferId| plan.buffers[id].skip.map(|skip| buffers[skip]);
                let stored = stored_chunks(plan, &slots, *input);
                let conv = ConvF16 {
                    shape: plan.buffers[*output].shape,
                    kernel: layer.kernel,
                    chunks: [stored, slots[*input].chunks() - stored],
                    output_chunks: slots[*output].chunks(),
                    division,
                    input: buffers[*input],
                    skip: skip(*input),
                    weights: packed,
                    bias,
                    slopes,
                    residual: residual.map(|id| (buffers[id], stored_chunks(plan, &slots, id), skip(id))),
                    output: buffers[*output],
                    partial: memory.partial,
                    needed: Some(memory.flags[*output]),
                    overflow: memory.overflow,
                };
                launches.extend(conv.launches(device)?);
                continue;
            }
            Step::Down { layer, input, output } | Step::Up { layer, input, output, .. } => {
                let up = matches!(step, Step::Up { .. });
                let tensors = tensors(weights, layer);
                let packed = stride::pack_f16(&tensors.kernel, order(up), layer.kernel, &slots[*input], layer.outputs);
                let Some(packed) = packed else { return Ok(None) };
                let [packed, bias, alpha] = layer_regions(device, &tensors, layer.outputs, 8, &packed)?;
                let problem = Stride {
                    storage: Storage::Blocked,
                    shape: plan.buffers[if up { *input } else { *output }].shape,
                    stride: layer.kernel,
                    channels: 8 * slots[*input].chunks(),
                    outputs: layer.outputs,
                    input: buffers[*input],
                    weights: packed,
                    bias,
                    slopes: alpha,
                    output: buffers[*output],
                    needed: up.then_some(memory.flags[*output]),
                    overflow: Some(memory.overflow),
                };
                if up { problem.launch_up() } else { problem.launch_down() }
            }
            Step::Head { hidden, binary, input } => {
                let packed = head_weights(device, weights, hidden, binary, &slots[*input])?;
                head_launch(memory, plan, Storage::Blocked, 8 * slots[*input].chunks(), buffers[*input], packed)
            }
        };
        launches.push(launch);
    }
    Ok(Some(launches))
}
