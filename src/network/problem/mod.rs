//! An operation of the network as a value: its inputs and weights, what is right ([`Problem::reference`], by the plain
//! loops of [`super::reference`]) and what a back end makes of it ([`Problem::run`]).
//!
//! It is public, though hidden from the documentation, for `tests/operations.rs` and the benchmarks alone, which try every
//! operation on every back end.
//! Tensors are (C, D, H, W) here. What a back end wants instead (packed weights, blocked activations, launches) is made
//! inside, so that none of it has to be known outside of the crate.

mod check;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod overlap;
mod sizes;

#[cfg(feature = "cuda")]
pub use overlap::{Overlap, PreparedOverlap};
pub use sizes::Sizes;

use super::cpu::Instructions;
#[cfg(feature = "cuda")]
use super::cuda::{CudaDevice, Grade};
use super::reference::{add, broadcast_channels, concatenate, conv, down, prelu, up};
use super::region::Tiling;
use super::weights::LayerTensors;
use super::{Error, Result, sigmoid};
use ndarray::{Array4, Array5, ArrayView4, ArrayView5, Axis};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// What stands in a problem's output before it is computed.
pub const UNTOUCHED: f32 = 77.0;

/// An operation and what it is applied to.
#[derive(Clone)]
pub struct Problem {
    /// The operation.
    pub operation: Operation,
    /// The input (C, D, H, W), in the parts of a concatenation, each of which begins a block or chunk of channels of
    /// its own where channels are blocked.
    pub input: Vec<Array4<f32>>,
}

/// An operation with its weights. `act` is a layer's activation.
#[derive(Clone)]
pub enum Operation {
    /// `act(conv(x)) + x`, the one-channel input x added to every channel.
    Input(Layer),
    /// `act(conv(x)) (+ residual)` with stride 1 and zero "same" padding.
    Convolution {
        /// The convolution.
        layer: Layer,
        /// What is added, in its parts; none where nothing is.
        residual: Vec<Array4<f32>>,
    },
    /// `act(conv(x))` with stride = kernel, without padding.
    Down(Layer),
    /// `act(transposed conv(x))`: each input voxel fills a block of its own.
    Up(Layer),
    /// The logits `conv(act(conv(x)))`, both 1x1x1.
    Head {
        /// The first convolution, to two channels.
        hidden: Layer,
        /// The second, to one channel, whose activation is not applied.
        binary: Layer,
        /// Whether a second channel has the probabilities.
        probabilities: bool,
    },
    /// PReLU by itself, with a slope for each channel.
    Prelu(Vec<f32>),
    /// The logistic function by itself.
    Sigmoid,
    /// Planar f32 to blocked f16.
    Pack,
    /// Blocked f16 to planar f32.
    Unpack,
}

/// The values of a convolution and its activation.
#[derive(Clone)]
pub struct Layer {
    /// (kd, kh, kw, in, out); of an up-convolution (kd, kh, kw, out, in). In standard layout.
    pub kernel: Array5<f32>,
    /// One for each output.
    pub bias: Vec<f32>,
    /// Slopes of a PReLU, one for each output; `None` for ReLU.
    pub slopes: Option<Vec<f32>>,
}

/// What computes.
pub enum Backend {
    /// The CPU's layers, on one thread, by these instructions.
    Cpu(Instructions),
    /// The CUDA kernels of one grade on a device. What it allocates for a problem lives as long as the device.
    #[cfg(feature = "cuda")]
    Cuda(Box<dyn CudaDevice>, Grade),
}

/// How an operation is computed where a back end has several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The only one; of a convolution on the CPU by its definition.
    Plain,
    /// On the CPU by Winograd's transforms.
    Transforms {
        /// Points along (D, H, W).
        points: [usize; 3],
        /// Largest box of tiles that are computed together; `None` for the engine's.
        batch: Option<[usize; 3]>,
    },
    /// On a CUDA device in f32: the input channels in so many parts, whose sums are added at the end.
    Split(usize),
    /// On a CUDA device by tensor cores.
    Tensor {
        /// Whether by wgmma and TMA instead of mma.sync.
        sm90: bool,
        /// Output channels of a block.
        outputs: usize,
        /// Parts of the input channels, whose sums are added at the end.
        splits: usize,
    },
}

/// A problem in a back end's memory: launched as often as one likes, without anything being copied.
pub trait Prepared {
    /// Computes the operation, and returns when or before it has ended.
    ///
    /// # Errors
    /// [`Error::Device`] with what the device reports.
    fn launch(&mut self) -> Result<()>;

    /// What stands in the output, after all launches have ended.
    ///
    /// # Errors
    /// [`Error::Device`] with what the device reports.
    fn output(&mut self) -> Result<Output>;
}

/// What stands in an output's memory.
#[derive(Clone, Debug)]
pub struct Output {
    /// (C, D, H, W)
    pub values: Array4<f32>,
    /// The places of blocks or chunks that hold no channel, likewise: 0 wherever the output was computed.
    pub padding: Array4<f32>,
    /// Memory behind the output: [`UNTOUCHED`].
    pub beyond: Vec<f32>,
    /// Whether a value does not fit the output's storage.
    pub overflow: bool,
}

