//! Samples from the generator of head phantoms.

use super::config::Data;
use super::random::Random;
use super::sample::{Sample, Source};
use crate::phantom::{self, Settings};
use crate::volume::orientation;
use crate::{Error, Result};

/// Brains of generated heads on the network's grid, as it sees scans with slices of several thicknesses.
pub struct Phantoms {
    seed: u64,
    data: Data,
    planar: bool,
}

/// Matrix of the slices that a 2D network sees, and the size of their pixels in mm.
const SLICE: ([usize; 2], f64) = ([512, 512], 0.45);
/// Extent of a head's slices in mm.
const HEIGHT_MM: f64 = 150.0;

impl Phantoms {
    /// The phantoms of a training: which ones depends on its seed and data alone. With `planar`, slices for a 2D network.
    ///
    /// # Errors
    /// [`Error::Phantom`] for settings that no phantom can have.
    pub fn new(seed: u64, data: &Data, planar: bool) -> Result<Phantoms> {
        let phantoms = Phantoms { seed, data: data.clone(), planar };
        if data.thickness_mm.iter().any(|mm| !(0.05..=50.0).contains(mm)) {
            return Err(Error::Phantom(format!("slices of {:?} mm cannot be made", data.thickness_mm)));
        }
        Ok(phantoms)
    }
}

impl Source for Phantoms {
    fn len(&self) -> usize {
        self.data.held_out + self.data.training
    }

    fn key(&self) -> String {
        let Data { thickness_mm, without_bleed, volume_ml, .. } = &self.data;
        let version = env!("CARGO_PKG_VERSION");
        format!("phantoms {version} {} {thickness_mm:?} {without_bleed} {volume_ml:?} {}", self.seed, self.planar)
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let mut random = Random::new(self.seed).derive(0).derive(number as u64);
        let thickness = self.data.thickness_mm[random.below(self.data.thickness_mm.len())];
        let settings = if self.planar {
            let ([ni, nj], pixel) = SLICE;
            let slices = (HEIGHT_MM / thickness).ceil() as usize;
            let grid = phantom::ct_grid([ni, nj, slices], [pixel, pixel, thickness], 0.0);
            Settings { brain_only: true, ..Settings::new(grid, thickness) }
        } else {
            Settings::network(thickness)
        };
        let settings = Settings { without_bleed: self.data.without_bleed, volume_ml: self.data.volume_ml, ..settings };
        let head = phantom::generate(random.bits(), &settings)?;
        Ok(if self.planar {
            Sample::slices(&orientation::to_ras(&head.scan), &orientation::to_ras(&head.label), &orientation::to_ras(&head.brain))
        } else {
            Sample::volume(&head.scan, &head.label, &head.brain)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_brain_with_its_bleed_and_the_same_each_time() {
        let phantoms = Phantoms::new(3, &Data { without_bleed: 0.0, volume_ml: [20.0, 40.0], ..Data::default() }, false).unwrap();
        let sample = phantoms.sample(5).unwrap();
        assert_eq!(phantoms.sample(5).unwrap(), sample);
        assert_ne!(phantoms.sample(6).unwrap(), sample);
        let ml = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as f64 * sample.voxel_ml;
        assert!((800.0..2000.0).contains(&ml(&sample.mask)), "{} mL of brain", ml(&sample.mask));
        assert!((5.0..150.0).contains(&ml(&sample.label)), "{} mL of blood", ml(&sample.label));
        for ((&hu, &label), &mask) in sample.hu.iter().zip(&sample.label).zip(&sample.mask) {
            assert!(mask || (hu == 0 && !label));
        }
    }
}
