//! A problem on a CUDA device: packed weights, activations in regions of their own, and the launches.

use super::{Layer, Operation, Output, Prepared, Problem, UNTOUCHED, Way, channels, joined};
use crate::network::cuda::conv::{self, Conv, Residual};
use crate::network::cuda::conv_f16::{self, ConvF16, Division, Path};
use crate::network::cuda::head::{self, Head};
use crate::network::cuda::input::{self, Input};
use crate::network::cuda::launches::{layer_regions, store};
use crate::network::cuda::slots::Slots;
use crate::network::cuda::stride::{self, Order, Storage, Stride};
use crate::network::cuda::tiles::TILE;
use crate::network::cuda::{CudaDevice, Grade, Launch, Region, pointwise};
use crate::network::region::Tiling;
use crate::network::{Error, Result};
use half::f16;
use ndarray::Array4;

pub(super) fn ways(problem: &Problem, device: &dyn CudaDevice, grade: Grade) -> Vec<Way> {
    let inputs = channels(&problem.input);
    match (&problem.operation, grade) {
        (Operation::Convolution { .. }, Grade::Exact) => {
            let all = inputs.iter().sum::<usize>();
            // In one part and in up to three.
            let splits = if all > 1 { vec![1, all.div_ceil(all.div_ceil(3))] } else { vec![1] };
            splits.into_iter().map(Way::Split).collect()
        }
        (Operation::Convolution { layer, .. }, Grade::Fast) => {
            let pairs = inputs.iter().map(|channels| channels.div_ceil(8)).sum::<usize>().div_ceil(2);
            let path = Division::new(device.capability(), problem.shape(), layer.size(), 1, 1).path;
            let paths: &[bool] = if path == Path::Sm90 { &[false, true] } else { &[false] };
            let splits: &[usize] = if pairs > 1 { &[1, pairs] } else { &[1] };
            let mut ways = Vec::new();
            for &sm90 in paths {
                for outputs in [32, 64] {
                    ways.extend(splits.iter().map(|&splits| Way::Tensor { sm90, outputs, splits }));
                }
            }
            ways
        }
        (Operation::Prelu(_) | Operation::Sigmoid, Grade::Fast) => vec![],
        (Operation::Pack | Operation::Unpack, Grade::Exact) => vec![],
        _ => vec![Way::Plain],
    }
}

pub(super) fn best_way(problem: &Problem, device: &dyn CudaDevice, grade: Grade) -> Way {
    let (shape, inputs) = (problem.shape(), channels(&problem.input));
    match (&problem.operation, grade) {
        (Operation::Convolution { layer, .. }, Grade::Exact) => {
            Way::Split(Conv::best_splits(shape, inputs.iter().sum(), layer.bias.len()))
        }
        (Operation::Convolution { layer, residual }, Grade::Fast) => {
            let chunks = slots(&inputs).chunks();
            let output_chunks = output_slots(layer, residual).chunks();
            let Division { path, outputs, splits } =
                Division::new(device.capability(), shape, layer.size(), chunks, output_chunks);
            Way::Tensor { sm90: path == Path::Sm90, outputs, splits }
        }
        _ => Way::Plain,
    }
}

pub(super) fn tiling(problem: &Problem) -> Option<Tiling> {
    let skips = matches!(&problem.operation, Operation::Convolution { .. } | Operation::Up(_) | Operation::Head { .. });
    skips.then(|| Tiling { shape: problem.output_shape(), tile: TILE })
}

