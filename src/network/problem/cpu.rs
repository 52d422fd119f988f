//! A problem on the CPU: one packed layer of the engine on memory of its own.

use super::{Operation, Output, Prepared, Problem, UNTOUCHED, Way, channels, joined};
use crate::network::cpu::Instructions;
use crate::network::cpu::convolution;
use crate::network::cpu::direct::Direct;
use crate::network::cpu::down::{self, Down};
use crate::network::cpu::epilogue::Epilogue;
use crate::network::cpu::head::Head;
use crate::network::cpu::input::{self, Input};
use crate::network::cpu::kernels::Kernels;
use crate::network::cpu::layout::{Blocks, KernelValues, Slots};
use crate::network::cpu::simd::LANES;
use crate::network::cpu::up::{self, Up};
use crate::network::cpu::winograd::tile_batch::Batch;
use crate::network::cpu::winograd::transform::outputs;
use crate::network::cpu::winograd::{self, Operands, Winograd};
use crate::network::region::{Tiling, Voxels};
use crate::network::{Error, Result};
use ndarray::{Array4, Axis};

/// Few tiles that are computed together, so that small problems have several batches.
const BATCH: [usize; 3] = [1, 2, 3];

pub(super) fn ways(problem: &Problem) -> Vec<Way> {
    match &problem.operation {
        Operation::Convolution { layer, .. } => {
            let kernel = layer.size();
            let transformable = kernel.iter().all(|taps| [1, 5].contains(taps)) && kernel != [1; 3];
            let mut ways = vec![Way::Plain];
            for number in if transformable { vec![6, 8] } else { vec![] } {
                let points = kernel.map(|taps| if taps == 1 { 1 } else { number });
                ways.extend([None, Some(BATCH)].map(|batch| Way::Transforms { points, batch }));
            }
            ways
        }
        Operation::Head { probabilities: true, .. } => vec![],
        Operation::Input(_) | Operation::Down(_) | Operation::Up(_) | Operation::Head { .. } => vec![Way::Plain],
        Operation::Prelu(_) | Operation::Sigmoid | Operation::Pack | Operation::Unpack => vec![],
    }
}

pub(super) fn best_way(problem: &Problem) -> Way {
    let points = match &problem.operation {
        Operation::Convolution { layer, .. } => convolution::points(layer.size(), problem.shape()),
        _ => None,
    };
    points.map_or(Way::Plain, |points| Way::Transforms { points, batch: None })
}

pub(super) fn tiling(problem: &Problem, way: Way) -> Option<Tiling> {
    let shape = problem.output_shape();
    match (&problem.operation, way) {
        (Operation::Input(_), _) => Some(Input::tiling(shape)),
        (Operation::Convolution { .. }, Way::Transforms { points, .. }) => Some(Tiling { shape, tile: points.map(outputs) }),
        (Operation::Convolution { .. }, _) => Some(Direct::tiling(shape)),
        (Operation::Down(_), _) => Some(Down::tiling(shape)),
        (Operation::Up(_), _) => Some(Up::tiling(shape)),
        (Operation::Head { .. }, _) => Some(Head::tiling(shape)),
        _ => None,
    }
}

pub(super) fn prepare(
    problem: &Problem,
    instructions: Instructions,
    way: Way,
    needed: Option<&[bool]>,
) -> Result<Box<dyn Prepared>> {
    let kernels = Kernels::of(instructions)?;
    let shape = problem.output_shape();
    let input = Activation::of(&problem.input);
    let (residual, outputs) = match &problem.operation {
        Operation::Convolution { residual, .. } if !residual.is_empty() => (Some(Activation::of(residual)), channels(residual)),
        operation => (None, operation.layer().map_or(vec![], |layer| vec![layer.bias.len()])),
    };
    let output = Activation::untouched(&outputs, shape);
    let packed = pack(problem, kernels, way, [&input.slots, &output.slots])?;
    let Some(tiling) = tiling(problem, way) else { return Err(problem.impossible(way)) };
    let wanted = |tile: usize| needed.is_none_or(|needed| needed[tile]);
    let longest = packed.longest();
    let boxes = tiling.boxes(0..tiling.len(), wanted, longest);
    let (mut batches, mut scratch_len) = (Vec::new(), packed.scratch_len(shape));
    if let (Packed::Winograd(layer), Way::Transforms { batch, .. }) = (&packed, way) {
        let size = batch.unwrap_or_else(|| convolution::batch_size(layer, &tiling));
        batches = Batch::list(&tiling, wanted, size);
        scratch_len = layer.lengths(size).all();
    }
    // Of NaN, so that what is read before it was written shows.
    let scratch = vec![f32::NAN; scratch_len];
    let zeros = vec![0.0; (shape[2] + 8) * LANES];
    Ok(Box::new(Single { kernels, packed, input, residual, output, boxes, batches, scratch, zeros }))
}

