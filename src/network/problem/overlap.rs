//! The overlap of a prediction with a label and its gradient, by the CUDA kernels.

use super::UNTOUCHED;
use super::cuda::take;
use crate::network::cuda::dice::{DiceSums, PARTIAL_BYTES, TOTAL_BYTES, from_sums};
use crate::network::cuda::launches::store;
use crate::network::cuda::{CudaDevice, Launch, Region};
use crate::network::{Dice, Error, Result, dice};

/// Probabilities, a label, and the threshold above which a voxel is predicted.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// One for each voxel.
    pub prediction: Vec<f32>,
    /// Likewise.
    pub label: Vec<bool>,
    /// A voxel is predicted where its probability is above it.
    pub threshold: f32,
}

/// An [`Overlap`] in a device's memory.
pub struct PreparedOverlap<'d> {
    device: &'d mut dyn CudaDevice,
    launches: Vec<Launch>,
    total: Region,
    gradient: Option<Region>,
}

impl Overlap {
    /// What is right: Dice, and the derivative of its soft form by each probability.
    pub fn reference(&self) -> (Dice, Vec<f32>) {
        let mut gradient = vec![0.0; self.prediction.len()];
        let overlap = dice(&self.prediction, &self.label, self.threshold, Some(&mut gradient));
        (overlap, gradient)
    }

    /// The overlap in a device's memory, with or without its gradient. What is allocated lives as long as the device.
    ///
    /// # Errors
    /// [`Error::Shape`] where prediction and label have no voxels or not as many, [`Error::Device`] with what the device
    /// reports.
    pub fn prepare<'d>(&self, device: &'d mut dyn CudaDevice, gradient: bool) -> Result<PreparedOverlap<'d>> {
        let voxels = self.prediction.len();
        if voxels == 0 || self.label.len() != voxels {
            return Err(Error::Shape("prediction and label have as many voxels, and at least one".into()));
        }
        let label: Vec<u8> = self.label.iter().copied().map(u8::from).collect();
        let gradient = if gradient { Some(store(device, &vec![UNTOUCHED; voxels])?) } else { None };
        let sums = DiceSums {
            prediction: store(device, &self.prediction)?,
            label: store(device, &label)?,
            partial: device.allocate(PARTIAL_BYTES)?,
            total: device.allocate(TOTAL_BYTES)?,
            gradient,
            voxels,
            threshold: self.threshold,
        };
        Ok(PreparedOverlap { device, launches: sums.launches(), total: sums.total, gradient })
    }
}

impl PreparedOverlap<'_> {
    /// Computes it.
    ///
    /// # Errors
    /// [`Error::Device`] with what the device reports.
    pub fn launch(&mut self) -> Result<()> {
        // SAFETY: every region was allocated on this device for these sums, with the size that their launcher asks for.
        self.launches.iter().try_for_each(|launch| unsafe { self.device.launch(launch) })
    }

    /// Dice, and the gradient where there is one, after all launches have ended.
    ///
    /// # Errors
    /// [`Error::Device`] with what the device reports.
    pub fn output(&mut self) -> Result<(Dice, Option<Vec<f32>>)> {
        let sums: Vec<f64> = take(self.device, self.total)?;
        let gradient = self.gradient.map(|region| take(self.device, region)).transpose()?;
        Ok((from_sums(std::array::from_fn(|n| sums[n])), gradient))
    }
}