pub(super) fn prepare<'d>(
    problem: &Problem,
    device: &'d mut dyn CudaDevice,
    grade: Grade,
    way: Way,
    needed: Option<&[bool]>,
) -> Result<Box<dyn Prepared + 'd>> {
    let flags = needed.map(|needed| needed.iter().copied().map(u32::from).collect::<Vec<_>>());
    let needed = flags.map(|flags| store(device, &flags)).transpose()?;
    let overflow = store(device, &[0u32])?;
    let storage = if grade == Grade::Exact { Storage::Planar } else { Storage::Blocked };
    let mut memory = Memory { device, storage, shape: problem.output_shape(), needed, overflow };
    let (launches, target) = match (&problem.operation, grade, way) {
        (Operation::Input(layer), Grade::Exact, Way::Plain) => memory.input_f32(problem, layer),
        (Operation::Input(layer), Grade::Fast, Way::Plain) => memory.input_f16(problem, layer),
        (Operation::Convolution { layer, residual }, Grade::Exact, Way::Split(splits)) => {
            memory.conv_f32(&problem.input, layer, residual, splits)
        }
        (Operation::Convolution { layer, residual }, Grade::Fast, Way::Tensor { sm90, outputs, splits }) => {
            let path = if sm90 { Path::Sm90 } else { Path::Portable };
            memory.conv_f16(&problem.input, layer, residual, Division { path, outputs, splits })
        }
        (Operation::Down(layer), _, Way::Plain) => memory.stride(problem, layer, Order::InOut),
        (Operation::Up(layer), _, Way::Plain) => memory.stride(problem, layer, Order::OutIn),
        (Operation::Head { hidden, binary, probabilities }, _, Way::Plain) => {
            memory.head(problem, [hidden, binary], *probabilities)
        }
        (Operation::Prelu(slopes), Grade::Exact, Way::Plain) => memory.prelu(problem, slopes),
        (Operation::Sigmoid, Grade::Exact, Way::Plain) => memory.sigmoid(problem),
        (Operation::Pack, Grade::Fast, Way::Plain) => memory.pack(problem),
        (Operation::Unpack, Grade::Fast, Way::Plain) => memory.unpack(problem),
        _ => return Err(problem.impossible(way)),
    }?;
    let Memory { device, shape, .. } = memory;
    Ok(Box::new(Launches { device, launches, target, shape, overflow }))
}

/// The places of channels that come in parts.
fn slots(parts: &[usize]) -> Slots {
    parts[1..].iter().fold(Slots::plain(parts[0]), |slots, &part| Slots::joined(&slots, &Slots::plain(part)))
}

/// The places of a convolution's outputs: those of what is added.
fn output_slots(layer: &Layer, residual: &[Array4<f32>]) -> Slots {
    if residual.is_empty() { Slots::plain(layer.bias.len()) } else { slots(&channels(residual)) }
}

fn voxels(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

/// Blocked f16 `[chunks][V][8]` of the channels in their places, 0 in the gaps.
fn blocked(parts: &[Array4<f32>]) -> Vec<f16> {
    let (x, slots) = (joined(parts), slots(&channels(parts)));
    let voxels = x.len() / slots.channels();
    let mut out = vec![f16::ZERO; slots.chunks() * voxels * 8];
    let values = x.as_standard_layout();
    for ((_, slot), values) in slots.places().zip(values.as_slice().expect("standard layout").chunks_exact(voxels)) {
        for (voxel, value) in values.iter().enumerate() {
            out[(slot / 8 * voxels + voxel) * 8 + slot % 8] = f16::from_f32(*value);
        }
    }
    out
}

/// Where a result is.
enum Target {
    /// f32, one channel after another, in one region or several.
    Planar(Vec<Region>),
    /// f16 in chunks.
    Blocked(Region, Slots),
}

type Made = Result<(Vec<Launch>, Target)>;

/// The device while a problem's memory is made.
struct Memory<'d> {
    device: &'d mut dyn CudaDevice,
    storage: Storage,
    /// The output's grid.
    shape: [usize; 3],
    needed: Option<Region>,
    overflow: Region,
}