type Convolution = fn(ArrayView4<f32>, ArrayView5<f32>, &[f32]) -> Array4<f32>;

impl Operation {
    /// The layer of an operation that is one convolution.
    fn layer(&self) -> Option<&Layer> {
        match self {
            Operation::Input(layer) | Operation::Down(layer) | Operation::Up(layer) => Some(layer),
            Operation::Convolution { layer, .. } => Some(layer),
            Operation::Head { .. } | Operation::Prelu(_) | Operation::Sigmoid | Operation::Pack | Operation::Unpack => None,
        }
    }
}

impl Layer {
    fn size(&self) -> [usize; 3] {
        let (kd, kh, kw, ..) = self.kernel.dim();
        [kd, kh, kw]
    }

    fn tensors(&self) -> LayerTensors<'_> {
        LayerTensors {
            kernel: Cow::Borrowed(self.kernel.as_slice().expect("a kernel is in standard layout")),
            bias: Cow::Borrowed(&self.bias),
            slopes: self.slopes.as_deref().map(Cow::Borrowed),
        }
    }

    fn apply(&self, convolution: Convolution, x: ArrayView4<f32>) -> Array4<f32> {
        let zeros = vec![0.0; self.bias.len()];
        prelu(convolution(x, self.kernel.view(), &self.bias), self.slopes.as_ref().unwrap_or(&zeros))
    }

    fn rounded(&self) -> Layer {
        let values = |values: &[f32]| values.iter().copied().map(rounded).collect();
        Layer { kernel: self.kernel.mapv(rounded), bias: values(&self.bias), slopes: self.slopes.as_deref().map(values) }
    }
}

/// To the nearest multiple of 1/64.
fn rounded(value: f32) -> f32 {
    (value * 64.0).round() / 64.0
}

/// All channels of the parts of a concatenation.
fn joined(parts: &[Array4<f32>]) -> Array4<f32> {
    let (first, others) = parts.split_first().expect("an activation has a part");
    others.iter().fold(first.clone(), |joined, part| concatenate(joined.view(), part.view()))
}

/// Numbers of channels of the parts of a concatenation.
fn channels(parts: &[Array4<f32>]) -> Vec<usize> {
    parts.iter().map(|part| part.dim().0).collect()
}

impl Problem {
    /// What is right.
    ///
    /// # Panics
    /// Where the shapes do not fit one another.
    pub fn reference(&self) -> Array4<f32> {
        let x = joined(&self.input);
        match &self.operation {
            Operation::Input(layer) => add(layer.apply(conv, x.view()), broadcast_channels(x.view(), layer.bias.len()).view()),
            Operation::Convolution { layer, residual } if residual.is_empty() => layer.apply(conv, x.view()),
            Operation::Convolution { layer, residual } => add(layer.apply(conv, x.view()), joined(residual).view()),
            Operation::Down(layer) => layer.apply(down, x.view()),
            Operation::Up(layer) => layer.apply(up, x.view()),
            Operation::Head { hidden, binary, probabilities } => {
                let logits = conv(hidden.apply(conv, x.view()).view(), binary.kernel.view(), &binary.bias);
                if *probabilities { concatenate(logits.view(), logits.mapv(sigmoid).view()) } else { logits }
            }
            Operation::Prelu(slopes) => prelu(x, slopes),
            Operation::Sigmoid => x.mapv(sigmoid),
            Operation::Pack | Operation::Unpack => x,
        }
    }

    /// The problem with all values rounded to multiples of 1/64, which f16 holds exactly where they are below 32: what
    /// is rounded in the fast grade is the result alone.
    pub fn rounded(&self) -> Problem {
        let parts = |parts: &[Array4<f32>]| parts.iter().map(|part| part.mapv(rounded)).collect();
        let operation = match &self.operation {
            Operation::Input(layer) => Operation::Input(layer.rounded()),
            Operation::Convolution { layer, residual } => {
                Operation::Convolution { layer: layer.rounded(), residual: parts(residual) }
            }
            Operation::Down(layer) => Operation::Down(layer.rounded()),
            Operation::Up(layer) => Operation::Up(layer.rounded()),
            // The head's weights and logits are f32 in both grades.
            operation => operation.clone(),
        };
        Problem { operation, input: parts(&self.input) }
    }

    /// The grid (D, H, W) of the input.
    fn shape(&self) -> [usize; 3] {
        self.input.first().map_or([0; 3], |part| [1, 2, 3].map(|axis| part.len_of(Axis(axis))))
    }

    /// The grid (D, H, W) of the output.
    pub fn output_shape(&self) -> [usize; 3] {
        let shape = self.shape();
        match &self.operation {
            Operation::Down(layer) => [0, 1, 2].map(|axis| shape[axis] / layer.size()[axis]),
            Operation::Up(layer) => [0, 1, 2].map(|axis| shape[axis] * layer.size()[axis]),
            _ => shape,
        }
    }

