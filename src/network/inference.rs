//! A loaded network on volumes of any size: padding to the network's multiple, patches, batches of slices.

use crate::memory;
use crate::network::LoadedNetwork;
use crate::network::device::{Device, Grade};
use crate::network::sigmoid;
use crate::network::weights::{InputKind, Weights};
use crate::network::{Error, Result};
use ndarray::{Array3, ArrayView3, s};

/// Slices of a 2D network that one pass takes: enough to keep all cores busy, few enough for little memory.
const SLICES_PER_PASS: usize = 4;
/// Bytes for each voxel that a pass has at once beside its input, at least: the clipped input, the padded one, and the logits.
const PASS_BYTES: u64 = 12;
/// Probabilities are kept this far from 0 and 1 before they are made logits again, so that a logit is finite.
const SMALLEST_PROBABILITY: f64 = 1e-12;

/// A network ready to run on one device. The engine is loaded for the first volume's grid and kept while the grid stays the same.
pub struct Inference {
    weights: Weights,
    device: Device,
    threads: usize,
    grade: Grade,
    engine: Option<Box<dyn LoadedNetwork + Send>>,
}

impl Inference {
    /// `weights` on `device` with `threads` threads (on the CPU).
    pub fn new(weights: &Weights, device: Device, threads: usize) -> Self {
        Inference { weights: weights.clone(), device, threads, grade: Grade::Exact, engine: None }
    }

    /// The same in another grade, where the device has several ([`Device::has_grades`]); [`Grade::Exact`] if this is not called.
    pub fn with_grade(self, grade: Grade) -> Self {
        Inference { grade, engine: None, ..self }
    }

    /// The weights.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The device that ran the last pass, in words; before the first pass, the device that was asked for.
    pub fn device(&self) -> String {
        self.engine.as_ref().map_or_else(|| self.device.to_string(), |engine| engine.device())
    }