impl Memory<'_> {
    fn store<T: bytemuck::NoUninit>(&mut self, values: &[T]) -> Result<Region> {
        store(self.device, values)
    }

    /// Parts of an activation in planar f32.
    fn planar(&mut self, parts: &[Array4<f32>]) -> Result<Region> {
        self.store(joined(parts).as_standard_layout().as_slice().expect("standard layout"))
    }

    /// Parts of an activation in one region, in the grade's storage.
    fn activation(&mut self, parts: &[Array4<f32>]) -> Result<Region> {
        match self.storage {
            Storage::Planar => self.planar(parts),
            Storage::Blocked => self.store(&blocked(parts)),
        }
    }

    /// The one or two parts of an activation, each in a region of its own.
    fn regions(&mut self, parts: &[Array4<f32>]) -> Result<(Region, Option<Region>)> {
        let first = self.activation(&parts[..1])?;
        match parts {
            [_] => Ok((first, None)),
            [_, second] => Ok((first, Some(self.activation(std::slice::from_ref(second))?))),
            _ => Err(Error::Shape("a convolution reads one or two activations".into())),
        }
    }

    fn output_f32(&mut self, channels: usize) -> Result<Region> {
        self.store(&vec![UNTOUCHED; channels * voxels(self.shape)])
    }

    fn output_f16(&mut self, slots: &Slots) -> Result<Region> {
        self.store(&vec![f16::from_f32(UNTOUCHED); 8 * slots.chunks() * voxels(self.shape)])
    }

    fn partial(&mut self, bytes: usize) -> Result<Option<Region>> {
        (bytes > 0).then(|| self.device.allocate(bytes)).transpose()
    }

    /// A convolution of the scan without what is added.
    fn conv(&mut self, layer: &Layer, input: Region, splits: usize) -> Result<Conv> {
        let outputs = layer.bias.len();
        let (tensors, inputs) = (layer.tensors(), layer.kernel.dim().3);
        let packed = conv::pack(&tensors.kernel, layer.size(), inputs, outputs);
        let [weights, bias, slopes] = layer_regions(self.device, &tensors, outputs, conv::OUTPUTS, &packed)?;
        Ok(Conv {
            shape: self.shape,
            kernel: layer.size(),
            channels: [inputs, 0],
            outputs,
            input,
            skip: None,
            weights,
            bias,
            slopes,
            residual: None,
            output: self.output_f32(outputs)?,
            splits,
            partial: self.partial(Conv::partial_bytes(self.shape, outputs, splits))?,
            needed: self.needed,
        })
    }

    fn input_f32(&mut self, problem: &Problem, layer: &Layer) -> Made {
        let scan = self.planar(&problem.input)?;
        let conv = Conv { residual: Some(Residual::Shared(scan)), ..self.conv(layer, scan, 1)? };
        Ok((conv.launches(), Target::Planar(vec![conv.output])))
    }

    fn input_f16(&mut self, problem: &Problem, layer: &Layer) -> Made {
        let (outputs, tensors) = (layer.bias.len(), layer.tensors());
        let slots = Slots::plain(outputs);
        let packed = input::pack(&tensors.kernel, layer.size(), outputs).ok_or_else(too_large)?;
        let [weights, bias, slopes] = layer_regions(self.device, &tensors, outputs, input::PADDING, &packed)?;
        let input = Input {
            shape: self.shape,
            kernel: layer.size(),
            outputs,
            input: self.planar(&problem.input)?,
            weights,
            bias,
            slopes,
            output: self.output_f16(&slots)?,
            overflow: self.overflow,
        };
        Ok((vec![input.launch()], Target::Blocked(input.output, slots)))
    }

    fn conv_f32(&mut self, parts: &[Array4<f32>], layer: &Layer, residual: &[Array4<f32>], splits: usize) -> Made {
        let (input, skip) = self.regions(parts)?;
        let first = parts[0].dim().0;
        let added = if residual.is_empty() { None } else { Some(self.regions(residual)?) };
        let of_one = self.conv(layer, input, splits)?;
        let conv = Conv {
            channels: [first, of_one.channels[0] - first],
            skip,
            residual: added.map(|(first, skip)| Residual::Channels { channels: residual[0].dim().0, first, skip }),
            ..of_one
        };
        Ok((conv.launches(), Target::Planar(vec![conv.output])))
    }

    fn conv_f16(&mut self, parts: &[Array4<f32>], layer: &Layer, residual: &[Array4<f32>], division: Division) -> Made {
        let (from, to) = (slots(&channels(parts)), output_slots(layer, residual));
        let tensors = layer.tensors();
        let packed = conv_f16::pack(&tensors.kernel, layer.size(), &from, &to, division).ok_or_else(too_large)?;
        let first = parts[0].dim().0.div_ceil(8);
        let (input, skip) = self.regions(parts)?;
        let added = if residual.is_empty() { None } else { Some(self.regions(residual)?) };
        let conv = ConvF16 {
            shape: self.shape,
            kernel: layer.size(),
            chunks: [first, from.chunks() - first],
            output_chunks: to.chunks(),
            division,
            input,
            skip,
            weights: self.store(&packed)?,
            bias: self.store(&to.scatter(Some(&tensors.bias), conv_f16::PADDING))?,
            slopes: self.store(&to.scatter(tensors.slopes.as_deref(), conv_f16::PADDING))?,
            residual: added.map(|(first, skip)| (first, residual[0].dim().0.div_ceil(8), skip)),
            output: self.output_f16(&to)?,
            partial: self.partial(division.partial_bytes(self.shape, to.chunks()))?,
            needed: self.needed,
            overflow: self.overflow,
        };
        Ok((conv.launches(self.device)?, Target::Blocked(conv.output, to)))
    }

    fn stride(&mut self, problem: &Problem, layer: &Layer, order: Order) -> Made {
        let (outputs, tensors, from) = (layer.bias.len(), layer.tensors(), slots(&channels(&problem.input)));
        let [weights, bias, slopes] = match self.storage {
            Storage::Planar => {
                let packed = stride::pack(&tensors.kernel, order, layer.size(), from.channels(), outputs);
                layer_regions(self.device, &tensors, outputs, 8, &packed)?
            }
            Storage::Blocked => {
                let packed = stride::pack_f16(&tensors.kernel, order, layer.size(), &from, outputs).ok_or_else(too_large)?;
                layer_regions(self.device, &tensors, outputs, 8, &packed)?
            }
        };
        let (to, up) = (Slots::plain(outputs), order == Order::OutIn);
        let (channels, output) = match self.storage {
            Storage::Planar => (from.channels(), self.output_f32(outputs)?),
            Storage::Blocked => (8 * from.chunks(), self.output_f16(&to)?),
        };
        let stride = Stride {
            storage: self.storage,
            shape: if up { problem.shape() } else { self.shape },
            stride: layer.size(),
            channels,
            outputs,
            input: self.activation(&problem.input)?,
            weights,
            bias,
            slopes,
            output,
            needed: self.needed,
            overflow: Some(self.overflow),
        };
        let target = match self.storage {
            Storage::Planar => Target::Planar(vec![output]),
            Storage::Blocked => Target::Blocked(output, to),
        };
        Ok((vec![if up { stride.launch_up() } else { stride.launch_down() }], target))
    }

    fn head(&mut self, problem: &Problem, [hidden, binary]: [&Layer; 2], probabilities: bool) -> Made {
        let planar = self.storage == Storage::Planar;
        let parts = channels(&problem.input);
        let slots = if planar { Slots::plain(parts.iter().sum()) } else { slots(&parts) };
        let packed = head::pack(&hidden.tensors(), &binary.tensors(), &slots);
        let logits = self.output_f32(1)?;
        let probabilities = if probabilities { Some(self.output_f32(1)?) } else { None };
        let head = Head {
            storage: self.storage,
            shape: self.shape,
            channels: if planar { slots.channels() } else { 8 * slots.chunks() },
            input: self.activation(&problem.input)?,
            weights: self.store(&packed)?,
            logits,
            probabilities,
            needed: self.needed,
        };
        Ok((vec![head.launch()], Target::Planar(std::iter::once(logits).chain(probabilities).collect())))
    }

    fn prelu(&mut self, problem: &Problem, slopes: &[f32]) -> Made {
        let (input, output) = (self.planar(&problem.input)?, self.output_f32(slopes.len())?);
        let slopes_there = self.store(slopes)?;
        let launch = pointwise::prelu(input, slopes_there, output, slopes.len(), voxels(self.shape));
        Ok((vec![launch], Target::Planar(vec![output])))
    }

    fn sigmoid(&mut self, problem: &Problem) -> Made {
        let channels = channels(&problem.input).iter().sum();
        let (input, output) = (self.planar(&problem.input)?, self.output_f32(channels)?);
        let launch = pointwise::sigmoid(input, output, channels * voxels(self.shape));
        Ok((vec![launch], Target::Planar(vec![output])))
    }

    fn pack(&mut self, problem: &Problem) -> Made {
        let channels = channels(&problem.input).iter().sum();
        let slots = Slots::plain(channels);
        let (input, output) = (self.planar(&problem.input)?, self.output_f16(&slots)?);
        let launch = pointwise::pack(input, output, self.overflow, channels, voxels(self.shape));
        Ok((vec![launch], Target::Blocked(output, slots)))
    }

    fn unpack(&mut self, problem: &Problem) -> Made {
        let [channels] = channels(&problem.input)[..] else {
            return Err(Error::Shape("what is unpacked has one part".into()));
        };
        let (input, output) = (self.activation(&problem.input)?, self.output_f32(channels)?);
        let launch = pointwise::unpack(input, output, channels, voxels(self.shape));
        Ok((vec![launch], Target::Planar(vec![output])))
    }
}