    /// Floating-point operations of the convolutions: 2 for each multiply-add, padding taps counted.
    pub fn flop(&self) -> u64 {
        let (coarse, output) = (self.shape(), self.output_shape());
        let [read, written] = [coarse, output].map(|shape| shape.iter().product::<usize>());
        let products = match &self.operation {
            Operation::Input(layer) | Operation::Convolution { layer, .. } | Operation::Down(layer) => {
                layer.kernel.len() * written
            }
            Operation::Up(layer) => layer.kernel.len() * read,
            Operation::Head { hidden, binary, .. } => (hidden.kernel.len() + binary.kernel.len()) * written,
            Operation::Prelu(_) | Operation::Sigmoid | Operation::Pack | Operation::Unpack => 0,
        };
        2 * products as u64
    }

    /// All ways in which a back end can compute the problem; none where it does not have the operation.
    pub fn ways(&self, backend: &Backend) -> Vec<Way> {
        match backend {
            Backend::Cpu(_) => cpu::ways(self),
            #[cfg(feature = "cuda")]
            Backend::Cuda(device, grade) => cuda::ways(self, device.as_ref(), *grade),
        }
    }

    /// The way that the back end's engine takes.
    pub fn best_way(&self, backend: &Backend) -> Way {
        match backend {
            Backend::Cpu(_) => cpu::best_way(self),
            #[cfg(feature = "cuda")]
            Backend::Cuda(device, grade) => cuda::best_way(self, device.as_ref(), *grade),
        }
    }

    /// The tiles of the output that can be left out, as voxels along (D, H, W); `None` where all is always computed.
    pub fn tiles(&self, backend: &Backend, way: Way) -> Option<Vec<[Range<usize>; 3]>> {
        self.tiling(backend, way).map(|tiling| (0..tiling.len()).map(|tile| tiling.voxels(tile)).collect())
    }

    fn tiling(&self, backend: &Backend, way: Way) -> Option<Tiling> {
        match backend {
            Backend::Cpu(_) => cpu::tiling(self, way),
            #[cfg(feature = "cuda")]
            Backend::Cuda(..) => cuda::tiling(self),
        }
    }

    /// The problem in the back end's memory, [`UNTOUCHED`] where its output will be. With `needed`, one for each tile
    /// of [`Problem::tiles`], the other tiles are left out: their output is not touched (the logits of the CUDA
    /// kernels become negative infinity).
    ///
    /// # Errors
    /// [`Error::Device`] where the back end does not compute the problem in this way, and whatever a device reports;
    /// [`Error::Shape`] where the problem's parts do not fit one another, or `needed` does not fit; [`Error::Memory`]
    /// where memory runs out.
    pub fn prepare<'b>(&self, backend: &'b mut Backend, way: Way, needed: Option<&[bool]>) -> Result<Box<dyn Prepared + 'b>> {
        self.check()?;
        if !self.ways(backend).contains(&way) && way != self.best_way(backend) {
            return Err(self.impossible(way));
        }
        let tiles = self.tiling(backend, way).map(|tiling| tiling.len());
        if needed.is_some() && needed.map(<[bool]>::len) != tiles {
            return Err(Error::Shape(format!("a mask has a value for each tile ({tiles:?}) of {self:?}")));
        }
        match backend {
            Backend::Cpu(instructions) => cpu::prepare(self, *instructions, way, needed),
            #[cfg(feature = "cuda")]
            Backend::Cuda(device, grade) => cuda::prepare(self, device.as_mut(), *grade, way, needed),
        }
    }

    /// What a back end makes of the problem, computed once.
    ///
    /// # Errors
    /// As [`Problem::prepare`].
    pub fn run(&self, backend: &mut Backend, way: Way, needed: Option<&[bool]>) -> Result<Output> {
        let mut prepared = self.prepare(backend, way, needed)?;
        prepared.launch()?;
        prepared.output()
    }

    fn impossible(&self, way: Way) -> Error {
        Error::Device(format!("{self:?} is not computed in this way here: {way:?}"))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.operation {
            Operation::Input(_) => "input layer",
            Operation::Convolution { .. } => "convolution",
            Operation::Down(_) => "down-convolution",
            Operation::Up(_) => "up-convolution",
            Operation::Head { .. } => "head",
            Operation::Prelu(_) => "PReLU",
            Operation::Sigmoid => "sigmoid",
            Operation::Pack => "packing",
            Operation::Unpack => "unpacking",
        };
        write!(f, "{name} of {:?} channels on a grid of {:?}", channels(&self.input), self.shape())?;
        if let Some(layer) = self.operation.layer() {
            write!(f, " to {}, kernel {:?}", layer.bias.len(), layer.size())?;
        }
        if let Operation::Convolution { residual, .. } = &self.operation {
            write!(f, ", residual {:?}", channels(residual))?;
        }
        Ok(())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Cpu(instructions) => write!(f, "cpu, {instructions}"),
            #[cfg(feature = "cuda")]
            Backend::Cuda(device, grade) => write!(f, "{}, {grade:?}", device.name()),
        }
    }
}
