//! The pass of a network as one list of launches, in either grade.

use super::conv::{self, Conv, Residual};
use super::conv_f16::{self, ConvF16, Division};
use super::device::{CudaDevice, Launch, Region};
use super::engine::Memory;
use super::head::{self, Head};
use super::input::{self, Input};
use super::slots::Slots;
use super::stride::{self, Order, Storage, Stride};
use crate::network::Result;
use crate::network::plan::Layer;
use crate::network::weights::{LayerTensors, Weights};
use crate::network::{BufferId, Plan, Step};

/// The form of all activations of a pass, which says what kernels it is made of.
pub enum Activations {
    /// Planar f32: the exact grade.
    F32,
    /// f16 in chunks of 8 channels, and for each buffer the places of its channels in them: the fast grade.
    F16(Vec<Slots>),
}

impl Activations {
    /// Those of the fast grade.
    pub fn f16(plan: &Plan) -> Activations {
        Activations::F16(slots(plan))
    }

    /// Channels (in f16 chunks of them) that are stored for a buffer: those of its skip connection are read where they
    /// are.
    fn stored(&self, plan: &Plan, id: BufferId) -> usize {
        self.all(plan, id) - plan.buffers[id].skip.map_or(0, |skip| self.all(plan, skip))
    }

    /// Channels or chunks of a buffer.
    fn all(&self, plan: &Plan, id: BufferId) -> usize {
        match self {
            Activations::F32 => plan.buffers[id].channels,
            Activations::F16(slots) => slots[id].chunks(),
        }
    }

    /// Bytes of each buffer, to a multiple of 256.
    pub fn sizes(&self, plan: &Plan) -> Vec<usize> {
        let bytes = match self {
            Activations::F32 => 4,
            Activations::F16(_) => 16,
        };
        let size = |id: BufferId| self.stored(plan, id) * plan.buffers[id].shape.iter().product::<usize>() * bytes;
        (0..plan.buffers.len()).map(|id| size(id).next_multiple_of(256)).collect()
    }

    /// Bytes that the partial sums of a convolution of stride 1 need on `device`.
    pub fn partial_bytes(&self, device: &dyn CudaDevice, plan: &Plan, step: &Step) -> usize {
        let Step::Conv { layer, input, output, .. } = step else { return 0 };
        let shape = plan.buffers[*output].shape;
        match self {
            Activations::F32 => {
                let splits = Conv::best_splits(shape, layer.inputs, layer.outputs);
                Conv::partial_bytes(shape, layer.outputs, splits)
            }
            Activations::F16(slots) => {
                let division = division(device, shape, layer, [&slots[*input], &slots[*output]]);
                division.partial_bytes(shape, slots[*output].chunks())
            }
        }
    }
}

/// The places of each buffer's channels in blocked storage.
fn slots(plan: &Plan) -> Vec<Slots> {
    let mut all: Vec<Slots> = Vec::new();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let slots = match (&plan.steps[buffer.written], buffer.skip) {
            (_, Some(skip)) => Slots::joined(&Slots::plain(Activations::F32.stored(plan, id)), &all[skip]),
            (Step::Conv { input, .. }, None) => all[*input].clone(),
            _ => Slots::plain(buffer.channels),
        };
        all.push(slots);
    }
    all
}

/// How a convolution in f16 is divided on `device`.
fn division(device: &dyn CudaDevice, shape: [usize; 3], layer: &Layer, [input, output]: [&Slots; 2]) -> Division {
    Division::new(device.capability(), shape, layer.kernel, input.chunks(), output.chunks())
}

/// The launches of a pass whose activations are in `memory`, or `None` where a weight does not fit their form.
///
/// # Errors
/// Whatever the device reports.
pub fn launches(
    device: &mut dyn CudaDevice,
    memory: &Memory,
    plan: &Plan,
    weights: &Weights,
    activations: &Activations,
) -> Result<Option<Vec<Launch>>> {
    let sizes = activations.sizes(plan);
    let place = |(offset, bytes)| Region { address: memory.arena.address + offset as u64, bytes };
    let buffers = plan.arena(&sizes).offsets.into_iter().zip(sizes).map(place).collect();
    let mut walk = Walk { device, memory, plan, weights, activations, buffers, layers: Layers::default() };
    let mut launches = Vec::new();
    for step in &plan.steps {
        let Some(of_step) = walk.step(step)? else { return Ok(None) };
        launches.extend(of_step);
    }
    Ok(Some(launches))
}