/// A packed layer; of those that begin and end a network with the values that are in no blocks.
enum Packed {
    /// The scan.
    Input(Input, Vec<f32>),
    Direct(Direct),
    Winograd(Winograd),
    Down(Down),
    Up(Up),
    /// The logits.
    Head(Head, Vec<f32>),
}

fn pack(problem: &Problem, kernels: &Kernels, way: Way, [input, output]: [&Slots; 2]) -> Result<Packed> {
    if let (Operation::Head { hidden, binary, probabilities: false }, Way::Plain) = (&problem.operation, way) {
        let logits = vec![UNTOUCHED; problem.shape().iter().product()];
        return Ok(Packed::Head(Head::new(&hidden.tensors(), &binary.tensors(), input), logits));
    }
    let Some(layer) = problem.operation.layer() else { return Err(problem.impossible(way)) };
    let (tensors, channels) = (layer.tensors(), [channels(&problem.input).iter().sum(), layer.bias.len()]);
    let (kernel, epilogue) =
        (KernelValues { size: layer.size(), values: &tensors.kernel, channels, input, output }, Epilogue::new(&tensors, output));
    Ok(match (&problem.operation, way) {
        (Operation::Input(_), Way::Plain) => {
            Packed::Input(Input::new(&kernel, epilogue), joined(&problem.input).iter().copied().collect())
        }
        (Operation::Convolution { .. }, Way::Plain) => Packed::Direct(Direct::new(kernels, &kernel, epilogue)?),
        (Operation::Convolution { .. }, Way::Transforms { points, .. }) => {
            Packed::Winograd(Winograd::new(kernels, 2, points, &kernel, epilogue)?)
        }
        (Operation::Down(_), Way::Plain) => Packed::Down(Down::new(kernels, &kernel, epilogue)?),
        (Operation::Up(_), Way::Plain) => Packed::Up(Up::new(kernels, &kernel, epilogue)?),
        _ => return Err(problem.impossible(way)),
    })
}

impl Packed {
    /// The most tiles side by side along W that are computed at a time.
    fn longest(&self) -> usize {
        match self {
            Packed::Input(..) => input::LONGEST,
            Packed::Down(_) => down::LONGEST,
            Packed::Up(_) => up::LONGEST,
            Packed::Direct(_) | Packed::Winograd(_) | Packed::Head(..) => 1,
        }
    }

    fn scratch_len(&self, shape: [usize; 3]) -> usize {
        match self {
            Packed::Input(layer, _) => layer.scratch_len(),
            Packed::Direct(layer) => layer.scratch_len(shape),
            Packed::Down(layer) => layer.scratch_len(),
            Packed::Up(layer) => layer.scratch_len(),
            Packed::Winograd(_) | Packed::Head(..) => 0,
        }
    }
}

/// A layer and its memory.
struct Single {
    kernels: &'static Kernels,
    packed: Packed,
    input: Activation,
    residual: Option<Activation>,
    output: Activation,
    /// What is computed, and for Winograd's transforms.
    boxes: Vec<Voxels>,
    batches: Vec<Batch>,
    scratch: Vec<f32>,
    /// A row of voxels outside of the grid.
    zeros: Vec<f32>,
}