fn too_large() -> Error {
    Error::Device("a weight does not fit f16".into())
}

/// The launches of a problem, on memory that is there.
struct Launches<'d> {
    device: &'d mut dyn CudaDevice,
    launches: Vec<Launch>,
    target: Target,
    shape: [usize; 3],
    overflow: Region,
}

/// The values of a region.
pub(super) fn take<T: bytemuck::Pod>(device: &mut dyn CudaDevice, region: Region) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); region.bytes / size_of::<T>()];
    device.download(region, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

impl Launches<'_> {
    fn array(&self, values: Vec<f32>) -> Array4<f32> {
        let [depth, height, width] = self.shape;
        let channels = values.len() / voxels(self.shape);
        Array4::from_shape_vec((channels, depth, height, width), values).expect("whole channels")
    }
}

impl Prepared for Launches<'_> {
    fn launch(&mut self) -> Result<()> {
        // SAFETY: every region was allocated on this device for the problem, with the size that its launcher asks for.
        self.launches.iter().try_for_each(|launch| unsafe { self.device.launch(launch) })
    }

    fn output(&mut self) -> Result<Output> {
        let (mut values, mut padding) = (Vec::new(), Vec::new());
        match &self.target {
            Target::Planar(regions) => {
                for region in regions {
                    values.extend(take::<f32>(self.device, *region)?);
                }
            }
            Target::Blocked(region, slots) => {
                let memory = take::<f16>(self.device, *region)?;
                let voxels = voxels(self.shape);
                let held: Vec<usize> = slots.places().map(|(_, slot)| slot).collect();
                for slot in 0..8 * slots.chunks() {
                    let to = if held.contains(&slot) { &mut values } else { &mut padding };
                    to.extend((0..voxels).map(|voxel| memory[(slot / 8 * voxels + voxel) * 8 + slot % 8].to_f32()));
                }
            }
        }
        let overflow = take::<u32>(self.device, self.overflow)? != [0];
        Ok(Output { values: self.array(values), padding: self.array(padding), beyond: vec![], overflow })
    }
}
