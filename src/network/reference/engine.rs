use super::{add, broadcast_channels, concatenate, conv, down, prelu, up};
use crate::memory;
use crate::network::plan::Layer;
use crate::network::weights::Weights;
use crate::network::{self, BufferId, Plan, Step};
use crate::network::{Error, Result};
use ndarray::{Array3, Array4, Array5};
use std::collections::BTreeMap;

/// The naive operations behind the trait that every engine has. Keeps the outputs of all blocks of the last pass.
pub struct ReferenceEngine {
    weights: Weights,
    plan: Plan,
    blocks: BTreeMap<String, Array4<f32>>,
}

impl ReferenceEngine {
    /// An engine for a grid of `shape` (D, H, W).
    ///
    /// # Errors
    /// As [`Plan::new`]; [`Error::Memory`] where memory runs out.
    pub fn new(weights: &Weights, shape: [usize; 3]) -> Result<Self> {
        let plan = Plan::new(weights.description(), shape)?;
        // A step reads one buffer and makes another; the largest is that of the last block.
        let largest =
            plan.buffers.iter().map(|buffer| 4 * buffer.channels as u64 * buffer.shape.iter().product::<usize>() as u64).max();
        memory::check(2 * largest.unwrap_or(0), || format!("the reference engine on a grid of {shape:?}"))?;
        Ok(ReferenceEngine { weights: weights.clone(), plan, blocks: BTreeMap::new() })
    }

    /// The output (C, D, H, W) of each block of the last pass but `outblock`, by its name.
    pub fn blocks(&self) -> &BTreeMap<String, Array4<f32>> {
        &self.blocks
    }
}

impl network::LoadedNetwork for ReferenceEngine {
    fn shape(&self) -> [usize; 3] {
        self.plan.shape
    }

    fn device(&self) -> String {
        "reference".into()
    }

    fn run(&mut self, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) -> Result<()> {
        let voxels: usize = self.plan.shape.iter().product();
        if input.len() != voxels || logits.len() != voxels || needed.is_some_and(|n| n.len() != voxels) {
            return Err(Error::Shape(format!("input, mask and logits must have {voxels} voxels each")));
        }
        let [depth, height, width] = self.plan.shape;
        let input = Array4::from_shape_vec((1, depth, height, width), input.to_vec()).expect("the length was checked");
        let mut pass = Pass {
            weights: &self.weights,
            input,
            buffers: BTreeMap::new(),
            blocks: BTreeMap::new(),
            logits: Array3::zeros((0, 0, 0)),
        };
        self.plan.steps.iter().for_each(|step| pass.step(&self.plan, step));
        for (voxel, (to, from)) in logits.iter_mut().zip(&pass.logits).enumerate() {
            *to = if needed.is_none_or(|n| n[voxel]) { *from } else { f32::NEG_INFINITY };
        }
        self.blocks = pass.blocks;
        Ok(())
    }
}

/// One pass: the buffers that are alive.
struct Pass<'w> {
    weights: &'w Weights,
    input: Array4<f32>,
    buffers: BTreeMap<BufferId, Array4<f32>>,
    blocks: BTreeMap<String, Array4<f32>>,
    logits: Array3<f32>,
}

type Convolution = fn(ndarray::ArrayView4<f32>, ndarray::ArrayView5<f32>, &[f32]) -> Array4<f32>;

impl Pass<'_> {
    fn kernel(&self, layer: &Layer, transposed: bool) -> Array5<f32> {
        let [kd, kh, kw] = layer.kernel;
        let channels = if transposed { (layer.outputs, layer.inputs) } else { (layer.inputs, layer.outputs) };
        let values = self.weights.tensor(&format!("{}/kernel", layer.convolution)).into_owned();
        Array5::from_shape_vec((kd, kh, kw, channels.0, channels.1), values)
            .expect("weights were checked against the description")
    }

    fn activated(&self, operation: Convolution, layer: &Layer, x: &Array4<f32>, transposed: bool) -> Array4<f32> {
        let bias = self.weights.tensor(&format!("{}/bias", layer.convolution));
        let y = operation(x.view(), self.kernel(layer, transposed).view(), &bias);
        match &layer.slopes {
            Some(slopes) => prelu(y, &self.weights.tensor(slopes)),
            None => prelu(y, &vec![0.0; layer.outputs]),
        }
    }

    fn step(&mut self, plan: &Plan, step: &Step) {
        let result = match step {
            Step::Input { layer, .. } => {
                add(self.activated(conv, layer, &self.input, false), broadcast_channels(self.input.view(), layer.outputs).view())
            }
            Step::Down { layer, input, .. } => self.activated(down, layer, &self.buffers[input], false),
            Step::Up { layer, input, skip, .. } => {
                concatenate(self.activated(up, layer, &self.buffers[input], true).view(), self.buffers[skip].view())
            }
            Step::Conv { layer, input, residual, .. } => {
                let y = self.activated(conv, layer, &self.buffers[input], false);
                match residual {
                    Some(residual) => add(y, self.buffers[residual].view()),
                    None => y,
                }
            }
            Step::Head { hidden, binary, input } => {
                let hidden = self.activated(conv, hidden, &self.buffers[input], false);
                let bias = self.weights.tensor(&format!("{}/bias", binary.convolution));
                conv(hidden.view(), self.kernel(binary, false).view(), &bias)
            }
        };
        let Some(output) = step.output() else {
            self.logits = result.remove_axis(ndarray::Axis(0)).into_owned();
            return;
        };
        if let Some((name, _)) = plan.blocks.iter().find(|(_, id)| *id == output) {
            self.blocks.insert(name.clone(), result.clone());
        }
        self.buffers.insert(output, result);
        let now = plan.steps.iter().position(|s| s.output() == Some(output)).unwrap_or(0);
        self.buffers.retain(|&id, _| plan.buffers[id].last_read > now);
    }
}