/// A walk over the plan. What it makes of a step is `None` where a weight does not fit the form of the activations.
struct Walk<'a> {
    device: &'a mut dyn CudaDevice,
    memory: &'a Memory,
    plan: &'a Plan,
    weights: &'a Weights,
    activations: &'a Activations,
    /// Where each buffer is.
    buffers: Vec<Region>,
    /// The convolutions of stride 1.
    layers: Layers,
}

impl Walk<'_> {
    fn step(&mut self, step: &Step) -> Result<Option<Vec<Launch>>> {
        match (step, self.activations) {
            (Step::Input { layer, output }, Activations::F32) => Ok(Some(self.conv_of_scan(layer, *output)?.launches())),
            (Step::Input { layer, output }, Activations::F16(_)) => self.input_f16(layer, *output),
            (Step::Conv { layer, input, residual, output }, Activations::F32) => {
                self.conv(layer, *input, *residual, *output).map(Some)
            }
            (Step::Conv { layer, input, residual, output }, Activations::F16(slots)) => {
                self.conv_f16(layer, slots, *input, *residual, *output)
            }
            (Step::Down { layer, input, output } | Step::Up { layer, input, output, .. }, _) => {
                let up = matches!(step, Step::Up { .. });
                let Some(problem) = self.stride(layer, *input, *output, up)? else { return Ok(None) };
                Ok(Some(vec![if up { problem.launch_up() } else { problem.launch_down() }]))
            }
            (Step::Head { hidden, binary, input }, _) => Ok(Some(vec![self.head(hidden, binary, *input)?])),
        }
    }

    /// Where the skip connection of a buffer is.
    fn skip(&self, id: BufferId) -> Option<Region> {
        self.plan.buffers[id].skip.map(|skip| self.buffers[skip])
    }

    /// The input layer in f32: a convolution of the scan, which is added to every channel.
    fn conv_of_scan(&mut self, layer: &Layer, output: BufferId) -> Result<Conv> {
        let made = self.layers.get(layer, || {
            let tensors = self.weights.layer(layer);
            let packed = conv::pack(&tensors.kernel, layer.kernel, layer.inputs, layer.outputs);
            layer_regions(self.device, &tensors, layer.outputs, conv::OUTPUTS, &packed).map(Some)
        })?;
        let [weights, bias, slopes] = made.expect("every weight fits f32");
        let shape = self.plan.buffers[output].shape;
        Ok(Conv {
            shape,
            kernel: layer.kernel,
            channels: [1, 0],
            outputs: layer.outputs,
            input: self.memory.scan,
            skip: None,
            weights,
            bias,
            slopes,
            residual: Some(Residual::Shared(self.memory.scan)),
            output: self.buffers[output],
            splits: Conv::best_splits(shape, layer.inputs, layer.outputs),
            partial: self.memory.partial,
            needed: None,
        })
    }

    /// A convolution in f32: as of the scan, but of a buffer.
    fn conv(&mut self, layer: &Layer, input: BufferId, added: Option<BufferId>, output: BufferId) -> Result<Vec<Launch>> {
        let of_scan = self.conv_of_scan(layer, output)?;
        let stored = |id| self.activations.stored(self.plan, id);
        let residual = |id| Residual::Channels { channels: stored(id), first: self.buffers[id], skip: self.skip(id) };
        let conv = Conv {
            channels: [stored(input), layer.inputs - stored(input)],
            input: self.buffers[input],
            skip: self.skip(input),
            residual: added.map(residual),
            needed: Some(self.memory.flags[output]),
            ..of_scan
        };
        Ok(conv.launches())
    }

    fn input_f16(&mut self, layer: &Layer, output: BufferId) -> Result<Option<Vec<Launch>>> {
        let tensors = self.weights.layer(layer);
        let Some(packed) = input::pack(&tensors.kernel, layer.kernel, layer.outputs) else { return Ok(None) };
        let [weights, bias, slopes] = layer_regions(self.device, &tensors, layer.outputs, input::PADDING, &packed)?;
        let problem = Input {
            shape: self.plan.shape,
            kernel: layer.kernel,
            outputs: layer.outputs,
            input: self.memory.scan,
            weights,
            bias,
            slopes,
            output: self.buffers[output],
            overflow: self.memory.overflow,
        };
        Ok(Some(vec![problem.launch()]))
    }

    fn conv_f16(
        &mut self,
        layer: &Layer,
        slots: &[Slots],
        input: BufferId,
        residual: Option<BufferId>,
        output: BufferId,
    ) -> Result<Option<Vec<Launch>>> {
        let (shape, [from, to]) = (self.plan.buffers[output].shape, [&slots[input], &slots[output]]);
        let division = division(self.device, shape, layer, [from, to]);
        let made = self.layers.get(layer, || {
            let tensors = self.weights.layer(layer);
            let Some(packed) = conv_f16::pack(&tensors.kernel, layer.kernel, from, to, division) else { return Ok(None) };
            Ok(Some([
                store(self.device, &packed)?,
                store(self.device, &to.scatter(Some(&tensors.bias), conv_f16::PADDING))?,
                store(self.device, &to.scatter(tensors.slopes.as_deref(), conv_f16::PADDING))?,
            ]))
        })?;
        let Some([weights, bias, slopes]) = made else { return Ok(None) };
        let stored = |id| self.activations.stored(self.plan, id);
        let conv = ConvF16 {
            shape,
            kernel: layer.kernel,
            chunks: [stored(input), from.chunks() - stored(input)],
            output_chunks: to.chunks(),
            division,
            input: self.buffers[input],
            skip: self.skip(input),
            weights,
            bias,
            slopes,
            residual: residual.map(|id| (self.buffers[id], stored(id), self.skip(id))),
            output: self.buffers[output],
            partial: self.memory.partial,
            needed: Some(self.memory.flags[output]),
            overflow: self.memory.overflow,
        };
        conv.launches(self.device).map(Some)
    }

    /// A convolution whose stride is its kernel, down or `up`.
    fn stride(&mut self, layer: &Layer, input: BufferId, output: BufferId, up: bool) -> Result<Option<Stride>> {
        let tensors = self.weights.layer(layer);
        let order = if up { Order::OutIn } else { Order::InOut };
        let regions = match self.activations {
            Activations::F32 => {
                let packed = stride::pack(&tensors.kernel, order, layer.kernel, layer.inputs, layer.outputs);
                layer_regions(self.device, &tensors, layer.outputs, 8, &packed)?
            }
            Activations::F16(slots) => {
                let packed = stride::pack_f16(&tensors.kernel, order, layer.kernel, &slots[input], layer.outputs);
                let Some(packed) = packed else { return Ok(None) };
                layer_regions(self.device, &tensors, layer.outputs, 8, &packed)?
            }
        };
        let [weights, bias, slopes] = regions;
        let (storage, channels) = self.storage(input);
        Ok(Some(Stride {
            storage,
            shape: self.plan.buffers[if up { input } else { output }].shape,
            stride: layer.kernel,
            channels,
            outputs: layer.outputs,
            input: self.buffers[input],
            weights,
            bias,
            slopes,
            output: self.buffers[output],
            needed: up.then_some(self.memory.flags[output]),
            overflow: (storage == Storage::Blocked).then_some(self.memory.overflow),
        }))
    }

    /// How a buffer is stored, and its channels, those that only fill chunks included.
    fn storage(&self, id: BufferId) -> (Storage, usize) {
        let all = self.activations.all(self.plan, id);
        match self.activations {
            Activations::F32 => (Storage::Planar, all),
            Activations::F16(_) => (Storage::Blocked, 8 * all),
        }
    }

    fn head(&mut self, hidden: &Layer, binary: &Layer, input: BufferId) -> Result<Launch> {
        let (first, last) = (self.weights.layer(hidden), self.weights.layer(binary));
        let packed = match self.activations {
            Activations::F32 => head::pack(&first, &last, &Slots::plain(hidden.inputs)),
            Activations::F16(slots) => head::pack(&first, &last, &slots[input]),
        };
        let (storage, channels) = self.storage(input);
        let head = Head {
            storage,
            shape: self.plan.shape,
            channels,
            input: self.buffers[input],
            weights: store(self.device, &packed)?,
            logits: self.memory.logits,
            probabilities: None,
            needed: self.memory.flags.last().copied(),
        };
        Ok(head.launch())
    }
}

/// A layer's packed tensors on the device: kernel, bias and slopes. A layer that is applied several times is stored
/// once.
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

/// Uploads a layer's packed kernel, bias and slopes.
pub(crate) fn layer_regions<T: bytemuck::NoUninit>(
    device: &mut dyn CudaDevice,
    tensors: &LayerTensors,
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

/// Uploads `values` to memory of their own.
pub(crate) fn store<T: bytemuck::NoUninit>(device: &mut dyn CudaDevice, values: &[T]) -> Result<Region> {
    let bytes = bytemuck::cast_slice(values);
    let region = device.allocate(bytes.len())?;
    device.upload(region, bytes)?;
    Ok(region)
}