impl Prepared for Single {
    fn launch(&mut self) -> Result<()> {
        let Single { kernels, packed, scratch, .. } = self;
        let (input, output) = (self.input.blocks(), self.output.blocks());
        let residual = self.residual.as_mut().map(Activation::blocks);
        if let Packed::Winograd(layer) = packed {
            let target = winograd::Output::Store(&output);
            let operands = Operands { input: &input, residual: residual.as_ref(), output: target, zeros: &self.zeros };
            for batch in &self.batches {
                // SAFETY: blocks and scratch memory were made for the layer and its batches, and nobody else has them.
                unsafe { layer.batch(kernels, &operands, batch, scratch) };
            }
            return Ok(());
        }
        for voxels in &self.boxes {
            // SAFETY: blocks, scan, logits and scratch memory were made for the layer, and nobody else has them.
            unsafe {
                match packed {
                    Packed::Input(layer, scan) => layer.tiles(kernels, scan, &output, voxels, scratch),
                    Packed::Direct(layer) => layer.row(kernels, &input, residual.as_ref(), &output, voxels, scratch),
                    Packed::Winograd(_) => unreachable!("its batches are done above"),
                    Packed::Down(layer) => layer.tiles(kernels, &input, &output, voxels, scratch),
                    Packed::Up(layer) => layer.tiles(kernels, &input, &output, voxels, scratch),
                    Packed::Head(head, logits) => head.row(kernels, &input, logits.as_mut_ptr(), voxels),
                }
            }
        }
        Ok(())
    }

    fn output(&mut self) -> Result<Output> {
        let Packed::Head(_, logits) = &self.packed else { return Ok(self.output.output()) };
        let [depth, height, width] = self.input.shape;
        let values =
            Array4::from_shape_vec((1, depth, height, width), logits.clone()).map_err(|error| Error::Shape(error.to_string()))?;
        Ok(Output { values, padding: Array4::zeros((0, depth, height, width)), beyond: vec![], overflow: false })
    }
}

/// Blocks with their memory.
struct Activation {
    slots: Slots,
    shape: [usize; 3],
    memory: Vec<f32>,
}

impl Activation {
    /// The values of `parts` in their places, 0 in the others.
    fn of(parts: &[Array4<f32>]) -> Activation {
        let (_, depth, height, width) = parts[0].dim();
        let (shape, slots) = ([depth, height, width], Slots::new(&channels(parts)));
        let memory = vec![0.0; slots.blocks() * Blocks::block_len(shape)];
        let mut activation = Activation { slots, shape, memory };
        let x = joined(parts);
        for place in 0..activation.slots.blocks() * LANES {
            let Some(channel) = activation.slots.channel(place) else { continue };
            for (voxel, value) in x.index_axis(Axis(0), channel).iter().enumerate() {
                let at = activation.index(place, voxel);
                activation.memory[at] = *value;
            }
        }
        activation
    }

    /// Room for channels in their parts, and for a block more, which no layer may touch.
    fn untouched(parts: &[usize], shape: [usize; 3]) -> Activation {
        let slots = Slots::new(parts);
        let memory = vec![UNTOUCHED; (slots.blocks() + 1) * Blocks::block_len(shape)];
        Activation { slots, shape, memory }
    }

    fn index(&self, place: usize, voxel: usize) -> usize {
        place / LANES * Blocks::block_len(self.shape) + voxel * LANES + place % LANES
    }

    fn blocks(&mut self) -> Blocks {
        let places = self.memory.chunks_exact_mut(Blocks::block_len(self.shape)).map(<[f32]>::as_mut_ptr).collect();
        Blocks { shape: self.shape, planes: self.shape[0], places }
    }

    fn output(&self) -> Output {
        let places = 0..self.slots.blocks() * LANES;
        let (held, empty): (Vec<usize>, Vec<usize>) = places.partition(|&place| self.slots.channel(place).is_some());
        let [depth, height, width] = self.shape;
        let at = |places: &[usize]| {
            Array4::from_shape_fn((places.len(), depth, height, width), |(n, d, h, w)| {
                self.memory[self.index(places[n], (d * height + h) * width + w)]
            })
        };
        let beyond = self.memory[self.slots.blocks() * Blocks::block_len(self.shape)..].to_vec();
        Output { values: at(&held), padding: at(&empty), beyond, overflow: false }
    }
}