    /// Loads the engine for volumes of `shape` (D, H, W), which the first of these would else wait for.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn load(&mut self, shape: [usize; 3]) -> Result<()> {
        let shape = match self.weights.metadata().input {
            InputKind::TemplatePatches { patch } => [patch; 3],
            _ if self.weights.description().is_planar() => [SLICES_PER_PASS.min(shape[0]), shape[1], shape[2]],
            _ => shape,
        };
        let shape = self.multiple_of(shape);
        self.engine(shape).map(|_| ())
    }

    /// The smallest grid of the network that holds a volume of `shape`.
    fn multiple_of(&self, shape: [usize; 3]) -> [usize; 3] {
        let multiple = self.weights.description().multiple();
        [0, 1, 2].map(|axis| shape[axis].next_multiple_of(multiple[axis]))
    }

    /// The engine for a grid, which is loaded first where it is not yet, or not for this grid.
    fn engine(&mut self, shape: [usize; 3]) -> Result<&mut (dyn LoadedNetwork + Send)> {
        if self.engine.as_ref().is_none_or(|engine| engine.shape() != shape) {
            self.engine = None; // its memory is free before the next one is loaded
            self.engine = Some(self.device.load(&self.weights, shape, self.threads, self.grade)?);
        }
        Ok(self.engine.as_deref_mut().expect("it is loaded"))
    }

    /// Logits of a volume (D, H, W) of any size, HU with 0 outside the brain.
    ///
    /// The values are clipped to the weights' HU range where they have one. With `needed`, only the logits where it is true
    /// are computed; the others are negative infinity. A patch network's logits are those of its averaged probabilities.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty volume or a mask of another shape, and whatever the device reports.
    pub fn logits(&mut self, input: ArrayView3<f32>, needed: Option<ArrayView3<bool>>) -> Result<Array3<f32>> {
        if input.is_empty() {
            return Err(Error::Shape("the volume has no voxel".into()));
        }
        if needed.is_some_and(|needed| needed.dim() != input.dim()) {
            return Err(Error::Shape("the mask must have the volume's shape".into()));
        }
        let voxels = input.len() as u64;
        memory::check(PASS_BYTES * voxels, || format!("the network's pass over {voxels} voxels"))?;
        let input = match self.weights.metadata().hu_range {
            Some([low, high]) => input.mapv(|hu| hu.clamp(low, high)),
            None => input.to_owned(),
        };
        match self.weights.metadata().input {
            InputKind::TemplatePatches { patch } => self.by_patches(input.view(), needed, patch),
            _ if self.weights.description().is_planar() => self.by_slices(input.view(), needed),
            _ => self.padded(input.view(), needed),
        }
    }

    /// One pass over a grid that is padded with 0 at the far end of each axis and cropped afterwards.
    fn padded(&mut self, input: ArrayView3<f32>, needed: Option<ArrayView3<bool>>) -> Result<Array3<f32>> {
        let (depth, height, width) = input.dim();
        let shape = self.multiple_of([depth, height, width]);
        let logits = self.pass(pad(input, shape, 0.0), needed.map(|needed| pad(needed, shape, false)))?;
        Ok(logits.slice_move(s![..depth, ..height, ..width]))
    }

    /// Slices along the first axis, a few in a pass.
    fn by_slices(&mut self, input: ArrayView3<f32>, needed: Option<ArrayView3<bool>>) -> Result<Array3<f32>> {
        let mut logits = Array3::from_elem(input.dim(), f32::NEG_INFINITY);
        let (depth, height, width) = input.dim();
        // A last batch of fewer slices is filled with empty ones: one engine serves all batches.
        let batch = SLICES_PER_PASS.min(depth);
        for first in (0..depth).step_by(batch) {
            let count = batch.min(depth - first);
            let range = s![first..first + count, .., ..];
            let wanted = needed.map(|needed| needed.slice_move(range));
            if wanted.is_some_and(|wanted| !wanted.iter().any(|&w| w)) {
                continue;
            }
            let shape = [batch, height, width];
            let part = self.padded(
                pad(input.slice(range), shape, 0.0).view(),
                wanted.map(|w| pad(w, shape, false)).as_ref().map(|w| w.view()),
            )?;
            logits.slice_mut(range).assign(&part.slice(s![..count, ..height, ..width]));
        }
        Ok(logits)
    }

    /// Cubes of `patch` voxels a side, each half a patch from the last, their probabilities averaged (Sharrock et al. 2020, patch networks).
    fn by_patches(&mut self, input: ArrayView3<f32>, needed: Option<ArrayView3<bool>>, patch: usize) -> Result<Array3<f32>> {
        let stride = patch / 2;
        let shape = [0, 1, 2].map(|axis| input.shape()[axis].max(patch).next_multiple_of(stride));
        let volume = pad(input, shape, 0.0);
        let wanted = needed.map(|needed| pad(needed, shape, false));
        let mut sums = Array3::<f64>::zeros(shape);
        let mut counts = Array3::<u8>::zeros(shape);
        let starts = |axis: usize| (0..=shape[axis] - patch).step_by(stride);
        for d in starts(0) {
            for h in starts(1) {
                for w in starts(2) {
                    let range = s![d..d + patch, h..h + patch, w..w + patch];
                    let wanted = wanted.as_ref().map(|wanted| wanted.slice(range).to_owned());
                    if wanted.as_ref().is_some_and(|wanted| !wanted.iter().any(|&w| w)) {
                        continue;
                    }
                    let logits = self.padded(volume.slice(range), wanted.as_ref().map(|w| w.view()))?;
                    sums.slice_mut(range).zip_mut_with(&logits, |sum, &logit| *sum += f64::from(sigmoid(logit)));
                    counts.slice_mut(range).mapv_inplace(|count| count + 1);
                }
            }
        }
        let mut logits = Array3::from_shape_fn(input.dim(), |at| {
            let mean = (sums[at] / f64::from(counts[at].max(1))).clamp(SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY);
            (mean / (1.0 - mean)).ln() as f32
        });
        if let Some(needed) = needed {
            logits.zip_mut_with(&needed, |logit, &needed| {
                if !needed {
                    *logit = f32::NEG_INFINITY;
                }
            });
        }
        Ok(logits)
    }

    /// One pass of the engine.
    fn pass(&mut self, input: Array3<f32>, needed: Option<Array3<bool>>) -> Result<Array3<f32>> {
        let (depth, height, width) = input.dim();
        let shape = [depth, height, width];
        let engine = self.engine(shape)?;
        let mut logits = Array3::zeros(shape);
        let input = input.as_slice().expect("padded arrays are in standard layout");
        let needed = needed.as_ref().map(|needed| needed.as_slice().expect("padded arrays are in standard layout"));
        engine.run(input, needed, logits.as_slice_mut().expect("a new array is in standard layout"))?;
        Ok(logits)
    }
}

/// `part` at the beginning of a larger array filled with `fill`.
fn pad<T: Copy>(part: ArrayView3<T>, shape: [usize; 3], fill: T) -> Array3<T> {
    let mut whole = Array3::from_elem(shape, fill);
    let (depth, height, width) = part.dim();
    whole.slice_mut(s![..depth, ..height, ..width]).assign(&part);
    whole
}
